// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "image/ship-index.h"
#include "image/ship-part.h"
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

/* Files of several sizes with times of their own; `change` makes the next version: all times new, one file changed within, one moved on. */
static void files_layer(Buf *b, uint64_t seed, bool change)
{
	static const char zero[TAR_BLOCK];
	for (int i = 0; i < 200; i++) {
		AUTO_BUF data = BUF_INIT;
		AUTO_FREE char *path = xasprintf("app/file-%d", i);
		put_noise(&data, seed + (uint64_t) i, i == 7 ? 1 << 20 : i == 9 ? 300000 : 100 + (size_t) i * 50);
		if (change && i == 7)
			for (size_t k = 4096; k < data.len; k += 8192)
				data.data[k]++;
		if (change && i == 9) {
			AUTO_BUF moved = BUF_INIT;
			buf_append(&moved, data.data, 1000);
			buf_str(&moved, "inserted");
			buf_append(&moved, data.data + 1000, data.len - 1000);
			buf_clear(&data);
			buf_append(&data, moved.data, moved.len);
		}
		TarEntry e = { .type = TAR_FILE, .path = path, .mode = 0644, .mtime = 1700000000 + i * 7 % 50 + (change ? 86400 : 0), .size = data.len,
			.stored = data.len };
		tar_write_header(b, &e);
		buf_append(b, data.data, data.len);
		buf_append(b, zero, tar_padding(data.len));
	}
	tar_write_end(b);
}

static void sends_what_differs(void **state)
{
	Box a, b, c;
	Buf v1 = BUF_INIT, v2 = BUF_INIT;
	box_new(&a);
	box_new(&b);
	box_new(&c);
	files_layer(&v1, 5, false);
	files_layer(&v2, 5, true);
	AUTO_FREE char *id1 = box_load(&a, &v1, 1), *id2 = box_load(&a, &v2, 1);
	Ship s = { .from = &a, .to = &b, .id = id1 };
	ship_ok(&s);
	assert_true(s.sent > 2 << 20);
	/* What was sent is indexed on the way, for the next time that it is old. */
	assert_int_equal(tree_remove(a.store.state, "cache/ship"), 0);
	s.id = id2;
	ship_ok(&s);
	assert_int_equal(entries(&a, "cache/ship"), 2);
	assert_true(box_has(&b, &v2));
	if (s.sent > 4000)
		fail_msg("%llu bytes for a few changes", (unsigned long long) s.sent);

	/* A sender that has never had the first version sends new pieces, having fetched the other side's index. */
	AUTO_FREE char *id = box_load(&c, &v2, 1);
	Box d;
	box_new(&d);
	Ship first = { .from = &a, .to = &d, .id = id1 }, cold = { .from = &c, .to = &d, .id = id };
	ship_ok(&first);
	ship_ok(&cold);
	assert_true(box_has(&d, &v2));
	assert_true(cold.back > 1000);
	if (cold.sent > 1400000)
		fail_msg("%llu bytes from a cold sender", (unsigned long long) cold.sent);
	box_done(&a);
	box_done(&b);
	box_done(&c);
	box_done(&d);
	buf_done(&v1);
	buf_done(&v2);
}

/* Hashes are believed, and may be wrong: an index that says of another layer's pieces that they are this one's. The digest tells, the layer comes whole. */
static void a_wrong_index_costs_time_only(void **state)
{
	Box a, b;
	Buf v1 = BUF_INIT, v2 = BUF_INIT;
	AUTO_BUF index = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	char digest[sizeof(DIGEST_PREFIX) + 64];
	box_new(&a);
	box_new(&b);
	noise_layer(&v1, 12, 1 << 20);
	noise_layer(&v2, 13, 1 << 20);
	AUTO_FREE char *id1 = box_load(&a, &v1, 1), *id2 = box_load(&a, &v2, 1);
	Ship s = { .from = &a, .to = &b, .id = id1 };
	ship_ok(&s);
	AUTO_STREAM tar = stream_memory(v2.data, v2.len);
	assert_int_equal(ship_index_make(tar, &index, &err), 0);
	digest_buf(&v1, digest);
	ship_index_keep(&a.store, digest, &index);
	s.id = id2;
	ship_ok(&s);
	assert_true(box_has(&b, &v2));
	assert_true(s.sent > 1 << 20);
	box_done(&a);
	box_done(&b);
	buf_done(&v1);
	buf_done(&v2);
}

/* A receiver that dies leaves nothing to be seen, and the next one goes on with what it kept. */
static void survives_a_killed_receiver(void **state)
{
	Box a, b;
	Buf layer = BUF_INIT;
	int status;
	box_new(&a);
	box_new(&b);
	noise_layer(&layer, 10, 6 << 20);
	AUTO_FREE char *id = box_load(&a, &layer, 1);
	Ship s = { .from = &a, .to = &b, .id = id };
	AUTO_FREE char *parts = xasprintf("%s/cache/ship", b.path);
	pid_t child = fork();
	if (child == 0) {
		/* It waits for bytes that do not come, with some of the layer kept, until it is killed. */
		AUTO_IMAGE_LIST images = { 0 };
		s.stall = 4 << 20;
		(void) ship_run(&s, &images);
		_exit(0);
	}
	for (bool kept = false; !kept;) {
		DIR *d = opendir(parts);
		for (struct dirent *e; d && (e = readdir(d));) {
			struct stat st;
			kept = kept || (e->d_name[0] != '.' && fstatat(dirfd(d), e->d_name, &st, 0) == 0 && st.st_size > 3 << 20);
		}
		if (d)
			(void) closedir(d);
		struct pollfd none = { .fd = -1 };
		(void) poll(&none, 1, 10);
	}
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(entries(&b, "layers"), 0);
	assert_int_equal(entries(&b, "blobs/sha256"), 0);
	ship_ok(&s);
	assert_true(s.sent < 5 << 20);
	assert_true(box_has(&b, &layer));
	box_done(&a);
	box_done(&b);
	buf_done(&layer);
}

