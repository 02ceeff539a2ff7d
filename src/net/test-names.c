// SPDX-License-Identifier: Apache-2.0

/*
 * Names end to end: the daemon's side, a real stead-names process, and queries from inside network
 * namespaces. Networks A (web1, web2, db) and B (other); the host's resolver is a socket of the test's on
 * 127.0.0.1.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "base/str.h"
#include "base/time.h"
#include "net/names.h"
#include "net/test-ns.h"

enum { A = 1, PTR = 12, MX = 15, AAAA = 28 };
enum { NOERROR = 0, SERVFAIL = 2, NXDOMAIN = 3 };

static uv_loop_t loop;
static Names *names;
static int web1, web2, db, other;
static int upstream_udp, upstream_tcp;
static int lost_calls;

/* ── messages ─────────────────────────────────────────────────────── */

static size_t make_query(uint8_t q[512], uint16_t id, const char *name, uint16_t type)
{
	size_t n = 12;

	memset(q, 0, 12);
	q[0] = (uint8_t) (id >> 8);
	q[1] = (uint8_t) id;
	q[2] = 1; /* RD */
	q[5] = 1;
	while (*name) {
		size_t len = strcspn(name, ".");

		q[n++] = (uint8_t) len;
		memcpy(q + n, name, len);
		n += len;
		name += len + (name[len] == '.');
	}
	memcpy(q + n, (uint8_t[]){ 0, (uint8_t) (type >> 8), (uint8_t) type, 0, 1 }, 5);
	return n + 5;
}

typedef struct Reply {
	int rcode; /* -1: none came */
	unsigned n;
	char addresses[40][INET_ADDRSTRLEN];
	size_t size;
	bool truncated;
	uint8_t p[65535];
} Reply;

static void read_reply(Reply *r, size_t question_end)
{
	size_t at = question_end;

	r->rcode = r->p[3] & 15;
	r->truncated = r->p[2] & 2;
	r->n = (unsigned) (r->p[6] << 8 | r->p[7]);
	for (unsigned i = 0; i < r->n && i < 40 && at + 12 <= r->size; i++) {
		size_t len = (size_t) (r->p[at + 10] << 8 | r->p[at + 11]);

		if (len == 4)
			inet_ntop(AF_INET, r->p + at + 12, r->addresses[i], INET_ADDRSTRLEN);
		at += 12 + len;
	}
}

static int ask_socket(int ns, int type)
{
	struct sockaddr_in to = test_sockaddr("127.0.0.11", 53);
	int fd = -1;

	assert_int_equal(netns_socket(ns, AF_INET, type, 0, &fd, NULL), 0);
	assert_int_equal(connect(fd, (void *) &to, sizeof(to)), 0);
	return fd;
}

static void ask(int ns, const char *name, uint16_t type, Reply *r)
{
	static uint16_t id;
	uint8_t q[512];
	size_t n = make_query(q, ++id, name, type);
	AUTO_CLOSE int fd = ask_socket(ns, SOCK_DGRAM);
	ssize_t got;

	r->rcode = -1;
	assert_int_equal(send(fd, q, n, 0), n);
	if (!test_readable(fd, WAIT_MS))
		return;
	got = recv(fd, r->p, sizeof(r->p), 0);
	assert_true(got >= (ssize_t) n);
	assert_int_equal(r->p[1], id & 255);
	r->size = (size_t) got;
	read_reply(r, n);
}

static bool has(const Reply *r, const char *address)
{
	for (unsigned i = 0; i < r->n; i++)
		if (str_eq(r->addresses[i], address))
			return true;
	return false;
}

static Reply reply;

/* What the daemon has told arrives a moment later: the server is a process of its own. */
static void expect(int ns, const char *name, const char *address)
{
	int64_t until = time_mono() + WAIT_MS * NSEC_PER_MSEC;

	do {
		ask(ns, name, A, &reply);
		if (reply.rcode == NOERROR && reply.n == 1 && has(&reply, address))
			return;
		usleep(2000);
	} while (time_mono() < until);
	fail_msg("%s: code %d, %u answers, %s", name, reply.rcode, reply.n, reply.addresses[0]);
}

