// SPDX-License-Identifier: Apache-2.0
/*
 * Rules of one instruction, of a stage, and of the whole file. Not here, of BuildKit's: CopyIgnoredFile, since a COPY of what is ignored is an
 * error; InvalidBaseImagePlatform, which the builder finds; InvalidDefinitionDescription, which is experimental there.
 */
#include "dockerfile/check.h"

#include <ctype.h>
#include <errno.h>
#include <strings.h>

#include "base/mem.h"
#include "base/str.h"
#include "dockerfile/parse.h"

static bool skipped(const Dockerfile *f, const char *rule)
{
	for (char **s = f->check_skip; s && *s; s++)
		if (strcasecmp(*s, rule) == 0 || strcasecmp(*s, "all") == 0)
			return true;
	return false;
}

void dockerfile_warn(Dockerfile *f, unsigned line, const char *rule, const char *fmt, ...)
{
	if (skipped(f, rule))
		return;
	va_list ap;
	va_start(ap, fmt);
	AUTO_FREE char *text = xvasprintf(fmt, ap);
	va_end(ap);
	DockerfileWarning *w = array_append(f->warnings, f->n_warnings);
	*w = (DockerfileWarning){ .line = line, .rule = rule, .text = xasprintf("%s:%u: %s", f->name, line, text) };
}

int check_result(const Dockerfile *f, Err *err)
{
	if (f->check_error && f->n_warnings)
		return err_set(err, -EINVAL, "%s (%s; an error because of '# check=error=true')", f->warnings[0].text, f->warnings[0].rule);
	return 0;
}

/* ── one instruction ──────────────────────────────────────────────── */

static void check_command(Dockerfile *f, const Instruction *i, bool shell)
{
	const char *name = instruction_name(i->kind);
	if (!i->args || i->json)
		return;
	if (i->args[0][0] == '[')
		dockerfile_warn(f, i->line, "JSONArgsRecommended", "%s: looks like a list but is no JSON (double quotes?), so the shell gets it as it stands", name);
	else if (!shell) /* whoever says SHELL wants one */
		dockerfile_warn(f, i->line, "JSONArgsRecommended",
			"%s: write it as a JSON list, so that the command gets signals itself and not the shell around it", name);
}

static void check_form_of_pairs(Dockerfile *f, const Instruction *i)
{
	if (i->n_pairs != 1)
		return;
	const char *p = i->text + strcspn(i->text, " \t\v\f\r");
	while (dockerfile_is_space(*p))
		p++;
	if (p[strlen(i->pairs[0].key)] != '=')
		dockerfile_warn(f, i->line, "LegacyKeyValueFormat", "%s: write %s=…, with a '='", instruction_name(i->kind), i->pairs[0].key);
}

/* Is one of its words, as they are between underscores, what secrets are called? */
static bool looks_secret(const char *name)
{
	static const char *const words[] = { "apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token" };
	bool secret = false;
	for (const char *p = name; *p;) {
		size_t n = strcspn(p, "_");
		if (n == 6 && strncasecmp(p, "public", n) == 0)
			return false;
		for (size_t k = 0; k < ARRAY_SIZE(words); k++)
			secret = secret || (n == strlen(words[k]) && strncasecmp(p, words[k], n) == 0);
		p += n + (p[n] == '_');
	}
	return secret;
}

static void check_secrets(Dockerfile *f, const Instruction *i)
{
	for (size_t k = 0; k < i->n_pairs; k++)
		if (looks_secret(i->pairs[k].key))
			dockerfile_warn(f, i->line, "SecretsUsedInArgOrEnv",
				"%s: '%s' sounds like a secret, and whoever has the image can read it; use RUN --mount=type=secret", instruction_name(i->kind),
				i->pairs[k].key);
}

static void check_ports(Dockerfile *f, const Instruction *i)
{
	for (char **a = i->args; a && *a; a++) {
		const char *slash = strrchr(*a, '/');
		if (strchr(*a, ':'))
			dockerfile_warn(f, i->line, "ExposeInvalidFormat", "EXPOSE: '%s': write the container's port alone; addresses and host ports belong to who runs it", *a);
		for (const char *c = slash ? slash + 1 : ""; *c && !strchr(*a, '$'); c++)
			if (isupper((unsigned char) *c)) {
				dockerfile_warn(f, i->line, "ExposeProtoCasing", "EXPOSE: '%s': write the protocol in lower case", *a);
				break;
			}
	}
}

/* ── a stage ──────────────────────────────────────────────────────── */

/* What a stage hands on to those that are FROM it. */
typedef struct StageState {
	bool shell, workdir; /* SHELL, WORKDIR stood there */
} StageState;

