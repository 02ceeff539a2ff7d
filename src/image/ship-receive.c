// SPDX-License-Identifier: Apache-2.0
/*
 * A layer goes from the connection through the decoder into the same unpacking that an archive's goes through, and is staged; all of
 * them appear together at the end, when each has proved its SHA-256. What a layer needs on the way is kept as a ShipPart: for
 * a second pass, and for the next try if the connection is cut.
 *
 * What is wrong with a layer's contents (an old layer that differs from the sender's, a kept part that is damaged) is found by its
 * digest or earlier. Then the rest of it is read from the connection, nothing is kept, and the sender is asked for all of it again.
 *
 * Room is asked for as the layers need it unpacked. What is kept beside them can be as much again where a layer comes whole, so it is given up
 * where space runs short: first of the layers that are staged.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <zstd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/ship-bases.h"
#include "image/ship-decode.h"
#include "image/ship-old.h"
#include "image/ship-part.h"
#include "image/ship-peer.h"
#include "image/ship-protocol.h"
#include "image/ship-similar.h"
#include "image/ship.h"

#define SPACE_SPARE (16ULL << 20) /* left free beside what is unpacked */

/* A layer that is wanted. */
typedef struct Wanted {
	const char *diff_id; /* the image's */
	uint64_t tar_size;   /* as offered; 0 = not known */
	ShipPart part;
	bool open;           /* part */
	bool here;           /* staged */
	int tries;
	int64_t size;        /* of its files, when it is here */
} Wanted;

typedef struct Receive {
	Store *store;
	const json_t *options;
	ShipPeer peer;
	ShipOffer offer;
	ImageList images;
	Wanted *wanted;
	size_t n_wanted;
	ShipWant want;
	ShipBases *bases;
	char **again;
} Receive;

/* The offer. */

static int unpack_configs(Receive *r, const Buf *packed, Err *err)
{
	size_t total = ship_offer_configs(&r->offer), at = 0;
	AUTO_FREE char *configs = xmalloc(total + 1);
	size_t n = ZSTD_decompress(configs, total, buf_cstr(packed), packed->len);
	if (ZSTD_isError(n) || n != total)
		return err_set(err, -EPROTO, "the images' configurations are damaged: %s",
			ZSTD_isError(n) ? ZSTD_getErrorName(n) : "they are shorter than announced");
	for (size_t i = 0; i < r->offer.n; i++) {
		const ShipOfferImage *o = &r->offer.images[i];
		Image **image = array_append(r->images.items, r->images.n);
		int e = image_from_config(configs + at, o->config_size, image, err);
		if (e < 0)
			return err_wrap(err, "image %s", o->id);
		at += o->config_size;
		if (!str_eq((*image)->id, o->id))
			return err_set(err, -EPROTO, "image %s: its configuration has the digest %s", o->id, (*image)->id);
		if ((*image)->n_layers != o->n_sizes || o->n_sizes == 0)
			return err_set(err, -EPROTO, "image %s: %zu layers were offered, its configuration has %zu", o->id, o->n_sizes,
				(*image)->n_layers);
		(*image)->tags = strv_dup(o->tags);
	}
	return 0;
}

static int receive_offer(Receive *r, Err *err)
{
	AUTO_BUF packed = BUF_INIT;
	json_t *o = NULL;
	const char *key;
	int e = ship_peer_receive_json(&r->peer, &o, &key, err);
	if (e < 0)
		return e;
	e = str_eq(key, "offer") ? ship_offer_parse(json_object_get(o, "offer"), &r->offer, err) :
				   err_set(err, -EPROTO, "the sender begins with '%s'", key);
	json_decref(o);
	if (e < 0 || (e = ship_peer_receive_data(&r->peer, SHIP_BLOB, r->offer.packed, &packed, err)) < 0)
		return e;
	return unpack_configs(r, &packed, err);
}

static bool list_has(const json_t *list, const char *s)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		if (str_eq(json_string_value(json_array_get(list, i)), s))
			return true;
	return false;
}

static const char *image_name(const Image *image)
{
	return image->tags ? image->tags[0] : image->id;
}

/* What would not run here is refused before anything is changed. */
static int check_platform(const Receive *r, Err *err)
{
	const char *arch = json_string_value(json_object_get(r->options, "arch"));
	for (size_t i = 0; i < r->images.n; i++) {
		const Image *m = r->images.items[i];
		if (m->os && !str_eq(m->os, "linux"))
			return err_set(err, -EINVAL, "image %s is for %s: only linux images run here", image_name(m), m->os);
		if (!arch || !m->architecture || str_eq(m->architecture, arch) ||
			list_has(json_object_get(r->options, "emulated"), m->architecture))
			continue;
		return err_set(err, -EINVAL,
			"image %s is for %s, this box is %s and emulates no other: build it for this one "
			"(stead build --platform linux/%s, or docker build --platform linux/%s)",
			image_name(m), m->architecture, arch, arch, arch);
	}
	return 0;
}

