// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <ctype.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "edge/haproxy-config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The next of the NUL-separated strings of the input. */
static char *next(const uint8_t **at, const uint8_t *end)
{
	size_t n = 0;
	while (*at + n < end && (*at)[n])
		n++;
	char *s = xstrndup((const char *) *at, n);
	*at += n + (*at + n < end);
	return s;
}

/* Each line has two words, and nothing is in it that could be taken for anything else. */
static void is_map(const Buf *b, size_t lines)
{
	size_t n = 0;
	for (const char *p = buf_cstr(b); *p; n++) {
		size_t len = strcspn(p, "\n");
		const char *space = memchr(p, ' ', len);
		assert(p[len] == '\n' && space && space > p && !memchr(space + 1, ' ', len - (size_t) (space + 1 - p)));
		for (size_t i = 0; i < len; i++)
			assert((unsigned char) p[i] >= 0x20 && (unsigned char) p[i] < 0x7f && !strchr("\"'\\#{}", p[i]));
		p += len + 1;
	}
	assert(n == lines);
}

static size_t count(const char *text, const char *what)
{
	size_t n = 0;
	for (const char *p = text; (p = strstr(p, what)); p += strlen(what))
		n++;
	return n;
}

static void is_config(const EdgeTable *t, const ProxyState *s)
{
	const HaproxyConfig c = { .dir = "/run/stead/edge", .listeners = { true, true, true, true }, .https_port = 443, .threads = 2 };
	AUTO_BUF config = BUF_INIT;
	AUTO_BUF routes = BUF_INIT;
	AUTO_BUF slots = BUF_INIT;
	AUTO_BUF frame = BUF_INIT;
	size_t servers = 0, backends = 0;
	for (size_t i = 0; i < s->n_slots; i++) {
		backends += s->slots[i].backend != NULL;
		for (size_t k = 0; k < s->slots[i].n_servers; k++)
			servers += s->slots[i].servers[k].state == SERVER_READY;
	}
	assert(haproxy_config(&c, "0", s, &config, NULL) == 0);
	assert(haproxy_routes(s, &routes, NULL) == 0);
	assert(haproxy_slots(s, &slots, NULL) == 0);
	is_map(&routes, t->n_routes);
	is_map(&slots, backends);
	/* Of the table nothing but its servers is in the configuration. */
	haproxy_config_frame(&c, s->n_slots, &frame);
	assert(str_starts(buf_cstr(&config), buf_cstr(&frame)));
	assert(count(config.data + frame.len, "\tserver ") == servers);
	for (size_t i = 0; i < config.len; i++)
		assert((unsigned char) config.data[i] < 0x7f && (config.data[i] >= 0x20 || config.data[i] == '\n' || config.data[i] == '\t'));
}

/* What the checks let pass is written, and means what it says. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const RouteHooks no_hooks;
	const uint8_t *at = data, *end = data + size;
	AUTO_EDGE_TABLE *t = edge_table_new();
	AUTO_PROXY_STATE *s = NULL;
	while (at < end && t->n_routes < 20) {
		AUTO_FREE char *host = next(&at, end), *path = next(&at, end), *name = next(&at, end), *id = next(&at, end), *address = next(&at, end);
		uint8_t bits = at < end ? *at++ : 0;
		Route r = { .host = *host ? host : NULL, .path = path, .port = 80, .cache = { -1, -1, -1 }, .max_body = bits & 1 ? bits * 1000 : -1,
			.rate = bits & 2 ? bits : -1, .rate_period = bits & 4 ? 60 * NSEC_PER_SEC : NSEC_PER_SEC, .timeout = bits & 8 ? bits * NSEC_PER_MSEC : -1 };
		EdgeBackend *b = edge_table_backend(t, name);
		if (!b)
			b = edge_table_add_backend(t, name);
		b->maintenance = bits & 16;
		b->hold = bits & 32;
		b->hold_ns = INT64_MAX;
		if (*id)
			edge_backend_add_server(b, id, address, (uint16_t) (bits * 257), bits & 64)->standby = bits & 128;
		if (*path)
			edge_table_add_route(t, &r, "stack", "service", name);
	}
	if (edge_table_check(t, NULL) == 0 && proxy_state_make(t, NULL, &no_hooks, &s) == 0)
		is_config(t, s);
	return 0;
}
