// SPDX-License-Identifier: Apache-2.0
/*
 * The profile is text, put together from constants. Runtimes compile it anew for each container, a third of what a
 * start with crun costs; where crun takes a compiled filter, stead-seccomp makes it once for each text.
 * Names that a kernel or libseccomp does not know are skipped by the runtimes.
 */
#include "run/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "run/blocking.h"
#include "run/caps.h"

#define PROFILE_MAX (1U << 20)

#if defined(__x86_64__)
#define ARCHITECTURES "\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\""
#define ARCH_MAIN "SCMP_ARCH_X86_64"
#define ARCH_GO "amd64"
#define ARCH_CALLS ",\"arch_prctl\",\"modify_ldt\""
#elif defined(__aarch64__)
#define ARCHITECTURES "\"SCMP_ARCH_AARCH64\",\"SCMP_ARCH_ARM\""
#define ARCH_MAIN "SCMP_ARCH_AARCH64"
#define ARCH_GO "arm64"
#define ARCH_CALLS ",\"arm_fadvise64_64\",\"arm_sync_file_range\",\"sync_file_range2\",\"breakpoint\",\"cacheflush\",\"set_tls\""
#elif defined(__arm__)
#define ARCHITECTURES "\"SCMP_ARCH_ARM\""
#define ARCH_MAIN "SCMP_ARCH_ARM"
#define ARCH_GO "arm"
#define ARCH_CALLS ",\"arm_fadvise64_64\",\"arm_sync_file_range\",\"sync_file_range2\",\"breakpoint\",\"cacheflush\",\"set_tls\""
#elif defined(__riscv) && __riscv_xlen == 64
#define ARCHITECTURES "\"SCMP_ARCH_RISCV64\""
#define ARCH_MAIN "SCMP_ARCH_RISCV64"
#define ARCH_GO "riscv64"
#define ARCH_CALLS ",\"riscv_flush_icache\""
#else
#error "the seccomp profile has no entry for this architecture"
#endif

static const char head[] = "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":38,\"architectures\":[" ARCHITECTURES "],\"syscalls\":[";

