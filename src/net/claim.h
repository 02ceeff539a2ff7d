// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Claims: two daemons on one machine must not choose the same subnet. The host's routes tell what is in use,
 * but a network's bridge, and with it the route, comes some milliseconds after its subnet has been chosen. A
 * claim closes that gap: a lock on the subnet's place in one file of the machine, which the kernel
 * gives back when the daemon ends, however it ends.
 */

#include "net/addr.h"

#define CLAIM_FILE "/run/stead-subnets"

typedef struct Claims Claims;

/** Without the file (no permission, say) nothing is claimed and nothing refused: `path` is only tried. Never NULL. */
Claims *claims_new(const char *path);
void claims_free(Claims *c);
/** 0: the subnet is ours (also when it was before); 1: another daemon has it, or a part of it. */
int claims_take(Claims *c, const Addr *subnet);
void claims_release(Claims *c, const Addr *subnet);
