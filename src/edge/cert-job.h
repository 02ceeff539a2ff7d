// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Certificates are read and made by stead-worker (cert-work.h), which links the TLS library, as the daemon does not, and which may crash on what
 * it reads. What is asked for while the loop is busy goes to one worker together; a worker that dies is held against the item that it
 * had not reported, and the rest goes to another.
 */

#include <jansson.h>
#include <uv.h>

#include "base/err.h"

typedef struct CertJobs CertJobs;

typedef struct CertReport {
	int64_t not_before, not_after; /* seconds since the epoch */
	const char *issuer, *warning;  /* NULL: none */
	const char *thumbprint;        /* of an account */
} CertReport;

/** `r` and `err` are borrowed; one of them is NULL. Both are where the jobs end with cert_jobs_free: only frees `user`, then. */
typedef void (*CertJobFn)(void *user, const CertReport *r, const Err *err);

/** `dir`: STATE/edge; certificates go to dir/certs, the local authority is dir/ca. `state_dir`: what the worker may write below. */
CertJobs *cert_jobs_new(uv_loop_t *loop, const char *state_dir, const char *dir);
/** What was asked for may still happen. */
void cert_jobs_free(CertJobs *j);
/** One item as cert-work.h describes them. Takes ownership. `fn` comes from the loop, never from inside this call. */
void cert_job(CertJobs *j, json_t *item, CertJobFn fn, void *user);
/** No callback with this user comes any more. */
void cert_jobs_forget(CertJobs *j, const void *user);
