// SPDX-License-Identifier: Apache-2.0
/*
 * The daemon's objects as the Docker Engine API 1.41 shows them. Fields that clients are known to read are there
 * with their exact types, also where stead has nothing to say (an empty list is not null).
 */
#include <errno.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/api-docker.h"
#include "daemon/health.h"
#include "daemon/image.h"
#include "daemon/json.h"
#include "image/reference.h"
#include "run/bundle.h"
#include "run/container.h"
#include "run/runtime.h"

#define SHM_DEFAULT (64 << 20)

static void set(json_t *o, const char *key, json_t *value)
{
	json_object_set_new(o, key, value);
}

static void set_text(json_t *o, const char *key, const char *value)
{
	set(o, key, json_safe(value));
}

static void set_bool(json_t *o, const char *key, bool value)
{
	set(o, key, json_boolean(value));
}

static void set_int(json_t *o, const char *key, int64_t value)
{
	set(o, key, json_integer(value));
}

static void set_time(json_t *o, const char *key, int64_t real_ns)
{
	char text[TIME_TEXT_MAX];
	set(o, key, json_string(time_rfc3339(real_ns, text)));
}

/** A list, or null for an empty one, as Go writes a nil slice. */
static json_t *strv_or_null(char *const *v)
{
	return strv_len(v) ? json_strv(v) : json_null();
}

/** {"80/tcp": {}} of a strv. */
static json_t *name_set(char *const *v)
{
	json_t *o = json_object();
	for (; v && *v; v++)
		set(o, *v, json_object());
	return o;
}

/** The length behind the "/" of a CIDR. */
static int prefix_of(const char *cidr)
{
	const char *slash = cidr ? strchr(cidr, '/') : NULL;
	uint32_t n = 0;
	if (slash)
		(void) parse_u32_max(slash + 1, 128, &n);
	return (int) n;
}

/* ── containers: both forms ───────────────────────────────────────── */

/** `name` without NAME's registry default if it still means this image, else the image's id. Owned by the caller. */
static char *docker_container_image(const Container *c)
{
	Image *img = NULL;
	if (c->image_ref && daemon_find_image(c->d, c->image_ref, &img, NULL, NULL) == 0 && str_eq(img->id, c->image_id))
		return xstrdup(c->image_ref);
	return xstrdup(c->image_id);
}

static char **command_of(const Container *c)
{
	const Image *img = daemon_image_by_id(c->d, c->image_id);
	return img ? process_args(&c->svc, img) : strv_dup(c->svc.command);
}

