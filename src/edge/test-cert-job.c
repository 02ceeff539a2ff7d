// SPDX-License-Identifier: Apache-2.0
/* The worker is a script that does as each item says: report, refuse, die, or end without a word. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "edge/cert-job.h"

#include <fcntl.h>

static uv_loop_t loop;
static CertJobs *jobs;
static char scratch[] = "/tmp/stead-test-cert-job-XXXXXX";

static const char worker[] =
	"#!/bin/sh\n"
	"[ \"$1\" = certificates ] || exit 9\n"
	"n=0\n"
	"for what in $(grep -o '\"do\":\"[a-z]*\"' | cut -d'\"' -f4); do\n"
	"  case $what in\n"
	"  good) echo '{\"certificate\":{\"item\":'$n',\"not_before\":1,\"not_after\":5,\"issuer\":\"CA\"}}' ;;\n"
	"  bad) echo '{\"certificate\":{\"item\":'$n',\"error\":\"no\",\"code\":-22}}' ;;\n"
	"  die) kill -SEGV $$ ;;\n"
	"  end) echo words >&2; exit 3 ;;\n"
	"  all) echo '{\"error\":\"no memory\",\"code\":-12}'; exit 1 ;;\n"
	"  esac\n"
	"  n=$((n + 1))\n"
	"done\n"
	"echo '{\"result\":\"done\"}'\n";

typedef struct Seen {
	int calls, lost;
	int64_t not_after;
	char *text;
} Seen;

static bool inside;

static void on_done(void *user, const CertReport *r, const Err *err)
{
	Seen *s = user;
	assert_false(inside);
	s->calls++;
	s->lost += !r && !err;
	if (r)
		s->not_after = r->not_after;
	if (err)
		str_set(&s->text, err_text(err));
}

static void ask(const char *what, Seen *s)
{
	inside = true;
	cert_job(jobs, json_pack("{s:s}", "do", what), on_done, s);
	inside = false;
}

static int setup(void **state)
{
	assert_non_null(mkdtemp(scratch));
	AUTO_FREE char *path = xasprintf("%s/stead-worker", scratch);
	assert_int_equal(file_write(AT_FDCWD, path, worker, strlen(worker), 0755), 0);
	assert_int_equal(setenv("STEAD_LIBEXECDIR", scratch, 1), 0);
	assert_int_equal(uv_loop_init(&loop), 0);
	jobs = cert_jobs_new(&loop, scratch, scratch);
	return 0;
}

static int teardown(void **state)
{
	cert_jobs_free(jobs);
	while (uv_run(&loop, UV_RUN_DEFAULT))
		;
	assert_int_equal(uv_loop_close(&loop), 0);
	return tree_remove(AT_FDCWD, scratch);
}

static void only_the_culprit_is_blamed(void **state)
{
	static const char *const what[] = { "good", "die", "good", "bad", "end", "good", "all", "good" };
	static const char *const text[] = { NULL, "killed by signal 11", NULL, "no", "exit code 3): words", NULL, "no memory", NULL };
	Seen seen[ARRAY_SIZE(what)] = { 0 };
	for (size_t i = 0; i < ARRAY_SIZE(what); i++)
		ask(what[i], &seen[i]);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	for (size_t i = 0; i < ARRAY_SIZE(what); i++) {
		assert_int_equal(seen[i].calls, 1);
		assert_int_equal(seen[i].not_after, text[i] ? 0 : 5);
		if (text[i] ? !seen[i].text || !strstr(seen[i].text, text[i]) : seen[i].text != NULL)
			fail_msg("%s: %s", what[i], seen[i].text);
		free(seen[i].text);
	}
}

static void what_is_forgotten_is_done_in_silence(void **state)
{
	Seen gone = { 0 }, kept = { 0 };
	ask("bad", &gone);
	ask("good", &kept);
	cert_jobs_forget(jobs, &gone);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(gone.calls, 0);
	assert_int_equal(kept.calls, 1);
}

static void more_than_one_batch(void **state)
{
	Seen seen[150] = { 0 };
	for (size_t i = 0; i < ARRAY_SIZE(seen); i++)
		ask("good", &seen[i]);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	for (size_t i = 0; i < ARRAY_SIZE(seen); i++)
		assert_int_equal(seen[i].calls, 1);
}

static void an_end_in_between(void **state)
{
	Seen seen = { 0 };
	ask("good", &seen);
	cert_jobs_free(jobs);
	assert_int_equal(seen.calls, 1);
	assert_int_equal(seen.lost, 1);
	jobs = cert_jobs_new(&loop, scratch, scratch);
	/* Nor where there is no worker at all. */
	AUTO_FREE char *path = xasprintf("%s/stead-worker", scratch);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(file_write(AT_FDCWD, path, "#!/nowhere\n", 11, 0755), 0);
	ask("good", &seen);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(seen.calls, 2);
	assert_non_null(seen.text);
	free(seen.text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_the_culprit_is_blamed),
		cmocka_unit_test(what_is_forgotten_is_done_in_silence),
		cmocka_unit_test(more_than_one_batch),
		cmocka_unit_test(an_end_in_between),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
