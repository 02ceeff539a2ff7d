// SPDX-License-Identifier: Apache-2.0
#include "cli/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

int worker_dir(const char *name, char **ret, Err *err)
{
	const char *base = getenv("TMPDIR");
	AUTO_FREE char *path = xasprintf("%s/stead-%s.XXXXXX", str_empty(base) ? "/var/tmp" : base, name);
	if (!mkdtemp(path))
		return err_errno(err, -errno, "make a directory for temporary files %s", path);
	*ret = steal_ptr(&path);
	return 0;
}

void worker_report_lines(Buf *in, json_t **end)
{
	char *newline;
	while (in->len && (newline = memchr(in->data, '\n', in->len))) {
		size_t n = (size_t) (newline - in->data);
		json_t *line = json_loadb(in->data, n, 0, NULL);
		if (json_object_get(line, "result") || json_object_get(line, "error")) {
			json_decref(*end);
			*end = json_incref(line);
		}
		json_decref(line);
		buf_consume(in, n + 1);
	}
}
