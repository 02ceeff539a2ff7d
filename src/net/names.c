// SPDX-License-Identifier: Apache-2.0

/*
 * Who lives how long: the daemon makes the listening socket and hands it to a new stead-names as descriptor
 * 3; its own copy is closed, so the socket lives as long as the server. A daemon that starts connects first:
 * if that works the server of its predecessor is there, and lists what it holds; only this once the daemon
 * waits for it, for a millisecond as a rule.
 *
 * `known` are the endpoints whose sockets the server has. When the connection ends unasked while there are
 * any, the server has crashed: it is started again (after a pause if it had just been started) and `lost`
 * makes the daemon tell everything anew.
 */

#include "net/names.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/names-protocol.h"
#include "base/str.h"
#include "base/time.h"
#include "io/child.h"
#include "net/resolver.h"

#define SOCKET_FILE "names.sock"
#define PROGRAM "stead-names"
#define LISTENER_FD 3
#define BACKLOG 4
#define GREETING_MS 2000          /* for the list of a running server */
#define FLUSH_MS 500              /* for what is unsent when the daemon ends */
#define RESTART_MS 1000           /* pause before a server that just crashed is started again */
#define YOUNG (10 * NSEC_PER_SEC) /* crashed sooner than that after its start = "just" */
#define OOM_SCORE_ADJ (-500)

typedef struct Packet {
	struct Packet *next;
	int fds[2]; /* owned; -1 = none */
	size_t size;
	char data[];
} Packet;

struct Names {
	uv_loop_t *loop;
	char *socket_path;
	void (*lost)(void *user);
	void *user;
	int fd;          /* control socket; -1 = no server */
	uv_poll_t *poll; /* of fd; on the heap by itself, as a closed handle outlives the connection */
	uv_timer_t *restart;
	Packet *first, **last;
	char **known;
	char **stale; /* of these, what was there before this connection and was not named again yet */
	NamesUpstreams upstreams;
	Child *child; /* if it is ours */
	pid_t pid;
	int64_t started;
};

static void disconnect(Names *n);

/* ── records out ──────────────────────────────────────────────────── */

static void packet_free(Packet *p)
{
	for (size_t i = 0; i < 2; i++)
		if (p->fds[i] >= 0)
			(void) close(p->fds[i]);
	free(p);
}

static int send_packet(int fd, const Packet *p)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(2 * sizeof(int))];
	} control = { 0 };
	struct iovec io = { (void *) p->data, p->size };
	struct msghdr m = { .msg_iov = &io, .msg_iovlen = 1 };

	if (p->fds[0] >= 0) {
		m.msg_control = &control;
		m.msg_controllen = sizeof(control);
		control.header = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(p->fds)),
			.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(&control.header), p->fds, sizeof(p->fds));
	}
	return sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void watch(Names *n)
{
	(void) uv_poll_start(n->poll, UV_READABLE | (n->first ? UV_WRITABLE : 0), on_poll);
}

/* <0: the connection is broken; then all is dropped when that is read from the socket. */
static int flush(Names *n)
{
	int r = 0;

	while (n->first) {
		Packet *p = n->first;

		r = send_packet(n->fd, p);
		if (r == -EAGAIN || r == -EINTR || r == -ENOBUFS)
			return 0;
		n->first = p->next;
		if (!n->first)
			n->last = &n->first;
		packet_free(p);
		if (r < 0)
			break;
	}
	return r;
}

/* Takes ownership of the sockets (-1: none). */
static void put(Names *n, NamesType type, void *record, size_t size, int udp, int tcp)
{
	Packet *p = xmalloc(sizeof(*p) + size);
	bool waiting = n->first != NULL;

	*(NamesHeader *) record =
		(NamesHeader){ NAMES_MAGIC, NAMES_VERSION, (uint16_t) type, (uint32_t) size };
	*p = (Packet){ .fds = { udp, tcp }, .size = size };
	memcpy(p->data, record, size);
	*n->last = p;
	n->last = &p->next;
	if (!waiting)
		(void) flush(n);
	if (n->first && !waiting)
		watch(n);
}

