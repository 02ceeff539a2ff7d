// SPDX-License-Identifier: Apache-2.0
/*
 * The stack as a whole. How JSON and structs go together is in object.c (the engine), in stack-parts.c
 * and stack-service.c (tables of what is inside a service), stack-stead.c (of x-stead) and here (of the top level); what must
 * hold between services is in stack-check.c. Arrays are sorted by their key, so that equal stacks give
 * equal JSON and look-ups are binary searches.
 *
 * "x-stead-origin" in the JSON says which files a stack came from and where they lie.
 */
#include "model/stack.h"

#include <arpa/inet.h>
#include <errno.h>

#include "base/digest.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "model/names.h"
#include "model/stack-parts.h"

/* ---- networks ---- */

static int check_subnet(Reader *r, void *base)
{
	const Subnet *s = base;
	int family = s->subnet ? subnet_family(s->subnet, NULL) : 0;
	if (!family)
		return reader_fail_at(r, "subnet", "'%s' is no subnet, such as 172.28.0.0/16", s->subnet);
	if (s->gateway && (address_family(s->gateway) != family || !subnet_contains(s->subnet, s->gateway)))
		return reader_fail_at(r, "gateway", "'%s' is no address in %s", s->gateway, s->subnet);
	if (s->ip_range) {
		AUTO_FREE char *first = xstrndup(s->ip_range, strcspn(s->ip_range, "/"));
		int outer = 0, inner = 0;
		(void) subnet_family(s->subnet, &outer);
		if (subnet_family(s->ip_range, &inner) != family || inner < outer || !subnet_contains(s->subnet, first))
			return reader_fail_at(r, "ip_range", "'%s' is no part of %s", s->ip_range, s->subnet);
	}
	return 0;
}

static const Field subnet_fields[] = {
	{ "subnet", &field_word, offsetof(Subnet, subnet), .flags = FIELD_REQUIRED },
	{ "gateway", &field_word, offsetof(Subnet, gateway) },
	{ "ip_range", &field_word, offsetof(Subnet, ip_range) },
	{ "aux_addresses", &field_refused, .arg = "remove it" },
};
static const Schema subnet_schema = OBJECT_SCHEMA(subnet_fields, Subnet, check_subnet, "an ipam configuration");

static int parse_ipam_driver(Reader *r, const Field *f, json_t *v, void *base)
{
	return str_eq(json_string_value(v), "default") ? 0 : reader_fail(r, "must be default; remove it");
}

static const FieldType field_ipam_driver = { NULL, parse_ipam_driver, NULL, NULL };

static const Field ipam_fields[] = {
	{ "driver", &field_ipam_driver },
	{ "config", &field_list, offsetof(Network, subnets), offsetof(Network, n_subnets), .arg = &subnet_schema },
	{ "options", &field_refused, .arg = "remove it" },
};
static const Schema ipam_schema = OBJECT_SCHEMA(ipam_fields, Network, NULL, "ipam");

static int check_network(Reader *r, void *base)
{
	Network *n = base;
	size_t ipv4 = 0;
	for (size_t i = 0; i < n->n_subnets; i++)
		ipv4 += subnet_family(n->subnets[i].subnet, NULL) == AF_INET;
	if (ipv4 > 1)
		return reader_fail_at(r, "ipam", "has %zu IPv4 subnets; a bridge takes one", ipv4);
	if (!object_name_valid(n->name))
		return reader_fail_at(r, "name", "'%s' is no valid name: letters, digits, '_', '.' and '-'", n->name);
	if (n->driver && !str_eq(n->driver, "bridge"))
		return reader_fail_at(r, "driver", "'%s' is not supported; use bridge%s", n->driver,
			str_eq(n->driver, "host") ? ", or 'network_mode: host' at the service" : "");
	if (!n->driver)
		n->driver = xstrdup("bridge");
	return 0;
}

