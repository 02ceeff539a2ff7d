// SPDX-License-Identifier: Apache-2.0
/*
 * How it works: three requests are the least that the Docker Engine API allows: create, start (which takes the
 * connection over for the bytes both ways) and inspect for the exit code. Finding the container costs no
 * further one in the usual case: the container of a service has a well-known name, which is tried
 * first, and only a 404 leads to the list (own container_name, other number, a container's own name).
 */
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/containers.h"
#include "cli/project.h"
#include "cli/signals.h"
#include "cli/term.h"
#include "io/frames.h"

typedef struct ExecOptions {
	bool detach, interactive, tty, no_tty, privileged;
	char **env;
	const char *user, *workdir;
	int64_t index;
} ExecOptions;

#define E(member) offsetof(ExecOptions, member)
static const Option options[] = {
	{ "detach", 'd', OPTION_FLAG, E(detach), NULL, "Start it and return", NULL },
	{ "env", 'e', OPTION_LIST, E(env), "KEY=VALUE", "Environment variable; KEY alone takes it from here", NULL },
	{ "index", 0, OPTION_NUMBER, E(index), "N", "Which of the service's containers", NULL },
	{ "interactive", 'i', OPTION_FLAG, E(interactive), NULL, "Pass standard input on (the default)", NULL },
	{ "tty", 't', OPTION_FLAG, E(tty), NULL, "With a terminal (the default where this is one)", NULL },
	{ "no-tty", 'T', OPTION_FLAG, E(no_tty), NULL, "Without a terminal", NULL },
	{ "privileged", 0, OPTION_FLAG, E(privileged), NULL, "With all capabilities", NULL },
	{ "user", 'u', OPTION_STRING, E(user), "USER[:GROUP]", "As this user", NULL },
	{ "workdir", 'w', OPTION_STRING, E(workdir), "DIR", "In this directory", NULL },
	{ NULL },
};

typedef struct Session {
	const Cli *cli;
	HttpClient *control; /* create; later resize and inspect */
	char *id;            /* of the exec instance */
	bool tty, input;
	int in, out; /* the taken over connection */
	bool input_open, failed;
	FrameDecoder frames;
} Session;

static int check_env(char *const *env, Err *err)
{
	for (char *const *e = env; e && *e; e++) {
		const char *here = strchr(*e, '=') ? NULL : getenv(*e);
		if (**e == '=')
			return err_set(err, -EINVAL, "--env %s: write KEY=VALUE, or KEY alone", *e);
		if (here && !str_is_utf8(here, strlen(here)))
			return err_set(err, -EINVAL, "--env %s: its value here is not UTF-8", *e);
	}
	return 0;
}

static json_t *create_body(const ExecOptions *o, const Session *s, char **command)
{
	json_t *cmd = json_array(), *env = json_array();
	for (char **c = command; *c; c++)
		(void) json_array_append_new(cmd, json_string(*c));
	for (char **e = o->env; e && *e; e++) {
		const char *here = strchr(*e, '=') ? NULL : getenv(*e);
		AUTO_FREE char *pair = here ? xasprintf("%s=%s", *e, here) : xstrdup(*e);
		if (strchr(pair, '='))
			(void) json_array_append_new(env, json_string(pair));
	}
	json_t *body = json_pack("{s:b, s:b, s:b, s:b, s:b, s:o, s:o}", "AttachStdin", s->input, "AttachStdout", !o->detach, "AttachStderr",
		!o->detach, "Tty", s->tty, "Privileged", o->privileged, "Env", env, "Cmd", cmd);
	if (o->user)
		(void) json_object_set_new(body, "User", json_string(o->user));
	if (o->workdir)
		(void) json_object_set_new(body, "WorkingDir", json_string(o->workdir));
	if (s->tty) {
		/* Of a later API version; where it is not known, the first resize is what counts. */
		unsigned columns, rows;
		term_size(STDOUT_FILENO, &columns, &rows);
		(void) json_object_set_new(body, "ConsoleSize", json_pack("[i, i]", (int) rows, (int) columns));
	}
	return body;
}

/* 0; -errno: with http_status 404 the container is not there. */
static int create_in(Session *s, const char *container, const json_t *body, Err *err)
{
	AUTO_BUF url = BUF_INIT;
	json_t *answer = NULL;
	buf_str(&url, "/containers/");
	http_url_append(&url, container);
	buf_str(&url, "/exec");
	int r = client_post(s->control, buf_cstr(&url), body, &answer, err);
	if (r < 0)
		return r;
	s->id = xstrdup(json_text(answer, "Id"));
	json_decref(answer);
	return *s->id ? 0 : err_set(err, -EPROTO, "the daemon's answer has no Id");
}

