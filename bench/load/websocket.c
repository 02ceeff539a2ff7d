// SPDX-License-Identifier: Apache-2.0
/*
 * A WebSocket (RFC 6455) that says something every 100 ms and expects to hear it again. The exchange is the
 * handshake; after it each message has a deadline. A close frame is an orderly end, after which a
 * client connects anew; messages that crossed it were not lost unnoticed. An end without one is a cut.
 */
#include "bench/load/answer.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/time.h"

#define MESSAGE_EVERY (100 * NSEC_PER_MSEC)
#define FAIL_PAUSE (20 * NSEC_PER_MSEC)
#define WAITING_MAX 64 /* messages without an echo, more than the time-out allows at this pace */
#define GOODBYE_PATIENCE (2 * NSEC_PER_SEC)

enum { OP_TEXT = 1, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };

typedef struct WebSocket {
	Worker w;
	Link *link;
	bool ready, up, said_goodbye;
	Exchange x; /* the handshake */
	Answer answer;
	char key[32], accept[32];
	Buf in;
	uint64_t sent, heard; /* messages; their number is their text */
	int64_t sent_at[WAITING_MAX], goodbye_at;
} WebSocket;

static void websocket_drop(WebSocket *s)
{
	link_close(s->link);
	s->link = NULL;
	s->ready = s->up = s->said_goodbye = false;
	s->sent = s->heard = 0;
	buf_clear(&s->in);
}

static void websocket_again(WebSocket *s, int64_t pause)
{
	websocket_drop(s);
	worker_next(&s->w, pause);
}

static void websocket_failed(WebSocket *s, Failure why, const char *what)
{
	exchange_fail(&s->x, why, s->up, "%s: %s after %llu messages", s->x.path, what, (unsigned long long) s->heard);
	websocket_again(s, FAIL_PAUSE);
}

static void frame_send(WebSocket *s, int op, const void *payload, size_t n)
{
	uint8_t frame[6 + 125];
	uint32_t mask = (uint32_t) random();

	frame[0] = (uint8_t) (0x80 | op);
	frame[1] = (uint8_t) (0x80 | n);
	memcpy(frame + 2, &mask, 4);
	for (size_t i = 0; i < n; i++)
		frame[6 + i] = ((const uint8_t *) payload)[i] ^ frame[2 + i % 4];
	link_send(s->link, frame, 6 + n);
}

static void message_send(WebSocket *s)
{
	char text[64];

	if (s->sent - s->heard >= WAITING_MAX)
		return; /* its time-out is near */
	s->sent_at[s->sent % WAITING_MAX] = time_mono();
	s->sent++;
	int n = snprintf(text, sizeof text, "message %llu", (unsigned long long) s->sent);
	frame_send(s, OP_TEXT, text, (size_t) n);
}

/* --- the handshake */

static void handshake_send(WebSocket *s)
{
	AUTO_BUF b = BUF_INIT;
	uint8_t nonce[16], digest[SHA_DIGEST_LENGTH];
	char text[80];

	for (size_t i = 0; i < sizeof nonce; i++)
		nonce[i] = (uint8_t) random();
	(void) EVP_EncodeBlock((unsigned char *) s->key, nonce, sizeof nonce);
	int n = snprintf(text, sizeof text, "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", s->key);
	(void) SHA1((const unsigned char *) text, (size_t) n, digest);
	(void) EVP_EncodeBlock((unsigned char *) s->accept, digest, sizeof digest);
	buf_printf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: stead-load\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n", s->x.path,
		s->w.load->host);
	buf_printf(&b, "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n", s->key);
	link_send(s->link, b.data, b.len);
}

/** Gives the bytes it used; all of them, unless frames follow. */
static size_t handshake_read(WebSocket *s, const char *p, size_t n)
{
	size_t used = answer_read(&s->answer, p, n);

	if (s->answer.parser.http_errno != HPE_OK && !s->answer.complete) {
		websocket_failed(s, FAIL_PROTOCOL, http_errno_description(s->answer.parser.http_errno));
		return n;
	}
	if (s->x.status == 0 || !s->answer.parser.upgrade) {
		if (s->x.status != 0)
			websocket_failed(s, FAIL_STATUS, "no WebSocket");
		return n;
	}
	if (s->x.status != 101 || !s->answer.accepted) {
		websocket_failed(s, s->x.status != 101 ? FAIL_STATUS : FAIL_BODY, "wrong handshake");
		return n;
	}
	s->up = true;
	s->x.open = false;
	s->w.kind->counts.done++;
	worker_next(&s->w, 0);
	return used;
}

/* --- frames */

