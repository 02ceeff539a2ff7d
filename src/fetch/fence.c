// SPDX-License-Identifier: Apache-2.0
#include "fetch/fence.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/landlock.h"
#include "base/mem.h"

#define NOBODY 65534

/* What is not there need not be allowed. */
static void allow(int rules, const char *path, bool directory)
{
	AUTO_CLOSE int fd = open(path, O_PATH | O_CLOEXEC);
	if (fd >= 0)
		(void) landlock_allow(rules, fd, LANDLOCK_ACCESS_FS_READ_FILE | (directory ? LANDLOCK_ACCESS_FS_READ_DIR : 0));
}

/* Name resolution and TLS read their configuration and libraries when they are first needed. */
static int restrict_files(void)
{
	static const char *const readable[] = { "/etc", "/usr", "/lib", "/lib64", "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager",
		"/proc/self", "/sys/devices/system/cpu" };
	static const char *const devices[] = { "/dev/urandom", "/dev/random", "/dev/null" };
	long version = landlock_version();
	if (version < 1)
		return 0;
	AUTO_CLOSE int rules = landlock_rules(landlock_changes(version) | LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE |
		LANDLOCK_ACCESS_FS_READ_DIR);
	if (rules < 0)
		return rules;
	for (size_t i = 0; i < ARRAY_SIZE(readable); i++)
		allow(rules, readable[i], true);
	for (size_t i = 0; i < ARRAY_SIZE(devices); i++)
		allow(rules, devices[i], false);
	const char *ca = getenv("SSL_CERT_FILE");
	if (ca)
		allow(rules, ca, false);
	return landlock_enter(rules);
}

int fence_enter(void)
{
	const struct rlimit none = { 0, 0 };
	(void) setrlimit(RLIMIT_CORE, &none);
	(void) setrlimit(RLIMIT_FSIZE, &none);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	int r = restrict_files();
	if (r < 0)
		return r;
	if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0))
		return -errno;
	/* Others are nobody too, and credentials pass through here. A change of user resets both. */
	if (prctl(PR_SET_DUMPABLE, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return -errno;
	return 0;
}
