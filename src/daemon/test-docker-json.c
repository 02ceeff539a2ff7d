// SPDX-License-Identifier: Apache-2.0
/*
 * Docker's view of objects that are put together by hand. What docker-json*.c asks of the rest of the
 * daemon and of run/ is answered here.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/api-docker.h"
#include "daemon/health.h"
#include "run/bundle.h"
#include "run/container.h"
#include "run/runtime.h"

static Image image;
static Runtime runtime;
static Daemon d;
static Container *containers[1];
static NetState net;
static VolState vol;
static bool tag_moved;

/* ── what the rest of the daemon says ─────────────────────────────── */

Image *daemon_image_by_id(Daemon *unused, const char *id)
{
	return str_eq(id, image.id) ? &image : NULL;
}

int daemon_find_image(Daemon *unused, const char *ref, Image **ret, char **ret_ref, Err *err)
{
	if (tag_moved)
		return -ENOENT;
	*ret = &image;
	return 0;
}

int daemon_find_container(Daemon *unused, const char *ref, Container **ret, Err *err)
{
	return -ENOENT;
}

bool ctr_is_running(const Container *c)
{
	return c->phase == PHASE_RUNNING;
}

const char *ctr_status(const Container *c)
{
	return ctr_is_running(c) ? "running" : c->restarting ? "restarting" : "exited";
}

json_t *health_json(const Container *c)
{
	return c->check.test ? json_pack("{s:s}", "Status", "healthy") : NULL;
}

json_t *docker_exec_ids(const Container *c)
{
	return json_null();
}

char **process_args(const Service *svc, const Image *img)
{
	return strv_dup(img->config.cmd);
}

char **process_env(const Service *svc, const Image *img, const char *hostname, const char *home)
{
	return strv_dup(svc->environment);
}

/* ── the objects ──────────────────────────────────────────────────── */

static Container *sample(void)
{
	static char *args[] = { (char *) "nginx", (char *) "-g", NULL };
	static char *exposed[] = { (char *) "80/tcp", (char *) "443/tcp", NULL };
	static char *tags[] = { (char *) "docker.io/library/web:1", NULL };
	static char *labels[] = { (char *) "a=b", (char *) "empty=", NULL };
	static char *env[] = { (char *) "K=v", NULL };
	static char *aliases[] = { (char *) "web", NULL };
	static Port port = { .published = 0, .target = 80, .protocol = (char *) "tcp" };
	static PublishedPort published = { .host_port = 32768, .target = 80, .protocol = (char *) "tcp" };
	static Endpoint e = { .net = &net, .aliases = aliases, .address = "10.1.0.2", .mac = "02:00:00:00:00:01", .gateway = true };
	static Bind binds[] = { { .type = MOUNT_VOLUME, .vol = &vol, .target = (char *) "/data" },
		{ .type = MOUNT_BIND, .source = (char *) "/srv", .target = (char *) "/srv", .read_only = true },
		{ .type = MOUNT_TMPFS, .target = (char *) "/run" } };
	static ContainerPaths paths = { .state = (char *) "/s/c", .log = (char *) "/s/c/log", .bundle = (char *) "/r/c",
		.rootfs = (char *) "/r/c/rootfs", .files = (char *) "/r/c/files" };
	static Container c;
	tag_moved = false;
	image = (Image) { .id = (char *) "sha256:abc", .architecture = (char *) "amd64", .os = (char *) "linux", .tags = tags, .size = 100,
		.config_json = (char *) "{\"author\":\"me\"}", .config = { .cmd = args, .exposed_ports = exposed } };
	runtime = (Runtime) { .name = (char *) "crun", .cgroup_parent = (char *) "/stead" };
	net = (NetState) { .id = "4e6f", .name = (char *) "blog_default", .driver = (char *) "bridge", .subnet = (char *) "10.1.0.0/24",
		.gateway = (char *) "10.1.0.1", .bridge = (char *) "st-1", .labels = labels };
	vol = (VolState) { .name = (char *) "blog_data", .driver = (char *) "local", .path = (char *) "/s/volumes/blog_data/_data" };
	c = (Container) { .d = &d, .id = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00", .name = (char *) "blog-web-1",
		.stack = (char *) "blog", .number = 1, .image_id = image.id, .image_ref = (char *) "web:1", .labels = labels,
		.created = 5 * NSEC_PER_SEC, .phase = PHASE_RUNNING, .pid = 42, .started_at = time_real() - 90 * NSEC_PER_SEC,
		.endpoints = &e, .n_endpoints = 1, .binds = binds, .n_binds = 3, .ports = &published, .n_ports = 1, .paths = &paths,
		.health_state = HEALTH_HEALTHY, .check = { .test = args, .interval = 1, .timeout = 2, .retries = 3 } };
	c.svc = (Service) { .name = (char *) "web", .environment = env, .ports = &port, .n_ports = 1, .mem_limit = 1 << 20, .memswap_limit = -2,
		.mem_reservation = -1, .cpu_shares = -1, .cpus = 0.5, .shm_size = -1, .init = -1, .stop_grace_period = -1,
		.restart = RESTART_ON_FAILURE, .restart_max = 3 };
	d = (Daemon) { .runtime = &runtime, .containers = containers, .n_containers = 1 };
	containers[0] = &c;
	return &c;
}

