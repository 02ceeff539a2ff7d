// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Stack: the resolved compose model, the one thing that says what should run. compose/ makes it from
 * files, the CLI sends it to the daemon as JSON, the store keeps it. Everything is resolved: variables
 * are substituted, env files are read, short forms are expanded, relative paths are absolute, ranges
 * of ports are single ports, profiles are applied (services that are off are absent).
 *
 * The JSON is the canonical long form that `docker compose config --format json` prints, keys named
 * as in the Compose Specification (https://github.com/compose-spec/compose-spec, 05-services.md and
 * its neighbours); stack_from_json accepts that form and nothing looser. Durations are Go durations
 * ("1m30s"), sizes are decimal strings of bytes ("536870912"), as there. Where Compose has two spellings,
 * both are read and one is written: `scale`, `mem_limit`, `mem_reservation`, `cpus`, `pids_limit` and
 * `restart` (deploy.restart_policy only with a delay, a window, or a bound on "any"). Two keys are ours:
 * "x-stead-origin": {"working_dir": …, "files": […]}, and "x-stead" in a service and at the top level, for
 * what Compose has no word for: routes, rules of a deploy, notices. docs/COMPOSE.md has its keys.
 *
 * "unset" for numbers is -1 unless said otherwise, for strings NULL. strv fields with pairs hold
 * "key=value". Arrays carry a counter n_x beside x. Everything is owned by the Stack.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

typedef enum RestartPolicy {
	RESTART_NO, /* default */
	RESTART_ALWAYS,
	RESTART_ON_FAILURE,
	RESTART_UNLESS_STOPPED,
} RestartPolicy;

typedef enum DependsCondition {
	DEPENDS_STARTED,   /* service_started */
	DEPENDS_HEALTHY,   /* service_healthy */
	DEPENDS_COMPLETED, /* service_completed_successfully */
} DependsCondition;

typedef enum PullPolicy { PULL_MISSING, PULL_ALWAYS, PULL_NEVER, PULL_BUILD, PULL_EVERY } PullPolicy;

typedef enum MountType { MOUNT_VOLUME, MOUNT_BIND, MOUNT_TMPFS } MountType;

typedef struct Port {
	char *host_ip;          /* NULL = all addresses, IPv4 and IPv6 */
	uint16_t published;     /* 0 = a free port chosen by the daemon */
	uint16_t published_end; /* = published, or the end of a range from which one is chosen */
	uint16_t target;
	char *protocol; /* "tcp" or "udp" */
	char *name;     /* or NULL; no effect */
} Port;

typedef struct Mount {
	MountType type;
	char *source; /* volume: key in Stack.volumes, NULL = anonymous; bind: absolute path; tmpfs: NULL */
	char *target; /* absolute path in the container */
	bool read_only;
	bool create_host_path; /* bind: a missing source is made (only when written in the long form) */
	char *propagation;     /* bind: NULL = rprivate */
	bool nocopy;           /* volume: no copy of the image's content into a new volume */
	char *subpath;         /* volume: or NULL */
	int64_t tmpfs_size;    /* bytes, -1 = unset */
	int64_t tmpfs_mode;    /* mode bits, -1 = unset */
} Mount;

typedef struct NetworkAttachment {
	char *network; /* key in Stack.networks */
	char **aliases;
	char *ipv4_address; /* or NULL */
	char *ipv6_address; /* or NULL */
	char *mac_address;  /* or NULL */
	int priority;       /* default 0; the highest gives the default route */
} NetworkAttachment;

typedef struct Depends {
	char *service;
	DependsCondition condition;
	bool required; /* default true; false: still there in the stack, for one that is not was dropped by the parser */
	bool restart;  /* default false */
} Depends;

/** Compose healthcheck and image HEALTHCHECK alike. Durations in ns, -1 = unset (healthcheck_resolve fills Docker's defaults). */
typedef struct Healthcheck {
	bool set;     /* anything at all was written */
	bool disable; /* disable: true or test: NONE */
	char **test;  /* NULL = the image's; else [CMD, …] or [CMD-SHELL, string] */
	int64_t interval, timeout, start_period, start_interval;
	int retries; /* -1 = unset */
} Healthcheck;

typedef struct Ulimit {
	char *name; /* "nofile" */
	int64_t soft, hard; /* -1 = unlimited */
} Ulimit;

typedef struct Device {
	char *source, *target, *permissions; /* "rwm" */
} Device;

/** A service's use of a top-level config or secret. */
typedef struct FileRef {
	char *source;     /* key in Stack.configs or Stack.secrets */
	char *target;     /* absolute path in the container */
	char *uid, *gid;  /* decimal, NULL = 0 */
	int64_t mode;     /* mode bits, -1 = 0444 */
} FileRef;

