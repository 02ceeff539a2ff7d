// SPDX-License-Identifier: Apache-2.0
/*
 * config.json is a JSON object made here from typed values, printed without blanks, with one exception: the value of
 * linux.seccomp is text (run/seccomp.c) that goes in as it is, last, because it is eight times as long as
 * all the rest and the same for nearly every container.
 */
#include "run/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "run/bundle-parts.h"
#include "run/caps.h"
#include "run/seccomp.h"
#include "run/user.h"

static json_t *strv_json(char *const *v)
{
	json_t *a = json_array();
	for (size_t i = 0; v && v[i]; i++)
		(void) json_array_append_new(a, json_stringn_nocheck(v[i], strlen(v[i])));
	return a;
}

/* ── security ─────────────────────────────────────────────────────── */

static int security_option(const char *text, SecurityOptions *o, Err *err)
{
	/* Docker takes "key=value" and, of old, "key:value". */
	size_t n = strcspn(text, "=:");
	AUTO_FREE char *key = xstrndup(text, n);
	const char *value = text[n] ? text + n + 1 : "";
	if (str_eq(key, "no-new-privileges")) {
		if (value[0] && !str_eq(value, "true") && !str_eq(value, "false"))
			return err_set(err, -EINVAL, "security_opt: no-new-privileges is true or false, not '%s'", value);
		o->no_new_privileges = !str_eq(value, "false");
	} else if (str_eq(key, "seccomp")) {
		o->seccomp_off = str_eq(value, "unconfined");
		if (!o->seccomp_off && value[0] != '/' && !str_eq(value, "builtin"))
			return err_set(err, -EINVAL, "security_opt: seccomp is unconfined, builtin, or the absolute path of a profile, not '%s'", value);
		o->seccomp = value[0] == '/' ? value : NULL;
	} else if (str_eq(key, "apparmor")) {
		if (access("/sys/kernel/security/apparmor", F_OK) < 0 && !str_eq(value, "unconfined"))
			return err_set(err, -ENOTSUP, "security_opt: apparmor=%s, but AppArmor is not enabled on this machine", value);
		o->apparmor = access("/sys/kernel/security/apparmor", F_OK) == 0 ? value : NULL;
	} else if (str_eq(key, "systempaths") && str_eq(value, "unconfined")) {
		o->system_paths = true;
	} else if (str_eq(key, "label") && (str_eq(value, "disable") || access("/sys/fs/selinux/enforce", F_OK) < 0)) {
		/* Without SELinux labels mean nothing, and none are set with it. */
		return 0;
	} else {
		return err_set(err, -EINVAL, "security_opt: '%s' is not supported; known are no-new-privileges, seccomp, apparmor, systempaths=unconfined, "
			"label=disable", text);
	}
	return 0;
}

static int bundle_security(const Service *svc, SecurityOptions *ret, Err *err)
{
	*ret = (SecurityOptions) { .no_new_privileges = -1 };
	int r = 0;
	for (size_t i = 0; r == 0 && svc->security_opt && svc->security_opt[i]; i++)
		r = security_option(svc->security_opt[i], ret, err);
	return r;
}

static int capabilities(const Service *svc, uint64_t *ret, char ***warnings, Err *err)
{
	uint64_t own = caps_own();
	int r = caps_apply(caps_default(), svc->cap_add, svc->cap_drop, ret, err);
	if (r < 0)
		return r;
	if (svc->privileged)
		*ret = ~0ULL;
	for (size_t i = 0; !svc->privileged && warnings && svc->cap_add && svc->cap_add[i]; i++) {
		int n = cap_parse(svc->cap_add[i]);
		if (n >= 0 && !(own & (1ULL << n)))
			strv_take(warnings, xasprintf("cap_add: %s is left out, the daemon itself does not have it", svc->cap_add[i]));
	}
	*ret &= own;
	return 0;
}

/* ── process ──────────────────────────────────────────────────────── */

static json_t *capabilities_json(uint64_t caps, bool root)
{
	json_t *list = caps_to_json(caps);
	json_t *o = json_object();
	(void) json_object_set(o, "bounding", list);
	/* What execve(2) gives a user other than root: nothing but the bound. */
	(void) json_object_set_new(o, "effective", root ? json_incref(list) : json_array());
	(void) json_object_set_new(o, "permitted", root ? json_incref(list) : json_array());
	json_decref(list);
	return o;
}

