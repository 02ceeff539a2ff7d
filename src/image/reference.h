// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Image references as people write them ("redis:7", "registry.example:5000/team/app@sha256:…") and in
 * the one form that is kept and compared ("docker.io/library/redis:7"). The grammar is that of
 * https://github.com/distribution/reference (reference.go and normalize.go): what docker refuses is
 * refused here.
 */

#include "base/err.h"

typedef struct Reference {
	char *domain; /* "docker.io", "localhost:5000", "[fd00::1]:5000" */
	char *path;   /* "library/redis" */
	char *tag;    /* "latest" when neither tag nor digest was written; NULL when only a digest was */
	char *digest; /* "sha256:…" or NULL */
} Reference;

void reference_done(Reference *r);
#define AUTO_REFERENCE __attribute__((cleanup(reference_done))) Reference

/** Parses what a person wrote; `ret` is the caller's (reference_done). -EINVAL with the reason. */
int reference_parse(const char *s, Reference *ret, Err *err);
/** "docker.io/library/redis:7", with "@sha256:…" where there is a digest. Owned by the caller. */
char *reference_string(const Reference *r);
/** As docker shows it: "redis:7", "team/app:1", "registry.example:5000/x:1". Owned by the caller. */
char *reference_familiar(const Reference *r);
/** The familiar form without tag and digest: "redis". Owned by the caller. */
char *reference_familiar_name(const Reference *r);
/** Parse and write in one: what Image.tags holds. */
int reference_normalise(const char *s, char **ret, Err *err);
/** A normalised reference in its familiar form; what is not a reference comes back as it is. Owned by the caller. */
char *reference_show(const char *normalised);
