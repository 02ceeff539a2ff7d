// SPDX-License-Identifier: Apache-2.0
/*
 * Candidates are tried in the order stead-crun, crun, runc: a container is created from a bundle whose
 * only program is stead-init, never started, and removed again. Anything less (asking for a version,
 * reading the layout of the cgroups) says too little: runtimes refuse machines for reasons that only
 * show when they create. What worked is remembered in RUN_DIR/runtime.found with all that the answer
 * depends on, so that a restart of the daemon does not try again.
 */
#include "run/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "run/blocking.h"
#include "run/caps.h"
#include "run/cgroup.h"
#include "run/container.h"
#include "run/seccomp.h"
#include "run/trash.h"

#define TRY_ID "stead-try"

static char *find_program(const char *name)
{
	static const char *const places[] = { "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/usr/libexec/podman",
		"/usr/lib/podman", "/bin", "/sbin" };
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		AUTO_FREE char *path = xasprintf("%s/%s", places[i], name);
		if (access(path, X_OK) == 0)
			return steal_ptr(&path);
	}
	return NULL;
}

static char *first_line(const Buf *b)
{
	const char *s = buf_cstr(b);
	return xstrndup(s, strcspn(s, "\n"));
}

/* ── cgroups ──────────────────────────────────────────────────────── */

