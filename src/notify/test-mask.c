// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "notify/mask.h"

typedef struct Case {
	const char *in, *out;
} Case;

static void expect(const Mask *m, const Case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		AUTO_FREE char *out = mask_text(m, cases[i].in);
		assert_string_equal(out, cases[i].out);
	}
}

static void names(void **state)
{
	static const char *const secret[] = { "PASSWORD", "DB_PASSWORD", "MYSQL_ROOT_PASSWORD", "PGPASSWORD", "db_pass", "API_KEY", "api-key", "SECRET_KEY_BASE",
					      "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "SENTRY_DSN", "BASIC_AUTH", "spring.datasource.password" };
	static const char *const open[] = { "PATH", "PWD", "OLDPWD", "KEYBOARD", "AUTHOR", "MONKEY", "PASSENGERS", "JWT_PUBLIC_KEY", "DB_PASSWORD_FILE", "", "HOST" };
	for (size_t i = 0; i < ARRAY_SIZE(secret); i++)
		if (!mask_name_is_secret(secret[i]))
			fail_msg("%s is secret", secret[i]);
	for (size_t i = 0; i < ARRAY_SIZE(open); i++)
		if (mask_name_is_secret(open[i]))
			fail_msg("%s is not secret", open[i]);
}

static void values(void **state)
{
	AUTO_MASK *m = mask_new();
	mask_add(m, "hunter2hunter2");
	mask_add(m, "root");
	mask_add(m, "abc");
	mask_add(m, "true");
	mask_add(m, "p@ss/w\"rd!");
	mask_add(m, NULL);
	mask_add(m, "");
	static const Case cases[] = {
		{ "login with hunter2hunter2 failed", "login with *** failed" },
		{ "xhunter2hunter2hunter2x", "x***x" }, /* they overlap */
		{ "user root in /rootfs as root", "user *** in /rootfs as ***" },
		{ "root", "***" },
		{ "abc true", "abc true" },
		{ "{\"p\":\"p@ss/w\\\"rd!\"}", "{\"p\":\"***\"}" },
		{ "x=p%40ss%2Fw%22rd%21&y", "x=***&y" },
		{ "", "" },
		{ "hunter2hunter", "hunter2hunter" },
	};
	expect(m, cases, ARRAY_SIZE(cases));
}

static void many_lines(void **state)
{
	AUTO_MASK *m = mask_new();
	mask_add(m, "-----BEGIN KEY-----\r\nMIIEvQIBADANBg\nshort\n");
	mask_add(m, "one-line-secret\n");
	static const Case cases[] = {
		{ "read MIIEvQIBADANBg from file", "read *** from file" },
		{ "a short one-line-secret", "a short ***" },
	};
	expect(m, cases, ARRAY_SIZE(cases));
	AUTO_STRV char **in = NULL, **out = NULL;
	strv_add(&in, "MIIEvQIBADANBg");
	strv_add(&in, "fine");
	out = mask_lines(m, in);
	assert_string_equal(out[0], "***");
	assert_string_equal(out[1], "fine");
	assert_null(out[2]);
}

static void variables(void **state)
{
	AUTO_MASK *m = mask_new();
	mask_add_variable(m, "DB_PASSWORD=s3cr3t-value");
	mask_add_variable(m, "DATABASE_URL=mysql://app:pa55w0rd-x@db:3306/app");
	mask_add_variable(m, "BASIC_AUTH=user:open-sesame");
	mask_add_variable(m, "LANG=s3cr3t-not");
	mask_add_variable(m, "REMOVED");
	static const Case cases[] = {
		{ "s3cr3t-value", "***" },
		{ "Access denied (using pa55w0rd-x)", "Access denied (using ***)" },
		{ "db:3306/app", "db:3306/app" },
		{ "open-sesame", "***" },
		{ "s3cr3t-not", "s3cr3t-not" },
	};
	expect(m, cases, ARRAY_SIZE(cases));
}

static void looks_like_one(void **state)
{
	static const Case cases[] = {
		{ "redis://:pw@cache:6379", "redis://:***@cache:6379" },
		{ "http://user:p@ss@host/x and ssh://git@host/y", "http://user:***@host/x and ssh://git@host/y" },
		{ "postgres://u:sl/ash@h/db", "postgres://u:***@h/db" },
		{ "http://host:8080/mail?to=a@b", "http://host:8080/mail?to=a@b" },
		{ "https://ghp_0123456789abcdef@github.com/x", "https://***@github.com/x" },
		{ "GET /x?token=abc&page=2&api_key=def HTTP", "GET /x?token=***&page=2&api_key=*** HTTP" },
		{ "Authorization: Bearer abc.def", "Authorization: Bearer ***" },
		{ "{\"authorization\": \"Basic dXNlcg==\", \"x\": 1}", "{\"authorization\": \"Basic ***\", \"x\": 1}" },
		{ "authorization: denied for bob", "authorization: denied for bob" },
		{ "sent bearer 0123456789abcdefXYZ to", "sent bearer *** to" },
		{ "a bearer of news", "a bearer of news" },
		{ "http:// and ://", "http:// and ://" },
	};
	expect(NULL, cases, ARRAY_SIZE(cases));
}

static void targets(void **state)
{
	AUTO_MASK *m = mask_new();
	NotifyTarget slack = { .kind = NOTIFY_SLACK, .url = (char *) (uintptr_t) "https://hooks.slack.test/services/T000/B000/XXXX" };
	NotifyTarget ntfy = { .kind = NOTIFY_NTFY, .url = (char *) (uintptr_t) "https://ntfy.sh/topic9", .token = (char *) (uintptr_t) "tk_abcdef" };
	NotifyTarget mail = { .kind = NOTIFY_MAIL, .url = (char *) (uintptr_t) "smtps://mail.test", .password = (char *) (uintptr_t) "mail-pass" };
	NotifyTarget hook = { .kind = NOTIFY_WEBHOOK, .url = (char *) (uintptr_t) "https://u:hook-pass@hook.test/notify" };
	mask_add_target(m, &slack);
	mask_add_target(m, &ntfy);
	mask_add_target(m, &mail);
	mask_add_target(m, &hook);
	static const Case cases[] = {
		{ "https://hooks.slack.test/services/T000/B000/XXXX", "https://hooks.slack.test/***" },
		{ "topic9 tk_abcdef mail-pass hook-pass", "*** *** *** ***" },
		{ "mail.test hook.test notify", "mail.test hook.test notify" },
	};
	expect(m, cases, ARRAY_SIZE(cases));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(values),
		cmocka_unit_test(many_lines),
		cmocka_unit_test(variables),
		cmocka_unit_test(looks_like_one),
		cmocka_unit_test(targets),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
