// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "run/bundle-parts.h"

static json_t *strings(const char *const *v)
{
	json_t *a = json_array();
	for (; *v; v++)
		(void) json_array_append_new(a, json_string(*v));
	return a;
}

static json_t *mount_json(const char *target, const char *type, const char *source, json_t *options)
{
	return json_pack("{s:s, s:s, s:s, s:o}", "destination", target, "type", type, "source", source, "options", options);
}

static void add_mount(json_t *list, const char *target, const char *type, const char *source, const char *const *options)
{
	(void) json_array_append_new(list, mount_json(target, type, source, strings(options)));
}

#define OPTIONS(...) ((const char *const[]) { __VA_ARGS__, NULL })

int bundle_propagation_check(const Runtime *rt, const char *propagation, Err *err)
{
	static const char *const known[] = { "private", "rprivate", "slave", "rslave", "shared", "rshared" };
	if (!propagation)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (str_eq(propagation, known[i])) {
			if (i >= 4 && rt->private_mounts)
				return err_set(err, -ENOTSUP,
					"volumes: bind propagation '%s' does not work with %s, which runs in a mount namespace of its own; "
					"use rslave, or start the daemon with --runtime runc", propagation, rt->path);
			return 0;
		}
	return err_set(err, -EINVAL, "volumes: bind propagation '%s' is unknown; use one of private, rprivate, slave, rslave, shared, rshared",
		propagation);
}

static void default_mounts(const BundleSpec *s, json_t *list)
{
	const Service *svc = s->service;
	bool privileged = svc->privileged;
	add_mount(list, "/proc", "proc", "proc", OPTIONS("nosuid", "noexec", "nodev"));
	add_mount(list, "/dev", "tmpfs", "tmpfs", OPTIONS("nosuid", "strictatime", "mode=755", "size=65536k"));
	add_mount(list, "/dev/pts", "devpts", "devpts", OPTIONS("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"));
	add_mount(list, "/sys", "sysfs", "sysfs", OPTIONS("nosuid", "noexec", "nodev", privileged ? "rw" : "ro"));
	add_mount(list, "/sys/fs/cgroup", "cgroup", "cgroup", OPTIONS("nosuid", "noexec", "nodev", "relatime", privileged ? "rw" : "ro"));

	bool host_ipc = str_eq(s->ipcns, "host");
	if (host_ipc)
		add_mount(list, "/dev/mqueue", "bind", "/dev/mqueue", OPTIONS("rbind", "rprivate"));
	else
		add_mount(list, "/dev/mqueue", "mqueue", "mqueue", OPTIONS("nosuid", "noexec", "nodev"));
	const char *shared = s->shm_source ? s->shm_source : host_ipc ? "/dev/shm" : NULL;
	if (shared) {
		add_mount(list, "/dev/shm", "bind", shared, OPTIONS("rbind", "rprivate"));
	} else if (!str_eq(svc->ipc, "none")) {
		char size[40];
		(void) snprintf(size, sizeof(size), "size=%" PRId64, svc->shm_size >= 0 ? svc->shm_size : SHM_SIZE_DEFAULT);
		add_mount(list, "/dev/shm", "tmpfs", "shm", OPTIONS("nosuid", "noexec", "nodev", "mode=1777", size));
	}
}

int bundle_tmpfs(const char *entry, char **ret_target, json_t **ret_options, Err *err)
{
	static const char *const plain[] = { "rw", "ro", "exec", "noexec", "suid", "nosuid", "dev", "nodev", "sync", "async", "dirsync", "remount",
		"mand", "nomand", "atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime", "nostrictatime",
		"mode", "uid", "gid", "nr_inodes", "nr_blocks", "size" };
	const char *colon = strchr(entry, ':');
	AUTO_FREE char *target = xstrndup(entry, colon ? (size_t) (colon - entry) : strlen(entry));
	if (target[0] != '/')
		return err_set(err, -EINVAL, "tmpfs: '%s' is not an absolute path", target);
	json_t *options = strings(OPTIONS("nosuid", "nodev", "noexec"));
	for (const char *p = colon ? colon + 1 : ""; *p;) {
		size_t n = strcspn(p, ",");
		AUTO_FREE char *one = xstrndup(p, n);
		size_t key = strcspn(one, "=");
		bool known = false;
		for (size_t i = 0; i < ARRAY_SIZE(plain) && !known; i++)
			known = strlen(plain[i]) == key && strncmp(one, plain[i], key) == 0;
		int64_t bytes = 0;
		if (known && strncmp(one, "size=", 5) == 0 && !str_ends(one, "%") && parse_bytes(one + 5, &bytes) == 0) {
			free(one);
			one = xasprintf("size=%" PRId64, bytes);
		}
		if (!known || str_has_control(one)) {
			json_decref(options);
			return err_set(err, -EINVAL, "tmpfs: unknown option '%s' for %s; use size=, mode=, uid=, gid= or mount flags", one, target);
		}
		(void) json_array_append_new(options, json_string(one));
		p += n + (p[n] == ',');
	}
	*ret_target = steal_ptr(&target);
	*ret_options = options;
	return 0;
}

