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
#include "io/http-server.h"
#include "run/runtime.h"

#define OOM_SCORE "-900"

static void usage(FILE *to)
{
	fprintf(to,
		"Usage: stead daemon [OPTIONS]\n\n"
		"Runs the daemon in the foreground. Containers go on running when it ends.\n\n"
		"Options:\n"
		"  --name NAME        Name in bridges, packet rules and cgroups; two daemons on one machine\n"
		"                     need different names (default: stead)\n"
		"  --state-dir DIR    What lasts: database, layers, volumes (default: /var/lib/stead)\n"
		"  --run-dir DIR      Socket and what ends with a reboot (default: /run/stead)\n"
		"  --runtime RUNTIME  crun, runc or the path of an OCI runtime (default: by trying)\n"
		"  --debug            Say more in the log\n"
		"  --help             Show this help\n");
}

static int parse_options(int argc, char **argv, DaemonOptions *o)
{
	static const struct option options[] = {
		{ "name", required_argument, NULL, 'n' },
		{ "state-dir", required_argument, NULL, 's' },
		{ "run-dir", required_argument, NULL, 'r' },
		{ "runtime", required_argument, NULL, 'R' },
		{ "debug", no_argument, NULL, 'd' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	*o = (DaemonOptions) { .name = "stead", .state_dir = "/var/lib/stead", .run_dir = "/run/stead" };
	optind = 1;
	for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
		switch (c) {
		case 'n':
			o->name = optarg;
			break;
		case 's':
			o->state_dir = optarg;
			break;
		case 'r':
			o->run_dir = optarg;
			break;
		case 'R':
			o->runtime = optarg;
			break;
		case 'd':
			o->debug = true;
			break;
		case 'h':
			usage(stdout);
			return 1;
		default:
			usage(stderr);
			return -EINVAL;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "stead daemon: unexpected argument '%s'\n", argv[optind]);
		return -EINVAL;
	}
	if (!stack_name_valid(o->name) || strlen(o->name) > 32) {
		fprintf(stderr, "stead daemon: --name: lower-case letters, digits, '-' and '_' are expected, at most 32, not '%s'\n", o->name);
		return -EINVAL;
	}
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
	uv_signal_t term, intr;
	int r = daemon_open(d, err);
	if (r == 0)
		r = api_start(d, err);
	if (r < 0)
		return r;
	(void) uv_signal_init(d->loop, &term);
	(void) uv_signal_init(d->loop, &intr);
	term.data = intr.data = d;
	(void) uv_signal_start(&term, terminate, SIGTERM);
	(void) uv_signal_start(&intr, terminate, SIGINT);
	log_info("%s %s is ready: runtime %s, %zu containers, socket %s/stead.sock", d->o.name, STEAD_VERSION, d->runtime->name,
		d->n_containers, d->o.run_dir);
	notify_ready();
	(void) uv_run(d->loop, UV_RUN_DEFAULT);
	uv_close((uv_handle_t *) &term, NULL);
	uv_close((uv_handle_t *) &intr, NULL);
	r = state_write_dirty(d, err);
	if (r == 0)
		daemon_leave(d);
	return r;
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
