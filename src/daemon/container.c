// SPDX-License-Identifier: Apache-2.0
/*
 * A start has two halves. The first is synchronous and made of single system calls (namespace, veths,
 * overlay, bundle), with at most a pause while volumes are filled from the image; the second begins with
 * conmon, which has the runtime create the container, and ends when that has been reported. Whatever goes
 * wrong on the way, ctr_start_failed takes back all of it, so there is one way out.
 *
 * After an end, the runtime's traces are removed first (`cleaning`); only then may the container start again
 * or go. Its network namespace stays if it will be started again by its policy.
 */
#include "daemon/container.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/deploy.h"
#include "daemon/events.h"
#include "daemon/files.h"
#include "daemon/health.h"
#include "daemon/json.h"
#include "daemon/network.h"
#include "daemon/operation.h"
#include "daemon/restart.h"
#include "daemon/stack.h"
#include "daemon/state.h"
#include "daemon/volume.h"
#include "image/job.h"
#include "run/bundle.h"
#include "run/cgroup.h"
#include "run/container.h"
#include "run/logs.h"

#define GRACE_DEFAULT (10 * NSEC_PER_SEC)
#define KILL_RETRY_MSEC 500 /* no descriptor was left to do it with */
#define CLEAN_RETRY_MSEC 5
#define REMOVE_RETRY_MSEC 1000
#define START_FAILED_CODE 128

/* A creation under way. It comes to its end also when the daemon, which is being closed, has forgotten the container. */
struct Start {
	Container *c;
};

struct Waiter {
	Container *c;
	WaitFor what;
	void (*fn)(void *user, Container *c, int exit_code);
	void *user;
	Waiter *next;
};

/* ── timers ───────────────────────────────────────────────────────── */

static void timer_closed(uv_handle_t *t)
{
	free(t);
}

void ctr_timer_stop(uv_timer_t **t)
{
	if (!*t)
		return;
	uv_close((uv_handle_t *) *t, timer_closed);
	*t = NULL;
}

void ctr_timer_start(Container *c, uv_timer_t **t, uv_timer_cb fn, uint64_t msec)
{
	if (!*t) {
		*t = xcalloc(1, sizeof(**t));
		(void) uv_timer_init(c->d->loop, *t);
		(*t)->data = c;
	}
	/* The loop's own clock stands still while it works: without this a delay would be shorter by that much. */
	uv_update_time(c->d->loop);
	(void) uv_timer_start(*t, fn, msec, 0);
}

/* ── states and waiters ───────────────────────────────────────────── */

bool ctr_is_running(const Container *c)
{
	return c->phase == PHASE_RUNNING || c->phase == PHASE_STOPPING;
}

bool ctr_is_busy(const Container *c)
{
	return c->phase == PHASE_STARTING || c->phase == PHASE_STOPPING || c->phase == PHASE_REMOVING || c->cleaning;
}

const char *ctr_status(const Container *c)
{
	static const char *const names[] = {
		[PHASE_CREATED] = "created",
		[PHASE_STARTING] = "created",
		[PHASE_RUNNING] = "running",
		[PHASE_STOPPING] = "running",
		[PHASE_EXITED] = "exited",
		[PHASE_REMOVING] = "removing",
	};
	if (c->restarting)
		return "restarting";
	if (c->paused && ctr_is_running(c))
		return "paused";
	if (c->phase == PHASE_STARTING && c->finished_at)
		return c->restart_tries ? "restarting" : "exited";
	return names[c->phase];
}

static bool wait_holds(const Waiter *w)
{
	const Container *c = w->c;
	switch (w->what) {
	case WAIT_NOT_RUNNING:
		return (c->phase == PHASE_CREATED || c->phase == PHASE_EXITED) && !c->cleaning && !c->ask_start && !c->restarting;
	case WAIT_RUNNING:
		return c->phase == PHASE_RUNNING || (c->phase == PHASE_EXITED && !c->ask_start && !c->cleaning && !c->restarting);
	case WAIT_NEXT_EXIT:
	case WAIT_REMOVED:
		return false; /* told by an event, not by a state */
	}
	return false;
}

