// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/str.h"
#include "daemon/box.h"

#define ENTRY(state, flags, magic) state "\ninterpreter /usr/bin/qemu\nflags: " flags "\noffset 0\nmagic " magic "\nmask ffffffff\n"
#define ARM64 "7f454c460201010000000000000000000200b700"

static void emulations_are_told_by_their_magic(void **state)
{
	assert_string_equal(box_emulated(ENTRY("enabled", "OCF", ARM64)), "arm64");
	assert_string_equal(box_emulated(ENTRY("enabled", "F", "7f454c4601010100000000000000000002002800")), "arm");
	assert_string_equal(box_emulated(ENTRY("enabled", "F", "7f454c4602010100000000000000000002003e00")), "amd64");
	assert_string_equal(box_emulated(ENTRY("enabled", "F", "7f454c4602020100000000000000000000020016")), "s390x");
	assert_string_equal(box_emulated(ENTRY("enabled", "F", "7f454c460201010000000000000000000200f300")), "riscv64");
}

static void others_do_not_help_containers(void **state)
{
	assert_null(box_emulated(ENTRY("disabled", "F", ARM64)));
	assert_null(box_emulated(ENTRY("enabled", "OC", ARM64))); /* its interpreter would have to be in the image */
	assert_null(box_emulated(ENTRY("enabled", "F", "7f454c46")));
	assert_null(box_emulated(ENTRY("enabled", "F", "cafebabe02010100000000000000000002003e00")));
	assert_null(box_emulated(ENTRY("enabled", "F", "zz454c4602010100000000000000000002003e00")));
	assert_null(box_emulated("enabled\ninterpreter /usr/bin/python3\nflags: F\nextension .py\n"));
	assert_null(box_emulated("enabled\n")); /* the file "status" */
	assert_null(box_emulated(""));
}

static void memory(void **state)
{
	static const char text[] = "MemTotal:        1000 kB\nMemFree:           10 kB\nMemAvailable:     600 kB\n";
	assert_int_equal(box_memory(text, "MemTotal:"), 1024000);
	assert_int_equal(box_memory(text, "MemAvailable:"), 614400);
	assert_int_equal(box_memory(text, "SwapTotal:"), 0);
	assert_int_equal(box_memory("", "MemTotal:"), 0);
}

static void this_machine(void **state)
{
	AUTO_BOX b = { 0 };
	box_read("/", &b);
	assert_false(str_empty(b.architecture));
	assert_false(strv_has(b.emulated, b.architecture));
	assert_true(b.memory_total >= b.memory_free && b.memory_free > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(emulations_are_told_by_their_magic),
		cmocka_unit_test(others_do_not_help_containers),
		cmocka_unit_test(memory),
		cmocka_unit_test(this_machine),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
