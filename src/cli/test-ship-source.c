// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/run-cli.h"
#include "cli/ship-source.h"

#define PARSE(sources, err, ...) ship_sources_parse((char *const[]) { __VA_ARGS__, NULL }, (sources), (err))
#define T(s) ((char *) (s))

static void operands_tell_where_an_image_is(void **state)
{
	AUTO(ship_sources_done) ShipSources l = { 0 };
	write_file("app.tar.zst", "x");
	assert_int_equal(PARSE(&l, NULL, T("app:v1"), T("docker:app:v2"), T("registry:5000/a/b"), T("podman:localhost/x"), T("docker:y"),
				 T("./app.tar.zst"), T(".")), 0);
	assert_int_equal(l.n, 5);
	assert_int_equal(l.items[0].kind, SOURCE_DAEMON);
	assert_string_equal(l.items[0].names[1], "registry:5000/a/b");
	assert_null(l.items[0].names[2]);
	assert_int_equal(l.items[1].kind, SOURCE_ENGINE);
	assert_string_equal(l.items[1].program, "docker");
	assert_string_equal(l.items[1].names[0], "app:v2");
	assert_string_equal(l.items[1].names[1], "y");
	assert_string_equal(l.items[2].program, "podman");
	assert_string_equal(l.items[2].names[0], "localhost/x");
	assert_int_equal(l.items[3].kind, SOURCE_ARCHIVE);
	assert_int_equal(l.items[4].kind, SOURCE_LAYOUT);
}

static void what_is_none_is_refused(void **state)
{
	AUTO(ship_sources_done) ShipSources l = { 0 };
	AUTO_ERR err = ERR_INIT;
	assert_int_equal(PARSE(&l, &err, T("./none.tar")), -ENOENT);
	assert_non_null(strstr(err_text(&err), "./none.tar"));
	assert_int_equal(PARSE(&l, &err, T("docker:")), -EINVAL);
	assert_int_equal(PARSE(&l, &err, T("podman:--help")), -EINVAL); /* no option for the program */
	write_file("twice.tar", "x");
	assert_int_equal(PARSE(&l, &err, T("twice.tar"), T("twice.tar")), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(operands_tell_where_an_image_is),
		cmocka_unit_test(what_is_none_is_refused),
	};
	return cmocka_run_group_tests(tests, cli_setup, cli_teardown);
}
