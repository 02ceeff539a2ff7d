// SPDX-License-Identifier: Apache-2.0
/*
 * Caches that go from one machine to another: the state directory is put away, and the build is done again with nothing but
 * the base image and what was exported.
 */
#include "build/testing.h"

#define PLACE "{\"dir\": 0, \"name\": \"./cache\"}"
#define TO "\"cache_to\": [" PLACE "]"
#define FROM "\"cache_from\": [" PLACE "]"

static char *base_id;

static void make_base(void)
{
	const TestBuild t = {
		.dockerfile = "FROM scratch\nCOPY . /\n",
		.files = (TestFile[]) { { "etc", NULL, 0 }, { "etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0 } },
		.n_files = 2,
	};
	free(base_id);
	base_id = must_build_id(&t);
}

static void remove_path(const char *name)
{
	AUTO_FREE char *path = scratch_path(name);
	assert_int_equal(tree_remove(AT_FDCWD, path), 0);
}

/* Another machine: it has the base image. */
static void fresh_machine(void)
{
	remove_path("state");
	make_base();
}

static int setup(void **state)
{
	(void) state;
	return mkdtemp(scratch) ? 0 : -1;
}

static int teardown(void **state)
{
	free(base_id);
	return scratch_teardown(state);
}

static const TestFile app[] = {
	{ "src", NULL, 0 },
	{ "src/a.txt", "a\n", 0 },
	{ "src/b.txt", "the longer one of the two, so that a change of the other is a small one\n", 0 },
};

static const char two_stages[] = "FROM base AS made\nWORKDIR /work\nCOPY src src\nRUN [\"write\", \"/work/out/x\", \"x\"]\n"
				 "FROM base\nCOPY --from=made /work/out /out\nCOPY src /src\nRUN [\"write\", \"/y\", \"y\"]\n";

static TestBuild with_app(const char *options)
{
	return (TestBuild) { .dockerfile = two_stages, .files = app, .n_files = ARRAY_SIZE(app), .base = base_id, .cache = "cache", .options = options };
}

/* A machine whose only build has left its cache. */
static void export_anew(const char *options)
{
	TestResult r;
	remove_path("cache");
	fresh_machine();
	TestBuild t = with_app(options);
	must_build(&t, &r);
	assert_int_equal(r.runs, 2);
	assert_true(r.written > 0);
	result_done(&r);
	fresh_machine();
}

static void is_right(const TestResult *r)
{
	has_text(r, "out/x", "x");
	has_text(r, "src/a.txt", "a\n");
	has_text(r, "y", "y");
	has_nothing(r, "work");
}

static bool has_warning(const TestResult *r, const char *text)
{
	for (size_t i = 0; i < json_array_size(r->events); i++) {
		const char *warning = json_string_value(json_object_get(json_array_get(r->events, i), "warning"));
		if (warning && strstr(warning, text))
			return true;
	}
	return false;
}

static const json_t *why_of(const TestResult *r, int line)
{
	const json_t *why = json_object_get(r->built, "why"), *found = NULL;
	for (size_t i = 0; i < json_array_size(why); i++)
		if (json_integer_value(json_object_get(json_array_get(why, i), "line")) == line) {
			assert_null(found); /* each is told once, also where a stage began anew */
			found = json_array_get(why, i);
		}
	assert_non_null(found);
	return found;
}

static void nothing_is_done_elsewhere(void **state)
{
	TestResult r;
	(void) state;
	export_anew("{" TO "}");
	TestBuild t = with_app("{" FROM "}");
	must_build(&t, &r);
	assert_int_equal(r.runs, 0);
	assert_int_equal(r.wanted, 0); /* files of the context */
	is_right(&r);
	for (int line = 1; line <= 8; line++)
		if (line != 2) /* WORKDIR is not told of */
			assert_true(json_is_true(json_object_get(why_of(&r, line), "cached")));
	/* index, manifest, configuration, and the result's three layers: what the first stage made stays there. */
	assert_int_equal(r.read, 6);
	result_done(&r);
	/* What has come is here from then on; of what was left there its being there is looked for. */
	must_build(&t, &r);
	assert_int_equal(r.runs, 0);
	assert_int_equal(r.read, 3);
	result_done(&r);
	/* Without the directory, only what has come. */
	t.options = NULL;
	must_build(&t, &r);
	assert_int_equal(r.runs, 1);
	is_right(&r);
	result_done(&r);
}

static void a_change_says_which_file(void **state)
{
	TestFile files[ARRAY_SIZE(app)];
	TestResult r;
	(void) state;
	export_anew("{" TO "}");
	memcpy(files, app, sizeof(app));
	files[1].text = "b\n";
	TestBuild t = with_app("{" FROM ", \"context\": \"other:/place\"}");
	t.files = files;
	must_build(&t, &r);
	has_text(&r, "src/a.txt", "b\n");
	has_text(&r, "src/b.txt", app[2].text);
	/* The file alone was sent, and it alone is in the new layer. */
	assert_int_equal(r.wanted, 1);
	assert_int_equal(r.image->n_layers, 5); /* base, out, src, its change, y */
	const char *reason = json_string_value(json_object_get(why_of(&r, 7), "reason"));
	assert_non_null(reason);
	assert_non_null(strstr(reason, "src/a.txt"));
	result_done(&r);
}

static size_t blobs(char ***ret)
{
	AUTO_FREE char *path = scratch_path("cache/blobs/sha256");
	DIR *d = opendir(path);
	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));)
		if (e->d_name[0] != '.')
			strv_take(ret, xasprintf("%s/%s", path, e->d_name));
	(void) closedir(d);
	return strv_len(*ret);
}

