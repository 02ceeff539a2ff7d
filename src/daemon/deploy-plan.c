// SPDX-License-Identifier: Apache-2.0
/*
 * What a deploy has to do: a comparison of the release with the containers that are there. Services in order of their dependencies; for
 * a rollback the other way round, since what depends on something newer goes back first; but what is not there at all comes before those
 * that need it, and what the release no longer has goes last.
 */
#include <sys/stat.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/deploy-parts.h"
#include "daemon/stack.h"

#define SETTLE_DEFAULT (6 * NSEC_PER_SEC) /* many time-outs are 5 s */

/* ── order ────────────────────────────────────────────────────────── */

static void visit(const Stack *model, const char *name, char ***order)
{
	const Service *svc = stack_service(model, name);
	if (!svc || strv_has(*order, name))
		return;
	for (size_t i = 0; i < svc->n_depends; i++) /* without circles: stack_from_json */
		visit(model, svc->depends[i].service, order);
	strv_add(order, name);
}

static char **dependency_order(const Stack *model)
{
	char **order = NULL;
	for (size_t i = 0; model && i < model->n_services; i++)
		visit(model, model->services[i].name, &order);
	return order;
}

/* ── start-first or stop-first ────────────────────────────────────── */

static bool owns_port(const Service *svc)
{
	for (size_t i = 0; i < svc->n_ports; i++) {
		int range = svc->ports[i].published_end - svc->ports[i].published + 1;
		if (svc->ports[i].published && range < 2 * svc->replicas)
			return true;
	}
	return false;
}

static bool mounts(const Service *svc, const Mount *m)
{
	for (size_t i = 0; i < svc->n_mounts; i++)
		if (svc->mounts[i].type == m->type && str_eq(svc->mounts[i].source, m->source))
			return true;
	return false;
}

static bool is_dir(const char *path)
{
	struct stat st;
	return stat(path, &st) < 0 || S_ISDIR(st.st_mode);
}

/* Data that two of them would write to at once: a volume, or a directory of the host. */
static bool owns_data(const Deploy *dp, const Service *svc)
{
	const Stack *model = dp->release.model;
	for (size_t i = 0; i < svc->n_mounts; i++) {
		const Mount *m = &svc->mounts[i];
		if (m->read_only || m->type == MOUNT_TMPFS || (m->type == MOUNT_BIND && !is_dir(m->source)))
			continue;
		if (m->type == MOUNT_VOLUME && !m->source)
			return true;
		bool shared = svc->replicas > 1;
		for (size_t k = 0; !shared && k < model->n_services; k++)
			shared = !str_eq(model->services[k].name, svc->name) && mounts(&model->services[k], m);
		if (!shared)
			return true;
	}
	return false;
}

static bool tmpfs_at(const Service *svc, const char *target)
{
	for (char **t = svc->tmpfs; t && *t; t++)
		if (strlen(target) == strcspn(*t, ":") && str_starts(*t, target))
			return true;
	for (size_t i = 0; i < svc->n_mounts; i++)
		if (str_eq(svc->mounts[i].target, target))
			return true;
	return false;
}

/* Each container has volumes of its own for what its image declares. */
static bool image_owns_data(const Deploy *dp, const Service *svc)
{
	const char *id = strv_env(dp->release.images, svc->name);
	const Image *img = id ? daemon_image_by_id(dp->d, id) : NULL;
	for (char **v = img ? img->config.volumes : NULL; v && *v; v++)
		if (!tmpfs_at(svc, *v))
			return true;
	return false;
}

static bool owns_address(const Service *svc)
{
	for (size_t i = 0; i < svc->n_networks; i++)
		if (svc->networks[i].ipv4_address || svc->networks[i].mac_address)
			return true;
	return false;
}

const char *deploy_exclusive(const Deploy *dp, const Service *svc)
{
	if (svc->deploy_rules.order == ORDER_STOP_FIRST)
		return "as x-stead.deploy.order says";
	if (svc->deploy_rules.order == ORDER_START_FIRST)
		return NULL;
	if (owns_port(svc))
		return "it owns a port of the host";
	if (owns_data(dp, svc) || image_owns_data(dp, svc))
		return "it owns a writable volume or directory";
	if (owns_address(svc))
		return "it has a fixed address";
	if (str_eq(svc->network_mode, "host") || str_eq(svc->pid, "host") || str_eq(svc->ipc, "host"))
		return "it uses a namespace of the host";
	return NULL;
}

/* ── what differs ─────────────────────────────────────────────────── */

