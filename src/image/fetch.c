// SPDX-License-Identifier: Apache-2.0
/*
 * One attempt at a transfer; image/fetch-get.c has the patience. What stead-fetch says is trusted as far as its form goes, since it is ours, but
 * it has read what strangers sent: lengths are checked, and URLs that it gives are parsed as any other.
 */
#include "image/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/fetch-protocol.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/url.h"

#define PIPE_BYTES (256 << 10)
#define ERROR_BODY_MAX (64U << 10)

extern char **environ;

struct Fetcher {
	int control;
	pid_t pid;
};

struct Fetch {
	int up, down;
	json_t *head;   /* NULL until it came */
	char type;      /* of the current frame; 0 = none */
	uint32_t left;  /* of it */
	bool over;      /* the whole body has come */
};

/* ---- the process ---- */

int fetcher_new(Fetcher **ret, Err *err)
{
	AUTO_FREE char *program = libexec_path("stead-fetch");
	char *argv[] = { program, NULL };
	posix_spawn_file_actions_t actions;
	int fds[2];
	/* Some of libcurl's libraries bring GnuTLS, which no transfer needs, and which would make itself ready. */
	(void) setenv("GNUTLS_NO_IMPLICIT_INIT", "1", 1);
	pid_t pid;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return err_errno(err, -errno, "starting stead-fetch");
	(void) posix_spawn_file_actions_init(&actions);
	(void) posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	(void) posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
	(void) posix_spawn_file_actions_adddup2(&actions, fds[1], FETCH_CONTROL_FD);
	int r = -posix_spawn(&pid, program, &actions, NULL, argv, environ);
	(void) posix_spawn_file_actions_destroy(&actions);
	(void) close(fds[1]);
	if (r < 0) {
		(void) close(fds[0]);
		return err_errno(err, r, "starting %s", program);
	}
	Fetcher *f = xcalloc(1, sizeof(*f));
	f->control = fds[0];
	f->pid = pid;
	*ret = f;
	return 0;
}

void fetcher_free(Fetcher *f)
{
	if (!f)
		return;
	(void) close(f->control);
	/* It ends by itself; whoever is fenced in may neither kill it nor should wait for a name server's answer. */
	(void) waitpid(f->pid, NULL, WNOHANG);
	free(f);
}

void fetcher_freep(Fetcher **f)
{
	fetcher_free(*f);
}

/* ---- a transfer's beginning ---- */

void fetch_free(Fetch *x)
{
	if (!x)
		return;
	fd_closep(&x->up);
	fd_closep(&x->down);
	json_decref(x->head);
	free(x);
}

void fetch_freep(Fetch **x)
{
	fetch_free(*x);
}

