// SPDX-License-Identifier: Apache-2.0
#include "base/time.h"

#include <errno.h>
#include <stdbool.h>
#include <time.h>

#include "base/str.h"

static int64_t clock_ns(clockid_t id)
{
	struct timespec ts;
	if (clock_gettime(id, &ts) < 0)
		abort();
	return (int64_t) ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

int64_t time_mono(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

int64_t time_real(void)
{
	return clock_ns(CLOCK_REALTIME);
}

uint64_t time_timer_msec(int64_t ns)
{
	return ns > 0 ? (uint64_t) ((ns + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC) + 2 : 0;
}

const char *time_rfc3339(int64_t real_ns, char dst[TIME_TEXT_MAX])
{
	if (!real_ns) {
		(void) snprintf(dst, TIME_TEXT_MAX, "0001-01-01T00:00:00Z");
		return dst;
	}
	time_t sec = (time_t) (real_ns / NSEC_PER_SEC);
	int64_t ns = real_ns % NSEC_PER_SEC;
	if (ns < 0) {
		ns += NSEC_PER_SEC;
		sec--;
	}
	struct tm tm;
	if (!gmtime_r(&sec, &tm))
		abort();
	size_t n = strftime(dst, TIME_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
	(void) snprintf(dst + n, TIME_TEXT_MAX - n, ".%09lldZ", (long long) ns);
	return dst;
}

/* Takes exactly n digits at *s. */
static bool digits(const char **s, int n, int *ret)
{
	int v = 0;
	for (int i = 0; i < n; i++, (*s)++) {
		if (**s < '0' || **s > '9')
			return false;
		v = v * 10 + (**s - '0');
	}
	*ret = v;
	return true;
}

static bool literal(const char **s, char c)
{
	if (**s != c)
		return false;
	(*s)++;
	return true;
}

/* "Z", "+01:00" or nothing (if `optional`), as seconds east of UTC. */
static bool zone(const char **s, bool optional, int *ret)
{
	int h, m, sign = **s == '-' ? -1 : 1;
	*ret = 0;
	if (!**s)
		return optional;
	if (literal(s, 'Z') || literal(s, 'z'))
		return true;
	if (**s != '+' && **s != '-')
		return false;
	(*s)++;
	if (!digits(s, 2, &h) || !literal(s, ':') || !digits(s, 2, &m) || h > 23 || m > 59)
		return false;
	*ret = sign * (h * 3600 + m * 60);
	return true;
}

static int parse(const char *s, bool loose, int64_t *ret)
{
	struct tm tm = { 0 };
	int64_t ns = 0;
	int offset = 0;
	if (!digits(&s, 4, &tm.tm_year) || !literal(&s, '-') || !digits(&s, 2, &tm.tm_mon) || !literal(&s, '-') ||
		!digits(&s, 2, &tm.tm_mday))
		return -EINVAL;
	if (!*s && loose)
		goto out;
	if (!literal(&s, 'T') && !literal(&s, 't'))
		return -EINVAL;
	if (!digits(&s, 2, &tm.tm_hour) || !literal(&s, ':') || !digits(&s, 2, &tm.tm_min))
		return -EINVAL;
	if (literal(&s, ':')) {
		if (!digits(&s, 2, &tm.tm_sec))
			return -EINVAL;
	} else if (!loose) {
		return -EINVAL;
	}
	if (literal(&s, '.')) {
		int64_t scale = NSEC_PER_SEC;
		if (*s < '0' || *s > '9')
			return -EINVAL;
		for (; *s >= '0' && *s <= '9'; s++)
			if (scale > 1)
				ns += (*s - '0') * (scale /= 10);
	}
	if (!zone(&s, loose, &offset) || *s)
		return -EINVAL;
out:
	if (tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 ||
		tm.tm_min > 59 || tm.tm_sec > 60)
		return -EINVAL;
	if (tm.tm_year < 1678 || tm.tm_year > 2261) /* what 64 bits of nanoseconds hold */
		return -EINVAL;
	tm.tm_year -= 1900;
	tm.tm_mon--;
	*ret = ((int64_t) timegm(&tm) - offset) * NSEC_PER_SEC + ns;
	return 0;
}

int time_parse_rfc3339(const char *s, int64_t *ret_real_ns)
{
	return parse(s, false, ret_real_ns);
}

int time_parse_moment(const char *s, int64_t now_real_ns, int64_t *ret_real_ns)
{
	int64_t ns;
	double sec;
	if (parse(s, true, ret_real_ns) == 0)
		return 0;
	if (parse_duration(s, &ns) == 0 && !str_eq(s, "0")) {
		*ret_real_ns = now_real_ns - ns;
		return 0;
	}
	if (parse_double(s, &sec) < 0 || sec < 0 || sec > 9e9)
		return -EINVAL;
	const char *dot = strchr(s, '.');
	int64_t frac = 0, scale = NSEC_PER_SEC;
	for (const char *p = dot ? dot + 1 : ""; *p && scale > 1; p++)
		frac += (*p - '0') * (scale /= 10);
	*ret_real_ns = (int64_t) sec * NSEC_PER_SEC + frac;
	return 0;
}
