// SPDX-License-Identifier: Apache-2.0
/*
 * The commands about releases and routes against a daemon that answers by a table: what they ask for, what they
 * print, and their exit codes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/commands.h"
#include "cli/run-cli.h"

#define DEPLOY "POST /stead/v1/stacks/blog/deploy"
#define ROLLBACK "POST /stead/v1/stacks/blog/rollback"
#define RELEASES "GET /stead/v1/stacks/blog/releases"
#define STEP(step, status, more) \
	"{\"kind\":\"deploy\",\"release\":7,\"service\":\"web\",\"step\":\"" step "\",\"status\":\"" status "\"" more "}\n"
#define RELEASE(result, more) \
	"{\"number\":7,\"kind\":\"deploy\",\"created\":\"2026-01-02T03:04:05Z\",\"seconds\":3.2,\"who\":\"ada@box\",\"result\":\"" result \
	"\",\"base\":6,\"current\":true,\"changes\":[{\"service\":\"web\",\"what\":\"image\",\"names\":[\"app:1\",\"app:2\"]}," \
	"{\"service\":\"web\",\"what\":\"environment\",\"names\":[\"A\"]}]" more "}"
#define REPORT \
	",\"report\":{\"step\":\"smoke\",\"service\":\"web\",\"container\":\"blog-web-2\",\"exit_code\":3,\"memory_peak\":1048576," \
	"\"logs\":[\"cannot open\\u001b[2J\"],\"text\":\"web: the smoke test GET /up answered 500\"}"

static int project(void **state)
{
	(void) unsetenv("STEAD_AUTHOR");
	(void) setenv("STEAD_COMMIT", "abc123", 1);
	write_file("compose.yaml", "name: blog\nservices:\n  web: {image: app, x-stead: {route: app.test}}\n  db: {image: db}\n");
	return 0;
}

static void deploy(void **state)
{
	const FakeRule rules[] = {
		{ .request = DEPLOY, .close = true, .raw = STREAM STEP("start", "begin", "") STEP("start", "done", ",\"seconds\":0.12")
			STEP("smoke", "done", ",\"seconds\":0.01,\"detail\":\"GET /up: 200\"") "{\"warning\":\"it is late\"}\n"
			"{\"result\":\"done\",\"release\":7,\"seconds\":3.21}\n" },
		{ .request = RELEASES "/7", .status = 200, .body = RELEASE("success", "") },
		{ NULL },
	};
	Outcome o = run(rules, "deploy", "-t", "3", "web");
	expect(&o, EXIT_DONE, "release 7: web image app:2, environment A in 3.2 s\n",
		"web  starting\nweb  started  0.12s\nweb  smoke test passed  0.01s  GET /up: 200\nwarning: it is late\n");
	assert_non_null(strstr(o.requests, "\"services\":[\"web\"]"));
	assert_non_null(strstr(o.requests, "\"timeout\":3"));
	assert_non_null(strstr(o.requests, "\"commit\":\"abc123\""));
	assert_non_null(strstr(o.requests, "\"who\":\""));
	assert_non_null(strstr(o.requests, "\"x-stead\":{\"routes\":[{\"host\":\"app.test\""));
	assert_non_null(strstr(o.requests, "\"plan\":false"));
	done(&o);
	o = run(rules, "--json", "deploy");
	expect(&o, EXIT_DONE, "{\"result\":\"done\",\"release\":7,\"seconds\":3.21}\n", "");
	expect(&o, EXIT_DONE, "\"step\":\"smoke\"", "");
	assert_null(strstr(o.requests, "\"services\":["));
	assert_null(strstr(o.out, "release 7:"));
	done(&o);
	o = run(rules, "--progress", "quiet", "deploy");
	expect(&o, EXIT_DONE, "release 7: ", "");
	assert_null(strstr(o.err, "starting"));
	done(&o);
}

static void deploy_of_what_has_not_changed(void **state)
{
	const FakeRule rules[] = { { .request = DEPLOY, .close = true, .raw = STREAM "{\"result\":\"unchanged\",\"release\":6}\n" }, { NULL } };
	Outcome o = run(rules, "deploy");
	expect(&o, EXIT_DONE, "release 6: nothing has changed\n", "");
	done(&o);
}

static void plan(void **state)
{
	const FakeRule rules[] = {
		{ .request = DEPLOY, .close = true, .raw = STREAM "{\"plan\":{\"service\":\"web\",\"step\":\"start\",\"detail\":\"blog-web-2\"}}\n"
			"{\"plan\":{\"service\":\"web\",\"step\":\"switch\"}}\n{\"result\":\"done\"}\n" },
		{ NULL },
	};
	const FakeRule settings[] = { { .request = DEPLOY, .close = true, .raw = STREAM "{\"result\":\"done\"}\n" }, { NULL } };
	const FakeRule same[] = { { .request = DEPLOY, .close = true, .raw = STREAM "{\"result\":\"unchanged\",\"release\":6}\n" }, { NULL } };
	Outcome o = run(rules, "deploy", "--plan");
	expect(&o, EXIT_DONE, "SERVICE   STEP      DETAIL\nweb       start     blog-web-2\nweb       switch    \n", "");
	assert_non_null(strstr(o.requests, "\"plan\":true"));
	assert_null(strstr(o.requests, RELEASES));
	done(&o);
	const FakeRule lacking[] = { { .request = "GET /images/app/json", .status = 404, .body = "{\"message\":\"no such image\"}" }, { NULL } };
	o = run(lacking, "deploy", "--plan");
	expect(&o, EXIT_DONE, "SERVICE   STEP      DETAIL\ndb        pull      pull db\nweb       pull      pull app\n\nWhat follows depends on images that are not there yet", "");
	assert_null(strstr(o.requests, DEPLOY));
	done(&o);
	o = run(lacking, "--json", "deploy", "--plan");
	expect(&o, EXIT_DONE, "{\"result\":\"incomplete\"}\n", "");
	done(&o);
	o = run(same, "deploy", "--plan");
	expect(&o, EXIT_DONE, "nothing has changed: 'stead deploy' would do nothing\n", "");
	done(&o);
	o = run(settings, "deploy", "--plan");
	expect(&o, EXIT_DONE, "would replace no container", "");
	done(&o);
}

static void deploy_that_fails(void **state)
{
	const FakeRule rules[] = {
		{ .request = DEPLOY, .close = true, .raw = STREAM STEP("smoke", "failed", ",\"detail\":\"GET /up answered 500\"")
			"{\"error\":\"web: the smoke test GET /up answered 500\",\"code\":1,\"service\":\"web\"}\n" },
		{ .request = RELEASES "/7", .status = 200, .body = RELEASE("failed", REPORT) },
		{ NULL },
	};
	Outcome o = run(rules, "deploy");
	expect(&o, EXIT_FAILED, "", "web  smoke failed  GET /up answered 500\n"
		"stead: release 7 failed: web: the smoke test GET /up answered 500\n"
		"container blog-web-2, exit code 3, memory at most 1.05MB\n"
		"Its log:\n  cannot open?[2J\n"
		"Release 6 serves on.\n'stead releases 7' says more.\n");
	done(&o);
	o = run(rules, "--json", "deploy");
	expect(&o, EXIT_FAILED, "\"error\":\"web: the smoke test", "release 7 failed");
	done(&o);
	/* The daemon has gone before it could be asked: what the stream said is all there is. */
	const FakeRule alone[] = { rules[0], { NULL } };
	o = run(alone, "deploy");
	expect(&o, EXIT_FAILED, "", "stead: web: the smoke test GET /up answered 500\n");
	done(&o);
}

