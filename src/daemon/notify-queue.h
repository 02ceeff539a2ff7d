// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Notices on their way: a queue for each receiver, each message sent by a stead-notify process. A message that fails is tried again after 1 s, then
 * twice as long each time up to 5 min, or as late as the receiver asks (Retry-After), and given up an hour after it was made. Order is
 * kept within a receiver; receivers do not wait for one another.
 */

#include <stdint.h>
#include <uv.h>

#include "model/stack.h"
#include "notify/notice.h"

typedef struct NotifyQueue NotifyQueue;

typedef struct NotifyTimes {
	int64_t first_delay, longest_delay, give_up; /* ns */
} NotifyTimes;

/** `times` NULL: as above. */
NotifyQueue *notify_queue_new(uv_loop_t *loop, const NotifyTimes *times);
/** Senders are killed; what waits is lost. NULL is fine. */
void notify_queue_free(NotifyQueue *q);
/** The target is copied. */
void notify_queue_add(NotifyQueue *q, const char *stack, const NotifyTarget *t, const Notice *n);
/** Messages that are neither sent nor given up. */
size_t notify_queue_length(const NotifyQueue *q);