static void drop_queue(Names *n)
{
	while (n->first) {
		Packet *p = n->first;

		n->first = p->next;
		packet_free(p);
	}
	n->last = &n->first;
}

static void put_header(Names *n, NamesType type)
{
	NamesHeader h;

	put(n, type, &h, sizeof(h), -1, -1);
}

static void put_upstreams(Names *n)
{
	NamesUpstreams u = n->upstreams;

	put(n, NAMES_UPSTREAMS, &u, sizeof(u), -1, -1);
}

/* ── records in ───────────────────────────────────────────────────── */

static bool record_ok(const NamesRecord *r, ssize_t n, size_t size)
{
	return (size_t) n == size && r->header.size == size;
}

/* 1: the list is complete; 0: more to come; <0: nothing that this daemon understands. */
static int take_record(Names *n, const NamesRecord *r, ssize_t size)
{
	if (size < (ssize_t) sizeof(NamesHeader) || r->header.magic != NAMES_MAGIC ||
		r->header.version != NAMES_VERSION)
		return -EPROTO;
	if (r->header.type == NAMES_WELCOME && record_ok(r, size, sizeof(r->welcome))) {
		n->pid = r->welcome.pid;
	} else if (r->header.type == NAMES_LISTED && record_ok(r, size, sizeof(r->id))) {
		AUTO_FREE char *id = xstrndup(r->id.id, sizeof(r->id.id) - 1);

		strv_add(&n->known, id);
		strv_add(&n->stale, id);
	} else if (r->header.type == NAMES_LIST_END) {
		return 1;
	} else if (r->header.type == NAMES_FAILED && record_ok(r, size, sizeof(r->failed))) {
		log_warning("the names server refused a record of type %u: %s", r->failed.type,
			strerror(-r->failed.code));
	}
	return 0;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	Names *n = poll->data;
	union {
		NamesHeader header;
		NamesWelcome welcome;
		NamesId id;
		NamesFailed failed;
		char bytes[512];
	} buf;

	if (events & UV_WRITABLE) {
		(void) flush(n);
		if (!n->first)
			watch(n);
	}
	for (int i = 0; i < 32; i++) {
		ssize_t size = recv(n->fd, &buf, sizeof(buf), MSG_DONTWAIT);

		if (size < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (size <= 0) {
			disconnect(n);
			return;
		}
		(void) take_record(n, (const NamesRecord *) &buf, size);
	}
}

/* ── the server's life ────────────────────────────────────────────── */

static int socket_name(const char *path, struct sockaddr_un *ret, Err *err)
{
	memset(ret, 0, sizeof(*ret));
	ret->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(ret->sun_path))
		return err_set(
			err, -ENAMETOOLONG, "%s is too long for a socket; choose a shorter --run-dir", path);
	memcpy(ret->sun_path, path, strlen(path));
	return 0;
}

static int connect_to(const char *path, Err *err)
{
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un name;
	int r = socket_name(path, &name, err);

	if (r < 0)
		return r;
	if (fd < 0 || connect(fd, (const void *) &name, sizeof(name)) < 0)
		return err_errno(err, -errno, "connect to %s", path);
	return steal_fd(&fd);
}

static void free_handle(uv_handle_t *h)
{
	free(h);
}

/* Takes ownership of fd. */
static int use_connection(Names *n, int fd, Err *err)
{
	uv_poll_t *poll = xcalloc(1, sizeof(*poll));
	int r = uv_poll_init(n->loop, poll, fd);

	if (r < 0) {
		free(poll);
		(void) close(fd);
		return err_errno(err, r, "watch the names server");
	}
	poll->data = n;
	n->poll = poll;
	n->fd = fd;
	watch(n);
	uv_unref((uv_handle_t *) poll); /* it does not keep the daemon from ending */
	return 0;
}

static void close_connection(Names *n)
{
	if (n->fd < 0)
		return;
	uv_close((uv_handle_t *) n->poll, free_handle);
	(void) close(n->fd);
	n->poll = NULL;
	n->fd = -1;
	n->pid = 0;
	drop_queue(n);
}

