// SPDX-License-Identifier: Apache-2.0
#include "run/build-root.h"

#include "run/test-root.h"

#include <sys/mount.h>

typedef struct Place {
	ContainerPaths paths;
	char id[65];
} Place;

static char *below(const char *dir, const char *path)
{
	return xasprintf("%s/%s", dir, path);
}

static void put(const char *path, const char *text)
{
	AUTO_FREE char *full = below(world.state, path);
	AUTO_FREE char *dir = xstrndup(full, (size_t) (strrchr(full, '/') - full));
	assert_int_equal(dir_make(dir, 0755), 0);
	assert_int_equal(file_write(AT_FDCWD, full, text, strlen(text), 0644), 0);
}

static bool there(const char *dir, const char *path)
{
	struct stat st;
	AUTO_FREE char *full = below(dir, path);
	return lstat(full, &st) == 0;
}

static void enter(Place *p)
{
	AUTO_ERR err = ERR_INIT;
	hex_random(32, p->id);
	container_paths_init(world.rt, p->id, &p->paths);
	if (build_root_make(&p->paths, &err) < 0 || build_root_make(&p->paths, &err) < 0)
		fail_msg("%s", err_text(&err));
	AUTO_FREE char *upper = below(world.state, "build/u");
	AUTO_FREE char *work = below(world.state, "build/w");
	assert_int_equal(dir_make(upper, 0755), 0);
	assert_int_equal(dir_make(work, 0755), 0);
}

static void leave(Place *p)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_FREE char *build = below(world.state, "build");
	if (container_bundle_remove(&p->paths, &err) < 0)
		fail_msg("%s", err_text(&err));
	container_flush();
	assert_false(there(p->paths.bundle, ""));
	assert_false(there(p->paths.state, ""));
	container_paths_done(&p->paths);
	assert_int_equal(tree_remove(AT_FDCWD, build), 0);
}

static void test_overlay(void **state)
{
	Place p;
	AUTO_ERR err = ERR_INIT;
	AUTO_STRV char **lower = NULL;
	enter(&p);
	put("build/a/one", "a");
	put("build/a/two", "a");
	put("build/b/two", "b");
	strv_add(&lower, "build/a");
	strv_add(&lower, "build/b");
	if (build_root_mount(world.rt, &p.paths, lower, "build/u", "build/w", &err) < 0)
		fail_msg("%s", err_text(&err));
	AUTO_BUF b = BUF_INIT;
	AUTO_FREE char *two = below(p.paths.rootfs, "two");
	AUTO_FREE char *three = below(p.paths.rootfs, "three");
	assert_true(there(p.paths.rootfs, "one"));
	assert_int_equal(file_read(AT_FDCWD, two, 8, &b), 0);
	assert_string_equal(b.data, "b"); /* the last is on top */
	assert_int_equal(file_write(AT_FDCWD, three, "", 0, 0600), 0);
	assert_true(there(world.state, "build/u/three"));
	leave(&p);
}

static void test_nothing_below(void **state)
{
	Place p;
	AUTO_ERR err = ERR_INIT;
	enter(&p);
	if (build_root_mount(world.rt, &p.paths, NULL, "build/u", "build/w", &err) < 0)
		fail_msg("%s", err_text(&err));
	leave(&p);
}

/* A worker is not believed: it may have read an archive that took it over. */
static void test_escapes(void **state)
{
	static const char *const bad[] = { "../run", "/etc", "build/link", "build/link/x", "build/u/../../../run", "build/none", "build/file" };
	Place p;
	enter(&p);
	put("build/file", "");
	AUTO_FREE char *link = below(world.state, "build/link");
	assert_int_equal(symlink("/etc", link), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		AUTO_ERR err = ERR_INIT;
		AUTO_STRV char **lower = NULL;
		strv_add(&lower, bad[i]);
		char *path = NULL;
		if (build_root_mount(world.rt, &p.paths, lower, "build/u", "build/w", &err) == 0)
			fail_msg("mounted: %s", bad[i]);
		if (build_root_mount(world.rt, &p.paths, NULL, bad[i], "build/w", &err) == 0)
			fail_msg("mounted as upper: %s", bad[i]);
		if (i + 1 < ARRAY_SIZE(bad) && build_root_bind(world.rt, &p.paths, i, bad[i], &path, &err) == 0)
			fail_msg("bound: %s", bad[i]);
	}
	leave(&p);
}

