// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * From what HAProxy has to what it shall have: the commands for its runtime API. Pure. The order is the one that loses nothing: what is new
 * first (certificates, servers), then what leads to it (routes), then what goes takes no new requests, and only then is it removed.
 */

#include "edge/proxy-state.h"

typedef enum ExpectKind {
	EXPECT_NOTHING,    /* an empty answer */
	EXPECT_ADDED,      /* "New server registered." */
	EXPECT_DELETED,    /* "Server deleted."; what has connections left stays, which is no failure */
	EXPECT_CERT,       /* any of what certificate commands say when they succeed */
	EXPECT_ANYTHING,   /* its failure does not matter */
} ExpectKind;

typedef struct Command {
	char *text; /* one command, without the newline; a payload follows "<<\n" and ends with "\n" */
	ExpectKind expect;
	size_t cert; /* EXPECT_CERT: index of the certificate in the wanted state */
} Command;

typedef struct Commands {
	Command *items;
	size_t n;
} Commands;

void commands_done(Commands *c);

/**
 * The commands, and in `ret_after` what HAProxy has when all have succeeded: as wanted, but with the servers and backends that are
 * on their way out. Both states have the same number of slots. `dir` is that of the map files. Equal states give no commands.
 */
void converge(const char *dir, const ProxyState *have, const ProxyState *want, Commands *ret, ProxyState **ret_after);

/** A command of the certificate `i` of `s` was refused: nobody knows what HAProxy has of it, so that it is loaded once more by the next converge. */
void converge_cert_unknown(ProxyState *s, size_t i);

/** Deletes what is in maintenance; `force`: its connections are cut first. */
void converge_reap(const ProxyState *have, bool force, Commands *ret);
/** Takes out of `s` a server that was deleted ("s3/0123456789abcdef"). */
void converge_reaped(ProxyState *s, const char *server);
bool converge_has_leaving(const ProxyState *s);
