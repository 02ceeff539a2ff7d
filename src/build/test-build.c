// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>

#include "build/testing.h"
#include "base/time.h"

static char *base_id;

/* An image with a shell's worth of files: what stands for debian here. */
static void make_base(void)
{
	const TestBuild t = {
		.dockerfile = "FROM scratch\nCOPY . /\nENV PATH=/bin BASE=1\nCMD [\"base\"]\n",
		.files = (TestFile[]) { { "etc", NULL, 0 }, { "etc/passwd", "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:app:/home/app:/bin/sh\n", 0 },
			{ "etc/group", "root:x:0:\nstaff:x:50:\n", 0 }, { "tmp", NULL, 01777 }, { "lib", "-> usr/lib", 0 }, { "usr", NULL, 0 },
			{ "usr/lib", NULL, 0 }, { "usr/lib/base", "base\n", 0 } },
		.n_files = 8,
	};
	base_id = must_build_id(&t);
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

static void nothing_is_done_twice(void **state)
{
	TestBuild t = with_app("FROM base AS one\nWORKDIR /app\nCOPY . .\nRUN [\"write\", \"/app/out/x\", \"x\"]\n"
			       "FROM base\nENV A=1\nCOPY --from=one /app/out /out\nRUN [\"write\", \"/y\", \"y\"]\nLABEL l=1\n");
	TestResult first, second;
	(void) state;
	must_build(&t, &first);
	assert_int_equal(first.runs, 2);
	must_build(&t, &second);
	assert_int_equal(second.runs, 0);
	assert_int_equal(second.wanted, 0);
	assert_true(second.same);
	assert_string_equal(first.id, second.id);
	has_text(&second, "out/x", "x");
	result_done(&second);
	/* What only changes the configuration runs nothing again, a variable that RUN sees does. */
	t.dockerfile = "FROM base AS one\nEXPOSE 80\nWORKDIR /app\nCOPY . .\nRUN [\"write\", \"/app/out/x\", \"x\"]\n"
		       "FROM base\nENV A=2\nCOPY --from=one /app/out /out\nRUN [\"write\", \"/y\", \"y\"]\nLABEL l=1\n";
	must_build(&t, &second);
	assert_int_equal(second.runs, 1);
	assert_string_not_equal(first.id, second.id);
	result_done(&second);
	t.options = "{\"no_cache\": true}";
	must_build(&t, &second);
	assert_int_equal(second.runs, 2);
	result_done(&second);
	result_done(&first);
}

/* "[one 2/3]" of each step that people see, and "-" for each that they do not. */
static char *numbers_of(const TestResult *r)
{
	Buf b = BUF_INIT;
	for (size_t i = 0; i < json_array_size(r->events); i++) {
		const json_t *e = json_array_get(r->events, i);
		if (!str_eq(json_string_value(json_object_get(e, "state")), "begin"))
			continue;
		json_int_t index = json_integer_value(json_object_get(e, "index"));
		if (index)
			buf_printf(&b, "[%s %lld/%lld]", json_string_value(json_object_get(e, "stage")), (long long) index,
				(long long) json_integer_value(json_object_get(e, "total")));
		else
			buf_char(&b, '-');
	}
	const json_t *last = json_array_get(r->events, json_array_size(r->events) - 2);
	buf_printf(&b, " %lld", (long long) json_integer_value(json_object_get(last, "steps")));
	return buf_steal(&b);
}

static void steps_have_numbers(void **state)
{
	static const char *const cases[][2] = {
		{ "FROM base\nENV A=1\nWORKDIR /app\nCOPY . .\nRUN [\"nothing\"]\nCMD [\"a\"]\n", "[ 1/4]-[ 2/4][ 3/4][ 4/4]- 6" },
		{ "FROM base AS only\nADD src/a.txt /\n", "[ 1/2][ 2/2] 2" },
		{ "FROM scratch\nCOPY . .\n", "-[ 1/1] 2" },
		/* Stages that nothing needs do not count, and a base that is a stage is none of the steps. */
		{ "FROM base AS none\nRUN [\"nothing\"]\nFROM base AS one\nONBUILD COPY . /x\nFROM one\nLABEL a=b\n", "[one 1/1]--[stage-2 1/1]- 5" },
	};
	(void) state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		TestBuild t = with_app(cases[i][0]);
		TestResult r;
		must_build(&t, &r);
		AUTO_FREE char *got = numbers_of(&r);
		assert_string_equal(got, cases[i][1]);
		result_done(&r);
	}
}

static const json_t *why_of(const TestResult *r, int line)
{
	const json_t *why = json_object_get(r->built, "why");
	for (size_t i = 0; i < json_array_size(why); i++)
		if (json_integer_value(json_object_get(json_array_get(why, i), "line")) == line)
			return json_array_get(why, i);
	fail_msg("nothing is said of line %d", line);
	return NULL;
}

static void reason_is(const TestResult *r, int line, const char *text)
{
	const char *reason = json_string_value(json_object_get(why_of(r, line), "reason"));
	if (!reason || !strstr(reason, text))
		fail_msg("'%s' is not in '%s'", text, reason ? reason : "(cached)");
}

static void steps_are_cached(const TestResult *r, const char *lines)
{
	for (const char *p = lines; *p; p++)
		if (!json_is_true(json_object_get(why_of(r, *p - '0'), "cached")))
			fail_msg("line %c is not from the cache", *p);
}

