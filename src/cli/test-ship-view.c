// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "cli/ship-view.h"

static void see(ShipView *v, bool from_sender, const char *text, uint64_t sent, int64_t seconds)
{
	json_t *o = json_loads(text, 0, NULL);
	assert_non_null(o);
	ship_view_control(v, from_sender, o, sent, seconds * NSEC_PER_SEC);
	json_decref(o);
}

static void expect_text(const ShipView *v, uint64_t sent, int64_t seconds, const char *wanted)
{
	AUTO_FREE char *text = ship_view_text(v, sent, seconds * NSEC_PER_SEC);
	assert_string_equal(text, wanted);
}

static void a_ship_is_followed(void **state)
{
	ShipView v = { 0 };
	expect_text(&v, 0, 0, "reading what is to be sent");
	see(&v, true, "{\"offer\":{\"images\":[{\"config_size\":1000,\"sizes\":[50000000,80000000,40000000]}],\"packed\":500}}", 700, 0);
	assert_int_equal(v.layers, 3);
	assert_int_equal(v.image_bytes, 170001000);
	expect_text(&v, 700, 0, "asking the other box what it has");
	see(&v, false, "{\"want\":{\"layers\":[],\"bases\":[]}}", 700, 0);
	expect_text(&v, 700, 0, "all layers are there");
	see(&v, false, "{\"want\":{\"layers\":[{\"diff_id\":\"a\",\"from\":0},{\"diff_id\":\"b\",\"from\":0}],\"bases\":[]}}", 700, 0);
	expect_text(&v, 700, 0, "finding out what differs");
	see(&v, true, "{\"layer\":{\"diff_id\":\"a\",\"tar_size\":80000000,\"from\":0}}", 1000, 10);
	expect_text(&v, 1000, 10, "layer 1 of 2, sent 1.0 kB");
	ship_view_position(&v, 40000000);
	/* Half of it in two seconds; the other layer is taken for as large: six more. */
	expect_text(&v, 11000, 12, "layer 1 of 2, sent 11 kB, saved 40 MB, 5.0 kB/s, 7 s left");
	see(&v, true, "{\"layer\":{\"diff_id\":\"b\",\"tar_size\":40000000,\"from\":30000000}}", 20000, 14);
	assert_int_equal(v.begun, 2);
	ship_view_position(&v, 35000000);
	expect_text(&v, 21000, 14, "layer 2 of 2, sent 21 kB, saved 85 MB, 5.0 kB/s, 1 s left");
	assert_int_equal(v.image_bytes, 170001000);
	/* The next try begins anew. */
	see(&v, true, "{\"offer\":{\"images\":[{\"config_size\":10,\"sizes\":[0]}],\"packed\":5}}", 700, 0);
	assert_int_equal(v.begun, 0);
	see(&v, true, "{\"layer\":{\"diff_id\":\"b\",\"tar_size\":500,\"from\":0}}", 20000, 14);
	assert_int_equal(v.image_bytes, 510);
	json_t *images = json_loads("[{\"size\":7000},{\"size\":1}]", 0, NULL);
	ship_view_done(&v, images);
	assert_int_equal(v.image_bytes, 7001);
	/* What was offered with its sizes stays as it is. */
	see(&v, true, "{\"offer\":{\"images\":[{\"config_size\":10,\"sizes\":[90]}],\"packed\":5}}", 700, 0);
	ship_view_done(&v, images);
	assert_int_equal(v.image_bytes, 100);
	json_decref(images);
}

static void nonsense_does_no_harm(void **state)
{
	ShipView v = { 0 };
	see(&v, true, "{\"offer\":7}", 0, 0);
	see(&v, true, "{\"layer\":[]}", 0, 0);
	see(&v, true, "{\"layer\":{\"tar_size\":-1,\"from\":9223372036854775807}}", 0, 0);
	ship_view_position(&v, UINT64_MAX);
	ship_view_position(&v, 0);
	AUTO_FREE char *text = ship_view_text(&v, UINT64_MAX, 3600 * NSEC_PER_SEC);
	assert_non_null(text);
}

static void sizes_are_short(void **state)
{
	static const struct {
		uint64_t n;
		const char *text;
	} cases[] = { { 0, "0 B" }, { 999, "999 B" }, { 1000, "1.0 kB" }, { 16384, "16 kB" }, { 167890000, "168 MB" }, { 999600, "1.0 MB" },
		{ 9940, "9.9 kB" }, { 9960, "10 kB" }, { UINT64_MAX, "18446744 TB" } };
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_FREE char *text = ship_bytes(cases[i].n);
		assert_string_equal(text, cases[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_ship_is_followed),
		cmocka_unit_test(nonsense_does_no_harm),
		cmocka_unit_test(sizes_are_short),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
