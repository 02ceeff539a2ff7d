// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "dockerfile/dockerfile.h"

static void show_words(Buf *b, const char *what, char *const *v)
{
	for (char *const *w = v; w && *w; w++)
		buf_printf(b, "%s<%s>", w == v ? what : "", *w);
}

static void show_mount(Buf *b, const RunMount *m)
{
	static const char *const types[] = { "bind", "cache", "secret", "ssh", "tmpfs" };
	buf_printf(b, " mount=%s,%s,%s,%s,%s,%s,%s%s,%d,%jd,%jo,%jd:%jd", types[m->type], m->id ? m->id : "", m->from ? m->from : "",
		m->source ? m->source : "", m->target ? m->target : "", m->env ? m->env : "", m->read_only ? "ro" : "rw", m->required ? "!" : "",
		(int) m->sharing, (intmax_t) m->size, (uintmax_t) m->mode, (intmax_t) m->uid, (intmax_t) m->gid);
}

static void show(Buf *b, const Instruction *i)
{
	buf_printf(b, "%u %s", i->line, instruction_name(i->kind));
	const char *const strings[][2] = { { "platform", i->platform }, { "as", i->stage_name }, { "from", i->from }, { "chown", i->chown },
		{ "chmod", i->chmod }, { "checksum", i->checksum } };
	for (size_t k = 0; k < ARRAY_SIZE(strings); k++)
		if (strings[k][1])
			buf_printf(b, " %s=%s", strings[k][0], strings[k][1]);
	buf_printf(b, "%s%s%s", i->link ? " link" : "", i->parents ? " parents" : "", i->keep_git_dir ? " keep-git-dir" : "");
	if (i->unpack >= 0)
		buf_printf(b, " unpack=%d", i->unpack);
	show_words(b, " excludes", i->excludes);
	for (size_t k = 0; k < i->n_mounts; k++)
		show_mount(b, &i->mounts[k]);
	if (i->network)
		buf_printf(b, " network=%d", (int) i->network);
	show_words(b, i->json ? " json" : " ", i->args);
	for (size_t k = 0; k < i->n_pairs; k++)
		buf_printf(b, " {%s|%s}", i->pairs[k].key, i->pairs[k].value ? i->pairs[k].value : "-");
	for (size_t k = 0; k < i->n_heredocs; k++)
		buf_printf(b, " %s%s%s[%s]", i->heredocs[k].name, i->heredocs[k].chomp ? "-" : "", i->heredocs[k].expand ? "$" : "", i->heredocs[k].text);
	const Healthcheck *h = &i->healthcheck;
	if (h->set) {
		show_words(b, h->disable ? " disabled" : " test", h->test);
		buf_printf(b, " %jd,%jd,%jd,%jd,%d", (intmax_t) h->interval, (intmax_t) h->timeout, (intmax_t) h->start_period,
			(intmax_t) h->start_interval, h->retries);
	}
	buf_char(b, '\n');
}

static Dockerfile *parse(const char *text)
{
	Dockerfile *f = NULL;
	AUTO_ERR err = ERR_INIT;
	if (dockerfile_parse("Dockerfile", text, strlen(text), &f, &err) < 0)
		fail_msg("%s: %s", text, err_text(&err));
	return f;
}

/* Cases of one instruction: text behind FROM, and how it is understood. */
static void check_cases(const char *const (*cases)[2], size_t n)
{
	for (size_t k = 0; k < n; k++) {
		AUTO_FREE char *text = xasprintf("FROM b\n%s\n", cases[k][0]);
		AUTO(dockerfile_freep) Dockerfile *f = parse(text);
		AUTO_BUF b = BUF_INIT;
		for (size_t i = 0; i < f->stages[0].n_instructions; i++)
			show(&b, &f->stages[0].instructions[i]);
		AUTO_FREE char *wanted = xasprintf("%s\n", cases[k][1]);
		if (!str_eq(buf_cstr(&b), wanted))
			fail_msg("%s\n gave %s not  %s", cases[k][0], buf_cstr(&b), wanted);
	}
}