static int make_listener(const char *path, Err *err)
{
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un name;
	mode_t mask;
	int r = socket_name(path, &name, err);

	if (r < 0)
		return r;
	(void) unlink(path);
	mask = umask(0177);
	r = fd < 0 || bind(fd, (const void *) &name, sizeof(name)) < 0 || listen(fd, BACKLOG) < 0 ? -errno
												  : 0;
	(void) umask(mask);
	return r < 0 ? err_errno(err, r, "listen on %s", path) : steal_fd(&fd);
}

static void on_exit_of_server(void *user, const ChildExit *e)
{
	Names *n = user;

	n->child = NULL;
	if (e->signal || e->code)
		log_warning("the names server ended (%s %d)", e->signal ? "signal" : "code",
			e->signal ? e->signal : e->code);
}

static int spawn(Names *n, int listener, Err *err)
{
	AUTO_FREE char *program = libexec_path(PROGRAM);
	const char *const argv[] = { program, NULL };
	const ChildFd fds[] = { { listener, LISTENER_FD } };

	if (n->child)
		child_forget(n->child);
	n->child = NULL;
	return child_spawn(n->loop,
		&(ChildOptions){ .argv = argv,
			.fds = fds,
			.n_fds = 1,
			.exited = on_exit_of_server,
			.user = n,
			.new_session = true,
			.oom_score_adj = OOM_SCORE_ADJ },
		&n->child, err);
}

/* The first packets wait in the socket until the new process reads them. */
static int start(Names *n, Err *err)
{
	AUTO_CLOSE int listener = make_listener(n->socket_path, err);
	int r = listener < 0 ? listener : spawn(n, listener, err);
	int fd = r < 0 ? r : connect_to(n->socket_path, err);

	r = fd < 0 ? fd : use_connection(n, fd, err);
	if (r < 0)
		return err_wrap(err, "start the names server");
	strv_free(n->known);
	strv_free(n->stale);
	n->known = n->stale = NULL;
	n->started = time_mono();
	n->pid = child_pid(n->child);
	put_header(n, NAMES_HELLO);
	put_upstreams(n);
	return 0;
}

static void on_restart(uv_timer_t *t)
{
	AUTO_ERR err = ERR_INIT;
	Names *n = t->data;

	if (n->fd >= 0)
		return;
	if (start(n, &err) < 0) {
		log_error("%s; trying again", err_text(&err));
		(void) uv_timer_start(t, on_restart, RESTART_MS, 0);
		return;
	}
	if (n->lost)
		n->lost(n->user);
}

static void disconnect(Names *n)
{
	bool young = n->started && time_mono() - n->started < YOUNG;

	close_connection(n);
	if (!n->known) /* it ended as it was asked to */
		return;
	strv_free(n->known);
	strv_free(n->stale);
	n->known = n->stale = NULL;
	(void) uv_timer_start(n->restart, on_restart, young ? RESTART_MS : 0, 0);
}

static int ensure(Names *n, Err *err)
{
	return n->fd >= 0 ? 0 : start(n, err);
}

/* A server of another version, or one that hangs, has to go: the sockets it holds are opened anew. */
static void end_stranger(Names *n)
{
	AUTO_FREE char *path = xasprintf("/proc/%d/comm", (int) n->pid);
	AUTO_BUF comm = BUF_INIT;

	if (n->pid > 1 && file_read(AT_FDCWD, path, 64, &comm) == 0 && str_eq(buf_cstr(&comm), PROGRAM "\n"))
		(void) kill(n->pid, SIGTERM);
	n->pid = 0;
}

/* Waits for the list of what the server of an earlier daemon holds. */
static int greet(Names *n, int fd)
{
	const struct timeval patience = { .tv_sec = GREETING_MS / 1000 };
	const NamesHello hello = { { NAMES_MAGIC, NAMES_VERSION, NAMES_HELLO, sizeof(hello) } };
	int r = 0;

	(void) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (send(fd, &hello, sizeof(hello), MSG_NOSIGNAL) < 0)
		return -errno;
	while (r == 0) {
		union {
			NamesWelcome welcome;
			char bytes[512];
		} buf;
		ssize_t size = recv(fd, &buf, sizeof(buf), 0);

		if (size <= 0)
			return size < 0 ? -errno : -EPIPE;
		if ((size_t) size >= sizeof(buf.welcome) && buf.welcome.header.type == NAMES_WELCOME)
			n->pid = buf.welcome.pid;
		r = take_record(n, (const NamesRecord *) &buf, size);
	}
	return r < 0 ? r : 0;
}

