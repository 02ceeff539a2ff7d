// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Cgroups, v1 and v2 (Documentation/admin-guide/cgroup-v1, cgroup-v2.rst): figures for `stats`, the processes
 * of a container, freezing, the count of OOM kills, and removal. `cgroup` is "/stead-NAME/ID", the same in
 * every hierarchy.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "run/runtime.h"

typedef struct CgroupStats {
	uint64_t cpu_total, cpu_user, cpu_system; /* ns */
	uint64_t cpu_periods, cpu_throttled, cpu_throttled_time; /* count, count, ns */
	uint64_t memory_usage, memory_limit;      /* bytes; limit: the machine's memory if there is none */
	uint64_t memory_max_usage;                /* 0 where the kernel has no figure */
	uint64_t memory_cache;                    /* inactive file pages: docker stats subtracts them */
	uint64_t memory_rss;                      /* anonymous memory */
	uint64_t pids, pids_limit;                /* limit 0 = none */
	uint64_t io_read, io_write;               /* bytes */
	uint64_t io_reads, io_writes;
	uint64_t oom_kills;
} CgroupStats;

/** Figures of controllers that are absent stay 0. -ENOENT: no such cgroup. */
int cgroup_stats(const Runtime *rt, const char *cgroup, CgroupStats *ret);
/** Every process in it, host pids. `ret_pids` is the caller's. */
int cgroup_pids(const Runtime *rt, const char *cgroup, pid_t **ret_pids, size_t *ret_n);
/** How often the kernel killed in it for memory; 0 if unknown. */
uint64_t cgroup_oom_kills(const Runtime *rt, const char *cgroup);
int cgroup_freeze(const Runtime *rt, const char *cgroup, bool freeze);
bool cgroup_frozen(const Runtime *rt, const char *cgroup);
/** SIGKILL to all of it (cgroup.kill, or pid by pid). */
int cgroup_kill(const Runtime *rt, const char *cgroup);
/** Removes it from every hierarchy. -EBUSY: processes are in it. Absent is success. */
int cgroup_remove(const Runtime *rt, const char *cgroup);
/** Names of the children of the daemon's parent cgroup: the containers that something is left of. strv. */
char **cgroup_children(const Runtime *rt);
/**
 * Says that processes will soon be moved between cgroups. The kernel lets the first move after a pause wait for an RCU grace
 * period (5 to 12 ms); this starts it now, in a thread, by "moving" the daemon to where it is.
 */
void cgroup_prewarm(const Runtime *rt);
/** Makes the parent in every hierarchy with the controllers handed down. */
int cgroup_parent_make(const Runtime *rt, Err *err);
/** Removes the parent, when the daemon leaves for good and no container is left. Best effort. */
void cgroup_parent_remove(const Runtime *rt);
