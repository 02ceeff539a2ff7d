// SPDX-License-Identifier: Apache-2.0
/*
 * Redirects are not followed here: whether one may be, and with which headers, is for who asked (image/fetch.c). HTTP/1.1 only, since a paused
 * stream of HTTP/2 goes on filling memory up to its window, and since what is worth the multiplexing here is a few large bodies.
 */
#include "fetch/transfer.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <strings.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "base/fetch-protocol.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"

#define CONNECT_SECONDS 15L
#define STALL_SECONDS 60L
#define STALL_BYTES 16L /* a second, on average: less counts as nothing */
#define CHUNK (64L << 10)

struct Transfer {
	CURLM *multi;
	CURL *curl; /* NULL until the request is whole */
	struct curl_slist *headers;
	int up, down;
	Buf in;  /* of `up`, until the request is whole; then the body's beginning */
	Buf out; /* for `down` */
	json_t *answer; /* header fields by name in lower case */
	size_t header_bytes;
	bool headed;    /* 'H' was written */
	bool receiving_paused, sending_paused;
	bool ended;     /* 'E' was written */
	bool gone;      /* the reader has closed */
	char error[CURL_ERROR_SIZE];
};

Transfer *transfer_new(CURLM *multi, int up, int down)
{
	Transfer *t = xcalloc(1, sizeof(*t));
	t->multi = multi;
	t->up = up;
	t->down = down;
	t->answer = json_object();
	return t;
}

void transfer_free(Transfer *t)
{
	if (!t)
		return;
	if (t->curl) {
		(void) curl_multi_remove_handle(t->multi, t->curl);
		curl_easy_cleanup(t->curl);
	}
	curl_slist_free_all(t->headers);
	fd_closep(&t->up);
	fd_closep(&t->down);
	buf_done(&t->in);
	buf_done(&t->out);
	json_decref(t->answer);
	free(t);
}

/* ---- frames to the reader ---- */

static void flush(Transfer *t)
{
	while (t->out.len && !t->gone) {
		ssize_t n = write(t->down, t->out.data, t->out.len);
		if (n > 0)
			buf_consume(&t->out, (size_t) n);
		else if (n < 0 && errno == EAGAIN)
			return;
		else if (n == 0 || errno != EINTR)
			t->gone = true;
	}
}

static void put_frame(Transfer *t, char type, const void *p, size_t n)
{
	uint8_t head[FETCH_FRAME_HEADER];
	fetch_frame_header(type, (uint32_t) n, head);
	struct iovec v[] = { { head, sizeof(head) }, { (void *) p, n } };
	/* Only what the pipe does not take at once is copied. */
	ssize_t k = t->out.len || t->gone ? 0 : writev(t->down, v, ARRAY_SIZE(v));
	for (size_t i = 0, done = k > 0 ? (size_t) k : 0; i < ARRAY_SIZE(v); i++) {
		size_t skip = done < v[i].iov_len ? done : v[i].iov_len;
		buf_append(&t->out, (char *) v[i].iov_base + skip, v[i].iov_len - skip);
		done -= skip;
	}
	flush(t);
}

/* Takes ownership. */
static void put_json(Transfer *t, char type, json_t *o)
{
	AUTO_FREE char *text = json_dumps(o, JSON_COMPACT);
	put_frame(t, type, text ? text : "{}", text ? strlen(text) : 2);
	json_decref(o);
}

static void put_end(Transfer *t, const char *kind, const char *text)
{
	if (t->ended)
		return;
	t->ended = true;
	json_t *o = json_object();
	if (kind) {
		(void) json_object_set_new(o, "kind", json_string(kind));
		json_t *error = json_string(text);
		(void) json_object_set_new(o, "error", error ? error : json_string("failed"));
	}
	put_json(t, 'E', o);
}

static void put_head(Transfer *t)
{
	long status = 0;
	char *url = NULL, *redirect = NULL;
	curl_off_t after = 0;
	if (t->headed)
		return;
	t->headed = true;
	(void) curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
	(void) curl_easy_getinfo(t->curl, CURLINFO_EFFECTIVE_URL, &url);
	(void) curl_easy_getinfo(t->curl, CURLINFO_REDIRECT_URL, &redirect);
	(void) curl_easy_getinfo(t->curl, CURLINFO_RETRY_AFTER, &after);
	json_t *o = json_pack("{s:i, s:I, s:O}", "status", (int) status, "retry_after", (json_int_t) after, "headers", t->answer);
	if (url)
		(void) json_object_set_new(o, "url", json_string(url));
	if (redirect)
		(void) json_object_set_new(o, "redirect", json_string(redirect));
	put_json(t, 'H', o);
}

