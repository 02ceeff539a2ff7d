// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "base/str.h"
#include "cli/confirm.h"
#include "cli/lifecycle.h"
#include "cli/term.h"

typedef struct RmOptions {
	bool force, stop, volumes;
} RmOptions;

#define R(member) offsetof(RmOptions, member)
static const Option options[] = {
	{ "force", 'f', OPTION_FLAG, R(force), NULL, "Do not ask; a container named outright may be running", NULL },
	{ "stop", 's', OPTION_FLAG, R(stop), NULL, "Stop them first", NULL },
	{ "volumes", 'v', OPTION_FLAG, R(volumes), NULL, "Also remove their anonymous volumes", NULL },
	{ NULL },
};

/* The names of what an operation on these services would remove. */
static int removable(HttpClient *c, const Targets *t, const RmOptions *o, Buf *names, Err *err)
{
	json_t *list = NULL, *item;
	size_t i;
	int r = containers_list(c, t->project, true, &list, err);
	if (r < 0)
		return r;
	json_array_foreach(list, i, item)
	{
		const char *state = json_text(item, "State");
		bool running = str_eq(state, "running") || str_eq(state, "restarting") || str_eq(state, "paused");
		if (!t->whole && !strv_has(t->services, container_label(item, LABEL_SERVICE)))
			continue;
		if (running && !o->stop)
			continue;
		buf_str(names, names->len ? ", " : "");
		term_clean(names, container_name(item));
	}
	json_decref(list);
	return 0;
}

static int ask(const Cli *cli, HttpClient *c, const Targets *t, const RmOptions *o, bool *ret_nothing)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_BUF names = BUF_INIT;
	if (!t->project || (!t->whole && !t->services))
		return 0;
	if (removable(c, t, o, &names, &err) < 0)
		return cli_fail(&err);
	*ret_nothing = !names.len;
	if (!names.len) {
		fprintf(stderr, "No stopped containers\n");
		return 0;
	}
	AUTO_FREE char *question = xasprintf("Remove %s?", buf_cstr(&names));
	return o->force ? 0 : confirm(cli, question, "-f");
}

static int run(Cli *cli, void *values, char **args)
{
	const RmOptions *o = values;
	AUTO_HTTP *client = NULL;
	AUTO_BUF suffix = BUF_INIT;
	bool nothing = false;
	Targets t;
	int code = client_open_or_fail(cli, &client);
	if (code)
		return code;
	code = targets_find(cli, client, args, &t);
	if (code)
		return code;
	json_t *body = json_pack("{s:b, s:b}", "stop", o->stop, "volumes", o->volumes);
	http_url_query(&suffix, "force", o->force || o->stop ? "1" : NULL);
	http_url_query(&suffix, "v", o->volumes ? "1" : NULL);
	const Lifecycle l = { .verb = "rm", .method = "DELETE", .suffix = buf_cstr(&suffix), .body = body };
	code = ask(cli, client, &t, o, &nothing);
	if (!code && !(nothing && !t.containers))
		code = lifecycle_apply(cli, client, &t, &l);
	targets_done(&t);
	json_decref(body);
	return code;
}

const Command command_rm = {
	.name = "rm",
	.operands = "[SERVICE|CONTAINER...]",
	.summary = "Remove stopped containers",
	.text = "-f is --force here; write --file, or -f before 'rm', for the compose file.",
	.options = options,
	.size = sizeof(RmOptions),
	.max = -1,
	.complete = "service",
	.flags = COMMAND_JSON,
	.run = run,
};
