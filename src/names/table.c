// SPDX-License-Identifier: Apache-2.0

/*
 * A lookup goes through all entries of the endpoint's networks and compares hashes: with ten containers that
 * is fifty words, with two thousand some ten thousand, still microseconds; so nothing has to be kept up to
 * date when names come and go, and an entry is two allocations.
 */

#include "names/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static uint32_t hash_of(const char *s)
{
	uint32_t h = 2166136261U; /* FNV-1a */

	for (; *s; s++)
		h = (h ^ (uint8_t) *s) * 16777619U;
	return h;
}

static void lower(char *s)
{
	for (; *s; s++)
		if (*s >= 'A' && *s <= 'Z')
			*s += 'a' - 'A';
}

static bool same_address(const NamesAddress *a, const NamesAddress *b)
{
	return a->family == b->family && memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

static void network_free(NameNetwork *n)
{
	for (size_t i = 0; i < n->n; i++)
		free(n->entries[i].hashes);
	free(n->entries);
	free(n->name);
	free(n);
}

void table_done(Table *t)
{
	for (size_t i = 0; i < t->n; i++)
		network_free(t->networks[i]);
	free(t->networks);
	memset(t, 0, sizeof(*t));
}

NameNetwork *table_network(Table *t, const char *id)
{
	NameNetwork *n;

	for (size_t i = 0; i < t->n; i++)
		if (strcmp(t->networks[i]->id, id) == 0)
			return t->networks[i];
	if (t->n >= TABLE_NETWORKS_MAX)
		return NULL;
	n = xcalloc(1, sizeof(*n));
	memcpy(n->id, id, strnlen(id, sizeof(n->id) - 1));
	*array_append(t->networks, t->n) = n;
	return n;
}

void table_tidy(Table *t)
{
	for (size_t i = 0; i < t->n;) {
		if (t->networks[i]->n || t->networks[i]->users) {
			i++;
			continue;
		}
		network_free(t->networks[i]);
		t->networks[i] = t->networks[--t->n];
	}
}

static void entry_fill(Entry *e, const NamesSet *s)
{
	size_t hashes = s->n * sizeof(uint32_t);
	char *text;

	free(e->hashes);
	e->hashes = xmalloc(hashes + s->text_size);
	e->n = s->n;
	text = (char *) e->hashes + hashes;
	memcpy(text, s->text, s->text_size);
	for (uint32_t i = 0; i < s->n; i++) {
		lower(text);
		e->hashes[i] = hash_of(text);
		text += strlen(text) + 1;
	}
}

static Entry *find_entry(NameNetwork *n, const NamesAddress *a)
{
	for (size_t i = 0; i < n->n; i++)
		if (same_address(&n->entries[i].address, a))
			return &n->entries[i];
	return NULL;
}

static void entry_drop(Table *t, NameNetwork *n, Entry *e)
{
	free(e->hashes);
	*e = n->entries[--n->n];
	t->n_entries--;
}

int table_set(Table *t, const NamesSet *s)
{
	NameNetwork *n = table_network(t, s->network);
	Entry *e = n ? find_entry(n, &s->address) : NULL;

	if (!n)
		return -ENOSPC;
	if (!s->n) {
		if (e)
			entry_drop(t, n, e);
		table_tidy(t);
		return 0;
	}
	if (!e) {
		if (t->n_entries >= TABLE_ENTRIES_MAX) {
			table_tidy(t);
			return -ENOSPC;
		}
		e = array_append(n->entries, n->n);
		e->address = s->address;
		t->n_entries++;
	}
	e->generation = t->generation;
	entry_fill(e, s);
	free(n->name);
	n->name = xstrdup(s->network_name);
	lower(n->name);
	return 0;
}

void table_drop_stale(Table *t)
{
	for (size_t k = 0; k < t->n; k++) {
		NameNetwork *n = t->networks[k];

		for (size_t i = 0; i < n->n;) {
			if (n->entries[i].generation == t->generation)
				i++;
			else
				entry_drop(t, n, &n->entries[i]);
		}
	}
	table_tidy(t);
}

static const char *entry_text(const Entry *e)
{
	return (const char *) (e->hashes + e->n);
}

const char *entry_name(const Entry *e)
{
	return entry_text(e);
}

static bool entry_has(const Entry *e, const char *name, uint32_t hash)
{
	const char *text = entry_text(e);

	for (uint32_t i = 0; i < e->n; i++) {
		if (e->hashes[i] == hash) {
			const char *at = text;

			for (uint32_t k = 0; k < i; k++)
				at += strlen(at) + 1;
			if (strcmp(at, name) == 0)
				return true;
		}
	}
	return false;
}

static void find_in(const NameNetwork *n, const char *name, Matches *ret)
{
	uint32_t hash = hash_of(name);

	for (size_t i = 0; i < n->n; i++)
		if (entry_has(&n->entries[i], name, hash))
			*array_append(ret->items, ret->n) = &n->entries[i].address;
}

bool table_find(NameNetwork *const *networks, size_t n, const char *name, Matches *ret)
{
	char first[NAMES_NAME_SIZE];
	const char *dot;

	ret->n = 0;
	if (!*name)
		return false;
	for (size_t i = 0; i < n; i++)
		find_in(networks[i], name, ret);
	/* "web.blog_default"; a network's name may have dots of its own, so each dot is tried. */
	for (dot = strchr(name, '.'); !ret->n && dot; dot = strchr(dot + 1, '.')) {
		if ((size_t) (dot - name) >= sizeof(first))
			break;
		memcpy(first, name, (size_t) (dot - name));
		first[dot - name] = 0;
		for (size_t i = 0; i < n; i++)
			if (networks[i]->name && strcmp(networks[i]->name, dot + 1) == 0)
				find_in(networks[i], first, ret);
	}
	return ret->n > 0;
}

const Entry *table_find_address(
	NameNetwork *const *networks, size_t n, const NamesAddress *a, const NameNetwork **ret_network)
{
	for (size_t i = 0; i < n; i++) {
		const Entry *e = find_entry(networks[i], a);

		if (e) {
			*ret_network = networks[i];
			return e;
		}
	}
	return NULL;
}
