// SPDX-License-Identifier: Apache-2.0
/*
 * How it works: each container has a connection on which the daemon sends a JSON object a second. One
 * poll(2) loop keeps the last object of each and prints the whole table when a second has passed and
 * something has come: over the old one on a terminal, once where --no-stream or no terminal is.
 */
#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "cli/containers.h"
#include "cli/follow.h"
#include "cli/human.h"
#include "cli/output.h"
#include "cli/project.h"
#include "cli/signals.h"
#include "cli/stream.h"
#include "cli/table.h"
#include "cli/term.h"

typedef struct StatsOptions {
	bool no_stream;
	const char *format;
} StatsOptions;

static const Option options[] = {
	{ "no-stream", 0, OPTION_FLAG, offsetof(StatsOptions, no_stream), NULL, "Once, instead of again and again", NULL },
	{ "format", 0, OPTION_CHOICE, offsetof(StatsOptions, format), "FORMAT", "Output", "table json" },
	{ NULL },
};

typedef struct Meter {
	HttpClient *c;
	LineStream lines;
	char *id, *name;
	json_t *last;
	bool over;
} Meter;

/* docker's calculation: this container's share of the time that all CPUs had, times their number. */
static double cpu_percent(const json_t *s)
{
	const json_t *now = json_object_get(s, "cpu_stats"), *before = json_object_get(s, "precpu_stats");
	double used = (double) (json_number(json_object_get(now, "cpu_usage"), "total_usage") -
		json_number(json_object_get(before, "cpu_usage"), "total_usage"));
	double whole = (double) (json_number(now, "system_cpu_usage") - json_number(before, "system_cpu_usage"));
	double cpus = (double) json_number(now, "online_cpus");
	return used > 0 && whole > 0 ? used / whole * (cpus > 0 ? cpus : 1) * 100 : 0;
}

/* Without what the kernel could drop at once, as docker has it. */
static int64_t memory_used(const json_t *memory)
{
	const json_t *stats = json_object_get(memory, "stats");
	int64_t usage = json_number(memory, "usage"), cache = json_number(stats, "total_inactive_file");
	if (!cache)
		cache = json_number(stats, "inactive_file");
	return cache < usage ? usage - cache : usage;
}

static void network_bytes(const json_t *s, int64_t *ret_in, int64_t *ret_out)
{
	const char *name;
	json_t *n;
	*ret_in = *ret_out = 0;
	json_object_foreach(json_object_get(s, "networks"), name, n)
	{
		*ret_in += json_number(n, "rx_bytes");
		*ret_out += json_number(n, "tx_bytes");
	}
}

static void block_bytes(const json_t *s, int64_t *ret_in, int64_t *ret_out)
{
	json_t *entry;
	size_t i;
	*ret_in = *ret_out = 0;
	json_array_foreach(json_object_get(json_object_get(s, "blkio_stats"), "io_service_bytes_recursive"), i, entry)
	{
		const char *op = json_text(entry, "op");
		if (strcasecmp(op, "read") == 0)
			*ret_in += json_number(entry, "value");
		else if (strcasecmp(op, "write") == 0)
			*ret_out += json_number(entry, "value");
	}
}

static void add_meter(const Meter *m, bool json, Table *t)
{
	const json_t *memory = json_object_get(m->last, "memory_stats");
	int64_t in, out, used = memory_used(memory), limit = json_number(memory, "limit");
	AUTO_FREE char *id = human_id(m->id), *memory_text = human_bytes_binary(used), *limit_text = human_bytes_binary(limit);
	network_bytes(m->last, &in, &out);
	AUTO_FREE char *net_in = format_bytes(in), *net_out = format_bytes(out);
	block_bytes(m->last, &in, &out);
	AUTO_FREE char *block_in = format_bytes(in), *block_out = format_bytes(out);
	AUTO_FREE char *cpu = xasprintf("%.2f%%", cpu_percent(m->last));
	AUTO_FREE char *usage = xasprintf("%s / %s", memory_text, limit_text);
	AUTO_FREE char *share = xasprintf("%.2f%%", limit > 0 ? (double) used * 100 / (double) limit : 0);
	AUTO_FREE char *net = xasprintf("%s / %s", net_in, net_out), *block = xasprintf("%s / %s", block_in, block_out);
	AUTO_FREE char *pids = xasprintf("%lld", (long long) json_number(json_object_get(m->last, "pids_stats"), "current"));
	if (json) {
		print_json(json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "ID", m->id, "Name", m->name, "CPUPerc", cpu, "MemUsage", usage,
			"MemPerc", share, "NetIO", net, "BlockIO", block, "PIDs", pids));
		return;
	}
	const char *const cells[] = { id, m->name, cpu, usage, share, net, block, pids };
	for (size_t i = 0; i < ARRAY_SIZE(cells); i++)
		table_add(t, cells[i]);
}

