// SPDX-License-Identifier: Apache-2.0
#include "cli/docker-config.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include "base/base64.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"

#define HUB "docker.io"
#define HUB_KEY "https://index.docker.io/v1/"
#define CONFIG_MAX (4U << 20)
#define ANSWER_MAX (1U << 20)
#define NOT_FOUND "credentials not found in native keychain" /* what every helper says then */

extern char **environ;

char *docker_config_key(const char *domain)
{
	return xstrdup(str_eq(domain, HUB) ? HUB_KEY : domain);
}

char *docker_config_domain(const char *server)
{
	const char *begin = server ? server : "";
	if (strstr(begin, "://"))
		begin = strstr(begin, "://") + 3;
	AUTO_FREE char *host = xstrndup(begin, strcspn(begin, "/"));
	if (!*host || str_eq(host, "index.docker.io") || str_eq(host, "registry-1.docker.io"))
		return xstrdup(HUB);
	return steal_ptr(&host);
}

static char *config_dir(void)
{
	const char *dir = getenv("DOCKER_CONFIG"), *home = getenv("HOME");
	if (!str_empty(dir))
		return xstrdup(dir);
	if (str_empty(home)) {
		const struct passwd *pw = getpwuid(getuid());
		home = pw ? pw->pw_dir : "/";
	}
	return xasprintf("%s/.docker", home);
}

char *docker_config_path(void)
{
	AUTO_FREE char *dir = config_dir();
	return xasprintf("%s/config.json", dir);
}

/* An empty object where there is no file. */
static int config_read(json_t **ret, Err *err)
{
	AUTO_FREE char *path = docker_config_path();
	AUTO_BUF text = BUF_INIT;
	json_error_t e;
	int r = file_read(AT_FDCWD, path, CONFIG_MAX, &text);
	if (r == -ENOENT || (r == 0 && text.len == 0)) {
		*ret = json_object();
		return 0;
	}
	if (r < 0)
		return err_errno(err, r, "%s", path);
	*ret = json_loadb(text.data, text.len, 0, &e);
	if (*ret && json_is_object(*ret))
		return 0;
	r = *ret ? err_set(err, -EINVAL, "%s:1: not a JSON object", path) : err_set(err, -EINVAL, "%s:%d: %s", path, e.line, e.text);
	json_decref(*ret);
	return r;
}

static int config_write(const json_t *config, Err *err)
{
	AUTO_FREE char *dir = config_dir();
	AUTO_FREE char *path = docker_config_path();
	AUTO_FREE char *real = realpath(path, NULL); /* a link to it stays one */
	AUTO_FREE char *text = json_dumps(config, JSON_INDENT(2));
	if (!text)
		return err_set(err, -EINVAL, "%s: what is to be written is not UTF-8", path);
	int r = dir_make(dir, 0700);
	if (r == 0)
		r = file_write_atomic(AT_FDCWD, real ? real : path, text, strlen(text), 0600, true);
	explicit_bzero(text, strlen(text));
	return r < 0 ? err_errno(err, r, "%s", path) : 0;
}

/* ---- helpers ---- */

/* NULL: the file itself. Borrowed from config. */
static const char *helper_of(const json_t *config, const char *domain, const char *key)
{
	const json_t *helpers = json_object_get(config, "credHelpers");
	const char *name = json_string_value(json_object_get(helpers, domain));
	if (!name)
		name = json_string_value(json_object_get(helpers, key));
	if (!name)
		name = json_string_value(json_object_get(config, "credsStore"));
	return str_empty(name) ? NULL : name;
}

static int helper_start(const char *program, const char *verb, const int in[2], const int out[2], pid_t *ret, Err *err)
{
	char *argv[] = { (char *) program, (char *) verb, NULL };
	posix_spawn_file_actions_t actions;
	(void) posix_spawn_file_actions_init(&actions);
	(void) posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
	(void) posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
	int r = -posix_spawnp(ret, program, &actions, NULL, argv, environ);
	(void) posix_spawn_file_actions_destroy(&actions);
	if (r == -ENOENT)
		return err_set(err, r, "the credential helper '%s' is not on the PATH, but docker's configuration names it", program);
	return r < 0 ? err_errno(err, r, "starting %s", program) : 0;
}

