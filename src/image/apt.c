// SPDX-License-Identifier: Apache-2.0
/*
 * The host's sources say where its packages come from best: a mirror near it, a proxy, a snapshot. Of
 * them, only those are taken that serve the distribution itself, told by their suite (the code name, or it
 * with -updates or -security); a repository of somebody else has no say in what an image contains.
 */
#include "image/apt.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <strings.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/command.h"

#define FILE_MAX (1U << 20)
#define BLANKS " \t"

static void source_done(AptSource *s)
{
	free(s->uri);
	free(s->suite);
	strv_free(s->components);
	free(s->options);
	free(s->signed_by);
	free(s->key);
}

void apt_sources_done(AptSources *s)
{
	for (size_t i = 0; i < s->n; i++)
		source_done(&s->items[i]);
	free(s->items);
	*s = (AptSources) { 0 };
}

static AptSource *add_source(AptSources *s, const char *uri, const char *suite, char *const *components)
{
	AptSource *a = array_append(s->items, s->n);
	a->uri = xstrdup(uri);
	a->suite = xstrdup(suite);
	a->components = strv_dup(components);
	return a;
}

static void split(char *text, const char *separators, char ***ret)
{
	char *save = NULL;
	for (char *p = strtok_r(text, separators, &save); p; p = strtok_r(NULL, separators, &save))
		strv_add(ret, p);
}

/* "[arch=amd64 signed-by=/x trusted=yes]" without its brackets. */
static void list_options(char *text, char **ret_signed_by, Buf *ret_others)
{
	AUTO_STRV char **options = NULL;
	split(text, BLANKS, &options);
	for (char **o = options; o && *o; o++) {
		if (str_starts(*o, "signed-by="))
			str_set(ret_signed_by, *o + strlen("signed-by="));
		else if (str_starts(*o, "trusted=") || str_starts(*o, "check-valid-until=") || str_starts(*o, "check-date="))
			buf_printf(ret_others, "%s%s", ret_others->len ? " " : "", *o);
	}
}

static void parse_line(char *line, AptSources *ret)
{
	AUTO_FREE char *signed_by = NULL;
	AUTO_BUF options = BUF_INIT;
	AUTO_STRV char **words = NULL;
	line += strspn(line, BLANKS);
	if (!str_starts(line, "deb") || !strchr(BLANKS, line[3]) || !line[3])
		return;
	line += 3 + strspn(line + 3, BLANKS);
	if (*line == '[') {
		char *end = strchr(line, ']');
		if (!end)
			return;
		*end = '\0';
		list_options(line + 1, &signed_by, &options);
		line = end + 1;
	}
	line[strcspn(line, "#")] = '\0';
	split(line, BLANKS, &words);
	if (strv_len(words) < 2)
		return;
	AptSource *a = add_source(ret, words[0], words[1], words + 2);
	a->signed_by = signed_by && signed_by[0] == '/' ? steal_ptr(&signed_by) : NULL;
	a->options = options.len ? buf_steal(&options) : NULL;
}

void apt_parse_list(const char *text, AptSources *ret)
{
	AUTO_FREE char *copy = xstrdup(text);
	char *save = NULL;
	for (char *line = strtok_r(copy, "\r\n", &save); line; line = strtok_r(NULL, "\r\n", &save))
		parse_line(line, ret);
}

/* One stanza: fields, of which those that matter. */
typedef struct Stanza {
	char *types, *uris, *suites, *components, *signed_by, *enabled, *trusted;
} Stanza;

static void stanza_done(Stanza *s)
{
	free(s->types);
	free(s->uris);
	free(s->suites);
	free(s->components);
	free(s->signed_by);
	free(s->enabled);
	free(s->trusted);
	*s = (Stanza) { 0 };
}

static char **stanza_field(Stanza *s, const char *name, size_t n)
{
	const struct {
		const char *name;
		char **value;
	} fields[] = {
		{ "Types", &s->types }, { "URIs", &s->uris }, { "Suites", &s->suites }, { "Components", &s->components },
		{ "Signed-By", &s->signed_by }, { "Enabled", &s->enabled }, { "Trusted", &s->trusted },
	};
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (strlen(fields[i].name) == n && strncasecmp(fields[i].name, name, n) == 0)
			return fields[i].value;
	return NULL;
}

/* Continuation lines of a key block: one blank off, " ." is an empty line. */
static void append_line(char **value, const char *line)
{
	line += line[0] == ' ' || line[0] == '\t';
	char *joined = xasprintf("%s\n%s", *value ? *value : "", str_eq(line, ".") ? "" : line);
	free(*value);
	*value = joined;
}

