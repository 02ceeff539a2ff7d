// SPDX-License-Identifier: Apache-2.0
/*
 * What a service must fulfil for itself, beyond the types of its keys. A list of small checks; each says
 * the key it is about, so that the error can be mapped to a line of the file.
 */
#include <arpa/inet.h>
#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "model/names.h"
#include "model/stack-parts.h"

/* "service:NAME" or one of the words; others exist in Docker but not here. */
static int check_namespace(
	Reader *r, const char *key, const char *mode, const char *const *words, const char *self)
{
	if (!mode || word_in(words, mode))
		return 0;
	if (str_starts(mode, "service:")) {
		if (str_eq(mode + 8, self))
			return reader_fail_at(r, key, "'%s' is the service itself", mode);
		return mode[8] ? 0 : reader_fail_at(r, key, "a service's name must follow 'service:'");
	}
	if (str_starts(mode, "container:"))
		return reader_fail_at(r, key, "'%s' is not supported yet; use service:NAME", mode);
	const char *near = word_nearest(words, mode);
	if (near)
		return reader_fail_at(r, key, "'%s' is unknown; did you mean '%s'?", mode, near);
	return reader_fail_at(r, key, "'%s' is unknown", mode);
}

static int check_namespaces(Reader *r, Service *s)
{
	static const char *const network[] = { "host", "none", NULL };
	static const char *const pid[] = { "host", NULL };
	static const char *const ipc[] = { "host", "private", "shareable", "none", NULL };
	if (check_namespace(r, "network_mode", s->network_mode, network, s->name) < 0 ||
		check_namespace(r, "pid", s->pid, pid, s->name) < 0 ||
		check_namespace(r, "ipc", s->ipc, ipc, s->name) < 0)
		return -EINVAL;
	if (s->uts && !str_eq(s->uts, "host"))
		return reader_fail_at(r, "uts", "must be host, not '%s'", s->uts);
	if (s->network_mode && s->n_networks)
		return reader_fail_at(
			r, "network_mode", "cannot be together with 'networks'; remove one of them");
	if (s->network_mode && s->n_ports)
		return reader_fail_at(r, "ports", "ports cannot be published with network_mode '%s'%s",
			s->network_mode,
			str_starts(s->network_mode, "service:") ? "; publish them at that service"
								: "; remove them");
	return 0;
}

static int check_names(Reader *r, Service *s)
{
	if (s->container_name && !object_name_valid(s->container_name))
		return reader_fail_at(r, "container_name",
			"'%s' is no valid name: letters, digits, '_', '.' and '-'", s->container_name);
	if (s->container_name && s->replicas > 1)
		return reader_fail_at(r, "container_name",
			"%d containers cannot all be named '%s'; remove it, or set scale to 1", s->replicas,
			s->container_name);
	if (s->hostname && (strlen(s->hostname) > 64 || !object_name_valid(s->hostname)))
		return reader_fail_at(
			r, "hostname", "'%s' is no valid host name of at most 64 characters", s->hostname);
	if (s->domainname && (strlen(s->domainname) > 64 || !object_name_valid(s->domainname)))
		return reader_fail_at(r, "domainname",
			"'%s' is no valid domain name of at most 64 characters", s->domainname);
	return 0;
}

static int check_capabilities(Reader *r, const char *key, char *const *caps)
{
	for (; caps && *caps; caps++) {
		if (str_eq(*caps, "ALL") || word_in(capability_names, *caps))
			continue;
		const char *near = word_nearest(capability_names, *caps);
		if (near)
			return reader_fail_at(
				r, key, "'%s' is no capability; did you mean '%s'?", *caps, near);
		return reader_fail_at(r, key, "'%s' is no capability; see capabilities(7)", *caps);
	}
	return 0;
}

static int check_security_opt(Reader *r, Service *s)
{
	static const char *const known[] = { "no-new-privileges", "no-new-privileges:true",
		"no-new-privileges:false", "no-new-privileges=true", "no-new-privileges=false",
		"seccomp=unconfined", "seccomp:unconfined", "apparmor=unconfined", "apparmor:unconfined",
		"label=disable", "label:disable", "systempaths=unconfined", NULL };
	for (char **p = s->security_opt; p && *p; p++) {
		if (word_in(known, *p))
			continue;
		if (str_starts(*p, "seccomp") || str_starts(*p, "apparmor") || str_starts(*p, "label"))
			return reader_fail_at(r, "security_opt",
				"'%s' is not supported yet; 'unconfined' (or label:disable) is", *p);
		return reader_fail_at(r, "security_opt",
			"'%s' is unknown; no-new-privileges:true, seccomp=unconfined, "
			"apparmor=unconfined and systempaths=unconfined are known",
			*p);
	}
	return 0;
}

