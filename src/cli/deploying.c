// SPDX-License-Identifier: Apache-2.0
/*
 * How it works: the daemon's lines are shown by operation.c as those of any operation; here the number of the
 * release is picked out of them. What to say at the end is asked of the daemon by that number, so that it is the
 * same whether the stream came to its end, was cut, or was closed to call the deploy off.
 */
#include "cli/deploying.h"

#include <errno.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/operation.h"
#include "cli/origin.h"
#include "cli/output.h"
#include "cli/release-text.h"
#include "cli/signals.h"
#include "cli/table.h"

#define EVIDENCE_LINES 20
#define POLL_MS 200

typedef struct Deploying {
	const Cli *cli;
	const char *project, *verb;
	const DeployingOptions *o;
	int64_t release; /* 0: it has not begun */
	json_t *plan;    /* its lines */
	json_t *last;
} Deploying;

static void take_line(void *user, const json_t *line)
{
	Deploying *d = user;
	json_t *plan = json_object_get(line, "plan");
	if (json_is_object(plan))
		(void) json_array_append(d->plan, plan);
	if (json_is_integer(json_object_get(line, "release")))
		d->release = json_number(line, "release");
}

/* The release as the daemon has it now; NULL with an error's text. */
static json_t *get_release(const Deploying *d, Err *err)
{
	AUTO_HTTP *c = NULL;
	AUTO_BUF url = BUF_INIT;
	json_t *ret = NULL;
	AUTO_FREE char *rest = xasprintf("releases/%lld", (long long) d->release);
	client_stack_url(&url, d->project, rest);
	if (client_open(d->cli, &c, err) < 0 || client_get(c, buf_cstr(&url), JSON_OBJECT, &ret, err) < 0)
		return NULL;
	return ret;
}

static void print_steps(const json_t *steps)
{
	static const char *const headers[] = { "SERVICE", "STEP", "DETAIL", NULL };
	json_t *step;
	size_t i;
	Table t;
	table_init(&t, headers);
	json_array_foreach((json_t *) steps, i, step)
	{
		table_add(&t, json_text(step, "service"));
		table_add(&t, json_text(step, "step"));
		table_add(&t, json_text(step, "detail"));
	}
	table_print(&t);
	table_done(&t);
}

void deploying_print_lacking(const Cli *cli, const json_t *steps)
{
	json_t *step;
	size_t i;
	if (!cli->global.json) {
		print_steps(steps);
		printf("\nWhat follows depends on images that are not there yet; after 'stead build' and 'stead pull' the plan has every step.\n");
		return;
	}
	json_array_foreach((json_t *) steps, i, step)
		print_json(json_pack("{s:O}", "plan", step));
	print_json(json_pack("{s:s}", "result", "incomplete"));
}

static void print_plan(const Deploying *d)
{
	if (!json_array_size(d->plan)) {
		bool same = str_eq(json_text(d->last, "result"), "unchanged");
		printf(same ? "nothing has changed: 'stead %s' would do nothing\n" :
			      "'stead %s' would replace no container, only what does not stand in one: routes, scale, rules of deploys\n", d->verb);
		return;
	}
	print_steps(d->plan);
}

static void print_success(const Deploying *d)
{
	json_t *release = get_release(d, NULL);
	AUTO_FREE char *takes = release_seconds(json_number_value(json_object_get(d->last, "seconds")));
	AUTO_FREE char *changes = release_changes(json_object_get(release, "changes"));
	if (str_eq(json_text(d->last, "result"), "unchanged"))
		printf("release %lld: nothing has changed\n", (long long) d->release);
	else if (json_number(release, "source") > 0)
		printf("release %lld: back to release %lld in %s\n", (long long) d->release, (long long) json_number(release, "source"), takes);
	else
		printf("release %lld: %s in %s\n", (long long) d->release, *changes ? changes : "done", takes);
	json_decref(release);
}

