// SPDX-License-Identifier: Apache-2.0
/*
 * How it works: a connection reads into `in`; conn_process feeds the parser from there and acts on its
 * events, one request at a time: while one is being answered, what the client has pipelined behind it waits in
 * `in`, and reading stops when that is long. No handler is ever called from inside the parser, nor from inside a
 * call that a handler made: what follows from such a call is done from the `kick` timer.
 *
 * The end of a connection: an end of file may be a client that has closed its writing half only (a client with its
 * stdin at the end, `nc -N`), which still wants its answer. poll(2) tells the two apart: POLLHUP means
 * that both halves are closed. libuv cannot watch for that, so `tick` asks once a second while a half-closed connection is being
 * answered. When we close first, the writing half is shut down and the rest of the client's bytes are
 * read away for a moment, so that a client still sending its body gets to read why it was refused.
 */
#include "io/http-server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/http-conn.h"

#define HEADER_TIMEOUT_MS 30000 /* from the first byte of a request to the end of its headers */
#define BODY_TIMEOUT_MS 60000   /* without a byte of a body that is not streamed */
#define SHUTDOWN_TIMEOUT_MS 120000 /* until the last answer has been taken */
#define LINGER_MS 2000
#define FIRST_REQUEST_MS 1000 /* that a new client has before it may have to make room */
#define TICK_MS 1000
#define PIPELINE_MAX (64U << 10) /* bytes behind an unanswered request */
#define LISTEN_BACKLOG 128

static void server_listen(HttpServer *s);
static void take_spare(HttpServer *s);
static void conn_process(HttpConn *c);

static uv_stream_t *conn_stream(HttpConn *c)
{
	return (uv_stream_t *) &c->pipe;
}

/* ---- closing ---- */

static void server_handle_closed(HttpServer *s)
{
	if (--s->handles)
		return;
	fd_closep(&s->listen_fd);
	fd_closep(&s->spare_fd);
	free(s->path);
	free(s);
}

static void on_conn_closed(uv_handle_t *h)
{
	HttpConn *c = h->data;
	HttpServer *s = c->server;
	http_message_done(&c->msg);
	buf_done(&c->in);
	free(c);
	server_handle_closed(s);
}

static void request_free(HttpRequest *r)
{
	r->conn->req = NULL;
	if (r->closed)
		r->closed(r->user);
	buf_done(&r->headers);
	free(r);
}

static void conn_close(HttpConn *c)
{
	HttpServer *s = c->server;
	if (c->closing)
		return;
	c->closing = true;
	if (c->prev)
		c->prev->next = c->next;
	else
		s->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	s->n_conns--;
	if (c->req)
		request_free(c->req);
	uv_close((uv_handle_t *) &c->pipe, on_conn_closed);
	take_spare(s);
	if (s->full && !s->closing)
		server_listen(s);
}

void conn_abort(HttpConn *c)
{
	conn_close(c);
}

static bool conn_hung_up(HttpConn *c)
{
	uv_os_fd_t fd;
	if (uv_fileno((uv_handle_t *) &c->pipe, &fd) < 0)
		return true;
	struct pollfd p = { .fd = fd, .events = 0 };
	return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR));
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
	HttpConn *c = req->handle->data;
	c->shut = true;
	if (c->eof || status < 0)
		conn_close(c);
	else
		c->deadline = uv_now(c->server->loop) + LINGER_MS;
}

static bool conn_needs_tick(const HttpConn *c)
{
	return c->deadline || (c->eof && !c->hup);
}

static void on_tick(uv_timer_t *t)
{
	HttpServer *s = t->data;
	uint64_t now = uv_now(s->loop);
	bool again = false;
	for (HttpConn *c = s->conns, *next; c && !s->closing; c = next) {
		next = c->next;
		if (c->eof && !c->hup && conn_hung_up(c)) {
			c->hup = true;
			conn_kick(c);
		}
		if (c->deadline && now >= c->deadline) {
			if (!c->lingering)
				conn_answer_error(c, 408, "the request did not arrive completely in time");
			else
				conn_close(c);
			again = true;
		} else if (conn_needs_tick(c)) {
			again = true;
		}
	}
	if (s->full && !s->closing)
		server_listen(s);
	if (again && !s->closing)
		(void) uv_timer_start(t, on_tick, TICK_MS, 0);
}

