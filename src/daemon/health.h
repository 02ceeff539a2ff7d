// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Health probes with Docker's timing: the first after one interval, the next one interval after the
 * end of the last; within start_period failures do not count while the state is "starting", and the first success ends
 * it; start_interval takes interval's place as long as it is starting and inside start_period. `retries` failures in
 * a row make it unhealthy. A probe that takes longer than its timeout is killed and counts as a failure (-1).
 */

#include "daemon/daemon.h"

/** Begins for a container that has just started (or was adopted: `since` is when it started, real ns). Nothing without a check. */
void health_start(Container *c, bool adopted);
void health_stop(Container *c);
/**
 * While a deploy waits for the container (from its making on, if it likes): until the first success probes come 50 ms, 100 ms, 200 ms …
 * after one another, never further apart than its interval or 1 s, and failures do not count against `retries`. Off: as usual from now on.
 */
void health_eager(Container *c, bool on);
/** Docker's State.Health, or NULL without a check. New reference. */
json_t *health_json(const Container *c);