/* Always allowed. */
static const char allowed[] =
	"{\"action\":\"SCMP_ACT_ALLOW\",\"names\":["
	"\"accept\",\"accept4\",\"access\",\"adjtimex\",\"alarm\",\"bind\",\"brk\",\"cachestat\",\"capget\",\"capset\",\"chdir\",\"chmod\",\"chown\","
	"\"chown32\",\"clock_adjtime\",\"clock_adjtime64\",\"clock_getres\",\"clock_getres_time64\",\"clock_gettime\",\"clock_gettime64\","
	"\"clock_nanosleep\",\"clock_nanosleep_time64\",\"close\",\"close_range\",\"connect\",\"copy_file_range\",\"creat\",\"dup\",\"dup2\","
	"\"dup3\",\"epoll_create\",\"epoll_create1\",\"epoll_ctl\",\"epoll_ctl_old\",\"epoll_pwait\",\"epoll_pwait2\",\"epoll_wait\","
	"\"epoll_wait_old\",\"eventfd\",\"eventfd2\",\"execve\",\"execveat\",\"exit\",\"exit_group\",\"faccessat\",\"faccessat2\",\"fadvise64\","
	"\"fadvise64_64\",\"fallocate\",\"fanotify_mark\",\"fchdir\",\"fchmod\",\"fchmodat\",\"fchmodat2\",\"fchown\",\"fchown32\",\"fchownat\","
	"\"fcntl\",\"fcntl64\",\"fdatasync\",\"fgetxattr\",\"flistxattr\",\"flock\",\"fork\",\"fremovexattr\",\"fsetxattr\",\"fstat\",\"fstat64\","
	"\"fstatat64\",\"fstatfs\",\"fstatfs64\",\"fsync\",\"ftruncate\",\"ftruncate64\",\"futex\",\"futex_requeue\",\"futex_time64\","
	"\"futex_wait\",\"futex_waitv\",\"futex_wake\",\"futimesat\",\"get_robust_list\",\"get_thread_area\",\"getcpu\",\"getcwd\",\"getdents\","
	"\"getdents64\",\"getegid\",\"getegid32\",\"geteuid\",\"geteuid32\",\"getgid\",\"getgid32\",\"getgroups\",\"getgroups32\",\"getitimer\","
	"\"getpeername\",\"getpgid\",\"getpgrp\",\"getpid\",\"getppid\",\"getpriority\",\"getrandom\",\"getresgid\",\"getresgid32\",\"getresuid\","
	"\"getresuid32\",\"getrlimit\",\"getrusage\",\"getsid\",\"getsockname\",\"getsockopt\",\"gettid\",\"gettimeofday\",\"getuid\",\"getuid32\","
	"\"getxattr\",\"getxattrat\",\"inotify_add_watch\",\"inotify_init\",\"inotify_init1\",\"inotify_rm_watch\",\"io_cancel\",\"io_destroy\","
	"\"io_getevents\",\"io_pgetevents\",\"io_pgetevents_time64\",\"io_setup\",\"io_submit\",\"ioctl\",\"ioprio_get\",\"ioprio_set\",\"ipc\","
	"\"kill\",\"landlock_add_rule\",\"landlock_create_ruleset\",\"landlock_restrict_self\",\"lchown\",\"lchown32\",\"lgetxattr\",\"link\","
	"\"linkat\",\"listen\",\"listxattr\",\"listxattrat\",\"llistxattr\",\"_llseek\",\"lremovexattr\",\"lseek\",\"lsetxattr\",\"lstat\","
	"\"lstat64\",\"madvise\",\"map_shadow_stack\",\"membarrier\",\"memfd_create\",\"memfd_secret\",\"mincore\",\"mkdir\",\"mkdirat\",\"mknod\","
	"\"mknodat\",\"mlock\",\"mlock2\",\"mlockall\",\"mmap\",\"mmap2\",\"mprotect\",\"mq_getsetattr\",\"mq_notify\",\"mq_open\","
	"\"mq_timedreceive\",\"mq_timedreceive_time64\",\"mq_timedsend\",\"mq_timedsend_time64\",\"mq_unlink\",\"mremap\",\"mseal\",\"msgctl\","
	"\"msgget\",\"msgrcv\",\"msgsnd\",\"msync\",\"munlock\",\"munlockall\",\"munmap\",\"name_to_handle_at\",\"nanosleep\",\"newfstatat\","
	"\"_newselect\",\"open\",\"openat\",\"openat2\",\"pause\",\"pidfd_open\",\"pidfd_send_signal\",\"pipe\",\"pipe2\",\"pkey_alloc\","
	"\"pkey_free\",\"pkey_mprotect\",\"poll\",\"ppoll\",\"ppoll_time64\",\"prctl\",\"pread64\",\"preadv\",\"preadv2\",\"prlimit64\","
	"\"process_mrelease\",\"pselect6\",\"pselect6_time64\",\"pwrite64\",\"pwritev\",\"pwritev2\",\"read\",\"readahead\",\"readlink\","
	"\"readlinkat\",\"readv\",\"recv\",\"recvfrom\",\"recvmmsg\",\"recvmmsg_time64\",\"recvmsg\",\"remap_file_pages\",\"removexattr\","
	"\"removexattrat\",\"rename\",\"renameat\",\"renameat2\",\"restart_syscall\",\"rmdir\",\"rseq\",\"rt_sigaction\",\"rt_sigpending\","
	"\"rt_sigprocmask\",\"rt_sigqueueinfo\",\"rt_sigreturn\",\"rt_sigsuspend\",\"rt_sigtimedwait\",\"rt_sigtimedwait_time64\","
	"\"rt_tgsigqueueinfo\",\"sched_get_priority_max\",\"sched_get_priority_min\",\"sched_getaffinity\",\"sched_getattr\",\"sched_getparam\","
	"\"sched_getscheduler\",\"sched_rr_get_interval\",\"sched_rr_get_interval_time64\",\"sched_setaffinity\",\"sched_setattr\","
	"\"sched_setparam\",\"sched_setscheduler\",\"sched_yield\",\"seccomp\",\"select\",\"semctl\",\"semget\",\"semop\",\"semtimedop\","
	"\"semtimedop_time64\",\"send\",\"sendfile\",\"sendfile64\",\"sendmmsg\",\"sendmsg\",\"sendto\",\"set_robust_list\",\"set_thread_area\","
	"\"set_tid_address\",\"setfsgid\",\"setfsgid32\",\"setfsuid\",\"setfsuid32\",\"setgid\",\"setgid32\",\"setgroups\",\"setgroups32\","
	"\"setitimer\",\"setpgid\",\"setpriority\",\"setregid\",\"setregid32\",\"setresgid\",\"setresgid32\",\"setresuid\",\"setresuid32\","
	"\"setreuid\",\"setreuid32\",\"setrlimit\",\"setsid\",\"setsockopt\",\"setuid\",\"setuid32\",\"setxattr\",\"setxattrat\",\"shmat\","
	"\"shmctl\",\"shmdt\",\"shmget\",\"shutdown\",\"sigaltstack\",\"signalfd\",\"signalfd4\",\"sigprocmask\",\"sigreturn\",\"socketcall\","
	"\"socketpair\",\"splice\",\"stat\",\"stat64\",\"statfs\",\"statfs64\",\"statx\",\"symlink\",\"symlinkat\",\"sync\",\"sync_file_range\","
	"\"syncfs\",\"sysinfo\",\"tee\",\"tgkill\",\"time\",\"timer_create\",\"timer_delete\",\"timer_getoverrun\",\"timer_gettime\","
	"\"timer_gettime64\",\"timer_settime\",\"timer_settime64\",\"timerfd_create\",\"timerfd_gettime\",\"timerfd_gettime64\","
	"\"timerfd_settime\",\"timerfd_settime64\",\"times\",\"tkill\",\"truncate\",\"truncate64\",\"ugetrlimit\",\"umask\",\"uname\",\"unlink\","
	"\"unlinkat\",\"uretprobe\",\"utime\",\"utimensat\",\"utimensat_time64\",\"utimes\",\"vfork\",\"vmsplice\",\"wait4\",\"waitid\","
	"\"waitpid\",\"write\",\"writev\",\"ptrace\",\"process_vm_readv\",\"process_vm_writev\"" ARCH_CALLS "]}";