static json_t *user_json(const User *u)
{
	json_t *groups = json_array();
	for (size_t i = 0; i < u->n_groups; i++)
		(void) json_array_append_new(groups, json_integer(u->groups[i]));
	return json_pack("{s:I, s:I, s:o}", "uid", (json_int_t) u->uid, "gid", (json_int_t) u->gid, "additionalGids", groups);
}

/* The working directory, made (as root) if the image has none there. */
static int make_cwd(const ContainerPaths *p, const char *cwd, Err *err)
{
	if (cwd[0] != '/')
		return err_set(err, -EINVAL, "working_dir: '%s' is not an absolute path", cwd);
	if (str_eq(cwd, "/proc") || str_starts(cwd, "/proc/"))
		return err_set(err, -EINVAL, "working_dir: '%s' is in /proc, where descriptors of the host could be reached", cwd);
	AUTO_CLOSE int root = open(p->rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_errno(err, -errno, "open %s", p->rootfs);
	AUTO_CLOSE int whole = open_in_root(root, cwd, O_PATH | O_DIRECTORY, 0);
	if (whole >= 0)
		return 0;
	AUTO_FREE char *path = xstrdup(cwd);
	for (char *s = path + 1; *s; s++) {
		s += strcspn(s, "/");
		char c = *s, *slash;
		*s = '\0';
		AUTO_CLOSE int there = open_in_root(root, path, O_PATH | O_DIRECTORY, 0);
		if (there < 0) {
			slash = strrchr(path, '/');
			AUTO_FREE char *parent = xstrndup(path, slash == path ? 1 : (size_t) (slash - path));
			AUTO_CLOSE int dir = open_in_root(root, parent, O_RDONLY | O_DIRECTORY, 0);
			if (dir < 0 || mkdirat(dir, slash + 1, 0755) < 0)
				return err_errno(err, -errno, "working_dir: make '%s' in the container", path);
		}
		*s = c;
		if (!c)
			break;
	}
	return 0;
}

typedef struct Process {
	User user;
	uint64_t caps;
	SecurityOptions security;
	bool home_derived; /* HOME is the user's, nobody has set it */
	json_t *json;
} Process;

static void process_done(Process *p)
{
	user_done(&p->user);
	json_decref(p->json);
}

static int process_fill(const BundleSpec *s, Process *p, char ***warnings, Err *err)
{
	const Service *svc = s->service;
	const char *cwd = !str_empty(svc->working_dir) ? svc->working_dir : !str_empty(s->image->config.working_dir) ? s->image->config.working_dir : "/";
	int r = make_cwd(s->paths, cwd, err);
	json_t *rlimits = NULL;
	if (r == 0)
		r = bundle_rlimits(svc, &rlimits, warnings, err);
	if (r < 0)
		return r;
	AUTO_STRV char **env = process_env(svc, s->image, s->hostname, NULL);
	p->home_derived = !strv_env(env, "HOME");
	if (p->home_derived)
		strv_setenv(&env, "HOME", p->user.home);
	bool root = p->user.uid == 0;
	int nnp = p->security.no_new_privileges >= 0 ? p->security.no_new_privileges : !root && !svc->privileged;
	json_t *o = json_pack("{s:o, s:o, s:s, s:o, s:b, s:b, s:i}", "user", user_json(&p->user), "env", strv_json(env), "cwd", cwd, "capabilities",
		capabilities_json(p->caps, root), "noNewPrivileges", nnp, "terminal", svc->tty ? 1 : 0, "oomScoreAdj", svc->oom_score_adj);
	if (json_array_size(rlimits))
		(void) json_object_set(o, "rlimits", rlimits);
	json_decref(rlimits);
	if (p->security.apparmor && !svc->privileged)
		(void) json_object_set_new(o, "apparmorProfile", json_string(p->security.apparmor));
	p->json = o;
	return o ? 0 : err_set(err, -EINVAL, "environment, working_dir or user is not UTF-8");
}

static int args_json(const BundleSpec *s, json_t **ret, Err *err)
{
	AUTO_STRV char **args = process_args(s->service, s->image);
	if (strv_len(args) == 0 || str_empty(args[0]))
		return err_set(err, -EINVAL, "command: neither the service nor the image says what to run; set command or entrypoint");
	json_t *a = strv_json(args);
	if (s->service->init == 1) {
		(void) json_array_insert_new(a, 0, json_string("--"));
		(void) json_array_insert_new(a, 0, json_string("/dev/init"));
	}
	*ret = a;
	return 0;
}

/* ── linux ────────────────────────────────────────────────────────── */

static void add_namespace(json_t *list, const char *type, const char *path)
{
	json_t *o = json_pack("{s:s}", "type", type);
	if (path)
		(void) json_object_set_new(o, "path", json_string(path));
	(void) json_array_append_new(list, o);
}

static json_t *namespaces(const BundleSpec *s)
{
	json_t *list = json_array();
	add_namespace(list, "mount", NULL);
	if (!str_eq(s->pidns, "host"))
		add_namespace(list, "pid", s->pidns);
	if (!str_eq(s->ipcns, "host"))
		add_namespace(list, "ipc", s->ipcns);
	if (s->hostname)
		add_namespace(list, "uts", NULL);
	if (s->netns)
		add_namespace(list, "network", s->netns);
	if (s->runtime->cgroup_mode == CGROUP_V2 && !s->service->privileged)
		add_namespace(list, "cgroup", NULL);
	return list;
}

static json_t *string_list(const char *const *v, size_t n)
{
	json_t *a = json_array();
	for (size_t i = 0; i < n; i++)
		(void) json_array_append_new(a, json_string(v[i]));
	return a;
}

static void hide_paths(json_t *linux_json)
{
	static const char *const masked[] = { "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware" };
	static const char *const fixed[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" };
	(void) json_object_set_new(linux_json, "maskedPaths", string_list(masked, ARRAY_SIZE(masked)));
	(void) json_object_set_new(linux_json, "readonlyPaths", string_list(fixed, ARRAY_SIZE(fixed)));
}

static int linux_fill(const BundleSpec *s, const Process *p, json_t **ret, Err *err)
{
	const Service *svc = s->service;
	json_t *devices = NULL, *rules = NULL, *sysctls = NULL, *resources = json_object();
	int r = bundle_devices(svc, &devices, &rules, err);
	if (r == 0)
		r = bundle_sysctls(svc, s, &sysctls, err);
	if (r == 0)
		r = bundle_resources(s->runtime, svc, resources, err);
	if (r < 0) {
		json_decref(devices);
		json_decref(rules);
		json_decref(sysctls);
		json_decref(resources);
		return r;
	}
	(void) json_object_set_new(resources, "devices", rules);
	json_t *o = json_pack("{s:s, s:o, s:o, s:o, s:o}", "cgroupsPath", s->paths->cgroup, "namespaces", namespaces(s), "resources", resources,
		"devices", devices, "sysctl", sysctls);
	const char *propagation = NULL;
	for (size_t i = 0; i < s->n_mounts; i++)
		if (s->mounts[i].propagation && strstr(s->mounts[i].propagation, "shared"))
			propagation = "shared";
		else if (!propagation && s->mounts[i].propagation && strstr(s->mounts[i].propagation, "slave"))
			propagation = "rslave";
	if (propagation)
		(void) json_object_set_new(o, "rootfsPropagation", json_string(propagation));
	if (!svc->privileged && !p->security.system_paths)
		hide_paths(o);
	*ret = o;
	return 0;
}

/* ── writing ──────────────────────────────────────────────────────── */

static int write_file(const ContainerPaths *p, const char *name, const Buf *b, Err *err)
{
	AUTO_FREE char *path = xasprintf("%s/%s", p->bundle, name);
	int r = file_write(AT_FDCWD, path, b->data, b->len, 0600);
	return r < 0 ? err_errno(err, r, "write %s", path) : 0;
}

/* The pattern has unescaped quotes, so that no string value can contain it. */
int bundle_print_open(const json_t *o, Buf *b)
{
	static const char *const keys[] = { "\"soft\":", "\"hard\":" };
	AUTO_FREE char *text = json_dumps(o, JSON_COMPACT);
	if (!text)
		return -EINVAL;
	text[strlen(text) - 1] = '\0';
	for (char *p = text; *p;) {
		char *next = strstr(p, ":\"" BUNDLE_UNLIMITED "\"");
		if (!next || next - p < 6) {
			buf_str(b, p);
			break;
		}
		next++;
		buf_append(b, p, (size_t) (next - p));
		bool limit = strncmp(next - 7, keys[0], 7) == 0 || strncmp(next - 7, keys[1], 7) == 0;
		size_t n = strlen("\"" BUNDLE_UNLIMITED "\"");
		if (limit)
			buf_str(b, "18446744073709551615");
		else
			buf_append(b, next, n);
		p = next + n;
	}
	return 0;
}

/*
 * The last member of linux, with its closing brace. A compiled filter goes into crun's annotation; the profile beside it
 * then refuses everything, so that nothing runs unfiltered should the annotation not be heeded.
 */
static int print_seccomp(const BundleSpec *s, const Process *p, Buf *b, Err *err)
{
	AUTO_BUF profile = BUF_INIT, filter = BUF_INIT;
	int r = p->security.seccomp ? seccomp_from_file(p->security.seccomp, p->caps, &profile, err) : 0;
	if (r < 0)
		return r;
	if (!p->security.seccomp)
		seccomp_default(p->caps, &profile);
	if (s->runtime->compiled_seccomp && seccomp_compile(s->runtime, buf_cstr(&profile), &filter) == 0)
		buf_printf(b, ",\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ERRNO\"}},\"annotations\":{\"run.oci.seccomp_bpf_data\":\"%s\"}",
			buf_cstr(&filter));
	else
		buf_printf(b, ",\"seccomp\":%s}", buf_cstr(&profile));
	return 0;
}

static int write_config(const BundleSpec *s, const Process *p, const json_t *root, const json_t *linux_json, Err *err)
{
	AUTO_BUF b = BUF_INIT;
	if (bundle_print_open(root, &b) < 0)
		return err_set(err, -EINVAL, "a value of the service is not UTF-8");
	buf_str(&b, ",\"linux\":");
	if (bundle_print_open(linux_json, &b) < 0)
		return err_set(err, -EINVAL, "a value of the service is not UTF-8");
	if (!s->service->privileged && !p->security.seccomp_off) {
		int r = print_seccomp(s, p, &b, err);
		if (r < 0)
			return r;
	} else {
		buf_char(&b, '}');
	}
	buf_char(&b, '}');
	return write_file(s->paths, "config.json", &b, err);
}

/* With what the specification has no place for: whether HOME is only derived from the user, and whether a filter is loaded. */
static int write_process(const BundleSpec *s, const Process *p, Err *err)
{
	AUTO_BUF b = BUF_INIT;
	json_t *o = json_copy(p->json);
	(void) json_object_set_new(o, "homeDerived", json_boolean(p->home_derived));
	(void) json_object_set_new(o, "filtered", json_boolean(!s->service->privileged && !p->security.seccomp_off));
	AUTO_FREE char *text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	if (!text)
		return err_set(err, -EINVAL, "a value of the service is not UTF-8");
	buf_str(&b, text);
	return write_file(s->paths, "process.json", &b, err);
}

int bundle_write(const BundleSpec *s, char ***warnings, Err *err)
{
	__attribute__((cleanup(process_done))) Process p = { .json = NULL };
	const Service *svc = s->service;
	const char *user = !str_empty(svc->user) ? svc->user : s->image->config.user;
	json_t *args = NULL, *mounts = NULL, *linux_json = NULL;
	int r = bundle_security(svc, &p.security, err);
	if (r == 0)
		r = capabilities(svc, &p.caps, warnings, err);
	if (r == 0)
		r = user_resolve(s->paths->rootfs, user, svc->group_add, &p.user, err);
	if (r == 0)
		r = process_fill(s, &p, warnings, err);
	if (r == 0)
		r = write_process(s, &p, err);
	if (r == 0)
		r = args_json(s, &args, err);
	if (r == 0)
		r = bundle_mounts(s, &mounts, err);
	if (r == 0)
		r = linux_fill(s, &p, &linux_json, err);
	if (r == 0) {
		(void) json_object_set(p.json, "args", args);
		json_t *root = json_pack("{s:s, s:O, s:{s:s, s:b}, s:O}", "ociVersion", "1.0.2", "process", p.json, "root", "path", s->paths->rootfs,
			"readonly", svc->read_only ? 1 : 0, "mounts", mounts);
		if (s->hostname)
			(void) json_object_set_new(root, "hostname", json_string(s->hostname));
		r = write_config(s, &p, root, linux_json, err);
		json_decref(root);
	}
	json_decref(args);
	json_decref(mounts);
	json_decref(linux_json);
	return r;
}

int bundle_file_write(const ContainerPaths *p, const char *name, const void *content, size_t n, uid_t uid, gid_t gid, mode_t mode,
	char **ret_path, Err *err)
{
	AUTO_FREE char *path = xasprintf("%s/%s", p->files, name);
	/* Written in place: a running container has this file's inode mounted. */
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_errno(err, -errno, "write %s", path);
	int r = fd_write_all(fd, content, n);
	if (r == 0 && (uid != 0 || gid != 0) && fchown(fd, uid, gid) < 0)
		r = -errno;
	if (r == 0 && fchmod(fd, mode) < 0)
		r = -errno;
	if (r < 0)
		return err_errno(err, r, "write %s", path);
	if (ret_path)
		*ret_path = steal_ptr(&path);
	return 0;
}

/* ── refusing early ───────────────────────────────────────────────── */

static int check_platform(const Service *svc, Err *err)
{
	if (str_empty(svc->platform))
		return 0;
	struct utsname u;
	(void) uname(&u);
	const char *own = machine_architecture(u.machine);
	const char *arch = str_starts(svc->platform, "linux/") ? svc->platform + 6 : svc->platform;
	size_t n = strcspn(arch, "/");
	bool native = strlen(own) == n && strncmp(arch, own, n) == 0;
	/* 64-bit kernels run the 32-bit programs of their own family. */
	bool compatible = (str_eq(own, "amd64") && str_eq(arch, "386")) || (str_eq(own, "arm64") && strncmp(arch, "arm/", 4) == 0);
	if (native || compatible)
		return 0;
	AUTO_FREE char *handler = xasprintf("/proc/sys/fs/binfmt_misc/qemu-%s", strncmp(arch, "arm64", 5) == 0 ? "aarch64" :
		strncmp(arch, "amd64", 5) == 0 ? "x86_64" : strncmp(arch, "arm", 3) == 0 ? "arm" : "unknown");
	if (access(handler, F_OK) == 0)
		return 0;
	return err_set(err, -ENOTSUP, "platform: this machine is linux/%s and cannot run %s; install qemu-user-static, or remove the key", own,
		svc->platform);
}

int bundle_check(const Runtime *rt, const Service *svc, Err *err)
{
	uint64_t caps;
	SecurityOptions security;
	json_t *resources = json_object(), *rlimits = NULL, *devices = NULL, *rules = NULL;
	int r = check_platform(svc, err);
	if (r == 0)
		r = capabilities(svc, &caps, NULL, err);
	if (r == 0)
		r = bundle_security(svc, &security, err);
	if (r == 0 && security.seccomp) {
		AUTO_BUF b = BUF_INIT;
		r = seccomp_from_file(security.seccomp, caps, &b, err);
	}
	if (r == 0)
		r = bundle_resources(rt, svc, resources, err);
	if (r == 0)
		r = bundle_rlimits(svc, &rlimits, NULL, err);
	if (r == 0)
		r = bundle_devices(svc, &devices, &rules, err);
	if (r == 0 && svc->stop_signal && signal_parse(svc->stop_signal) < 0)
		r = err_set(err, -EINVAL, "stop_signal: unknown signal '%s'; signal(7) has the list", svc->stop_signal);
	for (size_t i = 0; r == 0 && svc->sysctls && svc->sysctls[i]; i++)
		r = bundle_sysctl_check(svc->sysctls[i], !str_eq(svc->network_mode, "host"), !str_eq(svc->ipc, "host"), !str_eq(svc->uts, "host"), err);
	for (size_t i = 0; r == 0 && svc->tmpfs && svc->tmpfs[i]; i++) {
		AUTO_FREE char *target = NULL;
		json_t *options = NULL;
		r = bundle_tmpfs(svc->tmpfs[i], &target, &options, err);
		json_decref(options);
	}
	for (size_t i = 0; r == 0 && i < svc->n_mounts; i++)
		r = bundle_propagation_check(rt, svc->mounts[i].propagation, err);
	json_decref(resources);
	json_decref(rlimits);
	json_decref(devices);
	json_decref(rules);
	return r;
}
