// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Bundle: the OCI runtime specification (config.json) of one container, from the service, the
 * image and what the daemon has resolved for it. Annotations are constants: nothing that an image or a
 * compose file says can reach them (they steer the runtimes: crun runs hooks named there).
 */

#include "base/err.h"
#include "model/image.h"
#include "model/stack.h"
#include "run/container.h"
#include "run/runtime.h"

typedef struct BundleMount {
	MountType type;          /* MOUNT_BIND (volumes too, resolved to their directory) or MOUNT_TMPFS */
	const char *source;      /* bind: absolute path on the host */
	const char *target;      /* absolute path in the container */
	bool read_only;
	const char *propagation; /* bind: NULL = rprivate */
	int64_t tmpfs_size, tmpfs_mode; /* tmpfs: -1 = unset */
} BundleMount;

typedef struct BundleSpec {
	const Runtime *runtime;
	const ContainerPaths *paths; /* rootfs is mounted: users are looked up in it */
	const Service *service;
	const Image *image;
	const char *hostname;   /* NULL = uts: host */
	const char *domainname; /* or NULL */
	const char *netns;      /* path of the network namespace; NULL = the host's */
	const char *pidns;      /* NULL = own, "host", or a path (/proc/PID/ns/pid) */
	const char *ipcns;      /* NULL = own, "host", or a path */
	const char *shm_source; /* a /dev/shm that is shared (container.h, shm_mount); NULL = an own one */
	const char *hosts, *resolv_conf, *hostname_file; /* files bound over /etc/…; NULL = the image's */
	const BundleMount *mounts; /* service mounts (in order; a later one of the same target wins), secrets, configs */
	size_t n_mounts;
} BundleSpec;

/**
 * Writes config.json and process.json into the bundle. -EINVAL and the like name the compose key
 * (or, for what the image says, that it is the image). `warnings` (a strv, may be NULL) gets what was
 * changed so that it can run, e.g. a ulimit above what the daemon itself may have.
 */
int bundle_write(const BundleSpec *spec, char ***warnings, Err *err);

/**
 * What of the service can be refused before anything is made: limits without controller, sysctls
 * that are not namespaced, unknown capabilities, ulimits, devices, security options, the platform,
 * bind propagation, signals. Used by `up` before its first step.
 */
int bundle_check(const Runtime *rt, const Service *svc, Err *err);

/** Writes content for a bind mount (hosts, a secret, a config) into paths->files/NAME. `ret_path` (may be NULL) is the caller's. */
int bundle_file_write(const ContainerPaths *p, const char *name, const void *content, size_t n, uid_t uid, gid_t gid,
	mode_t mode, char **ret_path, Err *err);

/* ── what runs, by Docker's rules; also for `inspect` ─────────────── */

/** Entry point and command together: the service's entrypoint clears the image's command. NULL if there is nothing to run. strv. */
char **process_args(const Service *svc, const Image *img);
/** Image, then service; PATH, HOSTNAME (if not NULL), TERM with a tty, HOME are added where absent (`home` may be NULL). strv. */
char **process_env(const Service *svc, const Image *img, const char *hostname, const char *home);
/** The signal that stops it: the service's, the image's, SIGTERM. */
int process_stop_signal(const Service *svc, const Image *img);
/** "SIGTERM", "TERM", "15" → number; -EINVAL. */
int signal_parse(const char *s);
/** "SIGTERM"; "SIGRTMIN+3"; NULL if none has this number. `dst` has 16 bytes. */
const char *signal_text(int sig, char dst[16]);