/** A secret that a build may use (RUN --mount=type=secret); no layer ever holds it. */
typedef struct BuildSecret {
	char *source; /* key in Stack.secrets */
	char *target; /* its id in the Dockerfile; NULL = source */
} BuildSecret;

#define BUILD_CONTEXT_SERVICE "service:" /* the image of another service */

/** How a service's image is made. context NULL: it is not built. The client builds: the daemon gets models without it (stack_drop_builds). */
typedef struct ServiceBuild {
	char *context;           /* absolute path of a directory on the client */
	char *dockerfile;        /* relative to the context, or absolute; NULL = Dockerfile */
	char *dockerfile_inline; /* its text; NULL = none */
	char **args;             /* "KEY=value" */
	char *target;            /* stage, NULL = the last */
	char **labels;           /* "key=value" */
	char **cache_from, **cache_to;
	bool no_cache, pull;
	char *network;     /* NULL = "default"; "host", "none" */
	int64_t shm_size;  /* bytes, -1 = 64 MiB */
	BuildSecret *secrets;
	size_t n_secrets;
	char **ssh;        /* "default", "ID=PATH" */
	char **extra_hosts; /* "name=address" */
	char **platforms;  /* "linux/arm64"; at most one */
	char **tags;       /* further names */
	char **contexts;   /* "NAME=docker-image://REF", "NAME=service:SERVICE", "NAME=/absolute/directory" */
	Ulimit *ulimits;
	size_t n_ulimits;
} ServiceBuild;

typedef enum TlsMode {
	TLS_AUTO, /* a certificate is obtained, or for names that no authority signs, made */
	TLS_OFF,
	TLS_FILES,
} TlsMode;

/** Cache of GET and HEAD at the edge. All -1: none; else all are set. */
typedef struct RouteCache {
	int64_t ttl;      /* ns that a response is fresh whose own headers say nothing of it; 0 = it is not kept */
	int64_t max_size; /* bytes in memory (a tmpfs), default 64 MiB */
	int64_t disk;     /* bytes on disk, default 0 = in memory only */
} RouteCache;

/** What of the requests from outside leads to a service. */
typedef struct Route {
	char *host;       /* RFC 1123, lower case: "app.example.com"; "*.example.com" stands for one label; NULL = any */
	char *path;       /* RFC 3986: "/" or "/api" (no slash at its end); whole segments: /api and /api/x, never /apix */
	uint16_t port;    /* of the container; 0 = its only exposed one: `expose`, `ports`, else the image's EXPOSE */
	RouteCache cache;
	int64_t max_body; /* bytes of a request, -1 = no limit */
	int64_t rate;     /* requests per rate_period from one address, -1 = no limit */
	int64_t rate_period; /* ns: a second, a minute or an hour */
	int64_t timeout;  /* ns of silence before or within the response, -1 = 60 s */
	TlsMode tls;
	char *cert, *key; /* absolute paths; TLS_FILES only */
} Route;

/** A request to each new container before it gets traffic; redirects are not followed. */
typedef struct SmokeTest {
	char *get;       /* path and query, begins with "/" */
	int status;      /* 200 to 599, default 200 */
	char *contains;  /* a text in the body, or NULL */
	uint16_t port;   /* 0 = the first route's, else the only exposed one */
	int64_t timeout; /* ns, default 5 s */
} SmokeTest;

typedef enum DeployOrder {
	/* The first, unless the old container holds what only one can: a host port, a writable volume of its own,
	 * a fixed address, a namespace of the host. Then the second. */
	ORDER_AUTO,
	ORDER_START_FIRST, /* the new container takes over from the running old one */
	ORDER_STOP_FIRST,  /* the edge holds requests in between */
} DeployOrder;

/** Every member is set: what is not written has its default. Durations in ns. */
typedef struct DeployRules {
	DeployOrder order;
	int64_t health_timeout; /* default 60 s */
	int64_t drain;          /* default 30 s */
	int64_t settle;         /* -1, the default: as long as bake, but no longer than 6 s */
	int64_t bake;           /* default 10 s */
	int64_t hold;           /* default 30 s, which is also the most */
	SmokeTest *smoke;
	size_t n_smoke;
	int keep;                        /* releases kept for rollback; 0: not said */
	char **pre_deploy, **post_deploy; /* argv, NULL = none */
} DeployRules;

typedef enum NotifyKind { NOTIFY_SLACK, NOTIFY_DISCORD, NOTIFY_NTFY, NOTIFY_WEBHOOK, NOTIFY_MAIL } NotifyKind;

