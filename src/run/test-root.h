// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * For tests that run real containers: a daemon's directories of their own, a layer whose programs are the host's (bound
 * read-only), and the loop run until something has happened. Returns 77 where root or a runtime is missing.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "run/bundle.h"
#include "run/cgroup.h"
#include "run/container.h"
#include "run/logs.h"
#include "run/runtime.h"

#define TEST_LAYER "0123456789abcdef0123456789abcdef"

typedef struct World {
	char dir[64];
	char *state, *run, *name;
	Runtime *rt;
	uv_loop_t loop;
} World;

typedef struct Box {
	World *w;
	ContainerPaths paths;
	Service svc;
	Image img;
	bool created, ended;
	int result;
	pid_t pid;
	ContainerState end;
	ContainerWatch *watch;
	char **warnings;
} Box;

static World world;

static int world_make(void)
{
	World *w = &world;
	(void) snprintf(w->dir, sizeof(w->dir), "/tmp/stead-test-XXXXXX");
	if (geteuid() != 0) {
		fprintf(stderr, "skipped: needs root\n");
		return 77;
	}
	if (!mkdtemp(w->dir))
		return 1;
	w->state = xasprintf("%s/state", w->dir);
	w->run = xasprintf("%s/run", w->dir);
	w->name = xasprintf("test-%s", w->dir + strlen(w->dir) - 6);
	AUTO_FREE char *layer = xasprintf("%s/layers/" TEST_LAYER, w->state);
	static const char *const dirs[] = { "usr", "etc", "tmp", "proc", "sys", "dev" };
	static const char *const links[] = { "bin", "lib", "lib64", "sbin" };
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		AUTO_FREE char *d = xasprintf("%s/%s", layer, dirs[i]);
		assert_int_equal(dir_make(d, 0755), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		AUTO_FREE char *to = xasprintf("usr/%s", links[i]);
		AUTO_FREE char *l = xasprintf("%s/%s", layer, links[i]);
		assert_int_equal(symlink(to, l), 0);
	}
	static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001:w:/home/web:/bin/sh\n";
	static const char group[] = "root:x:0:\nweb:x:1001:\nmedia:x:1002:web\n";
	AUTO_FREE char *pw = xasprintf("%s/etc/passwd", layer);
	AUTO_FREE char *gr = xasprintf("%s/etc/group", layer);
	assert_int_equal(file_write(AT_FDCWD, pw, passwd, strlen(passwd), 0644), 0);
	assert_int_equal(file_write(AT_FDCWD, gr, group, strlen(group), 0644), 0);
	assert_int_equal(uv_loop_init(&w->loop), 0);
	AUTO_ERR err = ERR_INIT;
	RuntimeOptions o = { .wanted = getenv("STEAD_TEST_RUNTIME"), .name = w->name, .state_dir = w->state, .run_dir = w->run };
	if (runtime_detect(&o, &w->rt, &err) < 0) {
		fprintf(stderr, "skipped: %s\n", err_text(&err));
		(void) tree_remove(AT_FDCWD, w->dir);
		return 77;
	}
	return 0;
}

/* What must be gone at the end; 1 if something is left. */
static int world_check(int r, const char *what)
{
	if (r != 0)
		fprintf(stderr, "left behind: %s (%s)\n", what, r < 0 ? strerror(-r) : "");
	return r != 0;
}

static int world_remove(void)
{
	World *w = &world;
	(void) uv_run(&w->loop, UV_RUN_DEFAULT);
	int bad = world_check(uv_loop_close(&w->loop), "handles in the loop");
	container_flush();
	AUTO_STRV char **left = container_list(w->rt);
	bad += world_check((int) strv_len(left), left ? left[0] : "");
	cgroup_parent_remove(w->rt);
	runtime_free(w->rt);
	bad += world_check(tree_remove(AT_FDCWD, w->dir), w->dir);
	free(w->state);
	free(w->run);
	free(w->name);
	return bad != 0;
}

static void world_timeout(uv_timer_t *t)
{
	(void) t;
	fail_msg("nothing happened for two minutes");
}

/* Runs the loop until *flag is true. */
static void world_until(World *w, const bool *flag)
{
	uv_timer_t t;
	assert_int_equal(uv_timer_init(&w->loop, &t), 0);
	assert_int_equal(uv_timer_start(&t, world_timeout, 120000, 0), 0);
	while (!*flag)
		(void) uv_run(&w->loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *) &t, NULL);
	(void) uv_run(&w->loop, UV_RUN_NOWAIT);
}

