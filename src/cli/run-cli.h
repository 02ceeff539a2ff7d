// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Whole commands for tests: `stead -H SOCKET …` in this process, against a fake daemon, with what it printed.
 */

#include "cli/fake-server.h"

typedef struct Outcome {
	int code;
	char *out, *err, *requests; /* requests: as fake_stop; NULL without rules */
} Outcome;

/** A directory of its own, which is the working directory. For cmocka_run_group_tests. */
int cli_setup(void **state);
int cli_teardown(void **state);
/** Where the fake daemon listens. */
extern char *cli_socket_path;

void write_file(const char *name, const char *text);
/** `words` ends with NULL; `input` (may be NULL) is standard input. Without rules there is no daemon. */
Outcome run_input(const char *input, const FakeRule *rules, const char *const *words);
#define run(rules, ...) run_input(NULL, rules, (const char *const[]) { __VA_ARGS__, NULL })
/** Fails the test unless the code is this one and the texts are in what was printed (NULL: any). */
void expect(const Outcome *o, int code, const char *out, const char *err);
void done(Outcome *o);
/** What `stead daemon` becomes: 3 for "--name x", else 4. */
int daemon_fake(int argc, char **argv);

/* Beginnings of raw answers. */
#define STREAM "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"
#define UPGRADED "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
#define RAW "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: close\r\n\r\n"
