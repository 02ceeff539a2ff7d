// SPDX-License-Identifier: Apache-2.0
/*
 * One step at a time, and after each the same question: what is wanted, what does HAProxy have, what is the next? Nothing is remembered that could be
 * asked again: a table that comes while commands run is looked at when they are done; a process that dies is started with what is wanted by
 * then; a daemon that starts reads from the running process what it has.
 *
 * A new process (start, or hitless replacement) is needed when there is none; when a table needs more slots than there are; when the
 * running one was started by another version of this program or with other addresses; and when it has refused a command, which should not
 * happen, but then nobody knows what it has. All else is commands.
 *
 * A configuration that HAProxy refuses leaves the running process alone. If none runs, the likely culprit is a certificate: the next try is without any, and they
 * are loaded one by one afterwards, so that one bad file cannot take down all sites.
 */
#include "edge/edge-private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"

#define RETRY_MSEC 100       /* after the first failure, then doubling */
#define RETRY_MAX_MSEC 5000
#define RELEASE_NS (10 * NSEC_PER_SEC) /* for a process to let go of its ports */
#define REAP_MSEC 100        /* to the first try to delete what was put into maintenance, then doubling */
#define REAP_MAX_MSEC 5000
#define REAPS_PATIENT 12     /* tries (some 40 s), then its connections are cut */
#define THREADS_MAX 4

static void step(Edge *e);

struct InFlight {
	InFlight *next;
	Edge *e;
	char server[SERVER_NAME_MAX];
	EdgeCountFn fn; /* NULL: forgotten */
	void *user;
};

/* ── waiters ──────────────────────────────────────────────────────── */

/* Those whose table, or a later one, is `serial`; a call may bring new waiters, whose serial is higher. */
static void tell(Edge *e, uint64_t serial, const Err *err)
{
	EdgeWaiter **at = &e->waiters;
	EdgeWaiter *due = NULL, **last = &due;
	while (*at) {
		EdgeWaiter *w = *at;
		if (w->serial > serial) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		w->next = NULL;
		*last = w;
		last = &w->next;
	}
	while (due) {
		EdgeWaiter *w = due;
		due = w->next;
		w->fn(w->user, err);
		free(w);
	}
}

static void kick_due(uv_idle_t *i)
{
	(void) uv_idle_stop(i);
	step(i->data);
}

void edge_kick(Edge *e)
{
	(void) uv_idle_start(e->kick, kick_due);
}

bool edge_in_effect(const Edge *e)
{
	return haproxy_pid(e->haproxy) && e->have && !e->commands.n && !haproxy_starting(e->haproxy) && !uv_is_active((const uv_handle_t *) e->kick);
}

static void retry_due(uv_timer_t *t)
{
	step(t->data);
}

static void failed(Edge *e, const Err *err)
{
	uint64_t wait = (uint64_t) RETRY_MSEC << (e->failures < 6 ? e->failures : 6);
	e->failures++;
	if (e->reported != e->serial || (e->failures & (e->failures - 1)) == 0) /* not each time */
		log_error("edge: %s; trying again", err_text(err));
	e->reported = e->serial;
	str_set(&e->trouble, err_text(err));
	(void) uv_timer_start(e->retry, retry_due, wait < RETRY_MAX_MSEC ? wait : RETRY_MAX_MSEC, 0);
	tell(e, e->serial, err);
}

/* ── sockets ──────────────────────────────────────────────────────── */

static void wanted_addresses(const Edge *e, const struct sockaddr *want[HAPROXY_LISTENERS], socklen_t sizes[HAPROXY_LISTENERS])
{
	const ListenAddress *from[] = { &e->http, &e->https };
	for (size_t i = 0; i < ARRAY_SIZE(from); i++) {
		want[2 * i] = from[i]->v4.sin_family ? (const void *) &from[i]->v4 : NULL;
		want[2 * i + 1] = from[i]->v6.sin6_family ? (const void *) &from[i]->v6 : NULL;
		sizes[2 * i] = sizeof(from[i]->v4);
		sizes[2 * i + 1] = sizeof(from[i]->v6);
	}
}

static void close_listener(int *fd)
{
	if (*fd >= 0)
		(void) close(*fd);
	*fd = -1;
}

static void close_listeners(Edge *e)
{
	for (int i = 0; i < HAPROXY_LISTENERS; i++)
		close_listener(&e->fds[i]);
}

/*
 * Those that are not there yet; all or none, since clients would wait at one that nobody serves. With all addresses asked for, a kernel without IPv6 is no
 * failure.
 */
