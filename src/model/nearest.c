// SPDX-License-Identifier: Apache-2.0
#include "model/nearest.h"

#include "base/mem.h"

#define WORD_MAX 64

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;
	return m < c ? m : c;
}

unsigned edit_distance(const char *a, const char *b, unsigned max)
{
	size_t n = strlen(a), m = strlen(b);
	if (n > WORD_MAX || m > WORD_MAX || (n > m ? n - m : m - n) > max)
		return max + 1;
	unsigned rows[3][WORD_MAX + 1];
	unsigned *before = rows[0], *last = rows[1], *now = rows[2];
	for (size_t j = 0; j <= m; j++)
		last[j] = (unsigned) j;
	for (size_t i = 1; i <= n; i++) {
		now[0] = (unsigned) i;
		for (size_t j = 1; j <= m; j++) {
			now[j] = min3(last[j] + 1, now[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
				before[j - 2] + 1 < now[j])
				now[j] = before[j - 2] + 1;
		}
		unsigned *t = before;
		before = last;
		last = now;
		now = t;
	}
	return last[m] > max ? max + 1 : last[m];
}

unsigned edit_distance_allowed(const char *word)
{
	size_t n = strlen(word) / 3;
	return n < 1 ? 1 : n > 3 ? 3 : (unsigned) n;
}
