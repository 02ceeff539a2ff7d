// SPDX-License-Identifier: Apache-2.0
/*
 * How it works: first a script asks the machine what it is (setup-probe.sh, through standard input of a shell there), and what would be
 * done is printed. Then one ssh carries an archive with programs, unit and a script (setup-install.sh), which is unpacked to a directory of its
 * own and run there as root. Both scripts and the commands that start them are constants; what differs travels as files.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/client.h"
#include "cli/host.h"
#include "cli/setup-box.h"
#include "cli/setup-files.h"
#include "cli/ssh-run.h"
#include "cli/term.h"

#define PASSWORD_MAX 256

static const char probe_script[] =
#include "cli/setup-probe.inc"
	;

/* The rest of the line is for the shell that runs it, /bin/sh, whatever the user's own shell is: no single quote, no exclamation mark. */
#define UNPACK "umask 077; d=$(mktemp -d /var/tmp/stead-setup.XXXXXX) || exit 1; trap \"rm -rf $d\" EXIT; trap \"exit 1\" HUP INT TERM; "
#define UNTAR "tar -xf - -C \"$d\" || exit 1; "
static const char as_root[] = "exec sh -c '" UNPACK UNTAR "sh \"$d/setup\" \"$d\" 2>&1'";
static const char with_sudo[] = "exec sh -c '" UNPACK UNTAR "sudo -n sh \"$d/setup\" \"$d\" 2>&1'";
/* The first line of the input is the password: `read` takes no byte more, and printf is the shell's own, so it is in no command line. */
static const char with_password[] = "exec sh -c 'IFS= read -r p; " UNPACK UNTAR "printf \"%s\\n\" \"$p\" | sudo -k -S -p \"\" sh \"$d/setup\" \"$d\" 2>&1'";

typedef struct SetupOptions {
	bool yes, dry_run;
	const char *binary_dir;
} SetupOptions;

#define S(member) offsetof(SetupOptions, member)
static const Option options[] = {
	{ "yes", 'y', OPTION_FLAG, S(yes), NULL, "Do it without asking", NULL },
	{ "dry-run", 's', OPTION_FLAG, S(dry_run), NULL, "Only say what would be done", NULL },
	{ "binary-dir", 0, OPTION_STRING, S(binary_dir), "DIR", "Programs to install, built for that machine (default: those that run here)", "directory" },
	{ NULL },
};

static int probe(const HostAddress *a, const char *url, SetupBox *ret, Err *err)
{
	AUTO_BUF input = BUF_INIT, output = BUF_INIT, errors = BUF_INIT;
	buf_str(&input, "wanted='");
	for (size_t i = 0; setup_packages[i]; i++)
		buf_printf(&input, "%s ", setup_packages[i]);
	buf_printf(&input, "'\n%s", probe_script);
	const SshRun run = { .command = "exec sh -s", .input = input.data, .input_len = input.len, .output_max = SETUP_PROBE_MAX };
	int r = ssh_run(a, url, &run, &output, &errors, err);
	if (r < 0)
		return r;
	r = setup_box_parse(buf_cstr(&output), output.len, ret, err);
	return r < 0 ? err_wrap(err, "%s", url) : 0;
}

static void print_clean(const char *text, FILE *to)
{
	AUTO_BUF out = BUF_INIT;
	for (const char *line = text; *line;) {
		size_t n = strcspn(line, "\n");
		AUTO_FREE char *part = xstrndup(line, n);
		term_clean(&out, part);
		buf_char(&out, '\n');
		line += n + (line[n] == '\n');
	}
	(void) fputs(buf_cstr(&out), to);
	(void) fflush(to);
}

/* Lines as they come, whole. */
static void on_output(void *user, const char *p, size_t n)
{
	Buf *b = user;
	buf_append(b, p, n);
	char *last = memrchr(b->data, '\n', b->len);
	if (!last && b->len < SETUP_PROBE_MAX)
		return;
	size_t whole = last ? (size_t) (last - b->data) + 1 : b->len;
	AUTO_FREE char *text = xstrndup(b->data, whole);
	print_clean(text, stdout);
	buf_consume(b, whole);
}

static int ask(const Cli *cli, const SetupOptions *o)
{
	char answer[16] = "";
	if (o->yes)
		return 0;
	if (isatty(STDIN_FILENO) != 1)
		return cli_usage(cli, "'setup' asks before it changes anything, and there is no terminal to ask on: add --yes");
	fprintf(stderr, "Go on? [Y/n] ");
	if (fgets(answer, sizeof(answer), stdin) && strchr("yY\n", *answer) && *answer)
		return 0;
	fprintf(stderr, "Nothing was changed.\n");
	return EXIT_FAILED;
}

