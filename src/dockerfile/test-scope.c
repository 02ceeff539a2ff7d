// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "dockerfile/scope.h"

static Dockerfile *parse(const char *text)
{
	Dockerfile *f = NULL;
	AUTO_ERR err = ERR_INIT;
	if (dockerfile_parse("Dockerfile", text, strlen(text), &f, &err) < 0)
		fail_msg("%s: %s", text, err_text(&err));
	return f;
}

static void show(Buf *b, const Instruction *i)
{
	buf_str(b, instruction_name(i->kind));
	const char *const strings[] = { i->platform, i->from, i->chown, i->chmod, i->checksum };
	for (size_t k = 0; k < ARRAY_SIZE(strings); k++)
		if (strings[k])
			buf_printf(b, " %s", strings[k]);
	for (char **e = i->excludes; e && *e; e++)
		buf_printf(b, " !%s", *e);
	for (size_t k = 0; k < i->n_mounts; k++)
		buf_printf(b, " (%s,%s,%s)", i->mounts[k].id ? i->mounts[k].id : "", i->mounts[k].source ? i->mounts[k].source : "", i->mounts[k].target);
	for (char **a = i->args; a && *a; a++)
		buf_printf(b, " <%s>", *a);
	for (size_t k = 0; k < i->n_pairs; k++)
		buf_printf(b, " {%s|%s}", i->pairs[k].key, i->pairs[k].value ? i->pairs[k].value : "-");
	for (size_t k = 0; k < i->n_heredocs; k++)
		buf_printf(b, " %s[%s]", i->heredocs[k].name, i->heredocs[k].text);
	for (char **t = i->healthcheck.test; t && *t; t++)
		buf_printf(b, " %s", *t);
	buf_char(b, '\n');
}

/* Goes through the file's last stage as a builder does; gives what each instruction becomes, or the error. */
static char *run(const char *text, char *const *given, char *const *image_env, Scope **ret_scope, Scope **ret_global, Dockerfile **ret_f)
{
	Dockerfile *f = parse(text);
	const BuildArguments a = { .args = given, .build_platform = "linux/amd64", .target_platform = "linux/arm/v7" };
	AUTO_ERR err = ERR_INIT;
	AUTO_BUF b = BUF_INIT;
	Scope *global = NULL, *s = NULL;
	int r = scope_new_global(f, &a, &global, &err);
	if (r == 0) {
		const Stage *stage = &f->stages[f->n_stages - 1];
		s = scope_new_stage(global, f, image_env);
		AUTO(instruction_done) Instruction from = { 0 };
		r = instruction_expand(global, &stage->from, &from, &err);
		if (r == 0)
			show(&b, &from);
		for (size_t k = 0; r == 0 && k < stage->n_instructions; k++) {
			AUTO(instruction_done) Instruction i = { 0 };
			r = instruction_expand(s, &stage->instructions[k], &i, &err);
			if (r == 0)
				r = scope_apply(s, &i, &err);
			if (r == 0)
				show(&b, &i);
		}
	}
	if (r < 0)
		buf_printf(&b, "E %s", err_text(&err));
	if (ret_scope) {
		*ret_scope = s;
		*ret_global = global;
		*ret_f = f;
	} else {
		scope_free(s);
		scope_free(global);
		dockerfile_free(f);
	}
	return buf_steal(&b);
}

static char *const arguments[] = { (char[]){ "G=given" }, (char[]){ "HTTP_PROXY=http://p" }, (char[]){ "E=from-arg" }, NULL };

