// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The fixed vocabularies that a service refers to: Linux capabilities, resource limits, signals,
 * sysctls that a container may set; and the forms of addresses. Checked when a model is read, so that
 * a misspelt name is found before anything starts and not by the runtime half-way.
 */

#include <stdbool.h>
#include <stddef.h>

/** NULL-terminated, without "CAP_", in order of their numbers (linux/capability.h). */
extern const char *const capability_names[];
/** NULL-terminated, lower case ("nofile"), as in setrlimit(2) without RLIMIT_. */
extern const char *const ulimit_names[];

/** The word of the list nearest to `word`, or NULL. */
const char *word_nearest(const char *const *list, const char *word);
bool word_in(const char *const *list, const char *word);
/** Number of a signal: "SIGTERM", "TERM", "RTMIN+3", "15"; -EINVAL. */
int signal_number(const char *name);
/** Namespaced in the container: net.* , kernel.shm*, kernel.msg*, kernel.sem, fs.mqueue.*; no path tricks. */
bool sysctl_allowed(const char *name);
/** AF_INET, AF_INET6, or 0. */
int address_family(const char *s);
/** CIDR: gives the family or 0. `ret_prefix` may be NULL. */
int subnet_family(const char *s, int *ret_prefix);
/** The address lies in the CIDR (both valid, same family). */
bool subnet_contains(const char *subnet, const char *address);
/** RFC 952 and 1123, 2.1: labels of letters, digits and inner hyphens, at most 63 each and 253 in all. */
bool host_name_valid(const char *s);
/**
 * Absolute path of RFC 3986, 3.3: unreserved, %HH, sub-delims, ":" and "@" in segments. No empty segment but
 * behind the last slash, none of dots alone (encoded ones neither), and no quote.
 */
bool url_path_valid(const char *s);
/** The same, with or without "?" and a query (3.4) behind it. */
bool url_request_valid(const char *s);
/** "SCHEME://[USER@]HOST[:PORT][/…]" with a scheme of the list, of printable ASCII without spaces and quotes. */
bool url_valid(const char *s, const char *const *schemes);
/** "12:34:56:78:9a:bc" */
bool mac_valid(const char *s);