/* Allowed for some arguments only. */
static const char conditional[] =
	/* personality: 0, UNAME26, PER_LINUX32, both, and asking */
	",{\"action\":\"SCMP_ACT_ALLOW\",\"names\":[\"personality\"],\"args\":[{\"index\":0,\"value\":0,\"op\":\"SCMP_CMP_EQ\"}]}"
	",{\"action\":\"SCMP_ACT_ALLOW\",\"names\":[\"personality\"],\"args\":[{\"index\":0,\"value\":8,\"op\":\"SCMP_CMP_EQ\"}]}"
	",{\"action\":\"SCMP_ACT_ALLOW\",\"names\":[\"personality\"],\"args\":[{\"index\":0,\"value\":131072,\"op\":\"SCMP_CMP_EQ\"}]}"
	",{\"action\":\"SCMP_ACT_ALLOW\",\"names\":[\"personality\"],\"args\":[{\"index\":0,\"value\":131080,\"op\":\"SCMP_CMP_EQ\"}]}"
	",{\"action\":\"SCMP_ACT_ALLOW\",\"names\":[\"personality\"],\"args\":[{\"index\":0,\"value\":4294967295,\"op\":\"SCMP_CMP_EQ\"}]}"
	/* socket: not AF_ALG (38) and AF_VSOCK (40), which reach parts of the kernel or the host that no container needs */
	",{\"action\":\"SCMP_ACT_ALLOW\",\"names\":[\"socket\"],\"args\":[{\"index\":0,\"value\":38,\"op\":\"SCMP_CMP_LT\"}]}"
	",{\"action\":\"SCMP_ACT_ALLOW\",\"names\":[\"socket\"],\"args\":[{\"index\":0,\"value\":39,\"op\":\"SCMP_CMP_EQ\"}]}"
	",{\"action\":\"SCMP_ACT_ALLOW\",\"names\":[\"socket\"],\"args\":[{\"index\":0,\"value\":40,\"op\":\"SCMP_CMP_GT\"}]}"
	",{\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":97,\"names\":[\"socket\"],\"args\":[{\"index\":0,\"value\":38,\"op\":\"SCMP_CMP_EQ\"}]}"
	",{\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":97,\"names\":[\"socket\"],\"args\":[{\"index\":0,\"value\":40,\"op\":\"SCMP_CMP_EQ\"}]}";

/* Without SYS_ADMIN: no new namespaces by clone, and clone3 (whose flags no filter can see) does not exist. */
static const char clone_plain[] =
	",{\"action\":\"SCMP_ACT_ALLOW\",\"names\":[\"clone\"],\"args\":[{\"index\":0,\"value\":2114060288,\"valueTwo\":0,\"op\":\"SCMP_CMP_MASKED_EQ\"}]}"
	",{\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":38,\"names\":[\"clone3\"]}";

