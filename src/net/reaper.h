// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Deletes network interfaces in the background. The kernel does not return from RTM_DELLINK before all
 * processors have let go of the interface, which takes tens of milliseconds; too long for the loop. So a
 * thread does it, one for each burst of deletions: it starts when the first is queued and ends when the queue
 * is empty, so at rest it costs nothing.
 */

#include <uv.h>

#include "base/err.h"

typedef struct Reaper Reaper;

/** `loop` NULL: each deletion is done at once by the caller. */
int reaper_new(uv_loop_t *loop, Reaper **ret, Err *err);
/** Waits for the deletions under way; callbacks are dropped. NULL is fine. */
void reaper_free(Reaper *r);
/**
 * Deletes the interface that is named so now, not one that gets the name later; `done` (may be NULL) is called from the loop. A
 * missing interface is success.
 */
void reaper_delete(Reaper *r, const char *ifname, void (*done)(void *user, const Err *err), void *user);
/** The same interface is about to go by itself, with its namespace: it is deleted if it is still there in ten seconds. */
void reaper_expect(Reaper *r, const char *ifname);
