// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which stages a target needs, in which order, and which of them know nothing of each other. A stage needs what it is FROM,
 * what its COPY --from and RUN --mount=from name, and what the ONBUILD triggers of a stage that it is FROM name.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "dockerfile/dockerfile.h"
#include "dockerfile/scope.h"

typedef enum FromKind {
	FROM_SCRATCH, /* an empty file system */
	FROM_STAGE,
	FROM_IMAGE,
	FROM_CONTEXT, /* a named context (--build-context, additional_contexts) */
} FromKind;

typedef struct From {
	FromKind kind;
	size_t stage; /* index in Dockerfile.stages */
	char *name;   /* of the image, as written, variables replaced; of the context, as it was given. Owned */
} From;

typedef struct GraphStage {
	size_t stage;   /* index in Dockerfile.stages */
	From base;
	char *platform; /* "linux/arm64", lower case; NULL = none said, so the target's */
	size_t *needs;  /* indexes in Graph.stages, each smaller than this one's own; ascending, each once */
	size_t n_needs;
} GraphStage;

typedef struct Graph {
	GraphStage *stages; /* only what is needed; what a stage needs stands before it. The last one is the target */
	size_t n_stages;
} Graph;

/**
 * `target` is a stage's name (in any case) or number, NULL = the last stage. `contexts` are names of named contexts, which hide
 * stages and images of the same name; NULL = none. -EINVAL: no such target (with the nearest), a circle of stages,
 * a number beyond the stages, what instruction_expand finds in a FROM.
 */
int dockerfile_graph(const Dockerfile *f, const Scope *global, char *const *contexts, const char *target, Graph **ret, Err *err);
/**
 * What `name` of a COPY --from or --mount=from means in stage number `stage`: a named context, a stage by name (the last one before
 * this, else a later one) or number, or an image. `i` is for errors. For FROM itself only earlier stages count, and no numbers.
 */
int dockerfile_from(const Dockerfile *f, size_t stage, const Instruction *i, const char *name, char *const *contexts, From *ret, Err *err);
void from_done(From *f);
void graph_free(Graph *g);
void graph_freep(Graph **g);
