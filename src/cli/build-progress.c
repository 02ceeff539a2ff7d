// SPDX-License-Identifier: Apache-2.0
#include "cli/build-progress.h"

#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/time.h"
#include "cli/client.h"
#include "cli/human.h"
#include "cli/term.h"

#define REDRAW_NS (100 * NSEC_PER_MSEC)
#define LINE_MAX_BYTES 16384 /* a longer line of output is shown in pieces */
#define EXCERPT_LINES 3 /* of the Dockerfile, before the one that failed */

void build_progress_init(BuildProgress *p, ProgressMode mode, int fd, int64_t now)
{
	if (mode == PROGRESS_AUTO)
		mode = term_ansi(fd) ? PROGRESS_LIVE : PROGRESS_PLAIN;
	if (mode == PROGRESS_JSON)
		mode = PROGRESS_QUIET;
	*p = (BuildProgress) { .mode = mode, .fd = fd, .colour = term_colour(fd), .last_step = -1, .began = now };
}

static void step_done(BuildStepView *s)
{
	free(s->title);
	buf_done(&s->partial);
	for (size_t i = 0; i < BUILD_TAIL_LINES; i++)
		free(s->tail[i]);
}

void build_progress_done(BuildProgress *p)
{
	for (size_t i = 0; i < p->n_steps; i++)
		step_done(&p->steps[i]);
	free(p->steps);
	free(p->text);
	*p = (BuildProgress) { 0 };
}

static BuildStepView *step_of(BuildProgress *p, int64_t number)
{
	for (size_t i = 0; i < p->n_steps; i++)
		if (p->steps[i].number == number)
			return &p->steps[i];
	BuildStepView *s = array_append(p->steps, p->n_steps);
	s->number = number;
	return s;
}

static void put(const BuildProgress *p, const Buf *b)
{
	(void) fd_write_all(p->fd, buf_cstr(b), b->len);
}

static void put_seconds(Buf *b, int64_t ns)
{
	buf_printf(b, "%.1fs", (double) (ns > 0 ? ns : 0) / NSEC_PER_SEC);
}

/* ── live ─────────────────────────────────────────────────────────── */

/* Moves up over what was drawn, and erases it. */
static void undraw(BuildProgress *p, Buf *b)
{
	if (p->drawn)
		buf_printf(b, "\r\033[%zuA\033[J", p->drawn);
	p->drawn = 0;
}

void build_progress_clear(BuildProgress *p)
{
	AUTO_BUF b = BUF_INIT;
	undraw(p, &b);
	put(p, &b);
}

static void draw_line(BuildProgress *p, Buf *b, const char *text, const char *right, unsigned columns)
{
	size_t room = columns > strlen(right) + 2 ? columns - strlen(right) - 2 : 1;
	AUTO_FREE char *cut = human_cut(text, room);
	size_t used = term_columns(cut);
	buf_str(b, cut);
	for (; *right && used < room; used++)
		buf_char(b, ' ');
	buf_printf(b, "%s%s\n", *right ? " " : "", right);
	p->drawn++;
}

static void draw(BuildProgress *p, Buf *b, int64_t now)
{
	unsigned columns, rows;
	term_size(p->fd, &columns, &rows);
	p->drawn_at = now;
	if (p->text)
		draw_line(p, b, p->text, "", columns);
	for (size_t i = 0; i < p->n_steps && p->drawn + BUILD_LIVE_LINES + 2 < rows; i++) {
		const BuildStepView *s = &p->steps[i];
		if (!s->running || !s->shown)
			continue;
		AUTO_BUF title = BUF_INIT;
		AUTO_BUF time = BUF_INIT;
		buf_printf(&title, " => %s", s->title ? s->title : "");
		put_seconds(&time, now - s->began);
		draw_line(p, b, buf_cstr(&title), buf_cstr(&time), columns);
		size_t shown = s->n_tail < BUILD_LIVE_LINES ? s->n_tail : BUILD_LIVE_LINES;
		for (size_t k = s->n_tail - shown; k < s->n_tail; k++) {
			AUTO_FREE char *line = xasprintf(" => => # %s", s->tail[k % BUILD_TAIL_LINES]);
			if (p->colour)
				buf_str(b, TERM_DIM);
			draw_line(p, b, line, "", columns);
			if (p->colour)
				buf_str(b, TERM_RESET);
		}
	}
}

