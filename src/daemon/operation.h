// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Operations: what a person asks of a stack (`up`, `down`, `stop`, …). An operation checks everything
 * that can be refused at once, writes its intent to the store, marks containers with what is asked of
 * them, and then only watches: the plan moves the containers. Operations on one stack queue behind each
 * other. The client may go away; the operation goes on. After a crash of the daemon the intent in the
 * store is carried on with, without an operation.
 */

#include "daemon/daemon.h"
#include "io/http-server.h"

typedef enum OperationKind { OP_UP, OP_DOWN, OP_STOP, OP_START, OP_RESTART, OP_KILL, OP_RM, OP_DEPLOY, OP_ROLLBACK } OperationKind;

struct Operation {
	OperationKind kind;
	StackState *s;
	HttpRequest *r; /* NULL once the client has gone */
	Stack *model;   /* OP_UP: moved into the StackState when the operation begins */
	char **services;
	char **scale; /* "service=3" */
	bool wait, no_start, no_deps, force_recreate, no_recreate, always_recreate_deps;
	bool remove_orphans, renew_volumes, volumes, stop;
	char *images; /* OP_DOWN: NULL, "all" or "local" */
	int timeout;  /* seconds, -1 = each service's own */
	int signal;
	char **targets; /* names of the containers that OP_UP is about */
	char **new_networks, **new_volumes; /* made by this operation: undone if a first `up` fails */
	bool first;     /* the stack was not there before */
	char **image_ids; /* OP_UP, OP_DEPLOY, OP_ROLLBACK: "service=id" of what is to run */
	int release;    /* OP_UP without a deploy: the release that it records, 0 = nothing has changed */
	bool plan, no_wait; /* OP_DEPLOY, OP_ROLLBACK */
	Image **coming;     /* plan: images that are going to be here; deploy-coming.c */
	size_t n_coming;
	int to;             /* OP_ROLLBACK: release, 0 = the one before */
	char *who, *commit, *author;
	struct Deploy *deploy; /* it goes the way of a deploy; NULL until it begins */
	bool failed, undone;
	ModelPath where; /* what of the model was refused */
	json_t *failure; /* the last line to send */
	Operation *next;
};

/** Parses the body and queues. On <0 nothing was queued and `r` is not answered. Takes ownership of nothing. */
int operation_submit(Daemon *d, OperationKind kind, const char *stack, json_t *body, HttpRequest *r, Err *err);

/** A line to the client of the running operation, if there is one. Takes ownership. */
void operation_line(StackState *s, json_t *line);
/** A line of progress to the client of the running operation, if there is one. */
void operation_report(StackState *s, const char *kind, const char *name, const char *service, const char *status);
void operation_warn(StackState *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** The running operation (if any) has failed because of `c` (may be NULL): no further container is started. */
void operation_fail(StackState *s, Container *c, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/** After a plan: ends the operation when nothing is left to do, and begins the next. */
void operation_check(StackState *s);
/** Ends without a word to the client (the daemon is stopping). */
void operation_free(Operation *op);

/* What each kind does when its turn comes: checks, writes the intent, marks. up.c, deploy.c and operation.c. */
int up_begin(Operation *op, Err *err);
/** Chooses the services of op->model (all, or those of op->services with their dependencies) and refuses what can be refused. */
int up_check(Operation *op, Err *err);
/** Networks and volumes of those services, within state_begin; op->new_networks and op->new_volumes get what was made. */
int up_prepare(Operation *op, Err *err);
/** Names the containers of services that the model does not have. */
void up_warn_orphans(StackState *s, const Stack *model);
/** A namespace of the service is that of `service`'s container. */
bool up_shares_with(const Service *svc, const char *service);
