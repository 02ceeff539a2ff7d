// SPDX-License-Identifier: Apache-2.0
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
#include "compose/emit.h"
#include "compose/load.h"

/* ---- a directory of its own for each test ---- */

typedef struct Place {
	char *dir;
	ComposeOptions o;
	char **environ;
	char **warnings;
	Err err;
} Place;

static int enter(void **state)
{
	char template[] = "/tmp/stead-test-load.XXXXXX";
	Place *p = xcalloc(1, sizeof(*p));
	p->dir = xstrdup(mkdtemp(template));
	p->o.cwd = p->dir;
	p->o.project_name = "p";
	strv_setenv(&p->environ, "HOME", "/home/u");
	strv_setenv(&p->environ, "SET", "value");
	p->o.environ = p->environ;
	*state = p;
	return 0;
}

static int leave(void **state)
{
	Place *p = *state;
	(void) tree_remove(AT_FDCWD, p->dir);
	free(p->dir);
	strv_free(p->environ);
	strv_free(p->warnings);
	err_done(&p->err);
	free(p);
	return 0;
}

static void put(Place *p, const char *name, const char *text)
{
	AUTO_FREE char *path = xasprintf("%s/%s", p->dir, name);
	AUTO_FREE char *dir = xstrndup(path, (size_t) (strrchr(path, '/') - path));
	assert_int_equal(dir_make(dir, 0700), 0);
	assert_int_equal(file_write(AT_FDCWD, path, text, strlen(text), 0600), 0);
}

/* NULL when the load failed; the text is in p->err then. */
static Stack *try_load(Place *p)
{
	Stack *s = NULL;
	strv_free(p->warnings);
	p->warnings = NULL;
	err_done(&p->err);
	int e = compose_load(&p->o, &s, &p->warnings, &p->err);
	assert_true((e == 0) == (s != NULL));
	assert_true((e < 0) == (p->err.text != NULL));
	return s;
}

static Stack *load(Place *p)
{
	Stack *s = try_load(p);
	if (!s)
		fail_msg("%s", err_text(&p->err));
	return s;
}

static Stack *load_text(Place *p, const char *yaml)
{
	put(p, "compose.yaml", yaml);
	return load(p);
}

static void refused(Place *p, const char *yaml, const char *wanted)
{
	put(p, "compose.yaml", yaml);
	AUTO_STACK *s = try_load(p);
	if (s)
		fail_msg("accepted: %s", yaml);
	if (!strstr(err_text(&p->err), wanted))
		fail_msg("%s\n   gave: %s\n wanted: %s", yaml, err_text(&p->err), wanted);
}

/* ---- one key of one service ---- */

static char *with_web(const char *keys)
{
	return xasprintf("services:\n  web: {image: i, %s}\n  db: {image: d, networks: [back]}\n"
			 "networks: {back: {ipam: {config: [{subnet: 10.8.0.0/24}]}}}\nvolumes: {data: {}}\n"
			 "secrets: {key: {content: k}}\nconfigs: {conf: {content: c}}\n",
		keys);
}

/* `wanted` is JSON in single quotes; $DIR in it stands for the directory. NULL: the key is absent. */
static void check_key(Place *p, const char *keys, const char *key, const char *wanted)
{
	AUTO_FREE char *yaml = with_web(keys);
	AUTO_STACK *s = load_text(p, yaml);
	json_t *o = service_to_json(stack_service(s, "web")), *got = json_object_get(o, key);
	AUTO_BUF text = BUF_INIT;
	for (const char *c = wanted; c && *c; c++) {
		if (str_starts(c, "$DIR")) {
			buf_str(&text, p->dir);
			c += 3;
		} else {
			buf_char(&text, *c == '\'' ? '"' : *c);
		}
	}
	json_t *expected = wanted ? json_loads(buf_cstr(&text), JSON_DECODE_ANY, NULL) : NULL;
	if (wanted)
		assert_non_null(expected);
	char *dump = got ? json_dumps(got, JSON_ENCODE_ANY | JSON_SORT_KEYS) : NULL;
	if (wanted ? !json_equal(got, expected) : got != NULL)
		fail_msg("%s gave %s, not %s", keys, dump ? dump : "nothing", wanted ? wanted : "nothing");
	free(dump);
	json_decref(expected);
	json_decref(o);
}

