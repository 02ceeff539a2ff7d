// SPDX-License-Identifier: Apache-2.0

/* Bridges, veth pairs and namespaces in the real kernel. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <net/if.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/time.h"
#include "net/network.h"
#include "net/test-ns.h"

static Net *net;

static void ok(int r, const Err *err)
{
	if (r < 0)
		fail_msg("%s", err_text(err));
}

static void expect_done(void *user, const Err *err)
{
	assert_null(err);
}

static int make_netns(const char *id)
{
	AUTO_ERR err = ERR_INIT;
	int fd = -1;

	ok(netns_create(test_run_dir, id, NULL, &fd, &err), &err);
	return fd;
}

static void make_network(const char *id, const char *gateway, bool internal)
{
	AUTO_ERR err = ERR_INIT;
	Addr a = test_addr(gateway);

	ok(network_create(net,
		   &(NetworkSpec){ .id = id, .subnet = addr_network(&a), .gateway = a, .internal = internal },
		   &err),
		&err);
}

static int attach(const char *container, const char *network, int ns, const char *address,
	const char *gateway, Err *err)
{
	return endpoint_attach(net,
		&(EndpointSpec){ .container_id = container,
			.network_id = network,
			.netns_fd = ns,
			.ifname = "eth0",
			.address = test_addr(address),
			.gateway = gateway ? test_addr(gateway) : (Addr){ 0 } },
		err);
}

static void connects_containers(void **state)
{
	AUTO_CLOSE int a = make_netns("a");
	AUTO_CLOSE int b = make_netns("b");
	AUTO_ERR err = ERR_INIT;
	char peer[INET_ADDRSTRLEN];

	make_network("n1", "10.1.0.1/24", false);
	ok(attach("a", "n1", a, "10.1.0.2/24", "10.1.0.1", &err), &err);
	ok(attach("b", "n1", b, "10.1.0.3/24", NULL, &err), &err);
	AUTO_CLOSE int server = test_server(b, SOCK_DGRAM, "10.1.0.3", 53);
	assert_true(test_udp(a, "10.1.0.3", 53, server, WAIT_MS, peer));
	assert_string_equal(peer, "10.1.0.2");
	AUTO_CLOSE int host = test_server(-1, SOCK_DGRAM, "0.0.0.0", 5000);
	assert_true(test_udp(a, "10.1.0.1", 5000, host, WAIT_MS, NULL));
	/* lo is up, and without a default route the outside is unreachable. */
	AUTO_CLOSE int own = test_server(a, SOCK_DGRAM, "127.0.0.1", 6000);
	assert_true(test_udp(a, "127.0.0.1", 6000, own, WAIT_MS, NULL));
	assert_false(test_udp(b, "10.99.0.1", 5000, host, NOTHING_MS, NULL));
}

static void can_be_repeated(void **state)
{
	AUTO_CLOSE int a = make_netns("a");
	AUTO_CLOSE int b = make_netns("b");
	AUTO_CLOSE int server = test_server(b, SOCK_DGRAM, "10.1.0.3", 53);
	AUTO_ERR err = ERR_INIT;
	char veth[IFNAMSIZ];
	unsigned index;

	/* Attaching again keeps the pair (and what runs over it). */
	index = if_nametoindex(net_veth_name(net, "a", "eth0", veth));
	assert_true(index > 0);
	make_network("n1", "10.1.0.1/24", false);
	ok(attach("a", "n1", a, "10.1.0.2/24", "10.1.0.1", &err), &err);
	assert_int_equal(if_nametoindex(veth), index);
	assert_true(test_udp(a, "10.1.0.3", 53, server, WAIT_MS, NULL));
	/* A pair whose other end is elsewhere (a namespace that is just ending) is left alone, and the new
	 * one gets another name. */
	AUTO_CLOSE int a2 = make_netns("a2");
	ok(attach("a", "n1", a2, "10.1.0.2/24", "10.1.0.1", &err), &err);
	assert_int_equal(if_nametoindex(veth), index);
	veth[strlen(veth) - 1]++;
	assert_true(if_nametoindex(veth) > 0);
	assert_true(test_udp(a2, "10.1.0.3", 53, server, WAIT_MS, NULL));
	endpoint_detach(net, "a", "eth0");
	assert_int_equal(if_nametoindex(veth), 0);
	assert_int_equal(if_nametoindex(net_veth_name(net, "a", "eth0", veth)), 0);
	endpoint_detach(net, "a", "eth0");
}

