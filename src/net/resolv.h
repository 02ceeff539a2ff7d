// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The host's resolver configuration (resolv.conf(5)): where names that are not containers' are asked.
 */

#include <uv.h>

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

/**
 * Reads the host's configuration now and whenever it changes (a laptop comes into another network), and gives it to
 * `read` each time; the first time before this returns.
 */
typedef struct ResolvWatch ResolvWatch;
int resolv_watch_new(uv_loop_t *loop, const char *path, void (*read)(void *user, const ResolvConf *conf), void *user,
	ResolvWatch **ret, Err *err);
void resolv_watch_free(ResolvWatch *w);