static void instructions(void **state)
{
	static const char *const cases[][2] = {
		{ "RUN a  b | c", "2 RUN <a  b | c>" },
		{ "run [\"a\", \"b c\"]", "2 RUN json<a><b c>" },
		{ "RUN ['a']", "2 RUN <['a']>" },
		{ "RUN [ -d x ] && y", "2 RUN <[ -d x ] && y>" },
		{ "RUN a \\\n  b \\\n# remark\n  c", "2 RUN <a   b   c>" },
		{ "RUN a \\  \n\n b", "2 RUN <a  b>" },
		{ "RUN a \\\\", "2 RUN <a \\\\>" },
		{ "  RUN a   ", "2 RUN <a>" },
		{ "RUN a # no comment", "2 RUN <a # no comment>" },
		{ "CMD a b", "2 CMD <a b>" },
		{ "CMD", "2 CMD" },
		{ "CMD []", "2 CMD" },
		{ "CMD [\"a\",\"\\u00e9\"]", "2 CMD json<a><\xc3\xa9>" },
		{ "ENTRYPOINT [\"a\"]", "2 ENTRYPOINT json<a>" },
		{ "ENTRYPOINT exec a $X", "2 ENTRYPOINT <exec a $X>" },
		{ "SHELL [\"/bin/bash\", \"-c\"]", "2 SHELL json</bin/bash><-c>" },
		{ "ENV a=b c=\"d e\" f=g\\ h i='j k' l=", "2 ENV {a|b} {c|\"d e\"} {f|g\\ h} {i|'j k'} {l|}" },
		{ "ENV a b  c=d ", "2 ENV {a|b  c=d}" },
		{ "ENV a\tb", "2 ENV {a|b}" },
		{ "LABEL a=b \"c d\"=\"e\" \\\n f=g", "2 LABEL {a|b} {\"c d\"|\"e\"} {f|g}" },
		{ "LABEL a b c", "2 LABEL {a|b c}" },
		{ "ARG a b=c d=\"e f\" g=", "2 ARG {a|-} {b|c} {d|\"e f\"} {g|}" },
		{ "COPY a b c/", "2 COPY <a><b><c/>" },
		{ "COPY [\"a b\", \"c/\"]", "2 COPY json<a b><c/>" },
		{ "COPY --from=x --chown=1:2 --chmod=755 --link --parents --exclude=a --exclude=*.b y z",
			"2 COPY from=x chown=1:2 chmod=755 link parents excludes<a><*.b> <y><z>" },
		{ "COPY --link=false --parents=TRUE a b", "2 COPY parents <a><b>" },
		{ "COPY --chown=\"a b\" c d", "2 COPY chown=a b <c><d>" },
		{ "COPY -- --a b", "2 COPY <--a><b>" },
		{ "ADD --checksum=sha256:ab --keep-git-dir --unpack=false --chmod=u=rwX,go=rX --link http://h/f /x",
			"2 ADD chmod=u=rwX,go=rX checksum=sha256:ab link keep-git-dir unpack=0 <http://h/f></x>" },
		{ "ADD --unpack a b", "2 ADD unpack=1 <a><b>" },
		{ "COPY <<a <<-'b' c d/\n1 $x\n# kept\n\na\n\t\t2\n\tb", "2 COPY <c><d/> a$[1 $x\n# kept\n\n] b-[2\n]" },
		{ "RUN cat <<\"a b\"\nx\na b", "2 RUN <cat <<\"a b\"> a b[x\n]" },
		{ "COPY <<a d\na", "2 COPY <d> a$[]" },
		{ "RUN <<EOF\na\r\nb\nEOF\nRUN c", "2 RUN <<<EOF> EOF$[a\r\nb\n]\n6 RUN <c>" },
		{ "RUN cat <<A <<-B > x\n1\nA\n\t2\n\tB", "2 RUN <cat <<A <<-B > x> A$[1\n] B-$[2\n]" },
		{ "RUN x 3<<A\n1\nA", "2 RUN <x 3<<A> A$[1\n]" },
		{ "RUN cat <<< word; echo $((1 << 2)) \"<<EOF\"", "2 RUN <cat <<< word; echo $((1 << 2)) \"<<EOF\">" },
		{ "RUN echo don't <<A", "2 RUN <echo don't <<A>" },
		{ "RUN cat <<A \\\n && b\n1\nA", "2 RUN <cat <<A  && b> A$[1\n]" },
		{ "CMD cat <<A", "2 CMD <cat <<A>" },
		{ "WORKDIR a b", "2 WORKDIR <a b>" },
		{ "USER a:b", "2 USER <a:b>" },
		{ "EXPOSE 80 90/udp 1-2/tcp $p", "2 EXPOSE <80><90/udp><1-2/tcp><$p>" },
		{ "VOLUME a /b", "2 VOLUME <a></b>" },
		{ "VOLUME [\"/a b\"]", "2 VOLUME json</a b>" },
		{ "STOPSIGNAL SIGQUIT", "2 STOPSIGNAL <SIGQUIT>" },
		{ "STOPSIGNAL 9", "2 STOPSIGNAL <9>" },
		{ "STOPSIGNAL ${s}", "2 STOPSIGNAL <${s}>" },
		{ "MAINTAINER A <a@b>", "2 MAINTAINER <A <a@b>>" },
		{ "ONBUILD RUN --mount=type=tmpfs,target=/t a", "2 ONBUILD <RUN --mount=type=tmpfs,target=/t a>" },
		{ "ONBUILD COPY <<a b\nx\na", "2 ONBUILD <COPY <<a b\nx\na> a$[x\n]" },
		{ "HEALTHCHECK NONE", "2 HEALTHCHECK disabled<NONE> -1,-1,-1,-1,-1" },
		{ "HEALTHCHECK CMD a b", "2 HEALTHCHECK test<CMD-SHELL><a b> -1,-1,-1,-1,-1" },
		{ "HEALTHCHECK --interval=5m --timeout=3s --start-period=1ms --start-interval=2s --retries=4 cmd [\"a\",\"b\"]",
			"2 HEALTHCHECK test<CMD><a><b> 300000000000,3000000000,1000000,2000000000,4" },
		{ "HEALTHCHECK --interval=0s CMD a", "2 HEALTHCHECK test<CMD-SHELL><a> 0,-1,-1,-1,-1" },
	};
	check_cases(cases, ARRAY_SIZE(cases));
}

