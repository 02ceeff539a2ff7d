// SPDX-License-Identifier: Apache-2.0
/*
 * The Docker Engine API over a real socket. Containers, their processes and logs are played by the
 * functions at the top, which the linker takes instead of the daemon's and run/'s own.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/build.h"
#include "daemon/api-docker.h"
#include "daemon/container.h"
#include "daemon/events.h"
#include "daemon/health.h"
#include "daemon/image.h"
#include "daemon/network.h"
#include "daemon/operation.h"
#include "daemon/state.h"
#include "daemon/volume.h"
#include "image/job.h"
#include "run/attach.h"
#include "run/bundle.h"
#include "run/cgroup.h"
#include "run/container.h"
#include "run/exec.h"
#include "run/logs.h"
#include "run/runtime.h"

static char dir[] = "/tmp/stead-test-api-XXXXXX";
static uv_loop_t loop;
static Daemon d;
static Runtime runtime;
static Container web, job;
static Container *containers[] = { &web, &job };
static Image image;
static Image *images[] = { &image };
static NetState net;
static NetState *nets[] = { &net };
static VolState vol;
static VolState *vols[] = { &vol };

/* ── the daemon behind the API ────────────────────────────────────── */

struct Waiter {
	Container *c;
	WaitFor what;
	void (*fn)(void *user, Container *c, int exit_code);
	void *user;
};

static Waiter *waiter; /* one at a time is enough here */
static ExecCallbacks exec_cb, *exec_running;
static AttachCallbacks attach_cb;
static Buf typed;
static size_t log_at;

bool ctr_is_running(const Container *c)
{
	return c->phase == PHASE_RUNNING || c->phase == PHASE_STOPPING;
}

bool ctr_is_busy(const Container *c)
{
	return c->phase == PHASE_STOPPING;
}

const char *ctr_status(const Container *c)
{
	return c->paused ? "paused" : ctr_is_running(c) ? "running" : "exited";
}

static bool holds(const Waiter *w)
{
	return w->what == WAIT_RUNNING ? w->c->phase == PHASE_RUNNING || w->c->error : w->what == WAIT_NOT_RUNNING && !ctr_is_running(w->c);
}

static void tell(Container *arg)
{
	Waiter *w = steal_ptr(&waiter);
	if (w)
		w->fn(w->user, arg, web.exit_code);
	free(w);
}

Waiter *ctr_wait(Container *c, WaitFor what, void (*fn)(void *user, Container *c, int exit_code), void *user)
{
	Waiter w = { c, what, fn, user };
	if (holds(&w)) {
		fn(user, c, c->exit_code);
		return NULL;
	}
	assert_null(waiter);
	waiter = xmemdup(&w, sizeof(w));
	return waiter;
}

void ctr_wait_cancel(Waiter *w)
{
	assert_true(!w || w == waiter);
	if (w)
		free(steal_ptr(&waiter));
}

void ctr_changed(Container *c)
{
	if (waiter && holds(waiter))
		tell(c);
}

void ctr_start(Container *c)
{
	if (str_eq(c->svc.image, "bad"))
		c->error = (char *) "exec: \"x\": executable file not found";
	else
		c->phase = PHASE_RUNNING;
	c->exit_code = c->error ? 127 : 0;
	ctr_changed(c);
}

int ctr_kill(Container *c, int sig, Err *err)
{
	return 0;
}

int ctr_pause(Container *c, bool pause, Err *err)
{
	if (c->paused == pause)
		return err_set(err, -EBUSY, "container %s is paused already", c->name);
	c->paused = pause;
	return 0;
}

int state_write_dirty(Daemon *unused, Err *err)
{
	return 0;
}

int daemon_find_container(Daemon *unused, const char *ref, Container **ret, Err *err)
{
	if (str_eq(ref, "c0"))
		return err_set(err, -EINVAL, "the id prefix 'c0' fits more than one container");
	for (size_t i = 0; i < 2; i++)
		if (str_eq(ref, containers[i]->name) || str_eq(ref, containers[i]->id)) {
			*ret = containers[i];
			return 0;
		}
	return err_set(err, -ENOENT, "No such container: %s", ref);
}

int daemon_find_image(Daemon *unused, const char *ref, Image **ret, char **ret_ref, Err *err)
{
	*ret = &image;
	return str_eq(ref, "team/app:1") ? 0 : err_set(err, -ENOENT, "No such image: %s", ref);
}

Image *daemon_image_by_id(Daemon *unused, const char *id)
{
	return &image;
}

int daemon_find_network(Daemon *unused, const char *ref, NetState **ret, Err *err)
{
	*ret = &net;
	return str_eq(ref, net.name) ? 0 : err_set(err, -ENOENT, "network %s not found", ref);
}

int daemon_find_volume(Daemon *unused, const char *name, VolState **ret, Err *err)
{
	*ret = &vol;
	return str_eq(name, vol.name) ? 0 : err_set(err, -ENOENT, "get %s: no such volume", name);
}

StackState *daemon_stack(Daemon *unused, const char *name)
{
	return NULL;
}

const char *health_state_name(HealthState h)
{
	return h == HEALTH_HEALTHY ? "healthy" : "none";
}

json_t *health_json(const Container *c)
{
	return NULL;
}

int build_cache_list(Daemon *unused, BuildCacheFn done, void *user, Err *err)
{
	json_t *items = json_pack("[{s:s}]", "id", "c0ffee");
	done(user, items, 34, NULL, NULL);
	json_decref(items);
	return 0;
}

json_t *build_cache_json(const json_t *items)
{
	return json_deep_copy(items);
}

void image_api_load(Daemon *unused, HttpRequest *r)
{
	http_reply(r, 200, NULL, NULL, 0);
}

void image_api_save(Daemon *unused, HttpRequest *r, char *const *names)
{
	http_reply(r, 200, "application/x-tar", names[0], strlen(names[0]));
}

