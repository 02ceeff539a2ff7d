// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "image/registry.h"

static void challenges(void **state)
{
	AUTO_CHALLENGE c = { 0 };
	assert_int_equal(challenge_parse("Bearer realm=\"https://a/t\",service=\"s\",scope=\"repository:x:pull,push\"", &c, NULL), 0);
	assert_int_equal(c.kind, CHALLENGE_BEARER);
	assert_string_equal(c.realm, "https://a/t");
	assert_string_equal(c.service, "s");
	assert_string_equal(c.scope, "repository:x:pull,push");
	challenge_done(&c);
	assert_int_equal(challenge_parse("basic Realm=\"a, b=\\\"c\"", &c, NULL), 0);
	assert_int_equal(c.kind, CHALLENGE_BASIC);
	assert_string_equal(c.realm, "a, b=\"c");
	challenge_done(&c);
	/* Several: Bearer wins, wherever it stands; parameters stay with their own. */
	assert_int_equal(challenge_parse("Negotiate, BEARER realm=r , scope=q, Basic realm=b", &c, NULL), 0);
	assert_int_equal(c.kind, CHALLENGE_BEARER);
	assert_string_equal(c.realm, "r");
	assert_string_equal(c.scope, "q");
	challenge_done(&c);
	assert_int_equal(challenge_parse("", &c, NULL), 0);
	assert_int_equal(c.kind, CHALLENGE_NONE);
	assert_int_equal(challenge_parse("Digest realm=x", &c, NULL), 0);
	assert_int_equal(c.kind, CHALLENGE_NONE);
	challenge_done(&c);
}

static void bad_challenges(void **state)
{
	static const char *const bad[] = { "Bearer", "Bearer service=s", "Bearer realm=\"x", "Bearer realm=", "\"", "Bearer realm=\"\"", "=x" };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		AUTO_CHALLENGE c = { 0 };
		assert_int_equal(challenge_parse(bad[i], &c, NULL), -EINVAL);
		assert_null(c.realm);
	}
}

static void tokens(void **state)
{
	static const char *const bad[] = { "", "{}", "[]", "{\"token\":\"\"}", "{\"token\":7}", "{\"token\":\"a\\nb\"}", "{\"token\":\"a\"" };
	AUTO_FREE char *token = NULL;
	const char *good = "{\"token\": \"a.b\", \"access_token\": \"c\"}", *other = "{\"access_token\": \"c\"}";
	assert_int_equal(token_parse(good, strlen(good), &token, NULL), 0);
	assert_string_equal(token, "a.b");
	free_and_null(&token);
	assert_int_equal(token_parse(other, strlen(other), &token, NULL), 0);
	assert_string_equal(token, "c");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char *none = NULL;
		assert_true(token_parse(bad[i], strlen(bad[i]), &none, NULL) < 0);
		assert_null(none);
	}
}

static void rules(void **state)
{
	static const char text[] = "# comment\n\nmirror docker.io https://one.example/\r\n mirror docker.io http://two:5000/sub # second\n"
				   "plain-http Box:5000\nca r.example /etc/ca.pem\ninsecure r.example";
	AUTO_REGISTRY_RULES r = { 0 };
	size_t i = 0;
	assert_int_equal(registry_rules_parse(text, "f", &r, NULL), 0);
	assert_int_equal(r.n, 5);
	assert_string_equal(registry_rule(&r, RULE_MIRROR, "docker.io", &i)->value, "https://one.example");
	assert_string_equal(registry_rule(&r, RULE_MIRROR, "docker.io", &i)->value, "http://two:5000/sub");
	assert_null(registry_rule(&r, RULE_MIRROR, "docker.io", &i));
	i = 0;
	assert_non_null(registry_rule(&r, RULE_PLAIN_HTTP, "box:5000", &i));
	i = 0;
	assert_null(registry_rule(&r, RULE_PLAIN_HTTP, "box", &i));
	i = 0;
	assert_string_equal(registry_rule(&r, RULE_CA, "r.example", &i)->value, "/etc/ca.pem");
}

static void bad_rules(void **state)
{
	static const char *const bad[][2] = {
		{ "\nmiror docker.io https://x", "rules:2: unknown rule 'miror'" }, { "mirror", "rules:1: mirror: a registry is missing" },
		{ "mirror docker.io", "a URL is missing" }, { "ca r.example", "a file is missing" }, { "ca r.example ca.pem", "not an absolute path" },
		{ "mirror docker.io ftp://x", "neither an http" }, { "mirror docker.io https://u:p@x", "user name" }, { "plain-http a b", "one word too many" },
		{ "mirror a https://x y", "'y' is one word too many" }, { "plain-http http://a", "is not a registry" }, { "insecure a/b", "is not a registry" },
		{ "mirror a https://x/?q", "no query" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		AUTO_REGISTRY_RULES r = { 0 };
		AUTO_ERR err = ERR_INIT;
		assert_int_equal(registry_rules_parse(bad[i][0], "rules", &r, &err), -EINVAL);
		assert_non_null(strstr(err_text(&err), bad[i][1]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(challenges), cmocka_unit_test(bad_challenges), cmocka_unit_test(tokens), cmocka_unit_test(rules),
		cmocka_unit_test(bad_rules),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
