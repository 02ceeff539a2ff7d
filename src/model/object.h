// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Tables that tie the keys of a JSON object to the members of a struct. One table says how a struct is
 * read from JSON, checked, written and freed, so that the four can never disagree. Private to model/.
 *
 * A key that is absent or null leaves the member "unset"; an unset member is left out when written.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "model/stack.h"

typedef struct Field Field;
typedef struct Schema Schema;

/** Where a parse is, and where its error goes. */
typedef struct Reader {
	ModelPath where;
	size_t len; /* of where.text */
	Err *err;
} Reader;

/** How one kind of member behaves. `base` is the struct that holds it. Any of the functions may be NULL. */
typedef struct FieldType {
	void (*init)(const Field *f, void *base);
	int (*parse)(Reader *r, const Field *f, json_t *v, void *base);
	json_t *(*emit)(const Field *f, const void *base); /* a new reference, NULL = unset */
	void (*done)(const Field *f, void *base);
} FieldType;

typedef enum FieldFlags {
	FIELD_REQUIRED = 1 << 0,
	FIELD_ALWAYS = 1 << 1, /* written even if it has its unset value */
	FIELD_ALIAS = 1 << 2,  /* another spelling of a member: read, never written, must not contradict */
} FieldFlags;

struct Field {
	const char *key;
	const FieldType *type;
	size_t offset;  /* of the member */
	size_t offset2; /* of its counter, its "was written" flag or its end of range */
	int64_t unset;  /* numbers, booleans, enumerations: the value when the key is absent */
	int64_t min, max;
	const void *arg; /* by type: Schema, names of an enumeration, text of a refusal */
	int flags;
};

struct Schema {
	const Field *fields;
	size_t n_fields;
	size_t size; /* of the struct */
	/** What stands for the object where it is no object ("nproc: 65535"); NULL = an object is a must. */
	int (*parse_scalar)(Reader *r, json_t *v, void *base);
	/** Checks that span members, called after all keys were read. May be NULL. */
	int (*check)(Reader *r, void *base);
	const char *what; /* "service", for "unknown key of a service" */
};

/* A member of the struct that `base` points to, by its offset. */
#define MEMBER(Type, base, off) ((Type *) (void *) ((char *) (base) + (off)))
#define MEMBER_CONST(Type, base, off) ((Type const *) (const void *) ((const char *) (base) + (off)))

#define OBJECT_SCHEMA(table, Type, check_fn, what_text)                                                      \
	{ .fields = table, .n_fields = ARRAY_SIZE(table), .size = sizeof(Type), .check = check_fn, .what = what_text }

/* Strings: TEXT may hold any character, STR no control characters, WORD is a STR that is not empty. */
extern const FieldType field_text, field_str, field_word;
/** An absolute path without control characters. */
extern const FieldType field_path;
/** char ** from a list: strings of any kind, strings without control characters. */
extern const FieldType field_texts, field_strs;
/** char ** of "key=value" from an object of strings; nullable: null gives "key" alone. */
extern const FieldType field_pairs, field_pairs_nullable;
extern const FieldType field_bool;          /* bool */
extern const FieldType field_tristate;      /* int: -1, 0, 1 */
extern const FieldType field_int;           /* int within min..max */
extern const FieldType field_i64;           /* int64_t within min..max */
extern const FieldType field_u16;           /* uint16_t within min..max */
extern const FieldType field_number;        /* double within min..max; JSON number or decimal string */
extern const FieldType field_bytes;         /* int64_t from a decimal string of bytes */
extern const FieldType field_duration;      /* int64_t ns from a Go duration; max 0 = none */
extern const FieldType field_mode;          /* int64_t from an octal string, "0440" */
extern const FieldType field_enum;          /* an enum (int); arg: NULL-terminated names in order of value */
extern const FieldType field_object;        /* an embedded struct; arg: Schema */
extern const FieldType field_same;          /* an object whose members lie in this same struct; arg: Schema */
extern const FieldType field_list;          /* Type *x; size_t n_x from a list of objects; arg: Schema */
extern const FieldType field_map;           /* the same from an object; the key becomes the first member, sorted by it */
extern const FieldType field_refused;       /* known to Compose, not supported yet; arg: what to do */
extern const FieldType field_unresolved;    /* belongs in a compose file, never in a resolved model */
extern const FieldType field_ignored;       /* accepted, without effect */

/** Puts ".key" or "[index]" on the reader's path; gives the length to go back to. */
size_t reader_enter(Reader *r, const char *key);
size_t reader_enter_index(Reader *r, size_t i);
void reader_leave(Reader *r, size_t len);
/** "PATH: text" into the reader's error; gives -EINVAL. */
int reader_fail(Reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** "must be WANTED, not a list". */
int reader_fail_kind(Reader *r, const char *wanted, json_t *v);
/** The same with the path extended by a key. */
int reader_fail_at(Reader *r, const char *key, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

void object_init(const Schema *s, void *base);
/** Fills `base` (initialised by object_init); on failure it holds what was read so far, for object_done. */
int object_parse(Reader *r, const Schema *s, json_t *v, void *base);
/** Only that the object has no unknown keys. */
int object_check_keys(Reader *r, const Schema *s, json_t *v);
json_t *object_emit(const Schema *s, const void *base);
void object_done(const Schema *s, void *base);

/** Makes `*items` with the counter `*n` one longer; the new element is zeroed. */
void *object_append(void **items, size_t *n, size_t size);
/** Sorts an array of structs whose first member is their key. */
void objects_sort(void *items, size_t n, size_t size);
/** Finds by that key in a sorted array, or NULL. */
void *objects_find(const void *items, size_t n, size_t size, const char *key);

