// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/mem.h"
#include "base/str.h"
#include "run/bundle-parts.h"

#define DEVICE_DEPTH 8

typedef struct Devices {
	json_t *list, *rules;
	const char *permissions; /* NULL: everything is allowed anyway */
} Devices;

static void add_device(Devices *d, const char *target, const struct stat *st)
{
	const char *type = S_ISCHR(st->st_mode) ? "c" : "b";
	json_int_t big = major(st->st_rdev), small = minor(st->st_rdev);
	(void) json_array_append_new(d->list, json_pack("{s:s, s:s, s:I, s:I, s:i, s:I, s:I}", "path", target, "type", type, "major", big, "minor",
		small, "fileMode", (int) (st->st_mode & 07777), "uid", (json_int_t) st->st_uid, "gid", (json_int_t) st->st_gid));
	if (d->permissions)
		(void) json_array_append_new(d->rules, json_pack("{s:b, s:s, s:I, s:I, s:s}", "allow", 1, "type", type, "major", big, "minor", small,
			"access", d->permissions));
}

/* Names below /dev that the runtime makes for each container, or that belong to the host's own mounts. */
static bool is_special(const char *name)
{
	static const char *const names[] = { "pts", "shm", "mqueue", "fd", "console", "ptmx", "core", "stdin", "stdout", "stderr", "log", "null",
		"zero", "full", "random", "urandom", "tty", "init", ".lxc", ".udev" };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (str_eq(name, names[i]))
			return true;
	return false;
}

static void add_tree(Devices *d, const char *source, const char *target, int depth)
{
	DIR *dir = depth < DEVICE_DEPTH ? opendir(source) : NULL;
	for (struct dirent *e; dir && (e = readdir(dir));) {
		if (str_eq(e->d_name, ".") || str_eq(e->d_name, "..") || (depth == 0 && is_special(e->d_name)))
			continue;
		AUTO_FREE char *from = xasprintf("%s/%s", source, e->d_name);
		AUTO_FREE char *to = xasprintf("%s/%s", target, e->d_name);
		struct stat st;
		if (lstat(from, &st) < 0)
			continue;
		if (S_ISDIR(st.st_mode))
			add_tree(d, from, to, depth + 1);
		else if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
			add_device(d, to, &st);
	}
	if (dir)
		(void) closedir(dir);
}

static int add_mapping(Devices *d, const Device *dev, Err *err)
{
	struct stat st;
	if (stat(dev->source, &st) < 0)
		return err_errno(err, -errno, "devices: %s on this machine", dev->source);
	const char *target = str_empty(dev->target) ? dev->source : dev->target;
	if (target[0] != '/')
		return err_set(err, -EINVAL, "devices: the path '%s' in the container is not absolute", target);
	d->permissions = str_empty(dev->permissions) ? "rwm" : dev->permissions;
	if (strspn(d->permissions, "rwm") != strlen(d->permissions))
		return err_set(err, -EINVAL, "devices: permissions '%s' of %s; use letters of rwm", d->permissions, dev->source);
	size_t before = json_array_size(d->list);
	if (S_ISDIR(st.st_mode))
		add_tree(d, dev->source, target, 1);
	else if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
		add_device(d, target, &st);
	if (json_array_size(d->list) == before)
		return err_set(err, -ENODEV, "devices: %s is no device, and no directory with devices; mount it under volumes", dev->source);
	return 0;
}

int bundle_devices(const Service *svc, json_t **ret_devices, json_t **ret_rules, Err *err)
{
	Devices d = { .list = json_array(), .rules = json_array() };
	int r = 0;
	(void) json_array_append_new(d.rules, json_pack("{s:b, s:s}", "allow", svc->privileged ? 1 : 0, "access", "rwm"));
	if (svc->privileged)
		add_tree(&d, "/dev", "/dev", 0);
	for (size_t i = 0; r == 0 && i < svc->n_devices; i++)
		r = add_mapping(&d, &svc->devices[i], err);
	if (r < 0) {
		json_decref(d.list);
		json_decref(d.rules);
		return r;
	}
	*ret_devices = d.list;
	*ret_rules = d.rules;
	return 0;
}
