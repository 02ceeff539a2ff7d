// SPDX-License-Identifier: Apache-2.0
/*
 * What goes to and comes from registries: Docker's /images/create, /images/{name}/push and /auth. Credentials come with each request
 * (X-Registry-Auth, /auth) and are kept nowhere.
 */
#include <errno.h>

#include "base/base64.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/api.h"
#include "daemon/image.h"
#include "daemon/json.h"
#include "image/job.h"
#include "image/reference.h"

#define AUTH_MAX (64U << 10)

int api_registry_header(const HttpRequest *r, const char *name, json_t **ret, Err *err)
{
	const char *header = http_header(r, name);
	AUTO_BUF text = BUF_INIT;
	if (str_empty(header))
		return 0;
	if (strlen(header) > AUTH_MAX || base64_decode(header, &text) < 0)
		return err_set(err, -EINVAL, "%s is not base64", name);
	json_t *o = json_loadb(buf_cstr(&text), text.len, 0, NULL);
	explicit_bzero(text.data, text.len);
	if (!json_is_object(o)) {
		json_decref(o);
		return err_set(err, -EINVAL, "%s is not a JSON object in base64", name);
	}
	if (json_object_size(o) == 0) {
		json_decref(o);
		return 0;
	}
	*ret = o;
	return 0;
}

/* ── pull ─────────────────────────────────────────────────────────── */

typedef struct PullRequest {
	Daemon *d;
	HttpRequest *r;
	PullHandle *pull;
	char *ref;    /* normalised */
	char *before; /* id of the image that had the reference */
} PullRequest;

static void pull_request_free(PullRequest *p)
{
	free(p->ref);
	free(p->before);
	free(p);
}

static void pull_client_gone(void *user)
{
	PullRequest *p = user;
	if (p->pull)
		image_pull_leave(p->pull);
	pull_request_free(p);
}

static json_t *layer_line(const json_t *layer)
{
	static const struct {
		const char *state, *status;
	} names[] = {
		{ "waiting", "Pulling fs layer" }, { "here", "Already exists" }, { "downloading", "Downloading" }, { "done", "Pull complete" },
	};
	const char *state = json_string_value(json_object_get(layer, "state")), *status = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (str_eq(names[i].state, state))
			status = names[i].status;
	if (!status)
		return NULL;
	json_t *detail = json_object();
	if (str_eq(state, "downloading")) {
		(void) json_object_set(detail, "current", json_object_get(layer, "at"));
		(void) json_object_set(detail, "total", json_object_get(layer, "size"));
	}
	return json_pack("{s:s, s:o, s:O}", "status", status, "progressDetail", detail, "id", json_object_get(layer, "id"));
}

static void pull_event(void *user, const json_t *line)
{
	const PullRequest *p = user;
	const json_t *layer = json_object_get(line, "layer"), *text = json_object_get(line, "progress"), *digest = json_object_get(line, "digest");
	json_t *out = NULL;
	if (layer)
		out = layer_line(layer);
	else if (json_is_string(text))
		out = json_pack("{s:O}", "status", text);
	else if (json_is_string(digest))
		out = json_pack("{s:o}", "status", json_sprintf("Digest: %s", json_string_value(digest)));
	if (out)
		(void) http_stream_json(p->r, out);
}

static void stream_error(HttpRequest *r, const char *text)
{
	(void) http_stream_json(r, json_pack("{s:{s:o}, s:o}", "errorDetail", "message", json_safe(text), "error", json_safe(text)));
}

static void pull_ended(void *user, Image *img, const Err *err)
{
	PullRequest *p = user;
	AUTO_FREE char *shown = reference_show(p->ref);
	if (err)
		stream_error(p->r, err_text(err));
	else
		(void) http_stream_json(p->r, json_pack("{s:o}", "status", json_sprintf("Status: %s for %s",
			str_eq(p->before, img->id) ? "Image is up to date" : "Downloaded newer image", shown)));
	http_set_user(p->r, NULL, NULL);
	http_stream_end(p->r);
	pull_request_free(p);
}

/* Docker gives a digest as a tag, too. */
static char *asked_reference(const char *image, const char *tag)
{
	if (str_empty(tag))
		return xstrdup(image);
	return xasprintf("%s%s%s", image, strchr(tag, ':') ? "@" : ":", tag);
}

static void begin_line(HttpRequest *r, const char *ref)
{
	AUTO_REFERENCE parsed = { 0 };
	if (reference_parse(ref, &parsed, NULL) < 0)
		return;
	(void) http_stream_json(r, json_pack("{s:o, s:s}", "status", json_sprintf("Pulling from %s", parsed.path), "id",
		parsed.digest ? parsed.digest : parsed.tag));
}

