// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Logs: what conmon wrote of a container's output, and its rotation. conmon writes the CRI log
 * format ("TIMESTAMP STREAM P|F TEXT"; kubernetes/design-proposals-archive, node/
 * kubelet-cri-logging.md) to log/log.
 *
 * Rotation: on a request over its control fifo, or when its own size limit is reached, conmon opens log.tmp
 * (truncating, not exclusively) and renames it over log: it forgets the old file. So that no line is ever lost,
 * each file has a second, numbered hard link log.N, and log.tmp is made beforehand and linked as the
 * next number. The daemon asks for a rotation when a file is larger than max-size and removes the
 * oldest numbers; conmon's own limit is the safety net for the time when no daemon runs.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "run/container.h"

/** Before container_create: makes log.tmp and the links. Repeatable. */
int logs_prepare(const ContainerPaths *p, Err *err);
/**
 * Looks at the sizes, asks conmon for a new file if need be, links what is new and removes what is too
 * old. A few system calls: for a timer (some seconds) over all running containers. 0.
 */
int logs_rotate(const ContainerPaths *p, int64_t max_size, int max_file);

typedef struct LogOptions {
	bool out, err;        /* which streams */
	int64_t since, until; /* real ns; 0 = unbounded */
	int64_t tail;         /* entries from the end; -1 = all */
	bool follow;
} LogOptions;

typedef struct LogEntry {
	int stream;       /* 1 or 2 */
	int64_t time;     /* real ns */
	const char *data; /* with its newline, unless partial; borrowed until the next call */
	size_t len;
	bool partial;     /* a piece of a line that goes on in the next entry of the same stream */
} LogEntry;

typedef struct LogReader LogReader;

/** A container without a log directory has an empty log. */
int log_reader_open(const ContainerPaths *p, const LogOptions *o, LogReader **ret, Err *err);
/** 1: an entry; 0: the end, for now if following (`until` reached: for good); <0 failed. Reads ahead at most 64 KiB. */
int log_reader_next(LogReader *r, LogEntry *ret);
/** 1: `until` lies behind, nothing more will come. */
int log_reader_ended(const LogReader *r);
/** Follow: an inotify descriptor for a uv_poll; when readable call log_reader_next until 0 (it drains the descriptor). -1 without follow. */
int log_reader_fd(const LogReader *r);
void log_reader_free(LogReader *r);

/** The last `n` lines as text, for errors ("the last log lines of a service that failed"). strv, may be NULL. */
char **logs_tail_lines(const ContainerPaths *p, size_t n);

/** One line of the CRI format (without newline; for the reader, tests and the fuzzer). -EINVAL. */
int log_line_parse(const char *line, size_t n, LogEntry *ret);