static void mounts(void **state)
{
	static const char *const cases[][2] = {
		{ "RUN --mount=target=/a x", "2 RUN mount=bind,,,,/a,,ro,0,0,755,0:0 <x>" },
		{ "RUN --mount=type=bind,from=s,source=/b,target=/a,rw x", "2 RUN mount=bind,,s,/b,/a,,rw,0,0,755,0:0 <x>" },
		{ "RUN --mount=type=bind,dst=a,src=b,readwrite=false x", "2 RUN mount=bind,,,b,a,,ro,0,0,755,0:0 <x>" },
		{ "RUN --mount=type=cache,target=/root/.npm x", "2 RUN mount=cache,/root/.npm,,,/root/.npm,,rw,0,0,755,0:0 <x>" },
		{ "RUN --mount=type=cache,id=n,destination=/c,sharing=locked,mode=0700,uid=1,gid=2,from=s,source=/d,ro x",
			"2 RUN mount=cache,n,s,/d,/c,,ro,2,0,700,1:2 <x>" },
		{ "RUN --mount=type=cache,target=/c,sharing=private x", "2 RUN mount=cache,/c,,,/c,,rw,1,0,755,0:0 <x>" },
		{ "RUN --mount=type=tmpfs,target=/t,size=64m x", "2 RUN mount=tmpfs,,,,/t,,rw,0,67108864,755,0:0 <x>" },
		{ "RUN --mount=type=secret,id=s x", "2 RUN mount=secret,s,,,/run/secrets/s,,ro,0,0,400,0:0 <x>" },
		{ "RUN --mount=type=secret,target=/k/s,required,mode=0440 x", "2 RUN mount=secret,s,,,/k/s,,ro!,0,0,440,0:0 <x>" },
		{ "RUN --mount=type=secret,source=s,required=true x", "2 RUN mount=secret,s,,,/run/secrets/s,,ro!,0,0,400,0:0 <x>" },
		{ "RUN --mount=type=secret,id=s,env=TOKEN x", "2 RUN mount=secret,s,,,,TOKEN,ro,0,0,400,0:0 <x>" },
		{ "RUN --mount=type=ssh x", "2 RUN mount=ssh,default,,,/run/buildkit/ssh_agent.0,,ro,0,0,600,0:0 <x>" },
		{ "RUN --mount=type=tmpfs,dst=/t --mount=type=ssh,id=a,required,target=/s,uid=3 x",
			"2 RUN mount=tmpfs,,,,/t,,rw,0,0,755,0:0 mount=ssh,a,,,/s,,ro!,0,0,600,3:0 <x>" },
		{ "RUN --mount='type=bind,\"target=/a,b\"' x", "2 RUN mount=bind,,,,/a,b,,ro,0,0,755,0:0 <x>" },
		{ "RUN --mount=Type=CACHE,Target=/c x", "2 RUN mount=cache,/c,,,/c,,rw,0,0,755,0:0 <x>" },
		{ "RUN --network=host x", "2 RUN network=2 <x>" },
		{ "RUN --network=none --mount=target=/a [\"x\"]", "2 RUN mount=bind,,,,/a,,ro,0,0,755,0:0 network=1 json<x>" },
	};
	check_cases(cases, ARRAY_SIZE(cases));
}