/* A file of the cache, other than it was: what comes of it may take longer, but is right. */
static void damaged(const char *path, const char *text)
{
	TestResult r;
	AUTO_BUF was = BUF_INIT;
	fresh_machine();
	assert_int_equal(file_read(AT_FDCWD, path, 1 << 20, &was), 0);
	if (text)
		assert_int_equal(file_write(AT_FDCWD, path, text, strlen(text), 0644), 0);
	else
		assert_int_equal(unlink(path), 0);
	TestBuild t = with_app("{" FROM "}");
	must_build(&t, &r);
	is_right(&r);
	result_done(&r);
	assert_int_equal(file_write(AT_FDCWD, path, was.data, was.len, 0644), 0);
}

static void damage_is_a_miss(void **state)
{
	static const char *const texts[] = { NULL, "", "{}", "[]", "no JSON {", "{\"manifests\": 7}", "{\"manifests\": [7, {}, {\"digest\": \"sha256:../../etc/passwd\"}]}" };
	AUTO_STRV char **files = NULL;
	(void) state;
	export_anew("{" TO "}");
	(void) blobs(&files);
	strv_take(&files, scratch_path("cache/index.json"));
	for (char **f = files; *f; f++)
		for (size_t i = 0; i < (f[1] ? 3 : ARRAY_SIZE(texts)); i++)
			damaged(*f, texts[i]);
}

static json_t *json_file(const char *name)
{
	AUTO_FREE char *path = scratch_path(name);
	json_t *o = json_load_file(path, 0, NULL);
	assert_non_null(o);
	return o;
}

static char *blob_of(const json_t *descriptor)
{
	return xasprintf("cache/blobs/sha256/%s", json_string_value(json_object_get(descriptor, "digest")) + strlen("sha256:"));
}

/* The paths of all layers and lists, in the manifest's order. */
static char **packed_blobs(void)
{
	char **v = NULL;
	json_t *index = json_file("cache/index.json");
	AUTO_FREE char *name = blob_of(json_array_get(json_object_get(index, "manifests"), 0));
	json_t *manifest = json_file(name), *layers = json_object_get(manifest, "layers");
	for (size_t i = 0; i < json_array_size(layers); i++) {
		AUTO_FREE char *blob = blob_of(json_array_get(layers, i));
		strv_take(&v, scratch_path(blob));
	}
	json_decref(manifest);
	json_decref(index);
	return v;
}