/* A pull that tells what it was asked for, and is held until the test ends it. */
static char *pull_asked;
static ImagePullEventFn pull_event;
static ImagePullDoneFn pull_done;
static void *pull_user;
static bool pull_left;

int image_pull(Daemon *unused, const ImagePull *ask, ImagePullEventFn event, ImagePullDoneFn done, void *user, PullHandle **ret, Err *err)
{
	AUTO_FREE char *auth = ask->auth ? json_dumps(ask->auth, JSON_COMPACT) : NULL;
	free(pull_asked);
	pull_asked = xasprintf("%s %s %s", ask->ref, ask->platform ? ask->platform : "-", auth ? auth : "-");
	pull_event = event;
	pull_done = done;
	pull_user = user;
	pull_left = false;
	*ret = (PullHandle *) &pull_user;
	return 0;
}

void image_pull_leave(PullHandle *h)
{
	pull_left = true;
}

static char *push_asked;
static JobCallbacks push_calls;
static bool push_cancelled;

int job_push(Jobs *j, const JobPushItem *items, size_t n, const json_t *auth, const char *rules, const JobCallbacks *cb, Job **ret, Err *err)
{
	free(push_asked);
	push_asked = xasprintf("%zu %s %s %s", n, items[0].ref, items[0].id, auth ? "auth" : "-");
	push_calls = *cb;
	push_cancelled = false;
	*ret = (Job *) &push_calls;
	return 0;
}

void job_cancel(Job *unused)
{
	push_cancelled = true;
}

int image_know_digest(Daemon *unused, Image *img, const char *digest, Err *err)
{
	return 0;
}

static char *login_asked;

int job_login(Jobs *j, const char *domain, const json_t *auth, const char *rules, const JobCallbacks *cb, Job **ret, Err *err)
{
	AUTO_ERR refused = ERR_INIT;
	const char *password = json_string_value(json_object_get(auth, "password"));
	free(login_asked);
	login_asked = xstrdup(domain);
	if (str_eq(password, "now"))
		return err_set(err, -EIO, "no worker");
	bool good = str_eq(password, "good");
	if (!good)
		(void) err_set(&refused, -EACCES, "%s refuses", domain);
	cb->done(cb->user, &(JobResult) { 0 }, good ? NULL : &refused);
	return 0;
}

int image_prune(Daemon *unused, bool all, bool dry_run, json_t **ret, int64_t *ret_bytes, Err *err)
{
	*ret = json_array();
	*ret_bytes = all;
	return 0;
}

int image_remove(Daemon *unused, const char *ref, bool force, json_t **ret, Err *err)
{
	*ret = json_pack("[{s:s}]", force ? "Deleted" : "Untagged", ref);
	return 0;
}

static bool hold_sweep;
static void (*swept)(void *user, const char *warning);
static void *swept_user;

void image_sweep(Daemon *unused, void (*done)(void *user, const char *warning), void *user)
{
	if (!hold_sweep) {
		done(user, NULL);
		return;
	}
	swept = done;
	swept_user = user;
}

int image_tag(Daemon *unused, Image *img, const char *reference, Err *err)
{
	return str_eq(reference, "new/name:2") ? 0 : err_set(err, -EINVAL, "%s", reference);
}

size_t image_users(const Daemon *unused, const Image *img)
{
	return 1;
}

int network_remove(Daemon *unused, NetState *n, Err *err)
{
	return 0;
}

size_t network_users(const Daemon *unused, const NetState *n)
{
	return 1;
}

int volume_remove(Daemon *unused, VolState *v, Err *err)
{
	return err_set(err, -EBUSY, "volume '%s' is in use", v->name);
}

size_t volume_users(const Daemon *unused, const VolState *v)
{
	return 1;
}

const ApiRoute api_stead_routes[] = { { NULL, NULL, NULL, false } };
const ApiRoute api_build_routes[] = { { NULL, NULL, NULL, false } };
const ApiRoute api_edge_routes[] = { { NULL, NULL, NULL, false } };
const ApiRoute api_release_routes[] = { { NULL, NULL, NULL, false } };

/* ── run/ ─────────────────────────────────────────────────────────── */

char **process_args(const Service *svc, const Image *img)
{
	return NULL;
}

char **process_env(const Service *svc, const Image *img, const char *hostname, const char *home)
{
	return NULL;
}

int signal_parse(const char *s)
{
	return str_eq(s, "HUP") ? SIGHUP : -EINVAL;
}

int container_resize(const ContainerPaths *p, unsigned rows, unsigned cols, Err *err)
{
	return rows == 24 && cols == 80 ? 0 : -EIO;
}

int cgroup_stats(const Runtime *rt, const char *cgroup, CgroupStats *ret)
{
	*ret = (CgroupStats) { .cpu_total = 7, .memory_usage = 100, .memory_cache = 40, .memory_limit = 1000, .pids = 3 };
	return 0;
}

int cgroup_pids(const Runtime *rt, const char *cgroup, pid_t **ret_pids, size_t *ret_n)
{
	*ret_pids = xmalloc(sizeof(pid_t));
	**ret_pids = getpid();
	*ret_n = 1;
	return 0;
}

int exec_start(uv_loop_t *l, const ExecSpec *spec, const ExecCallbacks *cb, Exec **ret, Err *err)
{
	if (str_eq(spec->user, "nobody-here"))
		return err_set(err, -EINVAL, "unable to find user nobody-here");
	exec_cb = *cb;
	exec_running = &exec_cb;
	*ret = (Exec *) &exec_cb;
	return 0;
}

ssize_t exec_write(Exec *e, const void *p, size_t n)
{
	buf_append(&typed, p, n);
	return 0;
}

void exec_close_stdin(Exec *e)
{
	buf_str(&typed, "<end>");
}

void exec_pause(Exec *e, bool pause)
{
}