static int open_listeners(const Edge *e, int fds[HAPROXY_LISTENERS], Err *err)
{
	static const char *const options[] = { "--edge-http", "--edge-http", "--edge-https", "--edge-https" };
	const struct sockaddr *want[HAPROXY_LISTENERS];
	socklen_t sizes[HAPROXY_LISTENERS];
	int opened[HAPROXY_LISTENERS], n = 0;
	wanted_addresses(e, want, sizes);
	for (int i = 0; i < HAPROXY_LISTENERS; i++) {
		AUTO_ERR why = ERR_INIT;
		if (!want[i] || fds[i] >= 0)
			continue;
		int r = listen_open(want[i], sizes[i], options[i], &fds[i], &why);
		if (r == 0)
			opened[n++] = i;
		if (r == 0 || (r == -EAFNOSUPPORT && i % 2 && want[i - 1]))
			continue;
		while (n-- > 0)
			close_listener(&fds[opened[n]]);
		return err_move(err, &why);
	}
	return 0;
}

static int open_log_pipe(Edge *e, Err *err)
{
	int ends[2];
	if (e->fds[HAPROXY_LISTENERS] >= 0)
		return 0;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_errno(err, -errno, "make a pipe");
	(void) fcntl(ends[1], F_SETPIPE_SZ, LOG_PIPE_SIZE); /* a smaller one works too */
	e->fds[HAPROXY_LISTENERS] = ends[1];
	e->fds[HAPROXY_LISTENERS + 1] = ends[0];
	int mine = fcntl(ends[0], F_DUPFD_CLOEXEC, 0);
	if (mine >= 0)
		log_use(e->log, mine);
	return 0;
}

/* ── start ────────────────────────────────────────────────────────── */

static HaproxyConfig config_of(const Edge *e)
{
	int cpus = get_nprocs();
	HaproxyConfig c = { .dir = e->dir, .https_port = listen_port(&e->https), .threads = cpus < THREADS_MAX ? cpus : THREADS_MAX };
	for (int i = 0; i < HAPROXY_LISTENERS; i++)
		c.listeners[i] = e->fds[i] >= 0;
	return c;
}

static void frame_digest(const Edge *e, size_t n_slots, char digest[65])
{
	HaproxyConfig c = config_of(e);
	AUTO_BUF frame = BUF_INIT;
	haproxy_config_frame(&c, n_slots, &frame);
	haproxy_pages(&frame);
	buf_str(&frame, haproxy_lua);
	digest_sha256(frame.data, frame.len, digest);
}

static int write_file(const Edge *e, const char *name, const Buf *b, Err *err)
{
	AUTO_FREE char *path = xasprintf("%s/%s", e->dir, name);
	int r = file_write_atomic(AT_FDCWD, path, b->data ?: "", b->len, 0600, false);
	return r < 0 ? err_errno(err, r, "%s", path) : 0;
}

static int write_maps(const Edge *e, const ProxyState *s, Err *err)
{
	static const struct {
		const char *name;
		int (*write)(const ProxyState *s, Buf *ret, Err *err);
	} files[] = { { "routes.map", haproxy_routes }, { "slots.map", haproxy_slots }, { "crt.list", haproxy_crt_list } };
	AUTO_BUF b = BUF_INIT;
	int r = 0;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(files); i++) {
		buf_clear(&b);
		r = files[i].write(s, &b, err);
		if (r == 0)
			r = write_file(e, files[i].name, &b, err);
	}
	if (r == 0) {
		buf_clear(&b);
		haproxy_pages(&b);
		r = write_file(e, "pages.map", &b, err);
	}
	if (r == 0) {
		buf_clear(&b);
		buf_str(&b, haproxy_lua);
		r = write_file(e, "hold.lua", &b, err);
	}
	return r;
}

static int write_config(const Edge *e, const ProxyState *s, Err *err)
{
	HaproxyConfig c = config_of(e);
	AUTO_BUF b = BUF_INIT;
	char digest[65];
	c.no_certs = !s->n_certs;
	frame_digest(e, s->n_slots, digest);
	int r = haproxy_config(&c, digest, s, &b, err);
	if (r == 0)
		r = write_maps(e, s, err);
	return r == 0 ? write_file(e, "haproxy.cfg.new", &b, err) : r;
}

