// SPDX-License-Identifier: Apache-2.0
/*
 * Deploys against a machine in memory (sim.h), with a real store. First what a deploy must do, gate by gate; then random histories of deploys,
 * rollbacks, failing starts and probes, clients that go, deaths of the daemon and reboots: after each of them every container
 * is of one release, the one that the stack is, and all of it runs.
 */
#include "daemon/sim-test.h"

#include "daemon/release.h"
#include "daemon/stack.h"

/*
 * db (stop-first: its volume, a health check) ← api ×2 (a route) ← web (depends on api, nothing to ask); `v` is in the environment of those whose
 * bit of `changed` is set. 8 adds `extra`.
 */
static json_t *model(unsigned v, unsigned changed)
{
	static const char rules[] = "\"deploy\":{\"health_timeout\":\"15s\",\"drain\":\"5ms\",\"bake\":\"3ms\"}";
	AUTO_BUF b = BUF_INIT;
	buf_printf(&b, "{\"name\":\"t\",\"services\":{"
		       "\"db\":{\"image\":\"a\",\"healthcheck\":{\"test\":[\"CMD\",\"true\"],\"interval\":\"2ms\",\"retries\":20},"
		       "\"environment\":{\"V\":\"%u\"},\"networks\":{\"default\":null},\"restart\":\"always\",\"stop_grace_period\":\"20ms\","
		       "\"volumes\":[{\"type\":\"volume\",\"source\":\"data\",\"target\":\"/data\"}],\"x-stead\":{%s}},"
		       "\"api\":{\"image\":\"a\",\"networks\":{\"default\":null},\"scale\":2,\"restart\":\"always\",\"expose\":[\"80/tcp\"],"
		       "\"environment\":{\"V\":\"%u\"},\"depends_on\":{\"db\":{\"condition\":\"service_healthy\",\"required\":true}},"
		       "\"x-stead\":{\"routes\":[{\"host\":\"a.test\",\"path\":\"/\"}],%s}},"
		       "\"web\":{\"image\":\"a\",\"networks\":{\"default\":null},\"restart\":\"always\",\"environment\":{\"V\":\"%u\"},"
		       "\"depends_on\":{\"api\":{\"condition\":\"service_started\",\"required\":true}},\"x-stead\":{%s}}%s},"
		       "\"networks\":{\"default\":{\"name\":\"t_default\"}},\"volumes\":{\"data\":{\"name\":\"t_data\"}}}",
		changed & 1 ? v : 0, rules, changed & 2 ? v : 0, rules, changed & 4 ? v : 0, rules,
		changed & 8 ? ",\"extra\":{\"image\":\"a\",\"restart\":\"always\",\"network_mode\":\"service:db\","
			      "\"x-stead\":{\"deploy\":{\"bake\":\"3ms\"}}}" : "");
	json_error_t e;
	json_t *o = json_loads(b.data, 0, &e);
	if (!o)
		fail_msg("%s", e.text);
	return o;
}

static json_t *body(unsigned v, unsigned changed)
{
	return json_pack("{s:o, s:s}", "model", model(v, changed), "who", "tester");
}

static json_t *edited(unsigned v, unsigned changed, const char *service, const char *key, json_t *value)
{
	json_t *o = body(v, changed);
	json_t *svc = json_object_get(json_object_get(json_object_get(o, "model"), "services"), service);
	json_object_set_new(svc, key, value);
	return o;
}

static void run(OperationKind kind, json_t *o)
{
	SimClient *c = submit(kind, o);
	const char *text = finish(c);
	if (text)
		fail_msg("%s", text);
	sim_client_gone(c);
	settle();
	expect_agreement();
}

/* Gives the answer's error text, the caller's. */
static char *run_failing(OperationKind kind, json_t *o)
{
	SimClient *c = submit(kind, o);
	char *text = xstrdup(finish(c));
	if (!text)
		fail_msg("it should have failed");
	sim_client_gone(c);
	settle();
	expect_agreement();
	return text;
}

static const char *version(const char *name)
{
	const Container *c = daemon_container_by_name(&d, name);
	if (!c)
		fail_msg("no container %s: %s", name, describe());
	return strv_env(c->svc.environment, "V");
}

