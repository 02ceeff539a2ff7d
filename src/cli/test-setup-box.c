// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/setup-box.h"

#define HEAD "Welcome!\nroot=yes\nstead-setup=1\n"
#define REST "machine=x86_64\narch=amd64\nuser=pi\nsystemd=yes\nactive=no\nstead=\ngroup=no\nmember=no\nfree=5000000\n"

static int parse(const char *text, SetupBox *ret, Err *err)
{
	return setup_box_parse(text, strlen(text), ret, err);
}

static void fields(void **state)
{
	AUTO_BOX b = { 0 };
	AUTO_ERR err = ERR_INIT;
	assert_int_equal(parse(HEAD "id=debian\nlike=\nversion=12\nname=Debian GNU/Linux 12 (bookworm)\n" REST "root=sudo\nmissing=crun\nmissing=a|b\nend=1\nuser=x\n",
		&b, &err), 0);
	assert_string_equal(b.id, "debian");
	assert_string_equal(b.name, "Debian GNU/Linux 12 (bookworm)");
	assert_string_equal(b.user, "pi"); /* what comes after the end counts as little as what comes before the beginning */
	assert_int_equal(b.root, ROOT_SUDO);
	assert_true(b.systemd && !b.active && !b.group && !b.member);
	assert_int_equal(b.free, 5000000LL * 1024);
	assert_int_equal(strv_len(b.missing), 2);
	assert_string_equal(b.missing[1], "a|b");
}

static void bad_probes(void **state)
{
	static const char *const texts[] = { "", "sh: not found\n", HEAD, HEAD REST, "end=1\n", REST "end=1\n" };
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		AUTO_BOX b = { 0 };
		AUTO_ERR err = ERR_INIT;
		assert_int_equal(parse(texts[i], &b, &err), -EPROTO);
		assert_null(b.id);
	}
	AUTO_BOX b = { 0 };
	assert_int_equal(parse(HEAD "id=de\x1b[2Jbian\nuser=\xff\nfree=-1\nroot=maybe\nend=1\n", &b, NULL), 0);
	assert_string_equal(b.id, "");
	assert_string_equal(b.user, "");
	assert_int_equal(b.free, -1);
	assert_int_equal(b.root, ROOT_NO);
}

static void what_can_be_set_up(void **state)
{
	static const struct {
		const char *lines, *says; /* NULL: it can */
	} cases[] = {
		{ "id=debian\nversion=12\nroot=yes\n", NULL },
		{ "id=debian\nversion=13\nroot=sudo\n", NULL },
		{ "id=debian\nversion=\nroot=sudo\n", NULL }, /* unstable */
		{ "id=raspbian\nversion=12\nroot=password\n", NULL },
		{ "id=ubuntu\nlike=debian\nversion=22.04\nroot=yes\n", NULL },
		{ "id=armbian\nlike=debian\nversion=9\nroot=yes\n", NULL },
		{ "id=debian\nversion=11\nname=Debian 11\nroot=yes\n", "Debian 11 is too old; stead needs Debian 12 or later" },
		{ "id=ubuntu\nversion=20.04\nname=Ubuntu 20.04\nroot=yes\n", "needs Ubuntu 22.04" },
		{ "id=fedora\nversion=40\nname=Fedora 40\nroot=yes\n", "this is Fedora 40; setup knows Debian, Ubuntu and Raspberry Pi OS" },
		{ "root=yes\n", "no Linux that says its name" },
		{ "id=debian\nroot=no\n", "pi is not root there, and there is no sudo" },
		{ "id=debian\nroot=yes\nsystemd=no\n", "systemd does not run there" },
		{ "id=debian\nroot=yes\narch=\n", "no dpkg" },
		{ "id=debian\nroot=yes\nfree=100000\n", "are free on /usr" },
		{ "id=debian\nroot=yes\nfree=\n", NULL },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_BOX b = { 0 };
		AUTO_ERR err = ERR_INIT;
		AUTO_FREE char *text = xasprintf(HEAD REST "%send=1\n", cases[i].lines);
		assert_int_equal(parse(text, &b, NULL), 0);
		int r = setup_box_check(&b, "ssh://box", &err);
		if ((r < 0) != (cases[i].says != NULL) || (r < 0 && !strstr(err_text(&err), cases[i].says)))
			fail_msg("case %zu: %d %s", i, r, err_text(&err));
	}
}

static void plans(void **state)
{
	static const struct {
		const char *lines, *says[4], *not;
	} cases[] = {
		{ "id=debian\nname=Debian 12\nroot=sudo\nmissing=crun\nmissing=libuv1t64|libuv1\n",
			{ "ssh://box: Debian 12, amd64, as pi with sudo\n", "install crun, libuv1t64 or libuv1\n", "make stead, add pi to it", "enable and start" }, "password" },
		{ "id=debian\nroot=yes\nuser=root\ngroup=yes\nstead=stead 0.0.9\nactive=yes\n",
			{ "packages: all there", "stead 1.2.3, with man page and completion for bash (there is: stead 0.0.9)", "stead is there\n", "restart it where it changes" }, "sudo" },
		{ "id=debian\nroot=password\ngroup=yes\nmember=yes\n", { "asks for a password", "pi is in it" }, "add pi" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_BOX b = { 0 };
		AUTO_BUF out = BUF_INIT;
		AUTO_FREE char *text = xasprintf(HEAD REST "%send=1\n", cases[i].lines);
		assert_int_equal(parse(text, &b, NULL), 0);
		setup_box_plan(&b, "ssh://box", "1.2.3", &out);
		for (size_t k = 0; k < ARRAY_SIZE(cases[i].says); k++)
			if (cases[i].says[k] && !strstr(buf_cstr(&out), cases[i].says[k]))
				fail_msg("case %zu: no '%s' in:\n%s", i, cases[i].says[k], buf_cstr(&out));
		if (strstr(buf_cstr(&out), cases[i].not))
			fail_msg("case %zu: '%s' in:\n%s", i, cases[i].not, buf_cstr(&out));
	}
}

static void architectures(void **state)
{
	static const struct {
		const char *head, *arch;
	} cases[] = {
		{ "\x7f"
		  "ELF\2\1\1\0\0\0\0\0\0\0\0\0\3\0\x3e\0", "amd64" },
		{ "\x7f"
		  "ELF\2\1\1\0\0\0\0\0\0\0\0\0\3\0\xb7\0", "arm64" },
		{ "\x7f"
		  "ELF\1\1\1\0\0\0\0\0\0\0\0\0\3\0\x28\0", "armhf" },
		{ "\x7f"
		  "ELF\2\2\1\0\0\0\0\0\0\0\0\0\0\3\0\x16", "s390x" },
		{ "\x7f"
		  "ELF\1\1\1\0\0\0\0\0\0\0\0\0\3\0\x3e\0", NULL }, /* x32 */
		{ "#!/bin/sh\nexec true\n\n\n", NULL },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *arch = setup_elf_arch((const uint8_t *) cases[i].head, 20);
		if (!str_eq(arch, cases[i].arch))
			fail_msg("case %zu: %s", i, arch);
	}
	assert_null(setup_elf_arch((const uint8_t *) cases[0].head, 19));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(fields), cmocka_unit_test(bad_probes), cmocka_unit_test(what_can_be_set_up),
		cmocka_unit_test(plans), cmocka_unit_test(architectures) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
