// SPDX-License-Identifier: Apache-2.0
/*
 * The whole of it with real workers from the build tree, but for two things that a script in front of the worker plays: the DNS, and uacme (its mode is in a file).
 * The ACME server's way to us is a listener of the test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "base/log.h"
#include "base/time.h"
#include "edge/cert-name.h"
#include "edge/cert-private.h"
#include "edge/cert-testing.h"

static uv_loop_t loop;
static Certs *certs;
static EdgeTable *table;
static uv_tcp_t server;
static uint16_t port;
static bool wrong_answer, in_effect;
static int connections;
static int changes;

/* The way of an ACME server's validation. */

static void on_request_closed(uv_handle_t *h)
{
	free(h);
}

static void on_alloc(uv_handle_t *h, size_t n, uv_buf_t *buf)
{
	static char space[4096];
	*buf = uv_buf_init(space, sizeof(space) - 1);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	if (n > 0) {
		static const char before[] = "GET /.well-known/acme-challenge/";
		buf->base[n] = 0;
		assert_true(str_starts(buf->base, before));
		assert_non_null(strstr(buf->base, "Host: app.example.com"));
		AUTO_FREE char *token = xstrndup(buf->base + strlen(before), strcspn(buf->base + strlen(before), " "));
		const Route r = { .host = (char *) "app.example.com" };
		AUTO_FREE char *body = xasprintf("%s.%s", token, wrong_answer ? "other" : certs_thumbprint(certs, &r));
		AUTO_FREE char *text = xasprintf("HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", strlen(body), body);
		uv_buf_t out = uv_buf_init(text, (unsigned) strlen(text));
		assert_true(uv_try_write(s, &out, 1) > 0);
	}
	if (!uv_is_closing((uv_handle_t *) s))
		uv_close((uv_handle_t *) s, on_request_closed);
}

static void on_connection(uv_stream_t *s, int status)
{
	uv_tcp_t *c = xcalloc(1, sizeof(*c));
	connections++;
	(void) uv_tcp_init(&loop, c);
	assert_int_equal(uv_accept(s, (uv_stream_t *) c), 0);
	(void) uv_read_start((uv_stream_t *) c, on_alloc, on_read);
}

static void listen_somewhere(void)
{
	struct sockaddr_in a;
	int n = sizeof(a);
	(void) uv_ip4_addr("127.0.0.1", 0, &a);
	(void) uv_tcp_init(&loop, &server);
	assert_int_equal(uv_tcp_bind(&server, (struct sockaddr *) &a, 0), 0);
	assert_int_equal(uv_listen((uv_stream_t *) &server, 8, on_connection), 0);
	(void) uv_tcp_getsockname(&server, (struct sockaddr *) &a, &n);
	port = ntohs(a.sin_port);
}

/* What is played. */

static void put_script(const char *name, const char *text)
{
	AUTO_FREE char *path = at(name);
	assert_int_equal(file_write(AT_FDCWD, path, text, strlen(text), 0755), 0);
}

static void set_mode(const char *mode)
{
	AUTO_FREE char *path = at("mode");
	assert_int_equal(file_write_atomic(AT_FDCWD, path, mode, strlen(mode), 0644, false), 0);
}

static int count_orders(void)
{
	AUTO_FREE char *path = at("orders");
	AUTO_BUF b = BUF_INIT;
	int n = 0;
	(void) file_read(AT_FDCWD, path, 1 << 20, &b);
	for (size_t i = 0; i < b.len; i++)
		n += b.data[i] == '\n';
	return n;
}