static void expansion(void **state)
{
	static const char *const cases[][2] = {
		{ "ARG v=1\nFROM --platform=$BUILDPLATFORM i:$v", "FROM linux/amd64 <i:1>\n" },
		{ "ARG v=1\nARG w=$v.2\nFROM i:${w}", "FROM <i:1.2>\n" },
		{ "ARG G=default\nFROM i:$G", "FROM <i:given>\n" },
		{ "ARG G\nFROM i:$G-$TARGETARCH$TARGETVARIANT", "FROM <i:given-armv7>\n" },
		{ "FROM i:${x:-d}", "FROM <i:d>\n" },
		/* Stages see global ARGs only when they name them. */
		{ "ARG v=1\nFROM i\nLABEL a=[$v]\nARG v\nLABEL b=[$v]", "FROM <i>\nLABEL {a|[]}\nARG {v|1}\nLABEL {b|[1]}\n" },
		{ "ARG v=1\nFROM i\nARG v=2\nLABEL b=$v", "FROM <i>\nARG {v|2}\nLABEL {b|2}\n" },
		{ "FROM i\nLABEL a=[$TARGETOS]\nARG TARGETOS TARGETPLATFORM\nLABEL b=$TARGETOS c=$TARGETPLATFORM",
			"FROM <i>\nLABEL {a|[]}\nARG {TARGETOS|linux} {TARGETPLATFORM|linux/arm/v7}\nLABEL {b|linux} {c|linux/arm/v7}\n" },
		{ "FROM i\nARG gone\nLABEL a=[$gone]", "FROM <i>\nARG {gone|-}\nLABEL {a|[]}\n" },
		{ "FROM i\nARG a=1 b=$a$G G c=$G", "FROM <i>\nARG {a|1} {b|1} {G|given} {c|given}\n" },
		{ "FROM i\nARG TARGETARCH=x\nLABEL a=$TARGETARCH", "FROM <i>\nARG {TARGETARCH|x}\nLABEL {a|x}\n" },
		/* ENV hides ARG, wherever it stands; within one ENV the old values count. */
		{ "FROM i\nARG E\nENV E=env\nLABEL a=$E\nARG E=again\nLABEL b=$E", "FROM <i>\nARG {E|from-arg}\nENV {E|env}\nLABEL {a|env}\nARG {E|from-arg}\nLABEL {b|env}\n" },
		{ "FROM i\nENV a=1\nENV a=2 b=$a\nLABEL c=$b", "FROM <i>\nENV {a|1}\nENV {a|2} {b|1}\nLABEL {c|1}\n" },
		{ "FROM i\nARG BASE=arg\nLABEL a=$BASE", "FROM <i>\nARG {BASE|arg}\nLABEL {a|image}\n" },
		{ "FROM i\nLABEL a=$HTTP_PROXY b=[$http_proxy]", "FROM <i>\nLABEL {a|http://p} {b|[]}\n" },
		{ "FROM i\nENV a='$x' b=\"q r\" c=s\\ t", "FROM <i>\nENV {a|$x} {b|q r} {c|s t}\n" },
		{ "FROM i\nENV a \"b c\"  d", "FROM <i>\nENV {a|b c  d}\n" },
		{ "FROM i\nENV k=x\nLABEL \"a.$k\"=\"$k\"", "FROM <i>\nENV {k|x}\nLABEL {a.x|x}\n" },
		{ "FROM i\nENV d=/d u=1:2\nCOPY --chown=$u --chmod=$m --exclude=*.$d $d/a b'c' $d/", "FROM <i>\nENV {d|/d} {u|1:2}\nCOPY 1:2  !*./d </d/a> <bc> </d/>\n" },
		{ "FROM i\nENV d=/d\nCOPY a* $d\nADD --checksum=$d [\"x y\", \"$d/\"]", "FROM <i>\nENV {d|/d}\nCOPY <a*> </d>\nADD /d <x y> </d/>\n" },
		{ "FROM i\nENV d=1\nCOPY <<a <<'b' /x/\n$d \"q\"\na\n$d\nb", "FROM <i>\nENV {d|1}\nCOPY </x/> a[1 \"q\"\n] b[$d\n]\n" },
		{ "FROM i\nENV p=\"80 90-91/udp\" w=/w\nEXPOSE $p 1\nWORKDIR $w\nUSER ${u:-me}\nVOLUME $w [x]\nVOLUME [\"$w/v\"]\nSTOPSIGNAL SIG${s:-INT}",
			"FROM <i>\nENV {p|80 90-91/udp} {w|/w}\nEXPOSE <80> <90-91/udp> <1>\nWORKDIR </w>\nUSER <me>\nVOLUME </w> <[x]>\nVOLUME </w/v>\nSTOPSIGNAL <SIGINT>\n" },
		/* The shell's own variables stay. */
		{ "FROM i\nENV a=1\nRUN echo $a ${b:-c}\nCMD echo $a\nENTRYPOINT [\"$a\"]\nHEALTHCHECK CMD x $a\nONBUILD RUN $a\nSHELL [\"$a\"]\nMAINTAINER $a",
			"FROM <i>\nENV {a|1}\nRUN <echo $a ${b:-c}>\nCMD <echo $a>\nENTRYPOINT <$a>\nHEALTHCHECK CMD-SHELL x $a\nONBUILD <RUN $a>\nSHELL <$a>\nMAINTAINER <$a>\n" },
		{ "FROM i\nARG c=/c\nRUN --mount=type=cache,id=n$c,target=$c --mount=source=$c,target=/t x", "FROM <i>\nARG {c|/c}\nRUN (n/c,,/c) (,/c,/t) <x>\n" },
	};
	char *const env[] = { (char[]){ "BASE=image" }, NULL };
	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		AUTO_FREE char *out = run(cases[k][0], arguments, env, NULL, NULL, NULL);
		if (!str_eq(out, cases[k][1]))
			fail_msg("%s\ngave:\n%s", cases[k][0], out);
	}
}

