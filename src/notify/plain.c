// SPDX-License-Identifier: Apache-2.0
#include "notify/plain.h"

#include "base/buf.h"
#include "base/mem.h"

static void put_paragraph(TextOut *o, const char *before, const char *s)
{
	if (text_blank(s))
		return;
	(void) text_put(o, before);
	(void) text_put(o, s);
	(void) text_put(o, "\n");
}

void notice_plain(TextOut *o, const Notice *n)
{
	NoticeFact facts[NOTICE_FACTS_MAX];
	size_t count = notice_facts(n, facts);
	put_paragraph(o, "", n->text);
	if (count && !text_blank(n->text))
		(void) text_put(o, "\n");
	for (size_t i = 0; i < count; i++) {
		AUTO_FREE char *line = xasprintf("%s: %s\n", facts[i].name, facts[i].value);
		(void) text_put(o, line);
	}
	notice_facts_done(facts, count);
	put_paragraph(o, "\n", n->next);
	put_paragraph(o, "\n", n->url);
	TextOut log = *o;
	AUTO_BUF lines = BUF_INIT;
	log.buf = &lines;
	if (!n->log_lines || !text_put_raw(&log, "\nLast log lines:\n") || text_put_last_lines(&log, n->log_lines) == 0)
		return;
	buf_append(o->buf, lines.data, lines.len);
	o->room = log.room;
}
