// SPDX-License-Identifier: Apache-2.0
/*
 * The daemon against a machine in memory (sim.h), with a real store. First what each operation must do, then
 * random operations, ends, crashes of the daemon and reboots: after each such history, once nothing disturbs any
 * more, daemon and machine must agree, an `up` must bring everything up, and a `down` must leave nothing.
 */
#include "daemon/sim-test.h"

/* db (healthy) ← job (completed) ← web ×2 with a port; `variant` changes db's environment, and whether `extra` is there. */
static json_t *model(unsigned variant)
{
	const char *check = "{\"test\":[\"CMD\",\"true\"],\"interval\":\"1ms\",\"retries\":2}";
	AUTO_BUF b = BUF_INIT;
	buf_printf(&b, "{\"name\":\"t\",\"services\":{"
		       "\"db\":{\"image\":\"a\",\"healthcheck\":%s,\"environment\":{\"V\":\"%u\"},\"networks\":{\"default\":null},"
		       "\"restart\":\"always\",\"stop_grace_period\":\"20ms\"},"
		       "\"job\":{\"image\":\"a\",\"networks\":{\"default\":null},\"depends_on\":{\"db\":{\"condition\":\"service_healthy\","
		       "\"required\":true}}},"
		       "\"web\":{\"image\":\"a\",\"networks\":{\"default\":null},\"deploy\":{\"replicas\":2},\"restart\":\"unless-stopped\","
		       "\"ports\":[{\"target\":80,\"protocol\":\"tcp\",\"mode\":\"ingress\"}],"
		       "\"depends_on\":{\"db\":{\"condition\":\"service_healthy\",\"required\":true,\"restart\":true}}}%s},"
		       "\"networks\":{\"default\":{\"name\":\"t_default\"}}}",
		check, variant % 3, variant & 4 ? ",\"extra\":{\"image\":\"a\",\"network_mode\":\"service:db\"}" : "");
	json_error_t e;
	json_t *o = json_loads(b.data, 0, &e);
	if (!o)
		fail_msg("%s", e.text);
	return o;
}

static json_t *up_body(unsigned variant, bool wait)
{
	return json_pack("{s:o, s:b, s:b}", "model", model(variant), "wait", wait, "remove_orphans", 1);
}

static void up_and_down(void **state)
{
	SimClient *c = submit(OP_UP, up_body(0, true));
	assert_null(finish(c));
	assert_true(position(c, "t_default created") < position(c, "t-db-1 starting"));
	assert_true(position(c, "t-db-1 started") < position(c, "t-job-1 starting"));
	assert_true(position(c, "t-db-1 started") < position(c, "t-web-2 starting"));
	sim_client_gone(c);
	expect_agreement();
	assert_int_equal(sim_running(), 4);

	c = submit(OP_UP, up_body(0, true));
	assert_null(finish(c));
	(void) position(c, "t-db-1 running");
	sim_client_gone(c);
	assert_int_equal(sim_running(), 4);

	c = submit(OP_DOWN, json_object());
	assert_null(finish(c));
	assert_true(position(c, "t-web-1 stopped") < position(c, "t-db-1 stopping"));
	(void) position(c, "t_default removed");
	sim_client_gone(c);
	assert_int_equal(sim_running(), 0);
	assert_int_equal(d.n_containers, 0);
	assert_int_equal(d.n_stacks, 0);
	expect_agreement();
}

static void changed_service_is_replaced(void **state)
{
	SimClient *c = submit(OP_UP, up_body(0, true));
	assert_null(finish(c));
	sim_client_gone(c);
	Container *db = daemon_container_by_name(&d, "t-db-1"), *web = daemon_container_by_name(&d, "t-web-1");
	char db_id[65], web_id[65];
	(void) snprintf(db_id, sizeof(db_id), "%s", db->id);
	(void) snprintf(web_id, sizeof(web_id), "%s", web->id);
	c = submit(OP_UP, up_body(1, true));
	assert_null(finish(c));
	sim_client_gone(c);
	assert_string_not_equal(daemon_container_by_name(&d, "t-db-1")->id, db_id);
	assert_string_equal(daemon_container_by_name(&d, "t-web-1")->id, web_id);
	expect_agreement();
	assert_int_equal(sim_running(), 4);
}

