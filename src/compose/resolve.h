// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Resolve: from the merged document to the model's canonical one. Switches services on and off by their profiles,
 * reads env files, gives networks, volumes, configs and secrets their names and contents, adds the default network,
 * turns links into dependencies and aliases, and leaves out what no service uses.
 */

#include "compose/node.h"

typedef struct ResolveOptions {
	const char *project;
	char *const *profiles; /* active ones; "*" = all */
	char *const *services; /* named on the command line */
	/** Reads a file of at most `max` bytes relative to the root; as file_read. */
	int (*read)(void *user, const char *path, size_t max, Buf *ret);
	void *user;
} ResolveOptions;

/** Changes `doc` in place; `ret_off` gets the services that are off. -EINVAL with a text that names file, line and key. */
int resolve_document(Load *l, Node *doc, const ResolveOptions *o, Node **ret_off);
