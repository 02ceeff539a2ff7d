// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "dockerfile/config.h"

/* Applies the instructions behind FROM; gives the sorted "config" (and author), or the error. */
static char *apply(const char *base, const char *text)
{
	AUTO_FREE char *whole = xasprintf("FROM i\n%s\n", text);
	AUTO(dockerfile_freep) Dockerfile *f = NULL;
	AUTO_ERR err = ERR_INIT;
	if (dockerfile_parse("Dockerfile", whole, strlen(whole), &f, &err) < 0)
		return xasprintf("E %s", err_text(&err));
	json_t *image = json_loads(base ? base : "{\"config\":{}}", 0, NULL);
	assert_non_null(image);
	ConfigState state = { 0 };
	int r = 0;
	for (size_t k = 0; r == 0 && k < f->stages[0].n_instructions; k++)
		r = config_apply(f, &f->stages[0].instructions[k], image, &state, &err);
	char *out = r < 0 ? xasprintf("E %s", err_text(&err)) : json_dumps(json_object_get(image, "config"), JSON_SORT_KEYS | JSON_COMPACT);
	const char *author = json_string_value(json_object_get(image, "author"));
	if (author) {
		char *with = xasprintf("%s by %s", out, author);
		free(out);
		out = with;
	}
	json_decref(image);
	return out;
}

#define BASE "{\"config\":{\"Cmd\":[\"old\"],\"Env\":[\"A=1\",\"PATH=/bin\"],\"WorkingDir\":\"/w\"},\"x\":1}"

static void instructions(void **state)
{
	static const struct {
		const char *base, *text, *wanted;
	} cases[] = {
		{ NULL, "RUN a\nCOPY a b\nADD a b\nARG a", "{}" },
		{ NULL, "CMD a b", "{\"Cmd\":[\"/bin/sh\",\"-c\",\"a b\"]}" },
		{ NULL, "CMD [\"a\",\"b\"]\nCMD [\"c\"]", "{\"Cmd\":[\"c\"]}" },
		{ NULL, "SHELL [\"bash\",\"-ec\"]\nCMD a\nENTRYPOINT b", "{\"Cmd\":[\"bash\",\"-ec\",\"a\"],\"Entrypoint\":[\"bash\",\"-ec\",\"b\"],\"Shell\":[\"bash\",\"-ec\"]}" },
		/* An inherited CMD makes no sense for another ENTRYPOINT; one of this stage stays. */
		{ BASE, "ENTRYPOINT [\"e\"]", "{\"Entrypoint\":[\"e\"],\"Env\":[\"A=1\",\"PATH=/bin\"],\"WorkingDir\":\"/w\"}" },
		{ BASE, "CMD [\"c\"]\nENTRYPOINT [\"e\"]", "{\"Cmd\":[\"c\"],\"Entrypoint\":[\"e\"],\"Env\":[\"A=1\",\"PATH=/bin\"],\"WorkingDir\":\"/w\"}" },
		{ BASE, "ENTRYPOINT []\nCMD []", "{\"Env\":[\"A=1\",\"PATH=/bin\"],\"WorkingDir\":\"/w\"}" },
		{ BASE, "ENV B=2 A=3", "{\"Cmd\":[\"old\"],\"Env\":[\"A=3\",\"PATH=/bin\",\"B=2\"],\"WorkingDir\":\"/w\"}" },
		{ "{\"config\":{\"WorkingDir\":\"/w\"}}", "WORKDIR a", "{\"WorkingDir\":\"/w/a\"}" },
		{ NULL, "WORKDIR a\nWORKDIR ../b/./c", "{\"WorkingDir\":\"/b/c\"}" },
		{ NULL, "WORKDIR /a/\nWORKDIR /", "{\"WorkingDir\":\"/\"}" },
		{ NULL, "LABEL a=b c=d\nLABEL a=e", "{\"Labels\":{\"a\":\"e\",\"c\":\"d\"}}" },
		{ NULL, "EXPOSE 80 53/UDP 8000-8002/tcp 127.0.0.1:1:2/sctp",
			"{\"ExposedPorts\":{\"2/sctp\":{},\"53/udp\":{},\"80/tcp\":{},\"8000/tcp\":{},\"8001/tcp\":{},\"8002/tcp\":{}}}" },
		{ NULL, "VOLUME /a b", "{\"Volumes\":{\"/a\":{},\"b\":{}}}" },
		{ "{\"config\":{\"Volumes\":null,\"Env\":null}}", "VOLUME /a\nENV a=b", "{\"Env\":[\"a=b\"],\"Volumes\":{\"/a\":{}}}" },
		{ "{\"config\":null}", "USER a:b\nSTOPSIGNAL SIGINT\nMAINTAINER m", "{\"StopSignal\":\"SIGINT\",\"User\":\"a:b\"} by m" },
		{ NULL, "ONBUILD RUN a\nONBUILD COPY b c", "{\"OnBuild\":[\"RUN a\",\"COPY b c\"]}" },
		{ NULL, "HEALTHCHECK NONE", "{\"Healthcheck\":{\"Test\":[\"NONE\"]}}" },
		{ NULL, "HEALTHCHECK --interval=1s --timeout=2s --start-period=3s --start-interval=4s --retries=5 CMD a",
			"{\"Healthcheck\":{\"Interval\":1000000000,\"Retries\":5,\"StartInterval\":4000000000,\"StartPeriod\":3000000000,"
			"\"Test\":[\"CMD-SHELL\",\"a\"],\"Timeout\":2000000000}}" },
		{ NULL, "HEALTHCHECK CMD [\"a\"]", "{\"Healthcheck\":{\"Test\":[\"CMD\",\"a\"]}}" },
	};
	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		AUTO_FREE char *out = apply(cases[k].base, cases[k].text);
		if (!str_eq(out, cases[k].wanted))
			fail_msg("%s\ngave %s\nnot  %s", cases[k].text, out, cases[k].wanted);
	}
}

