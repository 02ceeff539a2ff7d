// SPDX-License-Identifier: Apache-2.0
/*
 * One header block, maybe preceded by pax ('x'), GNU long name ('L') and long link ('K') members, makes
 * an entry; those members are gathered in `Extra` first and laid over the block's own fields then.
 * Everything is untrusted: numbers are parsed strictly and checked for their use, sizes of what is
 * gathered are bounded, and sparse maps must be ascending, inside the file and add up to what is stored.
 * Global pax headers are passed over, as docker does: git archive puts a comment there.
 */
#include "image/tar.h"

#include <errno.h>
#include <limits.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"

#define EXTRA_MAX (1U << 20) /* bytes of one pax or long-name member */
#define SEGMENTS_MAX 65536
#define XATTRS_MAX 256
#define SPARSE_OLD_IN_HEADER 4
#define SPARSE_OLD_IN_BLOCK 21

/* Fields of a header block: offset and length (POSIX ustar; GNU for the sparse ones). */
enum {
	H_NAME = 0, H_MODE = 100, H_UID = 108, H_GID = 116, H_SIZE = 124, H_MTIME = 136, H_SUM = 148, H_TYPE = 156, H_LINK = 157,
	H_MAGIC = 257, H_UNAME = 265, H_GNAME = 297, H_MAJOR = 329, H_MINOR = 337, H_PREFIX = 345, H_SPARSE = 386,
	H_SPARSE_MORE = 482, H_REALSIZE = 483, H_BLOCK_MORE = 504,
};

/* What pax and long-name members say about the entry that follows. */
typedef struct Extra {
	char *path, *link, *sparse_name;
	bool has_size, has_uid, has_gid, has_mtime, has_realsize;
	uint64_t size, uid, gid, realsize;
	int64_t mtime;
	uint32_t mtime_ns;
	TarXattr *xattrs;
	size_t n_xattrs;
	bool sparse;         /* any GNU.sparse record */
	bool sparse_in_data; /* version 1.0: the map stands before the contents */
	TarSegment *segments;
	size_t n_segments;
	bool segment_open; /* 0.0: an offset whose numbytes has not come yet */
} Extra;

struct TarReader {
	Stream *s;
	TarRawFn raw;
	void *raw_user;
	uint64_t pos;
	TarEntry entry;
	uint64_t left;    /* contents of the entry not yet read */
	size_t padding;   /* after them */
	size_t segment;   /* sparse: current segment, */
	uint64_t segment_done; /* and what was read of it */
	uint64_t entries;
	bool ended, complete;
};

static void xattrs_free(TarXattr *x, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(x[i].name);
		free(x[i].value);
	}
	free(x);
}

void tar_entry_done(TarEntry *e)
{
	free(e->path);
	free(e->link);
	xattrs_free(e->xattrs, e->n_xattrs);
	free(e->segments);
	*e = (TarEntry) { 0 };
}

static void extra_done(Extra *x)
{
	free(x->path);
	free(x->link);
	free(x->sparse_name);
	xattrs_free(x->xattrs, x->n_xattrs);
	free(x->segments);
	*x = (Extra) { 0 };
}

TarReader *tar_reader_new(Stream *s, TarRawFn raw, void *user)
{
	TarReader *t = xcalloc(1, sizeof(*t));
	t->s = s;
	t->raw = raw;
	t->raw_user = user;
	return t;
}

void tar_reader_free(TarReader *t)
{
	if (!t)
		return;
	tar_entry_done(&t->entry);
	free(t);
}

void tar_reader_freep(TarReader **t)
{
	tar_reader_free(*t);
}

uint64_t tar_offset(const TarReader *t)
{
	return t->pos;
}

bool tar_complete(const TarReader *t)
{
	return t->complete;
}

static int cut_off(const TarReader *t, Err *err)
{
	return err_set(err, -EINVAL, "the tar archive is cut off at byte %llu", (unsigned long long) t->pos);
}

/* Exactly n bytes that are not contents. 0 at the clean end of the stream (only when `may_end`), 1 otherwise. */
static int read_raw(TarReader *t, void *p, size_t n, bool may_end, Err *err)
{
	ssize_t k = stream_read_full(t->s, p, n, err);
	if (k < 0)
		return (int) k;
	t->pos += (uint64_t) k;
	if (t->raw && k)
		t->raw(t->raw_user, p, (size_t) k);
	if (k == 0 && may_end)
		return 0;
	return (size_t) k < n ? cut_off(t, err) : 1;
}

