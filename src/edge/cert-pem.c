// SPDX-License-Identifier: Apache-2.0
/*
 * Files come in every shape: the key in the same file, the leaf behind its issuers, the root at the end, text between the blocks. The
 * leaf is the certificate that the key belongs to; the others follow in their order, without self-signed roots, which clients have
 * or do not trust.
 *
 * Whether HAProxy will take a certificate is asked of the function that HAProxy itself asks (SSL_CTX_use_certificate at Debian's security
 * level): a certificate that it refuses would keep it from starting.
 */
#include "edge/cert-pem.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <time.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"

#define CHAIN_MAX 16
#define SECURITY_LEVEL 2 /* Debian's: RSA of 2048 bits, no SHA-1 */

void cert_x509_freep(X509 **x)
{
	X509_free(*x);
}

void cert_key_freep(EVP_PKEY **k)
{
	EVP_PKEY_free(*k);
}

static void stack_freep(STACK_OF(X509) **s)
{
	sk_X509_pop_free(*s, X509_free);
}

static void bio_freep(BIO **b)
{
	BIO_free(*b);
}

static void ctx_freep(SSL_CTX **c)
{
	SSL_CTX_free(*c);
}

void cert_info_done(CertInfo *i)
{
	free(i->issuer);
	free(i->warning);
	*i = (CertInfo) { 0 };
}

static const char *reason(void)
{
	unsigned long e = ERR_peek_last_error();
	const char *text = e ? ERR_reason_error_string(e) : NULL;
	return text ? text : "unknown reason";
}

/* Instead of asking the terminal. */
static int no_passphrase(char *buf, int size, int rwflag, void *user)
{
	*(bool *) user = true;
	return -1;
}

/* Reading. */

static const char *wrong_form(const char *p, size_t n)
{
	if (n == 0)
		return "the file is empty";
	if ((uint8_t) p[0] == 0x30)
		return "it is binary (DER or PKCS#12), not PEM: convert it with openssl";
	return "it has no such PEM block";
}

static int read_certificates(const CertPem *p, STACK_OF(X509) **ret, Err *err)
{
	__attribute__((cleanup(stack_freep))) STACK_OF(X509) *list = sk_X509_new_null();
	__attribute__((cleanup(bio_freep))) BIO *bio = BIO_new_mem_buf(p->cert, (int) p->cert_len);
	bool asked = false;
	ERR_clear_error();
	for (;;) {
		X509 *x = PEM_read_bio_X509(bio, NULL, no_passphrase, &asked);
		if (!x)
			break;
		(void) sk_X509_push(list, x);
		if (sk_X509_num(list) > CHAIN_MAX)
			return err_set(err, -EINVAL, "%s: more than %d certificates; only the host's own and its intermediates belong there", p->cert_name,
				CHAIN_MAX);
	}
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return err_set(err, -EINVAL, "%s: a certificate in it cannot be read: %s", p->cert_name, asked ? "it is encrypted" : reason());
	if (sk_X509_num(list) == 0)
		return err_set(err, -EINVAL, "%s: no certificate: %s", p->cert_name, wrong_form(p->cert, p->cert_len));
	*ret = steal_ptr(&list);
	return 0;
}

static int read_key(const char *pem, size_t n, const char *name, EVP_PKEY **ret, Err *err)
{
	__attribute__((cleanup(bio_freep))) BIO *bio = BIO_new_mem_buf(pem, (int) n);
	bool asked = false;
	ERR_clear_error();
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &asked);
	if (key) {
		*ret = key;
		return 0;
	}
	if (asked)
		return err_set(err, -EINVAL, "%s: the private key is protected by a passphrase, which nobody is there to type: write it without one "
			"(openssl pkey -in OLD -out NEW)", name);
	static const char begin[] = "PRIVATE KEY-----";
	if (!memmem(pem, n, begin, strlen(begin)))
		return err_set(err, -EINVAL, "%s: no private key: %s", name, wrong_form(pem, n));
	return err_set(err, -EINVAL, "%s: the private key cannot be read: %s", name, reason());
}

