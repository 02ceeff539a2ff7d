// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "model/stack.h"

/* JSON in single quotes, to be readable in C. */
static json_t *json(const char *text)
{
	AUTO_FREE char *s = xstrdup(text);
	for (char *p = s; *p; p++)
		if (*p == '\'')
			*p = '"';
	json_t *v = json_loads(s, 0, NULL);
	assert_non_null(v);
	return v;
}

static Stack *stack(const char *text)
{
	json_t *root = json(text);
	AUTO_ERR err = ERR_INIT;
	Stack *s = NULL;
	if (stack_from_json(root, &s, NULL, &err) < 0)
		fail_msg("%s", err_text(&err));
	json_decref(root);
	return s;
}

/* A stack with one service "web" of image "i" and the given keys. */
static char *one_service(const char *keys)
{
	return xasprintf("{'name':'p','services':{'web':{'image':'i'%s%s}}}", *keys ? "," : "", keys);
}

static void round_trip(void **state)
{
	static const char *const services[] = {
		"", "'command':[]", "'entrypoint':[],'command':['a','b c']", "'environment':{'A':'','B':null,'C':'a=b'}",
		"'restart':'on-failure:3'", "'restart':'unless-stopped'",
		"'deploy':{'restart_policy':{'condition':'on-failure','delay':'5s','max_attempts':2}}",
		"'deploy':{'restart_policy':{'max_attempts':2}}", "'deploy':{'restart_policy':{'condition':'none','window':'1m0s'}}",
		"'scale':0", "'memswap_limit':'-1'", "'healthcheck':{'disable':true}", "'healthcheck':{'test':['NONE']}",
		"'healthcheck':{'interval':'1.5s'}", "'ports':[{'target':80},{'target':81,'published':'8000-8010','host_ip':'::1'}]",
		"'ulimits':{'nproc':10,'nofile':{'soft':1,'hard':-1}}", "'init':false", "'cpus':1.5", "'attach':false",
		"'volumes':[{'type':'tmpfs','target':'/t','tmpfs':{'mode':'0700'}}]", "'pid':'host','ipc':'none','uts':'host'",
	};
	for (size_t i = 0; i < ARRAY_SIZE(services); i++) {
		AUTO_FREE char *text = one_service(services[i]);
		AUTO_STACK *a = stack(text);
		json_t *first = stack_to_json(a);
		AUTO_ERR err = ERR_INIT;
		AUTO_STACK *b = NULL;
		if (stack_from_json(first, &b, NULL, &err) < 0)
			fail_msg("%s: %s", services[i], err_text(&err));
		json_t *second = stack_to_json(b);
		assert_true(json_equal(first, second));
		json_decref(first);
		json_decref(second);
	}
}

static void values(void **state)
{
	AUTO_STACK *s = stack(
		"{'name':'p','services':{'web':{'image':'i','environment':{'B':'2','A':'1','N':null},"
		"'ports':[{'target':80,'published':'8080'}],'volumes':[{'type':'volume','target':'/b/c'},{'type':'tmpfs','target':'/b'}],"
		"'depends_on':{'db':{'condition':'service_healthy'},'off':{'required':false}},'mem_limit':'67108864',"
		"'deploy':{'replicas':1,'resources':{'limits':{'cpus':'0.25','pids':7}}},'networks':{'n':{'aliases':['x']}},"
		"'secrets':[{'source':'k','target':'/run/secrets/k','mode':'0440'}],'stop_grace_period':'1m30s'},"
		"'db':{'image':'d','scale':3},'side':{'image':'s','network_mode':'service:web'}},"
		"'networks':{'n':{'name':'p_n'}},'secrets':{'k':{'content':'v'}}}");
	assert_int_equal(s->n_services, 3);
	assert_string_equal(s->services[0].name, "db");
	assert_int_equal(stack_service(s, "db")->replicas, 3);
	const Service *web = stack_service(s, "web");
	assert_string_equal(web->environment[0], "A=1");
	assert_string_equal(web->environment[2], "N");
	assert_int_equal(web->ports[0].published, 8080);
	assert_int_equal(web->ports[0].published_end, 8080);
	assert_string_equal(web->ports[0].protocol, "tcp");
	assert_string_equal(web->mounts[0].target, "/b"); /* a parent before what lies in it */
	assert_int_equal(web->n_depends, 1);              /* an optional one that is absent is dropped */
	assert_int_equal(web->depends[0].condition, DEPENDS_HEALTHY);
	assert_true(web->depends[0].required);
	assert_int_equal(web->mem_limit, 64 << 20);
	assert_int_equal(web->mem_reservation, -1);
	assert_true(web->cpus > 0.249 && web->cpus < 0.251);
	assert_int_equal(web->pids_limit, 7);
	assert_int_equal(web->secrets[0].mode, 0440);
	assert_int_equal(web->stop_grace_period, 90000000000);
	assert_int_equal(web->init, -1);
	assert_true(web->attach);
	assert_int_equal(web->healthcheck.retries, -1);
	const Service *side = stack_service(s, "side"); /* a shared namespace implies the dependency */
	assert_int_equal(side->n_depends, 1);
	assert_string_equal(side->depends[0].service, "web");
	assert_string_equal(stack_network(s, "n")->driver, "bridge");
	assert_string_equal(stack_secret(s, "k")->content, "v");
	assert_null(stack_volume(s, "k"));
	assert_null(stack_config(s, "k"));
}

