// SPDX-License-Identifier: Apache-2.0
/* Recipes as frames with a table: read through, and anywhere; also those of an older stead, which have no table. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <zstd.h>

#include "image/recipe-map.h"
#include "image/testing.h"

#define FILES 300

/* Headers of noise and files of noise; the tar that this makes. */
static void make_layer(int dirfd, int recipe, Buf *tar)
{
	uint64_t x = 1;
	RecipeWriter *w = recipe_writer_new(recipe);
	AUTO_ERR err = ERR_INIT;
	for (int i = 0; i < FILES; i++) {
		char name[32], raw[1500], data[5000];
		(void) snprintf(name, sizeof(name), "file-%d", i);
		for (size_t k = 0; k < sizeof(raw); k++)
			raw[k] = (char) ((x = x * 6364136223846793005ULL + 1) >> 40);
		for (size_t k = 0; k < sizeof(data); k++)
			data[k] = (char) ((x = x * 6364136223846793005ULL + 1) >> 40);
		size_t n = i % 4 ? (size_t) i * 16 : 0;
		assert_int_equal(file_write(dirfd, name, data, n, 0600), 0);
		recipe_raw(w, raw, sizeof(raw));
		buf_append(tar, raw, sizeof(raw));
		recipe_file(w, name);
		/* In two parts with something between, as sparse files have it. */
		if (n > 100) {
			recipe_segment(w, 0, 50);
			buf_append(tar, data, 50);
			recipe_raw(w, "between", 7);
			buf_str(tar, "between");
			recipe_segment(w, 50, n - 50);
			buf_append(tar, data + 50, n - 50);
		} else if (n) {
			recipe_segment(w, 0, n);
			buf_append(tar, data, n);
		}
	}
	assert_int_equal(recipe_finish(w, &err), 0);
	recipe_writer_free(w);
}

static int temp_file(void)
{
	char name[] = "/tmp/stead-test-recipe-XXXXXX";
	int fd = mkostemp(name, O_CLOEXEC);
	assert_true(fd >= 0);
	(void) unlink(name);
	return fd;
}

static void check_stream(int fd, int dirfd, const Buf *tar)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_STREAM s = NULL;
	AUTO_FREE char *all = xmalloc(tar->len + 1);
	assert_int_equal(recipe_open(fd, dirfd, &s, &err), 0);
	assert_int_equal(stream_read_full(s, all, tar->len + 1, &err), tar->len);
	assert_memory_equal(all, tar->data, tar->len);
}

static void check_map(int fd, int dirfd, const Buf *tar)
{
	AUTO_ERR err = ERR_INIT;
	RecipeCache *cache = recipe_cache_new();
	RecipeMap *m = NULL;
	AUTO_FREE char *piece = xmalloc(tar->len);
	uint64_t x = 7;
	assert_int_equal(recipe_map_open(cache, dup(fd), dup(dirfd), &m, &err), 1);
	assert_int_equal(recipe_map_size(m), tar->len);
	for (int i = 0; i < 500; i++) {
		size_t at = (size_t) ((x = x * 6364136223846793005ULL + 1) >> 33) % tar->len, n = (size_t) (x >> 20) % (i % 10 ? 3000 : tar->len);
		n = n > tar->len - at ? tar->len - at : n;
		if (recipe_map_read(m, at, piece, n, &err) < 0)
			fail_msg("%s", err_text(&err));
		assert_memory_equal(piece, tar->data + at, n);
	}
	assert_int_equal(recipe_map_read(m, tar->len - 1, piece, 2, &err), -ERANGE);
	assert_int_equal(recipe_map_read(m, UINT64_MAX, piece, 2, &err), -ERANGE);
	recipe_map_free(m);
	recipe_cache_free(cache);
}

/* As it was written before there were frames: all records in one. */
static int without_table(int fd)
{
	AUTO_BUF packed = BUF_INIT;
	AUTO_BUF plain = BUF_INIT;
	off_t size = lseek(fd, 0, SEEK_END);
	int old = temp_file();
	assert_int_equal(pread(fd, buf_reserve(&packed, (size_t) size), (size_t) size, 0), size);
	size_t max = 8 << 20, n = ZSTD_decompress(buf_reserve(&plain, max), max, packed.data, (size_t) size);
	assert_false(ZSTD_isError(n));
	size_t bound = ZSTD_compressBound(n);
	AUTO_FREE char *out = xmalloc(bound);
	size_t k = ZSTD_compress(out, bound, plain.data, n, 1);
	assert_int_equal(fd_write_all(old, out, k), 0);
	return old;
}

static void read_anywhere(void **state)
{
	AUTO_BUF tar = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	AUTO_CLOSE int dirfd = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC), recipe = temp_file(), new = temp_file();
	make_layer(dirfd, recipe, &tar);
	check_stream(recipe, dirfd, &tar);
	check_map(recipe, dirfd, &tar);

	AUTO_CLOSE int old = without_table(recipe);
	RecipeCache *cache = recipe_cache_new();
	RecipeMap *m = NULL;
	check_stream(old, dirfd, &tar);
	assert_int_equal(recipe_map_open(cache, dup(old), dup(dirfd), &m, &err), 0);
	recipe_cache_free(cache);
	assert_int_equal(recipe_convert(old, new, &err), 0);
	check_stream(new, dirfd, &tar);
	check_map(new, dirfd, &tar);
}

/* A recipe lies on a disk: damage is an error, whatever it hits. */
static void survives_damage(void **state)
{
	AUTO_BUF tar = BUF_INIT;
	AUTO_BUF bytes = BUF_INIT;
	AUTO_CLOSE int dirfd = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC), recipe = temp_file();
	uint64_t x = 99;
	int opened = 0;
	make_layer(dirfd, recipe, &tar);
	off_t size = lseek(recipe, 0, SEEK_END);
	for (int i = 0; i < 300; i++) {
		AUTO_ERR err = ERR_INIT;
		RecipeCache *cache = recipe_cache_new();
		RecipeMap *m = NULL;
		char byte, changed, piece[4096];
		/* Half of them in the table at the end. */
		off_t at = i % 2 ? size - 1 - (off_t) ((x = x * 6364136223846793005ULL + 1) >> 33) % 60 :
				   (off_t) ((x = x * 6364136223846793005ULL + 1) >> 33) % size;
		assert_int_equal(pread(recipe, &byte, 1, at), 1);
		changed = (char) (byte ^ (1 << (x >> 20) % 8));
		assert_int_equal(pwrite(recipe, &changed, 1, at), 1);
		if (recipe_map_open(cache, dup(recipe), dup(dirfd), &m, &err) == 1) {
			opened++;
			for (uint64_t pos = 0; pos + sizeof(piece) < recipe_map_size(m) && pos < tar.len; pos += sizeof(piece))
				if (recipe_map_read(m, pos, piece, sizeof(piece), &err) == 0 && pos + sizeof(piece) <= tar.len)
					assert_memory_equal(piece, tar.data + pos, sizeof(piece));
			recipe_map_free(m);
		}
		recipe_cache_free(cache);
		assert_int_equal(pwrite(recipe, &byte, 1, at), 1);
	}
	assert_true(opened > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(read_anywhere),
		cmocka_unit_test(survives_damage),
	};
	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
