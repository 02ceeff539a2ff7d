// SPDX-License-Identifier: Apache-2.0
/*
 * The steps of a load, each in a file of its own: find and read files (files.c), YAML to nodes (yaml.c), the
 * project's name (here); then the pipeline (pipeline.c): variables in values (interpolate.c), long forms
 * (shape.c and its kin), merge (merge.c), profiles, env files, names (resolve.c), and at last JSON for the
 * model, which checks what spans services.
 */
#include "compose/load.h"

#include <errno.h>
#include <fcntl.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "compose/files.h"
#include "compose/pipeline.h"
#include "compose/yaml.h"

/* ---- the project's name ---- */

/* What must hold of a name that somebody wrote, as opposed to a directory's. */
static int check_name(const char *name, const char *from, Err *err)
{
	if (stack_name_valid(name))
		return 0;
	AUTO_FREE char *better = project_name_normalise(name);
	return err_set(err, -EINVAL,
		"%s: '%s' is no valid project name: lower-case letters, digits, '_' and '-', beginning with a letter or digit%s%s%s",
		from, name, *better ? "; '" : "", better, *better ? "' would be one" : "");
}

/* From -p or the environment; NULL if neither says. */
static int name_from_options(Sources *s, char **ret, Err *err)
{
	const Variables v = sources_variables(s);
	const char *name = s->o->project_name, *from = "-p";
	if (str_empty(name)) {
		name = v.get(v.user, "COMPOSE_PROJECT_NAME");
		from = "COMPOSE_PROJECT_NAME";
	}
	if (str_empty(name))
		return 0;
	if (check_name(name, from, err) < 0)
		return -EINVAL;
	*ret = xstrdup(name);
	return 0;
}

static int name_from_directory(const Sources *s, char **ret, Err *err)
{
	AUTO_FREE char *name = project_name_normalise(strrchr(s->project_dir, '/') + 1);
	if (!*name)
		return err_set(err, -EINVAL,
			"the directory %s gives no project name; name the project with -p or 'name:'",
			s->project_dir);
	*ret = steal_ptr(&name);
	return 0;
}

/* `name:` of the last document that has one; it may use variables, of course not the project's name itself.
 */
static int name_from_documents(Load *l, Node *const *docs, size_t n, char **ret)
{
	for (size_t i = n; i-- > 0;) {
		Node *name = node_get(docs[i], "name");
		KeyPath path = { .len = 0 };
		(void) path_enter(&path, "name");
		if (!name || node_is_null(name))
			continue;
		if (name->kind != NODE_SCALAR)
			return load_fail(l, name, &path, "must be a string, not %s", node_what(name));
		if (strchr(name->text, '$') && interpolate_scalar(l, name, &path) < 0)
			return -EINVAL;
		AUTO_ERR err = ERR_INIT;
		if (!*name->text)
			continue;
		if (check_name(name->text, "name", &err) < 0)
			return load_fail(l, name, NULL, "%s", err_text(&err));
		*ret = xstrdup(name->text);
		return 0;
	}
	return 0;
}

static int find_name(Load *l, Sources *s, Node *const *docs, size_t n)
{
	int e = name_from_options(s, &s->project, l->err);
	if (e >= 0 && !s->project)
		e = name_from_documents(l, docs, n, &s->project);
	if (e >= 0 && !s->project)
		e = name_from_directory(s, &s->project, l->err);
	return e;
}

/* ---- reading ---- */

static int read_documents(Load *l, const Sources *s, Node ***ret, size_t *ret_n)
{
	for (size_t i = 0; s->paths && s->paths[i]; i++) {
		AUTO_BUF text = BUF_INIT;
		size_t before = *ret_n;
		int e = sources_read(s, s->paths[i], &text, l->err);
		if (e < 0)
			return e;
		e = yaml_parse(l, (unsigned) i, buf_cstr(&text), text.len, ret, ret_n);
		if (e < 0)
			return e;
		if (*ret_n == before)
			return err_set(
				l->err, -EINVAL, "%s: the file is empty; it needs 'services:'", l->files[i]);
		for (size_t k = before; k < *ret_n; k++)
			if (!node_is_map((*ret)[k]))
				return load_fail(l, (*ret)[k], NULL,
					"the file must be a map with 'services:', not %s",
					node_what((*ret)[k]));
	}
	return 0;
}

static int read_project_file(void *user, const char *path, size_t max, Buf *ret)
{
	return file_read(AT_FDCWD, path, max, ret);
}

