// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <zstd.h>

#include "base/mem.h"
#include "base/str.h"
#include "image/ship-encode.h"
#include "image/ship-old.h"
#include "image/ship-peer.h"
#include "image/ship-protocol.h"
#include "image/ship.h"

#define LEVEL 19

typedef struct Send {
	ShipSource *source;
	ShipPeer peer;
	ShipWant want;
	ShipOld old;
	int level;
} Send;

static int offer(Send *s, Err *err)
{
	AUTO_BUF configs = BUF_INIT;
	AUTO_BUF packed = BUF_INIT;
	AUTO(ship_offer_done) ShipOffer o = { 0 };
	for (size_t i = 0; i < s->source->n; i++) {
		const Image *image = s->source->images[i];
		ShipOfferImage *m = array_append(o.images, o.n);
		m->id = xstrdup(image->id);
		m->tags = strv_dup(image->tags);
		m->config_size = strlen(image->config_json);
		buf_str(&configs, image->config_json);
		for (size_t k = 0; k < image->n_layers; k++)
			*array_append(m->sizes, m->n_sizes) = (uint64_t) image->layers[k].size;
	}
	size_t bound = ZSTD_compressBound(configs.len);
	size_t n = ZSTD_compress(buf_reserve(&packed, bound), bound, buf_cstr(&configs), configs.len, LEVEL);
	if (ZSTD_isError(n))
		return err_set(err, -EIO, "compressing the images' configurations: %s", ZSTD_getErrorName(n));
	buf_added(&packed, n);
	o.packed = n;
	int r = ship_peer_send_json(&s->peer, ship_offer_json(&o), err);
	return r < 0 ? r : ship_peer_send_data(&s->peer, SHIP_BLOB, packed.data, packed.len, err);
}

static int receive_want(Send *s, Err *err)
{
	json_t *o = NULL;
	const char *key;
	int r = ship_peer_receive_json(&s->peer, &o, &key, err);
	if (r < 0)
		return r;
	r = str_eq(key, "want") ? ship_want_parse(json_object_get(o, "want"), &s->want, err) :
				  err_set(err, -EPROTO, "the receiver answers the offer with '%s'", key);
	json_decref(o);
	return r;
}

/* It can only want what was offered. NULL: it was not. */
static const ImageLayer *find_offered(const Send *s, const char *diff_id)
{
	for (size_t i = 0; i < s->source->n; i++)
		for (size_t k = 0; k < s->source->images[i]->n_layers; k++)
			if (str_eq(s->source->images[i]->layers[k].diff_id, diff_id))
				return &s->source->images[i]->layers[k];
	return NULL;
}

/* Bytes of what is wanted, as far as they are known. */
static uint64_t wanted_bytes(const Send *s)
{
	uint64_t bytes = 0;
	for (size_t i = 0; i < s->want.n; i++) {
		const ImageLayer *l = find_offered(s, s->want.layers[i].diff_id);
		bytes += l ? (uint64_t) l->size : 0;
	}
	return bytes;
}

static int send_frame(void *user, uint8_t type, const void *p, size_t n, Err *err)
{
	Send *s = user;
	int r = ship_peer_check(&s->peer, err);
	return r < 0 ? r : ship_peer_send(&s->peer, type, p, n, err);
}

/* The layer is an old one next time: its index is made on the way. */
static int encode_delta(Send *s, Stream *tar, const ShipLayer *l, ShipEmitter *e, Err *err)
{
	AUTO(ship_index_writer_done) ShipIndexWriter made = { 0 };
	AUTO_BUF index = BUF_INIT;
	LayerInfo info;
	bool stays = s->source->store && store_layer(s->source->store, l->diff_id, &info, NULL) == 1;
	int r = ship_encode_delta(tar, &(ShipEncodeOptions) {
		.tar_size = l->tar_size,
		.from = l->from,
		.index = s->old.index,
		.old = s->old.layers,
		.n_old = s->old.n,
		.read_old = ship_old_read,
		.user = &s->old,
		.made = stays ? &made : NULL,
	}, e, err);
	if (r == 0 && stays) {
		ship_index_finish(&made, &index);
		ship_index_keep(s->source->store, l->diff_id, &index);
	}
	return r;
}

