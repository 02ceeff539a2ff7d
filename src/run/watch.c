// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/mem.h"
#include "base/time.h"
#include "run/container-files.h"

#define WATCH_TRIES 50
#define WATCH_PAUSE_MS 20
#define BLIND_PAUSE_MS 200 /* no descriptor was left to look with */

struct ContainerWatch {
	uv_poll_t poll;
	uv_timer_t timer; /* for an end that is known already: `fn` must not come from within container_watch */
	int fd, open_handles, tries;
	const Runtime *rt;
	ContainerPaths paths;
	ContainerExitFn fn;
	void *user;
};

static void watch_closed(uv_handle_t *h)
{
	ContainerWatch *w = h->data;
	if (--w->open_handles > 0)
		return;
	if (w->fd >= 0)
		(void) close(w->fd);
	container_paths_done(&w->paths);
	free(w);
}

void container_watch_cancel(ContainerWatch *w)
{
	if (!w)
		return;
	w->fn = NULL;
	if (w->fd >= 0)
		uv_close((uv_handle_t *) &w->poll, watch_closed);
	uv_close((uv_handle_t *) &w->timer, watch_closed);
}

static void watch_timer(uv_timer_t *h);

static void watch_end(ContainerWatch *w)
{
	ContainerState st = { 0 };
	int r = container_read_exit(&w->paths, &st);
	if (r < 0) {
		if (w->fd >= 0)
			(void) uv_poll_stop(&w->poll);
		(void) uv_timer_start(&w->timer, watch_timer, BLIND_PAUSE_MS, 0);
		return;
	}
	if (r == 0) {
		/* conmon was killed: nobody can see the end of what it held, nor read its output. */
		st.status = CONTAINER_LOST;
		st.exit_code = 128 + SIGKILL;
		st.finished_at = time_real();
		(void) container_kill_all(w->rt, &w->paths);
	}
	container_read_oom(w->rt, &w->paths, &st);
	ContainerExitFn fn = w->fn;
	if (fn)
		fn(w->user, &st);
	if (w->fn)
		container_watch_cancel(w);
}

static void watch_readable(uv_poll_t *h, int status, int events)
{
	(void) status;
	(void) events;
	watch_end(h->data);
}

/* 0: polled; -ESRCH: there is no conmon. */
static int watch_open(ContainerWatch *w)
{
	int fd = container_conmon_open(&w->paths, NULL);
	if (fd < 0)
		return fd;
	w->fd = fd;
	int r = uv_poll_init(w->timer.loop, &w->poll, w->fd);
	if (r < 0) {
		(void) close(w->fd);
		w->fd = -1;
		return r;
	}
	w->open_handles++;
	return uv_poll_start(&w->poll, UV_READABLE, watch_readable);
}

/*
 * A container that runs without a conmon: the pid file may be a moment late on a busy machine, after the daemon was
 * killed during a creation.
 */
static void watch_timer(uv_timer_t *h)
{
	ContainerWatch *w = h->data;
	if (w->fd >= 0) { /* conmon has ended */
		watch_end(w);
		return;
	}
	ContainerState st = { 0 };
	int ended = container_read_exit(&w->paths, &st);
	AUTO_CLOSE int init = ended ? -ESRCH : container_init_open(&w->paths, NULL);
	int r = init >= 0 ? watch_open(w) : ended < 0 ? ended : init;
	if (r == 0)
		return;
	if (r != -ESRCH)
		(void) uv_timer_start(&w->timer, watch_timer, BLIND_PAUSE_MS, 0);
	else if (init >= 0 && ++w->tries < WATCH_TRIES)
		(void) uv_timer_start(&w->timer, watch_timer, WATCH_PAUSE_MS, 0);
	else
		watch_end(w);
}

int container_watch(uv_loop_t *loop, const Runtime *rt, const char *id, ContainerExitFn fn, void *user, ContainerWatch **ret, Err *err)
{
	ContainerWatch *w = xcalloc(1, sizeof(*w));
	w->rt = rt;
	w->fn = fn;
	w->user = user;
	w->poll.data = w;
	w->timer.data = w;
	w->open_handles = 1;
	container_paths_init(rt, id, &w->paths);
	(void) uv_timer_init(loop, &w->timer);
	int r = watch_open(w);
	if (r < 0 && w->fd < 0)
		r = uv_timer_start(&w->timer, watch_timer, 0, 0);
	if (r < 0) {
		container_watch_cancel(w);
		return err_set(err, r, "watch container %.12s: %s", id, uv_strerror(r));
	}
	*ret = w;
	return 0;
}
