// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What registries say and what people write about them: challenges (RFC 9110, 11.6.1; distribution's "Token Authentication
 * Specification"), tokens, the daemon's file on registries. Hostile input but for the last; pure.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

typedef enum ChallengeKind { CHALLENGE_NONE, CHALLENGE_BASIC, CHALLENGE_BEARER } ChallengeKind;

typedef struct Challenge {
	ChallengeKind kind;
	char *realm;          /* CHALLENGE_BEARER: a URL, not yet checked */
	char *service, *scope; /* or NULL */
} Challenge;

void challenge_done(Challenge *c);
#define AUTO_CHALLENGE __attribute__((cleanup(challenge_done))) Challenge

/** The value of WWW-Authenticate, in which several challenges may stand: Bearer before Basic; NONE if neither is in it. -EINVAL if it is malformed. */
int challenge_parse(const char *header, Challenge *ret, Err *err);

/** The answer of a token server: "token" or "access_token". Owned by the caller. */
int token_parse(const char *json, size_t n, char **ret, Err *err);

/*
 * The file on registries, a rule a line, '#' begins a comment:
 *
 *   mirror     HOST[:PORT] URL     asked first for images of that registry ("docker.io" for Docker Hub), in order
 *   plain-http HOST[:PORT]         speaks HTTP, not HTTPS; hosts on this machine need no rule
 *   ca         HOST[:PORT] FILE    certificates (PEM) that are trusted for it besides the system's
 *   insecure   HOST[:PORT]         its certificate is not checked
 */
typedef enum RegistryRuleKind { RULE_MIRROR, RULE_PLAIN_HTTP, RULE_CA, RULE_INSECURE } RegistryRuleKind;

typedef struct RegistryRule {
	RegistryRuleKind kind;
	char *host;
	char *value; /* of RULE_MIRROR: without a trailing slash; of RULE_CA; or NULL */
} RegistryRule;

typedef struct RegistryRules {
	RegistryRule *items;
	size_t n;
} RegistryRules;

void registry_rules_done(RegistryRules *r);
#define AUTO_REGISTRY_RULES __attribute__((cleanup(registry_rules_done))) RegistryRules

/** `file` is for the errors, which begin with "FILE:LINE: ". */
int registry_rules_parse(const char *text, const char *file, RegistryRules *ret, Err *err);
/** The first of that kind for the host (case ignored) from *i on, which moves behind it; NULL: none left. */
const RegistryRule *registry_rule(const RegistryRules *r, RegistryRuleKind kind, const char *host, size_t *i);