/* Found by what the context as a whole is, or by what the instruction takes of it: no difference but in time. */
static void what_is_unchanged_is_found_in_each_way(void **state)
{
	TestFile files[ARRAY_SIZE(app)];
	TestBuild t = with_app("FROM base AS one\nCOPY --exclude=*.txt src /some/\nCOPY src /all/\nADD package.json /added\n"
			       "FROM base\nCOPY --from=one /some /all /out/\nCOPY <<X package.json /both/\ntext\nX\n");
	TestResult r;
	(void) state;
	memcpy(files, app, sizeof(files));
	t.files = files;
	must_build(&t, &r);
	AUTO_FREE char *id = xstrdup(r.id);
	has_text(&r, "out/a.txt", "a\n");
	result_done(&r);
	must_build(&t, &r);
	assert_true(r.same);
	steps_are_cached(&r, "23467");
	assert_string_equal(r.id, id);
	result_done(&r);
	t.mtime = 1700000000; /* a new clone of the same */
	must_build(&t, &r);
	assert_false(r.same);
	steps_are_cached(&r, "23467");
	result_done(&r);
	/* What is said is still true of the result before the last. */
	files[1].text = "one more a\n";
	must_build(&t, &r);
	steps_are_cached(&r, "2");
	reason_is(&r, 3, "'/all/a.txt' has changed: contents");
	reason_is(&r, 6, "'/out/a.txt' has changed: contents");
	has_text(&r, "out/a.txt", "one more a\n");
	result_done(&r);
}

static void a_change_makes_a_small_layer(void **state)
{
	TestFile files[ARRAY_SIZE(app)];
	TestBuild t = with_app("FROM base\nCOPY . /delta/\nRUN [\"nothing\"]\n");
	TestResult r;
	(void) state;
	memcpy(files, app, sizeof(files));
	t.files = files;
	must_build(&t, &r);
	size_t layers = r.image->n_layers;
	result_done(&r);
	files[1].text = "another a\n";
	must_build(&t, &r);
	assert_int_equal(r.image->n_layers, layers + 1);
	assert_int_equal(r.wanted, 1);
	assert_int_equal(json_integer_value(json_array_get(json_object_get(r.built, "sizes"), layers)), 10);
	has_text(&r, "delta/src/a.txt", "another a\n");
	has_text(&r, "delta/src/deep/c.txt", "c\n");
	assert_int_equal(image_stat(&r, "delta/src/deep").st_mode & 07777, 0700);
	reason_is(&r, 2, "'/delta/src/a.txt' has changed: contents");
	reason_is(&r, 3, "what line 2 makes has changed");
	result_done(&r);
	/* Files that went get a whiteout. */
	t.n_files = ARRAY_SIZE(app) - 1;
	must_build(&t, &r);
	assert_int_equal(r.image->n_layers, layers + 2);
	has_nothing(&r, "delta/package.json");
	has_text(&r, "delta/src/a.txt", "another a\n");
	reason_is(&r, 2, "'/delta/package.json' was removed");
	result_done(&r);
	/* Back again: all of it is known. */
	t.n_files = ARRAY_SIZE(app);
	must_build(&t, &r);
	assert_int_equal(r.wanted, 0);
	assert_int_equal(r.image->n_layers, layers + 1);
	result_done(&r);
}

static void layers_are_joined_in_time(void **state)
{
	TestFile files[ARRAY_SIZE(app)];
	TestBuild t = with_app("FROM base\nCOPY . /many/\n");
	TestResult r;
	size_t most = 0, layers = 0;
	(void) state;
	memcpy(files, app, sizeof(files));
	t.files = files;
	for (int i = 0; i < 20; i++) {
		AUTO_FREE char *text = xasprintf("version %d\n", i);
		files[1].text = text;
		must_build(&t, &r);
		layers = r.image->n_layers;
		most = layers > most ? layers : most;
		has_text(&r, "many/src/a.txt", text);
		has_text(&r, "many/src/deep/c.txt", "c\n");
		result_done(&r);
	}
	assert_int_equal(most, 1 + 16);
	assert_true(layers < most);
}

/* A whiteout must not hide what the base has at that place. */
static void what_lies_below_comes_back(void **state)
{
	static const TestFile files[] = { { "usr", NULL, 0 }, { "usr/lib", NULL, 0 }, { "usr/lib/base", "not the base's\n", 0 },
		{ "usr/lib/other", "x\n", 0 }, { "usr/lib/zzz", "y\n", 0 } };
	TestBuild t = { .dockerfile = "FROM base\nCOPY usr /usr\n", .files = files, .n_files = 5, .base = base_id };
	TestFile less[] = { files[0], files[1], files[3], files[4] };
	TestResult r;
	(void) state;
	must_build(&t, &r);
	has_text(&r, "usr/lib/base", "not the base's\n");
	result_done(&r);
	t.files = less;
	t.n_files = 4;
	must_build(&t, &r);
	has_text(&r, "usr/lib/base", "base\n");
	has_text(&r, "usr/lib/other", "x\n");
	result_done(&r);
}

