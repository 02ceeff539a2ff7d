// SPDX-License-Identifier: Apache-2.0
/*
 * From text to stages. lines.c gives one logical line after the other, instruction.c reads each, here they are put
 * into the stage that they belong to, and get their place in front of what is wrong with them.
 */
#include "dockerfile/dockerfile.h"

#include <errno.h>
#include <strings.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "dockerfile/check.h"
#include "dockerfile/lines.h"
#include "dockerfile/parse.h"

static int place(const Dockerfile *f, unsigned line, const char *name, Err *err)
{
	return name ? err_wrap(err, "%s:%u: %s", f->name, line, name) : err_wrap(err, "%s:%u", f->name, line);
}

int instruction_wrap(const Dockerfile *f, const Instruction *i, Err *err)
{
	return place(f, i->line, instruction_name(i->kind), err);
}

/* Image names that mean BuildKit's own frontend, whatever registry they come from. */
static bool syntax_known(const char *syntax)
{
	AUTO_FREE char *s = xstrdup(syntax);
	s[strcspn(s, "@")] = '\0';
	char *colon = strrchr(s, ':');
	if (colon && !strchr(colon, '/'))
		*colon = '\0';
	static const char *const names[] = { "docker/dockerfile", "docker/dockerfile-upstream" };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (str_ends(s, names[i]) && (strlen(s) == strlen(names[i]) || s[strlen(s) - strlen(names[i]) - 1] == '/'))
			return true;
	return false;
}

/* "skip=Rule,Rule;error=true" */
static int read_check(Dockerfile *f, const char *check, Err *err)
{
	AUTO_FREE char *text = xstrdup(check);
	char *save = NULL;
	for (char *part = strtok_r(text, ";", &save); part; part = strtok_r(NULL, ";", &save)) {
		while (dockerfile_is_space(*part))
			part++;
		char *value = strchr(part, '=');
		if (value)
			*value++ = '\0';
		if (value && strcasecmp(part, "skip") == 0) {
			char *rules = NULL;
			for (char *r = strtok_r(value, ", ", &rules); r; r = strtok_r(NULL, ", ", &rules))
				strv_add(&f->check_skip, r);
		} else if (value && strcasecmp(part, "error") == 0 && (strcasecmp(value, "true") == 0 || strcasecmp(value, "false") == 0)) {
			f->check_error = strcasecmp(value, "true") == 0;
		} else if (!value || strcasecmp(part, "experimental") != 0) {
			return err_set(err, -EINVAL, "the directive 'check' has '%s'; write skip=RULE,… or error=true", part);
		}
	}
	return 0;
}

/* Fills `i` from the line; its heredocs go along. */
static int read_instruction(Dockerfile *f, Line *line, Instruction *i, Err *err)
{
	const char *text = buf_cstr(&line->text);
	const char *rest = text + strcspn(text, " \t\v\f\r");
	AUTO_FREE char *word = xstrndup(text, (size_t) (rest - text));
	while (dockerfile_is_space(*rest))
		rest++;
	i->kind = instruction_kind(word, err);
	if (i->kind == INSTRUCTION_KINDS) {
		i->kind = 0;
		return place(f, line->first, NULL, err);
	}
	i->line = line->first;
	i->last_line = line->last;
	i->heredocs = steal_ptr(&line->heredocs);
	i->n_heredocs = line->n_heredocs;
	line->n_heredocs = 0;
	int r = instruction_parse(i, rest, f->escape, err);
	if (r < 0)
		return instruction_wrap(f, i, err);
	AUTO_BUF whole = BUF_INIT;
	buf_append(&whole, line->text.data, line->text.len);
	for (size_t k = 0; k < i->n_heredocs; k++)
		buf_printf(&whole, "\n%s%s", i->heredocs[k].text, i->heredocs[k].name);
	if (i->kind == INSTRUCTION_ONBUILD) /* the trigger is read again, with its heredocs */
		for (size_t k = 0; k < i->n_heredocs; k++) {
			char *with = xasprintf("%s\n%s%s", i->args[0], i->heredocs[k].text, i->heredocs[k].name);
			free(i->args[0]);
			i->args[0] = with;
		}
	i->text = buf_steal(&whole);
	if (line->empty_continuation)
		dockerfile_warn(f, i->line, "NoEmptyContinuation", "%s: an empty line within it; put a '\\' or a '#' there", instruction_name(i->kind));
	return 0;
}

/* Puts the instruction where it belongs; takes what is in it. */
static int add_instruction(Dockerfile *f, Instruction *i, size_t *n_all, Err *err)
{
	if (++*n_all > LIMIT_DOCKERFILE_INSTRUCTIONS) {
		(void) err_set(err, -EINVAL, "more than %d instructions", LIMIT_DOCKERFILE_INSTRUCTIONS);
		return instruction_wrap(f, i, err);
	}
	if (i->kind == INSTRUCTION_FROM) {
		if (f->n_stages == LIMIT_DOCKERFILE_STAGES) {
			(void) err_set(err, -EINVAL, "more than %d stages", LIMIT_DOCKERFILE_STAGES);
			return instruction_wrap(f, i, err);
		}
		Stage *s = array_append(f->stages, f->n_stages);
		s->name = xstrdup(i->stage_name);
		s->from = *i;
		*i = (Instruction){ 0 };
		return 0;
	}
	if (!f->n_stages && i->kind != INSTRUCTION_ARG) {
		(void) err_set(err, -EINVAL, "only ARG may stand before the first FROM");
		return instruction_wrap(f, i, err);
	}
	if (f->n_stages) {
		Stage *s = &f->stages[f->n_stages - 1];
		*array_append(s->instructions, s->n_instructions) = *i;
	} else {
		*array_append(f->globals, f->n_globals) = *i;
	}
	*i = (Instruction){ 0 };
	return 0;
}

