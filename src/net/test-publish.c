// SPDX-License-Identifier: Apache-2.0

/*
 * The rules in the real kernel. The scene: the host with address 10.99.0.1 on a "LAN" (another daemon's
 * bridge stands for it) where `outside` (10.99.0.2) lives; networks A (containers a1, a2), B (b1) and the
 * internal I (i1).
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/time.h"
#include "net/network.h"
#include "net/nft.h"
#include "net/test-ns.h"

static uv_loop_t loop;
static Net *net, *lan;
static Nft *nft;
static int outside, a1, a2, b1, i1;

static void ok(int r, const Err *err)
{
	if (r < 0)
		fail_msg("%s", err_text(err));
}

static void make_network(Net *n, const char *id, const char *gateway, bool internal)
{
	AUTO_ERR err = ERR_INIT;
	Addr a = test_addr(gateway);

	ok(network_create(n,
		   &(NetworkSpec){ .id = id, .subnet = addr_network(&a), .gateway = a, .internal = internal },
		   &err),
		&err);
}

static int make_container(
	Net *n, const char *id, const char *network, const char *address, const char *gateway)
{
	char hostile[] = "net.ipv4.conf.all.route_localnet=1"; /* for host_loopback_is_closed */
	char *const sysctls[] = { hostile, NULL };
	AUTO_ERR err = ERR_INIT;
	int ns = -1;

	ok(netns_create(test_run_dir, id, sysctls, &ns, &err), &err);
	ok(endpoint_attach(n,
		   &(EndpointSpec){ .container_id = id,
			   .network_id = network,
			   .netns_fd = ns,
			   .ifname = "eth0",
			   .address = test_addr(address),
			   .gateway = gateway ? test_addr(gateway) : (Addr){ 0 } },
		   &err),
		&err);
	return ns;
}

static bool is_ready;

static void ready(void *user, const Err *err)
{
	if (err)
		fail_msg("%s", err_text(err));
	is_ready = true;
}

static char forwarding(void)
{
	AUTO_BUF text = BUF_INIT;

	assert_int_equal(file_read(AT_FDCWD, "/proc/sys/net/ipv4/ip_forward", 16, &text), 0);
	return buf_cstr(&text)[0];
}

static int set_scene(void **state)
{
	AUTO_STRV char **guard = NULL;
	AUTO_ERR err = ERR_INIT;
	bool on = file_write(AT_FDCWD, "/proc/sys/net/ipv4/ip_forward", "0", 1, 0644) == 0;

	assert_true(on);
	assert_int_equal(uv_loop_init(&loop), 0);
	ok(net_new(&loop, "test", &net, &err), &err);
	ok(net_new(&loop, "lan", &lan, &err), &err);
	make_network(lan, "lan", "10.99.0.1/24", false);
	make_network(lan, "lan2", "10.98.0.1/24", false);
	ok(net_enable_forwarding(test_run_dir, &guard, &err), &err);
	assert_int_equal(strv_len(guard), 2);
	assert_int_equal(forwarding(), '0'); /* not before the rules are there */
	outside = make_container(lan, "outside", "lan", "10.99.0.2/24", "10.99.0.1");
	make_network(net, "A", "10.1.0.1/24", false);
	make_network(net, "B", "10.2.0.1/24", false);
	make_network(net, "I", "10.3.0.1/24", true);
	a1 = make_container(net, "a1", "A", "10.1.0.2/24", "10.1.0.1");
	a2 = make_container(net, "a2", "A", "10.1.0.3/24", "10.1.0.1");
	b1 = make_container(net, "b1", "B", "10.2.0.2/24", "10.2.0.1");
	i1 = make_container(net, "i1", "I", "10.3.0.2/24", "10.3.0.1"); /* it even has a default route */
	ok(nft_new(&loop, "test", guard, NULL, 0, ready, NULL, &nft, &err), &err);
	while (!is_ready)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(nft_present(nft), 1);
	assert_int_equal(forwarding(), '1');
	return 0;
}

static NftPort port(uint8_t protocol, const char *ip, uint16_t number, const char *to, uint16_t to_port)
{
	return (NftPort){ .protocol = protocol,
		.ip = ip ? test_addr(ip) : (Addr){ 0 },
		.port = number,
		.to = test_addr(to),
		.to_port = to_port };
}