/* The second of two receivers of one layer has a part of its own. */
static void two_senders_at_once(void **state)
{
	Box a, b;
	Buf layer = BUF_INIT;
	ShipPart first = { .fd = -1 }, second = { .fd = -1 };
	char digest[sizeof(DIGEST_PREFIX) + 64];
	AUTO_ERR err = ERR_INIT;
	box_new(&a);
	box_new(&b);
	noise_layer(&layer, 11, 3 << 20);
	digest_buf(&layer, digest);
	AUTO_FREE char *id = box_load(&a, &layer, 1);
	assert_int_equal(ship_part_open(&b.store, digest, &first, &err), 0);
	assert_int_equal(ship_part_open(&b.store, digest, &second, &err), 0);
	assert_non_null(first.name);
	assert_null(second.name);
	ship_part_close(&second);
	/* While the first is on its way, another one comes and goes; then the first ends, too. */
	Ship s = { .from = &a, .to = &b, .id = id };
	ship_ok(&s);
	assert_true(box_has(&b, &layer));
	assert_int_equal(entries(&b, "cache/ship"), 1);
	ship_part_remove(&first);
	ship_part_close(&first);
	assert_int_equal(entries(&b, "cache/ship"), 0);
	box_done(&a);
	box_done(&b);
	buf_done(&layer);
}

/* Member by member, as `tar -x` would. */
static void write_layout(const char *dir, const Buf *layer, const char *id)
{
	AUTO_BUF config = BUF_INIT;
	AUTO_BUF manifest = BUF_INIT;
	AUTO_BUF index = BUF_INIT;
	char digest[sizeof(DIGEST_PREFIX) + 64], manifest_digest[sizeof(DIGEST_PREFIX) + 64];
	digest_buf(layer, digest);
	buf_printf(&config, "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Cmd\":[\"/a\"]},\"rootfs\":{\"type\":\"layers\","
			    "\"diff_ids\":[\"%s\"]}}", digest);
	buf_printf(&manifest,
		"{\"schemaVersion\":2,\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"%s\",\"size\":%zu},"
		"\"layers\":[{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"%s\",\"size\":%zu}]}",
		id, config.len, digest, layer->len);
	digest_buf(&manifest, manifest_digest);
	buf_printf(&index,
		"{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"%s\",\"size\":%zu,"
		"\"annotations\":{\"org.opencontainers.image.ref.name\":\"t:1\"}}]}",
		manifest_digest, manifest.len);
	AUTO_FREE char *blobs = xasprintf("%s/blobs/sha256", dir), *index_path = xasprintf("%s/index.json", dir);
	assert_int_equal(dir_make(blobs, 0755), 0);
	const struct { const char *id; const Buf *b; } all[] = { { id, &config }, { digest, layer }, { manifest_digest, &manifest } };
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		AUTO_FREE char *path = xasprintf("%s/%s", blobs, all[i].id + strlen(DIGEST_PREFIX));
		assert_int_equal(file_write(AT_FDCWD, path, all[i].b->data, all[i].b->len, 0644), 0);
	}
	assert_int_equal(file_write(AT_FDCWD, index_path, index.data, index.len, 0644), 0);
}

static void ships_archives(void **state)
{
	Box a, b, c;
	AUTO_IMAGE_LIST none = { 0 };
	AUTO_BUF archive = BUF_INIT;
	Buf layer = BUF_INIT;
	box_new(&a);
	box_new(&b);
	box_new(&c);
	noise_layer(&layer, 9, 300000);
	AUTO_FREE char *id = box_load(&c, &layer, 1), *path = scratch_path("archive.tar"), *dir = scratch_path("layout");
	make_archive(&layer, 1, &archive);
	assert_int_equal(file_write(AT_FDCWD, path, archive.data, archive.len, 0644), 0);
	Ship s = { .from = &a, .to = &b, .id = id, .archive = path, .sender_options = "{\"wanted\":[\"nothing\"]}" };
	assert_true(ship_run(&s, &none) < 0);
	assert_non_null(strstr(err_text(&s.sender_err), "no image 'nothing' in it; there are: t:1"));
	s.sender_options = "{\"wanted\":[\"t:1\"]}";
	ship_ok(&s);
	assert_true(box_has(&b, &layer));
	/* Nothing was unpacked at the sender's. */
	assert_int_equal(entries(&a, "layers") + entries(&a, "blobs/sha256") + entries(&a, "tmp"), 0);

	Box d;
	box_new(&d);
	write_layout(dir, &layer, id);
	AUTO_FREE char *options = xasprintf("{\"layout\":\"%s\"}", dir);
	Ship l = { .from = &a, .to = &d, .id = id, .sender_options = options };
	ship_ok(&l);
	assert_true(box_has(&d, &layer));
	box_done(&a);
	box_done(&b);
	box_done(&c);
	box_done(&d);
	buf_done(&layer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ships_whole_images),
		cmocka_unit_test(goes_on_where_it_stopped),
		cmocka_unit_test(sees_damaged_parts),
		cmocka_unit_test(sends_what_differs),
		cmocka_unit_test(a_wrong_index_costs_time_only),
		cmocka_unit_test(ships_archives),
		cmocka_unit_test(survives_a_killed_receiver),
		cmocka_unit_test(two_senders_at_once),
		cmocka_unit_test(refuses_what_cannot_run),
	};
	int skip = need_root();
	return skip ? skip : cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
