// SPDX-License-Identifier: Apache-2.0
#include "daemon/build-bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/sysinfo.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/build-agent.h"
#include "daemon/json.h"
#include "net/resolv.h"

#define LOW_SHARES 128 /* an eighth of a service's: who serves goes first */
#define MEMORY_MIN (64LL << 20)
#define MEMORY_ROOM (64LL << 20) /* left to what is running, at least */

struct StepAgent {
	BuildStep *s;
	BuildAgent *agent;
	char *id;
};

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	return str_empty(s) ? NULL : s;
}

/* ── the service that it is ───────────────────────────────────────── */

/* What is free, but for some room for what serves meanwhile. */
static int64_t free_memory(void)
{
	AUTO_BUF b = BUF_INIT;
	struct sysinfo si;
	if (sysinfo(&si) < 0 || file_read(AT_FDCWD, "/proc/meminfo", 16384, &b) < 0)
		return -1;
	const char *p = strstr(buf_cstr(&b), "MemAvailable:");
	int64_t total = (int64_t) si.totalram * si.mem_unit;
	int64_t available = p ? strtoll(p + strlen("MemAvailable:"), NULL, 10) * 1024 : (int64_t) si.freeram * si.mem_unit;
	int64_t room = total / 16 > MEMORY_ROOM ? total / 16 : MEMORY_ROOM;
	return available - room > MEMORY_MIN ? available - room : MEMORY_MIN;
}

static void set_limits(BuildStep *s)
{
	const BuildLimits *l = &s->b->limits;
	const Runtime *rt = s->b->d->runtime;
	Service *svc = &s->svc;
	if (l->memory)
		svc->mem_limit = l->memory;
	else if (runtime_require(rt, CONTROLLER_MEMORY, "mem_limit", NULL) == 0)
		svc->mem_limit = free_memory();
	svc->memswap_limit = l->memory_swap;
	svc->cpus = l->cpus;
	if (l->cpu_shares >= 0)
		svc->cpu_shares = l->cpu_shares;
	else if (runtime_require(rt, CONTROLLER_CPU, "cpu_shares", NULL) == 0)
		svc->cpu_shares = LOW_SHARES;
	str_set(&svc->cpuset, l->cpuset);
	if (runtime_require(rt, CONTROLLER_PIDS, "pids_limit", NULL) == 0)
		svc->pids_limit = LIMIT_BUILD_PIDS;
	svc->shm_size = l->shm_size;
}

static int make_service(BuildStep *s, Err *err)
{
	json_t *o = json_pack("{s:s}", "image", "build");
	if (s->b->limits.ulimits)
		(void) json_object_set(o, "ulimits", s->b->limits.ulimits);
	int r = service_from_json(o, "build", &s->svc, err);
	json_decref(o);
	if (r < 0)
		return r;
	s->svc.entrypoint = json_to_strv(json_object_get(s->request, "args"));
	s->svc.entrypoint_set = true;
	s->svc.environment = json_to_strv(json_object_get(s->request, "env"));
	s->svc.user = xstrdup(text_of(s->request, "user"));
	s->svc.working_dir = xstrdup(text_of(s->request, "workdir"));
	set_limits(s);
	return strv_len(s->svc.entrypoint) ? 0 : err_set(err, -EINVAL, "there is nothing to run");
}

/* ── SSH agents ───────────────────────────────────────────────────── */

static uint32_t ask_agent(void *user, const void *p, size_t n)
{
	const StepAgent *a = user;
	Builder *b = a->s->b;
	if (++b->questions == 0)
		b->questions = 1;
	b->front.agent(b->front.user, b->questions, a->id, p, n);
	return b->questions;
}

void build_bundle_close_agents(BuildStep *s)
{
	while (s->n_agents) {
		StepAgent *a = s->agents[--s->n_agents];
		build_agent_close(a->agent);
		free(a->id);
		free(a);
	}
}

bool build_step_agent_answer(BuildStep *s, uint32_t number, const void *p, size_t n)
{
	for (size_t i = 0; i < s->n_agents; i++)
		if (build_agent_answer(s->agents[i]->agent, number, p, n))
			return true;
	return false;
}

