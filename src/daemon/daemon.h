// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The daemon's state and how its parts call each other. One thread, one libuv loop; everything here is
 * owned by the Daemon and touched on the loop only. The store holds what must outlive the daemon:
 * identity, what is wanted, and the last known state; what really runs is asked of the kernel, conmon's
 * files and the runtime when the daemon starts.
 *
 * A change travels so: API handler → operation (operation.h: writes the intent to the store and sets
 * `ask` flags on containers) → stack_wake → plan_next → ctr_start/stop/remove (container.h) → events
 * from run/ → container state → stack_wake again.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "base/err.h"
#include "model/image.h"
#include "model/stack.h"

typedef struct Daemon Daemon;
typedef struct Container Container;
typedef struct StackState StackState;
typedef struct Operation Operation;
typedef struct Health Health;

/** A network on this machine. */
typedef struct NetState {
	char id[65];
	char *name, *stack, *key; /* stack, key: NULL for the default network */
	char *driver;
	bool internal, attachable;
	char *subnet, *gateway, *ip_range; /* CIDR, address, CIDR or NULL */
	char *bridge;                      /* interface name */
	char **labels;
	int64_t created;
	bool up;                           /* the bridge is there */
	char last_address[16];  /* addresses are handed out in turn */
} NetState;

/** A named or anonymous volume. */
typedef struct VolState {
	char *name, *stack, *key; /* stack, key: NULL for anonymous ones made for a container */
	char *driver;
	char **labels;
	int64_t created;
	bool anonymous;
	bool filled; /* the image's content was copied (or there was none): not looked at again in this run */
	char *path; /* STATE/volumes/NAME/_data */
} VolState;

/** A container's place on a network. Its address is its own from its making to its removal. */
typedef struct Endpoint {
	NetState *net;
	char **aliases;
	char *want_address; /* ipv4_address of the model, or NULL */
	char *want_mac;
	char address[16]; /* IPv4 */
	char mac[18];
	char ifname[16]; /* inside: eth0… */
	bool gateway;    /* its gateway is the default route */
} Endpoint;

/** Where a mount of a container really comes from. */
typedef struct Bind {
	MountType type;
	VolState *vol;     /* MOUNT_VOLUME */
	char *source; /* absolute path on the host; tmpfs: NULL */
	char *target;
	bool read_only;
} Bind;

typedef struct PublishedPort {
	char *host_ip; /* NULL = all */
	uint16_t host_port, target;
	char *protocol;
	int hold; /* socket that keeps the host port ours (net_port_hold), or -1 */
} PublishedPort;

typedef enum Phase {
	PHASE_CREATED, /* exists on disk and in the store only */
	PHASE_STARTING,
	PHASE_RUNNING,
	PHASE_STOPPING, /* a signal was sent and the grace period runs */
	PHASE_EXITED,
	PHASE_REMOVING,
} Phase;

/** Its part in a deploy; kept in its row. */
typedef enum CtrRole {
	ROLE_CURRENT,   /* of the release that serves */
	ROLE_CANDIDATE, /* of a release that is being brought up beside it */
	ROLE_RETIRED,   /* of a release that was replaced: it only finishes what it has begun */
} CtrRole;

typedef enum HealthState { HEALTH_NONE, HEALTH_STARTING, HEALTH_HEALTHY, HEALTH_UNHEALTHY } HealthState;

struct Container {
	Daemon *d;
	char id[65];
	char *name;
	char *stack;
	Service svc; /* as it was when the container was made */
	int number;
	char hash[65];   /* service_hash at creation */
	char *image_id;  /* "sha256:…" */
	char *image_ref; /* as written in the model */
	char **labels;   /* the service's and com.docker.compose.* */
	int64_t created;

	int release; /* that it was made for, 0 = none */
	CtrRole role;
	/*
	 * The edge leads requests to it. CANDIDATE: set by the deploy at its switch. CURRENT: running, and healthy where it has a check
	 * (daemon/edge.c). RETIRED: still known to the edge, as draining, until it is stopped.
	 */
	bool serving;
	bool revive; /* RETIRED: it ran when it was retired, so putting the deploy back starts it again; in the row, as `serving` of a CANDIDATE */
	bool tried_again; /* while a deploy is put back: it has been asked to start once */
	bool oneoff; /* a hook of a deploy: counts for nothing else */
	int64_t memory_peak; /* of its last run, bytes; 0 = not known (candidates only) */

	Phase phase;
	bool paused;
	pid_t pid;       /* 0 unless it runs */
	int64_t started_at, finished_at; /* real ns, 0 = never */
	int64_t started_mono;
	int exit_code;
	bool oom_killed;
	char *error; /* why the last start failed, or NULL */
	int restart_count;
	bool wanted_running; /* false after a stop by a person */

	/* What the current operation asks of it; see plan/plan.h. */
	bool ask_stop, ask_start, ask_remove, ask_replace;
	bool ask_kill;       /* a person has sent it a signal to end: the restart policy does not undo that */
	bool remove_volumes; /* with ask_remove: its anonymous volumes too */
	int ask_timeout;     /* seconds, -1 = the service's */
	bool fresh;          /* made by the running operation: undone if it fails */

	/* Restart policy: Docker's back-off. */
	bool restarting; /* waits for restart_timer */
	int restart_tries; /* in a row, for on-failure:N */
	int64_t restart_delay;
	uv_timer_t *restart_timer, *stop_timer; /* heap, freed by their close callbacks; NULL when idle */

