// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "notify/testing.h"

#define TEXT(s) ((char *) (uintptr_t) (s))

static char *lines[] = { TEXT("starting"), TEXT("```<!channel> @everyone `x` & <@U1>"), NULL };

static const Notice failed = {
	.kind = NOTICE_DEPLOY_FAILED, .stack = "blog", .service = "api", .release = 7, .base = 6, .who = "ann@box", .commit = "0a1b2c3 *bold* <!here>",
	.author = "J\xc3\xb6rg", .step = "health", .text = "It was not healthy: ``` @everyone <!channel>", .log_lines = lines, .took_ns = 1234 * NSEC_PER_MSEC,
	.next = "See: stead releases 7", .url = "https://blog.example.com", .id = "00ff", .time = 1700000000 * NSEC_PER_SEC, .host = "box",
};

static char *dumped(json_t *o)
{
	char *text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	return text;
}

static void slack(void **state)
{
	json_t *o = notify_slack(&failed);
	vendor_check_slack(o);
	AUTO_FREE char *text = dumped(o);
	assert_non_null(strstr(text, "\"\xe2\x9d\x8c blog: deploy of release 7 failed\""));
	assert_non_null(strstr(text, "*Failed step*\\nhealth"));
	assert_non_null(strstr(text, "&lt;!channel&gt; @everyone"));
	assert_non_null(strstr(text, "See: stead releases 7"));
	assert_non_null(strstr(text, "```\\nstarting\\n"));
}

static void discord(void **state)
{
	json_t *o = notify_discord(&failed);
	vendor_check_discord(o);
	AUTO_FREE char *text = dumped(o);
	assert_non_null(strstr(text, "\"allowed_mentions\":{\"parse\":[]}"));
	assert_non_null(strstr(text, "0a1b2c3 \\\\*bold\\\\* \\\\<!here\\\\>"));
	assert_non_null(strstr(text, "\"url\":\"https://blog.example.com\""));
	assert_non_null(strstr(text, "```\\nstarting\\n"));
	assert_non_null(strstr(text, "\"timestamp\":\"2023-11-14T22:13:20Z\""));
}

static void ntfy(void **state)
{
	json_t *o = notify_ntfy(&failed, "my-topic");
	vendor_check_ntfy(o);
	AUTO_FREE char *text = dumped(o);
	assert_non_null(strstr(text, "\"topic\":\"my-topic\",\"title\":\"blog: deploy of release 7 failed\""));
	assert_non_null(strstr(text, "\"priority\":4,\"tags\":[\"x\"]"));
	assert_non_null(strstr(text, "\"actions\":[{\"action\":\"view\",\"label\":\"Open\",\"url\":\"https://blog.example.com\"}]"));
	Notice bare = { .kind = NOTICE_DEPLOY_STARTED, .stack = "blog" };
	o = notify_ntfy(&bare, "t");
	vendor_check_ntfy(o);
	json_decref(o);
}

static NotifyTarget mail_target(const char *to, const char *from)
{
	static char *list[3];
	list[0] = TEXT(to);
	list[1] = TEXT("second@example.com");
	return (NotifyTarget) { .kind = NOTIFY_MAIL, .url = TEXT("smtp://mail"), .to = list, .from = TEXT(from), .user = TEXT("u"), .password = TEXT("p") };
}

static void mail(void **state)
{
	NotifyTarget t = mail_target("ops@example.com", "stead@example.com");
	AUTO_BUF b = BUF_INIT;
	AUTO_BUF text = BUF_INIT;
	assert_int_equal(notify_mail(&t, &failed, &b, NULL), 0);
	vendor_check_mail(b.data, b.len, &text);
	assert_true(str_starts(b.data, "Date: Tue, 14 Nov 2023 22:13:20 +0000\r\nFrom: stead <stead@example.com>\r\n"
				       "To: ops@example.com,\r\n second@example.com\r\nSubject: [stead] blog: deploy of release 7 failed\r\n"
				       "Message-ID: <00ff.stead@example.com>\r\n"));
	assert_non_null(strstr(text.data, "Author: J\xc3\xb6rg\n"));
	assert_non_null(strstr(text.data, "Last log lines:\nstarting\n```<!channel>"));
	assert_non_null(strstr(b.data, "Author: J=C3=B6rg\r\n"));
}

