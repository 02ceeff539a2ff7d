// SPDX-License-Identifier: Apache-2.0
/*
 * `up` in three passes: what can be refused is refused before anything is written; then the whole
 * intent (stack, networks, volumes, containers) is written in one transaction; then containers are marked. Each
 * refusal notes where in the model it sits, so that the CLI can name file and line.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/container.h"
#include "daemon/deploy.h"
#include "daemon/edge.h"
#include "daemon/events.h"
#include "daemon/files.h"
#include "daemon/image.h"
#include "daemon/network.h"
#include "daemon/operation.h"
#include "daemon/release.h"
#include "daemon/stack.h"
#include "daemon/state.h"
#include "daemon/volume.h"
#include "run/bundle.h"

#define AT(op, ...) (void) snprintf((op)->where.text, sizeof((op)->where.text), __VA_ARGS__)

/* ── which services ───────────────────────────────────────────────── */

static int add_with_dependencies(Operation *op, char ***names, const char *name, Err *err)
{
	const Service *svc = stack_service(op->model, name);
	if (!svc)
		return err_set(err, -ENOENT, "no such service: %s", name);
	if (strv_has(*names, name))
		return 0;
	strv_add(names, name);
	for (size_t i = 0; !op->no_deps && i < svc->n_depends; i++) {
		int r = stack_service(op->model, svc->depends[i].service) || svc->depends[i].required ?
				add_with_dependencies(op, names, svc->depends[i].service, err) :
				0;
		if (r < 0)
			return r;
	}
	return 0;
}

static int choose_services(Operation *op, Err *err)
{
	char **names = NULL;
	int r = 0;
	for (char **name = op->services; r == 0 && name && *name; name++)
		r = add_with_dependencies(op, &names, *name, err);
	for (size_t i = 0; !op->services && i < op->model->n_services; i++)
		strv_add(&names, op->model->services[i].name);
	if (r < 0) {
		strv_free(names);
		return r;
	}
	strv_free(op->services);
	op->services = names;
	for (char **pair = op->scale; pair && *pair; pair++) {
		AUTO_FREE char *name = xstrndup(*pair, strcspn(*pair, "="));
		Service *svc = stack_service(op->model, name);
		uint32_t n = 0;
		if (!svc)
			return err_set(err, -ENOENT, "scale: no such service: %s", name);
		if (parse_u32_max(*pair + strlen(name) + 1, LIMIT_REPLICAS, &n) < 0)
			return err_set(err, -EINVAL, "scale: %s: at most %d replicas", name, LIMIT_REPLICAS);
		if (n > 1 && svc->container_name)
			return err_set(err, -EINVAL, "scale: %s has a container_name, so there can be only one of it", name);
		svc->replicas = (int) n;
	}
	return 0;
}

/* ── what can be refused ──────────────────────────────────────────── */

static int check_mounts(Operation *op, const Service *svc, Err *err)
{
	for (size_t i = 0; i < svc->n_mounts; i++) {
		const Mount *m = &svc->mounts[i];
		AT(op, "services.%s.volumes[%zu]", svc->name, i);
		if (m->type == MOUNT_BIND && !m->create_host_path && access(m->source, F_OK) < 0)
			return err_set(err, -ENOENT, "bind source %s does not exist; make it (mkdir -p), or correct the path, or write the "
						     "long form with bind.create_host_path: true", m->source);
	}
	AT(op, "services.%s", svc->name);
	/* A rollback brings files of its own along. */
	return files_check(op->kind == OP_ROLLBACK ? op->s->d : NULL, op->model, svc, err);
}

static int check_ports(Operation *op, const Service *svc, Err *err)
{
	for (size_t i = 0; i < svc->n_ports; i++) {
		AT(op, "services.%s.ports[%zu]", svc->name, i);
		int r = daemon_edge_port_check(op->s->d, op->model, &svc->ports[i], err);
		if (r == 0)
			r = network_port_check(op->s->d, op->s->name, &svc->ports[i], err);
		if (r < 0)
			return r;
		if (svc->replicas > 1 && svc->ports[i].published && svc->ports[i].published_end - svc->ports[i].published + 1 < svc->replicas)
			return err_set(err, -EINVAL, "%d replicas cannot all publish port %u; publish a range, or no host port", svc->replicas,
				svc->ports[i].published);
	}
	return 0;
}

