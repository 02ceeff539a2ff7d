// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Containers as the daemon lists them (GET /containers/json of the Docker Engine API), and which of
 * them the words on a command line mean.
 */

#include <jansson.h>

#include "cli/client.h"

#define LABEL_PROJECT "com.docker.compose.project"
#define LABEL_SERVICE "com.docker.compose.service"
#define LABEL_NUMBER "com.docker.compose.container-number"

/** The containers of a stack (NULL: all there are), running ones or `all`, in order of service and number. New reference. */
int containers_list(HttpClient *c, const char *project, bool all, json_t **ret, Err *err);
/** The same for a target with a query of its own. */
int containers_get(HttpClient *c, const char *target, json_t **ret, Err *err);
/** Without the leading slash. Borrowed, "" if it has none. */
const char *container_name(const json_t *container);
/** A label, or "". Borrowed. */
const char *container_label(const json_t *container, const char *key);
/** The name of an image, network … or of a container by name, or by at least this many digits of its ID. */
#define CONTAINER_ID_MIN 4
bool container_is(const json_t *container, const char *word);

/**
 * Those of `list` that the words mean: each is a service of the stack, a container's name or its ID's
 * beginning. No words: all of the stack. -ENOENT with a text for a word that means nothing. A new array.
 */
int containers_select(const json_t *list, const char *project, char *const *words, json_t **ret, Err *err);

/**
 * What a command on running things works on: with words that all name services (or none), the stack's
 * name and the services; words that name containers outright are kept apart.
 */
typedef struct Targets {
	char *project;  /* NULL: no stack is meant */
	char **services;
	char **containers; /* names */
	bool whole;        /* no words were given: the whole stack */
} Targets;
/** Prints errors; 0 or an exit code. */
int targets_find(const Cli *cli, HttpClient *c, char *const *words, Targets *ret);
void targets_done(Targets *t);
