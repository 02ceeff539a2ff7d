// SPDX-License-Identifier: Apache-2.0
/* `build`, `why`, and what `up` and `deploy` build, against a fake daemon. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/operation.h"
#include "cli/run-cli.h"
#include "io/frames.h"

/* An answer: the hijack, then frames. */
static void frame(Buf *b, char type, const char *text)
{
	uint8_t header[FRAME_HEADER];
	if (!b->len)
		buf_str(b, UPGRADED);
	frame_header((uint8_t) type, strlen(text), header);
	buf_append(b, header, sizeof(header));
	buf_str(b, text);
}

#define DONE "{\"result\":\"done\",\"image\":\"sha256:0123\",\"tags\":[\"app:1\"]}"
#define BUILD "POST /stead/v1/builds"

static FakeRule answer(const Buf *b)
{
	return (FakeRule) { .request = BUILD, .raw = b->data, .raw_len = b->len, .close = true };
}

static void directory(void **state)
{
	AUTO_BUF b = BUF_INIT;
	write_file("Dockerfile", "FROM scratch\nLABEL a=b\n");
	write_file(".dockerignore", "x\n");
	frame(&b, 'J', "{\"event\":{\"step\":1,\"state\":\"begin\",\"stage\":\"\",\"text\":\"FROM scratch\",\"line\":1,\"index\":1,\"total\":2}}");
	frame(&b, 'J', "{\"event\":{\"step\":1,\"state\":\"cached\"}}");
	frame(&b, 'E', DONE);
	const FakeRule rules[] = { answer(&b), { NULL } };
	Outcome o = run(rules, "build", "-t", "app:1", "--build-arg", "A=1", "--label", "l=m", "--target", "t", "--no-cache", "--memory", "64m", "--cpus", "0.5",
		"--add-host", "db:10.0.0.1", "--iidfile", "id", ".");
	expect(&o, EXIT_DONE, "", "#1 [1/2] FROM scratch\n#1 CACHED\nwriting image sha256:0123\nnaming to app:1\n");
	assert_non_null(strstr(o.requests, "\"tags\":[\"app:1\"]"));
	assert_non_null(strstr(o.requests, "\"args\":{\"A\":\"1\"}"));
	assert_non_null(strstr(o.requests, "\"dockerfile\":\"FROM scratch\\nLABEL a=b\\n\""));
	assert_non_null(strstr(o.requests, "\"ignore\":\"x\\n\""));
	assert_non_null(strstr(o.requests, "\"memory\":67108864"));
	assert_non_null(strstr(o.requests, "\"hosts\":[\"db=10.0.0.1\"]"));
	assert_non_null(strstr(o.requests, "\"no_cache\":true"));
	done(&o);
	AUTO_BUF id = BUF_INIT;
	assert_int_equal(file_read(AT_FDCWD, "id", 100, &id), 0);
	assert_string_equal(id.data, "sha256:0123");
	o = run(rules, "build", "-q", ".");
	expect(&o, EXIT_DONE, "sha256:0123\n", "");
	done(&o);
}

static void standard_input(void **state)
{
	AUTO_BUF b = BUF_INIT;
	frame(&b, 'E', DONE);
	const FakeRule rules[] = { answer(&b), { NULL } };
	const char *const words[] = { "build", "-", NULL };
	Outcome o = run_input("FROM scratch\n", rules, words);
	expect(&o, EXIT_DONE, NULL, NULL);
	assert_non_null(strstr(o.requests, "\"source\":\"none\""));
	assert_non_null(strstr(o.requests, "FROM scratch"));
	done(&o);
}

