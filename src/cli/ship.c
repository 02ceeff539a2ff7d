// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/client.h"
#include "cli/output.h"
#include "cli/shipping.h"
#include "cli/signals.h"

typedef struct ShipOptions {
	const char *to, *from;
} ShipOptions;

#define S(member) offsetof(ShipOptions, member)
static const Option options[] = {
	{ "to", 0, OPTION_STRING, S(to), "HOST", "The box that gets them: ssh://[USER@]HOST[:PORT], unix://PATH or a named host", NULL },
	{ "from", 0, OPTION_STRING, S(from), "HOST", "The box that has them; the one of -H gets them", NULL },
	{ NULL },
};

static int check_options(const Cli *cli, const ShipOptions *o, const ShipSources *sources)
{
	if (!o->to == !o->from)
		return cli_usage(cli, o->to ? "--to and --from contradict each other" : "say where: --to HOST, or --from HOST");
	for (size_t i = 0; o->from && i < sources->n; i++)
		if (sources->items[i].kind != SOURCE_DAEMON)
			return cli_usage(cli, "--from takes images of that box by name; '%s' is here", sources->items[i].path ? sources->items[i].path :
				sources->items[i].names[0]);
	return 0;
}

/* What a compose file in this directory says of its stack's box does not matter here. */
static const char *box_of(const Cli *cli)
{
	const char *host = str_empty(cli->global.host) ? getenv("STEAD_HOST") : cli->global.host;
	return str_empty(host) ? CLIENT_DEFAULT_HOST : host;
}

static void print_end(const Cli *cli, const ShipTotals *t)
{
	json_t *image, *tag;
	size_t i, k;
	if (cli->global.json) {
		print_json(shipping_json(t));
		return;
	}
	AUTO_FREE char *summary = shipping_summary(t);
	json_array_foreach(t->images, i, image)
	{
		json_array_foreach(json_object_get(image, "tags"), k, tag)
			print_clean_line(json_string_value(tag));
		if (!json_array_size(json_object_get(image, "tags")))
			print_clean_line(json_text(image, "id"));
	}
	print_clean_line(summary);
}

static int run(Cli *cli, void *values, char **args)
{
	const ShipOptions *o = values;
	AUTO(ship_sources_done) ShipSources sources = { 0 };
	AUTO_TOTALS totals = { 0 };
	AUTO_ERR err = ERR_INIT;
	if (ship_sources_parse(args, &sources, &err) < 0)
		return cli_refuse(&err);
	int code = check_options(cli, o, &sources);
	for (size_t i = 0; !code && i < sources.n; i++) {
		const ShipOrder order = { .source = &sources.items[i], .from = o->from ? o->from : box_of(cli), .to = o->to ? o->to : box_of(cli),
			.hint = !o->from };
		code = shipping_run(cli, &order, &totals);
	}
	signals_release();
	if (!code)
		print_end(cli, &totals);
	return code;
}

const Command command_ship = {
	.name = "ship",
	.operands = "IMAGE...",
	.summary = "Send images to another box, or fetch them from one, as what differs",
	.text = "Of a layer that the other box lacks only what it cannot make from its own layers is sent, so an image with one\n"
		"changed class arrives as some kilobytes. An image is a name on the box of -H (with --from: on that one), or\n"
		"  FILE.tar, ./FILE, -        a docker or OCI archive, plain or compressed; - is standard input\n"
		"  ./DIRECTORY                an OCI layout\n"
		"  docker:NAME, podman:NAME   an image of Docker or Podman here\n"
		"The last three need no stead daemon here and no root. A connection that is cut is made again, and what had\n"
		"arrived is not sent twice; after Ctrl-C the same command goes on. Exit code 2: refused before anything was sent.",
	.options = options,
	.size = sizeof(ShipOptions),
	.min = 1,
	.max = -1,
	.complete = "image",
	.flags = COMMAND_JSON,
	.run = run,
};
