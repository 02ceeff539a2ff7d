// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which files a load reads, and what variables they see: -f, COMPOSE_FILE or the search upwards from the directory;
 * the environment over env files; COMPOSE_PROFILES.
 */

#include "compose/load.h"
#include "compose/node.h"

typedef struct Sources {
	const ComposeOptions *o;
	char *cwd;         /* absolute */
	char *project_dir; /* absolute */
	char **paths;      /* of the compose files, absolute, or "-" */
	char **names;      /* the same, as errors name them */
	char **dotenv;     /* "KEY=value" of the env files */
	char **profiles;   /* active ones */
	char *project;     /* the project's name, once it is known */
	Load *load;        /* for warnings of unset variables; may be NULL */
} Sources;

/** Finds the files and reads the env files. -ENOENT when there is no compose file and `need_files`. */
int sources_open(const ComposeOptions *o, Load *l, bool need_files, Sources *ret, Err *err);
void sources_done(Sources *s);
/** Variables for interpolation: the caller's environment, then env files; COMPOSE_PROJECT_NAME. `s` is borrowed. */
Variables sources_variables(Sources *s);
/** Reads one of the compose files ("-" is stdin). */
int sources_read(const Sources *s, const char *path, Buf *ret, Err *err);
/** "My App" to "myapp": what is left of a directory's name when what a project cannot be called is dropped. Owned. */
char *project_name_normalise(const char *name);
