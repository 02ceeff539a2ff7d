// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Ships: images that go to another box, or come from one, as what differs (image/ship-protocol.h). The client joins two such
 * connections, one to each box; here is one end of them, handed to a worker.
 */

#include "daemon/daemon.h"
#include "io/http-server.h"

/** GET /stead/v1/box: what a sender wants to know of this machine before it begins. */
void ship_api_box(Daemon *d, HttpRequest *r);
/** GET /stead/v1/images/{name}/config: the configuration as it was made, whose digest the image's id is. */
void ship_api_config(Daemon *d, HttpRequest *r, const char *name);
/** POST /stead/v1/ships/send {"images": [reference, …]} and POST /stead/v1/ships/receive; both take the connection over. */
void ship_api_send(Daemon *d, HttpRequest *r);
void ship_api_receive(Daemon *d, HttpRequest *r);