/* Of the registries that something is going to be pulled from, and of no other; also where a variable names the image. */
static void credentials(void **state)
{
	AUTO_BUF b = BUF_INIT;
	frame(&b, 'E', DONE);
	const FakeRule rules[] = { { .request = "GET /images/there.test%2Fbase/json", .status = 200, .body = "{\"Id\":\"sha256:1\"}" },
		{ .request = "GET /images/", .status = 404, .body = "{\"message\":\"no such image\"}" }, answer(&b), { NULL } };
	(void) mkdir("docker", 0700);
	write_file("docker/config.json", "{\"auths\":{\"a.test\":{\"auth\":\"YW5uOnNlY3JldA==\"},\"b.test\":{\"auth\":\"Ym9iOnNlY3JldA==\"},"
					 "\"there.test\":{\"auth\":\"Y2F0OnNlY3JldA==\"},\"other.test\":{\"auth\":\"ZG9nOnNlY3JldA==\"}}}");
	assert_int_equal(setenv("DOCKER_CONFIG", "docker", 1), 0);
	write_file("Dockerfile", "ARG FROM=b.test/base\nFROM there.test/base AS one\nFROM other.test/x AS unused\nFROM $FROM\nCOPY --from=one /a /a\n"
				 "COPY --from=a.test/tools /b /b\n");
	Outcome o = run(rules, "build", ".");
	expect(&o, EXIT_DONE, NULL, NULL);
	const char *body = strstr(o.requests, BUILD);
	assert_non_null(body);
	assert_non_null(strstr(body, "\"username\":\"ann\""));
	assert_non_null(strstr(body, "\"username\":\"bob\""));
	assert_null(strstr(body, "\"username\":\"cat\""));
	assert_null(strstr(body, "\"username\":\"dog\""));
	done(&o);
	assert_int_equal(unsetenv("DOCKER_CONFIG"), 0);
}

/* Each directory is sent when it is asked for, by its name, less what its own .dockerignore names. */
static void contexts(void **state)
{
	AUTO_BUF b = BUF_INIT;
	(void) mkdir("lib", 0700);
	(void) mkdir("img", 0700);
	write_file("Dockerfile", "FROM scratch\n");
	write_file("lib/kept", "k");
	write_file("lib/left", "l");
	write_file("lib/.dockerignore", "left\n");
	frame(&b, 'J', "{\"context\":{\"have\":null,\"name\":\"lib\"}}");
	frame(&b, 'J', "{\"want\":[1],\"name\":\"lib\"}");
	frame(&b, 'E', DONE);
	const FakeRule rules[] = { answer(&b), { NULL } };
	Outcome o = run(rules, "build", "--build-context", "lib=img", "--build-context", "lib=./lib", "--build-context", "deb=docker-image://debian:12", ".");
	expect(&o, EXIT_DONE, NULL, NULL);
	assert_non_null(strstr(o.requests, "\"deb\":\"docker-image://debian:12\""));
	assert_non_null(strstr(o.requests, "\"lib\":\"local://"));
	done(&o);
	/* .dockerignore and kept: that is all of it. */
	AUTO_BUF more = BUF_INIT;
	frame(&more, 'J', "{\"context\":{\"have\":null,\"name\":\"lib\"}}");
	frame(&more, 'J', "{\"want\":[2],\"name\":\"lib\"}");
	const FakeRule third[] = { answer(&more), { NULL } };
	o = run(third, "build", "--build-context", "lib=lib", ".");
	expect(&o, EXIT_FAILED, NULL, "wants a file that is not in the context");
	done(&o);
	/* What is wrong with it is the daemon's to say, who knows the instruction. */
	AUTO_BUF other = BUF_INIT;
	frame(&other, 'J', "{\"context\":{\"have\":null,\"name\":\"none\"}}");
	frame(&other, 'E', "{\"error\":\"Dockerfile:1: FROM: no such context\",\"code\":1}");
	const FakeRule asks[] = { answer(&other), { NULL } };
	o = run(asks, "build", "--build-context", "lib=lib", ".");
	expect(&o, EXIT_FAILED, NULL, "Dockerfile:1: FROM: no such context");
	done(&o);
}

