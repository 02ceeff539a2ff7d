// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The host's resolver configuration (resolv.conf(5)): where names that are not containers' are asked.
 */

#include "net/addr.h"

#define RESOLV_SERVERS_MAX 3 /* as MAXNS in resolv.h; further ones are ignored */
#define RESOLV_SEARCH_MAX 16 /* further ones are ignored */

typedef struct ResolvConf {
	Addr servers[RESOLV_SERVERS_MAX];
	size_t n_servers;
	char **search;
	char **options;
} ResolvConf;

/** Parses text; unknown lines, malformed addresses are skipped as the C library does. */
void resolv_parse(const char *text, ResolvConf *ret);
/** Reads `path` (NULL: /etc/resolv.conf). A missing file gives no servers and success. Loopback servers are
 * kept: stead-names asks from the host's namespace. */
int resolv_read(const char *path, ResolvConf *ret, Err *err);
void resolv_done(ResolvConf *r);
