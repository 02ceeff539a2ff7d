// SPDX-License-Identifier: Apache-2.0
#include "build/sha256.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/str.h"

#define CHUNK 65536

void sha256_begin(Sha256 *s)
{
	s->md = EVP_MD_CTX_new();
	if (!s->md || EVP_DigestInit_ex(s->md, EVP_sha256(), NULL) != 1)
		abort();
}

void sha256_add(Sha256 *s, const void *p, size_t n)
{
	if (EVP_DigestUpdate(s->md, p, n) != 1)
		abort();
}

void sha256_end(Sha256 *s, char hex[DIGEST_HEX_MAX])
{
	uint8_t raw[EVP_MAX_MD_SIZE];
	if (!s->md)
		return;
	if (EVP_DigestFinal_ex(s->md, raw, NULL) != 1)
		abort();
	if (hex)
		hex_encode(raw, 32, hex);
	EVP_MD_CTX_free(s->md);
	s->md = NULL;
}

int sha256_fd(int fd, char hex[DIGEST_HEX_MAX], int64_t *ret_size)
{
	char chunk[CHUNK];
	Sha256 s;
	int64_t at = 0;
	ssize_t n;
	sha256_begin(&s);
	while ((n = pread(fd, chunk, sizeof(chunk), at)) > 0 || (n < 0 && errno == EINTR)) {
		if (n < 0)
			continue;
		sha256_add(&s, chunk, (size_t) n);
		at += n;
	}
	int r = n < 0 ? -errno : 0;
	sha256_end(&s, hex);
	*ret_size = at;
	return r;
}