static const struct {
	const char *keys, *key, *wanted;
} forms[] = {
	/* ports */
	{ "ports: ['80']", "ports", "[{'target':80,'protocol':'tcp'}]" },
	{ "ports: [80]", "ports", "[{'target':80,'protocol':'tcp'}]" },
	{ "ports: ['8080:80']", "ports", "[{'target':80,'published':'8080','protocol':'tcp'}]" },
	{ "ports: ['8080:80/UDP']", "ports", "[{'target':80,'published':'8080','protocol':'udp'}]" },
	{ "ports: ['127.0.0.1:8080:80']", "ports", "[{'target':80,'published':'8080','host_ip':'127.0.0.1','protocol':'tcp'}]" },
	{ "ports: ['127.0.0.1::80']", "ports", "[{'target':80,'host_ip':'127.0.0.1','protocol':'tcp'}]" },
	{ "ports: ['[::1]:8080:80']", "ports", "[{'target':80,'published':'8080','host_ip':'::1','protocol':'tcp'}]" },
	{ "ports: ['3000-3001']", "ports", "[{'target':3000,'protocol':'tcp'},{'target':3001,'protocol':'tcp'}]" },
	{ "ports: ['90-91:80-81']", "ports",
		"[{'target':80,'published':'90','protocol':'tcp'},{'target':81,'published':'91','protocol':'tcp'}]" },
	{ "ports: ['90-95:80']", "ports", "[{'target':80,'published':'90-95','protocol':'tcp'}]" },
	{ "ports: ['${NO}:80']", "ports", "[{'target':80,'protocol':'tcp'}]" },
	{ "ports: ['${NO:-90}:80']", "ports", "[{'target':80,'published':'90','protocol':'tcp'}]" },
	{ "ports: [{target: '80', published: 8080, mode: host, host_ip: '', app_protocol: http, name: web}]", "ports",
		"[{'target':80,'published':'8080','protocol':'tcp','name':'web'}]" },
	{ "ports: [{target: 80, published: '90-95', protocol: udp}]", "ports",
		"[{'target':80,'published':'90-95','protocol':'udp'}]" },
	{ "expose: [80, '81/udp', 90-91]", "expose", "['80/tcp','81/udp','90/tcp','91/tcp']" },
	/* volumes */
	{ "volumes: ['data:/d']", "volumes", "[{'type':'volume','source':'data','target':'/d'}]" },
	{ "volumes: ['data:/d/:ro,nocopy']", "volumes",
		"[{'type':'volume','source':'data','target':'/d','read_only':true,'volume':{'nocopy':true}}]" },
	{ "volumes: [/anon]", "volumes", "[{'type':'volume','target':'/anon'}]" },
	{ "volumes: ['./x:/d']", "volumes", "[{'type':'bind','source':'$DIR/x','target':'/d'}]" },
	{ "volumes: ['.:/d']", "volumes", "[{'type':'bind','source':'$DIR','target':'/d'}]" },
	{ "volumes: ['../x/../y:/d:rw']", "volumes", "[{'type':'bind','source':'/tmp/y','target':'/d'}]" },
	{ "volumes: ['~/x:/d:ro,Z']", "volumes", "[{'type':'bind','source':'/home/u/x','target':'/d','read_only':true}]" },
	{ "volumes: ['/:/host:ro,rslave']", "volumes",
		"[{'type':'bind','source':'/','target':'/host','read_only':true,'bind':{'propagation':'rslave'}}]" },
	{ "volumes: [{type: bind, source: x, target: /d, bind: {create_host_path: true, selinux: z}}]", "volumes",
		"[{'type':'bind','source':'$DIR/x','target':'/d','bind':{'create_host_path':true}}]" },
	{ "volumes: [{type: tmpfs, target: /d, tmpfs: {size: 1m, mode: 0700}}]", "volumes",
		"[{'type':'tmpfs','target':'/d','tmpfs':{'size':'1048576','mode':'0700'}}]" },
	{ "volumes: [{type: volume, source: data, target: /d, read_only: yes, volume: {subpath: a/b}}]", "volumes",
		"[{'type':'volume','source':'data','target':'/d','read_only':true,'volume':{'subpath':'a/b'}}]" },
	{ "tmpfs: /run", "tmpfs", "['/run']" },
	{ "tmpfs: ['/run:size=1m']", "tmpfs", "['/run:size=1m']" },
	/* commands */
	{ "command: a b", "command", "['a','b']" },
	{ "command: sh -c \"echo 'x y' && z\"", "command", "['sh','-c','echo \\u0027x y\\u0027 && z']" },
	{ "command: 'a \"b \\\" c\" d\\ e'", "command", "['a','b \\u0022 c','d e']" },
	{ "command: [a, 'b c', 3, true]", "command", "['a','b c','3','true']" },
	{ "command: []", "command", "[]" },
	{ "command: ''", "command", "[]" },
	{ "command: null", "command", NULL },
	{ "entrypoint: /x.sh -v", "entrypoint", "['/x.sh','-v']" },
	/* environment: values as they are written */
	{ "environment: {A: 3.10, B: true, C: 0777, D: '', E: null, F: 1e3, G: no}", "environment",
		"{'A':'3.10','B':'true','C':'0777','D':'','E':null,'F':'1e3','G':'no'}" },
	{ "environment: [A=1, 'B=x=y', C, SET, D=]", "environment", "{'A':'1','B':'x=y','C':null,'SET':'value','D':''}" },
	{ "environment: {SET: , A: \"${SET}\", B: $$SET, C: '${NO-}'}", "environment",
		"{'SET':'value','A':'value','B':'$SET','C':''}" },
	/* maps and lists */
	{ "labels: [a=b, c]", "labels", "{'a':'b','c':''}" },
	{ "labels: {a: 1, c: }", "labels", "{'a':'1','c':''}" },
	{ "depends_on: [db]", "depends_on", "{'db':{'condition':'service_started','required':true}}" },
	{ "depends_on: {db: {condition: service_healthy, restart: true, required: false}}", "depends_on",
		"{'db':{'condition':'service_healthy','required':false,'restart':true}}" },
	{ "depends_on: {gone: {condition: service_started, required: false}}", "depends_on", NULL },
	{ "networks: [back]", "networks", "{'back':null}" },
	{ "networks: {back: {aliases: [x], ipv4_address: 10.8.0.9, priority: 5}}", "networks",
		"{'back':{'aliases':['x'],'ipv4_address':'10.8.0.9','priority':5}}" },
	{ "hostname: h", "networks", "{'default':null}" },
	{ "networks: {default: , back: }", "networks", "{'back':null,'default':null}" },
	{ "network_mode: none", "networks", NULL },
	{ "network_mode: 'service:db'", "depends_on", "{'db':{'condition':'service_started','required':true,'restart':true}}" },
	{ "mac_address: '02:00:00:00:00:01'", "networks", "{'default':{'mac_address':'02:00:00:00:00:01'}}" },
	{ "links: ['db:database'], networks: [back]", "depends_on",
		"{'db':{'condition':'service_started','required':true,'restart':true}}" },
	{ "healthcheck: {test: curl x, interval: 90s, retries: '3', start_interval: 1s}", "healthcheck",
		"{'test':['CMD-SHELL','curl x'],'interval':'1m30s','retries':3,'start_interval':'1s'}" },
	{ "healthcheck: {test: [CMD, curl, x], timeout: 500ms}", "healthcheck", "{'test':['CMD','curl','x'],'timeout':'500ms'}" },
	{ "healthcheck: {disable: true}", "healthcheck", "{'disable':true}" },
	{ "healthcheck: {test: [NONE]}", "healthcheck", "{'disable':true}" },
	{ "ulimits: {nproc: 5, nofile: {soft: 1, hard: 2}}", "ulimits",
		"{'nproc':{'soft':5,'hard':5},'nofile':{'soft':1,'hard':2}}" },
	{ "extra_hosts: ['a:1.2.3.4', 'b=::1', 'c:[::2]', 'd:host-gateway']", "extra_hosts",
		"['a=1.2.3.4','b=::1','c=::2','d=host-gateway']" },
	{ "extra_hosts: {a: 1.2.3.4}", "extra_hosts", "['a=1.2.3.4']" },
	{ "dns: 1.2.3.4", "dns", "['1.2.3.4']" },
	{ "dns_search: [a.b, c.d]", "dns_search", "['a.b','c.d']" },
	{ "cap_add: [net_admin, CAP_SYS_TIME]", "cap_add", "['NET_ADMIN','SYS_TIME']" },
	{ "sysctls: {net.core.somaxconn: 1024}", "sysctls", "{'net.core.somaxconn':'1024'}" },
	{ "sysctls: [net.core.somaxconn=1024]", "sysctls", "{'net.core.somaxconn':'1024'}" },
	{ "devices: ['/dev/a:/dev/b:r', /dev/c, '/dev/d:rw']", "devices",
		"[{'source':'/dev/a','target':'/dev/b','permissions':'r'},{'source':'/dev/c','target':'/dev/c','permissions':'rwm'},"
		"{'source':'/dev/d','target':'/dev/d','permissions':'rw'}]" },
	{ "secrets: [key]", "secrets", "[{'source':'key','target':'/run/secrets/key'}]" },
	{ "secrets: [{source: key, target: x, uid: 5, mode: 0440}]", "secrets",
		"[{'source':'key','target':'/run/secrets/x','uid':'5','mode':'0440'}]" },
	{ "configs: [conf, {source: conf, target: /etc/c, mode: '0400'}]", "configs",
		"[{'source':'conf','target':'/conf'},{'source':'conf','target':'/etc/c','mode':'0400'}]" },
	{ "logging: {driver: json-file, options: {max-size: 1m, max-file: 2}}", "logging",
		"{'driver':'json-file','options':{'max-size':'1m','max-file':'2'}}" },
	/* scalars */
	{ "user: 1000", "user", "'1000'" },
	{ "user: '${NO}'", "user", NULL },
	{ "restart: no", "restart", NULL },
	{ "restart: on-failure:3", "restart", "'on-failure:3'" },
	{ "mem_limit: 64m", "mem_limit", "'67108864'" },
	{ "mem_limit: 67108864", "mem_limit", "'67108864'" },
	{ "mem_limit: 0", "mem_limit", NULL },
	{ "memswap_limit: -1", "memswap_limit", "'-1'" },
	{ "shm_size: 1gb", "shm_size", "'1073741824'" },
	{ "cpus: '0.5'", "cpus", "0.5" },
	{ "cpus: .5", "cpus", "0.5" },
	{ "init: 'true'", "init", "true" },
	{ "tty: yes", "tty", "true" },
	{ "read_only: '${NO:-off}'", "read_only", NULL },
	{ "stop_grace_period: 90s", "stop_grace_period", "'1m30s'" },
	{ "pull_policy: if_not_present", "pull_policy", NULL },
	{ "pull_policy: every_1d", "pull_policy", "'daily'" },
	{ "pull_policy: every_1w2d3h4m5s", "pull_policy", "'every_788645s'" },
	{ "platform: Linux/ARM64", "platform", "'linux/arm64'" },
	{ "group_add: [5, video]", "group_add", "['5','video']" },
	{ "scale: 2", "scale", "2" },
	{ "deploy: {replicas: 3}", "scale", "3" },
	{ "deploy: {resources: {limits: {memory: 64M, cpus: '1', pids: 9}, reservations: {memory: 10M, cpus: '0.1'}}}", "mem_reservation",
		"'10485760'" },
	{ "deploy: {resources: {limits: {pids: 9}}}", "pids_limit", "9" },
	{ "restart: always, deploy: {restart_policy: {condition: on-failure, max_attempts: 2}}", "restart", "'on-failure:2'" },
	{ "deploy: {restart_policy: {delay: 5s}}", "deploy", "{'restart_policy':{'condition':'any','delay':'5s'}}" },
	{ "x-note: {a: b}, attach: false", "attach", "false" },
	/* x-stead */
	{ "x-stead: {route: App.example.com}", "x-stead", "{'routes':[{'host':'app.example.com','path':'/'}]}" },
	{ "x-stead: {route: app.example.com/api/}", "x-stead", "{'routes':[{'host':'app.example.com','path':'/api'}]}" },
	{ "x-stead: {route: '*.example.com'}", "x-stead", "{'routes':[{'host':'*.example.com','path':'/'}]}" },
	{ "x-stead: {route: /}", "x-stead", "{'routes':[{'path':'/'}]}" },
	{ "x-stead: {route: '${SET}.test'}", "x-stead", "{'routes':[{'host':'value.test','path':'/'}]}" },
	{ "x-stead: {route: [a.b, c.d/e]}", "x-stead", "{'routes':[{'host':'a.b','path':'/'},{'host':'c.d','path':'/e'}]}" },
	{ "x-stead: {routes: [{host: a, port: '80', cache: 10m, max_body: 20m, rate: 50/s, timeout: 2m, tls: off}]}", "x-stead",
		"{'routes':[{'host':'a','path':'/','port':80,'cache':{'ttl':'10m0s','max_size':'67108864','disk':'0'},"
		"'max_body':'20971520','rate':'50/s','timeout':'2m0s','tls':'off'}]}" },
	{ "x-stead: {routes: [{tls: {cert: a.pem, key: /k/b.pem}, cache: {max_size: 1m, disk: 1g}}]}", "x-stead",
		"{'routes':[{'path':'/','cache':{'ttl':'0s','max_size':'1048576','disk':'1073741824'},"
		"'tls':{'cert':'$DIR/a.pem','key':'/k/b.pem'}}]}" },
	{ "x-stead: {routes: [{rate: 600/m, tls: auto}]}", "x-stead", "{'routes':[{'path':'/','rate':'600/m'}]}" },
	{ "x-stead: {deploy: {order: stop-first, drain: 5s, bake: 0s, keep: 3, smoke: /up, pre_deploy: 'sh -c \"a b\"', post_deploy: [x]}}",
		"x-stead", "{'deploy':{'order':'stop-first','drain':'5s','bake':'0s','keep':3,'smoke':[{'get':'/up'}],"
			   "'pre_deploy':['sh','-c','a b'],'post_deploy':['x']}}" },
	{ "x-stead: {deploy: {smoke: [{get: /h?a=b, status: 404, contains: ' UP', port: 8080, timeout: 1s}, /x]}}", "x-stead",
		"{'deploy':{'smoke':[{'get':'/h?a=b','status':404,'contains':' UP','port':8080,'timeout':'1s'},{'get':'/x'}]}}" },
	{ "x-stead: {deploy: {order: auto, health_timeout: 60s, drain: 30s, bake: 10s, hold: 30s}}", "x-stead", NULL },
	{ "x-stead: {x-note: 1}", "x-stead", NULL },
	{ "x-stead: ", "x-stead", NULL },
};