static bool differs(const Deploy *dp, const Container *c, const Service *svc)
{
	char hash[65];
	service_hash(dp->release.model, svc, hash);
	return !str_eq(hash, c->hash) || !str_eq(strv_env(dp->release.images, svc->name), c->image_id) || c->n_endpoints != svc->n_networks;
}

static bool is_current(const Deploy *dp, const Container *c, const char *service)
{
	return deploy_has(dp, c) && c->role == ROLE_CURRENT && c->phase != PHASE_REMOVING && str_eq(c->svc.name, service);
}

static Container *current(const Deploy *dp, const char *service, int number)
{
	for (size_t i = 0; i < dp->d->n_containers; i++)
		if (is_current(dp, dp->d->containers[i], service) && dp->d->containers[i]->number == number)
			return dp->d->containers[i];
	return NULL;
}

static bool completes(const Deploy *dp, const Service *svc)
{
	const Stack *model = dp->release.model;
	for (size_t i = 0; i < model->n_services; i++)
		for (size_t k = 0; k < model->services[i].n_depends; k++)
			if (str_eq(model->services[i].depends[k].service, svc->name) &&
				model->services[i].depends[k].condition == DEPENDS_COMPLETED)
				return true;
	return false;
}

/* Something waits for it to complete, or it is one that has, or may be one. */
static bool is_job(const Deploy *dp, const Service *svc)
{
	if (completes(dp, svc))
		return true;
	if (svc->restart != RESTART_NO || svc->n_routes || svc->healthcheck.set)
		return false;
	for (size_t i = 0; i < dp->d->n_containers; i++)
		if (is_current(dp, dp->d->containers[i], svc->name) && (ctr_is_running(dp->d->containers[i]) || dp->d->containers[i]->exit_code != 0))
			return false;
	return true;
}

/* It cannot stay as it is when what it shares a namespace with, or is to be restarted with, is replaced. */
static bool follows(const Deploy *dp, const Service *svc)
{
	for (size_t i = 0; i < svc->n_depends; i++) {
		const DeployService *dep = deploy_service(dp, svc->depends[i].service);
		if (dep && dep->svc && dep->n_numbers && dep->old && (up_shares_with(svc, dep->name) || svc->depends[i].restart))
			return true;
	}
	return false;
}

static DeployService *add_service(Deploy *dp, const char *name, const Service *svc)
{
	DeployService *sv = array_append(dp->services, dp->n_services);
	sv->name = xstrdup(name);
	sv->svc = svc;
	return sv;
}

/* Once the array does not move any more. */
static void init_edges(Deploy *dp)
{
	for (size_t i = 0; i < dp->n_services; i++)
		deploy_edge_init(dp, &dp->services[i]);
}

static void plan_service(Deploy *dp, const Service *svc, bool force, bool never)
{
	DeployService sv = { .svc = svc, .fresh = true };
	bool follow = follows(dp, svc);
	for (size_t i = 0; i < dp->d->n_containers; i++) {
		const Container *c = dp->d->containers[i];
		if (!is_current(dp, c, svc->name))
			continue;
		sv.fresh = false;
		if (c->number > svc->replicas || force || follow || (!never && differs(dp, c, svc)))
			strv_add(&sv.old, c->id);
	}
	for (int n = 1; n <= svc->replicas; n++) {
		const Container *c = current(dp, svc->name, n);
		if (!c || strv_has(sv.old, c->id))
			*array_append(sv.numbers, sv.n_numbers) = n;
	}
	if (!sv.old && !sv.n_numbers)
		return;
	sv.job = is_job(dp, svc);
	sv.completes = completes(dp, svc);
	sv.stop_first = sv.old && sv.n_numbers && deploy_exclusive(dp, svc);
	DeployService *kept = add_service(dp, svc->name, svc);
	sv.name = kept->name;
	*kept = sv;
}

/* New ones to the front in their order, the others reversed. */
static void reverse(Deploy *dp)
{
	DeployService *sorted = xcalloc(dp->n_services + 1, sizeof(*sorted));
	size_t n = 0;
	for (size_t i = 0; i < dp->n_services; i++)
		if (dp->services[i].fresh)
			sorted[n++] = dp->services[i];
	for (size_t i = dp->n_services; i-- > 0;)
		if (!dp->services[i].fresh)
			sorted[n++] = dp->services[i];
	free(dp->services);
	dp->services = sorted;
	/* array_append grows at powers of two. */
	size_t cap = 1;
	while (cap < n)
		cap *= 2;
	dp->services = xreallocarray(dp->services, cap, sizeof(*dp->services));
}

