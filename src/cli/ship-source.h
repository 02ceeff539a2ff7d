// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What is shipped, and the sender's end of it: images of a daemon, or an archive, a layout, images of a local Docker or Podman. The
 * latter need neither a daemon nor root here: a worker of ours reads them.
 */

#include <sys/types.h>

#include "cli/cli.h"
#include "cli/ship-relay.h"
#include "io/http-client.h"

typedef enum ShipSourceKind { SOURCE_DAEMON, SOURCE_ARCHIVE, SOURCE_LAYOUT, SOURCE_ENGINE } ShipSourceKind;

typedef struct ShipSource {
	ShipSourceKind kind;
	char **names;        /* images; of an archive or layout all of them where empty */
	char *path;          /* archive ("-" = standard input), layout */
	const char *program; /* "docker", "podman" */
} ShipSource;

typedef struct ShipSources {
	ShipSource *items;
	size_t n;
} ShipSources;

void ship_sources_done(ShipSources *l);

/**
 * Operands: "docker:NAME", "podman:NAME"; a path, which is what begins with "/", "./" or "../", ends as archives do (.tar, .tar.gz, .tgz, .tar.zst), or is "-";
 * else an image of the daemon. Those of one place go together. -EINVAL, -ENOENT.
 */
int ship_sources_parse(char *const *args, ShipSources *ret, Err *err);

/** Processes of a sender that is none of a daemon's. */
typedef struct ShipSender {
	pid_t worker, program;
	char *tmp; /* directory of the worker's own */
} ShipSender;

/** Starts the worker (and the engine's `save`), and opens `e`. `arch`: of what has several platforms, this one; NULL: the one of this machine. */
int ship_sender_start(const ShipSource *s, const char *arch, ShipSender *ret, ShipEnd *e, Err *err);
/** Ends them. -EIO, with the engine's exit code, if it was the engine that failed. */
int ship_sender_end(ShipSender *s, const ShipSource *source, Err *err);

/** Which of docker and podman has an image of this name here ("docker"), or NULL. Takes some seconds at most. */
const char *ship_engine_with(const char *image);
