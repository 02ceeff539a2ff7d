// SPDX-License-Identifier: Apache-2.0
#include "daemon/state.h"

#include <errno.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/container.h"
#include "daemon/edge.h"
#include "daemon/json.h"
#include "daemon/release.h"
#include "daemon/stack.h"
#include "store/store.h"

/* ── lookups ──────────────────────────────────────────────────────── */

Container *daemon_container_by_name(Daemon *d, const char *name)
{
	for (size_t i = 0; i < d->n_containers; i++)
		if (str_eq(d->containers[i]->name, name) && d->containers[i]->phase != PHASE_REMOVING)
			return d->containers[i];
	return NULL;
}

int daemon_find_container(Daemon *d, const char *ref, Container **ret, Err *err)
{
	Container *found = daemon_container_by_name(d, ref[0] == '/' ? ref + 1 : ref);
	for (size_t i = 0; !found && i < d->n_containers; i++)
		if (str_eq(d->containers[i]->id, ref))
			found = d->containers[i];
	size_t n = 0;
	for (size_t i = 0; !found && *ref && i < d->n_containers; i++)
		n += str_starts(d->containers[i]->id, ref);
	if (n > 1)
		return err_set(err, -EINVAL, "the id prefix '%s' fits more than one container", ref);
	for (size_t i = 0; !found && n == 1 && i < d->n_containers; i++)
		if (str_starts(d->containers[i]->id, ref))
			found = d->containers[i];
	if (!found)
		return err_set(err, -ENOENT, "No such container: %s", ref);
	*ret = found;
	return 0;
}

int daemon_find_network(Daemon *d, const char *ref, NetState **ret, Err *err)
{
	NetState *found = NULL;
	size_t n = 0;
	for (size_t i = 0; i < d->n_nets; i++) {
		if (str_eq(d->nets[i]->name, ref)) {
			*ret = d->nets[i];
			return 0;
		}
		if (*ref && str_starts(d->nets[i]->id, ref)) {
			found = d->nets[i];
			n++;
		}
	}
	if (n > 1)
		return err_set(err, -EINVAL, "the id prefix '%s' fits more than one network", ref);
	if (!found)
		return err_set(err, -ENOENT, "network %s not found", ref);
	*ret = found;
	return 0;
}

int daemon_find_volume(Daemon *d, const char *name, VolState **ret, Err *err)
{
	for (size_t i = 0; i < d->n_vols; i++)
		if (str_eq(d->vols[i]->name, name)) {
			*ret = d->vols[i];
			return 0;
		}
	return err_set(err, -ENOENT, "get %s: no such volume", name);
}

/* ── transactions ─────────────────────────────────────────────────── */

int state_begin(Daemon *d, Err *err)
{
	return store_begin(d->store, err);
}

int state_commit(Daemon *d, Err *err)
{
	return store_commit(d->store, err);
}

void state_rollback(Daemon *d)
{
	store_rollback(d->store);
}

/* ── containers ───────────────────────────────────────────────────── */

static const char *const phases[] = {
	[PHASE_CREATED] = "created",
	[PHASE_STARTING] = "starting",
	[PHASE_RUNNING] = "running",
	[PHASE_STOPPING] = "stopping",
	[PHASE_EXITED] = "exited",
	[PHASE_REMOVING] = "removing",
};

static const char *const roles[] = {
	[ROLE_CURRENT] = "current",
	[ROLE_CANDIDATE] = "candidate",
	[ROLE_RETIRED] = "retired",
};

static Phase phase_parse(const char *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(phases); i++)
		if (str_eq(phases[i], s))
			return (Phase) i;
	return PHASE_CREATED;
}

static CtrRole role_parse(const char *s)
{
	for (size_t i = 0; s && i < ARRAY_SIZE(roles); i++)
		if (str_eq(roles[i], s))
			return (CtrRole) i;
	return ROLE_CURRENT;
}

static HealthState health_parse(const char *s)
{
	for (HealthState h = HEALTH_STARTING; h <= HEALTH_UNHEALTHY; h++)
		if (str_eq(health_state_name(h), s))
			return h;
	return HEALTH_NONE;
}

