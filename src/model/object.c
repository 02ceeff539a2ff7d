// SPDX-License-Identifier: Apache-2.0
/*
 * The engine behind the tables. An object is read in the order of its table, not of the JSON, so that a
 * key may rely on those above it (deploy.restart_policy overrides `restart`), and errors come in a stable
 * order. Only when fewer members matched than the object has is it searched for the unknown key.
 */
#include "model/object.h"

#include <errno.h>
#include <stdarg.h>

#include "base/mem.h"
#include "base/str.h"
#include "model/nearest.h"

/* ---- path and errors ---- */

static size_t enter(Reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static size_t enter(Reader *r, const char *fmt, ...)
{
	size_t before = r->len, room = sizeof(r->where.text) - r->len;
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(r->where.text + r->len, room, fmt, ap);
	va_end(ap);
	r->len += n < 0 ? 0 : (size_t) n < room ? (size_t) n : room - 1;
	return before;
}

size_t reader_enter(Reader *r, const char *key)
{
	return enter(r, "%s%s", r->len ? "." : "", key);
}

size_t reader_enter_index(Reader *r, size_t i)
{
	return enter(r, "[%zu]", i);
}

void reader_leave(Reader *r, size_t len)
{
	r->len = len;
	r->where.text[len] = '\0';
}

static int fail(Reader *r, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

static int fail(Reader *r, const char *fmt, va_list ap)
{
	char *s = NULL;
	s = xvasprintf(fmt, ap);
	int e = err_set(r->err, -EINVAL, "%s%s%s", r->where.text, r->len ? ": " : "", s);
	free(s);
	return e;
}

int reader_fail(Reader *r, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int e = fail(r, fmt, ap);
	va_end(ap);
	return e;
}

int reader_fail_at(Reader *r, const char *key, const char *fmt, ...)
{
	(void) reader_enter(r, key);
	va_list ap;
	va_start(ap, fmt);
	int e = fail(r, fmt, ap);
	va_end(ap);
	return e;
}

static const char *json_kind(json_t *v)
{
	static const char *const names[] = {
		[JSON_OBJECT] = "a map",
		[JSON_ARRAY] = "a list",
		[JSON_STRING] = "a string",
		[JSON_INTEGER] = "a number",
		[JSON_REAL] = "a number",
		[JSON_TRUE] = "a boolean",
		[JSON_FALSE] = "a boolean",
		[JSON_NULL] = "nothing",
	};
	return names[json_typeof(v)];
}

int reader_fail_kind(Reader *r, const char *wanted, json_t *v)
{
	return reader_fail(r, "must be %s, not %s", wanted, json_kind(v));
}

/* ---- arrays of structs ---- */

void *object_append(void **items, size_t *n, size_t size)
{
	if ((*n & (*n - 1)) == 0)
		*items = xreallocarray(*items, *n ? *n * 2 : 1, size);
	void *p = (char *) *items + *n * size;
	(*n)++;
	memset(p, 0, size);
	return p;
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

void objects_sort(void *items, size_t n, size_t size)
{
	if (n > 1)
		qsort(items, n, size, compare_keys);
}

void *objects_find(const void *items, size_t n, size_t size, const char *key)
{
	return n ? bsearch(&key, items, n, size, compare_keys) : NULL;
}

/* ---- objects ---- */

static void init_object(const Field *f, void *base)
{
	object_init(f->arg, MEMBER(char, base, f->offset));
}

static int parse_object(Reader *r, const Field *f, json_t *v, void *base)
{
	return object_parse(r, f->arg, v, MEMBER(char, base, f->offset));
}

static json_t *emit_object(const Field *f, const void *base)
{
	json_t *o = object_emit(f->arg, MEMBER_CONST(char, base, f->offset));
	if (json_object_size(o))
		return o;
	json_decref(o);
	return NULL;
}

static void done_object(const Field *f, void *base)
{
	object_done(f->arg, MEMBER(char, base, f->offset));
}

const FieldType field_object = { init_object, parse_object, emit_object, done_object };
/* The same functions: a "same" field has offset 0, so its members' offsets count from the outer struct. */
const FieldType field_same = { init_object, parse_object, emit_object, done_object };

static int parse_list(Reader *r, const Field *f, json_t *v, void *base)
{
	const Schema *s = f->arg;
	if (!json_is_array(v))
		return reader_fail_kind(r, "a list", v);
	for (size_t i = 0; i < json_array_size(v); i++) {
		size_t before = reader_enter_index(r, i);
		void *p = object_append(
			MEMBER(void *, base, f->offset), MEMBER(size_t, base, f->offset2), s->size);
		object_init(s, p);
		if (object_parse(r, s, json_array_get(v, i), p) < 0)
			return -EINVAL;
		reader_leave(r, before);
	}
	return 0;
}

static json_t *emit_list(const Field *f, const void *base)
{
	const Schema *s = f->arg;
	const char *items = *MEMBER_CONST(char *, base, f->offset);
	size_t n = *MEMBER_CONST(size_t, base, f->offset2);
	if (!n)
		return NULL;
	json_t *a = json_array();
	for (size_t i = 0; i < n; i++)
		(void) json_array_append_new(a, object_emit(s, items + i * s->size));
	return a;
}

static void done_list(const Field *f, void *base)
{
	const Schema *s = f->arg;
	char **items = MEMBER(char *, base, f->offset);
	size_t *n = MEMBER(size_t, base, f->offset2);
	for (size_t i = 0; i < *n; i++)
		object_done(s, *items + i * s->size);
	free_and_null(items);
	*n = 0;
}

const FieldType field_list = { NULL, parse_list, emit_list, done_list };

static int parse_map(Reader *r, const Field *f, json_t *v, void *base)
{
	const Schema *s = f->arg;
	if (!json_is_object(v))
		return reader_fail_kind(r, "a map", v);
	const char *key;
	json_t *item;
	json_object_foreach(v, key, item)
	{
		size_t before = reader_enter(r, key);
		if (!*key || str_has_control(key))
			return reader_fail(r, "the name is empty or has a control character in it");
		void *p = object_append(
			MEMBER(void *, base, f->offset), MEMBER(size_t, base, f->offset2), s->size);
		object_init(s, p);
		*(char **) p = xstrdup(key);
		if (!json_is_null(item) && object_parse(r, s, item, p) < 0)
			return -EINVAL;
		reader_leave(r, before);
	}
	objects_sort(*MEMBER(void *, base, f->offset), *MEMBER(size_t, base, f->offset2), s->size);
	return 0;
}

static json_t *emit_map(const Field *f, const void *base)
{
	const Schema *s = f->arg;
	const char *items = *MEMBER_CONST(char *, base, f->offset);
	size_t n = *MEMBER_CONST(size_t, base, f->offset2);
	if (!n)
		return NULL;
	json_t *o = json_object();
	for (size_t i = 0; i < n; i++) {
		const char *p = items + i * s->size;
		json_t *v = object_emit(s, p);
		if (!json_object_size(v)) {
			json_decref(v);
			v = json_null();
		}
		(void) json_object_set_new(o, *(char *const *) (const void *) p, v);
	}
	return o;
}

static void done_map(const Field *f, void *base)
{
	const Schema *s = f->arg;
	char *items = *MEMBER(char *, base, f->offset);
	for (size_t i = 0; i < *MEMBER(size_t, base, f->offset2); i++)
		free_and_null((char **) (void *) (items + i * s->size));
	done_list(f, base);
}

const FieldType field_map = { NULL, parse_map, emit_map, done_map };

/* ---- keys without a member ---- */

static int parse_refused(Reader *r, const Field *f, json_t *v, void *base)
{
	return reader_fail(r, "'%s' is not supported yet; %s", f->key, (const char *) f->arg);
}

static int parse_unresolved(Reader *r, const Field *f, json_t *v, void *base)
{
	return reader_fail(r, "'%s' belongs in a compose file, a resolved model has none", f->key);
}

static int parse_ignored(Reader *r, const Field *f, json_t *v, void *base)
{
	return 0;
}

const FieldType field_refused = { NULL, parse_refused, NULL, NULL };
const FieldType field_unresolved = { NULL, parse_unresolved, NULL, NULL };
const FieldType field_ignored = { NULL, parse_ignored, NULL, NULL };

void object_init(const Schema *s, void *base)
{
	for (size_t i = 0; i < s->n_fields; i++)
		if (s->fields[i].type->init && !(s->fields[i].flags & FIELD_ALIAS))
			s->fields[i].type->init(&s->fields[i], base);
}

/** The known key that is most like `key`, or NULL when none is near. */
static const char *schema_nearest(const Schema *s, const char *key)
{
	unsigned best = edit_distance_allowed(key) + 1;
	const char *found = NULL;
	for (size_t i = 0; i < s->n_fields; i++) {
		unsigned d = edit_distance(key, s->fields[i].key, best - 1);
		if (d < best) {
			best = d;
			found = s->fields[i].key;
		}
	}
	return found;
}

static const Field *schema_find(const Schema *s, const char *key)
{
	for (size_t i = 0; i < s->n_fields; i++)
		if (str_eq(s->fields[i].key, key))
			return &s->fields[i];
	return NULL;
}

/* Extensions of other tools are none of our business; our own ask for something that is not there. */
int object_check_keys(Reader *r, const Schema *s, json_t *v)
{
	const char *key;
	json_t *item;
	json_object_foreach(v, key, item)
	{
		if (schema_find(s, key) || (str_starts(key, "x-") && !str_starts(key, "x-stead")))
			continue;
		if (str_starts(key, "x-"))
			return reader_fail_at(r, key, "'%s' is not supported yet; remove it", key);
		const char *near = schema_nearest(s, key);
		if (near)
			return reader_fail_at(r, key, "unknown key of %s; did you mean '%s'?", s->what, near);
		return reader_fail_at(
			r, key, "unknown key of %s; remove it, or prefix it with 'x-'", s->what);
	}
	return 0;
}

int object_parse(Reader *r, const Schema *s, json_t *v, void *base)
{
	if (s->parse_scalar && !json_is_object(v))
		return s->parse_scalar(r, v, base);
	if (!json_is_object(v))
		return reader_fail_kind(r, "a map", v);
	if (object_check_keys(r, s, v) < 0)
		return -EINVAL;
	for (size_t i = 0; i < s->n_fields; i++) {
		const Field *f = &s->fields[i];
		json_t *item = json_object_get(v, f->key);
		if (!item || json_is_null(item)) {
			if (f->flags & FIELD_REQUIRED)
				return reader_fail(r, "'%s' is missing", f->key);
			continue;
		}
		size_t before = reader_enter(r, f->key);
		if (f->type->parse(r, f, item, base) < 0)
			return -EINVAL;
		reader_leave(r, before);
	}
	return s->check ? s->check(r, base) : 0;
}

json_t *object_emit(const Schema *s, const void *base)
{
	json_t *o = json_object();
	for (size_t i = 0; i < s->n_fields; i++) {
		const Field *f = &s->fields[i];
		json_t *v = f->type->emit && !(f->flags & FIELD_ALIAS) ? f->type->emit(f, base) : NULL;
		if (v)
			(void) json_object_set_new(o, f->key, v);
	}
	return o;
}

void object_done(const Schema *s, void *base)
{
	for (size_t i = 0; i < s->n_fields; i++)
		if (s->fields[i].type->done && !(s->fields[i].flags & FIELD_ALIAS))
			s->fields[i].type->done(&s->fields[i], base);
}
