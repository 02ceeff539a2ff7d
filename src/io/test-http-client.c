// SPDX-License-Identifier: Apache-2.0
/*
 * The daemon's side is a thread-free script: its bytes are put into a socket pair before the client reads, or
 * (where both sides must act) a child process serves a real socket.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/http-client.h"

static HttpClient *pair(int *ret_fd)
{
	int p[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p), 0);
	*ret_fd = p[1];
	return http_client_new(p[0], p[0]);
}

static void say(int fd, const char *s)
{
	assert_int_equal(fd_write_all(fd, s, strlen(s)), 0);
}

static char *heard(int fd)
{
	AUTO_BUF b = BUF_INIT;
	ssize_t n = recv(fd, buf_reserve(&b, 4096), 4096, MSG_DONTWAIT);
	buf_added(&b, n > 0 ? (size_t) n : 0);
	return buf_steal(&b);
}

static void json_both_ways(void **state)
{
	AUTO_CLOSE int fd = -1;
	AUTO_HTTP *c = pair(&fd);
	AUTO_ERR err = ERR_INIT;
	json_t *body = json_pack("{s:i}", "a", 1), *answer = NULL;
	say(fd, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 7\r\nX-Two: x\r\nX-One:\r\n\r\n{\"b\":2}");
	assert_int_equal(http_call_json(c, "POST", "/x?y=1", body, &answer, &err), 0);
	assert_int_equal(json_integer_value(json_object_get(answer, "b")), 2);
	assert_string_equal(http_response_header(c, "x-two"), "x");
	assert_string_equal(http_response_header(c, "X-ONE"), "");
	assert_null(http_response_header(c, "X-Three"));
	AUTO_FREE char *sent = heard(fd);
	assert_true(str_starts(sent, "POST /x?y=1 HTTP/1.1\r\nHost: "));
	assert_non_null(strstr(sent, "\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{\"a\":1}"));
	json_decref(body);
	json_decref(answer);
}

static void errors_have_the_daemons_text(void **state)
{
	AUTO_CLOSE int fd = -1;
	AUTO_HTTP *c = pair(&fd);
	AUTO_ERR err = ERR_INIT;
	say(fd, "HTTP/1.1 409 Conflict\r\nContent-Length: 27\r\n\r\n{\"message\":\"port in use 1\"}");
	assert_int_equal(http_call(c, "GET", "/", NULL, false, &err), -EEXIST);
	assert_string_equal(err_text(&err), "port in use 1");
	say(fd, "");
	AUTO_CLOSE int fd2 = -1;
	AUTO_HTTP *d = pair(&fd2);
	say(fd2, "HTTP/1.1 500 Oh\r\nContent-Length: 4\r\n\r\nhelp");
	assert_int_equal(http_call_json(d, "GET", "/", NULL, NULL, &err), -EIO);
	assert_string_equal(err_text(&err), "the daemon answered 500: help");
}

static void lines(void **state)
{
	AUTO_CLOSE int fd = -1;
	AUTO_HTTP *c = pair(&fd);
	char *line = NULL;
	size_t n = 0;
	say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na\nb\r\n2\r\nc\n\r\n5\r\n\ntail\r\n0\r\n\r\n");
	assert_int_equal(http_call(c, "GET", "/", NULL, false, NULL), 200);
	static const char *const want[] = { "a", "bc", "", "tail" };
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		assert_int_equal(http_read_line(c, &line, &n, NULL), 1);
		assert_string_equal(line, want[i]);
		assert_int_equal(n, strlen(want[i]));
	}
	assert_int_equal(http_read_line(c, &line, &n, NULL), 0);
}

static void reads_without_waiting(void **state)
{
	AUTO_CLOSE int fd = -1;
	AUTO_HTTP *c = pair(&fd);
	char p[16] = "";
	say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
	assert_int_equal(http_call(c, "GET", "/", NULL, false, NULL), 200);
	assert_true(http_pending(c));
	assert_int_equal(http_read_some(c, p, 3, NULL), 3);
	assert_true(http_pending(c));
	assert_int_equal(http_read_some(c, p, sizeof(p), NULL), 2);
	assert_false(http_pending(c));
	assert_int_equal(http_read_some(c, p, sizeof(p), NULL), -EAGAIN);
	say(fd, "2\r"); /* readable, but nothing of the body: still it must not wait */
	assert_int_equal(http_read_some(c, p, sizeof(p), NULL), -EAGAIN);
	say(fd, "\nxy\r\n0\r\n\r\n");
	assert_int_equal(http_read_some(c, p, sizeof(p), NULL), 2);
	assert_memory_equal(p, "xy", 2);
	assert_int_equal(http_read_some(c, p, sizeof(p), NULL), 0);
	assert_true(http_pending(c));
}

