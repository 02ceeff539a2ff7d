// SPDX-License-Identifier: Apache-2.0
/*
 * The connection carries frames both ways (docs/API.md, Builds). The walk over the context begins when the request has been sent, while the
 * worker is being started, if the Dockerfile looks as if it needed it. Writing never waits without watching for signals, since a
 * context may be large and the way to the machine long.
 */
#include "cli/building.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "cli/build-progress.h"
#include "cli/building-git.h"
#include "cli/building-shell.h"
#include "cli/context.h"
#include "cli/operation.h"
#include "cli/output.h"
#include "cli/signals.h"
#include "io/frame-io.h"
#include "io/frames.h"

#define CHUNK 65536
#define TICK_MSEC 100

/* One of the directories that the daemon may ask for. */
typedef struct SessionContext {
	const char *name; /* NULL: the build's own */
	BuildingContext *named; /* NULL: the build's own, or a repository's that an ADD names */
	const char *dir;  /* NULL: there is none */
	const char *ignore, *ignore_name;
	Context files;
	bool scanned;
	bool passing;         /* the directory will not be there again */
	char *own_name;       /* of a repository */
	GitCheckout checkout; /* the same */
} SessionContext;

typedef struct Session {
	Building *b;
	int rfd, wfd;
	Buf in;
	SessionContext *contexts;
	size_t n_contexts;
	BuildingRepository *repositories;
	size_t n_repositories;
	BuildProgress progress;
	BuildShell shell;
	int64_t sent;
	json_t *end; /* the last frame */
	bool interrupted;
	bool deaf;   /* the daemon reads no more: what it says last is still to come */
} Session;

/* ── sending ──────────────────────────────────────────────────────── */

static bool interrupted(Session *s)
{
	s->interrupted = s->interrupted || signals_ended();
	return s->interrupted;
}

static int send_bytes(Session *s, const void *p, size_t n, Err *err)
{
	const char *at = p;
	while (n && !s->deaf) {
		ssize_t k = write(s->wfd, at, n);
		if (k > 0) {
			at += k;
			n -= (size_t) k;
			continue;
		}
		s->deaf = k < 0 && (errno == EPIPE || errno == ECONNRESET);
		if (s->deaf)
			return 0;
		if (k < 0 && errno != EAGAIN && errno != EINTR)
			return err_errno(err, -errno, "the connection to the daemon");
		struct pollfd fd = { .fd = s->wfd, .events = POLLOUT };
		int r = signals_poll(&fd, 1, TICK_MSEC);
		if (r < 0)
			return err_errno(err, r, "the connection to the daemon");
		if (interrupted(s))
			return err_set(err, -ECANCELED, "interrupted");
		build_progress_tick(&s->progress, time_mono());
	}
	return 0;
}

static int send_frame(Session *s, uint8_t type, const void *p, size_t n, Err *err)
{
	uint8_t header[FRAME_HEADER];
	frame_header(type, n, header);
	int r = send_bytes(s, header, sizeof(header), err);
	return r < 0 ? r : send_bytes(s, p, n, err);
}

static int send_json(Session *s, json_t *value, Err *err)
{
	AUTO_FREE char *text = json_dumps(value, JSON_COMPACT);
	json_decref(value);
	return text ? send_frame(s, 'J', text, strlen(text), err) : err_set(err, -EINVAL, "a name is not UTF-8");
}

/* While another program works. True: it is interrupted. */
static bool go_on_waiting(void *user)
{
	Session *s = user;
	build_progress_tick(&s->progress, time_mono());
	return interrupted(s);
}

/* ── the context ──────────────────────────────────────────────────── */