static void publish(NftPort p)
{
	AUTO_ERR err = ERR_INIT;

	ok(nft_publish(nft, &p, 1, &err), &err);
}

static void unpublish(NftPort p)
{
	AUTO_ERR err = ERR_INIT;

	ok(nft_unpublish(nft, &p, 1, &err), &err);
}

static void way_out_is_masqueraded(void **state)
{
	AUTO_CLOSE int server = test_server(outside, SOCK_DGRAM, "10.99.0.2", 7000);
	char peer[INET_ADDRSTRLEN];

	assert_true(test_udp(a1, "10.99.0.2", 7000, server, WAIT_MS, peer));
	assert_string_equal(peer, "10.99.0.1");
}

static void same_network_is_open(void **state)
{
	AUTO_CLOSE int server = test_server(a2, SOCK_DGRAM, "10.1.0.3", 7000);
	char peer[INET_ADDRSTRLEN];

	assert_true(test_udp(a1, "10.1.0.3", 7000, server, WAIT_MS, peer));
	assert_string_equal(peer, "10.1.0.2");
}

static void networks_are_closed(void **state)
{
	AUTO_CLOSE int b = test_server(b1, SOCK_DGRAM, "10.2.0.2", 7000);
	AUTO_CLOSE int i = test_server(i1, SOCK_DGRAM, "10.3.0.2", 7000);
	AUTO_CLOSE int out = test_server(outside, SOCK_DGRAM, "10.99.0.2", 7000);

	assert_false(test_udp(a1, "10.2.0.2", 7000, b, NOTHING_MS, NULL)); /* to another network */
	assert_false(
		test_udp(outside, "10.2.0.2", 7000, b, NOTHING_MS, NULL)); /* from outside, not published */
	assert_false(test_udp(a1, "10.3.0.2", 7000, i, NOTHING_MS, NULL)); /* into an internal one */
	assert_false(test_udp(outside, "10.3.0.2", 7000, i, NOTHING_MS, NULL));
	assert_false(test_udp(i1, "10.99.0.2", 7000, out, NOTHING_MS, NULL)); /* out of it */
	assert_false(test_udp(i1, "10.2.0.2", 7000, b, NOTHING_MS, NULL));
	/* The host itself may: it could anyway. */
	assert_true(test_udp(-1, "10.2.0.2", 7000, b, WAIT_MS, NULL));
}

static void published_from_everywhere(void **state)
{
	AUTO_CLOSE int server = test_server(a1, SOCK_STREAM, "10.1.0.2", 80);
	AUTO_CLOSE int udp = test_server(a1, SOCK_DGRAM, "10.1.0.2", 53);
	char peer[INET_ADDRSTRLEN];

	publish(port(IPPROTO_TCP, NULL, 8080, "10.1.0.2", 80));
	publish(port(IPPROTO_UDP, "0.0.0.0", 5353, "10.1.0.2", 53));
	assert_true(test_tcp(outside, "10.99.0.1", 8080, server, WAIT_MS));
	assert_true(test_tcp(-1, "127.0.0.1", 8080, server, WAIT_MS));
	assert_true(test_tcp(-1, "127.0.0.9", 8080, server, WAIT_MS));
	assert_true(test_tcp(-1, "10.99.0.1", 8080, server, WAIT_MS));
	assert_true(test_tcp(-1, "10.1.0.1", 8080, server, WAIT_MS));
	assert_true(test_tcp(a2, "10.99.0.1", 8080, server, WAIT_MS)); /* hairpin: same network */
	assert_true(test_tcp(a1, "10.99.0.1", 8080, server, WAIT_MS)); /* itself */
	assert_true(test_tcp(b1, "10.99.0.1", 8080, server, WAIT_MS)); /* another network */
	assert_true(test_tcp(b1, "10.2.0.1", 8080, server, WAIT_MS));
	assert_false(test_tcp(i1, "10.3.0.1", 8080, server, NOTHING_MS)); /* internal: no way out */
	assert_true(test_udp(outside, "10.99.0.1", 5353, udp, WAIT_MS, peer));
	assert_string_equal(peer, "10.99.0.2"); /* the client's address is kept */
	assert_true(test_udp(-1, "127.0.0.1", 5353, udp, WAIT_MS, peer));
	assert_string_equal(peer, "10.1.0.1");
	/* Other ports stay closed. */
	assert_false(test_tcp(outside, "10.99.0.1", 8081, server, NOTHING_MS));
	assert_false(test_tcp(outside, "10.1.0.2", 80, server, NOTHING_MS));
	unpublish(port(IPPROTO_TCP, NULL, 8080, "10.1.0.2", 80));
	assert_false(test_tcp(outside, "10.99.0.1", 8080, server, NOTHING_MS));
	unpublish(port(IPPROTO_UDP, NULL, 5353, "10.1.0.2", 53));
}