static json_t *release(int number)
{
	AUTO_ERR err = ERR_INIT;
	json_t *o = NULL;
	check(release_show_json(&d, "t", number, &o, &err), &err);
	return o;
}

static void expect_result(int number, const char *result)
{
	json_t *o = release(number);
	assert_string_equal(json_string_value(json_object_get(o, "result")), result);
	json_decref(o);
}

static int current_number(void)
{
	Release r = { 0 };
	int e = release_current(&d, "t", &r, NULL);
	int number = r.number;
	release_done(&r);
	return e == 0 ? number : 0;
}

/* Every container is of the release that the stack is; nothing else is there; all of it runs. */
static void expect_whole(void)
{
	const StackState *s = daemon_stack(&d, "t");
	size_t wanted = 0;
	Release r = { 0 };
	AUTO_ERR err = ERR_INIT;
	assert_non_null(s);
	assert_non_null(s->model);
	check(release_current(&d, "t", &r, &err), &err);
	assert_int_equal(r.number > 0, 1);
	json_t *a = stack_to_json(s->model), *b = stack_to_json(r.model);
	assert_true(json_equal(a, b));
	json_decref(a);
	json_decref(b);
	for (size_t i = 0; i < s->model->n_services; i++) {
		const Service *svc = &s->model->services[i];
		char hash[65];
		service_hash(s->model, svc, hash);
		for (int n = 1; n <= svc->replicas; n++) {
			AUTO_FREE char *name = ctr_name("t", svc, n);
			const Container *c = daemon_container_by_name(&d, name);
			if (!c)
				fail_msg("%s is missing: %s", name, describe());
			if (!str_eq(c->hash, hash))
				fail_msg("%s is of another release: %s", name, describe());
			if (c->role != ROLE_CURRENT || c->revive || !ctr_is_running(c))
				fail_msg("%s is %s, role %d, revive %d: %s", name, ctr_status(c), (int) c->role, c->revive, describe());
			wanted++;
		}
	}
	release_done(&r);
	if (d.n_containers != wanted)
		fail_msg("%zu containers, not %zu: %s", d.n_containers, wanted, describe());
	expect_agreement();
}

/* ── the good way ─────────────────────────────────────────────────── */

static void first_deploy_is_release_1(void **state)
{
	run(OP_DEPLOY, body(1, 7));
	expect_whole();
	expect_result(1, "success");
	assert_int_equal(sim_running(), 4);
	assert_string_equal(version("t-api-2"), "1");
	json_t *o = release(1);
	assert_string_equal(json_string_value(json_object_get(o, "who")), "tester");
	assert_string_equal(json_string_value(json_object_get(o, "kind")), "deploy");
	assert_int_equal(json_array_size(json_object_get(o, "changes")), 3);
	json_decref(o);
}

static void dependencies_first_and_stop_first_where_it_must_be(void **state)
{
	run(OP_UP, body(1, 7));
	assert_int_equal(current_number(), 1);
	SimClient *c = submit(OP_DEPLOY, body(2, 7));
	assert_null(finish(c));
	assert_true(position(c, "db stop done") < position(c, "db start begin"));
	assert_true(position(c, "db health done") < position(c, "db switch begin"));
	assert_true(position(c, "db switch done") < position(c, "api start begin"));
	assert_true(position(c, "api drain done") < position(c, "web start begin"));
	/* What has routes could be asked again until its bake is over. */
	assert_true(position(c, "api start done") < position(c, "api stop begin"));
	assert_true(position(c, "api stop done") < position(c, "api retire begin"));
	assert_true(position(c, "web stop done") < position(c, "db bake done"));
	assert_true(position(c, "api bake done") < position(c, "api retire begin"));
	sim_client_gone(c);
	settle();
	expect_whole();
	expect_result(2, "success");
	assert_string_equal(version("t-db-1"), "2");
}

