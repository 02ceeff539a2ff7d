// SPDX-License-Identifier: Apache-2.0
/*
 * The functions that OpenSSL 3 would have one reach through EVP. That reads a configuration, makes providers and looks algorithms up in them: 0.8 ms and
 * 2 MB for each worker, of which most hash little. The code that computes is the same.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "image/sha256.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"

#define CHUNK 65536

void sha256_begin(Sha256 *s)
{
	(void) SHA256_Init(&s->state);
}

void sha256_add(Sha256 *s, const void *p, size_t n)
{
	(void) SHA256_Update(&s->state, p, n);
}

void sha256_end(Sha256 *s, char ret_hex[DIGEST_HEX_MAX])
{
	uint8_t raw[SHA256_DIGEST_LENGTH];
	(void) SHA256_Final(raw, &s->state);
	hex_encode(raw, sizeof(raw), ret_hex);
}

void sha256_digest(Sha256 *s, char ret[sizeof(DIGEST_PREFIX) + 64])
{
	memcpy(ret, DIGEST_PREFIX, sizeof(DIGEST_PREFIX) - 1);
	sha256_end(s, ret + sizeof(DIGEST_PREFIX) - 1);
}

int sha256_fd(int fd, char ret_hex[DIGEST_HEX_MAX], int64_t *ret_size)
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
	if (n < 0)
		return -errno;
	sha256_end(&s, ret_hex);
	*ret_size = at;
	return 0;
}
