// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Volumes: directories STATE/volumes/NAME/_data with a row each, and where the mounts of a container
 * really come from.
 */

#include "daemon/daemon.h"

/** A row and object for a volume of the model, if there is none yet. 1: made now, 0: was there; -ENOENT: external and missing. */
int volume_prepare(StackState *s, const Stack *model, const Volume *v, VolState **ret, Err *err);
/**
 * The binds of a new container: the service's mounts, and anonymous volumes for what the image declares. `old` (may be
 * NULL): the container that it replaces, whose anonymous volumes are carried over. -ENOENT for a bind source that is missing.
 */
int volume_binds(Container *c, const Stack *model, const Container *old, Err *err);
/** A bind source that is to be made when missing is made. */
int volume_make_sources(Container *c, Err *err);
/**
 * Fills empty volumes with what the image has at their place, then calls `done` (from the loop; or gives 1: nothing to copy,
 * `done` is not called).
 */
int volume_copy_up(Container *c, void (*done)(Container *c, const Err *err), Err *err);

size_t volume_users(const Daemon *d, const VolState *v);
/** -EBUSY while a container mounts it. Its files are removed in the background. */
int volume_remove(Daemon *d, VolState *v, Err *err);
void volume_remove_by_name(StackState *s, const char *name);
/** All volumes of the stack, with progress; external ones do not belong to it. */
void volume_remove_stack(StackState *s);
/** Anonymous volumes of a container that goes, unless another container mounts them. */
void volume_remove_anonymous(Container *c);