static void expect_unknown(int ns, const char *name)
{
	int64_t until = time_mono() + WAIT_MS * NSEC_PER_MSEC;

	do {
		ask(ns, name, A, &reply);
		if (reply.rcode == SERVFAIL)
			return;
		usleep(2000);
	} while (time_mono() < until);
	fail_msg("%s is still known: code %d", name, reply.rcode);
}

/* ── scene ────────────────────────────────────────────────────────── */

static void ok(int r, const Err *err)
{
	if (r < 0)
		fail_msg("%s", err_text(err));
}

static void turn_loop(void)
{
	for (int i = 0; i < 30; i++) {
		uv_run(&loop, UV_RUN_NOWAIT);
		usleep(1000);
	}
}

static void add(int ns, const char *id, const char *network, bool forward)
{
	const char *networks[] = { network, NULL };
	AUTO_ERR err = ERR_INIT;

	ok(names_endpoint_add(names,
		   &(NamesEndpoint){ .id = id, .netns_fd = ns, .networks = networks, .forward = forward },
		   &err),
		&err);
}

static void set(const char *network, const char *network_name, const char *address, const char *first,
	const char *second, const char *third)
{
	const char *list[] = { first, second, third, NULL };
	Addr a = test_addr(address);
	AUTO_ERR err = ERR_INIT;

	ok(names_set(names, network, network_name, &a, list, &err), &err);
}

static void tell_all(void)
{
	set("net-a", "blog_default", "10.1.0.2", "blog-web-1", "web", "0123456789ab");
	set("net-a", "blog_default", "10.1.0.3", "blog-web-2", "Web", NULL);
	set("net-a", "blog_default", "10.1.0.4", "blog-db-1", "db", "db.local");
	set("net-b", "shop_default", "10.2.0.2", "shop-web-1", "web", NULL);
	add(web1, "web1", "net-a", true);
	add(web2, "web2", "net-a", true);
	add(db, "db", "net-a", false);
	add(other, "other", "net-b", true);
	names_synced(names);
}

static void on_lost(void *user)
{
	lost_calls++;
	tell_all();
}

static void start(void)
{
	AUTO_ERR err = ERR_INIT;
	Addr upstreams[] = { test_addr("127.0.0.1"), test_addr("127.0.0.2") };

	ok(names_new(&loop, test_run_dir, on_lost, NULL, &names, &err), &err);
	names_upstreams(names, upstreams, 2);
}

/* As the daemon's other handles do: names alone do not keep a loop turning. */
static uv_async_t daemon_lives;

static int set_scene(void **state)
{
	static const char *const ids[] = { "web1", "web2", "db", "other" };
	int *const fds[] = { &web1, &web2, &db, &other };

	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(uv_async_init(&loop, &daemon_lives, NULL), 0);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(netns_create(test_run_dir, ids[i], NULL, fds[i], NULL), 0);
	upstream_udp = test_server(-1, SOCK_DGRAM, "127.0.0.1", 53);
	upstream_tcp = test_server(-1, SOCK_STREAM, "127.0.0.1", 53);
	start();
	tell_all();
	return 0;
}

/* ── tests ────────────────────────────────────────────────────────── */

static void answers_names(void **state)
{
	expect(web1, "blog-web-1", "10.1.0.2");
	expect(web1, "0123456789ab", "10.1.0.2");
	expect(web1, "DB", "10.1.0.4"); /* case does not matter */
	expect(web1, "db.local", "10.1.0.4");
	expect(web1, "db.blog_default", "10.1.0.4");
	expect(db, "db", "10.1.0.4");
	expect(other, "web", "10.2.0.2"); /* each network has its own */
}