static json_t *optional(const char *s)
{
	return s ? json_string(s) : json_null();
}

static json_t *endpoint_json(const Endpoint *e)
{
	return json_pack("{s:s, s:o, s:o, s:o, s:s, s:s, s:s, s:b}", "network", e->net->name, "aliases", json_strv(e->aliases), "wish",
		optional(e->want_address), "mac_wish", optional(e->want_mac), "address", e->address, "mac", e->mac, "ifname", e->ifname,
		"gateway", e->gateway);
}

static json_t *bind_json(const Bind *b)
{
	return json_pack("{s:i, s:o, s:o, s:s, s:b}", "type", (int) b->type, "volume", optional(b->vol ? b->vol->name : NULL), "source",
		optional(b->source), "target", b->target, "ro", b->read_only);
}

static json_t *port_json(const PublishedPort *p)
{
	return json_pack("{s:o, s:i, s:i, s:s}", "ip", optional(p->host_ip), "host", p->host_port, "target", p->target, "protocol",
		p->protocol);
}

static char *runtime_json(const Container *c)
{
	json_t *endpoints = json_array(), *binds = json_array(), *ports = json_array();
	for (size_t i = 0; i < c->n_endpoints; i++)
		json_array_append_new(endpoints, endpoint_json(&c->endpoints[i]));
	for (size_t i = 0; i < c->n_binds; i++)
		json_array_append_new(binds, bind_json(&c->binds[i]));
	for (size_t i = 0; i < c->n_ports; i++)
		json_array_append_new(ports, port_json(&c->ports[i]));
	json_t *o = json_pack("{s:s, s:o, s:o, s:o, s:o, s:b, s:s, s:b, s:b, s:i}", "image", c->image_ref, "labels", json_strv(c->labels), "endpoints", endpoints,
		"binds", binds, "ports", ports, "netns", c->netns != NULL, "role", roles[c->role],
		"serving", c->serving && c->role == ROLE_CANDIDATE, "revive", c->revive, "release", c->release);
	char *text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	return text;
}

static char *text_of(json_t *o, const char *key)
{
	return xstrdup(json_string_value(json_object_get(o, key)));
}

static void runtime_parse(Container *c, const char *text)
{
	json_t *o = text ? json_loads(text, 0, NULL) : NULL, *item;
	size_t i;
	c->image_ref = text_of(o, "image");
	c->labels = json_to_strv(json_object_get(o, "labels"));
	c->role = role_parse(json_string_value(json_object_get(o, "role")));
	c->serving = json_is_true(json_object_get(o, "serving"));
	c->revive = json_is_true(json_object_get(o, "revive"));
	c->release = (int) json_integer_value(json_object_get(o, "release"));
	json_array_foreach(json_object_get(o, "endpoints"), i, item) {
		NetState *net = NULL;
		const char *name = json_string_value(json_object_get(item, "network"));
		if (!name || daemon_find_network(c->d, name, &net, NULL) < 0)
			continue;
		Endpoint *e = array_append(c->endpoints, c->n_endpoints);
		e->net = net;
		e->aliases = json_to_strv(json_object_get(item, "aliases"));
		e->want_address = text_of(item, "wish");
		e->want_mac = text_of(item, "mac_wish");
		e->gateway = json_is_true(json_object_get(item, "gateway"));
		(void) snprintf(e->address, sizeof(e->address), "%s", json_string_value(json_object_get(item, "address")) ?: "");
		(void) snprintf(e->mac, sizeof(e->mac), "%s", json_string_value(json_object_get(item, "mac")) ?: "");
		(void) snprintf(e->ifname, sizeof(e->ifname), "%s", json_string_value(json_object_get(item, "ifname")) ?: "eth0");
	}
	json_array_foreach(json_object_get(o, "binds"), i, item) {
		Bind *b = array_append(c->binds, c->n_binds);
		const char *volume = json_string_value(json_object_get(item, "volume"));
		b->type = (MountType) json_integer_value(json_object_get(item, "type"));
		if (volume)
			(void) daemon_find_volume(c->d, volume, &b->vol, NULL);
		b->source = text_of(item, "source");
		b->target = text_of(item, "target");
		b->read_only = json_is_true(json_object_get(item, "ro"));
	}
	json_array_foreach(json_object_get(o, "ports"), i, item) {
		PublishedPort *p = array_append(c->ports, c->n_ports);
		p->host_ip = text_of(item, "ip");
		p->host_port = (uint16_t) json_integer_value(json_object_get(item, "host"));
		p->target = (uint16_t) json_integer_value(json_object_get(item, "target"));
		p->protocol = text_of(item, "protocol");
		p->hold = -1;
	}
	json_decref(o);
}

