// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "run/bundle.h"

#define V(...) ((char **) (const char *[]) { __VA_ARGS__, NULL })
#define S(s) ((char *) (s))

static char dir[64];
static ContainerPaths paths;
static Runtime rt;
static Image img = { .config = { .cmd = V("true") } };

static int setup(void **state)
{
	(void) state;
	strncpy(dir, "/tmp/stead-bundle-XXXXXX", sizeof(dir) - 1);
	assert_non_null(mkdtemp(dir));
	rt = (Runtime) { .name = S("crun"), .path = S("/usr/bin/crun"), .root = dir, .run_dir = dir, .state_dir = dir, .cgroup_parent = S("/stead-t"),
		.libexec_dir = S("/libexec"), .cgroup_mode = CGROUP_V1, .controllers = ~0U };
	container_paths_init(&rt, "0123456789abcdef", &paths);
	assert_int_equal(container_dirs_make(&paths, NULL), 0);
	return 0;
}

static int teardown(void **state)
{
	(void) state;
	container_paths_done(&paths);
	return tree_remove(AT_FDCWD, dir);
}

static Service service(void)
{
	return (Service) { .name = S("s"), .mem_limit = -1, .mem_reservation = -1, .memswap_limit = -1, .cpu_shares = -1, .shm_size = -1, .init = -1 };
}

static json_t *read_json(const char *name)
{
	AUTO_FREE char *path = xasprintf("%s/%s", paths.bundle, name);
	json_error_t je;
	AUTO_BUF b = BUF_INIT;
	assert_int_equal(file_read(AT_FDCWD, path, 1 << 20, &b), 0);
	/* "Unlimited" is larger than jansson's integers. */
	for (char *big = b.data; (big = strstr(big, "18446744073709551615"));)
		memcpy(big, "                   1", 20);
	json_t *o = json_loadb(b.data, b.len, 0, &je);
	if (!o)
		fail_msg("%s: %s", path, je.text);
	return o;
}

static json_t *config_of(const Service *s, BundleSpec spec, char ***warnings)
{
	AUTO_ERR err = ERR_INIT;
	spec.runtime = &rt;
	spec.paths = &paths;
	spec.service = s;
	spec.image = &img;
	if (bundle_write(&spec, warnings, &err) < 0)
		fail_msg("%s", err_text(&err));
	return read_json("config.json");
}

/* The value at "a.b.0.c", printed. */
static char *at(json_t *o, const char *path)
{
	AUTO_FREE char *copy = xstrdup(path);
	json_t *v = o;
	for (char *save = NULL, *k = strtok_r(copy, ".", &save); k; k = strtok_r(NULL, ".", &save))
		v = json_is_array(v) ? json_array_get(v, strtoul(k, NULL, 10)) : json_object_get(v, k);
	return v ? json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT) : xstrdup("absent");
}

static void assert_at(json_t *o, const char *path, const char *expected)
{
	AUTO_FREE char *is = at(o, path);
	if (!str_eq(is, expected))
		fail_msg("%s: %s instead of %s", path, is, expected);
}

static json_t *mount_at(json_t *o, const char *target)
{
	size_t i;
	json_t *m, *found = NULL;
	json_array_foreach(json_object_get(o, "mounts"), i, m)
		if (str_eq(json_string_value(json_object_get(m, "destination")), target)) {
			assert_null(found);
			found = m;
		}
	return found;
}

static void test_defaults(void **state)
{
	(void) state;
	Service s = service();
	json_t *o = config_of(&s, (BundleSpec) { .hostname = "box", .netns = "/run/netns/x" }, NULL);
	assert_at(o, "process.args", "[\"true\"]");
	assert_at(o, "process.cwd", "\"/\"");
	assert_at(o, "process.noNewPrivileges", "false");
	assert_at(o, "process.capabilities.bounding.0", "\"CAP_CHOWN\"");
	assert_at(o, "process.capabilities.inheritable", "absent");
	assert_at(o, "hostname", "\"box\"");
	assert_at(o, "linux.cgroupsPath", "\"/stead-t/0123456789abcdef\"");
	assert_at(o, "linux.resources.pids.limit", "1024");
	assert_at(o, "linux.resources.memory", "absent");
	assert_at(o, "linux.resources.devices", "[{\"allow\":false,\"access\":\"rwm\"}]");
	assert_at(o, "linux.maskedPaths.3", "\"/proc/kcore\"");
	assert_at(o, "linux.seccomp.defaultErrnoRet", "38");
	assert_at(o, "annotations", "absent");
	assert_at(mount_at(o, "/dev/shm"), "options.4", "\"size=67108864\"");
	assert_at(mount_at(o, "/sys"), "options.3", "\"ro\"");
	json_decref(o);
	o = read_json("process.json");
	assert_at(o, "args", "absent");
	assert_at(o, "homeDerived", "true");
	json_decref(o);
}

