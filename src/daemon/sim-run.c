// SPDX-License-Identifier: Apache-2.0
/*
 * run/ of the machine in memory: containers that are created, start, end and are removed, and probes of them. A
 * container is there from the first thing that is made of it until its bundle is removed. It ends at once, but who watches
 * it hears of that some time later, as from a kernel.
 */
#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/sim-private.h"
#include "io/probe.h"
#include "run/bundle.h"
#include "run/cgroup.h"
#include "run/container.h"
#include "run/exec.h"
#include "run/logs.h"
#include "run/runtime.h"

typedef struct SimContainer {
	char id[65];
	ContainerStatus status;
	pid_t pid;
	int exit_code, ends_with; /* ends_with < 0: runs on */
	bool mounted, start_fails, hook;
} SimContainer;

static SimContainer *containers;
static size_t n_containers;
static pid_t next_pid;

static SimContainer *find(const char *id)
{
	for (size_t i = 0; i < n_containers; i++)
		if (str_eq(containers[i].id, id))
			return &containers[i];
	return NULL;
}

static SimContainer *make(const char *id)
{
	SimContainer *c = find(id);
	if (c)
		return c;
	c = array_append(containers, n_containers);
	(void) snprintf(c->id, sizeof(c->id), "%s", id);
	return c;
}

void sim_run_reset(void)
{
	free_and_null(&containers);
	n_containers = 0;
}

size_t sim_running(void)
{
	size_t n = 0;
	for (size_t i = 0; i < n_containers; i++)
		n += containers[i].status == CONTAINER_RUNNING;
	return n;
}

struct ContainerWatch {
	char id[65];
	ContainerExitFn fn;
	void *user;
	uv_loop_t *loop;
	SimLater *ending;
	struct ContainerWatch *next;
};

static ContainerWatch *watches;

static void watch_unlink(ContainerWatch *w)
{
	for (ContainerWatch **p = &watches; *p; p = &(*p)->next)
		if (*p == w) {
			*p = w->next;
			return;
		}
}

static void watch_fires(void *arg)
{
	ContainerWatch *w = arg;
	SimContainer *c = find(w->id);
	ContainerState st = { .status = CONTAINER_EXITED, .exit_code = c ? c->exit_code : 137, .finished_at = time_real() };
	watch_unlink(w);
	w->fn(w->user, &st);
	free(w);
}

static void end(SimContainer *c, int code)
{
	c->status = CONTAINER_EXITED;
	c->exit_code = code;
	for (ContainerWatch *w = watches; w; w = w->next)
		if (str_eq(w->id, c->id) && !w->ending)
			w->ending = sim_later(w->loop, watch_fires, w, sim_random(2));
}

bool sim_exit(const char *id, int code)
{
	SimContainer *c = find(id);
	if (!c || c->status != CONTAINER_RUNNING)
		return false;
	end(c, code);
	return true;
}

int runtime_detect(const RuntimeOptions *o, Runtime **ret, Err *err)
{
	Runtime *rt = xcalloc(1, sizeof(*rt));
	rt->name = xstrdup("sim");
	rt->state_dir = xstrdup(o->state_dir);
	rt->run_dir = xstrdup(o->run_dir);
	*ret = rt;
	return 0;
}

int cgroup_stats(const Runtime *rt, const char *cgroup, CgroupStats *ret)
{
	return -ENOENT;
}

int cgroup_remove(const Runtime *rt, const char *cgroup)
{
	return 0;
}

void runtime_free(Runtime *rt)
{
	if (!rt)
		return;
	free(rt->name);
	free(rt->state_dir);
	free(rt->run_dir);
	free(rt);
}

void container_paths_init(const Runtime *rt, const char *id, ContainerPaths *ret)
{
	*ret = (ContainerPaths) { .id = xstrdup(id), .state = xasprintf("%s/containers/%s", rt->state_dir, id) };
}

void container_paths_done(ContainerPaths *p)
{
	free(p->id);
	free(p->state);
}

int container_dirs_make(const ContainerPaths *p, Err *err)
{
	(void) make(p->id);
	return 0;
}

int rootfs_mount(const Runtime *rt, const ContainerPaths *p, char *const *layers, Err *err)
{
	make(p->id)->mounted = true;
	return 0;
}

int shm_mount(const ContainerPaths *p, int64_t size, char **ret, Err *err)
{
	*ret = xasprintf("%s/shm", p->state);
	return 0;
}

char *shm_path(const ContainerPaths *p)
{
	return xasprintf("%s/shm", p->state);
}

int rootfs_unmount(const ContainerPaths *p, Err *err)
{
	SimContainer *c = find(p->id);
	if (c)
		c->mounted = false;
	return 0;
}

