// SPDX-License-Identifier: Apache-2.0
/*
 * Why a step was not in the cache. What each step depended on is noted for each context, Dockerfile and target, in
 * contexts/ID/last-HEX; the next build compares. Inputs of a step, each only where it has it:
 *   {"text": INSTRUCTION, "base": chain of the base's layers, "below": chain of those below, "env": […], "args": […], "list": digest of the
 *    files (STATE/build/lists), "commit": of a repository}
 * A build that is new here is compared with what an imported cache says of it.
 */
#include <errno.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "build/parts.h"

#define NOTES_MAX (16U << 20)
#define CHANGES_MAX 20 /* files named for a step */

static void notes_name(const Build *b, char dst[48])
{
	char hex[DIGEST_HEX_MAX];
	CacheKey k = { BUF_INIT };
	key_add(&k, b->o.dockerfile_name);
	key_add(&k, b->o.target);
	key_add(&k, b->o.platform);
	key_finish(&k, hex);
	(void) snprintf(dst, 48, "last-%.32s", hex);
}

void why_load(Build *b)
{
	AUTO_BUF text = BUF_INIT;
	char name[48];
	notes_name(b, name);
	if (file_read(b->context.dir, name, NOTES_MAX, &text) == 0)
		b->last = json_loadb(buf_cstr(&text), text.len, 0, NULL);
	if (!json_is_object(b->last)) {
		json_decref(b->last);
		b->last = json_object();
	}
	b->notes = json_deep_copy(b->last);
}

void why_save(Build *b)
{
	char name[48];
	if (!b->notes || json_equal(b->notes, b->last))
		return;
	AUTO_FREE char *text = json_dumps(b->notes, JSON_COMPACT);
	notes_name(b, name);
	if (text)
		(void) file_write_atomic(b->context.dir, name, text, strlen(text), 0600, false);
}

json_t *why_variables(char *const *v)
{
	json_t *list = json_array();
	for (; v && *v; v++) {
		char hex[DIGEST_HEX_MAX];
		size_t n = strcspn(*v, "=");
		digest_sha256(*v + n, strlen(*v + n), hex);
		AUTO_FREE char *text = xasprintf("%.*s=%.16s", (int) n, *v, hex);
		json_t *s = json_string(text);
		(void) json_array_append_new(list, s ? s : json_string(""));
	}
	return list;
}

void why_inputs(Build *b, BuildStage *s, json_t *inputs)
{
	(void) b;
	json_decref(s->note);
	s->note = inputs;
}

/* What differs. */

typedef struct Reason {
	Buf text;
	json_t *changes;
	size_t more; /* changes that are not in the list */
} Reason;

static void add_change(Reason *r, const char *path, const char *how, const Entry *old, const Entry *now)
{
	if (json_array_size(r->changes) >= CHANGES_MAX) {
		r->more++;
		return;
	}
	json_t *name = json_string(path);
	json_t *o = json_pack("{s:o, s:s}", "path", name ? name : json_string("(not UTF-8)"), "change", how);
	if (old && old->type == 'f')
		(void) json_object_set_new(o, "old_size", json_integer(old->size));
	if (now && now->type == 'f')
		(void) json_object_set_new(o, "size", json_integer(now->size));
	if (old && now && *old->hash && !str_eq(old->hash, now->hash)) {
		(void) json_object_set_new(o, "old_hash", json_string(old->hash));
		(void) json_object_set_new(o, "hash", json_string(now->hash));
	}
	(void) json_array_append_new(r->changes, o);
}

static const char *difference(const Entry *old, const Entry *now)
{
	if (old->type != now->type)
		return "type";
	if (!str_eq(old->hash, now->hash) || !str_eq(old->target, now->target))
		return "contents";
	if (old->mode != now->mode)
		return "mode";
	return old->uid != now->uid || old->gid != now->gid ? "owner" : "attributes";
}

static void compare_lists(Reason *r, const Entries *old, const Entries *now)
{
	for (size_t i = 0, k = 0; i < old->n || k < now->n;) {
		const Entry *o = i < old->n ? &old->items[i] : NULL, *e = k < now->n ? &now->items[k] : NULL;
		int c = !o ? 1 : !e ? -1 : strcmp(o->path, e->path);
		if (c < 0)
			add_change(r, o->path, "removed", o, NULL);
		else if (c > 0)
			add_change(r, e->path, "added", NULL, e);
		else if (!entry_same(o, e))
			add_change(r, e->path, difference(o, e), o, e);
		i += c <= 0;
		k += c >= 0;
	}
}

