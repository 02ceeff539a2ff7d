// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <time.h>
#include <cmocka.h>

#include "build/cache.h"
#include "build/files.h"
#include "image/testing.h"

static int state_fd(void)
{
	int fd = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void open_cache(Cache *c)
{
	AUTO_CLOSE int fd = state_fd();
	assert_int_equal(cache_open(fd, c, NULL), 0);
}

static void set_used(const char *path, time_t when)
{
	AUTO_FREE char *full = scratch_path(path);
	const struct timespec times[2] = { { .tv_sec = when }, { .tv_sec = when } };
	assert_int_equal(utimensat(AT_FDCWD, full, times, 0), 0);
}

static bool exists(const char *path)
{
	AUTO_FREE char *full = scratch_path(path);
	return access(full, F_OK) == 0;
}

static void records(void **state)
{
	AUTO(cache_close) Cache c;
	CacheKey k = { BUF_INIT };
	char one[DIGEST_HEX_MAX], two[DIGEST_HEX_MAX];
	struct stat st;
	(void) state;
	open_cache(&c);
	/* No two sequences of strings have one key. */
	key_add(&k, "ab");
	key_add(&k, "c");
	key_finish(&k, one);
	key_add(&k, "a");
	key_add(&k, "bc");
	key_finish(&k, two);
	assert_string_not_equal(one, two);
	key_add(&k, NULL);
	key_finish(&k, one);
	key_add(&k, "");
	key_finish(&k, two);
	assert_string_not_equal(one, two);
	assert_null(cache_get(&c, one));
	assert_int_equal(cache_put(&c, one, json_pack("{s:s}", "image", "x"), NULL), 0);
	json_t *r = cache_get(&c, one);
	assert_string_equal(json_string_value(json_object_get(r, "image")), "x");
	json_decref(r);
	/* Use is noted. */
	AUTO_FREE char *path = xasprintf("build/cache/%s", one);
	set_used(path, 1000);
	r = cache_get(&c, one);
	json_decref(r);
	AUTO_FREE char *full = scratch_path(path);
	assert_int_equal(stat(full, &st), 0);
	assert_true(st.st_mtime > 1000);
	/* What a power cut leaves. */
	assert_int_equal(truncate(full, 5), 0);
	assert_null(cache_get(&c, one));
	assert_int_equal(truncate(full, 0), 0);
	assert_null(cache_get(&c, one));
}

static void lists(void **state)
{
	AUTO(cache_close) Cache c;
	AUTO_ENTRIES l = { 0 };
	AUTO_ENTRIES back = { 0 };
	AUTO_ENTRIES damaged = { 0 };
	char hex[DIGEST_HEX_MAX];
	(void) state;
	open_cache(&c);
	*array_append(l.items, l.n) = (Entry) { .path = xstrdup("a"), .type = 'd', .mode = 0755 };
	*array_append(l.items, l.n) = (Entry) { .path = xstrdup("b"), .type = 'd', .mode = 0700 };
	entries_digest(&l, hex);
	assert_int_equal(cache_put_list(&c, hex, &l, NULL), 0);
	assert_int_equal(cache_get_list(&c, hex, &back), 0);
	assert_int_equal(back.n, 2);
	AUTO_FREE char *path = xasprintf("%s/build/lists/%s", scratch, hex);
	static const char less[] = "{\"path\":\"a\",\"type\":\"d\",\"mode\":493}\n"; /* whole lines, but not all of them */
	assert_int_equal(file_write(AT_FDCWD, path, less, strlen(less), 0600), 0);
	assert_true(cache_get_list(&c, hex, &damaged) < 0);
}

static void mounts_are_shared_or_not(void **state)
{
	AUTO(cache_close) Cache c;
	const MountOwner owner = { geteuid(), getegid(), 0750 };
	AUTO_FREE char *one = NULL;
	AUTO_FREE char *two = NULL;
	AUTO_FREE char *three = NULL;
	int a, b, other;
	struct stat st;
	(void) state;
	open_cache(&c);
	assert_int_equal(cache_mount(&c, "id", 0, &owner, false, &a, &one, NULL), 0);
	assert_int_equal(cache_mount(&c, "id", 0, &owner, false, &b, &two, NULL), 0);
	assert_string_equal(one, two);
	assert_int_equal(cache_mount(&c, "id", 0, &owner, true, &other, &three, NULL), 1);
	assert_int_equal(cache_mount(&c, "id", 1, &owner, true, &other, &three, NULL), 0);
	assert_string_not_equal(one, three);
	(void) close(other);
	(void) close(a);
	(void) close(b);
	free_and_null(&three);
	assert_int_equal(cache_mount(&c, "id", 0, &owner, true, &other, &three, NULL), 0);
	(void) close(other);
	AUTO_FREE char *full = scratch_path(one);
	assert_int_equal(stat(full, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
}

static void put_content(Files *f, const char *text, char hex[DIGEST_HEX_MAX])
{
	AUTO_FILES_WRITER w = FILES_WRITER_INIT;
	assert_int_equal(files_begin(f, &w, NULL), 0);
	assert_int_equal(files_append(&w, text, strlen(text), NULL), 0);
	assert_int_equal(files_finish(&w, hex, NULL), 0);
}

static void contents(void **state)
{
	AUTO(files_close) Files f;
	AUTO_CLOSE int fd = state_fd();
	(void) mkdirat(fd, "tmp", 0700);
	char one[DIGEST_HEX_MAX], two[DIGEST_HEX_MAX], expected[DIGEST_HEX_MAX];
	(void) state;
	assert_int_equal(files_open(fd, &f, NULL), 0);
	put_content(&f, "one", one);
	digest_sha256("one", 3, expected);
	assert_string_equal(one, expected);
	put_content(&f, "second", two);
	assert_true(files_has(&f, one, 3));
	assert_false(files_has(&f, one, 4));
	/* One that is not finished leaves nothing. */
	FilesWriter w = FILES_WRITER_INIT;
	assert_int_equal(files_begin(&f, &w, NULL), 0);
	AUTO_FREE char *tmp = xasprintf("tmp/%s", w.tmp);
	assert_true(exists(tmp));
	files_abort(&w);
	assert_false(exists(tmp));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records), cmocka_unit_test(lists), cmocka_unit_test(mounts_are_shared_or_not), cmocka_unit_test(contents),
	};
	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