/* Takes the certificate of `key` out of the list. */
static X509 *take_leaf(STACK_OF(X509) *list, EVP_PKEY *key)
{
	for (int i = 0; i < sk_X509_num(list); i++) {
		const EVP_PKEY *pub = X509_get0_pubkey(sk_X509_value(list, i));
		if (pub && EVP_PKEY_eq(pub, key) == 1)
			return sk_X509_delete(list, i);
	}
	return NULL;
}

static void drop_roots(STACK_OF(X509) *list)
{
	for (int i = sk_X509_num(list) - 1; i >= 0; i--)
		if (X509_get_extension_flags(sk_X509_value(list, i)) & EXFLAG_SS)
			X509_free(sk_X509_delete(list, i));
}

/* Checking. */

/* What is between the control characters and bytes that are not UTF-8. */
static void put_clean(Buf *b, const ASN1_STRING *s)
{
	unsigned char *utf8 = NULL;
	int n = ASN1_STRING_to_UTF8(&utf8, s);
	if (n > 0 && n <= 200 && str_is_utf8((char *) utf8, (size_t) n))
		for (int i = 0; i < n; i++)
			if (utf8[i] >= 0x20 && utf8[i] != 0x7f)
				buf_char(b, (char) utf8[i]);
	OPENSSL_free(utf8);
}

static char *name_text(const X509_NAME *name)
{
	static const int parts[] = { NID_organizationName, NID_commonName };
	AUTO_BUF b = BUF_INIT;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		int at = X509_NAME_get_index_by_NID(name, parts[i], -1);
		if (at < 0)
			continue;
		if (b.len)
			buf_char(&b, ' ');
		put_clean(&b, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
	}
	return b.len ? buf_steal(&b) : xstrdup("unnamed");
}

static int64_t asn1_seconds(const ASN1_TIME *t)
{
	struct tm tm = { 0 };
	return t && ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t) timegm(&tm) : 0;
}

static bool covers(X509 *leaf, const char *host)
{
	const unsigned flags = X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;
	AUTO_FREE char *any = host[0] == '*' ? xasprintf("any-label%s", host + 1) : NULL;
	return X509_check_host(leaf, any ? any : host, 0, flags, NULL) == 1 || X509_check_ip_asc(leaf, host, 0) == 1;
}

/* "app.example.com, *.example.com", for the error. */
static char *names_text(X509 *leaf)
{
	AUTO_BUF b = BUF_INIT;
	GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
	for (int i = 0; i < sk_GENERAL_NAME_num(names) && b.len < 300; i++) {
		const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);
		if (n->type != GEN_DNS)
			continue;
		if (b.len)
			buf_str(&b, ", ");
		put_clean(&b, n->d.dNSName);
	}
	sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
	if (!b.len)
		buf_str(&b, "no host name (subjectAltName)");
	return buf_steal(&b);
}

static int haproxy_would_take(X509 *leaf, STACK_OF(X509) *chain, EVP_PKEY *key, const char *name, Err *err)
{
	__attribute__((cleanup(ctx_freep))) SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	if (!ctx)
		return err_set(err, -ENOMEM, "TLS library: %s", reason());
	SSL_CTX_set_security_level(ctx, SECURITY_LEVEL);
	ERR_clear_error();
	if (SSL_CTX_use_certificate(ctx, leaf) != 1 || SSL_CTX_use_PrivateKey(ctx, key) != 1 || SSL_CTX_check_private_key(ctx) != 1)
		return err_set(err, -EINVAL, "%s: cannot serve with it: %s", name, reason());
	for (int i = 0; i < sk_X509_num(chain); i++)
		if (SSL_CTX_add1_chain_cert(ctx, sk_X509_value(chain, i)) != 1)
			return err_set(err, -EINVAL, "%s: cannot serve with an intermediate certificate in it: %s", name, reason());
	return 0;
}

static void fill_info(X509 *leaf, const char *pem, size_t n, int64_t now, CertInfo *ret)
{
	unsigned char md[EVP_MAX_MD_SIZE] = { 0 };
	(void) EVP_Digest(pem, n, md, NULL, EVP_sha256(), NULL);
	hex_encode(md, 32, ret->digest);
	ret->not_before = asn1_seconds(X509_get0_notBefore(leaf));
	ret->not_after = asn1_seconds(X509_get0_notAfter(leaf));
	ret->issuer = name_text(X509_get_issuer_name(leaf));
	if (now > ret->not_after)
		ret->warning = xstrdup("it has expired: clients refuse it");
	else if (now < ret->not_before)
		ret->warning = xstrdup("it is not valid yet: is the clock of this machine right?");
}