/* A line from the terminal, not shown; appended with its newline. */
static int ask_password(const char *user, const char *url, Buf *ret, Err *err)
{
	AUTO_CLOSE int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	AUTO_FREE char *question = xasprintf("Password of %s at %s, for sudo: ", user, url);
	char line[PASSWORD_MAX];
	if (tty < 0)
		return err_set(err, -ENOTTY, "%s: sudo wants a password there, and there is no terminal to ask for it; use ssh://root@…, or let %s use sudo "
			"without (NOPASSWD in /etc/sudoers.d)", url, user);
	ssize_t n = term_ask_hidden(tty, tty, question, line, sizeof(line));
	if (n < 2 || line[n - 1] != '\n')
		return err_set(err, -EINVAL, "%s: no password, so nothing was changed", url);
	buf_append(ret, line, (size_t) n);
	explicit_bzero(line, sizeof(line));
	return 0;
}

static int install(const HostAddress *a, const char *url, const SetupBox *b, Buf *input, Err *err)
{
	static const char *const options_ssh[] = { "-C", NULL };
	AUTO_BUF partial = BUF_INIT, unused = BUF_INIT, errors = BUF_INIT;
	const char *command = b->root == ROOT_IS ? as_root : b->root == ROOT_SUDO ? with_sudo : with_password;
	const SshRun run = { .options = options_ssh, .command = command, .input = input->data, .input_len = input->len, .output = on_output, .user = &partial };
	int r = ssh_run(a, url, &run, &unused, &errors, err);
	print_clean(buf_cstr(&partial), stdout);
	if (r > 0) {
		print_clean(buf_cstr(&errors), stderr);
		return err_set(err, -EIO, "%s: setup did not come to its end there; when the cause is mended, run it again", url);
	}
	return r;
}

/* A connection that the user's ssh keeps for all (ControlMaster) was made before the group counted: it takes no further sessions; those it has go on. */
static void end_sharing(const HostAddress *a, const char *url)
{
	static const char *const options_ssh[] = { "-O", "stop", NULL };
	AUTO_BUF unused = BUF_INIT, errors = BUF_INIT;
	const SshRun run = { .options = options_ssh, .command = "true" };
	(void) ssh_run(a, url, &run, &unused, &errors, NULL); /* mostly there is none */
}

/* The way that every other command takes. */
static int check(const Cli *cli, const char *url, Err *err)
{
	AUTO_HTTP *c = NULL;
	json_t *version = NULL;
	int r = client_open_host(cli, url, &c, err);
	if (r == 0)
		r = client_get(c, "/version", JSON_OBJECT, &version, err);
	if (r < 0)
		return r;
	printf("%s answers: 'stead -H %s ps -A' works from now on\n", url, url);
	json_decref(version);
	return 0;
}

static int prepare(const Cli *cli, const SetupOptions *o, HostAddress *a, char **url, SetupBox *b, Buf *archive)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_BUF plan = BUF_INIT;
	if (client_host(cli, url, &err) < 0 || host_parse(*url, a, &err) < 0)
		return cli_refuse(&err);
	if (!a->ssh)
		return cli_usage(cli, "'setup' installs stead on another machine: add -H ssh://[USER@]HOST; here, 'make install' does it");
	if (probe(a, *url, b, &err) < 0 || setup_box_check(b, *url, &err) < 0)
		return cli_refuse(&err);
	if (setup_archive(o->binary_dir, b->arch, b->user, archive, &err) < 0)
		return cli_refuse(&err);
	setup_box_plan(b, *url, o->binary_dir ? "of that directory" : STEAD_VERSION, &plan);
	print_clean(buf_cstr(&plan), stdout);
	return 0;
}

static int run(Cli *cli, void *values, char **args)
{
	const SetupOptions *o = values;
	AUTO_HOST a = { 0 };
	AUTO_FREE char *url = NULL;
	AUTO_BOX b = { 0 };
	AUTO_BUF archive = BUF_INIT, input = BUF_INIT;
	AUTO_ERR err = ERR_INIT;
	int code = prepare(cli, o, &a, &url, &b, &archive);
	if (code || o->dry_run)
		return code;
	code = ask(cli, o);
	if (code)
		return code;
	if (b.root == ROOT_PASSWORD && ask_password(b.user, url, &input, &err) < 0)
		return cli_refuse(&err);
	buf_append(&input, archive.data, archive.len);
	int r = install(&a, url, &b, &input, &err);
	if (r == 0 && b.root != ROOT_IS && !b.member)
		end_sharing(&a, url);
	if (r == 0)
		r = check(cli, url, &err);
	explicit_bzero(input.data, input.len);
	return r < 0 ? cli_fail(&err) : EXIT_DONE;
}

const Command command_setup = {
	.name = "setup",
	.operands = "",
	.summary = "Install stead on the machine that -H names, through ssh",
	.text = "For Debian 12, Ubuntu 22.04, Raspberry Pi OS of 2023 and later ones: the packages that stead runs on, its programs with\n"
		"man page and completion for bash, the group stead, and the service, which is enabled and started. Says what it will do,\n"
		"asks, and can be run again at any time: to update stead, too. As root, or with sudo. A machine of another architecture\n"
		"needs --binary-dir.",
	.options = options,
	.size = sizeof(SetupOptions),
	.run = run,
};
