// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/host.h"

static void good(void **state)
{
	static const struct {
		const char *url;
		HostAddress is;
	} cases[] = {
		{ "unix:///run/x.sock", { false, NULL, NULL, NULL, (char *) "/run/x.sock" } },
		{ "ssh://box", { true, NULL, (char *) "box", NULL, NULL } },
		{ "ssh://box/", { true, NULL, (char *) "box", NULL, NULL } },
		{ "ssh://pi@raspberrypi.local:2222", { true, (char *) "pi", (char *) "raspberrypi.local", (char *) "2222", NULL } },
		{ "ssh://pi@[fe80::1%eth0]:22/run/s t.sock", { true, (char *) "pi", (char *) "fe80::1%eth0", (char *) "22", (char *) "/run/s t.sock" } },
		{ "ssh://[::1]", { true, NULL, (char *) "::1", NULL, NULL } },
		{ "ssh://ann@example.com@box_1", { true, (char *) "ann@example.com", (char *) "box_1", NULL, NULL } },
		{ "ssh://box:022", { true, NULL, (char *) "box", (char *) "22", NULL } },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_HOST a = { 0 };
		AUTO_ERR err = ERR_INIT;
		const HostAddress *w = &cases[i].is;
		if (host_parse(cases[i].url, &a, &err) < 0)
			fail_msg("%s: %s", cases[i].url, err_text(&err));
		if (a.ssh != w->ssh || !str_eq(a.user, w->user) || !str_eq(a.host, w->host) || !str_eq(a.port, w->port) || !str_eq(a.path, w->path))
			fail_msg("%s: %s %s %s %s", cases[i].url, a.user, a.host, a.port, a.path);
	}
}

static void bad(void **state)
{
	static const struct {
		const char *url, *says;
	} cases[] = {
		{ "ssh://", "host is empty" },
		{ "ssh:///run/x.sock", "host is empty" },
		{ "ssh://@box", "user is empty" },
		{ "ssh://-oProxyCommand=x", "begins with '-'" },
		{ "ssh://-l@box", "begins with '-'" },
		{ "ssh://[-x]", "begins with '-'" },
		{ "ssh://bo x", "has ' '" },
		{ "ssh://bo\nx", "byte 0x0a" },
		{ "ssh://pi\t@box", "byte 0x09" },
		{ "ssh://b\xc3\xb6x", "byte 0xc3" },
		{ "ssh://$(id)", "has '$'" },
		{ "ssh://a;b@box", "has ';'" },
		{ "ssh://`x`@box", "has '`'" },
		{ "ssh://%h", "has '%'" },
		{ "ssh://pi:secret@box", "no password" },
		{ "ssh://box:", "is no port" },
		{ "ssh://box:0", "is no port" },
		{ "ssh://box:65536", "is no port" },
		{ "ssh://box:22x", "is no port" },
		{ "ssh://::1", "in brackets" },
		{ "ssh://[::1", "[ADDRESS]" },
		{ "ssh://[::1]x", "[ADDRESS]" },
		{ "ssh://box?x", "has '?'" },
		{ "ssh://box/a\x01", "control character" },
		{ "unix://x", "must begin with /" },
		{ "unix://", "must begin with /" },
		{ "unix:///a\x1b", "control character" },
		{ "tcp://1.2.3.4:5", "unix:///PATH" },
		{ "http://x", "ssh://[USER@]HOST" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_HOST a = { 0 };
		AUTO_ERR err = ERR_INIT;
		if (host_parse(cases[i].url, &a, &err) != -EINVAL || !strstr(err_text(&err), cases[i].says))
			fail_msg("%s: %s", cases[i].url, err_text(&err));
	}
}

static const char file[] = "# my machines\n\npi   ssh://admin@raspberrypi.local   # in the cellar\n\tvps.1\tssh://root@vps:2222\r\nhere unix:///run/stead/stead.sock";

static void named(void **state)
{
	static const struct {
		const char *name, *url;
	} cases[] = { { "pi", "ssh://admin@raspberrypi.local" }, { "vps.1", "ssh://root@vps:2222" }, { "here", "unix:///run/stead/stead.sock" } };
	AUTO_FREE char *url = NULL;
	AUTO_ERR err = ERR_INIT;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_FREE char *found = NULL;
		assert_int_equal(hosts_find(file, "hosts", cases[i].name, &found, NULL), 0);
		assert_string_equal(found, cases[i].url);
	}
	assert_int_equal(hosts_find(file, "hosts", "vps1", &url, &err), -ENOENT);
	assert_non_null(strstr(err_text(&err), "no host 'vps1' in hosts; did you mean 'vps.1'?"));
	assert_int_equal(hosts_find("", "hosts", "vps1", &url, &err), -ENOENT);
	assert_non_null(strstr(err_text(&err), "add a line"));
}

static void bad_files(void **state)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
		{ "pi\n", "h:1: a line is NAME URL" },
		{ "\n# x\npi #ssh://box\n", "h:3: a line is NAME URL" },
		{ "pi ssh://box more\n", "h:1: a line is NAME URL" },
		{ "a ssh://b\na ssh://c\n", "h:2: 'a' is there twice" },
		{ "-a ssh://b\n", "h:1: '-a' is no name" },
		{ "a/b ssh://b\n", "h:1: 'a/b' is no name" },
		{ "a ssh://-b\n", "h:1: ssh://-b: a host that begins with '-'" },
		{ "a b\n", "h:1: b: a host is written" },
		{ "a ssh://b\xff\n", "h: not UTF-8" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_FREE char *url = NULL;
		AUTO_ERR err = ERR_INIT;
		if (hosts_find(cases[i].text, "h", "a", &url, &err) != -EINVAL || !strstr(err_text(&err), cases[i].says))
			fail_msg("%s: %s", cases[i].text, err_text(&err));
	}
}

/* By the file of the user's configuration. */
static void resolved(void **state)
{
	char dir[] = "/tmp/stead-hosts.XXXXXX";
	AUTO_FREE char *url = NULL, *named_url = NULL, *path = NULL;
	AUTO_ERR err = ERR_INIT;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(setenv("XDG_CONFIG_HOME", dir, 1), 0);
	assert_int_equal(host_resolve("ssh://x", &url, &err), 0);
	assert_string_equal(url, "ssh://x");
	assert_int_equal(host_resolve("pi", &named_url, &err), -ENOENT);
	assert_non_null(strstr(err_text(&err), "make the file"));
	assert_int_equal(host_resolve("-pi", &named_url, &err), -EINVAL);
	AUTO_FREE char *stead = xasprintf("%s/stead", dir);
	assert_int_equal(mkdir(stead, 0700), 0);
	path = hosts_path();
	assert_int_equal(file_write(AT_FDCWD, path, file, sizeof(file), 0600), 0);
	assert_int_equal(host_resolve("pi", &named_url, &err), -EINVAL); /* the NUL of the literal */
	assert_int_equal(file_write(AT_FDCWD, path, file, strlen(file), 0600), 0);
	assert_int_equal(host_resolve("pi", &named_url, &err), 0);
	assert_string_equal(named_url, "ssh://admin@raspberrypi.local");
	assert_int_equal(setenv("XDG_CONFIG_HOME", "relative", 1), 0);
	assert_int_equal(setenv("HOME", "/home/ann", 1), 0);
	AUTO_FREE char *usual = hosts_path();
	assert_string_equal(usual, "/home/ann/.config/stead/hosts");
	assert_int_equal(tree_remove(AT_FDCWD, dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(good), cmocka_unit_test(bad), cmocka_unit_test(named), cmocka_unit_test(bad_files),
		cmocka_unit_test(resolved) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
