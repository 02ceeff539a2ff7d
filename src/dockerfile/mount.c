// SPDX-License-Identifier: Apache-2.0
/*
 * RUN --mount: comma-separated key=value pairs, quoted as in CSV. The defaults are BuildKit's, those of each type with it.
 * `from` has no variables: stages are found before anything has a value.
 */
#include <errno.h>
#include <strings.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "dockerfile/parse.h"
#include "model/names.h"

#define ANY 0x1f
#define T(type) (1U << RUN_MOUNT_##type)

static const char *const type_names[] = { "bind", "cache", "secret", "ssh", "tmpfs", NULL };
static const char *const sharing_names[] = { "shared", "private", "locked", NULL };

typedef struct MountParser {
	RunMount *m;
	bool read_only, read_only_said, sharing_said, open; /* open: something has a variable, so no check of the whole */
	Err *err;
} MountParser;

static int fail_word(Err *err, const char *what, const char *word, const char *const *list)
{
	const char *near = word_nearest(list, word);
	AUTO_BUF all = BUF_INIT;
	for (size_t i = 0; list[i]; i++)
		buf_printf(&all, "%s%s", i ? ", " : "", list[i]);
	if (near)
		return err_set(err, -EINVAL, "--mount: unknown %s '%s'; did you mean %s?", what, word, near);
	return err_set(err, -EINVAL, "--mount: unknown %s '%s'; there are %s", what, word, buf_cstr(&all));
}

static int find_word(Err *err, const char *what, const char *word, const char *const *list)
{
	for (int i = 0; list[i]; i++)
		if (strcasecmp(list[i], word) == 0)
			return i;
	return fail_word(err, what, word, list);
}

static int set_type(MountParser *p, const char *key, const char *value)
{
	int i = find_word(p->err, key, value, type_names);
	if (i < 0)
		return i;
	p->m->type = (RunMountType) i;
	return 0;
}

static int set_sharing(MountParser *p, const char *key, const char *value)
{
	int i = find_word(p->err, key, value, sharing_names);
	if (i < 0)
		return i;
	p->m->sharing = (RunMountSharing) i;
	p->sharing_said = true;
	return 0;
}

static int set_string(MountParser *p, const char *key, const char *value, char **to)
{
	if (str_has_control(value))
		return err_set(p->err, -EINVAL, "--mount: '%s' has control characters", key);
	str_set(to, *value ? value : NULL);
	return 0;
}

static int set_from(MountParser *p, const char *key, const char *value)
{
	if (strchr(value, '$'))
		return err_set(p->err, -EINVAL, "--mount: 'from' has no variables; give what '%s' is a name with FROM %s AS name, and write from=name",
			value, value);
	return set_string(p, key, value, &p->m->from);
}

static int set_source(MountParser *p, const char *key, const char *value)
{
	return set_string(p, key, value, &p->m->source);
}

static int set_target(MountParser *p, const char *key, const char *value)
{
	return set_string(p, key, value, &p->m->target);
}

static int set_id(MountParser *p, const char *key, const char *value)
{
	return set_string(p, key, value, &p->m->id);
}

static int set_env(MountParser *p, const char *key, const char *value)
{
	if (!*value || strchr(value, '='))
		return err_set(p->err, -EINVAL, "--mount: '%s' is no name of a variable", value);
	return set_string(p, key, value, &p->m->env);
}

/* strconv.ParseBool */
static int parse_bool(MountParser *p, const char *key, const char *value, bool *ret)
{
	static const char *const yes[] = { "1", "t", "T", "true", "True", "TRUE", NULL };
	static const char *const no[] = { "0", "f", "F", "false", "False", "FALSE", NULL };
	if (!value || word_in(yes, value))
		*ret = true;
	else if (word_in(no, value))
		*ret = false;
	else
		return err_set(p->err, -EINVAL, "--mount: %s: '%s' is neither true nor false", key, value);
	return 0;
}

static int set_read_only(MountParser *p, const char *key, const char *value)
{
	p->read_only_said = true;
	return parse_bool(p, key, value, &p->read_only);
}

