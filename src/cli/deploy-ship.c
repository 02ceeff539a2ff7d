// SPDX-License-Identifier: Apache-2.0
/*
 * How it works: for each image of the model both daemons are asked what they have under its name. Another version here counts if it is newer
 * and was made here: what both have from a registry is the box's own business. Before anything is sent, the box is asked for the
 * plan of the deploy with these images, so that what it would refuse is refused now.
 */
#include "cli/deploy-ship.h"

#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/client.h"
#include "cli/operation.h"
#include "cli/output.h"
#include "cli/ship-view.h"
#include "cli/shipping.h"
#include "cli/signals.h"

typedef struct Need {
	const char *image, *service; /* of the model */
	json_t *here;                /* as inspected */
	bool missing;                /* the box has none of this name */
} Need;

typedef struct Check {
	const Cli *cli;
	const DeployShip *o;
	const char *from;
	HttpClient *box, *local; /* local: NULL without one */
	Need *needs;             /* what is to be sent */
	size_t n;
	bool elsewhere;          /* some image is neither here nor there: to be pulled, perhaps */
} Check;

static void check_done(Check *c)
{
	for (size_t i = 0; i < c->n; i++)
		json_decref(c->needs[i].here);
	free(c->needs);
	http_client_free(c->box);
	http_client_free(c->local);
}

/* ── who has what ─────────────────────────────────────────────────── */

/* 1: *ret is the image; 0: there is none of this name. */
static int inspect(HttpClient *c, const char *image, json_t **ret, Err *err)
{
	AUTO_BUF url = BUF_INIT;
	AUTO_ERR why = ERR_INIT;
	buf_str(&url, "/images/");
	http_url_append(&url, image);
	buf_str(&url, "/json");
	int r = client_get(c, buf_cstr(&url), JSON_OBJECT, ret, &why);
	if (r == 0)
		return 1;
	return http_status(c) == 404 ? 0 : err_move(err, &why);
}

/* It was made here, after the box's: an image from a registry has a digest of its own there. Times are alike in form (UTC). */
static bool is_newer(const json_t *here, const json_t *there)
{
	return !str_eq(json_text(here, "Id"), json_text(there, "Id")) && !json_array_size(json_object_get(here, "RepoDigests")) &&
	       strcmp(json_text(here, "Created"), json_text(there, "Created")) > 0;
}

static void hint(const Check *c, const char *image)
{
	const char *engine = ship_engine_with(image);
	AUTO_FREE char *host = NULL;
	if (engine && client_host(c->cli, &host, NULL) == 0)
		cli_warning("image '%s' is not on the box, but in %s here: stead ship %s:%s --to %s", image, engine, engine, image, host);
}

static int look_at(Check *c, const Service *svc, Err *err)
{
	json_t *here = NULL, *there = NULL;
	int r = inspect(c->box, svc->image, &there, err);
	bool missing = r == 0;
	if (r >= 0 && c->local)
		r = inspect(c->local, svc->image, &here, err);
	if (r >= 0 && here && (missing || is_newer(here, there))) {
		Need *n = array_append(c->needs, c->n);
		*n = (Need) { svc->image, svc->name, json_incref(here), missing };
	} else if (r >= 0 && missing) {
		c->elsewhere = true;
		hint(c, svc->image);
	}
	json_decref(here);
	json_decref(there);
	return r < 0 ? r : 0;
}

static void add_with_deps(const Stack *stack, const char *name, char ***ret)
{
	const Service *s = stack_service(stack, name);
	if (!s || strv_has(*ret, name))
		return;
	strv_add(ret, name);
	for (size_t i = 0; i < s->n_depends; i++)
		add_with_deps(stack, s->depends[i].service, ret);
}

static int look_at_all(Check *c, const Stack *stack, char *const *services, Err *err)
{
	AUTO_STRV char **names = NULL, **seen = NULL;
	for (char *const *s = services; s && *s; s++)
		add_with_deps(stack, *s, &names);
	int r = 0;
	for (size_t i = 0; r == 0 && i < stack->n_services; i++) {
		const Service *svc = &stack->services[i];
		if (str_empty(svc->image) || strv_has(seen, svc->image) || (names && !strv_has(names, svc->name)))
			continue;
		strv_add(&seen, svc->image);
		r = look_at(c, svc, err);
	}
	return r;
}

/* ── would it be refused? ─────────────────────────────────────────── */

static bool runs(const json_t *box, const char *arch)
{
	json_t *other;
	size_t i;
	if (str_empty(arch) || str_eq(json_text(box, "architecture"), arch))
		return true;
	json_array_foreach(json_object_get(box, "emulated"), i, other)
	{
		if (str_eq(json_string_value(other), arch))
			return true;
	}
	return false;
}

static int check_architecture(Check *c, Err *err)
{
	json_t *box = NULL;
	int r = client_get(c->box, "/stead/v1/box", JSON_OBJECT, &box, err);
	for (size_t i = 0; r == 0 && i < c->n; i++) {
		const char *arch = json_text(c->needs[i].here, "Architecture"), *there = json_text(box, "architecture");
		if (!runs(box, arch))
			r = err_set(err, -EINVAL, "image '%s' is for %s, and the box is %s and emulates no other: build it for that (stead build --platform linux/%s, "
				"or docker build --platform linux/%s)", c->needs[i].image, arch, there, there, there);
	}
	json_decref(box);
	return r;
}

