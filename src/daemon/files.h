// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What is bound over files of a container: /etc/hosts, /etc/hostname, /etc/resolv.conf, its configs
 * and secrets; and the whole bundle from them.
 */

#include "daemon/daemon.h"

/** Writes the files and the runtime's configuration; network, volumes and root must be there. `warnings` (strv) may be NULL. */
int files_write_bundle(Container *c, char ***warnings, Err *err);
/** 0 if every config and secret of the service can be read: the files, or (`d` given) the copies that a release has of them. */
int files_check(const Daemon *d, const Stack *model, const Service *svc, Err *err);
