// SPDX-License-Identifier: Apache-2.0
#include "cli/ship-source.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/client.h"
#include "cli/spawn.h"
#include "cli/worker.h"

#define PEER_FD 3
#define PEER_WRITE_FD 4
#define ARCHIVE_FD 5
#define INSPECT_MS 5000

static const char *const engines[] = { "docker", "podman" };

void ship_sources_done(ShipSources *l)
{
	for (size_t i = 0; i < l->n; i++) {
		strv_free(l->items[i].names);
		free(l->items[i].path);
	}
	free(l->items);
	*l = (ShipSources) { 0 };
}

/* ── operands ─────────────────────────────────────────────────────── */

static bool is_path(const char *arg)
{
	static const char *const begins[] = { "/", "./", "../" }, *const ends[] = { ".tar", ".tar.gz", ".tgz", ".tar.zst" };
	if (str_eq(arg, "-") || str_eq(arg, ".") || str_eq(arg, ".."))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(begins); i++)
		if (str_starts(arg, begins[i]))
			return true;
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		if (str_ends(arg, ends[i]))
			return true;
	return false;
}

/* The name behind "docker:" or "podman:"; NULL if the image is none of theirs. "docker:27" alone is taken for theirs, too: library/docker:27 is the way around. */
static const char *engine_name(const char *arg, const char **ret_program)
{
	for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
		size_t n = strlen(engines[i]);
		if (str_starts(arg, engines[i]) && arg[n] == ':') {
			*ret_program = engines[i];
			return arg + n + 1;
		}
	}
	return NULL;
}

static ShipSource *source_of(ShipSources *l, ShipSourceKind kind, const char *program)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->items[i].kind == kind && l->items[i].program == program)
			return &l->items[i];
	ShipSource *s = array_append(l->items, l->n);
	s->kind = kind;
	s->program = program;
	return s;
}

static int add_path(ShipSources *l, const char *path, Err *err)
{
	struct stat st;
	bool input = str_eq(path, "-");
	if (input && isatty(STDIN_FILENO) == 1)
		return err_set(err, -EINVAL, "an archive from a terminal makes no sense: give a file, or pipe it in");
	if (!input && stat(path, &st) < 0)
		return err_errno(err, -errno, "%s", path);
	for (size_t i = 0; i < l->n; i++)
		if (str_eq(l->items[i].path, path))
			return err_set(err, -EINVAL, "%s is named twice", path);
	ShipSource *s = array_append(l->items, l->n);
	s->kind = !input && S_ISDIR(st.st_mode) ? SOURCE_LAYOUT : SOURCE_ARCHIVE;
	s->path = xstrdup(path);
	return 0;
}

int ship_sources_parse(char *const *args, ShipSources *ret, Err *err)
{
	for (char *const *a = args; *a; a++) {
		const char *program = NULL, *name = engine_name(*a, &program);
		if (name && (!*name || *name == '-'))
			return err_set(err, -EINVAL, "%s: an image is needed, as in %s:app", *a, program);
		if (!name && is_path(*a)) {
			int r = add_path(ret, *a, err);
			if (r < 0)
				return r;
		} else {
			strv_add(&source_of(ret, name ? SOURCE_ENGINE : SOURCE_DAEMON, program)->names, name ? name : *a);
		}
	}
	return 0;
}

/* ── the sender ───────────────────────────────────────────────────── */

/* podman writes several images to one archive only when asked to. */
static int start_engine(const ShipSource *s, pid_t *ret, int *ret_fd, Err *err)
{
	int fds[2];
	size_t n = 0;
	const char **argv = xcalloc(strv_len(s->names) + 5, sizeof(char *));
	argv[n++] = s->program;
	argv[n++] = "save";
	if (str_eq(s->program, "podman"))
		argv[n++] = "--multi-image-archive";
	for (char **name = s->names; *name; name++)
		argv[n++] = *name;
	int r = pipe2(fds, O_CLOEXEC) < 0 ? err_errno(err, -errno, "pipe") : 0;
	if (r == 0) {
		const SpawnFd io[] = { { -1, STDIN_FILENO }, { fds[1], STDOUT_FILENO } };
		r = spawn(argv, io, ARRAY_SIZE(io), ret, err);
		(void) close(fds[1]);
		if (r < 0)
			(void) close(fds[0]);
		else
			*ret_fd = fds[0];
	}
	free(argv);
	return r == -ENOENT ? err_set(err, r, "there is no %s here", s->program) : r;
}

