// SPDX-License-Identifier: Apache-2.0
/* One file with certificate and key: what passes makes a bundle that passes again, unchanged. */
#include <assert.h>

#include "base/limits.h"
#include "base/str.h"
#include "edge/cert-pem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p = (const char *) data;
	const CertPem pem = { .cert = p, .cert_len = size, .cert_name = "c", .key = p, .key_len = size, .key_name = "k" };
	AUTO_BUF bundle = BUF_INIT, again = BUF_INIT, thumbprint = BUF_INIT;
	AUTO_CERT_INFO info = { 0 };
	AUTO_CERT_INFO info2 = { 0 };
	AUTO_ERR err = ERR_INIT;
	(void) cert_key_thumbprint(p, size, &thumbprint, &err);
	if (cert_pem_check(&pem, NULL, 1800000000, &bundle, &info, &err) < 0) {
		assert(err.code < 0 && err.text);
		return 0;
	}
	assert(bundle.len <= LIMIT_CERT_BUNDLE && !strstr(bundle.data, "\n\n"));
	assert(!str_has_control(info.issuer) && str_is_utf8(info.issuer, strlen(info.issuer)));
	const CertPem own = { .cert = bundle.data, .cert_len = bundle.len, .cert_name = "c", .key = bundle.data, .key_len = bundle.len, .key_name = "k" };
	assert(cert_pem_check(&own, NULL, 1800000000, &again, &info2, &err) == 0);
	assert(again.len == bundle.len && memcmp(again.data, bundle.data, again.len) == 0);
	return 0;
}
