// SPDX-License-Identifier: Apache-2.0
/*
 * A mail of one plain text part. Whatever stands in a header is either an address that consists of nothing but what RFC 5321 takes without
 * quotes, or goes through put_words, which lets through printable ASCII and encodes the rest (RFC 2047): no value can end a line. The body is
 * quoted-printable, so that it passes servers of seven bits and lines have a length.
 */
#include <errno.h>
#include <time.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "notify/plain.h"
#include "notify/request.h"

#define BODY_MAX 65536
#define SUBJECT_MAX 200
#define LINE_MAX_CHARS 76 /* RFC 2045 section 6.7, RFC 2047 section 2 */
#define ADDRESS_MAX_CHARS 254
#define WORD_BYTES 42 /* 56 characters of base64, with "=?UTF-8?B?" and "?=" below 75 */

static bool all_of(const char *s, size_t n, const char *chars)
{
	for (size_t i = 0; i < n; i++) {
		bool alnum = (s[i] >= '0' && s[i] <= '9') || (s[i] >= 'A' && s[i] <= 'Z') || (s[i] >= 'a' && s[i] <= 'z');
		if (!alnum && (!s[i] || !strchr(chars, s[i])))
			return false;
	}
	return n > 0;
}

static bool address_valid(const char *s)
{
	const char *at = s ? strchr(s, '@') : NULL;
	return at && strlen(s) <= ADDRESS_MAX_CHARS && all_of(s, (size_t) (at - s), "!#$%&'*+-/=?^_`{|}~.") && all_of(at + 1, strlen(at + 1), ".-");
}

static void base64(Buf *b, const unsigned char *p, size_t n)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	for (size_t i = 0; i < n; i += 3) {
		size_t left = n - i;
		unsigned v = (unsigned) p[i] << 16 | (left > 1 ? (unsigned) p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0);
		buf_char(b, digits[v >> 18]);
		buf_char(b, digits[v >> 12 & 63]);
		buf_char(b, left > 1 ? digits[v >> 6 & 63] : '=');
		buf_char(b, left > 2 ? digits[v & 63] : '=');
	}
}

static bool is_plain(const char *s)
{
	for (const char *p = s; *p; p++)
		if (*p < ' ' || *p > '~')
			return false;
	return !strstr(s, "=?");
}

/** Unstructured text, folded; `used` is how much of the line its name takes. */
static void put_words(Buf *b, const char *s, size_t used)
{
	if (is_plain(s) && used + strlen(s) <= LINE_MAX_CHARS) {
		buf_str(b, s);
		return;
	}
	for (bool first = true; *s; first = false) {
		size_t n = text_prefix(s, WORD_BYTES);
		buf_str(b, first ? "=?UTF-8?B?" : "\r\n =?UTF-8?B?");
		base64(b, (const unsigned char *) s, n);
		buf_str(b, "?=");
		s += n;
	}
}

/** RFC 5322 section 3.3, in UTC and in English whatever the locale is. */
static void put_date(Buf *b, int64_t real_ns)
{
	static const char *const days[] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	time_t t = (time_t) (real_ns / NSEC_PER_SEC);
	struct tm tm;
	if (!gmtime_r(&t, &tm))
		return;
	buf_printf(b, "Date: %s, %d %s %d %02d:%02d:%02d +0000\r\n", days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour,
		tm.tm_min, tm.tm_sec);
}

static void put_subject(Buf *b, const Notice *n)
{
	AUTO_FREE char *title = notice_title(n);
	AUTO_BUF subject = BUF_INIT;
	TextOut o = { .buf = &subject, .room = SUBJECT_MAX, .unit = TEXT_BYTES };
	(void) text_put_raw(&o, "[stead] ");
	(void) text_put(&o, title);
	buf_str(b, "Subject: ");
	put_words(b, buf_cstr(&subject), strlen("Subject: "));
	buf_str(b, "\r\n");
}

/** The id is the notice's, so that a second delivery of the same mail is known as such; only its letters and digits go in. */
static void put_message_id(Buf *b, const Notice *n, const char *from)
{
	buf_str(b, "Message-ID: <");
	for (const char *p = n->id ? n->id : "0"; *p; p++)
		if (all_of(p, 1, ""))
			buf_char(b, *p);
	buf_printf(b, ".stead@%s>\r\n", strchr(from, '@') + 1);
}

static void put_quoted(Buf *b, const char *s)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t column = 0;
	for (; *s; s++) {
		unsigned char c = (unsigned char) *s;
		if (c == '\n') {
			buf_str(b, "\r\n");
			column = 0;
			continue;
		}
		bool last = !s[1] || s[1] == '\n';
		/* A space at the end of a line would get lost on the way. */
		bool plain = c != '=' && c <= '~' && (c > ' ' || (c == ' ' && !last));
		size_t width = plain ? 1 : 3;
		if (column + width > LINE_MAX_CHARS - (last ? 0 : 1)) {
			buf_str(b, "=\r\n");
			column = 0;
		}
		if (plain) {
			buf_char(b, (char) c);
		} else {
			buf_char(b, '=');
			buf_char(b, hex[c >> 4]);
			buf_char(b, hex[c & 15]);
		}
		column += width;
	}
}

static int check_addresses(const NotifyTarget *t, Err *err)
{
	if (!address_valid(t->from))
		return err_set(err, -EINVAL, "mail: 'from' is no address");
	for (char **p = t->to; p && *p; p++)
		if (!address_valid(*p))
			return err_set(err, -EINVAL, "mail: an address of 'to' is none");
	return t->to && *t->to ? 0 : err_set(err, -EINVAL, "mail: 'to' is empty");
}

int notify_mail(const NotifyTarget *t, const Notice *n, Buf *ret, Err *err)
{
	int r = check_addresses(t, err);
	if (r < 0)
		return r;
	AUTO_BUF text = BUF_INIT;
	TextOut o = { .buf = &text, .room = BODY_MAX, .unit = TEXT_BYTES };
	notice_plain(&o, n);
	put_date(ret, n->time);
	buf_printf(ret, "From: stead <%s>\r\nTo: ", t->from);
	for (char **p = t->to; *p; p++)
		buf_printf(ret, "%s%s", p == t->to ? "" : ",\r\n ", *p);
	buf_str(ret, "\r\n");
	put_subject(ret, n);
	put_message_id(ret, n, t->from);
	/* RFC 3834: no automatic answers, please. */
	buf_str(ret, "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=UTF-8\r\n"
		     "Content-Transfer-Encoding: quoted-printable\r\n\r\n");
	put_quoted(ret, buf_cstr(&text));
	return 0;
}