static void destinations(void **state)
{
	TestBuild t = with_app("FROM base\n"
			       "COPY package.json file\nCOPY package.json dir/\nCOPY src /copied\nCOPY src/*.txt src/b.sh globbed/\n"
			       "WORKDIR /work/./here\nCOPY src/a.txt .\nCOPY src/a.txt ./x/y\nCOPY src/link followed\n"
			       "COPY src/a.txt /lib/\nCOPY --chown=app:staff --chmod=640 src /owned/by/\nCOPY --chown=7 package.json /seven\n"
			       "COPY --parents src/deep/c.txt /parents/\nCOPY --parents src/./deep/c.txt /pivot/\n"
			       "COPY --exclude=*.sh --exclude=deep src /some\nCOPY --chmod=u=rwX,go= src /private\n");
	TestResult r;
	struct stat st;
	(void) state;
	must_build(&t, &r);
	has_text(&r, "file", "{}\n");
	has_text(&r, "dir/package.json", "{}\n");
	has_text(&r, "copied/a.txt", "a\n");
	has_text(&r, "copied/deep/c.txt", "c\n");
	assert_true(S_ISLNK(image_stat(&r, "copied/link").st_mode));
	assert_int_equal(image_stat(&r, "copied/b.sh").st_mode & 07777, 0755);
	assert_int_equal(image_stat(&r, "copied/a.txt").st_mtime, 1600000000);
	has_text(&r, "globbed/a.txt", "a\n");
	has_text(&r, "globbed/b.sh", "#!/bin/sh\n");
	has_nothing(&r, "globbed/c.txt");
	has_text(&r, "work/here/a.txt", "a\n");
	has_text(&r, "work/here/x/y", "a\n");
	assert_true(S_ISREG(image_stat(&r, "work/here/followed").st_mode));
	has_text(&r, "usr/lib/a.txt", "a\n"); /* through the image's symlink */
	assert_true(S_ISLNK(image_stat(&r, "lib").st_mode));
	st = image_stat(&r, "owned/by/a.txt");
	assert_true(st.st_uid == 1000 && st.st_gid == 50 && (st.st_mode & 07777) == 0640);
	st = image_stat(&r, "owned");
	assert_true(st.st_uid == 1000 && (st.st_mode & 07777) == 0755);
	st = image_stat(&r, "seven");
	assert_true(st.st_uid == 7 && st.st_gid == 7);
	has_text(&r, "parents/src/deep/c.txt", "c\n");
	has_text(&r, "pivot/deep/c.txt", "c\n");
	has_nothing(&r, "some/b.sh");
	has_nothing(&r, "some/deep");
	has_text(&r, "some/a.txt", "a\n");
	assert_int_equal(image_stat(&r, "private/deep").st_mode & 07777, 0700);
	assert_int_equal(image_stat(&r, "private/a.txt").st_mode & 07777, 0600);
	assert_int_equal(image_stat(&r, "tmp").st_mode & 07777, 01777);
	assert_string_equal(r.image->config.working_dir, "/work/here");
	result_done(&r);
}

static void workdir_belongs_to_the_user(void **state)
{
	TestBuild t = with_app("FROM base\nWORKDIR /root-owned\nUSER app\nWORKDIR /home/app/deep\nUSER 5:6\nWORKDIR ../ids\nUSER nobody\nWORKDIR /tmp\n");
	TestResult r;
	struct stat st;
	(void) state;
	must_build(&t, &r);
	assert_int_equal(image_stat(&r, "root-owned").st_uid, 0);
	st = image_stat(&r, "home/app/deep");
	assert_true(st.st_uid == 1000 && st.st_gid == 1001 && (st.st_mode & 07777) == 0755);
	st = image_stat(&r, "home");
	assert_true(st.st_uid == 1000 && st.st_gid == 1001);
	st = image_stat(&r, "home/app/ids");
	assert_true(st.st_uid == 5 && st.st_gid == 6);
	result_done(&r);
	t.dockerfile = "FROM base\nUSER nobody\nWORKDIR /new\n";
	fails_with(&t, "Dockerfile:3: WORKDIR: user 'nobody' is not in the image's /etc/passwd");
}

static void attributes_of_directories_below_stay(void **state)
{
	TestBuild t = with_app("FROM base\nCOPY package.json /tmp/x/\n");
	TestResult r;
	(void) state;
	must_build(&t, &r);
	assert_int_equal(image_stat(&r, "tmp").st_mode & 07777, 01777);
	assert_int_equal(image_stat(&r, "tmp/x").st_mode & 07777, 0755);
	result_done(&r);
}

static void heredocs(void **state)
{
	TestBuild t = with_app("FROM base\nARG WHO=world\nCOPY <<EOF <<'RAW' /here/\nhello $WHO\nEOF\n$WHO\nRAW\nCOPY --chmod=755 <<X /x.sh\nrun\nX\n"
			       "RUN <<EOF\nnothing\nEOF\nRUN <<PROG\n#!/bin/prog\nbody\nPROG\n");
	TestResult r;
	(void) state;
	must_build(&t, &r);
	has_text(&r, "here/EOF", "hello world\n");
	has_text(&r, "here/RAW", "$WHO\n");
	has_text(&r, "x.sh", "run\n");
	assert_int_equal(image_stat(&r, "x.sh").st_mode & 07777, 0755);
	const json_t *args = json_object_get(json_array_get(r.requests, 0), "args");
	assert_string_equal(json_string_value(json_array_get(args, 2)), "nothing\n");
	const json_t *mount = json_array_get(json_object_get(json_array_get(r.requests, 1), "mounts"), 0);
	assert_string_equal(json_string_value(json_object_get(mount, "target")), "/dev/pipes/PROG");
	result_done(&r);
}

static void platforms_are_written_as_others_do(void **state)
{
	static const char *const written[][2] = { { "linux/arm64", "linux/arm64" }, { "linux/arm64/v8", "linux/arm64" }, { "arm64", "linux/arm64" },
		{ "linux/arm/v6", "linux/arm/v6" }, { "linux/arm", "linux/arm/v7" }, { "linux/amd64", "linux/amd64" } };
	TestBuild t = with_app("FROM base\nARG TARGETPLATFORM\nLABEL p=[$TARGETPLATFORM]\n");
	(void) state;
	for (size_t i = 0; i < ARRAY_SIZE(written); i++) {
		AUTO_FREE char *options = xasprintf("{\"platform\": \"%s\"}", written[i][0]);
		AUTO_FREE char *label = xasprintf("\"p\":\"[%s]\"", written[i][1]);
		TestResult r;
		t.options = options;
		must_build(&t, &r);
		if (!strstr(r.image->config_json, label))
			fail_msg("no %s in %s", label, r.image->config_json);
		result_done(&r);
	}
}

