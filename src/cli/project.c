// SPDX-License-Identifier: Apache-2.0
#include "cli/project.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/client.h"
#include "compose/load.h"

static ComposeOptions compose_options(const Cli *cli, char *const *services)
{
	return (ComposeOptions) {
		.files = cli->global.files,
		.project_dir = cli->global.directory,
		.project_name = cli->global.project,
		.profiles = cli->global.profiles,
		.env_files = cli->global.env_files,
		.services = services,
		.environ = environ,
	};
}

int project_load(const Cli *cli, char *const *services, Stack **ret)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_STRV char **warnings = NULL;
	ComposeOptions o = compose_options(cli, services);
	int r = compose_load(&o, ret, &warnings, &err);
	for (char **w = warnings; w && *w; w++)
		cli_warning("%s", *w);
	if (r < 0) {
		(void) cli_fail(&err);
		return EXIT_USAGE;
	}
	client_note_host(cli, (*ret)->host);
	return 0;
}

int project_host(const Cli *cli, char **ret, Err *err)
{
	ComposeOptions o = compose_options(cli, NULL);
	return compose_host(&o, ret, err);
}

void project_with_deps(const Stack *stack, const char *name, bool deps, char ***ret)
{
	const Service *s = stack_service(stack, name);
	if (!s || strv_has(*ret, name))
		return;
	strv_add(ret, name);
	for (size_t i = 0; deps && i < s->n_depends; i++)
		project_with_deps(stack, s->depends[i].service, deps, ret);
}

int project_load_try(const Cli *cli, Stack **ret, Err *err)
{
	ComposeOptions o = compose_options(cli, NULL);
	return compose_load(&o, ret, NULL, err);
}

char *project_place(const Cli *cli, const char *path, const char *text)
{
	AUTO_ERR err = ERR_INIT;
	ComposeOptions o = compose_options(cli, NULL);
	Stack *unused = NULL;
	o.refused_path = path;
	o.refused_text = text;
	/* A file that came through standard input cannot be read again. */
	bool again = !strv_has(cli->global.files, "-");
	if (again && compose_load(&o, &unused, NULL, &err) < 0 && strstr(err_text(&err), text))
		return xstrdup(err_text(&err));
	stack_free(unused);
	return xasprintf("%s: %s", path, text);
}

int project_name_try(const Cli *cli, char **ret, Err *err)
{
	ComposeOptions o = compose_options(cli, NULL);
	return compose_project_name(&o, ret, err);
}

int project_name(const Cli *cli, char **ret)
{
	AUTO_ERR err = ERR_INIT;
	if (project_name_try(cli, ret, &err) == 0)
		return 0;
	cli_error("%s", err_text(&err));
	fprintf(stderr, "-p NAME picks a stack without its files; 'stead ls' lists the stacks that the daemon has.\n");
	return EXIT_USAGE;
}

bool project_given(const Cli *cli)
{
	return cli->global.project || cli->global.files || !str_empty(getenv("COMPOSE_PROJECT_NAME")) ||
		!str_empty(getenv("COMPOSE_FILE"));
}
