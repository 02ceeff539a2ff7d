// SPDX-License-Identifier: Apache-2.0
/*
 * Networks and volumes: lists, inspect, removal, prune. They are made by stacks.
 */
#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "daemon/api-docker.h"
#include "daemon/network.h"
#include "daemon/volume.h"

/* ── networks ─────────────────────────────────────────────────────── */

static void list_networks(Daemon *d, HttpRequest *r, char *const *args)
{
	static const char *const known[] = { "dangling", "driver", "id", "label", "label!", "name", "scope", "type", NULL };
	AUTO_ERR err = ERR_INIT;
	Filter *f = NULL;
	bool dangling = false;
	if (!docker_filters(r, known, &f))
		return;
	if (filter_bool(f, "dangling", false, &dangling, &err) < 0) {
		http_error_err(r, &err);
		json_decref(f);
		return;
	}
	json_t *list = json_array();
	for (size_t i = 0; i < d->n_nets; i++) {
		const NetState *n = d->nets[i];
		bool fits = filter_match(f, "driver", n->driver) && filter_match_prefix(f, "id", n->id) && filter_match_text(f, "name", n->name) &&
			    filter_match(f, "scope", "local") && filter_match(f, "type", "custom") && filter_match_labels(f, n->labels) &&
			    (!filter_values(f, "dangling") || dangling == (network_users(d, n) == 0));
		if (fits)
			json_array_append_new(list, docker_network(d, n, false));
	}
	json_decref(f);
	http_reply_json(r, 200, list);
}

static NetState *find_network(Daemon *d, HttpRequest *r, const char *ref)
{
	AUTO_ERR err = ERR_INIT;
	NetState *n = NULL;
	if (daemon_find_network(d, ref, &n, &err) < 0) {
		http_error_err(r, &err);
		return NULL;
	}
	return n;
}

static void inspect_network(Daemon *d, HttpRequest *r, char *const *args)
{
	const NetState *n = find_network(d, r, args[0]);
	if (n)
		http_reply_json(r, 200, docker_network(d, n, true));
}

static void remove_network(Daemon *d, HttpRequest *r, char *const *args)
{
	AUTO_ERR err = ERR_INIT;
	NetState *n = find_network(d, r, args[0]);
	if (!n)
		return;
	if (network_users(d, n))
		http_error(r, 403, "network %s has active endpoints: %zu container(s) of stack '%s' are on it", n->name, network_users(d, n),
			n->stack ? n->stack : "");
	else if (network_remove(d, n, &err) < 0)
		http_error_err(r, &err);
	else
		http_reply(r, 204, NULL, NULL, 0);
}

static void prune_networks(Daemon *d, HttpRequest *r, char *const *args)
{
	static const char *const known[] = { "label", "label!", NULL };
	AUTO_ERR err = ERR_INIT;
	Filter *f = NULL;
	if (!docker_filters(r, known, &f))
		return;
	json_t *names = json_array();
	int e = 0;
	for (size_t i = d->n_nets; i-- > 0 && e == 0;) {
		NetState *n = d->nets[i];
		/* A network of a stack that is wanted stays: the next container of it needs it. */
		const StackState *s = n->stack ? daemon_stack(d, n->stack) : NULL;
		if (network_users(d, n) || (s && s->model) || !filter_match_labels(f, n->labels))
			continue;
		json_array_append_new(names, json_string(n->name));
		e = network_remove(d, n, &err);
	}
	json_decref(f);
	if (e == 0) {
		http_reply_json(r, 200, json_pack("{s:o}", "NetworksDeleted", names));
		return;
	}
	json_decref(names);
	http_error_err(r, &err);
}

/* ── volumes ──────────────────────────────────────────────────────── */

static void list_volumes(Daemon *d, HttpRequest *r, char *const *args)
{
	static const char *const known[] = { "dangling", "driver", "label", "label!", "name", NULL };
	AUTO_ERR err = ERR_INIT;
	Filter *f = NULL;
	bool dangling = false;
	if (!docker_filters(r, known, &f))
		return;
	if (filter_bool(f, "dangling", false, &dangling, &err) < 0) {
		http_error_err(r, &err);
		json_decref(f);
		return;
	}
	json_t *list = json_array();
	for (size_t i = 0; i < d->n_vols; i++) {
		const VolState *v = d->vols[i];
		if (filter_match(f, "driver", v->driver) && filter_match_text(f, "name", v->name) && filter_match_labels(f, v->labels) &&
			(!filter_values(f, "dangling") || dangling == (volume_users(d, v) == 0)))
			json_array_append_new(list, docker_volume(v));
	}
	json_decref(f);
	http_reply_json(r, 200, json_pack("{s:o, s:n}", "Volumes", list, "Warnings"));
}

