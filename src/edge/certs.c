// SPDX-License-Identifier: Apache-2.0
/*
 * One CertHost for each host that has a route with TLS; the wanted ones come with the table. A host's bundle (certificate, chain, key) is a file
 * below STATE/edge/certs that stead-worker has checked and written; what is there is in use at once when the daemon starts, so that a running
 * HAProxy keeps what it has, and is checked again by a job that follows. Nothing is remembered of how a bundle came about: each job asks
 * "what should it be?" and writes only what differs. So a death between any two steps costs a repetition.
 *
 * A timer looks every few seconds whether users' files are others, whether a certificate is to be renewed, and what ACME has to do. Certificates end by
 * the real-time clock, which may jump; so nothing is timed to the moment of an end.
 *
 * A host without a certificate is served with the default one, which the local authority signs for this machine's own names; HTTP is
 * not redirected for it.
 */
#include "edge/cert-private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "edge/cert-name.h"

#define TICK_MS 5000
#define RETRY_NS (60 * NSEC_PER_SEC) /* after a job that failed, where the file is still the same */
#define SWEEP_NS (300 * NSEC_PER_SEC)

static int64_t now_seconds(void)
{
	return time_real() / NSEC_PER_SEC;
}

/* Hosts. */

static const char *host_name(const CertHost *h)
{
	return h->host[0] ? h->host : "the default certificate";
}

static CertHost *host_new(Certs *c, const char *host)
{
	CertHost *h = xcalloc(1, sizeof(*h));
	AUTO_FREE char *name = host[0] ? cert_file_name(host) : xstrdup(CERT_DEFAULT_FILE);
	h->certs = c;
	h->host = xstrdup(host);
	h->file = xasprintf("%s/%s", c->dir, name);
	return h;
}

static void forget_jobs(CertHost *h)
{
	if (h->certs->acme)
		acme_forget(h->certs->acme, h);
	cert_jobs_forget(h->certs->jobs, h);
	h->busy = false;
}

static void host_free(CertHost *h)
{
	forget_jobs(h);
	free(h->host);
	free(h->cert);
	free(h->key);
	free(h->file);
	free(h->pem);
	free(h->issuer);
	free(h->error);
	free(h);
}

CertHost *certs_find(const Certs *c, const char *host)
{
	for (CertHost *h = c->hosts; h; h = h->next)
		if (str_eq(h->host, host))
			return h;
	return NULL;
}

void cert_host_error(CertHost *h, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	char *text = fmt ? xvasprintf(fmt, ap) : NULL;
	va_end(ap);
	if (text && !str_eq(text, h->error))
		log_warning("certificate of %s: %s", host_name(h), text);
	free(h->error);
	h->error = text;
}

void cert_host_info(CertHost *h, const CertReport *r)
{
	h->not_before = r->not_before;
	h->not_after = r->not_after;
	str_set(&h->issuer, r->issuer);
	cert_host_error(h, r->warning ? "%s" : NULL, r->warning);
}

void cert_host_load(CertHost *h)
{
	AUTO_BUF b = BUF_INIT;
	char digest[DIGEST_HEX_MAX];
	int r = file_read(AT_FDCWD, h->file, LIMIT_CERT_FILE, &b);
	if (r < 0 || !b.len) {
		if (r < 0 && r != -ENOENT)
			cert_host_error(h, "%s: %s", h->file, strerror(-r));
		return;
	}
	digest_sha256(b.data, b.len, digest);
	if (h->pem && memcmp(digest, h->digest, sizeof(digest)) == 0)
		return;
	memcpy(h->digest, digest, sizeof(digest));
	free(h->pem);
	h->pem = buf_steal(&b);
	h->certs->o.changed(h->certs->o.user);
}

/* Jobs. */

static void on_job(void *user, const CertReport *r, const Err *err)
{
	CertHost *h = user;
	h->busy = false;
	if (err) {
		h->retry_at = time_mono() + RETRY_NS;
		cert_host_error(h, "%s%s", err_text(err), h->pem ? "; the one from before stays in use" : "");
	} else {
		cert_host_info(h, r);
		cert_host_load(h);
	}
	/* HAProxy may be waiting for the default one, also if there will be none. */
	h->certs->o.changed(h->certs->o.user);
}

static void job(CertHost *h, json_t *item)
{
	h->busy = true;
	cert_job(h->certs->jobs, item, on_job, h);
}

static const char *base_name(const char *path)
{
	return strrchr(path, '/') + 1;
}

static void see(const char *path, FileSeen *ret)
{
	struct stat st = { 0 };
	(void) stat(path, &st);
	*ret = (FileSeen) { .dev = st.st_dev, .ino = st.st_ino, .size = st.st_size, .mtime = st.st_mtim, .ctime = st.st_ctim };
}

