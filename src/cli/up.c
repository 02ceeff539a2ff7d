// SPDX-License-Identifier: Apache-2.0
/*
 * How it works: the files are resolved here, the daemon gets the model and does the rest. Detached, the
 * stream of the operation is shown to its end. In the foreground, the logs of the stack are followed
 * after that, and an interrupt (also one while it still starts) stops the stack, a second one
 * kills it. The daemon would go on with the stack in any case: that is why stopping is an operation of
 * its own and not merely the end of this process.
 */
#include <errno.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "cli/building.h"
#include "cli/containers.h"
#include "cli/deploy-ship.h"
#include "cli/follow.h"
#include "cli/operation.h"
#include "cli/origin.h"
#include "cli/project.h"
#include "cli/pulling.h"
#include "cli/signals.h"

typedef struct UpOptions {
	bool detach, wait, force_recreate, no_recreate, no_deps, no_start, remove_orphans, renew_anon_volumes;
	bool no_ship;
	bool always_recreate_deps, abort_on_exit, abort_on_failure, no_prefix, no_colour, timestamps, build, no_build;
	int64_t timeout, wait_timeout;
	char **scale, **attach, **no_attach;
	const char *exit_code_from, *ship_from, *pull;
	bool quiet_pull;
} UpOptions;

#define U(member) offsetof(UpOptions, member)
static const Option options[] = {
	{ "detach", 'd', OPTION_FLAG, U(detach), NULL, "Return when everything has been started, in order", NULL },
	{ "wait", 0, OPTION_FLAG, U(wait), NULL, "Return when everything is healthy or running; implies -d", NULL },
	{ "wait-timeout", 0, OPTION_NUMBER, U(wait_timeout), "SECONDS", "Give up waiting after this time", NULL },
	{ "force-recreate", 0, OPTION_FLAG, U(force_recreate), NULL, "Recreate containers that have not changed", NULL },
	{ "no-recreate", 0, OPTION_FLAG, U(no_recreate), NULL, "Leave existing containers as they are", NULL },
	{ "always-recreate-deps", 0, OPTION_FLAG, U(always_recreate_deps), NULL, "Recreate dependencies as well", NULL },
	{ "no-deps", 0, OPTION_FLAG, U(no_deps), NULL, "Leave the services' dependencies alone", NULL },
	{ "no-start", 0, OPTION_FLAG, U(no_start), NULL, "Only create containers", NULL },
	{ "remove-orphans", 0, OPTION_FLAG, U(remove_orphans), NULL, "Remove containers of services that are no longer in the file", NULL },
	{ "scale", 0, OPTION_LIST, U(scale), "SERVICE=N", "Run N containers of the service", "service" },
	{ "timeout", 't', OPTION_NUMBER, U(timeout), "SECONDS", "Time to stop before a kill (default: stop_grace_period)", NULL },
	{ "renew-anon-volumes", 'V', OPTION_FLAG, U(renew_anon_volumes), NULL, "New anonymous volumes instead of the old ones", NULL },
	{ "abort-on-container-exit", 0, OPTION_FLAG, U(abort_on_exit), NULL, "Stop everything when a container ends; its exit code is given", NULL },
	{ "abort-on-container-failure", 0, OPTION_FLAG, U(abort_on_failure), NULL, "Stop everything when a container fails", NULL },
	{ "exit-code-from", 0, OPTION_STRING, U(exit_code_from), "SERVICE", "Give this service's exit code; implies --abort-on-container-exit", "service" },
	{ "attach", 0, OPTION_LIST, U(attach), "SERVICE", "Show only these services' logs", "service" },
	{ "no-attach", 0, OPTION_LIST, U(no_attach), "SERVICE", "Do not show these services' logs", "service" },
	{ "no-log-prefix", 0, OPTION_FLAG, U(no_prefix), NULL, "Logs without names", NULL },
	{ "no-color", 0, OPTION_FLAG, U(no_colour), NULL, "Logs without colours", NULL },
	{ "timestamps", 0, OPTION_FLAG, U(timestamps), NULL, "Logs with times", NULL },
	{ "pull", 0, OPTION_CHOICE, U(pull), "POLICY", "Pull images before anything starts, whatever pull_policy says", "always missing never" },
	{ "quiet-pull", 0, OPTION_FLAG, U(quiet_pull), NULL, "Pull without showing how it goes on", NULL },
	{ "build", 0, OPTION_FLAG, U(build), NULL, "Build what has 'build:' first (default: only images that are missing)", NULL },
	{ "no-build", 0, OPTION_FLAG, U(no_build), NULL, "Build nothing, even if an image is missing", NULL },
	{ "ship-from", 0, OPTION_STRING, U(ship_from), "HOST", "Where images come from that the box lacks (default, over ssh: the stead here)", NULL },
	{ "no-ship", 0, OPTION_FLAG, U(no_ship), NULL, "Send no images to the box", NULL },
	{ NULL },
};

