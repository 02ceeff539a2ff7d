// SPDX-License-Identifier: Apache-2.0
/*
 * How it works: rows are kept in the order in which objects first appear. The live table is drawn
 * whole each time, at most ten times a second: the cursor goes up over what was drawn before,
 * everything below is cleared, and the new lines are written in one write, so nothing flickers. The
 * number of lines to go up is computed from the columns of each drawn line and the width of the
 * terminal at that moment, since a terminal that became narrower has wrapped them. Where the
 * table is higher than the screen, finished rows give way first.
 */
#include "cli/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "cli/human.h"
#include "cli/term.h"

#define REDRAW_INTERVAL (100 * NSEC_PER_MSEC)

typedef enum StatusClass { STATUS_ACTIVE, STATUS_WAITING, STATUS_FINISHED, STATUS_FAILED } StatusClass;

/* Steps of a deploy follow each other in one row, whose end only the end of the whole thing is. */
static StatusClass service_class(const char *status)
{
	if (str_ends(status, " failed"))
		return STATUS_FAILED;
	return str_eq(status, "deployed") || str_eq(status, "restored") ? STATUS_FINISHED : STATUS_ACTIVE;
}

static StatusClass status_class(const char *kind, const char *status)
{
	static const struct {
		const char *status;
		StatusClass class;
	} table[] = {
		{ "waiting", STATUS_WAITING }, { "created", STATUS_FINISHED }, { "started", STATUS_FINISHED },
		{ "healthy", STATUS_FINISHED }, { "exited", STATUS_FINISHED }, { "running", STATUS_FINISHED },
		{ "stopped", STATUS_FINISHED }, { "removed", STATUS_FINISHED }, { "recreated", STATUS_FINISHED },
		{ "killed", STATUS_FINISHED }, { "failed", STATUS_FAILED }, { "pulled", STATUS_FINISHED }, { "pushed", STATUS_FINISHED },
		{ "already here", STATUS_FINISHED }, { "already there", STATUS_FINISHED },
	};
	if (str_eq(kind, "service"))
		return service_class(status);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (str_eq(table[i].status, status))
			return table[i].class;
	return STATUS_ACTIVE;
}

static bool locale_utf8(void)
{
	static const char *const names[] = { "LC_ALL", "LC_CTYPE", "LANG" };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *v = getenv(names[i]);
		if (!str_empty(v))
			return strcasestr(v, "utf-8") || strcasestr(v, "utf8");
	}
	return false;
}

void progress_init(Progress *p, ProgressMode mode, int fd, const char *project)
{
	*p = (Progress) { .mode = mode, .fd = fd, .project = xstrdup(project) };
	if (mode == PROGRESS_AUTO)
		p->mode = term_ansi(fd) ? PROGRESS_LIVE : PROGRESS_PLAIN;
	p->colour = term_colour(fd);
	p->utf8 = locale_utf8();
}

const char *progress_short_name(const char *project, const char *name)
{
	size_t n = project ? strlen(project) : 0;
	if (n && strncmp(name, project, n) == 0 && name[n] == '-' && name[n + 1])
		return name + n + 1;
	return name;
}

static ProgressRow *row_of(Progress *p, const char *kind, const char *name, int64_t now)
{
	for (size_t i = 0; i < p->n_rows; i++)
		if (str_eq(p->rows[i].kind, kind) && str_eq(p->rows[i].name, name))
			return &p->rows[i];
	ProgressRow *r = array_append(p->rows, p->n_rows);
	r->kind = xstrdup(kind);
	r->name = xstrdup(name);
	if (str_eq(kind, "container"))
		r->label = xstrdup(progress_short_name(p->project, name));
	else if (str_eq(kind, "service"))
		r->label = xstrdup(name);
	else
		r->label = xasprintf("%s %s", kind, name);
	r->since = now;
	return r;
}

static void write_all(const Progress *p, const Buf *b)
{
	(void) fd_write_all(p->fd, buf_cstr(b), b->len); /* a closed terminal does not stop the operation */
}

