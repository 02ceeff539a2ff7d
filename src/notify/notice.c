// SPDX-License-Identifier: Apache-2.0
#include "notify/notice.h"

#include <errno.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "notify/text.h"

#define VERSION 1
/* Bytes as JSON; together below LIMIT_NOTICE_BYTES. */
#define WORD_MAX 256
#define URL_MAX 1024
#define TEXT_MAX 4096
#define NEXT_MAX 1024
#define LINE_MAX_BYTES 1024
#define LOG_MAX 12288
_Static_assert(12 * WORD_MAX + URL_MAX + TEXT_MAX + NEXT_MAX + LOG_MAX + 4 * LIMIT_NOTICE_LINES + 1024 < LIMIT_NOTICE_BYTES,
	       "a notice must keep within its limit");

typedef struct KindInfo {
	const char *event, *class, *sign;
} KindInfo;

static const KindInfo kinds[] = {
	[NOTICE_DEPLOY_STARTED] = { "deploy.started", "deploy", "\xf0\x9f\x9a\x80" },
	[NOTICE_DEPLOY_SUCCEEDED] = { "deploy.succeeded", "deploy", "\xe2\x9c\x85" },
	[NOTICE_DEPLOY_FAILED] = { "deploy.failed", "deploy", "\xe2\x9d\x8c" },
	[NOTICE_ROLLED_BACK] = { "deploy.rolled_back", "deploy", "\xe2\x86\xa9" },
};
_Static_assert(ARRAY_SIZE(kinds) == N_NOTICE_KINDS, "a kind is missing");

const char *notice_event(NoticeKind k)
{
	return kinds[k].event;
}

const char *notice_class(NoticeKind k)
{
	return kinds[k].class;
}

const char *notice_sign(NoticeKind k)
{
	return kinds[k].sign;
}

/* ---- the document ---- */

typedef struct TextField {
	const char *key;
	size_t at; /* of a const char * in Notice */
	size_t max;
	bool lines; /* newlines stay */
} TextField;

static const TextField text_fields[] = {
	{ "id", offsetof(Notice, id), WORD_MAX, false },
	{ "host", offsetof(Notice, host), WORD_MAX, false },
	{ "stack", offsetof(Notice, stack), WORD_MAX, false },
	{ "service", offsetof(Notice, service), WORD_MAX, false },
	{ "who", offsetof(Notice, who), WORD_MAX, false },
	{ "commit", offsetof(Notice, commit), WORD_MAX, false },
	{ "author", offsetof(Notice, author), WORD_MAX, false },
	{ "step", offsetof(Notice, step), WORD_MAX, false },
	{ "text", offsetof(Notice, text), TEXT_MAX, true },
	{ "next", offsetof(Notice, next), NEXT_MAX, true },
	{ "url", offsetof(Notice, url), URL_MAX, false },
};

static json_t *cleaned(const char *s, size_t max, bool lines)
{
	AUTO_BUF clean = BUF_INIT;
	AUTO_BUF cut = BUF_INIT;
	/* What is far longer need not be cleaned to be cut. */
	AUTO_FREE char *head = xstrndup(s, strnlen(s, 8 * max));
	text_clean(&clean, head);
	for (char *p = clean.data; p && !lines && (p = strchr(p, '\n'));)
		*p = ' ';
	TextOut o = { .buf = &cut, .room = max, .unit = TEXT_JSON };
	(void) text_put(&o, buf_cstr(&clean));
	return json_stringn(buf_cstr(&cut), cut.len);
}

/** The last lines that fit, from the last on. */
static json_t *cleaned_lines(char *const *lines)
{
	size_t n = strv_len(lines), room = LOG_MAX;
	json_t *a = json_array();
	for (size_t taken = 0; taken < n && taken < LIMIT_NOTICE_LINES; taken++) {
		json_t *line = cleaned(lines[n - 1 - taken], LINE_MAX_BYTES, false);
		char *text = json_dumps(line, JSON_ENCODE_ANY);
		size_t len = text ? strlen(text) : 0;
		free(text);
		if (len > room) {
			json_decref(line);
			break;
		}
		room -= len;
		(void) json_array_insert_new(a, 0, line);
	}
	return a;
}

json_t *notice_to_json(const Notice *n)
{
	char at[TIME_TEXT_MAX];
	json_t *o = json_pack("{s:i, s:s, s:s}", "version", VERSION, "event", notice_event(n->kind), "time", time_rfc3339(n->time, at));
	for (size_t i = 0; i < ARRAY_SIZE(text_fields); i++) {
		const TextField *f = &text_fields[i];
		const char *s = *(const char *const *) ((const char *) n + f->at);
		json_t *clean = s ? cleaned(s, f->max, f->lines) : NULL;
		if (text_blank(json_string_value(clean)))
			json_decref(clean);
		else
			(void) json_object_set_new(o, f->key, clean);
	}
	if (n->release > 0)
		(void) json_object_set_new(o, "release", json_integer(n->release));
	if (n->base > 0)
		(void) json_object_set_new(o, "base", json_integer(n->base));
	if (n->took_ns > 0)
		(void) json_object_set_new(o, "seconds", json_real((double) (n->took_ns / NSEC_PER_MSEC) / 1e3));
	if (n->log_lines && *n->log_lines)
		(void) json_object_set_new(o, "log", cleaned_lines(n->log_lines));
	return o;
}

