// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What uacme wrote to stderr, for people and for the schedule. The ACME server's words in it are a stranger's.
 */

#include <stdbool.h>
#include <stdint.h>

typedef struct AcmeAnswer {
	char *text;           /* one line, UTF-8, no control characters; never NULL */
	bool limited;         /* the server said "rateLimited" (RFC 8555 6.7) */
	int64_t retry_after;  /* seconds since the epoch as it said, or 0 */
	bool no_account;      /* "accountDoesNotExist": it has forgotten us, or is another server at the same address */
	bool account_exists;  /* of `uacme new` */
} AcmeAnswer;

void acme_answer_parse(const char *errors, AcmeAnswer *ret);
void acme_answer_done(AcmeAnswer *a);