static void message_heard(WebSocket *s, const char *p, size_t n)
{
	char text[64];
	int len = snprintf(text, sizeof text, "message %llu", (unsigned long long) s->heard + 1);

	if (s->heard == s->sent || n != (size_t) len || memcmp(text, p, n) != 0) {
		websocket_failed(s, FAIL_BODY, "the echo is not what was said");
		return;
	}
	histogram_add(&s->w.kind->counts.latency, time_mono() - s->sent_at[s->heard % WAITING_MAX]);
	s->heard++;
	s->w.kind->counts.messages++;
}

static void frame_heard(WebSocket *s, int op, const char *p, size_t n)
{
	switch (op) {
	case OP_CLOSE:
		if (!s->said_goodbye) {
			s->w.kind->counts.closes++;
			frame_send(s, OP_CLOSE, p, n < 2 ? 0 : 2);
		}
		websocket_again(s, FAIL_PAUSE);
		return;
	case OP_PING:
		frame_send(s, OP_PONG, p, n);
		return;
	case OP_PONG:
		return;
	case OP_TEXT:
		message_heard(s, p, n);
		return;
	default:
		websocket_failed(s, FAIL_PROTOCOL, "an unknown frame");
	}
}

/** Frames of the server are not masked; ours have at most 125 bytes, and so have its echoes. */
static void frames_read(WebSocket *s)
{
	while (s->link && s->in.len >= 2) {
		const uint8_t *p = (const uint8_t *) s->in.data;
		size_t n = p[1];
		if (n > 125 || !(p[0] & 0x80)) {
			websocket_failed(s, FAIL_PROTOCOL, "a frame that nobody could have sent");
			return;
		}
		if (s->in.len < 2 + n)
			return;
		Link *link = s->link;
		frame_heard(s, p[0] & 15, s->in.data + 2, n);
		if (s->link != link)
			return;
		buf_consume(&s->in, 2 + n);
	}
}

/* --- the link */

static void on_ready(void *user)
{
	WebSocket *s = user;
	s->ready = true;
	handshake_send(s);
}

static void on_data(void *user, const char *p, size_t n)
{
	WebSocket *s = user;

	if (!s->up) {
		size_t used = handshake_read(s, p, n);
		p += used;
		n -= used;
	}
	if (!s->up || n == 0)
		return;
	buf_append(&s->in, p, n);
	frames_read(s);
}

static void on_end(void *user, int why, bool connected)
{
	WebSocket *s = user;
	const char *text = why == 0 ? "ended" : uv_strerror(why);

	s->link = NULL;
	if (s->up && s->said_goodbye)
		websocket_again(s, 0);
	else if (s->up)
		websocket_failed(s, FAIL_CUT, why == 0 ? "ended without a close frame" : text);
	else
		websocket_failed(s, link_failure(why, connected, s->x.status != 0), text);
}

static const LinkEvents link_events = { on_ready, on_data, on_end };

/* --- the worker */

static void websocket_turn(Worker *w)
{
	WebSocket *s = (WebSocket *) w;

	if (s->up) {
		if (!s->said_goodbye)
			message_send(s);
		worker_next(w, MESSAGE_EVERY);
		return;
	}
	exchange_begin(&s->x, w);
	answer_begin(&s->answer, &s->x);
	s->answer.accept = s->accept;
	s->link = link_open(w->load->loop, &w->load->target, false, &link_events, s);
	w->kind->counts.connections++;
}

static void websocket_stop(Worker *w)
{
	static const uint8_t normal[2] = { 1000 >> 8, 1000 & 255 };
	WebSocket *s = (WebSocket *) w;

	if (s->up && !s->said_goodbye) {
		frame_send(s, OP_CLOSE, normal, sizeof normal);
		s->said_goodbye = true;
		s->goodbye_at = time_mono();
	}
}

static void websocket_tick(Worker *w, int64_t now)
{
	WebSocket *s = (WebSocket *) w;

	if (w->load->stopping)
		websocket_stop(w); /* of those whose handshake was under way when the others were told */
	if (s->x.open && now >= s->x.deadline)
		websocket_failed(s, FAIL_TIMEOUT, "no handshake");
	else if (s->up && s->said_goodbye && now >= s->goodbye_at + GOODBYE_PATIENCE)
		websocket_again(s, 0);
	else if (s->up && s->heard < s->sent && now >= s->sent_at[s->heard % WAITING_MAX] + w->load->timeout)
		websocket_failed(s, FAIL_TIMEOUT, "no echo");
}

static bool websocket_busy(const Worker *w)
{
	const WebSocket *s = (const WebSocket *) w;
	return s->x.open || s->up;
}

static void websocket_done(Worker *w)
{
	WebSocket *s = (WebSocket *) w;
	websocket_drop(s);
	buf_done(&s->in);
	answer_done(&s->answer);
}

const WorkerOps websocket_ops = { sizeof(WebSocket), NULL, websocket_turn, websocket_tick, websocket_stop, websocket_busy, websocket_done };
