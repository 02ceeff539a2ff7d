// SPDX-License-Identifier: Apache-2.0

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "names/table.h"

static Table table;
static Matches matches;

static NamesAddress address(uint32_t last)
{
	return (NamesAddress){ .family = 4,
		.bytes = { 10, (uint8_t) (last >> 16), (uint8_t) (last >> 8), (uint8_t) last } };
}

/* `names`: each followed by a '/'. */
static int set(const char *network, uint32_t last, const char *names)
{
	static NamesSet s;

	memset(&s, 0, sizeof(s));
	(void) snprintf(s.network, sizeof(s.network), "%s", network);
	(void) snprintf(s.network_name, sizeof(s.network_name), "Net.%s", network);
	s.address = address(last);
	for (; *names; names++) {
		s.text[s.text_size++] = *names == '/' ? 0 : *names;
		s.n += *names == '/';
	}
	return table_set(&table, &s);
}

static size_t find(const char *network, const char *name)
{
	NameNetwork *n = table_network(&table, network);

	return table_find(&n, 1, name, &matches) ? matches.n : 0;
}

static int clear(void **state)
{
	table_done(&table);
	free(matches.items);
	matches = (Matches){ NULL, 0 };
	return 0;
}

static void finds(void **state)
{
	set("a", 1, "web-1/web/");
	set("a", 2, "web-2/WEB/");
	set("b", 3, "web/");
	assert_int_equal(find("a", "web"), 2);
	assert_int_equal(find("a", "web-1"), 1);
	assert_int_equal(matches.items[0]->bytes[3], 1);
	assert_int_equal(find("b", "web"), 1);
	assert_int_equal(find("b", "web-1"), 0);
	assert_int_equal(find("a", ""), 0);
	assert_int_equal(find("a", "web.net.a"), 2);
	assert_int_equal(find("a", "web.net.b"), 0);
	assert_int_equal(find("a", "web."), 0);
	assert_int_equal(find("a", ".web"), 0);
}

static void replaces(void **state)
{
	set("a", 1, "one/two/");
	set("a", 1, "two/three/");
	assert_int_equal(find("a", "one"), 0);
	assert_int_equal(find("a", "two"), 1);
	assert_int_equal(find("a", "three"), 1);
	set("a", 1, "");
	assert_int_equal(find("a", "two"), 0);
	assert_int_equal(table.n_entries, 0);
	set("a", 1, ""); /* once more */
}

static void finds_addresses(void **state)
{
	NameNetwork *n[2];
	const NameNetwork *where;
	NamesAddress a = address(7), b = address(8);
	const Entry *e;

	set("b", 7, "First/second/");
	n[0] = table_network(&table, "a");
	n[1] = table_network(&table, "b");
	e = table_find_address(n, 2, &a, &where);
	assert_non_null(e);
	assert_string_equal(entry_name(e), "first");
	assert_string_equal(where->name, "net.b");
	assert_null(table_find_address(n, 2, &b, &where));
}

static void forgets_what_is_stale(void **state)
{
	set("a", 1, "old/");
	set("b", 1, "old/");
	set("a", 2, "kept/");
	table.generation++;
	set("a", 2, "kept/");
	set("a", 3, "new/");
	assert_int_equal(find("a", "old"), 1); /* until all is told */
	table_drop_stale(&table);
	assert_int_equal(table.n, 1);
	assert_int_equal(find("a", "old"), 0);
	assert_int_equal(find("a", "kept"), 1);
	assert_int_equal(find("a", "new"), 1);
}

static void keeps_networks_in_use(void **state)
{
	NameNetwork *n = table_network(&table, "a");

	n->users++;
	table_tidy(&table);
	assert_int_equal(table.n, 1);
	n->users--;
	table_tidy(&table);
	assert_int_equal(table.n, 0);
}

static void is_bounded(void **state)
{
	for (uint32_t i = 0; i < 10; i++)
		assert_int_equal(set("a", i, "x/"), 0);
	table.n_entries = TABLE_ENTRIES_MAX;
	assert_int_equal(set("a", 100000, "x/"), -ENOSPC);
	assert_int_equal(set("a", 3, "y/"), 0); /* what is there can still change */
	table.n_entries = 10;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(finds, clear),
		cmocka_unit_test_teardown(replaces, clear),
		cmocka_unit_test_teardown(finds_addresses, clear),
		cmocka_unit_test_teardown(forgets_what_is_stale, clear),
		cmocka_unit_test_teardown(keeps_networks_in_use, clear),
		cmocka_unit_test_teardown(is_bounded, clear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
