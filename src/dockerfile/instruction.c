// SPDX-License-Identifier: Apache-2.0
/*
 * One instruction: what follows the keyword, by a table of forms. JSON first where an exec form exists; what is no JSON
 * list is the shell's line or a list of words, as BuildKit decides it.
 */
#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <strings.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "dockerfile/lines.h"
#include "dockerfile/parse.h"
#include "model/names.h"

#define CONTAINER_SHELL "/bin/sh" /* in the container; nothing here starts one */

typedef int (*InstructionParser)(Instruction *i, const char *rest, char escape, Err *err);

bool dockerfile_is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static int add_word(char ***v, size_t *n, size_t *cap, char *word, Err *err)
{
	if (*n >= LIMIT_DOCKERFILE_WORDS) {
		free(word);
		return err_set(err, -EINVAL, "more than %d arguments", LIMIT_DOCKERFILE_WORDS);
	}
	if (*n + 2 > *cap) {
		*cap = *cap ? *cap * 2 : 8;
		*v = xreallocarray(*v, *cap, sizeof(**v));
	}
	(*v)[(*n)++] = word;
	(*v)[*n] = NULL;
	return 0;
}

/* Words between white space; where `escape` is not 0, not within quotes and not behind an escape character. */
static int split(const char *s, char escape, char ***ret, Err *err)
{
	AUTO_STRV char **v = NULL;
	size_t n = 0, cap = 0;
	for (;;) {
		while (dockerfile_is_space(*s))
			s++;
		if (!*s)
			break;
		AUTO_BUF word = BUF_INIT;
		char quote = 0;
		for (; *s && (quote || !dockerfile_is_space(*s)); s++) {
			if (escape && *s == escape && quote != '\'') {
				if (!s[1]) /* one at the end of the line is for nothing */
					continue;
				buf_char(&word, *s++);
			} else if (escape && (quote ? *s == quote : *s == '\'' || *s == '"')) {
				quote = quote ? 0 : *s;
			}
			buf_char(&word, *s);
		}
		if (!word.len)
			continue;
		int r = add_word(&v, &n, &cap, buf_steal(&word), err);
		if (r < 0)
			return r;
	}
	*ret = steal_ptr(&v);
	return 0;
}

/** Words by white space, quotes and escapes as they are. -EINVAL: more than LIMIT_DOCKERFILE_WORDS. */
static int words_quoted(const char *s, char escape, char ***ret, Err *err)
{
	return split(s, escape, ret, err);
}

int words_plain(const char *s, char ***ret, Err *err)
{
	return split(s, 0, ret, err);
}

/** A JSON list of strings: 1; 0: no JSON list; -EINVAL: a list of something else. */
static int words_json(const char *s, char ***ret, Err *err)
{
	while (dockerfile_is_space(*s))
		s++;
	if (*s != '[')
		return 0;
	json_t *list = json_loads(s, 0, NULL);
	if (!json_is_array(list)) {
		json_decref(list);
		return 0;
	}
	AUTO_STRV char **v = NULL;
	size_t n = 0, cap = 0;
	int r = 1;
	for (size_t i = 0; r > 0 && i < json_array_size(list); i++) {
		const char *word = json_string_value(json_array_get(list, i));
		if (!word)
			r = err_set(err, -EINVAL, "the JSON list must have strings only; quote each of its values");
		else if (add_word(&v, &n, &cap, xstrdup(word), err) < 0)
			r = -EINVAL;
	}
	json_decref(list);
	if (r > 0)
		*ret = steal_ptr(&v);
	return r;
}

/* Exec form, or the whole line as one string. */
static int parse_command(Instruction *i, const char *rest, char escape, Err *err)
{
	int r = words_json(rest, &i->args, err);
	i->json = r > 0;
	if (r == 0 && *rest)
		strv_add(&i->args, rest);
	return r < 0 ? r : 0;
}