static void join_running(Names *n)
{
	int fd = connect_to(n->socket_path, NULL);
	int r = fd < 0 ? fd : greet(n, fd);

	if (r == 0 && use_connection(n, fd, NULL) == 0)
		return;
	if (fd < 0)
		return;
	(void) close(fd);
	log_info("replacing the running names server (%s)", strerror(-r));
	end_stranger(n);
	strv_free(n->known);
	strv_free(n->stale);
	n->known = n->stale = NULL;
}

int names_new(
	uv_loop_t *loop, const char *run_dir, void (*lost)(void *user), void *user, Names **ret, Err *err)
{
	Names *n = xcalloc(1, sizeof(*n));
	struct sockaddr_un name;
	int r;

	n->loop = loop;
	n->lost = lost;
	n->user = user;
	n->fd = -1;
	n->last = &n->first;
	n->socket_path = xasprintf("%s/" SOCKET_FILE, run_dir);
	r = socket_name(n->socket_path, &name, err);
	if (r < 0) {
		free(n->socket_path);
		free(n);
		return r;
	}
	n->restart = xcalloc(1, sizeof(*n->restart));
	(void) uv_timer_init(loop, n->restart);
	n->restart->data = n;
	join_running(n);
	*ret = n;
	return 0;
}

void names_free(Names *n)
{
	int64_t until = time_mono() + FLUSH_MS * NSEC_PER_MSEC;

	if (!n)
		return;
	while (n->fd >= 0 && n->first && time_mono() < until && flush(n) == 0)
		if (n->first)
			(void) usleep(1000);
	close_connection(n);
	if (n->child)
		child_leave(n->child);
	uv_close((uv_handle_t *) n->restart, free_handle);
	strv_free(n->known);
	strv_free(n->stale);
	free(n->socket_path);
	free(n);
}

/* ── what is told ─────────────────────────────────────────────────── */

static NamesAddress to_record(const Addr *a)
{
	NamesAddress r = { .family = a->family == AF_INET6 ? 6 : 4 };

	memcpy(r.bytes, a->bytes, a->family == AF_INET6 ? 16 : 4);
	return r;
}

static uint32_t to_servers(const Addr *servers, size_t n, NamesAddress ret[NAMES_UPSTREAMS_MAX])
{
	uint32_t used = 0;

	for (size_t i = 0; i < n && used < NAMES_UPSTREAMS_MAX; i++)
		if (addr_set(&servers[i]))
			ret[used++] = to_record(&servers[i]);
	return used;
}

static int put_id(char dst[NAMES_ID_SIZE], const char *id, Err *err)
{
	if (str_empty(id) || strlen(id) >= NAMES_ID_SIZE)
		return err_set(err, -EINVAL, "'%s' is no id", id);
	memcpy(dst, id, strlen(id) + 1);
	return 0;
}

void names_upstreams(Names *n, const Addr *servers, size_t n_servers)
{
	n->upstreams.n = to_servers(servers, n_servers, n->upstreams.servers);
	if (n->fd >= 0)
		put_upstreams(n);
}

static int fill_endpoint(NamesEndpointRecord *r, const NamesEndpoint *e, Err *err)
{
	int res = put_id(r->id, e->id, err);

	r->forward = e->forward;
	r->n_upstreams = to_servers(e->dns, e->n_dns, r->upstreams);
	for (const char *const *network = e->networks; res == 0 && network && *network; network++) {
		if (r->n_networks >= NAMES_NETWORKS_MAX)
			return err_set(
				err, -E2BIG, "a container can be on %d networks at most", NAMES_NETWORKS_MAX);
		res = put_id(r->networks[r->n_networks++], *network, err);
	}
	return res;
}

