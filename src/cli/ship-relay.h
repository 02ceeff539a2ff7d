// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Joins the two ends of a ship (image/ship-protocol.h): frames go on as they come, each direction with a bounded buffer, and are looked
 * at on the way: what the control frames say and how many bytes went over the line. An end is the connection to a daemon, whose
 * last frame E is for us, or a worker of our own, whose report comes on a descriptor of its own.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "io/frames.h"

typedef struct ShipEnd {
	int read_fd, write_fd; /* of a connection, equal for a socket; -1 = none or closed */
	int report_fd;         /* of a worker, else -1 */
	json_t *last;          /* {"result": …} or {"error", "code"}; NULL: it ended without a word */
	Buf report;
} ShipEnd;

#define SHIP_END_INIT { -1, -1, -1, NULL, BUF_INIT }
/** Takes the descriptors over and makes them non-blocking. */
void ship_end_open(ShipEnd *e, int read_fd, int write_fd);
/** Closes what is open. */
void ship_end_done(ShipEnd *e);

/** One direction. */
typedef struct ShipLane {
	ShipEnd *from, *to;
	Buf out;          /* what the receiving side has not taken yet */
	Buf control;      /* payload of a frame that is looked at, as far as it has come */
	uint8_t header[FRAME_HEADER];
	size_t header_len;
	uint32_t left;    /* of the payload */
	uint64_t bytes;   /* that went on, framing included */
	bool ended, shut; /* from has ended; to has been told so */
} ShipLane;

typedef struct Relay {
	ShipEnd sender, receiver;
	ShipLane there, back; /* sender to receiver, and the other way */
	void (*control)(void *user, bool from_sender, const json_t *value); /* a frame J; or NULL */
	void (*data)(void *user, size_t n);  /* n bytes of frames D have come from the sender; or NULL */
	void (*position)(void *user, uint64_t tar); /* a frame S of the sender: that far in its layer's tar; or NULL */
	void (*tick)(void *user);            /* ten times a second, at least; or NULL */
	void *user;
} Relay;

void relay_init(Relay *r);
void relay_done(Relay *r);
/**
 * Until the receiver has ended: 0, and receiver.last (and sender.last, as far as it came) says how. 1: a caught signal (signals.h) interrupted it. <0:
 * what came is not framed so, or poll failed.
 */
int relay_run(Relay *r, Err *err);

/** Scans n bytes that came from `l->from`: what is to go on is appended to l->out. -EPROTO. */
int relay_feed(Relay *r, ShipLane *l, const void *p, size_t n, Err *err);