static void check_instruction(Dockerfile *f, const Instruction *i, StageState *state)
{
	switch (i->kind) {
	case INSTRUCTION_MAINTAINER:
		dockerfile_warn(f, i->line, "MaintainerDeprecated", "MAINTAINER is deprecated; write LABEL org.opencontainers.image.authors=…");
		break;
	case INSTRUCTION_CMD:
	case INSTRUCTION_ENTRYPOINT:
		check_command(f, i, state->shell);
		break;
	case INSTRUCTION_ENV:
		check_secrets(f, i);
		check_form_of_pairs(f, i);
		break;
	case INSTRUCTION_LABEL:
		check_form_of_pairs(f, i);
		break;
	case INSTRUCTION_ARG:
		check_secrets(f, i);
		break;
	case INSTRUCTION_EXPOSE:
		check_ports(f, i);
		break;
	case INSTRUCTION_SHELL:
		state->shell = true;
		break;
	case INSTRUCTION_WORKDIR:
		if (!state->workdir && !strchr("/$\"'", i->args[0][0]))
			dockerfile_warn(f, i->line, "WorkdirRelativePath",
				"WORKDIR: '%s' is relative to what the base image says, which may change; write an absolute path first", i->args[0]);
		state->workdir = true;
		break;
	default:
		break;
	}
}

/* CMD, ENTRYPOINT and HEALTHCHECK count once a stage, the last of them. */
static void check_repeats(Dockerfile *f, const Stage *s)
{
	const Instruction *last[INSTRUCTION_KINDS] = { NULL };
	for (size_t k = 0; k < s->n_instructions; k++) {
		const Instruction *i = &s->instructions[k];
		if (i->kind != INSTRUCTION_CMD && i->kind != INSTRUCTION_ENTRYPOINT && i->kind != INSTRUCTION_HEALTHCHECK)
			continue;
		if (last[i->kind])
			dockerfile_warn(f, last[i->kind]->line, "MultipleInstructionsDisallowed", "%s: line %u replaces it; only the last one of a stage counts",
				instruction_name(i->kind), i->line);
		last[i->kind] = i;
	}
}

static bool has_lower(const char *s)
{
	for (; *s; s++)
		if (islower((unsigned char) *s))
			return true;
	return false;
}

static bool has_upper(const char *s)
{
	for (; *s; s++)
		if (isupper((unsigned char) *s))
			return true;
	return false;
}

static void check_name(Dockerfile *f, size_t k)
{
	const Stage *s = &f->stages[k];
	AUTO_STRV char **words = NULL;
	if (!s->name || words_plain(s->from.text, &words, NULL) < 0 || strv_len(words) < 4)
		return;
	const char *from = words[0], *as = words[strv_len(words) - 2], *name = words[strv_len(words) - 1];
	if (has_upper(name))
		dockerfile_warn(f, s->from.line, "StageNameCasing", "FROM: write the name of the stage '%s' in lower case", name);
	if (has_lower(from) != has_upper(from) && (has_lower(from) ? has_upper(as) : has_lower(as))) /* mixed ones are told of as such */
		dockerfile_warn(f, s->from.line, "FromAsCasing", "FROM: '%s' and '%s' are not written alike", from, as);
	if (str_eq(s->name, "scratch") || str_eq(s->name, "context"))
		dockerfile_warn(f, s->from.line, "ReservedStageName", "FROM: '%s' is a reserved name; call the stage something else", s->name);
	for (size_t n = 0; n < k; n++)
		if (str_eq(f->stages[n].name, s->name))
			dockerfile_warn(f, s->from.line, "DuplicateStageName", "FROM: there is a stage '%s' in line %u already; this one hides it", s->name,
				f->stages[n].from.line);
}

/* ── the file ─────────────────────────────────────────────────────── */

static char *keyword(const Instruction *i)
{
	return xstrndup(i->text, strcspn(i->text, " \t\v\f\r\n"));
}

static void count_case(const Instruction *i, long *lower)
{
	AUTO_FREE char *word = keyword(i);
	if (has_lower(word) != has_upper(word))
		*lower += has_lower(word) ? 1 : -1;
}

static void check_case(Dockerfile *f, const Instruction *i, bool lower)
{
	AUTO_FREE char *word = keyword(i);
	if (lower ? has_upper(word) : has_lower(word))
		dockerfile_warn(f, i->line, "ConsistentInstructionCasing", "%s: write it in %s case%s", word, lower ? "lower" : "upper",
			has_lower(word) && has_upper(word) ? "" : ", as most are here");
}

/* As most of them are. */
static void check_cases(Dockerfile *f)
{
	long lower = 0;
	for (size_t k = 0; k < f->n_stages; k++) {
		count_case(&f->stages[k].from, &lower);
		for (size_t n = 0; n < f->stages[k].n_instructions; n++)
			count_case(&f->stages[k].instructions[n], &lower);
	}
	for (size_t k = 0; k < f->n_stages; k++) {
		check_case(f, &f->stages[k].from, lower > 0);
		for (size_t n = 0; n < f->stages[k].n_instructions; n++)
			check_case(f, &f->stages[k].instructions[n], lower > 0);
	}
}

static int by_line(const void *a, const void *b)
{
	const DockerfileWarning *x = a, *y = b;
	int r = (x->line > y->line) - (x->line < y->line);
	return r ? r : strcmp(x->rule, y->rule);
}

