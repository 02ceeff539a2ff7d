// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "dockerfile/check.h"

/* All that is found without base images, whose environment is `image_env`; variables are looked at in the last stage. */
static Dockerfile *check(const char *text, char *const *given, char *const *image_env)
{
	Dockerfile *f = NULL;
	AUTO_ERR err = ERR_INIT;
	AUTO(scope_freep) Scope *global = NULL;
	AUTO(scope_freep) Scope *s = NULL;
	const BuildArguments a = { .args = given, .build_platform = "linux/amd64" };
	if (dockerfile_parse("Dockerfile", text, strlen(text), &f, &err) < 0 || scope_new_global(f, &a, &global, &err) < 0)
		fail_msg("%s: %s", text, err_text(&err));
	check_bases(f, global, &a);
	const Stage *last = &f->stages[f->n_stages - 1];
	s = scope_new_stage(global, f, image_env);
	for (size_t k = 0; k < last->n_instructions; k++) {
		AUTO(instruction_done) Instruction i = { 0 };
		check_variables(f, s, &last->instructions[k]);
		if (instruction_expand(s, &last->instructions[k], &i, &err) < 0 || scope_apply(s, &i, &err) < 0)
			fail_msg("%s: %s", text, err_text(&err));
	}
	return f;
}

/* Each gives that warning and no other, and none if it is skipped. */
static void warnings(void **state)
{
	static const char *const cases[][3] = {
		{ "FROM a\nMAINTAINER b\n", "MaintainerDeprecated", "Dockerfile:2: " },
		{ "FROM a\nCMD b\n", "JSONArgsRecommended", "Dockerfile:2: CMD: write it as a JSON list" },
		{ "FROM a\nENTRYPOINT ['b']\n", "JSONArgsRecommended", "Dockerfile:2: ENTRYPOINT: looks like a list but is no JSON" },
		{ "FROM a\nENV b c\n", "LegacyKeyValueFormat", "Dockerfile:2: ENV: write b=" },
		{ "FROM a\nLABEL b c\n", "LegacyKeyValueFormat", "LABEL: write b=" },
		{ "FROM a\nRUN b \\\n\n c\n", "NoEmptyContinuation", "Dockerfile:2: RUN" },
		{ "FROM a\nRun b\n", "ConsistentInstructionCasing", "Dockerfile:2: Run: write it in upper case" },
		{ "FROM a\nRUN b\nrun c\n", "ConsistentInstructionCasing", "Dockerfile:3: run: write it in upper case, as most are here" },
		{ "from a\nrun b\nCMD [\"c\"]\n", "ConsistentInstructionCasing", "Dockerfile:3: CMD: write it in lower case, as most are here" },
		{ "FROM a AS b\nFROM a AS b\n", "DuplicateStageName", "Dockerfile:2: FROM: there is a stage 'b' in line 1" },
		{ "FROM a AS Bc\n", "StageNameCasing", "'Bc'" },
		{ "FROM a as b\n", "FromAsCasing", "'FROM' and 'as'" },
		{ "from a AS b\n", "FromAsCasing", "'from' and 'AS'" },
		{ "FROM a AS scratch\n", "ReservedStageName", "scratch" },
		{ "FROM a AS context\n", "ReservedStageName", "context" },
		{ "FROM a\nCMD [\"b\"]\nCMD [\"c\"]\n", "MultipleInstructionsDisallowed", "Dockerfile:2: CMD: line 3" },
		{ "FROM a\nHEALTHCHECK NONE\nHEALTHCHECK CMD b\n", "MultipleInstructionsDisallowed", "HEALTHCHECK: line 3" },
		{ "# syntax=mine/language\nFROM a\n", "UnknownSyntax", "mine/language" },
		{ "FROM a\nWORKDIR b\nWORKDIR c\n", "WorkdirRelativePath", "Dockerfile:2: WORKDIR: 'b' is relative" },
		{ "FROM a\nENV API_TOKEN=x\n", "SecretsUsedInArgOrEnv", "ENV: 'API_TOKEN' sounds like a secret" },
		{ "FROM a\nARG password\n", "SecretsUsedInArgOrEnv", "ARG: 'password'" },
		{ "ARG GH_AUTH=1\nFROM a\n", "SecretsUsedInArgOrEnv", "Dockerfile:1: ARG: 'GH_AUTH'" },
		{ "FROM a\nEXPOSE 80/TCP\n", "ExposeProtoCasing", "'80/TCP'" },
		{ "FROM a\nEXPOSE 8080:80\n", "ExposeInvalidFormat", "'8080:80'" },
		{ "FROM --platform=linux/amd64 a\n", "FromPlatformFlagConstDisallowed", "--platform=linux/amd64" },
		{ "FROM --platform=linux/amd64 a AS build\n", "FromPlatformFlagConstDisallowed", "--platform=linux/amd64" },
		{ "FROM --platform=$TARGETPLATFORM a\n", "RedundantTargetPlatform", "$TARGETPLATFORM" },
		{ "FROM --platform=${TARGETPLATFORM} a\n", "RedundantTargetPlatform", "${TARGETPLATFORM}" },
		{ "ARG VERSION=1\nFROM a:$VERSIO\n", "UndefinedArgInFrom", "Dockerfile:2: FROM: no ARG before the first FROM declares 'VERSIO'; did you mean $VERSION?" },
		{ "FROM --platform=$BUILDPLATFROM a\n", "UndefinedArgInFrom", "did you mean $BUILDPLATFORM?" },
		{ "ARG TAG\nFROM a:$TAG\n", "InvalidDefaultArgInFrom", "a:$TAG is no image without --build-arg" },
		{ "ARG IMAGE\nFROM ${IMAGE}\n", "InvalidDefaultArgInFrom", "${IMAGE}" },
		{ "FROM a\nARG NAME\nLABEL n=$NMAE\n", "UndefinedVar", "Dockerfile:3: LABEL: $NMAE has no value; did you mean $NAME?" },
		{ "FROM a\nENV A=$B\n", "UndefinedVar", "Dockerfile:2: ENV: $B has no value" },
		{ "FROM a\nENV A=${B##x}\n", "UndefinedVar", "$B" },
		{ "FROM a\nLABEL l=\"$B $B ${B}\"\n", "UndefinedVar", "LABEL: $B" },
		{ "FROM a\nCOPY <<E /x\n$B\nE\n", "UndefinedVar", "COPY: $B" },
		{ "FROM a\nARG A=$B\n", "UndefinedVar", "ARG: $B" },
		{ "FROM a\nRUN --mount=type=cache,target=/c/$B true\n", "UndefinedVar", "RUN: $B" },
		{ "ARG V=1\nFROM a\nLABEL v=$V\n", "UndefinedVar", "LABEL: $V has no value in this stage; write ARG V in it, too" },
		{ "FROM a\nLABEL v=$TARGETARCH\n", "UndefinedVar", "write ARG TARGETARCH in it" },
	};
	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		AUTO(dockerfile_freep) Dockerfile *f = check(cases[k][0], NULL, NULL);
		if (f->n_warnings != 1 || !str_eq(f->warnings[0].rule, cases[k][1]) || !strstr(f->warnings[0].text, cases[k][2]))
			fail_msg("%s gave %zu: %s", cases[k][0], f->n_warnings, f->n_warnings ? f->warnings[0].text : "-");
		AUTO_FREE char *text = xasprintf("# check=skip=%s\n%s", cases[k][1], cases[k][0]);
		AUTO(dockerfile_freep) Dockerfile *quiet = check(text, NULL, NULL);
		assert_int_equal(quiet->n_warnings, 0);
	}
}