static int parse_run(Instruction *i, const char *rest, char escape, Err *err)
{
	int r = parse_command(i, rest, escape, err);
	if (r < 0)
		return r;
	if (!i->args)
		return err_set(err, -EINVAL, "needs a command");
	if (i->json && i->n_heredocs)
		return err_set(err, -EINVAL, "a heredoc goes with the shell form only, not with a JSON list");
	return mounts_parse(i, NULL, NULL, err);
}

int mounts_parse(Instruction *i, WordExpander expand, void *user, Err *err)
{
	int r = 0;
	i->n_mounts = strv_len(i->mount_flags);
	i->mounts = i->n_mounts ? xcalloc(i->n_mounts, sizeof(*i->mounts)) : NULL;
	for (size_t k = 0; r == 0 && k < i->n_mounts; k++) {
		r = mount_parse(i->mount_flags[k], expand, user, &i->mounts[k], err);
		if (r == 0 && i->mounts[k].type == RUN_MOUNT_SSH && !i->mounts[k].target)
			i->mounts[k].target = xasprintf("/run/buildkit/ssh_agent.%zu", k);
	}
	return r;
}

static int parse_list(Instruction *i, const char *rest, char escape, Err *err)
{
	int r = words_json(rest, &i->args, err);
	i->json = r > 0;
	return r != 0 ? (r < 0 ? r : 0) : words_plain(rest, &i->args, err);
}

/* Words that are heredocs are sources, with texts that were read already; what is left are paths. */
static int parse_copy(Instruction *i, const char *rest, char escape, Err *err)
{
	int r = parse_list(i, rest, escape, err);
	if (r < 0)
		return r;
	size_t n = strv_len(i->args);
	if (n < 2)
		return err_set(err, -EINVAL, "needs at least one source and a destination");
	if (i->json)
		return i->n_heredocs ? err_set(err, -EINVAL, "heredocs do not go with a JSON list") : 0;
	Heredoc h;
	if (heredoc_parse(i->args[n - 1], escape, &h)) {
		free(h.name);
		return err_set(err, -EINVAL, "a heredoc is a source, it cannot be the destination");
	}
	size_t kept = 0;
	for (size_t k = 0; k < n; k++) {
		if (!heredoc_parse(i->args[k], escape, &h)) {
			i->args[kept++] = i->args[k];
			continue;
		}
		free(h.name);
		free(i->args[k]);
	}
	i->args[kept] = NULL;
	if (n - kept != i->n_heredocs)
		return err_set(err, -EINVAL, "the name of a heredoc is a file's name; it must not have spaces here");
	return 0;
}

/* "name=value …", or the old "name value" where the first word has no '='. */
static int parse_pairs(Instruction *i, const char *rest, char escape, Err *err)
{
	AUTO_STRV char **words = NULL;
	int r = words_quoted(rest, escape, &words, err);
	if (r < 0)
		return r;
	if (!words)
		return err_set(err, -EINVAL, "needs at least one NAME=VALUE");
	if (!strchr(words[0], '=')) {
		size_t n = strcspn(rest, " \t\v\f\r");
		const char *value = rest + n;
		while (dockerfile_is_space(*value))
			value++;
		if (!*value)
			return err_set(err, -EINVAL, "'%s' has no value; write %s=VALUE", rest, rest);
		KeyValue *kv = array_append(i->pairs, i->n_pairs);
		*kv = (KeyValue){ .key = xstrndup(rest, n), .value = xstrdup(value) };
		return 0;
	}
	for (char **w = words; *w; w++) {
		const char *eq = strchr(*w, '=');
		if (!eq)
			return err_set(err, -EINVAL, "'%s' has no '='; quote values that have spaces: NAME=\"a b\"", *w);
		if (eq == *w)
			return err_set(err, -EINVAL, "'%s' has no name before the '='", *w);
		KeyValue *kv = array_append(i->pairs, i->n_pairs);
		*kv = (KeyValue){ .key = xstrndup(*w, (size_t) (eq - *w)), .value = xstrdup(eq + 1) };
	}
	return 0;
}