static int check_names(Operation *op, const Service *svc, Err *err)
{
	AT(op, "services.%s%s", svc->name, svc->container_name ? ".container_name" : "");
	for (int n = 1; n <= svc->replicas; n++) {
		AUTO_FREE char *name = ctr_name(op->s->name, svc, n);
		const Container *c = daemon_container_by_name(op->s->d, name);
		if (c && !(str_eq(c->stack, op->s->name) && str_eq(c->svc.name, svc->name)))
			return err_set(err, -EEXIST, "the name '%s' is taken by a container of stack '%s', service '%s'", name, c->stack,
				c->svc.name);
	}
	return 0;
}

static int check_service(Operation *op, const Service *svc, Err *err)
{
	Daemon *d = op->s->d;
	Image *img = NULL;
	AT(op, "services.%s.image", svc->name);
	const char *id = strv_env(op->image_ids, svc->name);
	if (id && !(img = daemon_image_by_id(d, id)))
		return err_set(err, -ENOENT, "image %s (%s) is not on this machine any more; load it again, or deploy another release", id, svc->image);
	if (!img && daemon_find_image(d, svc->image, &img, NULL, NULL) < 0)
		return err_set(err, -ENOENT, "image '%s' is not on this machine; pull it (stead pull), load it (stead load -i FILE, stead import) or make it "
					     "(stead image bootstrap %s --packages …)", svc->image, svc->image);
	int r = image_platform_check(img, svc->platform, err);
	if (r < 0)
		return r;
	AT(op, "services.%s", svc->name);
	AUTO_STRV char **args = process_args(svc, img);
	if (!args)
		return err_set(err, -EINVAL, "neither the service nor its image '%s' says what to run; give it a command", svc->image);
	r = bundle_check(d->runtime, svc, err);
	if (r == 0)
		r = check_mounts(op, svc, err);
	if (r == 0)
		r = check_names(op, svc, err);
	if (r == 0)
		r = check_ports(op, svc, err);
	return r;
}

static int check(Operation *op, Err *err)
{
	size_t total = 0;
	for (size_t i = 0; i < op->model->n_services; i++)
		total += (size_t) op->model->services[i].replicas;
	if (total > LIMIT_STACK_CONTAINERS)
		return err_set(err, -EINVAL, "%zu containers; a stack may have at most %d", total, LIMIT_STACK_CONTAINERS);
	for (char **name = op->services; name && *name; name++) {
		int r = check_service(op, stack_service(op->model, *name), err);
		if (r < 0)
			return r;
	}
	op->where.text[0] = '\0';
	return daemon_edge_check(op->s, op->model, &op->where, err);
}

/* ── intent ───────────────────────────────────────────────────────── */

static bool network_used(const Operation *op, const Network *n)
{
	for (char **name = op->services; name && *name; name++) {
		const Service *svc = stack_service(op->model, *name);
		for (size_t i = 0; i < svc->n_networks; i++)
			if (str_eq(svc->networks[i].network, n->key))
				return true;
	}
	return false;
}

/* A network of the stack whose wish has changed: it can be made anew only when nothing is on it. */
static bool network_differs(const NetState *net, const Network *n)
{
	if (n->external)
		return false;
	return net->internal != n->internal || (n->n_subnets && n->subnets[0].subnet && !str_eq(net->subnet, n->subnets[0].subnet));
}

static int prepare_networks(Operation *op, Err *err)
{
	for (size_t i = 0; i < op->model->n_networks; i++) {
		const Network *n = &op->model->networks[i];
		NetState *net = NULL;
		if (!network_used(op, n))
			continue;
		AT(op, "networks.%s", n->key);
		if (daemon_find_network(op->s->d, n->name, &net, NULL) == 0 && str_eq(net->stack, op->s->name) && network_differs(net, n)) {
			if (network_users(op->s->d, net))
				return err_set(err, -EBUSY, "network '%s' has changed, and containers are on the old one; run `stead down` first",
					n->name);
			int r = network_remove(op->s->d, net, err);
			if (r < 0)
				return r;
		}
		int r = network_prepare(op->s, op->model, n, &net, err);
		if (r < 0)
			return r;
		if (r > 0) {
			strv_add(&op->new_networks, net->name);
			operation_report(op->s, "network", net->name, NULL, "created");
			events_network(op->s->d, net, "create");
		}
	}
	op->where.text[0] = '\0';
	return 0;
}

static bool volume_used(const Operation *op, const Volume *v)
{
	for (char **name = op->services; name && *name; name++) {
		const Service *svc = stack_service(op->model, *name);
		for (size_t i = 0; i < svc->n_mounts; i++)
			if (svc->mounts[i].type == MOUNT_VOLUME && str_eq(svc->mounts[i].source, v->key))
				return true;
	}
	return false;
}