void check_sort(Dockerfile *f)
{
	if (f->n_warnings)
		qsort(f->warnings, f->n_warnings, sizeof(*f->warnings), by_line);
}

void check_stages(Dockerfile *f)
{
	AUTO_FREE StageState *states = xcalloc(f->n_stages, sizeof(*states));
	check_cases(f);
	for (size_t k = 0; k < f->n_globals; k++)
		check_secrets(f, &f->globals[k]);
	for (size_t k = 0; k < f->n_stages; k++) {
		const Stage *s = &f->stages[k];
		for (size_t n = 0; n < k; n++)
			if (f->stages[n].name && strcasecmp(f->stages[n].name, s->from.args[0]) == 0)
				states[k] = states[n];
		check_name(f, k);
		for (size_t n = 0; n < s->n_instructions; n++)
			check_instruction(f, &s->instructions[n], &states[k]);
		check_repeats(f, s);
	}
	check_sort(f);
}

/* ── variables ────────────────────────────────────────────────────── */

static void check_platform(Dockerfile *f, const Stage *s)
{
	const char *platform = s->from.platform;
	if (str_eq(platform, "$TARGETPLATFORM") || str_eq(platform, "${TARGETPLATFORM}"))
		dockerfile_warn(f, s->from.line, "RedundantTargetPlatform", "FROM: --platform=%s is what holds without it; leave it out", platform);
	if (str_empty(platform) || strchr(platform, '$'))
		return;
	/* A stage that is called after its platform is meant for no other. */
	const char *arch = strchr(platform, '/');
	AUTO_FREE char *os = xstrndup(platform, strcspn(platform, "/"));
	AUTO_FREE char *name = arch ? xstrndup(arch + 1, strcspn(arch + 1, "/")) : NULL;
	if (s->name && (strstr(s->name, os) || (name && strstr(s->name, name))))
		return;
	dockerfile_warn(f, s->from.line, "FromPlatformFlagConstDisallowed",
		"FROM: --platform=%s builds for that platform only; write $BUILDPLATFORM or $TARGETPLATFORM, or name the stage after it", platform);
}

/* What an empty variable leaves of a name is none. */
static bool can_be_image(const char *s)
{
	size_t n = strlen(s);
	return n && !strchr(":/@-.", s[0]) && !strchr(":/@-.", s[n - 1]) && !strstr(s, "//") && !strstr(s, "::") && !strstr(s, "/:") && !strstr(s, ":@");
}

static void check_default(Dockerfile *f, const Stage *s, const Scope *defaults)
{
	AUTO(instruction_done) Instruction from = { 0 };
	AUTO_ERR err = ERR_INIT;
	if (!strchr(s->from.args[0], '$') || (instruction_expand(defaults, &s->from, &from, &err) == 0 && can_be_image(from.args[0])))
		return;
	dockerfile_warn(f, s->from.line, "InvalidDefaultArgInFrom", "FROM: %s is no image without --build-arg; give the ARG a default", s->from.args[0]);
}

void check_bases(Dockerfile *f, const Scope *global, const BuildArguments *a)
{
	const BuildArguments none = { .build_platform = a->build_platform, .target_platform = a->target_platform, .target_stage = a->target_stage };
	AUTO(scope_freep) Scope *defaults = NULL;
	if (scope_new_global(f, &none, &defaults, NULL) < 0) /* ${v:?…} asks for it */
		defaults = NULL;
	for (size_t k = 0; k < f->n_globals; k++)
		check_variables(f, global, &f->globals[k]);
	for (size_t k = 0; k < f->n_stages; k++) {
		const Stage *s = &f->stages[k];
		AUTO_STRV char **unset = instruction_unset(global, &s->from);
		for (char **n = unset; n && *n; n++) {
			AUTO_FREE char *near = scope_nearest(global, *n);
			dockerfile_warn(f, s->from.line, "UndefinedArgInFrom", "FROM: no ARG before the first FROM declares '%s'%s%s%s", *n,
				near ? "; did you mean $" : "", near ? near : "", near ? "?" : "");
		}
		check_platform(f, s);
		if (defaults && !unset)
			check_default(f, s, defaults);
	}
}

void check_variables(Dockerfile *f, const Scope *s, const Instruction *i)
{
	AUTO_STRV char **unset = instruction_unset(s, i);
	for (char **n = unset; n && *n; n++) {
		AUTO_FREE char *near = scope_has_global(s, *n) ? NULL : scope_nearest(s, *n);
		if (scope_has_global(s, *n))
			dockerfile_warn(f, i->line, "UndefinedVar", "%s: $%s has no value in this stage; write ARG %s in it, too", instruction_name(i->kind), *n, *n);
		else
			dockerfile_warn(f, i->line, "UndefinedVar", "%s: $%s has no value%s%s%s", instruction_name(i->kind), *n, near ? "; did you mean $" : "",
				near ? near : "", near ? "?" : "");
	}
}
