// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "edge/testing.h"

#include "edge/answers.h"

static int check(ExpectKind expect, const char *answer, Err *err)
{
	const Command c = { .text = (char *) "add server s1/x 10.0.0.1:80", .expect = expect };
	return answer_check(&c, answer, err);
}

static void test_check(void **state)
{
	AUTO_ERR err = ERR_INIT;
	assert_int_equal(check(EXPECT_NOTHING, "\n", NULL), 0);
	assert_int_equal(check(EXPECT_NOTHING, "", NULL), 0);
	assert_int_equal(check(EXPECT_NOTHING, "No such backend.\n", &err), -EIO);
	assert_string_equal(err_text(&err), "HAProxy refused 'add server s1/x 10.0.0.1:80': No such backend.");
	assert_int_equal(check(EXPECT_ADDED, "New server registered.\n\n", NULL), 0);
	assert_int_equal(check(EXPECT_ADDED, "Already exists a server with the same name in backend.\n", NULL), -EIO);
	assert_int_equal(check(EXPECT_ADDED, "", NULL), -EIO);
	assert_int_equal(check(EXPECT_DELETED, "Server deleted.\n", NULL), 0);
	assert_int_equal(check(EXPECT_DELETED, "No such server.\n", NULL), 0);
	assert_true(check(EXPECT_DELETED, "Server still has connections attached to it, cannot remove it.\n", NULL) > 0);
	assert_int_equal(check(EXPECT_DELETED, "Only servers in maintenance mode can be deleted.\n", NULL), -EIO);
	assert_int_equal(check(EXPECT_CERT, "Committing x.pem.\nSuccess!\n", NULL), 0);
	assert_int_equal(check(EXPECT_CERT, "Can't commit x.pem!\n", NULL), -EIO);
	assert_int_equal(check(EXPECT_ANYTHING, "anything\n", NULL), 0);
}

static void test_info(void **state)
{
	ProxyInfo info;
	assert_int_equal(answer_info("Name: HAProxy\nPid: 6948\nUptime: 0d\ndescription: stead-abc\n\n", &info, NULL), 0);
	assert_int_equal(info.pid, 6948);
	assert_string_equal(info.frame, "abc");
	assert_int_equal(answer_info("Pid: 0\n", &info, NULL), -EPROTO);
	assert_int_equal(answer_info("", &info, NULL), -EPROTO);
}

static void test_slots(void **state)
{
	assert_int_equal(answer_slots("# name\nrate_S\ns0\ns1\ns3\ns01\nsx\n"), 2);
	assert_int_equal(answer_slots(""), 0);
}

static const char *const servers =
	"1\n"
	"# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight …\n"
	"100 s0 1 c1 127.0.0.1 2 0 1 1 0 1 0 0 0 0 1 1 - 18490 - 0 0 - - 0\n"
	"101 s1 1 d1 10.0.0.2 0 1 1 1 0 1 0 0 0 0 1 1 - 80 - 0 0 - - 0\n"
	"101 s1 2 d2 fd00::2 2 8 1 1 0 1 0 0 0 0 1 1 - 80 - 0 0 - - 0\n"
	"101 s1 3 0123456789abcdef 10.0.0.3 0 0 1 1 0 8 2 0 6 0 1 1 - 80 - 0 0 - - 0\n"
	"101 s1 4 0123456789abcdefb 10.0.0.3 2 0 1 1 0 1 0 0 0 0 1 1 - 80 - 0 0 - - 0\n"
	"3 measure 1 loop unix 2 0 1 1 0 1 0 0 0 0 0 0 - 0 - 0 0 - - 0\n"
	"\n";

static void test_servers(void **state)
{
	AUTO_PROXY_STATE *s = proxy_state_new(2);
	AUTO_ERR err = ERR_INIT;
	assert_int_equal(answer_servers(servers, s, &err), 0);
	assert_int_equal(s->slots[0].n_servers, 1);
	assert_int_equal(s->slots[0].servers[0].port, 18490);
	assert_int_equal(s->slots[0].servers[0].state, SERVER_READY);
	assert_int_equal(s->slots[1].n_servers, 4);
	assert_int_equal(s->slots[1].servers[0].state, SERVER_MAINT);
	assert_int_equal(s->slots[1].servers[1].state, SERVER_DRAIN);
	assert_string_equal(s->slots[1].servers[1].address, "fd00::2");
	assert_false(s->slots[1].servers[1].watched);
	assert_true(s->slots[1].servers[2].watched);
	assert_false(s->slots[1].servers[2].backup);
	assert_false(s->slots[1].servers[3].watched);
	assert_true(s->slots[1].servers[3].backup);
	assert_int_equal(answer_servers("2\n", s, NULL), -EPROTO);
	assert_int_equal(answer_servers("1\n# x\n100 s0 1 c1\n", s, NULL), -EPROTO);
	AUTO_PROXY_STATE *small = proxy_state_new(1);
	assert_int_equal(answer_servers(servers, small, NULL), -EPROTO);
}

static void test_maps(void **state)
{
	AUTO_PROXY_STATE *s = proxy_state_new(4);
	assert_int_equal(answer_routes("0x557a06944470 b.test/ s1|h|0\n0x557a06944400 app.test/ s0\n\n", s, NULL), 0);
	assert_int_equal(s->n_routes, 2);
	assert_string_equal(s->routes[0].key, "app.test/");
	assert_string_equal(s->routes[1].value, "s1|h|0");
	assert_int_equal(answer_routes("nonsense\n", s, NULL), -EPROTO);
	assert_int_equal(answer_slot_names("0x55 s3 shop/web:80\n", s, NULL), 0);
	assert_string_equal(s->slots[3].backend, "shop/web:80");
	assert_int_equal(answer_slot_names("0x55 s4 shop/web:80\n", s, NULL), -EPROTO);
	assert_int_equal(answer_slot_names("0x55 s03 shop/web:80\n", s, NULL), -EPROTO);
}

static void test_certs(void **state)
{
	AUTO_PROXY_STATE *s = proxy_state_new(1);
	assert_int_equal(answer_certs("# /run/crt.list\n/s/default.pem\n/s/a.pem a.test *.a.test\n\n", s, NULL), 0);
	assert_int_equal(s->n_certs, 2);
	assert_string_equal(s->certs[1].file, "/s/a.pem");
	assert_string_equal(s->certs[1].names[1], "*.a.test");
}

static void test_in_flight(void **state)
{
	static const char answer[] = "# pxname,svname,qcur,qmax,scur,smax\ns0,c1,1,0,3,9\ns0,c2,0,0,5,9\ns0,c2b,0,0,2,9\ns0,c22,0,0,1,9\n\n";
	uint64_t n;
	assert_int_equal(answer_in_flight(answer, "c1", &n, NULL), 0);
	assert_int_equal(n, 4);
	assert_int_equal(answer_in_flight(answer, "c2", &n, NULL), 0);
	assert_int_equal(n, 7);
	assert_int_equal(answer_in_flight(answer, "gone", &n, NULL), 0);
	assert_int_equal(n, 0);
	assert_int_equal(answer_in_flight("Permission denied\n", "c1", &n, NULL), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_info),
		cmocka_unit_test(test_slots),
		cmocka_unit_test(test_servers),
		cmocka_unit_test(test_maps),
		cmocka_unit_test(test_certs),
		cmocka_unit_test(test_in_flight),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