/** Mounts, as both have them. */
static json_t *docker_container_mounts(const Container *c)
{
	static const char *const types[] = { [MOUNT_VOLUME] = "volume", [MOUNT_BIND] = "bind", [MOUNT_TMPFS] = "tmpfs" };
	json_t *list = json_array();
	for (size_t i = 0; i < c->n_binds; i++) {
		const Bind *b = &c->binds[i];
		json_t *o = json_object();
		set_text(o, "Type", types[b->type]);
		if (b->vol)
			set_text(o, "Name", b->vol->name);
		set_text(o, "Source", b->vol ? b->vol->path : b->source);
		set_text(o, "Destination", b->target);
		if (b->vol)
			set_text(o, "Driver", b->vol->driver);
		set_text(o, "Mode", b->read_only ? "ro" : b->type == MOUNT_TMPFS ? "" : "rw");
		set_bool(o, "RW", !b->read_only);
		set_text(o, "Propagation", b->type == MOUNT_BIND ? "rprivate" : "");
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *endpoint(const Endpoint *e, bool running, bool inspect, const Container *c)
{
	json_t *o = json_object();
	int prefix = prefix_of(e->net->subnet);
	char short_id[13];
	(void) snprintf(short_id, sizeof(short_id), "%.12s", c->id);
	set(o, "IPAMConfig", e->want_address ? json_pack("{s:s}", "IPv4Address", e->want_address) : json_null());
	set(o, "Links", json_null());
	json_t *aliases = strv_or_null(e->aliases);
	if (inspect && json_is_array(aliases))
		json_array_append_new(aliases, json_string(short_id));
	set(o, "Aliases", aliases);
	set_text(o, "NetworkID", e->net->id);
	set_text(o, "EndpointID", running ? c->id : "");
	set_text(o, "Gateway", running ? e->net->gateway : "");
	set_text(o, "IPAddress", running ? e->address : "");
	set_int(o, "IPPrefixLen", running ? prefix : 0);
	set_text(o, "IPv6Gateway", "");
	set_text(o, "GlobalIPv6Address", "");
	set_int(o, "GlobalIPv6PrefixLen", 0);
	set_text(o, "MacAddress", running ? e->mac : "");
	set(o, "DriverOpts", json_null());
	return o;
}

static json_t *endpoints(const Container *c, bool inspect)
{
	json_t *o = json_object();
	for (size_t i = 0; i < c->n_endpoints; i++)
		set(o, c->endpoints[i].net->name, endpoint(&c->endpoints[i], ctr_is_running(c), inspect, c));
	if (c->svc.network_mode && !str_starts(c->svc.network_mode, "service:"))
		set(o, c->svc.network_mode, json_pack("{s:n, s:n, s:n, s:s, s:s, s:s, s:s, s:i, s:s, s:s, s:i, s:s, s:n}", "IPAMConfig", "Links",
			"Aliases", "NetworkID", "", "EndpointID", "", "Gateway", "", "IPAddress", "", "IPPrefixLen", 0, "IPv6Gateway", "",
			"GlobalIPv6Address", "", "GlobalIPv6PrefixLen", 0, "MacAddress", "", "DriverOpts"));
	return o;
}

/** The id of the container whose namespace a "service:NAME" mode means: its lowest number. */
static const Container *container_of_service(const Container *c, const char *mode)
{
	if (!mode || !str_starts(mode, "service:"))
		return NULL;
	for (size_t i = 0; i < c->d->n_containers; i++) {
		const Container *other = c->d->containers[i];
		if (str_eq(other->stack, c->stack) && str_eq(other->svc.name, mode + strlen("service:")) && other->phase != PHASE_REMOVING)
			return other;
	}
	return NULL;
}

/** "bridge name", "host", "container:ID". Owned by the caller. */
static char *network_mode(const Container *c)
{
	const Container *other = container_of_service(c, c->svc.network_mode);
	if (other)
		return xasprintf("container:%s", other->id);
	if (c->svc.network_mode)
		return xstrdup(c->svc.network_mode);
	for (size_t i = 0; i < c->n_endpoints; i++)
		if (c->endpoints[i].gateway)
			return xstrdup(c->endpoints[i].net->name);
	return xstrdup(c->n_endpoints ? c->endpoints[0].net->name : "none");
}

/** A pid or ipc mode in Docker's words. Owned by the caller. */
static char *namespace_mode(const Container *c, const char *mode)
{
	const Container *other = container_of_service(c, mode);
	return other ? xasprintf("container:%s", other->id) : xstrdup(mode ? mode : "");
}

/* ── containers: list ─────────────────────────────────────────────── */

/** "80/tcp" that is exposed but not published. */
static void add_exposed(const Container *c, json_t *list, const char *port)
{
	uint32_t number;
	size_t n = strcspn(port, "/");
	AUTO_FREE char *digits = xstrndup(port, n);
	const char *protocol = port[n] ? port + n + 1 : "tcp";
	if (parse_u32_max(digits, 65535, &number) < 0)
		return;
	for (size_t i = 0; i < json_array_size(list); i++) {
		json_t *o = json_array_get(list, i);
		if (json_integer_value(json_object_get(o, "PrivatePort")) == number && str_eq(json_string_value(json_object_get(o, "Type")), protocol))
			return;
	}
	json_array_append_new(list, json_pack("{s:i, s:s}", "PrivatePort", (int) number, "Type", protocol));
}

static json_t *list_ports(const Container *c)
{
	json_t *list = json_array();
	const Image *img = daemon_image_by_id(c->d, c->image_id);
	if (!ctr_is_running(c))
		return list;
	for (size_t i = 0; i < c->n_ports; i++) {
		const PublishedPort *p = &c->ports[i];
		json_array_append_new(list, json_pack("{s:s, s:i, s:i, s:s}", "IP", p->host_ip ? p->host_ip : "0.0.0.0", "PrivatePort",
			(int) p->target, "PublicPort", (int) p->host_port, "Type", p->protocol));
	}
	for (char *const *e = c->svc.expose; e && *e; e++)
		add_exposed(c, list, *e);
	for (char *const *e = img ? img->config.exposed_ports : NULL; e && *e; e++)
		add_exposed(c, list, *e);
	return list;
}

/** "Up 5 minutes (healthy)", "Exited (0) 3 hours ago". Owned by the caller. */
static char *status_text(const Container *c)
{
	static const char *const health[] = { [HEALTH_NONE] = "", [HEALTH_STARTING] = " (health: starting)", [HEALTH_HEALTHY] = " (healthy)",
		[HEALTH_UNHEALTHY] = " (unhealthy)" };
	int64_t now = time_real();
	AUTO_FREE char *since_start = docker_duration(now - c->started_at);
	AUTO_FREE char *since_end = docker_duration(now - c->finished_at);
	if (c->phase == PHASE_REMOVING)
		return xstrdup("Removal In Progress");
	if (c->restarting)
		return xasprintf("Restarting (%d) %s ago", c->exit_code, since_end);
	if (ctr_is_running(c))
		return xasprintf("Up %s%s%s", since_start, c->paused ? " (Paused)" : "", c->paused ? "" : health[c->health_state]);
	if (!c->finished_at)
		return xstrdup("Created");
	return xasprintf("Exited (%d) %s ago", c->exit_code, since_end);
}

json_t *docker_container_summary(const Container *c)
{
	json_t *o = json_object();
	AUTO_STRV char **args = command_of(c);
	AUTO_BUF command = BUF_INIT;
	for (char **a = args; a && *a; a++)
		buf_printf(&command, "%s%s", command.len ? " " : "", *a);
	AUTO_FREE char *status = status_text(c);
	AUTO_FREE char *image = docker_container_image(c);
	AUTO_FREE char *mode = network_mode(c);
	AUTO_FREE char *name = xasprintf("/%s", c->name);
	set_text(o, "Id", c->id);
	set(o, "Names", json_pack("[s]", name));
	set_text(o, "Image", image);
	set_text(o, "ImageID", c->image_id);
	set_text(o, "Command", buf_cstr(&command));
	set_int(o, "Created", c->created / NSEC_PER_SEC);
	set(o, "Ports", list_ports(c));
	set(o, "Labels", json_pairs(c->labels));
	set_text(o, "State", ctr_status(c));
	set_text(o, "Status", status);
	set(o, "HostConfig", json_pack("{s:s}", "NetworkMode", mode));
	set(o, "NetworkSettings", json_pack("{s:o}", "Networks", endpoints(c, false)));
	set(o, "Mounts", docker_container_mounts(c));
	return o;
}

/* ── containers: inspect ──────────────────────────────────────────── */

static json_t *inspect_state(const Container *c)
{
	json_t *o = json_object();
	json_t *health = health_json(c);
	bool running = ctr_is_running(c);
	set_text(o, "Status", ctr_status(c));
	set_bool(o, "Running", running || c->restarting);
	set_bool(o, "Paused", running && c->paused);
	set_bool(o, "Restarting", c->restarting);
	set_bool(o, "OOMKilled", c->oom_killed);
	set_bool(o, "Dead", false);
	set_int(o, "Pid", running ? c->pid : 0);
	set_int(o, "ExitCode", running ? 0 : c->exit_code);
	set_text(o, "Error", c->error);
	set_time(o, "StartedAt", c->started_at);
	set_time(o, "FinishedAt", c->finished_at);
	if (health)
		set(o, "Health", health);
	return o;
}

static json_t *healthcheck(const Healthcheck *h)
{
	json_t *o = json_object();
	set(o, "Test", json_strv(h->test));
	const struct {
		const char *key;
		int64_t value;
	} numbers[] = { { "Interval", h->interval }, { "Timeout", h->timeout }, { "StartPeriod", h->start_period },
		{ "StartInterval", h->start_interval }, { "Retries", h->retries } };
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		if (numbers[i].value > 0) /* as in Docker's Go, what is unset is not there */
			set_int(o, numbers[i].key, numbers[i].value);
	return o;
}

static const char *config_hostname(const Container *c, char short_id[13])
{
	(void) snprintf(short_id, 13, "%.12s", c->id);
	return c->svc.hostname ? c->svc.hostname : short_id;
}

static json_t *exposed_ports(const Container *c, const Image *img)
{
	json_t *o = name_set(img ? img->config.exposed_ports : NULL);
	for (char *const *e = c->svc.expose; e && *e; e++) {
		AUTO_FREE char *port = strchr(*e, '/') ? xstrdup(*e) : xasprintf("%s/tcp", *e);
		set(o, port, json_object());
	}
	for (size_t i = 0; i < c->svc.n_ports; i++) {
		AUTO_FREE char *port = xasprintf("%u/%s", c->svc.ports[i].target, c->svc.ports[i].protocol);
		set(o, port, json_object());
	}
	return o;
}

static json_t *inspect_config(const Container *c, const Image *img)
{
	json_t *o = json_object();
	char short_id[13];
	AUTO_STRV char **env = img ? process_env(&c->svc, img, NULL, NULL) : strv_dup(c->svc.environment);
	char *const *command = c->svc.command_set || c->svc.entrypoint_set || !img ? c->svc.command : img->config.cmd;
	char *const *entrypoint = c->svc.entrypoint_set || !img ? c->svc.entrypoint : img->config.entrypoint;
	set_text(o, "Hostname", config_hostname(c, short_id));
	set_text(o, "Domainname", c->svc.domainname);
	set_text(o, "User", c->svc.user ? c->svc.user : img ? img->config.user : NULL);
	set_bool(o, "AttachStdin", false);
	set_bool(o, "AttachStdout", false);
	set_bool(o, "AttachStderr", false);
	set(o, "ExposedPorts", exposed_ports(c, img));
	set_bool(o, "Tty", c->svc.tty);
	set_bool(o, "OpenStdin", c->svc.stdin_open);
	set_bool(o, "StdinOnce", false);
	set(o, "Env", json_strv(env));
	set(o, "Cmd", strv_or_null(command));
	if (c->check.test && !c->check.disable)
		set(o, "Healthcheck", healthcheck(&c->check));
	set_text(o, "Image", c->image_ref);
	set(o, "Volumes", img && strv_len(img->config.volumes) ? name_set(img->config.volumes) : json_null());
	set_text(o, "WorkingDir", c->svc.working_dir ? c->svc.working_dir : img ? img->config.working_dir : NULL);
	set(o, "Entrypoint", strv_or_null(entrypoint));
	set(o, "OnBuild", json_null());
	set(o, "Labels", json_pairs(c->labels));
	if (c->svc.stop_signal || (img && img->config.stop_signal))
		set_text(o, "StopSignal", c->svc.stop_signal ? c->svc.stop_signal : img->config.stop_signal);
	if (c->svc.stop_grace_period >= 0)
		set_int(o, "StopTimeout", c->svc.stop_grace_period / NSEC_PER_SEC);
	return o;
}

static void add_port(json_t *o, const char *key, const char *ip, unsigned port)
{
	json_t *list = json_object_get(o, key);
	char number[sizeof("4294967295")] = "";
	if (!json_is_array(list)) {
		list = json_array();
		set(o, key, list);
	}
	if (port)
		(void) snprintf(number, sizeof(number), "%u", port);
	json_array_append_new(list, json_pack("{s:s, s:s}", "HostIp", ip, "HostPort", number));
}

/** As they were asked for. */
static json_t *port_bindings(const Container *c)
{
	json_t *o = json_object();
	for (size_t i = 0; i < c->svc.n_ports; i++) {
		const Port *p = &c->svc.ports[i];
		AUTO_FREE char *key = xasprintf("%u/%s", p->target, p->protocol);
		add_port(o, key, p->host_ip ? p->host_ip : "", p->published);
	}
	return o;
}

/** As they are. */
static json_t *settings_ports(const Container *c, const Image *img)
{
	json_t *o = json_object(), *exposed = exposed_ports(c, img), *unused;
	const char *key;
	if (ctr_is_running(c)) {
		json_object_foreach(exposed, key, unused) {
			set(o, key, json_null());
		}
		for (size_t i = 0; i < c->n_ports; i++) {
			AUTO_FREE char *name = xasprintf("%u/%s", c->ports[i].target, c->ports[i].protocol);
			add_port(o, name, c->ports[i].host_ip ? c->ports[i].host_ip : "0.0.0.0", c->ports[i].host_port);
		}
	}
	json_decref(exposed);
	return o;
}

static json_t *binds(const Container *c)
{
	json_t *list = json_array();
	for (size_t i = 0; i < c->n_binds; i++) {
		const Bind *b = &c->binds[i];
		if (b->type == MOUNT_TMPFS || (b->vol && b->vol->anonymous))
			continue;
		AUTO_FREE char *text = xasprintf("%s:%s:%s", b->vol ? b->vol->name : b->source, b->target, b->read_only ? "ro" : "rw");
		json_array_append_new(list, json_safe(text));
	}
	return list;
}

static json_t *log_config(const Container *c)
{
	return json_pack("{s:s, s:o}", "Type", c->svc.logging_driver ? c->svc.logging_driver : "json-file", "Config",
		json_pairs(c->svc.logging_options));
}

static json_t *restart_policy(const Container *c)
{
	const char *name = restart_policy_name(c->svc.restart);
	/* Docker writes "no" for what was asked for and "" for nothing; both mean the same. */
	return json_pack("{s:s, s:i}", "Name", name, "MaximumRetryCount", c->svc.restart == RESTART_ON_FAILURE ? c->svc.restart_max : 0);
}

static json_t *ulimits(const Container *c)
{
	json_t *list = json_array();
	for (size_t i = 0; i < c->svc.n_ulimits; i++)
		json_array_append_new(list, json_pack("{s:s, s:I, s:I}", "Name", c->svc.ulimits[i].name, "Hard", (json_int_t) c->svc.ulimits[i].hard,
			"Soft", (json_int_t) c->svc.ulimits[i].soft));
	return list;
}

static json_t *devices(const Container *c)
{
	json_t *list = json_array();
	for (size_t i = 0; i < c->svc.n_devices; i++) {
		const Device *d = &c->svc.devices[i];
		json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "PathOnHost", d->source, "PathInContainer", d->target, "CgroupPermissions",
			d->permissions ? d->permissions : "rwm"));
	}
	return list;
}

