// SPDX-License-Identifier: Apache-2.0

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "net/resolv.h"

static void reads_all_keys(void **state)
{
	char text[ADDR_TEXT_MAX];
	ResolvConf c;

	resolv_parse(
		"# comment\n;also\nnameserver 127.0.0.53\r\n  nameserver\tfd00::1  \nnameserver "
		"1.1.1.1\nnameserver 8.8.8.8\n"
		"domain a.example\nsearch b.example c.example\noptions edns0 trust-ad\nsortlist 10.0.0.0\n",
		&c);
	assert_int_equal(c.n_servers, 3);
	assert_string_equal(addr_text(&c.servers[0], text), "127.0.0.53");
	assert_string_equal(addr_text(&c.servers[1], text), "fd00::1");
	assert_int_equal(strv_len(c.search), 2);
	assert_string_equal(c.search[0], "b.example");
	assert_string_equal(c.options[1], "trust-ad");
	resolv_done(&c);
}

static void skips_what_it_cannot_use(void **state)
{
	ResolvConf c;

	resolv_parse("nameserver\nnameserver fe80::1%eth0\nnameserver nonsense\nnameserverx "
		     "1.1.1.1\nsearch\n\n\nsearch \x01"
		     "bad",
		&c);
	assert_int_equal(c.n_servers, 0);
	assert_null(c.search);
	resolv_done(&c);
}

static void missing_file_is_empty(void **state)
{
	ResolvConf c;

	assert_int_equal(resolv_read("/nonexistent/resolv.conf", &c, NULL), 0);
	assert_int_equal(c.n_servers, 0);
	resolv_done(&c);
	assert_true(resolv_read("/dev", &c, NULL) < 0);
}

static unsigned reads;
static Addr seen;

static void on_read(void *user, const ResolvConf *c)
{
	reads++;
	seen = c->n_servers ? c->servers[0] : (Addr) { 0 };
}

static void write_conf(const char *path, const char *text)
{
	assert_int_equal(file_write_atomic(AT_FDCWD, path, text, strlen(text), 0644, false), 0);
}

static void turn_until(uv_loop_t *loop, const char *address)
{
	int64_t until = time_mono() + 60 * NSEC_PER_SEC;
	char text[ADDR_TEXT_MAX];

	while (!str_eq(addr_text(&seen, text), address) && time_mono() < until) {
		uv_run(loop, UV_RUN_NOWAIT);
		usleep(1000);
	}
	assert_string_equal(addr_text(&seen, text), address);
}

static void nothing(uv_timer_t *t)
{
}

/* Replaced files are seen, at the end of a link as well, and a link that leads elsewhere. */
static void watches_changes(void **state)
{
	char dir[] = "/tmp/stead-test-resolv-XXXXXX";
	ResolvWatch *w = NULL;
	uv_loop_t loop;
	uv_timer_t alive; /* the watch alone does not keep a loop going */

	assert_non_null(mkdtemp(dir));
	AUTO_FREE char *link = xasprintf("%s/resolv.conf", dir);
	AUTO_FREE char *one = xasprintf("%s/one", dir);
	AUTO_FREE char *real = xasprintf("%s/one/stub", dir);
	assert_int_equal(mkdir(one, 0755), 0);
	write_conf(real, "nameserver 10.0.0.1\n");
	assert_int_equal(symlink("one/stub", link), 0);
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(uv_timer_init(&loop, &alive), 0);
	assert_int_equal(uv_timer_start(&alive, nothing, 60000, 0), 0);
	assert_int_equal(resolv_watch_new(&loop, link, on_read, NULL, &w, NULL), 0);
	assert_int_equal(reads, 1);
	turn_until(&loop, "10.0.0.1");
	write_conf(real, "nameserver 10.0.0.2\n");
	turn_until(&loop, "10.0.0.2");
	assert_int_equal(unlink(link), 0);
	write_conf(link, "nameserver 10.0.0.3\n");
	turn_until(&loop, "10.0.0.3");
	resolv_watch_free(w);
	uv_close((uv_handle_t *) &alive, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	assert_int_equal(tree_remove(AT_FDCWD, dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_all_keys),
		cmocka_unit_test(skips_what_it_cannot_use),
		cmocka_unit_test(missing_file_is_empty),
		cmocka_unit_test(watches_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
