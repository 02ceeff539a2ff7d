// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The command line: what each command gives to the table of commands (commands.h), what it gets to
 * run with, and how its errors reach the user. A command lives in a file of its own that defines one
 * `Command`; it talks to the daemon through the API only (client.h).
 *
 * Exit codes: 0 done; 1 the operation failed; 2 wrong usage, an invalid file, or something that was
 * refused before anything had been started; exec gives what the command gave, and 126 and 127 as docker does.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "cli/options.h"
#include "cli/progress.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/** Options that stand before or after any verb. */
typedef struct Global {
	char **files, **profiles, **env_files;
	const char *project, *directory, *host;
	const char *ansi, *progress;
	bool json, help, version;
} Global;

typedef struct Command Command;

/** The machine that the compose file names, once it has been looked for (client.h). */
typedef struct FileHost {
	bool known;
	char *host;
} FileHost;

typedef struct Cli {
	Global global;
	const Command *command;
	const char *verb; /* as it was typed: an alias, perhaps */
	int (*daemon)(int argc, char **argv);
	struct FileHost *file_host;
} Cli;

enum {
	COMMAND_STOP = 1 << 0,   /* the first operand ends the options */
	COMMAND_JSON = 1 << 1,   /* has --json */
	COMMAND_HIDDEN = 1 << 2, /* for scripts of ours: in no list */
	COMMAND_RAW = 1 << 3,    /* parses its own arguments (daemon) */
};

struct Command {
	const char *name;     /* "up", "image bootstrap" */
	const char *operands; /* "[SERVICE...]", or "" */
	const char *summary;  /* one line */
	const char *text;     /* further lines of --help, or NULL */
	OptionTable options;  /* or NULL */
	size_t size;          /* of the struct that the options fill */
	int min, max;         /* operands; max -1 = any number */
	const char *complete; /* what operands are, as Option.complete; or NULL */
	unsigned flags;
	/** Gives the exit code; errors have been printed. `args` is a strv (NULL = none). */
	int (*run)(Cli *cli, void *options, char **args);
};

/** "stead: TEXT" on stderr. The text is cleaned, but for newlines. */
void cli_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void cli_warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/** Prints err; gives the exit code for it: EXIT_FAILED. */
int cli_fail(const Err *err);
/** The same for what was refused before anything was done (a bad file, a daemon that cannot be reached): EXIT_USAGE. */
int cli_refuse(const Err *err);
/** Prints the text and how to get help; gives EXIT_USAGE. */
int cli_usage(const Cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** What --progress and --json ask for. */
ProgressMode cli_progress_mode(const Cli *cli);

extern const Option global_options[];
