// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Container: the life of one container outside of the daemon. conmon holds its output, its log and
 * its exit status and does not belong to the daemon: it has a session of its own, its standard
 * streams are /dev/null, and nothing that breaks when the daemon dies. All state that is needed to
 * find a container again is in files.
 *
 * STATE_DIR/containers/ID/      0700; survives a reboot
 *   upper/ work/                the overlay's writable layer
 *   log/                        see run/logs.h
 * RUN_DIR/containers/ID/        the bundle; gone after a reboot
 *   config.json                 OCI runtime specification
 *   process.json                what run/exec.c starts from
 *   rootfs/                     the merged overlay
 *   files/                      hosts, hostname, resolv.conf, secrets, configs
 *   conmon/                     pid, conmon.pid, and ID: the exit code in decimal, its mtime is the time
 *   ctl winsz attach            conmon's control fifos and attach socket
 * RUN_DIR/runtime/ID/           the OCI runtime's own state; exec.fifo in it = created, not started
 *
 * trash/ in both directories      what is being removed
 *
 * Start and delete are synchronous (well under 1 ms and about 1 ms): no process is needed for them.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "base/err.h"
#include "run/runtime.h"

#define CONTAINER_ID_LEN 64

/** Fills in absolute paths for a container. Owned by the struct. */
typedef struct ContainerPaths {
	char *id;
	char *state;  /* STATE_DIR/containers/ID */
	char *log;    /* state/log */
	char *bundle; /* RUN_DIR/containers/ID */
	char *rootfs; /* bundle/rootfs */
	char *files;  /* bundle/files */
	char *cgroup; /* "/stead-NAME/ID" */
} ContainerPaths;

void container_paths_init(const Runtime *rt, const char *id, ContainerPaths *ret);
void container_paths_done(ContainerPaths *p);
/** Makes the directories (state, log, bundle, rootfs, files). Repeatable. */
int container_dirs_make(const ContainerPaths *p, Err *err);

#define SHM_SIZE_DEFAULT (INT64_C(64) << 20)

/* ── root file system ─────────────────────────────────────────────── */

/**
 * Mounts the overlay at paths->rootfs, unless it is mounted already. `layers` are directory names below
 * STATE_DIR/layers (32 hex digits each, bottom first, as model/image.h's layer_dir_name): they are
 * given relative, so that LIMIT_IMAGE_LAYERS of them fit into the page that mount(2) takes. Blocks
 * for well under 1 ms. Errors name the layer that is missing.
 */
int rootfs_mount(const Runtime *rt, const ContainerPaths *p, char *const *layers, Err *err);
/**
 * Mounts a /dev/shm of this size (<0: the default) that other containers can be given too; an own one of a container can
 * not be, as it lies in a mount namespace of its own. `ret` is its path, of the caller. Mounted already is success.
 */
int shm_mount(const ContainerPaths *p, int64_t size, char **ret, Err *err);
/** The path of its shareable /dev/shm, or NULL if it has none. */
char *shm_path(const ContainerPaths *p);
/** Unmounts it (also when several were stacked) and the shareable /dev/shm; not mounted is success. */
int rootfs_unmount(const ContainerPaths *p, Err *err);

/* ── life ─────────────────────────────────────────────────────────── */

typedef struct ContainerOptions {
	const ContainerPaths *paths;
	const char *name;     /* for conmon's --name */
	bool tty, stdin_open;
	bool stdin_once;      /* close stdin when the first attached client leaves */
	bool log;             /* false: logging driver "none" */
	int64_t log_max_size; /* bytes of one log file; 0 = LIMIT_LOG_SIZE_DEFAULT */
	int log_max_file;     /* 0 = LIMIT_LOG_FILES_DEFAULT */
} ContainerOptions;

/** `r` 0: created (not started), `pid` is its init. <0: failed; `err` has the runtime's own words. */
typedef void (*ContainerCreatedFn)(void *user, int r, pid_t pid, const Err *err);

