// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "image/archive.h"
#include "image/manifest.h"
#include "image/packed-testing.h"
#include "image/save.h"
#include "image/testing.h"

static int counter;

typedef struct Made {
	Buf layers[2];
	char diff[2][sizeof(DIGEST_PREFIX) + 64];
	Buf config;
	char id[sizeof(DIGEST_PREFIX) + 64];
} Made;

static void digest_of(const Buf *b, char dst[sizeof(DIGEST_PREFIX) + 64])
{
	memcpy(dst, DIGEST_PREFIX, sizeof(DIGEST_PREFIX));
	digest_sha256(buf_cstr(b), b->len, dst + strlen(DIGEST_PREFIX));
}

static const char *hex(const char *digest)
{
	return digest + strlen(DIGEST_PREFIX);
}

static void made_done(Made *m)
{
	buf_done(&m->layers[0]);
	buf_done(&m->layers[1]);
	buf_done(&m->config);
}

/* Two small layers, new ones at each call, and their configuration. */
static void make(Made *m)
{
	*m = (Made) { 0 };
	AUTO_FREE char *text = xasprintf("layer %d", counter++);
	put_dir(&m->layers[0], "bin/", 0755);
	put_file(&m->layers[0], "bin/a", text);
	put_hardlink(&m->layers[0], "bin/b", "bin/a");
	put_file(&m->layers[1], "bin/.wh.b", "");
	put_file(&m->layers[1], "etc/conf", text);
	for (int i = 0; i < 2; i++) {
		tar_write_end(&m->layers[i]);
		digest_of(&m->layers[i], m->diff[i]);
	}
	buf_printf(&m->config,
		"{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Cmd\":[\"/bin/a\"]},\"rootfs\":{\"type\":\"layers\","
		"\"diff_ids\":[\"%s\",\"%s\"]}}",
		m->diff[0], m->diff[1]);
	digest_of(&m->config, m->id);
}

/* A docker archive, its layers before what names them; the second through a link, as old docker writes them. */
static void docker_archive(const Made *m, Buf *b)
{
	put_bytes(b, "two/layer.tar", m->layers[1].data, m->layers[1].len);
	put_symlink(b, "three/layer.tar", "../two/layer.tar");
	put_bytes(b, "one/layer.tar", m->layers[0].data, m->layers[0].len);
	AUTO_FREE char *name = xasprintf("%s.json", hex(m->id));
	put_bytes(b, name, m->config.data, m->config.len);
	AUTO_FREE char *manifest = xasprintf(
		"[{\"Config\":\"%s\",\"RepoTags\":[\"t:1\",\"x.io/y:2\"],\"Layers\":[\"one/layer.tar\",\"./three/layer.tar\"]}]", name);
	put_file(b, "manifest.json", manifest);
	tar_write_end(b);
}

static Store state;
static char *state_dir;

static void state_new(void)
{
	AUTO_ERR err = ERR_INIT;
	char name[32];
	(void) snprintf(name, sizeof(name), "state-%d", counter++);
	free(state_dir);
	state_dir = scratch_path(name);
	if (store_open(state_dir, &state, &err) < 0)
		fail_msg("%s", err_text(&err));
}

static int count_entries(const char *name)
{
	AUTO_FREE char *path = xasprintf("%s/%s", state_dir, name);
	DIR *d = opendir(path);
	int n = 0;
	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.';
	(void) closedir(d);
	return n;
}

static void state_close(void)
{
	store_close(&state);
	assert_int_equal(count_entries("tmp"), 1); /* the lock */
}

static int memory_file(const Buf *b, size_t n)
{
	AUTO_FREE char *path = scratch_path("archive");
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, buf_cstr(b), n), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static int load_bytes(const Buf *b, size_t n, ImageList *l, Err *err)
{
	AUTO_CLOSE int fd = memory_file(b, n);
	return archive_load(&state, fd, l, err);
}

static int load_pipe(const Buf *b, ImageList *l, Err *err)
{
	int p[2];
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		(void) close(p[0]);
		_exit(fd_write_all(p[1], b->data, b->len) < 0);
	}
	(void) close(p[1]);
	int r = archive_load(&state, p[0], l, err);
	(void) close(p[0]);
	(void) waitpid(pid, NULL, 0);
	return r;
}