static void netns_lifecycle(void **state)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_STRV char **ids = NULL;
	AUTO_FREE char *path = netns_path(test_run_dir, "half");
	char good_text[] = "net.core.somaxconn=77", bad_text[] = "kernel.hostname=x";
	char *const sysctls[] = { good_text, NULL };
	char *const bad[] = { bad_text, NULL };
	AUTO_CLOSE int fd = -1;
	int again = -1;

	/* What a crash between file and mount leaves is taken over. */
	assert_int_equal(file_write(AT_FDCWD, path, "", 0, 0400), 0);
	assert_int_equal(netns_open(test_run_dir, "half", &again, NULL), -ENOENT);
	assert_int_equal(netns_create(test_run_dir, "half", sysctls, &fd, &err), 0);
	assert_int_equal(netns_create(test_run_dir, "half", NULL, &again, &err), 1);
	close(again);
	ok(netns_list(test_run_dir, &ids, &err), &err);
	assert_true(strv_has(ids, "half"));
	ok(netns_remove(test_run_dir, "half", &err), &err);
	ok(netns_remove(test_run_dir, "half", &err), &err);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(netns_create(test_run_dir, "bad", bad, NULL, &err), -EINVAL);
	assert_int_equal(netns_open(test_run_dir, "bad", &again, NULL), -ENOENT);
	assert_int_equal(netns_create(test_run_dir, "../x", NULL, NULL, &err), -EINVAL);
	assert_int_equal(netns_teardown(test_run_dir, &err), -EBUSY);
}

static int read_somaxconn(void *user, Err *err)
{
	return file_read(AT_FDCWD, "/proc/sys/net/core/somaxconn", 100, user);
}

static void sysctls_are_set(void **state)
{
	char text77[] = "net.core.somaxconn=77";
	char *const sysctls[] = { text77, NULL };
	AUTO_BUF text = BUF_INIT;
	AUTO_CLOSE int fd = -1;

	assert_int_equal(netns_create(test_run_dir, "sysctl", sysctls, &fd, NULL), 0);
	assert_int_equal(netns_run(fd, read_somaxconn, &text, NULL), 0);
	assert_string_equal(buf_cstr(&text), "77\n");
	assert_int_equal(netns_remove(test_run_dir, "sysctl", NULL), 0);
}

static void lists_host_routes(void **state)
{
	AUTO_FREE Addr *routes = NULL;
	AUTO_ERR err = ERR_INIT;
	Net *other = NULL;
	Addr gw = test_addr("10.77.0.1/16");
	size_t n = 0;

	ok(net_new(NULL, "other", &other, &err), &err);
	ok(network_create(
		   other, &(NetworkSpec){ .id = "x", .subnet = addr_network(&gw), .gateway = gw }, &err),
		&err);
	ok(net_host_routes(net, &routes, &n, &err), &err);
	assert_int_equal(n, 1); /* the other daemon's; ours are not the host's */
	assert_true(addr_in(&gw, &routes[0]));
	assert_int_equal(routes[0].prefix, 16);
	network_delete(other, "x", expect_done, NULL);
	net_free(other);
}

static void sweeps_strays(void **state)
{
	char bridge[IFNAMSIZ], veth[IFNAMSIZ];
	AUTO_ERR err = ERR_INIT;
	AUTO_STRV char **known = NULL;
	Net *other = NULL;
	Addr gw = test_addr("10.78.0.1/16");

	ok(net_new(NULL, "other", &other, &err), &err);
	ok(network_create(
		   other, &(NetworkSpec){ .id = "n2", .subnet = addr_network(&gw), .gateway = gw }, &err),
		&err);
	make_network("n2", "10.2.0.1/24", true);
	strv_add(&known, net_bridge_name(net, "n1", bridge));
	assert_int_equal(net_sweep(net, known, &err), 2); /* n2 and b's veth */
	assert_true(if_nametoindex(bridge) > 0);
	assert_int_equal(if_nametoindex(net_bridge_name(net, "n2", bridge)), 0);
	assert_int_equal(if_nametoindex(net_veth_name(net, "b", "eth0", veth)), 0);
	assert_true(if_nametoindex(net_bridge_name(other, "n2", bridge)) > 0);
	assert_int_equal(net_sweep(other, NULL, &err), 1);
	net_free(other);
}

static void refuses(void **state)
{
	AUTO_CLOSE int a = make_netns("a");
	AUTO_ERR err = ERR_INIT;

	assert_int_equal(attach("a", "nowhere", a, "10.1.0.2/24", NULL, &err), -ENODEV);
	assert_non_null(strstr(err_text(&err), "missing"));
	assert_true(attach("a", "n1", a, "10.1.0.2/24", "10.200.0.1", &err) < 0);
	assert_non_null(strstr(err_text(&err), "default route"));
}

