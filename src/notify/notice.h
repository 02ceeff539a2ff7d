// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A notice: what people who are not looking are told of a deploy. One JSON document, the one that webhooks get
 * (docs/API.md), is also what waits in the queue and in the store; each vendor's message is made from it when it is sent.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

typedef enum NoticeKind {
	NOTICE_DEPLOY_STARTED,
	NOTICE_DEPLOY_SUCCEEDED,
	NOTICE_DEPLOY_FAILED, /* `base` serves on */
	NOTICE_ROLLED_BACK,   /* `release` serves again, in the place of `base` */
} NoticeKind;
#define N_NOTICE_KINDS 4

/** Everything is borrowed; NULL or 0 = not known, or does not apply. Only kind and stack are needed. */
typedef struct Notice {
	NoticeKind kind;
	const char *stack;
	const char *service;
	int release, base;
	const char *who, *commit, *author;
	const char *step; /* that failed */
	const char *text; /* why, a paragraph */
	char *const *log_lines; /* strv; the last ones are shown */
	int64_t took_ns;
	const char *next; /* what to do now */
	const char *url;  /* where the stack is served, http(s) */
	/* The queue's own (daemon/notify.c). */
	const char *id;   /* the same at each try, for receivers that see one twice */
	int64_t time;     /* real ns */
	const char *host; /* this machine */
} Notice;

/** "deploy.started", "deploy.succeeded", "deploy.failed", "deploy.rolled_back". */
const char *notice_event(NoticeKind k);
/** What `on:` of a receiver calls it: "deploy". */
const char *notice_class(NoticeKind k);
/**
 * The document: texts are cleaned (text.h) and bounded, of the log the last lines that fit; at most LIMIT_NOTICE_BYTES when written.
 * New reference.
 */
json_t *notice_to_json(const Notice *n);
/**
 * What notice_to_json has made; strings are borrowed from it. The caller frees `ret->log_lines` with notice_done. -EINVAL: it is not one.
 */
int notice_from_json(const json_t *o, Notice *ret, Err *err);
void notice_done(Notice *n);

/** "blog: deploy of release 7 failed". Owned by the caller. */
char *notice_title(const Notice *n);
/** "🚀", "✅", "❌", "↩". */
const char *notice_sign(NoticeKind k);

typedef struct NoticeFact {
	const char *name; /* "Commit" */
	char *value;
} NoticeFact;
#define NOTICE_FACTS_MAX 8
/** What is known beside title and text, in the order to show: service, release, failed step, commit … */
size_t notice_facts(const Notice *n, NoticeFact facts[NOTICE_FACTS_MAX]);
void notice_facts_done(NoticeFact *facts, size_t n);