static int read_lines(Dockerfile *f, Lines *l, Err *err)
{
	size_t n_all = 0;
	for (;;) {
		AUTO(line_done) Line line = { 0 };
		AUTO(instruction_done) Instruction i = { 0 };
		int r = lines_next(l, &line, err);
		if (r < 0)
			return place(f, l->line, NULL, err);
		if (r == 0)
			return 0;
		r = read_instruction(f, &line, &i, err);
		if (r == 0)
			r = add_instruction(f, &i, &n_all, err);
		if (r < 0)
			return r;
	}
}

static int check_text(const char *name, const char *text, size_t n, Err *err)
{
	if (n > LIMIT_DOCKERFILE_BYTES)
		return err_set(err, -EINVAL, "%s: larger than %u KiB", name, LIMIT_DOCKERFILE_BYTES >> 10);
	if (memchr(text, '\0', n))
		return err_set(err, -EINVAL, "%s: has NUL bytes; it is no Dockerfile, or not in UTF-8", name);
	if (!str_is_utf8(text, n))
		return err_set(err, -EINVAL, "%s: is not in UTF-8; save it in that encoding", name);
	return 0;
}

int dockerfile_parse(const char *name, const char *text, size_t n, Dockerfile **ret, Err *err)
{
	int r = check_text(name, text, n, err);
	if (r < 0)
		return r;
	AUTO(dockerfile_freep) Dockerfile *f = xcalloc(1, sizeof(*f));
	AUTO(lines_done) Lines l;
	f->name = xstrdup(name);
	r = lines_open(&l, text, n, err);
	f->escape = l.escape;
	f->syntax = steal_ptr(&l.syntax);
	if (r == 0 && l.check)
		r = read_check(f, l.check, err);
	if (r < 0)
		return place(f, l.line, NULL, err);
	if (f->syntax && !syntax_known(f->syntax))
		dockerfile_warn(f, 1, "UnknownSyntax", "the syntax image '%s' is not used: the file is read as docker/dockerfile:1 would", f->syntax);
	r = read_lines(f, &l, err);
	if (r < 0)
		return r;
	if (!f->n_stages)
		return err_set(err, -EINVAL, "%s: has no FROM; begin with FROM IMAGE, or FROM scratch", name);
	check_stages(f);
	*ret = steal_ptr(&f);
	return 0;
}

int dockerfile_parse_trigger(const Dockerfile *f, const char *trigger, unsigned line_number, Instruction *ret, Err *err)
{
	AUTO(lines_done) Lines l = { .p = trigger, .end = trigger + strlen(trigger), .escape = f->escape };
	AUTO(line_done) Line line = { 0 };
	AUTO(instruction_done) Instruction i = { 0 };
	char *skip[] = { (char[]){ "all" }, NULL };
	Dockerfile quiet = { .name = f->name, .escape = f->escape, .check_skip = skip };
	int r = lines_next(&l, &line, err);
	if (r == 0)
		r = err_set(err, -EINVAL, "it is empty");
	if (r > 0) {
		line.first = line.last = line_number;
		r = read_instruction(&quiet, &line, &i, err);
	}
	if (r == 0 && (i.kind == INSTRUCTION_ONBUILD || i.kind == INSTRUCTION_FROM || i.kind == INSTRUCTION_MAINTAINER))
		r = err_set(err, -EINVAL, "%s is not allowed there", instruction_name(i.kind));
	if (r < 0)
		return err_wrap(err, "%s:%u: FROM: trigger of the base image ('%.200s')", f->name, line_number, trigger);
	*ret = i;
	i = (Instruction){ 0 };
	return 0;
}

static void instructions_free(Instruction *i, size_t n)
{
	for (size_t k = 0; k < n; k++)
		instruction_done(&i[k]);
	free(i);
}

void dockerfile_free(Dockerfile *f)
{
	if (!f)
		return;
	free(f->name);
	free(f->syntax);
	strv_free(f->check_skip);
	instructions_free(f->globals, f->n_globals);
	for (size_t k = 0; k < f->n_stages; k++) {
		free(f->stages[k].name);
		instruction_done(&f->stages[k].from);
		instructions_free(f->stages[k].instructions, f->stages[k].n_instructions);
	}
	free(f->stages);
	for (size_t k = 0; k < f->n_warnings; k++)
		free(f->warnings[k].text);
	free(f->warnings);
	free(f);
}

void dockerfile_freep(Dockerfile **f)
{
	dockerfile_free(*f);
}
