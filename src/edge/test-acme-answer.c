// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/str.h"
#include "edge/acme-answer.h"

#define AUTO_ANSWER __attribute__((cleanup(acme_answer_done))) AcmeAnswer

static void the_servers_words(void **state)
{
	AUTO_ANSWER a = { 0 };
	acme_answer_parse("uacme: challenge https://x/1 failed with status invalid\nuacme: the server reported the following error:\n{\n"
		"    \"type\": \"urn:ietf:params:acme:error:connection\",\n    \"detail\": \"Get \\\"http://a/\\\": no\\nroute\",\n    \"status\": 400\n}\n"
		"uacme: running hook\nuacme: failed to authorize order at https://x/2\n", &a);
	assert_string_equal(a.text, "the ACME server says: Get \"http://a/\": no route");
	assert_false(a.limited || a.no_account || a.account_exists || a.retry_after);
}

static void limits(void **state)
{
	AUTO_ANSWER a = { 0 };
	acme_answer_parse("uacme: the server reported the following error:\n{\"type\": \"urn:ietf:params:acme:error:rateLimited\", \"detail\": "
		"\"too many failed authorizations (5) for \\\"a.b\\\" in the last 1h0m0s, retry after 2027-01-15 08:00:00 UTC: see x\"}", &a);
	assert_true(a.limited);
	assert_int_equal(a.retry_after, 1800000000);
}

static void forgotten_and_known_accounts(void **state)
{
	AUTO_ANSWER a = { 0 };
	AUTO_ANSWER b = { 0 };
	acme_answer_parse("uacme: the server reported the following error:\n{\"type\": \"urn:ietf:params:acme:error:accountDoesNotExist\"}", &a);
	assert_true(a.no_account);
	assert_string_equal(a.text, "the ACME server says: accountDoesNotExist");
	acme_answer_parse("uacme: Account already exists at https://x/1\n", &b);
	assert_true(b.account_exists);
	acme_answer_done(&b);
	acme_answer_parse("uacme: no account associated with /x/key.pem found at https://x/sign-me-up. Consider trying 'new'\n", &b);
	assert_true(b.no_account);
}

static void uacmes_own_words(void **state)
{
	AUTO_ANSWER a = { 0 };
	AUTO_ANSWER b = { 0 };
	AUTO_ANSWER c = { 0 };
	AUTO_ANSWER d = { 0 };
	acme_answer_parse("uacme: curl_get: GET https://x/dir failed: Couldn't connect to server\nuacme: curl_get: waiting 5 seconds before retrying\n"
		"uacme: acme_get: curl_get failed\nuacme: failed to fetch directory at https://x/dir\n", &a);
	assert_string_equal(a.text, "curl_get: GET https://x/dir failed: Couldn't connect to server");
	acme_answer_parse("uacme: one\nuacme: two\n", &b);
	assert_string_equal(b.text, "two");
	acme_answer_parse("", &c);
	assert_string_equal(c.text, "uacme gave no reason");
	acme_answer_parse("uacme: the server reported the following error:\n{broken", &d);
	assert_string_equal(d.text, "{broken");
}

static void hostile_words(void **state)
{
	AUTO_ANSWER a = { 0 };
	AUTO_ANSWER b = { 0 };
	AUTO_BUF long_text = BUF_INIT;
	acme_answer_parse("uacme: \x1b[2J\xff\xfe end", &a);
	assert_true(str_is_utf8(a.text, strlen(a.text)) && !str_has_control(a.text));
	buf_str(&long_text, "uacme: the server reported the following error:\n{\"type\":\"x\",\"detail\":\"");
	for (int i = 0; i < 5000; i++)
		buf_str(&long_text, "ä");
	buf_str(&long_text, "\"}");
	acme_answer_parse(long_text.data, &b);
	assert_true(strlen(b.text) <= 600 && str_is_utf8(b.text, strlen(b.text)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_servers_words),
		cmocka_unit_test(limits),
		cmocka_unit_test(forgotten_and_known_accounts),
		cmocka_unit_test(uacmes_own_words),
		cmocka_unit_test(hostile_words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
