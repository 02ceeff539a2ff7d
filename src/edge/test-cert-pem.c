// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "edge/cert-testing.h"

/* The error of checking these two texts for `host`, or NULL. */
static char *refusal(const char *cert, size_t cert_len, const char *key, size_t key_len, const char *host)
{
	const CertPem p = { .cert = cert, .cert_len = cert_len, .cert_name = "the.crt", .key = key, .key_len = key_len, .key_name = "the.key" };
	AUTO_CERT_INFO info = { 0 };
	AUTO_BUF bundle = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	return cert_pem_check(&p, host, NOW, &bundle, &info, &err) < 0 ? xstrdup(err_text(&err)) : NULL;
}

#define assert_refused(text, ...)                                                                            \
	do {                                                                                                 \
		AUTO_FREE char *got_ = refusal(__VA_ARGS__);                                                 \
		assert_non_null(got_);                                                                       \
		if (!strstr(got_, text))                                                                     \
			fail_msg("no '%s' in: %s", text, got_);                                              \
	} while (0)

static void takes_what_belongs_together(void **state)
{
	AUTO_BUF b = BUF_INIT, bundle = BUF_INIT, again = BUF_INIT;
	AUTO_CERT_INFO info = { 0 };
	AUTO_CERT_INFO info2 = { 0 };
	AUTO_ERR err = ERR_INIT;
	make_for("app.example.com", NOW, &b);
	const CertPem p = { .cert = b.data, .cert_len = b.len, .cert_name = "c", .key = b.data, .key_len = b.len, .key_name = "k" };
	assert_int_equal(cert_pem_check(&p, "app.example.com", NOW, &bundle, &info, &err), 0);
	assert_null(info.warning);
	assert_string_equal(info.issuer, "stead app.example.com");
	assert_true(info.not_before < NOW && info.not_after > NOW + DAYS(700));
	/* In one form, whatever the files looked like, and without the empty line that would end it on HAProxy's socket. */
	AUTO_BUF messy = BUF_INIT;
	buf_printf(&messy, "text before\r\n\n\n%s\n\ntext behind\n", b.data);
	const CertPem m = { .cert = messy.data, .cert_len = messy.len, .cert_name = "c", .key = messy.data, .key_len = messy.len, .key_name = "k" };
	assert_int_equal(cert_pem_check(&m, NULL, NOW, &again, &info2, &err), 0);
	assert_string_equal(again.data, bundle.data);
	assert_string_equal(info.digest, info2.digest);
	assert_null(strstr(again.data, "\n\n"));
}

static void refuses_what_does_not_serve(void **state)
{
	AUTO_BUF b = BUF_INIT, other = BUF_INIT, old = BUF_INIT;
	make_for("app.example.com", NOW, &b);
	make_for("other.example.com", NOW, &other);
	assert_refused("the.key: the private key does not belong to a certificate in the.crt", b.data, b.len, other.data, other.len, NULL);
	assert_refused("the.crt: the certificate is not for www.example.com but for app.example.com", b.data, b.len, b.data, b.len,
		"www.example.com");
	assert_refused("not for *.example.com", b.data, b.len, b.data, b.len, "*.example.com");
	assert_refused("the.crt: no certificate: it has no such PEM block", "garbage", 7, b.data, b.len, NULL);
	assert_refused("the.crt: no certificate: the file is empty", "", 0, b.data, b.len, NULL);
	assert_refused("the.key: no private key", b.data, b.len, "garbage", 7, NULL);
	assert_refused("binary (DER or PKCS#12)", "\x30\x82\x01", 3, b.data, b.len, NULL);
	AUTO_BUF cut = BUF_INIT;
	buf_append(&cut, b.data, 200);
	assert_refused("the.crt: a certificate in it cannot be read", cut.data, cut.len, b.data, b.len, NULL);
}

static void a_wildcard_covers_one_label(void **state)
{
	AUTO_BUF b = BUF_INIT;
	make_for("*.example.com", NOW, &b);
	assert_null(refusal(b.data, b.len, b.data, b.len, "*.example.com"));
	assert_null(refusal(b.data, b.len, b.data, b.len, "a.example.com"));
	assert_refused("not for", b.data, b.len, b.data, b.len, "example.com");
	assert_refused("not for", b.data, b.len, b.data, b.len, "a.b.example.com");
	assert_refused("not for", b.data, b.len, b.data, b.len, "*.b.example.com");
}

