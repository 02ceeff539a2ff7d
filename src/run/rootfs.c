// SPDX-License-Identifier: Apache-2.0
/*
 * The overlay of a container. mount(2) takes one page of options. As long as they fit, layers are given
 * by their paths. Then relative to the layers directory (some hundred fit), and last by descriptors,
 * relative to /proc/thread-self/fd. The working directory belongs to a short-lived thread that has
 * unshared it (CLONE_FS), so that the daemon's own is never touched.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/stat.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "run/cgroup.h"
#include "run/container.h"
#include "run/trash.h"

#define OPTIONS_MAX 4000 /* of the page: some room for what the kernel adds */

typedef struct MountJob {
	const char *cwd, *target, *options;
	int result;
} MountJob;

static void *mount_thread(void *arg)
{
	MountJob *j = arg;
	if (unshare(CLONE_FS) < 0 || chdir(j->cwd) < 0 || mount("overlay", j->target, "overlay", 0, j->options) < 0)
		j->result = -errno;
	return NULL;
}

static int mount_in(const char *cwd, const char *target, const char *options)
{
	MountJob j = { cwd, target, options, 0 };
	pthread_t t;
	int r = pthread_create(&t, NULL, mount_thread, &j);
	if (r != 0)
		return -r;
	(void) pthread_join(t, NULL);
	return j.result;
}

static bool is_mount(const char *path)
{
	struct statx sx;
	return statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_TYPE, &sx) == 0 &&
		(sx.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

static void options(Buf *b, const char *prefix, char *const *layers, const char *tail)
{
	buf_str(b, "lowerdir=");
	for (size_t i = strv_len(layers); i-- > 0;)
		buf_printf(b, "%s%s%s", layers[i][0] == '/' ? "" : prefix, layers[i], i ? ":" : "");
	buf_str(b, tail);
}

static int mount_by_names(const char *dir, const ContainerPaths *p, char *const *layers, const char *tail)
{
	AUTO_BUF b = BUF_INIT;
	AUTO_FREE char *prefix = xasprintf("%s/", dir);
	options(&b, prefix, layers, tail);
	if (b.len <= OPTIONS_MAX)
		return mount("overlay", p->rootfs, "overlay", 0, buf_cstr(&b)) < 0 ? -errno : 0;
	buf_clear(&b);
	options(&b, "", layers, tail);
	return b.len > OPTIONS_MAX ? -E2BIG : mount_in(dir, p->rootfs, buf_cstr(&b));
}

static int mount_by_fds(int dirfd, const ContainerPaths *p, char *const *layers, const char *tail)
{
	AUTO_BUF b = BUF_INIT;
	int fds[LIMIT_IMAGE_LAYERS], r = 0;
	size_t n = 0, count = strv_len(layers);
	if (count > ARRAY_SIZE(fds))
		return -E2BIG;
	buf_str(&b, "lowerdir=");
	for (size_t i = count; r == 0 && i-- > 0;) {
		int fd = openat(dirfd, layers[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			r = -errno;
		else
			fds[n++] = fd;
		buf_printf(&b, "%d%s", fd, i ? ":" : "");
	}
	buf_str(&b, tail);
	if (r == 0)
		r = mount_in("/proc/thread-self/fd", p->rootfs, buf_cstr(&b));
	for (size_t i = 0; i < n; i++)
		(void) close(fds[i]);
	return r;
}

/* Says which layer is the reason, if one is. */
static int explain(int dirfd, const char *dir, char *const *layers, int r, Err *err)
{
	for (size_t i = 0; layers[i]; i++) {
		struct stat st;
		if (fstatat(dirfd, layers[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
			return err_errno(err, -errno, "layer %s/%s; remove the image and load it again", dir, layers[i]);
		if (!S_ISDIR(st.st_mode))
			return err_set(err, -ENOTDIR, "layer %s/%s is no directory; remove the image and load it again", dir, layers[i]);
	}
	if (r == -ENODEV)
		return err_set(err, r, "mount the container's root: this kernel has no overlay file system (modprobe overlay)");
	return err_errno(err, r, "mount the container's root (overlay of %zu layers)", strv_len(layers));
}

int rootfs_mount(const Runtime *rt, const ContainerPaths *p, char *const *layers, Err *err)
{
	cgroup_prewarm(rt); /* a container is about to be created */
	if (is_mount(p->rootfs))
		return 0;
	AUTO_FREE char *dir = xasprintf("%s/layers", rt->state_dir);
	AUTO_STRV char **none = NULL;
	if (strv_len(layers) == 0) {
		/* An image without layers: an empty directory below the writable one. */
		AUTO_FREE char *lower = xasprintf("%s/lower", p->state);
		if (mkdir(lower, 0755) < 0 && errno != EEXIST)
			return err_errno(err, -errno, "make %s", lower);
		strv_add(&none, lower);
		layers = none;
	}
	AUTO_CLOSE int dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return err_errno(err, -errno, "open %s", dir);
	AUTO_FREE char *tail = xasprintf(",upperdir=%s/upper,workdir=%s/work", p->state, p->state);
	int r = mount_by_names(dir, p, layers, tail);
	if (r == -E2BIG)
		r = mount_by_fds(dirfd, p, layers, tail);
	return r < 0 ? explain(dirfd, dir, layers, r, err) : 0;
}

int shm_mount(const ContainerPaths *p, int64_t size, char **ret, Err *err)
{
	AUTO_FREE char *path = xasprintf("%s/shm", p->bundle);
	char options[64];
	(void) snprintf(options, sizeof(options), "mode=1777,size=%" PRId64, size >= 0 ? size : SHM_SIZE_DEFAULT);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_errno(err, -errno, "make %s", path);
	if (!is_mount(path) && mount("shm", path, "tmpfs", MS_NOSUID | MS_NOEXEC | MS_NODEV, options) < 0)
		return err_errno(err, -errno, "mount %s", path);
	*ret = steal_ptr(&path);
	return 0;
}

char *shm_path(const ContainerPaths *p)
{
	AUTO_FREE char *path = xasprintf("%s/shm", p->bundle);
	return is_mount(path) ? steal_ptr(&path) : NULL;
}

/* Binds of a build's container (build-root.c): what is below a mount must never be taken for part of the bundle. */
static int unmount_binds(const ContainerPaths *p, Err *err)
{
	AUTO_FREE char *path = xasprintf("%s/mounts", p->bundle);
	DIR *d = opendir(path);
	int r = 0;
	for (struct dirent *e; r == 0 && d && (e = readdir(d));) {
		AUTO_FREE char *target = xasprintf("%s/%s", path, e->d_name);
		if (e->d_name[0] == '.')
			continue;
		while (is_mount(target) && r == 0)
			if (umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
				r = err_errno(err, -errno, "unmount %s", target);
	}
	if (d)
		(void) closedir(d);
	return r;
}

int rootfs_unmount(const ContainerPaths *p, Err *err)
{
	int r = unmount_binds(p, err);
	if (r < 0)
		return r;
	AUTO_FREE char *shm = xasprintf("%s/shm", p->bundle);
	if (umount2(shm, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT)
		return err_errno(err, -errno, "unmount %s", shm);
	for (int i = 0; i < 16 && is_mount(p->rootfs); i++) {
		int held = open(p->rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (umount2(p->rootfs, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT) {
			r = -errno;
			if (held >= 0)
				(void) close(held);
			return err_errno(err, r, "unmount %s", p->rootfs);
		}
		if (held >= 0)
			trash_close(held);
	}
	return 0;
}