static void body_to_the_end_of_the_connection(void **state)
{
	int fd = -1;
	AUTO_HTTP *c = pair(&fd);
	AUTO_BUF b = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	say(fd, "HTTP/1.0 200 OK\r\n\r\nabc");
	(void) close(fd);
	assert_int_equal(http_call(c, "GET", "/", NULL, false, NULL), 200);
	assert_int_equal(http_read_all(c, 100, &b, NULL), 0);
	assert_string_equal(buf_cstr(&b), "abc");
	assert_int_equal(http_request(c, "GET", "/", NULL, false, &err), -ECONNRESET);
}

static void cut_off_and_nonsense(void **state)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_BUF b = BUF_INIT;
	int fd = -1;
	AUTO_HTTP *c = pair(&fd);
	say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
	(void) close(fd);
	assert_int_equal(http_call(c, "GET", "/", NULL, false, NULL), 200);
	assert_int_equal(http_read_all(c, 100, &b, &err), -ECONNRESET);
	assert_non_null(strstr(err_text(&err), "lost"));
	AUTO_HTTP *d = pair(&fd);
	say(fd, "SSH-2.0-x\r\n");
	assert_int_equal(http_call(d, "GET", "/", NULL, false, &err), -EPROTO);
	(void) close(fd);
	AUTO_HTTP *e = pair(&fd);
	say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789");
	assert_int_equal(http_call(e, "GET", "/", NULL, false, NULL), 200);
	assert_int_equal(http_read_all(e, 5, &b, &err), -EFBIG);
	(void) close(fd);
}

/** Bytes behind an answer belong to nothing: they are not taken for a part of it. */
static void more_than_was_asked_for(void **state)
{
	int fd = -1;
	AUTO_HTTP *c = pair(&fd);
	AUTO_BUF b = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 100 Continue\r\n\r\n");
	(void) close(fd);
	assert_int_equal(http_call(c, "GET", "/", NULL, false, NULL), 200);
	assert_int_equal(http_read_all(c, 100, &b, NULL), 0);
	assert_string_equal(buf_cstr(&b), "a");
	assert_int_equal(http_request(c, "GET", "/", NULL, false, &err), -ECONNRESET);
}

static void busy_connection_is_refused(void **state)
{
	AUTO_CLOSE int fd = -1;
	AUTO_HTTP *c = pair(&fd);
	AUTO_ERR err = ERR_INIT;
	say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na");
	assert_int_equal(http_call(c, "GET", "/", NULL, false, NULL), 200);
	assert_int_equal(http_call(c, "GET", "/", NULL, false, &err), -EBUSY);
}

static void hijacks(void **state)
{
	static const char *const heads[] = { "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
					     "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n" };
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		AUTO_CLOSE int fd = -1;
		AUTO_HTTP *c = pair(&fd);
		AUTO_BUF b = BUF_INIT;
		int rfd = -1, wfd = -1;
		say(fd, heads[i]);
		say(fd, "\1\0\0raw"); /* ends at the first NUL: one byte */
		say(fd, "more");
		assert_int_equal(http_call(c, "POST", "/attach", NULL, true, NULL), i ? 200 : 101);
		http_hijack_client(c, &rfd, &wfd, &b);
		assert_string_equal(buf_cstr(&b), "\1more");
		assert_int_equal(rfd, wfd);
		say(fd, "z");
		char z;
		assert_int_equal(read(rfd, &z, 1), 1);
		AUTO_FREE char *sent = heard(fd);
		assert_non_null(strstr(sent, "\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"));
		(void) close(rfd);
	}
}