/** "State.Health.Status", "Names.0": the string there, or its JSON. Owned by the caller. */
static char *at(json_t *o, const char *path)
{
	AUTO_FREE char *copy = xstrdup(path);
	char *save = NULL;
	for (char *key = strtok_r(copy, "|", &save); key; key = strtok_r(NULL, "|", &save))
		o = json_is_array(o) ? json_array_get(o, (size_t) (*key - '0')) : json_object_get(o, key);
	if (!o)
		return xstrdup("(absent)");
	return json_is_string(o) ? xstrdup(json_string_value(o)) : json_dumps(o, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
}

typedef struct Want {
	const char *path, *value;
} Want;

static void check(json_t *o, const Want *want, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		AUTO_FREE char *got = at(o, want[i].path);
		if (!str_eq(got, want[i].value))
			fail_msg("%s is %s, not %s", want[i].path, got, want[i].value);
	}
	json_decref(o);
}

#define CHECK(o, want) check(o, want, ARRAY_SIZE(want))

/* ── tests ────────────────────────────────────────────────────────── */

static void summary(void **state)
{
	static const Want want[] = {
		{ "Names|0", "/blog-web-1" }, { "Image", "web:1" }, { "ImageID", "sha256:abc" }, { "Command", "nginx -g" }, { "Created", "5" },
		{ "State", "running" }, { "Status", "Up About a minute (healthy)" }, { "HostConfig|NetworkMode", "blog_default" },
		{ "Ports|0", "{\"IP\":\"0.0.0.0\",\"PrivatePort\":80,\"PublicPort\":32768,\"Type\":\"tcp\"}" },
		{ "Ports|1", "{\"PrivatePort\":443,\"Type\":\"tcp\"}" }, { "Ports|2", "(absent)" }, { "Labels", "{\"a\":\"b\",\"empty\":\"\"}" },
		{ "NetworkSettings|Networks|blog_default|IPAddress", "10.1.0.2" }, { "Mounts|0|Name", "blog_data" }, { "Mounts|1|Mode", "ro" },
	};
	CHECK(docker_container_summary(sample()), want);
}

static void statuses(void **state)
{
	Container *c = sample();
	c->paused = true;
	CHECK(docker_container_summary(c), ((Want[]) { { "Status", "Up About a minute (Paused)" } }));
	c = sample();
	c->phase = PHASE_EXITED;
	c->exit_code = 3;
	c->finished_at = time_real() - 3600 * NSEC_PER_SEC;
	CHECK(docker_container_summary(c), ((Want[]) { { "Status", "Exited (3) About an hour ago" }, { "Ports", "[]" },
		{ "NetworkSettings|Networks|blog_default|IPAddress", "" } }));
	c->restarting = true;
	CHECK(docker_container_summary(c), ((Want[]) { { "Status", "Restarting (3) About an hour ago" } }));
	c = sample();
	c->phase = PHASE_CREATED;
	tag_moved = true;
	CHECK(docker_container_summary(c), ((Want[]) { { "Status", "Created" }, { "Image", "sha256:abc" } }));
}

