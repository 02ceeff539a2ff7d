// SPDX-License-Identifier: Apache-2.0
/* What comes over a link, to either end; the first byte chooses which, and in what pieces it comes. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "io/mux.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_greeted(void *user, const json_t *greeting, Err *err)
{
	return 0;
}

/* Every other connection works; nobody reads it. */
static int on_accept(void *user, int *ret_fd, Err *err)
{
	unsigned *n = user;
	int p[2];
	if (++*n % 2 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p) < 0)
		return err_set(err, -EACCES, "no");
	(void) close(p[1]);
	*ret_fd = p[0];
	return 0;
}

static void on_refused(void *user, uint32_t channel, const char *text)
{
	assert(channel && text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned accepted = 0;
	int p[2], link;
	Mux *m;
	if (size < 1 || (link = open("/dev/null", O_RDWR | O_CLOEXEC)) < 0)
		return 0;
	bool client = data[0] & 1;
	const MuxOptions o = { .in = link, .out = link, .client = client, .greeted = on_greeted, .accept = on_accept, .refused = on_refused, .user = &accepted };
	json_t *greeting = json_object();
	int r = mux_new(&o, greeting, &m, NULL);
	json_decref(greeting);
	assert(r == 0);
	for (int i = 0; client && i < 2 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p) == 0; i++) {
		(void) mux_open(m, p[0]);
		(void) close(p[1]);
	}
	size_t piece = (size_t) (data[0] >> 1) + 1;
	for (size_t at = 1; at < size && r == 0; at += piece) {
		AUTO_ERR err = ERR_INIT;
		r = mux_feed(m, data + at, size - at < piece ? size - at : piece, &err);
		assert(r == 0 || err.text);
	}
	mux_free(m);
	(void) close(link);
	return 0;
}
