// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which daemon a command talks to, as people write it:
 *
 *   unix:///PATH                                   a socket here
 *   ssh://[USER@]HOST[:PORT][/PATH/TO/SOCKET]      a machine that ssh reaches; HOST may be a Host of ~/.ssh/config, or [IPv6]
 *   NAME                                           what the file of hosts says: a line "NAME URL", # begins a comment
 *
 * What ssh gets from here is checked: nothing can begin with "-" or hold a character that a shell or ssh's own
 * configuration (%h and %r in a ProxyCommand) would take for more than a letter.
 */

#include <stdbool.h>

#include "base/err.h"

#define HOSTS_FILE_MAX (64U << 10)

typedef struct HostAddress {
	bool ssh;
	char *user, *host, *port; /* of ssh; user and port may be NULL */
	char *path;               /* of the socket; NULL: where the other side has it */
} HostAddress;

void host_address_done(HostAddress *a);
#define AUTO_HOST __attribute__((cleanup(host_address_done))) HostAddress

/** A URL. -EINVAL with a text. */
int host_parse(const char *url, HostAddress *ret, Err *err);
/** The URL of a name in the text of a file of hosts; `file` is for errors ("FILE:LINE: …"). -EINVAL: a bad line anywhere; -ENOENT. The caller's. */
int hosts_find(const char *text, const char *file, const char *name, char **ret, Err *err);
/** $XDG_CONFIG_HOME/stead/hosts, or ~/.config/stead/hosts; NULL where there is no home. The caller's. */
char *hosts_path(void);
/** A URL as it is; a name by the file at hosts_path. The caller's. */
int host_resolve(const char *text, char **ret, Err *err);
