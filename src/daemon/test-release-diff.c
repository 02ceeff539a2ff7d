// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/release-diff.h"

static Stack *parse(const char *services, const char *rest)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_FREE char *text = xasprintf("{\"name\":\"t\",\"services\":{%s}%s}", services, rest);
	json_error_t e;
	json_t *o = json_loads(text, 0, &e);
	Stack *s = NULL;
	if (!o)
		fail_msg("%s", e.text);
	if (stack_from_json(o, &s, NULL, &err) < 0)
		fail_msg("%s", err_text(&err));
	json_decref(o);
	return s;
}

/* "web image a,b; web environment X" */
static char *describe(const Stack *old, char *const *old_images, const Stack *now, char *const *now_images)
{
	json_t *changes = release_diff(old, old_images, now, now_images), *change, *name;
	Buf b = BUF_INIT;
	size_t i, k;
	json_array_foreach(changes, i, change) {
		buf_printf(&b, "%s%s %s", i ? "; " : "", json_string_value(json_object_get(change, "service")),
			json_string_value(json_object_get(change, "what")));
		json_array_foreach(json_object_get(change, "names"), k, name)
			buf_printf(&b, "%s%s", k ? "," : " ", json_string_value(name));
	}
	json_decref(changes);
	return buf_steal(&b);
}

static void expect(const char *old, const char *now, const char *wanted)
{
	AUTO_STACK *a = parse(old, ""), *b = parse(now, "");
	AUTO_FREE char *got = describe(a, NULL, b, NULL);
	assert_string_equal(got, wanted);
}

static void nothing_changed(void **state)
{
	expect("\"a\":{\"image\":\"x\",\"environment\":{\"A\":\"1\"}}", "\"a\":{\"image\":\"x\",\"environment\":{\"A\":\"1\"}}", "");
}

static void services_come_and_go(void **state)
{
	expect("\"a\":{\"image\":\"x\"}", "\"b\":{\"image\":\"x\"}", "b new; a removed");
	AUTO_STACK *b = parse("\"b\":{\"image\":\"x\"}", "");
	AUTO_FREE char *got = describe(NULL, NULL, b, NULL);
	assert_string_equal(got, "b new");
}

static void variables_by_name_never_by_value(void **state)
{
	expect("\"a\":{\"image\":\"x\",\"environment\":{\"SAME\":\"1\",\"OTHER\":\"secret1\",\"GONE\":\"secret2\"}}",
		"\"a\":{\"image\":\"x\",\"environment\":{\"SAME\":\"1\",\"OTHER\":\"secret3\",\"NEW\":\"secret4\"}}", "a environment NEW,OTHER,GONE");
}

static void images_by_reference_and_id(void **state)
{
	AUTO_STACK *a = parse("\"a\":{\"image\":\"x:1\"}", "");
	char *before[] = { (char *) "a=sha256:0123456789abcdef", NULL }, *after[] = { (char *) "a=sha256:fedcba9876543210", NULL };
	AUTO_FREE char *got = describe(a, before, a, after);
	assert_string_equal(got, "a image x:1 (0123456789ab),x:1 (fedcba987654)");
	AUTO_FREE char *same = describe(a, before, a, before);
	assert_string_equal(same, "");
}

static void files_by_content(void **state)
{
	static const char service[] = "\"a\":{\"image\":\"x\",\"configs\":[{\"source\":\"c\",\"target\":\"/c\"}],"
				      "\"secrets\":[{\"source\":\"s\",\"target\":\"/s\"}]}";
	static const char rest[] = ",\"configs\":{\"c\":{\"file\":\"/f\",\"x-stead-sha256\":\"%064d\"}},\"secrets\":{\"s\":{\"content\":\"v%d\"}}";
	AUTO_FREE char *one = xasprintf(rest, 1, 1), *two = xasprintf(rest, 2, 1), *three = xasprintf(rest, 2, 2);
	AUTO_STACK *a = parse(service, one), *b = parse(service, two), *c = parse(service, three);
	AUTO_FREE char *config = describe(a, NULL, b, NULL), *secret = describe(b, NULL, c, NULL);
	assert_string_equal(config, "a file c");
	assert_string_equal(secret, "a file s");
}

static void keys_routes_and_scale(void **state)
{
	expect("\"a\":{\"image\":\"x\",\"command\":[\"1\"]}", "\"a\":{\"image\":\"x\",\"command\":[\"2\"],\"hostname\":\"h\"}",
		"a config command,hostname");
	expect("\"a\":{\"image\":\"x\",\"x-stead\":{\"routes\":[{\"host\":\"a.test\",\"path\":\"/\"}]}}",
		"\"a\":{\"image\":\"x\",\"scale\":3,\"x-stead\":{\"routes\":[{\"host\":\"b.test\",\"path\":\"/p\"}],\"deploy\":{\"drain\":\"5s\"}}}",
		"a config x-stead.deploy; a route b.test/p,a.test/; a scale 1 to 3");
	AUTO_STACK *a = parse("\"a\":{\"image\":\"x\"}", ""), *b = parse("\"a\":{\"image\":\"x\"}", ",\"volumes\":{\"v\":{\"name\":\"t_v\"}}");
	AUTO_FREE char *got = describe(a, NULL, b, NULL);
	assert_string_equal(got, " config volumes.v");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_changed),
		cmocka_unit_test(services_come_and_go),
		cmocka_unit_test(variables_by_name_never_by_value),
		cmocka_unit_test(images_by_reference_and_id),
		cmocka_unit_test(files_by_content),
		cmocka_unit_test(keys_routes_and_scale),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
