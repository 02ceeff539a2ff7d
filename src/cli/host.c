// SPDX-License-Identifier: Apache-2.0
#include "cli/host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/options.h"

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#define HOST_MAX 255
#define SSH_FORM "write ssh://[USER@]HOST[:PORT][/PATH/TO/SOCKET]"

void host_address_done(HostAddress *a)
{
	free(a->user);
	free(a->host);
	free(a->port);
	free(a->path);
	*a = (HostAddress) { 0 };
}

/** It is written as a URL, not as a name. */
static bool host_is_url(const char *text)
{
	return strstr(text, "://") != NULL;
}

/* One part of an ssh URL: what it may consist of, and that it is no option. */
static int check_part(const char *url, const char *what, const char *s, const char *letters, Err *err)
{
	size_t n = strspn(s, letters);
	if (!*s)
		return err_set(err, -EINVAL, "%s: the %s is empty; " SSH_FORM, url, what);
	if (*s == '-')
		return err_set(err, -EINVAL, "%s: a %s that begins with '-' could be taken for an option of ssh", url, what);
	if (s[n] && ((unsigned char) s[n] < ' ' || (unsigned char) s[n] >= 0x7f))
		return err_set(err, -EINVAL, "the %s of an ssh:// address has a character that cannot be in it (byte 0x%02x)", what, (unsigned char) s[n]);
	if (s[n])
		return err_set(err, -EINVAL, "%s: the %s has '%c', which cannot be in it; for other names, make a Host in ~/.ssh/config", url, what, s[n]);
	if (strlen(s) > HOST_MAX)
		return err_set(err, -EINVAL, "the %s of an ssh:// address is longer than %d bytes", what, HOST_MAX);
	return 0;
}

static int check_socket(const char *url, const char *path, Err *err)
{
	if (*path != '/')
		return err_set(err, -EINVAL, "%s: the path of the socket must begin with /, as in unix:///run/stead/stead.sock", url);
	if (str_has_control(path))
		return err_set(err, -EINVAL, "the path of the socket has a control character");
	return 0;
}

static int parse_port(const char *url, const char *s, char **ret, Err *err)
{
	uint32_t port;
	if (parse_u32_max(s, 65535, &port) < 0 || port == 0)
		return err_set(err, -EINVAL, "%s: '%s' is no port; it is a number from 1 to 65535", url, s);
	*ret = xasprintf("%u", port);
	return 0;
}

/* "[USER@]HOST[:PORT]", "[USER@][IPv6][:PORT]" */
static int parse_authority(const char *url, char *text, HostAddress *a, Err *err)
{
	char *at = strrchr(text, '@'), *host = text, *port = NULL;
	if (at) {
		*at = '\0';
		host = at + 1;
		if (strchr(text, ':'))
			return err_set(err, -EINVAL, "an ssh:// address has no password; let ssh ask for it, or use a key (ssh-copy-id)");
		int r = check_part(url, "user", text, LETTERS "._-+@", err);
		if (r < 0)
			return r;
		a->user = xstrdup(text);
	}
	bool brackets = *host == '[';
	char *end = brackets ? strchr(host, ']') : strchr(host, ':');
	if (brackets && (!end || (end[1] && end[1] != ':')))
		return err_set(err, -EINVAL, "%s: an IPv6 address is written [ADDRESS] or [ADDRESS]:PORT", url);
	if (end) {
		port = brackets ? (end[1] ? end + 2 : NULL) : end + 1;
		*end = '\0';
	}
	host += brackets;
	if (!brackets && port && strchr(port, ':'))
		return err_set(err, -EINVAL, "%s: write an IPv6 address in brackets: ssh://[ADDRESS]", url);
	int r = check_part(url, "host", host, brackets ? LETTERS ":.%_-" : LETTERS "._-", err);
	if (r == 0 && port)
		r = parse_port(url, port, &a->port, err);
	if (r == 0)
		a->host = xstrdup(host);
	return r;
}

int host_parse(const char *url, HostAddress *ret, Err *err)
{
	AUTO_HOST a = { .ssh = str_starts(url, "ssh://") };
	int r;
	if (a.ssh) {
		const char *rest = url + strlen("ssh://");
		size_t n = strcspn(rest, "/");
		AUTO_FREE char *authority = xstrndup(rest, n);
		r = parse_authority(url, authority, &a, err);
		if (r == 0 && rest[n] && rest[n + 1]) {
			a.path = xstrdup(rest + n);
			r = check_socket(url, a.path, err);
		}
	} else if (str_starts(url, "unix://")) {
		a.path = xstrdup(url + strlen("unix://"));
		r = check_socket(url, a.path, err);
	} else {
		r = err_set(err, -EINVAL, "%s: a host is written unix:///PATH/TO/SOCKET or ssh://[USER@]HOST[:PORT], or is a name from the file of hosts", url);
	}
	if (r < 0)
		return r;
	*ret = a;
	a = (HostAddress) { 0 };
	return 0;
}

