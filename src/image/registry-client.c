// SPDX-License-Identifier: Apache-2.0
/*
 * The first request goes without credentials: only its 401 tells which kind is wanted, and from whom a token is to be had. What worked is kept
 * for all threads; who finds it refused first gets another, while the others wait for it.
 *
 * A host on this machine is asked with TLS first and without when it does not speak it. Nothing else is ever asked without TLS unless the
 * rules say so.
 */
#include "image/registry-client.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>

#include "base/base64.h"
#include "base/digest.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/url.h"

#define HUB "docker.io"
#define HUB_HOST "registry-1.docker.io"
#define CA_MAX (1U << 20)
#define SMALL_SECONDS 120 /* for a document */

struct RegistryClient {
	Fetcher *f;
	const RegistryRules *rules;
	const json_t *auth;
	char *host;     /* for people, and for the rules */
	char *base;     /* "https://host:port" */
	char *path;     /* or NULL */
	char *actions, *from;
	char *ca;       /* PEM, or NULL */
	bool insecure;
	bool fall_back; /* to HTTP, if it does not speak TLS */
	void (*note)(void *user, const char *text);
	void *note_user;
	pthread_mutex_t mutex; /* of what follows, and of base while fall_back */
	char *authorization;
};

/* What one request shares with authorize(): the value must outlive a renewal by another thread. */
typedef struct Call {
	RegistryClient *c;
	char *value;
} Call;

static void call_done(Call *call)
{
	free(call->value);
}

void registry_client_free(RegistryClient *c)
{
	if (!c)
		return;
	free(c->host);
	free(c->base);
	free(c->path);
	free(c->actions);
	free(c->from);
	free(c->ca);
	free(c->authorization);
	(void) pthread_mutex_destroy(&c->mutex);
	free(c);
}

void registry_client_freep(RegistryClient **c)
{
	registry_client_free(*c);
}

const char *registry_host(const RegistryClient *c)
{
	return c->host;
}

void registry_on_note(RegistryClient *c, void (*note)(void *user, const char *text), void *user)
{
	c->note = note;
	c->note_user = user;
}

/* Of `host`: certificates to trust and whether to check. */
static int trust_of(const RegistryRules *rules, const char *host, char **ret_ca, bool *ret_insecure, Err *err)
{
	AUTO_BUF pem = BUF_INIT;
	size_t i = 0;
	const RegistryRule *ca = registry_rule(rules, RULE_CA, host, &i);
	i = 0;
	*ret_insecure = registry_rule(rules, RULE_INSECURE, host, &i) != NULL;
	if (!ca)
		return 0;
	int r = file_read(AT_FDCWD, ca->value, CA_MAX, &pem);
	if (r < 0)
		return err_errno(err, r, "the certificates that are trusted for %s: %s", host, ca->value);
	*ret_ca = buf_steal(&pem);
	return 0;
}

int registry_client_new(Fetcher *f, const RegistryPlace *place, RegistryClient **ret, Err *err)
{
	AUTO_REGISTRY c = xcalloc(1, sizeof(*c));
	AUTO_URL mirror = { 0 };
	size_t i = 0;
	(void) pthread_mutex_init(&c->mutex, NULL);
	c->f = f;
	c->rules = place->rules;
	c->auth = place->mirror ? NULL : place->auth;
	c->path = xstrdup(place->path);
	c->actions = xstrdup(place->actions);
	c->from = xstrdup(place->from);
	if (place->mirror) {
		int r = url_parse(place->mirror, &mirror, err);
		if (r < 0)
			return r;
		bool usual = str_eq(mirror.port, mirror.tls ? "443" : "80");
		c->host = usual ? xstrdup(mirror.host) : xasprintf("%s:%s", mirror.host, mirror.port);
		c->base = xstrdup(place->mirror);
	} else {
		const char *host = str_eq(place->domain, HUB) ? HUB_HOST : place->domain;
		bool plain = registry_rule(place->rules, RULE_PLAIN_HTTP, place->domain, &i) != NULL;
		c->host = xstrdup(place->domain);
		c->base = xasprintf("%s://%s", plain ? "http" : "https", host);
		c->fall_back = !plain && url_is_local(host);
	}
	int r = trust_of(place->rules, c->host, &c->ca, &c->insecure, err);
	if (r < 0)
		return r;
	*ret = steal_ptr(&c);
	return 0;
}

/* ---- credentials ---- */

