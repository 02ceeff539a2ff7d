// SPDX-License-Identifier: Apache-2.0
/*
 * The daemon's half of a build, with a worker and containers that do as the test says: both are other people's ground, the worker since it has read
 * what strangers wrote. The client is at a real socket. What the linker takes instead of image jobs, run/ and the network stands at the top.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <cmocka.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/build-parts.h"
#include "daemon/image.h"
#include "io/frames.h"
#include "run/attach.h"
#include "run/build-root.h"
#include "run/bundle.h"
#include "run/cgroup.h"
#include "run/container.h"

static char dir[] = "/tmp/stead-test-build-XXXXXX";
static uv_loop_t loop;
static Daemon d;
static Runtime runtime;
static HttpServer *server;
static Image image = { .id = (char *) "sha256:aaaa" };

/* ── the worker ───────────────────────────────────────────────────── */

static struct {
	int in, context; /* its ends; -1: none */
	JobCallbacks cb;
	bool runs, cancelled;
	Buf lines; /* what it was told */
} worker;

static size_t sweeps;

int job_build(Jobs *j, int requests, int context, const JobCallbacks *cb, Job **ret, Err *err)
{
	worker.in = requests;
	worker.context = context;
	worker.cb = *cb;
	worker.runs = true;
	worker.cancelled = false;
	*ret = (Job *) &worker;
	return 0;
}

void job_cancel(Job *job)
{
	assert_true(worker.runs);
	worker.cancelled = true;
}

void image_sweep(Daemon *unused, void (*done)(void *user, const char *warning), void *user)
{
	sweeps++;
}

static char *stored; /* id of the image that was added */

int image_add(Daemon *unused, Image *img, Err *err)
{
	str_set(&stored, img->id);
	image_free(img);
	return 0;
}

Image *daemon_image_by_id(Daemon *unused, const char *id)
{
	return str_eq(id, stored) ? &image : NULL;
}

int daemon_find_image(Daemon *unused, const char *ref, Image **ret, char **ret_ref, Err *err)
{
	*ret = &image;
	return str_starts(ref, "here") ? 0 : err_set(err, -ENOENT, "No such image: %s", ref);
}

int image_platform_check(const Image *img, const char *platform, Err *err)
{
	return 0;
}

json_t *image_tags_json(const Image *img)
{
	return json_array();
}

static size_t pulls;

int image_pull(Daemon *unused, const ImagePull *ask, ImagePullEventFn event, ImagePullDoneFn done, void *user, PullHandle **ret, Err *err)
{
	pulls++;
	*ret = (PullHandle *) &pulls;
	return 0;
}

void image_pull_leave(PullHandle *h)
{
	pulls--;
}

void build_why_keep(Daemon *unused, const char *image_id, const json_t *report)
{
}

void build_cache_tidy(Daemon *unused)
{
}

/* ── containers ───────────────────────────────────────────────────── */

#define BOXES 300

typedef struct Box {
	char *id;
	ContainerCreatedFn created;
	void *created_user;
	ContainerExitFn exited;
	void *exited_user;
	AttachCallbacks attach;
	bool started, paused, deleted;
	Buf typed;
} Box;

static Box boxes[BOXES];
static size_t n_boxes, n_roots;
static bool no_roots; /* none can be mounted */

/* The last of that id: a shell is created under its instruction's. */
static Box *box_of(const char *id)
{
	for (size_t i = n_boxes; i-- > 0;)
		if (str_eq(boxes[i].id, id))
			return &boxes[i];
	fail_msg("no container '%s'", id);
	return NULL;
}

void container_paths_init(const Runtime *rt, const char *id, ContainerPaths *ret)
{
	*ret = (ContainerPaths) { .id = xstrdup(id) };
}

void container_paths_done(ContainerPaths *p)
{
	free(p->id);
}

int build_root_make(const ContainerPaths *p, Err *err)
{
	return 0;
}

int build_root_mount(const Runtime *rt, const ContainerPaths *p, char *const *lower, const char *upper, const char *work, Err *err)
{
	if (no_roots)
		return err_set(err, -ENOSPC, "no room for a root");
	n_roots++;
	return 0;
}

int build_root_bind(const Runtime *rt, const ContainerPaths *p, size_t index, const char *source, char **ret, Err *err)
{
	*ret = xstrdup("/bound");
	return 0;
}