static void stages(void **state)
{
	AUTO(dockerfile_freep) Dockerfile *f = parse("\xef\xbb\xbf# syntax=docker/dockerfile:1.7\n#Escape = `\n# check=skip=A,B\n\n# a\nARG V=1 W\n"
						     "ARG X\nFROM --platform=$BUILDPLATFORM debian:$V as Build\nRUN a `\n b\\\n\nFROM scratch\r\nCOPY --from=build /a /\n");
	assert_int_equal(f->escape, '`');
	assert_string_equal(f->syntax, "docker/dockerfile:1.7");
	assert_int_equal(f->n_globals, 2);
	assert_string_equal(f->globals[0].pairs[1].key, "W");
	assert_int_equal(f->globals[0].line, 6);
	assert_int_equal(f->n_stages, 2);
	assert_string_equal(f->stages[0].name, "build");
	assert_string_equal(f->stages[0].from.args[0], "debian:$V");
	assert_string_equal(f->stages[0].from.platform, "$BUILDPLATFORM");
	assert_string_equal(f->stages[0].from.text, "FROM --platform=$BUILDPLATFORM debian:$V as Build");
	assert_int_equal(f->stages[0].instructions[0].line, 9);
	assert_int_equal(f->stages[0].instructions[0].last_line, 10);
	assert_string_equal(f->stages[0].instructions[0].args[0], "a  b\\");
	assert_null(f->stages[1].name);
	assert_string_equal(f->stages[1].from.args[0], "scratch");
	assert_string_equal(f->stages[1].instructions[0].from, "build");
	assert_string_equal(f->check_skip[1], "B");
}

static void directives_end(void **state)
{
	/* A comment, an empty line or an unknown key ends them. */
	static const char *const texts[] = { "# remark\n# escape=`\nFROM b\nRUN a \\\n b\n", "\n# escape=`\nFROM b\nRUN a \\\n b\n",
		"# key=1\n# escape=`\nFROM b\nRUN a \\\n b\n", "FROM b\n# escape=`\nRUN a \\\n b" };
	for (size_t k = 0; k < ARRAY_SIZE(texts); k++) {
		AUTO(dockerfile_freep) Dockerfile *f = parse(texts[k]);
		assert_int_equal(f->escape, '\\');
		assert_string_equal(f->stages[0].instructions[0].args[0], "a  b");
	}
}