static json_t *tmpfs(const Container *c)
{
	json_t *o = json_object();
	for (char *const *t = c->svc.tmpfs; t && *t; t++) {
		AUTO_FREE char *path = xstrndup(*t, strcspn(*t, ":"));
		set_text(o, path, strchr(*t, ':') ? strchr(*t, ':') + 1 : "");
	}
	return o;
}

static int64_t unset_is_zero(int64_t v)
{
	return v == -2 ? -1 : v < 0 ? 0 : v;
}

static void add_resources(const Container *c, json_t *o)
{
	const Service *s = &c->svc;
	set_int(o, "CpuShares", unset_is_zero(s->cpu_shares));
	set_int(o, "Memory", unset_is_zero(s->mem_limit));
	set_int(o, "NanoCpus", (int64_t) (s->cpus * 1e9));
	set_text(o, "CgroupParent", c->d->runtime->cgroup_parent);
	set_int(o, "CpuPeriod", 0);
	set_int(o, "CpuQuota", 0);
	set_text(o, "CpusetCpus", s->cpuset);
	set_text(o, "CpusetMems", "");
	set(o, "Devices", devices(c));
	set_int(o, "MemoryReservation", unset_is_zero(s->mem_reservation));
	set_int(o, "MemorySwap", unset_is_zero(s->memswap_limit));
	set_bool(o, "OomKillDisable", false);
	set_int(o, "OomScoreAdj", s->oom_score_adj);
	set(o, "PidsLimit", s->pids_limit ? json_integer(s->pids_limit) : json_null());
	set(o, "Ulimits", ulimits(c));
}