static void published_on_one_address(void **state)
{
	AUTO_CLOSE int server = test_server(a1, SOCK_STREAM, "10.1.0.2", 80);
	AUTO_CLOSE int server2 = test_server(a2, SOCK_STREAM, "10.1.0.3", 80);

	publish(port(IPPROTO_TCP, "127.0.0.1", 8080, "10.1.0.2", 80));
	assert_true(test_tcp(-1, "127.0.0.1", 8080, server, WAIT_MS));
	assert_false(test_tcp(outside, "10.99.0.1", 8080, server, NOTHING_MS));
	publish(port(IPPROTO_TCP, "10.99.0.1", 8080, "10.1.0.3", 80)); /* same port, other address */
	assert_true(test_tcp(outside, "10.99.0.1", 8080, server2, WAIT_MS));
	assert_true(test_tcp(-1, "127.0.0.1", 8080, server, WAIT_MS));
	/* Publishing again leads elsewhere. */
	publish(port(IPPROTO_TCP, "127.0.0.1", 8080, "10.1.0.3", 80));
	assert_true(test_tcp(-1, "127.0.0.1", 8080, server2, WAIT_MS));
	unpublish(port(IPPROTO_TCP, "127.0.0.1", 8080, "10.1.0.3", 80));
	unpublish(port(IPPROTO_TCP, "10.99.0.1", 8080, "10.1.0.3", 80));
	unpublish(port(IPPROTO_TCP, "10.99.0.1", 8080, "10.1.0.3", 80)); /* once more */
}

/* A client that goes on sending from one socket is led to the new container, and to a port that was published
 * after its first packet. */
static void udp_flows_follow(void **state)
{
	AUTO_CLOSE int s1 = test_server(a1, SOCK_DGRAM, "10.1.0.2", 53);
	AUTO_CLOSE int s2 = test_server(a2, SOCK_DGRAM, "10.1.0.3", 53);
	struct sockaddr_in to = test_sockaddr("10.99.0.1", 5353);
	AUTO_CLOSE int client = -1;
	char byte;

	assert_int_equal(netns_socket(outside, AF_INET, SOCK_DGRAM, 0, &client, NULL), 0);
	assert_int_equal(sendto(client, "0", 1, 0, (void *) &to, sizeof(to)), 1);
	publish(port(IPPROTO_UDP, NULL, 5353, "10.1.0.2", 53));
	assert_int_equal(sendto(client, "1", 1, 0, (void *) &to, sizeof(to)), 1);
	assert_true(test_readable(s1, WAIT_MS));
	assert_int_equal(recv(s1, &byte, 1, 0), 1);
	assert_int_equal(byte, '1');
	publish(port(IPPROTO_UDP, NULL, 5353, "10.1.0.3", 53));
	assert_int_equal(sendto(client, "2", 1, 0, (void *) &to, sizeof(to)), 1);
	assert_true(test_readable(s2, WAIT_MS));
	unpublish(port(IPPROTO_UDP, NULL, 5353, "10.1.0.3", 53));
}

/* route_localnet does not open the host's own loopback to containers. */
static void host_loopback_is_closed(void **state)
{
	AUTO_CLOSE int server = test_server(-1, SOCK_DGRAM, "127.0.0.1", 7777);
	struct sockaddr_in to = test_sockaddr("127.0.0.1", 7777);
	AUTO_CLOSE int fd = -1;

	/* In a namespace whose owner turned everything off that protects it, packets to 127.0.0.1 go out over
	 * eth0. */
	assert_int_equal(netns_socket(a1, AF_INET, SOCK_DGRAM, 0, &fd, NULL), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5), 0);
	(void) sendto(fd, "?", 1, 0, (void *) &to, sizeof(to));
	assert_false(test_readable(server, NOTHING_MS));
}