static void answers_all_replicas(void **state)
{
	bool first[2] = { false, false };

	for (int i = 0; i < 60; i++) {
		ask(db, "web", A, &reply);
		assert_int_equal(reply.rcode, NOERROR);
		assert_int_equal(reply.n, 2);
		assert_true(has(&reply, "10.1.0.2"));
		assert_true(has(&reply, "10.1.0.3"));
		first[str_eq(reply.addresses[0], "10.1.0.3")] = true;
	}
	assert_true(first[0] && first[1]);
}

static void answers_nothing_else_about_known_names(void **state)
{
	ask(web1, "db", AAAA, &reply);
	assert_int_equal(reply.rcode, NOERROR);
	assert_int_equal(reply.n, 0);
	ask(web1, "db", MX, &reply);
	assert_int_equal(reply.rcode, NOERROR);
	assert_int_equal(reply.n, 0);
	assert_false(test_readable(upstream_udp, 0));
}

static void answers_addresses(void **state)
{
	static const uint8_t wire[] = "\x9"
				      "blog-db-1"
				      "\xc"
				      "blog_default";

	ask(web1, "4.0.1.10.in-addr.arpa", PTR, &reply);
	assert_int_equal(reply.rcode, NOERROR);
	assert_int_equal(reply.n, 1);
	assert_true(reply.size > sizeof(wire));
	assert_memory_equal(reply.p + reply.size - sizeof(wire), wire, sizeof(wire));
}

/* Lets the test play the host's resolver: answers the next query for `name` with `code`, and passes others over, which
 * may be an earlier one asked once more. */
static bool serve_upstream(const char *name, uint8_t code, bool wrong_id)
{
	struct sockaddr_in peer;
	socklen_t len = sizeof(peer);
	uint8_t p[512], q[512];
	size_t question_end = make_query(q, 0, name, A);
	ssize_t n;

	do {
		if (!test_readable(upstream_udp, WAIT_MS))
			return false;
		n = recvfrom(upstream_udp, p, sizeof(p), 0, (void *) &peer, &len);
		assert_true(n > 12);
	} while ((size_t) n < question_end || memcmp(p + 12, q + 12, question_end - 12) != 0);
	p[2] |= 0x80;
	p[3] = code;
	if (wrong_id)
		p[1] ^= 1;
	assert_int_equal(sendto(upstream_udp, p, (size_t) n, 0, (void *) &peer, len), n);
	return true;
}

static void forwards_the_rest(void **state)
{
	AUTO_CLOSE int fd = ask_socket(web1, SOCK_DGRAM);
	uint8_t q[512];
	size_t n = make_query(q, 4711, "example.com", A);

	assert_int_equal(send(fd, q, n, 0), n);
	assert_true(serve_upstream("example.com", NXDOMAIN, false));
	assert_true(test_readable(fd, WAIT_MS));
	assert_int_equal(recv(fd, reply.p, sizeof(reply.p), 0), n);
	assert_memory_equal(reply.p, q, 2);
	assert_int_equal(reply.p[3] & 15, NXDOMAIN);
	/* A forged answer is passed over; the true one counts. */
	n = make_query(q, 4712, "forged.example.com", A);
	assert_int_equal(send(fd, q, n, 0), n);
	assert_true(serve_upstream("forged.example.com", NOERROR, true));
	assert_false(test_readable(fd, NOTHING_MS));
	/* It failed: the second server does not exist, so the failure is told at once. */
	n = make_query(q, 4713, "failed.example.com", A);
	assert_int_equal(send(fd, q, n, 0), n);
	assert_true(serve_upstream("failed.example.com", SERVFAIL, false));
	assert_true(test_readable(fd, WAIT_MS));
	assert_true(recv(fd, reply.p, sizeof(reply.p), 0) > 0);
	assert_int_equal(reply.p[3] & 15, SERVFAIL);
	assert_int_equal(reply.p[1], 4713 & 255);
}