static void conn_tick(HttpConn *c)
{
	HttpServer *s = c->server;
	if (!s->closing && conn_needs_tick(c) && !uv_is_active((uv_handle_t *) &s->tick))
		(void) uv_timer_start(&s->tick, on_tick, TICK_MS, 0);
}

/** Nothing more will be sent. */
static void conn_linger(HttpConn *c)
{
	if (c->closing || c->lingering)
		return;
	c->lingering = true;
	c->deadline = uv_now(c->server->loop) + SHUTDOWN_TIMEOUT_MS;
	if (uv_shutdown(&c->shutdown, conn_stream(c), on_shutdown) < 0) {
		c->shut = true;
		c->deadline = uv_now(c->server->loop);
	}
	conn_kick(c);
}

void request_finish(HttpRequest *r, bool keep)
{
	HttpConn *c = r->conn;
	request_free(r);
	if (c->closing)
		return;
	if (!keep) {
		conn_linger(c);
		return;
	}
	http_message_reset(&c->msg);
	c->served = true;
	c->idle_since = uv_now(c->server->loop);
	conn_kick(c);
	if (c->server->full && !c->server->closing)
		server_listen(c->server); /* it may make room */
}

void conn_answer_error(HttpConn *c, int status, const char *text)
{
	if (c->closing || c->lingering)
		return;
	HttpRequest *r = c->req;
	if (!r) {
		r = xcalloc(1, sizeof(*r));
		r->conn = c;
		c->req = r;
	}
	if (r->state == REQUEST_STREAM || r->state == REQUEST_HIJACKED) {
		request_finish(r, false); /* without the last chunk: the client sees that it is cut off */
		return;
	}
	r->keep = false;
	c->msg.keep_alive = false;
	http_error(r, status, "%s", text);
}

/* ---- reading ---- */

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
	HttpConn *c = h->data;
	*ret = uv_buf_init(c->server->read_buf, sizeof(c->server->read_buf));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	HttpConn *c = stream->data;
	if (n == 0)
		return;
	if (n < 0 && n != UV_EOF) {
		conn_close(c);
		return;
	}
	if (n == UV_EOF) {
		c->eof = true;
		c->reading = false;
		c->hup = conn_hung_up(c);
	} else if (!c->lingering) {
		buf_append(&c->in, buf->base, (size_t) n);
	}
	conn_process(c);
}

static bool conn_wants_bytes(const HttpConn *c)
{
	if (c->eof || c->closing)
		return false;
	if (c->lingering || !c->req)
		return true;
	return !c->req->paused && c->in.len < PIPELINE_MAX && c->msg.body.len <= LIMIT_API_BODY;
}

static void conn_update(HttpConn *c)
{
	if (c->closing)
		return;
	bool want = conn_wants_bytes(c);
	if (want != c->reading) {
		c->reading = want && uv_read_start(conn_stream(c), on_alloc, on_read) == 0;
		if (!want)
			(void) uv_read_stop(conn_stream(c));
	}
	uint64_t now = uv_now(c->server->loop);
	if (!c->lingering) {
		if (c->req && c->req->state == REQUEST_READING)
			c->deadline = now + BODY_TIMEOUT_MS;
		else if (!c->req && http_message_begun(&c->msg))
			c->deadline = c->deadline ? c->deadline : now + HEADER_TIMEOUT_MS;
		else
			c->deadline = 0;
	}
	conn_tick(c);
}

static void request_dispatch(HttpRequest *r)
{
	HttpConn *c = r->conn;
	r->state = REQUEST_OPEN;
	c->server->handlers.request(c->server->handlers.user, r);
}

void conn_continue(HttpConn *c)
{
	static char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
	uv_buf_t b = uv_buf_init(text, sizeof(text) - 1);
	if (c->msg.expect_continue)
		conn_write(c, &b, 1);
	c->msg.expect_continue = false;
}

