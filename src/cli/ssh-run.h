// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Runs one command on another machine through ssh, with input, and waits for its end.
 */

#include "base/buf.h"
#include "base/err.h"
#include "cli/host.h"

typedef struct SshRun {
	const char *const *options; /* further ones of ssh's, or NULL */
	const char *command;        /* a constant: the shell there reads it */
	const void *input;
	size_t input_len;
	size_t output_max;                                  /* of what is kept; the rest is dropped */
	void (*output)(void *user, const char *p, size_t n); /* gets it as it comes, instead of `ret_output`; or NULL */
	void *user;
} SshRun;

/** Gives the command's exit code; standard error goes to `ret_errors` (the first 64 KiB). -ENOTCONN: there was no connection, with a text. */
int ssh_run(const HostAddress *a, const char *url, const SshRun *r, Buf *ret_output, Buf *ret_errors, Err *err);