void build_progress_tick(BuildProgress *p, int64_t now)
{
	if (p->mode != PROGRESS_LIVE || now - p->drawn_at < REDRAW_NS)
		return;
	AUTO_BUF b = BUF_INIT;
	undraw(p, &b);
	draw(p, &b, now);
	put(p, &b);
}

/* A line that stays, above what is redrawn. */
static void stay(BuildProgress *p, const char *text, const char *right)
{
	AUTO_BUF b = BUF_INIT;
	unsigned columns, rows;
	term_size(p->fd, &columns, &rows);
	undraw(p, &b);
	draw_line(p, &b, text, right, columns);
	p->drawn = 0;
	put(p, &b);
	p->drawn_at = 0;
}

/* ── plain ────────────────────────────────────────────────────────── */

/* Steps that run at the same time take turns: a blank line and the title say whose turn it is. */
static void turn(BuildProgress *p, const BuildStepView *s, Buf *b)
{
	if (p->last_step == s->shown)
		return;
	if (p->last_step >= 0)
		buf_char(b, '\n');
	p->last_step = s->shown;
	buf_printf(b, "#%lld %s\n", (long long) s->shown, s->title ? s->title : "");
}

static void plain_end(BuildProgress *p, const BuildStepView *s, const char *how)
{
	AUTO_BUF b = BUF_INIT;
	turn(p, s, &b);
	buf_printf(&b, "#%lld %s\n", (long long) s->shown, how);
	put(p, &b);
}

static void take_line(BuildProgress *p, BuildStepView *s, int64_t now);

/* ── events ───────────────────────────────────────────────────────── */

static void begin(BuildProgress *p, BuildStepView *s, const json_t *e, int64_t now)
{
	const char *stage = json_text(e, "stage"), *text = json_text(e, "text");
	AUTO_BUF title = BUF_INIT;
	AUTO_BUF raw = BUF_INIT;
	int64_t index = json_number(e, "index");
	AUTO_FREE char *total = xasprintf("%lld", (long long) json_number(e, "total"));
	if (index) {
		s->shown = ++p->n_shown;
		buf_printf(&raw, "[%s%s%*lld/%s] ", stage, *stage ? " " : "", (int) strlen(total), (long long) index, total);
	}
	/* A heredoc or a continued instruction is one line here. */
	buf_append(&raw, text, strcspn(text, "\n"));
	term_clean(&title, buf_cstr(&raw));
	str_set(&s->title, buf_cstr(&title));
	s->line = (unsigned) json_number(e, "line");
	s->began = now;
	s->running = true;
	if (p->mode == PROGRESS_PLAIN && s->shown) {
		AUTO_BUF b = BUF_INIT;
		turn(p, s, &b);
		put(p, &b);
	}
}

static void ended(BuildProgress *p, BuildStepView *s, const json_t *e, bool cached, int64_t now)
{
	const json_t *seconds = json_object_get(e, "seconds");
	AUTO_BUF time = BUF_INIT;
	if (s->partial.len)
		take_line(p, s, now);
	put_seconds(&time, json_is_number(seconds) ? (int64_t) (json_number_value(seconds) * NSEC_PER_SEC) : now - s->began);
	s->running = false;
	if (!s->shown)
		return;
	if (p->mode == PROGRESS_PLAIN) {
		AUTO_FREE char *how = cached ? xstrdup("CACHED") : xasprintf("DONE %s", buf_cstr(&time));
		plain_end(p, s, how);
	} else if (p->mode == PROGRESS_LIVE) {
		AUTO_FREE char *line = xasprintf(" => %s%s", cached ? "CACHED " : "", s->title ? s->title : "");
		stay(p, line, buf_cstr(&time));
	}
}

void build_progress_event(BuildProgress *p, const json_t *e, int64_t now)
{
	const char *warning = json_text(e, "warning"), *state = json_text(e, "state");
	if (*warning) {
		AUTO_FREE char *text = xasprintf("warning: %s", warning);
		build_progress_note(p, text);
		return;
	}
	const char *progress = json_text(e, "progress");
	if (*progress && p->mode == PROGRESS_PLAIN)
		build_progress_note(p, progress);
	else if (*progress)
		build_progress_text(p, progress, now);
	if (!json_is_integer(json_object_get(e, "step")))
		return;
	BuildStepView *s = step_of(p, json_number(e, "step"));
	if (str_eq(state, "begin"))
		begin(p, s, e, now);
	else if (str_eq(state, "cached") || str_eq(state, "done"))
		ended(p, s, e, *state == 'c', now);
	build_progress_tick(p, now);
}

