// SPDX-License-Identifier: Apache-2.0
#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"
#include "compose/interpolate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *get(void *user, const char *name)
{
	return str_eq(name, "A") ? "one" : str_eq(name, "EMPTY") ? "" : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const Variables v = { .get = get };
	AUTO_FREE char *text = xstrndup((const char *) data, size);
	AUTO_BUF out = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	int e = interpolate(text, &v, &out, &err);
	if (e < 0 && !err.text)
		abort();
	if (e == 0 && !strchr(text, '$') && !str_eq(buf_cstr(&out), text))
		abort();
	return 0;
}
