// SPDX-License-Identifier: Apache-2.0
/*
 * POST /stead/v1/builds: after the answer the connection carries frames (io/frame-io.h) both ways. What client and worker say to
 * each other about the context goes through as it is; whole frames, so that events and output can stand between them.
 *
 *   to the client    J  {"event": …}, and the worker's questions about the context
 *                    O, X  output of a RUN instruction, stdout and stderr: its step, four bytes big-endian, then bytes
 *                    A  a question to an SSH agent: its number, four bytes big-endian, the agent's id, a zero byte, then the message
 *                    E  the last: {"result": "done", "image": ID, "tags": […]} or {"error": TEXT, "code": N}
 *   to the daemon    I  input for the shell in a failed step;  W  the size of its window, rows and columns, two bytes each
 *                    A  an answer: the question's number, then the message; without one the agent has none
 *                    anything else is the worker's
 */
#include <errno.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/build-parts.h"
#include "daemon/image.h"
#include "daemon/json.h"
#include "daemon/worker-pipe.h"
#include "image/reference.h"
#include "io/frame-io.h"
#include "io/frames.h"

typedef struct BuildClient {
	HttpRequest *r;        /* NULL once the client has gone */
	Builder *b;            /* NULL: ended */
	WorkerPipe *context; /* NULL: closed */
	Buf from_client;       /* frames that are not whole yet */
	size_t to_client;      /* bytes that wait */
} BuildClient;

/* Its two halves are over. */
static void client_free(BuildClient *c)
{
	if (c->r || c->b)
		return;
	worker_pipe_close(c->context);
	buf_done(&c->from_client);
	free(c);
}

static void close_context(BuildClient *c)
{
	worker_pipe_close(c->context);
	c->context = NULL;
}

/* ── to the client ────────────────────────────────────────────────── */

/* In one write, so that the client wakes once. */
static void to_client(BuildClient *c, uint8_t type, const void *head, size_t head_len, const void *p, size_t n)
{
	uint8_t header[FRAME_HEADER];
	AUTO_BUF b = BUF_INIT;
	if (!c->r)
		return;
	frame_header(type, head_len + n, header);
	buf_append(&b, header, sizeof(header));
	buf_append(&b, head, head_len);
	buf_append(&b, p, n);
	c->to_client = http_stream_write(c->r, b.data, b.len);
}

static void json_to_client(BuildClient *c, uint8_t type, json_t *value)
{
	AUTO_FREE char *text = json_dumps(value, JSON_COMPACT);
	json_decref(value);
	if (text)
		to_client(c, type, NULL, 0, text, strlen(text));
}

/* A whole frame at the front of `in`: 1, with its length; 0: not yet; -EPROTO. */
static int next_frame(const Buf *in, size_t at, size_t *ret_len)
{
	if (in->len - at < FRAME_HEADER)
		return 0;
	int64_t n = frame_length((const uint8_t *) in->data + at);
	if (n < 0 || n > FRAME_IO_MAX)
		return -EPROTO;
	*ret_len = (size_t) n;
	return in->len - at >= FRAME_HEADER + *ret_len;
}

static void stop_build(BuildClient *c)
{
	Builder *b = steal_ptr(&c->b);
	close_context(c);
	if (b)
		builder_cancel(b);
}

static void end_with_error(BuildClient *c, const char *text, int code)
{
	json_to_client(c, 'E', json_pack("{s:o, s:i}", "error", json_safe(text), "code", code));
	if (c->r) {
		HttpRequest *r = steal_ptr(&c->r);
		http_set_user(r, NULL, NULL);
		http_stream_end(r);
	}
}

static void worker_read(void *user, Buf *in)
{
	BuildClient *c = user;
	size_t at = 0, len;
	int r;
	while ((r = next_frame(in, at, &len)) > 0)
		at += FRAME_HEADER + len;
	if (c->r)
		c->to_client = http_stream_write(c->r, in->data, at);
	buf_consume(in, at);
	if (r < 0) {
		stop_build(c);
		end_with_error(c, "the worker does not keep to the protocol", 1);
		client_free(c);
	} else if (c->to_client > LIMIT_API_BACKLOG) {
		worker_pipe_read(c->context, false);
	}
}

static void drained(void *user)
{
	BuildClient *c = user;
	c->to_client = 0;
	if (c->context)
		worker_pipe_read(c->context, true);
	if (c->b)
		builder_resume(c->b);
}