static const Field network_fields[] = {
	{ "name", &field_word, offsetof(Network, name), .flags = FIELD_REQUIRED },
	{ "driver", &field_word, offsetof(Network, driver) },
	{ "external", &field_bool, offsetof(Network, external) },
	{ "internal", &field_bool, offsetof(Network, internal) },
	{ "attachable", &field_bool, offsetof(Network, attachable) },
	{ "enable_ipv6", &field_bool, offsetof(Network, enable_ipv6) },
	{ "ipam", &field_same, .arg = &ipam_schema },
	{ "labels", &field_pairs, offsetof(Network, labels) },
	{ "driver_opts", &field_refused, .arg = "remove it" },
	{ "enable_ipv4", &field_refused, .arg = "remove it" },
};
const Schema network_schema = OBJECT_SCHEMA(network_fields, Network, check_network, "a network");

/* ---- volumes ---- */

static int check_volume(Reader *r, void *base)
{
	Volume *v = base;
	if (!object_name_valid(v->name))
		return reader_fail_at(r, "name", "'%s' is no valid name: letters, digits, '_', '.' and '-'", v->name);
	if (v->driver && !str_eq(v->driver, "local"))
		return reader_fail_at(r, "driver", "'%s' is not supported; use local", v->driver);
	if (!v->driver)
		v->driver = xstrdup("local");
	return 0;
}

static const Field volume_fields[] = {
	{ "name", &field_word, offsetof(Volume, name), .flags = FIELD_REQUIRED },
	{ "driver", &field_word, offsetof(Volume, driver) },
	{ "external", &field_bool, offsetof(Volume, external) },
	{ "labels", &field_pairs, offsetof(Volume, labels) },
	{ "driver_opts", &field_refused, .arg = "mount what it names with 'volumes: [PATH:TARGET]' at the service" },
};
const Schema volume_schema = OBJECT_SCHEMA(volume_fields, Volume, check_volume, "a volume");

/* ---- configs and secrets ---- */

static int parse_external(Reader *r, const Field *f, json_t *v, void *base)
{
	return json_is_false(v) ? 0 : reader_fail(r, "'external' is not supported yet; use file:, environment: or content:");
}

static const FieldType field_external = { NULL, parse_external, NULL, NULL };

static int check_file_source(Reader *r, void *base)
{
	FileSource *f = base;
	if (!f->file == !f->content)
		return reader_fail(r, "needs exactly one of file, environment and content");
	if (f->digest && (!f->file || strlen(f->digest) != 64 || strspn(f->digest, "0123456789abcdef") != 64))
		return reader_fail_at(r, "x-stead-sha256", "must be 64 hex digits, beside a file; stead writes it itself, leave it out");
	if (f->content && strlen(f->content) > LIMIT_CONFIG_FILE_BYTES)
		return reader_fail_at(r, "content", "is longer than %u bytes", LIMIT_CONFIG_FILE_BYTES);
	return 0;
}

static const Field file_source_fields[] = {
	{ "name", &field_word, offsetof(FileSource, name) },
	{ "file", &field_path, offsetof(FileSource, file) },
	{ "content", &field_text, offsetof(FileSource, content) },
	{ "x-stead-sha256", &field_word, offsetof(FileSource, digest) },
	{ "environment", &field_unresolved },
	{ "external", &field_external },
	{ "labels", &field_ignored },
	{ "driver", &field_refused, .arg = "use file:, environment: or content:" },
	{ "driver_opts", &field_refused, .arg = "use file:, environment: or content:" },
	{ "template_driver", &field_refused, .arg = "remove it" },
};
const Schema file_source_schema = OBJECT_SCHEMA(file_source_fields, FileSource, check_file_source, "a config or secret");

/* ---- the stack ---- */

static const Field origin_fields[] = {
	{ "working_dir", &field_path, offsetof(Stack, working_dir) },
	{ "files", &field_strs, offsetof(Stack, files) },
	{ "off", &field_strs, offsetof(Stack, off) },
};
static const Schema origin_schema = OBJECT_SCHEMA(origin_fields, Stack, NULL, "x-stead-origin");

#define TOP(member, schema) offsetof(Stack, member), offsetof(Stack, n_##member), .arg = &(schema)

