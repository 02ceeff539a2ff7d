// SPDX-License-Identifier: Apache-2.0
#include "build/testing.h"
#include "build/cache.h"
#include "build/prune.h"

static char *base_id;

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

static const TestFile app[] = { { "a.txt", "a\n", 0 } };

static char *built(const char *dockerfile)
{
	const TestBuild t = { .dockerfile = dockerfile, .files = app, .n_files = 1, .base = base_id };
	return must_build_id(&t);
}

static size_t runs(const char *dockerfile)
{
	TestResult r;
	TestBuild t = { .dockerfile = dockerfile, .files = app, .n_files = 1, .base = base_id };
	must_build(&t, &r);
	size_t n = r.runs;
	result_done(&r);
	return n;
}

/* What images need, as the daemon says it: layers and ids. */
static void need(json_t *options, const char *id)
{
	AUTO_BUF text = BUF_INIT;
	Image *image = NULL;
	AUTO_FREE char *path = xasprintf("%s/state/blobs/sha256/%s", scratch, id + 7);
	assert_int_equal(file_read(AT_FDCWD, path, 1 << 20, &text), 0);
	assert_int_equal(image_from_config(text.data, text.len, &image, NULL), 0);
	(void) json_array_append_new(json_object_get(options, "images"), json_string(id));
	for (size_t i = 0; i < image->n_layers; i++) {
		char name[33];
		layer_dir_name(image->layers[i].diff_id, name);
		(void) json_array_append_new(json_object_get(options, "layers"), json_string(name));
	}
	image_free(image);
}

typedef struct Told {
	json_t *items;
	int64_t freed;
} Told;

/* In a process of its own: it fences itself in. */
static Told prune(json_t *options)
{
	Told t = { .items = json_array(), .freed = -1 };
	int fds[2];
	AUTO_BUF out = BUF_INIT;
	AUTO_FREE char *state = xasprintf("%s/state", scratch);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void) dup2(fds[1], STDOUT_FILENO);
		report_init();
		_exit(build_prune_job(state, options, NULL) < 0);
	}
	(void) close(fds[1]);
	for (ssize_t n; (n = read(fds[0], buf_reserve(&out, 4096), 4096)) > 0;)
		buf_added(&out, (size_t) n);
	(void) close(fds[0]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	for (char *nl; out.len && (nl = memchr(out.data, '\n', out.len)); buf_consume(&out, (size_t) (nl - out.data) + 1)) {
		json_t *o = json_loadb(out.data, (size_t) (nl - out.data), 0, NULL);
		assert_non_null(o);
		if (json_object_get(o, "cache"))
			(void) json_array_append(t.items, json_object_get(o, "cache"));
		if (json_object_get(o, "freed"))
			t.freed = json_integer_value(json_object_get(o, "freed"));
		json_decref(o);
	}
	json_decref(options);
	assert_true(t.freed >= 0);
	return t;
}

static json_t *options(const char *more)
{
	json_t *o = json_pack("{s:[], s:[]}", "layers", "images"), *m = json_loads(more, 0, NULL);
	assert_non_null(m);
	(void) json_object_update(o, m);
	json_decref(m);
	return o;
}

static size_t count(const Told *t, const char *type)
{
	size_t n = 0;
	for (size_t i = 0; i < json_array_size(t->items); i++)
		n += str_eq(json_string_value(json_object_get(json_array_get(t->items, i), "type")), type);
	return n;
}

static int64_t sum(const Told *t)
{
	int64_t bytes = 0;
	for (size_t i = 0; i < json_array_size(t->items); i++)
		bytes += json_integer_value(json_object_get(json_array_get(t->items, i), "size"));
	return bytes;
}

static void told_done(Told *t)
{
	json_decref(t->items);
}

static int64_t all_bytes(void)
{
	AUTO(told_done) Told t = prune(options("{\"list\": true}"));
	return t.freed;
}

static const char steps[] = "FROM base AS one\nCOPY a.txt /\nRUN [\"write\", \"/one\", \"1\"]\nFROM base\nCOPY --from=one /one /renamed\nRUN [\"write\", \"/two\", \"2\"]\n";

static void fresh(void)
{
	AUTO_FREE char *state = xasprintf("%s/state", scratch);
	assert_int_equal(tree_remove(AT_FDCWD, state), 0);
	free(base_id);
	base_id = NULL;
	base_id = built("FROM scratch\nCOPY <<END /base\nbase\nEND\n");
}

static void what_images_have_stays(void **state)
{
	(void) state;
	fresh();
	AUTO_FREE char *id = built(steps);
	json_t *o = options("{}");
	need(o, base_id);
	need(o, id);
	AUTO(told_done) Told t = prune(o);
	/* The two steps of the first stage, and the contents that were sent. */
	assert_int_equal(count(&t, "regular"), 2);
	assert_int_equal(count(&t, "source.local"), 1);
	assert_int_equal(runs(steps), 1);
	AUTO_FREE char *again = built(steps);
	assert_string_equal(again, id); /* or whatever runs of it would be started anew */
	/* All of it. */
	o = options("{\"all\": true}");
	need(o, base_id);
	need(o, id);
	AUTO(told_done) Told all = prune(o);
	assert_int_equal(sum(&all), all.freed); /* what an image has is not told as if it went */
	assert_true(count(&all, "regular") >= 4);
	assert_int_equal(all_bytes(), 0);
	assert_int_equal(runs(steps), 2);
}

