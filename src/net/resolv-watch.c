// SPDX-License-Identifier: Apache-2.0

/*
 * /etc/resolv.conf is a file that programs replace, or a symbolic link into a directory of systemd-resolved,
 * NetworkManager or resolvconf. So two directories are watched by inotify(7): the one the path is in, and the one
 * the real file is in. Several events come with one change; the file is read when they have stopped for a moment.
 */

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/resolv.h"

#define SETTLE_MS 300

struct ResolvWatch {
	char *path;
	void (*read)(void *user, const ResolvConf *conf);
	void *user;
	uv_fs_event_t events[2]; /* of the path's directory, of the real file's */
	char *watched[2];        /* directories */
	uv_timer_t settle;
	unsigned handles; /* to be closed before the memory goes */
};

static char *directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash > path ? xstrndup(path, (size_t) (slash - path)) : xstrdup("/");
}

static void on_event(uv_fs_event_t *e, const char *name, int events, int status);

/* Follows a link that leads elsewhere now. */
static void watch_directories(ResolvWatch *w)
{
	AUTO_FREE char *real = realpath(w->path, NULL);
	char *wanted[2] = { directory_of(w->path), directory_of(real ? real : w->path) };

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		bool same = str_eq(wanted[i], w->watched[i]), twice = i && str_eq(wanted[0], wanted[1]);

		if (!same) {
			(void) uv_fs_event_stop(&w->events[i]);
			/* No inotify watch to be had: then a change is seen at the daemon's next start. */
			if (!twice)
				(void) uv_fs_event_start(&w->events[i], on_event, wanted[i], 0);
		}
		free(w->watched[i]);
		w->watched[i] = wanted[i];
	}
}

static int read_now(ResolvWatch *w, Err *err)
{
	ResolvConf conf = { 0 };
	int r = resolv_read(w->path, &conf, err);

	if (r == 0)
		w->read(w->user, &conf);
	resolv_done(&conf);
	return r;
}

static void on_settled(uv_timer_t *t)
{
	AUTO_ERR err = ERR_INIT;
	ResolvWatch *w = t->data;

	watch_directories(w);
	if (read_now(w, &err) < 0)
		log_warning("%s", err_text(&err));
}

/* Other files of /etc change as well; reading once too often does no harm. */
static void on_event(uv_fs_event_t *e, const char *name, int events, int status)
{
	ResolvWatch *w = e->data;

	(void) uv_timer_start(&w->settle, on_settled, SETTLE_MS, 0);
}

static void on_closed(uv_handle_t *h)
{
	ResolvWatch *w = h->data;

	if (--w->handles)
		return;
	free(w->path);
	for (size_t i = 0; i < ARRAY_SIZE(w->watched); i++)
		free(w->watched[i]);
	free(w);
}

static void add_handle(ResolvWatch *w, uv_handle_t *h)
{
	h->data = w;
	uv_unref(h); /* it does not keep the daemon from ending */
	w->handles++;
}

int resolv_watch_new(uv_loop_t *loop, const char *path, void (*read)(void *user, const ResolvConf *conf), void *user,
	ResolvWatch **ret, Err *err)
{
	ResolvWatch *w = xcalloc(1, sizeof(*w));
	int r;

	w->path = xstrdup(path ? path : "/etc/resolv.conf");
	w->read = read;
	w->user = user;
	(void) uv_timer_init(loop, &w->settle);
	add_handle(w, (uv_handle_t *) &w->settle);
	for (size_t i = 0; i < ARRAY_SIZE(w->events); i++) {
		(void) uv_fs_event_init(loop, &w->events[i]);
		add_handle(w, (uv_handle_t *) &w->events[i]);
	}
	watch_directories(w);
	r = read_now(w, err);
	if (r < 0) {
		resolv_watch_free(w);
		return r;
	}
	*ret = w;
	return 0;
}

void resolv_watch_free(ResolvWatch *w)
{
	if (!w)
		return;
	uv_close((uv_handle_t *) &w->settle, on_closed);
	for (size_t i = 0; i < ARRAY_SIZE(w->events); i++)
		uv_close((uv_handle_t *) &w->events[i], on_closed);
}
