// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Stacks and containers on the one side, the edge on the other: which routes are wanted, to which containers they lead, who takes requests.
 */

#include "daemon/daemon.h"
#include "edge/edge.h"

/** At the daemon's start, after the containers are known: takes over what runs. */
int daemon_edge_open(Daemon *d, Err *err);
/** The edge goes on without us. */
void daemon_edge_close(Daemon *d);

/** Sets `serving` of current containers, and tells the edge if anything is different from the last time. Cheap; before the loop sleeps, when a stack was awake. */
void daemon_edge_update(Daemon *d);
/** What is wanted now is in effect, or cannot be for the time being. If not, stacks with an operation are woken when it is. */
bool daemon_edge_settled(Daemon *d);
/** As daemon_edge_update; `done` is called, once and from the loop, when what is wanted now is in effect (edge_set). */
void daemon_edge_apply(Daemon *d, EdgeDoneFn done, void *user);

/** While it is on, requests to the service wait for the time its deploy rules give, instead of failing, when no container takes them. Applied by the next update. */
void daemon_edge_hold(StackState *s, const char *service, bool on);

/** "STACK/SERVICE:PORT" of a route of the service: its name in the edge. Owned by the caller; NULL if the route's port cannot be told (see edge_route_port). */
char *daemon_edge_backend(StackState *s, const Service *svc, const Route *route);
/**
 * The container port of a route or a smoke test: `port`, or where that is 0 the only one that the service exposes (`expose`, `ports`, else its image's). -EINVAL:
 * there is none or more than one; the text names them.
 */
int edge_route_port(Daemon *d, const Service *svc, const char *image_id, uint16_t port, uint16_t *ret, Err *err);
/** Where the container is reached from the host, or NULL (network_mode none). Borrowed. */
const char *edge_container_address(Container *c);

/** What an `up` or a deploy of this model is refused for. `where` gets the path in the model. */
int daemon_edge_check(StackState *s, const Stack *model, ModelPath *where, Err *err);
/** -EADDRINUSE for a published port of this model that is the edge's, if there are routes, in the model or otherwise. */
int daemon_edge_port_check(Daemon *d, const Stack *model, const Port *p, Err *err);

/** The services' routes give the maintenance page from the next update on, or no longer; NULL: all. Kept in the store. -ENOENT, -EINVAL. */
int daemon_edge_maintenance(StackState *s, char *const *services, bool on, Err *err);
/** What the edge has cached of the services' responses, NULL: of all, is not used from the next update on. -ENOENT, -EINVAL. */
int daemon_edge_purge(StackState *s, char *const *services, Err *err);
/** The stack is gone: so is its maintenance. */
void daemon_edge_forget(StackState *s);
