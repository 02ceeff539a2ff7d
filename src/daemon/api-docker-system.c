// SPDX-License-Identifier: Apache-2.0
/*
 * Docker Engine API 1.41 (https://docs.docker.com/reference/api/engine/version/v1.41/), section System.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/api.h"
#include "daemon/container.h"
#include "daemon/events.h"
#include "daemon/filters.h"
#include "daemon/image.h"
#include "daemon/json.h"
#include "daemon/volume.h"
#include "run/runtime.h"

static void ping(Daemon *d, HttpRequest *r, char *const *args)
{
	http_add_header(r, "Cache-Control", "no-cache, no-store, must-revalidate");
	http_add_header(r, "Builder-Version", "1");
	http_reply(r, 200, "text/plain; charset=utf-8", "OK", 2);
}

static const char *go_architecture(const char *machine)
{
	static const struct {
		const char *machine, *go;
	} names[] = { { "x86_64", "amd64" }, { "aarch64", "arm64" }, { "armv7l", "arm" }, { "armv6l", "arm" }, { "i686", "386" } };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (str_eq(machine, names[i].machine))
			return names[i].go;
	return machine;
}

static void version(Daemon *d, HttpRequest *r, char *const *args)
{
	struct utsname u;
	(void) uname(&u);
	const char *arch = go_architecture(u.machine);
	const char *runtime = str_empty(d->runtime->version) ? "unknown" : d->runtime->version;
	json_t *components = json_pack("[{s:s, s:s, s:{s:s, s:s, s:s, s:s, s:s, s:s}}, {s:s, s:s, s:{}}, {s:s, s:s, s:{}}]", "Name", "Engine",
		"Version", STEAD_VERSION, "Details", "ApiVersion", "1.41", "MinAPIVersion", "1.24", "Os", "linux", "Arch", arch,
		"KernelVersion", u.release, "Experimental", "false", "Name", d->runtime->name, "Version", runtime, "Details", "Name", "conmon",
		"Version", d->runtime->conmon_version, "Details");
	http_reply_json(r, 200, json_pack("{s:{s:s}, s:o, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "Platform", "Name", "stead", "Components",
		components, "Version", STEAD_VERSION, "ApiVersion", "1.41", "MinAPIVersion", "1.24", "GitCommit", "", "GoVersion", "", "Os",
		"linux", "Arch", arch, "KernelVersion", u.release, "BuildTime", ""));
}

/* PRETTY_NAME of os-release(5). Owned by the caller. */
static char *os_name(void)
{
	AUTO_BUF b = BUF_INIT;
	if (file_read(AT_FDCWD, "/etc/os-release", 65536, &b) < 0)
		return xstrdup("Linux");
	const char *p = strstr(b.data, "PRETTY_NAME=");
	if (!p)
		return xstrdup("Linux");
	p += strlen("PRETTY_NAME=");
	if (*p == '"')
		p++;
	return xstrndup(p, strcspn(p, "\"\n"));
}

static json_t *counts(const Daemon *d)
{
	int running = 0, paused = 0, total = (int) d->n_containers;
	for (size_t i = 0; i < d->n_containers; i++) {
		paused += d->containers[i]->paused;
		running += ctr_is_running(d->containers[i]) && !d->containers[i]->paused;
	}
	return json_pack("{s:i, s:i, s:i, s:i, s:I}", "Containers", total, "ContainersRunning", running, "ContainersPaused", paused,
		"ContainersStopped", total - running - paused, "Images", (json_int_t) d->n_images);
}

static json_t *warnings(const Daemon *d)
{
	static const struct {
		Controller controller;
		const char *text;
	} missing[] = {
		{ CONTROLLER_MEMORY, "WARNING: No memory limit support (add cgroup_enable=memory cgroup_memory=1 to the kernel command line)" },
		{ CONTROLLER_SWAP, "WARNING: No swap limit support" },
		{ CONTROLLER_CPU, "WARNING: No cpu limit support" },
		{ CONTROLLER_CPUSET, "WARNING: No cpuset support" },
		{ CONTROLLER_PIDS, "WARNING: No pids limit support" },
	};
	json_t *list = json_array();
	for (size_t i = 0; i < ARRAY_SIZE(missing); i++)
		if (!(d->runtime->controllers & missing[i].controller))
			json_array_append_new(list, json_string(missing[i].text));
	return list;
}

