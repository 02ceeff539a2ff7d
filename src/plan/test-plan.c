// SPDX-License-Identifier: Apache-2.0
/*
 * Each test sets up a small stack, says what is observed and asked, and compares the steps as text:
 * "start web-1", "stop db-1", "fail web-1 db-1" (the second name is the culprit).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "plan/plan.h"

static Depends web_needs[] = { { .service = (char *) "db", .condition = DEPENDS_HEALTHY, .required = true },
	{ .service = (char *) "job", .condition = DEPENDS_COMPLETED, .required = true } };
static Depends job_needs[] = { { .service = (char *) "db", .condition = DEPENDS_STARTED, .required = true } };
static Service services[] = {
	{ .name = (char *) "db", .replicas = 1 },
	{ .name = (char *) "job", .replicas = 1, .depends = job_needs, .n_depends = 1 },
	{ .name = (char *) "web", .replicas = 2, .depends = web_needs, .n_depends = 2 },
};
static Stack stack = { .name = (char *) "t", .services = services, .n_services = ARRAY_SIZE(services) };

static char *ask(const PlanInput *given)
{
	static const char *const names[] = { "create", "start", "stop", "remove", "fail", "warn" };
	PlanInput in = *given;
	in.stack = &stack;
	PlanStep *steps;
	size_t n;
	plan_next(&in, &steps, &n);
	Buf b = BUF_INIT;
	for (size_t i = 0; i < n; i++) {
		const char *service = steps[i].slot ? in.missing[steps[i].index].service : in.containers[steps[i].index].service;
		int number = steps[i].slot ? in.missing[steps[i].index].number : in.containers[steps[i].index].number;
		buf_printf(&b, "%s%s %s-%d", i ? ", " : "", names[steps[i].act], service, number);
		if (steps[i].act == PLAN_FAIL || steps[i].act == PLAN_WARN)
			buf_printf(&b, " %s-%d", in.containers[steps[i].culprit].service, in.containers[steps[i].culprit].number);
	}
	free(steps);
	return buf_steal(&b);
}

#define EXPECT(text, ...)                                                                                    \
	do {                                                                                                 \
		PlanContainer cs[] = { __VA_ARGS__ };                                                        \
		PlanInput in = { .containers = cs, .n_containers = ARRAY_SIZE(cs) };                         \
		AUTO_FREE char *got = ask(&in);                                                              \
		assert_string_equal(got, text);                                                              \
	} while (0)

#define DB(...) { .service = "db", .number = 1, __VA_ARGS__ }
#define JOB(...) { .service = "job", .number = 1, __VA_ARGS__ }
#define WEB(n, ...) { .service = "web", .number = n, __VA_ARGS__ }

static void starts_in_order(void **state)
{
	EXPECT("start db-1", DB(.start = true), JOB(.start = true), WEB(1, .start = true));
	EXPECT("", DB(.start = true, .busy = true), JOB(.start = true), WEB(1, .start = true));
	EXPECT("start job-1", DB(.phase = PLAN_RUNNING, .health = PLAN_STARTING), JOB(.start = true), WEB(1, .start = true));
	EXPECT("", DB(.phase = PLAN_RUNNING, .health = PLAN_STARTING), JOB(.phase = PLAN_EXITED), WEB(1, .start = true));
	EXPECT("", DB(.phase = PLAN_RUNNING, .health = PLAN_HEALTHY), JOB(.phase = PLAN_RUNNING), WEB(1, .start = true));
	EXPECT("start web-1, start web-2", DB(.phase = PLAN_RUNNING, .health = PLAN_HEALTHY), JOB(.phase = PLAN_EXITED),
		WEB(1, .start = true), WEB(2, .start = true));
}

static void impossible_conditions_fail(void **state)
{
	EXPECT("fail web-1 db-1", DB(.phase = PLAN_RUNNING, .health = PLAN_UNHEALTHY), JOB(.phase = PLAN_EXITED), WEB(1, .start = true));
	EXPECT("fail web-1 db-1", DB(.phase = PLAN_EXITED, .exit_code = 1), JOB(.phase = PLAN_EXITED), WEB(1, .start = true));
	EXPECT("fail web-1 db-1", DB(.phase = PLAN_RUNNING, .health = PLAN_NO_CHECK), JOB(.phase = PLAN_EXITED), WEB(1, .start = true));
	EXPECT("fail web-1 job-1", DB(.phase = PLAN_RUNNING, .health = PLAN_HEALTHY), JOB(.phase = PLAN_EXITED, .exit_code = 2),
		WEB(1, .start = true));
	EXPECT("", DB(.phase = PLAN_EXITED, .exit_code = 1, .restarting = true), JOB(.phase = PLAN_EXITED), WEB(1, .start = true));
}

static void optional_and_restored_only_warn(void **state)
{
	PlanContainer cs[] = { DB(.phase = PLAN_EXITED, .exit_code = 1), JOB(.phase = PLAN_EXITED), WEB(1, .start = true) };
	PlanInput in = { .containers = cs, .n_containers = ARRAY_SIZE(cs), .restore = true };
	AUTO_FREE char *restored = ask(&in);
	assert_string_equal(restored, "warn web-1 db-1, start web-1");
	in.restore = false;
	web_needs[0].required = false;
	AUTO_FREE char *optional = ask(&in);
	web_needs[0].required = true;
	assert_string_equal(optional, "warn web-1 db-1, start web-1");
	in.no_deps = true;
	AUTO_FREE char *alone = ask(&in);
	assert_string_equal(alone, "start web-1");
}

static void stops_in_reverse(void **state)
{
	EXPECT("stop web-1, stop web-2", DB(.phase = PLAN_RUNNING, .stop = true), JOB(.phase = PLAN_RUNNING, .stop = true),
		WEB(1, .phase = PLAN_RUNNING, .stop = true), WEB(2, .phase = PLAN_RUNNING, .stop = true));
	EXPECT("", DB(.phase = PLAN_RUNNING, .stop = true), WEB(1, .phase = PLAN_RUNNING, .stop = true, .busy = true));
	EXPECT("stop db-1, remove web-1", DB(.phase = PLAN_RUNNING, .remove = true), WEB(1, .phase = PLAN_EXITED, .remove = true));
	/* What is not asked to stop holds nothing up: `stead stop db` leaves web running. */
	EXPECT("stop db-1", DB(.phase = PLAN_RUNNING, .stop = true), WEB(1, .phase = PLAN_RUNNING));
	EXPECT("stop db-1", DB(.phase = PLAN_EXITED, .stop = true), WEB(1, .phase = PLAN_RUNNING, .stop = true, .busy = true));
	/* A restart waiting for its back-off is called off. */
	EXPECT("stop db-1", DB(.phase = PLAN_EXITED, .restarting = true, .stop = true));
}

