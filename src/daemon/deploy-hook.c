// SPDX-License-Identifier: Apache-2.0
/*
 * A hook runs in a container of its own, like that of the service in the new release but for its command: no published port, no fixed
 * address, no name, no health check, no restart, and no volume that is only its own. It is a candidate that is never switched to, so a
 * crash leaves nothing of it.
 */
#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "daemon/container.h"
#include "daemon/deploy-parts.h"
#include "daemon/json.h"
#include "daemon/notify.h"
#include "daemon/stack.h"
#include "daemon/state.h"

static Container *hook_container(const Deploy *dp, const DeployService *sv)
{
	for (size_t i = 0; i < dp->d->n_containers; i++) {
		Container *c = dp->d->containers[i];
		if (deploy_has(dp, c) && c->oneoff && str_eq(c->svc.name, sv->name))
			return c;
	}
	return NULL;
}

static int hook_service(const Service *svc, char *const *argv, Service *ret, Err *err)
{
	static const char *const not_of_a_hook[] = { "ports", "expose", "container_name", "healthcheck", "scale", "x-stead", "deploy" };
	json_t *o = service_to_json(svc), *networks = json_object_get(o, "networks"), *command = json_array(), *v;
	const char *key;
	for (size_t i = 0; i < ARRAY_SIZE(not_of_a_hook); i++)
		(void) json_object_del(o, not_of_a_hook[i]);
	json_object_foreach(networks, key, v) {
		(void) json_object_del(v, "ipv4_address");
		(void) json_object_del(v, "mac_address");
		(void) json_object_del(v, "aliases");
	}
	for (; *argv; argv++)
		json_array_append_new(command, json_string(*argv));
	json_object_set_new(o, "command", command);
	json_object_set_new(o, "restart", json_string("no"));
	int r = service_from_json(o, svc->name, ret, err);
	json_decref(o);
	if (r < 0)
		service_done(ret);
	return r;
}

static int make(Deploy *dp, DeployService *sv, const char *hook, char *const *argv, Err *err)
{
	Service svc = { 0 };
	Container *c = NULL;
	int r = hook_service(sv->svc, argv, &svc, err);
	if (r < 0)
		return r;
	AUTO_FREE char *name = xasprintf("%s-%s-%s-r%d", dp->s->name, sv->name, hook, dp->release.number);
	CtrSpec spec = {
		.model = dp->release.model,
		.svc = &svc,
		.image_id = strv_env(dp->release.images, sv->name),
		.name = name,
		.role = ROLE_CANDIDATE,
		.release = dp->release.number,
		.oneoff = true,
	};
	r = state_begin(dp->d, err);
	if (r == 0) {
		r = ctr_make(dp->s, &spec, &c, err);
		if (r == 0)
			r = state_insert_container(c, err);
		if (r == 0)
			r = state_commit(dp->d, err);
		else
			state_rollback(dp->d);
		if (r < 0 && c)
			ctr_drop(c);
	}
	service_done(&svc);
	if (r < 0)
		return r;
	c->ask_start = true;
	c->remove_volumes = true;
	ctr_changed(c);
	return 0;
}

/* It goes to whoever deploys, a job's public log perhaps, and into the release's report. */
static void tell_output(Deploy *dp, const DeployService *sv, const char *hook, Container *c)
{
	json_t *lines = ctr_last_lines(c, HOOK_LINES_TOLD);
	AUTO_MASK *m = notify_mask(dp->d, dp->release.model);
	AUTO_STRV char **plain = json_to_strv(lines);
	AUTO_STRV char **masked = mask_lines(m, plain);
	for (char **line = masked; line && *line; line++)
		deploy_report(dp, sv->name, hook, "output", -1, *line);
	json_decref(lines);
}

int deploy_hook(Deploy *dp, DeployService *sv, const char *name, char *const *argv, Container **ret, Err *err)
{
	Container *c = hook_container(dp, sv);
	*ret = c;
	if (!c && sv->hook_ended) {
		sv->hook_ended = false;
		return 0;
	}
	if (!c) {
		int r = make(dp, sv, name, argv, err);
		return r < 0 ? r : 1;
	}
	if (c->ask_remove || c->phase == PHASE_REMOVING)
		return 1;
	if (c->phase != PHASE_EXITED || c->ask_start || ctr_is_busy(c)) {
		/* Without a deploy that it could fail, a start that did not happen is only seen here. */
		return 1;
	}
	tell_output(dp, sv, name, c);
	c->ask_remove = true;
	ctr_changed(c);
	if (c->exit_code == 0 && !c->error) {
		sv->hook_ended = true;
		return 1;
	}
	return err_set(err, -EIO, "%s ended with %d%s%s", argv[0], c->exit_code, c->error ? ": " : "", c->error ? c->error : "");
}
