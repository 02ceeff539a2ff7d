// SPDX-License-Identifier: Apache-2.0
/*
 * Containers: the list and inspect.
 */
#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "daemon/api-docker.h"

/* ── filters of the list ──────────────────────────────────────────── */

static bool fits_network(const Filter *f, const Container *c)
{
	if (!filter_values(f, "network"))
		return true;
	for (size_t i = 0; i < c->n_endpoints; i++)
		if (filter_match(f, "network", c->endpoints[i].net->name) || filter_match_prefix(f, "network", c->endpoints[i].net->id))
			return true;
	return c->svc.network_mode && filter_match(f, "network", c->svc.network_mode);
}

static bool fits_volume(const Filter *f, const Container *c)
{
	if (!filter_values(f, "volume"))
		return true;
	for (size_t i = 0; i < c->n_binds; i++)
		if ((c->binds[i].vol && filter_match(f, "volume", c->binds[i].vol->name)) || filter_match(f, "volume", c->binds[i].target) ||
			filter_match(f, "volume", c->binds[i].source))
			return true;
	return false;
}

static bool fits_ancestor(const Filter *f, const Container *c)
{
	const json_t *list = filter_values(f, "ancestor");
	for (size_t i = 0; i < json_array_size(list); i++) {
		Image *img = NULL;
		if (daemon_find_image(c->d, json_string_value(json_array_get(list, i)), &img, NULL, NULL) == 0 &&
			str_eq(img->id, c->image_id))
			return true;
	}
	return !list;
}

/** "80", "80/tcp", against what it publishes or (expose) has open. */
static bool fits_port(const Filter *f, const char *key, const Container *c)
{
	if (!filter_values(f, key))
		return true;
	for (size_t i = 0; i < c->svc.n_ports; i++) {
		const Port *p = &c->svc.ports[i];
		AUTO_FREE char *number = xasprintf("%u", p->target);
		AUTO_FREE char *port = xasprintf("%u/%s", p->target, p->protocol);
		if (filter_match(f, key, port) || (str_eq(p->protocol, "tcp") && filter_match(f, key, number)))
			return true;
	}
	return false;
}

static bool fits_exited(const Filter *f, const Container *c)
{
	char code[12];
	if (!filter_values(f, "exited"))
		return true;
	(void) snprintf(code, sizeof(code), "%d", c->exit_code);
	return !ctr_is_running(c) && c->finished_at && filter_match(f, "exited", code);
}

static bool fits_name(const Filter *f, const Container *c)
{
	AUTO_FREE char *slashed = xasprintf("/%s", c->name);
	return filter_match_text(f, "name", c->name) || filter_match_text(f, "name", slashed);
}

static bool container_fits(const Filter *f, const Container *c)
{
	return filter_match(f, "status", ctr_status(c)) && filter_match(f, "health", health_state_name(c->health_state)) &&
	       filter_match_prefix(f, "id", c->id) && filter_match_labels(f, c->labels) && fits_name(f, c) && fits_network(f, c) &&
	       fits_volume(f, c) && fits_ancestor(f, c) && fits_exited(f, c) && fits_port(f, "publish", c) && fits_port(f, "expose", c);
}

/** When the container that a "before" or "since" filter names was made; 0 without such a filter. */
static int filter_moment(Daemon *d, const Filter *f, const char *key, int64_t *ret, Err *err)
{
	const json_t *list = filter_values(f, key);
	Container *c = NULL;
	*ret = 0;
	if (!list)
		return 0;
	int r = daemon_find_container(d, json_string_value(json_array_get(list, 0)), &c, err);
	if (r == 0)
		*ret = c->created;
	return r;
}

static bool check_values(HttpRequest *r, const Filter *f)
{
	static const char *const status[] = { "created", "running", "paused", "restarting", "removing", "exited", "dead", NULL };
	const json_t *list = filter_values(f, "status");
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *s = json_string_value(json_array_get(list, i));
		if (!strv_has((char *const *) status, s)) {
			http_error(r, 400, "Unrecognised filter value for status: %s", s);
			return false;
		}
	}
	return true;
}

/* ── list ─────────────────────────────────────────────────────────── */

