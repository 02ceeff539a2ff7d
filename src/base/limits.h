// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Named limits on everything that comes from outside, with what happens beyond each.
 */

#define LIMIT_YAML_BYTES (1U << 20)        /* a compose file: refused */
#define LIMIT_YAML_DEPTH 64                /* nesting: refused */
#define LIMIT_YAML_NODES 100000            /* after alias and merge expansion: refused */
#define LIMIT_ENV_FILE_BYTES (1U << 20)    /* .env and env_file: refused */
#define LIMIT_ENV_FILE_VARIABLES 10000     /* variables in one of them: refused */
#define LIMIT_CONFIG_FILE_BYTES (1U << 20) /* the file of a config or secret: refused */
#define LIMIT_STACK_SERVICES 1000          /* services in a stack: refused */
#define LIMIT_REPLICAS 100                 /* replicas of one service: refused */
#define LIMIT_STACK_CONTAINERS 2000        /* containers of one stack: refused */

#define LIMIT_DOCKERFILE_BYTES (1U << 20)   /* a Dockerfile, an ignore file: refused */
#define LIMIT_DOCKERFILE_LINE (64U << 10)   /* bytes of an instruction without its heredocs: refused */
#define LIMIT_DOCKERFILE_INSTRUCTIONS 10000 /* instructions of a Dockerfile: refused */
#define LIMIT_DOCKERFILE_STAGES 256         /* stages of a Dockerfile: refused */
#define LIMIT_DOCKERFILE_WORDS 4096         /* arguments of one instruction: refused */
#define LIMIT_DOCKERFILE_HEREDOCS 64        /* heredocs of one instruction: refused */
#define LIMIT_DOCKERFILE_VALUE (1U << 20)   /* bytes of a word after its variables are replaced: refused */
#define LIMIT_DOCKERFILE_ENV (2U << 20)     /* bytes of a stage's ENV and ARG: refused */
#define LIMIT_IGNORE_PATTERNS 10000         /* patterns of an ignore file: refused */

#define LIMIT_SERVICE_ROUTES 100          /* routes of one service: refused */
#define LIMIT_ROUTE_PATH 512              /* bytes of a route's path: refused */
#define LIMIT_CACHE_ROUTES 200            /* routes of all stacks that ask for a cache: refused */
#define LIMIT_SMOKE_TESTS 20              /* smoke tests of one service: refused */
#define LIMIT_SMOKE_REQUEST 2048          /* bytes of a smoke test's path and query: refused */
#define LIMIT_SMOKE_CONTAINS 1024         /* bytes of the text that a smoke test looks for: refused */
#define LIMIT_NOTIFY_TARGETS 20           /* of one stack: refused */
#define LIMIT_NOTIFY_URL 2048             /* bytes of a notice's address: refused */
#define LIMIT_MAIL_RECIPIENTS 50          /* of one notice: refused */

#define LIMIT_API_BODY (4U << 20)     /* request body that is not a stream: 413 */
#define LIMIT_API_HEADERS (64U << 10) /* request line and headers: 431 */
#define LIMIT_API_CLIENTS 64          /* connections at once (a quarter of RLIMIT_NOFILE, if that is less): further ones wait in the backlog */
#define LIMIT_API_BACKLOG (1U << 20)  /* unsent bytes to a slow reader of a stream: reading its source pauses */

#define LIMIT_MANIFEST_BYTES (4U << 20) /* manifest, index or image config: refused */
#define LIMIT_IMAGE_LAYERS 120          /* layers of one image (overlayfs options fit one page): refused */
#define LIMIT_LAYER_ENTRIES 2000000     /* entries of one layer: refused */
#define LIMIT_ARCHIVE_ENTRIES 100000     /* members of a docker or OCI archive: refused */
#define LIMIT_ARCHIVE_IMAGES 1000        /* images in one archive: refused */
#define LIMIT_ARCHIVE_BYTES (512ULL << 30) /* unpacked size of a whole archive: refused */
#define LIMIT_LAYER_RATIO 1000          /* unpacked bytes per packed byte, past 64 MiB: refused */
#define LIMIT_UNPACK_WINDOW (1U << 27)  /* memory that compressed data (zstd, xz) may ask for, a power of two: refused */
#define LIMIT_LAYER_BYTES (64ULL << 30) /* unpacked size of one layer: refused */
#define LIMIT_PATH_DEPTH 256            /* components of a path in an archive: refused */

