// SPDX-License-Identifier: Apache-2.0
#include "edge/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"

#define TICK_MSEC 40        /* between two gulps while there is traffic: the pipe holds several times what comes in it */
#define QUIET_TICKS 25      /* without a line, then the kernel tells of the next one */
#define GULP (64 << 10)     /* bytes a read */
#define GULPS 64            /* reads in a row, then the loop goes on */
#define COMPLAIN (60 * NSEC_PER_SEC)
#define FIELDS 19           /* before the host, which may hold anything */

struct EdgeLog {
	uv_loop_t *loop;
	char *dir;
	Stats *stats;
	int fd;   /* pipe; -1 = none yet */
	int file; /* -1 = it cannot be written just now */
	off_t size;
	uv_poll_t *poll;   /* of fd; heap */
	uv_timer_t *timer; /* heap */
	int quiet;
	Buf in, out;
	int64_t complained; /* mono */
};

/* ── lines ────────────────────────────────────────────────────────── */

static int64_t number(const char *s)
{
	int64_t n;
	return parse_i64(s, &n) == 0 ? n : -1;
}

/* "1795717593.896" */
static int parse_time(char *s, int64_t *ret)
{
	char *dot = strchr(s, '.');
	uint64_t sec;
	uint32_t msec;
	if (!dot)
		return -EINVAL;
	*dot = '\0';
	if (parse_u64(s, &sec) < 0 || sec > INT64_MAX / NSEC_PER_SEC || strlen(dot + 1) != 3 || parse_u32_max(dot + 1, 999, &msec) < 0)
		return -EINVAL;
	*ret = (int64_t) (sec * 1000 + msec);
	return 0;
}

int log_parse(char *line, LogRecord *r)
{
	char *f[FIELDS];
	for (size_t i = 0; i < FIELDS; i++) {
		f[i] = line;
		line = strchr(line, '\t');
		if (!line)
			return -EINVAL;
		*line++ = '\0';
	}
	if (parse_time(f[0], &r->time_msec) < 0)
		return -EINVAL;
	r->client = f[1];
	r->frontend = f[2];
	r->backend = f[3];
	r->slot = f[4];
	r->server = str_eq(f[5], "<NOSRV>") ? "" : f[5];
	r->status = (int) number(f[6]);
	r->sent = (uint64_t) number(f[7]);
	r->received = (uint64_t) number(f[8]);
	r->request_msec = number(f[9]);
	r->queue_msec = number(f[10]);
	r->connect_msec = number(f[11]);
	r->response_msec = number(f[12]);
	r->total_msec = number(f[13]);
	r->end = f[14];
	r->method = f[15];
	r->version = f[16];
	r->uri = f[17];
	r->cache = str_eq(f[18], "-") ? "" : f[18];
	r->host = line ?: "";
	return 0;
}

/*
 * The line is written with a bare pointer into room that was made for the worst case: at 50,000 lines a second a call for each character is a tenth of a
 * processor.
 */
static char *put(char *p, const char *s)
{
	size_t n = strlen(s);
	memcpy(p, s, n);
	return p + n;
}

static char *put_string(char *p, const char *key, const char *value)
{
	static const char hex[] = "0123456789abcdef";
	size_t len = strlen(value);
	bool clean = true;
	p = put(p, key);
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char) value[i];
		clean = clean && c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
	}
	if (clean) {
		memcpy(p, value, len);
		return put(p + len, "\",");
	}
	bool utf8 = str_is_utf8(value, len);
	for (; *value; value++) {
		unsigned char c = (unsigned char) *value;
		if (c < 0x20 || c == 0x7f || (c >= 0x80 && !utf8)) {
			p = put(p, "\\u00");
			*p++ = hex[c >> 4];
			*p++ = hex[c & 15];
			continue;
		}
		if (c == '"' || c == '\\')
			*p++ = '\\';
		*p++ = *value;
	}
	return put(p, "\",");
}

static char *put_number(char *p, const char *key, int64_t n)
{
	char digits[24], *d = digits + sizeof(digits);
	uint64_t left = n < 0 ? (uint64_t) 0 - (uint64_t) n : (uint64_t) n;
	p = put(p, key);
	do
		*--d = (char) ('0' + left % 10);
	while (left /= 10);
	if (n < 0)
		*--d = '-';
	size_t len = (size_t) (digits + sizeof(digits) - d);
	memcpy(p, d, len);
	p += len;
	*p++ = ',';
	return p;
}

