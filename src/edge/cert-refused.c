// SPDX-License-Identifier: Apache-2.0
#include "edge/cert-refused.h"

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"

#define WAIT_FIRST NSEC_PER_SEC /* doubled each time */
#define DOUBLINGS_MAX 8         /* some four minutes */

struct RefusedCert {
	char *file;
	char digest[65]; /* of what was refused */
	unsigned times;
	int64_t due;
};

static void drop(RefusedCerts *r, size_t i)
{
	free(r->items[i].file);
	r->items[i] = r->items[--r->n];
}

void refused_done(RefusedCerts *r)
{
	while (r->n)
		drop(r, r->n - 1);
	free_and_null(&r->items);
}

static RefusedCert *find(RefusedCerts *r, const char *file)
{
	for (size_t i = 0; i < r->n; i++)
		if (str_eq(r->items[i].file, file))
			return &r->items[i];
	return NULL;
}

void refused_note(RefusedCerts *r, const ProxyCert *c, int64_t now)
{
	RefusedCert *one = find(r, c->file);
	if (!one) {
		one = array_append(r->items, r->n);
		*one = (RefusedCert) { .file = xstrdup(c->file) };
	}
	if (!str_eq(one->digest, c->digest))
		one->times = 0;
	(void) snprintf(one->digest, sizeof(one->digest), "%s", c->digest);
	one->due = now + (WAIT_FIRST << (one->times < DOUBLINGS_MAX ? one->times : DOUBLINGS_MAX));
	one->times++;
}

static ProxyCert *cert_of(const ProxyState *s, const char *file)
{
	for (size_t i = 0; i < s->n_certs; i++)
		if (str_eq(s->certs[i].file, file))
			return &s->certs[i];
	return NULL;
}

static void leave_as_is(const ProxyCert *have, ProxyState *want, ProxyCert *cert)
{
	if (have) {
		memcpy(cert->digest, have->digest, sizeof(cert->digest));
		strv_free(cert->names);
		cert->names = strv_dup(have->names);
		return;
	}
	free(cert->file);
	free(cert->pem);
	strv_free(cert->names);
	for (ProxyCert *c = cert; c + 1 < want->certs + want->n_certs; c++)
		c[0] = c[1];
	want->n_certs--;
}

int64_t refused_apply(RefusedCerts *r, const ProxyState *have, ProxyState *want, int64_t now)
{
	int64_t next = 0;
	for (size_t i = r->n; i-- > 0;) {
		RefusedCert *one = &r->items[i];
		ProxyCert *cert = cert_of(want, one->file), *there = cert_of(have, one->file);
		if (!cert || !str_eq(cert->digest, one->digest) || (there && str_eq(there->digest, one->digest))) {
			drop(r, i);
			continue;
		}
		if (one->due <= now)
			continue;
		next = !next || one->due < next ? one->due : next;
		leave_as_is(there, want, cert);
	}
	return next;
}