static const char *auth_text(const RegistryClient *c, const char *key)
{
	const char *s = json_string_value(json_object_get(c->auth, key));
	return str_empty(s) ? NULL : s;
}

static char *basic_value(const RegistryClient *c)
{
	const char *user = auth_text(c, "username"), *password = auth_text(c, "password");
	if (!user || !password)
		return NULL;
	AUTO_FREE char *pair = xasprintf("%s:%s", user, password);
	AUTO_FREE char *code = base64_encode(pair, strlen(pair));
	explicit_bzero(pair, strlen(pair));
	return xasprintf("Basic %s", code);
}

static void add_query(Buf *b, bool *any, const char *key, const char *value)
{
	static const char free_chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
	if (!value)
		return;
	buf_printf(b, "%s%s=", *any ? "&" : "", key);
	*any = true;
	for (const char *p = value; *p; p++) {
		if (strchr(free_chars, *p))
			buf_char(b, *p);
		else
			buf_printf(b, "%%%02X", (unsigned char) *p);
	}
}

/* Ours, not the challenge's: a registry cannot make us ask for more than this job needs. */
static void add_scopes(const RegistryClient *c, Buf *b, bool *any, bool joined)
{
	if (!c->path)
		return;
	AUTO_FREE char *own = xasprintf("repository:%s:%s", c->path, c->actions);
	AUTO_FREE char *other = c->from ? xasprintf("repository:%s:pull", c->from) : NULL;
	AUTO_FREE char *both = xasprintf("%s %s", own, other ? other : "");
	if (joined) {
		add_query(b, any, "scope", other ? both : own);
		return;
	}
	add_query(b, any, "scope", own);
	add_query(b, any, "scope", other);
}

static int ask_token(RegistryClient *c, const Challenge *challenge, Fetch **ret, Err *err)
{
	const char *refresh = auth_text(c, "identitytoken");
	AUTO_FREE char *basic = refresh ? NULL : basic_value(c);
	AUTO_FREE char *ca = NULL;
	AUTO_BUF query = BUF_INIT;
	AUTO_BUF url = BUF_INIT;
	AUTO_URL realm = { 0 }, base = { 0 };
	static char *form[] = { (char *) "Content-Type: application/x-www-form-urlencoded", NULL };
	bool any = false;
	int r = url_parse(challenge->realm, &realm, err);
	if (r < 0 || (r = url_parse(c->base, &base, err)) < 0)
		return err_wrap(err, "%s sends for a token", c->host);
	if (base.tls && !realm.tls)
		return err_set(err, -EPROTO, "%s sends for a token to '%.200s', without TLS: refused", c->host, challenge->realm);
	FetchRequest q = { .authorization = basic, .seconds = SMALL_SECONDS };
	AUTO_FREE char *host = str_eq(realm.port, realm.tls ? "443" : "80") ? xstrdup(realm.host) : xasprintf("%s:%s", realm.host, realm.port);
	if ((r = trust_of(c->rules, host, &ca, &q.insecure, err)) < 0)
		return r;
	q.ca = ca;
	if (refresh)
		add_query(&query, &any, "grant_type", "refresh_token");
	add_query(&query, &any, "service", challenge->service);
	add_query(&query, &any, "client_id", refresh ? "stead" : NULL);
	add_query(&query, &any, "refresh_token", refresh);
	add_query(&query, &any, "account", refresh ? NULL : auth_text(c, "username"));
	add_scopes(c, &query, &any, refresh != NULL);
	buf_str(&url, challenge->realm);
	if (refresh) {
		q.method = "POST";
		q.headers = form;
		q.has_body = true;
		q.body = buf_cstr(&query);
		q.length = (int64_t) query.len;
	} else if (any) {
		buf_printf(&url, "%s%s", strchr(challenge->realm, '?') ? "&" : "?", buf_cstr(&query));
	}
	q.url = buf_cstr(&url);
	return fetch_call(c->f, &q, NULL, ret, NULL, err);
}

