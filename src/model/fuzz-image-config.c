// SPDX-License-Identifier: Apache-2.0
#include "base/digest.h"
#include "model/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Image *i = NULL;
	AUTO_ERR err = ERR_INIT;
	if (image_from_config((const char *) data, size, &i, &err) == 0 && !digest_valid(i->id))
		abort();
	image_free(i);
	return 0;
}