static void count_done(void *user, const Err *err)
{
	assert_null(err);
	++*(int *) user;
}

static void deletes_in_the_background(void **state)
{
	uv_loop_t loop;
	AUTO_ERR err = ERR_INIT;
	char bridge[IFNAMSIZ];
	Net *n = NULL;
	Addr gw = test_addr("10.4.0.1/24");
	int done = 0;

	assert_int_equal(uv_loop_init(&loop), 0);
	ok(net_new(&loop, "loop", &n, &err), &err);
	for (int i = 0; i < 3; i++) {
		char id[2] = { 'a' + i, 0 };

		ok(network_create(
			   n, &(NetworkSpec){ .id = id, .subnet = addr_network(&gw), .gateway = gw }, &err),
			&err);
	}
	for (int i = 0; i < 4; i++) { /* the last one does not exist */
		char id[2] = { 'a' + i, 0 };

		network_delete(n, id, count_done, &done);
	}
	while (done < 4)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(if_nametoindex(net_bridge_name(n, "a", bridge)), 0);
	/* What is queued when the daemon ends is done all the same. */
	ok(network_create(n, &(NetworkSpec){ .id = "a", .subnet = addr_network(&gw), .gateway = gw }, &err),
		&err);
	network_delete(n, "b", count_done, &done);
	network_delete(n, "a", count_done, &done);
	net_free(n);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	assert_int_equal(done, 4);
	assert_int_equal(if_nametoindex(bridge), 0);
}

/* While a deletion waits, the interface goes by itself, and another one gets its name: after a crash, a veth pair of the same container. */
static void spares_a_successor(void **state)
{
	uv_loop_t loop;
	AUTO_ERR err = ERR_INIT;
	char bridge[IFNAMSIZ];
	Net *n = NULL, *at_once = NULL;
	Addr gw = test_addr("10.4.0.1/24");
	NetworkSpec first = { .id = "a", .subnet = addr_network(&gw), .gateway = gw };
	NetworkSpec second = { .id = "b", .subnet = addr_network(&gw), .gateway = gw };
	int done = 0;

	assert_int_equal(uv_loop_init(&loop), 0);
	ok(net_new(&loop, "loop", &n, &err), &err);
	ok(net_new(NULL, "loop", &at_once, &err), &err);
	ok(network_create(n, &first, &err), &err);
	ok(network_create(n, &second, &err), &err);
	network_delete(n, "a", count_done, &done); /* the thread begins with it */
	network_delete(n, "b", count_done, &done); /* waits for the loop */
	network_delete(at_once, "b", NULL, NULL);
	ok(network_create(at_once, &second, &err), &err);
	while (done < 2)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_not_equal(if_nametoindex(net_bridge_name(n, "b", bridge)), 0);
	network_delete(at_once, "b", NULL, NULL);
	net_free(at_once);
	net_free(n);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
}

static void turn(uv_timer_t *t)
{
}

static int attach_to(Net *n, const char *container, int ns, const char *address)
{
	return endpoint_attach(n,
		&(EndpointSpec){ .container_id = container, .network_id = "a", .netns_fd = ns, .ifname = "eth0", .address = test_addr(address) },
		NULL);
}