static void failed_first_up_leaves_nothing(void **state)
{
	sim.start_fails = 1;
	SimClient *c = submit(OP_UP, up_body(0, false));
	const char *text = finish(c);
	assert_non_null(text);
	assert_non_null(strstr(text, "service 'db'"));
	assert_string_equal(json_string_value(json_object_get(sim_client_answer(c), "service")), "db");
	assert_int_equal(json_integer_value(json_object_get(sim_client_answer(c), "exit_code")), 127);
	sim_client_gone(c);
	sim.start_fails = 0;
	assert_int_equal(d.n_containers, 0);
	assert_int_equal(d.n_nets, 0);
	assert_int_equal(d.n_stacks, 0);
	expect_agreement();
}

static void unhealthy_dependency_fails(void **state)
{
	sim.probe_fails = 1;
	SimClient *c = submit(OP_UP, up_body(0, false));
	const char *text = finish(c);
	assert_non_null(text);
	assert_non_null(strstr(text, "unhealthy"));
	sim_client_gone(c);
	sim.probe_fails = 0;
	assert_int_equal(d.n_containers, 0);
	expect_agreement();
}

static void missing_image_is_refused(void **state)
{
	json_t *m = model(0);
	json_object_set_new(json_object_get(json_object_get(m, "services"), "web"), "image", json_string("nothere:1"));
	SimClient *c = submit(OP_UP, json_pack("{s:o}", "model", m));
	assert_non_null(strstr(finish(c), "nothere:1"));
	json_t *answer = sim_client_answer(c);
	assert_int_equal(json_integer_value(json_object_get(answer, "code")), 2);
	assert_string_equal(json_string_value(json_object_get(answer, "path")), "services.web.image");
	sim_client_gone(c);
	assert_int_equal(d.n_containers + d.n_nets + d.n_stacks, 0);
}

static void comes_back_after_a_reboot(void **state)
{
	SimClient *c = submit(OP_UP, up_body(0, true));
	assert_null(finish(c));
	sim_client_gone(c);
	/* Until the rows say that job has run: what never ran is started, whatever its policy. */
	while (uv_is_active((uv_handle_t *) &d.write_timer))
		(void) uv_run(&loop, UV_RUN_ONCE);
	crash_daemon();
	sim_reboot();
	start_daemon();
	settle();
	/* job has no restart policy; db and web do, and web waits for db's health. */
	assert_int_equal(sim_running(), 3);
	Container *db = daemon_container_by_name(&d, "t-db-1"), *web = daemon_container_by_name(&d, "t-web-1");
	assert_int_equal(db->health_state, HEALTH_HEALTHY);
	assert_true(web->started_mono > db->started_mono);
	expect_agreement();
}

static void power_off(void)
{
	daemon_power_off(&d);
	(void) uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(sim_running(), 0);
}

/* What was wanted comes back: all but job, which has no policy. */
static void power_on(void)
{
	crash_daemon();
	sim_reboot();
	start_daemon();
	settle();
	assert_int_equal(sim_running(), 3);
	expect_agreement();
}

static void stops_all_with_the_machine(void **state)
{
	SimClient *c = submit(OP_UP, up_body(0, true));
	assert_null(finish(c));
	sim_client_gone(c);
	Container *db = daemon_container_by_name(&d, "t-db-1"), *web = daemon_container_by_name(&d, "t-web-1");
	power_off();
	assert_true(web->finished_at < db->finished_at);
	power_on();
	/* In the middle of an operation. */
	c = submit(OP_UP, up_body(1, true));
	while (sim_running() == 3)
		(void) uv_run(&loop, UV_RUN_ONCE);
	power_off();
	sim_client_gone(c);
	power_on();
}