static void stanza_end(Stanza *s, AptSources *ret)
{
	AUTO_STRV char **types = NULL;
	AUTO_STRV char **uris = NULL;
	AUTO_STRV char **suites = NULL;
	AUTO_STRV char **components = NULL;
	bool off = s->enabled && (strcasecmp(s->enabled, "no") == 0 || strcasecmp(s->enabled, "false") == 0 || str_eq(s->enabled, "0"));
	if (!off && s->types && s->uris && s->suites) {
		AUTO_FREE char *key = s->signed_by && strstr(s->signed_by, "-----BEGIN PGP") ? xstrdup(strstr(s->signed_by, "-----BEGIN PGP")) :
											       NULL;
		split(s->types, BLANKS "\n", &types);
		split(s->uris, BLANKS "\n", &uris);
		split(s->suites, BLANKS "\n", &suites);
		if (s->components)
			split(s->components, BLANKS "\n", &components);
		for (char **u = strv_has(types, "deb") ? uris : NULL; u && *u; u++)
			for (char **suite = suites; *suite; suite++) {
				AptSource *a = add_source(ret, *u, *suite, components);
				a->key = xstrdup(key);
				if (!key && s->signed_by && s->signed_by[0] == '/')
					a->signed_by = xstrndup(s->signed_by, strcspn(s->signed_by, BLANKS ",\n"));
				if (s->trusted && strcasecmp(s->trusted, "yes") == 0)
					a->options = xstrdup("trusted=yes");
			}
	}
	stanza_done(s);
}

void apt_parse_deb822(const char *text, AptSources *ret)
{
	Stanza s = { 0 };
	char **value = NULL;
	while (*text) {
		size_t n = strcspn(text, "\n");
		AUTO_FREE char *line = xstrndup(text, n && text[n - 1] == '\r' ? n - 1 : n);
		text += n + (text[n] == '\n');
		if (!line[strspn(line, BLANKS)]) {
			stanza_end(&s, ret);
			value = NULL;
		} else if (line[0] == ' ' || line[0] == '\t') {
			if (value)
				append_line(value, line);
		} else if (line[0] != '#') {
			size_t colon = strcspn(line, ":");
			value = line[colon] ? stanza_field(&s, line, colon) : NULL;
			if (value)
				str_set(value, line + colon + 1 + strspn(line + colon + 1, BLANKS));
		}
	}
	stanza_end(&s, ret);
}

char *apt_os_release(const char *text, const char *key)
{
	size_t n = strlen(key);
	for (const char *line = text; line && *line; line = strchr(line, '\n'), line += line != NULL) {
		if (strncmp(line, key, n) != 0 || line[n] != '=')
			continue;
		const char *v = line + n + 1;
		const char *quote = *v == '"' || *v == '\'' ? v++ : NULL;
		char end[] = { quote ? *quote : '\n', '\n', '\0' };
		return xstrndup(v, strcspn(v, end));
	}
	return NULL;
}

/* The suite for `suite` that a source of the host's `codename` stands for, or NULL if it is none of the distribution's. */
static char *translate(const char *source_suite, const char *codename, const char *suite)
{
	static const char *const endings[] = { "", "-updates", "-security" };
	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		AUTO_FREE char *name = xasprintf("%s%s", codename, endings[i]);
		if (str_eq(source_suite, name))
			return xasprintf("%s%s", suite, endings[i]);
	}
	return NULL;
}

void apt_select(const AptSources *all, const char *codename, const char *suite, AptSources *ret)
{
	for (size_t i = 0; i < all->n; i++) {
		const AptSource *a = &all->items[i];
		/* What lies on the host's disk or in its drive cannot be reached from inside an image's root. */
		if (!str_starts(a->uri, "http://") && !str_starts(a->uri, "https://"))
			continue;
		if (!strv_has(a->components, "main"))
			continue;
		AUTO_FREE char *name = translate(a->suite, codename, suite);
		bool seen = false;
		for (size_t k = 0; name && k < ret->n; k++)
			seen = seen || (str_eq(ret->items[k].uri, a->uri) && str_eq(ret->items[k].suite, name) &&
					       strv_eq(ret->items[k].components, a->components));
		if (!name || seen)
			continue;
		AptSource *b = add_source(ret, a->uri, name, a->components);
		b->options = xstrdup(a->options);
		b->signed_by = xstrdup(a->signed_by);
		b->key = xstrdup(a->key);
	}
}

static void read_source_file(int dirfd, const char *name, AptSources *ret)
{
	AUTO_BUF b = BUF_INIT;
	if (file_read(dirfd, name, FILE_MAX, &b) < 0)
		return;
	if (str_ends(name, ".sources"))
		apt_parse_deb822(buf_cstr(&b), ret);
	else if (str_ends(name, ".list"))
		apt_parse_list(buf_cstr(&b), ret);
}

static void read_host(AptSources *ret)
{
	read_source_file(AT_FDCWD, "/etc/apt/sources.list", ret);
	DIR *d = opendir("/etc/apt/sources.list.d");
	struct dirent *e;
	while (d && (e = readdir(d)))
		read_source_file(dirfd(d), e->d_name, ret);
	if (d)
		(void) closedir(d);
}