int cert_bundle_write(X509 *leaf, STACK_OF(X509) *chain, EVP_PKEY *key, int64_t now, Buf *bundle, CertInfo *ret, Err *err)
{
	__attribute__((cleanup(bio_freep))) BIO *bio = BIO_new(BIO_s_mem());
	char *text = NULL;
	bool good = PEM_write_bio_X509(bio, leaf) == 1;
	for (int i = 0; good && i < sk_X509_num(chain); i++)
		good = PEM_write_bio_X509(bio, sk_X509_value(chain, i)) == 1;
	long certs = BIO_get_mem_data(bio, &text);
	good = good && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1;
	long n = BIO_get_mem_data(bio, &text);
	if (!good || certs <= 0 || n <= 0)
		return err_set(err, -EINVAL, "writing the certificate: %s", reason());
	if (n > LIMIT_CERT_BUNDLE)
		return err_set(err, -E2BIG, "certificates and key have %ld bytes together, HAProxy takes at most %d: leave out what is not the host's own "
			"certificate or an intermediate", n, LIMIT_CERT_BUNDLE);
	fill_info(leaf, text, (size_t) certs, now, ret);
	buf_append(bundle, text, (size_t) n);
	return 0;
}

int cert_pem_check(const CertPem *p, const char *host, int64_t now, Buf *bundle, CertInfo *ret, Err *err)
{
	__attribute__((cleanup(stack_freep))) STACK_OF(X509) *list = NULL;
	AUTO_KEY *key = NULL;
	int r = read_certificates(p, &list, err);
	if (r < 0 || (r = read_key(p->key, p->key_len, p->key_name, &key, err)) < 0)
		return r;
	AUTO_X509 *leaf = take_leaf(list, key);
	if (!leaf)
		return err_set(err, -EINVAL, "%s: the private key does not belong to a certificate in %s", p->key_name, p->cert_name);
	/* Fills the extension flags, which nothing has asked for yet. */
	for (int i = 0; i < sk_X509_num(list); i++)
		(void) X509_check_purpose(sk_X509_value(list, i), -1, 0);
	drop_roots(list);
	if (host && !covers(leaf, host)) {
		AUTO_FREE char *names = names_text(leaf);
		return err_set(err, -EINVAL, "%s: the certificate is not for %s but for %s", p->cert_name, host, names);
	}
	r = haproxy_would_take(leaf, list, key, p->cert_name, err);
	if (r < 0)
		return r;
	r = cert_bundle_write(leaf, list, key, now, bundle, ret, err);
	return r < 0 ? err_wrap(err, "%s", p->cert_name) : 0;
}

/* A device or a fifo would keep the worker waiting. */
static int read_file(const char *path, Buf *ret, bool *open_to_all, Err *err)
{
	struct stat st;
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, -errno, "%s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL, "%s: %s, not a PEM file", path, S_ISDIR(st.st_mode) ? "a directory" :
			"a special file");
	if (st.st_size > LIMIT_CERT_FILE)
		return err_set(err, -EFBIG, "%s: %lld bytes, which no certificate or key has (limit: %d)", path, (long long) st.st_size, LIMIT_CERT_FILE);
	char *p = buf_reserve(ret, LIMIT_CERT_FILE);
	ssize_t n = read(fd, p, LIMIT_CERT_FILE);
	if (n < 0)
		return err_errno(err, -errno, "%s", path);
	buf_added(ret, (size_t) n);
	*open_to_all = st.st_mode & 0004;
	return 0;
}