static void ports(void **state)
{
	static const char *const bad[] = { "0", "65536", "a", "90-80", "80/icmp", "1-", "-1", "80/", "1:", "1-2-3" };
	for (size_t k = 0; k < ARRAY_SIZE(bad); k++) {
		AUTO_FREE char *text = xasprintf("EXPOSE %s", bad[k]);
		AUTO_FREE char *out = apply(NULL, text);
		if (!str_starts(out, "E Dockerfile:2: EXPOSE: '") || !strstr(out, "is not PORT"))
			fail_msg("%s gave %s", bad[k], out);
	}
	AUTO_FREE char *out = apply(NULL, "EXPOSE 1-65535");
	assert_non_null(strstr(out, "at most 4096 ports"));
}

static void reading(void **state)
{
	json_t *image = json_loads("{\"config\":{\"OnBuild\":[\"RUN a\"],\"User\":\"u\",\"WorkingDir\":\"w/../x\",\"Shell\":[\"s\"],\"Env\":[\"A=1\"]}}", 0, NULL);
	AUTO_STRV char **triggers = config_take_triggers(image), **none = config_take_triggers(image), **env = config_env(image), **shell = config_shell(image);
	AUTO_FREE char *dir = config_workdir(image), *path = config_path(image, "../y/"), *absolute = config_path(image, "/z//.");
	assert_string_equal(triggers[0], "RUN a");
	assert_null(none);
	assert_true(str_starts(strv_env(env, "PATH"), "/usr/local/sbin:"));
	assert_string_equal(shell[0], "s");
	assert_string_equal(dir, "/x");
	assert_string_equal(path, "/y");
	assert_string_equal(absolute, "/z");
	assert_string_equal(config_user(image), "u");
	json_decref(image);
	json_t *arm = config_new("linux/arm/v7");
	AUTO_FREE char *text = json_dumps(arm, JSON_SORT_KEYS | JSON_COMPACT), *root = config_workdir(arm);
	assert_string_equal(text, "{\"architecture\":\"arm\",\"config\":{\"Env\":[\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"]},\"history\":[],\"os\":\"linux\",\"rootfs\":{\"diff_ids\":[],\"type\":\"layers\"},\"variant\":\"v7\"}");
	assert_string_equal(root, "/");
	assert_string_equal(config_user(arm), "");
	json_decref(arm);
}

static void history(void **state)
{
	AUTO(dockerfile_freep) Dockerfile *f = NULL;
	AUTO_ERR err = ERR_INIT;
	static const char text[] = "FROM i\nRUN make\nCOPY a b\n";
	assert_int_equal(dockerfile_parse("Dockerfile", text, strlen(text), &f, &err), 0);
	const Instruction *i = f->stages[0].instructions;
	const char *script;
	AUTO_STRV char **argv = instruction_command(&i[0], NULL, &script);
	char *const args[] = { (char[]){ "A=1" }, (char[]){ "B=2" }, NULL };
	AUTO_FREE char *run = config_created_by(&i[0], argv, NULL), *with = config_created_by(&i[0], argv, args), *copy = config_created_by(&i[1], NULL, NULL);
	assert_string_equal(run, "RUN /bin/sh -c make");
	assert_string_equal(with, "RUN |2 A=1 B=2 /bin/sh -c make");
	assert_string_equal(copy, "COPY a b");
	json_t *image = json_object();
	config_add_history(image, "2000-01-01T00:00:00Z", run, false);
	config_add_history(image, "2000-01-01T00:00:00Z", "ENV a=b", true);
	AUTO_FREE char *out = json_dumps(json_object_get(image, "history"), JSON_SORT_KEYS | JSON_COMPACT);
	assert_string_equal(out, "[{\"created\":\"2000-01-01T00:00:00Z\",\"created_by\":\"RUN /bin/sh -c make\"},"
				 "{\"created\":\"2000-01-01T00:00:00Z\",\"created_by\":\"ENV a=b\",\"empty_layer\":true}]");
	json_decref(image);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(instructions), cmocka_unit_test(ports), cmocka_unit_test(reading), cmocka_unit_test(history) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
