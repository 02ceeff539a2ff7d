// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The build context, as a worker sees it: a list of files, and their contents in the mirror (build/files.h). It comes
 * from the client over a connection of frames (io/frame-io.h), or as a tar (docker's POST /build). Frames:
 *   worker: J {"context": {"have": SHA-256 of the manifest that is kept, or null}}, with "name" for a named context
 *   client: J {"same": true}, or M frames with the manifest (build/entries.h) and J {"manifest": "end"}
 *   worker: J {"want": [indexes into the manifest]}, with "name" as well
 *   client: for each of them F frames with its bytes, then J {"file": index, "hash": SHA-256}
 *   worker: J {"git": URL}; client: J {"git": URL, "commit": ID}; then the commit's files are the context named GIT_CONTEXT URL (model/git-url.h)
 *   worker: J {"secret": ID}; client: S frames, then J {"secret": ID}, or J {"secret": ID, "missing": true}
 * Further names of a file have "link" (its first one) beside the same hash. Caches come and go as build/cache-dir.h says. J {"error": TEXT} from the client ends the build. The manifest's hash is that of the bytes of all M frames.
 */

#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "build/entries.h"
#include "build/files.h"
#include "model/git-url.h"

typedef enum ContextSource { CONTEXT_NONE, CONTEXT_CLIENT, CONTEXT_TAR } ContextSource;

typedef struct Context {
	int fd; /* borrowed */
	ContextSource source;
	const char *name; /* NULL: the build's own; borrowed */
	Files files;
	int dir;       /* STATE/build/contexts/ID: what is kept between builds of this context */
	bool open;     /* `hash` is known */
	bool loaded;   /* `list` is there */
	char hash[DIGEST_HEX_MAX]; /* of the manifest, with times; "" = there is none (a tar) */
	int kept;      /* the manifest of an earlier build, or -1 */
	Entries list;
	int64_t received; /* bytes of files */
	void *cache_stream; /* of build/cache-dir.c: what is being read */
} Context;

/** `id`: any text that names the context (the client's host and path). */
int context_init(Context *c, int state, int fd, ContextSource source, const char *id, Err *err);
void context_done(Context *c);

/** Learns which manifest the client has; its lines are not looked at if they are those of the build before. */
int context_open(Context *c, Err *err);
/** Makes sure that `list` is there. */
int context_load(Context *c, Err *err);
/** Makes sure that the contents of these entries (indexes into the list; others than files are passed over) are in the mirror. */
int context_fetch(Context *c, const size_t *indexes, size_t n, Err *err);
/** The same for entries whose `source` is a path in the list. */
int context_fetch_entries(Context *c, const Entries *l, Err *err);
/** A frame from the client; of type J it is parsed, `ret_json` is the caller's (else NULL), and an error that it reports is ours. */
int context_receive(Context *c, uint8_t *ret_type, Buf *ret, json_t **ret_json, Err *err);
/** The commit that a repository's URL means now. */
int context_git(Context *c, const char *url, char ret[GIT_COMMIT_MAX], Err *err);
/** 1: the secret's bytes; 0: the client has none of that name. */
int context_secret(Context *c, const char *id, Buf *ret, Err *err);
