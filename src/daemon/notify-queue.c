// SPDX-License-Identifier: Apache-2.0
/*
 * One rule decides what is sent: pump() goes over the receivers, and whoever has a message, no sender, and no delay running gets a sender while
 * there are places. Receivers that failed last time share half of the places: however many are dead, one that works waits for none of them.
 */
#include "daemon/notify-queue.h"

#include "base/digest.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "io/child.h"
#include "notify/mask.h"
#include "notify/request.h"

#define PROGRAM "stead-notify"
#define OUTPUT_MAX 8192
#define SENDER_TIMEOUT (45 * NSEC_PER_SEC) /* the sender's own are shorter */
#define SENDER_OOM_SCORE 300

static const NotifyTimes usual = { .first_delay = NSEC_PER_SEC, .longest_delay = 300 * NSEC_PER_SEC, .give_up = 3600 * NSEC_PER_SEC };

typedef struct Message {
	char *id;
	char *text;      /* the notice's document */
	int64_t give_up; /* monotonic */
} Message;

typedef struct Receiver {
	NotifyQueue *q;
	uv_timer_t timer;
	char *stack;
	char *name; /* "slack (hooks.slack.com)", for the log */
	char key[DIGEST_HEX_MAX];
	NotifyTarget t;
	Message *messages; /* the first is being sent while `child` is there */
	size_t n_messages;
	Child *child;
	int64_t delay; /* 0 = the last one went well */
	bool waits;    /* the timer runs */
} Receiver;

struct NotifyQueue {
	uv_loop_t *loop;
	Store *store;
	NotifyTimes times;
	Receiver **receivers;
	size_t n_receivers;
	size_t first; /* who is looked at first: each in turn */
};

/* ---- receivers ---- */

static void target_key(const NotifyTarget *t, char hex[DIGEST_HEX_MAX])
{
	AUTO_BUF b = BUF_INIT;
	const char *const parts[] = { notify_kind_name(t->kind), t->url, t->token, t->from, t->user, t->password };
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		buf_append(&b, parts[i] ? parts[i] : "", parts[i] ? strlen(parts[i]) + 1 : 1);
	for (char **p = t->to; p && *p; p++)
		buf_append(&b, *p, strlen(*p) + 1);
	digest_sha256(b.data, b.len, hex);
}

static void target_copy(NotifyTarget *to, const NotifyTarget *t)
{
	*to = (NotifyTarget) { .kind = t->kind, .url = xstrdup(t->url), .token = xstrdup(t->token), .to = strv_dup(t->to), .from = xstrdup(t->from),
			       .user = xstrdup(t->user), .password = xstrdup(t->password) };
}

static void target_done(NotifyTarget *t)
{
	free(t->url);
	free(t->token);
	strv_free(t->to);
	free(t->from);
	free(t->user);
	free(t->password);
}

/** The host's name and no more: the rest of an address may be a secret. */
static char *receiver_name(const NotifyTarget *t)
{
	const char *host = strstr(t->url, "://");
	host = host ? host + 3 : t->url;
	size_t n = strcspn(host, "/?#");
	for (size_t i = n; i > 0; i--)
		if (host[i - 1] == '@') {
			host += i;
			n -= i;
			break;
		}
	return xasprintf("%s (%.*s)", notify_kind_name(t->kind), (int) n, host);
}

static void message_done(Message *m)
{
	free(m->id);
	free(m->text);
}

static void receiver_closed(uv_handle_t *h)
{
	Receiver *r = h->data;
	for (size_t i = 0; i < r->n_messages; i++)
		message_done(&r->messages[i]);
	free(r->messages);
	target_done(&r->t);
	free(r->stack);
	free(r->name);
	free(r);
}

static Receiver *receiver_find(NotifyQueue *q, const char *stack, const char *key)
{
	for (size_t i = 0; i < q->n_receivers; i++)
		if (str_eq(q->receivers[i]->stack, stack) && str_eq(q->receivers[i]->key, key))
			return q->receivers[i];
	return NULL;
}

static Receiver *receiver_get(NotifyQueue *q, const char *stack, const NotifyTarget *t)
{
	char key[DIGEST_HEX_MAX];
	target_key(t, key);
	Receiver *r = receiver_find(q, stack, key);
	if (r)
		return r;
	r = xcalloc(1, sizeof(*r));
	r->q = q;
	r->stack = xstrdup(stack);
	r->name = receiver_name(t);
	memcpy(r->key, key, sizeof(key));
	target_copy(&r->t, t);
	r->timer.data = r;
	(void) uv_timer_init(q->loop, &r->timer);
	*array_append(q->receivers, q->n_receivers) = r;
	return r;
}

