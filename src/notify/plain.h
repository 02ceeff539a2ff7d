// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A notice as plain text, for what shows no mark-up: mails and ntfy.
 */

#include "notify/notice.h"
#include "notify/text.h"

/** Facts, text, next step and log lines, within the room that `o` has; of what does not fit the log goes first. */
void notice_plain(TextOut *o, const Notice *n);