static int set_read_write(MountParser *p, const char *key, const char *value)
{
	int r = set_read_only(p, key, value);
	p->read_only = !p->read_only;
	return r;
}

static int set_required(MountParser *p, const char *key, const char *value)
{
	return parse_bool(p, key, value, &p->m->required);
}

static int set_size(MountParser *p, const char *key, const char *value)
{
	if (parse_bytes(value, &p->m->size) < 0 || p->m->size < 0)
		return err_set(p->err, -EINVAL, "--mount: size: '%s' is no size; write 64m or 1g", value);
	return 0;
}

static int set_mode(MountParser *p, const char *key, const char *value)
{
	int64_t mode = 0;
	const char *s = value;
	for (; *s >= '0' && *s <= '7' && mode <= 07777; s++)
		mode = mode * 8 + (*s - '0');
	if (s == value || *s || mode > 07777)
		return err_set(p->err, -EINVAL, "--mount: mode: '%s' is no octal mode up to 7777", value);
	p->m->mode = mode;
	return 0;
}

static int set_owner(MountParser *p, const char *key, const char *value)
{
	uint32_t n;
	if (parse_u32_max(value, UINT32_MAX - 1, &n) < 0)
		return err_set(p->err, -EINVAL, "--mount: %s: '%s' is not a number", key, value);
	*(str_eq(key, "uid") ? &p->m->uid : &p->m->gid) = n;
	return 0;
}

static const struct MountKey {
	const char *name;
	int (*set)(MountParser *p, const char *key, const char *value);
	unsigned of;     /* types */
	bool alone;      /* may stand without a value */
} mount_keys[] = {
	{ "type", set_type, ANY, false },
	{ "from", set_from, T(BIND) | T(CACHE), false },
	{ "source", set_source, T(BIND) | T(CACHE) | T(SECRET), false },
	{ "src", set_source, T(BIND) | T(CACHE) | T(SECRET), false },
	{ "target", set_target, ANY, false },
	{ "dst", set_target, ANY, false },
	{ "destination", set_target, ANY, false },
	{ "readonly", set_read_only, ANY, true },
	{ "ro", set_read_only, ANY, true },
	{ "readwrite", set_read_write, ANY, true },
	{ "rw", set_read_write, ANY, true },
	{ "id", set_id, T(CACHE) | T(SECRET) | T(SSH), false },
	{ "env", set_env, T(SECRET), false },
	{ "required", set_required, T(SECRET) | T(SSH), true },
	{ "size", set_size, T(TMPFS), false },
	{ "sharing", set_sharing, T(CACHE), false },
	{ "mode", set_mode, T(CACHE) | T(SECRET) | T(SSH), false },
	{ "uid", set_owner, T(CACHE) | T(SECRET) | T(SSH), false },
	{ "gid", set_owner, T(CACHE) | T(SECRET) | T(SSH), false },
};

static const struct MountKey *find_key(const char *name, Err *err)
{
	const char *known[ARRAY_SIZE(mount_keys) + 1];
	for (size_t i = 0; i < ARRAY_SIZE(mount_keys); i++) {
		if (strcasecmp(mount_keys[i].name, name) == 0)
			return &mount_keys[i];
		known[i] = mount_keys[i].name;
	}
	known[ARRAY_SIZE(mount_keys)] = NULL;
	(void) fail_word(err, "key", name, known);
	return NULL;
}

/* One field of a CSV line, as Go reads it: quoted whole or not at all, "" in it is a quote. */
static int take_field(const char **s, Buf *field, Err *err)
{
	const char *p = *s;
	if (*p != '"') {
		size_t n = strcspn(p, ",");
		if (memchr(p, '"', n))
			return err_set(err, -EINVAL, "--mount: a quote inside of '%s'; quote the whole key=value", p);
		buf_append(field, p, n);
		p += n;
	} else {
		for (p++; *p && !(p[0] == '"' && p[1] != '"'); p++) {
			buf_char(field, *p);
			p += *p == '"';
		}
		if (*p++ != '"')
			return err_set(err, -EINVAL, "--mount: a quote has no end");
		if (*p && *p != ',')
			return err_set(err, -EINVAL, "--mount: a comma is missing before '%s'", p);
	}
	*s = *p ? p + 1 : NULL;
	return 0;
}