/* What is wanted. */

static Wanted *find_wanted(Receive *r, const char *diff_id)
{
	for (size_t i = 0; i < r->n_wanted; i++)
		if (str_eq(r->wanted[i].diff_id, diff_id))
			return &r->wanted[i];
	return NULL;
}

static int add_wanted(Receive *r, const char *diff_id, uint64_t tar_size, Err *err)
{
	LayerInfo info;
	int e = store_layer(r->store, diff_id, &info, err);
	if (e != 0 || find_wanted(r, diff_id))
		return e < 0 ? e : 0;
	Wanted *w = array_append(r->wanted, r->n_wanted);
	*w = (Wanted) { .diff_id = diff_id, .tar_size = tar_size };
	return 0;
}

static uint64_t free_space(const Receive *r)
{
	struct statvfs v;
	return fstatvfs(r->store->state, &v) < 0 ? UINT64_MAX : (uint64_t) v.f_bavail * v.f_frsize;
}

static int check_space(const Receive *r, uint64_t need, Err *err)
{
	uint64_t there = free_space(r);
	need += need / 20 + SPACE_SPARE; /* recipes and what is kept on the way */
	if (there >= need)
		return 0;
	AUTO_FREE char *a = format_bytes((int64_t) need), *b = format_bytes((int64_t) there);
	return err_set(err, -ENOSPC, "%s are needed on the file system of %s, %s are free: remove images ('stead image prune') or make room", a,
		r->store->path, b);
}

/* What an earlier try has left goes, where that makes room enough. */
static int open_parts(Receive *r, uint64_t need, Err *err)
{
	uint64_t kept = 0;
	int e = 0;
	for (size_t i = 0; i < r->n_wanted; i++) {
		Wanted *w = &r->wanted[i];
		if ((e = ship_part_open(r->store, w->diff_id, &w->part, err)) < 0)
			return e;
		w->open = true;
		kept += w->part.end;
	}
	if (!need)
		return 0;
	bool short_of = kept && check_space(r, need, NULL) < 0 && check_space(r, need > kept ? need - kept : 0, NULL) == 0;
	for (size_t i = 0; short_of && e == 0 && i < r->n_wanted; i++)
		e = ship_part_clear(&r->wanted[i].part, err);
	return e < 0 ? e : check_space(r, need, err);
}

static int find_missing(Receive *r, Err *err)
{
	uint64_t need = 0;
	for (size_t i = 0; i < r->images.n; i++)
		for (size_t k = 0; k < r->images.items[i]->n_layers; k++) {
			int e = add_wanted(r, r->images.items[i]->layers[k].diff_id, r->offer.images[i].sizes[k], err);
			if (e < 0)
				return e;
		}
	for (size_t i = 0; i < r->n_wanted; i++)
		need += r->wanted[i].tar_size;
	return open_parts(r, need, err);
}

static int send_want(Receive *r, Err *err)
{
	uint64_t space = free_space(r);
	for (size_t i = 0; i < r->n_wanted; i++) {
		const Wanted *w = &r->wanted[i];
		ShipWantLayer *l = array_append(r->want.layers, r->want.n);
		l->diff_id = xstrdup(w->diff_id);
		l->from = w->part.from;
	}
	r->want.free = space < INT64_MAX ? space : 0;
	json_int_t memory = json_integer_value(json_object_get(r->options, "memory_free"));
	r->want.memory_free = memory > 0 ? (uint64_t) memory : 0;
	str_set(&r->want.arch, json_string_value(json_object_get(r->options, "arch")));
	if (r->n_wanted) {
		int e = ship_similar(r->store, &r->images, LIMIT_SHIP_BASES, &r->want.bases, &r->want.likely, err);
		if (e < 0)
			return e;
	}
	r->bases = ship_bases_new(r->store, r->want.bases);
	return ship_peer_send_json(&r->peer, ship_want_json(&r->want), err);
}

/* A layer. */

typedef struct Incoming {
	Receive *receive;
	Wanted *wanted;
	uint64_t tar_size, pos; /* pos: what the connection has led to */
	bool replay;            /* frames come from what is kept, to its end */
	bool cut;               /* the connection, or keeping, failed */
	bool bad;
} Incoming;

static void make_room(const Incoming *in)
{
	Receive *r = in->receive;
	uint64_t need = in->tar_size - in->pos + SPACE_SPARE / 2;
	for (size_t i = 0; i < r->n_wanted; i++)
		if (!r->wanted[i].here && &r->wanted[i] != in->wanted)
			need += r->wanted[i].tar_size;
	if (in->wanted->part.forgotten || free_space(r) >= need)
		return;
	for (size_t i = 0; i < r->n_wanted; i++)
		if (r->wanted[i].here)
			(void) ship_part_clear(&r->wanted[i].part, NULL);
	if (free_space(r) < need)
		ship_part_forget(&in->wanted->part);
}

