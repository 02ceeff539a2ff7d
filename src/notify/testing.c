// SPDX-License-Identifier: Apache-2.0
#include "notify/testing.h"

#include <assert.h>

#include "base/mem.h"
#include "base/str.h"

/** UTF-16 code units of a string without control characters but newline. */
static size_t units(const char *s)
{
	size_t n = 0;
	assert(s && str_is_utf8(s, strlen(s)));
	for (const unsigned char *p = (const unsigned char *) s; *p; p++) {
		assert(*p == '\n' || (*p >= ' ' && *p != 0x7f));
		if (*p < 0x80 || *p >= 0xc0)
			n += *p >= 0xf0 ? 2 : 1;
	}
	return n;
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	assert(s);
	return s;
}

static size_t count_of(const char *s, const char *part)
{
	size_t n = 0;
	for (; (s = strstr(s, part)); s += strlen(part))
		n++;
	return n;
}

/** Either no fence, or one that opens and one that ends the text. */
static void check_fences(const char *s)
{
	size_t n = count_of(s, "```");
	assert(n == 0 || (n == 2 && str_ends(s, "```")));
}

/* ---- Slack ---- */

static void check_mrkdwn(const json_t *o, size_t max)
{
	const char *s = text_of(o, "text");
	assert(str_eq(text_of(o, "type"), "mrkdwn") && json_is_true(json_object_get(o, "verbatim")));
	assert(*s && units(s) <= max);
	/* Entities alone: no mention, no link. */
	assert(!strpbrk(s, "<>"));
	for (const char *p = s; (p = strchr(p, '&')); p++)
		assert(str_starts(p, "&amp;") || str_starts(p, "&lt;") || str_starts(p, "&gt;"));
	check_fences(s);
}

static void check_slack_block(const json_t *b)
{
	const char *type = text_of(b, "type");
	size_t i;
	const json_t *v;
	if (str_eq(type, "header")) {
		const json_t *t = json_object_get(b, "text");
		assert(str_eq(text_of(t, "type"), "plain_text") && *text_of(t, "text") && units(text_of(t, "text")) <= 150);
	} else if (str_eq(type, "context")) {
		const json_t *a = json_object_get(b, "elements");
		assert(json_array_size(a) >= 1 && json_array_size(a) <= 10);
		json_array_foreach(a, i, v)
			check_mrkdwn(v, 3000);
	} else {
		const json_t *fields = json_object_get(b, "fields"), *text = json_object_get(b, "text");
		assert(str_eq(type, "section") && (fields || text));
		assert(!fields || (json_array_size(fields) >= 1 && json_array_size(fields) <= 10));
		json_array_foreach(fields, i, v)
			check_mrkdwn(v, 2000);
		if (text)
			check_mrkdwn(text, 3000);
	}
}

void vendor_check_slack(const json_t *o)
{
	size_t i;
	const json_t *v, *blocks = json_object_get(o, "blocks");
	assert(*text_of(o, "text") && units(text_of(o, "text")) <= 4000 && !strpbrk(text_of(o, "text"), "<>"));
	assert(json_array_size(blocks) >= 1 && json_array_size(blocks) <= 50);
	json_array_foreach(blocks, i, v)
		check_slack_block(v);
}

/* ---- Discord ---- */

static size_t check_fields(const json_t *fields)
{
	size_t i, sum = 0;
	const json_t *v;
	assert(json_array_size(fields) <= 25);
	json_array_foreach(fields, i, v) {
		size_t name = units(text_of(v, "name")), value = units(text_of(v, "value"));
		assert(name >= 1 && name <= 256 && value >= 1 && value <= 1024);
		assert(text_of(v, "value")[strspn(text_of(v, "value"), " \n")]);
		sum += name + value;
	}
	return sum;
}

