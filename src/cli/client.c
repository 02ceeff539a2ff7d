// SPDX-License-Identifier: Apache-2.0
#include "cli/client.h"

#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/host.h"
#include "cli/project.h"
#include "cli/ssh.h"

void client_note_host(const Cli *cli, const char *host)
{
	cli->file_host->known = true;
	str_set(&cli->file_host->host, host);
}

/* And whose word it is, for errors. */
static int find_host(const Cli *cli, const char **ret, const char **ret_origin, Err *err)
{
	const char *host = cli->global.host;
	*ret_origin = "-H";
	if (str_empty(host)) {
		host = getenv("STEAD_HOST");
		*ret_origin = "STEAD_HOST";
	}
	if (str_empty(host) && !cli->file_host->known) {
		AUTO_FREE char *said = NULL;
		int r = project_host(cli, &said, err);
		if (r < 0)
			return err_wrap(err, "which machine is meant is not clear (-H chooses one)");
		client_note_host(cli, said);
	}
	if (str_empty(host)) {
		host = cli->file_host->host;
		*ret_origin = "x-stead.host";
	}
	*ret = str_empty(host) ? CLIENT_DEFAULT_HOST : host;
	return 0;
}

static int resolve(const char *host, const char *origin, char **ret_url, HostAddress *ret, Err *err)
{
	AUTO_FREE char *url = NULL;
	int r = host_resolve(host, &url, err);
	if (r == 0)
		r = host_parse(url, ret, err);
	if (r < 0)
		return origin ? err_wrap(err, "%s", origin) : r;
	*ret_url = steal_ptr(&url);
	return 0;
}

int client_host(const Cli *cli, char **ret, Err *err)
{
	AUTO_HOST a = { 0 };
	const char *host, *origin;
	int r = find_host(cli, &host, &origin, err);
	return r < 0 ? r : resolve(host, origin, ret, &a, err);
}

static int open_host(const char *host, const char *origin, HttpClient **ret, Err *err)
{
	AUTO_HOST a = { 0 };
	AUTO_FREE char *url = NULL;
	int r = resolve(host, origin, &url, &a, err);
	if (r < 0)
		return r;
	return a.ssh ? ssh_open(&a, url, ret, err) : http_client_connect(a.path, ret, err);
}

int client_open_host(const Cli *cli, const char *host, HttpClient **ret, Err *err)
{
	return open_host(host, NULL, ret, err);
}

int client_open(const Cli *cli, HttpClient **ret, Err *err)
{
	const char *host, *origin;
	int r = find_host(cli, &host, &origin, err);
	return r < 0 ? r : open_host(host, origin, ret, err);
}

int client_open_or_fail(const Cli *cli, HttpClient **ret)
{
	AUTO_ERR err = ERR_INIT;
	return client_open(cli, ret, &err) < 0 ? cli_refuse(&err) : 0;
}

static int check_type(const char *target, json_type type, json_t **value, Err *err)
{
	if (*value && json_typeof(*value) == type)
		return 0;
	json_decref(*value);
	*value = NULL;
	return err_set(err, -EPROTO, "the daemon's answer to %.*s is not a JSON %s; is the socket really stead's?",
		(int) strcspn(target, "?"), target, type == JSON_ARRAY ? "array" : "object");
}

int client_get(HttpClient *c, const char *target, json_type type, json_t **ret, Err *err)
{
	json_t *value = NULL;
	int r = http_call_json(c, "GET", target, NULL, &value, err);
	if (r < 0)
		return r;
	r = check_type(target, type, &value, err);
	if (r == 0)
		*ret = value;
	return r;
}

int client_post(HttpClient *c, const char *target, const json_t *body, json_t **ret, Err *err)
{
	json_t *value = NULL;
	int r = http_call_json(c, "POST", target, body, &value, err);
	if (r < 0)
		return r;
	if (ret)
		r = check_type(target, JSON_OBJECT, &value, err);
	if (ret && r == 0)
		*ret = value;
	else
		json_decref(value);
	return r < 0 ? r : 0;
}

void client_stack_url(Buf *url, const char *stack, const char *rest)
{
	buf_str(url, "/stead/v1/stacks/");
	http_url_append(url, stack);
	buf_printf(url, "/%s", rest);
}

json_t *strv_to_json(char *const *list)
{
	json_t *a = json_array();
	for (char *const *s = list; s && *s; s++)
		(void) json_array_append_new(a, json_string(*s));
	return a;
}

void client_show_warning(const HttpClient *c)
{
	const char *text = http_response_header(c, "X-Stead-Warning");
	if (text)
		cli_warning("%s", text);
}

const char *json_text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s ? s : "";
}

int64_t json_number(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);
	return json_is_real(v) ? (int64_t) json_real_value(v) : (int64_t) json_integer_value(v);
}

void filter_add(json_t *filters, const char *key, const char *value)
{
	json_t *list = json_object_get(filters, key);
	if (!list) {
		list = json_array();
		(void) json_object_set_new(filters, key, list);
	}
	(void) json_array_append_new(list, json_string(value));
}

void filter_query(Buf *url, const json_t *filters)
{
	if (!json_object_size(filters))
		return;
	AUTO_FREE char *text = json_dumps(filters, JSON_COMPACT);
	http_url_query(url, "filters", text);
}

int filter_parse(json_t *filters, const char *text, Err *err)
{
	const char *eq = strchr(text, '=');
	if (!eq || eq == text || !eq[1])
		return err_set(err, -EINVAL, "--filter %s: a filter is written NAME=VALUE", text);
	if (!str_is_utf8(text, strlen(text)))
		return err_set(err, -EINVAL, "--filter: not UTF-8");
	AUTO_FREE char *key = xstrndup(text, (size_t) (eq - text));
	filter_add(filters, key, eq + 1);
	return 0;
}

int client_list(const Cli *cli, const char *path, char *const *filters, json_type type, json_t **ret)
{
	AUTO_HTTP *client = NULL;
	AUTO_ERR err = ERR_INIT;
	AUTO_BUF url = BUF_INIT;
	json_t *parsed = json_object();
	int code = 0;
	for (; !code && filters && *filters; filters++)
		if (filter_parse(parsed, *filters, &err) < 0)
			code = cli_usage(cli, "%s", err_text(&err));
	buf_str(&url, path);
	filter_query(&url, parsed);
	json_decref(parsed);
	if (!code)
		code = client_open_or_fail(cli, &client);
	if (code)
		return code;
	return client_get(client, buf_cstr(&url), type, ret, &err) < 0 ? cli_fail(&err) : 0;
}