int exec_resize(Exec *e, unsigned rows, unsigned cols)
{
	return 0;
}

pid_t exec_pid(const Exec *e)
{
	return 99;
}

int attach_open(uv_loop_t *l, const ContainerPaths *p, const AttachCallbacks *cb, Attach **ret, Err *err)
{
	attach_cb = *cb;
	*ret = (Attach *) &attach_cb;
	return 0;
}

ssize_t attach_write(Attach *a, const void *p, size_t n)
{
	buf_append(&typed, p, n);
	return 0;
}

void attach_close_stdin(Attach *a)
{
	buf_str(&typed, "<end>");
}

void attach_pause(Attach *a, bool pause)
{
}

void attach_close(Attach *a)
{
	attach_cb = (AttachCallbacks) { 0 };
}

int log_reader_open(const ContainerPaths *p, const LogOptions *o, LogReader **ret, Err *err)
{
	log_at = 0;
	*ret = (LogReader *) &log_at;
	return 0;
}

int log_reader_next(LogReader *r, LogEntry *ret)
{
	static const LogEntry entries[] = { { 1, NSEC_PER_SEC, "one\n", 4, false }, { 2, NSEC_PER_SEC, "par", 3, true },
		{ 2, NSEC_PER_SEC, "tial\n", 5, false } };
	if (log_at == ARRAY_SIZE(entries))
		return 0;
	*ret = entries[log_at++];
	return 1;
}

int log_reader_ended(const LogReader *r)
{
	return 0;
}

int log_reader_fd(const LogReader *r)
{
	return -1;
}

void log_reader_free(LogReader *r)
{
}

/* ── the client ───────────────────────────────────────────────────── */

static int dial(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	(void) snprintf(a.sun_path, sizeof(a.sun_path), "%s/stead.sock", dir);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(connect(fd, (struct sockaddr *) &a, sizeof(a)), 0);
	return fd;
}

/** Reads until `needle` has come; NULL: until the end. */
static void await(int fd, Buf *b, const char *needle)
{
	int64_t end = time_mono() + 60 * NSEC_PER_SEC;
	for (;;) {
		if (needle && b->len && memmem(b->data, b->len, needle, strlen(needle)))
			return;
		char p[65536];
		ssize_t n = recv(fd, p, sizeof(p), 0);
		if (n > 0)
			buf_append(b, p, (size_t) n);
		else if (n == 0)
			break;
		else
			(void) uv_run(&loop, UV_RUN_NOWAIT);
		if (time_mono() > end)
			fail_msg("no '%s': %s", needle ? needle : "end", buf_cstr(b));
	}
	if (needle)
		fail_msg("the connection ended before '%s': %s", needle, buf_cstr(b));
}

static int send_request(const char *method, const char *target, const char *body, const char *headers)
{
	int fd = dial();
	AUTO_FREE char *text = xasprintf("%s %s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %zu\r\n\r\n%s", method, target, headers, strlen(body), body);
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	return fd;
}

/** A whole answer; the caller's. */
static char *ask(const char *method, const char *target, const char *body)
{
	AUTO_CLOSE int fd = send_request(method, target, body, "Connection: close\r\n");
	AUTO_BUF b = BUF_INIT;
	await(fd, &b, NULL);
	return buf_steal(&b);
}

static void expect(const char *method, const char *target, const char *body, int status, const char *needle)
{
	AUTO_FREE char *answer = ask(method, target, body);
	AUTO_FREE char *line = xasprintf("HTTP/1.1 %d ", status);
	if (!str_starts(answer, line) || (needle && !strstr(answer, needle)))
		fail_msg("%s %s: %s", method, target, answer);
}

static void init_objects(void)
{
	static char *labels[] = { (char *) "a=b", NULL };
	static char *tags[] = { (char *) "docker.io/team/app:1", NULL };
	static ContainerPaths paths = { .state = (char *) "/s", .log = (char *) "/l", .rootfs = (char *) "/r", .files = (char *) "/f" };
	runtime = (Runtime) { .name = (char *) "crun", .path = (char *) "/usr/bin/crun", .version = (char *) "1.8", .conmon = (char *) "/usr/bin/conmon",
		.conmon_version = (char *) "2.1.6", .cgroup_parent = (char *) "/stead" };
	image = (Image) { .id = (char *) "sha256:abc", .architecture = (char *) "amd64", .os = (char *) "linux", .tags = tags, .created = 4 * NSEC_PER_SEC,
		.config_json = (char *) "{\"history\":[{\"created_by\":\"base\"},{\"created_by\":\"ENV\",\"empty_layer\":true}]}" };
	net = (NetState) { .id = "11", .name = (char *) "blog_default", .driver = (char *) "bridge", .subnet = (char *) "10.1.0.0/24",
		.gateway = (char *) "10.1.0.1", .bridge = (char *) "st-1" };
	vol = (VolState) { .name = (char *) "blog_data", .driver = (char *) "local", .path = dir };
	web = (Container) { .d = &d, .id = "c0ffee", .name = (char *) "blog-web-1", .stack = (char *) "blog", .image_id = image.id,
		.image_ref = (char *) "team/app:1", .labels = labels, .phase = PHASE_RUNNING, .created = 1, .paths = &paths, .pid = getpid() };
	web.svc = (Service) { .name = (char *) "web", .image = (char *) "team/app:1", .stdin_open = true };
	job = web;
	(void) snprintf(job.id, sizeof(job.id), "c0bbee");
	job.name = (char *) "blog-job-1";
	job.phase = PHASE_EXITED;
	job.finished_at = 2;
	job.created = 2;
	job.exit_code = 3;
	job.labels = NULL;
	d.containers = containers;
	d.n_containers = 2;
	d.images = images;
	d.nets = nets;
	d.vols = vols;
	d.n_images = d.n_nets = d.n_vols = 1;
	d.runtime = &runtime;
	d.o = (DaemonOptions) { .name = "test", .state_dir = dir, .run_dir = dir };
}