static void errors(void **state)
{
	static const char *const cases[][2] = {
		{ "", "Dockerfile: has no FROM" },
		{ "# a\n\nARG x\n", "Dockerfile: has no FROM" },
		{ "RUN a\n", "Dockerfile:1: RUN: only ARG may stand before" },
		{ "FROM a\n\nCPY a b\n", "Dockerfile:3: unknown instruction 'CPY'; did you mean COPY?" },
		{ "FROM a\nRUN x\n  && y\n", "Dockerfile:3: unknown instruction '&&'; is a '\\'" },
		{ "FROM\n", "Dockerfile:1: FROM: needs an image" },
		{ "FROM a b\n", "write FROM IMAGE or FROM IMAGE AS NAME" },
		{ "FROM a AS\n", "write FROM IMAGE" },
		{ "FROM a AS 1b\n", "'1b' cannot be the name of a stage" },
		{ "FROM a AS b$\n", "'b$' cannot be the name" },
		{ "FROM --platfrom=x a\n", "Dockerfile:1: FROM: unknown flag --platfrom; did you mean --platform?" },
		{ "FROM a\nCOPY --chwon=1 a b\n", "Dockerfile:2: COPY: unknown flag --chwon; did you mean --chown?" },
		{ "FROM a\nADD --from=x a b\n", "--from is a flag of COPY; ADD has --chown" },
		{ "FROM a\nENV --x=1 a=b\n", "unknown flag --x; ENV has no flags" },
		{ "FROM a\nCOPY --from a b\n", "--from needs a value" },
		{ "FROM a\nCOPY --from=a --from=b c d\n", "--from stands here twice" },
		{ "FROM a\nCOPY --link=maybe a b\n", "'maybe' is neither true nor false" },
		{ "FROM a\nCOPY a\n", "COPY: needs at least one source and a destination" },
		{ "FROM a\nCOPY a <<b\nb\n", "cannot be the destination" },
		{ "FROM a\nCOPY <<b c\nx\n", "Dockerfile:2: the heredoc <<b has no end" },
		{ "FROM a\nCOPY <<../b c/\nx\n../b\n", "must not have a slash" },
		{ "FROM a\nCOPY <<\"b c\" d/\nx\nb c\n", "must not have spaces" },
		{ "FROM a\nCOPY [\"a\", 1]\n", "strings only" },
		{ "FROM a\nRUN\n", "RUN: needs a command" },
		{ "FROM a\nRUN []\n", "RUN: needs a command" },
		{ "FROM a\nRUN [1]\n", "strings only" },
		{ "FROM a\nRUN --security=insecure x\n", "--security is not supported" },
		{ "FROM a\nRUN --device=x x\n", "--device is not supported" },
		{ "FROM a\nRUN --network=nnoe x\n", "did you mean none?" },
		{ "FROM a\nRUN --mount=type=cahce,target=/x y\n", "unknown type 'cahce'; did you mean cache?" },
		{ "FROM a\nRUN --mount=type=cache,tagret=/x y\n", "unknown key 'tagret'; did you mean target?" },
		{ "FROM a\nRUN --mount=type=cache y\n", "type=cache needs a target" },
		{ "FROM a\nRUN --mount=target=/ y\n", "must not be /" },
		{ "FROM a\nRUN --mount=type=secret y\n", "which secret?" },
		{ "FROM a\nRUN --mount=type=secret,id=a,source=b y\n", "'id' or 'source', not both" },
		{ "FROM a\nRUN --mount=type=secret,id=a,sharing=locked y\n", "'sharing' does not go with type=secret" },
		{ "FROM a\nRUN --mount=type=bind,target=/a,mode=0700 y\n", "'mode' does not go with type=bind" },
		{ "FROM a\nRUN --mount=type=bind,target=/a,required y\n", "'required' does not go with type=bind" },
		{ "FROM a\nRUN --mount=type=cache,target=/a,size=1m y\n", "'size' does not go with type=cache" },
		{ "FROM a\nRUN --mount=type=cache,target=/a,mode=9 y\n", "no octal mode" },
		{ "FROM a\nRUN --mount=type=cache,target=/a,uid=root y\n", "uid: 'root' is not a number" },
		{ "FROM a\nRUN --mount=type=cache,target=/a,sharing=lock y\n", "unknown sharing 'lock'" },
		{ "FROM a\nRUN --mount=from=$x,target=/a y\n", "'from' has no variables" },
		{ "FROM a\nRUN --mount=target y\n", "'target' needs a value" },
		{ "FROM a\nRUN --mount='\"target=/a' y\n", "a quote has no end" },
		{ "FROM a\nENV\n", "ENV: needs at least one NAME=VALUE" },
		{ "FROM a\nENV a\n", "'a' has no value" },
		{ "FROM a\nENV =a\n", "no name before" },
		{ "FROM a\nENV a=b c\n", "'c' has no '='" },
		{ "FROM a\nLABEL a=b c d\n", "'c' has no '='" },
		{ "FROM a\nARG\n", "ARG: needs at least one NAME" },
		{ "FROM a\nARG =x\n", "no name before" },
		{ "FROM a\nWORKDIR\n", "WORKDIR: needs an argument" },
		{ "FROM a\nUSER \n", "USER: needs an argument" },
		{ "FROM a\nEXPOSE\n", "EXPOSE: needs at least one port" },
		{ "FROM a\nVOLUME\n", "VOLUME: needs at least one path" },
		{ "FROM a\nVOLUME [\"\"]\n", "a path is empty" },
		{ "FROM a\nSTOPSIGNAL SIGFOO\n", "'SIGFOO' is no signal" },
		{ "FROM a\nSHELL /bin/bash -c\n", "needs a JSON list" },
		{ "FROM a\nSHELL []\n", "the list is empty" },
		{ "FROM a\nMAINTAINER\n", "needs an argument" },
		{ "FROM a\nHEALTHCHECK\n", "nothing: write HEALTHCHECK" },
		{ "FROM a\nHEALTHCHECK CMD\n", "a command is missing" },
		{ "FROM a\nHEALTHCHECK NONE x\n", "NONE takes no arguments" },
		{ "FROM a\nHEALTHCHECK curl x\n", "'curl': write HEALTHCHECK" },
		{ "FROM a\nHEALTHCHECK --interval=5 CMD x\n", "'5' is no duration" },
		{ "FROM a\nHEALTHCHECK --timeout=5us CMD x\n", "less than 1ms" },
		{ "FROM a\nHEALTHCHECK --retries=-1 CMD x\n", "not a number from 0" },
		{ "FROM a\nONBUILD\n", "ONBUILD: needs an instruction" },
		{ "FROM a\nONBUILD FROM b\n", "FROM is not allowed behind ONBUILD" },
		{ "FROM a\nONBUILD ONBUILD RUN b\n", "ONBUILD is not allowed behind ONBUILD" },
		{ "FROM a\nONBUILD MAINTAINER b\n", "MAINTAINER is not allowed" },
		{ "FROM a\nONBUILD CPY b c\n", "Dockerfile:2: ONBUILD: unknown instruction 'CPY'; did you mean COPY?" },
		{ "FROM a\nONBUILD COPY --fron=b c d\n", "Dockerfile:2: ONBUILD: COPY: unknown flag --fron" },
		{ "# escape=x\nFROM a\n", "Dockerfile:1: the escape character 'x'" },
		{ "# escape=`\n# escape=`\nFROM a\n", "Dockerfile:2: the parser directive 'escape'" },
		{ "# syntax=a\n# syntax=b\nFROM a\n", "Dockerfile:2: the parser directive 'syntax'" },
		{ "# check=skip\nFROM a\n", "the directive 'check' has 'skip'" },
		{ "FROM a\nRUN \xff\n", "not in UTF-8" },
	};
	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		AUTO(dockerfile_freep) Dockerfile *f = NULL;
		AUTO_ERR err = ERR_INIT;
		assert_true(dockerfile_parse("Dockerfile", cases[k][0], strlen(cases[k][0]), &f, &err) < 0);
		assert_null(f);
		if (!strstr(err_text(&err), cases[k][1]))
			fail_msg("%s\n gave: %s\n not: %s", cases[k][0], err_text(&err), cases[k][1]);
	}
	AUTO_ERR err = ERR_INIT;
	Dockerfile *f;
	assert_true(dockerfile_parse("D", "FROM a\n\0", 8, &f, &err) < 0);
	assert_non_null(strstr(err_text(&err), "NUL"));
}

