// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * When to ask for a certificate: pure functions of what happened and of the clock, so that they can be tested without either. Times are seconds of the
 * real-time clock, since they outlive the daemon; a clock that jumps only moves the next attempt.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ACME_FAILURES_AN_HOUR 5 /* Let's Encrypt: failed validations for a name (https://letsencrypt.org/docs/rate-limits/) */

/** What is remembered of the attempts for one host, also over a restart. */
typedef struct AcmeHistory {
	int failures;                           /* in a row */
	int64_t failed[ACME_FAILURES_AN_HOUR];  /* when, the newest first; 0 = never */
	int64_t not_before;                     /* the server has asked to wait until then; 0 = it has not */
	int64_t issued;                         /* when the last certificate came; 0 = none did */
} AcmeHistory;

/** Two thirds of the lifetime. */
int64_t acme_renew_at(int64_t not_before, int64_t not_after);
/**
 * The next attempt, which may lie in the past. `not_after` 0: no certificate yet. `jitter`: any number; it spreads renewals that were issued together,
 * and repetitions, and is the same for the same host. A failure in the future, after the clock was set back, is moved to now. A certificate that is due when
 * it comes, since this machine's clock is ahead, is not asked for again at once, but after two days: a server gives only so many a week.
 */
int64_t acme_next(AcmeHistory *h, int64_t not_before, int64_t not_after, int64_t now, uint32_t jitter);
/** An attempt begins: until acme_succeeded it counts as a failure, so that a daemon that dies in each does not repeat it at once. */
void acme_began(AcmeHistory *h, int64_t now);
void acme_succeeded(AcmeHistory *h, int64_t now);
/** The server said "too many": not before `until` (bounded to a week), or an hour from now where it is 0. */
void acme_told_to_wait(AcmeHistory *h, int64_t until, int64_t now);

/** Preflight checks cost nobody anything: the n-th repetition comes after 2 s, 4 s, … at most 10 minutes. Seconds. */
int64_t acme_preflight_delay(int failures);