static int one_mirror(const char *mirror, const char *suite, AptSources *ret)
{
	/* Ubuntu keeps most servers in universe; asking Debian for it would fail. */
	AUTO_STRV char **components = NULL;
	strv_add(&components, "main");
	if (strstr(mirror, "ubuntu"))
		strv_add(&components, "universe");
	(void) add_source(ret, mirror, suite, components);
	return 0;
}

int apt_host_sources(const char *suite, const char *mirror, AptSources *ret, char **ret_suite, Err *err)
{
	AUTO_BUF b = BUF_INIT;
	AptSources all = { 0 };
	if (file_read(AT_FDCWD, "/etc/os-release", FILE_MAX, &b) < 0)
		(void) file_read(AT_FDCWD, "/usr/lib/os-release", FILE_MAX, &b);
	AUTO_FREE char *codename = apt_os_release(buf_cstr(&b), "VERSION_CODENAME");
	if (!suite && !codename)
		return err_set(err, -ENOTSUP,
			"the host's os-release names no distribution with code names: say which packages with --suite and --mirror");
	if (!suite)
		suite = codename;
	*ret_suite = xstrdup(suite);
	if (mirror)
		return one_mirror(mirror, suite, ret);
	read_host(&all);
	if (codename)
		apt_select(&all, codename, suite, ret);
	apt_sources_done(&all);
	if (ret->n == 0) {
		free_and_null(ret_suite);
		return err_set(err, -ENOTSUP,
			"no http source of %s in /etc/apt/sources.list or /etc/apt/sources.list.d: say where packages come from with "
			"--mirror URL",
			codename ? codename : "a distribution");
	}
	return 0;
}

void apt_write_list(const AptSources *s, const char *keys, Buf *ret)
{
	for (size_t i = 0; i < s->n; i++) {
		const AptSource *a = &s->items[i];
		AUTO_BUF options = BUF_INIT;
		if (a->options)
			buf_str(&options, a->options);
		if (keys && (a->key || a->signed_by)) {
			/* apt tells the armoured from the binary form by the ending. */
			bool armoured = a->key || str_ends(a->signed_by, ".asc");
			buf_printf(&options, "%ssigned-by=%s/key-%zu.%s", options.len ? " " : "", keys, i, armoured ? "asc" : "gpg");
		} else if (!keys && a->signed_by) {
			buf_printf(&options, "%ssigned-by=%s", options.len ? " " : "", a->signed_by);
		}
		buf_str(ret, "deb ");
		if (options.len)
			buf_printf(ret, "[%s] ", options.data);
		buf_printf(ret, "%s %s", a->uri, a->suite);
		for (char **c = a->components; c && *c; c++)
			buf_printf(ret, " %s", *c);
		buf_char(ret, '\n');
	}
}

void apt_filter_acquire(const char *dump, Buf *ret)
{
	static const char *const wanted[] = {
		"Acquire::http", "Acquire::https", "Acquire::Retries", "Acquire::ForceIPv", "Acquire::Check-Valid-Until",
		"Acquire::Check-Date", "Acquire::Max-FutureTime", "Acquire::By-Hash",
	};
	while (*dump) {
		size_t n = strcspn(dump, "\n");
		AUTO_FREE char *line = xstrndup(dump, n);
		dump += n + (dump[n] == '\n');
		/* A program that finds the proxy runs on the host (detect_proxy), not inside the image. */
		if (strstr(line, "Auto-Detect") || strstr(line, "AutoDetect") || str_ends(line, " \"\";"))
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
			if (str_starts(line, wanted[i])) {
				buf_printf(ret, "%s\n", line);
				break;
			}
	}
}

/* Asks the host's proxy finder (apt.conf(5), Acquire::http::Proxy-Auto-Detect), as apt itself does. */
static void detect_proxy(const char *dump, Buf *ret)
{
	static const char *const keys[] = { "Acquire::http::Proxy-Auto-Detect \"", "Acquire::http::ProxyAutoDetect \"" };
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *p = strstr(dump, keys[i]);
		if (!p)
			continue;
		p += strlen(keys[i]);
		AUTO_FREE char *program = xstrndup(p, strcspn(p, "\""));
		const char *argv[] = { program, "http://deb.debian.org/debian", NULL };
		AUTO_BUF out = BUF_INIT;
		if (program[0] != '/' || command_output(argv, &out) != 0)
			continue;
		AUTO_FREE char *proxy = xstrndup(buf_cstr(&out), strcspn(buf_cstr(&out), " \r\n\""));
		if (str_starts(proxy, "http"))
			buf_printf(ret, "Acquire::http::Proxy \"%s\";\n", proxy);
		return;
	}
}

void apt_host_acquire(Buf *ret)
{
	static const char *const argv[] = { "apt-config", "dump", "Acquire", NULL };
	AUTO_BUF out = BUF_INIT;
	if (command_output(argv, &out) != 0)
		return;
	apt_filter_acquire(buf_cstr(&out), ret);
	detect_proxy(buf_cstr(&out), ret);
}