Stubs *stubs_note(const ContainerPaths *p, char *const *targets)
{
	return NULL;
}

void stubs_made(Stubs *s)
{
}

void stubs_remove(Stubs *s)
{
}

void stubs_free(Stubs *s)
{
}

int bundle_write(const BundleSpec *spec, char ***warnings, Err *err)
{
	return 0;
}

int bundle_file_write(const ContainerPaths *p, const char *name, const void *content, size_t n, uid_t uid, gid_t gid, mode_t mode, char **ret, Err *err)
{
	*ret = xstrdup(name);
	return 0;
}

int container_create(uv_loop_t *l, const Runtime *rt, const ContainerOptions *o, ContainerCreatedFn done, void *user, Err *err)
{
	assert_true(n_boxes < BOXES);
	boxes[n_boxes++] = (Box) { .id = xstrdup(o->paths->id), .created = done, .created_user = user };
	return 0;
}

int container_watch(uv_loop_t *l, const Runtime *rt, const char *id, ContainerExitFn fn, void *user, ContainerWatch **ret, Err *err)
{
	Box *b = box_of(id);
	b->exited = fn;
	b->exited_user = user;
	*ret = (ContainerWatch *) b;
	return 0;
}

void container_watch_cancel(ContainerWatch *w)
{
	if (w)
		((Box *) w)->exited = NULL;
}

int attach_open(uv_loop_t *l, const ContainerPaths *p, const AttachCallbacks *cb, Attach **ret, Err *err)
{
	Box *b = box_of(p->id);
	b->attach = *cb;
	*ret = (Attach *) b;
	return 0;
}

ssize_t attach_write(Attach *a, const void *p, size_t n)
{
	buf_append(&((Box *) a)->typed, p, n);
	return 0;
}

void attach_pause(Attach *a, bool pause)
{
	((Box *) a)->paused = pause;
}

void attach_close(Attach *a)
{
	if (a)
		((Box *) a)->attach.output = NULL;
}

int container_resize(const ContainerPaths *p, unsigned rows, unsigned cols, Err *err)
{
	buf_printf(&box_of(p->id)->typed, "<%ux%u>", rows, cols);
	return 0;
}

int container_start(const Runtime *rt, const ContainerPaths *p, Err *err)
{
	box_of(p->id)->started = true;
	return 0;
}

int container_delete(const Runtime *rt, const ContainerPaths *p, Err *err)
{
	for (size_t i = 0; i < n_boxes; i++)
		if (str_eq(boxes[i].id, p->id))
			boxes[i].deleted = true;
	return 0;
}

int container_bundle_remove(const ContainerPaths *p, Err *err)
{
	n_roots -= n_roots > 0;
	return 0;
}

int cgroup_stats(const Runtime *rt, const char *cgroup, CgroupStats *ret)
{
	return -ENOENT;
}

int runtime_require(const Runtime *rt, Controller c, const char *key, Err *err)
{
	return -ENOTSUP;
}

int build_place_take(Builder *b, bool isolated, BuildPlace **ret, Err *err)
{
	*ret = NULL;
	return 0;
}

void build_place_leave(BuildPlace *p)
{
}

void build_places_drop(Builder *b)
{
}

/* ── the test's hands ─────────────────────────────────────────────── */

static int client = -1;
static Buf got; /* by the client */

static void drain(int fd, Buf *b)
{
	for (ssize_t n = 1; fd >= 0 && n > 0;) {
		n = recv(fd, buf_reserve(b, 65536), 65536, MSG_DONTWAIT);
		if (n > 0)
			buf_added(b, (size_t) n);
	}
}

static void turn(void)
{
	for (int i = 0; i < 20; i++) {
		(void) uv_run(&loop, UV_RUN_NOWAIT);
		drain(worker.in, &worker.lines);
		drain(client, &got);
	}
}

static void worker_says_json(json_t *o)
{
	worker.cb.event(worker.cb.user, o);
	json_decref(o);
}

static void worker_says(const char *text)
{
	worker_says_json(json_loads(text, 0, NULL));
	turn();
}

static void run_request(int n)
{
	AUTO_FREE char *text = xasprintf("{\"run\": %d, \"step\": %d, \"lower\": [], \"upper\": \"tmp/x/root\", \"work\": \"tmp/x/work\", \"args\": [\"true\"]}", n, n);
	worker_says(text);
}

