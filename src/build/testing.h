// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A build in a test: the worker's job in a child, while this process is the daemon and the client. A RUN in exec form is done
 * here: ["write", PATH, TEXT], ["remove", PATH], ["same", DIRECTORY] (as overlayfs copies it up), ["fail", CODE], ["nothing"]; more of them in
 * a row are joined by "and".
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "build/build.h"
#include "build/entries.h"
#include "build/view.h"
#include "image/layers.h"
#include "image/report.h"
#include "image/testing.h"
#include "io/frame-io.h"
#include "model/image.h"

typedef struct TestFile {
	const char *path, *text; /* text NULL: a directory; "-> X": a symlink */
	mode_t mode;             /* 0: 0644, 0755 */
} TestFile;

typedef struct TestBuild {
	const char *dockerfile, *ignore, *options; /* options: further members, as JSON */
	const TestFile *files;
	size_t n_files;
	const char *base;    /* id of the image that each FROM gets; NULL: there is none */
	const char *secret;
	int context;         /* a descriptor to give as it is, or 0 */
	size_t kill_after;   /* kill the worker when it has said so many lines */
	const char *change;  /* a file whose bytes are not those of the manifest */
	int64_t mtime;       /* of all files, or 0 */
	const char *cache;   /* a directory below the scratch directory: number 0 of cache_from and cache_to in the options */
	size_t cut;          /* kill the worker at its so manieth question about that directory */
	const struct TestBuild *lib; /* its files are the named context "lib" */
} TestBuild;

typedef struct TestResult {
	char *error, *id;
	json_t *built, *requests; /* RUN requests */
	json_t *events;
	size_t runs, wanted, lines, cached;
	size_t questions, read, written; /* of the cache: all; layers' and lists' blobs */
	Buf writing;
	bool same;
	Image *image;
} TestResult;

static inline void result_done(TestResult *r)
{
	free(r->error);
	free(r->id);
	json_decref(r->built);
	json_decref(r->requests);
	json_decref(r->events);
	image_free(r->image);
	buf_done(&r->writing);
	*r = (TestResult) { 0 };
}

/* The client. */

static inline void manifest_of(const TestBuild *t, Entries *l)
{
	for (size_t i = 0; i < t->n_files; i++) {
		const TestFile *f = &t->files[i];
		Entry *e = array_append(l->items, l->n);
		e->path = xstrdup(f->path);
		e->type = !f->text ? 'd' : str_starts(f->text, "-> ") ? 'l' : 'f';
		e->mode = f->mode ? f->mode : e->type == 'd' ? 0755 : 0644;
		e->mtime = t->mtime ? t->mtime : 1600000000;
		if (e->type == 'l')
			e->target = xstrdup(f->text + 3);
		if (e->type == 'f') {
			e->size = (int64_t) strlen(f->text);
			digest_sha256(f->text, strlen(f->text), e->hash);
		}
	}
	entries_sort(l);
}

static inline const char *text_of_file(const TestBuild *t, const char *path)
{
	for (size_t i = 0; i < t->n_files; i++)
		if (str_eq(t->files[i].path, path))
			return t->files[i].text;
	return "";
}

/* `lists`: of the build's own context, of "lib". */
static inline void client_answer(const TestBuild *t, int fd, const Entries *lists, const json_t *q, TestResult *r)
{
	AUTO_BUF b = BUF_INIT;
	const char *name = json_string_value(json_object_get(json_object_get(q, "context") ? json_object_get(q, "context") : q, "name"));
	assert_true(!name || (t->lib && str_eq(name, "lib")));
	const Entries *l = name ? &lists[1] : &lists[0];
	if (name)
		t = t->lib;
	const json_t *context = json_object_get(q, "context"), *want = json_object_get(q, "want");
	const char *secret = json_string_value(json_object_get(q, "secret"));
	if (context) {
		char hex[DIGEST_HEX_MAX];
		entries_write(l, &b);
		digest_sha256(buf_cstr(&b), b.len, hex);
		r->same = str_eq(json_string_value(json_object_get(context, "have")), hex);
		if (r->same) {
			assert_int_equal(frame_send_json(fd, 'J', json_pack("{s:b}", "same", 1), NULL), 0);
			return;
		}
		for (size_t at = 0; at < b.len; at += 100)
			assert_int_equal(frame_send(fd, 'M', b.data + at, b.len - at < 100 ? b.len - at : 100, NULL), 0);
		assert_int_equal(frame_send_json(fd, 'J', json_pack("{s:s}", "manifest", "end"), NULL), 0);
	}
	for (size_t i = 0; i < json_array_size(want); i++) {
		size_t index = (size_t) json_integer_value(json_array_get(want, i));
		const Entry *e = &l->items[index];
		const char *text = str_eq(t->change, e->path) ? "something else" : text_of_file(t, e->path);
		r->wanted++;
		if (*text)
			(void) frame_send(fd, 'F', text, strlen(text), NULL);
		(void) frame_send_json(fd, 'J', json_pack("{s:I, s:s}", "file", (json_int_t) index, "hash", e->hash), NULL);
	}
	if (secret && t->secret) {
		assert_int_equal(frame_send(fd, 'S', t->secret, strlen(t->secret), NULL), 0);
		assert_int_equal(frame_send_json(fd, 'J', json_pack("{s:s}", "secret", secret), NULL), 0);
	} else if (secret) {
		assert_int_equal(frame_send_json(fd, 'J', json_pack("{s:s, s:b}", "secret", secret, "missing", 1), NULL), 0);
	}
}