static void deploy_overrides_restart(void **state)
{
	AUTO_FREE char *text = one_service("'restart':'unless-stopped','deploy':{'restart_policy':{'condition':'on-failure','max_attempts':4}}");
	AUTO_STACK *s = stack(text);
	assert_int_equal(s->services[0].restart, RESTART_ON_FAILURE);
	assert_int_equal(s->services[0].restart_max, 4);
}

static const struct {
	const char *keys, *text;
} bad_services[] = {
	{ "'imge':'x'", "services.web.imge: unknown key of a service; did you mean 'image'?" },
	{ "'zzz':1", "services.web.zzz: unknown key of a service; remove it, or prefix it with 'x-'" },
	{ "'annotations':{'a':'b'}", "services.web.annotations: 'annotations' is not supported yet; use labels" },
	{ "'x-stead-hosts':{}", "services.web.x-stead-hosts: 'x-stead-hosts' is not supported yet; remove it" },
	{ "'env_file':[]", "'env_file' belongs in a compose file" },
	{ "'command':'a b'", "services.web.command: must be a list of strings, not a string" },
	{ "'command':[1]", "services.web.command[0]: must be a string, not a number" },
	{ "'tty':'yes'", "services.web.tty: must be true or false, not a string" },
	{ "'hostname':'a\\nb'", "services.web.hostname: has a control character in it" },
	{ "'environment':{'A=B':'c'}", "'A=B' cannot be a name" },
	{ "'environment':{'A':1}", "services.web.environment.A: must be a string, not a number" },
	{ "'ports':[{'target':0}]", "services.web.ports[0].target: must be 1 to 65535, not 0" },
	{ "'ports':[{'published':'1'}]", "services.web.ports[0]: 'target' is missing" },
	{ "'ports':[{'target':1,'published':'70000'}]", "services.web.ports[0].published: '70000' is no port" },
	{ "'ports':[{'target':1,'published':'9-8'}]", "services.web.ports[0].published: '9-8' is no range" },
	{ "'ports':[{'target':1,'published':'1x'}]", "'1x' is no port" },
	{ "'ports':[{'target':1,'host_ip':'x'}]", "services.web.ports[0].host_ip: 'x' is no IP address" },
	{ "'ports':[{'target':1,'protocol':'sctp'}]", "'sctp' is not supported; use tcp or udp" },
	{ "'ports':[{'target':1,'published':'80'},{'target':2,'published':'80'}]",
		"services.web.ports[1]: port 80/tcp is published twice; remove one" },
	{ "'scale':2,'ports':[{'target':1,'published':'80'}]", "2 replicas cannot all publish port 80; give a range of 2 ports" },
	{ "'network_mode':'host','ports':[{'target':1}]", "services.web.ports: ports cannot be published with network_mode 'host'" },
	{ "'scale':101", "services.web.scale: must be 0 to 100, not 101" },
	{ "'scale':2,'deploy':{'replicas':3}", "services.web.deploy.replicas: contradicts the same setting" },
	{ "'mem_limit':'67108864','deploy':{'resources':{'limits':{'memory':'1'}}}", "resources.limits.memory: contradicts" },
	{ "'mem_limit':'64m'", "services.web.mem_limit: must be a number of bytes" },
	{ "'mem_limit':'1024'", "services.web.mem_limit: 1024 bytes are too few" },
	{ "'mem_limit':'67108864','mem_reservation':'67108865'", "mem_reservation: must not be above mem_limit" },
	{ "'memswap_limit':'67108864'", "memswap_limit: needs mem_limit" },
	{ "'volumes':[{'type':'volume','source':'v','target':'/v'}]",
		"services.web.volumes.v: there is no volume 'v'; declare it at the top level under 'volumes:'" },
	{ "'volumes':[{'type':'bind','source':'v','target':'/v'}]", "volumes[0].source: a bind mount needs an absolute" },
	{ "'volumes':[{'type':'npipe','target':'/v'}]", "volumes[0].type: must be volume, bind or tmpfs, not 'npipe'" },
	{ "'volumes':[{'type':'volume','target':'v'}]", "volumes[0].target: must be an absolute path, not 'v'" },
	{ "'volumes':[{'type':'volume','target':'/v','tmpfs':{'size':'1'}}]", "volumes[0].tmpfs: applies to type: tmpfs only" },
	{ "'volumes':[{'type':'volume','target':'/v'},{'type':'tmpfs','target':'/v'}]", "services.web.volumes: two mounts go to '/v'" },
	{ "'volumes':[{'type':'volume','target':'/v'}],'tmpfs':['/v:size=1m']", "services.web.tmpfs: '/v' is also the target" },
	{ "'networks':{'n':null}", "services.web.networks.n: there is no network 'n'; declare it" },
	{ "'network_mode':'hots'", "services.web.network_mode: 'hots' is unknown; did you mean 'host'?" },
	{ "'network_mode':'container:x'", "'container:x' is not supported yet; use service:NAME" },
	{ "'network_mode':'service:web'", "'service:web' is the service itself" },
	{ "'pid':'service:db'", "services.web.pid: there is no service 'db'" },
	{ "'depends_on':{'wbe':{}}", "services.web.depends_on.wbe: there is no service 'wbe'; did you mean 'web'?" },
	{ "'depends_on':{'web':{}}", "services.web.depends_on: 'web' depends on itself" },
	{ "'depends_on':{'db':{'condition':'healthy'}}", "depends_on.db.condition: must be service_started, service_healthy or" },
	{ "'healthcheck':{'test':['curl']}", "services.web.healthcheck.test: must begin with NONE, CMD or CMD-SHELL, not 'curl'" },
	{ "'healthcheck':{'interval':'10'}", "services.web.healthcheck.interval: must be a duration" },
	{ "'healthcheck':{'test':['CMD']}", "CMD needs a command after it" },
	{ "'restart':'sometimes'", "services.web.restart: must be \"no\", always, on-failure[:N] or unless-stopped, not 'sometimes'" },
	{ "'restart':'on-failure:x'", "needs a number of attempts" },
	{ "'cap_add':['NET_ADMN']", "services.web.cap_add: 'NET_ADMN' is no capability; did you mean 'NET_ADMIN'?" },
	{ "'ulimits':{'nofiles':1}", "services.web.ulimits: 'nofiles' is no limit; did you mean 'nofile'?" },
	{ "'ulimits':{'nofile':{'soft':2,'hard':1}}", "ulimits.nofile: the soft limit must not be above" },
	{ "'sysctls':{'kernel.panic':'1'}", "'kernel.panic' belongs to the whole machine" },
	{ "'sysctls':{'net.x/../../y':'1'}", "belongs to the whole machine" },
	{ "'stop_signal':'SIGFOO'", "services.web.stop_signal: 'SIGFOO' is no signal" },
	{ "'extra_hosts':['a:1.2.3.4']", "must be NAME=ADDRESS" },
	{ "'dns':['x']", "services.web.dns: 'x' is no IP address" },
	{ "'logging':{'driver':'syslog'}", "services.web.logging.driver: 'syslog' is not supported yet" },
	{ "'logging':{'options':{'max-sizes':'1m'}}", "unknown option 'max-sizes'; did you mean 'max-size'?" },
	{ "'security_opt':['seccomp=/x.json']", "'seccomp=/x.json' is not supported yet" },
	{ "'secrets':[{'source':'s','target':'/s'}]", "services.web.secrets.s: there is no secret 's'" },
	{ "'container_name':'a b'", "services.web.container_name: 'a b' is no valid name" },
	{ "'container_name':'a','scale':2", "2 containers cannot all be named 'a'" },
	{ "'deploy':{'mode':'global'}", "'global' is not supported yet" },
	{ "'pull_policy':'sometimes'", "services.web.pull_policy: must be missing, always, never, build, daily, weekly or every_TIME (such as every_12h), not 'sometimes'" },
	{ "'pull_policy':'every_'", "every_TIME" },
	{ "'pull_policy':'every_5'", "every_TIME" },
	{ "'pull_policy':'every_1x'", "every_TIME" },
	{ "'pull_policy':'every_999999w'", "every_TIME" },
	{ "'pull_policy':7", "every_TIME" },
	{ "'expose':['80']", "'80' must be PORT/tcp or PORT/udp" },
};

