// SPDX-License-Identifier: Apache-2.0
#include "edge/cert-job.h"

#include <errno.h>
#include <signal.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "io/child.h"

#define BATCH_MAX 64
#define TIMEOUT_NS (60 * NSEC_PER_SEC)
#define STDERR_MAX 4096

typedef struct Item {
	struct Item *next;
	json_t *what;
	CertJobFn fn; /* NULL: nobody wants to know */
	void *user;
} Item;

struct CertJobs {
	uv_loop_t *loop;
	char *state_dir, *dir;
	Item *waiting;
	Item *running; /* with the worker, not reported yet, in order */
	Child *child;
	Err err; /* of the whole batch */
	uv_timer_t timer;
};

static void on_timer(uv_timer_t *t);

static void kick(CertJobs *j)
{
	if (!j->child)
		(void) uv_timer_start(&j->timer, on_timer, 0, 0);
}

CertJobs *cert_jobs_new(uv_loop_t *loop, const char *state_dir, const char *dir)
{
	CertJobs *j = xcalloc(1, sizeof(*j));
	j->loop = loop;
	j->state_dir = xstrdup(state_dir);
	j->dir = xstrdup(dir);
	(void) uv_timer_init(loop, &j->timer);
	j->timer.data = j;
	return j;
}

static void item_free(Item *i)
{
	json_decref(i->what);
	free(i);
}

static Item *take_first(Item **list)
{
	Item *i = *list;
	*list = i->next;
	return i;
}

static void append(Item **list, Item *i)
{
	while (*list)
		list = &(*list)->next;
	i->next = NULL;
	*list = i;
}

/* The callback may ask for more, and forget others. */
static void answer(Item *i, const CertReport *r, const Err *err)
{
	if (i->fn)
		i->fn(i->user, r, err);
	item_free(i);
}

static void on_closed(uv_handle_t *h)
{
	CertJobs *j = h->data;
	free(j->state_dir);
	free(j->dir);
	err_done(&j->err);
	free(j);
}

void cert_jobs_free(CertJobs *j)
{
	if (!j)
		return;
	if (j->child) {
		child_signal(j->child, SIGKILL);
		child_forget(j->child);
	}
	while (j->running)
		answer(take_first(&j->running), NULL, NULL);
	while (j->waiting)
		answer(take_first(&j->waiting), NULL, NULL);
	uv_close((uv_handle_t *) &j->timer, on_closed);
}

void cert_job(CertJobs *j, json_t *item, CertJobFn fn, void *user)
{
	Item *i = xcalloc(1, sizeof(*i));
	i->what = item;
	i->fn = fn;
	i->user = user;
	append(&j->waiting, i);
	kick(j);
}

void cert_jobs_forget(CertJobs *j, const void *user)
{
	for (Item *i = j->waiting; i; i = i->next)
		if (i->user == user)
			i->fn = NULL;
	for (Item *i = j->running; i; i = i->next)
		if (i->user == user)
			i->fn = NULL;
}

static void on_line(void *user, const char *line, size_t n)
{
	CertJobs *j = user;
	json_t *root = json_loadb(line, n, 0, NULL);
	const json_t *o = json_object_get(root, "certificate");
	const char *error = json_string_value(json_object_get(root, "error"));
	if (error)
		(void) err_set(&j->err, -EIO, "%s", error);
	if (o && j->running) {
		AUTO_ERR err = ERR_INIT;
		const CertReport r = {
			.not_before = json_integer_value(json_object_get(o, "not_before")),
			.not_after = json_integer_value(json_object_get(o, "not_after")),
			.issuer = json_string_value(json_object_get(o, "issuer")),
			.warning = json_string_value(json_object_get(o, "warning")),
			.thumbprint = json_string_value(json_object_get(o, "thumbprint")),
		};
		error = json_string_value(json_object_get(o, "error"));
		if (error)
			(void) err_set(&err, (int) json_integer_value(json_object_get(o, "code")), "%s", error);
		answer(take_first(&j->running), error ? NULL : &r, error ? &err : NULL);
	}
	json_decref(root);
}

static void on_exited(void *user, const ChildExit *exit)
{
	CertJobs *j = user;
	j->child = NULL;
	if (j->running) {
		AUTO_ERR err = ERR_INIT;
		if (j->err.code)
			(void) err_set(&err, j->err.code, "%s", j->err.text);
		else if (exit->timed_out)
			(void) err_set(&err, -ETIMEDOUT, "the worker did not end in time");
		else if (exit->signal)
			(void) err_set(&err, -EIO, "the worker was killed by signal %d (%s)", exit->signal, strsignal(exit->signal));
		else
			(void) err_set(&err, -EIO, "the worker ended without a report (exit code %d)%s%.300s", exit->code, *exit->errors ? ": " : "",
				exit->errors);
		err_done(&j->err);
		/* The one that it was at is to blame; the others get another worker, before those that came later. */
		Item *bad = take_first(&j->running), **end = &j->running;
		while (*end)
			end = &(*end)->next;
		*end = j->waiting;
		j->waiting = steal_ptr(&j->running);
		answer(bad, NULL, &err);
	}
	err_done(&j->err);
	if (j->waiting)
		kick(j);
}

static char *batch_json(CertJobs *j)
{
	char box[256] = "";
	json_t *items = json_array();
	for (size_t n = 0; j->waiting && n < BATCH_MAX; n++) {
		Item *i = take_first(&j->waiting);
		(void) json_array_append(items, i->what);
		append(&j->running, i);
	}
	if (gethostname(box, sizeof(box) - 1) < 0 || !str_is_utf8(box, strlen(box)) || str_has_control(box))
		box[0] = 0;
	AUTO_FREE char *certs = xasprintf("%s/certs", j->dir);
	AUTO_FREE char *ca = xasprintf("%s/ca", j->dir);
	json_t *o = json_pack("{s:s, s:s, s:s, s:I, s:o}", "dir", certs, "ca", ca, "box", box[0] ? box : "this machine", "now",
		(json_int_t) (time_real() / NSEC_PER_SEC), "items", items);
	char *text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	return text ? text : xstrdup("");
}

static void on_timer(uv_timer_t *t)
{
	CertJobs *j = t->data;
	AUTO_ERR err = ERR_INIT;
	if (j->child || !j->waiting)
		return;
	AUTO_FREE char *worker = libexec_path("stead-worker");
	AUTO_FREE char *options = batch_json(j);
	const char *argv[] = { worker, "certificates", j->state_dir, NULL };
	const ChildOptions o = {
		.argv = argv, .input = options, .input_len = strlen(options), .capture_max = STDERR_MAX, .line = on_line, .exited = on_exited, .user = j,
		.timeout_ns = TIMEOUT_NS, .new_session = true,
	};
	if (child_spawn(j->loop, &o, &j->child, &err) == 0)
		return;
	(void) err_wrap(&err, "starting %s", worker);
	while (j->running)
		answer(take_first(&j->running), NULL, &err);
}
