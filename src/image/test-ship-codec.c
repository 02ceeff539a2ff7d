// SPDX-License-Identifier: Apache-2.0
/* The codec in memory: what was encoded comes out again, and what was damaged on the way never passes for it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "image/ship-cut.h"
#include "image/ship-decode.h"
#include "image/ship-encode.h"
#include "image/ship-patch.h"
#include "image/ship-protocol.h"
#include "image/testing.h"
#include "io/frames.h"

#define FLIPS 10000

static uint64_t random_state = 88172645463325252ULL;

static uint64_t random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static void put_random(Buf *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf_char(b, (char) random_next());
}

/* Two versions of a layer: files that stay, change within, grow, get other times, come and go. */
static void make_pair(Buf *old, Buf *new)
{
	static const char zero[TAR_BLOCK];
	for (int i = 0; i < 60; i++) {
		AUTO_BUF data = BUF_INIT;
		AUTO_FREE char *path = xasprintf("usr/lib/file-%d", i);
		put_random(&data, i % 10 == 3 ? 150000 : (size_t) i * 37);
		TarEntry e = { .type = TAR_FILE, .path = path, .mode = 0644, .mtime = 1700000000 + i, .size = data.len, .stored = data.len };
		if (i != 17) {
			tar_write_header(old, &e);
			buf_append(old, data.data, data.len);
			buf_append(old, zero, tar_padding(data.len));
		}
		e.mtime += i % 3 == 0 ? 0 : 5000 + i % 7;
		e.mode = i % 11 == 5 ? 0755 : 0644;
		for (size_t k = 100; i % 5 == 3 && k < data.len; k += 3000)
			data.data[k]++;
		if (i % 10 == 3)
			buf_append(&data, "grown", 5);
		e.size = e.stored = data.len;
		if (i != 40) {
			tar_write_header(new, &e);
			buf_append(new, data.data, data.len);
			buf_append(new, zero, tar_padding(data.len));
		}
	}
	tar_write_end(old);
	tar_write_end(new);
}

static int read_old(void *user, uint32_t base, uint64_t offset, void *p, size_t n, Err *err)
{
	const Buf *old = user;
	if (base != 0 || offset > old->len || n > old->len - offset)
		return err_set(err, -ERANGE, "a range outside the layer");
	memcpy(p, old->data + offset, n);
	return 0;
}

/* The wire: a header of io/frames.h before each payload. */
static int record(void *user, uint8_t type, const void *p, size_t n, Err *err)
{
	uint8_t h[FRAME_HEADER];
	frame_header(type, n, h);
	buf_append(user, h, sizeof(h));
	buf_append(user, p, n);
	return 0;
}

static void index_of(const Buf *tar, ShipIndex **ret)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_BUF index = BUF_INIT;
	uint64_t size;
	AUTO_STREAM s = stream_memory(tar->data, tar->len);
	assert_int_equal(ship_index_make(s, &index, &err), 0);
	*ret = ship_index_new();
	assert_int_equal(ship_index_add(*ret, 0, &index, &size, &err), 0);
	assert_int_equal(size, tar->len);
	ship_index_ready(*ret);
}

/* The frames of `new` against `old`, from position `from` on, appended. */
static void encode(const Buf *old, const Buf *new, uint64_t from, bool far, Buf *wire)
{
	AUTO_ERR err = ERR_INIT;
	ShipIndex *x __attribute__((cleanup(ship_index_freep))) = NULL;
	uint32_t zero = 0;
	char digest[sizeof(DIGEST_PREFIX) + 64] = DIGEST_PREFIX;
	digest_sha256(new->data, new->len, digest + strlen(DIGEST_PREFIX));
	json_t *layer = ship_layer_json(&(ShipLayer) { .diff_id = digest, .tar_size = new->len, .from = from, .bases = &zero, .n_bases = 1 });
	AUTO_FREE char *text = json_dumps(layer, JSON_COMPACT);
	json_decref(layer);
	assert_int_equal(record(wire, SHIP_JSON, text, strlen(text), NULL), 0);
	index_of(old, &x);
	ShipOldLayer layers[] = { { old->len, far } };
	AUTO_STREAM tar = stream_memory(new->data, new->len);
	ShipEmitter *e __attribute__((cleanup(ship_emitter_freep))) = ship_emitter_new(19, from, record, wire);
	int r = ship_encode_delta(tar, &(ShipEncodeOptions) { .tar_size = new->len, .from = from, .index = x, .old = layers, .n_old = 1,
		.read_old = read_old, .user = (void *) old }, e, &err);
	if (r < 0)
		fail_msg("%s", err_text(&err));
}

typedef struct Wire {
	const Buf *old, *bytes;
	size_t at;
} Wire;

