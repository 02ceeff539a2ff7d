// SPDX-License-Identifier: Apache-2.0
#include "daemon/api.h"

#include <errno.h>
#include <grp.h>

#include "base/mem.h"
#include "base/str.h"

#define SOCKET_NAME "stead.sock"
#define SOCKET_GROUP "stead"
#define API_MINOR_MIN 24
#define API_MINOR_MAX 41

static const ApiRoute *const tables[] = {
	api_stead_routes,
	api_build_routes,
	api_edge_routes,
	api_release_routes,
	api_docker_system_routes,
	api_docker_container_routes,
	api_docker_action_routes,
	api_docker_stream_routes,
	api_docker_stats_routes,
	api_docker_exec_routes,
	api_docker_image_routes,
	api_docker_registry_routes,
	api_docker_object_routes,
};

/* "/v1.41/info" → "/info"; NULL for a version that is not served. */
static const char *without_version(const char *path)
{
	if (!str_starts(path, "/v1."))
		return path;
	const char *p = path + 4;
	int minor = 0;
	while (*p >= '0' && *p <= '9' && minor < 1000)
		minor = minor * 10 + (*p++ - '0');
	if (*p != '/' || p == path + 4)
		return path;
	return minor >= API_MINOR_MIN && minor <= API_MINOR_MAX ? p : NULL;
}

static bool match(const char *pattern, const char *path, char ***args)
{
	while (*pattern == '/' && *path == '/') {
		pattern++;
		path++;
		size_t want = strcspn(pattern, "/"), have = strcspn(path, "/");
		if (want == 2 && strncmp(pattern, "**", 2) == 0) {
			/* As much as leaves enough for the rest of the pattern. */
			const char *rest = pattern + 2;
			size_t n = strlen(path), tail = strlen(rest);
			if (n <= tail || strcmp(path + n - tail, rest) != 0)
				return false;
			strv_take(args, xstrndup(path, n - tail));
			return true;
		}
		if (want == 1 && *pattern == '*') {
			if (!have)
				return false;
			strv_take(args, xstrndup(path, have));
		} else if (want != have || strncmp(pattern, path, want) != 0) {
			return false;
		}
		pattern += want;
		path += have;
	}
	return !*pattern && !*path;
}

static bool method_fits(const ApiRoute *route, const char *method)
{
	return str_eq(route->method, method) || (str_eq(route->method, "GET") && str_eq(method, "HEAD"));
}

/* `ret_path_known`: some route has the path, with another method. */
static const ApiRoute *find_route(const HttpRequest *r, char ***args, bool *ret_path_known)
{
	const char *path = without_version(http_path(r));
	*ret_path_known = false;
	for (size_t t = 0; path && t < ARRAY_SIZE(tables); t++)
		for (const ApiRoute *route = tables[t]; route->method; route++) {
			strv_free(*args);
			*args = NULL;
			if (!match(route->pattern, path, args))
				continue;
			if (method_fits(route, http_method(r)))
				return route;
			*ret_path_known = true;
		}
	return NULL;
}

static bool streaming(void *user, const HttpRequest *r)
{
	AUTO_STRV char **args = NULL;
	bool known;
	const ApiRoute *route = find_route(r, &args, &known);
	return route && route->streams_body;
}

static void request(void *user, HttpRequest *r)
{
	const Daemon *d = user;
	AUTO_STRV char **args = NULL;
	bool known;
	const ApiRoute *route = find_route(r, &args, &known);
	if (d->powering_off && !str_eq(http_method(r), "GET") && !str_eq(http_method(r), "HEAD"))
		http_error(r, 503, "the machine goes down: containers are being stopped, and nothing else is begun");
	else if (route)
		route->handler(user, r, args);
	else if (!without_version(http_path(r)))
		http_error(r, 400, "API versions 1.%d to 1.%d are served; set DOCKER_API_VERSION=1.%d", API_MINOR_MIN, API_MINOR_MAX,
			API_MINOR_MAX);
	else if (known)
		http_error(r, 405, "%s is not served for %s", http_method(r), http_path(r));
	else
		http_error(r, 404, "page not found: %s is not served; docs/API.md lists what is", http_path(r));
}

StackState *api_stack(Daemon *d, HttpRequest *r, const char *name)
{
	StackState *s = daemon_stack(d, name);
	if (s && s->model)
		return s;
	http_error(r, 404, "no such stack: %s", name);
	return NULL;
}

int api_start(Daemon *d, Err *err)
{
	AUTO_FREE char *path = xasprintf("%s/" SOCKET_NAME, d->o.run_dir);
	const struct group *g = getgrnam(SOCKET_GROUP);
	HttpHandlers h = { .streaming = streaming, .request = request, .user = d };
	return http_server_new(d->loop, path, 0660, g ? g->gr_gid : 0, &h, &d->http, err);
}