typedef struct Creation {
	char id[65];
	ContainerCreatedFn done;
	void *user;
} Creation;

static void creation_done(void *arg)
{
	Creation *k = arg;
	AUTO_ERR err = ERR_INIT;
	SimContainer *c = find(k->id);
	if (!c || c->status != CONTAINER_CREATED)
		k->done(k->user, err_set(&err, -EIO, "executable file not found"), 0, &err);
	else
		k->done(k->user, 0, c->pid, NULL);
	free(k);
}

int container_create(uv_loop_t *loop, const Runtime *rt, const ContainerOptions *o, ContainerCreatedFn done, void *user, Err *err)
{
	SimContainer *c = make(o->paths->id);
	Creation *k = xcalloc(1, sizeof(*k));
	if (c->status != CONTAINER_ABSENT)
		abort(); /* created twice: a bug of the daemon */
	(void) snprintf(k->id, sizeof(k->id), "%s", o->paths->id);
	k->done = done;
	k->user = user;
	if (!c->start_fails && (!sim.start_fails || sim_random(sim.start_fails))) {
		c->status = CONTAINER_CREATED;
		c->pid = ++next_pid;
		c->ends_with = sim.hooks_end && c->hook ? sim.ends_with : sim.exits && !sim_random(sim.exits) ? (sim_random(2) ? 0 : 3) : -1;
	}
	sim_later_anyway(loop, creation_done, k, sim_random(3));
	return 0;
}

int container_start(const Runtime *rt, const ContainerPaths *p, Err *err)
{
	SimContainer *c = find(p->id);
	if (!c || c->status != CONTAINER_CREATED)
		return err_set(err, -ENOENT, "not created");
	c->status = CONTAINER_RUNNING;
	if (c->ends_with >= 0)
		end(c, c->ends_with);
	return 0;
}

int container_probe(const Runtime *rt, const ContainerPaths *p, ContainerState *ret, Err *err)
{
	const SimContainer *c = find(p->id);
	*ret = (ContainerState) { .status = c ? c->status : CONTAINER_ABSENT };
	if (!c)
		return 0;
	ret->exit_code = c->exit_code;
	ret->pid = c->status == CONTAINER_RUNNING || c->status == CONTAINER_CREATED ? c->pid : 0;
	ret->started_at = ret->finished_at = time_real();
	return 0;
}

int container_kill(const Runtime *rt, const ContainerPaths *p, int sig)
{
	SimContainer *c = find(p->id);
	if (!c || c->status != CONTAINER_RUNNING)
		return -ESRCH;
	end(c, 128 + sig);
	return 0;
}

int container_pause(const Runtime *rt, const ContainerPaths *p, bool pause, Err *err)
{
	return 0;
}

int container_delete(const Runtime *rt, const ContainerPaths *p, Err *err)
{
	SimContainer *c = find(p->id);
	if (c && sim_random(3) == 0)
		return 1;
	if (c)
		c->status = CONTAINER_ABSENT;
	return 0;
}

int container_bundle_remove(const ContainerPaths *p, Err *err)
{
	SimContainer *c = find(p->id);
	sim.removals++;
	if (sim.removals_fail)
		return err_set(err, -ENOSPC, "the disk is full");
	if (c) {
		if (c->mounted || c->status != CONTAINER_ABSENT)
			abort(); /* removed while it is still there */
		*c = containers[--n_containers];
	}
	return 0;
}

char **container_list(const Runtime *rt)
{
	char **v = NULL;
	for (size_t i = 0; i < n_containers; i++)
		strv_add(&v, containers[i].id);
	return v;
}

int container_watch(uv_loop_t *loop, const Runtime *rt, const char *id, ContainerExitFn fn, void *user, ContainerWatch **ret, Err *err)
{
	ContainerWatch *w = xcalloc(1, sizeof(*w));
	(void) snprintf(w->id, sizeof(w->id), "%s", id);
	w->fn = fn;
	w->user = user;
	w->loop = loop;
	w->next = watches;
	watches = w;
	SimContainer *c = find(id);
	if (!c || c->status == CONTAINER_EXITED || c->status == CONTAINER_ABSENT)
		w->ending = sim_later(loop, watch_fires, w, 0);
	*ret = w;
	return 0;
}

void container_watch_cancel(ContainerWatch *w)
{
	if (!w)
		return;
	watch_unlink(w);
	sim_later_cancel(w->ending);
	free(w);
}

int bundle_check(const Runtime *rt, const Service *svc, Err *err)
{
	return 0;
}

