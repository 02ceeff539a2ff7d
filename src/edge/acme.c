// SPDX-License-Identifier: Apache-2.0
/*
 * One host at a time: ACME clients of one account share its files, and a box has few hosts. A run is
 *
 *   preflight → account (once for each server) → note the attempt → order → the worker checks and installs what came
 *
 * uacme keeps keys and certificates in a directory of its own for each server (STATE/edge/acme/ID). What it got is installed from there by the same job that
 * a daemon runs when it sees the host for the first time; so a death after the server has issued and before the edge has it costs no second order.
 * The attempt is written down before the server hears of it: a daemon that dies in each attempt does not hammer it.
 *
 * HTTP-01 needs no file and no answering service: the answer is TOKEN.THUMBPRINT, and the thumbprint is that of the account's key, which is made before
 * the server is asked anything, so that HAProxy (certs_thumbprint) answers from then on.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "edge/acme-answer.h"
#include "edge/acme-preflight.h"
#include "edge/cert-private.h"
#include "io/child.h"

#define RUN_TIMEOUT (300 * NSEC_PER_SEC)
#define STDERR_MAX (16U << 10)
#define ROOM_MIN (1 << 20)            /* bytes free on disk before an order */
#define CLOCK_MIN 1704067200LL        /* 2024: before it, the clock of this machine has not been set */

typedef struct Acme {
	Certs *certs;
	char *server, *email, *ca;
	char *dir;        /* uacme's: STATE/edge/acme/ID */
	char *thumbprint; /* NULL until the account has a key */
	bool asked;       /* for the key */
	int64_t account_retry; /* monotonic ns */
	/* the run */
	char *host;       /* NULL = none */
	Preflight *preflight;
	Child *child;
	Err start_err;    /* uacme could not be started */
	bool repeated;    /* the account was made anew in this run */
	AcmeHistory before; /* the host's history before this attempt */
} Acme;

const char *acme_thumbprint(const Acme *a)
{
	return a->thumbprint;
}

/* The history on disk. */

static char *history_path(const Acme *a, const char *host)
{
	return xasprintf("%s/history/%s.json", a->dir, host);
}

static void history_read(const Acme *a, CertHost *h)
{
	AUTO_FREE char *path = history_path(a, h->host);
	AUTO_BUF b = BUF_INIT;
	h->history = (AcmeHistory) { 0 };
	if (file_read(AT_FDCWD, path, 4096, &b) < 0)
		return;
	json_t *o = json_loadb(buf_cstr(&b), b.len, 0, NULL);
	const json_t *failed = json_object_get(o, "failed");
	for (size_t i = 0; i < ACME_FAILURES_AN_HOUR; i++)
		h->history.failed[i] = json_integer_value(json_array_get(failed, i));
	int64_t n = json_integer_value(json_object_get(o, "failures"));
	h->history.failures = n > 0 && n < 1000 ? (int) n : 0;
	h->history.not_before = json_integer_value(json_object_get(o, "not_before"));
	h->history.issued = json_integer_value(json_object_get(o, "issued"));
	/* Cut short by a daemon's death: no verdict of the server, but it counts within the hour. */
	if (json_is_true(json_object_get(o, "pending")) && h->history.failures)
		h->history.failures--;
	json_decref(o);
}

/* Not through a power cut: what it protects from is a daemon that dies again and again. */
static int history_write(const Acme *a, const CertHost *h, bool pending, Err *err)
{
	AUTO_FREE char *path = history_path(a, h->host);
	AUTO_FREE char *dir = xasprintf("%s/history", a->dir);
	json_t *failed = json_array();
	for (size_t i = 0; i < ACME_FAILURES_AN_HOUR; i++)
		(void) json_array_append_new(failed, json_integer(h->history.failed[i]));
	json_t *o = json_pack("{s:i, s:o, s:I, s:I, s:b}", "failures", h->history.failures, "failed", failed, "not_before",
		(json_int_t) h->history.not_before, "issued", (json_int_t) h->history.issued, "pending", pending);
	AUTO_FREE char *text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	int r = dir_make(dir, 0700);
	if (r == 0)
		r = file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600, false);
	return r < 0 ? err_errno(err, r, "%s", path) : 0;
}

/* A run's end. */

static void run_end(Acme *a)
{
	free_and_null(&a->host);
	err_done(&a->start_err);
	a->repeated = false;
}

static CertHost *run_host(Acme *a)
{
	CertHost *h = a->host ? certs_find(a->certs, a->host) : NULL;
	return h && h->source == CERT_FROM_ACME ? h : NULL;
}

