// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Capabilities (capabilities(7)) as 64-bit sets. */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/** Without NET_RAW, MKNOD and AUDIT_WRITE, which Docker gives and hardly anything needs. */
uint64_t caps_default(void);
/** What the daemon itself may hand on: its own permitted set. */
uint64_t caps_own(void);
/** "NET_ADMIN", "cap_net_admin" → bit number; -EINVAL. */
int cap_parse(const char *s);
/** Docker's rules: ALL in add or drop, then the single ones; a name of unknown meaning is -EINVAL and names `key`. */
int caps_apply(uint64_t base, char *const *add, char *const *drop, uint64_t *ret, Err *err);
/** Array of "CAP_…", a new reference. */
json_t *caps_to_json(uint64_t set);
bool caps_have(uint64_t set, const char *name);
