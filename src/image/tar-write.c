// SPDX-License-Identifier: Apache-2.0
#include <limits.h>

#include "base/mem.h"
#include "base/str.h"
#include "image/tar.h"

size_t tar_padding(uint64_t size)
{
	return (size_t) ((TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK);
}

void tar_write_end(Buf *b)
{
	memset(buf_reserve(b, 2 * TAR_BLOCK), 0, 2 * TAR_BLOCK);
	buf_added(b, 2 * TAR_BLOCK);
}

/* "LENGTH KEY=VALUE\n" where LENGTH counts its own digits. */
static void pax_add(Buf *b, const char *key, const void *value, size_t n)
{
	size_t rest = 1 + strlen(key) + 1 + n + 1, len = rest + 1;
	for (size_t digits = 1, limit = 10; len >= limit; limit *= 10)
		len = rest + ++digits;
	buf_printf(b, "%zu %s=", len, key);
	buf_append(b, value, n);
	buf_char(b, '\n');
}

static void pax_add_str(Buf *b, const char *key, const char *value)
{
	pax_add(b, key, value, strlen(value));
}

static void pax_add_u64(Buf *b, const char *key, uint64_t v)
{
	char text[24];
	(void) snprintf(text, sizeof(text), "%llu", (unsigned long long) v);
	pax_add_str(b, key, text);
}

/* Octal of `width` bytes, the last a NUL; false (and zero written) if it does not fit. */
static bool octal(char *dst, size_t width, uint64_t v)
{
	bool fits = v < 1ULL << (3 * (width - 1));
	if (!fits)
		v = 0;
	dst[width - 1] = '\0';
	for (size_t i = width - 1; i-- > 0; v >>= 3)
		dst[i] = (char) ('0' + (v & 7));
	return fits;
}

static bool is_ascii(const char *s)
{
	for (; *s; s++)
		if ((unsigned char) *s >= 0x80)
			return false;
	return true;
}

/* Name into the name and prefix fields, split at a slash; false if it does not fit. */
static bool put_name(char *h, const char *path)
{
	size_t n = strlen(path);
	if (!is_ascii(path))
		return false;
	if (n <= 100) {
		memcpy(h, path, n);
		return true;
	}
	for (size_t cut = n - 1 < 155 ? n - 1 : 155; cut > 0 && n - cut - 1 <= 100; cut--) {
		if (path[cut] != '/' || cut + 1 == n)
			continue;
		memcpy(h + 345, path, cut);
		memcpy(h, path + cut + 1, n - cut - 1);
		return true;
	}
	return false;
}

static void finish_header(char *h, char type)
{
	unsigned sum = 0;
	h[156] = type;
	memcpy(h + 257, "ustar\0" "00", 8);
	memset(h + 148, ' ', 8);
	for (size_t i = 0; i < TAR_BLOCK; i++)
		sum += (unsigned char) h[i];
	(void) octal(h + 148, 7, sum);
}

static void write_pax(Buf *b, const Buf *pax)
{
	char h[TAR_BLOCK] = { 0 };
	static const char zero[TAR_BLOCK];
	(void) put_name(h, "PaxHeaders/entry");
	(void) octal(h + 100, 8, 0644);
	(void) octal(h + 108, 8, 0);
	(void) octal(h + 116, 8, 0);
	(void) octal(h + 124, 12, pax->len);
	(void) octal(h + 136, 12, 0);
	finish_header(h, 'x');
	buf_append(b, h, sizeof(h));
	buf_append(b, pax->data, pax->len);
	buf_append(b, zero, tar_padding(pax->len));
}

static void put_time(char *h, Buf *pax, const TarEntry *e)
{
	/* Whole, positive seconds fit the field. Nanoseconds before the epoch have a fraction that counts up. */
	if (e->mtime >= 0 && octal(h + 136, 12, (uint64_t) e->mtime) && e->mtime_ns == 0)
		return;
	int64_t s = e->mtime;
	uint32_t ns = e->mtime_ns;
	bool negative = s < 0;
	if (negative && ns) {
		s++;
		ns = 1000000000 - ns;
	}
	if (s >= 0 && !negative)
		(void) octal(h + 136, 12, (uint64_t) s);
	else
		(void) octal(h + 136, 12, 0);
	char text[48];
	uint64_t abs = s < 0 ? 0 - (uint64_t) s : (uint64_t) s;
	int n = snprintf(text, sizeof(text), "%s%llu", negative ? "-" : "", (unsigned long long) abs);
	if (ns) {
		n += snprintf(text + n, sizeof(text) - (size_t) n, ".%09u", ns);
		while (text[n - 1] == '0')
			n--;
	}
	pax_add(pax, "mtime", text, (size_t) n);
}

void tar_write_header(Buf *b, const TarEntry *e)
{
	static const char flags[] = { '0', '1', '2', '3', '4', '5', '6' };
	_Static_assert(ARRAY_SIZE(flags) == TAR_FIFO + 1, "one flag for each TarType");
	AUTO_BUF pax = BUF_INIT;
	char h[TAR_BLOCK] = { 0 };
	if (!put_name(h, e->path)) {
		pax_add_str(&pax, "path", e->path);
		memset(h + 345, 0, 155);
		size_t n = strlen(e->path);
		memcpy(h, e->path, n < 100 ? n : 100);
	}
	if (e->link) {
		size_t n = strlen(e->link);
		if (n > 100 || !is_ascii(e->link))
			pax_add_str(&pax, "linkpath", e->link);
		memcpy(h + 157, e->link, n < 100 ? n : 100);
	}
	(void) octal(h + 100, 8, e->mode & 07777);
	if (!octal(h + 108, 8, e->uid))
		pax_add_u64(&pax, "uid", e->uid);
	if (!octal(h + 116, 8, e->gid))
		pax_add_u64(&pax, "gid", e->gid);
	uint64_t size = e->type == TAR_FILE ? e->size : 0;
	if (!octal(h + 124, 12, size))
		pax_add_u64(&pax, "size", size);
	put_time(h, &pax, e);
	(void) octal(h + 329, 8, e->major);
	(void) octal(h + 337, 8, e->minor);
	for (size_t i = 0; i < e->n_xattrs; i++) {
		AUTO_FREE char *key = xasprintf("SCHILY.xattr.%s", e->xattrs[i].name);
		pax_add(&pax, key, e->xattrs[i].value, e->xattrs[i].len);
	}
	if (pax.len)
		write_pax(b, &pax);
	finish_header(h, flags[e->type]);
	buf_append(b, h, sizeof(h));
}
