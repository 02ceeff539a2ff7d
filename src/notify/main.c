// SPDX-License-Identifier: Apache-2.0
/*
 * stead-notify: sends one message, for the daemon (daemon/notify.c is the other side). The message comes as JSON on stdin
 * (notify_request_to_json), so that no address or password stands in an argument list or an environment; what became of it goes to stdout:
 *
 *   {"result": "sent" | "later" | "never", "status": 429, "retry_after": 30, "text": "answered 429: slow down"}
 *
 * A process of its own, since libcurl would cost the daemon some 7 MB and every image worker its start, and since it talks to strangers: it
 * gives up root before it reads the message.
 *
 * HTTP: certificates are checked; no redirect is followed, for the address is a secret that belongs to one host. Mail: smtps: and a server that wants a
 * password need a certificate that is right. Without a password, or on the machine itself, TLS is taken where it is offered and nobody's name
 * is checked (RFC 7435): the alternative would be no TLS at all.
 */

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <jansson.h>
#include <signal.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "notify/request.h"
#include "notify/text.h"

#define NOBODY 65534
#define INPUT_MAX (1U << 20)
#define CONNECT_SECONDS 10L
#define TOTAL_SECONDS 30L
#define EXCERPT_MAX 200

typedef enum Outcome { SENT, LATER, NEVER } Outcome;

typedef struct Delivery {
	const NotifyRequest *request;
	CURL *curl;
	Buf answer; /* its beginning */
	size_t answered;
	size_t read; /* of the mail */
	char error[CURL_ERROR_SIZE];
	/* What became of it. */
	Outcome outcome;
	long status;
	curl_off_t retry_after;
	Buf text;
} Delivery;

static int drop_privileges(void)
{
	const struct rlimit none = { 0, 0 };
	(void) setrlimit(RLIMIT_CORE, &none);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0))
		return -errno;
	/* Others are nobody too, and the message is none of their business. A change of user resets both. */
	if (prctl(PR_SET_DUMPABLE, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return -errno;
	return 0;
}

static size_t on_answer(char *p, size_t size, size_t n, void *user)
{
	Delivery *d = user;
	if (d->answer.len < EXCERPT_MAX)
		buf_append(&d->answer, p, n < EXCERPT_MAX - d->answer.len ? n : EXCERPT_MAX - d->answer.len);
	d->answered += n;
	return d->answered > LIMIT_NOTIFY_ANSWER ? 0 : n;
}

static size_t on_read(char *p, size_t size, size_t n, void *user)
{
	Delivery *d = user;
	size_t left = strlen(d->request->body) - d->read;
	size_t len = left < size * n ? left : size * n;
	memcpy(p, d->request->body + d->read, len);
	d->read += len;
	return len;
}

/** Both spellings are there, and neither in all versions. */
static void allow_protocol(CURL *c, bool mail)
{
#if LIBCURL_VERSION_NUM >= 0x075500
	(void) curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, mail ? "smtp,smtps" : "http,https");
#else
	(void) curl_easy_setopt(c, CURLOPT_PROTOCOLS, mail ? (long) (CURLPROTO_SMTP | CURLPROTO_SMTPS) : (long) (CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
}

static void set_common(Delivery *d)
{
	const char *ca = getenv("SSL_CERT_FILE");
	CURL *c = d->curl;
	(void) curl_easy_setopt(c, CURLOPT_URL, d->request->url);
	(void) curl_easy_setopt(c, CURLOPT_ERRORBUFFER, d->error);
	(void) curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	(void) curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
	(void) curl_easy_setopt(c, CURLOPT_TIMEOUT, TOTAL_SECONDS);
	(void) curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
	(void) curl_easy_setopt(c, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
	(void) curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L);
	(void) curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L);
	(void) curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_answer);
	(void) curl_easy_setopt(c, CURLOPT_WRITEDATA, d);
	if (!str_empty(ca))
		(void) curl_easy_setopt(c, CURLOPT_CAINFO, ca);
	allow_protocol(c, d->request->from != NULL);
}

