// SPDX-License-Identifier: Apache-2.0
/*
 * The table of a service's keys, and its checks. One spelling is canonical and written: `scale`,
 * `mem_limit`, `mem_reservation`, `cpus`, `pids_limit` and `restart`; what `deploy` says of the same is
 * read into the same members and must not contradict. Only a delay, a window or a bound on `always`,
 * which `restart` has no word for, makes a service write deploy.restart_policy instead of `restart`.
 */
#include <errno.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "model/stack-parts.h"

#define AT(member) offsetof(Service, member)

/* ---- command and entrypoint: an empty list is not the same as none ---- */

static int parse_command(Reader *r, const Field *f, json_t *v, void *base)
{
	if (field_texts.parse(r, f, v, base) < 0)
		return -EINVAL;
	*(bool *) (void *) ((char *) base + f->offset2) = true;
	return 0;
}

static json_t *emit_command(const Field *f, const void *base)
{
	if (!*(const bool *) (const void *) ((const char *) base + f->offset2))
		return NULL;
	json_t *list = field_texts.emit(f, base);
	return list ? list : json_array();
}

static void done_command(const Field *f, void *base)
{
	field_texts.done(f, base);
}

static const FieldType field_command = { NULL, parse_command, emit_command, done_command };

/* ---- restart ---- */

static const char *const restart_names[] = { "no", "always", "on-failure", "unless-stopped", NULL };
static const char *const policy_conditions[] = { "none", "any", "on-failure", NULL };

const char *restart_policy_name(RestartPolicy p)
{
	return restart_names[p];
}

static int parse_restart(Reader *r, const Field *f, json_t *v, void *base)
{
	Service *s = base;
	const char *text = json_string_value(v);
	uint32_t max = 0;
	if (text && str_starts(text, "on-failure:")) {
		if (parse_u32_max(text + 11, INT32_MAX, &max) < 0)
			return reader_fail(r, "'%s' needs a number of attempts after the colon", text);
		s->restart = RESTART_ON_FAILURE;
		s->restart_max = (int) max;
		return 0;
	}
	if (text && !*text) {
		s->restart = RESTART_NO;
		return 0;
	}
	for (int i = 0; text && restart_names[i]; i++) {
		if (str_eq(restart_names[i], text)) {
			s->restart = (RestartPolicy) i;
			return 0;
		}
	}
	return reader_fail(r, "must be \"no\", always, on-failure[:N] or unless-stopped%s%s%s", text ? ", not '" : "",
		text ? text : "", text ? "'" : "");
}

/* Whether only deploy.restart_policy can say it. */
static bool policy_needed(const Service *s)
{
	return s->restart_delay >= 0 || s->restart_window >= 0 || (s->restart_max && s->restart == RESTART_ALWAYS);
}

static json_t *emit_restart(const Field *f, const void *base)
{
	const Service *s = base;
	if (s->restart == RESTART_NO || policy_needed(s))
		return NULL;
	if (s->restart == RESTART_ON_FAILURE && s->restart_max)
		return json_sprintf("on-failure:%d", s->restart_max);
	return json_string(restart_names[s->restart]);
}

static const FieldType field_restart = { NULL, parse_restart, emit_restart, NULL };

static int parse_condition(Reader *r, const Field *f, json_t *v, void *base)
{
	Service *s = base;
	int i = 0;
	Field copy = *f;
	copy.arg = policy_conditions;
	copy.offset = 0;
	if (field_enum.parse(r, &copy, v, &i) < 0)
		return -EINVAL;
	s->restart = (RestartPolicy) i;
	return 0;
}

static const FieldType field_condition = { NULL, parse_condition, NULL, NULL };

static const Field restart_policy_fields[] = {
	{ "condition", &field_condition },
	{ "delay", &field_duration, AT(restart_delay), .unset = -1, .min = 0 },
	{ "max_attempts", &field_int, AT(restart_max), .min = 0, .max = INT32_MAX },
	{ "window", &field_duration, AT(restart_window), .unset = -1, .min = 0 },
};
static const Schema restart_policy_schema = OBJECT_SCHEMA(restart_policy_fields, Service, NULL, "deploy.restart_policy");

/* It overrides `restart` as a whole: its condition defaults to any, its bound to none. */
static int parse_restart_policy(Reader *r, const Field *f, json_t *v, void *base)
{
	Service *s = base;
	s->restart = RESTART_ALWAYS;
	s->restart_max = 0;
	return object_parse(r, &restart_policy_schema, v, base);
}

static json_t *emit_restart_policy(const Field *f, const void *base)
{
	const Service *s = base;
	if (!policy_needed(s))
		return NULL;
	json_t *o = object_emit(&restart_policy_schema, base);
	(void) json_object_set_new(o, "condition", json_string(policy_conditions[s->restart > RESTART_ON_FAILURE ? 1 : s->restart]));
	return o;
}