/* ── to the worker ────────────────────────────────────────────────── */

static void context_written(void *user, size_t waiting)
{
	BuildClient *c = user;
	if (c->r && waiting < LIMIT_API_BACKLOG / 2)
		http_body_pause(c->r, false);
}

static void to_worker(BuildClient *c, const char *p, size_t n)
{
	if (c->context && worker_pipe_write(c->context, p, n) > LIMIT_API_BACKLOG)
		http_body_pause(c->r, true);
}

static void client_gone(void *user)
{
	BuildClient *c = user;
	c->r = NULL;
	stop_build(c);
	client_free(c);
}

/* True: it was for the daemon. */
static bool take_frame(BuildClient *c, char type, const uint8_t *p, size_t n)
{
	if (type != 'I' && type != 'W' && type != 'A')
		return false;
	if (!c->b)
		return true;
	if (type == 'I')
		builder_shell_input(c->b, p, n);
	else if (type == 'W' && n == 4)
		builder_shell_resize(c->b, (unsigned) (p[0] << 8 | p[1]), (unsigned) (p[2] << 8 | p[3]));
	else if (type == 'A' && n >= 4)
		builder_agent_answer(c->b, (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 | (uint32_t) p[2] << 8 | p[3], p + 4, n - 4);
	return true;
}

/* Takes out what is for the daemon; the rest goes on in as few writes as there were reads. */
static int take_frames(BuildClient *c)
{
	size_t at = 0, start = 0, len;
	int r;
	while ((r = next_frame(&c->from_client, at, &len)) > 0) {
		if (take_frame(c, c->from_client.data[at], (const uint8_t *) c->from_client.data + at + FRAME_HEADER, len)) {
			to_worker(c, c->from_client.data + start, at - start);
			start = at + FRAME_HEADER + len;
		}
		at += FRAME_HEADER + len;
	}
	if (r == 0)
		to_worker(c, c->from_client.data + start, at - start);
	buf_consume(&c->from_client, at);
	return r;
}

static void client_chunk(void *user, const void *p, size_t n)
{
	BuildClient *c = user;
	if (n == 0) { /* it says nothing any more, so nobody is there */
		HttpRequest *r = steal_ptr(&c->r);
		http_set_user(r, NULL, NULL);
		http_stream_end(r);
		client_gone(c);
		return;
	}
	buf_append(&c->from_client, p, n);
	if (take_frames(c) < 0) {
		stop_build(c);
		end_with_error(c, "what the client sends is not framed as docs/API.md says", 2);
		client_free(c);
	}
}

/* ── the build's front ────────────────────────────────────────────── */

static bool on_event(void *user, const json_t *event)
{
	BuildClient *c = user;
	json_to_client(c, 'J', json_pack("{s:O}", "event", event));
	return c->to_client > LIMIT_BUILD_BACKLOG;
}

static bool on_output(void *user, json_int_t step, int stream, const char *p, size_t n)
{
	BuildClient *c = user;
	const uint8_t head[4] = { (uint8_t) (step >> 24), (uint8_t) (step >> 16), (uint8_t) (step >> 8), (uint8_t) step };
	to_client(c, stream == 2 ? 'X' : 'O', head, sizeof(head), p, n);
	return c->to_client > LIMIT_API_BACKLOG;
}

static void on_agent(void *user, uint32_t number, const char *id, const void *p, size_t n)
{
	BuildClient *c = user;
	AUTO_BUF head = BUF_INIT;
	const uint8_t bytes[4] = { (uint8_t) (number >> 24), (uint8_t) (number >> 16), (uint8_t) (number >> 8), (uint8_t) number };
	buf_append(&head, bytes, sizeof(bytes));
	buf_append(&head, id, strlen(id) + 1);
	to_client(c, 'A', head.data, head.len, p, n);
}

static void on_done(void *user, const Image *image, const json_t *report, const Err *err)
{
	BuildClient *c = user;
	c->b = NULL;
	close_context(c);
	if (err) {
		end_with_error(c, err_text(err), err->code == -EINVAL || err->code == -ENOENT ? 2 : 1);
	} else {
		json_to_client(c, 'E', json_pack("{s:s, s:s, s:I, s:o, s:O*}", "result", "done", "image", image->id, "size", (json_int_t) image->size,
			"tags", image_tags_json(image), "why", json_object_get(report, "why")));
		HttpRequest *r = steal_ptr(&c->r);
		http_set_user(r, NULL, NULL);
		http_stream_end(r);
	}
	client_free(c);
}

/* ── the request ──────────────────────────────────────────────────── */

static int take_limits(json_t *body, BuildLimits *ret, Err *err)
{
	json_t *l = json_object_get(body, "limits");
	json_int_t memory = 0, swap = -1, shm = -1;
	const char *network = "default";
	json_t *hosts = NULL, *ulimits = NULL;
	int shell = 0;
	double cpus = 0;
	json_error_t e;
	*ret = (BuildLimits) { .cpu_shares = -1, .shm_size = -1, .memory_swap = -1 };
	if (l && json_unpack_ex(l, &e, JSON_STRICT, "{s?I, s?I, s?F, s?I, s?s, s?o, s?o, s?b}", "memory", &memory, "memory_swap", &swap, "cpus", &cpus,
			 "shm_size", &shm, "network", &network, "hosts", &hosts, "ulimits", &ulimits, "shell", &shell) < 0)
		return err_set(err, -EINVAL, "limits: %s", e.text);
	if (memory < 0 || cpus < 0 || cpus > 4096 || (memory && memory < 6 << 20))
		return err_set(err, -EINVAL, "limits: memory is at least 6m, cpus from 0 to 4096");
	if (!str_eq(network, "default") && !str_eq(network, "host") && !str_eq(network, "none"))
		return err_set(err, -EINVAL, "limits: network is default, host or none, not '%s'", network);
	ret->memory = memory;
	ret->memory_swap = swap;
	ret->cpus = cpus;
	ret->shm_size = shm;
	ret->network = xstrdup(network);
	ret->hosts = json_to_strv(hosts);
	ret->ulimits = json_incref(ulimits);
	ret->shell = shell;
	(void) json_object_del(body, "limits");
	return 0;
}

static const char *const known[] = { "dockerfile", "dockerfile_name", "ignore", "ignore_name", "context", "target", "args", "platform", "no_cache", "no_cache_filter",
	"pull", "tags", "labels", "secrets", "ssh", "cache_from", "cache_to", "source", "source_date_epoch", "contexts", "limits", "auths", NULL };

static int check_body(json_t *body, Err *err)
{
	const char *key;
	json_t *v;
	json_object_foreach(body, key, v)
	{
		bool found = false;
		for (size_t i = 0; known[i]; i++)
			found = found || str_eq(known[i], key);
		if (!found)
			return err_set(err, -EINVAL, "unknown option of a build: %s", key);
	}
	const char *source = json_string_value(json_object_get(body, "source"));
	if (source && !str_eq(source, "client") && !str_eq(source, "none"))
		return err_set(err, -EINVAL, "source is client or none, not '%s'", source);
	return build_options_check(body, err);
}

void build_api_start(Daemon *d, HttpRequest *r)
{
	AUTO_ERR err = ERR_INIT;
	json_t *body = NULL;
	BuildLimits limits = { .cpu_shares = -1, .shm_size = -1, .memory_swap = -1 };
	int theirs = -1;
	BuildClient *c = xcalloc(1, sizeof(*c));
	BuildFront front = { .event = on_event, .output = on_output, .agent = on_agent, .done = on_done, .user = c };
	WorkerPipeCallbacks context = { .read = worker_read, .written = context_written, .user = c };
	int e = http_body_json(r, &body, &err);
	if (e == 0)
		e = check_body(body, &err);
	if (e == 0)
		e = take_limits(body, &limits, &err);
	if (e == 0) {
		limits.auths = json_incref(json_object_get(body, "auths"));
		(void) json_object_del(body, "auths");
		e = worker_pipe_open(d->loop, &context, &c->context, &theirs, &err);
	}
	if (e == 0)
		e = builder_start(d, json_incref(body), &limits, theirs, &front, &c->b, &err);
	json_decref(body);
	build_limits_done(&limits);
	if (e < 0) {
		http_error_err(r, &err);
		client_free(c);
		return;
	}
	c->r = r;
	http_set_user(r, c, client_gone);
	http_on_drained(r, drained);
	http_hijack(r, client_chunk);
	worker_pipe_read(c->context, true);
}
