// SPDX-License-Identifier: Apache-2.0
/*
 * Starting is always recovering: the store says what was wanted, the kernel and conmon's files say
 * what is. Containers that run are adopted as they are; those that should run and do not are asked to
 * start, in the order of their dependencies. Stopping leaves everything running (KillMode=process in the unit).
 */
#include "daemon/main.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/api.h"
#include "daemon/container.h"
#include "daemon/daemon.h"
#include "daemon/events.h"
#include "daemon/image.h"
#include "daemon/network.h"
#include "daemon/restart.h"
#include "daemon/stack.h"
#include "daemon/state.h"
#include "image/job.h"
#include "io/http-server.h"
#include "net/names.h"
#include "net/netns.h"
#include "net/network.h"
#include "net/nft.h"
#include "run/container.h"
#include "run/runtime.h"
#include "store/store.h"

#define ROTATE_MSEC 2000
#define OOM_SCORE "-900"

static void usage(FILE *to)
{
	fprintf(to,
		"Usage: stead daemon [OPTIONS]\n\n"
		"Runs the daemon in the foreground. Containers go on running when it ends.\n\n"
		"Options:\n"
		"  --name NAME        Name in bridges, packet rules and cgroups; two daemons on one machine\n"
		"                     need different names (default: stead)\n"
		"  --state-dir DIR    What lasts: database, layers, volumes (default: /var/lib/stead)\n"
		"  --run-dir DIR      Socket and what ends with a reboot (default: /run/stead)\n"
		"  --runtime RUNTIME  crun, runc or the path of an OCI runtime (default: by trying)\n"
		"  --debug            Say more in the log\n"
		"  --help             Show this help\n");
}

static int parse_options(int argc, char **argv, DaemonOptions *o)
{
	static const struct option options[] = {
		{ "name", required_argument, NULL, 'n' },
		{ "state-dir", required_argument, NULL, 's' },
		{ "run-dir", required_argument, NULL, 'r' },
		{ "runtime", required_argument, NULL, 'R' },
		{ "debug", no_argument, NULL, 'd' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	*o = (DaemonOptions) { .name = "stead", .state_dir = "/var/lib/stead", .run_dir = "/run/stead" };
	optind = 1;
	for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
		switch (c) {
		case 'n':
			o->name = optarg;
			break;
		case 's':
			o->state_dir = optarg;
			break;
		case 'r':
			o->run_dir = optarg;
			break;
		case 'R':
			o->runtime = optarg;
			break;
		case 'd':
			o->debug = true;
			break;
		case 'h':
			usage(stdout);
			return 1;
		default:
			usage(stderr);
			return -EINVAL;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "stead daemon: unexpected argument '%s'\n", argv[optind]);
		return -EINVAL;
	}
	if (!stack_name_valid(o->name) || strlen(o->name) > 32) {
		fprintf(stderr, "stead daemon: --name: lower-case letters, digits, '-' and '_' are expected, at most 32, not '%s'\n", o->name);
		return -EINVAL;
	}
	if (o->state_dir[0] != '/' || o->run_dir[0] != '/') {
		fprintf(stderr, "stead daemon: --state-dir and --run-dir must be absolute paths\n");
		return -EINVAL;
	}
	return 0;
}

/* ── the loop ─────────────────────────────────────────────────────── */

static void write_due(uv_timer_t *t)
{
	Daemon *d = t->data;
	AUTO_ERR err = ERR_INIT;
	if (state_write_dirty(d, &err) < 0)
		log_error("%s", err_text(&err));
}

static void before_sleep(uv_prepare_t *p)
{
	Daemon *d = p->data;
	do {
		stack_run_plans(d);
		ctr_run_removals(d);
		for (size_t i = 0; i < d->n_stacks; i++)
			if (d->stacks[i]->awake)
				goto again;
		return;
	again:;
	} while (true);
}

static void rotate_due(uv_timer_t *t)
{
	Daemon *d = t->data;
	for (size_t i = 0; i < d->n_containers; i++)
		ctr_rotate_log(d->containers[i]);
}

static void terminate(uv_signal_t *s, int sig)
{
	Daemon *d = s->data;
	log_info("signal %d: the daemon ends, containers go on", sig);
	uv_stop(d->loop);
}

/* sd_notify(3): a datagram to NOTIFY_SOCKET. */
static void notify_ready(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	static const char text[] = "READY=1";
	if (!path || strlen(path) >= sizeof(a.sun_path))
		return;
	memcpy(a.sun_path, path, strlen(path));
	socklen_t len = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + strlen(path));
	if (path[0] == '@')
		a.sun_path[0] = '\0';
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		(void) sendto(fd, text, sizeof(text) - 1, MSG_NOSIGNAL, (struct sockaddr *) &a, len);
}

