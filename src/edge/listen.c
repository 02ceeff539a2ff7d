// SPDX-License-Identifier: Apache-2.0
#include "edge/listen.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "edge/edge.h"

#define BACKLOG 4096
#define STATE_LISTEN 0x0A
#define INODES_MAX 16
#define TABLE_MAX (16U << 20) /* of /proc/net/tcp */

static int parse_port(const char *s, uint16_t *ret)
{
	uint32_t port;
	if (!*s || parse_u32_max(s, UINT16_MAX, &port) < 0 || !port)
		return -EINVAL;
	*ret = (uint16_t) port;
	return 0;
}

int listen_parse(const char *s, ListenAddress *ret)
{
	const char *colon = strrchr(s, ':');
	uint16_t port;
	*ret = (ListenAddress) { 0 };
	if (str_eq(s, "off"))
		return 0;
	if (!colon || parse_port(colon + 1, &port) < 0)
		return -EINVAL;
	AUTO_FREE char *host = xstrndup(s, (size_t) (colon - s));
	size_t n = strlen(host);
	ret->v4.sin_port = ret->v6.sin6_port = htons(port);
	if (!n || str_eq(host, "*")) {
		ret->v4.sin_family = AF_INET;
		ret->v6.sin6_family = AF_INET6;
		ret->v6.sin6_addr = in6addr_any;
		return 0;
	}
	if (host[0] == '[' && host[n - 1] == ']') {
		host[n - 1] = '\0';
		ret->v6.sin6_family = AF_INET6;
		return inet_pton(AF_INET6, host + 1, &ret->v6.sin6_addr) == 1 ? 0 : -EINVAL;
	}
	ret->v4.sin_family = AF_INET;
	return inet_pton(AF_INET, host, &ret->v4.sin_addr) == 1 ? 0 : -EINVAL;
}

uint16_t listen_port(const ListenAddress *a)
{
	return ntohs(a->v4.sin_port);
}

int edge_address_check(const char *what, const char *s, Err *err)
{
	ListenAddress a;
	if (listen_parse(s, &a) < 0)
		return err_set(err, -EINVAL, "%s: ADDR:PORT, [ADDR6]:PORT, :PORT or off is expected, not '%s'", what, s);
	return 0;
}

/* ── who holds a port ─────────────────────────────────────────────── */

/* Lines of /proc/net/tcp: "sl local_address rem_address st … inode". */
static size_t find_inodes(const char *table, uint16_t port, unsigned long *inodes, size_t n)
{
	AUTO_BUF text = BUF_INIT;
	if (file_read(AT_FDCWD, table, TABLE_MAX, &text) < 0)
		return n;
	for (char *line = text.data, *next; line && *line && n < INODES_MAX; line = next) {
		unsigned local_port = 0, state = 0;
		unsigned long inode = 0;
		next = strchr(line, '\n');
		next = next ? next + 1 : NULL;
		if (sscanf(line, " %*u: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*u %*u %lu", &local_port, &state, &inode) == 3 &&
			local_port == port && state == STATE_LISTEN && inode)
			inodes[n++] = inode;
	}
	return n;
}

static bool has_inode(const char *pid, const unsigned long *inodes, size_t n)
{
	AUTO_FREE char *path = xasprintf("/proc/%s/fd", pid);
	DIR *dir = opendir(path);
	bool found = false;
	for (struct dirent *e; dir && !found && (e = readdir(dir));) {
		char target[64] = "";
		unsigned long inode;
		ssize_t len = readlinkat(dirfd(dir), e->d_name, target, sizeof(target) - 1);
		if (len <= 0 || sscanf(target, "socket:[%lu]", &inode) != 1)
			continue;
		for (size_t i = 0; i < n; i++)
			found = found || inodes[i] == inode;
	}
	if (dir)
		(void) closedir(dir);
	return found;
}

static size_t listening_inodes(uint16_t port, unsigned long *inodes)
{
	return find_inodes("/proc/net/tcp6", port, inodes, find_inodes("/proc/net/tcp", port, inodes, 0));
}

