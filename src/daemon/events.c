// SPDX-License-Identifier: Apache-2.0
#include "daemon/events.h"

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"

struct EventSubscriber {
	Events *events;
	void (*fn)(void *user, const json_t *event, int64_t time);
	void *user;
	EventSubscriber *next;
};

struct Events {
	struct {
		json_t *event;
		int64_t time;
	} ring[EVENTS_KEPT];
	size_t n; /* ever */
	EventSubscriber *subscribers;
};

Events *events_new(void)
{
	return xcalloc(1, sizeof(Events));
}

void events_free(Events *e)
{
	if (!e)
		return;
	for (size_t i = 0; i < EVENTS_KEPT; i++)
		json_decref(e->ring[i].event);
	while (e->subscribers)
		events_unsubscribe(e->subscribers);
	free(e);
}

static void emit(Daemon *d, const char *type, const char *action, const char *id, const char *from, json_t *attributes)
{
	Events *e = d->events;
	int64_t now = time_real();
	json_t *event = json_pack("{s:s, s:s, s:{s:s, s:o}, s:s, s:I, s:I}", "Type", type, "Action", action, "Actor", "ID", id,
		"Attributes", attributes, "scope", "local", "time", (json_int_t) (now / NSEC_PER_SEC), "timeNano",
		(json_int_t) now);
	if (!event)
		return;
	if (str_eq(type, "container") || str_eq(type, "image")) {
		/* The fields of the API before 1.22, which clients still read. */
		json_object_set_new(event, "status", json_string(action));
		json_object_set_new(event, "id", json_string(id));
		if (from)
			json_object_set_new(event, "from", json_string(from));
	}
	size_t at = e->n++ % EVENTS_KEPT;
	json_decref(e->ring[at].event);
	e->ring[at].event = event;
	e->ring[at].time = now;
	for (EventSubscriber *s = e->subscribers, *next; s; s = next) {
		next = s->next;
		s->fn(s->user, event, now);
	}
}

void events_container_with(Container *c, const char *action, const char *key, const char *value)
{
	json_t *attributes = json_object();
	for (char **label = c->labels; label && *label; label++) {
		char *eq = strchr(*label, '=');
		AUTO_FREE char *name = xstrndup(*label, eq ? (size_t) (eq - *label) : strlen(*label));
		json_object_set_new(attributes, name, json_string(eq ? eq + 1 : ""));
	}
	json_object_set_new(attributes, "image", json_string(c->image_ref));
	json_object_set_new(attributes, "name", json_string(c->name));
	if (key)
		json_object_set_new(attributes, key, json_string(value));
	emit(c->d, "container", action, c->id, c->image_ref, attributes);
}

void events_container(Container *c, const char *action)
{
	events_container_with(c, action, NULL, NULL);
}

void events_network(Daemon *d, const NetState *n, const char *action)
{
	emit(d, "network", action, n->id, NULL, json_pack("{s:s, s:s}", "name", n->name, "type", n->driver));
}

void events_network_container(Daemon *d, const NetState *n, const Container *c, const char *action)
{
	emit(d, "network", action, n->id, NULL, json_pack("{s:s, s:s, s:s}", "name", n->name, "type", n->driver, "container", c->id));
}

void events_volume(Daemon *d, const VolState *v, const char *action)
{
	emit(d, "volume", action, v->name, NULL, json_pack("{s:s}", "driver", v->driver));
}

void events_image(Daemon *d, const char *id, const char *name, const char *action)
{
	emit(d, "image", action, id, NULL, json_pack("{s:s}", "name", name ? name : id));
}

EventSubscriber *events_subscribe(Events *e, int64_t since, void (*fn)(void *user, const json_t *event, int64_t time), void *user)
{
	EventSubscriber *s = xcalloc(1, sizeof(*s));
	s->events = e;
	s->fn = fn;
	s->user = user;
	s->next = e->subscribers;
	e->subscribers = s;
	for (size_t i = e->n > EVENTS_KEPT ? e->n - EVENTS_KEPT : 0; since && i < e->n; i++)
		if (e->ring[i % EVENTS_KEPT].time >= since)
			fn(user, e->ring[i % EVENTS_KEPT].event, e->ring[i % EVENTS_KEPT].time);
	return s;
}

void events_unsubscribe(EventSubscriber *s)
{
	if (!s)
		return;
	EventSubscriber **p = &s->events->subscribers;
	while (*p != s)
		p = &(*p)->next;
	*p = s->next;
	free(s);
}
