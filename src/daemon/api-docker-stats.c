// SPDX-License-Identifier: Apache-2.0
/*
 * Figures of a running container: stats (from cgroups and /proc/PID/net/dev, once a second) and top (ps(1),
 * with the processes of others left out).
 */
#include <errno.h>
#include <fcntl.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/api-docker.h"
#include "daemon/json.h"
#include "io/child.h"
#include "run/cgroup.h"
#include "run/container.h"

#define STATS_EVERY_MS 1000
#define TOP_OUTPUT_MAX (1U << 20)
#define TOP_TIMEOUT (10 * NSEC_PER_SEC)

/* ── stats ────────────────────────────────────────────────────────── */

typedef struct Sample {
	CgroupStats cg;
	uint64_t machine; /* ns of all CPUs since the boot */
	int64_t time;    /* real ns, 0 = none */
} Sample;

typedef struct StatsStream {
	Daemon *d;
	HttpRequest *r;
	char id[65];
	Sample last;
	uv_timer_t *timer;
	bool stream;
} StatsStream;

/** The sum of the first line of /proc/stat (proc(5)), guest times left out, since they are in user and nice. */
static uint64_t system_cpu(void)
{
	char first[256];
	uint64_t sum = 0;
	AUTO_CLOSE int fd = open("/proc/stat", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, first, sizeof(first) - 1);
	if (n <= 0)
		return 0;
	first[n] = '\0';
	const char *p = first + strcspn(first, " ");
	for (int i = 0; i < 8; i++) {
		char *end;
		sum += strtoull(p, &end, 10);
		if (end == p)
			break;
		p = end;
	}
	return sum * (uint64_t) (NSEC_PER_SEC / sysconf(_SC_CLK_TCK));
}

static json_t *cpu_json(const Sample *s)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	if (!s->time)
		return json_pack("{s:{s:i, s:i, s:i}, s:{s:i, s:i, s:i}}", "cpu_usage", "total_usage", 0, "usage_in_kernelmode", 0,
			"usage_in_usermode", 0, "throttling_data", "periods", 0, "throttled_periods", 0, "throttled_time", 0);
	return json_pack("{s:{s:I, s:I, s:I}, s:I, s:I, s:{s:I, s:I, s:I}}", "cpu_usage", "total_usage", (json_int_t) s->cg.cpu_total,
		"usage_in_kernelmode", (json_int_t) s->cg.cpu_system, "usage_in_usermode", (json_int_t) s->cg.cpu_user, "system_cpu_usage",
		(json_int_t) s->machine, "online_cpus", (json_int_t) cpus, "throttling_data", "periods", (json_int_t) s->cg.cpu_periods,
		"throttled_periods", (json_int_t) s->cg.cpu_throttled, "throttled_time", (json_int_t) s->cg.cpu_throttled_time);
}

static json_t *io_entry(const char *op, uint64_t value)
{
	return json_pack("{s:i, s:i, s:s, s:I}", "major", 0, "minor", 0, "op", op, "value", (json_int_t) value);
}

/** One line of /proc/PID/net/dev: "eth0: rx bytes packets errs drop fifo frame compressed multicast tx bytes …". */
static void network_line(json_t *o, char *line)
{
	unsigned long long v[16] = { 0 };
	char *colon = strchr(line, ':');
	if (!colon)
		return;
	*colon = '\0';
	const char *name = line + strspn(line, " ");
	char *p = colon + 1;
	for (size_t i = 0; i < 16; i++)
		v[i] = strtoull(p, &p, 10);
	if (str_eq(name, "lo"))
		return;
	json_object_set_new(o, name, json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "rx_bytes", (json_int_t) v[0], "rx_packets", (json_int_t) v[1],
		"rx_errors", (json_int_t) v[2], "rx_dropped", (json_int_t) v[3], "tx_bytes", (json_int_t) v[8], "tx_packets", (json_int_t) v[9],
		"tx_errors", (json_int_t) v[10], "tx_dropped", (json_int_t) v[11]));
}

static json_t *networks_json(pid_t pid)
{
	json_t *o = json_object();
	AUTO_BUF b = BUF_INIT;
	AUTO_FREE char *path = xasprintf("/proc/%d/net/dev", (int) pid);
	if (file_read(AT_FDCWD, path, 1 << 20, &b) < 0)
		return o;
	for (char *line = b.data, *next; line && *line; line = next) {
		size_t n = strcspn(line, "\n");
		next = line + n + (line[n] != '\0');
		line[n] = '\0';
		network_line(o, line);
	}
	return o;
}

