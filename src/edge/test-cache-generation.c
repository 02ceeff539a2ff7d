// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "edge/cache-generation.h"

static void written_is_read(void **state)
{
	AUTO(generations_done) Generations g = { 0 };
	AUTO(generations_done) Generations again = { 0 };
	AUTO_BUF text = BUF_INIT;
	(void) generations_renew(&g, "shop/web:80");
	(void) generations_renew(&g, "shop/api:8080");
	str_set(&generations_find(&g, "shop/api:8080")->version, "cafe");
	generations_write(&g, &text);
	assert_int_equal(generations_read(buf_cstr(&text), &again), 0);
	assert_int_equal(again.n, 2);
	assert_string_equal(generations_find(&again, "shop/api:8080")->word, generations_find(&g, "shop/api:8080")->word);
	assert_string_equal(generations_find(&again, "shop/api:8080")->version, "cafe");
	assert_string_equal(generations_find(&again, "shop/web:80")->version, "");
	assert_null(generations_find(&again, "shop/api:80"));
}

static void renewed_is_another(void **state)
{
	AUTO(generations_done) Generations g = { 0 };
	char before[CACHE_GENERATION_NAME];
	memcpy(before, generations_renew(&g, "a/b:1")->word, sizeof(before));
	assert_int_equal(strlen(before), CACHE_GENERATION_NAME - 1);
	assert_string_not_equal(generations_renew(&g, "a/b:1")->word, before);
	assert_int_equal(g.n, 1);
}

static void unwanted_goes(void **state)
{
	AUTO(generations_done) Generations g = { 0 };
	for (int i = 0; i < 9; i++) {
		AUTO_FREE char *name = xasprintf("s/w:%d", i);
		generations_renew(&g, name)->wanted = i % 3 == 0;
	}
	assert_true(generations_prune(&g));
	assert_int_equal(g.n, 3);
	assert_non_null(generations_find(&g, "s/w:6"));
	assert_null(generations_find(&g, "s/w:7"));
	assert_false(generations_prune(&g));
	for (int i = 20; i < 40; i++) {
		AUTO_FREE char *name = xasprintf("s/w:%d", i);
		(void) generations_renew(&g, name);
	}
	assert_int_equal(g.n, 23);
	assert_non_null(generations_find(&g, "s/w:0"));
}

static void refused(void **state)
{
	static const char *const texts[] = {
		"\n",
		"00112233445566aa",
		"00112233445566aa\n",
		"00112233445566aa \n",
		"00112233445566aa a/b:1\n",
		"00112233445566aa v \n",
		"00112233445566aa v a/b:1",
		"00112233445566a v a/b:1\n",
		"00112233445566aab v a/b:1\n",
		"00112233445566ag v a/b:1\n",
		"00112233445566aa v a\tb\n",
		"00112233445566aa v a/b:1\n00112233445566ab v a/b:1\n",
	};
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		AUTO(generations_done) Generations g = { 0 };
		assert_int_equal(generations_read(texts[i], &g), -EINVAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(written_is_read),
		cmocka_unit_test(renewed_is_another),
		cmocka_unit_test(unwanted_goes),
		cmocka_unit_test(refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
