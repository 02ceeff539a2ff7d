// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/client.h"

typedef struct SaveOptions {
	const char *output;
} SaveOptions;

static const Option options[] = {
	{ "output", 'o', OPTION_STRING, offsetof(SaveOptions, output), "FILE", "Write to a file instead of standard output", "file" },
	{ NULL },
};

static int copy(HttpClient *c, int fd, const char *name, Err *err)
{
	AUTO_FREE char *piece = xmalloc(65536);
	for (;;) {
		ssize_t n = http_read(c, piece, 65536, err);
		if (n <= 0)
			return (int) n;
		int r = fd_write_all(fd, piece, (size_t) n);
		if (r < 0)
			return err_errno(err, r, "write %s", name);
	}
}

/* The file appears under its name only when it is whole. */
static int copy_to_file(HttpClient *c, const char *path, Err *err)
{
	if (file_is_special(AT_FDCWD, path)) {
		AUTO_CLOSE int special = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
		return special < 0 ? err_errno(err, -errno, "open %s", path) : copy(c, special, path, err);
	}
	AUTO_FREE char *temporary = xasprintf("%s.part.%d", path, (int) getpid());
	AUTO_CLOSE int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(err, -errno, "create %s", temporary);
	int r = copy(c, fd, path, err);
	if (r == 0 && fchmod(fd, 0644) < 0)
		r = err_errno(err, -errno, "set the mode of %s", temporary);
	if (r == 0 && rename(temporary, path) < 0)
		r = err_errno(err, -errno, "rename %s to %s", temporary, path);
	if (r < 0)
		(void) unlink(temporary);
	return r;
}

static int run(Cli *cli, void *values, char **args)
{
	const SaveOptions *o = values;
	AUTO_HTTP *client = NULL;
	AUTO_ERR err = ERR_INIT;
	AUTO_BUF url = BUF_INIT;
	if (!o->output && isatty(STDOUT_FILENO) == 1)
		return cli_usage(cli, "an archive does not belong on a terminal: use -o FILE, or a pipe");
	int code = client_open_or_fail(cli, &client);
	if (code)
		return code;
	buf_str(&url, "/images/get");
	for (char **a = args; *a; a++)
		http_url_query(&url, "names", *a);
	int r = http_call(client, "GET", buf_cstr(&url), NULL, false, &err);
	if (r >= 0)
		r = o->output ? copy_to_file(client, o->output, &err) : copy(client, STDOUT_FILENO, "standard output", &err);
	return r < 0 ? cli_fail(&err) : EXIT_DONE;
}

const Command command_save = {
	.name = "save",
	.operands = "IMAGE...",
	.summary = "Write images to an archive",
	.text = "The archive is one that 'stead load', 'docker load' and 'podman load' take.",
	.options = options,
	.size = sizeof(SaveOptions),
	.min = 1,
	.max = -1,
	.complete = "image",
	.run = run,
};
