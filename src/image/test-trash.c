// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>
#include <sys/mount.h>
#include <sys/xattr.h>
#include <cmocka.h>

#include "image/copy.h"
#include "image/testing.h"
#include "image/trash.h"

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static char *in_state(const char *name)
{
	return xasprintf("%s/state/%s", scratch, name);
}

static void make_file(const char *name)
{
	AUTO_FREE char *path = in_state(name);
	AUTO_FREE char *dir = xstrndup(path, (size_t) (strrchr(path, '/') - path));
	assert_int_equal(dir_make(dir, 0755), 0);
	assert_int_equal(file_write(AT_FDCWD, path, "text", 4, 0644), 0);
}

static bool exists(const char *name)
{
	AUTO_FREE char *path = in_state(name);
	struct stat st;
	return lstat(path, &st) == 0;
}

static void fresh_state(void)
{
	static const char *const dirs[] = { "tmp", "layers", "blobs/sha256", "volumes/v" };
	AUTO_FREE char *state = in_state("");
	assert_int_equal(tree_remove(AT_FDCWD, state), 0);
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		AUTO_FREE char *path = in_state(dirs[i]);
		assert_int_equal(dir_make(path, 0755), 0);
	}
}

static char *state_path(void)
{
	return scratch_path("state");
}

static void removes_only_trash(void **state)
{
	AUTO_FREE char *dir = state_path();
	AUTO_FREE char *link = in_state("tmp/rm-1/link");
	fresh_state();
	make_file("tmp/rm-1/a/b/c/file");
	make_file("tmp/rm-1/a/d-looks-moved/file");
	make_file("tmp/rm-2");
	make_file("tmp/work/file");
	make_file("volumes/v/kept");
	assert_int_equal(symlink("../../volumes", link), 0);
	assert_int_equal(trash_empty(dir, NULL), 0);
	assert_false(exists("tmp/rm-1"));
	assert_false(exists("tmp/rm-2"));
	assert_true(exists("tmp/work/file"));
	assert_true(exists("volumes/v/kept"));
}

/* Deeper than any path can name, and than descriptors could be held. */
static void removes_deep_trees(void **state)
{
	AUTO_FREE char *dir = state_path();
	AUTO_FREE char *top = in_state("tmp/rm-deep");
	fresh_state();
	assert_int_equal(mkdir(top, 0755), 0);
	int fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < 3000; i++) {
		assert_int_equal(mkdirat(fd, "directory-with-a-name", 0700), 0);
		int next = openat(fd, "directory-with-a-name", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		(void) close(fd);
		fd = next;
	}
	(void) close(fd);
	assert_int_equal(trash_empty(dir, NULL), 0);
	assert_false(exists("tmp/rm-deep"));
}

static void stops_at_mounts(void **state)
{
	AUTO_FREE char *dir = state_path();
	AUTO_FREE char *point = in_state("tmp/rm-1/sub/mounted");
	AUTO_FREE char *volume = in_state("volumes/v");
	AUTO_ERR err = ERR_INIT;
	fresh_state();
	make_file("volumes/v/kept");
	make_file("tmp/rm-1/sub/file");
	assert_int_equal(mkdir(point, 0755), 0);
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount(volume, point, NULL, MS_BIND, NULL) < 0)
		skip();
	int r = trash_empty(dir, &err);
	bool kept = exists("volumes/v/kept");
	assert_true(kept);
	assert_true(r < 0);
	/* The directory that holds the mount may have moved up; the mount moved with it. */
	AUTO_FREE char *top = in_state("tmp/rm-1");
	assert_int_equal(umount2(point, UMOUNT_NOFOLLOW) == 0 || errno == EINVAL || errno == ENOENT, 1);
	DIR *d = opendir(top);
	for (struct dirent *e; d && (e = readdir(d));) {
		AUTO_FREE char *moved = xasprintf("%s/%s/mounted", top, e->d_name);
		if (e->d_name[0] != '.')
			(void) umount2(moved, UMOUNT_NOFOLLOW);
	}
	if (d)
		(void) closedir(d);
	assert_int_equal(trash_empty(dir, NULL), 0);
	assert_true(exists("volumes/v/kept"));
}