static void what_is_fine(void **state)
{
	static const char *const cases[] = {
		"# syntax=docker/dockerfile:1\nFROM a\n",
		"# syntax=r:5000/docker/dockerfile@sha256:ab\nFROM a\n",
		"FROM a\nENV b=c\nLABEL \"d e\"=f\n",
		"from a as b\nrun b \\\n# c\n d\n",
		"FROM a\nSHELL [\"bash\", \"-c\"]\nCMD b\n",
		"FROM a AS x\nSHELL [\"bash\", \"-c\"]\nWORKDIR /a\nFROM x\nENTRYPOINT b\nWORKDIR b\n",
		"FROM a\nWORKDIR /a\nWORKDIR b\n",
		"FROM a\nARG D=/a\nWORKDIR $D\n",
		"FROM a\nENV PUBLIC_KEY=x KEYBOARD=y AUTHOR=z\nARG MONKEY\n",
		"FROM --platform=$BUILDPLATFORM a\n",
		"FROM --platform=linux/amd64 a AS build_amd64\n",
		"ARG V=1\nARG W=$V\nFROM a:$W\n",
		"ARG V\nFROM a:${V:-1}\n",
		"FROM a\nARG A\nARG B=$A C=$B\nENV D=$A$B$C E=${F:-1} G=${H+1}\n",
		"FROM a\nENV P=$PATH:/x\n", /* the base's */
		"FROM a\nENV P=$HTTP_PROXY\n",
		"FROM a\nRUN echo $X ${Y}\nCMD [\"$X\"]\nHEALTHCHECK CMD $X\nONBUILD ENV a=$X\n", /* the shell's, or later */
		"FROM a\nCOPY <<'E' /x\n$B\nE\n",
		"FROM a\nLABEL a='$B' c=\\$d\n",
	};
	char *const env[] = { (char[]){ "PATH=/bin" }, NULL };
	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		AUTO(dockerfile_freep) Dockerfile *f = check(cases[k], NULL, env);
		if (f->n_warnings)
			fail_msg("%s: %s", cases[k], f->warnings[0].text);
	}
}