static char *clean(const json_t *o, const char *key)
{
	Buf b = BUF_INIT;
	term_clean(&b, json_string_value(json_object_get(o, key)));
	return buf_steal(&b);
}

/* The row of an object has this status from now on. Gives whether that is news. */
static bool set_status(Progress *p, const char *kind, const char *name, const char *status, int64_t now)
{
	ProgressRow *r = row_of(p, kind, name, now);
	bool same = str_eq(r->status, status);
	StatusClass class = status_class(kind, status);
	str_set(&r->status, status);
	if (class == STATUS_FINISHED || class == STATUS_FAILED)
		r->until = r->until && same ? r->until : now;
	else
		r->until = 0;
	return !same;
}

/* Words for a step of a deploy: while it is under way, and once it is done. */
static char *step_words(const char *step, const char *status)
{
	static const struct {
		const char *step, *begin, *done;
	} table[] = {
		{ "wait", "waiting", "waited" },
		{ "pre_deploy", "running pre_deploy", "pre_deploy done" },
		{ "start", "starting", "started" },
		{ "health", "waiting for health", "healthy" },
		{ "settle", "seeing if it lasts", "lasts" },
		{ "smoke", "smoke test", "smoke test passed" },
		{ "switch", "switching", "switched" },
		{ "drain", "draining", "drained" },
		{ "stop", "stopping", "stopped" },
		{ "bake", "watching", "watched" },
		{ "retire", "retiring the old", "old retired" },
		{ "post_deploy", "running post_deploy", "post_deploy done" },
		{ "restore", "restoring", "restored" },
	};
	if (str_eq(status, "failed"))
		return xasprintf("%s failed", step);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (str_eq(table[i].step, step))
			return xstrdup(str_eq(status, "done") ? table[i].done : table[i].begin);
	return xasprintf("%s%s", step, str_eq(status, "done") ? " done" : "");
}

/* A line that a hook has written. */
static void hook_output(Progress *p, const char *service, const char *step, const char *text)
{
	AUTO_FREE char *line = xasprintf("%s  %s | %s", service, step, text);
	if (p->mode != PROGRESS_QUIET)
		progress_note(p, line);
}

static void deploy_event(Progress *p, const json_t *event, int64_t now)
{
	AUTO_FREE char *service = clean(event, "service"), *step = clean(event, "step"), *status = clean(event, "status");
	AUTO_FREE char *detail = clean(event, "detail"), *words = step_words(step, status);
	const json_t *seconds = json_object_get(event, "seconds");
	if (str_eq(status, "output")) {
		hook_output(p, service, step, detail);
		return;
	}
	AUTO_BUF line = BUF_INIT;
	buf_printf(&line, "%s%s%s", service, *service ? "  " : "", words);
	if (json_is_number(seconds) && !str_eq(status, "begin"))
		buf_printf(&line, "  %.2fs", json_number_value(seconds));
	buf_printf(&line, "%s%s", *detail ? "  " : "", detail);
	if (*service) {
		p->by_service = true;
		(void) set_status(p, "service", service, words, now);
	}
	if (p->mode == PROGRESS_PLAIN) {
		buf_char(&line, '\n');
		write_all(p, &line);
	} else if (p->mode == PROGRESS_LIVE) {
		/* What is about no service, waiting for another deploy say, is shown below the table while it lasts. */
		str_set(&p->text, !*service && str_eq(status, "begin") ? buf_cstr(&line) : NULL);
	}
}

void progress_settle(Progress *p, int64_t now)
{
	for (size_t i = 0; i < p->n_rows; i++)
		if (str_eq(p->rows[i].kind, "service") && !p->rows[i].until)
			(void) set_status(p, "service", p->rows[i].name, "deployed", now);
}

