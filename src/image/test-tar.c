// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "image/tar.h"

/* A header block written by hand: what the writer never makes. */
static void put_raw(Buf *b, const char *name, char type, const char *size_octal, const char *magic)
{
	char h[TAR_BLOCK] = { 0 };
	unsigned sum = 0;
	memcpy(h, name, strlen(name));
	memcpy(h + 100, "0000644\0" "0000001\0" "0000002\0", 24);
	memcpy(h + 124, size_octal, strlen(size_octal));
	memcpy(h + 136, "00000000010", 11);
	h[156] = type;
	memcpy(h + 257, magic, 8);
	memset(h + 148, ' ', 8);
	for (size_t i = 0; i < sizeof(h); i++)
		sum += (unsigned char) h[i];
	(void) snprintf(h + 148, 8, "%06o", sum);
	buf_append(b, h, sizeof(h));
}

#define USTAR "ustar\0" "00"
#define GNU "ustar  \0"

static void put_data(Buf *b, const void *p, size_t n)
{
	static const char zero[TAR_BLOCK];
	buf_append(b, p, n);
	buf_append(b, zero, tar_padding(n));
}

static void put_member(Buf *b, const char *name, char type, const char *data, size_t n)
{
	char size[32];
	(void) snprintf(size, sizeof(size), "%011zo", n);
	put_raw(b, name, type, size, USTAR);
	put_data(b, data, n);
}

static void put_pax_raw(Buf *b, const char *records)
{
	put_member(b, "PaxHeaders/x", 'x', records, strlen(records));
}

/* "key=value\n"…, to which the lengths are added here. */
static void put_pax(Buf *b, const char *lines)
{
	AUTO_BUF records = BUF_INIT;
	while (*lines) {
		size_t n = strcspn(lines, "\n") + 1, len = n + 2;
		len = n + 1 + (len >= 10 ? 2 : 1);
		buf_printf(&records, "%zu %.*s", len, (int) n, lines);
		lines += n;
	}
	put_pax_raw(b, records.data);
}

/* Reads the whole archive; gives the code of the first failure or the number of entries. */
static int read_all(const Buf *b, Err *err)
{
	AUTO_STREAM s = stream_memory(b->data, b->len);
	AUTO_TAR t = tar_reader_new(s, NULL, NULL);
	const TarEntry *e;
	char chunk[1000];
	int r, n = 0;
	while ((r = tar_next(t, &e, err)) == 1) {
		ssize_t k;
		while ((k = tar_read(t, chunk, sizeof(chunk), NULL, err)) > 0)
			;
		if (k < 0)
			return (int) k;
		n++;
	}
	return r < 0 ? r : n;
}

static void check_same(const TarEntry *a, const TarEntry *b)
{
	assert_int_equal(a->type, b->type);
	assert_string_equal(a->path, b->path);
	assert_true(str_eq(a->link, b->link));
	assert_int_equal(a->mode, b->mode);
	assert_true(a->uid == b->uid && a->gid == b->gid);
	assert_true(a->mtime == b->mtime && a->mtime_ns == b->mtime_ns);
	assert_true(a->size == b->size);
	assert_true(a->major == b->major && a->minor == b->minor);
	assert_int_equal(a->n_xattrs, b->n_xattrs);
	for (size_t i = 0; i < a->n_xattrs; i++) {
		assert_string_equal(a->xattrs[i].name, b->xattrs[i].name);
		assert_int_equal(a->xattrs[i].len, b->xattrs[i].len);
		assert_memory_equal(a->xattrs[i].value, b->xattrs[i].value, a->xattrs[i].len);
	}
}

static void round_trip(void **state)
{
	char longish[151], longer[301], cap[] = "\1\0\0\2", name[] = "security.capability";
	memset(longish, 'd', 150);
	longish[150] = '\0';
	longish[90] = '/';
	memset(longer, 'e', 300);
	longer[300] = '\0';
	TarXattr x = { name, cap, 4 };
	TarEntry entries[] = {
		{ .type = TAR_DIRECTORY, .path = (char *) "a/", .mode = 0755, .mtime = 1700000000 },
		{ .type = TAR_FILE, .path = (char *) "a/f", .mode = 04755, .uid = 1000, .gid = 5000000, .size = 700, .stored = 700,
			.mtime = -1, .mtime_ns = 500000000, .xattrs = &x, .n_xattrs = 1 },
		{ .type = TAR_FILE, .path = longish, .mode = 0, .mtime = 1LL << 40, .mtime_ns = 1, .uid = 4294967294U },
		{ .type = TAR_HARDLINK, .path = (char *) "h", .link = longer },
		{ .type = TAR_SYMLINK, .path = (char *) "s\xc3\xa9", .link = (char *) "\xc3\xa8", .mode = 0777, .mtime = -5 },
		{ .type = TAR_CHARDEV, .path = (char *) "c", .major = 4095, .minor = 1048575 },
		{ .type = TAR_BLOCKDEV, .path = (char *) "b", .major = 8, .minor = 1 },
		{ .type = TAR_FIFO, .path = longer, .mode = 01777 },
	};
	char data[700];
	memset(data, 'x', sizeof(data));
	AUTO_BUF b = BUF_INIT;
	for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
		tar_write_header(&b, &entries[i]);
		if (entries[i].size)
			put_data(&b, data, sizeof(data));
	}
	tar_write_end(&b);
	AUTO_STREAM s = stream_memory(b.data, b.len);
	AUTO_TAR t = tar_reader_new(s, NULL, NULL);
	AUTO_ERR err = ERR_INIT;
	const TarEntry *e;
	for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
		if (tar_next(t, &e, &err) != 1)
			fail_msg("%zu: %s", i, err_text(&err));
		check_same(e, &entries[i]);
	}
	assert_int_equal(tar_next(t, &e, &err), 0);
	assert_true(tar_complete(t));
}