/* Calls and frees the waiters for which `holds` is true. A callback may add or cancel waiters. */
static void tell_waiters(Container *c, bool (*holds)(const Waiter *), Container *arg)
{
	for (bool again = true; again;) {
		again = false;
		for (Waiter **p = &c->waiters; *p; p = &(*p)->next) {
			Waiter *w = *p;
			if (!holds(w))
				continue;
			*p = w->next;
			w->fn(w->user, arg, c->exit_code);
			free(w);
			again = true;
			break;
		}
	}
}

static bool waits_for_exit(const Waiter *w)
{
	return w->what == WAIT_NEXT_EXIT;
}

static bool always(const Waiter *w)
{
	return true;
}

Waiter *ctr_wait(Container *c, WaitFor what, void (*fn)(void *user, Container *c, int exit_code), void *user)
{
	Waiter w = { .c = c, .what = what, .fn = fn, .user = user };
	if (wait_holds(&w)) {
		fn(user, c, c->exit_code);
		return NULL;
	}
	Waiter *kept = xmemdup(&w, sizeof(w));
	kept->next = c->waiters;
	c->waiters = kept;
	return kept;
}

void ctr_wait_cancel(Waiter *w)
{
	if (!w)
		return;
	for (Waiter **p = &w->c->waiters; *p; p = &(*p)->next)
		if (*p == w) {
			*p = w->next;
			free(w);
			return;
		}
}

void ctr_changed(Container *c)
{
	c->dirty = true;
	if (!uv_is_active((uv_handle_t *) &c->d->write_timer))
		(void) uv_timer_start(&c->d->write_timer, c->d->write_due, WRITE_DELAY_MSEC, 0);
	StackState *s = daemon_stack(c->d, c->stack);
	if (s)
		stack_wake(s);
	tell_waiters(c, wait_holds, c);
}

/* ── making ───────────────────────────────────────────────────────── */

static void set_labels(Container *c, const Stack *model)
{
	AUTO_FREE char *number = xasprintf("%d", c->number);
	c->labels = strv_dup(c->svc.labels);
	strv_setenv(&c->labels, "com.docker.compose.project", model->name);
	strv_setenv(&c->labels, "com.docker.compose.service", c->svc.name);
	strv_setenv(&c->labels, "com.docker.compose.container-number", number);
	strv_setenv(&c->labels, "com.docker.compose.oneoff", c->oneoff ? "True" : "False");
	strv_setenv(&c->labels, "com.docker.compose.config-hash", c->hash);
	strv_setenv(&c->labels, "com.docker.compose.image", c->image_id);
	if (model->working_dir)
		strv_setenv(&c->labels, "com.docker.compose.project.working_dir", model->working_dir);
	AUTO_BUF files = BUF_INIT;
	for (char **f = model->files; f && *f; f++)
		buf_printf(&files, "%s%s", files.len ? "," : "", *f);
	strv_setenv(&c->labels, "com.docker.compose.project.config_files", buf_cstr(&files));
}

void ctr_init(Container *c)
{
	const Image *img = daemon_image_by_id(c->d, c->image_id);
	c->paths = xcalloc(1, sizeof(*c->paths));
	container_paths_init(c->d->runtime, c->id, c->paths);
	healthcheck_resolve(&c->svc.healthcheck, img ? &img->config.healthcheck : NULL, &c->check);
}

char *ctr_name(const char *stack, const Service *svc, int number)
{
	return svc->container_name ? xstrdup(svc->container_name) : xasprintf("%s-%s-%d", stack, svc->name, number);
}

