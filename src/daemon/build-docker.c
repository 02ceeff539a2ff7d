// SPDX-License-Identifier: Apache-2.0
/*
 * POST /build of the Docker Engine API: the classic builder, whose client sends the context as a tar archive and shows the lines
 * that it gets. Nothing is said of intermediate containers and images: there are none that one could look at.
 */
#include <errno.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/api.h"
#include "daemon/build-parts.h"
#include "daemon/json.h"
#include "daemon/worker-pipe.h"
#include "image/reference.h"

typedef struct DockerBuild {
	HttpRequest *r; /* NULL once the client has gone */
	Builder *b;     /* NULL: ended */
	WorkerPipe *context;
	bool quiet;
	size_t to_client;
	char **tags; /* that were asked for */
} DockerBuild;

static void docker_free(DockerBuild *k)
{
	if (k->r || k->b)
		return;
	worker_pipe_close(k->context);
	strv_free(k->tags);
	free(k);
}

static void line(DockerBuild *k, json_t *value)
{
	if (k->r)
		k->to_client = http_stream_json(k->r, value);
	else
		json_decref(value);
}

static void stream(DockerBuild *k, const char *text)
{
	line(k, json_pack("{s:o}", "stream", json_safe(text)));
}

static void streamf(DockerBuild *k, const char *fmt, const char *text)
{
	AUTO_FREE char *s = xasprintf("%s%s\n", fmt, text);
	stream(k, s);
}

static void finish(DockerBuild *k)
{
	if (!k->r)
		return;
	HttpRequest *r = steal_ptr(&k->r);
	http_set_user(r, NULL, NULL);
	http_stream_end(r);
}

static void client_gone(void *user)
{
	DockerBuild *k = user;
	Builder *b = steal_ptr(&k->b);
	k->r = NULL;
	if (b)
		builder_cancel(b);
	docker_free(k);
}

/* ── the build's front ────────────────────────────────────────────── */

static bool on_event(void *user, const json_t *e)
{
	DockerBuild *k = user;
	const char *what = json_string_value(json_object_get(e, "state")), *warning = json_string_value(json_object_get(e, "warning"));
	const char *text = json_string_value(json_object_get(e, "text"));
	if (k->quiet)
		return false;
	if (warning) {
		streamf(k, "[Warning] ", warning);
	} else if (str_eq(what, "begin") && text) {
		AUTO_FREE char *s = xasprintf("Step %lld/%lld : %s\n", (long long) json_integer_value(json_object_get(e, "step")),
			(long long) json_integer_value(json_object_get(e, "steps")), text);
		stream(k, s);
	} else if (str_eq(what, "cached")) {
		stream(k, " ---> Using cache\n");
	}
	return k->to_client > LIMIT_BUILD_BACKLOG;
}

static bool on_output(void *user, json_int_t step, int fd, const char *p, size_t n)
{
	DockerBuild *k = user;
	(void) step;
	(void) fd;
	if (!k->quiet) {
		AUTO_FREE char *text = xstrndup(p, n);
		stream(k, text);
	}
	return k->to_client > LIMIT_API_BACKLOG;
}

static void on_done(void *user, const Image *image, const json_t *report, const Err *err)
{
	DockerBuild *k = user;
	(void) report;
	k->b = NULL;
	if (err) {
		line(k, json_pack("{s:{s:i, s:o}, s:o}", "errorDetail", "code", 1, "message", json_safe(err_text(err)), "error", json_safe(err_text(err))));
	} else {
		line(k, json_pack("{s:{s:s}}", "aux", "ID", image->id));
		if (k->quiet) {
			streamf(k, "", image->id);
		} else {
			AUTO_FREE char *id = xstrndup(image->id + strlen("sha256:"), 12);
			streamf(k, "Successfully built ", id);
		}
		for (char **t = k->tags; t && *t && !k->quiet; t++) {
			AUTO_FREE char *shown = reference_show(*t);
			streamf(k, "Successfully tagged ", shown);
		}
	}
	finish(k);
	docker_free(k);
}

/* ── the context ──────────────────────────────────────────────────── */

static void on_read(void *user, Buf *in)
{
	(void) user;
	buf_clear(in); /* a worker that reads an archive has nothing to say here */
}

static void written(void *user, size_t waiting)
{
	DockerBuild *k = user;
	if (k->r && waiting < LIMIT_API_BACKLOG / 2)
		http_body_pause(k->r, false);
}

static void drained(void *user)
{
	DockerBuild *k = user;
	k->to_client = 0;
	if (k->b)
		builder_resume(k->b);
}

