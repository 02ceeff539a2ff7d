// SPDX-License-Identifier: Apache-2.0
#include "daemon/json.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

json_t *json_safe(const char *s)
{
	if (!s)
		return json_string("");
	size_t n = strlen(s);
	if (str_is_utf8(s, n))
		return json_stringn(s, n);
	AUTO_BUF b = BUF_INIT;
	for (size_t i = 0; i < n;) {
		size_t len = 1;
		while (len <= 4 && i + len <= n && !str_is_utf8(s + i, len))
			len++;
		if (len <= 4 && i + len <= n) {
			buf_append(&b, s + i, len);
			i += len;
		} else {
			buf_str(&b, "\xef\xbf\xbd");
			i++;
		}
	}
	return json_stringn(buf_cstr(&b), b.len);
}

json_t *json_strv(char *const *v)
{
	json_t *a = json_array();
	for (; v && *v; v++)
		json_array_append_new(a, json_safe(*v));
	return a;
}

json_t *json_pairs(char *const *v)
{
	json_t *o = json_object();
	for (; v && *v; v++) {
		const char *eq = strchr(*v, '=');
		AUTO_FREE char *key = xstrndup(*v, eq ? (size_t) (eq - *v) : strlen(*v));
		json_object_set_new(o, key, json_safe(eq ? eq + 1 : ""));
	}
	return o;
}

char **json_to_strv(const json_t *a)
{
	char **v = NULL;
	for (size_t i = 0; i < json_array_size(a); i++)
		if (json_is_string(json_array_get(a, i)))
			strv_add(&v, json_string_value(json_array_get(a, i)));
	return v;
}

char **json_to_pairs(json_t *o)
{
	char **v = NULL;
	const char *key;
	json_t *value;
	json_object_foreach(o, key, value) {
		if (json_is_string(value))
			strv_take(&v, xasprintf("%s=%s", key, json_string_value(value)));
	}
	return v;
}