#define LIMIT_FETCHES 8                   /* transfers of one worker at once: further ones wait */
#define LIMIT_FETCH_HEADERS (64U << 10)   /* headers of an answer: refused */
#define LIMIT_REDIRECTS 10                /* followed one after the other: refused */
#define LIMIT_REGISTRY_ANSWER (1U << 20)  /* bytes of a token or an error: refused */
#define LIMIT_REGISTRY_TRIES 6            /* of one request without any progress: the last failure is reported */
#define LIMIT_REGISTRY_WAIT 120           /* seconds that a registry may ask us to wait: longer is its refusal */
#define LIMIT_REGISTRY_LAYERS 3           /* layers fetched or sent at once, as docker */

#define LIMIT_CONTEXT_ENTRIES 500000        /* files of a build context, or of one COPY: refused */
#define LIMIT_CONTEXT_MANIFEST (96U << 20)  /* bytes of the list of them: refused */
#define LIMIT_CONTEXT_FILE (64LL << 30)     /* one file of a build context: refused */
#define LIMIT_CONTEXT_BYTES (256LL << 30)   /* a build context that comes as a tar: refused */
#define LIMIT_DOCKERFILE_STEPS 2000         /* instructions of a build, triggers with them: refused */

#define LIMIT_SHIP_IMAGES 100           /* images shipped at once: refused */
#define LIMIT_SHIP_TAGS 100             /* tags of one of them: refused */
#define LIMIT_SHIP_CONFIGS (8U << 20)   /* bytes of their configurations together: refused */
#define LIMIT_SHIP_BASES 64             /* layers that a receiver names as like what it wants: the likeliest */

#define LIMIT_LOG_LINE (16U << 10)        /* longer lines are split, as Docker does */
#define LIMIT_LOG_SIZE_DEFAULT (10 << 20) /* bytes of one log file unless logging.options say otherwise */
#define LIMIT_LOG_FILES_DEFAULT 3
#define LIMIT_PIDS_DEFAULT 1024
#define LIMIT_PROBE_OUTPUT 4096 /* bytes kept of a health probe: the rest is dropped */
#define LIMIT_PROBE_LOG 5       /* probe results kept */
#define LIMIT_PROBE_HEADERS (16U << 10) /* headers of an answer to an HTTP probe, interim answers' with them: the probe fails */
#define LIMIT_PROBE_BODY (1U << 20)     /* its body: read no further, the rest counts as fine */
#define LIMIT_EXECS 256         /* exec instances at once: 409 */

#define LIMIT_NOTICE_BYTES (32U << 10) /* a notice as JSON: log lines are left out, texts cut */
#define LIMIT_NOTICE_LINES 100         /* log lines in it: the last ones */
#define LIMIT_NOTICE_QUEUE 32          /* notices that wait for one receiver: the oldest is dropped */
#define LIMIT_NOTIFY_SENDERS 16        /* messages on their way at once; to receivers that failed last time half of that */
#define LIMIT_NOTIFY_ANSWER (16U << 10) /* bytes of a receiver's answer: the rest is not read */

#define LIMIT_DNS_FORWARDS 512       /* outstanding forwards: SERVFAIL */
#define LIMIT_DNS_TCP_CLIENTS 64     /* TCP connections at once, over all networks: oldest closed */
#define LIMIT_WORKER_LINE (1U << 20) /* a line of a worker's report: the worker is killed */
#define LIMIT_WORKERS 4              /* workers at once: further jobs wait */
#define LIMIT_BUILDS 4               /* builds at once, beside them: further ones wait */
#define LIMIT_BUILD_STEPS 4          /* RUN instructions of one build at once: further ones wait */
#define LIMIT_BUILD_PIDS 4096        /* processes of one RUN instruction: fork fails */
#define LIMIT_BUILD_BACKLOG (64U << 20) /* bytes of a build's events that its client, or of answers that its worker does not read: the build ends */
#define LIMIT_BUILD_SECRET (512U << 10) /* bytes of a secret of a build: refused */
#define LIMIT_BUILD_MOUNTS 64        /* of one RUN instruction: refused */
#define LIMIT_BUILD_AGENTS 4         /* SSH agents of one RUN instruction: refused */
#define LIMIT_AGENT_CONNECTIONS 8    /* to one of them at once: further ones wait */
#define LIMIT_AGENT_MESSAGE (256U << 10) /* bytes of a question to an SSH agent, or of its answer: the connection is closed */

#define LIMIT_SHIPS 8                  /* ships at once, both directions: 409 */
#define LIMIT_SHIP_BACKLOG (256U << 10) /* bytes on their way to a worker that ships: reading from its client pauses */
#define LIMIT_SHIP_IDLE 900             /* seconds without a byte either way: the ship ends */

#define LIMIT_CERT_FILE (128 << 10) /* a certificate or key that a user names: refused */
#define LIMIT_CERT_BUNDLE 15000     /* certificates and key as HAProxy gets them at run time, in one of its buffers of 16 KiB: refused */