/* What a new process has after its start: of the servers, those that the configuration holds. */
static void keep_ready(ProxyState *s)
{
	for (size_t i = 0; i < s->n_slots; i++)
		for (size_t k = s->slots[i].n_servers; k-- > 0;)
			if (s->slots[i].servers[k].state != SERVER_READY)
				s->slots[i].servers[k] = s->slots[i].servers[--s->slots[i].n_servers];
}

static int make_wanted(Edge *e, const ProxyState *have, ProxyState **ret)
{
	const RouteHooks hooks = { .redirect = edge_cert_redirect, .thumbprint = edge_cert_thumbprint, .cache = edge_cache_route, .user = e };
	int r = proxy_state_make(e->wanted, have, &hooks, ret);
	if (r == 0)
		edge_cert_state(e, *ret);
	return r;
}

/* As many slots as it takes, and at least as many as before. */
static ProxyState *make_for_start(Edge *e)
{
	size_t n = e->have ? e->have->n_slots : SLOTS_MIN;
	ProxyState *s = NULL;
	for (;; n *= 2) {
		AUTO_PROXY_STATE *room = proxy_state_new(n);
		for (size_t i = 0; e->have && i < e->have->n_slots; i++)
			if (e->have->slots[i].backend && edge_table_backend(e->wanted, e->have->slots[i].backend))
				room->slots[i].backend = xstrdup(e->have->slots[i].backend);
		if (make_wanted(e, room, &s) == 0)
			return s;
	}
}

static int make_dirs(const Edge *e, Err *err)
{
	AUTO_FREE char *jail = xasprintf("%s/jail", e->dir);
	const char *const dirs[] = { e->dir, jail };
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		int r = dir_make(dirs[i], 0711);
		if (r < 0)
			return err_errno(err, r, "%s", dirs[i]);
	}
	return 0;
}

/* The same port on another address than before the daemon's restart: the process that still runs is in the way of the one to come. */
static bool release_ports(Edge *e)
{
	const ListenAddress *from[] = { &e->http, &e->https };
	pid_t pid = haproxy_pid(e->haproxy);
	bool held = false;
	for (size_t i = 0; pid && i < ARRAY_SIZE(from); i++)
		held = held || (e->fds[2 * i] < 0 && e->fds[2 * i + 1] < 0 && listen_port(from[i]) && listen_held_by(listen_port(from[i]), pid));
	if (e->released ? time_mono() - e->released > RELEASE_NS : !held)
		return false;
	if (!e->released) {
		e->released = time_mono();
		haproxy_release(e->haproxy);
	}
	(void) uv_timer_start(e->retry, retry_due, RETRY_MSEC, 0);
	return true;
}

static int start(Edge *e, Err *err)
{
	int r = haproxy_dir_check(e->dir, err);
	if (r == 0)
		r = haproxy_dir_check(e->state_dir, err);
	if (r == 0)
		r = make_dirs(e, err);
	if (r == 0)
		r = open_listeners(e, e->fds, err);
	if (r == -EADDRINUSE && release_ports(e))
		return 0;
	if (r == 0)
		r = open_log_pipe(e, err);
	if (r < 0)
		return r;
	AUTO_PROXY_STATE *s = make_for_start(e);
	if (e->without_certs)
		s->n_certs = 0;
	keep_ready(s);
	r = write_config(e, s, err);
	if (r == 0)
		r = haproxy_start(e->haproxy, e->fds, err);
	if (r < 0)
		return r;
	stats_slots(e->stats, s);
	proxy_state_free(e->after);
	e->after = steal_ptr(&s);
	return 0;
}

static void on_started(void *user)
{
	Edge *e = user;
	log_info("edge: HAProxy runs (pid %d)", (int) haproxy_pid(e->haproxy));
	proxy_state_free(e->have);
	e->have = steal_ptr(&e->after);
	e->without_certs = false;
	e->released = 0;
	edge_kick(e);
}

static void on_failed(void *user, const Err *err)
{
	Edge *e = user;
	e->without_certs = !e->without_certs;
	failed(e, err);
}

/* Commands under way fail by themselves: their socket is gone. */
static void on_ended(void *user, int64_t lived)
{
	Edge *e = user;
	AUTO_ERR err = ERR_INIT;
	if (e->quitting || !e->wanted->n_routes)
		return;
	if (lived > 10 * NSEC_PER_SEC)
		e->failures = 0;
	if (e->failures++ == 0)
		edge_kick(e);
	else
		(void) uv_timer_start(e->retry, retry_due, RETRY_MSEC << (e->failures < 6 ? e->failures : 6), 0);
}

/* ── commands ─────────────────────────────────────────────────────── */

static void run_commands(Edge *e);

