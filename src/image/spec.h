// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * ImageSpec: what a person wants an image made here (import, bootstrap) to say in its configuration.
 * Travels from the daemon to the worker as JSON.
 */

#include <jansson.h>

#include "base/err.h"
#include "model/image.h"

typedef struct ImageSpec {
	char *name; /* normalised reference */
	char *arch, *variant; /* Go's names */
	char **entrypoint, **cmd, **env, **ports, **volumes, **labels;
	char *user, *workdir, *stop_signal;
	/* bootstrap */
	char **packages;
	char *suite, *mirror;
} ImageSpec;

void image_spec_done(ImageSpec *s);
#define AUTO_IMAGE_SPEC __attribute__((cleanup(image_spec_done))) ImageSpec

/** Checks names and the architecture, with errors for people. */
int image_spec_from_json(const json_t *o, ImageSpec *ret, Err *err);

/**
 * Writes the configuration blob for layers (bottom first) and parses it back, so that what is stored is
 * what image_from_config takes. `how` goes into the history. Tags and layer sizes of the result are left to the caller.
 */
int image_spec_build(const ImageSpec *s, const char *const *diff_ids, size_t n, const char *how, Image **ret, Err *err);