static void check(void **state)
{
	const FakeRule rules[] = { { .request = "GET /images/base/json", .status = 200, .body = "{\"Config\":{\"Env\":[\"HERE=1\"]}}" },
		{ .request = "GET /images/", .status = 404, .body = "{\"message\":\"no such image\"}" }, { NULL } };
	write_file("Dockerfile", "FROM base AS a\nENV A=$HERE B=$GONE\nFROM a\nLABEL c=$B d=$D\nCMD x\n");
	Outcome o = run(rules, "build", "--check", ".");
	expect(&o, EXIT_FAILED, "Check complete, 3 warnings have been found!\n\nWARNING: UndefinedVar - ENV: $GONE has no value\nDockerfile:2\n--------------------\n"
		"   1 |     FROM base AS a\n   2 | >>> ENV A=$HERE B=$GONE\n   3 |     FROM a\n--------------------\n\nWARNING: UndefinedVar - LABEL: $D has no value", "");
	assert_non_null(strstr(o.out, "JSONArgsRecommended"));
	assert_null(strstr(o.requests, BUILD));
	done(&o);
	/* What is not here is not pulled for this. */
	write_file("Dockerfile", "FROM other\nENV A=$B\n");
	o = run(rules, "build", "--check", ".");
	expect(&o, EXIT_DONE, "Check complete, no warnings found.\n", "image 'other' is not here");
	done(&o);
	write_file("Dockerfile", "FROM scratch\nRNU x\n");
	o = run(rules, "build", "--check", ".");
	expect(&o, EXIT_USAGE, "", "Dockerfile:2: unknown instruction 'RNU'; did you mean RUN?");
	done(&o);
	write_file("compose.yaml", "name: blog\nservices:\n  a: {build: {dockerfile_inline: 'from scratch'}}\n  b: {build: {dockerfile_inline: \"FROM scratch\\nCMD x\"}}\n"
				   "  c: {build: {dockerfile_inline: \"FROM scratch\\nWORKDIR x\"}}\n");
	o = run(rules, "build", "--check");
	expect(&o, EXIT_FAILED, NULL, "checking c\n");
	assert_non_null(strstr(o.out, "JSONArgsRecommended"));
	assert_non_null(strstr(o.out, "WorkdirRelativePath"));
	assert_int_equal(unlink("compose.yaml"), 0);
	done(&o);
}

/* The image that another is made from is built first, also where only the latter is asked for. */
static void service_contexts(void **state)
{
	AUTO_BUF b = BUF_INIT;
	frame(&b, 'E', DONE);
	const FakeRule rules[] = { answer(&b), { NULL } };
	write_file("compose.yaml", "name: blog\nservices:\n  a: {build: {dockerfile_inline: FROM base, additional_contexts: {base: 'service:z', db: 'service:db'}}}\n"
				   "  db: {image: 'pg:1'}\n  z: {build: {dockerfile_inline: FROM scratch}}\n");
	Outcome o = run(rules, "build", "a");
	expect(&o, EXIT_DONE, "", NULL);
	assert_true(str_starts(o.err, "building z\n"));
	assert_non_null(strstr(o.err, "building a\n"));
	assert_non_null(strstr(o.requests, "\"base\":\"docker-image://blog-z\""));
	assert_non_null(strstr(o.requests, "\"db\":\"docker-image://pg:1\""));
	done(&o);
	o = run(rules, "build");
	expect(&o, EXIT_DONE, "", NULL);
	assert_true(str_starts(o.err, "building z\n"));
	assert_int_equal(unlink("compose.yaml"), 0);
	done(&o);
}

static void failures(void **state)
{
	static const struct {
		const char *frames[3];
		int code;
		const char *says;
	} cases[] = {
		{ { "E{\"error\":\"Dockerfile:2: RUN: exit code 3\",\"code\":1}" }, EXIT_FAILED, "stead: Dockerfile:2: RUN: exit code 3" },
		{ { "E{\"error\":\"Dockerfile:1: RNU is unknown\",\"code\":2}" }, EXIT_USAGE, "RNU is unknown" },
		{ { "J{\"want\":[0]}" }, EXIT_FAILED, "wants files that it was not told of" },
		{ { "J{\"context\":{\"have\":null}}", "J{\"want\":[99]}" }, EXIT_FAILED, "wants a file that is not in the context" },
		{ { "J[]" }, EXIT_FAILED, "a frame that is none" },
		{ { "Zx" }, EXIT_FAILED, "a frame that is none ('Z')" },
		{ { "J{}" }, EXIT_FAILED, "the connection to the daemon ended before the build did" },
	};
	write_file("Dockerfile", "FROM a\nRUN exit 3\n");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_BUF b = BUF_INIT;
		for (size_t k = 0; k < 3 && cases[i].frames[k]; k++)
			frame(&b, cases[i].frames[k][0], cases[i].frames[k] + 1);
		const FakeRule rules[] = { answer(&b), { NULL } };
		Outcome o = run(rules, "build", ".");
		expect(&o, cases[i].code, "", cases[i].says);
		done(&o);
	}
	AUTO_BUF junk = BUF_INIT;
	buf_str(&junk, UPGRADED "this is not framed at all");
	const FakeRule rules[] = { answer(&junk), { NULL } };
	Outcome o = run(rules, "build", ".");
	expect(&o, EXIT_FAILED, "", "not framed");
	done(&o);
}