static json_t *host_config(const Container *c)
{
	const Service *s = &c->svc;
	json_t *o = json_object();
	AUTO_FREE char *mode = network_mode(c);
	AUTO_FREE char *pid = namespace_mode(c, s->pid);
	AUTO_FREE char *ipc = namespace_mode(c, s->ipc ? s->ipc : "private");
	set(o, "Binds", binds(c));
	set_text(o, "ContainerIDFile", "");
	set(o, "LogConfig", log_config(c));
	set_text(o, "NetworkMode", mode);
	set(o, "PortBindings", port_bindings(c));
	set(o, "RestartPolicy", restart_policy(c));
	set_bool(o, "AutoRemove", false);
	set_text(o, "VolumeDriver", "");
	set(o, "VolumesFrom", json_null());
	set(o, "CapAdd", strv_or_null(s->cap_add));
	set(o, "CapDrop", strv_or_null(s->cap_drop));
	set_text(o, "CgroupnsMode", "private");
	set(o, "Dns", json_strv(s->dns));
	set(o, "DnsOptions", json_strv(s->dns_opt));
	set(o, "DnsSearch", json_strv(s->dns_search));
	set(o, "ExtraHosts", strv_or_null(s->extra_hosts));
	set(o, "GroupAdd", strv_or_null(s->group_add));
	set_text(o, "IpcMode", ipc);
	set(o, "Links", json_null());
	set_text(o, "PidMode", pid);
	set_bool(o, "Privileged", s->privileged);
	set_bool(o, "PublishAllPorts", false);
	set_bool(o, "ReadonlyRootfs", s->read_only);
	set(o, "SecurityOpt", strv_or_null(s->security_opt));
	set(o, "Tmpfs", tmpfs(c));
	set_text(o, "UTSMode", s->uts);
	set_text(o, "UsernsMode", "");
	set_int(o, "ShmSize", s->shm_size < 0 ? SHM_DEFAULT : s->shm_size);
	set(o, "Sysctls", json_pairs(s->sysctls));
	set_text(o, "Runtime", c->d->runtime->name);
	set(o, "Init", s->init < 0 ? json_null() : json_boolean(s->init));
	add_resources(c, o);
	return o;
}