/* The client's end of build/cache-dir.h, as simple as can be. */

static inline char *cache_path(const TestBuild *t, const char *name)
{
	return xasprintf("%s/%s/%s", scratch, t->cache, name);
}

static inline void cache_read(const TestBuild *t, int fd, const char *name, TestResult *r)
{
	AUTO_BUF text = BUF_INIT;
	AUTO_FREE char *path = cache_path(t, name);
	if (file_read(AT_FDCWD, path, 16 << 20, &text) < 0) {
		(void) frame_send_json(fd, 'J', json_pack("{s:s}", "cache", "missing"), NULL);
		return;
	}
	r->read++;
	for (size_t at = 0; at < text.len; at += 1000)
		(void) frame_send(fd, 'C', text.data + at, text.len - at < 1000 ? text.len - at : 1000, NULL);
	(void) frame_send_json(fd, 'J', json_pack("{s:s}", "cache", "end"), NULL);
}

static inline void cache_name(const TestBuild *t, const char *name, TestResult *r)
{
	if (!name)
		return;
	AUTO_FREE char *path = cache_path(t, name);
	AUTO_FREE char *dir = xstrndup(path, (size_t) (strrchr(path, '/') - path));
	assert_int_equal(dir_make(dir, 0755), 0);
	assert_int_equal(file_write(AT_FDCWD, path, r->writing.data, r->writing.len, 0644), 0);
	r->written++;
}

static inline void cache_keep(const TestBuild *t, const json_t *names)
{
	AUTO_FREE char *path = cache_path(t, "blobs/sha256");
	DIR *d = opendir(path);
	for (struct dirent *e; d && json_is_array(names) && (e = readdir(d));) {
		bool keep = e->d_name[0] == '.';
		for (size_t i = 0; !keep && i < json_array_size(names); i++)
			keep = str_ends(json_string_value(json_array_get(names, i)), e->d_name);
		if (!keep)
			assert_int_equal(unlinkat(dirfd(d), e->d_name, 0), 0);
	}
	if (d)
		(void) closedir(d);
}

static inline void cache_answer(const TestBuild *t, int fd, const json_t *q, TestResult *r)
{
	const json_t *sizes = json_object_get(q, "sizes"), *name = json_object_get(q, "name");
	json_t *list = json_array();
	for (size_t i = 0; i < json_array_size(sizes); i++) {
		struct stat st;
		AUTO_FREE char *path = cache_path(t, json_string_value(json_array_get(sizes, i)));
		(void) json_array_append_new(list, stat(path, &st) == 0 ? json_integer(st.st_size) : json_null());
	}
	if (json_object_get(q, "read"))
		cache_read(t, fd, json_string_value(json_object_get(q, "read")), r);
	else if (json_object_get(q, "write"))
		buf_clear(&r->writing);
	else if (sizes)
		(void) frame_send_json(fd, 'J', json_pack("{s:s, s:O}", "cache", "sizes", "sizes", list), NULL);
	else {
		if (name)
			cache_name(t, json_string_value(name), r);
		cache_keep(t, json_object_get(q, "keep"));
		(void) frame_send_json(fd, 'J', json_pack("{s:s}", "cache", "done"), NULL);
	}
	json_decref(list);
}

/* The daemon. */