/* The running container with this number of the service (0: the first), else one of that name. */
static const json_t *pick(const json_t *list, const char *project, const char *word, int64_t index)
{
	const json_t *c;
	size_t i;
	json_array_foreach((json_t *) list, i, c)
	{
		uint64_t number = 0;
		bool mine = project && str_eq(container_label(c, LABEL_PROJECT), project) && str_eq(container_label(c, LABEL_SERVICE), word);
		if (!mine)
			continue;
		(void) parse_u64(container_label(c, LABEL_NUMBER), &number);
		/* A paused one will be refused, with the reason. */
		bool up = str_eq(json_text(c, "State"), "running") || str_eq(json_text(c, "State"), "paused");
		if (index > 0 ? number == (uint64_t) index : up)
			return c;
	}
	json_array_foreach((json_t *) list, i, c)
		if (container_is(c, word))
			return c;
	return NULL;
}

static int create_by_list(Session *s, const char *project, const char *word, int64_t index, const json_t *body, Err *err)
{
	json_t *list = NULL;
	int r = containers_list(s->control, NULL, true, &list, err);
	if (r < 0)
		return r;
	const json_t *c = pick(list, project, word, index);
	if (c)
		r = create_in(s, json_text(c, "Id"), body, err);
	else if (project && index > 0)
		r = err_set(err, -ENOENT, "service '%s' of stack '%s' has no container number %lld", word, project, (long long) index);
	else if (project)
		r = err_set(err, -ENOENT, "service '%s' of stack '%s' is not running, and there is no container of that name", word, project);
	else
		r = err_set(err, -ENOENT, "there is no container '%s' (and no compose file here and no -p NAME, so it is no service)", word);
	json_decref(list);
	return r;
}

static int create(Session *s, const char *project, const char *word, int64_t index, const json_t *body, Err *err)
{
	size_t n = project ? strlen(project) : 0;
	if (n && !(strncmp(word, project, n) == 0 && word[n] == '-')) {
		AUTO_FREE char *name = xasprintf("%s-%s-%lld", project, word, index > 0 ? (long long) index : 1LL);
		int r = create_in(s, name, body, err);
		/* 409: number 1 does not run; another one may. */
		if (r >= 0 || (http_status(s->control) != 404 && (http_status(s->control) != 409 || index > 0)))
			return r;
	}
	err_done(err);
	return create_by_list(s, project, word, index, body, err);
}

static void resize(Session *s)
{
	AUTO_BUF url = BUF_INIT;
	unsigned columns, rows;
	term_size(STDOUT_FILENO, &columns, &rows);
	buf_printf(&url, "/exec/%s/resize?h=%u&w=%u", s->id, rows, columns);
	(void) http_call_json(s->control, "POST", buf_cstr(&url), NULL, NULL, NULL); /* a size is not worth a failure */
}

static void on_piece(void *user, FrameStream stream, const char *p, size_t n)
{
	Session *s = user;
	int fd = stream == FRAME_STDERR || stream == FRAME_ERROR ? STDERR_FILENO : STDOUT_FILENO;
	if (fd_write_all(fd, p, n) < 0)
		s->failed = true;
}

static int take_output(Session *s, const char *p, size_t n, Err *err)
{
	if (s->tty)
		on_piece(s, FRAME_STDOUT, p, n);
	else if (n && frame_feed(&s->frames, p, n, on_piece, s) < 0)
		return err_set(err, -EPROTO, "the daemon's stream of output is not in frames");
	return s->failed ? err_set(err, -EPIPE, "cannot write the output") : 0;
}

static void close_input(Session *s)
{
	if (s->in == s->out)
		(void) shutdown(s->out, SHUT_WR);
	else
		fd_closep(&s->out);
	s->input_open = false;
}

static void pass_input(Session *s)
{
	char piece[16384];
	ssize_t n = read(STDIN_FILENO, piece, sizeof(piece));
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0 || fd_write_all(s->out, piece, (size_t) n) < 0)
		close_input(s);
}

/* Carries bytes until the command has closed its outputs. */
static int carry(Session *s, const Buf *leftover, Err *err)
{
	int r = take_output(s, buf_cstr(leftover), leftover->len, err);
	while (r == 0) {
		char piece[32768];
		struct pollfd fds[2] = { { .fd = s->in, .events = POLLIN }, { .fd = s->input_open ? STDIN_FILENO : -1, .events = POLLIN } };
		r = signals_poll(fds, 2, -1);
		if (r < 0)
			return err_errno(err, r, "wait for the command");
		if (s->tty && signals_take(SIGWINCH))
			resize(s);
		if (s->tty && (signals_take(SIGTERM) || signals_take(SIGHUP)))
			return err_set(err, -EINTR, "ended by a signal; the command may run on");
		if (fds[1].revents)
			pass_input(s);
		r = 0;
		if (!fds[0].revents)
			continue;
		ssize_t n = read(s->in, piece, sizeof(piece));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != ECONNRESET)
			return err_errno(err, -errno, "read the command's output");
		if (n <= 0)
			break;
		r = take_output(s, piece, (size_t) n, err);
	}
	if (r == 0 && !s->tty && !frame_at_boundary(&s->frames))
		return err_set(err, -EPIPE, "the stream ended in the middle; has the daemon been stopped?");
	return r;
}