static void restarts_through_both_orders(void **state)
{
	EXPECT("stop web-1", DB(.phase = PLAN_RUNNING, .health = PLAN_HEALTHY, .stop = true, .start = true),
		WEB(1, .phase = PLAN_RUNNING, .stop = true, .start = true));
	EXPECT("stop db-1", DB(.phase = PLAN_RUNNING, .health = PLAN_HEALTHY, .stop = true, .start = true), JOB(.phase = PLAN_EXITED),
		WEB(1, .phase = PLAN_EXITED, .start = true));
	EXPECT("start db-1", DB(.phase = PLAN_EXITED, .start = true), JOB(.phase = PLAN_EXITED), WEB(1, .phase = PLAN_EXITED, .start = true));
}

static void restarts_when_it_could_start_again(void **state)
{
	/* db is made anew, or is not healthy yet. */
	EXPECT("stop db-1", DB(.phase = PLAN_RUNNING, .remove = true, .replace = true), JOB(.phase = PLAN_EXITED),
		WEB(1, .phase = PLAN_RUNNING, .stop = true, .start = true));
	EXPECT("", DB(.phase = PLAN_RUNNING, .health = PLAN_STARTING), JOB(.phase = PLAN_EXITED),
		WEB(1, .phase = PLAN_RUNNING, .stop = true, .start = true));
	EXPECT("stop web-1", DB(.phase = PLAN_RUNNING, .health = PLAN_HEALTHY), JOB(.phase = PLAN_EXITED),
		WEB(1, .phase = PLAN_RUNNING, .stop = true, .start = true));
	EXPECT("fail web-1 db-1", DB(.phase = PLAN_RUNNING, .health = PLAN_UNHEALTHY), JOB(.phase = PLAN_EXITED),
		WEB(1, .phase = PLAN_RUNNING, .stop = true, .start = true));
	/* What only stops does not look at that. */
	EXPECT("stop web-1", DB(.phase = PLAN_RUNNING, .health = PLAN_UNHEALTHY), JOB(.phase = PLAN_EXITED),
		WEB(1, .phase = PLAN_RUNNING, .stop = true));
	/* Nor what has to be out of the way first. */
	EXPECT("stop web-1", DB(.phase = PLAN_RUNNING, .remove = true), JOB(.phase = PLAN_EXITED),
		WEB(1, .phase = PLAN_RUNNING, .stop = true, .start = true));
}

