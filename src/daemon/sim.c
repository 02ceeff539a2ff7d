// SPDX-License-Identifier: Apache-2.0
#include "daemon/sim.h"

#include <errno.h>
#include <netinet/in.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/build.h"
#include "edge/edge.h"
#include "image/job.h"
#include "io/http-server.h"
#include "io/probe.h"
#include "net/names.h"
#include "net/netns.h"
#include "net/network.h"
#include "net/nft.h"
#include "net/resolv.h"
#include "run/bundle.h"
#include "run/cgroup.h"
#include "run/container.h"
#include "run/exec.h"
#include "run/logs.h"
#include "run/runtime.h"

SimOptions sim;

typedef struct SimContainer {
	char id[65];
	ContainerStatus status;
	pid_t pid;
	int exit_code, ends_with; /* ends_with < 0: runs on */
	bool mounted, bundle, start_fails, hook;
} SimContainer;

static SimContainer *containers;
static size_t n_containers;
static char **netns, **bridges, **named;
static NftPort *rules;
static size_t n_rules;
static pid_t next_pid;
static unsigned random_state;

/* Callbacks that the daemon waits for; dropped when it dies. */
typedef struct Later {
	uv_timer_t timer;
	void (*fn)(void *arg);
	void *arg;
	bool comes_anyway; /* while the daemon is closed, too */
	struct Later *next;
} Later;

static Later *laters;

unsigned sim_random(unsigned n)
{
	random_state = random_state * 1103515245u + 12345u;
	return n ? (random_state >> 16) % n : 0;
}

static void later_closed(uv_handle_t *h)
{
	free(h->data);
}

static void later_unlink(Later *l)
{
	for (Later **p = &laters; *p; p = &(*p)->next)
		if (*p == l) {
			*p = l->next;
			return;
		}
}

static void later_due(uv_timer_t *t)
{
	Later *l = t->data;
	later_unlink(l);
	l->fn(l->arg);
	uv_close((uv_handle_t *) t, later_closed);
}

static Later *later(uv_loop_t *loop, void (*fn)(void *), void *arg, unsigned msec)
{
	Later *l = xcalloc(1, sizeof(*l));
	l->fn = fn;
	l->arg = arg;
	l->timer.data = l;
	l->next = laters;
	laters = l;
	(void) uv_timer_init(loop, &l->timer);
	(void) uv_timer_start(&l->timer, later_due, msec, 0);
	return l;
}

static void later_cancel(Later *l)
{
	later_unlink(l);
	uv_close((uv_handle_t *) &l->timer, later_closed);
}

/* What was dropped with the daemon is not there any more. */
static void later_cancel_if_there(const Later *which)
{
	for (Later *l = laters; l; l = l->next)
		if (l == which) {
			later_cancel(l);
			return;
		}
}

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

static void strv_remove(char ***v, const char *s)
{
	char **kept = NULL;
	for (char **p = *v; p && *p; p++)
		if (!str_eq(*p, s))
			strv_add(&kept, *p);
	strv_free(*v);
	*v = kept;
}

void sim_reset(unsigned seed)
{
	sim_reboot();
	strv_free(bridges);
	bridges = NULL;
	random_state = seed;
	sim = (SimOptions) { 0 };
}

void sim_reboot(void)
{
	free_and_null(&containers);
	n_containers = 0;
	strv_free(netns);
	strv_free(named);
	strv_free(bridges);
	netns = named = bridges = NULL;
	free_and_null(&rules);
	n_rules = 0;
}

void sim_daemon_died(void)
{
	for (Later *l = laters, *next; l; l = next) {
		next = l->next;
		if (!l->comes_anyway)
			later_cancel(l);
	}
}

size_t sim_running(void)
{
	size_t n = 0;
	for (size_t i = 0; i < n_containers; i++)
		n += containers[i].status == CONTAINER_RUNNING;
	return n;
}

/* ── run ──────────────────────────────────────────────────────────── */

