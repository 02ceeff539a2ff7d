// SPDX-License-Identifier: Apache-2.0
#include "image/ship-part.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/mem.h"
#include "image/ship-protocol.h"
#include "io/frames.h"
#include "model/image.h"

static int read_exact(int fd, uint64_t offset, void *p, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t k = pread(fd, (char *) p + done, n - done, (off_t) (offset + done));
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -errno;
		if (k == 0)
			return 0;
		done += (size_t) k;
	}
	return 1;
}

/* A frame at `offset`: 1, or 0 where there is no whole one. */
static int read_frame(int fd, uint64_t offset, uint64_t end, uint8_t *ret_type, Buf *ret, uint64_t *ret_next)
{
	uint8_t h[FRAME_HEADER];
	int r = offset + FRAME_HEADER > end ? 0 : read_exact(fd, offset, h, sizeof(h));
	if (r <= 0)
		return r;
	int64_t length = frame_length(h);
	size_t n = (size_t) length;
	if (length < 0 || n > SHIP_CONTROL_MAX || n > end - offset - FRAME_HEADER)
		return 0;
	buf_clear(ret);
	if (n && (r = read_exact(fd, offset + FRAME_HEADER, buf_reserve(ret, n), n)) <= 0)
		return r;
	buf_added(ret, n);
	*ret_type = h[0];
	*ret_next = offset + FRAME_HEADER + n;
	return 1;
}

/* How far what is there can be used: to the last end of a segment. What was written without a sync may be anything. */
static int find_end(ShipPart *p, uint64_t size, Err *err)
{
	AUTO_BUF frame = BUF_INIT;
	uint64_t next = 0, position;
	uint8_t type;
	int r;
	while ((r = read_frame(p->fd, next, size, &type, &frame, &next)) == 1) {
		if (type != SHIP_SEGMENT)
			continue;
		if (ship_position_parse(frame.data, frame.len, &position, NULL) < 0 || position <= p->from)
			break;
		ship_part_keep(p, position);
		p->end = next;
	}
	if (r < 0)
		return err_errno(err, r, "%s", p->name);
	if (ftruncate(p->fd, (off_t) p->end) < 0)
		return err_errno(err, -errno, "%s", p->name);
	p->write = p->end;
	return 0;
}

/* The file of that name, locked; -EWOULDBLOCK: another receiver has it. */
static int open_locked(int dir, const char *name)
{
	for (;;) {
		struct stat mine, there;
		AUTO_CLOSE int fd = openat(dir, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &mine) < 0)
			return -errno;
		/* Its last owner may have removed it between the two. */
		if (fstatat(dir, name, &there, AT_SYMLINK_NOFOLLOW) == 0 && there.st_ino == mine.st_ino && there.st_dev == mine.st_dev)
			return steal_fd(&fd);
	}
}

int ship_part_open(Store *s, const char *diff_id, ShipPart *ret, Err *err)
{
	AUTO(ship_part_close) ShipPart p = { .dir = s->state, .fd = -1 };
	AUTO_FREE char *dir = xasprintf("%s/cache/ship", s->path);
	char name[33];
	struct stat st;
	int r = dir_make(dir, 0700);
	if (r < 0)
		return store_write_failed(s, r, dir, err);
	layer_dir_name(diff_id, name);
	p.diff_id = xstrdup(diff_id);
	p.name = xasprintf("cache/ship/%s.part", name);
	p.fd = open_locked(s->state, p.name);
	if (p.fd == -EWOULDBLOCK) {
		free_and_null(&p.name);
		p.fd = store_temp_file(s, err);
		if (p.fd < 0)
			return p.fd;
	} else if (p.fd < 0) {
		return store_write_failed(s, p.fd, p.name, err);
	} else if (fstat(p.fd, &st) < 0) {
		return err_errno(err, -errno, "%s", p.name);
	} else if ((r = find_end(&p, (uint64_t) st.st_size, err)) < 0) {
		return r;
	}
	*ret = p;
	p = (ShipPart) { .fd = -1 };
	return 0;
}

void ship_part_close(ShipPart *p)
{
	if (p->fd >= 0)
		(void) close(p->fd);
	free(p->diff_id);
	free(p->name);
	*p = (ShipPart) { .fd = -1 };
}

int ship_part_clear(ShipPart *p, Err *err)
{
	p->end = p->write = p->from = p->read = 0;
	p->forgotten = false;
	return ftruncate(p->fd, 0) < 0 ? err_errno(err, -errno, "%s", p->name ? p->name : "a temporary file") : 0;
}

void ship_part_forget(ShipPart *p)
{
	(void) ship_part_clear(p, NULL);
	p->forgotten = true;
}

void ship_part_remove(ShipPart *p)
{
	if (p->name && p->fd >= 0)
		(void) unlinkat(p->dir, p->name, 0);
	free_and_null(&p->name);
}

int ship_part_append(ShipPart *p, uint8_t type, const void *data, size_t n, Err *err)
{
	uint8_t h[FRAME_HEADER];
	if (p->forgotten)
		return 0;
	frame_header(type, n, h);
	const struct { const void *p; size_t n; } pieces[] = { { h, sizeof(h) }, { data, n } };
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++)
		for (size_t done = 0; done < pieces[i].n;) {
			ssize_t k = pwrite(p->fd, (const char *) pieces[i].p + done, pieces[i].n - done, (off_t) p->write);
			if (k < 0 && errno == EINTR)
				continue;
			if (k < 0)
				return err_errno(err, -errno, "keeping what has come of layer %s", p->diff_id);
			done += (size_t) k;
			p->write += (uint64_t) k;
		}
	return 0;
}

void ship_part_keep(ShipPart *p, uint64_t position)
{
	if (p->forgotten)
		return;
	p->end = p->write;
	p->from = position;
}

void ship_part_rewind(ShipPart *p)
{
	p->read = 0;
}

int ship_part_next(ShipPart *p, uint8_t *ret_type, Buf *ret, Err *err)
{
	int r = read_frame(p->fd, p->read, p->end, ret_type, ret, &p->read);
	return r < 0 ? err_errno(err, r, "what was kept of layer %s", p->diff_id) : r;
}
