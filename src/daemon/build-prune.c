// SPDX-License-Identifier: Apache-2.0
/*
 * What the cache of builds holds: told, pruned when somebody asks for it, and kept within its quota. A worker does it (build/prune.h),
 * beside builds that run; layers that nothing names afterwards go with a sweep.
 */
#include <errno.h>
#include <sys/statvfs.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/build-parts.h"
#include "daemon/filter.h"
#include "daemon/image.h"

#define TIDY_EVERY 3600               /* seconds */
#define UNUSED_MAX (30LL * 24 * 3600) /* seconds after which what nobody used goes in any case */
#define QUOTA_MAX (20LL << 30)        /* without --build-cache-quota, and at most a fifth of the file system */

typedef struct Prune {
	Daemon *d;
	BuildCacheFn done;
	void *user;
	json_t *items;
	int64_t freed;
	bool sweep; /* something may have gone */
} Prune;

static void prune_free(Prune *p)
{
	json_decref(p->items);
	free(p);
}

static void on_line(void *user, const json_t *line)
{
	Prune *p = user;
	json_t *item = json_object_get(line, "cache");
	if (item)
		(void) json_array_append(p->items, item);
}

static void swept(void *user, const char *warning)
{
	Prune *p = user;
	if (p->done)
		p->done(p->user, p->items, p->freed, warning, NULL);
	prune_free(p);
}

static void ended(void *user, JobResult *result, const Err *err)
{
	Prune *p = user;
	p->freed = result->freed;
	if (!err && p->sweep && p->freed) {
		image_sweep(p->d, swept, p);
		return;
	}
	if (err && !p->done)
		log_warning("pruning the cache of builds: %s", err_text(err));
	if (p->done)
		p->done(p->user, p->items, p->freed, NULL, err);
	prune_free(p);
}

static void lost(void *user)
{
	Prune *p = user;
	AUTO_ERR err = ERR_INIT;
	(void) err_set(&err, -ECANCELED, "the daemon is being stopped");
	if (p->done)
		p->done(p->user, p->items, 0, NULL, &err);
	prune_free(p);
}

/* Seconds since the epoch; 0: nobody builds. */
static int64_t busy_since(const Daemon *d)
{
	int64_t first = 0;
	for (size_t i = 0; i < d->builds->n; i++)
		if (!first || d->builds->list[i]->began < first)
			first = d->builds->list[i]->began;
	return first;
}

/* Takes ownership of `options`. */
static int start(Daemon *d, json_t *options, BuildCacheFn done, void *user, Err *err)
{
	Prune *p = xcalloc(1, sizeof(*p));
	*p = (Prune) { .d = d, .done = done, .user = user, .items = json_array() };
	p->sweep = !json_is_true(json_object_get(options, "list")) && !json_is_true(json_object_get(options, "dry_run"));
	(void) json_object_set_new(options, "busy", json_integer(busy_since(d)));
	const JobCallbacks cb = { .event = on_line, .done = ended, .lost = lost, .user = p };
	int r = job_prune_builds(d->jobs, options, &cb, NULL, err);
	if (r < 0)
		prune_free(p);
	return r;
}

int build_cache_list(Daemon *d, BuildCacheFn done, void *user, Err *err)
{
	return start(d, json_pack("{s:b}", "list", 1), done, user, err);
}

/* ── the quota ────────────────────────────────────────────────────── */

static int64_t quota(const Daemon *d)
{
	struct statvfs v;
	int64_t bytes;
	if (d->o.build_cache_quota && parse_bytes(d->o.build_cache_quota, &bytes) == 0)
		return bytes;
	if (statvfs(d->o.state_dir, &v) < 0)
		return QUOTA_MAX;
	bytes = (int64_t) ((uint64_t) v.f_blocks * v.f_frsize / 5);
	return bytes < QUOTA_MAX ? bytes : QUOTA_MAX;
}

static void tidied(void *user, const json_t *items, int64_t freed, const char *warning, const Err *err)
{
	if (err)
		log_warning("keeping the cache of builds within its quota: %s", err_text(err));
	else if (freed) {
		AUTO_FREE char *text = format_bytes(freed);
		log_info("the cache of builds was beyond its quota or long unused: %s of it went", text);
	}
}

void build_cache_tidy(Daemon *d)
{
	AUTO_ERR err = ERR_INIT;
	int64_t now = time_real() / NSEC_PER_SEC;
	if (d->builds->tidied && d->builds->tidied + TIDY_EVERY > now)
		return;
	d->builds->tidied = now;
	if (start(d, json_pack("{s:I, s:I}", "keep", (json_int_t) quota(d), "expired", (json_int_t) (now - UNUSED_MAX)), tidied, NULL, &err) < 0)
		log_warning("keeping the cache of builds within its quota: %s", err_text(&err));
}

