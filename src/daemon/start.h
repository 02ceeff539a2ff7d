// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The daemon without its API and its signals: what main.c and the simulation of test-sim.c both start.
 */

#include "daemon/daemon.h"

/** `d` is zeroed but for `o` and `loop`. Loads, recovers, adopts; the loop then does the rest. After a failure too: daemon_close. */
int daemon_open(Daemon *d, Err *err);
/** Lets go of everything; containers run on. Runs the loop until its handles are closed. What was not written yet is not written. */
void daemon_close(Daemon *d);
/**
 * The machine goes down: stops all containers in the order of their dependencies, each with its signal and its grace period,
 * then stops the loop. Rows stay as they are now, so that the next start finds what a power cut would have left, and does the
 * same: what was wanted comes back.
 */
void daemon_power_off(Daemon *d);
/**
 * For an orderly end, before daemon_close: where no container is left, the packet rules, the names server and the
 * cgroup have nobody to serve and go, so that the kernel is as it was found. Otherwise they stay.
 */
void daemon_leave(Daemon *d);
