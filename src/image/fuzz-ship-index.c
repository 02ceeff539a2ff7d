// SPDX-License-Identifier: Apache-2.0
/* An index from elsewhere. Its checksum is put right, so that what stands behind it is reached. */
#include "base/mem.h"
#include "image/ship-cut.h"
#include "image/ship-index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_BUF index = BUF_INIT;
	AUTO_BUF plain = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	uint64_t total, hash;
	buf_append(&index, data, size);
	if (size >= 8) {
		hash = ship_hash(data, size - 8);
		memcpy(index.data + size - 8, &hash, sizeof(hash));
	}
	ShipIndex *x __attribute__((cleanup(ship_index_freep))) = ship_index_new();
	if (ship_index_add(x, 0, &index, &total, &err) != 0)
		return 0;
	ship_index_ready(x);
	for (uint64_t i = 0; i < 64; i++) {
		const ShipChunk *c = ship_index_chunk(x, i, 5);
		const ShipOldFile *f = ship_index_file(x, i);
		if ((c && (c->base != 0 || c->pos + c->len > total)) || (f && f->contents + f->size > total))
			abort();
		(void) ship_index_like(x, i);
		if (c && ship_index_at(x, 0, c->pos) == NULL)
			abort();
	}
	if (ship_index_strip(&index, &plain, &err) < 0 || ship_index_strip(&plain, &index, &err) < 0)
		abort();
	return 0;
}