/* The images' configurations, as the plan of a deploy takes them. */
static int add_coming(Check *c, json_t *body, Err *err)
{
	json_t *list = json_array();
	int r = 0;
	for (size_t i = 0; r >= 0 && i < c->n; i++) {
		AUTO_BUF url = BUF_INIT, config = BUF_INIT;
		buf_str(&url, "/stead/v1/images/");
		http_url_append(&url, c->needs[i].image);
		buf_str(&url, "/config");
		r = http_call(c->local, "GET", buf_cstr(&url), NULL, false, err);
		if (r >= 0)
			r = http_read_all(c->local, 4U << 20, &config, err);
		if (r >= 0)
			(void) json_array_append_new(list, json_pack("{s:s, s:s}", "name", c->needs[i].image, "config", buf_cstr(&config)));
	}
	(void) json_object_set_new(body, "coming", list);
	return r < 0 ? r : 0;
}

/* An exit code. */
static int ask_for_plan(Check *c, const Stack *stack, const json_t *body)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_BUF url = BUF_INIT;
	json_t *ask = json_copy((json_t *) body), *last = NULL;
	char *line;
	size_t len;
	int code = EXIT_DONE, r = add_coming(c, ask, &err);
	(void) json_object_set_new(ask, "plan", json_true());
	client_stack_url(&url, stack->name, "deploy");
	const HttpBody b = { .json = ask };
	if (r == 0)
		r = http_call(c->box, "POST", buf_cstr(&url), &b, false, &err);
	while (r >= 0 && (r = http_read_line(c->box, &line, &len, &err)) > 0) {
		json_decref(last);
		last = json_loadb(line, len, 0, NULL);
	}
	if (r < 0) {
		code = cli_refuse(&err);
	} else if (json_object_get(last, "error")) {
		operation_failure(last, stack->name, c->cli);
		code = EXIT_USAGE;
	}
	json_decref(last);
	json_decref(ask);
	return code;
}

/* ── sending ──────────────────────────────────────────────────────── */

static json_t *plan_lines(const Check *c)
{
	json_t *list = json_array();
	for (size_t i = 0; i < c->n; i++) {
		AUTO_FREE char *size = ship_bytes((uint64_t) json_number(c->needs[i].here, "Size"));
		AUTO_FREE char *detail = xasprintf("send image %s, of whose %s the box gets what it lacks%s", c->needs[i].image, size,
			c->needs[i].missing ? "" : "; it has an older one");
		(void) json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "service", c->needs[i].service, "step", "ship", "detail", detail));
	}
	return list;
}

static int send_all(const Check *c)
{
	ShipSource source = { .kind = SOURCE_DAEMON };
	const ShipOrder order = { .source = &source, .from = c->from };
	AUTO_TOTALS totals = { 0 };
	for (size_t i = 0; i < c->n; i++)
		strv_add(&source.names, c->needs[i].image);
	int code = shipping_run(c->cli, &order, &totals);
	signals_release();
	if (!code && c->cli->global.json) {
		print_json(json_pack("{s:o}", "shipped", shipping_json(&totals)));
	} else if (!code && cli_progress_mode(c->cli) != PROGRESS_QUIET) {
		AUTO_FREE char *summary = shipping_summary(&totals);
		for (char **name = source.names; *name; name++)
			fprintf(stderr, "%s%s", name == source.names ? "" : ", ", *name);
		fprintf(stderr, ": %s\n", summary);
	}
	strv_free(source.names);
	return code;
}

/* Whether there is another box at all: 1, and 0. */
static int leads_elsewhere(const Cli *cli, Err *err)
{
	AUTO_FREE char *url = NULL;
	int r = client_host(cli, &url, err);
	return r < 0 ? r : str_starts(url, "ssh://");
}

int deploy_ship(const Cli *cli, const Stack *stack, char *const *services, const DeployShip *o, json_t *body, json_t **ret_plan)
{
	AUTO_ERR err = ERR_INIT;
	AUTO(check_done) Check c = { .cli = cli, .o = o, .from = o->from ? o->from : CLIENT_DEFAULT_HOST };
	int r = o->no_ship ? 0 : o->from ? 1 : leads_elsewhere(cli, &err);
	if (r <= 0)
		return r < 0 ? cli_usage(cli, "%s", err_text(&err)) : EXIT_DONE;
	/* Without a stead here there is nothing to send, and nothing to complain of. */
	r = client_open_host(cli, c.from, &c.local, o->from ? &err : NULL);
	if (r == 0 || !o->from)
		r = client_open(cli, &c.box, &err);
	if (r == 0)
		r = look_at_all(&c, stack, services, &err);
	if (r == 0 && c.n)
		r = check_architecture(&c, &err);
	if (r == 0 && c.n && o->plan) {
		r = add_coming(&c, body, &err);
		*ret_plan = plan_lines(&c);
	}
	if (r < 0)
		return cli_refuse(&err);
	if (!c.n || o->plan)
		return EXIT_DONE;
	/* A plan needs all images; one that is pulled comes last, when those that no registry has are there. */
	int code = o->deploy && !c.elsewhere ? ask_for_plan(&c, stack, body) : EXIT_DONE;
	return code ? code : send_all(&c);
}
