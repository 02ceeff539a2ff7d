// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "base/str.h"
#include "cli/building.h"
#include "cli/client.h"
#include "cli/deploy-ship.h"
#include "cli/deploying.h"
#include "cli/project.h"
#include "cli/pulling.h"

typedef struct DeployOptions {
	bool plan, no_wait, no_build, quiet_pull, no_ship;
	const char *pull;
	int64_t timeout;
	const char *ship_from;
} DeployOptions;

#define D(member) offsetof(DeployOptions, member)
static const Option options[] = {
	{ "plan", 0, OPTION_FLAG, D(plan), NULL, "Only show every step; nothing is done, not even a build", NULL },
	{ "no-wait", 0, OPTION_FLAG, D(no_wait), NULL, "Fail at once where another deploy of the stack is under way", NULL },
	{ "pull", 0, OPTION_CHOICE, D(pull), "POLICY", "Pull images before anything starts, whatever pull_policy says", "always missing never" },
	{ "quiet-pull", 0, OPTION_FLAG, D(quiet_pull), NULL, "Pull without showing how it goes on", NULL },
	{ "no-build", 0, OPTION_FLAG, D(no_build), NULL, "Build nothing: take the images that are there", NULL },
	{ "timeout", 't', OPTION_NUMBER, D(timeout), "SECONDS", "Time to stop before a kill (default: stop_grace_period)", NULL },
	{ "ship-from", 0, OPTION_STRING, D(ship_from), "HOST", "Where images come from that the box lacks (default, over ssh: the stead here)", NULL },
	{ "no-ship", 0, OPTION_FLAG, D(no_ship), NULL, "Send no images to the box", NULL },
	{ NULL },
};

static char **with_build(const Stack *stack)
{
	char **names = NULL;
	for (size_t i = 0; i < stack->n_services; i++)
		if (stack->services[i].build.context)
			strv_add(&names, stack->services[i].name);
	return names;
}

static char **coming_images(const json_t *body)
{
	char **names = NULL;
	json_t *image;
	size_t i;
	json_array_foreach(json_object_get(body, "coming"), i, image)
		strv_add(&names, json_text(image, "name"));
	return names;
}

/* A plan changes nothing, not even what images are here: it tells what would be built and pulled. True: that is all that can be told. */
static bool plan_images(const Cli *cli, const DeployOptions *o, const Stack *stack, char **services, char *const *builds, const json_t *body,
	json_t *rows, int *ret_code)
{
	AUTO_STRV char **coming = coming_images(body);
	const PullingPlan plan = { .policy = o->pull, .builds = builds, .coming = coming, .rows = rows };
	bool lacking = false;
	*ret_code = pulling_plan(cli, stack, services, &plan, &lacking);
	if (!*ret_code && lacking)
		deploying_print_lacking(cli, rows);
	return *ret_code || lacking;
}

static int run(Cli *cli, void *values, char **args)
{
	const DeployOptions *o = values;
	AUTO_STACK *stack = NULL;
	AUTO_STRV char **builds = NULL;
	int code = project_load(cli, args, &stack);
	if (!code && !o->no_build)
		builds = with_build(stack);
	if (!code && !o->plan && builds)
		code = building_services(cli, stack, args, true, BUILD_ALL, NULL, NULL);
	if (stack)
		stack_drop_builds(stack);
	if (code)
		return code;
	json_t *body = json_pack("{s:o, s:b, s:b}", "model", stack_to_json(stack), "plan", o->plan, "no_wait", o->no_wait);
	if (args)
		(void) json_object_set_new(body, "services", strv_to_json(args));
	if (o->timeout >= 0)
		(void) json_object_set_new(body, "timeout", json_integer(o->timeout));
	const DeployShip ship = { .from = o->ship_from, .no_ship = o->no_ship, .plan = o->plan, .deploy = true };
	json_t *before = NULL;
	bool told = false;
	code = deploy_ship(cli, stack, args, &ship, body, &before);
	if (!code && !o->plan)
		code = pulling_services(cli, stack, args, true, o->pull, o->quiet_pull);
	else if (!code) {
		before = before ? before : json_array();
		told = plan_images(cli, o, stack, args, builds, body, before, &code);
	}
	const DeployingOptions d = { .plan = o->plan, .working_dir = stack->working_dir, .before = before };
	if (code || told)
		json_decref(body);
	else
		code = deploying_run(cli, stack->name, "deploy", body, &d);
	json_decref(before);
	return code;
}

const Command command_deploy = {
	.name = "deploy",
	.operands = "[SERVICE...]",
	.summary = "Replace what runs by what the compose file says, losing no request",
	.text = "Makes a release: starts what has changed beside what runs, dependencies first, waits for its health, runs its\n"
		"smoke tests, leads requests to it, lets those in flight end, watches it for a while and then retires the old.\n"
		"Naming services deploys those and what they depend on, and leaves the rest as it runs.\n"
		"To another box (-H ssh://…) images go first that it lacks and that the stead here has, as 'stead ship' sends them.\n"
		"What has 'build:' in the file is built before.\n"
		"Where one of these fails, what was there serves on, and the new is gone; so it is after Ctrl-C, which waits for\n"
		"that (a second Ctrl-C does not). Exit code 1: it failed; 2: it was refused before anything was changed.",
	.options = options,
	.size = sizeof(DeployOptions),
	.max = -1,
	.complete = "service",
	.flags = COMMAND_JSON,
	.run = run,
};