/* 1: the token server refuses. */
static int get_token(RegistryClient *c, const Challenge *challenge, Err *err)
{
	AUTO_FETCH x = NULL;
	AUTO_BUF body = BUF_INIT;
	AUTO_FREE char *token = NULL;
	const char *own = auth_text(c, "registrytoken");
	if (own) {
		free(c->authorization);
		c->authorization = xasprintf("Bearer %s", own);
		return 0;
	}
	int r = ask_token(c, challenge, &x, err);
	if (r < 0)
		return err_wrap(err, "asking for a token");
	if (fetch_status(x) == 401 || fetch_status(x) == 403)
		return 1;
	if (fetch_status(x) != 200) {
		char text[512];
		fetch_error_text(x, text, sizeof(text));
		return err_set(err, -EIO, "asking for a token: %.200s answered %d%s%s", challenge->realm, fetch_status(x), *text ? ": " : "", text);
	}
	if ((r = fetch_read_all(x, LIMIT_REGISTRY_ANSWER, &body, NULL, err)) < 0 || (r = token_parse(buf_cstr(&body), body.len, &token, err)) < 0)
		return err_wrap(err, "asking for a token");
	free(c->authorization);
	c->authorization = xasprintf("Bearer %s", token);
	return 0;
}

/* 1: there is nothing to answer the challenge with. The mutex is held. */
static int log_in(RegistryClient *c, const Fetch *refused, Err *err)
{
	AUTO_CHALLENGE challenge = { 0 };
	AUTO_URL from = { 0 }, base = { 0 };
	const char *header = fetch_header(refused, "www-authenticate");
	/* A host that it redirected to has no say in what our credentials are used for. */
	if (!header || url_parse(fetch_url(refused), &from, NULL) < 0 || url_parse(c->base, &base, NULL) < 0 || !url_same_origin(&from, &base))
		return 1;
	int r = challenge_parse(header, &challenge, err);
	if (r < 0)
		return err_wrap(err, "%s", c->host);
	if (challenge.kind == CHALLENGE_BEARER)
		return get_token(c, &challenge, err);
	char *basic = challenge.kind == CHALLENGE_BASIC ? basic_value(c) : NULL;
	if (!basic || str_eq(basic, c->authorization)) {
		free(basic);
		return 1;
	}
	free(c->authorization);
	c->authorization = basic;
	return 0;
}

static int authorize(void *user, const Fetch *refused, const char **ret, Err *err)
{
	Call *call = user;
	RegistryClient *c = call->c;
	(void) pthread_mutex_lock(&c->mutex);
	/* Another thread may have got a new one meanwhile. */
	int r = refused && str_eq(call->value, c->authorization) ? log_in(c, refused, err) : 0;
	if (r == 0)
		str_set(&call->value, c->authorization);
	*ret = call->value;
	(void) pthread_mutex_unlock(&c->mutex);
	return r;
}

/* ---- requests ---- */

static void waiting(void *user, const char *text)
{
	const RegistryClient *c = ((Call *) user)->c;
	AUTO_FREE char *line = xasprintf("%s: %s", c->host, text);
	if (c->note)
		c->note(c->note_user, line);
}

static char *url_of(RegistryClient *c, const char *where)
{
	if (*where != '/')
		return xstrdup(where);
	(void) pthread_mutex_lock(&c->mutex);
	char *url = xasprintf("%s/v2/%s%s", c->base, c->path ? c->path : "", c->path ? where : where + 1);
	(void) pthread_mutex_unlock(&c->mutex);
	return url;
}

static bool is_own(RegistryClient *c, const char *url)
{
	AUTO_URL u = { 0 }, base = { 0 };
	return url_parse(url, &u, NULL) == 0 && url_parse(c->base, &base, NULL) == 0 && url_same_origin(&u, &base);
}

/* True if there is another way to ask. */
static bool fall_back(RegistryClient *c)
{
	(void) pthread_mutex_lock(&c->mutex);
	bool again = c->fall_back && str_starts(c->base, "https:");
	if (again) {
		char *base = xasprintf("http:%s", c->base + strlen("https:"));
		free(c->base);
		c->base = base;
	}
	(void) pthread_mutex_unlock(&c->mutex);
	return again;
}

static int failed(const RegistryClient *c, FetchFailure failure, Err *err)
{
	if (failure == FETCH_TLS && err)
		return err_set(err, -EPROTO, "%s does not speak TLS (%s): for a registry without, write 'plain-http %s' into the daemon's file on registries",
			c->host, err_text(err), c->host);
	if (failure == FETCH_TRUST && err)
		return err_set(err, -EPROTO, "%s: %s: to trust it, write 'ca %s FILE' into the daemon's file on registries", c->host, err_text(err), c->host);
	return err_wrap(err, "%s", c->host);
}

