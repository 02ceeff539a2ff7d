// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Restart policies with Docker's back-off: 100 ms, doubled each time up to a minute, begun anew after
 * a run of ten seconds; `deploy.restart_policy.delay` replaces it. A stop by a person ends it.
 */

#include "daemon/daemon.h"

/** After an end that nobody asked for: sets `restarting` if the policy wants it started again. */
void restart_decide(Container *c);
/** `restarting` was set and its traces are gone: the back-off begins. */
void restart_schedule(Container *c);
bool restart_is_due(const Container *c);
void restart_cancel(Container *c);
/** When the daemon starts and the container does not run: should it come back? */
bool restart_after_boot(const Container *c);
