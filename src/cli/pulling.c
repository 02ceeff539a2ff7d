// SPDX-License-Identifier: Apache-2.0
#include "cli/pulling.h"

#include <errno.h>

#include "base/base64.h"
#include "base/str.h"
#include "base/time.h"
#include "cli/docker-config.h"
#include "cli/project.h"

#define BAR 20

char *pulling_domain(const char *ref)
{
	const char *slash = strchr(ref, '/');
	if (!*ref)
		return NULL;
	if (!slash)
		return xstrdup("docker.io");
	/* The grammar of github.com/distribution/reference: what stands before the first slash is a host if it looks like one. */
	AUTO_FREE char *first = xstrndup(ref, (size_t) (slash - ref));
	bool host = strpbrk(first, ".:ABCDEFGHIJKLMNOPQRSTUVWXYZ") || str_eq(first, "localhost");
	return docker_config_domain(host ? first : "docker.io");
}

/* X-Registry-Auth; "" without credentials. */
static int auth_header(const char *ref, char **ret, Err *err)
{
	AUTO_FREE char *domain = pulling_domain(ref);
	json_t *auth = NULL;
	int r = docker_config_auth(domain ? domain : "", &auth, err);
	if (r < 0)
		return r;
	AUTO_FREE char *text = auth ? json_dumps(auth, JSON_COMPACT) : NULL;
	json_decref(auth);
	*ret = base64_encode(text ? text : "", text ? strlen(text) : 0);
	if (text)
		explicit_bzero(text, strlen(text));
	return 0;
}

/* "[=====>      ]  12MB/30MB" */
static char *bar(int64_t at, int64_t size)
{
	char cells[BAR + 1];
	int full = size > 0 && at < size ? (int) (at * BAR / size) : BAR;
	for (int i = 0; i < BAR; i++)
		cells[i] = i < full ? '=' : i == full ? '>' : ' ';
	cells[BAR] = '\0';
	AUTO_FREE char *have = format_bytes(at);
	AUTO_FREE char *all = format_bytes(size);
	return xasprintf("[%s] %s/%s", cells, have, all);
}

/* A line of docker's for a layer, in our words. */
static void show_layer(Progress *p, const json_t *line)
{
	static const struct {
		const char *docker, *ours;
	} words[] = {
		{ "Pulling fs layer", "waiting" }, { "Already exists", "already here" }, { "Pull complete", "pulled" }, { "Preparing", "waiting" },
		{ "Layer already exists", "already there" }, { "Pushed", "pushed" },
	};
	const char *status = json_text(line, "status"), *shown = status;
	const json_t *detail = json_object_get(line, "progressDetail");
	AUTO_FREE char *drawn = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (str_eq(words[i].docker, status))
			shown = words[i].ours;
	if (json_object_get(detail, "total") && p->mode == PROGRESS_LIVE)
		shown = drawn = bar(json_number(detail, "current"), json_number(detail, "total"));
	else if (str_eq(status, "Downloading"))
		shown = "pulling";
	else if (str_eq(status, "Pushing"))
		shown = "pushing";
	json_t *event = json_pack("{s:s, s:s, s:s}", "kind", "layer", "name", json_text(line, "id"), "status", shown);
	progress_event(p, event, time_mono());
	json_decref(event);
}

static int show_line(Progress *p, const json_t *line, char **ret_status, Err *err)
{
	const char *error = json_text(line, "error"), *status = json_text(line, "status");
	if (*error)
		return err_set(err, -EIO, "%s", error);
	if (p->mode == PROGRESS_JSON) {
		progress_event(p, line, time_mono());
	} else if (*json_text(line, "id") && json_object_get(line, "progressDetail")) {
		show_layer(p, line);
	} else if (ret_status && str_starts(status, "Status: ")) {
		str_set(ret_status, status + strlen("Status: "));
	} else if (*status && !*json_text(line, "id") && !str_starts(status, "Digest: ")) {
		progress_note(p, status);
	}
	return 0;
}

static int stream(HttpClient *c, const char *target, const char *ref, Progress *p, char **ret_status, Err *err)
{
	AUTO_FREE char *auth = NULL;
	char *text;
	size_t n;
	int r = auth_header(ref, &auth, err);
	if (r < 0)
		return r;
	const HttpBody body = { .registry_auth = auth };
	r = http_call(c, "POST", target, &body, false, err);
	explicit_bzero(auth, strlen(auth));
	if (r < 0)
		return r;
	while ((r = http_read_line(c, &text, &n, err)) > 0) {
		json_t *line = *text ? json_loads(text, 0, NULL) : NULL;
		r = line ? show_line(p, line, ret_status, err) : 0;
		json_decref(line);
		if (r < 0)
			return r;
	}
	return r;
}

int pulling_image(HttpClient *c, const char *ref, const char *platform, Progress *p, char **ret_status, Err *err)
{
	AUTO_BUF url = BUF_INIT;
	buf_str(&url, "/images/create");
	http_url_query(&url, "fromImage", ref);
	http_url_query(&url, "platform", platform);
	return stream(c, buf_cstr(&url), ref, p, ret_status, err);
}

int pulling_push(HttpClient *c, const char *repository, const char *tag, Progress *p, Err *err)
{
	AUTO_BUF url = BUF_INIT;
	buf_str(&url, "/images/");
	http_url_append(&url, repository);
	buf_str(&url, "/push");
	http_url_query(&url, "tag", tag);
	return stream(c, buf_cstr(&url), repository, p, NULL, err);
}

/* ---- services ---- */

typedef struct Known {
	bool here;
	int64_t came; /* real ns, 0 = not known */
} Known;