struct ContainerWatch {
	char id[65];
	ContainerExitFn fn;
	void *user;
	uv_loop_t *loop;
	Later *ending;
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
			w->ending = later(w->loop, watch_fires, w, sim_random(2));
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
	make(p->id)->bundle = true;
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
	later(loop, creation_done, k, sim_random(3))->comes_anyway = true;
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
		w->ending = later(loop, watch_fires, w, 0);
	*ret = w;
	return 0;
}

void container_watch_cancel(ContainerWatch *w)
{
	if (!w)
		return;
	watch_unlink(w);
	/* A later of a dead daemon is cancelled already; then `laters` does not hold it any more. */
	for (Later *l = laters; l; l = l->next)
		if (l == w->ending) {
			later_cancel(l);
			break;
		}
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
	Later *later;
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
	p->later = later(loop, probe_done, p, sim_random(3));
	*ret = p;
	return 0;
}

void exec_probe_cancel(ExecProbe *p)
{
	if (!p)
		return;
	later_cancel_if_there(p->later);
	free(p);
}

/* Probes from outside: of the container that has the address. */
struct Probe {
	ProbeFn fn;
	void *user;
	Later *later;
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
	p->later = later(loop, outside_done, p, sim_random(3));
	*ret = p;
	return 0;
}

void probe_cancel(Probe *p)
{
	if (!p)
		return;
	later_cancel_if_there(p->later);
	free(p);
}

/* ── net ──────────────────────────────────────────────────────────── */

int net_new(uv_loop_t *loop, const char *daemon_name, Net **ret, Err *err)
{
	*ret = (Net *) &containers;
	return 0;
}

void net_free(Net *n)
{
}

const char *net_bridge_name(const Net *n, const char *network_id, char dst[IFNAMSIZ])
{
	(void) snprintf(dst, IFNAMSIZ, "st-%.8s", network_id);
	return dst;
}

const char *net_veth_name(const Net *n, const char *container_id, const char *ifname, char dst[IFNAMSIZ])
{
	(void) snprintf(dst, IFNAMSIZ, "sv%.6s%.5s", container_id, ifname);
	return dst;
}

int network_create(Net *n, const NetworkSpec *s, Err *err)
{
	char name[IFNAMSIZ];
	if (!strv_has(bridges, net_bridge_name(n, s->id, name)))
		strv_add(&bridges, name);
	return 0;
}

void network_delete(Net *n, const char *network_id, NetDoneFn done, void *user)
{
	char name[IFNAMSIZ];
	strv_remove(&bridges, net_bridge_name(n, network_id, name));
}

int endpoint_attach(Net *n, const EndpointSpec *s, Err *err)
{
	return 0;
}

int net_sweep(Net *n, char *const *known, Err *err)
{
	char **kept = NULL;
	for (char **b = bridges; b && *b; b++)
		if (strv_has(known, *b))
			strv_add(&kept, *b);
	strv_free(bridges);
	bridges = kept;
	return 0;
}

int net_host_routes(Net *n, Addr **ret, size_t *ret_n, Err *err)
{
	*ret = NULL;
	*ret_n = 0;
	return 0;
}

int net_subnet_claim(Net *n, const Addr *subnet)
{
	return 0;
}

void net_subnet_release(Net *n, const Addr *subnet)
{
}

int net_enable_forwarding(const char *run_dir, char ***ret_guard, Err *err)
{
	return 0;
}

char *net_forward_policy_drop(const char *daemon_name)
{
	return NULL;
}

int net_port_hold(const char *protocol, const Addr *ip, uint16_t port, int *ret_fd, Err *err)
{
	*ret_fd = dup(2);
	return 0;
}

int net_port_choose(const char *protocol, const Addr *ip, uint16_t first, uint16_t last, uint16_t *ret_port, int *ret_fd, Err *err)
{
	*ret_port = (uint16_t) (30000 + sim_random(10000));
	*ret_fd = dup(2);
	return 0;
}