static void unchanged_services_are_left_alone(void **state)
{
	run(OP_DEPLOY, body(1, 7));
	char db[65], api[65];
	(void) snprintf(db, sizeof(db), "%s", daemon_container_by_name(&d, "t-db-1")->id);
	(void) snprintf(api, sizeof(api), "%s", daemon_container_by_name(&d, "t-api-1")->id);
	json_t *o = body(1, 7);
	json_t *web = json_object_get(json_object_get(json_object_get(o, "model"), "services"), "web");
	json_object_set_new(web, "environment", json_pack("{s:s}", "V", "2"));
	json_t *same = json_deep_copy(o);
	run(OP_DEPLOY, o);
	expect_whole();
	assert_string_equal(version("t-web-1"), "2");
	assert_string_equal(daemon_container_by_name(&d, "t-db-1")->id, db);
	assert_string_equal(daemon_container_by_name(&d, "t-api-1")->id, api);

	SimClient *c = submit(OP_DEPLOY, same);
	assert_null(finish(c));
	assert_string_equal(json_string_value(json_object_get(sim_client_answer(c), "result")), "unchanged");
	assert_int_equal(json_integer_value(json_object_get(sim_client_answer(c), "release")), 2);
	sim_client_gone(c);
	assert_int_equal(current_number(), 2);
}

static void services_come_go_and_change_their_number(void **state)
{
	run(OP_DEPLOY, body(1, 7 | 8));
	expect_whole();
	assert_int_equal(sim_running(), 5);
	/* What shares a replaced container's network is replaced, too. */
	char extra[65];
	(void) snprintf(extra, sizeof(extra), "%s", daemon_container_by_name(&d, "t-extra-1")->id);
	run(OP_DEPLOY, body(2, 7 | 8));
	expect_whole();
	assert_string_not_equal(daemon_container_by_name(&d, "t-extra-1")->id, extra);
	run(OP_DEPLOY, edited(2, 7, "api", "scale", json_integer(3)));
	expect_whole();
	assert_int_equal(sim_running(), 5);
	run(OP_DEPLOY, edited(2, 7, "api", "scale", json_integer(1)));
	expect_whole();
	assert_int_equal(sim_running(), 3);
	expect_result(4, "success");
}

static void one_service_of_the_file(void **state)
{
	run(OP_DEPLOY, body(1, 7));
	json_t *o = body(2, 7);
	json_object_set_new(o, "services", json_pack("[s]", "db"));
	run(OP_DEPLOY, o);
	expect_whole();
	assert_string_equal(version("t-db-1"), "2");
	assert_string_equal(version("t-api-1"), "1");
	assert_string_equal(version("t-web-1"), "1");
}

static void rollback_brings_a_whole_release_back(void **state)
{
	run(OP_DEPLOY, body(1, 7));
	run(OP_DEPLOY, body(2, 7));
	run(OP_DEPLOY, body(3, 7 | 8));
	SimClient *c = submit(OP_ROLLBACK, json_object());
	assert_null(finish(c));
	assert_true(position(c, "web switch done") < position(c, "api start begin"));
	assert_true(position(c, "api switch done") < position(c, "db stop begin"));
	sim_client_gone(c);
	settle();
	expect_whole();
	assert_string_equal(version("t-db-1"), "2");
	expect_result(3, "rolled back");
	expect_result(4, "success");
	run(OP_ROLLBACK, json_object());
	expect_whole();
	assert_string_equal(version("t-web-1"), "1");
	run(OP_ROLLBACK, json_pack("{s:i}", "to", 3));
	expect_whole();
	assert_string_equal(version("t-web-1"), "3");
	assert_non_null(daemon_container_by_name(&d, "t-extra-1"));
}

static void numbers_that_do_not_exist(void **state)
{
	run(OP_DEPLOY, body(1, 7));
	AUTO_FREE char *only = run_failing(OP_ROLLBACK, json_object());
	assert_non_null(strstr(only, "no release to roll back to"));
	run(OP_DEPLOY, body(2, 7));
	AUTO_FREE char *far = run_failing(OP_ROLLBACK, json_pack("{s:i}", "to", 9));
	assert_non_null(strstr(far, "nearest is 1"));
	AUTO_FREE char *same = run_failing(OP_ROLLBACK, json_pack("{s:i}", "to", 2));
	assert_non_null(strstr(same, "the one that runs"));
	expect_whole();
	assert_int_equal(current_number(), 2);
}

#define COMING_CONFIG "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Cmd\":[\"x\"]},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}"

