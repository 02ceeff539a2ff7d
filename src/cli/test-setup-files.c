// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/setup-files.h"

/* A program, as far as its head tells. */
static const char amd64[] = "\x7f"
			    "ELF\2\1\1\0\0\0\0\0\0\0\0\0\3\0\x3e\0\0\0\0\0";

static char *make_programs(const char *except)
{
	char *dir = xstrdup("/tmp/stead-setup-test.XXXXXX");
	assert_non_null(mkdtemp(dir));
	AUTO_FREE char *bin = xasprintf("%s/bin", dir), *libexec = xasprintf("%s/libexec/stead", dir);
	assert_int_equal(dir_make(bin, 0755), 0);
	assert_int_equal(dir_make(libexec, 0755), 0);
	AUTO_FREE char *stead = xasprintf("%s/stead", bin);
	assert_int_equal(file_write(AT_FDCWD, stead, amd64, sizeof(amd64), 0755), 0);
	for (size_t i = 0; setup_helpers[i]; i++) {
		AUTO_FREE char *helper = xasprintf("%s/%s", libexec, setup_helpers[i]);
		if (!str_eq(setup_helpers[i], except))
			assert_int_equal(file_write(AT_FDCWD, helper, amd64, sizeof(amd64), 0755), 0);
	}
	return dir;
}

static void remove_programs(char *dir)
{
	assert_int_equal(tree_remove(AT_FDCWD, dir), 0);
	free(dir);
}

static unsigned octal(const char *p, size_t n)
{
	unsigned value = 0;
	for (size_t i = 0; i < n && p[i]; i++)
		value = value * 8 + (unsigned) (p[i] - '0');
	return value;
}

/* The content of a file, checked on the way: sums, sizes, the end. */
static char *file_of(const Buf *archive, const char *name)
{
	char *found = NULL;
	size_t at = 0;
	assert_int_equal(archive->len % 512, 0);
	while (archive->data[at]) {
		const char *h = archive->data + at;
		unsigned sum = 8 * ' ', size = octal(h + 124, 12);
		for (size_t i = 0; i < 512; i++)
			sum += i < 148 || i >= 156 ? (unsigned char) h[i] : 0;
		assert_int_equal(octal(h + 148, 8), sum);
		assert_memory_equal(h + 257, "ustar\00000", 8);
		if (str_eq(h, name))
			found = xstrndup(h + 512, size);
		at += 512 + (size + 511) / 512 * 512;
		assert_true(at + 1024 <= archive->len);
	}
	assert_int_equal(at + 1024, archive->len);
	return found;
}

static void same_as(const char *file, const char *text)
{
	AUTO_FREE char *path = xasprintf("%s/%s", STEAD_SOURCE_ROOT, file);
	AUTO_BUF content = BUF_INIT;
	assert_int_equal(file_read(AT_FDCWD, path, 1 << 20, &content), 0);
	assert_string_equal(text, buf_cstr(&content));
}

static void archive(void **state)
{
	char *dir = make_programs(NULL);
	AUTO_BUF b = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	assert_int_equal(setup_archive(dir, "amd64", "pi", &b, &err), 0);
	AUTO_FREE char *user = file_of(&b, "user"), *prefix = file_of(&b, "prefix"), *packages = file_of(&b, "packages"), *script = file_of(&b, "setup"),
		       *unit = file_of(&b, "new/stead.service"), *stead = file_of(&b, "new/bin/stead"), *worker = file_of(&b, "new/libexec/stead-worker"), *man = file_of(&b, "new/man/stead.1"),
		       *completion = file_of(&b, "new/completions/stead");
	assert_string_equal(user, "pi");
	assert_true(str_starts(STEAD_LIBEXECDIR, prefix) && str_eq(STEAD_LIBEXECDIR + strlen(prefix), "/libexec/stead"));
	assert_non_null(strstr(packages, "\nnginx-light|nginx\n"));
	assert_true(str_starts(script, "#!/bin/sh\n"));
	assert_non_null(strstr(script, "apt-get install -y"));
	assert_non_null(strstr(unit, "/bin/stead daemon\n"));
	assert_null(strchr(unit, '@'));
	assert_memory_equal(stead, amd64, 4);
	assert_non_null(worker);
	same_as("data/stead.1", man);
	same_as("data/stead.bash", completion);
	remove_programs(dir);
}

static void wrong_programs(void **state)
{
	char *dir = make_programs("stead-names");
	AUTO_BUF b = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	assert_int_equal(setup_archive(dir, "amd64", "pi", &b, &err), -ENOENT);
	assert_non_null(strstr(err_text(&err), "no program 'stead-names'"));
	assert_int_equal(setup_archive(dir, "arm64", "pi", &b, &err), -ENOEXEC);
	assert_non_null(strstr(err_text(&err), "is for amd64, and the machine is arm64"));
	AUTO_FREE char *stead = xasprintf("%s/bin/stead", dir);
	assert_int_equal(file_write(AT_FDCWD, stead, "#!/bin/sh\nexec true\n", 20, 0755), 0);
	assert_int_equal(setup_archive(dir, "amd64", "pi", &b, &err), -ENOEXEC);
	assert_non_null(strstr(err_text(&err), "is no program for Linux"));
	remove_programs(dir);
}

/* Every program that is built for STEAD_LIBEXECDIR travels: the names of the build's files and of the list are the same. */
static void all_helpers(void **state)
{
	static const char path[] = STEAD_SOURCE_ROOT "/src", letters[] = "abcdefghijklmnopqrstuvwxyz-";
	AUTO_STRV char **found = NULL;
	DIR *d = opendir(path);
	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));) {
		AUTO_FREE char *file = xasprintf("%s/%s/meson.build", path, e->d_name);
		AUTO_BUF text = BUF_INIT;
		if (file_read(AT_FDCWD, file, 1 << 20, &text) < 0)
			continue;
		for (const char *at = buf_cstr(&text); (at = strstr(at, "'stead-")); at++) {
			AUTO_FREE char *name = xstrndup(at + 1, strspn(at + 1, letters));
			if (at[1 + strlen(name)] == '\'' && !strv_has(found, name))
				strv_add(&found, name);
		}
	}
	(void) closedir(d);
	for (char **name = found; name && *name; name++)
		if (!strv_has((char *const *) setup_helpers, *name))
			fail_msg("%s is not in setup_helpers", *name);
	assert_int_equal(strv_len(found), strv_len((char *const *) setup_helpers));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(archive), cmocka_unit_test(wrong_programs), cmocka_unit_test(all_helpers) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
