// SPDX-License-Identifier: Apache-2.0
#include "edge/answers.h"

#include <errno.h>

#include "base/mem.h"
#include "base/str.h"

#define SLOTS_MAX 4096
#define WORDS_MAX 32

/* srv_admin_state of `show servers state` */
#define ADMIN_MAINT 0x67 /* forced, inherited, configured, by its address, by its name */
#define ADMIN_DRAIN 0x18
#define CHECK_ON 0x06 /* srv_check_state: configured, enabled */

/** The next line into an owned string; NULL at the end. */
static char *next_line(const char **at)
{
	size_t n = strcspn(*at, "\n");
	if (!**at)
		return NULL;
	char *line = xstrndup(*at, n);
	*at += n + ((*at)[n] == '\n');
	return line;
}

/** Splits in place; gives the number of words. */
static size_t split(char *line, const char *separators, bool empty, char **words, size_t max)
{
	size_t n = 0;
	while (n < max) {
		char *word = strsep(&line, separators);
		if (!word)
			break;
		if (*word || empty)
			words[n++] = word;
	}
	return n;
}

/* "s12" to 12. */
static int slot_number(const char *s, size_t *ret)
{
	uint32_t n;
	if (s[0] != 's' || (s[1] == '0' && s[2]) || parse_u32_max(s + 1, SLOTS_MAX - 1, &n) < 0)
		return -EINVAL;
	*ret = n;
	return 0;
}

static bool has_text(const char *s)
{
	return s[strspn(s, " \n\t")] != '\0';
}

int answer_check(const Command *c, const char *answer, Err *err)
{
	static const char *const cert_words[] = { "Success!", "Transaction created for certificate", "Transaction updated for certificate", "created!",
		"Inserting certificate", "deleted", "New empty certificate store" };
	bool fine = false;
	switch (c->expect) {
	case EXPECT_ANYTHING:
		return 0;
	case EXPECT_NOTHING:
		fine = !has_text(answer);
		break;
	case EXPECT_ADDED:
		fine = strstr(answer, "New server registered.") != NULL;
		break;
	case EXPECT_DELETED:
		if (strstr(answer, "still has connections"))
			return 1;
		fine = strstr(answer, "Server deleted.") || strstr(answer, "No such server");
		break;
	case EXPECT_CERT:
		for (size_t i = 0; !fine && i < ARRAY_SIZE(cert_words); i++)
			fine = strstr(answer, cert_words[i]) != NULL;
		break;
	}
	if (fine)
		return 0;
	size_t n = strcspn(answer, "\n");
	return err_set(err, -EIO, "HAProxy refused '%.*s': %.*s", (int) strcspn(c->text, "\n"), c->text, n > 300 ? 300 : (int) n, answer);
}

int answer_info(const char *answer, ProxyInfo *ret, Err *err)
{
	*ret = (ProxyInfo) { 0 };
	for (char *line; (line = next_line(&answer)); free(line)) {
		uint32_t n;
		if (str_starts(line, "Pid: ") && parse_u32_max(line + strlen("Pid: "), INT32_MAX, &n) == 0)
			ret->pid = (pid_t) n;
		else if (str_starts(line, "description: stead-"))
			(void) snprintf(ret->frame, sizeof(ret->frame), "%.64s", line + strlen("description: stead-"));
	}
	return ret->pid > 0 ? 0 : err_set(err, -EPROTO, "HAProxy does not say who it is");
}

size_t answer_slots(const char *answer)
{
	AUTO_FREE bool *there = xcalloc(SLOTS_MAX, sizeof(*there));
	size_t n = 0, i;
	for (char *line; (line = next_line(&answer)); free(line))
		if (slot_number(line, &i) == 0)
			there[i] = true;
	while (n < SLOTS_MAX && there[n])
		n++;
	return n;
}

static int bad(const char *what, const char *line, Err *err)
{
	return err_set(err, -EPROTO, "HAProxy's %s are not understood: %.100s", what, line);
}