static void create(Daemon *d, HttpRequest *r, char *const *args)
{
	AUTO_ERR err = ERR_INIT;
	const char *image = http_query(r, "fromImage"), *platform = http_query(r, "platform");
	Image *known = NULL;
	json_t *auth = NULL;
	if (str_empty(image)) {
		http_error(r, str_empty(http_query(r, "fromSrc")) ? 400 : 501, "fromImage: a name is needed (a root file system: POST /stead/v1/images/import)");
		return;
	}
	AUTO_FREE char *ref = asked_reference(image, http_query(r, "tag"));
	AUTO_FREE char *normal = NULL;
	if (reference_normalise(ref, &normal, &err) < 0 || api_registry_header(r, "X-Registry-Auth", &auth, &err) < 0) {
		http_error_err(r, &err);
		return;
	}
	PullRequest *p = xcalloc(1, sizeof(*p));
	*p = (PullRequest) { .d = d, .r = r, .ref = steal_ptr(&normal) };
	if (daemon_find_image(d, p->ref, &known, NULL, NULL) == 0)
		p->before = xstrdup(known->id);
	const ImagePull ask = { .ref = p->ref, .platform = str_empty(platform) ? NULL : platform, .auth = auth };
	if (image_pull(d, &ask, pull_event, pull_ended, p, &p->pull, &err) < 0) {
		http_error_err(r, &err);
		pull_request_free(p);
	} else {
		http_set_user(r, p, pull_client_gone);
		http_stream_begin(r, 200, "application/json");
		begin_line(r, p->ref);
	}
	json_decref(auth);
}

/* ── push ─────────────────────────────────────────────────────────── */

typedef struct PushRequest {
	Daemon *d;
	HttpRequest *r; /* NULL once the client has gone */
	Job *job;       /* NULL once it has ended */
} PushRequest;

static void push_client_gone(void *user)
{
	PushRequest *p = user;
	p->r = NULL;
	job_cancel(p->job);
}

static json_t *push_line(const json_t *layer)
{
	static const struct {
		const char *state, *status;
	} names[] = { { "waiting", "Preparing" }, { "pushing", "Pushing" }, { "there", "Layer already exists" }, { "done", "Pushed" } };
	const char *state = json_string_value(json_object_get(layer, "state"));
	json_t *id = json_object_get(layer, "id"), *detail = json_object();
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!str_eq(names[i].state, state))
			continue;
		if (str_eq(state, "pushing")) {
			(void) json_object_set(detail, "current", json_object_get(layer, "at"));
			(void) json_object_set(detail, "total", json_object_get(layer, "size"));
		}
		return json_pack("{s:s, s:o, s:O}", "status", names[i].status, "progressDetail", detail, "id", id);
	}
	const char *from = json_string_value(json_object_get(layer, "from"));
	return json_pack("{s:o, s:o, s:O}", "status", json_sprintf("Mounted from %s", from ? from : "?"), "progressDetail", detail, "id", id);
}

/* The registry knows the image by this digest now, and so do we. */
static void take_pushed(PushRequest *p, const json_t *pushed)
{
	AUTO_REFERENCE ref = { 0 };
	AUTO_ERR err = ERR_INIT;
	const char *name = json_string_value(json_object_get(pushed, "ref")), *digest = json_string_value(json_object_get(pushed, "digest"));
	json_int_t size = json_integer_value(json_object_get(pushed, "size"));
	Image *img = NULL;
	if (!name || !digest || reference_parse(name, &ref, NULL) < 0)
		return;
	AUTO_FREE char *key = xasprintf("%s/%s@%s", ref.domain, ref.path, digest);
	if (daemon_find_image(p->d, name, &img, NULL, NULL) == 0 && !strv_has(img->digests, key) && image_know_digest(p->d, img, key, &err) < 0)
		log_warning("push: %s", err_text(&err));
	if (!p->r)
		return;
	const char *tag = ref.digest ? ref.digest : ref.tag;
	(void) http_stream_json(p->r, json_pack("{s:o}", "status", json_sprintf("%s: digest: %s size: %lld", tag, digest, (long long) size)));
	(void) http_stream_json(p->r, json_pack("{s:{}, s:{s:s, s:s, s:I}}", "progressDetail", "aux", "Tag", tag, "Digest", digest, "Size", size));
}

static void push_event(void *user, const json_t *line)
{
	PushRequest *p = user;
	const json_t *layer = json_object_get(line, "layer"), *pushed = json_object_get(line, "pushed");
	if (pushed)
		take_pushed(p, pushed);
	else if (layer && p->r)
		(void) http_stream_json(p->r, push_line(layer));
}

static void push_progress(void *user, const char *text)
{
	const PushRequest *p = user;
	if (p->r)
		(void) http_stream_json(p->r, json_pack("{s:o}", "status", json_safe(text)));
}

