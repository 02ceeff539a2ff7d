// SPDX-License-Identifier: Apache-2.0
/*
 * Routes of builds. docs/API.md describes them.
 */
#include "daemon/api.h"
#include "daemon/build.h"

static void start(Daemon *d, HttpRequest *r, char *const *args)
{
	build_api_start(d, r);
}

static void why(Daemon *d, HttpRequest *r, char *const *args)
{
	build_api_why(d, r, args[0]);
}

static void docker(Daemon *d, HttpRequest *r, char *const *args)
{
	build_api_docker(d, r);
}

static void prune(Daemon *d, HttpRequest *r, char *const *args)
{
	build_api_prune(d, r);
}

const ApiRoute api_build_routes[] = {
	{ "POST", "/stead/v1/builds", start, false },
	{ "GET", "/stead/v1/builds/**/why", why, false },
	{ "POST", "/build", docker, true },
	{ "POST", "/build/prune", prune, false },
	{ NULL, NULL, NULL, false },
};