/** A receiver without messages and troubles is made anew when it is needed. */
static void forget_idle(NotifyQueue *q)
{
	size_t kept = 0;
	for (size_t i = 0; i < q->n_receivers; i++) {
		Receiver *r = q->receivers[i];
		if (r->n_messages || r->child || r->waits)
			q->receivers[kept++] = r;
		else
			uv_close((uv_handle_t *) &r->timer, receiver_closed);
	}
	q->n_receivers = kept;
}

/* ---- messages ---- */

static void message_drop(Receiver *r, size_t i)
{
	AUTO_ERR err = ERR_INIT;
	/* If it cannot be deleted it is sent again after the daemon's next start, unless that is late. */
	if (store_notice_delete(r->q->store, r->messages[i].id, r->key, &err) < 0)
		log_warning("%s", err_text(&err));
	message_done(&r->messages[i]);
	memmove(&r->messages[i], &r->messages[i + 1], (r->n_messages - i - 1) * sizeof(Message));
	r->n_messages--;
}

static void message_append(Receiver *r, const char *id, const char *text, int64_t give_up)
{
	if (r->n_messages >= LIMIT_NOTICE_QUEUE) {
		log_warning("stack %s: %d notices wait for %s: the oldest is dropped", r->stack, LIMIT_NOTICE_QUEUE, r->name);
		message_drop(r, r->child ? 1 : 0);
	}
	Message *m = array_append(r->messages, r->n_messages);
	*m = (Message) { .id = xstrdup(id), .text = xstrdup(text), .give_up = give_up };
}

static void pump(NotifyQueue *q);

static void delay_over(uv_timer_t *t)
{
	Receiver *r = t->data;
	r->waits = false;
	pump(r->q);
}

static void wait_for(Receiver *r, int64_t ns)
{
	r->waits = true;
	uv_update_time(r->q->loop);
	(void) uv_timer_start(&r->timer, delay_over, time_timer_msec(ns), 0);
}

/** The first message could not be sent now. `asked`: the receiver wants no other before that, ns; 0 = it says nothing. */
static void try_later(Receiver *r, int64_t asked, const char *why)
{
	const NotifyTimes *times = &r->q->times;
	bool first = r->delay == 0;
	r->delay = first ? times->first_delay : r->delay * 2 < times->longest_delay ? r->delay * 2 : times->longest_delay;
	int64_t wait = asked > r->delay ? asked : r->delay;
	int64_t next = time_mono() + wait;
	if (next <= r->messages[0].give_up && first)
		log_warning("stack %s: a notice to %s waits, it will be tried again: %s", r->stack, r->name, why);
	while (r->n_messages && next > r->messages[0].give_up) {
		log_warning("stack %s: a notice to %s is given up: %s", r->stack, r->name, why);
		message_drop(r, 0);
	}
	if (r->n_messages)
		wait_for(r, wait);
}

static void judge(Receiver *r, const char *result, int64_t asked, const char *why)
{
	if (str_eq(result, "sent")) {
		if (r->delay)
			log_info("stack %s: notices to %s go out again", r->stack, r->name);
		r->delay = 0;
		message_drop(r, 0);
	} else if (str_eq(result, "never")) {
		log_warning("stack %s: a notice to %s was not sent: %s", r->stack, r->name, why);
		message_drop(r, 0);
	} else {
		try_later(r, asked, why);
	}
}

static void on_exited(void *user, const ChildExit *e)
{
	Receiver *r = user;
	NotifyQueue *q = r->q;
	AUTO_MASK *mask = mask_new();
	json_t *o = json_loadb(e->output, e->output_len, 0, NULL);
	json_int_t seconds = json_integer_value(json_object_get(o, "retry_after"));
	const char *text = json_string_value(json_object_get(o, "text"));
	AUTO_FREE char *ended = xasprintf(PROGRAM " ended with %s %d%s%.200s", e->signal ? "signal" : "code", e->signal ? e->signal : e->code,
		*e->errors ? ": " : "", e->errors);
	mask_add_target(mask, &r->t);
	AUTO_FREE char *why = mask_text(mask, text ? text : ended);
	r->child = NULL;
	if (seconds < 0 || seconds > INT32_MAX)
		seconds = 0;
	judge(r, json_string_value(json_object_get(o, "result")), seconds * NSEC_PER_SEC, why);
	json_decref(o);
	pump(q);
}

static int spawn(Receiver *r, const char *input, Err *err)
{
	AUTO_FREE char *program = libexec_path(PROGRAM);
	const char *argv[] = { program, NULL };
	const ChildOptions o = {
		.argv = argv,
		.cwd = "/",
		.input = input,
		.input_len = strlen(input),
		.capture_max = OUTPUT_MAX,
		.exited = on_exited,
		.user = r,
		.timeout_ns = SENDER_TIMEOUT,
		.new_session = true,
		.oom_score_adj = SENDER_OOM_SCORE,
	};
	return child_spawn(r->q->loop, &o, &r->child, err);
}

