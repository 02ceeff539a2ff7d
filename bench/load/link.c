// SPDX-License-Identifier: Apache-2.0
#include "bench/load/link.h"

#include <errno.h>
#include <openssl/err.h>
#include <string.h>

#include "base/mem.h"

struct Link {
	uv_tcp_t tcp;
	uv_connect_t connect;
	const LinkEvents *events;
	void *user;
	SSL *ssl; /* NULL: plain */
	BIO *from, *to; /* bytes from and to the network; they belong to ssl */
	bool h2, ready, closed;
};

typedef struct Write {
	uv_write_t req;
	char data[];
} Write;

static char read_space[256 * 1024]; /* one loop, and read callbacks do not nest */

static void on_closed(uv_handle_t *h)
{
	Link *l = h->data;
	SSL_free(l->ssl);
	free(l);
}

void link_close(Link *l)
{
	if (!l || l->closed)
		return;
	l->closed = true;
	uv_close((uv_handle_t *) &l->tcp, on_closed);
}

static void link_end(Link *l, int why)
{
	if (l->closed)
		return;
	link_close(l);
	l->events->end(l->user, why, l->ready);
}

static void on_written(uv_write_t *req, int status)
{
	(void) status; /* see link_send */
	free(req->data);
}

static void raw_send(Link *l, const char *p, size_t n)
{
	uv_buf_t buf = uv_buf_init((char *) p, (unsigned) n);
	int sent = uv_try_write((uv_stream_t *) &l->tcp, &buf, 1);

	if (sent == (int) n || (sent < 0 && sent != UV_EAGAIN))
		return;
	size_t done = sent > 0 ? (size_t) sent : 0;
	Write *w = xmalloc(sizeof *w + n - done);
	memcpy(w->data, p + done, n - done);
	w->req.data = w;
	buf = uv_buf_init(w->data, (unsigned) (n - done));
	if (uv_write(&w->req, (uv_stream_t *) &l->tcp, &buf, 1, on_written) < 0)
		free(w);
}

static void tls_flush(Link *l)
{
	char out[16 * 1024];
	int n;

	while ((n = BIO_read(l->to, out, sizeof out)) > 0)
		raw_send(l, out, (size_t) n);
}

void link_send(Link *l, const void *p, size_t n)
{
	if (!l->ssl) {
		raw_send(l, p, n);
		return;
	}
	(void) SSL_write(l->ssl, p, (int) n); /* the BIO in memory takes it all */
	tls_flush(l);
}

static void link_ready(Link *l)
{
	l->ready = true;
	l->events->ready(l->user);
}

static bool alpn_is_h2(const Link *l)
{
	const unsigned char *name;
	unsigned len;

	SSL_get0_alpn_selected(l->ssl, &name, &len);
	return len == 2 && memcmp(name, "h2", 2) == 0;
}

static void tls_read(Link *l, const char *p, size_t n)
{
	char in[16 * 1024];
	int got;

	(void) BIO_write(l->from, p, (int) n);
	if (!l->ready) {
		int done = SSL_do_handshake(l->ssl);
		tls_flush(l);
		if (done == 1 && l->h2 && !alpn_is_h2(l))
			link_end(l, -EPROTO);
		else if (done == 1)
			link_ready(l);
		else if (SSL_get_error(l->ssl, done) != SSL_ERROR_WANT_READ)
			link_end(l, -EPROTO);
	}
	while (!l->closed && l->ready && (got = SSL_read(l->ssl, in, sizeof in)) > 0)
		l->events->data(l->user, in, (size_t) got);
	ERR_clear_error();
	if (!l->closed)
		tls_flush(l); /* key updates */
	if (!l->closed && SSL_get_shutdown(l->ssl) & SSL_RECEIVED_SHUTDOWN)
		link_end(l, 0);
}

static void on_alloc(uv_handle_t *h, size_t wanted, uv_buf_t *buf)
{
	(void) h, (void) wanted;
	*buf = uv_buf_init(read_space, sizeof read_space);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	Link *l = s->data;

	if (l->closed || n == 0)
		return;
	if (n < 0)
		link_end(l, n == UV_EOF ? 0 : (int) n);
	else if (l->ssl)
		tls_read(l, buf->base, (size_t) n);
	else
		l->events->data(l->user, buf->base, (size_t) n);
}

static void on_connected(uv_connect_t *req, int status)
{
	Link *l = req->data;

	if (l->closed)
		return;
	if (status == 0)
		status = uv_read_start((uv_stream_t *) &l->tcp, on_alloc, on_read);
	if (status < 0) {
		link_end(l, status);
		return;
	}
	(void) uv_tcp_nodelay(&l->tcp, 1);
	if (!l->ssl) {
		link_ready(l);
		return;
	}
	(void) SSL_do_handshake(l->ssl);
	tls_flush(l);
}

static void link_tls(Link *l, const LinkTarget *target)
{
	static const unsigned char h2[] = "\x02h2", h1[] = "\x08http/1.1";

	l->ssl = SSL_new(target->tls);
	l->from = BIO_new(BIO_s_mem());
	l->to = BIO_new(BIO_s_mem());
	SSL_set_bio(l->ssl, l->from, l->to);
	SSL_set_connect_state(l->ssl);
	(void) SSL_set_tlsext_host_name(l->ssl, target->host);
	(void) SSL_set_alpn_protos(l->ssl, l->h2 ? h2 : h1, l->h2 ? sizeof h2 - 1 : sizeof h1 - 1);
}

Link *link_open(uv_loop_t *loop, const LinkTarget *target, bool h2, const LinkEvents *events, void *user)
{
	Link *l = xcalloc(1, sizeof *l);

	l->events = events;
	l->user = user;
	l->h2 = h2;
	l->tcp.data = l->connect.data = l;
	(void) uv_tcp_init(loop, &l->tcp);
	if (target->tls)
		link_tls(l, target);
	/* libuv reports what connect(2) refuses at once later, too; what it returns here is a lack of descriptors. */
	int r = uv_tcp_connect(&l->connect, &l->tcp, (const struct sockaddr *) &target->address, on_connected);
	if (r < 0) {
		fprintf(stderr, "load: connect: %s\n", uv_strerror(r));
		exit(2);
	}
	return l;
}