static void files_of_stages(void **state)
{
	TestBuild t = with_app("FROM base AS b\nRUN [\"write\", \"/out/one\", \"1\", \"and\", \"write\", \"/out/sub/two\", \"2\", \"and\", \"remove\", \"/usr/lib/base\"]\n"
			       "FROM b AS c\nRUN [\"write\", \"/out/three\", \"3\"]\n"
			       "FROM base AS never\nRUN [\"fail\", \"1\"]\n"
			       "FROM scratch\nCOPY --from=c /out /all/\nCOPY --from=b /usr /usr\nCOPY --from=1 /out/three /etc/group /picked/\nCOPY --from=base /etc/passwd /\n");
	TestResult r;
	(void) state;
	must_build(&t, &r);
	assert_int_equal(r.runs, 2); /* what nothing needs is not built */
	has_text(&r, "all/one", "1");
	has_text(&r, "all/sub/two", "2");
	has_text(&r, "all/three", "3");
	has_nothing(&r, "usr/lib/base");
	has_text(&r, "picked/three", "3");
	has_nothing(&r, "etc");
	assert_int_equal(image_stat(&r, "passwd").st_size, 68);
	result_done(&r);
}

static const TestBuild lib = {
	.files = (TestFile[]) { { "bin", NULL, 0 }, { "bin/tool", "tool\n", 0755 }, { "bin/link", "-> tool", 0 }, { "empty", "", 0 } },
	.n_files = 4,
};

#define LIB "{\"contexts\": {\"lib\": \"local://test:/lib\", \"img\": \"docker-image://base\"}}"

static void named_contexts(void **state)
{
	TestBuild t = with_app("FROM base AS one\nCOPY --from=lib bin /b/\nCOPY --from=Lib /empty package.jso[n] /b/\n");
	TestResult r;
	(void) state;
	t.lib = &lib;
	t.options = LIB;
	fails_with(&t, "Dockerfile:3: COPY: 'package.jso[n]' is not in the build context");
	t.dockerfile = "FROM base AS one\nCOPY --from=lib bin /b/\nFROM img\nCOPY --from=one /b /b\nCOPY package.json /\nRUN --mount=from=lib,source=bin,target=/m "
		       "--mount=type=cache,target=/c,from=lib [\"write\", \"/x\", \"x\"]\n";
	must_build(&t, &r);
	has_text(&r, "b/tool", "tool\n");
	has_text(&r, "b/link", "tool\n");
	has_text(&r, "package.json", "{}\n");
	has_text(&r, "usr/lib/base", "base\n");
	assert_int_equal(r.runs, 1);
	struct stat st = image_stat(&r, "b/tool");
	assert_int_equal(st.st_mode & 07777, 0755);
	result_done(&r);
	must_build(&t, &r);
	assert_int_equal(r.runs, 0);
	assert_int_equal(r.wanted, 0);
	result_done(&r);
	/* What a mount of it shows is part of what a step depends on. */
	const TestBuild changed = { .files = (TestFile[]) { { "bin", NULL, 0 }, { "bin/tool", "other\n", 0755 } }, .n_files = 2 };
	t.lib = &changed;
	must_build(&t, &r);
	assert_int_equal(r.runs, 1);
	assert_int_equal(r.wanted, 1);
	has_text(&r, "b/tool", "other\n");
	result_done(&r);
	t.options = "{\"contexts\": {\"lib\": \"https://h/x\"}}";
	fails_with(&t, "Dockerfile:2: COPY: the named context 'lib' is 'https://h/x'");
}

static void a_directory_is_a_base(void **state)
{
	TestBuild t = with_app("FROM lib\nCOPY package.json /\n");
	TestResult first, second;
	(void) state;
	t.lib = &lib;
	t.options = LIB;
	must_build(&t, &first);
	has_text(&first, "bin/tool", "tool\n");
	has_text(&first, "empty", "");
	has_text(&first, "package.json", "{}\n");
	assert_int_equal(first.image->n_layers, 2);
	assert_int_equal(image_stat(&first, "bin/tool").st_uid, 0);
	must_build(&t, &second);
	assert_string_equal(first.id, second.id);
	assert_int_equal(second.wanted, 0);
	result_done(&first);
	result_done(&second);
	/* The name hides an image, however that is written, and a stage. */
	t.dockerfile = "FROM base AS lib\nFROM docker.io/library/lib:latest\nWORKDIR /w\n";
	must_build(&t, &second);
	has_text(&second, "bin/tool", "tool\n");
	has_nothing(&second, "usr");
	result_done(&second);
}

