// SPDX-License-Identifier: Apache-2.0
#include "cli/signals.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

#include "base/mem.h"

static const int caught[] = { SIGINT, SIGTERM, SIGHUP, SIGWINCH };
static struct sigaction old_actions[ARRAY_SIZE(caught)];
static sigset_t old_mask;
static bool catching;
static volatile sig_atomic_t arrived[NSIG];

static void note(int sig)
{
	arrived[sig] = 1;
}

void signals_catch(void)
{
	sigset_t set;
	struct sigaction sa = { .sa_handler = note };
	if (catching)
		return;
	(void) sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(caught); i++)
		(void) sigaddset(&set, caught[i]);
	(void) sigprocmask(SIG_BLOCK, &set, &old_mask);
	for (size_t i = 0; i < ARRAY_SIZE(caught); i++) {
		arrived[caught[i]] = 0;
		(void) sigaction(caught[i], NULL, &old_actions[i]);
		/* nohup's choice stays. SIGINT is ignored in every background job of a script, which says nothing. */
		if (caught[i] != SIGHUP || old_actions[i].sa_handler != SIG_IGN)
			(void) sigaction(caught[i], &sa, NULL);
	}
	catching = true;
}

void signals_release(void)
{
	if (!catching)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(caught); i++)
		(void) sigaction(caught[i], &old_actions[i], NULL);
	(void) sigprocmask(SIG_SETMASK, &old_mask, NULL);
	catching = false;
}

int signals_poll(struct pollfd *fds, size_t n, int timeout_ms)
{
	struct timespec ts = { timeout_ms / 1000, (long) (timeout_ms % 1000) * 1000000L };
	int r = ppoll(fds, n, timeout_ms < 0 ? NULL : &ts, catching ? &old_mask : NULL);
	if (r < 0 && errno == EINTR) {
		for (size_t i = 0; i < n; i++)
			fds[i].revents = 0;
		return 0;
	}
	return r < 0 ? -errno : r;
}

bool signals_take(int sig)
{
	bool was = arrived[sig];
	arrived[sig] = 0;
	return was;
}

bool signals_ended(void)
{
	return signals_take(SIGINT) || signals_take(SIGTERM) || signals_take(SIGHUP);
}
