// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/socket.h>
#include <cmocka.h>
#include <jansson.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/context.h"

static char dir[96], cache[96], top[64];

static int enter(void **state)
{
	(void) snprintf(top, sizeof(top), "/tmp/stead-test-context.XXXXXX");
	assert_non_null(mkdtemp(top));
	(void) snprintf(dir, sizeof(dir), "%s/ctx", top);
	(void) snprintf(cache, sizeof(cache), "%s/cache", top);
	assert_int_equal(dir_make(dir, 0755), 0);
	return 0;
}

static int leave(void **state)
{
	return tree_remove(AT_FDCWD, top);
}

/* Long ago, so that its times are believed. */
static void put(const char *name, const char *text)
{
	const struct timespec past[2] = { { .tv_sec = 1000000000 }, { .tv_sec = 1000000000 } };
	AUTO_FREE char *path = xasprintf("%s/%s", dir, name);
	AUTO_FREE char *parent = xstrndup(path, (size_t) (strrchr(path, '/') - path));
	assert_int_equal(dir_make(parent, 0755), 0);
	assert_int_equal(file_write(AT_FDCWD, path, text, strlen(text), 0644), 0);
	assert_int_equal(utimensat(AT_FDCWD, path, past, 0), 0);
}

static Ignore *ignore(const char *text)
{
	Ignore *i = NULL;
	AUTO_ERR err = ERR_INIT;
	if (ignore_parse(".dockerignore", text, strlen(text), &i, &err) < 0)
		fail_msg("%s", err_text(&err));
	return i;
}

static Context scan_with(const char *patterns, const char *with_cache)
{
	Context c = CONTEXT_INIT;
	AUTO_ERR err = ERR_INIT;
	Ignore *i __attribute__((cleanup(ignore_freep))) = patterns ? ignore(patterns) : NULL;
	if (context_scan(dir, i, with_cache, &c, &err) < 0)
		fail_msg("%s", err_text(&err));
	return c;
}

static char *paths(const Context *c)
{
	AUTO_BUF b = BUF_INIT;
	for (size_t i = 0; i < c->n; i++)
		buf_printf(&b, "%s%s:%c", i ? " " : "", c->files[i].path, c->files[i].type);
	return buf_steal(&b);
}

static void order_and_kinds(void **state)
{
	put("a/b", "1");
	put("a-b", "2");
	put("a.txt", "3");
	AUTO_FREE char *link = xasprintf("%s/link", dir);
	AUTO_FREE char *fifo = xasprintf("%s/pipe", dir);
	AUTO_FREE char *sock = xasprintf("%s/sock", dir);
	assert_int_equal(symlink("/etc/passwd", link), 0);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	(void) snprintf(a.sun_path, sizeof(a.sun_path), "%.100s", sock);
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *) &a, sizeof(a)), 0);
	Context c = scan_with(NULL, NULL);
	AUTO_FREE char *got = paths(&c);
	assert_string_equal(got, "a:d a-b:f a.txt:f a/b:f link:l"); /* as strcmp(3) has it: '-' and '.' are before '/' */
	assert_string_equal(c.files[4].target, "/etc/passwd");
	assert_int_equal(strv_len(c.warnings), 1);
	assert_non_null(strstr(c.warnings[0], "pipe is a pipe"));
	assert_non_null(strstr(buf_cstr(&c.manifest), "{\"path\":\"a/b\",\"type\":\"f\",\"mode\":420,\"size\":1,\"hash\":"
		"\"6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b\",\"mtime\":1000000000}\n"));
	context_done(&c);
}

static void names_are_json(void **state)
{
	put("q\"b\\\n\x01\xc3\xa9", "");
	Context c = scan_with(NULL, NULL);
	json_t *o = json_loadb(c.manifest.data, c.manifest.len, JSON_DISABLE_EOF_CHECK, NULL);
	assert_string_equal(json_string_value(json_object_get(o, "path")), "q\"b\\\n\x01\xc3\xa9");
	json_decref(o);
	context_done(&c);
	put("bad\xff", "");
	AUTO_ERR err = ERR_INIT;
	assert_true(context_scan(dir, NULL, NULL, &c, &err) < 0);
	assert_non_null(strstr(err_text(&err), "not UTF-8"));
}

static void hard_links(void **state)
{
	put("b", "same");
	put("other", "same");
	AUTO_FREE char *b = xasprintf("%s/b", dir), *a = xasprintf("%s/a", dir), *c2 = xasprintf("%s/c", dir), *away = xasprintf("%s/away", top);
	assert_int_equal(link(b, a), 0);
	assert_int_equal(link(b, c2), 0);
	AUTO_FREE char *other = xasprintf("%s/other", dir);
	assert_int_equal(link(other, away), 0);
	Context c = scan_with(NULL, NULL);
	assert_null(c.files[0].link);
	assert_string_equal(c.files[1].link, "a");
	assert_string_equal(c.files[2].link, "a");
	assert_null(c.files[3].link); /* its other name is not in the context */
	assert_non_null(strstr(buf_cstr(&c.manifest), "\"link\":\"a\""));
	context_done(&c);
	c = scan_with("a\n", NULL); /* nor is what is left out */
	assert_string_equal(c.files[0].path, "b");
	assert_null(c.files[0].link);
	assert_string_equal(c.files[1].link, "b");
	context_done(&c);
}