static void replaces_when_the_successor_could_start(void **state)
{
	PlanContainer cs[] = { DB(.phase = PLAN_RUNNING, .health = PLAN_STARTING), JOB(.phase = PLAN_EXITED),
		WEB(1, .phase = PLAN_RUNNING, .remove = true, .replace = true) };
	PlanSlot missing[] = { { .service = "web", .number = 1, .start = true }, { .service = "web", .number = 2, .start = true } };
	PlanInput in = { .containers = cs, .n_containers = ARRAY_SIZE(cs), .missing = missing, .n_missing = ARRAY_SIZE(missing) };
	AUTO_FREE char *waiting = ask(&in);
	assert_string_equal(waiting, "create web-2");
	cs[0].health = PLAN_HEALTHY;
	AUTO_FREE char *ready = ask(&in);
	assert_string_equal(ready, "stop web-1, create web-2");
	cs[2].phase = PLAN_EXITED;
	AUTO_FREE char *stopped = ask(&in);
	assert_string_equal(stopped, "remove web-1, create web-2");
	in.n_containers = 2;
	AUTO_FREE char *gone = ask(&in);
	assert_string_equal(gone, "create web-1, create web-2");
}

static void waits_for_a_dependency_that_is_still_to_be_made(void **state)
{
	PlanContainer cs[] = { JOB(.start = true) };
	PlanSlot missing[] = { { .service = "db", .number = 1, .busy = true } };
	PlanInput in = { .containers = cs, .n_containers = 1, .missing = missing, .n_missing = 1 };
	AUTO_FREE char *got = ask(&in);
	assert_string_equal(got, "");
}

static void what_is_aside_counts_for_nobody(void **state)
{
	/* An old db that has stopped, beside the new one that serves; one that is only brought up. */
	EXPECT("start web-1", DB(.phase = PLAN_EXITED, .exit_code = 1, .aside = true), DB(.phase = PLAN_RUNNING, .health = PLAN_HEALTHY),
		JOB(.phase = PLAN_EXITED), WEB(1, .start = true));
	EXPECT("", DB(.phase = PLAN_RUNNING, .health = PLAN_STARTING, .aside = true), DB(.phase = PLAN_RUNNING, .health = PLAN_STARTING),
		JOB(.phase = PLAN_EXITED), WEB(1, .start = true));
	/* Each generation has its own dependencies. */
	static const Service alone = { .name = (char *) "web" };
	EXPECT("start web-1", DB(.phase = PLAN_EXITED, .exit_code = 1), WEB(1, .start = true, .aside = true, .svc = &alone));
	EXPECT("stop db-1, stop web-1", DB(.phase = PLAN_RUNNING, .stop = true), WEB(1, .phase = PLAN_RUNNING, .stop = true, .svc = &alone));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(starts_in_order),
		cmocka_unit_test(impossible_conditions_fail),
		cmocka_unit_test(optional_and_restored_only_warn),
		cmocka_unit_test(stops_in_reverse),
		cmocka_unit_test(restarts_through_both_orders),
		cmocka_unit_test(restarts_when_it_could_start_again),
		cmocka_unit_test(replaces_when_the_successor_could_start),
		cmocka_unit_test(waits_for_a_dependency_that_is_still_to_be_made),
		cmocka_unit_test(what_is_aside_counts_for_nobody),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