/* Nothing was asked of the server. */
static void run_held_up(Acme *a, const char *why)
{
	CertHost *h = run_host(a);
	if (h) {
		h->preflights++;
		int64_t delay = acme_preflight_delay(h->preflights) * NSEC_PER_SEC;
		h->preflight_at = time_mono() + delay;
		certs_soon(a->certs, delay);
		cert_host_error(h, "%s", why);
	}
	run_end(a);
}

/* The order was placed, and failed. */
static void run_failed(Acme *a, const AcmeAnswer *answer)
{
	AUTO_ERR err = ERR_INIT;
	CertHost *h = run_host(a);
	if (h) {
		if (answer->limited)
			acme_told_to_wait(&h->history, answer->retry_after, time_real() / NSEC_PER_SEC);
		if (history_write(a, h, false, &err) < 0)
			log_warning("certificate of %s: %s", h->host, err_text(&err));
		cert_host_error(h, "%s", answer->text);
	}
	run_end(a);
}

/* Installing what uacme has. */

static char *issued_path(const Acme *a, const char *host)
{
	return xasprintf("%s/%s/cert.pem", a->dir, host);
}

static json_t *install_item(const Acme *a, const CertHost *h)
{
	AUTO_FREE char *cert = issued_path(a, h->host);
	AUTO_FREE char *key = xasprintf("%s/private/%s/key.pem", a->dir, h->host);
	return json_pack("{s:s, s:s, s:s, s:s, s:s}", "do", "files", "cert", cert, "key", key, "host", h->host, "out", strrchr(h->file, '/') + 1);
}

static void on_looked(void *user, const CertReport *r, const Err *err)
{
	CertHost *h = user;
	h->busy = false;
	if (err)
		log_warning("certificate of %s, as it was issued before: %s", h->host, err_text(err));
	if (r) {
		cert_host_info(h, r);
		h->issued = true;
		cert_host_load(h);
	}
	acme_tick(h->certs->acme);
}

void acme_look(Acme *a, CertHost *h)
{
	AUTO_FREE char *cert = issued_path(a, h->host);
	h->looked = true;
	history_read(a, h);
	h->preflights = 0;
	h->preflight_at = 0;
	if (access(cert, F_OK) < 0)
		return;
	h->busy = true;
	cert_job(a->certs->jobs, install_item(a, h), on_looked, h);
}

/* uacme keeps the ones from before as cert-TIME.pem. */
static void remove_old(const Acme *a, const char *host)
{
	AUTO_FREE char *path = xasprintf("%s/%s", a->dir, host);
	DIR *d = opendir(path);
	for (struct dirent *e; d && (e = readdir(d));)
		if (str_starts(e->d_name, "cert-") && str_ends(e->d_name, ".pem"))
			(void) unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		(void) closedir(d);
}

static void on_installed(void *user, const CertReport *r, const Err *err)
{
	CertHost *h = user;
	Acme *a = h->certs->acme;
	h->busy = false;
	if (err) {
		const AcmeAnswer answer = { .text = (char *) err_text(err) };
		(void) err_set(&a->start_err, -EIO, "the ACME server's certificate cannot be used: %s", answer.text);
		run_failed(a, &(AcmeAnswer) { .text = a->start_err.text });
		return;
	}
	AUTO_ERR e = ERR_INIT;
	acme_succeeded(&h->history, time_real() / NSEC_PER_SEC);
	h->preflights = 0;
	h->issued = true;
	cert_host_info(h, r);
	cert_host_load(h);
	if (history_write(a, h, false, &e) < 0)
		log_warning("certificate of %s: %s", h->host, err_text(&e));
	remove_old(a, h->host);
	log_info("certificate of %s: issued by %s", h->host, h->issuer);
	run_end(a);
	/* The next host, without waiting for the timer. */
	acme_tick(a);
}

/* uacme. */

static void on_child_line(void *user, const char *line, size_t n)
{
	Acme *a = user;
	json_t *o = json_loadb(line, n, 0, NULL);
	const char *error = json_string_value(json_object_get(o, "error"));
	if (error)
		(void) err_set(&a->start_err, -EIO, "%s", error);
	json_decref(o);
}

static int uacme(Acme *a, json_t *words, ChildExitFn exited, Err *err)
{
	AUTO_FREE char *worker = libexec_path("stead-worker");
	json_t *argv = json_pack("[s, s, s, s, s, s, s, s, s, s]", "uacme", "-y", "-c", a->dir, "-a", a->server, "-h", worker, "-t", "EC");
	(void) json_array_extend(argv, words);
	json_decref(words);
	json_t *o = json_pack("{s:o}", "argv", argv);
	if (a->ca)
		(void) json_object_set_new(o, "ca", json_string(a->ca));
	AUTO_FREE char *text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	const char *const command[] = { worker, "acme", a->dir, NULL };
	const ChildOptions c = {
		.argv = command, .input = text, .input_len = strlen(text), .capture_max = STDERR_MAX, .line = on_child_line, .exited = exited, .user = a,
		.timeout_ns = RUN_TIMEOUT, .new_session = true,
	};
	err_done(&a->start_err);
	return child_spawn(a->certs->o.loop, &c, &a->child, err);
}

