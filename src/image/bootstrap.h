// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Images from the distribution's own packages, where no registry can be reached: a base layer made by
 * mmdebstrap, shared by all images of one suite and architecture, and a layer on top in which apt has
 * installed what was asked for.
 */

#include "base/err.h"
#include "image/layers.h"
#include "image/report.h"
#include "image/spec.h"

/** `ret`: the image asked for, then the base ("stead/base:SUITE-ARCH"). Committed. */
int bootstrap_image(Store *s, const ImageSpec *spec, ImageList *ret, Err *err);
