// SPDX-License-Identifier: Apache-2.0
/*
 * Lines are parsed as they come, so that a manifest is never held as text and as entries at once. The order is part of
 * the format: it makes look-ups cheap, and the same tree always gives the same bytes, whose hash client and worker
 * compare instead of sending them.
 */
#include "build/entries.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <linux/limits.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/sha256.h"

#define LINE_MAX_BYTES (256U << 10)
#define XATTRS_MAX 32

void entry_done(Entry *e)
{
	free(e->path);
	free(e->target);
	free(e->link);
	free(e->source);
	for (size_t i = 0; i < e->n_xattrs; i++) {
		free(e->xattrs[i].name);
		free(e->xattrs[i].value);
	}
	free(e->xattrs);
	*e = (Entry) { 0 };
}

void entries_done(Entries *l)
{
	for (size_t i = 0; i < l->n; i++)
		entry_done(&l->items[i]);
	free(l->items);
	buf_done(&l->partial);
	*l = (Entries) { 0 };
}

bool entry_path_valid(const char *path)
{
	size_t depth = 0;
	if (!*path || strlen(path) >= PATH_MAX)
		return false;
	for (const char *p = path;;) {
		size_t n = strcspn(p, "/");
		if (n == 0 || n > NAME_MAX || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
			return false;
		if (++depth > LIMIT_PATH_DEPTH)
			return false;
		if (!p[n])
			return true;
		p += n + 1;
	}
}

bool path_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);
	return n == 0 || (strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == '\0'));
}

/* Reading. */

static int get_number(const json_t *o, const char *key, int64_t max, int64_t *ret)
{
	const json_t *v = json_object_get(o, key);
	if (!v)
		return 0;
	if (!json_is_integer(v) || json_integer_value(v) > max)
		return -EINVAL;
	*ret = json_integer_value(v);
	return 0;
}

static bool is_hex(const char *s)
{
	size_t n = strspn(s, "0123456789abcdef");
	return s[n] == '\0' && n % 2 == 0;
}

/* Owned by the caller; NULL if it is not there or no name. */
static char *get_string(const json_t *o, const char *key)
{
	const char *value = json_string_value(json_object_get(o, key));
	AUTO_FREE char *other = xasprintf("%s_hex", key);
	if (value)
		return xstrdup(value);
	const char *hex = json_string_value(json_object_get(o, other));
	size_t n = hex ? strlen(hex) : 0;
	if (!n || !is_hex(hex))
		return NULL;
	char *bytes = xcalloc(1, n / 2 + 1);
	if (hex_decode(hex, n / 2, (uint8_t *) bytes) == 0 && strlen(bytes) == n / 2)
		return bytes;
	free(bytes);
	return NULL;
}

static int get_xattrs(const json_t *o, Entry *e)
{
	const char *name;
	json_t *value;
	json_t *map = json_object_get(o, "xattrs");
	if (!map)
		return 0;
	if (!json_is_object(map) || json_object_size(map) > XATTRS_MAX)
		return -EINVAL;
	json_object_foreach(map, name, value)
	{
		if (!json_is_string(value) || !*name || strlen(name) > 255 || !is_hex(json_string_value(value)))
			return -EINVAL;
		EntryXattr *x = array_append(e->xattrs, e->n_xattrs);
		x->name = xstrdup(name);
		x->value = xstrdup(json_string_value(value));
	}
	return 0;
}

static int get_numbers(const json_t *o, Entry *e)
{
	int64_t mode = 0, uid = 0, gid = 0, major = 0, minor = 0;
	if (get_number(o, "mode", 07777, &mode) < 0 || get_number(o, "size", INT64_MAX, &e->size) < 0 ||
		get_number(o, "mtime", INT64_MAX, &e->mtime) < 0 || get_number(o, "uid", UINT32_MAX - 1, &uid) < 0 ||
		get_number(o, "gid", UINT32_MAX - 1, &gid) < 0 || get_number(o, "major", UINT32_MAX, &major) < 0 ||
		get_number(o, "minor", UINT32_MAX, &minor) < 0)
		return -EINVAL;
	if (mode < 0 || uid < 0 || gid < 0 || major < 0 || minor < 0 || e->size < 0)
		return -EINVAL;
	e->mode = (mode_t) mode;
	e->uid = (uint32_t) uid;
	e->gid = (uint32_t) gid;
	e->major = (uint32_t) major;
	e->minor = (uint32_t) minor;
	return 0;
}