static bool seen_eq(const FileSeen *a, const FileSeen *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size && a->mtime.tv_sec == b->mtime.tv_sec &&
		a->mtime.tv_nsec == b->mtime.tv_nsec && a->ctime.tv_sec == b->ctime.tv_sec && a->ctime.tv_nsec == b->ctime.tv_nsec;
}

static void files_tick(CertHost *h)
{
	FileSeen cert, key;
	see(h->cert, &cert);
	see(h->key, &key);
	bool same = seen_eq(&cert, &h->seen[0]) && seen_eq(&key, &h->seen[1]);
	if (same && (!h->error || time_mono() < h->retry_at))
		return;
	h->seen[0] = cert;
	h->seen[1] = key;
	h->retry_at = time_mono() + RETRY_NS;
	json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "do", "files", "cert", h->cert, "key", h->key, "out", base_name(h->file));
	if (!o) {
		cert_host_error(h, "the name of a file is not UTF-8");
		return;
	}
	if (h->host[0])
		(void) json_object_set_new(o, "host", json_string(h->host));
	job(h, o);
}

static json_t *default_names(const Certs *c)
{
	char box[256] = "";
	json_t *names = json_array();
	(void) gethostname(box, sizeof(box) - 1);
	box[strcspn(box, ".")] = 0;
	for (char *p = box; *p; p++)
		*p = (char) (*p >= 'A' && *p <= 'Z' ? *p - 'A' + 'a' : *p);
	if (box[0] && strspn(box, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(box)) {
		AUTO_FREE char *local = xasprintf("%.63s.local", box);
		(void) json_array_append_new(names, json_string(local));
	}
	(void) json_array_append_new(names, json_string("localhost"));
	for (char **a = c->addresses; a && *a; a++)
		(void) json_array_append_new(names, json_string(*a));
	return names;
}

static void box_tick(CertHost *h)
{
	int64_t now = now_seconds();
	bool good = h->not_after && now >= h->not_before && now < acme_renew_at(h->not_before, h->not_after);
	if (good || (h->error && time_mono() < h->retry_at))
		return;
	json_t *names = h->host[0] ? json_pack("[s]", h->host) : default_names(h->certs);
	bool self = h->host[0] && cert_issuer_for(h->host) == CERT_SELF;
	job(h, json_pack("{s:s, s:o, s:b, s:s}", "do", "local", "names", names, "self", self, "out", base_name(h->file)));
}

/* Bundles that belong to no host any more: each holds a private key. */
static void sweep(Certs *c)
{
	if (time_mono() < c->swept_at + SWEEP_NS)
		return;
	c->swept_at = time_mono();
	DIR *d = opendir(c->dir);
	for (struct dirent *e; d && (e = readdir(d));) {
		bool used = e->d_name[0] == '.' || (c->fallback && str_eq(e->d_name, base_name(c->fallback->file)));
		for (const CertHost *h = c->hosts; h && !used; h = h->next)
			used = str_eq(e->d_name, base_name(h->file));
		if (!used)
			(void) unlinkat(dirfd(d), e->d_name, 0);
	}
	if (d)
		(void) closedir(d);
}

static void host_tick(CertHost *h)
{
	if (h->busy)
		return;
	if (h->source == CERT_FROM_FILES)
		files_tick(h);
	else if (h->source == CERT_FROM_BOX)
		box_tick(h);
}

void certs_tick(Certs *c)
{
	if (c->fallback)
		host_tick(c->fallback);
	for (CertHost *h = c->hosts; h; h = h->next)
		host_tick(h);
	if (c->acme)
		acme_tick(c->acme);
	sweep(c);
}

static void on_timer(uv_timer_t *t)
{
	certs_tick(t->data);
}

void certs_soon(Certs *c, int64_t ns)
{
	uint64_t ms = (uint64_t) (ns / NSEC_PER_MSEC) + 20; /* the loop counts from its last turn */
	if (ms < uv_timer_get_due_in(&c->timer))
		(void) uv_timer_start(&c->timer, on_timer, ms, TICK_MS);
}

void certs_in_effect(Certs *c)
{
	if (c->held)
		certs_soon(c, 0);
	c->held = false;
}

/* The table. */

static void set_source(CertHost *h, const Route *r)
{
	Certs *c = h->certs;
	CertIssuer issuer = cert_issuer_for(h->host);
	CertSource source = r->tls == TLS_FILES ? CERT_FROM_FILES : issuer == CERT_PUBLIC ? (c->acme ? CERT_FROM_ACME : CERT_FROM_NOBODY) :
		issuer == CERT_BY_HAND ? CERT_FROM_NOBODY : CERT_FROM_BOX;
	if (h->configured && source == h->source && str_eq(r->cert, h->cert) && str_eq(r->key, h->key))
		return;
	forget_jobs(h);
	h->configured = true;
	h->looked = h->issued = false;
	h->source = source;
	str_set(&h->cert, r->cert);
	str_set(&h->key, r->key);
	h->seen[0] = h->seen[1] = (FileSeen) { 0 };
	h->not_before = h->not_after = 0;
	cert_host_error(h, NULL);
	if (source == CERT_FROM_ACME)
		acme_look(c->acme, h);
	if (source == CERT_FROM_NOBODY) {
		free_and_null(&h->pem);
		cert_host_error(h, issuer == CERT_BY_HAND ? "a certificate for a wildcard takes a DNS challenge, which stead cannot answer: name files with "
							   "tls: {cert: FILE, key: FILE}; until then the default certificate is served" :
							   "ACME is off (--acme-server off): name files with tls: {cert: FILE, key: FILE}; until then the default "
							   "certificate is served");
	}
}

static void want(Certs *c, const Route *r)
{
	CertHost *h = certs_find(c, r->host);
	if (!h) {
		h = host_new(c, r->host);
		CertHost **p = &c->hosts;
		while (*p && strcmp((*p)->file, h->file) < 0)
			p = &(*p)->next;
		h->next = *p;
		*p = h;
		cert_host_load(h);
	}
	set_source(h, r);
	h->wanted = true;
}

static void drop_unwanted(Certs *c)
{
	for (CertHost **p = &c->hosts; *p;) {
		CertHost *h = *p;
		if (h->wanted) {
			p = &h->next;
			continue;
		}
		*p = h->next;
		host_free(h);
	}
}

/*
 * The default certificate is the one that a route for any host names, else one of the box, which covers the addresses among the hosts and is made again
 * where they are others.
 */
static void set_fallback(Certs *c, const Route *any, char **addresses)
{
	CertHost *h = c->fallback;
	CertSource source = any ? CERT_FROM_FILES : CERT_FROM_BOX;
	const char *cert = any ? any->cert : NULL, *key = any ? any->key : NULL;
	bool same = strv_eq(c->addresses, addresses);
	strv_free(c->addresses);
	c->addresses = addresses;
	if (h && same && h->source == source && str_eq(h->cert, cert) && str_eq(h->key, key))
		return;
	if (!h) {
		h = c->fallback = host_new(c, "");
		cert_host_load(h);
	}
	forget_jobs(h);
	h->source = source;
	str_set(&h->cert, cert);
	str_set(&h->key, key);
	h->seen[0] = h->seen[1] = (FileSeen) { 0 };
	h->not_after = 0;
	cert_host_error(h, NULL);
}

void certs_table(Certs *c, const EdgeTable *t)
{
	AUTO_STRV char **addresses = NULL;
	const Route *any = NULL;
	for (CertHost *h = c->hosts; h; h = h->next)
		h->wanted = false;
	for (int files = 1; files >= 0; files--)
		for (size_t i = 0; c->o.tls && i < t->n_routes; i++) {
			const Route *r = &t->routes[i].route;
			if (r->tls == TLS_OFF || (r->tls == TLS_FILES) != files)
				continue;
			if (!r->host) {
				any = files && !any ? r : any;
				continue;
			}
			if (r->tls == TLS_AUTO && cert_host_is_address(r->host) && cert_address_is_private(r->host)) {
				if (!strv_has(addresses, r->host))
					strv_add(&addresses, r->host);
				continue;
			}
			const CertHost *h = certs_find(c, r->host);
			if (!h || !h->wanted)
				want(c, r);
		}
	drop_unwanted(c);
	if (c->o.tls && t->n_routes)
		set_fallback(c, any, steal_ptr(&addresses));
	certs_tick(c);
}

static void add_cert(ProxyState *s, const CertHost *h)
{
	if (!h || !h->pem)
		return;
	ProxyCert *p = array_append(s->certs, s->n_certs);
	p->file = xstrdup(h->file);
	memcpy(p->digest, h->digest, sizeof(p->digest));
	p->pem = xstrdup(h->pem);
	/* Without a name HAProxy would take those in the certificate, of which one may be a host's that has its own. */
	strv_add(&p->names, h->host[0] ? h->host : "default.invalid");
}

void certs_state(const Certs *c, ProxyState *s)
{
	add_cert(s, c->fallback);
	for (const CertHost *h = c->hosts; h; h = h->next)
		add_cert(s, h);
}

bool certs_ready(const Certs *c)
{
	const CertHost *h = c->fallback;
	return !h || h->pem || h->error;
}

bool certs_redirect(const Certs *c, const Route *r)
{
	if (!c->o.tls || r->tls == TLS_OFF || (!r->host && r->tls != TLS_FILES))
		return false;
	if (!r->host || strv_has(c->addresses, r->host))
		return c->fallback && c->fallback->pem;
	const CertHost *h = certs_find(c, r->host);
	return h && h->pem;
}

const char *certs_thumbprint(const Certs *c, const Route *r)
{
	const CertHost *h = r->host ? certs_find(c, r->host) : NULL;
	return h && h->source == CERT_FROM_ACME ? acme_thumbprint(c->acme) : NULL;
}

void certs_describe(const Certs *c, const Route *r, EdgeCertificate *ret)
{
	*ret = (EdgeCertificate) { .kind = "off" };
	if (!c->o.tls || r->tls == TLS_OFF)
		return;
	const CertHost *h = r->host ? certs_find(c, r->host) : NULL;
	const CertHost *shown = h && h->pem ? h : c->fallback;
	ret->kind = r->tls == TLS_FILES || (h && h->source == CERT_FROM_FILES) ? "file" : h && h->source == CERT_FROM_ACME ? "acme" : "self-signed";
	ret->own = h ? h->pem != NULL : r->host ? strv_has(c->addresses, r->host) : r->tls == TLS_FILES && shown && shown->pem;
	if (shown && shown->pem) {
		ret->not_after = shown->not_after;
		ret->issuer = shown->issuer;
		if (shown->source == CERT_FROM_BOX && (shown == c->fallback || cert_issuer_for(shown->host) == CERT_LOCAL))
			ret->ca = c->ca;
	}
	ret->error = h ? h->error : shown ? shown->error : NULL;
	if (!ret->error && h && !h->pem)
		ret->error = "not issued yet; until then HTTP serves, and HTTPS with the default certificate";
	if (h && h->source == CERT_FROM_ACME && !h->busy)
		ret->next = acme_host_next((CertHost *) h, now_seconds());
}

const char *certs_authority(const Certs *c)
{
	return c->ca;
}

/* The check before an `up`. */

typedef struct Check {
	EdgeCertCheckFn fn;
	void *user;
	size_t left;
	bool failed;
} Check;

typedef struct CheckItem {
	Check *check;
	size_t at;
} CheckItem;

static void on_checked(void *user, const CertReport *r, const Err *err)
{
	CheckItem *item = user;
	Check *c = item->check;
	if (err && !c->failed) {
		c->failed = true;
		c->fn(c->user, item->at, err);
	}
	free(item);
	if (--c->left)
		return;
	if (!c->failed && r)
		c->fn(c->user, 0, NULL);
	free(c);
}

void certs_check_files(Certs *certs, const Route *const *routes, size_t n, EdgeCertCheckFn fn, void *user)
{
	Check *c = xcalloc(1, sizeof(*c));
	*c = (Check) { .fn = fn, .user = user, .left = n };
	for (size_t i = 0; i < n; i++) {
		CheckItem *item = xcalloc(1, sizeof(*item));
		json_t *o = json_pack("{s:s, s:s, s:s}", "do", "files", "cert", routes[i]->cert, "key", routes[i]->key);
		*item = (CheckItem) { c, i };
		if (routes[i]->host)
			(void) json_object_set_new(o, "host", json_string(routes[i]->host));
		cert_job(certs->jobs, o, on_checked, item);
	}
}

/* Life. */

Certs *certs_new(const CertsOptions *o)
{
	Certs *c = xcalloc(1, sizeof(*c));
	c->o = *o;
	c->o.state_dir = NULL;
	c->state_dir = xasprintf("%s/edge", o->state_dir);
	c->dir = xasprintf("%s/certs", c->state_dir);
	c->ca = xasprintf("%s/ca/" CERT_CA_PUBLIC, c->state_dir);
	c->jobs = cert_jobs_new(o->loop, o->state_dir, c->state_dir);
	c->swept_at = time_mono();
	(void) uv_timer_init(o->loop, &c->timer);
	c->timer.data = c;
	(void) uv_timer_start(&c->timer, on_timer, TICK_MS, TICK_MS);
	if (!str_empty(o->acme_server) && !str_eq(o->acme_server, "off"))
		c->acme = acme_new(c, o->acme_server, o->acme_email, o->acme_ca);
	return c;
}

static void on_closed(uv_handle_t *h)
{
	free(h->data);
}

void certs_free(Certs *c)
{
	if (!c)
		return;
	acme_free(c->acme);
	c->acme = NULL;
	for (CertHost *h; (h = c->hosts);) {
		c->hosts = h->next;
		host_free(h);
	}
	if (c->fallback)
		host_free(c->fallback);
	cert_jobs_free(c->jobs);
	strv_free(c->addresses);
	free(c->state_dir);
	free(c->ca);
	free(c->dir);
	uv_close((uv_handle_t *) &c->timer, on_closed);
}