static void adopts_after_a_crash(void **state)
{
	SimClient *c = submit(OP_UP, up_body(0, true));
	assert_null(finish(c));
	char id[65];
	(void) snprintf(id, sizeof(id), "%s", daemon_container_by_name(&d, "t-job-1")->id);
	sim_client_gone(c);
	crash_daemon();
	assert_true(sim_exit(id, 7));
	start_daemon();
	settle();
	assert_int_equal(daemon_container_by_name(&d, "t-job-1")->exit_code, 7);
	assert_int_equal(sim_running(), 3);
	expect_agreement();
}

static void an_end_that_was_seen_is_not_forgotten(void **state)
{
	SimClient *c = submit(OP_UP, up_body(0, true));
	assert_null(finish(c));
	sim_client_gone(c);
	while (uv_is_active((uv_handle_t *) &d.write_timer))
		(void) uv_run(&loop, UV_RUN_ONCE);
	Container *job = daemon_container_by_name(&d, "t-job-1");
	if (job->phase == PHASE_RUNNING)
		assert_true(sim_exit(job->id, 7));
	int64_t end = time_mono() + 120 * NSEC_PER_SEC;
	while ((job->phase != PHASE_EXITED || ctr_is_busy(job)) && time_mono() < end)
		(void) uv_run(&loop, UV_RUN_ONCE);
	int code = job->exit_code;
	crash_daemon();
	start_daemon();
	settle();
	job = daemon_container_by_name(&d, "t-job-1");
	assert_int_equal(job->phase, PHASE_EXITED);
	assert_int_equal(job->exit_code, code);
	assert_int_equal(code, 7);
}

static void down_calls_off_an_up_that_waits(void **state)
{
	sim.probe_fails = 1;
	json_t *m = model(0);
	json_t *check = json_object_get(json_object_get(json_object_get(m, "services"), "db"), "healthcheck");
	json_object_set_new(check, "start_period", json_string("1h"));
	json_object_set_new(check, "start_interval", json_string("1ms"));
	SimClient *up = submit(OP_UP, json_pack("{s:o, s:b}", "model", m, "wait", 1));
	for (int i = 0; i < 100; i++)
		(void) uv_run(&loop, UV_RUN_ONCE);
	assert_null(sim_client_answer(up));
	SimClient *down = submit(OP_DOWN, json_object());
	assert_null(finish(down));
	assert_non_null(strstr(finish(up), "called off"));
	sim_client_gone(up);
	sim_client_gone(down);
	assert_int_equal(d.n_containers + d.n_nets + d.n_stacks, 0);
	expect_agreement();
}

static void restarts_by_policy(void **state)
{
	SimClient *c = submit(OP_UP, up_body(0, true));
	assert_null(finish(c));
	sim_client_gone(c);
	Container *db = daemon_container_by_name(&d, "t-db-1");
	assert_true(sim_exit(db->id, 1));
	while (db->phase == PHASE_RUNNING)
		(void) uv_run(&loop, UV_RUN_ONCE);
	assert_string_equal(ctr_status(db), "restarting");
	settle();
	assert_int_equal(db->restart_count, 1);
	assert_int_equal(sim_running(), 4);
	c = submit(OP_STOP, json_object());
	assert_null(finish(c));
	sim_client_gone(c);
	assert_int_equal(sim_running(), 0);
	expect_agreement();
	crash_daemon();
	sim_reboot();
	start_daemon();
	settle();
	/* always comes back even so, unless-stopped does not. */
	assert_int_equal(sim_running(), 1);
	expect_agreement();
}

/* a ← b, both different in each generation. */
static json_t *pair_body(unsigned generation)
{
	AUTO_BUF b = BUF_INIT;
	buf_printf(&b, "{\"model\":{\"name\":\"t\",\"services\":{"
		       "\"a\":{\"image\":\"a\",\"environment\":{\"V\":\"%u\"},\"healthcheck\":{\"test\":[\"CMD\",\"true\"],"
		       "\"interval\":\"1ms\",\"retries\":1}},"
		       "\"b\":{\"image\":\"a\",\"environment\":{\"V\":\"%u\"},"
		       "\"depends_on\":{\"a\":{\"condition\":\"service_healthy\",\"required\":true}}}}}}", generation, generation);
	return json_loads(b.data, 0, NULL);
}