static int setup(void **state)
{
	if (!mkdtemp(dir) || uv_loop_init(&loop))
		return -1;
	d.loop = &loop;
	d.events = events_new();
	init_objects();
	return api_start(&d, NULL);
}

static int setup_each(void **state)
{
	init_objects();
	buf_clear(&typed);
	return 0;
}

static int teardown(void **state)
{
	http_server_free(d.http);
	(void) uv_run(&loop, UV_RUN_DEFAULT);
	events_free(d.events);
	buf_done(&typed);
	return tree_remove(AT_FDCWD, dir) || uv_loop_close(&loop);
}

/* ── tests ────────────────────────────────────────────────────────── */

static void routes(void **state)
{
	expect("GET", "/_ping", "", 200, "\r\n\r\nOK");
	expect("HEAD", "/v1.24/_ping", "", 200, "Api-Version: 1.41");
	expect("GET", "/v1.99/_ping", "", 400, "API versions 1.24 to 1.41");
	expect("GET", "/v1.23/_ping", "", 400, "DOCKER_API_VERSION=1.41");
	expect("GET", "/none", "", 404, "is not served");
	expect("DELETE", "/version", "", 405, NULL);
	expect("POST", "/v1.41/containers/create?name=x", "{}", 501, "stead up");
}

/** A request that was answered is dead: a handler that asks something of it then is found by the sanitizer. */
static void unknown_objects(void **state)
{
	static const struct {
		const char *method, *target;
	} cases[] = {
		{ "GET", "/containers/none/json" },    { "GET", "/containers/none/logs?stdout=1" }, { "GET", "/containers/none/stats" },
		{ "GET", "/containers/none/top" },     { "POST", "/containers/none/start" },        { "POST", "/containers/none/stop" },
		{ "POST", "/containers/none/restart" }, { "POST", "/containers/none/kill" },        { "POST", "/containers/none/pause" },
		{ "POST", "/containers/none/unpause" }, { "POST", "/containers/none/wait" },        { "POST", "/containers/none/resize?h=1&w=1" },
		{ "POST", "/containers/none/rename" }, { "POST", "/containers/none/update" },       { "POST", "/containers/none/attach" },
		{ "POST", "/containers/none/exec" },   { "DELETE", "/containers/none?force=1" },    { "GET", "/exec/none/json" },
		{ "POST", "/exec/none/start" },        { "POST", "/exec/none/resize?h=1&w=1" },     { "GET", "/images/none/json" },
		{ "GET", "/images/none/history" },     { "POST", "/images/none/tag?repo=x" },       { "GET", "/networks/none" },
		{ "DELETE", "/networks/none" },        { "GET", "/volumes/none" },                  { "DELETE", "/volumes/none" },
		{ "GET", "/containers/json?filters=%7B%22before%22%3A%5B%22none%22%5D%7D" },
		{ "GET", "/images/json?filters=%7B%22since%22%3A%5B%22none%22%5D%7D" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		expect(cases[i].method, cases[i].target, "", 404, "{\"message\":");
}

static void system_answers(void **state)
{
	expect("GET", "/version", "", 200, "\"ApiVersion\":\"1.41\"");
	expect("GET", "/info", "", 200, "\"ContainersRunning\":1");
	expect("GET", "/info", "", 200, "\"LocalNodeState\":\"inactive\"");
	AUTO_FREE char *file = xasprintf("%s/12bytes", dir);
	assert_int_equal(file_write(AT_FDCWD, file, "123456789012", 12, 0644), 0);
	expect("GET", "/system/df", "", 200, "\"UsageData\":{\"Size\":12,\"RefCount\":1}");
	expect("GET", "/system/df", "", 200, "\"BuildCache\":[{\"id\":\"c0ffee\"}],\"BuilderSize\":34");
}

static void lists(void **state)
{
	AUTO_FREE char *running = ask("GET", "/containers/json", "");
	assert_non_null(strstr(running, "blog-web-1"));
	assert_null(strstr(running, "blog-job-1"));
	AUTO_FREE char *all = ask("GET", "/containers/json?all=1", "");
	assert_true(strstr(all, "blog-job-1") < strstr(all, "blog-web-1")); /* the newest first */
	AUTO_FREE char *one = ask("GET", "/containers/json?limit=1", "");
	assert_null(strstr(one, "blog-web-1"));
	expect("GET", "/containers/json?filters=%7B%22status%22%3A%5B%22exited%22%5D%7D", "", 200, "Exited (3)");
	expect("GET", "/containers/json?all=1&filters=%7B%22label%22%3A%7B%22a%22%3Atrue%7D%2C%22name%22%3A%5B%22job%22%5D%7D", "", 200, "\r\n\r\n[]\n");
	expect("GET", "/containers/json?filters=%7B%22nonsense%22%3A%5B%22x%22%5D%7D", "", 400, "Invalid filter 'nonsense'");
	expect("GET", "/containers/json?filters=%7B%22status%22%3A%5B%22x%22%5D%7D", "", 400, "Unrecognised filter value");
	expect("GET", "/containers/json?limit=x", "", 400, "not a number");
	expect("GET", "/containers/json?size=1", "", 200, "\"SizeRw\":0");
	expect("GET", "/containers/blog-web-1/json", "", 200, "\"Name\":\"/blog-web-1\"");
	expect("GET", "/containers/none/json", "", 404, "No such container: none");
	expect("GET", "/containers/c0/json", "", 400, "more than one");
}

static void starts_and_stops(void **state)
{
	expect("POST", "/containers/blog-web-1/start", "", 304, NULL);
	expect("POST", "/containers/blog-job-1/start", "", 204, NULL);
	job.phase = PHASE_EXITED;
	job.svc.image = (char *) "bad";
	expect("POST", "/containers/blog-job-1/start", "", 400, "executable file not found");
	expect("POST", "/containers/blog-job-1/stop", "", 304, NULL);
	expect("POST", "/containers/blog-job-1/kill", "", 409, "is not running");
	expect("POST", "/containers/blog-web-1/kill?signal=HUP", "", 204, NULL);
	expect("POST", "/containers/blog-web-1/kill?signal=NOPE", "", 400, "Invalid signal");
	expect("POST", "/containers/blog-web-1/stop?t=x", "", 400, NULL);
	expect("POST", "/containers/blog-web-1/pause", "", 204, NULL);
	expect("POST", "/containers/blog-web-1/pause", "", 409, "paused already");
	expect("POST", "/containers/blog-web-1/start", "", 409, "unpause");
	expect("POST", "/containers/blog-web-1/unpause", "", 204, NULL);
	expect("POST", "/containers/blog-web-1/resize?h=24&w=80", "", 200, NULL);
	expect("POST", "/containers/blog-web-1/resize?h=99999&w=80", "", 400, NULL);
	expect("POST", "/containers/blog-web-1/rename?name=x", "", 409, "compose file");
}

/** A stop, and a restart, answer when the container has really ended. */
static void waits_for_the_end(void **state)
{
	for (int restart = 0; restart < 2; restart++) {
		AUTO_BUF b = BUF_INIT;
		AUTO_CLOSE int fd = send_request("POST", restart ? "/containers/blog-web-1/restart?t=5" : "/containers/blog-web-1/stop?t=5", "", "");
		int64_t end = time_mono() + 60 * NSEC_PER_SEC;
		while (!waiter && time_mono() < end)
			(void) uv_run(&loop, UV_RUN_NOWAIT);
		assert_true(web.ask_stop);
		assert_int_equal(web.ask_timeout, 5);
		assert_int_equal(web.wanted_running, restart);
		web.phase = PHASE_EXITED;
		tell(&web);
		await(fd, &b, " 204 ");
		assert_int_equal(web.phase, restart ? PHASE_RUNNING : PHASE_EXITED);
		init_objects();
	}
}

/** {"username":"me","password":"good"} */
#define AUTH_HEADER "X-Registry-Auth: eyJ1c2VybmFtZSI6Im1lIiwicGFzc3dvcmQiOiJnb29kIn0=\r\n"

static void tell_pull(const char *text)
{
	json_t *o = json_loads(text, 0, NULL);
	assert_non_null(o);
	pull_event(pull_user, o);
	json_decref(o);
}

static void pulls(void **state)
{
	AUTO_BUF b = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	AUTO_CLOSE int fd = send_request("POST", "/images/create?fromImage=team/app&tag=1&platform=linux/arm64", "", AUTH_HEADER);
	await(fd, &b, "\"Pulling from team/app\",\"id\":\"1\"");
	assert_string_equal(pull_asked, "docker.io/team/app:1 linux/arm64 {\"username\":\"me\",\"password\":\"good\"}");
	tell_pull("{\"layer\":{\"id\":\"0123\",\"state\":\"downloading\",\"at\":5,\"size\":10}}");
	await(fd, &b, "{\"status\":\"Downloading\",\"progressDetail\":{\"current\":5,\"total\":10},\"id\":\"0123\"}");
	tell_pull("{\"layer\":{\"id\":\"0123\",\"state\":\"done\"}}");
	await(fd, &b, "{\"status\":\"Pull complete\",\"progressDetail\":{},\"id\":\"0123\"}");
	tell_pull("{\"digest\":\"sha256:dd\"}");
	pull_done(pull_user, &image, NULL);
	await(fd, &b, "{\"status\":\"Status: Downloaded newer image for team/app:1\"}");
	assert_non_null(strstr(buf_cstr(&b), "Digest: sha256:dd"));

	AUTO_BUF c = BUF_INIT;
	AUTO_CLOSE int second = send_request("POST", "/images/create?fromImage=x&tag=sha256:0123456789012345678901234567890123456789012345678901234567890123", "", "");
	await(second, &c, "Pulling from library/x");
	assert_true(str_starts(pull_asked, "docker.io/library/x@sha256:0123"));
	assert_true(str_ends(pull_asked, " - -"));
	(void) err_set(&err, -ENOENT, "no \"manifest\"");
	pull_done(pull_user, NULL, &err);
	await(second, &c, "{\"errorDetail\":{\"message\":\"no \\\"manifest\\\"\"},\"error\":\"no \\\"manifest\\\"\"}");
}

static void tell_push(const char *text)
{
	json_t *o = json_loads(text, 0, NULL);
	assert_non_null(o);
	push_calls.event(push_calls.user, o);
	json_decref(o);
}

static void pushes(void **state)
{
	AUTO_BUF b = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	AUTO_CLOSE int fd = send_request("POST", "/images/team/app/push?tag=1", "", AUTH_HEADER);
	await(fd, &b, "The push refers to repository [docker.io/team/app]");
	assert_string_equal(push_asked, "1 docker.io/team/app:1 sha256:abc auth");
	tell_push("{\"layer\":{\"id\":\"01\",\"state\":\"pushing\",\"at\":5,\"size\":10}}");
	await(fd, &b, "{\"status\":\"Pushing\",\"progressDetail\":{\"current\":5,\"total\":10},\"id\":\"01\"}");
	tell_push("{\"layer\":{\"id\":\"01\",\"state\":\"mounted\",\"from\":\"other/app\"}}");
	await(fd, &b, "Mounted from other/app");
	tell_push("{\"pushed\":{\"ref\":\"docker.io/team/app:1\",\"digest\":\"sha256:dd\",\"size\":7}}");
	push_calls.done(push_calls.user, NULL, NULL);
	await(fd, &b, "\"aux\":{\"Tag\":\"1\",\"Digest\":\"sha256:dd\",\"Size\":7}");
	assert_non_null(strstr(buf_cstr(&b), "1: digest: sha256:dd size: 7"));

	AUTO_BUF c = BUF_INIT;
	AUTO_CLOSE int second = send_request("POST", "/images/team/app/push", "", "");
	await(second, &c, "The push refers");
	assert_string_equal(push_asked, "1 docker.io/team/app:1 sha256:abc -");
	(void) err_set(&err, -EACCES, "denied");
	push_calls.done(push_calls.user, NULL, &err);
	await(second, &c, "{\"errorDetail\":{\"message\":\"denied\"},\"error\":\"denied\"}");
	expect("POST", "/images/team/other/push?tag=1", "", 404, "does not exist locally");
	expect("POST", "/images/team/app/push?tag=2", "", 404, "does not exist locally");

	/* Who leaves calls it off. */
	AUTO_BUF e = BUF_INIT;
	int gone = send_request("POST", "/images/team/app/push?tag=1", "", "");
	await(gone, &e, "The push refers");
	(void) close(gone);
	int64_t end = time_mono() + 60 * NSEC_PER_SEC;
	while (!push_cancelled && time_mono() < end)
		(void) uv_run(&loop, UV_RUN_NOWAIT);
	assert_true(push_cancelled);
	push_calls.done(push_calls.user, NULL, &err);
}

/** The client's end calls its pull off. */
static void pull_is_left(void **state)
{
	AUTO_BUF b = BUF_INIT;
	int fd = send_request("POST", "/images/create?fromImage=team/app:1", "", "");
	await(fd, &b, "Pulling from");
	(void) close(fd);
	int64_t end = time_mono() + 60 * NSEC_PER_SEC;
	while (!pull_left && time_mono() < end)
		(void) uv_run(&loop, UV_RUN_NOWAIT);
	assert_true(pull_left);
}

static void pulls_refused(void **state)
{
	expect("POST", "/images/create", "", 400, "fromImage");
	expect("POST", "/images/create?fromSrc=-", "", 501, "import");
	expect("POST", "/images/create?fromImage=UPPER", "", 400, "lower case");
	AUTO_BUF b = BUF_INIT;
	AUTO_CLOSE int fd = send_request("POST", "/images/create?fromImage=x", "", "Connection: close\r\nX-Registry-Auth: !\r\n");
	await(fd, &b, NULL);
	assert_true(str_starts(buf_cstr(&b), "HTTP/1.1 400 "));
	AUTO_BUF c = BUF_INIT;
	AUTO_CLOSE int other = send_request("POST", "/images/create?fromImage=x", "", "Connection: close\r\nX-Registry-Auth: W10=\r\n");
	await(other, &c, NULL);
	assert_true(str_starts(buf_cstr(&c), "HTTP/1.1 400 "));
}

static void logins(void **state)
{
	expect("POST", "/auth", "{\"username\":\"me\",\"password\":\"good\",\"serveraddress\":\"https://index.docker.io/v1/\"}", 200, "Login Succeeded");
	assert_string_equal(login_asked, "docker.io");
	expect("POST", "/auth", "{\"password\":\"bad\",\"serveraddress\":\"https://r.example:5000/v1/\"}", 401, "refuses");
	assert_string_equal(login_asked, "r.example:5000");
	expect("POST", "/auth", "{\"password\":\"now\",\"serveraddress\":\"localhost:5000\"}", 500, "no worker");
	expect("POST", "/auth", "[", 400, NULL);
}

static void wait_sends_its_headers_at_once(void **state)
{
	AUTO_BUF b = BUF_INIT;
	AUTO_CLOSE int fd = send_request("POST", "/containers/blog-web-1/wait?condition=next-exit", "", "");
	await(fd, &b, "\r\n\r\n");
	assert_null(strstr(buf_cstr(&b), "StatusCode"));
	web.exit_code = 5;
	tell(&web);
	await(fd, &b, "{\"StatusCode\":5,\"Error\":null}");
	expect("POST", "/containers/blog-job-1/wait", "", 200, "{\"StatusCode\":3,\"Error\":null}");
	expect("POST", "/containers/blog-job-1/wait?condition=x", "", 400, "next-exit");
	/* A client that goes away takes its waiter with it. */
	int gone = send_request("POST", "/containers/blog-web-1/wait", "", "");
	AUTO_BUF c = BUF_INIT;
	await(gone, &c, "\r\n\r\n");
	assert_non_null(waiter);
	(void) close(gone);
	int64_t end = time_mono() + 60 * NSEC_PER_SEC;
	while (waiter && time_mono() < end)
		(void) uv_run(&loop, UV_RUN_NOWAIT);
	assert_null(waiter);
}

static void turn_until_swept(void)
{
	int64_t end = time_mono() + 60 * NSEC_PER_SEC;
	while (!swept && time_mono() < end)
		(void) uv_run(&loop, UV_RUN_NOWAIT);
	assert_non_null(swept);
}

/** An image is gone when its layers are; what keeps them there is told. */
static void removal_of_an_image_waits_for_its_layers(void **state)
{
	AUTO_BUF b = BUF_INIT;
	char byte;
	hold_sweep = true;
	expect("DELETE", "/images/team/app:1", "", 200, "Untagged"); /* nothing to sweep */
	AUTO_CLOSE int fd = send_request("DELETE", "/images/team/app:1?force=1", "", "");
	turn_until_swept();
	for (int i = 0; i < 10; i++)
		(void) uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(recv(fd, &byte, 1, 0), -1);
	swept(swept_user, "no space");
	await(fd, &b, "[{\"Deleted\":\"team/app:1\"}]");
	assert_non_null(strstr(buf_cstr(&b), "X-Stead-Warning: no space\r\n"));
	/* A client that has gone is not answered. */
	swept = NULL;
	int gone = send_request("POST", "/images/prune", "", "");
	turn_until_swept();
	(void) close(gone);
	for (int i = 0; i < 10; i++)
		(void) uv_run(&loop, UV_RUN_NOWAIT);
	swept(swept_user, NULL);
	swept = NULL;
	hold_sweep = false;
}

static void removes(void **state)
{
	AUTO_BUF b = BUF_INIT;
	expect("DELETE", "/containers/blog-web-1", "", 409, "You cannot remove a running container");
	AUTO_CLOSE int fd = send_request("DELETE", "/containers/blog-web-1?force=1&v=1", "", "");
	int64_t end = time_mono() + 60 * NSEC_PER_SEC;
	while (!waiter && time_mono() < end)
		(void) uv_run(&loop, UV_RUN_NOWAIT);
	assert_true(web.ask_remove && web.remove_volumes);
	assert_int_equal(web.ask_timeout, 0);
	tell(NULL);
	await(fd, &b, " 204 ");
}

static void logs(void **state)
{
	AUTO_CLOSE int fd = send_request("GET", "/containers/blog-web-1/logs?stdout=1&stderr=1&timestamps=1", "", "");
	AUTO_BUF b = BUF_INIT;
	await(fd, &b, "0\r\n\r\n");
	static const char want[] = "\1\0\0\0\0\0\0\x23"
				   "1970-01-01T00:00:01.000000000Z one\n\2\0\0\0\0\0\0\x22"
				   "1970-01-01T00:00:01.000000000Z par\2\0\0\0\0\0\0\5tial\n";
	assert_non_null(memmem(b.data, b.len, want, sizeof(want) - 1));
	web.svc.tty = true;
	expect("GET", "/containers/blog-web-1/logs?stdout=1", "", 200, "one\npartial\n");
	expect("GET", "/containers/blog-web-1/logs", "", 400, "at least one stream");
	expect("GET", "/containers/blog-web-1/logs?stdout=1&since=never", "", 400, "no time");
	expect("GET", "/containers/blog-web-1/logs?stdout=1&tail=x", "", 400, "tail");
	web.svc.logging_driver = (char *) "none";
	expect("GET", "/containers/blog-web-1/logs?stdout=1", "", 501, "keeps no log");
}

static char *new_exec(const char *body)
{
	AUTO_FREE char *answer = ask("POST", "/containers/blog-web-1/exec", body);
	const char *id = strstr(answer, "{\"Id\":\"");
	assert_true(str_starts(answer, "HTTP/1.1 201 "));
	return xstrndup(id + 7, 64);
}

static void execs(void **state)
{
	AUTO_FREE char *id = new_exec("{\"Cmd\":[\"cat\",\"-\"],\"AttachStdin\":true,\"AttachStdout\":true,\"AttachStderr\":true}");
	AUTO_FREE char *start = xasprintf("/v1.41/exec/%s/start", id);
	AUTO_FREE char *inspect = xasprintf("/exec/%s/json", id);
	AUTO_BUF b = BUF_INIT;
	expect("GET", inspect, "", 200, "\"ExitCode\":null");
	AUTO_CLOSE int fd = send_request("POST", start, "{\"Detach\":false}", "Connection: Upgrade\r\nUpgrade: tcp\r\n");
	await(fd, &b, "\r\n\r\n");
	assert_true(str_starts(buf_cstr(&b), "HTTP/1.1 101 UPGRADED\r\n"));
	expect("GET", inspect, "", 200, "\"Running\":true");
	exec_cb.output(exec_cb.user, 2, "oh", 2);
	await(fd, &b, "oh");
	assert_non_null(memmem(b.data, b.len, "\2\0\0\0\0\0\0\2oh", 10));
	assert_int_equal(send(fd, "in", 2, 0), 2);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	int64_t end = time_mono() + 60 * NSEC_PER_SEC;
	while (!str_eq(buf_cstr(&typed), "in<end>") && time_mono() < end)
		(void) uv_run(&loop, UV_RUN_NOWAIT);
	assert_string_equal(buf_cstr(&typed), "in<end>");
	exec_cb.exited(exec_cb.user, 127, "not found");
	await(fd, &b, NULL);
	assert_true(memmem(b.data, b.len, "\2\0\0\0\0\0\0\012not found\n", 18) != NULL);
	expect("GET", inspect, "", 200, "\"ExitCode\":127");
	expect("POST", start, "{}", 409, "started already");
	expect("GET", "/exec/none/json", "", 404, "No such exec instance");
}

static void exec_refusals(void **state)
{
	expect("POST", "/containers/blog-web-1/exec", "{\"Cmd\":[]}", 400, "No exec command");
	expect("POST", "/containers/blog-web-1/exec", "{", 400, "not valid JSON");
	expect("POST", "/containers/blog-job-1/exec", "{\"Cmd\":[\"x\"]}", 409, "is not running");
	AUTO_FREE char *id = new_exec("{\"Cmd\":[\"x\"],\"User\":\"nobody-here\"}");
	AUTO_FREE char *start = xasprintf("/exec/%s/start", id);
	AUTO_FREE char *inspect = xasprintf("/exec/%s/json", id);
	AUTO_CLOSE int fd = send_request("POST", start, "{}", "");
	AUTO_BUF b = BUF_INIT;
	await(fd, &b, NULL);
	assert_non_null(memmem(b.data, b.len, "\2\0\0\0\0\0\0\040unable to find user nobody-here\n", 40));
	expect("GET", inspect, "", 200, "\"ExitCode\":126");
	AUTO_FREE char *other = new_exec("{\"Cmd\":[\"x\"]}");
	AUTO_FREE char *detached = xasprintf("/exec/%s/start", other);
	expect("POST", detached, "{\"Detach\":true}", 200, NULL);
	exec_cb.exited(exec_cb.user, 0, NULL);
}

static void attaches(void **state)
{
	AUTO_BUF b = BUF_INIT;
	web.svc.tty = true;
	AUTO_CLOSE int fd = send_request("POST", "/containers/blog-web-1/attach?stream=1&stdin=1&stdout=1&stderr=1&logs=1", "",
		"Connection: Upgrade\r\nUpgrade: tcp\r\n");
	await(fd, &b, "partial\n");
	attach_cb.output(attach_cb.user, 1, "live", 4);
	await(fd, &b, "live");
	assert_int_equal(send(fd, "ls\x10\x11", 4, 0), 4); /* ctrl-p ctrl-q detaches */
	await(fd, &b, NULL);
	assert_string_equal(buf_cstr(&typed), "ls");
	assert_null(attach_cb.output);
	expect("POST", "/containers/blog-job-1/attach?stream=1&stdout=1", "", 409, "is not running");
}

static void figures(void **state)
{
	expect("GET", "/containers/blog-web-1/stats?stream=0&one-shot=1", "", 200, "\"usage\":100");
	expect("GET", "/containers/blog-job-1/stats?stream=0", "", 200, "\"read\":\"0001-01-01T00:00:00Z\"");
	expect("GET", "/containers/blog-job-1/top", "", 409, "is not running");
	if (access("/usr/bin/ps", X_OK) == 0 || access("/bin/ps", X_OK) == 0) {
		expect("GET", "/containers/blog-web-1/top", "", 200, "{\"Titles\":[\"UID\",\"PID\"");
		expect("GET", "/containers/blog-web-1/top?ps_args=-o%20comm", "", 400, "PID");
	}
}

static void event_stream(void **state)
{
	AUTO_BUF b = BUF_INIT;
	AUTO_CLOSE int fd = send_request("GET", "/events?filters=%7B%22event%22%3A%5B%22health_status%22%5D%2C%22container%22%3A%5B%22blog-web-1%22%5D%7D", "", "");
	await(fd, &b, "\r\n\r\n");
	events_container(&web, "start");
	events_container(&job, "health_status: healthy");
	events_container_with(&web, "health_status: healthy", "k", "v");
	await(fd, &b, "health_status: healthy");
	assert_null(strstr(buf_cstr(&b), "\"start\""));
	assert_null(strstr(buf_cstr(&b), "blog-job-1"));
	assert_non_null(strstr(buf_cstr(&b), "\"k\":\"v\""));
	/* What is kept comes with `since`; `until` in the past ends it. */
	expect("GET", "/events?since=1000&until=0.001", "", 200, NULL);
	AUTO_FREE char *until = xasprintf("/events?since=10m&until=%lld", (long long) (time_real() / NSEC_PER_SEC + 1));
	expect("GET", until, "", 200, "blog-job-1");
	expect("GET", "/events?since=x", "", 400, "no time");
}

static void other_objects(void **state)
{
	expect("GET", "/networks", "", 200, "blog_default");
	expect("GET", "/networks?filters=%7B%22name%22%3A%5B%22x%22%5D%7D", "", 200, "\r\n\r\n[]\n");
	expect("GET", "/networks/none", "", 404, "not found");
	expect("DELETE", "/networks/blog_default", "", 403, "active endpoints");
	expect("POST", "/networks/prune", "", 200, "{\"NetworksDeleted\":[]}");
	expect("GET", "/volumes", "", 200, "\"Volumes\":[{");
	expect("GET", "/volumes/blog_data", "", 200, "\"Driver\":\"local\"");
	expect("DELETE", "/volumes/blog_data", "", 409, "in use");
	expect("DELETE", "/volumes/none?force=1", "", 204, NULL);
	expect("POST", "/volumes/prune", "", 200, "\"SpaceReclaimed\":0");
	expect("GET", "/images/json", "", 200, "team/app:1");
	expect("GET", "/images/json?filters=%7B%22reference%22%3A%5B%22team%2F*%22%5D%7D", "", 200, "team/app:1");
	expect("GET", "/images/json?filters=%7B%22reference%22%3A%5B%22x%22%5D%7D", "", 200, "\r\n\r\n[]\n");
	expect("GET", "/images/team/app:1/json", "", 200, "\"Id\":\"sha256:abc\"");
	expect("GET", "/images/team%2Fapp:1/history", "", 200, "\"CreatedBy\":\"ENV\"");
	expect("GET", "/images/team/app:1/get", "", 200, "team/app:1");
	expect("GET", "/images/get?names=a&names=b", "", 200, "\r\n\r\na");
	expect("POST", "/images/team/app:1/tag?repo=new/name&tag=2", "", 201, NULL);
	expect("POST", "/images/team/app:1/tag", "", 400, "repo");
	expect("DELETE", "/images/team/app:1", "", 200, "[{\"Untagged\":\"team/app:1\"}]");
	expect("POST", "/images/prune?filters=%7B%22dangling%22%3A%7B%22false%22%3Atrue%7D%7D", "", 200, "\"SpaceReclaimed\":1");
	expect("GET", "/images/none/json", "", 404, "No such image");
}

int main(void)
{
#define API_TEST(f) cmocka_unit_test_setup(f, setup_each)
	const struct CMUnitTest tests[] = {
		API_TEST(routes),
		API_TEST(unknown_objects),
		API_TEST(system_answers),
		API_TEST(lists),
		API_TEST(starts_and_stops),
		API_TEST(waits_for_the_end),
		API_TEST(wait_sends_its_headers_at_once),
		API_TEST(pulls),
		API_TEST(pull_is_left),
		API_TEST(pushes),
		API_TEST(pulls_refused),
		API_TEST(logins),
		API_TEST(removal_of_an_image_waits_for_its_layers), API_TEST(removes),
		API_TEST(logs),
		API_TEST(execs),
		API_TEST(exec_refusals),
		API_TEST(attaches),
		API_TEST(figures),
		API_TEST(event_stream),
		API_TEST(other_objects),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