static int next_frame(void *user, uint8_t *ret_type, Buf *frame, Err *err)
{
	Wire *w = user;
	const uint8_t *h = (const uint8_t *) w->bytes->data + w->at;
	size_t left = w->bytes->len - w->at;
	if (left < FRAME_HEADER)
		return err_set(err, -EPIPE, "the end");
	int64_t length = frame_length(h);
	size_t n = (size_t) length;
	if (length < 0 || n > left - FRAME_HEADER)
		return err_set(err, -EPROTO, "no frame");
	*ret_type = h[0];
	buf_clear(frame);
	buf_append(frame, h + FRAME_HEADER, n);
	w->at += FRAME_HEADER + n;
	return 0;
}

static int wire_read_old(void *user, uint32_t base, uint64_t offset, void *p, size_t n, Err *err)
{
	return read_old((void *) ((Wire *) user)->old, base, offset, p, n, err);
}

/* What comes out; < 0: it was refused. */
static int decode(const Buf *old, const Buf *wire, uint64_t size, Buf *ret)
{
	Wire w = { old, wire, 0 };
	AUTO_ERR err = ERR_INIT;
	AUTO_STREAM s = ship_decode(&(ShipDecodeOptions) { .tar_size = size, .n_bases = 1, .next = next_frame, .read_base = wire_read_old, .user = &w });
	char chunk[5000];
	ssize_t n;
	while ((n = stream_read(s, chunk, sizeof(chunk), &err)) > 0)
		buf_append(ret, chunk, (size_t) n);
	return (int) n;
}

static void comes_out_again(void **state)
{
	Buf old = BUF_INIT, new = BUF_INIT, wire = BUF_INIT, out = BUF_INIT;
	make_pair(&old, &new);
	encode(&old, &new, 0, false, &wire);
	assert_int_equal(decode(&old, &wire, new.len, &out), 0);
	assert_int_equal(out.len, new.len);
	assert_memory_equal(out.data, new.data, new.len);
	/* One new file (629 random bytes) and some hundred changed bytes. */
	if (wire.len > 5000)
		fail_msg("%zu bytes for small changes", wire.len);
	buf_done(&old);
	buf_done(&new);
	buf_done(&wire);
	buf_done(&out);
}

static void far_layers_give_whole_pieces(void **state)
{
	Buf old = BUF_INIT, new = BUF_INIT, wire = BUF_INIT, out = BUF_INIT;
	make_pair(&old, &new);
	encode(&old, &new, 0, true, &wire);
	assert_int_equal(decode(&old, &wire, new.len, &out), 0);
	assert_int_equal(out.len, new.len);
	assert_memory_equal(out.data, new.data, new.len);
	assert_true(wire.len < new.len);
	buf_done(&old);
	buf_done(&new);
	buf_done(&wire);
	buf_done(&out);
}

/* From any position: the first part as it is, then what the encoder goes on with. */
static void goes_on_anywhere(void **state)
{
	Buf old = BUF_INIT, new = BUF_INIT;
	make_pair(&old, &new);
	for (int i = 0; i < 20; i++) {
		Buf wire = BUF_INIT, first = BUF_INIT, out = BUF_INIT;
		uint64_t from = 1 + random_next() % (new.len - 1);
		buf_append(&first, new.data, (size_t) from);
		uint8_t position[SHIP_POSITION];
		char digest[sizeof(DIGEST_PREFIX) + 64] = DIGEST_PREFIX;
		digest_sha256(new.data, new.len, digest + strlen(DIGEST_PREFIX));
		json_t *layer = ship_layer_json(&(ShipLayer) { .diff_id = digest, .tar_size = new.len });
		AUTO_FREE char *text = json_dumps(layer, JSON_COMPACT);
		json_decref(layer);
		assert_int_equal(record(&wire, SHIP_JSON, text, strlen(text), NULL), 0);
		ShipEmitter *e __attribute__((cleanup(ship_emitter_freep))) = ship_emitter_new(3, 0, record, &wire);
		AUTO_STREAM s = stream_memory(first.data, first.len);
		assert_int_equal(ship_encode_whole(s, first.len, 0, e, NULL), 0);
		ship_position_write(from, position);
		assert_memory_equal(wire.data + wire.len - 8, position, 8);
		encode(&old, &new, from, false, &wire);
		assert_int_equal(decode(&old, &wire, new.len, &out), 0);
		assert_int_equal(out.len, new.len);
		assert_memory_equal(out.data, new.data, new.len);
		buf_done(&wire);
		buf_done(&first);
		buf_done(&out);
	}
	buf_done(&old);
	buf_done(&new);
}

