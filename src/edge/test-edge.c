// SPDX-License-Identifier: Apache-2.0
/*
 * The whole edge with a real HAProxy, on loopback: tables by chance, each in effect when edge_set says so, and requests answered as the
 * reference matcher would. Servers are a thread that answers at 127.0.0.0/8 with the address it was reached at.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "edge/testing.h"

#include "base/fs.h"
#include "base/log.h"
#include "edge/haproxy.h"

#define PATIENCE (60 * NSEC_PER_SEC)
#define CONNECTIONS 64

static uv_loop_t loop;
static char dir[64];
static uint16_t server_port, edge_port;
static Edge *edge;

/* ── servers ──────────────────────────────────────────────────────── */

static int listen_any(uint32_t address, uint16_t *ret_port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(address) };
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0 && bind(fd, (void *) &a, n) == 0 && listen(fd, 128) == 0 && getsockname(fd, (void *) &a, &n) == 0);
	*ret_port = ntohs(a.sin_port);
	return fd;
}

static bool answer(int fd)
{
	struct sockaddr_in a;
	socklen_t n = sizeof(a);
	char buf[8192], text[INET_ADDRSTRLEN];
	ssize_t got = recv(fd, buf, sizeof(buf), 0);
	if (got <= 0)
		return false;
	if (got < 4 || memcmp(buf + got - 4, "\r\n\r\n", 4) != 0) /* heads come in one piece on loopback */
		return false;
	(void) getsockname(fd, (void *) &a, &n);
	(void) inet_ntop(AF_INET, &a.sin_addr, text, sizeof(text));
	int len = snprintf(buf, sizeof(buf), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(text), text);
	return send(fd, buf, (size_t) len, MSG_NOSIGNAL) == len;
}

static void *serve(void *arg)
{
	struct pollfd fds[CONNECTIONS] = { { .fd = *(int *) arg, .events = POLLIN } };
	nfds_t n = 1;
	while (poll(fds, n, -1) >= 0)
		for (nfds_t i = n; i-- > 0;) {
			if (!fds[i].revents)
				continue;
			if (i == 0) {
				int fd = accept4(fds[0].fd, NULL, NULL, SOCK_CLOEXEC);
				if (fd >= 0 && n < CONNECTIONS)
					fds[n++] = (struct pollfd) { .fd = fd, .events = POLLIN };
				else if (fd >= 0)
					(void) close(fd);
			} else if (!answer(fds[i].fd)) {
				(void) close(fds[i].fd);
				fds[i] = fds[--n];
			}
		}
	return NULL;
}

/* ── a client ─────────────────────────────────────────────────────── */

typedef struct Reply {
	int status;
	char page[32]; /* X-Stead-Edge */
	char body[64]; /* its beginning */
} Reply;

static uint32_t edge_address = INADDR_LOOPBACK;

static int client(void)
{
	const struct timeval patience = { .tv_sec = 30 };
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(edge_port), .sin_addr.s_addr = htonl(edge_address) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	(void) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (connect(fd, (void *) &a, sizeof(a)) < 0) {
		(void) close(fd);
		return -errno;
	}
	return fd;
}

