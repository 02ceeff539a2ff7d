// SPDX-License-Identifier: Apache-2.0
#include "cli/human.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"

char *human_duration(int64_t ns)
{
	int64_t seconds = ns / NSEC_PER_SEC, minutes = seconds / 60, hours = (seconds + 1800) / 3600;
	if (seconds < 1)
		return xstrdup("Less than a second");
	if (seconds == 1)
		return xstrdup("1 second");
	if (seconds < 60)
		return xasprintf("%lld seconds", (long long) seconds);
	if (minutes == 1)
		return xstrdup("About a minute");
	if (minutes < 60)
		return xasprintf("%lld minutes", (long long) minutes);
	if (hours == 1)
		return xstrdup("About an hour");
	if (hours < 48)
		return xasprintf("%lld hours", (long long) hours);
	if (hours < 24 * 7 * 2)
		return xasprintf("%lld days", (long long) hours / 24);
	if (hours < 24 * 30 * 2)
		return xasprintf("%lld weeks", (long long) hours / 24 / 7);
	if (hours < 24 * 365 * 2)
		return xasprintf("%lld months", (long long) hours / 24 / 30);
	return xasprintf("%lld years", (long long) (seconds / 3600 / 24 / 365));
}

char *human_ago(int64_t then, int64_t now)
{
	if (then <= 0)
		return xstrdup("");
	AUTO_FREE char *d = human_duration(now - then);
	return xasprintf("%s ago", d);
}

typedef struct PortText {
	const char *ip, *type;
	int published, target;
} PortText;

static int compare_ports(const void *a, const void *b)
{
	const PortText *x = a, *y = b;
	int r = strcmp(x->ip, y->ip);
	if (x->target != y->target)
		return x->target < y->target ? -1 : 1;
	if (r)
		return r;
	if (x->published != y->published)
		return x->published < y->published ? -1 : 1;
	return strcmp(x->type, y->type);
}

static void add_range(Buf *out, const PortText *first, int n)
{
	const char *open = strchr(first->ip, ':') ? "[" : "", *close = *open ? "]" : "";
	AUTO_FREE char *published = n > 1 ? xasprintf("%d-%d", first->published, first->published + n - 1) :
						  xasprintf("%d", first->published);
	AUTO_FREE char *target = n > 1 ? xasprintf("%d-%d", first->target, first->target + n - 1) :
					       xasprintf("%d", first->target);
	if (out->len)
		buf_str(out, ", ");
	if (first->published)
		buf_printf(out, "%s%s%s:%s->", open, str_empty(first->ip) ? "0.0.0.0" : first->ip, close, published);
	buf_printf(out, "%s/%s", target, first->type);
}

char *human_ports(const json_t *ports)
{
	size_t n = json_array_size(ports);
	AUTO_FREE PortText *list = xcalloc(n + 1, sizeof(*list));
	AUTO_FREE bool *used = xcalloc(n + 1, sizeof(*used));
	Buf out = BUF_INIT;
	for (size_t i = 0; i < n; i++) {
		const json_t *p = json_array_get(ports, i);
		const char *ip = json_string_value(json_object_get(p, "IP")), *type = json_string_value(json_object_get(p, "Type"));
		list[i] = (PortText) { ip ? ip : "", type ? type : "tcp",
			(int) json_integer_value(json_object_get(p, "PublicPort")),
			(int) json_integer_value(json_object_get(p, "PrivatePort")) };
	}
	if (n)
		qsort(list, n, sizeof(*list), compare_ports);
	for (size_t i = 0; i < n; i++) {
		int run = 1;
		if (used[i])
			continue;
		/* Neighbours in both numbers become one range, as long as each stays on its own number. */
		for (size_t j = i + 1; j < n; j++) {
			const PortText *a = &list[i], *b = &list[j];
			bool same = str_eq(a->ip, b->ip) && str_eq(a->type, b->type) && b->target == a->target + run;
			if (used[j] || !same || b->published != (a->published ? a->published + run : 0))
				continue;
			used[j] = true;
			run++;
		}
		add_range(&out, &list[i], run);
	}
	return buf_steal(&out);
}

char *human_cut(const char *s, size_t max)
{
	size_t columns = 0;
	if (!s)
		return xstrdup("");
	const char *p = s, *cut = s;
	for (; *p; p++) {
		if (((unsigned char) *p & 0xc0) == 0x80)
			continue;
		if (columns + 1 == max)
			cut = p;
		if (++columns > max) {
			AUTO_FREE char *head = xstrndup(s, (size_t) (cut - s));
			return xasprintf("%s…", head);
		}
	}
	return xstrdup(s);
}

char *human_id(const char *id)
{
	if (!id)
		return xstrdup("");
	if (str_starts(id, DIGEST_PREFIX))
		id += strlen(DIGEST_PREFIX);
	return xstrndup(id, strnlen(id, 12));
}

char *human_bytes_binary(int64_t n)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	double v = (double) n;
	size_t u = 0;
	while (v >= 1024 && u + 1 < ARRAY_SIZE(units)) {
		v /= 1024;
		u++;
	}
	return xasprintf("%.4g%s", v, units[u]);
}