int ctr_make(StackState *s, const CtrSpec *spec, Container **ret, Err *err)
{
	Daemon *d = s->d;
	const Service *svc = spec->svc;
	Image *img = spec->image_id ? daemon_image_by_id(d, spec->image_id) : NULL;
	if (spec->image_id && !img)
		return err_set(err, -ENOENT, "image %s is not on this machine any more", spec->image_id);
	int r = img ? 0 : daemon_find_image(d, svc->image, &img, NULL, err);
	if (r < 0)
		return r;
	Container *c = xcalloc(1, sizeof(*c));
	c->d = d;
	hex_random(32, c->id);
	c->stack = xstrdup(s->name);
	c->number = spec->number;
	c->role = spec->role;
	c->release = spec->release;
	c->oneoff = spec->oneoff;
	c->name = spec->name ? xstrdup(spec->name) : ctr_name(s->name, svc, spec->number);
	c->image_id = xstrdup(img->id);
	c->image_ref = xstrdup(svc->image);
	c->created = time_real();
	c->ask_timeout = -1;
	service_hash(spec->model, svc, c->hash);
	json_t *copy = service_to_json(svc);
	r = service_from_json(copy, svc->name, &c->svc, err);
	json_decref(copy);
	if (r == 0) {
		set_labels(c, spec->model);
		ctr_init(c);
		r = network_endpoints(c, spec->model, err);
	}
	if (r == 0)
		r = volume_binds(c, spec->model, spec->old, err);
	*array_append(d->containers, d->n_containers) = c;
	if (r < 0) {
		ctr_drop(c);
		return r;
	}
	events_container(c, "create");
	*ret = c;
	return 0;
}

int ctr_new(StackState *s, const char *service, int number, Container **ret, Err *err)
{
	CtrSpec spec = {
		.model = s->model,
		.svc = s->model ? stack_service(s->model, service) : NULL,
		.number = number,
		.release = s->op ? s->op->release : 0,
		.old = s->op && s->op->renew_volumes ? NULL : s->d->replaced,
	};
	if (!spec.svc)
		return err_set(err, -ENOENT, "the stack has no service '%s' any more", service);
	return ctr_make(s, &spec, ret, err);
}

Container *ctr_partner(const Container *c, const char *service)
{
	static const CtrRole second[] = {
		[ROLE_CURRENT] = ROLE_RETIRED, /* not replaced itself: its partner's successor was switched to, and it goes next */
		[ROLE_CANDIDATE] = ROLE_CURRENT,
		[ROLE_RETIRED] = ROLE_CURRENT,
	};
	Container *other_generation = NULL;
	for (size_t i = 0; i < c->d->n_containers; i++) {
		Container *other = c->d->containers[i];
		if (!str_eq(other->stack, c->stack) || !str_eq(other->svc.name, service) || other->ask_replace || other->oneoff)
			continue;
		if (other->role == c->role)
			return other;
		if (other->role == second[c->role] && !other_generation)
			other_generation = other;
	}
	return other_generation;
}

void ctr_ports_free(Container *c)
{
	for (size_t i = 0; i < c->n_ports; i++) {
		if (c->ports[i].hold >= 0)
			(void) close(c->ports[i].hold);
		free(c->ports[i].host_ip);
		free(c->ports[i].protocol);
	}
	free_and_null(&c->ports);
	c->n_ports = 0;
}

static void ctr_free(Container *c)
{
	health_stop(c);
	container_watch_cancel(c->watch);
	if (c->start)
		c->start->c = NULL;
	ctr_timer_stop(&c->restart_timer);
	ctr_timer_stop(&c->stop_timer);
	ctr_timer_stop(&c->clean_timer);
	ctr_timer_stop(&c->remove_timer);
	for (size_t i = 0; i < c->n_endpoints; i++) {
		strv_free(c->endpoints[i].aliases);
		free(c->endpoints[i].want_address);
		free(c->endpoints[i].want_mac);
	}
	for (size_t i = 0; i < c->n_binds; i++) {
		free(c->binds[i].source);
		free(c->binds[i].target);
	}
	ctr_ports_free(c);
	if (c->paths)
		container_paths_done(c->paths);
	free(c->paths);
	free(c->endpoints);
	free(c->binds);
	free(c->netns);
	healthcheck_done(&c->check);
	service_done(&c->svc);
	strv_free(c->labels);
	free(c->name);
	free(c->stack);
	free(c->image_id);
	free(c->image_ref);
	free(c->error);
	free(c);
}

void ctr_drop(Container *c)
{
	Daemon *d = c->d;
	for (size_t i = 0; i < d->n_containers; i++)
		if (d->containers[i] == c) {
			memmove(&d->containers[i], &d->containers[i + 1], (d->n_containers - i - 1) * sizeof(*d->containers));
			d->n_containers--;
			break;
		}
	tell_waiters(c, always, NULL);
	ctr_free(c);
}