static void box_created(void *user, int r, pid_t pid, const Err *err)
{
	Box *b = user;
	if (r < 0)
		fprintf(stderr, "%s\n", err_text(err));
	b->created = true;
	b->result = r;
	b->pid = pid;
}

static void box_ended(void *user, const ContainerState *st)
{
	Box *b = user;
	b->end = *st;
	b->ended = true;
	b->watch = NULL;
}

/* A service that runs `sh -c script`, everything else unset. */
__attribute__((unused)) static void box_init(Box *b, const char *id_start, const char *script)
{
	memset(b, 0, sizeof(*b));
	b->w = &world;
	char id[CONTAINER_ID_LEN + 1];
	hex_random(CONTAINER_ID_LEN / 2, id);
	memcpy(id, id_start, strlen(id_start));
	container_paths_init(world.rt, id, &b->paths);
	Service *s = &b->svc;
	s->name = (char *) "box";
	s->mem_limit = s->mem_reservation = s->memswap_limit = s->cpu_shares = s->shm_size = -1;
	s->init = -1;
	strv_add(&s->command, "/bin/sh");
	strv_add(&s->command, "-c");
	strv_add(&s->command, script);
	s->command_set = true;
}

/* Mounts, writes the bundle, creates; gives the result of the creation. */
static int box_create_with(Box *b, BundleSpec *spec)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_STRV char **layers = NULL;
	strv_add(&layers, TEST_LAYER);
	assert_int_equal(container_dirs_make(&b->paths, &err), 0);
	if (rootfs_mount(b->w->rt, &b->paths, layers, &err) < 0)
		fail_msg("%s", err_text(&err));
	BundleMount usr = { .type = MOUNT_BIND, .source = "/usr", .target = "/usr", .read_only = true, .tmpfs_size = -1, .tmpfs_mode = -1 };
	spec->runtime = b->w->rt;
	spec->paths = &b->paths;
	spec->service = &b->svc;
	spec->image = &b->img;
	if (!spec->mounts) {
		spec->mounts = &usr;
		spec->n_mounts = 1;
	}
	if (bundle_write(spec, &b->warnings, &err) < 0)
		fail_msg("%s", err_text(&err));
	assert_int_equal(logs_prepare(&b->paths, &err), 0);
	ContainerOptions co = { .paths = &b->paths, .name = "box", .tty = b->svc.tty, .stdin_open = b->svc.stdin_open, .log = true };
	b->created = false;
	if (container_create(&b->w->loop, b->w->rt, &co, box_created, b, &err) < 0)
		fail_msg("%s", err_text(&err));
	world_until(b->w, &b->created);
	return b->result;
}

__attribute__((unused)) static int box_create(Box *b)
{
	BundleSpec spec = { .hostname = "box" };
	return box_create_with(b, &spec);
}

__attribute__((unused)) static void box_start(Box *b)
{
	AUTO_ERR err = ERR_INIT;
	b->ended = false;
	assert_int_equal(container_watch(&b->w->loop, b->w->rt, b->paths.id, box_ended, b, &b->watch, &err), 0);
	if (container_start(b->w->rt, &b->paths, &err) < 0)
		fail_msg("%s", err_text(&err));
}

static ContainerStatus box_status(Box *b)
{
	ContainerState st;
	assert_int_equal(container_probe(b->w->rt, &b->paths, &st, NULL), 0);
	return st.status;
}

__attribute__((unused)) static void box_remove(Box *b)
{
	AUTO_ERR err = ERR_INIT;
	container_watch_cancel(b->watch);
	b->watch = NULL;
	int r = 1;
	for (int i = 0; r == 1 && i < 60000; i++) {
		r = container_delete(b->w->rt, &b->paths, &err);
		if (r == 1)
			(void) usleep(1000);
	}
	if (r != 0)
		fail_msg("delete: %d %s", r, err_text(&err));
	assert_int_equal(box_status(b), CONTAINER_ABSENT);
	if (container_bundle_remove(&b->paths, &err) < 0 || container_state_remove(&b->paths, &err) < 0)
		fail_msg("%s", err_text(&err));
	container_paths_done(&b->paths);
	strv_free(b->svc.command);
	strv_free(b->warnings);
}
