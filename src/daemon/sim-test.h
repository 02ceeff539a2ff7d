// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the tests against the machine in memory share: a daemon on it, clients, and waiting until all is at rest.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <cmocka.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/container.h"
#include "daemon/health.h"
#include "daemon/image.h"
#include "daemon/operation.h"
#include "daemon/sim.h"
#include "daemon/start.h"
#include "daemon/state.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"

#define HISTORY_STEPS 14

static char state_dir[64];
static uv_loop_t loop;
static Daemon d;

static void check(int r, Err *err)
{
	if (r < 0)
		fail_msg("%s", err_text(err));
}

static void start_daemon(void)
{
	AUTO_ERR err = ERR_INIT;
	assert_int_equal(uv_loop_init(&loop), 0);
	d = (Daemon) { .o = { .name = "sim", .state_dir = state_dir, .run_dir = state_dir, .edge_http = "off", .edge_https = "off" }, .loop = &loop };
	check(daemon_open(&d, &err), &err);
}

/* As kill -9: nothing is written any more, callbacks do not come. */
static void crash_daemon(void)
{
	sim_daemon_died();
	daemon_close(&d);
	assert_int_equal(uv_loop_close(&loop), 0);
}

static void add_image(const char *name)
{
	AUTO_ERR err = ERR_INIT;
	static const char config[] = "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Cmd\":[\"sleep\"]},"
				     "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}";
	Image *img = NULL;
	check(image_from_config(config, strlen(config), &img, &err), &err);
	strv_add(&img->tags, name);
	check(image_add(&d, img, &err), &err);
}

static int setup(void **state)
{
	/* In memory where there is such a place: thousands of commits would wait for the disk. */
	(void) snprintf(state_dir, sizeof(state_dir), "%s/stead-sim-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (!mkdtemp(state_dir))
		return -1;
	log_init(0);
	sim_reset(1);
	start_daemon();
	add_image("docker.io/library/a:latest");
	return 0;
}

static int teardown(void **state)
{
	crash_daemon();
	sim_reset(0);
	return tree_remove(AT_FDCWD, state_dir);
}

static SimClient *submit(OperationKind kind, json_t *body)
{
	AUTO_ERR err = ERR_INIT;
	SimClient *c = sim_client();
	int r = operation_submit(&d, kind, "t", body, (HttpRequest *) c, &err);
	json_decref(body);
	if (r < 0) {
		if (r != -ENOENT)
			print_message("refused: %s\n", err_text(&err));
		sim_client_gone(c);
		return NULL;
	}
	return c;
}

static void turn(void)
{
	(void) uv_run(&loop, UV_RUN_NOWAIT);
}

static bool quiet(void)
{
	for (size_t i = 0; i < d.n_containers; i++) {
		const Container *c = d.containers[i];
		if (ctr_is_busy(c) || c->ask_start || c->ask_stop || c->ask_remove || c->restarting || c->phase == PHASE_REMOVING)
			return false;
	}
	for (size_t i = 0; i < d.n_stacks; i++)
		if (d.stacks[i]->op || d.stacks[i]->awake)
			return false;
	return true;
}

static const char *describe(void)
{
	static Buf b;
	buf_clear(&b);
	for (size_t i = 0; i < d.n_containers; i++) {
		const Container *c = d.containers[i];
		buf_printf(&b, "%s %s%s%s%s%s%s, ", c->name, ctr_status(c), ctr_is_busy(c) ? " busy" : "", c->ask_start ? " start" : "",
			c->ask_stop ? " stop" : "", c->ask_remove ? " remove" : "", c->ask_replace ? " replace" : "");
	}
	for (size_t i = 0; i < d.n_stacks; i++)
		buf_printf(&b, "stack %s: %zu missing%s%s", d.stacks[i]->name, d.stacks[i]->n_missing, d.stacks[i]->op ? ", operation" : "",
			d.stacks[i]->op && d.stacks[i]->op->failed ? " failed" : "");
	return buf_cstr(&b);
}

/* At rest for longer than the machine takes to tell of an end. */
static void settle(void)
{
	int64_t limit = time_mono() + 120 * NSEC_PER_SEC;
	for (int rest = 0; rest < 5; rest++) {
		if (time_mono() > limit)
			fail_msg("the daemon does not come to rest: %s", describe());
		turn();
		if (!quiet())
			rest = 0;
		(void) usleep(1000);
	}
}

/* Runs until the operation has its answer; gives its error text or NULL. */
static const char *finish(SimClient *c)
{
	int64_t end = time_mono() + 120 * NSEC_PER_SEC;
	assert_non_null(c);
	while (!sim_client_answer(c)) {
		if (time_mono() > end)
			fail_msg("the operation does not end: %s", describe());
		(void) uv_run(&loop, UV_RUN_ONCE);
	}
	return json_string_value(json_object_get(sim_client_answer(c), "error"));
}

static void expect_agreement(void)
{
	AUTO_FREE char *text = sim_compare(&d);
	if (text)
		fail_msg("%s", text);
}

static size_t position(SimClient *c, const char *line)
{
	char *const *log = sim_client_log(c);
	for (size_t i = 0; log && log[i]; i++)
		if (str_eq(log[i], line))
			return i;
	fail_msg("no line '%s'", line);
	return 0;
}

static SimClient *clients[HISTORY_STEPS];
static size_t n_clients;

static void drop_clients(void)
{
	while (n_clients)
		sim_client_gone(clients[--n_clients]);
}

static void keep(SimClient *c)
{
	if (c)
		clients[n_clients++] = c;
}

/* kill -9, perhaps with a reboot; the clients lose their connections with the daemon. */
static void lose_daemon(void)
{
	drop_clients();
	crash_daemon();
	if (sim_random(3) == 0)
		sim_reboot();
	start_daemon();
}

typedef struct History {
	unsigned seeds;
	SimOptions faults; /* while the steps are made, and not after */
	void (*begin)(void); /* may be NULL */
	void (*step)(void);
	void (*end)(void); /* at rest, with all clients gone */
} History;

/* One history for each seed, or SIM_SEED's alone. */
static void run_histories(const History *h)
{
	const char *only = getenv("SIM_SEED");
	for (unsigned seed = 1; seed <= h->seeds; seed++) {
		if (only && !str_eq(only, "") && (unsigned) strtoul(only, NULL, 10) != seed)
			continue;
		print_message("seed %u\n", seed);
		sim_reset(seed);
		if (h->begin)
			h->begin();
		sim = h->faults;
		for (int i = 0; i < HISTORY_STEPS; i++)
			h->step();
		sim = (SimOptions) { 0 };
		settle();
		drop_clients();
		settle();
		h->end();
	}
}

#pragma GCC diagnostic pop