int netns_setup(const char *run_dir, Err *err)
{
	return 0;
}

int netns_teardown(const char *run_dir, Err *err)
{
	return 0;
}

int netns_create(const char *run_dir, const char *id, char *const *sysctls, int *ret_fd, Err *err)
{
	*ret_fd = dup(2);
	if (strv_has(netns, id))
		return 1;
	strv_add(&netns, id);
	return 0;
}

int netns_open(const char *run_dir, const char *id, int *ret_fd, Err *err)
{
	if (!strv_has(netns, id))
		return err_set(err, -ENOENT, "no such namespace");
	*ret_fd = dup(2);
	return 0;
}

int netns_remove(const char *run_dir, const char *id, Err *err)
{
	strv_remove(&netns, id);
	return 0;
}

int netns_list(const char *run_dir, char ***ret, Err *err)
{
	*ret = strv_dup(netns);
	return 0;
}

char *netns_path(const char *run_dir, const char *id)
{
	return xasprintf("%s/netns/%s", run_dir, id);
}

static void rules_ready_later(void *arg)
{
}

int nft_new(uv_loop_t *loop, const char *daemon_name, char *const *guard, const NftPort *ports, size_t n,
	void (*ready)(void *user, const Err *err), void *user, Nft **ret, Err *err)
{
	free(rules);
	rules = NULL;
	n_rules = 0;
	*ret = (Nft *) &rules;
	(void) later(loop, rules_ready_later, NULL, 0);
	return nft_publish(*ret, ports, n, err);
}

void nft_free(Nft *n)
{
}

int nft_remove(Nft *n, Err *err)
{
	return 0;
}

static bool same_rule(const NftPort *a, const NftPort *b)
{
	return a->protocol == b->protocol && a->port == b->port && addr_eq(&a->ip, &b->ip);
}

int nft_unpublish(Nft *n, const NftPort *ports, size_t n_ports, Err *err)
{
	for (size_t i = 0; i < n_ports; i++)
		for (size_t k = 0; k < n_rules; k++)
			if (same_rule(&rules[k], &ports[i]))
				rules[k--] = rules[--n_rules];
	return 0;
}

int nft_publish(Nft *n, const NftPort *ports, size_t n_ports, Err *err)
{
	(void) nft_unpublish(n, ports, n_ports, err);
	for (size_t i = 0; i < n_ports; i++)
		*array_append(rules, n_rules) = ports[i];
	return 0;
}

int names_new(uv_loop_t *loop, const char *run_dir, void (*lost)(void *user), void *user, Names **ret, Err *err)
{
	*ret = (Names *) &named;
	strv_free(named);
	named = NULL;
	return 0;
}

int resolv_watch_new(uv_loop_t *loop, const char *path, void (*read)(void *user, const ResolvConf *conf), void *user,
	ResolvWatch **ret, Err *err)
{
	return 0;
}

void resolv_watch_free(ResolvWatch *w)
{
}

void names_free(Names *n)
{
}

void names_quit(Names *n)
{
}

void names_upstreams(Names *n, const Addr *servers, size_t n_servers)
{
}

int names_endpoint_add(Names *n, const NamesEndpoint *e, Err *err)
{
	if (!strv_has(named, e->id))
		strv_add(&named, e->id);
	return 0;
}

void endpoint_detach(Net *n, const char *container_id, const char *ifname, NetDoneFn done, void *user)
{
}

void names_endpoint_remove(Names *n, const char *id)
{
	strv_remove(&named, id);
}

int names_set(Names *n, const char *network_id, const char *network_name, const Addr *address, const char *const *names, Err *err)
{
	return 0;
}

void names_clear(Names *n, const char *network_id, const Addr *address)
{
}

void names_synced(Names *n)
{
}

/* ── image jobs ───────────────────────────────────────────────────── */

/* ── edge: what is wanted is in effect at once ── */

struct Edge {
	uv_loop_t *loop;
	EdgeTable *table;
	struct SimEdgeDone *done;
};