static const struct {
	const char *json, *text;
} bad_stacks[] = {
	{ "[]", "must be a map, not a list" },
	{ "{}", "'name' is missing" },
	{ "{'name':'A'}", "name: 'A' is no valid project name" },
	{ "{'name':'a','servces':{}}", "servces: unknown key of the file; did you mean 'services'?" },
	{ "{'name':'a','services':{'a':{}}}", "services.a: has no 'image'" },
	{ "{'name':'a','services':{'a/b':{'image':'i'}}}", "'a/b' is no valid name for a service" },
	{ "{'name':'a','services':{'a':{'image':'i','depends_on':{'b':{}}},'b':{'image':'i','depends_on':{'c':{}}},"
	  "'c':{'image':'i','depends_on':{'b':{}}}}}", "services.b.depends_on: the dependencies form a cycle: b → c → b" },
	{ "{'name':'a','services':{'a':{'image':'i','depends_on':{'b':{}}},'b':{'image':'i','network_mode':'service:a'}}}",
		"the dependencies form a cycle: a → b → a" },
	{ "{'name':'a','services':{'a':{'image':'i','ports':[{'target':1,'published':'80','host_ip':'127.0.0.1'}]},"
	  "'b':{'image':'i','ports':[{'target':2,'published':'80'}]}}}",
		"services.b.ports[0]: port 80/tcp is already published by service 'a'; choose another" },
	{ "{'name':'a','services':{'a':{'image':'i','container_name':'x'},'b':{'image':'i','container_name':'x'}}}",
		"service 'a' has the name 'x' for its container, too" },
	{ "{'name':'a','services':{'a':{'image':'i','depends_on':{'b':{'condition':'service_healthy'}}},"
	  "'b':{'image':'i','healthcheck':{'disable':true}}}}", "whose health check is disabled" },
	{ "{'name':'a','networks':{'n':{}}}", "networks.n: 'name' is missing" },
	{ "{'name':'a','networks':{'n':{'name':'n','driver':'overlay'}}}", "'overlay' is not supported; use bridge" },
	{ "{'name':'a','networks':{'n':{'name':'n','ipam':{'config':[{'subnet':'1.2.3.4'}]}}}}", "'1.2.3.4' is no subnet" },
	{ "{'name':'a','networks':{'n':{'name':'n','ipam':{'config':[{'subnet':'10.0.0.0/24','gateway':'10.0.1.1'}]}}}}",
		"'10.0.1.1' is no address in 10.0.0.0/24" },
	{ "{'name':'a','services':{'s':{'image':'i','networks':{'n':{'ipv4_address':'10.0.0.5'}}}},'networks':{'n':{'name':'n'}}}",
		"services.s.networks.n.ipv4_address: 10.0.0.5 is in no subnet" },
	{ "{'name':'a','services':{'a':{'image':'i','networks':{'n':{'ipv4_address':'10.0.0.5'}}},"
	  "'b':{'image':'i','networks':{'n':{'ipv4_address':'10.0.0.5'}}}},"
	  "'networks':{'n':{'name':'n','ipam':{'config':[{'subnet':'10.0.0.0/24'}]}}}}",
		"services.b.networks.n.ipv4_address: 10.0.0.5 is the address of service 'a' already" },
	{ "{'name':'a','networks':{'n':{'name':'n','ipam':{'config':[{'subnet':'10.0.0.0/24'},{'subnet':'10.0.1.0/24'}]}}}}",
		"networks.n.ipam: has 2 IPv4 subnets" },
	{ "{'name':'a','volumes':{'v':{'name':'v','driver_opts':{'type':'nfs'}}}}", "volumes.v.driver_opts: 'driver_opts' is not supported yet" },
	{ "{'name':'a','volumes':{'v':{'name':'v','driver':'nfs'}}}", "'nfs' is not supported; use local" },
	{ "{'name':'a','secrets':{'s':{'external':true}}}", "secrets.s.external: 'external' is not supported yet" },
	{ "{'name':'a','secrets':{'s':{'file':'/a','content':'b'}}}", "needs exactly one of" },
};

