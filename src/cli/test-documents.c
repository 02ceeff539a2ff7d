// SPDX-License-Identifier: Apache-2.0
/*
 * The completion's table is the one that the program has, and the manual page says something about
 * every verb and every option.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/commands.h"

static void read_source(const char *name, Buf *ret)
{
	AUTO_FREE char *path = xasprintf("%s/%s", STEAD_SOURCE_ROOT, name);
	if (file_read(AT_FDCWD, path, 1 << 20, ret) < 0)
		fail_msg("cannot read %s", path);
}

static void completion(void **state)
{
	char *argv[] = { (char *) "stead", (char *) "__options", NULL };
	AUTO_BUF file = BUF_INIT, table = BUF_INIT;
	AUTO_CLOSE int out = memfd_create("out", MFD_CLOEXEC);
	AUTO_CLOSE int saved = fcntl(1, F_DUPFD_CLOEXEC, 10);
	AUTO_FREE char *path = xasprintf("/proc/self/fd/%d", out);
	(void) fflush(stdout);
	(void) dup2(out, 1);
	int code = cli_main(2, argv, NULL);
	(void) dup2(saved, 1);
	assert_int_equal(code, 0);
	buf_str(&table, "_stead_table='\n");
	assert_int_equal(file_read(AT_FDCWD, path, 1 << 20, &table), 0);
	buf_str(&table, "'\n");
	assert_true(table.len > 5000);
	read_source("data/stead.bash", &file);
	if (!strstr(buf_cstr(&file), buf_cstr(&table)))
		fail_msg("the table in data/stead.bash is not what 'stead __options' prints");
}

/* "--no-deps" as troff has it: "\-\-no\-deps". */
static char *troff(const char *text)
{
	Buf b = BUF_INIT;
	for (; *text; text++) {
		if (*text == '-')
			buf_char(&b, '\\');
		buf_char(&b, *text);
	}
	return buf_steal(&b);
}

static void check_options(const char *page, const char *verb, OptionTable table)
{
	for (const Option *o = table; o && o->name; o++) {
		AUTO_FREE char *raw = xasprintf("--%s", o->name), *text = troff(raw);
		if (!strstr(page, text))
			fail_msg("data/stead.1 lacks %s of 'stead %s'", raw, verb);
	}
}

/* The part of the page that is about one verb. */
static char *section(const char *page, const char *verb)
{
	AUTO_FREE char *head = xasprintf("\n.SS \"stead %s", verb);
	const char *begin = page;
	while ((begin = strstr(begin, head))) {
		const char *end = begin + strlen(head);
		if (*end == ' ' || *end == '"') {
			const char *next = strstr(end, "\n.S");
			return xstrndup(begin, next ? (size_t) (next - begin) : strlen(begin));
		}
		begin = end;
	}
	return NULL;
}

static void manual(void **state)
{
	AUTO_BUF page = BUF_INIT;
	const Verb *v;
	read_source("data/stead.1", &page);
	check_options(buf_cstr(&page), "", global_options);
	for (size_t i = 0; (v = verb_at(i)); i++) {
		if ((v->command->flags & COMMAND_HIDDEN) || !str_eq(v->name, v->command->name))
			continue;
		AUTO_FREE char *text = section(buf_cstr(&page), v->name);
		if (!text)
			fail_msg("data/stead.1 has no section on 'stead %s'", v->name);
		check_options(text, v->name, v->command->options);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(completion), cmocka_unit_test(manual) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
