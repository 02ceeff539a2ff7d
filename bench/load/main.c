// SPDX-License-Identifier: Apache-2.0
/*
 * load: a load generator that judges a deploy. It sends what real clients send, all at once, and counts
 * every request that does not get its whole right answer, by reason; usage() says how it is told what to do.
 *
 * A kind of load (load.h) is a number of workers, which share a rate. When the time or the number of requests
 * is reached, or at SIGTERM and SIGINT, no request begins any more, those in flight are waited for (their
 * time-outs still count), and the report is printed: one JSON object on stdout, in seconds.
 *
 *   {"url", "host", "started", "seconds", "requests", "failed", "failures": {REASON: n}, …,
 *    "kinds": {NAME: the same counts, "p50", "p99", "max"},
 *    "versions": [{"version", "requests", "first", "last"}], "changes": [{"t", "version"}],
 *    "statuses": {"502": n}, "examples": [{"t", "kind", "why", "detail"}]}
 *
 * SIGUSR1 prints the same as it is now. Exit code: 0 nothing failed, 1 something did, 2 wrong usage.
 */
#include "bench/load/load.h"

#include <errno.h>
#include <getopt.h>
#include <http_parser.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"

#define TICK_MS 100

typedef struct Program {
	Load load;
	const char *url;
	int64_t duration;    /* ns, 0 = until stopped */
	uint64_t requests;   /* 0 = no limit */
	bool verbose;
	int64_t begun, begun_real;
	uint64_t ended_before; /* at the last line of -v */
	int ticks;
	uv_loop_t loop;
	uv_timer_t tick;
	uv_signal_t signals[3];
} Program;

static Kind all_kinds[] = {
	{ .name = "get", .ops = &http1_ops, .connections = 4, .rate = 800, .get = "/data", .keep = true },
	{ .name = "post", .ops = &http1_ops, .connections = 4, .rate = 600, .post = "/echo", .keep = true },
	{ .name = "conn", .ops = &http1_ops, .connections = 4, .rate = 200, .get = "/data", .post = "/echo" },
	{ .name = "slow", .ops = &http1_ops, .connections = 8, .get = "/slow", .keep = true },
	{ .name = "idle", .ops = &http1_ops, .connections = 24, .get = "/data", .post = "/echo", .keep = true,
		.pause_min = 500 * NSEC_PER_MSEC, .pause_max = 6 * NSEC_PER_SEC },
	{ .name = "ws", .ops = &websocket_ops, .connections = 8, .get = "/ws", .keep = true },
#ifdef LOAD_HTTP2
	{ .name = "h2", .ops = &http2_ops, .connections = 2, .rate = 600, .get = "/data", .post = "/echo", .keep = true },
#endif
};

static void usage(FILE *f)
{
	size_t n = ARRAY_SIZE(all_kinds);

	fputs("load [OPTION]… http[s]://ADDRESS[:PORT]     sends load and counts what fails\n"
	      "\n"
	      "  --host NAME                 header Host (and SNI), else the address\n"
	      "  --kind NAME[=CONNS][@RATE]  only this kind, and others so named; RATE requests a second in all, 0 = no limit\n"
	      "  --without NAME              not this kind\n"
	      "  --get KIND=PATH, --post KIND=PATH   what it asks for (no PATH: never); of bench/server.c's paths the bodies are checked\n"
	      "  --body TEXT, --type TYPE    of POST, instead of bytes to be echoed\n"
	      "  --duration TIME             \"90s\", else until SIGTERM or SIGINT\n"
	      "  --requests N                ends after so many (messages of WebSockets not counted)\n"
	      "  --timeout TIME              of a request, 10s\n"
	      "  -v, --verbose               a line each second on stderr\n"
	      "\n"
	      "An https address is not verified. HTTP/2 over http is spoken with prior knowledge.\n"
	      "Kinds:\n", f);
	for (size_t i = 0; i < n; i++) {
		const Kind *k = &all_kinds[i];
		fprintf(f, "  %-6s %3zu connections, %4.0f/s  %s%s%s%s%s\n", k->name, k->connections, k->rate, k->get ? "GET " : "",
			k->get ? k->get : "", k->get && k->post ? ", " : "", k->post ? "POST " : "", k->post ? k->post : "");
	}
}

static void fail_usage(const char *what, const char *value)
{
	fprintf(stderr, "load: %s: %s\n\n", what, value);
	usage(stderr);
	exit(2);
}

