// SPDX-License-Identifier: Apache-2.0
/*
 * `.env` has two roles: in the working directory it may name the compose files (COMPOSE_FILE), in the
 * project's directory it holds the variables of the files. Nearly always these are one file; it is read once
 * then.
 */
#include "compose/files.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "compose/env-file.h"
#include "compose/shape.h"

static const char *const file_names[] = { "compose.yaml", "compose.yml", "docker-compose.yaml",
	"docker-compose.yml" };
static const char *const override_names[] = { "compose.override.yaml", "compose.override.yml",
	"docker-compose.override.yaml", "docker-compose.override.yml" };

/* ---- variables ---- */

static const char *get_variable(void *user, const char *name)
{
	const Sources *s = user;
	const char *value = strv_env(s->o->environ, name);
	if (!value && s->project && str_eq(name, "COMPOSE_PROJECT_NAME"))
		return s->project;
	return value ? value : strv_env(s->dotenv, name);
}

static void tell_unset(void *user, const char *name)
{
	const Sources *s = user;
	if (s->load)
		load_warn(s->load, NULL, NULL, "the variable %s is not set; an empty string stands for it",
			name);
}

Variables sources_variables(Sources *s)
{
	return (Variables){ .get = get_variable, .unset = tell_unset, .user = s };
}

static const char *setting(Sources *s, const char *name)
{
	const char *value = get_variable(s, name);
	return str_empty(value) ? NULL : value;
}

/* ---- paths ---- */

static char *absolute(const char *dir, const char *path)
{
	Arena a = { 0 };
	AUTO_FREE char *joined = *path == '/' ? xstrdup(path) : xasprintf("%s/%s", dir, path);
	char *clean = xstrdup(clean_path(&a, joined));
	arena_done(&a);
	return clean;
}

static char *parent(const char *path)
{
	const char *slash = strrchr(path, '/');
	return !slash || slash == path ? xstrdup("/") : xstrndup(path, (size_t) (slash - path));
}

static bool is_file(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 && !S_ISDIR(st.st_mode);
}

static void add_path(Sources *s, const char *path, const char *name)
{
	strv_take(&s->paths, str_eq(path, "-") ? xstrdup("-") : absolute(s->cwd, path));
	strv_add(&s->names, str_eq(name, "-") ? "standard input" : name);
}

/* ---- env files ---- */

static int read_env(Sources *s, const char *path, const char *name, bool required, Err *err)
{
	AUTO_BUF text = BUF_INIT;
	int e = file_read(AT_FDCWD, path, LIMIT_ENV_FILE_BYTES, &text);
	if (e == -ENOENT && !required)
		return 0;
	if (e < 0)
		return err_errno(err, e, "%s cannot be read", name);
	const Variables v = sources_variables(s);
	return env_file_parse(name, buf_cstr(&text), text.len, ENV_FORMAT_COMPOSE, &v, &s->dotenv, err);
}

static int read_env_list(Sources *s, char *const *files, Err *err)
{
	for (; *files; files++) {
		AUTO_FREE char *path = absolute(s->cwd, *files);
		int e = read_env(s, path, *files, true, err);
		if (e < 0)
			return e;
	}
	return 0;
}

static int read_dotenv(Sources *s, const char *dir, Err *err)
{
	AUTO_FREE char *path = absolute(dir, ".env");
	return read_env(s, path, str_eq(dir, s->cwd) ? ".env" : path, false, err);
}

static char **split(const char *text, const char *separator)
{
	char **out = NULL;
	while (*text) {
		const char *end = strstr(text, separator);
		size_t n = end ? (size_t) (end - text) : strlen(text);
		while (n && *text == ' ')
			text++, n--;
		if (n)
			strv_take(&out, xstrndup(text, n));
		text += n;
		if (end)
			text += strlen(separator);
	}
	return out;
}

/* --env-file, or COMPOSE_ENV_FILES; 1 if either was there. */
static int read_named_env(Sources *s, Err *err)
{
	if (s->o->env_files && *s->o->env_files)
		return read_env_list(s, s->o->env_files, err) < 0 ? -EINVAL : 1;
	const char *list = strv_env(s->o->environ, "COMPOSE_ENV_FILES");
	if (str_empty(list))
		return 0;
	AUTO_STRV char **files = split(list, ",");
	return files && read_env_list(s, files, err) < 0 ? -EINVAL : 1;
}

/* ---- compose files ---- */

static const char *first_in(const char *dir, const char *const *names, size_t n, Load *l)
{
	const char *found = NULL;
	for (size_t i = 0; i < n; i++) {
		AUTO_FREE char *path = xasprintf("%s/%s", dir, names[i]);
		if (!is_file(path))
			continue;
		if (found && l)
			load_warn(l, NULL, NULL, "both %s and %s are there; %s is used", found, names[i],
				found);
		if (!found)
			found = names[i];
	}
	return found;
}