/* Calls that come with a capability; refused with EPERM without it. */
static const struct {
	const char *cap, *names;
} by_cap[] = {
	{ "SYS_ADMIN", "\"bpf\",\"clone\",\"clone3\",\"fanotify_init\",\"fsconfig\",\"fsmount\",\"fsopen\",\"fspick\",\"listmount\",\"lookup_dcookie\","
		       "\"mount\",\"mount_setattr\",\"move_mount\",\"open_tree\",\"perf_event_open\",\"quotactl\",\"quotactl_fd\",\"setdomainname\","
		       "\"sethostname\",\"setns\",\"statmount\",\"syslog\",\"umount\",\"umount2\",\"unshare\"" },
	{ "BPF", "\"bpf\"" },
	{ "PERFMON", "\"perf_event_open\"" },
	{ "DAC_READ_SEARCH", "\"open_by_handle_at\"" },
	{ "SYS_BOOT", "\"reboot\",\"kexec_load\",\"kexec_file_load\"" },
	{ "SYS_CHROOT", "\"chroot\"" },
	{ "SYS_MODULE", "\"delete_module\",\"init_module\",\"finit_module\"" },
	{ "SYS_PACCT", "\"acct\"" },
	{ "SYS_PTRACE", "\"kcmp\",\"pidfd_getfd\",\"process_madvise\"" },
	{ "SYS_RAWIO", "\"iopl\",\"ioperm\"" },
	{ "SYS_TIME", "\"settimeofday\",\"stime\",\"clock_settime\",\"clock_settime64\"" },
	{ "SYS_TTY_CONFIG", "\"vhangup\"" },
	{ "SYS_NICE", "\"get_mempolicy\",\"mbind\",\"set_mempolicy\",\"set_mempolicy_home_node\",\"migrate_pages\",\"move_pages\"" },
	{ "SYSLOG", "\"syslog\"" },
};

/* Known and never allowed: EPERM, so that programs do not take the kernel for an old one. */
static const char denied[] = "\"add_key\",\"keyctl\",\"request_key\",\"io_uring_enter\",\"io_uring_register\",\"io_uring_setup\",\"nfsservctl\","
			     "\"swapon\",\"swapoff\",\"sysfs\",\"_sysctl\",\"uselib\",\"userfaultfd\",\"ustat\",\"vm86\",\"vm86old\",\"create_module\","
			     "\"get_kernel_syms\",\"query_module\",\"pivot_root\"";

/* A name may stand under several capabilities: refused only if none of them is there. */
static bool listed(const char *list, const char *name, size_t n)
{
	const char *p = memmem(list, strlen(list), name, n);
	return p != NULL;
}

static bool allowed_by_other(uint64_t caps, size_t self, const char *name, size_t n)
{
	for (size_t i = 0; i < ARRAY_SIZE(by_cap); i++)
		if (i != self && caps_have(caps, by_cap[i].cap) && listed(by_cap[i].names, name, n))
			return true;
	return false;
}

void seccomp_default(uint64_t caps, Buf *ret)
{
	buf_str(ret, head);
	buf_str(ret, allowed);
	buf_str(ret, conditional);
	bool admin = caps_have(caps, "SYS_ADMIN");
	if (!admin)
		buf_str(ret, clone_plain);
	AUTO_BUF yes = BUF_INIT, no = BUF_INIT;
	buf_str(&no, denied);
	for (size_t i = 0; i < ARRAY_SIZE(by_cap); i++) {
		bool have = caps_have(caps, by_cap[i].cap);
		for (const char *p = by_cap[i].names; *p;) {
			size_t n = strcspn(p, ",");
			bool clone_call = strncmp(p, "\"clone", 6) == 0; /* without SYS_ADMIN they have rules of their own */
			Buf *to = have ? &yes : &no;
			if (!(clone_call && !have) && !(!have && allowed_by_other(caps, i, p, n)) && !(to->len && listed(buf_cstr(to), p, n))) {
				if (to->len)
					buf_char(to, ',');
				buf_append(to, p, n);
			}
			p += n + (p[n] == ',');
		}
	}
	if (yes.len)
		buf_printf(ret, ",{\"action\":\"SCMP_ACT_ALLOW\",\"names\":[%s]}", buf_cstr(&yes));
	buf_printf(ret, ",{\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":1,\"names\":[%s]}]}", buf_cstr(&no));
}

/* ── profile files ────────────────────────────────────────────────── */

static bool has_string(const json_t *array, const char *s)
{
	size_t i;
	json_t *v;
	json_array_foreach(array, i, v)
		if (str_eq(json_string_value(v), s))
			return true;
	return false;
}

