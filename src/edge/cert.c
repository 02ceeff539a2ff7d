// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "edge/certs.h"
#include "edge/edge-private.h"

/* They become words of uacme's command line. */
static bool is_word(const char *s)
{
	return s[0] && s[0] != '-' && !str_has_control(s) && !strpbrk(s, " \"'\\<>") && str_is_utf8(s, strlen(s));
}

int edge_acme_check(const char *server, const char *email, const char *ca, Err *err)
{
	const char *at = email ? strchr(email, '@') : NULL;
	if (!str_eq(server, "off") && (!str_starts(server, "https://") || !server[strlen("https://")] || !is_word(server)))
		return err_set(err, -EINVAL, "--acme-server: the https:// URL of an ACME directory, or off, is expected, not '%s'", server);
	if (email && (!is_word(email) || !at || at == email || !at[1]))
		return err_set(err, -EINVAL, "--acme-email: a mail address is expected, not '%s'", email);
	if (ca && (ca[0] != '/' || !is_word(ca)))
		return err_set(err, -EINVAL, "--acme-ca: the absolute path of a file is expected, not '%s'", ca);
	return 0;
}

static bool in_effect(void *user)
{
	return edge_in_effect(user);
}

static void on_changed(void *user)
{
	edge_kick(user);
}

int edge_cert_open(Edge *e, Err *err)
{
	AUTO_FREE char *state_dir = xstrndup(e->state_dir, strlen(e->state_dir) - strlen("/edge"));
	const CertsOptions o = {
		.loop = e->loop, .state_dir = state_dir, .tls = listen_port(&e->https) != 0, .http_port = listen_port(&e->http),
		.acme_server = e->acme_server, .acme_email = e->acme_email, .acme_ca = e->acme_ca, .in_effect = in_effect,
		.changed = on_changed, .user = e,
	};
	e->certs = certs_new(&o);
	return 0;
}

void edge_cert_close(Edge *e)
{
	certs_free(e->certs);
	e->certs = NULL;
}

void edge_cert_table(Edge *e, const EdgeTable *t)
{
	certs_table(e->certs, t);
}

void edge_cert_in_effect(Edge *e)
{
	certs_in_effect(e->certs);
}

bool edge_cert_ready(const Edge *e)
{
	return certs_ready(e->certs);
}

void edge_cert_state(Edge *e, ProxyState *s)
{
	certs_state(e->certs, s);
}

bool edge_cert_redirect(void *user, const EdgeRoute *r)
{
	return certs_redirect(((const Edge *) user)->certs, &r->route);
}

const char *edge_cert_thumbprint(void *user, const EdgeRoute *r)
{
	return certs_thumbprint(((const Edge *) user)->certs, &r->route);
}

void edge_certificate(const Edge *e, const Route *r, EdgeCertificate *ret)
{
	certs_describe(e->certs, r, ret);
}

const char *edge_authority(const Edge *e)
{
	return certs_authority(e->certs);
}

void edge_cert_check_files(Edge *e, const Route *const *routes, size_t n, EdgeCertCheckFn fn, void *user)
{
	certs_check_files(e->certs, routes, n, fn, user);
}