static void check_refused(const char *text, const char *wanted)
{
	json_t *root = json(text);
	AUTO_ERR err = ERR_INIT;
	Stack *s = NULL;
	if (stack_from_json(root, &s, NULL, &err) == 0)
		fail_msg("accepted: %s", text);
	if (!strstr(err_text(&err), wanted))
		fail_msg("%s\n   gave: %s\n wanted: %s", text, err_text(&err), wanted);
	json_decref(root);
}

static void refusals(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad_services); i++) {
		AUTO_FREE char *text = one_service(bad_services[i].keys);
		check_refused(text, bad_services[i].text);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad_stacks); i++)
		check_refused(bad_stacks[i].json, bad_stacks[i].text);
}

/* One port twice: which addresses may stand beside each other. */
static void ports_beside_each_other(void **state)
{
	static const struct {
		const char *a, *b;
		bool good;
	} cases[] = {
		{ NULL, NULL, false }, { NULL, "127.0.0.1", false }, { "127.0.0.1", NULL, false }, { NULL, "::1", false },
		{ "0.0.0.0", "127.0.0.1", false }, { "127.0.0.1", "0.0.0.0", false }, { "::", "::1", false },
		{ "127.0.0.1", "127.0.0.1", false }, { "::1", "0:0:0:0:0:0:0:1", false }, { "::", NULL, false },
		{ "127.0.0.1", "127.0.0.2", true }, { "127.0.0.1", "::1", true }, { "0.0.0.0", "::", true },
		{ "0.0.0.0", "::1", true }, { "::", "127.0.0.1", true },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *root = json_pack("{s:s, s:{s:{s:s, s:[{s:i, s:s, s:s*}]}, s:{s:s, s:[{s:i, s:s, s:s*}]}}}", "name", "p", "services",
			"a", "image", "i", "ports", "target", 1, "published", "80", "host_ip", cases[i].a,
			"b", "image", "i", "ports", "target", 1, "published", "80", "host_ip", cases[i].b);
		assert_non_null(root);
		AUTO_STACK *s = NULL;
		AUTO_ERR err = ERR_INIT;
		int e = stack_from_json(root, &s, NULL, &err);
		json_decref(root);
		if ((e == 0) != cases[i].good)
			fail_msg("%s, %s: %s", cases[i].a, cases[i].b, e ? err_text(&err) : "accepted");
		if (e < 0)
			assert_non_null(strstr(err_text(&err), "services.b.ports[0]: port 80/tcp is already published by service 'a'"));
	}
}

