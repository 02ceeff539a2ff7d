// SPDX-License-Identifier: Apache-2.0
/*
 * Every byte that belongs to a secret is marked, whatever overlaps with what; each run of marks becomes "***". Values are found through a
 * table of hashes of their first four bytes, so that a stack with thousands of them costs no more than one with three.
 */
#include "notify/mask.h"

#include <ctype.h>
#include <stdint.h>
#include <strings.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

#define STARS "***"
#define VALUE_MIN 4
#define VALUE_ANYWHERE 8 /* from this length on, inside of words too */
#define LINE_MIN 8       /* a line of a secret of several lines */
#define TOKEN_MIN 16     /* what is shorter may be a word */
#define BUCKETS 1024     /* a power of two */

typedef struct MaskValue {
	char *text;
	size_t len;
	size_t next; /* index + 1 in the same bucket */
} MaskValue;

struct Mask {
	MaskValue *values;
	size_t n_values;
	size_t buckets[BUCKETS]; /* index + 1 */
};

Mask *mask_new(void)
{
	return xcalloc(1, sizeof(Mask));
}

void mask_free(Mask *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->n_values; i++)
		free(m->values[i].text);
	free(m->values);
	free(m);
}

void mask_freep(Mask **m)
{
	mask_free(*m);
}

static size_t bucket_of(const char *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof(v));
	return (size_t) (v * 2654435761U >> 22) & (BUCKETS - 1);
}

/* ---- values ---- */

static bool is_common(const char *s)
{
	static const char *const words[] = { "true", "false", "none", "null", "auto", "default", "disable", "disabled", "enable", "enabled", "required",
					     "optional", "localhost", "production", "development", "undefined", NULL };
	for (size_t i = 0; words[i]; i++)
		if (strcasecmp(s, words[i]) == 0)
			return true;
	return false;
}

/** Takes ownership. */
static void add_exact(Mask *m, char *text)
{
	size_t len = strlen(text);
	if (len < VALUE_MIN || is_common(text)) {
		free(text);
		return;
	}
	size_t *head = &m->buckets[bucket_of(text)];
	for (size_t i = *head; i; i = m->values[i - 1].next)
		if (m->values[i - 1].len == len && memcmp(m->values[i - 1].text, text, len) == 0) {
			free(text);
			return;
		}
	MaskValue *v = array_append(m->values, m->n_values);
	*v = (MaskValue) { .text = text, .len = len, .next = *head };
	*head = m->n_values;
}

static void add_spellings(Mask *m, const char *s, size_t n)
{
	static const char digits[] = "0123456789ABCDEF";
	AUTO_BUF url = BUF_INIT;
	AUTO_BUF json = BUF_INIT;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char) s[i];
		if (isalnum(c) || strchr("-._~", c)) {
			buf_char(&url, s[i]);
		} else {
			buf_char(&url, '%');
			buf_char(&url, digits[c >> 4]);
			buf_char(&url, digits[c & 15]);
		}
		if (c == '"' || c == '\\')
			buf_char(&json, '\\');
		buf_char(&json, s[i]);
	}
	add_exact(m, xstrndup(s, n));
	add_exact(m, buf_steal(&url));
	add_exact(m, buf_steal(&json));
}

void mask_add(Mask *m, const char *value)
{
	if (!value)
		return;
	bool several = value[strcspn(value, "\n")] && value[strcspn(value, "\n") + 1];
	for (const char *p = value; *p;) {
		size_t n = strcspn(p, "\n"), len = n;
		while (len && (p[len - 1] == '\r' || p[len - 1] == ' '))
			len--;
		if (len >= (several ? LINE_MIN : VALUE_MIN))
			add_spellings(m, p, len);
		p += n + (p[n] == '\n');
	}
}