static void commands_end(Edge *e)
{
	commands_done(&e->commands);
	e->next_command = 0;
	e->reaping = false;
}

static void reap_due(uv_timer_t *t)
{
	Edge *e = t->data;
	if (e->commands.n || haproxy_starting(e->haproxy) || !e->have)
		return; /* what goes on now looks at it in the end */
	converge_reap(e->have, e->reaps > REAPS_PATIENT, &e->commands);
	e->reaps++;
	if (!e->commands.n)
		return;
	e->reaping = true;
	run_commands(e);
}

static void schedule_reap(Edge *e)
{
	uint64_t wait = (uint64_t) REAP_MSEC << (e->reaps < 6 ? e->reaps : 6);
	if (e->have && converge_has_leaving(e->have))
		(void) uv_timer_start(e->reap, reap_due, wait < REAP_MAX_MSEC ? wait : REAP_MAX_MSEC, 0);
	else
		e->reaps = 0;
}

/* It alone is as it was; what else is to be said about it is left out. */
static void cert_refused(Edge *e, size_t cert, const Err *err)
{
	log_error("edge: %s; trying again later", err_text(err));
	refused_note(&e->refused, &e->after->certs[cert], time_mono());
	converge_cert_unknown(e->after, cert);
	do
		e->next_command++;
	while (e->next_command < e->commands.n && e->commands.items[e->next_command].expect == EXPECT_CERT && e->commands.items[e->next_command].cert == cert);
	run_commands(e);
}

static void on_answer(void *user, const char *answer, const Err *err)
{
	Edge *e = user;
	AUTO_ERR why = ERR_INIT;
	if (e->next_command >= e->commands.n)
		return;
	const Command *c = &e->commands.items[e->next_command];
	int r = answer ? answer_check(c, answer, &why) : err_set(&why, -EIO, "%s", err_text(err));
	if (r < 0 && answer && c->expect == EXPECT_CERT) {
		cert_refused(e, c->cert, &why);
		return;
	}
	if (r < 0 && answer && c->expect == EXPECT_DELETED) {
		log_error("edge: %s", err_text(&why));
		r = 1;
	}
	if (r < 0) {
		commands_end(e);
		proxy_state_free(e->have);
		e->have = NULL;
		if (haproxy_pid(e->haproxy)) /* else its end has been noticed */
			failed(e, &why);
		return;
	}
	if (e->reaping && r == 0 && c->expect == EXPECT_DELETED)
		converge_reaped(e->have, c->text + strlen("del server "));
	e->next_command++;
	run_commands(e);
}

static void run_commands(Edge *e)
{
	if (e->next_command < e->commands.n) {
		runtime_api_send(haproxy_api(e->haproxy), e->commands.items[e->next_command].text, on_answer, e);
		return;
	}
	if (!e->reaping) {
		proxy_state_free(e->have);
		e->have = steal_ptr(&e->after);
	}
	commands_end(e);
	schedule_reap(e);
	step(e);
}

static void converge_now(Edge *e)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_PROXY_STATE *want = NULL;
	if (make_wanted(e, e->have, &want) == -ENOSPC) {
		log_info("edge: more services have routes than there are slots; HAProxy is replaced by one with more");
		if (start(e, &err) < 0)
			failed(e, &err);
		return;
	}
	int64_t again = refused_apply(&e->refused, e->have, want, time_mono());
	proxy_state_free(e->after);
	converge(e->dir, e->have, want, &e->commands, &e->after);
	stats_slots(e->stats, e->after);
	e->running_serial = e->serial;
	if (e->commands.n) {
		run_commands(e);
		return;
	}
	proxy_state_free(e->have);
	e->have = steal_ptr(&e->after);
	e->failures = 0;
	free_and_null(&e->trouble);
	schedule_reap(e);
	if (again)
		(void) uv_timer_start(e->retry, retry_due, (uint64_t) (again - time_mono() > 0 ? again - time_mono() : 0) / NSEC_PER_MSEC + 1, 0);
	if (edge_cache_settle(e, e->wanted))
		edge_kick(e);
	else
		tell(e, e->running_serial, NULL);
	if (edge_in_effect(e))
		edge_cert_in_effect(e);
}

static void stop_all(Edge *e)
{
	haproxy_quit(e->haproxy, false);
	edge_cache_quit(e);
	close_listeners(e);
	proxy_state_free(e->have);
	e->have = NULL;
	(void) uv_timer_stop(e->retry);
	e->failures = 0;
	free_and_null(&e->trouble);
	tell(e, e->serial, NULL);
}