static int open_archive(const ShipSource *s, ShipSender *sender, int *ret, Err *err)
{
	if (s->kind == SOURCE_ENGINE)
		return start_engine(s, &sender->program, ret, err);
	*ret = str_eq(s->path, "-") ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 10) : open(s->path, O_RDONLY | O_CLOEXEC);
	return *ret < 0 ? err_errno(err, -errno, "%s", s->path) : 0;
}

static int worker_options(const ShipSource *s, const char *arch, const char *tmp, int *ret_fd, Err *err)
{
	json_t *o = json_pack("{s:b, s:s, s:o}", "archive", 1, "tmp", tmp, "wanted", strv_to_json(s->kind == SOURCE_ENGINE ? s->names : NULL));
	if (s->kind == SOURCE_LAYOUT)
		(void) json_object_set_new(o, "layout", json_string(s->path));
	if (arch)
		(void) json_object_set_new(o, "arch", json_string(arch));
	AUTO_FREE char *text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	if (!text)
		return err_set(err, -EINVAL, "a name is not UTF-8");
	if (strlen(text) > SPAWN_INPUT_MAX)
		return err_set(err, -E2BIG, "too many names");
	return spawn_input(text, ret_fd, err);
}

static int start_worker(const ShipSource *s, const char *arch, ShipSender *sender, int archive, ShipEnd *e, Err *err)
{
	AUTO_CLOSE int options = -1;
	AUTO_FREE char *worker = libexec_path("stead-worker");
	int peer[2], report[2];
	int r = worker_options(s, arch, sender->tmp, &options, err);
	if (r < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, peer) < 0)
		return err_errno(err, -errno, "socketpair");
	if (pipe2(report, O_CLOEXEC) < 0) {
		r = err_errno(err, -errno, "pipe");
		(void) close(peer[0]);
		(void) close(peer[1]);
		return r;
	}
	const char *argv[] = { worker, "ship-send", sender->tmp, NULL };
	const SpawnFd fds[] = { { options, STDIN_FILENO }, { report[1], STDOUT_FILENO }, { peer[1], PEER_FD }, { peer[1], PEER_WRITE_FD },
		{ archive, ARCHIVE_FD } };
	r = spawn(argv, fds, ARRAY_SIZE(fds) - (archive < 0), &sender->worker, err);
	(void) close(peer[1]);
	(void) close(report[1]);
	ship_end_open(e, peer[0], peer[0]);
	e->report_fd = report[0];
	(void) fcntl(report[0], F_SETFL, O_NONBLOCK);
	return r;
}

int ship_sender_start(const ShipSource *s, const char *arch, ShipSender *ret, ShipEnd *e, Err *err)
{
	AUTO_CLOSE int archive = -1;
	*ret = (ShipSender) { 0 };
	int r = worker_dir("ship", &ret->tmp, err);
	if (r == 0 && s->kind != SOURCE_LAYOUT)
		r = open_archive(s, ret, &archive, err);
	return r < 0 ? r : start_worker(s, arch, ret, archive, e, err);
}

int ship_sender_end(ShipSender *s, const ShipSource *source, Err *err)
{
	int r = 0;
	if (s->worker > 0) {
		(void) kill(s->worker, SIGKILL); /* it has ended, or is of no use any more */
		(void) spawn_wait(s->worker);
	}
	if (s->program > 0) {
		/* With its reader gone it ends by itself, if it has not. */
		int code = spawn_wait_for(s->program, INSPECT_MS);
		if (code > 0 && code != 128 + SIGPIPE)
			r = err_set(err, -EIO, "'%s save' ended with exit code %d", source->program, code);
	}
	if (s->tmp) {
		(void) tree_remove(AT_FDCWD, s->tmp);
		free(s->tmp);
	}
	*s = (ShipSender) { 0 };
	return r;
}

const char *ship_engine_with(const char *image)
{
	for (size_t i = 0; *image != '-' && i < ARRAY_SIZE(engines); i++) {
		const char *argv[] = { engines[i], "image", "inspect", image, NULL };
		const SpawnFd fds[] = { { -1, STDIN_FILENO }, { -1, STDOUT_FILENO }, { -1, STDERR_FILENO } };
		pid_t pid;
		if (spawn(argv, fds, ARRAY_SIZE(fds), &pid, NULL) == 0 && spawn_wait_for(pid, INSPECT_MS) == 0)
			return engines[i];
	}
	return NULL;
}
