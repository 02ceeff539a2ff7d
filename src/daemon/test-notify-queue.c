// SPDX-License-Identifier: Apache-2.0
/*
 * Real senders (stead-notify) to a receiver on loopback, on the same loop. A path says how it is answered: /ok; /fail/N fails N times with 500, then
 * takes it; /slow asks once to come back in a second; /gone is a 404; /hang never answers, /dying from the second time on.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/notify-queue.h"

#define PATIENCE (60 * NSEC_PER_SEC)
#define TEXT(s) ((char *) (uintptr_t) (s))

static const NotifyTimes quick = { .first_delay = 2 * NSEC_PER_MSEC, .longest_delay = 10 * NSEC_PER_MSEC, .give_up = PATIENCE };

typedef struct Peer {
	uv_tcp_t tcp;
	uv_write_t write;
	Buf in, out;
	char piece[4096];
} Peer;

static uv_loop_t loop;
static uv_tcp_t listener;
static unsigned port;
static size_t n_peers, n_hanging;
static char **seen; /* "PATH ID STACK STATUS" of each request */
static int64_t last_at;
static NotifyQueue *queue;
static char dir[64];
static Store *store;
static unsigned next_id;

static void peer_closed(uv_handle_t *h)
{
	Peer *p = h->data;
	buf_done(&p->in);
	buf_done(&p->out);
	free(p);
	n_peers--;
}

static void close_peer(Peer *p)
{
	if (!uv_is_closing((uv_handle_t *) &p->tcp))
		uv_close((uv_handle_t *) &p->tcp, peer_closed);
}

static void answered(uv_write_t *w, int status)
{
	close_peer(w->data);
}

static size_t seen_of(const char *start)
{
	size_t n = 0;
	for (char **p = seen; p && *p; p++)
		n += str_starts(*p, start);
	return n;
}

/** 0 = none. */
static int status_for(const char *path, const char *id)
{
	AUTO_FREE char *start = xasprintf("%s %s ", path, id); /* its earlier tries */
	size_t before = seen_of(start);
	uint32_t fails;
	if (str_starts(path, "/hang"))
		return 0;
	if (str_starts(path, "/dying"))
		return before ? 0 : 500;
	if (str_eq(path, "/gone"))
		return 404;
	if (str_eq(path, "/slow"))
		return before ? 200 : 429;
	if (str_starts(path, "/fail/") && parse_u32_max(path + 6, 1000, &fails) == 0)
		return before < fails ? 500 : 200;
	return 200;
}

static char *header(const char *head, const char *name)
{
	AUTO_FREE char *start = xasprintf("\r\n%s: ", name);
	const char *p = strcasestr(head, start);
	return p ? xstrndup(p + strlen(start), strcspn(p + strlen(start), "\r")) : NULL;
}

static void answer(Peer *p, const char *body)
{
	char *head = p->in.data;
	assert_true(str_starts(head, "POST /"));
	AUTO_FREE char *path = xstrndup(head + 5, strcspn(head + 5, " "));
	AUTO_FREE char *id = header(head, "X-Stead-Delivery");
	AUTO_FREE char *type = header(head, "Content-Type");
	AUTO_FREE char *event = header(head, "X-Stead-Event");
	json_t *o = json_loads(body, 0, NULL);
	assert_string_equal(type, "application/json");
	assert_string_equal(event, json_string_value(json_object_get(o, "event")));
	assert_string_equal(id, json_string_value(json_object_get(o, "id")));
	int status = status_for(path, id);
	strv_take(&seen, xasprintf("%s %s %s %d", path, id, json_string_value(json_object_get(o, "stack")), status));
	json_decref(o);
	last_at = time_mono();
	if (!status) {
		n_hanging++;
		return;
	}
	buf_printf(&p->out, "HTTP/1.1 %d X\r\n%sContent-Length: 2\r\nConnection: close\r\n\r\nno", status, status == 429 ? "Retry-After: 1\r\n" : "");
	uv_buf_t b = uv_buf_init(p->out.data, (unsigned) p->out.len);
	p->write.data = p;
	assert_int_equal(uv_write(&p->write, (uv_stream_t *) &p->tcp, &b, 1, answered), 0);
}

