// SPDX-License-Identifier: Apache-2.0

#include "net/resolv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"

#define RESOLV_BYTES_MAX (64U << 10) /* beyond: refused */
#define SPACE " \t\r"

/* Cuts the next word off *line; NULL at its end. */
static char *next_word(char **line)
{
	char *word = *line + strspn(*line, SPACE);
	size_t n = strcspn(word, SPACE);

	if (!n)
		return NULL;
	*line = word + n + (word[n] != 0);
	word[n] = 0;
	return word;
}

static void replace_words(char ***dst, char *line, size_t max)
{
	char *word;

	strv_free(*dst);
	*dst = NULL;
	while (max-- && (word = next_word(&line)))
		if (!str_has_control(word))
			strv_add(dst, word);
}

static void add_server(ResolvConf *c, const char *word)
{
	Addr a;

	/* A scoped address ("fe80::1%eth0") is skipped: addr_parse refuses it. */
	if (word && c->n_servers < RESOLV_SERVERS_MAX && addr_parse(word, &a) == 0)
		c->servers[c->n_servers++] = a;
}

void resolv_parse(const char *text, ResolvConf *ret)
{
	AUTO_FREE char *copy = xstrdup(text);
	char *next = copy, *line;

	memset(ret, 0, sizeof(*ret));
	while ((line = strsep(&next, "\n"))) {
		char *key = next_word(&line);

		if (!key || *key == '#' || *key == ';')
			continue;
		if (str_eq(key, "nameserver"))
			add_server(ret, next_word(&line));
		else if (str_eq(key, "search") || str_eq(key, "domain"))
			replace_words(&ret->search, line, RESOLV_SEARCH_MAX);
		else if (str_eq(key, "options"))
			replace_words(&ret->options, line, RESOLV_SEARCH_MAX);
	}
}

int resolv_read(const char *path, ResolvConf *ret, Err *err)
{
	AUTO_BUF text = BUF_INIT;
	int r;

	path = path ? path : "/etc/resolv.conf";
	r = file_read(AT_FDCWD, path, RESOLV_BYTES_MAX, &text);
	if (r < 0 && r != -ENOENT)
		return err_errno(err, r, "read %s", path);
	resolv_parse(buf_cstr(&text), ret);
	return 0;
}

void resolv_done(ResolvConf *r)
{
	strv_free(r->search);
	strv_free(r->options);
	memset(r, 0, sizeof(*r));
}