bool listen_held_by(uint16_t port, pid_t pid)
{
	unsigned long inodes[INODES_MAX];
	AUTO_FREE char *name = xasprintf("%d", (int) pid);
	return has_inode(name, inodes, listening_inodes(port, inodes));
}

/** "nginx (pid 123)" for the process that listens on that TCP port; NULL if it cannot be told. Owned by the caller. */
static char *listen_holder(uint16_t port)
{
	unsigned long inodes[INODES_MAX];
	size_t n = listening_inodes(port, inodes);
	DIR *proc = n ? opendir("/proc") : NULL;
	char *holder = NULL;
	for (struct dirent *e; proc && !holder && (e = readdir(proc));) {
		AUTO_BUF comm = BUF_INIT;
		if (e->d_name[0] < '0' || e->d_name[0] > '9' || !has_inode(e->d_name, inodes, n))
			continue;
		AUTO_FREE char *path = xasprintf("/proc/%s/comm", e->d_name);
		if (file_read(AT_FDCWD, path, 64, &comm) == 0 && comm.len)
			holder = xasprintf("%.*s (pid %s)", (int) strcspn(comm.data, "\n"), comm.data, e->d_name);
	}
	if (proc)
		(void) closedir(proc);
	return holder;
}

/* ── sockets ──────────────────────────────────────────────────────── */

static uint16_t port_of(const struct sockaddr *a)
{
	return ntohs(a->sa_family == AF_INET6 ? ((const struct sockaddr_in6 *) a)->sin6_port : ((const struct sockaddr_in *) a)->sin_port);
}

static int open_error(int r, const struct sockaddr *a, const char *option, Err *err)
{
	uint16_t port = port_of(a);
	if (r == -EADDRINUSE) {
		AUTO_FREE char *holder = listen_holder(port);
		return err_set(err, r, "port %u is held by %s; stop it, or start the daemon with another address (%s ADDR:PORT)", port,
			holder ?: "another program", option);
	}
	if (r == -EADDRNOTAVAIL)
		return err_set(err, r, "no interface of this machine has the address of %s: start the daemon with another one, or :%u for all", option, port);
	return err_errno(err, r, "listen on port %u", port);
}

int listen_open(const struct sockaddr *a, socklen_t n, const char *option, int *ret_fd, Err *err)
{
	static const int on = 1;
	AUTO_CLOSE int fd = socket(a->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return open_error(-errno, a, option, err);
	(void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (a->sa_family == AF_INET6)
		(void) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, a, n) < 0 || listen(fd, BACKLOG) < 0)
		return open_error(-errno, a, option, err);
	*ret_fd = steal_fd(&fd);
	return 0;
}

static bool same_address(const struct sockaddr *a, const struct sockaddr_storage *b)
{
	if (a->sa_family != b->ss_family || port_of(a) != port_of((const void *) b))
		return false;
	if (a->sa_family == AF_INET6)
		return memcmp(&((const struct sockaddr_in6 *) a)->sin6_addr, &((const struct sockaddr_in6 *) b)->sin6_addr, 16) == 0;
	return ((const struct sockaddr_in *) a)->sin_addr.s_addr == ((const struct sockaddr_in *) b)->sin_addr.s_addr;
}

int listen_take(int pidfd, int fd, const struct sockaddr *a, socklen_t n, int *ret_fd)
{
	struct sockaddr_storage is;
	socklen_t len = sizeof(is);
	int listens = 0;
	AUTO_CLOSE int mine = (int) syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	if (mine < 0)
		return -errno;
	if (getsockname(mine, (void *) &is, &len) < 0)
		return -errno;
	if (!same_address(a, &is))
		return -EADDRNOTAVAIL;
	len = sizeof(listens);
	if (getsockopt(mine, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) < 0 || !listens)
		return -EINVAL;
	*ret_fd = steal_fd(&mine);
	return 0;
}
