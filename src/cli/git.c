// SPDX-License-Identifier: Apache-2.0
/*
 * The commit is fetched alone (--depth=1) and by its id, so that what is checked out is what was found, wherever the branch has gone meanwhile.
 * Servers that give no single commits, or no shallow ones, say so; then all branches and tags are fetched.
 *
 * Settings go by environment variables (GIT_CONFIG_COUNT): what is in a command line everybody can read, and a header may be a
 * password; and git hands them on to what it runs for submodules.
 */
#include "cli/git.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/signals.h"
#include "cli/spawn.h"

#define OUTPUT_MAX (1U << 20) /* of git's output, and of its errors */
#define ERROR_LINES 4         /* that are shown of these */
#define TICK_MSEC 100
#define PATIENCE 50           /* ticks for one that was given up, before it is killed */
#define ARGS_MAX 16

extern char **environ;

/* ── the environment ──────────────────────────────────────────────── */

/* Of a user's own access, what may stay: all but what names a repository, or other settings. */
static bool stays(const char *variable, bool own)
{
	static const char *const repository[] = { "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_CEILING_DIRECTORIES", "GIT_COMMON_DIR", "GIT_CONFIG",
		"GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS", "GIT_DIR", "GIT_EXEC_PATH", "GIT_GRAFT_FILE", "GIT_IMPLICIT_WORK_TREE", "GIT_INDEX_FILE",
		"GIT_NAMESPACE", "GIT_NO_REPLACE_OBJECTS", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_QUARANTINE_PATH", "GIT_REPLACE_REF_BASE",
		"GIT_SHALLOW_FILE", "GIT_TEMPLATE_DIR", "GIT_WORK_TREE" };
	static const char *const credentials[] = { "HOME", "XDG_CONFIG_HOME", "SSH_ASKPASS", "SSH_AUTH_SOCK", "NETRC" };
	size_t n = strcspn(variable, "=");
	for (size_t i = 0; i < ARRAY_SIZE(repository); i++)
		if (strlen(repository[i]) == n && strncmp(variable, repository[i], n) == 0)
			return false;
	if (str_starts(variable, "GIT_CONFIG_KEY_") || str_starts(variable, "GIT_CONFIG_VALUE_") || str_starts(variable, "GIT_TRACE"))
		return false;
	for (size_t i = 0; !own && i < ARRAY_SIZE(credentials); i++)
		if (strlen(credentials[i]) == n && strncmp(variable, credentials[i], n) == 0)
			return false;
	return own || !str_starts(variable, "GIT_") || str_starts(variable, "GIT_SSL_CA");
}

static void add_setting(char ***env, size_t *n, const char *key, const char *value)
{
	strv_take(env, xasprintf("GIT_CONFIG_KEY_%zu=%s", *n, key));
	strv_take(env, xasprintf("GIT_CONFIG_VALUE_%zu=%s", *n, value));
	(*n)++;
}

static char **make_env(const GitUrl *u, const GitAccess *a, const char *root)
{
	static const char *const settings[][2] = { { "core.hooksPath", "/dev/null" }, { "core.fsmonitor", "false" }, { "advice.detachedHead", "false" },
		{ "init.defaultBranch", "master" }, { "gc.auto", "0" }, { "maintenance.auto", "false" }, { "fetch.recurseSubmodules", "false" },
		{ "submodule.recurse", "false" }, { "core.autocrlf", "false" } };
	AUTO_FREE char *above = xstrndup(root, (size_t) (strrchr(root, '/') - root));
	char **env = NULL;
	size_t n = 0;
	for (char **e = environ; *e; e++)
		if (stays(*e, a->own))
			strv_add(&env, *e);
	strv_setenv(&env, "LC_ALL", "C"); /* what git says is looked at */
	strv_setenv(&env, "GIT_TERMINAL_PROMPT", "0");
	strv_setenv(&env, "GIT_ALLOW_PROTOCOL", "http:https:git:ssh");
	strv_setenv(&env, "GIT_CEILING_DIRECTORIES", above);
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		add_setting(&env, &n, settings[i][0], settings[i][1]);
	if (a->header) {
		AUTO_FREE char *key = xasprintf("http.%s.extraHeader", u->remote);
		add_setting(&env, &n, key, a->header);
	}
	if (a->agent)
		strv_setenv(&env, "SSH_AUTH_SOCK", a->agent);
	if (!a->own) {
		strv_setenv(&env, "HOME", "/nonexistent"); /* there are ~/.netrc and ~/.gitconfig */
		strv_setenv(&env, "GIT_CONFIG_NOSYSTEM", "1");
		strv_setenv(&env, "GIT_CONFIG_GLOBAL", "/dev/null");
		strv_setenv(&env, "GIT_ASKPASS", "");
		strv_setenv(&env, "GIT_SSH_COMMAND", "ssh -F none -o BatchMode=yes -o IdentityFile=none -o IdentityAgent=SSH_AUTH_SOCK");
	}
	strv_take(&env, xasprintf("GIT_CONFIG_COUNT=%zu", n));
	return env;
}