/* ── after an end ─────────────────────────────────────────────────── */

static void clean_again(uv_timer_t *t);

/* Removes what runtime and conmon have left; then the container is at rest. */
static void clean(Container *c)
{
	AUTO_ERR err = ERR_INIT;
	int r = container_delete(c->d->runtime, c->paths, &err);
	if (r > 0) {
		ctr_timer_start(c, &c->clean_timer, clean_again, CLEAN_RETRY_MSEC);
		return;
	}
	ctr_timer_stop(&c->clean_timer);
	if (r < 0 || (r = rootfs_unmount(c->paths, &err)) < 0)
		log_warning("%s: %s", c->name, err_text(&err));
	network_unpublish(c);
	c->cleaning = false;
	if (!restart_is_due(c))
		network_rest(c);
	else
		restart_schedule(c);
	ctr_changed(c);
}

static void clean_again(uv_timer_t *t)
{
	clean(t->data);
}

static void set_exited(Container *c, int code)
{
	health_stop(c);
	c->health_state = HEALTH_NONE;
	ctr_timer_stop(&c->stop_timer);
	c->phase = PHASE_EXITED;
	c->pid = 0;
	c->paused = false;
	c->exit_code = code;
	c->finished_at = time_real();
	c->watch = NULL;
	c->cleaning = true;
}

/* A deploy that fails reports it; the cgroup goes with the rest. */
static void note_memory_peak(Container *c)
{
	CgroupStats stats;
	if (c->role == ROLE_CANDIDATE && cgroup_stats(c->d->runtime, c->paths->cgroup, &stats) == 0)
		c->memory_peak = (int64_t) stats.memory_max_usage;
}

/* How it ended stands in conmon's files only, and cleaning removes them: a crash in between must not forget it. */
static void write_end(Container *c)
{
	AUTO_ERR err = ERR_INIT;
	c->dirty = true;
	if (!c->ask_remove && state_write_dirty(c->d, &err) < 0)
		log_warning("%s: its end is not written yet: %s", c->name, err_text(&err));
}

static void ended(void *user, const ContainerState *st)
{
	Container *c = user;
	bool asked = c->phase == PHASE_STOPPING || c->ask_stop || c->ask_remove;
	bool running = ctr_is_running(c);
	char code[12];
	set_exited(c, st->exit_code);
	c->oom_killed = st->oom_killed;
	if (st->finished_at)
		c->finished_at = st->finished_at;
	note_memory_peak(c);
	if (!running) { /* the end of a start that failed: ctr_start_failed has the rest */
		clean(c);
		return;
	}
	(void) snprintf(code, sizeof(code), "%d", c->exit_code);
	if (c->oom_killed) {
		events_container(c, "oom");
		log_warning("%s ran out of memory and was killed by the kernel", c->name);
	}
	events_container_with(c, "die", "exitCode", code);
	if (asked)
		events_container(c, "stop");
	else if (c->ask_kill)
		c->wanted_running = false;
	else if (c->role == ROLE_CURRENT)
		restart_decide(c); /* a candidate that ends has failed */
	c->ask_kill = false;
	if (asked || !c->ask_remove)
		operation_report(daemon_stack(c->d, c->stack), "container", c->name, c->svc.name, asked ? "stopped" : "exited");
	c->ask_stop = false;
	write_end(c);
	tell_waiters(c, waits_for_exit, c);
	clean(c);
}

/* ── start ────────────────────────────────────────────────────────── */

static void ctr_start_failed(Container *c, int code, const Err *err)
{
	StackState *s = daemon_stack(c->d, c->stack);
	container_watch_cancel(c->watch);
	set_exited(c, code);
	str_set(&c->error, err_text(err));
	c->ask_start = false;
	log_error("%s did not start: %s", c->name, c->error);
	if (s->op && (!s->op->deploy || deploy_concerns(s, c)))
		operation_fail(s, c, "service '%s': container %s did not start: %s", c->svc.name, c->name, c->error);
	else if (c->role == ROLE_CURRENT)
		restart_decide(c);
	clean(c);
}

