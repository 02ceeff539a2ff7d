// SPDX-License-Identifier: Apache-2.0

/*
 * stead-names: the DNS server behind 127.0.0.11 in every container (base/names-protocol.h says how the daemon
 * talks to it). It gets its listening control socket as descriptor 3, so it opens no file and can be nobody
 * from the first line on; sockets inside containers come over that socket. It runs on when the daemon ends,
 * and ends itself when there is neither a daemon nor a container.
 */

#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "names/server.h"

#define LISTENER 3
#define NOBODY 65534
#define FILES_MAX 16384 /* two for each container, up to three for each forward */

/* 128 KiB of buffers that are touched as far as messages are long. */
static Server server;

static bool is_listener(int fd)
{
	int on = 0;
	socklen_t n = sizeof(on);

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &n) == 0 && on;
}

static void raise_files_limit(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0)
		return;
	if (l.rlim_max < FILES_MAX) /* as root we may */
		l.rlim_max = FILES_MAX;
	l.rlim_cur = FILES_MAX;
	if (setrlimit(RLIMIT_NOFILE, &l) < 0) {
		(void) getrlimit(RLIMIT_NOFILE, &l);
		l.rlim_cur = l.rlim_max;
		(void) setrlimit(RLIMIT_NOFILE, &l);
	}
}

static int drop_privileges(void)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	if (geteuid() != 0)
		return 0;
	if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
		setresuid(NOBODY, NOBODY, NOBODY) < 0)
		return -1;
	return setuid(0) == 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
	int r;

	if (argc != 1 || !is_listener(LISTENER)) {
		fputs("stead-names is started by stead daemon\n", stderr);
		return 2;
	}
	raise_files_limit();
	if (chdir("/") < 0 || drop_privileges() < 0) {
		perror("stead-names: give up privileges");
		return 1;
	}
	(void) signal(SIGPIPE, SIG_IGN);
	server_init(&server, LISTENER);
	r = server_run(&server);
	server_done(&server);
	return r < 0 ? 1 : 0;
}
