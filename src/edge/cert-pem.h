// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Certificates and keys as PEM (RFC 7468), as users, ACME servers and attackers write them. Read in stead-worker only. What passes is
 * written anew in one form ("bundle": leaf, intermediates, private key) that HAProxy accepts, whatever was in the files.
 */

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

typedef struct CertInfo {
	int64_t not_before, not_after; /* seconds since the epoch */
	char *issuer;                  /* for people: organisation and common name; UTF-8 without control characters */
	char *warning;                 /* it works, but: expired, not yet valid; or NULL */
	char digest[65];               /* SHA-256 of the certificates in the bundle, hex */
} CertInfo;

void cert_info_done(CertInfo *i);
#define AUTO_CERT_INFO __attribute__((cleanup(cert_info_done))) CertInfo

/** PEM texts; the names stand in errors. `key` may be the same bytes. */
typedef struct CertPem {
	const char *cert, *key;
	size_t cert_len, key_len;
	const char *cert_name, *key_name;
} CertPem;

/**
 * Checks that the certificate parses, belongs to the key, covers `host` (NULL: any; "*.example.com": the wildcard itself) and is
 * strong enough for HAProxy, and appends the bundle to `bundle`. `now`: seconds since the epoch. Being expired is a warning. -EINVAL with a text that
 * names the file at fault.
 */
int cert_pem_check(const CertPem *p, const char *host, int64_t now, Buf *bundle, CertInfo *ret, Err *err);
/** As above from files, each a regular one of at most LIMIT_CERT_FILE bytes. */
int cert_pem_files(const char *cert, const char *key, const char *host, int64_t now, Buf *bundle, CertInfo *ret, Err *err);

/** The bundle of checked parts; -E2BIG beyond LIMIT_CERT_BUNDLE. `chain` may be NULL. */
int cert_bundle_write(X509 *leaf, STACK_OF(X509) *chain, EVP_PKEY *key, int64_t now, Buf *bundle, CertInfo *ret, Err *err);
/** The first certificate and key of a bundle that we wrote; owned by the caller. */
int cert_bundle_read(const char *pem, size_t n, X509 **ret_leaf, EVP_PKEY **ret_key, Err *err);

/** JWK thumbprint (RFC 7638) of an ACME account's key, PEM: what stands after the "." in a key authorisation (RFC 8555 8.1). */
int cert_key_thumbprint(const char *pem, size_t n, Buf *ret, Err *err);

void cert_x509_freep(X509 **x);
void cert_key_freep(EVP_PKEY **k);
#define AUTO_X509 __attribute__((cleanup(cert_x509_freep))) X509
#define AUTO_KEY __attribute__((cleanup(cert_key_freep))) EVP_PKEY
