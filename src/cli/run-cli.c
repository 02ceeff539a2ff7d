// SPDX-License-Identifier: Apache-2.0
#include "cli/run-cli.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/commands.h"

static char dir[] = "/tmp/stead-test-cli-XXXXXX";
static char *host;
char *cli_socket_path;

int cli_setup(void **state)
{
	if (!mkdtemp(dir) || chdir(dir) < 0)
		return -1;
	static const char *const unset[] = { "STEAD_HOST", "COMPOSE_FILE", "COMPOSE_PROJECT_NAME", "COMPOSE_PROFILES", "TERM" };
	for (size_t i = 0; i < ARRAY_SIZE(unset); i++)
		(void) unsetenv(unset[i]);
	cli_socket_path = xasprintf("%s/sock", dir);
	host = xasprintf("unix://%s", cli_socket_path);
	return 0;
}

int cli_teardown(void **state)
{
	free(cli_socket_path);
	free(host);
	return chdir("/") < 0 ? -1 : tree_remove(AT_FDCWD, dir);
}

int daemon_fake(int argc, char **argv)
{
	return argc == 3 && str_eq(argv[0], "daemon") && str_eq(argv[1], "--name") && str_eq(argv[2], "x") ? 3 : 4;
}

void write_file(const char *name, const char *text)
{
	assert_int_equal(file_write(AT_FDCWD, name, text, strlen(text), 0644), 0);
}

static char *read_fd(int fd)
{
	Buf b = BUF_INIT;
	AUTO_FREE char *path = xasprintf("/proc/self/fd/%d", fd);
	assert_int_equal(file_read(AT_FDCWD, path, 16 << 20, &b), 0);
	return buf_steal(&b);
}

/* Runs `stead -H … words` in this process with its three descriptors redirected. */
Outcome run_input(const char *input, const FakeRule *rules, const char *const *words)
{
	static const int fds[] = { 0, 1, 2 };
	int saved[3], files[3];
	Outcome o = { 0 };
	AUTO_STRV char **argv = NULL;
	FakeServer *server = rules ? fake_start(cli_socket_path, rules) : NULL;
	strv_add(&argv, "stead");
	strv_add(&argv, "-H");
	strv_add(&argv, host);
	for (; *words; words++)
		strv_add(&argv, *words);
	(void) fflush(NULL);
	for (int i = 0; i < 3; i++) {
		files[i] = memfd_create("file", MFD_CLOEXEC);
		saved[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 10);
		assert_true(files[i] >= 0 && saved[i] >= 0);
	}
	if (input)
		(void) fd_write_all(files[0], input, strlen(input));
	(void) lseek(files[0], 0, SEEK_SET);
	for (int i = 0; i < 3; i++)
		(void) dup2(files[i], fds[i]);
	o.code = cli_main((int) strv_len(argv), argv, daemon_fake);
	(void) fflush(NULL);
	for (int i = 0; i < 3; i++) {
		(void) dup2(saved[i], fds[i]);
		(void) close(saved[i]);
	}
	o.out = read_fd(files[1]);
	o.err = read_fd(files[2]);
	for (int i = 0; i < 3; i++)
		(void) close(files[i]);
	o.requests = server ? fake_stop(server) : NULL;
	return o;
}
void done(Outcome *o)
{
	free(o->out);
	free(o->err);
	free(o->requests);
}

void expect(const Outcome *o, int code, const char *out, const char *err)
{
	bool out_fits = !out || strstr(o->out, out), err_fits = !err || strstr(o->err, err);
	if (o->code == code && out_fits && err_fits)
		return;
	fail_msg("exit code %d (wanted %d)\n--- stdout:\n%s\n--- wanted in it: %s\n--- stderr:\n%s\n--- wanted in it: %s", o->code, code, o->out,
		out ? out : "-", o->err, err ? err : "-");
}