static void gnu_names_and_numbers(void **state)
{
	AUTO_BUF b = BUF_INIT;
	char name[200];
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	put_member(&b, "././@LongLink", 'L', name, sizeof(name));
	put_member(&b, "././@LongLink", 'K', "target", 7);
	put_raw(&b, "short", '2', "00000000000", GNU);
	put_raw(&b, "big", '0', "\x80\0\0\0\0\0\0\0\0\0\0", GNU);
	put_raw(&b, "old/", '\0', "0", GNU);
	tar_write_end(&b);
	AUTO_STREAM s = stream_memory(b.data, b.len);
	AUTO_TAR t = tar_reader_new(s, NULL, NULL);
	const TarEntry *e;
	assert_int_equal(tar_next(t, &e, NULL), 1);
	assert_string_equal(e->path, name);
	assert_string_equal(e->link, "target");
	assert_int_equal(e->uid, 1);
	assert_int_equal(e->gid, 2);
	assert_int_equal(tar_next(t, &e, NULL), 1);
	assert_string_equal(e->path, "big");
	assert_true(e->size == 0);
	assert_int_equal(tar_next(t, &e, NULL), 1);
	assert_int_equal(e->type, TAR_DIRECTORY);
	assert_int_equal(tar_next(t, &e, NULL), 0);
}

static void check_sparse(const Buf *b)
{
	AUTO_STREAM s = stream_memory(b->data, b->len);
	AUTO_TAR t = tar_reader_new(s, NULL, NULL);
	AUTO_ERR err = ERR_INIT;
	const TarEntry *e;
	char chunk[100], file[2001] = { 0 };
	uint64_t offset;
	ssize_t n;
	if (tar_next(t, &e, &err) != 1)
		fail_msg("%s", err_text(&err));
	assert_string_equal(e->path, "sparse");
	assert_true(e->size == 2000);
	while ((n = tar_read(t, chunk, sizeof(chunk), &offset, &err)) > 0) {
		assert_true(offset + (uint64_t) n <= 2000);
		memcpy(file + offset, chunk, (size_t) n);
	}
	assert_int_equal(n, 0);
	assert_memory_equal(file + 500, "hello", 5);
	assert_memory_equal(file + 1995, "world", 5);
	assert_int_equal(file[499] + file[505] + file[1994], 0);
	assert_int_equal(tar_next(t, &e, &err), 0);
}

static void sparse_files(void **state)
{
	AUTO_BUF b = BUF_INIT;
	/* 0.0 */
	put_pax(&b, "GNU.sparse.size=2000\nGNU.sparse.numblocks=2\nGNU.sparse.offset=500\nGNU.sparse.numbytes=5\n"
		    "GNU.sparse.offset=1995\nGNU.sparse.numbytes=5\n");
	put_member(&b, "sparse", '0', "helloworld", 10);
	tar_write_end(&b);
	check_sparse(&b);
	buf_clear(&b);
	/* 0.1 */
	put_pax(&b, "GNU.sparse.size=2000\nGNU.sparse.name=sparse\nGNU.sparse.map=500,5,1995,5\n");
	put_member(&b, "GNUSparseFile.1/sparse", '0', "helloworld", 10);
	tar_write_end(&b);
	check_sparse(&b);
	buf_clear(&b);
	/* 1.0 */
	char data[TAR_BLOCK + 10] = "2\n500\n5\n1995\n5\n";
	memcpy(data + TAR_BLOCK, "helloworld", 10);
	put_pax(&b, "GNU.sparse.major=1\nGNU.sparse.minor=0\nGNU.sparse.name=sparse\nGNU.sparse.realsize=2000\n");
	put_member(&b, "GNUSparseFile.1/sparse", '0', data, sizeof(data));
	tar_write_end(&b);
	check_sparse(&b);
}

