// SPDX-License-Identifier: Apache-2.0
#include "model/names.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <signal.h>

#include "base/mem.h"
#include "base/str.h"
#include "model/nearest.h"
#include "model/stack.h"

const char *const capability_names[] = {
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
	"LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
	"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
	"SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
	"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
	"CHECKPOINT_RESTORE", NULL,
};

const char *const ulimit_names[] = {
	"as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss",
	"rtprio", "rttime", "sigpending", "stack", NULL,
};

bool word_in(const char *const *list, const char *word)
{
	for (; *list; list++)
		if (str_eq(*list, word))
			return true;
	return false;
}

const char *word_nearest(const char *const *list, const char *word)
{
	unsigned best = edit_distance_allowed(word) + 1;
	const char *found = NULL;
	for (; *list; list++) {
		unsigned d = edit_distance(word, *list, best - 1);
		if (d < best) {
			best = d;
			found = *list;
		}
	}
	return found;
}

int signal_number(const char *name)
{
	uint32_t n;
	if (parse_u32_max(name, 64, &n) == 0)
		return n ? (int) n : -EINVAL;
	if (str_starts(name, "SIG"))
		name += 3;
	if (str_starts(name, "RTMIN+") && parse_u32_max(name + 6, 30, &n) == 0)
		return SIGRTMIN + (int) n;
	if (str_starts(name, "RTMAX-") && parse_u32_max(name + 6, 30, &n) == 0)
		return SIGRTMAX - (int) n;
	if (str_eq(name, "RTMIN"))
		return SIGRTMIN;
	if (str_eq(name, "RTMAX"))
		return SIGRTMAX;
	for (int i = 1; i < 32; i++)
		if (str_eq(sigabbrev_np(i), name))
			return i;
	return -EINVAL;
}

bool sysctl_allowed(const char *name)
{
	static const char *const prefixes[] = { "net.", "kernel.shm", "kernel.msg", "fs.mqueue." };
	for (const char *p = name; *p; p++)
		if (!isalnum((unsigned char) *p) && !strchr("._-/", *p))
			return false;
	if (strstr(name, "..") || strstr(name, "//"))
		return false;
	if (str_eq(name, "kernel.sem"))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (str_starts(name, prefixes[i]))
			return true;
	return false;
}

int address_family(const char *s)
{
	unsigned char raw[16];
	if (inet_pton(AF_INET, s, raw) == 1)
		return AF_INET;
	return inet_pton(AF_INET6, s, raw) == 1 ? AF_INET6 : 0;
}

/* Splits "ADDRESS/PREFIX" into raw bytes; gives the family or 0. */
static int parse_cidr(const char *s, unsigned char raw[16], uint32_t *ret_prefix)
{
	const char *slash = strchr(s, '/');
	if (!slash || (size_t) (slash - s) >= INET6_ADDRSTRLEN)
		return 0;
	char address[INET6_ADDRSTRLEN];
	memcpy(address, s, (size_t) (slash - s));
	address[slash - s] = '\0';
	int family = address_family(address);
	if (!family || parse_u32_max(slash + 1, family == AF_INET ? 32 : 128, ret_prefix) < 0)
		return 0;
	(void) inet_pton(family, address, raw);
	return family;
}

int subnet_family(const char *s, int *ret_prefix)
{
	unsigned char raw[16];
	uint32_t prefix;
	int family = parse_cidr(s, raw, &prefix);
	if (family && ret_prefix)
		*ret_prefix = (int) prefix;
	return family;
}

bool subnet_contains(const char *subnet, const char *address)
{
	unsigned char net[16], host[16];
	uint32_t prefix;
	int family = parse_cidr(subnet, net, &prefix);
	if (!family || inet_pton(family, address, host) != 1)
		return false;
	for (uint32_t bit = 0; bit < prefix; bit++)
		if ((net[bit / 8] ^ host[bit / 8]) >> (7 - bit % 8) & 1)
			return false;
	return true;
}

bool mac_valid(const char *s)
{
	if (strlen(s) != 17)
		return false;
	for (int i = 0; i < 17; i++)
		if (i % 3 == 2 ? s[i] != ':' : !isxdigit((unsigned char) s[i]))
			return false;
	return true;
}

