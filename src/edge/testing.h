// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * For the room's tests: tables by chance (always the same for a seed), of few enough names that they meet again and again.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "edge/edge.h"
#include "edge/proxy-state.h"

typedef struct Chance {
	uint32_t state;
} Chance;

static inline unsigned chance(Chance *c, unsigned n)
{
	c->state = c->state * 1664525u + 1013904223u;
	return n ? (c->state >> 8) % n : 0;
}

static inline Route route_to(const char *host, const char *path)
{
	return (Route) { .host = (char *) host, .path = (char *) path, .port = 80, .cache = { -1, -1, -1 }, .max_body = -1, .rate = -1,
		.rate_period = NSEC_PER_SEC, .timeout = -1 };
}

static const char *const some_hosts[] = { "app.test", "www.app.test", "*.app.test", "a.b", "xn--bcher-kva.example", "*.example", NULL };
static const char *const some_paths[] = { "/", "/api", "/api/v2", "/apix", "/a;b", "/a%20b", "/~x", "/a(1)*+,=:@!$&", "/api/v2/deep/er" };

/* 127.0.BACKEND.SERVER */
static inline void random_servers(Chance *c, EdgeBackend *b, unsigned number, uint16_t port)
{
	for (unsigned n = chance(c, 4); n > 0; n--) {
		char id[65];
		char address[24];
		unsigned k = chance(c, 6);
		(void) snprintf(id, sizeof(id), "%02x%062x", k, 7u);
		(void) snprintf(address, sizeof(address), "127.0.%u.%u", number + 1, k + 1);
		bool there = false;
		for (size_t i = 0; i < b->n_servers; i++)
			there = there || str_eq(b->servers[i].id, id);
		if (there)
			continue;
		EdgeServer *s = edge_backend_add_server(b, id, address, port, chance(c, 4) == 0);
		s->trial = !s->draining && chance(c, 3) == 0;
		s->standby = s->draining && chance(c, 2) == 0;
	}
}

static inline EdgeTable *random_table(Chance *c, unsigned routes, unsigned backends, uint16_t port)
{
	EdgeTable *t = edge_table_new();
	for (unsigned i = 0; i < routes; i++) {
		Route r = route_to(some_hosts[chance(c, ARRAY_SIZE(some_hosts))], some_paths[chance(c, ARRAY_SIZE(some_paths))]);
		bool there = false;
		for (size_t k = 0; k < t->n_routes; k++)
			there = there || (str_eq(t->routes[k].route.host, r.host) && str_eq(t->routes[k].route.path, r.path));
		if (there)
			continue;
		if (chance(c, 4) == 0)
			r.max_body = chance(c, 100000);
		if (chance(c, 8) == 0)
			r.timeout = (1 + chance(c, 100)) * NSEC_PER_SEC;
		if (chance(c, 8) == 0) {
			r.rate = 1000000;
			r.rate_period = chance(c, 2) ? NSEC_PER_SEC : 3600 * NSEC_PER_SEC;
		}
		unsigned number = chance(c, backends);
		AUTO_FREE char *name = xasprintf("stack/s%u:80", number);
		EdgeBackend *b = edge_table_backend(t, name);
		if (!b) {
			b = edge_table_add_backend(t, name);
			random_servers(c, b, number, port);
			b->maintenance = chance(c, 10) == 0;
			b->hold = chance(c, 10) == 0;
			b->hold_ns = 100 * NSEC_PER_MSEC;
		}
		edge_table_add_route(t, &r, "stack", "s", name);
	}
	return t;
}