/* The intent is written before anything is begun: what has just been started is not taken for unwanted. */
static void what_was_just_started_stays(void **state)
{
	SimClient *c = submit(OP_UP, pair_body(1));
	assert_null(finish(c));
	sim_client_gone(c);
	crash_daemon();
	start_daemon();
	settle();
	assert_int_equal(sim_running(), 2);
	/* Nor what was started again. */
	c = submit(OP_STOP, json_object());
	assert_null(finish(c));
	sim_client_gone(c);
	c = submit(OP_UP, pair_body(1));
	assert_null(finish(c));
	sim_client_gone(c);
	crash_daemon();
	start_daemon();
	settle();
	assert_int_equal(sim_running(), 2);
	expect_agreement();
}

/* a ← b, which is restarted with it. */
static SimClient *up_follower(unsigned generation)
{
	json_t *body = pair_body(generation);
	json_t *services = json_object_get(json_object_get(body, "model"), "services");
	json_t *b = json_object_get(services, "b");
	json_object_set_new(json_object_get(json_object_get(b, "depends_on"), "a"), "restart", json_true());
	json_object_del(b, "environment");
	return submit(OP_UP, body);
}

static void a_dependent_runs_on_until_it_can_be_restarted(void **state)
{
	SimClient *c = up_follower(1);
	assert_null(finish(c));
	sim_client_gone(c);
	const Container *b = daemon_container_by_name(&d, "t-b-1");
	int64_t first = b->started_at;
	sim.probe_fails = 1;
	c = up_follower(2);
	assert_non_null(strstr(finish(c), "unhealthy"));
	sim_client_gone(c);
	settle();
	assert_int_equal(b->phase, PHASE_RUNNING);
	assert_true(b->started_at == first);
	assert_true(b->wanted_running);
	/* Nothing differs any more, but its restart is still due, and comes once a is healthy. */
	sim.probe_fails = 0;
	const Container *a = daemon_container_by_name(&d, "t-a-1");
	int64_t end = time_mono() + 120 * NSEC_PER_SEC;
	while (a->health_state != HEALTH_HEALTHY && time_mono() < end)
		(void) uv_run(&loop, UV_RUN_ONCE);
	c = up_follower(2);
	assert_null(finish(c));
	sim_client_gone(c);
	assert_int_equal(sim_running(), 2);
	assert_true(b->started_at > first);
	int64_t second = b->started_at;
	c = up_follower(2);
	assert_null(finish(c));
	sim_client_gone(c);
	assert_true(b->started_at == second);
	expect_agreement();
}

static void what_cannot_follow_is_not_replaced(void **state)
{
	SimClient *c = submit(OP_UP, pair_body(1));
	assert_null(finish(c));
	sim_client_gone(c);
	char id[65];
	(void) snprintf(id, sizeof(id), "%s", daemon_container_by_name(&d, "t-b-1")->id);
	sim.probe_fails = 1;
	c = submit(OP_UP, pair_body(2));
	assert_non_null(strstr(finish(c), "unhealthy"));
	sim_client_gone(c);
	settle();
	Container *b = daemon_container_by_name(&d, "t-b-1");
	assert_string_equal(b->id, id);
	assert_true(ctr_is_running(b));
	expect_agreement();
	sim.probe_fails = 0;
	while (daemon_container_by_name(&d, "t-a-1")->health_state != HEALTH_HEALTHY)
		(void) uv_run(&loop, UV_RUN_ONCE);
	c = submit(OP_UP, pair_body(2));
	assert_null(finish(c));
	sim_client_gone(c);
	assert_int_equal(sim_running(), 2);
	expect_agreement();
}