/* --- turns */

static void on_turn(uv_timer_t *t)
{
	Worker *w = t->data;
	if (!w->load->stopping)
		w->ops->turn(w);
}

void worker_next(Worker *w, int64_t pause)
{
	Kind *k = w->kind;
	int64_t now = time_mono(), at = now + pause;

	if (w->load->stopping || uv_is_active((uv_handle_t *) &w->pace))
		return;
	if (k->rate > 0) {
		/* What a slow second left undone is made up for, but no more than a tenth of it at once. */
		if (k->next < now - NSEC_PER_SEC / 10)
			k->next = now - NSEC_PER_SEC / 10;
		if (k->next > at)
			at = k->next;
		k->next += (int64_t) (NSEC_PER_SEC / k->rate);
	}
	int64_t ms = (at - now + NSEC_PER_MSEC / 2) / NSEC_PER_MSEC;
	uv_update_time(w->load->loop);
	(void) uv_timer_start(&w->pace, on_turn, (uint64_t) ms, 0);
}

int64_t worker_pause(const Worker *w)
{
	const Kind *k = w->kind;
	if (k->pause_max <= k->pause_min)
		return k->pause_min;
	return k->pause_min + (int64_t) ((double) random() / RAND_MAX * (double) (k->pause_max - k->pause_min));
}

static void workers_start(Load *l)
{
	for (size_t i = 0; i < l->n_kinds; i++) {
		Kind *k = &l->kinds[i];
		k->workers = xcalloc(k->connections + 1, sizeof *k->workers);
		for (size_t n = 0; n < k->connections; n++) {
			Worker *w = k->workers[n] = xcalloc(1, k->ops->size);
			*w = (Worker){ .load = l, .kind = k, .ops = k->ops, .turns = n };
			(void) uv_timer_init(l->loop, &w->pace);
			w->pace.data = w;
			if (k->ops->init)
				k->ops->init(w);
			worker_next(w, worker_pause(w));
		}
	}
}

/* --- report */

static Counts *counts_sum(const Load *l)
{
	Counts *sum = xcalloc(1, sizeof *sum);
	for (size_t i = 0; i < l->n_kinds; i++)
		counts_add(sum, &l->kinds[i].counts);
	return sum;
}

static void report(const Program *p)
{
	AUTO_FREE Counts *sum = counts_sum(&p->load);
	char started[TIME_TEXT_MAX];
	json_t *j = json_pack("{s:s, s:s, s:s, s:f}", "url", p->url, "host", p->load.host, "started",
		time_rfc3339(p->begun_real, started), "seconds", (double) (time_mono() - p->begun) / NSEC_PER_SEC);
	json_t *kinds = json_object(), *totals = counts_json(sum), *failures = failures_json(&p->load.failures);

	for (size_t i = 0; i < p->load.n_kinds; i++)
		if (p->load.kinds[i].connections > 0)
			(void) json_object_set_new(kinds, p->load.kinds[i].name, counts_json(&p->load.kinds[i].counts));
	(void) json_object_update(j, totals);
	(void) json_object_set_new(j, "kinds", kinds);
	(void) json_object_set_new(j, "versions", versions_json(&p->load.versions));
	(void) json_object_set_new(j, "changes", changes_json(&p->load.versions));
	(void) json_object_update(j, failures);
	(void) json_dumpf(j, stdout, JSON_COMPACT | JSON_REAL_PRECISION(16));
	(void) putchar('\n');
	(void) fflush(stdout);
	json_decref(totals);
	json_decref(failures);
	json_decref(j);
}

static void verbose_line(Program *p, const Counts *sum)
{
	const Versions *v = &p->load.versions;
	uint64_t ended = sum->done + sum->failed;

	fprintf(stderr, "%4.0f s %6llu/s %9llu requests %6llu failed %8llu messages  version %s\n",
		(double) (time_mono() - p->begun) / NSEC_PER_SEC, (unsigned long long) (ended - p->ended_before), (unsigned long long) ended,
		(unsigned long long) sum->failed, (unsigned long long) sum->messages, v->n_seen ? v->seen[v->current].name : "-");
	p->ended_before = ended;
}

/* --- time, signals, the end */

