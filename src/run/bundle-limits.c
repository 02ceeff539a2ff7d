// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "run/bundle-parts.h"
#include "run/caps.h"

#define CPU_PERIOD 100000 /* microseconds, as Docker for `cpus` */

/* ── resources ────────────────────────────────────────────────────── */

static int memory(const Runtime *rt, const Service *svc, json_t *ret, Err *err)
{
	if (svc->mem_limit <= 0 && svc->mem_reservation <= 0 && svc->memswap_limit == -1)
		return 0;
	int r = runtime_require(rt, CONTROLLER_MEMORY, svc->mem_limit > 0 ? "mem_limit" : "mem_reservation", err);
	if (r < 0)
		return r;
	json_t *m = json_object();
	if (svc->mem_limit > 0) {
		(void) json_object_set_new(m, "limit", json_integer(svc->mem_limit));
		/* As much swap again as memory, unless said otherwise: Docker's rule. */
		json_int_t swap = svc->memswap_limit == -2 ? -1 : svc->memswap_limit > 0 ? svc->memswap_limit : svc->mem_limit * 2;
		if (rt->controllers & CONTROLLER_SWAP)
			(void) json_object_set_new(m, "swap", json_integer(swap));
	}
	if (svc->mem_reservation > 0)
		(void) json_object_set_new(m, "reservation", json_integer(svc->mem_reservation));
	(void) json_object_set_new(ret, "memory", m);
	if (svc->memswap_limit > 0 && svc->mem_limit > 0) {
		if (svc->memswap_limit < svc->mem_limit)
			return err_set(err, -EINVAL, "memswap_limit: %" PRId64 " is below mem_limit %" PRId64 "; it is memory and swap together",
				svc->memswap_limit, svc->mem_limit);
		return runtime_require(rt, CONTROLLER_SWAP, "memswap_limit", err);
	}
	return 0;
}

static int cpu(const Runtime *rt, const Service *svc, json_t *ret, Err *err)
{
	json_t *c = json_object();
	int r = 0;
	if (svc->cpus > 0) {
		r = runtime_require(rt, CONTROLLER_CPU, "cpus", err);
		(void) json_object_set_new(c, "period", json_integer(CPU_PERIOD));
		(void) json_object_set_new(c, "quota", json_integer((json_int_t) llround(svc->cpus * CPU_PERIOD)));
	}
	if (r == 0 && svc->cpu_shares > 0) {
		r = runtime_require(rt, CONTROLLER_CPU, "cpu_shares", err);
		(void) json_object_set_new(c, "shares", json_integer(svc->cpu_shares < 2 ? 2 : svc->cpu_shares));
	}
	if (r == 0 && !str_empty(svc->cpuset)) {
		r = runtime_require(rt, CONTROLLER_CPUSET, "cpuset", err);
		(void) json_object_set_new(c, "cpus", json_string(svc->cpuset));
	}
	if (json_object_size(c) && r == 0)
		(void) json_object_set(ret, "cpu", c);
	json_decref(c);
	return r;
}

int bundle_resources(const Runtime *rt, const Service *svc, json_t *ret, Err *err)
{
	int r = memory(rt, svc, ret, err);
	if (r == 0)
		r = cpu(rt, svc, ret, err);
	if (r < 0)
		return r;
	if (svc->pids_limit > 0) {
		r = runtime_require(rt, CONTROLLER_PIDS, "pids_limit", err);
		if (r < 0)
			return r;
	}
	int64_t pids = svc->pids_limit == 0 ? LIMIT_PIDS_DEFAULT : svc->pids_limit;
	if (pids > 0 && (rt->controllers & CONTROLLER_PIDS))
		(void) json_object_set_new(ret, "pids", json_pack("{s:I}", "limit", (json_int_t) pids));
	return 0;
}

/* ── ulimits ──────────────────────────────────────────────────────── */