static void chunk(void *user, const void *p, size_t n)
{
	DockerBuild *k = user;
	if (n == 0)
		worker_pipe_end(k->context);
	else if (worker_pipe_write(k->context, p, n) > LIMIT_API_BACKLOG)
		http_body_pause(k->r, true);
}

/* ── the request ──────────────────────────────────────────────────── */

static int query_json(HttpRequest *r, const char *key, json_t *options, const char *as, Err *err)
{
	const char *text = http_query(r, key);
	if (str_empty(text))
		return 0;
	json_t *o = json_loads(text, 0, NULL);
	if (!json_is_object(o)) {
		json_decref(o);
		return err_set(err, -EINVAL, "%s: a JSON object is expected", key);
	}
	const char *name;
	json_t *v;
	void *tmp;
	/* A build argument without a value takes the client's, which has it not. */
	json_object_foreach_safe(o, tmp, name, v)
		if (!json_is_string(v))
			(void) json_object_del(o, name);
	(void) json_object_set_new(options, as, o);
	return 0;
}

static int query_number(HttpRequest *r, const char *key, int64_t otherwise, int64_t *ret, Err *err)
{
	const char *text = http_query(r, key);
	*ret = otherwise;
	if (str_empty(text) || str_eq(text, "0"))
		return 0;
	return parse_i64(text, ret) < 0 ? err_set(err, -EINVAL, "%s: a number is expected, not '%s'", key, text) : 0;
}

/* What this builder would have to leave out silently is refused. */
static int check_query(HttpRequest *r, Err *err)
{
	static const char *const unsupported[] = { "remote", "outputs", "cgroupparent", "isolation" };
	if (str_eq(http_query(r, "version"), "2"))
		return err_set(err, -EINVAL, "BuildKit's protocol is not served: set DOCKER_BUILDKIT=0, or use stead build");
	if (http_query_bool(r, "squash", false))
		return err_set(err, -EINVAL, "squash is not supported; build in stages and COPY --from");
	for (size_t i = 0; i < ARRAY_SIZE(unsupported); i++)
		if (!str_empty(http_query(r, unsupported[i])))
			return err_set(err, -EINVAL, "%s is not supported; leave it out%s", unsupported[i], i ? "" : ", and send the context");
	return 0;
}

static int take_hosts(HttpRequest *r, BuildLimits *l)
{
	const char *text = http_query(r, "extrahosts");
	AUTO_FREE char *copy = xstrdup(text ? text : "");
	for (char *p = copy, *next; *p; p = next) {
		next = p + strcspn(p, ",");
		if (*next)
			*next++ = '\0';
		char *colon = strchr(p, ':');
		if (colon)
			*colon = '=';
		strv_add(&l->hosts, p);
	}
	return 0;
}

/* [{"Name": "nofile", "Soft": 100, "Hard": 200}] */
static int take_ulimits(HttpRequest *r, BuildLimits *l, Err *err)
{
	const char *text = http_query(r, "ulimits"), *name;
	json_int_t soft, hard;
	json_t *list = str_empty(text) ? NULL : json_loads(text, 0, NULL), *one;
	size_t i;
	int e = str_empty(text) || json_is_array(list) ? 0 : err_set(err, -EINVAL, "ulimits: a JSON list is expected");
	l->ulimits = json_object();
	json_array_foreach(list, i, one)
	{
		if (json_unpack(one, "{s:s, s:I, s:I}", "Name", &name, "Soft", &soft, "Hard", &hard) < 0)
			e = err_set(err, -EINVAL, "ulimits: each of them has Name, Soft and Hard");
		else
			(void) json_object_set_new(l->ulimits, name, json_pack("{s:I, s:I}", "soft", soft, "hard", hard));
	}
	json_decref(list);
	return e;
}

static int take_limits(HttpRequest *r, BuildLimits *l, Err *err)
{
	int64_t quota, period;
	const char *network = http_query(r, "networkmode"), *cpuset = http_query(r, "cpusetcpus");
	*l = (BuildLimits) { .cpu_shares = -1, .shm_size = -1, .memory_swap = -1 };
	if (str_empty(network) || str_eq(network, "bridge"))
		network = "default";
	if (!str_eq(network, "default") && !str_eq(network, "host") && !str_eq(network, "none"))
		return err_set(err, -EINVAL, "networkmode is default, host or none, not '%s'", network);
	l->network = xstrdup(network);
	l->cpuset = str_empty(cpuset) ? NULL : xstrdup(cpuset);
	int e = query_number(r, "memory", 0, &l->memory, err);
	if (e == 0)
		e = query_number(r, "memswap", -1, &l->memory_swap, err);
	if (e == 0)
		e = query_number(r, "cpushares", -1, &l->cpu_shares, err);
	if (e == 0)
		e = query_number(r, "shmsize", -1, &l->shm_size, err);
	if (e == 0)
		e = query_number(r, "cpuperiod", 100000, &period, err);
	if (e == 0)
		e = query_number(r, "cpuquota", 0, &quota, err);
	if (e == 0 && quota > 0 && period > 0)
		l->cpus = (double) quota / (double) period;
	if (e == 0)
		e = take_ulimits(r, l, err);
	return e < 0 ? e : take_hosts(r, l);
}

