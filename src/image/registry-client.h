// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One repository of one registry, over HTTP (OCI distribution-spec 1.1; distribution's token authentication). Used by several threads at once.
 *
 * Credentials go to the registry itself, and to the token server that it names, which has to speak TLS if the registry does: to no other host,
 * whatever redirects say. Mirrors get none.
 */

#include <jansson.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "image/fetch.h"
#include "image/registry.h"

typedef struct RegistryClient RegistryClient;

typedef struct RegistryPlace {
	const char *domain;  /* of the reference: "docker.io", "localhost:5000" */
	const char *path;    /* of the repository; NULL: the registry as such (registry_check) */
	const char *mirror;  /* URL that is asked instead, or NULL */
	const char *actions; /* "pull" or "pull,push" */
	const char *from;    /* another repository of it, which blobs are mounted from; or NULL */
	const json_t *auth;  /* docker's AuthConfig (username, password, identitytoken, registrytoken), or NULL; borrowed */
	const RegistryRules *rules; /* borrowed */
} RegistryPlace;

int registry_client_new(Fetcher *f, const RegistryPlace *place, RegistryClient **ret, Err *err);
void registry_client_free(RegistryClient *c);
void registry_client_freep(RegistryClient **c);
#define AUTO_REGISTRY __attribute__((cleanup(registry_client_freep))) RegistryClient *

/** Who answers, for people: "localhost:5000". */
const char *registry_host(const RegistryClient *c);
/** Called with lines for people, from any thread. */
void registry_on_note(RegistryClient *c, void (*note)(void *user, const char *text), void *user);

/** GET /v2/ with the credentials. -EACCES: it refuses them. */
int registry_check(RegistryClient *c, Err *err);

/**
 * A request below the repository ("/manifests/7"), or to an absolute URL of the registry's own making (uploads). Waits and authenticates; any other
 * status is the answer. q->url is set here.
 */
int registry_call(RegistryClient *c, const char *where, const FetchRequest *q, Fetch **ret, Err *err);
/**
 * One attempt, for a body that is written piece by piece: the credentials that worked last. Follow with fetch_write.
 */
int registry_begin(RegistryClient *c, const char *where, const FetchRequest *q, Fetch **ret, Err *err);
/** The absolute URL that an answer's Location names. Owned by the caller; NULL with the reason. */
char *registry_location(const RegistryClient *c, const Fetch *x, Err *err);

/**
 * A manifest or index by tag or digest. A digest is checked; `size` too, unless it is FETCH_ANY_SIZE. ret_digest: "sha256:…" of what came.
 * A Content-Type that is another than the document's own mediaType is refused.
 */
int registry_manifest(RegistryClient *c, const char *reference, uint64_t size, Buf *ret, char ret_digest[72], Err *err);
/** A blob, checked as fetcher_get does. e->digest and e->size are set by the caller. */
int registry_blob(RegistryClient *c, const FetchExpect *e, Stream **ret, Err *err);

/** The error for an answer that is not what was wanted. Reads its body. */
int registry_refused(RegistryClient *c, Fetch *x, const char *what, Err *err);

#define REGISTRY_TYPE_INDEX "application/vnd.oci.image.index.v1+json"
#define REGISTRY_TYPE_MANIFEST "application/vnd.oci.image.manifest.v1+json"
