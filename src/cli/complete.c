// SPDX-License-Identifier: Apache-2.0
/*
 * For the shell's completion and for checks of the documentation; in no list of commands.
 *
 * `stead __complete KIND` prints the words of a kind, a line each: services, containers … An error is
 * silence: a completion has nowhere to show it. `stead __options` prints every verb and every
 * option with the kind of its value, VERB|--OPTION|-LETTER|KIND|WORDS: the table in data/stead.bash.
 */
#include <stdio.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/commands.h"
#include "cli/containers.h"
#include "cli/output.h"
#include "cli/project.h"
#include "cli/ssh.h"
#include "compose/load.h"

extern char **environ;

static void complete_verbs(const Cli *cli, HttpClient *c)
{
	const Verb *v;
	for (size_t i = 0; (v = verb_at(i)); i++)
		if (!(v->command->flags & COMMAND_HIDDEN))
			print_clean_line(v->name);
}

/* From the file, and from what runs where there is none. */
static void complete_services(const Cli *cli, HttpClient *c)
{
	AUTO_STACK *stack = NULL;
	AUTO_FREE char *project = NULL;
	AUTO_STRV char **seen = NULL;
	json_t *list = NULL, *item;
	size_t i;
	char every[] = "*", *profiles[] = { every, NULL };
	ComposeOptions o = { .files = cli->global.files, .project_dir = cli->global.directory, .project_name = cli->global.project,
		.profiles = profiles, .env_files = cli->global.env_files, .environ = environ };
	if (compose_load(&o, &stack, NULL, NULL) == 0)
		for (i = 0; i < stack->n_services; i++)
			strv_add(&seen, stack->services[i].name);
	else if (c && project_name_try(cli, &project, NULL) == 0 && containers_list(c, project, true, &list, NULL) == 0)
		json_array_foreach(list, i, item)
			if (!strv_has(seen, container_label(item, LABEL_SERVICE)))
				strv_add(&seen, container_label(item, LABEL_SERVICE));
	for (char **s = seen; s && *s; s++)
		print_clean_line(*s);
	json_decref(list);
}

static void complete_containers(const Cli *cli, HttpClient *c)
{
	json_t *list = NULL, *item;
	size_t i;
	if (!c || containers_list(c, NULL, true, &list, NULL) < 0)
		return;
	json_array_foreach(list, i, item)
		print_clean_line(container_name(item));
	json_decref(list);
}

static void complete_both(const Cli *cli, HttpClient *c)
{
	complete_services(cli, c);
	complete_containers(cli, c);
}

static void complete_images(const Cli *cli, HttpClient *c)
{
	json_t *list = NULL, *item, *tag;
	size_t i, j;
	if (!c || client_get(c, "/images/json", JSON_ARRAY, &list, NULL) < 0)
		return;
	json_array_foreach(list, i, item)
		json_array_foreach(json_object_get(item, "RepoTags"), j, tag)
			print_clean_line(json_string_value(tag));
	json_decref(list);
}

static void complete_volumes(const Cli *cli, HttpClient *c)
{
	json_t *answer = NULL, *item;
	size_t i;
	if (!c || client_get(c, "/volumes", JSON_OBJECT, &answer, NULL) < 0)
		return;
	json_array_foreach(json_object_get(answer, "Volumes"), i, item)
		print_clean_line(json_text(item, "Name"));
	json_decref(answer);
}

static void complete_array(HttpClient *c, const char *target, const char *key)
{
	json_t *list = NULL, *item;
	size_t i;
	if (!c || client_get(c, target, JSON_ARRAY, &list, NULL) < 0)
		return;
	json_array_foreach(list, i, item)
		print_clean_line(json_text(item, key));
	json_decref(list);
}

static void complete_networks(const Cli *cli, HttpClient *c)
{
	complete_array(c, "/networks", "Name");
}

static void complete_stacks(const Cli *cli, HttpClient *c)
{
	complete_array(c, "/stead/v1/stacks", "name");
}

static void complete_releases(const Cli *cli, HttpClient *c)
{
	AUTO_FREE char *project = NULL;
	AUTO_BUF url = BUF_INIT;
	json_t *list = NULL, *item;
	size_t i;
	if (!c || project_name_try(cli, &project, NULL) < 0)
		return;
	client_stack_url(&url, project, "releases");
	if (client_get(c, buf_cstr(&url), JSON_ARRAY, &list, NULL) < 0)
		return;
	json_array_foreach(list, i, item)
		printf("%lld\n", (long long) json_number(item, "number"));
	json_decref(list);
}

static int run_complete(Cli *cli, void *values, char **args)
{
	static const struct {
		const char *kind;
		void (*complete)(const Cli *cli, HttpClient *c);
	} kinds[] = {
		{ "command", complete_verbs }, { "service", complete_both }, { "container", complete_containers }, { "image", complete_images },
		{ "volume", complete_volumes }, { "network", complete_networks }, { "stack", complete_stacks },
		{ "release", complete_releases },
	};
	AUTO_HTTP *client = NULL;
	ssh_never_ask();
	(void) client_open(cli, &client, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (str_eq(kinds[i].kind, args[0]))
			kinds[i].complete(cli, client);
	return EXIT_DONE;
}

static void print_options(const char *verb, OptionTable table)
{
	static const char *const kinds[] = { "flag", "string", "list", "number", "choice", "optional" };
	for (const Option *o = table; o && o->name; o++) {
		printf("%s|--%s|", verb, o->name);
		if (o->letter)
			printf("-%c", o->letter);
		printf("|%s|%s\n", kinds[o->kind], o->complete ? o->complete : "");
	}
}

static int run_options(Cli *cli, void *values, char **args)
{
	const Verb *v;
	print_options("", global_options);
	for (size_t i = 0; (v = verb_at(i)); i++) {
		if (v->command->flags & COMMAND_HIDDEN)
			continue;
		printf("%s|||operands|%s\n", v->name, v->command->complete ? v->command->complete : "");
		print_options(v->name, v->command->options);
	}
	return EXIT_DONE;
}

const Command command_complete = {
	.name = "__complete",
	.operands = "KIND",
	.summary = "Words for the shell's completion",
	.min = 1,
	.max = 1,
	.flags = COMMAND_HIDDEN,
	.run = run_complete,
};

const Command command_options = {
	.name = "__options",
	.operands = "",
	.summary = "All verbs and options",
	.flags = COMMAND_HIDDEN,
	.run = run_options,
};
