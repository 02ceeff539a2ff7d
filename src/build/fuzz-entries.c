// SPDX-License-Identifier: Apache-2.0
/* A list that is taken comes back the same from what is written of it. The second half of the input comes in small pieces. */
#include "base/mem.h"
#include "base/str.h"
#include "build/entries.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_ENTRIES l = { 0 };
	AUTO_ENTRIES again = { 0 };
	AUTO_BUF out = BUF_INIT;
	size_t half = size / 2;
	int r = entries_feed(&l, data, half, NULL);
	for (size_t i = half; r == 0 && i < size; i += 7)
		r = entries_feed(&l, data + i, size - i < 7 ? size - i : 7, NULL);
	if (r < 0 || entries_end(&l, NULL) < 0)
		return 0;
	entries_write(&l, &out);
	if (entries_parse(buf_cstr(&out), out.len, &again, NULL) < 0 || again.n != l.n)
		abort();
	for (size_t i = 0; i < l.n; i++)
		if (!str_eq(l.items[i].path, again.items[i].path) || !entry_same(&l.items[i], &again.items[i]) || !entry_path_valid(l.items[i].path))
			abort();
	return 0;
}
