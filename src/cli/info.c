// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "base/str.h"
#include "cli/client.h"
#include "cli/human.h"
#include "cli/output.h"
#include "cli/term.h"

static void field(const char *title, const char *text)
{
	AUTO_BUF b = BUF_INIT;
	if (!*text)
		return;
	term_clean(&b, text);
	printf("%s: %s\n", title, buf_cstr(&b));
}

static void number(const char *title, const json_t *info, const char *key)
{
	if (json_object_get(info, key))
		printf("%s: %lld\n", title, (long long) json_number(info, key));
}

static int run(Cli *cli, void *values, char **args)
{
	AUTO_HTTP *client = NULL;
	AUTO_ERR err = ERR_INIT;
	json_t *info = NULL, *warning;
	size_t i;
	int code = client_open_or_fail(cli, &client);
	if (code)
		return code;
	if (client_get(client, "/info", JSON_OBJECT, &info, &err) < 0)
		return cli_fail(&err);
	if (cli->global.json) {
		print_json(info);
		return EXIT_DONE;
	}
	AUTO_FREE char *memory = human_bytes_binary(json_number(info, "MemTotal"));
	number("Containers", info, "Containers");
	number(" Running", info, "ContainersRunning");
	number(" Paused", info, "ContainersPaused");
	number(" Stopped", info, "ContainersStopped");
	number("Images", info, "Images");
	field("Daemon Version", json_text(info, "ServerVersion"));
	field("Storage Driver", json_text(info, "Driver"));
	field("Logging Driver", json_text(info, "LoggingDriver"));
	field("Cgroup Driver", json_text(info, "CgroupDriver"));
	field("Cgroup Version", json_text(info, "CgroupVersion"));
	field("Default Runtime", json_text(info, "DefaultRuntime"));
	field("Kernel Version", json_text(info, "KernelVersion"));
	field("Operating System", json_text(info, "OperatingSystem"));
	field("Architecture", json_text(info, "Architecture"));
	number("CPUs", info, "NCPU");
	field("Total Memory", memory);
	field("Name", json_text(info, "Name"));
	field("ID", json_text(info, "ID"));
	field("State Directory", json_text(info, "DockerRootDir"));
	fflush(stdout);
	json_array_foreach(json_object_get(info, "Warnings"), i, warning)
		cli_warning("%s", json_string_value(warning) ? json_string_value(warning) : "");
	json_decref(info);
	return EXIT_DONE;
}

const Command command_info = {
	.name = "info",
	.operands = "",
	.summary = "Show what the daemon is and what it has",
	.flags = COMMAND_JSON,
	.run = run,
};
