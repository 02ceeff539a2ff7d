// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Compose files to a Stack: finds the files, reads `.env`, substitutes variables, merges the files,
 * applies profiles, brings every short form to the canonical one and has the model check it. Follows
 * the Compose Specification (https://github.com/compose-spec/compose-spec) and, where that is silent,
 * what docker compose does.
 *
 * Reads files, never the network and never the process's environment or directory: those come in
 * through ComposeOptions, so a test or a daemon decides what a file can see.
 */

#include <stdbool.h>

#include "base/err.h"
#include "model/stack.h"

/** What the command line says. Zero initialisation means "nothing given". Everything is borrowed. Arrays are strv. */
typedef struct ComposeOptions {
	char *const *files;       /* -f, in order; "-" is stdin. Empty: COMPOSE_FILE, else searched for upwards from cwd */
	const char *project_dir;  /* --project-directory; NULL: the directory of the first file */
	const char *project_name; /* -p; NULL: COMPOSE_PROJECT_NAME, else `name:`, else the directory's name */
	char *const *profiles;    /* --profile, added to COMPOSE_PROFILES; "*" = all */
	char *const *env_files;   /* --env-file; empty: .env in the project directory, if there is one */
	char *const *services;    /* services named on the command line: their profiles are enabled */
	char *const *environ;     /* "KEY=value": the caller's environment; wins over env files */
	const char *refused_path; /* a key of the model that the daemon has refused ("services.web.image"), and why: the load */
	const char *refused_text; /* then ends in an error that names its file and line. NULL: nothing was refused */
	const char *cwd;          /* absolute; where relative paths and the search start. NULL: the process's directory */
} ComposeOptions;

/**
 * The resolved stack: all services that are on. Services named in `services` need not be all that is
 * returned: what to start is the caller's choice, and stack_service() tells whether a name exists.
 *
 * 0, or a negative errno with a text "FILE:LINE: key.path: what; what to do" (the caller exits with 2);
 * -ENOENT when no compose file was found. An unknown name in `services` is an error, too.
 * `ret_warnings` (may be NULL): strv of texts for people, set on success and on failure alike.
 */
int compose_load(const ComposeOptions *o, Stack **ret, char ***ret_warnings, Err *err);

/**
 * Only the project's name, by the same rules as compose_load, for commands that act on what already
 * runs (ps, logs, exec, down …): reads the files no further than their `name:`, so a fault elsewhere
 * in them stops nobody from stopping a stack. With -p or COMPOSE_PROJECT_NAME no file is needed.
 */
int compose_project_name(const ComposeOptions *o, char **ret, Err *err);

/**
 * What the files say under `x-stead: {host: …}`, variables replaced: which machine's daemon is meant, for every command; the last
 * file wins. NULL: they do not say, or there are none. Standard input is not read for it. A fault in the files is an error only
 * where they mention x-stead at all. An empty value because a variable is not set is an error, too: another machine would be taken.
 */
int compose_host(const ComposeOptions *o, char **ret, Err *err);
