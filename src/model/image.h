// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Image: what an OCI or Docker image configuration says (image-spec config.md; Docker image spec
 * v1.2), plus where its layers lie. Made by workers, kept by the store, read by run/ and the API.
 */

#include <jansson.h>
#include <stdint.h>

#include "base/err.h"
#include "model/stack.h"

typedef struct ImageConfig {
	char **entrypoint, **cmd, **env;
	char *user, *working_dir, *stop_signal;
	char **labels;        /* "key=value" */
	char **exposed_ports; /* "80/tcp" */
	char **volumes;       /* absolute paths */
	char **shell;
	Healthcheck healthcheck;
} ImageConfig;

typedef struct ImageLayer {
	char *diff_id; /* "sha256:…" of the uncompressed tar */
	int64_t size;  /* bytes of files unpacked */
} ImageLayer;

typedef struct Image {
	char *id; /* "sha256:…" of the config blob, as in Docker */
	char *architecture, *os, *variant;
	int64_t created; /* real ns */
	int64_t size;    /* sum of layers */
	ImageLayer *layers; /* bottom first */
	size_t n_layers;
	char **tags; /* "docker.io/library/redis:7" forms, normalised; see image/reference.h */
	char **digests; /* "docker.io/library/redis@sha256:…": by which registries know it */
	ImageConfig config;
	char *config_json; /* the blob as it came */
} Image;

/** The architecture as images and platforms name it ("amd64") of what uname(2) calls the machine ("x86_64"); others are named alike. */
const char *machine_architecture(const char *machine);

void image_free(Image *i);
void image_freep(Image **i);
/** Parses a config blob (hostile: types, counts and sizes are checked). Layer sizes stay 0. -EINVAL. */
int image_from_config(const char *json, size_t n, Image **ret, Err *err);
/** The layer's directory name under layers/: the first 32 hex digits of its diff_id. `dst` has 33 bytes. */
void layer_dir_name(const char *diff_id, char dst[33]);
