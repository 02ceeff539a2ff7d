// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the tests of shipping share: state directories, images made of tars, and a ship between two of them, with the sender in a child
 * and, if wanted, a relay between that ends or stands still after a number of bytes.
 */

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "image/archive.h"
#include "image/ship.h"
#include "image/testing.h"

typedef struct Box {
	Store store;
	char *path;
} Box;

static int box_count;

static inline void box_new(Box *b)
{
	AUTO_ERR err = ERR_INIT;
	char name[32];
	(void) snprintf(name, sizeof(name), "box-%d", box_count++);
	b->path = scratch_path(name);
	if (store_open(b->path, &b->store, &err) < 0)
		fail_msg("%s", err_text(&err));
}

static inline void box_done(Box *b)
{
	store_close(&b->store);
	free(b->path);
}

static inline void digest_buf(const Buf *b, char dst[sizeof(DIGEST_PREFIX) + 64])
{
	memcpy(dst, DIGEST_PREFIX, sizeof(DIGEST_PREFIX));
	digest_sha256(buf_cstr(b), b->len, dst + strlen(DIGEST_PREFIX));
}

/** A docker archive of an image "t:1" with these layers (whole tars). */
static inline void make_archive(const Buf *layers, size_t n, Buf *archive)
{
	AUTO_BUF config = BUF_INIT;
	AUTO_BUF manifest = BUF_INIT;
	char digest[sizeof(DIGEST_PREFIX) + 64];
	buf_str(&config, "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Cmd\":[\"/a\"]},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[");
	buf_str(&manifest, "[{\"Config\":\"c.json\",\"RepoTags\":[\"t:1\"],\"Layers\":[");
	for (size_t i = 0; i < n; i++) {
		digest_buf(&layers[i], digest);
		buf_printf(&config, "%s\"%s\"", i ? "," : "", digest);
		buf_printf(&manifest, "%s\"%zu.tar\"", i ? "," : "", i);
		AUTO_FREE char *name = xasprintf("%zu.tar", i);
		put_bytes(archive, name, layers[i].data, layers[i].len);
	}
	buf_str(&config, "]}}");
	buf_str(&manifest, "]}]");
	put_bytes(archive, "c.json", config.data, config.len);
	put_bytes(archive, "manifest.json", manifest.data, manifest.len);
	tar_write_end(archive);
}

/** The image is loaded into the box. Gives its id; the caller's. */
static inline char *box_load(Box *b, const Buf *layers, size_t n)
{
	AUTO_BUF archive = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	AUTO_IMAGE_LIST images = { 0 };
	make_archive(layers, n, &archive);
	AUTO_CLOSE int fd = store_temp_file(&b->store, &err);
	if (fd < 0 || fd_write_all(fd, archive.data, archive.len) < 0 || lseek(fd, 0, SEEK_SET) < 0 ||
		archive_load(&b->store, fd, &images, &err) < 0)
		fail_msg("%s", err_text(&err));
	return xstrdup(images.items[0]->id);
}

/** The layer's tar is there and gives its digest. */
static inline bool box_has(Box *b, const Buf *layer)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_STREAM tar = NULL;
	LayerInfo info;
	char digest[sizeof(DIGEST_PREFIX) + 64], found[sizeof(DIGEST_PREFIX) + 64];
	digest_buf(layer, digest);
	if (store_layer(&b->store, digest, &info, &err) != 1)
		return false;
	if (store_layer_tar(&b->store, digest, &tar, &err) < 0)
		fail_msg("%s", err_text(&err));
	AUTO_STREAM hash = stream_hash(tar);
	if (stream_hash_finish(hash, found, NULL, &err) < 0)
		fail_msg("%s", err_text(&err));
	assert_string_equal(found, digest);
	return true;
}

typedef struct Ship {
	Box *from, *to;
	const char *id;
	const char *options; /* of the receiver, JSON; NULL = none */
	const char *archive; /* path of an archive that the sender takes; NULL = what `from` has */
	const char *sender_options; /* JSON; NULL = none */
	uint64_t cut;        /* bytes from sender to receiver after which the connection ends; 0 = never */
	uint64_t stall;      /* bytes after which nothing is passed on any more, for ever; 0 = never */
	/* results */
	uint64_t sent;       /* bytes from sender to receiver */
	uint64_t back;       /* the other way */
	int sender;          /* its exit code: 0 or 1 */
	Err err;             /* the receiver's */
	Err sender_err;
} Ship;

