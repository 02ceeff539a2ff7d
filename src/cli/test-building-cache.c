// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/building-cache.h"
#include "cli/cli.h"
#include "cli/run-cli.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OTHER "f123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* ── what the options say ─────────────────────────────────────────── */

static int parse(const char *text, bool write, BuildingCache *c, json_t **option, Err *err)
{
	*c = (BuildingCache) { .dir = -1, .blobs = -1, .file = -1 };
	*option = NULL;
	return building_cache_parse(text, write, ".", c, option, err);
}

static void is_directory(const char *text, bool write, const char *path, bool final_only, bool ignore_error)
{
	AUTO_ERR err = ERR_INIT;
	BuildingCache c;
	json_t *o;
	if (parse(text, write, &c, &o, &err) != 0)
		fail_msg("%s: %s", text, err_text(&err));
	assert_string_equal(c.path, path);
	assert_int_equal(json_is_true(json_object_get(o, "final_only")), final_only);
	assert_int_equal(json_is_true(json_object_get(o, "ignore_error")), ignore_error);
	json_decref(o);
	building_cache_done(&c);
}

static void is_refused(const char *text, bool write, const char *why)
{
	AUTO_ERR err = ERR_INIT;
	BuildingCache c;
	json_t *o;
	assert_true(parse(text, write, &c, &o, &err) < 0);
	if (!strstr(err_text(&err), why) || !strstr(err_text(&err), text))
		fail_msg("'%s' is not said of '%s': %s", why, text, err_text(&err));
}

static void kinds(void **state)
{
	BuildingCache c;
	json_t *o;
	(void) state;
	assert_int_equal(mkdir("there", 0755), 0);
	is_directory("./new", true, "././new", false, false);
	is_directory("./new", false, "././new", false, false);
	is_directory("there", true, "./there", false, false);
	is_directory("type=local,dest=new", true, "./new", false, false);
	is_directory("type=local,dest=new,mode=min,ignore-error=true,compression=zstd,compression-level=3,tag=x", true, "./new", true, true);
	is_directory("type=local,mode=max,src=missing", false, "./missing", false, false);
	is_refused("type=local,dest=new,mode=all", true, "min or max");
	is_refused("type=local,dest=new,ignore-error=maybe", true, "true or false");
	is_refused("type=local,dest=new,colour=red", true, "'colour' is no option");
	is_refused("type=local,src=new", true, "names no directory");
	is_refused("dest=new", true, "write type=local,dest=DIR");
	is_refused("type=registry,ref=app:cache", true, "type=local,dest=DIR");
	is_refused("type=inline", true, "type=local,dest=DIR");
	is_refused("app:cache", true, "./DIR");
	/* What cannot be read costs time alone. */
	assert_int_equal(parse("app:cache", false, &c, &o, NULL), 1);
	assert_int_equal(parse("type=gha", false, &c, &o, NULL), 1);
	/* A file is in the way. */
	write_file("file", "");
	is_refused("./file", true, "./file");
}

/* ── what the daemon asks ─────────────────────────────────────────── */

typedef struct Answers {
	Buf bytes; /* of C frames */
	json_t *last;
} Answers;

static int take(void *user, uint8_t type, const void *p, size_t n, Err *err)
{
	Answers *a = user;
	(void) err;
	if (type == 'C') {
		buf_append(&a->bytes, p, n);
		return 0;
	}
	json_decref(a->last);
	a->last = json_loadb(p, n, 0, NULL);
	return 0;
}

/* "" if it is an error of the connection. */
static const char *answer(BuildingCache *c, json_t *question, Answers *a)
{
	AUTO_ERR err = ERR_INIT;
	const FrameOut out = { take, a };
	buf_clear(&a->bytes);
	json_decref(a->last);
	a->last = NULL;
	int r = building_cache_request(c, 1, question, &out, &err);
	json_decref(question);
	return r < 0 ? "" : json_string_value(json_object_get(a->last, "cache"));
}

static const char *ask(BuildingCache *c, Answers *a, const char *key, const char *value)
{
	return answer(c, json_pack("{s:i, s:s?}", "dir", 0, key, value), a);
}

static const char *write_blob(BuildingCache *c, Answers *a, const char *text, const char *name)
{
	assert_null(answer(c, json_pack("{s:i, s:b}", "dir", 0, "write", 1), a));
	building_cache_bytes(c, 1, text, strlen(text));
	return ask(c, a, "name", name);
}

static void open_cache(BuildingCache *c, bool write)
{
	json_t *o;
	assert_int_equal(parse("./cache", write, c, &o, NULL), 0);
	json_decref(o);
}

static bool there(const char *path)
{
	return access(path, F_OK) == 0;
}