static void refused(void **state)
{
	static const char *const cases[][2] = {
		{ "FROM $gone", "E Dockerfile:1: FROM: its value is empty; is a variable not set?" },
		{ "FROM i\nCOPY a b $c", "COPY: the destination is empty" },
		{ "FROM i\nCOPY $a b", "COPY: a source is empty" },
		{ "FROM i\nCOPY a b c", "E Dockerfile:2: COPY: with several sources the destination 'c' has to end with '/'" },
		{ "FROM i\nCOPY a <<b c\nb", "has to end with '/'" },
		{ "FROM i\nWORKDIR $x", "WORKDIR: its value is empty" },
		{ "FROM i\nSTOPSIGNAL $x", "STOPSIGNAL: its value is empty" },
		{ "FROM i\nENV s=FOO\nSTOPSIGNAL $s", "STOPSIGNAL: 'FOO' is no signal" },
		{ "FROM i\nENV a=${b:?give_b}", "Dockerfile:2: ENV: '${b:?give_b}': b: give_b" },
		{ "ARG a=${b\nFROM i", "E Dockerfile:1: ARG: " },
		{ "FROM i\nENV \"$x\"=1", "ENV: '' is no name" },
		{ "FROM i\nARG t=cahce\nRUN --mount=type=$t,target=/x y", "E Dockerfile:3: RUN: --mount: unknown type 'cahce'; did you mean cache?" },
		{ "FROM i\nRUN --mount=type=cache,target=$x y", "type=cache needs a target" },
	};
	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		AUTO_FREE char *out = run(cases[k][0], NULL, NULL, NULL, NULL, NULL);
		const char *error = strstr(out, "E Dockerfile");
		if (!error || !strstr(error, cases[k][1]))
			fail_msg("%s\ngave:\n%s", cases[k][0], out);
	}
	char *const bad[] = { (char[]){ "novalue" }, NULL };
	AUTO_FREE char *out = run("FROM i", bad, NULL, NULL, NULL, NULL);
	assert_non_null(strstr(out, "E the build argument 'novalue' is not NAME=value"));
	AUTO(dockerfile_freep) Dockerfile *f = parse("FROM i");
	assert_int_equal(f->n_stages, 1);
}

static void fine(void **state)
{
	static const char *const cases[] = { "FROM i\nCOPY a b ./", "FROM i\nCOPY a b .", "FROM i\nCOPY <<b c\nb", "FROM i\nUSER $x" };
	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		AUTO_FREE char *out = run(cases[k], NULL, NULL, NULL, NULL, NULL);
		if (strstr(out, "\nE "))
			fail_msg("%s: %s", cases[k], out);
	}
}

static void env_of_run(void **state)
{
	Scope *s, *global;
	Dockerfile *f;
	char *const env[] = { (char[]){ "PATH=/bin" }, NULL };
	free(run("FROM i\nARG z=1\nARG G E\nENV E=env\nARG none\nARG HTTP_PROXY", arguments, env, &s, &global, &f));
	AUTO_STRV char **args = scope_run_args(s);
	AUTO_STRV char **all = scope_run_env(s);
	AUTO_BUF b = BUF_INIT;
	for (char **a = args; *a; a++)
		buf_printf(&b, "%s ", *a);
	buf_str(&b, "| ");
	for (char **a = all; *a; a++)
		buf_printf(&b, "%s ", *a);
	assert_string_equal(buf_cstr(&b), "G=given z=1 | PATH=/bin E=env G=given z=1 HTTP_PROXY=http://p ");
	scope_free(s);
	scope_free(global);
	dockerfile_free(f);
}

static void unused(void **state)
{
	AUTO(dockerfile_freep) Dockerfile *f = parse("ARG a\nFROM i\nARG b=1 c\nFROM j\nARG d\n");
	char *const args[] = { (char[]){ "a=" }, (char[]){ "b=" }, (char[]){ "c=" }, (char[]){ "d=" }, (char[]){ "e=" }, (char[]){ "no_proxy=" },
		(char[]){ "TARGETARCH=" }, (char[]){ "BUILDKIT_INLINE_CACHE=1" }, NULL };
	AUTO_STRV char **names = dockerfile_unused_args(f, args);
	assert_int_equal(strv_len(names), 1);
	assert_string_equal(names[0], "e");
}

static void growing(void **state)
{
	/* Each line doubles the last; no amount of lines may take more memory than a limit allows. */
	AUTO_BUF text = BUF_INIT;
	buf_str(&text, "FROM i\nENV a0=0123456789\n");
	for (int k = 1; k < 40; k++)
		buf_printf(&text, "ENV a%d=$a%d$a%d\n", k, k - 1, k - 1);
	AUTO_FREE char *out = run(buf_cstr(&text), NULL, NULL, NULL, NULL, NULL);
	assert_non_null(strstr(out, "KiB"));
	AUTO_BUF many = BUF_INIT;
	buf_str(&many, "FROM i\nENV a=");
	for (int k = 0; k < 30000; k++)
		buf_char(&many, 'x');
	for (int k = 1; k < 200; k++)
		buf_printf(&many, "\nENV b%d=$a", k);
	AUTO_FREE char *second = run(buf_cstr(&many), NULL, NULL, NULL, NULL, NULL);
	assert_non_null(strstr(second, "the variables become larger"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(expansion), cmocka_unit_test(refused), cmocka_unit_test(fine), cmocka_unit_test(env_of_run), cmocka_unit_test(unused),
		cmocka_unit_test(growing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