static void worker_ends(int code)
{
	AUTO_ERR err = ERR_INIT;
	JobResult result = { 0 };
	if (code)
		(void) err_set(&err, code, code == -ECANCELED ? "cancelled" : "the worker was killed by signal 9");
	else {
		*array_append(result.images, result.n_images) = xcalloc(1, sizeof(Image));
		result.images[0]->id = xstrdup("sha256:aaaa");
	}
	(void) close(worker.in);
	(void) close(worker.context);
	worker.in = worker.context = -1;
	worker.runs = false;
	worker.cb.done(worker.cb.user, &result, code ? &err : NULL);
	free(result.images);
	turn();
}

static void send_text(const char *text, size_t n)
{
	assert_int_equal(send(client, text, n, MSG_NOSIGNAL), n);
}

static void ask(const char *body)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	(void) snprintf(a.sun_path, sizeof(a.sun_path), "%s/s", dir);
	client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(client, (struct sockaddr *) &a, sizeof(a)), 0);
	AUTO_FREE char *text = xasprintf("POST /b HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
	send_text(text, strlen(text));
	turn();
}

static void begin(void)
{
	ask("{\"dockerfile\": \"FROM x\", \"source\": \"client\", \"tags\": [\"t\"]}");
	assert_true(worker.runs);
}

static void begin_with_shell(void)
{
	ask("{\"dockerfile\": \"FROM x\", \"source\": \"client\", \"limits\": {\"shell\": true}}");
	assert_true(worker.runs);
}

static void client_leaves(void)
{
	(void) close(client);
	client = -1;
	turn();
}

static void frame_to(int fd, char type, const char *text, size_t n)
{
	uint8_t head[FRAME_HEADER];
	frame_header((uint8_t) type, n, head);
	assert_int_equal(send(fd, head, sizeof(head), MSG_NOSIGNAL), sizeof(head));
	if (n)
		assert_int_equal(send(fd, text, n, MSG_NOSIGNAL), n);
	turn();
}

static void has(const Buf *b, const char *text)
{
	if (!b->len || !memmem(b->data, b->len, text, strlen(text)))
		fail_msg("no '%s' in '%.2000s'", text, b->len ? b->data : "");
}

static void has_not(const Buf *b, const char *text)
{
	if (b->len && memmem(b->data, b->len, text, strlen(text)))
		fail_msg("'%s' is in '%.2000s'", text, b->data);
}

static void created(size_t i, int r)
{
	AUTO_ERR err = ERR_INIT;
	(void) err_set(&err, r, "no such file: /bin/sh");
	boxes[i].created(boxes[i].created_user, r, 1, r < 0 ? &err : NULL);
	turn();
}

static void exits(size_t i, int code)
{
	Box *b = &boxes[i];
	b->exited(b->exited_user, &(ContainerState) { .status = CONTAINER_EXITED, .exit_code = code });
	if (b->attach.output)
		b->attach.closed(b->attach.user);
	turn();
}

static void nothing_is_left(void)
{
	turn();
	assert_int_equal(d.builds->n, 0);
	assert_int_equal(pulls, 0);
	for (size_t i = 0; i < n_boxes; i++)
		assert_true(boxes[i].deleted);
	assert_int_equal(n_roots, 0);
}

static void on_request(void *user, HttpRequest *r)
{
	build_api_start(&d, r);
}

static int setup(void **state)
{
	AUTO_ERR err = ERR_INIT;
	const HttpHandlers h = { .request = on_request };
	if (!mkdtemp(dir) || uv_loop_init(&loop) < 0)
		return -1;
	log_init(0);
	d = (Daemon) { .o = { .state_dir = dir, .run_dir = dir }, .loop = &loop, .runtime = &runtime };
	AUTO_FREE char *path = xasprintf("%s/s", dir);
	builds_open(&d);
	return http_server_new(&loop, path, 0600, (gid_t) -1, &h, &server, &err);
}

static int teardown(void **state)
{
	http_server_free(server);
	builds_close(&d);
	while (uv_run(&loop, UV_RUN_DEFAULT))
		;
	free(stored);
	buf_done(&got);
	buf_done(&worker.lines);
	return uv_loop_close(&loop) < 0 ? -1 : tree_remove(AT_FDCWD, dir);
}

