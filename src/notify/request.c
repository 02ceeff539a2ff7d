// SPDX-License-Identifier: Apache-2.0
#include "notify/request.h"

#include <errno.h>

#include "base/mem.h"
#include "base/str.h"

/** https://ntfy.sh/TOPIC: the document is posted to what stands before the topic, which goes into it. A query (auth=…) stays where it is. */
static int split_topic(const char *url, char **ret_url, char **ret_topic, Err *err)
{
	size_t n;
	const char *topic = notify_topic(url, &n);
	if (!topic)
		return err_set(err, -EINVAL, "ntfy: the address does not end in a topic, as https://ntfy.sh/my-topic does");
	const char *query = topic + strcspn(topic, "?#");
	*ret_topic = xstrndup(topic, n);
	*ret_url = xasprintf("%.*s%.*s", (int) (topic - url), url, (int) strcspn(query, "#"), query);
	return 0;
}

static int make_body(const NotifyTarget *t, const Notice *n, NotifyRequest *r, Err *err)
{
	AUTO_FREE char *topic = NULL;
	json_t *o = NULL;
	int result = 0;
	switch (t->kind) {
	case NOTIFY_SLACK:
		o = notify_slack(n);
		break;
	case NOTIFY_DISCORD:
		o = notify_discord(n);
		break;
	case NOTIFY_NTFY:
		result = split_topic(t->url, &r->url, &topic, err);
		o = result == 0 ? notify_ntfy(n, topic) : NULL;
		break;
	case NOTIFY_WEBHOOK:
		o = notice_to_json(n);
		break;
	case NOTIFY_MAIL:
		return err_set(err, -EINVAL, "a mail is no JSON");
	}
	if (result < 0)
		return result;
	r->body = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(12));
	json_decref(o);
	return r->body ? 0 : err_set(err, -EINVAL, "the notice is not UTF-8");
}

int notify_request(const NotifyTarget *t, const Notice *n, NotifyRequest *ret, Err *err)
{
	AUTO_NOTIFY_REQUEST r = { .id = xstrdup(n->id) };
	int result;
	if (t->kind == NOTIFY_MAIL) {
		AUTO_BUF mail = BUF_INIT;
		result = notify_mail(t, n, &mail, err);
		r.body = buf_steal(&mail);
		r.from = xstrdup(t->from);
		r.to = strv_dup(t->to);
		r.user = xstrdup(t->user);
		r.password = xstrdup(t->password);
	} else {
		result = make_body(t, n, &r, err);
		r.token = t->kind == NOTIFY_NTFY ? xstrdup(t->token) : NULL;
		r.event = t->kind == NOTIFY_WEBHOOK ? xstrdup(notice_event(n->kind)) : NULL;
	}
	if (result < 0)
		return result;
	if (!r.url)
		r.url = xstrdup(t->url);
	*ret = r;
	r = (NotifyRequest) { 0 };
	return 0;
}

void notify_request_done(NotifyRequest *r)
{
	free(r->url);
	free(r->body);
	free(r->event);
	free(r->id);
	free(r->token);
	free(r->from);
	strv_free(r->to);
	free(r->user);
	free(r->password);
}

/* ---- to the sender and back ---- */

static const struct {
	const char *key;
	size_t at;
} texts[] = {
	{ "url", offsetof(NotifyRequest, url) },	   { "body", offsetof(NotifyRequest, body) }, { "event", offsetof(NotifyRequest, event) },
	{ "id", offsetof(NotifyRequest, id) },		   { "token", offsetof(NotifyRequest, token) }, { "from", offsetof(NotifyRequest, from) },
	{ "user", offsetof(NotifyRequest, user) }, { "password", offsetof(NotifyRequest, password) },
};

json_t *notify_request_to_json(const NotifyRequest *r)
{
	json_t *o = json_object(), *to = json_array();
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		const char *s = *(char *const *) ((const char *) r + texts[i].at);
		if (s)
			(void) json_object_set_new(o, texts[i].key, json_string(s));
	}
	for (char **p = r->to; p && *p; p++)
		(void) json_array_append_new(to, json_string(*p));
	(void) json_object_set_new(o, "to", to);
	return o;
}

int notify_request_from_json(const json_t *o, NotifyRequest *ret, Err *err)
{
	NotifyRequest r = { 0 };
	const json_t *v;
	size_t i;
	for (i = 0; i < ARRAY_SIZE(texts); i++)
		*(char **) ((char *) &r + texts[i].at) = xstrdup(json_string_value(json_object_get(o, texts[i].key)));
	json_array_foreach(json_object_get(o, "to"), i, v)
		if (json_is_string(v))
			strv_add(&r.to, json_string_value(v));
	if (!r.url || !r.body || (r.from && !r.to)) {
		notify_request_done(&r);
		return err_set(err, -EINVAL, "there is no address or no message");
	}
	*ret = r;
	return 0;
}