static void peer_alloc(uv_handle_t *h, size_t n, uv_buf_t *b)
{
	Peer *p = h->data;
	*b = uv_buf_init(p->piece, sizeof(p->piece));
}

static void peer_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
	Peer *p = s->data;
	if (n < 0) {
		close_peer(p);
		return;
	}
	buf_append(&p->in, b->base, (size_t) n);
	char *body = p->in.data ? strstr(p->in.data, "\r\n\r\n") : NULL;
	AUTO_FREE char *length = body ? header(p->in.data, "Content-Length") : NULL;
	uint64_t want;
	if (length && parse_u64(length, &want) == 0 && strlen(body + 4) >= want)
		answer(p, body + 4);
}

static void on_peer(uv_stream_t *s, int status)
{
	Peer *p = xcalloc(1, sizeof(*p));
	p->tcp.data = p;
	assert_int_equal(status, 0);
	assert_int_equal(uv_tcp_init(&loop, &p->tcp), 0);
	n_peers++;
	assert_int_equal(uv_accept(s, (uv_stream_t *) &p->tcp), 0);
	assert_int_equal(uv_read_start((uv_stream_t *) &p->tcp, peer_alloc, peer_read), 0);
}

static int setup(void **state)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int n = sizeof(a);
	log_init(0);
	/* A proxy that the machine is set up for has no business here. */
	(void) setenv("no_proxy", "127.0.0.1", 1);
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(uv_tcp_init(&loop, &listener), 0);
	assert_int_equal(uv_tcp_bind(&listener, (struct sockaddr *) &a, 0), 0);
	assert_int_equal(uv_listen((uv_stream_t *) &listener, 64, on_peer), 0);
	assert_int_equal(uv_tcp_getsockname(&listener, (struct sockaddr *) &a, &n), 0);
	port = ntohs(a.sin_port);
	(void) snprintf(dir, sizeof(dir), "%s/stead-notify-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(store_open(dir, &store, NULL), 0);
	queue = notify_queue_new(&loop, store, &quick);
	return 0;
}

/** Senders that are killed close their connections, so that the loop comes to its end by itself. */
static int teardown(void **state)
{
	notify_queue_free(queue);
	uv_close((uv_handle_t *) &listener, NULL);
	(void) uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(n_peers, 0);
	strv_free(steal_ptr(&seen));
	n_hanging = 0;
	store_close(store);
	assert_int_equal(tree_remove(AT_FDCWD, dir), 0);
	return uv_loop_close(&loop);
}

static void add(const char *stack, const char *path)
{
	AUTO_FREE char *url = xasprintf("http://127.0.0.1:%u%s", port, path);
	AUTO_FREE char *id = xasprintf("%u", next_id++);
	NotifyTarget t = { .kind = NOTIFY_WEBHOOK, .url = url };
	Notice n = { .kind = NOTICE_DEPLOY_FAILED, .stack = stack, .id = id, .time = time_real() };
	notify_queue_add(queue, stack, &t, &n);
}

static void run_until(bool (*done)(void))
{
	int64_t limit = time_mono() + PATIENCE;
	while (!done()) {
		assert_true(time_mono() < limit);
		(void) uv_run(&loop, UV_RUN_ONCE);
	}
}

static bool all_gone(void)
{
	return notify_queue_length(queue) == 0;
}

static void expect_seen(const char *const *want)
{
	size_t n = 0;
	for (; want[n]; n++)
		if (!seen || !seen[n] || !str_eq(seen[n], want[n]))
			fail_msg("request %zu: '%s', not '%s'", n, seen && seen[n] ? seen[n] : "none", want[n]);
	assert_null(seen[n]);
}