static int setup_each(void **state)
{
	buf_clear(&got);
	buf_clear(&worker.lines);
	worker.in = worker.context = -1;
	sweeps = 0;
	n_roots = 0;
	no_roots = false;
	free_and_null(&stored);
	return 0;
}

static int teardown_each(void **state)
{
	if (client >= 0)
		client_leaves();
	for (size_t i = 0; i < n_boxes; i++) {
		free(boxes[i].id);
		buf_done(&boxes[i].typed);
	}
	n_boxes = 0;
	return 0;
}

/* ── as it should be ──────────────────────────────────────────────── */

static void a_build(void **state)
{
	begin();
	has(&worker.lines, "\"dockerfile\":\"FROM x\"");
	has(&worker.lines, "\"docker.io/library/t:latest\"");
	worker_says("{\"event\": {\"step\": 1, \"state\": \"begin\"}}");
	has(&got, "{\"event\":{\"step\":1,\"state\":\"begin\"}}");
	worker_says("{\"image\": \"here:1\"}");
	has(&worker.lines, "{\"image\":\"here:1\",\"id\":\"sha256:aaaa\"}\n");
	run_request(7);
	created(0, 0);
	assert_true(boxes[0].started);
	boxes[0].attach.output(boxes[0].attach.user, 2, "some words", 10);
	turn();
	assert_non_null(memmem(got.data, got.len, "X\0\0\0\0\0\0\16\0\0\0\7some words", 22));
	exits(0, 3);
	has(&worker.lines, "{\"run\":7,\"exit\":3,");
	worker_says("{\"built\": {\"id\": \"sha256:aaaa\", \"why\": [1]}}");
	worker_ends(0);
	has(&got, "\"result\":\"done\",\"image\":\"sha256:aaaa\"");
	has(&got, "\"why\":[1]");
	assert_int_equal(sweeps, 0);
	nothing_is_left();
}

/* ── ends in the middle ───────────────────────────────────────────── */

static void the_worker_dies(void **state)
{
	begin();
	run_request(1);
	run_request(2);
	created(0, 0);
	worker_says("{\"image\": \"far:1\"}");
	assert_int_equal(pulls, 1);
	worker_ends(-EIO);
	/* One container is still being created: its end is waited for before anybody is told. */
	assert_true(boxes[0].deleted);
	has_not(&got, "\"error\"");
	created(1, 0);
	has(&got, "\"error\":\"the worker was killed by signal 9\"");
	assert_false(boxes[1].started);
	assert_int_equal(sweeps, 1);
	nothing_is_left();
}

static void the_client_leaves(void **state)
{
	/* Before anything, while a container is being created, while it runs, while a pull does. */
	for (int when = 0; when < 4; when++) {
		size_t box = n_boxes;
		begin();
		if (when == 1 || when == 2)
			run_request(1);
		if (when == 2)
			created(box, 0);
		if (when == 3)
			worker_says("{\"image\": \"far:1\"}");
		client_leaves();
		assert_true(worker.cancelled);
		if (when == 1)
			created(box, 0);
		/* What it says until it is dead is heard by nobody. */
		run_request(2);
		worker_says("{\"image\": \"far:2\"}");
		worker_ends(-ECANCELED);
		nothing_is_left();
	}
	assert_int_equal(sweeps, 4);
	has_not(&worker.lines, "\"exit\"");
}

static void the_daemon_ends(void **state)
{
	begin();
	run_request(1);
	run_request(2);
	created(0, 0);
	worker_says("{\"image\": \"far:1\"}");
	/* As jobs_free does. */
	(void) close(worker.in);
	(void) close(worker.context);
	worker.in = worker.context = -1;
	worker.runs = false;
	worker.cb.lost(worker.cb.user);
	turn();
	has(&got, "the daemon is being stopped");
	created(1, -EIO); /* the word on it comes later, to nobody */
	pulls = 0;
	nothing_is_left();
}

/* ── a worker that is not ours any more ───────────────────────────── */

