// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stdint.h>

#include "base/mem.h"
#include "daemon/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const known[] = { "label", "label!", "name", "status", NULL };
	char *labels[] = { (char *) "a=b", (char *) "c", NULL };
	AUTO_FREE char *text = xstrndup((const char *) data, size);
	AUTO_ERR err = ERR_INIT;
	Filter *f = NULL;
	bool b;
	if (filter_read(text, known, &f, &err) < 0) {
		assert(!f && err.text);
		return 0;
	}
	(void) filter_match(f, "status", "running");
	(void) filter_match_text(f, "name", "blog-web-1");
	(void) filter_match_prefix(f, "name", "blog");
	(void) filter_match_labels(f, labels);
	(void) filter_bool(f, "status", false, &b, NULL);
	json_decref(f);
	return 0;
}
