// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Archives on their way to the daemon: from a file or standard input, with the bytes sent so far shown on
 * a terminal.
 */

#include "cli/client.h"

typedef struct Upload {
	int fd;
	bool live;
	off_t size; /* of a regular file; 0 = not known */
	int64_t shown_at;
} Upload;

/** Opens `path` (NULL or "-": standard input, refused when it is a terminal). 0 or an exit code, errors printed. */
int upload_open(const Cli *cli, const char *path, Upload *ret);
/** Sends it; as http_call. */
int upload_send(Upload *u, HttpClient *c, const char *target, Err *err);
void upload_close(Upload *u);
