// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What ADD can take besides files of the context: URLs, git repositories, and archives that it unpacks. Private to the room.
 */

#include "build/parts.h"
#include "build/select.h"

/** "http://…", "https://…". */
bool add_is_url(const char *source);

/** Downloads into the mirror (nothing, if what is there is still what the server has); an entry without a path. */
int add_fetch(Build *b, const char *url, const char *checksum, Entry *ret, Err *err);
/** The file name that a URL ends with; NULL if there is none. Owned by the caller. */
char *add_url_name(const char *url);

/** A git repository; it is the client that fetches it. */
typedef struct AddGit {
	char *name;  /* of the context that it is (model/git-url.h) */
	GitUrl url;
	bool keep;   /* .git */
	char commit[GIT_COMMIT_MAX];
} AddGit;

/** What a source of an instruction names, with the commit that it means now. */
int add_git_find(Build *b, const Instruction *i, const char *source, AddGit *ret, Err *err);
void add_git_done(AddGit *g);
void add_git_key(const AddGit *g, CacheKey *k);
/** Adds its files to the list, where and as the selection would have those of a directory; their contents are in the mirror. */
int add_git_take(Build *b, const AddGit *g, const Selection *s, Entries *list, Err *err);

/** Is that file of the mirror an archive that ADD unpacks? */
bool add_is_archive(Build *b, const char *hex);
/** Unpacks it below `dirfd`/`name`, and adds what was in it to the list, at `to` in the image. */
int add_unpack(Build *b, const Selection *s, const char *hex, int dirfd, const char *name, const char *to, Entries *list, Err *err);