static json_t *network_settings(const Container *c, const Image *img)
{
	json_t *o = json_object();
	set_text(o, "Bridge", "");
	set_text(o, "SandboxID", c->netns ? c->id : "");
	set_bool(o, "HairpinMode", false);
	set(o, "Ports", settings_ports(c, img));
	set_text(o, "SandboxKey", c->netns);
	set_text(o, "Gateway", "");
	set_text(o, "IPAddress", "");
	set_int(o, "IPPrefixLen", 0);
	set_text(o, "MacAddress", "");
	set(o, "Networks", endpoints(c, true));
	return o;
}

static json_t *graph_driver(const Container *c)
{
	AUTO_FREE char *upper = xasprintf("%s/upper", c->paths->state);
	AUTO_FREE char *work = xasprintf("%s/work", c->paths->state);
	return json_pack("{s:s, s:{s:s, s:s, s:s}}", "Name", "overlay2", "Data", "MergedDir", c->paths->rootfs, "UpperDir", upper, "WorkDir",
		work);
}

json_t *docker_container_inspect(const Container *c)
{
	json_t *o = json_object();
	const Image *img = daemon_image_by_id(c->d, c->image_id);
	AUTO_STRV char **args = command_of(c);
	AUTO_FREE char *name = xasprintf("/%s", c->name);
	AUTO_FREE char *log = xasprintf("%s/log", c->paths->log);
	AUTO_FREE char *resolv = xasprintf("%s/resolv.conf", c->paths->files);
	AUTO_FREE char *hosts = xasprintf("%s/hosts", c->paths->files);
	AUTO_FREE char *hostname = xasprintf("%s/hostname", c->paths->files);
	set_text(o, "Id", c->id);
	set_time(o, "Created", c->created);
	set_text(o, "Path", args && *args ? *args : "");
	set(o, "Args", args && *args ? json_strv(args + 1) : json_array());
	set(o, "State", inspect_state(c));
	set_text(o, "Image", c->image_id);
	set_text(o, "ResolvConfPath", resolv);
	set_text(o, "HostnamePath", hostname);
	set_text(o, "HostsPath", hosts);
	set_text(o, "LogPath", log);
	set_text(o, "Name", name);
	set_int(o, "RestartCount", c->restart_count);
	set_text(o, "Driver", "overlay2");
	set_text(o, "Platform", "linux");
	set_text(o, "MountLabel", "");
	set_text(o, "ProcessLabel", "");
	set_text(o, "AppArmorProfile", "");
	set(o, "ExecIDs", docker_exec_ids(c));
	set(o, "HostConfig", host_config(c));
	set(o, "GraphDriver", graph_driver(c));
	set(o, "Mounts", docker_container_mounts(c));
	set(o, "Config", inspect_config(c, img));
	set(o, "NetworkSettings", network_settings(c, img));
	return o;
}

