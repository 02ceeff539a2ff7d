// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One end of a ship's connection (image/ship-protocol.h): frames out and in, with what both workers do alike:
 * greeting, errors of the other side, documents by their leading key.
 */

#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

typedef struct ShipPeer {
	int in, out; /* borrowed; may be the same socket */
	const char *name; /* "receiver", "sender": what the other side is */
	Buf frame; /* the last one received */
	char *version; /* what the other side's stead is */
	size_t announced; /* bytes of B or I frames that are still to come */
	bool failed; /* the connection, or the other side; nothing more comes */
} ShipPeer;

void ship_peer_done(ShipPeer *p);

/** Sends our greeting; ship_peer_meet receives the other one. -EPROTONOSUPPORT names both versions. */
int ship_peer_greet(ShipPeer *p, Err *err);
int ship_peer_meet(ShipPeer *p, Err *err);

/** If the other side is gone, the error is what it said last. */
int ship_peer_send(ShipPeer *p, uint8_t type, const void *data, size_t n, Err *err);
int ship_peer_send_json(ShipPeer *p, json_t *owned, Err *err);
/** In pieces of at most SHIP_DATA_MAX. */
int ship_peer_send_data(ShipPeer *p, uint8_t type, const void *data, size_t n, Err *err);
/** Has the other side given up? Its error then; never waits. Ask between pieces of what takes long. */
int ship_peer_check(ShipPeer *p, Err *err);

/** The next frame, in p->frame. An error of the other side, and the end, are errors. */
int ship_peer_receive(ShipPeer *p, uint8_t *ret_type, Err *err);
/** The next frame has to be a document; ret is the caller's, `ret_key` its leading key (in ret). */
int ship_peer_receive_json(ShipPeer *p, json_t **ret, const char **ret_key, Err *err);
/** `n` bytes in frames of this type, appended. */
int ship_peer_receive_data(ShipPeer *p, uint8_t type, size_t n, Buf *ret, Err *err);

/** Tells the other side why we end, and takes what it still sends, for a moment, so that it comes to read it. */
void ship_peer_give_up(ShipPeer *p, int code, const Err *why);
