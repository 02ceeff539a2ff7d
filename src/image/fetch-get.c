// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <time.h>

#include "base/digest.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/fetch.h"
#include "image/sha256.h"

#define PROGRESS_COUNTS (1U << 20) /* a connection that brought this much before it broke was worth it */
#define SKIP_CHUNK (64U << 10)

int64_t fetch_patience(int status, int64_t retry_after, unsigned tries)
{
	static const int later[] = { 0, 408, 425, 429, 500, 502, 503, 504 };
	bool worth = false;
	for (size_t i = 0; i < ARRAY_SIZE(later); i++)
		worth = worth || status == later[i];
	if (!worth || tries >= LIMIT_REGISTRY_TRIES || retry_after > LIMIT_REGISTRY_WAIT)
		return -1;
	return retry_after > 0 ? retry_after : (int64_t) 1 << (tries > 0 ? tries - 1 : 0);
}

static void wait_seconds(int64_t n)
{
	struct timespec t = { .tv_sec = n };
	while (nanosleep(&t, &t) < 0 && errno == EINTR)
		;
}

static void say_waiting(const FetchCalls *calls, const char *why, int64_t seconds)
{
	if (!calls || !calls->waiting)
		return;
	AUTO_FREE char *text = xasprintf("%s: trying again in %lld s", why, (long long) seconds);
	calls->waiting(calls->user, text);
}

/* 0: `ret` is the answer; 1: ask again at once. */
static int judge(const FetchCalls *calls, Fetch **x, const char **authorization, bool *renewed, Fetch **ret, Err *err)
{
	if (fetch_status(*x) == 401 && calls && calls->authorize && !*renewed) {
		*renewed = true;
		int r = calls->authorize(calls->user, *x, authorization, err);
		if (r <= 0) {
			fetch_free(steal_ptr(x));
			return r < 0 ? r : 1;
		}
	}
	*ret = steal_ptr(x);
	return 0;
}

int fetch_call(Fetcher *f, const FetchRequest *q, const FetchCalls *calls, Fetch **ret, FetchFailure *ret_failure, Err *err)
{
	FetchRequest one = *q;
	FetchFailure failure = FETCH_FAILED;
	bool renewed = false;
	int r = calls && calls->authorize ? calls->authorize(calls->user, NULL, &one.authorization, err) : 0;
	for (unsigned tries = 1; r >= 0;) {
		AUTO_FETCH x = NULL;
		AUTO_ERR reason = ERR_INIT;
		r = fetch_open(f, &one, &x, &failure, &reason);
		if (ret_failure)
			*ret_failure = failure;
		int64_t wait = r == 0 ? fetch_patience(fetch_status(x), fetch_retry_after(x), tries) :
			failure == FETCH_CUT ? fetch_patience(0, 0, tries) : -1;
		if (wait < 0) {
			if (r < 0)
				return err_move(err, &reason);
			r = judge(calls, &x, &one.authorization, &renewed, ret, err);
			if (r <= 0)
				return r;
			continue;
		}
		AUTO_FREE char *why = r == 0 ? xasprintf("answered %d", fetch_status(x)) : xstrdup(err_text(&reason));
		say_waiting(calls, why, wait);
		fetch_free(steal_ptr(&x));
		wait_seconds(wait);
		tries++;
		r = 0;
	}
	return r;
}

/* ---- the stream ---- */

typedef struct GetStream {
	Stream s;
	Fetcher *f;
	FetchRequest q;
	FetchCalls calls;
	FetchExpect e;
	char *url, *digest, *ca;
	char **headers;
	Fetch *x;
	Sha256 sum;
	uint64_t at, cut_at;
	unsigned tries;
	bool over;
	Err failed; /* said again at each further read */
} GetStream;

static void get_free(Stream *s)
{
	GetStream *g = (GetStream *) s;
	fetch_free(g->x);
	err_done(&g->failed);
	strv_free(g->headers);
	free(g->url);
	free(g->digest);
	free(g->ca);
	free(g);
}

/* A server may give all of it although a part was asked for. */
static int skip_to(GetStream *g, FetchFailure *failure, Err *err)
{
	AUTO_FREE char *chunk = xmalloc(SKIP_CHUNK);
	for (uint64_t left = g->at; left;) {
		ssize_t n = fetch_read(g->x, chunk, left < SKIP_CHUNK ? (size_t) left : SKIP_CHUNK, failure, err);
		if (n < 0)
			return (int) n;
		if (n == 0)
			return err_set(err, -EINVAL, "it has become shorter");
		left -= (uint64_t) n;
	}
	return 0;
}

static bool range_begins_at(const char *range, uint64_t at)
{
	AUTO_FREE char *want = xasprintf("bytes %llu-", (unsigned long long) at);
	return range && strncmp(range, want, strlen(want)) == 0;
}

