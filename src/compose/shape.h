// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Shape: brings what one file says to the canonical long form, key by key, before files are merged, so that
 * merging needs to know one form only. A key that the tables do not know stays as it is: the model refuses it by
 * name and with a suggestion. Values keep their file and line.
 *
 * Private to compose/; shape_document is what others call.
 */

#include "compose/node.h"

typedef struct Shape {
	Load *l;
	KeyPath path;
} Shape;

/** Gives the canonical node, or NULL after load_fail. */
typedef Node *ShapeFn(Shape *s, const Node *n);

typedef struct ShapeKey {
	const char *key;
	ShapeFn *fn;
} ShapeKey;

/** One file's document (interpolated). Drops `version` and `x-*` but x-stead. NULL on failure. */
Node *shape_document(Load *l, const Node *doc);

/** Shapes the values of a map by a table; nulls and x-* are left out, unknown keys kept. */
Node *shape_table(Shape *s, const Node *n, const ShapeKey *table, size_t n_table);
/** Shapes each value of a map of names by one function; null values become empty maps. "x-ray" is a name like any other. */
Node *shape_named(Shape *s, const Node *n, ShapeFn *fn);

ShapeFn shape_any;      /* as it is */
ShapeFn shape_string;   /* a scalar, as written; in a table, an empty result is left out */
ShapeFn shape_text;     /* a scalar, as written */
ShapeFn shape_bool;
ShapeFn shape_int;
ShapeFn shape_number;
ShapeFn shape_bytes;    /* "64m" to a decimal string */
ShapeFn shape_mode;     /* 0440, "0440" to "0440" */
ShapeFn shape_path;     /* relative to the project's directory, ~ to the home directory */
ShapeFn shape_strings;  /* a list of scalars */
ShapeFn shape_one_or_more; /* a list of scalars, or one scalar */
ShapeFn shape_pairs;    /* a map of scalars or nulls, or a list of K=V or K */
ShapeFn shape_labels;   /* the same; K alone is K= */
ShapeFn shape_command;  /* a list, or a string split as a shell does */
ShapeFn shape_ports, shape_expose;
ShapeFn shape_volumes, shape_devices, shape_file_refs_secret, shape_file_refs_config;
ShapeFn shape_build;      /* a path, or a map */
ShapeFn shape_ulimits, shape_extra_hosts;
ShapeFn shape_service;
ShapeFn shape_lower;    /* a scalar in lower case (ASCII) */
ShapeFn shape_stead_service, shape_stead_top; /* the values of x-stead */

/** Fails at `n` with the current path; always NULL. */
void *shape_fail(Shape *s, const Node *n, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/** Absolute, without "." and ".." and double slashes. In the arena. NULL after load_fail. */
const char *shape_resolve_path(Shape *s, const Node *n, const char *path);
/** Lexically clean absolute path: no ".", "..", "//", no slash at the end. In the arena. */
const char *clean_path(Arena *a, const char *path);
