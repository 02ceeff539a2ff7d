// SPDX-License-Identifier: Apache-2.0
/*
 * The tables of "x-stead": routes and rules of a deploy in a service, notices at the top level. What is not
 * written has its default in the struct (the table's `unset`), so that nobody after this fills in any. Hosts
 * and paths are brought to one spelling, so that equal routes compare equal.
 */
#include <ctype.h>
#include <errno.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "model/names.h"
#include "model/stack-parts.h"

#define MILLISECOND 1000000LL
#define SECOND (1000 * MILLISECOND)
#define HOUR (3600 * SECOND)
#define MIB (1LL << 20)

#define CACHE_SIZE_DEFAULT (64 * MIB)
#define HOLD_MAX (30 * SECOND) /* clients and the proxies before us give up soon after */

/* ---- cache of a route ---- */

static int check_cache(Reader *r, void *base)
{
	RouteCache *c = base;
	if (c->ttl < 0)
		c->ttl = 0;
	if (c->max_size < 0)
		c->max_size = CACHE_SIZE_DEFAULT;
	if (c->disk < 0)
		c->disk = 0;
	if (c->disk && c->disk < MIB)
		return reader_fail_at(r, "disk", "must be at least 1m, or 0 for a cache in memory only");
	return 0;
}

static const Field cache_fields[] = {
	{ "ttl", &field_duration, offsetof(RouteCache, ttl), .unset = -1, .min = 0, .max = 365 * 24 * HOUR },
	{ "max_size", &field_bytes, offsetof(RouteCache, max_size), .unset = -1, .min = MIB },
	{ "disk", &field_bytes, offsetof(RouteCache, disk), .unset = -1, .min = 0 },
};
static const Schema cache_schema = OBJECT_SCHEMA(cache_fields, RouteCache, check_cache, "a route's cache");

/* ---- rate of a route: "50/s", "600/m", "1000/h" ---- */

static const struct {
	char unit;
	int64_t period;
} rate_units[] = { { 's', SECOND }, { 'm', 60 * SECOND }, { 'h', HOUR } };

static int parse_rate(Reader *r, const Field *f, json_t *v, void *base)
{
	Route *route = base;
	const char *s = json_string_value(v), *slash = s ? strchr(s, '/') : NULL;
	for (size_t i = 0; slash && slash[1] && !slash[2] && i < ARRAY_SIZE(rate_units); i++) {
		AUTO_FREE char *number = xstrndup(s, (size_t) (slash - s));
		uint32_t n;
		if (slash[1] != rate_units[i].unit || parse_u32_max(number, 1000000000, &n) < 0 || !n)
			continue;
		route->rate = n;
		route->rate_period = rate_units[i].period;
		return 0;
	}
	return reader_fail(r, "must be a number of requests per second, minute or hour, such as 50/s, 600/m or 1000/h%s%s%s",
		s ? ", not '" : "", s ? s : "", s ? "'" : "");
}

static json_t *emit_rate(const Field *f, const void *base)
{
	const Route *route = base;
	for (size_t i = 0; route->rate >= 0 && i < ARRAY_SIZE(rate_units); i++)
		if (rate_units[i].period == route->rate_period)
			return json_sprintf("%lld/%c", (long long) route->rate, rate_units[i].unit);
	return NULL;
}

static void init_rate(const Field *f, void *base)
{
	((Route *) base)->rate = -1;
}

static const FieldType field_rate = { init_rate, parse_rate, emit_rate, NULL };

/* ---- TLS of a route: auto, off, or files ---- */

static const char *const tls_words[] = { "auto", "off", NULL };

static int parse_tls_word(Reader *r, json_t *v, void *base)
{
	Route *route = base;
	const char *s = json_string_value(v);
	for (int i = 0; s && tls_words[i]; i++) {
		if (str_eq(tls_words[i], s)) {
			route->tls = (TlsMode) i;
			return 0;
		}
	}
	return reader_fail(r, "must be auto, off or {cert: FILE, key: FILE}");
}

static int check_tls_files(Reader *r, void *base)
{
	((Route *) base)->tls = TLS_FILES;
	return 0;
}