/* ── running it ───────────────────────────────────────────────────── */

typedef struct Git {
	const GitUrl *u;
	const GitRunner *g;
	char **env;
	char *root; /* a directory of ours; the work tree is in it */
	Buf output, errors;
} Git;

/* A piece of what it says; 0: the end. */
static ssize_t take(int fd, Buf *b)
{
	char piece[4096];
	ssize_t n = read(fd, piece, sizeof(piece));
	if (n > 0 && b->len < OUTPUT_MAX)
		buf_append(b, piece, (size_t) n);
	return n < 0 && (errno == EINTR || errno == EAGAIN) ? 1 : n;
}

/* Reads both to their ends. True: it was given up. */
static bool listen_to(Git *git, int out, int errors, pid_t pid)
{
	struct pollfd fds[2] = { { .fd = out, .events = POLLIN }, { .fd = errors, .events = POLLIN } };
	Buf *const bufs[2] = { &git->output, &git->errors };
	unsigned stopped = 0;
	while ((fds[0].fd >= 0 || fds[1].fd >= 0) && stopped < PATIENCE) {
		if (signals_poll(fds, 2, TICK_MSEC) == 0 && stopped)
			stopped++;
		for (int i = 0; i < 2; i++)
			if (fds[i].fd >= 0 && fds[i].revents && take(fds[i].fd, bufs[i]) <= 0)
				fds[i].fd = -1;
		if (!stopped && git->g->tick && git->g->tick(git->g->user)) {
			(void) kill(pid, SIGTERM);
			stopped = 1;
		}
	}
	if (stopped == PATIENCE)
		(void) kill(pid, SIGKILL);
	return stopped;
}

/* `args`: NULL-terminated. 0; 1: git says no, in git->errors; <0: it could not be asked. */
static int run(Git *git, const char *const *args, Err *err)
{
	const char *argv[ARGS_MAX] = { "git", "-C", git->root };
	size_t n = 3;
	int out[2] = { -1, -1 }, errors[2] = { -1, -1 };
	pid_t pid;
	while (*args && n < ARGS_MAX - 1)
		argv[n++] = *args++;
	buf_clear(&git->output);
	buf_clear(&git->errors);
	if (pipe2(out, O_CLOEXEC) < 0 || pipe2(errors, O_CLOEXEC) < 0) {
		int r = -errno;
		fd_closep(&out[0]);
		fd_closep(&out[1]);
		return err_errno(err, r, "a pipe to git");
	}
	const SpawnFd fds[] = { { -1, STDIN_FILENO }, { out[1], STDOUT_FILENO }, { errors[1], STDERR_FILENO } };
	mode_t before = umask(022); /* files are as git has them, whoever asks */
	int r = spawn_env(argv, git->env, fds, ARRAY_SIZE(fds), &pid, err);
	(void) umask(before);
	(void) close(out[1]);
	(void) close(errors[1]);
	if (r == 0) {
		bool stopped = listen_to(git, out[0], errors[0], pid);
		int code = spawn_wait(pid);
		r = stopped ? err_set(err, -ECANCELED, "interrupted") : code != 0;
	} else if (r == -ENOENT) {
		(void) err_set(err, r, "there is no git here; install it (apt install git)");
	}
	(void) close(out[0]);
	(void) close(errors[0]);
	return r;
}