int registry_call(RegistryClient *c, const char *where, const FetchRequest *q, Fetch **ret, Err *err)
{
	AUTO(call_done) Call call = { c, NULL };
	for (;;) {
		AUTO_FREE char *url = url_of(c, where);
		AUTO_ERR reason = ERR_INIT;
		FetchRequest one = *q;
		FetchFailure failure = FETCH_FAILED;
		one.url = url;
		bool own = is_own(c, url);
		FetchCalls calls = { .authorize = own ? authorize : NULL, .waiting = waiting, .user = &call };
		if (own) {
			one.ca = c->ca;
			one.insecure = c->insecure;
		}
		int r = fetch_call(c->f, &one, &calls, ret, &failure, &reason);
		if (r >= 0)
			return 0;
		if (failure == FETCH_TLS && own && fall_back(c))
			continue;
		(void) failed(c, failure, &reason);
		return err_move(err, &reason);
	}
}

int registry_begin(RegistryClient *c, const char *where, const FetchRequest *q, Fetch **ret, Err *err)
{
	AUTO_FREE char *url = url_of(c, where);
	AUTO_FREE char *authorization = NULL;
	FetchRequest one = *q;
	one.url = url;
	if (is_own(c, url)) {
		(void) pthread_mutex_lock(&c->mutex);
		authorization = xstrdup(c->authorization);
		(void) pthread_mutex_unlock(&c->mutex);
		one.authorization = authorization;
		one.ca = c->ca;
		one.insecure = c->insecure;
	}
	return fetch_begin(c->f, &one, ret, err);
}

char *registry_location(const RegistryClient *c, const Fetch *x, Err *err)
{
	const char *to = fetch_header(x, "location");
	AUTO_URL u = { 0 }, base = { 0 };
	if (str_empty(to)) {
		(void) err_set(err, -EPROTO, "%s does not say where to send it (no Location)", c->host);
		return NULL;
	}
	AUTO_FREE char *whole = NULL;
	if (str_starts(to, "/") && !str_starts(to, "//")) {
		if (url_parse(fetch_url(x), &base, err) < 0)
			return NULL;
		whole = xasprintf("%s://%s:%s%s", base.tls ? "https" : "http", base.host, base.port, to);
	} else {
		whole = xstrdup(to);
	}
	int r = url_parse(whole, &u, err);
	if (r == 0 && str_starts(c->base, "https:") && !u.tls)
		r = err_set(err, -EPROTO, "it leads from https to '%.200s': refused", whole);
	if (r < 0) {
		(void) err_wrap(err, "%s: Location", c->host);
		return NULL;
	}
	return steal_ptr(&whole);
}

int registry_refused(RegistryClient *c, Fetch *x, const char *what, Err *err)
{
	char text[512];
	int status = fetch_status(x);
	fetch_error_text(x, text, sizeof(text));
	const char *colon = *text ? ": " : "";
	bool known = auth_text(c, "password") || auth_text(c, "identitytoken") || auth_text(c, "registrytoken");
	if (status == 401 || status == 403)
		return err_set(err, -EACCES, "%s: %s answered %d%s%s: %s", what, c->host, status, colon, text,
			known ? "these credentials are not good for it ('stead login' replaces them)" : "it does not exist, or needs 'stead login'");
	if (status == 429)
		return err_set(err, -EBUSY, "%s: %s answered 429, too many requests%s%s%s", what, c->host, colon, text,
			known ? "" : "; with 'stead login' more may be allowed");
	return err_set(err, status == 404 ? -ENOENT : -EIO, "%s: %s answered %d%s%s", what, c->host, status, colon, text);
}

/* ---- documents and blobs ---- */

static char *accepted[] = {
	(char *) "Accept: " REGISTRY_TYPE_INDEX ", " REGISTRY_TYPE_MANIFEST ", application/vnd.docker.distribution.manifest.list.v2+json, "
		 "application/vnd.docker.distribution.manifest.v2+json",
	NULL,
};

