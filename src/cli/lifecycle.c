// SPDX-License-Identifier: Apache-2.0
#include "cli/lifecycle.h"

#include "base/mem.h"
#include "base/str.h"
#include "cli/operation.h"
#include "cli/output.h"

/* 304 (already so) is as good as 204. */
static int one_container(HttpClient *c, const char *name, const Lifecycle *l)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_BUF url = BUF_INIT;
	buf_str(&url, "/containers/");
	http_url_append(&url, name);
	buf_str(&url, l->suffix);
	if (http_call_json(c, l->method, buf_cstr(&url), NULL, NULL, &err) < 0) {
		(void) err_wrap(&err, "%s %s", l->verb, name);
		return cli_fail(&err);
	}
	print_clean_line(name);
	return EXIT_DONE;
}

int lifecycle_apply(const Cli *cli, HttpClient *c, const Targets *t, const Lifecycle *l)
{
	int code = EXIT_DONE;
	const OperationOptions op = { 0 };
	for (char *const *name = t->containers; name && *name; name++) {
		int r = one_container(c, *name, l);
		code = r ? r : code;
	}
	if (t->project && (t->whole || t->services)) {
		json_t *services = json_array(), *body = l->body ? json_copy(l->body) : json_object();
		for (char *const *s = t->services; s && *s; s++)
			(void) json_array_append_new(services, json_string(*s));
		(void) json_object_set_new(body, "services", services);
		int r = operation_run(cli, c, t->project, l->verb, body, &op);
		json_decref(body);
		code = r ? r : code;
	}
	return code;
}

int lifecycle_run(const Cli *cli, char *const *words, const Lifecycle *l)
{
	AUTO_HTTP *client = NULL;
	Targets t;
	int code = client_open_or_fail(cli, &client);
	if (code)
		return code;
	code = targets_find(cli, client, words, &t);
	if (code)
		return code;
	code = lifecycle_apply(cli, client, &t, l);
	targets_done(&t);
	return code;
}