static void in_order(void **state)
{
	next_id = 0;
	for (int i = 0; i < 3; i++)
		add("a", "/ok");
	assert_int_equal(notify_queue_length(queue), 3);
	run_until(all_gone);
	expect_seen((const char *const[]) { "/ok 0 a 200", "/ok 1 a 200", "/ok 2 a 200", NULL });
}

static void again_until_it_is_taken(void **state)
{
	next_id = 0;
	add("a", "/fail/2");
	add("a", "/fail/2");
	run_until(all_gone);
	/* The same id at each try; nothing overtakes. */
	expect_seen((const char *const[]) { "/fail/2 0 a 500", "/fail/2 0 a 500", "/fail/2 0 a 200", "/fail/2 1 a 500", "/fail/2 1 a 500",
					    "/fail/2 1 a 200", NULL });
}

static void as_late_as_it_asks(void **state)
{
	next_id = 0;
	add("a", "/slow");
	int64_t first = 0;
	int64_t limit = time_mono() + PATIENCE;
	while (!all_gone()) {
		assert_true(time_mono() < limit);
		(void) uv_run(&loop, UV_RUN_ONCE);
		if (!first && seen)
			first = last_at;
	}
	expect_seen((const char *const[]) { "/slow 0 a 429", "/slow 0 a 200", NULL });
	assert_true(last_at - first >= NSEC_PER_SEC);
}

static void refused_once_is_enough(void **state)
{
	next_id = 0;
	add("a", "/gone");
	add("a", "/gone");
	run_until(all_gone);
	expect_seen((const char *const[]) { "/gone 0 a 404", "/gone 1 a 404", NULL });
}

static bool good_one_came(void)
{
	return seen_of("/ok ") == 1;
}

static bool most_hang(void)
{
	return n_hanging >= LIMIT_NOTIFY_SENDERS - 1;
}

static bool most_wait(void)
{
	return notify_queue_length(queue) == LIMIT_NOTIFY_SENDERS - 1;
}

static bool all_hang(void)
{
	return n_hanging >= LIMIT_NOTIFY_SENDERS;
}

static void one_that_hangs_delays_nobody(void **state)
{
	next_id = 0;
	for (unsigned i = 0; i < LIMIT_NOTIFY_SENDERS - 1; i++) {
		AUTO_FREE char *path = xasprintf("/hang/%u", i);
		add("a", path);
	}
	run_until(most_hang);
	add("b", "/ok");
	run_until(good_one_came);
	run_until(most_wait);
	/* The same receiver of another stack is another. */
	add("b", "/hang/0");
	run_until(all_hang);
	assert_int_equal(notify_queue_length(queue), LIMIT_NOTIFY_SENDERS);
}

static bool all_have_failed(void)
{
	return n_hanging >= LIMIT_NOTIFY_SENDERS / 2 && seen_of("/dying") >= 2 * LIMIT_NOTIFY_SENDERS + LIMIT_NOTIFY_SENDERS / 2;
}

/* Those that have failed leave half of the places to the others, however many they are. */
static void the_dead_delay_nobody(void **state)
{
	next_id = 0;
	for (unsigned i = 0; i < 2 * LIMIT_NOTIFY_SENDERS; i++) {
		AUTO_FREE char *path = xasprintf("/dying/%u", i);
		add("a", path);
	}
	run_until(all_have_failed);
	add("b", "/ok");
	run_until(good_one_came);
	assert_int_equal(n_hanging, LIMIT_NOTIFY_SENDERS / 2);
}

static size_t rows(void)
{
	StoreNotice *v = NULL;
	size_t n = 0;
	assert_int_equal(store_notices_load(store, &v, &n, NULL), 0);
	store_notices_free(v, n);
	return n;
}

