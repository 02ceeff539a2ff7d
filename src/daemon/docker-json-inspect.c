// SPDX-License-Identifier: Apache-2.0
/*
 * A container as Docker's inspect shows it: what is (State, NetworkSettings), what was asked for (HostConfig), and what image and service
 * make together (Config). Fields that clients are known to read are there with their exact types, also where stead has nothing to say (an
 * empty list is not null).
 */
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/docker-json.h"
#include "daemon/health.h"
#include "run/bundle.h"
#include "run/container.h"
#include "run/runtime.h"

#define SHM_DEFAULT (64 << 20)

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

static const char *config_hostname(const Container *c, char short_id[13])
{
	(void) snprintf(short_id, 13, "%.12s", c->id);
	return c->svc.hostname ? c->svc.hostname : short_id;
}

static json_t *exposed_ports(const Container *c, const Image *img)
{
	json_t *o = docker_name_set(img ? img->config.exposed_ports : NULL);
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
	set(o, "Cmd", docker_strv_or_null(command));
	if (c->check.test && !c->check.disable)
		set(o, "Healthcheck", docker_healthcheck(&c->check));
	set_text(o, "Image", c->image_ref);
	set(o, "Volumes", img && strv_len(img->config.volumes) ? docker_name_set(img->config.volumes) : json_null());
	set_text(o, "WorkingDir", c->svc.working_dir ? c->svc.working_dir : img ? img->config.working_dir : NULL);
	set(o, "Entrypoint", docker_strv_or_null(entrypoint));
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
	AUTO_FREE char *mode = docker_network_mode(c);
	AUTO_FREE char *pid = docker_namespace_mode(c, s->pid);
	AUTO_FREE char *ipc = docker_namespace_mode(c, s->ipc ? s->ipc : "private");
	set(o, "Binds", binds(c));
	set_text(o, "ContainerIDFile", "");
	set(o, "LogConfig", log_config(c));
	set_text(o, "NetworkMode", mode);
	set(o, "PortBindings", port_bindings(c));
	set(o, "RestartPolicy", restart_policy(c));
	set_bool(o, "AutoRemove", false);
	set_text(o, "VolumeDriver", "");
	set(o, "VolumesFrom", json_null());
	set(o, "CapAdd", docker_strv_or_null(s->cap_add));
	set(o, "CapDrop", docker_strv_or_null(s->cap_drop));
	set_text(o, "CgroupnsMode", "private");
	set(o, "Dns", json_strv(s->dns));
	set(o, "DnsOptions", json_strv(s->dns_opt));
	set(o, "DnsSearch", json_strv(s->dns_search));
	set(o, "ExtraHosts", docker_strv_or_null(s->extra_hosts));
	set(o, "GroupAdd", docker_strv_or_null(s->group_add));
	set_text(o, "IpcMode", ipc);
	set(o, "Links", json_null());
	set_text(o, "PidMode", pid);
	set_bool(o, "Privileged", s->privileged);
	set_bool(o, "PublishAllPorts", false);
	set_bool(o, "ReadonlyRootfs", s->read_only);
	set(o, "SecurityOpt", docker_strv_or_null(s->security_opt));
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
	set(o, "Networks", docker_container_endpoints(c, true));
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
	AUTO_STRV char **args = docker_container_command(c);
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
