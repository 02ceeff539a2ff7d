// SPDX-License-Identifier: Apache-2.0
/*
 * The process starts from the container's own (process.json, written with the bundle) and is changed in
 * memory. Whoever starts it reads it from a memfd, so that no file has to be removed whatever happens.
 *
 * stead-exec starts it unless something is asked for that only the runtime can do: a terminal, which it makes in the
 * container; a profile of AppArmor; or a seccomp filter where the runtime keeps none. crun keeps the filter
 * that it has compiled in its state; runc compiles it anew.
 */
#include "run/exec-spec.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/mman.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "run/bundle-parts.h"
#include "run/caps.h"
#include "run/container-files.h"
#include "run/exec-format.h"
#include "run/user.h"

#define PROCESS_MAX EXEC_SPEC_MAX

/* ── process specification ────────────────────────────────────────── */

static json_t *strv_json(char *const *v)
{
	json_t *a = json_array();
	for (size_t i = 0; v && v[i]; i++)
		(void) json_array_append_new(a, json_string(v[i]));
	return a;
}

static void merge_env(json_t *process, char *const *env, bool tty)
{
	AUTO_STRV char **all = NULL;
	size_t i;
	json_t *e;
	json_array_foreach(json_object_get(process, "env"), i, e)
		strv_add(&all, json_string_value(e));
	if (tty && !strv_env(all, "TERM"))
		strv_add(&all, "TERM=xterm");
	for (i = 0; env && env[i]; i++) {
		const char *eq = strchr(env[i], '=');
		if (!eq || eq == env[i])
			continue;
		AUTO_FREE char *key = xstrndup(env[i], (size_t) (eq - env[i]));
		strv_setenv(&all, key, eq + 1);
	}
	(void) json_object_set_new(process, "env", strv_json(all));
}

static int set_user(json_t *process, const ExecSpec *s, Err *err)
{
	User u;
	int r = user_resolve(s->paths->rootfs, s->user, NULL, &u, err);
	if (r < 0)
		return r;
	json_t *groups = json_array();
	for (size_t i = 0; i < u.n_groups; i++)
		(void) json_array_append_new(groups, json_integer(u.groups[i]));
	(void) json_object_set_new(process, "user", json_pack("{s:I, s:I, s:o}", "uid", (json_int_t) u.uid, "gid", (json_int_t) u.gid,
		"additionalGids", groups));
	/* A home that was only derived from the container's user gives way to this user's. */
	if (json_is_true(json_object_get(process, "homeDerived"))) {
		AUTO_FREE char *home = xasprintf("HOME=%s", u.home);
		char *const env[] = { home, NULL };
		merge_env(process, env, false);
	}
	bool root = u.uid == 0;
	json_t *caps = json_object_get(process, "capabilities"), *bound = json_object_get(caps, "bounding");
	(void) json_object_set_new(caps, "effective", root ? json_incref(bound) : json_array());
	(void) json_object_set_new(caps, "permitted", root ? json_incref(bound) : json_array());
	user_done(&u);
	return 0;
}

static int make_process(const ExecSpec *s, json_t **ret, Err *err)
{
	AUTO_FREE char *path = xasprintf("%s/process.json", s->paths->bundle);
	AUTO_BUF b = BUF_INIT;
	int r = file_read(AT_FDCWD, path, PROCESS_MAX, &b);
	if (r < 0)
		return r == -ENOENT ? err_set(err, -ESRCH, "exec: the container is not running") : err_errno(err, r, "exec: %s", path);
	json_t *o = json_loadb(b.data ? b.data : "", b.len, 0, NULL);
	if (!json_is_object(o)) {
		json_decref(o);
		return err_set(err, -EIO, "exec: %s is damaged; restart the container", path);
	}
	if (s->privileged) {
		json_t *all = caps_to_json(caps_own());
		(void) json_object_set_new(o, "capabilities", json_pack("{s:O, s:O, s:o}", "bounding", all, "effective", all, "permitted", all));
		(void) json_object_set_new(o, "noNewPrivileges", json_false());
	}
	r = !str_empty(s->user) ? set_user(o, s, err) : 0;
	if (r < 0) {
		json_decref(o);
		return r;
	}
	merge_env(o, s->env, s->tty);
	(void) json_object_set_new(o, "args", strv_json(s->cmd));
	(void) json_object_set_new(o, "terminal", json_boolean(s->tty));
	if (s->tty && s->rows && s->cols)
		(void) json_object_set_new(o, "consoleSize", json_pack("{s:i, s:i}", "height", (int) s->rows, "width", (int) s->cols));
	if (!str_empty(s->cwd))
		(void) json_object_set_new(o, "cwd", json_string(s->cwd));
	*ret = o;
	return 0;
}

static int check_spec(const ExecSpec *s, Err *err)
{
	if (!s->cmd || !s->cmd[0] || !s->cmd[0][0])
		return err_set(err, -EINVAL, "exec: no command given");
	for (size_t i = 0; s->cmd[i]; i++)
		if (!str_is_utf8(s->cmd[i], strlen(s->cmd[i])))
			return err_set(err, -EINVAL, "exec: argument %zu is not UTF-8", i);
	if (!str_empty(s->cwd) && (s->cwd[0] != '/' || str_eq(s->cwd, "/proc") || str_starts(s->cwd, "/proc/")))
		return err_set(err, -EINVAL, "exec: the directory '%s' is not an absolute path outside of /proc", s->cwd);
	return 0;
}

/* ── for stead-exec ───────────────────────────────────────────────── */

static uint64_t caps_of(const json_t *process, const char *set)
{
	uint64_t caps = 0;
	size_t i;
	json_t *name;
	json_array_foreach(json_object_get(json_object_get(process, "capabilities"), set), i, name)
	{
		int n = cap_parse(json_string_value(name));
		if (n >= 0)
			caps |= 1ULL << n;
	}
	return caps;
}

