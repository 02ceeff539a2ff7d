// SPDX-License-Identifier: Apache-2.0
#include "daemon/api-docker.h"

#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <sys/stat.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"

Container *docker_container(Daemon *d, HttpRequest *r, const char *ref)
{
	AUTO_ERR err = ERR_INIT;
	Container *c = NULL;
	if (daemon_find_container(d, ref, &c, &err) < 0) {
		http_error_err(r, &err);
		return NULL;
	}
	return c;
}

bool docker_filters(HttpRequest *r, const char *const *known, Filter **ret)
{
	AUTO_ERR err = ERR_INIT;
	if (filter_read(http_query(r, "filters"), known, ret, &err) == 0)
		return true;
	http_error_err(r, &err);
	return false;
}

bool docker_query_number(HttpRequest *r, const char *key, int64_t otherwise, int64_t *ret)
{
	const char *s = http_query(r, key);
	*ret = otherwise;
	if (str_empty(s) || str_eq(s, "all"))
		return true;
	if (parse_i64(s, ret) == 0 && *ret >= -1)
		return true;
	http_error(r, 400, "%s: '%s' is not a number", key, s);
	return false;
}

bool docker_query_moment(HttpRequest *r, const char *key, int64_t *ret)
{
	const char *s = http_query(r, key);
	*ret = 0;
	if (str_empty(s) || str_eq(s, "0"))
		return true;
	if (time_parse_moment(s, time_real(), ret) == 0)
		return true;
	http_error(r, 400, "%s: '%s' is no time; give seconds since the epoch, a date with time, or a duration such as 10m", key, s);
	return false;
}

char *docker_duration(int64_t ns)
{
	int64_t s = ns / NSEC_PER_SEC, m = s / 60;
	/* Hours are rounded, as go-units does it. */
	int64_t h = (s + 1800) / 3600;
	if (s < 1)
		return xstrdup("Less than a second");
	if (s == 1)
		return xstrdup("1 second");
	if (s < 60)
		return xasprintf("%d seconds", (int) s);
	if (m == 1)
		return xstrdup("About a minute");
	if (m < 60)
		return xasprintf("%d minutes", (int) m);
	if (h == 1)
		return xstrdup("About an hour");
	if (h < 48)
		return xasprintf("%d hours", (int) h);
	if (h < 24 * 7 * 2)
		return xasprintf("%d days", (int) (h / 24));
	if (h < 24 * 30 * 2)
		return xasprintf("%d weeks", (int) (h / 24 / 7));
	if (h < 24 * 365 * 2)
		return xasprintf("%d months", (int) (h / 24 / 30));
	return xasprintf("%d years", (int) (s / 3600 / 24 / 365));
}

/* ── sizes of trees ───────────────────────────────────────────────── */

typedef struct Sizes {
	uv_work_t work;
	char **paths;
	int64_t *sizes;
	void (*done)(void *user, char *const *paths, const int64_t *sizes);
	void *user;
} Sizes;

/** Blocks in use below a directory, without following links; what vanishes meanwhile counts nothing. */
static int64_t tree_size(int dirfd, const char *path, int depth)
{
	int64_t size = 0;
	int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		if (fd >= 0)
			(void) close(fd);
		return 0;
	}
	for (struct dirent *e; (e = readdir(dir));) {
		struct stat st;
		if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
			continue;
		if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISDIR(st.st_mode) && depth > 0)
			size += tree_size(fd, e->d_name, depth - 1);
		else if (S_ISREG(st.st_mode))
			size += st.st_size;
	}
	(void) closedir(dir);
	return size;
}

static void sizes_work(uv_work_t *w)
{
	Sizes *s = w->data;
	for (size_t i = 0; s->paths && s->paths[i]; i++)
		s->sizes[i] = tree_size(AT_FDCWD, s->paths[i], LIMIT_PATH_DEPTH);
}

static void sizes_done(uv_work_t *w, int status)
{
	Sizes *s = w->data;
	s->done(s->user, s->paths, s->sizes);
	strv_free(s->paths);
	free(s->sizes);
	free(s);
}

void sizes_count(uv_loop_t *loop, char **paths, void (*done)(void *user, char *const *paths, const int64_t *sizes), void *user)
{
	Sizes *s = xcalloc(1, sizeof(*s));
	s->work.data = s;
	s->paths = paths;
	s->sizes = xcalloc(strv_len(paths), sizeof(*s->sizes));
	s->done = done;
	s->user = user;
	(void) uv_queue_work(loop, &s->work, sizes_work, sizes_done);
}
