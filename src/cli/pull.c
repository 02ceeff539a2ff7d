// SPDX-License-Identifier: Apache-2.0
/*
 * A name that is a service of the project is that service, as in docker compose; any other is an image. So `stead pull web` in a project with
 * a service `web` pulls what that service uses, and `stead pull redis:7` an image anywhere.
 */
#include <errno.h>

#include "base/str.h"
#include "base/time.h"
#include "cli/output.h"
#include "cli/project.h"
#include "cli/pulling.h"

typedef struct PullOptions {
	bool quiet, include_deps, ignore_failures;
	const char *platform, *policy;
} PullOptions;

#define P(member) offsetof(PullOptions, member)
static const Option options[] = {
	{ "quiet", 'q', OPTION_FLAG, P(quiet), NULL, "Print the names of what was pulled only", NULL },
	{ "platform", 0, OPTION_STRING, P(platform), "OS/ARCH", "Of an image for several: which one (default: this machine's)", NULL },
	{ "policy", 0, OPTION_CHOICE, P(policy), "POLICY", "Of services: pull always, or what is missing (default: always)", "always missing" },
	{ "include-deps", 0, OPTION_FLAG, P(include_deps), NULL, "Also for the services that those depend on", NULL },
	{ "ignore-pull-failures", 0, OPTION_FLAG, P(ignore_failures), NULL, "Go on with the next", NULL },
	{ NULL },
};

typedef struct Wish {
	const char *ref, *platform; /* borrowed */
} Wish;

typedef struct Wishes {
	Wish *items;
	size_t n;
} Wishes;

static void add_wish(Wishes *w, const char *ref, const char *platform)
{
	for (size_t i = 0; i < w->n; i++)
		if (str_eq(w->items[i].ref, ref) && str_eq(w->items[i].platform, platform))
			return;
	*array_append(w->items, w->n) = (Wish) { ref, platform };
}

static void add_service(Wishes *w, const Stack *stack, const Service *s, const PullOptions *o)
{
	if (!s->image || s->pull_policy == PULL_BUILD || s->pull_policy == PULL_NEVER)
		return;
	add_wish(w, s->image, o->platform ? o->platform : s->platform);
	for (size_t i = 0; o->include_deps && i < s->n_depends; i++) {
		const Service *d = stack_service(stack, s->depends[i].service);
		if (d)
			add_service(w, stack, d, o);
	}
}

static int is_here(HttpClient *c, const char *ref, bool *ret, Err *err)
{
	AUTO_BUF url = BUF_INIT;
	json_t *image = NULL;
	buf_str(&url, "/images/");
	http_url_append(&url, ref);
	buf_str(&url, "/json");
	int r = client_get(c, buf_cstr(&url), JSON_OBJECT, &image, err);
	json_decref(image);
	*ret = r >= 0;
	return r < 0 && http_status(c) != 404 ? r : 0;
}

static int pull_one(const Cli *cli, HttpClient *c, const Wish *w, const PullOptions *o, Err *err)
{
	AUTO_FREE char *status = NULL;
	Progress p;
	bool here = false;
	if (str_eq(o->policy, "missing")) {
		int r = is_here(c, w->ref, &here, err);
		if (r < 0 || here)
			return r;
		err_done(err);
	}
	progress_init(&p, o->quiet && !cli->global.json ? PROGRESS_QUIET : cli_progress_mode(cli), STDERR_FILENO, NULL);
	AUTO_FREE char *text = xasprintf("pulling %s", w->ref);
	progress_text(&p, text, time_mono());
	int r = pulling_image(c, w->ref, w->platform, &p, &status, err);
	progress_end(&p, time_mono());
	progress_done(&p);
	if (r >= 0 && !cli->global.json)
		print_clean_line(o->quiet ? w->ref : status ? status : w->ref);
	return r < 0 ? err_wrap(err, "pull %s", w->ref) : 0;
}

static int pull_all(const Cli *cli, const Wishes *w, const PullOptions *o)
{
	AUTO_HTTP *client = NULL;
	int code = client_open_or_fail(cli, &client);
	for (size_t i = 0; i < w->n && (!code || o->ignore_failures); i++) {
		AUTO_ERR err = ERR_INIT;
		if (!client && (code = client_open_or_fail(cli, &client)))
			return code;
		if (pull_one(cli, client, &w->items[i], o, &err) >= 0)
			continue;
		/* What is left of the answer is not read. */
		http_client_free(steal_ptr(&client));
		if (o->ignore_failures)
			cli_warning("%s", err_text(&err));
		else
			code = cli_fail(&err);
	}
	return code;
}

static int run(Cli *cli, void *values, char **args)
{
	const PullOptions *o = values;
	AUTO_STACK *stack = NULL;
	AUTO_FREE char *name = NULL;
	AUTO_ERR none = ERR_INIT;
	Wishes w = { 0 };
	/* Without operands, or where there is a project, its services count. No service is named like "redis:7" or "team/app". */
	bool maybe = !args;
	for (char **a = args; a && *a; a++)
		maybe = maybe || !strpbrk(*a, ":/@");
	if (!args || (maybe && (project_given(cli) || project_name_try(cli, &name, &none) == 0))) {
		int code = project_load(cli, NULL, &stack);
		if (code)
			return code;
	}
	for (size_t i = 0; !args && i < stack->n_services; i++)
		add_service(&w, stack, &stack->services[i], o);
	for (char **a = args; a && *a; a++) {
		const Service *s = stack ? stack_service(stack, *a) : NULL;
		if (s)
			add_service(&w, stack, s, o);
		else
			add_wish(&w, *a, o->platform);
	}
	int code = pull_all(cli, &w, o);
	free(w.items);
	return code;
}

const Command command_pull = {
	.name = "pull",
	.operands = "[SERVICE|IMAGE...]",
	.summary = "Pull images from registries",
	.text = "A name that is a service of the project stands for that service's image, any other for an image; without names it is all\n"
		"services. Layers that are here are not fetched. Credentials: see 'stead login'.",
	.options = options,
	.size = sizeof(PullOptions),
	.max = -1,
	.complete = "service",
	.flags = COMMAND_JSON,
	.run = run,
};