static int open_agent(BuildStep *s, const json_t *m, char **ret_path, Err *err)
{
	const char *id = text_of(m, "id");
	char name[16];
	if (!id || !s->b->front.agent)
		return err_set(err, -EINVAL, "an SSH agent has no name, or there is nobody who has one");
	if (s->n_agents == LIMIT_BUILD_AGENTS)
		return err_set(err, -EINVAL, "a RUN instruction can mount %d SSH agents at most", LIMIT_BUILD_AGENTS);
	(void) snprintf(name, sizeof(name), "ssh-%zu", s->n_agents);
	StepAgent *a = xcalloc(1, sizeof(*a));
	*a = (StepAgent) { .s = s, .id = xstrdup(id) };
	const BuildAgentOptions o = { .dir = s->paths.files, .name = name, .uid = (uid_t) json_integer_value(json_object_get(m, "uid")),
		.gid = (gid_t) json_integer_value(json_object_get(m, "gid")), .mode = (mode_t) json_integer_value(json_object_get(m, "mode")),
		.ask = ask_agent, .user = a };
	int r = build_agent_open(s->b->d->loop, &o, &a->agent, err);
	if (r < 0) {
		free(a->id);
		free(a);
		return r;
	}
	s->agents[s->n_agents++] = a;
	*ret_path = xasprintf("%s/%s", s->paths.files, name);
	return 0;
}

/* ── mounts ───────────────────────────────────────────────────────── */

static int mount_source(BuildStep *s, const json_t *m, char **ret_path, Err *err)
{
	const char *type = text_of(m, "type"), *source = text_of(m, "source");
	if (str_eq(type, "tmpfs"))
		return 0;
	if (str_eq(type, "ssh"))
		return open_agent(s, m, ret_path, err);
	return source ? build_root_bind(s->b->d->runtime, &s->paths, s->n_mounts, source, ret_path, err) :
		err_set(err, -EINVAL, "mount at '%s': there is nothing to mount", text_of(m, "target"));
}

static int add_mount(BuildStep *s, const json_t *m, Err *err)
{
	const char *target = text_of(m, "target");
	const json_t *size = json_object_get(m, "size"), *mode = json_object_get(m, "mode");
	char *path = NULL;
	if (!target || target[0] != '/' || s->n_mounts >= LIMIT_BUILD_MOUNTS)
		return err_set(err, -EINVAL, "a mount needs an absolute target, and there are at most %d", LIMIT_BUILD_MOUNTS);
	bool tmpfs = str_eq(text_of(m, "type"), "tmpfs");
	int r = mount_source(s, m, &path, err);
	if (r < 0)
		return r;
	if (path)
		strv_take(&s->owned, path);
	char *copy = xstrdup(target);
	strv_take(&s->targets, copy);
	*array_append(s->mounts, s->n_mounts) = (BundleMount) {
		.type = tmpfs ? MOUNT_TMPFS : MOUNT_BIND,
		.source = path,
		.target = copy,
		.read_only = json_is_true(json_object_get(m, "ro")),
		.tmpfs_size = json_integer_value(size) > 0 ? json_integer_value(size) : -1,
		.tmpfs_mode = json_is_integer(mode) ? json_integer_value(mode) : -1,
	};
	return 0;
}

static int make_mounts(BuildStep *s, Err *err)
{
	static const char *const always[] = { "/proc", "/sys", "/dev", "/etc/hosts", "/etc/resolv.conf" };
	const json_t *list = json_object_get(s->request, "mounts");
	int r = 0;
	for (size_t i = 0; r == 0 && i < json_array_size(list); i++)
		r = add_mount(s, json_array_get(list, i), err);
	for (size_t i = 0; i < ARRAY_SIZE(always); i++)
		strv_add(&s->targets, always[i]);
	return r;
}

/* ── network ──────────────────────────────────────────────────────── */

static int take_place(BuildStep *s, Err *err)
{
	const char *wanted = text_of(s->request, "network"), *given = s->b->limits.network;
	if (!wanted || str_eq(wanted, "default"))
		wanted = given ? given : "default";
	if (str_eq(wanted, "host")) {
		if (str_eq(given, "host"))
			return 0;
		return err_set(err, -EPERM, "RUN --network=host is allowed only where the whole build has it: stead build --network host");
	}
	return build_place_take(s->b, str_eq(wanted, "none"), &s->place, err);
}