static int parse_scale(char *const *list, const Stack *stack, json_t *ret, Err *err)
{
	for (char *const *s = list; s && *s; s++) {
		const char *eq = strchr(*s, '=');
		uint32_t n;
		if (!eq || parse_u32_max(eq + 1, LIMIT_REPLICAS, &n) < 0)
			return err_set(err, -EINVAL, "--scale %s: write SERVICE=N, with N from 0 to %d", *s, LIMIT_REPLICAS);
		AUTO_FREE char *service = xstrndup(*s, (size_t) (eq - *s));
		if (!stack_service(stack, service))
			return err_set(err, -EINVAL, "--scale %s: there is no service '%s'", *s, service);
		(void) json_object_set_new(ret, service, json_integer(n));
	}
	return 0;
}

static int check_services(const Stack *stack, const char *option, char *const *list, Err *err)
{
	for (char *const *s = list; s && *s; s++)
		if (!stack_service(stack, *s))
			return err_set(err, -EINVAL, "--%s %s: there is no such service", option, *s);
	return 0;
}

static int check_options(const Cli *cli, const UpOptions *o)
{
	bool detached = o->detach || o->wait;
	if (o->build && o->no_build)
		return cli_usage(cli, "--build and --no-build contradict each other");
	if (o->force_recreate && o->no_recreate)
		return cli_usage(cli, "--force-recreate and --no-recreate contradict each other");
	if (o->always_recreate_deps && (o->no_recreate || o->no_deps))
		return cli_usage(cli, "--always-recreate-deps contradicts --%s", o->no_recreate ? "no-recreate" : "no-deps");
	if (detached && (o->abort_on_exit || o->abort_on_failure || o->exit_code_from))
		return cli_usage(cli, "--abort-on-container-exit, --abort-on-container-failure and --exit-code-from need the foreground: leave out -d and --wait");
	if (cli->global.json && !detached && !o->no_start)
		return cli_usage(cli, "--json shows the events of the operation: add -d or --wait");
	if (o->wait_timeout >= 0 && !o->wait)
		return cli_usage(cli, "--wait-timeout needs --wait");
	return 0;
}

static json_t *make_body(const UpOptions *o, const Stack *stack, char *const *services, json_t *scale)
{
	json_t *body = json_pack("{s:o, s:o, s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:O}", "model", stack_to_json(stack), "services",
		strv_to_json(services), "wait", o->wait, "no_start", o->no_start, "no_deps", o->no_deps, "force_recreate", o->force_recreate,
		"no_recreate", o->no_recreate, "always_recreate_deps", o->always_recreate_deps, "remove_orphans", o->remove_orphans,
		"renew_anon_volumes", o->renew_anon_volumes, "scale", scale);
	if (o->timeout >= 0)
		(void) json_object_set_new(body, "timeout", json_integer(o->timeout));
	return body;
}

typedef struct Foreground {
	const UpOptions *o;
	bool ended; /* a container whose end ends everything */
	int code;
} Foreground;