static void init_restart_policy(const Field *f, void *base)
{
	object_init(&restart_policy_schema, base);
}

static const FieldType field_restart_policy = { init_restart_policy, parse_restart_policy, emit_restart_policy, NULL };

/* ---- deploy ---- */

static const Field limits_fields[] = {
	{ "cpus", &field_number, AT(cpus), .min = 0, .max = 4096, .flags = FIELD_ALIAS },
	{ "memory", &field_bytes, AT(mem_limit), .unset = -1, .min = 0, .flags = FIELD_ALIAS },
	{ "pids", &field_i64, AT(pids_limit), .min = -1, .max = 4194304, .flags = FIELD_ALIAS },
};
static const Schema limits_schema = OBJECT_SCHEMA(limits_fields, Service, NULL, "deploy.resources.limits");

static const Field reservations_fields[] = {
	{ "memory", &field_bytes, AT(mem_reservation), .unset = -1, .min = 0, .flags = FIELD_ALIAS },
	{ "cpus", &field_ignored }, /* for a scheduler of many machines; no kernel setting stands for it */
	{ "devices", &field_refused, .arg = "give device files with 'devices:'" },
	{ "generic_resources", &field_refused, .arg = "remove it" },
};
static const Schema reservations_schema = OBJECT_SCHEMA(reservations_fields, Service, NULL, "deploy.resources.reservations");

static const Field resources_fields[] = {
	{ "limits", &field_same, .arg = &limits_schema },
	{ "reservations", &field_same, .arg = &reservations_schema },
};
static const Schema resources_schema = OBJECT_SCHEMA(resources_fields, Service, NULL, "deploy.resources");

static int parse_deploy_mode(Reader *r, const Field *f, json_t *v, void *base)
{
	const char *s = json_string_value(v);
	if (str_eq(s, "replicated"))
		return 0;
	return reader_fail(r, "'%s' is not supported yet; one machine runs 'replicated' services", s ? s : "");
}

static const FieldType field_deploy_mode = { NULL, parse_deploy_mode, NULL, NULL };

static const Field deploy_fields[] = {
	{ "mode", &field_deploy_mode },
	{ "replicas", &field_int, AT(replicas), .unset = 1, .min = 0, .max = LIMIT_REPLICAS, .flags = FIELD_ALIAS },
	{ "resources", &field_same, .arg = &resources_schema },
	{ "restart_policy", &field_restart_policy },
	/* These steer a cluster's scheduler or a rolling update; on one machine nothing acts on them. */
	{ "labels", &field_ignored },
	{ "placement", &field_ignored },
	{ "update_config", &field_ignored },
	{ "rollback_config", &field_ignored },
	{ "endpoint_mode", &field_ignored },
};
static const Schema deploy_schema = OBJECT_SCHEMA(deploy_fields, Service, NULL, "deploy");

/* ---- logging ---- */

static const Field logging_fields[] = {
	{ "driver", &field_word, AT(logging_driver) },
	{ "options", &field_pairs, AT(logging_options) },
};
static const Schema logging_schema = OBJECT_SCHEMA(logging_fields, Service, NULL, "logging");

/* ---- numbers with their own meaning of 0 and -1 ---- */

static int parse_memswap(Reader *r, const Field *f, json_t *v, void *base)
{
	Service *s = base;
	if (field_bytes.parse(r, f, v, base) < 0)
		return -EINVAL;
	if (s->memswap_limit == -1)
		s->memswap_limit = -2;
	else if (s->memswap_limit == 0) /* as if it had not been written */
		s->memswap_limit = -1;
	return 0;
}

static json_t *emit_memswap(const Field *f, const void *base)
{
	const Service *s = base;
	return s->memswap_limit == -2 ? json_string("-1") : field_bytes.emit(f, base);
}

static void init_memswap(const Field *f, void *base)
{
	field_bytes.init(f, base);
}

static const FieldType field_memswap = { init_memswap, parse_memswap, emit_memswap, NULL };

static const char *const pull_policies[] = { "missing", "always", "never", "build" };

/* "2w3d12h": what compose's every_ takes. 0: it is none. */
static int64_t parse_period(const char *s)
{
	static const struct {
		char unit;
		int64_t seconds;
	} units[] = { { 'w', 604800 }, { 'd', 86400 }, { 'h', 3600 }, { 'm', 60 }, { 's', 1 } };
	int64_t sum = 0;
	while (*s) {
		size_t digits = strspn(s, "0123456789"), i = 0;
		uint32_t n;
		AUTO_FREE char *number = xstrndup(s, digits);
		if (parse_u32_max(number, 1000000, &n) < 0)
			return 0;
		while (i < ARRAY_SIZE(units) && units[i].unit != s[digits])
			i++;
		if (i == ARRAY_SIZE(units))
			return 0;
		sum += (int64_t) n * units[i].seconds;
		s += digits + 1;
		if (sum > INT32_MAX)
			return 0;
	}
	return sum * NSEC_PER_SEC;
}

