// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The API's routes: tables of method, path pattern and handler. A pattern's "*" stands for one path
 * segment, "**" for one or more (image names have slashes); what they match is handed to the handler
 * in order. A leading "/v1.NN" of the path is taken off first for Docker's routes.
 */

#include "daemon/daemon.h"
#include "io/http-server.h"

typedef void (*ApiHandler)(Daemon *d, HttpRequest *r, char *const *args);

typedef struct ApiRoute {
	const char *method; /* "GET" answers HEAD too */
	const char *pattern;
	ApiHandler handler;
	bool streams_body; /* the body is not buffered; see http_on_body */
} ApiRoute;

/** Tables end with a NULL method. */
extern const ApiRoute api_stead_routes[];
extern const ApiRoute api_build_routes[];
extern const ApiRoute api_edge_routes[];
extern const ApiRoute api_release_routes[]; /* deploys, releases */
extern const ApiRoute api_docker_system_routes[];
extern const ApiRoute api_docker_container_routes[]; /* list, inspect */
extern const ApiRoute api_docker_action_routes[];    /* start, stop, … */
extern const ApiRoute api_docker_stream_routes[];    /* logs, attach */
extern const ApiRoute api_docker_stats_routes[];     /* stats, top */
extern const ApiRoute api_docker_exec_routes[];
extern const ApiRoute api_docker_image_routes[];
extern const ApiRoute api_docker_registry_routes[]; /* pull, push, auth */
extern const ApiRoute api_docker_object_routes[]; /* networks, volumes */

/** An operation on a stack from the request's body. Answers it. */
void api_submit(Daemon *d, HttpRequest *r, int operation_kind, const char *stack);
/** The stack if there is one with a model; else 404 has been answered, and NULL. */
StackState *api_stack(Daemon *d, HttpRequest *r, const char *name);

/** Starts to listen. */
/** A header that is base64 of a JSON object (Docker's X-Registry-Auth, X-Registry-Config). New reference in *ret; left alone where there is none, or an empty one. */
int api_registry_header(const HttpRequest *r, const char *name, json_t **ret, Err *err);
int api_start(Daemon *d, Err *err);