/** The headers are there: a request begins. */
static void conn_headers(HttpConn *c)
{
	const HttpHandlers *h = &c->server->handlers;
	HttpRequest *r = xcalloc(1, sizeof(*r));
	r->conn = c;
	c->req = r;
	r->head = str_eq(c->msg.method, "HEAD");
	r->streaming_body = h->streaming && h->streaming(h->user, r);
	if (r->streaming_body) {
		request_dispatch(r);
		if (c->req == r && r->state == REQUEST_OPEN && !c->closing)
			conn_continue(c);
	} else if (c->msg.content_length != ULLONG_MAX && c->msg.content_length > LIMIT_API_BODY) {
		conn_answer_error(c, 413, "the request's body is larger than 4 MiB");
	} else {
		conn_continue(c);
	}
}

/** Hands on what a hijacked connection has sent. */
static bool step_hijacked(HttpConn *c, HttpRequest *r)
{
	if (r->paused || !r->chunk)
		return false;
	if (c->in.len) {
		AUTO_BUF data = c->in;
		c->in = (Buf) BUF_INIT;
		r->chunk(r->user, data.data, data.len);
		return true;
	}
	if (!c->eof || r->told_end)
		return false;
	r->told_end = true;
	r->chunk(r->user, NULL, 0);
	return true;
}

/** Hands on what has been parsed of a streamed body; `ret_more`: all of it, so that the parser may go on. */
static bool step_body(HttpConn *c, HttpRequest *r, bool *ret_more)
{
	*ret_more = false;
	if (r->paused || !r->chunk)
		return false;
	if (c->msg.body.len) {
		AUTO_BUF data = c->msg.body;
		c->msg.body = (Buf) BUF_INIT;
		r->chunk(r->user, data.data, data.len);
		return true;
	}
	if (c->msg.complete) {
		r->told_end = true;
		r->chunk(r->user, NULL, 0);
		return true;
	}
	*ret_more = true;
	return false;
}

static bool step_parse(HttpConn *c)
{
	size_t used = 0;
	if (c->in.len == 0)
		return false;
	HttpEvent e = http_message_feed(&c->msg, c->in.data, c->in.len, &used);
	buf_consume(&c->in, used);
	if (e == HTTP_EVENT_BAD) {
		conn_answer_error(c, c->msg.bad_status, c->msg.bad_text);
		return false;
	}
	HttpRequest *r = c->req;
	if (e == HTTP_EVENT_HEADERS)
		conn_headers(c);
	else if (r && !r->streaming_body && c->msg.body.len > LIMIT_API_BODY)
		conn_answer_error(c, 413, "the request's body is larger than 4 MiB");
	else if (e == HTTP_EVENT_COMPLETE && r && !r->streaming_body)
		request_dispatch(r);
	return true;
}

/** One step; true if a further one may do something. */
static bool conn_step(HttpConn *c)
{
	HttpRequest *r = c->req;
	if (c->lingering) {
		buf_clear(&c->in);
		return false;
	}
	if (r && r->state == REQUEST_HIJACKED)
		return step_hijacked(c, r);
	if (r && r->streaming_body && !r->told_end) {
		bool more;
		if (step_body(c, r, &more))
			return true;
		return more && step_parse(c);
	}
	if (r && c->msg.complete)
		return false;
	return step_parse(c);
}

/** After the client's end of file: is there nobody, or nothing, to go on for? */
static bool conn_is_over(const HttpConn *c)
{
	const HttpRequest *r = c->req;
	if (!c->eof)
		return false;
	if (c->lingering)
		return c->hup || c->shut;
	if (!r)
		return true;
	if (r->paused && (r->state == REQUEST_HIJACKED || r->streaming_body))
		return false; /* its last bytes are still to be handed on */
	return c->hup || (r->state != REQUEST_HIJACKED && !c->msg.complete);
}

static void conn_process(HttpConn *c)
{
	if (c->processing || c->closing)
		return;
	c->processing = true;
	while (!c->closing && conn_step(c))
		;
	c->processing = false;
	if (!c->closing && conn_is_over(c)) {
		if (c->hup || c->lingering)
			conn_close(c);
		else
			conn_linger(c); /* what has been answered is still on its way */
	}
	conn_update(c);
}

static HttpConn *find_kicked(HttpServer *s)
{
	for (HttpConn *c = s->conns; c; c = c->next)
		if (c->kicked)
			return c;
	return NULL;
}

