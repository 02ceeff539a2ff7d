// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The certificates of all hosts that have a route with TLS: from files that users name, made by the box itself for names that no public CA knows, or from an
 * ACME server. The table says what is wanted; what there is changes by itself (a file was replaced, a certificate renewed), which is told by
 * `changed`.
 */

#include <uv.h>

#include "edge/edge.h"
#include "edge/proxy-state.h"

typedef struct Certs Certs;

typedef struct CertsOptions {
	uv_loop_t *loop;
	const char *state_dir;   /* the daemon's; all is kept below DIR/edge */
	bool tls;                /* HTTPS is served */
	uint16_t http_port;      /* where HTTP is served, 0 = it is not: where ACME challenges are answered */
	const char *acme_server; /* URL of the directory; NULL, "" or "off": no ACME */
	const char *acme_email, *acme_ca; /* or NULL; acme_ca: file with the CA certificates of the server, instead of the system's */
	bool (*in_effect)(void *user); /* HAProxy has what certs_state and certs_thumbprint give, so that an ACME server may come. NULL: always */
	void (*changed)(void *user); /* certs_state, _redirect or _thumbprint may give something else now */
	void *user;
} CertsOptions;

/** Strings of the options are copied. */
Certs *certs_new(const CertsOptions *o);
/** The files stay. NULL is allowed. */
void certs_free(Certs *c);
/** The table that is wanted from now on. */
void certs_table(Certs *c, const EdgeTable *t);

/** What in_effect says has become true. */
void certs_in_effect(Certs *c);

/** The default certificate is there, or cannot be had. HAProxy needs one from its start on. */
bool certs_ready(const Certs *c);
/** Appends those that there are to s->certs, the default one first. */
void certs_state(const Certs *c, ProxyState *s);
/** HTTPS is served for this route with a certificate for its host. */
bool certs_redirect(const Certs *c, const Route *r);
/** The ACME account's thumbprint, if challenges for the route's host are answered here, else NULL. */
const char *certs_thumbprint(const Certs *c, const Route *r);
/** For `stead routes`. */
void certs_describe(const Certs *c, const Route *r, EdgeCertificate *ret);
/** See edge_authority. */
const char *certs_authority(const Certs *c);
/** See edge_cert_check_files. */
void certs_check_files(Certs *c, const Route *const *routes, size_t n, EdgeCertCheckFn fn, void *user);
