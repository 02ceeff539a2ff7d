// SPDX-License-Identifier: Apache-2.0
/*
 * The daemon and the machine: ping, version, info, events, disk use (Docker Engine API 1.41, "System").
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/api-docker.h"
#include "daemon/build.h"
#include "daemon/events.h"
#include "daemon/image.h"
#include "daemon/json.h"
#include "daemon/volume.h"
#include "run/runtime.h"

#define API_VERSION "1.41"
#define API_VERSION_MIN "1.24"

static void ping(Daemon *d, HttpRequest *r, char *const *args)
{
	http_add_header(r, "Cache-Control", "no-cache, no-store, must-revalidate");
	http_add_header(r, "Pragma", "no-cache");
	http_reply(r, 200, "text/plain; charset=utf-8", "OK", 2);
}

/* ── version and info ─────────────────────────────────────────────── */

static void version(Daemon *d, HttpRequest *r, char *const *args)
{
	struct utsname u;
	(void) uname(&u);
	const char *arch = machine_architecture(u.machine);
	/* "crun version 1.8.1" */
	const char *number = strrchr(d->runtime->version, ' ');
	json_t *components = json_pack("[{s:s, s:s, s:{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}}, {s:s, s:s, s:{s:s}}, {s:s, s:s, s:{s:s}}]",
		"Name", "Engine", "Version", STEAD_VERSION, "Details", "ApiVersion", API_VERSION, "MinAPIVersion", API_VERSION_MIN, "Os",
		"linux", "Arch", arch, "KernelVersion", u.release, "GitCommit", "", "GoVersion", "", "BuildTime", "", "Experimental", "false",
		"Name", d->runtime->name, "Version", number ? number + 1 : d->runtime->version, "Details", "Path", d->runtime->path,
		"Name", "conmon", "Version", d->runtime->conmon_version, "Details", "Path", d->runtime->conmon);
	http_reply_json(r, 200, json_pack("{s:{s:s}, s:o, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "Platform", "Name", "stead",
		"Components", components, "Version", STEAD_VERSION, "ApiVersion", API_VERSION, "MinAPIVersion", API_VERSION_MIN,
		"GitCommit", "", "GoVersion", "", "Os", "linux", "Arch", arch, "KernelVersion", u.release, "BuildTime", ""));
}

/** PRETTY_NAME of os-release(5). Owned by the caller. */
static char *operating_system(void)
{
	AUTO_BUF b = BUF_INIT;
	if (file_read(AT_FDCWD, "/etc/os-release", 65536, &b) < 0)
		return xstrdup("Linux");
	const char *p = strstr(buf_cstr(&b), "PRETTY_NAME=");
	if (!p)
		return xstrdup("Linux");
	p += strlen("PRETTY_NAME=");
	p += *p == '"';
	return xstrndup(p, strcspn(p, "\"\n"));
}

static bool ip_forwarding(void)
{
	AUTO_BUF b = BUF_INIT;
	return file_read(AT_FDCWD, "/proc/sys/net/ipv4/ip_forward", 16, &b) == 0 && buf_cstr(&b)[0] == '1';
}

static void add_counts(const Daemon *d, json_t *o)
{
	json_int_t running = 0, paused = 0, stopped = 0;
	for (size_t i = 0; i < d->n_containers; i++) {
		const Container *c = d->containers[i];
		if (!ctr_is_running(c))
			stopped++;
		else if (c->paused)
			paused++;
		else
			running++;
	}
	json_object_set_new(o, "Containers", json_integer((json_int_t) d->n_containers));
	json_object_set_new(o, "ContainersRunning", json_integer(running));
	json_object_set_new(o, "ContainersPaused", json_integer(paused));
	json_object_set_new(o, "ContainersStopped", json_integer(stopped));
	json_object_set_new(o, "Images", json_integer((json_int_t) d->n_images));
}