static void push_ended(void *user, JobResult *result, const Err *err)
{
	PushRequest *p = user;
	if (p->r) {
		if (err)
			stream_error(p->r, err_text(err));
		http_set_user(p->r, NULL, NULL);
		http_stream_end(p->r);
	}
	free(p);
}

/* The images to push: of the tag or digest, or all tags of the repository. `items` point into the images. */
static int push_items(Daemon *d, const char *name, const char *tag, JobPushItem **ret, size_t *ret_n, Err *err)
{
	AUTO_REFERENCE ref = { 0 };
	AUTO_FREE char *whole = asked_reference(name, tag);
	int r = reference_parse(whole, &ref, err);
	if (r < 0)
		return r;
	bool all = str_empty(tag) && !strchr(strrchr(name, '/') ? strrchr(name, '/') : name, ':');
	AUTO_FREE char *one = reference_string(&ref);
	AUTO_FREE char *prefix = xasprintf("%s/%s:", ref.domain, ref.path);
	for (size_t i = 0; i < d->n_images; i++)
		for (char **t = ref.digest ? d->images[i]->digests : d->images[i]->tags; t && *t; t++)
			if (all ? str_starts(*t, prefix) : str_eq(*t, one))
				*array_append(*ret, *ret_n) = (JobPushItem) { *t, d->images[i]->id };
	return *ret_n ? 0 : err_set(err, -ENOENT, "An image does not exist locally with the %s: %s", ref.digest ? "digest" : "tag", whole);
}

static void push(Daemon *d, HttpRequest *r, char *const *args)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_FREE JobPushItem *items = NULL;
	size_t n = 0;
	json_t *auth = NULL;
	if (push_items(d, args[0], http_query(r, "tag"), &items, &n, &err) < 0 || api_registry_header(r, "X-Registry-Auth", &auth, &err) < 0) {
		http_error_err(r, &err);
		return;
	}
	AUTO_REFERENCE ref = { 0 };
	PushRequest *p = xcalloc(1, sizeof(*p));
	const JobCallbacks cb = { .progress = push_progress, .event = push_event, .done = push_ended, .lost = free, .user = p };
	*p = (PushRequest) { .d = d, .r = r };
	if (reference_parse(items[0].ref, &ref, &err) < 0 || job_push(d->jobs, items, n, auth, d->o.registries, &cb, &p->job, &err) < 0) {
		http_error_err(r, &err);
		free(p);
	} else {
		http_set_user(r, p, push_client_gone);
		http_stream_begin(r, 200, "application/json");
		(void) http_stream_json(r, json_pack("{s:o}", "status", json_sprintf("The push refers to repository [%s/%s]", ref.domain, ref.path)));
	}
	json_decref(auth);
}

/* ── login ────────────────────────────────────────────────────────── */

typedef struct Login {
	HttpRequest *r; /* NULL once the client has gone */
} Login;

static void login_gone(void *user)
{
	((Login *) user)->r = NULL;
}

static void login_done(void *user, JobResult *result, const Err *err)
{
	Login *l = user;
	if (l->r) {
		http_set_user(l->r, NULL, NULL);
		if (!err)
			http_reply_json(l->r, 200, json_pack("{s:s, s:s}", "IdentityToken", "", "Status", "Login Succeeded"));
		else
			http_error(l->r, err->code == -EACCES ? 401 : 500, "%s", err_text(err));
	}
	free(l);
}

/* "https://index.docker.io/v1/" is how Docker has always called its hub. */
static char *login_domain(const char *address)
{
	const char *begin = strstr(address, "://") ? strstr(address, "://") + 3 : address;
	AUTO_FREE char *host = xstrndup(begin, strcspn(begin, "/"));
	if (str_empty(host) || str_eq(host, "index.docker.io") || str_eq(host, "registry-1.docker.io"))
		return xstrdup("docker.io");
	return steal_ptr(&host);
}

static void auth(Daemon *d, HttpRequest *r, char *const *args)
{
	AUTO_ERR err = ERR_INIT;
	json_t *body = NULL;
	if (http_body_json(r, &body, &err) < 0) {
		http_error_err(r, &err);
		return;
	}
	const char *address = json_string_value(json_object_get(body, "serveraddress"));
	AUTO_FREE char *domain = login_domain(address ? address : "");
	Login *l = xcalloc(1, sizeof(*l));
	const JobCallbacks cb = { .done = login_done, .lost = free, .user = l };
	l->r = r;
	http_set_user(r, l, login_gone);
	if (job_login(d->jobs, domain, body, d->o.registries, &cb, NULL, &err) < 0) {
		http_set_user(r, NULL, NULL);
		http_error_err(r, &err);
		free(l);
	}
	json_decref(body);
}

const ApiRoute api_docker_registry_routes[] = {
	{ "POST", "/images/create", create, false },
	{ "POST", "/images/**/push", push, false },
	{ "POST", "/auth", auth, false },
	{ NULL, NULL, NULL, false },
};
