// SPDX-License-Identifier: Apache-2.0
/* JSON bytes to a stack; what is accepted must survive being written and read again unchanged. */
#include <stdint.h>

#include "base/mem.h"
#include "model/stack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *root = json_loadb((const char *) data, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	if (!root)
		return 0;
	AUTO_ERR err = ERR_INIT;
	ModelPath where;
	Stack *s = NULL, *again = NULL;
	if (stack_from_json(root, &s, &where, &err) == 0) {
		json_t *out = stack_to_json(s);
		if (stack_from_json(out, &again, NULL, &err) < 0) {
			fprintf(stderr, "not accepted again: %s\n", err_text(&err));
			abort();
		}
		json_t *second = stack_to_json(again);
		if (!json_equal(out, second))
			abort();
		for (size_t i = 0; i < s->n_services; i++) {
			char a[65], b[65];
			service_hash(s, &s->services[i], a);
			service_hash(again, &again->services[i], b);
			if (memcmp(a, b, sizeof(a)) != 0)
				abort();
		}
		json_decref(second);
		json_decref(out);
	}
	stack_free(again);
	stack_free(s);
	json_decref(root);
	return 0;
}