/* What each type has to have. */
static int check_entry(const Entry *e, const char *hash)
{
	switch (e->type) {
	case 'f':
		return hash && strlen(hash) == 64 && is_hex(hash) ? 0 : -EINVAL;
	case 'l':
		return e->target && *e->target && strlen(e->target) < PATH_MAX ? 0 : -EINVAL;
	case 'd':
	case 'c':
	case 'b':
	case 'p':
		return 0;
	default:
		return -EINVAL;
	}
}

static int fill_entry(const json_t *o, Entry *e)
{
	const char *type = json_string_value(json_object_get(o, "type")), *hash = json_string_value(json_object_get(o, "hash"));
	e->path = get_string(o, "path");
	e->target = get_string(o, "target");
	e->link = get_string(o, "link");
	if (!e->path || !type || strlen(type) != 1)
		return -EINVAL;
	e->type = type[0];
	if (!entry_path_valid(e->path) || (e->link && !entry_path_valid(e->link)) || get_numbers(o, e) < 0 || check_entry(e, hash) < 0 || get_xattrs(o, e) < 0)
		return -EINVAL;
	if (e->type == 'f')
		memcpy(e->hash, hash, sizeof(e->hash));
	return 0;
}

/*
 * Nearly all lines have only plain strings (without escapes) and numbers of known keys: these are read in place, in a fifth of
 * the time. Whatever is not so is left to the JSON reader, which also judges what is wrong with it.
 */
typedef struct Plain {
	const char *path, *hash, *target;
	size_t path_len, hash_len, target_len;
	int64_t numbers[5];
	char type;
} Plain;

static const char *const plain_numbers[] = { "mode", "size", "mtime", "uid", "gid" };

static const char *plain_string(const char *p, const char *end, const char **ret, size_t *ret_len)
{
	const char *start = p;
	while (p < end && *p != '"' && *p != '\\' && (unsigned char) *p >= 0x20 && (unsigned char) *p < 0x7f)
		p++;
	if (p == end || *p != '"')
		return NULL;
	*ret = start;
	*ret_len = (size_t) (p - start);
	return p + 1;
}

static const char *plain_number(const char *p, const char *end, int64_t *ret)
{
	const char *start = p;
	int64_t n = 0;
	while (p < end && *p >= '0' && *p <= '9' && p - start < 18)
		n = n * 10 + (*p++ - '0');
	if (p == start || (*start == '0' && p - start > 1))
		return NULL;
	*ret = n;
	return p;
}

/* A member's value; NULL: not plain, or the key came before. */
static const char *plain_value(const char *key, size_t n, const char *p, const char *end, Plain *ret)
{
	const struct {
		const char *name, **value;
		size_t *len;
	} strings[] = { { "path", &ret->path, &ret->path_len }, { "hash", &ret->hash, &ret->hash_len }, { "target", &ret->target, &ret->target_len } };
	const char *type;
	size_t len;
	for (size_t i = 0; i < ARRAY_SIZE(plain_numbers); i++)
		if (strlen(plain_numbers[i]) == n && memcmp(plain_numbers[i], key, n) == 0)
			return ret->numbers[i] >= 0 ? NULL : plain_number(p, end, &ret->numbers[i]);
	if (p == end || *p++ != '"')
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(strings); i++)
		if (strlen(strings[i].name) == n && memcmp(strings[i].name, key, n) == 0)
			return *strings[i].value ? NULL : plain_string(p, end, strings[i].value, strings[i].len);
	if (n != 4 || memcmp(key, "type", 4) != 0 || ret->type || !(p = plain_string(p, end, &type, &len)) || len != 1)
		return NULL;
	ret->type = *type;
	return p;
}

static bool read_plain(const char *p, const char *end, Plain *ret)
{
	*ret = (Plain) { .numbers = { -1, -1, -1, -1, -1 } };
	if (p == end || *p != '{')
		return false;
	do {
		const char *key;
		size_t n;
		if (++p == end || *p++ != '"' || !(p = plain_string(p, end, &key, &n)) || p == end || *p++ != ':' ||
			!(p = plain_value(key, n, p, end, ret)))
			return false;
	} while (p < end && *p == ',');
	return p + 1 == end && *p == '}' && ret->path && ret->type;
}

