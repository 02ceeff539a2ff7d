// SPDX-License-Identifier: Apache-2.0
/*
 * A container in Docker's list, and what the inspect form (docker-json-inspect.c) says in the same words. Fields that clients are known to
 * read are there with their exact types, also where stead has nothing to say (an empty list is not null).
 */
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/docker-json.h"
#include "run/bundle.h"

/* ── both forms ───────────────────────────────────────────────────── */

char **docker_container_command(const Container *c)
{
	const Image *img = daemon_image_by_id(c->d, c->image_id);
	return img ? process_args(&c->svc, img) : strv_dup(c->svc.command);
}

json_t *docker_container_mounts(const Container *c)
{
	static const char *const types[] = { [MOUNT_VOLUME] = "volume", [MOUNT_BIND] = "bind", [MOUNT_TMPFS] = "tmpfs" };
	json_t *list = json_array();
	for (size_t i = 0; i < c->n_binds; i++) {
		const Bind *b = &c->binds[i];
		json_t *o = json_object();
		set_text(o, "Type", types[b->type]);
		if (b->vol)
			set_text(o, "Name", b->vol->name);
		set_text(o, "Source", b->vol ? b->vol->path : b->source);
		set_text(o, "Destination", b->target);
		if (b->vol)
			set_text(o, "Driver", b->vol->driver);
		set_text(o, "Mode", b->read_only ? "ro" : b->type == MOUNT_TMPFS ? "" : "rw");
		set_bool(o, "RW", !b->read_only);
		set_text(o, "Propagation", b->type == MOUNT_BIND ? "rprivate" : "");
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *endpoint(const Endpoint *e, bool running, bool inspect, const Container *c)
{
	json_t *o = json_object();
	int prefix = docker_prefix(e->net->subnet);
	char short_id[13];
	(void) snprintf(short_id, sizeof(short_id), "%.12s", c->id);
	set(o, "IPAMConfig", e->want_address ? json_pack("{s:s}", "IPv4Address", e->want_address) : json_null());
	set(o, "Links", json_null());
	json_t *aliases = docker_strv_or_null(e->aliases);
	if (inspect && json_is_array(aliases))
		json_array_append_new(aliases, json_string(short_id));
	set(o, "Aliases", aliases);
	set_text(o, "NetworkID", e->net->id);
	set_text(o, "EndpointID", running ? c->id : "");
	set_text(o, "Gateway", running ? e->net->gateway : "");
	set_text(o, "IPAddress", running ? e->address : "");
	set_int(o, "IPPrefixLen", running ? prefix : 0);
	set_text(o, "IPv6Gateway", "");
	set_text(o, "GlobalIPv6Address", "");
	set_int(o, "GlobalIPv6PrefixLen", 0);
	set_text(o, "MacAddress", running ? e->mac : "");
	set(o, "DriverOpts", json_null());
	return o;
}

json_t *docker_container_endpoints(const Container *c, bool inspect)
{
	json_t *o = json_object();
	for (size_t i = 0; i < c->n_endpoints; i++)
		set(o, c->endpoints[i].net->name, endpoint(&c->endpoints[i], ctr_is_running(c), inspect, c));
	if (c->svc.network_mode && !str_starts(c->svc.network_mode, "service:"))
		set(o, c->svc.network_mode, json_pack("{s:n, s:n, s:n, s:s, s:s, s:s, s:s, s:i, s:s, s:s, s:i, s:s, s:n}", "IPAMConfig", "Links",
			"Aliases", "NetworkID", "", "EndpointID", "", "Gateway", "", "IPAddress", "", "IPPrefixLen", 0, "IPv6Gateway", "",
			"GlobalIPv6Address", "", "GlobalIPv6PrefixLen", 0, "MacAddress", "", "DriverOpts"));
	return o;
}

/** The id of the container whose namespace a "service:NAME" mode means: its lowest number. */
static const Container *container_of_service(const Container *c, const char *mode)
{
	if (!mode || !str_starts(mode, "service:"))
		return NULL;
	for (size_t i = 0; i < c->d->n_containers; i++) {
		const Container *other = c->d->containers[i];
		if (str_eq(other->stack, c->stack) && str_eq(other->svc.name, mode + strlen("service:")) && other->phase != PHASE_REMOVING)
			return other;
	}
	return NULL;
}

char *docker_network_mode(const Container *c)
{
	const Container *other = container_of_service(c, c->svc.network_mode);
	if (other)
		return xasprintf("container:%s", other->id);
	if (c->svc.network_mode)
		return xstrdup(c->svc.network_mode);
	for (size_t i = 0; i < c->n_endpoints; i++)
		if (c->endpoints[i].gateway)
			return xstrdup(c->endpoints[i].net->name);
	return xstrdup(c->n_endpoints ? c->endpoints[0].net->name : "none");
}

char *docker_namespace_mode(const Container *c, const char *mode)
{
	const Container *other = container_of_service(c, mode);
	return other ? xasprintf("container:%s", other->id) : xstrdup(mode ? mode : "");
}

/* ── list ─────────────────────────────────────────────────────────── */

/** "80/tcp" that is exposed but not published. */
static void add_exposed(const Container *c, json_t *list, const char *port)
{
	uint32_t number;
	size_t n = strcspn(port, "/");
	AUTO_FREE char *digits = xstrndup(port, n);
	const char *protocol = port[n] ? port + n + 1 : "tcp";
	if (parse_u32_max(digits, 65535, &number) < 0)
		return;
	for (size_t i = 0; i < json_array_size(list); i++) {
		json_t *o = json_array_get(list, i);
		if (json_integer_value(json_object_get(o, "PrivatePort")) == number && str_eq(json_string_value(json_object_get(o, "Type")), protocol))
			return;
	}
	json_array_append_new(list, json_pack("{s:i, s:s}", "PrivatePort", (int) number, "Type", protocol));
}

static json_t *list_ports(const Container *c)
{
	json_t *list = json_array();
	const Image *img = daemon_image_by_id(c->d, c->image_id);
	if (!ctr_is_running(c))
		return list;
	for (size_t i = 0; i < c->n_ports; i++) {
		const PublishedPort *p = &c->ports[i];
		json_array_append_new(list, json_pack("{s:s, s:i, s:i, s:s}", "IP", p->host_ip ? p->host_ip : "0.0.0.0", "PrivatePort",
			(int) p->target, "PublicPort", (int) p->host_port, "Type", p->protocol));
	}
	for (char *const *e = c->svc.expose; e && *e; e++)
		add_exposed(c, list, *e);
	for (char *const *e = img ? img->config.exposed_ports : NULL; e && *e; e++)
		add_exposed(c, list, *e);
	return list;
}

/** "Up 5 minutes (healthy)", "Exited (0) 3 hours ago". Owned by the caller. */
static char *status_text(const Container *c)
{
	static const char *const health[] = { [HEALTH_NONE] = "", [HEALTH_STARTING] = " (health: starting)", [HEALTH_HEALTHY] = " (healthy)",
		[HEALTH_UNHEALTHY] = " (unhealthy)" };
	int64_t now = time_real();
	AUTO_FREE char *since_start = docker_duration(now - c->started_at);
	AUTO_FREE char *since_end = docker_duration(now - c->finished_at);
	if (c->phase == PHASE_REMOVING)
		return xstrdup("Removal In Progress");
	if (c->restarting)
		return xasprintf("Restarting (%d) %s ago", c->exit_code, since_end);
	if (ctr_is_running(c))
		return xasprintf("Up %s%s%s", since_start, c->paused ? " (Paused)" : "", c->paused ? "" : health[c->health_state]);
	if (!c->finished_at)
		return xstrdup("Created");
	return xasprintf("Exited (%d) %s ago", c->exit_code, since_end);
}

/** `name` without NAME's registry default if it still means this image, else the image's id. Owned by the caller. */
static char *docker_container_image(const Container *c)
{
	Image *img = NULL;
	if (c->image_ref && daemon_find_image(c->d, c->image_ref, &img, NULL, NULL) == 0 && str_eq(img->id, c->image_id))
		return xstrdup(c->image_ref);
	return xstrdup(c->image_id);
}

json_t *docker_container_summary(const Container *c)
{
	json_t *o = json_object();
	AUTO_STRV char **args = docker_container_command(c);
	AUTO_BUF command = BUF_INIT;
	for (char **a = args; a && *a; a++)
		buf_printf(&command, "%s%s", command.len ? " " : "", *a);
	AUTO_FREE char *status = status_text(c);
	AUTO_FREE char *image = docker_container_image(c);
	AUTO_FREE char *mode = docker_network_mode(c);
	AUTO_FREE char *name = xasprintf("/%s", c->name);
	set_text(o, "Id", c->id);
	set(o, "Names", json_pack("[s]", name));
	set_text(o, "Image", image);
	set_text(o, "ImageID", c->image_id);
	set_text(o, "Command", buf_cstr(&command));
	set_int(o, "Created", c->created / NSEC_PER_SEC);
	set(o, "Ports", list_ports(c));
	set(o, "Labels", json_pairs(c->labels));
	set_text(o, "State", ctr_status(c));
	set_text(o, "Status", status);
	set(o, "HostConfig", json_pack("{s:s}", "NetworkMode", mode));
	set(o, "NetworkSettings", json_pack("{s:o}", "Networks", docker_container_endpoints(c, false)));
	set(o, "Mounts", docker_container_mounts(c));
	return o;
}