static int set_field(MountParser *p, char *field, unsigned *used, WordExpander expand, void *user)
{
	char *value = strchr(field, '=');
	if (value)
		*value++ = '\0';
	const struct MountKey *key = find_key(field, p->err);
	if (!key)
		return -EINVAL;
	if (!value && !key->alone)
		return err_set(p->err, -EINVAL, "--mount: '%s' needs a value: %s=…", key->name, key->name);
	AUTO_FREE char *expanded = NULL;
	*used |= 1U << (key - mount_keys);
	if (value && strchr(value, '$') && key->set != set_from) {
		if (!expand) {
			p->open = true;
			return 0;
		}
		int r = expand(user, value, &expanded, p->err);
		if (r < 0)
			return r;
		value = expanded;
	}
	return key->set(p, key->name, value);
}

/* What the type does not have, and what it must have. */
static int check_mount(const MountParser *p, unsigned used)
{
	const RunMount *m = p->m;
	const char *type = type_names[m->type];
	for (size_t i = 0; i < ARRAY_SIZE(mount_keys); i++)
		if (used & 1U << i && !(mount_keys[i].of & 1U << m->type))
			return err_set(p->err, -EINVAL, "--mount: '%s' does not go with type=%s", mount_keys[i].name, type);
	if (m->type == RUN_MOUNT_SECRET) {
		if (m->source && m->id)
			return err_set(p->err, -EINVAL, "--mount: a secret has 'id' or 'source', not both");
		if (!m->source && !m->id && !m->target)
			return err_set(p->err, -EINVAL, "--mount: which secret? Write type=secret,id=NAME");
	} else if (m->type != RUN_MOUNT_SSH) {
		if (!m->target)
			return err_set(p->err, -EINVAL, "--mount: type=%s needs a target=PATH", type);
		if (str_eq(m->target, "/"))
			return err_set(p->err, -EINVAL, "--mount: the target must not be /");
	}
	return 0;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash && slash[1] ? slash + 1 : path;
}

static void fill_defaults(const MountParser *p)
{
	RunMount *m = p->m;
	m->read_only = p->read_only_said ? p->read_only : m->type != RUN_MOUNT_CACHE && m->type != RUN_MOUNT_TMPFS;
	if (m->type == RUN_MOUNT_SECRET) {
		if (m->source)
			m->id = steal_ptr(&m->source);
		if (!m->id)
			m->id = xstrdup(base_name(m->target));
		if (!m->target && !m->env)
			m->target = xasprintf("/run/secrets/%s", base_name(m->id));
	} else if (m->type == RUN_MOUNT_CACHE && !m->id) {
		m->id = xstrdup(m->target);
	} else if (m->type == RUN_MOUNT_SSH && !m->id) {
		m->id = xstrdup("default");
	}
	if (m->mode < 0)
		m->mode = m->type == RUN_MOUNT_SECRET ? 0400 : m->type == RUN_MOUNT_SSH ? 0600 : 0755;
	m->uid = m->uid < 0 ? 0 : m->uid;
	m->gid = m->gid < 0 ? 0 : m->gid;
}

int mount_parse(const char *text, WordExpander expand, void *user, RunMount *m, Err *err)
{
	MountParser p = { .m = m, .err = err };
	unsigned used = 0;
	*m = (RunMount){ .mode = -1, .uid = -1, .gid = -1 };
	for (const char *s = text; s;) {
		AUTO_BUF field = BUF_INIT;
		int r = take_field(&s, &field, err);
		if (r == 0)
			r = set_field(&p, field.data ? field.data : (char[1]){ 0 }, &used, expand, user);
		if (r < 0)
			return r;
	}
	if (p.open)
		return 0;
	int r = check_mount(&p, used);
	if (r == 0)
		fill_defaults(&p);
	return r;
}

void mount_done(RunMount *m)
{
	free(m->id);
	free(m->source);
	free(m->target);
	free(m->from);
	free(m->env);
}