/* ── output ───────────────────────────────────────────────────────── */

static void take_line(BuildProgress *p, BuildStepView *s, int64_t now)
{
	AUTO_BUF clean = BUF_INIT;
	/* What a program draws over and over ("\r 45 %") is shown as it last was. */
	while (s->partial.len && s->partial.data[s->partial.len - 1] == '\r')
		s->partial.data[--s->partial.len] = '\0';
	const char *text = buf_cstr(&s->partial), *last = strrchr(text, '\r');
	const char *one = last ? last + 1 : text;
	term_clean(&clean, one);
	char **slot = &s->tail[s->n_tail++ % BUILD_TAIL_LINES];
	str_set(slot, buf_cstr(&clean));
	buf_clear(&s->partial);
	if (p->mode != PROGRESS_PLAIN)
		return;
	AUTO_BUF b = BUF_INIT;
	turn(p, s, &b);
	buf_printf(&b, "#%lld %.3f %s\n", (long long) s->shown, (double) (now - s->began) / NSEC_PER_SEC, *slot);
	put(p, &b);
}

void build_progress_output(BuildProgress *p, int64_t step, const char *data, size_t n, int64_t now)
{
	BuildStepView *s = step_of(p, step);
	while (n) {
		const char *nl = memchr(data, '\n', n);
		size_t len = nl ? (size_t) (nl - data) : n;
		buf_append(&s->partial, data, len);
		if (nl || s->partial.len > LINE_MAX_BYTES)
			take_line(p, s, now);
		data += len + (nl != NULL);
		n -= len + (nl != NULL);
	}
	build_progress_tick(p, now);
}

void build_progress_text(BuildProgress *p, const char *text, int64_t now)
{
	if (p->mode != PROGRESS_LIVE)
		return;
	str_set(&p->text, text);
	build_progress_tick(p, now);
}

void build_progress_note(BuildProgress *p, const char *text)
{
	AUTO_BUF b = BUF_INIT;
	if (p->mode == PROGRESS_QUIET)
		return;
	undraw(p, &b);
	term_clean(&b, text);
	buf_char(&b, '\n');
	put(p, &b);
	p->drawn_at = 0;
}

/* ── failure ──────────────────────────────────────────────────────── */

void build_progress_excerpt(Buf *b, const char *name, const char *text, unsigned line)
{
	unsigned n = 1;
	buf_printf(b, "%s:%u\n--------------------\n", name, line);
	for (const char *p = text; *p && n <= line + 1; n++) {
		size_t len = strcspn(p, "\n");
		AUTO_FREE char *one = xstrndup(p, len);
		if (n + EXCERPT_LINES >= line) {
			buf_printf(b, "%4u | %s ", n, n == line ? ">>>" : "   ");
			term_clean(b, one);
			buf_char(b, '\n');
		}
		p += len + (p[len] == '\n');
	}
	buf_str(b, "--------------------\n");
}

void build_progress_failure(BuildProgress *p, const char *name, const char *text, int64_t now)
{
	AUTO_BUF b = BUF_INIT;
	for (size_t i = 0; i < p->n_steps; i++) {
		BuildStepView *s = &p->steps[i];
		if (!s->running)
			continue;
		if (s->partial.len)
			take_line(p, s, now);
		if (s->n_tail && p->mode != PROGRESS_PLAIN) {
			size_t shown = s->n_tail < BUILD_TAIL_LINES ? s->n_tail : BUILD_TAIL_LINES;
			buf_printf(&b, "------\n > %s:\n", s->title ? s->title : "");
			for (size_t k = s->n_tail - shown; k < s->n_tail; k++)
				buf_printf(&b, "%s\n", s->tail[k % BUILD_TAIL_LINES]);
			buf_str(&b, "------\n");
		}
		if (s->line && text)
			build_progress_excerpt(&b, name, text, s->line);
	}
	put(p, &b);
}