/* ── start ────────────────────────────────────────────────────────── */

static int make_dirs(const DaemonOptions *o, Err *err)
{
	static const char *const state[] = { "", "/containers", "/volumes" };
	static const char *const run[] = { "", "/containers" };
	/* /run/stead must be open to the socket's group; what is secret below has its own mode. */
	int r = 0;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(state); i++) {
		AUTO_FREE char *path = xasprintf("%s%s", o->state_dir, state[i]);
		r = dir_make(path, i ? 0711 : 0710);
		if (r < 0)
			return err_errno(err, r, "%s", path);
	}
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(run); i++) {
		AUTO_FREE char *path = xasprintf("%s%s", o->run_dir, run[i]);
		r = dir_make(path, i ? 0700 : 0755);
		if (r < 0)
			return err_errno(err, r, "%s", path);
	}
	return 0;
}

/* What is left of containers that no row knows: a crash between a removal's row and its files, or a state directory that was put back. */
static void sweep(Daemon *d)
{
	AUTO_STRV char **left = container_list(d->runtime);
	for (char **id = left; id && *id; id++) {
		Container *c = NULL;
		if (daemon_find_container(d, *id, &c, NULL) == 0)
			continue;
		AUTO_ERR err = ERR_INIT;
		ContainerPaths p;
		container_paths_init(d->runtime, *id, &p);
		int tries = 0;
		while (container_delete(d->runtime, &p, &err) > 0 && tries++ < 200)
			(void) usleep(5000);
		if (container_bundle_remove(&p, &err) < 0)
			log_warning("%s: %s", *id, err_text(&err));
		container_paths_done(&p);
	}
}

/* Directories of containers and volumes without a row. */
static void sweep_dirs(Daemon *d, const char *kind, bool (*known)(Daemon *, const char *))
{
	AUTO_FREE char *path = xasprintf("%s/%s", d->o.state_dir, kind);
	uv_fs_t req;
	uv_dirent_t e;
	if (uv_fs_scandir(NULL, &req, path, 0, NULL) < 0)
		return;
	while (uv_fs_scandir_next(&req, &e) != UV_EOF) {
		AUTO_ERR err = ERR_INIT;
		AUTO_FREE char *full = xasprintf("%s/%s", path, e.name);
		if (!known(d, e.name) && job_remove_tree(d->jobs, full, &err) < 0)
			log_warning("%s", err_text(&err));
	}
	uv_fs_req_cleanup(&req);
}

static bool container_known(Daemon *d, const char *id)
{
	for (size_t i = 0; i < d->n_containers; i++)
		if (str_eq(d->containers[i]->id, id))
			return true;
	return false;
}

static bool volume_known(Daemon *d, const char *name)
{
	return daemon_find_volume(d, name, &(VolState *) { NULL }, NULL) == 0;
}

static int open_parts(Daemon *d, Err *err)
{
	RuntimeOptions ro = { .wanted = d->o.runtime, .name = d->o.name, .state_dir = d->o.state_dir, .run_dir = d->o.run_dir };
	int r = make_dirs(&d->o, err);
	if (r == 0)
		r = store_open(d->o.state_dir, &d->store, err);
	if (r == 0)
		r = runtime_detect(&ro, &d->runtime, err);
	if (r == 0)
		r = netns_setup(d->o.run_dir, err);
	if (r == 0)
		r = net_new(d->loop, d->o.name, &d->net, err);
	if (r == 0)
		r = jobs_new(d->loop, d->o.state_dir, image_refs, d, &d->jobs, err);
	if (r == 0)
		r = state_load(d, err);
	return r;
}