static void error_place(void **state)
{
	json_t *root = json("{'name':'p','services':{'web':{'image':'i','ports':[{'target':80},{'target':'x'}]}}}");
	AUTO_ERR err = ERR_INIT;
	ModelPath where;
	Stack *s = NULL;
	assert_int_not_equal(stack_from_json(root, &s, &where, &err), 0);
	assert_string_equal(where.text, "services.web.ports[1].target");
	json_decref(root);
}

static void hash_of(const char *keys, char hex[65])
{
	AUTO_FREE char *text = one_service(keys);
	AUTO_STACK *s = stack(text);
	service_hash(s, &s->services[0], hex);
}

static void hashes(void **state)
{
	char a[65], b[65];
	hash_of("'environment':{'A':'1','B':'2'}", a);
	hash_of("'environment':{'B':'2','A':'1'}", b);
	assert_string_equal(a, b);
	hash_of("'environment':{'B':'2','A':'1'},'scale':3,'pull_policy':'always','attach':false,"
		"'x-stead':{'routes':[{'host':'a.b'}],'deploy':{'keep':9}}", b);
	assert_string_equal(a, b);
	hash_of("'environment':{'B':'2','A':'0'}", b);
	assert_string_not_equal(a, b);

	static const char *const stacks[] = {
		"{'name':'p','services':{'web':{'image':'i','networks':{'n':null},'configs':[{'source':'c','target':'/c'}]}},"
		"'networks':{'n':{'name':'one'}},'configs':{'c':{'content':'x'}}}",
		"{'name':'p','services':{'web':{'image':'i','networks':{'n':null},'configs':[{'source':'c','target':'/c'}]}},"
		"'networks':{'n':{'name':'two'}},'configs':{'c':{'content':'x'}}}",
		"{'name':'p','services':{'web':{'image':'i','networks':{'n':null},'configs':[{'source':'c','target':'/c'}]}},"
		"'networks':{'n':{'name':'one'}},'configs':{'c':{'content':'y'}}}",
	};
	char hex[3][65];
	for (size_t i = 0; i < ARRAY_SIZE(stacks); i++) {
		AUTO_STACK *s = stack(stacks[i]);
		service_hash(s, &s->services[0], hex[i]);
	}
	assert_string_not_equal(hex[0], hex[1]);
	assert_string_not_equal(hex[0], hex[2]);
}