static void canonical_forms(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
		check_key(*state, forms[i].keys, forms[i].key, forms[i].wanted);
}

/* ---- YAML ---- */

static void yaml_merges(void **state)
{
	AUTO_STACK *s = load_text(*state,
		"x-a: &a {A: '1', B: '1'}\nx-b: &b {B: '2', C: '2'}\nservices:\n"
		"  one: &one {image: i, environment: {<<: *a, B: own}}\n"
		"  two: {image: i, environment: {<<: [*a, *b], D: '4'}}\n"
		"  three: {<<: *one, image: k}\n");
	const Service *one = stack_service(s, "one"), *two = stack_service(s, "two"), *three = stack_service(s, "three");
	assert_string_equal(strv_env(one->environment, "A"), "1");
	assert_string_equal(strv_env(one->environment, "B"), "own");
	assert_string_equal(strv_env(two->environment, "B"), "1"); /* the first of the list wins */
	assert_string_equal(strv_env(two->environment, "C"), "2");
	assert_string_equal(three->image, "k");
	assert_string_equal(strv_env(three->environment, "B"), "own");
}

static void yaml_text(void **state)
{
	AUTO_STACK *s = load_text(*state, "\xef\xbb\xbf# comment\n%YAML 1.2\n---\nservices:\n  web:\n    image: \"i\\u00fc\"\n"
					  "    command: [ one,\n  two ]\n    environment:\n      M: |\n        a\n        b\n      F: >-\n"
					  "        a\n        b\n");
	const Service *web = stack_service(s, "web");
	assert_string_equal(web->image, "i\xc3\xbc");
	assert_string_equal(web->command[1], "two");
	assert_string_equal(strv_env(web->environment, "M"), "a\nb\n");
	assert_string_equal(strv_env(web->environment, "F"), "a b");
}

static const char bomb[] = "x-a: &a [l, l, l, l, l, l, l, l, l, l]\nx-b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\n"
			   "x-c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\nx-d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\n"
			   "x-e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]\nservices: {web: {image: i}}\n";