static void texts(void **state)
{
	AUTO(dockerfile_freep) Dockerfile *f = parse("FROM a\nCOPY <<x \\\n y\n1\n2\nx\nRUN  b \\\n  c\n");
	assert_string_equal(f->stages[0].instructions[0].text, "COPY <<x  y\n1\n2\nx");
	assert_string_equal(f->stages[0].instructions[1].text, "RUN  b   c");
	assert_int_equal(f->stages[0].instructions[0].last_line, 6);
}

static void triggers(void **state)
{
	AUTO(dockerfile_freep) Dockerfile *f = parse("FROM a\n");
	AUTO(instruction_done) Instruction i = { 0 };
	AUTO_ERR err = ERR_INIT;
	assert_int_equal(dockerfile_parse_trigger(f, "COPY <<a --b c\nx\na", 7, &i, &err), 0);
	AUTO_BUF b = BUF_INIT;
	show(&b, &i);
	assert_string_equal(buf_cstr(&b), "7 COPY <--b><c> a$[x\n]\n");
	static const char *const bad[] = { "FROM a", "ONBUILD RUN a", "MAINTAINER a", "", "RNU a", "COPY <<a b" };
	for (size_t k = 0; k < ARRAY_SIZE(bad); k++) {
		AUTO(instruction_done) Instruction n = { 0 };
		assert_true(dockerfile_parse_trigger(f, bad[k], 7, &n, &err) < 0);
		assert_true(str_starts(err_text(&err), "Dockerfile:7: FROM: trigger of the base image"));
	}
}

