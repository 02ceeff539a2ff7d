// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Deploys: how a stack goes from one release to another and is never in between. A deploy (or rollback, or an `up` that changes
 * services with routes) is an Operation with a state machine of its own. It ends wholly new or wholly old, also when the daemon dies
 * on the way: the release's row says what was begun, the roles of containers say how far it has come. See deploy.c.
 */

#include "daemon/operation.h"

typedef struct Deploy Deploy;

/** Reads the options of deploy and rollback from the body. */
int deploy_parse(Operation *op, json_t *body, Err *err);
void deploy_coming_free(Operation *op);
/** Its turn has come. Of OP_UP: services are chosen and checked already, and deploy_takes_up was true. */
int deploy_begin(Operation *op, Err *err);
/** An `up` that would recreate a service with routes: it goes the way of a deploy. */
bool deploy_takes_up(Operation *op);
/** After each plan. True: it is over, and nothing of it is under way. */
bool deploy_check(Operation *op);
void deploy_free(Deploy *dp);

/** Something that operation.h calls a failure has happened to `c` (may be NULL). */
void deploy_failed(StackState *s, Container *c, const char *text);
/** What was there is put back. `ending`: the stack is going to be stopped, so nothing needs to be started again for that. */
void deploy_call_off(Operation *op, const char *why, bool ending);
/** Its last line; a new reference. */
json_t *deploy_last_line(const Operation *op);
/** "release 7 is being deployed by alice@host since 2024-…": who holds the stack. The caller's; NULL if no deploy does. */
char *deploy_holder(const StackState *s);

/** At the daemon's start, once containers are adopted: what a crash cut short is put back, or is finished. */
void deploy_recover(Daemon *d);
/** The model that the container belongs to: the release's under way for its candidates, else the stack's. May be NULL. */
const Stack *deploy_model(const Container *c);
/** Old containers are being started again: they do not wait for what can never come. */
bool deploy_restores(const StackState *s);
/** The deploy that runs cannot fail any more. */
bool deploy_committed(const StackState *s);
/** It is of the deploy that runs: its failure is the deploy's. */
bool deploy_concerns(const StackState *s, const Container *c);
/** Does not count for the conditions of other services: not switched to yet, or replaced. */
bool deploy_aside(const Container *c);
