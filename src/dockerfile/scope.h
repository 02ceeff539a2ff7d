// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The variables of a build: ARG before the first FROM (the global scope, for FROM alone), then those of each stage: ENV, ARG, and
 * what the base image brings. ENV hides ARG of the same name. A stage sees a global ARG, or one of the platform
 * (BUILDPLATFORM, TARGETARCH, …), once it names it in an ARG of its own. Proxies (HTTP_PROXY, …) given by --build-arg need no ARG, and
 * leave no trace in history or cache (Dockerfile reference, "ARG").
 */

#include <stdbool.h>

#include "base/err.h"
#include "dockerfile/dockerfile.h"

typedef struct BuildArguments {
	char *const *args;           /* --build-arg, "NAME=value"; NULL = none */
	const char *build_platform;  /* "linux/amd64": of this machine */
	const char *target_platform; /* NULL = build_platform */
	const char *target_stage;    /* TARGETSTAGE; NULL = "default" */
} BuildArguments;

typedef struct Scope Scope;

/** Gives the global ARGs their values, in their order. The arguments are copied. -EINVAL. */
int scope_new_global(const Dockerfile *f, const BuildArguments *a, Scope **ret, Err *err);
/** A stage's, empty but for the environment of its base ("NAME=value"). `global` and `f` must outlive it. */
Scope *scope_new_stage(const Scope *global, const Dockerfile *f, char *const *image_env);
void scope_free(Scope *s);
void scope_freep(Scope **s);

/** The value, or NULL. Borrowed until the scope changes. */
const char *scope_get(const Scope *s, const char *name);
/**
 * A copy of the instruction with the variables replaced that this kind of instruction replaces: ADD, COPY (and their
 * heredocs), ENV, EXPOSE, FROM, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR, the defaults of ARG, the mounts of RUN. The shell's
 * variables in RUN, CMD, ENTRYPOINT and HEALTHCHECK stay. Checks what could not be checked before. -EINVAL with its place in front.
 */
int instruction_expand(const Scope *s, const Instruction *i, Instruction *ret, Err *err);
/** Variables that it uses though nothing gives them a value, nor a word such as :- says what to do then; $1 and the like apart. A strv of the caller; NULL = none. */
char **instruction_unset(const Scope *s, const Instruction *i);
/** The variable that was probably meant; NULL = none. Owned by the caller. */
char *scope_nearest(const Scope *s, const char *name);
/** Is it an ARG before the first FROM, or one of the platform? */
bool scope_has_global(const Scope *s, const char *name);
/** Lets an expanded ENV or ARG take effect on the stage; other instructions have none. -EINVAL beyond LIMIT_DOCKERFILE_ENV. */
int scope_apply(Scope *s, const Instruction *expanded, Err *err);

/** The environment of RUN: ENV, then ARGs that it does not hide, then proxies. Owned by the caller. */
char **scope_run_env(const Scope *s);
/** The ARGs among them that cache and history know ("NAME=value", sorted by name). Owned by the caller. */
char **scope_run_args(const Scope *s);
/** Names in `args` that no ARG of the file and nothing predefined takes: for a warning. Owned by the caller. */
char **dockerfile_unused_args(const Dockerfile *f, char *const *args);
