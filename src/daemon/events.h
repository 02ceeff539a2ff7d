// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Events, as the Docker Engine API has them (GET /events): kept in a ring for `since`, handed to
 * subscribers as they come.
 */

#include "daemon/daemon.h"

#define EVENTS_KEPT 64

typedef struct Events Events;

Events *events_new(void);
void events_free(Events *e);

/** "create", "start", "die", "stop", "kill", "restart", "destroy", "oom", "pause", "unpause", "health_status: healthy", "exec_create: …". */
void events_container(Container *c, const char *action);
/** With one more attribute, e.g. exitCode, signal. */
void events_container_with(Container *c, const char *action, const char *key, const char *value);
void events_network(Daemon *d, const NetState *n, const char *action);
void events_network_container(Daemon *d, const NetState *n, const Container *c, const char *action);
void events_volume(Daemon *d, const VolState *v, const char *action);
void events_image(Daemon *d, const char *id, const char *name, const char *action);

typedef struct EventSubscriber EventSubscriber;
/** `fn` gets each event as JSON (borrowed), first those kept that are not older than since (real ns, 0 = none of them). */
EventSubscriber *events_subscribe(Events *e, int64_t since, void (*fn)(void *user, const json_t *event, int64_t time), void *user);
void events_unsubscribe(EventSubscriber *s);