	Endpoint *endpoints;
	size_t n_endpoints;
	char *netns;      /* path of its pinned network namespace, NULL while it has none (or shares) */
	Bind *binds;
	size_t n_binds;
	PublishedPort *ports; /* fixed when it starts */
	size_t n_ports;
	Healthcheck check; /* effective; check.test NULL = none */
	Health *health;    /* probes of this run; health.h */
	HealthState health_state;
	bool eager; /* a deploy waits for its check: health_eager */

	struct ContainerPaths *paths; /* run/container.h */
	struct ContainerWatch *watch;
	struct Start *start; /* its creation is under way */
	struct Waiter *waiters;
	bool cleaning;     /* what is left of its last run is being removed */
	uv_timer_t *clean_timer;
	uv_timer_t *remove_timer; /* its removal failed, and is tried again when this is over */
	bool copying;      /* a volume is being filled from the image */
	bool dirty;        /* its row must be written */
};

/** A stack: what is wanted of it and the operations on it. */
struct StackState {
	Daemon *d;
	char *name;
	Stack *model;  /* wanted; NULL once `down` has finished */
	int64_t created;
	bool down;     /* a `down` was begun: containers and networks go */
	bool restore;  /* since the daemon started; see plan.h */
	struct Slot {  /* wanted containers whose predecessor is still there */
		char *service;
		int number;
		bool start;
	} *missing;
	size_t n_missing;
	Operation *op;    /* running, or NULL */
	Operation *queue; /* waiting */
	bool awake;       /* a plan is due */
	char **held;        /* services whose requests wait while they have no container; daemon/edge.h */
	char **maintenance; /* services whose routes give the maintenance page, "*" = all */
};

#define WRITE_DELAY_MSEC 100 /* states that can be found again after a crash are written at most this late */

typedef struct DaemonOptions {
	const char *name;      /* default "stead" */
	const char *state_dir; /* default /var/lib/stead */
	const char *run_dir;   /* default /run/stead */
	const char *runtime;   /* NULL = by trying */
	const char *edge_http, *edge_https; /* "ADDR:PORT", "[ADDR]:PORT", ":PORT" (all addresses) or "off"; default ":80", ":443" */
	const char *acme_server;             /* URL of its directory, or "off"; default Let's Encrypt */
	const char *acme_email, *acme_ca;    /* NULL = none */
	const char *registries;  /* the file on registries (image/registry.h); default /etc/stead/registries.conf, which may be missing */
	const char *image_quota; /* bytes that the files of all layers may have, as parse_bytes reads them; NULL = no limit */
	const char *build_cache_quota; /* bytes that the cache of builds may have; NULL = as much as the disk suggests */
	bool debug;
} DaemonOptions;

struct Store;
struct HttpServer;
struct Runtime;
struct Names;
struct Net;
struct Nft;
struct Events;
struct Edge;
struct EdgeTable;
struct Builds;

struct Daemon {
	DaemonOptions o;
	uv_loop_t *loop;
	struct Store *store;
	struct HttpServer *http;
	struct Runtime *runtime;
	struct Names *names;
	struct ResolvWatch *resolv;
	struct Net *net;
	struct Nft *nft;
	struct Jobs *jobs;
	struct Pull *pulls; /* daemon/pull.c */
	struct Builds *builds;
	struct NotifyQueue *notices;
	char **forward_guard;
	struct Events *events;
	struct Edge *edge;
	struct EdgeTable *edge_table; /* the last that the edge was told */
	unsigned edge_pending;        /* tables that are not in effect yet */
	int64_t started_at;
	bool powering_off; /* daemon_power_off: all containers stop, and nothing is begun or written any more */

	Container **containers;
	size_t n_containers;
	NetState **nets;
	size_t n_nets;
	VolState **vols;
	size_t n_vols;
	Image **images;
	size_t n_images;
	StackState **stacks;
	size_t n_stacks;

	uv_prepare_t wake;      /* runs plans before the loop sleeps */
	uv_timer_t write_timer; /* dirty rows are written at most this late */
	uv_timer_cb write_due;
	uv_timer_t rotate_timer;
	bool removals;       /* containers are in PHASE_REMOVING */
	Container *replaced; /* while a container is made in the place of another: that one */
};

/* Lookups, state.c. Pointers are borrowed; NULL when there is none. */
Container *daemon_container_by_name(Daemon *d, const char *name);
/**
 * As Docker finds it: full id, name (with or without a leading slash), unique id prefix. -ENOENT or,
 * for an ambiguous prefix, -EINVAL.
 */
int daemon_find_container(Daemon *d, const char *ref, Container **ret, Err *err);
/** Names of its layers' directories, bottom first, each once, where it is uppermost: as an overlay takes them. A strv of the caller. */
char **image_layer_names(const Image *img);
/** By id, id prefix, or reference ("redis", "redis:7", "sha256:…"). `ret_ref` (may be NULL) gets the normalised tag if it was found by one. */
int daemon_find_image(Daemon *d, const char *ref, Image **ret, char **ret_ref, Err *err);
int daemon_find_network(Daemon *d, const char *ref, NetState **ret, Err *err);
int daemon_find_volume(Daemon *d, const char *name, VolState **ret, Err *err);
Image *daemon_image_by_id(Daemon *d, const char *id);
StackState *daemon_stack(Daemon *d, const char *name);
/** Docker's State.Status: created, running, paused, restarting, removing, exited, dead. */
const char *ctr_status(const Container *c);
bool ctr_is_running(const Container *c);
const char *health_state_name(HealthState h);