static Reply ask(const char *host, const char *path)
{
	Reply r = { 0 };
	char buf[16384];
	size_t n = 0;
	AUTO_CLOSE int fd = client();
	assert_true(fd >= 0);
	AUTO_FREE char *request = xasprintf("GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, host);
	assert_int_equal(fd_write_all(fd, request, strlen(request)), 0);
	for (ssize_t got; n < sizeof(buf) - 1 && (got = recv(fd, buf + n, sizeof(buf) - 1 - n, 0)) > 0;)
		n += (size_t) got;
	buf[n] = '\0';
	(void) sscanf(buf, "HTTP/1.1 %d", &r.status);
	const char *page = strstr(buf, "x-stead-edge: "), *body = strstr(buf, "\r\n\r\n");
	if (page)
		(void) sscanf(page, "x-stead-edge: %31s", r.page);
	if (body)
		(void) snprintf(r.body, sizeof(r.body), "%.63s", body + 4);
	return r;
}

/* ── the edge ─────────────────────────────────────────────────────── */

typedef struct Wait {
	bool done;
	int code;
	char text[512];
} Wait;

static void set_done(void *user, const Err *err)
{
	Wait *w = user;
	w->done = true;
	w->code = err ? err->code : 0;
	(void) snprintf(w->text, sizeof(w->text), "%s", err ? err_text(err) : "");
}

static void run_until(const bool *done)
{
	int64_t end = time_mono() + PATIENCE;
	while (!*done && time_mono() < end) {
		(void) uv_run(&loop, UV_RUN_NOWAIT);
		(void) poll(NULL, 0, 1);
	}
	assert_true(*done);
}

static void set(EdgeTable *t)
{
	Wait w = { 0 };
	edge_set(edge, t, set_done, &w);
	run_until(&w.done);
	if (w.code)
		fail_msg("%s", w.text);
}

static void open_edge(const char *address)
{
	AUTO_FREE char *http = xasprintf("%s:%u", address, edge_port);
	AUTO_ERR err = ERR_INIT;
	if (edge_new(&loop, &(EdgeOptions) { .state_dir = dir, .run_dir = dir, .http = http, .https = "off" }, &edge, &err) < 0)
		fail_msg("%s", err_text(&err));
}

static bool has(const EdgeBackend *b, bool standby, const char *address)
{
	for (size_t i = 0; i < b->n_servers; i++) {
		const EdgeServer *s = &b->servers[i];
		if ((standby ? s->standby : !s->draining) && (!address || str_eq(s->address, address)))
			return true;
	}
	return false;
}

static bool takes(const EdgeBackend *b, const char *address)
{
	return has(b, !has(b, false, NULL), address);
}

static void check(const EdgeTable *t, const char *host, const char *path)
{
	Reply r = ask(host, path);
	const EdgeRoute *route = edge_table_match(t, host, path);
	const EdgeBackend *b = route ? edge_table_backend(t, route->backend) : NULL;
	bool fine;
	if (!b)
		fine = r.status == 404 && str_eq(r.page, "404");
	else if (b->maintenance)
		fine = r.status == 503 && str_eq(r.page, "maintenance");
	else if (!takes(b, NULL))
		fine = r.status == 503 && str_eq(r.page, "503");
	else
		fine = r.status == 200 && takes(b, r.body);
	if (!fine)
		fail_msg("%s%s (to %s): %d %s %s", host, path, b ? b->name : "nowhere", r.status, r.page, r.body);
}

static void check_some(const EdgeTable *t, Chance *c, int n)
{
	static const char *const hosts[] = { "app.test", "APP.test:80", "app.test.", "www.app.test", "x.app.test", "y.x.app.test", "a.b", "any.example", "example",
		"xn--bcher-kva.example", "[::1]:80", "*.app.test", "*", "none" };
	static const char *const paths[] = { "/", "/api", "/api/", "/api/v2", "/api/v2?q=/", "/api/v22", "/apix", "/apix/y", "/a;b", "/a;b/c", "/a%20b", "/~x/y",
		"/a(1)*+,=:@!$&", "/api/v2/deep/er/x", "//", "/api//v2" };
	for (int i = 0; i < n; i++) {
		const char *path = paths[chance(c, ARRAY_SIZE(paths))], *host = hosts[chance(c, ARRAY_SIZE(hosts))];
		AUTO_FREE char *plain = xstrndup(path, strcspn(path, "?"));
		if (str_starts(host, "*")) /* no client says that; what it gets does not matter as long as it is something */
			assert_true(ask(host, path).status >= 200);
		else if (str_eq(path, plain))
			check(t, host, path);
		else
			assert_true(ask(host, path).status == ask(host, plain).status);
	}
}

static EdgeTable *twin(uint32_t seed, unsigned routes, unsigned backends)
{
	Chance c = { seed };
	return random_table(&c, routes, backends, server_port);
}

static void test_random_tables(void **state)
{
	Chance c = { 77 };
	pid_t first = 0;
	open_edge("127.0.0.1");
	for (uint32_t seed = 1; seed <= 15; seed++) {
		AUTO_EDGE_TABLE *t = twin(seed, 2 + seed, 8);
		set(twin(seed, 2 + seed, 8));
		first = first ?: edge_pid(edge);
		check_some(t, &c, 25);
		assert_int_equal(edge_pid(edge), first); /* no reload */
	}
}

/* The daemon goes; HAProxy serves on, and the next daemon finds what it has. */
static void test_taken_over(void **state)
{
	Chance c = { 3 };
	AUTO_EDGE_TABLE *before = twin(15, 17, 8);
	pid_t pid = edge_pid(edge);
	edge_free(edge);
	for (int i = 0; i < 5; i++)
		(void) uv_run(&loop, UV_RUN_NOWAIT);
	check_some(before, &c, 5);
	open_edge("127.0.0.1");
	assert_int_equal(edge_pid(edge), pid);
	check_some(before, &c, 5);
	for (uint32_t seed = 30; seed < 34; seed++) {
		AUTO_EDGE_TABLE *t = twin(seed, 12, 8);
		set(twin(seed, 12, 8));
		check_some(t, &c, 15);
	}
	assert_int_equal(edge_pid(edge), pid);
}

/* A request that comes while there is no HAProxy waits in the listening socket. */
static void test_killed(void **state)
{
	Chance c = { 4 };
	for (uint32_t seed = 40; seed < 46; seed++) { /* each is written into a configuration */
		AUTO_EDGE_TABLE *t = twin(seed, 12, 8);
		set(twin(seed, 12, 8));
		pid_t pid = edge_pid(edge);
		bool back = false;
		assert_int_equal(kill(pid, SIGKILL), 0);
		AUTO_CLOSE int early = client();
		assert_true(early >= 0);
		int64_t end = time_mono() + PATIENCE;
		while (!back && time_mono() < end) {
			(void) uv_run(&loop, UV_RUN_NOWAIT);
			(void) poll(NULL, 0, 1);
			back = edge_pid(edge) && edge_pid(edge) != pid;
		}
		assert_true(back);
		char buf[256];
		assert_int_equal(fd_write_all(early, "GET / HTTP/1.0\r\n\r\n", 18), 0);
		assert_true(recv(early, buf, sizeof(buf), 0) > 12);
		set(twin(seed, 12, 8));
		check_some(t, &c, 10);
	}
}

/* The look-up joins host and path: what a client calls its host must not reach into the path. */
static void test_host_with_path(void **state)
{
	EdgeTable *t = edge_table_new();
	static const char *const routes[][2] = { { "a.test", "/inner" }, { "*.w.test", "/inner" }, { NULL, "/inner" }, { "a.test", "/" } };
	for (unsigned i = 0; i < ARRAY_SIZE(routes); i++) {
		AUTO_FREE char *name = xasprintf("stack/h%u:80", i), *id = xasprintf("%064x", i + 0x9000), *address = xasprintf("127.0.9.%u", i + 1);
		Route r = route_to(routes[i][0], routes[i][1]);
		edge_table_add_route(t, &r, "stack", "s", name);
		edge_backend_add_server(edge_table_add_backend(t, name), id, address, server_port, false);
	}
	set(t);
	assert_int_equal(ask("a.test", "/inner/x").status, 200);
	static const char *const hosts[] = { "a.test/inner", "A.test/inner", "x.w.test/inner", "/inner", "other/inner", "a.test/", "a.test, a.test/inner" };
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		Reply r = ask(hosts[i], "/x");
		if (r.status != 400)
			fail_msg("%s: %d %s", hosts[i], r.status, r.body);
	}
}