static void play(void)
{
	AUTO_FREE char *real = libexec_path("stead-worker");
	AUTO_FREE char *worker = xasprintf("#!/bin/sh\nif [ \"$1\" = resolve ]; then echo '{\"addresses\": [\"127.0.0.1\"]}'; exit 0; fi\nexec %s \"$@\"\n", real);
	AUTO_FREE char *client = xasprintf("#!/bin/sh\n"
		"while [ $# -gt 0 ]; do\n"
		"  case $1 in\n"
		"  -c) dir=$2 ;;\n"
		"  -h) hook=$2 ;;\n"
		"  new | update) exit 0 ;;\n"
		"  issue) host=$2 ;;\n"
		"  esac\n"
		"  shift\n"
		"done\n"
		"mode=$(cat %1$s/mode)\n"
		"echo \"$host $mode\" >>%1$s/orders\n"
		"case $mode in\n"
		"  hang) exec sleep 1000 ;;\n"
		"  limited) echo 'uacme: the server reported the following error:' >&2\n"
		"    echo '{\"type\":\"urn:ietf:params:acme:error:rateLimited\",\"detail\":\"too many\"}' >&2; exit 2 ;;\n"
		"esac\n"
		"\"$hook\" begin dns-01 \"$host\" t a && exit 2\n"
		"\"$hook\" begin http-01 \"$host\" t a || exit 2\n"
		"mkdir -p \"$dir/$host\" \"$dir/private/$host\"\n"
		"cp %1$s/$mode.pem \"$dir/$host/cert.pem\"\n"
		"cp %1$s/$mode.pem \"$dir/private/$host/key.pem\"\n", scratch);
	AUTO_FREE char *path = xasprintf("%s/bin:/usr/bin:/bin", scratch);
	AUTO_FREE char *libexec = at("libexec");
	AUTO_FREE char *bin = at("bin");
	assert_int_equal(dir_make(libexec, 0755), 0);
	assert_int_equal(dir_make(bin, 0755), 0);
	put_script("libexec/stead-worker", worker);
	put_script("bin/uacme", client);
	assert_int_equal(setenv("STEAD_LIBEXECDIR", libexec, 1), 0);
	assert_int_equal(setenv("PATH", path, 1), 0);
}

static bool is_in_effect(void *user)
{
	return in_effect;
}

static void on_changed(void *user)
{
	changes++;
}

static void begin(void)
{
	const CertsOptions o = {
		.loop = &loop, .state_dir = scratch, .tls = true, .http_port = port, .acme_server = "https://acme.example/dir", .in_effect = is_in_effect,
		.changed = on_changed,
	};
	certs = certs_new(&o);
}

static void end(void)
{
	certs_free(certs);
	certs = NULL;
}

/* As a daemon that is killed and comes back: nothing but what is on disk. */
static void restart(void)
{
	end();
	begin();
	certs_table(certs, table);
}

static int setup(void **state)
{
	log_init(LOG_LEVEL_ERROR);
	assert_int_equal(scratch_setup(state), 0);
	assert_int_equal(uv_loop_init(&loop), 0);
	play();
	listen_somewhere();
	return 0;
}

static int teardown(void **state)
{
	uv_close((uv_handle_t *) &server, NULL);
	while (uv_run(&loop, UV_RUN_DEFAULT))
		;
	(void) uv_loop_close(&loop);
	return scratch_teardown(state);
}

static int begin_test(void **state)
{
	table = edge_table_new();
	wrong_answer = false;
	in_effect = true;
	begin();
	return 0;
}

static int end_test(void **state)
{
	end();
	edge_table_free(table);
	AUTO_FREE char *dir = at("edge");
	AUTO_FREE char *orders = at("orders");
	(void) unlink(orders);
	/* A worker that has been killed may not be dead yet. */
	while (tree_remove(AT_FDCWD, dir) < 0)
		(void) uv_run(&loop, UV_RUN_NOWAIT);
	return 0;
}

static void add(const char *host, TlsMode tls, const char *cert, const char *key)
{
	const Route r = {
		.host = (char *) host, .path = (char *) "/", .port = 80, .tls = tls, .cert = (char *) cert, .key = (char *) key, .cache = { -1, -1, -1 },
		.max_body = -1, .rate = -1, .rate_period = -1, .timeout = -1,
	};
	(void) edge_table_add_route(table, &r, "s", "web", "s/web:80");
	if (!edge_table_backend(table, "s/web:80"))
		(void) edge_table_add_backend(table, "s/web:80");
}

