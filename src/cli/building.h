// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A build from the client's side: reads the Dockerfile and what is ignored, asks the daemon to build, gives it what it wants of the
 * context, secrets and keys, and shows what happens. Used by `build`, and by `up` and `deploy` for services with `build:`.
 */

#include <jansson.h>

#include "cli/building-agent.h"
#include "cli/building-cache.h"
#include "cli/client.h"
#include "cli/git.h"
#include "model/stack.h"

/** A file or variable that RUN --mount=type=secret may have. */
typedef struct BuildingSecret {
	char *id;
	char *file; /* or NULL */
	char *text; /* its value, else */
} BuildingSecret;

/** A directory that the Dockerfile knows by a name (--build-context, additional_contexts). */
typedef struct BuildingContext {
	char *name;
	char *remote;               /* the repository or archive that it comes from, as it is written, or NULL */
	GitCheckout checkout;       /* of that, once it was asked for */
	char *dir;                  /* absolute; NULL: it was not asked for yet */
	char *ignore, *ignore_name; /* of its own, or NULL */
} BuildingContext;

typedef struct Building {
	char *context;         /* absolute directory; NULL: there is none */
	char *context_id;      /* how the daemon knows it; NULL: by this machine and the directory */
	GitCheckout checkout;  /* where the context is a repository's or an archive's */
	char *dockerfile;      /* its text */
	char *dockerfile_name; /* as errors and the daemon name it */
	char *ignore, *ignore_name; /* text and name of the ignore file, or NULL */
	json_t *options;       /* of the request, docs/API.md: tags, args, target, … */
	json_t *limits;        /* the same */
	BuildingSecret *secrets;
	size_t n_secrets;
	BuildAgents agents;    /* for RUN --mount=type=ssh */
	BuildingCache *caches; /* directories, by their numbers in the options */
	size_t n_caches;
	BuildingContext *contexts;
	size_t n_contexts;
	bool check;            /* look for what is wrong with the Dockerfile, and build nothing */
	bool quiet;            /* nothing but errors */
	const char *id_file;   /* gets the image's id; or NULL */
	char *image;           /* the result: its id */
} Building;

void building_init(Building *b);
void building_done(Building *b);
#define AUTO_BUILDING __attribute__((cleanup(building_done))) Building

/**
 * Reads the Dockerfile: `file` (a path; NULL: CONTEXT/Dockerfile; "-": standard input) or `text`, and the ignore file that goes with it.
 * A context that is a git repository is fetched, with the agents and secrets that `b` has by now, and an archive (at a URL; "-": on standard input)
 * unpacked; `file` is then a path in it. What is no archive is the Dockerfile, and there is no context.
 * -EINVAL, -ENOENT with what to do; -ECANCELED: an interrupt has come meanwhile.
 */
int building_read(Building *b, const char *context, const char *file, const char *text, Err *err);
/** "id=ID,src=FILE" or "id=ID,env=NAME" of --secret. */
int building_add_secret(Building *b, const char *text, Err *err);
/** 1: the value of the secret of that id; 0: there is none. */
int building_secret(const Building *b, const char *id, Buf *ret, Err *err);
/** Prints why nothing was built; gives the exit code. */
int building_refuse(const Err *err);

/**
 * What --cache-from or --cache-to (`write`) says, or a service's cache_from or cache_to; relative paths start from `base`, NULL: the
 * process's directory.
 */
int building_add_cache(Building *b, const char *text, bool write, const char *base, Err *err);

/**
 * A named context: docker-image://IMAGE, a directory, a git repository, or an archive's URL. -ENOTSUP for others, with what to do instead. A later one of the same
 * name takes the place of an earlier one.
 */
int building_add_context(Building *b, const char *name, const char *value, Err *err);
/** Fetches its repository or archive. `tick` is git.h's. */
int building_fetch_context(const Building *b, BuildingContext *c, bool (*tick)(void *user), void *user, Err *err);
/** How the daemon knows a directory of this machine. Owned by the caller. */
char *building_context_id(const char *dir);

/** Builds, or checks. Gives the exit code; errors have been printed. */
int building_run(const Cli *cli, Building *b);

/** `stead build --check`: prints what it finds. EXIT_FAILED if there is something. */
int building_check(const Cli *cli, const Building *b);

/** The build arguments, "NAME=value"; a strv of the caller. */
char **building_args(const Building *b);
/** The names of its named contexts; a strv of the caller. */
char **building_context_names(const Building *b);
/** The user's credentials for those of them that will be pulled, by the registry's name; NULL: none. New reference. */
json_t *building_auths(const Building *b, HttpClient *c);

typedef enum BuildServices {
	BUILD_ALL,     /* whatever has `build:` */
	BUILD_MISSING, /* whose image is not there, or whose pull_policy says so */
	BUILD_CHECK,   /* as the first, but nothing is built: their Dockerfiles are checked, and all of them, whatever is found */
} BuildServices;

/**
 * Builds services (a strv; NULL: all, with what they depend on for `deps`) and takes `build:` out of the model afterwards. `adjust` (may be
 * NULL) is called for each before it is built. Gives the exit code; errors have been printed.
 */
int building_services(const Cli *cli, Stack *stack, char *const *services, bool deps, BuildServices which,
	int (*adjust)(void *user, const Service *svc, Building *b, Err *err), void *user);
