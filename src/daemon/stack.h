// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Stacks: the loop that asks the plan and carries out its steps.
 */

#include "daemon/daemon.h"

/** The state of a stack, made if there is none. */
StackState *stack_state(Daemon *d, const char *name);
/** Something changed: a plan is made before the loop sleeps. Any number of calls give one plan. */
void stack_wake(StackState *s);
void stack_wake_all(Daemon *d);
/** Runs the plans that are due. */
void stack_run_plans(Daemon *d);
/** Forgets a stack: its row and its state. No container of it may be left. */
void stack_forget(StackState *s);
void stack_state_free(StackState *s);
/** Takes over a model (freeing the old one) as what is wanted. */
void stack_set_model(StackState *s, Stack *model);
/** A slot whose predecessor is still there. */
void stack_add_missing(StackState *s, const char *service, int number, bool start);
/** The predecessor stays: nothing takes its place. */
void stack_drop_missing(StackState *s, const char *service, int number);
/** What takes the predecessor's place is not started. */
void stack_leave_stopped(StackState *s, const char *service, int number);
/** Makes the container of slot i of s->missing (its row too); d->replaced is the one whose place it takes. */
void stack_fill_slot(StackState *s, size_t i);
