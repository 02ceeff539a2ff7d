// SPDX-License-Identifier: Apache-2.0
/* "x-stead" of a model: values and their defaults, the canonical form, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "model/stack.h"

#define SECOND 1000000000LL
#define A16 "aaaaaaaaaaaaaaaa"

/* JSON in single quotes, to be readable in C. */
static json_t *json(const char *text)
{
	AUTO_FREE char *s = xstrdup(text);
	for (char *p = s; *p; p++)
		if (*p == '\'')
			*p = '"';
	json_t *v = json_loads(s, 0, NULL);
	if (!v)
		fail_msg("no JSON: %s", text);
	return v;
}

static Stack *parse(const char *text, ModelPath *where, Err *err)
{
	json_t *root = json(text);
	Stack *s = NULL;
	int e = stack_from_json(root, &s, where, err);
	assert_true((e == 0) == (s != NULL));
	json_decref(root);
	return s;
}

static Stack *stack(const char *text)
{
	AUTO_ERR err = ERR_INIT;
	Stack *s = parse(text, NULL, &err);
	if (!s)
		fail_msg("%s: %s", text, err_text(&err));
	return s;
}

static char *with_service(const char *x_stead)
{
	return xasprintf("{'name':'p','services':{'web':{'image':'i','x-stead':%s}}}", x_stead);
}

static char *with_notice(const char *notice)
{
	return xasprintf("{'name':'p','x-stead':{'notify':[%s]}}", notice);
}

static void defaults(void **state)
{
	AUTO_FREE char *text = with_service("{'routes':[{}, {'host':'A.Test','path':'/x/','cache':{}}],'deploy':{'smoke':[{'get':'/'}]}}");
	AUTO_STACK *s = stack(text);
	const Service *web = &s->services[0];
	const Route *any = &web->routes[0], *cached = &web->routes[1];
	assert_null(any->host);
	assert_string_equal(any->path, "/");
	assert_int_equal(any->port, 0);
	assert_int_equal(any->cache.ttl, -1);
	assert_int_equal(any->cache.max_size, -1);
	assert_int_equal(any->cache.disk, -1);
	assert_int_equal(any->max_body, -1);
	assert_int_equal(any->rate, -1);
	assert_int_equal(any->timeout, -1);
	assert_int_equal(any->tls, TLS_AUTO);
	assert_string_equal(cached->host, "a.test");
	assert_string_equal(cached->path, "/x");
	assert_int_equal(cached->cache.ttl, 0);
	assert_int_equal(cached->cache.max_size, 64 << 20);
	assert_int_equal(cached->cache.disk, 0);
	assert_int_equal(web->deploy_rules.smoke[0].status, 200);
	assert_int_equal(web->deploy_rules.smoke[0].timeout, 5 * SECOND);
	assert_int_equal(web->deploy_rules.smoke[0].port, 0);
	assert_null(web->deploy_rules.smoke[0].contains);
}

static void rules_without_x_stead(void **state)
{
	AUTO_STACK *s = stack("{'name':'p','services':{'web':{'image':'i'}}}");
	const DeployRules *d = &s->services[0].deploy_rules;
	assert_int_equal(s->services[0].n_routes, 0);
	assert_int_equal(d->order, ORDER_AUTO);
	assert_int_equal(d->health_timeout, 60 * SECOND);
	assert_int_equal(d->drain, 30 * SECOND);
	assert_int_equal(d->bake, 10 * SECOND);
	assert_int_equal(d->settle, -1);
	assert_int_equal(d->hold, 30 * SECOND);
	assert_int_equal(d->keep, 0);
	assert_int_equal(d->n_smoke, 0);
	assert_null(d->pre_deploy);
	assert_null(d->post_deploy);
}

