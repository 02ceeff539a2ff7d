// SPDX-License-Identifier: Apache-2.0
/*
 * How it works: one poll(2) a turn over the link, the channels and what the caller watches beside them. What comes over the
 * link goes through `in` frame by frame; what goes there is queued in `out`. A channel's socket is read only while its window
 * has room and `out` is short, one piece a turn, so channels share the link evenly and a slow link slows those that write.
 * What cannot be written to a channel's socket yet waits in its `pending`, which the window bounds.
 *
 * Half-close and close are told apart as on a unix socket, by poll's POLLHUP: end of file alone is E, with POLLHUP it is R. The
 * receiver of an R still writes what is pending, then closes, so that an answer followed by a close arrives whole. Frames for a channel
 * that has gone here already were on their way: they are ignored.
 */
#include "io/mux.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"

#define HEADER 8
#define CHANNEL_LAST 0xffffffU
#define OUT_SHORT (256U << 10) /* no more is read from channels beyond it */
#define PIECE (32U << 10)
#define QUOTE_MAX 200

typedef struct Channel {
	uint32_t id;
	int fd;
	Buf pending; /* to be written to fd */
	size_t pending_at;
	uint32_t may_send, may_receive; /* what is left of the windows */
	uint32_t taken;                 /* written to fd, not yet granted anew */
	bool ended;                     /* we have sent E, or got R: fd is not read any more */
	bool peer_ended;                /* E has come */
	bool peer_gone;                 /* R has come */
	bool deaf;                      /* nobody reads what we write to fd */
	bool over;                      /* to be freed */
	size_t slot;                    /* in the array for poll; 0 = not watched */
} Channel;

struct Mux {
	MuxOptions o;
	Channel *channels[MUX_CHANNELS_MAX];
	size_t n_channels;
	uint32_t last; /* highest number in use so far */
	Buf in, out;
	size_t out_at;
	bool greeted;
	int silent; /* ticks in a row */
	int64_t tick_at;
	struct pollfd fds[2 + MUX_EXTRA_MAX + MUX_CHANNELS_MAX];
	size_t n_fds;
};

/* ---- frames out ---- */

static void put_frame(Mux *m, char type, uint32_t channel, const void *p, size_t n)
{
	const uint8_t h[HEADER] = { (uint8_t) type, (uint8_t) (channel >> 16), (uint8_t) (channel >> 8), (uint8_t) channel, (uint8_t) (n >> 24),
		(uint8_t) (n >> 16), (uint8_t) (n >> 8), (uint8_t) n };
	buf_append(&m->out, h, sizeof(h));
	if (n)
		buf_append(&m->out, p, n);
}

static void put_json(Mux *m, char type, uint32_t channel, const json_t *o)
{
	AUTO_FREE char *text = json_dumps(o, JSON_COMPACT);
	put_frame(m, type, channel, text, strlen(text));
}

static void grant(Mux *m, Channel *c)
{
	const uint8_t n[4] = { (uint8_t) (c->taken >> 24), (uint8_t) (c->taken >> 16), (uint8_t) (c->taken >> 8), (uint8_t) c->taken };
	put_frame(m, 'W', c->id, n, sizeof(n));
	c->may_receive += c->taken;
	c->taken = 0;
}

/* ---- channels ---- */

static int set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

static Channel *channel_find(const Mux *m, uint32_t id)
{
	for (size_t i = 0; i < m->n_channels; i++)
		if (m->channels[i]->id == id && !m->channels[i]->over)
			return m->channels[i];
	return NULL;
}

static Channel *channel_new(Mux *m, uint32_t id, int fd)
{
	Channel *c = xcalloc(1, sizeof(*c));
	*c = (Channel) { .id = id, .fd = fd, .may_send = MUX_WINDOW, .may_receive = MUX_WINDOW };
	m->channels[m->n_channels++] = c;
	return c;
}

