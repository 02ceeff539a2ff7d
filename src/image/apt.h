// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Where packages come from: the host's own apt sources (one-line and deb822, sources.list(5)), its
 * proxy and other Acquire settings, its keys; translated for a suite that may be another than the host's.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

typedef struct AptSource {
	char *uri, *suite;
	char **components;
	char *options;   /* "trusted=yes …" besides signed-by and arch; or NULL */
	char *signed_by; /* path of a key file on the host; NULL = apt's trusted keys */
	char *key;       /* an inline key block; NULL = none */
} AptSource;

typedef struct AptSources {
	AptSource *items;
	size_t n;
} AptSources;

void apt_sources_done(AptSources *s);

/** Appends what a sources.list (one-line style) says; lines that are not "deb" are passed over. */
void apt_parse_list(const char *text, AptSources *ret);
/** Appends what a .sources file (deb822 style) says. */
void apt_parse_deb822(const char *text, AptSources *ret);

/** VERSION_CODENAME and ID from os-release(5) text. Owned by the caller; NULL if absent. */
char *apt_os_release(const char *text, const char *key);

/**
 * Of `all`, what serves the distribution `codename` of the host: its release, updates and security; renamed
 * for `suite` if that is another.
 */
void apt_select(const AptSources *all, const char *codename, const char *suite, AptSources *ret);

/** Reads the host's sources and selects. `mirror` (or NULL) replaces them by one source. ret_suite: the suite chosen. */
int apt_host_sources(const char *suite, const char *mirror, AptSources *ret, char **ret_suite, Err *err);

/** One-line form for apt. `keys` (or NULL) is a directory in which key i is "key-i.gpg" or "key-i.asc". */
void apt_write_list(const AptSources *s, const char *keys, Buf *ret);

/** The host's Acquire settings that matter for fetching (proxies, retries, checks), as apt.conf lines. */
void apt_host_acquire(Buf *ret);
/** Of `apt-config dump` output, those lines. */
void apt_filter_acquire(const char *dump, Buf *ret);