static void step(Edge *e)
{
	AUTO_ERR err = ERR_INIT;
	if (e->commands.n || e->quitting)
		return; /* it goes on from there */
	if (!e->wanted->n_routes) {
		stop_all(e);
		return;
	}
	if (haproxy_starting(e->haproxy))
		return;
	if (haproxy_pid(e->haproxy) && e->have)
		converge_now(e);
	else if (edge_cert_ready(e) && start(e, &err) < 0)
		failed(e, &err);
}

/* ── life ─────────────────────────────────────────────────────────── */

static void adopt(Edge *e)
{
	AUTO_ERR err = ERR_INIT;
	const struct sockaddr *want[HAPROXY_LISTENERS];
	socklen_t sizes[HAPROXY_LISTENERS];
	char frame[65], mine[65];
	wanted_addresses(e, want, sizes);
	int r = haproxy_adopt(e->haproxy, want, &e->have, frame, e->fds, &err);
	if (r == -ENOENT)
		return;
	if (e->fds[HAPROXY_LISTENERS + 1] >= 0) {
		int dup = fcntl(e->fds[HAPROXY_LISTENERS + 1], F_DUPFD_CLOEXEC, 0);
		if (dup >= 0)
			log_use(e->log, dup);
	}
	if (r < 0) {
		log_warning("edge: %s; it is replaced", err_text(&err));
		return;
	}
	stats_slots(e->stats, e->have);
	frame_digest(e, e->have->n_slots, mine);
	if (str_eq(frame, mine)) {
		log_info("edge: HAProxy (pid %d) is taken over", (int) haproxy_pid(e->haproxy));
		return;
	}
	log_info("edge: HAProxy (pid %d) was started with another configuration; it is replaced", (int) haproxy_pid(e->haproxy));
	proxy_state_free(e->have);
	e->have = NULL;
}

static void free_handle(uv_handle_t *h)
{
	free(h);
}

int edge_new(uv_loop_t *loop, const EdgeOptions *o, Edge **ret, Err *err)
{
	Edge *e = xcalloc(1, sizeof(*e));
	e->loop = loop;
	e->dir = xasprintf("%s/edge", o->run_dir);
	e->state_dir = xasprintf("%s/edge", o->state_dir);
	e->acme_server = xstrdup(o->acme_server);
	e->acme_email = xstrdup(o->acme_email);
	e->acme_ca = xstrdup(o->acme_ca);
	e->wanted = edge_table_new();
	e->stats = stats_new();
	for (int i = 0; i < HAPROXY_FDS; i++)
		e->fds[i] = -1;
	e->haproxy = haproxy_new(loop, e->dir, &(HaproxyEvents) { .started = on_started, .failed = on_failed, .ended = on_ended, .user = e });
	e->kick = xcalloc(1, sizeof(*e->kick));
	e->retry = xcalloc(1, sizeof(*e->retry));
	e->reap = xcalloc(1, sizeof(*e->reap));
	(void) uv_idle_init(loop, e->kick);
	(void) uv_timer_init(loop, e->retry);
	(void) uv_timer_init(loop, e->reap);
	e->kick->data = e->retry->data = e->reap->data = e;
	int r = listen_parse(o->http, &e->http) < 0 || listen_parse(o->https, &e->https) < 0 ? err_set(err, -EINVAL, "addresses of the edge") : 0;
	if (r == 0)
		r = log_new(loop, e->state_dir, e->stats, &e->log, err);
	if (r == 0)
		r = edge_cert_open(e, err);
	if (r == 0)
		r = edge_cache_open(e, err);
	if (r < 0) {
		edge_free(e);
		return err_wrap(err, "edge");
	}
	adopt(e);
	*ret = e;
	return 0;
}

void edge_quit(Edge *e)
{
	e->quitting = true;
	haproxy_quit(e->haproxy, true);
	edge_cache_quit(e);
	close_listeners(e);
}

void edge_free(Edge *e)
{
	if (!e)
		return;
	edge_cache_close(e);
	edge_cert_close(e);
	haproxy_free(e->haproxy);
	log_free(e->log);
	stats_free(e->stats);
	for (EdgeWaiter *w = e->waiters, *next; w; w = next) {
		next = w->next;
		free(w);
	}
	for (InFlight *f = e->in_flight, *next; f; f = next) {
		next = f->next;
		free(f);
	}
	for (int i = 0; i < HAPROXY_FDS; i++)
		if (e->fds[i] >= 0)
			(void) close(e->fds[i]);
	commands_done(&e->commands);
	refused_done(&e->refused);
	proxy_state_free(e->have);
	proxy_state_free(e->after);
	edge_table_free(e->wanted);
	uv_close((uv_handle_t *) e->kick, free_handle);
	uv_close((uv_handle_t *) e->retry, free_handle);
	uv_close((uv_handle_t *) e->reap, free_handle);
	free(e->dir);
	free(e->state_dir);
	free(e->acme_server);
	free(e->acme_email);
	free(e->acme_ca);
	free(e->trouble);
	free(e);
}