static void channel_free(Channel *c)
{
	if (c->fd >= 0)
		(void) close(c->fd);
	buf_done(&c->pending);
	free(c);
}

/* Our side has gone: the other one is to close, too. */
static void channel_reset(Mux *m, Channel *c)
{
	if (!c->peer_gone)
		put_frame(m, 'R', c->id, NULL, 0);
	c->over = true;
}

static void sweep(Mux *m)
{
	size_t kept = 0;
	for (size_t i = 0; i < m->n_channels; i++) {
		if (m->channels[i]->over)
			channel_free(m->channels[i]);
		else
			m->channels[kept++] = m->channels[i];
	}
	m->n_channels = kept;
}

static void channel_flush(Mux *m, Channel *c)
{
	while (c->pending.len > c->pending_at) {
		ssize_t n = send(c->fd, c->pending.data + c->pending_at, c->pending.len - c->pending_at, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			c->deaf = true;
			n = (ssize_t) (c->pending.len - c->pending_at);
		}
		c->pending_at += (size_t) n;
		c->taken += (uint32_t) n;
	}
	bool empty = c->pending_at == c->pending.len;
	if (empty || c->pending_at >= MUX_WINDOW / 2) {
		buf_consume(&c->pending, c->pending_at);
		c->pending_at = 0;
	}
	if (c->peer_gone) {
		c->over = empty;
		return;
	}
	if (c->taken >= MUX_WINDOW / 4 && !c->peer_ended)
		grant(m, c);
	if (!empty || !c->peer_ended)
		return;
	(void) shutdown(c->fd, SHUT_WR);
	c->over = c->ended;
}

static bool can_read(const Mux *m, const Channel *c)
{
	return !c->ended && c->may_send && m->out.len - m->out_at < OUT_SHORT;
}

static void channel_read(Mux *m, Channel *c, bool hangup)
{
	char p[PIECE];
	ssize_t n = recv(c->fd, p, c->may_send < PIECE ? c->may_send : PIECE, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		c->may_send -= (uint32_t) n;
		put_frame(m, 'D', c->id, p, (size_t) n);
	} else if (n < 0 || hangup) {
		channel_reset(m, c);
	} else {
		put_frame(m, 'E', c->id, NULL, 0);
		c->ended = true;
		c->over = c->peer_ended && c->pending.len == c->pending_at;
	}
}

static void channel_ready(Mux *m, Channel *c, int events)
{
	bool hangup = events & (POLLHUP | POLLERR | POLLNVAL);
	if (events & (POLLOUT | POLLERR | POLLHUP))
		channel_flush(m, c);
	if (c->over)
		return;
	if (can_read(m, c) && (events & (POLLIN | POLLHUP | POLLERR)))
		channel_read(m, c, hangup);
	else if (c->ended && hangup)
		channel_reset(m, c);
}

/* ---- frames in ---- */

static int broken(Err *err, const char *what)
{
	return err_set(err, -EPROTO, "the other side does not keep to the protocol: %s", what);
}

static int take_greeting(Mux *m, const char *p, size_t n, Err *err)
{
	json_t *o = json_loadb(p, n, JSON_REJECT_DUPLICATES, NULL);
	int r = json_is_object(o) ? m->o.greeted(m->o.user, o, err) : broken(err, "its greeting is not a JSON object");
	json_decref(o);
	m->greeted = r >= 0;
	return r < 0 ? r : 0;
}

static void refuse(Mux *m, uint32_t channel, const Err *why)
{
	json_t *o = json_pack("{s:s}", "error", err_text(why));
	put_json(m, 'R', channel, o);
	json_decref(o);
}

