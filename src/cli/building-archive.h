// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Build contexts that are archives: a tar, plain or compressed, on standard input or at a URL. They are strangers' files: a worker of our own fetches and
 * unpacks them, behind its fence and with our rights at most. What it has made is a directory as any other.
 */

#include "cli/building.h"

/**
 * Unpacks what is at the URL (NULL: on standard input). `tick` is git.h's. 0: it was an archive; 1: it was none, and is to be taken for a Dockerfile:
 * the file ret->path. -ECANCELED: given up.
 */
int building_archive_fetch(const char *url, bool (*tick)(void *user), void *user, GitCheckout *ret, Err *err);
/** The same for the build's own context; a Dockerfile is read. */
int building_archive_context(Building *b, const char *url, Err *err);
