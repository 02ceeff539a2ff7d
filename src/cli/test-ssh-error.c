// SPDX-License-Identifier: Apache-2.0
/* What ssh, sshd and shells really print, and what a person is told. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "cli/ssh-error.h"

#define CHANGED \
	"@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@\r\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\n" \
	"The fingerprint for the ED25519 key sent by the remote host is\nSHA256:abc.\r\nHost key verification failed.\r\n"

static const struct {
	SshEnd end;
	const char *says[3], *not;
	int code;
} cases[] = {
	{ { 255, 0, CHANGED, NULL, false }, { "has another host key", "ssh-keygen -R '[box]:2222'", "  | SHA256:abc." }, "is not known here", -ENOTCONN },
	{ { 255, 0, "Host key verification failed.\r\n", NULL, false },
		{ "is not known here", "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub", "ssh-keyscan -p 2222 box" }, NULL, -ENOTCONN },
	/* A Host of ~/.ssh/config goes by another name in known_hosts; what is no name is none. */
	{ { 255, 0, CHANGED "Host key for [10.0.0.5]:22022 has changed and you have requested strict checking.\r\n", NULL, false },
		{ "ssh-keygen -R '[10.0.0.5]:22022'" }, "[box]", -ENOTCONN },
	{ { 255, 0, CHANGED "Host key for pi.lan has changed and you have requested strict checking.\r\n", NULL, false },
		{ "ssh-keygen -R pi.lan'" }, "[box]", -ENOTCONN },
	{ { 255, 0, CHANGED "Host key for $(x) has changed and you have requested strict checking.\r\n", NULL, false },
		{ "ssh-keygen -R '[box]:2222'" }, NULL, -ENOTCONN },
	{ { 255, 0, "@       WARNING: REVOKED HOST KEY DETECTED!               @\r\nHost key verification failed.\r\n", NULL, false },
		{ "marked as revoked" }, "is not known here", -ENOTCONN },
	{ { 255, 0, "pi@box: Permission denied (publickey,password).\r\n", NULL, false }, { "refuses the key", "ssh-copy-id -p 2222 pi@box" }, NULL, -ENOTCONN },
	{ { 255, 0, "Received disconnect from box port 2222:2: Too many authentication failures\n", NULL, false }, { "refuses the key" }, NULL, -ENOTCONN },
	{ { 255, 0, "ssh: Could not resolve hostname box: Name or service not known\n", NULL, false }, { "the name 'box' does not resolve" }, NULL, -ENOTCONN },
	{ { 255, 0, "ssh: connect to host box port 2222: Connection refused\n", NULL, false }, { "nobody listens for ssh there", "port 2222" }, NULL, -ENOTCONN },
	{ { 255, 0, "ssh: connect to host box port 2222: Connection timed out\n", NULL, false }, { "cannot be reached" }, NULL, -ENOTCONN },
	{ { 255, 0, "ssh: connect to host box port 2222: No route to host\n", NULL, false }, { "cannot be reached" }, NULL, -ENOTCONN },
	{ { 255, 0, "kex_exchange_identification: read: Connection reset by peer\n", NULL, false },
		{ "ssh could not connect; try 'ssh -p 2222 -- pi@box true' by hand", "  | kex_exchange_identification: read" }, NULL, -ENOTCONN },
	{ { 127, 0, "bash: line 1: stead: command not found\n", NULL, false },
		{ "stead is not installed there", "stead setup -H ssh://pi@box:2222", "  | bash: line 1" }, NULL, -ENOTCONN },
	{ { 126, 0, "sh: 1: stead: Permission denied\n", NULL, false }, { "stead is not installed there" }, "refuses the key", -ENOTCONN },
	{ { 2, 0, "stead: unknown command 'dial-stdio'\n", NULL, false }, { "too old", "stead setup -H" }, NULL, -ENOTCONN },
	/* Words that the other machine says are not ssh's own. */
	{ { 1, 0, "stead: x: Connection refused\n", NULL, false }, { "ended there before it answered (exit code 1)", "  | stead: x" }, "listens", -ENOTCONN },
	{ { 0, 0, "", NULL, false }, { "exit code 0" }, NULL, -ENOTCONN },
	{ { -1, 15, "", NULL, false }, { "signal 15" }, NULL, -ENOTCONN },
	{ { -1, 15, "", "the answer is not stead's, it begins with \"hi\"", false }, { "begins with \"hi\"", "must print nothing" }, NULL, -ENOTCONN },
	{ { 255, 0, "client_loop: send disconnect: Broken pipe\r\n", NULL, true }, { "the connection was lost", "  | client_loop" }, NULL, -ECONNRESET },
	{ { -1, 15, "", "the other side has not answered for 60 seconds", true }, { "not answered for 60 seconds" }, NULL, -ECONNRESET },
	/* A file that was said to be missing long ago is not why the connection was lost. */
	{ { 255, 0, "Host key verification failed.\r\n", NULL, true }, { "the connection was lost" }, "is not known here", -ECONNRESET },
};

static void explained(void **state)
{
	const HostAddress a = { true, (char *) "pi", (char *) "box", (char *) "2222", NULL };
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_ERR err = ERR_INIT;
		int r = ssh_explain(&a, "ssh://pi@box:2222", &cases[i].end, &err);
		const char *text = err_text(&err);
		if (r != cases[i].code || err.code != r || strncmp(text, "ssh://pi@box:2222: ", 19) != 0 || strchr(text, '\r'))
			fail_msg("case %zu: %d %s", i, r, text);
		for (size_t k = 0; k < ARRAY_SIZE(cases[i].says); k++)
			if (cases[i].says[k] && !strstr(text, cases[i].says[k]))
				fail_msg("case %zu: no '%s' in: %s", i, cases[i].says[k], text);
		if (cases[i].not && strstr(text, cases[i].not))
			fail_msg("case %zu: '%s' in: %s", i, cases[i].not, text);
	}
}

static void without_port(void **state)
{
	const HostAddress a = { true, NULL, (char *) "box", NULL, NULL };
	const SshEnd changed = { 255, 0, CHANGED, NULL, false };
	AUTO_ERR err = ERR_INIT;
	(void) ssh_explain(&a, "ssh://box", &changed, &err);
	assert_non_null(strstr(err_text(&err), "'ssh-keygen -R box', then 'ssh -- box' once"));
}

/* Of much that is said, the end. */
static void long_words(void **state)
{
	const HostAddress a = { true, NULL, (char *) "box", NULL, NULL };
	AUTO_BUF said = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	for (int i = 0; i < 100; i++)
		buf_printf(&said, "line %d.\r\n", i);
	const SshEnd end = { 255, 0, buf_cstr(&said), NULL, false };
	(void) ssh_explain(&a, "ssh://box", &end, &err);
	assert_non_null(strstr(err_text(&err), "by hand\n  | line 88.\n"));
	assert_non_null(strstr(err_text(&err), "  | line 99."));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(explained), cmocka_unit_test(without_port), cmocka_unit_test(long_words) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
