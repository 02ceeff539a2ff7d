// SPDX-License-Identifier: Apache-2.0
#include "build/select.h"

#include <errno.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "model/nearest.h"

#define NEAREST_MAX 3 /* names suggested for a source that is missing */

void destination_done(Destination *d)
{
	free(d->path);
	*d = (Destination) { 0 };
}

/* Modes. */

static mode_t who_mask(const char **p)
{
	mode_t who = 0;
	for (; **p && strchr("ugoa", **p); (*p)++)
		who |= **p == 'u' ? 04700 : **p == 'g' ? 02070 : **p == 'o' ? 01007 : 07777;
	return who ? who : 07777;
}

static int permission_bits(const char **p, mode_t mode, bool directory, mode_t *ret)
{
	*ret = 0;
	for (; **p && !strchr(",+-=", **p); (*p)++) {
		switch (**p) {
		case 'r':
			*ret |= 0444;
			break;
		case 'w':
			*ret |= 0222;
			break;
		case 'x':
			*ret |= 0111;
			break;
		case 'X':
			*ret |= directory || (mode & 0111) ? 0111 : 0;
			break;
		case 's':
			*ret |= 06000;
			break;
		case 't':
			*ret |= 01000;
			break;
		default:
			return -EINVAL;
		}
	}
	return 0;
}

/** Mode from octal digits or clauses as of chmod(1) ("u=rwX,go=rX"). -EINVAL. */
static int mode_parse(const char *text, mode_t mode, bool directory, mode_t *ret)
{
	if (*text && strspn(text, "01234567") == strlen(text) && strlen(text) <= 5) {
		*ret = (mode_t) strtoul(text, NULL, 8);
		return *ret > 07777 ? -EINVAL : 0;
	}
	for (const char *p = text;;) {
		mode_t who = who_mask(&p), bits;
		if (!*p || !strchr("+-=", *p))
			return -EINVAL;
		while (*p && strchr("+-=", *p)) {
			char op = *p++;
			if (permission_bits(&p, mode, directory, &bits) < 0)
				return -EINVAL;
			bits &= who;
			mode = op == '+' ? mode | bits : op == '-' ? mode & ~bits : (mode & ~(who & 0777)) | bits;
		}
		if (!*p) {
			*ret = mode;
			return 0;
		}
		p++;
	}
}

int select_attributes(const Selection *s, Entry *e, Err *err)
{
	if (s->context)
		e->uid = e->gid = 0;
	if (s->owner) {
		e->uid = s->uid;
		e->gid = s->gid;
	}
	if (!s->chmod || e->type == 'l')
		return 0;
	return mode_parse(s->mode, e->mode, e->type == 'd', &e->mode) < 0 ? err_set(err, -EINVAL, "--chmod=%s is no mode such as 755 or u=rwX,go=rX", s->mode) : 0;
}

/* What is missing. */

typedef struct Nearest {
	const char *wanted;
	char *names[NEAREST_MAX];
	unsigned distances[NEAREST_MAX];
} Nearest;

static void offer(Nearest *n, const char *path)
{
	const char *a = strrchr(n->wanted, '/'), *b = strrchr(path, '/');
	a = a ? a + 1 : n->wanted;
	b = b ? b + 1 : path;
	unsigned max = edit_distance_allowed(a), d = edit_distance(a, b, max);
	/* The same name elsewhere counts as well. */
	if (d > max)
		return;
	for (int i = 0; i < NEAREST_MAX; i++) {
		if (n->names[i] && n->distances[i] <= d)
			continue;
		free(n->names[NEAREST_MAX - 1]);
		memmove(&n->names[i + 1], &n->names[i], sizeof(char *) * (size_t) (NEAREST_MAX - 1 - i));
		memmove(&n->distances[i + 1], &n->distances[i], sizeof(unsigned) * (size_t) (NEAREST_MAX - 1 - i));
		n->names[i] = xstrdup(path);
		n->distances[i] = d;
		return;
	}
}

int select_missing(const Selection *s, const char *source, Err *err)
{
	Nearest near = { .wanted = source };
	AUTO_BUF b = BUF_INIT;
	AUTO_FREE char *clean = path_in_root("", source);
	const IgnoreRule *rule = NULL;
	const char *where = s->context ? "in the build context" : "there";
	near.wanted = clean;
	if (s->context && s->ignore && ignore_match(s->ignore, clean, &rule) && rule)
		return err_set(err, -ENOENT, "'%s' is not in the build context: line %u of %s ('%s') leaves it out", source, rule->line,
			s->ignore_name, rule->text);
	for (size_t i = 0; s->tree->list && i < s->tree->list->n; i++)
		offer(&near, s->tree->list->items[i].path);
	for (int i = 0; i < NEAREST_MAX && near.names[i]; i++) {
		buf_printf(&b, "%s'%s'", i ? ", " : "; near it: ", near.names[i]);
		free(near.names[i]);
	}
	return err_set(err, -ENOENT, "'%s' is not %s%s", source, where, buf_cstr(&b));
}

/* The destination. */