/* One paragraph: what failed, what is known of it, what serves now, where there is more. */
static void print_failure(const Deploying *d, const json_t *release)
{
	const json_t *report = json_object_get(release, "report");
	const char *text = json_text(d->last, "error");
	AUTO_BUF out = BUF_INIT;
	int64_t base = json_number(release, "base");
	if (!*text)
		text = *json_text(report, "text") ? json_text(report, "text") : json_text(release, "result");
	if (strstr(text, "release "))
		cli_error("%s", text);
	else
		cli_error("release %lld failed: %s", (long long) d->release, text);
	release_evidence(json_object_size(report) ? report : d->last, EVIDENCE_LINES, &out);
	if (!strstr(text, "serves on") && base > 0)
		buf_printf(&out, "Release %lld serves on.\n", (long long) base);
	if (!strstr(text, "stead releases"))
		buf_printf(&out, "'stead releases %lld' says more.\n", (long long) d->release);
	(void) fwrite(buf_cstr(&out), 1, out.len, stderr);
}

/* The connection is closed: waits until the daemon has put back what was there. */
static int wait_called_off(const Deploying *d)
{
	fprintf(stderr, "stead: calling release %lld off; what was there is put back (Ctrl-C again: do not wait for it)\n",
		(long long) d->release);
	for (;;) {
		AUTO_ERR err = ERR_INIT;
		json_t *release = get_release(d, &err);
		const char *result = json_text(release, "result");
		int code = EXIT_INTERRUPTED;
		bool over = release && !str_eq(result, "running");
		if (!release) {
			(void) cli_fail(&err);
			fprintf(stderr, "The daemon puts it back in any case; 'stead releases %lld' shows how it ended.\n", (long long) d->release);
			return code;
		}
		if (over && str_eq(result, "success")) {
			printf("release %lld: it was done before it could be called off; 'stead rollback' goes back\n", (long long) d->release);
			code = EXIT_DONE;
		} else if (over) {
			print_failure(d, release);
		}
		json_decref(release);
		if (over)
			return code;
		(void) signals_poll(NULL, 0, POLL_MS);
		if (signals_ended()) {
			fprintf(stderr, "stead: no longer waiting; the daemon goes on putting it back ('stead releases %lld' shows how it ended)\n",
				(long long) d->release);
			return code;
		}
	}
}

/* What the end of the stream, or an interrupt, leaves to be said. */
static int finish(Deploying *d, int code)
{
	if (code == EXIT_INTERRUPTED) {
		if (d->o->plan)
			return code;
		if (d->release)
			return wait_called_off(d);
		fprintf(stderr, "stead: called off before it had begun\n");
		return code;
	}
	if (json_object_get(d->last, "error")) {
		json_t *release = d->release && code != EXIT_USAGE ? get_release(d, NULL) : NULL;
		if (release)
			print_failure(d, release);
		else
			operation_failure(d->last, d->project, d->cli);
		json_decref(release);
	} else if (!code && !d->cli->global.json) {
		if (d->o->plan)
			print_plan(d);
		else
			print_success(d);
	} else if (code && d->release) {
		/* The connection was lost; the daemon may have gone, or be there again. */
		fprintf(stderr, "'stead releases %lld' shows how it ended.\n", (long long) d->release);
	}
	return code;
}

int deploying_run(const Cli *cli, const char *project, const char *verb, json_t *body, const DeployingOptions *o)
{
	Deploying d = { .cli = cli, .project = project, .verb = verb, .o = o, .plan = json_array() };
	json_t *step;
	size_t i;
	json_array_foreach((json_t *) o->before, i, step)
	{
		(void) json_array_append(d.plan, step);
		if (cli->global.json)
			print_json(json_pack("{s:O}", "plan", step));
	}
	const OperationOptions op = { .refused_is_usage = true, .foreground = true, .line = take_line, .user = &d, .last = &d.last,
		.lost = "What was there serves on, or is put back when the daemon starts." };
	HttpClient *client = NULL;
	int code = client_open_or_fail(cli, &client);
	origin_add(body, o->working_dir);
	if (!code) {
		code = operation_run(cli, client, project, verb, body, &op);
		http_client_free(client);
		code = finish(&d, code);
		signals_release();
	}
	json_decref(body);
	json_decref(d.plan);
	json_decref(d.last);
	return code;
}