static void running(Container *c)
{
	c->phase = PHASE_RUNNING;
	c->ask_start = c->ask_start && c->ask_stop; /* asked for once more meanwhile: this is it, unless it was a restart */
	c->started_at = time_real();
	c->started_mono = time_mono();
	events_container(c, "start");
	operation_report(daemon_stack(c->d, c->stack), "container", c->name, c->svc.name, "started");
	health_start(c, false);
	ctr_changed(c);
}

/* As docker: 127 not found, 126 not executable; the runtime says so in words only. */
static int start_failure_code(const char *text)
{
	if (strstr(text, "no such file") || strstr(text, "No such file") || strstr(text, "not found"))
		return 127;
	if (strstr(text, "ermission denied") || strstr(text, "xec format error") || strstr(text, "is a directory"))
		return 126;
	return START_FAILED_CODE;
}

int ctr_watch(Container *c, Err *err)
{
	return container_watch(c->d->loop, c->d->runtime, c->id, ended, c, &c->watch, err);
}

static void created(void *user, int r, pid_t pid, const Err *err)
{
	struct Start *start = user;
	Container *c = start->c;
	AUTO_ERR e = ERR_INIT;
	free(start);
	if (!c)
		return;
	c->start = NULL;
	if (r < 0) {
		ctr_start_failed(c, start_failure_code(err_text(err)), err);
		return;
	}
	c->pid = pid;
	r = ctr_watch(c, &e);
	if (r == 0)
		r = container_start(c->d->runtime, c->paths, &e);
	if (r < 0)
		ctr_start_failed(c, start_failure_code(err_text(&e)), &e);
	else
		running(c);
}

static int64_t log_max_size(const Container *c)
{
	const char *s = strv_env(c->svc.logging_options, "max-size");
	int64_t n;
	return s && parse_bytes(s, &n) == 0 && n > 0 ? n : LIMIT_LOG_SIZE_DEFAULT;
}

static int log_max_file(const Container *c)
{
	const char *s = strv_env(c->svc.logging_options, "max-file");
	uint32_t n;
	return s && parse_u32_max(s, 1000, &n) == 0 && n > 0 ? (int) n : LIMIT_LOG_FILES_DEFAULT;
}

void ctr_rotate_log(Container *c)
{
	if (ctr_is_running(c) && !str_eq(c->svc.logging_driver, "none"))
		(void) logs_rotate(c->paths, log_max_size(c), log_max_file(c));
}

/* The volumes are filled: everything that is left before conmon. */
static int start_rest(Container *c, Err *err)
{
	const Image *img = daemon_image_by_id(c->d, c->image_id);
	AUTO_STRV char **layers = img ? image_layer_names(img) : NULL;
	AUTO_STRV char **warnings = NULL;
	ContainerOptions o = {
		.paths = c->paths,
		.name = c->name,
		.tty = c->svc.tty,
		.stdin_open = c->svc.stdin_open,
		.log = !str_eq(c->svc.logging_driver, "none"),
		.log_max_size = log_max_size(c),
		.log_max_file = log_max_file(c),
	};
	int r = network_attach(c, err);
	if (r == 0)
		r = rootfs_mount(c->d->runtime, c->paths, layers, err);
	if (r == 0)
		r = files_write_bundle(c, &warnings, err);
	for (char **w = warnings; w && *w; w++)
		operation_warn(daemon_stack(c->d, c->stack), "service '%s': %s", c->svc.name, *w);
	if (r == 0)
		r = network_publish(c, err);
	if (r == 0 && o.log)
		r = logs_prepare(c->paths, err);
	if (r < 0)
		return r;
	c->start = xcalloc(1, sizeof(*c->start));
	c->start->c = c;
	r = container_create(c->d->loop, c->d->runtime, &o, created, c->start, err);
	if (r < 0)
		free_and_null(&c->start);
	return r;
}

static void volumes_ready(Container *c, const Err *err)
{
	AUTO_ERR e = ERR_INIT;
	c->copying = false;
	if (err)
		ctr_start_failed(c, START_FAILED_CODE, err);
	else if (start_rest(c, &e) < 0)
		ctr_start_failed(c, START_FAILED_CODE, &e);
}

