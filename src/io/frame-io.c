// SPDX-License-Identifier: Apache-2.0
#include "io/frame-io.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "io/frames.h"

int frame_send(int fd, uint8_t type, const void *p, size_t n, Err *err)
{
	uint8_t header[FRAME_HEADER];
	if (n > FRAME_IO_MAX)
		return err_set(err, -EMSGSIZE, "a frame of %zu bytes is longer than %u", n, FRAME_IO_MAX);
	frame_header(type, n, header);
	struct iovec parts[] = { { header, sizeof(header) }, { (void *) p, n } };
	ssize_t written;
	do
		written = writev(fd, parts, n ? 2 : 1);
	while (written < 0 && errno == EINTR);
	int r = written < 0 ? -errno : 0;
	size_t done = written < 0 ? 0 : (size_t) written;
	if (r == 0 && done < sizeof(header))
		r = fd_write_all(fd, header + done, sizeof(header) - done);
	size_t sent = done > sizeof(header) ? done - sizeof(header) : 0;
	if (r == 0 && sent < n)
		r = fd_write_all(fd, (const char *) p + sent, n - sent);
	return r < 0 ? err_errno(err, r, "cannot write to the other side") : 0;
}

int frame_send_json(int fd, uint8_t type, json_t *value, Err *err)
{
	AUTO_FREE char *text = json_dumps(value, JSON_COMPACT);
	json_decref(value);
	if (!text)
		return err_set(err, -EINVAL, "a document for the other side cannot be written as JSON");
	return frame_send(fd, type, text, strlen(text), err);
}

/* Exactly n bytes: their number is less only at the end. For the first one it waits as long as it takes, unless the frame has begun. */
static ssize_t read_full(int fd, void *p, size_t n, bool begun, int patience)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	size_t done = 0;
	while (done < n) {
		if (begun || done) {
			int ready = poll(&wait, 1, patience);
			if (ready == 0)
				return -ETIMEDOUT;
			if (ready < 0 && errno != EINTR)
				return -errno;
		}
		ssize_t r = read(fd, (char *) p + done, n - done);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		done += (size_t) r;
	}
	return (ssize_t) done;
}

static int not_read(int r, Err *err)
{
	return r == -ETIMEDOUT ? err_set(err, r, "the other side stopped in the middle of a frame") :
				 err_errno(err, r, "cannot read from the other side");
}

int frame_receive_head(int fd, int patience, uint8_t *ret_type, size_t *ret_n, Err *err)
{
	uint8_t h[FRAME_HEADER];
	ssize_t r = read_full(fd, h, sizeof(h), false, patience);
	if (r == 0)
		return 0;
	if (r < 0)
		return not_read((int) r, err);
	if (r < FRAME_HEADER)
		return err_set(err, -EPROTO, "the other side ended in the middle of a frame");
	int64_t length = frame_length(h);
	if (length < 0)
		return err_set(err, -EPROTO, "the other side does not speak in frames (it sent %02x %02x %02x %02x)", h[0], h[1], h[2], h[3]);
	*ret_type = h[0];
	*ret_n = (size_t) length;
	return 1;
}

int frame_receive_payload(int fd, int patience, size_t n, size_t max, Buf *ret, Err *err)
{
	if (n > max || n > FRAME_IO_MAX)
		return err_set(err, -EMSGSIZE, "the other side sent a frame of %zu bytes, more than is allowed here", n);
	buf_clear(ret);
	ssize_t r = read_full(fd, buf_reserve(ret, n), n, true, patience);
	if (r < 0)
		return not_read((int) r, err);
	if ((size_t) r < n)
		return err_set(err, -EPROTO, "the other side ended in the middle of a frame");
	buf_added(ret, n);
	return 0;
}

int frame_receive(int fd, uint8_t *ret_type, Buf *ret, size_t max, Err *err)
{
	size_t n;
	int r = frame_receive_head(fd, -1, ret_type, &n, err);
	if (r <= 0)
		return r;
	r = frame_receive_payload(fd, -1, n, max, ret, err);
	return r < 0 ? r : 1;
}