static void an_end_in_the_past_is_a_warning(void **state)
{
	AUTO_BUF old = BUF_INIT, next = BUF_INIT, bundle = BUF_INIT;
	AUTO_CERT_INFO info = { 0 };
	AUTO_CERT_INFO info2 = { 0 };
	make_for("a.example.com", NOW - DAYS(900), &old);
	make_for("a.example.com", NOW + DAYS(2), &next);
	const CertPem p = { .cert = old.data, .cert_len = old.len, .cert_name = "c", .key = old.data, .key_len = old.len, .key_name = "k" };
	const CertPem q = { .cert = next.data, .cert_len = next.len, .cert_name = "c", .key = next.data, .key_len = next.len, .key_name = "k" };
	assert_int_equal(cert_pem_check(&p, "a.example.com", NOW, &bundle, &info, NULL), 0);
	assert_non_null(strstr(info.warning, "expired"));
	assert_int_equal(cert_pem_check(&q, "a.example.com", NOW, &bundle, &info2, NULL), 0);
	assert_non_null(strstr(info2.warning, "not valid yet"));
}

/* A certificate as users have them, signed by `ca` (NULL: itself), for the key `pem`. */
static void issue(const char *pem, const char *cn, const CertCa *ca, Buf *ret)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	AUTO_KEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	AUTO_X509 *x = X509_new();
	char *text;
	BIO_free(bio);
	assert_non_null(key);
	(void) X509_set_version(x, 2);
	(void) ASN1_INTEGER_set(X509_get_serialNumber(x), 7);
	(void) ASN1_TIME_set(X509_getm_notBefore(x), NOW - 10);
	(void) ASN1_TIME_set(X509_getm_notAfter(x), NOW + DAYS(10));
	(void) X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8, (const unsigned char *) cn, -1, -1, 0);
	(void) X509_set_issuer_name(x, X509_get_subject_name(ca ? ca->cert : x));
	(void) X509_set_pubkey(x, key);
	assert_true(X509_sign(x, ca ? ca->key : key, EVP_sha256()) > 0);
	bio = BIO_new(BIO_s_mem());
	(void) PEM_write_bio_X509(bio, x);
	long n = BIO_get_mem_data(bio, &text);
	buf_append(ret, text, (size_t) n);
	BIO_free(bio);
}

static size_t count(const char *text, const char *what)
{
	size_t n = 0;
	for (const char *p = text; (p = strstr(p, what)); p++)
		n++;
	return n;
}

static void the_leaf_comes_first_and_no_root(void **state)
{
	AUTO_FREE char *dir = at("order");
	AUTO_CERT_CA ca = { 0 };
	AUTO_BUF leaf = BUF_INIT, file = BUF_INIT, middle = BUF_INIT, bundle = BUF_INIT;
	AUTO_CERT_INFO info = { 0 };
	AUTO_KEY *other = EVP_EC_gen("P-256");
	assert_int_equal(cert_ca_open(dir, "box", NOW, &ca, NULL), 0);
	/* root, intermediate, leaf: the wrong way round */
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	(void) PEM_write_bio_X509(bio, ca.cert);
	long n = BIO_get_mem_data(bio, &text);
	buf_append(&file, text, (size_t) n);
	(void) BIO_reset(bio);
	(void) PEM_write_bio_PKCS8PrivateKey(bio, other, NULL, NULL, 0, NULL, NULL);
	n = BIO_get_mem_data(bio, &text);
	buf_append(&middle, text, (size_t) n);
	BIO_free(bio);
	issue(middle.data, "intermediate", &ca, &file);
	issue(ec_key, "the leaf\x01", &ca, &leaf);
	buf_append(&file, leaf.data, leaf.len);
	const CertPem p = { .cert = file.data, .cert_len = file.len, .cert_name = "c", .key = ec_key, .key_len = strlen(ec_key), .key_name = "k" };
	assert_int_equal(cert_pem_check(&p, NULL, NOW, &bundle, &info, NULL), 0);
	assert_int_equal(strncmp(bundle.data, leaf.data, leaf.len), 0);
	assert_int_equal(count(bundle.data, "BEGIN CERTIFICATE"), 2);
	assert_string_equal(info.issuer, "stead local CA stead on box");
	assert_refused("no host name (subjectAltName)", file.data, file.len, ec_key, strlen(ec_key), "the.leaf");
}

static void refuses_what_haproxy_would_not_load(void **state)
{
	AUTO_BUF weak = BUF_INIT, many = BUF_INIT, b = BUF_INIT;
	AUTO_CERT_CA ca = { 0 };
	AUTO_FREE char *dir = at("weak");
	assert_int_equal(cert_ca_open(dir, "box", NOW, &ca, NULL), 0);
	issue(weak_rsa_key, "weak", NULL, &weak);
	assert_refused("key too small", weak.data, weak.len, weak_rsa_key, strlen(weak_rsa_key), NULL);
	/* A weak one further up keeps it from loading too. */
	issue(ec_key, "strong", &ca, &b);
	weak.len = 0;
	issue(weak_rsa_key, "weak", &ca, &weak);
	buf_append(&b, weak.data, weak.len);
	assert_refused("intermediate", b.data, b.len, ec_key, strlen(ec_key), NULL);
	for (int i = 0; i < 20; i++)
		issue(ec_key, "again", &ca, &many);
	assert_refused("more than 16 certificates", many.data, many.len, ec_key, strlen(ec_key), NULL);
}