static VolState *find_volume(Daemon *d, HttpRequest *r, const char *name)
{
	AUTO_ERR err = ERR_INIT;
	VolState *v = NULL;
	if (daemon_find_volume(d, name, &v, &err) < 0) {
		http_error_err(r, &err);
		return NULL;
	}
	return v;
}

static void inspect_volume(Daemon *d, HttpRequest *r, char *const *args)
{
	const VolState *v = find_volume(d, r, args[0]);
	if (v)
		http_reply_json(r, 200, docker_volume(v));
}

static void remove_volume(Daemon *d, HttpRequest *r, char *const *args)
{
	AUTO_ERR err = ERR_INIT;
	VolState *v = NULL;
	if (daemon_find_volume(d, args[0], &v, &err) < 0) {
		if (http_query_bool(r, "force", false))
			http_reply(r, 204, NULL, NULL, 0);
		else
			http_error_err(r, &err);
		return;
	}
	if (volume_remove(d, v, &err) < 0)
		http_error_err(r, &err);
	else
		http_reply(r, 204, NULL, NULL, 0);
}

typedef struct Prune {
	Daemon *d;
	HttpRequest *r; /* NULL once the client has gone */
} Prune;

static void prune_gone(void *user)
{
	((Prune *) user)->r = NULL;
}

static void prune_counted(void *user, char *const *paths, const int64_t *sizes)
{
	Prune *p = user;
	AUTO_ERR err = ERR_INIT;
	json_t *names = json_array();
	json_int_t reclaimed = 0;
	int e = 0;
	for (size_t i = 0; paths && paths[i] && e == 0; i++)
		for (size_t k = 0; k < p->d->n_vols; k++) {
			VolState *v = p->d->vols[k];
			/* Looked up again: things may have changed while the sizes were counted. */
			if (!str_eq(v->path, paths[i]) || volume_users(p->d, v))
				continue;
			json_array_append_new(names, json_string(v->name));
			reclaimed += sizes[i];
			e = volume_remove(p->d, v, &err);
			break;
		}
	HttpRequest *r = p->r;
	free(p);
	json_t *answer = json_pack("{s:o, s:I}", "VolumesDeleted", names, "SpaceReclaimed", reclaimed);
	if (r) {
		http_set_user(r, NULL, NULL);
		if (e < 0)
			http_error_err(r, &err);
		else
			http_reply_json(r, 200, json_incref(answer));
	}
	json_decref(answer);
}

/** As docker since 23: anonymous volumes, with all=true named ones too; but never those of a stack that is wanted. */
static void prune_volumes(Daemon *d, HttpRequest *r, char *const *args)
{
	static const char *const known[] = { "all", "label", "label!", NULL };
	AUTO_ERR err = ERR_INIT;
	Filter *f = NULL;
	char **paths = NULL;
	bool all = false;
	if (!docker_filters(r, known, &f))
		return;
	if (filter_bool(f, "all", false, &all, &err) < 0) {
		http_error_err(r, &err);
		json_decref(f);
		return;
	}
	for (size_t i = 0; i < d->n_vols; i++) {
		const VolState *v = d->vols[i];
		const StackState *s = v->stack ? daemon_stack(d, v->stack) : NULL;
		if ((v->anonymous || all) && !volume_users(d, v) && !(s && s->model) && filter_match_labels(f, v->labels))
			strv_add(&paths, v->path);
	}
	json_decref(f);
	Prune *p = xcalloc(1, sizeof(*p));
	p->d = d;
	p->r = r;
	http_set_user(r, p, prune_gone);
	sizes_count(d->loop, paths, prune_counted, p);
}

static void no_create(Daemon *d, HttpRequest *r, char *const *args)
{
	http_error(r, 501, "networks and volumes are made by the stacks that declare them: name them in the compose file");
}

const ApiRoute api_docker_object_routes[] = {
	{ "GET", "/networks", list_networks, false },
	{ "GET", "/networks/*", inspect_network, false },
	{ "DELETE", "/networks/*", remove_network, false },
	{ "POST", "/networks/create", no_create, false },
	{ "POST", "/networks/prune", prune_networks, false },
	{ "GET", "/volumes", list_volumes, false },
	{ "GET", "/volumes/*", inspect_volume, false },
	{ "DELETE", "/volumes/*", remove_volume, false },
	{ "POST", "/volumes/create", no_create, false },
	{ "POST", "/volumes/prune", prune_volumes, false },
	{ NULL, NULL, NULL, false },
};
