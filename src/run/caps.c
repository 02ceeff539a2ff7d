// SPDX-License-Identifier: Apache-2.0
#include "run/caps.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"

#include <fcntl.h>

/* In the order of their numbers (linux/capability.h). */
static const char *const names[] = { "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID",
	"SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
	"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE",
	"SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN",
	"SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE" };

int cap_parse(const char *s)
{
	if (strncasecmp(s, "CAP_", 4) == 0)
		s += 4;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcasecmp(s, names[i]) == 0)
			return (int) i;
	return -EINVAL;
}

uint64_t caps_default(void)
{
	static const char *const list[] = { "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETFCAP", "SETGID",
		"SETPCAP", "SETUID", "SYS_CHROOT" };
	uint64_t set = 0;
	for (size_t i = 0; i < ARRAY_SIZE(list); i++)
		set |= 1ULL << cap_parse(list[i]);
	return set;
}

uint64_t caps_own(void)
{
	static uint64_t own; /* does not change while we run */
	if (own)
		return own;
	AUTO_BUF b = BUF_INIT;
	(void) file_read(AT_FDCWD, "/proc/self/status", 64U << 10, &b);
	const char *p = strstr(buf_cstr(&b), "\nCapPrm:");
	own = p ? strtoull(p + 8, NULL, 16) : 0;
	if (!own)
		own = (1ULL << ARRAY_SIZE(names)) - 1;
	return own;
}

static int apply_list(char *const *v, const char *key, bool all_known, uint64_t *ret, Err *err)
{
	for (size_t i = 0; v && v[i]; i++) {
		if (strcasecmp(v[i], "ALL") == 0) {
			*ret |= all_known ? (1ULL << ARRAY_SIZE(names)) - 1 : 0;
			continue;
		}
		int n = cap_parse(v[i]);
		if (n < 0)
			return err_set(err, -EINVAL, "%s: unknown capability '%s'; capabilities(7) has the list", key, v[i]);
		*ret |= 1ULL << n;
	}
	return 0;
}

static bool has_all(char *const *v)
{
	for (size_t i = 0; v && v[i]; i++)
		if (strcasecmp(v[i], "ALL") == 0)
			return true;
	return false;
}

int caps_apply(uint64_t base, char *const *add, char *const *drop, uint64_t *ret, Err *err)
{
	uint64_t added = 0, dropped = 0;
	int r = apply_list(add, "cap_add", true, &added, err);
	if (r == 0)
		r = apply_list(drop, "cap_drop", false, &dropped, err);
	if (r < 0)
		return r;
	if (has_all(add))
		*ret = added & ~dropped;
	else if (has_all(drop))
		*ret = added;
	else
		*ret = (base | added) & ~dropped;
	return 0;
}

json_t *caps_to_json(uint64_t set)
{
	json_t *a = json_array();
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (set & (1ULL << i)) {
			char name[40];
			(void) snprintf(name, sizeof(name), "CAP_%s", names[i]);
			(void) json_array_append_new(a, json_string(name));
		}
	return a;
}

bool caps_have(uint64_t set, const char *name)
{
	int n = cap_parse(name);
	return n >= 0 && (set & (1ULL << n));
}