/* ── networks and volumes ─────────────────────────────────────────── */

static json_t *network_containers(const Daemon *d, const NetState *n)
{
	json_t *o = json_object();
	for (size_t i = 0; i < d->n_containers; i++) {
		const Container *c = d->containers[i];
		for (size_t k = 0; k < c->n_endpoints && ctr_is_running(c); k++) {
			const Endpoint *e = &c->endpoints[k];
			if (e->net != n)
				continue;
			AUTO_FREE char *address = xasprintf("%s/%d", e->address, prefix_of(n->subnet));
			set(o, c->id, json_pack("{s:s, s:s, s:s, s:s, s:s}", "Name", c->name, "EndpointID", c->id, "MacAddress", e->mac, "IPv4Address",
				address, "IPv6Address", ""));
		}
	}
	return o;
}

json_t *docker_network(const Daemon *d, const NetState *n, bool containers)
{
	json_t *o = json_object();
	json_t *ipam = json_object();
	set_text(ipam, "Subnet", n->subnet);
	if (n->ip_range)
		set_text(ipam, "IPRange", n->ip_range);
	set_text(ipam, "Gateway", n->gateway);
	set_text(o, "Name", n->name);
	set_text(o, "Id", n->id);
	set_time(o, "Created", n->created);
	set_text(o, "Scope", "local");
	set_text(o, "Driver", n->driver);
	set_bool(o, "EnableIPv6", false);
	set(o, "IPAM", json_pack("{s:s, s:n, s:[o]}", "Driver", "default", "Options", "Config", ipam));
	set_bool(o, "Internal", n->internal);
	set_bool(o, "Attachable", n->attachable);
	set_bool(o, "Ingress", false);
	set(o, "ConfigFrom", json_pack("{s:s}", "Network", ""));
	set_bool(o, "ConfigOnly", false);
	set(o, "Containers", containers ? network_containers(d, n) : json_object());
	set(o, "Options", n->bridge ? json_pack("{s:s}", "com.docker.network.bridge.name", n->bridge) : json_object());
	set(o, "Labels", json_pairs(n->labels));
	return o;
}

