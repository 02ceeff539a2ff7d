// SPDX-License-Identifier: Apache-2.0
/*
 * The small structs inside a service: ports, mounts, network attachments, dependencies, health checks,
 * ulimits, devices, uses of configs and secrets. Tables, and the checks that no table can say.
 */
#include "model/stack-parts.h"

#include <arpa/inet.h>
#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "model/names.h"

/* ---- ports ---- */

/* "8080", or "8080-8090": one of these. */
static int parse_published(Reader *r, const Field *f, json_t *v, void *base)
{
	Port *p = base;
	const char *s = json_string_value(v);
	char first[8] = "";
	size_t n = s ? strcspn(s, "-") : 0;
	uint32_t from, to;
	if (!s || n >= sizeof(first))
		return reader_fail(r, "must be a string such as \"8080\" or \"8080-8090\"");
	memcpy(first, s, n);
	if (parse_u32_max(first, 65535, &from) < 0)
		return reader_fail(r, "'%s' is no port; give a number from 0 (any free one) to 65535", s);
	to = from;
	if (s[n] && (parse_u32_max(s + n + 1, 65535, &to) < 0 || to < from || !from))
		return reader_fail(r, "'%s' is no range of ports; give FIRST-LAST", s);
	p->published = (uint16_t) from;
	p->published_end = (uint16_t) to;
	return 0;
}

static json_t *emit_published(const Field *f, const void *base)
{
	const Port *p = base;
	if (!p->published)
		return NULL;
	if (p->published == p->published_end)
		return json_sprintf("%u", p->published);
	return json_sprintf("%u-%u", p->published, p->published_end);
}

static const FieldType field_published = { NULL, parse_published, emit_published, NULL };

/* One spelling of an address, so that equal ones compare equal. */
static bool normalise_address(char **p)
{
	unsigned char raw[16];
	char text[INET6_ADDRSTRLEN];
	int family = address_family(*p);
	if (!family)
		return false;
	(void) inet_pton(family, *p, raw);
	str_set(p, inet_ntop(family, raw, text, sizeof(text)));
	return true;
}

static int check_port(Reader *r, void *base)
{
	Port *p = base;
	if (p->host_ip && !normalise_address(&p->host_ip))
		return reader_fail_at(r, "host_ip", "'%s' is no IP address", p->host_ip);
	if (!p->protocol)
		p->protocol = xstrdup("tcp");
	if (!str_eq(p->protocol, "tcp") && !str_eq(p->protocol, "udp"))
		return reader_fail_at(r, "protocol", "'%s' is not supported; use tcp or udp", p->protocol);
	return 0;
}

static const Field port_fields[] = {
	{ "target", &field_u16, offsetof(Port, target), .min = 1, .max = 65535, .flags = FIELD_REQUIRED },
	{ "published", &field_published },
	{ "host_ip", &field_word, offsetof(Port, host_ip) },
	{ "protocol", &field_word, offsetof(Port, protocol) },
	{ "name", &field_str, offsetof(Port, name) },
	{ "mode", &field_ignored },
	{ "app_protocol", &field_ignored },
};
const Schema port_schema = OBJECT_SCHEMA(port_fields, Port, check_port, "a port");

/* ---- mounts ---- */

static const char *const mount_types[] = { "volume", "bind", "tmpfs", NULL };
static const char *const selinux_modes[] = { "z", "Z", NULL };
static const char *const propagations[] = { "private", "rprivate", "shared", "rshared", "slave", "rslave", NULL };

/* SELinux relabelling has nothing to act on where stead runs; the value is still checked. */
static int parse_selinux(Reader *r, const Field *f, json_t *v, void *base)
{
	const char *s = json_string_value(v);
	return s && word_in(selinux_modes, s) ? 0 : reader_fail(r, "must be z or Z");
}

static const FieldType field_selinux = { NULL, parse_selinux, NULL, NULL };