/* Borrows everything from the container but service_json and runtime_json. */
static StoreContainer row_of(const Container *c)
{
	return (StoreContainer) {
		.id = (char *) c->id,
		.name = c->name,
		.stack = c->stack,
		.service = c->svc.name,
		.number = c->number,
		.oneoff = c->oneoff,
		.config_hash = (char *) c->hash,
		.image_id = c->image_id,
		.created = c->created,
		.wanted_running = c->wanted_running,
		.phase = (char *) phases[c->phase],
		.pid = c->pid,
		.started_at = c->started_at,
		.finished_at = c->finished_at,
		.exit_code = c->exit_code,
		.oom_killed = c->oom_killed,
		.restart_count = c->restart_count,
		.error = c->error,
		.health = (char *) health_state_name(c->health_state),
	};
}

int state_insert_container(Container *c, Err *err)
{
	StoreContainer row = row_of(c);
	json_t *service = service_to_json(&c->svc);
	AUTO_FREE char *service_text = json_dumps(service, JSON_COMPACT | JSON_SORT_KEYS);
	AUTO_FREE char *runtime_text = runtime_json(c);
	json_decref(service);
	row.service_json = service_text;
	row.runtime_json = runtime_text;
	return store_container_insert(c->d->store, &row, err);
}

int state_delete_container(Container *c, Err *err)
{
	return store_container_delete(c->d->store, c->id, err);
}

int state_rename_container(Container *c, Err *err)
{
	return store_container_rename(c->d->store, c->id, c->name, err);
}

static int write_container(Container *c, Err *err)
{
	StoreContainer row = row_of(c);
	AUTO_FREE char *runtime_text = runtime_json(c);
	int r = store_container_state(c->d->store, &row, err);
	if (r == 0)
		r = store_container_runtime(c->d->store, c->id, runtime_text, err);
	return r;
}

int state_write_marked(Daemon *d, Err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < d->n_containers; i++)
		if (d->containers[i]->dirty && !d->containers[i]->fresh)
			r = write_container(d->containers[i], err);
	return r;
}

int state_write_dirty(Daemon *d, Err *err)
{
	int r = 0;
	bool any = false;
	if (d->powering_off)
		return 0;
	for (size_t i = 0; !any && i < d->n_containers; i++)
		any = d->containers[i]->dirty;
	if (!any)
		return 0;
	r = state_begin(d, err);
	for (size_t i = 0; r == 0 && i < d->n_containers; i++)
		if (d->containers[i]->dirty)
			r = write_container(d->containers[i], err);
	if (r < 0) {
		state_rollback(d);
		return r;
	}
	r = state_commit(d, err);
	for (size_t i = 0; r == 0 && i < d->n_containers; i++)
		d->containers[i]->dirty = false;
	return r;
}