static bool git_said(const Git *git, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strstr(buf_cstr(&git->errors), words[i]))
			return true;
	return false;
}

/* What to do about what people meet. */
static const char *advice(const Git *git)
{
	static const struct {
		const char *said, *own, *given;
	} table[] = {
		{ "could not read Username", "it may not be there, or needs credentials: set up a credential helper (git help credentials), or give --secret id=GIT_AUTH_TOKEN,env=…",
			"it may not be there, or needs credentials: give them with --secret id=GIT_AUTH_TOKEN,env=…" },
		{ "Authentication failed", "the credentials are not taken", "the credentials are not taken: --secret id=GIT_AUTH_TOKEN is what was given, or the URL has them" },
		{ "Host key verification failed", "the host's key is not known: connect once with ssh, compare it, and accept it",
			"the host's key is not known: connect once with ssh, compare it, and accept it" },
		{ "Permission denied (publickey", "none of your keys is taken there", "no key of the agent is taken there: give one that is with --ssh default" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (strstr(buf_cstr(&git->errors), table[i].said))
			return git->g->access.own ? table[i].own : table[i].given;
	return NULL;
}

/* Its last lines, as one. */
static int failed(const Git *git, const char *what, Err *err)
{
	const char *text = buf_cstr(&git->errors), *hint = advice(git);
	size_t end = git->errors.len, begin;
	unsigned lines = 0;
	while (end && text[end - 1] == '\n')
		end--;
	for (begin = end; begin && (text[begin - 1] != '\n' || ++lines < ERROR_LINES);)
		begin--;
	AUTO_FREE char *last = xstrndup(text + begin, end - begin);
	for (char *p = last; *p; p++)
		if ((unsigned char) *p < ' ')
			*p = ' ';
	return err_set(err, -EIO, "%s: %s%s%s", what, *last ? last : "git failed", hint ? "; " : "", hint ? hint : "");
}

static void git_end(Git *git)
{
	strv_free(git->env);
	if (git->root)
		(void) tree_remove(AT_FDCWD, git->root);
	free(git->root);
	buf_done(&git->output);
	buf_done(&git->errors);
}
#define AUTO_GIT __attribute__((cleanup(git_end))) Git

static int git_begin(Git *git, const GitUrl *u, const GitRunner *g, Err *err)
{
	const char *tmp = getenv("TMPDIR");
	*git = (Git) { .u = u, .g = g };
	if (u->ssh && !g->access.own && !g->access.agent)
		return err_set(err, -EINVAL, "%s: a repository behind ssh needs an agent: build with --ssh default", u->shown);
	AUTO_FREE char *root = xasprintf("%s/stead-git-XXXXXX", str_empty(tmp) ? "/tmp" : tmp);
	if (!mkdtemp(root))
		return err_errno(err, -errno, "make %s", root);
	git->root = steal_ptr(&root);
	git->env = make_env(u, &g->access, git->root);
	return 0;
}

/* ── what a reference means ───────────────────────────────────────── */

/* The commit that a line of ls-remote gives for this name; "" where none does. */
static void find_ref(const char *output, const char *name, char ret[GIT_COMMIT_MAX])
{
	for (const char *line = output; *line;) {
		size_t n = strcspn(line, "\n"), id = strcspn(line, "\t\n");
		if (line[id] == '\t' && id < GIT_COMMIT_MAX && n - id - 1 == strlen(name) && strncmp(line + id + 1, name, n - id - 1) == 0)
			(void) snprintf(ret, GIT_COMMIT_MAX, "%.*s", (int) id, line);
		line += n + (line[n] == '\n');
	}
}

static const char *without(const char *ref, const char *prefix)
{
	return str_starts(ref, prefix) ? ref + strlen(prefix) : ref;
}

/* A reference in full, then a branch, as git-checkout has it, then a tag; of an annotated one what it is for. */
static int choose(const Git *git, const char *ref, char ret[GIT_COMMIT_MAX], Err *err)
{
	AUTO_FREE char *full = ref ? xasprintf("refs/%s", without(ref, "refs/")) : xstrdup("HEAD");
	AUTO_FREE char *branch = ref ? xasprintf("refs/heads/%s", without(ref, "refs/heads/")) : xstrdup("HEAD");
	AUTO_FREE char *tag = ref ? xasprintf("refs/tags/%s", without(ref, "refs/tags/")) : xstrdup("HEAD");
	AUTO_FREE char *full_peeled = xasprintf("%s^{}", full);
	AUTO_FREE char *tag_peeled = xasprintf("%s^{}", tag);
	const char *const names[] = { full_peeled, full, branch, tag_peeled, tag };
	char commit[GIT_COMMIT_MAX] = "";
	for (size_t i = 0; !*commit && i < ARRAY_SIZE(names); i++)
		find_ref(buf_cstr(&git->output), names[i], commit);
	if (!*commit && !ref)
		return err_set(err, -ENOENT, "%s: the repository is empty, or has no default branch; name a branch behind #", git->u->shown);
	if (!*commit)
		return err_set(err, -ENOENT, "%s: there is no branch or tag '%s'%s", git->u->shown, ref,
			strspn(ref, "0123456789abcdef") == strlen(ref) ? "; a commit is named by its whole id" : "");
	if (!git_commit_valid(commit))
		return err_set(err, -EPROTO, "%s: git gave something that is no commit for '%s'", git->u->shown, ref ? ref : "HEAD");
	(void) memcpy(ret, commit, sizeof(commit));
	return 0;
}

static int check_commit(const GitUrl *u, const char *commit, Err *err)
{
	if (!u->checksum || str_starts(commit, u->checksum))
		return 0;
	return err_set(err, -EINVAL, "%s: wrong checksum: %s is commit %s, not %s", u->shown, u->ref ? u->ref : "the default branch", commit, u->checksum);
}

int git_resolve(const GitUrl *u, const GitRunner *g, char ret[GIT_COMMIT_MAX], Err *err)
{
	AUTO_GIT git = { 0 };
	char commit[GIT_COMMIT_MAX] = "";
	if (u->ref && git_commit_valid(u->ref)) {
		(void) snprintf(ret, GIT_COMMIT_MAX, "%s", u->ref);
		return check_commit(u, ret, err);
	}
	int r = git_begin(&git, u, g, err);
	if (r < 0)
		return r;
	/* Patterns match the ends of names. */
	AUTO_FREE char *peeled = xasprintf("%s^{}", u->ref ? u->ref : "HEAD");
	const char *const args[] = { "ls-remote", "--quiet", "--", u->remote, u->ref ? u->ref : "HEAD", peeled, NULL };
	r = run(&git, args, err);
	if (r > 0)
		return failed(&git, u->shown, err);
	if (r == 0 && (r = choose(&git, u->ref, commit, err)) == 0 && (r = check_commit(u, commit, err)) == 0)
		(void) memcpy(ret, commit, sizeof(commit));
	return r;
}

/* ── the files ────────────────────────────────────────────────────── */

#define RUN(git, err, ...) run(git, (const char *const[]) { __VA_ARGS__, NULL }, err)

static const char *const no_depth[] = { "shallow", "--depth" };
static const char *const no_commit[] = { "not our ref", "unadvertised object", "no such remote ref", "Server does not allow request" };

/* The commit is here after this. 0, 1: git says no, <0. */
static int fetch(Git *git, const char *commit, Err *err)
{
	int r = RUN(git, err, "fetch", "--quiet", "--no-tags", "--depth=1", "origin", commit);
	if (r == 1 && git_said(git, no_depth, ARRAY_SIZE(no_depth)))
		r = RUN(git, err, "fetch", "--quiet", "--no-tags", "origin", commit);
	if (r != 1 || !git_said(git, no_commit, ARRAY_SIZE(no_commit)))
		return r;
	r = RUN(git, err, "fetch", "--quiet", "--tags", "origin", "+refs/heads/*:refs/remotes/origin/*");
	if (r != 0)
		return r;
	AUTO_FREE char *object = xasprintf("%s^{commit}", commit);
	r = RUN(git, err, "cat-file", "-e", object);
	if (r != 1)
		return r;
	return err_set(err, -ENOENT, "%s: commit %s is on none of its branches and tags, and the server does not give it otherwise", git->u->shown, commit);
}

static int update_submodules(Git *git, Err *err)
{
	AUTO_FREE char *list = xasprintf("%s/.gitmodules", git->root);
	struct stat st;
	if (git->u->no_submodules || lstat(list, &st) < 0)
		return 0;
	int r = RUN(git, err, "submodule", "--quiet", "update", "--init", "--recursive", "--depth=1");
	if (r == 1 && (git_said(git, no_depth, ARRAY_SIZE(no_depth)) || git_said(git, no_commit, ARRAY_SIZE(no_commit))))
		r = RUN(git, err, "submodule", "--quiet", "update", "--init", "--recursive");
	if (r != 1)
		return r;
	AUTO_FREE char *what = xasprintf("submodules of %s", git->u->shown);
	return failed(git, what, err);
}

static int remove_git(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void) st;
	if (!str_eq(path + ftw->base, ".git"))
		return FTW_CONTINUE;
	if (tree_remove(AT_FDCWD, path) < 0)
		return FTW_STOP;
	return flag == FTW_D ? FTW_SKIP_SUBTREE : FTW_CONTINUE;
}

/* Submodules have one, too. */
static int remove_git_dirs(const Git *git, Err *err)
{
	if (nftw(git->root, remove_git, 16, FTW_PHYS | FTW_ACTIONRETVAL) != 0)
		return err_errno(err, errno ? -errno : -EIO, "remove .git from %s", git->root);
	return 0;
}

/* What would be different each time, or is nobody's business, goes. */
static int tidy_git_dir(Git *git, Err *err)
{
	static const char *const names[] = { "FETCH_HEAD", "logs", "hooks", "branches" };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		AUTO_FREE char *path = xasprintf("%s/.git/%s", git->root, names[i]);
		int r = tree_remove(AT_FDCWD, path);
		if (r < 0)
			return err_errno(err, r, "remove %s", path);
	}
	int r = RUN(git, err, "remote", "set-url", "origin", git->u->shown);
	return r == 1 ? failed(git, git->u->shown, err) : r;
}