static void a_plan_knows_images_that_are_coming(void **state)
{
	size_t before = d.n_images;
	json_t *coming = json_pack("[{s:s, s:s}]", "name", "b:2", "config", COMING_CONFIG);
	run(OP_DEPLOY, body(1, 7));
	json_t *o = edited(1, 7, "web", "image", json_string("b:2"));
	json_object_set_new(o, "plan", json_true());
	json_object_set(o, "coming", coming);
	SimClient *c = submit(OP_DEPLOY, o);
	assert_null(finish(c));
	assert_true(position(c, "plan web start") < position(c, "plan web retire"));
	sim_client_gone(c);
	settle();
	assert_int_equal(d.n_images, before);
	/* Without that, and for what is more than a plan, it must be there. */
	o = edited(1, 7, "web", "image", json_string("b:2"));
	json_object_set_new(o, "plan", json_true());
	AUTO_FREE char *text = run_failing(OP_DEPLOY, o);
	assert_non_null(strstr(text, "'b:2' is not on this machine"));
	o = edited(1, 7, "web", "image", json_string("b:2"));
	json_object_set(o, "coming", coming);
	assert_null(submit(OP_DEPLOY, o));
	json_decref(coming);
	expect_whole();
}

static void more_memory_than_there_is_is_refused(void **state)
{
	run(OP_DEPLOY, body(1, 7));
	AUTO_FREE char *text = run_failing(OP_DEPLOY, edited(2, 7, "web", "mem_reservation", json_string("900000000000000000")));
	assert_non_null(strstr(text, "service 'web'"));
	assert_non_null(strstr(text, "stop-first"));
	assert_int_equal(current_number(), 1);
	assert_string_equal(version("t-web-1"), "1");
	expect_whole();
	run(OP_DEPLOY, edited(2, 7, "web", "mem_reservation", json_string("1000000")));
	expect_whole();
}

static void plan_changes_nothing(void **state)
{
	run(OP_DEPLOY, body(1, 7));
	json_t *o = body(2, 7);
	json_object_set_new(o, "plan", json_true());
	SimClient *c = submit(OP_DEPLOY, o);
	assert_null(finish(c));
	assert_true(position(c, "plan db stop") < position(c, "plan db start"));
	assert_true(position(c, "plan db switch") < position(c, "plan api start"));
	assert_true(position(c, "plan web bake") < position(c, "plan db retire"));
	sim_client_gone(c);
	expect_whole();
	assert_string_equal(version("t-db-1"), "1");
	assert_int_equal(current_number(), 1);
}

/* ── the bad ways ─────────────────────────────────────────────────── */

static void expect_old(const char *text, const char *step, int number)
{
	json_t *o = release(number), *report = json_object_get(o, "report");
	assert_non_null(strstr(text, "failed"));
	assert_string_equal(json_string_value(json_object_get(o, "result")), "failed");
	assert_string_equal(json_string_value(json_object_get(report, "step")), step);
	assert_true(json_array_size(json_object_get(report, "timeline")) > 1);
	json_decref(o);
	expect_whole();
	assert_string_equal(version("t-db-1"), "1");
	assert_string_equal(version("t-api-1"), "1");
	assert_string_equal(version("t-web-1"), "1");
	assert_int_equal(current_number(), 1);
}

/* The disk is full, say: what cannot be removed is tried again, but not with all that the processor has. */
static void a_removal_that_fails(void **state)
{
	run(OP_DEPLOY, body(1, 7));
	sim.start_fails_for = "V=2";
	sim.removals_fail = true;
	sim.removals = 0;
	SimClient *c = submit(OP_DEPLOY, body(2, 2));
	while (!sim.removals)
		(void) uv_run(&loop, UV_RUN_ONCE);
	for (int i = 0; i < 1000; i++)
		(void) uv_run(&loop, UV_RUN_NOWAIT);
	assert_null(sim_client_answer(c));
	assert_true(sim.removals < 200);
	sim.removals_fail = false;
	const char *text = finish(c);
	assert_non_null(text);
	expect_old(text, "start", 2);
	sim_client_gone(c);
	sim.start_fails_for = NULL;
}

static void a_start_that_fails(void **state)
{
	run(OP_DEPLOY, body(1, 7));
	sim.start_fails_for = "V=2";
	AUTO_FREE char *text = run_failing(OP_DEPLOY, body(2, 2));
	assert_non_null(strstr(text, "service 'api'"));
	json_t *o = release(2);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "report"), "exit_code")), 127);
	json_decref(o);
	sim.start_fails_for = NULL;
	json_t *r = release(2);
	assert_string_equal(json_string_value(json_object_get(r, "result")), "failed");
	json_decref(r);
	run(OP_DEPLOY, body(1, 7));
	expect_whole();
}

