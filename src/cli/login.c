// SPDX-License-Identifier: Apache-2.0
/*
 * The daemon tries the credentials; they are kept on this side alone, where docker looks for them, too.
 */
#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/client.h"
#include "cli/docker-config.h"
#include "cli/output.h"
#include "cli/term.h"

#define TEXT_MAX 65536

typedef struct LoginOptions {
	const char *user, *password;
	bool password_stdin;
} LoginOptions;

#define L(member) offsetof(LoginOptions, member)
static const Option options[] = {
	{ "username", 'u', OPTION_STRING, L(user), "NAME", "User name (default: asked for)", NULL },
	{ "password", 'p', OPTION_STRING, L(password), "TEXT", "Password or token: others see it in the list of processes", NULL },
	{ "password-stdin", 0, OPTION_FLAG, L(password_stdin), NULL, "Read the password from standard input", NULL },
	{ NULL },
};

static void wipe(char **text)
{
	if (*text)
		explicit_bzero(*text, strlen(*text));
	free(*text);
}

/* A line of standard input, without its end. NULL at the end of the input. */
static char *read_line(void)
{
	AUTO_BUF b = BUF_INIT;
	char c;
	ssize_t n;
	while ((n = read(STDIN_FILENO, &c, 1)) > 0 && c != '\n' && b.len < TEXT_MAX)
		buf_char(&b, c);
	if (n <= 0 && !b.len)
		return NULL;
	if (b.len && b.data[b.len - 1] == '\r')
		b.data[--b.len] = '\0';
	return buf_steal(&b);
}

static char *ask(const char *prompt)
{
	fputs(prompt, stderr);
	return read_line();
}

static char *ask_hidden(const char *prompt)
{
	char line[4096]; /* a terminal gives no longer one */
	ssize_t n = term_ask_hidden(STDIN_FILENO, STDERR_FILENO, prompt, line, sizeof(line));
	char *text = n > 0 ? xstrndup(line, (size_t) n - (line[n - 1] == '\n')) : NULL;
	explicit_bzero(line, sizeof(line));
	return text;
}

/* 0 or an exit code. */
static int get_credentials(const Cli *cli, const LoginOptions *o, char **ret_user, char **ret_password)
{
	bool terminal = isatty(STDIN_FILENO) == 1;
	if (o->password && o->password_stdin)
		return cli_usage(cli, "--password and --password-stdin contradict each other");
	if (o->password_stdin && !o->user)
		return cli_usage(cli, "--password-stdin needs --username");
	if ((!o->user || (!o->password && !o->password_stdin)) && !terminal)
		return cli_usage(cli, "there is no terminal to ask on: give --username and --password-stdin");
	*ret_user = o->user ? xstrdup(o->user) : ask("Username: ");
	if (str_empty(*ret_user))
		return cli_usage(cli, "a user name is needed");
	*ret_password = o->password ? xstrdup(o->password) : o->password_stdin ? read_line() : ask_hidden("Password: ");
	if (str_empty(*ret_password))
		return cli_usage(cli, "a password is needed");
	return 0;
}

static int try(HttpClient *client, const char *domain, const char *user, const char *password, Err *err)
{
	AUTO_FREE char *key = docker_config_key(domain);
	json_t *body = json_pack("{s:s, s:s, s:s}", "username", user, "password", password, "serveraddress", key), *answer = NULL;
	if (!body)
		return err_set(err, -EINVAL, "the user name or password is not UTF-8");
	int r = client_post(client, "/auth", body, &answer, err);
	json_decref(body);
	json_decref(answer);
	return r;
}

static int run(Cli *cli, void *values, char **args)
{
	AUTO_HTTP *client = NULL;
	AUTO_ERR err = ERR_INIT;
	AUTO_FREE char *domain = docker_config_domain(args ? args[0] : NULL);
	AUTO(wipe) char *user = NULL;
	AUTO(wipe) char *password = NULL;
	bool file = false;
	int code = get_credentials(cli, values, &user, &password);
	if (!code)
		code = client_open_or_fail(cli, &client);
	if (code)
		return code;
	if (try(client, domain, user, password, &err) < 0 || docker_config_store(domain, user, password, &file, &err) < 0)
		return cli_fail(&err);
	if (file) {
		AUTO_FREE char *path = docker_config_path();
		cli_warning("the password is kept as it is in %s (0600); a credential helper ('credsStore' in it) keeps it better", path);
	}
	puts("Login Succeeded");
	return EXIT_DONE;
}

const Command command_login = {
	.name = "login",
	.operands = "[REGISTRY]",
	.summary = "Log in to a registry",
	.text = "REGISTRY is HOST or HOST:PORT (default: Docker Hub). The credentials are kept in ~/.docker/config.json, or by the helper that\n"
		"it names, as docker does: who has logged in with docker need not do so again. They go with each pull and push, and are\n"
		"kept nowhere else.",
	.options = options,
	.size = sizeof(LoginOptions),
	.max = 1,
	.run = run,
};

static int run_logout(Cli *cli, void *values, char **args)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_FREE char *domain = docker_config_domain(args ? args[0] : NULL);
	int r = docker_config_erase(domain, &err);
	if (r < 0)
		return cli_fail(&err);
	AUTO_FREE char *line = xasprintf(r == 0 ? "Removed the credentials for %s" : "Not logged in to %s", domain);
	print_clean_line(line);
	return EXIT_DONE;
}

static const Option no_options[] = { { NULL } };

const Command command_logout = {
	.name = "logout",
	.operands = "[REGISTRY]",
	.summary = "Forget the credentials of a registry",
	.options = no_options,
	.max = 1,
	.run = run_logout,
};
