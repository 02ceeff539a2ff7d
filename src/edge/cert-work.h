// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What stead-worker does for the edge (edge/cert-job.h asks): reads, checks and makes certificates, and starts the ACME client.
 */

#include <jansson.h>

#include "base/err.h"

/** A line of the report. Takes ownership of `line`. */
typedef void (*CertReportFn)(json_t *line);

/**
 * A batch: {"dir", "ca", "box", "now", "items": […]}, each item one of
 *   {"do": "files", "cert", "key", "host"?, "out"?}     checks files and writes the bundle to dir/out
 *   {"do": "local", "names": […], "self"?, "out"}       makes one where dir/out is not one that is still good
 *   {"do": "account", "key"}                            an ACME account's key, made where there is none
 * and each reported in order as {"certificate": {"item": N, …}}, with "error" and "code", or "not_before", "not_after", "issuer", "digest",
 * "warning"?, or "thumbprint". What is reported as written is durable. An item's failure is not the batch's.
 */
int cert_work(const json_t *options, CertReportFn report, Err *err);

/**
 * Becomes uacme: {"argv": […], "ca"?}. With `ca` (a file) in place of the system's bundle of CA certificates, in a mount namespace of its own. Without
 * capabilities but those to write its own files, with limits on memory and file sizes. Returns on failure only.
 */
int acme_work(const json_t *options, Err *err);
/** uacme's hook: hook METHOD TYPE IDENT TOKEN AUTH. Accepts http-01, which the edge answers already; gives the exit code. */
int acme_hook(const char *method, const char *type);
/** Reports {"addresses": […]} of {"name"}, IPv6 first, whether this machine has IPv6 or not. */
int resolve_work(const json_t *options, CertReportFn report, Err *err);