static void streams_a_body(void **state)
{
	AUTO_CLOSE int fd = -1;
	AUTO_HTTP *c = pair(&fd);
	int p[2];
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	say(p[1], "hello");
	(void) close(p[1]);
	HttpBody b = { .stream = true, .fd = p[0], .type = "application/x-tar" };
	/* The answer is there early; as it is no refusal, all is sent. */
	say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	assert_int_equal(http_call(c, "POST", "/load", &b, false, NULL), 200);
	AUTO_FREE char *sent = heard(fd);
	assert_true(str_ends(sent, "\r\nContent-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"));
	(void) close(p[0]);

	AUTO_CLOSE int file = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	assert_true(file >= 0);
	say(file, "xhello");
	assert_int_equal(lseek(file, 1, SEEK_SET), 1);
	b.fd = file;
	say(fd, ""); /* nothing is due: the connection is used again */
	pid_t child = fork();
	if (child == 0) {
		char in[4096];
		size_t n = 0;
		while (!memmem(in, n, "hello", 5))
			n += (size_t) read(fd, in + n, sizeof(in) - n);
		int ok = memmem(in, n, "Content-Length: 5\r\n\r\nhello", 26) != NULL;
		say(fd, ok ? "HTTP/1.1 204 No Content\r\n\r\n" : "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n");
		_exit(0);
	}
	assert_int_equal(http_call(c, "POST", "/load", &b, false, NULL), 204);
	assert_int_equal(waitpid(child, NULL, 0), child);
}

static void refusal_stops_the_body(void **state)
{
	AUTO_CLOSE int fd = -1;
	AUTO_HTTP *c = pair(&fd);
	AUTO_ERR err = ERR_INIT;
	AUTO_CLOSE int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	HttpBody b = { .stream = true, .fd = zero };
	say(fd, "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 21\r\n\r\n{\"message\":\"too big\"}");
	assert_int_equal(http_call(c, "POST", "/load", &b, false, &err), -EFBIG);
	assert_string_equal(err_text(&err), "too big");
}

static void connecting(void **state)
{
	char dir[] = "/tmp/stead-test-client-XXXXXX";
	assert_non_null(mkdtemp(dir));
	AUTO_FREE char *path = xasprintf("%s/sock", dir);
	AUTO_ERR err = ERR_INIT;
	HttpClient *c = NULL;
	assert_int_equal(http_client_connect(path, &c, &err), -ENOENT);
	assert_non_null(strstr(err_text(&err), path));
	assert_non_null(strstr(err_text(&err), "systemctl start stead"));
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	memcpy(a.sun_path, path, strlen(path) + 1);
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *) &a, sizeof(a)), 0);
	assert_int_equal(http_client_connect(path, &c, &err), -ECONNREFUSED);
	assert_int_equal(listen(fd, 5), 0);
	assert_int_equal(http_client_connect(path, &c, NULL), 0);
	/* The server closes after each answer, and once unasked: the next request connects anew. */
	pid_t child = fork();
	if (child == 0) {
		for (int i = 0; i < 3; i++) {
			char in[4096];
			int conn = accept(fd, NULL, NULL);
			(void) !read(conn, in, sizeof(in));
			say(conn, i ? "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n" : "HTTP/1.1 204 No Content\r\n\r\n");
			(void) close(conn);
		}
		_exit(0);
	}
	assert_int_equal(http_call(c, "GET", "/", NULL, false, NULL), 204);
	struct pollfd p = { .fd = http_fd(c), .events = POLLIN };
	assert_int_equal(poll(&p, 1, 60000), 1);
	assert_int_equal(http_call(c, "GET", "/", NULL, false, NULL), 204);
	assert_int_equal(http_call(c, "GET", "/", NULL, false, NULL), 204);
	http_client_free(c);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_int_equal(tree_remove(AT_FDCWD, dir), 0);
}

