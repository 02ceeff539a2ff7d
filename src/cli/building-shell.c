// SPDX-License-Identifier: Apache-2.0
#include "cli/building-shell.h"

#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/term.h"
#include "io/frames.h"

void build_shell_init(BuildShell *s)
{
	*s = (BuildShell) { .active = false };
}

static void put_frame(Buf *b, uint8_t type, const void *p, size_t n)
{
	uint8_t header[FRAME_HEADER];
	frame_header(type, n, header);
	buf_append(b, header, sizeof(header));
	buf_append(b, p, n);
}

bool build_shell_event(BuildShell *s, const json_t *event, BuildProgress *p)
{
	const char *what = json_text(event, "shell");
	if (!*what)
		return false;
	build_progress_clear(p);
	if (str_eq(what, "failed")) {
		cli_warning("no shell in the step that failed: %s", json_text(event, "error"));
		return true;
	}
	fprintf(stderr, "stead: the step has failed; this is a shell in what it has left (exit ends the build)\n");
	p->mode = PROGRESS_QUIET;
	s->active = true;
	s->step = json_number(event, "step");
	s->saved = term_raw(STDIN_FILENO, &s->terminal) == 0;
	return true;
}

bool build_shell_output(const BuildShell *s, int64_t step, const char *p, size_t n)
{
	bool ours = s->active && step == s->step;
	if (ours)
		(void) fd_write_all(STDERR_FILENO, p, n);
	return ours;
}

int build_shell_fd(const BuildShell *s)
{
	return s->active ? STDIN_FILENO : -1;
}

static void put_size(Buf *frames)
{
	unsigned columns, rows;
	term_size(STDERR_FILENO, &columns, &rows);
	const uint8_t size[4] = { (uint8_t) (rows >> 8), (uint8_t) rows, (uint8_t) (columns >> 8), (uint8_t) columns };
	put_frame(frames, 'W', size, sizeof(size));
}

void build_shell_input(BuildShell *s, bool ready, bool resized, Buf *frames)
{
	char data[4096];
	if (!s->active)
		return;
	if (resized || !s->sized)
		put_size(frames);
	s->sized = true;
	ssize_t n = ready ? read(STDIN_FILENO, data, sizeof(data)) : -1;
	if (n > 0)
		put_frame(frames, 'I', data, (size_t) n);
	else if (ready && n == 0)
		put_frame(frames, 'I', "\004", 1); /* standard input has ended: so does the shell */
}

void build_shell_end(BuildShell *s)
{
	if (s->saved)
		term_restore(STDIN_FILENO, &s->terminal);
	*s = (BuildShell) { .active = false };
}