void ctr_start(Container *c)
{
	AUTO_ERR err = ERR_INIT;
	StackState *s = daemon_stack(c->d, c->stack);
	if (!c->ask_start || ctr_is_busy(c))
		return;
	ctr_timer_stop(&c->restart_timer);
	c->restarting = false;
	c->ask_start = false;
	c->phase = PHASE_STARTING;
	c->oom_killed = c->ask_kill = false;
	free_and_null(&c->error);
	operation_report(s, "container", c->name, c->svc.name, "starting");
	int r = container_dirs_make(c->paths, &err);
	if (r == 0)
		r = volume_make_sources(c, &err);
	if (r == 0)
		r = volume_copy_up(c, volumes_ready, &err);
	c->copying = r == 0;
	if (r > 0)
		r = start_rest(c, &err);
	if (r < 0)
		ctr_start_failed(c, START_FAILED_CODE, &err);
}

/* ── stop ─────────────────────────────────────────────────────────── */

static void grace_over(uv_timer_t *t)
{
	Container *c = t->data;
	if (c->phase != PHASE_STOPPING)
		return;
	int r = container_kill(c->d->runtime, c->paths, SIGKILL);
	if (r < 0 && r != -ESRCH)
		ctr_timer_start(c, &c->stop_timer, grace_over, KILL_RETRY_MSEC);
	else
		events_container_with(c, "kill", "signal", "9");
}

void ctr_stop(Container *c)
{
	StackState *s = daemon_stack(c->d, c->stack);
	AUTO_ERR err = ERR_INIT;
	char number[12];
	if (c->restarting) {
		restart_cancel(c);
		c->ask_stop = false;
		network_rest(c);
		operation_report(s, "container", c->name, c->svc.name, "stopped");
		ctr_changed(c);
		return;
	}
	if (c->phase != PHASE_RUNNING) {
		c->ask_stop = false;
		ctr_changed(c);
		return;
	}
	const Image *img = daemon_image_by_id(c->d, c->image_id);
	int sig = img ? process_stop_signal(&c->svc, img) : SIGTERM;
	int64_t grace = c->ask_timeout >= 0 ? c->ask_timeout * NSEC_PER_SEC : c->svc.stop_grace_period >= 0 ? c->svc.stop_grace_period : GRACE_DEFAULT;
	c->phase = PHASE_STOPPING;
	operation_report(s, "container", c->name, c->svc.name, "stopping");
	(void) snprintf(number, sizeof(number), "%d", sig);
	events_container_with(c, "kill", "signal", number);
	if (c->paused && container_pause(c->d->runtime, c->paths, false, &err) < 0)
		log_warning("%s: %s", c->name, err_text(&err));
	(void) container_kill(c->d->runtime, c->paths, grace ? sig : SIGKILL);
	ctr_timer_start(c, &c->stop_timer, grace_over, time_timer_msec(grace));
}

int ctr_kill(Container *c, int sig, Err *err)
{
	char number[12];
	if (!ctr_is_running(c))
		return err_set(err, -EBUSY, "container %s is not running", c->name);
	const Image *img = daemon_image_by_id(c->d, c->image_id);
	int r = container_kill(c->d->runtime, c->paths, sig);
	if (r < 0 && r != -ESRCH)
		return err_errno(err, r, "container %s: signal %d", c->name, sig);
	if (sig == SIGKILL)
		c->wanted_running = false;
	/* It may live on with its stop signal: then it is still wanted. */
	c->ask_kill = sig == SIGKILL || sig == (img ? process_stop_signal(&c->svc, img) : SIGTERM);
	(void) snprintf(number, sizeof(number), "%d", sig);
	events_container_with(c, "kill", "signal", number);
	ctr_changed(c);
	return 0;
}