/* A new version that nobody can reach while it is on trial: those that stand by answer, without a failure and without a command. */
static void test_trial(void **state)
{
	EdgeTable *t = edge_table_new();
	Route r = route_to("trial.test", "/");
	edge_table_add_route(t, &r, "stack", "s", "stack/trial:80");
	EdgeBackend *b = edge_table_add_backend(t, "stack/trial:80");
	for (unsigned i = 1; i <= 4; i++) {
		AUTO_FREE char *id = xasprintf("%02x%062x", i, 9u), *address = xasprintf("127.0.200.%u", i);
		EdgeServer *s = edge_backend_add_server(b, id, address, i < 3 ? 1 : server_port, i >= 3); /* nobody listens on port 1 */
		s->trial = i < 3;
		s->standby = i >= 3;
	}
	b->retry = true;
	set(t);
	bool both[2] = { false, false };
	for (int i = 0; i < 20; i++) {
		Reply reply = ask("trial.test", "/");
		assert_int_equal(reply.status, 200);
		both[str_eq(reply.body, "127.0.200.4")] = true;
	}
	assert_true(both[0] && both[1]);
}

/* More backends than slots: a new process on the same socket, the old one finishes. */
static void test_more_slots(void **state)
{
	EdgeTable *t = edge_table_new();
	pid_t pid = edge_pid(edge);
	AUTO_CLOSE int open = client();
	assert_true(open >= 0);
	for (unsigned i = 0; i < SLOTS_MIN + 10; i++) {
		AUTO_FREE char *name = xasprintf("stack/b%u:80", i), *path = xasprintf("/b%u", i), *address = xasprintf("127.0.9.%u", i + 1);
		AUTO_FREE char *id = xasprintf("%064x", i + 0x7000);
		Route r = route_to("many.test", path);
		edge_table_add_route(t, &r, "stack", "s", name);
		edge_backend_add_server(edge_table_add_backend(t, name), id, address, server_port, false);
	}
	/* A connection that HAProxy has accepted already goes on with the old process. */
	assert_int_equal(fd_write_all(open, "GET /", 5), 0);
	set(t);
	assert_int_not_equal(edge_pid(edge), pid);
	assert_int_equal(fd_write_all(open, " HTTP/1.1\r\nHost: x\r\n\r\n", 23), 0);
	char buf[64] = "";
	assert_true(recv(open, buf, sizeof(buf) - 1, 0) > 12);
	assert_true(str_starts(buf, "HTTP/1.1 "));
	for (unsigned i = 0; i < SLOTS_MIN + 10; i += 7) {
		AUTO_FREE char *path = xasprintf("/b%u/x", i), *address = xasprintf("127.0.9.%u", i + 1);
		Reply reply = ask("many.test", path);
		assert_int_equal(reply.status, 200);
		assert_string_equal(reply.body, address);
	}
}

