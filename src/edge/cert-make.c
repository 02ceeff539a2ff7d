// SPDX-License-Identifier: Apache-2.0
#include "edge/cert-make.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "edge/acme-schedule.h"
#include "edge/cert-name.h"

#define DAY 86400
#define CA_DAYS 3650
#define LEAF_DAYS 90
#define SELF_DAYS 800    /* accepted by hand, so seldom anew; Apple's bound is 825 */
#define CA_REST_DAYS 120 /* an authority that ends sooner is replaced */
#define SKEW 3600        /* clocks in a home differ */

void cert_ca_done(CertCa *ca)
{
	X509_free(ca->cert);
	EVP_PKEY_free(ca->key);
	*ca = (CertCa) { 0 };
}

static int failed(Err *err, const char *what)
{
	unsigned long e = ERR_peek_last_error();
	const char *text = e ? ERR_reason_error_string(e) : NULL;
	return err_set(err, -EIO, "%s: %s", what, text ? text : "the TLS library gave no reason");
}

static bool add_ext(X509 *x, X509V3_CTX *ctx, int nid, const char *value)
{
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, ctx, nid, value);
	bool good = e && X509_add_ext(x, e, -1) == 1;
	X509_EXTENSION_free(e);
	return good;
}

/* Version, random serial, validity, key. */
static bool set_basics(X509 *x, EVP_PKEY *key, int64_t now, int days)
{
	unsigned char serial[16];
	if (RAND_bytes(serial, sizeof(serial)) != 1)
		return false;
	serial[0] = (serial[0] & 0x3f) | 0x40; /* positive, and of the full length */
	BIGNUM *n = BN_bin2bn(serial, sizeof(serial), NULL);
	bool good = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x)) && X509_set_version(x, X509_VERSION_3) == 1 &&
		ASN1_TIME_set(X509_getm_notBefore(x), (time_t) (now - SKEW)) && X509_set_pubkey(x, key) == 1 &&
		ASN1_TIME_set(X509_getm_notAfter(x), (time_t) (now - SKEW + (int64_t) days * DAY));
	BN_free(n);
	return good;
}

static bool set_name(X509_NAME *name, const char *field, const char *value)
{
	return X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (const unsigned char *) value, -1, -1, 0) == 1;
}

static char *constraints_text(void)
{
	static const char *const nets[] = {
		"127.0.0.0/255.0.0.0", "10.0.0.0/255.0.0.0", "172.16.0.0/255.240.0.0", "192.168.0.0/255.255.0.0", "100.64.0.0/255.192.0.0",
		"169.254.0.0/255.255.0.0",
	};
	AUTO_BUF b = BUF_INIT;
	buf_str(&b, "critical");
	for (const char *const *d = cert_local_domains; *d; d++)
		buf_printf(&b, ",permitted;DNS:%s", *d);
	for (size_t i = 0; i < ARRAY_SIZE(nets); i++)
		buf_printf(&b, ",permitted;IP:%s", nets[i]);
	return buf_steal(&b);
}

