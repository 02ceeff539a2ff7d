// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"
#include "io/http-query.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p = (const char *) data;
	AUTO_FREE char *path = NULL;
	Query q = { 0 };
	if (path_decode(p, size, &path) == 0)
		assert(path[0] == '/' && strlen(path) <= size && !str_has_control(path));
	if (query_parse(p, size, &q) == 0) {
		assert(q.n_params <= QUERY_PARAMS_MAX);
		for (size_t i = 0; i < q.n_params; i++)
			assert(query_get(&q, q.params[i].key) != NULL);
		(void) query_bool(query_get(&q, "all"), true);
		query_done(&q);
	}
	return 0;
}