static int prepare_volumes(Operation *op, Err *err)
{
	for (size_t i = 0; i < op->model->n_volumes; i++) {
		VolState *v = NULL;
		if (!volume_used(op, &op->model->volumes[i]))
			continue;
		AT(op, "volumes.%s", op->model->volumes[i].key);
		int r = volume_prepare(op->s, op->model, &op->model->volumes[i], &v, err);
		if (r < 0)
			return r;
		if (r > 0) {
			strv_add(&op->new_volumes, v->name);
			operation_report(op->s, "volume", v->name, NULL, "created");
		}
	}
	op->where.text[0] = '\0';
	return 0;
}

static Container *find(const StackState *s, const char *service, int number)
{
	for (size_t i = 0; i < s->d->n_containers; i++) {
		Container *c = s->d->containers[i];
		if (str_eq(c->stack, s->name) && str_eq(c->svc.name, service) && c->number == number && c->role == ROLE_CURRENT)
			return c;
	}
	return NULL;
}

static bool differs(const StackState *s, const Container *c, const Service *svc)
{
	char hash[65];
	Image *img = NULL;
	service_hash(s->model, svc, hash);
	if (!str_eq(hash, c->hash))
		return true;
	if (daemon_find_image(s->d, svc->image, &img, NULL, NULL) < 0 || !str_eq(img->id, c->image_id))
		return true;
	return c->n_endpoints != svc->n_networks;
}

static void replace(Operation *op, Container *c)
{
	if (c->ask_remove)
		return;
	c->ask_remove = c->ask_replace = true;
	c->ask_timeout = op->timeout;
	c->remove_volumes = op->renew_volumes;
	stack_add_missing(op->s, c->svc.name, c->number, !op->no_start);
	operation_report(op->s, "container", c->name, c->svc.name, "recreating");
	ctr_changed(c);
}

/* What shares a namespace with a replaced container holds on to one that goes: it is replaced as well. */
bool up_shares_with(const Service *svc, const char *service)
{
	const char *modes[] = { svc->network_mode, svc->pid, svc->ipc };
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		if (modes[i] && str_starts(modes[i], "service:") && str_eq(modes[i] + strlen("service:"), service))
			return true;
	return false;
}

/* Its dependency is replaced, or was made after it had been started: by this `up`, or by one that did not get this far. */
static bool is_outdated(const Operation *op, const Container *c, const Container *dep)
{
	return dep->ask_replace || (strv_has(op->services, c->svc.name) && c->started_at && dep->created > c->started_at);
}

static void follow_replaced(Operation *op)
{
	StackState *s = op->s;
	for (bool again = true; again;) {
		again = false;
		for (size_t i = 0; i < s->d->n_containers; i++) {
			Container *c = s->d->containers[i];
			const Service *svc = str_eq(c->stack, s->name) ? stack_service(s->model, c->svc.name) : NULL;
			for (size_t k = 0; svc && !c->ask_remove && k < svc->n_depends; k++) {
				Container *dep = find(s, svc->depends[k].service, 1);
				if (dep && dep->ask_replace && up_shares_with(svc, dep->svc.name)) {
					replace(op, c);
					again = true;
				} else if (dep && svc->depends[k].restart && is_outdated(op, c, dep) && ctr_is_running(c) && !c->ask_stop) {
					c->ask_stop = c->ask_start = true;
					c->ask_timeout = op->timeout;
				}
			}
		}
	}
}

static int mark_slot(Operation *op, const Service *svc, int number, Err *err)
{
	StackState *s = op->s;
	Container *c = find(s, svc->name, number);
	if (c && c->phase == PHASE_REMOVING)
		c = NULL;
	AUTO_FREE char *name = ctr_name(s->name, svc, number);
	strv_add(&op->targets, name);
	if (!c) {
		int r = ctr_new(s, svc->name, number, &c, err);
		if (r < 0)
			return r;
		c->ask_start = c->wanted_running = !op->no_start;
		r = state_insert_container(c, err);
		if (r < 0)
			return r;
		c->fresh = true;
		operation_report(s, "container", c->name, svc->name, "created");
	} else if (!op->no_recreate && (op->force_recreate || differs(s, c, svc))) {
		replace(op, c);
	} else {
		c->wanted_running = c->wanted_running || !op->no_start;
		c->restart_tries = 0;
		bool stays = ctr_is_running(c) && c->phase != PHASE_STOPPING && !c->ask_stop;
		if (stays || op->no_start)
			operation_report(s, "container", c->name, svc->name, ctr_is_running(c) ? "running" : "created");
		else
			c->ask_start = true;
	}
	ctr_changed(c);
	return 0;
}