static int take_open(Mux *m, uint32_t channel, const char *p, size_t n, Err *err)
{
	AUTO_ERR why = ERR_INIT;
	int fd = -1;
	if (m->o.client || channel <= m->last)
		return broken(err, "it opens a channel that it may not open");
	m->last = channel;
	int r = m->n_channels >= MUX_CHANNELS_MAX
			? err_set(&why, -EMFILE, "%d connections at once are too many", MUX_CHANNELS_MAX)
			: m->o.accept(m->o.user, &fd, &why);
	if (r >= 0 && set_nonblocking(fd) < 0) {
		r = err_errno(&why, -errno, "connection to the daemon");
		(void) close(fd);
	}
	if (r < 0)
		refuse(m, channel, &why);
	else
		(void) channel_new(m, channel, fd);
	return 0;
}

static int take_data(Mux *m, uint32_t channel, const char *p, size_t n, Err *err)
{
	Channel *c = channel_find(m, channel);
	if (!c)
		return 0;
	if (c->peer_ended || c->peer_gone)
		return broken(err, "data come after their end");
	if (n > c->may_receive)
		return broken(err, "it sends more than it may");
	c->may_receive -= (uint32_t) n;
	if (c->deaf)
		c->taken += (uint32_t) n;
	else
		buf_append(&c->pending, p, n);
	channel_flush(m, c);
	return 0;
}

static int take_window(Mux *m, uint32_t channel, const char *p, size_t n, Err *err)
{
	const uint8_t *b = (const uint8_t *) p;
	Channel *c = channel_find(m, channel);
	if (n != 4)
		return broken(err, "a window of no size");
	uint32_t more = (uint32_t) b[0] << 24 | (uint32_t) b[1] << 16 | (uint32_t) b[2] << 8 | b[3];
	if (!c)
		return 0;
	if (more > MUX_WINDOW - c->may_send)
		return broken(err, "a window that is too large");
	c->may_send += more;
	return 0;
}

static int take_end(Mux *m, uint32_t channel, const char *p, size_t n, Err *err)
{
	Channel *c = channel_find(m, channel);
	if (!c)
		return 0;
	c->peer_ended = true;
	channel_flush(m, c);
	return 0;
}

static int take_reset(Mux *m, uint32_t channel, const char *p, size_t n, Err *err)
{
	Channel *c = channel_find(m, channel);
	json_t *o = n ? json_loadb(p, n, JSON_REJECT_DUPLICATES, NULL) : NULL;
	const char *text = json_string_value(json_object_get(o, "error"));
	if (c && text && m->o.refused)
		m->o.refused(m->o.user, channel, text);
	json_decref(o);
	if (!c)
		return 0;
	c->ended = c->peer_gone = true;
	channel_flush(m, c);
	return 0;
}

static int take_ping(Mux *m, uint32_t channel, const char *p, size_t n, Err *err)
{
	put_frame(m, 'Q', 0, NULL, 0);
	return 0;
}

static int take_pong(Mux *m, uint32_t channel, const char *p, size_t n, Err *err)
{
	return 0;
}

static const struct {
	char type;
	bool on_channel; /* else channel 0 */
	size_t max;
	int (*take)(Mux *m, uint32_t channel, const char *p, size_t n, Err *err);
} kinds[] = {
	{ 'O', true, 0, take_open },
	{ 'D', true, MUX_PAYLOAD_MAX, take_data },
	{ 'W', true, 4, take_window },
	{ 'E', true, 0, take_end },
	{ 'R', true, MUX_PAYLOAD_MAX, take_reset },
	{ 'P', false, 0, take_ping },
	{ 'Q', false, 0, take_pong },
};

/* Says what came instead of a greeting: most likely the words of a shell's start-up files, or of another program. */
static int not_greeted(const Mux *m, Err *err)
{
	AUTO_BUF quote = BUF_INIT;
	for (size_t i = 0; i < m->in.len && quote.len < QUOTE_MAX; i++) {
		char c = m->in.data[i];
		if (c == '\n' && quote.len)
			break;
		if (c >= ' ' && c < 0x7f)
			buf_char(&quote, c);
	}
	return err_set(err, -EPROTO, "the answer is not stead's, it begins with \"%s\"", buf_cstr(&quote));
}