static void add_hosts(const BuildStep *s, Buf *b)
{
	char gateway[ADDR_TEXT_MAX] = "127.0.0.1";
	if (s->place && !s->place->isolated)
		(void) addr_text(&s->place->gateway, gateway);
	for (char **h = s->b->limits.hosts; h && *h; h++) {
		const char *eq = strchr(*h, '=');
		if (eq)
			buf_printf(b, "%s\t%.*s\n", str_eq(eq + 1, "host-gateway") ? gateway : eq + 1, (int) (eq - *h), *h);
	}
}

static int write_hosts(BuildStep *s, const char *hostname, Err *err)
{
	AUTO_BUF b = BUF_INIT;
	char text[ADDR_TEXT_MAX];
	if (!s->place)
		(void) file_read(AT_FDCWD, "/etc/hosts", LIMIT_CONFIG_FILE_BYTES, &b);
	else
		buf_str(&b, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
	add_hosts(s, &b);
	if (s->place && !s->place->isolated)
		buf_printf(&b, "%s\t%s\n", addr_text(&s->place->address, text), hostname);
	return bundle_file_write(&s->paths, "hosts", b.data ? b.data : "", b.len, 0, 0, 0644, &s->hosts, err);
}

static int write_resolv_conf(BuildStep *s, Err *err)
{
	AUTO_BUF b = BUF_INIT;
	ResolvConf host = { 0 };
	char text[ADDR_TEXT_MAX];
	(void) resolv_read(NULL, &host, NULL);
	if (s->place && !s->place->isolated)
		buf_str(&b, "nameserver 127.0.0.11\noptions ndots:0\n");
	for (size_t i = 0; !s->place && i < host.n_servers; i++)
		buf_printf(&b, "nameserver %s\n", addr_text(&host.servers[i], text));
	for (char **d = host.search; d && *d && !str_eq(*d, "."); d++)
		buf_printf(&b, "%s %s%s", d == host.search ? "search" : "", *d, d[1] ? "" : "\n");
	resolv_done(&host);
	return bundle_file_write(&s->paths, "resolv.conf", b.data ? b.data : "", b.len, 0, 0, 0644, &s->resolv_conf, err);
}

/* ── all of it ────────────────────────────────────────────────────── */

int build_bundle_write(BuildStep *s, Err *err)
{
	static const Image no_image;
	static const char hostname[] = "build";
	AUTO_STRV char **warnings = NULL;
	int r = s->hosts ? 0 : write_hosts(s, hostname, err);
	if (r == 0 && !s->resolv_conf)
		r = write_resolv_conf(s, err);
	BundleSpec spec = {
		.runtime = s->b->d->runtime,
		.paths = &s->paths,
		.service = &s->svc,
		.image = &no_image,
		.hostname = hostname,
		.netns = s->place ? s->place->netns : NULL,
		.hosts = s->hosts,
		.resolv_conf = s->resolv_conf,
		.mounts = s->mounts,
		.n_mounts = s->n_mounts,
	};
	return r < 0 ? r : bundle_write(&spec, &warnings, err);
}

int build_bundle_make(BuildStep *s, Err *err)
{
	AUTO_STRV char **lower = json_to_strv(json_object_get(s->request, "lower"));
	const char *upper = text_of(s->request, "upper"), *work = text_of(s->request, "work");
	if (!upper || !work)
		return err_set(err, -EINVAL, "the worker names no directories to run in");
	int r = make_service(s, err);
	if (r == 0)
		r = build_root_make(&s->paths, err);
	if (r == 0)
		r = build_root_mount(s->b->d->runtime, &s->paths, lower, upper, work, err);
	s->mounted = r == 0;
	if (r == 0)
		r = make_mounts(s, err);
	if (r == 0)
		r = take_place(s, err);
	if (r == 0) {
		s->stubs = stubs_note(&s->paths, s->targets);
		r = build_bundle_write(s, err);
	}
	return r;
}