static void what_is_asked_of_the_daemon(void **state)
{
	TestBuild t = with_app("FROM base\nARG V=1\nARG HTTP_PROXY\nENV E=e\nUSER app\nWORKDIR /w\nSHELL [\"/bin/x\", \"-e\"]\n"
			       "RUN --network=none --mount=type=cache,target=/c,id=k --mount=type=tmpfs,target=/t --mount=type=secret,id=s,required=true "
			       "--mount=type=bind,source=src,target=/b echo $V\n");
	TestResult r;
	(void) state;
	t.options = "{\"args\": {\"V\": \"2\"}, \"secrets\": [\"s\"]}";
	t.secret = "hush";
	must_build(&t, &r);
	const json_t *q = json_array_get(r.requests, 0), *env = json_object_get(q, "env"), *mounts = json_object_get(q, "mounts");
	assert_string_equal(json_string_value(json_object_get(q, "user")), "app");
	assert_string_equal(json_string_value(json_object_get(q, "workdir")), "/w");
	assert_string_equal(json_string_value(json_object_get(q, "network")), "none");
	assert_string_equal(json_string_value(json_array_get(json_object_get(q, "args"), 0)), "/bin/x");
	assert_string_equal(json_string_value(json_array_get(json_object_get(q, "args"), 2)), "echo $V");
	AUTO_FREE char *text = json_dumps(env, JSON_COMPACT);
	assert_non_null(strstr(text, "\"V=2\""));
	assert_non_null(strstr(text, "\"E=e\""));
	assert_non_null(strstr(text, "\"PATH=/bin\""));
	assert_int_equal(json_array_size(mounts), 4);
	assert_string_equal(json_string_value(json_object_get(json_array_get(mounts, 2), "target")), "/run/secrets/s");
	assert_string_equal(json_string_value(json_object_get(json_array_get(mounts, 3), "target")), "/b");
	result_done(&r);
	fails_with(&(TestBuild) { .dockerfile = "FROM base\nRUN --mount=type=secret,id=q,required=true x\n", .base = base_id }, "the secret 'q' is required");
}

static const char *mount_at(const TestResult *r, size_t run, const char *target)
{
	const json_t *mounts = json_object_get(json_array_get(r->requests, run), "mounts");
	for (size_t i = 0; i < json_array_size(mounts); i++)
		if (str_eq(json_string_value(json_object_get(json_array_get(mounts, i), "target")), target))
			return json_string_value(json_object_get(json_array_get(mounts, i), "source"));
	return NULL;
}

/* What overlayfs copies up and nobody changes makes no layer; and no directory is twice in an overlay. */
static void what_changes_nothing_is_no_layer(void **state)
{
	TestBuild t = with_app("FROM base\nRUN [\"same\", \"/usr/lib\", \"and\", \"same\", \"/usr\", \"and\", \"same\", \"/etc\"]\n");
	TestResult r;
	(void) state;
	must_build(&t, &r);
	assert_int_equal(r.image->n_layers, 1);
	result_done(&r);
	t.dockerfile = "FROM base\nRUN [\"same\", \"/etc\", \"and\", \"same\", \"/usr/lib\", \"and\", \"write\", \"/usr/x\", \"x\", \"and\", \"same\", \"/new\"]\n";
	must_build(&t, &r);
	assert_int_equal(r.image->n_layers, 2);
	has_text(&r, "usr/x", "x");
	has_text(&r, "usr/lib/base", "base\n");
	assert_true(S_ISDIR(image_stat(&r, "new").st_mode));
	result_done(&r);
	t.options = "{\"source_date_epoch\": 1000}";
	t.dockerfile = "FROM base\nRUN [\"write\", \"/twice\", \"x\"]\nRUN [\"write\", \"/twice\", \"x\", \"and\", \"nothing\"]\nRUN [\"nothing\"]\n";
	must_build(&t, &r);
	assert_int_equal(r.image->n_layers, 3);
	assert_string_equal(r.image->layers[1].diff_id, r.image->layers[2].diff_id);
	assert_int_equal(json_array_size(json_object_get(json_array_get(r.requests, 2), "lower")), 2);
	result_done(&r);
}

static void package_caches_come_by_themselves(void **state)
{
	TestBuild t = with_app("FROM base AS b\nRUN npm ci && ./mvnw package\nRUN echo gonpm\nFROM base\nCOPY --from=b /etc/gr?up /etc/passwd /x/\nRUN npm ci; mvn x\n");
	TestResult r;
	(void) state;
	must_build(&t, &r);
	assert_non_null(mount_at(&r, 0, "/root/.npm"));
	assert_non_null(mount_at(&r, 0, "/root/.m2/repository"));
	assert_null(mount_at(&r, 1, "/root/.npm"));
	assert_string_equal(mount_at(&r, 2, "/root/.npm"), mount_at(&r, 0, "/root/.npm"));
	assert_null(mount_at(&r, 2, "/root/.m2/repository")); /* the image may need it */
	result_done(&r);
	/* Debian's images have what apt makes of an empty cache. */
	t.dockerfile = "FROM base\nRUN [\"write\", \"/var/cache/apt/archives/lock\", \"\", \"and\", \"write\", \"/etc/apt/apt.conf.d/docker-clean\", \"x\"]\n"
		       "RUN apt-get install x\nRUN [\"write\", \"/var/cache/apt/archives/x.deb\", \"x\"]\nRUN apt-get install y\n";
	must_build(&t, &r);
	assert_null(mount_at(&r, 1, "/var/cache/apt/archives")); /* the file names the place */
	result_done(&r);
	TestBuild b = with_app("FROM base\nCOPY --parents . /\n");
	b.files = (TestFile[]) { { "etc/apt/apt.conf.d/docker-clean", "x", 0 }, { "var/cache/apt/archives/lock", "", 0 }, { "var/cache/apt/archives/partial", NULL, 0 } };
	b.n_files = 3;
	AUTO_FREE char *debian = must_build_id(&b);
	t.base = debian;
	t.dockerfile = "FROM debian\nRUN apt-get install -y x\n";
	must_build(&t, &r);
	assert_non_null(mount_at(&r, 0, "/var/cache/apt/archives"));
	assert_non_null(mount_at(&r, 0, "/etc/apt/apt.conf.d/docker-clean"));
	result_done(&r);
	t.base = base_id;
	t.dockerfile = "FROM base\nRUN --mount=type=cache,target=/root/.npm npm i\nRUN mkdir -p /root/.npm && npm x\n";
	must_build(&t, &r);
	assert_int_equal(json_array_size(json_object_get(json_array_get(r.requests, 0), "mounts")), 1);
	assert_null(mount_at(&r, 1, "/root/.npm"));
	result_done(&r);
}