/* Services that the release does not have, dependents first. */
static void plan_gone(Deploy *dp)
{
	AUTO_STRV char **gone = NULL;
	AUTO_STRV char **order = dependency_order(dp->s->model);
	for (size_t i = strv_len(order); i-- > 0;)
		if (!stack_service(dp->release.model, order[i]) && !strv_has(dp->release.model->off, order[i]))
			strv_add(&gone, order[i]);
	for (size_t i = 0; i < dp->d->n_containers; i++) {
		const Container *c = dp->d->containers[i];
		if (deploy_has(dp, c) && !stack_service(dp->release.model, c->svc.name) && !strv_has(dp->release.model->off, c->svc.name) &&
			!strv_has(gone, c->svc.name))
			strv_add(&gone, c->svc.name);
	}
	for (char **name = gone; name && *name; name++) {
		char **old = NULL;
		for (size_t i = 0; i < dp->d->n_containers; i++)
			if (is_current(dp, dp->d->containers[i], *name))
				strv_add(&old, dp->d->containers[i]->id);
		if (old)
			add_service(dp, *name, NULL)->old = old;
	}
}

void deploy_plan(Deploy *dp, bool force, bool never)
{
	AUTO_STRV char **order = dependency_order(dp->release.model);
	for (char **name = order; name && *name; name++)
		if (strv_has(dp->op->services, *name))
			plan_service(dp, stack_service(dp->release.model, *name), force, never);
	if (dp->op->kind == OP_ROLLBACK)
		reverse(dp);
	if (dp->op->kind != OP_UP || dp->op->remove_orphans)
		plan_gone(dp);
	init_edges(dp);
}

/*
 * Much of what passes its health check is dead a few seconds later: when a connection to the database has timed out, caches have been filled into the
 * memory limit, a supervisor has given up. As long as nobody is led to it, this costs nobody anything. Only where old ones serve meanwhile: else it would be an outage.
 */
int64_t deploy_settle(const Deploy *dp, const DeployService *sv)
{
	const DeployRules *rules = sv->svc ? &sv->svc->deploy_rules : NULL;
	if (!rules || !sv->n_numbers || !sv->svc->n_routes || !sv->old || sv->stop_first || sv->job || dp->op->kind == OP_ROLLBACK)
		return 0;
	return rules->settle >= 0 ? rules->settle : rules->bake < SETTLE_DEFAULT ? rules->bake : SETTLE_DEFAULT;
}

/* ── telling ──────────────────────────────────────────────────────── */

static void tell(const Deploy *dp, const char *service, const char *step, char *detail)
{
	operation_line(dp->s, json_pack("{s:{s:s, s:s, s:s}}", "plan", "service", service, "step", step, "detail", detail));
	free(detail);
}

static void tell_health(const Deploy *dp, const DeployService *sv)
{
	AUTO_FREE char *patience = format_duration(sv->svc->deploy_rules.health_timeout);
	const char *id = strv_env(dp->release.images, sv->name);
	const Image *img = id ? daemon_image_by_id(dp->d, id) : NULL;
	Healthcheck check;
	healthcheck_resolve(&sv->svc->healthcheck, img ? &img->config.healthcheck : NULL, &check);
	if (sv->completes)
		tell(dp, sv->name, "health", xasprintf("wait until it has ended with 0, at most %s", patience));
	else if (check.test && !check.disable)
		tell(dp, sv->name, "health", xasprintf("wait for its health check, at most %s", patience));
	else if (sv->svc->n_routes)
		tell(dp, sv->name, "health", xasprintf("ask %s over HTTP from outside, at most %s", sv->svc->routes[0].path, patience));
	else if (sv->svc->expose || sv->svc->n_ports)
		tell(dp, sv->name, "health", xasprintf("connect to its ports, at most %s", patience));
	healthcheck_done(&check);
}

