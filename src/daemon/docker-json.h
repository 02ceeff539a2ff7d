// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the forms share in which the Docker Engine API 1.41 shows the daemon's objects. Private to docker-json*.c.
 */

#include <jansson.h>

#include "base/time.h"
#include "daemon/api-docker.h"
#include "daemon/json.h"

/* ── fields: `value` and what is made of it belong to `o` ─────────── */

static inline void set(json_t *o, const char *key, json_t *value)
{
	json_object_set_new(o, key, value);
}

static inline void set_text(json_t *o, const char *key, const char *value)
{
	set(o, key, json_safe(value));
}

static inline void set_bool(json_t *o, const char *key, bool value)
{
	set(o, key, json_boolean(value));
}

static inline void set_int(json_t *o, const char *key, int64_t value)
{
	set(o, key, json_integer(value));
}

static inline void set_time(json_t *o, const char *key, int64_t real_ns)
{
	char text[TIME_TEXT_MAX];
	set(o, key, json_string(time_rfc3339(real_ns, text)));
}

/* ── docker-json.c: values. New references. ───────────────────────── */

/** A list, or null for an empty one, as Go writes a nil slice. */
json_t *docker_strv_or_null(char *const *v);
/** {"80/tcp": {}} of a strv. */
json_t *docker_name_set(char *const *v);
json_t *docker_healthcheck(const Healthcheck *h);
/** The length behind the "/" of a CIDR; 0 without one. */
int docker_prefix(const char *cidr);

/* ── docker-json-container.c: in the list and in the inspect form ─── */

/** What it runs; the image says what the service does not. A strv of the caller's. */
char **docker_container_command(const Container *c);
/** Mounts, as both have them. New reference. */
json_t *docker_container_mounts(const Container *c);
/** Networks, by name. New reference. */
json_t *docker_container_endpoints(const Container *c, bool inspect);
/** "bridge name", "host", "container:ID". Owned by the caller. */
char *docker_network_mode(const Container *c);
/** A pid or ipc mode in Docker's words. Owned by the caller. */
char *docker_namespace_mode(const Container *c, const char *mode);
