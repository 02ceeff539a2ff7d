// SPDX-License-Identifier: Apache-2.0
/*
 * stead-fetch: HTTP for workers (image/fetch.h is the other side, base/fetch-protocol.h what they say). A process of its own, since it talks
 * to strangers and workers are root, and since libcurl would cost every other worker its start. It gives up root first, knows no policy, and
 * keeps connections between the transfers of its worker, with which it ends.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fetch-protocol.h"
#include "base/limits.h"
#include "base/mem.h"
#include "fetch/fence.h"
#include "fetch/transfer.h"

typedef struct Fetcher {
	CURLM *multi;
	Transfer *items[LIMIT_FETCHES];
	size_t n;
} Fetcher;

/* One transfer's descriptors. False at the end of the socket. */
static bool take_transfer(Fetcher *f)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(2 * sizeof(int))];
	} control;
	char byte;
	struct iovec v = { &byte, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	int fds[2];
	ssize_t n = recvmsg(FETCH_CONTROL_FD, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0)
		return false;
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	if (!c || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(fds)))
		return false;
	memcpy(fds, CMSG_DATA(c), sizeof(fds));
	for (int i = 0; i < 2; i++)
		(void) fcntl(fds[i], F_SETFL, O_NONBLOCK);
	f->items[f->n++] = transfer_new(f->multi, fds[0], fds[1]);
	return true;
}

static void take_results(Fetcher *f)
{
	CURLMsg *m;
	int left;
	while ((m = curl_multi_info_read(f->multi, &left))) {
		Transfer *t = NULL;
		if (m->msg == CURLMSG_DONE && curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &t) == CURLE_OK && t)
			transfer_done(t, m->data.result);
	}
}

static void step_all(Fetcher *f)
{
	for (size_t i = 0; i < f->n;) {
		if (transfer_step(f->items[i])) {
			i++;
			continue;
		}
		transfer_free(f->items[i]);
		f->items[i] = f->items[--f->n];
	}
}

static int serve(Fetcher *f)
{
	struct curl_waitfd fds[1 + 2 * LIMIT_FETCHES];
	for (;;) {
		int running;
		if (curl_multi_perform(f->multi, &running) != CURLM_OK)
			return 1;
		take_results(f);
		step_all(f);
		unsigned n = 0;
		if (f->n < LIMIT_FETCHES)
			fds[n++] = (struct curl_waitfd) { .fd = FETCH_CONTROL_FD, .events = CURL_WAIT_POLLIN };
		for (size_t i = 0; i < f->n; i++) {
			struct curl_waitfd own[2];
			transfer_wait(f->items[i], own);
			for (int k = 0; k < 2; k++)
				if (own[k].fd >= 0)
					fds[n++] = own[k];
		}
		if (curl_multi_poll(f->multi, fds, n, 60000, NULL) != CURLM_OK)
			return 1;
		if (f->n < LIMIT_FETCHES && !take_transfer(f))
			return 0;
	}
}

int main(int argc, char **argv)
{
	Fetcher f = { 0 };
	if (argc != 1 || fcntl(FETCH_CONTROL_FD, F_GETFD) < 0) {
		fputs("stead-fetch is started by stead-worker\n", stderr);
		return 2;
	}
	(void) signal(SIGPIPE, SIG_IGN);
	(void) fcntl(FETCH_CONTROL_FD, F_SETFD, FD_CLOEXEC);
	int r = fence_enter();
	if (r < 0) {
		fprintf(stderr, "stead-fetch cannot give up its privileges: %s\n", strerror(-r));
		return 1;
	}
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(f.multi = curl_multi_init())) {
		fputs("libcurl cannot be initialised\n", stderr);
		return 1;
	}
	r = serve(&f);
	for (size_t i = 0; i < f.n; i++)
		transfer_free(f.items[i]);
	(void) curl_multi_cleanup(f.multi);
	curl_global_cleanup();
	return r;
}
