// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Who can give a certificate for a host name, and what its file is called.
 */

#include <stdbool.h>

typedef enum CertIssuer {
	CERT_PUBLIC,  /* a name in the public DNS: ACME, which any client trusts */
	CERT_LOCAL,   /* the box's own certificate authority may sign it (cert-ca.h: its name constraints allow it) */
	CERT_SELF,    /* neither: a single label, a public address; signed by its own key */
	CERT_BY_HAND, /* a wildcard in the public DNS: needs a DNS challenge, so only from files; until then the default certificate */
} CertIssuer;

/** Top-level names that the public DNS will never have (RFC 6761, 6762 appendix G, 8375, ICANN's "internal"), and no CA issues for. NULL at the end. */
extern const char *const cert_local_domains[];

/** `host` as the model has it: lower case, "*.example.com" for a wildcard. */
CertIssuer cert_issuer_for(const char *host);
/** An IPv4 address. TLS clients do not send it as a server name, so only the default certificate can cover it. */
bool cert_host_is_address(const char *host);
/** Loopback, RFC 1918, RFC 6598 (behind a carrier's NAT), link-local. */
bool cert_address_is_private(const char *host);
/** File name of the certificate for `host`: "app.example.com.pem", "_.example.com.pem" for a wildcard. Owned by the caller. */
char *cert_file_name(const char *host);
#define CERT_DEFAULT_FILE "_default.pem" /* "_" is in no host name */
#define CERT_CA_PUBLIC "stead-ca.crt"  /* of the local authority, for users: the certificate alone */