/* A deploy does not wait for an interval of an hour, and what is not ready at once has not failed. */
static void eager_checks(void **state)
{
	SimClient *c = submit(OP_UP, json_loads("{\"model\":{\"name\":\"t\",\"services\":{\"a\":{\"image\":\"a\",\"healthcheck\":"
						"{\"test\":[\"CMD\",\"true\"],\"interval\":\"1h\",\"retries\":1}}}}}", 0, NULL));
	assert_null(finish(c));
	sim_client_gone(c);
	Container *a = daemon_container_by_name(&d, "t-a-1");
	sim.probe_fails = 1;
	health_eager(a, true);
	int64_t limit = time_mono() + 60 * NSEC_PER_SEC;
	json_t *health = NULL;
	for (size_t n = 0; n < 3; n = json_array_size(json_object_get(health, "Log"))) {
		assert_true(time_mono() < limit);
		(void) uv_run(&loop, UV_RUN_ONCE);
		json_decref(health);
		health = health_json(a);
	}
	assert_string_equal(json_string_value(json_object_get(health, "Status")), "starting");
	assert_int_equal(json_integer_value(json_object_get(health, "FailingStreak")), 0);
	json_decref(health);
	sim.probe_fails = 0;
	while (a->health_state != HEALTH_HEALTHY) {
		assert_true(time_mono() < limit);
		(void) uv_run(&loop, UV_RUN_ONCE);
	}
	/* Off again while it is not healthy: the interval and `retries` hold. */
	health_stop(a);
	a->check.interval = NSEC_PER_MSEC;
	sim.probe_fails = 1;
	health_start(a, false);
	health_eager(a, false);
	while (a->health_state != HEALTH_UNHEALTHY) {
		assert_true(time_mono() < limit);
		(void) uv_run(&loop, UV_RUN_ONCE);
	}
	sim.probe_fails = 0;
}

static void a_shared_network_stays(void **state)
{
	SimClient *c = submit(OP_UP, up_body(4, true));
	assert_null(finish(c));
	sim_client_gone(c);
	Container *db = daemon_container_by_name(&d, "t-db-1");
	c = submit(OP_STOP, json_pack("{s:[s]}", "services", "db"));
	assert_null(finish(c));
	sim_client_gone(c);
	assert_non_null(db->netns);
	crash_daemon();
	start_daemon();
	settle();
	/* restart: always brings it back, into the namespace that is there. */
	db = daemon_container_by_name(&d, "t-db-1");
	assert_non_null(db->netns);
	expect_agreement();
	c = submit(OP_STOP, json_pack("{s:[s]}", "services", "db"));
	assert_null(finish(c));
	sim_client_gone(c);
	assert_non_null(db->netns);
	c = submit(OP_STOP, json_pack("{s:[s]}", "services", "extra"));
	assert_null(finish(c));
	sim_client_gone(c);
	assert_null(db->netns);
	expect_agreement();
}

static void kill_is_not_undone_by_the_policy(void **state)
{
	SimClient *c = submit(OP_UP, up_body(0, true));
	assert_null(finish(c));
	sim_client_gone(c);
	Container *db = daemon_container_by_name(&d, "t-db-1");
	c = submit(OP_KILL, json_pack("{s:[s], s:s}", "services", "db", "signal", "SIGTERM"));
	assert_null(finish(c));
	sim_client_gone(c);
	while (db->phase == PHASE_RUNNING)
		(void) uv_run(&loop, UV_RUN_ONCE);
	settle();
	assert_int_equal(db->phase, PHASE_EXITED);
	assert_false(db->wanted_running);
	expect_agreement();
}

static void services_that_are_off_are_no_orphans(void **state)
{
	SimClient *c = submit(OP_UP, up_body(4, false));
	assert_null(finish(c));
	sim_client_gone(c);
	json_t *body = up_body(0, false);
	json_object_set_new(json_object_get(body, "model"), "x-stead-origin", json_pack("{s:[s]}", "off", "extra"));
	c = submit(OP_UP, body);
	assert_null(finish(c));
	sim_client_gone(c);
	assert_non_null(daemon_container_by_name(&d, "t-extra-1"));
	c = submit(OP_UP, up_body(0, false));
	assert_null(finish(c));
	sim_client_gone(c);
	assert_null(daemon_container_by_name(&d, "t-extra-1"));
	expect_agreement();
}

/* A file system without room: writes of the store fail. */
static void store_is_full(bool full)
{
	struct rlimit l;
	(void) signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &l), 0);
	l.rlim_cur = full ? 0 : l.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