static void has_a_bound(void **state)
{
	next_id = 0;
	for (unsigned i = 0; i < LIMIT_NOTICE_QUEUE + 10; i++)
		add("a", "/hang");
	assert_int_equal(notify_queue_length(queue), LIMIT_NOTICE_QUEUE);
	assert_int_equal(rows(), LIMIT_NOTICE_QUEUE);
}

static void given_up(void **state)
{
	NotifyTimes times = { .first_delay = NSEC_PER_MSEC, .longest_delay = 4 * NSEC_PER_MSEC, .give_up = 100 * NSEC_PER_MSEC };
	notify_queue_free(queue);
	queue = notify_queue_new(&loop, store, &times);
	add("a", "/fail/1000");
	run_until(all_gone);
	/* Nobody listens there. */
	NotifyTarget t = { .kind = NOTIFY_SLACK, .url = TEXT("http://127.0.0.1:1/x") };
	Notice n = { .kind = NOTICE_DEPLOY_STARTED, .stack = "a", .id = "x" };
	notify_queue_add(queue, "a", &t, &n);
	run_until(all_gone);
	/* What can never be sent is not tried. */
	NotifyTarget ntfy = { .kind = NOTIFY_NTFY, .url = TEXT("http://127.0.0.1:1/") };
	notify_queue_add(queue, "a", &ntfy, &n);
	assert_int_equal(notify_queue_length(queue), 0);
	assert_int_equal(rows(), 0);
}

static char *kept_url;

/* A stack "a" whose only receiver is kept_url. */
static const Stack *model_of(void *user, const char *stack)
{
	static NotifyTarget t;
	static Stack model = { .notify = &t, .n_notify = 1 };
	t = (NotifyTarget) { .kind = NOTIFY_WEBHOOK, .url = kept_url };
	return str_eq(stack, "a") ? &model : NULL;
}

static void start_again(void)
{
	notify_queue_free(queue);
	queue = notify_queue_new(&loop, store, &quick);
	notify_queue_restore(queue, model_of, NULL);
}

static bool one_hangs(void)
{
	return n_hanging > 0;
}

static bool three_hang(void)
{
	return n_hanging == 3;
}

static void survives_the_daemon(void **state)
{
	next_id = 0;
	kept_url = xasprintf("http://127.0.0.1:%u/dying", port);
	add("a", "/ok");
	run_until(all_gone);
	assert_int_equal(rows(), 0);
	add("a", "/dying");
	add("a", "/dying");
	add("b", "/hang");   /* the stack is not there any more */
	add("a", "/hang/x"); /* the receiver is not */
	run_until(three_hang); /* each of them: what is still on its way would be seen after the start */
	assert_int_equal(rows(), 4);
	start_again();
	assert_int_equal(rows(), 2);
	assert_int_equal(notify_queue_length(queue), 2);
	/* In order, and what was sent already goes out once more as what it was. */
	n_hanging = 0;
	strv_free(steal_ptr(&seen));
	run_until(one_hangs);
	assert_true(str_starts(seen[0], "/dying 1 a "));
	/* Too old: dropped at the start. */
	const NotifyTimes short_lived = { .first_delay = 1, .longest_delay = 1, .give_up = 1 };
	notify_queue_free(queue);
	queue = notify_queue_new(&loop, store, &short_lived);
	notify_queue_restore(queue, model_of, NULL);
	assert_int_equal(notify_queue_length(queue), 0);
	assert_int_equal(rows(), 0);
	free(kept_url);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(again_until_it_is_taken, setup, teardown),
		cmocka_unit_test_setup_teardown(as_late_as_it_asks, setup, teardown),
		cmocka_unit_test_setup_teardown(refused_once_is_enough, setup, teardown),
		cmocka_unit_test_setup_teardown(one_that_hangs_delays_nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(the_dead_delay_nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(has_a_bound, setup, teardown),
		cmocka_unit_test_setup_teardown(given_up, setup, teardown),
		cmocka_unit_test_setup_teardown(survives_the_daemon, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
