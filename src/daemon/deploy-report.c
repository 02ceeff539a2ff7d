// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/container.h"
#include "daemon/deploy-parts.h"
#include "daemon/health.h"
#include "daemon/json.h"
#include "daemon/notify.h"
#include "daemon/stack.h"
#include "run/cgroup.h"
#include "run/container.h"

#define SERVICES_NAMED 8 /* in a notice */
#define REPORT_LOG_LINES 400
#define REPORT_LOG_BYTES (256U << 10) /* of them together: the older ones are left out */

void deploy_report(Deploy *dp, const char *service, const char *step, const char *status, double seconds, const char *detail)
{
	json_t *entry = json_pack("{s:f, s:s, s:s, s:s}", "t", (double) (time_mono() - dp->began) / (double) NSEC_PER_SEC, "service", service,
		"step", step, "status", status);
	if (detail)
		json_object_set_new(entry, "detail", json_safe(detail));
	json_array_append_new(dp->timeline, entry);
	json_t *line = json_pack("{s:s, s:i, s:s, s:s, s:s}", "kind", "deploy", "release", dp->release.number, "service", service, "step", step,
		"status", status);
	if (seconds >= 0)
		json_object_set_new(line, "seconds", json_real(seconds));
	if (detail)
		json_object_set_new(line, "detail", json_safe(detail));
	operation_line(dp->s, line);
}

/** A report outlives the container and is read by many: like notices it has no secrets that are known as such. */
static json_t *masked(const Mask *m, const json_t *line)
{
	AUTO_FREE char *text = mask_text(m, json_string_value(line));
	return json_safe(text);
}

/* The last lines, but no more bytes than a row should hold. */
static json_t *last_logs(Container *c, const Mask *m)
{
	json_t *all = ctr_last_lines(c, REPORT_LOG_LINES), *kept = json_array();
	size_t n = json_array_size(all), bytes = 0, first = n;
	while (first > 0 && (bytes += json_string_length(json_array_get(all, first - 1))) <= REPORT_LOG_BYTES)
		first--;
	for (; first < n; first++)
		json_array_append_new(kept, masked(m, json_array_get(all, first)));
	json_decref(all);
	return kept;
}

static void note_container(Deploy *dp, Container *c)
{
	CgroupStats stats = { 0 };
	AUTO_MASK *m = dp->release.model ? notify_mask(c->d, dp->release.model) : NULL;
	dp->failed_container = xstrdup(c->name);
	dp->failed_oom = c->oom_killed;
	dp->failed_peak = c->memory_peak;
	dp->failed_logs = last_logs(c, m);
	if (c->phase == PHASE_EXITED)
		dp->failed_exit = c->exit_code;
	else if (cgroup_stats(c->d->runtime, c->paths->cgroup, &stats) == 0)
		dp->failed_peak = (int64_t) stats.memory_max_usage;
	json_t *health = health_json(c), *entry;
	size_t i;
	json_array_foreach(json_object_get(health, "Log"), i, entry)
		json_array_append_new(dp->failed_health, masked(m, json_object_get(entry, "Output")));
	json_decref(health);
}

void deploy_fail(Deploy *dp, const DeployService *sv, Container *c, const char *step, const char *fmt, ...)
{
	va_list ap;
	char *text;
	va_start(ap, fmt);
	text = xvasprintf(fmt, ap);
	va_end(ap);
	if (dp->release.model) {
		/* A probe quotes what was answered. */
		AUTO_MASK *m = notify_mask(dp->d, dp->release.model);
		AUTO_FREE char *plain = text;
		text = mask_text(m, plain);
	}
	if (dp->failed_text || dp->phase > DEPLOY_COMMIT) {
		log_warning("stack %s: %s", dp->s->name, text);
		free(text);
		return;
	}
	dp->failed_text = text;
	dp->failed_step = xstrdup(step);
	dp->failed_service = xstrdup(sv ? sv->name : c ? c->svc.name : NULL);
	dp->failed_logs = NULL;
	if (c)
		note_container(dp, c);
	deploy_report(dp, dp->failed_service ? dp->failed_service : "", step, "failed",
		sv && sv->begun ? (double) (time_mono() - sv->since) / (double) NSEC_PER_SEC : -1, text);
	deploy_set_phase(dp, DEPLOY_REVERT);
}

/* What a hook did to data, it did; nobody but its author knows how to undo that. */
static void say_what_is_there(const Deploy *dp, Buf *b)
{
	size_t hooks = 0;
	if (dp->release.base)
		buf_printf(b, ". Release %d serves on", dp->release.base);
	else
		buf_str(b, dp->s->model ? ". What ran before serves on" : ". Nothing of it is left");
	for (size_t i = 0; i < dp->n_services; i++)
		if (dp->services[i].hook_begun)
			buf_printf(b, "%s%s", hooks++ ? ", " : "; what pre_deploy has done (", dp->services[i].name);
	if (hooks)
		buf_str(b, ") is not undone");
	else if (dp->s->model)
		buf_str(b, ", nothing else has changed");
}

