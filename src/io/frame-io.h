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
