// SPDX-License-Identifier: Apache-2.0
#include "image/rootfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/bootstrap-apt.h"

/* Exit code 101: the action is forbidden by policy (invoke-rc.d's specification). */
static const char policy[] = "#!/bin/sh\nexit 101\n";

static int mount_at(Guest *g, const char *source, const char *path, const char *type, unsigned long flags, const char *options, Err *err)
{
	AUTO_FREE char *target = xasprintf("%s%s", g->root, path);
	if (mount(source, target, type, flags, options) < 0)
		return err_errno(err, -errno, "mounting %s", target);
	strv_take(&g->mounts, steal_ptr(&target));
	return 0;
}

static int make_devices(Guest *g, Err *err)
{
	static const struct {
		const char *name;
		unsigned minor, major;
	} nodes[] = {
		{ "null", 3, 1 }, { "zero", 5, 1 }, { "full", 7, 1 }, { "random", 8, 1 }, { "urandom", 9, 1 }, { "tty", 0, 5 },
	};
	static const char *const links[][2] = {
		{ "/proc/self/fd", "fd" }, { "fd/0", "stdin" }, { "fd/1", "stdout" }, { "fd/2", "stderr" }, { "pts/ptmx", "ptmx" },
	};
	int r = mount_at(g, "tmpfs", "/dev", "tmpfs", MS_NOSUID, "mode=0755,size=1m", err);
	if (r < 0)
		return r;
	AUTO_FREE char *dev = xasprintf("%s/dev", g->root);
	AUTO_CLOSE int fd = open(dev, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, -errno, "%s", dev);
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
		if (mknodat(fd, nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)) < 0 ||
			fchmodat(fd, nodes[i].name, 0666, 0) < 0)
			return err_errno(err, -errno, "%s/%s", dev, nodes[i].name);
	for (size_t i = 0; i < ARRAY_SIZE(links); i++)
		if (symlinkat(links[i][0], fd, links[i][1]) < 0)
			return err_errno(err, -errno, "%s/%s", dev, links[i][1]);
	if (mkdirat(fd, "pts", 0755) < 0 || mkdirat(fd, "shm", 01777) < 0)
		return err_errno(err, -errno, "%s", dev);
	(void) mount_at(g, "devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5", NULL);
	(void) mount_at(g, "sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, NULL, NULL);
	return 0;
}

/* A copy of one of the host's files, so that names resolve while packages are fetched. */
static int lend_file(Guest *g, const char *aptdir, const char *path, Err *err)
{
	AUTO_BUF b = BUF_INIT;
	const char *slash = strrchr(path, '/');
	AUTO_FREE char *copy = xasprintf("%s%s", aptdir, slash);
	AUTO_FREE char *target = xasprintf("%s%s", g->root, path);
	if (file_read(AT_FDCWD, path, 1 << 20, &b) < 0)
		return 0;
	int r = file_write(AT_FDCWD, copy, buf_cstr(&b), b.len, 0644);
	if (r < 0)
		return err_errno(err, r, "%s", copy);
	if (faccessat(AT_FDCWD, target, F_OK, AT_SYMLINK_NOFOLLOW) < 0) {
		if ((r = file_write(AT_FDCWD, target, "", 0, 0644)) < 0)
			return err_errno(err, r, "%s", target);
		strv_add(&g->created, target);
	}
	return mount_at(g, copy, path, NULL, MS_BIND, NULL, err);
}

int rootfs_enter(const char *root, const char *aptdir, Guest *ret, Err *err)
{
	Guest *g = ret;
	g->root = xstrdup(root);
	AUTO_FREE char *inside = xasprintf("%s" APT_DIR_INSIDE, root);
	AUTO_FREE char *rc = xasprintf("%s/usr/sbin/policy-rc.d", root);
	int r = make_devices(g, err);
	if (r < 0 || (r = lend_file(g, aptdir, "/etc/resolv.conf", err)) < 0 || (r = lend_file(g, aptdir, "/etc/hosts", err)) < 0)
		return r;
	if (mkdir(inside, 0755) < 0)
		return err_errno(err, -errno, "%s", inside);
	strv_add(&g->created, inside);
	if ((r = mount_at(g, aptdir, APT_DIR_INSIDE, NULL, MS_BIND, NULL, err)) < 0)
		return r;
	if (access(rc, F_OK) == 0)
		return 0;
	strv_add(&g->created, rc);
	r = file_write(AT_FDCWD, rc, policy, strlen(policy), 0755);
	return r < 0 ? err_errno(err, r, "%s", rc) : 0;
}

int rootfs_leave(Guest *g, Err *err)
{
	int r = 0;
	for (size_t n = strv_len(g->mounts); n > 0; n--)
		if (umount2(g->mounts[n - 1], UMOUNT_NOFOLLOW) < 0 && r == 0)
			r = err_errno(err, -errno, "unmounting %s", g->mounts[n - 1]);
	/* Never remove what a mount that stayed would lead to. */
	for (char **p = g->created; r == 0 && p && *p; p++)
		if (remove(*p) < 0 && errno != ENOENT)
			r = err_errno(err, -errno, "%s", *p);
	strv_free(g->mounts);
	strv_free(g->created);
	free(g->root);
	*g = (Guest) { 0 };
	return r;
}

