// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Several connections over one pair of pipes: what `stead -H ssh://…` and `stead dial-stdio` speak with each other through
 * ssh. Each channel carries a byte stream both ways with half-close, and has a window of its own, so that a reader that
 * pauses holds up nobody else and memory stays bounded. The format is our own:
 *
 *   [type, channel (3 bytes), length (4 bytes)], payload        numbers are big-endian, a payload has at most 64 KiB
 *
 *   H  greeting, the first frame each way: a JSON object; channel 0
 *   O  opens a channel: from the client only, numbers go up from 1 and are not used twice
 *   D  data, as much as the window allows: 1 MiB at first, then what W adds
 *   W  so many bytes more (4 bytes) may be sent on the channel: they have been taken
 *   E  no more data will come in this direction
 *   R  the channel is over in both directions; the payload is empty, or a JSON object {"error": TEXT} that says why there is no connection
 *   P  are you there (client to server); Q  yes. Channel 0
 *
 * Neither side waits for the other's greeting: a request travels together with the client's, so a connection costs no
 * round trip of its own.
 */

#include <jansson.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define MUX_WINDOW (1U << 20)
#define MUX_PAYLOAD_MAX (64U << 10)
#define MUX_GREETING_MAX 4096U
#define MUX_CHANNELS_MAX 256 /* at once: further ones are refused by the side that is asked */
#define MUX_EXTRA_MAX 4

typedef struct Mux Mux;

typedef struct MuxOptions {
	int in, out;    /* the link, made non-blocking; stays the caller's, until after mux_free */
	bool client;    /* opens channels, and asks whether the other side is there */
	int tick_ms;    /* so long without a byte from the other side is a tick: a client asks then. 0 = never */
	int ticks;      /* after so many in a row the link counts as dead */
	/** The other side's greeting. <0, with a text, ends the link. */
	int (*greeted)(void *user, const json_t *greeting, Err *err);
	/** Server: gives the descriptor (a stream socket, taken over) that a new channel leads to; <0: refused, the text goes to the client. */
	int (*accept)(void *user, int *ret_fd, Err *err);
	/** Client: the other side has ended a channel, and says why. Called before the channel's descriptor is closed. */
	void (*refused)(void *user, uint32_t channel, const char *text);
	void *user;
} MuxOptions;

/** `greeting` is borrowed. <0: a descriptor cannot be used. */
int mux_new(const MuxOptions *o, const json_t *greeting, Mux **ret, Err *err);
/** Closes all channels' descriptors at once. NULL is fine. */
void mux_free(Mux *m);
/** Client: a channel for this stream socket, which is taken over. Gives its number, one more than the last call's; 0: there are too many (the socket has been closed, the number is used up). */
uint32_t mux_open(Mux *m, int fd);
/**
 * Waits until anything can be done, and does it; also returns when one of `extra` (at most MUX_EXTRA_MAX, watched for input) is ready, with its revents set.
 * > 0: go on. 0: the other side has ended the link, between two frames. <0, with a text: -EPROTO what it sent is not this protocol (before
 * the greeting: a text that quotes it); -ETIMEDOUT it does not answer any more; -ECONNRESET or another errno: the link broke.
 */
int mux_turn(Mux *m, struct pollfd *extra, size_t n_extra, Err *err);
/** The other side's greeting has come. */
bool mux_greeted(const Mux *m);
/** For tests and fuzzing: takes bytes as if they had come over the link. 0, or -EPROTO and the like. */
int mux_feed(Mux *m, const void *p, size_t n, Err *err);
