// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Notices on their way: a queue for each receiver, each message sent by a stead-notify process. A message that fails is tried again after 1 s, then
 * twice as long each time up to 5 min, or as late as the receiver asks (Retry-After), and given up an hour after it was made. Order is
 * kept within a receiver; receivers do not wait for one another. What waits is in the store, so that it survives the daemon; a
 * message that was sent just before a crash is sent once more, with the same id.
 */

#include <stdint.h>
#include <uv.h>

#include "model/stack.h"
#include "notify/notice.h"
#include "store/store.h"

typedef struct NotifyQueue NotifyQueue;

typedef struct NotifyTimes {
	int64_t first_delay, longest_delay, give_up; /* ns */
} NotifyTimes;

/** `times` NULL: as above. */
NotifyQueue *notify_queue_new(uv_loop_t *loop, Store *store, const NotifyTimes *times);
/** Senders are killed; what waits stays in the store. NULL is fine. */
void notify_queue_free(NotifyQueue *q);
/** The target is copied. */
void notify_queue_add(NotifyQueue *q, const char *stack, const NotifyTarget *t, const Notice *n);
/** Once, at the start: goes on with what the store has. `model_of` gives a stack's model or NULL; what is for receivers that are in none is deleted. */
void notify_queue_restore(NotifyQueue *q, const Stack *(*model_of)(void *user, const char *stack), void *user);
/** Messages that are neither sent nor given up. */
size_t notify_queue_length(const NotifyQueue *q);