static void info(Daemon *d, HttpRequest *r, char *const *args)
{
	struct utsname u;
	struct sysinfo si;
	char now[TIME_TEXT_MAX];
	AUTO_FREE char *os = os_name();
	unsigned c = d->runtime->controllers;
	(void) uname(&u);
	(void) sysinfo(&si);
	json_t *o = counts(d);
	json_t *more = json_pack("{s:s, s:s, s:[[s,s]], s:{s:[s], s:[s,s,s], s:n, s:[s,s,s]}, s:s, s:s, s:s, s:s, s:s, s:s}", "ID", d->o.name, "Driver",
		"overlay2", "DriverStatus", "Backing Filesystem", "overlayfs", "Plugins", "Volume", "local", "Network", "bridge", "host", "none",
		"Authorization", "Log", "json-file", "local", "none", "Name", u.nodename, "KernelVersion", u.release, "OperatingSystem", os,
		"OSType", "linux", "Architecture", u.machine, "ServerVersion", STEAD_VERSION);
	(void) json_object_update(o, more);
	json_decref(more);
	more = json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:b}", "CgroupDriver", "cgroupfs", "CgroupVersion",
		d->runtime->cgroup_mode == CGROUP_V2 ? "2" : "1", "DefaultRuntime", d->runtime->name, "DockerRootDir", d->o.state_dir,
		"LoggingDriver", "json-file", "MemoryLimit", (c & CONTROLLER_MEMORY) != 0, "SwapLimit", (c & CONTROLLER_SWAP) != 0,
		"CpuCfsPeriod", (c & CONTROLLER_CPU) != 0, "CpuCfsQuota", (c & CONTROLLER_CPU) != 0, "CPUShares", (c & CONTROLLER_CPU) != 0,
		"CPUSet", (c & CONTROLLER_CPUSET) != 0, "PidsLimit", (c & CONTROLLER_PIDS) != 0, "IPv4Forwarding", 1, "OomKillDisable", 0,
		"LiveRestoreEnabled", 1);
	(void) json_object_update(o, more);
	json_decref(more);
	more = json_pack("{s:I, s:I, s:s, s:s, s:{s:s, s:b}, s:{s:{s:s}}, s:o, s:{s:o, s:[]}, s:i, s:[s], s:[], s:b, s:b}", "NCPU",
		(json_int_t) sysconf(_SC_NPROCESSORS_ONLN), "MemTotal", (json_int_t) si.totalram * si.mem_unit, "SystemTime",
		time_rfc3339(time_real(), now), "IndexServerAddress", "", "Swarm", "LocalNodeState", "inactive", "ControlAvailable", 0,
		"Runtimes", d->runtime->name, "path", d->runtime->path, "Warnings", warnings(d), "RegistryConfig", "IndexConfigs", json_object(),
		"InsecureRegistryCIDRs", "NEventsListener", 0, "SecurityOptions", "name=seccomp,profile=default", "Labels", "Debug", d->o.debug,
		"ExperimentalBuild", 0);
	(void) json_object_update(o, more);
	json_decref(more);
	http_reply_json(r, 200, o);
}

/* ── events ───────────────────────────────────────────────────────── */

typedef struct EventStream {
	HttpRequest *r;
	EventSubscriber *subscriber;
	Filters filters;
	uv_timer_t *until;
} EventStream;

static void free_handle(uv_handle_t *h)
{
	free(h);
}

static void event_stream_closed(void *user)
{
	EventStream *s = user;
	events_unsubscribe(s->subscriber);
	if (s->until)
		uv_close((uv_handle_t *) s->until, free_handle);
	filters_done(&s->filters);
	free(s);
}

static const char *attribute(const json_t *event, const char *key)
{
	return json_string_value(json_object_get(json_object_get(json_object_get(event, "Actor"), "Attributes"), key));
}

static bool event_labels_match(const EventStream *s, const json_t *event)
{
	for (char *const *wish = filters_get(&s->filters, "label"); wish && *wish; wish++) {
		size_t n = strcspn(*wish, "=");
		AUTO_FREE char *key = xstrndup(*wish, n);
		const char *have = attribute(event, key);
		if (!have || ((*wish)[n] && !str_eq(have, *wish + n + 1)))
			return false;
	}
	return true;
}

/* An object's filter fits its id (or a prefix) or its name. */
static bool event_object_matches(const EventStream *s, const json_t *event, const char *kind)
{
	char *const *wishes = filters_get(&s->filters, kind);
	if (!wishes)
		return true;
	if (!str_eq(json_string_value(json_object_get(event, "Type")), kind))
		return false;
	const char *id = json_string_value(json_object_get(json_object_get(event, "Actor"), "ID"));
	for (; *wishes; wishes++)
		if (str_starts(id, *wishes) || str_eq(attribute(event, "name"), *wishes))
			return true;
	return false;
}

