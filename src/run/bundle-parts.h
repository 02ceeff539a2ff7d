// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The parts of config.json, one function each; put together by bundle.c. They take a service that
 * bundle_check has passed. New references; negative errno with a text that names the key.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "run/bundle.h"

/** Stands for 2^64-1 as the value of an rlimit until the JSON is printed. */
#define BUNDLE_UNLIMITED "INF"

/** What `security_opt` says. */
typedef struct SecurityOptions {
	int no_new_privileges;  /* -1 = not said */
	bool seccomp_off;       /* seccomp=unconfined */
	const char *seccomp;    /* a profile file, or NULL */
	const char *apparmor;   /* a profile, or NULL */
	bool system_paths;      /* systempaths=unconfined: nothing masked or read-only */
} SecurityOptions;

/** Default mounts, the service's, files over /etc, init. */
int bundle_mounts(const BundleSpec *spec, json_t **ret, Err *err);
/** Fills `devices` (linux.devices) and `rules` (linux.resources.devices). */
int bundle_devices(const Service *svc, json_t **ret_devices, json_t **ret_rules, Err *err);
/** linux.resources without devices. */
int bundle_resources(const Runtime *rt, const Service *svc, json_t *ret, Err *err);
/** process.rlimits; what is above our own hard limit is cut, with a warning. */
int bundle_rlimits(const Service *svc, json_t **ret, char ***warnings, Err *err);
/** "RLIMIT_NOFILE" → its number; -EINVAL. */
int bundle_rlimit_number(const char *oci_name);
/**
 * Prints an object without its closing brace, and unlimited rlimits as the number that they are, which jansson has no
 * integer for. -EINVAL: a value is not UTF-8.
 */
int bundle_print_open(const json_t *o, Buf *b);
/** linux.sysctl. */
int bundle_sysctls(const Service *svc, const BundleSpec *spec, json_t **ret, Err *err);
/** The options of a `tmpfs` entry ("/run:size=64m") as an array; the target (caller's) in ret_target. */
int bundle_tmpfs(const char *entry, char **ret_target, json_t **ret_options, Err *err);
/** Checks "key=value" against what is namespaced. `netns`, `ipcns`, `utsns`: whether the container has its own. */
int bundle_sysctl_check(const char *entry, bool netns, bool ipcns, bool utsns, Err *err);
int bundle_propagation_check(const Runtime *rt, const char *propagation, Err *err);
