// SPDX-License-Identifier: Apache-2.0
/*
 * YAML bytes to a stack. What is accepted must, written as YAML, load to the same stack; every error must have a text.
 */
#include <errno.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"
#include "compose/emit.h"
#include "compose/pipeline.h"
#include "compose/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libfyaml 0.7 loses a buffer of its reader on some syntax errors; a load ends its process soon after. */
const char *__lsan_default_suppressions(void)
{
	return "leak:libfyaml";
}

static const char *get(void *user, const char *name)
{
	return str_eq(name, "HOME") ? "/home/u" : str_eq(name, "A") ? "one" : NULL;
}

static int read_none(void *user, const char *path, size_t max, Buf *ret)
{
	return -ENOENT;
}

static int load_text(const char *text, size_t n, Stack **ret, Err *err)
{
	Load l = { .err = err, .project_dir = "/srv/p", .vars = { .get = get } };
	char *files[] = { (char *) "f.yaml", NULL }, *profiles[] = { (char *) "*", NULL };
	const ResolveOptions o = { .project = "p", .read = read_none, .profiles = profiles };
	Node **docs = NULL;
	size_t n_docs = 0;
	l.files = files;
	int e = yaml_parse(&l, 0, text, n, &docs, &n_docs);
	if (e == 0 && n_docs && node_is_map(docs[0]) && (n_docs == 1 || node_is_map(docs[1])))
		e = pipeline_run(&l, docs, n_docs > 2 ? 2 : n_docs, NULL, &o, ret);
	else if (e == 0)
		e = err_set(err, -EINVAL, "no documents");
	strv_free(l.warnings);
	arena_done(&l.arena);
	return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_STACK *s = NULL, *again = NULL;
	int e = load_text((const char *) data, size, &s, &err);
	if (e < 0 && !err.text)
		abort();
	if (e < 0)
		return 0;
	AUTO_FREE char *yaml = stack_to_yaml(s);
	if (load_text(yaml, strlen(yaml), &again, &err) < 0) {
		fprintf(stderr, "%s\nis not accepted again: %s\n", yaml, err_text(&err));
		abort();
	}
	AUTO_FREE char *second = stack_to_yaml(again);
	if (!str_eq(yaml, second)) {
		fprintf(stderr, "%s\nbecomes\n%s\n", yaml, second);
		abort();
	}
	return 0;
}