static void stop_begin(Program *p)
{
	Load *l = &p->load;

	if (l->stopping)
		return;
	l->stopping = true;
	for (size_t i = 0; i < l->n_kinds; i++)
		for (size_t n = 0; n < l->kinds[i].connections; n++)
			l->kinds[i].ops->stop(l->kinds[i].workers[n]);
}

static bool any_busy(const Load *l)
{
	for (size_t i = 0; i < l->n_kinds; i++)
		for (size_t n = 0; n < l->kinds[i].connections; n++)
			if (l->kinds[i].ops->busy(l->kinds[i].workers[n]))
				return true;
	return false;
}

static void on_tick(uv_timer_t *t)
{
	Program *p = t->data;
	Load *l = &p->load;
	int64_t now = time_mono();
	AUTO_FREE Counts *sum = NULL;

	for (size_t i = 0; i < l->n_kinds; i++)
		for (size_t n = 0; n < l->kinds[i].connections; n++)
			l->kinds[i].ops->tick(l->kinds[i].workers[n], now);
	sum = counts_sum(l);
	if (p->verbose && ++p->ticks % (1000 / TICK_MS) == 0)
		verbose_line(p, sum);
	if ((p->duration > 0 && now - p->begun >= p->duration) || (p->requests > 0 && sum->done + sum->failed >= p->requests))
		stop_begin(p);
	if (l->stopping && !any_busy(l))
		uv_stop(&p->loop);
}

static void on_signal(uv_signal_t *s, int number)
{
	Program *p = s->data;
	if (number == SIGUSR1)
		report(p);
	else
		stop_begin(p);
}

static void close_handle(uv_handle_t *h, void *user)
{
	(void) user;
	if (!uv_is_closing(h))
		uv_close(h, NULL);
}

static int run(Program *p)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGUSR1 };
	Load *l = &p->load;

	p->begun = time_mono();
	p->begun_real = time_real();
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		(void) uv_signal_init(&p->loop, &p->signals[i]);
		p->signals[i].data = p;
		(void) uv_signal_start(&p->signals[i], on_signal, numbers[i]);
	}
	(void) uv_timer_init(&p->loop, &p->tick);
	p->tick.data = p;
	(void) uv_timer_start(&p->tick, on_tick, TICK_MS, TICK_MS);
	workers_start(l);
	(void) uv_run(&p->loop, UV_RUN_DEFAULT);
	report(p);

	AUTO_FREE Counts *sum = counts_sum(l);
	for (size_t i = 0; i < l->n_kinds; i++)
		for (size_t n = 0; n < l->kinds[i].connections; n++)
			l->kinds[i].ops->done(l->kinds[i].workers[n]);
	uv_walk(&p->loop, close_handle, NULL);
	(void) uv_run(&p->loop, UV_RUN_DEFAULT);
	(void) uv_loop_close(&p->loop);
	for (size_t i = 0; i < l->n_kinds; i++) {
		for (size_t n = 0; n < l->kinds[i].connections; n++)
			free(l->kinds[i].workers[n]);
		free(l->kinds[i].workers);
	}
	versions_done(&l->versions);
	failures_done(&l->failures);
	SSL_CTX_free(l->target.tls);
	return sum->failed > 0 ? 1 : 0;
}

/* --- the command line */

static Kind *kind_find(const char *name, size_t n)
{
	for (size_t i = 0; i < ARRAY_SIZE(all_kinds); i++)
		if (strlen(all_kinds[i].name) == n && memcmp(all_kinds[i].name, name, n) == 0)
			return &all_kinds[i];
	fail_usage("no such kind (is it built without HTTP/2?)", name);
	return NULL;
}

/** NAME[=CONNS][@RATE]; what is not said stays as it is. */
static void kind_option(const char *s)
{
	static bool first = true;
	static size_t defaults[ARRAY_SIZE(all_kinds)];

	for (size_t i = 0; i < ARRAY_SIZE(all_kinds) && first; i++) {
		defaults[i] = all_kinds[i].connections;
		all_kinds[i].connections = 0;
	}
	first = false;
	Kind *k = kind_find(s, strcspn(s, "=@"));
	uint64_t n = defaults[k - all_kinds];
	const char *eq = strchr(s, '='), *at = strchr(s, '@');
	AUTO_FREE char *count = eq ? xstrndup(eq + 1, strcspn(eq + 1, "@")) : NULL;
	if ((count && (parse_u64(count, &n) < 0 || n > 10000)) || (at && (parse_double(at + 1, &k->rate) < 0 || !(k->rate >= 0))))
		fail_usage("not NAME=CONNECTIONS@RATE", s);
	k->connections = n;
}