/** Who is told of deploys and alerts. */
typedef struct NotifyTarget {
	NotifyKind kind;
	char *url;   /* http:, https:; mail: its server, smtp://HOST[:PORT] or smtps:// */
	char **on;   /* of "deploy" and "alert"; default both; never empty */
	char *token; /* ntfy: access token, or NULL */
	char **to;   /* mail: addresses, at least one */
	char *from;  /* mail: address */
	char *user, *password; /* mail: both or neither */
} NotifyTarget;

typedef struct Service {
	char *name;
	char *image; /* of one that is built: "PROJECT-SERVICE" where the file names none */
	ServiceBuild build;
	char *container_name; /* or NULL */
	char **command;       /* NULL and !command_set = the image's */
	bool command_set;     /* "command: []" clears the image's */
	char **entrypoint;
	bool entrypoint_set;
	char **environment; /* "KEY=value", or "KEY" alone: removes the image's value */
	Port *ports;
	size_t n_ports;
	char **expose; /* "80/tcp" */
	Mount *mounts; /* compose `volumes`, in order of target */
	size_t n_mounts;
	char **tmpfs; /* "/run" or "/run:size=64m,mode=755" */
	NetworkAttachment *networks; /* empty when network_mode is set */
	size_t n_networks;
	char *network_mode; /* NULL, "host", "none", "service:NAME" */
	Depends *depends;
	size_t n_depends;
	Healthcheck healthcheck;
	RestartPolicy restart; /* deploy.restart_policy.condition is mapped onto it: any = always */
	int restart_max;       /* on-failure:N or max_attempts; 0 = no bound */
	int64_t restart_delay; /* ns, deploy.restart_policy.delay; -1 = Docker's back-off */
	int64_t restart_window; /* ns; -1 = unset */
	char *hostname, *domainname;
	char *user, *working_dir;
	char **group_add;
	char **labels; /* "key=value" */
	char **annotations; /* always empty: refused, since they would reach the runtime */
	int replicas;  /* scale or deploy.replicas, default 1; 0 is allowed */
	int64_t mem_limit, mem_reservation, memswap_limit; /* bytes, -1 = unset; memswap -1 written = -2 here (unlimited) */
	double cpus;         /* 0 = unset */
	int64_t cpu_shares;  /* -1 = unset */
	char *cpuset;
	int64_t pids_limit; /* 0 = unset (LIMIT_PIDS_DEFAULT), -1 = unlimited */
	Ulimit *ulimits;
	size_t n_ulimits;
	char **cap_add, **cap_drop; /* "NET_ADMIN", "ALL"; without CAP_ */
	bool privileged;
	char **security_opt;
	bool read_only;
	int64_t shm_size; /* bytes, -1 = 64 MiB */
	char **sysctls;   /* "net.core.somaxconn=1024" */
	Device *devices;
	size_t n_devices;
	int init; /* -1 unset, 0, 1 */
	bool tty, stdin_open;
	char *stop_signal;
	int64_t stop_grace_period; /* ns, -1 = 10 s */
	char **extra_hosts;        /* "name=address" */
	char **dns, **dns_search, **dns_opt;
	char *pid; /* NULL, "host", "service:NAME" */
	char *ipc; /* NULL, "host", "private", "shareable", "none", "service:NAME" */
	char *uts; /* NULL, "host" */
	FileRef *secrets, *configs;
	size_t n_secrets, n_configs;
	char *logging_driver; /* NULL = json-file; "json-file", "local", "none" */
	char **logging_options;
	PullPolicy pull_policy;
	int64_t pull_every; /* ns; of PULL_EVERY */
	char *platform; /* "linux/arm64" or NULL */
	int oom_score_adj; /* default 0 */
	bool attach;    /* default true: shown by a foreground `up` */
	Route *routes;  /* x-stead.routes, in the order of the file */
	size_t n_routes;
	DeployRules deploy_rules; /* x-stead.deploy */
} Service;

typedef struct Subnet {
	char *subnet;   /* CIDR */
	char *gateway;  /* or NULL */
	char *ip_range; /* CIDR or NULL */
} Subnet;

typedef struct Network {
	char *key;
	char *name;   /* on the machine: "PROJECT_KEY" unless name: or external */
	char *driver; /* "bridge" */
	bool external, internal, attachable, enable_ipv6;
	Subnet *subnets; /* at most one of IPv4 */
	size_t n_subnets;
	char **labels;
} Network;

typedef struct Volume {
	char *key;
	char *name; /* "PROJECT_KEY" unless name: or external */
	char *driver; /* "local" */
	bool external;
	char **labels;
} Volume;

