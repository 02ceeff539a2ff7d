// SPDX-License-Identifier: Apache-2.0
#include "cli/building-agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/frames.h"

/* draft-ietf-sshm-ssh-agent, "Protocol numbers". */
#define AGENT_FAILURE 5
#define AGENT_REQUEST_IDENTITIES 11
#define AGENT_SIGN_REQUEST 13

#define LENGTH 4U /* bytes before each message between an agent and who asks it */

/* ── what there is ────────────────────────────────────────────────── */

static void agent_done(BuildAgent *a)
{
	key_agent_stop(&a->own);
	free(a->id);
	free(a->socket);
	strv_free(a->keys);
}

static BuildAgent *find(const BuildAgents *a, const char *id)
{
	for (size_t i = 0; i < a->n; i++)
		if (str_eq(a->list[i].id, id))
			return &a->list[i];
	return NULL;
}

/* One socket, or keys. */
static int add_path(BuildAgent *a, const char *path, const char *text, Err *err)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return err_errno(err, -errno, "ssh %s: %s", text, path);
	if (S_ISDIR(st.st_mode))
		return err_set(err, -EISDIR, "ssh %s: %s is a directory; an agent's socket or a private key is expected", text, path);
	if (a->socket || (S_ISSOCK(st.st_mode) && a->keys))
		return err_set(err, -EINVAL, "ssh %s: give one agent's socket, or keys", text);
	if (S_ISSOCK(st.st_mode))
		str_set(&a->socket, path);
	else if (access(path, R_OK) < 0)
		return err_errno(err, -errno, "ssh %s: %s", text, path);
	else
		strv_add(&a->keys, path);
	return 0;
}

static int add_paths(BuildAgent *a, const char *paths, const char *text, Err *err)
{
	int r = 0;
	for (const char *p = paths; r == 0 && *p;) {
		size_t n = strcspn(p, ",");
		AUTO_FREE char *path = xstrndup(p, n);
		r = add_path(a, path, text, err);
		p += n + (p[n] == ',');
	}
	return r;
}

int build_agents_add(BuildAgents *a, const char *text, Err *err)
{
	const char *eq = strchr(text, '='), *agent = getenv("SSH_AUTH_SOCK");
	BuildAgent new = { .id = xstrndup(text, eq ? (size_t) (eq - text) : strlen(text)), .own = KEY_AGENT_INIT };
	int r = 0;
	if (!*new.id)
		r = err_set(err, -EINVAL, "ssh %s: it needs an id: default, or ID=SOCKET, or ID=KEY", text);
	else if (eq && eq[1])
		r = add_paths(&new, eq + 1, text, err);
	else if (!str_empty(agent))
		r = add_path(&new, agent, text, err);
	else
		r = err_set(err, -EINVAL, "ssh %s: there is no agent (SSH_AUTH_SOCK is not set); start one, or give its socket or a private key: %s=FILE", text, new.id);
	BuildAgent *old = r == 0 ? find(a, new.id) : NULL;
	if (r < 0) {
		agent_done(&new);
	} else if (old) {
		agent_done(old);
		*old = new;
	} else {
		*array_append(a->list, a->n) = new;
	}
	return r;
}

int build_agents_start(BuildAgents *a, Err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < a->n; i++)
		if (a->list[i].keys && !a->list[i].own.dir)
			r = key_agent_start(a->list[i].keys, &a->list[i].own, err);
	return r;
}

const char *build_agents_socket(const BuildAgents *a, const char *id)
{
	const BuildAgent *agent = find(a, id);
	return !agent ? NULL : agent->socket ? agent->socket : agent->own.socket;
}

/* ── questions ────────────────────────────────────────────────────── */

static void call_done(BuildAgents *a, size_t i)
{
	BuildAgentCall *c = &a->calls[i];
	(void) close(c->fd);
	buf_done(&c->out);
	buf_done(&c->in);
	*c = a->calls[--a->n_calls];
}

void build_agents_done(BuildAgents *a)
{
	while (a->n_calls)
		call_done(a, 0);
	for (size_t i = 0; i < a->n; i++)
		agent_done(&a->list[i]);
	free(a->list);
	*a = (BuildAgents) { 0 };
}