static int parse_arg(Instruction *i, const char *rest, char escape, Err *err)
{
	AUTO_STRV char **words = NULL;
	int r = words_quoted(rest, escape, &words, err);
	if (r < 0)
		return r;
	if (!words)
		return err_set(err, -EINVAL, "needs at least one NAME or NAME=DEFAULT");
	for (char **w = words; *w; w++) {
		const char *eq = strchr(*w, '=');
		if (eq == *w)
			return err_set(err, -EINVAL, "'%s' has no name before the '='", *w);
		KeyValue *kv = array_append(i->pairs, i->n_pairs);
		*kv = (KeyValue){ .key = xstrndup(*w, eq ? (size_t) (eq - *w) : strlen(*w)), .value = xstrdup(eq ? eq + 1 : NULL) };
	}
	return 0;
}

static bool stage_name_valid(const char *s)
{
	return *s >= 'a' && *s <= 'z' && s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-_.")] == '\0';
}

static int parse_from(Instruction *i, const char *rest, char escape, Err *err)
{
	AUTO_STRV char **words = NULL;
	int r = words_plain(rest, &words, err);
	if (r < 0)
		return r;
	size_t n = strv_len(words);
	if (n != 1 && !(n == 3 && strcasecmp(words[1], "AS") == 0))
		return err_set(err, -EINVAL, n == 0 ? "needs an image, a stage or scratch" :
			"'%s': write FROM IMAGE or FROM IMAGE AS NAME", rest);
	if (n == 3) {
		i->stage_name = xstrdup(words[2]);
		for (char *c = i->stage_name; *c; c++)
			*c = (char) tolower((unsigned char) *c);
		if (!stage_name_valid(i->stage_name))
			return err_set(err, -EINVAL, "'%s' cannot be the name of a stage: a letter, then letters, digits, '-', '_' and '.'", words[2]);
	}
	strv_add(&i->args, words[0]);
	return 0;
}

static int parse_one(Instruction *i, const char *rest, char escape, Err *err)
{
	if (!*rest)
		return err_set(err, -EINVAL, "needs an argument");
	strv_add(&i->args, rest);
	return 0;
}

static int parse_stop_signal(Instruction *i, const char *rest, char escape, Err *err)
{
	if (*rest && !strpbrk(rest, "$\"'") && !strchr(rest, escape) && signal_number(rest) < 0)
		return err_set(err, -EINVAL, "'%s' is no signal; write SIGTERM or a number", rest);
	return parse_one(i, rest, escape, err);
}

static int parse_expose(Instruction *i, const char *rest, char escape, Err *err)
{
	int r = words_plain(rest, &i->args, err);
	return r < 0 ? r : i->args ? 0 : err_set(err, -EINVAL, "needs at least one port");
}

static int parse_volume(Instruction *i, const char *rest, char escape, Err *err)
{
	int r = parse_list(i, rest, escape, err);
	if (r < 0)
		return r;
	if (!i->args)
		return err_set(err, -EINVAL, "needs at least one path");
	for (char **a = i->args; *a; a++)
		if (!(*a)[strspn(*a, " \t")])
			return err_set(err, -EINVAL, "a path is empty");
	return 0;
}

static int parse_shell(Instruction *i, const char *rest, char escape, Err *err)
{
	int r = words_json(rest, &i->args, err);
	i->json = true;
	if (r == 0)
		return err_set(err, -EINVAL, "needs a JSON list, as [\"/bin/bash\", \"-c\"]");
	return r < 0 ? r : i->args ? 0 : err_set(err, -EINVAL, "the list is empty");
}