static void sparse_lies(void **state)
{
	static const char *const records[] = {
		"GNU.sparse.size=2000\nGNU.sparse.map=500,5,1996,5\n",
		"GNU.sparse.size=2000\nGNU.sparse.map=500,5,1995,4\n",
		"GNU.sparse.size=2000\nGNU.sparse.map=500,5,499,5\n",
		"GNU.sparse.size=2000\nGNU.sparse.map=500,10,5\n",
		"GNU.sparse.map=500,5,1995,5\n",
		"GNU.sparse.size=2000\nGNU.sparse.numbytes=5\n",
		"GNU.sparse.size=2000\nGNU.sparse.offset=500\n",
		"GNU.sparse.major=2\nGNU.sparse.realsize=2000\n",
		"GNU.sparse.major=1\nGNU.sparse.realsize=2000\n",
	};
	for (size_t i = 0; i < ARRAY_SIZE(records); i++) {
		AUTO_BUF b = BUF_INIT;
		AUTO_ERR err = ERR_INIT;
		put_pax(&b, records[i]);
		put_member(&b, "sparse", '0', "helloworld", 10);
		tar_write_end(&b);
		if (read_all(&b, &err) >= 0)
			fail_msg("taken: %s", records[i]);
		assert_non_null(err.text);
	}
}

static void malformed(void **state)
{
	static const char *const records[] = {
		"12 path=abc", "12 path=abc ", "9999 path=abc\n", "0 path=abc\n", "x path=abc\n", "6 path\n", "5 =ab\n", "3\n",
		"16 mtime=abcdef\n", "13 size=-100\n", "12 uid=99x99\n", "18 uid=4294967295\n",
		"14 mtime=1.2.3\n",
	};
	for (size_t i = 0; i < ARRAY_SIZE(records); i++) {
		AUTO_BUF b = BUF_INIT;
		put_pax_raw(&b, records[i]);
		put_member(&b, "f", '0', "", 0);
		tar_write_end(&b);
		if (read_all(&b, NULL) >= 0)
			fail_msg("taken: %s", records[i]);
	}
	AUTO_BUF b = BUF_INIT;
	put_raw(&b, "f", '0', "7777777777777777", USTAR);
	tar_write_end(&b);
	assert_true(read_all(&b, NULL) < 0);
	buf_clear(&b);
	put_raw(&b, "f", '0', "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", GNU);
	tar_write_end(&b);
	assert_int_equal(read_all(&b, NULL), -EINVAL);
	buf_clear(&b);
	put_raw(&b, "f", '0', "\x80\x80\0\0\0\0\0\0\0\0\0\0", GNU);
	tar_write_end(&b);
	assert_true(read_all(&b, NULL) < 0);
	buf_clear(&b);
	put_member(&b, "f", 'V', "", 0);
	tar_write_end(&b);
	assert_int_equal(read_all(&b, NULL), -ENOTSUP);
	buf_clear(&b);
	put_pax(&b, "path=a\n");
	b.data[20] ^= 1;
	assert_int_equal(read_all(&b, NULL), -EINVAL);
}

static void cut_at_every_block(void **state)
{
	AUTO_BUF b = BUF_INIT;
	put_pax(&b, "path=ab\n");
	put_member(&b, "f", '0', "0123456789", 10);
	put_member(&b, "g", '0', "", 0);
	tar_write_end(&b);
	assert_int_equal(read_all(&b, NULL), 2);
	for (size_t n = 0; n < b.len; n += 128) {
		AUTO_STREAM s = stream_memory(b.data, n);
		AUTO_TAR t = tar_reader_new(s, NULL, NULL);
		const TarEntry *e;
		int r;
		while ((r = tar_next(t, &e, NULL)) == 1)
			;
		/* Between entries nothing but the missing end marker tells. */
		assert_true(r < 0 || !tar_complete(t));
	}
}

static void keep(void *user, const void *p, size_t n)
{
	buf_append(user, p, n);
}

static void raw_and_contents_are_everything(void **state)
{
	AUTO_BUF b = BUF_INIT;
	AUTO_BUF copy = BUF_INIT;
	put_pax(&b, "path=ab\n");
	put_member(&b, "f", '0', "0123456789", 10);
	put_member(&b, "skipped", '0', "0123456789", 10);
	put_member(&b, "dir", '5', "", 0);
	tar_write_end(&b);
	buf_str(&b, "what follows");
	AUTO_STREAM s = stream_memory(b.data, b.len);
	AUTO_TAR t = tar_reader_new(s, keep, &copy);
	const TarEntry *e;
	char chunk[7];
	ssize_t n;
	assert_int_equal(tar_next(t, &e, NULL), 1);
	assert_string_equal(e->path, "ab");
	while ((n = tar_read(t, chunk, sizeof(chunk), NULL, NULL)) > 0)
		buf_append(&copy, chunk, (size_t) n);
	while (tar_next(t, &e, NULL) == 1)
		;
	assert_int_equal(tar_drain(t, NULL), 0);
	assert_int_equal(copy.len, b.len);
	assert_memory_equal(copy.data, b.data, b.len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(gnu_names_and_numbers),
		cmocka_unit_test(sparse_files),
		cmocka_unit_test(sparse_lies),
		cmocka_unit_test(malformed),
		cmocka_unit_test(cut_at_every_block),
		cmocka_unit_test(raw_and_contents_are_everything),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