static int keep(Incoming *in, uint8_t type, Err *err)
{
	AUTO_ERR why = ERR_INIT;
	ShipPeer *peer = &in->receive->peer;
	int r = ship_part_append(&in->wanted->part, type, peer->frame.data, peer->frame.len, &why);
	if (r == -ENOSPC || r == -EDQUOT)
		ship_part_forget(&in->wanted->part);
	else if (r < 0)
		return store_write_failed(in->receive->store, r, "what has come of a layer", err);
	return 0;
}

/* A frame from the connection, which is kept. */
static int next_from_peer(Incoming *in, uint8_t *ret_type, Err *err)
{
	ShipPeer *peer = &in->receive->peer;
	ShipPart *part = &in->wanted->part;
	uint64_t position;
	in->cut = true;
	int r = ship_peer_receive(peer, ret_type, err);
	if (r < 0)
		return r;
	if (*ret_type != SHIP_DATA && *ret_type != SHIP_SEGMENT)
		return err_set(err, -EPROTO, "the sender sent something else in the middle of a layer");
	if ((r = keep(in, *ret_type, err)) < 0)
		return r;
	if (*ret_type == SHIP_SEGMENT) {
		if ((r = ship_position_parse(peer->frame.data, peer->frame.len, &position, err)) < 0)
			return r;
		if (position <= in->pos || position > in->tar_size)
			return err_set(err, -EPROTO, "the sender's segments do not follow each other");
		in->pos = position;
		ship_part_keep(part, position);
		make_room(in);
	}
	in->cut = false;
	return 0;
}

static int next_frame(void *user, uint8_t *ret_type, Buf *frame, Err *err)
{
	Incoming *in = user;
	int r = 0;
	if (in->replay) {
		r = ship_part_next(&in->wanted->part, ret_type, frame, err);
		if (r != 0)
			return r < 0 ? r : 0;
		in->replay = false;
	}
	if (in->pos == in->tar_size)
		return err_set(err, -EPROTO, "a layer is shorter than announced");
	if ((r = next_from_peer(in, ret_type, err)) < 0)
		return r;
	buf_clear(frame);
	buf_append(frame, in->receive->peer.frame.data, in->receive->peer.frame.len);
	return 0;
}

static int read_base(void *user, uint32_t base, uint64_t offset, void *p, size_t n, Err *err)
{
	Incoming *in = user;
	return ship_bases_read(in->receive->bases, base, offset, p, n, err);
}

static int open_stream(void *user, Stream **ret, Err *err)
{
	Incoming *in = user;
	if (in->wanted->part.forgotten)
		return err_set(err, -ENOSPC, "it has to be read twice, and there is no room to keep what has come of it on the file system of %s: remove images "
			"('stead image prune') or make room", in->receive->store->path);
	ship_part_rewind(&in->wanted->part);
	in->replay = true;
	*ret = ship_decode(&(ShipDecodeOptions) {
		.tar_size = in->tar_size,
		.n_bases = strv_len(in->receive->want.bases),
		.next = next_frame,
		.read_base = read_base,
		.user = in,
		.bad = &in->bad,
	});
	return 0;
}

