// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Runtime: which OCI runtime and which conmon this machine's containers run with, and what its
 * cgroups can limit. Found once at start, by trying: a small container is really created. The OCI
 * runtime only creates containers, and execs into them where stead-exec cannot; starting, killing, pausing and deleting are
 * done by this room itself (run/container.c, run/cgroup.c), because each of them is a few system
 * calls, where a runtime process costs milliseconds.
 */

#include <stdbool.h>

#include "base/err.h"

typedef enum CgroupMode {
	CGROUP_V2,     /* unified only */
	CGROUP_V1,     /* v1 controllers, no v2 tree */
	CGROUP_HYBRID, /* v1 controllers, a v2 tree without controllers at /sys/fs/cgroup/unified */
} CgroupMode;

/** Whose protocol of "created, not started" the runtime speaks (run/container.c). */
typedef enum RuntimeFlavour { RUNTIME_CRUN, RUNTIME_RUNC, RUNTIME_OTHER } RuntimeFlavour;

/** Bits of Runtime.controllers: what this machine can limit. */
typedef enum Controller {
	CONTROLLER_CPU = 1 << 0,
	CONTROLLER_CPUSET = 1 << 1,
	CONTROLLER_MEMORY = 1 << 2,
	CONTROLLER_SWAP = 1 << 3, /* memory+swap accounting */
	CONTROLLER_PIDS = 1 << 4,
	CONTROLLER_IO = 1 << 5, /* blkio or io */
	CONTROLLER_FREEZER = 1 << 6,
} Controller;

typedef struct Runtime {
	char *name;           /* "crun", "runc", or the file name of --runtime PATH; for `info` */
	char *path;           /* what conmon executes: crun, stead-crun or runc, absolute */
	char *crun;           /* with stead-crun: the crun behind it; else NULL */
	char *version;        /* first line of --version, "" if it says none */
	char *conmon;         /* absolute */
	char *conmon_version; /* "2.1.6" */
	bool conmon_no_sync_log, conmon_full_attach; /* options that this conmon knows */
	char *root;           /* the runtime's --root: RUN_DIR/runtime */
	char *run_dir;        /* RUN_DIR */
	char *state_dir;      /* STATE_DIR */
	char *cgroup_parent;  /* "/stead-NAME": containers are at CGROUP_PARENT/ID */
	char *libexec_dir;    /* where stead-init and stead-crun lie */
	CgroupMode cgroup_mode;
	unsigned controllers; /* Controller bits */
	RuntimeFlavour flavour;
	bool compiled_seccomp; /* takes a compiled filter (crun's annotation run.oci.seccomp_bpf_data), as was tried */
	bool private_mounts;  /* the runtime runs in a mount namespace of its own (stead-crun): shared propagation cannot work */
	int fd_cgroup;        /* O_PATH of /sys/fs/cgroup */
	int fd_exec;          /* stead-exec, sealed; -1 = not here, or the kernel is too old for it */
} Runtime;

typedef struct RuntimeOptions {
	const char *wanted;      /* --runtime: "crun", "runc", an absolute path, or NULL = by trying */
	const char *name;        /* the daemon's --name */
	const char *state_dir, *run_dir;
	const char *libexec_dir; /* NULL: $STEAD_LIBEXECDIR, the build directory beside the executable, or the installed place */
} RuntimeOptions;

/**
 * Makes RUN_DIR/runtime and the cgroup parent, and finds the runtime. Blocks (about 50 ms; what it
 * found is kept in RUN_DIR for a restart). -ENOENT: nothing usable; the text says for each
 * candidate why, and which package to install.
 */
int runtime_detect(const RuntimeOptions *o, Runtime **ret, Err *err);
void runtime_free(Runtime *rt);

/**
 * 0 if `c` can be limited here; else -ENOTSUP with the setting (`key`, as "mem_limit") and the
 * remedy, for memory what to add to the kernel command line.
 */
int runtime_require(const Runtime *rt, Controller c, const char *key, Err *err);