typedef struct SimEdgeDone {
	struct SimEdgeDone *next;
	Later *later;
	Edge *e;
	EdgeDoneFn fn;
	EdgeCountFn count;
	void *user;
} SimEdgeDone;

static void edge_done(void *arg)
{
	SimEdgeDone *done = arg;
	for (SimEdgeDone **at = &done->e->done; *at; at = &(*at)->next)
		if (*at == done) {
			*at = done->next;
			break;
		}
	if (done->fn)
		done->fn(done->user, NULL);
	if (done->count)
		done->count(done->user, 0, NULL);
	free(done);
}

static void edge_later(Edge *e, EdgeDoneFn fn, EdgeCountFn count, void *user)
{
	SimEdgeDone *done = xcalloc(1, sizeof(*done));
	*done = (SimEdgeDone) { .next = e->done, .e = e, .fn = fn, .count = count, .user = user };
	e->done = done;
	done->later = later(e->loop, edge_done, done, sim_random(20));
}

int edge_new(uv_loop_t *loop, const EdgeOptions *o, Edge **ret, Err *err)
{
	*ret = xcalloc(1, sizeof(**ret));
	(*ret)->loop = loop;
	return 0;
}

void edge_free(Edge *e)
{
	if (!e)
		return;
	while (e->done) {
		SimEdgeDone *next = e->done->next;
		later_cancel_if_there(e->done->later);
		free(e->done);
		e->done = next;
	}
	edge_table_free(e->table);
	free(e);
}

void edge_quit(Edge *e)
{
}

void edge_set(Edge *e, EdgeTable *table, EdgeDoneFn done, void *user)
{
	edge_table_free(e->table);
	e->table = table;
	if (done)
		edge_later(e, done, NULL, user);
}

void edge_forget(Edge *e, const void *user)
{
	for (SimEdgeDone *done = e->done; done; done = done->next)
		if (done->user == user) {
			done->fn = NULL;
			done->count = NULL;
		}
}

void edge_in_flight(Edge *e, const char *backend, const char *server_id, EdgeCountFn fn, void *user)
{
	edge_later(e, NULL, fn, user);
}

bool edge_stats(const Edge *e, const char *backend, const char *server_id, EdgeStats *ret)
{
	*ret = (EdgeStats) { 0 };
	return false;
}

void edge_mark(Edge *e, const char *backend)
{
}

void edge_purge(Edge *e, const char *backend)
{
}

int edge_check(Edge *e, const EdgeTable *table, Err *err)
{
	return edge_table_check(table, err);
}

pid_t edge_pid(const Edge *e)
{
	return 0;
}

int jobs_new(uv_loop_t *loop, const char *state_dir, JobRefsFn refs, void *user, Jobs **ret, Err *err)
{
	*ret = (Jobs *) &netns;
	return 0;
}

void jobs_free(Jobs *j)
{
}

int job_load(Jobs *j, int fd, const JobCallbacks *cb, Job **ret, Err *err)
{
	return -ENOTSUP;
}

int job_import(Jobs *j, int fd, const JobImageOptions *o, const JobCallbacks *cb, Job **ret, Err *err)
{
	return -ENOTSUP;
}

int job_bootstrap(Jobs *j, const JobBootstrap *b, const JobCallbacks *cb, Job **ret, Err *err)
{
	return -ENOTSUP;
}

int job_save(Jobs *j, const JobSaveItem *items, size_t n_items, int fd, const JobCallbacks *cb, Job **ret, Err *err)
{
	return -ENOTSUP;
}

int job_copy_up(Jobs *j, char *const *layers, const char *path, const char *dst, const JobCallbacks *cb, Job **ret, Err *err)
{
	return -ENOTSUP;
}

int job_remove_tree(Jobs *j, const char *path, Err *err)
{
	return 0;
}

int job_sweep(Jobs *j, const JobCallbacks *cb, Job **ret, Err *err)
{
	if (cb->lost)
		cb->lost(cb->user);
	return 0;
}