static void test_limits(void **state)
{
	(void) state;
	Service s = service();
	Ulimit u[] = { { S("nofile"), 100, 200 }, { S("core"), -1, -1 } };
	s.mem_limit = 1 << 30;
	s.mem_reservation = 1 << 20;
	s.cpus = 1.5;
	s.cpu_shares = 512;
	s.cpuset = S("0-1");
	s.pids_limit = -1;
	s.ulimits = u;
	s.n_ulimits = 2;
	s.oom_score_adj = 500;
	json_t *o = config_of(&s, (BundleSpec) { .hostname = "box" }, NULL);
	assert_at(o, "linux.resources.memory", "{\"limit\":1073741824,\"swap\":2147483648,\"reservation\":1048576}");
	assert_at(o, "linux.resources.cpu", "{\"period\":100000,\"quota\":150000,\"shares\":512,\"cpus\":\"0-1\"}");
	assert_at(o, "linux.resources.pids", "absent");
	assert_at(o, "process.oomScoreAdj", "500");
	assert_at(o, "process.rlimits.0", "{\"type\":\"RLIMIT_NOFILE\",\"soft\":100,\"hard\":200}");
	json_decref(o);
	AUTO_FREE char *path = xasprintf("%s/config.json", paths.bundle);
	AUTO_BUF b = BUF_INIT;
	assert_int_equal(file_read(AT_FDCWD, path, 1 << 20, &b), 0);
	struct rlimit core;
	(void) getrlimit(RLIMIT_CORE, &core);
	if (core.rlim_max == RLIM_INFINITY)
		assert_non_null(strstr(buf_cstr(&b), "\"soft\":18446744073709551615,\"hard\":18446744073709551615"));
}

static void test_mounts(void **state)
{
	(void) state;
	Service s = service();
	BundleMount m[] = {
		{ .type = MOUNT_BIND, .source = "/v/sub", .target = "/data/sub", .read_only = true },
		{ .type = MOUNT_BIND, .source = "/v/data", .target = "/data" },
		{ .type = MOUNT_TMPFS, .target = "/cache", .tmpfs_size = 1000, .tmpfs_mode = 0700 },
		{ .type = MOUNT_BIND, .source = "/v/shm", .target = "/dev/shm", .propagation = "rslave" },
	};
	s.tmpfs = V("/run:size=64m,mode=755,exec", "/cache");
	s.init = 1;
	s.read_only = true;
	json_t *o = config_of(&s, (BundleSpec) { .hostname = "box", .mounts = m, .n_mounts = 4, .hosts = "/f/hosts" }, NULL);
	assert_at(o, "root.readonly", "true");
	assert_at(o, "process.args", "[\"/dev/init\",\"--\",\"true\"]");
	assert_at(mount_at(o, "/dev/init"), "source", "\"/libexec/stead-init\"");
	assert_at(mount_at(o, "/data/sub"), "options", "[\"rbind\",\"rprivate\",\"ro\"]");
	assert_at(mount_at(o, "/run"), "options", "[\"nosuid\",\"nodev\",\"noexec\",\"size=67108864\",\"mode=755\",\"exec\"]");
	assert_at(mount_at(o, "/cache"), "options", "[\"nosuid\",\"nodev\",\"noexec\",\"size=1000\",\"mode=700\"]");
	assert_at(mount_at(o, "/dev/shm"), "source", "\"/v/shm\"");
	assert_at(mount_at(o, "/etc/hosts"), "source", "\"/f/hosts\"");
	assert_at(o, "linux.rootfsPropagation", "\"rslave\"");
	/* /data comes before what is inside of it. */
	size_t i, data = 0, sub = 0;
	json_t *e;
	json_array_foreach(json_object_get(o, "mounts"), i, e) {
		if (e == mount_at(o, "/data"))
			data = i;
		if (e == mount_at(o, "/data/sub"))
			sub = i;
	}
	assert_true(data < sub);
	json_decref(o);
}