static void open_contexts(Session *s, Building *b)
{
	*array_append(s->contexts, s->n_contexts) = (SessionContext) { .dir = b->context, .ignore = b->ignore, .ignore_name = b->ignore_name,
		.files = CONTEXT_INIT, .passing = b->checkout.path };
	for (size_t i = 0; i < b->n_contexts; i++) {
		BuildingContext *c = &b->contexts[i];
		*array_append(s->contexts, s->n_contexts) = (SessionContext) { .name = c->name, .named = c, .dir = c->dir, .ignore = c->ignore, .ignore_name = c->ignore_name,
			.files = CONTEXT_INIT };
	}
}

static void close_contexts(Session *s)
{
	for (size_t i = 0; i < s->n_contexts; i++) {
		context_done(&s->contexts[i].files);
		git_checkout_done(&s->contexts[i].checkout);
		free(s->contexts[i].own_name);
	}
	free(s->contexts);
	for (size_t i = 0; i < s->n_repositories; i++)
		building_repository_done(&s->repositories[i]);
	free(s->repositories);
}

static BuildingRepository *find_repository(Session *s, const char *url)
{
	for (size_t i = 0; i < s->n_repositories; i++)
		if (str_eq(s->repositories[i].url, url))
			return &s->repositories[i];
	return NULL;
}

/* Of the repositories that it has asked about; fetches it. */
static int open_repository(Session *s, const char *name, SessionContext **ret, Err *err)
{
	bool keep = str_starts(name, GIT_CONTEXT_KEEP);
	const BuildingRepository *x = find_repository(s, strchr(name, ':') + 1);
	GitCheckout checkout = { 0 };
	if (!x)
		return err_set(err, -EPROTO, "the daemon wants a repository that it has not asked about");
	int r = building_repository_fetch(s->b, x, keep, go_on_waiting, s, &checkout, err);
	if (r < 0)
		return r;
	SessionContext *c = array_append(s->contexts, s->n_contexts);
	*c = (SessionContext) { .dir = checkout.path, .files = CONTEXT_INIT, .passing = true, .own_name = xstrdup(name), .checkout = checkout };
	c->name = c->own_name;
	*ret = c;
	return 0;
}

/* Whose name the question has. */
static int find_context(Session *s, const json_t *name, SessionContext **ret, Err *err)
{
	const char *text = json_string_value(name);
	for (size_t i = 0; i < s->n_contexts; i++)
		if (text ? str_eq(s->contexts[i].name, text) : !s->contexts[i].name) {
			*ret = &s->contexts[i];
			return 0;
		}
	if (str_starts(text ? text : "", GIT_CONTEXT) || str_starts(text ? text : "", GIT_CONTEXT_KEEP))
		return open_repository(s, text, ret, err);
	return err_set(err, -EPROTO, "the daemon wants a build context that it was not told of");
}

static int fetch_named(Session *s, SessionContext *c, Err *err)
{
	int r = building_fetch_context(s->b, c->named, go_on_waiting, s, err);
	if (r < 0)
		return err_wrap(err, "'%s'", c->name);
	c->dir = c->named->dir;
	c->ignore = c->named->ignore;
	c->ignore_name = c->named->ignore_name;
	c->passing = true;
	return 0;
}

static int scan(Session *s, SessionContext *c, Err *err)
{
	Ignore *ignore __attribute__((cleanup(ignore_freep))) = NULL;
	if (c->scanned)
		return 0;
	int r = !c->dir && c->named ? fetch_named(s, c, err) : 0;
	if (r < 0)
		return r;
	if (!c->dir)
		return err_set(err, -EINVAL, "there is no build context to copy from");
	r = c->ignore ? ignore_parse(c->ignore_name, c->ignore, strlen(c->ignore), &ignore, err) : 0;
	AUTO_FREE char *cache = c->passing ? NULL : context_cache_path(c->dir);
	if (r == 0)
		r = context_scan(c->dir, ignore, cache, &c->files, err);
	if (r < 0)
		return c->name ? err_wrap(err, "'%s'", c->name) : r;
	c->scanned = true;
	for (char **w = c->files.warnings; w && *w; w++)
		build_progress_note(&s->progress, *w);
	return 0;
}

