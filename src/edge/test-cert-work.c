// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "base/limits.h"
#include "edge/cert-name.h"
#include "edge/cert-testing.h"
#include "edge/cert-work.h"

static json_t *reports;

static void report(json_t *line)
{
	(void) json_array_append(reports, json_object_get(line, "certificate"));
	json_decref(line);
}

/* Runs a batch; its reports are in `reports`. Takes ownership. */
static void work(int64_t now, json_t *items)
{
	AUTO_FREE char *dir = at("certs");
	AUTO_FREE char *ca = at("ca");
	AUTO_ERR err = ERR_INIT;
	size_t n = json_array_size(items);
	json_t *o = json_pack("{s:s, s:s, s:s, s:I, s:o}", "dir", dir, "ca", ca, "box", "box", "now", (json_int_t) now, "items", items);
	json_decref(reports);
	reports = json_array();
	if (cert_work(o, report, &err) < 0)
		fail_msg("%s", err_text(&err));
	json_decref(o);
	assert_int_equal(json_array_size(reports), n);
}

static const char *field(size_t i, const char *key)
{
	return json_string_value(json_object_get(json_array_get(reports, i), key));
}

static int64_t number(size_t i, const char *key)
{
	return json_integer_value(json_object_get(json_array_get(reports, i), key));
}

static json_t *local(const char *name, bool self)
{
	AUTO_FREE char *out = cert_file_name(name);
	return json_pack("{s:s, s:[s], s:b, s:s}", "do", "local", "names", name, "self", self, "out", out);
}