static void answer_of(const ChildExit *exit, AcmeAnswer *ret)
{
	acme_answer_parse(exit->errors, ret);
	if (exit->timed_out) {
		free(ret->text);
		ret->text = xasprintf("the ACME server did not come to an end within %d minutes", (int) (RUN_TIMEOUT / NSEC_PER_SEC / 60));
	} else if (exit->signal) {
		free(ret->text);
		ret->text = xasprintf("uacme was killed by signal %d (%s)", exit->signal, strsignal(exit->signal));
	}
}

static char *marker_path(const Acme *a)
{
	return xasprintf("%s/account", a->dir);
}

static void account(Acme *a);

static void on_ordered(void *user, const ChildExit *exit)
{
	Acme *a = user;
	AcmeAnswer answer;
	a->child = NULL;
	CertHost *h = run_host(a);
	if (h && a->start_err.code) {
		AUTO_ERR err = ERR_INIT;
		(void) err_move(&err, &a->start_err);
		h->history = a->before;
		(void) history_write(a, h, false, NULL);
		run_held_up(a, err_text(&err));
		return;
	}
	if (h && exit->code == 0) {
		h->busy = true;
		cert_job(a->certs->jobs, install_item(a, h), on_installed, h);
		return;
	}
	answer_of(exit, &answer);
	if (h && answer.no_account && !a->repeated) {
		AUTO_FREE char *marker = marker_path(a);
		(void) unlink(marker);
		a->repeated = true;
		h->history = a->before;
		account(a);
	} else {
		run_failed(a, &answer);
	}
	acme_answer_done(&answer);
}

static void order(Acme *a)
{
	AUTO_ERR err = ERR_INIT;
	CertHost *h = run_host(a);
	if (!h) {
		run_end(a);
		return;
	}
	a->before = h->history;
	acme_began(&h->history, time_real() / NSEC_PER_SEC);
	int r = history_write(a, h, true, &err);
	if (r == 0)
		r = uacme(a, json_pack("[s, s, s]", "-f", "issue", h->host), on_ordered, &err);
	if (r < 0) {
		h->history = a->before;
		run_held_up(a, err_text(&err));
	}
}

static void on_account(void *user, const ChildExit *exit)
{
	Acme *a = user;
	AcmeAnswer answer;
	a->child = NULL;
	answer_of(exit, &answer);
	if (a->start_err.code) {
		AUTO_ERR err = ERR_INIT;
		(void) err_move(&err, &a->start_err);
		run_held_up(a, err_text(&err));
	} else if (exit->code == 0 || answer.account_exists) {
		AUTO_FREE char *marker = marker_path(a);
		const char *email = a->email ? a->email : "";
		(void) file_write_atomic(AT_FDCWD, marker, email, strlen(email), 0600, false);
		order(a);
	} else {
		AUTO_FREE char *text = xasprintf("no account at the ACME server %s: %s", a->server, answer.text);
		run_held_up(a, text);
	}
	acme_answer_done(&answer);
}

/* The marker holds the address that the server knows. */
static void account(Acme *a)
{
	AUTO_FREE char *marker = marker_path(a);
	AUTO_BUF known = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	const char *email = a->email ? a->email : "";
	bool made = file_read(AT_FDCWD, marker, 1024, &known) == 0;
	if (made && str_eq(buf_cstr(&known), email)) {
		order(a);
		return;
	}
	json_t *words = json_pack("[s]", made ? "update" : "new");
	if (*email)
		(void) json_array_append_new(words, json_string(email));
	if (uacme(a, words, on_account, &err) < 0)
		run_held_up(a, err_text(&err));
}

static void on_preflight(void *user, const Err *err)
{
	Acme *a = user;
	a->preflight = NULL;
	if (err)
		run_held_up(a, err_text(err));
	else
		account(a);
}

static int local_checks(const Acme *a, Err *err)
{
	struct statvfs fs;
	if (time_real() / NSEC_PER_SEC < CLOCK_MIN)
		return err_set(err, -EAGAIN, "the clock of this machine is years behind: set it (timedatectl set-ntp true), certificates are checked against it");
	if (a->ca && access(a->ca, R_OK) < 0)
		return err_errno(err, -errno, "--acme-ca %s", a->ca);
	if (statvfs(a->dir, &fs) == 0 && (uint64_t) fs.f_bavail * fs.f_frsize < ROOM_MIN)
		return err_set(err, -ENOSPC, "the disk of %s is full: what the ACME server gives could not be kept", a->dir);
	return 0;
}