int cert_pem_files(const char *cert, const char *key, const char *host, int64_t now, Buf *bundle, CertInfo *ret, Err *err)
{
	AUTO_BUF c = BUF_INIT, k = BUF_INIT;
	bool cert_open, key_open;
	int r = read_file(cert, &c, &cert_open, err);
	if (r < 0 || (r = read_file(key, &k, &key_open, err)) < 0)
		return r;
	const CertPem p = {
		.cert = buf_cstr(&c), .cert_len = c.len, .cert_name = cert, .key = buf_cstr(&k), .key_len = k.len, .key_name = key,
	};
	r = cert_pem_check(&p, host, now, bundle, ret, err);
	if (r == 0 && key_open && !ret->warning)
		ret->warning = xasprintf("%s can be read by every user of this machine: chmod 600", key);
	return r;
}

int cert_bundle_read(const char *pem, size_t n, X509 **ret_leaf, EVP_PKEY **ret_key, Err *err)
{
	const CertPem p = { .cert = pem, .cert_len = n, .cert_name = "bundle", .key = pem, .key_len = n, .key_name = "bundle" };
	__attribute__((cleanup(stack_freep))) STACK_OF(X509) *list = NULL;
	AUTO_KEY *key = NULL;
	int r = read_certificates(&p, &list, err);
	if (r < 0 || (r = read_key(pem, n, p.key_name, &key, err)) < 0)
		return r;
	X509 *leaf = take_leaf(list, key);
	if (!leaf)
		return err_set(err, -EINVAL, "key and certificate do not belong together");
	*ret_leaf = leaf;
	*ret_key = steal_ptr(&key);
	return 0;
}

/* Thumbprints. */

static void put_base64url(Buf *b, const unsigned char *p, size_t n)
{
	AUTO_FREE unsigned char *text = xmalloc((n + 2) / 3 * 4 + 1);
	int len = EVP_EncodeBlock(text, p, (int) n);
	for (int i = 0; i < len && text[i] != '='; i++)
		buf_char(b, text[i] == '+' ? '-' : text[i] == '/' ? '_' : (char) text[i]);
}

/* A number of the key, big-endian; `size` 0: without leading zeros. */
static bool put_number(Buf *b, const EVP_PKEY *key, const char *name, size_t size)
{
	BIGNUM *n = NULL;
	unsigned char bytes[2048];
	bool good = EVP_PKEY_get_bn_param(key, name, &n) == 1;
	size_t len = good ? size ? size : (size_t) BN_num_bytes(n) : 0;
	good = good && len <= sizeof(bytes) && BN_bn2binpad(n, bytes, (int) len) == (int) len;
	if (good)
		put_base64url(b, bytes, len);
	BN_free(n);
	return good;
}

int cert_key_thumbprint(const char *pem, size_t n, Buf *ret, Err *err)
{
	AUTO_KEY *key = NULL;
	AUTO_BUF jwk = BUF_INIT;
	unsigned char md[EVP_MAX_MD_SIZE];
	int r = read_key(pem, n, "ACME account", &key, err);
	if (r < 0)
		return r;
	bool good;
	if (EVP_PKEY_is_a(key, "EC")) {
		size_t size = (size_t) (EVP_PKEY_get_bits(key) + 7) / 8;
		const char *curve = size == 32 ? "P-256" : size == 48 ? "P-384" : "P-521";
		buf_printf(&jwk, "{\"crv\":\"%s\",\"kty\":\"EC\",\"x\":\"", curve);
		good = put_number(&jwk, key, OSSL_PKEY_PARAM_EC_PUB_X, size);
		buf_str(&jwk, "\",\"y\":\"");
		good = good && put_number(&jwk, key, OSSL_PKEY_PARAM_EC_PUB_Y, size);
		buf_str(&jwk, "\"}");
	} else {
		buf_str(&jwk, "{\"e\":\"");
		good = put_number(&jwk, key, OSSL_PKEY_PARAM_RSA_E, 0);
		buf_str(&jwk, "\",\"kty\":\"RSA\",\"n\":\"");
		good = good && put_number(&jwk, key, OSSL_PKEY_PARAM_RSA_N, 0);
		buf_str(&jwk, "\"}");
	}
	if (!good || EVP_Digest(jwk.data, jwk.len, md, NULL, EVP_sha256(), NULL) != 1)
		return err_set(err, -EINVAL, "the ACME account's key is of a kind that ACME does not know");
	put_base64url(ret, md, 32);
	return 0;
}
