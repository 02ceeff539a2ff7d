// SPDX-License-Identifier: Apache-2.0
#include "base/digest.h"

#include <errno.h>
#include <sys/types.h>
#include <unistd.h>
#include <sha2.h>

#include "base/str.h"

void digest_sha256(const void *p, size_t n, char hex[DIGEST_HEX_MAX])
{
	SHA2_CTX ctx;
	uint8_t raw[SHA256_DIGEST_LENGTH];
	SHA256Init(&ctx);
	SHA256Update(&ctx, p, n);
	SHA256Final(raw, &ctx);
	hex_encode(raw, sizeof(raw), hex);
}

int digest_sha256_fd(int fd, char hex[DIGEST_HEX_MAX])
{
	SHA2_CTX ctx;
	uint8_t raw[SHA256_DIGEST_LENGTH], buf[65536];
	SHA256Init(&ctx);
	for (;;) {
		ssize_t n = read(fd, buf, sizeof(buf));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		SHA256Update(&ctx, buf, (size_t) n);
	}
	SHA256Final(raw, &ctx);
	hex_encode(raw, sizeof(raw), hex);
	return 0;
}

int digest_valid(const char *s)
{
	if (!s || !str_starts(s, DIGEST_PREFIX))
		return 0;
	s += sizeof(DIGEST_PREFIX) - 1;
	return strlen(s) == 64 && strspn(s, "0123456789abcdef") == 64;
}
