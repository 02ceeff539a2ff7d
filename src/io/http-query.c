// SPDX-License-Identifier: Apache-2.0
#include "io/http-query.h"

#include <errno.h>
#include <strings.h>

#include "base/mem.h"
#include "base/str.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/** Decodes into a fresh string; bytes below `least`, and DEL when that is not 1, are refused. */
static int decode(const char *p, size_t n, bool plus, unsigned char least, char **ret)
{
	AUTO_FREE char *out = xmalloc(n + 1);
	size_t len = 0;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char) p[i];
		if (c == '%') {
			int high = i + 2 < n ? hex_digit(p[i + 1]) : -1;
			int low = i + 2 < n ? hex_digit(p[i + 2]) : -1;
			if (high < 0 || low < 0)
				return -EINVAL;
			c = (unsigned char) (high << 4 | low);
			i += 2;
		} else if (c == '+' && plus) {
			c = ' ';
		}
		if (c < least || (c == 0x7f && least > 1))
			return -EINVAL;
		out[len++] = (char) c;
	}
	out[len] = '\0';
	*ret = steal_ptr(&out);
	return 0;
}

int path_decode(const char *p, size_t n, char **ret)
{
	if (n == 0 || p[0] != '/')
		return -EINVAL;
	return decode(p, n, false, 0x20, ret);
}

static int query_add(Query *q, const char *p, size_t n)
{
	AUTO_FREE char *key = NULL;
	AUTO_FREE char *value = NULL;
	if (n == 0)
		return 0;
	if (q->n_params == QUERY_PARAMS_MAX)
		return -E2BIG;
	const char *eq = memchr(p, '=', n);
	size_t key_len = eq ? (size_t) (eq - p) : n;
	int r = decode(p, key_len, true, 1, &key);
	if (r == 0)
		r = eq ? decode(eq + 1, n - key_len - 1, true, 1, &value) : 0;
	if (r < 0)
		return r;
	QueryParam *param = array_append(q->params, q->n_params);
	param->key = steal_ptr(&key);
	param->value = value ? steal_ptr(&value) : xstrdup("");
	return 0;
}

int query_parse(const char *p, size_t n, Query *ret)
{
	Query q = { 0 };
	for (;;) {
		const char *amp = n ? memchr(p, '&', n) : NULL;
		size_t len = amp ? (size_t) (amp - p) : n;
		int r = query_add(&q, p, len);
		if (r < 0) {
			query_done(&q);
			return r;
		}
		if (!amp)
			break;
		p = amp + 1;
		n -= len + 1;
	}
	*ret = q;
	return 0;
}

void query_done(Query *q)
{
	for (size_t i = 0; i < q->n_params; i++) {
		free(q->params[i].key);
		free(q->params[i].value);
	}
	free(q->params);
	*q = (Query) { 0 };
}

const char *query_get(const Query *q, const char *key)
{
	for (size_t i = 0; i < q->n_params; i++)
		if (str_eq(q->params[i].key, key))
			return q->params[i].value;
	return NULL;
}

bool query_bool(const char *value, bool otherwise)
{
	static const char *const no[] = { "", "0", "no", "false", "none" };
	if (!value)
		return otherwise;
	value += strspn(value, " ");
	size_t n = strlen(value);
	while (n && value[n - 1] == ' ')
		n--;
	for (size_t i = 0; i < ARRAY_SIZE(no); i++)
		if (strlen(no[i]) == n && strncasecmp(value, no[i], n) == 0)
			return false;
	return true;
}