static void commands(void **state)
{
	static const struct {
		const char *text, *wanted, *script;
	} cases[] = {
		{ "RUN a b", "</bin/sh><-c><a b>", NULL },
		{ "RUN [\"a\",\"b\"]", "<a><b>", NULL },
		{ "CMD", "", NULL },
		{ "RUN <<E\na\nb\nE", "</bin/sh><-c><a\nb\n>", NULL },
		{ "RUN <<-E\n\ta\n\tE", "</bin/sh><-c><a\n>", NULL },
		{ "RUN <<E\n#!/bin/x\nb\nE", "</dev/pipes/E>", "#!/bin/x\nb\n" },
		{ "RUN <<\"a b\"\nc\na b", "</bin/sh><-c><c\n>", NULL },
		{ "RUN python3 <<E\nb\nE", "</bin/sh><-c><python3 <<E\nb\nE\n>", NULL },
		{ "RUN a <<'E' <<F\nb\nE\nc\nF", "</bin/sh><-c><a <<'E' <<F\nb\nE\nc\nF\n>", NULL },
	};
	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		AUTO_FREE char *text = xasprintf("FROM a\n%s\n", cases[k].text);
		AUTO(dockerfile_freep) Dockerfile *f = parse(text);
		const char *script;
		AUTO_STRV char **argv = instruction_command(&f->stages[0].instructions[0], NULL, &script);
		AUTO_BUF b = BUF_INIT;
		show_words(&b, "", argv);
		assert_string_equal(buf_cstr(&b), cases[k].wanted);
		assert_true(str_eq(script, cases[k].script));
	}
	AUTO(dockerfile_freep) Dockerfile *f = parse("FROM a\nRUN x\n");
	const char *script;
	char *const shell[] = { (char[]){ "bash" }, (char[]){ "-ec" }, NULL };
	AUTO_STRV char **argv = instruction_command(&f->stages[0].instructions[0], shell, &script);
	assert_string_equal(argv[0], "bash");
	assert_string_equal(argv[2], "x");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(instructions),
		cmocka_unit_test(mounts),
		cmocka_unit_test(stages),
		cmocka_unit_test(directives_end),
		cmocka_unit_test(errors),
		cmocka_unit_test(texts),
		cmocka_unit_test(triggers),
		cmocka_unit_test(commands),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
