// SPDX-License-Identifier: Apache-2.0
#include "edge/cache-generation.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

#define WORD_BYTES ((CACHE_GENERATION_NAME - 1) / 2)

static int read_line(const char *line, size_t n, Generations *ret)
{
	uint8_t bytes[WORD_BYTES];
	AUTO_FREE char *text = xstrndup(line, n);
	char *version = strchr(text, ' '), *backend = version ? strchr(version + 1, ' ') : NULL;
	if (strlen(text) != n || !backend || str_has_control(text))
		return -EINVAL;
	*version++ = *backend++ = '\0';
	if (!*backend || hex_decode(text, WORD_BYTES, bytes) < 0 || generations_find(ret, backend))
		return -EINVAL;
	Generation *g = array_append(ret->items, ret->n);
	hex_encode(bytes, WORD_BYTES, g->word);
	g->version = xstrdup(version);
	g->backend = xstrdup(backend);
	return 0;
}

int generations_read(const char *text, Generations *ret)
{
	while (*text) {
		size_t n = strcspn(text, "\n");
		if (!text[n] || read_line(text, n, ret) < 0)
			return -EINVAL;
		text += n + 1;
	}
	return 0;
}

void generations_write(const Generations *g, Buf *ret)
{
	for (size_t i = 0; i < g->n; i++)
		buf_printf(ret, "%s %s %s\n", g->items[i].word, g->items[i].version, g->items[i].backend);
}

Generation *generations_find(const Generations *g, const char *backend)
{
	for (size_t i = 0; i < g->n; i++)
		if (str_eq(g->items[i].backend, backend))
			return &g->items[i];
	return NULL;
}

Generation *generations_renew(Generations *g, const char *backend)
{
	Generation *item = generations_find(g, backend);
	if (!item) {
		item = array_append(g->items, g->n);
		item->version = xstrdup("");
		item->backend = xstrdup(backend);
	}
	hex_random(WORD_BYTES, item->word);
	return item;
}

static void generation_done(Generation *g)
{
	free(g->version);
	free(g->backend);
}

bool generations_prune(Generations *g)
{
	size_t kept = 0;
	for (size_t i = 0; i < g->n; i++) {
		if (g->items[i].wanted)
			g->items[kept++] = g->items[i];
		else
			generation_done(&g->items[i]);
	}
	bool any = kept < g->n;
	g->n = kept;
	return any;
}

void generations_done(Generations *g)
{
	for (size_t i = 0; i < g->n; i++)
		generation_done(&g->items[i]);
	free(g->items);
	*g = (Generations) { 0 };
}