static int pass_over(TarReader *t, uint64_t n, Err *err)
{
	char buf[16384];
	if (!t->raw && t->s->skip && n > sizeof(buf)) {
		/* The last byte is read, so that a file that ends before is noticed. */
		int r = t->s->skip(t->s, n - 1, err);
		if (r < 0)
			return r;
		t->pos += n - 1;
		n = 1;
	}
	while (n) {
		size_t k = n < sizeof(buf) ? (size_t) n : sizeof(buf);
		int r = read_raw(t, buf, k, false, err);
		if (r < 0)
			return r;
		n -= k;
	}
	return 0;
}

/* Numbers. */

static int parse_octal(const char *p, size_t n, uint64_t *ret)
{
	uint64_t v = 0;
	size_t i = 0;
	while (i < n && (p[i] == ' ' || p[i] == '\0'))
		i++;
	for (; i < n && p[i] >= '0' && p[i] <= '7'; i++) {
		if (v >> 61)
			return -ERANGE;
		v = v << 3 | (uint64_t) (p[i] - '0');
	}
	for (; i < n; i++)
		if (p[i] != ' ' && p[i] != '\0')
			return -EINVAL;
	*ret = v;
	return 0;
}

/* Octal digits, or GNU's base-256: the first byte 0x80 (positive) or 0xff (negative), big-endian. */
static int parse_number(const char *p, size_t n, int64_t *ret)
{
	const unsigned char *u = (const unsigned char *) p;
	if (!(u[0] & 0x80)) {
		uint64_t v;
		int r = parse_octal(p, n, &v);
		if (r == 0)
			*ret = (int64_t) v;
		return r;
	}
	bool negative = u[0] & 0x40;
	uint64_t v = negative ? UINT64_MAX : 0;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = i == 0 ? (unsigned char) (negative ? u[0] : u[0] & 0x7f) : u[i];
		if ((v >> 55) != (negative ? 0x1ff : 0))
			return -ERANGE;
		v = v << 8 | c;
	}
	*ret = (int64_t) v;
	return 0;
}

static bool block_is_zero(const char *b)
{
	for (size_t i = 0; i < TAR_BLOCK; i++)
		if (b[i])
			return false;
	return true;
}

/* The sum of all bytes, the checksum's own taken as blanks; old tars summed signed bytes. */
static bool checksum_valid(const char *b)
{
	uint64_t want;
	int64_t plain = 0, sign = 0;
	if (parse_octal(b + H_SUM, 8, &want) < 0)
		return false;
	for (size_t i = 0; i < TAR_BLOCK; i++) {
		bool own = i >= H_SUM && i < H_SUM + 8;
		plain += own ? ' ' : (unsigned char) b[i];
		sign += own ? ' ' : (signed char) b[i];
	}
	return (int64_t) want == plain || (int64_t) want == sign;
}

/* Pax records. */

static int pax_invalid(const char *key, Err *err)
{
	return err_set(err, -EINVAL, "pax record '%.64s' has an invalid value", key);
}

static int pax_u64(const char *key, const char *value, uint64_t *ret, bool *has, Err *err)
{
	if (parse_u64(value, ret) < 0 || *ret > INT64_MAX)
		return pax_invalid(key, err);
	*has = true;
	return 0;
}

static int pax_time(const char *key, const char *value, Extra *x, Err *err)
{
	AUTO_FREE char *copy = xstrdup(value);
	char *dot = strchr(copy, '.');
	uint32_t ns = 0, scale = 100000000;
	if (dot) {
		*dot = '\0';
		for (const char *p = dot + 1; *p; p++, scale /= 10) {
			if (*p < '0' || *p > '9')
				return pax_invalid(key, err);
			ns += scale * (uint32_t) (*p - '0');
		}
	}
	if (parse_i64(copy, &x->mtime) < 0)
		return pax_invalid(key, err);
	/* A fraction moves a negative time towards the past. */
	if (copy[0] == '-' && ns) {
		x->mtime--;
		ns = 1000000000 - ns;
	}
	x->mtime_ns = ns;
	x->has_mtime = true;
	return 0;
}

