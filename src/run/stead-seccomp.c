// SPDX-License-Identifier: Apache-2.0
/*
 * Compiles a seccomp profile (linux.seccomp of the OCI runtime specification, JSON on standard input) to the
 * kernel's filter program, base64 on standard output. crun compiles the profile anew for each container, which
 * is a third of what a start costs; it also takes a compiled one. A process of its own, run once per profile, so that the
 * daemon does not carry libseccomp.
 *
 * Every number here comes from libseccomp, as in the runtime: names that it does not know are skipped, an unknown
 * action or operator is an error.
 */

#include <errno.h>
#include <jansson.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"

#define ARGS_MAX 6
#define FILTER_MAX (1U << 20)

static int fail(const char *what, const char *detail)
{
	fprintf(stderr, "stead-seccomp: %s%s%s\n", what, detail ? ": " : "", detail ? detail : "");
	return -1;
}

static int action_of(const char *name, unsigned error, uint32_t *ret)
{
	static const struct {
		const char *name;
		uint32_t action;
	} actions[] = { { "SCMP_ACT_ALLOW", SCMP_ACT_ALLOW }, { "SCMP_ACT_KILL", SCMP_ACT_KILL },
		{ "SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS }, { "SCMP_ACT_TRAP", SCMP_ACT_TRAP }, { "SCMP_ACT_LOG", SCMP_ACT_LOG } };
	if (str_eq(name, "SCMP_ACT_ERRNO")) {
		*ret = SCMP_ACT_ERRNO(error);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
		if (str_eq(name, actions[i].name)) {
			*ret = actions[i].action;
			return 0;
		}
	return fail("unknown action", name);
}

static unsigned error_of(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);
	return json_is_integer(v) ? (unsigned) json_integer_value(v) : EPERM;
}

static int compare_of(const char *name, enum scmp_compare *ret)
{
	static const struct {
		const char *name;
		enum scmp_compare op;
	} ops[] = { { "SCMP_CMP_NE", SCMP_CMP_NE }, { "SCMP_CMP_LT", SCMP_CMP_LT }, { "SCMP_CMP_LE", SCMP_CMP_LE },
		{ "SCMP_CMP_EQ", SCMP_CMP_EQ }, { "SCMP_CMP_GE", SCMP_CMP_GE }, { "SCMP_CMP_GT", SCMP_CMP_GT },
		{ "SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ } };
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
		if (str_eq(name, ops[i].name)) {
			*ret = ops[i].op;
			return 0;
		}
	return fail("unknown operator", name);
}

static int read_args(const json_t *list, struct scmp_arg_cmp args[ARGS_MAX], unsigned *ret_n)
{
	size_t i;
	json_t *item;
	*ret_n = 0;
	if (json_array_size(list) > ARGS_MAX)
		return fail("too many arguments", NULL);
	json_array_foreach((json_t *) list, i, item) {
		struct scmp_arg_cmp *a = &args[(*ret_n)++];
		a->arg = (unsigned) json_integer_value(json_object_get(item, "index"));
		a->datum_a = (scmp_datum_t) json_integer_value(json_object_get(item, "value"));
		a->datum_b = (scmp_datum_t) json_integer_value(json_object_get(item, "valueTwo"));
		if (a->arg >= ARGS_MAX || compare_of(json_string_value(json_object_get(item, "op")), &a->op) < 0)
			return -1;
	}
	return 0;
}

static int add_rule(scmp_filter_ctx ctx, const json_t *rule, uint32_t default_action)
{
	struct scmp_arg_cmp args[ARGS_MAX];
	unsigned n;
	uint32_t action;
	size_t i;
	json_t *name;
	if (action_of(json_string_value(json_object_get(rule, "action")), error_of(rule, "errnoRet"), &action) < 0 ||
		read_args(json_object_get(rule, "args"), args, &n) < 0)
		return -1;
	if (action == default_action)
		return 0;
	json_array_foreach(json_object_get(rule, "names"), i, name) {
		int number = seccomp_syscall_resolve_name(json_string_value(name));
		if (number == __NR_SCMP_ERROR)
			continue;
		int r = seccomp_rule_add_array(ctx, action, number, n, args);
		if (r < 0 && r != -EEXIST)
			return fail("rule", json_string_value(name));
	}
	return 0;
}

static int build(scmp_filter_ctx ctx, const json_t *profile, uint32_t default_action)
{
	size_t i;
	json_t *item;
	json_array_foreach(json_object_get(profile, "architectures"), i, item) {
		const char *name = json_string_value(item);
		AUTO_FREE char *lower = xstrdup(name && str_starts(name, "SCMP_ARCH_") ? name + 10 : "");
		for (char *p = lower; *p; p++)
			*p = (char) (*p >= 'A' && *p <= 'Z' ? *p | 0x20 : *p);
		uint32_t arch = seccomp_arch_resolve_name(lower);
		int r = arch ? seccomp_arch_add(ctx, arch) : -EINVAL;
		if (r < 0 && r != -EEXIST)
			return fail("architecture", name);
	}
	/* A binary tree instead of a list: a call is judged in some ten steps instead of hundreds. */
	(void) seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	json_array_foreach(json_object_get(profile, "syscalls"), i, item)
		if (add_rule(ctx, item, default_action) < 0)
			return -1;
	return 0;
}

static void base64(const uint8_t *p, size_t n, Buf *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t) p[i] << 16 | (i + 1 < n ? (uint32_t) p[i + 1] << 8 : 0) | (i + 2 < n ? p[i + 2] : 0);
		buf_char(out, digits[v >> 18]);
		buf_char(out, digits[v >> 12 & 63]);
		buf_char(out, i + 1 < n ? digits[v >> 6 & 63] : '=');
		buf_char(out, i + 2 < n ? digits[v & 63] : '=');
	}
}

static int export(scmp_filter_ctx ctx)
{
	AUTO_BUF program = BUF_INIT;
	AUTO_BUF text = BUF_INIT;
	AUTO_CLOSE int fd = memfd_create("filter", MFD_CLOEXEC);
	if (fd < 0 || seccomp_export_bpf(ctx, fd) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return fail("the filter could not be made", NULL);
	AUTO_FREE char *path = xasprintf("/proc/self/fd/%d", fd);
	if (file_read(-1, path, FILTER_MAX, &program) < 0 || !program.len)
		return fail("the filter could not be read", NULL);
	base64((const uint8_t *) program.data, program.len, &text);
	return fd_write_all(STDOUT_FILENO, text.data, text.len);
}

int main(void)
{
	json_error_t why;
	uint32_t default_action;
	json_t *profile = json_loadf(stdin, JSON_REJECT_DUPLICATES, &why);
	if (!profile)
		return fail("not JSON", why.text) ? 1 : 0;
	int r = action_of(json_string_value(json_object_get(profile, "defaultAction")), error_of(profile, "defaultErrnoRet"), &default_action);
	scmp_filter_ctx ctx = r < 0 ? NULL : seccomp_init(default_action);
	if (ctx)
		r = build(ctx, profile, default_action) < 0 || export(ctx) < 0 ? -1 : 0;
	else
		r = -1;
	seccomp_release(ctx);
	json_decref(profile);
	return r < 0 ? 1 : 0;
}
