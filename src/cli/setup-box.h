// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What `stead setup` knows of the machine that it is to prepare, and what it can do with it. Pure: reads what setup-probe.sh has said there.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define SETUP_PROBE_MAX (64U << 10)
#define SETUP_FREE_MIN (400LL << 20) /* packages and programs take about half of it */

typedef enum SetupRoot { ROOT_NO, ROOT_IS, ROOT_SUDO, ROOT_PASSWORD } SetupRoot;

typedef struct SetupBox {
	char *id, *like, *version, *name; /* of os-release(5); "" where unknown */
	char *machine, *arch;             /* as uname and dpkg name it */
	char *user, *stead;               /* who ssh logs in; "stead 0.1.0", or "" */
	SetupRoot root;                   /* how its commands become root */
	bool systemd, active, group, member;
	int64_t free;                     /* bytes for /usr; -1: unknown */
	char **missing;                   /* packages; "a|b" where it does not know yet which there is */
} SetupBox;

void setup_box_done(SetupBox *b);
#define AUTO_BOX __attribute__((cleanup(setup_box_done))) SetupBox

/** Which packages stead runs on, "a|b" for names that differ between releases. NULL-terminated. */
extern const char *const setup_packages[];

/** Reads the probe's lines; what a shell's start-up files print before them is skipped. -EPROTO: they are not (all) there. */
int setup_box_parse(const char *text, size_t n, SetupBox *ret, Err *err);
/** Can it be set up? -ENOTSUP or the like, with the way out: another distribution, no systemd, no root, a full disk. */
int setup_box_check(const SetupBox *b, const char *where, Err *err);
/** What will be done, for people, several lines. `version`: of the programs to be installed. */
void setup_box_plan(const SetupBox *b, const char *where, const char *version, Buf *out);
/** dpkg's name of the architecture of an ELF file's head (at least 20 bytes); NULL: none that is known. */
const char *setup_elf_arch(const uint8_t *p, size_t n);