static void mail_headers_hold(void **state)
{
	/* Nothing that ends a line gets into a header, whatever the names are. */
	Notice n = failed;
	AUTO_BUF b = BUF_INIT;
	AUTO_BUF text = BUF_INIT;
	NotifyTarget t = mail_target("ops@example.com", "stead@example.com");
	AUTO_FREE char *name = xmalloc(2000);
	for (size_t i = 0; i + 2 < 2000; i += 2)
		memcpy(name + i, "\xc3\xb6", 2);
	memcpy(name, "a\r\nBcc: x@y\r\n\r\nbody=?UTF-8?Q?x?= ", 32);
	name[1998] = '\0';
	n.stack = name;
	n.id = "a>\r\nX: y";
	assert_int_equal(notify_mail(&t, &n, &b, NULL), 0);
	vendor_check_mail(b.data, b.len, &text);
	assert_null(strstr(b.data, "Bcc"));
	assert_non_null(strstr(b.data, "Subject: =?UTF-8?B?W3N0ZWFkXSBhDQpCY2M6"));
	assert_non_null(strstr(b.data, "Message-ID: <aXy.stead@example.com>\r\n"));

	static const char *const bad[] = { "a@b\r\nBcc: c@d", "a", "@b", "a@", "a b@c", "<a@b>", "a@b,c@d", "a@[1.2.3.4]", "\xc3\xb6@b", "" };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		AUTO_ERR err = ERR_INIT;
		AUTO_BUF none = BUF_INIT;
		t = mail_target(bad[i], "stead@example.com");
		assert_int_equal(notify_mail(&t, &failed, &none, &err), -EINVAL);
		t = mail_target("ops@example.com", bad[i]);
		assert_int_equal(notify_mail(&t, &failed, &none, &err), -EINVAL);
	}
}

static void mail_lines_hold(void **state)
{
	/* Spaces at line ends, a dot alone, equals signs, long lines. */
	static char *hostile[] = { TEXT("trailing   "), TEXT("."), TEXT("a=b"), TEXT("From me"), TEXT(""), NULL };
	AUTO_FREE char *longer = xmalloc(1001);
	memset(longer, '=', 1000);
	longer[1000] = '\0';
	Notice n = { .kind = NOTICE_DEPLOY_FAILED, .stack = "blog", .text = longer, .log_lines = hostile };
	NotifyTarget t = mail_target("ops@example.com", "stead@example.com");
	AUTO_BUF b = BUF_INIT;
	AUTO_BUF text = BUF_INIT;
	assert_int_equal(notify_mail(&t, &n, &b, NULL), 0);
	vendor_check_mail(b.data, b.len, &text);
	AUTO_FREE char *want = xasprintf("%s\n", longer);
	assert_true(str_starts(text.data, want));
	assert_non_null(strstr(text.data, "trailing   \n.\na=b\nFrom me\n\n"));
}

static void huge(void **state)
{
	AUTO_STRV char **log = NULL;
	AUTO_FREE char *big = xmalloc(60001);
	for (size_t fill = 0; fill < 4; fill++) {
		for (size_t i = 0; i < 60000; i += 4)
			memcpy(big + i, fill == 0 ? "\xf0\x9f\x9a\x80" : fill == 1 ? "`<&\"" : fill == 2 ? "abcd" : "\\*_\n", 4);
		big[60000] = '\0';
		for (int i = 0; i < 20; i++)
			strv_add(&log, big);
		Notice n = { .kind = NOTICE_DEPLOY_FAILED, .stack = big, .service = big, .who = big, .commit = big, .author = big, .step = big, .text = big,
			     .next = big, .id = "1", .host = big, .log_lines = log, .release = INT32_MAX, .base = INT32_MAX, .took_ns = INT64_MAX };
		json_t *doc = notice_to_json(&n), *o;
		Notice read;
		assert_int_equal(notice_from_json(doc, &read, NULL), 0);
		o = notify_slack(&read);
		vendor_check_slack(o);
		json_decref(o);
		o = notify_discord(&read);
		vendor_check_discord(o);
		json_decref(o);
		o = notify_ntfy(&read, "t");
		vendor_check_ntfy(o);
		json_decref(o);
		notice_done(&read);
		json_decref(doc);
		strv_free(steal_ptr(&log));
	}
}