static void one_service_alone(void **state)
{
	AUTO_FREE char *text = one_service("'hostname':'h','depends_on':{'gone':{}}");
	json_t *root = json(text);
	json_t *o = json_object_get(json_object_get(root, "services"), "web");
	AUTO_ERR err = ERR_INIT;
	Service s;
	assert_int_equal(service_from_json(o, "web", &s, &err), 0);
	assert_string_equal(s.name, "web");
	assert_string_equal(s.hostname, "h");
	json_t *again = service_to_json(&s);
	assert_string_equal(json_string_value(json_object_get(again, "hostname")), "h");
	json_decref(again);
	service_done(&s);
	json_decref(root);
}

static void health(void **state)
{
	const int64_t second = 1000000000;
	char *test[] = { (char *) "CMD", (char *) "x", NULL }, *other[] = { (char *) "CMD", (char *) "y", NULL };
	const Healthcheck unset = { .interval = -1, .timeout = -1, .start_period = -1, .start_interval = -1, .retries = -1 };
	Healthcheck image = unset, service = unset, h;
	healthcheck_resolve(&unset, NULL, &h);
	assert_null(h.test);
	assert_false(h.set);
	image.set = true;
	image.test = test;
	image.interval = 7 * second;
	service.set = true;
	service.retries = 9;
	healthcheck_resolve(&service, &image, &h);
	assert_string_equal(h.test[1], "x");
	assert_int_equal(h.interval, 7 * second);
	assert_int_equal(h.timeout, 30 * second);
	assert_int_equal(h.start_interval, 5 * second);
	assert_int_equal(h.retries, 9);
	healthcheck_done(&h);
	service.test = other;
	healthcheck_resolve(&service, &image, &h);
	assert_string_equal(h.test[1], "y");
	healthcheck_done(&h);
	service.disable = true;
	healthcheck_resolve(&service, &image, &h);
	assert_null(h.test);
	assert_true(h.disable);
	healthcheck_done(&h);
}

static void names(void **state)
{
	assert_true(stack_name_valid("a_b-1"));
	assert_false(stack_name_valid("A"));
	assert_false(stack_name_valid(""));
	assert_false(stack_name_valid("-a"));
	assert_false(stack_name_valid("a.b"));
	assert_true(object_name_valid("A.b-c_1"));
	assert_false(object_name_valid("../x"));
	assert_false(object_name_valid(".x"));
	assert_false(object_name_valid("a/b"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip), cmocka_unit_test(values), cmocka_unit_test(deploy_overrides_restart),
		cmocka_unit_test(refusals), cmocka_unit_test(ports_beside_each_other), cmocka_unit_test(error_place), cmocka_unit_test(hashes),
		cmocka_unit_test(one_service_alone), cmocka_unit_test(health), cmocka_unit_test(names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