static char *put_time(char *p, int64_t msec)
{
	/* Most lines are of the second of the one before. */
	static int64_t last = -1;
	static char text[48];
	if (msec / 1000 != last) {
		time_t t = (time_t) (msec / 1000);
		struct tm tm;
		if (gmtime_r(&t, &tm) && strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S.", &tm))
			last = msec / 1000;
		else
			text[0] = '\0';
	}
	p = put(put(p, "{\"time\":\""), text);
	for (int64_t part = 100; part; part /= 10)
		*p++ = (char) ('0' + msec % 1000 / part % 10);
	return put(p, "Z\",");
}

void log_json(const LogRecord *r, const char *backend, Buf *b)
{
	const struct {
		const char *key, *value;
	} strings[] = {
		{ "\"client\":\"", r->client }, { "\"host\":\"", r->host }, { "\"method\":\"", r->method }, { "\"uri\":\"", r->uri },
		{ "\"version\":\"", r->version }, { "\"scheme\":\"", r->frontend }, { "\"end\":\"", r->end },
		{ "\"backend\":\"", backend }, { "\"server\":\"", *r->server ? r->server : NULL },
		{ "\"cache\":\"", *r->cache ? r->cache : NULL },
	};
	const struct {
		const char *key;
		int64_t value;
	} numbers[] = {
		{ "\"status\":", r->status }, { "\"sent\":", (int64_t) r->sent }, { "\"received\":", (int64_t) r->received },
		{ "\"request_ms\":", r->request_msec }, { "\"queue_ms\":", r->queue_msec }, { "\"connect_ms\":", r->connect_msec },
		{ "\"response_ms\":", r->response_msec }, { "\"total_ms\":", r->total_msec },
	};
	size_t room = 64 + ARRAY_SIZE(numbers) * 40;
	for (size_t i = 0; i < ARRAY_SIZE(strings); i++)
		room += strings[i].value ? 32 + 6 * strlen(strings[i].value) : 0;
	char *begin = buf_reserve(b, room), *p = put_time(begin, r->time_msec);
	for (size_t i = 0; i < ARRAY_SIZE(strings); i++)
		if (strings[i].value)
			p = put_string(p, strings[i].key, strings[i].value);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		p = put_number(p, numbers[i].key, numbers[i].value);
	p[-1] = '}';
	*p++ = '\n';
	buf_added(b, (size_t) (p - begin));
}

/* Only routes with options name their slot, which may be behind the cache. */
static const char *slot_of(const LogRecord *r)
{
	return r->slot[0] == 's' ? r->slot : r->backend;
}

/*
 * The cache's own requests count for the server that answered, but not for the backend: what the client asked does. What the edge itself answered (a
 * redirect, a page for an unknown host, a limit) is no backend's doing. Upgraded connections count, but their length is none
 * of a request.
 */
static void count_line(EdgeLog *l, const LogRecord *r)
{
	bool own = !str_eq(r->backend, r->frontend);
	const char *slot = slot_of(r);
	bool to_slot = str_eq(r->backend, slot);
	bool from_cache = str_eq(r->frontend, "cache_origin");
	bool error = r->status >= 500 || r->end[0] == 'S' || r->end[0] == 's';
	if (from_cache)
		stats_count_server(l->stats, slot, r->server, error, r->total_msec);
	else if (own)
		stats_count(l->stats, slot, to_slot ? r->server : "", error, r->status == 101 ? -1 : r->total_msec);
}

static void take_line(EdgeLog *l, char *line)
{
	LogRecord r;
	if (log_parse(line, &r) < 0) {
		log_debug("HAProxy: %s", line);
		return;
	}
	count_line(l, &r);
	if (!str_eq(r.frontend, "cache_origin"))
		log_json(&r, stats_backend(l->stats, slot_of(&r)), &l->out);
}

/* ── the file ─────────────────────────────────────────────────────── */

static void open_file(EdgeLog *l)
{
	AUTO_FREE char *path = xasprintf("%s/access.log", l->dir);
	struct stat st;
	l->file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	l->size = l->file >= 0 && fstat(l->file, &st) == 0 ? st.st_size : 0;
}

static void rotate(EdgeLog *l)
{
	if (l->file >= 0)
		(void) close(l->file);
	for (int i = LOG_FILES - 1; i > 0; i--) {
		AUTO_FREE char *from = i > 1 ? xasprintf("%s/access.log.%d", l->dir, i - 1) : xasprintf("%s/access.log", l->dir);
		AUTO_FREE char *to = xasprintf("%s/access.log.%d", l->dir, i);
		(void) rename(from, to);
	}
	open_file(l);
}

static void write_out(EdgeLog *l)
{
	if (!l->out.len)
		return;
	if (l->file < 0)
		open_file(l);
	if (l->size > LOG_FILE_SIZE)
		rotate(l);
	int r = l->file < 0 ? -errno : fd_write_all(l->file, l->out.data, l->out.len);
	if (r == 0)
		l->size += (off_t) l->out.len;
	if (r < 0 && (!l->complained || time_mono() - l->complained > COMPLAIN)) {
		log_warning("%s/access.log cannot be written, requests go unrecorded: %s", l->dir, strerror(-r));
		l->complained = time_mono();
	}
	if (r < 0 && l->file >= 0) {
		(void) close(l->file);
		l->file = -1;
	}
	buf_clear(&l->out);
}

/* ── the pipe ─────────────────────────────────────────────────────── */

static void take_lines(EdgeLog *l)
{
	size_t start = 0;
	for (char *nl; start < l->in.len && (nl = memchr(l->in.data + start, '\n', l->in.len - start));) {
		*nl = '\0';
		take_line(l, l->in.data + start);
		start = (size_t) (nl + 1 - l->in.data);
	}
	buf_consume(&l->in, start);
	if (l->in.len > 2 * LOG_LINE_MAX) /* no line is that long */
		buf_clear(&l->in);
}

/* True if there was anything. */
static bool gulp(EdgeLog *l)
{
	bool any = false;
	for (int i = 0; i < GULPS; i++) {
		ssize_t n = read(l->fd, buf_reserve(&l->in, GULP), GULP);
		if (n <= 0)
			break;
		any = true;
		buf_added(&l->in, (size_t) n);
		take_lines(l);
	}
	write_out(l);
	return any;
}

static void on_tick(uv_timer_t *t);

static void on_readable(uv_poll_t *p, int status, int events)
{
	EdgeLog *l = p->data;
	(void) uv_poll_stop(p);
	(void) gulp(l);
	l->quiet = 0;
	(void) uv_timer_start(l->timer, on_tick, TICK_MSEC, TICK_MSEC);
}

static void on_tick(uv_timer_t *t)
{
	EdgeLog *l = t->data;
	l->quiet = gulp(l) ? 0 : l->quiet + 1;
	if (l->quiet < QUIET_TICKS)
		return;
	(void) uv_timer_stop(t);
	buf_done(&l->in); /* grown by traffic that is over */
	buf_done(&l->out);
	(void) uv_poll_start(l->poll, UV_READABLE, on_readable);
}

void log_catch_up(EdgeLog *l)
{
	if (l->fd >= 0)
		(void) gulp(l);
}

static void free_handle(uv_handle_t *h)
{
	free(h);
}

static void leave_pipe(EdgeLog *l)
{
	if (l->fd < 0)
		return;
	(void) uv_timer_stop(l->timer);
	uv_close((uv_handle_t *) l->poll, free_handle);
	(void) close(l->fd);
	l->fd = -1;
}

void log_use(EdgeLog *l, int fd)
{
	leave_pipe(l);
	(void) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	l->poll = xcalloc(1, sizeof(*l->poll));
	if (uv_poll_init(l->loop, l->poll, fd) < 0) {
		free_and_null(&l->poll);
		(void) close(fd);
		log_error("the access log cannot be read");
		return;
	}
	l->fd = fd;
	l->poll->data = l;
	(void) uv_poll_start(l->poll, UV_READABLE, on_readable);
}

int log_new(uv_loop_t *loop, const char *dir, Stats *stats, EdgeLog **ret, Err *err)
{
	int r = dir_make(dir, 0750);
	if (r < 0)
		return err_errno(err, r, "%s", dir);
	EdgeLog *l = xcalloc(1, sizeof(*l));
	l->loop = loop;
	l->dir = xstrdup(dir);
	l->stats = stats;
	l->fd = l->file = -1;
	l->timer = xcalloc(1, sizeof(*l->timer));
	l->timer->data = l;
	(void) uv_timer_init(loop, l->timer);
	*ret = l;
	return 0;
}

void log_free(EdgeLog *l)
{
	if (!l)
		return;
	log_catch_up(l);
	leave_pipe(l);
	uv_close((uv_handle_t *) l->timer, free_handle);
	if (l->file >= 0)
		(void) close(l->file);
	buf_done(&l->in);
	buf_done(&l->out);
	free(l->dir);
	free(l);
}
