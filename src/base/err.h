// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Errors: a function that can fail returns a negative errno and, where a user may see the failure,
 * fills an `Err` (last argument, may be NULL). Each level that knows more adds its context in
 * front: "deploy 'blog': pull redis:7: registry answered 401". The text says what failed, why, and
 * what to do. The code is for the caller's HTTP status or exit code, not for branching.
 */

typedef struct Err {
	char *text; /* owned; NULL = no error yet */
	int code;   /* negative errno; 0 = no error yet */
} Err;

#define ERR_INIT { NULL, 0 }
#define AUTO_ERR __attribute__((cleanup(err_done))) Err

/** Sets the text (replacing an older one) and gives back `code` (negative errno). `err` may be NULL. */
int err_set(Err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/** As err_set, and appends ": strerror(-code)"; where a limit on open files was met, how high it is. */
int err_errno(Err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/** Puts "context: " in front of the text; gives back err->code (or -EIO for a NULL err). */
int err_wrap(Err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** Moves `from` into `to` (NULL: drops it), leaving `from` empty; gives back the code. */
int err_move(Err *to, Err *from);
/** Text for people; "unknown error" if none was set. Borrowed. */
const char *err_text(const Err *err);
void err_done(Err *err);