static int check_mount(Reader *r, void *base)
{
	Mount *m = base;
	if (m->propagation && !word_in(propagations, m->propagation))
		return reader_fail_at(r, "bind.propagation", "'%s' is unknown; use rprivate, rshared or rslave", m->propagation);
	if (m->type == MOUNT_BIND && (!m->source || m->source[0] != '/'))
		return reader_fail_at(r, "source", "a bind mount needs an absolute source path, not '%s'", m->source ? m->source : "");
	if (m->type == MOUNT_TMPFS && m->source)
		return reader_fail_at(r, "source", "a tmpfs mount has no source; remove it");
	if (m->type != MOUNT_BIND && (m->propagation || m->create_host_path))
		return reader_fail_at(r, "bind", "applies to type: bind only");
	if (m->type != MOUNT_VOLUME && (m->nocopy || m->subpath))
		return reader_fail_at(r, "volume", "applies to type: volume only");
	if (m->type != MOUNT_TMPFS && (m->tmpfs_size != -1 || m->tmpfs_mode != -1))
		return reader_fail_at(r, "tmpfs", "applies to type: tmpfs only");
	if (m->subpath && (m->subpath[0] == '/' || strstr(m->subpath, "..")))
		return reader_fail_at(r, "volume.subpath", "'%s' must be a relative path without '..'", m->subpath);
	return 0;
}

static const Field mount_bind_fields[] = {
	{ "create_host_path", &field_bool, offsetof(Mount, create_host_path) },
	{ "propagation", &field_word, offsetof(Mount, propagation) },
	{ "selinux", &field_selinux },
	{ "recursive", &field_refused, .arg = "leave it out: binds are recursive" },
};
static const Schema mount_bind_schema = OBJECT_SCHEMA(mount_bind_fields, Mount, NULL, "bind");

static const Field mount_volume_fields[] = {
	{ "nocopy", &field_bool, offsetof(Mount, nocopy) },
	{ "subpath", &field_word, offsetof(Mount, subpath) },
	{ "labels", &field_refused, .arg = "label the volume at the top level" },
};
static const Schema mount_volume_schema = OBJECT_SCHEMA(mount_volume_fields, Mount, NULL, "volume");

static const Field mount_tmpfs_fields[] = {
	{ "size", &field_bytes, offsetof(Mount, tmpfs_size), .unset = -1, .min = 0 },
	{ "mode", &field_mode, offsetof(Mount, tmpfs_mode), .unset = -1 },
};
static const Schema mount_tmpfs_schema = OBJECT_SCHEMA(mount_tmpfs_fields, Mount, NULL, "tmpfs");

static const Field mount_fields[] = {
	{ "type", &field_enum, offsetof(Mount, type), .arg = mount_types, .flags = FIELD_REQUIRED | FIELD_ALWAYS },
	{ "source", &field_word, offsetof(Mount, source) },
	{ "target", &field_path, offsetof(Mount, target), .flags = FIELD_REQUIRED },
	{ "read_only", &field_bool, offsetof(Mount, read_only) },
	{ "bind", &field_same, .arg = &mount_bind_schema },
	{ "volume", &field_same, .arg = &mount_volume_schema },
	{ "tmpfs", &field_same, .arg = &mount_tmpfs_schema },
	{ "consistency", &field_ignored }, /* of macOS file sharing */
	{ "image", &field_refused, .arg = "mount a volume or a directory" },
};
const Schema mount_schema = OBJECT_SCHEMA(mount_fields, Mount, check_mount, "a volume mount");

/* ---- networks of a service ---- */

static int check_attachment(Reader *r, void *base)
{
	NetworkAttachment *a = base;
	if (a->ipv4_address && address_family(a->ipv4_address) != AF_INET)
		return reader_fail_at(r, "ipv4_address", "'%s' is no IPv4 address", a->ipv4_address);
	if (a->ipv6_address && address_family(a->ipv6_address) != AF_INET6)
		return reader_fail_at(r, "ipv6_address", "'%s' is no IPv6 address", a->ipv6_address);
	if (a->mac_address && !mac_valid(a->mac_address))
		return reader_fail_at(r, "mac_address", "'%s' is no MAC address, such as 02:42:ac:11:00:02", a->mac_address);
	for (char **p = a->aliases; p && *p; p++)
		if (!object_name_valid(*p))
			return reader_fail_at(r, "aliases", "'%s' is no host name", *p);
	return 0;
}

