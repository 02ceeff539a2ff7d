// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"

static char dir[] = "/tmp/stead-test-fs-XXXXXX";

static int setup(void **state)
{
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	return tree_remove(AT_FDCWD, dir);
}

static void atomic_write(void **state)
{
	AUTO_FREE char *path = xasprintf("%s/file", dir);
	AUTO_BUF b = BUF_INIT;
	struct stat st;
	assert_int_equal(file_write_atomic(AT_FDCWD, path, "one", 3, 0600, true), 0);
	assert_int_equal(file_write_atomic(AT_FDCWD, path, "three", 5, 0640, false), 0);
	assert_int_equal(file_read(AT_FDCWD, path, 100, &b), 0);
	assert_string_equal(buf_cstr(&b), "three");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	AUTO_BUF c = BUF_INIT;
	assert_int_equal(file_read(AT_FDCWD, path, 4, &c), -EFBIG);
}

/* Memory that was used before must not show through a buffer that was only reserved. */
static void an_empty_file_is_an_empty_string(void **state)
{
	AUTO_FREE char *path = xasprintf("%s/empty", dir);
	AUTO_BUF b = BUF_INIT;
	assert_int_equal(file_write(AT_FDCWD, path, "", 0, 0600), 0);
	char *used = xmalloc(32768);
	for (volatile char *c = used; c < used + 32768; c++)
		*c = 'x';
	free(used);
	assert_int_equal(file_read(AT_FDCWD, path, 100, &b), 0);
	assert_string_equal(buf_cstr(&b), "");
	AUTO_FREE char *text = buf_steal(&b);
	assert_string_equal(text, "");
}

static void special_files_are_seen(void **state)
{
	AUTO_FREE char *file = xasprintf("%s/regular", dir);
	AUTO_FREE char *pipe = xasprintf("%s/pipe", dir);
	assert_int_equal(file_write(AT_FDCWD, file, "x", 1, 0644), 0);
	assert_int_equal(mkfifo(pipe, 0600), 0);
	assert_false(file_is_special(AT_FDCWD, file));
	assert_true(file_is_special(AT_FDCWD, pipe));
	assert_false(file_is_special(AT_FDCWD, "/nowhere/at/all"));
}

static void remove_stays_inside(void **state)
{
	AUTO_FREE char *keep = xasprintf("%s/keep", dir);
	AUTO_FREE char *tree = xasprintf("%s/tree/a/b", dir);
	AUTO_FREE char *link = xasprintf("%s/tree/a/link", dir);
	AUTO_FREE char *top = xasprintf("%s/tree", dir);
	AUTO_FREE char *inner = xasprintf("%s/keep/file", dir);
	assert_int_equal(dir_make(keep, 0755), 0);
	assert_int_equal(file_write(AT_FDCWD, inner, "x", 1, 0644), 0);
	assert_int_equal(dir_make(tree, 0755), 0);
	assert_int_equal(symlink(keep, link), 0);
	assert_int_equal(tree_remove(AT_FDCWD, top), 0);
	assert_int_equal(access(top, F_OK), -1);
	assert_int_equal(access(inner, F_OK), 0);
	assert_int_equal(tree_remove(AT_FDCWD, top), 0);
}

static void root_holds(void **state)
{
	AUTO_FREE char *root = xasprintf("%s/root", dir);
	AUTO_FREE char *link = xasprintf("%s/root/out", dir);
	assert_int_equal(dir_make(root, 0755), 0);
	assert_int_equal(symlink("/etc", link), 0);
	AUTO_CLOSE int fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(open_in_root(fd, "out/passwd", O_RDONLY, 0), -ENOENT);
	assert_int_equal(open_in_root(fd, "../../../../etc/passwd", O_RDONLY, 0), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(atomic_write),
		cmocka_unit_test(special_files_are_seen),
		cmocka_unit_test(an_empty_file_is_an_empty_string),
		cmocka_unit_test(remove_stays_inside),
		cmocka_unit_test(root_holds),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