/** Makes the first message and starts its sender; what is of no use is dropped. */
static void send_first(Receiver *r)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_NOTIFY_REQUEST request = { 0 };
	Notice n = { 0 };
	json_t *doc = json_loads(r->messages[0].text, 0, NULL);
	int result = notice_from_json(doc, &n, &err);
	if (result == 0)
		result = notify_request(&r->t, &n, &request, &err);
	if (result < 0) {
		judge(r, "never", 0, err_text(&err));
	} else {
		json_t *o = notify_request_to_json(&request);
		AUTO_FREE char *input = json_dumps(o, JSON_COMPACT);
		json_decref(o);
		if (!input)
			judge(r, "never", 0, "it is not UTF-8");
		else if (spawn(r, input, &err) < 0)
			judge(r, "later", 0, err_text(&err));
	}
	notice_done(&n);
	json_decref(doc);
}

static void pump(NotifyQueue *q)
{
	size_t running = 0, retries = 0;
	for (size_t i = 0; i < q->n_receivers; i++) {
		running += q->receivers[i]->child != NULL;
		retries += q->receivers[i]->child && q->receivers[i]->delay;
	}
	q->first++;
	for (size_t i = 0; i < q->n_receivers; i++) {
		Receiver *r = q->receivers[(q->first + i) % q->n_receivers];
		while (r->n_messages && !r->child && !r->waits && running < LIMIT_NOTIFY_SENDERS &&
		       (!r->delay || retries < LIMIT_NOTIFY_SENDERS / 2)) {
			send_first(r);
			if (r->child) {
				running++;
				retries += r->delay != 0;
			}
		}
	}
	forget_idle(q);
}

NotifyQueue *notify_queue_new(uv_loop_t *loop, Store *store, const NotifyTimes *times)
{
	NotifyQueue *q = xcalloc(1, sizeof(*q));
	q->loop = loop;
	q->store = store;
	q->times = times ? *times : usual;
	return q;
}

void notify_queue_free(NotifyQueue *q)
{
	if (!q)
		return;
	for (size_t i = 0; i < q->n_receivers; i++) {
		Receiver *r = q->receivers[i];
		if (r->child) {
			child_signal(r->child, SIGKILL);
			child_forget(r->child);
		}
		uv_close((uv_handle_t *) &r->timer, receiver_closed);
	}
	free(q->receivers);
	free(q);
}

void notify_queue_add(NotifyQueue *q, const char *stack, const NotifyTarget *t, const Notice *n)
{
	AUTO_ERR err = ERR_INIT;
	json_t *doc = notice_to_json(n);
	AUTO_FREE char *text = json_dumps(doc, JSON_COMPACT | JSON_REAL_PRECISION(12));
	json_decref(doc);
	if (!text)
		return;
	Receiver *r = receiver_get(q, stack, t);
	message_append(r, n->id, text, time_mono() + q->times.give_up);
	const StoreNotice row = { .id = (char *) (uintptr_t) n->id, .target = r->key, .stack = r->stack, .text = text, .created = n->time };
	/* A full disk is what people should hear of: it is sent all the same. */
	if (store_notice_insert(q->store, &row, &err) < 0)
		log_warning("%s", err_text(&err));
	pump(q);
}

/** Of the notice's life what is left of it; the clock may have been set meanwhile. */
static int64_t life_left(const NotifyQueue *q, int64_t created)
{
	int64_t age = time_real() - created;
	return q->times.give_up - (age > 0 ? age : 0);
}

void notify_queue_restore(NotifyQueue *q, const Stack *(*model_of)(void *user, const char *stack), void *user)
{
	AUTO_ERR err = ERR_INIT;
	StoreNotice *rows = NULL;
	size_t n = 0;
	if (store_notices_load(q->store, &rows, &n, &err) < 0)
		log_warning("%s", err_text(&err));
	for (size_t i = 0; i < n; i++) {
		const StoreNotice *row = &rows[i];
		const Stack *model = model_of(user, row->stack);
		const NotifyTarget *t = NULL;
		char key[DIGEST_HEX_MAX];
		for (size_t k = 0; model && !t && k < model->n_notify; k++) {
			target_key(&model->notify[k], key);
			if (str_eq(key, row->target))
				t = &model->notify[k];
		}
		int64_t left = life_left(q, row->created);
		if (t && left > 0) {
			message_append(receiver_get(q, row->stack, t), row->id, row->text, time_mono() + left);
			continue;
		}
		log_warning("stack %s: a notice from before the daemon's start was not sent: %s", row->stack,
			t ? "it is too old" : "its receiver is not there any more");
		if (store_notice_delete(q->store, row->id, row->target, &err) < 0)
			log_warning("%s", err_text(&err));
	}
	store_notices_free(rows, n);
	pump(q);
}

size_t notify_queue_length(const NotifyQueue *q)
{
	size_t n = 0;
	for (size_t i = 0; i < q->n_receivers; i++)
		n += q->receivers[i]->n_messages;
	return n;
}