static int search(Sources *s)
{
	AUTO_FREE char *dir = xstrdup(s->cwd);
	for (;;) {
		const char *name = first_in(dir, file_names, ARRAY_SIZE(file_names), s->load);
		if (name) {
			const char *over = first_in(dir, override_names, ARRAY_SIZE(override_names), s->load);
			bool here = str_eq(dir, s->cwd);
			AUTO_FREE char *path = absolute(dir, name),
				       *over_path = over ? absolute(dir, over) : NULL;
			add_path(s, path, here ? name : path);
			if (over)
				add_path(s, over_path, here ? over : over_path);
			return 0;
		}
		if (str_eq(dir, "/"))
			return -ENOENT;
		char *up = parent(dir);
		free(dir);
		dir = up;
	}
}

static int find_files(Sources *s, bool need_files, Err *err)
{
	if (s->o->files && *s->o->files) {
		for (char *const *p = s->o->files; *p; p++)
			add_path(s, *p, *p);
		return 0;
	}
	const char *list = setting(s, "COMPOSE_FILE"), *separator = setting(s, "COMPOSE_PATH_SEPARATOR");
	if (list) {
		AUTO_STRV char **paths = split(list, separator ? separator : ":");
		for (char **p = paths; p && *p; p++)
			add_path(s, *p, *p);
		if (paths)
			return 0;
	}
	if (search(s) == 0 || !need_files)
		return 0;
	return err_set(err, -ENOENT, "there is no compose.yaml in %s or above; name one with -f", s->cwd);
}

static int set_cwd(Sources *s, Err *err)
{
	if (s->o->cwd) {
		s->cwd = absolute("/", s->o->cwd);
		return 0;
	}
	char *cwd = getcwd(NULL, 0);
	if (!cwd)
		return err_errno(err, -errno, "the current directory cannot be found out");
	s->cwd = cwd;
	return 0;
}

static void set_project_dir(Sources *s)
{
	if (s->o->project_dir)
		s->project_dir = absolute(s->cwd, s->o->project_dir);
	else if (s->paths && !str_eq(s->paths[0], "-"))
		s->project_dir = parent(s->paths[0]);
	else
		s->project_dir = xstrdup(s->cwd);
}

static void set_profiles(Sources *s)
{
	const char *list = setting(s, "COMPOSE_PROFILES");
	s->profiles = list ? split(list, ",") : NULL;
	for (char *const *p = s->o->profiles; p && *p; p++)
		strv_add(&s->profiles, *p);
}

int sources_open(const ComposeOptions *o, Load *l, bool need_files, Sources *ret, Err *err)
{
	*ret = (Sources){ .o = o, .load = l };
	int e = set_cwd(ret, err);
	if (e < 0)
		return e;
	e = read_named_env(ret, err);
	if (e < 0)
		return e;
	bool named = e > 0, searching = !(o->files && *o->files);
	if (!named && searching && (e = read_dotenv(ret, ret->cwd, err)) < 0)
		return e;
	if ((e = find_files(ret, need_files, err)) < 0)
		return e;
	set_project_dir(ret);
	if (!named && !(searching && str_eq(ret->project_dir, ret->cwd))) {
		strv_free(ret->dotenv);
		ret->dotenv = NULL;
		if ((e = read_dotenv(ret, ret->project_dir, err)) < 0)
			return e;
	}
	set_profiles(ret);
	return 0;
}

void sources_done(Sources *s)
{
	free(s->cwd);
	free(s->project_dir);
	free(s->project);
	strv_free(s->paths);
	strv_free(s->names);
	strv_free(s->dotenv);
	strv_free(s->profiles);
	*s = (Sources){ 0 };
}

static int read_stdin(Buf *ret)
{
	for (;;) {
		ssize_t n = read(STDIN_FILENO, buf_reserve(ret, 65536), 65536);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		buf_added(ret, (size_t) n);
		if (!n)
			return 0;
		if (ret->len > LIMIT_YAML_BYTES)
			return -EFBIG;
	}
}

int sources_read(const Sources *s, const char *path, Buf *ret, Err *err)
{
	int e = str_eq(path, "-") ? read_stdin(ret) : file_read(AT_FDCWD, path, LIMIT_YAML_BYTES, ret);
	if (e == -ENOENT)
		return err_set(err, e, "there is no file %s; name an existing one with -f", path);
	if (e == -EFBIG)
		return err_set(err, e, "%s is larger than %u bytes", path, LIMIT_YAML_BYTES);
	return e < 0 ? err_errno(err, e, "%s cannot be read", path) : 0;
}

char *project_name_normalise(const char *name)
{
	char *out = xstrdup(name), *to = out;
	for (const char *p = name; *p; p++) {
		char c = *p >= 'A' && *p <= 'Z' ? (char) (*p + 'a' - 'A') : *p;
		bool keep = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
			    ((c == '_' || c == '-') && to != out);
		if (keep)
			*to++ = c;
	}
	*to = '\0';
	if (strlen(out) > 63)
		out[63] = '\0';
	return out;
}
