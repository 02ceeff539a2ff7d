// SPDX-License-Identifier: Apache-2.0
/*
 * The far end of -H ssh://…: what ssh runs on the machine with the daemon. Each channel that the client opens becomes a connection
 * to the daemon's socket; when its input ends, so does this process, and with it everything that the client had begun and that
 * belongs to a connection.
 */
#include "cli/dial-stdio.h"

#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/client.h"
#include "cli/host.h"
#include "io/http-client.h"
#include "io/mux.h"

#define TICK_MS 60000
#define TICKS 10 /* a laptop that sleeps may come back as long as this */

typedef struct Dialler {
	const Cli *cli;
	char *socket;
} Dialler;

json_t *dial_greeting(const char *socket)
{
	json_t *o = json_pack("{s:s, s:s}", "stead", "dial-stdio", "version", STEAD_VERSION);
	if (socket)
		(void) json_object_set_new(o, "socket", json_string(socket));
	return o;
}

static int parse_version(const char *s, uint32_t ret[2])
{
	for (int i = 0; i < 2; i++) {
		size_t n = strspn(s, "0123456789");
		AUTO_FREE char *number = xstrndup(s, n);
		if (!n || parse_u32_max(number, 1U << 20, &ret[i]) < 0 || (i == 0 && s[n] != '.'))
			return -EINVAL;
		s += n + 1;
	}
	return 0;
}

int dial_versions_fit(const char *a, const char *b)
{
	uint32_t x[2], y[2];
	if (parse_version(a, x) < 0 || parse_version(b, y) < 0)
		return -EINVAL;
	return x[0] == y[0] && (x[1] > y[1] ? x[1] - y[1] : y[1] - x[1]) <= 1;
}

int dial_check_greeting(const json_t *greeting, const char *where, Err *err)
{
	const char *version = json_text(greeting, "version");
	int fit = dial_versions_fit(version, STEAD_VERSION);
	if (!str_eq(json_text(greeting, "stead"), "dial-stdio") || fit < 0)
		return err_set(err, -EPROTO, "the greeting of the other side is not stead's");
	if (fit == 0)
		return err_set(err, -ENOTSUP, "%s: stead %s is there, and %s here: versions work together when they are at most one minor release apart. "
			"Bring the older one up to date; 'stead setup -H %s' renews the one there", where, version, STEAD_VERSION, where);
	return 0;
}

/* The client's wish, else what -H and STEAD_HOST say here, as long as that is a socket. */
static int choose_socket(const Dialler *d, const char *wanted, char **ret, Err *err)
{
	AUTO_HOST a = { 0 };
	AUTO_FREE char *url = NULL;
	if (wanted && (*wanted != '/' || str_has_control(wanted)))
		return err_set(err, -EINVAL, "the path of the socket must begin with /");
	if (wanted) {
		*ret = xstrdup(wanted);
		return 0;
	}
	const char *host = d->cli->global.host;
	if (str_empty(host))
		host = getenv("STEAD_HOST");
	int r = host_resolve(str_empty(host) ? CLIENT_DEFAULT_HOST : host, &url, err);
	if (r == 0)
		r = host_parse(url, &a, err);
	if (r == 0 && a.ssh)
		return err_set(err, -EINVAL, "STEAD_HOST leads on from there, to %s; name that machine itself", url);
	if (r == 0)
		*ret = steal_ptr(&a.path);
	return r;
}

static int on_greeted(void *user, const json_t *greeting, Err *err)
{
	Dialler *d = user;
	int r = dial_check_greeting(greeting, "the client", err);
	return r < 0 ? r : choose_socket(d, json_string_value(json_object_get(greeting, "socket")), &d->socket, err);
}

static int on_open(void *user, int *ret_fd, Err *err)
{
	const Dialler *d = user;
	int r = http_dial_unix(d->socket, ret_fd, err);
	if (r == -EACCES || r == -EPERM) {
		const struct passwd *pw = getpwuid(geteuid());
		const char *name = pw ? pw->pw_name : "USER";
		return err_set(err, r, "the user %s may not use the daemon's socket %s there: on that machine, run 'sudo usermod -aG stead %s'; "
			"the group stead counts from the next login on, and a connection that ssh keeps open (ControlMaster) is none: 'ssh -O stop' ends that",
			name, d->socket, name);
	}
	if (r == -ENOENT || r == -ECONNREFUSED)
		return err_set(err, r, "the stead daemon is not running there: nobody answers at %s; start it on that machine with "
			"'sudo systemctl start stead'", d->socket);
	return r;
}

static int run(Cli *cli, void *options, char **args)
{
	AUTO_ERR err = ERR_INIT;
	Dialler d = { .cli = cli };
	Mux *m = NULL;
	const MuxOptions o = { .in = STDIN_FILENO, .out = STDOUT_FILENO, .tick_ms = TICK_MS, .ticks = TICKS, .greeted = on_greeted, .accept = on_open, .user = &d };
	if (isatty(STDIN_FILENO) == 1 || isatty(STDOUT_FILENO) == 1)
		return cli_usage(cli, "this is what ssh runs for 'stead -H ssh://…', and nothing for a terminal");
	(void) signal(SIGPIPE, SIG_IGN);
	json_t *greeting = dial_greeting(NULL);
	int r = mux_new(&o, greeting, &m, &err);
	json_decref(greeting);
	if (r == 0)
		while ((r = mux_turn(m, NULL, 0, &err)) > 0)
			;
	mux_free(m);
	free(d.socket);
	return r < 0 ? cli_fail(&err) : EXIT_DONE;
}

const Command command_dial_stdio = {
	.name = "dial-stdio",
	.operands = "",
	.summary = "Connect standard input and output to the daemon (what ssh runs on the other machine)",
	.flags = COMMAND_HIDDEN,
	.run = run,
};