static void archives_are_unpacked(void **state)
{
	AUTO_BUF tar = BUF_INIT;
	TestResult r;
	(void) state;
	put_dir(&tar, "d", 0750);
	put_file(&tar, "d/in", "in the archive\n");
	put_hardlink(&tar, "d/same", "d/in");
	tar_write_end(&tar);
	/* Test files are text, so the archive comes as a context of its own. */
	AUTO_BUF context = BUF_INIT;
	put_file(&context, "Dockerfile", "FROM base\nADD a.tar plain /into/\nCOPY a.tar /copied\nADD --chown=5:6 a.tar /owned\n");
	put_bytes(&context, "a.tar", tar.data, tar.len);
	put_file(&context, "plain", "plain\n");
	tar_write_end(&context);
	AUTO_FREE char *path = scratch_path("context.tar");
	assert_int_equal(file_write(AT_FDCWD, path, context.data, context.len, 0600), 0);
	for (int i = 0; i < 2; i++) {
		AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
		TestBuild t = { .context = fd, .base = base_id };
		must_build(&t, &r);
		has_text(&r, "into/d/in", "in the archive\n");
		has_text(&r, "into/plain", "plain\n");
		assert_int_equal(image_stat(&r, "into/d/same").st_ino, image_stat(&r, "into/d/in").st_ino);
		assert_int_equal(image_stat(&r, "into/d").st_mode & 07777, 0750);
		assert_int_equal(image_stat(&r, "copied").st_size, (off_t) tar.len);
		assert_true(image_stat(&r, "owned/d/in").st_uid == 5 && image_stat(&r, "owned/d/in").st_gid == 6);
		result_done(&r);
	}
}

