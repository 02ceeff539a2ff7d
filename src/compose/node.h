// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Node: the tree between YAML text and the canonical JSON of the model. Every node knows the file and line
 * it came from, through merges and rewrites, so that an error found late still names its place.
 *
 * All nodes and strings of one load live in its Arena and are freed together; nothing is freed alone.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "compose/interpolate.h"

/* ---- memory ---- */

typedef struct ArenaBlock ArenaBlock;
typedef struct Arena {
	ArenaBlock *last;
	size_t used; /* of the last block */
} Arena;

/** Zeroed and aligned for any type. */
void *arena_alloc(Arena *a, size_t n);
char *arena_strndup(Arena *a, const char *s, size_t n);
char *arena_strdup(Arena *a, const char *s);
char *arena_printf(Arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void arena_done(Arena *a);

/* ---- nodes ---- */

typedef enum NodeKind { NODE_SCALAR, NODE_MAP, NODE_SEQ } NodeKind;

/** `!reset` and `!override` steer merging; they stay on a node through its rewriting. */
typedef enum NodeTag { TAG_NONE, TAG_RESET, TAG_OVERRIDE } NodeTag;

/** What a scalar becomes in JSON. SCALAR_PLAIN is not decided yet: an unquoted scalar as it stands in the file. */
typedef enum ScalarType { SCALAR_PLAIN, SCALAR_STRING, SCALAR_NULL, SCALAR_BOOL, SCALAR_INT, SCALAR_FLOAT } ScalarType;

typedef struct Node Node;
typedef struct NodeItem {
	const char *key; /* NULL in a sequence */
	uint32_t line;   /* of the key */
	Node *value;
} NodeItem;

struct Node {
	NodeKind kind;
	NodeTag tag;
	ScalarType type;
	uint16_t file; /* index into Load.files */
	uint16_t height; /* levels below, in a freshly parsed tree */
	uint32_t line;   /* from 1 */
	uint32_t weight; /* nodes in this subtree, in a freshly parsed tree */
	const char *text; /* scalar */
	NodeItem *items;
	size_t n, cap;
	uint32_t *index; /* hash of a big map's keys, made when it is first searched */
	size_t index_size;
};

/** A scalar, map or sequence that stands where `at` stands. */
Node *node_string(Arena *a, const Node *at, const char *text);
Node *node_typed(Arena *a, const Node *at, ScalarType type, const char *text);
Node *node_map(Arena *a, const Node *at);
Node *node_seq(Arena *a, const Node *at);

/** Value of a key, or NULL. */
Node *node_get(const Node *map, const char *key);
NodeItem *node_item(const Node *map, const char *key);
/** Appends without looking for the key. */
void node_add(Arena *a, Node *map, const char *key, uint32_t line, Node *value);
/** Replaces or appends. */
void node_set(Arena *a, Node *map, const char *key, Node *value);
void node_push(Arena *a, Node *seq, Node *value);
/** Takes out a key or an element; the order of the others stays. */
void node_remove(Node *n, size_t i);
bool node_del(Node *map, const char *key);

bool node_is_map(const Node *n);
bool node_is_seq(const Node *n);
bool node_is_scalar(const Node *n);
/** A plain null, "~" or nothing. */
bool node_is_null(const Node *n);
/** "a map", "a list", "a string" … */
const char *node_what(const Node *n);
/** Type of a scalar by YAML 1.2's core schema (10.3.2), with the leading-zero octal that compose reads, too. */
ScalarType node_type(const Node *n);
/** Value of an integer scalar: decimal, 0x, 0o, 0 + octal digits. -EINVAL, -ERANGE. */
int node_integer(const Node *n, int64_t *ret);

/** A copy of the tree, sharing strings. */
Node *node_copy(Arena *a, const Node *n);
/** A new reference. */
json_t *node_to_json(const Node *n);

/* ---- one load ---- */

typedef struct Load {
	Arena arena;
	char **files;    /* as they are named in errors */
	char **warnings;
	size_t nodes;    /* budget used: LIMIT_YAML_NODES */
	Err *err;
	const char *project_dir; /* absolute; relative paths of the files are meant from here */
	Variables vars;
	const char *refused_path, *refused_text; /* see load.h */
} Load;

typedef struct KeyPath {
	char text[512];
	size_t len;
} KeyPath;

/** Puts ".key" or "[i]" on the path; gives the length for path_leave. */
size_t path_enter(KeyPath *p, const char *key);
size_t path_enter_index(KeyPath *p, size_t i);
void path_leave(KeyPath *p, size_t len);

/** "FILE:LINE: path: text" into the load's error; -EINVAL. `at` may be NULL, `path` may be NULL. */
int load_fail(Load *l, const Node *at, const KeyPath *path, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/** The same with the line given, for the key of an item. */
int load_fail_line(Load *l, unsigned file, unsigned line, const KeyPath *path, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
/** Takes n nodes from the budget of the load; -EINVAL when it is used up. */
int load_charge(Load *l, const Node *at, const KeyPath *path, size_t n);
/** Keeps a warning; each text once. */
void load_warn(Load *l, const Node *at, const KeyPath *path, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
