// SPDX-License-Identifier: Apache-2.0
#include "image/ship-bases.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "image/recipe-map.h"
#include "model/image.h"

struct ShipBases {
	Store *store;
	char *const *digests;
	size_t n;
	RecipeMap **maps; /* NULL = not open yet */
	RecipeCache *cache;
};

ShipBases *ship_bases_new(Store *s, char *const *digests)
{
	ShipBases *b = xcalloc(1, sizeof(*b));
	b->store = s;
	b->digests = digests;
	b->n = strv_len(digests);
	b->maps = xcalloc(b->n ? b->n : 1, sizeof(*b->maps));
	b->cache = recipe_cache_new();
	return b;
}

void ship_bases_free(ShipBases *b)
{
	if (!b)
		return;
	for (size_t i = 0; i < b->n; i++)
		recipe_map_free(b->maps[i]);
	recipe_cache_free(b->cache);
	free(b->maps);
	free(b);
}

/* A recipe of an older stead gets its table in a temporary file. */
static int convert(ShipBases *b, const char *digest, int recipe, Err *err)
{
	AUTO_CLOSE int tmp = store_temp_file(b->store, err);
	int r = tmp < 0 ? tmp : recipe_convert(recipe, tmp, err);
	return r < 0 ? err_wrap(err, "layer %s", digest) : steal_fd(&tmp);
}

static int open_base(ShipBases *b, uint32_t k, Err *err)
{
	const char *digest = b->digests[k];
	char name[33];
	layer_dir_name(digest, name);
	AUTO_FREE char *file = xasprintf("%s.recipe", name);
	for (int converted = 0; converted < 2; converted++) {
		AUTO_CLOSE int layer = store_open_layer(b->store, digest, err);
		if (layer < 0)
			return layer;
		AUTO_CLOSE int recipe = openat(b->store->layers, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (recipe < 0)
			return err_errno(err, -errno, "%s/layers/%s", b->store->path, file);
		if (converted) {
			int tmp = convert(b, digest, recipe, err);
			if (tmp < 0)
				return tmp;
			(void) close(recipe);
			recipe = tmp;
		}
		int r = recipe_map_open(b->cache, steal_fd(&recipe), steal_fd(&layer), &b->maps[k], err);
		if (r < 0)
			return err_wrap(err, "layer %s", digest);
		if (r == 1)
			return 0;
	}
	return err_set(err, -EIO, "layer %s: its recipe cannot be read", digest);
}

int ship_bases_read(ShipBases *b, uint32_t k, uint64_t offset, void *p, size_t n, Err *err)
{
	if (k >= b->n)
		return err_set(err, -ERANGE, "an old layer that was not named");
	if (!b->maps[k]) {
		int r = open_base(b, k, err);
		if (r < 0)
			return r;
	}
	return recipe_map_read(b->maps[k], offset, p, n, err);
}