static void read_answer(int fd, Buf *ret)
{
	for (;;) {
		char *p = buf_reserve(ret, 4096);
		ssize_t n = read(fd, p, 4096);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || ret->len > ANSWER_MAX)
			return;
		buf_added(ret, (size_t) n);
	}
}

/* 0: `answer` is its output; 1: it has no such credentials. */
static int helper_run(const char *name, const char *verb, const char *input, Buf *answer, Err *err)
{
	AUTO_FREE char *program = xasprintf("docker-credential-%s", name);
	int in[2], out[2], status = 0;
	pid_t pid;
	if (strchr(name, '/'))
		return err_set(err, -EINVAL, "'%s' is no name of a credential helper", name);
	if (pipe2(in, O_CLOEXEC) < 0)
		return err_errno(err, -errno, "pipe");
	if (pipe2(out, O_CLOEXEC) < 0) {
		(void) close(in[0]);
		(void) close(in[1]);
		return err_errno(err, -EMFILE, "pipe");
	}
	int r = helper_start(program, verb, in, out, &pid, err);
	(void) close(in[0]);
	(void) close(out[1]);
	if (r == 0) {
		/* A helper that does not read it says itself what is wrong. */
		void (*before)(int) = signal(SIGPIPE, SIG_IGN);
		(void) fd_write_all(in[1], input, strlen(input));
		(void) signal(SIGPIPE, before);
	}
	(void) close(in[1]);
	if (r == 0) {
		read_answer(out[0], answer);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	}
	(void) close(out[0]);
	if (r < 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 0))
		return r;
	AUTO_FREE char *text = xstrndup(buf_cstr(answer), strcspn(buf_cstr(answer), "\r\n"));
	if (str_starts(text, NOT_FOUND))
		return 1;
	return err_set(err, -EIO, "%s %s failed%s%.300s", program, verb, *text ? ": " : "", text);
}

static int helper_get(const char *name, const char *key, json_t **ret, Err *err)
{
	AUTO_BUF answer = BUF_INIT;
	int r = helper_run(name, "get", key, &answer, err);
	if (r != 0)
		return r < 0 ? r : 0;
	json_t *o = json_loadb(buf_cstr(&answer), answer.len, 0, NULL);
	const char *user = json_string_value(json_object_get(o, "Username")), *secret = json_string_value(json_object_get(o, "Secret"));
	if (!user || !secret)
		r = err_set(err, -EINVAL, "docker-credential-%s gave no user name and secret", name);
	else if (str_eq(user, "<token>"))
		*ret = json_pack("{s:s, s:s}", "identitytoken", secret, "serveraddress", key);
	else
		*ret = json_pack("{s:s, s:s, s:s}", "username", user, "password", secret, "serveraddress", key);
	json_decref(o);
	if (answer.data)
		explicit_bzero(answer.data, answer.len);
	return r;
}

/* ---- the file ---- */

/* People and older versions write keys as URLs: "https://registry.example/v1/". */
static const char *find_key(const json_t *auths, const char *domain, const char *key)
{
	const char *k;
	json_t *v;
	if (json_object_get(auths, key))
		return key;
	json_object_foreach((json_t *) auths, k, v) {
		AUTO_FREE char *d = docker_config_domain(k);
		if (str_eq(d, domain))
			return k;
	}
	return NULL;
}