static int open_at(GetStream *g, FetchFailure *failure, Err *err)
{
	char text[512];
	g->q.offset = g->at;
	int r = fetch_call(g->f, &g->q, &g->calls, &g->x, failure, err);
	if (r < 0)
		return r;
	int status = fetch_status(g->x);
	*failure = FETCH_FAILED;
	if (status == 206 && g->at && range_begins_at(fetch_header(g->x, "content-range"), g->at))
		return 0;
	if (status == 200)
		return g->at ? skip_to(g, failure, err) : 0;
	fetch_error_text(g->x, text, sizeof(text));
	return err_set(err, status == 404 ? -ENOENT : status == 401 || status == 403 ? -EACCES : -EIO, "answered %d%s%s", status, *text ? ": " : "", text);
}

/* The connection broke, with `why`. 0: it is worth another try, after a while. */
static int cut(GetStream *g, FetchFailure failure, Err *why, Err *err)
{
	if (g->at - g->cut_at >= PROGRESS_COUNTS)
		g->tries = 0;
	g->cut_at = g->at;
	bool again = failure == FETCH_CUT || (failure == FETCH_CONNECT && g->at);
	int64_t wait = again ? fetch_patience(0, 0, ++g->tries) : -1;
	fetch_free(steal_ptr(&g->x));
	if (wait < 0)
		return err_move(err, why);
	say_waiting(&g->calls, err_text(why), wait);
	wait_seconds(wait);
	return 0;
}

static int check_end(GetStream *g, Err *err)
{
	char found[sizeof(DIGEST_PREFIX) + 64];
	g->over = true;
	if (!g->digest)
		return 0;
	sha256_digest(&g->sum, found);
	return str_eq(found, g->digest) ? 0 : err_set(err, -EINVAL, "wrong digest: asked for %s, got %s", g->digest, found);
}

static int took(GetStream *g, const void *p, size_t n, Err *err)
{
	g->at += n;
	if (g->at > g->e.size)
		return err_set(err, -EINVAL, "wrong size: more than the %llu bytes that it should have", (unsigned long long) g->e.size);
	if (g->e.max && g->at > g->e.max)
		return err_set(err, -EFBIG, "larger than %llu bytes: refused", (unsigned long long) g->e.max);
	if (g->digest)
		sha256_add(&g->sum, p, n);
	if (g->e.progress)
		g->e.progress(g->e.user, g->at);
	return 0;
}

/* The answer said itself how long it is: then its end is no accident. */
static bool knows_its_end(const Fetch *x)
{
	return fetch_header(x, "content-length") || fetch_header(x, "transfer-encoding");
}

static ssize_t read_on(GetStream *g, void *p, size_t n, Err *err)
{
	while (!g->over) {
		AUTO_ERR why = ERR_INIT;
		FetchFailure failure = FETCH_FAILED;
		ssize_t k = g->x ? 0 : open_at(g, &failure, &why);
		if (k == 0)
			k = fetch_read(g->x, p, n, &failure, &why);
		if (k > 0) {
			int r = took(g, p, (size_t) k, err);
			return r < 0 ? r : k;
		}
		if (k == 0 && (g->e.size == FETCH_ANY_SIZE || g->at == g->e.size))
			return check_end(g, err);
		if (k == 0) {
			if (!knows_its_end(g->x))
				failure = FETCH_CUT;
			(void) err_set(&why, -EINVAL, "wrong size: %llu bytes instead of %llu", (unsigned long long) g->at, (unsigned long long) g->e.size);
		}
		int r = cut(g, failure, &why, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static ssize_t get_read(Stream *s, void *p, size_t n, Err *err)
{
	GetStream *g = (GetStream *) s;
	ssize_t k = g->failed.code ? g->failed.code : read_on(g, p, n, &g->failed);
	return k < 0 ? err_set(err, (int) k, "%s", err_text(&g->failed)) : k;
}

int fetcher_get(Fetcher *f, const FetchRequest *q, const FetchCalls *calls, const FetchExpect *e, Stream **ret, Err *err)
{
	GetStream *g = xcalloc(1, sizeof(*g));
	FetchFailure failure;
	g->s = (Stream) { .read = get_read, .free = get_free };
	g->f = f;
	g->q = *q;
	g->q.url = g->url = xstrdup(q->url);
	g->q.headers = g->headers = strv_dup(q->headers);
	g->q.ca = g->ca = xstrdup(q->ca);
	g->q.authorization = NULL;
	g->e = e ? *e : (FetchExpect) { .size = FETCH_ANY_SIZE };
	g->digest = xstrdup(g->e.digest);
	if (calls)
		g->calls = *calls;
	sha256_begin(&g->sum);
	int r = open_at(g, &failure, err);
	if (r < 0) {
		get_free(&g->s);
		return r;
	}
	*ret = &g->s;
	return 0;
}