static int detect_cgroups(Runtime *rt, Err *err)
{
	rt->fd_cgroup = open("/sys/fs/cgroup", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (rt->fd_cgroup < 0)
		return err_errno(err, -errno, "open /sys/fs/cgroup; mount the cgroup file system there");
	struct statfs fs;
	if (fstatfs(rt->fd_cgroup, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC)
		rt->cgroup_mode = CGROUP_V2;
	else if (statfs("/sys/fs/cgroup/unified", &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC)
		rt->cgroup_mode = CGROUP_HYBRID;
	else
		rt->cgroup_mode = CGROUP_V1;
	return 0;
}

static bool cgroup_has(const Runtime *rt, const char *path)
{
	return faccessat(rt->fd_cgroup, path, F_OK, 0) == 0;
}

static void detect_controllers(Runtime *rt)
{
	static const struct {
		const char *name, *v1_file;
		Controller bit;
	} table[] = {
		{ "cpu", "cpu/cpu.cfs_quota_us", CONTROLLER_CPU },
		{ "cpuset", "cpuset/cpuset.cpus", CONTROLLER_CPUSET },
		{ "memory", "memory/memory.limit_in_bytes", CONTROLLER_MEMORY },
		{ "pids", "pids/cgroup.procs", CONTROLLER_PIDS },
		{ "io", "blkio/cgroup.procs", CONTROLLER_IO },
	};
	if (rt->cgroup_mode != CGROUP_V2) {
		for (size_t i = 0; i < ARRAY_SIZE(table); i++)
			if (cgroup_has(rt, table[i].v1_file))
				rt->controllers |= table[i].bit;
		if (cgroup_has(rt, "memory/memory.memsw.limit_in_bytes"))
			rt->controllers |= CONTROLLER_SWAP;
		if (cgroup_has(rt, "freezer/cgroup.procs"))
			rt->controllers |= CONTROLLER_FREEZER;
		return;
	}
	/* What our parent cgroup can hand down to the containers is what counts. */
	AUTO_BUF b = BUF_INIT;
	AUTO_FREE char *path = xasprintf(".%s/cgroup.subtree_control", rt->cgroup_parent);
	(void) file_read(rt->fd_cgroup, path, 4096, &b);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		for (const char *p = buf_cstr(&b); (p = strstr(p, table[i].name)); p++) {
			size_t n = strlen(table[i].name);
			if ((p == buf_cstr(&b) || p[-1] == ' ') && (p[n] == '\0' || p[n] == ' ' || p[n] == '\n'))
				rt->controllers |= table[i].bit;
		}
	rt->controllers |= CONTROLLER_FREEZER;
	if (rt->controllers & CONTROLLER_MEMORY && access("/proc/swaps", F_OK) == 0)
		rt->controllers |= CONTROLLER_SWAP;
}

int runtime_require(const Runtime *rt, Controller c, const char *key, Err *err)
{
	static const struct {
		Controller bit;
		const char *name, *remedy;
	} table[] = {
		{ CONTROLLER_MEMORY, "memory",
			"add \"cgroup_enable=memory cgroup_memory=1\" to the kernel command line (/boot/firmware/cmdline.txt or "
			"/boot/cmdline.txt on a Raspberry Pi, GRUB_CMDLINE_LINUX in /etc/default/grub elsewhere) and reboot" },
		{ CONTROLLER_SWAP, "swap accounting", "add \"swapaccount=1\" to the kernel command line and reboot" },
		{ CONTROLLER_CPU, "cpu", "use a kernel with CONFIG_CFS_BANDWIDTH, and mount the cpu cgroup" },
		{ CONTROLLER_CPUSET, "cpuset", "use a kernel with CONFIG_CPUSETS, and mount the cpuset cgroup" },
		{ CONTROLLER_PIDS, "pids", "use a kernel with CONFIG_CGROUP_PIDS, and mount the pids cgroup" },
		{ CONTROLLER_IO, "io", "use a kernel with CONFIG_BLK_CGROUP, and mount the io or blkio cgroup" },
		{ CONTROLLER_FREEZER, "freezer", "use a kernel with CONFIG_CGROUP_FREEZER, and mount the freezer cgroup" },
	};
	if (rt->controllers & c)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (table[i].bit == c)
			return err_set(err, -ENOTSUP, "%s: this machine's kernel has no %s control group, so the limit would not hold; %s, or remove the limit",
				key, table[i].name, table[i].remedy);
	return err_set(err, -ENOTSUP, "%s: not supported on this machine", key);
}

/* ── conmon ───────────────────────────────────────────────────────── */

static int detect_conmon(Runtime *rt, Err *err)
{
	rt->conmon = find_program("conmon");
	if (!rt->conmon)
		return err_set(err, -ENOENT, "conmon is not installed; install it: apt-get install conmon");
	AUTO_BUF b = BUF_INIT;
	char *version[] = { rt->conmon, (char *) "--version", NULL };
	int r = run_blocking(version, NULL, &b);
	if (r != 0)
		return err_set(err, -ENOEXEC, "%s --version fails (%d): %s; reinstall it: apt-get install --reinstall conmon", rt->conmon, r,
			buf_cstr(&b));
	AUTO_FREE char *line = first_line(&b);
	const char *number = strstr(line, "version ");
	rt->conmon_version = xstrdup(number ? number + strlen("version ") : line);
	buf_clear(&b);
	char *help[] = { rt->conmon, (char *) "--help", NULL };
	(void) run_blocking(help, NULL, &b);
	rt->conmon_no_sync_log = strstr(buf_cstr(&b), "--no-sync-log") != NULL;
	rt->conmon_full_attach = strstr(buf_cstr(&b), "--full-attach") != NULL;
	return 0;
}

/* ── trying ───────────────────────────────────────────────────────── */

/*
 * A filter of one instruction (allow), and a profile that refuses everything beside it: a runtime that does not know the
 * annotation cannot create this container.
 */
static const char try_seccomp[] = ",\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ERRNO\"}},"
				  "\"annotations\":{\"run.oci.seccomp_bpf_data\":\"BgAAAAAA/38=\"}}";
static const uint8_t try_filter[] = { 6, 0, 0, 0, 0, 0, 0xff, 0x7f };

static int write_try_bundle(const Runtime *rt, const char *bundle, bool seccomp, Err *err)
{
	AUTO_FREE char *rootfs = xasprintf("%s/rootfs", bundle);
	AUTO_FREE char *config = xasprintf("%s/config.json", bundle);
	int r = dir_make(rootfs, 0700);
	if (r < 0)
		return err_errno(err, r, "make %s", rootfs);
	AUTO_FREE char *text = xasprintf(
		"{\"ociVersion\":\"1.0.2\",\"process\":{\"user\":{\"uid\":0,\"gid\":0},\"args\":[\"/init\",\"/init\"],\"cwd\":\"/\"},"
		"\"root\":{\"path\":\"rootfs\"},\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"
		"{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"nosuid\",\"mode=755\",\"size=64k\"]},"
		"{\"destination\":\"/init\",\"type\":\"bind\",\"source\":\"%s/stead-init\",\"options\":[\"bind\",\"ro\"]}],"
		"\"linux\":{\"cgroupsPath\":\"%s/" TRY_ID "\",\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"mount\"},{\"type\":\"ipc\"}]%s",
		rt->libexec_dir, rt->cgroup_parent, seccomp ? try_seccomp : "}}");
	r = file_write(AT_FDCWD, config, text, strlen(text), 0600);
	return r < 0 ? err_errno(err, r, "write %s", config) : 0;
}

/* The tried container is not started: what there is of it ends here. */
static void remove_try(const Runtime *rt, const char *bundle)
{
	AUTO_FREE char *cgroup = xasprintf("%s/" TRY_ID, rt->cgroup_parent);
	AUTO_FREE char *state = xasprintf("%s/" TRY_ID, rt->root);
	(void) cgroup_kill(rt, cgroup);
	for (int i = 0; i < 200 && cgroup_remove(rt, cgroup) < 0; i++)
		(void) usleep(500);
	(void) tree_remove(AT_FDCWD, state);
	(void) tree_remove(AT_FDCWD, bundle);
}

static bool has_try_filter(const Runtime *rt)
{
	AUTO_BUF b = BUF_INIT;
	AUTO_FREE char *path = xasprintf("%s/" TRY_ID "/seccomp.bpf", rt->root);
	return file_read(AT_FDCWD, path, 4096, &b) == 0 && b.len == sizeof(try_filter) && memcmp(b.data, try_filter, b.len) == 0;
}

/* With `seccomp`, that the runtime uses the filter that it is given is tried as well. */
static int try_create(const Runtime *rt, bool seccomp, Err *err)
{
	AUTO_FREE char *bundle = xasprintf("%s/" TRY_ID, rt->run_dir);
	AUTO_FREE char *pid_file = xasprintf("%s/pid", bundle);
	remove_try(rt, bundle);
	int r = write_try_bundle(rt, bundle, seccomp, err);
	if (r < 0)
		return r;
	AUTO_BUF out = BUF_INIT;
	char *argv[] = { rt->path, (char *) "--root", rt->root, (char *) "create", (char *) "--bundle", bundle, (char *) "--pid-file", pid_file,
		(char *) TRY_ID, NULL };
	r = run_blocking(argv, NULL, &out);
	AUTO_FREE char *line = first_line(&out);
	if (r != 0)
		r = err_set(err, r < 0 ? r : -ENOEXEC, "%s", r == -ETIMEDOUT ? "did not answer" : line[0] ? line : "failed without a word");
	if (r == 0 && seccomp && !has_try_filter(rt))
		r = err_set(err, -ENOTSUP, "does not use a compiled filter");
	AUTO_BUF pid = BUF_INIT;
	int64_t n = 0;
	if (r == 0 && file_read(AT_FDCWD, pid_file, 32, &pid) == 0 && parse_i64(buf_cstr(&pid), &n) == 0 && n > 1)
		(void) kill((pid_t) n, SIGKILL);
	remove_try(rt, bundle);
	return r;
}

static RuntimeFlavour flavour_of(const char *version)
{
	if (strstr(version, "crun"))
		return RUNTIME_CRUN;
	return strstr(version, "runc") ? RUNTIME_RUNC : RUNTIME_OTHER;
}

/* Makes `path` the runtime, without trying. Takes ownership of path and crun. */
static void set_runtime(Runtime *rt, char *path, char *crun)
{
	free(rt->path);
	free(rt->crun);
	free(rt->name);
	free(rt->version);
	rt->path = path;
	rt->crun = crun;
	rt->private_mounts = crun != NULL;
	const char *named = crun ? crun : path, *slash = strrchr(named, '/');
	rt->name = xstrdup(slash ? slash + 1 : named);
	AUTO_BUF b = BUF_INIT;
	char *argv[] = { (char *) named, (char *) "--version", NULL };
	(void) run_blocking(argv, NULL, &b);
	rt->version = first_line(&b);
	rt->flavour = flavour_of(rt->version);
	if (crun)
		(void) setenv("STEAD_CRUN", crun, 1);
}

typedef struct Candidate {
	char *path, *crun;
} Candidate;

/* The runtimes that may be meant by --runtime, best first; NULL-terminated by path. */
static void list_candidates(const Runtime *rt, const char *wanted, Candidate list[4])
{
	size_t n = 0;
	if (wanted && strchr(wanted, '/')) {
		list[n++].path = xstrdup(wanted);
		return;
	}
	AUTO_FREE char *crun = !wanted || str_eq(wanted, "crun") ? find_program("crun") : NULL;
	AUTO_FREE char *shim = xasprintf("%s/stead-crun", rt->libexec_dir);
	if (crun && access(shim, X_OK) == 0)
		list[n++] = (Candidate) { xstrdup(shim), xstrdup(crun) };
	if (crun)
		list[n++].path = steal_ptr(&crun);
	if (!wanted || str_eq(wanted, "runc"))
		list[n].path = find_program("runc");
}

static int choose(Runtime *rt, const char *wanted, Err *err)
{
	Candidate list[4] = { { NULL, NULL } };
	AUTO_BUF reasons = BUF_INIT;
	int r = -ENOENT;
	list_candidates(rt, wanted, list);
	for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
		if (!list[i].path)
			continue;
		if (r == 0) {
			free(list[i].path);
			free(list[i].crun);
			continue;
		}
		set_runtime(rt, list[i].path, list[i].crun);
		AUTO_ERR why = ERR_INIT;
		r = try_create(rt, false, &why);
		if (r < 0)
			buf_printf(&reasons, "; %s: %s", rt->path, err_text(&why));
		else
			rt->compiled_seccomp = rt->flavour == RUNTIME_CRUN && try_create(rt, true, NULL) == 0;
	}
	if (r == 0)
		return 0;
	if (reasons.len == 0 && wanted)
		return err_set(err, -ENOENT, "runtime '%s' is not installed; install it (apt-get install crun), or choose another with --runtime", wanted);
	if (reasons.len == 0)
		return err_set(err, -ENOENT, "no OCI runtime is installed; install one: apt-get install crun");
	return err_set(err, -ENOENT, "no OCI runtime can create a container here%s; install crun or runc, or choose one with --runtime", buf_cstr(&reasons));
}

/* ── stead-exec ───────────────────────────────────────────────────── */

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

/*
 * In memory and sealed, so that a container cannot write to what is executed in it (CVE-2019-5736), and of the
 * same build as this daemon even after an upgrade. Without it the runtime execs.
 */
static int load_exec(const Runtime *rt)
{
	/* Namespaces are joined through a pidfd, from Linux 5.8 on; joining the own ones changes nothing. */
	AUTO_CLOSE int self = (int) syscall(SYS_pidfd_open, getpid(), 0);
	if (self < 0 || setns(self, CLONE_NEWUTS) < 0)
		return -1;
	AUTO_FREE char *path = xasprintf("%s/stead-exec", rt->libexec_dir);
	AUTO_BUF b = BUF_INIT;
	if (file_read(AT_FDCWD, path, 8U << 20, &b) < 0)
		return -1;
	AUTO_CLOSE int fd = memfd_create("stead-exec", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("stead-exec", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || fd_write_all(fd, b.data, b.len) < 0 || fchmod(fd, 0500) < 0 ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -1;
	return steal_fd(&fd);
}

/* ── memory of the choice ─────────────────────────────────────────── */

static void add_stamp(Buf *b, const char *path)
{
	struct stat st;
	if (path && stat(path, &st) == 0)
		buf_printf(b, "%s %lld %lld\n", path, (long long) st.st_mtim.tv_sec, (long long) st.st_size);
	else
		buf_printf(b, "%s -\n", path ? path : "-");
}

/* All that the choice depends on. */
static char *choice_key(const Runtime *rt, const char *wanted)
{
	AUTO_BUF b = BUF_INIT, boot = BUF_INIT;
	(void) file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &boot);
	AUTO_FREE char *shim = xasprintf("%s/stead-crun", rt->libexec_dir);
	AUTO_FREE char *crun = find_program("crun");
	AUTO_FREE char *runc = find_program("runc");
	buf_printf(&b, STEAD_VERSION " %s mode %d wanted %s\n", buf_cstr(&boot), (int) rt->cgroup_mode, wanted ? wanted : "-");
	add_stamp(&b, rt->conmon);
	add_stamp(&b, shim);
	add_stamp(&b, crun);
	add_stamp(&b, runc);
	return buf_steal(&b);
}

static bool recall(Runtime *rt, const char *file, const char *key)
{
	AUTO_BUF b = BUF_INIT;
	size_t n = strlen(key);
	if (file_read(AT_FDCWD, file, 8192, &b) < 0 || b.len <= n || memcmp(b.data, key, n) != 0)
		return false;
	char *path = b.data + n, *crun = strchr(path, '\n'), *version = crun ? strchr(crun + 1, '\n') : NULL;
	if (!version)
		return false;
	*crun++ = '\0';
	*version++ = '\0';
	char *compiled = strchr(version, '\n');
	if (!compiled)
		return false;
	*compiled++ = '\0';
	if (access(path, X_OK) < 0)
		return false;
	rt->path = xstrdup(path);
	rt->crun = crun[0] ? xstrdup(crun) : NULL;
	rt->private_mounts = rt->crun != NULL;
	rt->compiled_seccomp = *compiled == '1';
	rt->version = xstrdup(version);
	rt->flavour = flavour_of(version);
	const char *named = rt->crun ? rt->crun : rt->path, *slash = strrchr(named, '/');
	rt->name = xstrdup(slash ? slash + 1 : named);
	if (rt->crun)
		(void) setenv("STEAD_CRUN", rt->crun, 1);
	return true;
}

/* ── entry ────────────────────────────────────────────────────────── */

static char *find_libexec(const char *given)
{
	if (given)
		return xstrdup(given);
	const char *env = getenv("STEAD_LIBEXECDIR");
	if (env && env[0] == '/')
		return xstrdup(env);
	/* Run from the build tree: beside the executable's room. */
	char exe[4096];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	if (n > 0) {
		exe[n] = '\0';
		for (int up = 0; up < 2; up++) {
			char *slash = strrchr(exe, '/');
			if (slash)
				*slash = '\0';
			AUTO_FREE char *room = xasprintf("%s/run", exe);
			const char *const dirs[] = { exe, room };
			for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
				AUTO_FREE char *init = xasprintf("%s/stead-init", dirs[i]);
				if (access(init, X_OK) == 0)
					return xstrdup(dirs[i]);
			}
		}
	}
	return xstrdup(STEAD_LIBEXECDIR);
}

static int check_paths(const RuntimeOptions *o, Err *err)
{
	const char *const dirs[] = { o->state_dir, o->run_dir };
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		/* They appear in the overlay's options and in conmon's arguments. */
		if (dirs[i][0] != '/' || strpbrk(dirs[i], ",:\\\"") || str_has_control(dirs[i]))
			return err_set(err, -EINVAL, "%s: the state and run directories must be absolute paths without , : \\ or quotes", dirs[i]);
	}
	return 0;
}

/* The filter that nearly every container will have: now, and not during the first `up` (some 15 ms, once per boot). */
static void precompile(const Runtime *rt)
{
	AUTO_BUF profile = BUF_INIT, filter = BUF_INIT;
	if (!rt->compiled_seccomp)
		return;
	seccomp_default(caps_default() & caps_own(), &profile);
	(void) seccomp_compile(rt, buf_cstr(&profile), &filter);
}

int runtime_detect(const RuntimeOptions *o, Runtime **ret, Err *err)
{
	int r = check_paths(o, err);
	if (r < 0)
		return r;
	Runtime *rt = xcalloc(1, sizeof(*rt));
	rt->fd_cgroup = rt->fd_exec = -1;
	rt->run_dir = xstrdup(o->run_dir);
	rt->state_dir = xstrdup(o->state_dir);
	rt->root = xasprintf("%s/runtime", o->run_dir);
	rt->cgroup_parent = xasprintf("/stead-%s", o->name);
	rt->libexec_dir = find_libexec(o->libexec_dir);
	AUTO_FREE char *memory = xasprintf("%s/runtime.found", o->run_dir);
	r = dir_make(rt->root, 0700);
	if (r < 0)
		r = err_errno(err, r, "make %s", rt->root);
	trash_empty(rt->run_dir);
	trash_empty(rt->state_dir);
	if (r == 0)
		r = detect_cgroups(rt, err);
	if (r == 0)
		r = cgroup_parent_make(rt, err);
	if (r == 0) {
		detect_controllers(rt);
		r = detect_conmon(rt, err);
	}
	if (r == 0) {
		AUTO_FREE char *key = choice_key(rt, o->wanted);
		if (!recall(rt, memory, key)) {
			r = choose(rt, o->wanted, err);
			AUTO_FREE char *text = xasprintf("%s%s\n%s\n%s\n%d\n", key, rt->path, rt->crun ? rt->crun : "", rt->version,
				rt->compiled_seccomp);
			if (r == 0)
				(void) file_write_atomic(AT_FDCWD, memory, text, strlen(text), 0600, false);
		}
	}
	if (r < 0) {
		if (rt->fd_cgroup >= 0)
			cgroup_parent_remove(rt); /* only if no container is in it */
		runtime_free(rt);
		return r;
	}
	precompile(rt);
	rt->fd_exec = load_exec(rt);
	*ret = rt;
	return 0;
}

void runtime_free(Runtime *rt)
{
	if (!rt)
		return;
	free(rt->name);
	free(rt->path);
	free(rt->crun);
	free(rt->version);
	free(rt->conmon);
	free(rt->conmon_version);
	free(rt->root);
	free(rt->run_dir);
	free(rt->state_dir);
	free(rt->cgroup_parent);
	free(rt->libexec_dir);
	if (rt->fd_cgroup >= 0)
		(void) close(rt->fd_cgroup);
	if (rt->fd_exec >= 0)
		(void) close(rt->fd_exec);
	free(rt);
}
