// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/xattr.h>
#include <cmocka.h>

#include "build/view.h"
#include "image/testing.h"

/* a (below), b, c: what is hidden, replaced, emptied. */

static void add(const char *layer, const char *name, const char *text)
{
	AUTO_FREE char *path = xasprintf("%s/%s/%s", scratch, layer, name);
	AUTO_FREE char *dir = xstrndup(path, (size_t) (strrchr(path, '/') - path));
	assert_int_equal(dir_make(dir, 0755), 0);
	assert_int_equal(file_write(AT_FDCWD, path, text, strlen(text), 0644), 0);
}

static void add_whiteout(const char *layer, const char *name)
{
	AUTO_FREE char *path = xasprintf("%s/%s/%s", scratch, layer, name);
	assert_int_equal(mknod(path, S_IFCHR, 0), 0);
}

static void add_link(const char *layer, const char *name, const char *target)
{
	AUTO_FREE char *path = xasprintf("%s/%s/%s", scratch, layer, name);
	assert_int_equal(symlink(target, path), 0);
}

static int setup(void **state)
{
	if (scratch_setup(state) < 0)
		return -1;
	add("a", "d/one", "1");
	add("a", "d/two", "2");
	add("a", "gone/x", "x");
	add("a", "opaque/old", "o");
	add("a", "file", "f");
	add("a", "dir-then-file/x", "x");
	add("a", "back/again", "old");
	add("b", "d/two", "2b");
	add("b", "d/three", "3");
	add_whiteout("b", "gone");
	add_whiteout("b", "d/one");
	add_whiteout("b", "back");
	add("b", "opaque/new", "n");
	add("b", "dir-then-file", "f");
	AUTO_FREE char *opaque = scratch_path("b/opaque");
	if (setxattr(opaque, "trusted.overlay.opaque", "y", 1, 0) < 0)
		return -1;
	add("c", "file/inside", "i"); /* a directory takes the place of a file */
	add("c", "back/new", "new");
	add("c", "opaque/top", "t");
	add_link("c", "abs", "/d");
	add_link("c", "out", "../../../../d/two");
	add_link("c", "d-link", "abs/three");
	add_link("c", "loop", "loop");
	add_link("c", "nowhere", "/not/../there/x");
	return 0;
}

static void open_layers(View *v)
{
	static const char *const names[] = { "a", "b", "c" };
	for (size_t i = 0; i < 3; i++) {
		AUTO_FREE char *path = scratch_path(names[i]);
		int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		assert_true(fd >= 0);
		view_add(v, fd);
	}
}

static void what_is_seen(void **state)
{
	static const struct {
		const char *path, *text; /* NULL: it is not there */
	} cases[] = {
		{ "d/one", NULL }, { "d/two", "2b" }, { "d/three", "3" }, { "gone", NULL }, { "gone/x", NULL }, { "opaque/old", NULL },
		{ "opaque/new", "n" }, { "opaque/top", "t" }, { "file/inside", "i" }, { "dir-then-file", "f" }, { "dir-then-file/x", NULL },
		{ "back/again", NULL }, { "back/new", "new" }, { "abs/three", "3" }, { "out", "2b" }, { "d-link", "3" }, { "nowhere", NULL },
		{ "../../d/./two", "2b" }, { "/d//two", "2b" }, { "loop", NULL },
	};
	AUTO_VIEW v = { 0 };
	(void) state;
	open_layers(&v);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_BUF b = BUF_INIT;
		int r = view_read(&v, cases[i].path, 1000, &b);
		if (cases[i].text ? r < 0 || !str_eq(buf_cstr(&b), cases[i].text) : r >= 0)
			fail_msg("%s: %d '%s'", cases[i].path, r, buf_cstr(&b));
	}
}

static void paths_are_resolved(void **state)
{
	static const char *const cases[][2] = {
		{ "abs", "d" }, { "abs/new/deep", "d/new/deep" }, { "out", "d/two" }, { "nowhere", "there/x" }, { "..", "" }, { "/", "" }, { "x/../y", "y" },
	};
	AUTO_VIEW v = { 0 };
	AUTO_ERR err = ERR_INIT;
	char *got;
	(void) state;
	open_layers(&v);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(view_resolve(&v, cases[i][0], true, &got, NULL), 0);
		assert_string_equal(got, cases[i][1]);
		free(got);
	}
	assert_int_equal(view_resolve(&v, "abs/d-link", false, &got, NULL), 0);
	assert_string_equal(got, "d/d-link");
	free(got);
	assert_int_equal(view_resolve(&v, "loop/x", true, &got, &err), -ELOOP);
	static const char *const clean[][3] = { { "/w", "a", "w/a" }, { "/w", "/a", "a" }, { "w", "../../x", "x" }, { NULL, "a//b/./c/..", "a/b" }, { "/", ".", "" } };
	for (size_t i = 0; i < ARRAY_SIZE(clean); i++) {
		AUTO_FREE char *s = path_in_root(clean[i][0], clean[i][1]);
		assert_string_equal(s, clean[i][2]);
	}
}

static int collect(void *user, const char *path, int dirfd, const char *name, const struct stat *st, Err *err)
{
	(void) dirfd;
	(void) name;
	(void) err;
	buf_printf(user, "%s%s ", path, S_ISDIR(st->st_mode) ? "/" : "");
	return 0;
}

static void a_walk_sees_the_same(void **state)
{
	AUTO_VIEW v = { 0 };
	AUTO_BUF all = BUF_INIT;
	AUTO_BUF one = BUF_INIT;
	(void) state;
	open_layers(&v);
	assert_int_equal(view_walk(&v, "", collect, &all, NULL), 0);
	assert_string_equal(all.data,
		"abs back/ back/new d/ d/three d/two d-link dir-then-file file/ file/inside loop nowhere opaque/ opaque/new opaque/top out ");
	assert_int_equal(view_walk(&v, "opaque", collect, &one, NULL), 0);
	assert_string_equal(one.data, "new top ");
	buf_clear(&one);
	assert_int_equal(view_list(&v, "", collect, &one, NULL), 0);
	assert_null(strstr(one.data, "d/three"));
	assert_non_null(strstr(one.data, "d/ "));
	buf_clear(&one);
	assert_int_equal(view_walk(&v, "gone", collect, &one, NULL), 0);
	assert_int_equal(one.len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_seen), cmocka_unit_test(paths_are_resolved), cmocka_unit_test(a_walk_sees_the_same),
	};
	int skipped = need_root();
	return skipped ? skipped : cmocka_run_group_tests(tests, setup, scratch_teardown);
}