static int fill_plain(const Plain *l, Entry *e)
{
	const int64_t *n = l->numbers;
	e->path = xstrndup(l->path, l->path_len);
	e->target = l->target ? xstrndup(l->target, l->target_len) : NULL;
	e->type = l->type;
	e->size = n[1] > 0 ? n[1] : 0;
	e->mtime = n[2] > 0 ? n[2] : 0;
	e->mode = (mode_t) (n[0] > 0 ? n[0] : 0);
	e->uid = (uint32_t) (n[3] > 0 ? n[3] : 0);
	e->gid = (uint32_t) (n[4] > 0 ? n[4] : 0);
	if (n[0] > 07777 || n[3] >= UINT32_MAX || n[4] >= UINT32_MAX || !entry_path_valid(e->path))
		return -EINVAL;
	AUTO_FREE char *hash = l->hash ? xstrndup(l->hash, l->hash_len) : NULL;
	if (check_entry(e, hash) < 0)
		return -EINVAL;
	if (e->type == 'f')
		memcpy(e->hash, hash, sizeof(e->hash));
	return 0;
}

static int add_json(Entries *l, const char *line, size_t n, Err *err)
{
	json_error_t why;
	json_t *o = json_loadb(line, n, JSON_REJECT_DUPLICATES, &why);
	if (!json_is_object(o)) {
		json_decref(o);
		return err_set(err, -EINVAL, "entry %zu is not a JSON object: %s", l->n + 1, why.text);
	}
	int r = fill_entry(o, array_append(l->items, l->n));
	json_decref(o);
	return r;
}

static int add_line(Entries *l, const char *line, size_t n, Err *err)
{
	Plain plain;
	if (l->n >= LIMIT_CONTEXT_ENTRIES)
		return err_set(err, -EFBIG, "more than %d files", LIMIT_CONTEXT_ENTRIES);
	size_t before = l->n;
	int r = read_plain(line, line + n, &plain) ? fill_plain(&plain, array_append(l->items, l->n)) : add_json(l, line, n, err);
	if (r < 0 && l->n == before)
		return r;
	const Entry *e = &l->items[l->n - 1];
	if (r < 0)
		return err_set(err, r, "entry %zu ('%.200s') is not valid", l->n, e->path ? e->path : "");
	if (l->n > 1 && strcmp(l->items[l->n - 2].path, e->path) >= 0)
		return err_set(err, -EINVAL, "entry %zu ('%.200s') is out of order", l->n, e->path);
	return 0;
}

int entries_feed(Entries *l, const void *p, size_t n, Err *err)
{
	const char *at = p, *end = at + n;
	l->bytes += n;
	if (l->bytes > LIMIT_CONTEXT_MANIFEST)
		return err_set(err, -EFBIG, "the list of files is larger than %u bytes", LIMIT_CONTEXT_MANIFEST);
	while (at < end) {
		const char *nl = memchr(at, '\n', (size_t) (end - at));
		size_t piece = (size_t) ((nl ? nl : end) - at);
		int r = 0;
		if (l->partial.len + piece > LINE_MAX_BYTES)
			return err_set(err, -EINVAL, "entry %zu is longer than %u bytes", l->n + 1, LINE_MAX_BYTES);
		if (!nl || l->partial.len)
			buf_append(&l->partial, at, piece);
		if (!nl)
			return 0;
		r = l->partial.len ? add_line(l, l->partial.data, l->partial.len, err) : add_line(l, at, piece, err);
		if (r < 0)
			return r;
		buf_clear(&l->partial);
		at = nl + 1;
	}
	return 0;
}

int entries_end(Entries *l, Err *err)
{
	return l->partial.len ? err_set(err, -EINVAL, "the list of files is cut off") : 0;
}

int entries_parse(const void *p, size_t n, Entries *ret, Err *err)
{
	AUTO_ENTRIES l = { 0 };
	int r = entries_feed(&l, p, n, err);
	if (r < 0 || (r = entries_end(&l, err)) < 0)
		return r;
	*ret = l;
	l = (Entries) { 0 };
	return 0;
}

/* Writing. */

/* Lists are written and hashed several times in a build: no printf(3), and the JSON library for what needs escapes alone. */

static void put_number(Buf *b, const char *key, int64_t n)
{
	char text[24];
	char *p = text + sizeof(text);
	uint64_t left = n < 0 ? 0 - (uint64_t) n : (uint64_t) n;
	do
		*--p = (char) ('0' + left % 10);
	while ((left /= 10) != 0);
	if (n < 0)
		*--p = '-';
	buf_str(b, ",\"");
	buf_str(b, key);
	buf_str(b, "\":");
	buf_append(b, p, (size_t) (text + sizeof(text) - p));
}