static int hand_over(Fetcher *f, int up, int down, Err *err)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(2 * sizeof(int))];
	} control = { 0 };
	const int fds[2] = { up, down };
	struct iovec v = { (void *) "x", 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(c), fds, sizeof(fds));
	while (sendmsg(f->control, &m, MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			return err_errno(err, -errno, "stead-fetch has ended");
	return 0;
}

static int make_pipes(Fetcher *f, Fetch *x, Err *err)
{
	int up[2], down[2];
	if (pipe2(up, O_CLOEXEC) < 0)
		return err_errno(err, -errno, "pipe");
	if (pipe2(down, O_CLOEXEC) < 0) {
		int r = -errno;
		(void) close(up[0]);
		(void) close(up[1]);
		return err_errno(err, r, "pipe");
	}
	x->up = up[1];
	x->down = down[0];
	(void) fcntl(down[1], F_SETPIPE_SZ, PIPE_BYTES);
	(void) fcntl(up[1], F_SETPIPE_SZ, PIPE_BYTES);
	int r = hand_over(f, up[0], down[1], err);
	(void) close(up[0]);
	(void) close(down[1]);
	return r;
}

static json_t *request_json(const FetchRequest *q)
{
	json_t *o = json_pack("{s:s, s:s, s:i}", "method", q->method ? q->method : "GET", "url", q->url, "seconds", (int) q->seconds);
	json_t *headers = json_array();
	AUTO_URL url = { 0 };
	for (char *const *h = q->headers; h && *h; h++)
		if (!str_has_control(*h))
			(void) json_array_append_new(headers, json_string(*h));
	if (q->authorization && !str_has_control(q->authorization))
		(void) json_array_append_new(headers, json_sprintf("Authorization: %s", q->authorization));
	if (q->offset)
		(void) json_array_append_new(headers, json_sprintf("Range: bytes=%llu-", (unsigned long long) q->offset));
	(void) json_array_append_new(headers, json_string("User-Agent: stead/" STEAD_VERSION));
	(void) json_object_set_new(o, "headers", headers);
	if (q->has_body)
		(void) json_object_set_new(o, "length", json_integer(q->length));
	if (q->ca)
		(void) json_object_set_new(o, "ca", json_string(q->ca));
	/* What is on this machine no proxy reaches. */
	if (url_parse(q->url, &url, NULL) == 0 && url_is_local(url.host))
		(void) json_object_set_new(o, "direct", json_true());
	if (q->insecure)
		(void) json_object_set_new(o, "insecure", json_true());
	return o;
}

static int send_request(Fetch *x, const FetchRequest *q, Err *err)
{
	uint8_t head[FETCH_FRAME_HEADER];
	json_t *o = request_json(q);
	AUTO_FREE char *text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	size_t n = text ? strlen(text) : 0;
	if (!text || n > FETCH_REQUEST_MAX)
		return err_set(err, -EINVAL, "the request for '%.80s' is too long or not UTF-8", q->url);
	fetch_frame_header('J', (uint32_t) n, head);
	int r = fd_write_all(x->up, head, sizeof(head));
	if (r == 0)
		r = fd_write_all(x->up, text, n);
	return r < 0 ? err_errno(err, r, "stead-fetch has ended") : 0;
}

int fetch_begin(Fetcher *f, const FetchRequest *q, Fetch **ret, Err *err)
{
	AUTO_URL url = { 0 };
	AUTO_FETCH x = xcalloc(1, sizeof(*x));
	x->up = x->down = -1;
	int r = url_parse(q->url, &url, err);
	if (r < 0 || (r = make_pipes(f, x, err)) < 0 || (r = send_request(x, q, err)) < 0)
		return r;
	if (q->has_body && q->body)
		(void) fetch_write(x, q->body, (size_t) q->length); /* how it ended is in the answer */
	if (!q->has_body || q->body || q->length == 0)
		fetch_end_body(x);
	*ret = steal_ptr(&x);
	return 0;
}

int fetch_write(Fetch *x, const void *p, size_t n)
{
	return fd_write_all(x->up, p, n);
}

void fetch_end_body(Fetch *x)
{
	fd_closep(&x->up);
	x->up = -1;
}

/* ---- its answer ---- */

static int read_exactly(Fetch *x, void *p, size_t n)
{
	for (size_t have = 0; have < n;) {
		ssize_t k = read(x->down, (char *) p + have, n - have);
		if (k > 0)
			have += (size_t) k;
		else if (k == 0 || errno != EINTR)
			return k == 0 ? -EPIPE : -errno;
	}
	return 0;
}

static int next_frame(Fetch *x, Err *err)
{
	uint8_t head[FETCH_FRAME_HEADER];
	int r = read_exactly(x, head, sizeof(head));
	if (r < 0)
		return err_errno(err, r, "stead-fetch has ended");
	x->type = (char) head[0];
	x->left = fetch_frame_length(head);
	return x->left > FETCH_FRAME_MAX ? err_set(err, -EPROTO, "stead-fetch sent a frame of %u bytes", x->left) : 0;
}

static int read_json(Fetch *x, json_t **ret, Err *err)
{
	AUTO_FREE char *text = xmalloc(x->left + 1U);
	int r = read_exactly(x, text, x->left);
	if (r < 0)
		return err_errno(err, r, "stead-fetch has ended");
	*ret = json_loadb(text, x->left, 0, NULL);
	x->type = 0;
	x->left = 0;
	return *ret ? 0 : err_set(err, -EPROTO, "stead-fetch sent no JSON");
}

/* 0: the body was whole. */
static int take_end(Fetch *x, FetchFailure *ret_failure, Err *err)
{
	static const struct {
		const char *kind;
		FetchFailure failure;
		int code;
	} kinds[] = {
		{ FETCH_KIND_CUT, FETCH_CUT, -ECONNRESET }, { FETCH_KIND_CONNECT, FETCH_CONNECT, -EHOSTUNREACH }, { FETCH_KIND_TLS, FETCH_TLS, -EPROTO },
		{ FETCH_KIND_TRUST, FETCH_TRUST, -EPROTO },
	};
	json_t *o = NULL;
	int r = read_json(x, &o, err);
	if (r < 0)
		return r;
	const char *kind = json_string_value(json_object_get(o, "kind")), *text = json_string_value(json_object_get(o, "error"));
	x->over = true;
	if (kind) {
		FetchFailure failure = FETCH_FAILED;
		int code = -EIO;
		for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
			if (str_eq(kinds[i].kind, kind)) {
				failure = kinds[i].failure;
				code = kinds[i].code;
			}
		if (ret_failure)
			*ret_failure = failure;
		r = err_set(err, code, "%s", text ? text : "the connection failed");
	}
	json_decref(o);
	return r;
}

int fetch_answer(Fetch *x, FetchFailure *ret_failure, Err *err)
{
	if (ret_failure)
		*ret_failure = FETCH_FAILED;
	fetch_end_body(x);
	int r = next_frame(x, err);
	if (r < 0)
		return r;
	if (x->type == 'E') {
		r = take_end(x, ret_failure, err);
		return r < 0 ? r : err_set(err, -EPROTO, "stead-fetch sent no answer");
	}
	return x->type == 'H' ? read_json(x, &x->head, err) : err_set(err, -EPROTO, "stead-fetch sent a frame of type %d", x->type);
}

int fetch_status(const Fetch *x)
{
	return (int) json_integer_value(json_object_get(x->head, "status"));
}

const char *fetch_header(const Fetch *x, const char *name)
{
	return json_string_value(json_object_get(json_object_get(x->head, "headers"), name));
}

const char *fetch_url(const Fetch *x)
{
	const char *url = json_string_value(json_object_get(x->head, "url"));
	return url ? url : "";
}

int64_t fetch_retry_after(const Fetch *x)
{
	return json_integer_value(json_object_get(x->head, "retry_after"));
}

ssize_t fetch_read(Fetch *x, void *p, size_t n, FetchFailure *ret_failure, Err *err)
{
	if (ret_failure)
		*ret_failure = FETCH_FAILED;
	while (!x->over && x->left == 0) {
		int r = next_frame(x, err);
		if (r < 0)
			return r;
		if (x->type == 'E')
			return take_end(x, ret_failure, err);
		if (x->type != 'D')
			return err_set(err, -EPROTO, "stead-fetch sent a frame of type %d", x->type);
	}
	if (x->over)
		return 0;
	for (;;) {
		ssize_t k = read(x->down, p, n < x->left ? n : x->left);
		if (k > 0) {
			x->left -= (uint32_t) k;
			return k;
		}
		if (k == 0 || errno != EINTR)
			return err_errno(err, k == 0 ? -EPIPE : -errno, "stead-fetch has ended");
	}
}

int fetch_read_all(Fetch *x, size_t max, Buf *ret, FetchFailure *ret_failure, Err *err)
{
	char chunk[16384];
	ssize_t n;
	while ((n = fetch_read(x, chunk, sizeof(chunk), ret_failure, err)) > 0) {
		if (ret->len + (size_t) n > max)
			return err_set(err, -EFBIG, "the answer is larger than %zu bytes: refused", max);
		buf_append(ret, chunk, (size_t) n);
	}
	return (int) n;
}

/* ---- redirects ---- */

static bool is_redirect(int status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* `from` becomes where the answer leads; *trusted: still the origin that was asked for. */
static int follow(const Fetch *x, const Url *origin, char **from, bool *trusted, Err *err)
{
	AUTO_URL old = { 0 }, new = { 0 };
	const char *to = json_string_value(json_object_get(x->head, "redirect"));
	if (!to)
		return err_set(err, -EPROTO, "%s answered %d, a redirect to nowhere", *from, fetch_status(x));
	int r = url_parse(to, &new, err);
	if (r < 0)
		return err_wrap(err, "%.200s redirects", *from);
	if ((r = url_parse(*from, &old, err)) < 0)
		return r;
	if (old.tls && !new.tls)
		return err_set(err, -EPROTO, "%.200s redirects to '%.200s', from https to http: refused", *from, to);
	str_set(from, to);
	/* Once it has been elsewhere, who led it back might have changed what it asks for. */
	*trusted = *trusted && url_same_origin(origin, &new);
	return 0;
}

int fetch_open(Fetcher *f, const FetchRequest *q, Fetch **ret, FetchFailure *ret_failure, Err *err)
{
	AUTO_FREE char *url = xstrdup(q->url);
	AUTO_URL origin = { 0 };
	bool trusted = true;
	if (ret_failure)
		*ret_failure = FETCH_FAILED;
	int r = url_parse(url, &origin, err);
	if (r < 0)
		return r;
	for (int hops = 0; hops <= LIMIT_REDIRECTS; hops++) {
		AUTO_FETCH x = NULL;
		FetchRequest one = *q;
		one.url = url;
		if (!trusted) {
			one.authorization = one.ca = NULL;
			one.insecure = false;
		}
		if ((r = fetch_begin(f, &one, &x, err)) < 0 || (r = fetch_answer(x, ret_failure, err)) < 0)
			return r;
		if (!is_redirect(fetch_status(x)) || q->has_body) {
			*ret = steal_ptr(&x);
			return 0;
		}
		if ((r = follow(x, &origin, &url, &trusted, err)) < 0)
			return r;
	}
	return err_set(err, -ELOOP, "%.200s: more than %d redirects", q->url, LIMIT_REDIRECTS);
}

/* ---- errors ---- */

static const char *error_member(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(json_array_get(json_object_get(o, "errors"), 0), key));
}

void fetch_error_text(Fetch *x, char *dst, size_t n)
{
	AUTO_BUF body = BUF_INIT;
	*dst = '\0';
	if (fetch_read_all(x, ERROR_BODY_MAX, &body, NULL, NULL) < 0)
		return;
	json_t *o = json_loadb(buf_cstr(&body), body.len, 0, NULL);
	const char *text = error_member(o, "message");
	if (str_empty(text))
		text = error_member(o, "code");
	if (str_empty(text))
		text = json_string_value(json_object_get(o, "details"));
	if (!str_empty(text)) {
		(void) snprintf(dst, n, "%.300s", text);
		for (char *p = dst; *p; p++)
			if ((unsigned char) *p < ' ' || *p == 0x7f)
				*p = ' ';
	}
	json_decref(o);
}
