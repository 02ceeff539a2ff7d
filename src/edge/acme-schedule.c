// SPDX-License-Identifier: Apache-2.0
#include "edge/acme-schedule.h"

#include <string.h>

#define MINUTE 60
#define HOUR 3600
#define DAY 86400
#define FIRST_DELAY (10 * MINUTE)
#define APART (2 * DAY) /* certificates for one host; Let's Encrypt: five of the same names a week */

int64_t acme_renew_at(int64_t not_before, int64_t not_after)
{
	return not_before + (not_after - not_before) / 3 * 2;
}

/* 0, 10, 30, 70, 150 minutes: at most four attempts in any hour. */
static int64_t delay_after(int failures)
{
	int64_t d = FIRST_DELAY;
	for (int i = 1; i < failures && d < DAY; i++)
		d *= 2;
	return d < DAY ? d : DAY;
}

static int64_t latest(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static int64_t earliest(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

int64_t acme_next(AcmeHistory *h, int64_t not_before, int64_t not_after, int64_t now, uint32_t jitter)
{
	int64_t at = now;
	for (int i = 0; i < ACME_FAILURES_AN_HOUR; i++)
		if (h->failed[i] > now)
			h->failed[i] = now;
	if (h->issued > now)
		h->issued = 0;
	if (not_after) {
		int64_t life = not_after - not_before;
		/* Up to a fortieth later: two days of ninety. */
		at = acme_renew_at(not_before, not_after) + (life >= 40 ? (int64_t) (jitter % (uint64_t) (life / 40)) : 0);
		if (h->issued)
			at = latest(at, h->issued + earliest(APART, life / 3 * 2));
	}
	if (h->failures) {
		int64_t d = delay_after(h->failures);
		at = latest(at, h->failed[0] + d + (int64_t) (jitter % (uint64_t) (d / 10)));
	}
	int64_t oldest = h->failed[ACME_FAILURES_AN_HOUR - 1];
	if (oldest)
		at = latest(at, oldest + HOUR + 1);
	if (h->not_before && h->not_before <= now + 8 * DAY)
		at = latest(at, h->not_before);
	return at;
}

void acme_began(AcmeHistory *h, int64_t now)
{
	memmove(&h->failed[1], &h->failed[0], sizeof(h->failed) - sizeof(h->failed[0]));
	h->failed[0] = now;
	if (h->failures < 1000)
		h->failures++;
	h->not_before = 0;
}

void acme_succeeded(AcmeHistory *h, int64_t now)
{
	*h = (AcmeHistory) { .issued = now };
}

void acme_told_to_wait(AcmeHistory *h, int64_t until, int64_t now)
{
	if (until < now + HOUR)
		until = now + HOUR;
	h->not_before = until < now + 7 * DAY ? until : now + 7 * DAY;
}

int64_t acme_preflight_delay(int failures)
{
	int64_t d = 2;
	for (int i = 1; i < failures && d < 10 * MINUTE; i++)
		d *= 2;
	return d < 10 * MINUTE ? d : 10 * MINUTE;
}
