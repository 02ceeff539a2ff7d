// SPDX-License-Identifier: Apache-2.0
#include "base/str.h"
#include "cli/client.h"
#include "cli/output.h"

typedef struct RmiOptions {
	bool force, no_prune;
} RmiOptions;

static const Option options[] = {
	{ "force", 'f', OPTION_FLAG, offsetof(RmiOptions, force), NULL, "By its id also when it has several names: all of them", NULL },
	{ "no-prune", 0, OPTION_FLAG, offsetof(RmiOptions, no_prune), NULL, "Keep what it was made from", NULL },
	{ NULL },
};

static int remove_image(HttpClient *c, const RmiOptions *o, const char *name, bool json)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_BUF url = BUF_INIT;
	json_t *answer = NULL, *item;
	size_t i;
	buf_str(&url, "/images/");
	http_url_append(&url, name);
	http_url_query(&url, "force", o->force ? "1" : NULL);
	http_url_query(&url, "noprune", o->no_prune ? "1" : NULL);
	if (http_call_json(c, "DELETE", buf_cstr(&url), NULL, &answer, &err) < 0)
		return cli_fail(&err);
	client_show_warning(c);
	json_array_foreach(answer, i, item)
	{
		AUTO_BUF line = BUF_INIT;
		if (json) {
			print_json(json_incref(item));
			continue;
		}
		bool untagged = *json_text(item, "Untagged");
		buf_str(&line, untagged ? "Untagged: " : "Deleted: ");
		buf_str(&line, json_text(item, untagged ? "Untagged" : "Deleted"));
		print_clean_line(buf_cstr(&line));
	}
	json_decref(answer);
	return EXIT_DONE;
}

static int run(Cli *cli, void *values, char **args)
{
	AUTO_HTTP *client = NULL;
	int code = client_open_or_fail(cli, &client);
	if (code)
		return code;
	for (char **a = args; *a; a++)
		code |= remove_image(client, values, *a, cli->global.json);
	return code;
}

const Command command_rmi = {
	.name = "rmi",
	.operands = "IMAGE...",
	.summary = "Remove images",
	.text = "-f is --force here.",
	.options = options,
	.size = sizeof(RmiOptions),
	.min = 1,
	.max = -1,
	.complete = "image",
	.flags = COMMAND_JSON,
	.run = run,
};