static void never_healthy_is_put_back(void **state)
{
	run(OP_DEPLOY, body(1, 7));
	/* web is the last: db and api were switched, and go back. */
	sim.start_fails_for = "V=5";
	json_t *o = body(2, 7);
	json_object_set_new(json_object_get(json_object_get(json_object_get(o, "model"), "services"), "web"), "environment",
		json_pack("{s:s}", "V", "5"));
	AUTO_FREE char *text = run_failing(OP_DEPLOY, o);
	sim.start_fails_for = NULL;
	expect_old(text, "start", 2);
}

static void one_that_ends_in_its_bake_is_put_back(void **state)
{
	run(OP_DEPLOY, body(1, 7));
	json_t *o = body(2, 7);
	json_t *web = json_object_get(json_object_get(json_object_get(o, "model"), "services"), "web");
	json_object_set_new(web, "x-stead", json_pack("{s:{s:s}}", "deploy", "bake", "10s"));
	SimClient *c = submit(OP_DEPLOY, o);
	while (!strv_has(sim_client_log(c), "web bake begin"))
		(void) uv_run(&loop, UV_RUN_ONCE);
	for (size_t i = 0; i < d.n_containers; i++)
		if (str_eq(d.containers[i]->svc.name, "api") && d.containers[i]->role == ROLE_CANDIDATE)
			assert_true(sim_exit(d.containers[i]->id, 9));
	AUTO_FREE char *text = xstrdup(finish(c));
	assert_non_null(text);
	assert_string_equal(json_string_value(json_object_get(sim_client_answer(c), "service")), "api");
	sim_client_gone(c);
	settle();
	expect_old(text, "bake", 2);
}

/* It was healthy, but nobody was led to it yet. */
static void one_that_ends_before_it_has_settled_gets_no_request(void **state)
{
	run(OP_DEPLOY, body(1, 7));
	json_t *o = body(2, 7);
	json_t *api = json_object_get(json_object_get(json_object_get(o, "model"), "services"), "api");
	json_object_set_new(json_object_get(json_object_get(api, "x-stead"), "deploy"), "settle", json_string("1h"));
	SimClient *c = submit(OP_DEPLOY, o);
	while (!strv_has(sim_client_log(c), "api settle begin"))
		(void) uv_run(&loop, UV_RUN_ONCE);
	assert_true(strv_has(sim_client_log(c), "api health done"));
	bool ended = false;
	for (size_t i = 0; i < d.n_containers; i++) {
		Container *one = d.containers[i];
		if (!str_eq(one->svc.name, "api"))
			continue;
		assert_int_equal(one->serving, one->role == ROLE_CURRENT);
		if (one->role == ROLE_CANDIDATE && !ended)
			assert_true(ended = sim_exit(one->id, 3));
	}
	AUTO_FREE char *text = xstrdup(finish(c));
	assert_non_null(text);
	assert_false(strv_has(sim_client_log(c), "api switch begin"));
	sim_client_gone(c);
	settle();
	expect_old(text, "settle", 2);
}

static void unhealthy_for_good(void **state)
{
	run(OP_DEPLOY, body(1, 7));
	sim.probe_fails = 1;
	json_t *o = edited(1, 7, "api", "environment", json_pack("{s:s}", "V", "2"));
	json_t *api = json_object_get(json_object_get(json_object_get(o, "model"), "services"), "api");
	json_object_set_new(json_object_get(json_object_get(api, "x-stead"), "deploy"), "health_timeout", json_string("2s"));
	SimClient *c = submit(OP_DEPLOY, o);
	const char *answer = finish(c);
	assert_non_null(answer);
	assert_non_null(strstr(answer, "did not become healthy"));
	AUTO_FREE char *text = xstrdup(answer);
	sim_client_gone(c);
	sim.probe_fails = 0;
	settle();
	expect_old(text, "health", 2);
}