static inline void ship_child_send(const Ship *s, int fd, int report)
{
	AUTO_ERR err = ERR_INIT;
	Store store;
	ShipSource *source = NULL;
	json_t *images = json_pack("[{s:s, s:[s]}]", "id", s->id, "tags", "docker.io/library/t:1");
	json_t *options = s->sender_options ? json_loads(s->sender_options, 0, NULL) : json_object();
	int archive = s->archive ? open(s->archive, O_RDONLY | O_CLOEXEC) : -1;
	int r = store_open(s->from->path, &store, &err);
	if (r == 0 && (r = s->archive || json_object_get(options, "layout") ? ship_source_archive(&store, options, archive, &source, &err) :
									    ship_source_state(&store, images, &source, &err)) == 0)
		r = ship_send(source, options, fd, fd, &err);
	if (r < 0)
		(void) !write(report, err_text(&err), strlen(err_text(&err)));
	ship_source_free(source);
	store_close(&store);
	json_decref(images);
	json_decref(options);
	_exit(r < 0);
}

/* Passes bytes on both ways, until both ends are done. */
static inline void ship_relay(Ship *s, int a, int b, int report)
{
	char chunk[4096];
	uint64_t counts[2] = { 0 };
	struct pollfd p[2] = { { .fd = a, .events = POLLIN }, { .fd = b, .events = POLLIN } };
	bool cut = false;
	while (!cut && (p[0].fd >= 0 || p[1].fd >= 0) && poll(p, 2, -1) > 0)
		for (int i = 0; i < 2 && !cut; i++) {
			if (p[i].fd < 0 || !p[i].revents)
				continue;
			ssize_t n = read(i ? b : a, chunk, sizeof(chunk));
			if (n <= 0) {
				(void) shutdown(i ? a : b, SHUT_WR);
				p[i].fd = -1;
				continue;
			}
			while (i == 0 && s->stall && counts[0] >= s->stall) {
				/* Until the receiver is gone. */
				struct pollfd gone = { .fd = b, .events = 0 };
				if (poll(&gone, 1, -1) > 0)
					_exit(0);
			}
			if (i == 0 && s->cut && counts[0] + (uint64_t) n >= s->cut) {
				n = (ssize_t) (s->cut - counts[0]);
				cut = true;
			}
			counts[i] += (uint64_t) n;
			(void) fd_write_all(i ? a : b, chunk, (size_t) n);
		}
	(void) fd_write_all(report, counts, sizeof(counts));
	_exit(0);
}

/** Gives the receiver's result. */
static inline int ship_run(Ship *s, ImageList *ret)
{
	int a[2], b[2], relay_report[2], report[2], status;
	uint64_t counts[2] = { 0 };
	char text[1024];
	err_done(&s->err);
	err_done(&s->sender_err);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, a), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, b), 0);
	assert_int_equal(pipe2(relay_report, O_CLOEXEC), 0);
	assert_int_equal(pipe2(report, O_CLOEXEC), 0);
	(void) signal(SIGPIPE, SIG_IGN);
	pid_t sender = fork();
	if (sender == 0) {
		(void) close(a[1]);
		(void) close(b[0]);
		(void) close(b[1]);
		ship_child_send(s, a[0], report[1]);
	}
	pid_t relay = fork();
	if (relay == 0) {
		(void) close(a[0]);
		(void) close(b[1]);
		ship_relay(s, a[1], b[0], relay_report[1]);
	}
	(void) close(a[0]);
	(void) close(a[1]);
	(void) close(b[0]);
	(void) close(relay_report[1]);
	(void) close(report[1]);
	json_t *options = s->options ? json_loads(s->options, 0, NULL) : json_object();
	int r = ship_receive(&s->to->store, options, b[1], b[1], ret, &s->err);
	json_decref(options);
	(void) close(b[1]);
	assert_int_equal(read(relay_report[0], counts, sizeof(counts)), sizeof(counts));
	s->sent = counts[0];
	s->back = counts[1];
	assert_int_equal(waitpid(relay, &status, 0), relay);
	assert_int_equal(waitpid(sender, &status, 0), sender);
	assert_true(WIFEXITED(status));
	s->sender = WEXITSTATUS(status);
	ssize_t n = read(report[0], text, sizeof(text) - 1);
	if (n > 0)
		(void) err_set(&s->sender_err, -EIO, "%.*s", (int) n, text);
	(void) close(relay_report[0]);
	(void) close(report[0]);
	return r;
}

static inline void ship_ok(Ship *s)
{
	AUTO_IMAGE_LIST images = { 0 };
	if (ship_run(s, &images) < 0)
		fail_msg("%s", err_text(&s->err));
	if (s->sender)
		fail_msg("sender: %s", err_text(&s->sender_err));
	assert_int_equal(images.n, 1);
	assert_string_equal(images.items[0]->id, s->id);
	assert_string_equal(images.items[0]->tags[0], "docker.io/library/t:1");
}

/* Bytes that nothing compresses, the same for the same seed. */
static inline void put_noise(Buf *b, uint64_t seed, size_t n)
{
	for (size_t i = 0; i < n; i += 8) {
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		uint64_t x = seed ^ (seed >> 29);
		x *= 0xbf58476d1ce4e5b9ULL;
		x ^= x >> 32;
		buf_append(b, &x, n - i < 8 ? n - i : 8);
	}
}