static inline int do_run(const json_t *q)
{
	const json_t *args = json_object_get(q, "args");
	AUTO_FREE char *upper = xasprintf("%s/state/%s", scratch, json_string_value(json_object_get(q, "upper")));
	AUTO_CLOSE int fd = open(upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	for (size_t i = 0; i < json_array_size(args); i++) {
		const char *verb = json_string_value(json_array_get(args, i));
		const char *path = json_string_value(json_array_get(args, i + 1)), *text = json_string_value(json_array_get(args, i + 2));
		if (str_eq(verb, "and") || str_eq(verb, "nothing"))
			continue;
		if (str_eq(verb, "fail"))
			return (int) strtol(path, NULL, 10);
		if (str_eq(verb, "same")) {
			const struct timespec then[] = { { .tv_sec = 1600000000 }, { .tv_sec = 1600000000 } };
			AUTO_FREE char *dir = xasprintf("%s%s", upper, path);
			assert_int_equal(dir_make(dir, 0755), 0);
			assert_int_equal(utimensat(AT_FDCWD, dir, then, 0), 0);
			i++;
			continue;
		}
		if (!str_eq(verb, "write") && !str_eq(verb, "remove"))
			return 0; /* a command: it does nothing here */
		AUTO_FREE char *full = xasprintf("%s%s", upper, path);
		AUTO_FREE char *dir = xstrndup(full, (size_t) (strrchr(full, '/') - full));
		assert_int_equal(dir_make(dir, 0755), 0);
		if (str_eq(verb, "write")) {
			assert_int_equal(file_write(AT_FDCWD, full, text, strlen(text), 0644), 0);
			i += 2;
		} else if (str_eq(verb, "remove")) {
			assert_int_equal(mknod(full, S_IFCHR, makedev(0, 0)), 0);
			i++;
		}
	}
	return 0;
}

static inline void say(int fd, json_t *o)
{
	AUTO_FREE char *text = json_dumps(o, JSON_COMPACT);
	AUTO_FREE char *line = xasprintf("%s\n", text);
	json_decref(o);
	(void) fd_write_all(fd, line, strlen(line));
}

static inline void daemon_line(const TestBuild *t, int to, const json_t *o, TestResult *r)
{
	const char *ref = json_string_value(json_object_get(o, "image")), *error = json_string_value(json_object_get(o, "error"));
	json_t *event = json_object_get(o, "event");
	if (event) {
		(void) json_array_append(r->events, event);
		r->cached += str_eq(json_string_value(json_object_get(event, "state")), "cached");
	}
	if (ref)
		say(to, t->base ? json_pack("{s:s, s:s}", "image", ref, "id", t->base) : json_pack("{s:s, s:s}", "image", ref, "error", "no such image"));
	if (json_object_get(o, "run")) {
		(void) json_array_append(r->requests, (json_t *) o);
		r->runs++;
		say(to, json_pack("{s:O, s:i, s:b, s:n, s:i}", "run", json_object_get(o, "run"), "exit", do_run(o), "oom", 0, "error", "peak", 1000));
	}
	if (json_object_get(o, "built"))
		r->built = json_incref(json_object_get(o, "built"));
	if (error)
		r->error = xstrdup(error);
}

static inline void worker_child(int in, int out, int context, const char *state)
{
	AUTO_ERR err = ERR_INIT;
	(void) dup2(out, STDOUT_FILENO);
	(void) signal(SIGPIPE, SIG_IGN);
	report_init();
	int r = build_image_job(state, in, context, &err);
	report_end(r, &err);
	err_done(&err);
	_exit(0);
}

static inline void serve(const TestBuild *t, pid_t pid, int to, int from, int context, TestResult *r)
{
	AUTO_ENTRIES own = { 0 };
	AUTO_ENTRIES lib = { 0 };
	AUTO_BUF in = BUF_INIT;
	struct pollfd p[2] = { { .fd = from, .events = POLLIN }, { .fd = context, .events = POLLIN } };
	manifest_of(t, &own);
	if (t->lib)
		manifest_of(t->lib, &lib);
	for (;;) {
		assert_true(poll(p, 2, 60000) > 0);
		if (p[1].revents) {
			AUTO_BUF frame = BUF_INIT;
			uint8_t type;
			if (frame_receive(context, &type, &frame, FRAME_IO_MAX, NULL) <= 0) {
				p[1].fd = -1;
			} else if (type == 'C') {
				buf_append(&r->writing, frame.data, frame.len);
			} else {
				json_t *q = json_loadb(frame.data, frame.len, 0, NULL);
				const json_t *cache = json_object_get(q, "cache");
				if (cache && t->cut && ++r->questions >= t->cut)
					(void) kill(pid, SIGKILL);
				else if (cache)
					cache_answer(t, context, cache, r);
				else
					client_answer(t, context, (Entries[]) { own, lib }, q, r);
				json_decref(q);
			}
		}
		if (!p[0].revents)
			continue;
		ssize_t n = read(from, buf_reserve(&in, 65536), 65536);
		if (n <= 0)
			return;
		buf_added(&in, (size_t) n);
		for (char *nl; in.len && (nl = memchr(in.data, '\n', in.len));) {
			json_t *o = json_loadb(in.data, (size_t) (nl - in.data), 0, NULL);
			assert_non_null(o);
			buf_consume(&in, (size_t) (nl - in.data) + 1);
			r->lines++;
			if (t->kill_after && r->lines == t->kill_after)
				(void) kill(pid, SIGKILL);
			daemon_line(t, to, o, r);
			json_decref(o);
		}
	}
}

static inline json_t *options_of(const TestBuild *t)
{
	json_t *o = json_pack("{s:s?, s:s?, s:s, s:s, s:[s]}", "dockerfile", t->dockerfile, "ignore", t->ignore, "context", "test:/context", "source",
		t->context ? "tar" : "client", "tags", "docker.io/library/made:latest");
	json_t *more = t->options ? json_loads(t->options, 0, NULL) : NULL;
	assert_true(!t->options || more);
	if (more)
		(void) json_object_update(o, more);
	json_decref(more);
	return o;
}

static inline void take_image(TestResult *r)
{
	AUTO_BUF text = BUF_INIT;
	r->id = xstrdup(json_string_value(json_object_get(r->built, "id")));
	AUTO_FREE char *path = xasprintf("%s/state/blobs/sha256/%s", scratch, r->id + 7);
	assert_int_equal(file_read(AT_FDCWD, path, 1 << 20, &text), 0);
	assert_int_equal(image_from_config(text.data, text.len, &r->image, NULL), 0);
}

static inline void run_build(const TestBuild *t, TestResult *r)
{
	int in[2], out[2], context[2] = { -1, -1 };
	AUTO_FREE char *state = xasprintf("%s/state", scratch);
	*r = (TestResult) { .requests = json_array(), .events = json_array() };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, context), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void) close(in[1]);
		worker_child(in[0], out[1], t->context ? t->context : context[0], state);
	}
	(void) close(in[0]);
	(void) close(out[1]);
	(void) close(context[0]);
	(void) signal(SIGPIPE, SIG_IGN);
	say(in[1], options_of(t));
	serve(t, pid, in[1], out[0], context[1], r);
	(void) close(in[1]);
	(void) close(out[0]);
	(void) close(context[1]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	if (r->built)
		take_image(r);
}