/* One bit of what was recorded is another: it is refused, or its digest differs, or it made no difference. */
static void survives_flipped_bits(void **state)
{
	Buf old = BUF_INIT, new = BUF_INIT, wire = BUF_INIT, out = BUF_INIT;
	int refused = 0, wrong = 0;
	make_pair(&old, &new);
	encode(&old, &new, 0, false, &wire);
	for (int i = 0; i < FLIPS; i++) {
		size_t bit = (size_t) (random_next() % (wire.len * 8));
		wire.data[bit / 8] ^= (char) (1 << bit % 8);
		buf_clear(&out);
		if (decode(&old, &wire, new.len, &out) < 0)
			refused++;
		else if (out.len != new.len || memcmp(out.data, new.data, new.len) != 0)
			wrong++; /* the layer's SHA-256 finds it */
		assert_true(out.len <= new.len);
		wire.data[bit / 8] ^= (char) (1 << bit % 8);
	}
	assert_true(refused > 0 && wrong > 0);
	buf_done(&old);
	buf_done(&new);
	buf_done(&wire);
	buf_done(&out);
}

/* Patches: put together again as the ops say. */

typedef struct Patched {
	const uint8_t *old, *new;
	size_t m, at, added;
} Patched;

static void patch_add(void *user, size_t at, size_t from, size_t n)
{
	Patched *p = user;
	assert_int_equal(at, p->at);
	assert_true(n > 0 && from <= p->m && n <= p->m - from);
	p->at += n;
	p->added += n;
}

static void patch_extra(void *user, size_t at, size_t n)
{
	Patched *p = user;
	assert_int_equal(at, p->at);
	assert_true(n > 0);
	p->at += n;
}

static void patches_cover_all(void **state)
{
	ShipPatcher *patcher = ship_patcher_new();
	for (int i = 0; i < 200; i++) {
		Buf old = BUF_INIT, new = BUF_INIT;
		put_random(&old, random_next() % 20000);
		if (i % 7 == 0)
			memset(old.data ? old.data : buf_reserve(&old, 1), 'a', old.len);
		for (int k = 0; k < 5 && old.len > 50; k++) {
			size_t from = random_next() % (old.len - 40), n = random_next() % (old.len - from);
			buf_append(&new, old.data + from, n);
			put_random(&new, random_next() % 50);
		}
		for (size_t k = 0; k < new.len; k += 1 + random_next() % 400)
			new.data[k]++;
		Patched p = { (uint8_t *) old.data, (uint8_t *) new.data, old.len, 0, 0 };
		ship_patch(patcher, p.new, new.len, p.old, old.len, (size_t) (random_next() % (old.len + 10)), &(ShipPatchOps) { patch_add, patch_extra, &p });
		assert_int_equal(p.at, new.len);
		if (new.len > 10000)
			assert_true(p.added > new.len / 2);
		buf_done(&old);
		buf_done(&new);
	}
	ship_patcher_free(patcher);
}

static void pieces_are_the_tar(void **state)
{
	Buf old = BUF_INIT, new = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	ShipPiece p;
	uint64_t pos = 0;
	int r;
	make_pair(&old, &new);
	put_random(&new, 1000); /* behind the end */
	AUTO_STREAM s = stream_memory(new.data, new.len);
	ShipCutter *c __attribute__((cleanup(ship_cutter_freep))) = ship_cutter_new(s);
	while ((r = ship_cutter_next(c, &p, &err)) == 1) {
		assert_int_equal(p.pos, pos);
		assert_true(p.n > 0 && p.n <= new.len - pos && p.n <= SHIP_CHUNK_MAX);
		assert_memory_equal(p.data, new.data + pos, p.n);
		assert_int_equal(p.kind == SHIP_HEADER, p.path != NULL);
		pos += p.n;
	}
	assert_int_equal(r, 0);
	assert_int_equal(pos, new.len);
	buf_done(&old);
	buf_done(&new);
}

static void paths_without_their_numbers(void **state)
{
	assert_int_equal(ship_hash_path("static/main.3f2a9c1b.js", 1), ship_hash_path("static/main.77aa0012.js", 1));
	assert_int_equal(ship_hash_path("lib/libx.so.1.2.3", 1), ship_hash_path("lib/libx.so.1.2.14", 1));
	assert_int_not_equal(ship_hash_path("static/face.js", 1), ship_hash_path("static/deed.js", 1));
	assert_int_not_equal(ship_hash_path("chunks/7-3f2a9c1b.js", 1), ship_hash_path("chunks/8-3f2a9c1b.js", 1));
	assert_int_equal(ship_hash_path("chunks/7-3f2a9c1b.js", 1), ship_hash_path("chunks/7-77aa0012.js", 1));
	assert_int_not_equal(ship_hash_path("a1", 0), ship_hash_path("a2", 0));
	assert_int_equal(ship_hash_path("./a", 0), ship_hash_path("a", 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comes_out_again),
		cmocka_unit_test(far_layers_give_whole_pieces),
		cmocka_unit_test(goes_on_anywhere),
		cmocka_unit_test(survives_flipped_bits),
		cmocka_unit_test(patches_cover_all),
		cmocka_unit_test(pieces_are_the_tar),
		cmocka_unit_test(paths_without_their_numbers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
