// SPDX-License-Identifier: Apache-2.0
/* `build` of a service: values, the canonical form, what is refused, what the daemon does not get. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "model/stack.h"

/* JSON in single quotes, to be readable in C. */
static Stack *parse(const char *build, Err *err)
{
	AUTO_FREE char *text = xasprintf("{'name':'p','services':{'web':{'image':'i','build':%s,'secrets':[{'source':'run','target':'/run/secrets/run'}]},"
					 "'db':{'image':'d'}},'secrets':{'run':{'content':'r'},'npm':{'content':'n'}}}", build);
	for (char *p = text; *p; p++)
		if (*p == '\'')
			*p = '"';
	json_t *root = json_loads(text, 0, NULL);
	Stack *s = NULL;
	assert_non_null(root);
	assert_true((stack_from_json(root, &s, NULL, err) == 0) == (s != NULL));
	json_decref(root);
	return s;
}

static Stack *stack(const char *build)
{
	AUTO_ERR err = ERR_INIT;
	Stack *s = parse(build, &err);
	if (!s)
		fail_msg("%s: %s", build, err_text(&err));
	return s;
}

static const char full[] =
	"{'context':'/src','dockerfile':'D','args':{'A':'1'},'target':'t','labels':{'l':'m'},'cache_from':['/c'],'cache_to':['/c'],"
	"'no_cache':true,'pull':true,'network':'none','shm_size':'1048576','secrets':[{'source':'npm','target':'token'}],'ssh':['default'],"
	"'extra_hosts':['a=10.0.0.1'],'platforms':['linux/arm64'],'tags':['x:1'],'additional_contexts':{'base':'docker-image://debian:12','data':'service:db','lib':'/lib','code':'https://git.test/a.git#v1'},"
	"'ulimits':{'nofile':{'soft':1,'hard':2}}}";

static void values(void **state)
{
	AUTO_STACK *s = stack(full);
	const ServiceBuild *b = &stack_service(s, "web")->build;
	assert_string_equal(b->context, "/src");
	assert_string_equal(b->args[0], "A=1");
	assert_string_equal(b->secrets[0].source, "npm");
	assert_string_equal(b->secrets[0].target, "token");
	assert_string_equal(b->contexts[0], "base=docker-image://debian:12");
	assert_int_equal(b->shm_size, 1 << 20);
	assert_true(b->no_cache && b->pull);
	assert_int_equal(b->ulimits[0].hard, 2);
	assert_null(stack_service(s, "db")->build.context);
}

static void written_as_read(void **state)
{
	AUTO_STACK *s = stack(full);
	json_t *o = stack_to_json(s);
	AUTO_STACK *again = NULL;
	assert_int_equal(stack_from_json(o, &again, NULL, NULL), 0);
	json_t *second = stack_to_json(again);
	assert_true(json_equal(o, second));
	assert_null(json_object_get(json_object_get(json_object_get(o, "services"), "db"), "build"));
	json_decref(o);
	json_decref(second);
}

static void hash_is_the_images(void **state)
{
	AUTO_STACK *a = stack(full);
	AUTO_STACK *b = stack("{'context':'/elsewhere'}");
	char one[65], two[65];
	service_hash(a, stack_service(a, "web"), one);
	service_hash(b, stack_service(b, "web"), two);
	assert_string_equal(one, two);
}

static void dropped(void **state)
{
	AUTO_STACK *s = stack(full);
	stack_drop_builds(s);
	assert_null(stack_service(s, "web")->build.context);
	assert_int_equal(s->n_secrets, 1);
	assert_string_equal(s->secrets[0].key, "run"); /* the service itself has it */
	json_t *o = stack_to_json(s);
	assert_null(json_object_get(json_object_get(json_object_get(o, "services"), "web"), "build"));
	json_decref(o);
}

static void refusals(void **state)
{
	static const struct {
		const char *build, *wanted;
	} cases[] = {
		{ "{}", "services.web.build: 'context' is missing" },
		{ "{'context':'src'}", "services.web.build.context: 'src' must be an absolute path" },
		{ "{'context':'ftp://git.test/a.zip'}", "services.web.build.context: 'ftp://git.test/a.zip' is neither a directory, nor a git repository" },
		{ "{'context':'https://git.test/a.git#:../x'}", "services.web.build.context: the repository 'https://git.test/a.git': the directory '../x' leads out" },
		{ "{'context':'/s','privileged':true}", "services.web.build.privileged: 'privileged' is not supported yet; remove it" },
		{ "{'context':'/s','isolation':'hyperv'}", "services.web.build.isolation" },
		{ "{'context':'/s','entitlements':['x']}", "services.web.build.entitlements" },
		{ "{'context':'/s','network':'back'}", "services.web.build.network: 'back' is unknown" },
		{ "{'context':'/s','dockerfile':'a','dockerfile_inline':'b'}", "services.web.build.dockerfile_inline: stands beside 'dockerfile'" },
		{ "{'context':'/s','platforms':['linux/amd64','linux/arm64']}", "services.web.build.platforms: names 2 platforms" },
		{ "{'context':'/s','additional_contexts':{'a':'b'}}", "services.web.build.additional_contexts: 'b' is no context; write a directory" },
		{ "{'context':'/s','additional_contexts':{'a':''}}", "services.web.build.additional_contexts: '' is no context" },
		{ "{'context':'/s','additional_contexts':{'a':'target:b'}}", "'target:b' is no context" },
		{ "{'context':'/s','additional_contexts':{'a':'docker-image://'}}", "services.web.build.additional_contexts: 'docker-image://' is" },
		{ "{'context':'/s','additional_contexts':{'a':'ftp://h/a.zip'}}", "'ftp://h/a.zip' is no context" },
		{ "{'context':'/s','additional_contexts':{'a':'oci-layout:///d'}}", "load the images of the directory" },
		{ "{'context':'/s','additional_contexts':{'a':'service:none'}}", "services.web.build.additional_contexts: there is no service 'none'" },
		{ "{'context':'/s','additional_contexts':{'a':'service:web'}}", "the images of 'web' and 'web' need each other" },
		{ "{'context':'/s','ulimits':{'nofiles':1}}", "services.web.build.ulimits: 'nofiles' is no limit" },
		{ "{'context':'/s','dockerfil':'a'}", "services.web.build.dockerfil: unknown key of a build; did you mean 'dockerfile'?" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_ERR err = ERR_INIT;
		AUTO_STACK *s = parse(cases[i].build, &err);
		if (s || !strstr(err_text(&err), cases[i].wanted))
			fail_msg("%s\n   gave: %s\n wanted: %s", cases[i].build, s ? "no error" : err_text(&err), cases[i].wanted);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values), cmocka_unit_test(written_as_read), cmocka_unit_test(hash_is_the_images),
		cmocka_unit_test(dropped), cmocka_unit_test(refusals),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
