// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Between the daemon's objects and the store's rows. An insert or delete is durable when it returns, or,
 * between state_begin and state_commit, when the commit returns: that is how an operation writes its whole intent in one go.
 * What changes while things run (pid, health, exit codes) is marked by ctr_changed and written a moment later.
 */

#include "daemon/daemon.h"

/** Opens the store, loads everything. */
int state_load(Daemon *d, Err *err);

int state_begin(Daemon *d, Err *err);
int state_commit(Daemon *d, Err *err);
void state_rollback(Daemon *d);

int state_insert_container(Container *c, Err *err);
int state_delete_container(Container *c, Err *err);
/** Its row takes its name over. */
int state_rename_container(Container *c, Err *err);
int state_insert_network(Daemon *d, const NetState *n, Err *err);
int state_delete_network(Daemon *d, const NetState *n, Err *err);
int state_insert_volume(Daemon *d, const VolState *v, Err *err);
int state_delete_volume(Daemon *d, const VolState *v, Err *err);
/** The stack's model as it is wanted now. */
int state_save_stack(StackState *s, const Stack *model, Err *err);
/** The intent of `down`. */
int state_set_down(StackState *s, Err *err);
/** The row goes, the model too. */
void state_delete_stack(StackState *s);
int state_insert_image(Daemon *d, const Image *img, Err *err);
int state_delete_image(Daemon *d, const char *id, Err *err);
int state_set_tag(Daemon *d, const char *tag, const char *image_id, Err *err);
int state_delete_tag(Daemon *d, const char *tag, Err *err);
/** `down --rmi`, image.c. */
void state_remove_stack_images(StackState *s, const char *which);
/** Within state_begin: writes what ctr_changed marked, so that an intent is committed whole. */
int state_write_marked(Daemon *d, Err *err);
/** Writes what ctr_changed marked. */
int state_write_dirty(Daemon *d, Err *err);

void state_network_free(NetState *n);
void state_volume_free(VolState *v);