static void a_tar_is_a_context(void **state)
{
	AUTO_BUF tar = BUF_INIT;
	TestResult r;
	(void) state;
	put_file(&tar, "./sub/My.Dockerfile", "FROM base\nCOPY . /ctx/\n");
	put_file(&tar, ".dockerignore", "*.log\n");
	put_file(&tar, "a.log", "no\n");
	put_file(&tar, "a.txt", "old\n");
	put_file(&tar, "a.txt", "new\n");
	put_symlink(&tar, "l", "a.txt");
	put_hardlink(&tar, "also", "a.txt");
	tar_write_end(&tar);
	AUTO_FREE char *path = scratch_path("context.tar");
	assert_int_equal(file_write(AT_FDCWD, path, tar.data, tar.len, 0600), 0);
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	TestBuild t = { .context = fd, .base = base_id, .options = "{\"dockerfile_name\": \"sub/My.Dockerfile\"}" };
	must_build(&t, &r);
	has_text(&r, "ctx/a.txt", "new\n");
	has_nothing(&r, "ctx/a.log");
	assert_true(S_ISLNK(image_stat(&r, "ctx/l").st_mode));
	assert_int_equal(image_stat(&r, "ctx/also").st_ino, image_stat(&r, "ctx/a.txt").st_ino);
	result_done(&r);
	/* Cut off, and with a name that leads out. */
	assert_int_equal(truncate(path, 1500), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	fails_with(&t, "cut off");
	buf_clear(&tar);
	put_file(&tar, "../out", "x");
	tar_write_end(&tar);
	assert_int_equal(file_write(AT_FDCWD, path, tar.data, tar.len, 0600), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	fails_with(&t, "leads out");
}

static size_t warned(const TestResult *r, const char *rule, const char *text)
{
	size_t n = 0;
	for (size_t i = 0; i < json_array_size(r->events); i++) {
		const json_t *e = json_array_get(r->events, i);
		const char *warning = json_string_value(json_object_get(e, "warning"));
		n += warning && strstr(warning, text) && str_eq(json_string_value(json_object_get(e, "rule")), rule);
	}
	return n;
}

/* Once each, though steps are come back to while they wait; what the base image sets is known. */
static void checks_of_a_build(void **state)
{
	TestBuild t = with_app("FROM base AS One\nRUN --mount=type=cache,target=/c/$NONE [\"nothing\"]\nENV A=$BASE B=$MISSING\nCOPY --from=two /usr /u\n"
			       "FROM base AS two\nONBUILD ENV C=$LATER\n");
	TestResult r;
	(void) state;
	t.options = "{\"target\": \"one\"}";
	must_build(&t, &r);
	assert_int_equal(warned(&r, "StageNameCasing", "Dockerfile:1: FROM: "), 1);
	assert_int_equal(warned(&r, "UndefinedVar", "Dockerfile:2: RUN: $NONE"), 1);
	assert_int_equal(warned(&r, "UndefinedVar", "Dockerfile:3: ENV: $MISSING"), 1);
	assert_int_equal(warned(&r, "UndefinedVar", ""), 2);
	result_done(&r);
	t.options = "{\"platform\": \"linux/s390x\"}";
	t.dockerfile = "FROM base\nCOPY package.json /\n";
	must_build(&t, &r);
	assert_int_equal(warned(&r, "InvalidBaseImagePlatform", "Dockerfile:1: FROM: image 'base' is for "), 1);
	result_done(&r);
	t.dockerfile = "# check=error=true\nFROM base\nCOPY package.json /\n";
	fails_with(&t, "InvalidBaseImagePlatform; an error because");
	t.options = NULL;
	t.dockerfile = "# check=skip=MaintainerDeprecated;error=true\nFROM base\nMAINTAINER x\nRUN [\"nothing\"]\nLABEL a=$b\n";
	fails_with(&t, "Dockerfile:5: LABEL: $b has no value");
}

static void errors_say_where_and_what(void **state)
{
	static const struct {
		const char *dockerfile, *text;
	} cases[] = {
		{ "FROM base\n\nCOPY pakage.json /\n", "Dockerfile:3: COPY: 'pakage.json' is not in the build context; near it: 'package.json'" },
		{ "FROM base\nCOPY ../x /\n", "Dockerfile:2: COPY: '../x' leads out of the build context" },
		{ "FROM base\nCOPY src/out /\n", "is a symbolic link to '/etc/shadow', which is not in the build context" },
		{ "FROM base\nCOPY secret.log /\n", "line 2 of .dockerignore ('*.log') leaves it out" },
		{ "FROM base\nCOPY package.json /etc\nCOPY src/a.txt src/b.sh /etc/passwd/\n", "has to be a directory" },
		{ "FROM base\nCOPY --chown=nobody package.json /\n", "user 'nobody' is not in the image's /etc/passwd" },
		{ "FROM base\nCOPY --chmod=rwx package.json /\n", "--chmod=rwx" },
		{ "FROM base\nRUN [\"fail\", \"3\"]\n", "Dockerfile:2: RUN: the command ended with exit code 3" },
		{ "FROM base\nRUN [\"fail\", \"137\"]\n", "killed by signal 9" },
		{ "FROM base\nCOPY --from=base /nothing /\n", "'/nothing' is not there" },
		{ "FROM base\nWORKDIR /etc/passwd\n", "is a file in the image" },
		{ "FROM base\nFRM x\n", "Dockerfile:2" },
		{ "FROM --platform=linux/s390x base\nRUN [\"nothing\"]\n", "qemu-user-static" },
	};
	TestFile files[ARRAY_SIZE(app) + 1];
	TestBuild t = with_app("");
	(void) state;
	memcpy(files, app, sizeof(app));
	files[ARRAY_SIZE(app)] = (TestFile) { "src/out", "-> ../../etc/shadow", 0 };
	t.files = files;
	t.n_files = ARRAY_SIZE(files);
	t.ignore = "# logs\n*.log\n";
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		t.dockerfile = cases[i].dockerfile;
		fails_with(&t, cases[i].text);
	}
	t.dockerfile = "FROM nowhere\n";
	t.base = NULL;
	fails_with(&t, "Dockerfile:1: FROM: image 'nowhere': no such image");
}

static void what_changes_on_the_way_is_noticed(void **state)
{
	TestBuild t = with_app("FROM base\nCOPY src/deep /changing\n");
	TestFile files[ARRAY_SIZE(app)];
	(void) state;
	memcpy(files, app, sizeof(files));
	files[4].text = "never seen before\n";
	t.files = files;
	t.change = "src/deep/c.txt";
	fails_with(&t, "'src/deep/c.txt' was changed while the build read it");
}

static size_t layers_on_disk(void)
{
	AUTO_FREE char *path = scratch_path("state/layers");
	DIR *dir = opendir(path);
	size_t n = 0;
	assert_non_null(dir);
	while (readdir(dir))
		n++;
	(void) closedir(dir);
	return n;
}

static void what_has_no_room_is_not_kept(void **state)
{
	static const size_t size = 900000;
	AUTO_FREE char *large = xmalloc(size + 1);
	TestFile files[16];
	char names[ARRAY_SIZE(files)][4];
	TestBuild t = { .dockerfile = "FROM base\nRUN [\"write\", \"/small\", \"s\"]\nCOPY . /large/\n", .files = files, .n_files = ARRAY_SIZE(files), .base = base_id };
	TestResult r;
	(void) state;
	memset(large, 'l', size);
	large[size] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		(void) snprintf(names[i], sizeof(names[i]), "f%02zu", i);
		files[i] = (TestFile) { names[i], large, 0 };
	}
	assert_int_equal(setenv("STEAD_IMAGE_QUOTA", "10000000", 1), 0);
	size_t before = layers_on_disk();
	fails_with(&t, "the quota for images is");
	assert_int_equal(layers_on_disk(), before + 3); /* of the RUN: directory, side file, recipe */
	assert_int_equal(unsetenv("STEAD_IMAGE_QUOTA"), 0);
	must_build(&t, &r);
	assert_int_equal(r.runs, 0);
	assert_int_equal(image_stat(&r, "large/f15").st_size, size);
	result_done(&r);
}

static void steps_before_a_failure_stay(void **state)
{
	TestBuild t = with_app("FROM base\nRUN [\"write\", \"/kept\", \"k\"]\nRUN [\"fail\", \"1\"]\n");
	TestResult r;
	(void) state;
	fails_with(&t, "exit code 1");
	t.dockerfile = "FROM base\nRUN [\"write\", \"/kept\", \"k\"]\nRUN [\"write\", \"/z\", \"z\"]\n";
	must_build(&t, &r);
	assert_int_equal(r.runs, 1);
	has_text(&r, "kept", "k");
	result_done(&r);
}