static const Field attachment_fields[] = {
	{ "aliases", &field_strs, offsetof(NetworkAttachment, aliases) },
	{ "ipv4_address", &field_word, offsetof(NetworkAttachment, ipv4_address) },
	{ "ipv6_address", &field_word, offsetof(NetworkAttachment, ipv6_address) },
	{ "mac_address", &field_word, offsetof(NetworkAttachment, mac_address) },
	{ "priority", &field_int, offsetof(NetworkAttachment, priority), .min = -1000000, .max = 1000000 },
	{ "gw_priority", &field_int, offsetof(NetworkAttachment, priority), .min = -1000000, .max = 1000000,
		.flags = FIELD_ALIAS },
	{ "link_local_ips", &field_refused, .arg = "remove it" },
	{ "driver_opts", &field_refused, .arg = "remove it" },
	{ "interface_name", &field_refused, .arg = "remove it" },
};
const Schema attachment_schema = OBJECT_SCHEMA(attachment_fields, NetworkAttachment, check_attachment, "a service's network");

/* ---- dependencies ---- */

static const char *const conditions[] = { "service_started", "service_healthy", "service_completed_successfully", NULL };

static const Field depends_fields[] = {
	{ "condition", &field_enum, offsetof(Depends, condition), .arg = conditions, .flags = FIELD_ALWAYS },
	{ "required", &field_bool, offsetof(Depends, required), .unset = 1, .flags = FIELD_ALWAYS },
	{ "restart", &field_bool, offsetof(Depends, restart) },
};
const Schema depends_schema = OBJECT_SCHEMA(depends_fields, Depends, NULL, "depends_on");

/* ---- health checks ---- */

static int check_healthcheck(Reader *r, void *base)
{
	Healthcheck *h = base;
	size_t n = strv_len(h->test);
	if (h->test && !n)
		return reader_fail_at(r, "test", "must not be empty");
	if (n && str_eq(h->test[0], "NONE")) {
		if (n > 1)
			return reader_fail_at(r, "test", "NONE takes no arguments");
		h->disable = true;
	} else if (n && !str_eq(h->test[0], "CMD") && !str_eq(h->test[0], "CMD-SHELL")) {
		return reader_fail_at(r, "test", "must begin with NONE, CMD or CMD-SHELL, not '%s'; write [CMD, %s …]", h->test[0],
			h->test[0]);
	} else if (n == 1) {
		return reader_fail_at(r, "test", "%s needs a command after it", h->test[0]);
	} else if (n > 2 && str_eq(h->test[0], "CMD-SHELL")) {
		return reader_fail_at(r, "test", "CMD-SHELL takes one string; use CMD for a list of arguments");
	}
	if (h->disable) {
		strv_free(h->test);
		*h = (Healthcheck) { .set = true, .disable = true, .interval = -1, .timeout = -1, .start_period = -1,
			.start_interval = -1, .retries = -1 };
		return 0;
	}
	h->set = h->test || h->interval >= 0 || h->timeout >= 0 || h->start_period >= 0 || h->start_interval >= 0 ||
		h->retries >= 0;
	return 0;
}