static int check_kernel(Reader *r, Service *s)
{
	for (size_t i = 0; i < s->n_ulimits; i++) {
		const char *name = s->ulimits[i].name, *near;
		if (word_in(ulimit_names, name))
			continue;
		near = word_nearest(ulimit_names, name);
		return reader_fail_at(r, "ulimits", "'%s' is no limit%s%s%s", name,
			near ? "; did you mean '" : "; see setrlimit(2)", near ? near : "", near ? "'?" : "");
	}
	for (char **p = s->sysctls; p && *p; p++) {
		AUTO_FREE char *name = xstrndup(*p, strcspn(*p, "="));
		if (!sysctl_allowed(name))
			return reader_fail_at(r, "sysctls",
				"'%s' belongs to the whole machine, not to a container; set it on the host with sysctl(8)",
				name);
		if (str_starts(name, "net.") && str_eq(s->network_mode, "host"))
			return reader_fail_at(
				r, "sysctls", "'%s' cannot be set with network_mode host", name);
		if (str_has_control(*p))
			return reader_fail_at(
				r, "sysctls", "the value of '%s' has a control character in it", name);
	}
	if (s->cpuset && s->cpuset[strspn(s->cpuset, "0123456789,-")])
		return reader_fail_at(r, "cpuset", "'%s' must be a list such as 0-3,6", s->cpuset);
	if (s->stop_signal && signal_number(s->stop_signal) < 0)
		return reader_fail_at(
			r, "stop_signal", "'%s' is no signal; give a name such as SIGTERM", s->stop_signal);
	if (s->platform && !str_starts(s->platform, "linux"))
		return reader_fail_at(
			r, "platform", "'%s' cannot run here; give linux/ARCHITECTURE", s->platform);
	return 0;
}

/* 0 is as good as not written. Below 6 MiB a runtime cannot even start a process (the same bound as Docker's). */
static int check_memory(Reader *r, Service *s)
{
	int64_t *const optional[] = { &s->mem_limit, &s->mem_reservation, &s->shm_size, &s->cpu_shares };
	for (size_t i = 0; i < ARRAY_SIZE(optional); i++)
		if (!*optional[i])
			*optional[i] = -1;
	const int64_t least = 6 << 20;
	if (s->mem_limit > 0 && s->mem_limit < least)
		return reader_fail_at(r, "mem_limit",
			"%lld bytes are too few to start a container; give at least 6m",
			(long long) s->mem_limit);
	if (s->mem_limit > 0 && s->mem_reservation > s->mem_limit)
		return reader_fail_at(r, "mem_reservation", "must not be above mem_limit");
	if (s->memswap_limit > 0 && s->mem_limit <= 0)
		return reader_fail_at(r, "memswap_limit",
			"needs mem_limit beside it, since it is memory and swap together");
	if (s->memswap_limit > 0 && s->memswap_limit < s->mem_limit)
		return reader_fail_at(r, "memswap_limit",
			"must not be below mem_limit, since it is memory and swap together");
	return 0;
}

static int check_addresses(Reader *r, Service *s)
{
	for (char **p = s->dns; p && *p; p++)
		if (!address_family(*p))
			return reader_fail_at(r, "dns", "'%s' is no IP address", *p);
	for (char **p = s->extra_hosts; p && *p; p++) {
		AUTO_FREE char *name = xstrndup(*p, strcspn(*p, "="));
		const char *address = *p + strlen(name);
		if (*address++ != '=' || !object_name_valid(name))
			return reader_fail_at(r, "extra_hosts", "'%s' must be NAME=ADDRESS", *p);
		if (!str_eq(address, "host-gateway") && !address_family(address))
			return reader_fail_at(
				r, "extra_hosts", "'%s' is no IP address (nor 'host-gateway')", address);
	}
	for (char **p = s->expose; p && *p; p++) {
		AUTO_FREE char *number = xstrndup(*p, strcspn(*p, "/"));
		uint32_t port;
		if (parse_u32_max(number, 65535, &port) < 0 || !port ||
			(!str_ends(*p, "/tcp") && !str_ends(*p, "/udp")) || strlen(*p) != strlen(number) + 4)
			return reader_fail_at(r, "expose", "'%s' must be PORT/tcp or PORT/udp", *p);
	}
	for (char **p = s->dns_search; p && *p; p++)
		if (!**p || (*p)[strcspn(*p, " \t")])
			return reader_fail_at(r, "dns_search", "'%s' is no domain name", *p);
	for (char **p = s->dns_opt; p && *p; p++)
		if (!**p || (*p)[strcspn(*p, " \t")])
			return reader_fail_at(
				r, "dns_opt", "'%s' is no resolver option; see resolv.conf(5)", *p);
	return 0;
}

