// SPDX-License-Identifier: Apache-2.0
/*
 * Docker Engine API 1.41, sections Networks and Volumes.
 */
#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/api.h"
#include "daemon/container.h"
#include "daemon/filters.h"
#include "daemon/json.h"
#include "daemon/network.h"
#include "daemon/volume.h"

/* ── networks ─────────────────────────────────────────────────────── */

static json_t *network_containers(const Daemon *d, const NetState *n)
{
	json_t *o = json_object();
	const char *slash = strchr(n->subnet, '/');
	for (size_t i = 0; i < d->n_containers; i++) {
		const Container *c = d->containers[i];
		for (size_t k = 0; ctr_is_running(c) && k < c->n_endpoints; k++) {
			const Endpoint *e = &c->endpoints[k];
			if (e->net != n)
				continue;
			AUTO_FREE char *cidr = xasprintf("%s%s", e->address, slash ? slash : "");
			json_object_set_new(o, c->id, json_pack("{s:s, s:s, s:s, s:s, s:s}", "Name", c->name, "EndpointID", "", "MacAddress", e->mac,
				"IPv4Address", cidr, "IPv6Address", ""));
		}
	}
	return o;
}

static json_t *network_json(const Daemon *d, const NetState *n, bool containers)
{
	char created[TIME_TEXT_MAX];
	json_t *pool = json_pack("{s:s, s:s}", "Subnet", n->subnet, "Gateway", n->gateway);
	if (n->ip_range)
		json_object_set_new(pool, "IPRange", json_string(n->ip_range));
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:{s:s, s:{}, s:[o]}, s:b, s:b, s:b, s:{s:s}, s:b, s:o, s:{s:s}, s:o}", "Name", n->name, "Id",
		n->id, "Created", time_rfc3339(n->created, created), "Scope", "local", "Driver", n->driver, "EnableIPv6", 0, "IPAM", "Driver",
		"default", "Options", "Config", pool, "Internal", n->internal, "Attachable", n->attachable, "Ingress", 0, "ConfigFrom", "Network", "",
		"ConfigOnly", 0, "Containers", containers ? network_containers(d, n) : json_object(), "Options", "com.docker.network.bridge.name",
		n->bridge, "Labels", json_pairs(n->labels));
}

static void list_networks(Daemon *d, HttpRequest *r, char *const *args)
{
	static const char *const known[] = { "name", "id", "label", "driver", "scope", "type", "dangling", NULL };
	AUTO_ERR err = ERR_INIT;
	AUTO_FILTERS f = { 0 };
	if (filters_parse(r, known, &f, &err) < 0) {
		http_error_err(r, &err);
		return;
	}
	json_t *out = json_array();
	for (size_t i = 0; i < d->n_nets; i++) {
		const NetState *n = d->nets[i];
		if (filters_match_part(&f, "name", n->name) && filters_match_prefix(&f, "id", n->id) && filters_match(&f, "driver", n->driver) &&
			filters_match(&f, "scope", "local") && filters_match_labels(&f, n->labels))
			json_array_append_new(out, network_json(d, n, false));
	}
	http_reply_json(r, 200, out);
}

static void inspect_network(Daemon *d, HttpRequest *r, char *const *args)
{
	AUTO_ERR err = ERR_INIT;
	NetState *n = NULL;
	if (daemon_find_network(d, args[0], &n, &err) < 0)
		http_error_err(r, &err);
	else
		http_reply_json(r, 200, network_json(d, n, true));
}

static void remove_network(Daemon *d, HttpRequest *r, char *const *args)
{
	AUTO_ERR err = ERR_INIT;
	NetState *n = NULL;
	if (daemon_find_network(d, args[0], &n, &err) < 0 || network_remove(d, n, &err) < 0)
		http_error_err(r, &err);
	else
		http_reply(r, 204, NULL, NULL, 0);
}

