// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the parts of builds share. Private to daemon/build*.c.
 */

#include "base/buf.h"
#include "daemon/build.h"
#include "image/job.h"
#include "net/addr.h"

typedef struct BuildStep BuildStep;
typedef struct BuildPlace BuildPlace;
typedef struct BuildPull BuildPull;

/** Who asked. Nothing comes any more after `done`, or after builder_cancel. */
typedef struct BuildFront {
	/** Borrowed. True: more than LIMIT_BUILD_BACKLOG waits for a client that does not read. */
	bool (*event)(void *user, const json_t *event);
	/** Output of a RUN instruction, stream 1 or 2; true: no more until builder_resume. */
	bool (*output)(void *user, json_int_t step, int stream, const char *p, size_t n);
	/** A question to the SSH agent of that id; answered by builder_agent_answer. NULL: there is nobody to ask. */
	void (*agent)(void *user, uint32_t number, const char *id, const void *p, size_t n);
	/** `image` is in the store, `report` is the worker's ("built"); or `err` says why not. */
	void (*done)(void *user, const Image *image, const json_t *report, const Err *err);
	void *user;
} BuildFront;

typedef struct BuildLimits {
	int64_t memory;  /* bytes of one RUN instruction, 0 = what is free, but for some room */
	int64_t memory_swap; /* as Service.memswap_limit */
	double cpus;     /* 0 = all, behind what serves */
	int64_t cpu_shares; /* -1 = LOW_SHARES */
	char *cpuset;
	int64_t shm_size; /* -1 = 64 MiB */
	char *network;   /* "default", "host", "none" */
	char **hosts;    /* "name=address" */
	json_t *ulimits; /* as a service has them, or NULL */
	bool shell;      /* a shell in the file system of a RUN instruction that failed */
	json_t *auths;   /* credentials for pulls, or NULL */
} BuildLimits;

struct Builder {
	Daemon *d;
	Job *job;               /* NULL: ended */
	uv_pipe_t *requests;    /* the worker's standard input; NULL: closed */
	BuildFront front;
	BuildLimits limits;
	BuildStep **steps;
	size_t n_steps;
	json_t *waiting;        /* requests to run for which there is no place yet */
	BuildPull **pulls;      /* of base images, under way */
	size_t n_pulls;
	uint32_t questions;     /* to SSH agents, so far */
	size_t held;            /* callers that still need it: it is not freed meanwhile */
	bool cancelled;
	int64_t began;          /* seconds since the epoch */
	bool twice; /* without the cache, or beside another: what is made may have been made before, and one of them is not needed */
	char *image_id;         /* what was made */
	json_t *report;
	Err err;
};

struct Builds {
	Builder **list;
	size_t n;
	struct BuildNetwork *network; /* build-net.c; NULL while there is none */
	int64_t tidied; /* when the cache was last kept within its quota, seconds since the epoch; 0: not yet */
};

/* ── build.c ──────────────────────────────────────────────────────── */

/**
 * Starts a build. Takes ownership of `options` (the worker's first line) and of `limits`' members; `context` becomes descriptor 3 of the
 * worker. On failure `front` is not called.
 */
int builder_start(Daemon *d, json_t *options, BuildLimits *limits, int context, const BuildFront *front, Builder **ret, Err *err);
/** Ends it: `front` is not called any more. The pointer is dead. */
void builder_cancel(Builder *b);
/** The client has taken what it was sent. */
void builder_resume(Builder *b);
/** Options that every front end has, checked and normalised in place: tags, network, platform. */
int build_options_check(json_t *options, Err *err);
void build_limits_done(BuildLimits *l);
/** Input and window size for the shell in a step that failed. */
void builder_shell_input(Builder *b, const void *p, size_t n);
void builder_shell_resize(Builder *b, unsigned rows, unsigned columns);

/** What the client's SSH agent says; no bytes: it says nothing. */
void builder_agent_answer(Builder *b, uint32_t number, const void *p, size_t n);

/** A line for the worker. Takes ownership. */
void builder_answer(Builder *b, json_t *line);
/** A step has answered and is gone. */
void builder_step_ended(Builder *b, BuildStep *s);
/** An event of the daemon's own. Takes ownership. */
void builder_event(Builder *b, json_t *event);

/* ── build-why.c ──────────────────────────────────────────────────── */

void build_why_keep(Daemon *d, const char *image_id, const json_t *report);

/* ── build-step.c ─────────────────────────────────────────────────── */

/** Runs what the worker's message asks for, and answers it. Borrowed. */
void build_step_start(Builder *b, const json_t *request);
/** It ends as soon as it can; the worker gets no answer. */
void build_step_kill(BuildStep *s);
void build_step_pause(BuildStep *s, bool pause);
/** The daemon goes: kills what runs, waits for nothing. Frees. */
void build_step_abandon(BuildStep *s);
/** True: it is a shell that took the input. */
bool build_step_input(BuildStep *s, const void *p, size_t n);
bool build_step_resize(BuildStep *s, unsigned rows, unsigned columns);

/* ── build-bundle.c ───────────────────────────────────────────────── */

/** True: it had asked. */
bool build_step_agent_answer(BuildStep *s, uint32_t number, const void *p, size_t n);

/* ── build-net.c ──────────────────────────────────────────────────── */

/** A network namespace for one RUN instruction at a time of one build. */
struct BuildPlace {
	char id[65];
	const Builder *owner;
	bool busy;
	bool isolated;   /* network none: nothing but lo */
	Addr address, gateway;
	char *netns;     /* path */
};

/** One of the build's own that is free, or a new one. */
int build_place_take(Builder *b, bool isolated, BuildPlace **ret, Err *err);
void build_place_leave(BuildPlace *p);
/** The build has ended; the network goes with the last place. */
void build_places_drop(Builder *b);
