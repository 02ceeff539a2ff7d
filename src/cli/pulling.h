// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Images on their way from and to registries: the daemon moves them, with the credentials that docker's configuration has for the registry; the
 * layers are shown as they come. Pulls that a service's pull_policy asks for.
 */

#include "cli/client.h"
#include "cli/progress.h"
#include "model/stack.h"

/** The domain of a reference ("docker.io" for "redis:7"). Owned by the caller. NULL: it is no reference. */
char *pulling_domain(const char *ref);

/** Pulls one image; its layers go to `p`. ret_status (may be NULL): "Image is up to date for …"; the caller's. */
int pulling_image(HttpClient *c, const char *ref, const char *platform, Progress *p, char **ret_status, Err *err);
/** Pushes one, likewise. `tag` NULL: all tags of that repository. */
int pulling_push(HttpClient *c, const char *repository, const char *tag, Progress *p, Err *err);

/**
 * Before services start: pulls what their pull_policy wants, each image once. `services` NULL: all; `deps`: what they depend on, too. `policy` (may be NULL)
 * is --pull: "always", "missing", "never". 0 or an exit code, errors have been printed: EXIT_USAGE, nothing was started.
 */
int pulling_services(const Cli *cli, const Stack *stack, char *const *services, bool deps, const char *policy, bool quiet);

typedef struct PullingPlan {
	const char *policy;
	char *const *builds; /* services that are built before */
	char *const *coming; /* images that will be there without it */
	json_t *rows;        /* gets steps of a plan, objects with "service", "step", "detail" */
} PullingPlan;

/** What would be built and pulled before a deploy of the services. *ret_lacking: some of it is not on the machine yet. Gives the exit code. */
int pulling_plan(const Cli *cli, const Stack *stack, char *const *services, const PullingPlan *plan, bool *ret_lacking);