static void prune_networks(Daemon *d, HttpRequest *r, char *const *args)
{
	json_t *out = json_array();
	for (size_t i = d->n_nets; i-- > 0;) {
		AUTO_FREE char *name = xstrdup(d->nets[i]->name);
		if (!network_users(d, d->nets[i]) && network_remove(d, d->nets[i], NULL) == 0)
			json_array_append_new(out, json_string(name));
	}
	http_reply_json(r, 200, json_pack("{s:o}", "NetworksDeleted", out));
}

/* ── volumes ──────────────────────────────────────────────────────── */

static json_t *volume_json(const VolState *v)
{
	char created[TIME_TEXT_MAX];
	return json_pack("{s:s, s:s, s:s, s:s, s:o, s:s, s:n}", "CreatedAt", time_rfc3339(v->created, created), "Driver", v->driver, "Mountpoint",
		v->path, "Name", v->name, "Labels", json_pairs(v->labels), "Scope", "local", "Options");
}

static void list_volumes(Daemon *d, HttpRequest *r, char *const *args)
{
	static const char *const known[] = { "name", "label", "driver", "dangling", NULL };
	AUTO_ERR err = ERR_INIT;
	AUTO_FILTERS f = { 0 };
	if (filters_parse(r, known, &f, &err) < 0) {
		http_error_err(r, &err);
		return;
	}
	json_t *out = json_array();
	char *const *dangling = filters_get(&f, "dangling");
	for (size_t i = 0; i < d->n_vols; i++) {
		const VolState *v = d->vols[i];
		bool unused = volume_users(d, v) == 0;
		if (dangling && *dangling && unused != (str_eq(*dangling, "true") || str_eq(*dangling, "1")))
			continue;
		if (filters_match_part(&f, "name", v->name) && filters_match(&f, "driver", v->driver) && filters_match_labels(&f, v->labels))
			json_array_append_new(out, volume_json(v));
	}
	http_reply_json(r, 200, json_pack("{s:o, s:n}", "Volumes", out, "Warnings"));
}

static void inspect_volume(Daemon *d, HttpRequest *r, char *const *args)
{
	AUTO_ERR err = ERR_INIT;
	VolState *v = NULL;
	if (daemon_find_volume(d, args[0], &v, &err) < 0)
		http_error_err(r, &err);
	else
		http_reply_json(r, 200, volume_json(v));
}

static void remove_volume(Daemon *d, HttpRequest *r, char *const *args)
{
	AUTO_ERR err = ERR_INIT;
	VolState *v = NULL;
	if (daemon_find_volume(d, args[0], &v, &err) < 0 || volume_remove(d, v, &err) < 0)
		http_error_err(r, &err);
	else
		http_reply(r, 204, NULL, NULL, 0);
}

/* As docker since 23: anonymous volumes only. */
static void prune_volumes(Daemon *d, HttpRequest *r, char *const *args)
{
	json_t *out = json_array();
	for (size_t i = d->n_vols; i-- > 0;) {
		AUTO_FREE char *name = xstrdup(d->vols[i]->name);
		if (d->vols[i]->anonymous && !volume_users(d, d->vols[i]) && volume_remove(d, d->vols[i], NULL) == 0)
			json_array_append_new(out, json_string(name));
	}
	http_reply_json(r, 200, json_pack("{s:o, s:I}", "VolumesDeleted", out, "SpaceReclaimed", (json_int_t) 0));
}

const ApiRoute api_docker_object_routes[] = {
	{ "GET", "/networks", list_networks, false },
	{ "POST", "/networks/prune", prune_networks, false },
	{ "GET", "/networks/*", inspect_network, false },
	{ "DELETE", "/networks/*", remove_network, false },
	{ "GET", "/volumes", list_volumes, false },
	{ "POST", "/volumes/prune", prune_volumes, false },
	{ "GET", "/volumes/*", inspect_volume, false },
	{ "DELETE", "/volumes/*", remove_volume, false },
	{ NULL, NULL, NULL, false },
};
