// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "image/ship-testing.h"

static int entries(const Box *b, const char *dir)
{
	AUTO_FREE char *path = xasprintf("%s/%s", b->path, dir);
	DIR *d = opendir(path);
	int n = 0;
	for (struct dirent *e; d && (e = readdir(d));)
		n += e->d_name[0] != '.' && strcmp(e->d_name, "lock") != 0;
	if (d)
		(void) closedir(d);
	return n;
}

static void noise_layer(Buf *b, uint64_t seed, size_t n)
{
	AUTO_BUF data = BUF_INIT;
	put_noise(&data, seed, n);
	put_dir(b, "app/", 0755);
	put_bytes(b, "app/data", data.data, data.len);
	put_file(b, "app/small", "a small file\n");
	tar_write_end(b);
}

static void ships_whole_images(void **state)
{
	Box a, b;
	Buf layers[2] = { BUF_INIT, BUF_INIT };
	box_new(&a);
	box_new(&b);
	noise_layer(&layers[0], 1, 3 << 20);
	put_file(&layers[1], "etc/conf", "x = 1\n");
	put_file(&layers[1], "app/.wh.small", "");
	tar_write_end(&layers[1]);
	AUTO_FREE char *id = box_load(&a, layers, 2);
	Ship s = { .from = &a, .to = &b, .id = id };
	ship_ok(&s);
	assert_true(box_has(&b, &layers[0]) && box_has(&b, &layers[1]));
	assert_true(s.sent > 3 << 20);
	assert_int_equal(entries(&b, "blobs/sha256"), 1);
	assert_int_equal(entries(&b, "tmp"), 0);
	assert_int_equal(entries(&b, "cache/ship"), 0);

	/* What is there is not sent again. */
	ship_ok(&s);
	assert_true(s.sent < 2000);
	box_done(&a);
	box_done(&b);
	buf_done(&layers[0]);
	buf_done(&layers[1]);
}

static void goes_on_where_it_stopped(void **state)
{
	Box a, b;
	AUTO_IMAGE_LIST none = { 0 };
	Buf layer = BUF_INIT;
	box_new(&a);
	box_new(&b);
	noise_layer(&layer, 2, 6 << 20);
	AUTO_FREE char *id = box_load(&a, &layer, 1);
	Ship s = { .from = &a, .to = &b, .id = id, .cut = 3 << 20 };
	assert_true(ship_run(&s, &none) < 0);
	assert_non_null(strstr(err_text(&s.err), "the sender"));
	assert_int_equal(s.sender, 1);
	/* Nothing is to be seen, and what came is kept. */
	assert_int_equal(entries(&b, "layers"), 0);
	assert_int_equal(entries(&b, "blobs/sha256"), 0);
	assert_int_equal(entries(&b, "cache/ship"), 1);
	s.cut = 2 << 20;
	assert_true(ship_run(&s, &none) < 0);
	s.cut = 0;
	ship_ok(&s);
	assert_true(s.sent < 4 << 20);
	assert_true(box_has(&b, &layer));
	assert_int_equal(entries(&b, "cache/ship"), 0);
	assert_int_equal(entries(&b, "tmp"), 0);
	box_done(&a);
	box_done(&b);
	buf_done(&layer);
}

/* What is kept may be anything after a power cut: then the layer is sent whole. */
static void sees_damaged_parts(void **state)
{
	Box a, b;
	AUTO_IMAGE_LIST none = { 0 };
	Buf layer = BUF_INIT;
	struct dirent *e;
	box_new(&a);
	box_new(&b);
	noise_layer(&layer, 3, 4 << 20);
	AUTO_FREE char *id = box_load(&a, &layer, 1);
	Ship s = { .from = &a, .to = &b, .id = id, .cut = 3 << 20 };
	assert_true(ship_run(&s, &none) < 0);
	AUTO_FREE char *dir = xasprintf("%s/cache/ship", b.path);
	DIR *d = opendir(dir);
	while ((e = readdir(d)) && e->d_name[0] == '.')
		;
	assert_non_null(e);
	AUTO_CLOSE int fd = openat(dirfd(d), e->d_name, O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "damaged", 7, 1 << 20), 7);
	(void) closedir(d);
	s.cut = 0;
	ship_ok(&s);
	assert_true(s.sent > 4 << 20);
	assert_true(box_has(&b, &layer));
	box_done(&a);
	box_done(&b);
	buf_done(&layer);
}

static void refuses_what_cannot_run(void **state)
{
	Box a, b;
	AUTO_IMAGE_LIST none = { 0 };
	Buf layer = BUF_INIT;
	box_new(&a);
	box_new(&b);
	noise_layer(&layer, 4, 1000);
	AUTO_FREE char *id = box_load(&a, &layer, 1);
	Ship s = { .from = &a, .to = &b, .id = id, .options = "{\"arch\":\"arm64\",\"emulated\":[\"arm\"]}" };
	assert_true(ship_run(&s, &none) < 0);
	assert_non_null(strstr(err_text(&s.err), "is for amd64, this box is arm64"));
	assert_non_null(strstr(err_text(&s.err), "--platform linux/arm64"));
	assert_non_null(strstr(err_text(&s.sender_err), "the receiver: image docker.io/library/t:1 is for amd64"));
	assert_int_equal(entries(&b, "layers"), 0);
	s.options = "{\"arch\":\"arm64\",\"emulated\":[\"arm\",\"amd64\"]}";
	ship_ok(&s);
	box_done(&a);
	box_done(&b);
	buf_done(&layer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ships_whole_images),
		cmocka_unit_test(goes_on_where_it_stopped),
		cmocka_unit_test(sees_damaged_parts),
		cmocka_unit_test(refuses_what_cannot_run),
	};
	int skip = need_root();
	return skip ? skip : cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
