// SPDX-License-Identifier: Apache-2.0
/*
 * How it works: one poll loop. A direction reads only while less than BACKLOG bytes wait on its other side, so a slow receiver holds back the
 * sender through all buffers in between. When one side has ended, the other is told so by a half-close; the receiver
 * then still says how far it came. Without a receiver there is nothing to wait for: the sender is left.
 */
#include "cli/ship-relay.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "cli/signals.h"
#include "cli/worker.h"

#define BACKLOG (256U << 10)
#define CONTROL_MAX (1U << 20)
#define REPORT_MAX (1U << 20)
#define TICK_MS 100
#define LAST_WORD_WAIT (10 * NSEC_PER_SEC) /* for the receiver, when the sender has failed */

void ship_end_open(ShipEnd *e, int read_fd, int write_fd)
{
	e->read_fd = read_fd;
	e->write_fd = write_fd;
	(void) fcntl(read_fd, F_SETFL, O_NONBLOCK);
	(void) fcntl(write_fd, F_SETFL, O_NONBLOCK);
}

static void close_write(ShipEnd *e)
{
	if (e->write_fd < 0)
		return;
	if (shutdown(e->write_fd, SHUT_WR) < 0 && e->write_fd != e->read_fd) /* ENOTSOCK: a pipe */
		(void) close(e->write_fd);
	else if (e->write_fd != e->read_fd)
		(void) close(e->write_fd);
	e->write_fd = -1;
}

void ship_end_done(ShipEnd *e)
{
	if (e->write_fd >= 0 && e->write_fd != e->read_fd)
		(void) close(e->write_fd);
	if (e->read_fd >= 0)
		(void) close(e->read_fd);
	if (e->report_fd >= 0)
		(void) close(e->report_fd);
	json_decref(e->last);
	buf_done(&e->report);
	*e = (ShipEnd) SHIP_END_INIT;
}

void relay_init(Relay *r)
{
	*r = (Relay) { .sender = SHIP_END_INIT, .receiver = SHIP_END_INIT };
	r->there.from = r->back.to = &r->sender;
	r->there.to = r->back.from = &r->receiver;
}

void relay_done(Relay *r)
{
	ship_end_done(&r->sender);
	ship_end_done(&r->receiver);
	ShipLane *const lanes[] = { &r->there, &r->back };
	for (size_t i = 0; i < ARRAY_SIZE(lanes); i++) {
		buf_done(&lanes[i]->out);
		buf_done(&lanes[i]->control);
	}
}

/* ── frames ───────────────────────────────────────────────────────── */

static int control_done(Relay *r, ShipLane *l, Err *err)
{
	if (l->header[0] == 'S') {
		uint64_t position;
		if (l->control.len == sizeof(position) && r->position && l == &r->there) {
			memcpy(&position, l->control.data, sizeof(position));
			r->position(r->user, be64toh(position));
		}
		return 0;
	}
	json_t *value = json_loadb(buf_cstr(&l->control), l->control.len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(value)) {
		json_decref(value);
		return err_set(err, -EPROTO, "the %s sent something that is no ship: is it a stead?", l == &r->there ? "sender" : "receiver");
	}
	if (l->header[0] == 'E') {
		json_decref(l->from->last);
		l->from->last = json_incref(value);
	} else if (r->control) {
		r->control(r->user, l == &r->there, value);
	}
	json_decref(value);
	return 0;
}

static int header_done(Relay *r, ShipLane *l, Err *err)
{
	const uint8_t *h = l->header;
	int64_t n = frame_length(h);
	l->left = (uint32_t) n;
	bool known = h[0] >= 'A' && h[0] <= 'Z' && n >= 0;
	if (!known || l->left > CONTROL_MAX)
		return err_set(err, -EPROTO, "the %s sent something that is no ship: is it a stead?", l == &r->there ? "sender" : "receiver");
	if (h[0] != 'E')
		buf_append(&l->out, h, FRAME_HEADER);
	buf_clear(&l->control);
	return 0;
}

