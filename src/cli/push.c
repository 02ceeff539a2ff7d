// SPDX-License-Identifier: Apache-2.0
#include "base/str.h"
#include "base/time.h"
#include "cli/output.h"
#include "cli/pulling.h"

typedef struct PushOptions {
	bool quiet, all_tags;
} PushOptions;

static const Option options[] = {
	{ "quiet", 'q', OPTION_FLAG, offsetof(PushOptions, quiet), NULL, "Print the names of what was pushed only", NULL },
	{ "all-tags", 'a', OPTION_FLAG, offsetof(PushOptions, all_tags), NULL, "All tags of that repository", NULL },
	{ NULL },
};

static int push_one(const Cli *cli, HttpClient *c, const char *ref, const PushOptions *o, Err *err)
{
	const char *slash = strrchr(ref, '/'), *at = strpbrk(slash ? slash : ref, ":@"); /* a tag or a digest comes behind it */
	AUTO_FREE char *repository = at ? xstrndup(ref, (size_t) (at - ref)) : xstrdup(ref);
	AUTO_FREE char *text = xasprintf("pushing %s", ref);
	Progress p;
	progress_init(&p, o->quiet && !cli->global.json ? PROGRESS_QUIET : cli_progress_mode(cli), STDERR_FILENO, NULL);
	progress_text(&p, text, time_mono());
	int r = pulling_push(c, repository, o->all_tags ? NULL : at ? at + 1 : "latest", &p, err);
	progress_end(&p, time_mono());
	progress_done(&p);
	if (r >= 0 && !cli->global.json)
		print_clean_line(ref);
	return r < 0 ? err_wrap(err, "push %s", ref) : 0;
}

static int run(Cli *cli, void *values, char **args)
{
	const PushOptions *o = values;
	AUTO_HTTP *client = NULL;
	AUTO_ERR err = ERR_INIT;
	for (char **a = args; *a; a++) {
		const char *slash = strrchr(*a, '/');
		if (o->all_tags && strpbrk(slash ? slash : *a, ":@"))
			return cli_usage(cli, "'%s': with --all-tags the name has no tag and no digest", *a);
	}
	int code = client_open_or_fail(cli, &client);
	for (char **a = args; !code && *a; a++)
		if (push_one(cli, client, *a, o, &err) < 0)
			code = cli_fail(&err);
	return code;
}

const Command command_push = {
	.name = "push",
	.operands = "IMAGE...",
	.summary = "Push images to registries",
	.text = "The name says where to: 'stead push registry.example/team/app:1'. Layers that the registry has are not sent. The tag changes last,\n"
		"so a push that fails changes nothing. NAME@DIGEST puts back what came by that digest. Credentials: see 'stead login'.",
	.options = options,
	.size = sizeof(PushOptions),
	.min = 1,
	.max = -1,
	.complete = "image",
	.flags = COMMAND_JSON,
	.run = run,
};
