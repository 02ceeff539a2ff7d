// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Time. Intervals and timeouts use the monotonic clock, what people read the real-time clock.
 * Unit: nanoseconds everywhere.
 */

#include <stdint.h>

#define NSEC_PER_SEC 1000000000LL
#define NSEC_PER_MSEC 1000000LL
#define TIME_TEXT_MAX 40

/** CLOCK_MONOTONIC. */
int64_t time_mono(void);
/** CLOCK_REALTIME, since the epoch. */
int64_t time_real(void);
/**
 * Milliseconds for a libuv timer that must not be due before `ns` have passed: the loop's clock has whole ones, and may be read from a clock
 * that ticks each millisecond, so it is up to two of them behind. The loop's time must have been updated.
 */
uint64_t time_timer_msec(int64_t ns);
/** RFC 3339 with nanoseconds in UTC, "2024-01-02T03:04:05.000000006Z"; 0 gives "0001-01-01T00:00:00Z". */
const char *time_rfc3339(int64_t real_ns, char dst[TIME_TEXT_MAX]);
/** Parses RFC 3339 with any fraction and offset. -EINVAL. */
int time_parse_rfc3339(const char *s, int64_t *ret_real_ns);
/**
 * A moment as docker's --since takes it: RFC 3339 (zone optional), a date, seconds since the epoch
 * with a fraction, or a Go duration that is subtracted from now. -EINVAL.
 */
int time_parse_moment(const char *s, int64_t now_real_ns, int64_t *ret_real_ns);
