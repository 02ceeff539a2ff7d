// SPDX-License-Identifier: Apache-2.0
/*
 * The edge of the machine in memory: what is wanted is in effect at once, the answer comes later.
 */
#include "base/mem.h"
#include "daemon/sim-private.h"
#include "edge/edge.h"

struct Edge {
	uv_loop_t *loop;
	EdgeTable *table;
	struct SimEdgeDone *done;
};

typedef struct SimEdgeDone {
	struct SimEdgeDone *next;
	SimLater *later;
	Edge *e;
	EdgeDoneFn fn;
	EdgeCountFn count;
	void *user;
} SimEdgeDone;

static void edge_done(void *arg)
{
	SimEdgeDone *done = arg;
	for (SimEdgeDone **at = &done->e->done; *at; at = &(*at)->next)
		if (*at == done) {
			*at = done->next;
			break;
		}
	if (done->fn)
		done->fn(done->user, NULL);
	if (done->count)
		done->count(done->user, 0, NULL);
	free(done);
}

static void edge_later(Edge *e, EdgeDoneFn fn, EdgeCountFn count, void *user)
{
	SimEdgeDone *done = xcalloc(1, sizeof(*done));
	*done = (SimEdgeDone) { .next = e->done, .e = e, .fn = fn, .count = count, .user = user };
	e->done = done;
	done->later = sim_later(e->loop, edge_done, done, sim_random(20));
}

int edge_new(uv_loop_t *loop, const EdgeOptions *o, Edge **ret, Err *err)
{
	*ret = xcalloc(1, sizeof(**ret));
	(*ret)->loop = loop;
	return 0;
}

void edge_free(Edge *e)
{
	if (!e)
		return;
	while (e->done) {
		SimEdgeDone *next = e->done->next;
		sim_later_cancel(e->done->later);
		free(e->done);
		e->done = next;
	}
	edge_table_free(e->table);
	free(e);
}

void edge_quit(Edge *e)
{
}

void edge_set(Edge *e, EdgeTable *table, EdgeDoneFn done, void *user)
{
	edge_table_free(e->table);
	e->table = table;
	if (done)
		edge_later(e, done, NULL, user);
}

void edge_forget(Edge *e, const void *user)
{
	for (SimEdgeDone *done = e->done; done; done = done->next)
		if (done->user == user) {
			done->fn = NULL;
			done->count = NULL;
		}
}

void edge_in_flight(Edge *e, const char *backend, const char *server_id, EdgeCountFn fn, void *user)
{
	edge_later(e, NULL, fn, user);
}

bool edge_stats(const Edge *e, const char *backend, const char *server_id, EdgeStats *ret)
{
	*ret = (EdgeStats) { 0 };
	return false;
}

void edge_mark(Edge *e, const char *backend)
{
}

void edge_purge(Edge *e, const char *backend)
{
}

int edge_check(Edge *e, const EdgeTable *table, Err *err)
{
	return edge_table_check(table, err);
}

pid_t edge_pid(const Edge *e)
{
	return 0;
}