static int send_manifest(Session *s, const json_t *question, Err *err)
{
	SessionContext *c;
	int r = find_context(s, json_object_get(question, "name"), &c, err);
	if (r < 0 || (r = scan(s, c, err)) < 0)
		return r;
	if (str_eq(json_text(question, "have"), c->files.hash))
		return send_json(s, json_pack("{s:b}", "same", 1), err);
	const Buf *m = context_manifest(&c->files);
	for (size_t at = 0; r == 0 && at < m->len; at += CHUNK)
		r = send_frame(s, 'M', m->data + at, m->len - at < CHUNK ? m->len - at : CHUNK, err);
	return r < 0 ? r : send_json(s, json_pack("{s:s}", "manifest", "end"), err);
}

static int send_file(Session *s, const Context *c, size_t index, Err *err)
{
	char data[CHUNK];
	AUTO_CLOSE int fd = context_open(c, index, err);
	int r = fd < 0 ? fd : 0;
	while (r == 0) {
		ssize_t n = read(fd, data, sizeof(data));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			r = err_errno(err, -errno, "%s", c->files[index].path);
		if (n <= 0)
			break;
		r = send_frame(s, 'F', data, (size_t) n, err);
		s->sent += n;
	}
	if (r == 0)
		r = send_json(s, json_pack("{s:I, s:s}", "file", (json_int_t) index, "hash", c->files[index].hash), err);
	AUTO_FREE char *size = format_bytes(s->sent);
	AUTO_FREE char *text = xasprintf(" => transferring context: %s", size);
	build_progress_text(&s->progress, text, time_mono());
	return r;
}

static int send_files(Session *s, const json_t *question, Err *err)
{
	const json_t *want = json_object_get(question, "want");
	SessionContext *c;
	int r = find_context(s, json_object_get(question, "name"), &c, err);
	if (r == 0 && !c->scanned)
		r = err_set(err, -EPROTO, "the daemon wants files that it was not told of");
	for (size_t i = 0; r == 0 && i < json_array_size(want); i++) {
		const json_t *v = json_array_get(want, i);
		json_int_t index = json_is_integer(v) ? json_integer_value(v) : -1;
		if (index < 0 || (size_t) index >= c->files.n || c->files.files[index].type != 'f')
			return err_set(err, -EPROTO, "the daemon wants a file that is not in the context");
		r = send_file(s, &c->files, (size_t) index, err);
	}
	build_progress_text(&s->progress, NULL, time_mono());
	return r;
}

static int send_commit(Session *s, const char *url, Err *err)
{
	BuildingRepository *x = find_repository(s, url);
	if (!x) {
		BuildingRepository new = { 0 };
		int r = building_repository_find(s->b, url, go_on_waiting, s, &new, err);
		if (r < 0)
			return r;
		x = array_append(s->repositories, s->n_repositories);
		*x = new;
	}
	return send_json(s, json_pack("{s:s, s:s}", "git", url, "commit", x->commit), err);
}

static int send_secret(Session *s, const char *id, Err *err)
{
	AUTO_BUF data = BUF_INIT;
	int r = building_secret(s->b, id, &data, err);
	if (r == 0)
		return send_json(s, json_pack("{s:s, s:b}", "secret", id, "missing", 1), err);
	for (size_t at = 0; r > 0 && at < data.len; at += CHUNK)
		if (send_frame(s, 'S', data.data + at, data.len - at < CHUNK ? data.len - at : CHUNK, err) < 0)
			r = -EIO;
	return r < 0 ? r : send_json(s, json_pack("{s:s}", "secret", id), err);
}

/* ── caches ───────────────────────────────────────────────────────── */

static int send_any(void *user, uint8_t type, const void *p, size_t n, Err *err)
{
	return send_frame(user, type, p, n, err);
}