int relay_feed(Relay *r, ShipLane *l, const void *p, size_t n, Err *err)
{
	const char *at = p;
	size_t before = l->out.len;
	int e = 0;
	while (e == 0 && n) {
		if (l->header_len < FRAME_HEADER) {
			l->header[l->header_len++] = (uint8_t) *at++;
			n--;
			if (l->header_len < FRAME_HEADER)
				continue;
			e = header_done(r, l, err);
		}
		size_t piece = n < l->left ? n : l->left;
		uint8_t type = l->header[0];
		if (e < 0)
			break;
		if (type != 'E')
			buf_append(&l->out, at, piece);
		bool looked_at = type == 'E' || type == 'J' || type == 'S';
		if (looked_at)
			buf_append(&l->control, at, piece);
		else if (type == 'D' && l == &r->there && r->data && piece)
			r->data(r->user, piece);
		at += piece;
		n -= piece;
		l->left -= (uint32_t) piece;
		if (l->left)
			continue;
		l->header_len = 0;
		if (looked_at)
			e = control_done(r, l, err);
	}
	l->bytes += l->out.len - before;
	return e;
}

/* ── the loop ─────────────────────────────────────────────────────── */

static int lane_read(Relay *r, ShipLane *l, Err *err)
{
	char piece[65536];
	ssize_t n = read(l->from->read_fd, piece, sizeof(piece));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		l->ended = true;
		return 0;
	}
	return relay_feed(r, l, piece, (size_t) n, err);
}

static void lane_write(ShipLane *l)
{
	ssize_t n = write(l->to->write_fd, l->out.data, l->out.len);
	if (n > 0)
		buf_consume(&l->out, (size_t) n);
	else if (n < 0 && errno != EAGAIN && errno != EINTR) /* it has ended: its own last word says how */
		close_write(l->to);
}

static void lane_settle(ShipLane *l)
{
	if (l->to->write_fd < 0)
		buf_clear(&l->out);
	if (l->ended && !l->out.len && !l->shut) {
		close_write(l->to);
		l->shut = true;
	}
}

static void report_read(ShipEnd *e)
{
	char *p = buf_reserve(&e->report, 4096);
	ssize_t n = read(e->report_fd, p, 4096);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		buf_added(&e->report, (size_t) n);
	if (n <= 0 || e->report.len > REPORT_MAX) {
		(void) close(e->report_fd);
		e->report_fd = -1;
	}
	worker_report_lines(&e->report, &e->last);
}

static bool failed(const ShipEnd *e)
{
	return json_object_get(e->last, "error") != NULL;
}

enum { AT_THERE_IN, AT_THERE_OUT, AT_BACK_IN, AT_BACK_OUT, AT_REPORT, N_FDS };

static int relay_step(Relay *r, Err *err)
{
	ShipLane *const lanes[] = { &r->there, &r->back };
	struct pollfd fds[N_FDS];
	for (size_t i = 0; i < 2; i++) {
		const ShipLane *l = lanes[i];
		fds[2 * i] = (struct pollfd) { .fd = l->ended || l->out.len >= BACKLOG ? -1 : l->from->read_fd, .events = POLLIN };
		fds[2 * i + 1] = (struct pollfd) { .fd = l->out.len ? l->to->write_fd : -1, .events = POLLOUT };
	}
	fds[AT_REPORT] = (struct pollfd) { .fd = r->sender.report_fd, .events = POLLIN };
	int n = signals_poll(fds, N_FDS, TICK_MS);
	if (n < 0)
		return err_errno(err, n, "poll");
	for (size_t i = 0; i < 2; i++) {
		if (fds[2 * i + 1].revents)
			lane_write(lanes[i]);
		int e = fds[2 * i].revents ? lane_read(r, lanes[i], err) : 0;
		if (e < 0)
			return e;
		lane_settle(lanes[i]);
	}
	if (fds[AT_REPORT].revents)
		report_read(&r->sender);
	return 0;
}

/* What the sender still has to say. */
static void hear_sender(Relay *r)
{
	int64_t until = time_mono() + LAST_WORD_WAIT;
	while (time_mono() < until && !r->sender.last && (r->sender.report_fd >= 0 || !r->there.ended) && relay_step(r, NULL) == 0)
		buf_clear(&r->there.out);
}

int relay_run(Relay *r, Err *err)
{
	int64_t give_up_at = 0;
	(void) signal(SIGPIPE, SIG_IGN);
	while (!r->back.ended) {
		int e = relay_step(r, err);
		if (e < 0)
			return e;
		if (signals_ended())
			return 1;
		if (r->tick)
			r->tick(r->user);
		if (r->there.ended && !give_up_at && (failed(&r->sender) || !r->sender.last))
			give_up_at = time_mono() + LAST_WORD_WAIT;
		if (give_up_at && time_mono() > give_up_at && (failed(&r->sender) || (!r->sender.last && r->sender.report_fd < 0)))
			break;
	}
	if (!json_object_get(r->receiver.last, "result"))
		hear_sender(r);
	return 0;
}
