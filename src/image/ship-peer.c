// SPDX-License-Identifier: Apache-2.0
#include "image/ship-peer.h"

#include <errno.h>
#include <poll.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "image/ship-protocol.h"
#include "io/frame-io.h"

#define GIVE_UP_WAIT (10 * NSEC_PER_SEC)
#define FRAME_PATIENCE 120000 /* ms: a frame that has begun goes on, or its length was none */

void ship_peer_done(ShipPeer *p)
{
	buf_done(&p->frame);
	free(p->version);
	*p = (ShipPeer) { .in = -1, .out = -1 };
}

int ship_peer_greet(ShipPeer *p, Err *err)
{
	return ship_peer_send_json(p, json_pack("{s:i, s:s}", "ship", SHIP_VERSION, "version", STEAD_VERSION), err);
}

int ship_peer_meet(ShipPeer *p, Err *err)
{
	json_t *o = NULL;
	const char *key;
	int r = ship_peer_receive_json(p, &o, &key, err);
	if (r < 0)
		return r;
	const json_t *number = json_object_get(o, "ship");
	const char *version = json_string_value(json_object_get(o, "version"));
	if (!json_is_integer(number) || !version || strlen(version) > 100 || str_has_control(version))
		r = err_set(err, -EPROTO, "the %s does not greet: it is no stead that ships", p->name);
	else if (json_integer_value(number) != SHIP_VERSION)
		r = err_set(err, -EPROTONOSUPPORT,
			"the %s is stead %s and ships by protocol %lld, this is stead %s with protocol %d: upgrade the older one", p->name, version,
			(long long) json_integer_value(number), STEAD_VERSION, SHIP_VERSION);
	else
		str_set(&p->version, version);
	json_decref(o);
	return r;
}

/* After a write has failed: an error that the other side sent before it went tells more than EPIPE. */
static int last_words(ShipPeer *p, Err *err)
{
	AUTO_ERR said = ERR_INIT;
	struct pollfd wait = { .fd = p->in, .events = POLLIN };
	uint8_t type;
	if (p->failed)
		return err ? err->code : -EPIPE;
	while (poll(&wait, 1, 1000) == 1)
		if (ship_peer_receive(p, &type, &said) < 0)
			break;
	bool told = p->failed && p->frame.len;
	p->failed = true;
	return told ? err_move(err, &said) : err_set(err, -EPIPE, "the connection to the %s was cut", p->name);
}

int ship_peer_send(ShipPeer *p, uint8_t type, const void *data, size_t n, Err *err)
{
	return frame_send(p->out, type, data, n, err) < 0 ? last_words(p, err) : 0;
}

int ship_peer_send_json(ShipPeer *p, json_t *owned, Err *err)
{
	return frame_send_json(p->out, SHIP_JSON, owned, err) < 0 ? last_words(p, err) : 0;
}

int ship_peer_send_data(ShipPeer *p, uint8_t type, const void *data, size_t n, Err *err)
{
	for (size_t done = 0; done < n;) {
		size_t k = n - done < SHIP_DATA_MAX ? n - done : SHIP_DATA_MAX;
		int r = ship_peer_send(p, type, (const char *) data + done, k, err);
		if (r < 0)
			return r;
		done += k;
	}
	return 0;
}

int ship_peer_check(ShipPeer *p, Err *err)
{
	struct pollfd wait = { .fd = p->in, .events = POLLIN };
	uint8_t type;
	if (poll(&wait, 1, 0) != 1)
		return 0;
	int r = ship_peer_receive(p, &type, err);
	if (r < 0)
		return r;
	p->failed = true;
	return err_set(err, -EPROTO, "the %s speaks out of turn", p->name);
}

/* {"error": "text", "code": -n} of the other side becomes ours. */
static int peer_error(ShipPeer *p, Err *err)
{
	json_t *o = json_loadb(buf_cstr(&p->frame), p->frame.len, JSON_REJECT_DUPLICATES, NULL);
	const char *text = json_string_value(json_object_get(o, "error"));
	json_int_t code = json_integer_value(json_object_get(o, "code"));
	int r = 0;
	if (text)
		r = err_set(err, code < 0 && code > -4096 ? (int) code : -EIO, "the %s: %s", p->name, text);
	json_decref(o);
	return r;
}