static bool all_caps(const json_t *array, uint64_t caps)
{
	size_t i;
	json_t *v;
	json_array_foreach(array, i, v)
		if (!json_is_string(v) || !caps_have(caps, json_string_value(v)))
			return false;
	return true;
}

static bool any_cap(const json_t *array, uint64_t caps)
{
	size_t i;
	json_t *v;
	json_array_foreach(array, i, v)
		if (json_is_string(v) && caps_have(caps, json_string_value(v)))
			return true;
	return false;
}

static bool rule_applies(const json_t *rule, uint64_t caps)
{
	const json_t *in = json_object_get(rule, "includes"), *out = json_object_get(rule, "excludes");
	const json_t *arches = json_object_get(in, "arches"), *not_arches = json_object_get(out, "arches");
	if (json_array_size(arches) && !has_string(arches, ARCH_GO))
		return false;
	if (has_string(not_arches, ARCH_GO))
		return false;
	if (json_array_size(json_object_get(in, "caps")) && !all_caps(json_object_get(in, "caps"), caps))
		return false;
	return !any_cap(json_object_get(out, "caps"), caps);
}

static json_t *map_architectures(const json_t *map)
{
	json_t *a = json_array();
	size_t i;
	json_t *e;
	json_array_foreach(map, i, e) {
		if (!str_eq(json_string_value(json_object_get(e, "architecture")), ARCH_MAIN))
			continue;
		(void) json_array_append_new(a, json_string(ARCH_MAIN));
		size_t k;
		json_t *sub;
		json_array_foreach(json_object_get(e, "subArchitectures"), k, sub)
			(void) json_array_append(a, sub);
	}
	return a;
}

int seccomp_from_file(const char *path, uint64_t caps, Buf *ret, Err *err)
{
	AUTO_BUF b = BUF_INIT;
	int r = file_read(AT_FDCWD, path, PROFILE_MAX, &b);
	if (r < 0)
		return err_errno(err, r, "security_opt: seccomp profile %s", path);
	json_error_t je;
	json_t *o = json_loadb(b.data ? b.data : "", b.len, JSON_REJECT_DUPLICATES, &je);
	if (!json_is_object(o)) {
		r = err_set(err, -EINVAL, "security_opt: seccomp profile %s, line %d: %s", path, o ? 1 : je.line, o ? "not a JSON object" : je.text);
		json_decref(o);
		return r;
	}
	if (json_object_get(o, "archMap")) {
		(void) json_object_set_new(o, "architectures", map_architectures(json_object_get(o, "archMap")));
		(void) json_object_del(o, "archMap");
	}
	json_t *rules = json_object_get(o, "syscalls"), *rule, *kept = json_array();
	size_t i;
	json_array_foreach(rules, i, rule) {
		if (!rule_applies(rule, caps))
			continue;
		static const char *const extra[] = { "includes", "excludes", "comment", "minKernel" };
		for (size_t k = 0; k < ARRAY_SIZE(extra); k++)
			(void) json_object_del(rule, extra[k]);
		(void) json_array_append(kept, rule);
	}
	(void) json_object_set_new(o, "syscalls", kept);
	AUTO_FREE char *text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	buf_str(ret, text);
	return 0;
}

/* ── compiled ─────────────────────────────────────────────────────── */

int seccomp_compile(const Runtime *rt, const char *profile, Buf *ret)
{
	char hex[DIGEST_HEX_MAX];
	digest_sha256(profile, strlen(profile), hex);
	AUTO_FREE char *dir = xasprintf("%s/seccomp", rt->run_dir);
	AUTO_FREE char *source = xasprintf("%s/%s.json", dir, hex);
	AUTO_FREE char *kept = xasprintf("%s/%s", dir, hex);
	if (file_read(AT_FDCWD, kept, PROFILE_MAX, ret) == 0 && ret->len)
		return 0;
	buf_clear(ret);
	AUTO_FREE char *program = xasprintf("%s/stead-seccomp", rt->libexec_dir);
	int r = access(program, X_OK) < 0 ? -errno : dir_make(dir, 0700);
	if (r == 0)
		r = file_write(AT_FDCWD, source, profile, strlen(profile), 0600);
	if (r < 0)
		return r;
	char *argv[] = { program, NULL };
	r = run_blocking(argv, source, ret);
	(void) unlink(source);
	if (r != 0 || !ret->len)
		return r < 0 ? r : -EIO;
	return file_write_atomic(AT_FDCWD, kept, ret->data, ret->len, 0600, false);
}