/* Killed after any line that it says: the next build works, and tells the truth. */
static void a_kill_leaves_a_usable_cache(void **state)
{
	(void) state;
	for (size_t after = 1; after < 18; after++) {
		AUTO_FREE char *file = xasprintf("FROM base AS x\nCOPY src /k%zu\nRUN [\"write\", \"/w\", \"%zu\"]\nFROM base\nCOPY --from=x /k%zu /w /o/\n", after,
			after, after);
		TestBuild t = with_app(file);
		TestResult r;
		AUTO_FREE char *text = xasprintf("%zu", after);
		t.kill_after = after;
		run_build(&t, &r);
		result_done(&r);
		t.kill_after = 0;
		must_build(&t, &r);
		has_text(&r, "o/w", text);
		has_text(&r, "o/deep/c.txt", "c\n");
		result_done(&r);
	}
}

/* What a power cut makes of files that nobody has synced. */
static void a_damaged_mirror_is_noticed(void **state)
{
	TestBuild t = with_app("FROM base\nCOPY src/a.txt /damaged/1\n");
	char hex[DIGEST_HEX_MAX];
	TestResult r;
	(void) state;
	must_build(&t, &r);
	result_done(&r);
	digest_sha256("a\n", 2, hex);
	AUTO_FREE char *path = xasprintf("%s/state/build/files/%.2s/%s", scratch, hex, hex);
	assert_int_equal(file_write(AT_FDCWD, path, "\0\0", 2, 0600), 0);
	t.dockerfile = "FROM base\nCOPY src/a.txt /damaged/2\n";
	fails_with(&t, "is damaged in the mirror");
	must_build(&t, &r);
	assert_int_equal(r.wanted, 1);
	has_text(&r, "damaged/2", "a\n");
	result_done(&r);
	assert_int_equal(truncate(path, 0), 0);
	t.dockerfile = "FROM base\nCOPY src/a.txt /damaged/3\n";
	must_build(&t, &r);
	has_text(&r, "damaged/3", "a\n");
	result_done(&r);
}

static void configuration_and_triggers(void **state)
{
	TestBuild t = with_app("FROM base\nENTRYPOINT [\"e\"]\nONBUILD COPY package.json /triggered\nONBUILD LABEL by=trigger\nHEALTHCHECK --interval=5s CMD x\n"
			       "VOLUME /data\nEXPOSE 80 53/udp\nSTOPSIGNAL SIGINT\nUSER app\n");
	TestResult r;
	(void) state;
	must_build(&t, &r);
	assert_null(r.image->config.cmd); /* the base's was for another entry point */
	assert_string_equal(r.image->config.user, "app");
	assert_true(r.image->config.healthcheck.interval == 5000000000LL);
	assert_int_equal(strv_len(r.image->config.exposed_ports), 2);
	has_nothing(&r, "triggered");
	AUTO_FREE char *id = xstrdup(r.id);
	result_done(&r);
	t.base = id;
	t.dockerfile = "FROM with-triggers\n";
	t.options = "{\"labels\": {\"given\": \"1\"}}";
	must_build(&t, &r);
	has_text(&r, "triggered", "{}\n");
	assert_string_equal(strv_env(r.image->config.labels, "by"), "trigger");
	assert_string_equal(strv_env(r.image->config.labels, "given"), "1");
	assert_null(strstr(r.image->config_json, "OnBuild"));
	result_done(&r);
}

static void times_can_be_fixed(void **state)
{
	TestBuild t = with_app("FROM base\nWORKDIR /made\nRUN [\"write\", \"/t\", \"t\"]\n");
	TestResult a, b;
	(void) state;
	t.options = "{\"source_date_epoch\": 1500000000, \"no_cache\": true}";
	must_build(&t, &a);
	must_build(&t, &b);
	assert_string_equal(a.id, b.id);
	assert_int_equal(image_stat(&a, "t").st_mtime, 1500000000);
	assert_int_equal(image_stat(&a, "made").st_mtime, 1500000000);
	assert_true(a.image->created == 1500000000LL * NSEC_PER_SEC);
	result_done(&a);
	result_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_thinnest_path), cmocka_unit_test(nothing_is_done_twice), cmocka_unit_test(steps_have_numbers), cmocka_unit_test(what_is_unchanged_is_found_in_each_way), cmocka_unit_test(a_change_makes_a_small_layer),
		cmocka_unit_test(layers_are_joined_in_time), cmocka_unit_test(what_lies_below_comes_back), cmocka_unit_test(destinations),
		cmocka_unit_test(workdir_belongs_to_the_user), cmocka_unit_test(attributes_of_directories_below_stay), cmocka_unit_test(heredocs), cmocka_unit_test(files_of_stages), cmocka_unit_test(named_contexts), cmocka_unit_test(a_directory_is_a_base),
		cmocka_unit_test(what_is_asked_of_the_daemon), cmocka_unit_test(what_changes_nothing_is_no_layer), cmocka_unit_test(package_caches_come_by_themselves), cmocka_unit_test(archives_are_unpacked),
		cmocka_unit_test(a_tar_is_a_context), cmocka_unit_test(checks_of_a_build), cmocka_unit_test(errors_say_where_and_what), cmocka_unit_test(what_changes_on_the_way_is_noticed),
		cmocka_unit_test(steps_before_a_failure_stay), cmocka_unit_test(platforms_are_written_as_others_do), cmocka_unit_test(what_has_no_room_is_not_kept), cmocka_unit_test(a_kill_leaves_a_usable_cache), cmocka_unit_test(a_damaged_mirror_is_noticed),
		cmocka_unit_test(configuration_and_triggers), cmocka_unit_test(times_can_be_fixed),
	};
	int skipped = need_root();
	return skipped ? skipped : cmocka_run_group_tests(tests, setup, teardown);
}
