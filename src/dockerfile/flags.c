// SPDX-License-Identifier: Apache-2.0
/*
 * The flags of instructions: one table says which instruction has which flag, what it takes and where it goes. Values with
 * variables are checked after they were replaced (instruction_expand).
 */
#include <errno.h>
#include <strings.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "dockerfile/parse.h"
#include "model/names.h"

typedef enum FlagKind { FLAG_STRING, FLAG_STRINGS, FLAG_BOOL, FLAG_TRISTATE, FLAG_DURATION, FLAG_RETRIES, FLAG_NETWORK, FLAG_REFUSED } FlagKind;

typedef struct Flag {
	const char *name;
	FlagKind kind;
	size_t offset;        /* in Instruction */
	unsigned of;          /* bits of InstructionKind */
	const char *reason;   /* FLAG_REFUSED */
} Flag;

#define OF(kind) (1U << INSTRUCTION_##kind)
#define AT(member) offsetof(Instruction, member)

static const Flag flags[] = {
	{ "platform", FLAG_STRING, AT(platform), OF(FROM), NULL },
	{ "from", FLAG_STRING, AT(from), OF(COPY), NULL },
	{ "chown", FLAG_STRING, AT(chown), OF(ADD) | OF(COPY), NULL },
	{ "chmod", FLAG_STRING, AT(chmod), OF(ADD) | OF(COPY), NULL },
	{ "link", FLAG_BOOL, AT(link), OF(ADD) | OF(COPY), NULL },
	{ "exclude", FLAG_STRINGS, AT(excludes), OF(ADD) | OF(COPY), NULL },
	{ "parents", FLAG_BOOL, AT(parents), OF(COPY), NULL },
	{ "checksum", FLAG_STRING, AT(checksum), OF(ADD), NULL },
	{ "keep-git-dir", FLAG_BOOL, AT(keep_git_dir), OF(ADD), NULL },
	{ "unpack", FLAG_TRISTATE, AT(unpack), OF(ADD), NULL },
	{ "mount", FLAG_STRINGS, AT(mount_flags), OF(RUN), NULL },
	{ "network", FLAG_NETWORK, AT(network), OF(RUN), NULL },
	{ "security", FLAG_REFUSED, 0, OF(RUN), "steps of a build have the rights of a service and no more; leave it out" },
	{ "device", FLAG_REFUSED, 0, OF(RUN), "steps of a build get no devices; leave it out" },
	{ "interval", FLAG_DURATION, AT(healthcheck.interval), OF(HEALTHCHECK), NULL },
	{ "timeout", FLAG_DURATION, AT(healthcheck.timeout), OF(HEALTHCHECK), NULL },
	{ "start-period", FLAG_DURATION, AT(healthcheck.start_period), OF(HEALTHCHECK), NULL },
	{ "start-interval", FLAG_DURATION, AT(healthcheck.start_interval), OF(HEALTHCHECK), NULL },
	{ "retries", FLAG_RETRIES, AT(healthcheck.retries), OF(HEALTHCHECK), NULL },
};
_Static_assert(ARRAY_SIZE(flags) <= 32, "a bit of `seen` for each flag");

/* The word at *p without its quotes and escapes, to *p's next word. */
static char *take_word(const char **p, char escape)
{
	AUTO_BUF word = BUF_INIT;
	char quote = 0;
	const char *s = *p;
	for (; *s && (quote || !dockerfile_is_space(*s)); s++) {
		if (*s == escape && s[1] && quote != '\'')
			buf_char(&word, *++s);
		else if (quote ? *s == quote : *s == '\'' || *s == '"')
			quote = quote ? 0 : *s;
		else
			buf_char(&word, *s);
	}
	while (dockerfile_is_space(*s))
		s++;
	*p = s;
	return buf_steal(&word);
}

static int unknown_flag(const Instruction *i, const char *name, Err *err)
{
	const char *known[ARRAY_SIZE(flags) + 1], *elsewhere = NULL;
	size_t n = 0;
	AUTO_BUF list = BUF_INIT;
	for (size_t k = 0; k < ARRAY_SIZE(flags); k++) {
		if (flags[k].of & 1U << i->kind) {
			known[n++] = flags[k].name;
			if (flags[k].kind != FLAG_REFUSED)
				buf_printf(&list, "%s--%s", list.len ? ", " : "", flags[k].name);
		} else if (str_eq(flags[k].name, name)) {
			for (int kind = 0; kind < INSTRUCTION_KINDS && !elsewhere; kind++)
				if (flags[k].of & 1U << kind)
					elsewhere = instruction_name((InstructionKind) kind);
		}
	}
	known[n] = NULL;
	const char *near = word_nearest(known, name);
	if (near)
		return err_set(err, -EINVAL, "unknown flag --%s; did you mean --%s?", name, near);
	if (elsewhere)
		return err_set(err, -EINVAL, "--%s is a flag of %s; %s has %s", name, elsewhere, instruction_name(i->kind),
			n ? buf_cstr(&list) : "no flags");
	if (n)
		return err_set(err, -EINVAL, "unknown flag --%s; there are %s", name, buf_cstr(&list));
	return err_set(err, -EINVAL, "unknown flag --%s; %s has no flags", name, instruction_name(i->kind));
}