static int check_logging(Reader *r, Service *s)
{
	static const char *const drivers[] = { "json-file", "local", "none", NULL };
	static const char *const options[] = { "max-size", "max-file", "compress", "labels", "labels-regex",
		"env", "env-regex", "tag", "mode", "max-buffer-size", NULL };
	if (s->logging_driver && !word_in(drivers, s->logging_driver))
		return reader_fail_at(r, "logging.driver",
			"'%s' is not supported yet; use json-file, local or none", s->logging_driver);
	for (char **p = s->logging_options; p && *p; p++) {
		AUTO_FREE char *key = xstrndup(*p, strcspn(*p, "="));
		const char *value = *p + strlen(key) + 1;
		int64_t n;
		if (!word_in(options, key)) {
			const char *near = word_nearest(options, key);
			return reader_fail_at(r, "logging.options", "unknown option '%s'%s%s%s", key,
				near ? "; did you mean '" : "", near ? near : "",
				near ? "'?" : "; remove it");
		}
		if (str_eq(key, "max-size") && !str_eq(value, "-1") && (parse_bytes(value, &n) < 0 || n <= 0))
			return reader_fail_at(
				r, "logging.options.max-size", "'%s' must be a size such as 10m", value);
		if (str_eq(key, "max-file") && (parse_i64(value, &n) < 0 || n < 1 || n > 1000))
			return reader_fail_at(
				r, "logging.options.max-file", "'%s' must be a number from 1 to 1000", value);
	}
	return 0;
}

static int check_tmpfs(Reader *r, Service *s)
{
	for (char **p = s->tmpfs; p && *p; p++)
		if (**p != '/')
			return reader_fail_at(
				r, "tmpfs", "'%s' must be an absolute path, with options after a colon", *p);
	return 0;
}

static int compare_targets(const void *a, const void *b)
{
	return strcmp(((const Mount *) a)->target, ((const Mount *) b)->target);
}

/*
 * A parent is to be mounted before what lies in it, so sorting by path is the order of mounting. And one
 * thing a path: the kernel would mount one over the other and the first would be lost.
 */
static int check_targets(Reader *r, Service *s)
{
	if (s->n_mounts > 1)
		qsort(s->mounts, s->n_mounts, sizeof(Mount), compare_targets);
	for (size_t i = 1; i < s->n_mounts; i++)
		if (str_eq(s->mounts[i - 1].target, s->mounts[i].target))
			return reader_fail_at(
				r, "volumes", "two mounts go to '%s'; remove one", s->mounts[i].target);
	for (char **p = s->tmpfs; p && *p && s->n_mounts; p++) {
		AUTO_FREE char *path = xstrndup(*p, strcspn(*p, ":"));
		const Mount key = { .target = path };
		if (bsearch(&key, s->mounts, s->n_mounts, sizeof(Mount), compare_targets))
			return reader_fail_at(
				r, "tmpfs", "'%s' is also the target of a volume; remove one", path);
	}
	return 0;
}

/* Who joins another's namespace must wait for it, whether the file says so or not. */
static int add_implied(Reader *r, Service *s)
{
	const char *const modes[] = { s->network_mode, s->pid, s->ipc };
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		if (!modes[i] || !str_starts(modes[i], "service:") ||
			objects_find(s->depends, s->n_depends, sizeof(Depends), modes[i] + 8))
			continue;
		Depends *d = array_append(s->depends, s->n_depends);
		*d = (Depends){ .service = xstrdup(modes[i] + 8),
			.condition = DEPENDS_STARTED,
			.required = true,
			.restart = true };
		objects_sort(s->depends, s->n_depends, sizeof(Depends));
	}
	return 0;
}

int service_check(Reader *r, void *base)
{
	static int (*const checks[])(Reader *, Service *) = {
		check_names,
		check_namespaces,
		check_security_opt,
		check_kernel,
		check_memory,
		check_addresses,
		check_logging,
		check_tmpfs,
		check_targets,
		add_implied,
	};
	Service *s = base;
	if (!s->image)
		return reader_fail(r, "has no 'image'; name one");
	if (check_capabilities(r, "cap_add", s->cap_add) < 0 ||
		check_capabilities(r, "cap_drop", s->cap_drop) < 0)
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
		if (checks[i](r, s) < 0)
			return -EINVAL;
	return 0;
}
