// SPDX-License-Identifier: Apache-2.0

/*
 * A thread can be in one network namespace at a time; sockets stay in the one they were opened in. So the
 * main thread goes into the container's namespace for the few system calls that must happen there (open a
 * socket, write a sysctl) and comes back at once; if it could not come back, the daemon would configure the
 * wrong host, so that ends the process (the containers do not mind).
 *
 * The pins lie in a small tmpfs of their own: unlike a bind mount of the directory on itself it can be told
 * by its device number, and it starts a propagation group of its own. It is shared because services that were
 * started with a mount namespace of their own (systemd's PrivateTmp= and the like) hold copies of our mounts:
 * an unmount reaches them only so, and a copy left would keep the namespace alive.
 */

#include "net/netns.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

#define PINS "netns"
#define OWN_NETNS "/proc/thread-self/ns/net"

char *netns_path(const char *run_dir, const char *id)
{
	return xasprintf("%s/" PINS "/%s", run_dir, id);
}

static bool id_valid(const char *id)
{
	return !str_empty(id) && id[0] != '.' && !strchr(id, '/') && !str_has_control(id) && strlen(id) < 200;
}

/* 1 if `path` is a mount of its own, 0 if not. */
static int is_mount(const char *run_dir, const char *path)
{
	struct stat a, b;

	if (stat(run_dir, &a) < 0 || stat(path, &b) < 0)
		return -errno;
	return a.st_dev != b.st_dev;
}