/** A daemon that answers each connection's first request, and ends it when the second is on its way. */
static void leave_early(int fd, int ready, bool reads_it)
{
	int first = -1;
	for (int i = 0; i < 3; i++) {
		char in[4096];
		int conn = accept(fd, NULL, NULL);
		(void) !read(conn, in, sizeof(in));
		(void) close(first);
		say(conn, "HTTP/1.1 204 No Content\r\n\r\n");
		if (i == 0 && reads_it)
			(void) !read(conn, in, 1);
		else if (i == 0)
			(void) shutdown(conn, SHUT_RD);
		if (i > 0 || reads_it)
			(void) close(conn);
		else
			first = conn;
		say(ready, "x");
	}
}

/* As the daemon ends a connection to make room: what it has not read, or what may be asked twice, is asked on a new one. */
static void connection_ends_as_a_request_begins(void **state)
{
	static const struct {
		const char *method;
		bool reads_it;
		int want;
	} cases[] = { { "POST", false, 204 }, { "GET", false, 204 }, { "GET", true, 204 }, { "POST", true, -ECONNRESET } };
	char dir[] = "/tmp/stead-test-client-XXXXXX";
	assert_non_null(mkdtemp(dir));
	AUTO_FREE char *path = xasprintf("%s/sock", dir);
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	memcpy(a.sun_path, path, strlen(path) + 1);
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *) &a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 5), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int ready[2];
		char x;
		HttpClient *c = NULL;
		AUTO_ERR err = ERR_INIT;
		assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
		assert_int_equal(http_client_connect(path, &c, NULL), 0);
		pid_t child = fork();
		if (child == 0) {
			leave_early(fd, ready[1], cases[i].reads_it);
			_exit(0);
		}
		assert_int_equal(http_call(c, "GET", "/", NULL, false, NULL), 204);
		if (!cases[i].reads_it)
			assert_int_equal(read(ready[0], &x, 1), 1);
		assert_int_equal(http_call(c, cases[i].method, "/", NULL, false, &err), cases[i].want);
		http_client_free(c);
		(void) kill(child, SIGKILL);
		assert_int_equal(waitpid(child, NULL, 0), child);
		(void) close(ready[0]);
		(void) close(ready[1]);
	}
	assert_int_equal(tree_remove(AT_FDCWD, dir), 0);
}

static void dead_pipe_is_an_error(void **state)
{
	int in[2], out[2];
	AUTO_ERR err = ERR_INIT;
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	(void) close(in[1]);
	(void) close(out[0]);
	AUTO_HTTP *c = http_client_new(in[0], out[1]);
	assert_int_equal(http_call(c, "GET", "/", NULL, false, &err), -ECONNRESET); /* not SIGPIPE */
}

static void urls(void **state)
{
	AUTO_BUF b = BUF_INIT;
	buf_str(&b, "/images/");
	http_url_append(&b, "a/b:1 \xc3\xa9~");
	http_url_query(&b, "x", NULL);
	http_url_query(&b, "f", "{\"a=b\"}");
	http_url_query(&b, "g", "");
	assert_string_equal(buf_cstr(&b), "/images/a%2Fb%3A1%20%C3%A9~?f=%7B%22a%3Db%22%7D&g=");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(json_both_ways),
		cmocka_unit_test(errors_have_the_daemons_text),
		cmocka_unit_test(lines),
		cmocka_unit_test(reads_without_waiting),
		cmocka_unit_test(body_to_the_end_of_the_connection),
		cmocka_unit_test(cut_off_and_nonsense),
		cmocka_unit_test(more_than_was_asked_for),
		cmocka_unit_test(busy_connection_is_refused),
		cmocka_unit_test(hijacks),
		cmocka_unit_test(streams_a_body),
		cmocka_unit_test(refusal_stops_the_body),
		cmocka_unit_test(connecting),
		cmocka_unit_test(connection_ends_as_a_request_begins),
		cmocka_unit_test(dead_pipe_is_an_error),
		cmocka_unit_test(urls),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