/* A mount of the same target that is in the list already gives way. */
static void replace_mount(json_t *list, json_t *m)
{
	const char *target = json_string_value(json_object_get(m, "destination"));
	for (size_t i = 0; i < json_array_size(list); i++)
		if (str_eq(json_string_value(json_object_get(json_array_get(list, i), "destination")), target)) {
			(void) json_array_remove(list, i);
			break;
		}
	(void) json_array_append_new(list, m);
}

static int check_target(const char *target, Err *err)
{
	if (target[0] != '/' || str_has_control(target))
		return err_set(err, -EINVAL, "volumes: the path '%s' in the container is not absolute", target);
	/* Over these the container would not be one any more, and the runtimes' own mounts would go astray. */
	if (str_eq(target, "/") || str_eq(target, "/proc") || str_starts(target, "/proc/") || strstr(target, "/../") || str_ends(target, "/.."))
		return err_set(err, -EINVAL, "volumes: nothing can be mounted at '%s' in a container", target);
	return 0;
}

static int service_mount(const BundleSpec *s, const BundleMount *m, json_t *list, Err *err)
{
	int r = check_target(m->target, err);
	if (r < 0)
		return r;
	if (m->type == MOUNT_TMPFS) {
		json_t *options = strings(OPTIONS("nosuid", "nodev", "noexec"));
		if (m->tmpfs_size >= 0) {
			AUTO_FREE char *o = xasprintf("size=%" PRId64, m->tmpfs_size);
			(void) json_array_append_new(options, json_string(o));
		}
		if (m->tmpfs_mode >= 0) {
			AUTO_FREE char *o = xasprintf("mode=%o", (unsigned) m->tmpfs_mode & 07777);
			(void) json_array_append_new(options, json_string(o));
		}
		if (m->read_only)
			(void) json_array_append_new(options, json_string("ro"));
		replace_mount(list, mount_json(m->target, "tmpfs", "tmpfs", options));
		return 0;
	}
	r = bundle_propagation_check(s->runtime, m->propagation, err);
	if (r < 0)
		return r;
	const char *propagation = m->propagation ? m->propagation : "rprivate";
	replace_mount(list, mount_json(m->target, "bind", m->source, strings(OPTIONS("rbind", propagation, m->read_only ? "ro" : "rw"))));
	return 0;
}

/* Parents before children, so that /data/cache is mounted into /data and not below it; otherwise in the given order. */
static size_t depth_of(const json_t *m)
{
	size_t n = 0;
	const char *p = json_string_value(json_object_get(m, "destination"));
	for (; p && *p; p++)
		n += *p == '/' && p[1];
	return n;
}

static json_t *sort_by_depth(json_t *list)
{
	json_t *sorted = json_array();
	size_t left = json_array_size(list);
	for (size_t depth = 0; left > 0; depth++)
		for (size_t i = 0; i < json_array_size(list); i++)
			if (depth_of(json_array_get(list, i)) == depth) {
				(void) json_array_append(sorted, json_array_get(list, i));
				left--;
			}
	json_decref(list);
	return sorted;
}

int bundle_mounts(const BundleSpec *s, json_t **ret, Err *err)
{
	json_t *base = json_array(), *own = json_array();
	default_mounts(s, base);
	const struct {
		const char *source, *target;
	} files[] = { { s->hosts, "/etc/hosts" }, { s->resolv_conf, "/etc/resolv.conf" }, { s->hostname_file, "/etc/hostname" } };
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (files[i].source)
			add_mount(own, files[i].target, "bind", files[i].source, OPTIONS("rbind", "rprivate"));
	if (s->service->init == 1) {
		AUTO_FREE char *init = xasprintf("%s/stead-init", s->runtime->libexec_dir);
		add_mount(own, "/dev/init", "bind", init, OPTIONS("bind", "rprivate", "ro"));
	}
	int r = 0;
	for (size_t i = 0; r == 0 && s->service->tmpfs && s->service->tmpfs[i]; i++) {
		AUTO_FREE char *target = NULL;
		json_t *options = NULL;
		r = bundle_tmpfs(s->service->tmpfs[i], &target, &options, err);
		if (r == 0)
			replace_mount(own, mount_json(target, "tmpfs", "tmpfs", options));
	}
	for (size_t i = 0; r == 0 && i < s->n_mounts; i++)
		r = service_mount(s, &s->mounts[i], own, err);
	if (r < 0) {
		json_decref(base);
		json_decref(own);
		return r;
	}
	own = sort_by_depth(own);
	for (size_t i = 0; i < json_array_size(own); i++)
		replace_mount(base, json_incref(json_array_get(own, i)));
	json_decref(own);
	*ret = base;
	return 0;
}