static void flip_a_bit(const char *path)
{
	AUTO_BUF was = BUF_INIT;
	assert_int_equal(file_read(AT_FDCWD, path, 1 << 20, &was), 0);
	was.data[was.len / 2] ^= 1; /* the size is the same */
	assert_int_equal(file_write(AT_FDCWD, path, was.data, was.len, 0644), 0);
}

/* A layer that is not what it should be is told, made anew, and written anew. */
static void a_wrong_layer_is_replaced(void **state)
{
	size_t told = 0, n = 1;
	(void) state;
	for (size_t i = 0; i < n; i++) {
		TestResult r;
		export_anew("{" TO "}");
		AUTO_STRV char **files = packed_blobs();
		n = strv_len(files);
		flip_a_bit(files[i]);
		TestBuild t = with_app("{" FROM ", " TO "}");
		must_build(&t, &r);
		is_right(&r);
		bool warned = has_warning(&r, "made anew");
		told += warned;
		result_done(&r);
		fresh_machine();
		t = with_app("{" FROM "}");
		must_build(&t, &r);
		is_right(&r);
		assert_false(has_warning(&r, "made anew"));
		if (warned)
			assert_int_equal(r.runs, 0);
		result_done(&r);
	}
	assert_int_equal(told, 3); /* those of the result are looked into */
}

static void min_leaves_layers_behind(void **state)
{
	TestResult r;
	(void) state;
	export_anew("{\"cache_to\": [{\"dir\": 0, \"name\": \"c\", \"final_only\": true}]}");
	TestBuild t = with_app("{" FROM "}");
	must_build(&t, &r);
	assert_int_equal(r.runs, 0);
	is_right(&r);
	result_done(&r);
	/* Where something looks into a layer that was left behind, its stage is done again. */
	fresh_machine();
	t = with_app("{" FROM "}");
	t.dockerfile = "FROM base AS made\nWORKDIR /work\nCOPY src src\nRUN [\"write\", \"/work/out/x\", \"x\"]\n"
		       "FROM base\nCOPY --from=made /work/out /elsewhere\n";
	must_build(&t, &r);
	has_text(&r, "elsewhere/x", "x");
	assert_int_equal(r.runs, 1);
	assert_false(json_is_true(json_object_get(why_of(&r, 4), "cached")));
	assert_false(has_warning(&r, "made anew"));
	result_done(&r);
}

static void an_export_writes_what_is_new(void **state)
{
	AUTO_STRV char **before = NULL;
	AUTO_STRV char **after = NULL;
	TestFile files[ARRAY_SIZE(app)];
	TestResult r;
	(void) state;
	export_anew("{" TO "}");
	size_t n = blobs(&before);
	TestBuild t = with_app("{" FROM ", " TO "}");
	must_build(&t, &r);
	/* No layer: they are there. The configuration, the manifest, the index, the mark of the layout. */
	assert_int_equal(r.written, 4);
	result_done(&r);
	assert_int_equal(blobs(&after), n);
	/* What nothing names any more goes. */
	memcpy(files, app, sizeof(app));
	files[2].text = "something wholly different, which is longer than all that was there before, so that there is no small layer for it\n";
	t.files = files;
	must_build(&t, &r);
	result_done(&r);
	strv_free(after);
	after = NULL;
	assert_int_equal(blobs(&after), n);
	size_t same = 0;
	for (char **b = before; *b; b++)
		same += strv_has(after, *b);
	assert_true(same < n);
	/* Another build's cache stays beside it. */
	t = with_app("{" TO ", \"tags\": [\"docker.io/library/other:1\"]}");
	t.dockerfile = "FROM base\nRUN [\"write\", \"/z\", \"z\"]\n";
	must_build(&t, &r);
	result_done(&r);
	fresh_machine();
	t.base = base_id;
	t.options = "{" FROM "}";
	must_build(&t, &r);
	assert_int_equal(r.runs, 0);
	result_done(&r);
	t = with_app("{" FROM "}");
	t.files = files;
	must_build(&t, &r);
	assert_int_equal(r.runs, 0);
	result_done(&r);
}

