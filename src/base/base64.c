// SPDX-License-Identifier: Apache-2.0
#include "base/base64.h"

#include <errno.h>
#include <stdint.h>

char *base64_encode(const void *p, size_t n)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *s = p;
	Buf b = BUF_INIT;
	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t) s[i] << 16 | (i + 1 < n ? (uint32_t) s[i + 1] << 8 : 0) | (i + 2 < n ? s[i + 2] : 0);
		buf_char(&b, digits[v >> 18]);
		buf_char(&b, digits[v >> 12 & 63]);
		buf_char(&b, i + 1 < n ? digits[v >> 6 & 63] : '=');
		buf_char(&b, i + 2 < n ? digits[v & 63] : '=');
	}
	return buf_steal(&b);
}

static int digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

int base64_decode(const char *s, Buf *ret)
{
	size_t n = strlen(s), begin = ret->len;
	uint32_t v = 0;
	if (n % 4 == 0 && n && s[n - 1] == '=')
		n -= s[n - 2] == '=' ? 2 : 1;
	for (size_t i = 0; i < n; i++) {
		int d = digit(s[i]);
		if (d < 0 || n % 4 == 1) {
			if (ret->len > begin)
				ret->data[ret->len = begin] = '\0';
			return -EINVAL;
		}
		v = v << 6 | (uint32_t) d;
		if (i % 4)
			buf_char(ret, (char) (v >> (6 - 2 * (i % 4))));
	}
	return 0;
}
