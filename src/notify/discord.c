// SPDX-License-Identifier: Apache-2.0
/*
 * One embed. `allowed_mentions` that allow nothing keep @everyone and <@123> from reaching anybody; Markdown's characters get a backslash, and in
 * a code block no two backticks stand side by side. Each part has a share of the 6000 characters, so that the sum is kept by itself.
 */
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "notify/request.h"
#include "notify/text.h"

#define TITLE_MAX 256
#define DESCRIPTION_MAX 3000 /* 4096 are allowed */
#define FIELDS_MAX 25
#define FIELD_NAME_MAX 256
#define FIELD_MAX 200 /* 1024 are allowed */
#define FOOTER_MAX 100 /* 2048 are allowed */
#define NEXT_MAX 900
#define TOTAL_MAX 6000
#define FENCE "```"
_Static_assert(TITLE_MAX + DESCRIPTION_MAX + NOTICE_FACTS_MAX * (FIELD_MAX + 16) + 16 + NEXT_MAX + FOOTER_MAX <= TOTAL_MAX, "an embed's sum");
_Static_assert(NOTICE_FACTS_MAX + 1 <= FIELDS_MAX, "an embed's fields");

static const int colors[] = {
	[NOTICE_DEPLOY_STARTED] = 0x3498db,
	[NOTICE_DEPLOY_SUCCEEDED] = 0x2ecc71,
	[NOTICE_DEPLOY_FAILED] = 0xe74c3c,
	[NOTICE_ROLLED_BACK] = 0xe67e22,
};
_Static_assert(ARRAY_SIZE(colors) == N_NOTICE_KINDS, "a kind is missing");

static const char *markdown(char c)
{
	static const char special[] = "\\*_~`|<>[]()#:@-";
	static const char escaped[][3] = { "\\\\", "\\*", "\\_", "\\~", "\\`", "\\|", "\\<", "\\>", "\\[", "\\]", "\\(", "\\)", "\\#", "\\:", "\\@", "\\-" };
	_Static_assert(ARRAY_SIZE(escaped) == sizeof(special) - 1, "one for each");
	const char *p = c ? strchr(special, c) : NULL;
	return p ? escaped[p - special] : NULL;
}

static const char *code(char c)
{
	return c == '`' ? "`\xe2\x80\x8b" : NULL; /* zero width space */
}

static char *limited(const char *s, size_t max, const char *(*escape)(char c))
{
	AUTO_BUF b = BUF_INIT;
	TextOut o = { .buf = &b, .room = max, .unit = TEXT_UTF16, .escape = escape };
	(void) text_put(&o, s);
	return buf_steal(&b);
}

/** Half for the text at most, the rest for the log. */
static char *description(const Notice *n)
{
	AUTO_BUF b = BUF_INIT;
	TextOut text = { .buf = &b, .room = DESCRIPTION_MAX / 2, .unit = TEXT_UTF16, .escape = markdown };
	if (!text_blank(n->text)) {
		(void) text_put(&text, n->text);
		(void) text_put_raw(&text, "\n");
	}
	AUTO_BUF log = BUF_INIT;
	size_t used = DESCRIPTION_MAX / 2 - text.room;
	TextOut lines = { .buf = &log, .room = DESCRIPTION_MAX - used - 2 * strlen(FENCE "\n"), .unit = TEXT_UTF16, .escape = code };
	if (text_put_last_lines(&lines, n->log_lines)) {
		buf_str(&b, FENCE "\n");
		buf_append(&b, log.data, log.len);
		buf_str(&b, FENCE);
	}
	return buf_steal(&b);
}

static void add_field(json_t *fields, const char *name, const char *value, size_t max, bool wide)
{
	AUTO_FREE char *text = limited(value, max, markdown);
	(void) json_array_append_new(fields, json_pack("{s:s, s:s, s:b}", "name", name, "value", text, "inline", !wide));
}

json_t *notify_discord(const Notice *n)
{
	NoticeFact facts[NOTICE_FACTS_MAX];
	char at[TIME_TEXT_MAX];
	AUTO_FREE char *title = notice_title(n);
	AUTO_FREE char *signed_title = xasprintf("%s %s", notice_sign(n->kind), title);
	AUTO_FREE char *escaped_title = limited(signed_title, TITLE_MAX, markdown);
	AUTO_FREE char *about = description(n);
	AUTO_FREE char *foot = n->host ? xasprintf("stead on %s", n->host) : xstrdup("stead");
	AUTO_FREE char *short_foot = limited(foot, FOOTER_MAX, NULL); /* no Markdown there */
	json_t *fields = json_array();
	size_t count = notice_facts(n, facts);
	for (size_t i = 0; i < count; i++)
		add_field(fields, facts[i].name, facts[i].value, FIELD_MAX, false);
	notice_facts_done(facts, count);
	if (!text_blank(n->next))
		add_field(fields, "Next", n->next, NEXT_MAX, true);
	AUTO_FREE char *seconds = xasprintf("%.19sZ", time_rfc3339(n->time, at));
	json_t *embed = json_pack("{s:s, s:i, s:o, s:s, s:{s:s}}", "title", escaped_title, "color", colors[n->kind], "fields", fields, "timestamp",
		seconds, "footer", "text", short_foot);
	if (*about)
		(void) json_object_set_new(embed, "description", json_string(about));
	if (!text_blank(n->url))
		(void) json_object_set_new(embed, "url", json_string(n->url));
	return json_pack("{s:[o], s:{s:[]}}", "embeds", embed, "allowed_mentions", "parse");
}
