// SPDX-License-Identifier: Apache-2.0
#include "cli/image-config.h"

#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "io/http-client.h"

/* One word with its quotes taken off; *s moves behind it. */
static int take_word(const char *option, const char **s, Buf *word, Err *err)
{
	const char *p = *s;
	char quote = 0;
	for (; *p && (quote || (*p != ' ' && *p != '\t')); p++) {
		if (quote ? *p == quote : *p == '\'' || *p == '"') {
			quote = quote ? 0 : *p;
		} else if (*p == '\\' && quote != '\'') {
			if (!*++p)
				return err_set(err, -EINVAL, "--%s: a backslash at the end", option);
			buf_char(word, *p);
		} else {
			buf_char(word, *p);
		}
	}
	if (quote)
		return err_set(err, -EINVAL, "--%s: a %c is not closed", option, quote);
	*s = p;
	return 0;
}

/** A command line as Dockerfile's CMD and ENTRYPOINT have it: a JSON array of strings, or words with shell quoting ('…', "…", \). -EINVAL. */
static int command_words(const char *option, const char *text, json_t **ret, Err *err)
{
	json_t *list, *item;
	size_t i;
	text += strspn(text, " \t");
	if (*text == '[') {
		list = json_loads(text, 0, NULL);
		bool good = json_is_array(list);
		json_array_foreach(list, i, item)
			good = good && json_is_string(item);
		if (!good) {
			json_decref(list);
			return err_set(err, -EINVAL, "--%s: begins with [ but is no JSON array of strings", option);
		}
		*ret = list;
		return 0;
	}
	list = json_array();
	for (text += strspn(text, " \t"); *text; text += strspn(text, " \t")) {
		AUTO_BUF word = BUF_INIT;
		int r = take_word(option, &text, &word, err);
		if (r < 0) {
			json_decref(list);
			return r;
		}
		(void) json_array_append_new(list, json_string(buf_cstr(&word)));
	}
	*ret = list;
	return 0;
}

static int check_pairs(const char *option, char *const *list, Err *err)
{
	for (char *const *p = list; p && *p; p++)
		if (**p == '=' || !strchr(*p, '='))
			return err_set(err, -EINVAL, "--%s %s: write KEY=VALUE", option, *p);
	return 0;
}

static int check_ports(char *const *list, Err *err)
{
	for (char *const *p = list; p && *p; p++) {
		size_t digits = strcspn(*p, "/");
		AUTO_FREE char *number = xstrndup(*p, digits);
		const char *protocol = *p + digits;
		uint32_t n;
		bool known = !*protocol || str_eq(protocol, "/tcp") || str_eq(protocol, "/udp") || str_eq(protocol, "/sctp");
		if (!known || parse_u32_max(number, 65535, &n) < 0 || n == 0)
			return err_set(err, -EINVAL, "--port %s: write a number from 1 to 65535, with /tcp or /udp if need be", *p);
	}
	return 0;
}

static int check(const ImageConfigOptions *o, Err *err)
{
	int r = check_pairs("env", o->env, err);
	if (r == 0)
		r = check_pairs("label", o->label, err);
	if (r == 0)
		r = check_ports(o->port, err);
	for (char **v = o->volume; r == 0 && v && *v; v++)
		if (**v != '/')
			r = err_set(err, -EINVAL, "--volume %s: a path in the image begins with /", *v);
	if (r == 0 && o->workdir && *o->workdir != '/')
		r = err_set(err, -EINVAL, "--workdir %s: a path in the image begins with /", o->workdir);
	return r;
}

static void set_list(json_t *o, const char *key, char *const *list, const char *suffix)
{
	json_t *a = json_array();
	for (char *const *p = list; p && *p; p++) {
		AUTO_FREE char *text = xasprintf("%s%s", *p, strchr(*p, '/') ? "" : suffix);
		(void) json_array_append_new(a, json_string(text));
	}
	(void) json_object_set_new(o, key, a);
}

int image_config_json(const ImageConfigOptions *o, json_t *ret, Err *err)
{
	json_t *cmd = NULL, *entrypoint = NULL;
	int r = check(o, err);
	if (r == 0)
		r = command_words("cmd", o->cmd ? o->cmd : "", &cmd, err);
	if (r == 0)
		r = command_words("entrypoint", o->entrypoint ? o->entrypoint : "", &entrypoint, err);
	if (r < 0) {
		json_decref(cmd);
		return r;
	}
	(void) json_object_set_new(ret, "cmd", cmd);
	(void) json_object_set_new(ret, "entrypoint", entrypoint);
	(void) json_object_set_new(ret, "arch", json_string(o->arch ? o->arch : ""));
	(void) json_object_set_new(ret, "user", json_string(o->user ? o->user : ""));
	(void) json_object_set_new(ret, "workdir", json_string(o->workdir ? o->workdir : ""));
	set_list(ret, "env", o->env, "");
	set_list(ret, "ports", o->port, "/tcp");
	set_list(ret, "volumes", o->volume, "");
	set_list(ret, "labels", o->label, "");
	return 0;
}

int image_config_query(const ImageConfigOptions *o, Buf *url, Err *err)
{
	static const struct {
		const char *field, *parameter;
	} names[] = { { "cmd", "cmd" }, { "entrypoint", "entrypoint" }, { "env", "env" }, { "ports", "port" }, { "user", "user" },
		{ "workdir", "workdir" }, { "arch", "arch" }, { "volumes", "volume" }, { "labels", "label" } };
	json_t *all = json_object(), *item;
	size_t j;
	int r = image_config_json(o, all, err);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(names); i++) {
		json_t *v = json_object_get(all, names[i].field);
		if (json_is_string(v)) {
			http_url_query(url, names[i].parameter, *json_string_value(v) ? json_string_value(v) : NULL);
		} else if (i < 2) { /* commands travel as one JSON array */
			AUTO_FREE char *text = json_array_size(v) ? json_dumps(v, JSON_COMPACT) : NULL;
			http_url_query(url, names[i].parameter, text);
		} else {
			json_array_foreach(v, j, item)
				http_url_query(url, names[i].parameter, json_string_value(item));
		}
	}
	json_decref(all);
	return r;
}