static int ca_make(const char *box, int64_t now, CertCa *ret, Err *err)
{
	AUTO_FREE char *constraints = constraints_text();
	AUTO_FREE char *name = xasprintf("stead on %.50s", box);
	AUTO_KEY *key = EVP_EC_gen("P-256");
	AUTO_X509 *x = X509_new();
	X509V3_CTX ctx;
	ERR_clear_error();
	if (!key || !x || !set_basics(x, key, now, CA_DAYS))
		return failed(err, "making the local certificate authority");
	X509_NAME *subject = X509_get_subject_name(x);
	X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
	if (!set_name(subject, "O", "stead local CA") || !set_name(subject, "CN", name) || X509_set_issuer_name(x, subject) != 1 ||
		!add_ext(x, &ctx, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
		!add_ext(x, &ctx, NID_key_usage, "critical,keyCertSign,cRLSign") || !add_ext(x, &ctx, NID_subject_key_identifier, "hash") ||
		!add_ext(x, &ctx, NID_name_constraints, constraints) || X509_sign(x, key, EVP_sha256()) == 0)
		return failed(err, "making the local certificate authority");
	*ret = (CertCa) { steal_ptr(&x), steal_ptr(&key) };
	return 0;
}

/* The private file first: both its parts stand in one rename, and the public one can be written again from it. */
static int ca_write(const char *dir, const CertCa *ca, int64_t now, Err *err)
{
	AUTO_CERT_INFO info = { 0 };
	AUTO_BUF b = BUF_INIT;
	AUTO_FREE char *path = xasprintf("%s/%s", dir, CERT_CA_PRIVATE);
	int r = cert_bundle_write(ca->cert, NULL, ca->key, now, &b, &info, err);
	if (r < 0)
		return r;
	r = file_write_atomic(AT_FDCWD, path, b.data, b.len, 0600, true);
	return r < 0 ? err_errno(err, r, "%s", path) : 0;
}

static int ca_publish(const char *dir, const CertCa *ca, Err *err)
{
	AUTO_FREE char *path = xasprintf("%s/%s", dir, CERT_CA_PUBLIC);
	AUTO_BUF old = BUF_INIT;
	char *text = NULL;
	BIO *bio = BIO_new(BIO_s_mem());
	int r = PEM_write_bio_X509(bio, ca->cert) == 1 ? 0 : failed(err, path);
	long n = BIO_get_mem_data(bio, &text);
	if (r == 0 && (file_read(AT_FDCWD, path, LIMIT_CERT_FILE, &old) < 0 || old.len != (size_t) n || memcmp(old.data, text, old.len) != 0)) {
		r = file_write_atomic(AT_FDCWD, path, text, (size_t) n, 0644, true);
		if (r < 0)
			(void) err_errno(err, r, "%s", path);
	}
	BIO_free(bio);
	return r;
}

int cert_ca_open(const char *dir, const char *box, int64_t now, CertCa *ret, Err *err)
{
	AUTO_FREE char *path = xasprintf("%s/%s", dir, CERT_CA_PRIVATE);
	AUTO_CERT_CA ca = { 0 };
	AUTO_BUF b = BUF_INIT;
	int r = dir_make(dir, 0700);
	if (r < 0)
		return err_errno(err, r, "%s", dir);
	r = file_read(AT_FDCWD, path, LIMIT_CERT_FILE, &b);
	if (r < 0 && r != -ENOENT)
		return err_errno(err, r, "%s", path);
	if (r == 0 && (r = cert_bundle_read(b.data, b.len, &ca.cert, &ca.key, err)) < 0)
		return err_wrap(err, "%s is damaged (remove it, and a new local certificate authority will be made, which has to be installed again)", path);
	struct tm end = { 0 };
	if (!ca.cert || ASN1_TIME_to_tm(X509_get0_notAfter(ca.cert), &end) != 1 || timegm(&end) < now + (int64_t) CA_REST_DAYS * DAY) {
		cert_ca_done(&ca);
		if ((r = ca_make(box, now, &ca, err)) < 0 || (r = ca_write(dir, &ca, now, err)) < 0)
			return r;
	}
	r = ca_publish(dir, &ca, err);
	if (r < 0)
		return r;
	*ret = ca;
	ca = (CertCa) { 0 };
	return 0;
}

/* The names come from the model: letters, digits, "-", ".", "*". Nothing that X509V3_EXT_conf_nid would read as syntax. */
static char *san_text(char *const *names)
{
	AUTO_BUF b = BUF_INIT;
	for (char *const *n = names; *n; n++)
		buf_printf(&b, "%s%s:%s", b.len ? "," : "", cert_host_is_address(*n) ? "IP" : "DNS", *n);
	return buf_steal(&b);
}

static bool name_is_safe(const char *s)
{
	return *s && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-.*") == strlen(s);
}

int cert_leaf_make(const CertCa *ca, char *const *names, int64_t now, Buf *bundle, CertInfo *ret, Err *err)
{
	AUTO_KEY *key = NULL;
	AUTO_X509 *x = NULL;
	X509V3_CTX ctx;
	if (!names || !names[0])
		return err_set(err, -EINVAL, "a certificate without a name");
	for (char *const *n = names; *n; n++)
		if (!name_is_safe(*n))
			return err_set(err, -EINVAL, "'%s' is no host name", *n);
	AUTO_FREE char *san = san_text(names);
	ERR_clear_error();
	if (!(key = EVP_EC_gen("P-256")) || !(x = X509_new()) || !set_basics(x, key, now, ca ? LEAF_DAYS : SELF_DAYS))
		return failed(err, names[0]);
	/*
	 * A common name has 64 characters at most (RFC 5280, upper bounds); clients look at the subjectAltName. An address there would be held
	 * against the authority's constraints as if it were a host name.
	 */
	bool cn = strlen(names[0]) <= 64 && !cert_host_is_address(names[0]);
	X509_NAME *subject = X509_get_subject_name(x);
	const X509 *issuer = ca ? ca->cert : x;
	X509V3_set_ctx(&ctx, (X509 *) issuer, x, NULL, NULL, 0);
	if (!set_name(subject, "O", "stead") || (cn && !set_name(subject, "CN", names[0])) ||
		X509_set_issuer_name(x, X509_get_subject_name(issuer)) != 1 || !add_ext(x, &ctx, NID_subject_alt_name, san) ||
		!add_ext(x, &ctx, NID_basic_constraints, "critical,CA:FALSE") || !add_ext(x, &ctx, NID_key_usage, "critical,digitalSignature") ||
		!add_ext(x, &ctx, NID_ext_key_usage, "serverAuth") || !add_ext(x, &ctx, NID_subject_key_identifier, "hash") ||
		(ca && !add_ext(x, &ctx, NID_authority_key_identifier, "keyid:always")) || X509_sign(x, ca ? ca->key : key, EVP_sha256()) == 0)
		return failed(err, names[0]);
	return cert_bundle_write(x, NULL, key, now, bundle, ret, err);
}

static size_t count_names(X509 *leaf)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
	int n = sk_GENERAL_NAME_num(names);
	sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
	return n > 0 ? (size_t) n : 0;
}

