// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The machine, as those ask who are about to send something to it: what it can run and how much room it has.
 */

#include <jansson.h>
#include <stdint.h>

typedef struct Box {
	const char *architecture; /* Go's name */
	char **emulated;          /* what else it runs, through the kernel itself or binfmt_misc */
	int64_t memory_total, memory_free; /* bytes; free: what could be had without swapping (MemAvailable of proc(5)) */
	int64_t swap_free;
	int64_t disk_free;        /* bytes that root may still write below the state directory */
} Box;

/** What cannot be read stays 0. */
void box_read(const char *state_dir, Box *ret);
void box_done(Box *b);
#define AUTO_BOX __attribute__((cleanup(box_done))) Box
/** {"architecture", "emulated", "memory_total", "memory_free", "swap_free", "disk_free"}. New reference. */
json_t *box_json(const Box *b);

/**
 * The architecture whose programs an entry of binfmt_misc runs, also in containers: it is enabled, opens its interpreter when it is
 * registered (flag F, since a container's tree does not have it), and its magic is the head of an ELF file. Else NULL.
 * Documentation/admin-guide/binfmt-misc.rst of the kernel; ELF's e_machine as in elf(5).
 */
const char *box_emulated(const char *entry);
/** A line of /proc/meminfo, in bytes; 0 without it. */
int64_t box_memory(const char *meminfo, const char *key);