static void the_client_calls_it_off(void **state)
{
	run(OP_DEPLOY, body(1, 7));
	for (int turns = 0; turns < 60; turns += 4) {
		SimClient *c = submit(OP_DEPLOY, body(2, 7));
		for (int i = 0; i < turns && !sim_client_answer(c); i++)
			(void) uv_run(&loop, UV_RUN_ONCE);
		bool over = sim_client_answer(c) != NULL;
		sim_client_gone(c);
		settle();
		expect_whole();
		if (over)
			break;
		if (str_eq(version("t-db-1"), "2"))
			break; /* it was past its commit */
		assert_string_equal(version("t-web-1"), "1");
	}
}

static void down_calls_it_off(void **state)
{
	run(OP_DEPLOY, body(1, 7));
	SimClient *c = submit(OP_DEPLOY, body(2, 7));
	while (!strv_has(sim_client_log(c), "api start begin"))
		(void) uv_run(&loop, UV_RUN_ONCE);
	SimClient *down = submit(OP_DOWN, json_object());
	assert_null(finish(down));
	assert_non_null(strstr(finish(c), "called off"));
	sim_client_gone(c);
	sim_client_gone(down);
	settle();
	assert_int_equal(d.n_containers + d.n_nets + d.n_stacks, 0);
	expect_agreement();
}

static void a_second_one_waits_or_is_refused(void **state)
{
	run(OP_DEPLOY, body(1, 7));
	SimClient *first = submit(OP_DEPLOY, body(2, 7));
	json_t *o = body(3, 7);
	json_object_set_new(o, "no_wait", json_true());
	AUTO_ERR err = ERR_INIT;
	SimClient *refused = sim_client();
	assert_int_equal(operation_submit(&d, OP_DEPLOY, "t", o, (HttpRequest *) refused, &err), -EBUSY);
	assert_non_null(strstr(err_text(&err), "tester"));
	json_decref(o);
	sim_client_gone(refused);
	SimClient *second = submit(OP_DEPLOY, body(3, 7));
	assert_int_equal(position(second, " wait begin"), 0);
	/* One whose client does not wait any more never begins. */
	SimClient *third = submit(OP_DEPLOY, body(4, 7));
	sim_client_gone(third);
	assert_null(finish(first));
	assert_null(finish(second));
	sim_client_gone(first);
	sim_client_gone(second);
	settle();
	expect_whole();
	assert_string_equal(version("t-web-1"), "3");
	assert_int_equal(current_number(), 3);
}

static void an_up_that_changes_a_route_is_a_deploy(void **state)
{
	run(OP_UP, body(1, 7));
	SimClient *c = submit(OP_UP, body(2, 7));
	assert_null(finish(c));
	assert_true(position(c, "api health done") < position(c, "api stop begin"));
	sim_client_gone(c);
	settle();
	expect_whole();
	json_t *o = release(2);
	assert_string_equal(json_string_value(json_object_get(o, "kind")), "up");
	assert_string_equal(json_string_value(json_object_get(o, "result")), "success");
	json_decref(o);
	/* Nothing changed: no release. */
	run(OP_UP, body(2, 7));
	assert_int_equal(current_number(), 2);
}

static void hooks_run_before_and_after(void **state)
{
	run(OP_DEPLOY, body(1, 7));
	json_t *rules = json_pack("{s:{s:[s], s:[s], s:s}}", "deploy", "pre_deploy", "migrate", "post_deploy", "tell", "bake", "0s");
	sim.hooks_end = true;
	SimClient *c = submit(OP_DEPLOY, edited(2, 7, "web", "x-stead", rules));
	assert_null(finish(c));
	assert_true(position(c, "web pre_deploy done") < position(c, "web start begin"));
	assert_true(position(c, "web pre_deploy begin") > position(c, "api drain done"));
	(void) position(c, "web post_deploy done");
	sim_client_gone(c);
	settle();
	sim.hooks_end = false;
	expect_whole();
	assert_string_equal(version("t-web-1"), "2");

	/* One that fails stops it before anything of the service has begun. */
	sim.hooks_end = true;
	sim.ends_with = 3;
	rules = json_pack("{s:{s:[s]}}", "deploy", "pre_deploy", "migrate");
	AUTO_FREE char *text = run_failing(OP_DEPLOY, edited(3, 7, "web", "x-stead", rules));
	sim.hooks_end = false;
	assert_non_null(strstr(text, "pre_deploy"));
	expect_whole();
	assert_string_equal(version("t-web-1"), "2");
}

