// SPDX-License-Identifier: Apache-2.0

#include "net/claim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"

struct Claims {
	int fd;
};

Claims *claims_new(const char *path)
{
	Claims *c = xcalloc(1, sizeof(*c));

	c->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	return c;
}

void claims_free(Claims *c)
{
	if (!c)
		return;
	if (c->fd >= 0)
		(void) close(c->fd);
	free(c);
}

/* A byte of the file stands for an address, so that subnets of different sizes meet where they overlap. */
static int set_lock(Claims *c, const Addr *subnet, short type)
{
	Addr net = addr_network(subnet);
	struct flock lock = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = (off_t) addr_v4(&net),
		.l_len = (off_t) 1 << (32 - net.prefix),
	};

	if (c->fd < 0 || net.family != AF_INET || net.prefix > 32)
		return 0;
	/* An OFD lock: it belongs to this descriptor, not to whoever closes another one of the file. */
	return fcntl(c->fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

int claims_take(Claims *c, const Addr *subnet)
{
	int r = set_lock(c, subnet, F_WRLCK);

	return r == -EAGAIN || r == -EACCES ? 1 : 0;
}

void claims_release(Claims *c, const Addr *subnet)
{
	(void) set_lock(c, subnet, F_UNLCK);
}
