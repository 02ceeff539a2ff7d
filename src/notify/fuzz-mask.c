// SPDX-License-Identifier: Apache-2.0
/* Lines up to an empty one are secrets, what follows is the text: none of the longer secrets may be left in it. */
#include <assert.h>
#include <stdint.h>

#include "base/mem.h"
#include "notify/mask.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FREE char *input = xstrndup((const char *) data, size);
	AUTO_MASK *m = mask_new();
	char *text = strstr(input, "\n\n");
	if (!text)
		return 0;
	*text = '\0';
	text += 2;
	char *first = NULL;
	for (char *p = input, *next; p; p = next) {
		next = strchr(p, '\n');
		if (next)
			*next++ = '\0';
		if (strchr(p, '=') && p != input)
			mask_add_variable(m, p);
		else
			mask_add(m, p);
		first = first ? first : p;
	}
	AUTO_FREE char *masked = mask_text(m, text);
	size_t n = strlen(first);
	if (n >= 16 && !strchr(first, '*') && !strchr(first, '\r') && first[n - 1] != ' ')
		assert(!strstr(masked, first));
	return 0;
}