/* What the connection still has of the layer. */
static int drain(Incoming *in, Err *err)
{
	uint8_t type;
	while (in->pos < in->tar_size) {
		int r = next_from_peer(in, &type, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Makes the layer of what comes. 1: it is to be sent again. */
static int stage(Incoming *in, Err *err)
{
	AUTO_ERR why = ERR_INIT;
	Receive *r = in->receive;
	Wanted *w = in->wanted;
	char found[sizeof(DIGEST_PREFIX) + 64];
	LayerInfo info;
	StageOptions o = { .diff_id = w->diff_id };
	int e = store_stage_layer(r->store, open_stream, in, &o, found, &info, &why);
	if (e == 0) {
		w->here = true;
		w->size = info.size;
		return 0;
	}
	/* A full disk does not get better, and a layer that came whole is as the sender has it. */
	if (in->cut || e == -ENOSPC || e == -EDQUOT)
		return err_move(err, &why);
	if (++w->tries > 1) {
		(void) ship_part_clear(&w->part, NULL);
		return err_move(err, &why);
	}
	report_progress("layer %.19s did not come out right (%s): it is sent whole", w->diff_id, err_text(&why));
	if ((e = drain(in, err)) < 0 || (e = ship_part_clear(&w->part, err)) < 0)
		return e;
	return 1;
}

static int receive_layer(Receive *r, const json_t *o, Err *err)
{
	AUTO(ship_layer_done) ShipLayer l = { 0 };
	int e = ship_layer_parse(o, strv_len(r->want.bases), &l, err);
	if (e < 0)
		return e;
	Wanted *w = find_wanted(r, l.diff_id);
	if (!w || w->here)
		return err_set(err, -EPROTO, "the sender sends layer %s, which was not asked for", l.diff_id);
	if (l.from != w->part.from)
		return err_set(err, -EPROTO, "the sender does not go on where layer %s stands", l.diff_id);
	Incoming in = { .receive = r, .wanted = w, .tar_size = l.tar_size, .pos = l.from };
	if ((w->tar_size == 0 && (e = check_space(r, l.tar_size, err)) < 0) ||
		(e = ship_part_append(&w->part, SHIP_JSON, r->peer.frame.data, r->peer.frame.len, err)) < 0)
		return e;
	w->part.end = w->part.write;
	e = stage(&in, err);
	if (e == 1)
		strv_add(&r->again, w->diff_id);
	return e < 0 ? err_wrap(err, "layer %s", w->diff_id) : 0;
}

/* The end. */

static int finish_image(Receive *r, Image *image, Err *err)
{
	for (size_t k = 0; k < image->n_layers; k++) {
		LayerInfo info;
		const Wanted *w = find_wanted(r, image->layers[k].diff_id);
		if (!w) {
			int e = store_layer(r->store, image->layers[k].diff_id, &info, err);
			if (e <= 0)
				return e < 0 ? e : err_set(err, -EIO, "layer %s was here and is no more", image->layers[k].diff_id);
		} else if (!w->here) {
			return err_set(err, -EPROTO, "the sender ended without layer %s", w->diff_id);
		}
		image->layers[k].size = w ? w->size : info.size;
		image->size += image->layers[k].size;
	}
	return store_stage_blob(r->store, image->config_json, strlen(image->config_json), NULL, err);
}

static int commit(Receive *r, Err *err)
{
	int e;
	for (size_t i = 0; i < r->images.n; i++)
		if ((e = finish_image(r, r->images.items[i], err)) < 0)
			return e;
	if ((e = store_commit(r->store, err)) < 0)
		return e;
	for (size_t i = 0; i < r->n_wanted; i++)
		ship_part_remove(&r->wanted[i].part);
	return ship_peer_send_json(&r->peer, json_pack("{s:{}}", "done"), err);
}

/* 1: done. */
static int obey(Receive *r, Err *err)
{
	json_t *o = NULL;
	const char *key;
	int e = ship_peer_receive_json(&r->peer, &o, &key, err);
	if (e < 0)
		return e;
	if (str_eq(key, "layer")) {
		e = receive_layer(r, json_object_get(o, "layer"), err);
	} else if (str_eq(key, "index")) {
		e = ship_old_answer(r->store, &r->peer, &r->want, json_object_get(o, "index"), err);
	} else if (!str_eq(key, "end")) {
		e = err_set(err, -EPROTO, "the sender asks for '%s', which is unknown here", key);
	} else if (r->again) {
		e = ship_peer_send_json(&r->peer, json_pack("{s:o}", "again", ship_digests_json(r->again)), err);
		strv_free(steal_ptr(&r->again));
	} else {
		e = commit(r, err);
		e = e < 0 ? e : 1;
	}
	json_decref(o);
	return e;
}

static int talk(Receive *r, Err *err)
{
	int e = ship_peer_greet(&r->peer, err);
	if (e < 0 || (e = ship_peer_meet(&r->peer, err)) < 0 || (e = receive_offer(r, err)) < 0 || (e = check_platform(r, err)) < 0 ||
		(e = find_missing(r, err)) < 0 || (e = send_want(r, err)) < 0)
		return e;
	while ((e = obey(r, err)) == 0)
		;
	return e < 0 ? e : 0;
}

int ship_receive(Store *s, const json_t *options, int in, int out, ImageList *ret, Err *err)
{
	AUTO_ERR why = ERR_INIT;
	Receive r = { .store = s, .options = options, .peer = { .in = in, .out = out, .name = "sender" } };
	int e = talk(&r, &why);
	if (e < 0) {
		ship_peer_give_up(&r.peer, e, &why);
	} else {
		*ret = r.images;
		r.images = (ImageList) { 0 };
	}
	for (size_t i = 0; i < r.n_wanted; i++)
		if (r.wanted[i].open)
			ship_part_close(&r.wanted[i].part);
	free(r.wanted);
	ship_bases_free(r.bases);
	ship_want_done(&r.want);
	ship_offer_done(&r.offer);
	image_list_done(&r.images);
	strv_free(r.again);
	ship_peer_done(&r.peer);
	return e < 0 ? err_move(err, &why) : 0;
}
