// SPDX-License-Identifier: Apache-2.0
#include "build/testing.h"

static char *base_id;

/* An image with a shell's worth of files: what stands for debian here. */
static void make_base(void)
{
	AUTO_STORE s = { .state = -1, .layers = -1, .blobs = -1, .tmp = -1, .lock = -1 };
	AUTO_FREE char *state = xasprintf("%s/state", scratch);
	TestResult r;
	TestBuild t = {
		.dockerfile = "FROM scratch\nCOPY . /\nENV PATH=/bin BASE=1\nCMD [\"base\"]\n",
		.files = (TestFile[]) { { "etc", NULL, 0 }, { "etc/passwd", "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:app:/home/app:/bin/sh\n", 0 },
			{ "etc/group", "root:x:0:\nstaff:x:50:\n", 0 }, { "tmp", NULL, 01777 }, { "lib", "-> usr/lib", 0 }, { "usr", NULL, 0 },
			{ "usr/lib", NULL, 0 }, { "usr/lib/base", "base\n", 0 } },
		.n_files = 8,
	};
	must_build(&t, &r);
	base_id = xstrdup(r.id);
	result_done(&r);
}

static int setup(void **state)
{
	(void) state;
	if (!mkdtemp(scratch))
		return -1;
	make_base();
	return 0;
}

static int teardown(void **state)
{
	free(base_id);
	return scratch_teardown(state);
}

static const TestFile app[] = {
	{ "src", NULL, 0 },
	{ "src/a.txt", "a\n", 0 },
	{ "src/b.sh", "#!/bin/sh\n", 0755 },
	{ "src/deep", NULL, 0700 },
	{ "src/deep/c.txt", "c\n", 0600 },
	{ "src/link", "-> a.txt", 0 },
	{ "package.json", "{}\n", 0 },
};

static TestBuild with_app(const char *dockerfile)
{
	return (TestBuild) { .dockerfile = dockerfile, .files = app, .n_files = ARRAY_SIZE(app), .base = base_id };
}

static void the_thinnest_path(void **state)
{
	TestBuild t = with_app("FROM base\nCOPY package.json /app/\nRUN [\"write\", \"/made\", \"made\"]\nCMD [\"node\", \"x\"]\n");
	TestResult r;
	(void) state;
	must_build(&t, &r);
	has_text(&r, "app/package.json", "{}\n");
	has_text(&r, "made", "made");
	has_text(&r, "lib/base", "base\n");
	assert_int_equal(r.runs, 1);
	assert_string_equal(r.image->config.cmd[1], "x");
	assert_string_equal(strv_env(r.image->config.env, "BASE"), "1");
	assert_int_equal(r.image->n_layers, 3);
	const json_t *q = json_array_get(r.requests, 0);
	assert_int_equal(json_array_size(json_object_get(q, "lower")), 2);
	assert_string_equal(json_string_value(json_object_get(q, "workdir")), "/");
	result_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(the_thinnest_path) };
	int skipped = need_root();
	return skipped ? skipped : cmocka_run_group_tests(tests, setup, teardown);
}
