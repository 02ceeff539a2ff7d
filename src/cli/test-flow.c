// SPDX-License-Identifier: Apache-2.0
/*
 * Whole commands against a daemon that answers by a table: what they ask for, what they print, and their
 * exit codes, above all where the daemon is not there, says no, or talks nonsense.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/commands.h"
#include "cli/run-cli.h"

#define LABELS(service, number) \
	"\"Labels\":{\"com.docker.compose.project\":\"blog\",\"com.docker.compose.service\":\"" service \
	"\",\"com.docker.compose.container-number\":\"" number "\"}"
#define WEB \
	"{\"Id\":\"1111111111111111\",\"Names\":[\"/blog-web-1\"],\"Image\":\"nginx\",\"Command\":\"/docker-entrypoint.sh nginx\"," \
	"\"State\":\"running\",\"Status\":\"Up 2 hours (healthy)\",\"Created\":1,\"Ports\":[{\"IP\":\"0.0.0.0\",\"PrivatePort\":80," \
	"\"PublicPort\":8080,\"Type\":\"tcp\"}]," LABELS("web", "1") "}"
#define DB \
	"{\"Id\":\"2222222222222222\",\"Names\":[\"/blog-db-1\"],\"Image\":\"db\\u001b[2J\",\"Command\":\"x\",\"State\":\"exited\"," \
	"\"Status\":\"Exited (3) 2 minutes ago\",\"Created\":1,\"Ports\":[]," LABELS("db", "1") "}"
#define LIST "[" WEB "," DB "]"

static void no_daemon(void **state)
{
	Outcome o = run(NULL, "-p", "blog", "ps");
	expect(&o, EXIT_USAGE, "", cli_socket_path);
	done(&o);
	o = run(NULL, "-p", "blog", "up", "-d");
	done(&o);
}

static void hosts(void **state)
{
	static const struct {
		const char *host, *says;
	} bad[] = { { "ssh://-box", "begins with '-'" }, { "tcp://1.2.3.4:5", "unix:///PATH" }, { "unix://relative", "must begin with /" } };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		Outcome o = run(NULL, "-p", "blog", "-H", bad[i].host, "ps");
		expect(&o, EXIT_USAGE, "", bad[i].says);
		done(&o);
	}
}

static void usage(void **state)
{
	static const struct {
		const char *words[5], *says;
	} bad[] = {
		{ { "no-such-command" }, "unknown command 'no-such-command'" },
		{ { "stpo" }, "did you mean 'stop'?" },
		{ { "exec" }, "needs SERVICE|CONTAINER COMMAND" },
		{ { "exec", "web" }, "needs SERVICE|CONTAINER COMMAND" },
		{ { "ls", "x" }, "takes no operands" },
		{ { "images", "a", "b" }, "'b' is too much" },
		{ { "exec", "--json", "a", "b" }, "has no --json" },
		{ { "ps", "--format", "{{.Name}}" }, "Go templates" },
		{ { "image" }, "image bootstrap" },
		{ { "logs", "--since", "soon" }, "'soon' is no moment" },
		{ { "logs", "-n", "few" }, "neither a number nor 'all'" },
		{ { "up", "--force-recreate", "--no-recreate" }, "contradict" },
		{ { "up", "--build", "--no-build" }, "contradict" },
		{ { "load", "-i", "not-there" }, "No such file" },
		{ { "rm" }, "add -f" },
		{ { "exec", "-e", "=x", "web", "true" }, "write KEY=VALUE" },
		{ { "exec", "--index=0", "web", "true" }, "counts from 1" },
	};
	const FakeRule rules[] = { { .request = "GET /containers/json", .status = 200, .body = LIST }, { NULL } };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const char *words[8] = { "-p", "blog" };
		for (size_t j = 0; j < ARRAY_SIZE(bad[i].words) && bad[i].words[j]; j++)
			words[j + 2] = bad[i].words[j];
		Outcome o = run_input(NULL, rules, words);
		expect(&o, EXIT_USAGE, "", bad[i].says);
		done(&o);
	}
	Outcome o = run(NULL, "ps", "\377");
	expect(&o, EXIT_USAGE, "", "not UTF-8");
	done(&o);
}

static void help(void **state)
{
	const Verb *v;
	Outcome o = run(NULL, "--help");
	expect(&o, EXIT_DONE, "  up ", NULL);
	done(&o);
	for (size_t i = 0; (v = verb_at(i)); i++) {
		if (v->command->flags & COMMAND_RAW)
			continue;
		const char *space = strchr(v->name, ' ');
		AUTO_FREE char *first = xstrndup(v->name, space ? (size_t) (space - v->name) : strlen(v->name));
		const char *words[] = { first, space ? space + 1 : "--help", space ? "--help" : NULL, NULL };
		AUTO_FREE char *head = xasprintf("Usage: stead %s", v->name);
		o = run_input(NULL, NULL, words);
		expect(&o, EXIT_DONE, head, NULL);
		done(&o);
	}
}

static void ps(void **state)
{
	const FakeRule rules[] = { { .request = "GET /containers/json", .status = 200, .body = LIST }, { NULL } };
	Outcome o = run(rules, "-p", "blog", "ps", "-a");
	expect(&o, EXIT_DONE, "NAME", NULL);
	expect(&o, EXIT_DONE, "\"/docker-entrypoint.…\"", NULL);
	expect(&o, EXIT_DONE, "Up 2 hours (healthy)       0.0.0.0:8080->80/tcp\n", NULL);
	expect(&o, EXIT_DONE, "db?[2J", NULL);
	assert_true(strstr(o.out, "blog-db-1") < strstr(o.out, "blog-web-1"));
	assert_non_null(strstr(o.requests, "GET /containers/json?all=1&filters=%7B%22label%22%3A%5B%22com.docker.compose.project%3Dblog%22%5D%7D"));
	done(&o);
	o = run(rules, "ps", "-p", "blog", "-q", "web");
	expect(&o, EXIT_DONE, "1111111111111111\n", NULL);
	assert_null(strstr(o.out, "2222"));
	done(&o);
	o = run(rules, "-p", "blog", "ps", "db");
	assert_null(strstr(o.out, "blog-db-1")); /* it has ended, which is no error */
	expect(&o, EXIT_DONE, "NAME", NULL);
	done(&o);
	o = run(rules, "-p", "blog", "ps", "-a", "--json", "db");
	expect(&o, EXIT_DONE, "\"ExitCode\":3", NULL);
	done(&o);
	o = run(rules, "-p", "blog", "ps", "nope");
	expect(&o, EXIT_FAILED, "", "'nope' is neither a service");
	done(&o);
}