/* Looked at before the payload is waited for: one that is announced too long would never come. */
static int check_head(const ShipPeer *p, uint8_t type, size_t n, Err *err)
{
	size_t max = SHIP_DATA_MAX;
	switch (type) {
	case SHIP_JSON:
		max = SHIP_CONTROL_MAX;
		break;
	case SHIP_DATA:
		break;
	case SHIP_SEGMENT:
		return n == SHIP_POSITION ? 0 : err_set(err, -EPROTO, "the %s sent a segment's end that is no position", p->name);
	case SHIP_BLOB:
	case SHIP_INDEX:
		if (n == 0 || n > p->announced)
			return err_set(err, -EPROTO, "the %s sent other data than it announced", p->name);
		break;
	default:
		return err_set(err, -EPROTO, "the %s sent a frame of an unknown kind (%u)", p->name, type);
	}
	return n <= max ? 0 : err_set(err, -EPROTO, "the %s sent a frame of %zu bytes, more than is allowed", p->name, n);
}

static int receive_frame(ShipPeer *p, int patience, uint8_t *ret_type, Err *err)
{
	AUTO_ERR reason = ERR_INIT;
	size_t n;
	int r = frame_receive_head(p->in, patience, ret_type, &n, &reason);
	if (r == 0)
		return err_set(err, -EPIPE, "the %s ended before it was done", p->name);
	if (r == 1) {
		if ((r = check_head(p, *ret_type, n, err)) < 0)
			return r;
		r = frame_receive_payload(p->in, patience, n, n, &p->frame, &reason);
	}
	if (r == -ETIMEDOUT) /* as if it had been cut: a further try may find it well */
		return err_set(err, -ECONNRESET, "the %s stopped in the middle of a frame", p->name);
	if (r < 0) {
		(void) err_move(err, &reason);
		return err_wrap(err, "the %s", p->name);
	}
	return 0;
}

int ship_peer_receive(ShipPeer *p, uint8_t *ret_type, Err *err)
{
	if (p->failed)
		return err_set(err, -EPIPE, "the connection to the %s was cut", p->name);
	buf_clear(&p->frame);
	int r = receive_frame(p, FRAME_PATIENCE, ret_type, err);
	if (r < 0)
		buf_clear(&p->frame);
	else if (*ret_type == SHIP_JSON)
		r = peer_error(p, err);
	p->failed = r < 0;
	return r;
}

/** The document in p->frame, as ship_peer_receive_json gives it. */
static int ship_peer_json(ShipPeer *p, json_t **ret, const char **ret_key, Err *err)
{
	json_error_t e;
	json_t *o = json_loadb(buf_cstr(&p->frame), p->frame.len, JSON_REJECT_DUPLICATES, &e);
	if (!o)
		return err_set(err, -EPROTO, "the %s sent something that is no JSON: %s", p->name, e.text);
	const char *key = json_object_iter_key(json_object_iter(o));
	if (!key) {
		json_decref(o);
		return err_set(err, -EPROTO, "the %s sent a document without a key", p->name);
	}
	*ret = o;
	*ret_key = key;
	return 0;
}

int ship_peer_receive_json(ShipPeer *p, json_t **ret, const char **ret_key, Err *err)
{
	uint8_t type;
	int r = ship_peer_receive(p, &type, err);
	if (r < 0)
		return r;
	if (type != SHIP_JSON)
		return err_set(err, -EPROTO, "the %s sent data where a document was due", p->name);
	return ship_peer_json(p, ret, ret_key, err);
}

int ship_peer_receive_data(ShipPeer *p, uint8_t type, size_t n, Buf *ret, Err *err)
{
	uint8_t found;
	for (p->announced = n; p->announced;) {
		int r = ship_peer_receive(p, &found, err);
		if (r < 0)
			return r;
		if (found != type)
			return err_set(err, -EPROTO, "the %s sent something else than the data it announced", p->name);
		buf_append(ret, p->frame.data, p->frame.len);
		p->announced -= p->frame.len;
	}
	return 0;
}

void ship_peer_give_up(ShipPeer *p, int code, const Err *why)
{
	AUTO_ERR err = ERR_INIT;
	struct pollfd wait = { .fd = p->in, .events = POLLIN };
	int64_t end = time_mono() + GIVE_UP_WAIT;
	uint8_t type;
	if (p->failed)
		return;
	json_t *o = json_pack("{s:s, s:i}", "error", err_text(why), "code", code);
	if (!o) /* the text has bytes that are no UTF-8 */
		o = json_pack("{s:s, s:i}", "error", "it failed", "code", code);
	if (frame_send_json(p->out, SHIP_JSON, o, &err) < 0)
		return;
	for (int64_t left; (left = end - time_mono()) > 0;)
		if (poll(&wait, 1, (int) (left / NSEC_PER_MSEC)) != 1 || receive_frame(p, (int) (left / NSEC_PER_MSEC), &type, NULL) < 0)
			break;
}
