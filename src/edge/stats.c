// SPDX-License-Identifier: Apache-2.0
#include "edge/stats.h"

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"

typedef struct ServerStats {
	char name[SERVER_NAME_MAX];
	uint64_t requests, errors;
	Histogram durations;
} ServerStats;

typedef struct BackendStats {
	char *name;
	int64_t since;
	ServerStats all;
	ServerStats *servers;
	size_t n_servers;
} BackendStats;

struct Stats {
	BackendStats **slots; /* NULL = free */
	size_t n_slots;
};

/* ── histogram ────────────────────────────────────────────────────── */

static size_t bucket_of(uint64_t msec)
{
	if (msec < HISTOGRAM_LINEAR)
		return (size_t) msec;
	int top = 63 - __builtin_clzll(msec);
	if (top >= HISTOGRAM_TOP)
		return HISTOGRAM_BUCKETS - 1;
	return HISTOGRAM_LINEAR + (size_t) (top - 4) * HISTOGRAM_STEPS + (size_t) ((msec >> (top - 3)) & (HISTOGRAM_STEPS - 1));
}

static double middle_of(size_t bucket)
{
	if (bucket < HISTOGRAM_LINEAR)
		return (double) bucket;
	size_t top = (bucket - HISTOGRAM_LINEAR) / HISTOGRAM_STEPS + 4, step = (bucket - HISTOGRAM_LINEAR) % HISTOGRAM_STEPS;
	double width = (double) (1ULL << (top - 3));
	return (double) (1ULL << top) + width * (double) step + (width - 1) / 2;
}

void histogram_add(Histogram *h, int64_t msec)
{
	h->counts[bucket_of(msec > 0 ? (uint64_t) msec : 0)]++;
	h->total++;
}

double histogram_quantile(const Histogram *h, double q)
{
	uint64_t rank = (uint64_t) (q * (double) h->total), seen = 0;
	if (rank >= h->total)
		rank = h->total ? h->total - 1 : 0;
	for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->counts[i];
		if (seen > rank)
			return middle_of(i);
	}
	return 0;
}

/* ── backends ─────────────────────────────────────────────────────── */

Stats *stats_new(void)
{
	return xcalloc(1, sizeof(Stats));
}

static void backend_free(BackendStats *b)
{
	if (!b)
		return;
	free(b->servers);
	free(b->name);
	free(b);
}

void stats_free(Stats *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n_slots; i++)
		backend_free(s->slots[i]);
	free(s->slots);
	free(s);
}

static BackendStats *take(BackendStats **slots, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (slots[i] && str_eq(slots[i]->name, name))
			return steal_ptr(&slots[i]);
	BackendStats *b = xcalloc(1, sizeof(*b));
	b->name = xstrdup(name);
	b->since = time_real();
	return b;
}

/* Servers come and go with every deploy; what has gone stays in `all`. */
static void forget_servers(BackendStats *b, const ProxySlot *slot)
{
	for (size_t i = b->n_servers; i-- > 0;)
		if (!proxy_slot_server(slot, b->servers[i].name))
			b->servers[i] = b->servers[--b->n_servers];
}

void stats_slots(Stats *s, const ProxyState *state)
{
	BackendStats **slots = xcalloc(state->n_slots, sizeof(*slots));
	for (size_t i = 0; i < state->n_slots; i++)
		if (state->slots[i].backend) {
			slots[i] = take(s->slots, s->n_slots, state->slots[i].backend);
			forget_servers(slots[i], &state->slots[i]);
		}
	for (size_t i = 0; i < s->n_slots; i++)
		backend_free(s->slots[i]);
	free(s->slots);
	s->slots = slots;
	s->n_slots = state->n_slots;
}

static BackendStats *in_slot(const Stats *s, const char *slot)
{
	size_t n = 0;
	if (slot[0] != 's' || !slot[1])
		return NULL;
	for (const char *p = slot + 1; *p; p++) {
		if (*p < '0' || *p > '9' || n > s->n_slots)
			return NULL;
		n = n * 10 + (size_t) (*p - '0');
	}
	return n < s->n_slots ? s->slots[n] : NULL;
}

static BackendStats *by_name(const Stats *s, const char *name)
{
	for (size_t i = 0; i < s->n_slots; i++)
		if (s->slots[i] && str_eq(s->slots[i]->name, name))
			return s->slots[i];
	return NULL;
}

const char *stats_backend(const Stats *s, const char *slot)
{
	const BackendStats *b = in_slot(s, slot);
	return b ? b->name : NULL;
}

static ServerStats *server_of(BackendStats *b, const char *name)
{
	for (size_t i = 0; i < b->n_servers; i++)
		if (str_eq(b->servers[i].name, name))
			return &b->servers[i];
	if (b->n_servers >= 2 * EDGE_SERVERS_MAX)
		return NULL;
	ServerStats *s = array_append(b->servers, b->n_servers);
	(void) snprintf(s->name, sizeof(s->name), "%s", name);
	return s;
}

static void count(ServerStats *s, bool error, int64_t msec)
{
	s->requests++;
	s->errors += error;
	if (msec >= 0)
		histogram_add(&s->durations, msec);
}

void stats_count(Stats *s, const char *slot, const char *server, bool error, int64_t msec)
{
	BackendStats *b = in_slot(s, slot);
	ServerStats *one = b && *server ? server_of(b, server) : NULL;
	if (b)
		count(&b->all, error, msec);
	if (one)
		count(one, error, msec);
}

void stats_count_server(Stats *s, const char *slot, const char *server, bool error, int64_t msec)
{
	BackendStats *b = in_slot(s, slot);
	ServerStats *one = b && *server ? server_of(b, server) : NULL;
	if (one)
		count(one, error, msec);
}

bool stats_get(const Stats *s, const char *backend, const char *server, EdgeStats *ret)
{
	BackendStats *b = by_name(s, backend);
	const ServerStats *from = b ? &b->all : NULL;
	if (b && server) {
		from = NULL;
		for (size_t i = 0; i < b->n_servers; i++)
			if (str_eq(b->servers[i].name, server))
				from = &b->servers[i];
	}
	*ret = (EdgeStats) { .since = b ? b->since : 0 };
	if (!from || !from->requests)
		return false;
	ret->requests = from->requests;
	ret->errors = from->errors;
	ret->p50 = (int64_t) (histogram_quantile(&from->durations, 0.5) * NSEC_PER_MSEC);
	ret->p99 = (int64_t) (histogram_quantile(&from->durations, 0.99) * NSEC_PER_MSEC);
	return true;
}

void stats_mark(Stats *s, const char *backend)
{
	BackendStats *b = by_name(s, backend);
	if (!b)
		return;
	free(b->servers);
	b->servers = NULL;
	b->n_servers = 0;
	memset(&b->all, 0, sizeof(b->all));
	b->since = time_real();
}
