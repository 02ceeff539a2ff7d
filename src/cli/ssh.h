// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Connections to a daemon on another machine, through the user's own ssh: one `ssh HOST stead dial-stdio` for each
 * machine and process, over which all connections go (io/mux.h).
 */

#include "cli/host.h"
#include "io/http-client.h"

/**
 * A connection to the machine of this ssh:// address (`url` is it as text, for messages). Returns as soon as ssh has been started:
 * what is wrong with the connection is said by the first request, with the code -ENOTCONN if it never stood.
 */
int ssh_open(const HostAddress *a, const char *url, HttpClient **ret, Err *err);
/** A connection to a machine whose ssh has ended is made by another one from now on; else it fails as the first did. */
void ssh_try_again(void);
/** From now on ssh asks nothing on the terminal, and gives up soon: for the shell's completion. */
void ssh_never_ask(void);
/** Ends every ssh, and waits for it. Clients that are still open are useless afterwards. */
void ssh_close_all(void);
