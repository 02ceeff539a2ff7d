// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "edge/cert-name.h"

static void who_can_issue(void **state)
{
	static const struct {
		const char *host;
		CertIssuer issuer;
	} cases[] = {
		{ "example.com", CERT_PUBLIC }, { "app.example.com", CERT_PUBLIC }, { "*.example.com", CERT_BY_HAND }, { "localhost", CERT_LOCAL },
		{ "app.localhost", CERT_LOCAL }, { "*.app.localhost", CERT_LOCAL }, { "nas.local", CERT_LOCAL }, { "x.test", CERT_LOCAL },
		{ "a.b.internal", CERT_LOCAL }, { "pi.home.arpa", CERT_LOCAL }, { "arpa", CERT_SELF }, { "nas", CERT_SELF }, { "mylocal", CERT_SELF },
		{ "my-local.com", CERT_PUBLIC }, { "notlocal", CERT_SELF }, { "contest", CERT_SELF }, { "a.contest", CERT_PUBLIC },
		{ "192.168.1.5", CERT_LOCAL }, { "127.0.0.1", CERT_LOCAL }, { "8.8.8.8", CERT_SELF }, { "172.32.0.1", CERT_SELF },
		{ "100.64.0.1", CERT_LOCAL }, { "1.2.3.4.5", CERT_PUBLIC },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (cert_issuer_for(cases[i].host) != cases[i].issuer)
			fail_msg("%s: %d", cases[i].host, cert_issuer_for(cases[i].host));
}

static void file_names(void **state)
{
	AUTO_FREE char *a = cert_file_name("app.example.com");
	AUTO_FREE char *b = cert_file_name("*.example.com");
	assert_string_equal(a, "app.example.com.pem");
	assert_string_equal(b, "_.example.com.pem");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(who_can_issue), cmocka_unit_test(file_names) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
