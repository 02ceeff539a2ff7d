// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "dockerfile/graph.h"

/* "1:stage 0 [0]" for each stage of the graph, or the error. */
static char *graph(const char *text, const char *target, char *const *contexts)
{
	AUTO(dockerfile_freep) Dockerfile *f = NULL;
	AUTO(scope_freep) Scope *s = NULL;
	AUTO(graph_freep) Graph *g = NULL;
	AUTO_ERR err = ERR_INIT;
	const BuildArguments a = { .build_platform = "linux/amd64" };
	if (dockerfile_parse("Dockerfile", text, strlen(text), &f, &err) < 0 || scope_new_global(f, &a, &s, &err) < 0 ||
		dockerfile_graph(f, s, contexts, target, &g, &err) < 0)
		return xasprintf("E %s", err_text(&err));
	AUTO_BUF b = BUF_INIT;
	for (size_t k = 0; k < g->n_stages; k++) {
		static const char *const kinds[] = { "scratch", "stage", "image", "context" };
		const GraphStage *n = &g->stages[k];
		buf_printf(&b, "%s%zu:%s", k ? " " : "", n->stage, kinds[n->base.kind]);
		if (n->base.name)
			buf_printf(&b, ",%s", n->base.name);
		if (n->base.kind == FROM_STAGE)
			buf_printf(&b, ",%zu", n->base.stage);
		if (n->platform)
			buf_printf(&b, "@%s", n->platform);
		for (size_t m = 0; m < n->n_needs; m++)
			buf_printf(&b, "%c%zu", m ? ',' : '<', n->needs[m]);
	}
	return buf_steal(&b);
}

static void graphs(void **state)
{
	static const char *const cases[][3] = {
		{ "FROM a", NULL, "0:image,a" },
		{ "FROM scratch", NULL, "0:scratch" },
		{ "ARG v=1\nFROM --platform=$BUILDPLATFORM a:$v", NULL, "0:image,a:1@linux/amd64" },
		{ "FROM --platform=${none} a", NULL, "0:image,a" },
		{ "FROM a AS b\nFROM b", NULL, "0:image,a 1:stage,0<0" },
		{ "FROM a AS b\nFROM B", NULL, "0:image,a 1:stage,0<0" },
		{ "FROM a AS b\nFROM c", NULL, "1:image,c" },
		{ "FROM a AS b\nFROM c", "b", "0:image,a" },
		{ "FROM a AS b\nFROM c", "B", "0:image,a" },
		{ "FROM a AS b\nFROM c", "0", "0:image,a" },
		{ "FROM node AS node", NULL, "0:image,node" },
		{ "FROM a\nFROM b\nFROM scratch\nCOPY --from=0 x y\nCOPY --from=1 x y", NULL, "0:image,a 1:image,b 2:scratch<0,1" },
		{ "FROM a AS x\nFROM b AS y\nFROM c\nCOPY --from=y p q\nCOPY --from=X p q\nCOPY --from=y p r\nCOPY --from=im:1 p q", NULL,
			"1:image,b 0:image,a 2:image,c<0,1" },
		{ "FROM a AS x\nFROM b\nRUN --mount=type=bind,from=x,target=/t y", NULL, "0:image,a 1:image,b<0" },
		{ "FROM a AS x\nFROM b\nRUN --mount=type=cache,from=x,target=/t --mount=from=i,target=/u y", NULL, "0:image,a 1:image,b<0" },
		{ "FROM a AS x\nFROM x AS y\nFROM y AS z\nFROM x\nCOPY --from=z p q", NULL, "0:image,a 1:stage,0<0 2:stage,1<1 3:stage,0<0,2" },
		/* As in BuildKit, what is copied may come later; a base may not, that is an image. */
		{ "FROM a AS x\nCOPY --from=y p q\nFROM b AS y\nFROM x", NULL, "1:image,b 0:image,a<0 2:stage,0<1" },
		{ "FROM a AS x\nCOPY --from=1 p q\nFROM b AS y\nFROM x", NULL, "1:image,b 0:image,a<0 2:stage,0<1" },
		{ "FROM y AS x\nFROM b AS y\nFROM x", NULL, "0:image,y 2:stage,0<0" },
		/* The last one of the name before. */
		{ "FROM a AS x\nFROM b AS x\nFROM x", NULL, "1:image,b 2:stage,1<0" },
		/* ONBUILD counts where it runs. */
		{ "FROM a AS x\nFROM b AS y\nONBUILD COPY --from=x p q\nFROM y", NULL, "1:image,b 0:image,a 2:stage,1<0,1" },
		{ "FROM a AS x\nFROM b AS y\nONBUILD COPY --from=x p q", NULL, "1:image,b" },
	};
	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		AUTO_FREE char *out = graph(cases[k][0], cases[k][1], NULL);
		if (!str_eq(out, cases[k][2]))
			fail_msg("%s\ngave %s\nnot  %s", cases[k][0], out, cases[k][2]);
	}
	char *const contexts[] = { (char[]){ "ctx" }, NULL };
	AUTO_FREE char *out = graph("FROM a AS ctx\nFROM ctx\nCOPY --from=ctx p q\n", NULL, contexts);
	assert_string_equal(out, "1:context,ctx");
	/* An image has many names. */
	char *const images[] = { (char[]){ "node" }, (char[]){ "docker.io/me/x:latest" }, NULL };
	AUTO_FREE char *hidden = graph("FROM docker.io/library/node:latest\nCOPY --from=Me/X p q\nCOPY --from=node:20 p q\n", NULL, images);
	assert_string_equal(hidden, "0:context,node");
	AUTO_FREE char *other = graph("FROM node:20\n", NULL, images);
	assert_string_equal(other, "0:image,node:20");
}