static int answer_cache(Session *s, const json_t *question, Err *err)
{
	const FrameOut out = { send_any, s };
	int r = building_cache_request(s->b->caches, s->b->n_caches, question, &out, err);
	AUTO_FREE char *text = NULL;
	for (size_t i = 0; !text && i < s->b->n_caches; i++)
		if (s->b->caches[i].busy)
			text = xasprintf(" => waiting for another build, which writes to %s", s->b->caches[i].path);
	build_progress_text(&s->progress, text, time_mono());
	return r;
}

static void take_cache_bytes(Session *s, const char *p, size_t n)
{
	int64_t moved = 0;
	building_cache_bytes(s->b->caches, s->b->n_caches, p, n);
	for (size_t i = 0; i < s->b->n_caches; i++)
		moved += s->b->caches[i].writable ? s->b->caches[i].moved : 0;
	AUTO_FREE char *size = format_bytes(moved);
	AUTO_FREE char *text = xasprintf(" => writing the cache: %s", size);
	build_progress_text(&s->progress, text, time_mono());
}

/* ── what comes ───────────────────────────────────────────────────── */

static int take_json(Session *s, const json_t *o, Err *err)
{
	const json_t *event = json_object_get(o, "event"), *context = json_object_get(o, "context"), *want = json_object_get(o, "want");
	const char *secret = json_string_value(json_object_get(o, "secret")), *git = json_string_value(json_object_get(o, "git"));
	const json_t *cache = json_object_get(o, "cache");
	if (event && build_shell_event(&s->shell, event, &s->progress))
		return 0;
	if (event)
		build_progress_event(&s->progress, event, time_mono());
	else if (context)
		return send_manifest(s, context, err);
	else if (want)
		return send_files(s, o, err);
	else if (git)
		return send_commit(s, git, err);
	else if (secret)
		return send_secret(s, secret, err);
	else if (cache)
		return answer_cache(s, cache, err);
	return 0;
}

static int take_frame(Session *s, uint8_t type, const char *p, size_t n, Err *err)
{
	if ((type == 'O' || type == 'X') && n >= 4) {
		const uint8_t *h = (const uint8_t *) p;
		int64_t step = (int64_t) h[0] << 24 | h[1] << 16 | h[2] << 8 | h[3];
		if (!build_shell_output(&s->shell, step, p + 4, n - 4))
			build_progress_output(&s->progress, step, p + 4, n - 4, time_mono());
		return 0;
	}
	if (type == 'A') {
		AUTO_BUF frames = BUF_INIT;
		int r = build_agents_ask(&s->b->agents, p, n, &frames, err);
		return r < 0 ? r : send_bytes(s, frames.data, frames.len, err);
	}
	if (type == 'C') {
		take_cache_bytes(s, p, n);
		return 0;
	}
	json_t *o = type == 'J' || type == 'E' ? json_loadb(p, n, 0, NULL) : NULL;
	if (!json_is_object(o)) {
		json_decref(o);
		return err_set(err, -EPROTO, "the daemon sent a frame that is none ('%c')", type >= ' ' && type < 0x7f ? type : '?');
	}
	if (type == 'E') {
		s->end = o;
		return 0;
	}
	int r = take_json(s, o, err);
	bool repository = json_object_get(o, "git") || json_object_get(json_object_get(o, "context"), "name");
	json_decref(o);
	if (r == 0 || r == -ECANCELED)
		return r;
	/* So that the worker's message says why it has ended, too. */
	(void) send_json(s, json_pack("{s:s}", "error", err_text(err)), NULL);
	if (!repository)
		return r;
	/* It knows the instruction, and what it says last is still to come. */
	err_done(err);
	return 0;
}

