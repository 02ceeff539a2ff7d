// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Link: a connection of the load generator, TCP with or without TLS over it, on the loop of libuv.
 * It tells its owner when it can be written to, what arrives and how it ended. The owner's functions
 * may send and close.
 */

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

typedef struct Link Link;

typedef struct LinkEvents {
	/** Connected, and with TLS the handshake is done. */
	void (*ready)(void *user);
	void (*data)(void *user, const char *p, size_t n);
	/** Over, the link is gone. why: 0 = the other side closed it, else negative errno (-EPROTO: TLS); `connected` says whether `ready` was called. */
	void (*end)(void *user, int why, bool connected);
} LinkEvents;

/** Where to. `tls` (NULL: plain) and `host` (SNI) are borrowed for as long as links live. */
typedef struct LinkTarget {
	struct sockaddr_storage address;
	SSL_CTX *tls;
	const char *host;
} LinkTarget;

/** Begins to connect. h2: asks for HTTP/2 by ALPN, and takes nothing else. Events come later, never from within. */
Link *link_open(uv_loop_t *loop, const LinkTarget *target, bool h2, const LinkEvents *events, void *user);
/** Sends, or queues. An error shows as the link's end: what the other side said before comes first. */
void link_send(Link *l, const void *p, size_t n);
/** No event comes any more. NULL is fine. */
void link_close(Link *l);
