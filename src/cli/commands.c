// SPDX-License-Identifier: Apache-2.0
/*
 * How it works: the options before the verb are parsed with a scope of their own that stops at the
 * first operand, which names the verb (one word, or two for "image ls"). The rest is parsed with the
 * command's table in front of the global one, so that both kinds may stand after the verb and the
 * command's letters win. What is wrong with the line is found before the command runs.
 */
#include "cli/commands.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/client.h"
#include "cli/ssh.h"
#include "cli/term.h"

extern const Command command_up, command_down, command_ps, command_logs, command_exec, command_start,
	command_stop, command_restart, command_kill, command_rm, command_wait, command_top, command_stats,
	command_ls, command_config, command_events, command_inspect, command_images, command_rmi, command_load,
	command_save, command_import, command_image_bootstrap, command_image_prune, command_volume_ls,
	command_volume_rm, command_network_ls, command_version, command_info, command_daemon, command_help_verb,
	command_complete, command_options, command_deploy, command_releases, command_rollback, command_routes, command_maintenance,
	command_cache_purge, command_ship, command_pull, command_push, command_login, command_logout, command_dial_stdio, command_build, command_builder_prune, command_why;
extern const Command command_setup;

static const Verb verbs[] = {
	{ "up", &command_up },
	{ "down", &command_down },
	{ "build", &command_build },
	{ "builder prune", &command_builder_prune },
	{ "why", &command_why },
	{ "deploy", &command_deploy },
	{ "releases", &command_releases },
	{ "rollback", &command_rollback },
	{ "routes", &command_routes },
	{ "maintenance", &command_maintenance },
	{ "cache purge", &command_cache_purge },
	{ "ship", &command_ship },
	{ "ps", &command_ps },
	{ "logs", &command_logs },
	{ "exec", &command_exec },
	{ "start", &command_start },
	{ "stop", &command_stop },
	{ "restart", &command_restart },
	{ "kill", &command_kill },
	{ "rm", &command_rm },
	{ "wait", &command_wait },
	{ "top", &command_top },
	{ "stats", &command_stats },
	{ "ls", &command_ls },
	{ "config", &command_config },
	{ "events", &command_events },
	{ "inspect", &command_inspect },
	{ "images", &command_images },
	{ "rmi", &command_rmi },
	{ "pull", &command_pull },
	{ "push", &command_push },
	{ "login", &command_login },
	{ "logout", &command_logout },
	{ "load", &command_load },
	{ "save", &command_save },
	{ "import", &command_import },
	{ "image bootstrap", &command_image_bootstrap },
	{ "image prune", &command_image_prune },
	{ "image ls", &command_images },
	{ "image rm", &command_rmi },
	{ "image pull", &command_pull },
	{ "image push", &command_push },
	{ "image load", &command_load },
	{ "image save", &command_save },
	{ "image import", &command_import },
	{ "image-bootstrap", &command_image_bootstrap },
	{ "volume ls", &command_volume_ls },
	{ "volume rm", &command_volume_rm },
	{ "network ls", &command_network_ls },
	{ "setup", &command_setup },
	{ "version", &command_version },
	{ "info", &command_info },
	{ "daemon", &command_daemon },
	{ "help", &command_help_verb },
	{ "dial-stdio", &command_dial_stdio },
	{ "__complete", &command_complete },
	{ "__options", &command_options },
};

#define G(member) offsetof(Global, member)
const Option global_options[] = {
	{ "file", 'f', OPTION_LIST, G(files), "FILE", "Compose file; a further one is merged over it; - is standard input", "file" },
	{ "project-name", 'p', OPTION_STRING, G(project), "NAME", "Name of the stack", "stack" },
	{ "host", 'H', OPTION_STRING, G(host), "URL", "The daemon: unix:///PATH, ssh://[USER@]HOST or a named host (default: STEAD_HOST, " CLIENT_DEFAULT_HOST ")", NULL },
	{ "project-directory", 0, OPTION_STRING, G(directory), "DIR", "Directory that relative paths start from", "directory" },
	{ "env-file", 0, OPTION_LIST, G(env_files), "FILE", "File of variables instead of .env", "file" },
	{ "profile", 0, OPTION_LIST, G(profiles), "NAME", "Turn a profile on", NULL },
	{ "json", 0, OPTION_FLAG, G(json), NULL, "Machine-readable output: one JSON object a line", NULL },
	{ "ansi", 0, OPTION_CHOICE, G(ansi), "WHEN", "Escape sequences", "auto never always" },
	{ "progress", 0, OPTION_CHOICE, G(progress), "KIND", "How progress is shown", "auto tty plain quiet" },
	{ "help", 'h', OPTION_FLAG, G(help), NULL, "Show how to use a command", NULL },
	{ "version", 0, OPTION_FLAG, G(version), NULL, "Show the version of this program", NULL },
	{ NULL },
};
/* Before the verb docker knows -v; behind it the letter is the commands'. */
static const Option leading_options[] = {
	{ "version", 'v', OPTION_FLAG, G(version), NULL, "", NULL },
	{ NULL },
};
static const Option no_options[] = { { NULL } };

