// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The table of commands, the search in it, and the way from argv to a command's exit code.
 */

#include "cli/cli.h"

/** A verb as it may be typed. Several verbs may mean one command ("rmi", "image rm"). */
typedef struct Verb {
	const char *name;
	const Command *command;
} Verb;

/** The i-th verb in order of help, or NULL past the end. The first verb of a command is its main one. */
const Verb *verb_at(size_t i);
/** The verb that args begin with: two words for "image ls". `ret_words`: how many. NULL if there is none. */
const Verb *verb_find(char *const *args, size_t *ret_words);

/** --help of a verb; NULL: the list of all. Appended. */
void command_help(const Verb *v, Buf *out);

/** What `stead daemon` becomes: as main(), with argv[0] = "daemon". */
typedef int (*DaemonMain)(int argc, char **argv);
/** Parses everything, runs the command and gives the exit code. */
int cli_main(int argc, char **argv, DaemonMain daemon);