/* be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state …; srv_check_state is the 14th, the port the 19th. */
static int take_server(char *line, ProxyState *s)
{
	char *w[WORDS_MAX];
	size_t slot;
	uint32_t admin, check, port;
	size_t n = split(line, " ", false, w, ARRAY_SIZE(w));
	if (n < 19)
		return -EPROTO;
	if (slot_number(w[1], &slot) < 0)
		return 0;
	if (slot >= s->n_slots || strlen(w[3]) >= SERVER_NAME_MAX || strlen(w[4]) >= sizeof(((ProxyServer *) NULL)->address) ||
		parse_u32_max(w[6], UINT32_MAX, &admin) < 0 || parse_u32_max(w[13], UINT32_MAX, &check) < 0 ||
		parse_u32_max(w[18], UINT16_MAX, &port) < 0)
		return -EPROTO;
	if (proxy_slot_server(&s->slots[slot], w[3]))
		return 0;
	ProxyServer *server = proxy_slot_add(&s->slots[slot], w[3], w[4], (uint16_t) port,
		admin & ADMIN_MAINT ? SERVER_MAINT : admin & ADMIN_DRAIN ? SERVER_DRAIN : SERVER_READY);
	server->backup = str_ends(server->name, STANDBY_SUFFIX) && strlen(server->name) == SERVER_NAME_MAX - 1;
	server->watched = (check & CHECK_ON) == CHECK_ON;
	return 0;
}

int answer_servers(const char *answer, ProxyState *s, Err *err)
{
	AUTO_FREE char *version = next_line(&answer);
	int r = 0;
	if (!str_eq(version, "1"))
		return bad("servers", version ?: "", err);
	for (char *line; r == 0 && (line = next_line(&answer)); free(line))
		if (line[0] != '#' && has_text(line) && take_server(line, s) < 0)
			r = bad("servers", line, err);
	return r;
}

/* "0x557a06944400 KEY VALUE" */
static int take_entry(char *line, char **key, char **value)
{
	char *w[4];
	if (split(line, " ", false, w, ARRAY_SIZE(w)) != 3 || !str_starts(w[0], "0x"))
		return -EPROTO;
	*key = w[1];
	*value = w[2];
	return 0;
}

int answer_routes(const char *answer, ProxyState *s, Err *err)
{
	int r = 0;
	for (char *line, *key, *value; r == 0 && (line = next_line(&answer)); free(line)) {
		if (!has_text(line))
			continue;
		if (take_entry(line, &key, &value) < 0)
			r = bad("routes", line, err);
		else
			proxy_state_add_route(s, key, value);
	}
	proxy_state_sort(s);
	return r;
}

int answer_slot_names(const char *answer, ProxyState *s, Err *err)
{
	int r = 0;
	for (char *line, *key, *value; r == 0 && (line = next_line(&answer)); free(line)) {
		size_t slot;
		if (!has_text(line))
			continue;
		if (take_entry(line, &key, &value) < 0 || slot_number(key, &slot) < 0 || slot >= s->n_slots)
			r = bad("slots", line, err);
		else
			str_set(&s->slots[slot].backend, value);
	}
	return r;
}

int answer_certs(const char *answer, ProxyState *s, Err *err)
{
	for (char *line; (line = next_line(&answer)); free(line)) {
		char *w[1024];
		size_t n = line[0] == '#' ? 0 : split(line, " ", false, w, ARRAY_SIZE(w));
		if (!n || w[0][0] != '/')
			continue;
		/* "FILE[:LINE] [OPTIONS] NAMES…" */
		w[0][strcspn(w[0], ":")] = '\0';
		ProxyCert *c = array_append(s->certs, s->n_certs);
		c->file = xstrdup(w[0]);
		for (size_t i = 1; i < n; i++)
			strv_add(&c->names, w[i]);
	}
	return 0;
}

/* Its own, or that of its entry as a backup. */
static bool is_row_of(const char *row, const char *server)
{
	size_t n = strlen(server);
	return strncmp(row, server, n) == 0 && (row[n] == '\0' || str_eq(row + n, STANDBY_SUFFIX));
}

int answer_in_flight(const char *answer, const char *server, uint64_t *ret, Err *err)
{
	AUTO_FREE char *head = next_line(&answer);
	*ret = 0;
	if (!head || !str_starts(head, "# pxname,svname,qcur,qmax,scur,"))
		return err_set(err, -EPROTO, "HAProxy's statistics are not understood: %.80s", head ?: "");
	for (char *line; (line = next_line(&answer)); free(line)) {
		char *w[8];
		uint64_t queued = 0, running = 0;
		if (split(line, ",", true, w, ARRAY_SIZE(w)) < 5 || !is_row_of(w[1], server))
			continue;
		(void) parse_u64(w[2], &queued);
		(void) parse_u64(w[4], &running);
		*ret += queued + running;
	}
	return 0;
}
