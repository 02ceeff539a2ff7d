// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Options of the command line, by table: one Option a line says how it is written, where its value
 * goes, what --help says and what the shell completes. The same tables feed the parser, the help
 * texts, the completion and the check of the manual page, so that these cannot drift apart.
 *
 * Spellings are those of docker's and compose's parsers: "--name value", "--name=value", "-n value",
 * "-nvalue", "-n=value", "-it" for two flags, "--flag=false", "--" ends the options. A command's own
 * option hides a global one of the same letter ("-f" of `logs` is --follow, not --file).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

typedef enum OptionKind {
	OPTION_FLAG,   /* bool */
	OPTION_STRING, /* const char *: borrowed from argv; NULL = not given; the last one wins */
	OPTION_LIST,   /* char **: a strv, in the order given */
	OPTION_NUMBER, /* int64_t, 0 or more; -1 = not given */
	OPTION_CHOICE, /* const char *: one of the words in `complete` */
	OPTION_OPTIONAL, /* const char *: "--name" gives "", "--name=value" the value; NULL = not given */
} OptionKind;

typedef struct Option {
	const char *name; /* long spelling without the dashes */
	char letter;      /* or 0 */
	OptionKind kind;
	size_t offset;        /* of the value in the struct of values */
	const char *arg;      /* "FILE", as --help shows it; NULL for flags */
	const char *help;     /* one line */
	const char *complete; /* choice: the words, with spaces between; else what the shell offers: "file", "directory",
	                         "service", "container", "image", "volume", "network", "stack", "release" or NULL */
} Option;

/** Ends with an entry whose name is NULL. */
typedef const Option *OptionTable;

/** One level of tables: the command's own and the global one, each with its struct of values. */
typedef struct OptionScope {
	OptionTable table;
	void *values;
} OptionScope;

/** Gives each value its "not given" content. The struct is zeroed by the caller first. */
void options_init(OptionTable table, void *values);
void options_done(OptionTable table, void *values);

/**
 * Parses argv[0..argc) by the scopes, the first match wins. `args` gets the operands (a strv). With
 * `stop` the first operand ends the options, and it and all that follows are operands (exec, and the
 * options before the verb). -EINVAL with a text that names the option.
 */
int options_parse(int argc, char *const *argv, const OptionScope *scopes, size_t n_scopes, bool stop, char ***args, Err *err);

/** The entry of a long name or of a letter, or NULL. */
const Option *option_by_name(OptionTable table, const char *name, size_t n);
const Option *option_by_letter(OptionTable table, char letter);

/** Appends the lines of --help. Letters that `hides` (may be NULL) has as well are left out. */
void options_help(OptionTable table, OptionTable hides, Buf *out);

/** The candidate that is nearest to a mistyped word, or NULL if none is near. `next` gives candidates until NULL. */
const char *nearest_word(const char *word, const char *(*next)(void *state), void *state);