static int segment_add(TarSegment **segments, size_t *n, uint64_t offset, uint64_t length, Err *err)
{
	if (*n >= SEGMENTS_MAX)
		return err_set(err, -EFBIG, "a sparse file of more than %d pieces", SEGMENTS_MAX);
	*array_append(*segments, *n) = (TarSegment) { offset, length };
	return 0;
}

/* Version 0.1: "offset,length,offset,length…". */
static int pax_sparse_map(const char *value, Extra *x, Err *err)
{
	AUTO_FREE char *copy = xstrdup(value);
	char *save = NULL;
	x->n_segments = 0;
	free_and_null(&x->segments);
	for (char *p = strtok_r(copy, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
		uint64_t offset, length;
		char *q = strtok_r(NULL, ",", &save);
		if (parse_u64(p, &offset) < 0 || parse_u64(q, &length) < 0)
			return pax_invalid("GNU.sparse.map", err);
		int r = segment_add(&x->segments, &x->n_segments, offset, length, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int pax_sparse(const char *key, const char *value, Extra *x, Err *err)
{
	uint64_t v;
	x->sparse = true;
	if (str_eq(key, "name")) {
		str_set(&x->sparse_name, value);
		return 0;
	}
	if (str_eq(key, "map"))
		return pax_sparse_map(value, x, err);
	if (parse_u64(value, &v) < 0)
		return pax_invalid("GNU.sparse", err);
	if (str_eq(key, "realsize") || str_eq(key, "size")) {
		x->realsize = v;
		x->has_realsize = true;
	} else if (str_eq(key, "major")) {
		x->sparse_in_data = v == 1;
		if (v > 1)
			return err_set(err, -ENOTSUP, "sparse format %llu is not known", (unsigned long long) v);
	} else if (str_eq(key, "offset")) {
		if (x->segment_open)
			return pax_invalid("GNU.sparse.offset", err);
		x->segment_open = true;
		return segment_add(&x->segments, &x->n_segments, v, 0, err);
	} else if (str_eq(key, "numbytes")) {
		if (!x->segment_open)
			return pax_invalid("GNU.sparse.numbytes", err);
		x->segment_open = false;
		x->segments[x->n_segments - 1].length = v;
	}
	return 0;
}

static int pax_xattr(const char *name, const char *value, size_t n, Extra *x, Err *err)
{
	if (!*name || strlen(name) > 255 || n > 65536)
		return err_set(err, -EINVAL, "the name or value of an extended attribute is empty or too long");
	if (x->n_xattrs >= XATTRS_MAX)
		return err_set(err, -EFBIG, "more than %d extended attributes", XATTRS_MAX);
	TarXattr *a = array_append(x->xattrs, x->n_xattrs);
	a->name = xstrdup(name);
	a->value = xmemdup(value, n + 1);
	a->len = n;
	return 0;
}

/* key and value are NUL-terminated; the value may hold further NULs. */
static int pax_record(const char *key, const char *value, size_t n, Extra *x, Err *err)
{
	if (str_starts(key, "SCHILY.xattr."))
		return pax_xattr(key + strlen("SCHILY.xattr."), value, n, x, err);
	if (strlen(value) != n)
		return err_set(err, -EINVAL, "pax record '%.64s' has a NUL in its value", key);
	if (str_starts(key, "GNU.sparse."))
		return pax_sparse(key + strlen("GNU.sparse."), value, x, err);
	if (n == 0) /* an empty value takes a record of before back */
		return 0;
	if (str_eq(key, "path")) {
		str_set(&x->path, value);
	} else if (str_eq(key, "linkpath")) {
		str_set(&x->link, value);
	} else if (str_eq(key, "size")) {
		return pax_u64(key, value, &x->size, &x->has_size, err);
	} else if (str_eq(key, "uid")) {
		return pax_u64(key, value, &x->uid, &x->has_uid, err);
	} else if (str_eq(key, "gid")) {
		return pax_u64(key, value, &x->gid, &x->has_gid, err);
	} else if (str_eq(key, "mtime")) {
		return pax_time(key, value, x, err);
	}
	return 0;
}

/* "LENGTH KEY=VALUE\n"…, LENGTH counting the whole record. */
static int pax_parse(char *p, size_t n, Extra *x, Err *err)
{
	while (n) {
		size_t len = 0, i = 0;
		for (; i < n && i < 8 && p[i] >= '0' && p[i] <= '9'; i++)
			len = len * 10 + (size_t) (p[i] - '0');
		if (i == 0 || i >= n || p[i] != ' ' || len < i + 3 || len > n || p[len - 1] != '\n')
			return err_set(err, -EINVAL, "a pax record is malformed");
		char *key = p + i + 1, *end = p + len - 1;
		char *eq = memchr(key, '=', (size_t) (end - key));
		if (!eq || eq == key)
			return err_set(err, -EINVAL, "a pax record has no key");
		*eq = '\0';
		*end = '\0';
		int r = pax_record(key, eq + 1, (size_t) (end - eq - 1), x, err);
		if (r < 0)
			return r;
		p += len;
		n -= len;
	}
	return 0;
}

/* Reads a pax or long-name member's contents and their padding. */
static int read_extra(TarReader *t, int64_t size, Buf *b, Err *err)
{
	char pad[TAR_BLOCK];
	if (size < 0 || size > EXTRA_MAX)
		return err_set(err, -EFBIG, "a header member of %lld bytes, at most %u are taken", (long long) size, EXTRA_MAX);
	int r = read_raw(t, buf_reserve(b, (size_t) size), (size_t) size, size == 0, err);
	if (r < 0)
		return r;
	buf_added(b, (size_t) size);
	size_t padding = tar_padding((uint64_t) size);
	return padding ? read_raw(t, pad, padding, false, err) : 1;
}

static int take_extra(TarReader *t, char type, int64_t size, Extra *x, Err *err)
{
	AUTO_BUF b = BUF_INIT;
	int r = read_extra(t, size, &b, err);
	if (r < 0)
		return r;
	if (type == 'L')
		str_set(&x->path, buf_cstr(&b));
	else if (type == 'K')
		str_set(&x->link, buf_cstr(&b));
	else if (type == 'x')
		return pax_parse(b.data, b.len, x, err);
	return 0;
}

/* Sparse maps outside pax records. */

static int sparse_old_pairs(const char *p, size_t count, TarEntry *e, bool *ret_end, Err *err)
{
	for (size_t i = 0; i < count; i++, p += 24) {
		int64_t offset, length;
		if (p[0] == '\0' && p[12] == '\0') {
			*ret_end = true;
			return 0;
		}
		if (parse_number(p, 12, &offset) < 0 || parse_number(p + 12, 12, &length) < 0 || offset < 0 || length < 0)
			return err_set(err, -EINVAL, "'%s': the sparse map is malformed", e->path);
		int r = segment_add(&e->segments, &e->n_segments, (uint64_t) offset, (uint64_t) length, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int sparse_old(TarReader *t, const char *h, TarEntry *e, Err *err)
{
	char block[TAR_BLOCK];
	int64_t real;
	bool end = false, more = h[H_SPARSE_MORE] != 0;
	if (parse_number(h + H_REALSIZE, 12, &real) < 0 || real < 0)
		return err_set(err, -EINVAL, "'%s': the sparse file's size is malformed", e->path);
	e->sparse = true;
	e->size = (uint64_t) real;
	int r = sparse_old_pairs(h + H_SPARSE, SPARSE_OLD_IN_HEADER, e, &end, err);
	while (r == 0 && more) {
		r = read_raw(t, block, TAR_BLOCK, false, err);
		if (r < 0)
			return r;
		more = block[H_BLOCK_MORE] != 0;
		r = end ? 0 : sparse_old_pairs(block, SPARSE_OLD_IN_BLOCK, e, &end, err);
	}
	return r;
}

/* Version 1.0: decimal lines (count, then offset and length of each) fill whole blocks before the contents. */
typedef struct SparseLines {
	TarReader *t;
	uint64_t *stored;
	char block[TAR_BLOCK];
	size_t used;
} SparseLines;

static int sparse_line(SparseLines *l, uint64_t *ret, Err *err)
{
	uint64_t v = 0;
	for (int digits = 0;; digits++) {
		if (l->used == TAR_BLOCK) {
			if (*l->stored < TAR_BLOCK)
				return err_set(err, -EINVAL, "the sparse map is longer than its file");
			int r = read_raw(l->t, l->block, TAR_BLOCK, false, err);
			if (r < 0)
				return r;
			*l->stored -= TAR_BLOCK;
			l->used = 0;
		}
		char c = l->block[l->used++];
		if (c == '\n' && digits) {
			*ret = v;
			return 0;
		}
		if (c < '0' || c > '9' || digits > 18)
			return err_set(err, -EINVAL, "the sparse map is malformed");
		v = v * 10 + (uint64_t) (c - '0');
	}
}

static int sparse_in_data(TarReader *t, TarEntry *e, Err *err)
{
	SparseLines l = { .t = t, .stored = &e->stored, .used = TAR_BLOCK };
	uint64_t count, offset, length;
	int r = sparse_line(&l, &count, err);
	if (r == 0 && count > SEGMENTS_MAX)
		return err_set(err, -EFBIG, "a sparse file of more than %d pieces", SEGMENTS_MAX);
	for (uint64_t i = 0; r == 0 && i < count; i++) {
		if ((r = sparse_line(&l, &offset, err)) == 0 && (r = sparse_line(&l, &length, err)) == 0)
			r = segment_add(&e->segments, &e->n_segments, offset, length, err);
	}
	return r;
}

static int sparse_check(const TarEntry *e, Err *err)
{
	uint64_t at = 0, sum = 0, end;
	for (size_t i = 0; i < e->n_segments; i++) {
		const TarSegment *s = &e->segments[i];
		if (s->offset < at || __builtin_add_overflow(s->offset, s->length, &end) || end > e->size)
			return err_set(err, -EINVAL, "'%s': the sparse map is out of order or beyond the file", e->path);
		at = end;
		sum += s->length;
	}
	if (sum != e->stored)
		return err_set(err, -EINVAL, "'%s': the sparse map does not add up to what is stored", e->path);
	return 0;
}

/* The entry. */

static char *header_path(const char *h)
{
	size_t n = strnlen(h + H_NAME, 100), prefix = 0;
	/* GNU's magic is "ustar  ": there, the prefix field holds other things. */
	if (memcmp(h + H_MAGIC, "ustar\0", 6) == 0)
		prefix = strnlen(h + H_PREFIX, 155);
	if (!prefix)
		return xstrndup(h + H_NAME, n);
	return xasprintf("%.*s/%.*s", (int) prefix, h + H_PREFIX, (int) n, h + H_NAME);
}

static int entry_type(char flag, TarEntry *e, Err *err)
{
	static const struct {
		char flag;
		TarType type;
	} types[] = {
		{ '0', TAR_FILE }, { '\0', TAR_FILE }, { '7', TAR_FILE }, { 'S', TAR_FILE }, { '1', TAR_HARDLINK },
		{ '2', TAR_SYMLINK }, { '3', TAR_CHARDEV }, { '4', TAR_BLOCKDEV }, { '5', TAR_DIRECTORY }, { '6', TAR_FIFO },
	};
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (types[i].flag != flag)
			continue;
		e->type = types[i].type;
		/* Tars older than POSIX mark a directory by the slash alone. */
		if (e->type == TAR_FILE && str_ends(e->path, "/"))
			e->type = TAR_DIRECTORY;
		return 0;
	}
	return err_set(err, -ENOTSUP, "'%s' is of the unknown type '%c' (0x%02x)", e->path,
		flag >= ' ' && flag < 0x7f ? flag : '?', (unsigned char) flag);
}

static int owner(const char *h, int at, bool has, uint64_t given, const char *path, uint32_t *ret, Err *err)
{
	int64_t v = (int64_t) given;
	if (!has && parse_number(h + at, 8, &v) < 0)
		v = -1;
	/* (uid_t) -1 would mean "leave as it is" to chown(2). */
	if (v < 0 || v >= UINT32_MAX)
		return err_set(err, -EINVAL, "'%s': the owner is not a number below 4294967295", path);
	*ret = (uint32_t) v;
	return 0;
}

static int device_numbers(const char *h, TarEntry *e, Err *err)
{
	int64_t major, minor;
	if (e->type != TAR_CHARDEV && e->type != TAR_BLOCKDEV)
		return 0;
	if (parse_number(h + H_MAJOR, 8, &major) < 0 || parse_number(h + H_MINOR, 8, &minor) < 0 || major < 0 || minor < 0 ||
		major > 0xfff || minor > 0xfffff)
		return err_set(err, -EINVAL, "'%s': the device numbers are out of range", e->path);
	e->major = (uint32_t) major;
	e->minor = (uint32_t) minor;
	return 0;
}

static int entry_names(const char *h, Extra *x, TarEntry *e, Err *err)
{
	e->path = x->sparse_name ? steal_ptr(&x->sparse_name) : x->path ? steal_ptr(&x->path) : header_path(h);
	if (!*e->path)
		return err_set(err, -EINVAL, "an entry has no name");
	if (strlen(e->path) >= PATH_MAX)
		return err_set(err, -ENAMETOOLONG, "'%.60s…': the name is longer than %d bytes", e->path, PATH_MAX - 1);
	int r = entry_type(h[H_TYPE], e, err);
	if (r < 0)
		return r;
	if (e->type != TAR_HARDLINK && e->type != TAR_SYMLINK)
		return 0;
	e->link = x->link ? steal_ptr(&x->link) : xstrndup(h + H_LINK, strnlen(h + H_LINK, 100));
	if (!*e->link || strlen(e->link) >= PATH_MAX)
		return err_set(err, -EINVAL, "'%s': the link has no target, or one longer than %d bytes", e->path, PATH_MAX - 1);
	return 0;
}

static int entry_numbers(const char *h, int64_t size, const Extra *x, TarEntry *e, Err *err)
{
	int64_t mode = 0, mtime = 0;
	int r;
	if (parse_number(h + H_MODE, 8, &mode) < 0)
		return err_set(err, -EINVAL, "'%s': the mode is malformed", e->path);
	e->mode = (mode_t) (mode & 07777);
	if ((r = owner(h, H_UID, x->has_uid, x->uid, e->path, &e->uid, err)) < 0 ||
		(r = owner(h, H_GID, x->has_gid, x->gid, e->path, &e->gid, err)) < 0 || (r = device_numbers(h, e, err)) < 0)
		return r;
	if (parse_number(h + H_MTIME, 12, &mtime) < 0)
		return err_set(err, -EINVAL, "'%s': the time is malformed", e->path);
	e->mtime = x->has_mtime ? x->mtime : mtime;
	e->mtime_ns = x->has_mtime ? x->mtime_ns : 0;
	e->stored = x->has_size ? x->size : (uint64_t) size;
	/* Contents of a link or a directory are meaningless, yet they are there and must be passed over. */
	e->size = e->type == TAR_FILE ? e->stored : 0;
	return 0;
}

static int entry_sparse(TarReader *t, const char *h, Extra *x, TarEntry *e, Err *err)
{
	int r = 0;
	if (e->type != TAR_FILE || (!x->sparse && h[H_TYPE] != 'S'))
		return 0;
	if (x->sparse) {
		if (!x->has_realsize || x->segment_open)
			return err_set(err, -EINVAL, "'%s': the sparse file's size is missing", e->path);
		e->sparse = true;
		e->size = x->realsize;
		e->n_segments = x->n_segments;
		e->segments = steal_ptr(&x->segments);
		x->n_segments = 0;
		if (x->sparse_in_data) {
			e->n_segments = 0;
			free_and_null(&e->segments);
			r = sparse_in_data(t, e, err);
		}
	} else {
		r = sparse_old(t, h, e, err);
	}
	return r < 0 ? r : sparse_check(e, err);
}

static int make_entry(TarReader *t, const char *h, int64_t size, Extra *x, Err *err)
{
	TarEntry *e = &t->entry;
	int r;
	if ((r = entry_names(h, x, e, err)) < 0 || (r = entry_numbers(h, size, x, e, err)) < 0)
		return r;
	e->n_xattrs = x->n_xattrs;
	e->xattrs = steal_ptr(&x->xattrs);
	x->n_xattrs = 0;
	uint64_t whole = e->stored;
	if ((r = entry_sparse(t, h, x, e, err)) < 0)
		return r;
	if (e->size > LIMIT_LAYER_BYTES || whole > LIMIT_LAYER_BYTES)
		return err_set(err, -EFBIG, "'%s' is larger than %llu bytes", e->path, (unsigned long long) LIMIT_LAYER_BYTES);
	t->left = e->stored;
	t->padding = tar_padding(whole);
	t->segment = 0;
	t->segment_done = 0;
	return 1;
}

/* Called with a zero block read. The end is two of them; one alone, as some old writers leave, is not complete. */
static int at_end(TarReader *t, Err *err)
{
	char block[TAR_BLOCK];
	t->ended = true;
	int r = read_raw(t, block, TAR_BLOCK, true, err);
	if (r < 0)
		return r;
	t->complete = r == 1 && block_is_zero(block);
	return 0;
}

static int next_header(TarReader *t, Extra *x, Err *err)
{
	char h[TAR_BLOCK];
	for (bool first = true;; first = false) {
		int64_t size;
		int r = read_raw(t, h, TAR_BLOCK, first, err);
		if (r <= 0) {
			t->ended = true;
			return r;
		}
		if (block_is_zero(h))
			return first ? at_end(t, err) : err_set(err, -EINVAL, "the tar archive ends after a header member");
		if (!checksum_valid(h))
			return err_set(err, -EINVAL, "not a tar header at byte %llu (wrong checksum): not a tar archive, or damaged",
				(unsigned long long) t->pos - TAR_BLOCK);
		if (++t->entries > LIMIT_LAYER_ENTRIES)
			return err_set(err, -EFBIG, "more than %d entries", LIMIT_LAYER_ENTRIES);
		if (parse_number(h + H_SIZE, 12, &size) < 0 || size < 0)
			return err_set(err, -EINVAL, "a size is malformed at byte %llu", (unsigned long long) t->pos - TAR_BLOCK);
		char type = h[H_TYPE];
		if (type != 'x' && type != 'g' && type != 'L' && type != 'K')
			return make_entry(t, h, size, x, err);
		if ((r = take_extra(t, type, size, x, err)) < 0)
			return r;
		if (type == 'g') /* stands for itself: the archive may end after it */
			first = true;
	}
}

int tar_next(TarReader *t, const TarEntry **ret, Err *err)
{
	Extra x = { 0 };
	if (t->ended)
		return 0;
	int r = pass_over(t, t->left + t->padding, err);
	if (r < 0)
		return r;
	t->left = t->padding = 0;
	tar_entry_done(&t->entry);
	r = next_header(t, &x, err);
	extra_done(&x);
	if (r == 1)
		*ret = &t->entry;
	return r;
}

bool tar_begins(const char *block)
{
	AUTO_STREAM s = stream_memory(block, TAR_BLOCK);
	AUTO_TAR t = tar_reader_new(s, NULL, NULL);
	AUTO_ERR err = ERR_INIT;
	const TarEntry *e;
	/* One block may end in the middle of an entry: what counts is that the header is one. */
	return tar_next(t, &e, &err) == 1 || memcmp(block + 257, "ustar", 5) == 0;
}

ssize_t tar_read(TarReader *t, void *p, size_t n, uint64_t *ret_offset, Err *err)
{
	const TarEntry *e = &t->entry;
	if (!t->left)
		return 0;
	if (n > t->left)
		n = (size_t) t->left;
	uint64_t offset = e->stored - t->left;
	if (e->sparse) {
		while (t->segment_done == e->segments[t->segment].length) {
			t->segment++;
			t->segment_done = 0;
		}
		const TarSegment *s = &e->segments[t->segment];
		if (n > s->length - t->segment_done)
			n = (size_t) (s->length - t->segment_done);
		offset = s->offset + t->segment_done;
	}
	ssize_t k = stream_read(t->s, p, n, err);
	if (k < 0)
		return k;
	if (k == 0)
		return cut_off(t, err);
	t->pos += (uint64_t) k;
	t->left -= (uint64_t) k;
	t->segment_done += (uint64_t) k;
	if (ret_offset)
		*ret_offset = offset;
	return k;
}

int tar_drain(TarReader *t, Err *err)
{
	char buf[16384];
	ssize_t n;
	while ((n = stream_read(t->s, buf, sizeof(buf), err)) > 0) {
		t->pos += (uint64_t) n;
		if (t->raw)
			t->raw(t->raw_user, buf, (size_t) n);
	}
	return (int) n;
}