static int entry_auth(const json_t *entry, const char *key, json_t **ret, Err *err)
{
	const char *code = json_string_value(json_object_get(entry, "auth")), *token = json_string_value(json_object_get(entry, "identitytoken"));
	AUTO_BUF pair = BUF_INIT;
	json_t *o = json_pack("{s:s}", "serveraddress", key);
	if (!str_empty(token))
		(void) json_object_set_new(o, "identitytoken", json_string(token));
	if (!str_empty(code)) {
		AUTO_FREE char *path = docker_config_path();
		char *colon = base64_decode(code, &pair) == 0 && pair.len ? strchr(pair.data, ':') : NULL;
		if (!colon) {
			json_decref(o);
			return err_set(err, -EINVAL, "%s: auths: '%s': 'auth' is not USER:PASSWORD in base64; 'stead login' writes it anew", path, key);
		}
		*colon = '\0';
		(void) json_object_set_new(o, "username", json_string(pair.data));
		(void) json_object_set_new(o, "password", json_string(colon + 1));
		explicit_bzero(pair.data, pair.len);
	} else if (json_object_get(entry, "username")) {
		(void) json_object_set(o, "username", json_object_get(entry, "username"));
		(void) json_object_set(o, "password", json_object_get(entry, "password"));
	}
	if (json_object_size(o) == 1) {
		json_decref(o);
		return 0;
	}
	*ret = o;
	return 0;
}

int docker_config_auth(const char *domain, json_t **ret, Err *err)
{
	AUTO_FREE char *key = docker_config_key(domain);
	json_t *config = NULL;
	int r = config_read(&config, err);
	if (r < 0)
		return r;
	*ret = NULL;
	const char *helper = helper_of(config, domain, key);
	if (helper)
		r = helper_get(helper, key, ret, err);
	const json_t *auths = json_object_get(config, "auths");
	const char *found = find_key(auths, domain, key);
	if (r == 0 && !*ret && found)
		r = entry_auth(json_object_get(auths, found), key, ret, err);
	json_decref(config);
	return r;
}

int docker_config_store(const char *domain, const char *user, const char *password, bool *ret_file, Err *err)
{
	AUTO_FREE char *key = docker_config_key(domain);
	AUTO_BUF answer = BUF_INIT;
	json_t *config = NULL;
	int r = config_read(&config, err);
	if (r < 0)
		return r;
	const char *helper = helper_of(config, domain, key);
	json_t *entry = json_object();
	*ret_file = !helper;
	if (helper) {
		json_t *o = json_pack("{s:s, s:s, s:s}", "ServerURL", key, "Username", user, "Secret", password);
		AUTO_FREE char *text = json_dumps(o, JSON_COMPACT);
		json_decref(o);
		r = text ? helper_run(helper, "store", text, &answer, err) : err_set(err, -EINVAL, "the user name or password is not UTF-8");
		if (text)
			explicit_bzero(text, strlen(text));
	} else {
		AUTO_FREE char *pair = xasprintf("%s:%s", user, password);
		AUTO_FREE char *code = base64_encode(pair, strlen(pair));
		(void) json_object_set_new(entry, "auth", json_string(code));
		explicit_bzero(pair, strlen(pair));
		explicit_bzero(code, strlen(code));
	}
	if (!json_is_object(json_object_get(config, "auths")))
		(void) json_object_set_new(config, "auths", json_object());
	/* With a helper, too, as docker does: that there are credentials shows in the file. */
	(void) json_object_set_new(json_object_get(config, "auths"), key, entry);
	if (r >= 0)
		r = config_write(config, err);
	json_decref(config);
	return r;
}

int docker_config_erase(const char *domain, Err *err)
{
	AUTO_FREE char *key = docker_config_key(domain);
	AUTO_BUF answer = BUF_INIT;
	json_t *config = NULL;
	bool any = false;
	int r = config_read(&config, err);
	if (r < 0)
		return r;
	const char *helper = helper_of(config, domain, key);
	if (helper) {
		r = helper_run(helper, "erase", key, &answer, err);
		any = r == 0;
	}
	json_t *auths = json_object_get(config, "auths");
	const char *found;
	bool changed = false;
	while (r >= 0 && (found = find_key(auths, domain, key))) {
		AUTO_FREE char *copy = xstrdup(found);
		(void) json_object_del(auths, copy);
		changed = true;
	}
	if (changed)
		r = config_write(config, err);
	json_decref(config);
	return r < 0 ? r : any || changed ? 0 : 1;
}