static void usage(void **state)
{
	static const struct {
		const char *words[6], *says;
	} cases[] = {
		{ { "build", "./none" }, "the build context ./none: No such file" },
		{ { "build", "ftp://git.test/a.zip" }, "is neither a directory, nor a git repository" },
		{ { "build", "-t", "a", "b", "c" }, "one directory is built at a time" },
		{ { "build", "--memory", "much", "." }, "--memory much: write a size" },
		{ { "build", "--secret", "src=a", "." }, "it needs an id" },
		{ { "build", "--secret", "id=a,src=/none", "." }, "--secret id=a,src=/none: /none: No such file" },
		{ { "build", "--secret", "id=a,what=b", "." }, "write id=ID,src=FILE" },
		{ { "build", "--add-host", "a", "." }, "write NAME:ADDRESS" },
		{ { "build", "--build-context", "a", "." }, "write NAME=DIRECTORY, NAME=docker-image://IMAGE, a git repository or the URL" },
		{ { "build", "--build-context", "a=/none", "." }, "the build context a=/none: No such file" },
		{ { "build", "--build-context", "a=Dockerfile", "." }, "the build context a=Dockerfile is no directory" },
		{ { "build", "--build-context", "a=ftp://h/x.zip", "." }, "is neither a directory, nor docker-image://, nor a git repository" },
		{ { "build", "--build-context", "a=https://h/x.git#:../y", "." }, "the build context a: the repository" },
		{ { "build", "--build-context", "a=oci-layout://d", "." }, "load the images of the directory (tar -C d -c . | stead load)" },
		{ { "build", "-f", "no-file", "." }, "there is no no-file; name the Dockerfile with -f" },
		{ { "build", "-f", "-", "-" }, "-f - and the context - are both standard input" },
	};
	write_file("Dockerfile", "FROM scratch\n");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		Outcome o = run_input(NULL, NULL, cases[i].words);
		expect(&o, EXIT_USAGE, "", cases[i].says);
		done(&o);
	}
}

static const char compose[] = "name: blog\nservices:\n  web: {build: ./web}\n  db: {image: db}\n";

static void services(void **state)
{
	AUTO_BUF b = BUF_INIT;
	(void) mkdir("web", 0700);
	write_file("compose.yaml", compose);
	write_file("web/Dockerfile", "FROM scratch\n");
	frame(&b, 'E', DONE);
	const FakeRule rules[] = { answer(&b), { NULL } };
	Outcome o = run(rules, "build", "web");
	expect(&o, EXIT_DONE, "", "building web\n");
	assert_non_null(strstr(o.requests, "\"tags\":[\"blog-web\"]"));
	done(&o);
	o = run(rules, "build");
	expect(&o, EXIT_DONE, "", "building web\n");
	done(&o);
	o = run(NULL, "build", "db");
	expect(&o, EXIT_USAGE, "", "service 'db' has no 'build:'");
	done(&o);
	(void) mkdir("app", 0700);
	o = run(NULL, "build", "app");
	expect(&o, EXIT_USAGE, "", "'app' is a directory: to build it, write ./app");
	done(&o);
	o = run(NULL, "build", "-f", "compose.yaml");
	expect(&o, EXIT_USAGE, "", "names a Dockerfile");
	done(&o);
}

