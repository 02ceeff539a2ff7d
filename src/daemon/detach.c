// SPDX-License-Identifier: Apache-2.0
#include "daemon/detach.h"

#include <errno.h>

#include "base/str.h"

#define DETACH_DEFAULT "ctrl-p,ctrl-q"

/** "a", "ctrl-p", "ctrl-[" → the byte; -EINVAL. */
static int parse_key(const char *s, size_t n)
{
	if (n == 1)
		return (unsigned char) s[0];
	if (n != 6 || strncmp(s, "ctrl-", 5) != 0)
		return -EINVAL;
	char c = s[5];
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 1;
	return c >= '@' && c <= '_' ? c - '@' : -EINVAL;
}

int detach_keys_parse(const char *s, DetachKeys *ret, Err *err)
{
	const char *p = str_empty(s) ? DETACH_DEFAULT : s;
	*ret = (DetachKeys) { 0 };
	for (;;) {
		size_t n = strcspn(p, ",");
		int key = parse_key(p, n);
		if (key < 0 || ret->n == DETACH_KEYS_MAX)
			return err_set(err, -EINVAL, "detach keys '%s': keys such as 'a' or 'ctrl-p', with commas between them, are expected", s);
		ret->keys[ret->n++] = (char) key;
		if (!p[n])
			return 0;
		p += n + 1;
	}
}

bool detach_keys_feed(DetachKeys *d, const char *p, size_t n, Buf *out)
{
	for (size_t i = 0; i < n; i++) {
		if (d->n && p[i] == d->keys[d->seen]) {
			if (++d->seen == d->n)
				return true;
			continue;
		}
		buf_append(out, d->keys, d->seen);
		/* What broke the sequence may begin it anew. */
		d->seen = d->n && p[i] == d->keys[0];
		if (!d->seen)
			buf_char(out, p[i]);
	}
	return false;
}
