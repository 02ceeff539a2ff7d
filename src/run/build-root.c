// SPDX-License-Identifier: Apache-2.0
#include "run/build-root.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "run/cgroup.h"

#define OPTIONS_MAX 4000 /* of the page that mount(2) takes */

int build_root_make(const ContainerPaths *p, Err *err)
{
	AUTO_FREE char *mounts = xasprintf("%s/mounts", p->bundle);
	const struct {
		const char *path;
		mode_t mode;
	} dirs[] = { { p->bundle, 0700 }, { p->rootfs, 0755 }, { p->files, 0755 }, { mounts, 0700 } };
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		int r = dir_make(dirs[i].path, dirs[i].mode);
		if (r < 0)
			return err_errno(err, r, "make %s", dirs[i].path);
	}
	return 0;
}

static int open_beneath(int dir, const char *path, int flags)
{
	struct open_how how = { .flags = (uint64_t) (flags | O_CLOEXEC), .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
	int fd = (int) syscall(SYS_openat2, dir, path, &how, sizeof(how));
	return fd < 0 ? -errno : fd;
}

static int open_state(const Runtime *rt, Err *err)
{
	int fd = open(rt->state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_errno(err, -errno, "open %s", rt->state_dir) : fd;
}

/* ── overlay ──────────────────────────────────────────────────────── */

typedef struct Dirs {
	int fds[LIMIT_IMAGE_LAYERS + 2];
	size_t n;
} Dirs;

static void dirs_done(Dirs *d)
{
	for (size_t i = 0; i < d->n; i++)
		(void) close(d->fds[i]);
}

static int add_dir(Dirs *d, int state, const char *path, Buf *options, Err *err)
{
	if (d->n == ARRAY_SIZE(d->fds))
		return err_set(err, -E2BIG, "the root has more than %d layers", LIMIT_IMAGE_LAYERS);
	int fd = open_beneath(state, path, O_PATH | O_DIRECTORY);
	if (fd < 0)
		return err_errno(err, fd, "layer '%s' of the root", path);
	d->fds[d->n++] = fd;
	buf_printf(options, "/proc/self/fd/%d", fd);
	return 0;
}

/* An image without layers: an empty directory is below the writable one. */
static int add_empty(const ContainerPaths *p, Buf *options, Err *err)
{
	AUTO_FREE char *path = xasprintf("%s/empty", p->bundle);
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return err_errno(err, -errno, "make %s", path);
	buf_str(options, path);
	return 0;
}

static int mount_overlay(const ContainerPaths *p, const Buf *dirs)
{
	/*
	 * What makes an upper directory that is no plain difference must be off, whatever the kernel's default is. Each of these
	 * was new once: an older kernel is asked again without.
	 */
	static const char *const more[] = { ",redirect_dir=off,metacopy=off,index=off,volatile", ",redirect_dir=off,metacopy=off,index=off",
		",redirect_dir=off,index=off", "" };
	int r = -EINVAL;
	for (size_t i = 0; r == -EINVAL && i < ARRAY_SIZE(more); i++) {
		AUTO_FREE char *options = xasprintf("%s%s", dirs->data, more[i]);
		if (strlen(options) > OPTIONS_MAX)
			return -E2BIG;
		r = mount("overlay", p->rootfs, "overlay", 0, options) < 0 ? -errno : 0;
	}
	return r;
}

int build_root_mount(const Runtime *rt, const ContainerPaths *p, char *const *lower, const char *upper, const char *work, Err *err)
{
	Dirs dirs __attribute__((cleanup(dirs_done))) = { .n = 0 };
	AUTO_BUF o = BUF_INIT;
	cgroup_prewarm(rt);
	AUTO_CLOSE int state = open_state(rt, err);
	if (state < 0)
		return state;
	buf_str(&o, "lowerdir=");
	int r = strv_len(lower) ? 0 : add_empty(p, &o, err);
	for (size_t i = strv_len(lower); r == 0 && i-- > 0;) {
		r = add_dir(&dirs, state, lower[i], &o, err);
		if (i)
			buf_char(&o, ':');
	}
	buf_str(&o, ",upperdir=");
	if (r == 0)
		r = add_dir(&dirs, state, upper, &o, err);
	buf_str(&o, ",workdir=");
	if (r == 0)
		r = add_dir(&dirs, state, work, &o, err);
	if (r < 0)
		return r;
	r = mount_overlay(p, &o);
	return r < 0 ? err_errno(err, r, "mount the root (overlay of %zu layers)", strv_len(lower)) : 0;
}

int build_root_bind(const Runtime *rt, const ContainerPaths *p, size_t index, const char *source, char **ret, Err *err)
{
	AUTO_FREE char *target = xasprintf("%s/mounts/%zu", p->bundle, index);
	AUTO_CLOSE int state = open_state(rt, err);
	if (state < 0)
		return state;
	AUTO_CLOSE int fd = open_beneath(state, source, O_PATH);
	struct stat st;
	if (fd < 0)
		return err_errno(err, fd, "mount '%s'", source);
	if (fstat(fd, &st) < 0)
		return err_errno(err, -errno, "mount '%s'", source);
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "mount '%s': it is neither a directory nor a file", source);
	int r = S_ISDIR(st.st_mode) ? (mkdir(target, 0700) < 0 ? -errno : 0) : file_write(AT_FDCWD, target, "", 0, 0600);
	AUTO_FREE char *path = xasprintf("/proc/self/fd/%d", fd);
	if (r == 0 && mount(path, target, NULL, MS_BIND, NULL) < 0)
		r = -errno;
	if (r < 0)
		return err_errno(err, r, "mount '%s'", source);
	*ret = steal_ptr(&target);
	return 0;
}

/* ── stubs ────────────────────────────────────────────────────────── */

typedef struct Stub {
	char *parent, *name; /* parent: absolute in the root */
	bool parent_is_new;  /* a stub itself */
	struct timespec before, made; /* of the parent */
} Stub;

struct Stubs {
	int root;
	Stub *stubs;
	size_t n;
};

static int open_parent(const Stubs *s, const Stub *stub)
{
	return open_in_root(s->root, stub->parent, O_RDONLY | O_DIRECTORY, 0);
}

static bool parent_time(const Stubs *s, const Stub *stub, struct timespec *ret)
{
	struct stat st;
	AUTO_CLOSE int fd = open_parent(s, stub);
	if (fd < 0 || fstat(fd, &st) < 0)
		return false;
	*ret = st.st_mtim;
	return true;
}

static bool known(const Stubs *s, const char *parent, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (str_eq(s->stubs[i].parent, parent) && str_eq(s->stubs[i].name, name))
			return true;
	return false;
}

/* Every part of the path that is not there. */
static void note(Stubs *s, const char *target)
{
	bool missing = false;
	for (const char *p = target; *p == '/';) {
		size_t n = strcspn(p + 1, "/");
		AUTO_FREE char *parent = p == target ? xstrdup("/") : xstrndup(target, (size_t) (p - target));
		AUTO_FREE char *name = xstrndup(p + 1, n);
		AUTO_FREE char *path = xstrndup(target, (size_t) (p + 1 + n - target));
		p += 1 + n;
		if (!n)
			continue;
		AUTO_CLOSE int fd = missing ? -1 : open_in_root(s->root, path, O_PATH | O_NOFOLLOW, 0);
		if (fd >= 0)
			continue;
		if (!known(s, parent, name)) {
			Stub *stub = array_append(s->stubs, s->n);
			*stub = (Stub) { .parent = xstrdup(parent), .name = xstrdup(name), .parent_is_new = missing };
			if (!missing)
				(void) parent_time(s, stub, &stub->before);
		}
		missing = true;
	}
}

Stubs *stubs_note(const ContainerPaths *p, char *const *targets)
{
	Stubs *s = xcalloc(1, sizeof(*s));
	s->root = open(p->rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	for (; s->root >= 0 && targets && *targets; targets++)
		note(s, *targets);
	return s;
}

void stubs_made(Stubs *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (!s->stubs[i].parent_is_new)
			(void) parent_time(s, &s->stubs[i], &s->stubs[i].made);
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* The parent's time before this stub goes: another one of the same parent may have gone already. */
static void remove_stub(const Stubs *s, const Stub *stub, bool untouched)
{
	struct stat st;
	AUTO_CLOSE int dir = open_parent(s, stub);
	if (dir < 0 || fstatat(dir, stub->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	if (S_ISDIR(st.st_mode))
		(void) unlinkat(dir, stub->name, AT_REMOVEDIR); /* what is in it was made by the instruction, and stays */
	else if (S_ISREG(st.st_mode) && st.st_size == 0)
		(void) unlinkat(dir, stub->name, 0);
	const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, stub->before };
	if (untouched)
		(void) futimens(dir, times);
}

void stubs_remove(Stubs *s)
{
	if (!s)
		return;
	bool *untouched = xcalloc(s->n + 1, sizeof(*untouched));
	for (size_t i = 0; i < s->n; i++) {
		struct timespec now;
		untouched[i] = !s->stubs[i].parent_is_new && parent_time(s, &s->stubs[i], &now) && same_time(&now, &s->stubs[i].made);
	}
	for (size_t i = s->n; i-- > 0;)
		remove_stub(s, &s->stubs[i], untouched[i]);
	free(untouched);
	stubs_free(s);
}

void stubs_free(Stubs *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n; i++) {
		free(s->stubs[i].parent);
		free(s->stubs[i].name);
	}
	free(s->stubs);
	if (s->root >= 0)
		(void) close(s->root);
	free(s);
}