static void describe(const char *host, EdgeCertificate *ret)
{
	const Route r = { .host = (char *) host };
	certs_describe(certs, &r, ret);
}

/* Turns the loop until `host` has (or has no) certificate of its own, and (or) an error with this text. */
static void wait_for(const char *host, bool own, const char *error)
{
	EdgeCertificate c;
	for (;;) {
		describe(host, &c);
		bool fits = error ? c.error && strstr(c.error, error) : !c.error;
		const CertHost *h = certs_find(certs, host);
		if (c.own == own && fits && (!h || !h->busy))
			return;
		/* What would be due a little later is due now. */
		for (CertHost *i = certs->hosts; i; i = i->next)
			i->preflight_at = i->retry_at = 0;
		if (certs->acme)
			certs_tick(certs);
		assert_true(uv_run(&loop, UV_RUN_ONCE));
	}
}

static size_t state_has(const char *host)
{
	AUTO_PROXY_STATE *s = proxy_state_new(1);
	size_t found = 0;
	certs_state(certs, s);
	for (size_t i = 0; i < s->n_certs; i++)
		if (strv_has(s->certs[i].names, host))
			found++;
	if (s->n_certs)
		assert_true(str_ends(s->certs[0].file, "/" CERT_DEFAULT_FILE));
	return found;
}

static void the_box_makes_what_nobody_issues(void **state)
{
	EdgeCertificate c;
	assert_true(certs_ready(certs)); /* no routes: nothing to wait for */
	add("app.test", TLS_AUTO, NULL, NULL);
	add("nas", TLS_AUTO, NULL, NULL);
	add("192.168.7.7", TLS_AUTO, NULL, NULL);
	add("plain.test", TLS_OFF, NULL, NULL);
	add(NULL, TLS_AUTO, NULL, NULL);
	certs_table(certs, table);
	assert_false(certs_ready(certs));
	wait_for("app.test", true, NULL);
	wait_for("nas", true, NULL);
	assert_true(certs_ready(certs));
	assert_int_equal(state_has("default.invalid"), 1);
	assert_int_equal(state_has("app.test"), 1);
	assert_int_equal(state_has("plain.test"), 0);
	describe("app.test", &c);
	assert_string_equal(c.kind, "self-signed");
	assert_true(c.not_after > time_real() / NSEC_PER_SEC);
	for (size_t i = 0; i < table->n_routes; i++) {
		const Route *r = &table->routes[i].route;
		assert_int_equal(certs_redirect(certs, r), r->host && r->tls != TLS_OFF);
		assert_null(certs_thumbprint(certs, r));
	}
	/* After a restart they are there at once, before any worker has run. */
	restart();
	assert_int_equal(state_has("app.test"), 1);
	assert_true(certs_ready(certs));
}

static void files_are_followed(void **state)
{
	AUTO_BUF a = BUF_INIT, b = BUF_INIT;
	EdgeCertificate c;
	int64_t now = time_real() / NSEC_PER_SEC;
	make_for("own.example.com", now, &a);
	make_for("own.example.com", now - DAYS(1), &b);
	AUTO_FREE char *cert = put("own.crt", a.data, a.len);
	AUTO_FREE char *key = put("own.key", a.data, a.len);
	add("own.example.com", TLS_AUTO, NULL, NULL); /* another path, say: the file is for the host */
	add("own.example.com", TLS_FILES, cert, key);
	certs_table(certs, table);
	wait_for("own.example.com", true, NULL);
	describe("own.example.com", &c);
	assert_string_equal(c.kind, "file");
	int64_t end = c.not_after;
	/* Half replaced: refused, what was there serves on. Then the other half. */
	free(put("own.crt", b.data, b.len));
	certs_tick(certs);
	wait_for("own.example.com", true, "does not belong");
	assert_int_equal(state_has("own.example.com"), 1);
	describe("own.example.com", &c);
	assert_int_equal(c.not_after, end);
	free(put("own.key", b.data, b.len));
	certs_tick(certs);
	wait_for("own.example.com", true, NULL);
	describe("own.example.com", &c);
	assert_int_equal(c.not_after, end - DAYS(1));
	/* Gone: the copy serves, also after a restart. */
	assert_int_equal(unlink(cert), 0);
	restart();
	wait_for("own.example.com", true, "No such file");
	assert_int_equal(state_has("own.example.com"), 1);
	/* Nobody wants it any more. */
	edge_table_free(table);
	table = edge_table_new();
	certs_table(certs, table);
	assert_int_equal(state_has("own.example.com"), 0);
}

