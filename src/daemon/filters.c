// SPDX-License-Identifier: Apache-2.0
#include "daemon/filters.h"

#include <errno.h>

#include "base/mem.h"
#include "base/str.h"

void filters_done(Filters *f)
{
	for (size_t i = 0; i < f->n; i++) {
		free(f->items[i].key);
		strv_free(f->items[i].values);
	}
	free(f->items);
	*f = (Filters) { 0 };
}

static int parse_values(json_t *o, const char *key, char ***ret, Err *err)
{
	const char *name;
	json_t *item;
	size_t i;
	if (json_is_object(o)) {
		json_object_foreach(o, name, item)
			if (!json_is_false(item))
				strv_add(ret, name);
		return 0;
	}
	if (!json_is_array(o))
		return err_set(err, -EINVAL, "filters: '%s': a list or an object is expected", key);
	json_array_foreach(o, i, item) {
		if (!json_is_string(item))
			return err_set(err, -EINVAL, "filters: '%s': strings are expected", key);
		strv_add(ret, json_string_value(item));
	}
	return 0;
}

int filters_parse(const HttpRequest *r, const char *const *known, Filters *ret, Err *err)
{
	const char *text = http_query(r, "filters"), *key;
	json_t *value;
	*ret = (Filters) { 0 };
	if (str_empty(text))
		return 0;
	json_t *o = json_loads(text, 0, NULL);
	int e = json_is_object(o) ? 0 : err_set(err, -EINVAL, "filters: a JSON object is expected");
	json_object_foreach(o, key, value) {
		if (e == 0 && !strv_has((char *const *) known, key))
			e = err_set(err, -EINVAL, "Invalid filter '%s'", key);
		if (e < 0)
			break;
		ret->items = xreallocarray(ret->items, ret->n + 1, sizeof(*ret->items));
		ret->items[ret->n].key = xstrdup(key);
		ret->items[ret->n].values = NULL;
		ret->n++;
		e = parse_values(value, key, &ret->items[ret->n - 1].values, err);
	}
	json_decref(o);
	if (e < 0)
		filters_done(ret);
	return e;
}

char *const *filters_get(const Filters *f, const char *key)
{
	for (size_t i = 0; i < f->n; i++)
		if (str_eq(f->items[i].key, key))
			return f->items[i].values;
	return NULL;
}

static bool any(const Filters *f, const char *key, const char *value, bool (*fits)(const char *value, const char *wish))
{
	char *const *wishes = filters_get(f, key);
	if (!wishes)
		return true;
	for (; *wishes; wishes++)
		if (fits(value, *wishes))
			return true;
	return false;
}

static bool contains(const char *value, const char *wish)
{
	return strstr(value, wish[0] == '/' ? wish + 1 : wish) != NULL;
}

bool filters_match(const Filters *f, const char *key, const char *value)
{
	return any(f, key, value, str_eq);
}

bool filters_match_prefix(const Filters *f, const char *key, const char *value)
{
	return any(f, key, value, str_starts);
}

bool filters_match_part(const Filters *f, const char *key, const char *value)
{
	return any(f, key, value, contains);
}

bool filters_match_labels(const Filters *f, char *const *labels)
{
	for (char *const *wish = filters_get(f, "label"); wish && *wish; wish++) {
		bool found = false;
		size_t n = strcspn(*wish, "=");
		for (char *const *l = labels; !found && l && *l; l++)
			found = (*wish)[n] ? str_eq(*l, *wish) : strncmp(*l, *wish, n) == 0 && ((*l)[n] == '=' || !(*l)[n]);
		if (!found)
			return false;
	}
	return true;
}