static void internal_asks_nobody(void **state)
{
	uint8_t p[512], q[512];
	size_t n = make_query(q, 0, "internal.example.com", A);

	ask(db, "internal.example.com", A, &reply);
	assert_int_equal(reply.rcode, SERVFAIL);
	while (test_readable(upstream_udp, 0)) { /* one of the test before may be asked once more */
		ssize_t got = recv(upstream_udp, p, sizeof(p), 0);

		assert_true((size_t) got < n || memcmp(p + 12, q + 12, n - 12) != 0);
	}
}

static void read_all(int fd, void *p, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t got;

		assert_true(test_readable(fd, WAIT_MS));
		got = recv(fd, (uint8_t *) p + done, n - done, 0);
		assert_true(got > 0);
		done += (size_t) got;
	}
}

static size_t send_tcp_query(int fd, uint16_t id, const char *name)
{
	uint8_t q[514];
	size_t n = make_query(q + 2, id, name, A);

	q[0] = 0;
	q[1] = (uint8_t) n;
	/* In two pieces, as networks do. */
	assert_int_equal(send(fd, q, 1, 0), 1);
	usleep(1000);
	assert_int_equal(send(fd, q + 1, n + 1, 0), n + 1);
	return n;
}

static void read_tcp_reply(int fd, size_t question_end)
{
	uint8_t prefix[2];

	read_all(fd, prefix, 2);
	reply.size = (size_t) (prefix[0] << 8 | prefix[1]);
	read_all(fd, reply.p, reply.size);
	read_reply(&reply, question_end);
}

static void answers_tcp(void **state)
{
	AUTO_CLOSE int fd = ask_socket(web1, SOCK_STREAM);
	uint8_t p[514];
	size_t n = send_tcp_query(fd, 1, "db");

	read_tcp_reply(fd, n);
	assert_true(has(&reply, "10.1.0.4"));
	/* A second query on the same connection is asked outside. */
	n = send_tcp_query(fd, 2, "example.com");
	assert_true(test_readable(upstream_tcp, WAIT_MS));
	AUTO_CLOSE int conn = accept(upstream_tcp, NULL, NULL);
	read_all(conn, p, n + 2);
	p[4] |= 0x80;
	p[5] = NXDOMAIN;
	assert_int_equal(send(conn, p, n + 2, 0), n + 2);
	read_tcp_reply(fd, n);
	assert_int_equal(reply.rcode, NXDOMAIN);
	assert_int_equal(reply.p[1], 2);
}

static void leaves_port_53_to_the_image(void **state)
{
	AUTO_CLOSE int udp = test_server(web1, SOCK_DGRAM, "0.0.0.0", 53);
	AUTO_CLOSE int tcp = test_server(web1, SOCK_STREAM, "0.0.0.0", 53);

	assert_true(udp >= 0 && tcp >= 0);
	expect(web1, "db", "10.1.0.4");
	assert_true(test_udp(web1, "127.0.0.1", 53, udp, WAIT_MS, NULL));
}

static void changes_names(void **state)
{
	Addr a = test_addr("10.1.0.4");

	set("net-a", "blog_default", "10.1.0.4", "blog-db-1", "database", NULL);
	expect(web1, "database", "10.1.0.4");
	expect_unknown(db, "db");
	names_clear(names, "net-a", &a);
	expect_unknown(db, "database");
	set("net-a", "blog_default", "10.1.0.4", "blog-db-1", "db", "db.local");
	expect(db, "db", "10.1.0.4");
}