static void order_and_errors(void **state)
{
	AUTO_ERR err = ERR_INIT;
	AUTO(dockerfile_freep) Dockerfile *f = check("# check=skip=StageNameCasing;error=true\nFROM a AS B\nMAINTAINER c\nRUN d \\\n\n e\ncmd f\n", NULL, NULL);
	assert_int_equal(f->n_warnings, 4);
	for (size_t k = 1; k < f->n_warnings; k++)
		assert_true(f->warnings[k - 1].line <= f->warnings[k].line);
	assert_int_equal(check_result(f, &err), -EINVAL);
	assert_string_equal(err_text(&err), "Dockerfile:3: MAINTAINER is deprecated; write LABEL org.opencontainers.image.authors=… (MaintainerDeprecated; "
					    "an error because of '# check=error=true')");
	AUTO(dockerfile_freep) Dockerfile *none = check("# check=skip=all;error=true\nFROM a\nMAINTAINER c\n", NULL, NULL);
	assert_int_equal(check_result(none, NULL), 0);
	AUTO(dockerfile_freep) Dockerfile *warned = check("FROM a\nMAINTAINER c\n", NULL, NULL);
	assert_int_equal(check_result(warned, NULL), 0);
}

/* A value that is given makes a name of what is none without it; it is told all the same. */
static void given_arguments(void **state)
{
	char *const given[] = { (char[]){ "TAG=1" }, NULL };
	AUTO(dockerfile_freep) Dockerfile *f = check("ARG TAG\nFROM a:$TAG\n", given, NULL);
	assert_int_equal(f->n_warnings, 1);
	assert_string_equal(f->warnings[0].rule, "InvalidDefaultArgInFrom");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(warnings),
		cmocka_unit_test(what_is_fine),
		cmocka_unit_test(order_and_errors),
		cmocka_unit_test(given_arguments),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
