// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The access log. HAProxy writes a line a request into a pipe whose both ends it holds, so that nothing is lost while the daemon restarts
 * (up to the pipe's size). The daemon reads in gulps, counts (stats.h) and writes JSON lines to STATE/edge/access.log, which is rotated by size.
 *
 * A pipe rather than datagrams: one read takes thousands of lines, nothing is looked up for each, and nobody else can write to it. While there is traffic it
 * is read by a timer, since a reader that waits in epoll would be woken for every line.
 */

#include <uv.h>

#include "base/buf.h"
#include "base/err.h"
#include "edge/stats.h"

#define LOG_PIPE_SIZE (1 << 20)      /* bytes; what does not fit is dropped by HAProxy, and counted there */
#define LOG_FILE_SIZE (20 << 20)     /* bytes of access.log, then it becomes access.log.1 … */
#define LOG_FILES 5                  /* with the current one */
#define LOG_LINE_MAX 4096            /* as HAProxy is told; longer URIs are cut */

/** A line, its fields borrowed from it. */
typedef struct LogRecord {
	int64_t time_msec; /* real, when the request was accepted */
	const char *client, *frontend, *backend, *slot, *server, *end, *host, *method, *version, *uri, *cache;
	int status;        /* -1 none */
	uint64_t sent, received;
	int64_t request_msec, queue_msec, connect_msec, response_msec, total_msec; /* -1 = it did not come to that */
} LogRecord;

/** Takes a line of haproxy-config.c's log format apart, in place. -EINVAL: it is no such line (HAProxy's own messages). */
int log_parse(char *line, LogRecord *ret);
/** The JSON line for it. `backend` may be NULL. Appended. */
void log_json(const LogRecord *r, const char *backend, Buf *ret);

typedef struct EdgeLog EdgeLog;

/** `stats` gets what is counted, and knows the slots' backends. */
int log_new(uv_loop_t *loop, const char *dir, Stats *stats, EdgeLog **ret, Err *err);
/** NULL is allowed. */
void log_free(EdgeLog *l);
/** The reading end; taken over. */
void log_use(EdgeLog *l, int fd);
/** Reads what is there now, so that counts are up to date. */
void log_catch_up(EdgeLog *l);
