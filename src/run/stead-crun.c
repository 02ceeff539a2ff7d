// SPDX-License-Identifier: Apache-2.0
/*
 * stead-crun: executes crun in a mount namespace of its own, for two reasons.
 *
 * Where v1 controllers stand beside a v2 tree without controllers (the hybrid layout), crun refuses to
 * work because it finds cgroup2 at /sys/fs/cgroup/unified. In the new namespace an empty tmpfs covers
 * that place, and crun takes the layout for what it is, v1. The host's mounts stay as they are: all
 * mounts are made slaves first, so nothing done here travels back.
 *
 * Against being overwritten from inside a container (CVE-2019-5736) crun executes itself a second time from a
 * read-only bind mount, and knows by an environment variable and the mount's flag that it has done so. That
 * mount is made here before the first execution: the same protection for half the start-up time.
 *
 * Linked statically: it runs once for each container and each exec.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char **environ;

static int fail(const char *what, const char *path)
{
	/* The form of crun's own errors: conmon hands this line to the daemon. */
	fprintf(stderr, "stead-crun: %s %s: %s\n", what, path, strerror(errno));
	return 1;
}

static const char *find_crun(void)
{
	static const char *const places[] = { "/usr/bin/crun", "/usr/local/bin/crun", "/usr/sbin/crun", "/usr/local/sbin/crun" };
	const char *given = getenv("STEAD_CRUN");
	if (given && given[0] == '/')
		return given;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (access(places[i], X_OK) == 0)
			return places[i];
	return places[0];
}

/* 0: in a new mount namespace whose mounts do not reach the old one. */
static int enter_namespace(void)
{
	struct stat before, after;
	if (stat("/proc/self/ns/mnt", &before) < 0)
		return fail("stat", "/proc/self/ns/mnt");
	if (unshare(CLONE_NEWNS) < 0)
		return fail("make a mount namespace for", "crun");
	if (stat("/proc/self/ns/mnt", &after) < 0)
		return fail("stat", "/proc/self/ns/mnt");
	if (before.st_ino == after.st_ino) {
		errno = EINVAL;
		return fail("the mount namespace is still the host's:", "/proc/self/ns/mnt");
	}
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return fail("make mounts slaves below", "/");
	return 0;
}

int main(int argc, char **argv)
{
	static const char unified[] = "/sys/fs/cgroup/unified";
	const char *crun = find_crun();
	if (argc < 1)
		return 1;
	if (enter_namespace() != 0)
		return 1;

	struct statfs fs;
	if (statfs(unified, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC &&
		mount("none", unified, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755,size=64k") < 0)
		return fail("cover", unified);

	if (mount(crun, crun, NULL, MS_BIND, NULL) == 0 && mount(NULL, crun, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) == 0)
		(void) setenv("_LIBCONTAINER_CLONED_BINARY", "1", 1);
	argv[0] = (char *) "crun";
	(void) unsetenv("STEAD_CRUN");
	(void) execve(crun, argv, environ);
	return fail("execute", crun);
}
