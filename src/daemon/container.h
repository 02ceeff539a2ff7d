// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A container of a stack through its life: made from the model, started (network, volumes, root, bundle,
 * conmon), watched, restarted by its policy, stopped with its grace period, removed. Names begin with ctr_,
 * since container_ is run/'s.
 *
 *   CREATED ─start─▶ STARTING ─▶ RUNNING ─stop─▶ STOPPING ─▶ EXITED ─remove─▶ REMOVING ─▶ gone
 *                        └────────failed─────────────────────▲ │
 *                                 RUNNING ──ended by itself──┘ └─restart policy─▶ STARTING
 */

#include "daemon/daemon.h"

/**
 * A container for slot `number` of the service as the stack's model has it, in memory only (no row yet).
 * -ENOENT if the image is gone. On success it is in d->containers.
 */
int ctr_new(StackState *s, const char *service, int number, Container **ret, Err *err);

typedef struct CtrSpec {
	const Stack *model;
	const Service *svc;   /* of the model, or like one of it */
	int number;
	const char *image_id; /* NULL: what its reference means now */
	const char *name;     /* NULL: the usual one */
	CtrRole role;
	int release;
	bool oneoff;
	const Container *old; /* in whose place it comes: anonymous volumes are carried over; or NULL */
} CtrSpec;
/** As ctr_new, for what is said. */
int ctr_make(StackState *s, const CtrSpec *spec, Container **ret, Err *err);
/**
 * The container of `service` that goes with this one: of two generations of it, that of its own generation, else the one that serves.
 * NULL: there is none.
 */
Container *ctr_partner(const Container *c, const char *service);
/** Takes it out of d->containers and frees it; kernel and disk are left alone. */
void ctr_drop(Container *c);

/* Steps of the plan: each begins here and ends later with ctr_changed. */
void ctr_start(Container *c);
void ctr_stop(Container *c);
void ctr_remove(Container *c);
/** Carries out the removals whose intent has been written. */
void ctr_run_removals(Daemon *d);

/** Sends a signal now. An end after SIGKILL or its stop signal counts as a stop by a person. -ESRCH text if it does not run. */
int ctr_kill(Container *c, int sig, Err *err);
int ctr_pause(Container *c, bool pause, Err *err);

/** Its end will be noticed from now on. */
int ctr_watch(Container *c, Err *err);
/** At the daemon's start: what is it really doing? Adopts a running one, takes note of an end. Fails where that cannot be seen. */
int ctr_adopt(Container *c, Err *err);

/** Rotates its log if it has grown past its limit. */
void ctr_rotate_log(Container *c);
/** One-shot timers of a container, made when they are first needed. */
void ctr_timer_start(Container *c, uv_timer_t **t, uv_timer_cb fn, uint64_t msec);
void ctr_timer_stop(uv_timer_t **t);
void ctr_ports_free(Container *c);
/** What is derived of a container whose fields come from the store or the model: paths, health check. */
void ctr_init(Container *c);
/** "project-service-1", or container_name. Owned by the caller. */
char *ctr_name(const char *stack, const Service *svc, int number);

/** A start, a stop's grace period or a clean-up is under way. */
bool ctr_is_busy(const Container *c);
/** Something that a row, a waiter or a plan depends on has changed. */
void ctr_changed(Container *c);
/** The last lines of its log as a JSON array of strings (invalid UTF-8 is replaced). */
json_t *ctr_last_lines(Container *c, size_t n);

typedef enum WaitFor { WAIT_NOT_RUNNING, WAIT_NEXT_EXIT, WAIT_REMOVED, WAIT_RUNNING } WaitFor;
typedef struct Waiter Waiter;
/**
 * Calls `fn` once, from the loop or at once, when the condition holds; WAIT_RUNNING ends also when the start has failed (c->error).
 * `c` is NULL when it was removed; `exit_code` is that of its last run.
 */
Waiter *ctr_wait(Container *c, WaitFor what, void (*fn)(void *user, Container *c, int exit_code), void *user);
/** The callback will not come. NULL is allowed. */
void ctr_wait_cancel(Waiter *w);
