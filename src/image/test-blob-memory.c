// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "image/blob-memory.h"
#include "image/testing.h"

#define HEX62 "00112233445566778899aabbccddeeff00112233445566778899aabbccddee"
#define DIFF "sha256:" HEX62 "01"

static Store state = { .state = -1, .layers = -1, .blobs = -1, .tmp = -1, .lock = -1 };

static int setup(void **unused)
{
	return scratch_setup(unused) || store_open(scratch, &state, NULL) < 0;
}

static int teardown(void **unused)
{
	store_close(&state);
	return scratch_teardown(unused);
}

static size_t count(const char *diff_id)
{
	json_t *list = blob_memory_read(&state, diff_id);
	size_t n = json_array_size(list);
	json_decref(list);
	return n;
}

static void newest_first_each_once(void **unused)
{
	assert_int_equal(count(DIFF), 0);
	blob_memory_add(&state, DIFF, "sha256:" HEX62 "aa", 5, "t", "docker.io/a");
	blob_memory_add(&state, DIFF, "sha256:" HEX62 "bb", 6, "t", "docker.io/b");
	blob_memory_add(&state, DIFF, "sha256:" HEX62 "aa", 5, "t", "docker.io/a");
	json_t *list = blob_memory_read(&state, DIFF);
	assert_int_equal(json_array_size(list), 2);
	assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "source")), "docker.io/a");
	assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 1), "size")), 6);
	json_decref(list);
	/* Another layer of the same name: the first half of its digest. */
	assert_int_equal(count("sha256:" HEX62 "02"), 0);
}

static void old_ones_go(void **unused)
{
	for (int i = 0; i < 40; i++) {
		AUTO_FREE char *source = xasprintf("docker.io/r%d", i);
		blob_memory_add(&state, DIFF, "sha256:" HEX62 "cc", 7, "t", source);
	}
	json_t *list = blob_memory_read(&state, DIFF);
	assert_int_equal(json_array_size(list), 16);
	assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "source")), "docker.io/r39");
	json_decref(list);
}

static void damaged_is_none(void **unused)
{
	static const char *const bad[] = {
		"", "[", "{}", "{\"diff_id\":\"" DIFF "\",\"blobs\":[{\"digest\":\"x\",\"size\":1,\"type\":\"t\",\"source\":\"s\"}, 7]}",
		"{\"diff_id\":\"" DIFF "\",\"blobs\":{}}",
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(file_write(state.layers, "00112233445566778899aabbccddeeff.blobs", bad[i], strlen(bad[i]), 0600), 0);
		assert_int_equal(count(DIFF), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(newest_first_each_once), cmocka_unit_test(old_ones_go), cmocka_unit_test(damaged_is_none) };
	return cmocka_run_group_tests(tests, setup, teardown);
}