static bool event_matches(const EventStream *s, const json_t *event)
{
	static const char *const kinds[] = { "container", "image", "network", "volume" };
	const char *action = json_string_value(json_object_get(event, "Action"));
	if (!filters_match(&s->filters, "type", json_string_value(json_object_get(event, "Type"))))
		return false;
	/* "health_status" and "exec_start" stand for what begins with them. */
	AUTO_FREE char *word = xstrndup(action, strcspn(action, ":"));
	if (!filters_match(&s->filters, "event", action) && !filters_match(&s->filters, "event", word))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!event_object_matches(s, event, kinds[i]))
			return false;
	return event_labels_match(s, event);
}

static void event_came(void *user, const json_t *event, int64_t time)
{
	EventStream *s = user;
	if (event_matches(s, event))
		(void) http_stream_json(s->r, json_incref((json_t *) event));
}

static void event_stream_over(uv_timer_t *t)
{
	EventStream *s = t->data;
	http_stream_end(s->r);
}

static void events(Daemon *d, HttpRequest *r, char *const *args)
{
	static const char *const known[] = { "type", "event", "container", "image", "network", "volume", "label", "daemon", "scope", NULL };
	AUTO_ERR err = ERR_INIT;
	int64_t since = 0, until = 0, now = time_real();
	const char *from = http_query(r, "since"), *to = http_query(r, "until");
	EventStream *s = xcalloc(1, sizeof(*s));
	int e = filters_parse(r, known, &s->filters, &err);
	if (e == 0 && !str_empty(from) && time_parse_moment(from, now, &since) < 0)
		e = err_set(&err, -EINVAL, "since: '%s' is no moment", from);
	if (e == 0 && !str_empty(to) && time_parse_moment(to, now, &until) < 0)
		e = err_set(&err, -EINVAL, "until: '%s' is no moment", to);
	if (e < 0) {
		http_error_err(r, &err);
		filters_done(&s->filters);
		free(s);
		return;
	}
	s->r = r;
	http_stream_begin(r, 200, "application/json");
	http_set_user(r, s, event_stream_closed);
	s->subscriber = events_subscribe(d->events, since, event_came, s);
	if (until) {
		s->until = xcalloc(1, sizeof(*s->until));
		s->until->data = s;
		(void) uv_timer_init(d->loop, s->until);
		(void) uv_timer_start(s->until, event_stream_over, until > now ? (uint64_t) ((until - now) / NSEC_PER_MSEC) : 0, 0);
	}
}

/* ── disk use ─────────────────────────────────────────────────────── */

static void df(Daemon *d, HttpRequest *r, char *const *args)
{
	json_t *images = json_array(), *containers = json_array(), *volumes = json_array();
	int64_t layers = 0;
	for (size_t i = 0; i < d->n_images; i++) {
		const Image *img = d->images[i];
		layers += img->size;
		json_array_append_new(images, json_pack("{s:s, s:o, s:I, s:I, s:I, s:I}", "Id", img->id, "RepoTags", image_tags_json(img), "Created",
			(json_int_t) (img->created / NSEC_PER_SEC), "Size", (json_int_t) img->size, "SharedSize", (json_int_t) 0, "Containers",
			(json_int_t) image_users(d, img)));
	}
	for (size_t i = 0; i < d->n_containers; i++) {
		const Container *c = d->containers[i];
		AUTO_FREE char *name = xasprintf("/%s", c->name);
		json_array_append_new(containers, json_pack("{s:s, s:[s], s:s, s:s, s:I, s:s}", "Id", c->id, "Names", name, "Image", c->image_ref, "ImageID",
			c->image_id, "Created", (json_int_t) (c->created / NSEC_PER_SEC), "State", ctr_status(c)));
	}
	for (size_t i = 0; i < d->n_vols; i++)
		json_array_append_new(volumes, json_pack("{s:s, s:s, s:s, s:{s:i, s:I}}", "Name", d->vols[i]->name, "Driver", d->vols[i]->driver,
			"Mountpoint", d->vols[i]->path, "UsageData", "Size", -1, "RefCount", (json_int_t) volume_users(d, d->vols[i])));
	http_reply_json(r, 200, json_pack("{s:I, s:o, s:o, s:o, s:[]}", "LayersSize", (json_int_t) layers, "Images", images, "Containers", containers,
		"Volumes", volumes, "BuildCache"));
}

const ApiRoute api_docker_system_routes[] = {
	{ "GET", "/_ping", ping, false },
	{ "GET", "/version", version, false },
	{ "GET", "/info", info, false },
	{ "GET", "/events", events, false },
	{ "GET", "/system/df", df, false },
	{ NULL, NULL, NULL, false },
};
