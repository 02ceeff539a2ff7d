// SPDX-License-Identifier: Apache-2.0
#include "edge/cert-name.h"

#include <arpa/inet.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"

const char *const cert_local_domains[] = {
	"localhost", "local", "test", "internal", "home.arpa", "lan", "home", "intranet", "private", "corp", "invalid", "example", NULL,
};

bool cert_host_is_address(const char *host)
{
	struct in_addr a;
	return inet_pton(AF_INET, host, &a) == 1;
}

bool cert_address_is_private(const char *host)
{
	static const struct {
		uint32_t net, mask;
	} nets[] = {
		{ 0x7f000000, 0xff000000 }, { 0x0a000000, 0xff000000 }, { 0xac100000, 0xfff00000 }, { 0xc0a80000, 0xffff0000 },
		{ 0x64400000, 0xffc00000 }, { 0xa9fe0000, 0xffff0000 },
	};
	struct in_addr a;
	if (inet_pton(AF_INET, host, &a) != 1)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(nets); i++)
		if ((ntohl(a.s_addr) & nets[i].mask) == nets[i].net)
			return true;
	return false;
}

static bool is_local(const char *host)
{
	for (const char *const *d = cert_local_domains; *d; d++) {
		size_t n = strlen(host), k = strlen(*d);
		if (str_ends(host, *d) && (n == k || host[n - k - 1] == '.'))
			return true;
	}
	return false;
}

CertIssuer cert_issuer_for(const char *host)
{
	if (cert_host_is_address(host))
		return cert_address_is_private(host) ? CERT_LOCAL : CERT_SELF;
	if (is_local(host))
		return CERT_LOCAL;
	if (!strchr(host, '.'))
		return CERT_SELF;
	return host[0] == '*' ? CERT_BY_HAND : CERT_PUBLIC;
}

char *cert_file_name(const char *host)
{
	return host[0] == '*' ? xasprintf("_%s.pem", host + 1) : xasprintf("%s.pem", host);
}
