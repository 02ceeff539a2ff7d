// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The two ends of a connection through ssh greet each other (io/mux.h): {"stead": "dial-stdio", "version": "0.1.0"}, and the
 * client's says which socket it wants, {"socket": PATH}, if not the usual one.
 */

#include <jansson.h>

#include "base/err.h"

/** What this end says. New reference. `socket` may be NULL. */
json_t *dial_greeting(const char *socket);
/** Is it a stead, of a version that works with this one? -EPROTO, -ENOTSUP with both versions. `where`: for the text. */
int dial_check_greeting(const json_t *greeting, const char *where, Err *err);
/** Do two versions work together: at most one minor release apart? -EINVAL: not "MAJOR.MINOR…"; 0 no, 1 yes. */
int dial_versions_fit(const char *a, const char *b);