static bool label_valid(const char *s, size_t n)
{
	if (!n || n > 63 || s[0] == '-' || s[n - 1] == '-')
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isascii(s[i]) || (!isalnum((unsigned char) s[i]) && s[i] != '-'))
			return false;
	return true;
}

bool host_name_valid(const char *s)
{
	if (strlen(s) > 253)
		return false;
	for (;; s++) {
		size_t n = strcspn(s, ".");
		if (!label_valid(s, n))
			return false;
		s += n;
		if (!*s)
			return true;
	}
}

/* One character of a path or query; its length, 0 for one that has to be encoded. */
static size_t url_char(const char *s, const char *more)
{
	if (*s == '%')
		return isxdigit((unsigned char) s[1]) && isxdigit((unsigned char) s[2]) ? 3 : 0;
	if (!*s || !isascii(*s))
		return 0;
	return isalnum((unsigned char) *s) || strchr("-._~!$&()*+,;=:@", *s) || strchr(more, *s) ? 1 : 0;
}

/* One segment; its length, -1 if it cannot be one. A browser takes "%2e" for a dot, too. */
static ptrdiff_t url_segment(const char *s)
{
	size_t len = 0, chars = 0, dots = 0;
	while (s[len] && s[len] != '/' && s[len] != '?') {
		size_t n = url_char(s + len, "");
		if (!n)
			return -1;
		chars++;
		dots += s[len] == '.' || (n == 3 && s[len + 1] == '2' && (s[len + 2] | 0x20) == 'e');
		len += n;
	}
	return chars && chars == dots && chars <= 2 ? -1 : (ptrdiff_t) len;
}

/* The end of the path at the start of s, or NULL. */
static const char *url_path_end(const char *s)
{
	if (*s != '/')
		return NULL;
	while (*s == '/') {
		ptrdiff_t n = url_segment(++s);
		if (n < 0 || (!n && *s == '/'))
			return NULL;
		s += n;
	}
	return s;
}

bool url_path_valid(const char *s)
{
	const char *end = url_path_end(s);
	return end && !*end;
}

bool url_request_valid(const char *s)
{
	s = url_path_end(s);
	if (!s || (*s && *s != '?'))
		return false;
	for (size_t n = *s != '\0'; *s; s += n, n = *s ? url_char(s, "/?") : 0)
		if (!n)
			return false;
	return true;
}

bool url_valid(const char *s, const char *const *schemes)
{
	const char *rest = NULL, *at;
	for (const char *p = s; *p; p++)
		if (*p <= ' ' || *p > '~' || strchr("\"'\\<>{}|^`", *p))
			return false;
	for (; *schemes && !rest; schemes++)
		if (str_starts(s, *schemes) && str_starts(s + strlen(*schemes), "://"))
			rest = s + strlen(*schemes) + 3;
	if (!rest)
		return false;
	AUTO_FREE char *authority = xstrndup(rest, strcspn(rest, "/?#"));
	at = strrchr(authority, '@');
	char *host = authority + (at ? at + 1 - authority : 0), *port = strrchr(host, ':');
	uint32_t n;
	if (*host == '[') {
		char *close = strchr(host, ']');
		if (!close || (close[1] && close[1] != ':'))
			return false;
		port = close[1] ? close + 1 : NULL;
		*close = '\0';
		if (address_family(host + 1) != AF_INET6)
			return false;
	} else {
		if (port)
			*port = '\0';
		if (!host_name_valid(host))
			return false;
	}
	return !port || (parse_u32_max(port + 1, 65535, &n) == 0 && n);
}

bool stack_name_valid(const char *name)
{
	if (!name || strlen(name) > 63 || !(islower((unsigned char) *name) || isdigit((unsigned char) *name)))
		return false;
	return name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-")] == '\0';
}

bool object_name_valid(const char *name)
{
	if (!name || strlen(name) > 128 || !isalnum((unsigned char) *name))
		return false;
	for (; *name; name++)
		if (!isalnum((unsigned char) *name) && !strchr("_.-", *name))
			return false;
	return true;
}