/* ── POST /build/prune ────────────────────────────────────────────── */

typedef struct Request {
	HttpRequest *r; /* NULL once the client has gone */
	bool dry;
} Request;

static void request_gone(void *user)
{
	((Request *) user)->r = NULL;
}

static json_t *ids_of(const json_t *items)
{
	json_t *ids = json_array();
	for (size_t i = 0; i < json_array_size(items); i++)
		(void) json_array_append(ids, json_object_get(json_array_get(items, i), "id"));
	return ids;
}

json_t *build_cache_json(const json_t *items)
{
	json_t *out = json_array();
	for (size_t i = 0; i < json_array_size(items); i++) {
		const json_t *item = json_array_get(items, i);
		char used[TIME_TEXT_MAX];
		(void) time_rfc3339(json_integer_value(json_object_get(item, "used")) * NSEC_PER_SEC, used);
		(void) json_array_append_new(out, json_pack("{s:O, s:s, s:O, s:O, s:O, s:O, s:O, s:s, s:s, s:i}", "ID", json_object_get(item, "id"), "Parent", "", "Type",
			json_object_get(item, "type"), "Description", json_object_get(item, "description"), "InUse", json_object_get(item, "in_use"), "Shared",
			json_object_get(item, "shared"), "Size", json_object_get(item, "size"), "CreatedAt", used, "LastUsedAt", used, "UsageCount", 1));
	}
	return out;
}

static void pruned(void *user, const json_t *items, int64_t freed, const char *warning, const Err *err)
{
	Request *q = user;
	HttpRequest *r = q->r;
	if (r)
		http_set_user(r, NULL, NULL);
	if (r && err) {
		http_error_err(r, err);
	} else if (r) {
		if (warning)
			http_add_header(r, "X-Stead-Warning", warning);
		http_reply_json(r, 200, json_pack("{s:o, s:I}", "CachesDeleted", q->dry ? build_cache_json(items) : ids_of(items), "SpaceReclaimed",
			(json_int_t) freed));
	}
	free(q);
}

/* "until", and BuildKit's later word for it, "unused-for". */
static int take_moment(const Filter *f, const char *key, json_t *options, Err *err)
{
	const json_t *values = filter_values(f, key);
	int64_t when;
	for (size_t i = 0; i < json_array_size(values); i++) {
		const char *text = json_string_value(json_array_get(values, i));
		if (!text || time_parse_moment(text, time_real(), &when) < 0)
			return err_set(err, -EINVAL, "%s: '%s' is no time; give a duration such as 24h, a date with time, or seconds since the epoch", key, text ? text : "");
		(void) json_object_set_new(options, "before", json_integer(when / NSEC_PER_SEC));
	}
	return 0;
}

static int take_query(HttpRequest *r, json_t *options, Err *err)
{
	static const char *const known[] = { "until", "unused-for", "id", "type", NULL };
	const char *keep = http_query(r, "keep-storage");
	Filter *f = NULL;
	int64_t bytes = 0;
	if (!str_empty(keep) && (parse_i64(keep, &bytes) < 0 || bytes < 0))
		return err_set(err, -EINVAL, "keep-storage: a number of bytes is expected, not '%s'", keep);
	int e = filter_read(http_query(r, "filters"), known, &f, err);
	if (e == 0)
		e = take_moment(f, "until", options, err);
	if (e == 0)
		e = take_moment(f, "unused-for", options, err);
	if (filter_values(f, "id"))
		(void) json_object_set(options, "ids", (json_t *) filter_values(f, "id"));
	if (filter_values(f, "type"))
		(void) json_object_set(options, "types", (json_t *) filter_values(f, "type"));
	json_decref(f);
	(void) json_object_set_new(options, "keep", json_integer(bytes));
	(void) json_object_set_new(options, "all", json_boolean(http_query_bool(r, "all", false)));
	(void) json_object_set_new(options, "dry_run", json_boolean(http_query_bool(r, "dry-run", false)));
	return e;
}

void build_api_prune(Daemon *d, HttpRequest *r)
{
	AUTO_ERR err = ERR_INIT;
	json_t *options = json_object();
	if (take_query(r, options, &err) < 0) {
		json_decref(options);
		http_error_err(r, &err);
		return;
	}
	Request *q = xcalloc(1, sizeof(*q));
	*q = (Request) { r, json_is_true(json_object_get(options, "dry_run")) };
	http_set_user(r, q, request_gone);
	if (start(d, options, pruned, q, &err) < 0)
		pruned(q, NULL, 0, NULL, &err);
}