static void put_answer(Buf *frames, uint32_t number, const void *p, size_t n)
{
	uint8_t header[FRAME_HEADER];
	const uint8_t bytes[4] = { (uint8_t) (number >> 24), (uint8_t) (number >> 16), (uint8_t) (number >> 8), (uint8_t) number };
	frame_header('A', sizeof(bytes) + n, header);
	buf_append(frames, header, sizeof(header));
	buf_append(frames, bytes, sizeof(bytes));
	buf_append(frames, p, n);
}

static void refuse(Buf *frames, uint32_t number)
{
	const uint8_t failure = AGENT_FAILURE;
	put_answer(frames, number, &failure, 1);
}

static int connect_agent(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	(void) memcpy(sa.sun_path, path, strlen(path) + 1);
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *) &sa, sizeof(sa)) < 0)
		return -errno;
	return steal_fd(&fd);
}

static bool may_ask(uint8_t type)
{
	return type == AGENT_REQUEST_IDENTITIES || type == AGENT_SIGN_REQUEST;
}

int build_agents_ask(BuildAgents *a, const char *p, size_t n, Buf *frames, Err *err)
{
	const uint8_t *u = (const uint8_t *) p;
	const char *id = n > 4 ? p + 4 : NULL, *end = id ? memchr(id, '\0', n - 4) : NULL;
	size_t len = end ? (size_t) (p + n - (end + 1)) : 0;
	if (!len || len > LIMIT_AGENT_MESSAGE)
		return err_set(err, -EPROTO, "the daemon sent a question to an SSH agent that is none");
	uint32_t number = (uint32_t) u[0] << 24 | (uint32_t) u[1] << 16 | (uint32_t) u[2] << 8 | u[3];
	const char *socket = build_agents_socket(a, id), *message = end + 1;
	int fd = socket && may_ask((uint8_t) message[0]) && a->n_calls < BUILD_AGENT_CALLS_MAX ? connect_agent(socket) : -1;
	if (fd < 0) {
		refuse(frames, number);
		return 0;
	}
	BuildAgentCall *c = &a->calls[a->n_calls++];
	const uint8_t length[LENGTH] = { (uint8_t) (len >> 24), (uint8_t) (len >> 16), (uint8_t) (len >> 8), (uint8_t) len };
	*c = (BuildAgentCall) { .number = number, .fd = fd };
	buf_append(&c->out, length, LENGTH);
	buf_append(&c->out, message, len);
	return 0;
}

size_t build_agents_poll(const BuildAgents *a, struct pollfd *fds)
{
	for (size_t i = 0; i < a->n_calls; i++)
		fds[i] = (struct pollfd) { .fd = a->calls[i].fd, .events = a->calls[i].out.len ? POLLOUT : POLLIN };
	return a->n_calls;
}

/* 1: an answer is there; 0: not yet; <0: it says nothing. */
static int go_on(BuildAgentCall *c)
{
	ssize_t n;
	if (c->out.len) {
		n = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		buf_consume(&c->out, (size_t) n);
		return 0;
	}
	n = recv(c->fd, buf_reserve(&c->in, 8192), 8192, 0);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -EPIPE;
	buf_added(&c->in, (size_t) n);
	const uint8_t *p = (const uint8_t *) c->in.data;
	if (c->in.len < LENGTH)
		return 0;
	uint32_t len = (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 | (uint32_t) p[2] << 8 | p[3];
	if (len == 0 || len > LIMIT_AGENT_MESSAGE)
		return -EPROTO;
	if (c->in.len - LENGTH < len)
		return 0;
	c->in.len = LENGTH + len; /* whatever else it says was not asked for */
	return 1;
}

void build_agents_ready(BuildAgents *a, const struct pollfd *fds, Buf *frames)
{
	/* From the end, since one that is over is replaced by the last. */
	for (size_t i = a->n_calls; i-- > 0;) {
		BuildAgentCall *c = &a->calls[i];
		int r = fds[i].revents ? go_on(c) : 0;
		if (r > 0)
			put_answer(frames, c->number, c->in.data + LENGTH, c->in.len - LENGTH);
		else if (r < 0)
			refuse(frames, c->number);
		if (r != 0)
			call_done(a, i);
	}
}
