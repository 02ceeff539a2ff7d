// SPDX-License-Identifier: Apache-2.0
/*
 * The engine behind the tables. An object is read in the order of its table, not of the JSON, so that a
 * key may rely on those above it (deploy.restart_policy overrides `restart`), and errors come in a stable
 * order. Only when fewer members matched than the object has is it searched for the unknown key.
 */
#include "model/object.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>

#include "base/mem.h"
#include "base/str.h"
#include "model/nearest.h"

#define MEMBER(Type, base, off) ((Type *) (void *) ((char *) (base) + (off)))
#define MEMBER_CONST(Type, base, off) ((Type const *) (const void *) ((const char *) (base) + (off)))

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
	if (vasprintf(&s, fmt, ap) < 0)
		abort();
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

static int fail_kind(Reader *r, const char *wanted, json_t *v)
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

/* ---- strings ---- */

static int check_string(Reader *r, json_t *v, bool controls)
{
	if (!json_is_string(v))
		return fail_kind(r, "a string", v);
	const char *s = json_string_value(v);
	if (strlen(s) != json_string_length(v))
		return reader_fail(r, "has a NUL character in it");
	if (!controls && str_has_control(s))
		return reader_fail(r, "has a control character in it");
	return 0;
}

static int parse_text(Reader *r, const Field *f, json_t *v, void *base)
{
	if (check_string(r, v, true) < 0)
		return -EINVAL;
	str_set(MEMBER(char *, base, f->offset), json_string_value(v));
	return 0;
}

static int parse_str(Reader *r, const Field *f, json_t *v, void *base)
{
	if (check_string(r, v, false) < 0)
		return -EINVAL;
	str_set(MEMBER(char *, base, f->offset), json_string_value(v));
	return 0;
}

static int parse_word(Reader *r, const Field *f, json_t *v, void *base)
{
	if (check_string(r, v, false) < 0)
		return -EINVAL;
	if (!json_string_length(v))
		return reader_fail(r, "must not be empty; leave the key out instead");
	str_set(MEMBER(char *, base, f->offset), json_string_value(v));
	return 0;
}

static int parse_path(Reader *r, const Field *f, json_t *v, void *base)
{
	if (check_string(r, v, false) < 0)
		return -EINVAL;
	if (json_string_value(v)[0] != '/')
		return reader_fail(r, "must be an absolute path, not '%s'", json_string_value(v));
	str_set(MEMBER(char *, base, f->offset), json_string_value(v));
	return 0;
}

static json_t *emit_str(const Field *f, const void *base)
{
	const char *s = *MEMBER_CONST(char *, base, f->offset);
	return s ? json_string(s) : NULL;
}

static void done_str(const Field *f, void *base)
{
	free_and_null(MEMBER(char *, base, f->offset));
}

const FieldType field_text = { NULL, parse_text, emit_str, done_str };
const FieldType field_str = { NULL, parse_str, emit_str, done_str };
const FieldType field_word = { NULL, parse_word, emit_str, done_str };
const FieldType field_path = { NULL, parse_path, emit_str, done_str };

/* ---- lists of strings ---- */

static int parse_string_list(Reader *r, const Field *f, json_t *v, void *base, bool controls)
{
	if (!json_is_array(v))
		return fail_kind(r, "a list of strings", v);
	size_t n = json_array_size(v);
	char **list = n ? xcalloc(n + 1, sizeof(char *)) : NULL;
	strv_free(*MEMBER(char **, base, f->offset));
	*MEMBER(char **, base, f->offset) = list;
	for (size_t i = 0; i < n; i++) {
		size_t before = reader_enter_index(r, i);
		if (check_string(r, json_array_get(v, i), controls) < 0)
			return -EINVAL;
		list[i] = xstrdup(json_string_value(json_array_get(v, i)));
		reader_leave(r, before);
	}
	return 0;
}

static int parse_texts(Reader *r, const Field *f, json_t *v, void *base)
{
	return parse_string_list(r, f, v, base, true);
}

static int parse_strs(Reader *r, const Field *f, json_t *v, void *base)
{
	return parse_string_list(r, f, v, base, false);
}

