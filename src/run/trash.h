// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Trash: getting rid of directories and of unmounted file systems without waiting for the disk. A
 * directory is renamed into trash/ and removed by a thread; the last reference to an overlay is dropped
 * there too, because the kernel then writes back its upper file system (a journal commit, tens to hundreds of
 * milliseconds on a busy disk) before it lets go.
 */

#include "base/err.h"

/** Moves `path` into DIR/trash and has it removed. Absent is success. After a crash trash_empty finds what was not removed. */
int trash_put(const char *path, const char *dir, Err *err);
/** Closes a descriptor in the thread. Takes ownership. */
void trash_close(int fd);
/** Has everything in DIR/trash removed (at start). */
void trash_empty(const char *dir);
/** Waits until everything given so far is gone. */
void trash_flush(void);
