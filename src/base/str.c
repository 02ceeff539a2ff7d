// SPDX-License-Identifier: Apache-2.0
/*
 * Numbers are parsed strictly: the whole string, no leading blank or sign unless the function says
 * so, no silent clamp. The unit tables follow docker/go-units and Go's time.ParseDuration, since
 * those define what a compose file means by "10m" or "1m30s".
 */
#include "base/str.h"

#include <errno.h>
#include <strings.h>
#include <sys/random.h>

#include "base/buf.h"
#include "base/mem.h"

bool str_eq(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

bool str_starts(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *s, const char *suffix)
{
	size_t n = strlen(s), m = strlen(suffix);
	return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

bool str_empty(const char *s)
{
	return !s || !*s;
}

bool str_has_control(const char *s)
{
	for (; *s; s++)
		if ((unsigned char) *s < 0x20 || *s == 0x7f)
			return true;
	return false;
}

/* Length of the valid UTF-8 sequence at p, 0 if there is none within n bytes. */
static size_t utf8_sequence(const unsigned char *p, size_t n)
{
	static const struct {
		unsigned char lead_min, lead_max, second_min, second_max;
		size_t len;
	} forms[] = {
		{ 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 },
		{ 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 },
		{ 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};
	if (p[0] < 0x80)
		return 1;
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		if (p[0] < forms[i].lead_min || p[0] > forms[i].lead_max)
			continue;
		if (n < forms[i].len || p[1] < forms[i].second_min || p[1] > forms[i].second_max)
			return 0;
		for (size_t k = 2; k < forms[i].len; k++)
			if ((p[k] & 0xc0) != 0x80)
				return 0;
		return forms[i].len;
	}
	return 0;
}

bool str_is_utf8(const char *s, size_t n)
{
	const unsigned char *p = (const unsigned char *) s;
	while (n) {
		size_t k = utf8_sequence(p, n);
		if (!k)
			return false;
		p += k;
		n -= k;
	}
	return true;
}

void str_set(char **dst, const char *s)
{
	char *copy = xstrdup(s);
	free(*dst);
	*dst = copy;
}

size_t strv_len(char *const *v)
{
	size_t n = 0;
	while (v && v[n])
		n++;
	return n;
}

void strv_take(char ***v, char *s)
{
	size_t n = strv_len(*v);
	*v = xreallocarray(*v, n + 2, sizeof(char *));
	(*v)[n] = s;
	(*v)[n + 1] = NULL;
}

void strv_add(char ***v, const char *s)
{
	strv_take(v, xstrdup(s));
}

bool strv_has(char *const *v, const char *s)
{
	for (; v && *v; v++)
		if (strcmp(*v, s) == 0)
			return true;
	return false;
}

char **strv_dup(char *const *v)
{
	char **out = NULL;
	for (; v && *v; v++)
		strv_add(&out, *v);
	return out;
}

bool strv_eq(char *const *a, char *const *b)
{
	size_t n = strv_len(a);
	if (n != strv_len(b))
		return false;
	for (size_t i = 0; i < n; i++)
		if (strcmp(a[i], b[i]) != 0)
			return false;
	return true;
}

void strv_free(char **v)
{
	for (char **p = v; p && *p; p++)
		free(*p);
	free(v);
}

void strv_freep(char ***v)
{
	strv_free(*v);
}

static char *const *strv_env_entry(char *const *v, const char *key)
{
	size_t n = strlen(key);
	for (; v && *v; v++)
		if (strncmp(*v, key, n) == 0 && ((*v)[n] == '=' || !(*v)[n]))
			return v;
	return NULL;
}

const char *strv_env(char *const *v, const char *key)
{
	char *const *e = strv_env_entry(v, key);
	size_t n = strlen(key);
	return e && (*e)[n] == '=' ? *e + n + 1 : NULL;
}

void strv_setenv(char ***v, const char *key, const char *value)
{
	char *pair = xasprintf("%s=%s", key, value);
	char **e = (char **) strv_env_entry(*v, key);
	if (!e) {
		strv_take(v, pair);
		return;
	}
	free(*e);
	*e = pair;
}

int parse_u64(const char *s, uint64_t *ret)
{
	uint64_t n = 0;
	if (!s || !*s)
		return -EINVAL;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return -EINVAL;
		if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, (uint64_t) (*s - '0'), &n))
			return -ERANGE;
	}
	*ret = n;
	return 0;
}

int parse_i64(const char *s, int64_t *ret)
{
	uint64_t n;
	bool negative = s && *s == '-';
	int r = parse_u64(s && (*s == '-' || *s == '+') ? s + 1 : s, &n);
	if (r < 0)
		return r;
	if (n > (uint64_t) INT64_MAX + negative)
		return -ERANGE;
	*ret = negative ? (int64_t) (0 - n) : (int64_t) n;
	return 0;
}

int parse_u32_max(const char *s, uint32_t max, uint32_t *ret)
{
	uint64_t n;
	int r = parse_u64(s, &n);
	if (r < 0)
		return r;
	if (n > max)
		return -ERANGE;
	*ret = (uint32_t) n;
	return 0;
}