typedef struct SizedList {
	HttpRequest *r; /* NULL once the client has gone */
	json_t *answer; /* an array or one object */
	char **uppers;  /* in its order */
} SizedList;

static void sized_gone(void *user)
{
	((SizedList *) user)->r = NULL;
}

static void sized_done(void *user, char *const *paths, const int64_t *sizes)
{
	SizedList *s = user;
	bool one = json_is_object(s->answer);
	size_t n = one ? 1 : json_array_size(s->answer);
	for (size_t i = 0; i < n; i++) {
		json_t *o = one ? s->answer : json_array_get(s->answer, i);
		json_int_t image = json_integer_value(json_object_get(o, "SizeRootFs"));
		json_object_set_new(o, "SizeRw", json_integer(sizes[i]));
		json_object_set_new(o, "SizeRootFs", json_integer(image + sizes[i]));
	}
	if (s->r) {
		HttpRequest *r = s->r;
		http_set_user(r, NULL, NULL);
		http_reply_json(r, 200, s->answer);
	} else {
		json_decref(s->answer);
	}
	free(s);
}

/** Answers once the writable layers have been measured. Takes ownership of both. */
static void reply_sized(Daemon *d, HttpRequest *r, json_t *answer, char **uppers)
{
	SizedList *s = xcalloc(1, sizeof(*s));
	s->r = r;
	s->answer = answer;
	http_set_user(r, s, sized_gone);
	sizes_count(d->loop, uppers, sized_done, s);
}

static void add_sized(const Container *c, json_t *o, char ***uppers)
{
	const Image *img = daemon_image_by_id(c->d, c->image_id);
	json_object_set_new(o, "SizeRootFs", json_integer(img ? img->size : 0));
	strv_take(uppers, xasprintf("%s/containers/%s/upper", c->d->o.state_dir, c->id));
}

static void list(Daemon *d, HttpRequest *r, char *const *args)
{
	static const char *const known[] = { "ancestor", "before", "exited", "expose", "health", "id", "isolation", "is-task", "label",
		"label!", "name", "network", "publish", "since", "status", "volume", NULL };
	AUTO_ERR err = ERR_INIT;
	Filter *f = NULL;
	int64_t limit, before = 0, since = 0;
	if (!docker_query_number(r, "limit", -1, &limit) || !docker_filters(r, known, &f))
		return;
	if (filter_moment(d, f, "before", &before, &err) < 0 || filter_moment(d, f, "since", &since, &err) < 0) {
		http_error_err(r, &err);
		json_decref(f);
		return;
	}
	if (!check_values(r, f)) {
		json_decref(f);
		return;
	}
	/* A state that is asked for, or a limit, means all containers. */
	bool all = http_query_bool(r, "all", false) || limit > 0 || filter_values(f, "status") || filter_values(f, "exited") || before || since;
	bool size = http_query_bool(r, "size", false);
	json_t *answer = json_array();
	char **uppers = NULL;
	for (size_t i = d->n_containers; i-- > 0;) { /* the newest first */
		const Container *c = d->containers[i];
		if (limit > 0 && (int64_t) json_array_size(answer) == limit)
			break;
		if ((!all && !ctr_is_running(c) && !c->restarting) || !container_fits(f, c))
			continue;
		if ((before && c->created >= before) || (since && c->created <= since))
			continue;
		json_t *o = docker_container_summary(c);
		json_array_append_new(answer, o);
		if (size)
			add_sized(c, o, &uppers);
	}
	json_decref(f);
	if (size)
		reply_sized(d, r, answer, uppers);
	else
		http_reply_json(r, 200, answer);
}

static void inspect(Daemon *d, HttpRequest *r, char *const *args)
{
	const Container *c = docker_container(d, r, args[0]);
	if (!c)
		return;
	json_t *o = docker_container_inspect(c);
	if (!http_query_bool(r, "size", false)) {
		http_reply_json(r, 200, o);
		return;
	}
	char **uppers = NULL;
	add_sized(c, o, &uppers);
	reply_sized(d, r, o, uppers);
}

const ApiRoute api_docker_container_routes[] = {
	{ "GET", "/containers/json", list, false },
	{ "GET", "/containers/*/json", inspect, false },
	{ NULL, NULL, NULL, false },
};
