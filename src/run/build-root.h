// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The root of a container that runs one instruction of a build: an overlay of directories below the state directory that a
 * worker names. A worker has read hostile files, so its names are resolved beneath the state directory, without symbolic
 * links, and what is mounted is the descriptor that was found so, never a path that could be changed meanwhile.
 *
 * RUN_DIR/containers/ID/mounts/N   binds; unmounted by rootfs_unmount, as the root is
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "run/container.h"

/** Makes the directories below RUN_DIR. Repeatable. There are none below STATE_DIR. */
int build_root_make(const ContainerPaths *p, Err *err);
/**
 * Mounts the overlay at paths->rootfs. `lower` (bottom first; may be empty), `upper` and `work` are relative to STATE_DIR. The kernel
 * does not sync `upper` at the end (overlayfs, "volatile"): whoever keeps it does.
 */
int build_root_mount(const Runtime *rt, const ContainerPaths *p, char *const *lower, const char *upper, const char *work, Err *err);
/** Binds a directory or file relative to STATE_DIR to a place of its own, for bundle_write. `ret` is the caller's. */
int build_root_bind(const Runtime *rt, const ContainerPaths *p, size_t index, const char *source, char **ret, Err *err);

/*
 * What a runtime makes in a root so that it can mount something there would become part of the image: it is taken away
 * again if it is still empty, and the directory it was in gets its time back if nothing else was made in it.
 */
typedef struct Stubs Stubs;
/** Before the container is created. `targets`: absolute paths of its mounts. */
Stubs *stubs_note(const ContainerPaths *p, char *const *targets);
/** When it has been created, and has not run yet. */
void stubs_made(Stubs *s);
/** After its end, while the root is mounted. Frees. NULL is allowed. */
void stubs_remove(Stubs *s);
void stubs_free(Stubs *s);