/* `up` builds what is missing, and what goes to the daemon says nothing of builds. */
static void before_up(void **state)
{
	AUTO_BUF b = BUF_INIT;
	(void) mkdir("web", 0700);
	write_file("compose.yaml", compose);
	write_file("web/Dockerfile", "FROM scratch\n");
	frame(&b, 'E', DONE);
	const FakeRule up = { .request = "POST /stead/v1/stacks/blog/up", .raw = STREAM "{\"result\":\"done\"}\n", .close = true };
	const FakeRule there = { .request = "GET /images/blog-web/json", .status = 200, .body = "{}" };
	const FakeRule gone = { .request = "GET /images/blog-web/json", .status = 404, .body = "{\"message\":\"no such image\"}" };
	const FakeRule missing[] = { gone, answer(&b), up, { NULL } }, present[] = { there, up, { NULL } }, all[] = { answer(&b), there, up, { NULL } };
	Outcome o = run(missing, "up", "-d");
	expect(&o, EXIT_DONE, NULL, NULL);
	assert_non_null(strstr(o.requests, BUILD));
	assert_non_null(strstr(o.requests, "\"image\":\"blog-web\""));
	assert_null(strstr(strstr(o.requests, "blog/up"), "\"build\":"));
	done(&o);
	o = run(present, "up", "-d");
	expect(&o, EXIT_DONE, NULL, NULL);
	assert_null(strstr(o.requests, BUILD));
	done(&o);
	o = run(all, "up", "-d", "--build");
	expect(&o, EXIT_DONE, NULL, NULL);
	assert_non_null(strstr(o.requests, BUILD));
	done(&o);
	o = run(present, "up", "-d", "--no-build");
	expect(&o, EXIT_DONE, NULL, NULL);
	assert_null(strstr(o.requests, BUILD));
	done(&o);
}

static void a_build_that_fails_stops_up(void **state)
{
	AUTO_BUF b = BUF_INIT;
	frame(&b, 'E', "{\"error\":\"no\",\"code\":1}");
	(void) mkdir("web", 0700);
	write_file("compose.yaml", compose);
	write_file("web/Dockerfile", "FROM scratch\n");
	const FakeRule rules[] = { answer(&b), { NULL } };
	Outcome o = run(rules, "up", "-d", "--build");
	expect(&o, EXIT_FAILED, NULL, "stead: no");
	assert_null(strstr(o.requests, "blog/up"));
	done(&o);
}

static void why(void **state)
{
	const FakeRule rules[] = { { .request = "GET /stead/v1/builds/blog-web/why", .status = 200,
					   .body = "{\"image\":\"sha256:1\",\"built\":1,\"why\":[{\"step\":1,\"line\":1,\"text\":\"FROM a\",\"cached\":true},"
						   "{\"step\":2,\"line\":4,\"stage\":\"s\",\"text\":\"COPY . .\",\"cached\":false,\"reason\":\"a file has changed\","
						   "\"changes\":[\"src/a.js\"],\"seconds\":1.5,\"bytes\":1500}]}" },
		{ NULL } };
	(void) mkdir("web", 0700);
	write_file("compose.yaml", compose);
	Outcome o = run(rules, "why", "web");
	expect(&o, EXIT_DONE, "because a file has changed", NULL);
	assert_non_null(strstr(o.out, "src/a.js"));
	assert_non_null(strstr(o.out, "1.5kB"));
	done(&o);
	o = run(rules, "why");
	expect(&o, EXIT_DONE, "COPY . .", NULL);
	done(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(directory), cmocka_unit_test(standard_input), cmocka_unit_test(credentials), cmocka_unit_test(failures), cmocka_unit_test(contexts), cmocka_unit_test(check), cmocka_unit_test(service_contexts),
		cmocka_unit_test(usage),
		cmocka_unit_test(services), cmocka_unit_test(before_up), cmocka_unit_test(a_build_that_fails_stops_up), cmocka_unit_test(why),
	};
	return cmocka_run_group_tests(tests, cli_setup, cli_teardown);
}