void progress_event(Progress *p, const json_t *event, int64_t now)
{
	AUTO_FREE char *kind = clean(event, "kind"), *name = clean(event, "name"), *status = clean(event, "status");
	if (p->mode == PROGRESS_JSON) {
		AUTO_FREE char *text = json_dumps(event, JSON_COMPACT);
		(void) printf("%s\n", text ? text : "{}");
		(void) fflush(stdout);
		return;
	}
	if (str_eq(kind, "deploy")) {
		deploy_event(p, event, now);
		progress_tick(p, now);
		return;
	}
	if (!*kind || !*name || !*status || (p->by_service && p->mode == PROGRESS_LIVE && str_eq(kind, "container")))
		return;
	bool news = set_status(p, kind, name, status, now);
	if (p->mode == PROGRESS_PLAIN && news) {
		AUTO_BUF line = BUF_INIT;
		buf_printf(&line, "%s%s%s  %s\n", str_eq(kind, "container") ? "" : kind, str_eq(kind, "container") ? "" : " ", name, status);
		write_all(p, &line);
	}
	progress_tick(p, now);
}

static void render_row(const Progress *p, const ProgressRow *r, size_t label_width, size_t status_width, unsigned columns, int64_t now, Buf *out)
{
	static const char *const spinner[] = { "⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏" };
	static const char ascii[] = "-\\|/";
	static const char *const colours[] = { TERM_BLUE, TERM_DIM, TERM_GREEN, TERM_RED };
	StatusClass class = status_class(r->kind, r->status);
	uint64_t turn = (uint64_t) (now / REDRAW_INTERVAL);
	char spin[2] = { ascii[turn % 4], '\0' };
	const char *mark = p->utf8 ? spinner[turn % ARRAY_SIZE(spinner)] : spin;
	if (class == STATUS_FINISHED)
		mark = p->utf8 ? "✔" : "+";
	else if (class == STATUS_FAILED)
		mark = p->utf8 ? "✘" : "!";
	else if (class == STATUS_WAITING)
		mark = p->utf8 ? "·" : ".";
	double seconds = (double) ((r->until ? r->until : now) - r->since) / NSEC_PER_SEC;
	AUTO_FREE char *rest = xasprintf("  %-*s %6.1fs", (int) status_width, r->status, seconds);
	/* Three columns stand before the label and one stays free; a label that does not fit is cut, so that no line wraps. */
	size_t room = columns > strlen(rest) + 4 ? columns - strlen(rest) - 4 : 1;
	size_t width = label_width < room ? label_width : room;
	buf_printf(out, " %s%s%s ", p->colour ? colours[class] : "", mark, p->colour ? TERM_RESET : "");
	const char *s = r->label;
	for (size_t n = 0; n < width; n++) {
		if (!*s) {
			buf_char(out, ' ');
			continue;
		}
		do
			buf_char(out, *s++);
		while (((unsigned char) *s & 0xc0) == 0x80);
	}
	buf_printf(out, "%s%s%s\n", p->colour ? colours[class] : "", rest, p->colour ? TERM_RESET : "");
}

void progress_render(const Progress *p, unsigned columns, unsigned rows, bool all, int64_t now, Buf *out)
{
	size_t finished = 0, width = 0, status_width = 10, room = rows > 4 ? rows - 3 : 1;
	for (size_t i = 0; i < p->n_rows; i++) {
		size_t n = term_columns(p->rows[i].label);
		width = n > width ? n : width;
		n = term_columns(p->rows[i].status);
		status_width = n > status_width ? n : status_width;
		finished += p->rows[i].until != 0;
	}
	if (!p->n_rows)
		return;
	AUTO_BUF head = BUF_INIT;
	buf_printf(&head, "[%s] ", finished == p->n_rows ? "+" : " ");
	if (p->project)
		term_clean(&head, p->project);
	buf_printf(&head, "  %zu/%zu", finished, p->n_rows);
	if (term_columns(buf_cstr(&head)) < columns)
		buf_printf(out, "%s\n", buf_cstr(&head));
	size_t hide = !all && p->n_rows > room ? p->n_rows - room : 0, hidden = 0, shown = 0;
	for (size_t i = 0; i < p->n_rows; i++) {
		const ProgressRow *r = &p->rows[i];
		bool finished_well = r->until && status_class(r->kind, r->status) == STATUS_FINISHED;
		if ((hidden < hide && finished_well) || (hide && shown >= room)) {
			hidden++;
			continue;
		}
		render_row(p, r, width, status_width, columns, now, out);
		shown++;
	}
	if (hidden && columns > 20)
		buf_printf(out, "   and %zu more\n", hidden);
}