/* A namespace that lives on, as one does with a socket that still has data for a slow client, while the container is started again. */
static void an_abandoned_pair_is_silent(void **state)
{
	uv_loop_t loop;
	uv_timer_t alive; /* as the daemon's own handles keep its loop */
	AUTO_ERR err = ERR_INIT;
	AUTO_CLOSE int old = make_netns("old");
	AUTO_CLOSE int new = make_netns("new");
	AUTO_CLOSE int other = make_netns("other");
	char first[IFNAMSIZ], second[IFNAMSIZ];
	Net *n = NULL;
	Addr gw = test_addr("10.5.0.1/24");

	assert_int_equal(uv_loop_init(&loop), 0);
	ok(net_new(&loop, "loop", &n, &err), &err);
	ok(network_create(n, &(NetworkSpec){ .id = "a", .subnet = addr_network(&gw), .gateway = gw }, &err), &err);
	assert_int_equal(attach_to(n, "other", other, "10.5.0.3/24"), 0);
	assert_int_equal(attach_to(n, "web", old, "10.5.0.2/24"), 0);
	AUTO_CLOSE int old_server = test_server(old, SOCK_DGRAM, "10.5.0.2", 53);
	assert_true(test_udp(other, "10.5.0.2", 53, old_server, WAIT_MS, NULL));
	ok(netns_remove(test_run_dir, "old", &err), &err);
	/* It may finish until the address is wanted again. */
	endpoint_abandon(n, "web", "eth0");
	assert_int_not_equal(if_nametoindex(net_veth_name(n, "web", "eth0", first)), 0);
	assert_true(test_udp(other, "10.5.0.2", 53, old_server, WAIT_MS, NULL));
	assert_int_equal(attach_to(n, "web", new, "10.5.0.2/24"), 0);
	assert_false(test_udp(other, "10.5.0.2", 53, old_server, NOTHING_MS, NULL));
	AUTO_CLOSE int new_server = test_server(new, SOCK_DGRAM, "10.5.0.2", 53);
	assert_true(test_udp(other, "10.5.0.2", 53, new_server, WAIT_MS, NULL));
	/* The old one goes although its namespace does not, and the new one stays. */
	(void) snprintf(second, sizeof(second), "%s", first);
	second[strlen(second) - 1]++;
	(void) uv_timer_init(&loop, &alive);
	(void) uv_timer_start(&alive, turn, 10, 10);
	for (int64_t end = time_mono() + 60 * NSEC_PER_SEC; if_nametoindex(first);) {
		uv_run(&loop, UV_RUN_ONCE);
		assert_true(time_mono() < end);
	}
	uv_close((uv_handle_t *) &alive, NULL);
	assert_int_not_equal(if_nametoindex(second), 0);
	/* At the end nothing is waited for. Of what does not exist nothing is expected. */
	endpoint_abandon(n, "web", "eth0");
	endpoint_abandon(n, "none", "eth0");
	network_delete(n, "a", NULL, NULL);
	net_free(n);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	assert_int_equal(if_nametoindex(second), 0);
}

/* Not a test of speed (machines differ), but it is printed to be looked at. */
static void tells_times(void **state)
{
	enum { N = 20 };
	int64_t t0 = time_mono(), t1, t2, t3;
	AUTO_ERR err = ERR_INIT;
	int fds[N];

	for (int i = 0; i < N; i++) {
		char id[16];

		(void) snprintf(id, sizeof(id), "t%d", i);
		fds[i] = make_netns(id);
	}
	t1 = time_mono();
	for (int i = 0; i < N; i++) {
		char id[16], address[32];

		(void) snprintf(id, sizeof(id), "t%d", i);
		(void) snprintf(address, sizeof(address), "10.1.0.%d/24", i + 100);
		ok(attach(id, "n1", fds[i], address, "10.1.0.1", &err), &err);
	}
	t2 = time_mono();
	for (int i = 0; i < N; i++) {
		char id[16];

		(void) snprintf(id, sizeof(id), "t%d", i);
		endpoint_detach(net, id, "eth0");
		ok(netns_remove(test_run_dir, id, &err), &err);
		close(fds[i]);
	}
	t3 = time_mono();
	printf("each of %d: namespace %.3f ms, attach %.3f ms, detach and remove %.3f ms\n", N,
		(double) (t1 - t0) / N / 1e6, (double) (t2 - t1) / N / 1e6, (double) (t3 - t2) / N / 1e6);
	t0 = time_mono();
	make_network("timed", "10.3.0.1/24", false);
	t1 = time_mono();
	network_delete(net, "timed", expect_done, NULL);
	printf("network: create %.3f ms, delete %.3f ms\n", (double) (t1 - t0) / 1e6,
		(double) (time_mono() - t1) / 1e6);
}

static void leaves_nothing(void **state)
{
	AUTO_STRV char **ids = NULL;
	AUTO_ERR err = ERR_INIT;

	ok(netns_list(test_run_dir, &ids, &err), &err);
	for (char **id = ids; *id; id++)
		ok(netns_remove(test_run_dir, *id, &err), &err);
	network_delete(net, "n1", expect_done, NULL);
	network_delete(net, "n1", expect_done, NULL);
	(void) net_sweep(net, NULL, &err); /* the pairs end with their namespaces, or now */
	assert_int_equal(net_sweep(net, NULL, &err), 0);
	ok(netns_teardown(test_run_dir, &err), &err);
	net_free(net);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connects_containers),
		cmocka_unit_test(can_be_repeated),
		cmocka_unit_test(netns_lifecycle),
		cmocka_unit_test(sysctls_are_set),
		cmocka_unit_test(lists_host_routes),
		cmocka_unit_test(sweeps_strays),
		cmocka_unit_test(refuses),
		cmocka_unit_test(deletes_in_the_background),
		cmocka_unit_test(spares_a_successor),
		cmocka_unit_test(an_abandoned_pair_is_silent),
		cmocka_unit_test(tells_times),
		cmocka_unit_test(leaves_nothing),
	};

	test_enter_namespaces();
	if (net_new(NULL, "test", &net, NULL) < 0)
		return 99;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
