// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Networks of the daemon: rows, bridges, and a container's place on them (addresses, namespace,
 * names, published ports). Joins store/ and net/.
 */

#include "daemon/daemon.h"
#include "net/pool.h"

/** A row and object for a network of the model, if there is none yet: subnet chosen or checked. 1: made now, 0: was there. */
int network_prepare(StackState *s, const Stack *model, const Network *n, NetState **ret, Err *err);
/** A free subnet with its gateway, claimed among the daemons of this machine (net_subnet_release). */
int network_subnet_choose(Daemon *d, PoolSpec *ret, Err *err);
/** Removes networks of the stack that nothing is attached to, with progress. */
void network_remove_stack(StackState *s);
void network_remove_by_name(StackState *s, const char *name);
int network_remove(Daemon *d, NetState *n, Err *err);
/** Containers that have an endpoint on it. */
size_t network_users(const Daemon *d, const NetState *n);

/** Endpoints of a new container from the stack's model. */
int network_endpoints(Container *c, const Stack *model, Err *err);
/** Namespace, addresses, veths, names: all of it, unless it has them (a restart keeps them). */
int network_attach(Container *c, Err *err);
/** Gives all of it back. */
void network_release(Container *c);
/** Of a container that is being removed: an address that it had asked for may be another one's at once. */
void network_free_addresses(const Container *c);
/** It has ended: gives back what nobody else uses, also of the container whose network it shared. */
void network_rest(Container *c);
/** With `network_mode: service:x` the container whose namespace it is, else (or if there is none) NULL. */
Container *network_owner(const Container *c);
/** Publishes its ports: host ports are chosen and held, rules set. */
int network_publish(Container *c, Err *err);
void network_unpublish(Container *c);

/** After its role or its name has changed: what leads to it. */
void network_update_names(Container *c);

/** 0, or -EADDRINUSE with the port and who holds it: a container of stead or something else on the host. */
int network_port_check(Daemon *d, const char *stack, const Port *p, Err *err);
/** After the daemon's start: bridges, rules and names of what runs; what a crash left is swept away. */
int network_start(Daemon *d, Err *err);
