// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/image-config.h"
#include "cli/operation.h"

typedef struct BootstrapOptions {
	char **packages;
	const char *suite, *mirror;
	ImageConfigOptions config;
} BootstrapOptions;

#define B(member) offsetof(BootstrapOptions, member)
static const Option options[] = {
	{ "packages", 0, OPTION_LIST, B(packages), "NAME[,NAME...]", "The distribution's packages to install", NULL },
	{ "suite", 0, OPTION_STRING, B(suite), "NAME", "Release of the distribution (default: this machine's)", NULL },
	{ "mirror", 0, OPTION_STRING, B(mirror), "URL", "Package mirror (default: this machine's)", NULL },
	IMAGE_CONFIG_OPTIONS(B(config)),
	{ NULL },
};

/* "a,b" and repeated options; names as Debian Policy 5.6.1 has them, with "=version", "/suite" and ":arch" as apt takes them. */
static int add_packages(const char *text, json_t *ret, Err *err)
{
	while (*text) {
		size_t n = strcspn(text, ", ");
		AUTO_FREE char *name = xstrndup(text, n);
		if (n && (name[0] == '-' || strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.:~=/_") != n))
			return err_set(err, -EINVAL, "--packages: '%s' is no name of a package", name);
		if (n)
			(void) json_array_append_new(ret, json_string(name));
		text += n + strspn(text + n, ", ");
	}
	return 0;
}

static int make_body(const BootstrapOptions *o, const char *name, json_t *body, Err *err)
{
	json_t *packages = json_array();
	(void) json_object_set_new(body, "name", json_string(name));
	(void) json_object_set_new(body, "packages", packages);
	(void) json_object_set_new(body, "suite", json_string(o->suite ? o->suite : ""));
	(void) json_object_set_new(body, "mirror", json_string(o->mirror ? o->mirror : ""));
	for (char **p = o->packages; p && *p; p++) {
		int r = add_packages(*p, packages, err);
		if (r < 0)
			return r;
	}
	return image_config_json(&o->config, body, err);
}

static int run(Cli *cli, void *values, char **args)
{
	AUTO_HTTP *client = NULL;
	AUTO_ERR err = ERR_INIT;
	json_t *body = json_object();
	int code = 0;
	if (make_body(values, args[0], body, &err) < 0)
		code = cli_usage(cli, "%s", err_text(&err));
	if (!code)
		code = client_open_or_fail(cli, &client);
	const HttpBody b = { .json = body };
	if (!code && http_call(client, "POST", "/stead/v1/images/bootstrap", &b, false, &err) < 0)
		code = cli_fail(&err);
	json_decref(body);
	return code ? code : operation_image(cli, client);
}

const Command command_image_bootstrap = {
	.name = "image bootstrap",
	.operands = "NAME",
	.summary = "Make an image from the distribution's packages",
	.text = "For machines without a registry:\n"
		"  stead image bootstrap redis:7 --packages redis-server --cmd redis-server --port 6379\n"
		"Images of one release share their base layer, so a second one costs only its own packages.",
	.options = options,
	.size = sizeof(BootstrapOptions),
	.min = 1,
	.max = 1,
	.flags = COMMAND_JSON,
	.run = run,
};