static int parse_pull_policy(Reader *r, const Field *f, json_t *v, void *base)
{
	Service *s = base;
	const char *text = json_string_value(v);
	for (size_t i = 0; text && i < ARRAY_SIZE(pull_policies); i++)
		if (str_eq(pull_policies[i], text)) {
			s->pull_policy = (PullPolicy) i;
			return 0;
		}
	if (str_eq(text, "if_not_present"))
		return 0;
	s->pull_every = str_eq(text, "daily") ? parse_period("1d") : str_eq(text, "weekly") ? parse_period("1w") :
		text && str_starts(text, "every_") ? parse_period(text + strlen("every_")) : 0;
	if (!s->pull_every)
		return reader_fail(r, "must be missing, always, never, build, daily, weekly or every_TIME (such as every_12h)%s%.40s%s", text ? ", not '" : "",
			text ? text : "", text ? "'" : "");
	s->pull_policy = PULL_EVERY;
	return 0;
}

static json_t *emit_pull_policy(const Field *f, const void *base)
{
	const Service *s = base;
	if (s->pull_policy == PULL_MISSING)
		return NULL;
	if (s->pull_policy != PULL_EVERY)
		return json_string(pull_policies[s->pull_policy]);
	int64_t seconds = s->pull_every / NSEC_PER_SEC;
	if (seconds == 86400 || seconds == 7 * 86400)
		return json_string(seconds == 86400 ? "daily" : "weekly");
	return json_sprintf("every_%llds", (long long) seconds);
}

static const FieldType field_pull_policy = { NULL, parse_pull_policy, emit_pull_policy, NULL };

/* ---- the table ---- */

#define LIST(member, schema) AT(member), AT(n_##member), .arg = &(schema)
#define REFUSED(key, remedy) { key, &field_refused, .arg = remedy }

