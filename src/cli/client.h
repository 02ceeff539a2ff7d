// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The daemon, as the commands see it: which one (-H, STEAD_HOST, x-stead.host of the compose file), a connection to it, and
 * calls with JSON. Everything blocks; what has to watch several connections polls them (signals.h).
 */

#include <jansson.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "io/http-client.h"

#define CLIENT_DEFAULT_HOST "unix:///run/stead/stead.sock"

/**
 * What -H, else STEAD_HOST, else x-stead.host of the compose file, else the default names, as a URL.
 * The compose file is read once, when it is needed; a file that came through standard input tells by client_note_host. The caller's.
 */
int client_host(const Cli *cli, char **ret, Err *err);
/** What a loaded model says; NULL is fine. */
void client_note_host(const Cli *cli, const char *host);
/** Connects to what client_host says: unix:// and ssh:// alike. Through ssh it is the first request that says why there is no connection (code -ENOTCONN). */
int client_open(const Cli *cli, HttpClient **ret, Err *err);
/** The same for this host, a URL or a named one. */
int client_open_host(const Cli *cli, const char *host, HttpClient **ret, Err *err);
/** client_open that prints the error: 0 or an exit code. */
int client_open_or_fail(const Cli *cli, HttpClient **ret);

/** An object of the answer: checks that it is one ("the daemon's answer is not …"). New reference. */
int client_get(HttpClient *c, const char *target, json_type type, json_t **ret, Err *err);
int client_post(HttpClient *c, const char *target, const json_t *body, json_t **ret, Err *err);
/** Prints what the daemon warned of in its last answer, where the Docker API has no place for it. */
void client_show_warning(const HttpClient *c);

/** Appends /stead/v1/stacks/STACK/REST. */
void client_stack_url(Buf *url, const char *stack, const char *rest);

/** A list of strings. New reference; NULL gives an empty one. */
json_t *strv_to_json(char *const *list);

/* Reading answers without caring whether a field is there: "" / 0 / NULL then. Borrowed. */
const char *json_text(const json_t *o, const char *key);
int64_t json_number(const json_t *o, const char *key);
/** "filters" of the Docker API: adds value to the list of key. */
void filter_add(json_t *filters, const char *key, const char *value);
/** Appends ?filters=… */
void filter_query(Buf *url, const json_t *filters);
/** Takes "key=value" of --filter; -EINVAL. */
int filter_parse(json_t *filters, const char *text, Err *err);
/** GET PATH with what --filter said; an answer of this type goes to *ret. 0 or an exit code, errors have been printed. */
int client_list(const Cli *cli, const char *path, char *const *filters, json_type type, json_t **ret);