#define HEALTH_DURATION(key, least)                                                                          \
	{ #key, &field_duration, offsetof(Healthcheck, key), .unset = -1, .min = (least) }

static const Field healthcheck_fields[] = {
	{ "test", &field_texts, offsetof(Healthcheck, test) },
	HEALTH_DURATION(interval, 0),
	HEALTH_DURATION(timeout, 0),
	HEALTH_DURATION(start_period, 0),
	HEALTH_DURATION(start_interval, 0),
	{ "retries", &field_int, offsetof(Healthcheck, retries), .unset = -1, .min = 0, .max = 1000000 },
	{ "disable", &field_bool, offsetof(Healthcheck, disable) },
};
const Schema healthcheck_schema = OBJECT_SCHEMA(healthcheck_fields, Healthcheck, check_healthcheck, "a health check");

void healthcheck_done(Healthcheck *h)
{
	strv_free(h->test);
	h->test = NULL;
}

/* Docker takes 0 for "not set" in the durations and in retries (moby daemon/health.go). */
static int64_t first_positive(int64_t a, int64_t b, int64_t fallback)
{
	return a > 0 ? a : b > 0 ? b : fallback;
}

void healthcheck_resolve(const Healthcheck *service, const Healthcheck *image, Healthcheck *ret)
{
	static const Healthcheck none = { .interval = -1, .timeout = -1, .start_period = -1, .start_interval = -1, .retries = -1 };
	const int64_t second = 1000000000;
	if (!service)
		service = &none;
	if (!image || !image->set || image->disable)
		image = &none;
	*ret = (Healthcheck) {
		.disable = service->disable,
		.interval = first_positive(service->interval, image->interval, 30 * second),
		.timeout = first_positive(service->timeout, image->timeout, 30 * second),
		.start_period = first_positive(service->start_period, image->start_period, 0),
		.start_interval = first_positive(service->start_interval, image->start_interval, 5 * second),
		.retries = (int) first_positive(service->retries, image->retries, 3),
	};
	if (!service->disable)
		ret->test = strv_dup(service->test ? service->test : image->test);
	ret->set = ret->test != NULL;
}

/* ---- ulimits, devices ---- */

static int parse_ulimit_number(Reader *r, json_t *v, void *base)
{
	Ulimit *u = base;
	if (!json_is_integer(v) || json_integer_value(v) < -1)
		return reader_fail(r, "must be a whole number (-1 = unlimited) or a map with soft and hard");
	u->soft = u->hard = json_integer_value(v);
	return 0;
}

static int check_ulimit(Reader *r, void *base)
{
	Ulimit *u = base;
	if (u->hard != -1 && (u->soft == -1 || u->soft > u->hard))
		return reader_fail(r, "the soft limit must not be above the hard limit");
	return 0;
}

static const Field ulimit_fields[] = {
	{ "soft", &field_i64, offsetof(Ulimit, soft), .unset = -2, .min = -1, .max = INT64_MAX, .flags = FIELD_REQUIRED },
	{ "hard", &field_i64, offsetof(Ulimit, hard), .unset = -2, .min = -1, .max = INT64_MAX, .flags = FIELD_REQUIRED },
};
const Schema ulimit_schema = { .fields = ulimit_fields, .n_fields = ARRAY_SIZE(ulimit_fields), .size = sizeof(Ulimit),
	.parse_scalar = parse_ulimit_number, .check = check_ulimit, .what = "a ulimit" };

static int check_device(Reader *r, void *base)
{
	Device *d = base;
	if (!d->permissions)
		d->permissions = xstrdup("rwm");
	if (!*d->permissions || d->permissions[strspn(d->permissions, "rwm")])
		return reader_fail_at(r, "permissions", "'%s' must consist of r, w and m", d->permissions);
	return 0;
}

static const Field device_fields[] = {
	{ "source", &field_path, offsetof(Device, source), .flags = FIELD_REQUIRED },
	{ "target", &field_path, offsetof(Device, target), .flags = FIELD_REQUIRED },
	{ "permissions", &field_word, offsetof(Device, permissions) },
};
const Schema device_schema = OBJECT_SCHEMA(device_fields, Device, check_device, "a device");

/* ---- uses of configs and secrets ---- */

static int check_file_ref(Reader *r, void *base)
{
	const FileRef *f = base;
	uint64_t n;
	if (f->uid && (parse_u64(f->uid, &n) < 0 || n > UINT32_MAX - 1))
		return reader_fail_at(r, "uid", "'%s' must be a number", f->uid);
	if (f->gid && (parse_u64(f->gid, &n) < 0 || n > UINT32_MAX - 1))
		return reader_fail_at(r, "gid", "'%s' must be a number", f->gid);
	return 0;
}

static const Field file_ref_fields[] = {
	{ "source", &field_word, offsetof(FileRef, source), .flags = FIELD_REQUIRED },
	{ "target", &field_path, offsetof(FileRef, target), .flags = FIELD_REQUIRED },
	{ "uid", &field_word, offsetof(FileRef, uid) },
	{ "gid", &field_word, offsetof(FileRef, gid) },
	{ "mode", &field_mode, offsetof(FileRef, mode), .unset = -1 },
};
const Schema file_ref_schema = OBJECT_SCHEMA(file_ref_fields, FileRef, check_file_ref, "a config or secret of a service");