/* ── what the daemon asks ─────────────────────────────────────────── */

void edge_set(Edge *e, EdgeTable *table, EdgeDoneFn done, void *user)
{
	AUTO_ERR err = ERR_INIT;
	e->serial++;
	if (done) {
		EdgeWaiter *w = xcalloc(1, sizeof(*w));
		*w = (EdgeWaiter) { .next = e->waiters, .serial = e->serial, .fn = done, .user = user };
		e->waiters = w;
	}
	if (edge_table_check(table, &err) < 0) {
		/* The checks before an `up` keep it from coming to this. What was wanted before goes on. */
		edge_table_free(table);
		log_error("edge: %s", err_text(&err));
		tell(e, e->serial, &err);
		return;
	}
	edge_table_free(e->wanted);
	e->wanted = table;
	edge_kick(e);
	edge_cert_table(e, table);
	edge_cache_table(e, table);
}

void edge_forget(Edge *e, const void *user)
{
	for (EdgeWaiter **at = &e->waiters; *at;) {
		EdgeWaiter *w = *at;
		if (w->user != user) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		free(w);
	}
	for (InFlight *f = e->in_flight; f; f = f->next)
		if (f->user == user)
			f->fn = NULL;
}

static void on_in_flight(void *user, const char *answer, const Err *err)
{
	InFlight *f = user;
	AUTO_ERR why = ERR_INIT;
	uint64_t n = 0;
	int r = answer ? f->server[0] ? answer_in_flight(answer, f->server, &n, &why) : 0 : err_set(&why, -EIO, "%s", err_text(err));
	for (InFlight **at = &f->e->in_flight; *at; at = &(*at)->next)
		if (*at == f) {
			*at = f->next;
			break;
		}
	if (f->fn)
		f->fn(f->user, n, r < 0 ? &why : NULL);
	free(f);
}

void edge_in_flight(Edge *e, const char *backend, const char *server_id, EdgeCountFn fn, void *user)
{
	int slot = proxy_state_slot(e->have, backend);
	AUTO_FREE char *command = slot < 0 ? xstrdup("show info") : haproxy_stat_command((size_t) slot);
	InFlight *f = xcalloc(1, sizeof(*f));
	*f = (InFlight) { .next = e->in_flight, .e = e, .fn = fn, .user = user };
	if (slot >= 0)
		proxy_server_name(server_id, f->server);
	e->in_flight = f;
	runtime_api_send(haproxy_api(e->haproxy), command, on_in_flight, f);
}

bool edge_stats(const Edge *e, const char *backend, const char *server_id, EdgeStats *ret)
{
	char name[SERVER_NAME_MAX];
	log_catch_up(e->log);
	if (server_id)
		proxy_server_name(server_id, name);
	return stats_get(e->stats, backend, server_id ? name : NULL, ret);
}

void edge_mark(Edge *e, const char *backend)
{
	log_catch_up(e->log);
	stats_mark(e->stats, backend);
}

int edge_check(Edge *e, const EdgeTable *table, Err *err)
{
	const char *program;
	int fds[HAPROXY_LISTENERS];
	if (!table->n_routes)
		return 0;
	int r = edge_table_check(table, err);
	if (r == 0)
		r = haproxy_program(&program, err);
	if (r == 0)
		r = haproxy_dir_check(e->dir, err);
	if (r == 0)
		r = haproxy_dir_check(e->state_dir, err);
	memcpy(fds, e->fds, sizeof(fds));
	if (r == 0)
		r = open_listeners(e, fds, err);
	for (int i = 0; i < HAPROXY_LISTENERS; i++)
		if (fds[i] >= 0 && fds[i] != e->fds[i])
			(void) close(fds[i]);
	return r == 0 ? edge_cache_check(table, err) : r;
}

const char *edge_trouble(const Edge *e)
{
	return e->trouble;
}

pid_t edge_pid(const Edge *e)
{
	return haproxy_pid(e->haproxy);
}
