// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "edge/cache-config.h"

#define SECOND NSEC_PER_SEC
#define MIB (1LL << 20)

static EdgeRoute *add(EdgeTable *t, const char *host, const char *path, const char *service, int64_t ttl, int64_t disk)
{
	Route r = { .host = (char *) host, .path = (char *) path, .port = 80, .cache = { ttl, 64 * MIB, disk }, .max_body = -1, .rate = -1, .timeout = -1 };
	return edge_table_add_route(t, &r, "shop", service, "shop/web:80");
}

static void zone_is_the_routes_own(void **state)
{
	AUTO_EDGE_TABLE *t = edge_table_new();
	const struct {
		const char *host, *path, *service;
		int64_t disk;
	} routes[] = {
		{ "a.test", "/", "web", 0 }, { "b.test", "/", "web", 0 }, { NULL, "/", "web", 0 }, { "a.test", "/x", "web", 0 },
		{ "a.test", "/", "other", 0 }, { "a.test", "/", "web", 1 << 30 },
	};
	CacheZone zones[ARRAY_SIZE(routes)];
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		const EdgeRoute *r = add(t, routes[i].host, routes[i].path, routes[i].service, SECOND, routes[i].disk);
		assert_true(cache_zone(r, &zones[i]));
		assert_int_equal(strlen(zones[i].name), CACHE_ZONE_NAME - 1);
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(zones[i].name, zones[k].name);
	}
	assert_int_equal(zones[0].bytes, 64 * MIB);
	assert_int_equal(zones[5].bytes, 1 << 30);
	assert_int_equal(zones[0].name[0], 'm');
	assert_int_equal(zones[5].name[0], 'd');
	/* Other sizes are no other zone: what is cached stays. */
	CacheZone again;
	assert_true(cache_zone(add(t, "a.test", "/", "web", 7 * SECOND, 0), &again));
	assert_string_equal(again.name, zones[0].name);
	assert_int_equal(again.ttl, 7);
}

static void no_cache_no_zone(void **state)
{
	AUTO_EDGE_TABLE *t = edge_table_new();
	CacheZone z;
	assert_false(cache_zone(add(t, "a.test", "/", "web", -1, -1), &z));
	/* 0 is a cache that keeps what says itself for how long. */
	assert_true(cache_zone(add(t, "b.test", "/", "web", 0, 0), &z));
	assert_int_equal(z.ttl, 0);
	/* A lifetime below a second is not none. */
	assert_true(cache_zone(add(t, "c.test", "/", "web", 1000000, 0), &z));
	assert_int_equal(z.ttl, 1);
}

static void words(void **state)
{
	AUTO_BUF b = BUF_INIT;
	CacheZone z = { .name = "m0123456789abcdef", .bytes = 40 * MIB, .ttl = 600 };
	cache_zone_words(&z, "00112233445566aa", &b);
	assert_string_equal(buf_cstr(&b), "m0123456789abcdef:00112233445566aa:600:10485760:");
	/* One response never takes more than a quarter, and never more than can be copied in the time of a request. */
	buf_clear(&b);
	z = (CacheZone) { .name = "m0", .bytes = 1LL << 40, .ttl = 1 };
	cache_zone_words(&z, "0", &b);
	assert_string_equal(buf_cstr(&b), "m0:0:1:16777216:");
	buf_clear(&b);
	z.disk = true;
	cache_zone_words(&z, "0", &b);
	assert_string_equal(buf_cstr(&b), "m0:0:1:1073741824:");
}

/* The text with the places that stead-cache makes below /tmp moved into `dir`. */
static void in_place(const char *text, const char *dir, Buf *ret)
{
	for (const char *at; (at = strstr(text, "/tmp/")); text = at + 4) {
		buf_append(ret, text, (size_t) (at - text));
		buf_str(ret, dir);
	}
	buf_str(ret, text);
}

static void check_nginx(const CacheZone *zones, size_t n)
{
	char dir[] = "/tmp/stead-nginx-XXXXXX";
	AUTO_BUF text = BUF_INIT;
	AUTO_BUF moved = BUF_INIT;
	static const char *const dirs[] = { "sock", "memory", "disk", "temp" };
	assert_non_null(mkdtemp(dir));
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		AUTO_FREE char *path = xasprintf("%s/%s", dir, dirs[i]);
		assert_int_equal(mkdir(path, 0755), 0);
	}
	cache_nginx_config(zones, n, &text);
	in_place(buf_cstr(&text), dir, &moved);
	AUTO_FREE char *conf = xasprintf("%s/nginx.conf", dir);
	assert_int_equal(file_write(AT_FDCWD, conf, buf_cstr(&moved), moved.len, 0600), 0);
	pid_t pid = fork();
	if (pid == 0) {
		(void) execlp("nginx", "nginx", "-q", "-t", "-e", "stderr", "-p", dir, "-c", conf, NULL);
		_exit(77);
	}
	int status = -1;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(tree_remove(AT_FDCWD, dir), 0);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void nginx_accepts_it(void **state)
{
	CacheZone zones[200];
	for (size_t i = 0; i < ARRAY_SIZE(zones); i++) {
		zones[i] = (CacheZone) { .disk = i % 2, .bytes = i < 2 ? 1 : i < 4 ? INT64_MAX : (int64_t) i * MIB, .ttl = i < 4 ? 10LL * 365 * 86400 : (int64_t) i };
		(void) snprintf(zones[i].name, sizeof(zones[i].name), "%c%016zx", i % 2 ? 'd' : 'm', i);
	}
	check_nginx(zones, ARRAY_SIZE(zones));
	check_nginx(zones, 1);
	check_nginx(NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(zone_is_the_routes_own),
		cmocka_unit_test(no_cache_no_zone),
		cmocka_unit_test(words),
		cmocka_unit_test(nginx_accepts_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
