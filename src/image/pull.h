// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Pulls an image into the store. First the manifest, then the configuration, then the layers whose diff_ids are not here: several at
 * once, each unpacked while it comes, so that nothing is written twice. What was unpacked before the connection failed for good is kept, and
 * the next pull goes on from there.
 */

#include <jansson.h>

#include "base/err.h"
#include "image/layers.h"
#include "image/report.h"

/**
 * `options`: {"ref": normalised, "platform": "linux/arm64/v8" or absent, "auth": docker's AuthConfig or absent, "rules": path of the file on registries
 * (image/registry.h; may be missing)}. Starts stead-fetch and then fences itself in. Reports, besides progress:
 *   {"digest": "sha256:…"}   of the manifest or index that the reference names
 *   {"layer": {"id": first 12 digits, "state": "waiting" | "here" | "downloading" | "done", "at": bytes, "size": bytes}}
 * The image's tags are the reference, and its repository with that digest.
 */
int registry_pull(const char *state_dir, const json_t *options, ImageList *ret, Err *err);

/** `options`: {"domain": "docker.io", "auth": …, "rules": …}. -EACCES: the credentials are refused. */
int registry_login(const char *state_dir, const json_t *options, Err *err);

/** Reads the file on registries; one that is not there has no rules. */
struct RegistryRules;
int registry_rules_read(const char *path, struct RegistryRules *ret, Err *err);
/** {"layer": …}; `at` and `size` -1 = none. From any thread. */
void report_layer(const char *digest, const char *state, int64_t at, int64_t size);
