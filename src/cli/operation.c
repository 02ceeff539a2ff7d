// SPDX-License-Identifier: Apache-2.0
#include "cli/operation.h"

#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "cli/output.h"
#include "cli/project.h"
#include "cli/signals.h"
#include "cli/stream.h"
#include "cli/term.h"

void operation_failure(const json_t *last, const char *project, const Cli *cli)
{
	const char *path = json_text(last, "path");
	if (*path && cli) {
		AUTO_FREE char *text = project_place(cli, path, json_text(last, "error"));
		cli_error("%s", text);
		return;
	}
	const char *service = json_text(last, "service"), *container = json_text(last, "container");
	const json_t *exit_code = json_object_get(last, "exit_code"), *logs = json_object_get(last, "logs"), *line;
	size_t i;
	AUTO_BUF head = BUF_INIT;
	if (*service && !strstr(json_text(last, "error"), service))
		buf_printf(&head, "service '%s': ", service);
	cli_error("%s%s", buf_cstr(&head), json_text(last, "error"));
	buf_clear(&head);
	if (*container)
		buf_printf(&head, "container %s", container);
	if (json_is_integer(exit_code))
		buf_printf(&head, "%sexit code %lld", head.len ? ", " : "", (long long) json_integer_value(exit_code));
	if (json_array_size(logs))
		buf_printf(&head, "%sthe last lines of its log:", head.len ? ", " : "");
	if (!head.len)
		return;
	AUTO_BUF out = BUF_INIT;
	term_clean(&out, buf_cstr(&head));
	buf_char(&out, '\n');
	json_array_foreach((json_t *) logs, i, line)
	{
		buf_str(&out, "  ");
		term_clean(&out, progress_short_name(project, *container ? container : service));
		buf_str(&out, "  | ");
		term_clean(&out, json_string_value(line));
		buf_char(&out, '\n');
	}
	(void) fwrite(buf_cstr(&out), 1, out.len, stderr);
}

/* Takes one line: 1 = go on, 0 = it was the last one (in *last), -errno. */
static int take_line(Progress *p, const char *text, const OperationOptions *op, json_t **last, Err *err)
{
	json_error_t why;
	if (!*text)
		return 1;
	json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, &why);
	if (!json_is_object(o)) {
		json_decref(o);
		return err_set(err, -EPROTO, "the daemon sent a line that is not a JSON object: %.60s", text);
	}
	if (op->line)
		op->line(op->user, o);
	if (json_object_get(o, "result") || json_object_get(o, "error")) {
		if (p->mode == PROGRESS_JSON)
			progress_event(p, o, time_mono());
		else if (json_object_get(o, "result"))
			progress_settle(p, time_mono());
		json_decref(*last);
		*last = o;
		return 0;
	}
	const char *warning = json_text(o, "warning"), *text_only = json_text(o, "progress");
	if (*warning && p->mode != PROGRESS_JSON) {
		AUTO_FREE char *note = xasprintf("warning: %s", warning);
		progress_note(p, note);
	} else if (*text_only && p->mode != PROGRESS_JSON) {
		progress_text(p, text_only, time_mono());
	} else {
		progress_event(p, o, time_mono());
	}
	json_decref(o);
	return 1;
}

static int poll_time(const Progress *p, int64_t give_up_at)
{
	if (p->mode == PROGRESS_LIVE)
		return 100;
	if (!give_up_at)
		return -1;
	int64_t left = give_up_at - time_mono();
	return left > 0 ? (int) (left / NSEC_PER_MSEC) + 1 : 0;
}

