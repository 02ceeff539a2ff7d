// SPDX-License-Identifier: Apache-2.0
/*
 * ntfy turns a message of more than 4096 bytes into a file, and refuses a JSON document of more than twice that. All is counted as it
 * stands in the document, so that both hold.
 */
#include "base/mem.h"
#include "base/str.h"
#include "notify/plain.h"
#include "notify/request.h"

#define MESSAGE_MAX 4096
#define TITLE_MAX 250
#define URL_MAX 1024

typedef struct Look {
	const char *tag; /* an emoji's short code */
	int priority;    /* 1 to 5, 3 is the default */
} Look;

static const Look looks[] = {
	[NOTICE_DEPLOY_STARTED] = { "rocket", 2 },
	[NOTICE_DEPLOY_SUCCEEDED] = { "white_check_mark", 3 },
	[NOTICE_DEPLOY_FAILED] = { "x", 4 },
	[NOTICE_ROLLED_BACK] = { "leftwards_arrow_with_hook", 4 },
};
_Static_assert(ARRAY_SIZE(looks) == N_NOTICE_KINDS, "a kind is missing");

json_t *notify_ntfy(const Notice *n, const char *topic)
{
	AUTO_BUF title = BUF_INIT;
	AUTO_BUF message = BUF_INIT;
	AUTO_FREE char *full_title = notice_title(n);
	TextOut t = { .buf = &title, .room = TITLE_MAX, .unit = TEXT_JSON }, m = { .buf = &message, .room = MESSAGE_MAX, .unit = TEXT_JSON };
	(void) text_put(&t, full_title);
	notice_plain(&m, n);
	/* Without a message ntfy writes "triggered". */
	json_t *o = json_pack("{s:s, s:s, s:s, s:i, s:[s]}", "topic", topic, "title", buf_cstr(&title), "message",
		message.len ? buf_cstr(&message) : buf_cstr(&title), "priority", looks[n->kind].priority, "tags", looks[n->kind].tag);
	if (text_blank(n->url) || strlen(n->url) > URL_MAX)
		return o;
	(void) json_object_set_new(o, "click", json_string(n->url));
	(void) json_object_set_new(o, "actions", json_pack("[{s:s, s:s, s:s}]", "action", "view", "label", "Open", "url", n->url));
	return o;
}