static void yaml_refusals(void **state)
{
	static const struct {
		const char *yaml, *wanted;
	} cases[] = {
		{ "", "compose.yaml: the file is empty" },
		{ "# only a comment\n", "compose.yaml: the file is empty" },
		{ "[1]\n", "compose.yaml:1: the file must be a map with 'services:', not a list" },
		{ "services: {a: {image: \"\xff\"}}\n", "compose.yaml:1: the file is not UTF-8" },
		{ "a: 1\nb: \xc3\x28\n", "compose.yaml:2: the file is not UTF-8" },
		{ "a: \x01\n", "compose.yaml:1: a control character (0x01)" },
		{ "a: \"\\0\"\n", "compose.yaml:1: a: a value has a NUL character" },
		{ bomb, "compose.yaml:5: x-e" },
		{ "a: &a [*a]\n", "compose.yaml:1: a[0]: the alias '*a' is inside of what it names" },
		{ "a: *b\n", "compose.yaml:1: a: there is no anchor '&b' before this alias" },
		{ "services:\n  web:\n    image: a\n    image: b\n",
			"compose.yaml:4: services.web.image: the key 'image' is there twice (first on line 3); remove one" },
		{ "services:\n  web: {image: a}\n  web: {image: b}\n", "compose.yaml:3: services.web: the key 'web' is there twice" },
		{ "a: [1, 2\n", "compose.yaml" },
		{ "a: b: c\n", "compose.yaml:1: " },
		{ "a:\n\t- b\n", "compose.yaml" },
		{ "a: {? [x] : y}\n", "compose.yaml:1: a: a map or list cannot be a key" },
		{ "a: !foo b\n", "compose.yaml:1: a: unknown tag '!foo'" },
		{ "a: {<<: 5}\n", "compose.yaml:1: a.<<: '<<' takes a map or a list of maps, not a number" },
		{ "a: {<<: [5]}\n", "'<<' takes a map or a list of maps; element 0 is a number" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		refused(*state, cases[i].yaml, cases[i].wanted);
}

static void yaml_limits(void **state)
{
	AUTO_BUF deep = BUF_INIT, big = BUF_INIT, quadratic = BUF_INIT;
	for (int i = 0; i < 100; i++)
		buf_str(&deep, "[");
	refused(*state, buf_cstr(&deep), "compose.yaml:1: ");
	for (int i = 0; i < 100; i++)
		buf_str(&deep, "]");
	refused(*state, buf_cstr(&deep), "nested deeper than 64 levels");
	for (int i = 0; i < (1 << 20) / 8 + 1; i++)
		buf_str(&big, "# text \n");
	refused(*state, buf_cstr(&big), "is larger than 1048576 bytes");
	buf_str(&quadratic, "x-a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\nx-b:\n");
	for (int i = 0; i < 10000; i++)
		buf_str(&quadratic, "- *a\n");
	refused(*state, buf_cstr(&quadratic), "has more than 100000 nodes once it is expanded");
}

/* ---- refusals: the file, the line, the key, what to do ---- */

static void refusals(void **state)
{
	static const struct {
		const char *yaml, *wanted;
	} cases[] = {
		{ "name: p\n", "compose.yaml:1: the file has no services; put them under 'services:'" },
		{ "services: {}\n", "the file has no services" },
		{ "services:\n  web:\n", "compose.yaml:2: services.web: must be a map, not nothing" },
		{ "services:\n  web: nginx\n", "compose.yaml:2: services.web: must be a map, not a string" },
		{ "services:\n  web:\n    imge: nginx\n", "compose.yaml:3: services.web.imge: unknown key of a service; did you mean 'image'?" },
		{ "services:\n  web:\n    image: i\n    env_fle: x\n", "compose.yaml:4: services.web.env_fle: unknown key of a service; did you "
								     "mean 'env_file'?" },
		{ "services:\n  web: {image: i}\nvolums: {}\n", "compose.yaml:3: volums: unknown key of the file; did you mean 'volumes'?" },
		{ "services:\n  web:\n    build:\n      context: .\n      dockerfil: x\n",
			"compose.yaml:5: services.web.build.dockerfil: unknown key of a build; did you mean 'dockerfile'?" },
		{ "services:\n  web:\n    build: ftp://git.test/a\n", "compose.yaml:3: services.web.build.context: 'ftp://git.test/a' is neither" },
		{ "services:\n  web:\n    build:\n      context: .\n      secrets: [no]\n",
			"compose.yaml:5: services.web.build.secrets[0]: there is no secret 'no'" },
		{ "services:\n  web:\n    image: i\n    extends:\n      service: x\n",
			"compose.yaml:4: services.web.extends: 'extends' is not supported yet" },
		{ "include:\n  - x.yaml\n", "compose.yaml:2: include: 'include' is not supported yet" },
		{ "services:\n  web: {image: i, secrets: [s]}\nsecrets:\n  s:\n    external: true\n",
			"compose.yaml:5: secrets.s.external: 'external' is not supported yet" },
		{ "services:\n  web:\n    image: i\n    x-stead-hosts: a\n", "compose.yaml:4: services.web.x-stead-hosts: 'x-stead-hosts' is not supported yet" },
		{ "services:\n  web:\n    image: i\n    x-stead:\n      host: a\n", "compose.yaml:5: services.web.x-stead.host: 'host' is not supported yet; a route's host is written 'route: HOST'" },
		{ "services:\n  web:\n    image: i\n    x-stead:\n      rout: a\n", "compose.yaml:5: services.web.x-stead.rout: unknown key of x-stead of a service; did you mean 'route'?" },
		{ "services:\n  web:\n    image: i\n    x-stead:\n      route: https://a.b/\n", "compose.yaml:5: services.web.x-stead.route: 'https://a.b/' must be HOST[/PATH]: leave 'https://' off" },
		{ "services:\n  web:\n    image: i\n    x-stead:\n      route: ''\n", "compose.yaml:5: services.web.x-stead.route: must be HOST[/PATH], not nothing" },
		{ "services:\n  web:\n    image: i\n    x-stead:\n      route: a b\n", "compose.yaml:5: services.web.x-stead.routes[0].host: 'a b' is no host name" },
		{ "services:\n  web:\n    image: i\n    x-stead: {route: a, routes: [b]}\n", "compose.yaml:4: services.web.x-stead.route: is the short form of 'routes'" },
		{ "services:\n  web:\n    image: i\n    x-stead:\n      routes:\n      - host: a\n      - host: ${NO}\n",
			"compose.yaml:7: services.web.x-stead.routes[1].host: must not be empty; leave the key out for any host" },
		{ "services:\n  web:\n    image: i\n    x-stead:\n      routes:\n      - host: a\n        path: /x{y}\n",
			"compose.yaml:7: services.web.x-stead.routes[0].path: '/x{y}' is no path of a URL" },
		{ "services:\n  web:\n    image: i\n    x-stead:\n      routes:\n      - {host: a, tls: {cert: a.pem, kee: b.pem}}\n",
			"compose.yaml:6: services.web.x-stead.routes[0].tls.kee: unknown key of tls; did you mean 'key'?" },
		{ "services:\n  a: {image: i, x-stead: {route: a.b/x}}\n  b:\n    image: i\n    x-stead:\n      routes: [c.d, A.b/x/]\n",
			"compose.yaml:6: services.b.x-stead.routes[1]: service 'a' has the route a.b/x, too; choose another host or path" },
		{ "services:\n  web:\n    image: i\n    x-stead:\n      deploy:\n        smoke:\n        - get: /a\n          status: 999\n",
			"compose.yaml:8: services.web.x-stead.deploy.smoke[0].status: must be 200 to 599, not 999" },
		{ "services:\n  web:\n    image: i\n    x-stead:\n      deploy: {hold: 31s}\n",
			"compose.yaml:5: services.web.x-stead.deploy.hold: is too long; give at most 30s" },
		{ "services: {web: {image: i}}\nx-stead:\n  notify:\n  - {slack: 'https://a.b', on: deplyo}\n",
			"compose.yaml:4: x-stead.notify[0].on: 'deplyo' is unknown; did you mean 'deploy'?" },
		{ "services: {web: {image: i}}\nx-stead:\n  notify: {slack: 'https://a.b'}\n", "compose.yaml:3: x-stead.notify: must be a list, not a map" },
		{ "services:\n  web:\n    image: i\n    ports:\n      - 1:80\n      - 8080:80x\n",
			"compose.yaml:6: services.web.ports[1]: '8080:80x': the container port is no port" },
		{ "services:\n  web:\n    image: i\n    ports: ['99999:80']\n", "'99999:80': the host port is no port" },
		{ "services:\n  web:\n    image: i\n    ports: ['::1:80:80']\n", "an IPv6 address must stand in brackets" },
		{ "services:\n  web:\n    image: i\n    ports: ['1-2:80-82']\n", "differ in length" },
		{ "services:\n  web:\n    image: i\n    ports: ['80/sctp']\n", "compose.yaml:4: services.web.ports[0].protocol: 'sctp' is not supported" },
		{ "services:\n  web:\n    image: i\n    ports:\n    - '80:80'\n    - '80:81'\n",
			"compose.yaml:6: services.web.ports[1]: port 80/tcp is published twice" },
		{ "services:\n  a: {image: i, ports: ['80:80']}\n  b:\n    image: i\n    ports:\n    - 80:81\n",
			"compose.yaml:6: services.b.ports[0]: port 80/tcp is already published by service 'a'; choose another" },
		{ "services:\n  a:\n    image: i\n    depends_on: [b]\n  b:\n    image: i\n    depends_on: [a]\n",
			"compose.yaml:4: services.a.depends_on: the dependencies form a cycle: a → b → a" },
		{ "services:\n  a:\n    image: i\n    depends_on:\n      - x\n", "compose.yaml:5: services.a.depends_on.x: there is no service 'x'" },
		{ "services:\n  a:\n    image: i\n    volumes:\n      - ok:/a\n      - v:/d\nvolumes: {ok: }\n",
			"compose.yaml:6: services.a.volumes[1]: there is no volume 'v'; declare it at the top level" },
		{ "services:\n  a: {image: i, networks: [n]}\n", "services.a.networks.n: there is no network 'n'; declare it" },
		{ "services:\n  a: {image: i, configs: [n]}\n", "services.a.configs[0]: there is no config 'n'; declare it" },
		{ "services:\n  a: {image: i, volumes: ['x:y']}\n", "the path in the container must be absolute, not 'y'" },
		{ "services:\n  a: {image: i, volumes: ['/x:/y:rx']}\n", "unknown option 'rx'" },
		{ "services:\n  a: {image: i, volumes: ['a:/b:ro:c']}\n", "must be [SOURCE:]TARGET[:OPTIONS]" },
		{ "services:\n  a: {image: i, volumes: [{source: x, target: /y}]}\n", "services.a.volumes[0]: 'type' is missing" },
		{ "services:\n  a:\n    image: i\n    mem_limit: lots\n", "compose.yaml:4: services.a.mem_limit: 'lots' is no size" },
		{ "services:\n  a:\n    image: i\n    tty: maybe\n", "compose.yaml:4: services.a.tty: must be true or false, not 'maybe'" },
		{ "services:\n  a:\n    image: i\n    scale: two\n", "compose.yaml:4: services.a.scale: must be a whole number, not 'two'" },
		{ "services:\n  a:\n    image: i\n    healthcheck: {interval: 10}\n", "compose.yaml:4: services.a.healthcheck.interval: must be a duration" },
		{ "services:\n  a:\n    image: i\n    command: \"a 'b\"\n", "services.a.command: a quote is not closed" },
		{ "services:\n  a:\n    image: i\n    environment: [{a: b}]\n", "services.a.environment[0]: must be a string, not a map" },
		{ "services:\n  a:\n    image: i\n    environment: {A: [1]}\n", "services.a.environment.A: must be a string, not a list" },
		{ "services:\n  a:\n    image: ${X:?set it}\n", "compose.yaml:3: services.a.image: required variable X is missing a value: set it" },
		{ "services:\n  a:\n    image: i\n    command: echo $(date)\n", "compose.yaml:4: services.a.command: '$(date)' is no variable" },
		{ "services:\n  a:\n    image: i\n    env_file: gone.env\n", "compose.yaml:4: services.a.env_file[0]: the file /tmp/stead-test-load." },
		{ "services:\n  a:\n    image: i\n    secrets: [s]\nsecrets:\n  s:\n    environment: GONE\n",
			"compose.yaml:7: secrets.s: the variable GONE is not set" },
		{ "services: {a: {image: i, secrets: [s]}}\nsecrets:\n  s: {}\n", "compose.yaml:3: secrets.s: needs one of file, environment and content" },
		{ "services:\n  a: {image: i, depends_on: [b]}\n  b: {image: i, profiles: [debug]}\n",
			"services.a.depends_on.b: 'b' is off, since none of its profiles is active; add --profile debug" },
		{ "services:\n  a: {image: i, pull_policy: refresh}\n", "must be missing, always, never, build, daily, weekly or every_TIME" },
		{ "services:\n  a:\n    image: i\n    network_mode: service:x\n", "compose.yaml:4: services.a.network_mode: there is no service 'x'" },
		{ "services:\n  a: {image: i, container_name: x, scale: 2}\n", "2 containers cannot all be named 'x'" },
		{ "services:\n  a: {image: i}\n  b:\n    profiles: [x]\n    imge: i\n", "compose.yaml:5: services.b.imge: unknown key of a service" },
		{ "services:\n  a: {image: i, volumes: ['v:/v']}\nvolumes:\n  v:\n    driver_opts: {type: nfs, o: addr=h, device: ':/x'}\n",
			"compose.yaml:5: volumes.v.driver_opts: 'driver_opts' is not supported yet" },
		{ "services:\n  a: {image: i, networks: [n]}\nnetworks:\n  n:\n    driver_opts: {a: b}\n",
			"compose.yaml:5: networks.n.driver_opts: 'driver_opts' is not supported yet" },
		{ "services:\n  a: {image: i, links: [x]}\n", "services.a.links[0]: there is no service 'x'" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		refused(*state, cases[i].yaml, cases[i].wanted);
}

/* ---- several files ---- */

static void merging(void **state)
{
	Place *p = *state;
	char *files[] = { (char *) "a.yaml", (char *) "b.yaml", NULL };
	p->o.files = files;
	put(p, "a.yaml",
		"services:\n  web:\n    image: one\n    command: [a, b]\n    environment: {A: '1', B: '1'}\n    ports: ['80:80', '81:81']\n"
		"    volumes: ['data:/d', './x:/e']\n    labels: [k=1, l=1]\n    dns: [1.1.1.1]\n    cap_add: [NET_ADMIN]\n"
		"    healthcheck: {test: [CMD, a], interval: 5s}\n    logging: {driver: json-file, options: {max-file: '2'}}\n"
		"    hostname: h\n    user: root\n    tmpfs: [/run]\n    expose: [1]\n    env_file: a.env\n"
		"volumes: {data: , other: }\n");
	put(p, "b.yaml",
		"services:\n  web:\n    image: two\n    command: c\n    environment: [B=2, C=2]\n"
		"    ports: ['81:81', '82:82']\n    volumes: ['other:/d:ro']\n    labels: {l: 2}\n    dns: 2.2.2.2\n"
		"    cap_add: [NET_ADMIN, SYS_TIME]\n    healthcheck: {test: b, retries: 2}\n    logging: {driver: local, options: {max-size: 1m}}\n"
		"    hostname: !reset null\n    user: !reset\n    tmpfs: !override [/tmp]\n    expose: !reset []\n    env_file: [b.env]\n"
		"  db: {image: d, hostname: !reset x}\n");
	put(p, "a.env", "F=a\nG=a\nB=file\n");
	put(p, "b.env", "F=b\n");
	AUTO_STACK *s = load(p);
	const Service *web = stack_service(s, "web");
	assert_string_equal(web->image, "two");
	assert_int_equal(strv_len(web->command), 1);
	assert_string_equal(strv_env(web->environment, "A"), "1");
	assert_string_equal(strv_env(web->environment, "B"), "2"); /* environment over env_file */
	assert_string_equal(strv_env(web->environment, "C"), "2");
	assert_string_equal(strv_env(web->environment, "F"), "b"); /* the last env file wins */
	assert_string_equal(strv_env(web->environment, "G"), "a");
	assert_int_equal(web->n_ports, 3);
	assert_int_equal(web->n_mounts, 2);
	assert_string_equal(web->mounts[0].source, "other");
	assert_true(web->mounts[0].read_only);
	assert_string_equal(strv_env(web->labels, "k"), "1");
	assert_string_equal(strv_env(web->labels, "l"), "2");
	assert_int_equal(strv_len(web->dns), 2);
	assert_int_equal(strv_len(web->cap_add), 2);
	assert_string_equal(web->healthcheck.test[1], "b");
	assert_int_equal(web->healthcheck.interval, 5000000000);
	assert_int_equal(web->healthcheck.retries, 2);
	assert_string_equal(web->logging_driver, "local");
	assert_int_equal(strv_len(web->logging_options), 1); /* of another driver: replaced */
	assert_null(web->hostname);
	assert_null(web->user);
	assert_int_equal(strv_len(web->tmpfs), 1);
	assert_string_equal(web->tmpfs[0], "/tmp");
	assert_int_equal(strv_len(web->expose), 0);
	assert_null(stack_service(s, "db")->hostname);
	assert_int_equal(strv_len(s->files), 2);
	assert_null(stack_volume(s, "data")); /* no longer used */
}

/* Routes by host and path, smoke tests by what they ask for, a hook as a whole, notices one behind the other. */
static void builds(void **state)
{
	Place *p = *state;
	AUTO_STACK *s = load_text(p,
		"services:\n  a: {build: ./src}\n  c: {build: 'git@git.test:a#main:web'}\n  b:\n    image: named:1\n    build:\n      args: [ONE=1, SET, NOT_SET]\n      secrets: [npm, {source: npm, target: id}]\n"
		"      ssh: {default: '', k: /a, keys: './x,/y/../z'}\n      platforms: [Linux/ARM64]\n      shm_size: 1m\n"
		"      additional_contexts: [lib=../lib, img=docker-image://i, other=service:a]\n      dockerfile_inline: |\n        FROM scratch\n"
		"secrets: {npm: {content: x}}\n");
	AUTO_FREE char *src = xasprintf("%s/src", p->dir);
	const Service *a = stack_service(s, "a"), *b = stack_service(s, "b");
	assert_string_equal(a->image, "p-a");
	assert_string_equal(a->build.context, src);
	assert_string_equal(stack_service(s, "c")->build.context, "git@git.test:a#main:web");
	assert_string_equal(b->image, "named:1");
	assert_string_equal(b->build.context, p->dir);
	assert_int_equal(strv_len(b->build.args), 2);
	assert_string_equal(strv_env(b->build.args, "ONE"), "1");
	assert_string_equal(strv_env(b->build.args, "SET"), "value");
	assert_int_equal(b->build.n_secrets, 2);
	assert_string_equal(b->build.secrets[0].target, "npm");
	assert_string_equal(b->build.secrets[1].target, "id");
	assert_string_equal(b->build.ssh[0], "default");
	assert_string_equal(b->build.ssh[1], "k=/a");
	AUTO_FREE char *keys = xasprintf("keys=%s/x,/z", p->dir);
	assert_string_equal(b->build.ssh[2], keys);
	assert_string_equal(b->build.platforms[0], "linux/arm64");
	assert_true(str_starts(strv_env(b->build.contexts, "lib"), "/") && str_ends(strv_env(b->build.contexts, "lib"), "/lib"));
	assert_string_equal(strv_env(b->build.contexts, "img"), "docker-image://i");
	assert_string_equal(strv_env(b->build.contexts, "other"), "service:a");
	assert_string_equal(b->build.dockerfile_inline, "FROM scratch\n");
	assert_int_equal(s->n_secrets, 1);
}

static void merging_builds(void **state)
{
	Place *p = *state;
	char *files[] = { (char *) "a.yaml", (char *) "b.yaml", NULL };
	p->o.files = files;
	put(p, "a.yaml", "services: {web: {build: ./src}}\n");
	put(p, "b.yaml", "services: {web: {build: {args: {A: b}, target: t}}}\n");
	AUTO_STACK *s = load(p);
	const ServiceBuild *b = &stack_service(s, "web")->build;
	assert_true(str_ends(b->context, "/src"));
	assert_string_equal(b->args[0], "A=b");
	assert_string_equal(b->target, "t");
}

static void merging_x_stead(void **state)
{
	Place *p = *state;
	char *files[] = { (char *) "a.yaml", (char *) "b.yaml", NULL };
	p->o.files = files;
	put(p, "a.yaml",
		"services:\n  web:\n    image: i\n    x-stead:\n      routes: [{host: A.test, port: 80, cache: 10m}, {host: a.test, path: /api/}]\n"
		"      deploy: {drain: 5s, keep: 3, pre_deploy: [a, b], smoke: [/up, {get: /x, status: 404}]}\n"
		"  off: {image: i, x-stead: {route: off.test}}\n"
		"x-stead: {notify: [{slack: 'https://s.test/1'}]}\n");
	put(p, "b.yaml",
		"services:\n  web:\n    x-stead:\n      routes: [{host: a.test, path: /api, port: 90}, {host: a.test, tls: off}, b.test]\n"
		"      deploy: {keep: 7, pre_deploy: c, smoke: [{get: /x, status: 410}]}\n"
		"  off: {x-stead: {route: !reset null}}\n"
		"x-stead: {notify: [{slack: 'https://s.test/1'}]}\n");
	AUTO_STACK *s = load(p);
	const Service *web = stack_service(s, "web");
	assert_int_equal(web->n_routes, 3);
	assert_string_equal(web->routes[0].host, "a.test");
	assert_string_equal(web->routes[0].path, "/");
	assert_int_equal(web->routes[0].port, 0); /* the later entry as a whole */
	assert_int_equal(web->routes[0].cache.ttl, -1);
	assert_int_equal(web->routes[0].tls, TLS_OFF);
	assert_string_equal(web->routes[1].path, "/api");
	assert_int_equal(web->routes[1].port, 90);
	assert_string_equal(web->routes[2].host, "b.test");
	assert_int_equal(web->deploy_rules.drain, 5000000000);
	assert_int_equal(web->deploy_rules.keep, 7);
	assert_int_equal(strv_len(web->deploy_rules.pre_deploy), 1);
	assert_int_equal(web->deploy_rules.n_smoke, 2);
	assert_int_equal(web->deploy_rules.smoke[1].status, 410);
	assert_int_equal(stack_service(s, "off")->n_routes, 0);
	assert_int_equal(s->n_notify, 2);
}

static void notices(void **state)
{
	Place *p = *state;
	AUTO_STACK *s = load_text(p,
		"services: {a: {image: i}}\nx-stead:\n  notify:\n"
		"  - {slack: 'https://${SET}.test/1', on: deploy}\n"
		"  - {webhook: '${NO}', on: [alert]}\n"
		"  - {ntfy: 'http://n.test/topic', token: t}\n"
		"  - {mail: {to: ops@a.test, from: b@a.test, server: 'smtp://m.test:25', user: u, password: '${NO:-p}'}}\n"
		"  - {mail: {to: [ops@a.test], from: b@a.test, server: '${NO}'}}\n");
	assert_int_equal(s->n_notify, 3);
	assert_string_equal(s->notify[0].url, "https://value.test/1");
	assert_int_equal(strv_len(s->notify[0].on), 1);
	assert_int_equal(s->notify[1].kind, NOTIFY_NTFY);
	assert_string_equal(s->notify[1].token, "t");
	assert_int_equal(strv_len(s->notify[1].on), 2);
	assert_string_equal(s->notify[2].to[0], "ops@a.test");
	assert_string_equal(s->notify[2].password, "p");
	assert_true(strv_has(p->warnings, "compose.yaml:5: x-stead.notify[1]: the address is empty; nothing is sent there"));
	assert_true(strv_has(p->warnings, "compose.yaml:8: x-stead.notify[4]: the address is empty; nothing is sent there"));
}

static void merging_conflict(void **state)
{
	Place *p = *state;
	char *files[] = { (char *) "a.yaml", (char *) "b.yaml", NULL };
	p->o.files = files;
	put(p, "a.yaml", "services: {a: {image: i}}\nx-s: 1\nzzz:\n  - 1\n");
	put(p, "b.yaml", "zzz:\n  a: b\n");
	assert_null(try_load(p));
	assert_non_null(strstr(err_text(&p->err), "b.yaml:2: zzz: cannot be merged: it is a map here and a list on line 4 of a.yaml"));
}

static void documents_in_one_file(void **state)
{
	AUTO_STACK *s = load_text(*state, "services: {a: {image: i, hostname: h}}\n---\nservices: {a: {image: k}}\n");
	assert_string_equal(s->services[0].image, "k");
	assert_string_equal(s->services[0].hostname, "h");
}

/* ---- finding files and variables ---- */

static void file_search(void **state)
{
	Place *p = *state;
	AUTO_FREE char *sub = xasprintf("%s/a/b", p->dir);
	assert_int_equal(dir_make(sub, 0700), 0);
	p->o.cwd = sub;
	AUTO_STACK *none = try_load(p);
	if (!none)
		assert_non_null(strstr(err_text(&p->err), "there is no compose.yaml in"));
	put(p, "docker-compose.yml", "services: {a: {image: old}}\n");
	put(p, "docker-compose.override.yml", "services: {a: {hostname: over}}\n");
	AUTO_STACK *old = load(p);
	assert_string_equal(old->services[0].image, "old");
	assert_string_equal(old->services[0].hostname, "over");
	assert_string_equal(old->working_dir, p->dir);
	put(p, "compose.yaml", "services: {a: {image: new}}\n");
	AUTO_STACK *new = load(p);
	assert_string_equal(new->services[0].image, "new");
	assert_int_equal(strv_len(p->warnings), 1); /* of two names, one is used */
	put(p, "compose.override.yaml", "services: {a: {hostname: better}}\n");
	AUTO_STACK *both = load(p);
	assert_string_equal(both->services[0].hostname, "better");
}

static void named_files(void **state)
{
	Place *p = *state;
	put(p, "sub/x.yaml", "services: {a: {image: i, volumes: ['./v:/v']}}\n");
	char *files[] = { (char *) "sub/x.yaml", NULL };
	p->o.files = files;
	AUTO_STACK *s = load(p);
	AUTO_FREE char *wanted = xasprintf("%s/sub/v", p->dir);
	assert_string_equal(s->services[0].mounts[0].source, wanted);
	p->o.project_dir = ".";
	AUTO_STACK *t = load(p);
	AUTO_FREE char *other = xasprintf("%s/v", p->dir);
	assert_string_equal(t->services[0].mounts[0].source, other);
	p->o.files = NULL;
	p->o.project_dir = NULL;
	strv_setenv(&p->environ, "COMPOSE_FILE", "sub/x.yaml:y.yaml");
	p->o.environ = p->environ;
	put(p, "y.yaml", "services: {a: {hostname: y}}\n");
	AUTO_STACK *u = load(p);
	assert_string_equal(u->services[0].hostname, "y");
	strv_setenv(&p->environ, "COMPOSE_FILE", "sub/x.yaml;y.yaml");
	strv_setenv(&p->environ, "COMPOSE_PATH_SEPARATOR", ";");
	p->o.environ = p->environ;
	AUTO_STACK *v = load(p);
	assert_int_equal(strv_len(v->files), 2);
	char *gone[] = { (char *) "gone.yaml", NULL };
	p->o.files = gone;
	assert_null(try_load(p));
	assert_non_null(strstr(err_text(&p->err), "gone.yaml; name an existing one with -f"));
}

static void variables(void **state)
{
	Place *p = *state;
	put(p, "compose.yaml", "services: {a: {image: '${A}-${SET}-${COMPOSE_PROJECT_NAME}-$NO-$NO'}}\n");
	put(p, ".env", "A=dot\nSET=not this\nCOMPOSE_PROFILES=x\n");
	put(p, "other.env", "A=other\n");
	AUTO_STACK *s = load(p);
	assert_string_equal(s->services[0].image, "dot-value-p--"); /* the environment wins over .env */
	assert_int_equal(strv_len(p->warnings), 1);                 /* once a variable */
	assert_non_null(strstr(p->warnings[0], "the variable NO is not set"));
	char *env_files[] = { (char *) "other.env", NULL };
	p->o.env_files = env_files;
	AUTO_STACK *t = load(p);
	assert_string_equal(t->services[0].image, "other-value-p--");
	char *gone[] = { (char *) "gone.env", NULL };
	p->o.env_files = gone;
	assert_null(try_load(p));
	assert_non_null(strstr(err_text(&p->err), "gone.env cannot be read"));
}

static void env_files(void **state)
{
	Place *p = *state;
	put(p, "one.env", "A=1\nB=\"x $SET\"\n");
	put(p, "raw.env", "C='$SET'\n");
	AUTO_STACK *s = load_text(p, "services:\n  a:\n    image: i\n    environment: {A: own}\n    env_file:\n      - one.env\n"
				     "      - {path: gone.env, required: false}\n      - {path: raw.env, format: raw}\n");
	assert_string_equal(strv_env(s->services[0].environment, "A"), "own");
	assert_string_equal(strv_env(s->services[0].environment, "B"), "x value");
	assert_string_equal(strv_env(s->services[0].environment, "C"), "'$SET'");
	put(p, "one.env", "A\n!\n");
	refused(p, "services:\n  a:\n    image: i\n    env_file: one.env\n", "one.env:2: the line does not begin with the name");
}

static void hosts(void **state)
{
	static const struct {
		const char *file, *host, *error;
	} cases[] = {
		{ "services: {a: {image: i}}\n", NULL, NULL },
		{ "x-stead: {host: 'ssh://pi@box'}\nservices: {a: {image: '${NO:?x}'}}\n", "ssh://pi@box", NULL }, /* no more is read */
		{ "x-stead: {host: 'ssh://${SET}'}\n", "ssh://value", NULL },
		{ "x-stead: {host: '${NO:-}'}\n", NULL, NULL },
		{ "x-stead: {notify: []}\n", NULL, NULL },
		{ "x-stead: {host: null}\n", NULL, NULL },
		{ "x-stead:\n  host: ${NO}\n", NULL, "compose.yaml:2: x-stead.host: is empty, since a variable is not set" },
		{ "x-stead:\n  host: [a]\n", NULL, "compose.yaml:2: x-stead.host: must be a string" },
		{ "x-stead: {host: box\n", NULL, "compose.yaml:" },
		{ "services: {a: [\n", NULL, NULL }, /* what the file cannot say */
	};
	Place *p = *state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_ERR err = ERR_INIT;
		AUTO_FREE char *host = NULL;
		put(p, "compose.yaml", cases[i].file);
		int r = compose_host(&p->o, &host, &err);
		if (!str_eq(host, cases[i].host) || (r < 0) != (cases[i].error != NULL) || (r < 0 && !strstr(err_text(&err), cases[i].error)))
			fail_msg("case %zu: %s, %s", i, host ? host : "-", err_text(&err));
	}
	AUTO_FREE char *host = NULL, *none = NULL;
	put(p, "compose.yaml", "x-stead: {host: one}\n");
	put(p, "compose.override.yaml", "x-stead: {host: two}\n");
	assert_int_equal(compose_host(&p->o, &host, NULL), 0);
	assert_string_equal(host, "two");
	char *const in[] = { (char *) "-", NULL };
	p->o.files = in;
	assert_int_equal(compose_host(&p->o, &none, NULL), 0);
	assert_null(none);
}

static void project_names(void **state)
{
	Place *p = *state;
	AUTO_ERR err = ERR_INIT;
	char *name = NULL;
	put(p, "compose.yaml", "name: na_${SET}\nservices: {a: {image: '${NO:?x}'}}\n");
	p->o.project_name = NULL;
	assert_int_equal(compose_project_name(&p->o, &name, &err), 0); /* no more is read than the name */
	assert_string_equal(name, "na_value");
	free(name);
	strv_setenv(&p->environ, "COMPOSE_PROJECT_NAME", "env");
	p->o.environ = p->environ;
	assert_int_equal(compose_project_name(&p->o, &name, &err), 0);
	assert_string_equal(name, "env");
	free(name);
	p->o.project_name = "opt";
	assert_int_equal(compose_project_name(&p->o, &name, &err), 0);
	assert_string_equal(name, "opt");
	free(name);
	p->o.project_name = "Opt X";
	assert_int_not_equal(compose_project_name(&p->o, &name, &err), 0);
	assert_non_null(strstr(err_text(&err), "-p: 'Opt X' is no valid project name"));
	assert_non_null(strstr(err_text(&err), "'optx' would be one"));
	p->o.project_name = NULL;
	strv_setenv(&p->environ, "COMPOSE_PROJECT_NAME", "");
	p->o.environ = p->environ;
	put(p, "My App.x/compose.yaml", "services: {a: {image: i}}\n");
	AUTO_FREE char *dir = xasprintf("%s/My App.x", p->dir);
	p->o.cwd = dir;
	assert_int_equal(compose_project_name(&p->o, &name, &err), 0);
	assert_string_equal(name, "myappx");
	free(name);
	put(p, "My App.x/compose.yaml", "services: {}\nname: Bad Name\n");
	assert_int_not_equal(compose_project_name(&p->o, &name, &err), 0);
	assert_non_null(strstr(err_text(&err), "compose.yaml:2: name: 'Bad Name' is no valid project name"));
}

/* ---- profiles, links, names, what is used ---- */

static void profiles(void **state)
{
	Place *p = *state;
	put(p, "compose.yaml", "services:\n  a: {image: i}\n  b: {image: i, profiles: [x]}\n  c: {image: i, profiles: [x, y]}\n"
			       "  d: {image: i, profiles: z, volumes: ['v:/v']}\nvolumes: {v: {external: true}}\n");
	AUTO_STACK *s = load(p);
	assert_int_equal(s->n_services, 1);
	assert_int_equal(s->n_volumes, 0);
	char *y[] = { (char *) "y", NULL }, *all[] = { (char *) "*", NULL }, *named[] = { (char *) "b", NULL };
	p->o.profiles = y;
	AUTO_STACK *t = load(p);
	assert_int_equal(t->n_services, 2);
	p->o.profiles = all;
	AUTO_STACK *u = load(p);
	assert_int_equal(u->n_services, 4);
	assert_string_equal(stack_volume(u, "v")->name, "v"); /* external: the name as it is */
	p->o.profiles = NULL;
	p->o.services = named;
	AUTO_STACK *v = load(p); /* naming b turns x on, for c as well */
	assert_int_equal(v->n_services, 3);
	char *unknown[] = { (char *) "bb", NULL };
	p->o.services = unknown;
	assert_null(try_load(p));
	assert_non_null(strstr(err_text(&p->err), "there is no service 'bb' in compose.yaml"));
	p->o.services = NULL;
	strv_setenv(&p->environ, "COMPOSE_PROFILES", "x, z");
	p->o.environ = p->environ;
	AUTO_STACK *w = load(p);
	assert_int_equal(w->n_services, 4);
}

static void links_and_names(void **state)
{
	AUTO_STACK *s = load_text(*state,
		"services:\n  a: {image: i, links: ['b:beta'], networks: [n, default]}\n  b: {image: i, networks: [n]}\n"
		"  c: {image: i, volumes: ['v:/v'], secrets: [k]}\n"
		"networks: {n: , unused: }\nvolumes: {v: {name: 'my-${SET}'}, w: }\nsecrets: {k: {file: ./k.txt}}\n");
	assert_string_equal(stack_service(s, "b")->networks[0].aliases[0], "beta");
	assert_int_equal(s->n_networks, 2);
	assert_string_equal(stack_network(s, "n")->name, "p_n");
	assert_string_equal(stack_network(s, "default")->name, "p_default");
	assert_string_equal(stack_volume(s, "v")->name, "my-value");
	assert_int_equal(s->n_volumes, 1);
	AUTO_FREE char *file = xasprintf("%s/k.txt", ((Place *) *state)->dir);
	assert_string_equal(stack_secret(s, "k")->file, file);
}

static void extensions(void **state)
{
	AUTO_STACK *s = load_text(*state, "x-a: {b: c}\nversion: '3.8'\nservices:\n  x-ray: {image: i, x-note: 1, healthcheck: {x-y: 1}}\n"
					  "networks: {default: {x-z: 1}}\n");
	assert_int_equal(s->n_services, 1); /* the name of a service may look like an extension */
	assert_string_equal(s->services[0].name, "x-ray");
}

static void secrets_from_environment(void **state)
{
	AUTO_STACK *s = load_text(*state, "services: {a: {image: i, secrets: [k], configs: [c]}}\n"
					  "secrets: {k: {environment: SET}}\nconfigs: {c: {content: \"x ${SET}\\n\"}}\n");
	assert_string_equal(stack_secret(s, "k")->content, "value");
	assert_string_equal(stack_config(s, "c")->content, "x value\n");
}

static void host_network_drops_ports(void **state)
{
	Place *p = *state;
	AUTO_STACK *s = load_text(p, "services: {a: {image: i, network_mode: host, ports: ['80:80']}}\n");
	assert_int_equal(s->services[0].n_ports, 0);
	assert_int_equal(strv_len(p->warnings), 1);
	assert_non_null(strstr(p->warnings[0], "compose.yaml:1: services.a: ports have no effect"));
}

static void bind_with_a_name(void **state)
{
	AUTO_STACK *s = load_text(*state, "services: {a: {image: i, volumes: ['v:/v']}}\n"
					  "volumes: {v: {driver_opts: {type: none, o: 'bind,ro', device: /srv/v}}}\n");
	const Mount *m = &s->services[0].mounts[0];
	assert_int_equal(m->type, MOUNT_BIND);
	assert_string_equal(m->source, "/srv/v");
	assert_true(m->read_only);
	assert_int_equal(s->n_volumes, 0);
}

static void warnings(void **state)
{
	Place *p = *state;
	AUTO_STACK *s = load_text(p, "services:\n  a:\n    image: i\n    network_mode: bridge\n    deploy:\n      placement: {}\n"
				     "  b: {image: i, networks: [n], secrets: [{source: k, mode: 440}]}\n"
				     "networks:\n  n:\n    enable_ipv6: true\n    ipam: {config: [{subnet: 10.0.0.0/24}, {subnet: 'fd00::/64'}]}\n"
				     "secrets: {k: {content: x}}\n");
	static const char *const wanted[] = {
		"compose.yaml:6: services.a.deploy.placement: has no effect",
		"compose.yaml:7: services.b.secrets[0].mode: 440 is a decimal number, that is mode 0670; write 0440 if that was meant",
		"compose.yaml:4: services.a: network_mode: bridge stands for the stack's default network",
		"compose.yaml:10: networks.n: IPv6 in networks is not supported yet",
	};
	assert_int_equal(strv_len(p->warnings), ARRAY_SIZE(wanted));
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		if (!str_starts(p->warnings[i], wanted[i]))
			fail_msg("%s", p->warnings[i]);
	assert_int_equal(stack_network(s, "n")->n_subnets, 1);
	assert_string_equal(stack_service(s, "a")->networks[0].network, "default");
}

/* ---- writing ---- */

static void written_and_read_again(void **state)
{
	Place *p = *state;
	AUTO_STACK *s = load_text(p,
		"services:\n  a:\n    image: i\n    environment:\n      ONE: \"a\\nb\\t\\\"c\\\" \\\\ $$x\"\n      TWO: 'yes'\n      THREE: '1.0'\n"
		"      FOUR: ' x'\n      FIVE: 'a: b'\n      SIX: 'a #b'\n      SEVEN: '-'\n      EIGHT: \"\\x01\"\n      NINE: ''\n      TEN: null\n"
		"      A$B: \"\\u2028\"\n    labels: {'a: b': '*x', '2020-01-01': '0x1f'}\n    command: ['', '{', '1_000', '12:30']\n");
	AUTO_FREE char *yaml = stack_to_yaml(s);
	put(p, "again.yaml", yaml);
	char *files[] = { (char *) "again.yaml", NULL };
	p->o.files = files;
	p->o.project_name = NULL;
	AUTO_STACK *t = load(p);
	AUTO_FREE char *second = stack_to_yaml(t);
	assert_string_equal(yaml, second);
	assert_string_equal(strv_env(t->services[0].environment, "ONE"), "a\nb\t\"c\" \\ $x");
	assert_string_equal(strv_env(t->services[0].environment, "EIGHT"), "\x01");
	assert_non_null(strstr(yaml, "TWO: \"yes\"\n"));
	char one[65], two[65];
	service_hash(s, &s->services[0], one);
	service_hash(t, &t->services[0], two);
	assert_string_equal(one, two);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(canonical_forms), TEST(yaml_merges), TEST(yaml_text), TEST(yaml_refusals), TEST(yaml_limits), TEST(refusals),
		TEST(merging), TEST(merging_x_stead), TEST(builds), TEST(merging_builds), TEST(notices), TEST(merging_conflict), TEST(documents_in_one_file), TEST(file_search), TEST(named_files),
		TEST(variables), TEST(env_files), TEST(project_names), TEST(profiles), TEST(links_and_names),
		TEST(variables), TEST(env_files), TEST(hosts), TEST(profiles), TEST(links_and_names),
		TEST(extensions), TEST(secrets_from_environment), TEST(host_network_drops_ports), TEST(bind_with_a_name), TEST(warnings), TEST(written_and_read_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