json_t *docker_volume(const VolState *v)
{
	json_t *o = json_object();
	set_time(o, "CreatedAt", v->created);
	set_text(o, "Driver", v->driver);
	set(o, "Labels", json_pairs(v->labels));
	set_text(o, "Mountpoint", v->path);
	set_text(o, "Name", v->name);
	set(o, "Options", json_object());
	set_text(o, "Scope", "local");
	return o;
}

/* ── images ───────────────────────────────────────────────────────── */

json_t *image_tags_json(const Image *img)
{
	json_t *list = json_array();
	for (char *const *t = img->tags; t && *t; t++) {
		AUTO_FREE char *shown = reference_show(*t);
		json_array_append_new(list, json_safe(shown));
	}
	return list;
}

static json_t *image_digests_json(const Image *img)
{
	json_t *list = json_array();
	for (char *const *t = img->digests; t && *t; t++) {
		AUTO_FREE char *shown = reference_show(*t);
		json_array_append_new(list, json_safe(shown));
	}
	return list;
}

json_t *docker_image_summary(const Daemon *d, const Image *img)
{
	json_t *o = json_object();
	json_t *tags = image_tags_json(img);
	set_int(o, "Containers", -1);
	set_int(o, "Created", img->created / NSEC_PER_SEC);
	set_text(o, "Id", img->id);
	set(o, "Labels", strv_len(img->config.labels) ? json_pairs(img->config.labels) : json_null());
	set_text(o, "ParentId", "");
	if (json_array_size(tags) == 0)
		json_array_append_new(tags, json_string("<none>:<none>"));
	set(o, "RepoDigests", image_digests_json(img));
	set(o, "RepoTags", tags);
	set_int(o, "SharedSize", -1);
	set_int(o, "Size", img->size);
	set_int(o, "VirtualSize", img->size);
	return o;
}

