// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Who is called what: networks, and on each the addresses with their names. Pure. A container sees the names
 * of the networks that it is on, and of no others.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/names-protocol.h"

#define TABLE_NETWORKS_MAX 4096
#define TABLE_ENTRIES_MAX 16384 /* addresses, over all networks: further ones are refused */

typedef struct Entry {
	NamesAddress address;
	uint32_t generation;
	uint32_t n;
	uint32_t *hashes; /* owned: n hashes, then the n names, each with its NUL, in lower case */
} Entry;

typedef struct NameNetwork {
	char id[NAMES_ID_SIZE];
	char *name; /* owned, lower case */
	Entry *entries;
	size_t n;
	unsigned users; /* endpoints that are on it */
} NameNetwork;

typedef struct Table {
	NameNetwork **networks; /* owned */
	size_t n;
	size_t n_entries;
	uint32_t generation; /* what is older is stale */
} Table;

void table_done(Table *t);
/** The network of that id, made if it is not there; NULL beyond TABLE_NETWORKS_MAX. */
NameNetwork *table_network(Table *t, const char *id);
/** Forgets networks without entries and users. */
void table_tidy(Table *t);
/** Applies a record that was checked (names/control.h): -ENOSPC beyond the limits. */
int table_set(Table *t, const NamesSet *s);
/** Drops entries of an older generation. */
void table_drop_stale(Table *t);

/** Matches of a lookup: addresses, borrowed until the table changes. */
typedef struct Matches {
	const NamesAddress **items; /* owned, reused from one lookup to the next */
	size_t n;
} Matches;

/**
 * The addresses of `name` (lower case) on `networks`; also "NAME.NETWORK". True: the name is known (even if
 * `ret` holds no address of the wanted family).
 */
bool table_find(NameNetwork *const *networks, size_t n, const char *name, Matches *ret);
/** The entry of an address on `networks`, and its network; NULL if there is none. */
const Entry *table_find_address(
	NameNetwork *const *networks, size_t n, const NamesAddress *a, const NameNetwork **ret_network);
/** Its first name. */
const char *entry_name(const Entry *e);
