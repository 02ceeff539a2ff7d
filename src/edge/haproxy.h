// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * HAProxy's process: started on sockets that are handed to it, taken over from an earlier daemon, watched, replaced without a lost connection
 * (the new process serves from the same sockets before the old one is told to finish), ended.
 */

#include <uv.h>

#include "edge/answers.h"
#include "edge/haproxy-config.h"
#include "edge/runtime.h"

#define HAPROXY_FDS 6 /* listeners, then the log's pipe: to write, to read; see haproxy-config.h */

typedef struct Haproxy Haproxy;

typedef struct HaproxyEvents {
	void (*started)(void *user); /* it answers; an older process only finishes what it has begun */
	void (*failed)(void *user, const Err *err); /* it did not start; an older process goes on */
	void (*ended)(void *user, int64_t lived_ns); /* the running one has ended, unasked */
	void *user;
} HaproxyEvents;

/** Looks for HAProxy's program. -ENOENT: with what to install. */
int haproxy_program(const char **ret, Err *err);

Haproxy *haproxy_new(uv_loop_t *loop, const char *dir, const HaproxyEvents *events);
/** The process stays. NULL is allowed. */
void haproxy_free(Haproxy *h);
/**
 * At the daemon's start: is there a process of ours? Waits for its answers, some milliseconds as a rule and never more than 2 s each. 0: it is taken over; `ret_state`
 * gets what it has, `ret_frame` the digest of the frame it was started with, and `fds` our copies of its descriptors, -1 where there is none or where it listens
 * elsewhere than `want` says. -ENOENT: there is none. Else: there is one that cannot be understood; `haproxy_pid` is 0, and it is ended when one is started.
 */
int haproxy_adopt(Haproxy *h, const struct sockaddr *const want[HAPROXY_LISTENERS], ProxyState **ret_state, char ret_frame[65], int fds[HAPROXY_FDS], Err *err);
/** Starts DIR/haproxy.cfg.new; it becomes DIR/haproxy.cfg when it runs. `fds` stay ours, -1 = none. Ends with `started` or `failed` unless it returns <0. */
int haproxy_start(Haproxy *h, const int fds[HAPROXY_FDS], Err *err);
bool haproxy_starting(const Haproxy *h);
/** It finishes requests, for a second at most. `now`: not even that. */
void haproxy_quit(Haproxy *h, bool now);
/** It lets go of its ports, and ends when its requests have. */
void haproxy_release(Haproxy *h);
/** 0 = none runs. */
pid_t haproxy_pid(const Haproxy *h);
RuntimeApi *haproxy_api(Haproxy *h);
