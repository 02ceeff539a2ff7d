// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <cmocka.h>

#include "image/testing.h"
#include "image/unpack.h"

/* scratch/root is unpacked into; scratch/secret and scratch/outside/ must never change. */
static void fresh(void)
{
	AUTO_FREE char *root = scratch_path("root");
	AUTO_FREE char *secret = scratch_path("secret");
	AUTO_FREE char *outside = scratch_path("outside");
	assert_int_equal(tree_remove(AT_FDCWD, root), 0);
	assert_int_equal(tree_remove(AT_FDCWD, outside), 0);
	assert_int_equal(mkdir(root, 0755), 0);
	assert_int_equal(mkdir(outside, 0700), 0);
	assert_int_equal(file_write(AT_FDCWD, secret, "secret", 6, 0600), 0);
}

static void check_untouched(const char *what)
{
	AUTO_FREE char *secret = scratch_path("secret");
	AUTO_FREE char *outside = scratch_path("outside");
	AUTO_FREE char *evil = scratch_path("evil");
	AUTO_FREE char *text = read_text(secret);
	struct stat st;
	char value;
	if (!str_eq(text, "secret") || access(evil, F_OK) == 0)
		fail_msg("%s: wrote outside", what);
	assert_int_equal(stat(secret, &st), 0);
	assert_int_equal(st.st_nlink, 1);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(stat(outside, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(st.st_nlink, 2);
	assert_true(lgetxattr(outside, "trusted.overlay.opaque", &value, 1) < 0);
	/* rmdir(2) works on an empty directory only. */
	assert_int_equal(rmdir(outside), 0);
}

static int unpack(Buf *b, RecipeWriter *recipe, UnpackResult *result, Err *err)
{
	AUTO_FREE char *root = scratch_path("root");
	AUTO_CLOSE int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	tar_write_end(b);
	AUTO_STREAM s = stream_memory(b->data, b->len);
	return unpack_layer(s, fd, recipe, result, err);
}

static struct stat stat_in(const char *name)
{
	AUTO_FREE char *path = xasprintf("%s/root/%s", scratch, name);
	struct stat st;
	if (lstat(path, &st) < 0)
		fail_msg("%s: %s", path, strerror(errno));
	return st;
}

static char *text_in(const char *name)
{
	AUTO_FREE char *path = xasprintf("%s/root/%s", scratch, name);
	return read_text(path);
}

static bool opaque_in(const char *name)
{
	AUTO_FREE char *path = xasprintf("%s/root/%s", scratch, name);
	char value = 0;
	return lgetxattr(path, "trusted.overlay.opaque", &value, 1) == 1 && value == 'y';
}

/* Escapes: a short program of entries, and a word of the error. */
typedef struct Escape {
	const char *what;
	struct {
		char type; /* f file, d directory, s symlink, h hard link */
		const char *path, *link;
	} entries[4];
	const char *error; /* NULL: taken, harmless */
} Escape;

static void escapes(void **state)
{
	static const Escape cases[] = {
		{ "dotdot", { { 'f', "../evil", NULL } }, "'..'" },
		{ "dotdot inside", { { 'd', "a", NULL }, { 'f', "a/../../evil", NULL } }, "'..'" },
		{ "dotdot directory", { { 'd', "..", NULL } }, "'..'" },
		{ "absolute", { { 'f', "/tmp/evil", NULL } }, "absolute" },
		{ "absolute doubled", { { 'f', "//evil", NULL } }, "absolute" },
		{ "through absolute symlink", { { 's', "x", "/tmp" }, { 'f', "x/evil", NULL } }, "leads out" },
		{ "through relative symlink", { { 's', "x", ".." }, { 'f', "x/evil", NULL } }, "leads out" },
		{ "through two symlinks", { { 's', "x", "." }, { 's', "y", "x/.." }, { 'f', "y/evil", NULL } }, "leads out" },
		{ "through magic link", { { 's', "x", "/proc/self/root" }, { 'f', "x/tmp/evil", NULL } }, "leads out" },
		{ "deep through symlink", { { 's', "x", "../outside" }, { 'f', "x/a/b/evil", NULL } }, "leads out" },
		{ "directory below symlink", { { 's', "x", "../outside" }, { 'd', "x/new", NULL } }, "leads out" },
		{ "opaque below symlink", { { 's', "x", "../outside" }, { 'f', "x/.wh..wh..opq", NULL } }, "leads out" },
		{ "whiteout below symlink", { { 's', "x", ".." }, { 'f', "x/.wh.secret", NULL } }, "leads out" },
		{ "loop", { { 's', "a", "b" }, { 's', "b", "a" }, { 'f', "a/f", NULL } }, "loop" },
		{ "dangling parent", { { 's', "a", "nowhere" }, { 'f', "a/f", NULL } }, "nothing" },
		{ "file as parent", { { 'f', "a", NULL }, { 'f', "a/f", NULL } }, "not a directory" },
		{ "hard link dotdot", { { 'h', "h", "../secret" } }, "'..'" },
		{ "hard link absolute", { { 'h', "h", "/etc/passwd" } }, "absolute" },
		{ "hard link through symlink", { { 's', "x", ".." }, { 'h', "h", "x/secret" } }, "leads out" },
		{ "hard link to nothing", { { 'h', "h", "nowhere" } }, "not in this layer" },
		{ "hard link to the root", { { 'h', "h", "." } }, "not in this layer" },
		{ "hard link to a directory", { { 'd', "d", NULL }, { 'h', "h", "d" } }, "directory" },
		{ "root as file", { { 'f', "./.", NULL } }, "root" },
		{ "root as symlink", { { 's', ".", "/tmp" } }, "root" },
		{ "whiteout of dotdot", { { 'f', "a/.wh...", NULL } }, "whiteout" },
		{ "whiteout of dot", { { 'f', "a/.wh..", NULL } }, "whiteout" },
		{ "whiteout of nothing", { { 'f', "a/.wh.", NULL } }, "whiteout" },
		{ "file over symlink", { { 's', "f", "../secret" }, { 'f', "f", NULL } }, NULL },
		{ "file over hard link to symlink", { { 's', "s", "../secret" }, { 'h', "h", "s" }, { 'f', "h", NULL } }, NULL },
		{ "directory over symlink", { { 's', "d", "../outside" }, { 'd', "d", NULL } }, NULL },
		{ "directory over symlink, then in it", { { 's', "d", "../outside" }, { 'd', "d", NULL }, { 'f', "d/evil", NULL } }, NULL },
		{ "slash alone", { { 'd', "/", NULL } }, NULL },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_BUF b = BUF_INIT;
		AUTO_ERR err = ERR_INIT;
		UnpackResult result;
		fresh();
		for (size_t k = 0; k < ARRAY_SIZE(cases[i].entries) && cases[i].entries[k].path; k++) {
			const char *path = cases[i].entries[k].path, *link = cases[i].entries[k].link;
			switch (cases[i].entries[k].type) {
			case 'f':
				put_file(&b, path, "evil");
				break;
			case 'd':
				put_dir(&b, path, 0777);
				break;
			case 's':
				put_symlink(&b, path, link);
				break;
			default:
				put_hardlink(&b, path, link);
			}
		}
		int r = unpack(&b, NULL, &result, &err);
		if (cases[i].error && (r >= 0 || !strstr(err_text(&err), cases[i].error)))
			fail_msg("%s: %d, %s", cases[i].what, r, err_text(&err));
		if (!cases[i].error && r < 0)
			fail_msg("%s: %s", cases[i].what, err_text(&err));
		check_untouched(cases[i].what);
	}
}

static void too_deep_or_long(void **state)
{
	AUTO_BUF path = BUF_INIT;
	AUTO_BUF b = BUF_INIT;
	AUTO_BUF c = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	UnpackResult result;
	char name[301];
	for (int i = 0; i < 300; i++)
		buf_str(&path, "d/");
	fresh();
	put_dir(&b, path.data, 0755);
	assert_int_equal(unpack(&b, NULL, &result, &err), -EINVAL);
	memset(name, 'n', 300);
	name[300] = '\0';
	put_file(&c, name, "");
	assert_int_equal(unpack(&c, NULL, &result, &err), -ENAMETOOLONG);
}

static void attributes(void **state)
{
	AUTO_BUF b = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	UnpackResult result;
	/* cap_net_bind_service=ep, VFS_CAP_REVISION_2 */
	char cap[20] = "\1\0\0\2\0\4\0\0", cap_name[] = "security.capability", user_name[] = "user.note", label[] = "security.selinux";
	TarXattr x[] = { { cap_name, cap, 20 }, { label, cap, 4 }, { user_name, cap, 1 } };
	TarEntry file = { .type = TAR_FILE, .path = (char *) "bin/f", .mode = 06711, .uid = 12, .gid = 34, .mtime = -100, .mtime_ns = 5,
		.xattrs = x, .n_xattrs = 3 };
	TarEntry fifo = { .type = TAR_FIFO, .path = (char *) "fifo", .mode = 0622, .uid = 1 };
	TarEntry dev = { .type = TAR_BLOCKDEV, .path = (char *) "dev", .mode = 0660, .major = 7, .minor = 300 };
	TarEntry link = { .type = TAR_SYMLINK, .path = (char *) "link", .link = (char *) "/etc/passwd", .uid = 5, .gid = 6, .mtime = 77 };
	fresh();
	put_dir(&b, "./", 01700);
	put_dir(&b, "./bin/", 02755);
	tar_write_header(&b, &file);
	put_hardlink(&b, "same", "./bin/f");
	tar_write_header(&b, &fifo);
	tar_write_header(&b, &dev);
	tar_write_header(&b, &link);
	put_file(&b, "made/for/it", "x");
	if (unpack(&b, NULL, &result, &err) < 0)
		fail_msg("%s", err_text(&err));
	assert_true(result.complete && !result.irregular && result.entries == 8 && result.bytes == 1);
	struct stat st = stat_in("bin/f");
	assert_int_equal(st.st_mode, S_IFREG | 06711);
	assert_true(st.st_uid == 12 && st.st_gid == 34 && st.st_nlink == 2);
	assert_true(st.st_mtim.tv_sec == -100 && st.st_mtim.tv_nsec == 5);
	assert_true(stat_in("same").st_ino == st.st_ino);
	char value[64];
	AUTO_FREE char *path = xasprintf("%s/root/bin/f", scratch);
	assert_int_equal(getxattr(path, cap_name, value, sizeof(value)), 20);
	assert_memory_equal(value, cap, 20);
	assert_true(getxattr(path, label, value, sizeof(value)) < 0);
	st = stat_in("bin");
	assert_int_equal(st.st_mode, S_IFDIR | 02755);
	assert_true(st.st_mtim.tv_sec == 1700000000);
	assert_int_equal(stat_in("").st_mode, S_IFDIR | 01700);
	assert_int_equal(stat_in("fifo").st_mode, S_IFIFO | 0622);
	st = stat_in("dev");
	assert_int_equal(st.st_mode, S_IFBLK | 0660);
	assert_true(st.st_rdev == makedev(7, 300));
	st = stat_in("link");
	assert_true(S_ISLNK(st.st_mode) && st.st_uid == 5 && st.st_gid == 6 && st.st_mtim.tv_sec == 77);
	assert_int_equal(stat_in("made/for").st_mode, S_IFDIR | 0755);
}

static void overlay_attributes_are_refused(void **state)
{
	char name[] = "trusted.overlay.redirect", value[] = "/etc";
	TarXattr x = { name, value, 4 };
	TarEntry e = { .type = TAR_DIRECTORY, .path = (char *) "d", .mode = 0755, .xattrs = &x, .n_xattrs = 1 };
	AUTO_BUF b = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	UnpackResult result;
	fresh();
	tar_write_header(&b, &e);
	assert_int_equal(unpack(&b, NULL, &result, &err), -EINVAL);
	assert_non_null(strstr(err_text(&err), "overlayfs"));
}

static void whiteouts(void **state)
{
	AUTO_BUF b = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	UnpackResult result;
	fresh();
	put_file(&b, "d/.wh.gone", "");
	put_file(&b, "opq/.wh..wh..opq", "");
	put_file(&b, "opq/kept", "x");
	/* A directory and its own whiteout, in both orders: what was below is hidden, what comes now stays. */
	put_file(&b, ".wh.after", "");
	put_dir(&b, "after", 0755);
	put_dir(&b, "before", 0755);
	put_file(&b, "before/f", "f");
	put_file(&b, ".wh.before", "");
	put_file(&b, ".wh.file", "");
	put_file(&b, "file", "new");
	put_file(&b, ".wh..wh.plnk", "");
	if (unpack(&b, NULL, &result, &err) < 0)
		fail_msg("%s", err_text(&err));
	struct stat st = stat_in("d/gone");
	assert_true(S_ISCHR(st.st_mode) && st.st_rdev == 0);
	assert_true(opaque_in("opq"));
	assert_true(opaque_in("after"));
	assert_true(opaque_in("before"));
	assert_false(opaque_in("d"));
	AUTO_FREE char *f = text_in("before/f");
	AUTO_FREE char *file = text_in("file");
	assert_string_equal(f, "f");
	assert_string_equal(file, "new");
	assert_false(result.irregular);
	AUTO_FREE char *meta = text_in(".wh..wh.plnk");
	assert_null(meta);
}

static void later_entries_replace(void **state)
{
	AUTO_BUF b = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	UnpackResult result;
	fresh();
	put_file(&b, "f", "one");
	put_hardlink(&b, "other", "f");
	put_file(&b, "f", "two");
	put_dir(&b, "d", 0700);
	put_file(&b, "d/x", "x");
	put_dir(&b, "d", 0755);
	put_file(&b, "tree/x", "x");
	put_file(&b, "tree", "file");
	if (unpack(&b, NULL, &result, &err) < 0)
		fail_msg("%s", err_text(&err));
	AUTO_FREE char *f = text_in("f");
	AUTO_FREE char *other = text_in("other");
	AUTO_FREE char *x = text_in("d/x");
	AUTO_FREE char *tree = text_in("tree");
	assert_string_equal(f, "two");
	assert_string_equal(other, "one");
	assert_string_equal(x, "x");
	assert_string_equal(tree, "file");
	assert_int_equal(stat_in("d").st_mode & 07777, 0755);
	assert_true(result.irregular);
}

static void symlinks_inside_are_followed(void **state)
{
	AUTO_BUF b = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	UnpackResult result;
	fresh();
	put_dir(&b, "usr/lib", 0755);
	put_symlink(&b, "lib", "usr/lib");
	put_file(&b, "lib/f", "x");
	if (unpack(&b, NULL, &result, &err) < 0)
		fail_msg("%s", err_text(&err));
	AUTO_FREE char *f = text_in("usr/lib/f");
	assert_string_equal(f, "x");
}

static void recipe_rebuilds_the_tar(void **state)
{
	AUTO_BUF b = BUF_INIT;
	AUTO_BUF big = BUF_INIT;
	AUTO_BUF again = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	UnpackResult result;
	AUTO_FREE char *file = scratch_path("recipe");
	AUTO_FREE char *root = scratch_path("root");
	fresh();
	for (int i = 0; i < 50000; i++)
		buf_printf(&big, "%d ", i);
	put_dir(&b, "a", 0755);
	put_bytes(&b, "a/big", big.data, big.len);
	put_file(&b, "a/empty", "");
	put_hardlink(&b, "link", "a/big");
	put_file(&b, ".wh.gone", "with contents, oddly");
	put_file(&b, "last", "z");
	AUTO_CLOSE int fd = open(file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	RecipeWriter *w = recipe_writer_new(fd);
	int r = unpack(&b, w, &result, &err);
	assert_int_equal(r, 0);
	assert_int_equal(recipe_finish(w, &err), 0);
	recipe_writer_free(w);
	assert_true(lseek(fd, 0, SEEK_END) < 4096);
	AUTO_CLOSE int rootfd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_STREAM s = NULL;
	assert_int_equal(recipe_open(fd, rootfd, &s, &err), 0);
	char chunk[3001];
	ssize_t n;
	while ((n = stream_read(s, chunk, sizeof(chunk), &err)) > 0)
		buf_append(&again, chunk, (size_t) n);
	assert_int_equal(n, 0);
	assert_int_equal(again.len, b.len);
	assert_memory_equal(again.data, b.data, b.len);
}

static void files_alone(void **state)
{
	AUTO_BUF b = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	UnpackResult result;
	AUTO_FREE char *root = scratch_path("root");
	fresh();
	put_dir(&b, "ro", 0555);
	put_file(&b, "ro/.wh.f", "text");
	put_hardlink(&b, "link", "ro/.wh.f");
	TarEntry pipe = { .type = TAR_FIFO, .path = (char *) "pipe", .mode = 0644 };
	tar_write_header(&b, &pipe);
	TarEntry owned = { .type = TAR_SYMLINK, .path = (char *) "owned", .link = (char *) "x", .mode = 0777, .uid = 1234, .gid = 1234 };
	tar_write_header(&b, &owned);
	tar_write_end(&b);
	AUTO_CLOSE int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_STREAM s = stream_memory(b.data, b.len);
	if (unpack_files(s, fd, &result, &err) < 0)
		fail_msg("%s", err_text(&err));
	AUTO_FREE char *text = text_in("ro/.wh.f");
	assert_string_equal(text, "text");
	assert_int_equal(stat_in("ro").st_mode & 07777, 0555);
	assert_int_equal(stat_in("link").st_nlink, 2);
	assert_int_equal(stat_in("owned").st_uid, geteuid());
	AUTO_FREE char *gone = scratch_path("root/pipe");
	assert_int_equal(access(gone, F_OK), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(escapes),
		cmocka_unit_test(too_deep_or_long),
		cmocka_unit_test(attributes),
		cmocka_unit_test(overlay_attributes_are_refused),
		cmocka_unit_test(whiteouts),
		cmocka_unit_test(later_entries_replace),
		cmocka_unit_test(symlinks_inside_are_followed),
		cmocka_unit_test(recipe_rebuilds_the_tar),
		cmocka_unit_test(files_alone),
	};
	int skip = need_root();
	return skip ? skip : cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