static int take_frame(Mux *m, const uint8_t h[HEADER], const char *payload, size_t n, Err *err)
{
	uint32_t channel = (uint32_t) h[1] << 16 | (uint32_t) h[2] << 8 | h[3];
	if (!m->greeted)
		return take_greeting(m, payload, n, err);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (kinds[i].type != h[0])
			continue;
		if (kinds[i].on_channel != (channel != 0) || n > kinds[i].max)
			break;
		if (m->o.client && channel > m->last)
			return broken(err, "a channel that nobody has opened");
		return kinds[i].take(m, channel, payload, n, err);
	}
	return broken(err, "an unknown kind of frame");
}

static size_t frame_length(const uint8_t *h)
{
	return (size_t) h[4] << 24 | (size_t) h[5] << 16 | (size_t) h[6] << 8 | h[7];
}

int mux_feed(Mux *m, const void *p, size_t n, Err *err)
{
	size_t at = 0;
	buf_append(&m->in, p, n);
	while (m->in.len > at) {
		const uint8_t *h = (const uint8_t *) m->in.data + at;
		size_t have = m->in.len - at;
		/* Looked at before the header is whole: words must not be waited for as if they were a length. */
		if (!m->greeted && (h[0] != 'H' || (have > 1 && h[1])))
			return not_greeted(m, err);
		if (have < HEADER)
			break;
		size_t len = frame_length(h);
		if (!m->greeted && (h[2] || h[3] || len > MUX_GREETING_MAX))
			return not_greeted(m, err);
		if (len > MUX_PAYLOAD_MAX)
			return broken(err, "a frame that is too long");
		if (have < HEADER + len)
			break;
		int r = take_frame(m, h, (const char *) h + HEADER, len, err);
		if (r < 0)
			return r;
		at += HEADER + len;
	}
	buf_consume(&m->in, at);
	return 0;
}

/* ---- the link ---- */

static int link_lost(Err *err, int r)
{
	return err_errno(err, r, "the connection was lost");
}

/* > 0: go on; 0: its end. */
static int link_read(Mux *m, Err *err)
{
	AUTO_FREE char *p = xmalloc(MUX_PAYLOAD_MAX);
	ssize_t n = read(m->o.in, p, MUX_PAYLOAD_MAX);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 1;
	if (n < 0)
		return link_lost(err, -errno);
	if (n == 0 && m->in.len)
		return m->greeted ? err_set(err, -ECONNRESET, "the connection was lost in the middle of what was sent") : not_greeted(m, err);
	if (n == 0)
		return 0;
	m->silent = 0;
	m->tick_at = 0;
	int r = mux_feed(m, p, (size_t) n, err);
	return r < 0 ? r : 1;
}