static int recover(Daemon *d, Err *err)
{
	for (size_t i = 0; i < d->n_containers; i++)
		ctr_adopt(d->containers[i]);
	sweep(d);
	sweep_dirs(d, "containers", container_known);
	sweep_dirs(d, "volumes", volume_known);
	int r = network_start(d, err);
	if (r < 0)
		return r;
	image_sweep(d);
	for (size_t i = 0; i < d->n_containers; i++) {
		Container *c = d->containers[i];
		StackState *s = daemon_stack(d, c->stack);
		if (s->down) {
			c->ask_remove = true;
			c->remove_volumes = true;
		} else if (!ctr_is_running(c) && restart_after_boot(c)) {
			c->ask_start = true;
		} else if (ctr_is_running(c) && !c->wanted_running) {
			c->ask_stop = true;
		}
		s->restore = true;
	}
	stack_wake_all(d);
	return 0;
}

static int run(Daemon *d, Err *err)
{
	uv_signal_t term, intr;
	int r = open_parts(d, err);
	if (r < 0)
		return r;
	(void) uv_prepare_init(d->loop, &d->wake);
	d->wake.data = d;
	(void) uv_timer_init(d->loop, &d->write_timer);
	d->write_timer.data = d;
	d->write_due = write_due;
	(void) uv_timer_init(d->loop, &d->rotate_timer);
	d->rotate_timer.data = d;
	r = recover(d, err);
	if (r == 0)
		r = api_start(d, err);
	if (r < 0)
		return r;
	(void) uv_prepare_start(&d->wake, before_sleep);
	(void) uv_timer_start(&d->rotate_timer, rotate_due, ROTATE_MSEC, ROTATE_MSEC);
	(void) uv_signal_init(d->loop, &term);
	(void) uv_signal_init(d->loop, &intr);
	term.data = intr.data = d;
	(void) uv_signal_start(&term, terminate, SIGTERM);
	(void) uv_signal_start(&intr, terminate, SIGINT);
	log_info("%s %s is ready: runtime %s, %zu containers, socket %s/stead.sock", d->o.name, STEAD_VERSION, d->runtime->name,
		d->n_containers, d->o.run_dir);
	notify_ready();
	(void) uv_run(d->loop, UV_RUN_DEFAULT);
	uv_close((uv_handle_t *) &term, NULL);
	uv_close((uv_handle_t *) &intr, NULL);
	r = state_write_dirty(d, err);
	return r;
}

static void close_parts(Daemon *d)
{
	if (d->http)
		http_server_free(d->http);
	while (d->n_stacks)
		stack_forget(d->stacks[0]);
	while (d->n_containers)
		ctr_drop(d->containers[0]);
	if (d->wake.data) {
		uv_close((uv_handle_t *) &d->wake, NULL);
		uv_close((uv_handle_t *) &d->write_timer, NULL);
		uv_close((uv_handle_t *) &d->rotate_timer, NULL);
	}
	if (d->jobs)
		jobs_free(d->jobs);
	if (d->nft)
		nft_free(d->nft);
	if (d->names)
		names_free(d->names);
	if (d->net)
		net_free(d->net);
	events_free(d->events);
	(void) uv_run(d->loop, UV_RUN_DEFAULT);
	for (size_t i = 0; i < d->n_nets; i++)
		state_network_free(d->nets[i]);
	for (size_t i = 0; i < d->n_vols; i++)
		state_volume_free(d->vols[i]);
	for (size_t i = 0; i < d->n_images; i++)
		image_free(d->images[i]);
	free(d->nets);
	free(d->vols);
	free(d->images);
	free(d->containers);
	free(d->stacks);
	strv_free(d->forward_guard);
	runtime_free(d->runtime);
	store_close(d->store);
	(void) uv_loop_close(d->loop);
}

int daemon_main(int argc, char **argv)
{
	AUTO_ERR err = ERR_INIT;
	Daemon d = { .started_at = time_real() };
	uv_loop_t loop;
	int r = parse_options(argc, argv, &d.o);
	if (r != 0)
		return r < 0 ? 2 : 0;
	log_init(d.o.debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	if (geteuid() != 0) {
		fprintf(stderr, "stead daemon: it must run as root (sudo stead daemon)\n");
		return 1;
	}
	(void) signal(SIGPIPE, SIG_IGN);
	(void) umask(0022);
	/* Children reset it (io/child.h, conmon). Not every machine allows it. */
	(void) file_write(AT_FDCWD, "/proc/self/oom_score_adj", OOM_SCORE, strlen(OOM_SCORE), 0);
	if (uv_loop_init(&loop) < 0)
		return 1;
	d.loop = &loop;
	d.events = events_new();
	r = run(&d, &err);
	if (r < 0)
		log_error("%s", err_text(&err));
	close_parts(&d);
	return r < 0 ? 1 : 0;
}
