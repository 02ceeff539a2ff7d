// SPDX-License-Identifier: Apache-2.0
/* A reference that is taken must come back unchanged through both of its written forms. */
#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"
#include "image/reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FREE char *s = xstrndup((const char *) data, size);
	AUTO_REFERENCE r = { 0 };
	AUTO_ERR err = ERR_INIT;
	if (reference_parse(s, &r, &err) < 0)
		return 0;
	AUTO_FREE char *normal = reference_string(&r);
	AUTO_FREE char *familiar = reference_familiar(&r);
	AUTO_FREE char *a = NULL, *b = NULL;
	if (reference_normalise(normal, &a, NULL) < 0 || reference_normalise(familiar, &b, NULL) < 0)
		abort();
	if (!str_eq(a, normal) || !str_eq(b, normal))
		abort();
	return 0;
}
