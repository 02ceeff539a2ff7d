// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "run/logs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const char *s = (const char *) data;
	LogEntry e;
	if (log_line_parse(s, n, &e) == 0) {
		assert(e.stream == 1 || e.stream == 2);
		assert(e.data >= s && e.data + e.len == s + n);
	}
	return 0;
}
