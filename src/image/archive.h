// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Loads image archives: what `docker save`, `podman save`, `skopeo copy … docker-archive:/oci-archive:`
 * and `stead save` write, plain or compressed, members in any order. See image/manifest.h for the documents.
 */

#include "base/err.h"
#include "image/layers.h"
#include "image/report.h"
#include "image/spec.h"

/**
 * Stages and commits every image of the archive that fd (a file or a pipe, from where it stands) gives.
 * Digests of configurations, of blobs, and of unpacked layers are checked. `ret` is the caller's.
 */
int archive_load(Store *s, int fd, ImageList *ret, Err *err);

/** A root file system as tar becomes an image of one layer; committed. */
int archive_import(Store *s, int fd, const ImageSpec *spec, ImageList *ret, Err *err);