bool jobs_delay_sweep(const Jobs *j)
{
	return false;
}

/* ── the client ───────────────────────────────────────────────────── */

struct HttpRequest {
	void *user;
	void (*closed)(void *user);
	json_t *answer;
	char **log;
	bool gone;
};

SimClient *sim_client(void)
{
	return xcalloc(1, sizeof(SimClient));
}

json_t *sim_client_answer(SimClient *c)
{
	return c->answer;
}

char *const *sim_client_log(SimClient *c)
{
	return c->log;
}

void sim_client_gone(SimClient *c)
{
	if (c->closed)
		c->closed(c->user);
	json_decref(c->answer);
	strv_free(c->log);
	free(c);
}

void http_set_user(HttpRequest *r, void *user, void (*closed)(void *user))
{
	r->user = user;
	r->closed = closed;
}

void http_stream_begin(HttpRequest *r, int status, const char *type)
{
}

size_t http_stream_json(HttpRequest *r, json_t *value)
{
	const char *name = json_string_value(json_object_get(value, "name"));
	if (name)
		strv_take(&r->log, xasprintf("%s %s", name, json_string_value(json_object_get(value, "status"))));
	const char *step = json_string_value(json_object_get(value, "step"));
	if (step && json_string_value(json_object_get(value, "status")))
		strv_take(&r->log, xasprintf("%s %s %s", json_string_value(json_object_get(value, "service")), step,
			json_string_value(json_object_get(value, "status"))));
	json_t *plan = json_object_get(value, "plan");
	if (plan)
		strv_take(&r->log, xasprintf("plan %s %s", json_string_value(json_object_get(plan, "service")),
			json_string_value(json_object_get(plan, "step"))));
	if (json_object_get(value, "result") || json_object_get(value, "error"))
		r->answer = json_incref(value);
	json_decref(value);
	return 0;
}

void http_stream_end(HttpRequest *r)
{
	r->closed = NULL;
}

/* ── the comparison ───────────────────────────────────────────────── */

static bool netns_owned(Daemon *d, const char *id)
{
	for (size_t i = 0; i < d->n_containers; i++)
		if (str_eq(d->containers[i]->id, id) && d->containers[i]->netns)
			return true;
	return false;
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
	if (ctr_is_running(c) && c->netns && !strv_has(netns, c->id))
		return xasprintf("%s has no network namespace", c->name);
	if (ctr_is_running(c) && c->n_ports != c->svc.n_ports)
		return xasprintf("%s publishes %zu ports, not %zu", c->name, c->n_ports, c->svc.n_ports);
	return NULL;
}

char *sim_compare(Daemon *d)
{
	size_t ports = 0;
	for (size_t i = 0; i < d->n_containers; i++) {
		char *text = compare_container(d->containers[i]);
		if (text)
			return text;
		ports += d->containers[i]->n_ports;
	}
	for (size_t i = 0; i < n_containers; i++) {
		Container *c = NULL;
		if (daemon_find_container(d, containers[i].id, &c, NULL) < 0)
			return xasprintf("container %.12s is left over", containers[i].id);
	}
	for (char **id = netns; id && *id; id++)
		if (!netns_owned(d, *id))
			return xasprintf("network namespace %.12s is left over", *id);
	for (char **id = named; id && *id; id++)
		if (!netns_owned(d, *id))
			return xasprintf("names of %.12s are left over", *id);
	if (strv_len(bridges) > d->n_nets)
		return xasprintf("%zu bridges, %zu networks", strv_len(bridges), d->n_nets);
	if (n_rules != ports)
		return xasprintf("%zu rules, %zu published ports", n_rules, ports);
	return NULL;
}

/* ── builds: none here ────────────────────────────────────────────── */

void builds_open(Daemon *d)
{
}

void builds_close(Daemon *d)
{
}

bool builds_subnet(const Daemon *d, char dst[64])
{
	return false;
}

void builds_tell_names(Daemon *d)
{
}
