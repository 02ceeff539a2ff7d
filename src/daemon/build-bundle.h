// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the container of a RUN instruction is made of: the service that it is, its mounts, SSH agents, network and files. Private to
 * build-step.c, which runs it, and build-bundle.c.
 */

#include "base/limits.h"
#include "daemon/build-parts.h"
#include "run/attach.h"
#include "run/build-root.h"
#include "run/bundle.h"
#include "run/container.h"

/** An SSH agent that the instruction mounts. */
typedef struct StepAgent StepAgent;

struct BuildStep {
	Builder *b;
	json_int_t number, step;
	json_t *request;
	char id[65];
	ContainerPaths paths;
	Service svc;
	BundleMount *mounts;
	size_t n_mounts;
	char **owned;     /* strings of the mounts */
	char **targets;   /* what is mounted where */
	StepAgent *agents[LIMIT_BUILD_AGENTS];
	size_t n_agents;
	char *hosts, *resolv_conf;
	Stubs *stubs;
	BuildPlace *place; /* NULL: the host's network */
	Attach *attach;
	ContainerWatch *watch;
	uv_timer_t *timer;
	bool creating, ended, killed, mounted, abandoned;
	bool shell;        /* what runs is the shell, not the instruction */
	int exit_code;
	bool oom;
	int64_t peak;
	Err err;
};

/**
 * The root is mounted (`mounted`), and all that the runtime reads is written. What of it was done when it fails is build-step.c's to
 * remove, as after a run.
 */
int build_bundle_make(BuildStep *s, Err *err);
/** Writes the configuration once more, for what the service is now. */
int build_bundle_write(BuildStep *s, Err *err);
void build_bundle_close_agents(BuildStep *s);