static const struct {
	const char *name, *oci;
	int resource;
} limits[] = {
	{ "core", "RLIMIT_CORE", RLIMIT_CORE }, { "cpu", "RLIMIT_CPU", RLIMIT_CPU }, { "data", "RLIMIT_DATA", RLIMIT_DATA },
	{ "fsize", "RLIMIT_FSIZE", RLIMIT_FSIZE }, { "locks", "RLIMIT_LOCKS", RLIMIT_LOCKS },
	{ "memlock", "RLIMIT_MEMLOCK", RLIMIT_MEMLOCK }, { "msgqueue", "RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE },
	{ "nice", "RLIMIT_NICE", RLIMIT_NICE }, { "nofile", "RLIMIT_NOFILE", RLIMIT_NOFILE }, { "nproc", "RLIMIT_NPROC", RLIMIT_NPROC },
	{ "rss", "RLIMIT_RSS", RLIMIT_RSS }, { "rtprio", "RLIMIT_RTPRIO", RLIMIT_RTPRIO }, { "rttime", "RLIMIT_RTTIME", RLIMIT_RTTIME },
	{ "sigpending", "RLIMIT_SIGPENDING", RLIMIT_SIGPENDING }, { "stack", "RLIMIT_STACK", RLIMIT_STACK },
};

/* "INF" becomes a number in bundle.c: jansson has no integer as large as the runtimes' "unlimited". */
static json_t *limit_json(rlim_t v)
{
	return v == RLIM_INFINITY || v > INT64_MAX ? json_string(BUNDLE_UNLIMITED) : json_integer((json_int_t) v);
}

int bundle_rlimits(const Service *svc, json_t **ret, char ***warnings, Err *err)
{
	bool may_raise = caps_have(caps_own(), "SYS_RESOURCE");
	json_t *list = json_array();
	for (size_t i = 0; i < svc->n_ulimits; i++) {
		const Ulimit *u = &svc->ulimits[i];
		size_t k = 0;
		while (k < ARRAY_SIZE(limits) && !str_eq(limits[k].name, u->name))
			k++;
		if (k == ARRAY_SIZE(limits)) {
			json_decref(list);
			return err_set(err, -EINVAL, "ulimits: unknown limit '%s'; getrlimit(2) has the list", u->name);
		}
		rlim_t soft = u->soft < 0 ? RLIM_INFINITY : (rlim_t) u->soft, hard = u->hard < 0 ? RLIM_INFINITY : (rlim_t) u->hard;
		struct rlimit own;
		if (soft > hard) {
			json_decref(list);
			return err_set(err, -EINVAL, "ulimits: the soft limit of '%s' is above its hard limit", u->name);
		}
		if (!may_raise && getrlimit(limits[k].resource, &own) == 0 && hard > own.rlim_max) {
			hard = own.rlim_max;
			if (soft > hard)
				soft = hard;
			if (warnings)
				strv_take(warnings, xasprintf("ulimits: '%s' is cut to %lld, which is all that the daemon itself may have", u->name,
					(long long) hard));
		}
		(void) json_array_append_new(list, json_pack("{s:s, s:o, s:o}", "type", limits[k].oci, "soft", limit_json(soft), "hard", limit_json(hard)));
	}
	*ret = list;
	return 0;
}

int bundle_rlimit_number(const char *oci_name)
{
	for (size_t i = 0; oci_name && i < ARRAY_SIZE(limits); i++)
		if (str_eq(limits[i].oci, oci_name))
			return limits[i].resource;
	return -EINVAL;
}

/* ── sysctls ──────────────────────────────────────────────────────── */

int bundle_sysctl_check(const char *entry, bool netns, bool ipcns, bool utsns, Err *err)
{
	static const char *const ipc[] = { "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
		"kernel.shmmni", "kernel.shm_rmid_forced" };
	const char *eq = strchr(entry, '=');
	if (!eq || eq == entry)
		return err_set(err, -EINVAL, "sysctls: '%s' is not of the form name=value", entry);
	AUTO_FREE char *key = xstrndup(entry, (size_t) (eq - entry));
	if (strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/") != strlen(key) || strstr(key, "..") ||
		str_has_control(eq + 1))
		return err_set(err, -EINVAL, "sysctls: '%s' has characters that a kernel parameter cannot have", entry);
	for (char *p = key; *p; p++)
		if (*p == '/')
			*p = '.';
	bool ok = false;
	const char *why = "it is not namespaced: set it on the host, in /etc/sysctl.d";
	if (str_starts(key, "net.")) {
		ok = netns;
		why = "with the host's network it is the host's: set it there, in /etc/sysctl.d";
	} else if (str_starts(key, "fs.mqueue.")) {
		ok = ipcns;
		why = "with ipc: host it is the host's: set it there, in /etc/sysctl.d";
	} else if (str_eq(key, "kernel.domainname") || str_eq(key, "kernel.hostname")) {
		ok = utsns && str_eq(key, "kernel.domainname");
		why = "use hostname: or domainname:";
	}
	for (size_t i = 0; i < ARRAY_SIZE(ipc); i++)
		if (str_eq(key, ipc[i])) {
			ok = ipcns;
			why = "with ipc: host it is the host's: set it there, in /etc/sysctl.d";
		}
	return ok ? 0 : err_set(err, -EINVAL, "sysctls: '%s' cannot be set for a container; %s", key, why);
}

int bundle_sysctls(const Service *svc, const BundleSpec *s, json_t **ret, Err *err)
{
	json_t *o = json_object();
	if (s->domainname && s->hostname)
		(void) json_object_set_new(o, "kernel.domainname", json_string(s->domainname));
	/* ping without NET_RAW, for every group. */
	if (s->netns)
		(void) json_object_set_new(o, "net.ipv4.ping_group_range", json_string("0 2147483647"));
	for (size_t i = 0; svc->sysctls && svc->sysctls[i]; i++) {
		int r = bundle_sysctl_check(svc->sysctls[i], s->netns != NULL, !str_eq(s->ipcns, "host"), s->hostname != NULL, err);
		if (r < 0) {
			json_decref(o);
			return r;
		}
		const char *eq = strchr(svc->sysctls[i], '=');
		AUTO_FREE char *key = xstrndup(svc->sysctls[i], (size_t) (eq - svc->sysctls[i]));
		(void) json_object_set_new(o, key, json_string(eq + 1));
	}
	*ret = o;
	return 0;
}