static void count_done(void *user, uint64_t n, const Err *err)
{
	Wait *w = user;
	w->done = true;
	w->code = err ? err->code : (int) n;
}

static void await_requests(const char *backend, uint64_t n, EdgeStats *ret)
{
	int64_t end = time_mono() + PATIENCE;
	while (!(edge_stats(edge, backend, NULL, ret) && ret->requests == n) && time_mono() < end)
		(void) poll(NULL, 0, 10);
	assert_int_equal(ret->requests, n);
}

static void test_counts(void **state)
{
	EdgeStats st = { 0 };
	Wait w = { 0 };
	AUTO_FREE char *id = xasprintf("%064x", 0x7000);
	await_requests("stack/b0:80", 1, &st); /* of the test before: HAProxy logs a moment after it has answered */
	edge_mark(edge, "stack/b0:80");
	for (int i = 0; i < 10; i++)
		assert_int_equal(ask("many.test", "/b0").status, 200);
	await_requests("stack/b0:80", 10, &st);
	assert_int_equal(st.errors, 0);
	assert_true(edge_stats(edge, "stack/b0:80", id, &st));
	assert_int_equal(st.requests, 10);
	int64_t end = time_mono() + PATIENCE;
	do { /* its session may end after it was logged */
		w.done = false;
		edge_in_flight(edge, "stack/b0:80", id, count_done, &w);
		run_until(&w.done);
	} while (w.code != 0 && time_mono() < end);
	assert_int_equal(w.code, 0);
}