static json_t *memory_json(const CgroupStats *s)
{
	/* docker stats subtracts total_inactive_file with cgroup v1, inactive_file with v2. */
	return json_pack("{s:I, s:I, s:{s:I, s:I, s:I, s:I}, s:I}", "usage", (json_int_t) s->memory_usage, "max_usage",
		(json_int_t) s->memory_max_usage, "stats", "inactive_file", (json_int_t) s->memory_cache, "total_inactive_file",
		(json_int_t) s->memory_cache, "cache", (json_int_t) s->memory_cache, "rss", (json_int_t) s->memory_rss, "limit",
		(json_int_t) s->memory_limit);
}

static json_t *stats_json(const Container *c, const Sample *now, const Sample *last)
{
	char read[TIME_TEXT_MAX], before[TIME_TEXT_MAX];
	const CgroupStats *s = &now->cg;
	AUTO_FREE char *name = xasprintf("/%s", c->name);
	json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:{s:I}, s:i, s:{}, s:o, s:o}", "id", c->id, "name", name, "read",
		time_rfc3339(now->time, read), "preread", time_rfc3339(last->time, before), "pids_stats", "current", (json_int_t) s->pids,
		"num_procs", 0, "storage_stats", "cpu_stats", cpu_json(now), "precpu_stats", cpu_json(last));
	if (s->pids_limit)
		json_object_set_new(json_object_get(o, "pids_stats"), "limit", json_integer((json_int_t) s->pids_limit));
	json_object_set_new(o, "blkio_stats", json_pack("{s:[o, o], s:[o, o], s:[], s:[], s:[], s:[], s:[], s:[]}", "io_service_bytes_recursive",
		io_entry("Read", s->io_read), io_entry("Write", s->io_write), "io_serviced_recursive", io_entry("Read", s->io_reads),
		io_entry("Write", s->io_writes), "io_queue_recursive", "io_service_time_recursive", "io_wait_time_recursive",
		"io_merged_recursive", "io_time_recursive", "sectors_recursive"));
	json_object_set_new(o, "memory_stats", now->time ? memory_json(s) : json_object());
	if (ctr_is_running(c) && !str_eq(c->svc.network_mode, "host"))
		json_object_set_new(o, "networks", networks_json(c->pid));
	return o;
}

static void timer_closed(uv_handle_t *h)
{
	free(h);
}

static void stats_gone(void *user)
{
	StatsStream *st = user;
	uv_close((uv_handle_t *) st->timer, timer_closed);
	free(st);
}

static void sample(const Container *c, Sample *ret)
{
	*ret = (Sample) { 0 };
	if (!ctr_is_running(c) || cgroup_stats(c->d->runtime, c->paths->cgroup, &ret->cg) < 0)
		return;
	ret->machine = system_cpu();
	ret->time = time_real();
}

static void stats_due(uv_timer_t *t)
{
	StatsStream *st = t->data;
	Container *c;
	Sample now;
	if (daemon_find_container(st->d, st->id, &c, NULL) < 0) {
		http_stream_end(st->r);
		return;
	}
	sample(c, &now);
	/* A slow client gets the next figures when it has taken these. */
	if (http_stream_write(st->r, "", 0) < LIMIT_API_BACKLOG)
		(void) http_stream_json(st->r, stats_json(c, &now, &st->last));
	st->last = now;
	if (!st->stream)
		http_stream_end(st->r);
}

static void stats(Daemon *d, HttpRequest *r, char *const *args)
{
	const Container *c = docker_container(d, r, args[0]);
	if (!c)
		return;
	bool stream = http_query_bool(r, "stream", true), one_shot = http_query_bool(r, "one-shot", false);
	StatsStream *st = xcalloc(1, sizeof(*st));
	st->d = d;
	st->r = r;
	st->stream = stream;
	memcpy(st->id, c->id, sizeof(st->id));
	st->timer = xcalloc(1, sizeof(*st->timer));
	(void) uv_timer_init(d->loop, st->timer);
	st->timer->data = st;
	http_set_user(r, st, stats_gone);
	http_stream_begin(r, 200, "application/json");
	/* Rates need two samples, unless one-shot says that the client makes them. */
	bool at_once = stream || one_shot || !ctr_is_running(c);
	if (!at_once)
		sample(c, &st->last);
	(void) uv_timer_start(st->timer, stats_due, at_once ? 0 : STATS_EVERY_MS, STATS_EVERY_MS);
}

