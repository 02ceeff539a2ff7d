// SPDX-License-Identifier: Apache-2.0
#include "cli/building-archive.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/output.h"
#include "cli/signals.h"
#include "cli/spawn.h"
#include "cli/worker.h"

#define ARCHIVE_FD 3
#define TICK_MSEC 100
#define REPORT_MAX (1U << 20)

/* Without a password, which is refused, but not to be shown for that. */
static const char *shown(const char *url)
{
	const char *begin = strstr(url, "://") + 3, *at = memchr(begin, '@', strcspn(begin, "/"));
	return at ? at + 1 : url;
}

/* ── the worker ───────────────────────────────────────────────────── */

typedef struct Unpacker {
	pid_t pid;
	int report;
	Buf in;
	json_t *end;
} Unpacker;

static void unpacker_done(Unpacker *u)
{
	if (u->report >= 0)
		(void) close(u->report);
	if (u->pid > 0) {
		(void) kill(u->pid, SIGKILL); /* it has ended, or is of no use any more */
		(void) spawn_wait(u->pid);
	}
	buf_done(&u->in);
	json_decref(u->end);
}

static int options_for(const char *url, int *ret, Err *err)
{
	json_t *o = json_pack("{s:s?}", "url", url);
	AUTO_FREE char *text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	if (!text || strlen(text) > SPAWN_INPUT_MAX)
		return err_set(err, -EINVAL, "the URL is too long, or not UTF-8");
	return spawn_input(text, ret, err);
}

static int start(Unpacker *u, const char *url, const char *dir, Err *err)
{
	AUTO_CLOSE int options = -1;
	AUTO_FREE char *worker = libexec_path("stead-worker");
	int report[2];
	int r = options_for(url, &options, err);
	if (r < 0)
		return r;
	if (pipe2(report, O_CLOEXEC) < 0)
		return err_errno(err, -errno, "pipe");
	const char *argv[] = { worker, "unpack", dir, NULL };
	const SpawnFd fds[] = { { options, STDIN_FILENO }, { report[1], STDOUT_FILENO }, { url ? -1 : STDIN_FILENO, ARCHIVE_FD } };
	r = spawn(argv, fds, ARRAY_SIZE(fds), &u->pid, err);
	(void) close(report[1]);
	u->report = report[0];
	return r;
}

/* Until its report has ended. */
static int listen_to(Unpacker *u, bool (*tick)(void *user), void *user, Err *err)
{
	for (;;) {
		struct pollfd fd = { .fd = u->report, .events = POLLIN };
		int r = signals_poll(&fd, 1, TICK_MSEC);
		if (r < 0)
			return err_errno(err, r, "wait for the worker");
		if (tick(user))
			return err_set(err, -ECANCELED, "interrupted");
		if (!fd.revents)
			continue;
		ssize_t n = read(u->report, buf_reserve(&u->in, 4096), 4096);
		if (n < 0 && errno != EINTR)
			return err_errno(err, -errno, "the worker's report");
		if (n == 0 || u->in.len > REPORT_MAX)
			return 0;
		if (n > 0)
			buf_added(&u->in, (size_t) n);
		worker_report_lines(&u->in, &u->end);
	}
}

static int run(const char *url, const char *dir, bool (*tick)(void *user), void *user, Err *err)
{
	AUTO(unpacker_done) Unpacker u = { .report = -1 };
	int r = start(&u, url, dir, err);
	if (r < 0 || (r = listen_to(&u, tick, user, err)) < 0)
		return r;
	const char *error = json_string_value(json_object_get(u.end, "error"));
	if (!u.end)
		return err_set(err, -EIO, "the worker that unpacks it has ended without a word");
	if (!error)
		return 0;
	int code = (int) json_integer_value(json_object_get(u.end, "code"));
	return err_set(err, code < 0 ? code : -EIO, "%s", error);
}

int building_archive_fetch(const char *url, bool (*tick)(void *user), void *user, GitCheckout *ret, Err *err)
{
	struct stat st;
	GitCheckout c = { 0 };
	int r = worker_dir("context", &c.root, err);
	if (r < 0)
		return r;
	if ((r = run(url, c.root, tick, user, err)) < 0) {
		git_checkout_done(&c);
		return r == -ECANCELED ? r : err_wrap(err, "%s", url ? shown(url) : "the build context on standard input");
	}
	c.path = xasprintf("%s/context", c.root);
	bool text = stat(c.path, &st) < 0;
	if (text) {
		free(c.path);
		c.path = xasprintf("%s/Dockerfile", c.root);
	}
	*ret = c;
	return text;
}

/* ── the build's own ──────────────────────────────────────────────── */

static bool interrupted(void *user)
{
	(void) user;
	return signals_ended();
}

static int take_dockerfile(Building *b, const char *url, Err *err)
{
	AUTO_BUF text = BUF_INIT;
	int r = file_read(AT_FDCWD, b->checkout.path, LIMIT_DOCKERFILE_BYTES, &text);
	if (r < 0)
		return err_errno(err, r, "%s", b->checkout.path);
	git_checkout_done(&b->checkout);
	if (text.len && (memchr(text.data, '\0', text.len) || !str_is_utf8(text.data, text.len)))
		return err_set(err, -EINVAL, "%s is neither a tar archive nor a Dockerfile (text in UTF-8)", url ? url : "what is on standard input");
	if (url && text.len && text.data[strspn(buf_cstr(&text), " \t\r\n")] == '<')
		return err_set(err, -EINVAL, "%s is a web page, neither a tar archive nor a Dockerfile; the URL of a git repository ends with .git", url);
	str_set(&b->dockerfile_name, "Dockerfile");
	str_set(&b->dockerfile, buf_cstr(&text));
	return 1;
}

int building_archive_context(Building *b, const char *url, Err *err)
{
	if (url && !b->quiet)
		fprintf(stderr, "fetching %s\n", shown(url));
	signals_catch();
	int r = building_archive_fetch(url, interrupted, NULL, &b->checkout, err);
	signals_release();
	if (r < 0)
		return r;
	if (r > 0)
		return take_dockerfile(b, url, err);
	str_set(&b->context, b->checkout.path);
	free(b->context_id);
	b->context_id = url ? xstrdup(url) : building_context_id("-");
	return 0;
}