static void a_full_disk_is_an_error(void **state)
{
	SimClient *c = submit(OP_UP, up_body(0, true));
	assert_null(finish(c));
	sim_client_gone(c);
	settle();
	store_is_full(true);
	c = submit(OP_UP, up_body(1, true));
	assert_non_null(finish(c));
	sim_client_gone(c);
	c = submit(OP_DOWN, json_object());
	assert_non_null(finish(c));
	sim_client_gone(c);
	Container *web = daemon_container_by_name(&d, "t-web-1");
	web->ask_remove = true;
	ctr_changed(web);
	for (int i = 0; i < 50; i++)
		turn();
	store_is_full(false);
	settle();
	c = submit(OP_UP, up_body(1, true));
	assert_null(finish(c));
	sim_client_gone(c);
	assert_int_equal(sim_running(), 4);
	expect_agreement();
	c = submit(OP_DOWN, json_object());
	assert_null(finish(c));
	sim_client_gone(c);
	assert_int_equal(d.n_containers + d.n_nets + d.n_stacks, 0);
	expect_agreement();
}

/* ── random histories ─────────────────────────────────────────────── */

static void random_step(void)
{
	switch (sim_random(9)) {
	case 0:
	case 1:
	case 2:
		keep(submit(OP_UP, up_body(sim_random(8), sim_random(2))));
		break;
	case 3:
		keep(submit(OP_DOWN, json_pack("{s:b}", "volumes", (int) sim_random(2))));
		break;
	case 4:
		keep(submit(OP_STOP, json_object()));
		break;
	case 5:
		keep(submit(OP_RESTART, json_pack("{s:[s]}", "services", "db")));
		break;
	case 6:
		keep(submit(OP_START, json_object()));
		break;
	case 7:
		if (d.n_containers)
			(void) sim_exit(d.containers[sim_random((unsigned) d.n_containers)]->id, (int) sim_random(3));
		break;
	case 8:
		lose_daemon();
		break;
	}
	for (unsigned n = sim_random(40); n; n--)
		turn();
}

static void comes_to_order(void)
{
	expect_agreement();
	SimClient *c = submit(OP_UP, up_body(0, false));
	const char *text = finish(c);
	if (text)
		fail_msg("up: %s", text);
	sim_client_gone(c);
	settle();
	assert_int_equal(sim_running(), 4);
	expect_agreement();
	c = submit(OP_DOWN, json_object());
	assert_null(finish(c));
	sim_client_gone(c);
	settle();
	assert_int_equal(sim_running(), 0);
	assert_int_equal(d.n_containers + d.n_nets + d.n_stacks, 0);
	expect_agreement();
}

static void random_histories(void **state)
{
	static const History h = { 60, { .start_fails = 12, .probe_fails = 6, .exits = 8 }, NULL, random_step, comes_to_order };
	run_histories(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(up_and_down, setup, teardown),
		cmocka_unit_test_setup_teardown(changed_service_is_replaced, setup, teardown),
		cmocka_unit_test_setup_teardown(failed_first_up_leaves_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(unhealthy_dependency_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(missing_image_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(comes_back_after_a_reboot, setup, teardown),
		cmocka_unit_test_setup_teardown(stops_all_with_the_machine, setup, teardown),
		cmocka_unit_test_setup_teardown(adopts_after_a_crash, setup, teardown),
		cmocka_unit_test_setup_teardown(an_end_that_was_seen_is_not_forgotten, setup, teardown),
		cmocka_unit_test_setup_teardown(down_calls_off_an_up_that_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(restarts_by_policy, setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_just_started_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_follow_is_not_replaced, setup, teardown),
		cmocka_unit_test_setup_teardown(a_dependent_runs_on_until_it_can_be_restarted, setup, teardown),
		cmocka_unit_test_setup_teardown(eager_checks, setup, teardown),
		cmocka_unit_test_setup_teardown(a_shared_network_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(kill_is_not_undone_by_the_policy, setup, teardown),
		cmocka_unit_test_setup_teardown(services_that_are_off_are_no_orphans, setup, teardown),
		cmocka_unit_test_setup_teardown(a_full_disk_is_an_error, setup, teardown),
		cmocka_unit_test_setup_teardown(random_histories, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
