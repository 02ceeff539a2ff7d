// SPDX-License-Identifier: Apache-2.0
#include "daemon/main.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/api.h"
#include "daemon/start.h"
#include "daemon/state.h"
#include "edge/edge.h"
#include "io/http-server.h"
#include "run/runtime.h"

#define OOM_SCORE "-900"
#define HELP_COLUMN 24 /* where the text of `--help` begins, less two */
#define OPTION_BASE 256 /* above every letter */
#define FILES_ENOUGH 512

/* `offset` is that of the text in DaemonOptions; an option without a VALUE is a switch, see parse_options. */
static const struct DaemonOption {
	const char *name, *value, *help;
	size_t offset;
} daemon_options[] = {
	{ "name", "NAME", "Name in bridges, packet rules and cgroups; two daemons on one machine\nneed different names (default: stead)",
		offsetof(DaemonOptions, name) },
	{ "state-dir", "DIR", "What lasts: database, layers, volumes (default: /var/lib/stead)", offsetof(DaemonOptions, state_dir) },
	{ "run-dir", "DIR", "Socket and what ends with a reboot (default: /run/stead)", offsetof(DaemonOptions, run_dir) },
	{ "runtime", "RUNTIME", "crun, runc or the path of an OCI runtime (default: by trying)", offsetof(DaemonOptions, runtime) },
	{ "edge-http", "ADDR:PORT", "Where routes are served over HTTP: ADDR:PORT, :PORT for all\naddresses, or off (default: :80)",
		offsetof(DaemonOptions, edge_http) },
	{ "edge-https", "ADDR:PORT", "Where routes are served over HTTPS, likewise (default: :443)", offsetof(DaemonOptions, edge_https) },
	{ "acme-server", "URL", "Directory of the ACME server that issues certificates, or off\n(default: Let's Encrypt)",
		offsetof(DaemonOptions, acme_server) },
	{ "acme-email", "ADDRESS", "Where that server may write to", offsetof(DaemonOptions, acme_email) },
	{ "acme-ca", "FILE", "CA certificates (PEM) that it is trusted by, for one of your own\n(default: the system's)", offsetof(DaemonOptions, acme_ca) },
	{ "registries", "FILE", "Mirrors, plain-HTTP registries and certificates of registries\n(default: /etc/stead/registries.conf)",
		offsetof(DaemonOptions, registries) },
	{ "image-quota", "SIZE", "What all images may have on the disk: 20g; what would be more is\nrefused (default: no limit)",
		offsetof(DaemonOptions, image_quota) },
	{ "build-cache-quota", "SIZE", "What the cache of builds may have on the disk beside images: 5g; the\nlongest unused goes (default: a fifth of the disk, at most 20g)",
		offsetof(DaemonOptions, build_cache_quota) },
	{ "debug", NULL, "Say more in the log", 0 },
	{ "help", NULL, "Show this help", 0 },
};

static void usage(FILE *to)
{
	fprintf(to, "Usage: stead daemon [OPTIONS]\n\n"
		    "Runs the daemon in the foreground. Containers go on running when it ends.\n\n"
		    "Options:\n");
	for (size_t i = 0; i < ARRAY_SIZE(daemon_options); i++) {
		const struct DaemonOption *o = &daemon_options[i];
		int used = fprintf(to, "  --%s%s%s", o->name, o->value ? " " : "", o->value ?: "");
		for (const char *line = o->help; *line; used = 0) {
			size_t n = strcspn(line, "\n");
			fprintf(to, "%*s  %.*s\n", HELP_COLUMN - used, "", (int) n, line);
			line += n + (line[n] == '\n');
		}
	}
}

