// SPDX-License-Identifier: Apache-2.0
#include "cli/upload.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "cli/term.h"

#define SHOW_INTERVAL (100 * NSEC_PER_MSEC)

int upload_open(const Cli *cli, const char *path, Upload *ret)
{
	struct stat st;
	*ret = (Upload) { .fd = STDIN_FILENO };
	if (!path || str_eq(path, "-")) {
		if (isatty(STDIN_FILENO) == 1)
			return cli_usage(cli, "an archive from a terminal makes no sense: give a file, or pipe it in");
	} else {
		ret->fd = open(path, O_RDONLY | O_CLOEXEC);
		if (ret->fd < 0) {
			cli_error("%s: %s", path, strerror(errno));
			return EXIT_USAGE;
		}
	}
	if (fstat(ret->fd, &st) == 0 && S_ISREG(st.st_mode))
		ret->size = st.st_size;
	if (fstat(ret->fd, &st) == 0 && S_ISDIR(st.st_mode)) {
		cli_error("%s is a directory, not an archive", path ? path : "standard input");
		upload_close(ret);
		return EXIT_USAGE;
	}
	ProgressMode mode = cli_progress_mode(cli);
	ret->live = mode == PROGRESS_LIVE || (mode == PROGRESS_AUTO && term_ansi(STDERR_FILENO));
	return 0;
}

static void show(void *user, size_t sent)
{
	Upload *u = user;
	int64_t now = time_mono();
	if (!u->live || now - u->shown_at < SHOW_INTERVAL)
		return;
	AUTO_FREE char *done = format_bytes((int64_t) sent), *all = format_bytes(u->size);
	u->shown_at = now;
	fprintf(stderr, u->size ? "\r\033[Ksending %s of %s" : "\r\033[Ksending %s", done, all);
}

int upload_send(Upload *u, HttpClient *c, const char *target, Err *err)
{
	const HttpBody body = { .stream = true, .fd = u->fd, .type = "application/x-tar", .progress = show, .user = u };
	int r = http_call(c, "POST", target, &body, false, err);
	if (u->shown_at)
		fprintf(stderr, "\r\033[K");
	return r;
}

void upload_close(Upload *u)
{
	if (u->fd > STDERR_FILENO)
		(void) close(u->fd);
	u->fd = -1;
}
