// SPDX-License-Identifier: Apache-2.0
/* What is taken for a repository gives git nothing but a remote, a reference and a directory below. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "model/git-url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FREE char *text = xstrndup((const char *) data, size);
	AUTO_ERR err = ERR_INIT;
	AUTO_GIT_URL u = { 0 };
	if (git_url_parse(text, &u, &err) < 0) {
		if (u.remote || !*err_text(&err))
			abort();
		return 0;
	}
	if ((!git_url_is(u.remote) && !str_starts(u.remote, "https://github.com/")) || *u.remote == '-' || strstr(u.remote, "://-") || strpbrk(u.remote, " \t\n") || strpbrk(u.remote, "?#"))
		abort();
	if (u.ref && (!*u.ref || *u.ref == '-' || strpbrk(u.ref, "*?[: \n")))
		abort();
	if (u.subdir && (*u.subdir == '/' || str_eq(u.subdir, "..") || str_starts(u.subdir, "../") || strstr(u.subdir, "/../")))
		abort();
	return 0;
}