static void guard_keeps_the_host_closed(void **state)
{
	int far = make_container(lan, "far", "lan2", "10.98.0.2/24", "10.98.0.1");
	AUTO_CLOSE int server = test_server(far, SOCK_DGRAM, "10.98.0.2", 7000);
	AUTO_STRV char **guard = NULL;
	AUTO_ERR err = ERR_INIT;

	assert_false(test_udp(outside, "10.98.0.2", 7000, server, NOTHING_MS, NULL));
	/* Started again, the daemon finds forwarding on, and knows that it was itself. */
	ok(net_enable_forwarding(test_run_dir, &guard, &err), &err);
	assert_int_equal(strv_len(guard), 2);
	close(far);
}

static void run_nft(const char *text)
{
	AUTO_FREE char *path = xasprintf("%s/rules", test_run_dir);
	pid_t pid;
	int status;

	assert_int_equal(file_write(AT_FDCWD, path, text, strlen(text), 0600), 0);
	pid = fork();
	if (pid == 0) {
		execlp("nft", "nft", "-f", path, (char *) NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Lets children of the loop end, and their ends be told. */
static void settle(void)
{
	int64_t until = time_mono() + WAIT_MS * NSEC_PER_MSEC;

	for (int rest = 0; rest < 100 && time_mono() < until; rest++) {
		siginfo_t none;

		uv_run(&loop, UV_RUN_NOWAIT);
		usleep(1000);
		if (waitid(P_ALL, 0, &none, WEXITED | WNOHANG | WNOWAIT) == 0) /* there are some */
			rest = 0;
	}
}

/* The table can be seen a moment before its rules are in force, and another before the end of nft is. */
static bool reached_at_last(uint16_t port, int server)
{
	int64_t until = time_mono() + WAIT_MS * NSEC_PER_MSEC;

	while (!test_tcp(outside, "10.99.0.1", port, server, NOTHING_MS)) {
		if (time_mono() > until)
			return false;
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	return true;
}

static void survives_a_flush(void **state)
{
	AUTO_CLOSE int server = test_server(a1, SOCK_STREAM, "10.1.0.2", 80);
	int64_t until = time_mono() + WAIT_MS * NSEC_PER_MSEC;

	publish(port(IPPROTO_TCP, NULL, 8080, "10.1.0.2", 80));
	run_nft("flush ruleset\n");
	assert_int_equal(nft_present(nft), 0);
	while (nft_present(nft) != 1 && time_mono() < until)
		uv_run(&loop, UV_RUN_ONCE);
	assert_true(reached_at_last(8080, server));
	/* Also when the gap is found by a change first. */
	run_nft("flush ruleset\n");
	publish(port(IPPROTO_TCP, NULL, 8081, "10.1.0.2", 80));
	while (nft_present(nft) != 1 && time_mono() < until)
		uv_run(&loop, UV_RUN_ONCE);
	assert_true(reached_at_last(8080, server));
	assert_true(reached_at_last(8081, server));
	settle();
	unpublish(port(IPPROTO_TCP, NULL, 8080, "10.1.0.2", 80));
	unpublish(port(IPPROTO_TCP, NULL, 8081, "10.1.0.2", 80));
}

static void many_ports(void **state)
{
	enum { N = 1500 };
	AUTO_FREE NftPort *ports = xcalloc(N, sizeof(*ports));
	AUTO_CLOSE int server = test_server(a1, SOCK_STREAM, "10.1.0.2", 80);
	AUTO_ERR err = ERR_INIT;
	int64_t t = time_mono();
	NftPort one = port(IPPROTO_TCP, NULL, 1, "10.1.0.2", 80);

	ok(nft_publish(nft, &one, 1, &err), &err);
	printf("publish one port: %.3f ms\n", (double) (time_mono() - t) / 1e6);
	for (size_t i = 0; i < N; i++)
		ports[i] =
			port(IPPROTO_TCP, i % 2 ? "127.0.0.1" : NULL, (uint16_t) (20000 + i), "10.1.0.2", 80);
	t = time_mono();
	ok(nft_publish(nft, ports, N, &err), &err);
	printf("publish %d ports: %.3f ms\n", N, (double) (time_mono() - t) / 1e6);
	assert_true(test_tcp(outside, "10.99.0.1", 20000 + N - 2, server, WAIT_MS));
	assert_true(test_tcp(-1, "127.0.0.1", 20000 + N - 1, server, WAIT_MS));
	ok(nft_unpublish(nft, ports, N, &err), &err);
	assert_false(test_tcp(-1, "127.0.0.1", 20000 + N - 1, server, NOTHING_MS));
	ok(nft_unpublish(nft, &one, 1, &err), &err);
}

static void warns_of_a_dropping_host(void **state)
{
	AUTO_FREE char *none = net_forward_policy_drop("test");
	AUTO_FREE char *text = NULL;
	AUTO_CLOSE int server = test_server(a1, SOCK_STREAM, "10.1.0.2", 80);
	char prefix[IFNAMSIZ];

	assert_null(none);
	run_nft("table ip filter {\n chain FORWARD {\n type filter hook forward priority 0; policy drop;\n "
		"}\n }\n");
	text = net_forward_policy_drop("test");
	assert_non_null(text);
	assert_non_null(strstr(text, "table ip filter, chain FORWARD"));
	assert_non_null(strstr(text, net_bridge_prefix("test", prefix)));
	/* And it is not overridden. */
	publish(port(IPPROTO_TCP, NULL, 8080, "10.1.0.2", 80));
	assert_false(test_tcp(outside, "10.99.0.1", 8080, server, NOTHING_MS));
	unpublish(port(IPPROTO_TCP, NULL, 8080, "10.1.0.2", 80));
	run_nft("delete table ip filter\n");
}

static void holds_ports(void **state)
{
	AUTO_ERR err = ERR_INIT;
	Addr any = { 0 }, one = test_addr("127.0.0.1"), not_ours = test_addr("192.0.2.1");
	int held = -1, again = -1;
	uint16_t chosen = 0, other = 0;

	for (int i = 0; i < 2; i++) {
		const char *protocol = i ? "udp" : "tcp";

		ok(net_port_hold(protocol, &any, 9000, &held, &err), &err);
		assert_int_equal(net_port_hold(protocol, &any, 9000, &again, NULL), -EADDRINUSE);
		assert_int_equal(net_port_hold(protocol, &one, 9000, &again, &err), -EADDRINUSE);
		assert_non_null(strstr(err_text(&err), "port 9000/"));
		assert_non_null(strstr(err_text(&err), "127.0.0.1"));
		ok(net_port_choose(protocol, &any, 9000, 9001, &chosen, &again, &err), &err);
		assert_int_equal(chosen, 9001);
		assert_int_equal(
			net_port_choose(protocol, &any, 9000, 9001, &other, &held, &err), -EADDRINUSE);
		close(again);
		close(held);
		ok(net_port_choose(protocol, &any, 0, 0, &chosen, &held, &err), &err);
		assert_true(chosen > 0);
		close(held);
	}
	assert_int_equal(net_port_hold("tcp", &not_ours, 9000, &held, &err), -EADDRNOTAVAIL);
	assert_non_null(strstr(err_text(&err), "no address 192.0.2.1"));
	held = test_server(-1, SOCK_STREAM, "127.0.0.1", 9000);
	assert_int_equal(net_port_hold("tcp", &any, 9000, &again, NULL), -EADDRINUSE);
	close(held);
}

static int clear_scene(void **state)
{
	AUTO_STRV char **ids = NULL;
	AUTO_ERR err = ERR_INIT;

	ok(nft_remove(nft, &err), &err);
	assert_int_equal(nft_present(nft), 0);
	ok(nft_remove(nft, &err), &err);
	nft_free(nft);
	ok(netns_list(test_run_dir, &ids, &err), &err);
	for (char **id = ids; id && *id; id++)
		ok(netns_remove(test_run_dir, *id, &err), &err);
	net_free(net);
	net_free(lan);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(way_out_is_masqueraded),
		cmocka_unit_test(same_network_is_open),
		cmocka_unit_test(networks_are_closed),
		cmocka_unit_test(published_from_everywhere),
		cmocka_unit_test(published_on_one_address),
		cmocka_unit_test(udp_flows_follow),
		cmocka_unit_test(host_loopback_is_closed),
		cmocka_unit_test(guard_keeps_the_host_closed),
		cmocka_unit_test(survives_a_flush),
		cmocka_unit_test(many_ports),
		cmocka_unit_test(warns_of_a_dropping_host),
		cmocka_unit_test(holds_ports),
	};

	test_enter_namespaces();
	return cmocka_run_group_tests(tests, set_scene, clear_scene);
}