/* Links in the repository lead nowhere outside of it. */
static int find_subdir(const Git *git, char **ret, Err *err)
{
	char path[PATH_MAX];
	if (!git->u->subdir) {
		*ret = xstrdup(git->root);
		return 0;
	}
	AUTO_CLOSE int root = open(git->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	AUTO_CLOSE int fd = root < 0 ? -1 : open_in_root(root, git->u->subdir, O_PATH | O_DIRECTORY, 0);
	AUTO_FREE char *proc = xasprintf("/proc/self/fd/%d", fd);
	ssize_t n = fd < 0 ? -1 : readlink(proc, path, sizeof(path) - 1);
	if (n < 0)
		return err_set(err, -ENOENT, "%s: there is no directory '%s' in the repository", git->u->shown, git->u->subdir);
	*ret = xstrndup(path, (size_t) n);
	return 0;
}

static int check_out(Git *git, const char *commit, bool keep, Err *err)
{
	int r = RUN(git, err, "init", "--quiet", "--template=", strlen(commit) == 64 ? "--object-format=sha256" : "--object-format=sha1");
	if (r == 0)
		r = RUN(git, err, "remote", "add", "origin", git->u->remote);
	if (r == 0)
		r = fetch(git, commit, err);
	if (r == 0)
		r = RUN(git, err, "checkout", "--quiet", "--detach", commit);
	if (r == 1)
		return failed(git, git->u->shown, err);
	if (r < 0 || (r = update_submodules(git, err)) < 0)
		return r;
	return keep ? tidy_git_dir(git, err) : remove_git_dirs(git, err);
}

int git_checkout(const GitUrl *u, const char *commit, bool keep, const GitRunner *g, GitCheckout *ret, Err *err)
{
	AUTO_GIT git = { 0 };
	char *path = NULL;
	int r = git_begin(&git, u, g, err);
	if (r == 0)
		r = check_out(&git, commit, keep, err);
	if (r == 0)
		r = find_subdir(&git, &path, err);
	if (r == 0)
		*ret = (GitCheckout) { .root = steal_ptr(&git.root), .path = path };
	return r;
}

void git_checkout_done(GitCheckout *c)
{
	if (c->root)
		(void) tree_remove(AT_FDCWD, c->root);
	free(c->root);
	free(c->path);
	*c = (GitCheckout) { 0 };
}
