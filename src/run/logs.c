// SPDX-License-Identifier: Apache-2.0
/*
 * Files: log (where conmon writes), log.tmp (what it will open next), and hard links log.1, log.2 … in
 * order of time. An invariant holds at any moment, also between two system calls of ours: log and log.tmp
 * each have a number, unless conmon has rotated by itself twice since we looked. The reader goes by the
 * numbers alone, and by log itself if no number has its inode.
 *
 * Reading: positions are kept by file number, so that a rotation neither repeats nor skips. A line is
 * given out when its newline is there. The end of a file is believed only when a later one exists and
 * one more read of the earlier finds nothing: conmon writes to one file at a time.
 *
 * `tail` counts from the end: files are read backwards in blocks until enough entries' ends have
 * been seen. A line that conmon split (P … P F) counts once.
 */
#include "run/logs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"

#define BLOCK (16U << 10)
#define LINE_MAX_RAW (LIMIT_LOG_LINE + 256) /* conmon splits at 8 KiB; a longer line is not its own */
#define FILES_MAX 1000
#define ASKED_MODE 0640
#define ASK_AGAIN (10 * NSEC_PER_SEC)

/* ── lines ────────────────────────────────────────────────────────── */

/* Two digits at s. */
static int two(const char *s)
{
	if (s[0] < '0' || s[0] > '9' || s[1] < '0' || s[1] > '9')
		return -1;
	return (s[0] - '0') * 10 + (s[1] - '0');
}

/* conmon's fixed form in UTC, "2024-01-02T03:04:05.000000006+00:00", without a detour over general parsing. */
static int parse_time(const char *s, size_t n, int64_t *ret)
{
	char text[64];
	if (n >= sizeof(text))
		return -EINVAL;
	if (n == 35 && s[19] == '.' && memcmp(s + 29, "+00:00", 6) == 0 && s[4] == '-' && s[7] == '-' && s[10] == 'T') {
		int y1 = two(s), y2 = two(s + 2), mo = two(s + 5), d = two(s + 8), h = two(s + 11), mi = two(s + 14), se = two(s + 17);
		int64_t ns = 0;
		bool good = y1 >= 19 && y2 >= 0 && mo >= 1 && mo <= 12 && d >= 1 && d <= 31 && h >= 0 && mi >= 0 && se >= 0;
		for (int i = 20; i < 29; i++) {
			good = good && s[i] >= '0' && s[i] <= '9';
			ns = ns * 10 + (s[i] - '0');
		}
		if (!good)
			return -EINVAL;
		/* Days of the civil calendar, counted from 1 March so that leap days come last. */
		int64_t y = y1 * 100 + y2 - (mo <= 2), era = y / 400, yoe = y - era * 400;
		int64_t doy = (153 * (mo + (mo > 2 ? -3 : 9)) + 2) / 5 + d - 1, doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
		int64_t days = era * 146097 + doe - 719468;
		*ret = ((days * 24 + h) * 60 + mi) * 60 * NSEC_PER_SEC + se * NSEC_PER_SEC + ns;
		return 0;
	}
	memcpy(text, s, n);
	text[n] = '\0';
	return time_parse_rfc3339(text, ret);
}

int log_line_parse(const char *line, size_t n, LogEntry *ret)
{
	const char *end = line + n, *space = memchr(line, ' ', n);
	LogEntry e = { 0 };
	if (!space || parse_time(line, (size_t) (space - line), &e.time) < 0)
		return -EINVAL;
	const char *p = space + 1;
	if (end - p >= 7 && memcmp(p, "stdout ", 7) == 0)
		e.stream = 1;
	else if (end - p >= 7 && memcmp(p, "stderr ", 7) == 0)
		e.stream = 2;
	else
		return -EINVAL;
	p += 7;
	if (end - p < 2 || (*p != 'P' && *p != 'F') || (p[1] != ' ' && p[1] != ':'))
		return -EINVAL;
	e.partial = *p == 'P';
	/* Tags may follow, separated by colons (CRI); conmon writes none. */
	const char *text = memchr(p, ' ', (size_t) (end - p));
	if (!text)
		return -EINVAL;
	e.data = text + 1;
	e.len = (size_t) (end - e.data);
	*ret = e;
	return 0;
}