/* ── top ──────────────────────────────────────────────────────────── */

typedef struct Top {
	HttpRequest *r; /* NULL once the client has gone */
	pid_t *pids;
	size_t n_pids;
} Top;

static void top_gone(void *user)
{
	((Top *) user)->r = NULL;
}

/** The words of a line, at most `max`: the last one takes the rest. */
static char **words(const char *line, size_t max)
{
	char **v = NULL;
	for (size_t n = 1; *(line += strspn(line, " ")); n++) {
		size_t len = n == max ? strlen(line) : strcspn(line, " ");
		strv_take(&v, xstrndup(line, len));
		line += len;
	}
	return v;
}

static bool has_pid(const Top *t, const char *text)
{
	int64_t pid;
	if (!text || parse_i64(text, &pid) < 0)
		return false;
	for (size_t i = 0; i < t->n_pids; i++)
		if (t->pids[i] == pid)
			return true;
	return false;
}

static json_t *top_json(const Top *t, const char *output)
{
	json_t *titles = NULL, *processes = json_array();
	size_t columns = 0, pid_column = 0;
	for (const char *p = output; *p;) {
		size_t n = strcspn(p, "\n");
		AUTO_FREE char *line = xstrndup(p, n);
		AUTO_STRV char **v = words(line, titles ? columns : SIZE_MAX);
		p += n + (p[n] != '\0');
		if (!titles) {
			titles = json_strv(v);
			columns = strv_len(v);
			while (pid_column < columns && !str_eq(v[pid_column], "PID"))
				pid_column++;
			if (pid_column == columns)
				break;
		} else if (strv_len(v) > pid_column && has_pid(t, v[pid_column])) {
			json_array_append_new(processes, json_strv(v));
		}
	}
	if (!titles || pid_column == columns) {
		json_decref(titles);
		json_decref(processes);
		return NULL;
	}
	return json_pack("{s:o, s:o}", "Titles", titles, "Processes", processes);
}

static void top_listed(void *user, const ChildExit *x)
{
	Top *t = user;
	HttpRequest *r = t->r;
	if (r) {
		json_t *o = x->code == 0 ? top_json(t, x->output) : NULL;
		http_set_user(r, NULL, NULL);
		if (o)
			http_reply_json(r, 200, o);
		else if (x->code == 0)
			http_error(r, 400, "Couldn't find PID field in ps output");
		else
			http_error(r, x->code > 0 ? 400 : 500, "ps: %s", x->timed_out ? "took too long" : x->errors);
	}
	free(t->pids);
	free(t);
}

static void top(Daemon *d, HttpRequest *r, char *const *args)
{
	AUTO_ERR err = ERR_INIT;
	const Container *c = docker_container(d, r, args[0]);
	if (!c)
		return;
	const char *ps_args = http_query(r, "ps_args");
	if (!ctr_is_running(c)) {
		http_error(r, 409, "Container %s is not running", c->id);
		return;
	}
	AUTO_STRV char **argv = words(str_empty(ps_args) ? "-ef" : ps_args, SIZE_MAX);
	AUTO_STRV char **all = NULL;
	strv_add(&all, "ps");
	for (char **a = argv; a && *a; a++)
		strv_add(&all, *a);
	Top *t = xcalloc(1, sizeof(*t));
	t->r = r;
	int e = cgroup_pids(d->runtime, c->paths->cgroup, &t->pids, &t->n_pids);
	if (e < 0) {
		(void) err_errno(&err, e, "the processes of container %s", c->name);
	} else {
		ChildOptions o = { .argv = (const char *const *) all, .capture_max = TOP_OUTPUT_MAX, .exited = top_listed, .user = t,
			.timeout_ns = TOP_TIMEOUT };
		e = child_spawn(d->loop, &o, NULL, &err);
	}
	if (e < 0) {
		free(t->pids);
		free(t);
		http_error_err(r, &err);
		return;
	}
	http_set_user(r, t, top_gone);
}

const ApiRoute api_docker_stats_routes[] = {
	{ "GET", "/containers/*/stats", stats, false },
	{ "GET", "/containers/*/top", top, false },
	{ NULL, NULL, NULL, false },
};
