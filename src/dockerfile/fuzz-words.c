// SPDX-License-Identifier: Apache-2.0
#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"
#include "dockerfile/words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *get(void *user, const char *name)
{
	return str_eq(name, "A") ? "one two/three.c" : str_eq(name, "B") ? "\xc3\xa4*?" : str_eq(name, "E") ? "" : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const WordVariables v = { .get = get, .escape = size % 2 ? '\\' : '`' };
	AUTO_FREE char *text = xstrndup((const char *) data, size), *word = NULL, *heredoc = NULL;
	AUTO_STRV char **words = NULL;
	AUTO_ERR err = ERR_INIT;
	int one = word_expand(text, &v, &word, &err);
	if (one < 0 && !err.text)
		abort();
	if ((words_expand(text, &v, &words, &err) < 0) != (one < 0))
		abort();
	if (one == 0 && !strpbrk(text, "$'\"\\`") && !str_eq(word, text))
		abort();
	/* Valid text stays valid, so that it can stand in a configuration. */
	if (one == 0 && str_is_utf8(text, strlen(text)) && !str_is_utf8(word, strlen(word)))
		abort();
	(void) text_expand(text, &v, &heredoc, &err);
	return 0;
}
