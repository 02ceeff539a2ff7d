// SPDX-License-Identifier: Apache-2.0
/* An ignore file; the first line is the path that is asked for. */
#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"
#include "dockerfile/ignore.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *nl = size ? memchr(data, '\n', size) : NULL;
	if (!nl || memchr(data, '\0', (size_t) (nl - data)))
		return 0;
	AUTO_FREE char *path = xstrndup((const char *) data, (size_t) (nl - data));
	AUTO_ERR err = ERR_INIT;
	AUTO(ignore_freep) Ignore *i = NULL;
	if (ignore_parse("x", (const char *) nl + 1, size - (size_t) (nl + 1 - data), &i, &err) < 0) {
		if (!err.text || !str_starts(err.text, "x:"))
			abort();
		return 0;
	}
	const IgnoreRule *rule;
	bool ignored = ignore_match(i, path, &rule);
	if (ignored != (rule && !rule->negated))
		abort();
	/* What was taken back in below a directory must be reachable. */
	char *slash = strrchr(path, '/');
	if (rule && rule->negated && slash && slash != path && slash[1]) {
		*slash = '\0';
		const IgnoreRule *parent;
		if (ignore_match(i, path, &parent) && !ignore_walk_below(i, path))
			abort();
	}
	return 0;
}