static void makes_once_and_renews(void **state)
{
	AUTO_FREE char *path = at("certs/app.test.pem");
	AUTO_FREE char *ca = at("ca/" CERT_CA_PUBLIC);
	AUTO_FREE char *private = at("ca/" CERT_CA_PRIVATE);
	struct stat st, again;
	work(NOW, json_pack("[o, o]", local("app.test", false), local("nas", true)));
	assert_null(field(0, "error"));
	assert_string_equal(field(0, "issuer"), "stead local CA stead on box");
	assert_string_equal(field(1, "issuer"), "stead nas");
	assert_true(number(0, "not_after") > NOW + DAYS(80) && number(0, "not_after") < NOW + DAYS(100));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(stat(private, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(stat(ca, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0644);
	AUTO_FREE char *digest = xstrdup(field(0, "digest"));
	/* Not due: not even written again. */
	assert_int_equal(stat(path, &st), 0);
	work(NOW + DAYS(50), json_pack("[o]", local("app.test", false)));
	assert_string_equal(field(0, "digest"), digest);
	assert_int_equal(stat(path, &again), 0);
	assert_true(st.st_ino == again.st_ino);
	work(NOW + DAYS(70), json_pack("[o]", local("app.test", false)));
	assert_string_not_equal(field(0, "digest"), digest);
	/* The clock was wrong when it was made. */
	free(digest);
	digest = xstrdup(field(0, "digest"));
	work(NOW - DAYS(1000), json_pack("[o]", local("app.test", false)));
	assert_string_not_equal(field(0, "digest"), digest);
}

/* What is on disk is not what is asked for: other names, another issuer, garbage. */
static void makes_anew_what_does_not_fit(void **state)
{
	work(NOW, json_pack("[{s:s, s:[s], s:s}]", "do", "local", "names", "a.test", "out", "x.pem"));
	AUTO_FREE char *digest = xstrdup(field(0, "digest"));
	work(NOW, json_pack("[{s:s, s:[s,s], s:s}]", "do", "local", "names", "a.test", "b.test", "out", "x.pem"));
	assert_string_not_equal(field(0, "digest"), digest);
	free(digest);
	digest = xstrdup(field(0, "digest"));
	work(NOW, json_pack("[{s:s, s:[s], s:s}]", "do", "local", "names", "a.test", "out", "x.pem"));
	assert_string_not_equal(field(0, "digest"), digest);
	free(digest);
	digest = xstrdup(field(0, "digest"));
	work(NOW, json_pack("[{s:s, s:[s], s:b, s:s}]", "do", "local", "names", "a.test", "self", 1, "out", "x.pem"));
	assert_string_not_equal(field(0, "digest"), digest);
	AUTO_FREE char *path = put("certs/x.pem", "garbage", 7);
	work(NOW, json_pack("[{s:s, s:[s], s:s}]", "do", "local", "names", "a.test", "out", "x.pem"));
	assert_null(field(0, "error"));
}

static void one_bad_item_is_not_the_batch(void **state)
{
	AUTO_BUF b = BUF_INIT, bundle = BUF_INIT;
	AUTO_CERT_INFO info = { 0 };
	make_for("a.example.com", NOW, &b);
	AUTO_FREE char *good = put("good.pem", b.data, b.len);
	AUTO_FREE char *path = at("certs/a.example.com.pem");
	work(NOW, json_pack("[{s:s, s:s, s:s}, {s:s, s:s, s:s, s:s, s:s}, {s:s, s:s, s:s, s:s}, {s:s}, {s:s, s:[s], s:s}]", "do", "files", "cert",
		"/nowhere", "key", good, "do", "files", "cert", good, "key", good, "host", "a.example.com", "out", "a.example.com.pem", "do", "files", "cert",
		good, "key", good, "host", "b.example.com", "do", "fly", "do", "local", "names", "evil,DNS:x", "out", "y.pem"));
	assert_non_null(strstr(field(0, "error"), "/nowhere"));
	assert_int_equal(number(0, "code"), -ENOENT);
	assert_null(field(1, "error"));
	assert_int_equal(cert_pem_files(path, path, "a.example.com", NOW, &bundle, &info, NULL), 0);
	assert_string_equal(field(1, "digest"), info.digest);
	assert_non_null(strstr(field(2, "error"), "not for b.example.com"));
	assert_non_null(field(3, "error"));
	assert_non_null(strstr(field(4, "error"), "no host name"));
	/* Names with a slash are refused, in whatever they come. */
	work(NOW, json_pack("[{s:s, s:[s], s:s}]", "do", "local", "names", "a.test", "out", "../a.pem"));
	assert_non_null(field(0, "error"));
}

static void a_damaged_authority_is_not_replaced_in_silence(void **state)
{
	AUTO_FREE char *path = at("ca/" CERT_CA_PRIVATE);
	AUTO_BUF old = BUF_INIT;
	work(NOW, json_pack("[o]", local("b.test", false)));
	assert_int_equal(file_read(AT_FDCWD, path, LIMIT_CERT_FILE, &old), 0);
	assert_int_equal(truncate(path, 100), 0);
	work(NOW, json_pack("[o]", local("b.test", false)));
	assert_non_null(strstr(field(0, "error"), "damaged"));
	/* Its public half is written again where it is missing. */
	free(put("ca/" CERT_CA_PRIVATE, old.data, old.len));
	AUTO_FREE char *public = at("ca/" CERT_CA_PUBLIC);
	assert_int_equal(unlink(public), 0);
	work(NOW, json_pack("[o]", local("b.test", false)));
	assert_null(field(0, "error"));
	assert_int_equal(access(public, F_OK), 0);
	/* It ends before the certificates that it would sign: a new one. */
	work(NOW + DAYS(3600), json_pack("[o]", local("b.test", false)));
	assert_null(field(0, "error"));
	AUTO_BUF now = BUF_INIT;
	assert_int_equal(file_read(AT_FDCWD, path, LIMIT_CERT_FILE, &now), 0);
	assert_string_not_equal(now.data, old.data);
}

/* As a client that trusts the authority would judge. */
static bool client_trusts(const CertCa *ca, const char *name)
{
	char *names[] = { (char *) name, NULL };
	AUTO_CERT_INFO info = { 0 };
	AUTO_BUF b = BUF_INIT;
	AUTO_X509 *leaf = NULL;
	AUTO_KEY *key = NULL;
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	assert_int_equal(cert_leaf_make(ca, names, NOW, &b, &info, NULL), 0);
	assert_int_equal(cert_bundle_read(b.data, b.len, &leaf, &key, NULL), 0);
	(void) X509_STORE_add_cert(store, ca->cert);
	(void) X509_STORE_CTX_init(ctx, store, leaf, NULL);
	X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
	X509_VERIFY_PARAM_set_time(param, NOW);
	(void) X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_SERVER);
	if (cert_host_is_address(name))
		(void) X509_VERIFY_PARAM_set1_ip_asc(param, name);
	else
		(void) X509_VERIFY_PARAM_set1_host(param, name[0] == '*' ? "one.app.test" : name, 0);
	bool good = X509_verify_cert(ctx) == 1;
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	return good;
}

static void the_authority_is_bound_to_local_names(void **state)
{
	AUTO_FREE char *dir = at("other-ca");
	AUTO_CERT_CA ca = { 0 };
	assert_int_equal(cert_ca_open(dir, "box", NOW, &ca, NULL), 0);
	assert_true(client_trusts(&ca, "moco.localhost"));
	assert_true(client_trusts(&ca, "localhost"));
	assert_true(client_trusts(&ca, "pi.home.arpa"));
	assert_true(client_trusts(&ca, "*.app.test"));
	assert_true(client_trusts(&ca, "192.168.1.10"));
	assert_false(client_trusts(&ca, "bank.example.com"));
	assert_false(client_trusts(&ca, "8.8.8.8"));
}

static void an_account_key_is_made_once(void **state)
{
	AUTO_FREE char *path = at("acme/private/key.pem");
	struct stat st;
	work(NOW, json_pack("[{s:s, s:s}]", "do", "account", "key", path));
	AUTO_FREE char *thumbprint = xstrdup(field(0, "thumbprint"));
	assert_int_equal(strlen(thumbprint), 43);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	work(NOW, json_pack("[{s:s, s:s}]", "do", "account", "key", path));
	assert_string_equal(field(0, "thumbprint"), thumbprint);
}

static void the_hook_takes_http_alone(void **state)
{
	assert_int_equal(acme_hook("begin", "http-01"), 0);
	assert_int_equal(acme_hook("begin", "dns-01"), 1);
	assert_int_equal(acme_hook("begin", "tls-alpn-01"), 1);
	assert_int_equal(acme_hook("failed", "http-01"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(makes_once_and_renews),
		cmocka_unit_test(makes_anew_what_does_not_fit),
		cmocka_unit_test(one_bad_item_is_not_the_batch),
		cmocka_unit_test(a_damaged_authority_is_not_replaced_in_silence),
		cmocka_unit_test(the_authority_is_bound_to_local_names),
		cmocka_unit_test(an_account_key_is_made_once),
		cmocka_unit_test(the_hook_takes_http_alone),
	};
	int r = cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
	json_decref(reports);
	return r;
}
