// SPDX-License-Identifier: Apache-2.0
/* What becomes of the worker: cat in the place of uacme shows what the kernel says of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/str.h"
#include "edge/cert-work.h"

/* Output of the program that acme_work becomes, or the text of its error. */
static void become(const char *program, const char *argument, Buf *ret)
{
	int p[2];
	assert_int_equal(pipe(p), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		AUTO_ERR err = ERR_INIT;
		(void) dup2(p[1], STDOUT_FILENO);
		(void) acme_work(json_pack("{s:[s, s]}", "argv", program, argument), &err);
		(void) !write(STDOUT_FILENO, err_text(&err), strlen(err_text(&err)));
		_exit(7);
	}
	(void) close(p[1]);
	for (ssize_t n; (n = read(p[0], buf_reserve(ret, 4096), 4096)) > 0;)
		buf_added(ret, (size_t) n);
	(void) close(p[0]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void has_no_more_than_it_needs(void **state)
{
	AUTO_BUF status = BUF_INIT, limits = BUF_INIT;
	become("cat", "/proc/self/status", &status);
	assert_non_null(strstr(buf_cstr(&status), "CapPrm:\t0000000000000000"));
	assert_non_null(strstr(buf_cstr(&status), "CapEff:\t0000000000000000"));
	assert_non_null(strstr(buf_cstr(&status), "NoNewPrivs:\t1"));
	assert_non_null(strstr(buf_cstr(&status), "Umask:\t0077"));
	become("cat", "/proc/self/limits", &limits);
	assert_non_null(strstr(buf_cstr(&limits), "Max file size             1048576"));
	assert_non_null(strstr(buf_cstr(&limits), "Max core file size        0"));
}

static void says_what_is_not_installed(void **state)
{
	AUTO_BUF text = BUF_INIT;
	become("stead-no-such-program", "x", &text);
	assert_non_null(strstr(buf_cstr(&text), "stead-no-such-program cannot be started: No such file or directory (install uacme"));
}

static void nothing_to_become(void **state)
{
	AUTO_ERR err = ERR_INIT;
	json_t *o = json_pack("{s:[]}", "argv");
	assert_true(acme_work(o, &err) < 0);
	json_decref(o);
}

static json_t *line;

static void report(json_t *l)
{
	json_decref(line);
	line = l;
}

static void resolves_what_this_machine_knows(void **state)
{
	AUTO_ERR err = ERR_INIT;
	json_t *o = json_pack("{s:s}", "name", "127.0.0.1"), *none = json_pack("{s:s}", "name", "no host name at all");
	assert_int_equal(resolve_work(o, report, &err), 0);
	const json_t *list = json_object_get(line, "addresses");
	assert_int_equal(json_array_size(list), 1);
	assert_string_equal(json_string_value(json_array_get(list, 0)), "127.0.0.1");
	assert_true(resolve_work(none, report, &err) < 0);
	assert_true(err_text(&err)[0] != '\0');
	json_decref(o);
	json_decref(none);
	json_decref(line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(has_no_more_than_it_needs),
		cmocka_unit_test(says_what_is_not_installed),
		cmocka_unit_test(nothing_to_become),
		cmocka_unit_test(resolves_what_this_machine_knows),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