static void test_binds_survive(void **state)
{
	Place p;
	AUTO_ERR err = ERR_INIT;
	enter(&p);
	put("build/cache/kept", "k");
	AUTO_FREE char *dir = NULL;
	AUTO_FREE char *file = NULL;
	if (build_root_bind(world.rt, &p.paths, 0, "build/cache", &dir, &err) < 0 ||
		build_root_bind(world.rt, &p.paths, 1, "build/cache/kept", &file, &err) < 0)
		fail_msg("%s", err_text(&err));
	assert_true(there(dir, "kept"));
	AUTO_BUF b = BUF_INIT;
	assert_int_equal(file_read(AT_FDCWD, file, 8, &b), 0);
	assert_string_equal(b.data, "k");
	/* Removing the bundle unmounts first: what is bound is not the bundle's to remove. */
	assert_int_equal(container_bundle_remove(&p.paths, &err), 0);
	container_flush();
	assert_true(there(world.state, "build/cache/kept"));
	leave(&p);
}

static void test_stubs(void **state)
{
	Place p;
	AUTO_ERR err = ERR_INIT;
	AUTO_STRV char **lower = NULL, **targets = NULL;
	struct stat before, after;
	enter(&p);
	put("build/a/etc/passwd", "");
	put("build/a/var/x", "");
	strv_add(&lower, "build/a");
	strv_add(&targets, "/proc");
	strv_add(&targets, "/etc/hosts");
	strv_add(&targets, "/deep/er/mount");
	strv_add(&targets, "/deep/other");
	strv_add(&targets, "/var/cache");
	if (build_root_mount(world.rt, &p.paths, lower, "build/u", "build/w", &err) < 0)
		fail_msg("%s", err_text(&err));
	AUTO_FREE char *etc = below(p.paths.rootfs, "etc");
	assert_int_equal(stat(etc, &before), 0);
	Stubs *s = stubs_note(&p.paths, targets);
	/* What a runtime makes. */
	static const char *const dirs[] = { "proc", "deep/er/mount", "deep/other", "var/cache" };
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		AUTO_FREE char *d = below(p.paths.rootfs, dirs[i]);
		assert_int_equal(dir_make(d, 0755), 0);
	}
	AUTO_FREE char *hosts = below(p.paths.rootfs, "etc/hosts");
	assert_int_equal(file_write(AT_FDCWD, hosts, "", 0, 0644), 0);
	stubs_made(s);
	/* What the instruction makes. */
	AUTO_FREE char *kept = below(p.paths.rootfs, "deep/other/kept");
	AUTO_FREE char *own = below(p.paths.rootfs, "var/own");
	assert_int_equal(file_write(AT_FDCWD, kept, "", 0, 0644), 0);
	assert_int_equal(file_write(AT_FDCWD, own, "", 0, 0644), 0);
	stubs_remove(s);
	assert_false(there(p.paths.rootfs, "proc"));
	assert_false(there(p.paths.rootfs, "etc/hosts"));
	assert_false(there(p.paths.rootfs, "deep/er"));
	assert_true(there(p.paths.rootfs, "deep/other/kept"));
	assert_false(there(p.paths.rootfs, "var/cache"));
	assert_true(there(p.paths.rootfs, "var/own"));
	assert_int_equal(stat(etc, &after), 0);
	assert_int_equal(before.st_mtim.tv_sec, after.st_mtim.tv_sec);
	assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
	leave(&p);
}

int main(void)
{
	int r = world_make();
	if (r != 0)
		return r;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_overlay), cmocka_unit_test(test_nothing_below), cmocka_unit_test(test_escapes), cmocka_unit_test(test_binds_survive),
		cmocka_unit_test(test_stubs),
	};
	r = cmocka_run_group_tests(tests, NULL, NULL);
	return r | world_remove();
}