static bool on_exit_of(void *user, const char *service, int exit_code)
{
	Foreground *fg = user;
	const UpOptions *o = fg->o;
	bool abort_now = o->abort_on_exit || o->exit_code_from || (o->abort_on_failure && exit_code);
	if (!abort_now || fg->ended)
		return false;
	if (o->exit_code_from && !str_eq(o->exit_code_from, service))
		fg->code = EXIT_DONE;
	else
		fg->code = exit_code;
	fg->ended = true;
	return true;
}

static bool wanted_log(const UpOptions *o, const Stack *stack, char *const *services, const char *name)
{
	const Service *s = stack_service(stack, name);
	if (o->attach)
		return strv_has(o->attach, name);
	return s && s->attach && (!services || strv_has(services, name)) && !strv_has(o->no_attach, name);
}

/* 0 or an exit code. */
static int add_logs(const Cli *cli, Follower *f, const UpOptions *o, const Stack *stack, char *const *services, char ***ret_names)
{
	AUTO_HTTP *client = NULL; /* the operation's own is not read to its end */
	AUTO_ERR err = ERR_INIT;
	json_t *list = NULL, *c;
	size_t i;
	int r = client_open(cli, &client, &err);
	if (r == 0)
		r = containers_list(client, stack->name, true, &list, &err);
	if (r < 0)
		return cli_fail(&err);
	for (i = 0; i < stack->n_services; i++)
		if (wanted_log(o, stack, services, stack->services[i].name))
			strv_add(ret_names, stack->services[i].name);
	json_array_foreach(list, i, c)
	{
		if (r < 0 || !strv_has(*ret_names, container_label(c, LABEL_SERVICE)))
			continue;
		r = follower_add(f, c, &err);
	}
	json_decref(list);
	if (r < 0) {
		cli_warning("%s", err_text(&err));
		fprintf(stderr, "The stack runs; 'stead down' ends it, 'stead logs SERVICE' shows more.\n");
	}
	return 0;
}

/* Stops the stack, kills it at a second interrupt, and shows its logs meanwhile. */
static int bring_down(Follower *f, char *const *services, const UpOptions *o, int code)
{
	json_t *body = json_pack("{s:o}", "services", strv_to_json(services));
	if (o->timeout >= 0)
		(void) json_object_set_new(body, "timeout", json_integer(o->timeout));
	FollowEnd end = follower_finish(f, "stop", body);
	if (end == FOLLOW_INTERRUPTED) {
		fprintf(stderr, "stead: killing the containers\n");
		json_decref(body);
		body = json_pack("{s:o, s:s}", "services", strv_to_json(services), "signal", "SIGKILL");
		end = follower_finish(f, "kill", body);
	}
	json_decref(body);
	if (end == FOLLOW_INTERRUPTED) {
		fprintf(stderr, "stead: no longer waiting; the daemon goes on with it\n");
		return EXIT_INTERRUPTED;
	}
	return end == FOLLOW_FAILED ? EXIT_FAILED : code;
}

static int foreground(const Cli *cli, const UpOptions *o, const Stack *stack, char *const *services, HttpClient *client,
	const json_t *body)
{
	AUTO_FREE char *since = NULL;
	AUTO_STRV char **names = NULL, **closure = NULL;
	const OperationOptions op = { .refused_is_usage = true, .foreground = true };
	int64_t now = time_real();
	since = xasprintf("%lld.%09lld", (long long) (now / NSEC_PER_SEC), (long long) (now % NSEC_PER_SEC));
	const LogOptions log = { .follow = true, .timestamps = o->timestamps, .no_prefix = o->no_prefix, .no_colour = o->no_colour,
		.since = since };
	Foreground fg = { .o = o };
	for (char *const *s = services; s && *s; s++)
		project_with_deps(stack, *s, !o->no_deps, &closure);
	int code = operation_run(cli, client, stack->name, "up", body, &op);
	if (code != EXIT_DONE && code != EXIT_INTERRUPTED) {
		signals_release();
		return code;
	}
	Follower *f = follower_new(cli, stack->name, &log);
	FollowEnd end = FOLLOW_INTERRUPTED;
	if (code == EXIT_DONE) {
		code = add_logs(cli, f, o, stack, services, &names);
		if (!code)
			end = follower_run(f, names, on_exit_of, &fg);
	}
	if (end == FOLLOW_INTERRUPTED && code != EXIT_FAILED) {
		fprintf(stderr, "stead: stopping; press Ctrl-C again to kill\n");
		code = bring_down(f, closure, o, EXIT_INTERRUPTED);
	} else if (end == FOLLOW_STOPPED && fg.ended) {
		fprintf(stderr, "stead: stopping, since a container has ended\n");
		code = bring_down(f, closure, o, fg.code);
	} else if (end == FOLLOW_FAILED) {
		code = EXIT_FAILED;
	}
	follower_free(f);
	signals_release();
	return code;
}

