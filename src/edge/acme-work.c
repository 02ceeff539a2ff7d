// SPDX-License-Identifier: Apache-2.0
/*
 * uacme talks to a server that may be hostile, as root, because it writes keys that only root may read. So it gets what it needs for that and no more:
 * no capabilities, no new privileges, bounded memory and files. Debian's build verifies servers by GnuTLS with the system's bundle, and no
 * environment variable changes that; a private CA's bundle is bound over it, where nobody else sees it.
 */
#include "edge/cert-work.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

#define SYSTEM_BUNDLE "/etc/ssl/certs/ca-certificates.crt"
#define MEMORY_MAX (512UL << 20) /* measured: 19 MB resident */
#define FILE_MAX (1UL << 20)

static int use_bundle(const char *ca, Err *err)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_errno(err, -errno, "a mount namespace for uacme");
	if (mount(ca, SYSTEM_BUNDLE, NULL, MS_BIND, NULL) < 0)
		return err_errno(err, -errno, "putting %s in place of %s", ca, SYSTEM_BUNDLE);
	return 0;
}

static int drop_capabilities(Err *err)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_errno(err, -errno, "no_new_privs");
	/* Root's execve(2) would give them all back. */
	if (geteuid() == 0 && prctl(PR_SET_SECUREBITS, 0x1 | 0x2, 0, 0, 0) < 0) /* SECBIT_NOROOT, locked */
		return err_errno(err, -errno, "securebits");
	if (syscall(SYS_capset, &head, none) < 0)
		return err_errno(err, -errno, "dropping capabilities");
	/* It shall not outlive the daemon, whose successor asks for the same certificate. */
	(void) prctl(PR_SET_PDEATHSIG, SIGKILL);
	return 0;
}

int acme_work(const json_t *options, Err *err)
{
	const json_t *list = json_object_get(options, "argv");
	const char *ca = json_string_value(json_object_get(options, "ca"));
	AUTO_STRV char **argv = NULL;
	const struct rlimit file = { FILE_MAX, FILE_MAX }, core = { 0, 0 };
	for (size_t i = 0; i < json_array_size(list); i++)
		if (json_is_string(json_array_get(list, i)))
			strv_add(&argv, json_string_value(json_array_get(list, i)));
	if (!argv)
		return err_set(err, -EINVAL, "no command");
	(void) umask(077);
	int r = ca ? use_bundle(ca, err) : 0;
	if (r < 0 || (r = drop_capabilities(err)) < 0)
		return r;
#ifndef SANITIZED /* uacme starts us again as its hook, and the sanitizer's shadow takes terabytes */
	const struct rlimit memory = { MEMORY_MAX, MEMORY_MAX };
	(void) setrlimit(RLIMIT_AS, &memory);
#endif
	(void) setrlimit(RLIMIT_FSIZE, &file);
	(void) setrlimit(RLIMIT_CORE, &core);
	(void) execvp(argv[0], argv);
	return err_set(err, -errno, "%s cannot be started: %s%s", argv[0], strerror(errno),
		errno == ENOENT ? " (install uacme for automatic certificates, or name files with tls: {cert, key})" : "");
}

int acme_hook(const char *method, const char *type)
{
	return str_eq(method, "begin") && !str_eq(type, "http-01") ? 1 : 0;
}