static void tell_service(const Deploy *dp, const DeployService *sv)
{
	const DeployRules *rules = &sv->svc->deploy_rules;
	const char *exclusive = sv->stop_first ? deploy_exclusive(dp, sv->svc) : NULL;
	AUTO_FREE char *drain = format_duration(rules->drain), *bake = format_duration(rules->bake), *hold = format_duration(rules->hold);
	if (rules->pre_deploy && sv->n_numbers)
		tell(dp, sv->name, "pre_deploy", xasprintf("run %s in a container of the new release", rules->pre_deploy[0]));
	if (exclusive)
		tell(dp, sv->name, "stop", xasprintf("stop %zu container(s) first, since %s%s%s", strv_len(sv->old), exclusive,
			sv->svc->n_routes ? "; the edge holds requests for up to " : "", sv->svc->n_routes ? hold : ""));
	if (sv->n_numbers) {
		tell(dp, sv->name, "start", xasprintf("start %zu container(s) of %s%s", sv->n_numbers, sv->svc->image,
			exclusive || !sv->old ? "" : " beside the old"));
		tell_health(dp, sv);
	}
	if (deploy_settle(dp, sv)) {
		AUTO_FREE char *settle = format_duration(deploy_settle(dp, sv));
		tell(dp, sv->name, "settle", xasprintf("see whether it runs well for %s", settle));
	}
	for (size_t i = 0; sv->n_numbers && i < rules->n_smoke; i++)
		tell(dp, sv->name, "smoke", xasprintf("GET %s must answer %d%s%s%s", rules->smoke[i].get, rules->smoke[i].status,
			rules->smoke[i].contains ? " with \"" : "", rules->smoke[i].contains ? rules->smoke[i].contains : "",
			rules->smoke[i].contains ? "\"" : ""));
	tell(dp, sv->name, "switch", xasprintf("%s lead to the new", sv->svc->n_routes ? "routes and names" : "names"));
	bool bakes = sv->n_numbers && dp->op->kind != OP_ROLLBACK && rules->bake && !sv->job, later = bakes && sv->svc->n_routes;
	if (sv->old && !exclusive && sv->svc->n_routes)
		tell(dp, sv->name, "drain", xasprintf("wait up to %s for requests under way", drain));
	if (sv->old && !exclusive && !later)
		tell(dp, sv->name, "stop", xasprintf("stop %zu old container(s)", strv_len(sv->old)));
	if (bakes)
		tell(dp, sv->name, "bake", xasprintf("watch it for %s; errors roll back", bake));
	if (sv->old && !exclusive && later)
		tell(dp, sv->name, "stop", xasprintf("stop %zu old container(s)", strv_len(sv->old)));
}

void deploy_tell_plan(const Deploy *dp)
{
	for (size_t i = 0; i < dp->n_services; i++)
		if (dp->services[i].svc)
			tell_service(dp, &dp->services[i]);
	for (size_t i = 0; i < dp->n_services; i++) {
		const DeployService *sv = &dp->services[i];
		if (sv->old)
			tell(dp, sv->name, "retire", xasprintf(sv->svc ? "remove %zu old container(s)" :
				"stop and remove %zu container(s): the service is gone from the file", strv_len(sv->old)));
	}
	for (size_t i = 0; i < dp->n_services; i++)
		if (dp->services[i].svc && dp->services[i].n_numbers && dp->services[i].svc->deploy_rules.post_deploy)
			tell(dp, dp->services[i].name, "post_deploy",
				xasprintf("run %s in a container of the new release", dp->services[i].svc->deploy_rules.post_deploy[0]));
}

/* ── some services of a file ──────────────────────────────────────── */

/* Objects of `now` over those of `old`. */
static void merge_objects(json_t *old, json_t *now, const char *key)
{
	json_t *mine = json_object_get(old, key), *theirs = json_object_get(now, key);
	if (mine && theirs)
		(void) json_object_update(mine, theirs);
	else if (theirs)
		(void) json_object_set(old, key, theirs);
}

int deploy_merge_model(const Stack *old, const Stack *now, char *const *services, Stack **ret, Err *err)
{
	static const char *const shared[] = { "networks", "volumes", "configs", "secrets" };
	json_t *merged = stack_to_json(old), *theirs = stack_to_json(now), *mine = json_object_get(merged, "services");
	ModelPath where = { "" };
	for (size_t i = 0; i < ARRAY_SIZE(shared); i++)
		merge_objects(merged, theirs, shared[i]);
	for (char *const *name = services; name && *name; name++)
		(void) json_object_set(mine, *name, json_object_get(json_object_get(theirs, "services"), *name));
	(void) json_object_set(merged, "x-stead-origin", json_object_get(theirs, "x-stead-origin"));
	if (json_object_get(theirs, "x-stead"))
		(void) json_object_set(merged, "x-stead", json_object_get(theirs, "x-stead"));
	int r = stack_from_json(merged, ret, &where, err);
	json_decref(merged);
	json_decref(theirs);
	return r < 0 ? err_wrap(err, "these services beside the others as they run now; deploy all of the file") : 0;
}