static int kind_of(const char *event, NoticeKind *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (str_eq(event, kinds[i].event)) {
			*ret = (NoticeKind) i;
			return 0;
		}
	return -EINVAL;
}

static int release_of(const json_t *o, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(o, key));
	return v > 0 && v <= INT32_MAX ? (int) v : 0;
}

static char **borrowed_lines(const json_t *log)
{
	size_t n = json_array_size(log), used = 0;
	char **v = n ? xcalloc(n + 1, sizeof(*v)) : NULL;
	for (size_t i = 0; i < n; i++) {
		const char *s = json_string_value(json_array_get(log, i));
		if (s)
			v[used++] = (char *) (uintptr_t) s;
	}
	return v;
}

int notice_from_json(const json_t *o, Notice *ret, Err *err)
{
	Notice n = { 0 };
	if (json_integer_value(json_object_get(o, "version")) != VERSION ||
	    kind_of(json_string_value(json_object_get(o, "event")), &n.kind) < 0 || !json_string_value(json_object_get(o, "stack")))
		return err_set(err, -EINVAL, "this is no notice of version %d", VERSION);
	for (size_t i = 0; i < ARRAY_SIZE(text_fields); i++)
		*(const char **) ((char *) &n + text_fields[i].at) = json_string_value(json_object_get(o, text_fields[i].key));
	n.release = release_of(o, "release");
	n.base = release_of(o, "base");
	double seconds = json_number_value(json_object_get(o, "seconds"));
	if (seconds > 0 && seconds < 1e9)
		n.took_ns = (int64_t) (seconds * 1e3 + 0.5) * NSEC_PER_MSEC;
	const char *at = json_string_value(json_object_get(o, "time"));
	if (at)
		(void) time_parse_rfc3339(at, &n.time);
	n.log_lines = borrowed_lines(json_object_get(o, "log"));
	*ret = n;
	return 0;
}

void notice_done(Notice *n)
{
	free((void *) (uintptr_t) n->log_lines);
	n->log_lines = NULL;
}

/* ---- what is shown ---- */

char *notice_title(const Notice *n)
{
	AUTO_FREE char *release = n->release ? xasprintf("release %d", n->release) : xstrdup("a release");
	switch (n->kind) {
	case NOTICE_DEPLOY_STARTED:
		return xasprintf("%s: deploy of %s has begun", n->stack, release);
	case NOTICE_DEPLOY_SUCCEEDED:
		return xasprintf("%s: %s is deployed", n->stack, release);
	case NOTICE_DEPLOY_FAILED:
		return xasprintf("%s: deploy of %s failed", n->stack, release);
	case NOTICE_ROLLED_BACK:
		break;
	}
	return xasprintf("%s: rolled back to %s", n->stack, release);
}

static void fact(NoticeFact *facts, size_t *n, const char *name, const char *value)
{
	if (!text_blank(value))
		facts[(*n)++] = (NoticeFact) { .name = name, .value = xstrdup(value) };
}

/** "1.2 s", "3m20s": as a person says it. */
static char *took_text(int64_t ns)
{
	if (ns < 60 * NSEC_PER_SEC)
		return xasprintf("%.1f s", (double) ns / 1e9);
	return format_duration(ns / NSEC_PER_SEC * NSEC_PER_SEC);
}

size_t notice_facts(const Notice *n, NoticeFact facts[NOTICE_FACTS_MAX])
{
	size_t count = 0;
	AUTO_FREE char *release = n->release ? xasprintf("%d", n->release) : NULL;
	AUTO_FREE char *base = n->base ? xasprintf("%d", n->base) : NULL;
	AUTO_FREE char *took = n->took_ns > 0 ? took_text(n->took_ns) : NULL;
	fact(facts, &count, "Service", n->service);
	fact(facts, &count, "Release", release);
	fact(facts, &count, n->kind == NOTICE_ROLLED_BACK ? "Instead of" : n->kind == NOTICE_DEPLOY_FAILED ? "Still serving" : "Before", base);
	fact(facts, &count, "Failed step", n->step);
	fact(facts, &count, "Commit", n->commit);
	fact(facts, &count, "Author", n->author);
	fact(facts, &count, "By", n->who);
	fact(facts, &count, "Took", took);
	return count;
}

void notice_facts_done(NoticeFact *facts, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(facts[i].value);
}