/* Only with routes is an `up` a deploy, of which people ask where it came from. */
static bool has_routes(const Stack *stack)
{
	for (size_t i = 0; i < stack->n_services; i++)
		if (stack->services[i].n_routes)
			return true;
	return false;
}

static int run(Cli *cli, void *values, char **args)
{
	const UpOptions *o = values;
	AUTO_HTTP *client = NULL;
	AUTO_STACK *stack = NULL;
	AUTO_ERR err = ERR_INIT;
	json_t *scale = NULL, *body;
	int code = check_options(cli, o);
	if (!code)
		code = project_load(cli, args, &stack);
	if (code)
		return code;
	char *const from[] = { (char *) o->exit_code_from, NULL };
	scale = json_object();
	if (parse_scale(o->scale, stack, scale, &err) < 0 || check_services(stack, "attach", o->attach, &err) < 0 ||
		check_services(stack, "no-attach", o->no_attach, &err) < 0 || check_services(stack, "exit-code-from", from, &err) < 0) {
		json_decref(scale);
		return cli_usage(cli, "%s", err_text(&err));
	}
	code = o->no_build ? 0 : building_services(cli, stack, args, !o->no_deps, o->build ? BUILD_ALL : BUILD_MISSING, NULL, NULL);
	if (code) {
		json_decref(scale);
		return code;
	}
	stack_drop_builds(stack);
	body = make_body(o, stack, args, scale);
	origin_add(body, has_routes(stack) ? stack->working_dir : NULL);
	json_decref(scale);
	const DeployShip ship = { .from = o->ship_from, .no_ship = o->no_ship };
	code = deploy_ship(cli, stack, args, &ship, body, NULL);
	if (!code)
		code = pulling_services(cli, stack, args, !o->no_deps, o->pull, o->quiet_pull);
	if (!code)
		code = client_open_or_fail(cli, &client);
	if (!code && (o->detach || o->wait || o->no_start)) {
		OperationOptions op = { .refused_is_usage = true };
		if (o->wait_timeout >= 0)
			op.give_up_at = time_mono() + o->wait_timeout * NSEC_PER_SEC;
		code = operation_run(cli, client, stack->name, "up", body, &op);
	} else if (!code) {
		code = foreground(cli, o, stack, args, client, body);
	}
	json_decref(body);
	return code;
}

const Command command_up = {
	.name = "up",
	.operands = "[SERVICE...]",
	.summary = "Start the services of the compose file",
	.text = "Creates and starts what the file says, in the order of depends_on and with its conditions; leaves containers\n"
		"alone that have not changed, recreates those that have. Naming services starts those and what they depend on.\n"
		"Without -d it then shows their logs until all have ended; Ctrl-C stops the stack, a second Ctrl-C kills it.\n"
		"With -d, Ctrl-C only ends the watching: the daemon goes on with what it was asked to do.",
	.options = options,
	.size = sizeof(UpOptions),
	.max = -1,
	.complete = "service",
	.flags = COMMAND_JSON,
	.run = run,
};
