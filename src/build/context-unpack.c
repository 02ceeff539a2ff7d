// SPDX-License-Identifier: Apache-2.0
#include "build/context-unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/fetch.h"
#include "image/report.h"
#include "image/sandbox.h"
#include "image/tar.h"
#include "image/unpack.h"

/* A stream whose beginning was read already. */
typedef struct Begun {
	Stream s;
	Stream *head, *rest; /* borrowed */
} Begun;

static ssize_t begun_read(Stream *s, void *p, size_t n, Err *err)
{
	Begun *b = (Begun *) s;
	ssize_t k = stream_read(b->head, p, n, err);
	return k ? k : stream_read(b->rest, p, n, err);
}

static int check_whole(const UnpackResult *u, Err *err)
{
	/* Holes cost nothing so far; from here on they would be read, and sent as zeros. */
	int r = stream_check_ratio(u->bytes + u->holes, u->bytes + u->entries * TAR_BLOCK, err);
	return r < 0 ? r : u->complete ? 0 : err_set(err, -EINVAL, "the tar archive is cut off: its end marker is missing");
}

static int unpack_tar(const char *dir, Stream *head, Stream *rest, Err *err)
{
	UnpackResult result;
	Begun b = { { .read = begun_read }, head, rest };
	AUTO_FREE char *path = xasprintf("%s/context", dir);
	if (mkdir(path, 0755) < 0)
		return err_errno(err, -errno, "make %s", path);
	AUTO_CLOSE int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_errno(err, -errno, "%s", path);
	int r = unpack_files(&b.s, root, &result, err);
	return r < 0 ? r : check_whole(&result, err);
}

/* Text is the client's to judge. */
static int write_text(const char *dir, Stream *head, Stream *rest, Err *err)
{
	Begun b = { { .read = begun_read }, head, rest };
	AUTO_FREE char *text = xmalloc(LIMIT_DOCKERFILE_BYTES + 1);
	AUTO_FREE char *path = xasprintf("%s/Dockerfile", dir);
	ssize_t n = stream_read_full(&b.s, text, LIMIT_DOCKERFILE_BYTES + 1, err);
	if (n < 0)
		return (int) n;
	if (n > LIMIT_DOCKERFILE_BYTES)
		return err_set(err, -EFBIG, "it is no tar archive, and for a Dockerfile too large (more than %u bytes)", LIMIT_DOCKERFILE_BYTES);
	int r = file_write_atomic(AT_FDCWD, path, text, (size_t) n, 0600, false);
	return r < 0 ? err_errno(err, r, "%s", path) : 0;
}

static int take(const char *dir, Stream *raw, Err *err)
{
	char head[TAR_BLOCK];
	bool packed = false;
	AUTO_STREAM plain = NULL;
	int r = stream_unpack(raw, LIMIT_CONTEXT_BYTES, &plain, &packed, err);
	if (r < 0)
		return r;
	ssize_t n = stream_read_full(plain, head, sizeof(head), err);
	if (n < 0)
		return (int) n;
	AUTO_STREAM begin = stream_memory(head, (size_t) n);
	/* An empty archive is zeros. */
	if (n == sizeof(head) && (tar_begins(head) || !head[0]))
		return unpack_tar(dir, begin, plain, err);
	return packed ? err_set(err, -EINVAL, "it is compressed, but no tar archive") : write_text(dir, begin, plain, err);
}

static void say_waiting(void *user, const char *text)
{
	report_progress("%s: %s", (const char *) user, text);
}

int context_unpack(const char *dir, const char *url, int fd, Err *err)
{
	AUTO_FETCHER fetcher = NULL;
	Stream *raw = NULL;
	const FetchRequest q = { .url = url };
	AUTO_FREE char *name = xstrdup(url ? url : "");
	const FetchCalls calls = { .waiting = say_waiting, .user = name };
	const FetchExpect any = { .size = FETCH_ANY_SIZE, .max = LIMIT_CONTEXT_BYTES };
	int r = url ? fetcher_new(&fetcher, err) : 0;
	if (r < 0 || (r = sandbox_enter(dir, err)) < 0)
		return r;
	r = url ? fetcher_get(fetcher, &q, &calls, &any, &raw, err) : 0;
	return r < 0 ? r : take(dir, url ? raw : stream_fd(fd), err);
}