static void asked_twice_and_out_of_order(void **state)
{
	begin();
	run_request(1);
	run_request(1);
	run_request(2);
	created(2, 0);
	created(1, 0);
	created(0, 0);
	exits(1, 11);
	exits(2, 12);
	has(&worker.lines, "{\"run\":1,\"exit\":11,");
	has(&worker.lines, "{\"run\":2,\"exit\":12,");
	exits(0, 10);
	has(&worker.lines, "{\"run\":1,\"exit\":10,");
	worker_says("{\"built\": {}}");
	worker_says("{\"built\": {\"id\": 7}}");
	worker_ends(0);
	has(&got, "\"result\":\"done\"");
	nothing_is_left();
}

static void nonsense(void **state)
{
	static const char *const nothing[] = { "null", "[]", "7", "{}", "{\"run\": \"x\"}", "{\"run\": null}", "{\"image\": 5}", "{\"event\": []}", "{\"built\": 7}",
		"{\"answer\": {}}" };
	static const char *const refused[] = {
		"{\"run\": 1}",
		"{\"run\": -9223372036854775807, \"step\": \"x\", \"upper\": 5, \"work\": [], \"args\": \"x\", \"mounts\": {}}",
		"{\"run\": 1, \"upper\": \"u\", \"work\": \"w\"}",
		"{\"run\": 1, \"upper\": \"u\", \"work\": \"w\", \"args\": []}",
		"{\"run\": 1, \"upper\": \"u\", \"work\": \"w\", \"args\": [1, null, {}]}",
		"{\"run\": 1, \"upper\": \"u\", \"work\": \"w\", \"args\": [\"a\"], \"mounts\": [1]}",
		"{\"run\": 1, \"upper\": \"u\", \"work\": \"w\", \"args\": [\"a\"], \"mounts\": [{\"type\": \"bind\", \"target\": \"relative\", \"source\": \"x\"}]}",
		"{\"run\": 1, \"upper\": \"u\", \"work\": \"w\", \"args\": [\"a\"], \"mounts\": [{\"type\": \"bind\", \"target\": \"/t\"}]}",
		"{\"run\": 1, \"upper\": \"u\", \"work\": \"w\", \"args\": [\"a\"], \"network\": \"host\"}",
	};
	begin();
	for (size_t i = 0; i < ARRAY_SIZE(nothing); i++)
		worker_says(nothing[i]);
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		buf_clear(&worker.lines);
		worker_says(refused[i]);
		has(&worker.lines, "\"error\":\"");
		assert_int_equal(n_boxes, 0);
	}
	assert_false(worker.cancelled);
	/* More mounts than there may be. */
	json_t *mounts = json_array();
	for (int i = 0; i < LIMIT_BUILD_MOUNTS + 1; i++)
		(void) json_array_append_new(mounts, json_pack("{s:s, s:s, s:s}", "type", "bind", "target", "/t", "source", "x"));
	buf_clear(&worker.lines);
	worker_says_json(json_pack("{s:i, s:s, s:s, s:[s], s:o}", "run", 1, "upper", "u", "work", "w", "args", "a", "mounts", mounts));
	turn();
	has(&worker.lines, "\"error\":\"");
	worker_ends(-EIO);
	nothing_is_left();
}

static void a_flood_of_requests(void **state)
{
	begin();
	for (int i = 0; i < LIMIT_DOCKERFILE_STAGES + LIMIT_BUILD_STEPS + 1 && !worker.cancelled; i++)
		run_request(i);
	assert_true(worker.cancelled);
	assert_int_equal(n_boxes, LIMIT_BUILD_STEPS);
	/* What is under way ends with it, and nothing new begins. */
	created(0, 0);
	exits(0, 0);
	assert_int_equal(n_boxes, LIMIT_BUILD_STEPS);
	for (size_t i = 1; i < n_boxes; i++)
		created(i, 0);
	worker_ends(-ECANCELED);
	has(&got, "the worker was ended: it asks for more RUN instructions");
	nothing_is_left();
}

/* Each fails as soon as it is begun, and the next one begins. */
static void a_flood_that_fails(void **state)
{
	begin();
	for (int i = 0; i < LIMIT_BUILD_STEPS; i++)
		run_request(i);
	no_roots = true;
	for (int i = 0; i < LIMIT_DOCKERFILE_STAGES; i++)
		run_request(1000 + i);
	assert_false(worker.cancelled);
	created(0, -EIO);
	has(&worker.lines, "\"run\":1255,");
	for (size_t i = 1; i < LIMIT_BUILD_STEPS; i++)
		created(i, -EIO);
	worker_ends(-EIO);
	nothing_is_left();
}