static void values(void **state)
{
	AUTO_FREE char *text = with_service(
		"{'routes':[{'host':'*.a.test','path':'/p','port':8080,'cache':{'ttl':'10m','max_size':'1048576','disk':'2097152'},"
		"'max_body':'20','rate':'600/m','timeout':'1s','tls':{'cert':'/c','key':'/k'}},{'host':'b','tls':'off','rate':'1/h'}],"
		"'deploy':{'order':'stop-first','health_timeout':'1s','drain':'0s','bake':'0s','hold':'10s','keep':1,"
		"'smoke':[{'get':'/a?b','status':404,'contains':'x\\ny','port':9,'timeout':'1ms'}],"
		"'pre_deploy':['a',''],'post_deploy':['b']}}");
	AUTO_STACK *s = stack(text);
	const Service *web = &s->services[0];
	const Route *route = &web->routes[0];
	assert_string_equal(route->host, "*.a.test");
	assert_int_equal(route->port, 8080);
	assert_int_equal(route->cache.ttl, 600 * SECOND);
	assert_int_equal(route->cache.disk, 2 << 20);
	assert_int_equal(route->max_body, 20);
	assert_int_equal(route->rate, 600);
	assert_int_equal(route->rate_period, 60 * SECOND);
	assert_int_equal(route->timeout, SECOND);
	assert_int_equal(route->tls, TLS_FILES);
	assert_string_equal(route->cert, "/c");
	assert_string_equal(route->key, "/k");
	assert_int_equal(web->routes[1].tls, TLS_OFF);
	assert_int_equal(web->routes[1].rate_period, 3600 * SECOND);
	const DeployRules *d = &web->deploy_rules;
	assert_int_equal(d->order, ORDER_STOP_FIRST);
	assert_int_equal(d->drain, 0);
	assert_int_equal(d->hold, 10 * SECOND);
	assert_string_equal(d->smoke[0].contains, "x\ny");
	assert_int_equal(strv_len(d->pre_deploy), 2);
	assert_string_equal(d->post_deploy[0], "b");
}

static void receivers(void **state)
{
	AUTO_FREE char *text = with_notice(
		"{'slack':'https://a'},{'discord':'https://b','on':['alert']},{'ntfy':'http://c/top','token':'t'},{'webhook':'http://d'},"
		"{'mail':{'to':['x@a','y.z@b.test'],'from':'f@a','server':'smtps://m:465','user':'u','password':'p'},'on':['deploy']}");
	AUTO_STACK *s = stack(text);
	assert_int_equal(s->n_notify, 5);
	for (size_t i = 0; i < s->n_notify; i++)
		assert_int_equal(s->notify[i].kind, i);
	assert_int_equal(strv_len(s->notify[0].on), 2);
	assert_int_equal(strv_len(s->notify[1].on), 1);
	assert_string_equal(s->notify[2].token, "t");
	assert_string_equal(s->notify[4].url, "smtps://m:465");
	assert_string_equal(s->notify[4].to[1], "y.z@b.test");
	assert_string_equal(s->notify[4].password, "p");
	assert_string_equal(notify_kind_name(s->notify[4].kind), "mail");
}

static void round_trip(void **state)
{
	static const char *const stacks[] = {
		"{'routes':[{}]}",
		"{'routes':[{'host':'A','path':'/b/','cache':{'ttl':'0s'}},{'rate':'5/s','tls':'off'},{'path':'/x','tls':{'cert':'/a','key':'/b'}}]}",
		"{'deploy':{'order':'start-first','drain':'1s','smoke':[{'get':'/'},{'get':'/','status':500}],'pre_deploy':['x','','y']}}",
		"{'deploy':{'order':'auto','keep':5}}",
		"{}",
		"null",
	};
	for (size_t i = 0; i < ARRAY_SIZE(stacks); i++) {
		AUTO_FREE char *text = with_service(stacks[i]);
		AUTO_STACK *a = stack(text);
		json_t *first = stack_to_json(a);
		AUTO_ERR err = ERR_INIT;
		AUTO_STACK *b = NULL;
		if (stack_from_json(first, &b, NULL, &err) < 0)
			fail_msg("%s: %s", stacks[i], err_text(&err));
		json_t *second = stack_to_json(b);
		assert_true(json_equal(first, second));
		json_decref(first);
		json_decref(second);
	}
}

