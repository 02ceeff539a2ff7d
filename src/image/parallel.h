// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The same work on several things at once, in threads of a worker. The first failure ends all: no further thing is begun, and what is under
 * way asks parallel_failed now and then.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

typedef struct Parallel {
	int (*one)(void *user, size_t i, Err *err);
	void *user;
	size_t n;
	/* The rest is parallel_run's. */
	pthread_mutex_t mutex;
	size_t next;
	bool failed;
	Err err;
} Parallel;

/** one(user, i) for each i < n, in order of their beginnings, at most `threads` at once. The error is that of the first that failed. */
int parallel_run(Parallel *p, size_t threads, Err *err);
/** From any thread. */
bool parallel_failed(Parallel *p);
