// SPDX-License-Identifier: Apache-2.0
#include "dockerfile/config.h"

#include <errno.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "dockerfile/glob.h"

#define PORTS_MAX 4096 /* what an image's reader takes: model/image.c */
#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

json_t *config_new(const char *platform)
{
	json_t *image = json_object();
	size_t n = strcspn(platform, "/");
	const char *arch = platform + n + (platform[n] == '/');
	size_t k = strcspn(arch, "/");
	json_object_set_new(image, "architecture", json_stringn(arch, k));
	if (arch[k])
		json_object_set_new(image, "variant", json_string(arch + k + 1));
	json_object_set_new(image, "os", json_stringn(platform, n));
	json_object_set_new(image, "config", json_pack("{s:[s]}", "Env", DEFAULT_PATH));
	json_object_set_new(image, "rootfs", json_pack("{s:s, s:[]}", "type", "layers", "diff_ids"));
	json_object_set_new(image, "history", json_array());
	return image;
}

/* The member as an object; made if it is absent or null. */
static json_t *object_at(json_t *parent, const char *key)
{
	json_t *o = json_object_get(parent, key);
	if (!json_is_object(o)) {
		o = json_object();
		json_object_set_new(parent, key, o);
	}
	return o;
}

static json_t *strings(char *const *v)
{
	json_t *list = json_array();
	for (char *const *s = v; s && *s; s++)
		json_array_append_new(list, json_string(*s));
	return list;
}

static char **strings_of(const json_t *list)
{
	char **v = NULL;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *s = json_string_value(json_array_get(list, i));
		if (s)
			strv_add(&v, s);
	}
	return v;
}

static int set_env(json_t *config, const Instruction *i)
{
	AUTO_STRV char **env = strings_of(json_object_get(config, "Env"));
	for (size_t k = 0; k < i->n_pairs; k++)
		strv_setenv(&env, i->pairs[k].key, i->pairs[k].value);
	json_object_set_new(config, "Env", strings(env));
	return 0;
}

static int set_labels(json_t *config, const Instruction *i)
{
	json_t *labels = object_at(config, "Labels");
	for (size_t k = 0; k < i->n_pairs; k++)
		json_object_set_new(labels, i->pairs[k].key, json_string(i->pairs[k].value));
	return 0;
}

static int set_command(json_t *config, const Instruction *i, const char *key)
{
	AUTO_STRV char **shell = strings_of(json_object_get(config, "Shell"));
	const char *script;
	AUTO_STRV char **argv = instruction_command(i, shell, &script);
	if (argv)
		json_object_set_new(config, key, strings(argv));
	else
		json_object_del(config, key);
	return 0;
}

static int set_volumes(json_t *config, const Instruction *i)
{
	json_t *volumes = object_at(config, "Volumes");
	for (char **a = i->args; *a; a++)
		json_object_set_new(volumes, *a, json_object());
	return 0;
}

static int parse_port(const char *s, const char *end, uint32_t *ret)
{
	AUTO_FREE char *digits = xstrndup(s, (size_t) (end - s));
	return parse_u32_max(digits, 65535, ret) < 0 || *ret == 0 ? -EINVAL : 0;
}