static void refused(const char *text, const char *wanted)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_STACK *s = parse(text, NULL, &err);
	if (s)
		fail_msg("accepted: %s", text);
	if (!strstr(err_text(&err), wanted))
		fail_msg("%s\n   gave: %s\n wanted: %s", text, err_text(&err), wanted);
}

static void bad_services(void **state)
{
	static const struct {
		const char *x_stead, *text;
	} cases[] = {
		{ "[]", "services.web.x-stead: must be a map, not a list" },
		{ "{'route':'a'}", "services.web.x-stead.route: 'route' belongs in a compose file" },
		{ "{'deplyo':{}}", "services.web.x-stead.deplyo: unknown key of x-stead of a service; did you mean 'deploy'?" },
		{ "{'routes':{}}", "services.web.x-stead.routes: must be a list, not a map" },
		{ "{'routes':[{'hots':'a'}]}", "services.web.x-stead.routes[0].hots: unknown key of a route; did you mean 'host'?" },
		{ "{'routes':[{'host':''}]}", "routes[0].host: must not be empty" },
		{ "{'routes':[{'host':'a\\nb'}]}", "routes[0].host: has a control character in it" },
		{ "{'routes':[{'host':'a b'}]}", "routes[0].host: 'a b' is no host name, such as app.example.com" },
		{ "{'routes':[{'host':'a{b}'}]}", "routes[0].host: 'a{b}' is no host name" },
		{ "{'routes':[{'host':'a\\u0022b'}]}", "is no host name" },
		{ "{'routes':[{'host':'a.*.b'}]}", "'a.*.b' is no host name, such as app.example.com or *.example.com: '*.' stands at the beginning" },
		{ "{'routes':[{'host':'a.b.'}]}", "'a.b.' is no host name, such as app.example.com or *.example.com: no dot at an end" },
		{ "{'routes':[{'host':'-a.b'}]}", "no '-' beside a dot or at an end" },
		{ "{'routes':[{'host':'" A16 A16 A16 A16 ".b'}]}", "at most 63 characters between dots" },
		{ "{'routes':[{'host':'*'}]}", "'*' is no host name; leave the key out for any host" },
		{ "{'routes':[{'host':'*.'}]}", "'*.' is no host name" },
		{ "{'routes':[{'host':'b\\u00fc.de'}]}", "write it in ASCII (xn--…)" },
		{ "{'routes':[{'host':'a:80'}]}", "and 'port:' is the container's" },
		{ "{'routes':[{'path':'api'}]}", "routes[0].path: 'api' is no path of a URL" },
		{ "{'routes':[{'path':'/a b'}]}", "is no path of a URL" },
		{ "{'routes':[{'path':'/a\\u007f'}]}", "has a control character" },
		{ "{'routes':[{'path':'/../etc'}]}", "is no path of a URL" },
		{ "{'routes':[{'path':'/api/*'}]}", "'/api/*': leave '/*' off" },
		{ "{'routes':[{'port':0}]}", "routes[0].port: must be 1 to 65535, not 0" },
		{ "{'routes':[{'port':70000}]}", "routes[0].port: must be 1 to 65535, not 70000" },
		{ "{'routes':[{'cache':'10m'}]}", "routes[0].cache: must be a map, not a string" },
		{ "{'routes':[{'cache':{'ttl':'10'}}]}", "routes[0].cache.ttl: must be a duration" },
		{ "{'routes':[{'cache':{'ttl':'-1s'}}]}", "routes[0].cache.ttl: must be a duration" },
		{ "{'routes':[{'cache':{'max_size':'5'}}]}", "routes[0].cache.max_size: must be at least 1048576 bytes" },
		{ "{'routes':[{'cache':{'disk':'5'}}]}", "routes[0].cache.disk: must be at least 1m, or 0" },
		{ "{'routes':[{'max_body':'0'}]}", "routes[0].max_body: must be at least 1 bytes" },
		{ "{'routes':[{'rate':'50'}]}", "routes[0].rate: must be a number of requests per second, minute or hour" },
		{ "{'routes':[{'rate':'0/s'}]}", "such as 50/s, 600/m or 1000/h, not '0/s'" },
		{ "{'routes':[{'rate':'5/d'}]}", "not '5/d'" },
		{ "{'routes':[{'rate':'5/sec'}]}", "not '5/sec'" },
		{ "{'routes':[{'rate':'-5/s'}]}", "not '-5/s'" },
		{ "{'routes':[{'rate':50}]}", "1000/h" },
		{ "{'routes':[{'timeout':'0s'}]}", "routes[0].timeout: is too short; give at least 1ms" },
		{ "{'routes':[{'timeout':'48h'}]}", "routes[0].timeout: is too long; give at most 24h0m0s" },
		{ "{'routes':[{'tls':'on'}]}", "routes[0].tls: must be auto, off or {cert: FILE, key: FILE}" },
		{ "{'routes':[{'tls':true}]}", "routes[0].tls: must be auto, off or" },
		{ "{'routes':[{'tls':{'cert':'/a'}}]}", "routes[0].tls: 'key' is missing" },
		{ "{'routes':[{'tls':{'cert':'a','key':'/b'}}]}", "routes[0].tls.cert: must be an absolute path" },
		{ "{'routes':[{'host':'a'},{'host':'A','path':'/'}]}",
			"services.web.x-stead.routes[1]: this service has the route a/, too; choose another" },
		{ "{'routes':[{},{'path':'/a'},{'path':'/a/'}]}", "routes[2]: this service has the route of any host to /a, too" },
		{ "{'routes':[{'host':'a','tls':{'cert':'/a','key':'/b'}},{'host':'a','path':'/x','tls':{'cert':'/c','key':'/b'}}]}",
			"routes[1].tls: this service has another certificate for the same host" },
		{ "{'deploy':{'order':'stopfirst'}}", "deploy.order: must be auto, start-first or stop-first, not 'stopfirst'" },
		{ "{'deploy':{'hold':'31s'}}", "deploy.hold: is too long; give at most 30s" },
		{ "{'deploy':{'health_timeout':'0s'}}", "deploy.health_timeout: is too short" },
		{ "{'deploy':{'keep':0}}", "deploy.keep: must be 1 to 100, not 0" },
		{ "{'deploy':{'pre_deploy':[]}}", "deploy.pre_deploy: must name a command" },
		{ "{'deploy':{'post_deploy':['','x']}}", "deploy.post_deploy: must name a command" },
		{ "{'deploy':{'smoke':[{}]}}", "deploy.smoke[0]: 'get' is missing" },
		{ "{'deploy':{'smoke':[{'get':'up'}]}}", "deploy.smoke[0].get: 'up' is no path" },
		{ "{'deploy':{'smoke':[{'get':'/x y'}]}}", "deploy.smoke[0].get: '/x y' is no path" },
		{ "{'deploy':{'smoke':[{'get':'/','status':101}]}}", "deploy.smoke[0].status: must be 200 to 599, not 101" },
		{ "{'deploy':{'smoke':[{'get':'/','status':204,'contains':'x'}]}}", "can never be found: a response with status 204 has no body" },
		{ "{'deploy':{'smoke':[{'get':'/','contains':''}]}}", "deploy.smoke[0].contains: must not be empty" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_FREE char *text = with_service(cases[i].x_stead);
		refused(text, cases[i].text);
	}
	refused("{'name':'p','services':{'web':{'image':'i','network_mode':'none','x-stead':{'routes':[{}]}}}}",
		"services.web.x-stead.routes: nothing can reach a service with network_mode none");
	refused("{'name':'p','services':{'a':{'image':'i','x-stead':{'routes':[{'host':'h','path':'/x'}]}},"
		"'b':{'image':'i','x-stead':{'routes':[{'host':'h'},{'host':'h','path':'/x'}]}}}}",
		"services.b.x-stead.routes[1]: service 'a' has the route h/x, too");
}

static void bad_notices(void **state)
{
	static const struct {
		const char *notice, *text;
	} cases[] = {
		{ "{}", "x-stead.notify[0]: names no receiver; give one of slack, discord, ntfy, webhook or mail" },
		{ "{'slack':'https://a','ntfy':'https://b'}", "x-stead.notify[0].ntfy: is a second receiver beside 'slack'" },
		{ "{'slack':'https://a','mail':{}}", "x-stead.notify[0].mail: is a second receiver beside 'slack'" },
		{ "{'slak':'https://a'}", "x-stead.notify[0].slak: unknown key of a notice; did you mean 'slack'?" },
		{ "{'slack':'hooks.test/secret'}", "x-stead.notify[0].slack: is no address, https://HOST…" },
		{ "{'slack':'smtp://a'}", "is no address" },
		{ "{'webhook':'https://a\\r\\nX: y'}", "has a control character" },
		{ "{'slack':'https://a','on':[]}", "x-stead.notify[0].on: must name deploy or alert" },
		{ "{'slack':'https://a','on':['x']}", "x-stead.notify[0].on: 'x' is unknown; use deploy or alert" },
		{ "{'ntfy':'https://ntfy.sh/'}", "x-stead.notify[0].ntfy: must end in a topic of letters, digits, '-' and '_'" },
		{ "{'slack':'https://a','token':'t'}", "x-stead.notify[0].token: applies to ntfy only" },
		{ "{'mail':{'from':'a@b','server':'smtp://m'}}", "x-stead.notify[0].mail: 'to' is missing" },
		{ "{'mail':{'to':[],'from':'a@b','server':'smtp://m'}}", "mail.to: must name at least one address" },
		{ "{'mail':{'to':['a@b\\nBcc: x@y'],'from':'a@b','server':'smtp://m'}}", "has a control character" },
		{ "{'mail':{'to':['a b@c'],'from':'a@b','server':'smtp://m'}}", "mail.to: 'a b@c' is no mail address" },
		{ "{'mail':{'to':['a@b'],'from':'ab','server':'smtp://m'}}", "mail.from: 'ab' is no mail address" },
		{ "{'mail':{'to':['a@b'],'from':'a@b','server':'https://m'}}", "mail.server: is no address, smtp://HOST…" },
		{ "{'mail':{'to':['a@b'],'from':'a@b','server':'smtp://u:p@m'}}", "mail.server: has a user in it" },
		{ "{'mail':{'to':['a@b'],'from':'a@b','server':'smtp://m/x'}}", "mail.server: must be smtp://HOST[:PORT]" },
		{ "{'mail':{'to':['a@b'],'from':'a@b','server':'smtp://m','user':'u'}}", "mail: user and password go together" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_FREE char *text = with_notice(cases[i].notice);
		refused(text, cases[i].text);
	}
	refused("{'name':'p','x-stead':{'host':['h']}}", "x-stead.host: must be a string");
	AUTO_FREE char *text = with_notice("{'slack':'secret-without-scheme'}");
	AUTO_ERR err = ERR_INIT;
	AUTO_STACK *s = parse(text, NULL, &err);
	assert_null(s);
	assert_null(strstr(err_text(&err), "secret")); /* an address is a password */
}

static void limits(void **state)
{
	json_t *routes = json_array(), *root;
	for (int i = 0; i < 101; i++)
		(void) json_array_append_new(routes, json_pack("{s:o}", "path", json_sprintf("/%d", i)));
	root = json_pack("{s:s, s:{s:{s:s, s:{s:o}}}}", "name", "p", "services", "web", "image", "i", "x-stead", "routes", routes);
	AUTO_ERR err = ERR_INIT;
	Stack *s = NULL;
	assert_int_not_equal(stack_from_json(root, &s, NULL, &err), 0);
	assert_non_null(strstr(err_text(&err), "services.web.x-stead.routes: 101 routes are too many (limit 100)"));
	(void) json_array_remove(routes, 0);
	assert_int_equal(stack_from_json(root, &s, NULL, &err), 0);
	assert_int_equal(s->services[0].n_routes, 100);
	stack_free(s);
	json_decref(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(rules_without_x_stead),
		cmocka_unit_test(values),
		cmocka_unit_test(receivers),
		cmocka_unit_test(round_trip),
		cmocka_unit_test(bad_services),
		cmocka_unit_test(bad_notices),
		cmocka_unit_test(limits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