static void path_option(const char *s, bool post)
{
	const char *eq = strchr(s, '=');

	if (!eq || (eq[1] != '/' && eq[1]))
		fail_usage("not KIND=/PATH", s);
	Kind *k = kind_find(s, (size_t) (eq - s));
	const char *path = eq[1] ? eq + 1 : NULL;
	if (post)
		k->post = path;
	else
		k->get = path;
	if (!k->get && !k->post)
		fail_usage("nothing is left to be asked for", s);
}

static void target_option(Program *p, const char *url)
{
	struct http_parser_url u;
	Load *l = &p->load;

	http_parser_url_init(&u);
	if (http_parser_parse_url(url, strlen(url), 0, &u) != 0 || !(u.field_set & 1 << UF_HOST))
		fail_usage("no address like http://127.0.0.1:8080", url);
	AUTO_FREE char *address = xstrndup(url + u.field_data[UF_HOST].off, u.field_data[UF_HOST].len);
	bool tls = str_starts(url, "https://");
	int port = u.port ? u.port : tls ? 443 : 80;
	p->url = url;
	if (str_eq(address, "localhost"))
		str_set(&address, "127.0.0.1");
	if (uv_ip4_addr(address, port, (struct sockaddr_in *) &l->target.address) < 0
		&& uv_ip6_addr(address, port, (struct sockaddr_in6 *) &l->target.address) < 0)
		fail_usage("not the address of a machine (names are not looked up; give it with --host)", url);
	if (!l->host)
		l->host = url + u.field_data[UF_HOST].off; /* with the port, as a browser sends it */
	l->target.host = l->host;
	if (!tls)
		return;
	l->target.tls = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_verify(l->target.tls, SSL_VERIFY_NONE, NULL);
}

static int64_t time_option(const char *s)
{
	int64_t ns;
	if (parse_duration(s, &ns) < 0 || ns <= 0)
		fail_usage("no time like 10s", s);
	return ns;
}

static void parse(Program *p, int argc, char **argv)
{
	static const struct option options[] = { { "host", 1, NULL, 'H' }, { "kind", 1, NULL, 'k' }, { "without", 1, NULL, 'w' },
		{ "get", 1, NULL, 'g' }, { "post", 1, NULL, 'p' }, { "body", 1, NULL, 'b' }, { "type", 1, NULL, 't' },
		{ "duration", 1, NULL, 'd' }, { "requests", 1, NULL, 'n' }, { "timeout", 1, NULL, 'T' }, { "verbose", 0, NULL, 'v' },
		{ "help", 0, NULL, 'h' }, { NULL, 0, NULL, 0 } };
	int c;

	while ((c = getopt_long(argc, argv, "vh", options, NULL)) != -1) {
		switch (c) {
		case 'H': p->load.host = optarg; break;
		case 'k': kind_option(optarg); break;
		case 'w': kind_find(optarg, strlen(optarg))->connections = 0; break;
		case 'g': path_option(optarg, false); break;
		case 'p': path_option(optarg, true); break;
		case 'b': p->load.post_body = optarg; break;
		case 't': p->load.post_type = optarg; break;
		case 'd': p->duration = time_option(optarg); break;
		case 'T': p->load.timeout = time_option(optarg); break;
		case 'v': p->verbose = true; break;
		case 'n':
			if (parse_u64(optarg, &p->requests) < 0)
				fail_usage("no number", optarg);
			break;
		case 'h': usage(stdout); exit(0);
		default: usage(stderr); exit(2);
		}
	}
	if (optind != argc - 1)
		fail_usage("one address is needed", optind < argc ? argv[optind + 1] : "none given");
	target_option(p, argv[optind]);
}

int main(int argc, char **argv)
{
	static Program p = { .load.timeout = 10 * NSEC_PER_SEC };
	struct rlimit files;

	(void) uv_loop_init(&p.loop);
	p.load.loop = &p.loop;
	p.load.kinds = all_kinds;
	p.load.n_kinds = ARRAY_SIZE(all_kinds);
	parse(&p, argc, argv);
	(void) signal(SIGPIPE, SIG_IGN);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void) setrlimit(RLIMIT_NOFILE, &files);
	}
	srandom((unsigned) time_real());
	return run(&p);
}