static int exit_code_of(Session *s, int *ret, Err *err)
{
	AUTO_BUF url = BUF_INIT;
	json_t *info = NULL;
	buf_printf(&url, "/exec/%s/json", s->id);
	int r = client_get(s->control, buf_cstr(&url), JSON_OBJECT, &info, err);
	if (r < 0)
		return r;
	if (json_is_true(json_object_get(info, "Running")))
		r = err_set(err, -EIO, "the command has closed its output and still runs; its exit code is not known");
	else
		*ret = (int) json_number(info, "ExitCode") & 0xff;
	json_decref(info);
	return r;
}

/* Starts the instance on a connection of its own and carries its bytes. */
static int attach(Session *s, Err *err)
{
	AUTO_HTTP *c = NULL;
	AUTO_BUF url = BUF_INIT, leftover = BUF_INIT;
	struct termios saved;
	bool raw = false;
	int r = client_open(s->cli, &c, err);
	if (r < 0)
		return r;
	json_t *body = json_pack("{s:b, s:b}", "Detach", false, "Tty", s->tty);
	const HttpBody b = { .json = body };
	buf_printf(&url, "/exec/%s/start", s->id);
	r = http_call(c, "POST", buf_cstr(&url), &b, true, err);
	json_decref(body);
	if (r < 0)
		return r;
	http_hijack_client(c, &s->in, &s->out, &leftover);
	s->input_open = s->input;
	if (!s->input)
		close_input(s);
	if (s->tty) {
		raw = term_raw(STDIN_FILENO, &saved) == 0;
		signals_catch();
		resize(s);
	}
	(void) signal(SIGPIPE, SIG_IGN); /* a command may end before it has read its input */
	r = carry(s, &leftover, err);
	if (raw)
		term_restore(STDIN_FILENO, &saved);
	signals_release();
	(void) close(s->in);
	if (s->out != s->in)
		fd_closep(&s->out);
	return r;
}

static int start_detached(Session *s, Err *err)
{
	AUTO_BUF url = BUF_INIT;
	json_t *body = json_pack("{s:b, s:b}", "Detach", true, "Tty", s->tty);
	buf_printf(&url, "/exec/%s/start", s->id);
	int r = http_call_json(s->control, "POST", buf_cstr(&url), body, NULL, err);
	json_decref(body);
	return r < 0 ? r : 0;
}

static int run(Cli *cli, void *values, char **args)
{
	const ExecOptions *o = values;
	AUTO_ERR err = ERR_INIT;
	AUTO_FREE char *project = NULL;
	bool terminal = isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1;
	Session s = { .cli = cli, .input = !o->detach, .tty = !o->no_tty && !o->detach && (o->tty || terminal) };
	int code = 0;
	if (o->tty && o->no_tty)
		return cli_usage(cli, "-t and -T contradict each other");
	if (o->index == 0)
		return cli_usage(cli, "--index counts from 1");
	if (s.tty && isatty(STDIN_FILENO) != 1)
		return cli_usage(cli, "-t: standard input is not a terminal; use -T, or leave -t out");
	if (check_env(o->env, &err) < 0)
		return cli_usage(cli, "%s", err_text(&err));
	if (project_name_try(cli, &project, &err) < 0 && project_given(cli))
		return project_name(cli, &project);
	err_done(&err);
	code = client_open_or_fail(cli, &s.control);
	if (code)
		return code;
	json_t *body = create_body(o, &s, args + 1);
	int r = create(&s, project, args[0], o->index, body, &err);
	json_decref(body);
	if (r == 0)
		r = o->detach ? start_detached(&s, &err) : attach(&s, &err);
	if (r == 0 && !o->detach)
		r = exit_code_of(&s, &code, &err);
	if (r < 0)
		code = cli_fail(&err);
	http_client_free(s.control);
	free(s.id);
	return code;
}

const Command command_exec = {
	.name = "exec",
	.operands = "SERVICE|CONTAINER COMMAND [ARGUMENT...]",
	.summary = "Run a command in a running container",
	.text = "Gives the command's exit code; 126: it cannot be executed, 127: it was not found. Options stand before the\n"
		"service. Where standard input and output are terminals the command gets one as well; -T prevents it.",
	.options = options,
	.size = sizeof(ExecOptions),
	.min = 2,
	.max = -1,
	.complete = "service",
	.flags = COMMAND_STOP,
	.run = run,
};
