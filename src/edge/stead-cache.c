// SPDX-License-Identifier: Apache-2.0
/*
 * stead-cache CONF SOCKETS DISK PID-FILE UID GID PROGRAM [ARGUMENT…]
 *
 * Executes nginx, the cache behind the edge, as an unprivileged user in a mount namespace of its own. There /tmp is a
 * new tmpfs, and everything that nginx touches lies below it under names that never change:
 *
 *   /tmp/conf    CONF, read-only       /tmp/memory  what is cached in memory
 *   /tmp/sock    SOCKETS               /tmp/disk    DISK ("-": none), what is cached on disk
 *   /tmp/temp    nginx's temporary files
 *
 * So nginx reaches its directories although an unprivileged user may not pass through those above them, its configuration holds no
 * path of this machine, and what was cached in memory is gone with the last of its processes, without a mount that somebody has to
 * undo. The tmpfs is bounded by half of the memory, far above the bounds that nginx keeps to.
 *
 * PID-FILE is locked and written before nginx runs, by root: who starts later finds the process by it, and nginx cannot lie about it. The lock is
 * held until the last of nginx's processes has gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define DESCRIPTORS 16384 /* two for each connection that HAProxy may open, and files */

enum { ARG_CONF = 1, ARG_SOCKETS, ARG_DISK, ARG_PID_FILE, ARG_UID, ARG_GID, ARG_PROGRAM };

static int fail(const char *what, const char *path)
{
	fprintf(stderr, "stead-cache: %s %s: %s\n", what, path, strerror(errno));
	return 1;
}

static int id_from(const char *s, unsigned *ret)
{
	char *end = NULL;
	errno = 0;
	unsigned long n = strtoul(s, &end, 10);
	if (errno || !*s || *end || !n || n >= 0xfffffffeUL) {
		errno = EINVAL;
		return fail("read the unprivileged id", s);
	}
	*ret = (unsigned) n;
	return 0;
}

/* The descriptor stays open, here and in all processes of nginx: they share the lock. */
static int write_pid(const char *path)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "%d\n", (int) getpid());
	int fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW, 0600);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return fail("lock", path);
	if (ftruncate(fd, 0) < 0 || write(fd, text, (size_t) n) != n)
		return fail("write", path);
	return 0;
}

/* The source is held by a descriptor, since its path may lie below what is covered by now. */
static int bind_dir(int fd, const char *target, unsigned long more)
{
	char source[64];
	(void) snprintf(source, sizeof(source), "/proc/self/fd/%d", fd);
	if (mkdir(target, 0755) < 0 || mount(source, target, NULL, MS_BIND, NULL) < 0)
		return fail("bind to", target);
	if (mount(NULL, target, NULL, MS_BIND | MS_REMOUNT | MS_NOSUID | MS_NODEV | MS_NOEXEC | more, NULL) < 0)
		return fail("restrict", target);
	return 0;
}

static int own_dir(const char *path, unsigned uid, unsigned gid)
{
	if (mkdir(path, 0700) < 0 || chown(path, uid, gid) < 0)
		return fail("make", path);
	return 0;
}

static int enter_namespace(char **argv, unsigned uid, unsigned gid)
{
	int fds[3] = { -1, -1, -1 };
	if (unshare(CLONE_NEWNS) < 0)
		return fail("make a mount namespace for", argv[ARG_PROGRAM]);
	/* Slaves, not private: an unmount on the host must not be kept from happening by the copy in here. */
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return fail("make mounts slaves below", "/");
	for (int i = 0; i < 3; i++) {
		const char *dir = argv[ARG_CONF + i];
		if (i == 2 && strcmp(dir, "-") == 0)
			continue;
		fds[i] = open(dir, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fds[i] < 0)
			return fail("open", dir);
	}
	if (mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755,size=50%") < 0)
		return fail("mount a tmpfs on", "/tmp");
	if (bind_dir(fds[0], "/tmp/conf", MS_RDONLY) || bind_dir(fds[1], "/tmp/sock", 0) || (fds[2] >= 0 && bind_dir(fds[2], "/tmp/disk", 0)))
		return 1;
	return own_dir("/tmp/memory", uid, gid) || own_dir("/tmp/temp", uid, gid);
}

static int drop_privileges(unsigned uid, unsigned gid)
{
	const struct rlimit files = { DESCRIPTORS, DESCRIPTORS };
	(void) setrlimit(RLIMIT_NOFILE, &files); /* with fewer there are fewer connections at once */
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return fail("drop privileges", "");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return fail("set", "no_new_privs");
	return 0;
}

int main(int argc, char **argv)
{
	unsigned uid, gid;
	if (argc <= ARG_PROGRAM) {
		fprintf(stderr, "usage: stead-cache CONF SOCKETS DISK PID-FILE UID GID PROGRAM [ARGUMENT...]\n");
		return 2;
	}
	if (id_from(argv[ARG_UID], &uid) || id_from(argv[ARG_GID], &gid) || write_pid(argv[ARG_PID_FILE]))
		return 1;
	umask(022);
	if (enter_namespace(argv, uid, gid) || drop_privileges(uid, gid))
		return 1;
	(void) execvp(argv[ARG_PROGRAM], argv + ARG_PROGRAM);
	return fail("execute", argv[ARG_PROGRAM]);
}