static void print_meters(const Meter *meters, size_t n, bool json, bool live)
{
	static const char *const headers[] = { "CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS", NULL };
	Table t;
	table_init(&t, headers);
	for (size_t i = 0; i < n; i++)
		if (meters[i].last)
			add_meter(&meters[i], json, &t);
	if (live)
		printf("\033[H\033[2J");
	if (!json)
		table_print(&t);
	table_done(&t);
	(void) fflush(stdout);
}

static int open_meter(const Cli *cli, const json_t *container, bool stream, Meter *m, Err *err)
{
	AUTO_BUF url = BUF_INIT;
	int r = client_open(cli, &m->c, err);
	if (r < 0)
		return r;
	m->id = xstrdup(json_text(container, "Id"));
	m->name = xstrdup(container_name(container));
	m->lines.c = m->c;
	buf_str(&url, "/containers/");
	http_url_append(&url, m->id);
	buf_str(&url, stream ? "/stats?stream=1" : "/stats?stream=0");
	r = http_call(m->c, "GET", buf_cstr(&url), NULL, false, err);
	return r < 0 ? r : 0;
}

static int read_meter(Meter *m, Err *err)
{
	char *text;
	int r;
	while ((r = line_stream_next(&m->lines, &text, err)) > 0) {
		json_t *o = *text ? json_loads(text, 0, NULL) : NULL;
		if (!json_is_object(o)) {
			json_decref(o);
			continue;
		}
		json_decref(m->last);
		m->last = o;
	}
	m->over = r == 0;
	return r == -EAGAIN ? 0 : r;
}

/* Reads until all are over (once) or an interrupt. */
static int watch(Meter *meters, size_t n, bool stream, bool json, Err *err)
{
	AUTO_FREE struct pollfd *fds = xcalloc(n + 1, sizeof(*fds));
	int64_t printed = 0;
	signals_catch();
	for (;;) {
		size_t open = 0;
		for (size_t i = 0; i < n; i++) {
			int r = meters[i].over ? 0 : read_meter(&meters[i], err);
			if (r < 0)
				return r;
			if (!meters[i].over)
				fds[open++] = (struct pollfd) { .fd = http_fd(meters[i].c), .events = POLLIN };
		}
		if (!open || signals_ended())
			return 0;
		int64_t now = time_mono();
		if (stream && now - printed >= NSEC_PER_SEC) {
			print_meters(meters, n, json, term_ansi(STDOUT_FILENO) && !json);
			printed = now;
		}
		int r = signals_poll(fds, open, stream ? 200 : -1);
		if (r < 0)
			return err_errno(err, r, "wait for the daemon");
	}
}

static int run_on(const Cli *cli, const StatsOptions *o, const json_t *list)
{
	AUTO_ERR err = ERR_INIT;
	size_t n = json_array_size(list), opened;
	bool json = cli->global.json || str_eq(o->format, "json");
	bool stream = !o->no_stream && (json || term_ansi(STDOUT_FILENO));
	int r = 0;
	if (n > FOLLOW_MAX)
		return cli_usage(cli, "no more than %d containers can be watched at once; name those that matter", FOLLOW_MAX);
	Meter *meters = xcalloc(n + 1, sizeof(*meters));
	for (opened = 0; opened < n && r == 0; opened++)
		r = open_meter(cli, json_array_get(list, opened), stream, &meters[opened], &err);
	if (r == 0)
		r = watch(meters, n, stream, json, &err);
	signals_release();
	if (r == 0 && !stream)
		print_meters(meters, n, json, false);
	for (size_t i = 0; i < opened; i++) {
		line_stream_done(&meters[i].lines);
		http_client_free(meters[i].c);
		free(meters[i].id);
		free(meters[i].name);
		json_decref(meters[i].last);
	}
	free(meters);
	return r < 0 ? cli_fail(&err) : EXIT_DONE;
}

static int run(Cli *cli, void *values, char **args)
{
	AUTO_HTTP *client = NULL;
	AUTO_ERR err = ERR_INIT;
	AUTO_FREE char *project = NULL;
	json_t *all = NULL, *list = NULL;
	if (project_name_try(cli, &project, NULL) < 0 && project_given(cli))
		return project_name(cli, &project);
	int code = client_open_or_fail(cli, &client);
	if (code)
		return code;
	int r = containers_list(client, args ? NULL : project, false, &all, &err);
	if (r == 0 && (args || project))
		r = containers_select(all, project, args, &list, &err);
	else if (r == 0)
		list = json_incref(all);
	json_decref(all);
	code = r < 0 ? cli_fail(&err) : run_on(cli, values, list);
	json_decref(list);
	return code;
}

const Command command_stats = {
	.name = "stats",
	.operands = "[SERVICE|CONTAINER...]",
	.summary = "Show what containers use of CPU, memory, network and disk",
	.text = "Of the stack here, or of everything where there is none. Goes on until Ctrl-C on a terminal, else once.",
	.options = options,
	.size = sizeof(StatsOptions),
	.max = -1,
	.complete = "service",
	.flags = COMMAND_JSON,
	.run = run,
};