int select_destination(const Selection *s, size_t n, Destination *ret, Err *err)
{
	const char *d = s->destination;
	size_t len = strlen(d);
	bool slash = !len || d[len - 1] == '/' || str_eq(d, ".") || str_ends(d, "/.");
	struct stat st;
	Destination out = { 0 };
	AUTO_FREE char *clean = path_in_root(s->workdir, d);
	if (s->link)
		out.path = xstrdup(clean);
	else {
		int r = view_resolve(s->below, clean, true, &out.path, err);
		if (r < 0)
			return r;
	}
	int r = view_stat(s->below, out.path, &st, NULL, err);
	if (r < 0) {
		destination_done(&out);
		return r;
	}
	out.exists = r == 1 || !*out.path;
	bool is_dir = !*out.path || (r == 1 && S_ISDIR(st.st_mode));
	out.directory = slash || is_dir || n > 1;
	if (out.exists && !is_dir && out.directory) {
		r = err_set(err, -ENOTDIR, "the destination '%s' has to be a directory, but '/%s' is a file in the image", d, out.path);
		destination_done(&out);
		return r;
	}
	*ret = out;
	return 0;
}

/* Taking. */

typedef struct Taking {
	const Selection *s;
	Entries *out;
	const char *to; /* directory in the image */
	const char *from; /* directory in the tree, as it was named */
} Taking;

static char *join(const char *dir, const char *name)
{
	return xasprintf("%s%s%s", dir, *dir && *name ? "/" : "", name);
}

static bool excluded(const Selection *s, const char *relative, const char *full)
{
	return s->excludes && ((*relative && ignore_match(s->excludes, relative, NULL)) || ignore_match(s->excludes, full, NULL));
}

/* Takes ownership of what is in *e, and of `path`, its place in the image. */
static int put(const Selection *s, Entries *out, Entry *e, char *path, Err *err)
{
	free(e->path);
	e->path = path;
	int r = select_attributes(s, e, err);
	if (r == 0 && out->n >= LIMIT_CONTEXT_ENTRIES)
		r = err_set(err, -EFBIG, "more than %d files", LIMIT_CONTEXT_ENTRIES);
	if (r == 0 && !entry_path_valid(path))
		r = err_set(err, -EINVAL, "'/%.200s' is no valid path in an image", path);
	if (r < 0)
		entry_done(e);
	else
		*array_append(out->items, out->n) = *e;
	return r;
}

static int take_below(void *user, const char *path, Entry *e, Err *err)
{
	const Taking *t = user;
	AUTO_FREE char *full = join(t->from, path);
	if (excluded(t->s, path, full)) {
		entry_done(e);
		return 0;
	}
	return put(t->s, t->out, e, join(t->to, path), err);
}

/*
 * What is in a directory goes into `to`. If that is not there it is a new directory, as in BuildKit and buildah: a checkout that only its owner may
 * read is no reason for the image to be so. With --parents it is the directory itself.
 */
