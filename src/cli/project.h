// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which stack a command is about: the whole model where it is needed (up, config), only the name
 * where the daemon knows the rest.
 */

#include "cli/cli.h"
#include "model/stack.h"

/** Loads the compose files; prints warnings and errors. 0 or an exit code. `services`: a strv, may be NULL. */
int project_load(const Cli *cli, char *const *services, Stack **ret);
/** Appends the service `name` and, with `deps`, all that it depends on, each once. */
void project_with_deps(const Stack *stack, const char *name, bool deps, char ***ret);
/** Without a word, for what also works without a project. */
int project_load_try(const Cli *cli, Stack **ret, Err *err);
/** `text` with the file and line where `path` ("services.web.image") stands; as it is where that cannot be told. The caller's. */
char *project_place(const Cli *cli, const char *path, const char *text);
/** The stack's name; prints errors. 0 or an exit code. */
int project_name(const Cli *cli, char **ret);
/** As project_name, with the error for the caller: for what also works without a project. */
int project_name_try(const Cli *cli, char **ret, Err *err);
/** x-stead.host of the files; NULL if they do not say (compose_host). */
int project_host(const Cli *cli, char **ret, Err *err);
/** A project was asked for: -p, -f, or their variables. */
bool project_given(const Cli *cli);