/* Some registries serve all as JSON; another document's type is a lie. CVE-2021-41190. */
static int check_type(const Fetch *x, const Buf *body, Err *err)
{
	const char *type = fetch_header(x, "content-type");
	AUTO_FREE char *bare = xstrdup(type ? type : "");
	bare[strcspn(bare, "; ")] = '\0';
	json_t *o = json_loadb(buf_cstr(body), body->len, JSON_REJECT_DUPLICATES, NULL);
	const char *own = json_string_value(json_object_get(o, "mediaType"));
	int r = 0;
	if (json_integer_value(json_object_get(o, "schemaVersion")) == 1)
		r = err_set(err, -ENOTSUP, "it has the format that Docker gave up in 2017 (schema 1): push it anew with a current tool");
	else if (!o && *bare && !str_ends(bare, "json"))
		r = err_set(err, -EPROTO, "what came is '%.80s' and no manifest: is this a registry, or has something on the way answered?", bare);
	else if (str_starts(bare, "application/vnd.") && own && !str_eq(bare, own))
		r = err_set(err, -EINVAL, "it is served as '%.80s' and calls itself '%.80s': refused", bare, own);
	json_decref(o);
	return r;
}

int registry_manifest(RegistryClient *c, const char *reference, uint64_t size, Buf *ret, char ret_digest[72], Err *err)
{
	AUTO_FREE char *where = xasprintf("/manifests/%s", reference);
	AUTO_FETCH x = NULL;
	char hex[DIGEST_HEX_MAX];
	const FetchRequest q = { .headers = accepted, .seconds = SMALL_SECONDS };
	int r = registry_call(c, where, &q, &x, err);
	if (r < 0)
		return r;
	if (fetch_status(x) != 200) {
		r = registry_refused(c, x, c->path, err);
		return fetch_status(x) == 404 && err ? err_set(err, r, "%s: there is no such %s there", err_text(err), strchr(reference, ':') ? "digest" : "image or tag") : r;
	}
	if ((r = fetch_read_all(x, LIMIT_MANIFEST_BYTES, ret, NULL, err)) < 0)
		return err_wrap(err, "%s: manifest '%s'", c->host, reference);
	digest_sha256(buf_cstr(ret), ret->len, hex);
	(void) snprintf(ret_digest, 72, DIGEST_PREFIX "%s", hex);
	if (strchr(reference, ':') && !str_eq(reference, ret_digest))
		r = err_set(err, -EINVAL, "wrong digest: asked for %s, got %s", reference, ret_digest);
	else if (size != FETCH_ANY_SIZE && size != ret->len)
		r = err_set(err, -EINVAL, "wrong size: %zu bytes instead of %llu", ret->len, (unsigned long long) size);
	else
		r = check_type(x, ret, err);
	return r < 0 ? err_wrap(err, "%s: manifest '%s'", c->host, reference) : 0;
}

/* The stream owns what its renewals need. */
typedef struct BlobStream {
	Stream s;
	Stream *inner;
	Call call;
	char *url;
} BlobStream;

static ssize_t blob_read(Stream *s, void *p, size_t n, Err *err)
{
	BlobStream *b = (BlobStream *) s;
	ssize_t k = stream_read(b->inner, p, n, err);
	return k < 0 ? err_wrap(err, "%s", b->call.c->host) : k;
}

static void blob_free(Stream *s)
{
	BlobStream *b = (BlobStream *) s;
	stream_free(b->inner);
	call_done(&b->call);
	free(b->url);
	free(b);
}

int registry_blob(RegistryClient *c, const FetchExpect *e, Stream **ret, Err *err)
{
	AUTO_FREE char *where = xasprintf("/blobs/%s", e->digest);
	BlobStream *b = xcalloc(1, sizeof(*b));
	b->s = (Stream) { .read = blob_read, .free = blob_free };
	b->call.c = c;
	b->url = url_of(c, where);
	const FetchRequest q = { .url = b->url, .ca = c->ca, .insecure = c->insecure };
	const FetchCalls calls = { .authorize = authorize, .waiting = waiting, .user = &b->call };
	int r = fetcher_get(c->f, &q, &calls, e, &b->inner, err);
	if (r < 0) {
		r = err_wrap(err, "%s", c->host);
		blob_free(&b->s);
		return r;
	}
	*ret = &b->s;
	return 0;
}

int registry_check(RegistryClient *c, Err *err)
{
	AUTO_FETCH x = NULL;
	const FetchRequest q = { .seconds = SMALL_SECONDS };
	int r = registry_call(c, "/", &q, &x, err);
	if (r < 0)
		return r;
	int status = fetch_status(x);
	if (status == 401 || status == 403)
		return err_set(err, -EACCES, "%s refuses this user name and password", c->host);
	return status == 200 ? 0 : registry_refused(c, x, "login", err);
}
