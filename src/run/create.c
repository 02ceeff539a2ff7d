// SPDX-License-Identifier: Apache-2.0
/*
 * conmon forks itself into the background at once; the process started here writes the other's pid file and
 * ends. It may come to that late: the creation is over when both it has ended and the word on it has come. That
 * word comes over the sync pipe (_OCI_SYNCPIPE): one line of JSON, {"data": PID, "message": …},
 * PID < 0 if the runtime failed. The write end closing without a word means that conmon died.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/child.h"
#include "run/container.h"
#include "run/trash.h"

#define SYNC_MAX (64U << 10)
#define SYNC_FD 3

typedef struct Creation {
	uv_poll_t poll; /* first: freed in its close callback */
	int fd;
	bool told, forked; /* both must be */
	Buf text;
	ContainerCreatedFn done;
	void *user;
} Creation;

static void creation_closed(uv_handle_t *h)
{
	Creation *c = h->data;
	buf_done(&c->text);
	free(c);
}

/* The runtime's last line is its error; crun prefixes a time stamp and its own name with newer versions. */
static char *runtime_error(const char *message)
{
	size_t n = strlen(message);
	while (n > 0 && (message[n - 1] == '\n' || message[n - 1] == ' '))
		n--;
	size_t start = n;
	while (start > 0 && message[start - 1] != '\n')
		start--;
	return xstrndup(message + start, n - start);
}

static void creation_end(Creation *c)
{
	if (!c->told || !c->forked)
		return;
	AUTO_ERR err = ERR_INIT;
	int r = 0;
	json_int_t pid = -1;
	json_t *o = json_loadb(c->text.data ? c->text.data : "", c->text.len, JSON_DISABLE_EOF_CHECK, NULL);
	const json_t *data = json_object_get(o, "data");
	if (!data)
		data = json_object_get(o, "pid");
	if (json_is_integer(data))
		pid = json_integer_value(data);
	const char *message = json_string_value(json_object_get(o, "message"));
	if (pid <= 0) {
		AUTO_FREE char *line = message ? runtime_error(message) : NULL;
		if (line && line[0])
			r = err_set(&err, -EIO, "create the container: %s", line);
		else
			r = err_set(&err, -EIO, "create the container: conmon ended without saying why");
	}
	(void) close(c->fd);
	if (c->done)
		c->done(c->user, r, (pid_t) pid, &err);
	json_decref(o);
	uv_close((uv_handle_t *) &c->poll, creation_closed);
}

static void creation_readable(uv_poll_t *h, int status, int events)
{
	Creation *c = h->data;
	(void) status;
	(void) events;
	for (;;) {
		ssize_t n = read(c->fd, buf_reserve(&c->text, 4096), 4096);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n > 0)
			buf_added(&c->text, (size_t) n);
		if (n <= 0 || memchr(c->text.data + c->text.len - n, '\n', (size_t) n) || c->text.len > SYNC_MAX) {
			(void) uv_poll_stop(&c->poll);
			c->told = true;
			creation_end(c);
			return;
		}
	}
}

static void conmon_forked(void *user, const ChildExit *e)
{
	Creation *c = user;
	(void) e; /* the sync pipe tells how it went */
	c->forked = true;
	creation_end(c);
}

typedef struct Argv {
	const char *v[64];
	size_t n;
	char *owned[16];
	size_t n_owned;
} Argv;

static void arg(Argv *a, const char *s)
{
	if (a->n < ARRAY_SIZE(a->v) - 1)
		a->v[a->n++] = s;
}

static const char *own(Argv *a, char *s)
{
	a->owned[a->n_owned++] = s;
	return s;
}

static void option(Argv *a, const char *name, const char *value)
{
	arg(a, name);
	arg(a, value);
}