static int take_frames(Session *s, Err *err)
{
	size_t at = 0;
	int r = 0;
	while (r == 0 && !s->end && s->in.len - at >= FRAME_HEADER) {
		const uint8_t *h = (const uint8_t *) s->in.data + at;
		int64_t length = frame_length(h);
		size_t n = (size_t) length;
		if (length < 0 || n > FRAME_IO_MAX)
			return err_set(err, -EPROTO, "what the daemon sends is not framed");
		if (s->in.len - at < FRAME_HEADER + n)
			break;
		r = take_frame(s, h[0], s->in.data + at + FRAME_HEADER, n, err);
		at += FRAME_HEADER + n;
	}
	buf_consume(&s->in, at);
	return r;
}

/* 0: something may have come, or the time is over. */
static int wait_some(Session *s, Err *err)
{
	struct pollfd fds[2 + BUILD_AGENT_CALLS_MAX] = { { .fd = s->rfd, .events = POLLIN } };
	/* Without a shell poll(2) passes its place over. */
	fds[1] = (struct pollfd) { .fd = build_shell_fd(&s->shell), .events = POLLIN };
	size_t n = 2 + build_agents_poll(&s->b->agents, fds + 2);
	int r = signals_poll(fds, n, TICK_MSEC);
	if (r < 0)
		return err_errno(err, r, "wait for the daemon");
	AUTO_BUF frames = BUF_INIT;
	build_shell_input(&s->shell, fds[1].revents, signals_take(SIGWINCH), &frames);
	build_agents_ready(&s->b->agents, fds + 2, &frames);
	if (frames.len && (r = send_bytes(s, frames.data, frames.len, err)) < 0)
		return r;
	if (interrupted(s))
		return err_set(err, -ECANCELED, "interrupted");
	build_progress_tick(&s->progress, time_mono());
	return 0;
}

static int converse(Session *s, Err *err)
{
	int r = take_frames(s, err);
	while (r == 0 && !s->end) {
		ssize_t n = read(s->rfd, buf_reserve(&s->in, CHUNK), CHUNK);
		if (n > 0) {
			buf_added(&s->in, (size_t) n);
			r = take_frames(s, err);
		} else if (n == 0) {
			r = err_set(err, -EPIPE, "the connection to the daemon ended before the build did; has the daemon been stopped?");
		} else if (errno == EAGAIN || errno == EINTR) {
			r = wait_some(s, err);
		} else {
			r = err_errno(err, -errno, "the connection to the daemon");
		}
	}
	return r;
}

/* ── the end ──────────────────────────────────────────────────────── */

static void say_done(const Session *s)
{
	const json_t *tags = json_object_get(s->end, "tags"), *tag;
	const char *image = json_text(s->end, "image");
	size_t i;
	if (s->b->quiet) {
		print_clean_line(image);
		return;
	}
	AUTO_BUF b = BUF_INIT;
	buf_printf(&b, "%swriting image %s\n", s->progress.mode == PROGRESS_LIVE ? " => " : "", image);
	json_array_foreach(json_object_get(s->b->options, "tags"), i, tag)
		buf_printf(&b, "%snaming to %s\n", s->progress.mode == PROGRESS_LIVE ? " => " : "", json_string_value(tag));
	(void) tags;
	if (s->progress.mode != PROGRESS_QUIET)
		(void) fd_write_all(STDERR_FILENO, b.data, b.len);
}

static int finish(Session *s, int r, const Err *err)
{
	build_shell_end(&s->shell);
	build_progress_clear(&s->progress);
	if (s->interrupted) {
		fprintf(stderr, "stead: the build is cancelled\n");
		return EXIT_INTERRUPTED;
	}
	if (r < 0)
		return cli_fail(err);
	const char *error = json_text(s->end, "error");
	if (*error) {
		build_progress_failure(&s->progress, s->b->dockerfile_name, s->b->dockerfile, time_mono());
		cli_error("%s", error);
		return json_number(s->end, "code") == EXIT_USAGE ? EXIT_USAGE : EXIT_FAILED;
	}
	str_set(&s->b->image, json_text(s->end, "image"));
	say_done(s);
	if (s->b->id_file) {
		r = file_write_atomic(AT_FDCWD, s->b->id_file, s->b->image, strlen(s->b->image), 0644, false);
		if (r < 0) {
			cli_error("--iidfile: %s: %s", s->b->id_file, strerror(-r));
			return EXIT_FAILED;
		}
	}
	return EXIT_DONE;
}