/* ── files ────────────────────────────────────────────────────────── */

typedef struct LogFile {
	uint64_t number;
	ino_t inode;
	off_t size;
} LogFile;

static int by_number(const void *a, const void *b)
{
	const LogFile *x = a, *y = b;
	return x->number < y->number ? -1 : x->number > y->number;
}

static bool number_of(const char *name, uint64_t *ret)
{
	return strncmp(name, "log.", 4) == 0 && name[4] >= '1' && name[4] <= '9' && parse_u64(name + 4, ret) == 0;
}

/* The numbered files, oldest first. */
static LogFile *list_files(int dir, size_t *ret_n)
{
	LogFile *files = NULL;
	size_t n = 0;
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	if (!d && copy >= 0)
		(void) close(copy);
	for (struct dirent *e; d && (e = readdir(d)) && n < FILES_MAX;) {
		uint64_t number;
		struct stat st;
		if (!number_of(e->d_name, &number) || fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
			continue;
		*array_append(files, n) = (LogFile) { number, st.st_ino, st.st_size };
	}
	if (d)
		(void) closedir(d);
	if (n > 1)
		qsort(files, n, sizeof(*files), by_number);
	*ret_n = n;
	return files;
}

static int link_next(int dir, const char *name, LogFile **files, size_t *n)
{
	uint64_t number = *n ? (*files)[*n - 1].number + 1 : 1;
	char to[32];
	struct stat st;
	(void) snprintf(to, sizeof(to), "log.%llu", (unsigned long long) number);
	if (linkat(dir, name, dir, to, 0) < 0 || fstatat(dir, to, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	*array_append(*files, *n) = (LogFile) { number, st.st_ino, st.st_size };
	return 0;
}

static bool has_inode(const LogFile *files, size_t n, ino_t inode)
{
	for (size_t i = 0; i < n; i++)
		if (files[i].inode == inode)
			return true;
	return false;
}

/* Makes `name` exist, and numbers it if it has no number. */
static int ensure(int dir, const char *name, LogFile **files, size_t *n)
{
	AUTO_CLOSE int fd = openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	return has_inode(*files, *n, st.st_ino) ? 0 : link_next(dir, name, files, n);
}

static int open_log_dir(const ContainerPaths *p)
{
	int fd = open(p->log, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int logs_prepare(const ContainerPaths *p, Err *err)
{
	AUTO_CLOSE int dir = open_log_dir(p);
	if (dir < 0)
		return err_errno(err, dir, "open %s", p->log);
	size_t n = 0;
	AUTO_FREE LogFile *files = list_files(dir, &n);
	int r = ensure(dir, "log", &files, &n);
	if (r == 0)
		r = ensure(dir, "log.tmp", &files, &n);
	return r < 0 ? err_errno(err, r, "prepare the log in %s", p->log) : 0;
}

/*
 * Asks once for each log.tmp: a second request before the first is served would have conmon open a file without a
 * number. The mode of log.tmp remembers it; after some seconds the request is taken for lost (conmon died with it).
 */
static void ask_reopen(const ContainerPaths *p, int dir)
{
	struct stat st;
	if (fstatat(dir, "log.tmp", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	bool asked = (st.st_mode & 0777) == ASKED_MODE;
	if (asked && time_real() - st.st_ctim.tv_sec * NSEC_PER_SEC < ASK_AGAIN)
		return;
	if (fchmodat(dir, "log.tmp", asked ? 0600 : ASKED_MODE, 0) < 0 || (asked && fchmodat(dir, "log.tmp", ASKED_MODE, 0) < 0))
		return;
	AUTO_FREE char *path = xasprintf("%s/ctl", p->bundle);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0)
		(void) !write(fd, "2 0 0\n", 6);
}

int logs_rotate(const ContainerPaths *p, int64_t max_size, int max_file)
{
	if (max_size <= 0)
		max_size = LIMIT_LOG_SIZE_DEFAULT;
	if (max_file <= 0)
		max_file = LIMIT_LOG_FILES_DEFAULT;
	AUTO_CLOSE int dir = open_log_dir(p);
	struct stat st;
	if (dir < 0 || fstatat(dir, "log", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	bool full = st.st_size > max_size;
	if (!full && faccessat(dir, "log.tmp", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	size_t n = 0;
	AUTO_FREE LogFile *files = list_files(dir, &n);
	int r = ensure(dir, "log", &files, &n);
	if (r == 0)
		r = ensure(dir, "log.tmp", &files, &n);
	if (r < 0)
		return r;
	if (full)
		ask_reopen(p, dir);
	/* The newest is log.tmp, or soon log; it is empty and does not count. */
	size_t keep = (size_t) max_file + 1;
	for (size_t i = 0; i + keep < n; i++) {
		char name[32];
		(void) snprintf(name, sizeof(name), "log.%llu", (unsigned long long) files[i].number);
		(void) unlinkat(dir, name, 0);
	}
	return 0;
}

/* ── reading ──────────────────────────────────────────────────────── */

struct LogReader {
	LogOptions o;
	int dir, inotify;
	int fd;             /* the file being read; -1 = none yet */
	ino_t inode;
	uint64_t number;    /* its number; UINT64_MAX for a log without one */
	off_t skip_to;      /* where to begin in the file that is opened first */
	Buf buf;
	size_t used;        /* bytes of buf given out already */
	Buf line;           /* the entry that was given last */
	bool ended;
};

static bool has_log(int dir, struct stat *st)
{
	return fstatat(dir, "log", st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st->st_mode);
}

static int open_number(int dir, uint64_t number)
{
	char name[32];
	if (number == UINT64_MAX)
		return openat(dir, "log", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	(void) snprintf(name, sizeof(name), "log.%llu", (unsigned long long) number);
	return openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

/* Opens the next file after the current one. 1: opened; 0: there is none with content. */
static int open_next(LogReader *r)
{
	size_t n = 0;
	AUTO_FREE LogFile *files = list_files(r->dir, &n);
	struct stat log;
	bool have_log = has_log(r->dir, &log);
	for (size_t i = 0; i <= n; i++) {
		bool extra = i == n;
		/* conmon rotated more than once with nobody there to number the files: the newest is only called log. */
		if (extra && (!have_log || has_inode(files, n, log.st_ino) || log.st_ino == r->inode))
			break;
		uint64_t number = extra ? UINT64_MAX : files[i].number;
		if (r->fd >= 0 && !extra && (number <= r->number || files[i].inode == r->inode))
			continue;
		if (!extra && files[i].size == 0)
			continue;
		int fd = open_number(r->dir, number);
		if (fd < 0)
			continue; /* rotated away just now */
		struct stat st;
		(void) fstat(fd, &st);
		if (r->fd >= 0)
			(void) close(r->fd);
		r->fd = fd;
		r->inode = st.st_ino;
		r->number = number;
		return 1;
	}
	return 0;
}

/* Reads on into buf. 1: something; 0: the end for now. */
static int read_more(LogReader *r)
{
	if (r->used) {
		buf_consume(&r->buf, r->used);
		r->used = 0;
	}
	for (;;) {
		ssize_t k = r->fd < 0 ? 0 : read(r->fd, buf_reserve(&r->buf, BLOCK), BLOCK);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -errno;
		if (k > 0) {
			buf_added(&r->buf, (size_t) k);
			return 1;
		}
		/* One more look at this file after the next is known to exist: conmon had finished it by then. */
		int old = r->fd;
		if (old >= 0) {
			int copy = fcntl(old, F_DUPFD_CLOEXEC, 3);
			int next = open_next(r);
			if (next <= 0) {
				if (copy >= 0)
					(void) close(copy);
				return next;
			}
			k = copy < 0 ? 0 : read(copy, buf_reserve(&r->buf, BLOCK), BLOCK);
			while (k > 0) {
				buf_added(&r->buf, (size_t) k);
				k = read(copy, buf_reserve(&r->buf, BLOCK), BLOCK);
			}
			if (copy >= 0)
				(void) close(copy);
			/* A line without its end in a finished file is cut there. */
			if (r->buf.len && r->buf.data[r->buf.len - 1] != '\n')
				buf_char(&r->buf, '\n');
			if (r->buf.len)
				return 1;
			continue;
		}
		int next = open_next(r);
		if (next <= 0)
			return next;
		if (r->skip_to) {
			(void) lseek(r->fd, r->skip_to, SEEK_SET);
			r->skip_to = 0;
		}
	}
}

static void drain_inotify(LogReader *r)
{
	char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	while (r->inotify >= 0 && read(r->inotify, events, sizeof(events)) > 0)
		;
}

/* The next line in buf; 0 if none is whole. */
static int next_line(LogReader *r, const char **ret, size_t *ret_n)
{
	const char *s = r->buf.data ? r->buf.data + r->used : NULL;
	size_t n = r->buf.len - r->used;
	const char *end = n ? memchr(s, '\n', n) : NULL;
	if (!end && n <= LINE_MAX_RAW)
		return 0;
	size_t len = end ? (size_t) (end - s) : n;
	*ret = s;
	*ret_n = len;
	r->used += len + (end ? 1 : 0);
	return 1;
}

int log_reader_next(LogReader *r, LogEntry *ret)
{
	bool drained = false;
	while (!r->ended) {
		const char *line;
		size_t n;
		if (!next_line(r, &line, &n)) {
			if (!drained) {
				/* Before reading: what is written after this makes the descriptor readable again. */
				drain_inotify(r);
				drained = true;
			}
			int k = read_more(r);
			if (k <= 0)
				return k;
			continue;
		}
		LogEntry e;
		if (log_line_parse(line, n, &e) < 0)
			continue;
		if (r->o.until && e.time > r->o.until) {
			r->ended = true;
			break;
		}
		if ((r->o.since && e.time < r->o.since) || !(e.stream == 1 ? r->o.out : r->o.err))
			continue;
		buf_clear(&r->line);
		buf_append(&r->line, e.data, e.len);
		if (!e.partial)
			buf_char(&r->line, '\n');
		e.data = buf_cstr(&r->line);
		e.len = r->line.len;
		*ret = e;
		return 1;
	}
	return 0;
}

int log_reader_ended(const LogReader *r)
{
	return r->ended;
}

int log_reader_fd(const LogReader *r)
{
	return r->inotify;
}

/* ── tail ─────────────────────────────────────────────────────────── */

typedef struct Tail {
	const LogOptions *o;
	int64_t left; /* whole lines still wanted */
	off_t begin;  /* where the last one found begins */
} Tail;

/* A line seen on the way backwards. True: enough. */
static bool tail_line(Tail *t, const char *line, size_t n, off_t at)
{
	LogEntry e;
	if (log_line_parse(line, n, &e) < 0 || !(e.stream == 1 ? t->o->out : t->o->err))
		return false;
	if (t->o->until && e.time > t->o->until)
		return false;
	if (!e.partial) {
		if (t->left == 0)
			return true;
		t->left--;
	}
	t->begin = at;
	return false;
}

/* Goes through a file from its end. 1: t->begin is where to start. */
static int tail_file(Tail *t, int fd)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return -errno;
	off_t at = st.st_size; /* buf holds the file from here on */
	AUTO_BUF b = BUF_INIT;
	t->begin = st.st_size;
	while (at > 0) {
		size_t want = at > (off_t) BLOCK ? BLOCK : (size_t) at;
		AUTO_BUF grown = BUF_INIT;
		ssize_t k = pread(fd, buf_reserve(&grown, want), want, at - (off_t) want);
		if (k != (ssize_t) want)
			return k < 0 ? -errno : -EIO;
		buf_added(&grown, want);
		buf_append(&grown, b.data ? b.data : "", b.len);
		at -= (off_t) want;
		/* Lines that lie wholly in the buffer, last first; the first piece waits for its beginning. */
		size_t end = grown.len;
		if (end && grown.data[end - 1] == '\n')
			end--;
		for (;;) {
			const char *nl = end ? memrchr(grown.data, '\n', end) : NULL;
			if (!nl && at > 0)
				break;
			size_t start = nl ? (size_t) (nl - grown.data) + 1 : 0;
			if (tail_line(t, grown.data + start, end - start, at + (off_t) start))
				return 1;
			if (!nl) {
				end = 0;
				break;
			}
			end = (size_t) (nl - grown.data);
		}
		buf_clear(&b);
		if (end > 4 * BLOCK)
			end = 0; /* no log of ours has such lines */
		buf_append(&b, grown.data, end);
		if (end)
			buf_char(&b, '\n');
	}
	return 0;
}

/* Sets the reader to where the last `tail` lines begin. */
static int seek_tail(LogReader *r)
{
	size_t n = 0;
	AUTO_FREE LogFile *files = list_files(r->dir, &n);
	Tail t = { .o = &r->o, .left = r->o.tail };
	struct stat log;
	size_t total = n + (has_log(r->dir, &log) && !has_inode(files, n, log.st_ino));
	for (size_t i = total; i-- > 0;) {
		AUTO_CLOSE int fd = open_number(r->dir, i == n ? UINT64_MAX : files[i].number);
		struct stat st;
		if (fd < 0 || fstat(fd, &st) < 0)
			continue;
		int k = tail_file(&t, fd);
		if (k < 0)
			return k;
		if (k == 1 || i == 0) {
			(void) lseek(fd, t.begin, SEEK_SET);
			r->number = i == n ? UINT64_MAX : files[i].number;
			r->inode = st.st_ino;
			r->fd = steal_fd(&fd);
			return 0;
		}
	}
	return 0;
}

int log_reader_open(const ContainerPaths *p, const LogOptions *o, LogReader **ret, Err *err)
{
	LogReader *r = xcalloc(1, sizeof(*r));
	r->o = *o;
	r->fd = r->inotify = -1;
	r->dir = open_log_dir(p);
	int k = 0;
	if (o->follow && r->dir >= 0) {
		r->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
		if (r->inotify < 0 || inotify_add_watch(r->inotify, p->log, IN_MODIFY | IN_MOVED_TO | IN_CREATE) < 0)
			k = err_errno(err, -errno, "watch the log %s; raise fs.inotify.max_user_instances with sysctl", p->log);
	}
	if (k == 0 && r->dir >= 0 && o->tail >= 0) {
		k = seek_tail(r);
		if (k < 0)
			k = err_errno(err, k, "read the log in %s", p->log);
	}
	if (r->dir < 0)
		r->ended = true;
	if (k < 0) {
		log_reader_free(r);
		return k;
	}
	*ret = r;
	return 0;
}

void log_reader_free(LogReader *r)
{
	if (!r)
		return;
	if (r->dir >= 0)
		(void) close(r->dir);
	if (r->inotify >= 0)
		(void) close(r->inotify);
	if (r->fd >= 0)
		(void) close(r->fd);
	buf_done(&r->buf);
	buf_done(&r->line);
	free(r);
}

char **logs_tail_lines(const ContainerPaths *p, size_t n)
{
	char **lines = NULL;
	LogReader *r = NULL;
	LogOptions o = { .out = true, .err = true, .tail = (int64_t) n };
	if (log_reader_open(p, &o, &r, NULL) < 0)
		return NULL;
	LogEntry e;
	AUTO_BUF whole = BUF_INIT;
	while (log_reader_next(r, &e) == 1 && strv_len(lines) < n) {
		buf_append(&whole, e.data, e.len - (e.partial ? 0 : 1));
		if (e.partial && whole.len < LIMIT_LOG_LINE)
			continue;
		strv_take(&lines, buf_steal(&whole));
	}
	log_reader_free(r);
	return lines;
}
