// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A daemon for the tests of the commands: a child process that answers requests on a unix socket by a
 * table, including answers that no daemon should give.
 */

#include <stdbool.h>
#include <stddef.h>

typedef struct FakeRule {
	const char *request; /* what "METHOD TARGET" begins with */
	int status;          /* with `body` as JSON; 0: `raw` is the whole answer */
	const char *body;
	const char *raw;
	size_t raw_len; /* 0 = strlen */
	int times;      /* the rule is used up after so many requests; 0 = never */
	bool close;     /* the connection is closed after it */
	bool echo;      /* everything sent from then on comes back in frames of stdout, until the client closes its side */
	bool hang;      /* nothing more happens, until the client goes */
	int signal;     /* sent to the test itself after the answer */
	const char *until; /* the connection stays open until a request that begins so has come */
} FakeRule;

typedef struct FakeServer FakeServer;

/** Rules end with a NULL request; the first that matches and is not used up answers, else 404. */
FakeServer *fake_start(const char *socket_path, const FakeRule *rules);
/** Ends it; gives the requests, a line "METHOD TARGET BODY" each, in the order of their arrival. The caller's. */
char *fake_stop(FakeServer *s);