static int link_write(Mux *m, Err *err)
{
	while (m->out.len > m->out_at) {
		ssize_t n = write(m->o.out, m->out.data + m->out_at, m->out.len - m->out_at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		/* Nobody reads any more. What has been said before that is worth reading, and the end follows it. */
		if (n < 0 && (errno == EPIPE || errno == ECONNRESET)) {
			m->out_at = m->out.len;
			break;
		}
		if (n < 0)
			return link_lost(err, -errno);
		m->out_at += (size_t) n;
	}
	if (m->out_at == m->out.len || m->out_at >= OUT_SHORT) {
		buf_consume(&m->out, m->out_at);
		m->out_at = 0;
	}
	return 0;
}

static int tick(Mux *m, Err *err)
{
	int64_t now = time_mono();
	if (!m->o.tick_ms)
		return 0;
	if (!m->tick_at)
		m->tick_at = now + m->o.tick_ms * NSEC_PER_MSEC;
	if (now < m->tick_at)
		return 0;
	m->tick_at = now + m->o.tick_ms * NSEC_PER_MSEC;
	/* Connecting takes as long as ssh allows, and as people need for a password. */
	if (m->o.client && !m->greeted)
		return 0;
	if (++m->silent > m->o.ticks)
		return err_set(err, -ETIMEDOUT, "the other side has not answered for %lld seconds", (long long) m->o.tick_ms * m->o.ticks / 1000);
	if (m->o.client)
		put_frame(m, 'P', 0, NULL, 0);
	return 0;
}

static size_t watch(Mux *m, int fd, short events)
{
	m->fds[m->n_fds] = (struct pollfd) { .fd = fd, .events = events };
	return m->n_fds++;
}

static void watch_channels(Mux *m)
{
	for (size_t i = 0; i < m->n_channels; i++) {
		Channel *c = m->channels[i];
		bool in = can_read(m, c), out = c->pending.len > c->pending_at;
		/* POLLHUP comes unasked: where nothing could be done about it, it would keep us from sleeping. */
		c->slot = in || out || c->ended ? watch(m, c->fd, (short) ((in ? POLLIN : 0) | (out ? POLLOUT : 0))) : 0;
	}
}

static int poll_time(const Mux *m)
{
	if (!m->o.tick_ms)
		return -1;
	int64_t left = m->tick_at - time_mono();
	return left > 0 ? (int) (left / NSEC_PER_MSEC) + 1 : 0;
}

int mux_turn(Mux *m, struct pollfd *extra, size_t n_extra, Err *err)
{
	int r = tick(m, err);
	if (r < 0)
		return r;
	assert(n_extra <= MUX_EXTRA_MAX);
	m->n_fds = 0;
	size_t in = watch(m, m->o.in, POLLIN);
	bool writing = m->out.len > m->out_at;
	size_t out = writing ? watch(m, m->o.out, POLLOUT) : in;
	size_t first = m->n_fds;
	for (size_t i = 0; i < n_extra; i++)
		(void) watch(m, extra[i].fd, POLLIN);
	watch_channels(m);
	while ((r = poll(m->fds, m->n_fds, poll_time(m))) < 0 && errno == EINTR)
		;
	if (r < 0)
		return err_errno(err, -errno, "poll");
	for (size_t i = 0; i < n_extra; i++)
		extra[i].revents = m->fds[first + i].revents;
	size_t n = m->n_channels; /* those that were watched; link_read may add more */
	for (size_t i = 0; i < n; i++)
		if (m->channels[i]->slot && m->fds[m->channels[i]->slot].revents)
			channel_ready(m, m->channels[i], m->fds[m->channels[i]->slot].revents);
	r = writing && m->fds[out].revents ? link_write(m, err) : 0;
	if (r == 0)
		r = m->fds[in].revents ? link_read(m, err) : 1;
	/* What has come up meanwhile: most of the time the pipe takes it, and spares a turn. */
	int w = r > 0 && m->out.len > m->out_at ? link_write(m, err) : 0;
	if (w < 0)
		r = w;
	sweep(m);
	return r;
}

/* ---- life ---- */

int mux_new(const MuxOptions *o, const json_t *greeting, Mux **ret, Err *err)
{
	int r = set_nonblocking(o->in);
	if (r == 0)
		r = set_nonblocking(o->out);
	if (r < 0)
		return err_errno(err, r, "the pipes to ssh");
	Mux *m = xcalloc(1, sizeof(*m));
	m->o = *o;
	put_json(m, 'H', 0, greeting);
	*ret = m;
	return 0;
}

void mux_free(Mux *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->n_channels; i++)
		channel_free(m->channels[i]);
	buf_done(&m->in);
	buf_done(&m->out);
	free(m);
}

uint32_t mux_open(Mux *m, int fd)
{
	bool full = m->last == CHANNEL_LAST || m->n_channels >= MUX_CHANNELS_MAX;
	m->last += m->last < CHANNEL_LAST;
	if (full || set_nonblocking(fd) < 0) {
		(void) close(fd);
		return 0;
	}
	put_frame(m, 'O', m->last, NULL, 0);
	(void) channel_new(m, m->last, fd);
	return m->last;
}

bool mux_greeted(const Mux *m)
{
	return m->greeted;
}
