// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "image/stream.h"

/* Gives `left` bytes in pieces of changing size, each byte its own number, then ends or fails. */
typedef struct Source {
	Stream s;
	size_t at, left;
	int end;
	bool *freed;
} Source;

static ssize_t source_read(Stream *s, void *p, size_t n, Err *err)
{
	Source *o = (Source *) s;
	size_t k = 1 + o->at * 7919 % 100000;
	if (!o->left)
		return o->end < 0 ? err_set(err, o->end, "the line is cut") : 0;
	if (k > n)
		k = n;
	if (k > o->left)
		k = o->left;
	for (size_t i = 0; i < k; i++)
		((char *) p)[i] = (char) ((o->at + i) * 31 >> 3);
	o->at += k;
	o->left -= k;
	return (ssize_t) k;
}

static void source_free(Stream *s)
{
	*((Source *) s)->freed = true;
	free(s);
}

static Stream *source(size_t n, int end, bool *freed)
{
	Source *o = xcalloc(1, sizeof(*o));
	*freed = false;
	*o = (Source) { { .read = source_read, .free = source_free }, 0, n, end, freed };
	return &o->s;
}

static void same_bytes(void **unused)
{
	static const size_t sizes[] = { 0, 1, 65536, 1000001 }, pieces[] = { 1, 512, 65536, 300000 };
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		for (size_t k = 0; k < ARRAY_SIZE(pieces); k++) {
			AUTO_BUF got = BUF_INIT;
			bool freed;
			Stream *s = stream_ahead(source(sizes[i], 0, &freed));
			ssize_t n;
			while ((n = stream_read(s, buf_reserve(&got, pieces[k]), pieces[k], NULL)) > 0)
				buf_added(&got, (size_t) n);
			assert_int_equal(n, 0);
			assert_int_equal(stream_read(s, buf_reserve(&got, 1), 1, NULL), 0);
			assert_int_equal(got.len, sizes[i]);
			for (size_t b = 0; b < got.len; b++)
				assert_true(got.data[b] == (char) (b * 31 >> 3));
			assert_false(freed);
			stream_free(s);
			assert_true(freed);
		}
}

/* It comes behind all that was read before, with its reason, and stays. */
static void failure(void **unused)
{
	static char chunk[400000];
	bool freed;
	AUTO_STREAM s = stream_ahead(source(300000, -ECONNRESET, &freed));
	for (size_t had = 0; had < 300000;) {
		ssize_t n = stream_read(s, chunk, sizeof(chunk), NULL);
		assert_true(n > 0);
		had += (size_t) n;
	}
	for (int i = 0; i < 2; i++) {
		AUTO_ERR err = ERR_INIT;
		assert_int_equal(stream_read(s, chunk, sizeof(chunk), &err), -ECONNRESET);
		assert_string_equal(err_text(&err), "the line is cut");
	}
}

/* At any time: the thread has read much, or nothing yet, or waits for room. */
static void left_early(void **unused)
{
	static char chunk[100];
	for (int i = 0; i < 300; i++) {
		bool freed;
		Stream *s = stream_ahead(source(SIZE_MAX / 2, 0, &freed));
		for (int k = 0; k < i % 4; k++)
			assert_true(stream_read(s, chunk, sizeof(chunk), NULL) > 0);
		stream_free(s);
		assert_true(freed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(same_bytes), cmocka_unit_test(failure), cmocka_unit_test(left_early) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
