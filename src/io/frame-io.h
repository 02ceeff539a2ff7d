// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Frames over a descriptor, blocking: for workers and the CLI, where two programs of ours talk (shipping
 * of images, contexts of builds). The layout is that of io/frames.h, [type, 0, 0, 0, length big-endian], with
 * letters for types; each protocol lists its own. An empty payload is a frame like any other.
 */

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define FRAME_IO_MAX (1U << 20) /* payload; a longer one is refused on either side */

/** Writes one frame. -EPIPE: the other side is gone (ignore SIGPIPE); -EMSGSIZE: longer than FRAME_IO_MAX. */
int frame_send(int fd, uint8_t type, const void *p, size_t n, Err *err);
/** A JSON document, compact. Takes ownership. */
int frame_send_json(int fd, uint8_t type, json_t *value, Err *err);

/**
 * Reads one frame; its payload replaces what `ret` held. 1: a frame; 0: the end, between two frames. -EPROTO: the bytes
 * are not framed so, or end inside a frame; -EMSGSIZE: the payload is longer than `max` (at most FRAME_IO_MAX).
 */
int frame_receive(int fd, uint8_t *ret_type, Buf *ret, size_t max, Err *err);

/**
 * The same in two steps, where a protocol knows more of what may come. In the middle of a frame it waits `patience` ms for the next byte, then it is
 * -ETIMEDOUT; -1 = for ever.
 */
int frame_receive_head(int fd, int patience, uint8_t *ret_type, size_t *ret_n, Err *err);
int frame_receive_payload(int fd, int patience, size_t n, size_t max, Buf *ret, Err *err);