static const Field tls_fields[] = {
	{ "cert", &field_path, offsetof(Route, cert), .flags = FIELD_REQUIRED },
	{ "key", &field_path, offsetof(Route, key), .flags = FIELD_REQUIRED },
};
static const Schema tls_schema = { .fields = tls_fields, .n_fields = ARRAY_SIZE(tls_fields), .size = sizeof(Route),
	.parse_scalar = parse_tls_word, .check = check_tls_files, .what = "tls" };

static int parse_tls(Reader *r, const Field *f, json_t *v, void *base)
{
	return object_parse(r, &tls_schema, v, base);
}

static json_t *emit_tls(const Field *f, const void *base)
{
	const Route *route = base;
	if (route->tls == TLS_FILES)
		return object_emit(&tls_schema, base);
	return route->tls == TLS_AUTO ? NULL : json_string(tls_words[route->tls]);
}

static void done_tls(const Field *f, void *base)
{
	object_done(&tls_schema, base);
}

static const FieldType field_tls = { NULL, parse_tls, emit_tls, done_tls };

/* ---- routes ---- */

/* What keeps a name from being one; the rule that is broken seldom is not seen at once. */
static const char *host_rule(const char *host)
{
	if (str_starts(host, "*."))
		host += 2;
	if (strchr(host, '*'))
		return "'*.' stands at the beginning, for one label";
	if (strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789-.") != strlen(host))
		return "letters, digits and '-' between dots";
	if (strlen(host) > 253)
		return "at most 253 characters";
	for (const char *p = host;; p++) {
		size_t n = strcspn(p, ".");
		if (n > 63)
			return "at most 63 characters between dots";
		if (n == 0)
			return "no dot at an end, and no two in a row";
		p += n;
		if (!*p)
			return "no '-' beside a dot or at an end";
	}
}

static int check_route_host(Reader *r, Route *route)
{
	char *host = route->host;
	if (!host)
		return 0;
	for (char *p = host; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p += 'a' - 'A';
	if (str_eq(host, "*"))
		return reader_fail_at(r, "host", "'*' is no host name; leave the key out for any host");
	if (host_name_valid(str_starts(host, "*.") ? host + 2 : host))
		return 0;
	for (const char *p = host; *p; p++)
		if (!isascii(*p))
			return reader_fail_at(r, "host",
				"'%s' is no host name in the form that browsers send; write it in ASCII (xn--…)", host);
	if (strchr(host, ':'))
		return reader_fail_at(r, "host",
			"'%s' is no host name; a route has neither 'https://' nor a port of the edge, and 'port:' is the container's",
			host);
	return reader_fail_at(r, "host",
		"'%s' is no host name, such as app.example.com or *.example.com: %s", host, host_rule(host));
}

static int check_route_path(Reader *r, Route *route)
{
	if (!route->path)
		route->path = xstrdup("/");
	const char *path = route->path;
	if (strlen(path) > LIMIT_ROUTE_PATH)
		return reader_fail_at(r, "path", "is longer than %d characters", LIMIT_ROUTE_PATH);
	if (str_ends(path, "/*"))
		return reader_fail_at(r, "path", "'%s': leave '/*' off, since a path stands for all below it, too", path);
	if (!url_path_valid(path))
		return reader_fail_at(r, "path",
			"'%s' is no path of a URL, such as /api: it begins with '/', has no '//', '.' or '..' as a part, no query, "
			"and %%HH for what is not a letter, digit or one of -._~!$&()*+,;=:@",
			path);
	size_t n = strlen(path);
	if (n > 1 && path[n - 1] == '/')
		route->path[n - 1] = '\0';
	return 0;
}

static int check_route(Reader *r, void *base)
{
	return check_route_host(r, base) < 0 || check_route_path(r, base) < 0 ? -EINVAL : 0;
}

static const Field route_fields[] = {
	{ "host", &field_word, offsetof(Route, host) },
	{ "path", &field_word, offsetof(Route, path) },
	{ "port", &field_u16, offsetof(Route, port), .min = 1, .max = 65535 },
	{ "cache", &field_object, offsetof(Route, cache), .arg = &cache_schema },
	{ "max_body", &field_bytes, offsetof(Route, max_body), .unset = -1, .min = 1 },
	{ "rate", &field_rate },
	{ "timeout", &field_duration, offsetof(Route, timeout), .unset = -1, .min = MILLISECOND, .max = 24 * HOUR },
	{ "tls", &field_tls },
};
static const Schema route_schema = OBJECT_SCHEMA(route_fields, Route, check_route, "a route");

/* ---- smoke tests ---- */

static int check_smoke(Reader *r, void *base)
{
	const SmokeTest *t = base;
	if (strlen(t->get) > LIMIT_SMOKE_REQUEST || !url_request_valid(t->get))
		return reader_fail_at(r, "get",
			"'%s' is no path, with or without a query, such as /health or /search?q=x, of at most %d characters", t->get,
			LIMIT_SMOKE_REQUEST);
	if (!t->contains)
		return 0;
	if (!*t->contains)
		return reader_fail_at(r, "contains", "must not be empty; leave the key out instead");
	if (strlen(t->contains) > LIMIT_SMOKE_CONTAINS)
		return reader_fail_at(r, "contains", "is longer than %d bytes", LIMIT_SMOKE_CONTAINS);
	/* RFC 9110, 15.3.5, 15.3.6, 15.4.5 */
	if (t->status == 204 || t->status == 205 || t->status == 304)
		return reader_fail_at(r, "contains", "can never be found: a response with status %d has no body", t->status);
	return 0;
}

static const Field smoke_fields[] = {
	{ "get", &field_word, offsetof(SmokeTest, get), .flags = FIELD_REQUIRED },
	{ "status", &field_int, offsetof(SmokeTest, status), .unset = 200, .min = 200, .max = 599 },
	{ "contains", &field_text, offsetof(SmokeTest, contains) },
	{ "port", &field_u16, offsetof(SmokeTest, port), .min = 1, .max = 65535 },
	{ "timeout", &field_duration, offsetof(SmokeTest, timeout), .unset = 5 * SECOND, .min = MILLISECOND, .max = 5 * 60 * SECOND },
};
static const Schema smoke_schema = OBJECT_SCHEMA(smoke_fields, SmokeTest, check_smoke, "a smoke test");

/* ---- rules of a deploy ---- */

static const char *const orders[] = { "auto", "start-first", "stop-first", NULL };

/* An argv: something has to be run. */
static int parse_hook(Reader *r, const Field *f, json_t *v, void *base)
{
	if (field_texts.parse(r, f, v, base) < 0)
		return -EINVAL;
	char *const *argv = *MEMBER(char **, base, f->offset);
	return argv && *argv[0] ? 0 : reader_fail(r, "must name a command; leave the key out for none");
}

static json_t *emit_hook(const Field *f, const void *base)
{
	return field_texts.emit(f, base);
}

static void done_hook(const Field *f, void *base)
{
	field_texts.done(f, base);
}

static const FieldType field_hook = { NULL, parse_hook, emit_hook, done_hook };

static int check_deploy_rules(Reader *r, void *base)
{
	const DeployRules *d = base;
	return d->n_smoke > LIMIT_SMOKE_TESTS
		       ? reader_fail_at(r, "smoke", "%zu smoke tests are too many (limit %d)", d->n_smoke, LIMIT_SMOKE_TESTS)
		       : 0;
}

#define RULE(member) offsetof(DeployRules, member)
static const Field deploy_rules_fields[] = {
	{ "order", &field_enum, RULE(order), .arg = orders },
	{ "health_timeout", &field_duration, RULE(health_timeout), .unset = 60 * SECOND, .min = MILLISECOND, .max = 24 * HOUR },
	{ "drain", &field_duration, RULE(drain), .unset = 30 * SECOND, .min = 0, .max = 24 * HOUR },
	{ "settle", &field_duration, RULE(settle), .unset = -1, .min = 0, .max = 24 * HOUR },
	{ "bake", &field_duration, RULE(bake), .unset = 10 * SECOND, .min = 0, .max = 24 * HOUR },
	{ "hold", &field_duration, RULE(hold), .unset = HOLD_MAX, .min = 0, .max = HOLD_MAX },
	{ "smoke", &field_list, RULE(smoke), RULE(n_smoke), .arg = &smoke_schema },
	{ "keep", &field_int, RULE(keep), .unset = 0, .min = 1, .max = 100 },
	{ "pre_deploy", &field_hook, RULE(pre_deploy) },
	{ "post_deploy", &field_hook, RULE(post_deploy) },
};
static const Schema deploy_rules_schema = OBJECT_SCHEMA(deploy_rules_fields, DeployRules, check_deploy_rules, "x-stead.deploy");

/* ---- x-stead of a service ---- */

static int check_stead_service(Reader *r, void *base)
{
	const Service *s = base;
	const char *key = s->n_routes ? "routes" : "deploy.smoke";
	if (s->n_routes > LIMIT_SERVICE_ROUTES)
		return reader_fail_at(r, key, "%zu routes are too many (limit %d)", s->n_routes, LIMIT_SERVICE_ROUTES);
	/* network_mode stands before x-stead in the table of a service */
	if ((s->n_routes || s->deploy_rules.n_smoke) && str_eq(s->network_mode, "none"))
		return reader_fail_at(r, key, "nothing can reach a service with network_mode none; remove one of the two");
	return 0;
}

static const Field stead_service_fields[] = {
	{ "routes", &field_list, offsetof(Service, routes), offsetof(Service, n_routes), .arg = &route_schema },
	{ "deploy", &field_object, offsetof(Service, deploy_rules), .arg = &deploy_rules_schema },
	{ "route", &field_unresolved },
	{ "host", &field_refused, .arg = "a route's host is written 'route: HOST'" },
};
const Schema stead_service_schema =
	OBJECT_SCHEMA(stead_service_fields, Service, check_stead_service, "x-stead of a service");

/* ---- notices ---- */

static const char *const notify_names[] = { "slack", "discord", "ntfy", "webhook", "mail", NULL };
static const NotifyKind notify_kinds[] = { NOTIFY_SLACK, NOTIFY_DISCORD, NOTIFY_NTFY, NOTIFY_WEBHOOK, NOTIFY_MAIL };
static const char *const notify_events[] = { "deploy", "alert", NULL };

const char *notify_kind_name(NotifyKind k)
{
	return notify_names[k];
}

static int parse_url(Reader *r, const Field *f, json_t *v, void *base, const char *const *schemes)
{
	NotifyTarget *t = base;
	if (t->url)
		return reader_fail(r, "is a second receiver beside '%s'; give each an entry of its own", notify_kind_name(t->kind));
	if (field_word.parse(r, f, v, base) < 0)
		return -EINVAL;
	/* An address of this kind is a password, so the text must not repeat it. */
	if (strlen(t->url) > LIMIT_NOTIFY_URL || !url_valid(t->url, schemes))
		return reader_fail(r, "is no address, %s://HOST…, of at most %d characters", schemes[0], LIMIT_NOTIFY_URL);
	return 0;
}

static int parse_receiver(Reader *r, const Field *f, json_t *v, void *base)
{
	static const char *const schemes[] = { "https", "http", NULL };
	if (parse_url(r, f, v, base, schemes) < 0)
		return -EINVAL;
	((NotifyTarget *) base)->kind = *(const NotifyKind *) f->arg;
	return 0;
}

static json_t *emit_receiver(const Field *f, const void *base)
{
	const NotifyTarget *t = base;
	return t->kind == *(const NotifyKind *) f->arg ? json_string(t->url) : NULL;
}

/* Only the first of the four frees what they share. */
static void done_receiver(const Field *f, void *base)
{
	free_and_null(&((NotifyTarget *) base)->url);
}

static const FieldType field_receiver = { NULL, parse_receiver, emit_receiver, done_receiver };

static int parse_server(Reader *r, const Field *f, json_t *v, void *base)
{
	static const char *const schemes[] = { "smtp", "smtps", NULL };
	if (parse_url(r, f, v, base, schemes) < 0)
		return -EINVAL;
	const char *host = strstr(((NotifyTarget *) base)->url, "://") + 3;
	if (strchr(host, '@'))
		return reader_fail(r, "has a user in it; write user: and password: beside it");
	return host[strcspn(host, "/?#")] ? reader_fail(r, "must be smtp://HOST[:PORT] or smtps://HOST[:PORT]") : 0;
}

static json_t *emit_server(const Field *f, const void *base)
{
	return json_string(((const NotifyTarget *) base)->url);
}

static const FieldType field_server = { NULL, parse_server, emit_server, NULL };

/* LOCAL@DOMAIN in characters that need no quoting (RFC 5321, 4.1.2). */
static bool mail_valid(const char *s)
{
	const char *at = strrchr(s, '@');
	if (!at || at == s || strlen(s) > 254 || !host_name_valid(at + 1))
		return false;
	for (const char *p = s; p < at; p++)
		if (!isascii(*p) || (!isalnum((unsigned char) *p) && !strchr("!#$%&'*+-/=?^_`{|}~.", *p)))
			return false;
	return true;
}

static int check_mail(Reader *r, void *base)
{
	const NotifyTarget *t = base;
	if (!t->to)
		return reader_fail_at(r, "to", "must name at least one address");
	if (strv_len(t->to) > LIMIT_MAIL_RECIPIENTS)
		return reader_fail_at(r, "to", "%zu addresses are too many (limit %d)", strv_len(t->to), LIMIT_MAIL_RECIPIENTS);
	for (char *const *p = t->to; *p; p++)
		if (!mail_valid(*p))
			return reader_fail_at(r, "to", "'%s' is no mail address, such as ops@example.com", *p);
	if (!mail_valid(t->from))
		return reader_fail_at(r, "from", "'%s' is no mail address, such as stead@example.com", t->from);
	if (!t->user != !t->password)
		return reader_fail(r, "user and password go together; give both or neither");
	return 0;
}

static const Field mail_fields[] = {
	{ "to", &field_strs, offsetof(NotifyTarget, to), .flags = FIELD_REQUIRED },
	{ "from", &field_word, offsetof(NotifyTarget, from), .flags = FIELD_REQUIRED },
	{ "server", &field_server, offsetof(NotifyTarget, url), .flags = FIELD_REQUIRED },
	{ "user", &field_word, offsetof(NotifyTarget, user) },
	{ "password", &field_word, offsetof(NotifyTarget, password) },
};
static const Schema mail_schema = OBJECT_SCHEMA(mail_fields, NotifyTarget, check_mail, "mail");

static int parse_mail(Reader *r, const Field *f, json_t *v, void *base)
{
	NotifyTarget *t = base;
	if (t->url)
		return reader_fail(r, "is a second receiver beside '%s'; give each an entry of its own", notify_kind_name(t->kind));
	t->kind = NOTIFY_MAIL;
	return object_parse(r, &mail_schema, v, base);
}

static json_t *emit_mail(const Field *f, const void *base)
{
	return ((const NotifyTarget *) base)->kind == NOTIFY_MAIL ? object_emit(&mail_schema, base) : NULL;
}

static void done_mail(const Field *f, void *base)
{
	object_done(&mail_schema, base);
}

static const FieldType field_mail = { NULL, parse_mail, emit_mail, done_mail };

static int parse_on(Reader *r, const Field *f, json_t *v, void *base)
{
	NotifyTarget *t = base;
	if (field_strs.parse(r, f, v, base) < 0)
		return -EINVAL;
	if (!t->on)
		return reader_fail(r, "must name deploy or alert; leave the key out for both");
	for (char *const *p = t->on; *p; p++) {
		const char *near = word_nearest(notify_events, *p);
		if (!word_in(notify_events, *p))
			return reader_fail(r, near ? "'%s' is unknown; did you mean '%s'?" : "'%s' is unknown; use deploy or alert", *p,
				near);
	}
	return 0;
}

static json_t *emit_on(const Field *f, const void *base)
{
	return field_strs.emit(f, base);
}

static void done_on(const Field *f, void *base)
{
	field_strs.done(f, base);
}

static const FieldType field_on = { NULL, parse_on, emit_on, done_on };

const char *notify_topic(const char *url, size_t *ret_len)
{
	static const char chars[] = "-_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	const char *host = strstr(url, "://");
	host = host ? host + 3 : url;
	size_t end = strcspn(host, "?#");
	while (end && host[end - 1] == '/')
		end--;
	size_t at = end;
	while (at && host[at - 1] != '/')
		at--;
	*ret_len = end - at;
	return at && end - at >= 1 && end - at <= 64 && strspn(host + at, chars) == end - at ? host + at : NULL;
}

static int check_target(Reader *r, void *base)
{
	size_t n;
	NotifyTarget *t = base;
	if (!t->url)
		return reader_fail(r, "names no receiver; give one of slack, discord, ntfy, webhook or mail");
	if (t->token && t->kind != NOTIFY_NTFY)
		return reader_fail_at(r, "token", "applies to ntfy only");
	if (t->kind == NOTIFY_NTFY && !notify_topic(t->url, &n))
		return reader_fail_at(r, "ntfy", "must end in a topic of letters, digits, '-' and '_', as in https://ntfy.sh/my-topic");
	if (!t->on)
		t->on = strv_dup((char *const *) notify_events);
	return 0;
}

#define RECEIVER(kind_) &field_receiver, offsetof(NotifyTarget, url), .arg = &notify_kinds[kind_]
static const Field notify_fields[] = {
	{ "slack", RECEIVER(NOTIFY_SLACK) },
	{ "discord", RECEIVER(NOTIFY_DISCORD) },
	{ "ntfy", RECEIVER(NOTIFY_NTFY) },
	{ "webhook", RECEIVER(NOTIFY_WEBHOOK) },
	{ "mail", &field_mail },
	{ "on", &field_on, offsetof(NotifyTarget, on) },
	{ "token", &field_word, offsetof(NotifyTarget, token) },
};
static const Schema notify_schema = OBJECT_SCHEMA(notify_fields, NotifyTarget, check_target, "a notice");

static int check_stead_stack(Reader *r, void *base)
{
	const Stack *s = base;
	return s->n_notify > LIMIT_NOTIFY_TARGETS
		       ? reader_fail_at(r, "notify", "%zu receivers are too many (limit %d)", s->n_notify, LIMIT_NOTIFY_TARGETS)
		       : 0;
}

static const Field stead_stack_fields[] = {
	{ "notify", &field_list, offsetof(Stack, notify), offsetof(Stack, n_notify), .arg = &notify_schema },
	{ "host", &field_word, offsetof(Stack, host) },
};
const Schema stead_stack_schema = OBJECT_SCHEMA(stead_stack_fields, Stack, check_stead_stack, "x-stead of the file");

/* ---- routes beside each other ---- */

typedef struct RouteRef {
	const Service *service;
	const Route *route;
	size_t index;
} RouteRef;

static int compare_text(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "");
}

/* By host, then path, then the place in the stack: of two equal ones the second is the one to complain about. */
static int compare_routes(const void *a, const void *b)
{
	const RouteRef *x = a, *y = b;
	int d = compare_text(x->route->host, y->route->host);
	if (!d)
		d = strcmp(x->route->path, y->route->path);
	if (!d)
		d = x->service < y->service ? -1 : x->service > y->service;
	return d ? d : x->index < y->index ? -1 : x->index > y->index;
}

static int fail_route(Reader *r, const RouteRef *at, const char *key, const char *problem, const RouteRef *other)
{
	AUTO_FREE char *path = xasprintf("x-stead.routes[%zu]%s", at->index, key);
	AUTO_FREE char *owner =
		at->service == other->service ? xstrdup("this service") : xasprintf("service '%s'", other->service->name);
	return stack_fail_in(r, at->service->name, path, "%s has %s", owner, problem);
}

int stack_check_routes(Reader *r, const Stack *st)
{
	AUTO_FREE RouteRef *refs = NULL;
	size_t n = 0;
	for (size_t i = 0; i < st->n_services; i++)
		for (size_t k = 0; k < st->services[i].n_routes; k++) {
			RouteRef *ref = array_append(refs, n);
			*ref = (RouteRef){ &st->services[i], &st->services[i].routes[k], k };
		}
	if (n > 1)
		qsort(refs, n, sizeof(*refs), compare_routes);
	const RouteRef *files = NULL; /* the first with a certificate of this host */
	for (size_t i = 0; i < n; i++) {
		const RouteRef *ref = &refs[i], *before = i ? &refs[i - 1] : NULL;
		bool same_host = before && str_eq(before->route->host, ref->route->host);
		if (same_host && str_eq(before->route->path, ref->route->path)) {
			AUTO_FREE char *problem = xasprintf("the route %s%s, too; choose another host or path",
				ref->route->host ? ref->route->host : "of any host to ", ref->route->path);
			return fail_route(r, ref, "", problem, before);
		}
		if (!same_host)
			files = NULL;
		if (ref->route->tls == TLS_FILES && files &&
			(!str_eq(files->route->cert, ref->route->cert) || !str_eq(files->route->key, ref->route->key)))
			return fail_route(r, ref, ".tls", "another certificate for the same host; a host has one", files);
		if (ref->route->tls == TLS_FILES && !files)
			files = ref;
	}
	return 0;
}