static void test_namespaces_and_privileges(void **state)
{
	(void) state;
	Service s = service();
	s.privileged = true;
	json_t *o = config_of(&s, (BundleSpec) { .pidns = "host", .ipcns = "host" }, NULL);
	assert_at(o, "linux.namespaces", "[{\"type\":\"mount\"}]");
	assert_at(o, "linux.seccomp", "absent");
	assert_at(o, "linux.maskedPaths", "absent");
	assert_at(o, "hostname", "absent");
	assert_at(o, "linux.resources.devices.0", "{\"allow\":true,\"access\":\"rwm\"}");
	assert_at(mount_at(o, "/dev/shm"), "source", "\"/dev/shm\"");
	json_decref(o);
	Service u = service();
	u.user = S("1000:1000");
	u.cap_add = V("NET_ADMIN");
	u.working_dir = S("/srv/app");
	u.sysctls = V("net.core.somaxconn=1024");
	o = config_of(&u, (BundleSpec) { .hostname = "b", .domainname = "example.org", .netns = "/n", .pidns = "/proc/7/ns/pid" }, NULL);
	assert_at(o, "process.user", "{\"uid\":1000,\"gid\":1000,\"additionalGids\":[]}");
	assert_at(o, "process.noNewPrivileges", "true");
	assert_at(o, "process.capabilities.effective", "[]");
	assert_at(o, "linux.namespaces.1", "{\"type\":\"pid\",\"path\":\"/proc/7/ns/pid\"}");
	json_t *sysctl = json_object_get(json_object_get(o, "linux"), "sysctl");
	assert_string_equal(json_string_value(json_object_get(sysctl, "net.core.somaxconn")), "1024");
	assert_string_equal(json_string_value(json_object_get(sysctl, "kernel.domainname")), "example.org");
	AUTO_FREE char *made = xasprintf("%s/srv/app", paths.rootfs);
	assert_int_equal(access(made, F_OK), 0);
	json_decref(o);
}

/* Nothing that an image or a file says becomes an annotation, or leaves its string. */
static void test_hostile_values(void **state)
{
	(void) state;
	Service s = service();
	s.labels = V("run.oci.hooks.stdout=/etc/cron.d/x");
	s.environment = V("X=\"},\"annotations\":{\"run.oci.hooks.stdout\":\"/x\"}", "Y=\"soft\":\"INF\"", "Z=\n");
	json_t *o = config_of(&s, (BundleSpec) { .hostname = "box" }, NULL);
	assert_at(o, "annotations", "absent");
	size_t i;
	json_t *e;
	bool found = false;
	json_array_foreach(json_object_get(json_object_get(o, "process"), "env"), i, e)
		found = found || str_eq(json_string_value(e), "Y=\"soft\":\"INF\"");
	assert_true(found);
	json_decref(o);
}

static void test_refused(void **state)
{
	(void) state;
	Service s;
	Device dev = { S("/no/such/device"), NULL, NULL };
	Ulimit bad_limit = { S("nofile"), 5, 4 }, no_limit = { S("wings"), 1, 1 };
	Mount shared = { .type = MOUNT_BIND, .target = S("/x"), .propagation = S("rshared") };
#define REFUSED(field, value, code, text)                                                                                                                 \
	do {                                                                                                                                      \
		AUTO_ERR err = ERR_INIT;                                                                                                          \
		s = service();                                                                                                                    \
		s.field = value;                                                                                                                  \
		s.n_devices = s.devices != NULL;                                                                                                  \
		s.n_ulimits = s.ulimits != NULL;                                                                                                  \
		s.n_mounts = s.mounts != NULL;                                                                                                    \
		assert_int_equal(bundle_check(&rt, &s, &err), code);                                                                              \
		if (!strstr(err_text(&err), text))                                                                                                \
			fail_msg("'%s' lacks '%s'", err_text(&err), text);                                                                        \
	} while (0)
	REFUSED(cap_add, V("FLY"), -EINVAL, "cap_add");
	REFUSED(cap_drop, V("FLY"), -EINVAL, "cap_drop");
	REFUSED(security_opt, V("what=ever"), -EINVAL, "security_opt");
	REFUSED(security_opt, V("no-new-privileges:maybe"), -EINVAL, "no-new-privileges");
	REFUSED(security_opt, V("seccomp=/no/such/file"), -ENOENT, "seccomp");
	REFUSED(sysctls, V("kernel.hostname=x"), -EINVAL, "hostname");
	REFUSED(sysctls, V("vm.swappiness=1"), -EINVAL, "not namespaced");
	REFUSED(sysctls, V("net.a+b=1"), -EINVAL, "characters");
	REFUSED(sysctls, V("net.x=1\n2"), -EINVAL, "characters");
	REFUSED(tmpfs, V("run"), -EINVAL, "absolute");
	REFUSED(tmpfs, V("/run:wings=2"), -EINVAL, "wings");
	REFUSED(stop_signal, S("SIGNOPE"), -EINVAL, "stop_signal");
	REFUSED(devices, &dev, -ENOENT, "/no/such/device");
	REFUSED(ulimits, &bad_limit, -EINVAL, "soft limit");
	REFUSED(ulimits, &no_limit, -EINVAL, "wings");
	REFUSED(platform, S("linux/pdp11"), -ENOTSUP, "platform");
	rt.private_mounts = true;
	REFUSED(mounts, &shared, -ENOTSUP, "rshared");
	rt.private_mounts = false;
	rt.controllers = 0;
	REFUSED(mem_limit, 1 << 30, -ENOTSUP, "cgroup_enable=memory cgroup_memory=1");
	REFUSED(cpus, 0.5, -ENOTSUP, "cpus");
	REFUSED(pids_limit, 10, -ENOTSUP, "pids_limit");
	s = service();
	assert_int_equal(bundle_check(&rt, &s, NULL), 0);
	rt.controllers = ~0U;
}