static const Field service_fields[] = {
	{ "image", &field_word, AT(image) },
	{ "build", &field_object, AT(build), .arg = &build_schema },
	{ "container_name", &field_word, AT(container_name) },
	{ "command", &field_command, AT(command), AT(command_set) },
	{ "entrypoint", &field_command, AT(entrypoint), AT(entrypoint_set) },
	{ "environment", &field_pairs_nullable, AT(environment) },
	{ "ports", &field_list, LIST(ports, port_schema) },
	{ "expose", &field_strs, AT(expose) },
	{ "volumes", &field_list, LIST(mounts, mount_schema) },
	{ "tmpfs", &field_strs, AT(tmpfs) },
	{ "networks", &field_map, LIST(networks, attachment_schema) },
	{ "network_mode", &field_word, AT(network_mode) },
	{ "depends_on", &field_map, LIST(depends, depends_schema) },
	{ "healthcheck", &field_object, AT(healthcheck), .arg = &healthcheck_schema },
	{ "restart", &field_restart },
	{ "hostname", &field_word, AT(hostname) },
	{ "domainname", &field_word, AT(domainname) },
	{ "user", &field_word, AT(user) },
	{ "working_dir", &field_path, AT(working_dir) },
	{ "group_add", &field_strs, AT(group_add) },
	{ "labels", &field_pairs, AT(labels) },
	{ "scale", &field_int, AT(replicas), .unset = 1, .min = 0, .max = LIMIT_REPLICAS },
	{ "mem_limit", &field_bytes, AT(mem_limit), .unset = -1, .min = 0 },
	{ "mem_reservation", &field_bytes, AT(mem_reservation), .unset = -1, .min = 0 },
	{ "memswap_limit", &field_memswap, AT(memswap_limit), .unset = -1, .min = -1 },
	{ "cpus", &field_number, AT(cpus), .min = 0, .max = 4096 },
	{ "cpu_shares", &field_i64, AT(cpu_shares), .unset = -1, .min = 0, .max = 262144 },
	{ "cpuset", &field_word, AT(cpuset) },
	{ "pids_limit", &field_i64, AT(pids_limit), .min = -1, .max = 4194304 },
	{ "ulimits", &field_map, LIST(ulimits, ulimit_schema) },
	{ "cap_add", &field_strs, AT(cap_add) },
	{ "cap_drop", &field_strs, AT(cap_drop) },
	{ "privileged", &field_bool, AT(privileged) },
	{ "security_opt", &field_strs, AT(security_opt) },
	{ "read_only", &field_bool, AT(read_only) },
	{ "shm_size", &field_bytes, AT(shm_size), .unset = -1, .min = 0 },
	{ "sysctls", &field_pairs, AT(sysctls) },
	{ "devices", &field_list, LIST(devices, device_schema) },
	{ "init", &field_tristate, AT(init), .unset = -1 },
	{ "tty", &field_bool, AT(tty) },
	{ "stdin_open", &field_bool, AT(stdin_open) },
	{ "stop_signal", &field_word, AT(stop_signal) },
	{ "stop_grace_period", &field_duration, AT(stop_grace_period), .unset = -1, .min = 0 },
	{ "extra_hosts", &field_strs, AT(extra_hosts) },
	{ "dns", &field_strs, AT(dns) },
	{ "dns_search", &field_strs, AT(dns_search) },
	{ "dns_opt", &field_strs, AT(dns_opt) },
	{ "pid", &field_word, AT(pid) },
	{ "ipc", &field_word, AT(ipc) },
	{ "uts", &field_word, AT(uts) },
	{ "secrets", &field_list, LIST(secrets, file_ref_schema) },
	{ "configs", &field_list, LIST(configs, file_ref_schema) },
	{ "logging", &field_same, .arg = &logging_schema },
	{ "pull_policy", &field_pull_policy, AT(pull_policy) },
	{ "platform", &field_word, AT(platform) },
	{ "oom_score_adj", &field_int, AT(oom_score_adj), .min = -1000, .max = 1000 },
	{ "attach", &field_bool, AT(attach), .unset = 1 },
	{ "deploy", &field_same, .arg = &deploy_schema },
	{ "x-stead", &field_same, .arg = &stead_service_schema },

	{ "profiles", &field_ignored }, /* a service that is here is on */
	{ "env_file", &field_unresolved },
	{ "links", &field_unresolved },

	{ "annotations", &field_refused, AT(annotations), .arg = "use labels" },
	REFUSED("blkio_config", "remove it"),
	REFUSED("cgroup", "remove it; each container has a cgroup namespace of its own"),
	REFUSED("cgroup_parent", "remove it"),
	REFUSED("cpu_count", "use cpus"),
	REFUSED("cpu_percent", "use cpus"),
	REFUSED("cpu_period", "use cpus"),
	REFUSED("cpu_quota", "use cpus"),
	REFUSED("cpu_rt_period", "remove it"),
	REFUSED("cpu_rt_runtime", "remove it"),
	REFUSED("credential_spec", "remove it"),
	REFUSED("develop", "remove it, or name it 'x-develop'"),
	REFUSED("device_cgroup_rules", "name the devices with 'devices:'"),
	REFUSED("extends", "write the keys out, or share them with a YAML anchor and '<<'"),
	REFUSED("external_links", "put both on one external network"),
	REFUSED("gpus", "name the devices with 'devices:'"),
	REFUSED("isolation", "remove it"),
	REFUSED("label_file", "write the labels out with 'labels:'"),
	REFUSED("mac_address", "set it on the service's network: 'networks: {NAME: {mac_address: …}}'"),
	REFUSED("mem_swappiness", "remove it"),
	REFUSED("models", "remove it"),
	REFUSED("oom_kill_disable", "remove it"),
	REFUSED("post_start", "run it from the container's entrypoint"),
	REFUSED("pre_start", "run it from the container's entrypoint"),
	REFUSED("pre_stop", "handle the stop signal in the container"),
	REFUSED("provider", "remove the service"),
	REFUSED("pull_refresh_after", "remove it"),
	REFUSED("runtime", "choose the runtime for all with `stead daemon --runtime`"),
	REFUSED("storage_opt", "remove it"),
	REFUSED("use_api_socket", "mount the socket with 'volumes:'"),
	REFUSED("userns_mode", "remove it"),
	REFUSED("volumes_from", "name the volumes with 'volumes:' in both services"),
};
const Schema service_schema = OBJECT_SCHEMA(service_fields, Service, service_check, "a service");

json_t *service_to_json(const Service *s)
{
	return object_emit(&service_schema, s);
}

int service_from_json(json_t *o, const char *name, Service *ret, Err *err)
{
	Reader r = { .err = err };
	Service s = { 0 };
	object_init(&service_schema, &s);
	s.name = xstrdup(name);
	(void) reader_enter(&r, name);
	if (object_parse(&r, &service_schema, o, &s) < 0) {
		service_done(&s);
		return -EINVAL;
	}
	*ret = s;
	return 0;
}

void service_done(Service *s)
{
	object_done(&service_schema, s);
	free_and_null(&s->name);
}

int service_check_keys(json_t *o, const char *name, ModelPath *where, Err *err)
{
	Reader r = { .err = err };
	(void) reader_enter(&r, "services");
	(void) reader_enter(&r, name);
	int e = object_check_keys(&r, &service_schema, o);
	if (e < 0 && where)
		*where = r.where;
	return e;
}