/* Of a service that is not in the model, nor switched off in it. */
static bool is_orphan(const StackState *s, const Stack *model, const Container *c)
{
	return str_eq(c->stack, s->name) && c->role == ROLE_CURRENT && !stack_service(model, c->svc.name) && !strv_has(model->off, c->svc.name);
}

void up_warn_orphans(StackState *s, const Stack *model)
{
	AUTO_BUF orphans = BUF_INIT;
	for (size_t i = 0; i < s->d->n_containers; i++)
		if (is_orphan(s, model, s->d->containers[i]) && !s->d->containers[i]->ask_remove)
			buf_printf(&orphans, "%s%s", orphans.len ? ", " : "", s->d->containers[i]->name);
	if (orphans.len)
		operation_warn(s, "containers of services that are not in the file (any more): %s; --remove-orphans removes them", orphans.data);
}

/* Too many replicas, and containers of services that the file no longer has. */
static void mark_surplus(Operation *op)
{
	StackState *s = op->s;
	if (!op->remove_orphans)
		up_warn_orphans(s, s->model);
	for (size_t i = 0; i < s->d->n_containers; i++) {
		Container *c = s->d->containers[i];
		if (!str_eq(c->stack, s->name) || c->ask_remove || c->role != ROLE_CURRENT)
			continue;
		const Service *svc = stack_service(s->model, c->svc.name);
		bool surplus = svc && strv_has(op->services, svc->name) && c->number > svc->replicas;
		if (!surplus && !(op->remove_orphans && is_orphan(s, s->model, c)))
			continue;
		c->ask_remove = true;
		c->remove_volumes = true;
		c->ask_timeout = op->timeout;
		c->wanted_running = false;
		ctr_changed(c);
	}
}

int up_prepare(Operation *op, Err *err)
{
	int r = prepare_networks(op, err);
	return r < 0 ? r : prepare_volumes(op, err);
}

/* What runs from now on is a release, too, if anything of it is new. */
static int record_release(Operation *op, Err *err)
{
	StackState *s = op->s;
	Release now = { 0 };
	Release r = { .kind = (char *) "up", .created = time_real(), .who = op->who, .commit = op->commit, .author = op->author, .model = op->model,
		.images = op->image_ids };
	if (release_same(s->d, s->name, op->model, op->image_ids))
		return 0;
	int e = release_current(s->d, s->name, &now, err);
	r.base = now.number;
	release_done(&now);
	if (e >= 0)
		e = release_next(s->d, s->name, &r.number, err);
	if (e == 0)
		e = release_insert(s->d, s->name, &r, true, err);
	if (e == 0)
		op->release = r.number;
	return e;
}

static int write_intent(Operation *op, Err *err)
{
	StackState *s = op->s;
	int r = state_begin(s->d, err);
	if (r < 0)
		return r;
	r = up_prepare(op, err);
	if (r == 0)
		r = state_save_stack(s, op->model, err);
	if (r == 0)
		r = record_release(op, err);
	if (r == 0) {
		stack_set_model(s, steal_ptr(&op->model));
		s->down = false;
		for (char **name = op->services; r == 0 && name && *name; name++) {
			const Service *svc = stack_service(s->model, *name);
			AT(op, "services.%s", *name);
			for (int n = 1; r == 0 && n <= svc->replicas; n++)
				r = mark_slot(op, svc, n, err);
			if (r < 0)
				err_wrap(err, "service '%s'", *name);
		}
	}
	if (r == 0) {
		op->where.text[0] = '\0';
		mark_surplus(op);
		follow_replaced(op);
	}
	if (r == 0)
		r = state_write_marked(s->d, err);
	/* Committed in either case: what was made is undone through its rows (operation.c), as after a crash. */
	int e = state_commit(s->d, r < 0 ? NULL : err);
	/* Not written: what was made has no row that could be removed, and nothing of it has begun. */
	for (size_t i = s->d->n_containers; e < 0 && i-- > 0;)
		if (s->d->containers[i]->fresh && str_eq(s->d->containers[i]->stack, s->name))
			ctr_drop(s->d->containers[i]);
	return r < 0 ? r : e;
}

int up_check(Operation *op, Err *err)
{
	int r = choose_services(op, err);
	return r < 0 ? r : check(op, err);
}

int up_begin(Operation *op, Err *err)
{
	int r = up_check(op, err);
	if (r == 0)
		r = release_freeze(op->s->d, op->model, op->services, false, err);
	if (r == 0)
		r = release_images(op->s, op->model, op->services, &op->image_ids, err);
	if (r < 0)
		return r;
	return deploy_takes_up(op) ? deploy_begin(op, err) : write_intent(op, err);
}