/** Words between underscores, as in DB_PASS; longer ones may also be inside a word, as in MYPASSWORD. */
bool mask_name_is_secret(const char *name)
{
	static const char *const inside[] = { "PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "TOKEN", "CREDENTIAL", "APIKEY", "PRIVATEKEY", "ACCESSKEY", NULL };
	static const char *const words[] = { "PASS", "PW", "PWD", "KEY", "AUTH", "DSN", "SALT", NULL };
	char upper[128];
	size_t n = 0;
	for (; name[n] && n < sizeof(upper) - 1; n++)
		upper[n] = name[n] == '-' || name[n] == '.' ? '_' : (char) toupper((unsigned char) name[n]);
	upper[n] = '\0';
	if (str_ends(upper, "_FILE") || strstr(upper, "PUBLIC") || str_eq(upper, "PWD") || str_eq(upper, "OLDPWD"))
		return false;
	for (size_t i = 0; inside[i]; i++)
		if (strstr(upper, inside[i]))
			return true;
	for (const char *p = upper; *p;) {
		size_t len = strcspn(p, "_");
		for (size_t i = 0; words[i]; i++)
			if (len == strlen(words[i]) && strncmp(p, words[i], len) == 0)
				return true;
		p += len + (p[len] == '_');
	}
	return false;
}

/** user:password@ in a URL at `s`, which stands behind "://": where the password is, or false. */
static bool find_password(const char *s, size_t *ret_from, size_t *ret_to)
{
	size_t end = strcspn(s, "/?#\"'<> \t\r\n"), at = end;
	while (at && s[at] != '@')
		at--;
	/* A password that was not encoded may hold a slash: up to the last @ of the word then. */
	if (at == 0 && memchr(s, ':', end)) {
		end = strcspn(s, "\"'<> \t\r\n");
		for (at = end; at && s[at] != '@'; at--)
			;
		const char *slash = memchr(s, '/', end);
		const char *colon = memchr(s, ':', end);
		/* host:8080/path@x is none: a port is digits alone. */
		if (at && colon && slash && colon < slash && strspn(colon + 1, "0123456789") == (size_t) (slash - colon - 1))
			at = 0;
	}
	if (at == 0)
		return false;
	const char *colon = memchr(s, ':', at);
	if (colon && (size_t) (colon - s) + 1 == at)
		return false;
	if (!colon && at < TOKEN_MIN) /* git@, ubuntu@: a name; tokens are longer */
		return false;
	*ret_from = colon ? (size_t) (colon - s) + 1 : 0;
	*ret_to = at;
	return true;
}

static void add_passwords(Mask *m, const char *s)
{
	size_t from, to;
	for (const char *p = s; (p = strstr(p, "://"));) {
		p += 3;
		if (!find_password(p, &from, &to))
			continue;
		AUTO_FREE char *password = xstrndup(p + from, to - from);
		mask_add(m, password);
	}
}

void mask_add_variable(Mask *m, const char *assignment)
{
	const char *eq = strchr(assignment, '=');
	if (!eq)
		return;
	AUTO_FREE char *name = xstrndup(assignment, (size_t) (eq - assignment));
	add_passwords(m, eq + 1);
	if (!mask_name_is_secret(name))
		return;
	mask_add(m, eq + 1);
	/* BASIC_AUTH=user:password */
	const char *colon = strchr(eq + 1, ':');
	if (colon && colon[1] != '/')
		mask_add(m, colon + 1);
}

void mask_add_target(Mask *m, const NotifyTarget *t)
{
	const char *host = t->url ? strstr(t->url, "://") : NULL;
	mask_add(m, t->token);
	mask_add(m, t->password);
	if (!host)
		return;
	add_passwords(m, t->url);
	/* Whoever knows the path of a webhook, or a topic, can write to it. */
	const char *path = strchr(host + 3, '/');
	if (t->kind != NOTIFY_MAIL && path && (t->kind == NOTIFY_NTFY || strlen(path + 1) >= TOKEN_MIN))
		mask_add(m, path + 1);
}

/* ---- text ---- */

static bool is_word(char c)
{
	return isalnum((unsigned char) c) || c == '_';
}

static void mark_values(const Mask *m, const char *s, size_t n, bool *marks)
{
	for (size_t at = 0; at + VALUE_MIN <= n; at++)
		for (size_t i = m->buckets[bucket_of(s + at)]; i; i = m->values[i - 1].next) {
			const MaskValue *v = &m->values[i - 1];
			if (v->len > n - at || memcmp(s + at, v->text, v->len) != 0)
				continue;
			bool whole = (at == 0 || !is_word(s[at - 1])) && !is_word(s[at + v->len]);
			if (v->len >= VALUE_ANYWHERE || whole)
				memset(marks + at, 1, v->len);
		}
}

static void mark_urls(const char *s, bool *marks)
{
	size_t from, to;
	for (const char *p = s; (p = strstr(p, "://"));) {
		p += 3;
		if (find_password(p, &from, &to))
			memset(marks + (p - s) + from, 1, to - from);
	}
}

/** ?token=…, &api_key=… */
static void mark_queries(const char *s, bool *marks)
{
	for (const char *p = s; (p = strpbrk(p, "?&"));) {
		p++;
		size_t key = strcspn(p, "=&?#\"'<> \t\r\n");
		if (p[key] != '=' || key == 0 || key > 64)
			continue;
		AUTO_FREE char *name = xstrndup(p, key);
		const char *value = p + key + 1;
		if (mask_name_is_secret(name) || strcasecmp(name, "sig") == 0 || strcasecmp(name, "signature") == 0)
			memset(marks + (value - s), 1, strcspn(value, "&#\"'<> \t\r\n"));
	}
}

static bool is_scheme(const char *s, size_t n)
{
	static const char *const schemes[] = { "basic", "bearer", "token", "digest", "apikey", "negotiate", NULL };
	for (size_t i = 0; schemes[i]; i++)
		if (n == strlen(schemes[i]) && strncasecmp(s, schemes[i], n) == 0)
			return true;
	return false;
}

/** "Authorization: Bearer …", in JSON too; and "Bearer …" alone, where what follows is long enough to be no word. */
static void mark_headers(const char *s, bool *marks)
{
	for (const char *p = s; (p = strcasestr(p, "authorization"));) {
		p += strlen("authorization");
		const char *v = p + strspn(p, "\"' ");
		if (*v != ':' && *v != '=')
			continue;
		v += 1 + strspn(v + 1, "\"' ");
		size_t word = strcspn(v, " \"'\r\n");
		if (v[word] == ' ' && is_scheme(v, word))
			memset(marks + (v - s) + word + 1, 1, strcspn(v + word + 1, "\"'\r\n"));
		else if (word >= TOKEN_MIN)
			memset(marks + (v - s), 1, word);
	}
	for (const char *p = s; (p = strcasestr(p, "bearer "));) {
		p += strlen("bearer ");
		size_t n = strspn(p, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=");
		if (n >= TOKEN_MIN)
			memset(marks + (p - s), 1, n);
	}
}

char *mask_text(const Mask *m, const char *s)
{
	size_t n = strlen(s);
	AUTO_FREE bool *marks = xcalloc(n + 1, sizeof(*marks));
	AUTO_BUF b = BUF_INIT;
	if (m)
		mark_values(m, s, n, marks);
	mark_urls(s, marks);
	mark_queries(s, marks);
	mark_headers(s, marks);
	for (size_t i = 0; i < n;) {
		size_t run = i;
		while (run < n && marks[run] == marks[i])
			run++;
		if (marks[i])
			buf_str(&b, STARS);
		else
			buf_append(&b, s + i, run - i);
		i = run;
	}
	return buf_steal(&b);
}

char **mask_lines(const Mask *m, char *const *lines)
{
	char **v = NULL;
	for (; lines && *lines; lines++)
		strv_take(&v, mask_text(m, *lines));
	return v;
}