const Verb *verb_at(size_t i)
{
	return i < ARRAY_SIZE(verbs) ? &verbs[i] : NULL;
}

const Verb *verb_find(char *const *args, size_t *ret_words)
{
	for (size_t i = 0; args && args[0] && i < ARRAY_SIZE(verbs); i++) {
		const char *name = verbs[i].name, *space = strchr(name, ' ');
		size_t n = space ? (size_t) (space - name) : strlen(name);
		if (strlen(args[0]) != n || memcmp(args[0], name, n) != 0)
			continue;
		if (space && !str_eq(args[1], space + 1))
			continue;
		*ret_words = space ? 2 : 1;
		return &verbs[i];
	}
	return NULL;
}

static bool verb_is_main(const Verb *v)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (verbs[i].command == v->command)
			return &verbs[i] == v;
	return false;
}

static void help_overview(Buf *out)
{
	buf_str(out, "Usage: stead [OPTIONS] COMMAND [ARGUMENT...]\n\nRuns the stacks that compose files describe, on this machine.\n\nCommands:\n");
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (!(verbs[i].command->flags & COMMAND_HIDDEN) && verb_is_main(&verbs[i]))
			buf_printf(out, "  %-16s  %s\n", verbs[i].name, verbs[i].command->summary);
	buf_str(out, "\nOptions, before or after the command:\n");
	options_help(global_options, NULL, out);
	buf_str(out, "\n'stead COMMAND --help' says more about a command.\n");
}

void command_help(const Verb *v, Buf *out)
{
	if (!v) {
		help_overview(out);
		return;
	}
	const Command *c = v->command;
	buf_printf(out, "Usage: stead %s%s%s%s\n\n%s\n", v->name, c->options ? " [OPTIONS]" : "", *c->operands ? " " : "", c->operands, c->summary);
	bool first = true;
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		if (verbs[i].command != c || str_eq(verbs[i].name, v->name))
			continue;
		buf_printf(out, "%s%s", first ? "\nAlso: " : ", ", verbs[i].name);
		first = false;
	}
	if (!first)
		buf_char(out, '\n');
	if (c->text)
		buf_printf(out, "\n%s\n", c->text);
	if (c->options) {
		buf_str(out, "\nOptions:\n");
		options_help(c->options, NULL, out);
	}
	buf_str(out, "\nGlobal options:\n");
	options_help(global_options, c->options ? c->options : no_options, out);
}

static void print_message(const char *prefix, const char *text)
{
	AUTO_BUF out = BUF_INIT;
	buf_str(&out, prefix);
	for (const char *line = text; *line;) {
		size_t n = strcspn(line, "\n");
		AUTO_FREE char *part = xstrndup(line, n);
		term_clean(&out, part);
		line += n + (line[n] == '\n');
		if (*line)
			buf_char(&out, '\n');
	}
	buf_char(&out, '\n');
	(void) fflush(stdout);
	(void) fwrite(buf_cstr(&out), 1, out.len, stderr);
}

__attribute__((format(printf, 2, 0))) static void print_formatted(const char *prefix, const char *fmt, va_list ap)
{
	AUTO_FREE char *text = NULL;
	text = xvasprintf(fmt, ap);
	print_message(prefix, text);
}

void cli_error(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	print_formatted("stead: ", fmt, ap);
	va_end(ap);
}

void cli_warning(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	print_formatted("stead: warning: ", fmt, ap);
	va_end(ap);
}

int cli_fail(const Err *err)
{
	print_message("stead: ", err_text(err));
	/* Nothing has been begun on a machine that could not be reached. */
	return err->code == -ENOTCONN ? EXIT_USAGE : EXIT_FAILED;
}

int cli_refuse(const Err *err)
{
	(void) cli_fail(err);
	return EXIT_USAGE;
}

int cli_usage(const Cli *cli, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	print_formatted("stead: ", fmt, ap);
	va_end(ap);
	fprintf(stderr, "See 'stead %s%s--help'.\n", cli->verb ? cli->verb : "", cli->verb ? " " : "");
	return EXIT_USAGE;
}

ProgressMode cli_progress_mode(const Cli *cli)
{
	static const struct {
		const char *name;
		ProgressMode mode;
	} kinds[] = { { "tty", PROGRESS_LIVE }, { "plain", PROGRESS_PLAIN }, { "quiet", PROGRESS_QUIET } };
	if (cli->global.json)
		return PROGRESS_JSON;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (str_eq(kinds[i].name, cli->global.progress))
			return kinds[i].mode;
	return PROGRESS_AUTO;
}

static const char *next_verb(void *state)
{
	size_t *at = state;
	while (*at < ARRAY_SIZE(verbs)) {
		const Verb *v = &verbs[(*at)++];
		if (!(v->command->flags & COMMAND_HIDDEN))
			return v->name;
	}
	return NULL;
}

