// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Certificates that stead makes itself, in stead-worker: a certificate authority for this box, and short-lived certificates signed by it. A
 * user who installs the authority's certificate trusts all of them. Its name constraints (RFC 5280 4.2.1.10) bind it to names that the public DNS does not
 * have and to private addresses, so that its key, if it is ever stolen, is worth nothing for any other site.
 */

#include <stdbool.h>

#include "edge/cert-pem.h"

#define CERT_CA_PRIVATE "ca.pem"      /* certificate and key, 0600 */

typedef struct CertCa {
	X509 *cert;
	EVP_PKEY *key;
} CertCa;

void cert_ca_done(CertCa *ca);
#define AUTO_CERT_CA __attribute__((cleanup(cert_ca_done))) CertCa

/**
 * The authority in the directory `dir`, made where there is none or where it ends soon. `box` stands in its name. A private file that cannot be
 * read is an error, not a reason to make another: people have installed its certificate.
 */
int cert_ca_open(const char *dir, const char *box, int64_t now, CertCa *ret, Err *err);

/** A certificate for `names` (host names, wildcards, IPv4 addresses; the first is its common name), appended as a bundle. `ca` NULL: signed by itself. */
int cert_leaf_make(const CertCa *ca, char *const *names, int64_t now, Buf *bundle, CertInfo *ret, Err *err);
/** Is `pem`, a bundle made earlier, what cert_leaf_make would make, and not due for renewal? Then fills `ret`. */
bool cert_leaf_good(const char *pem, size_t n, const CertCa *ca, char *const *names, int64_t now, CertInfo *ret);

/** A new key for an ACME account, PEM (P-256). */
int cert_account_key_make(Buf *ret, Err *err);