/** The answer's first words, for people. */
static void put_excerpt(Delivery *d)
{
	AUTO_BUF clean = BUF_INIT;
	text_clean(&clean, buf_cstr(&d->answer));
	for (char *p = clean.data; p && (p = strchr(p, '\n'));)
		*p = ' ';
	if (!text_blank(clean.data))
		buf_printf(&d->text, ": %s", clean.data);
}

/* ---- HTTP ---- */

static void judge_http(Delivery *d, CURLcode r)
{
	(void) curl_easy_getinfo(d->curl, CURLINFO_RESPONSE_CODE, &d->status);
	(void) curl_easy_getinfo(d->curl, CURLINFO_RETRY_AFTER, &d->retry_after);
	bool answered = r == CURLE_OK || (r == CURLE_WRITE_ERROR && d->status);
	if (!answered) {
		d->outcome = r == CURLE_URL_MALFORMAT || r == CURLE_UNSUPPORTED_PROTOCOL ? NEVER : LATER;
		d->status = 0;
		buf_str(&d->text, *d->error ? d->error : curl_easy_strerror(r));
		return;
	}
	buf_printf(&d->text, "answered %ld", d->status);
	if (d->status >= 200 && d->status < 300) {
		d->outcome = SENT;
	} else if (d->status >= 300 && d->status < 400) {
		d->outcome = NEVER;
		buf_str(&d->text, ", a redirect, which is not followed: write the address that it leads to");
	} else {
		d->outcome = d->status >= 500 || d->status == 408 || d->status == 425 || d->status == 429 ? LATER : NEVER;
		put_excerpt(d);
	}
}

static void add_header(struct curl_slist **list, const char *name, const char *value)
{
	if (!value || str_has_control(value))
		return;
	AUTO_FREE char *line = xasprintf("%s: %s", name, value);
	*list = curl_slist_append(*list, line);
}

static void send_http(Delivery *d)
{
	struct curl_slist *headers = NULL;
	AUTO_FREE char *bearer = d->request->token ? xasprintf("Bearer %s", d->request->token) : NULL;
	add_header(&headers, "Content-Type", "application/json");
	add_header(&headers, "User-Agent", "stead/" STEAD_VERSION);
	add_header(&headers, "X-Stead-Event", d->request->event);
	add_header(&headers, "X-Stead-Delivery", d->request->event ? d->request->id : NULL);
	add_header(&headers, "Authorization", bearer);
	headers = curl_slist_append(headers, "Expect:");
	(void) curl_easy_setopt(d->curl, CURLOPT_HTTPHEADER, headers);
	(void) curl_easy_setopt(d->curl, CURLOPT_POSTFIELDS, d->request->body);
	(void) curl_easy_setopt(d->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) strlen(d->request->body));
	judge_http(d, curl_easy_perform(d->curl));
	curl_slist_free_all(headers);
}

/* ---- mail ---- */

static bool is_this_machine(const char *url)
{
	char *host = NULL;
	CURLU *u = curl_url();
	if (!u || curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK || curl_url_get(u, CURLUPART_HOST, &host, 0) != CURLUE_OK) {
		curl_url_cleanup(u);
		return false;
	}
	bool local = strcasecmp(host, "localhost") == 0 || str_eq(host, "[::1]") || (str_starts(host, "127.") && !host[strspn(host, "0123456789.")]);
	curl_free(host);
	curl_url_cleanup(u);
	return local;
}

static void judge_mail(Delivery *d, CURLcode r)
{
	(void) curl_easy_getinfo(d->curl, CURLINFO_RESPONSE_CODE, &d->status);
	if (r == CURLE_OK) {
		d->outcome = SENT;
		buf_str(&d->text, "accepted");
		return;
	}
	bool refused = d->status >= 500 && d->status < 600;
	d->outcome = refused || r == CURLE_URL_MALFORMAT || r == CURLE_UNSUPPORTED_PROTOCOL || r == CURLE_USE_SSL_FAILED ? NEVER : LATER;
	buf_str(&d->text, *d->error ? d->error : curl_easy_strerror(r));
	if (r == CURLE_USE_SSL_FAILED)
		buf_str(&d->text, "; a password is not sent without TLS: use smtps://, or a server that offers STARTTLS");
}

