// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The http and https URLs that image work meets (RFC 3986), strictly: what two readers could take for two hosts is refused. Pure.
 */

#include <stdbool.h>

#include "base/err.h"

typedef struct Url {
	bool tls;
	char *host; /* lower case; "[fd00::1]" */
	char *port; /* always there */
	char *path; /* "/…" with the query; without a fragment */
} Url;

void url_done(Url *u);
#define AUTO_URL __attribute__((cleanup(url_done))) Url

/** -EINVAL with the reason for other schemes, user names in it, control characters, blanks and backslashes. */
int url_parse(const char *s, Url *ret, Err *err);
/** Same scheme, host and port (RFC 6454): what credentials belong to. */
bool url_same_origin(const Url *a, const Url *b);
/** "localhost", 127.0.0.0/8, ::1: `host` with or without a port, "[::1]:5000". */
bool url_is_local(const char *host);