static int ask_known(HttpClient *c, const char *ref, Known *ret, Err *err)
{
	AUTO_BUF url = BUF_INIT;
	AUTO_ERR why = ERR_INIT;
	json_t *image = NULL;
	buf_str(&url, "/images/");
	http_url_append(&url, ref);
	buf_str(&url, "/json");
	*ret = (Known) { 0 };
	int r = client_get(c, buf_cstr(&url), JSON_OBJECT, &image, &why);
	if (r < 0)
		return http_status(c) == 404 ? 0 : err_move(err, &why);
	ret->here = true;
	if (time_parse_rfc3339(json_text(json_object_get(image, "Metadata"), "LastTagTime"), &ret->came) < 0 || ret->came < 0)
		ret->came = 0;
	json_decref(image);
	return 0;
}

static bool is_wanted(const Service *s, const char *policy, const Known *known)
{
	if (s->pull_policy == PULL_BUILD) /* it is made here */
		return false;
	if (policy)
		return str_eq(policy, "always") || (str_eq(policy, "missing") && !known->here);
	switch (s->pull_policy) {
	case PULL_ALWAYS:
		return true;
	case PULL_MISSING:
		return !known->here;
	case PULL_EVERY:
		return !known->here || time_real() - known->came > s->pull_every;
	default:
		return false;
	}
}

static int pull_service(const Cli *cli, HttpClient *c, const Service *s, const char *policy, Progress *p, char ***done, Err *err)
{
	Known known;
	AUTO_FREE char *key = xasprintf("%s %s", s->image, s->platform ? s->platform : "");
	AUTO_ERR why = ERR_INIT;
	if (strv_has(*done, key))
		return 0;
	int r = ask_known(c, s->image, &known, err);
	if (r < 0 || !is_wanted(s, policy, &known))
		return r;
	strv_add(done, key);
	AUTO_FREE char *text = xasprintf("pulling %s", s->image);
	progress_text(p, text, time_mono());
	r = pulling_image(c, s->image, s->platform, p, NULL, &why);
	if (r >= 0)
		return 0;
	/* It was only to be looked at for a newer one. */
	if (known.here && !policy && s->pull_policy == PULL_EVERY && http_status(c) == 200) {
		cli_warning("services.%s.image: the image that is here is used, since pulling failed: %s", s->name, err_text(&why));
		return 0;
	}
	AUTO_FREE char *path = xasprintf("services.%s.image", s->name);
	AUTO_FREE char *full = xasprintf("image '%s' %s, and pulling it failed: %s\n(also: 'stead load', 'stead image bootstrap')", s->image,
		known.here ? "is to be pulled" : "is not on this machine", err_text(&why));
	AUTO_FREE char *place = project_place(cli, path, full);
	return err_set(err, why.code, "%s", place);
}

static char **chosen(const Stack *stack, char *const *services, bool deps)
{
	char **names = NULL;
	for (size_t i = 0; !services && i < stack->n_services; i++)
		strv_add(&names, stack->services[i].name);
	for (char *const *s = services; s && *s; s++)
		project_with_deps(stack, *s, deps, &names);
	return names;
}

static void plan_service(const PullingPlan *plan, const Service *s, const Known *known, char ***done)
{
	bool build = strv_has(plan->builds, s->name);
	if (strv_has(*done, s->image) || (!build && !is_wanted(s, plan->policy, known)))
		return;
	strv_add(done, s->image);
	AUTO_FREE char *detail = !build ? xasprintf("pull %s%s", s->image, known->here ? "; if that is another image, replace what runs of it" : "") :
		xasprintf("build %s%s", s->image, known->here ? "; if that makes another image, replace what runs of it" : "");
	(void) json_array_append_new(plan->rows, json_pack("{s:s, s:s, s:s}", "service", s->name, "step", build ? "build" : "pull", "detail", detail));
}

int pulling_plan(const Cli *cli, const Stack *stack, char *const *services, const PullingPlan *plan, bool *ret_lacking)
{
	AUTO_HTTP *client = NULL;
	AUTO_ERR err = ERR_INIT;
	AUTO_STRV char **names = chosen(stack, services, true), **done = NULL;
	int code = client_open_or_fail(cli, &client), r = 0;
	if (code)
		return code;
	for (char **name = names; name && *name; name++) {
		const Service *s = stack_service(stack, *name);
		Known known;
		if (!s || !s->image || !s->replicas || strv_has(plan->coming, s->image))
			continue;
		if ((r = ask_known(client, s->image, &known, &err)) < 0)
			return cli_fail(&err);
		plan_service(plan, s, &known, &done);
		*ret_lacking = *ret_lacking || (!known.here && strv_has(done, s->image));
	}
	return 0;
}

int pulling_services(const Cli *cli, const Stack *stack, char *const *services, bool deps, const char *policy, bool quiet)
{
	AUTO_HTTP *client = NULL;
	AUTO_ERR err = ERR_INIT;
	AUTO_STRV char **names = NULL, **done = NULL;
	Progress p;
	if (str_eq(policy, "never"))
		return 0;
	names = chosen(stack, services, deps);
	int code = client_open_or_fail(cli, &client);
	if (code)
		return code;
	progress_init(&p, quiet ? PROGRESS_QUIET : cli_progress_mode(cli), STDERR_FILENO, stack->name);
	int r = 0;
	for (char **name = names; r >= 0 && name && *name; name++) {
		const Service *s = stack_service(stack, *name);
		if (s && s->image && s->replicas > 0)
			r = pull_service(cli, client, s, policy, &p, &done, &err);
	}
	if (done)
		progress_end(&p, time_mono());
	progress_done(&p);
	return r < 0 ? cli_refuse(&err) : 0;
}