static void files_are_the_release_s(void **state)
{
	AUTO_FREE char *path = xasprintf("%s/conf", state_dir);
	for (int n = 1; n <= 2; n++) {
		AUTO_FREE char *text = xasprintf("version %d\n", n);
		assert_int_equal(file_write(AT_FDCWD, path, text, strlen(text), 0644), 0);
		json_t *o = edited(1, 7, "web", "configs", json_pack("[{s:s, s:s}]", "source", "conf", "target", "/conf"));
		json_object_set_new(json_object_get(o, "model"), "configs", json_pack("{s:{s:s}}", "conf", "file", path));
		run(OP_DEPLOY, o);
		expect_whole();
	}
	json_t *o = release(2), *change = json_array_get(json_object_get(o, "changes"), 0);
	assert_string_equal(json_string_value(json_object_get(change, "what")), "file");
	json_decref(o);
	assert_int_equal(unlink(path), 0);
	run(OP_ROLLBACK, json_object());
	expect_whole();
	const Stack *m = daemon_stack(&d, "t")->model;
	AUTO_FREE char *copy = release_file_path(&d, stack_config(m, "conf"));
	AUTO_BUF b = BUF_INIT;
	assert_int_equal(file_read(AT_FDCWD, copy, 100, &b), 0);
	assert_string_equal(b.data, "version 1\n");
	/* The copies go with the releases. */
	run(OP_DOWN, json_object());
	assert_int_not_equal(access(copy, F_OK), 0);
}

static void releases_are_bounded_and_their_images_kept(void **state)
{
	for (unsigned v = 1; v <= 9; v++)
		run(OP_DEPLOY, body(v, 7));
	json_t *list = NULL;
	assert_int_equal(release_list_json(&d, "t", NULL, &list, NULL), 0);
	assert_int_equal(json_array_size(list), 6); /* the current one and five before it */
	assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 0), "number")), 4);
	json_decref(list);
	assert_true(release_needs_image(&d, d.images[0]->id, NULL, NULL));
	run(OP_DOWN, json_object());
	assert_false(release_needs_image(&d, d.images[0]->id, NULL, NULL));
}

/* ── deaths ───────────────────────────────────────────────────────── */

/* The daemon dies after every number of turns of the loop once, in the middle of a deploy. */
static void dies_at_any_moment(bool reboot, unsigned extra)
{
	bool old = false, whole_new = false;
	for (int turns = 0; turns < 4000 && !whole_new; turns += 1 + turns / 16) {
		run(OP_DEPLOY, body(1, 7));
		SimClient *c = submit(OP_DEPLOY, body(2, 7 | extra));
		for (int i = 0; i < turns && !sim_client_answer(c); i++)
			(void) uv_run(&loop, UV_RUN_ONCE);
		bool answered = sim_client_answer(c) != NULL;
		sim_client_gone(c);
		crash_daemon();
		if (reboot)
			sim_reboot();
		start_daemon();
		settle();
		expect_whole();
		const char *v = version("t-db-1");
		assert_string_equal(version("t-api-1"), v);
		assert_string_equal(version("t-web-1"), v);
		if (str_eq(v, "1"))
			old = true;
		whole_new = answered && str_eq(v, "2");
		if (!str_eq(v, "1"))
			run(OP_DEPLOY, body(1, 7));
	}
	assert_true(old);
	assert_true(whole_new);
}

static void death_of_the_daemon(void **state)
{
	dies_at_any_moment(false, 8);
}

static void death_of_the_machine(void **state)
{
	dies_at_any_moment(true, 0);
}

/* Of a first deploy nothing is left, or all of it is there. */
static void death_in_a_first_deploy(void **state)
{
	bool none = false, all = false;
	for (int turns = 0; turns < 4000 && !all; turns += 1 + turns / 8) {
		SimClient *c = submit(OP_DEPLOY, body(1, 7));
		for (int i = 0; i < turns && !sim_client_answer(c); i++)
			(void) uv_run(&loop, UV_RUN_ONCE);
		sim_client_gone(c);
		crash_daemon();
		start_daemon();
		settle();
		all = daemon_stack(&d, "t") != NULL;
		if (all) {
			expect_whole();
			continue;
		}
		none = true;
		assert_int_equal(d.n_containers + d.n_nets + d.n_vols + d.n_stacks, 0);
		expect_agreement();
	}
	assert_true(none);
	assert_true(all);
}