static void check_loaded(const Made *m, const ImageList *l)
{
	LayerInfo info;
	AUTO_BUF blob = BUF_INIT;
	assert_int_equal(l->n, 1);
	assert_string_equal(l->items[0]->id, m->id);
	assert_int_equal(l->items[0]->n_layers, 2);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(store_layer(&state, m->diff[i], &info, NULL), 1);
		assert_true(info.size == l->items[0]->layers[i].size);
		assert_true(info.tar_size == (int64_t) m->layers[i].len);
	}
	assert_int_equal(store_read_blob(&state, m->id, &blob, NULL), 0);
	assert_string_equal(blob.data, m->config.data);
	AUTO_CLOSE int fd = store_open_layer(&state, m->diff[1], NULL);
	struct stat st;
	assert_int_equal(fstatat(fd, "bin/b", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_true(S_ISCHR(st.st_mode));
}

static void must_load(const Made *m, const Buf *b, bool through_pipe, int tags)
{
	AUTO_IMAGE_LIST l = { 0 };
	AUTO_ERR err = ERR_INIT;
	state_new();
	if ((through_pipe ? load_pipe(b, &l, &err) : load_bytes(b, b->len, &l, &err)) < 0)
		fail_msg("%s", err_text(&err));
	check_loaded(m, &l);
	assert_int_equal(strv_len(l.items[0]->tags), tags);
	state_close();
}

static void docker_archives(void **unused)
{
	AUTO(made_done) Made m;
	AUTO_BUF b = BUF_INIT;
	AUTO_BUF gz = BUF_INIT;
	AUTO_BUF zst = BUF_INIT;
	make(&m);
	docker_archive(&m, &b);
	pack_gzip(&b, &gz);
	pack_zstd(&b, &zst);
	must_load(&m, &b, false, 2);
	must_load(&m, &b, true, 2);
	must_load(&m, &gz, false, 2);
	must_load(&m, &gz, true, 2);
	must_load(&m, &zst, true, 2);
}

static void packed_layers(void **unused)
{
	AUTO(made_done) Made m;
	AUTO_BUF b = BUF_INIT;
	AUTO_BUF gz = BUF_INIT;
	AUTO_BUF zst = BUF_INIT;
	make(&m);
	pack_gzip(&m.layers[0], &gz);
	pack_zstd(&m.layers[1], &zst);
	put_file(&b, "manifest.json", "[{\"Config\":\"c\",\"RepoTags\":null,\"Layers\":[\"a\",\"b\"]}]");
	put_bytes(&b, "c", m.config.data, m.config.len);
	put_bytes(&b, "b", zst.data, zst.len);
	put_bytes(&b, "a", gz.data, gz.len);
	tar_write_end(&b);
	must_load(&m, &b, false, 0);
}

static void put_blob(Buf *b, const Buf *blob, char digest[sizeof(DIGEST_PREFIX) + 64])
{
	digest_of(blob, digest);
	AUTO_FREE char *name = xasprintf("blobs/sha256/%s", hex(digest));
	put_bytes(b, name, blob->data, blob->len);
}

/* An OCI layout with an index inside the index, one manifest of it for another machine whose blobs are absent. */
static void oci_archive(const Made *m, const char *break_what, Buf *b)
{
	AUTO_BUF gz = BUF_INIT;
	AUTO_BUF manifest = BUF_INIT;
	AUTO_BUF index = BUF_INIT;
	AUTO_BUF top = BUF_INIT;
	char layer[2][sizeof(DIGEST_PREFIX) + 64], digest[sizeof(DIGEST_PREFIX) + 64];
	const char *variant, *arch = platform_host(&variant);
	pack_gzip(&m->layers[0], &gz);
	put_blob(b, &gz, layer[0]);
	put_blob(b, &m->layers[1], layer[1]);
	if (str_eq(break_what, "layer"))
		layer[0][20] = layer[0][20] == '0' ? '1' : '0';
	put_blob(b, &m->config, digest);
	buf_printf(&manifest,
		"{\"schemaVersion\":2,\"config\":{\"digest\":\"%s\",\"size\":%zu},\"layers\":[{\"digest\":\"%s\",\"size\":%zu},"
		"{\"digest\":\"%s\",\"size\":%zu}]%s}",
		digest, m->config.len + str_eq(break_what, "size"), layer[0], gz.len, layer[1], m->layers[1].len,
		str_eq(break_what, "kind") ? ",\"manifests\":[]" : "");
	put_blob(b, &manifest, digest);
	buf_printf(&index,
		"{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"manifests\":["
		"{\"digest\":\"" DIGEST_PREFIX "0000000000000000000000000000000000000000000000000000000000000000\",\"size\":3,"
		"\"platform\":{\"os\":\"linux\",\"architecture\":\"mips\"}},"
		"{\"digest\":\"%s\",\"size\":%zu,\"platform\":{\"os\":\"linux\",\"architecture\":\"%s\"}}]}",
		digest, manifest.len, str_eq(break_what, "platform") ? "vax" : arch);
	put_blob(b, &index, digest);
	buf_printf(&top,
		"{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"%s\",\"size\":%zu,"
		"\"annotations\":{\"org.opencontainers.image.ref.name\":\"t:1\"}}]}",
		digest, index.len);
	put_file(b, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
	put_bytes(b, "index.json", top.data, top.len);
	tar_write_end(b);
}

static void oci_archives(void **unused)
{
	static const char *const broken[] = { "layer", "size", "kind", "platform" };
	AUTO(made_done) Made m;
	AUTO_BUF b = BUF_INIT;
	make(&m);
	oci_archive(&m, "", &b);
	must_load(&m, &b, false, 1);
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		AUTO_BUF c = BUF_INIT;
		AUTO_ERR err = ERR_INIT;
		AUTO_IMAGE_LIST l = { 0 };
		oci_archive(&m, broken[i], &c);
		state_new();
		if (load_bytes(&c, c.len, &l, &err) >= 0)
			fail_msg("taken: broken %s", broken[i]);
		assert_non_null(err.text);
		assert_int_equal(count_entries("layers"), 0);
		state_close();
	}
}

static void legacy_archives(void **unused)
{
	static const char bottom[] = "1111111111111111111111111111111111111111111111111111111111111111";
	static const char top[] = "2222222222222222222222222222222222222222222222222222222222222222";
	AUTO(made_done) Made m;
	AUTO_BUF b = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	AUTO_IMAGE_LIST l = { 0 };
	make(&m);
	AUTO_FREE char *names[] = { xasprintf("%s/json", bottom), xasprintf("%s/layer.tar", bottom), xasprintf("%s/json", top),
		xasprintf("%s/layer.tar", top) };
	AUTO_FREE char *json = xasprintf("{\"id\":\"%s\",\"parent\":\"%s\",\"os\":\"linux\",\"config\":{\"Cmd\":[\"x\"]}}", top, bottom);
	AUTO_FREE char *repositories = xasprintf("{\"old\":{\"1\":\"%s\"}}", top);
	put_file(&b, names[0], "{}");
	put_bytes(&b, names[1], m.layers[0].data, m.layers[0].len);
	put_file(&b, names[2], json);
	put_bytes(&b, names[3], m.layers[1].data, m.layers[1].len);
	put_file(&b, "repositories", repositories);
	tar_write_end(&b);
	state_new();
	if (load_bytes(&b, b.len, &l, &err) < 0)
		fail_msg("%s", err_text(&err));
	assert_int_equal(l.n, 1);
	assert_string_equal(l.items[0]->tags[0], "docker.io/library/old:1");
	assert_string_equal(l.items[0]->layers[0].diff_id, m.diff[0]);
	assert_string_equal(l.items[0]->layers[1].diff_id, m.diff[1]);
	assert_string_equal(l.items[0]->config.cmd[0], "x");
	state_close();
	for (int i = 1; i < 4; i++)
		free(steal_ptr(&names[i]));
}

/* Every loss of 512 bytes is noticed, and leaves nothing. */
static void cut_off(void **unused)
{
	AUTO(made_done) Made m;
	AUTO_BUF b = BUF_INIT;
	AUTO_BUF gz = BUF_INIT;
	make(&m);
	docker_archive(&m, &b);
	pack_gzip(&b, &gz);
	state_new();
	for (size_t n = 0; n < b.len; n += 512) {
		AUTO_ERR err = ERR_INIT;
		AUTO_IMAGE_LIST l = { 0 };
		if (load_bytes(&b, n, &l, &err) >= 0)
			fail_msg("taken: cut at %zu", n);
		assert_int_equal(count_entries("layers"), 0);
	}
	for (size_t n = 0; n < gz.len; n += 64) {
		AUTO_ERR err = ERR_INIT;
		AUTO_IMAGE_LIST l = { 0 };
		if (load_bytes(&gz, n, &l, &err) >= 0)
			fail_msg("taken: gzip cut at %zu", n);
	}
	state_close();
}

static void expect_refusal(const Buf *b, const char *word)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_IMAGE_LIST l = { 0 };
	state_new();
	int r = load_bytes(b, b->len, &l, &err);
	if (r >= 0 || !strstr(err_text(&err), word))
		fail_msg("expected '%s', got %d: %s", word, r, err_text(&err));
	assert_int_equal(count_entries("layers"), 0);
	assert_int_equal(count_entries("blobs/sha256"), 0);
	state_close();
}

