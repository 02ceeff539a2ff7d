// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A notice made into what one receiver takes: an HTTP request, or a mail. Pure; the limits of the vendors are kept whatever the notice
 * holds, and nothing in it can mention people, close a code block, or add a header.
 *
 *   Slack    incoming webhooks, Block Kit       https://docs.slack.dev/reference/block-kit/blocks
 *   Discord  execute webhook, embeds            https://discord.com/developers/docs/resources/message#embed-object
 *   ntfy     publish as JSON                    https://docs.ntfy.sh/publish/#publish-as-json
 *   webhook  the notice's own document          docs/API.md
 *   mail     RFC 5322, MIME (RFC 2045, 2047)
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "model/stack.h"
#include "notify/notice.h"

typedef struct NotifyRequest {
	char *url;
	char *body;     /* JSON, or a whole mail with its headers */
	char *event;    /* X-Stead-Event; NULL for vendors who do not look at it */
	char *id;
	char *token;    /* Authorization: Bearer; or NULL */
	/* Mail: */
	char *from;     /* of the envelope; NULL = no mail */
	char **to;
	char *user, *password;
} NotifyRequest;

/** -EINVAL: the receiver's address is of no use (the text says why); it will not be at the next try either. */
int notify_request(const NotifyTarget *t, const Notice *n, NotifyRequest *ret, Err *err);
void notify_request_done(NotifyRequest *r);
#define AUTO_NOTIFY_REQUEST __attribute__((cleanup(notify_request_done))) NotifyRequest

/* As stead-notify reads it from its standard input. */
json_t *notify_request_to_json(const NotifyRequest *r);
int notify_request_from_json(const json_t *o, NotifyRequest *ret, Err *err);

/* The writers; JSON documents are new references. */
json_t *notify_slack(const Notice *n);
json_t *notify_discord(const Notice *n);
/** `topic` as ntfy names it. */
json_t *notify_ntfy(const Notice *n, const char *topic);
/** A mail with its headers, lines ended by CRLF. -EINVAL: an address is none. */
int notify_mail(const NotifyTarget *t, const Notice *n, Buf *ret, Err *err);
