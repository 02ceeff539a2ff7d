// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/cli.h"

/*
 * Questions before something is lost.
 */

/** Asks on the terminal; without one the command needs `force_option` ("-f"). 0 = go on, else the exit code. */
int confirm(const Cli *cli, const char *question, const char *force_option);
