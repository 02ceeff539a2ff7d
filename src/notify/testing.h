// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * For tests and fuzzing: the vendors' limits, written down once more from their documentation and counted in another way than the writers
 * do. Each function asserts.
 */

#include "notify/request.h"

void vendor_check_slack(const json_t *o);
void vendor_check_discord(const json_t *o);
void vendor_check_ntfy(const json_t *o);
/** Headers and lines of a mail; gives the decoded body in `text`, the caller's. */
void vendor_check_mail(const char *mail, size_t n, Buf *text);
