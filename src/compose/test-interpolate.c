// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "compose/interpolate.h"

static int unset_told;

static const char *get(void *user, const char *name)
{
	return str_eq(name, "SET") ? "value" : str_eq(name, "EMPTY") ? "" : str_eq(name, "_x1") ? "under" : NULL;
}

static void unset(void *user, const char *name)
{
	unset_told++;
}

static void forms(void **state)
{
	static const struct {
		const char *text, *wanted;
		int unset;
	} cases[] = {
		{ "plain", "plain", 0 },
		{ "$SET", "value", 0 },
		{ "$SET.x", "value.x", 0 },
		{ "${SET}x", "valuex", 0 },
		{ "$_x1", "under", 0 },
		{ "$GONE|${GONE}", "|", 2 },
		{ "$$SET $$", "$SET $", 0 },
		{ "$$$SET", "$value", 0 },
		{ "${SET:-d} ${EMPTY:-d} ${GONE:-d}", "value d d", 0 },
		{ "${SET-d} ${EMPTY-d} ${GONE-d}", "value  d", 0 },
		{ "${SET:+a} ${EMPTY:+a} ${GONE:+a}", "a  ", 0 },
		{ "${SET+a} ${EMPTY+a} ${GONE+a}", "a a ", 0 },
		{ "${SET:?e} ${SET?e} ${EMPTY?e}", "value value ", 0 },
		{ "${GONE:-${ALSO:-${SET}}}", "value", 0 },
		{ "${GONE:-a:b-c?d}", "a:b-c?d", 0 },
		{ "${GONE:-}", "", 0 },
		{ "${SET:+${GONE:-in}}", "in", 0 },
		{ "${GONE:-{a}}", "{a}", 0 },
		{ "${GONE:-$$x}", "$x", 0 },
		{ "${GONE:-http://h:80/p}", "http://h:80/p", 0 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const Variables v = { .get = get, .unset = unset };
		AUTO_BUF out = BUF_INIT;
		AUTO_ERR err = ERR_INIT;
		unset_told = 0;
		if (interpolate(cases[i].text, &v, &out, &err) < 0)
			fail_msg("%s: %s", cases[i].text, err_text(&err));
		if (!str_eq(buf_cstr(&out), cases[i].wanted))
			fail_msg("%s gave '%s', not '%s'", cases[i].text, buf_cstr(&out), cases[i].wanted);
		assert_int_equal(unset_told, cases[i].unset);
	}
}

static void refusals(void **state)
{
	static const struct {
		const char *text, *wanted;
	} cases[] = {
		{ "${GONE:?it is needed}", "required variable GONE is missing a value: it is needed; set it in the environment or in .env" },
		{ "${GONE?}", "required variable GONE is missing a value; set it" },
		{ "${EMPTY:?no $SET}", "required variable EMPTY is missing a value: no value" },
		{ "a $ b", "'$ b' is no variable; write ${NAME}, or $$ for a dollar sign" },
		{ "$", "'$' is no variable" },
		{ "$1", "'$1' is no variable" },
		{ "${}", "'${}' is no variable" },
		{ "${SET", "'${SET' is no variable" },
		{ "${SET!x}", "'${SET!x}' is no variable" },
		{ "${SET:x}", "is no variable" },
		{ "${1a}", "is no variable" },
		{ "$(cat x)", "is no variable" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const Variables v = { .get = get };
		AUTO_BUF out = BUF_INIT;
		AUTO_ERR err = ERR_INIT;
		if (interpolate(cases[i].text, &v, &out, &err) == 0)
			fail_msg("accepted: %s", cases[i].text);
		if (!strstr(err_text(&err), cases[i].wanted))
			fail_msg("%s: %s", cases[i].text, err_text(&err));
	}
}

static void nesting_is_limited(void **state)
{
	const Variables v = { .get = get };
	AUTO_BUF text = BUF_INIT, out = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	for (int i = 0; i < 100; i++)
		buf_str(&text, "${GONE:-");
	for (int i = 0; i < 100; i++)
		buf_str(&text, "}");
	assert_int_not_equal(interpolate(buf_cstr(&text), &v, &out, &err), 0);
	assert_non_null(strstr(err_text(&err), "nested deeper"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forms), cmocka_unit_test(refusals), cmocka_unit_test(nesting_is_limited),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