static void sweep_keeps_what_is_named(void **state)
{
	AUTO_FREE char *dir = state_path();
	int64_t freed = 0;
	fresh_state();
	make_file("layers/" A "/f");
	make_file("layers/" A ".json");
	make_file("layers/" A ".recipe");
	make_file("layers/" B "/f");
	make_file("layers/" B ".recipe");
	make_file("blobs/sha256/" HEX);
	make_file("blobs/sha256/unnamed");
	make_file("tmp/work/root/f");
	AUTO_FREE char *info = in_state("layers/" B ".json");
	assert_int_equal(file_write(AT_FDCWD, info, "{\"size\":77}", 11, 0600), 0);
	json_t *o = json_pack("{s:[s], s:[s]}", "layers", A, "images", "sha256:" HEX);
	assert_int_equal(trash_sweep(dir, o, &freed, NULL), 0);
	json_decref(o);
	assert_true(freed == 77);
	assert_true(exists("layers/" A "/f") && exists("layers/" A ".json") && exists("layers/" A ".recipe"));
	assert_false(exists("layers/" B) || exists("layers/" B ".json") || exists("layers/" B ".recipe"));
	assert_true(exists("blobs/sha256/" HEX));
	assert_false(exists("blobs/sha256/unnamed"));
	assert_false(exists("tmp/work"));
}

static void sweep_keeps_what_builds_may_use(void **state)
{
	static const char record[] = "{\"layers\":[\"sha256:" B B "\"]}";
	AUTO_FREE char *dir = state_path();
	AUTO_FREE char *file = in_state("build/cache/" HEX);
	int64_t freed = 0;
	fresh_state();
	make_file("layers/" A "/f");
	make_file("layers/" B "/f");
	make_file("layers/" B ".json");
	make_file("build/cache/cut-off");
	assert_int_equal(file_write(AT_FDCWD, file, record, strlen(record), 0600), 0);
	json_t *o = json_pack("{s:[], s:[]}", "layers", "images");
	assert_int_equal(trash_sweep(dir, o, &freed, NULL), 0);
	assert_false(exists("layers/" A));
	assert_true(exists("layers/" B "/f") && exists("layers/" B ".json"));
	assert_int_equal(unlink(file), 0);
	assert_int_equal(trash_sweep(dir, o, &freed, NULL), 0);
	assert_false(exists("layers/" B));
	json_decref(o);
}

/* What a ship left waits for the rest, but not for ever. */
static void sweep_takes_old_parts(void **state)
{
	static const struct { const char *name; int days; bool stays; } cases[] = {
		{ "cache/ship/a.part", 6, true }, { "cache/ship/b.part", 8, false }, { "cache/ship/a.index", 29, true }, { "cache/ship/b.index", 31, false },
	};
	AUTO_FREE char *dir = state_path();
	int64_t freed = 0;
	fresh_state();
	make_file("layers/" A "/f");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_FREE char *path = in_state(cases[i].name);
		struct timespec times[2] = { { .tv_sec = time(NULL) - cases[i].days * 86400 } };
		times[1] = times[0];
		make_file(cases[i].name);
		assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
	}
	json_t *o = json_pack("{s:[], s:[]}", "layers", "images");
	assert_int_equal(trash_sweep(dir, o, &freed, NULL), 0);
	json_decref(o);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(exists(cases[i].name), cases[i].stays);
}

static void sweep_needs_its_lists(void **state)
{
	static const char *const cases[] = { "{}", "{\"layers\":[]}", "{\"images\":[]}", "{\"layers\":{},\"images\":[]}" };
	AUTO_FREE char *dir = state_path();
	int64_t freed;
	fresh_state();
	make_file("layers/" A "/f");
	make_file("tmp/work");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *o = json_loads(cases[i], 0, NULL);
		assert_int_equal(trash_sweep(dir, o, &freed, NULL), -EINVAL);
		json_decref(o);
	}
	assert_true(exists("layers/" A "/f"));
	json_t *o = json_loads("{\"temporary\":true}", 0, NULL);
	assert_int_equal(trash_sweep(dir, o, &freed, NULL), 0);
	json_decref(o);
	assert_true(exists("layers/" A "/f"));
	assert_false(exists("tmp/work"));
}

/* Copying up. */

static int copy(const char *path, const char *const *layers, bool *copied, Err *err)
{
	AUTO_FREE char *dir = state_path();
	AUTO_FREE char *dst = in_state("volumes/v");
	json_t *list = json_array();
	for (; *layers; layers++)
		json_array_append_new(list, json_string(*layers));
	json_t *o = json_pack("{s:o, s:s, s:s}", "layers", list, "path", path, "dst", dst);
	*copied = false;
	int r = copy_up(dir, o, copied, err);
	json_decref(o);
	return r;
}

