// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/project.h"
#include "compose/emit.h"

typedef struct ConfigOptions {
	bool quiet, services, images, volumes, networks;
	const char *format, *output, *hash;
} ConfigOptions;

#define C(member) offsetof(ConfigOptions, member)
static const Option options[] = {
	{ "format", 0, OPTION_CHOICE, C(format), "FORMAT", "Output", "yaml json" },
	{ "output", 'o', OPTION_STRING, C(output), "FILE", "Write to a file", "file" },
	{ "quiet", 'q', OPTION_FLAG, C(quiet), NULL, "Only check the files", NULL },
	{ "services", 0, OPTION_FLAG, C(services), NULL, "Only names of services", NULL },
	{ "images", 0, OPTION_FLAG, C(images), NULL, "Only names of images", NULL },
	{ "volumes", 0, OPTION_FLAG, C(volumes), NULL, "Only keys of volumes", NULL },
	{ "networks", 0, OPTION_FLAG, C(networks), NULL, "Only keys of networks", NULL },
	{ "hash", 0, OPTION_OPTIONAL, C(hash), "SERVICE", "Only the services' configuration hashes", "service" },
	{ NULL },
};

static void add_closure(const Stack *s, const char *name, char ***ret)
{
	const Service *svc = stack_service(s, name);
	if (!svc || strv_has(*ret, name))
		return;
	strv_add(ret, name);
	for (size_t i = 0; i < svc->n_depends; i++)
		add_closure(s, svc->depends[i].service, ret);
}

/* The model with the named services and what they depend on. */
static int narrow(Stack **stack, char *const *names, Err *err)
{
	AUTO_STRV char **keep = NULL;
	Stack *smaller = NULL;
	void *next;
	const char *key;
	json_t *service;
	for (char *const *n = names; *n; n++)
		add_closure(*stack, *n, &keep);
	json_t *model = stack_to_json(*stack);
	json_object_foreach_safe(json_object_get(model, "services"), next, key, service)
		if (!strv_has(keep, key))
			(void) json_object_del(json_object_get(model, "services"), key);
	int r = stack_from_json(model, &smaller, NULL, err);
	json_decref(model);
	if (r < 0)
		return r;
	smaller->working_dir = smaller->working_dir ? smaller->working_dir : xstrdup((*stack)->working_dir);
	stack_free(*stack);
	*stack = smaller;
	return 0;
}

/* One of the short forms, a line each; false if none was asked for. */
static bool list(const ConfigOptions *o, const Stack *s, char *const *names, Buf *out)
{
	AUTO_STRV char **images = NULL;
	if (!o->services && !o->images && !o->volumes && !o->networks && !o->hash)
		return false;
	for (size_t i = 0; o->services && i < s->n_services; i++)
		buf_printf(out, "%s\n", s->services[i].name);
	for (size_t i = 0; o->images && i < s->n_services; i++) {
		const char *image = s->services[i].image;
		if (image && !strv_has(images, image))
			strv_add(&images, image);
	}
	for (char **image = images; image && *image; image++)
		buf_printf(out, "%s\n", *image);
	for (size_t i = 0; o->volumes && i < s->n_volumes; i++)
		buf_printf(out, "%s\n", s->volumes[i].key);
	for (size_t i = 0; o->networks && i < s->n_networks; i++)
		buf_printf(out, "%s\n", s->networks[i].key);
	for (size_t i = 0; o->hash && i < s->n_services; i++) {
		char hex[65];
		const char *name = s->services[i].name;
		bool wanted = str_empty(o->hash) || str_eq(o->hash, "*") ? !names || strv_has(names, name) : str_eq(o->hash, name);
		if (!wanted)
			continue;
		service_hash(s, &s->services[i], hex);
		buf_printf(out, "%s %s\n", name, hex);
	}
	return true;
}

static char *whole(const ConfigOptions *o, const Stack *s)
{
	if (!str_eq(o->format, "json"))
		return stack_to_yaml(s);
	json_t *model = stack_to_json(s);
	AUTO_FREE char *text = json_dumps(model, JSON_INDENT(2) | JSON_SORT_KEYS);
	json_decref(model);
	return xasprintf("%s\n", text ? text : "{}");
}

static int run(Cli *cli, void *values, char **args)
{
	ConfigOptions *o = values;
	AUTO_STACK *stack = NULL;
	AUTO_ERR err = ERR_INIT;
	AUTO_BUF out = BUF_INIT;
	/* "--hash '*'", as compose takes it, is no service. */
	bool star = o->hash && args && str_eq(args[0], "*");
	char **names = star ? NULL : args;
	if (cli->global.json && o->format && !str_eq(o->format, "json"))
		return cli_usage(cli, "--json and --format %s contradict each other", o->format);
	if (cli->global.json)
		o->format = "json";
	int code = project_load(cli, names, &stack);
	if (code)
		return code;
	if (!str_empty(o->hash) && !str_eq(o->hash, "*") && !stack_service(stack, o->hash))
		return cli_usage(cli, "--hash: there is no service '%s'", o->hash);
	if (o->quiet)
		return EXIT_DONE;
	/* A hash is the one that `up` compares, whatever else is in the file. */
	if (names && !o->hash && narrow(&stack, names, &err) < 0)
		return cli_fail(&err);
	if (!list(o, stack, names, &out)) {
		AUTO_FREE char *text = whole(o, stack);
		buf_str(&out, text);
	}
	if (o->output) {
		int r = file_is_special(AT_FDCWD, o->output) ? file_write(AT_FDCWD, o->output, buf_cstr(&out), out.len, 0644) :
								file_write_atomic(AT_FDCWD, o->output, buf_cstr(&out), out.len, 0644, false);
		if (r < 0) {
			(void) err_errno(&err, r, "write %s", o->output);
			return cli_fail(&err);
		}
		return EXIT_DONE;
	}
	(void) fwrite(buf_cstr(&out), 1, out.len, stdout);
	return EXIT_DONE;
}

const Command command_config = {
	.name = "config",
	.operands = "[SERVICE...]",
	.summary = "Check the compose files and show what they resolve to",
	.text = "Needs no daemon. What it prints is a compose file again, with everything merged, substituted and written in\n"
		"the long form.",
	.options = options,
	.size = sizeof(ConfigOptions),
	.max = -1,
	.complete = "service",
	.flags = COMMAND_JSON,
	.run = run,
};