static void send_mail(Delivery *d)
{
	const NotifyRequest *q = d->request;
	struct curl_slist *to = NULL;
	CURL *c = d->curl;
	bool trusted = q->password && !is_this_machine(q->url);
	for (char **p = q->to; p && *p; p++)
		to = curl_slist_append(to, *p);
	(void) curl_easy_setopt(c, CURLOPT_MAIL_FROM, q->from);
	(void) curl_easy_setopt(c, CURLOPT_MAIL_RCPT, to);
	(void) curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
	(void) curl_easy_setopt(c, CURLOPT_READFUNCTION, on_read);
	(void) curl_easy_setopt(c, CURLOPT_READDATA, d);
	(void) curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t) strlen(q->body));
	(void) curl_easy_setopt(c, CURLOPT_USE_SSL, (long) (trusted ? CURLUSESSL_ALL : CURLUSESSL_TRY));
	if (!trusted && strncasecmp(q->url, "smtps:", 6) != 0) {
		(void) curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
		(void) curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	if (q->user && q->password) {
		(void) curl_easy_setopt(c, CURLOPT_USERNAME, q->user);
		(void) curl_easy_setopt(c, CURLOPT_PASSWORD, q->password);
	}
	judge_mail(d, curl_easy_perform(c));
	curl_slist_free_all(to);
}

/* ---- the way in and out ---- */

static int read_request(NotifyRequest *ret, Err *err)
{
	AUTO_BUF b = BUF_INIT;
	json_error_t e;
	char *p;
	ssize_t n;
	do {
		p = buf_reserve(&b, 65536);
		n = read(STDIN_FILENO, p, 65536);
		buf_added(&b, n > 0 ? (size_t) n : 0);
	} while ((n > 0 && b.len <= INPUT_MAX) || (n < 0 && errno == EINTR));
	if (n != 0)
		return err_set(err, n < 0 ? -errno : -EFBIG, "the message on stdin cannot be read");
	json_t *o = json_loadb(b.data, b.len, JSON_REJECT_DUPLICATES, &e);
	if (!o)
		return err_set(err, -EINVAL, "the message on stdin is not JSON: %s", e.text);
	int r = notify_request_from_json(o, ret, err);
	json_decref(o);
	return r;
}

static void report(Outcome outcome, long status, curl_off_t retry_after, const char *text)
{
	static const char *const names[] = { [SENT] = "sent", [LATER] = "later", [NEVER] = "never" };
	AUTO_BUF clean = BUF_INIT;
	text_clean(&clean, text);
	json_t *o = json_pack("{s:s, s:I, s:I, s:s}", "result", names[outcome], "status", (json_int_t) status, "retry_after", (json_int_t) retry_after, "text",
		buf_cstr(&clean));
	(void) json_dumpf(o, stdout, JSON_COMPACT);
	(void) fflush(stdout);
	json_decref(o);
}

int main(int argc, char **argv)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_NOTIFY_REQUEST q = { 0 };
	if (argc != 1 || isatty(STDIN_FILENO)) {
		fputs("stead-notify is started by stead daemon\n", stderr);
		return 2;
	}
	(void) signal(SIGPIPE, SIG_IGN);
	int r = drop_privileges();
	if (r < 0) {
		report(LATER, 0, 0, "stead-notify cannot give up its privileges");
		return 1;
	}
	if (read_request(&q, &err) < 0) {
		report(NEVER, 0, 0, err_text(&err));
		return 1;
	}
	Delivery d = { .request = &q };
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(d.curl = curl_easy_init())) {
		report(LATER, 0, 0, "libcurl cannot be initialised");
		return 1;
	}
	set_common(&d);
	if (q.from)
		send_mail(&d);
	else
		send_http(&d);
	report(d.outcome, d.status, d.retry_after, buf_cstr(&d.text));
	curl_easy_cleanup(d.curl);
	buf_done(&d.answer);
	buf_done(&d.text);
	return 0;
}
