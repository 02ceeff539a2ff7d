// SPDX-License-Identifier: Apache-2.0
#include "image/ship-old.h"

#include <errno.h>
#include <poll.h>
#include <zstd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/ship-similar.h"

#define UNLIKELY_BYTES (64ULL << 20) /* of layers that are only perhaps alike: so many may be read for an index, or as many as are sent */
#define PREPARED_MAX (256LL << 20)  /* of a layer that is indexed on suspicion */
#define INDEX_FAR_MAX (16U << 20)   /* of an index that the receiver sends: refused */
#define LEVEL 3

void ship_old_done(ShipOld *o)
{
	ship_index_free(o->index);
	ship_bases_free(o->bases);
	free(o->layers);
	free(o->numbers);
	*o = (ShipOld) { 0 };
}

int ship_old_read(void *user, uint32_t base, uint64_t offset, void *p, size_t n, Err *err)
{
	const ShipOld *o = user;
	return ship_bases_read(o->bases, o->numbers[base], offset, p, n, err);
}

static int add(ShipOld *o, uint32_t number, const Buf *index, bool far, Err *err)
{
	uint64_t size;
	int r = ship_index_add(o->index, (uint32_t) o->n, index, &size, err);
	if (r != 0)
		return r;
	o->numbers = xreallocarray(o->numbers, o->n + 1, sizeof(*o->numbers));
	o->layers = xreallocarray(o->layers, o->n + 1, sizeof(*o->layers));
	o->numbers[o->n] = number;
	o->layers[o->n++] = (ShipOldLayer) { .size = size, .far = far };
	return 0;
}

void ship_old_prepare(Store *store, ShipPeer *peer, const ImageList *images)
{
	AUTO_BUF index = BUF_INIT;
	AUTO_STRV char **bases = NULL;
	struct pollfd said = { .fd = peer->in, .events = POLLIN };
	size_t likely;
	if (!store || ship_similar(store, images, LIMIT_SHIP_BASES, &bases, &likely, NULL) < 0)
		return;
	for (size_t k = 0; k < likely && poll(&said, 1, 0) == 0; k++) {
		LayerInfo info = { 0 };
		if (store_layer(store, bases[k], &info, NULL) == 1 && info.tar_size <= PREPARED_MAX)
			(void) ship_index_get(store, bases[k], &index, NULL);
	}
}

/* The layers that are here; ret_far gets the numbers of the likely ones that are not. */
static int add_near(Store *store, const ShipWant *want, uint64_t bytes, ShipOld *o, uint32_t **ret_far, size_t *ret_n, Err *err)
{
	AUTO_BUF index = BUF_INIT;
	uint64_t left = bytes > UNLIKELY_BYTES ? bytes : UNLIKELY_BYTES;
	int r = 0;
	for (uint32_t k = 0; r == 0 && want->bases && want->bases[k]; k++) {
		LayerInfo info = { 0 };
		bool here = store && store_layer(store, want->bases[k], &info, NULL) == 1;
		if (!here && k < want->likely)
			*array_append(*ret_far, *ret_n) = k;
		bool kept = here && ship_index_find(store, want->bases[k], &index), likely = k < want->likely;
		if (!here || (!kept && !likely && (uint64_t) info.tar_size > left))
			continue;
		left -= kept || likely ? 0 : (uint64_t) info.tar_size;
		if (!kept)
			r = ship_index_get(store, want->bases[k], &index, err);
		if (r == 0)
			r = add(o, k, &index, false, err);
	}
	return r < 0 ? r : 0;
}

