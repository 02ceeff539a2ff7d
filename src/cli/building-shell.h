// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The shell in the file system of a step that failed (`stead build --shell-on-fail`): from the daemon's event on, the terminal is
 * that shell's, until it ends.
 */

#include <jansson.h>
#include <stdbool.h>
#include <termios.h>

#include "base/buf.h"
#include "cli/build-progress.h"

typedef struct BuildShell {
	bool active, saved;
	int64_t step;
	bool sized; /* the shell knows the window's size */
	struct termios terminal;
} BuildShell;

void build_shell_init(BuildShell *s);
/** True: the event was about the shell. When it begins, `p` shows nothing any more but how the build ends. */
bool build_shell_event(BuildShell *s, const json_t *event, BuildProgress *p);
/** True: it was the shell's output, and has been written. */
bool build_shell_output(const BuildShell *s, int64_t step, const char *p, size_t n);
/** What is to be polled for input, or -1. */
int build_shell_fd(const BuildShell *s);
/** Appends frames with what was typed (`ready`), and with the window's size if it is new. */
void build_shell_input(BuildShell *s, bool ready, bool resized, Buf *frames);
/** The terminal is as before. */
void build_shell_end(BuildShell *s);