static void a_flood_of_pulls(void **state)
{
	begin();
	for (int i = 0; i < LIMIT_DOCKERFILE_STEPS + 2 && !worker.cancelled; i++)
		worker_says_json(json_pack("{s:s}", "image", "far"));
	assert_true(worker.cancelled);
	worker_ends(-ECANCELED);
	has(&got, "the worker was ended: it asks for more images");
	nothing_is_left();
}

static void nobody_reads(void **state)
{
	AUTO_FREE char *long_name = xmalloc(1U << 19);
	memset(long_name, 'x', (1U << 19) - 1);
	long_name[(1U << 19) - 1] = '\0';
	memcpy(long_name, "here", 4);
	/* The worker: answers. */
	begin();
	for (unsigned i = 0; i < 1000 && !worker.cancelled; i++)
		worker_says_json(json_pack("{s:s}", "image", long_name));
	assert_true(worker.cancelled);
	worker_ends(-ECANCELED);
	has(&got, "does not read what it is answered");
	nothing_is_left();
	client_leaves();
	/* The client: events. */
	begin();
	for (unsigned i = 0; i < 1000 && !worker.cancelled; i++)
		worker_says_json(json_pack("{s:{s:s}}", "event", "progress", long_name));
	assert_true(worker.cancelled);
	worker_ends(-ECANCELED);
	nothing_is_left();
}

/* ── frames ───────────────────────────────────────────────────────── */

/* Layers of stages are in no image: the cache that named them names new ones. */
static void what_is_made_anew_leaves_something(void **state)
{
	ask("{\"dockerfile\": \"FROM x\", \"source\": \"none\", \"no_cache\": true}");
	worker_ends(0);
	assert_int_equal(sweeps, 1);
	client_leaves();
	begin();
	int first = client;
	JobCallbacks cb = worker.cb;
	begin();
	worker_ends(0);
	assert_int_equal(sweeps, 2);
	cb.done(cb.user, &(JobResult) { 0 }, &(Err) { .code = -EIO });
	assert_int_equal(sweeps, 3);
	(void) close(first);
	nothing_is_left();
}

static void frames_go_through_whole(void **state)
{
	AUTO_BUF from_client = BUF_INIT;
	static const char piece[] = "J\0\0\0\0\0\0\002{}F\0\0\0\0\0\0\003abc";
	begin();
	size_t before = got.len;
	for (size_t i = 0; i < sizeof(piece) - 1; i++) {
		assert_int_equal(send(worker.context, &piece[i], 1, MSG_NOSIGNAL), 1);
		turn();
	}
	assert_int_equal(got.len - before, sizeof(piece) - 1);
	assert_memory_equal(got.data + before, piece, sizeof(piece) - 1);
	/* What is typed is nobody's without a shell, and not the worker's. */
	frame_to(client, 'I', "typed", 5);
	frame_to(client, 'W', "\0\30\0\120", 4);
	frame_to(client, 'W', "", 0);
	frame_to(client, 'F', "contents", 8);
	drain(worker.context, &from_client);
	assert_int_equal(from_client.len, FRAME_HEADER + 8);
	worker_ends(-EIO);
	nothing_is_left();
}

static void frames_that_are_none(void **state)
{
	static const char long_one[] = "J\0\0\0\0\20\0\001";
	static const char odd[] = "J\1\0\0\0\0\0\001";
	const char *const heads[] = { long_one, odd };
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		size_t box = n_boxes;
		begin();
		run_request(1);
		created(box, 0);
		assert_int_equal(send(worker.context, heads[i], 8, MSG_NOSIGNAL), 8);
		turn();
		has(&got, "the worker does not keep to the protocol");
		assert_true(worker.cancelled);
		worker_ends(-ECANCELED);
		nothing_is_left();
		client_leaves();
		buf_clear(&got);
		begin();
		send_text(heads[i], 8);
		turn();
		has(&got, "not framed as docs/API.md says");
		assert_true(worker.cancelled);
		worker_ends(-ECANCELED);
		nothing_is_left();
		client_leaves();
		buf_clear(&got);
	}
}

