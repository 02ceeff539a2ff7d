// SPDX-License-Identifier: Apache-2.0
/*
 * Landlock handles the rights that change something; reading stays free, since libraries read what
 * they like (locales, their configuration) and what a worker reads it tells to nobody but the daemon.
 * The seccomp filter is a list of what is denied, not of what is allowed: it has to hold for every libc
 * that a distribution ships.
 */
#include "image/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <malloc.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "base/landlock.h"
#include "base/mem.h"

#define ADDRESS_SPACE (1ULL << 30)

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

#ifdef SANITIZED
static int fenced;

/* A search for leaks at the exit needs ptrace, and would complain of what it may not (sanitizer/lsan_interface.h). */
__attribute__((visibility("default"))) int __lsan_is_turned_off(void);

int __lsan_is_turned_off(void)
{
	return fenced;
}
#endif

static int restrict_writes(const char *state_dir, Err *err)
{
	long version = landlock_version();
	uint64_t changes = landlock_changes(version);
	/* Version 1 forbids every rename into another directory, which committing a layer is. */
	if (version < 2)
		return 0;
	AUTO_CLOSE int dir = open(state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = dir < 0 ? -errno : 0;
	AUTO_CLOSE int rules = landlock_rules(changes | LANDLOCK_ACCESS_FS_EXECUTE);
	if (r == 0)
		r = rules < 0 ? rules : landlock_allow(rules, dir, changes);
	if (r == 0)
		r = landlock_enter(rules);
	return r < 0 ? err_errno(err, r, "restricting the worker to %s", state_dir) : 0;
}

/* Files are given to their owners (chown, setuid bits, capabilities), devices made, overlay marks set (trusted.*: SYS_ADMIN). */
static int drop_capabilities(Err *err)
{
	static const int kept[] = {
		CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID, CAP_MKNOD, CAP_SETFCAP, CAP_SYS_ADMIN,
	};
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct now[2] = { 0 }, want[2] = { 0 };
	if (syscall(SYS_capget, &head, now) < 0)
		return err_errno(err, -errno, "reading capabilities");
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		want[kept[i] / 32].permitted |= 1U << (kept[i] % 32);
	for (int i = 0; i < 2; i++) {
		want[i].permitted &= now[i].permitted;
		want[i].effective = want[i].permitted;
	}
	return syscall(SYS_capset, &head, want) < 0 ? err_errno(err, -errno, "dropping capabilities") : 0;
}

static int filter_calls(Err *err)
{
	static const int denied[] = {
		SCMP_SYS(socket), SCMP_SYS(socketpair), SCMP_SYS(connect), SCMP_SYS(bind), SCMP_SYS(execve), SCMP_SYS(execveat),
		SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(pivot_root), SCMP_SYS(chroot), SCMP_SYS(move_mount), SCMP_SYS(open_tree),
		SCMP_SYS(fsopen), SCMP_SYS(fsconfig), SCMP_SYS(fsmount), SCMP_SYS(fspick), SCMP_SYS(mount_setattr), SCMP_SYS(setns),
		SCMP_SYS(unshare), SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev), SCMP_SYS(kcmp), SCMP_SYS(bpf),
		SCMP_SYS(perf_event_open), SCMP_SYS(userfaultfd), SCMP_SYS(keyctl), SCMP_SYS(add_key), SCMP_SYS(request_key),
		SCMP_SYS(init_module), SCMP_SYS(finit_module), SCMP_SYS(delete_module), SCMP_SYS(kexec_load), SCMP_SYS(kexec_file_load),
		SCMP_SYS(reboot), SCMP_SYS(swapon), SCMP_SYS(swapoff), SCMP_SYS(sethostname), SCMP_SYS(setdomainname), SCMP_SYS(quotactl),
		SCMP_SYS(open_by_handle_at), SCMP_SYS(io_uring_setup), SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register), SCMP_SYS(acct),
		SCMP_SYS(settimeofday), SCMP_SYS(clock_settime), SCMP_SYS(fork), SCMP_SYS(vfork),
	};
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);
	int r = f ? 0 : -ENOMEM;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(denied); i++) {
		/* What an architecture has not (fork on arm64) cannot be called on it either. */
		int k = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), denied[i], 0);
		if (k < 0 && k != -EDOM && k != -EFAULT && k != -EINVAL)
			r = k;
	}
	/* As of a kernel without it: libc makes threads with clone(2) then, while it takes EPERM for an answer. */
	if (r == 0)
		r = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	if (r == 0)
		r = seccomp_load(f);
	seccomp_release(f);
	return r < 0 ? err_errno(err, r, "filtering the worker's system calls") : 0;
}

int sandbox_enter(const char *state_dir, Err *err)
{
	const struct rlimit core = { 0, 0 };
	(void) setrlimit(RLIMIT_CORE, &core);
#ifdef SANITIZED
	fenced = 1;
#else
	/* The sanitizer's shadow takes terabytes of it. */
	const struct rlimit memory = { ADDRESS_SPACE, ADDRESS_SPACE };
	(void) setrlimit(RLIMIT_AS, &memory);
#endif
	/* Each thread's own heap would reserve a part of it. */
	(void) mallopt(M_ARENA_MAX, 1);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_errno(err, -errno, "no_new_privs");
	int r = restrict_writes(state_dir, err);
	if (r < 0 || (r = drop_capabilities(err)) < 0)
		return r;
	return filter_calls(err);
}
