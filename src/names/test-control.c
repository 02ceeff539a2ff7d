// SPDX-License-Identifier: Apache-2.0

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "names/control.h"

static NamesRecord r;

static void begin(NamesType type, size_t size)
{
	memset(&r, 0, sizeof(r));
	r.header = (NamesHeader){ NAMES_MAGIC, NAMES_VERSION, (uint16_t) type, (uint32_t) size };
}

static int check(void)
{
	return control_check(&r, r.header.size);
}

static void headers(void **state)
{
	begin(NAMES_HELLO, sizeof(NamesHeader));
	assert_int_equal(check(), 0);
	assert_int_equal(control_check(&r, sizeof(NamesHeader) - 1), -EPROTO);
	assert_int_equal(control_check(&r, sizeof(NamesHeader) + 1), -EPROTO);
	r.header.version++;
	assert_int_equal(check(), 0); /* any version may ask which we are */
	begin(NAMES_SYNCED, sizeof(NamesHeader));
	r.header.version++;
	assert_int_equal(check(), -EPROTO);
	begin(NAMES_HELLO, sizeof(NamesHeader));
	r.header.magic++;
	assert_int_equal(check(), -EPROTO);
	begin(0, sizeof(NamesHeader));
	assert_int_equal(check(), -EPROTO);
	begin(NAMES_WELCOME, sizeof(NamesWelcome)); /* the server's own */
	assert_int_equal(check(), -EPROTO);
	begin(99, sizeof(NamesHeader));
	assert_int_equal(check(), -EPROTO);
}

static void endpoints(void **state)
{
	begin(NAMES_ENDPOINT, sizeof(r.endpoint));
	assert_int_equal(check(), -EPROTO); /* no id */
	memcpy(r.endpoint.id, "abc", 4);
	assert_int_equal(check(), 0);
	r.endpoint.n_networks = 1;
	assert_int_equal(check(), -EPROTO); /* no name */
	memcpy(r.endpoint.networks[0], "net", 4);
	assert_int_equal(check(), 0);
	memset(r.endpoint.networks[0], 'x', NAMES_ID_SIZE);
	assert_int_equal(check(), -EPROTO); /* no end */
	r.endpoint.n_networks = NAMES_NETWORKS_MAX + 1;
	assert_int_equal(check(), -EPROTO);
	r.endpoint.n_networks = 0;
	r.endpoint.n_upstreams = 1;
	assert_int_equal(check(), -EPROTO); /* no family */
	r.endpoint.upstreams[0].family = 6;
	assert_int_equal(check(), 0);
	r.endpoint.n_upstreams = NAMES_UPSTREAMS_MAX + 1;
	assert_int_equal(check(), -EPROTO);
}

static void begin_set(const char *text, uint32_t size, uint32_t n)
{
	begin(NAMES_SET, offsetof(NamesSet, text) + size);
	memcpy(r.set.network, "net", 4);
	r.set.address.family = 4;
	r.set.n = n;
	r.set.text_size = size;
	memcpy(r.set.text, text, size);
}

static void sets(void **state)
{
	begin_set("a\0bc\0", 5, 2);
	assert_int_equal(check(), 0);
	begin_set("", 0, 0);
	assert_int_equal(check(), 0);
	begin_set("a\0bc\0", 5, 1); /* more behind */
	assert_int_equal(check(), -EPROTO);
	begin_set("a\0bc\0", 5, 3); /* too few */
	assert_int_equal(check(), -EPROTO);
	begin_set("a\0bc", 4, 2); /* no end */
	assert_int_equal(check(), -EPROTO);
	begin_set("\0", 1, 1); /* empty */
	assert_int_equal(check(), -EPROTO);
	begin_set("a\0", 2, 1);
	r.set.address.family = 5;
	assert_int_equal(check(), -EPROTO);
	begin_set("a\0", 2, 1);
	memset(r.set.network_name, 'x', sizeof(r.set.network_name));
	assert_int_equal(check(), -EPROTO);
	begin_set("a\0", 2, 1);
	r.set.text_size = NAMES_TEXT_MAX + 1;
	assert_int_equal(check(), -EPROTO);
	begin_set("a\0", 2, 1);
	r.set.text_size = UINT32_MAX;
	assert_int_equal(check(), -EPROTO);
	begin(NAMES_SET, sizeof(NamesHeader));
	assert_int_equal(check(), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(headers),
		cmocka_unit_test(endpoints),
		cmocka_unit_test(sets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
