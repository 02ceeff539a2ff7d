// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "image/apt.h"

static char *list_of(const AptSources *s, const char *keys)
{
	Buf b = BUF_INIT;
	apt_write_list(s, keys, &b);
	return buf_steal(&b);
}

static void one_line_style(void **state)
{
	AptSources s = { 0 };
	apt_parse_list("# comment\n"
		       "deb http://deb.debian.org/debian bookworm main contrib # why\n"
		       "\tdeb [ arch=amd64 signed-by=/k.gpg trusted=yes ] https://x.example/debian bookworm-updates main\r\n"
		       "deb-src http://deb.debian.org/debian bookworm main\n"
		       "deb [broken http://x y main\ndeb http://only\ndebx http://a b c\n"
		       "deb cdrom:[Debian]/ bookworm main",
		&s);
	AUTO_FREE char *all = list_of(&s, NULL);
	assert_string_equal(all,
		"deb http://deb.debian.org/debian bookworm main contrib\n"
		"deb [trusted=yes signed-by=/k.gpg] https://x.example/debian bookworm-updates main\n"
		"deb cdrom:[Debian]/ bookworm main\n");
	AUTO_FREE char *keyed = list_of(&s, "/keys");
	assert_non_null(strstr(keyed, "signed-by=/keys/key-1.gpg"));
	apt_sources_done(&s);
}

static void deb822_style(void **state)
{
	AptSources s = { 0 };
	apt_parse_deb822("Types: deb deb-src\n# note\nURIs: http://a/debian http://b/debian\nSuites: bookworm bookworm-updates\n"
			 "Components: main\n non-free\nSigned-By: /usr/share/keyrings/k.gpg\n\n"
			 "types: deb\nuris: http://off/debian\nsuites: bookworm\nEnabled: no\n\n"
			 "Types: deb-src\nURIs: http://src/debian\nSuites: bookworm\nComponents: main\n\n"
			 "Types: deb\nURIs: http://key/debian\nSuites: bookworm\nComponents: main\nSigned-By:\n"
			 " -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n -----END PGP PUBLIC KEY BLOCK-----\n",
		&s);
	assert_int_equal(s.n, 5);
	assert_string_equal(s.items[3].uri, "http://b/debian");
	assert_string_equal(s.items[3].suite, "bookworm-updates");
	assert_string_equal(s.items[0].signed_by, "/usr/share/keyrings/k.gpg");
	assert_true(strv_has(s.items[0].components, "non-free"));
	assert_null(s.items[4].signed_by);
	assert_string_equal(s.items[4].key, "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc\n-----END PGP PUBLIC KEY BLOCK-----");
	apt_sources_done(&s);
}

static void selects_the_distribution(void **state)
{
	AptSources all = { 0 }, s = { 0 };
	apt_parse_list("deb http://deb.debian.org/debian bookworm main\n"
		       "deb http://deb.debian.org/debian bookworm main\n"
		       "deb http://deb.debian.org/debian-security bookworm-security main\n"
		       "deb http://deb.debian.org/debian bookworm-backports main\n"
		       "deb https://download.docker.com/linux/debian bookworm stable\n"
		       "deb https://deb.nodesource.com/node_20.x nodistro main\n"
		       "deb file:/srv/mirror bookworm main\n",
		&all);
	apt_select(&all, "bookworm", "trixie", &s);
	AUTO_FREE char *list = list_of(&s, NULL);
	assert_string_equal(list,
		"deb http://deb.debian.org/debian trixie main\ndeb http://deb.debian.org/debian-security trixie-security main\n");
	apt_sources_done(&all);
	apt_sources_done(&s);
}

static void os_release(void **state)
{
	static const char text[] = "NAME=\"Debian GNU/Linux\"\nVERSION_CODENAME=bookworm\nID='debian'\nX_ID=no\n";
	AUTO_FREE char *codename = apt_os_release(text, "VERSION_CODENAME");
	AUTO_FREE char *name = apt_os_release(text, "NAME");
	AUTO_FREE char *id = apt_os_release(text, "ID");
	AUTO_FREE char *none = apt_os_release(text, "VERSION");
	assert_string_equal(codename, "bookworm");
	assert_string_equal(name, "Debian GNU/Linux");
	assert_string_equal(id, "debian");
	assert_null(none);
}

static void acquire_settings(void **state)
{
	AUTO_BUF b = BUF_INIT;
	apt_filter_acquire("Acquire \"\";\nAcquire::http \"\";\nAcquire::http::Proxy \"http://p:3142\";\n"
			   "Acquire::http::Proxy-Auto-Detect \"/usr/bin/x\";\nAcquire::Languages:: \"none\";\n"
			   "Acquire::Check-Valid-Until \"false\";",
		&b);
	assert_string_equal(b.data, "Acquire::http::Proxy \"http://p:3142\";\nAcquire::Check-Valid-Until \"false\";\n");
}

static void mirror_alone(void **state)
{
	AptSources s = { 0 };
	AUTO_FREE char *suite = NULL;
	assert_int_equal(apt_host_sources("noble", "http://m/ubuntu", &s, &suite, NULL), 0);
	AUTO_FREE char *list = list_of(&s, NULL);
	assert_string_equal(suite, "noble");
	assert_string_equal(list, "deb http://m/ubuntu noble main universe\n");
	apt_sources_done(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_line_style), cmocka_unit_test(deb822_style), cmocka_unit_test(selects_the_distribution),
		cmocka_unit_test(os_release), cmocka_unit_test(acquire_settings), cmocka_unit_test(mirror_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