static json_t *image_config(const Image *img)
{
	const ImageConfig *i = &img->config;
	json_t *o = json_object();
	set_text(o, "Hostname", "");
	set_text(o, "Domainname", "");
	set_text(o, "User", i->user);
	set_bool(o, "AttachStdin", false);
	set_bool(o, "AttachStdout", false);
	set_bool(o, "AttachStderr", false);
	if (strv_len(i->exposed_ports))
		set(o, "ExposedPorts", name_set(i->exposed_ports));
	set_bool(o, "Tty", false);
	set_bool(o, "OpenStdin", false);
	set_bool(o, "StdinOnce", false);
	set(o, "Env", json_strv(i->env));
	set(o, "Cmd", strv_or_null(i->cmd));
	if (i->healthcheck.set)
		set(o, "Healthcheck", healthcheck(&i->healthcheck));
	set_text(o, "Image", "");
	set(o, "Volumes", strv_len(i->volumes) ? name_set(i->volumes) : json_null());
	set_text(o, "WorkingDir", i->working_dir);
	set(o, "Entrypoint", strv_or_null(i->entrypoint));
	set(o, "OnBuild", json_null());
	set(o, "Labels", strv_len(i->labels) ? json_pairs(i->labels) : json_null());
	if (i->stop_signal)
		set_text(o, "StopSignal", i->stop_signal);
	if (i->shell)
		set(o, "Shell", json_strv(i->shell));
	return o;
}

/* When it was last pulled, loaded or made: its configuration is written anew each time. 0 = not known. */
static int64_t image_came(const Daemon *d, const Image *img)
{
	struct stat st;
	AUTO_FREE char *path = xasprintf("%s/blobs/sha256/%s", d->o.state_dir, img->id + strlen("sha256:"));
	return stat(path, &st) < 0 ? 0 : (int64_t) st.st_mtim.tv_sec * NSEC_PER_SEC + st.st_mtim.tv_nsec;
}

json_t *docker_image_inspect(const Daemon *d, const Image *img)
{
	json_t *o = json_object(), *layers = json_array();
	json_t *blob = json_loads(img->config_json, 0, NULL);
	for (size_t i = 0; i < img->n_layers; i++)
		json_array_append_new(layers, json_safe(img->layers[i].diff_id));
	set_text(o, "Id", img->id);
	set(o, "RepoTags", image_tags_json(img));
	set(o, "RepoDigests", image_digests_json(img));
	set_text(o, "Parent", "");
	set_text(o, "Comment", json_string_value(json_object_get(blob, "comment")));
	set_time(o, "Created", img->created);
	set_text(o, "Container", "");
	set_text(o, "DockerVersion", "");
	set_text(o, "Author", json_string_value(json_object_get(blob, "author")));
	set(o, "Config", image_config(img));
	set_text(o, "Architecture", img->architecture);
	if (img->variant)
		set_text(o, "Variant", img->variant);
	set_text(o, "Os", img->os);
	set_int(o, "Size", img->size);
	set_int(o, "VirtualSize", img->size);
	set(o, "GraphDriver", json_pack("{s:s, s:{}}", "Name", "overlay2", "Data"));
	set(o, "RootFS", json_pack("{s:s, s:o}", "Type", "layers", "Layers", layers));
	json_t *metadata = json_object();
	set_time(metadata, "LastTagTime", image_came(d, img));
	set(o, "Metadata", metadata);
	json_decref(blob);
	return o;
}