static Container *load_container(Daemon *d, const StoreContainer *row)
{
	AUTO_ERR err = ERR_INIT;
	Container *c = xcalloc(1, sizeof(*c));
	c->d = d;
	(void) snprintf(c->id, sizeof(c->id), "%s", row->id);
	(void) snprintf(c->hash, sizeof(c->hash), "%s", row->config_hash ?: "");
	c->name = xstrdup(row->name);
	c->stack = xstrdup(row->stack);
	c->number = row->number;
	c->oneoff = row->oneoff;
	c->image_id = xstrdup(row->image_id);
	c->created = row->created;
	c->phase = phase_parse(row->phase);
	c->pid = row->pid;
	c->started_at = row->started_at;
	c->finished_at = row->finished_at;
	c->exit_code = row->exit_code;
	c->oom_killed = row->oom_killed;
	c->restart_count = c->restart_tries = row->restart_count;
	c->error = xstrdup(row->error);
	c->wanted_running = row->wanted_running;
	c->health_state = health_parse(row->health);
	c->ask_timeout = -1;
	json_t *service = json_loads(row->service_json, 0, NULL);
	if (service_from_json(service, row->service, &c->svc, &err) < 0)
		log_error("%s: the stored service cannot be read: %s", c->name, err_text(&err));
	if (!c->svc.name)
		c->svc.name = xstrdup(row->service);
	json_decref(service);
	runtime_parse(c, row->runtime_json);
	ctr_init(c);
	return c;
}

/* ── networks, volumes ────────────────────────────────────────────── */

void state_network_free(NetState *n)
{
	if (!n)
		return;
	free(n->name);
	free(n->stack);
	free(n->key);
	free(n->driver);
	free(n->subnet);
	free(n->gateway);
	free(n->ip_range);
	free(n->bridge);
	strv_free(n->labels);
	free(n);
}

void state_volume_free(VolState *v)
{
	if (!v)
		return;
	free(v->name);
	free(v->stack);
	free(v->key);
	free(v->driver);
	free(v->path);
	strv_free(v->labels);
	free(v);
}

int state_insert_network(Daemon *d, const NetState *n, Err *err)
{
	StoreNetwork row = {
		.name = n->name,
		.id = (char *) n->id,
		.stack = n->stack,
		.key = n->key,
		.driver = n->driver,
		.internal = n->internal,
		.subnet = n->subnet,
		.gateway = n->gateway,
		.ip_range = n->ip_range,
		.bridge = n->bridge,
		.labels = n->labels,
		.created = n->created,
	};
	return store_network_insert(d->store, &row, err);
}

int state_delete_network(Daemon *d, const NetState *n, Err *err)
{
	return store_network_delete(d->store, n->name, err);
}

int state_insert_volume(Daemon *d, const VolState *v, Err *err)
{
	StoreVolume row = {
		.name = v->name,
		.stack = v->stack,
		.key = v->key,
		.driver = v->driver,
		.labels = v->labels,
		.anonymous = v->anonymous,
		.created = v->created,
	};
	return store_volume_insert(d->store, &row, err);
}

int state_delete_volume(Daemon *d, const VolState *v, Err *err)
{
	return store_volume_delete(d->store, v->name, err);
}

static int load_networks(Daemon *d, Err *err)
{
	StoreNetwork *rows;
	size_t n;
	int r = store_networks_load(d->store, &rows, &n, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		NetState *net = xcalloc(1, sizeof(*net));
		(void) snprintf(net->id, sizeof(net->id), "%s", rows[i].id);
		net->name = steal_ptr(&rows[i].name);
		net->stack = steal_ptr(&rows[i].stack);
		net->key = steal_ptr(&rows[i].key);
		net->driver = steal_ptr(&rows[i].driver);
		net->internal = rows[i].internal;
		net->subnet = steal_ptr(&rows[i].subnet);
		net->gateway = steal_ptr(&rows[i].gateway);
		net->ip_range = steal_ptr(&rows[i].ip_range);
		net->bridge = steal_ptr(&rows[i].bridge);
		net->labels = steal_ptr(&rows[i].labels);
		net->created = rows[i].created;
		*array_append(d->nets, d->n_nets) = net;
	}
	store_networks_free(rows, n);
	return 0;
}

