// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/str.h"
#include "run/bundle.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static void append_all(char ***dst, char *const *v)
{
	for (size_t i = 0; v && v[i]; i++)
		strv_add(dst, v[i]);
}

char **process_args(const Service *svc, const Image *img)
{
	char **args = NULL;
	bool own_entrypoint = svc->entrypoint_set || strv_len(svc->entrypoint) > 0;
	bool own_command = svc->command_set || strv_len(svc->command) > 0;
	if (own_entrypoint)
		append_all(&args, svc->entrypoint);
	else if (img)
		append_all(&args, img->config.entrypoint);
	if (own_command)
		append_all(&args, svc->command);
	else if (img && !own_entrypoint)
		append_all(&args, img->config.cmd);
	return args;
}

static void env_unset(char ***env, const char *key)
{
	size_t n = strlen(key), out = 0;
	for (size_t i = 0; *env && (*env)[i]; i++) {
		if (strncmp((*env)[i], key, n) == 0 && (*env)[i][n] == '=')
			free((*env)[i]);
		else
			(*env)[out++] = (*env)[i];
	}
	if (*env)
		(*env)[out] = NULL;
}

static void env_apply(char ***env, char *const *v)
{
	for (size_t i = 0; v && v[i]; i++) {
		const char *eq = strchr(v[i], '=');
		if (eq == v[i])
			continue;
		if (!eq) {
			env_unset(env, v[i]);
			continue;
		}
		AUTO_FREE char *key = xstrndup(v[i], (size_t) (eq - v[i]));
		strv_setenv(env, key, eq + 1);
	}
}

static void env_default(char ***env, const char *key, const char *value)
{
	if (value && !strv_env(*env, key))
		strv_setenv(env, key, value);
}

char **process_env(const Service *svc, const Image *img, const char *hostname, const char *home)
{
	char **env = NULL;
	strv_add(&env, "PATH=" DEFAULT_PATH);
	if (hostname)
		strv_setenv(&env, "HOSTNAME", hostname);
	if (svc->tty)
		strv_add(&env, "TERM=xterm");
	if (img)
		env_apply(&env, img->config.env);
	env_apply(&env, svc->environment);
	env_default(&env, "HOME", home);
	return env;
}

/* ── signals ──────────────────────────────────────────────────────── */

static const struct {
	const char *name;
	int number;
} signals[] = {
	{ "HUP", SIGHUP }, { "INT", SIGINT }, { "QUIT", SIGQUIT }, { "ILL", SIGILL }, { "TRAP", SIGTRAP }, { "ABRT", SIGABRT },
	{ "IOT", SIGABRT }, { "BUS", SIGBUS }, { "FPE", SIGFPE }, { "KILL", SIGKILL }, { "USR1", SIGUSR1 }, { "SEGV", SIGSEGV },
	{ "USR2", SIGUSR2 }, { "PIPE", SIGPIPE }, { "ALRM", SIGALRM }, { "TERM", SIGTERM }, { "STKFLT", 16 }, { "CHLD", SIGCHLD },
	{ "CLD", SIGCHLD }, { "CONT", SIGCONT }, { "STOP", SIGSTOP }, { "TSTP", SIGTSTP }, { "TTIN", SIGTTIN }, { "TTOU", SIGTTOU },
	{ "URG", SIGURG }, { "XCPU", SIGXCPU }, { "XFSZ", SIGXFSZ }, { "VTALRM", SIGVTALRM }, { "PROF", SIGPROF },
	{ "WINCH", SIGWINCH }, { "IO", SIGIO }, { "POLL", SIGIO }, { "PWR", SIGPWR }, { "SYS", SIGSYS },
};

/* As the kernel numbers them; libc keeps the first two for itself. */
#define RT_FIRST 34
#define RT_LAST 64

int signal_parse(const char *s)
{
	uint32_t n = 0;
	if (str_empty(s))
		return -EINVAL;
	if (parse_u32_max(s, RT_LAST, &n) == 0)
		return n > 0 ? (int) n : -EINVAL;
	if (strncasecmp(s, "SIG", 3) == 0)
		s += 3;
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		if (strcasecmp(s, signals[i].name) == 0)
			return signals[i].number;
	if (strncasecmp(s, "RTMIN", 5) == 0 && (s[5] == '\0' || (s[5] == '+' && parse_u32_max(s + 6, RT_LAST - RT_FIRST, &n) == 0)))
		return RT_FIRST + (int) n;
	if (strncasecmp(s, "RTMAX", 5) == 0 && (s[5] == '\0' || (s[5] == '-' && parse_u32_max(s + 6, RT_LAST - RT_FIRST, &n) == 0)))
		return RT_LAST - (int) n;
	return -EINVAL;
}

const char *signal_text(int sig, char dst[16])
{
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		if (signals[i].number == sig) {
			(void) snprintf(dst, 16, "SIG%s", signals[i].name);
			return dst;
		}
	if (sig < RT_FIRST || sig > RT_LAST)
		return NULL;
	(void) snprintf(dst, 16, sig == RT_FIRST ? "SIGRTMIN" : "SIGRTMIN+%d", sig - RT_FIRST);
	return dst;
}

int process_stop_signal(const Service *svc, const Image *img)
{
	int sig = signal_parse(svc->stop_signal);
	if (sig < 0 && img)
		sig = signal_parse(img->config.stop_signal);
	return sig < 0 ? SIGTERM : sig;
}