/** Top-level config or secret: exactly one of file, environment (resolved into content by compose/) and content. */
typedef struct FileSource {
	char *key;
	char *name;
	char *file;    /* absolute path, read when a container is created */
	char *content; /* literal; for `environment:` the value. */
	char *digest;  /* sha-256 (hex) of what `file` held when a release was made: the daemon has a copy of it; or NULL */
} FileSource;

typedef struct Stack {
	char *name;        /* project: [a-z0-9][a-z0-9_-]* */
	char *working_dir; /* absolute; or NULL */
	char **files;      /* the compose files, absolute; "-" was standard input */
	char **off;        /* services of the files whose profiles are not active: their containers are no orphans */
	Service *services; /* in order of name */
	size_t n_services;
	Network *networks;
	size_t n_networks;
	Volume *volumes;
	size_t n_volumes;
	FileSource *secrets, *configs;
	size_t n_secrets, n_configs;
	NotifyTarget *notify; /* x-stead.notify */
	size_t n_notify;
	char *host; /* x-stead.host: whose daemon is meant, for the CLI; NULL = not said */
} Stack;

void stack_free(Stack *s);
void stack_freep(Stack **s);
#define AUTO_STACK __attribute__((cleanup(stack_freep))) Stack

/**
 * Where a model error sits: "services.web.ports[0].target". compose/ maps it to file, line and key.
 * Fixed size: a path that does not fit is cut.
 */
typedef struct ModelPath {
	char text[512];
} ModelPath;

/**
 * Strict parse and validation of the canonical form: types, ranges, unknown keys, references between
 * services, networks, volumes, configs and secrets, cycles in dependencies, duplicate published ports,
 * routes and names. -EINVAL with a text "PATH: what; what to do"; `where` (may be NULL) gets the path.
 *
 * The result needs no further checks: every required dependency, network, volume, config and secret that
 * a service names is there. Services whose namespace is shared (network_mode, pid, ipc "service:NAME")
 * are in `depends`, whether the JSON says so or not.
 */
int stack_from_json(json_t *root, Stack **ret, ModelPath *where, Err *err);
/** A new reference. Unset fields are left out; keys are sorted by the dumper (JSON_SORT_KEYS). */
json_t *stack_to_json(const Stack *s);
json_t *service_to_json(const Service *s);
/** The service alone, as service_to_json wrote it (it was validated then: used for what the store holds). */
int service_from_json(json_t *o, const char *name, Service *ret, Err *err);
void service_done(Service *s);
/** Only that every key of a service is one: for services that are off, of which nothing else matters. As stack_from_json. */
int service_check_keys(json_t *o, const char *name, ModelPath *where, Err *err);

/** Takes `build` out of every service, and the secrets that only builds use: what the daemon need not know. */
void stack_drop_builds(Stack *s);

Service *stack_service(const Stack *s, const char *name);
Network *stack_network(const Stack *s, const char *key);
Volume *stack_volume(const Stack *s, const char *key);
FileSource *stack_secret(const Stack *s, const char *key);
FileSource *stack_config(const Stack *s, const char *key);

/**
 * Sha-256 (hex) of what makes a container of this service: its JSON without replicas, build, depends_on,
 * pull_policy, profiles, restart conditions of others, x-stead; with the names of its networks and volumes
 * and the contents' hash of its configs and secrets' literals. Equal hash and image = leave it alone.
 */
void service_hash(const Stack *s, const Service *svc, char hex[65]);

/**
 * Effective health check: the service's fields over the image's, then Docker's defaults (interval 30s,
 * timeout 30s, retries 3, start_period 0, start_interval 5s). ret->test NULL or ret->disable = none.
 * `ret` is the caller's (healthcheck_done).
 */
void healthcheck_resolve(const Healthcheck *service, const Healthcheck *image, Healthcheck *ret);
void healthcheck_done(Healthcheck *h);

const char *restart_policy_name(RestartPolicy p);
/** "slack", "mail" …: the key of a NotifyTarget of this kind. */
const char *notify_kind_name(NotifyKind k);
/** Where in the address of an ntfy receiver its topic stands, the last part of the path (1 to 64 letters, digits, '-' and '_'); NULL: there is none. */
const char *notify_topic(const char *url, size_t *ret_len);
/** Valid project name: ^[a-z0-9][a-z0-9_-]*$, at most 63. */
bool stack_name_valid(const char *name);
/** Valid container, network, volume name: ^[a-zA-Z0-9][a-zA-Z0-9_.-]*$, at most 128. */
bool object_name_valid(const char *name);