int bundle_write(const BundleSpec *spec, char ***warnings, Err *err)
{
	SimContainer *c = make(spec->paths->id);
	c->start_fails = sim.start_fails_for && strv_has(spec->service->environment, sim.start_fails_for);
	c->hook = spec->service->command && !spec->service->healthcheck.set;
	return 0;
}

int bundle_file_write(const ContainerPaths *p, const char *name, const void *content, size_t n, uid_t uid, gid_t gid, mode_t mode,
	char **ret_path, Err *err)
{
	if (ret_path)
		*ret_path = xstrdup(name);
	return 0;
}

char **process_args(const Service *svc, const Image *img)
{
	char **v = NULL;
	strv_add(&v, "sleep");
	return v;
}

int process_stop_signal(const Service *svc, const Image *img)
{
	return 15;
}

int signal_parse(const char *s)
{
	return str_eq(s, "SIGKILL") ? 9 : str_eq(s, "SIGTERM") ? 15 : -EINVAL;
}

int logs_prepare(const ContainerPaths *p, Err *err)
{
	return 0;
}

int logs_rotate(const ContainerPaths *p, int64_t max_size, int max_file)
{
	return 0;
}

char **logs_tail_lines(const ContainerPaths *p, size_t n)
{
	char **v = NULL;
	strv_add(&v, "last words");
	return v;
}

struct ExecProbe {
	ExecProbeFn done;
	void *user;
	SimLater *later;
};

static void probe_done(void *arg)
{
	ExecProbe *p = arg;
	p->done(p->user, sim.probe_fails && !sim_random(sim.probe_fails), false, "", 0);
	free(p);
}

int exec_probe(uv_loop_t *loop, const Runtime *rt, const ContainerPaths *paths, char *const *cmd, int64_t timeout_ns, ExecProbeFn done,
	void *user, ExecProbe **ret, Err *err)
{
	ExecProbe *p = xcalloc(1, sizeof(*p));
	p->done = done;
	p->user = user;
	p->later = sim_later(loop, probe_done, p, sim_random(3));
	*ret = p;
	return 0;
}

void exec_probe_cancel(ExecProbe *p)
{
	if (!p)
		return;
	sim_later_cancel(p->later);
	free(p);
}

/* Probes from outside: of the container that has the address. */
struct Probe {
	ProbeFn fn;
	void *user;
	SimLater *later;
};

static void outside_done(void *arg)
{
	Probe *p = arg;
	AUTO_ERR err = ERR_INIT;
	bool fails = sim.probe_fails && !sim_random(sim.probe_fails);
	ProbeResult r = { .status = fails && sim_random(2) ? 500 : 200, .body = "" };
	if (fails && r.status == 200) {
		(void) err_set(&err, -ECONNREFUSED, "connection refused");
		r.err = &err;
		r.status = 0;
	}
	p->fn(p->user, &r);
	free(p);
}

int probe_start(uv_loop_t *loop, const ProbeOptions *o, ProbeFn fn, void *user, Probe **ret, Err *err)
{
	Probe *p = xcalloc(1, sizeof(*p));
	p->fn = fn;
	p->user = user;
	p->later = sim_later(loop, outside_done, p, sim_random(3));
	*ret = p;
	return 0;
}

void probe_cancel(Probe *p)
{
	if (!p)
		return;
	sim_later_cancel(p->later);
	free(p);
}

static char *compare_container(const Container *c)
{
	const SimContainer *k = find(c->id);
	ContainerStatus status = k ? k->status : CONTAINER_ABSENT;
	if (ctr_is_running(c) != (status == CONTAINER_RUNNING))
		return xasprintf("%s is %s, the machine says %d", c->name, ctr_status(c), (int) status);
	if (k && k->mounted != (status == CONTAINER_RUNNING))
		return xasprintf("%s (%s, the machine says %d): its root is %smounted", c->name, ctr_status(c), (int) status,
			k->mounted ? "" : "not ");
	if (ctr_is_running(c) && c->netns && !sim_net_has_namespace(c->id))
		return xasprintf("%s has no network namespace", c->name);
	if (ctr_is_running(c) && c->n_ports != c->svc.n_ports)
		return xasprintf("%s publishes %zu ports, not %zu", c->name, c->n_ports, c->svc.n_ports);
	return NULL;
}

char *sim_run_compare(Daemon *d)
{
	for (size_t i = 0; i < d->n_containers; i++) {
		char *text = compare_container(d->containers[i]);
		if (text)
			return text;
	}
	for (size_t i = 0; i < n_containers; i++) {
		Container *c = NULL;
		if (daemon_find_container(d, containers[i].id, &c, NULL) < 0)
			return xasprintf("container %.12s is left over", containers[i].id);
	}
	return NULL;
}
