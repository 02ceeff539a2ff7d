// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "run/user.h"

static char root[64];

static void put(const char *name, const char *text)
{
	AUTO_FREE char *path = xasprintf("%s/etc/%s", root, name);
	assert_int_equal(file_write(AT_FDCWD, path, text, strlen(text), 0644), 0);
}

static int setup(void **state)
{
	(void) state;
	strncpy(root, "/tmp/stead-user-XXXXXX", sizeof(root) - 1);
	assert_non_null(mkdtemp(root));
	AUTO_FREE char *etc = xasprintf("%s/etc", root);
	assert_int_equal(mkdir(etc, 0755), 0);
	put("passwd", "root:x:0:0:root:/root:/bin/sh\n# comment\nbroken\nweb:x:33:34::/var/www:/bin/false\nevil:x:4294967296:0::/:\nneg:x:-1:0::/:\n"
		      "last:x:70:70::/l:/bin/sh");
	put("group", "root:x:0:\nweb:x:34:\nmedia:x:50:a,web,b\nvideo:x:44:webx\nlast:x:70:\n");
	return 0;
}

static int teardown(void **state)
{
	(void) state;
	return tree_remove(AT_FDCWD, root);
}

static void test_names(void **state)
{
	(void) state;
	User u;
	assert_int_equal(user_resolve(root, NULL, NULL, &u, NULL), 0);
	assert_int_equal(u.uid, 0);
	assert_string_equal(u.home, "/root");
	user_done(&u);
	assert_int_equal(user_resolve(root, "web", NULL, &u, NULL), 0);
	assert_int_equal(u.uid, 33);
	assert_int_equal(u.gid, 34);
	assert_int_equal(u.n_groups, 1);
	assert_int_equal(u.groups[0], 50);
	assert_string_equal(u.home, "/var/www");
	user_done(&u);
	char *const extra[] = { (char *) "video", (char *) "1234", NULL };
	assert_int_equal(user_resolve(root, "33:media", extra, &u, NULL), 0);
	assert_int_equal(u.uid, 33);
	assert_int_equal(u.gid, 50);
	assert_int_equal(u.n_groups, 2);
	assert_int_equal(u.groups[1], 1234);
	user_done(&u);
	assert_int_equal(user_resolve(root, "9999:8888", NULL, &u, NULL), 0);
	assert_int_equal(u.uid, 9999);
	assert_int_equal(u.gid, 8888);
	assert_string_equal(u.home, "/");
	user_done(&u);
	assert_int_equal(user_resolve(root, "last", NULL, &u, NULL), 0);
	assert_int_equal(u.gid, 70);
	user_done(&u);
}

static void test_hostile(void **state)
{
	(void) state;
	User u;
	/* Ids that would wrap to root somewhere are names, and no such names exist. */
	static const char *const bad[] = { "4294967296", "2147483648", "-1", "1x", "0x0", "nobody", "evil", "neg", "web:nogroup", "web:4294967296", "+1" };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		AUTO_ERR err = ERR_INIT;
		assert_int_equal(user_resolve(root, bad[i], NULL, &u, &err), -ENOENT);
		assert_non_null(strstr(err_text(&err), "is not in the image"));
	}
	/* Files that are no files. */
	AUTO_FREE char *passwd = xasprintf("%s/etc/passwd", root);
	assert_int_equal(unlink(passwd), 0);
	assert_int_equal(symlink("/dev/zero", passwd), 0);
	assert_int_equal(user_resolve(root, "web", NULL, &u, NULL), -ENOENT);
	assert_int_equal(unlink(passwd), 0);
	assert_int_equal(mkfifo(passwd, 0600), 0);
	assert_int_equal(user_resolve(root, "web", NULL, &u, NULL), -ENOENT);
	/* A link to the host's file is resolved inside the root. */
	assert_int_equal(unlink(passwd), 0);
	assert_int_equal(symlink("../../../../../etc/hostpasswd", passwd), 0);
	assert_int_equal(user_resolve(root, "5", NULL, &u, NULL), 0);
	assert_int_equal(u.gid, 0);
	user_done(&u);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_names), cmocka_unit_test(test_hostile) };
	return cmocka_run_group_tests(tests, setup, teardown);
}
