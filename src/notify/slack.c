// SPDX-License-Identifier: Apache-2.0
/*
 * Slack turns <!channel>, <@U123> and <https://…|text> into mentions and links: & < > are written as entities, which is all the escaping that
 * it knows. `verbatim` keeps it from linking names by itself. A code block begins and ends at three backticks: none of the notice's own stand side by side.
 */
#include "base/mem.h"
#include "base/str.h"
#include "notify/request.h"
#include "notify/text.h"

#define HEADER_MAX 150
#define FIELDS_MAX 10
#define FIELD_MAX 300 /* 2000 are allowed */
#define SECTION_MAX 3000
#define FALLBACK_MAX 300
#define FENCE "```"

static const char *escape(char c)
{
	return c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '`' ? "`\xe2\x80\x8b" : NULL; /* zero width space */
}

static json_t *text_object(const Buf *b)
{
	return json_pack("{s:s, s:s, s:b}", "type", "mrkdwn", "text", buf_cstr(b), "verbatim", 1);
}

static void add_section(json_t *blocks, const Buf *b)
{
	(void) json_array_append_new(blocks, json_pack("{s:s, s:o}", "type", "section", "text", text_object(b)));
}

static void add_text(json_t *blocks, const char *s)
{
	AUTO_BUF b = BUF_INIT;
	TextOut o = { .buf = &b, .room = SECTION_MAX, .unit = TEXT_UTF16, .escape = escape };
	if (text_blank(s))
		return;
	(void) text_put(&o, s);
	add_section(blocks, &b);
}

static void add_facts(json_t *blocks, const Notice *n)
{
	NoticeFact facts[NOTICE_FACTS_MAX];
	_Static_assert(NOTICE_FACTS_MAX <= FIELDS_MAX, "one section takes no more fields");
	size_t count = notice_facts(n, facts);
	json_t *fields = json_array();
	for (size_t i = 0; i < count; i++) {
		AUTO_BUF b = BUF_INIT;
		TextOut o = { .buf = &b, .room = FIELD_MAX, .unit = TEXT_UTF16, .escape = escape };
		(void) text_put_raw(&o, "*");
		(void) text_put(&o, facts[i].name);
		(void) text_put_raw(&o, "*\n");
		(void) text_put(&o, facts[i].value);
		(void) json_array_append_new(fields, text_object(&b));
	}
	notice_facts_done(facts, count);
	if (count)
		(void) json_array_append_new(blocks, json_pack("{s:s, s:o}", "type", "section", "fields", fields));
	else
		json_decref(fields);
}

static void add_log(json_t *blocks, char *const *lines)
{
	AUTO_BUF b = BUF_INIT;
	TextOut o = { .buf = &b, .room = SECTION_MAX - strlen(FENCE), .unit = TEXT_UTF16, .escape = escape };
	(void) text_put_raw(&o, FENCE "\n");
	if (text_put_last_lines(&o, lines) == 0)
		return;
	o.room += strlen(FENCE);
	(void) text_put_raw(&o, FENCE);
	add_section(blocks, &b);
}

static void add_foot(json_t *blocks, const Notice *n)
{
	AUTO_BUF b = BUF_INIT;
	TextOut o = { .buf = &b, .room = SECTION_MAX, .unit = TEXT_UTF16, .escape = escape };
	if (!text_blank(n->url)) {
		(void) text_put(&o, n->url);
		(void) text_put_raw(&o, " · ");
	}
	(void) text_put_raw(&o, "stead");
	if (!text_blank(n->host)) {
		(void) text_put_raw(&o, " on ");
		(void) text_put(&o, n->host);
	}
	(void) json_array_append_new(blocks, json_pack("{s:s, s:[o]}", "type", "context", "elements", text_object(&b)));
}

static char *title_text(const Notice *n, size_t max)
{
	AUTO_BUF b = BUF_INIT;
	AUTO_FREE char *title = notice_title(n);
	TextOut o = { .buf = &b, .room = max, .unit = TEXT_UTF16, .escape = escape };
	(void) text_put_raw(&o, notice_sign(n->kind));
	(void) text_put_raw(&o, " ");
	(void) text_put(&o, title);
	return buf_steal(&b);
}

json_t *notify_slack(const Notice *n)
{
	AUTO_FREE char *header = title_text(n, HEADER_MAX);
	AUTO_FREE char *fallback = title_text(n, FALLBACK_MAX);
	json_t *blocks = json_pack("[{s:s, s:{s:s, s:s}}]", "type", "header", "text", "type", "plain_text", "text", header);
	add_facts(blocks, n);
	add_text(blocks, n->text);
	add_log(blocks, n->log_lines);
	add_text(blocks, n->next);
	add_foot(blocks, n);
	return json_pack("{s:s, s:o}", "text", fallback, "blocks", blocks);
}
