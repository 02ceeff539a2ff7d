// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One transfer of stead-fetch: a request that comes through a pipe, its answer that goes through another. See base/fetch-protocol.h.
 * Nothing here waits: what the reader's pipe has no room for is kept (one frame and a little), and the connection is paused meanwhile.
 */

#include <curl/curl.h>
#include <stdbool.h>

typedef struct Transfer Transfer;

/** Takes ownership of both descriptors. */
Transfer *transfer_new(CURLM *multi, int up, int down);
void transfer_free(Transfer *t);

/** What it waits for besides its connection; -1: nothing there. `ret`: two of them. */
void transfer_wait(const Transfer *t, struct curl_waitfd ret[2]);
/** Goes on as far as it can. False: it is over (or its reader has gone), and to be freed. */
bool transfer_step(Transfer *t);
/** The connection has ended with this. */
void transfer_done(Transfer *t, CURLcode result);
