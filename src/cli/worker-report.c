// SPDX-License-Identifier: Apache-2.0
#include "cli/worker-report.h"

#include <string.h>

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