static void nonsense(void **state)
{
	static const struct {
		FakeRule rule;
		const char *says;
	} cases[] = {
		{ { .request = "GET ", .status = 200, .body = "hello" }, NULL },
		{ { .request = "GET ", .status = 200, .body = "{}" }, "not a JSON array" },
		{ { .request = "GET ", .status = 500, .body = "{\"message\":\"the disk is full\"}" }, "the disk is full" },
		{ { .request = "GET ", .status = 503, .body = "<html>" }, "503" },
		{ { .request = "GET ", .raw = "SSH-2.0-OpenSSH_9.2\r\n", .close = true }, NULL },
		{ { .request = "GET ", .raw = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[", .close = true }, NULL },
		{ { .request = "GET ", .raw = "", .raw_len = 0, .close = true }, NULL },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const FakeRule rules[] = { cases[i].rule, { NULL } };
		Outcome o = run(rules, "-p", "blog", "ps");
		expect(&o, EXIT_FAILED, "", cases[i].says);
		assert_true(strlen(o.err) > 20);
		done(&o);
	}
}

static void down(void **state)
{
	const FakeRule rules[] = {
		{ .request = "POST /stead/v1/stacks/blog/down", .close = true, .raw = STREAM
			"{\"kind\":\"container\",\"name\":\"blog-web-1\",\"service\":\"web\",\"status\":\"removed\"}\n"
			"{\"warning\":\"a volume is in use\"}\n"
			"{\"result\":\"done\"}\n" },
		{ NULL },
	};
	Outcome o = run(rules, "-p", "blog", "down", "-v", "-t", "3");
	expect(&o, EXIT_DONE, "", "blog-web-1  removed\nwarning: a volume is in use\n");
	assert_non_null(strstr(o.requests, "\"volumes\":true"));
	assert_non_null(strstr(o.requests, "\"timeout\":3"));
	done(&o);
	o = run(rules, "-p", "blog", "--json", "down");
	expect(&o, EXIT_DONE, "{\"result\":\"done\"}\n", NULL);
	done(&o);
}

static void operations_that_fail(void **state)
{
	static const struct {
		const char *lines;
		int code;
		const char *says;
	} cases[] = {
		{ "{\"error\":\"it ended\",\"service\":\"web\",\"container\":\"blog-web-1\",\"exit_code\":3,\"logs\":[\"cannot open\\u001b[2J\"]}\n", EXIT_FAILED,
			"stead: service 'web': it ended\ncontainer blog-web-1, exit code 3, the last lines of its log:\n  web-1  | cannot open?[2J\n" },
		{ "{\"error\":\"refused\",\"code\":2}\n", EXIT_USAGE, "stead: refused\n" },
		{ "{\"kind\":\"container\",\"name\":\"blog-web-1\",\"status\":\"stopping\"}\n", EXIT_FAILED,
			"ended before the operation did; has the daemon been stopped?\nThe daemon takes the operation up again" },
		{ "{\"kind\":\"container\",\"na", EXIT_FAILED, "not a JSON object" },
		{ "hello\n", EXIT_FAILED, "not a JSON object" },
		{ "", EXIT_FAILED, "ended before the operation did" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_FREE char *raw = xasprintf(STREAM "%s", cases[i].lines);
		const FakeRule rules[] = { { .request = "POST /stead/v1/stacks/blog/stop", .close = true, .raw = raw }, { NULL } };
		Outcome o = run(rules, "-p", "blog", "stop");
		expect(&o, cases[i].code, "", cases[i].says);
		done(&o);
	}
}

static void up(void **state)
{
	static const char stream[] = STREAM "{\"kind\":\"container\",\"name\":\"blog-web-1\",\"service\":\"web\",\"status\":\"started\"}\n{\"result\":\"done\"}\n";
	const FakeRule rules[] = { { .request = "POST /stead/v1/stacks/blog/up", .close = true, .raw = stream }, { NULL } };
	write_file("compose.yaml", "name: blog\nservices:\n  web: {image: nginx, depends_on: [db]}\n  db: {image: db}\n");
	Outcome o = run(rules, "up", "-d", "--scale", "web=2", "web");
	expect(&o, EXIT_DONE, "", "blog-web-1  started\n");
	assert_non_null(strstr(o.requests, "\"scale\":{\"web\":2}"));
	assert_non_null(strstr(o.requests, "\"services\":[\"web\"]"));
	assert_non_null(strstr(o.requests, "\"model\":{"));
	assert_non_null(strstr(o.requests, "\"who\":\""));
	done(&o);
	const FakeRule taken[] = { { .request = "POST ", .status = 409, .body = "{\"message\":\"port 8080 is taken\"}" }, { NULL } };
	o = run(taken, "up", "-d");
	expect(&o, EXIT_USAGE, "", "port 8080 is taken");
	done(&o);
	o = run(rules, "up", "-d", "--scale", "nope=2");
	expect(&o, EXIT_USAGE, "", "no service 'nope'");
	done(&o);
	o = run(rules, "up", "-d", "nope");
	expect(&o, EXIT_USAGE, "", "nope");
	done(&o);
	write_file("compose.yaml", "services:\n  web: {image: nginx, comand: x}\n");
	o = run(rules, "up", "-d");
	expect(&o, EXIT_USAGE, "", "compose.yaml:2");
	done(&o);
	(void) unlink("compose.yaml");
	o = run(rules, "up", "-d");
	expect(&o, EXIT_USAGE, "", "compose.yaml");
	done(&o);
}

#define STATE(running, code, started) \
	"{\"Config\":{\"Tty\":false},\"State\":{\"Running\":" running ",\"Restarting\":false,\"Status\":\"x\",\"ExitCode\":" code ",\"StartedAt\":\"" started "\"}}"
#define RUN_1 "2024-01-02T03:04:05.000000006Z"
#define RUN_2 "2024-01-02T03:05:00.000000000Z"

static void up_in_the_foreground(void **state)
{
	static const char frames[] = RAW "\1\0\0\0\0\0\0\6hello\n\2\0\0\0\0\0\0\4err\n";
	const FakeRule rules[] = {
		{ .request = "POST /stead/v1/stacks/blog/up", .close = true, .raw = STREAM "{\"result\":\"done\"}\n" },
		{ .request = "POST /stead/v1/stacks/blog/stop", .close = true, .raw = STREAM "{\"result\":\"done\"}\n" },
		{ .request = "GET /containers/json", .status = 200, .body = "[" WEB "]" },
		{ .request = "GET /events", .raw = STREAM, .hang = true },
		{ .request = "GET /containers/1111111111111111/json", .status = 200, .body = STATE("true", "0", RUN_1), .times = 1 },
		{ .request = "GET /containers/1111111111111111/json", .status = 200, .body = STATE("false", "7", RUN_1) },
		{ .request = "GET /containers/1111111111111111/logs", .raw = frames, .raw_len = sizeof(frames) - 1, .close = true },
		{ NULL },
	};
	write_file("compose.yaml", "name: blog\nservices:\n  web: {image: nginx}\n");
	Outcome o = run(rules, "up");
	expect(&o, EXIT_DONE, "web-1  | hello\nweb-1 exited with code 7\n", "web-1  | err\n");
	assert_null(strstr(o.requests, "/stop"));
	done(&o);
	o = run(rules, "up", "--abort-on-container-exit");
	expect(&o, 7, "web-1 exited with code 7\n", "stopping, since a container has ended");
	assert_non_null(strstr(o.requests, "POST /stead/v1/stacks/blog/stop"));
	done(&o);
	(void) unlink("compose.yaml");
}

static void interrupts(void **state)
{
	static const char frames[] = RAW "\1\0\0\0\0\0\0\6hello\n";
	const FakeRule rules[] = {
		{ .request = "POST /stead/v1/stacks/blog/up", .close = true, .raw = STREAM "{\"result\":\"done\"}\n" },
		{ .request = "POST /stead/v1/stacks/blog/stop", .close = true, .raw = STREAM "{\"result\":\"done\"}\n" },
		{ .request = "GET /containers/json", .status = 200, .body = "[" WEB "]" },
		{ .request = "GET /events", .raw = STREAM, .hang = true },
		{ .request = "GET /containers/1111111111111111/json", .status = 200, .body = STATE("true", "0", RUN_1), .times = 1 },
		{ .request = "GET /containers/1111111111111111/json", .status = 200, .body = STATE("false", "0", RUN_1) },
		{ .request = "GET /containers/1111111111111111/logs", .raw = frames, .raw_len = sizeof(frames) - 1, .signal = SIGINT,
			.until = "POST /stead/v1/stacks/blog/stop", .close = true },
		{ NULL },
	};
	write_file("compose.yaml", "name: blog\nservices:\n  web: {image: nginx}\n");
	Outcome o = run(rules, "up", "-t", "1");
	expect(&o, 130, "web-1  | hello\nweb-1 exited with code 0\n", "press Ctrl-C again to kill");
	assert_non_null(strstr(o.requests, "POST /stead/v1/stacks/blog/stop {\"services\":[],\"timeout\":1}"));
	done(&o);
	/* While it still starts: the stack is stopped as well. */
	FakeRule starting[] = { { .request = "POST /stead/v1/stacks/blog/up", .raw = STREAM, .signal = SIGINT, .hang = true }, rules[1], { NULL } };
	o = run(starting, "up");
	expect(&o, 130, "", "press Ctrl-C again to kill");
	assert_non_null(strstr(o.requests, "POST /stead/v1/stacks/blog/stop"));
	done(&o);
	/* Detached, only the watching ends. */
	o = run(starting, "up", "-d");
	expect(&o, 130, "", "no longer watching; the daemon goes on");
	assert_null(strstr(o.requests, "/stop"));
	done(&o);
	/* A second one kills. */
	const FakeRule stubborn[] = { starting[0],
		{ .request = "POST /stead/v1/stacks/blog/stop", .raw = STREAM, .signal = SIGINT, .hang = true },
		{ .request = "POST /stead/v1/stacks/blog/kill", .close = true, .raw = STREAM "{\"result\":\"done\"}\n" }, { NULL } };
	o = run(stubborn, "up");
	expect(&o, 130, "", "killing the containers");
	assert_non_null(strstr(o.requests, "\"signal\":\"SIGKILL\""));
	done(&o);
	(void) unlink("compose.yaml");
}

static void logs(void **state)
{
	static const char frames[] = RAW "\1\0\0\0\0\0\0\3one\1\0\0\0\0\0\0\5 two\n\2\0\0\0\0\0\0\4err\n\1\0\0\0\0\0\0\5three";
	const FakeRule rules[] = {
		{ .request = "GET /containers/json", .status = 200, .body = "[" WEB "]" },
		{ .request = "GET /containers/1111111111111111/json", .status = 200, .body = STATE("true", "0", RUN_1) },
		{ .request = "GET /containers/1111111111111111/logs", .raw = frames, .raw_len = sizeof(frames) - 1, .close = true },
		{ NULL },
	};
	Outcome o = run(rules, "-p", "blog", "logs", "-n", "5", "--since", "1704164645.5", "web");
	expect(&o, EXIT_DONE, "web-1  | one two\nweb-1  | three\n", "web-1  | err\n");
	assert_non_null(strstr(o.requests, "/logs?stdout=1&stderr=1&tail=5&since=1704164645.500000000 "));
	done(&o);
	o = run(rules, "-p", "blog", "logs", "blog-web-1");
	expect(&o, EXIT_DONE, "one two\nthree", "err\n");
	assert_int_equal(strncmp(o.out, "one", 3), 0);
	done(&o);
	const FakeRule cut[] = { rules[0], rules[1],
		{ .request = "GET /containers/1111111111111111/logs", .raw = RAW "\1", .close = true }, { NULL } };
	o = run(cut, "-p", "blog", "logs");
	expect(&o, EXIT_FAILED, "", "ended in the middle");
	done(&o);
	const FakeRule unframed[] = { rules[0], rules[1],
		{ .request = "GET /containers/1111111111111111/logs", .raw = RAW "plain text", .close = true }, { NULL } };
	o = run(unframed, "-p", "blog", "logs");
	expect(&o, EXIT_FAILED, "", "not in frames");
	done(&o);
}

/* Of any length, in any number of frames. */
static void logs_of_long_lines(void **state)
{
	enum { FRAMES = 40, SIZE = 60000 };
	AUTO_BUF stream = BUF_INIT, whole = BUF_INIT;
	buf_str(&stream, RAW);
	for (int i = 0; i < FRAMES; i++) {
		const char header[] = { 1, 0, 0, 0, 0, 0, (char) (SIZE >> 8), (char) (SIZE & 255) };
		buf_append(&stream, header, sizeof(header));
		memset(buf_reserve(&stream, SIZE), 'x', SIZE);
		buf_added(&stream, SIZE);
	}
	buf_append(&stream, "\1\0\0\0\0\0\0\5\nend\n", 13);
	const FakeRule rules[] = {
		{ .request = "GET /containers/json", .status = 200, .body = "[" WEB "]" },
		{ .request = "GET /containers/1111111111111111/json", .status = 200, .body = STATE("true", "0", RUN_1) },
		{ .request = "GET /containers/1111111111111111/logs", .raw = buf_cstr(&stream), .raw_len = stream.len, .close = true },
		{ NULL },
	};
	buf_str(&whole, "web-1  | ");
	memset(buf_reserve(&whole, FRAMES * SIZE), 'x', FRAMES * SIZE);
	buf_added(&whole, FRAMES * SIZE);
	buf_str(&whole, "\nweb-1  | end\n");
	Outcome o = run(rules, "-p", "blog", "logs", "web");
	assert_int_equal(o.code, EXIT_DONE);
	assert_true(str_eq(o.out, buf_cstr(&whole)));
	done(&o);
}

static void logs_across_a_restart(void **state)
{
	static const char first[] = RAW "\1\0\0\0\0\0\0\6first\n", second[] = RAW "\1\0\0\0\0\0\0\7second\n";
	const FakeRule rules[] = {
		{ .request = "GET /containers/json", .status = 200, .body = "[" WEB "]" },
		{ .request = "GET /events", .raw = STREAM, .hang = true },
		{ .request = "GET /containers/1111111111111111/json", .status = 200, .body = STATE("true", "0", RUN_1), .times = 1 },
		{ .request = "GET /containers/1111111111111111/json", .status = 200, .body = STATE("true", "0", RUN_2), .times = 1 },
		{ .request = "GET /containers/1111111111111111/json", .status = 200, .body = STATE("false", "0", RUN_2) },
		{ .request = "GET /containers/1111111111111111/logs?stdout=1&stderr=1&follow=1&since=1704164700.000000000", .raw = second,
			.raw_len = sizeof(second) - 1, .close = true },
		{ .request = "GET /containers/1111111111111111/logs", .raw = first, .raw_len = sizeof(first) - 1, .close = true },
		{ NULL },
	};
	Outcome o = run(rules, "-p", "blog", "logs", "-f", "web");
	expect(&o, EXIT_DONE, "web-1  | first\nweb-1  | second\nweb-1 exited with code 0\n", "");
	done(&o);
}

static void exec(void **state)
{
	static const char output[] = UPGRADED "\1\0\0\0\0\0\0\3out\2\0\0\0\0\0\0\3err";
	const FakeRule rules[] = {
		{ .request = "POST /containers/blog-web-1/exec", .status = 201, .body = "{\"Id\":\"e1\"}" },
		{ .request = "POST /exec/e1/start", .raw = output, .raw_len = sizeof(output) - 1, .close = true },
		{ .request = "GET /exec/e1/json", .status = 200, .body = "{\"Running\":false,\"ExitCode\":42}" },
		{ NULL },
	};
	Outcome o = run(rules, "-p", "blog", "exec", "-e", "A=1", "-u", "app", "-w", "/srv", "web", "ls", "-l", "--help");
	expect(&o, 42, "out", "err");
	/* Three requests, and the container was found without a further one. */
	assert_non_null(strstr(o.requests, "\"Cmd\":[\"ls\",\"-l\",\"--help\"]"));
	assert_non_null(strstr(o.requests, "\"Env\":[\"A=1\"]"));
	assert_null(strstr(o.requests, "GET /containers"));
	done(&o);
}

static void exec_passes_input(void **state)
{
	const FakeRule rules[] = {
		{ .request = "POST /containers/blog-web-1/exec", .status = 201, .body = "{\"Id\":\"e1\"}" },
		{ .request = "POST /exec/e1/start", .raw = UPGRADED, .echo = true },
		{ .request = "GET /exec/e1/json", .status = 200, .body = "{\"Running\":false,\"ExitCode\":0}" },
		{ NULL },
	};
	AUTO_BUF big = BUF_INIT;
	while (big.len < 300000)
		buf_printf(&big, "line %zu\n", big.len);
	const char *const words[] = { "-p", "blog", "exec", "-T", "web", "cat", NULL };
	Outcome o = run_input(buf_cstr(&big), rules, words);
	assert_int_equal(o.code, 0);
	assert_true(str_eq(o.out, buf_cstr(&big)));
	done(&o);
}

static void exec_finds_containers(void **state)
{
	FakeRule rules[] = {
		{ .request = "POST /containers/1111111111111111/exec", .status = 201, .body = "{\"Id\":\"e1\"}" },
		{ .request = "GET /containers/json", .status = 200, .body = LIST },
		{ .request = "POST /exec/e1/start", .status = 200, .body = "" },
		{ NULL },
	};
	static const char *const names[] = { "web", "blog-web-1", "1111111" };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		Outcome o = run(rules, "-p", "blog", "exec", "-d", names[i], "true");
		expect(&o, EXIT_DONE, "", "");
		assert_non_null(strstr(o.requests, "\"Detach\":true"));
		done(&o);
	}
	Outcome o = run(rules, "-p", "blog", "exec", "db", "true");
	expect(&o, EXIT_FAILED, "", "not running");
	done(&o);
	o = run(rules, "-p", "blog", "exec", "--index", "4", "web", "true");
	expect(&o, EXIT_FAILED, "", "has no container number 4");
	done(&o);
}

static void exec_that_is_cut_off(void **state)
{
	static const char output[] = UPGRADED "\1\0\0\0\0\0\0\7out";
	const FakeRule rules[] = {
		{ .request = "POST /containers/blog-web-1/exec", .status = 201, .body = "{\"Id\":\"e1\"}" },
		{ .request = "POST /exec/e1/start", .raw = output, .raw_len = sizeof(output) - 1, .close = true },
		{ NULL },
	};
	Outcome o = run(rules, "-p", "blog", "exec", "web", "true");
	expect(&o, EXIT_FAILED, "out", "ended in the middle");
	done(&o);
}

static void containers_by_name(void **state)
{
	const FakeRule rules[] = {
		{ .request = "GET /containers/json", .status = 200, .body = LIST },
		{ .request = "POST /containers/blog-web-1/stop?t=3", .status = 204, .body = "" },
		{ .request = "POST /stead/v1/stacks/blog/stop", .close = true, .raw = STREAM "{\"result\":\"done\"}\n" },
		{ .request = "POST /stead/v1/stacks/blog/rm", .close = true, .raw = STREAM "{\"result\":\"done\"}\n" },
		{ NULL },
	};
	Outcome o = run(rules, "-p", "blog", "stop", "-t", "3", "blog-web-1", "db");
	expect(&o, EXIT_DONE, "blog-web-1\n", "");
	assert_non_null(strstr(o.requests, "\"services\":[\"db\"]"));
	done(&o);
	o = run(rules, "-p", "blog", "rm", "-f");
	expect(&o, EXIT_DONE, "", "");
	assert_non_null(strstr(o.requests, "\"services\":[]"));
	done(&o);
	o = run(rules, "-p", "blog", "rm", "-f", "web"); /* it runs */
	expect(&o, EXIT_DONE, "", "No stopped containers");
	done(&o);
}

static void images(void **state)
{
	const FakeRule rules[] = {
		{ .request = "GET /images/json", .status = 200, .body = "[{\"Id\":\"sha256:0123456789abcdef\",\"RepoTags\":[\"redis:7\",\"host:5000/r\"],"
			"\"Created\":1,\"Size\":12345678},{\"Id\":\"sha256:fedcba9876543210\",\"RepoTags\":null,\"Created\":1,\"Size\":1}]" },
		{ .request = "DELETE /images/redis%3A7", .status = 200, .body = "[{\"Untagged\":\"redis:7\"},{\"Deleted\":\"sha256:1\"}]" },
		{ .request = "DELETE /images/", .status = 409, .body = "{\"message\":\"in use\"}" },
		{ .request = "POST /images/load", .close = true, .raw = STREAM "{\"stream\":\"Loaded image: a\\n\"}\n" },
		{ .request = "POST /stead/v1/images/bootstrap", .close = true, .raw = STREAM "{\"progress\":\"unpacking\"}\n{\"result\":\"done\",\"image\":\"sha256:1\"}\n" },
		{ .request = "POST /stead/v1/images/import", .close = true, .raw = STREAM "{\"error\":\"no tar\"}\n" },
		{ .request = "GET /images/get?names=redis%3A7", .raw = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntar" },
		{ .request = "GET /images/get", .raw = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\ntar", .close = true },
		{ NULL },
	};
	Outcome o = run(rules, "images");
	expect(&o, EXIT_DONE, "redis         7", NULL);
	expect(&o, EXIT_DONE, "host:5000/r   <none>    0123456789ab", NULL);
	expect(&o, EXIT_DONE, "<none>        <none>    fedcba987654", NULL);
	expect(&o, EXIT_DONE, "12.3MB\n", NULL);
	done(&o);
	o = run(rules, "image", "ls", "-q");
	expect(&o, EXIT_DONE, "0123456789ab\nfedcba987654\n", NULL);
	done(&o);
	o = run(rules, "rmi", "redis:7", "other");
	expect(&o, EXIT_FAILED, "Untagged: redis:7\nDeleted: sha256:1\n", "in use");
	done(&o);
	const char *const load[] = { "load", NULL };
	o = run_input("archive", rules, load);
	expect(&o, EXIT_DONE, "Loaded image: a\n", "");
	assert_non_null(strstr(o.requests, "archive"));
	done(&o);
	o = run(rules, "image-bootstrap", "redis:7", "--packages", "redis-server,jq", "--packages", "curl", "--cmd", "redis-server --save ''", "--port",
		"6379", "--env", "A=b c");
	expect(&o, EXIT_DONE, "sha256:1\n", "unpacking\n");
	assert_non_null(strstr(o.requests, "\"packages\":[\"redis-server\",\"jq\",\"curl\"]"));
	assert_non_null(strstr(o.requests, "\"cmd\":[\"redis-server\",\"--save\",\"\"]"));
	assert_non_null(strstr(o.requests, "\"ports\":[\"6379/tcp\"]"));
	done(&o);
	write_file("root.tar", "x");
	o = run(rules, "import", "root.tar", "base:1", "--cmd", "[\"a b\"]", "--label", "k=v");
	expect(&o, EXIT_FAILED, "", "no tar");
	assert_non_null(strstr(o.requests, "import?name=base%3A1&cmd=%5B%22a%20b%22%5D&label=k%3Dv "));
	done(&o);
	o = run(rules, "save", "redis:7", "-o", "out.tar");
	expect(&o, EXIT_DONE, "", "");
	AUTO_BUF saved = BUF_INIT;
	assert_int_equal(file_read(AT_FDCWD, "out.tar", 100, &saved), 0);
	assert_string_equal(buf_cstr(&saved), "tar");
	done(&o);
	o = run(rules, "save", "cut-off", "-o", "cut.tar");
	assert_int_equal(o.code, EXIT_FAILED);
	assert_int_not_equal(access("cut.tar", F_OK), 0);
	done(&o);
}

static void bad_image_options(void **state)
{
	static const char *const bad[][2] = { { "--port", "http" }, { "--port", "0" }, { "--env", "A" }, { "--cmd", "'open" }, { "--cmd", "[1]" },
		{ "--volume", "data" }, { "--workdir", "srv" }, { "--label", "=x" }, { "--packages", "-o=x" }, { "--packages", "a;b" } };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		Outcome o = run(NULL, "image", "bootstrap", "x", bad[i][0], bad[i][1]);
		expect(&o, EXIT_USAGE, "", bad[i][0]);
		done(&o);
	}
}

static void inspect(void **state)
{
	const FakeRule rules[] = {
		{ .request = "GET /containers/json", .status = 200, .body = LIST },
		{ .request = "GET /containers/1111111111111111/json", .status = 200, .body = "{\"Name\":\"/blog-web-1\"}" },
		{ .request = "GET /volumes/data", .status = 200, .body = "{\"Name\":\"data\"}" },
		{ NULL },
	};
	Outcome o = run(rules, "-p", "blog", "inspect", "web", "data");
	expect(&o, EXIT_DONE, "[\n    {\n        \"Name\": \"/blog-web-1\"\n    },\n    {\n        \"Name\": \"data\"\n    }\n]\n", "");
	done(&o);
	o = run(rules, "-p", "blog", "inspect", "nope");
	expect(&o, EXIT_FAILED, "[]\n", "no such container, service, image, network or volume: nope");
	done(&o);
}

static void listings(void **state)
{
	const FakeRule rules[] = {
		{ .request = "GET /stead/v1/stacks", .status = 200, .body = "[{\"name\":\"blog\",\"containers\":3,\"running\":2,\"files\":[\"/srv/compose.yaml\"]},"
			"{\"name\":\"old\",\"containers\":1,\"running\":0,\"files\":[]}]" },
		{ .request = "GET /volumes", .status = 200, .body = "{\"Volumes\":[{\"Name\":\"blog_data\",\"Driver\":\"local\"}]}" },
		{ .request = "GET /networks", .status = 200, .body = "[{\"Id\":\"abcdefabcdefabcdef\",\"Name\":\"blog_default\",\"Driver\":\"bridge\",\"Scope\":\"local\"}]" },
		{ .request = "GET /version", .status = 200, .body = "{\"Version\":\"9.9\",\"ApiVersion\":\"1.41\"}" },
		{ .request = "GET /info", .status = 200, .body = "{\"Containers\":3,\"ServerVersion\":\"9.9\",\"MemTotal\":1073741824}" },
		{ .request = "GET /events", .close = true, .raw = STREAM "{\"Type\":\"container\",\"Action\":\"start\",\"timeNano\":1,"
			"\"Actor\":{\"ID\":\"abc\",\"Attributes\":{\"name\":\"blog-web-1\"}}}\n" },
		{ NULL },
	};
	static const struct {
		const char *words[4], *out;
	} cases[] = {
		{ { "ls" }, "NAME      STATUS                  CONFIG FILES\nblog      exited(1), running(2)   /srv/compose.yaml\n" },
		{ { "ls", "-a", "--json" }, "{\"Name\":\"old\",\"Status\":\"exited(1)\",\"ConfigFiles\":\"\"}\n" },
		{ { "volume", "ls" }, "local     blog_data\n" },
		{ { "network", "ls" }, "abcdefabcdef   blog_default   bridge    local" },
		{ { "version" }, "API version          1.41\n" },
		{ { "info" }, "Total Memory: 1GiB\n" },
		{ { "events", "--until", "1" }, "container start abc (name=blog-web-1)\n" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		Outcome o = run_input(NULL, rules, cases[i].words);
		expect(&o, EXIT_DONE, cases[i].out, NULL);
		done(&o);
	}
	Outcome o = run(rules, "events");
	expect(&o, EXIT_FAILED, "container start", "closed the connection");
	done(&o);
}

static void remaining(void **state)
{
	const FakeRule rules[] = {
		{ .request = "GET /containers/json", .status = 200, .body = "[" WEB "]" },
		{ .request = "POST /containers/1111111111111111/wait", .status = 200, .body = "{\"StatusCode\":5}" },
		{ .request = "GET /containers/1111111111111111/top", .status = 200, .body = "{\"Titles\":[\"PID\",\"CMD\"],\"Processes\":[[\"1\",\"nginx\"]]}" },
		{ .request = "GET /containers/1111111111111111/stats", .status = 200, .body = "{\"memory_stats\":{\"usage\":3145728,\"limit\":4194304,"
			"\"stats\":{\"inactive_file\":1048576}},\"cpu_stats\":{\"cpu_usage\":{\"total_usage\":300},\"system_cpu_usage\":1000,\"online_cpus\":2},"
			"\"precpu_stats\":{\"cpu_usage\":{\"total_usage\":200},\"system_cpu_usage\":800},\"pids_stats\":{\"current\":3}}" },
		{ .request = "DELETE /volumes/data", .status = 204 },
		{ .request = "POST /images/prune?filters=%7B%22dangling%22%3A%5B%22false%22%5D%7D", .status = 200,
			.body = "{\"ImagesDeleted\":[{\"Deleted\":\"sha256:1\"}],\"SpaceReclaimed\":1500000}" },
		{ .request = "POST /build/prune?dry-run=1&keep-storage=1048576&filters=%7B%22until%22%3A%5B%2224h%22%5D%7D", .status = 200,
			.body = "{\"CachesDeleted\":[{\"ID\":\"internal\",\"Type\":\"internal\",\"Size\":1},{\"ID\":\"0123456789abcdef\",\"Type\":\"regular\","
				"\"Description\":\"RUN make\",\"Size\":2000000}],\"SpaceReclaimed\":2000001}" },
		{ .request = "POST /build/prune?all=1", .status = 200, .body = "{\"CachesDeleted\":[\"0123456789abcdef\"],\"SpaceReclaimed\":2000000}" },
		{ .request = "POST /build/prune", .status = 400, .body = "{\"message\":\"unknown filter 'colour'\"}" },
		{ .request = "POST /stead/v1/stacks/blog/kill", .close = true, .raw = STREAM "{\"result\":\"done\"}\n" },
		{ .request = "GET /images/json", .status = 200, .body = "[{\"RepoTags\":[\"redis:7\"]}]" },
		{ NULL },
	};
	static const struct {
		const char *words[8], *out;
		int code;
	} cases[] = {
		{ { "wait", "web" }, "5\n", 5 },
		{ { "top", "web" }, "blog-web-1\nPID       CMD\n1         nginx\n", 0 },
		{ { "stats", "--no-stream" }, "blog-web-1   100.00%   2MiB / 4MiB         50.00%    0B / 0B   0B / 0B     3\n", 0 },
		{ { "volume", "rm", "data" }, "data\n", 0 },
		{ { "volume", "rm", "-f", "gone" }, "gone\n", 0 },
		{ { "volume", "rm", "gone" }, "", 1 },
		{ { "image", "prune", "-a", "-f" }, "Deleted: sha256:1\nTotal reclaimed space: 1.5MB\n", 0 },
		{ { "builder", "prune", "--dry-run", "--keep-storage", "1m", "--filter", "until=24h" },
			"SIZE      ID             TYPE       LAST USED   DESCRIPTION\n"
			"2MB       0123456789ab   regular                RUN make\n"
			"1B        internal       internal               \n"
			"Would reclaim: 2MB\n", 0 },
		{ { "builder", "prune", "-a", "-f" }, "Deleted build cache objects:\n0123456789abcdef\n\nTotal reclaimed space: 2MB\n", 0 },
		{ { "builder", "prune", "-f", "--filter", "colour=red" }, "", 2 },
		{ { "builder", "prune", "-f", "--keep-storage", "much" }, "", 2 },
		{ { "kill", "-s", "HUP", "web" }, "", 0 },
		{ { "__complete", "image" }, "redis:7\n", 0 },
		{ { "__complete", "service" }, "web\nblog-web-1\n", 0 },
		{ { "help", "image", "prune" }, "Usage: stead image prune", 0 },
		{ { "version", "--short" }, STEAD_VERSION "\n", 0 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *words[11] = { "-p", "blog" };
		for (size_t j = 0; j < ARRAY_SIZE(cases[i].words) && cases[i].words[j]; j++)
			words[j + 2] = cases[i].words[j];
		Outcome o = run_input(NULL, rules, words);
		expect(&o, cases[i].code, cases[i].out, NULL);
		done(&o);
	}
}

static void daemon_gets_its_own_words(void **state)
{
	char *argv[] = { (char *) "stead", (char *) "daemon", (char *) "--name", (char *) "x", NULL };
	assert_int_equal(cli_main(4, argv, daemon_fake), 3);
	Outcome o = run(NULL, "daemon", "--name", "x"); /* with -H in front of it */
	expect(&o, EXIT_USAGE, "", "mean nothing to it");
	done(&o);
}

static void config(void **state)
{
	write_file("compose.yaml", "name: blog\nservices:\n  web: {image: nginx, depends_on: [db]}\n  db: {image: 'db:${TAG:-1}'}\n  other: {image: o}\n");
	static const struct {
		const char *words[5], *out;
	} cases[] = {
		{ { "config" }, "image: db:1" }, { { "config", "--services" }, "db\nother\nweb\n" }, { { "config", "--images" }, "db:1\no\nnginx\n" },
		{ { "config", "--hash=web" }, "web " }, { { "config", "--hash", "*" }, "other " }, { { "config", "--format", "json" }, "\"image\": \"db:1\"" },
		{ { "config", "web", "--services" }, "db\nweb\n" }, { { "--json", "config" }, "\"name\": \"blog\"" }, { { "config", "-q" }, "" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		Outcome o = run_input(NULL, NULL, cases[i].words);
		expect(&o, EXIT_DONE, cases[i].out, "");
		done(&o);
	}
	Outcome o = run(NULL, "config", "-o", "resolved.yaml");
	expect(&o, EXIT_DONE, "", "");
	done(&o);
	o = run(NULL, "-f", "resolved.yaml", "config", "nope");
	expect(&o, EXIT_USAGE, "", "nope");
	done(&o);
	(void) unlink("compose.yaml");
	o = run(NULL, "ps");
	expect(&o, EXIT_USAGE, "", "'stead ls' lists the stacks");
	done(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(no_daemon), cmocka_unit_test(hosts), cmocka_unit_test(usage), cmocka_unit_test(help),
		cmocka_unit_test(ps), cmocka_unit_test(nonsense), cmocka_unit_test(down), cmocka_unit_test(operations_that_fail), cmocka_unit_test(up),
		cmocka_unit_test(up_in_the_foreground), cmocka_unit_test(interrupts), cmocka_unit_test(logs), cmocka_unit_test(logs_of_long_lines), cmocka_unit_test(logs_across_a_restart), cmocka_unit_test(exec),
		cmocka_unit_test(exec_passes_input), cmocka_unit_test(exec_finds_containers), cmocka_unit_test(exec_that_is_cut_off),
		cmocka_unit_test(containers_by_name), cmocka_unit_test(images), cmocka_unit_test(bad_image_options), cmocka_unit_test(inspect),
		cmocka_unit_test(listings), cmocka_unit_test(remaining), cmocka_unit_test(daemon_gets_its_own_words), cmocka_unit_test(config) };
	return cmocka_run_group_tests(tests, cli_setup, cli_teardown);
}