static void render_text(const Progress *p, unsigned columns, Buf *out)
{
	size_t room = columns > 4 ? columns - 4 : 1;
	AUTO_FREE char *cut = human_cut(p->text, room);
	buf_printf(out, "   %s\n", cut);
}

/* Goes up to the first line drawn before and clears from there on. */
static void go_back(Progress *p, unsigned columns, Buf *out)
{
	size_t lines = 0;
	for (size_t i = 0; i < p->n_drawn; i++)
		lines += p->drawn[i] > columns ? (p->drawn[i] + columns - 1) / columns : 1;
	if (lines)
		buf_printf(out, "\033[%zuA\r\033[J", lines);
	p->n_drawn = 0;
}

/* Notes how many columns each line of `text` takes: code points outside of escape sequences. */
static void note_drawn(Progress *p, const char *text)
{
	free_and_null(&p->drawn);
	p->n_drawn = 0;
	while (*text) {
		unsigned n = 0;
		for (; *text != '\n'; text++) {
			if (*text == '\033')
				text += strcspn(text, "m");
			else
				n += ((unsigned char) *text & 0xc0) != 0x80;
		}
		text++;
		*array_append(p->drawn, p->n_drawn) = n;
	}
}

static void draw(Progress *p, bool all, int64_t now)
{
	AUTO_BUF out = BUF_INIT, table = BUF_INIT;
	unsigned columns, rows;
	term_size(p->fd, &columns, &rows);
	go_back(p, columns, &out);
	progress_render(p, columns, rows, all, now, &table);
	if (p->text && !all)
		render_text(p, columns, &table);
	note_drawn(p, buf_cstr(&table));
	buf_append(&out, buf_cstr(&table), table.len);
	write_all(p, &out);
	p->drawn_at = now;
}

void progress_tick(Progress *p, int64_t now)
{
	if (p->mode == PROGRESS_LIVE && (!p->drawn_at || now - p->drawn_at >= REDRAW_INTERVAL))
		draw(p, false, now);
}

void progress_text(Progress *p, const char *text, int64_t now)
{
	AUTO_BUF clean_text = BUF_INIT;
	term_clean(&clean_text, text);
	if (p->mode == PROGRESS_LIVE) {
		str_set(&p->text, buf_cstr(&clean_text));
		progress_tick(p, now);
	} else if (p->mode == PROGRESS_PLAIN) {
		buf_char(&clean_text, '\n');
		write_all(p, &clean_text);
	}
}

void progress_note(Progress *p, const char *text)
{
	AUTO_BUF out = BUF_INIT;
	unsigned columns, rows;
	if (p->mode == PROGRESS_LIVE) {
		term_size(p->fd, &columns, &rows);
		go_back(p, columns, &out);
	}
	term_clean(&out, text);
	buf_char(&out, '\n');
	write_all(p, &out);
	p->drawn_at = 0;
}

void progress_end(Progress *p, int64_t now)
{
	if (p->mode == PROGRESS_LIVE && (p->n_rows || p->n_drawn))
		draw(p, true, now);
	p->n_drawn = 0;
}

void progress_done(Progress *p)
{
	for (size_t i = 0; i < p->n_rows; i++) {
		free(p->rows[i].kind);
		free(p->rows[i].name);
		free(p->rows[i].label);
		free(p->rows[i].status);
	}
	free(p->rows);
	free(p->drawn);
	free(p->text);
	free(p->project);
	*p = (Progress) { 0 };
}
