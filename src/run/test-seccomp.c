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
#include <unistd.h>

#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "run/caps.h"
#include "run/seccomp.h"

static json_t *profile(uint64_t caps)
{
	AUTO_BUF b = BUF_INIT;
	json_error_t je;
	seccomp_default(caps, &b);
	json_t *o = json_loadb(b.data, b.len, 0, &je);
	if (!o)
		fail_msg("%s at %d", je.text, je.position);
	return o;
}

/* "ALLOW", "ERRNO n" of the rules that name `call` without arguments; "" if only with arguments or none. */
static void action_of(const json_t *o, const char *call, char dst[32])
{
	size_t i, k;
	json_t *rule, *name;
	dst[0] = '\0';
	json_array_foreach(json_object_get(o, "syscalls"), i, rule) {
		if (json_object_get(rule, "args"))
			continue;
		json_array_foreach(json_object_get(rule, "names"), k, name) {
			if (!str_eq(json_string_value(name), call))
				continue;
			assert_string_equal(dst, ""); /* one rule a call */
			const char *action = json_string_value(json_object_get(rule, "action"));
			if (str_eq(action, "SCMP_ACT_ALLOW"))
				(void) snprintf(dst, 32, "ALLOW");
			else
				(void) snprintf(dst, 32, "ERRNO %d", (int) json_integer_value(json_object_get(rule, "errnoRet")));
		}
	}
}

static void assert_action(const json_t *o, const char *call, const char *expected)
{
	char is[32];
	action_of(o, call, is);
	if (!str_eq(is, expected))
		fail_msg("%s: %s instead of %s", call, is, expected);
}

static void test_default(void **state)
{
	(void) state;
	json_t *o = profile(caps_default());
	assert_int_equal(json_integer_value(json_object_get(o, "defaultErrnoRet")), 38);
	assert_action(o, "read", "ALLOW");
	assert_action(o, "openat2", "ALLOW");
	assert_action(o, "chroot", "ALLOW"); /* comes with SYS_CHROOT */
	assert_action(o, "mount", "ERRNO 1");
	assert_action(o, "bpf", "ERRNO 1");
	assert_action(o, "keyctl", "ERRNO 1");
	assert_action(o, "io_uring_setup", "ERRNO 1");
	assert_action(o, "clone", "");
	assert_action(o, "clone3", "ERRNO 38");
	assert_action(o, "socket", "");
	assert_action(o, "syslog", "ERRNO 1");
	json_decref(o);
}

static void test_capabilities(void **state)
{
	(void) state;
	json_t *o = profile(caps_default() | 1ULL << cap_parse("SYS_ADMIN"));
	assert_action(o, "mount", "ALLOW");
	assert_action(o, "clone", "ALLOW");
	assert_action(o, "clone3", "ALLOW");
	assert_action(o, "bpf", "ALLOW");
	assert_action(o, "syslog", "ALLOW");
	assert_action(o, "reboot", "ERRNO 1");
	json_decref(o);
	o = profile(1ULL << cap_parse("BPF") | 1ULL << cap_parse("SYSLOG"));
	assert_action(o, "bpf", "ALLOW");
	assert_action(o, "syslog", "ALLOW");
	assert_action(o, "mount", "ERRNO 1");
	assert_action(o, "chroot", "ERRNO 1");
	json_decref(o);
	json_decref(profile(~0ULL));
	json_decref(profile(0));
}

/* No name twice within one set of capabilities: libseccomp takes the last, the runtimes differ. */
static void test_no_name_twice(void **state)
{
	(void) state;
	for (int cap = -1; cap < 41; cap++) {
		json_t *o = profile(cap < 0 ? 0 : 1ULL << cap);
		json_t *seen = json_object(), *rule, *name;
		size_t i, k;
		json_array_foreach(json_object_get(o, "syscalls"), i, rule) {
			if (json_object_get(rule, "args"))
				continue;
			json_array_foreach(json_object_get(rule, "names"), k, name) {
				if (json_object_get(seen, json_string_value(name)))
					fail_msg("%s twice with capability %d", json_string_value(name), cap);
				(void) json_object_set_new(seen, json_string_value(name), json_true());
			}
		}
		json_decref(seen);
		json_decref(o);
	}
}

static void test_file(void **state)
{
	(void) state;
	char path[] = "/tmp/stead-seccomp-XXXXXX";
	AUTO_CLOSE int fd = mkstemp(path);
	static const char text[] = "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"archMap\":[{\"architecture\":\"SCMP_ARCH_X86_64\",\"subArchitectures\":[\"SCMP_ARCH_X86\"]},"
				   "{\"architecture\":\"SCMP_ARCH_AARCH64\",\"subArchitectures\":[\"SCMP_ARCH_ARM\"]}],\"syscalls\":["
				   "{\"names\":[\"read\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{},\"excludes\":{},\"comment\":\"\"},"
				   "{\"names\":[\"mount\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"caps\":[\"CAP_SYS_ADMIN\"]}},"
				   "{\"names\":[\"clone\"],\"action\":\"SCMP_ACT_ALLOW\",\"excludes\":{\"caps\":[\"CAP_SYS_ADMIN\"]}}]}";
	assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
	AUTO_BUF b = BUF_INIT;
	assert_int_equal(seccomp_from_file(path, 0, &b, NULL), 0);
	json_t *o = json_loadb(b.data, b.len, 0, NULL);
	assert_action(o, "read", "ALLOW");
	assert_action(o, "mount", "");
	assert_action(o, "clone", "ALLOW");
	assert_null(json_object_get(o, "archMap"));
	json_decref(o);
	buf_clear(&b);
	assert_int_equal(seccomp_from_file(path, 1ULL << cap_parse("SYS_ADMIN"), &b, NULL), 0);
	o = json_loadb(b.data, b.len, 0, NULL);
	assert_action(o, "mount", "ALLOW");
	assert_action(o, "clone", "");
	json_decref(o);
	assert_int_equal(ftruncate(fd, 20), 0);
	AUTO_ERR err = ERR_INIT;
	assert_int_equal(seccomp_from_file(path, 0, &b, &err), -EINVAL);
	assert_non_null(strstr(err_text(&err), path));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(seccomp_from_file(path, 0, &b, &err), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_default), cmocka_unit_test(test_capabilities), cmocka_unit_test(test_no_name_twice),
		cmocka_unit_test(test_file) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
