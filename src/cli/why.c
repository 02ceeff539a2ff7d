// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "cli/client.h"
#include "cli/human.h"
#include "cli/output.h"
#include "cli/project.h"

/* A service's image, where the compose file can be read; else the word is an image. */
static char *image_of(const Cli *cli, const char *word)
{
	AUTO_STACK *stack = NULL;
	if (strpbrk(word, ":/@") || project_load_try(cli, &stack, NULL) < 0)
		return xstrdup(word);
	const Service *svc = stack_service(stack, word);
	return xstrdup(svc ? svc->image : word);
}

static void print_step(const json_t *s)
{
	const json_t *changes = json_object_get(s, "changes"), *change, *seconds = json_object_get(s, "seconds");
	const char *text = json_text(s, "text"), *reason = json_text(s, "reason"), *stage = json_text(s, "stage");
	bool cached = json_is_true(json_object_get(s, "cached"));
	size_t i;
	AUTO_BUF raw = BUF_INIT;
	AUTO_FREE char *bytes = format_bytes(json_number(s, "bytes"));
	buf_printf(&raw, "%-7s ", cached ? "cached" : "built");
	if (cached)
		buf_printf(&raw, "%18s  ", "");
	else
		buf_printf(&raw, "%7.1fs %9s  ", json_is_number(seconds) ? json_number_value(seconds) : 0.0, bytes);
	buf_printf(&raw, "line %-4lld %s%s%.*s", (long long) json_number(s, "line"), stage, *stage ? ": " : "", (int) strcspn(text, "\n"), text);
	print_clean_line(buf_cstr(&raw));
	if (!cached && *reason) {
		AUTO_FREE char *line = xasprintf("        because %s", reason);
		print_clean_line(line);
	}
	json_array_foreach((json_t *) changes, i, change)
	{
		AUTO_FREE char *line = xasprintf("          %s", json_is_string(change) ? json_string_value(change) : json_text(change, "path"));
		print_clean_line(line);
	}
}

static int show(const Cli *cli, HttpClient *client, const char *image)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_BUF url = BUF_INIT;
	json_t *o = NULL, *step;
	size_t i;
	buf_str(&url, "/stead/v1/builds/");
	http_url_append(&url, image);
	buf_str(&url, "/why");
	if (client_get(client, buf_cstr(&url), JSON_OBJECT, &o, &err) < 0)
		return cli_fail(&err);
	if (cli->global.json) {
		print_json(o);
		return EXIT_DONE;
	}
	AUTO_FREE char *ago = human_ago(json_number(o, "built") * NSEC_PER_SEC, time_real());
	AUTO_FREE char *head = xasprintf("%s, built %s", image, ago);
	print_clean_line(head);
	json_array_foreach(json_object_get(o, "why"), i, step)
		print_step(step);
	json_decref(o);
	return EXIT_DONE;
}

static int show_all(const Cli *cli, HttpClient *client)
{
	AUTO_STACK *stack = NULL;
	int code = project_load(cli, NULL, &stack);
	bool any = false;
	for (size_t i = 0; !code && i < stack->n_services; i++)
		if (stack->services[i].build.context) {
			any = true;
			code = show(cli, client, stack->services[i].image);
		}
	if (!code && !any)
		return cli_usage(cli, "no service of the compose file has 'build:'; name an image");
	return code;
}

static int run(Cli *cli, void *values, char **args)
{
	AUTO_HTTP *client = NULL;
	int code = client_open_or_fail(cli, &client);
	if (code || !args)
		return code ? code : show_all(cli, client);
	AUTO_FREE char *image = image_of(cli, args[0]);
	return show(cli, client, image);
}

const Command command_why = {
	.name = "why",
	.operands = "[SERVICE|IMAGE]",
	.summary = "Say what the last build of an image did anew, and why",
	.text = "For each step of the last build: whether it came from the cache, or which file or instruction kept it from that, and\n"
		"what it cost. Without an operand: of all services that have 'build:'.",
	.max = 1,
	.complete = "service",
	.flags = COMMAND_JSON,
	.run = run,
};
