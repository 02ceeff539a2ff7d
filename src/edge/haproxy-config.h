// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * HAProxy's configuration and map files as text, from typed values alone. It is written for a new process; while one runs, it is changed
 * through the runtime API to what would be written here (converge.h).
 */

#include "base/buf.h"
#include "edge/proxy-state.h"

/** Descriptors that a process is given (haproxy.h). */
enum {
	HAPROXY_FD_HTTP4 = 3,
	HAPROXY_FD_HTTP6,
	HAPROXY_FD_HTTPS4,
	HAPROXY_FD_HTTPS6,
	HAPROXY_FD_LOG,      /* pipe, to be written */
	HAPROXY_FD_LOG_READ, /* its other end: only kept, for the next daemon */
};
#define HAPROXY_LISTENERS 4 /* the first descriptors */

typedef struct HaproxyConfig {
	const char *dir;                   /* absolute, of files and sockets; haproxy_dir_check has passed it */
	bool listeners[HAPROXY_LISTENERS]; /* which of the first descriptors are there */
	uint16_t https_port;               /* for redirects */
	int threads;
	bool no_certs;                     /* there is none to start with: handshakes of names that come later work, of others none */
} HaproxyConfig;

/** A directory's path that cannot stand in a configuration (anything but letters, digits and "/._-+@"): -EINVAL. */
int haproxy_dir_check(const char *dir, Err *err);

/** All but the servers: two of the same text differ in nothing that the runtime API could not change. */
void haproxy_config_frame(const HaproxyConfig *c, size_t n_slots, Buf *ret);
/**
 * The whole text: the frame (its digest as the description that `show info` gives), and the ready servers of each slot (what drains had its requests from a process that is gone). -EINVAL: the state holds
 * what cannot be written.
 */
int haproxy_config(const HaproxyConfig *c, const char *digest, const ProxyState *s, Buf *ret, Err *err);
/** Map files: routes.map, slots.map (which backend has which slot; for whoever takes the process over). -EINVAL likewise. */
int haproxy_routes(const ProxyState *s, Buf *ret, Err *err);
int haproxy_slots(const ProxyState *s, Buf *ret, Err *err);
/** The list of certificates of `bind … crt-list`. -EINVAL likewise. */
int haproxy_crt_list(const ProxyState *s, Buf *ret, Err *err);
/** pages.map and hold.lua: always the same. */
void haproxy_pages(Buf *ret);
extern const char haproxy_lua[];

/** A server's words after its name, "10.0.0.1:80 pool-max-conn …"; for `server` lines and `add server` alike. Appended. */
void haproxy_server_words(const ProxyServer *s, Buf *ret);
/** The command that gives statistics of the slot's servers. Owned by the caller. */
char *haproxy_stat_command(size_t slot);
