// SPDX-License-Identifier: Apache-2.0
/*
 * The plain kinds of members: strings, lists and pairs of strings, numbers, enumerations. Each is a few small
 * functions that know one C type and one form of JSON; objects and arrays of them are in object.c.
 */
#include <errno.h>
#include <math.h>

#include "base/mem.h"
#include "base/str.h"
#include "model/object.h"

/* ---- strings ---- */

static int check_string(Reader *r, json_t *v, bool controls)
{
	if (!json_is_string(v))
		return reader_fail_kind(r, "a string", v);
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
		return reader_fail_kind(r, "a list of strings", v);
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
		return reader_fail_kind(r, "a map of strings", v);
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
		return reader_fail_kind(r, "true or false", v);
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
		return reader_fail_kind(r, "true or false", v);
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
		return reader_fail_kind(r, "a whole number", v);
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
	if (n < f->min) {
		AUTO_FREE char *least = format_duration(f->min);
		return reader_fail(r, "is too short; give at least %s", least);
	}
	if (f->max && n > f->max) {
		AUTO_FREE char *most = format_duration(f->max);
		return reader_fail(r, "is too long; give at most %s", most);
	}
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
