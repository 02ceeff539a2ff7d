// SPDX-License-Identifier: Apache-2.0
/*
 * /stead/v1: deploys, rollbacks and releases of a stack. docs/API.md describes it.
 */
#include <errno.h>

#include "base/str.h"
#include "daemon/api.h"
#include "daemon/operation.h"
#include "daemon/release.h"

static void deploy(Daemon *d, HttpRequest *r, char *const *args)
{
	api_submit(d, r, OP_DEPLOY, args[0]);
}

static void rollback(Daemon *d, HttpRequest *r, char *const *args)
{
	api_submit(d, r, OP_ROLLBACK, args[0]);
}

static void list(Daemon *d, HttpRequest *r, char *const *args)
{
	AUTO_ERR err = ERR_INIT;
	json_t *o = NULL;
	/* Of a first deploy that failed nothing is left but its release. */
	if (release_list_json(d, args[0], http_query(r, "service"), &o, &err) < 0) {
		http_error_err(r, &err);
	} else if (!json_array_size(o) && !daemon_stack(d, args[0])) {
		json_decref(o);
		http_error(r, 404, "no such stack: %s", args[0]);
	} else {
		http_reply_json(r, 200, o);
	}
}

static void show(Daemon *d, HttpRequest *r, char *const *args)
{
	AUTO_ERR err = ERR_INIT;
	json_t *o = NULL;
	uint32_t number;
	if (parse_u32_max(args[1], INT32_MAX, &number) < 0)
		http_error(r, 400, "'%s' is no number of a release", args[1]);
	else if (release_show_json(d, args[0], (int) number, &o, &err) < 0)
		http_error_err(r, &err);
	else
		http_reply_json(r, 200, o);
}

const ApiRoute api_release_routes[] = {
	{ "POST", "/stead/v1/stacks/*/deploy", deploy, false },
	{ "POST", "/stead/v1/stacks/*/rollback", rollback, false },
	{ "GET", "/stead/v1/stacks/*/releases", list, false },
	{ "GET", "/stead/v1/stacks/*/releases/*", show, false },
	{ NULL, NULL, NULL, false },
};