static void files(void **state)
{
	Answers a = { 0 };
	BuildingCache c, reader;
	(void) state;
	open_cache(&c, true);
	assert_string_equal(ask(&c, &a, "read", "index.json"), "missing");
	assert_string_equal(write_blob(&c, &a, "content", "blobs/sha256/" HEX), "done");
	assert_string_equal(ask(&c, &a, "read", "blobs/sha256/" HEX), "end");
	assert_string_equal(buf_cstr(&a.bytes), "content");
	assert_string_equal(write_blob(&c, &a, "{}", "index.json"), "done");
	/* Without a name it never was. */
	assert_string_equal(write_blob(&c, &a, "half", NULL), "done");
	assert_string_equal(answer(&c, json_pack("{s:i, s:[s, s]}", "dir", 0, "sizes", "blobs/sha256/" HEX, "blobs/sha256/" OTHER), &a), "sizes");
	assert_int_equal(json_integer_value(json_array_get(json_object_get(a.last, "sizes"), 0)), 7);
	assert_true(json_is_null(json_array_get(json_object_get(a.last, "sizes"), 1)));
	/* Only what an export writes has a name. */
	static const char *const names[] = { "../secret", "blobs/sha256/../../index.json", "/etc/passwd", "blobs/sha256/" HEX "0", "blobs/sha256/x", "" };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		assert_string_equal(ask(&c, &a, "read", names[i]), "failed");
		assert_string_equal(write_blob(&c, &a, "evil", names[i]), "failed");
	}
	/* What nothing names goes, half-written files with it; what is no blob stays. */
	assert_string_equal(write_blob(&c, &a, "other", "blobs/sha256/" OTHER), "done");
	write_file("cache/blobs/sha256/tmp-0123", "left");
	write_file("cache/blobs/sha256/notes", "mine");
	assert_string_equal(answer(&c, json_pack("{s:i, s:[s]}", "dir", 0, "keep", "blobs/sha256/" OTHER), &a), "done");
	assert_true(there("cache/blobs/sha256/" OTHER) && there("cache/index.json") && there("cache/blobs/sha256/notes"));
	assert_false(there("cache/blobs/sha256/" HEX) || there("cache/blobs/sha256/tmp-0123"));
	/* One to read from is not written to. */
	open_cache(&reader, false);
	assert_string_equal(answer(&reader, json_pack("{s:i, s:b}", "dir", 0, "write", 1), &a), "");
	assert_string_equal(answer(&reader, json_pack("{s:i, s:[]}", "dir", 0, "keep"), &a), "");
	assert_string_equal(answer(&reader, json_pack("{s:i, s:s}", "dir", 1, "read", "index.json"), &a), "");
	assert_string_equal(ask(&reader, &a, "read", "index.json"), "end");
	building_cache_done(&reader);
	building_cache_done(&c);
	buf_done(&a.bytes);
	json_decref(a.last);
}

static void one_writes_at_a_time(void **state)
{
	Answers a = { 0 };
	BuildingCache one, two;
	(void) state;
	open_cache(&one, true);
	open_cache(&two, true);
	assert_string_equal(answer(&one, json_pack("{s:i, s:b}", "dir", 0, "lock", 1), &a), "done");
	assert_string_equal(answer(&two, json_pack("{s:i, s:b}", "dir", 0, "lock", 1), &a), "busy");
	assert_string_equal(answer(&one, json_pack("{s:i, s:n}", "dir", 0, "keep"), &a), "done");
	assert_string_equal(answer(&two, json_pack("{s:i, s:b}", "dir", 0, "lock", 1), &a), "done");
	building_cache_done(&two);
	building_cache_done(&one);
	buf_done(&a.bytes);
	json_decref(a.last);
}

/* A directory that leads elsewhere is not followed: nothing there is read, written or removed. */
static void links_lead_nowhere(void **state)
{
	Answers a = { 0 };
	BuildingCache c;
	(void) state;
	assert_int_equal(mkdir("elsewhere", 0755), 0);
	assert_int_equal(mkdir("elsewhere/sha256", 0755), 0);
	write_file("elsewhere/sha256/" HEX, "precious");
	assert_int_equal(mkdir("linked", 0755), 0);
	assert_int_equal(symlink("../elsewhere", "linked/blobs"), 0);
	json_t *o;
	assert_int_equal(parse("./linked", true, &c, &o, NULL), 0);
	json_decref(o);
	assert_string_equal(ask(&c, &a, "read", "blobs/sha256/" HEX), "failed");
	assert_string_equal(write_blob(&c, &a, "x", "blobs/sha256/" OTHER), "failed");
	assert_string_equal(answer(&c, json_pack("{s:i, s:[]}", "dir", 0, "keep"), &a), "done");
	assert_true(there("elsewhere/sha256/" HEX));
	assert_false(there("elsewhere/sha256/" OTHER));
	building_cache_done(&c);
	buf_done(&a.bytes);
	json_decref(a.last);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(kinds), cmocka_unit_test(files), cmocka_unit_test(one_writes_at_a_time),
		cmocka_unit_test(links_lead_nowhere) };
	return cmocka_run_group_tests(tests, cli_setup, cli_teardown);
}