/* ---- what libcurl calls ---- */

static size_t on_body(char *p, size_t size, size_t n, void *user)
{
	Transfer *t = user;
	if (t->gone)
		return 0;
	put_head(t);
	if (t->out.len) {
		t->receiving_paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	put_frame(t, 'D', p, n);
	return t->gone ? 0 : n;
}

static size_t on_upload(char *p, size_t size, size_t n, void *user)
{
	Transfer *t = user;
	size_t max = size * n;
	if (t->in.len) {
		size_t k = t->in.len < max ? t->in.len : max;
		memcpy(p, t->in.data, k);
		buf_consume(&t->in, k);
		return k;
	}
	for (;;) {
		ssize_t k = read(t->up, p, max);
		if (k >= 0)
			return (size_t) k;
		if (errno == EAGAIN) {
			t->sending_paused = true;
			return CURL_READFUNC_PAUSE;
		}
		if (errno != EINTR)
			return CURL_READFUNC_ABORT;
	}
}

/* A field that comes again is one with a comma (RFC 9110, 5.3). */
static void take_header(Transfer *t, const char *line, size_t n)
{
	const char *colon = memchr(line, ':', n);
	if (!colon || colon == line)
		return;
	AUTO_FREE char *name = xstrndup(line, (size_t) (colon - line));
	const char *v = colon + 1, *end = line + n;
	while (v < end && (*v == ' ' || *v == '\t'))
		v++;
	while (end > v && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' ' || end[-1] == '\t'))
		end--;
	AUTO_FREE char *value = xstrndup(v, (size_t) (end - v));
	for (char *p = name; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p += 'a' - 'A';
	if (str_has_control(value))
		return;
	const char *before = json_string_value(json_object_get(t->answer, name));
	json_t *whole = before ? json_sprintf("%s, %s", before, value) : json_string(value);
	if (whole)
		(void) json_object_set_new(t->answer, name, whole);
}

static size_t on_header(char *p, size_t size, size_t n, void *user)
{
	Transfer *t = user;
	t->header_bytes += n;
	if (t->header_bytes > LIMIT_FETCH_HEADERS)
		return 0;
	/* A further answer (after 100 Continue, say) begins anew. */
	if (n > 5 && strncasecmp(p, "HTTP/", 5) == 0)
		(void) json_object_clear(t->answer);
	else
		take_header(t, p, n);
	return n;
}

/* ---- the request ---- */

static void allow_protocols(CURL *c)
{
	/* Both spellings are there, and neither in all versions. */
#if LIBCURL_VERSION_NUM >= 0x075500
	(void) curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
#else
	(void) curl_easy_setopt(c, CURLOPT_PROTOCOLS, (long) (CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
}

static void set_method(Transfer *t, const json_t *o)
{
	const char *method = json_string_value(json_object_get(o, "method"));
	const json_t *length = json_object_get(o, "length");
	CURL *c = t->curl;
	if (length) {
		(void) curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
		(void) curl_easy_setopt(c, CURLOPT_READFUNCTION, on_upload);
		(void) curl_easy_setopt(c, CURLOPT_READDATA, t);
		(void) curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t) json_integer_value(length));
		(void) curl_easy_setopt(c, CURLOPT_UPLOAD_BUFFERSIZE, CHUNK);
		t->headers = curl_slist_append(t->headers, "Expect:");
	}
	if (str_eq(method, "HEAD"))
		(void) curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
	else if (method)
		(void) curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
}

static void set_trust(CURL *c, const json_t *o)
{
	const char *ca = json_string_value(json_object_get(o, "ca")), *file = getenv("SSL_CERT_FILE");
	bool verify = !json_is_true(json_object_get(o, "insecure"));
	(void) curl_easy_setopt(c, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
	(void) curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, verify ? 1L : 0L);
	(void) curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, verify ? 2L : 0L);
	if (ca) {
		struct curl_blob blob = { .data = (void *) ca, .len = strlen(ca), .flags = CURL_BLOB_COPY };
		(void) curl_easy_setopt(c, CURLOPT_CAINFO_BLOB, &blob);
	} else if (!str_empty(file)) {
		(void) curl_easy_setopt(c, CURLOPT_CAINFO, file);
	}
}

