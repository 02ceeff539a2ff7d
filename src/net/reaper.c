// SPDX-License-Identifier: Apache-2.0

#include "net/reaper.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/netlink.h"

#define STACK_SIZE (256U << 10)
#define EXPECT_MSEC 10000

typedef struct Job {
	struct Job *next;
	char ifname[IFNAMSIZ];
	int index; /* 0: it was gone already */
	uint64_t due; /* of what is expected: loop time in ms */
	int result;
	void (*done)(void *user, const Err *err);
	void *user;
} Job;

struct Reaper {
	uv_loop_t *loop;
	uv_async_t wake; /* from the thread: its jobs are done */
	uv_timer_t late; /* while something is expected to go */
	unsigned handles;
	uv_thread_t thread;
	Job *queued, **queued_end;
	Job *expected, **expected_end; /* the first one is due first */
	Job *working; /* the thread's while it runs */
	Netlink nl;   /* likewise */
	bool running;
};

/* The heap is not touched here: a thread's first allocation would map an arena of its own. */
static int delete_link(Netlink *nl, int index)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC, .ifi_index = index };

	if (!index)
		return 0;
	(void) netlink_add(nl, RTM_DELLINK, 0, &ifi, sizeof(ifi), "delete", -ENODEV);
	return netlink_commit(nl, NULL);
}

static void work(void *user)
{
	Reaper *r = user;

	for (Job *j = r->working; j; j = j->next)
		j->result = delete_link(&r->nl, j->index);
	if (r->loop)
		(void) uv_async_send(&r->wake);
}

static void finish(Reaper *r, bool tell)
{
	Job *j = r->working;

	r->working = NULL;
	r->running = false;
	while (j) {
		AUTO_ERR err = ERR_INIT;
		Job *next = j->next;

		if (j->result < 0)
			err_errno(&err, j->result, "delete interface %s", j->ifname);
		if (j->result < 0 && !j->done)
			log_warning("%s", err_text(&err));
		if (tell && j->done)
			j->done(j->user, j->result < 0 ? &err : NULL);
		free(j);
		j = next;
	}
}

static void start(Reaper *r)
{
	const uv_thread_options_t options = { .flags = UV_THREAD_HAS_STACK_SIZE, .stack_size = STACK_SIZE };

	r->working = r->queued;
	r->queued = NULL;
	r->queued_end = &r->queued;
	r->running = true;
	if (r->loop)
		uv_ref((uv_handle_t *) &r->wake);
	if (r->loop && uv_thread_create_ex(&r->thread, &options, work, r) == 0)
		return;
	/* No thread to be had: better slow than not at all. */
	work(r);
	if (!r->loop)
		finish(r, true);
	else
		r->running = false; /* on_wake finds nothing to join */
}

static void on_wake(uv_async_t *wake)
{
	Reaper *r = wake->data;

	if (r->running)
		(void) uv_thread_join(&r->thread);
	finish(r, true);
	if (r->queued && !r->working)
		start(r);
	else if (!r->working)
		uv_unref((uv_handle_t *) wake); /* at rest it does not keep the loop alive */
}

int reaper_new(uv_loop_t *loop, Reaper **ret, Err *err)
{
	Reaper *r = xcalloc(1, sizeof(*r));
	int res = netlink_open(&r->nl, NETLINK_ROUTE, -1, err);

	if (res == 0 && loop) {
		res = uv_async_init(loop, &r->wake, on_wake);
		if (res < 0)
			err_errno(err, res, "prepare to delete interfaces");
	}
	if (res == 0 && loop) {
		(void) uv_timer_init(loop, &r->late);
		uv_unref((uv_handle_t *) &r->wake);
		uv_unref((uv_handle_t *) &r->late);
		r->handles = 2;
	}
	if (res < 0) {
		netlink_close(&r->nl);
		free(r);
		return res;
	}
	r->wake.data = r->late.data = r;
	r->loop = loop;
	r->queued_end = &r->queued;
	r->expected_end = &r->expected;
	*ret = r;
	return 0;
}

static void free_reaper(uv_handle_t *h)
{
	Reaper *r = h->data;

	if (--r->handles == 0)
		free(r);
}

/** Queues what did not go by itself until then. */
static void queue_expected(Reaper *r, uint64_t until)
{
	for (Job *j; (j = r->expected) && j->due <= until;) {
		r->expected = j->next;
		if (!r->expected)
			r->expected_end = &r->expected;
		j->next = NULL;
		if (netlink_ifindex(&r->nl, j->ifname) == j->index) {
			*r->queued_end = j;
			r->queued_end = &j->next;
		} else {
			free(j);
		}
	}
}

void reaper_free(Reaper *r)
{
	if (!r)
		return;
	if (r->running)
		(void) uv_thread_join(&r->thread);
	finish(r, false);
	queue_expected(r, UINT64_MAX);
	if (r->queued) { /* an interface too many is worse than a late end */
		r->working = r->queued;
		r->queued = NULL;
		work(r);
		finish(r, false);
	}
	netlink_close(&r->nl);
	if (!r->loop) {
		free(r);
		return;
	}
	uv_close((uv_handle_t *) &r->wake, free_reaper);
	uv_close((uv_handle_t *) &r->late, free_reaper);
}

static Job *new_job(const Reaper *r, const char *ifname)
{
	Job *j = xcalloc(1, sizeof(*j));

	memcpy(j->ifname, ifname, strnlen(ifname, IFNAMSIZ - 1));
	/* Its turn comes later, when an interface of the same name may be somebody else's. */
	j->index = netlink_ifindex(&r->nl, j->ifname);
	return j;
}

void reaper_delete(Reaper *r, const char *ifname, void (*done)(void *user, const Err *err), void *user)
{
	Job *j = new_job(r, ifname);

	j->done = done;
	j->user = user;
	*r->queued_end = j;
	r->queued_end = &j->next;
	if (!r->running && !r->working)
		start(r);
}

static void on_late(uv_timer_t *late)
{
	Reaper *r = late->data;

	queue_expected(r, uv_now(r->loop));
	if (r->expected)
		(void) uv_timer_start(late, on_late, r->expected->due - uv_now(r->loop), 0);
	if (r->queued && !r->running && !r->working)
		start(r);
}

void reaper_expect(Reaper *r, const char *ifname)
{
	Job *j;

	if (!r->loop) {
		reaper_delete(r, ifname, NULL, NULL);
		return;
	}
	j = new_job(r, ifname);
	j->due = uv_now(r->loop) + EXPECT_MSEC;
	*r->expected_end = j;
	r->expected_end = &j->next;
	if (!uv_is_active((uv_handle_t *) &r->late))
		(void) uv_timer_start(&r->late, on_late, EXPECT_MSEC, 0);
}
