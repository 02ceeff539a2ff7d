// SPDX-License-Identifier: Apache-2.0
#include "cli/release-text.h"

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "cli/client.h"
#include "cli/human.h"
#include "cli/term.h"

char *release_seconds(double seconds)
{
	if (seconds < 100)
		return xasprintf("%.1f s", seconds > 0 ? seconds : 0);
	return format_duration((int64_t) seconds * NSEC_PER_SEC);
}

/* The names of a change, cleaned, with `gap` between. Of an image's two, old and new, a line has room for the new one. */
static void add_names(const json_t *change, const char *gap, bool brief, Buf *out)
{
	json_t *names = json_object_get(change, "names"), *name;
	size_t i, n = json_array_size(names);
	bool image = str_eq(json_text(change, "what"), "image");
	bool first = true;
	json_array_foreach(names, i, name)
	{
		if (brief && image && i + 1 < n)
			continue;
		buf_str(out, first ? " " : gap);
		term_clean(out, json_string_value(name));
		first = false;
	}
}

char *release_changes(const json_t *changes)
{
	Buf out = BUF_INIT;
	const char *service = NULL;
	json_t *change;
	size_t i;
	json_array_foreach((json_t *) changes, i, change)
	{
		const char *of = json_text(change, "service");
		bool same = service && str_eq(service, of);
		buf_str(&out, !i ? "" : same ? ", " : "; ");
		if (!same && *of) {
			term_clean(&out, of);
			buf_char(&out, ' ');
		}
		term_clean(&out, json_text(change, "what"));
		add_names(change, " ", true, &out);
		service = of;
	}
	return buf_steal(&out);
}

static void add_line(Buf *out, const char *indent, const char *text)
{
	buf_str(out, indent);
	term_clean(out, text);
	buf_char(out, '\n');
}

/* A list of texts, each of which may have several lines. */
static void add_texts(Buf *out, const char *head, const json_t *list, size_t max_lines)
{
	size_t n = json_array_size(list), from = max_lines && n > max_lines ? n - max_lines : 0;
	if (!n)
		return;
	if (from)
		buf_printf(out, "%s (the last %zu of %zu lines):\n", head, n - from, n);
	else
		buf_printf(out, "%s:\n", head);
	for (size_t i = from; i < n; i++) {
		const char *text = json_string_value(json_array_get(list, i));
		for (const char *line = text ? text : ""; line;) {
			size_t len = strcspn(line, "\n");
			AUTO_FREE char *part = xstrndup(line, len);
			add_line(out, "  ", part);
			line = line[len] && line[len + 1] ? line + len + 1 : NULL;
		}
	}
}

void release_evidence(const json_t *report, size_t max_lines, Buf *out)
{
	const char *container = json_text(report, "container");
	const json_t *code = json_object_get(report, "exit_code");
	int64_t peak = json_number(report, "memory_peak");
	AUTO_BUF head = BUF_INIT;
	if (*container)
		buf_printf(&head, "container %s", container);
	if (json_is_integer(code) && json_integer_value(code) >= 0)
		buf_printf(&head, "%sexit code %lld", head.len ? ", " : "", (long long) json_integer_value(code));
	if (json_is_true(json_object_get(report, "oom_killed")))
		buf_printf(&head, "%skilled for lack of memory (OOM)", head.len ? ", " : "");
	if (peak > 0) {
		AUTO_FREE char *size = format_bytes(peak);
		buf_printf(&head, "%smemory at most %s", head.len ? ", " : "", size);
	}
	if (head.len)
		add_line(out, "", buf_cstr(&head));
	add_texts(out, "Its health check said", json_object_get(report, "health"), max_lines);
	add_texts(out, "Its log", json_object_get(report, "logs"), max_lines);
}

static void add_changes(const json_t *changes, Buf *out)
{
	json_t *change;
	size_t i;
	if (json_array_size(changes))
		buf_str(out, "Changed:\n");
	json_array_foreach((json_t *) changes, i, change)
	{
		const char *service = json_text(change, "service");
		buf_str(out, "  ");
		term_clean(out, *service ? service : "(stack)");
		buf_char(out, ' ');
		term_clean(out, json_text(change, "what"));
		bool image = str_eq(json_text(change, "what"), "image");
		add_names(change, image ? " → " : ", ", false, out);
		buf_char(out, '\n');
	}
}

static void add_timeline(const json_t *timeline, Buf *out)
{
	json_t *entry;
	size_t i;
	if (json_array_size(timeline))
		buf_str(out, "Time line:\n");
	json_array_foreach((json_t *) timeline, i, entry)
	{
		const char *detail = json_text(entry, "detail");
		buf_printf(out, "  %8.2fs  ", json_number_value(json_object_get(entry, "t")));
		term_clean(out, json_text(entry, "service"));
		buf_str(out, *json_text(entry, "service") ? "  " : "");
		term_clean(out, json_text(entry, "step"));
		buf_char(out, ' ');
		term_clean(out, json_text(entry, "status"));
		buf_str(out, *detail ? "  " : "");
		term_clean(out, detail);
		buf_char(out, '\n');
	}
}

void release_full(const json_t *release, const char *stack, int64_t now, Buf *out)
{
	const json_t *report = json_object_get(release, "report");
	const char *commit = json_text(release, "commit"), *author = json_text(release, "author"), *who = json_text(release, "who");
	int64_t created = 0, base = json_number(release, "base"), source = json_number(release, "source");
	(void) time_parse_rfc3339(json_text(release, "created"), &created);
	AUTO_FREE char *ago = human_ago(created, now);
	AUTO_FREE char *takes = release_seconds(json_number_value(json_object_get(release, "seconds")));
	const char *when = json_text(release, "created"), *result = json_text(release, "result");
	AUTO_BUF line = BUF_INIT;
	buf_printf(&line, "Release %lld of %s: %s%s", (long long) json_number(release, "number"), stack, result,
		json_is_true(json_object_get(release, "current")) ? ", current" : "");
	add_line(out, "", buf_cstr(&line));
	buf_clear(&line);
	buf_printf(&line, "%s%s%s, %.*sZ (%s)", json_text(release, "kind"), *who ? " by " : "", who, (int) strcspn(when, ".Z"), when, ago);
	if (!str_eq(result, "running"))
		buf_printf(&line, ", took %s", takes);
	add_line(out, "", buf_cstr(&line));
	buf_clear(&line);
	if (base > 0)
		buf_printf(&line, "%s release %lld", str_eq(result, "failed") || str_eq(result, "interrupted") ? "was to replace" : "replaces", (long long) base);
	if (source > 0)
		buf_printf(&line, "%sbrings release %lld back", line.len ? ", " : "", (long long) source);
	if (*commit)
		buf_printf(&line, "%scommit %s%s%s", line.len ? ", " : "", commit, *author ? " by " : "", author);
	if (line.len)
		add_line(out, "", buf_cstr(&line));
	add_changes(json_object_get(release, "changes"), out);
	if (*json_text(report, "text")) {
		buf_char(out, '\n');
		add_line(out, "", json_text(report, "text"));
	}
	if (*json_text(report, "step")) {
		buf_clear(&line);
		buf_printf(&line, "failed step: %s%s%s", json_text(report, "step"), *json_text(report, "service") ? " of " : "",
			json_text(report, "service"));
		add_line(out, "", buf_cstr(&line));
	}
	release_evidence(report, 0, out);
	add_timeline(json_object_get(report, "timeline"), out);
}
