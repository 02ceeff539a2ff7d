// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <cmocka.h>

#include "image/pack.h"
#include "image/testing.h"
#include "image/unpack.h"

#define CLAMP 1600000000

static char *tree(const char *name)
{
	return scratch_path(name);
}

static void add(const char *top, const char *name, const char *text)
{
	AUTO_FREE char *path = xasprintf("%s/%s/%s", scratch, top, name);
	AUTO_FREE char *dir = xstrndup(path, (size_t) (strrchr(path, '/') - path));
	assert_int_equal(dir_make(dir, 0755), 0);
	assert_int_equal(file_write(AT_FDCWD, path, text, strlen(text), 0644), 0);
}

static void pack(const char *top, const char *lower, Buf *ret_tar, char diff_id[sizeof(DIGEST_PREFIX) + 64], LayerInfo *info)
{
	AUTO_FREE char *root = tree(top);
	AUTO_FREE char *below = lower ? tree(lower) : NULL;
	AUTO_FREE char *file = tree("recipe");
	AUTO_ERR err = ERR_INIT;
	AUTO_CLOSE int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_CLOSE int lowerfd = below ? open(below, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	AUTO_CLOSE int recipe = open(file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	RecipeWriter *w = recipe_writer_new(recipe);
	if (pack_layer(fd, lowerfd, CLAMP, w, diff_id, info, &err) < 0)
		fail_msg("%s", err_text(&err));
	assert_int_equal(recipe_finish(w, &err), 0);
	recipe_writer_free(w);
	AUTO_STREAM s = NULL;
	assert_int_equal(recipe_open(recipe, fd, &s, &err), 0);
	char chunk[5000];
	ssize_t n;
	while ((n = stream_read(s, chunk, sizeof(chunk), &err)) > 0)
		buf_append(ret_tar, chunk, (size_t) n);
	assert_int_equal(n, 0);
}

static bool has_xattr(const char *top, const char *name, const char *xattr)
{
	AUTO_FREE char *path = xasprintf("%s/%s/%s", scratch, top, name);
	char value;
	return lgetxattr(path, xattr, &value, 1) > 0;
}

static void set_xattr(const char *top, const char *name, const char *xattr)
{
	AUTO_FREE char *path = xasprintf("%s/%s/%s", scratch, top, name);
	assert_int_equal(lsetxattr(path, xattr, "y", 1, 0), 0);
}

static void make_upper(void)
{
	AUTO_FREE char *gone = tree("upper/d/gone");
	AUTO_FREE char *file = tree("upper/d/file");
	AUTO_FREE char *hard = tree("upper/a-hard-link");
	AUTO_FREE char *sym = tree("upper/sym");
	AUTO_FREE char *sock = tree("upper/socket");
	AUTO_FREE char *lower = tree("lower/known");
	add("upper", "d/file", "contents");
	add("upper", "new/x", "x");
	add("upper", "known/y", "y");
	assert_int_equal(dir_make(lower, 0755), 0);
	assert_int_equal(mknod(gone, S_IFCHR, 0), 0);
	assert_int_equal(chown(file, 3, 4), 0);
	assert_int_equal(chmod(file, 06755), 0);
	set_xattr("upper", "d/file", "user.kept");
	set_xattr("upper", "d/file", "trusted.overlay.origin");
	set_xattr("upper", "new", "trusted.overlay.opaque");
	set_xattr("upper", "known", "trusted.overlay.opaque");
	assert_int_equal(link(file, hard), 0);
	assert_int_equal(symlink("/x", sym), 0);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	(void) snprintf(a.sun_path, sizeof(a.sun_path), "%s", sock);
	assert_int_equal(bind(fd, (struct sockaddr *) &a, sizeof(a)), 0);
	(void) close(fd);
}

static void an_upper_becomes_a_layer(void **state)
{
	AUTO_BUF tar = BUF_INIT;
	AUTO_BUF again = BUF_INIT;
	char id[sizeof(DIGEST_PREFIX) + 64], second[sizeof(DIGEST_PREFIX) + 64], hex[DIGEST_HEX_MAX];
	LayerInfo info, other;
	make_upper();
	pack("upper", "lower", &tar, id, &info);
	digest_sha256(tar.data, tar.len, hex);
	assert_string_equal(id + strlen(DIGEST_PREFIX), hex);
	assert_true(info.tar_size == (int64_t) tar.len);
	assert_true(info.size == 10);
	assert_false(has_xattr("upper", "d/file", "trusted.overlay.origin"));
	assert_false(has_xattr("upper", "new", "trusted.overlay.opaque"));
	assert_true(has_xattr("upper", "known", "trusted.overlay.opaque"));
	assert_non_null(memmem(tar.data, tar.len, "d/.wh.gone", 11));
	assert_non_null(memmem(tar.data, tar.len, "known/.wh..wh..opq", 19));
	assert_null(memmem(tar.data, tar.len, "new/.wh..wh..opq", 17));
	assert_null(memmem(tar.data, tar.len, "socket", 7));

	/* Out of the tar comes the same tree, which gives the same layer. */
	AUTO_FREE char *copy = tree("copy");
	assert_int_equal(mkdir(copy, 0755), 0);
	AUTO_CLOSE int fd = open(copy, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_STREAM s = stream_memory(tar.data, tar.len);
	AUTO_ERR err = ERR_INIT;
	UnpackResult result;
	if (unpack_layer(s, fd, NULL, &result, &err) < 0)
		fail_msg("%s", err_text(&err));
	assert_false(result.irregular);
	pack("copy", NULL, &again, second, &other);
	assert_string_equal(second, id);
	assert_int_equal(again.len, tar.len);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(an_upper_becomes_a_layer) };
	int skipped = need_root();
	return skipped ? skipped : cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