bool cert_leaf_good(const char *pem, size_t n, const CertCa *ca, char *const *names, int64_t now, CertInfo *ret)
{
	AUTO_CERT_INFO info = { 0 };
	AUTO_BUF bundle = BUF_INIT;
	AUTO_X509 *leaf = NULL;
	AUTO_KEY *key = NULL;
	const CertPem p = { .cert = pem, .cert_len = n, .cert_name = "", .key = pem, .key_len = n, .key_name = "" };
	if (cert_bundle_read(pem, n, &leaf, &key, NULL) < 0 || cert_pem_check(&p, names[0], now, &bundle, &info, NULL) < 0)
		return false;
	for (char *const *name = names + 1; *name; name++) {
		AUTO_CERT_INFO again = { 0 };
		AUTO_BUF b = BUF_INIT;
		if (cert_pem_check(&p, *name, now, &b, &again, NULL) < 0)
			return false;
	}
	bool issued = ca ? X509_check_issued(ca->cert, leaf) == X509_V_OK && X509_verify(leaf, ca->key) == 1 : X509_verify(leaf, key) == 1;
	if (!issued || count_names(leaf) != strv_len(names) || now < info.not_before || now >= acme_renew_at(info.not_before, info.not_after))
		return false;
	*ret = info;
	info = (CertInfo) { 0 };
	return true;
}

int cert_account_key_make(Buf *ret, Err *err)
{
	AUTO_KEY *key = EVP_EC_gen("P-256");
	BIO *bio = BIO_new(BIO_s_mem());
	char *text = NULL;
	int r = key && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1 ? 0 : failed(err, "making a key for the ACME account");
	long n = BIO_get_mem_data(bio, &text);
	if (r == 0)
		buf_append(ret, text, (size_t) n);
	BIO_free(bio);
	return r;
}