/**
 * Starts conmon, which has the runtime create the container from the bundle (run/bundle.h). An
 * earlier exit file is removed first. If it returns <0, `done` is not called. After a failure the
 * caller calls container_delete.
 */
int container_create(uv_loop_t *loop, const Runtime *rt, const ContainerOptions *o, ContainerCreatedFn done, void *user,
	Err *err);

/** Lets the created container run. -ENOENT: not created, or started before. */
int container_start(const Runtime *rt, const ContainerPaths *p, Err *err);

typedef enum ContainerStatus {
	CONTAINER_ABSENT,   /* nothing there */
	CONTAINER_CREATING, /* conmon is there, the runtime is not done yet: probe again, or delete */
	CONTAINER_CREATED,  /* waits for container_start */
	CONTAINER_RUNNING,
	CONTAINER_EXITED,   /* exit code known */
	CONTAINER_LOST,     /* was created, runs no more, and nobody saw its end (conmon was killed) */
} ContainerStatus;

typedef struct ContainerState {
	ContainerStatus status;
	pid_t pid;           /* CREATED, RUNNING */
	int exit_code;       /* EXITED: 0-255, 128+N for signal N; LOST: 137 */
	int64_t finished_at; /* EXITED, LOST: real ns */
	int64_t started_at;  /* CREATED, RUNNING: when its init began, real ns */
	bool oom_killed;     /* EXITED, LOST: the kernel killed in its cgroup for lack of memory */
	bool monitored;      /* conmon is alive */
	bool paused;
} ContainerState;

/** What is there now, from files and /proc alone: right after a `kill -9` of the daemon, too. Synchronous. */
int container_probe(const Runtime *rt, const ContainerPaths *p, ContainerState *ret, Err *err);

/**
 * Sends a signal to the container's init through a pidfd, after checking that the process is in
 * the container's cgroup (so that a reused pid is never hit). 0; -ESRCH: does not run.
 */
int container_kill(const Runtime *rt, const ContainerPaths *p, int sig);
/** SIGKILL to every process of its cgroup (needed with pid: host, where init's end leaves the others). */
int container_kill_all(const Runtime *rt, const ContainerPaths *p);

/** -ENOTSUP without a freezer. */
int container_pause(const Runtime *rt, const ContainerPaths *p, bool pause, Err *err);

/**
 * Removes what the runtime and conmon have of it: processes that are left, conmon, cgroup, runtime
 * state, pid files, fifos, exit file. Not the bundle's other files, the root file system or the state. Any state of
 * the container is allowed, absent too. 1: a process is still dying or a cgroup is still busy: call again in
 * some milliseconds.
 */
int container_delete(const Runtime *rt, const ContainerPaths *p, Err *err);
/** Unmounts the root and removes the bundle directory. */
int container_bundle_remove(const ContainerPaths *p, Err *err);
/** Removes the state directory (upper, log). As the bundle's, it is moved away at once and removed by a thread. */
int container_state_remove(const ContainerPaths *p, Err *err);
/** Waits until what was removed so far is gone from the disk, too. */
void container_flush(void);

/** Directory names below `RUN_DIR/containers`, cgroup children and runtime states: every id that something is left of. strv. */
char **container_list(const Runtime *rt);

/* ── the end ──────────────────────────────────────────────────────── */

typedef struct ContainerWatch ContainerWatch;
/** Called once. `st` is EXITED or LOST. The watch is freed when it returns. */
typedef void (*ContainerExitFn)(void *user, const ContainerState *st);

/**
 * Watches a created or running container through a pidfd of its conmon: one descriptor tells both
 * the container's end and the death of conmon itself (then what still runs is killed, since
 * nobody could see its end any more). Also right for a container that ended before: `fn` comes from the loop.
 */
int container_watch(uv_loop_t *loop, const Runtime *rt, const char *id, ContainerExitFn fn, void *user, ContainerWatch **ret,
	Err *err);
/** Stops watching; `fn` is not called any more. NULL is allowed. */
void container_watch_cancel(ContainerWatch *w);
