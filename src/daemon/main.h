// SPDX-License-Identifier: Apache-2.0
#pragma once

/** `stead daemon …`: argv[0] is "daemon". Runs until SIGTERM or SIGINT. Gives the exit code: 0, 1 failed, 2 wrong usage. */
int daemon_main(int argc, char **argv);