static int take_directory(const Selection *s, const char *named, Entry *e, const char *to, bool exists, Entries *out, Err *err)
{
	AUTO_FREE char *resolved = xstrdup(e->path);
	Taking t = { s, out, to, named };
	int r = 0;
	Entry made = { .type = 'd', .mode = 0755, .mtime = e->mtime };
	if (exists || !*to || !s->parents)
		entry_done(e);
	if (!exists && *to)
		r = put(s, out, s->parents ? e : &made, xstrdup(to), err);
	return r < 0 ? r : tree_walk(s->tree, resolved, take_below, &t, err);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* --parents: the directories on the way, with what they are in the tree. */
static int take_parents(const Selection *s, const char *kept, const char *pivot, const char *to, Entries *out, Err *err)
{
	AUTO_FREE char *way = xstrdup(kept);
	int r = 0;
	for (char *p = way + strcspn(way, "/"); r == 0 && *p; p += 1 + strcspn(p + 1, "/")) {
		AUTO_FREE char *resolved = NULL;
		Entry e;
		*p = '\0';
		AUTO_FREE char *path = join(pivot, way);
		r = tree_resolve(s->tree, path, true, &resolved, err);
		if (r == 0 && (r = tree_stat(s->tree, resolved, &e, err)) == 1)
			r = put(s, out, &e, join(to, way), err);
		*p = '/';
	}
	return r;
}

/* The part of a source before "/./" stays behind (Dockerfile reference, COPY --parents). Owned by the caller. */
static char *pivot_of(const char *source)
{
	const char *dot = str_starts(source, "./") ? source : strstr(source, "/./");
	AUTO_FREE char *before = xstrndup(source, dot ? (size_t) (dot - source) : 0);
	return path_in_root("", before);
}

static int take_one(const Selection *s, const char *source, const char *path, const Destination *d, Entries *out, Err *err)
{
	AUTO_FREE char *resolved = NULL;
	AUTO_FREE char *pivot = s->parents ? pivot_of(source) : NULL;
	Entry e;
	int r = tree_resolve(s->tree, path, true, &resolved, err);
	if (r < 0 || (r = tree_stat(s->tree, resolved, &e, err)) < 0)
		return r;
	if (r == 0)
		return err_set(err, -ENOENT, "'%s' is a symbolic link to '/%s', which is not %s", path, resolved,
			s->context ? "in the build context (what is outside of it cannot be copied)" : "there");
	const char *kept = path + (s->parents && *pivot && path_below(path, pivot) ? strlen(pivot) + 1 : 0);
	AUTO_FREE char *to = s->parents ? join(d->path, kept) : NULL;
	if (s->parents && (r = take_parents(s, kept, pivot, d->path, out, err)) < 0) {
		entry_done(&e);
		return r;
	}
	if (e.type == 'd')
		return take_directory(s, path, &e, to ? to : d->path, to ? !*kept : d->exists, out, err);
	if (excluded(s, base_name(path), path)) {
		entry_done(&e);
		return 0;
	}
	if ((r = tree_hash(s->tree, &e, err)) < 0) {
		entry_done(&e);
		return r;
	}
	e.inode = 0; /* one name of it is taken */
	e.named = true;
	return put(s, out, &e, to ? xstrdup(to) : d->directory ? join(d->path, base_name(path)) : xstrdup(d->path), err);
}

/* Does the path, as it is written, lead above its start? */
static bool escapes(const char *path)
{
	long depth = 0;
	for (const char *p = path; *p;) {
		size_t n = strcspn(p, "/");
		if (n == 2 && p[0] == '.' && p[1] == '.' && --depth < 0)
			return true;
		if (n && !(n == 1 && p[0] == '.') && !(n == 2 && p[0] == '.' && p[1] == '.'))
			depth++;
		p += n;
		p += strspn(p, "/");
	}
	return false;
}

int select_files(const Selection *s, Destination *ret_destination, Entries *ret, Err *err)
{
	AUTO_STRV char **paths = NULL;
	AUTO_FREE size_t *of = NULL; /* which source each path comes from */
	size_t n = 0, n_of = 0;
	int r;
	for (char *const *p = s->sources; p && *p; p++) {
		if (s->context && escapes(*p))
			return err_set(err, -EINVAL, "'%s' leads out of the build context: build in the directory above, or copy the file into the context", *p);
		if ((r = tree_glob(s->tree, *p, s->parents, &paths, err)) < 0)
			return r;
		size_t now = strv_len(paths);
		if (now == n)
			return select_missing(s, *p, err);
		for (; n < now; n++)
			*array_append(of, n_of) = (size_t) (p - s->sources);
	}
	if ((r = select_destination(s, n + s->further, ret_destination, err)) < 0)
		return r;
	for (size_t i = 0; r == 0 && i < n; i++)
		r = take_one(s, s->sources[of[i]], paths[i], ret_destination, ret, err);
	return r;
}

/* The end. */

typedef struct Position {
	Entry e;
	size_t index;
} Position;

static int position_order(const void *a, const void *b)
{
	const Position *x = a, *y = b;
	int r = strcmp(x->e.path, y->e.path);
	return r ? r : (x->index > y->index) - (x->index < y->index);
}

static int inode_order(const void *a, const void *b)
{
	const Entry *x = *(Entry *const *) a, *y = *(Entry *const *) b;
	int r = (x->inode > y->inode) - (x->inode < y->inode);
	return r ? r : strcmp(x->path, y->path);
}

static void link_names(Entries *l)
{
	AUTO_FREE Entry **order = xcalloc(l->n + 1, sizeof(Entry *));
	size_t n = 0;
	for (size_t i = 0; i < l->n; i++)
		if (l->items[i].inode)
			order[n++] = &l->items[i];
	if (n)
		qsort(order, n, sizeof(Entry *), inode_order);
	for (size_t i = 1, first = 0; i < n; i++) {
		if (order[i]->inode != order[first]->inode)
			first = i;
		else
			order[i]->link = xstrdup(order[first]->path);
	}
}

int select_finish(Entries *l, Err *err)
{
	Position *all = xcalloc(l->n + 1, sizeof(*all));
	size_t kept = 0;
	int r = 0;
	for (size_t i = 0; i < l->n; i++)
		all[i] = (Position) { l->items[i], i };
	qsort(all, l->n, sizeof(*all), position_order);
	for (size_t i = 0; i < l->n; i++) {
		bool same = kept && str_eq(l->items[kept - 1].path, all[i].e.path);
		if (same && r == 0 && (l->items[kept - 1].type == 'd') != (all[i].e.type == 'd'))
			r = err_set(err, -EEXIST, "'/%s' would be a file and a directory", all[i].e.path);
		if (same)
			entry_done(&l->items[--kept]);
		l->items[kept++] = all[i].e;
	}
	free(all);
	l->n = kept;
	link_names(l);
	return r;
}

static int take_relative(void *user, const char *path, Entry *e, Err *err)
{
	Entries *out = user;
	(void) err;
	char *own = xstrdup(path); /* it may be a part of the old one */
	free(e->path);
	e->path = own;
	*array_append(out->items, out->n) = *e;
	return 0;
}

int select_below(const Tree *t, const char *dir, Entries *ret, Err *err)
{
	int r = tree_walk(t, dir, take_relative, ret, err);
	return r < 0 ? r : select_finish(ret, err);
}
