// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What HAProxy answers at its runtime API (management guide of HAProxy 2.6, section 9.3). Pure; the texts are taken for hostile, since a
 * part of them comes from whoever else may have talked to the socket.
 */

#include <sys/types.h>

#include "edge/converge.h"

#define ANSWER_MAX (4U << 20) /* an answer: beyond it the command has failed */

/** 0: what the command was to do is done. > 0: EXPECT_DELETED only: the server has connections left. -EIO: refused; HAProxy's words are in the text. */
int answer_check(const Command *c, const char *answer, Err *err);

typedef struct ProxyInfo {
	pid_t pid;
	char frame[65]; /* digest of the frame (haproxy-config.h) it was started with, "" if unknown */
} ProxyInfo;
/** `show info`. -EPROTO. */
int answer_info(const char *answer, ProxyInfo *ret, Err *err);
/** `show backend`: how many slots there are (s0 up to the first that is missing). */
size_t answer_slots(const char *answer);
/** `show servers state`: into the slots of `s`; other backends are none of ours. -EPROTO: not understood. */
int answer_servers(const char *answer, ProxyState *s, Err *err);
/** `show map …/routes.map`. Sorted. -EPROTO. */
int answer_routes(const char *answer, ProxyState *s, Err *err);
/** `show map …/slots.map`. -EPROTO. */
int answer_slot_names(const char *answer, ProxyState *s, Err *err);
/** `show ssl crt-list`: files without digests, so that they are loaded again. */
int answer_certs(const char *answer, ProxyState *s, Err *err);
/** `show stat` of one server: requests and tunnels, waiting ones too. 0 if there is no such row. -EPROTO. */
int answer_in_flight(const char *answer, const char *server, uint64_t *ret, Err *err);