static const char *text_of(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static void files_changed(Build *b, Reason *r, const json_t *old, const json_t *now)
{
	AUTO_ENTRIES before = { 0 };
	AUTO_ENTRIES after = { 0 };
	if (!text_of(old, "list") || build_list(b, text_of(old, "list"), &before) < 0 || build_list(b, text_of(now, "list"), &after) < 0) {
		buf_str(&r->text, "files changed");
		return;
	}
	compare_lists(r, &before, &after);
	size_t n = json_array_size(r->changes) + r->more;
	const json_t *first = json_array_get(r->changes, 0);
	if (!first) {
		buf_str(&r->text, "the destination changed");
		return;
	}
	const char *how = text_of(first, "change");
	bool verb = str_eq(how, "removed") || str_eq(how, "added");
	buf_printf(&r->text, "'/%s' %s%s", text_of(first, "path"), verb ? "was " : "has changed: ", how);
	if (n > 1)
		buf_printf(&r->text, ", and %zu more", n - 1);
}

/* "NAME" of the first of "NAME=value"s that are not the same in both. */
static const char *changed_variable(const json_t *old, const json_t *now, char dst[64])
{
	const json_t *lists[] = { now, old }, *others[] = { old, now };
	for (size_t l = 0; l < 2; l++)
		for (size_t i = 0; i < json_array_size(lists[l]); i++) {
			const char *v = json_string_value(json_array_get(lists[l], i));
			bool found = false;
			for (size_t k = 0; !found && k < json_array_size(others[l]); k++)
				found = str_eq(v, json_string_value(json_array_get(others[l], k)));
			if (!found && v) {
				(void) snprintf(dst, 64, "%.*s", (int) strcspn(v, "="), v);
				return dst;
			}
		}
	return NULL;
}

static void find_reason(Build *b, const BuildStage *s, const json_t *old, Reason *r)
{
	const json_t *now = s->note;
	char name[64];
	if (!step_may_reuse(b, s))
		buf_str(&r->text, "the build was told to use no cache");
	else if (!old)
		buf_str(&r->text, "it was not built here before");
	else if (!str_eq(text_of(old, "text"), text_of(now, "text")))
		buf_printf(&r->text, "the instruction was '%.200s'", text_of(old, "text") ? text_of(old, "text") : "");
	else if (!str_eq(text_of(old, "commit"), text_of(now, "commit")))
		buf_printf(&r->text, "the repository is at another commit, %.12s", text_of(now, "commit") ? text_of(now, "commit") : "");
	else if (!str_eq(text_of(old, "list"), text_of(now, "list")))
		files_changed(b, r, old, now);
	else if (changed_variable(json_object_get(old, "args"), json_object_get(now, "args"), name))
		buf_printf(&r->text, "ARG %s has another value", name);
	else if (changed_variable(json_object_get(old, "env"), json_object_get(now, "env"), name))
		buf_printf(&r->text, "ENV %s has another value", name);
	else if (!str_eq(text_of(old, "below"), text_of(now, "below")) && s->broken_line)
		buf_printf(&r->text, "what line %u makes has changed", s->broken_line);
	else if (!str_eq(text_of(old, "below"), text_of(now, "below")))
		buf_str(&r->text, "the base image has changed");
	else
		buf_str(&r->text, "its result is not in the cache any more, or USER, SHELL, WORKDIR or a mount has changed");
}

void why_step(Build *b, BuildStage *s, bool cached, int64_t bytes, double seconds)
{
	Reason r = { .changes = json_array() };
	char place[48];
	if (!s->note) { /* an instruction that makes no files */
		json_decref(r.changes);
		return;
	}
	(void) snprintf(place, sizeof(place), "%zu:%zu", s->index, s->pc);
	if (!cached) {
		const json_t *old = json_object_get(b->last, place);
		find_reason(b, s, old ? old : import_note(b, place), &r);
	}
	json_t *text = json_string(s->at->text);
	json_t *o = json_pack("{s:I, s:i, s:o, s:b, s:f, s:I}", "step", s->step, "line", (int) s->at->line, "text", text ? text : json_string(""), "cached",
		cached, "seconds", seconds, "bytes", (json_int_t) bytes);
	if (s->def->name)
		(void) json_object_set_new(o, "stage", json_string(s->def->name));
	if (!cached) {
		(void) json_object_set_new(o, "reason", json_string(buf_cstr(&r.text)));
		if (json_array_size(r.changes))
			(void) json_object_set(o, "changes", r.changes);
		if (r.more)
			(void) json_object_set_new(o, "more", json_integer((json_int_t) r.more));
		if (!s->broken_line)
			s->broken_line = s->at->line;
	}
	(void) json_array_append_new(b->why, o);
	*array_append(b->why_stages, b->n_why_stages) = s->index;
	(void) json_object_set_new(b->notes, place, s->note);
	s->note = NULL;
	json_decref(r.changes);
	buf_done(&r.text);
}

void why_forget(Build *b, const BuildStage *s)
{
	for (size_t i = b->n_why_stages; i-- > 0;) {
		if (b->why_stages[i] != s->index)
			continue;
		(void) json_array_remove(b->why, i);
		memmove(&b->why_stages[i], &b->why_stages[i + 1], (b->n_why_stages - i - 1) * sizeof(size_t));
		b->n_why_stages--;
	}
}