char *deploy_paragraph(const Deploy *dp)
{
	AUTO_BUF b = BUF_INIT;
	static const char *const verbs[] = { [OP_UP] = "up", [OP_DEPLOY] = "deploy", [OP_ROLLBACK] = "rollback" };
	const char *verb = dp->op->kind == OP_UP || dp->op->kind == OP_ROLLBACK ? verbs[dp->op->kind] : "deploy";
	buf_printf(&b, "%s of release %d failed", verb, dp->release.number);
	if (dp->failed_service)
		buf_printf(&b, " at service '%s', step %s", dp->failed_service, dp->failed_step);
	buf_printf(&b, ": %s", dp->failed_text);
	if (dp->failed_oom)
		buf_str(&b, ". The kernel killed it for lack of memory; give it more (mem_limit), or let it use less");
	if (dp->failed_peak > 0) {
		AUTO_FREE char *peak = format_bytes(dp->failed_peak);
		buf_printf(&b, ". It used %s of memory at most", peak);
	}
	if (dp->no_restart) {
		buf_str(&b, ". What ran before serves on until then");
		return buf_steal(&b);
	}
	say_what_is_there(dp, &b);
	buf_printf(&b, ". `stead releases %d` has the logs and the time line", dp->release.number);
	return buf_steal(&b);
}

static const char *what_next(const Deploy *dp, NoticeKind kind, char **owned)
{
	if (kind == NOTICE_DEPLOY_FAILED)
		return *owned = xasprintf("Nothing has to be done at once. `stead -p %s releases %d` has the logs and the time line; mend it, then deploy again.",
			       dp->s->name, dp->release.number);
	if (kind == NOTICE_DEPLOY_SUCCEEDED && dp->release.base)
		return *owned = xasprintf("`stead -p %s rollback` brings release %d back.", dp->s->name, dp->release.base);
	if (kind == NOTICE_ROLLED_BACK)
		return *owned = xasprintf("Find out what was wrong with release %d: `stead -p %s releases %d`.", dp->release.base, dp->s->name,
			       dp->release.base);
	return NULL;
}

void deploy_notify(const Deploy *dp, NoticeKind kind)
{
	bool failed = kind == NOTICE_DEPLOY_FAILED;
	AUTO_FREE char *text = failed ? deploy_paragraph(dp) : NULL;
	AUTO_STRV char **lines = failed ? json_to_strv(dp->failed_logs) : NULL;
	AUTO_FREE char *owned = NULL;
	AUTO_BUF services = BUF_INIT;
	for (size_t i = 0; i < dp->n_services && i < SERVICES_NAMED; i++)
		buf_printf(&services, "%s%s", i ? ", " : "", dp->services[i].name);
	Notice n = {
		.kind = kind,
		.stack = dp->s->name,
		.service = failed ? dp->failed_service : services.data,
		.release = dp->release.number,
		.base = dp->release.base,
		.who = dp->release.who,
		.commit = dp->release.commit,
		.author = dp->release.author,
		.step = failed ? dp->failed_step : NULL,
		.text = text,
		.log_lines = lines,
		.took_ns = kind == NOTICE_DEPLOY_STARTED ? 0 : time_mono() - dp->began,
		.next = what_next(dp, kind, &owned),
	};
	if (dp->release.model)
		notify_event(dp->d, dp->release.model, &n);
}

json_t *deploy_report_json(const Deploy *dp)
{
	json_t *o = json_pack("{s:O, s:o}", "timeline", dp->timeline, "warnings", json_strv(dp->warnings));
	if (!dp->failed_text) {
		json_object_set_new(o, "text", json_sprintf("release %d took %.1f s", dp->release.number,
			(double) (time_mono() - dp->began) / (double) NSEC_PER_SEC));
		return o;
	}
	AUTO_FREE char *text = deploy_paragraph(dp);
	json_object_set_new(o, "text", json_safe(text));
	json_object_set_new(o, "step", json_string(dp->failed_step));
	json_object_set_new(o, "service", dp->failed_service ? json_string(dp->failed_service) : json_null());
	json_object_set_new(o, "container", dp->failed_container ? json_string(dp->failed_container) : json_null());
	json_object_set_new(o, "exit_code", dp->failed_exit >= 0 ? json_integer(dp->failed_exit) : json_null());
	json_object_set_new(o, "oom_killed", json_boolean(dp->failed_oom));
	json_object_set_new(o, "memory_peak", dp->failed_peak ? json_integer(dp->failed_peak) : json_null());
	json_object_set(o, "health", dp->failed_health);
	json_object_set_new(o, "logs", dp->failed_logs ? json_incref(dp->failed_logs) : json_array());
	return o;
}