static void inspect(void **state)
{
	static const Want want[] = {
		{ "Name", "/blog-web-1" }, { "Created", "1970-01-01T00:00:05.000000000Z" }, { "Path", "nginx" }, { "Args", "[\"-g\"]" }, { "State|Running", "true" },
		{ "State|Pid", "42" }, { "State|Health|Status", "healthy" }, { "State|FinishedAt", "0001-01-01T00:00:00Z" },
		{ "HostConfig|Memory", "1048576" }, { "HostConfig|MemorySwap", "-1" }, { "HostConfig|MemoryReservation", "0" },
		{ "HostConfig|NanoCpus", "500000000" }, { "HostConfig|ShmSize", "67108864" }, { "HostConfig|Init", "null" },
		{ "HostConfig|Binds", "[\"blog_data:/data:rw\",\"/srv:/srv:ro\"]" }, { "HostConfig|PortBindings|80/tcp|0|HostPort", "" },
		{ "HostConfig|RestartPolicy", "{\"MaximumRetryCount\":3,\"Name\":\"on-failure\"}" }, { "HostConfig|CapAdd", "null" },
		{ "HostConfig|NetworkMode", "blog_default" }, { "HostConfig|Runtime", "crun" }, { "HostConfig|LogConfig|Type", "json-file" },
		{ "Config|Hostname", "c0ffee00c0ff" }, { "Config|Env", "[\"K=v\"]" }, { "Config|Image", "web:1" }, { "Config|Cmd", "[\"nginx\",\"-g\"]" },
		{ "Config|Entrypoint", "null" }, { "Config|ExposedPorts", "{\"443/tcp\":{},\"80/tcp\":{}}" }, { "Config|Healthcheck|Retries", "3" },
		{ "NetworkSettings|Ports|80/tcp|0|HostPort", "32768" }, { "NetworkSettings|Ports|443/tcp", "null" },
		{ "NetworkSettings|Networks|blog_default|Aliases", "[\"web\",\"c0ffee00c0ff\"]" },
		{ "NetworkSettings|Networks|blog_default|IPPrefixLen", "24" }, { "GraphDriver|Data|MergedDir", "/r/c/rootfs" }, { "LogPath", "/s/c/log/log" },
		{ "Mounts|2|Type", "tmpfs" },
	};
	CHECK(docker_container_inspect(sample()), want);
}

static void modes(void **state)
{
	Container *c = sample();
	c->n_endpoints = 0;
	c->svc.network_mode = (char *) "host";
	c->svc.pid = (char *) "host";
	CHECK(docker_container_inspect(c), ((Want[]) { { "HostConfig|NetworkMode", "host" }, { "HostConfig|PidMode", "host" },
		{ "NetworkSettings|Networks|host|NetworkID", "" } }));
	c->svc.network_mode = (char *) "service:web"; /* itself, for want of another one */
	AUTO_FREE char *mode = xasprintf("container:%s", c->id);
	CHECK(docker_container_inspect(c), ((Want[]) { { "HostConfig|NetworkMode", mode }, { "NetworkSettings|Networks", "{}" } }));
}

static void other_objects(void **state)
{
	Container *c = sample();
	AUTO_FREE char *path = xasprintf("Containers|%s|IPv4Address", c->id);
	CHECK(docker_network(&d, &net, true), ((Want[]) { { path, "10.1.0.2/24" }, { "IPAM|Config|0|Gateway", "10.1.0.1" }, { "Driver", "bridge" },
		{ "Labels|a", "b" }, { "Internal", "false" } }));
	CHECK(docker_network(&d, &net, false), ((Want[]) { { "Containers", "{}" } }));
	CHECK(docker_volume(&vol), ((Want[]) { { "Name", "blog_data" }, { "Mountpoint", "/s/volumes/blog_data/_data" }, { "Scope", "local" } }));
	CHECK(docker_image_summary(&d, &image), ((Want[]) { { "RepoTags", "[\"web:1\"]" }, { "Size", "100" }, { "Labels", "null" } }));
	CHECK(docker_image_inspect(&d, &image), ((Want[]) { { "Id", "sha256:abc" }, { "Author", "me" }, { "Config|Cmd", "[\"nginx\",\"-g\"]" },
		{ "RootFS", "{\"Layers\":[],\"Type\":\"layers\"}" }, { "GraphDriver|Name", "overlay2" } }));
	image.tags = NULL;
	CHECK(docker_image_summary(&d, &image), ((Want[]) { { "RepoTags", "[\"<none>:<none>\"]" } }));
}

static void durations(void **state)
{
	static const struct {
		int64_t seconds;
		const char *text;
	} cases[] = {
		{ 0, "Less than a second" }, { 1, "1 second" }, { 59, "59 seconds" }, { 60, "About a minute" }, { 119, "About a minute" }, { 120, "2 minutes" },
		{ 46 * 60, "46 minutes" }, { 3599, "59 minutes" }, { 3600, "About an hour" }, { 5399, "About an hour" }, { 5400, "2 hours" },
		{ 47 * 3600, "47 hours" }, { 48 * 3600, "2 days" }, { 13 * 86400, "13 days" }, { 14 * 86400, "2 weeks" }, { 60 * 86400, "2 months" },
		{ 3 * 365 * 86400, "3 years" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_FREE char *text = docker_duration(cases[i].seconds * NSEC_PER_SEC);
		assert_string_equal(text, cases[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(summary),
		cmocka_unit_test(statuses),
		cmocka_unit_test(inspect),
		cmocka_unit_test(modes),
		cmocka_unit_test(other_objects),
		cmocka_unit_test(durations),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