static int watch(HttpClient *c, Progress *p, const OperationOptions *o, json_t **last, bool *interrupted, Err *err)
{
	LineStream lines = { .c = c };
	int r;
	for (;;) {
		char *text;
		r = line_stream_next(&lines, &text, err);
		if (r > 0)
			r = take_line(p, text, o, last, err);
		else if (r == 0)
			r = err_set(err, -EPIPE, "the connection to the daemon ended before the operation did; has the daemon been stopped?");
		if (r <= 0 && r != -EAGAIN)
			break;
		if (r != -EAGAIN)
			continue;
		struct pollfd fd = { .fd = http_fd(c), .events = POLLIN };
		r = signals_poll(&fd, 1, poll_time(p, o->give_up_at));
		if (r < 0) {
			(void) err_errno(err, r, "wait for the daemon");
			break;
		}
		if (signals_ended()) {
			*interrupted = true;
			r = 0;
			break;
		}
		if (o->give_up_at && time_mono() >= o->give_up_at) {
			r = err_set(err, -ETIMEDOUT, "the time given with --wait-timeout is over; the daemon goes on, and 'stead ps' shows what is not healthy");
			break;
		}
		progress_tick(p, time_mono());
	}
	line_stream_done(&lines);
	return r;
}

/* The daemon has gone, or only the way to it (`cut`): what becomes of the operation. */
static void print_lost(const Progress *p, const OperationOptions *o, bool cut)
{
	if (cut && o->lost)
		fprintf(stderr, "What was there serves on, or is put back.\n");
	else if (cut)
		fprintf(stderr, "The daemon goes on with it; 'stead %s' shows how far it is.\n", p->project ? "ps -a" : "images");
	else if (o->lost)
		fprintf(stderr, "%s\n", o->lost);
	else if (p->project)
		fprintf(stderr, "The daemon takes the operation up again when it starts; 'stead ps -a' shows how far it is.\n");
}

/** Any other stream of {"progress"}, {"warning"}, {"result"}, {"error"} lines; the last line goes to ret_last (may be NULL). */
static int operation_stream(HttpClient *c, Progress *p, const OperationOptions *o, json_t **ret_last)
{
	AUTO_ERR err = ERR_INIT;
	json_t *last = NULL;
	bool interrupted = false;
	int code = EXIT_DONE;
	signals_catch();
	int r = watch(c, p, o, &last, &interrupted, &err);
	if (!o->foreground)
		signals_release();
	progress_end(p, time_mono());
	if (r < 0) {
		code = cli_fail(&err);
		if (r == -EPIPE || r == -ECONNRESET)
			print_lost(p, o, http_client_lost(c, NULL) < 0);
	} else if (interrupted) {
		code = EXIT_INTERRUPTED;
		if (!o->foreground)
			fprintf(stderr, "stead: no longer watching; the daemon goes on with it ('stead %s' shows how far it is)\n",
				p->project ? "ps -a" : "images");
	} else if (json_object_get(last, "error")) {
		if (!o->last)
			operation_failure(last, p->project, o->cli);
		code = json_number(last, "code") == EXIT_USAGE ? EXIT_USAGE : EXIT_FAILED;
	}
	if (ret_last)
		*ret_last = json_incref(last);
	json_decref(last);
	return code;
}

int operation_run(const Cli *cli, HttpClient *c, const char *project, const char *verb, const json_t *body, const OperationOptions *o)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_BUF url = BUF_INIT;
	Progress p;
	client_stack_url(&url, project, verb);
	const HttpBody b = { .json = body };
	/* ssh may still ask for a password. */
	if (http_client_wait(c, &err) < 0)
		return cli_fail(&err);
	/* Before the request, so that no interrupt falls between it and the watching; the daemon answers the headers at once. */
	signals_catch();
	if (http_call(c, "POST", buf_cstr(&url), &b, false, &err) < 0) {
		bool refused = http_status(c) >= 400 && http_status(c) < 500;
		signals_release();
		(void) cli_fail(&err);
		return refused && o->refused_is_usage ? EXIT_USAGE : EXIT_FAILED;
	}
	progress_init(&p, cli_progress_mode(cli), STDERR_FILENO, project);
	OperationOptions with_cli = *o;
	with_cli.cli = cli;
	int code = operation_stream(c, &p, &with_cli, o->last);
	progress_done(&p);
	return code;
}

int operation_image(const Cli *cli, HttpClient *c)
{
	const OperationOptions op = { 0 };
	json_t *last = NULL;
	Progress p;
	progress_init(&p, cli_progress_mode(cli), STDERR_FILENO, NULL);
	int code = operation_stream(c, &p, &op, &last);
	if (!code && !cli->global.json)
		print_clean_line(json_text(last, "image"));
	progress_done(&p);
	json_decref(last);
	return code;
}