static void truncates(void **state)
{
	enum { N = 40 };
	AUTO_CLOSE int fd = ask_socket(web1, SOCK_STREAM);
	int64_t until = time_mono() + WAIT_MS * NSEC_PER_MSEC;

	for (int i = 0; i < N; i++) {
		char address[32];

		(void) snprintf(address, sizeof(address), "10.1.1.%d", i);
		set("net-a", "blog_default", address, "many", NULL, NULL);
	}
	do {
		read_tcp_reply(fd, send_tcp_query(fd, 2, "many"));
	} while (reply.n < N && time_mono() < until && usleep(2000) == 0);
	ask(web1, "many", A, &reply);
	assert_true(reply.truncated);
	assert_true(reply.size <= 512);
	assert_true(reply.n > 25 && reply.n < N);
	read_tcp_reply(fd, send_tcp_query(fd, 3, "many"));
	assert_int_equal(reply.n, N);
	for (int i = 0; i < N; i++) {
		char address[32];
		Addr a;

		(void) snprintf(address, sizeof(address), "10.1.1.%d", i);
		a = test_addr(address);
		names_clear(names, "net-a", &a);
	}
}

static void refuses_bad_names(void **state)
{
	set("net-a", "blog_default", "10.1.0.9", "a..b", "good", "white space");
	expect(web1, "good", "10.1.0.9");
	Addr a = test_addr("10.1.0.9");
	names_clear(names, "net-a", &a);
}

static void outlives_the_daemon(void **state)
{
	pid_t pid = names_pid(names);
	Addr a = test_addr("10.1.0.77");

	assert_true(pid > 0);
	set("net-a", "blog_default", "10.1.0.77", "stale", NULL, NULL);
	names_free(names);
	turn_loop();
	expect(web1, "db", "10.1.0.4");
	start();
	assert_int_equal(names_pid(names), pid);
	expect(web1, "stale", "10.1.0.77"); /* served until the new daemon has told all */
	tell_all();
	expect(web1, "db", "10.1.0.4");
	expect_unknown(db, "stale");
	assert_true(addr_set(&a));
}

/* A container that did not run while the daemon was restarted, and is started later: its old sockets are of no use. */
static void what_was_dropped_comes_back(void **state)
{
	AUTO_ERR err = ERR_INIT;

	names_free(names);
	turn_loop();
	start();
	set("net-a", "blog_default", "10.1.0.4", "blog-db-1", "db", "db.local");
	add(web1, "web1", "net-a", true);
	add(db, "db", "net-a", false);
	add(other, "other", "net-b", true);
	names_synced(names);
	(void) close(web2);
	ok(netns_remove(test_run_dir, "web2", &err), &err);
	ok(netns_create(test_run_dir, "web2", NULL, &web2, &err), &err);
	add(web2, "web2", "net-a", true);
	expect(web2, "db", "10.1.0.4");
	tell_all();
}

static void is_started_again(void **state)
{
	int64_t until = time_mono() + WAIT_MS * NSEC_PER_MSEC;
	pid_t pid = names_pid(names);

	lost_calls = 0;
	kill(pid, SIGKILL);
	/* The daemon that had started it (outlives_the_daemon) was this process too. */
	(void) waitpid(pid, NULL, 0);
	while (!lost_calls && time_mono() < until) {
		uv_run(&loop, UV_RUN_NOWAIT);
		usleep(1000);
	}
	assert_int_equal(lost_calls, 1);
	assert_int_not_equal(names_pid(names), pid);
	expect(web1, "db", "10.1.0.4");
	expect(other, "web", "10.2.0.2");
}