/* The end of the client's half is the end of the client. */
static void a_client_that_says_no_more(void **state)
{
	begin();
	run_request(1);
	created(0, 0);
	assert_int_equal(shutdown(client, SHUT_WR), 0);
	turn();
	assert_true(worker.cancelled);
	worker_ends(-ECANCELED);
	nothing_is_left();
}

static void output_waits_for_a_slow_client(void **state)
{
	AUTO_FREE char *text = xcalloc(1, 65536);
	begin();
	run_request(1);
	created(0, 0);
	int fd = client;
	client = -1; /* nobody reads */
	for (int i = 0; i < 100 && !boxes[0].paused; i++)
		boxes[0].attach.output(boxes[0].attach.user, 1, text, 65536);
	assert_true(boxes[0].paused);
	client = fd;
	for (int i = 0; i < 100 && boxes[0].paused; i++)
		turn();
	assert_false(boxes[0].paused);
	exits(0, 0);
	worker_ends(-EIO);
	nothing_is_left();
}

/* ── the shell ────────────────────────────────────────────────────── */

static void a_shell(void **state)
{
	begin_with_shell();
	run_request(1);
	run_request(2);
	created(0, 0);
	created(1, 0);
	exits(0, 9);
	assert_int_equal(n_boxes, 3);
	has_not(&got, "\"shell\"");
	created(2, 0);
	has(&got, "{\"event\":{\"shell\":\"begins\",\"step\":1}}");
	frame_to(client, 'W', "\0\30\0\120", 4);
	frame_to(client, 'I', "ls\n", 3);
	assert_string_equal(buf_cstr(&boxes[2].typed), "<24x80>ls\n");
	/* There is one terminal: the next that fails gets none. */
	exits(1, 8);
	assert_int_equal(n_boxes, 3);
	has(&worker.lines, "{\"run\":2,\"exit\":8,");
	exits(2, 0);
	has(&worker.lines, "{\"run\":1,\"exit\":9,");
	worker_ends(-EIO);
	nothing_is_left();
}

static void no_shell(void **state)
{
	begin_with_shell();
	run_request(1);
	created(0, 0);
	exits(0, 9);
	created(1, -ENOENT);
	has(&got, "\"shell\":\"failed\",\"step\":1,\"error\":\"no such file: /bin/sh");
	has_not(&got, "begins");
	has(&worker.lines, "{\"run\":1,\"exit\":9,");
	/* What has ended well needs none. */
	run_request(2);
	created(2, 0);
	exits(2, 0);
	assert_int_equal(n_boxes, 3);
	worker_ends(-EIO);
	nothing_is_left();
}

static void requests_that_are_refused(void **state)
{
	static const char *const bodies[] = { "[", "{\"what\": 1}", "{\"source\": \"tar\"}", "{\"limits\": {\"memory\": 5}}", "{\"limits\": {\"network\": \"x\"}}",
		"{\"limits\": {\"what\": 1}}", "{\"tags\": [\"a@sha256:0000000000000000000000000000000000000000000000000000000000000000\"]}", "{\"tags\": [5]}",
		"{\"dockerfile\": 5}" };
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		ask(bodies[i]);
		has(&got, "HTTP/1.1 400");
		assert_false(worker.runs);
		client_leaves();
		buf_clear(&got);
	}
	nothing_is_left();
}

int main(void)
{
#define BUILD_TEST(f) cmocka_unit_test_setup_teardown(f, setup_each, teardown_each)
	const struct CMUnitTest tests[] = {
		BUILD_TEST(a_build),
		BUILD_TEST(the_worker_dies),
		BUILD_TEST(the_client_leaves),
		BUILD_TEST(the_daemon_ends),
		BUILD_TEST(asked_twice_and_out_of_order),
		BUILD_TEST(nonsense),
		BUILD_TEST(a_flood_of_requests),
		BUILD_TEST(a_flood_that_fails),
		BUILD_TEST(a_flood_of_pulls),
		BUILD_TEST(nobody_reads),
		BUILD_TEST(what_is_made_anew_leaves_something),
		BUILD_TEST(frames_go_through_whole),
		BUILD_TEST(frames_that_are_none),
		BUILD_TEST(a_client_that_says_no_more),
		BUILD_TEST(output_waits_for_a_slow_client),
		BUILD_TEST(a_shell),
		BUILD_TEST(no_shell),
		BUILD_TEST(requests_that_are_refused),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
