// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which files a COPY or ADD takes, and what they become: the rules of the Dockerfile reference (COPY, "Destination" and the
 * flags). The result is a list of entries with their paths in the image, owners and modes as they will be; each has its
 * path in the tree that it comes from as `source`.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "build/entries.h"
#include "build/tree.h"
#include "build/view.h"
#include "dockerfile/ignore.h"

typedef struct Selection {
	const Tree *tree;
	const View *below;       /* what the destination is looked up in */
	const char *workdir;     /* NULL = / */
	char *const *sources;    /* may be empty */
	const char *destination;
	size_t further;          /* sources that the caller adds (heredocs, downloads) */
	const Ignore *excludes;  /* or NULL */
	const Ignore *ignore;    /* .dockerignore: for the message about a source that is missing; or NULL */
	const char *ignore_name;
	bool context;            /* the tree is a build context: root owns all of it, and ".." is an error */
	bool parents, link;
	bool owner, chmod;       /* --chown, --chmod were given */
	uint32_t uid, gid;
	const char *mode;        /* --chmod: octal digits, or symbolic as chmod(1) */
} Selection;

/** Where a source that is a file named `name` goes. */
typedef struct Destination {
	char *path;      /* resolved; owned */
	bool directory;  /* files go into it */
	bool exists;
} Destination;

void destination_done(Destination *d);

/** `n`: sources in all. -ENOENT names what is missing, why, and what there is instead. */
int select_destination(const Selection *s, size_t n, Destination *ret, Err *err);
int select_files(const Selection *s, Destination *ret_destination, Entries *ret, Err *err);
/** -ENOENT for a source that is not in s->tree: the rule that hid it (context, ignore), or what is near it. */
int select_missing(const Selection *s, const char *source, Err *err);
/** Puts owner and mode of the flags on an entry. */
int select_attributes(const Selection *s, Entry *e, Err *err);
/** All that is below a resolved directory, with paths relative to it. */
int select_below(const Tree *t, const char *dir, Entries *ret, Err *err);
/** Order, the last of each path, hard links by their first path. After all entries are in. */
int select_finish(Entries *l, Err *err);