static void run_start(Acme *a, CertHost *h)
{
	AUTO_ERR err = ERR_INIT;
	const PreflightOptions o = {
		.loop = a->certs->o.loop, .host = h->host, .thumbprint = a->thumbprint, .state_dir = a->dir, .http_port = a->certs->o.http_port,
	};
	a->host = xstrdup(h->host);
	int r = local_checks(a, &err);
	if (r == 0 && !o.http_port)
		r = err_set(&err, -EINVAL, "HTTP is off (--edge-http off), and an ACME server comes over HTTP: name files with tls: {cert: FILE, key: FILE}");
	if (r == 0)
		r = preflight_start(&o, on_preflight, a, &a->preflight, &err);
	if (r < 0)
		run_held_up(a, err_text(&err));
}

/* The callback of the installing job will not come. */
void acme_forget(Acme *a, const CertHost *h)
{
	if (h->busy && str_eq(a->host, h->host) && !a->child && !a->preflight)
		run_end(a);
}

/* What is due. */

static void on_key(void *user, const CertReport *r, const Err *err)
{
	Acme *a = user;
	a->asked = false;
	if (err || !r->thumbprint) {
		a->account_retry = time_mono() + 60 * NSEC_PER_SEC;
		for (CertHost *h = a->certs->hosts; h; h = h->next)
			if (h->source == CERT_FROM_ACME)
				cert_host_error(h, "key of the ACME account: %s", err_text(err));
		return;
	}
	str_set(&a->thumbprint, r->thumbprint);
	a->certs->o.changed(a->certs->o.user);
	certs_soon(a->certs, 0);
}

static uint32_t jitter_of(const char *host)
{
	uint32_t n = 2166136261U; /* FNV-1a */
	for (const char *p = host; *p; p++)
		n = (n ^ (uint8_t) *p) * 16777619U;
	return n;
}

int64_t acme_host_next(CertHost *h, int64_t now)
{
	return acme_next(&h->history, h->issued ? h->not_before : 0, h->issued ? h->not_after : 0, now, jitter_of(h->host));
}

void acme_tick(Acme *a)
{
	int64_t now = time_real() / NSEC_PER_SEC, mono = time_mono();
	CertHost *first = NULL;
	bool any = false;
	for (CertHost *h = a->certs->hosts; h; h = h->next) {
		if (h->source != CERT_FROM_ACME)
			continue;
		any = true;
		/* The longest unasked first, so that one whose name leads nowhere does not keep the others waiting. */
		if (!h->busy && mono >= h->preflight_at && acme_host_next(h, now) <= now && (!first || h->preflight_at < first->preflight_at))
			first = h;
	}
	if (a->host || a->asked || !any || mono < a->account_retry)
		return;
	if (!a->thumbprint) {
		AUTO_FREE char *key = xasprintf("%s/private/key.pem", a->dir);
		a->asked = true;
		cert_job(a->certs->jobs, json_pack("{s:s, s:s}", "do", "account", "key", key), on_key, a);
	} else if (first && a->certs->o.in_effect && !a->certs->o.in_effect(a->certs->o.user)) {
		a->certs->held = true; /* nobody would be answered yet */
	} else if (first) {
		run_start(a, first);
	}
}

Acme *acme_new(Certs *c, const char *server, const char *email, const char *ca)
{
	Acme *a = xcalloc(1, sizeof(*a));
	char hex[DIGEST_HEX_MAX];
	digest_sha256(server, strlen(server), hex);
	a->certs = c;
	a->server = xstrdup(server);
	a->email = str_empty(email) ? NULL : xstrdup(email);
	a->ca = str_empty(ca) ? NULL : xstrdup(ca);
	a->dir = xasprintf("%s/acme/%.16s", c->state_dir, hex);
	return a;
}

void acme_free(Acme *a)
{
	if (!a)
		return;
	/* An order under way ends too: its worker dies with the daemon, which comes back to what it left. */
	preflight_cancel(a->preflight);
	if (a->child) {
		child_signal(a->child, SIGKILL);
		child_forget(a->child);
	}
	cert_jobs_forget(a->certs->jobs, a);
	err_done(&a->start_err);
	free(a->host);
	free(a->server);
	free(a->email);
	free(a->ca);
	free(a->dir);
	free(a->thumbprint);
	free(a);
}
