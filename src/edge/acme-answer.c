// SPDX-License-Identifier: Apache-2.0
/*
 * uacme ends what it says with the reason, in one of two forms: the server's problem document (RFC 7807), which it prints as JSON after
 * "the server reported the following error:", or a line of its own, "curl_get: GET https://… failed: Couldn't connect to server".
 */
#include "edge/acme-answer.h"

#include <jansson.h>
#include <time.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

#define TEXT_MAX 500

static void put_text(Buf *b, const char *s, size_t n)
{
	for (size_t i = 0; i < n && s[i] && b->len < TEXT_MAX; i++)
		buf_char(b, (uint8_t) s[i] < 0x20 || s[i] == 0x7f ? ' ' : s[i]);
	while (b->len && !str_is_utf8(b->data, b->len))
		b->data[--b->len] = 0; /* cut within a character, or not UTF-8 at all */
}

/* Let's Encrypt: "…, retry after 2026-11-26 18:00:00 UTC: see …" */
static int64_t retry_after(const char *detail)
{
	struct tm tm = { 0 };
	const char *p = strstr(detail, "retry after ");
	const char *end = p ? strptime(p + strlen("retry after "), "%Y-%m-%d %H:%M:%S", &tm) : NULL;
	return end ? (int64_t) timegm(&tm) : 0;
}

static bool take_problem(const char *errors, AcmeAnswer *ret, Buf *text)
{
	static const char before[] = "the server reported the following error:";
	const char *p = strstr(errors, before), *next;
	/* The last one is why it gave up. */
	while (p && (next = strstr(p + 1, before)))
		p = next;
	json_t *o = p ? json_loads(p + strlen(before), JSON_DISABLE_EOF_CHECK, NULL) : NULL;
	const char *type = json_string_value(json_object_get(o, "type")), *detail = json_string_value(json_object_get(o, "detail"));
	if (type) {
		const char *kind = strrchr(type, ':');
		ret->limited = str_eq(kind, ":rateLimited");
		ret->no_account |= str_eq(kind, ":accountDoesNotExist");
		if (ret->limited && detail)
			ret->retry_after = retry_after(detail);
		if (kind && !detail)
			detail = kind + 1;
	}
	if (detail && *detail) {
		buf_str(text, "the ACME server says: ");
		put_text(text, detail, strlen(detail));
	}
	json_decref(o);
	return text->len;
}

/* The last line with "failed: ", else the last of all. */
static void take_line(const char *errors, Buf *text)
{
	static const char prefix[] = "uacme: ";
	const char *best = NULL;
	size_t best_len = 0;
	bool failed = false;
	for (const char *p = errors; *p;) {
		size_t n = strcspn(p, "\n");
		bool f = n && memmem(p, n, "failed: ", 8);
		if (n && (f || !failed)) {
			best = p;
			best_len = n;
			failed = f;
		}
		p += n + (p[n] == '\n');
	}
	if (!best)
		return;
	if (str_starts(best, prefix)) {
		best += strlen(prefix);
		best_len -= strlen(prefix);
	}
	put_text(text, best, best_len);
}

void acme_answer_parse(const char *errors, AcmeAnswer *ret)
{
	AUTO_BUF text = BUF_INIT;
	*ret = (AcmeAnswer) {
		.account_exists = strstr(errors, "Account already exists") != NULL,
		.no_account = strstr(errors, "uacme: no account associated with") != NULL, /* in place of the server's words */
	};
	if (!take_problem(errors, ret, &text))
		take_line(errors, &text);
	if (!text.len)
		buf_str(&text, "uacme gave no reason");
	ret->text = buf_steal(&text);
}

void acme_answer_done(AcmeAnswer *a)
{
	free(a->text);
	*a = (AcmeAnswer) { 0 };
}