static void conmon_argv(Argv *a, const Runtime *rt, const ContainerOptions *o)
{
	const ContainerPaths *p = o->paths;
	int64_t size = o->log_max_size > 0 ? o->log_max_size : LIMIT_LOG_SIZE_DEFAULT;
	int files = o->log_max_file > 0 ? o->log_max_file : LIMIT_LOG_FILES_DEFAULT;
	/* conmon's own limit is the net below logs_rotate: whole cap at once, never tiny. */
	int64_t cap = size * files < (16 << 20) ? 16 << 20 : size * files;
	arg(a, rt->conmon);
	option(a, "--api-version", "1");
	option(a, "-c", p->id);
	option(a, "-u", p->id);
	option(a, "-n", o->name);
	option(a, "-r", rt->path);
	option(a, "-b", p->bundle);
	option(a, "-p", own(a, xasprintf("%s/conmon/pid", p->bundle)));
	option(a, "-P", own(a, xasprintf("%s/conmon/conmon.pid", p->bundle)));
	option(a, "--exit-dir", own(a, xasprintf("%s/conmon", p->bundle)));
	option(a, "--log-level", "error");
	if (rt->conmon_full_attach)
		arg(a, "--full-attach");
	else
		option(a, "--socket-dir-path", rt->run_dir);
	if (rt->conmon_no_sync_log)
		arg(a, "--no-sync-log");
	if (o->log) {
		option(a, "-l", own(a, xasprintf("k8s-file:%s/log", p->log)));
		option(a, "--log-size-max", own(a, xasprintf("%" PRId64, cap)));
	} else {
		option(a, "-l", "none");
	}
	if (o->tty)
		arg(a, "-t");
	if (o->stdin_open) {
		arg(a, "-i");
		if (!o->stdin_once)
			arg(a, "--leave-stdin-open");
	}
	option(a, "--runtime-arg", "--root");
	option(a, "--runtime-arg", rt->root);
	a->v[a->n] = NULL;
}

int container_create(uv_loop_t *loop, const Runtime *rt, const ContainerOptions *o, ContainerCreatedFn done, void *user, Err *err)
{
	const ContainerPaths *p = o->paths;
	AUTO_FREE char *dir = xasprintf("%s/conmon", p->bundle);
	AUTO_FREE char *oom = xasprintf("%s/oom", p->bundle);
	int r = 0;
	if (mkdir(dir, 0700) < 0) {
		/* Of an earlier life. */
		r = errno == EEXIST ? trash_put(dir, rt->run_dir, err) : err_errno(err, -errno, "make %s", dir);
		if (r == 0 && mkdir(dir, 0700) < 0)
			r = err_errno(err, -errno, "make %s", dir);
		(void) unlink(oom);
	}
	if (r < 0)
		return r;

	int sync[2];
	if (pipe2(sync, O_CLOEXEC) < 0)
		return err_errno(err, -errno, "make a pipe");
	(void) fcntl(sync[0], F_SETFL, O_NONBLOCK);
	AUTO_STRV char **env = NULL;
	strv_add(&env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	strv_add(&env, "_OCI_SYNCPIPE=3");
	/* conmon's time stamps in the log are local time otherwise. */
	strv_add(&env, "TZ=UTC0");
	if (rt->crun)
		strv_take(&env, xasprintf("STEAD_CRUN=%s", rt->crun));
	Creation *c = xcalloc(1, sizeof(*c));
	Argv a = { .n = 0 };
	conmon_argv(&a, rt, o);
	ChildFd fds[] = { { sync[1], SYNC_FD } };
	ChildOptions co = {
		.argv = a.v, .env = env, .cwd = p->bundle, .exited = conmon_forked, .user = c, .fds = fds, .n_fds = 1, .new_session = true,
	};
	r = child_spawn(loop, &co, NULL, err);
	for (size_t i = 0; i < a.n_owned; i++)
		free(a.owned[i]);
	(void) close(sync[1]);
	if (r < 0) {
		(void) close(sync[0]);
		free(c);
		return err_wrap(err, "start %s", rt->conmon);
	}
	c->fd = sync[0];
	c->done = done;
	c->user = user;
	c->poll.data = c;
	(void) uv_poll_init(loop, &c->poll, c->fd);
	(void) uv_poll_start(&c->poll, UV_READABLE, creation_readable);
	return 0;
}
