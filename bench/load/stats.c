// SPDX-License-Identifier: Apache-2.0
#include "bench/load/stats.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/time.h"

static const char *const failure_names[] = {
	[FAIL_REFUSED] = "refused", [FAIL_RESET] = "reset", [FAIL_CLOSED] = "closed", [FAIL_TRUNCATED] = "truncated",
	[FAIL_STATUS] = "status", [FAIL_BODY] = "body", [FAIL_TIMEOUT] = "timeout", [FAIL_PROTOCOL] = "protocol",
	[FAIL_CUT] = "cut",
};
_Static_assert(ARRAY_SIZE(failure_names) == N_FAILURES, "a name for each reason");

/* --- latencies: 64 buckets for each power of two, from 1 ns on; below 64 ns one a nanosecond */

static size_t bucket_of(int64_t ns)
{
	uint64_t v = ns < 0 ? 0 : (uint64_t) ns;
	if (v < 64)
		return v;
	unsigned shift = 57 - (unsigned) __builtin_clzll(v); /* leaves 7 bits, the highest of them set */
	size_t i = (size_t) (shift + 1) * 64 + ((v >> shift) - 64);
	return i < ARRAY_SIZE(((Histogram *) 0)->buckets) ? i : ARRAY_SIZE(((Histogram *) 0)->buckets) - 1;
}

static int64_t bucket_end(size_t i)
{
	if (i < 64)
		return (int64_t) i;
	return (int64_t) (((uint64_t) (i % 64 + 65) << (i / 64 - 1)) - 1);
}

void histogram_add(Histogram *h, int64_t ns)
{
	h->buckets[bucket_of(ns)]++;
	h->count++;
	if (ns > h->max)
		h->max = ns;
}

int64_t histogram_quantile(const Histogram *h, double q)
{
	uint64_t wanted = (uint64_t) ((double) h->count * q + 0.999999), sum = 0;
	for (size_t i = 0; i < ARRAY_SIZE(h->buckets); i++) {
		sum += h->buckets[i];
		if (sum > 0 && sum >= wanted)
			return bucket_end(i) < h->max ? bucket_end(i) : h->max;
	}
	return h->max;
}

/* --- versions */

void versions_note(Versions *v, const char *name, int64_t now)
{
	VersionSeen *s;
	size_t i = v->current;

	if (i >= v->n_seen || strcmp(v->seen[i].name, name) != 0) {
		for (i = 0; i < v->n_seen && strcmp(v->seen[i].name, name) != 0; i++)
			;
	}
	if (i == v->n_seen) {
		if (v->n_seen == VERSIONS_MAX)
			return;
		s = array_append(v->seen, v->n_seen);
		(void) snprintf(s->name, sizeof s->name, "%s", name);
	}
	s = &v->seen[i];
	if ((s->requests == 0 || now - s->last >= VERSION_QUIET) && v->n_changes < CHANGES_MAX)
		*array_append(v->changes, v->n_changes) = (VersionChange){ now, i };
	if (s->requests++ == 0)
		s->first = now;
	s->last = now;
	v->current = i;
}

void versions_done(Versions *v)
{
	free_and_null(&v->seen);
	free_and_null(&v->changes);
	v->n_seen = v->n_changes = 0;
}

/* --- failures */

void counts_fail(Counts *c, Failures *f, const char *kind, Failure why, int status, const char *detail, int64_t now)
{
	c->failed++;
	c->failures[why]++;
	if (why == FAIL_STATUS && status >= 0 && status < STATUSES_MAX)
		f->statuses[status]++;
	if (f->n_examples < EXAMPLES_MAX)
		f->examples[f->n_examples++] = (Example){ now, kind, why, xstrdup(detail ? detail : "") };
}

void failures_done(Failures *f)
{
	for (size_t i = 0; i < f->n_examples; i++)
		free_and_null(&f->examples[i].detail);
	f->n_examples = 0;
}

void counts_add(Counts *to, const Counts *from)
{
	to->done += from->done;
	to->failed += from->failed;
	for (int i = 0; i < N_FAILURES; i++)
		to->failures[i] += from->failures[i];
	to->reused += from->reused;
	to->connections += from->connections;
	to->messages += from->messages;
	to->closes += from->closes;
	to->repeated += from->repeated;
}

/* --- JSON; seconds with a fraction, as people and jq read them */

static json_t *seconds(int64_t ns)
{
	return json_real((double) ns / NSEC_PER_SEC);
}

json_t *counts_json(const Counts *c)
{
	json_t *j = json_object(), *why = json_object();

	(void) json_object_set_new(j, "requests", json_integer((json_int_t) (c->done + c->failed)));
	(void) json_object_set_new(j, "failed", json_integer((json_int_t) c->failed));
	for (int i = 0; i < N_FAILURES; i++)
		(void) json_object_set_new(why, failure_names[i], json_integer((json_int_t) c->failures[i]));
	(void) json_object_set_new(j, "failures", why);
	(void) json_object_set_new(j, "reused", json_integer((json_int_t) c->reused));
	(void) json_object_set_new(j, "connections", json_integer((json_int_t) c->connections));
	(void) json_object_set_new(j, "messages", json_integer((json_int_t) c->messages));
	(void) json_object_set_new(j, "closes", json_integer((json_int_t) c->closes));
	(void) json_object_set_new(j, "repeated", json_integer((json_int_t) c->repeated));
	if (c->latency.count > 0) {
		(void) json_object_set_new(j, "p50", seconds(histogram_quantile(&c->latency, 0.5)));
		(void) json_object_set_new(j, "p99", seconds(histogram_quantile(&c->latency, 0.99)));
		(void) json_object_set_new(j, "max", seconds(c->latency.max));
	}
	return j;
}

json_t *versions_json(const Versions *v)
{
	json_t *list = json_array();

	for (size_t i = 0; i < v->n_seen; i++) {
		const VersionSeen *s = &v->seen[i];
		(void) json_array_append_new(list, json_pack("{s:s, s:I, s:o, s:o}", "version", s->name, "requests",
			(json_int_t) s->requests, "first", seconds(s->first), "last", seconds(s->last)));
	}
	return list;
}

json_t *changes_json(const Versions *v)
{
	json_t *list = json_array();

	for (size_t i = 0; i < v->n_changes; i++)
		(void) json_array_append_new(list, json_pack("{s:o, s:s}", "t", seconds(v->changes[i].at), "version",
			v->seen[v->changes[i].version].name));
	return list;
}

json_t *failures_json(const Failures *f)
{
	json_t *statuses = json_object(), *examples = json_array();
	char text[16];

	for (int i = 0; i < STATUSES_MAX; i++) {
		if (f->statuses[i] == 0)
			continue;
		(void) snprintf(text, sizeof text, "%d", i);
		(void) json_object_set_new(statuses, text, json_integer((json_int_t) f->statuses[i]));
	}
	for (size_t i = 0; i < f->n_examples; i++) {
		const Example *e = &f->examples[i];
		(void) json_array_append_new(examples, json_pack("{s:o, s:s, s:s, s:s}", "t", seconds(e->at), "kind", e->kind,
			"why", failure_names[e->why], "detail", e->detail));
	}
	return json_pack("{s:o, s:o}", "statuses", statuses, "examples", examples);
}