static const Field stack_fields[] = {
	{ "name", &field_word, offsetof(Stack, name), .flags = FIELD_REQUIRED },
	{ "services", &field_map, TOP(services, service_schema) },
	{ "networks", &field_map, TOP(networks, network_schema) },
	{ "volumes", &field_map, TOP(volumes, volume_schema) },
	{ "secrets", &field_map, TOP(secrets, file_source_schema) },
	{ "configs", &field_map, TOP(configs, file_source_schema) },
	{ "x-stead-origin", &field_same, .arg = &origin_schema },
	{ "x-stead", &field_same, .arg = &stead_stack_schema },
	{ "version", &field_ignored },
	{ "include", &field_refused, .arg = "give the files together with -f" },
	{ "models", &field_refused, .arg = "remove it" },
};
const Schema stack_schema = OBJECT_SCHEMA(stack_fields, Stack, NULL, "the file");

int stack_from_json(json_t *root, Stack **ret, ModelPath *where, Err *err)
{
	Reader r = { .err = err };
	AUTO_STACK *s = xcalloc(1, sizeof(*s));
	object_init(&stack_schema, s);
	int e = object_parse(&r, &stack_schema, root, s);
	if (e >= 0)
		e = stack_check(&r, s);
	if (e < 0) {
		if (where)
			*where = r.where;
		return e;
	}
	*ret = steal_ptr(&s);
	return 0;
}

json_t *stack_to_json(const Stack *s)
{
	return object_emit(&stack_schema, s);
}

void stack_free(Stack *s)
{
	if (!s)
		return;
	object_done(&stack_schema, s);
	free(s);
}

void stack_freep(Stack **s)
{
	stack_free(*s);
}

Service *stack_service(const Stack *s, const char *name)
{
	return objects_find(s->services, s->n_services, sizeof(Service), name);
}

Network *stack_network(const Stack *s, const char *key)
{
	return objects_find(s->networks, s->n_networks, sizeof(Network), key);
}

Volume *stack_volume(const Stack *s, const char *key)
{
	return objects_find(s->volumes, s->n_volumes, sizeof(Volume), key);
}

FileSource *stack_secret(const Stack *s, const char *key)
{
	return objects_find(s->secrets, s->n_secrets, sizeof(FileSource), key);
}

FileSource *stack_config(const Stack *s, const char *key)
{
	return objects_find(s->configs, s->n_configs, sizeof(FileSource), key);
}

/* ---- hash ---- */

static void hash_sources(const FileRef *refs, size_t n, const FileSource *sources, size_t n_sources, json_t *into)
{
	for (size_t i = 0; i < n; i++) {
		const FileSource *f = objects_find(sources, n_sources, sizeof(*f), refs[i].source);
		if (f)
			(void) json_object_set_new(into, refs[i].source, json_string(f->digest ? f->digest : f->file ? f->file : f->content));
	}
}

/*
 * Keys that say how a service is looked after, not what its container is, are left out. Names of networks
 * and volumes are put in, since renaming one moves the container although the service's own text is equal.
 */
void service_hash(const Stack *s, const Service *svc, char hex[65])
{
	static const char *const not_container[] = { "scale", "build", "depends_on", "pull_policy", "attach", "x-stead" };
	json_t *o = service_to_json(svc), *names = json_object(), *configs = json_object(), *secrets = json_object();
	for (size_t i = 0; i < ARRAY_SIZE(not_container); i++)
		(void) json_object_del(o, not_container[i]);
	for (size_t i = 0; i < svc->n_networks; i++) {
		const Network *n = stack_network(s, svc->networks[i].network);
		if (n)
			(void) json_object_set_new(names, n->key, json_string(n->name));
	}
	(void) json_object_set_new(o, "x-networks", names);
	names = json_object();
	for (size_t i = 0; i < svc->n_mounts; i++) {
		const Mount *m = &svc->mounts[i];
		const Volume *v = m->type == MOUNT_VOLUME && m->source ? stack_volume(s, m->source) : NULL;
		if (v)
			(void) json_object_set_new(names, v->key, json_string(v->name));
	}
	(void) json_object_set_new(o, "x-volumes", names);
	hash_sources(svc->configs, svc->n_configs, s->configs, s->n_configs, configs);
	hash_sources(svc->secrets, svc->n_secrets, s->secrets, s->n_secrets, secrets);
	(void) json_object_set_new(o, "x-configs", configs);
	(void) json_object_set_new(o, "x-secrets", secrets);
	char *text = json_dumps(o, JSON_SORT_KEYS | JSON_COMPACT);
	json_decref(o);
	if (!text)
		abort();
	digest_sha256(text, strlen(text), hex);
	free(text);
}
