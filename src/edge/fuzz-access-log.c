// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <jansson.h>
#include <stdint.h>

#include "base/mem.h"
#include "edge/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever a line holds, what is written of it is one line of JSON. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FREE char *line = xstrndup((const char *) data, size);
	AUTO_BUF b = BUF_INIT;
	LogRecord r;
	line[strcspn(line, "\n")] = '\0';
	if (log_parse(line, &r) < 0)
		return 0;
	log_json(&r, "shop/web:80", &b);
	assert(memchr(b.data, '\n', b.len) == b.data + b.len - 1);
	json_t *o = json_loadb(b.data, b.len - 1, 0, NULL);
	assert(o);
	json_decref(o);
	return 0;
}