static void expect_url(const char *url, const char *want_url, const char *want_topic)
{
	NotifyTarget t = { .kind = NOTIFY_NTFY, .url = TEXT(url), .token = TEXT("tk") };
	AUTO_NOTIFY_REQUEST r = { 0 };
	AUTO_ERR err = ERR_INIT;
	int result = notify_request(&t, &failed, &r, &err);
	if (!want_url) {
		assert_int_equal(result, -EINVAL);
		return;
	}
	assert_int_equal(result, 0);
	AUTO_FREE char *topic = xasprintf("{\"topic\":\"%s\",", want_topic);
	assert_string_equal(r.url, want_url);
	assert_true(str_starts(r.body, topic));
	assert_string_equal(r.token, "tk");
}

static void topics(void **state)
{
	expect_url("https://ntfy.sh/alerts", "https://ntfy.sh/", "alerts");
	expect_url("https://u:p@ntfy.sh:8443/sub/alerts_1-x/", "https://u:p@ntfy.sh:8443/sub/", "alerts_1-x");
	expect_url("https://ntfy.sh/alerts?auth=abc#x", "https://ntfy.sh/?auth=abc", "alerts");
	expect_url("https://ntfy.sh", NULL, NULL);
	expect_url("https://ntfy.sh/", NULL, NULL);
	expect_url("https://ntfy.sh/?x=/topic", NULL, NULL);
	expect_url("https://ntfy.sh/a%20b", NULL, NULL);
	expect_url("https://ntfy.sh/01234567890123456789012345678901234567890123456789012345678901234", NULL, NULL);
}

static void there_and_back(void **state)
{
	NotifyTarget hook = { .kind = NOTIFY_WEBHOOK, .url = TEXT("https://hook/x") }, m = mail_target("ops@example.com", "stead@example.com");
	const NotifyTarget *targets[] = { &hook, &m };
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		AUTO_NOTIFY_REQUEST a = { 0 }, b = { 0 };
		assert_int_equal(notify_request(targets[i], &failed, &a, NULL), 0);
		json_t *o = notify_request_to_json(&a);
		assert_int_equal(notify_request_from_json(o, &b, NULL), 0);
		assert_string_equal(a.url, b.url);
		assert_string_equal(a.body, b.body);
		assert_true(str_eq(a.event, i == 0 ? "deploy.failed" : NULL) && str_eq(a.event, b.event));
		assert_true(str_eq(a.from, b.from) && str_eq(a.user, b.user) && str_eq(a.password, b.password) && strv_eq(a.to, b.to));
		assert_string_equal(b.id, "00ff");
		json_decref(o);
	}
	static const char *const bad[] = { "{}", "[]", "{\"url\":\"x\"}", "{\"url\":\"x\",\"body\":1}", "{\"url\":\"x\",\"body\":\"b\",\"from\":\"a\"}" };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		AUTO_NOTIFY_REQUEST r = { 0 };
		AUTO_ERR err = ERR_INIT;
		json_t *o = json_loads(bad[i], 0, NULL);
		assert_int_equal(notify_request_from_json(o, &r, &err), -EINVAL);
		json_decref(o);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slack), cmocka_unit_test(discord),	       cmocka_unit_test(ntfy),
		cmocka_unit_test(mail),	 cmocka_unit_test(mail_headers_hold), cmocka_unit_test(mail_lines_hold),
		cmocka_unit_test(huge),	 cmocka_unit_test(topics),	       cmocka_unit_test(there_and_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