static void put_plain(Buf *b, const char *key, const char *suffix, const char *value, size_t n)
{
	buf_str(b, ",\"");
	buf_str(b, key);
	buf_str(b, suffix);
	buf_str(b, "\":\"");
	buf_append(b, value, n);
	buf_char(b, '"');
}

static bool needs_escapes(const char *s)
{
	for (; *s; s++)
		if ((unsigned char) *s < 0x20 || *s == '"' || *s == '\\')
			return true;
	return false;
}

/* JSON is UTF-8, names of files are any bytes: what is not UTF-8 is written as "KEY_hex". */
static void put_string(Buf *b, const char *key, const char *value)
{
	size_t n = strlen(value);
	if (!str_is_utf8(value, n)) {
		AUTO_FREE char *hex = xmalloc(2 * n + 1);
		hex_encode(value, n, hex);
		put_plain(b, key, "_hex", hex, 2 * n);
	} else if (!needs_escapes(value)) {
		put_plain(b, key, "", value, n);
	} else {
		json_t *v = json_string(value);
		AUTO_FREE char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
		json_decref(v);
		buf_printf(b, ",\"%s\":%s", key, text);
	}
}

static void put_xattrs(Buf *b, const Entry *e)
{
	json_t *o = json_object();
	for (size_t i = 0; i < e->n_xattrs; i++)
		(void) json_object_set_new(o, e->xattrs[i].name, json_string(e->xattrs[i].value));
	AUTO_FREE char *text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(o);
	if (text)
		buf_printf(b, ",\"xattrs\":%s", text);
}

static void put_entry(Buf *b, const Entry *e, bool times)
{
	buf_str(b, "{\"type\":\"");
	buf_char(b, e->type);
	buf_char(b, '"');
	put_string(b, "path", e->path);
	put_number(b, "mode", e->mode);
	if (e->uid || e->gid) {
		put_number(b, "uid", e->uid);
		put_number(b, "gid", e->gid);
	}
	if (e->type == 'f') {
		put_number(b, "size", e->size);
		put_plain(b, "hash", "", e->hash, strlen(e->hash));
	}
	if (e->target)
		put_string(b, "target", e->target);
	if (e->link)
		put_string(b, "link", e->link);
	if (e->major || e->minor) {
		put_number(b, "major", e->major);
		put_number(b, "minor", e->minor);
	}
	if (e->n_xattrs)
		put_xattrs(b, e);
	if (times && e->mtime)
		put_number(b, "mtime", e->mtime);
	buf_str(b, "}\n");
}

void entries_write(const Entries *l, Buf *ret)
{
	for (size_t i = 0; i < l->n; i++)
		put_entry(ret, &l->items[i], true);
}

void entries_digest(const Entries *l, char hex[DIGEST_HEX_MAX])
{
	AUTO_BUF b = BUF_INIT;
	Sha256 sum;
	sha256_begin(&sum);
	for (size_t i = 0; i < l->n; i++) {
		put_entry(&b, &l->items[i], false);
		if (b.len > 8192 || i + 1 == l->n) {
			sha256_add(&sum, b.data, b.len);
			buf_clear(&b);
		}
	}
	sha256_end(&sum, hex);
}

bool entry_same(const Entry *a, const Entry *b)
{
	if (a->type != b->type || a->mode != b->mode || a->uid != b->uid || a->gid != b->gid || a->major != b->major ||
		a->minor != b->minor || a->n_xattrs != b->n_xattrs || !str_eq(a->hash, b->hash) || !str_eq(a->target, b->target) ||
		!str_eq(a->link, b->link))
		return false;
	for (size_t i = 0; i < a->n_xattrs; i++)
		if (!str_eq(a->xattrs[i].name, b->xattrs[i].name) || !str_eq(a->xattrs[i].value, b->xattrs[i].value))
			return false;
	return true;
}

/* Order. */

static int entry_order(const void *a, const void *b)
{
	return strcmp(((const Entry *) a)->path, ((const Entry *) b)->path);
}

void entries_sort(Entries *l)
{
	if (l->n)
		qsort(l->items, l->n, sizeof(*l->items), entry_order);
}

size_t entries_lower(const Entries *l, const char *path)
{
	size_t lo = 0, hi = l->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (strcmp(l->items[mid].path, path) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

Entry *entries_find(const Entries *l, const char *path)
{
	size_t i = entries_lower(l, path);
	return i < l->n && str_eq(l->items[i].path, path) ? &l->items[i] : NULL;
}