static void dry_runs_take_nothing(void **state)
{
	(void) state;
	fresh();
	free(built(steps));
	int64_t before = all_bytes();
	assert_true(before > 0);
	AUTO(told_done) Told t = prune(options("{\"all\": true, \"dry_run\": true}"));
	assert_int_equal(t.freed, before);
	assert_int_equal(all_bytes(), before);
	assert_int_equal(runs(steps), 0);
	/* Descriptions are the instructions. */
	bool found = false;
	for (size_t i = 0; i < json_array_size(t.items); i++)
		found = found || str_eq(json_string_value(json_object_get(json_array_get(t.items, i), "description")), "COPY a.txt /");
	assert_true(found);
}

static void age(const char *dir, time_t when)
{
	AUTO_FREE char *path = xasprintf("%s/state/%s", scratch, dir);
	DIR *d = opendir(path);
	const struct timespec times[2] = { { .tv_sec = when }, { .tv_sec = when } };
	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));)
		if (e->d_name[0] != '.')
			assert_int_equal(utimensat(dirfd(d), e->d_name, times, 0), 0);
	(void) closedir(d);
}

static void the_longest_unused_goes_first(void **state)
{
	static const char other[] = "FROM base\nRUN [\"write\", \"/other\", \"o\"]\n";
	(void) state;
	fresh();
	free(built(steps));
	age("build/cache", 1000);
	free(built(other));
	int64_t all = all_bytes();
	/* One byte too many: the oldest makes room, the newest stays. */
	AUTO_FREE char *keep = xasprintf("{\"keep\": %lld}", (long long) all - 1);
	AUTO(told_done) Told t = prune(options(keep));
	assert_true(t.freed > 0 && t.freed < all);
	assert_true(all_bytes() <= all - 1);
	assert_int_equal(runs(other), 0);
	/* By age alone. */
	AUTO(told_done) Told old = prune(options("{\"before\": 2000}"));
	assert_true(count(&old, "regular") > 0);
	assert_int_equal(runs(other), 0);
	assert_int_equal(runs(steps), 2);
	/* What expired goes even where there is room. */
	age("build/cache", 1000);
	AUTO(told_done) Told expired = prune(options("{\"keep\": 1000000000, \"expired\": 2000}"));
	assert_true(count(&expired, "regular") > 0);
	assert_int_equal(runs(other), 1);
}

static void what_is_in_use_stays(void **state)
{
	const MountOwner owner = { geteuid(), getegid(), 0755 };
	AUTO_FREE char *used = NULL;
	AUTO_FREE char *unused = NULL;
	AUTO_FREE char *state_dir = xasprintf("%s/state", scratch);
	AUTO(cache_close) Cache c;
	int lock, other;
	(void) state;
	fresh();
	AUTO_CLOSE int fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(cache_open(fd, &c, NULL), 0);
	assert_int_equal(cache_mount(&c, "/root/.npm", 0, &owner, false, &lock, &used, NULL), 0);
	assert_int_equal(cache_mount(&c, "/root/.m2", 0, &owner, false, &other, &unused, NULL), 0);
	AUTO_FREE char *one = xasprintf("%s/file", used);
	AUTO_FREE char *two = xasprintf("%s/file", unused);
	assert_int_equal(file_write(fd, one, "1", 1, 0644), 0);
	assert_int_equal(file_write(fd, two, "2", 1, 0644), 0);
	(void) close(other);
	AUTO_FREE char *busy = xasprintf("{\"all\": true, \"busy\": %lld}", (long long) time(NULL));
	AUTO(told_done) Told t = prune(options(busy));
	assert_int_equal(count(&t, "exec.cachemount"), 1);
	assert_int_equal(count(&t, "source.local"), 0); /* a build may be about to copy them */
	assert_int_equal(faccessat(fd, one, F_OK, 0), 0);
	assert_int_not_equal(faccessat(fd, two, F_OK, 0), 0);
	(void) close(lock);
	AUTO(told_done) Told rest = prune(options("{\"all\": true, \"types\": [\"exec.cachemount\"]}"));
	assert_int_equal(json_array_size(rest.items), 1);
	assert_string_equal(json_string_value(json_object_get(json_array_get(rest.items, 0), "description")), "cache mount /root/.npm");
	AUTO(told_done) Told files = prune(options("{\"all\": true}"));
	assert_int_equal(count(&files, "source.local"), 1);
}

static void a_cache_that_was_never_used_holds_nothing(void **state)
{
	AUTO_FREE char *path = xasprintf("%s/state", scratch);
	(void) state;
	assert_int_equal(tree_remove(AT_FDCWD, path), 0);
	assert_int_equal(dir_make(path, 0700), 0);
	AUTO(told_done) Told t = prune(options("{\"all\": true}"));
	assert_int_equal(t.freed, 0);
	assert_int_equal(json_array_size(t.items), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_images_have_stays), cmocka_unit_test(dry_runs_take_nothing),
		cmocka_unit_test(the_longest_unused_goes_first), cmocka_unit_test(what_is_in_use_stays), cmocka_unit_test(a_cache_that_was_never_used_holds_nothing),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