static void copy_takes_everything(void **state)
{
	static const char *const layers[] = { A, B, NULL };
	AUTO_FREE char *file = in_state("layers/" A "/data/sub/file");
	AUTO_FREE char *same = in_state("layers/" A "/data/same");
	AUTO_FREE char *sym = in_state("layers/" A "/data/sym");
	AUTO_FREE char *above = in_state("layers/" B "/data");
	AUTO_FREE char *gone = in_state("layers/" B "/data/gone");
	AUTO_FREE char *holes = in_state("layers/" B "/data/holes");
	AUTO_FREE char *volume = in_state("volumes/v");
	AUTO_ERR err = ERR_INIT;
	struct stat st, other;
	char value;
	bool copied;
	fresh_state();
	make_file("layers/" A "/data/sub/file");
	make_file("layers/" A "/data/gone");
	assert_int_equal(chown(file, 7, 8), 0);
	assert_int_equal(chmod(file, 04755), 0);
	assert_int_equal(setxattr(file, "user.note", "x", 1, 0), 0);
	assert_int_equal(link(file, same), 0);
	assert_int_equal(symlink("/etc/passwd", sym), 0);
	make_file("layers/" B "/data/holes");
	assert_int_equal(truncate(holes, 10 << 20), 0);
	assert_int_equal(mknod(gone, S_IFCHR, 0), 0);
	assert_int_equal(chown(above, 100, 200), 0);
	assert_int_equal(chmod(above, 02750), 0);
	if (copy("/data", layers, &copied, &err) < 0)
		fail_msg("%s", err_text(&err));
	assert_true(copied);
	assert_int_equal(stat(volume, &st), 0);
	assert_true(st.st_uid == 100 && st.st_gid == 200 && (st.st_mode & 07777) == 02750);
	AUTO_FREE char *new_file = in_state("volumes/v/sub/file");
	AUTO_FREE char *new_same = in_state("volumes/v/same");
	AUTO_FREE char *new_holes = in_state("volumes/v/holes");
	assert_int_equal(stat(new_file, &st), 0);
	assert_true(st.st_uid == 7 && st.st_gid == 8 && (st.st_mode & 07777) == 04755 && st.st_nlink == 2);
	assert_int_equal(stat(new_same, &other), 0);
	assert_true(other.st_ino == st.st_ino);
	assert_int_equal(getxattr(new_file, "user.note", &value, 1), 1);
	assert_int_equal(stat(new_holes, &st), 0);
	assert_true(st.st_size == 10 << 20 && st.st_blocks < 100);
	assert_true(exists("volumes/v/sym"));
	assert_false(exists("volumes/v/gone"));
	/* A volume that has something is left alone. */
	assert_int_equal(copy("/data/sub", layers, &copied, &err), 0);
	assert_false(copied);
}

static void copy_of_nothing(void **state)
{
	static const char *const one[] = { A, NULL };
	static const char *const bad[] = { "../../etc", NULL };
	static const char *const missing[] = { B, NULL };
	AUTO_FREE char *out = in_state("layers/" A "/out");
	AUTO_FREE char *dir = in_state("tmp");
	AUTO_ERR err = ERR_INIT;
	bool copied;
	fresh_state();
	make_file("layers/" A "/file");
	/* Absolute links are the image's own: this one leads to nothing in it, not to the host's. */
	assert_int_equal(symlink("/usr", out), 0);
	assert_int_equal(copy("/nowhere", one, &copied, &err), 0);
	assert_false(copied);
	assert_int_equal(copy("/file", one, &copied, &err), 0);
	assert_false(copied);
	assert_int_equal(copy("/out", one, &copied, &err), 0);
	assert_false(copied);
	assert_int_equal(copy("/../../../../usr", one, &copied, &err), 0);
	assert_false(copied);
	assert_true(copy("/x", bad, &copied, &err) < 0);
	assert_true(copy("/x", missing, &copied, &err) < 0);
	assert_true(copy("/x", bad + 1, &copied, &err) < 0);
	assert_int_equal(rmdir(dir), -1);
	AUTO_FREE char *lock = in_state("tmp/lock");
	assert_int_equal(unlink(lock), 0);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(removes_only_trash),
		cmocka_unit_test(removes_deep_trees),
		cmocka_unit_test(stops_at_mounts),
		cmocka_unit_test(sweep_keeps_what_is_named),
		cmocka_unit_test(sweep_keeps_what_builds_may_use), cmocka_unit_test(sweep_needs_its_lists), cmocka_unit_test(sweep_takes_old_parts),
		cmocka_unit_test(copy_takes_everything),
		cmocka_unit_test(copy_of_nothing),
	};
	int skipped = need_root();
	return skipped ? skipped : cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