/** "1m30s", at least 1 ms, or 0. */
static int healthcheck_duration(const char *flag, const char *value, int64_t *ret, Err *err)
{
	int64_t ns;
	if (parse_duration(value, &ns) < 0)
		return err_set(err, -EINVAL, "--%s: '%s' is no duration; write 30s or 1m30s", flag, value);
	if (ns != 0 && ns < 1000000)
		return err_set(err, -EINVAL, "--%s: %s is less than 1ms", flag, value);
	*ret = ns;
	return 0;
}

static int set_bool(const Flag *f, const char *value, bool *ret, Err *err)
{
	if (!value || strcasecmp(value, "true") == 0)
		*ret = true;
	else if (strcasecmp(value, "false") == 0)
		*ret = false;
	else
		return err_set(err, -EINVAL, "--%s: '%s' is neither true nor false", f->name, value);
	return 0;
}

static int set_network(const char *value, RunNetwork *ret, Err *err)
{
	static const char *const names[] = { "default", "none", "host", NULL };
	for (int i = 0; names[i]; i++)
		if (str_eq(names[i], value)) {
			*ret = (RunNetwork) i;
			return 0;
		}
	const char *near = word_nearest(names, value);
	return err_set(err, -EINVAL, "--network: '%s' is none of default, none, host%s%s%s", value,
		near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

static int set_flag(Instruction *i, const Flag *f, const char *value, Err *err)
{
	void *at = (char *) i + f->offset;
	if (!value && f->kind != FLAG_BOOL && f->kind != FLAG_TRISTATE && f->kind != FLAG_REFUSED)
		return err_set(err, -EINVAL, "--%s needs a value: --%s=…", f->name, f->name);
	switch (f->kind) {
	case FLAG_STRING:
		str_set(at, value);
		return 0;
	case FLAG_STRINGS:
		if (strv_len(*(char ***) at) >= LIMIT_DOCKERFILE_WORDS)
			return err_set(err, -EINVAL, "more than %d times --%s", LIMIT_DOCKERFILE_WORDS, f->name);
		strv_add(at, value);
		return 0;
	case FLAG_BOOL:
		return set_bool(f, value, at, err);
	case FLAG_TRISTATE: {
		bool b = false;
		int r = set_bool(f, value, &b, err);
		*(int *) at = b;
		return r;
	}
	case FLAG_DURATION:
		return healthcheck_duration(f->name, value, at, err);
	case FLAG_RETRIES: {
		uint32_t n;
		if (parse_u32_max(value, INT32_MAX, &n) < 0)
			return err_set(err, -EINVAL, "--retries: '%s' is not a number from 0 on", value);
		*(int *) at = (int) n;
		return 0;
	}
	case FLAG_NETWORK:
		return set_network(value, at, err);
	case FLAG_REFUSED:
		return err_set(err, -EINVAL, "--%s is not supported: %s", f->name, f->reason);
	}
	return 0;
}

int flags_parse(Instruction *i, const char **rest, char escape, Err *err)
{
	uint32_t seen = 0;
	const char *p = *rest;
	while (p[0] == '-' && p[1] == '-') {
		AUTO_FREE char *word = take_word(&p, escape);
		if (str_eq(word, "--"))
			break;
		char *value = strchr(word + 2, '=');
		if (value)
			*value++ = '\0';
		size_t k = 0;
		while (k < ARRAY_SIZE(flags) && !((flags[k].of & 1U << i->kind) && str_eq(flags[k].name, word + 2)))
			k++;
		if (k == ARRAY_SIZE(flags))
			return unknown_flag(i, word + 2, err);
		if (seen & 1U << k && flags[k].kind != FLAG_STRINGS)
			return err_set(err, -EINVAL, "--%s stands here twice", flags[k].name);
		seen |= 1U << k;
		int r = set_flag(i, &flags[k], value, err);
		if (r < 0)
			return r;
	}
	*rest = p;
	return 0;
}
