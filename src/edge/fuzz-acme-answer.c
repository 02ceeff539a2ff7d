// SPDX-License-Identifier: Apache-2.0
#include <assert.h>

#include "base/mem.h"
#include "base/str.h"
#include "edge/acme-answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FREE char *text = xstrndup((const char *) data, size);
	AcmeAnswer a;
	acme_answer_parse(text, &a);
	assert(a.text && *a.text && !str_has_control(a.text) && str_is_utf8(a.text, strlen(a.text)));
	acme_answer_done(&a);
	return 0;
}