static void remove_id(char ***list, const char *id)
{
	size_t count = strv_len(*list);

	for (size_t i = 0; i < count; i++) {
		if (!str_eq((*list)[i], id))
			continue;
		free((*list)[i]);
		(*list)[i] = (*list)[count - 1];
		(*list)[count - 1] = NULL;
		break;
	}
	if (count == 1 && *list && !(*list)[0]) { /* NULL = none, see disconnect */
		strv_free(*list);
		*list = NULL;
	}
}

int names_endpoint_add(Names *n, const NamesEndpoint *e, Err *err)
{
	NamesEndpointRecord record = { 0 };
	int udp = -1, tcp = -1;
	int r = fill_endpoint(&record, e, err);

	if (r == 0)
		r = ensure(n, err);
	if (r == 0 && !strv_has(n->known, e->id)) {
		r = resolver_open(e->netns_fd, &udp, &tcp, err);
		if (r == 0)
			strv_add(&n->known, e->id);
	}
	if (r < 0)
		return err_wrap(err, "resolver of container %.12s", e->id);
	remove_id(&n->stale, e->id);
	put(n, NAMES_ENDPOINT, &record, sizeof(record), udp, tcp);
	return 0;
}

void names_endpoint_remove(Names *n, const char *id)
{
	NamesId record = { 0 };

	remove_id(&n->known, id);
	remove_id(&n->stale, id);
	if (n->fd >= 0 && put_id(record.id, id, NULL) == 0)
		put(n, NAMES_ENDPOINT_GONE, &record, sizeof(record), -1, -1);
}

/* What a query can ask for (names/message.c): labels of letters, digits, '-' and '_'. */
static bool name_valid(const char *s)
{
	size_t label = 0, n = 0;

	for (; s[n]; n++) {
		if (s[n] == '.') {
			if (!label)
				return false;
			label = 0;
		} else if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_",
				   s[n]) ||
			   ++label > 63) {
			return false;
		}
	}
	return label && n <= 253;
}

static int add_name(NamesSet *r, const char *name, Err *err)
{
	size_t size = strlen(name) + 1;

	if (!name_valid(name)) {
		/* As in Docker: such a container runs, but nobody can find it by that name. */
		log_warning("'%s' cannot be a name in DNS: labels of 1 to 63 letters, digits, '-' and '_' "
			    "with dots between",
			name);
		return 0;
	}
	if (r->n >= NAMES_PER_ADDRESS_MAX || r->text_size + size > sizeof(r->text))
		return err_set(err, -E2BIG, "a container can have %d names on a network at most",
			NAMES_PER_ADDRESS_MAX);
	memcpy(r->text + r->text_size, name, size);
	r->text_size += (uint32_t) size;
	r->n++;
	return 0;
}

int names_set(Names *n, const char *network_id, const char *network_name, const Addr *address,
	const char *const *names, Err *err)
{
	NamesSet *record = xcalloc(1, sizeof(*record));
	int r = put_id(record->network, network_id, err);

	if (r == 0)
		r = ensure(n, err);
	if (r == 0 && strlen(network_name) >= sizeof(record->network_name))
		r = err_set(err, -EINVAL, "network name '%s' is too long", network_name);
	for (; r == 0 && *names; names++)
		r = add_name(record, *names, err);
	if (r == 0) {
		memcpy(record->network_name, network_name, strlen(network_name));
		record->address = to_record(address);
		put(n, NAMES_SET, record, offsetof(NamesSet, text) + record->text_size, -1, -1);
	}
	free(record);
	return r;
}

void names_clear(Names *n, const char *network_id, const Addr *address)
{
	NamesSet record = { 0 };

	if (n->fd < 0 || put_id(record.network, network_id, NULL) < 0)
		return;
	record.address = to_record(address);
	put(n, NAMES_SET, &record, offsetof(NamesSet, text), -1, -1);
}

void names_synced(Names *n)
{
	/* The server lets go of these now: should one of them come back, it comes with sockets. */
	for (char **id = n->stale; id && *id; id++)
		remove_id(&n->known, *id);
	strv_free(n->stale);
	n->stale = NULL;
	if (n->fd >= 0)
		put_header(n, NAMES_SYNCED);
}

void names_quit(Names *n)
{
	if (n->fd >= 0)
		put_header(n, NAMES_QUIT);
}

pid_t names_pid(const Names *n)
{
	return n->pid;
}