static void test_refused_at_writing(void **state)
{
	(void) state;
	Service s = service();
	BundleSpec spec = { .runtime = &rt, .paths = &paths, .service = &s, .image = &img, .hostname = "box" };
	AUTO_ERR err = ERR_INIT;
	s.working_dir = S("/proc/self/fd/7");
	assert_int_equal(bundle_write(&spec, NULL, &err), -EINVAL);
	s.working_dir = S("relative");
	assert_int_equal(bundle_write(&spec, NULL, &err), -EINVAL);
	s.working_dir = NULL;
	s.user = S("nobody");
	assert_int_equal(bundle_write(&spec, NULL, &err), -ENOENT);
	s.user = NULL;
	s.entrypoint_set = true;
	assert_int_equal(bundle_write(&spec, NULL, &err), -EINVAL);
	assert_non_null(strstr(err_text(&err), "command"));
	s.entrypoint_set = false;
	static const char *const targets[] = { "relative", "/", "/proc", "/proc/sys", "/a/../b", "/a\n" };
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		BundleMount m = { .type = MOUNT_BIND, .source = "/x", .target = targets[i] };
		spec.mounts = &m;
		spec.n_mounts = 1;
		assert_int_equal(bundle_write(&spec, NULL, &err), -EINVAL);
	}
}

/* A working directory behind a link that leads out of the root is made inside. */
static void test_cwd_stays_inside(void **state)
{
	(void) state;
	Service s = service();
	AUTO_FREE char *link = xasprintf("%s/out", paths.rootfs);
	AUTO_FREE char *inside = xasprintf("%s/tmp", paths.rootfs);
	assert_int_equal(symlink("../../../../../../../tmp", link), 0);
	assert_int_equal(mkdir(inside, 0755), 0);
	s.working_dir = S("/out/stead-made-by-test");
	json_decref(config_of(&s, (BundleSpec) { .hostname = "box" }, NULL));
	assert_int_equal(access("/tmp/stead-made-by-test", F_OK), -1);
	AUTO_FREE char *made = xasprintf("%s/stead-made-by-test", inside);
	assert_int_equal(access(made, F_OK), 0);
}

static void test_file_write(void **state)
{
	(void) state;
	AUTO_FREE char *path = NULL;
	struct stat st;
	assert_int_equal(bundle_file_write(&paths, "secret-x", "abc", 3, getuid(), getgid(), 0440, &path, NULL), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0440);
	assert_int_equal(st.st_size, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_defaults), cmocka_unit_test(test_limits), cmocka_unit_test(test_mounts),
		cmocka_unit_test(test_namespaces_and_privileges), cmocka_unit_test(test_hostile_values), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_refused_at_writing), cmocka_unit_test(test_cwd_stays_inside), cmocka_unit_test(test_file_write) };
	return cmocka_run_group_tests(tests, setup, teardown);
}
