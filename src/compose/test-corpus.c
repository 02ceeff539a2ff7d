// SPDX-License-Identifier: Apache-2.0
/*
 * Real compose files, where there are some: STEAD_CORPUS, else ../shared/corpus/compose beside the source tree, names a
 * directory with INDEX.tsv (repository, path, lines, services, class). Each file must resolve or be refused with a text that
 * names it; how many of which is printed. With STEAD_CORPUS_LIST=1 each refusal is printed, too.
 */
#include <fcntl.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "compose/emit.h"
#include "compose/load.h"

#define SKIPPED 77

typedef struct Tally {
	int resolved, unsupported, refused, broken;
} Tally;

static void try_file(const char *path, Tally *t)
{
	char *files[] = { (char *) path, NULL }, *profiles[] = { (char *) "*", NULL };
	char *environment[] = { (char *) "HOME=/root", NULL };
	const ComposeOptions o = { .files = files, .profiles = profiles, .environ = environment, .cwd = "/", .project_name = "p" };
	AUTO_STACK *s = NULL;
	AUTO_ERR err = ERR_INIT;
	if (compose_load(&o, &s, NULL, &err) == 0) {
		free(stack_to_yaml(s));
		t->resolved++;
		return;
	}
	const char *text = err_text(&err);
	if (getenv("STEAD_CORPUS_LIST"))
		printf("%s\n", text);
	if (strstr(text, "not supported")) {
		t->unsupported++;
	} else if (str_starts(text, path) || strchr(text, ':')) {
		t->refused++;
	} else {
		printf("no place in the error: %s: %s\n", path, text);
		t->broken++;
	}
}

int main(void)
{
	const char *dir = getenv("STEAD_CORPUS");
	if (!dir)
		dir = STEAD_SOURCE_ROOT "/../shared/corpus/compose";
	AUTO_FREE char *index = xasprintf("%s/INDEX.tsv", dir);
	AUTO_BUF text = BUF_INIT;
	if (file_read(AT_FDCWD, index, 16 << 20, &text) < 0) {
		printf("skipped: there is no corpus at %s\n", dir);
		return SKIPPED;
	}
	Tally t = { 0 };
	char *save = NULL;
	bool head = true;
	for (char *line = strtok_r(text.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save), head = false) {
		char *tab = strchr(line, '\t'), *end = tab ? strchr(tab + 1, '\t') : NULL;
		if (head || !end)
			continue;
		*tab = *end = '\0';
		for (char *p = line; *p; p++)
			if (*p == '/')
				*p = '+';
		AUTO_FREE char *path = xasprintf("%s/%s/%s", dir, line, tab + 1);
		try_file(path, &t);
	}
	printf("%d resolved, %d refused for what is not supported yet, %d refused otherwise\n", t.resolved, t.unsupported, t.refused);
	return t.broken || !t.resolved ? 1 : 0;
}