static json_t *emit_strings(const Field *f, const void *base)
{
	char *const *list = *MEMBER_CONST(char **, base, f->offset);
	if (!list || !list[0])
		return NULL;
	json_t *a = json_array();
	for (; *list; list++)
		(void) json_array_append_new(a, json_string(*list));
	return a;
}

static void done_strings(const Field *f, void *base)
{
	strv_free(*MEMBER(char **, base, f->offset));
	*MEMBER(char **, base, f->offset) = NULL;
}

const FieldType field_texts = { NULL, parse_texts, emit_strings, done_strings };
const FieldType field_strs = { NULL, parse_strs, emit_strings, done_strings };

static int compare_strings(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

static int parse_pair(Reader *r, const char *key, json_t *v, bool nullable, char **ret)
{
	if (!*key || strchr(key, '='))
		return reader_fail(r, "'%s' cannot be a name: it is empty or has '=' in it", key);
	if (str_has_control(key))
		return reader_fail(r, "the name has a control character in it");
	if (json_is_null(v) && nullable) {
		*ret = xstrdup(key);
		return 0;
	}
	size_t before = reader_enter(r, key);
	if (check_string(r, v, true) < 0)
		return -EINVAL;
	reader_leave(r, before);
	*ret = xasprintf("%s=%s", key, json_string_value(v));
	return 0;
}

static int parse_pair_map(Reader *r, const Field *f, json_t *v, void *base, bool nullable)
{
	if (!json_is_object(v))
		return fail_kind(r, "a map of strings", v);
	size_t n = 0, size = json_object_size(v);
	char **list = size ? xcalloc(size + 1, sizeof(char *)) : NULL;
	strv_free(*MEMBER(char **, base, f->offset));
	*MEMBER(char **, base, f->offset) = list;
	const char *key;
	json_t *item;
	json_object_foreach(v, key, item)
	{
		if (parse_pair(r, key, item, nullable, &list[n]) < 0)
			return -EINVAL;
		n++;
	}
	if (n > 1)
		qsort(list, n, sizeof(char *), compare_strings);
	return 0;
}

static int parse_pairs(Reader *r, const Field *f, json_t *v, void *base)
{
	return parse_pair_map(r, f, v, base, false);
}

static int parse_pairs_nullable(Reader *r, const Field *f, json_t *v, void *base)
{
	return parse_pair_map(r, f, v, base, true);
}

static json_t *emit_pairs(const Field *f, const void *base)
{
	char *const *list = *MEMBER_CONST(char **, base, f->offset);
	if (!list || !list[0])
		return NULL;
	json_t *o = json_object();
	for (; *list; list++) {
		const char *eq = strchr(*list, '=');
		AUTO_FREE char *key = eq ? xstrndup(*list, (size_t) (eq - *list)) : xstrdup(*list);
		(void) json_object_set_new(o, key, eq ? json_string(eq + 1) : json_null());
	}
	return o;
}

const FieldType field_pairs = { NULL, parse_pairs, emit_pairs, done_strings };
const FieldType field_pairs_nullable = { NULL, parse_pairs_nullable, emit_pairs, done_strings };

/* ---- numbers ---- */

static void init_bool(const Field *f, void *base)
{
	*MEMBER(bool, base, f->offset) = f->unset != 0;
}

static int parse_bool(Reader *r, const Field *f, json_t *v, void *base)
{
	if (!json_is_boolean(v))
		return fail_kind(r, "true or false", v);
	*MEMBER(bool, base, f->offset) = json_is_true(v);
	return 0;
}

static json_t *emit_bool(const Field *f, const void *base)
{
	bool b = *MEMBER_CONST(bool, base, f->offset);
	return b != (f->unset != 0) || f->flags & FIELD_ALWAYS ? json_boolean(b) : NULL;
}

const FieldType field_bool = { init_bool, parse_bool, emit_bool, NULL };

static void init_int(const Field *f, void *base)
{
	*MEMBER(int, base, f->offset) = (int) f->unset;
}

static int parse_tristate(Reader *r, const Field *f, json_t *v, void *base)
{
	if (!json_is_boolean(v))
		return fail_kind(r, "true or false", v);
	*MEMBER(int, base, f->offset) = json_is_true(v);
	return 0;
}

static json_t *emit_tristate(const Field *f, const void *base)
{
	int i = *MEMBER_CONST(int, base, f->offset);
	return i >= 0 ? json_boolean(i) : NULL;
}

const FieldType field_tristate = { init_int, parse_tristate, emit_tristate, NULL };

static int contradiction(Reader *r)
{
	return reader_fail(r, "contradicts the same setting under its other name; keep one of them");
}

static int parse_integer(Reader *r, const Field *f, json_t *v, int64_t before, int64_t *ret)
{
	if (!json_is_integer(v))
		return fail_kind(r, "a whole number", v);
	int64_t n = json_integer_value(v);
	if (n < f->min || n > f->max)
		return reader_fail(r, "must be %lld to %lld, not %lld", (long long) f->min,
			(long long) f->max, (long long) n);
	if (f->flags & FIELD_ALIAS && before != f->unset && before != n)
		return contradiction(r);
	*ret = n;
	return 0;
}

static int parse_int(Reader *r, const Field *f, json_t *v, void *base)
{
	int *p = MEMBER(int, base, f->offset);
	int64_t n;
	if (parse_integer(r, f, v, *p, &n) < 0)
		return -EINVAL;
	*p = (int) n;
	return 0;
}

static json_t *emit_int(const Field *f, const void *base)
{
	int i = *MEMBER_CONST(int, base, f->offset);
	return i != f->unset || f->flags & FIELD_ALWAYS ? json_integer(i) : NULL;
}

const FieldType field_int = { init_int, parse_int, emit_int, NULL };

static void init_i64(const Field *f, void *base)
{
	*MEMBER(int64_t, base, f->offset) = f->unset;
}

static int parse_i64_field(Reader *r, const Field *f, json_t *v, void *base)
{
	int64_t *p = MEMBER(int64_t, base, f->offset);
	return parse_integer(r, f, v, *p, p);
}

static json_t *emit_i64(const Field *f, const void *base)
{
	int64_t i = *MEMBER_CONST(int64_t, base, f->offset);
	return i != f->unset || f->flags & FIELD_ALWAYS ? json_integer(i) : NULL;
}

const FieldType field_i64 = { init_i64, parse_i64_field, emit_i64, NULL };

static void init_u16(const Field *f, void *base)
{
	*MEMBER(uint16_t, base, f->offset) = (uint16_t) f->unset;
}

static int parse_u16(Reader *r, const Field *f, json_t *v, void *base)
{
	int64_t n;
	if (parse_integer(r, f, v, f->unset, &n) < 0)
		return -EINVAL;
	*MEMBER(uint16_t, base, f->offset) = (uint16_t) n;
	return 0;
}

static json_t *emit_u16(const Field *f, const void *base)
{
	uint16_t i = *MEMBER_CONST(uint16_t, base, f->offset);
	return i != f->unset ? json_integer(i) : NULL;
}

const FieldType field_u16 = { init_u16, parse_u16, emit_u16, NULL };

static int parse_number(Reader *r, const Field *f, json_t *v, void *base)
{
	double d, *p = MEMBER(double, base, f->offset);
	if (json_is_number(v))
		d = json_number_value(v);
	else if (!json_is_string(v) || parse_double(json_string_value(v), &d) < 0)
		return reader_fail(r, "must be a number, such as 0.5");
	if (!(d >= (double) f->min && d <= (double) f->max))
		return reader_fail(r, "must be %lld to %lld", (long long) f->min, (long long) f->max);
	if (f->flags & FIELD_ALIAS && *p != 0 && fabs(*p - d) > 1e-9)
		return contradiction(r);
	*p = d;
	return 0;
}

static json_t *emit_number(const Field *f, const void *base)
{
	double d = *MEMBER_CONST(double, base, f->offset);
	if (d == 0)
		return NULL;
	return d == floor(d) ? json_integer((json_int_t) d) : json_real(d);
}

const FieldType field_number = { NULL, parse_number, emit_number, NULL };

static int parse_bytes_field(Reader *r, const Field *f, json_t *v, void *base)
{
	int64_t n, *p = MEMBER(int64_t, base, f->offset);
	if (json_is_integer(v))
		n = json_integer_value(v);
	else if (!json_is_string(v) || parse_i64(json_string_value(v), &n) < 0)
		return reader_fail(r, "must be a number of bytes, such as \"536870912\"");
	if (n < f->min)
		return reader_fail(
			r, "must be at least %lld bytes, not %lld", (long long) f->min, (long long) n);
	if (f->flags & FIELD_ALIAS && *p != f->unset && *p != n)
		return contradiction(r);
	*p = n;
	return 0;
}

static json_t *emit_bytes(const Field *f, const void *base)
{
	int64_t n = *MEMBER_CONST(int64_t, base, f->offset);
	return n != f->unset ? json_sprintf("%lld", (long long) n) : NULL;
}

const FieldType field_bytes = { init_i64, parse_bytes_field, emit_bytes, NULL };

static int parse_duration_field(Reader *r, const Field *f, json_t *v, void *base)
{
	int64_t n;
	if (!json_is_string(v) || parse_duration(json_string_value(v), &n) < 0)
		return reader_fail(r, "must be a duration, such as \"1m30s\"");
	if (n < f->min)
		return reader_fail(r, "is too short");
	*MEMBER(int64_t, base, f->offset) = n;
	return 0;
}

static json_t *emit_duration(const Field *f, const void *base)
{
	int64_t n = *MEMBER_CONST(int64_t, base, f->offset);
	if (n == f->unset)
		return NULL;
	AUTO_FREE char *s = format_duration(n);
	return json_string(s);
}

const FieldType field_duration = { init_i64, parse_duration_field, emit_duration, NULL };

static int parse_mode(Reader *r, const Field *f, json_t *v, void *base)
{
	const char *s = json_string_value(v);
	int64_t mode = 0;
	bool good = s && *s && strlen(s) <= 6;
	for (; good && *s; s++) {
		good = *s >= '0' && *s <= '7';
		mode = mode * 8 + (*s - '0');
	}
	if (!good || mode > 07777)
		return reader_fail(r, "must be an octal string of at most 4 digits, such as \"0440\"");
	*MEMBER(int64_t, base, f->offset) = mode;
	return 0;
}

static json_t *emit_mode(const Field *f, const void *base)
{
	int64_t n = *MEMBER_CONST(int64_t, base, f->offset);
	return n != f->unset ? json_sprintf("%04llo", (unsigned long long) n) : NULL;
}

const FieldType field_mode = { init_i64, parse_mode, emit_mode, NULL };

static int parse_enum(Reader *r, const Field *f, json_t *v, void *base)
{
	const char *const *names = f->arg;
	const char *s = json_string_value(v);
	for (int i = 0; s && names[i]; i++) {
		if (str_eq(names[i], s)) {
			*MEMBER(int, base, f->offset) = i;
			return 0;
		}
	}
	char list[256] = "";
	for (size_t i = 0, len = 0; names[i] && len < sizeof(list); i++)
		len += (size_t) snprintf(list + len, sizeof(list) - len, "%s%s",
			!i             ? ""
			: names[i + 1] ? ", "
				       : " or ",
			names[i]);
	if (!s)
		return reader_fail(r, "must be %s", list);
	return reader_fail(r, "must be %s, not '%s'", list, s);
}

static json_t *emit_enum(const Field *f, const void *base)
{
	const char *const *names = f->arg;
	int i = *MEMBER_CONST(int, base, f->offset);
	return i != f->unset || f->flags & FIELD_ALWAYS ? json_string(names[i]) : NULL;
}

const FieldType field_enum = { init_int, parse_enum, emit_enum, NULL };

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
		return fail_kind(r, "a list", v);
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
		return fail_kind(r, "a map", v);
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

const char *schema_nearest(const Schema *s, const char *key)
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
		return fail_kind(r, "a map", v);
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
