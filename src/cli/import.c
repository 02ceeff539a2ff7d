// SPDX-License-Identifier: Apache-2.0
#include "base/str.h"
#include "cli/image-config.h"
#include "cli/operation.h"
#include "cli/upload.h"

static const Option options[] = { IMAGE_CONFIG_OPTIONS(0), { NULL } };

static int run(Cli *cli, void *values, char **args)
{
	AUTO_HTTP *client = NULL;
	AUTO_ERR err = ERR_INIT;
	AUTO_BUF url = BUF_INIT;
	Upload u;
	buf_str(&url, "/stead/v1/images/import");
	http_url_query(&url, "name", args[1]);
	if (image_config_query(values, &url, &err) < 0)
		return cli_usage(cli, "%s", err_text(&err));
	int code = upload_open(cli, args[0], &u);
	if (code)
		return code;
	code = client_open_or_fail(cli, &client);
	if (!code && upload_send(&u, client, buf_cstr(&url), &err) < 0)
		code = cli_fail(&err);
	upload_close(&u);
	return code ? code : operation_image(cli, client);
}

const Command command_import = {
	.name = "import",
	.operands = "TAR NAME",
	.summary = "Make an image from an archive of a root file system",
	.text = "TAR is a file or - for standard input; plain, gzip or zstd.",
	.options = options,
	.size = sizeof(ImageConfigOptions),
	.min = 2,
	.max = 2,
	.complete = "file",
	.flags = COMMAND_JSON,
	.run = run,
};
