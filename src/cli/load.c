// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "base/str.h"
#include "cli/output.h"
#include "cli/upload.h"

typedef struct LoadOptions {
	const char *input;
	bool quiet;
} LoadOptions;

static const Option options[] = {
	{ "input", 'i', OPTION_STRING, offsetof(LoadOptions, input), "FILE", "Read from a file instead of standard input", "file" },
	{ "quiet", 'q', OPTION_FLAG, offsetof(LoadOptions, quiet), NULL, "Do not say what was loaded", NULL },
	{ NULL },
};

/* Docker's lines: {"stream": "…\n"}, {"status": "…"} or {"error": "…"}. */
static int show(HttpClient *c, const LoadOptions *o, bool json, Err *err)
{
	char *line;
	size_t len;
	int r;
	while ((r = http_read_line(c, &line, &len, err)) > 0) {
		json_t *item = *line ? json_loads(line, 0, NULL) : NULL;
		const char *why = json_text(item, "error"), *text = json_text(item, "stream");
		if (*line && !json_is_object(item))
			r = err_set(err, -EPROTO, "the daemon sent a line that is not a JSON object: %.60s", line);
		else if (*why)
			r = err_set(err, -EIO, "%s", why);
		else if (json && item)
			print_json(json_incref(item));
		else if (!o->quiet && *text) {
			AUTO_BUF out = BUF_INIT;
			buf_append(&out, text, strcspn(text, "\n"));
			print_clean_line(buf_cstr(&out));
		}
		json_decref(item);
		if (r < 0)
			return r;
	}
	return r;
}

static int run(Cli *cli, void *values, char **args)
{
	const LoadOptions *o = values;
	AUTO_HTTP *client = NULL;
	AUTO_ERR err = ERR_INIT;
	Upload u;
	int code = upload_open(cli, o->input, &u);
	if (code)
		return code;
	code = client_open_or_fail(cli, &client);
	if (!code && (upload_send(&u, client, o->quiet ? "/images/load?quiet=1" : "/images/load", &err) < 0 ||
			     show(client, o, cli->global.json, &err) < 0))
		code = cli_refuse(&err);
	upload_close(&u);
	return code;
}

const Command command_load = {
	.name = "load",
	.operands = "",
	.summary = "Load images from an archive",
	.text = "Takes what 'docker save', 'podman save', 'skopeo copy' and 'stead save' write: docker and OCI archives, plain\n"
		"or compressed with gzip or zstd.",
	.options = options,
	.size = sizeof(LoadOptions),
	.flags = COMMAND_JSON,
	.run = run,
};