int netns_setup(const char *run_dir, Err *err)
{
	AUTO_FREE char *path = xasprintf("%s/" PINS, run_dir);
	int r = dir_make(path, 0700);

	if (r < 0)
		return err_errno(err, r, "make %s", path);
	r = is_mount(run_dir, path);
	if (r < 0)
		return err_errno(err, r, "look at %s", path);
	if (r > 0)
		return 0;
	if (mount("stead-netns", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700,size=1m") < 0)
		return err_errno(err, -errno, "mount a tmpfs on %s", path);
	/* Private first: the new mount may have joined the group of its parent. */
	if (mount("", path, NULL, MS_PRIVATE, NULL) < 0 || mount("", path, NULL, MS_SHARED, NULL) < 0) {
		r = -errno;
		(void) umount2(path, MNT_DETACH);
		return err_errno(err, r, "make the mount of %s shared", path);
	}
	return 0;
}

int netns_teardown(const char *run_dir, Err *err)
{
	AUTO_FREE char *path = xasprintf("%s/" PINS, run_dir);
	AUTO_STRV char **ids = NULL;
	int r = netns_list(run_dir, &ids, err);

	if (r < 0)
		return r;
	if (ids)
		return err_set(err, -EBUSY, "%s still pins %zu network namespaces", path, strv_len(ids));
	if (is_mount(run_dir, path) > 0 && umount2(path, MNT_DETACH) < 0)
		return err_errno(err, -errno, "unmount %s", path);
	(void) rmdir(path);
	return 0;
}

/* The namespace to come back to; the daemon's own, kept open from the first use on. */
static int home_fd(Err *err)
{
	static int home = -1;

	if (home < 0)
		home = open(OWN_NETNS, O_RDONLY | O_CLOEXEC);
	return home < 0 ? err_errno(err, -errno, "open our own network namespace") : home;
}

static void go_home(int home)
{
	if (setns(home, CLONE_NEWNET) < 0) {
		log_error("cannot return to our own network namespace: %m; ending, to be started again");
		abort();
	}
}

static int loopback_up(Err *err)
{
	struct ifreq ifr = { .ifr_name = "lo" };
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_errno(err, -errno, "open a socket in the new network namespace");
	ifr.ifr_flags = IFF_UP | IFF_RUNNING;
	if (ioctl(fd, SIOCSIFFLAGS, &ifr) < 0)
		return err_errno(err, -errno, "bring up lo in the new network namespace");
	return 0;
}

/* "net.ipv4.ip_forward" to "/proc/sys/net/ipv4/ip_forward"; a '/' stands for a '.' inside a name
 * (sysctl.d(5)). */
static char *sysctl_path(const char *key, size_t n)
{
	char *path = xasprintf("/proc/sys/%.*s", (int) n, key);

	for (char *p = path + strlen("/proc/sys/"); *p; p++)
		*p = *p == '.' ? '/' : *p == '/' ? '.' : *p;
	return path;
}

static int sysctl_write(const char *assignment, Err *err)
{
	const char *eq = strchr(assignment, '=');
	AUTO_FREE char *path = NULL;
	AUTO_CLOSE int fd = -1;
	int r;

	if (!eq || !str_starts(assignment, "net.") || strstr(assignment, "..") || str_has_control(assignment))
		return err_set(err, -EINVAL,
			"sysctl '%s': only net.NAME=VALUE can be set for a container's network", assignment);
	path = sysctl_path(assignment, eq - assignment);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	r = fd < 0 ? -errno : fd_write_all(fd, eq + 1, strlen(eq + 1));
	return r < 0 ? err_errno(err, r, "sysctl '%s'", assignment) : 0;
}

static int sysctls_write(char *const *sysctls, Err *err)
{
	int r = 0;

	for (; r >= 0 && sysctls && *sysctls; sysctls++)
		r = sysctl_write(*sysctls, err);
	return r;
}

/* In the new namespace. */
static int prepare(char *const *sysctls, Err *err)
{
	/* An old kernel may lack one of them: then images that want it run as they would elsewhere. */
	(void) sysctl_write("net.ipv4.ip_unprivileged_port_start=0", NULL);
	(void) sysctl_write("net.ipv4.ping_group_range=0 2147483647", NULL);
	int r = sysctls_write(sysctls, err);

	return r < 0 ? r : loopback_up(err);
}

static bool is_nsfs(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == NSFS_MAGIC;
}

int netns_open(const char *run_dir, const char *id, int *ret_fd, Err *err)
{
	AUTO_FREE char *path = netns_path(run_dir, id);
	AUTO_CLOSE int fd = -1;

	if (!id_valid(id))
		return err_set(err, -EINVAL, "'%s' cannot name a network namespace", id);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_errno(err, -errno, "open network namespace %s", path);
	if (!is_nsfs(fd)) /* the daemon ended between the file and the mount */
		return err_set(err, -ENOENT, "%s holds no network namespace", path);
	*ret_fd = steal_fd(&fd);
	return 0;
}

/* Makes the file to mount on; then the namespace, which is ours for the moment. */
static int create_pinned(const char *path, char *const *sysctls, int home, int *ret_fd, Err *err)
{
	AUTO_CLOSE int fd = -1;
	AUTO_CLOSE int file = open(path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0400);
	int r;

	if (file < 0)
		return err_errno(err, -errno, "make %s", path);
	if (unshare(CLONE_NEWNET) < 0)
		return err_errno(err, -errno, "make a network namespace");
	r = prepare(sysctls, err);
	if (r == 0) {
		fd = open(OWN_NETNS, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || mount(OWN_NETNS, path, NULL, MS_BIND, NULL) < 0)
			r = err_errno(err, -errno, "pin the network namespace at %s", path);
	}
	go_home(home);
	if (r < 0)
		(void) unlink(path);
	else if (ret_fd)
		*ret_fd = steal_fd(&fd);
	return r;
}

int netns_create(const char *run_dir, const char *id, char *const *sysctls, int *ret_fd, Err *err)
{
	AUTO_FREE char *path = netns_path(run_dir, id);
	AUTO_CLOSE int fd = -1;
	int home = home_fd(err);

	if (home < 0)
		return home;
	if (!id_valid(id))
		return err_set(err, -EINVAL, "'%s' cannot name a network namespace", id);
	if (netns_open(run_dir, id, &fd, NULL) == 0) {
		if (ret_fd)
			*ret_fd = steal_fd(&fd);
		return 1;
	}
	return create_pinned(path, sysctls, home, ret_fd, err);
}

int netns_remove(const char *run_dir, const char *id, Err *err)
{
	AUTO_FREE char *path = netns_path(run_dir, id);

	if (!id_valid(id))
		return err_set(err, -EINVAL, "'%s' cannot name a network namespace", id);
	/* EINVAL: not mounted, ENOENT: not there. */
	if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT)
		return err_errno(err, -errno, "unmount network namespace %s", path);
	if (unlink(path) < 0 && errno != ENOENT)
		return err_errno(err, -errno, "remove %s", path);
	return 0;
}

int netns_list(const char *run_dir, char ***ret, Err *err)
{
	AUTO_FREE char *path = xasprintf("%s/" PINS, run_dir);
	AUTO_STRV char **ids = NULL;
	const struct dirent *e;
	DIR *d = opendir(path);

	if (!d && errno != ENOENT)
		return err_errno(err, -errno, "list %s", path);
	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.')
			strv_add(&ids, e->d_name);
	if (d)
		closedir(d);
	*ret = steal_ptr(&ids);
	return 0;
}

int netns_run(int netns_fd, int (*f)(void *user, Err *err), void *user, Err *err)
{
	int home = home_fd(err), r;

	if (home < 0)
		return home;
	if (setns(netns_fd, CLONE_NEWNET) < 0)
		return err_errno(err, -errno, "enter a container's network namespace");
	r = f(user, err);
	go_home(home);
	return r;
}

typedef struct SocketWish {
	int family, type, protocol, fd;
} SocketWish;

static int open_socket(void *user, Err *err)
{
	SocketWish *w = user;

	w->fd = socket(w->family, w->type | SOCK_CLOEXEC, w->protocol);
	return w->fd < 0 ? err_errno(err, -errno, "open a socket in a container's network namespace") : 0;
}

int netns_socket(int netns_fd, int family, int type, int protocol, int *ret_fd, Err *err)
{
	SocketWish w = { family, type, protocol, -1 };
	int r = netns_run(netns_fd, open_socket, &w, err);

	if (r == 0)
		*ret_fd = w.fd;
	return r;
}