/** Whether stead-exec can; opens what it needs beside the specification. */
static int open_direct(const ExecSpec *s, const json_t *o, ExecInput *in, ExecHeader *h, Err *err)
{
	const Runtime *rt = s->runtime;
	if (rt->fd_exec < 0 || s->tty || json_object_get(o, "apparmorProfile"))
		return 0;
	if (json_is_true(json_object_get(o, "filtered"))) {
		AUTO_FREE char *path = xasprintf("%s/%s/seccomp.bpf", rt->root, s->paths->id);
		in->seccomp = rt->flavour == RUNTIME_CRUN ? open(path, O_RDONLY | O_CLOEXEC) : -1;
		if (in->seccomp < 0)
			return 0;
	}
	pid_t pid;
	in->init = container_init_open(s->paths, &pid);
	if (in->init == -ESRCH)
		return err_set(err, -ESRCH, "exec: the container is not running");
	if (in->init < 0)
		return err_errno(err, in->init, "exec: look at the container");
	h->init_pid = pid;
	h->seccomp = in->seccomp >= 0;
	in->direct = true;
	return 0;
}

static int add_limits(const json_t *o, ExecHeader *h, Buf *b, Err *err)
{
	size_t i;
	json_t *e;
	json_array_foreach(json_object_get(o, "rlimits"), i, e)
	{
		int resource = bundle_rlimit_number(json_string_value(json_object_get(e, "type")));
		const json_t *soft = json_object_get(e, "soft"), *hard = json_object_get(e, "hard");
		if (resource < 0)
			return err_set(err, -EINVAL, "exec: process.json has an unknown limit; restart the container");
		ExecLimit limit = { .resource = (uint32_t) resource };
		limit.soft = json_is_integer(soft) ? (uint64_t) json_integer_value(soft) : UINT64_MAX;
		limit.hard = json_is_integer(hard) ? (uint64_t) json_integer_value(hard) : UINT64_MAX;
		buf_append(b, &limit, sizeof(limit));
		h->n_rlimits++;
	}
	return 0;
}

static uint32_t add_strings(const json_t *list, Buf *b)
{
	size_t i;
	json_t *e;
	json_array_foreach((json_t *) list, i, e)
		buf_append(b, json_string_value(e), json_string_length(e) + 1);
	return (uint32_t) json_array_size(list);
}

static int print_direct(const json_t *o, ExecHeader *h, Buf *ret, Err *err)
{
	AUTO_BUF strings = BUF_INIT;
	const json_t *user = json_object_get(o, "user");
	h->magic = EXEC_MAGIC;
	h->uid = (uint32_t) json_integer_value(json_object_get(user, "uid"));
	h->gid = (uint32_t) json_integer_value(json_object_get(user, "gid"));
	h->caps_bounding = caps_of(o, "bounding");
	h->caps_effective = caps_of(o, "effective");
	h->oom_score_adj = (int32_t) json_integer_value(json_object_get(o, "oomScoreAdj"));
	h->no_new_privileges = json_is_true(json_object_get(o, "noNewPrivileges"));
	buf_append(ret, h, sizeof(*h));
	int r = add_limits(o, h, ret, err);
	if (r < 0)
		return r;
	size_t i;
	json_t *e;
	json_array_foreach(json_object_get(user, "additionalGids"), i, e)
	{
		uint32_t gid = (uint32_t) json_integer_value(e);
		buf_append(ret, &gid, sizeof(gid));
		h->n_groups++;
	}
	const char *cwd = json_string_value(json_object_get(o, "cwd"));
	buf_append(&strings, cwd ? cwd : "/", strlen(cwd ? cwd : "/") + 1);
	h->n_args = add_strings(json_object_get(o, "args"), &strings);
	h->n_env = add_strings(json_object_get(o, "env"), &strings);
	h->strings_size = (uint32_t) strings.len;
	buf_append(ret, strings.data, strings.len);
	memcpy(ret->data, h, sizeof(*h));
	return ret->len <= EXEC_SPEC_MAX ? 0 : err_set(err, -E2BIG, "exec: command and environment are too long");
}

/* ── either ───────────────────────────────────────────────────────── */

static int print_for_runtime(json_t *o, Buf *ret, Err *err)
{
	(void) json_object_del(o, "homeDerived");
	(void) json_object_del(o, "filtered");
	if (bundle_print_open(o, ret) < 0)
		return err_set(err, -EINVAL, "exec: a value is not UTF-8");
	buf_str(ret, "}");
	return 0;
}

int exec_input_make(const ExecSpec *s, ExecInput *ret, Err *err)
{
	AUTO_BUF b = BUF_INIT;
	ExecHeader h = { 0 };
	json_t *o = NULL;
	int r = check_spec(s, err);
	if (r == 0)
		r = make_process(s, &o, err);
	if (r == 0)
		r = open_direct(s, o, ret, &h, err);
	ret->oom_score_adj = (int) json_integer_value(json_object_get(o, "oomScoreAdj"));
	if (r == 0)
		r = ret->direct ? print_direct(o, &h, &b, err) : print_for_runtime(o, &b, err);
	json_decref(o);
	if (r < 0)
		return r;
	ret->spec = memfd_create("process", MFD_CLOEXEC);
	r = ret->spec < 0 ? -errno : fd_write_all(ret->spec, b.data, b.len);
	return r < 0 ? err_errno(err, r, "exec: write the process specification") : 0;
}

void exec_input_done(ExecInput *in)
{
	int *const fds[] = { &in->spec, &in->init, &in->seccomp };
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (*fds[i] >= 0)
			(void) close(*fds[i]);
		*fds[i] = -1;
	}
}