/* ---- named hosts ---- */

char *hosts_path(void)
{
	const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	if (!str_empty(config) && *config == '/')
		return xasprintf("%s/stead/hosts", config);
	return !str_empty(home) ? xasprintf("%s/.config/stead/hosts", home) : NULL;
}

typedef struct HostLine {
	char *name, *url;
} HostLine;

typedef struct HostLines {
	HostLine *items;
	size_t n;
} HostLines;

static void lines_done(HostLines *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->items[i].name);
		free(l->items[i].url);
	}
	free(l->items);
}

static const HostLine *line_of(const HostLines *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++)
		if (str_eq(l->items[i].name, name))
			return &l->items[i];
	return NULL;
}

static int check_name(const char *name, Err *err)
{
	if (*name != '-' && *name != '.' && *name != '_' && name[strspn(name, LETTERS "._-")] == '\0')
		return 0;
	return err_set(err, -EINVAL, "'%s' is no name for a host: it has letters, digits, '.', '_' and '-', and begins with a letter or digit", name);
}

static int take_line(HostLines *l, const char *line, Err *err)
{
	static const char space[] = " \t\r";
	AUTO_HOST unused = { 0 };
	const char *name = line + strspn(line, space);
	size_t name_len = strcspn(name, " \t\r#");
	if (!name_len)
		return 0;
	const char *url = name + name_len + strspn(name + name_len, space);
	size_t url_len = strcspn(url, " \t\r");
	const char *rest = url + url_len + strspn(url + url_len, space);
	if (!url_len || *url == '#' || (*rest && *rest != '#'))
		return err_set(err, -EINVAL, "a line is NAME URL, as in: pi ssh://admin@raspberrypi.local");
	HostLine item = { xstrndup(name, name_len), xstrndup(url, url_len) };
	int r = check_name(item.name, err);
	if (r == 0 && line_of(l, item.name))
		r = err_set(err, -EINVAL, "'%s' is there twice", item.name);
	if (r == 0)
		r = host_parse(item.url, &unused, err);
	*array_append(l->items, l->n) = item;
	return r;
}

typedef struct NameWalk {
	const HostLines *lines;
	size_t at;
} NameWalk;

static const char *next_name(void *state)
{
	NameWalk *w = state;
	return w->at < w->lines->n ? w->lines->items[w->at++].name : NULL;
}

int hosts_find(const char *text, const char *file, const char *name, char **ret, Err *err)
{
	AUTO(lines_done) HostLines l = { 0 };
	unsigned number = 0;
	if (!str_is_utf8(text, strlen(text)))
		return err_set(err, -EINVAL, "%s: not UTF-8", file);
	for (const char *at = text; *at;) {
		size_t n = strcspn(at, "\n");
		AUTO_FREE char *line = xstrndup(at, n);
		number++;
		if (take_line(&l, line, err) < 0)
			return err_wrap(err, "%s:%u", file, number);
		at += n + (at[n] == '\n');
	}
	const HostLine *found = line_of(&l, name);
	if (found) {
		*ret = xstrdup(found->url);
		return 0;
	}
	NameWalk walk = { .lines = &l };
	const char *near = nearest_word(name, next_name, &walk);
	return err_set(err, -ENOENT, "%s: there is no host '%s' in %s%s%s%s", name, name, file, near ? "; did you mean '" : "", near ? near : "",
		near ? "'?" : "; add a line: NAME ssh://USER@HOST");
}

/* "pi@box", "box:2222": as other programs take them. */
static bool is_address(const char *text)
{
	AUTO_HOST unused = { 0 };
	AUTO_FREE char *url = xasprintf("ssh://%s", text);
	return strpbrk(text, "@:") && host_parse(url, &unused, NULL) == 0;
}

int host_resolve(const char *text, char **ret, Err *err)
{
	AUTO_BUF content = BUF_INIT;
	if (host_is_url(text)) {
		*ret = xstrdup(text);
		return 0;
	}
	int r = check_name(text, err);
	if (r < 0)
		return is_address(text) ? err_set(err, r, "%s: an address is written ssh://%s", text, text) : r;
	AUTO_FREE char *file = hosts_path();
	if (!file)
		return err_set(err, -ENOENT, "%s: names of hosts are in ~/.config/stead/hosts, and HOME is not set", text);
	r = file_read(AT_FDCWD, file, HOSTS_FILE_MAX, &content);
	if (r == -ENOENT)
		return err_set(err, r, "%s: write unix:///PATH/TO/SOCKET or ssh://[USER@]HOST[:PORT]; for a name of your own, make the file %s "
			"with a line: %s ssh://USER@HOST", text, file, text);
	if (r < 0)
		return err_errno(err, r, "%s: cannot read %s", text, file);
	if (strlen(buf_cstr(&content)) != content.len)
		return err_set(err, -EINVAL, "%s: %s is no text, it has a byte 0", text, file);
	return hosts_find(buf_cstr(&content), file, text, ret, err);
}
