// SPDX-License-Identifier: Apache-2.0
#include "cli/fake-server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/frames.h"

enum { RULES_MAX = 32 };

struct FakeServer {
	pid_t pid, owner;
	int log; /* memfd, appended to */
	int *used; /* shared between the connections */
	char *path;
	const FakeRule *rules;
};

static void answer(int fd, const FakeRule *rule)
{
	AUTO_BUF b = BUF_INIT;
	if (!rule) {
		buf_str(&b, "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 26\r\n\r\n{\"message\":\"no such rule\"}");
	} else if (rule->status) {
		const char *body = rule->body ? rule->body : "";
		buf_printf(&b, "HTTP/1.1 %d Answer\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", rule->status, strlen(body), body);
	} else {
		buf_append(&b, rule->raw, rule->raw_len ? rule->raw_len : strlen(rule->raw));
	}
	(void) fd_write_all(fd, buf_cstr(&b), b.len);
}

static void echo(int fd)
{
	char piece[4096];
	ssize_t n;
	while ((n = read(fd, piece, sizeof(piece))) > 0) {
		uint8_t header[FRAME_HEADER];
		frame_header(FRAME_STDOUT, (size_t) n, header);
		(void) fd_write_all(fd, header, sizeof(header));
		(void) fd_write_all(fd, piece, (size_t) n);
	}
}

/* Reads a request; false at the end of the connection. A body must have a Content-Length or be chunked. */
static bool read_request(int fd, Buf *in, char **ret_line, char **ret_body)
{
	char *end, *length, *chunked;
	size_t head, want;
	for (;;) {
		end = in->len ? strstr(buf_cstr(in), "\r\n\r\n") : NULL;
		if (end) {
			head = (size_t) (end - in->data) + 4;
			length = strcasestr(in->data, "\r\nContent-Length:");
			chunked = strcasestr(in->data, "\r\nTransfer-Encoding: chunked");
			want = length && length < end ? strtoul(length + strlen("\r\nContent-Length:"), NULL, 10) : 0;
			if (chunked && chunked < end ? strstr(end + 4, "0\r\n\r\n") != NULL : in->len >= head + want)
				break;
		}
		ssize_t n = read(fd, buf_reserve(in, 4096), 4096);
		if (n <= 0)
			return false;
		buf_added(in, (size_t) n);
	}
	size_t line = (size_t) (strstr(in->data, " HTTP/1") - in->data);
	*ret_line = xstrndup(in->data, line);
	if (chunked && chunked < end)
		want = in->len - head;
	*ret_body = xstrndup(in->data + head, want);
	buf_consume(in, head + want);
	return true;
}

static const FakeRule *find_rule(FakeServer *s, const char *line)
{
	for (size_t i = 0; s->rules[i].request && i < RULES_MAX; i++) {
		const FakeRule *rule = &s->rules[i];
		if (!str_starts(line, rule->request))
			continue;
		if (rule->times && __atomic_fetch_add(&s->used[i], 1, __ATOMIC_SEQ_CST) >= rule->times)
			continue;
		return rule;
	}
	/* Where a stack is started, its images are here unless a rule says otherwise. */
	static const FakeRule image = { .status = 200, .body = "{}" };
	bool starts = false;
	for (size_t i = 0; s->rules[i].request && i < RULES_MAX; i++)
		starts = starts || str_starts(s->rules[i].request, "POST /stead/v1/stacks/");
	return starts && str_starts(line, "GET /images/") && str_ends(line, "/json") ? &image : NULL;
}

/* Looks into the log of requests again and again. */
static void wait_for(const FakeServer *s, const char *request)
{
	AUTO_FREE char *path = xasprintf("/proc/self/fd/%d", s->log), *line = xasprintf("\n%s", request);
	for (;;) {
		AUTO_BUF log = BUF_INIT;
		const struct timespec ms = { 0, 1000000 };
		if (file_read(AT_FDCWD, path, 16 << 20, &log) < 0 || strstr(buf_cstr(&log), line))
			return;
		(void) nanosleep(&ms, NULL);
	}
}

static void serve(FakeServer *s, int fd)
{
	AUTO_BUF in = BUF_INIT;
	for (;;) {
		AUTO_FREE char *line = NULL, *body = NULL;
		AUTO_BUF entry = BUF_INIT;
		if (!read_request(fd, &in, &line, &body))
			return;
		for (char *c = body; *c; c++)
			*c = *c == '\n' ? ' ' : *c;
		buf_printf(&entry, "%s %s\n", line, body);
		(void) fd_write_all(s->log, buf_cstr(&entry), entry.len);
		const FakeRule *rule = find_rule(s, line);
		answer(fd, rule);
		if (rule && rule->echo)
			echo(fd);
		if (rule && rule->signal)
			(void) kill(s->owner, rule->signal);
		if (rule && rule->until)
			wait_for(s, rule->until);
		if (rule && rule->hang) {
			char c;
			while (read(fd, &c, 1) > 0)
				;
		}
		if (rule && (rule->close || rule->echo || rule->hang))
			return;
	}
}

static void accept_all(FakeServer *s, int listener)
{
	(void) signal(SIGCHLD, SIG_IGN);
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			_exit(1);
		if (fork() == 0) {
			(void) prctl(PR_SET_PDEATHSIG, SIGKILL);
			(void) close(listener);
			serve(s, fd);
			_exit(0);
		}
		(void) close(fd);
	}
}

FakeServer *fake_start(const char *socket_path, const FakeRule *rules)
{
	FakeServer *s = xcalloc(1, sizeof(*s));
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	s->rules = rules;
	s->owner = getpid();
	s->path = xstrdup(socket_path);
	s->log = memfd_create("requests", MFD_CLOEXEC);
	s->used = mmap(NULL, sizeof(int) * RULES_MAX, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	(void) snprintf(a.sun_path, sizeof(a.sun_path), "%s", socket_path);
	(void) unlink(socket_path);
	if (listener < 0 || s->log < 0 || s->used == MAP_FAILED || bind(listener, (struct sockaddr *) &a, sizeof(a)) < 0 || listen(listener, 64) < 0)
		abort();
	(void) fcntl(s->log, F_SETFL, O_APPEND);
	(void) fflush(NULL);
	s->pid = fork();
	if (s->pid == 0) {
		/* A group of its own, so that its connections end with it. */
		(void) setpgid(0, 0);
		(void) prctl(PR_SET_PDEATHSIG, SIGKILL);
		accept_all(s, listener);
	}
	(void) setpgid(s->pid, s->pid);
	(void) close(listener);
	return s;
}

char *fake_stop(FakeServer *s)
{
	Buf log = BUF_INIT;
	AUTO_FREE char *path = xasprintf("/proc/self/fd/%d", s->log);
	(void) kill(-s->pid, SIGKILL);
	(void) waitpid(s->pid, NULL, 0);
	(void) file_read(AT_FDCWD, path, 16 << 20, &log);
	(void) unlink(s->path);
	(void) munmap(s->used, sizeof(int) * RULES_MAX);
	(void) close(s->log);
	free(s->path);
	free(s);
	return buf_steal(&log);
}
