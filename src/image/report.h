// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a worker tells the daemon: one JSON object a line on stdout.
 *   {"progress": "text"}
 *   {"image": {"id": "sha256:…", "tags": […], "sizes": [bytes of each layer]}}
 *   {"copied": true}
 *   {"freed": bytes}
 *   last: {"result": "done"} or {"error": "text", "code": -errno}
 */

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "model/image.h"

typedef struct ImageList {
	Image **items;
	size_t n;
} ImageList;

void image_list_done(ImageList *l);
#define AUTO_IMAGE_LIST __attribute__((cleanup(image_list_done))) ImageList

/** Switches the reports on; before (as in tests) they go nowhere. Takes stdout over: what else writes there goes to stderr. */
void report_init(void);
/** A line as it is. Takes ownership. */
void report_line(json_t *o);
void report_progress(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void report_images(const ImageList *l);
void report_copied(void);
void report_freed(int64_t bytes);
void report_end(int code, const Err *err);
