// SPDX-License-Identifier: Apache-2.0

#include "names/control.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static bool id_ok(const char id[NAMES_ID_SIZE])
{
	return id[0] && memchr(id, 0, NAMES_ID_SIZE) != NULL;
}

static bool address_ok(const NamesAddress *a)
{
	return a->family == 4 || a->family == 6;
}

static bool servers_ok(uint32_t n, const NamesAddress *servers)
{
	if (n > NAMES_UPSTREAMS_MAX)
		return false;
	for (uint32_t i = 0; i < n; i++)
		if (!address_ok(&servers[i]))
			return false;
	return true;
}

static bool header_ok(const NamesRecord *r, size_t size)
{
	return size == sizeof(NamesHeader);
}

static bool upstreams_ok(const NamesRecord *r, size_t size)
{
	return size == sizeof(r->upstreams) && servers_ok(r->upstreams.n, r->upstreams.servers);
}

static bool id_record_ok(const NamesRecord *r, size_t size)
{
	return size == sizeof(r->id) && id_ok(r->id.id);
}

static bool endpoint_ok(const NamesRecord *r, size_t size)
{
	const NamesEndpointRecord *e = &r->endpoint;

	if (size != sizeof(*e) || !id_ok(e->id) || !servers_ok(e->n_upstreams, e->upstreams) ||
		e->n_networks > NAMES_NETWORKS_MAX)
		return false;
	for (uint32_t i = 0; i < e->n_networks; i++)
		if (!id_ok(e->networks[i]))
			return false;
	return true;
}

/* As many strings as promised, none empty or too long, and nothing behind. */
static bool text_ok(const NamesSet *s)
{
	size_t at = 0;

	for (uint32_t i = 0; i < s->n; i++) {
		size_t len = strnlen(s->text + at, s->text_size - at);

		if (len == 0 || len == s->text_size - at || len >= NAMES_NAME_SIZE)
			return false;
		at += len + 1;
	}
	return at == s->text_size;
}

static bool set_ok(const NamesRecord *r, size_t size)
{
	const NamesSet *s = &r->set;

	if (size < offsetof(NamesSet, text) || s->text_size > NAMES_TEXT_MAX ||
		size != offsetof(NamesSet, text) + s->text_size)
		return false;
	return id_ok(s->network) && memchr(s->network_name, 0, sizeof(s->network_name)) &&
	       address_ok(&s->address) && s->n <= NAMES_PER_ADDRESS_MAX && text_ok(s);
}

static bool (*const checks[])(const NamesRecord *r, size_t size) = {
	[NAMES_HELLO] = header_ok,
	[NAMES_UPSTREAMS] = upstreams_ok,
	[NAMES_ENDPOINT] = endpoint_ok,
	[NAMES_ENDPOINT_GONE] = id_record_ok,
	[NAMES_SET] = set_ok,
	[NAMES_SYNCED] = header_ok,
	[NAMES_QUIT] = header_ok,
};

int control_check(const NamesRecord *r, size_t size)
{
	if (size < sizeof(NamesHeader) || r->header.magic != NAMES_MAGIC || r->header.size != size)
		return -EPROTO;
	if (r->header.type >= sizeof(checks) / sizeof(checks[0]) || !checks[r->header.type])
		return -EPROTO;
	if (r->header.version != NAMES_VERSION && r->header.type != NAMES_HELLO &&
		r->header.type != NAMES_QUIT)
		return -EPROTO;
	return checks[r->header.type](r, size) ? 0 : -EPROTO;
}