static void begin(Transfer *t, const json_t *o)
{
	const char *url = json_string_value(json_object_get(o, "url"));
	const json_t *headers = json_object_get(o, "headers");
	CURL *c = t->curl = curl_easy_init();
	if (!c || !url) {
		put_end(t, FETCH_KIND_OTHER, "the request cannot be begun");
		return;
	}
	(void) curl_easy_setopt(c, CURLOPT_URL, url);
	(void) curl_easy_setopt(c, CURLOPT_PRIVATE, t);
	(void) curl_easy_setopt(c, CURLOPT_ERRORBUFFER, t->error);
	(void) curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	(void) curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
	(void) curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, STALL_BYTES);
	(void) curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, STALL_SECONDS);
	(void) curl_easy_setopt(c, CURLOPT_TIMEOUT, (long) json_integer_value(json_object_get(o, "seconds")));
	(void) curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
	(void) curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
	(void) curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L);
	(void) curl_easy_setopt(c, CURLOPT_BUFFERSIZE, CHUNK);
	(void) curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	(void) curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
	(void) curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	(void) curl_easy_setopt(c, CURLOPT_HEADERDATA, t);
	if (json_is_true(json_object_get(o, "direct")))
		(void) curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
	allow_protocols(c);
	set_trust(c, o);
	set_method(t, o);
	for (size_t i = 0; i < json_array_size(headers); i++)
		if (json_is_string(json_array_get(headers, i)))
			t->headers = curl_slist_append(t->headers, json_string_value(json_array_get(headers, i)));
	(void) curl_easy_setopt(c, CURLOPT_HTTPHEADER, t->headers);
	if (curl_multi_add_handle(t->multi, c) != CURLM_OK)
		put_end(t, FETCH_KIND_OTHER, "the request cannot be begun");
}

/* Reads on until the request is whole. */
static void take_request(Transfer *t)
{
	for (;;) {
		char *p = buf_reserve(&t->in, CHUNK);
		ssize_t n = read(t->up, p, CHUNK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			t->gone = true;
			return;
		}
		buf_added(&t->in, (size_t) n);
		if (t->in.len < FETCH_FRAME_HEADER)
			continue;
		size_t len = fetch_frame_length((const uint8_t *) t->in.data);
		if (t->in.data[0] != 'J' || len > FETCH_REQUEST_MAX) {
			t->gone = true;
			return;
		}
		if (t->in.len < FETCH_FRAME_HEADER + len)
			continue;
		json_t *o = json_loadb(t->in.data + FETCH_FRAME_HEADER, len, 0, NULL);
		buf_consume(&t->in, FETCH_FRAME_HEADER + len);
		begin(t, o);
		json_decref(o);
		return;
	}
}

void transfer_wait(const Transfer *t, struct curl_waitfd ret[2])
{
	bool up = !t->ended && (!t->curl || t->sending_paused);
	ret[0] = (struct curl_waitfd) { .fd = up ? t->up : -1, .events = CURL_WAIT_POLLIN };
	/* Without events, too: it tells when the reader has closed. */
	ret[1] = (struct curl_waitfd) { .fd = t->down, .events = t->out.len ? CURL_WAIT_POLLOUT : 0 };
}

static short ready(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };
	return poll(&p, 1, 0) > 0 ? p.revents : 0;
}

bool transfer_step(Transfer *t)
{
	if (ready(t->down, 0) & POLLERR)
		t->gone = true;
	if (!t->curl && !t->ended && !t->gone)
		take_request(t);
	flush(t);
	if (t->gone)
		return false;
	if (t->ended)
		return t->out.len > 0;
	bool receive = t->receiving_paused && !t->out.len, send = t->sending_paused && ready(t->up, POLLIN);
	if (receive || send) {
		t->receiving_paused = t->receiving_paused && !receive;
		t->sending_paused = t->sending_paused && !send;
		(void) curl_easy_pause(t->curl, (t->receiving_paused ? CURLPAUSE_RECV : 0) | (t->sending_paused ? CURLPAUSE_SEND : 0));
	}
	return !t->gone;
}

static const char *kind_of(CURLcode r)
{
	switch (r) {
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_CONNECT:
		return FETCH_KIND_CONNECT;
	case CURLE_SSL_CONNECT_ERROR:
		return FETCH_KIND_TLS;
	case CURLE_PEER_FAILED_VERIFICATION:
		return FETCH_KIND_TRUST;
	case CURLE_PARTIAL_FILE:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_OPERATION_TIMEDOUT:
	case CURLE_SEND_FAIL_REWIND:
		return FETCH_KIND_CUT;
	default:
		return FETCH_KIND_OTHER;
	}
}

void transfer_done(Transfer *t, CURLcode result)
{
	if (t->ended)
		return;
	if (result == CURLE_OK) {
		put_head(t);
		put_end(t, NULL, NULL);
	} else if (t->header_bytes > LIMIT_FETCH_HEADERS) {
		put_end(t, FETCH_KIND_OTHER, "the answer's headers are too long");
	} else {
		put_end(t, kind_of(result), *t->error ? t->error : curl_easy_strerror(result));
	}
}
