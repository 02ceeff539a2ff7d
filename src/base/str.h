// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Strings: comparison, NULL-terminated string arrays ("strv"), and strict number parsing. Parsers
 * take the whole string or fail with -EINVAL (not a number) or -ERANGE (does not fit).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** NULL equals NULL only. */
bool str_eq(const char *a, const char *b);
bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);
/** True for NULL and "". */
bool str_empty(const char *s);
/** A control character (< 0x20 or 0x7f) is in it. */
bool str_has_control(const char *s);
/** Well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF). */
bool str_is_utf8(const char *s, size_t n);
/** Replaces an owned string by a copy of s (may be NULL). */
void str_set(char **dst, const char *s);

/** A strv is NULL (empty) or a NULL-terminated array of owned strings. */
size_t strv_len(char *const *v);
/** Appends a copy. */
void strv_add(char ***v, const char *s);
/** Appends, taking ownership of s. */
void strv_take(char ***v, char *s);
bool strv_has(char *const *v, const char *s);
char **strv_dup(char *const *v);
bool strv_eq(char *const *a, char *const *b);
void strv_free(char **v);
void strv_freep(char ***v);
#define AUTO_STRV __attribute__((cleanup(strv_freep)))
/** "KEY=value" lookup: the value inside v for `key`, or NULL. Borrowed. */
const char *strv_env(char *const *v, const char *key);
/** "KEY=value" assignment: replaces the entry of the same key or appends. */
void strv_setenv(char ***v, const char *key, const char *value);

int parse_u64(const char *s, uint64_t *ret);
int parse_i64(const char *s, int64_t *ret);
/** Unsigned with an inclusive upper bound. */
int parse_u32_max(const char *s, uint32_t max, uint32_t *ret);
int parse_double(const char *s, double *ret);
/** Bytes as Docker's units.RAMInBytes: "512", "10m", "1.5g", "64MB", "1GiB"; base 1024, case ignored. */
int parse_bytes(const char *s, int64_t *ret);
/** Nanoseconds from a Go duration: "1m30s", "1.5s", "500ms", "100us"; a unit is required but for "0". */
int parse_duration(const char *s, int64_t *ret_ns);
/** Writes a Go-like duration ("1m30s", "500ms"). Owned by the caller. */
char *format_duration(int64_t ns);
/** "1.5MB", as docker's units.HumanSize (base 1000). Owned by the caller. */
char *format_bytes(int64_t n);

/** Lower-case hex of n bytes; dst has 2n+1 bytes. */
void hex_encode(const void *p, size_t n, char *dst);
/** Exactly 2n hex digits to n bytes; -EINVAL otherwise. */
int hex_decode(const char *s, size_t n, uint8_t *dst);
/** n random bytes as hex (2n+1 bytes in dst), from getrandom(2). */
void hex_random(size_t n, char *dst);