void vendor_check_discord(const json_t *o)
{
	const json_t *embeds = json_object_get(o, "embeds"), *e = json_array_get(embeds, 0), *about = json_object_get(e, "description");
	const json_t *parse = json_object_get(json_object_get(o, "allowed_mentions"), "parse"), *url = json_object_get(e, "url");
	assert(json_array_size(embeds) == 1 && json_is_array(parse) && json_array_size(parse) == 0);
	assert(!json_object_get(o, "content"));
	size_t title = units(text_of(e, "title")), foot = units(text_of(json_object_get(e, "footer"), "text"));
	size_t sum = title + foot + check_fields(json_object_get(e, "fields"));
	assert(title >= 1 && title <= 256 && foot <= 2048);
	if (about) {
		size_t n = units(json_string_value(about));
		assert(n >= 1 && n <= 4096);
		check_fences(json_string_value(about));
		sum += n;
	}
	assert(sum <= 6000);
	assert(!url || strlen(json_string_value(url)) <= 2048);
	assert(strlen(text_of(e, "timestamp")) >= 20);
}

/* ---- ntfy ---- */

void vendor_check_ntfy(const json_t *o)
{
	json_int_t priority = json_integer_value(json_object_get(o, "priority"));
	const char *message = text_of(o, "message");
	char *whole = json_dumps(o, JSON_COMPACT);
	assert(whole && strlen(whole) <= 8192);
	free(whole);
	(void) units(message);
	(void) units(text_of(o, "title"));
	assert(*message && strlen(message) <= 4096 && strlen(text_of(o, "title")) <= 250);
	assert(priority >= 1 && priority <= 5 && json_array_size(json_object_get(o, "tags")) == 1);
	assert(json_array_size(json_object_get(o, "actions")) <= 3);
}

/* ---- mail ---- */

static size_t line_at(const char *p, const char *end)
{
	const char *nl = memmem(p, (size_t) (end - p), "\r\n", 2);
	return nl ? (size_t) (nl - p) : (size_t) (end - p);
}

/** Each header that may be there, once; nothing else, and no line that is none. */
static const char *check_mail_headers(const char *mail, const char *end)
{
	static const char *const names[] = { "Date", "From", "To", "Subject", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type",
					     "Content-Transfer-Encoding" };
	bool seen[ARRAY_SIZE(names)] = { false };
	const char *p = mail;
	for (bool first = true;; first = false) {
		size_t n = line_at(p, end);
		assert(p + n < end && n <= 998 && !memchr(p, '\n', n) && !memchr(p, '\r', n));
		for (size_t i = 0; i < n; i++)
			assert(p[i] >= ' ' && p[i] <= '~');
		if (n == 0)
			break;
		assert(!first || *p != ' ');
		size_t which = 0;
		while (*p != ' ' && which < ARRAY_SIZE(names) && !(str_starts(p, names[which]) && p[strlen(names[which])] == ':'))
			which++;
		assert(which < ARRAY_SIZE(names) && (*p == ' ' || !seen[which]));
		if (*p != ' ')
			seen[which] = true;
		p += n + 2;
	}
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert(seen[i]);
	return p + 2;
}

void vendor_check_mail(const char *mail, size_t n, Buf *text)
{
	const char *end = mail + n;
	for (const char *p = check_mail_headers(mail, end); p < end;) {
		size_t len = line_at(p, end), keep = len;
		assert(len <= 76 && (len == 0 || p[len - 1] != ' '));
		bool soft = len && p[len - 1] == '=';
		for (size_t i = 0; i < keep - soft; i++) {
			uint8_t byte = (uint8_t) p[i];
			assert(byte >= ' ' && byte <= '~');
			if (byte == '=') {
				char hex[3] = { p[i + 1], p[i + 2], '\0' };
				assert(i + 2 < keep && hex_decode(hex, 1, &byte) == 0);
				i += 2;
			}
			buf_char(text, (char) byte);
		}
		if (!soft && p + len < end)
			buf_char(text, '\n');
		p += len + 2;
	}
	(void) units(buf_cstr(text));
}