/* Cleaning. Paths are the distribution's own, opened as inside the root. */

typedef bool (*CleanFn)(const char *name, const struct stat *st);

static int clean_dir(int rootfd, const char *path, bool deep, CleanFn unwanted, Err *err)
{
	int fd = open_in_root(rootfd, path, O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		return 0; /* what is not there is clean */
	struct dirent *e;
	int r = 0;
	while (r == 0 && (e = readdir(d))) {
		struct stat st;
		if (str_eq(e->d_name, ".") || str_eq(e->d_name, "..") || fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (deep && S_ISDIR(st.st_mode)) {
			AUTO_FREE char *child = xasprintf("%s/%s", path, e->d_name);
			r = clean_dir(rootfd, child, deep, unwanted, err);
		} else if (unwanted(e->d_name, &st)) {
			r = tree_remove(dirfd(d), e->d_name);
			if (r < 0)
				r = err_errno(err, r, "%s/%s", path, e->d_name);
		}
	}
	(void) closedir(d);
	return r;
}

static bool any(const char *name, const struct stat *st)
{
	return true;
}

static bool regular(const char *name, const struct stat *st)
{
	return S_ISREG(st->st_mode);
}

static bool backup(const char *name, const struct stat *st)
{
	return S_ISREG(st->st_mode) && (str_ends(name, "-old") || str_ends(name, "-"));
}

static bool aux_cache(const char *name, const struct stat *st)
{
	return str_eq(name, "aux-cache");
}

static bool machine_id(const char *name, const struct stat *st)
{
	return str_eq(name, "machine-id");
}

/* systemd's form of "none yet"; the file stays, since programs open it. */
static int empty_machine_id(int rootfd, Err *err)
{
	struct stat st;
	AUTO_CLOSE int fd = open_in_root(rootfd, "etc/machine-id", O_RDONLY, 0);
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size == 0)
		return 0;
	AUTO_CLOSE int w = open_in_root(rootfd, "etc/machine-id", O_WRONLY | O_TRUNC, 0);
	return w < 0 ? err_errno(err, w, "/etc/machine-id") : 0;
}

static int clean(int rootfd, Err *err)
{
	static const struct {
		const char *path;
		bool deep;
		CleanFn unwanted;
	} places[] = {
		{ "var/log", true, regular }, { "var/cache/apt", false, any }, { "var/lib/apt/lists", false, any }, { "tmp", false, any },
		{ "var/tmp", false, any }, { "var/cache/debconf", false, backup }, { "var/lib/dpkg", false, backup }, { "etc", false, backup },
		{ "var/cache/ldconfig", false, aux_cache }, { "var/lib/dbus", false, machine_id }, { "var/cache/man", false, any },
	};
	int r = 0;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(places); i++)
		r = clean_dir(rootfd, places[i].path, places[i].deep, places[i].unwanted, err);
	return r < 0 ? r : empty_machine_id(rootfd, err);
}

int rootfs_clean(const char *root, Err *err)
{
	AUTO_CLOSE int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_errno(err, -errno, "%s", root) : clean(fd, err);
}

static bool mmdebstrap_file(const char *name, const struct stat *st)
{
	return str_eq(name, "99mmdebstrap") || str_eq(name, "0000signedby.list") || str_eq(name, "main.list");
}

static bool host_name(const char *name, const struct stat *st)
{
	return str_eq(name, "hostname") || str_eq(name, "resolv.conf") || str_eq(name, "hosts");
}

/* The sources as the host has them, for whoever uses apt in a container. */
static int write_sources(int rootfd, const AptSources *sources, Err *err)
{
	AUTO_BUF list = BUF_INIT;
	for (size_t i = 0; i < sources->n; i++) {
		AptSource a = sources->items[i];
		/* A key that the distribution does not bring is not trusted in there. */
		AUTO_CLOSE int key = a.signed_by ? open_in_root(rootfd, a.signed_by, O_PATH, 0) : -1;
		if (key < 0)
			a.signed_by = NULL;
		a.key = NULL;
		AptSources one = { &a, 1 };
		apt_write_list(&one, NULL, &list);
	}
	(void) unlinkat(rootfd, "etc/apt/sources.list", 0);
	AUTO_CLOSE int fd = open_in_root(rootfd, "etc/apt/sources.list", O_WRONLY | O_CREAT | O_EXCL, 0644);
	int r = fd < 0 ? fd : fd_write_all(fd, buf_cstr(&list), list.len);
	return r < 0 ? err_errno(err, r, "/etc/apt/sources.list") : 0;
}

int rootfs_finish_base(int rootfd, const AptSources *sources, Err *err)
{
	int r;
	if ((r = clean_dir(rootfd, "dev", false, any, err)) < 0 || (r = clean_dir(rootfd, "etc/apt/apt.conf.d", false, mmdebstrap_file, err)) < 0 ||
		(r = clean_dir(rootfd, "etc", false, host_name, err)) < 0)
		return r;
	(void) clean_dir(rootfd, "etc/apt/sources.list.d", false, mmdebstrap_file, err);
	if ((r = write_sources(rootfd, sources, err)) < 0)
		return r;
	return clean(rootfd, err);
}
