// SPDX-License-Identifier: Apache-2.0
/* Whatever stands in the file: what is taken from it is written back as it was. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"
#include "edge/cache-generation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(generations_done) Generations g = { 0 };
	AUTO(generations_done) Generations again = { 0 };
	AUTO_FREE char *text = xstrndup((const char *) data, size);
	AUTO_BUF written = BUF_INIT;
	AUTO_BUF rewritten = BUF_INIT;
	if (generations_read(text, &g) < 0)
		return 0;
	generations_write(&g, &written);
	assert(generations_read(buf_cstr(&written), &again) == 0);
	generations_write(&again, &rewritten);
	assert(str_eq(buf_cstr(&written), buf_cstr(&rewritten)));
	return 0;
}