static void is_nobody(void **state)
{
	AUTO_FREE char *path = xasprintf("/proc/%d/status", (int) names_pid(names));
	AUTO_FREE char *smaps = xasprintf("/proc/%d/smaps_rollup", (int) names_pid(names));
	AUTO_FREE char *sock = xasprintf("%s/names.sock", test_run_dir);
	AUTO_BUF text = BUF_INIT;
	AUTO_BUF memory = BUF_INIT;
	struct stat st;

	assert_int_equal(file_read(AT_FDCWD, path, 1 << 16, &text), 0);
	assert_non_null(strstr(buf_cstr(&text), "Uid:\t65534\t65534\t65534\t65534"));
	assert_non_null(strstr(buf_cstr(&text), "CapEff:\t0000000000000000"));
	assert_non_null(strstr(buf_cstr(&text), "NoNewPrivs:\t1"));
	assert_int_equal(stat(sock, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	if (file_read(AT_FDCWD, smaps, 1 << 16, &memory) == 0 && strstr(buf_cstr(&memory), "Pss:"))
		printf("stead-names: %.20s\n", strstr(buf_cstr(&memory), "Pss:"));
}

static void tells_times(void **state)
{
	enum { N = 20 };
	int fds[N];
	int64_t t;

	for (int i = 0; i < N; i++) {
		char id[16];

		(void) snprintf(id, sizeof(id), "t%d", i);
		assert_int_equal(netns_create(test_run_dir, id, NULL, &fds[i], NULL), 0);
	}
	t = time_mono();
	for (int i = 0; i < N; i++) {
		char id[16], address[32];

		(void) snprintf(id, sizeof(id), "t%d", i);
		(void) snprintf(address, sizeof(address), "10.1.2.%d", i);
		add(fds[i], id, "net-a", true);
		set("net-a", "blog_default", address, id, "timed", NULL);
	}
	printf("each of %d: endpoint and names %.3f ms\n", N, (double) (time_mono() - t) / N / 1e6);
	expect(fds[N - 1], "t0", "10.1.2.0");
	t = time_mono();
	for (int i = 0; i < 200; i++)
		ask(fds[0], "t0", A, &reply);
	printf("a query: %.3f ms\n", (double) (time_mono() - t) / 200 / 1e6);
	for (int i = 0; i < N; i++) {
		char id[16];

		(void) snprintf(id, sizeof(id), "t%d", i);
		names_endpoint_remove(names, id);
		assert_int_equal(netns_remove(test_run_dir, id, NULL), 0);
		close(fds[i]);
	}
}

static void ends_when_asked(void **state)
{
	static const char *const ids[] = { "web1", "web2", "db", "other" };
	pid_t pid = names_pid(names);
	int64_t until = time_mono() + WAIT_MS * NSEC_PER_MSEC;
	AUTO_FREE char *path = xasprintf("/proc/%d/exe", (int) pid);

	names_quit(names); /* not yet: there are endpoints */
	turn_loop();
	assert_int_equal(names_pid(names), pid);
	for (size_t i = 0; i < 4; i++)
		names_endpoint_remove(names, ids[i]);
	while ((access(path, F_OK) == 0 || names_pid(names) != 0) && time_mono() < until) {
		uv_run(&loop, UV_RUN_NOWAIT);
		usleep(1000);
	}
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(names_pid(names), 0);
	/* And comes back when it is needed. */
	tell_all();
	expect(web1, "db", "10.1.0.4");
	for (size_t i = 0; i < 4; i++)
		names_endpoint_remove(names, ids[i]);
	names_quit(names);
	turn_loop();
}

static int clear_scene(void **state)
{
	names_free(names);
	uv_close((uv_handle_t *) &daemon_lives, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_names),
		cmocka_unit_test(answers_all_replicas),
		cmocka_unit_test(answers_nothing_else_about_known_names),
		cmocka_unit_test(answers_addresses),
		cmocka_unit_test(forwards_the_rest),
		cmocka_unit_test(internal_asks_nobody),
		cmocka_unit_test(answers_tcp),
		cmocka_unit_test(leaves_port_53_to_the_image),
		cmocka_unit_test(changes_names),
		cmocka_unit_test(truncates),
		cmocka_unit_test(refuses_bad_names),
		cmocka_unit_test(outlives_the_daemon),
		cmocka_unit_test(what_was_dropped_comes_back),
		cmocka_unit_test(is_started_again),
		cmocka_unit_test(is_nobody),
		cmocka_unit_test(tells_times),
		cmocka_unit_test(ends_when_asked),
	};

	test_enter_namespaces();
	return cmocka_run_group_tests(tests, set_scene, clear_scene);
}
