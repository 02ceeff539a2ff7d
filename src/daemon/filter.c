// SPDX-License-Identifier: Apache-2.0
#include "daemon/filter.h"

#include <errno.h>
#include <strings.h>

#include "base/mem.h"
#include "base/str.h"

#define FILTER_VALUES_MAX 1024 /* of one key: refused */

/** The values of one key, in either encoding. */
static int parse_values(const char *key, json_t *value, json_t *list, Err *err)
{
	const char *name;
	json_t *item;
	size_t i;
	json_object_foreach(value, name, item) {
		/* {"a": false} is a value that was taken out again. */
		if (!json_is_boolean(item))
			return err_set(err, -EINVAL, "filters: '%s': true is expected behind '%s'", key, name);
		if (json_is_true(item))
			json_array_append_new(list, json_string(name));
	}
	json_array_foreach(value, i, item) {
		if (!json_is_string(item))
			return err_set(err, -EINVAL, "filters: '%s': strings are expected", key);
		json_array_append(list, item);
	}
	if (!json_is_object(value) && !json_is_array(value))
		return err_set(err, -EINVAL, "filters: '%s': an object or a list is expected", key);
	if (json_array_size(list) > FILTER_VALUES_MAX)
		return err_set(err, -EINVAL, "filters: '%s': more than %d values", key, FILTER_VALUES_MAX);
	return 0;
}

static bool is_known(const char *const *known, const char *key)
{
	for (; *known; known++)
		if (str_eq(*known, key))
			return true;
	return false;
}

int filter_read(const char *text, const char *const *known, Filter **ret, Err *err)
{
	json_error_t e;
	const char *key;
	json_t *value;
	*ret = NULL;
	if (str_empty(text))
		return 0;
	json_t *in = json_loads(text, 0, &e);
	if (!json_is_object(in)) {
		json_decref(in);
		return err_set(err, -EINVAL, "filters: not a JSON object: %s", in ? "it is a list" : e.text);
	}
	json_t *out = json_object();
	int r = 0;
	json_object_foreach(in, key, value) {
		json_t *list = json_array();
		json_object_set_new(out, key, list);
		r = is_known(known, key) ? parse_values(key, value, list, err) : err_set(err, -EINVAL, "Invalid filter '%s'", key);
		if (r < 0)
			break;
		if (json_array_size(list) == 0)
			json_object_del(out, key);
	}
	json_decref(in);
	if (r < 0) {
		json_decref(out);
		return r;
	}
	*ret = out;
	return 0;
}

const json_t *filter_values(const Filter *f, const char *key)
{
	return json_object_get(f, key);
}

static bool any(const Filter *f, const char *key, const char *value, bool (*fits)(const char *wanted, const char *value))
{
	const json_t *list = filter_values(f, key);
	if (!list)
		return true;
	for (size_t i = 0; value && i < json_array_size(list); i++)
		if (fits(json_string_value(json_array_get(list, i)), value))
			return true;
	return false;
}

static bool equals(const char *wanted, const char *value)
{
	return str_eq(wanted, value);
}

static bool begins(const char *wanted, const char *value)
{
	return str_starts(value, wanted);
}

static bool contains(const char *wanted, const char *value)
{
	bool start = wanted[0] == '^';
	wanted += start;
	size_t n = strlen(wanted), len = strlen(value);
	bool end = n > 0 && wanted[n - 1] == '$';
	n -= end;
	if (start && end)
		return n == len && memcmp(value, wanted, n) == 0;
	if (start)
		return n <= len && memcmp(value, wanted, n) == 0;
	if (end)
		return n <= len && memcmp(value + len - n, wanted, n) == 0;
	return memmem(value, len, wanted, n) != NULL;
}

bool filter_match(const Filter *f, const char *key, const char *value)
{
	return any(f, key, value, equals);
}

bool filter_match_prefix(const Filter *f, const char *key, const char *value)
{
	return any(f, key, value, begins);
}

bool filter_match_text(const Filter *f, const char *key, const char *value)
{
	return any(f, key, value, contains);
}

static bool has_label(char *const *labels, const char *wanted)
{
	size_t n = strcspn(wanted, "=");
	for (; labels && *labels; labels++) {
		if (wanted[n] ? str_eq(*labels, wanted) :
				strncmp(*labels, wanted, n) == 0 && ((*labels)[n] == '=' || (*labels)[n] == '\0'))
			return true;
	}
	return false;
}

bool filter_match_labels(const Filter *f, char *const *labels)
{
	const json_t *all = filter_values(f, "label"), *none = filter_values(f, "label!");
	for (size_t i = 0; i < json_array_size(all); i++)
		if (!has_label(labels, json_string_value(json_array_get(all, i))))
			return false;
	for (size_t i = 0; i < json_array_size(none); i++)
		if (has_label(labels, json_string_value(json_array_get(none, i))))
			return false;
	return true;
}

int filter_bool(const Filter *f, const char *key, bool otherwise, bool *ret, Err *err)
{
	const json_t *list = filter_values(f, key);
	bool value = otherwise;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *s = json_string_value(json_array_get(list, i));
		bool yes = str_eq(s, "1") || strcasecmp(s, "true") == 0;
		bool no = str_eq(s, "0") || strcasecmp(s, "false") == 0;
		if ((!yes && !no) || (i && yes != value))
			return err_set(err, -EINVAL, "Invalid filter '%s=%s'", key, s);
		value = yes;
	}
	*ret = value;
	return 0;
}