static void on_kick(uv_timer_t *t)
{
	HttpServer *s = t->data;
	/* From the start each time: a handler may close any connection, or the server. */
	for (HttpConn *c; (c = find_kicked(s));) {
		c->kicked = false;
		conn_process(c);
	}
}

void conn_kick(HttpConn *c)
{
	/* conn_process goes on by itself after each call out of it. */
	if (c->closing || c->server->closing || c->processing)
		return;
	c->kicked = true;
	if (!uv_is_active((uv_handle_t *) &c->server->kick))
		(void) uv_timer_start(&c->server->kick, on_kick, 0, 0);
}

/* ---- listening ---- */

static bool conn_has_unread(const HttpConn *c)
{
	uv_os_fd_t fd;
	int unread = 0;
	return uv_fileno((const uv_handle_t *) &c->pipe, &fd) == 0 && ioctl(fd, FIONREAD, &unread) == 0 && unread > 0;
}

static bool conn_is_idle(const HttpConn *c)
{
	return !c->req && !c->lingering && !c->eof && !c->in.len && !http_message_begun(&c->msg) &&
	       (c->served || uv_now(c->server->loop) - c->idle_since >= FIRST_REQUEST_MS) && !conn_has_unread(c);
}

/** No more comes in: a client whose request is too late gets EPIPE for its first byte and knows that nothing of it has been read. */
static void conn_end_reading(HttpConn *c)
{
	uv_os_fd_t fd;
	if (uv_fileno((uv_handle_t *) &c->pipe, &fd) == 0)
		(void) shutdown(fd, SHUT_RD);
}

/** Makes room by closing the connection that has been idle longest. */
static bool server_evict(HttpServer *s)
{
	for (;;) {
		HttpConn *oldest = NULL;
		for (HttpConn *c = s->conns; c; c = c->next)
			if (conn_is_idle(c) && (!oldest || c->idle_since < oldest->idle_since))
				oldest = c;
		if (!oldest)
			return false;
		conn_end_reading(oldest);
		if (!conn_has_unread(oldest)) {
			conn_close(oldest);
			return true;
		}
		/* A request came just before: it is answered, and the connection is idle no more. */
	}
}

static HttpConn *conn_new(HttpServer *s, int fd)
{
	HttpConn *c = xcalloc(1, sizeof(*c));
	(void) uv_pipe_init(s->loop, &c->pipe, 0);
	c->pipe.data = c;
	c->server = s;
	http_message_init(&c->msg);
	s->handles++;
	c->next = s->conns;
	if (s->conns)
		s->conns->prev = c;
	s->conns = c;
	s->n_conns++;
	c->idle_since = uv_now(s->loop);
	if (uv_pipe_open(&c->pipe, fd) < 0) {
		(void) close(fd);
		conn_close(c);
		return c;
	}
	conn_update(c);
	return c;
}