static void errors(void **state)
{
	static const char *const cases[][3] = {
		{ "FROM a AS build", "biuld", "E Dockerfile: there is no stage 'biuld'; did you mean build?" },
		{ "FROM a AS build\nFROM b AS test", "x", "E Dockerfile: there is no stage 'x'; there are build, test" },
		{ "FROM a", "7", "E Dockerfile: there is no stage '7'; none has a name" },
		{ "FROM a\nCOPY --from=1 x y", NULL, "E Dockerfile:2: COPY: there is no stage 1; the last one is 0" },
		{ "FROM a\nCOPY --from=99999999999999999999 x y", NULL, "there is no stage" },
		{ "FROM a AS x\nCOPY --from=x p q", NULL, "E Dockerfile:2: COPY: the stage 'x' (line 1) needs itself" },
		{ "FROM a\nCOPY --from=0 p q", NULL, "the stage number 0 (line 1) needs itself" },
		{ "FROM a AS x\nCOPY --from=y p q\nFROM b AS y\nCOPY --from=x p q", NULL, "E Dockerfile:2: COPY: the stages 'x' (line 1) and 'y' (line 3) need each other" },
		{ "FROM a AS x\nRUN --mount=from=y,target=/t p\nFROM x AS y", NULL, "need each other" },
		{ "FROM $none", NULL, "Dockerfile:1: FROM: its value is empty" },
	};
	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		AUTO_FREE char *out = graph(cases[k][0], cases[k][1], NULL);
		if (out[0] != 'E' || !strstr(out, cases[k][2]))
			fail_msg("%s\ngave %s", cases[k][0], out);
	}
}

static void deepest(void **state)
{
	AUTO_BUF text = BUF_INIT;
	buf_str(&text, "FROM a AS s0\n");
	for (int k = 1; k < 256; k++)
		buf_printf(&text, "FROM s%d AS s%d\n", k - 1, k);
	AUTO_FREE char *out = graph(buf_cstr(&text), NULL, NULL);
	assert_true(str_ends(out, "255:stage,254<254"));
	buf_str(&text, "FROM b\n");
	AUTO_FREE char *more = graph(buf_cstr(&text), NULL, NULL);
	assert_string_equal(more, "E Dockerfile:257: FROM: more than 256 stages");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(graphs), cmocka_unit_test(errors), cmocka_unit_test(deepest) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