static void refuses_a_bundle_that_does_not_fit(void **state)
{
	AUTO_BUF file = BUF_INIT;
	AUTO_CERT_CA ca = { 0 };
	AUTO_FREE char *dir = at("long");
	char cn[4000];
	memset(cn, 'n', sizeof(cn) - 1);
	cn[sizeof(cn) - 1] = 0;
	(void) cert_ca_open(dir, "box", NOW, &ca, NULL);
	issue(ec_key, "leaf", &ca, &file);
	for (int i = 0; i < 15; i++)
		make_for("filling.example.com", NOW, &file);
	/* Self-signed ones are left out, so that it fits after all. */
	assert_null(refusal(file.data, file.len, ec_key, strlen(ec_key), NULL));
	AUTO_BUF big = BUF_INIT;
	AUTO_STRV char **names = NULL;
	AUTO_CERT_INFO info = { 0 };
	for (int i = 0; i < 200; i++)
		strv_take(&names, xasprintf("host%d.%.60s.test", i, cn));
	assert_int_equal(cert_leaf_make(&ca, names, NOW, &big, &info, NULL), -E2BIG);
}

static void refuses_files_that_are_none(void **state)
{
	AUTO_CERT_INFO info = { 0 };
	AUTO_BUF bundle = BUF_INIT, b = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	make_for("a.example.com", NOW, &b);
	AUTO_FREE char *good = put("good.pem", b.data, b.len);
	AUTO_FREE char *fifo = at("fifo");
	AUTO_FREE char *huge = put("huge", "x", 1);
	assert_int_equal(cert_pem_files(scratch, good, NULL, NOW, &bundle, &info, &err), -EISDIR);
	assert_non_null(strstr(err_text(&err), "a directory"));
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(cert_pem_files(good, fifo, NULL, NOW, &bundle, &info, &err), -EINVAL);
	assert_non_null(strstr(err_text(&err), fifo));
	assert_int_equal(cert_pem_files("/nowhere/x.pem", good, NULL, NOW, &bundle, &info, &err), -ENOENT);
	assert_non_null(strstr(err_text(&err), "/nowhere/x.pem"));
	assert_int_equal(truncate(huge, 1LL << 40), 0);
	assert_int_equal(cert_pem_files(huge, good, NULL, NOW, &bundle, &info, &err), -EFBIG);
	assert_int_equal(chmod(good, 0644), 0);
	assert_int_equal(cert_pem_files(good, good, "a.example.com", NOW, &bundle, &info, &err), 0);
	assert_non_null(strstr(info.warning, "chmod 600"));
}

static void never_asks_for_a_passphrase(void **state)
{
	AUTO_BUF b = BUF_INIT;
	BIO *in = BIO_new_mem_buf(ec_key, -1), *out = BIO_new(BIO_s_mem());
	AUTO_KEY *key = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
	char *text;
	assert_int_equal(PEM_write_bio_PKCS8PrivateKey(out, key, EVP_aes_128_cbc(), "pass", 4, NULL, NULL), 1);
	long n = BIO_get_mem_data(out, &text);
	make_for("a.example.com", NOW, &b);
	assert_refused("protected by a passphrase", b.data, b.len, text, (size_t) n, NULL);
	BIO_free(in);
	BIO_free(out);
}

static void thumbprints(void **state)
{
	AUTO_BUF ec = BUF_INIT, rsa = BUF_INIT;
	assert_int_equal(cert_key_thumbprint(ec_key, strlen(ec_key), &ec, NULL), 0);
	assert_string_equal(ec.data, "VXFMOMWs36bKOlCBg7KRKIfFh5KThTOETdD78g4J0es");
	assert_int_equal(cert_key_thumbprint(weak_rsa_key, strlen(weak_rsa_key), &rsa, NULL), 0);
	assert_string_equal(rsa.data, "9N6YET84ESy3-PLHX-2sUFCqc40S2SYm16G2rP_XIdk");
	assert_true(cert_key_thumbprint("no", 2, &ec, NULL) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_what_belongs_together),
		cmocka_unit_test(refuses_what_does_not_serve),
		cmocka_unit_test(a_wildcard_covers_one_label),
		cmocka_unit_test(an_end_in_the_past_is_a_warning),
		cmocka_unit_test(the_leaf_comes_first_and_no_root),
		cmocka_unit_test(refuses_what_haproxy_would_not_load),
		cmocka_unit_test(refuses_a_bundle_that_does_not_fit),
		cmocka_unit_test(refuses_files_that_are_none),
		cmocka_unit_test(never_asks_for_a_passphrase),
		cmocka_unit_test(thumbprints),
	};
	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
