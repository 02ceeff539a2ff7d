// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A machine in memory, for tests of the daemon: it stands in for run/, net/'s kernel side, the edge, image jobs and
 * the HTTP server (the linker takes these functions instead of the real ones), while the store is real SQLite. What
 * it holds outlives the daemon, as a kernel does, so a test may drop the daemon at any moment and start another on
 * the same machine.
 */

#include <jansson.h>
#include <stdbool.h>

#include "daemon/daemon.h"

typedef struct SimOptions {
	unsigned start_fails; /* one start of N fails; 0 = none */
	unsigned probe_fails; /* one probe of N fails */
	unsigned exits;       /* one started container of N ends by itself soon, with a code of 0 or 3 */
	const char *start_fails_for; /* "V=2": starts of containers with this variable fail */
	bool hooks_end; /* containers with a command of their own end at once … */
	int ends_with;  /* … with this code */
	bool removals_fail;   /* of containers */
	unsigned removals;    /* that were tried */
} SimOptions;

extern SimOptions sim;

/** Forgets the machine. */
void sim_reset(unsigned seed);
unsigned sim_random(unsigned n);
/** The daemon has died: callbacks under way do not come, containers run on. */
void sim_daemon_died(void);
/** A reboot: nothing runs, no namespace, no rule; disks (the store) stay. */
void sim_reboot(void);
/** Ends a running container with this code. False: no such running container. */
bool sim_exit(const char *id, int code);
/** How many started containers the machine runs. */
size_t sim_running(void);
/**
 * Compares the machine with the daemon's state: NULL if they agree, else what is left over or missing (the caller's).
 */
char *sim_compare(Daemon *d);

/* The client's side of an operation. */
typedef struct HttpRequest SimClient;
SimClient *sim_client(void);
/** The last line ({"result"} or {"error"}), or NULL while the operation runs. Borrowed. */
json_t *sim_client_answer(SimClient *c);
/** Names and statuses in order, "t-db-1 started"; of a deploy "api switch done" and "plan api switch". Borrowed strv. */
char *const *sim_client_log(SimClient *c);
/** The client goes away; also frees one that has its answer. */
void sim_client_gone(SimClient *c);