int ctr_pause(Container *c, bool pause, Err *err)
{
	if (!ctr_is_running(c))
		return err_set(err, -EBUSY, "container %s is not running", c->name);
	if (c->paused == pause)
		return err_set(err, -EBUSY, "container %s is %s", c->name, pause ? "paused already" : "not paused");
	int r = container_pause(c->d->runtime, c->paths, pause, err);
	if (r < 0)
		return r;
	c->paused = pause;
	events_container(c, pause ? "pause" : "unpause");
	ctr_changed(c);
	return 0;
}

/* ── removal ──────────────────────────────────────────────────────── */

void ctr_remove(Container *c)
{
	if (ctr_is_busy(c))
		return;
	if (c->restarting)
		restart_cancel(c);
	c->phase = PHASE_REMOVING;
	c->d->removals = true;
	operation_report(daemon_stack(c->d, c->stack), "container", c->name, c->svc.name, "removing");
	ctr_changed(c);
}

static int remove_now(Container *c, Err *err)
{
	Daemon *d = c->d;
	StackState *s = daemon_stack(d, c->stack);
	network_release(c);
	network_free_addresses(c);
	int r = container_bundle_remove(c->paths, err);
	/* The row goes first: a directory without a row is swept at the next start. */
	if (r == 0)
		r = state_delete_container(c, err);
	if (r == 0)
		r = job_remove_tree(d->jobs, c->paths->state, err);
	if (r < 0)
		return r;
	events_container(c, "destroy");
	operation_report(s, "container", c->name, c->svc.name, "removed");
	if (c->ask_replace) {
		for (size_t i = 0; i < c->n_endpoints; i++)
			c->endpoints[i].address[0] = '\0'; /* free for the new one, which may have asked for it */
		d->replaced = c; /* its anonymous volumes are carried over */
		for (size_t i = 0; i < s->n_missing; i++)
			if (str_eq(s->missing[i].service, c->svc.name) && s->missing[i].number == c->number) {
				stack_fill_slot(s, i);
				break;
			}
		d->replaced = NULL;
	}
	if (c->remove_volumes)
		volume_remove_anonymous(c);
	ctr_drop(c);
	return 0;
}

static void remove_again(uv_timer_t *t)
{
	Container *c = t->data;
	ctr_timer_stop(&c->remove_timer);
	stack_wake(daemon_stack(c->d, c->stack));
}

/* A deploy cannot end with it: it tries again, when the disk has room again, say. Any other operation fails. */
static void stays(Container *c, const Err *err)
{
	StackState *s = daemon_stack(c->d, c->stack);
	bool again = s->op && s->op->deploy;
	if (again)
		operation_warn(s, "container %s could not be removed, which is tried again: %s", c->name, err_text(err));
	operation_fail(s, NULL, "container %s could not be removed: %s", c->name, err_text(err));
	c->phase = c->finished_at ? PHASE_EXITED : PHASE_CREATED;
	c->ask_remove = again;
	c->ask_replace = false;
	c->fresh = false; /* nor is it tried again by what undoes an operation */
	if (again)
		ctr_timer_start(c, &c->remove_timer, remove_again, REMOVE_RETRY_MSEC);
	stack_drop_missing(s, c->svc.name, c->number);
	ctr_changed(c);
}

void ctr_run_removals(Daemon *d)
{
	if (!d->removals)
		return;
	d->removals = false;
	AUTO_ERR err = ERR_INIT;
	if (state_write_dirty(d, &err) < 0 || state_begin(d, &err) < 0) {
		for (size_t i = 0; i < d->n_containers; i++)
			if (d->containers[i]->phase == PHASE_REMOVING)
				stays(d->containers[i], &err);
		return;
	}
	for (size_t i = d->n_containers; i-- > 0;) {
		if (i >= d->n_containers || d->containers[i]->phase != PHASE_REMOVING)
			continue;
		Container *c = d->containers[i];
		StackState *s = daemon_stack(d, c->stack);
		AUTO_ERR one = ERR_INIT;
		if (remove_now(c, &one) < 0)
			stays(c, &one);
		stack_wake(s);
	}
	if (state_commit(d, &err) < 0)
		log_error("%s", err_text(&err));
}

json_t *ctr_last_lines(Container *c, size_t n)
{
	AUTO_STRV char **lines = logs_tail_lines(c->paths, n);
	return json_strv(lines);
}
