// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What to tell a person whose connection through ssh did not come about, from what ssh and the shell on the other machine have
 * said. A pure function, so that each case has its test.
 */

#include <stdbool.h>

#include "base/err.h"
#include "cli/host.h"

typedef struct SshEnd {
	int code, signal;   /* of the ssh process */
	const char *errors; /* what it and the other side wrote to standard error; "" if nothing */
	const char *broken; /* what was wrong with the bytes that came, or NULL */
	bool greeted;       /* the other stead has answered before */
} SshEnd;

/** Sets the text; gives -ENOTCONN where the connection never stood, else -ECONNRESET. */
int ssh_explain(const HostAddress *a, const char *url, const SshEnd *end, Err *err);