static int load(Load *l, Sources *s, Stack **ret)
{
	Node **docs = NULL;
	size_t n = 0;
	int e = read_documents(l, s, &docs, &n);
	if (e < 0 || (e = find_name(l, s, docs, n)) < 0)
		return e;
	const ResolveOptions options = { .project = s->project,
		.profiles = s->profiles,
		.services = s->o->services,
		.read = read_project_file };
	return pipeline_run(l, docs, n, s->paths, &options, ret);
}

int compose_load(const ComposeOptions *o, Stack **ret, char ***ret_warnings, Err *err)
{
	AUTO_ERR own = ERR_INIT;
	Load l = { .err = &own };
	Sources s;
	int e = sources_open(o, &l, true, &s, &own);
	if (e >= 0) {
		l.files = s.names;
		l.project_dir = s.project_dir;
		l.vars = sources_variables(&s);
		l.refused_path = o->refused_path;
		l.refused_text = o->refused_text;
		e = load(&l, &s, ret);
	}
	if (ret_warnings)
		*ret_warnings = steal_ptr(&l.warnings);
	strv_free(l.warnings);
	arena_done(&l.arena);
	sources_done(&s);
	return e < 0 ? err_move(err, &own) : 0;
}

int compose_project_name(const ComposeOptions *o, char **ret, Err *err)
{
	AUTO_ERR own = ERR_INIT;
	Load l = { .err = &own };
	Sources s;
	Node **docs = NULL;
	size_t n = 0;
	int e = sources_open(o, NULL, false, &s, &own);
	if (e >= 0)
		e = name_from_options(&s, &s.project, &own);
	if (e >= 0 && !s.project) {
		l.files = s.names;
		l.project_dir = s.project_dir;
		l.vars = sources_variables(&s);
		e = s.paths ? read_documents(&l, &s, &docs, &n)
			    : err_set(&own, -ENOENT,
				      "there is no compose.yaml in %s or above; name one with -f, or a project with -p",
				      s.cwd);
		if (e >= 0)
			e = find_name(&l, &s, docs, n);
	}
	if (e >= 0)
		*ret = steal_ptr(&s.project);
	strv_free(l.warnings);
	arena_done(&l.arena);
	sources_done(&s);
	return e < 0 ? err_move(err, &own) : 0;
}

/* ---- the machine ---- */

static int host_from_documents(Load *l, Node *const *docs, size_t n, char **ret)
{
	for (size_t i = n; i-- > 0;) {
		KeyPath path = { .len = 0 };
		Node *extension = node_get(docs[i], "x-stead");
		Node *host = extension && node_is_map(extension) ? node_get(extension, "host") : NULL;
		if (!host || node_is_null(host))
			continue;
		path_enter(&path, "x-stead");
		path_enter(&path, "host");
		if (host->kind != NODE_SCALAR)
			return load_fail(l, host, &path, "must be a string, not %s", node_what(host));
		size_t warned = strv_len(l->warnings);
		if (strchr(host->text, '$') && interpolate_scalar(l, host, &path) < 0)
			return -EINVAL;
		if (!*host->text && strv_len(l->warnings) > warned)
			return load_fail(l, host, &path, "is empty, since a variable is not set; set it, or choose the machine with -H");
		if (!*host->text)
			return 0;
		*ret = xstrdup(host->text);
		return 0;
	}
	return 0;
}

static bool mention_stead(const Sources *s)
{
	for (size_t i = 0; s->paths[i]; i++) {
		AUTO_BUF text = BUF_INIT;
		if (sources_read(s, s->paths[i], &text, NULL) == 0 && strstr(buf_cstr(&text), "x-stead"))
			return true;
	}
	return false;
}

int compose_host(const ComposeOptions *o, char **ret, Err *err)
{
	AUTO_ERR own = ERR_INIT;
	Load l = { .err = &own };
	Sources s;
	Node **docs = NULL;
	size_t n = 0;
	*ret = NULL;
	int e = sources_open(o, &l, false, &s, &own);
	if (e >= 0 && s.paths && !strv_has(s.paths, "-") && mention_stead(&s)) {
		l.files = s.names;
		l.project_dir = s.project_dir;
		l.vars = sources_variables(&s);
		e = read_documents(&l, &s, &docs, &n);
		if (e >= 0)
			e = host_from_documents(&l, docs, n, ret);
	}
	strv_free(l.warnings);
	arena_done(&l.arena);
	sources_done(&s);
	return e < 0 ? err_move(err, &own) : 0;
}
