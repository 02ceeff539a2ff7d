// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Checks records from the daemon (base/names-protocol.h) before anything believes them. Pure.
 */

#include <stddef.h>

#include "base/names-protocol.h"

/** 0: `r`, received with `size` bytes, is a whole and sound record; -EPROTO else. The version may be another
 * one for HELLO and QUIT only. */
int control_check(const NamesRecord *r, size_t size);