static void a_route_for_any_host_may_name_the_default_one(void **state)
{
	AUTO_BUF a = BUF_INIT;
	EdgeCertificate c;
	make_for("anything.example.com", time_real() / NSEC_PER_SEC, &a);
	AUTO_FREE char *file = put("any.pem", a.data, a.len);
	add(NULL, TLS_FILES, file, file);
	add("app.test", TLS_AUTO, NULL, NULL);
	certs_table(certs, table);
	wait_for("app.test", true, NULL);
	while (!certs->fallback->pem)
		assert_true(uv_run(&loop, UV_RUN_ONCE));
	certs_describe(certs, &table->routes[0].route, &c);
	assert_string_equal(c.kind, "file");
	assert_true(c.own && !c.error && !c.ca);
	assert_string_equal(c.issuer, "stead anything.example.com");
	assert_true(certs_redirect(certs, &table->routes[0].route));
	/* Without it, the box's own again. */
	edge_table_free(table);
	table = edge_table_new();
	add(NULL, TLS_AUTO, NULL, NULL);
	certs_table(certs, table);
	while (certs->fallback->busy)
		assert_true(uv_run(&loop, UV_RUN_ONCE));
	certs_describe(certs, &table->routes[0].route, &c);
	assert_string_equal(c.kind, "self-signed");
	assert_true(!c.own && c.ca && str_starts(c.issuer, "stead local CA"));
	assert_false(certs_redirect(certs, &table->routes[0].route));
}

static void what_only_a_dns_challenge_gives(void **state)
{
	add("*.example.com", TLS_AUTO, NULL, NULL);
	certs_table(certs, table);
	wait_for("*.example.com", false, "DNS challenge");
	assert_false(certs_redirect(certs, &table->routes[0].route));
}

static void acme_issues_and_is_not_asked_again(void **state)
{
	AUTO_BUF a = BUF_INIT;
	EdgeCertificate c;
	make_for("app.example.com", time_real() / NSEC_PER_SEC, &a);
	free(put("good.pem", a.data, a.len));
	set_mode("good");
	add("app.example.com", TLS_AUTO, NULL, NULL);
	certs_table(certs, table);
	describe("app.example.com", &c);
	assert_string_equal(c.kind, "acme");
	assert_false(certs_redirect(certs, &table->routes[0].route));
	wait_for("app.example.com", true, NULL);
	assert_int_equal(count_orders(), 1);
	assert_true(certs_redirect(certs, &table->routes[0].route));
	assert_non_null(certs_thumbprint(certs, &table->routes[0].route));
	describe("app.example.com", &c);
	assert_true(c.next > time_real() / NSEC_PER_SEC + DAYS(500));
	restart();
	wait_for("app.example.com", true, NULL);
	/* Killed between issue and install: what was issued is taken, nothing is ordered. */
	AUTO_FREE char *file = at("edge/certs/app.example.com.pem");
	assert_int_equal(unlink(file), 0);
	restart();
	wait_for("app.example.com", true, NULL);
	assert_int_equal(count_orders(), 1);
}

