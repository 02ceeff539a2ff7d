// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the parts of the machine in memory share. Private to sim*.c. Who is who:
 *
 *   sim.c         random numbers, calls that come later, resets and the comparison, of all parts
 *   sim-run.c     containers, their bundles and logs, probes
 *   sim-net.c     bridges, namespaces, packet rules, names
 *   sim-edge.c    the edge
 *   sim-image.c   image jobs and builds
 *   sim-client.c  the client's side of HTTP
 */

#include <uv.h>

#include "daemon/sim.h"

/* A callback that the daemon waits for; dropped when it dies. */
typedef struct SimLater SimLater;
/** Calls fn(arg) once after msec; the handle is good until then. */
SimLater *sim_later(uv_loop_t *loop, void (*fn)(void *arg), void *arg, unsigned msec);
/** The same, but it comes while the daemon is closed, too. */
void sim_later_anyway(uv_loop_t *loop, void (*fn)(void *arg), void *arg, unsigned msec);
/** Also takes NULL, and one that is not there any more: it was dropped with the daemon. */
void sim_later_cancel(const SimLater *which);

/** Forget what the part holds, as a reboot does. */
void sim_run_reset(void);
void sim_net_reset(void);

/** sim_compare, each for its part. */
char *sim_run_compare(Daemon *d);
char *sim_net_compare(Daemon *d);

bool sim_net_has_namespace(const char *id);
