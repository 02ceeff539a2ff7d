// SPDX-License-Identifier: Apache-2.0
/* Raw bytes and contents, put together, must be the input as far as the reader went. */
#include "base/mem.h"
#include "image/tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void keep(void *user, const void *p, size_t n)
{
	buf_append(user, p, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_BUF copy = BUF_INIT;
	AUTO_BUF again = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	AUTO_STREAM s = stream_memory(data, size);
	AUTO_TAR t = tar_reader_new(s, keep, &copy);
	const TarEntry *e;
	char chunk[777];
	int r;
	while ((r = tar_next(t, &e, &err)) == 1) {
		uint64_t offset;
		ssize_t n;
		while ((n = tar_read(t, chunk, sizeof(chunk), &offset, &err)) > 0) {
			/* A directory may be followed by bytes, which nobody reads. */
			if (e->type == TAR_FILE && offset + (uint64_t) n > e->size)
				abort();
			buf_append(&copy, chunk, (size_t) n);
		}
		if (n < 0)
			break;
		buf_clear(&again);
		tar_write_header(&again, e);
	}
	if (copy.len > size || (copy.len && memcmp(copy.data, data, copy.len) != 0))
		abort();
	return 0;
}