static int take_options(HttpRequest *r, json_t **ret, Err *err)
{
	const char *file = http_query(r, "dockerfile"), *target = http_query(r, "target"), *platform = http_query(r, "platform");
	AUTO_STRV char **tags = http_query_all(r, "t");
	json_t *o = json_pack("{s:s, s:s, s:o, s:b, s:b}", "source", "tar", "dockerfile_name", str_empty(file) ? "Dockerfile" : file, "tags",
		json_strv(tags), "no_cache", http_query_bool(r, "nocache", false), "pull", http_query_bool(r, "pull", false));
	if (!str_empty(target))
		(void) json_object_set_new(o, "target", json_safe(target));
	if (!str_empty(platform))
		(void) json_object_set_new(o, "platform", json_safe(platform));
	int e = query_json(r, "buildargs", o, "args", err);
	if (e == 0)
		e = query_json(r, "labels", o, "labels", err);
	if (e == 0)
		e = build_options_check(o, err);
	if (e < 0)
		json_decref(o);
	else
		*ret = o;
	return e;
}

/* As docker: a hint, whose loss costs time alone. */
static void warn_of_cache(DockerBuild *k, HttpRequest *r)
{
	json_t *images = json_loads(http_query(r, "cachefrom") ? http_query(r, "cachefrom") : "", 0, NULL);
	if (json_array_size(images) && !k->quiet)
		streamf(k, "[Warning] ", "--cache-from: images are not looked into; the daemon's own cache is used in any case");
	json_decref(images);
}

/* Credentials by the registry's host; docker writes some of these as URLs. */
static int take_auths(HttpRequest *r, BuildLimits *l, Err *err)
{
	json_t *given = NULL, *auth;
	const char *key;
	int e = api_registry_header(r, "X-Registry-Config", &given, err);
	if (e < 0 || !given)
		return e;
	l->auths = json_object();
	json_object_foreach(given, key, auth)
	{
		const char *host = strstr(key, "://") ? strstr(key, "://") + 3 : key;
		AUTO_FREE char *name = xstrndup(host, strcspn(host, "/"));
		if (json_is_object(auth))
			(void) json_object_set(l->auths, str_eq(name, "index.docker.io") ? "docker.io" : name, auth);
	}
	json_decref(given);
	return 0;
}

void build_api_docker(Daemon *d, HttpRequest *r)
{
	AUTO_ERR err = ERR_INIT;
	json_t *options = NULL;
	BuildLimits limits = { .cpu_shares = -1, .shm_size = -1, .memory_swap = -1 };
	int theirs = -1;
	DockerBuild *k = xcalloc(1, sizeof(*k));
	BuildFront front = { .event = on_event, .output = on_output, .done = on_done, .user = k };
	WorkerPipeCallbacks context = { .read = on_read, .written = written, .user = k };
	k->quiet = http_query_bool(r, "q", false);
	int e = check_query(r, &err);
	if (e == 0)
		e = take_limits(r, &limits, &err);
	if (e == 0)
		e = take_auths(r, &limits, &err);
	if (e == 0)
		e = take_options(r, &options, &err);
	if (e == 0)
		k->tags = json_to_strv(json_object_get(options, "tags"));
	if (e == 0)
		e = worker_pipe_open(d->loop, &context, &k->context, &theirs, &err);
	if (e == 0)
		e = builder_start(d, json_incref(options), &limits, theirs, &front, &k->b, &err);
	json_decref(options);
	build_limits_done(&limits);
	if (e < 0) {
		http_error_err(r, &err);
		docker_free(k);
		return;
	}
	k->r = r;
	http_set_user(r, k, client_gone);
	http_stream_begin(r, 200, "application/json");
	warn_of_cache(k, r);
	http_on_drained(r, drained);
	http_on_body(r, chunk);
	worker_pipe_read(k->context, true);
}
