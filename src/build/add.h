// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What ADD can take besides files of the context: URLs, and archives that it unpacks. Private to the room.
 */

#include "build/parts.h"
#include "build/select.h"

/** "http://…", "https://…". */
bool add_is_url(const char *source);
/** A git repository, as BuildKit recognises one. */
bool add_is_git(const char *source);

/** Downloads into the mirror (nothing, if what is there is still what the server has); an entry without a path. */
int add_fetch(Build *b, const char *url, const char *checksum, Entry *ret, Err *err);
/** The file name that a URL ends with; NULL if there is none. Owned by the caller. */
char *add_url_name(const char *url);

/** Is that file of the mirror an archive that ADD unpacks? */
bool add_is_archive(Build *b, const char *hex);
/** Unpacks it below `dirfd`/`name`, and adds what was in it to the list, at `to` in the image. */
int add_unpack(Build *b, const Selection *s, const char *hex, int dirfd, const char *name, const char *to, Entries *list, Err *err);
