// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which of the layers here may resemble those of an image that comes: those of its earlier versions, first of all. Names do not
 * tell (a worker does not know them), configurations do: common layers, the same steps in the history, the same command.
 */

#include "base/err.h"
#include "image/layers.h"
#include "image/report.h"

/**
 * Diff ids, the likeliest first, at most `max`. ret_likely: so many of them are of the image that is most like one of `images`. What cannot
 * be read is passed over.
 */
int ship_similar(Store *s, const ImageList *images, size_t max, char ***ret, size_t *ret_likely, Err *err);