static int load_volumes(Daemon *d, Err *err)
{
	StoreVolume *rows;
	size_t n;
	int r = store_volumes_load(d->store, &rows, &n, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		VolState *v = xcalloc(1, sizeof(*v));
		v->name = steal_ptr(&rows[i].name);
		v->stack = steal_ptr(&rows[i].stack);
		v->key = steal_ptr(&rows[i].key);
		v->driver = steal_ptr(&rows[i].driver);
		v->labels = steal_ptr(&rows[i].labels);
		v->anonymous = rows[i].anonymous;
		v->created = rows[i].created;
		v->path = xasprintf("%s/volumes/%s/_data", d->o.state_dir, v->name);
		*array_append(d->vols, d->n_vols) = v;
	}
	store_volumes_free(rows, n);
	return 0;
}

/* ── images ───────────────────────────────────────────────────────── */

int state_insert_image(Daemon *d, const Image *img, Err *err)
{
	return store_image_put(d->store, img, err);
}

int state_delete_image(Daemon *d, const char *id, Err *err)
{
	return store_image_delete(d->store, id, err);
}

int state_set_tag(Daemon *d, const char *tag, const char *image_id, Err *err)
{
	return store_tag_put(d->store, tag, image_id, err);
}

int state_delete_tag(Daemon *d, const char *tag, Err *err)
{
	return store_tag_delete(d->store, tag, err);
}

/* ── stacks ───────────────────────────────────────────────────────── */

/* Set while a `down` is not finished. */
static char *down_key(const StackState *s)
{
	return xasprintf("down/%s", s->name);
}

int state_save_stack(StackState *s, const Stack *model, Err *err)
{
	AUTO_FREE char *key = down_key(s);
	json_t *o = stack_to_json(model);
	AUTO_FREE char *text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(o);
	StoreStack row = { .name = s->name, .model = text, .files = model->files, .created = s->created };
	int r = store_stack_put(s->d->store, &row, err);
	return r == 0 ? store_meta_set(s->d->store, key, NULL, err) : r;
}

int state_set_down(StackState *s, Err *err)
{
	AUTO_FREE char *key = down_key(s);
	return store_meta_set(s->d->store, key, "1", err);
}

void state_delete_stack(StackState *s)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_FREE char *key = down_key(s);
	int r = store_stack_delete(s->d->store, s->name, &err);
	if (r == 0)
		r = store_meta_set(s->d->store, key, NULL, &err);
	if (r == 0)
		r = store_releases_delete(s->d->store, s->name, &err);
	if (r < 0)
		log_error("stack %s: %s", s->name, err_text(&err));
	else
		release_sweep_files(s->d);
	daemon_edge_forget(s);
	stack_set_model(s, NULL);
	s->down = false;
}

static int load_stacks(Daemon *d, Err *err)
{
	StoreStack *rows;
	size_t n;
	int r = store_stacks_load(d->store, &rows, &n, err);
	for (size_t i = 0; r == 0 && i < n; i++) {
		StackState *s = stack_state(d, rows[i].name);
		AUTO_ERR one = ERR_INIT;
		AUTO_FREE char *key = down_key(s);
		AUTO_FREE char *down = NULL;
		Stack *model = NULL;
		json_t *o = json_loads(rows[i].model, 0, NULL);
		if (stack_from_json(o, &model, NULL, &one) < 0)
			log_error("stack %s: the stored model cannot be read: %s", s->name, err_text(&one));
		json_decref(o);
		s->created = rows[i].created;
		stack_set_model(s, model);
		r = store_meta_get(d->store, key, &down, err);
		s->down = down != NULL;
	}
	if (r == 0)
		store_stacks_free(rows, n);
	return r;
}

/* ── all of it ────────────────────────────────────────────────────── */

int state_load(Daemon *d, Err *err)
{
	StoreContainer *rows;
	size_t n;
	int r = store_images_load(d->store, &d->images, &d->n_images, err);
	if (r == 0)
		r = load_networks(d, err);
	if (r == 0)
		r = load_volumes(d, err);
	if (r == 0)
		r = load_stacks(d, err);
	if (r == 0)
		r = store_containers_load(d->store, &rows, &n, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		(void) stack_state(d, rows[i].stack);
		*array_append(d->containers, d->n_containers) = load_container(d, &rows[i]);
	}
	store_containers_free(rows, n);
	return 0;
}
