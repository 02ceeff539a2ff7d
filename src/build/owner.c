// SPDX-License-Identifier: Apache-2.0
/* Users and groups of an image, by its own files. */
#include <errno.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "build/parts.h"

/* Field `n` of the line of /etc/passwd or /etc/group whose field `key` is `value`. Owned by the caller, or NULL. */
static char *database_field(const View *v, const char *file, size_t key, const char *value, size_t n)
{
	AUTO_BUF text = BUF_INIT;
	if (view_read(v, file, LIMIT_CONFIG_FILE_BYTES, &text) < 0)
		return NULL;
	for (char *line = text.data, *next; line && *line; line = next) {
		char *fields[7] = { NULL };
		size_t k = 0;
		next = line + strcspn(line, "\n");
		if (*next)
			*next++ = '\0';
		for (char *p = line; k < ARRAY_SIZE(fields); k++) {
			fields[k] = p;
			p += strcspn(p, ":");
			if (!*p)
				break;
			*p++ = '\0';
		}
		if (fields[key] && fields[n] && str_eq(fields[key], value))
			return xstrdup(fields[n]);
	}
	return NULL;
}

static int find_id(const View *v, const char *file, const char *name, const char *what, uint32_t *ret, Err *err)
{
	AUTO_FREE char *id = database_field(v, file, 0, name, 2);
	if (id && parse_u32_max(id, UINT32_MAX - 1, ret) == 0)
		return 0;
	return err_set(err, -ENOENT, "%s '%s' is not in the image's /%s: use a number, or make it in an earlier RUN", what, name, file);
}

int build_owner(const View *v, const char *text, uint32_t *ret_uid, uint32_t *ret_gid, Err *err)
{
	const char *colon = strchr(text, ':');
	AUTO_FREE char *user = xstrndup(text, colon ? (size_t) (colon - text) : strlen(text));
	const char *group = colon ? colon + 1 : "";
	uint32_t uid = 0, gid = 0;
	int r = 0;
	if (*user && parse_u32_max(user, UINT32_MAX - 1, &uid) == 0) {
		gid = uid;
	} else if (*user) {
		r = find_id(v, "etc/passwd", user, "user", &uid, err);
		AUTO_FREE char *primary = database_field(v, "etc/passwd", 0, user, 3);
		if (r < 0 || !primary || parse_u32_max(primary, UINT32_MAX - 1, &gid) < 0)
			gid = uid;
	}
	if (r == 0 && *group && parse_u32_max(group, UINT32_MAX - 1, &gid) < 0)
		r = find_id(v, "etc/group", group, "group", &gid, err);
	if (r == 0) {
		*ret_uid = uid;
		*ret_gid = gid;
	}
	return r;
}

char *build_home(const View *v, uint32_t uid)
{
	char number[16];
	(void) snprintf(number, sizeof(number), "%u", uid);
	char *home = database_field(v, "etc/passwd", 2, number, 5);
	if (!home && uid == 0)
		home = xstrdup("/root");
	return home;
}
