// SPDX-License-Identifier: Apache-2.0
#include "run/user.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"

#define ACCOUNTS_MAX (1U << 20) /* bytes read of passwd and group */
#define ID_MAX INT32_MAX        /* larger ids wrap around to 0 somewhere between here and the kernel */
#define GROUPS_MAX 1024

/* A regular file inside the root; anything else (a device, a fifo) counts as absent. */
static void read_accounts(int root, const char *path, Buf *b)
{
	AUTO_CLOSE int fd = open_in_root(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	while (b->len < ACCOUNTS_MAX) {
		ssize_t n = read(fd, buf_reserve(b, 16384), 16384);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		buf_added(b, (size_t) n);
	}
}

typedef struct Line {
	char *fields[8];
	size_t n;
} Line;

/* Splits the next line of *cursor (in place) at colons. */
static bool next_line(char **cursor, Line *ret)
{
	char *s = *cursor;
	if (!s || !*s)
		return false;
	char *end = strchr(s, '\n');
	if (end)
		*end = '\0';
	*cursor = end ? end + 1 : NULL;
	ret->n = 0;
	for (char *p = s; p && ret->n < ARRAY_SIZE(ret->fields);) {
		ret->fields[ret->n++] = p;
		p = strchr(p, ':');
		if (p)
			*p++ = '\0';
	}
	return true;
}

static bool parse_id(const char *s, uint32_t *ret)
{
	return s && s[0] >= '0' && s[0] <= '9' && parse_u32_max(s, ID_MAX, ret) == 0;
}

static bool in_list(const char *list, const char *name)
{
	size_t n = strlen(name);
	for (const char *p = list; p && *p; p = strchr(p, ','), p = p ? p + 1 : NULL)
		if (strncmp(p, name, n) == 0 && (p[n] == ',' || p[n] == '\0'))
			return true;
	return false;
}

static void add_group(User *u, gid_t gid)
{
	for (size_t i = 0; i < u->n_groups; i++)
		if (u->groups[i] == gid)
			return;
	if (u->n_groups < GROUPS_MAX)
		*array_append(u->groups, u->n_groups) = gid;
}

/* Fills uid, gid and home; `ret_name` is the account's name or NULL. */
static int find_user(const char *passwd, const char *who, User *u, char **ret_name, Err *err)
{
	uint32_t id = 0;
	bool numeric = parse_id(who, &id);
	AUTO_FREE char *text = xstrdup(passwd);
	char *cursor = text;
	Line l;
	while (next_line(&cursor, &l)) {
		uint32_t uid, gid;
		if (l.n < 4 || !parse_id(l.fields[2], &uid) || !parse_id(l.fields[3], &gid))
			continue;
		if (numeric ? uid != id : !str_eq(l.fields[0], who))
			continue;
		u->uid = uid;
		u->gid = gid;
		if (l.n > 5 && l.fields[5][0] == '/' && !str_has_control(l.fields[5]))
			str_set(&u->home, l.fields[5]);
		*ret_name = xstrdup(l.fields[0]);
		return 0;
	}
	if (!numeric)
		return err_set(err, -ENOENT, "user '%s' is not in the image's /etc/passwd; use a numeric id (at most %d), or another image", who, ID_MAX);
	u->uid = id;
	u->gid = 0;
	return 0;
}

static int find_group(const char *group, const char *which, gid_t *ret, Err *err)
{
	uint32_t id = 0;
	if (parse_id(which, &id)) {
		*ret = id;
		return 0;
	}
	AUTO_FREE char *text = xstrdup(group);
	char *cursor = text;
	Line l;
	while (next_line(&cursor, &l))
		if (l.n >= 3 && str_eq(l.fields[0], which) && parse_id(l.fields[2], &id)) {
			*ret = id;
			return 0;
		}
	return err_set(err, -ENOENT, "group '%s' is not in the image's /etc/group; use a numeric id (at most %d), or another image", which, ID_MAX);
}

static void member_groups(const char *group, const char *name, User *u)
{
	AUTO_FREE char *text = xstrdup(group);
	char *cursor = text;
	Line l;
	while (next_line(&cursor, &l)) {
		uint32_t gid;
		if (l.n >= 4 && parse_id(l.fields[2], &gid) && in_list(l.fields[3], name))
			add_group(u, gid);
	}
}

int user_resolve(const char *rootfs, const char *spec, char *const *extra, User *ret, Err *err)
{
	User u = { .home = xstrdup("/") };
	AUTO_CLOSE int root = open(rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	AUTO_BUF passwd = BUF_INIT, group = BUF_INIT;
	if (root >= 0) {
		read_accounts(root, "/etc/passwd", &passwd);
		read_accounts(root, "/etc/group", &group);
	}
	const char *text = str_empty(spec) ? "0" : spec, *colon = strchr(text, ':');
	AUTO_FREE char *who = xstrndup(text, colon ? (size_t) (colon - text) : strlen(text));
	AUTO_FREE char *name = NULL;
	int r = find_user(buf_cstr(&passwd), who[0] ? who : "0", &u, &name, err);
	if (r == 0 && colon && colon[1])
		r = find_group(buf_cstr(&group), colon + 1, &u.gid, err);
	else if (r == 0 && name)
		/* An explicit group replaces the account's own ones. */
		member_groups(buf_cstr(&group), name, &u);
	for (size_t i = 0; r == 0 && extra && extra[i]; i++) {
		gid_t gid = 0;
		r = find_group(buf_cstr(&group), extra[i], &gid, err);
		if (r == 0)
			add_group(&u, gid);
	}
	if (r < 0) {
		user_done(&u);
		return r;
	}
	*ret = u;
	return 0;
}

void user_done(User *u)
{
	free_and_null(&u->groups);
	free_and_null(&u->home);
	u->n_groups = 0;
}