static void wrong_digests(void **unused)
{
	AUTO(made_done) Made m;
	AUTO_BUF layer = BUF_INIT;
	AUTO_BUF config = BUF_INIT;
	AUTO_BUF count = BUF_INIT;
	make(&m);
	char *at = memmem(m.layers[1].data, m.layers[1].len, "layer ", 6);
	*at = 'L';
	docker_archive(&m, &layer);
	expect_refusal(&layer, "wrong digest");
	*at = 'l';
	at = memmem(m.config.data, m.config.len, "amd64", 5);
	*at = 'A';
	docker_archive(&m, &config);
	expect_refusal(&config, "wrong digest");
	put_file(&count, "manifest.json", "[{\"Config\":\"c\",\"Layers\":[\"a\"]}]");
	put_bytes(&count, "c", m.config.data, m.config.len);
	put_bytes(&count, "a", m.layers[0].data, m.layers[0].len);
	tar_write_end(&count);
	expect_refusal(&count, "names 1 layers, the configuration 2");
}

static void nonsense(void **unused)
{
	static const struct {
		const char *manifest, *word;
	} cases[] = {
		{ "{}", "not a list" }, { "[]", "not a list" }, { "[{}]", "Config" }, { "[{\"Config\":\"none\",\"Layers\":[]}]", "not in the archive" },
		{ "[{\"Config\":\"../../etc/passwd\",\"Layers\":[]}]", "not in the archive" }, { "[{\"Config\":1}]", "Config" },
		{ "[{\"Config\":\"c\",\"Layers\":[\"x\"],\"RepoTags\":[\"NO\"]}]", "lower case" }, { "[", "manifest.json: line" },
		{ "[{\"Config\":\"c\",\"Layers\":{}}]", "not a list" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_BUF b = BUF_INIT;
		put_file(&b, "manifest.json", cases[i].manifest);
		tar_write_end(&b);
		expect_refusal(&b, cases[i].word);
	}
	AUTO_BUF empty = BUF_INIT;
	expect_refusal(&empty, "empty");
	AUTO_BUF other = BUF_INIT;
	put_file(&other, "bin/sh", "x");
	tar_write_end(&other);
	expect_refusal(&other, "stead import");
	AUTO_BUF up = BUF_INIT;
	put_file(&up, "../manifest.json", "[]");
	tar_write_end(&up);
	expect_refusal(&up, "'..'");
	AUTO_BUF out = BUF_INIT;
	put_symlink(&out, "manifest.json", "../../etc/passwd");
	tar_write_end(&out);
	expect_refusal(&out, "out of the archive");
	AUTO_BUF text = BUF_INIT;
	for (int i = 0; i < 200; i++)
		buf_str(&text, "this is no archive at all\n");
	expect_refusal(&text, "not a tar archive");
}

static void same_twice(void **unused)
{
	AUTO(made_done) Made m;
	AUTO_BUF b = BUF_INIT;
	AUTO_IMAGE_LIST first = { 0 };
	AUTO_IMAGE_LIST second = { 0 };
	make(&m);
	put_bytes(&b, "c", m.config.data, m.config.len);
	put_bytes(&b, "a", m.layers[0].data, m.layers[0].len);
	put_bytes(&b, "b", m.layers[1].data, m.layers[1].len);
	put_file(&b, "manifest.json",
		"[{\"Config\":\"c\",\"RepoTags\":[\"t:1\"],\"Layers\":[\"a\",\"b\"]},"
		"{\"Config\":\"c\",\"RepoTags\":[\"t:2\",\"t:1\"],\"Layers\":[\"a\",\"b\"]}]");
	tar_write_end(&b);
	state_new();
	assert_int_equal(load_bytes(&b, b.len, &first, NULL), 0);
	check_loaded(&m, &first);
	assert_int_equal(strv_len(first.items[0]->tags), 2);
	assert_int_equal(load_bytes(&b, b.len, &second, NULL), 0);
	check_loaded(&m, &second);
	state_close();
}

static void bombs(void **unused)
{
	AUTO_BUF zero = BUF_INIT;
	AUTO_BUF zst = BUF_INIT;
	size_t n = 96 << 20;
	memset(buf_reserve(&zero, n), 0, n);
	buf_added(&zero, n);
	pack_zstd(&zero, &zst);
	expect_refusal(&zst, "bomb");
}

/* Out and in again: the same image. Also for a layer whose files do not tell its tar. */
static void save_and_load(void **unused)
{
	AUTO(made_done) Made m;
	AUTO_BUF b = BUF_INIT;
	AUTO_BUF saved = BUF_INIT;
	AUTO_IMAGE_LIST l = { 0 };
	AUTO_ERR err = ERR_INIT;
	AUTO_FREE char *path = scratch_path("saved");
	make(&m);
	buf_clear(&m.layers[0]);
	put_file(&m.layers[0], "f", "first");
	put_file(&m.layers[0], "f", "second");
	tar_write_end(&m.layers[0]);
	buf_str(&m.layers[0], "what follows the end");
	digest_of(&m.layers[0], m.diff[0]);
	buf_clear(&m.config);
	buf_printf(&m.config, "{\"rootfs\":{\"diff_ids\":[\"%s\",\"%s\"]}}", m.diff[0], m.diff[1]);
	digest_of(&m.config, m.id);
	docker_archive(&m, &b);
	state_new();
	if (load_bytes(&b, b.len, &l, &err) < 0)
		fail_msg("%s", err_text(&err));
	json_t *o = json_pack("{s:[{s:s, s:[s, s]}]}", "images", "id", m.id, "tags", "docker.io/library/t:1", "x.io/y:2");
	AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (archive_save(&state, o, fd, &err) < 0)
		fail_msg("%s", err_text(&err));
	assert_int_equal(file_read(AT_FDCWD, path, 1 << 24, &saved), 0);
	state_close();
	must_load(&m, &saved, false, 2);
	json_decref(o);
	/* The OCI half says the same, once for each tag: hide the other's name (and mend the header's sum). */
	for (size_t at = 0; at < saved.len; at += TAR_BLOCK) {
		char *h = saved.data + at;
		if (memcmp(h, "manifest.json", 14) != 0)
			continue;
		unsigned sum = (unsigned) strtoul(h + 148, NULL, 8);
		(void) snprintf(h + 148, 7, "%06o", sum - 'm' + 'M');
		h[0] = 'M';
	}
	must_load(&m, &saved, false, 2);
}

static void damaged_layers_are_not_saved(void **unused)
{
	AUTO(made_done) Made m;
	AUTO_BUF b = BUF_INIT;
	AUTO_IMAGE_LIST l = { 0 };
	AUTO_ERR err = ERR_INIT;
	make(&m);
	docker_archive(&m, &b);
	state_new();
	assert_int_equal(load_bytes(&b, b.len, &l, &err), 0);
	AUTO_CLOSE int layer = store_open_layer(&state, m.diff[1], NULL);
	AUTO_CLOSE int file = openat(layer, "etc/conf", O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(file, "X", 1, 0), 1);
	json_t *o = json_pack("{s:[{s:s, s:[]}]}", "images", "id", m.id, "tags");
	AUTO_CLOSE int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	assert_true(archive_save(&state, o, null, &err) < 0);
	assert_non_null(strstr(err_text(&err), "changed or damaged"));
	json_decref(o);
	state_close();
}

static void import(void **unused)
{
	AUTO(made_done) Made m;
	AUTO_IMAGE_LIST l = { 0 };
	AUTO_IMAGE_LIST none = { 0 };
	AUTO_ERR err = ERR_INIT;
	AUTO_IMAGE_SPEC spec = { 0 };
	make(&m);
	json_t *o = json_pack("{s:s, s:[s], s:[s], s:[s], s:s}", "name", "r:1", "cmd", "/bin/a", "env", "A=b", "ports", "80", "user", "1:2");
	assert_int_equal(image_spec_from_json(o, &spec, &err), 0);
	json_decref(o);
	state_new();
	AUTO_CLOSE int fd = memory_file(&m.layers[0], m.layers[0].len);
	if (archive_import(&state, fd, &spec, &l, &err) < 0)
		fail_msg("%s", err_text(&err));
	assert_int_equal(l.n, 1);
	assert_string_equal(l.items[0]->layers[0].diff_id, m.diff[0]);
	assert_string_equal(l.items[0]->tags[0], "docker.io/library/r:1");
	assert_string_equal(l.items[0]->config.exposed_ports[0], "80/tcp");
	assert_string_equal(strv_env(l.items[0]->config.env, "A"), "b");
	assert_non_null(strv_env(l.items[0]->config.env, "PATH"));
	AUTO_CLOSE int cut = memory_file(&m.layers[1], m.layers[1].len - 1024);
	assert_true(archive_import(&state, cut, &spec, &none, &err) < 0);
	assert_non_null(strstr(err_text(&err), "cut off"));
	state_close();
}

/* A file system of 2 MiB for an image of 4: an error that says so, and nothing left. */
static void full_disk(void **unused)
{
	AUTO_BUF layer = BUF_INIT;
	AUTO_BUF big = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	AUTO_IMAGE_LIST l = { 0 };
	AUTO_FREE char *dir = scratch_path("small");
	for (int i = 0; i < 400000; i++)
		buf_printf(&big, "%010d", i);
	put_bytes(&layer, "usr/big", big.data, big.len);
	tar_write_end(&layer);
	assert_int_equal(mkdir(dir, 0700), 0);
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("tmpfs", dir, "tmpfs", 0, "size=2m") < 0) {
		(void) rmdir(dir);
		skip();
	}
	str_set(&state_dir, dir);
	assert_int_equal(store_open(dir, &state, &err), 0);
	AUTO_IMAGE_SPEC spec = { .name = xstrdup("docker.io/library/x:1"), .arch = xstrdup("amd64") };
	AUTO_CLOSE int fd = memory_file(&layer, layer.len);
	assert_int_equal(archive_import(&state, fd, &spec, &l, &err), -ENOSPC);
	assert_non_null(strstr(err_text(&err), "usr/big"));
	assert_non_null(strstr(err_text(&err), "no space left"));
	assert_int_equal(count_entries("layers"), 0);
	assert_int_equal(count_entries("tmp"), 1);
	store_close(&state);
	assert_int_equal(umount2(dir, UMOUNT_NOFOLLOW), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(docker_archives),
		cmocka_unit_test(packed_layers),
		cmocka_unit_test(oci_archives),
		cmocka_unit_test(legacy_archives),
		cmocka_unit_test(cut_off),
		cmocka_unit_test(wrong_digests),
		cmocka_unit_test(nonsense),
		cmocka_unit_test(same_twice),
		cmocka_unit_test(bombs),
		cmocka_unit_test(save_and_load),
		cmocka_unit_test(damaged_layers_are_not_saved),
		cmocka_unit_test(import),
		cmocka_unit_test(full_disk),
	};
	int skipped = need_root();
	if (skipped)
		return skipped;
	int r = cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
	free(state_dir);
	return r;
}