/* "80", "80/udp", "8000-8010/tcp"; of "8080:80" the container's part. */
static int expose(json_t *ports, const char *text, Err *err)
{
	static const char bad[] = "'%s' is not PORT, PORT-PORT, with /tcp, /udp or /sctp behind it";
	const char *colon = strrchr(text, ':'), *s = colon ? colon + 1 : text;
	const char *slash = strchr(s, '/'), *end = slash ? slash : s + strlen(s);
	const char *dash = memchr(s, '-', (size_t) (end - s));
	AUTO_FREE char *protocol = xstrdup(slash ? slash + 1 : "tcp");
	for (char *c = protocol; *c; c++)
		*c = (char) (*c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a' : *c);
	uint32_t first, last;
	if (parse_port(s, dash ? dash : end, &first) < 0 || parse_port(dash ? dash + 1 : s, end, &last) < 0 || last < first)
		return err_set(err, -EINVAL, bad, text);
	if (!str_eq(protocol, "tcp") && !str_eq(protocol, "udp") && !str_eq(protocol, "sctp"))
		return err_set(err, -EINVAL, bad, text);
	for (uint32_t p = first; p <= last; p++) {
		AUTO_FREE char *key = xasprintf("%u/%s", p, protocol);
		json_object_set_new(ports, key, json_object());
		if (json_object_size(ports) > PORTS_MAX)
			return err_set(err, -EINVAL, "'%s': an image exposes at most %d ports", text, PORTS_MAX);
	}
	return 0;
}

static int set_ports(json_t *config, const Instruction *i, Err *err)
{
	json_t *ports = object_at(config, "ExposedPorts");
	for (char **a = i->args; a && *a; a++) {
		int r = expose(ports, *a, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static void set_duration(json_t *o, const char *key, int64_t value)
{
	if (value > 0)
		json_object_set_new(o, key, json_integer(value));
}

static int set_healthcheck(json_t *config, const Healthcheck *h)
{
	json_t *o = json_object();
	json_object_set_new(o, "Test", strings(h->test));
	set_duration(o, "Interval", h->interval);
	set_duration(o, "Timeout", h->timeout);
	set_duration(o, "StartPeriod", h->start_period);
	set_duration(o, "StartInterval", h->start_interval);
	set_duration(o, "Retries", h->retries);
	json_object_set_new(config, "Healthcheck", o);
	return 0;
}

static int set_trigger(json_t *config, const Instruction *i)
{
	json_t *list = json_object_get(config, "OnBuild");
	if (!json_is_array(list)) {
		list = json_array();
		json_object_set_new(config, "OnBuild", list);
	}
	json_array_append_new(list, json_string(i->args[0]));
	return 0;
}

static int set_workdir(json_t *image, json_t *config, const Instruction *i)
{
	AUTO_FREE char *path = config_path(image, i->args[0]);
	json_object_set_new(config, "WorkingDir", json_string(path));
	return 0;
}

static int apply(const Instruction *i, json_t *image, ConfigState *state, Err *err)
{
	json_t *config = object_at(image, "config");
	switch (i->kind) {
	case INSTRUCTION_ENV:
		return set_env(config, i);
	case INSTRUCTION_LABEL:
		return set_labels(config, i);
	case INSTRUCTION_CMD:
		state->cmd_set = true;
		return set_command(config, i, "Cmd");
	case INSTRUCTION_ENTRYPOINT:
		if (!state->cmd_set)
			json_object_del(config, "Cmd");
		return set_command(config, i, "Entrypoint");
	case INSTRUCTION_EXPOSE:
		return set_ports(config, i, err);
	case INSTRUCTION_HEALTHCHECK:
		return set_healthcheck(config, &i->healthcheck);
	case INSTRUCTION_MAINTAINER:
		return json_object_set_new(image, "author", json_string(i->args[0]));
	case INSTRUCTION_ONBUILD:
		return set_trigger(config, i);
	case INSTRUCTION_SHELL:
		return json_object_set_new(config, "Shell", strings(i->args));
	case INSTRUCTION_STOPSIGNAL:
		return json_object_set_new(config, "StopSignal", json_string(i->args[0]));
	case INSTRUCTION_USER:
		return json_object_set_new(config, "User", json_string(i->args[0]));
	case INSTRUCTION_VOLUME:
		return set_volumes(config, i);
	case INSTRUCTION_WORKDIR:
		return set_workdir(image, config, i);
	default:
		return 0;
	}
}

int config_apply(const Dockerfile *f, const Instruction *expanded, json_t *image, ConfigState *state, Err *err)
{
	int r = apply(expanded, image, state, err);
	return r < 0 ? instruction_wrap(f, expanded, err) : 0;
}

char **config_take_triggers(json_t *image)
{
	json_t *config = json_object_get(image, "config");
	char **v = strings_of(json_object_get(config, "OnBuild"));
	json_object_del(config, "OnBuild");
	return v;
}

char **config_env(const json_t *image)
{
	char **v = strings_of(json_object_get(json_object_get(image, "config"), "Env"));
	/* Not in the document: whoever runs it adds the same. */
	if (!strv_env(v, "PATH"))
		strv_add(&v, DEFAULT_PATH);
	return v;
}

char **config_shell(const json_t *image)
{
	return strings_of(json_object_get(json_object_get(image, "config"), "Shell"));
}

char *config_workdir(const json_t *image)
{
	const char *s = json_string_value(json_object_get(json_object_get(image, "config"), "WorkingDir"));
	AUTO_FREE char *rooted = xasprintf("/%s", s ? s : "");
	return path_clean(rooted);
}

const char *config_user(const json_t *image)
{
	const char *s = json_string_value(json_object_get(json_object_get(image, "config"), "User"));
	return s ? s : "";
}

char *config_path(const json_t *image, const char *path)
{
	if (path[0] == '/')
		return path_clean(path);
	AUTO_FREE char *dir = config_workdir(image);
	AUTO_FREE char *joined = xasprintf("%s/%s", dir, path);
	return path_clean(joined);
}

void config_add_history(json_t *image, const char *created, const char *created_by, bool empty)
{
	json_t *list = json_object_get(image, "history"), *entry = json_object();
	if (!json_is_array(list)) {
		list = json_array();
		json_object_set_new(image, "history", list);
	}
	json_object_set_new(entry, "created", json_string(created));
	json_object_set_new(entry, "created_by", json_string(created_by));
	if (empty)
		json_object_set_new(entry, "empty_layer", json_true());
	json_array_append_new(list, entry);
}

char *config_created_by(const Instruction *i, char *const *argv, char *const *args)
{
	AUTO_BUF b = BUF_INIT;
	if (i->kind != INSTRUCTION_RUN) {
		buf_str(&b, i->text);
		return buf_steal(&b);
	}
	buf_str(&b, "RUN ");
	if (args)
		buf_printf(&b, "|%zu ", strv_len(args));
	for (char *const *a = args; a && *a; a++)
		buf_printf(&b, "%s ", *a);
	for (char *const *a = argv; a && *a; a++)
		buf_printf(&b, "%s%s", a == argv ? "" : " ", *a);
	return buf_steal(&b);
}
