// SPDX-License-Identifier: Apache-2.0
#include "cli/ssh-error.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

#define ERRORS_KEPT 12 /* lines, from the end */
#define EXIT_NOT_EXECUTABLE 126
#define EXIT_NOT_FOUND 127
#define EXIT_SSH 255 /* ssh(1): an error of its own */

/* "pi@box", and how ssh and its tools are told the port. */
typedef struct Words {
	const HostAddress *a;
	const char *url;
	char *login;      /* [USER@]HOST */
	char *port_ssh;   /* " -p PORT", or "" */
	char *known_host; /* HOST, or '[HOST]:PORT' */
} Words;

typedef int (*ExplainFn)(const Words *w, Err *err);

#define CHANGED_FROM "Host key for "
#define CHANGED_TO " has changed and you have requested strict checking."

/* As known_hosts has it, which for a Host of ~/.ssh/config is not what was typed: ssh has said "Host key for [10.0.0.5]:2222 has changed and …". */
static char *known_name(const HostAddress *a, const char *errors)
{
	static const char harmless[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_:[]";
	const char *to = strstr(errors, CHANGED_TO), *from = to;
	AUTO_FREE char *name = NULL;
	while (from && from > errors && from[-1] != '\n')
		from--;
	if (from && str_starts(from, CHANGED_FROM)) {
		from += strlen(CHANGED_FROM);
		if (from + strspn(from, harmless) == to)
			name = xstrndup(from, (size_t) (to - from));
	}
	if (!name)
		name = a->port && !str_eq(a->port, "22") ? xasprintf("[%s]:%s", a->host, a->port) : xstrdup(a->host);
	return name[0] == '[' ? xasprintf("'%s'", name) : steal_ptr(&name);
}

/* ssh has said "The fingerprint for the ED25519 key sent by the remote host is\nSHA256:…": those lines go along. */
static int changed_key(const Words *w, Err *err)
{
	return err_set(err, -ENOTCONN,
		"%s: the machine has another host key than the one that is known for it. Either it was installed anew, or somebody else answers "
		"in its place. Nothing was sent.\nCompare: on the machine's own console, 'ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub' prints its "
		"fingerprint; from here, 'ssh-keyscan%s %s | ssh-keygen -lf -' prints the one that answers, and so does ssh below.\nOnly if they are the same: "
		"'ssh-keygen -R %s', then 'ssh%s -- %s' once, and answer its question with the fingerprint.",
		w->url, w->port_ssh, w->a->host, w->known_host, w->port_ssh, w->login);
}

/* ssh(1) asks through jump hosts and for names of ~/.ssh/config, too, which ssh-keyscan(1) knows nothing of. */
static int unknown_key(const Words *w, Err *err)
{
	return err_set(err, -ENOTCONN,
		"%s: the host key of this machine is not known here, so it could be any machine. Nothing was sent.\nTo verify it: on the machine's own "
		"console, 'ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub' prints its fingerprint. Then, from here, 'ssh -o StrictHostKeyChecking=ask%s -- %s' "
		"once, and answer its question with that fingerprint: ssh goes on only if it is the one of the machine that answers.\n"
		"'ssh-keyscan%s %s | ssh-keygen -lf -' only prints the one that answers.",
		w->url, w->port_ssh, w->login, w->port_ssh, w->a->host);
}

static int revoked_key(const Words *w, Err *err)
{
	return err_set(err, -ENOTCONN,
		"%s: the key of the machine that answers is marked as revoked in the known hosts here: somebody may have stolen it. Nothing was sent. The machine "
		"needs a new one; ask who marked it",
		w->url);
}

static int denied(const Words *w, Err *err)
{
	return err_set(err, -ENOTCONN,
		"%s: the machine refuses the key or password. Try 'ssh%s -- %s' by hand; 'ssh-copy-id%s %s' puts your key there, and 'ssh-add -l' lists what "
		"the agent offers. Another user is chosen with ssh://USER@%s.",
		w->url, w->port_ssh, w->login, w->port_ssh, w->login, w->a->host);
}

static int no_name(const Words *w, Err *err)
{
	return err_set(err, -ENOTCONN, "%s: the name '%s' does not resolve; check its spelling, or make a Host with its address in ~/.ssh/config", w->url,
		w->a->host);
}

static int refused(const Words *w, Err *err)
{
	return err_set(err, -ENOTCONN, "%s: nobody listens for ssh there; is sshd running on that machine, on port %s?", w->url,
		w->a->port ? w->a->port : "22 (or what ~/.ssh/config says)");
}

static int unreachable(const Words *w, Err *err)
{
	return err_set(err, -ENOTCONN, "%s: the machine cannot be reached; is it on, and on this network? A firewall on the way may drop ssh, too", w->url);
}

static int no_stead(const Words *w, Err *err)
{
	return err_set(err, -ENOTCONN, "%s: stead is not installed there (or not in the PATH of a shell that ssh starts); install it with 'stead setup -H %s'",
		w->url, w->url);
}

static int old_stead(const Words *w, Err *err)
{
	return err_set(err, -ENOTCONN, "%s: the stead there is too old to be used through ssh; renew it with 'stead setup -H %s'", w->url, w->url);
}

/* In the order in which they are tried. ssh(1) does not translate its messages. */
static const struct {
	const char *says;
	ExplainFn explain;
	bool remote; /* said on the other machine, so ssh itself did its work */
} cases[] = {
	{ "REMOTE HOST IDENTIFICATION HAS CHANGED", changed_key, false },
	{ "REVOKED HOST KEY DETECTED", revoked_key, false },
	{ "Host key verification failed", unknown_key, false },
	{ "Permission denied (", denied, false },
	{ "Too many authentication failures", denied, false },
	{ "Could not resolve hostname", no_name, false },
	{ "Connection refused", refused, false },
	{ "Connection timed out", unreachable, false },
	{ "Operation timed out", unreachable, false },
	{ "No route to host", unreachable, false },
	{ "Network is unreachable", unreachable, false },
	{ "unknown command 'dial-stdio'", old_stead, true },
};

/* The last lines, each after "  | ". */
static void quote_errors(const char *errors, Buf *out)
{
	const char *from = errors + strlen(errors);
	for (int lines = 0; from > errors && lines <= ERRORS_KEPT; from--)
		if (from[-1] == '\n' && from[0] && ++lines == ERRORS_KEPT)
			break;
	while (*from) {
		size_t n = strcspn(from, "\r\n");
		if (n)
			buf_printf(out, "\n  | %.*s", (int) n, from);
		from += n + strspn(from + n, "\r\n");
	}
}

static int other(const Words *w, const SshEnd *e, Err *err)
{
	if (e->broken)
		return err_set(err, -ENOTCONN, "%s: %s. Do the start-up files of the shell there print something, or is 'stead' another program? "
			"'ssh%s -- %s true' must print nothing", w->url, e->broken, w->port_ssh, w->login);
	if (e->signal)
		return err_set(err, -ENOTCONN, "%s: ssh was ended by signal %d", w->url, e->signal);
	if (e->code == EXIT_SSH)
		return err_set(err, -ENOTCONN, "%s: ssh could not connect; try 'ssh%s -- %s true' by hand", w->url, w->port_ssh, w->login);
	return err_set(err, -ENOTCONN, "%s: 'stead dial-stdio' ended there before it answered (exit code %d)", w->url, e->code);
}

static int lost(const Words *w, const SshEnd *e, Err *err)
{
	if (e->broken)
		return err_set(err, -ECONNRESET, "%s: %s", w->url, e->broken);
	return err_set(err, -ECONNRESET, "%s: the connection was lost", w->url);
}

static int explain(const Words *w, const SshEnd *e, Err *err)
{
	bool own = e->code == EXIT_SSH;
	if (e->greeted)
		return lost(w, e, err);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (cases[i].remote != own && strstr(e->errors, cases[i].says))
			return cases[i].explain(w, err);
	if (e->code == EXIT_NOT_FOUND || e->code == EXIT_NOT_EXECUTABLE)
		return no_stead(w, err);
	return other(w, e, err);
}

int ssh_explain(const HostAddress *a, const char *url, const SshEnd *end, Err *err)
{
	AUTO_BUF quoted = BUF_INIT;
	AUTO_FREE char *login = xasprintf("%s%s%s", a->user ? a->user : "", a->user ? "@" : "", a->host);
	AUTO_FREE char *port = a->port ? xasprintf(" -p %s", a->port) : xstrdup("");
	AUTO_FREE char *known = known_name(a, end->errors);
	const Words w = { .a = a, .url = url, .login = login, .port_ssh = port, .known_host = known };
	AUTO_ERR why = ERR_INIT;
	int r = explain(&w, end, &why);
	quote_errors(end->errors, &quoted);
	return err_set(err, r, "%s%s", err_text(&why), buf_cstr(&quoted));
}