/* A plain decimal ("1", "1.5", ".5") at the head of s; gives its length, 0 if there is none. */
static size_t decimal_prefix(const char *s, double *ret)
{
	size_t digits = 0, i = 0;
	double v = 0, scale = 1;
	for (; s[i] >= '0' && s[i] <= '9'; i++, digits++)
		v = v * 10 + (s[i] - '0');
	if (s[i] == '.')
		for (i++; s[i] >= '0' && s[i] <= '9'; i++, digits++)
			v += (s[i] - '0') * (scale /= 10);
	*ret = v;
	return digits ? i : 0;
}

int parse_double(const char *s, double *ret)
{
	if (!s || !*s)
		return -EINVAL;
	bool negative = *s == '-';
	double v;
	size_t n = decimal_prefix(s + negative, &v);
	if (!n || s[negative + n])
		return -EINVAL;
	*ret = negative ? -v : v;
	return 0;
}

int parse_bytes(const char *s, int64_t *ret)
{
	static const char units[] = "kmgtp";
	double v;
	if (!s)
		return -EINVAL;
	size_t n = decimal_prefix(s, &v);
	if (!n)
		return -EINVAL;
	s += n;
	while (*s == ' ')
		s++;
	if (*s && strcasecmp(s, "b") != 0) {
		const char *u = strchr(units, *s | 0x20);
		if (!u || !*u)
			return -EINVAL;
		for (const char *k = units; k <= u; k++)
			v *= 1024;
		s++;
		if (*s && strcasecmp(s, "b") != 0 && strcasecmp(s, "ib") != 0)
			return -EINVAL;
	}
	if (v >= 9.2e18)
		return -ERANGE;
	*ret = (int64_t) v;
	return 0;
}

int parse_duration(const char *s, int64_t *ret_ns)
{
	static const struct {
		const char *name;
		double ns;
	} units[] = {
		{ "ns", 1 },   { "us", 1e3 }, { "µs", 1e3 },  { "ms", 1e6 },
		{ "s", 1e9 },  { "m", 60e9 }, { "h", 3600e9 }, { "d", 86400e9 }, /* d: not Go, but what people write */
	};
	double sum = 0;
	if (!s || !*s)
		return -EINVAL;
	if (strcmp(s, "0") == 0) {
		*ret_ns = 0;
		return 0;
	}
	while (*s) {
		double v;
		size_t n = decimal_prefix(s, &v), best = ARRAY_SIZE(units);
		if (!n)
			return -EINVAL;
		s += n;
		for (size_t i = 0; i < ARRAY_SIZE(units); i++)
			if (str_starts(s, units[i].name) &&
				(best == ARRAY_SIZE(units) || strlen(units[i].name) > strlen(units[best].name)))
				best = i;
		if (best == ARRAY_SIZE(units))
			return -EINVAL;
		s += strlen(units[best].name);
		sum += v * units[best].ns;
	}
	if (sum >= 9.2e18)
		return -ERANGE;
	/* Rounded by hand: for llround(3) alone every program would load libm. */
	int64_t whole = (int64_t) sum;
	*ret_ns = whole + (sum - (double) whole >= 0.5);
	return 0;
}

char *format_duration(int64_t ns)
{
	Buf b = BUF_INIT;
	if (ns < 0) {
		buf_char(&b, '-');
		ns = -ns;
	}
	if (ns == 0) {
		buf_str(&b, "0s");
	} else if (ns < 1000) {
		buf_printf(&b, "%lldns", (long long) ns);
	} else if (ns < 1000000) {
		buf_printf(&b, "%gus", (double) ns / 1e3);
	} else if (ns < 1000000000) {
		buf_printf(&b, "%gms", (double) ns / 1e6);
	} else {
		int64_t h = ns / 3600000000000, m = ns / 60000000000 % 60, rest = ns % 60000000000;
		if (h)
			buf_printf(&b, "%lldh", (long long) h);
		if (h || m)
			buf_printf(&b, "%lldm", (long long) m);
		if (rest % 1000000000)
			buf_printf(&b, "%.9g", (double) rest / 1e9);
		else
			buf_printf(&b, "%lld", (long long) (rest / 1000000000));
		buf_char(&b, 's');
	}
	return buf_steal(&b);
}

char *format_bytes(int64_t n)
{
	static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB" };
	double v = (double) n;
	size_t u = 0;
	while (v >= 1000 && u + 1 < ARRAY_SIZE(units)) {
		v /= 1000;
		u++;
	}
	return xasprintf("%.3g%s", v, units[u]);
}

void hex_encode(const void *p, size_t n, char *dst)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *b = p;
	for (size_t i = 0; i < n; i++) {
		dst[2 * i] = digits[b[i] >> 4];
		dst[2 * i + 1] = digits[b[i] & 15];
	}
	dst[2 * n] = '\0';
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int hex_decode(const char *s, size_t n, uint8_t *dst)
{
	for (size_t i = 0; i < n; i++) {
		int hi = hex_digit(s[2 * i]);
		int lo = hi < 0 ? -1 : hex_digit(s[2 * i + 1]);
		if (lo < 0)
			return -EINVAL;
		dst[i] = (uint8_t) (hi << 4 | lo);
	}
	return s[2 * n] ? -EINVAL : 0;
}

void hex_random(size_t n, char *dst)
{
	uint8_t raw[64];
	if (n > sizeof(raw) || getrandom(raw, n, 0) != (ssize_t) n)
		abort();
	hex_encode(raw, n, dst);
}
