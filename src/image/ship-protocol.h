// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Shipping images between two machines as what changed: the protocol. Two workers talk, `ship-send` and
 * `ship-receive`, in frames (io/frame-io.h). What is between them (daemons, CLI, SSH) passes the frames on and may read them.
 *
 *   both       J {"ship": 1, "version": "0.1.0"}                      first, at once
 *   sender     J {"offer": {"images": [{"id", "tags", "config_size", "sizes"}], "packed"}}, then
 *              B the images' configurations one after the other, one zstd frame of `packed` bytes in all
 *   receiver   J {"want": {"layers": [{"diff_id", "from"}], "bases": ["sha256:…"], "likely": n, "free", "memory_free",
 *                "arch"}}
 *                `from`: bytes of that layer's tar that are here from an earlier try
 *                `bases`: layers that are here and may resemble what is wanted, the likeliest first; `likely`: the first so many are
 *                of an image that looks like an earlier version
 *   sender     J {"index": {"base": i}}                               any number of times
 *   receiver   J {"index": {"base": i, "packed": n}}, then I n bytes  see image/ship-index.h
 *   sender     for each layer wanted:
 *              J {"layer": {"diff_id", "tar_size", "from", "form": "delta"|"whole", "bases": [i]}}, then for each segment
 *                (image/ship-segment.h): D its bytes, compressed; S the position in the tar that it leads to (8 bytes, big-endian).
 *                The layer ends where that is tar_size. `form` "resume" is a delta or a whole layer whose `from` is not 0.
 *   sender     J {"end": {}}
 *   receiver   J {"again": ["sha256:…"]}: those came out wrong; the sender sends them whole, and the end again; or
 *              J {"done": {}}: all is on disk
 *   both       J {"error": "text", "code": -errno}                    in place of anything, last
 *
 * The receiver trusts nothing: a layer is what has the SHA-256 that the image's configuration names. The parsers here are pure.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define SHIP_VERSION 1
#define SHIP_DATA_MAX (64U << 10)    /* payload of D, B and I frames */
#define SHIP_CONTROL_MAX (512U << 10) /* payload of J frames */
#define SHIP_POSITION 8 /* payload of S frames */

enum {
	SHIP_JSON = 'J',
	SHIP_DATA = 'D',
	SHIP_SEGMENT = 'S',
	SHIP_BLOB = 'B',
	SHIP_INDEX = 'I',
};

typedef struct ShipOfferImage {
	char *id;
	char **tags;     /* normalised */
	size_t config_size;
	uint64_t *sizes; /* of the layers' tars, bottom first; 0 = not known yet */
	size_t n_sizes;
} ShipOfferImage;

typedef struct ShipOffer {
	ShipOfferImage *images;
	size_t n;
	size_t packed; /* bytes of the B frames that follow */
} ShipOffer;

int ship_offer_parse(const json_t *o, ShipOffer *ret, Err *err);
json_t *ship_offer_json(const ShipOffer *o);
void ship_offer_done(ShipOffer *o);
/** Bytes of all configurations. */
size_t ship_offer_configs(const ShipOffer *o);

typedef struct ShipWantLayer {
	char *diff_id;
	uint64_t from;
} ShipWantLayer;

typedef struct ShipWant {
	ShipWantLayer *layers;
	size_t n;
	char **bases; /* diff ids */
	size_t likely;
	char *arch;   /* of the receiver; may be NULL */
	uint64_t free, memory_free; /* bytes; 0 = not known */
} ShipWant;

int ship_want_parse(const json_t *o, ShipWant *ret, Err *err);
json_t *ship_want_json(const ShipWant *w);
void ship_want_done(ShipWant *w);

typedef struct ShipLayer {
	char *diff_id;
	uint64_t tar_size, from;
	bool whole;      /* no segment refers to a base */
	uint32_t *bases; /* base k of the segments is bases[k] of ShipWant */
	size_t n_bases;
} ShipLayer;

/** `n_bases`: how many there are in ShipWant. */
int ship_layer_parse(const json_t *o, size_t n_bases, ShipLayer *ret, Err *err);
json_t *ship_layer_json(const ShipLayer *l);
void ship_layer_done(ShipLayer *l);

/** A list of digests, for {"again": […]}. */
int ship_digests_parse(const json_t *o, char ***ret, Err *err);
json_t *ship_digests_json(char *const *digests);

/** The position in an S frame. -EPROTO. */
int ship_position_parse(const void *p, size_t n, uint64_t *ret, Err *err);
void ship_position_write(uint64_t pos, uint8_t ret[SHIP_POSITION]);
