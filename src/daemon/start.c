// SPDX-License-Identifier: Apache-2.0
/*
 * Starting is always recovering: the store says what was wanted, the kernel and conmon's files say
 * what is. Containers that run are adopted as they are; those that should run and do not are asked to
 * start, in the order of their dependencies. Stopping leaves everything running,
 * unless the machine stops, too.
 */
#include "daemon/start.h"

#include <errno.h>
#include <fcntl.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/build.h"
#include "daemon/container.h"
#include "daemon/deploy.h"
#include "daemon/edge.h"
#include "daemon/events.h"
#include "daemon/image.h"
#include "daemon/network.h"
#include "daemon/notify.h"
#include "daemon/restart.h"
#include "daemon/stack.h"
#include "daemon/state.h"
#include "image/job.h"
#include "net/names.h"
#include "net/netns.h"
#include "net/network.h"
#include "net/nft.h"
#include "net/resolv.h"
#include "run/cgroup.h"
#include "run/container.h"
#include "run/runtime.h"
#include "store/store.h"

#define ROTATE_MSEC 2000
#define WRITE_RETRY_MSEC 2000
#define DRAIN_MS 200

/* ── the loop ─────────────────────────────────────────────────────── */

static void write_due(uv_timer_t *t)
{
	Daemon *d = t->data;
	AUTO_ERR err = ERR_INIT;
	if (state_write_dirty(d, &err) < 0) {
		log_error("%s; trying again in %d s", err_text(&err), WRITE_RETRY_MSEC / 1000);
		(void) uv_timer_start(t, write_due, WRITE_RETRY_MSEC, 0);
	}
}

static bool all_rest(const Daemon *d)
{
	for (size_t i = 0; i < d->n_containers; i++)
		if (ctr_is_running(d->containers[i]) || ctr_is_busy(d->containers[i]))
			return false;
	return true;
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
		break;
	again:;
	} while (true);
	if (d->powering_off && all_rest(d))
		uv_stop(d->loop);
}

static void rotate_due(uv_timer_t *t)
{
	Daemon *d = t->data;
	for (size_t i = 0; i < d->n_containers; i++)
		ctr_rotate_log(d->containers[i]);
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
	builds_open(d);
	if (r == 0)
		r = state_load(d, err);
	if (r == 0)
		notify_open(d);
	return r;
}

static int recover(Daemon *d, Err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < d->n_containers; i++)
		r = ctr_adopt(d->containers[i], err);
	if (r < 0)
		return r;
	sweep(d);
	sweep_dirs(d, "containers", container_known);
	sweep_dirs(d, "volumes", volume_known);
	r = network_start(d, err);
	if (r < 0)
		return r;
	image_sweep(d, NULL, NULL);
	deploy_recover(d);
	for (size_t i = 0; i < d->n_containers; i++) {
		Container *c = d->containers[i];
		StackState *s = daemon_stack(d, c->stack);
		if (s->down) {
			c->ask_remove = true;
			c->remove_volumes = true;
		} else if (c->role != ROLE_CURRENT) {
			/* deploy_recover has seen to it. */
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

int daemon_open(Daemon *d, Err *err)
{
	d->events = events_new();
	d->started_at = time_real();
	d->write_due = write_due;
	d->wake.data = d->write_timer.data = d->rotate_timer.data = d;
	(void) uv_prepare_init(d->loop, &d->wake);
	(void) uv_timer_init(d->loop, &d->write_timer);
	(void) uv_timer_init(d->loop, &d->rotate_timer);
	int r = open_parts(d, err);
	if (r == 0)
		r = recover(d, err);
	if (r == 0)
		r = daemon_edge_open(d, err);
	if (r < 0)
		return r;
	(void) uv_prepare_start(&d->wake, before_sleep);
	(void) uv_timer_start(&d->rotate_timer, rotate_due, ROTATE_MSEC, ROTATE_MSEC);
	return 0;
}

/* Close callbacks free what they belong to. What still runs for a client (an exec, a probe) does not hold the daemon's end. */
static void drain(uv_loop_t *loop)
{
	int64_t until = time_mono() + DRAIN_MS * NSEC_PER_MSEC;
	while (uv_run(loop, UV_RUN_NOWAIT) != 0 && time_mono() < until)
		(void) usleep(1000);
}

void daemon_power_off(Daemon *d)
{
	AUTO_ERR err = ERR_INIT;
	if (state_write_dirty(d, &err) < 0)
		log_warning("%s", err_text(&err));
	d->powering_off = true;
	stack_wake_all(d);
}

void daemon_leave(Daemon *d)
{
	AUTO_ERR err = ERR_INIT;
	/* Nobody waits for a build any more; its network would be in the way below. */
	jobs_free(d->jobs);
	d->jobs = NULL;
	builds_close(d);
	if (d->n_containers)
		return;
	if (d->nft && nft_remove(d->nft, &err) < 0)
		log_warning("%s", err_text(&err));
	if (d->names)
		names_quit(d->names);
	if (d->edge)
		edge_quit(d->edge);
	(void) cgroup_remove(d->runtime, d->runtime->cgroup_parent);
	if (netns_teardown(d->o.run_dir, &err) < 0)
		log_warning("%s", err_text(&err));
}

void daemon_close(Daemon *d)
{
	while (d->n_stacks)
		stack_forget(d->stacks[0]);
	while (d->n_containers)
		ctr_drop(d->containers[0]);
	uv_close((uv_handle_t *) &d->wake, NULL);
	uv_close((uv_handle_t *) &d->write_timer, NULL);
	uv_close((uv_handle_t *) &d->rotate_timer, NULL);
	notify_close(d);
	daemon_edge_close(d);
	if (d->jobs)
		jobs_free(d->jobs);
	builds_close(d);
	if (d->nft)
		nft_free(d->nft);
	resolv_watch_free(d->resolv);
	if (d->names)
		names_free(d->names);
	if (d->net)
		net_free(d->net);
	events_free(d->events);
	drain(d->loop);
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
}