static inline void must_build(const TestBuild *t, TestResult *r)
{
	run_build(t, r);
	if (r->error)
		fail_msg("%s", r->error);
	assert_non_null(r->id);
}

/** What it makes; its id is the caller's. */
static inline char *must_build_id(const TestBuild *t)
{
	TestResult r;
	must_build(t, &r);
	char *id = xstrdup(r.id);
	result_done(&r);
	return id;
}

/* What came of it. */

static inline void open_image(const TestResult *r, View *v)
{
	for (size_t i = 0; i < r->image->n_layers; i++) {
		char name[33];
		layer_dir_name(r->image->layers[i].diff_id, name);
		AUTO_FREE char *path = xasprintf("%s/state/layers/%s", scratch, name);
		int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		assert_true(fd >= 0);
		view_add(v, fd);
	}
}

/** The text of a file of the image, or NULL. The caller's. */
static inline char *image_text(const TestResult *r, const char *path)
{
	AUTO_VIEW v = { 0 };
	Buf b = BUF_INIT;
	open_image(r, &v);
	if (view_read(&v, path, 1 << 20, &b) < 0) {
		buf_done(&b);
		return NULL;
	}
	return buf_steal(&b);
}

static inline void has_text(const TestResult *r, const char *path, const char *text)
{
	AUTO_FREE char *got = image_text(r, path);
	if (!got)
		fail_msg("%s is not there", path);
	assert_string_equal(got, text);
}

static inline void has_nothing(const TestResult *r, const char *path)
{
	AUTO_VIEW v = { 0 };
	struct stat st;
	open_image(r, &v);
	if (view_stat(&v, path, &st, NULL, NULL) != 0)
		fail_msg("%s is there", path);
}

static inline struct stat image_stat(const TestResult *r, const char *path)
{
	AUTO_VIEW v = { 0 };
	struct stat st;
	open_image(r, &v);
	if (view_stat(&v, path, &st, NULL, NULL) != 1)
		fail_msg("%s is not there", path);
	return st;
}

static inline void fails_with(const TestBuild *t, const char *text)
{
	TestResult r;
	run_build(t, &r);
	if (!r.error || !strstr(r.error, text))
		fail_msg("'%s' is not in '%s'", text, r.error ? r.error : "(it was built)");
	result_done(&r);
}