static int parse_options(int argc, char **argv, DaemonOptions *o)
{
	struct option options[ARRAY_SIZE(daemon_options) + 1] = { 0 };
	for (size_t i = 0; i < ARRAY_SIZE(daemon_options); i++)
		options[i] = (struct option) { daemon_options[i].name, daemon_options[i].value ? required_argument : no_argument, NULL, OPTION_BASE + (int) i };
	*o = (DaemonOptions) { .name = "stead", .state_dir = "/var/lib/stead", .run_dir = "/run/stead", .edge_http = ":80", .edge_https = ":443",
		.acme_server = "https://acme-v02.api.letsencrypt.org/directory", .registries = "/etc/stead/registries.conf" };
	optind = 1;
	for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
		if (c != 'h' && c < OPTION_BASE) {
			usage(stderr);
			return -EINVAL;
		}
		const struct DaemonOption *option = c == 'h' ? NULL : &daemon_options[c - OPTION_BASE];
		if (!option || str_eq(option->name, "help")) {
			usage(stdout);
			return 1;
		}
		if (option->value)
			*(const char **) ((char *) o + option->offset) = optarg;
		else
			o->debug = true;
	}
	if (optind < argc) {
		fprintf(stderr, "stead daemon: unexpected argument '%s'\n", argv[optind]);
		return -EINVAL;
	}
	if (!stack_name_valid(o->name) || strlen(o->name) > 32) {
		fprintf(stderr, "stead daemon: --name: lower-case letters, digits, '-' and '_' are expected, at most 32, not '%s'\n", o->name);
		return -EINVAL;
	}
	AUTO_ERR err = ERR_INIT;
	if (edge_address_check("--edge-http", o->edge_http, &err) < 0 || edge_address_check("--edge-https", o->edge_https, &err) < 0) {
		fprintf(stderr, "stead daemon: %s\n", err_text(&err));
		return -EINVAL;
	}
	if (edge_acme_check(o->acme_server, o->acme_email, o->acme_ca, &err) < 0) {
		fprintf(stderr, "stead daemon: %s\n", err_text(&err));
		return -EINVAL;
	}
	int64_t quota = 0;
	if (o->image_quota && (parse_bytes(o->image_quota, &quota) < 0 || quota <= 0)) {
		fprintf(stderr, "stead daemon: --image-quota: a size such as 500m or 20g is expected, not '%s'\n", o->image_quota);
		return -EINVAL;
	}
	if (o->build_cache_quota && (parse_bytes(o->build_cache_quota, &(int64_t) { 0 }) < 0)) {
		fprintf(stderr, "stead daemon: --build-cache-quota: a size such as 500m or 5g is expected, not '%s'\n", o->build_cache_quota);
		return -EINVAL;
	}
	/* Workers read it there: whatever makes a layer keeps to it. */
	AUTO_FREE char *bytes = xasprintf("%lld", (long long) quota);
	(void) setenv("STEAD_IMAGE_QUOTA", bytes, 1);
	if (o->state_dir[0] != '/' || o->run_dir[0] != '/') {
		fprintf(stderr, "stead daemon: --state-dir and --run-dir must be absolute paths\n");
		return -EINVAL;
	}
	return 0;
}

static void terminate(uv_signal_t *s, int sig)
{
	Daemon *d = s->data;
	log_info("signal %d: the daemon ends, containers go on", sig);
	uv_stop(d->loop);
}

static void power_off(uv_signal_t *s, int sig)
{
	Daemon *d = s->data;
	if (d->powering_off)
		return;
	log_info("signal %d: the machine goes down, containers are stopped", sig);
	daemon_power_off(d);
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

static int run(Daemon *d, Err *err)
{
	uv_signal_t term, intr, power;
	int r = daemon_open(d, err);
	if (r == 0)
		r = api_start(d, err);
	if (r < 0)
		return r;
	(void) uv_signal_init(d->loop, &term);
	(void) uv_signal_init(d->loop, &intr);
	(void) uv_signal_init(d->loop, &power);
	term.data = intr.data = power.data = d;
	(void) uv_signal_start(&term, terminate, SIGTERM);
	(void) uv_signal_start(&intr, terminate, SIGINT);
	(void) uv_signal_start(&power, power_off, SIGPWR);
	log_info("%s %s is ready: runtime %s, %zu containers, socket %s/stead.sock", d->o.name, STEAD_VERSION, d->runtime->name,
		d->n_containers, d->o.run_dir);
	notify_ready();
	(void) uv_run(d->loop, UV_RUN_DEFAULT);
	uv_close((uv_handle_t *) &term, NULL);
	uv_close((uv_handle_t *) &intr, NULL);
	uv_close((uv_handle_t *) &power, NULL);
	r = state_write_dirty(d, err);
	if (r == 0)
		daemon_leave(d);
	return r;
}

/* Two or three for each container, more while it starts, some for each client: a shell's usual 1024 is soon used up. */
static void raise_files_limit(void)
{
	struct rlimit l;
	if (getrlimit(RLIMIT_NOFILE, &l) < 0)
		return;
	rlim_t soft = l.rlim_cur;
	l.rlim_cur = l.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &l) < 0)
		l.rlim_cur = soft;
	if (l.rlim_cur < FILES_ENOUGH)
		log_warning("this daemon may have %llu open files, which is enough for few containers only; raise it with `ulimit -n`, for a unit "
			    "with LimitNOFILE=", (unsigned long long) l.rlim_cur);
}

int daemon_main(int argc, char **argv)
{
	AUTO_ERR err = ERR_INIT;
	Daemon d = { 0 };
	static uv_loop_t loop; /* outlives us where something that was left running still has a handle on it */
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
	raise_files_limit();
	/* Children reset it (io/child.h, conmon). Not every machine allows it. */
	(void) file_write(AT_FDCWD, "/proc/self/oom_score_adj", OOM_SCORE, strlen(OOM_SCORE), 0);
	if (uv_loop_init(&loop) < 0)
		return 1;
	d.loop = &loop;
	r = run(&d, &err);
	if (r < 0)
		log_error("%s", err_text(&err));
	if (d.http)
		http_server_free(d.http);
	daemon_close(&d);
	(void) uv_loop_close(&loop);
	/* A state that somebody else holds is as wrong an option as any other. */
	return r == -EBUSY ? 2 : r < 0 ? 1 : 0;
}