static void add_machine(const Daemon *d, json_t *o)
{
	struct utsname u;
	struct sysinfo si;
	(void) uname(&u);
	(void) sysinfo(&si);
	AUTO_FREE char *os = operating_system();
	json_object_set_new(o, "KernelVersion", json_string(u.release));
	json_object_set_new(o, "OperatingSystem", json_safe(os));
	json_object_set_new(o, "OSType", json_string("linux"));
	json_object_set_new(o, "Architecture", json_string(u.machine));
	json_object_set_new(o, "Name", json_safe(u.nodename));
	json_object_set_new(o, "NCPU", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
	json_object_set_new(o, "MemTotal", json_integer((json_int_t) si.totalram * si.mem_unit));
	json_object_set_new(o, "IPv4Forwarding", json_boolean(ip_forwarding()));
}

static void add_limits(const Daemon *d, json_t *o)
{
	static const struct {
		const char *key;
		unsigned controller;
	} limits[] = {
		{ "MemoryLimit", CONTROLLER_MEMORY }, { "SwapLimit", CONTROLLER_SWAP },  { "CpuCfsPeriod", CONTROLLER_CPU },
		{ "CpuCfsQuota", CONTROLLER_CPU },    { "CPUShares", CONTROLLER_CPU },   { "CPUSet", CONTROLLER_CPUSET },
		{ "PidsLimit", CONTROLLER_PIDS },     { "OomKillDisable", 0 },           { "KernelMemory", 0 },
		{ "KernelMemoryTCP", 0 },             { "BridgeNfIptables", 0 },         { "BridgeNfIp6tables", 0 },
	};
	json_t *warnings = json_array();
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
		json_object_set_new(o, limits[i].key, json_boolean(d->runtime->controllers & limits[i].controller));
	if (!(d->runtime->controllers & CONTROLLER_MEMORY))
		json_array_append_new(warnings, json_string("WARNING: No memory limit support"));
	if (!(d->runtime->controllers & CONTROLLER_PIDS))
		json_array_append_new(warnings, json_string("WARNING: No pids limit support"));
	json_object_set_new(o, "Warnings", warnings);
}

static void info(Daemon *d, HttpRequest *r, char *const *args)
{
	char now[TIME_TEXT_MAX];
	json_t *o = json_pack("{s:s, s:[], s:{s:[s], s:[s, s, s], s:n, s:[s, s]}, s:s, s:s, s:s}", "Driver", "overlay2", "DriverStatus",
		"Plugins", "Volume", "local", "Network", "bridge", "host", "null", "Authorization", "Log", "json-file", "local",
		"LoggingDriver", "json-file", "CgroupDriver", "cgroupfs", "CgroupVersion",
		d->runtime->cgroup_mode == CGROUP_V2 ? "2" : "1");
	json_t *more = json_pack("{s:s, s:s, s:s, s:s, s:b, s:b, s:b, s:s, s:s, s:{s:{s:s}}, s:{s:s, s:s, s:b, s:s, s:n, s:n}, s:[s], s:s}",
		"ID", d->o.name, "ServerVersion", STEAD_VERSION, "DockerRootDir", d->o.state_dir, "SystemTime",
		time_rfc3339(time_real(), now), "Debug", d->o.debug, "ExperimentalBuild", false, "LiveRestoreEnabled", true, "DefaultRuntime",
		d->runtime->name, "InitBinary", "stead-init", "Runtimes", d->runtime->name, "path", d->runtime->path, "Swarm", "NodeID", "",
		"LocalNodeState", "inactive", "ControlAvailable", false, "Error", "", "RemoteManagers", "Cluster", "SecurityOptions",
		"name=seccomp,profile=default", "IndexServerAddress", "");
	json_object_update(o, more);
	json_decref(more);
	json_object_set_new(o, "Labels", json_array());
	json_object_set_new(o, "NFd", json_integer((json_int_t) http_server_clients(d->http)));
	add_counts(d, o);
	add_machine(d, o);
	add_limits(d, o);
	http_reply_json(r, 200, o);
}

/* ── events ───────────────────────────────────────────────────────── */

typedef struct EventStream {
	Daemon *d;
	HttpRequest *r;
	EventSubscriber *subscriber;
	Filter *filter;
	int64_t until; /* real ns, 0 = without end */
	uv_timer_t *timer;
} EventStream;

static void timer_closed(uv_handle_t *h)
{
	free(h);
}

static void events_closed(void *user)
{
	EventStream *es = user;
	events_unsubscribe(es->subscriber);
	if (es->timer)
		uv_close((uv_handle_t *) es->timer, timer_closed);
	json_decref(es->filter);
	free(es);
}

static const char *attribute(const json_t *event, const char *key)
{
	return json_string_value(json_object_get(json_object_get(json_object_get(event, "Actor"), "Attributes"), key));
}

/** An object of the given type is matched by its id, an id's prefix or its name; events of other types do not match. */
static bool fits_object(const Filter *f, const char *key, const json_t *event, const char *name_key)
{
	if (!filter_values(f, key))
		return true;
	if (!str_eq(json_string_value(json_object_get(event, "Type")), key))
		return false;
	const char *id = json_string_value(json_object_get(json_object_get(event, "Actor"), "ID"));
	return filter_match_prefix(f, key, id) || filter_match(f, key, attribute(event, name_key));
}

static bool fits_labels(const Filter *f, const json_t *event)
{
	if (!filter_values(f, "label"))
		return true;
	AUTO_STRV char **labels = json_to_pairs(json_object_get(json_object_get(event, "Actor"), "Attributes"));
	return filter_match_labels(f, labels);
}

/** "health_status" stands for "health_status: healthy", "exec_start" for "exec_start: sh". */
static bool fits_action(const Filter *f, const char *action)
{
	AUTO_FREE char *head = xstrndup(action, strcspn(action, ":"));
	return filter_match(f, "event", action) || filter_match(f, "event", head);
}

static bool event_fits(const Filter *f, const json_t *event)
{
	const char *type = json_string_value(json_object_get(event, "Type"));
	/* The image of a container's event counts as well. */
	bool image = !filter_values(f, "image") || fits_object(f, "image", event, "name") || filter_match(f, "image", attribute(event, "image"));
	return filter_match(f, "type", type) && fits_action(f, json_string_value(json_object_get(event, "Action"))) && image &&
	       filter_match(f, "scope", "local") && fits_object(f, "container", event, "name") && fits_object(f, "network", event, "name") &&
	       fits_object(f, "volume", event, "name") && fits_labels(f, event);
}

static void on_event(void *user, const json_t *event, int64_t time)
{
	EventStream *es = user;
	if (es->until && time > es->until)
		return;
	if (!event_fits(es->filter, event))
		return;
	size_t waiting = http_stream_json(es->r, json_incref((json_t *) (uintptr_t) event));
	/* Events cannot be held back: a client that does not read them any more is cut off. */
	if (waiting > LIMIT_API_BACKLOG && es->subscriber)
		http_stream_end(es->r);
}

static void events_end(uv_timer_t *t)
{
	EventStream *es = t->data;
	http_stream_end(es->r);
}

static void events(Daemon *d, HttpRequest *r, char *const *args)
{
	static const char *const known[] = { "type", "event", "container", "image", "label", "network", "volume", "scope", "daemon", "plugin",
		"node", "service", "secret", "config", NULL };
	Filter *filter = NULL;
	int64_t since, until, now = time_real();
	if (!docker_query_moment(r, "since", &since) || !docker_query_moment(r, "until", &until) || !docker_filters(r, known, &filter))
		return;
	EventStream *es = xcalloc(1, sizeof(*es));
	*es = (EventStream) { .d = d, .r = r, .filter = filter, .until = until };
	http_set_user(r, es, events_closed);
	http_stream_begin(r, 200, "application/json");
	es->subscriber = events_subscribe(d->events, since, on_event, es);
	if (!until)
		return;
	es->timer = xcalloc(1, sizeof(*es->timer));
	(void) uv_timer_init(d->loop, es->timer);
	es->timer->data = es;
	(void) uv_timer_start(es->timer, events_end, until > now ? (uint64_t) ((until - now) / NSEC_PER_MSEC) : 0, 0);
}

/* ── disk use ─────────────────────────────────────────────────────── */

typedef struct DiskUse {
	Daemon *d;
	HttpRequest *r; /* NULL once the client has gone */
	json_t *cache; /* what builds keep, and its bytes */
	int64_t cache_bytes;
} DiskUse;

static void disk_use_gone(void *user)
{
	((DiskUse *) user)->r = NULL;
}

static int64_t size_of(char *const *paths, const int64_t *sizes, const char *path)
{
	for (size_t i = 0; paths && paths[i]; i++)
		if (str_eq(paths[i], path))
			return sizes[i];
	return 0;
}

static char *upper_path(const Container *c)
{
	return xasprintf("%s/containers/%s/upper", c->d->o.state_dir, c->id);
}

static json_int_t layers_size(const Daemon *d)
{
	AUTO_STRV char **seen = NULL;
	json_int_t size = 0;
	for (size_t i = 0; i < d->n_images; i++)
		for (size_t k = 0; k < d->images[i]->n_layers; k++) {
			const ImageLayer *l = &d->images[i]->layers[k];
			if (strv_has(seen, l->diff_id))
				continue;
			strv_add(&seen, l->diff_id);
			size += l->size;
		}
	return size;
}

static void disk_use_counted(void *user, char *const *paths, const int64_t *sizes)
{
	DiskUse *u = user;
	json_t *images = json_array(), *containers = json_array(), *volumes = json_array();
	for (size_t i = 0; u->r && i < u->d->n_images; i++) {
		json_t *o = docker_image_summary(u->d, u->d->images[i]);
		json_object_set_new(o, "Containers", json_integer((json_int_t) image_users(u->d, u->d->images[i])));
		json_array_append_new(images, o);
	}
	for (size_t i = 0; u->r && i < u->d->n_containers; i++) {
		const Container *c = u->d->containers[i];
		const Image *img = daemon_image_by_id(u->d, c->image_id);
		AUTO_FREE char *upper = upper_path(c);
		int64_t size = size_of(paths, sizes, upper);
		json_t *o = docker_container_summary(c);
		json_object_set_new(o, "SizeRw", json_integer(size));
		json_object_set_new(o, "SizeRootFs", json_integer(size + (img ? img->size : 0)));
		json_array_append_new(containers, o);
	}
	for (size_t i = 0; u->r && i < u->d->n_vols; i++) {
		const VolState *v = u->d->vols[i];
		json_t *o = docker_volume(v);
		json_object_set_new(o, "UsageData", json_pack("{s:I, s:I}", "Size", (json_int_t) size_of(paths, sizes, v->path), "RefCount",
			(json_int_t) volume_users(u->d, v)));
		json_array_append_new(volumes, o);
	}
	json_t *answer = json_pack("{s:I, s:o, s:o, s:o, s:O, s:I}", "LayersSize", layers_size(u->d), "Images", images, "Containers",
		containers, "Volumes", volumes, "BuildCache", u->cache, "BuilderSize", (json_int_t) u->cache_bytes);
	if (u->r) {
		HttpRequest *r = u->r;
		http_set_user(r, NULL, NULL);
		http_reply_json(r, 200, answer);
	} else {
		json_decref(answer);
	}
	json_decref(u->cache);
	free(u);
}

static void cache_listed(void *user, const json_t *items, int64_t bytes, const char *warning, const Err *err)
{
	DiskUse *u = user;
	char **paths = NULL;
	if (err) {
		if (u->r) {
			http_set_user(u->r, NULL, NULL);
			http_error_err(u->r, err);
		}
		free(u);
		return;
	}
	u->cache = build_cache_json(items);
	u->cache_bytes = bytes;
	for (size_t i = 0; i < u->d->n_containers; i++)
		strv_take(&paths, upper_path(u->d->containers[i]));
	for (size_t i = 0; i < u->d->n_vols; i++)
		strv_add(&paths, u->d->vols[i]->path);
	sizes_count(u->d->loop, paths, disk_use_counted, u);
}

static void disk_use(Daemon *d, HttpRequest *r, char *const *args)
{
	AUTO_ERR err = ERR_INIT;
	DiskUse *u = xcalloc(1, sizeof(*u));
	u->d = d;
	u->r = r;
	http_set_user(r, u, disk_use_gone);
	if (build_cache_list(d, cache_listed, u, &err) < 0)
		cache_listed(u, NULL, 0, NULL, &err);
}

/* ── what other tools make ────────────────────────────────────────── */

static void no_create(Daemon *d, HttpRequest *r, char *const *args)
{
	http_error(r, 501, "containers are made from compose files here: use 'stead up', or docker compose's file with it");
}

const ApiRoute api_docker_system_routes[] = {
	{ "GET", "/_ping", ping, false },
	{ "GET", "/version", version, false },
	{ "GET", "/info", info, false },
	{ "GET", "/events", events, false },
	{ "GET", "/system/df", disk_use, false },
	{ "POST", "/containers/create", no_create, false },
	{ NULL, NULL, NULL, false },
};