static void acme_renews(void **state)
{
	AUTO_BUF old = BUF_INIT, young = BUF_INIT;
	EdgeCertificate c;
	int64_t now = time_real() / NSEC_PER_SEC;
	make_for("app.example.com", now - DAYS(700), &old);
	make_for("app.example.com", now, &young);
	free(put("old.pem", old.data, old.len));
	free(put("young.pem", young.data, young.len));
	set_mode("old");
	add("app.example.com", TLS_AUTO, NULL, NULL);
	certs_table(certs, table);
	wait_for("app.example.com", true, NULL);
	assert_int_equal(count_orders(), 1);
	set_mode("young");
	/* It is due, but has come just now; also to a daemon that comes back. */
	for (int i = 0; i < 2; i++) {
		describe("app.example.com", &c);
		assert_true(c.next > now + DAYS(1));
		restart();
		wait_for("app.example.com", true, NULL);
	}
	certs_find(certs, "app.example.com")->history.issued -= DAYS(2);
	do {
		wait_for("app.example.com", true, NULL);
		describe("app.example.com", &c);
	} while (c.not_after < now + DAYS(700) && uv_run(&loop, UV_RUN_ONCE));
	assert_true(count_orders() >= 2);
}

static void failures_hold_back(void **state)
{
	EdgeCertificate c;
	set_mode("limited");
	add("app.example.com", TLS_AUTO, NULL, NULL);
	certs_table(certs, table);
	wait_for("app.example.com", false, "the ACME server says: too many");
	describe("app.example.com", &c);
	assert_true(c.next >= time_real() / NSEC_PER_SEC + 3500);
	for (int i = 0; i < 20; i++)
		certs_tick(certs);
	/* A daemon that comes back has not forgotten. */
	restart();
	certs_tick(certs);
	describe("app.example.com", &c);
	assert_true(c.next >= time_real() / NSEC_PER_SEC + 3500);
	assert_int_equal(count_orders(), 1);
	assert_false(certs_redirect(certs, &table->routes[0].route));
}

/* Nobody knows how it would have ended; it is begun again, but not more often than a name may fail. */
static void killed_while_ordering(void **state)
{
	AUTO_BUF a = BUF_INIT;
	EdgeCertificate c;
	make_for("app.example.com", time_real() / NSEC_PER_SEC, &a);
	free(put("good.pem", a.data, a.len));
	set_mode("hang");
	add("app.example.com", TLS_AUTO, NULL, NULL);
	certs_table(certs, table);
	for (int n = 1; n <= 2; n++) {
		while (count_orders() < n) {
			certs_find(certs, "app.example.com")->preflight_at = 0;
			certs_tick(certs);
			(void) uv_run(&loop, UV_RUN_ONCE);
		}
		set_mode(n == 1 ? "hang" : "good");
		restart();
	}
	wait_for("app.example.com", true, NULL);
	assert_int_equal(count_orders(), 3);
	describe("app.example.com", &c);
	assert_string_equal(c.kind, "acme");
}

static void a_server_that_lies(void **state)
{
	AUTO_BUF a = BUF_INIT;
	make_for("other.example.com", time_real() / NSEC_PER_SEC, &a);
	free(put("lie.pem", a.data, a.len));
	set_mode("lie");
	add("app.example.com", TLS_AUTO, NULL, NULL);
	certs_table(certs, table);
	wait_for("app.example.com", false, "cannot be used");
	assert_int_equal(state_has("app.example.com"), 0);
	assert_int_equal(count_orders(), 1);
}

static void nothing_is_asked_before_the_way_is_free(void **state)
{
	wrong_answer = true;
	set_mode("good");
	add("app.example.com", TLS_AUTO, NULL, NULL);
	certs_table(certs, table);
	wait_for("app.example.com", false, "is not answered by this edge");
	assert_int_equal(count_orders(), 0);
	wrong_answer = false;
	wait_for("app.example.com", true, NULL);
	assert_int_equal(count_orders(), 1);
}

