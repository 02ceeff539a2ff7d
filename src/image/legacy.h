// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Archives of docker before 1.10 (Docker image specification v1.0): `repositories` names the topmost
 * layer of each tag, ID/json its parent and configuration, ID/layer.tar its contents. There are no
 * digests; the image gets a configuration, and with it an id, made from what is found.
 */

#include "image/archive-index.h"

int legacy_load(Store *s, const ArchiveIndex *a, ImageList *ret, Err *err);