static int encode(Send *s, Stream *tar, const ShipLayer *l, Err *err)
{
	ShipEmitter *e __attribute__((cleanup(ship_emitter_freep))) = ship_emitter_new(s->level, l->from, send_frame, s);
	return l->n_bases ? encode_delta(s, tar, l, e, err) : ship_encode_whole(tar, l->tar_size, l->from, e, err);
}

static int send_layer(Send *s, const ShipWantLayer *want, bool whole, Err *err)
{
	AUTO_STREAM tar = NULL;
	ShipLayer l = { .diff_id = want->diff_id, .from = want->from };
	if (!find_offered(s, want->diff_id))
		return err_set(err, -EPROTO, "the receiver wants layer %s, which no image of the offer has", want->diff_id);
	int r = s->source->open(s->source, want->diff_id, &tar, &l.tar_size, err);
	if (r < 0)
		return r;
	if (want->from > l.tar_size)
		return err_set(err, -EPROTO, "the receiver wants layer %s from beyond its end", want->diff_id);
	l.bases = s->old.numbers;
	l.n_bases = whole ? 0 : s->old.n;
	if ((r = ship_peer_send_json(&s->peer, ship_layer_json(&l), err)) < 0)
		return r;
	return encode(s, tar, &l, err);
}

/* 1: done; 0: `again` has what is to be sent once more. */
static int receive_result(Send *s, char ***again, Err *err)
{
	json_t *o = NULL;
	const char *key;
	int r = ship_peer_receive_json(&s->peer, &o, &key, err);
	if (r < 0)
		return r;
	if (str_eq(key, "done"))
		r = 1;
	else if (str_eq(key, "again"))
		r = ship_digests_parse(json_object_get(o, "again"), again, err);
	else
		r = err_set(err, -EPROTO, "the receiver ends with '%s'", key);
	json_decref(o);
	return r;
}

static int finish(Send *s, Err *err)
{
	AUTO_STRV char **again = NULL;
	for (int round = 0; round < 2; round++) {
		int r = ship_peer_send_json(&s->peer, json_pack("{s:{}}", "end"), err);
		if (r < 0 || (r = receive_result(s, &again, err)) != 0)
			return r < 0 ? r : 0;
		for (char **id = again; round == 0 && id && *id; id++)
			if ((r = send_layer(s, &(ShipWantLayer) { .diff_id = *id }, true, err)) < 0)
				return err_wrap(err, "layer %s", *id);
		strv_free(steal_ptr(&again));
	}
	return err_set(err, -EPROTO, "the receiver cannot make use of what it gets");
}

static int talk(Send *s, Err *err)
{
	const ImageList images = { s->source->images, s->source->n };
	int r = ship_peer_greet(&s->peer, err);
	if (r < 0 || (r = offer(s, err)) < 0)
		return r;
	/* The connection may still be in the making. */
	ship_old_prepare(s->source->store, &s->peer, &images);
	if ((r = ship_peer_meet(&s->peer, err)) < 0 || (r = receive_want(s, err)) < 0)
		return r;
	if (s->want.n && (r = ship_old_gather(s->source->store, &s->peer, &s->want, wanted_bytes(s), &s->old, err)) < 0)
		return r;
	for (size_t i = 0; i < s->want.n; i++)
		if ((r = send_layer(s, &s->want.layers[i], false, err)) < 0)
			return s->peer.failed ? r : err_wrap(err, "layer %s", s->want.layers[i].diff_id);
	return finish(s, err);
}

int ship_send(ShipSource *source, const json_t *options, int in, int out, Err *err)
{
	AUTO_ERR why = ERR_INIT;
	json_int_t level = json_integer_value(json_object_get(options, "level"));
	Send s = { .source = source, .peer = { .in = in, .out = out, .name = "receiver" } };
	s.level = level >= 1 && level <= ZSTD_maxCLevel() ? (int) level : LEVEL;
	int r = talk(&s, &why);
	if (r < 0)
		ship_peer_give_up(&s.peer, r, &why);
	ship_old_done(&s.old);
	ship_want_done(&s.want);
	ship_peer_done(&s.peer);
	return r < 0 ? err_move(err, &why) : 0;
}