static void nothing_is_asked_before_challenges_are_answered(void **state)
{
	AUTO_BUF a = BUF_INIT;
	EdgeCertificate c;
	make_for("app.example.com", time_real() / NSEC_PER_SEC, &a);
	free(put("good.pem", a.data, a.len));
	set_mode("good");
	in_effect = false;
	connections = 0;
	add("app.example.com", TLS_AUTO, NULL, NULL);
	certs_table(certs, table);
	while (!certs->held)
		assert_true(uv_run(&loop, UV_RUN_ONCE));
	certs_tick(certs);
	describe("app.example.com", &c);
	assert_non_null(strstr(c.error, "not issued yet"));
	assert_int_equal(connections, 0);
	in_effect = true;
	certs_in_effect(certs);
	wait_for("app.example.com", true, NULL);
	assert_int_equal(count_orders(), 1);
}

/* Nothing was asked of the server: it is tried again soon. */
static void without_uacme(void **state)
{
	AUTO_FREE char *path = xstrdup(getenv("PATH"));
	AUTO_BUF a = BUF_INIT;
	EdgeCertificate c;
	make_for("app.example.com", time_real() / NSEC_PER_SEC, &a);
	free(put("good.pem", a.data, a.len));
	set_mode("good");
	assert_int_equal(setenv("PATH", scratch, 1), 0);
	add("app.example.com", TLS_AUTO, NULL, NULL);
	certs_table(certs, table);
	wait_for("app.example.com", false, "install uacme");
	describe("app.example.com", &c);
	assert_true(c.next <= time_real() / NSEC_PER_SEC);
	assert_int_equal(setenv("PATH", path, 1), 0);
	wait_for("app.example.com", true, NULL);
}

static void a_host_that_goes_while_it_is_ordered(void **state)
{
	set_mode("good");
	add("app.example.com", TLS_AUTO, NULL, NULL);
	certs_table(certs, table);
	while (count_orders() < 1) {
		certs_tick(certs);
		(void) uv_run(&loop, UV_RUN_ONCE);
	}
	EdgeTable *none = edge_table_new();
	certs_table(certs, none);
	edge_table_free(none);
	assert_null(certs_find(certs, "app.example.com"));
	/* And comes back: the run that it left does not stand in its way. */
	certs_table(certs, table);
	wait_for("app.example.com", true, NULL);
}

typedef struct Checked {
	int calls;
	size_t at;
	char *text;
} Checked;

static void on_checked(void *user, size_t i, const Err *err)
{
	Checked *c = user;
	c->calls++;
	c->at = i;
	c->text = err ? xstrdup(err_text(err)) : NULL;
}

static void checks_before_anything_changes(void **state)
{
	AUTO_BUF a = BUF_INIT;
	make_for("own.example.com", time_real() / NSEC_PER_SEC, &a);
	AUTO_FREE char *good = put("c.pem", a.data, a.len);
	const Route right = { .host = (char *) "own.example.com", .tls = TLS_FILES, .cert = good, .key = good };
	const Route wrong = { .host = (char *) "x.example.com", .tls = TLS_FILES, .cert = good, .key = good };
	const Route *routes[] = { &right, &wrong };
	Checked one = { 0 }, two = { 0 };
	certs_check_files(certs, routes, 1, on_checked, &one);
	certs_check_files(certs, routes, 2, on_checked, &two);
	while (!one.calls || !two.calls)
		assert_true(uv_run(&loop, UV_RUN_ONCE));
	assert_null(one.text);
	assert_int_equal(two.at, 1);
	assert_non_null(strstr(two.text, "not for x.example.com"));
	assert_int_equal(one.calls + two.calls, 2);
	free(two.text);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin_test, end_test)
	const struct CMUnitTest tests[] = {
		T(the_box_makes_what_nobody_issues),
		T(files_are_followed),
		T(a_route_for_any_host_may_name_the_default_one),
		T(what_only_a_dns_challenge_gives),
		T(acme_issues_and_is_not_asked_again),
		T(acme_renews),
		T(failures_hold_back),
		T(killed_while_ordering),
		T(a_server_that_lies),
		T(nothing_is_asked_before_the_way_is_free),
		T(nothing_is_asked_before_challenges_are_answered),
		T(without_uacme),
		T(a_host_that_goes_while_it_is_ordered),
		T(checks_before_anything_changes),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
