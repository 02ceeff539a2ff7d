// SPDX-License-Identifier: Apache-2.0
#include "cli/origin.h"

#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "cli/human.h"
#include "cli/term.h"
#include "io/child.h"

#define TEXT_MAX 200
#define GIT_TIMEOUT (2 * NSEC_PER_SEC)

/* GitHub, GitLab (also Gitea, Forgejo: as GitHub), Jenkins, CircleCI, Travis, Bitbucket. */
static const char *const commit_names[] = { "STEAD_COMMIT", "GITHUB_SHA", "CI_COMMIT_SHA", "GIT_COMMIT", "CIRCLE_SHA1", "TRAVIS_COMMIT",
	"BITBUCKET_COMMIT", NULL };
static const char *const author_names[] = { "STEAD_AUTHOR", "GITHUB_ACTOR", "CI_COMMIT_AUTHOR", "GIT_AUTHOR_NAME", NULL };

/* The first of the variables that says something. */
static const char *variable(const char *const *names)
{
	for (; *names; names++)
		if (!str_empty(getenv(*names)))
			return getenv(*names);
	return NULL;
}

static void add_text(json_t *body, const char *key, const char *text)
{
	AUTO_BUF clean = BUF_INIT;
	if (str_empty(text))
		return;
	term_clean(&clean, text);
	AUTO_FREE char *cut = human_cut(buf_cstr(&clean), TEXT_MAX);
	(void) json_object_set_new(body, key, json_string(cut));
}

static void add_who(json_t *body)
{
	static const char *const names[] = { "SUDO_USER", "USER", "LOGNAME", NULL };
	char host[256] = "";
	const char *user = variable(names);
	const struct passwd *pw = user ? NULL : getpwuid(getuid());
	if (gethostname(host, sizeof(host) - 1) < 0)
		host[0] = '\0';
	if (!user)
		user = pw ? pw->pw_name : "unknown";
	AUTO_FREE char *who = xasprintf("%s%s%s", user, *host ? "@" : "", host);
	add_text(body, "who", who);
}

static void git_exited(void *user, const ChildExit *e)
{
	if (e->code == 0 && !e->timed_out)
		*(char **) user = xstrdup(e->output);
}

/* "COMMIT\nAUTHOR\n" of what is checked out; NULL where there is no git, or no work tree, or it takes too long. */
static char *git_head(const char *dir)
{
	const char *const argv[] = { "git", "-C", dir, "-c", "log.showSignature=false", "log", "-1", "--no-color", "--format=%H%n%an", NULL };
	char *text = NULL;
	const ChildOptions o = { .argv = argv, .capture_max = 4096, .exited = git_exited, .user = &text, .timeout_ns = GIT_TIMEOUT,
		.new_session = true };
	uv_loop_t loop;
	if (uv_loop_init(&loop) < 0)
		return NULL;
	(void) child_spawn(&loop, &o, NULL, NULL);
	(void) uv_run(&loop, UV_RUN_DEFAULT); /* also what could not be started has something to close */
	(void) uv_loop_close(&loop);
	return text;
}

void origin_add(json_t *body, const char *dir)
{
	const char *commit = variable(commit_names), *author = variable(author_names);
	AUTO_FREE char *head = !commit && dir ? git_head(dir) : NULL;
	add_who(body);
	if (head) {
		char *end = strchr(head, '\n');
		if (end)
			*end = '\0';
		commit = head;
		if (!author && end)
			author = end + 1;
	}
	add_text(body, "commit", commit);
	if (commit && author) {
		AUTO_FREE char *line = xstrndup(author, strcspn(author, "\n"));
		add_text(body, "author", line);
	}
}