/* "stead image" and "stead image lss": what the group has. */
static bool print_group(const char *word)
{
	AUTO_BUF out = BUF_INIT;
	size_t n = strlen(word);
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (strncmp(verbs[i].name, word, n) == 0 && verbs[i].name[n] == ' ')
			buf_printf(&out, "  %-16s  %s\n", verbs[i].name, verbs[i].command->summary);
	if (!out.len)
		return false;
	fprintf(stderr, "Commands of 'stead %s':\n%s", word, buf_cstr(&out));
	return true;
}

static int unknown_verb(const Cli *cli, char *const *args)
{
	size_t at = 0;
	if (cli->global.help && !args[1] && print_group(args[0]))
		return EXIT_DONE;
	if (print_group(args[0]))
		return EXIT_USAGE;
	const char *near = nearest_word(args[0], next_verb, &at);
	if (near)
		return cli_usage(cli, "unknown command '%s'; did you mean '%s'?", args[0], near);
	return cli_usage(cli, "unknown command '%s'", args[0]);
}

static int check_operands(const Cli *cli, char *const *args)
{
	const Command *c = cli->command;
	size_t n = strv_len(args);
	if (cli->global.json && !(c->flags & COMMAND_JSON))
		return cli_usage(cli, "'%s' has no --json", cli->verb);
	if (n < (size_t) c->min)
		return cli_usage(cli, "'%s' needs %s", cli->verb, c->operands);
	if (c->max == 0 && n)
		return cli_usage(cli, "'%s' takes no operands, but '%s' was given", cli->verb, args[0]);
	if (c->max > 0 && n > (size_t) c->max)
		return cli_usage(cli, "'%s' takes %s, and '%s' is too much", cli->verb, c->operands, args[c->max]);
	return 0;
}

/* Writes what stdout still holds; a full disk must not look like success. */
static int flush_output(int code)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return code;
	cli_error("cannot write the output: %s", strerror(errno));
	return code ? code : EXIT_FAILED;
}

static void print_version(void)
{
	printf("stead %s\n", STEAD_VERSION);
}

static int run_command(Cli *cli, int argc, char *const *argv)
{
	const Command *c = cli->command;
	AUTO_ERR err = ERR_INIT;
	AUTO_STRV char **args = NULL;
	OptionTable table = c->options ? c->options : no_options;
	AUTO_FREE void *values = xcalloc(1, c->size ? c->size : 1);
	const OptionScope scopes[] = { { table, values }, { global_options, &cli->global } };
	int code;
	options_init(table, values);
	if (options_parse(argc, argv, scopes, ARRAY_SIZE(scopes), c->flags & COMMAND_STOP, &args, &err) < 0) {
		code = cli_usage(cli, "%s: %s", cli->verb, err_text(&err));
		goto out;
	}
	term_set_ansi(str_eq(cli->global.ansi, "never") ? TERM_NEVER : str_eq(cli->global.ansi, "always") ? TERM_ALWAYS : TERM_AUTO);
	if (cli->global.version) {
		print_version();
		code = EXIT_DONE;
		goto out;
	}
	if (cli->global.help) {
		AUTO_BUF help = BUF_INIT;
		const Verb v = { cli->verb, c };
		command_help(&v, &help);
		(void) fputs(buf_cstr(&help), stdout);
		code = EXIT_DONE;
		goto out;
	}
	code = check_operands(cli, args);
	if (!code)
		code = c->run(cli, values, args);
out:
	options_done(table, values);
	return code;
}

static int cli_run(Cli *cli, int argc, char **argv)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_STRV char **args = NULL;
	const OptionScope scopes[] = { { leading_options, &cli->global }, { global_options, &cli->global } };
	size_t words;
	if (options_parse(argc - 1, argv + 1, scopes, ARRAY_SIZE(scopes), true, &args, &err) < 0)
		return cli_usage(cli, "%s", err_text(&err));
	if (cli->global.version) {
		print_version();
		return EXIT_DONE;
	}
	if (!args) {
		AUTO_BUF help = BUF_INIT;
		command_help(NULL, &help);
		(void) fputs(buf_cstr(&help), cli->global.help ? stdout : stderr);
		return cli->global.help ? EXIT_DONE : EXIT_USAGE;
	}
	const Verb *v = verb_find(args, &words);
	if (!v)
		return unknown_verb(cli, args);
	cli->command = v->command;
	cli->verb = v->name;
	if (v->command->flags & COMMAND_RAW)
		return v->command->run(cli, NULL, args + words);
	/* What follows are argv's own strings: values of options are borrowed from there. */
	int rest = argc - (int) (strv_len(args) - words);
	return run_command(cli, argc - rest, argv + rest);
}

int cli_main(int argc, char **argv, DaemonMain daemon)
{
	FileHost file_host = { 0 };
	Cli cli = { .daemon = daemon, .file_host = &file_host };
	for (int i = 1; i < argc; i++)
		if (!str_is_utf8(argv[i], strlen(argv[i])))
			return cli_usage(&cli, "argument %d is not UTF-8", i);
	options_init(global_options, &cli.global);
	int code = cli_run(&cli, argc, argv);
	options_done(global_options, &cli.global);
	ssh_close_all();
	free(file_host.host);
	return flush_output(code);
}
