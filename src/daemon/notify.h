// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Notices of what happens to a stack, to the receivers in its x-stead.notify. What leaves the machine is masked first (notify/mask.h): the
 * stack's secrets, whatever a failing program printed of them.
 */

#include "daemon/daemon.h"
#include "notify/mask.h"
#include "notify/notice.h"

void notify_open(Daemon *d);
/** What waits stays in the store. */
void notify_close(Daemon *d);

/** To the receivers of the model. `n` is borrowed; its id, time, host and (if NULL) url are filled in. Never fails: the log says. */
void notify_event(Daemon *d, const Stack *model, const Notice *n);

/** The secrets of a stack: variables of its services and images whose names say so, contents of its secrets, addresses of its receivers. The caller's. */
Mask *notify_mask(Daemon *d, const Stack *model);