static int parse_healthcheck(Instruction *i, const char *rest, char escape, Err *err)
{
	size_t n = strcspn(rest, " \t\v\f\r");
	const char *command = rest + n;
	while (dockerfile_is_space(*command))
		command++;
	Healthcheck *h = &i->healthcheck;
	h->set = true;
	if (n == 4 && strncasecmp(rest, "NONE", n) == 0) {
		if (*command)
			return err_set(err, -EINVAL, "NONE takes no arguments");
		h->disable = true;
		strv_add(&h->test, "NONE");
		return 0;
	}
	if (n != 3 || strncasecmp(rest, "CMD", n) != 0)
		return err_set(err, -EINVAL, "%s%.*s%s: write HEALTHCHECK [--interval=30s …] CMD command, or HEALTHCHECK NONE",
			n ? "'" : "nothing", (int) n, rest, n ? "'" : "");
	AUTO_STRV char **words = NULL;
	int r = words_json(command, &words, err);
	if (r < 0)
		return r;
	i->json = r > 0;
	if (r == 0 && *command)
		strv_add(&words, command);
	if (!words)
		return err_set(err, -EINVAL, "a command is missing behind CMD");
	strv_add(&h->test, i->json ? "CMD" : "CMD-SHELL");
	for (char **w = words; *w; w++)
		strv_take(&h->test, steal_ptr(w));
	return 0;
}

static int parse_onbuild(Instruction *i, const char *rest, char escape, Err *err)
{
	if (!*rest)
		return err_set(err, -EINVAL, "needs an instruction");
	AUTO_FREE char *word = xstrndup(rest, strcspn(rest, " \t\v\f\r"));
	InstructionKind kind = instruction_kind(word, err);
	if (kind == INSTRUCTION_KINDS)
		return -EINVAL;
	if (kind == INSTRUCTION_ONBUILD || kind == INSTRUCTION_FROM || kind == INSTRUCTION_MAINTAINER)
		return err_set(err, -EINVAL, "%s is not allowed behind ONBUILD", instruction_name(kind));
	/* Read now, so that what is wrong is found in the file that has it and not in those that build on its image. */
	Instruction trigger = { .kind = kind, .heredocs = i->heredocs, .n_heredocs = i->n_heredocs };
	const char *args = rest + strlen(word);
	while (dockerfile_is_space(*args))
		args++;
	int r = instruction_parse(&trigger, args, escape, err);
	trigger.heredocs = NULL;
	trigger.n_heredocs = 0;
	instruction_done(&trigger);
	if (r < 0) {
		(void) err_wrap(err, "%s", instruction_name(kind));
		return r;
	}
	strv_add(&i->args, rest);
	return 0;
}

static const struct {
	const char *name;
	InstructionParser parse;
} instructions[] = {
	[INSTRUCTION_ADD] = { "ADD", parse_copy },
	[INSTRUCTION_ARG] = { "ARG", parse_arg },
	[INSTRUCTION_CMD] = { "CMD", parse_command },
	[INSTRUCTION_COPY] = { "COPY", parse_copy },
	[INSTRUCTION_ENTRYPOINT] = { "ENTRYPOINT", parse_command },
	[INSTRUCTION_ENV] = { "ENV", parse_pairs },
	[INSTRUCTION_EXPOSE] = { "EXPOSE", parse_expose },
	[INSTRUCTION_FROM] = { "FROM", parse_from },
	[INSTRUCTION_HEALTHCHECK] = { "HEALTHCHECK", parse_healthcheck },
	[INSTRUCTION_LABEL] = { "LABEL", parse_pairs },
	[INSTRUCTION_MAINTAINER] = { "MAINTAINER", parse_one },
	[INSTRUCTION_ONBUILD] = { "ONBUILD", parse_onbuild },
	[INSTRUCTION_RUN] = { "RUN", parse_run },
	[INSTRUCTION_SHELL] = { "SHELL", parse_shell },
	[INSTRUCTION_STOPSIGNAL] = { "STOPSIGNAL", parse_stop_signal },
	[INSTRUCTION_USER] = { "USER", parse_one },
	[INSTRUCTION_VOLUME] = { "VOLUME", parse_volume },
	[INSTRUCTION_WORKDIR] = { "WORKDIR", parse_one },
};
_Static_assert(ARRAY_SIZE(instructions) == INSTRUCTION_KINDS, "a parser for each instruction");