static void deploy_that_is_refused(void **state)
{
	static const struct {
		FakeRule rule;
		int code;
		const char *says;
	} cases[] = {
		{ { .request = DEPLOY, .close = true, .raw = STREAM "{\"error\":\"nobody listens on port 81\",\"code\":2,"
			"\"path\":\"services.web.x-stead.routes[0].port\"}\n" }, EXIT_USAGE,
			"stead: compose.yaml:3: services.web.x-stead.routes[0].port: nobody listens on port 81\n" },
		{ { .request = DEPLOY, .close = true, .raw = STREAM "{\"error\":\"release 7 is being deployed by eve@box\",\"code\":2}\n" }, EXIT_USAGE,
			"stead: release 7 is being deployed by eve@box\n" },
		{ { .request = DEPLOY, .status = 409, .body = "{\"message\":\"release 7 is being deployed by eve@box\"}" }, EXIT_USAGE,
			"release 7 is being deployed by eve@box" },
		{ { .request = DEPLOY, .status = 500, .body = "{\"message\":\"the disk is full\"}" }, EXIT_FAILED, "the disk is full" },
		{ { .request = DEPLOY, .close = true, .raw = STREAM STEP("start", "begin", "") }, EXIT_FAILED, "or is put back when the daemon starts.\n'stead releases 7' shows" },
		{ { .request = DEPLOY, .close = true, .raw = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" STEP("start", "begin", "") }, EXIT_FAILED,
			"was lost before its answer was complete; see 'journalctl -u stead' for why\nWhat was there serves on" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const FakeRule rules[] = { cases[i].rule, { NULL } };
		Outcome o = run(rules, "deploy", "--no-wait");
		expect(&o, cases[i].code, "", cases[i].says);
		assert_non_null(strstr(o.requests, "\"no_wait\":true"));
		done(&o);
	}
	Outcome o = run(NULL, "deploy", "wbe");
	expect(&o, EXIT_USAGE, "", "did you mean 'web'?");
	done(&o);
	o = run(NULL, "deploy");
	expect(&o, EXIT_USAGE, "", cli_socket_path);
	done(&o);
}

static void deploy_that_is_called_off(void **state)
{
	const FakeRule rules[] = {
		{ .request = DEPLOY, .raw = STREAM STEP("start", "begin", ""), .signal = SIGINT, .hang = true },
		{ .request = RELEASES "/7", .status = 200, .body = RELEASE("running", ""), .times = 2 },
		{ .request = RELEASES "/7", .status = 200, .body = RELEASE("interrupted", ",\"report\":{\"text\":\"release 7 was called off; release 6 serves on\"}") },
		{ NULL },
	};
	Outcome o = run(rules, "deploy");
	expect(&o, 130, "", "stead: calling release 7 off; what was there is put back (Ctrl-C again: do not wait for it)\n"
			    "stead: release 7 was called off; release 6 serves on\n'stead releases 7' says more.\n");
	done(&o);
	/* It had come to its end already. */
	const FakeRule late[] = { rules[0], { .request = RELEASES "/7", .status = 200, .body = RELEASE("success", "") }, { NULL } };
	o = run(late, "deploy");
	expect(&o, EXIT_DONE, "release 7: it was done before it could be called off", "calling release 7 off");
	done(&o);
	/* A second interrupt leaves. */
	const FakeRule twice[] = { rules[0], { .request = RELEASES "/7", .status = 200, .body = RELEASE("running", ""), .signal = SIGINT }, { NULL } };
	o = run(twice, "deploy");
	expect(&o, 130, "", "no longer waiting; the daemon goes on putting it back");
	done(&o);
	/* Nothing had begun: it waited for another one. */
	const FakeRule queued[] = { { .request = DEPLOY, .raw = STREAM, .signal = SIGINT, .hang = true }, { NULL } };
	o = run(queued, "deploy");
	expect(&o, 130, "", "called off before it had begun");
	assert_null(strstr(o.requests, "GET /stead/"));
	done(&o);
	/* The daemon cannot be asked. */
	const FakeRule gone[] = { rules[0], { NULL } };
	o = run(gone, "deploy");
	expect(&o, 130, "", "The daemon puts it back in any case");
	done(&o);
}

static void rollback(void **state)
{
	const FakeRule rules[] = {
		{ .request = ROLLBACK, .close = true, .raw = STREAM STEP("start", "done", ",\"seconds\":0.1") "{\"result\":\"done\",\"release\":7,\"seconds\":0.84}\n" },
		{ .request = RELEASES "/7", .status = 200, .body = RELEASE("success", ",\"source\":5") },
		{ NULL },
	};
	Outcome o = run(rules, "rollback", "--to", "5", "--no-wait");
	expect(&o, EXIT_DONE, "release 7: back to release 5 in 0.8 s\n", "web  started  0.10s\n");
	assert_non_null(strstr(o.requests, "\"to\":5"));
	assert_non_null(strstr(o.requests, "\"who\":"));
	assert_null(strstr(o.requests, "\"model\""));
	done(&o);
	o = run(rules, "-p", "blog", "rollback");
	assert_null(strstr(o.requests, "\"to\""));
	done(&o);
	const FakeRule none[] = { { .request = ROLLBACK, .status = 404, .body = "{\"message\":\"stack 'blog' has no release 99\"}" }, { NULL } };
	o = run(none, "rollback", "--to", "99");
	expect(&o, EXIT_USAGE, "", "has no release 99");
	done(&o);
	o = run(NULL, "rollback", "--to", "0");
	expect(&o, EXIT_USAGE, "", "count from 1");
	done(&o);
}

static void releases(void **state)
{
	const FakeRule rules[] = {
		{ .request = RELEASES "/7", .status = 200, .body = RELEASE("failed", REPORT) },
		{ .request = RELEASES "/99", .status = 404, .body = "{\"message\":\"stack 'blog' has no release 99\"}" },
		{ .request = RELEASES, .status = 200, .body = "[" RELEASE("success", "") ",{\"number\":8,\"kind\":\"rollback\",\"created\":\"2026-01-02T03:04:05Z\","
			"\"seconds\":130,\"who\":\"b\\u001b@h\",\"result\":\"running\",\"source\":6,\"changes\":[]}]" },
		{ NULL },
	};
	Outcome o = run(rules, "releases");
	expect(&o, EXIT_DONE, "NUMBER    AGE", NULL);
	expect(&o, EXIT_DONE, "ada@box   web image app:2, environment A   success   3.2 s\n", NULL);
	expect(&o, EXIT_DONE, "b?@h      back to 6                        running   \n", NULL);
	expect(&o, EXIT_DONE, "\n7 *       ", NULL);
	done(&o);
	o = run(rules, "releases", "web", "-q");
	expect(&o, EXIT_DONE, "7\n8\n", "");
	assert_non_null(strstr(o.requests, "releases?service=web "));
	done(&o);
	o = run(rules, "releases", "--json");
	expect(&o, EXIT_DONE, "\"number\":8", "");
	done(&o);
	o = run(rules, "releases", "7");
	expect(&o, EXIT_DONE, "Release 7 of blog: failed, current\ndeploy by ada@box, 2026-01-02T03:04:05Z", "");
	expect(&o, EXIT_DONE, "container blog-web-2, exit code 3, memory at most 1.05MB\nIts log:\n  cannot open?[2J\n", "");
	done(&o);
	o = run(rules, "releases", "7", "--json");
	expect(&o, EXIT_DONE, "\"memory_peak\":1048576", "");
	done(&o);
	o = run(rules, "releases", "99");
	expect(&o, EXIT_FAILED, "", "has no release 99");
	done(&o);
	const FakeRule empty[] = {
		{ .request = RELEASES "?service=", .status = 200, .body = "[]" },
		{ .request = "GET /stead/v1/stacks/blog", .status = 200, .body = "{\"model\":{\"services\":{\"db\":{},\"web\":{}}}}" },
		{ NULL },
	};
	o = run(empty, "releases", "wbe");
	expect(&o, EXIT_FAILED, "", "has no service 'wbe', and none of its releases had; did you mean 'web'?");
	done(&o);
	o = run(empty, "releases", "web");
	expect(&o, EXIT_DONE, "NUMBER", "");
	done(&o);
	o = run(rules, "__complete", "release");
	expect(&o, EXIT_DONE, "7\n8\n", "");
	done(&o);
}

static void routes(void **state)
{
	const FakeRule rules[] = {
		{ .request = "GET /stead/v1/routes", .status = 200, .body =
			"[{\"host\":\"app.test\",\"path\":\"/\",\"stack\":\"blog\",\"service\":\"web\",\"port\":80,\"replicas\":[{\"state\":\"up\"},"
			"{\"state\":\"draining\"},{\"state\":\"up\"}],\"maintenance\":false,\"tls\":\"acme\",\"certificate\":{\"not_after\":\"2027-01-02T03:04:05Z\","
			"\"issuer\":\"x\"},\"requests\":12,\"errors\":1,\"p50\":0.0012,\"p99\":1.5},"
			"{\"host\":\"app.test\",\"path\":\"/api\",\"stack\":\"blog\",\"service\":\"api\",\"port\":81,\"replicas\":[],\"maintenance\":true,"
			"\"tls\":\"acme\",\"certificate\":{\"error\":\"port 80 cannot be reached\"},\"requests\":0,\"errors\":0,\"p50\":0,\"p99\":0},"
			"{\"host\":null,\"path\":\"/\",\"stack\":\"other\",\"service\":\"x\",\"port\":1,\"replicas\":[],\"tls\":\"off\",\"requests\":5,\"errors\":0,\"p50\":0,\"p99\":0.5}]" },
		{ NULL },
	};
	Outcome o = run(rules, "routes");
	expect(&o, EXIT_DONE, "app.test   /         blog/web:80   2 up, 1 draining     acme      2027-01-02   12         1         1.2ms     1.50s\n", NULL);
	expect(&o, EXIT_DONE, "app.test   /api      blog/api:81   none (maintenance)   acme      error        0          0         -         -\n",
		"certificate of app.test: port 80 cannot be reached\n");
	assert_null(strstr(o.out, "other"));
	done(&o);
	o = run(rules, "routes", "-A");
	expect(&o, EXIT_DONE, "*          /         other/x:1", NULL);
	expect(&o, EXIT_DONE, "5          0         <1ms      500.0ms\n", NULL);
	done(&o);
	o = run(rules, "routes", "--json", "-p", "other");
	expect(&o, EXIT_DONE, "\"service\":\"x\"", "");
	assert_null(strstr(o.out, "blog"));
	done(&o);
}

static void maintenance_and_cache(void **state)
{
	const FakeRule rules[] = {
		{ .request = "POST /stead/v1/stacks/blog/maintenance", .status = 200, .body = "{}" },
		{ .request = "POST /stead/v1/stacks/blog/cache/purge", .status = 200, .body = "{}" },
		{ NULL },
	};
	Outcome o = run(rules, "maintenance", "on", "web", "db");
	expect(&o, EXIT_DONE, "", "");
	assert_string_equal(o.requests, "POST /stead/v1/stacks/blog/maintenance {\"on\":true,\"services\":[\"web\",\"db\"]}\n");
	done(&o);
	o = run(rules, "maintenance", "off");
	assert_string_equal(o.requests, "POST /stead/v1/stacks/blog/maintenance {\"on\":false}\n");
	done(&o);
	o = run(rules, "maintenance", "maybe");
	expect(&o, EXIT_USAGE, "", "'maybe' is neither on nor off");
	done(&o);
	o = run(rules, "cache", "purge", "web");
	assert_string_equal(o.requests, "POST /stead/v1/stacks/blog/cache/purge {\"services\":[\"web\"]}\n");
	done(&o);
	o = run(rules, "cache");
	expect(&o, EXIT_USAGE, "", "cache purge");
	done(&o);
	const FakeRule none[] = { { .request = "POST ", .status = 404, .body = "{\"message\":\"there is no service 'wbe'\"}" }, { NULL } };
	o = run(none, "maintenance", "on", "wbe");
	expect(&o, EXIT_FAILED, "", "there is no service 'wbe'");
	done(&o);
	o = run(none, "cache", "purge", "wbe");
	expect(&o, EXIT_FAILED, "", "there is no service 'wbe'");
	done(&o);
}

#define TEST(name) cmocka_unit_test_setup(name, project)

int main(void)
{
	const struct CMUnitTest tests[] = { TEST(deploy), TEST(deploy_of_what_has_not_changed), TEST(plan), TEST(deploy_that_fails),
		TEST(deploy_that_is_refused), TEST(deploy_that_is_called_off), TEST(rollback), TEST(releases), TEST(routes),
		TEST(maintenance_and_cache) };
	return cmocka_run_group_tests(tests, cli_setup, cli_teardown);
}