static json_t *make_body(const Building *b)
{
	json_t *body = json_copy(b->options), *ids = json_array(), *ssh = json_array();
	AUTO_FREE char *name = b->context_id ? xstrdup(b->context_id) : building_context_id(b->context ? b->context : "");
	for (size_t i = 0; i < b->n_secrets; i++)
		(void) json_array_append_new(ids, json_string(b->secrets[i].id));
	for (size_t i = 0; i < b->agents.n; i++)
		(void) json_array_append_new(ssh, json_string(b->agents.list[i].id));
	(void) json_object_set_new(body, "secrets", ids);
	(void) json_object_set_new(body, "ssh", ssh);
	(void) json_object_set_new(body, "source", json_string(b->context ? "client" : "none"));
	(void) json_object_set_new(body, "context", json_string(name));
	(void) json_object_set_new(body, "dockerfile", json_string(b->dockerfile));
	(void) json_object_set_new(body, "dockerfile_name", json_string(b->dockerfile_name));
	if (b->ignore) {
		(void) json_object_set_new(body, "ignore", json_string(b->ignore));
		(void) json_object_set_new(body, "ignore_name", json_string(b->ignore_name));
	}
	if (json_object_size(b->limits))
		(void) json_object_set(body, "limits", b->limits);
	return body;
}

/* A guess, for the sake of speed alone: what is asked for is walked in any case. */
static bool looks_needed(const Building *b)
{
	return b->context && (strcasestr(b->dockerfile, "COPY") || strcasestr(b->dockerfile, "ADD") || strcasestr(b->dockerfile, "type=bind"));
}

int building_run(const Cli *cli, Building *b)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_HTTP *client = NULL;
	Session s = { .b = b, .rfd = -1, .wfd = -1 };
	if (b->check)
		return building_check(cli, b);
	if (build_agents_start(&b->agents, &err) < 0)
		return cli_refuse(&err);
	int code = client_open_or_fail(cli, &client);
	if (code)
		return code;
	json_t *body = make_body(b), *auths = building_auths(b, client);
	if (auths)
		(void) json_object_set_new(body, "auths", auths);
	const HttpBody hb = { .json = body };
	int r = http_call(client, "POST", "/stead/v1/builds", &hb, true, &err);
	json_decref(body);
	if (r < 0)
		return http_status(client) >= 400 && http_status(client) < 500 ? cli_refuse(&err) : cli_fail(&err);
	http_hijack_client(client, &s.rfd, &s.wfd, &s.in);
	(void) fcntl(s.rfd, F_SETFL, fcntl(s.rfd, F_GETFL) | O_NONBLOCK);
	(void) fcntl(s.wfd, F_SETFL, fcntl(s.wfd, F_GETFL) | O_NONBLOCK);
	signals_catch();
	(void) signal(SIGPIPE, SIG_IGN);
	build_progress_init(&s.progress, b->quiet ? PROGRESS_QUIET : cli_progress_mode(cli), STDERR_FILENO, time_mono());
	build_shell_init(&s.shell);
	open_contexts(&s, b);
	r = looks_needed(b) ? scan(&s, &s.contexts[0], &err) : 0;
	if (r == 0)
		r = converse(&s, &err);
	(void) close(s.rfd);
	if (s.wfd != s.rfd)
		(void) close(s.wfd);
	code = finish(&s, r, &err);
	signals_release();
	build_progress_done(&s.progress);
	close_contexts(&s);
	buf_done(&s.in);
	json_decref(s.end);
	return code;
}
