// SPDX-License-Identifier: Apache-2.0
/* "PATTERN\nPATH": what the questions answer must fit together. */
#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"
#include "dockerfile/glob.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FREE char *pattern = xstrndup((const char *) data, size);
	char *path = strchr(pattern, '\n');
	if (!path || strlen(pattern) > 4096)
		return 0;
	*path++ = '\0';
	AUTO_ERR err = ERR_INIT;
	AUTO(glob_freep) Glob *g = NULL, *shallow = NULL;
	int deep = glob_compile(pattern, GLOB_DEEP, &g, &err), flat = glob_compile(pattern, 0, &shallow, &err);
	if ((deep < 0) != (flat < 0) || (deep < 0 && !err.text))
		abort();
	if (deep < 0)
		return 0;
	if (glob_match(g, path) && !glob_match_parents(g, path))
		abort();
	/* Whatever matches below a directory is announced by it. */
	char *slash = strrchr(path, '/');
	if (slash && slash != path && slash[1] && glob_match(g, path)) {
		*slash = '\0';
		if (!glob_may_match_below(g, path))
			abort();
	}
	AUTO_FREE char *clean = path_clean(path), *again = path_clean(clean);
	if (!str_eq(clean, again) || (path[0] == '/') != (clean[0] == '/'))
		abort();
	return 0;
}
