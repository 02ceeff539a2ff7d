// SPDX-License-Identifier: Apache-2.0
#include <sys/utsname.h>

#include "base/str.h"
#include "cli/client.h"
#include "cli/output.h"
#include "cli/term.h"

typedef struct VersionOptions {
	bool brief;
	const char *format;
} VersionOptions;

static const Option options[] = {
	{ "short", 0, OPTION_FLAG, offsetof(VersionOptions, brief), NULL, "Only this program's number; no daemon is asked", NULL },
	{ "format", 0, OPTION_CHOICE, offsetof(VersionOptions, format), "FORMAT", "Output", "text json" },
	{ NULL },
};

static void print_server(const json_t *v)
{
	static const struct {
		const char *title, *key;
	} fields[] = { { "Version", "Version" }, { "API version", "ApiVersion" }, { "Minimum API version", "MinAPIVersion" }, { "OS", "Os" },
		{ "Architecture", "Arch" }, { "Kernel", "KernelVersion" } };
	printf("Daemon:\n");
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		AUTO_BUF text = BUF_INIT;
		term_clean(&text, json_text(v, fields[i].key));
		if (text.len)
			printf(" %-20s %s\n", fields[i].title, buf_cstr(&text));
	}
}

static int run(Cli *cli, void *values, char **args)
{
	const VersionOptions *o = values;
	AUTO_HTTP *client = NULL;
	AUTO_ERR err = ERR_INIT;
	json_t *server = NULL;
	struct utsname u;
	bool json = cli->global.json || str_eq(o->format, "json");
	if (o->brief) {
		print_clean_line(STEAD_VERSION);
		return EXIT_DONE;
	}
	(void) uname(&u);
	int code = client_open_or_fail(cli, &client);
	if (!code && client_get(client, "/version", JSON_OBJECT, &server, &err) < 0)
		code = cli_fail(&err);
	json_t *mine = json_pack("{s:s, s:s, s:s}", "Version", STEAD_VERSION, "Os", "linux", "Arch", u.machine);
	if (json) {
		print_json(json_pack("{s:O, s:O?}", "Client", mine, "Server", server));
	} else {
		printf("Client:\n %-20s %s\n %-20s %s\n", "Version", STEAD_VERSION, "Architecture", u.machine);
		if (server)
			print_server(server);
	}
	json_decref(mine);
	json_decref(server);
	return code;
}

const Command command_version = {
	.name = "version",
	.operands = "",
	.summary = "Show the versions of this program and of the daemon",
	.options = options,
	.size = sizeof(VersionOptions),
	.flags = COMMAND_JSON,
	.run = run,
};