/* What the receiver answers: the index, in `ret`. */
static int receive_index(ShipPeer *peer, uint32_t k, Buf *ret, Err *err)
{
	AUTO_BUF packed = BUF_INIT;
	json_t *o = NULL;
	const char *key;
	int r = ship_peer_receive_json(peer, &o, &key, err);
	if (r < 0)
		return r;
	const json_t *answer = json_object_get(o, "index");
	json_int_t base = json_integer_value(json_object_get(answer, "base")), n = json_integer_value(json_object_get(answer, "packed"));
	json_decref(o);
	if (!answer || base != (json_int_t) k || n <= 0 || n > (json_int_t) INDEX_FAR_MAX)
		return err_set(err, -EPROTO, "the receiver's answer is no index of a fair length");
	if ((r = ship_peer_receive_data(peer, SHIP_INDEX, (size_t) n, &packed, err)) < 0)
		return r;
	unsigned long long size = ZSTD_getFrameContentSize(packed.data, packed.len);
	if (size == 0 || size > INDEX_FAR_MAX) /* also what is unknown or no zstd */
		return err_set(err, -EPROTO, "the receiver's index is too large, or none");
	buf_clear(ret);
	size_t done = ZSTD_decompress(buf_reserve(ret, (size_t) size), (size_t) size, packed.data, packed.len);
	if (ZSTD_isError(done) || done != size)
		return err_set(err, -EPROTO, "the receiver's index is damaged");
	buf_added(ret, done);
	return 0;
}

static int add_far(Store *store, ShipPeer *peer, const ShipWant *want, ShipOld *o, const uint32_t *far, size_t n, Err *err)
{
	AUTO_BUF index = BUF_INIT;
	AUTO_FREE bool *asked = xcalloc(n ? n : 1, sizeof(*asked));
	int r = 0;
	for (size_t i = 0; i < n; i++) {
		asked[i] = !store || !ship_index_find(store, want->bases[far[i]], &index);
		if (asked[i] && (r = ship_peer_send_json(peer, json_pack("{s:{s:i}}", "index", "base", (int) far[i]), err)) < 0)
			return r;
	}
	for (size_t i = 0; i < n; i++) {
		if (!asked[i] && !ship_index_find(store, want->bases[far[i]], &index))
			continue;
		if (asked[i] && (r = receive_index(peer, far[i], &index, err)) < 0)
			return r;
		if ((r = add(o, far[i], &index, true, err)) < 0)
			return r;
		if (asked[i] && store)
			ship_index_keep(store, want->bases[far[i]], &index);
	}
	return 0;
}

int ship_old_gather(Store *store, ShipPeer *peer, const ShipWant *want, uint64_t bytes, ShipOld *ret, Err *err)
{
	AUTO(ship_old_done) ShipOld o = { .index = ship_index_new() };
	AUTO_FREE uint32_t *far = NULL;
	size_t n_far = 0;
	int r = add_near(store, want, bytes, &o, &far, &n_far, err);
	if (r < 0 || (r = add_far(store, peer, want, &o, far, n_far, err)) < 0)
		return r;
	ship_index_ready(o.index);
	if (store)
		o.bases = ship_bases_new(store, want->bases);
	*ret = o;
	o = (ShipOld) { 0 };
	return 0;
}

int ship_old_answer(Store *store, ShipPeer *peer, const ShipWant *want, const json_t *request, Err *err)
{
	AUTO_BUF index = BUF_INIT;
	AUTO_BUF plain = BUF_INIT;
	AUTO_BUF packed = BUF_INIT;
	const json_t *base = json_object_get(request, "base");
	json_int_t k = json_integer_value(base);
	if (!json_is_integer(base) || k < 0 || (size_t) k >= strv_len(want->bases))
		return err_set(err, -EPROTO, "the sender asks for the index of a layer that was not named");
	int r = ship_index_get(store, want->bases[k], &index, err);
	if (r < 0 || (r = ship_index_strip(&index, &plain, err)) < 0)
		return r;
	size_t bound = ZSTD_compressBound(plain.len), n = ZSTD_compress(buf_reserve(&packed, bound), bound, plain.data, plain.len, LEVEL);
	if (ZSTD_isError(n))
		return err_set(err, -EIO, "compressing an index: %s", ZSTD_getErrorName(n));
	buf_added(&packed, n);
	r = ship_peer_send_json(peer, json_pack("{s:{s:I, s:I}}", "index", "base", k, "packed", (json_int_t) n), err);
	return r < 0 ? r : ship_peer_send_data(peer, SHIP_INDEX, packed.data, packed.len, err);
}