static void ignored(void **state)
{
	put("keep", "");
	put("node_modules/x/y", "");
	put("dist/a", "");
	put("dist/sub/b", "");
	Context c = scan_with("node_modules\ndist\n!dist/sub/b\n", NULL);
	AUTO_FREE char *got = paths(&c);
	assert_string_equal(got, "dist:d dist/sub:d dist/sub/b:f keep:f");
	context_done(&c);
}

static void hashes_once(void **state)
{
	put("a", "one");
	put("b/c", "two");
	/* The inode's own time cannot be set back: it is believed once it lies some ticks in the past. */
	(void) usleep(60000);
	Context first = scan_with(NULL, cache), second = scan_with(NULL, cache);
	assert_int_equal(first.hashed, 2);
	assert_int_equal(second.hashed, 0);
	assert_string_equal(first.hash, second.hash);
	context_done(&first);
	context_done(&second);
	put("b/c", "TWO"); /* same size, same mtime: the inode's time tells */
	Context third = scan_with(NULL, cache);
	assert_int_equal(third.hashed, 1);
	assert_string_not_equal(third.hash, second.hash);
	context_done(&third);
}

/* With what is known, a context has the same hash as without; whether a manifest was made for it is told by its length. */
static void hash_is(bool known)
{
	(void) usleep(60000); /* or what was done just now would not be believed */
	Context plain = scan_with(NULL, NULL), c = scan_with(NULL, cache);
	assert_string_equal(c.hash, plain.hash);
	assert_int_equal(c.manifest.len, known ? 0 : plain.manifest.len);
	assert_string_equal(buf_cstr(context_manifest(&c)), buf_cstr(&plain.manifest));
	context_done(&c);
	context_done(&plain);
}

static void unchanged(void **state)
{
	AUTO_FREE char *a = xasprintf("%s/a", dir), *sub = xasprintf("%s/sub", dir), *link = xasprintf("%s/link", dir), *moved = xasprintf("%s/moved", dir);
	const struct timespec past[2] = { { .tv_sec = 900000000 }, { .tv_sec = 900000000 } };
	put("a", "one");
	put("sub/b", "two");
	assert_int_equal(symlink("a", link), 0);
	hash_is(false);
	hash_is(true);
	hash_is(true);
	assert_int_equal(chmod(a, 0600), 0);
	hash_is(false);
	hash_is(true);
	assert_int_equal(utimensat(AT_FDCWD, sub, past, 0), 0);
	hash_is(false);
	hash_is(true);
	assert_int_equal(unlink(link), 0);
	hash_is(false);
	assert_int_equal(symlink("sub", link), 0);
	hash_is(false);
	hash_is(true);
	assert_int_equal(rename(sub, moved), 0);
	hash_is(false);
	put("z", "the last");
	hash_is(false);
	hash_is(true);
	assert_int_equal(truncate(cache, 300), 0);
	hash_is(false);
	hash_is(true);
}

static void damaged_cache(void **state)
{
	static const char junk[] = "steadcx1\0\0\0\0\0\0\0\x7f garbage that is no record at all, but long enough to look like one, perhaps; "
				   "................................................................................";
	put("a", "one");
	assert_int_equal(file_write(AT_FDCWD, cache, junk, sizeof(junk), 0600), 0);
	Context c = scan_with(NULL, cache);
	assert_int_equal(c.hashed, 1);
	context_done(&c);
	for (size_t n = 0; n < 120; n += 7) {
		AUTO_BUF b = BUF_INIT;
		(void) usleep(1000);
		Context whole = scan_with(NULL, cache);
		context_done(&whole);
		assert_int_equal(file_read(AT_FDCWD, cache, 4096, &b), 0);
		assert_int_equal(file_write(AT_FDCWD, cache, b.data, b.len < n ? b.len : n, 0600), 0);
		Context cut = scan_with(NULL, cache);
		assert_string_equal(cut.files[0].hash, "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed");
		context_done(&cut);
	}
}

static void changed_meanwhile(void **state)
{
	AUTO_ERR err = ERR_INIT;
	put("a", "one");
	Context c = scan_with(NULL, NULL);
	AUTO_CLOSE int fd = context_open(&c, 0, &err);
	assert_true(fd >= 0);
	put("a", "other");
	assert_int_equal(context_open(&c, 0, &err), -EIO);
	assert_non_null(strstr(err_text(&err), "a has changed since the build began"));
	context_done(&c);
}

static void no_directory(void **state)
{
	AUTO_ERR err = ERR_INIT;
	Context c = CONTEXT_INIT;
	assert_int_equal(context_scan("/does/not/exist", NULL, NULL, &c, &err), -ENOENT);
	assert_non_null(strstr(err_text(&err), "/does/not/exist"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(order_and_kinds), TEST(names_are_json), TEST(hard_links), TEST(ignored), TEST(hashes_once), TEST(unchanged), TEST(damaged_cache), TEST(changed_meanwhile), TEST(no_directory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