/* What another tool has in the layout stays, with all blobs: only it knows which of them are its own. */
static void a_layout_of_somebody_else_stays_whole(void **state)
{
	static const char theirs[] = "{\"config\":{\"mediaType\":\"application/vnd.buildkit.cacheconfig.v0\"},\"layers\":[]}";
	char hex[DIGEST_HEX_MAX];
	TestResult r;
	(void) state;
	remove_path("cache");
	fresh_machine();
	digest_sha256(theirs, strlen(theirs), hex);
	AUTO_FREE char *dir = scratch_path("cache/blobs/sha256");
	AUTO_FREE char *blob = xasprintf("%s/%s", dir, hex);
	AUTO_FREE char *other = xasprintf("%s/%064d", dir, 7);
	AUTO_FREE char *index_path = scratch_path("cache/index.json");
	AUTO_FREE char *index = xasprintf("{\"manifests\":[{\"digest\":\"sha256:%s\",\"size\":%zu}]}", hex, strlen(theirs));
	assert_int_equal(dir_make(dir, 0755), 0);
	assert_int_equal(file_write(AT_FDCWD, blob, theirs, strlen(theirs), 0644), 0);
	assert_int_equal(file_write(AT_FDCWD, other, "a layer", 7, 0644), 0);
	assert_int_equal(file_write(AT_FDCWD, index_path, index, strlen(index), 0644), 0);
	TestBuild t = with_app("{" FROM ", " TO "}");
	must_build(&t, &r);
	assert_true(has_warning(&r, "no build cache is in ./cache"));
	result_done(&r);
	json_t *now = json_file("cache/index.json");
	assert_int_equal(json_array_size(json_object_get(now, "manifests")), 2);
	json_decref(now);
	assert_true(access(blob, F_OK) == 0 && access(other, F_OK) == 0);
	fresh_machine();
	t = with_app("{" FROM "}");
	must_build(&t, &r);
	assert_int_equal(r.runs, 0);
	result_done(&r);
}

static void a_kill_leaves_a_usable_directory(void **state)
{
	TestFile files[ARRAY_SIZE(app)];
	TestResult r;
	bool cut = true;
	(void) state;
	memcpy(files, app, sizeof(app));
	for (size_t at = 1; cut; at++) {
		export_anew("{" TO "}");
		TestBuild t = with_app("{" TO "}");
		files[1].text = "b\n";
		t.files = files;
		t.cut = at;
		run_build(&t, &r);
		cut = !r.built;
		result_done(&r);
		fresh_machine();
		t = with_app("{" FROM "}");
		must_build(&t, &r);
		is_right(&r);
		assert_false(has_warning(&r, "--cache-from"));
		bool old = r.runs == 0;
		result_done(&r);
		if (old)
			continue;
		/* Then it is the new one, whole. */
		fresh_machine();
		t = with_app("{" FROM "}");
		t.files = files;
		must_build(&t, &r);
		assert_int_equal(r.runs, 0);
		result_done(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_done_elsewhere), cmocka_unit_test(a_change_says_which_file), cmocka_unit_test(damage_is_a_miss),
		cmocka_unit_test(a_wrong_layer_is_replaced), cmocka_unit_test(min_leaves_layers_behind), cmocka_unit_test(an_export_writes_what_is_new),
		cmocka_unit_test(a_layout_of_somebody_else_stays_whole), cmocka_unit_test(a_kill_leaves_a_usable_directory),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