static void test_refused(void **state)
{
	EdgeTable *t = edge_table_new();
	AUTO_ERR err = ERR_INIT;
	Wait w = { 0 };
	Route r = route_to("evil.test", "/\n\tbind :1");
	edge_table_add_backend(t, "s/web:80");
	edge_table_add_route(t, &r, "s", "web", "s/web:80");
	assert_int_equal(edge_check(edge, t, &err), -EINVAL);
	edge_set(edge, t, set_done, &w);
	run_until(&w.done);
	assert_int_equal(w.code, -EINVAL);
	assert_int_equal(ask("many.test", "/b1").status, 200); /* what was, goes on */
}

/* What held the port before is in the way of the one to come. */
static void test_same_port_elsewhere(void **state)
{
	static const char *const hosts[] = { "0.0.0.0", "127.0.0.2", "127.0.0.1" };
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		edge_free(edge);
		open_edge(hosts[i]);
		set(twin(2, 5, 5));
		edge_address = i < 2 ? INADDR_LOOPBACK + 1 : INADDR_LOOPBACK;
		assert_int_equal(ask("none", "/nowhere").status, 404);
		assert_null(edge_trouble(edge));
	}
}

static void test_port_held(void **state)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_EDGE_TABLE *t = edge_table_new();
	uint16_t held;
	AUTO_CLOSE int fd = listen_any(INADDR_LOOPBACK, &held);
	AUTO_FREE char *http = xasprintf("127.0.0.1:%u", held), *other = xasprintf("%s/other", dir);
	AUTO_FREE char *me = xasprintf("(pid %d)", (int) getpid());
	Edge *second;
	Route r = route_to("a.test", "/");
	edge_table_add_backend(t, "s/web:80");
	edge_table_add_route(t, &r, "s", "web", "s/web:80");
	assert_int_equal(edge_new(&loop, &(EdgeOptions) { .state_dir = other, .run_dir = other, .http = http, .https = "off" }, &second, &err), 0);
	assert_int_equal(edge_check(second, t, &err), -EADDRINUSE);
	assert_non_null(strstr(err_text(&err), me));
	edge_free(second);
}

static void test_end(void **state)
{
	pid_t pid = edge_pid(edge);
	set(edge_table_new());
	int64_t end = time_mono() + PATIENCE;
	while (edge_pid(edge) && time_mono() < end) {
		(void) uv_run(&loop, UV_RUN_NOWAIT);
		(void) poll(NULL, 0, 1);
	}
	assert_int_equal(edge_pid(edge), 0);
	assert_int_equal(kill(pid, 0), -1);
	assert_true(client() < 0);
	set(twin(2, 5, 5)); /* and begins anew */
	assert_int_equal(ask("none", "/nowhere").status, 404);
	edge_quit(edge);
	edge_free(edge);
}

int main(void)
{
	const char *program;
	pthread_t thread;
	if (geteuid() != 0 || haproxy_program(&program, NULL) < 0) {
		fprintf(stderr, "skipped: root and HAProxy are needed\n");
		return 77;
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_tables),
		cmocka_unit_test(test_taken_over),
		cmocka_unit_test(test_killed),
		cmocka_unit_test(test_host_with_path),
		cmocka_unit_test(test_trial),
		cmocka_unit_test(test_more_slots),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_same_port_elsewhere),
		cmocka_unit_test(test_port_held),
		cmocka_unit_test(test_end),
	};
	log_init(LOG_LEVEL_ERROR);
	(void) signal(SIGPIPE, SIG_IGN);
	(void) snprintf(dir, sizeof(dir), "/tmp/stead-test-edge.XXXXXX");
	if (!mkdtemp(dir) || chmod(dir, 0755) < 0 || uv_loop_init(&loop) < 0)
		return 1;
	int servers = listen_any(INADDR_ANY, &server_port);
	int probe = listen_any(INADDR_LOOPBACK, &edge_port); /* a port that is free */
	(void) close(probe);
	if (pthread_create(&thread, NULL, serve, &servers) != 0)
		return 1;
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	if (failed && edge)
		edge_quit(edge);
	for (int i = 0; i < 200; i++) {
		(void) uv_run(&loop, UV_RUN_NOWAIT);
		(void) poll(NULL, 0, 1);
	}
	(void) tree_remove(AT_FDCWD, dir);
	return failed;
}