static void dies_while_it_puts_back(void **state)
{
	for (int turns = 0; turns < 60; turns += 3) {
		run(OP_DEPLOY, body(1, 7));
		SimClient *c = submit(OP_DEPLOY, body(2, 7));
		while (!strv_has(sim_client_log(c), "web start begin"))
			(void) uv_run(&loop, UV_RUN_ONCE);
		sim_client_gone(c);
		for (int n = 0; n < 3; n++) {
			for (int i = 0; i < turns; i++)
				turn();
			crash_daemon();
			start_daemon();
		}
		settle();
		expect_whole();
		assert_string_equal(version("t-db-1"), "1");
	}
}

static void random_step(void)
{
	switch (sim_random(10)) {
	case 0:
	case 1:
	case 2:
	case 3:
		keep(submit(OP_DEPLOY, body(sim_random(4), sim_random(16))));
		break;
	case 4:
		keep(submit(OP_ROLLBACK, json_object()));
		break;
	case 5:
		keep(submit(OP_UP, body(sim_random(3), sim_random(16))));
		break;
	case 6:
		if (n_clients)
			sim_client_gone(clients[--n_clients]);
		break;
	case 7:
		if (d.n_containers)
			(void) sim_exit(d.containers[sim_random((unsigned) d.n_containers)]->id, (int) sim_random(3));
		break;
	default:
		lose_daemon();
		break;
	}
	for (unsigned n = sim_random(120); n; n--)
		turn();
}

static void first_deploy(void)
{
	run(OP_DEPLOY, body(1, 7));
}

static void comes_to_order(void)
{
	for (size_t i = 0; i < d.n_containers; i++)
		if (d.containers[i]->role != ROLE_CURRENT)
			fail_msg("%s is left: %s", d.containers[i]->name, describe());
	expect_agreement();
	run(OP_DEPLOY, body(7, 7));
	expect_whole();
	run(OP_DOWN, json_object());
	assert_int_equal(d.n_containers + d.n_nets + d.n_stacks, 0);
}

static void random_histories(void **state)
{
	static const History h = { 20, { .start_fails = 25, .probe_fails = 5, .exits = 40 }, first_deploy, random_step, comes_to_order };
	run_histories(&h);
}

int main(void)
{
#define DEPLOY_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		DEPLOY_TEST(first_deploy_is_release_1),
		DEPLOY_TEST(dependencies_first_and_stop_first_where_it_must_be),
		DEPLOY_TEST(unchanged_services_are_left_alone),
		DEPLOY_TEST(services_come_go_and_change_their_number),
		DEPLOY_TEST(one_service_of_the_file),
		DEPLOY_TEST(rollback_brings_a_whole_release_back),
		DEPLOY_TEST(numbers_that_do_not_exist),
		DEPLOY_TEST(plan_changes_nothing),
		DEPLOY_TEST(a_plan_knows_images_that_are_coming),
		DEPLOY_TEST(more_memory_than_there_is_is_refused),
		DEPLOY_TEST(a_removal_that_fails),
		DEPLOY_TEST(a_start_that_fails),
		DEPLOY_TEST(never_healthy_is_put_back),
		DEPLOY_TEST(one_that_ends_in_its_bake_is_put_back),
		DEPLOY_TEST(one_that_ends_before_it_has_settled_gets_no_request),
		DEPLOY_TEST(unhealthy_for_good),
		DEPLOY_TEST(the_client_calls_it_off),
		DEPLOY_TEST(down_calls_it_off),
		DEPLOY_TEST(a_second_one_waits_or_is_refused),
		DEPLOY_TEST(an_up_that_changes_a_route_is_a_deploy),
		DEPLOY_TEST(hooks_run_before_and_after),
		DEPLOY_TEST(files_are_the_release_s),
		DEPLOY_TEST(releases_are_bounded_and_their_images_kept),
		DEPLOY_TEST(death_of_the_daemon),
		DEPLOY_TEST(death_of_the_machine),
		DEPLOY_TEST(death_in_a_first_deploy),
		DEPLOY_TEST(dies_while_it_puts_back),
		DEPLOY_TEST(random_histories),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