static int accept_client(HttpServer *s)
{
	int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

static void take_spare(HttpServer *s)
{
	if (s->spare_fd < 0)
		s->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/** With no descriptor left, the client is told so by way of the spare one. */
static int accept_to_refuse(HttpServer *s, int error)
{
	AUTO_ERR err = ERR_INIT;
	if (s->spare_fd < 0)
		return error;
	fd_closep(&s->spare_fd);
	s->spare_fd = -1;
	int fd = accept_client(s);
	if (fd < 0)
		return fd;
	(void) err_errno(&err, error, "no further client can be served now");
	if (!s->refusing)
		log_warning("%s", err_text(&err));
	s->refusing = true;
	conn_answer_error(conn_new(s, fd), 503, err_text(&err));
	return 0;
}

/** Where there is no room for them, clients wait in the backlog until a connection ends, or has had its answer, or for a moment. */
static void server_full(HttpServer *s)
{
	s->full = true;
	(void) uv_poll_stop(&s->listener);
	if (!uv_is_active((uv_handle_t *) &s->tick))
		(void) uv_timer_start(&s->tick, on_tick, TICK_MS, 0);
}

static void on_client(uv_poll_t *listener, int status, int events)
{
	HttpServer *s = listener->data;
	if (s->n_conns >= s->max_conns && !server_evict(s)) {
		server_full(s);
		return;
	}
	int fd = accept_client(s);
	if (fd == -EMFILE || fd == -ENFILE) {
		if (server_evict(s))
			return;
		fd = accept_to_refuse(s, fd);
	} else if (fd >= 0) {
		s->refusing = false;
		(void) conn_new(s, fd);
	}
	if (fd < 0 && fd != -EAGAIN && fd != -EINTR && fd != -ECONNABORTED)
		server_full(s);
}

static void server_listen(HttpServer *s)
{
	s->full = false;
	(void) uv_poll_start(&s->listener, UV_READABLE, on_client);
}

/** Binds under a temporary name and gives back the descriptor; nobody can connect before listen(2). */
static int bind_socket(const char *path, const char *temporary, mode_t mode, gid_t gid, Err *err)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct stat st;
	if (strlen(temporary) >= sizeof(a.sun_path))
		return err_set(err, -ENAMETOOLONG, "socket %s: the path is longer than %zu bytes; choose a shorter --run-dir",
			       path, sizeof(a.sun_path) - 5);
	memcpy(a.sun_path, temporary, strlen(temporary) + 1);
	if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
		return err_set(err, -EEXIST, "%s exists and is not a socket; remove it or choose another --run-dir", path);
	(void) unlink(temporary);
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(err, -errno, "socket %s", path);
	if (bind(fd, (struct sockaddr *) &a, sizeof(a)) < 0)
		return err_errno(err, -errno, "cannot make the socket %s", path);
	if (chown(temporary, (uid_t) -1, gid) < 0 || chmod(temporary, mode) < 0) {
		int r = -errno;
		(void) unlink(temporary);
		return err_errno(err, r, "cannot set the owner and mode of the socket %s", path);
	}
	return steal_fd(&fd);
}

/* Where few files may be open, most are left to what the clients ask for. */
static size_t clients_max(void)
{
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur / 4 >= LIMIT_API_CLIENTS)
		return LIMIT_API_CLIENTS;
	return files.rlim_cur < 4 ? 1 : (size_t) files.rlim_cur / 4;
}

int http_server_new(uv_loop_t *loop, const char *path, mode_t mode, gid_t gid, const HttpHandlers *h, HttpServer **ret, Err *err)
{
	AUTO_FREE char *temporary = xasprintf("%s.new", path);
	int fd = bind_socket(path, temporary, mode, gid, err);
	if (fd < 0)
		return fd;
	/* libuv writes without MSG_NOSIGNAL. */
	(void) signal(SIGPIPE, SIG_IGN);
	HttpServer *s = xcalloc(1, sizeof(*s));
	s->loop = loop;
	s->handlers = *h;
	s->max_conns = clients_max();
	s->listen_fd = fd;
	s->spare_fd = -1;
	take_spare(s);
	(void) uv_timer_init(loop, &s->kick);
	(void) uv_timer_init(loop, &s->tick);
	s->handles = 2;
	s->listener.data = s->kick.data = s->tick.data = s;
	int r = listen(fd, LISTEN_BACKLOG) < 0 ? -errno : uv_poll_init(loop, &s->listener, fd);
	if (r == 0) {
		s->handles++;
		server_listen(s);
	}
	if (r == 0 && rename(temporary, path) < 0)
		r = -errno;
	if (r < 0) {
		(void) unlink(temporary);
		http_server_free(s);
		return err_errno(err, r, "cannot listen on the socket %s", path);
	}
	s->path = xstrdup(path);
	*ret = s;
	return 0;
}

static void on_server_handle_closed(uv_handle_t *h)
{
	server_handle_closed(h->data);
}

void http_server_free(HttpServer *s)
{
	if (!s || s->closing)
		return;
	s->closing = true;
	if (s->path)
		(void) unlink(s->path);
	while (s->conns)
		conn_close(s->conns);
	if (uv_handle_get_type((uv_handle_t *) &s->listener) == UV_POLL)
		uv_close((uv_handle_t *) &s->listener, on_server_handle_closed);
	uv_close((uv_handle_t *) &s->kick, on_server_handle_closed);
	uv_close((uv_handle_t *) &s->tick, on_server_handle_closed);
}

size_t http_server_clients(const HttpServer *s)
{
	return s->n_conns;
}