const char *instruction_name(InstructionKind kind)
{
	return instructions[kind].name;
}

InstructionKind instruction_kind(const char *word, Err *err)
{
	AUTO_FREE char *upper = xstrdup(word);
	for (char *c = upper; *c; c++)
		*c = (char) toupper((unsigned char) *c);
	const char *names[INSTRUCTION_KINDS + 1] = { NULL };
	for (int k = 0; k < INSTRUCTION_KINDS; k++) {
		names[k] = instructions[k].name;
		if (str_eq(names[k], upper))
			return (InstructionKind) k;
	}
	const char *near = word_nearest(names, upper);
	if (near)
		(void) err_set(err, -EINVAL, "unknown instruction '%.80s'; did you mean %s?", word, near);
	else
		(void) err_set(err, -EINVAL, "unknown instruction '%.80s'; is a '\\' missing at the end of the line before?", word);
	return INSTRUCTION_KINDS;
}

int instruction_parse(Instruction *i, const char *rest, char escape, Err *err)
{
	i->unpack = -1;
	i->healthcheck = (Healthcheck){ .interval = -1, .timeout = -1, .start_period = -1, .start_interval = -1, .retries = -1 };
	int r = flags_parse(i, &rest, escape, err);
	return r < 0 ? r : instructions[i->kind].parse(i, rest, escape, err);
}

void instruction_done(Instruction *i)
{
	free(i->text);
	strv_free(i->args);
	for (size_t k = 0; k < i->n_pairs; k++) {
		free(i->pairs[k].key);
		free(i->pairs[k].value);
	}
	free(i->pairs);
	heredocs_free(i->heredocs, i->n_heredocs);
	free(i->platform);
	free(i->stage_name);
	free(i->from);
	free(i->chown);
	free(i->chmod);
	free(i->checksum);
	strv_free(i->excludes);
	strv_free(i->mount_flags);
	for (size_t k = 0; k < i->n_mounts; k++)
		mount_done(&i->mounts[k]);
	free(i->mounts);
	strv_free(i->healthcheck.test);
	*i = (Instruction){ 0 };
}

/* What a RUN with heredocs hands to the shell: the line, then each heredoc as it was written. */
static char *with_heredocs(const Instruction *i)
{
	AUTO_BUF text = BUF_INIT;
	buf_printf(&text, "%s\n", i->args[0]);
	for (size_t k = 0; k < i->n_heredocs; k++)
		buf_printf(&text, "%s%s\n", i->heredocs[k].text, i->heredocs[k].name);
	return buf_steal(&text);
}

char **instruction_command(const Instruction *i, char *const *shell, const char **ret_script)
{
	static const char *const standard[] = { CONTAINER_SHELL, "-c", NULL };
	*ret_script = NULL;
	if (i->json)
		return strv_dup(i->args);
	if (!i->args)
		return NULL;
	AUTO_FREE char *text = NULL;
	Heredoc alone = { 0 };
	if (i->n_heredocs == 1 && heredoc_parse(i->args[0], '\\', &alone)) {
		free(alone.name);
		const Heredoc *h = &i->heredocs[0];
		if (str_starts(h->text, "#!")) {
			char **argv = NULL;
			*ret_script = h->text;
			strv_take(&argv, xasprintf("/dev/pipes/%s", h->name));
			return argv;
		}
		text = xstrdup(h->text);
	} else {
		text = i->n_heredocs ? with_heredocs(i) : xstrdup(i->args[0]);
	}
	char **argv = shell ? strv_dup(shell) : strv_dup((char *const *) (const void *) standard);
	strv_take(&argv, steal_ptr(&text));
	return argv;
}
