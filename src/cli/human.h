// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Values as docker prints them for people: ages, sizes, ports, commands. Strings are the caller's.
 */

#include <jansson.h>
#include <stdint.h>

/** "Less than a second", "42 seconds", "About a minute", "3 hours": go-units' HumanDuration. */
char *human_duration(int64_t ns);
/** human_duration since a moment (real time, ns), then " ago"; "" for 0. */
char *human_ago(int64_t then, int64_t now);
/** The Ports array of GET /containers/json: "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp, 9000-9002/tcp". */
char *human_ports(const json_t *ports);
/** At most `max` columns; "…" stands for what is cut. `s` may be NULL. */
char *human_cut(const char *s, size_t max);
/** The hex digits of "sha256:…" or of an identifier, cut to twelve. */
char *human_id(const char *id);
/** "1.2GiB": base 1024, as docker stats has memory. */
char *human_bytes_binary(int64_t n);
