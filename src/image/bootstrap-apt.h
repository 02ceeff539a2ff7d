// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The directory of one bootstrap's apt: configuration, keys, package lists, downloads. Inside the root it stands at
 * APT_DIR_INSIDE. Lists and packages are shared between bootstraps through the cache by hard links, so that
 * no two apts ever work in one directory and nothing has to be locked or copied.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "image/apt.h"

#define APT_DIR_INSIDE "/.stead-bootstrap"

/** Makes `dir` with acquire.conf (for apt on the host), apt.conf (inside), sources.list, keys, trusted.d/. */
int apt_dir_make(const char *dir, const AptSources *sources, Err *err);
/** Links lists and packages from the cache. True if the lists are fresh enough to be used as they are. */
bool apt_dir_reuse(const char *dir, const char *state_dir, const char *key);
/** The lists came from the cache and were not updated since. */
bool apt_dir_reused(const char *dir);
/** The lists were just updated. */
void apt_dir_touch(const char *dir);
/** Moves the lists that mmdebstrap left in a root here. */
void apt_dir_take_lists(const char *dir, const char *root);
/** Links what is new into the cache. Failures cost only time later. */
void apt_dir_publish(const char *dir, const char *state_dir, const char *key);
/** The archive's own date (of the newest Release file), so that the same packages give the same layer; now if unknown. */
int64_t apt_dir_time(const char *dir);
