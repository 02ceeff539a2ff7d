// SPDX-License-Identifier: Apache-2.0
/*
 * One address after the other is asked for /.well-known/acme-challenge/RANDOM; this edge, and no other, answers RANDOM.THUMBPRINT. An address that
 * is private (from /etc/hosts) and this machine's own says nothing about the way from outside, and port 80 there may be another one than
 * the edge's behind a router; so there the edge's own port is asked. That is the way round for those whose router does not
 * lead them to themselves.
 *
 * An ACME server prefers IPv6 where the name has an IPv6 address, so every one of these has to lead here; of the IPv4 addresses, one.
 */
#include "edge/acme-preflight.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <jansson.h>
#include <signal.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "edge/cert-name.h"
#include "io/child.h"
#include "io/probe.h"

#define RESOLVE_TIMEOUT (15 * NSEC_PER_SEC)
#define PROBE_TIMEOUT (8 * NSEC_PER_SEC)
#define ADDRESSES_MAX 8
#define PUBLIC_PORT 80

struct Preflight {
	PreflightOptions o;
	char *host, *thumbprint;
	PreflightFn fn;
	void *user;
	Child *child;
	Probe *probe;
	char **addresses;
	size_t at;        /* the address that is being asked */
	char token[33];
	bool reached;     /* an address leads here */
	Err err;          /* of the first that did not, and mattered */
	Err resolve_err;
};

bool address_is_own(const char *address)
{
	struct in6_addr want6;
	struct in_addr want4;
	bool six = inet_pton(AF_INET6, address, &want6) == 1, found = false;
	struct ifaddrs *list = NULL;
	if ((!six && inet_pton(AF_INET, address, &want4) != 1) || getifaddrs(&list) < 0)
		return false;
	for (const struct ifaddrs *i = list; i && !found; i = i->ifa_next) {
		if (!i->ifa_addr)
			continue;
		if (six && i->ifa_addr->sa_family == AF_INET6)
			found = memcmp(&((struct sockaddr_in6 *) i->ifa_addr)->sin6_addr, &want6, sizeof(want6)) == 0;
		else if (!six && i->ifa_addr->sa_family == AF_INET)
			found = ((struct sockaddr_in *) i->ifa_addr)->sin_addr.s_addr == want4.s_addr;
	}
	freeifaddrs(list);
	/* All of 127/8 is this machine. */
	return found || (!six && (ntohl(want4.s_addr) >> 24) == 127);
}

bool address_is_private(const char *address)
{
	struct in6_addr a;
	if (inet_pton(AF_INET6, address, &a) != 1)
		return cert_address_is_private(address);
	return IN6_IS_ADDR_LOOPBACK(&a) || IN6_IS_ADDR_LINKLOCAL(&a) || (a.s6_addr[0] & 0xfe) == 0xfc;
}

static void preflight_free(Preflight *p)
{
	free(p->host);
	free(p->thumbprint);
	strv_free(p->addresses);
	err_done(&p->err);
	err_done(&p->resolve_err);
	free(p);
}

void preflight_cancel(Preflight *p)
{
	if (!p)
		return;
	if (p->child) {
		child_signal(p->child, SIGKILL);
		child_forget(p->child);
	}
	probe_cancel(p->probe);
	preflight_free(p);
}

static void finish(Preflight *p)
{
	if (!p->reached && !p->err.code)
		(void) err_set(&p->err, -EHOSTUNREACH, "no address of %s could be asked", p->host);
	p->fn(p->user, p->err.code ? &p->err : NULL);
	preflight_free(p);
}

static bool is_six(const char *address)
{
	return strchr(address, ':') != NULL;
}

static bool ask_edge_itself(const char *address)
{
	return address_is_private(address) && address_is_own(address);
}

static void explain(Preflight *p, const char *address, const char *why)
{
	if (p->err.code)
		return;
	if (is_six(address) && !address_is_own(address))
		(void) err_set(&p->err, -EHOSTUNREACH, "%s has the IPv6 address %s, which does not lead to this edge (%s), and which an ACME server asks first: "
			"remove the AAAA record, or make port 80 reachable there", p->host, address, why);
	else if (address_is_own(address))
		(void) err_set(&p->err, -EHOSTUNREACH, "%s leads to %s on this machine, but port %u there is not answered by this edge (%s): ACME servers "
			"come to port 80. Free it for the edge (--edge-http), or forward it", p->host, address,
			ask_edge_itself(address) ? p->o.http_port : PUBLIC_PORT, why);
	else
		(void) err_set(&p->err, -EHOSTUNREACH, "%s leads to %s, which is not an address of this machine, and what answers on port 80 there is not this edge "
			"(%s): correct the DNS record, or forward port 80 of the router to this machine. If only this machine cannot reach its own outside "
			"address, write '127.0.0.1 %s' into its /etc/hosts, and the ACME server alone decides", p->host, address, why, p->host);
}

static void ask_next(Preflight *p);

static void on_probe(void *user, const ProbeResult *r)
{
	Preflight *p = user;
	const char *address = p->addresses[p->at];
	AUTO_FREE char *wanted = xasprintf("%s.%s", p->token, p->thumbprint);
	p->probe = NULL;
	if (!r->err && r->status == 200 && str_starts(r->body, wanted)) {
		p->reached = true;
	} else if (r->err) {
		explain(p, address, err_text(r->err));
	} else {
		AUTO_FREE char *why = xasprintf(r->status == 200 ? "another answer than ours" : "HTTP status %d", r->status);
		explain(p, address, why);
	}
	bool fatal = p->err.code && is_six(address);
	p->at++;
	if (!fatal && p->addresses[p->at]) {
		ask_next(p);
		return;
	}
	/* One IPv4 address that leads here is enough. */
	if (p->reached && !fatal)
		err_done(&p->err);
	finish(p);
}

static void ask_next(Preflight *p)
{
	const char *address = p->addresses[p->at];
	AUTO_FREE char *path = xasprintf("/.well-known/acme-challenge/%s", p->token);
	AUTO_ERR err = ERR_INIT;
	const ProbeOptions o = {
		.address = address, .port = ask_edge_itself(address) ? p->o.http_port : PUBLIC_PORT, .path = path, .host = p->host,
		.timeout_ns = PROBE_TIMEOUT, .body_max = 256,
	};
	if (probe_start(p->o.loop, &o, on_probe, p, &p->probe, &err) < 0) {
		explain(p, address, err_text(&err));
		finish(p);
	}
}

static void on_line(void *user, const char *line, size_t n)
{
	Preflight *p = user;
	json_t *o = json_loadb(line, n, 0, NULL);
	const json_t *list = json_object_get(o, "addresses");
	const char *error = json_string_value(json_object_get(o, "error"));
	for (size_t i = 0; i < json_array_size(list) && i < ADDRESSES_MAX; i++)
		if (json_is_string(json_array_get(list, i)))
			strv_add(&p->addresses, json_string_value(json_array_get(list, i)));
	if (error)
		(void) err_set(&p->resolve_err, -EHOSTUNREACH, "%s", error);
	json_decref(o);
}

static void on_exited(void *user, const ChildExit *exit)
{
	Preflight *p = user;
	p->child = NULL;
	if (p->addresses) {
		ask_next(p);
		return;
	}
	(void) err_set(&p->err, -EHOSTUNREACH, "%s has no address in the DNS (%s): add an A record that points to this machine", p->host,
		p->resolve_err.code ? err_text(&p->resolve_err) : exit->timed_out ? "no answer in time" : "no answer");
	finish(p);
}

int preflight_start(const PreflightOptions *o, PreflightFn fn, void *user, Preflight **ret, Err *err)
{
	Preflight *p = xcalloc(1, sizeof(*p));
	p->o = *o;
	p->host = xstrdup(o->host);
	p->thumbprint = xstrdup(o->thumbprint);
	p->fn = fn;
	p->user = user;
	hex_random(16, p->token);
	AUTO_FREE char *worker = libexec_path("stead-worker");
	json_t *options = json_pack("{s:s}", "name", p->host);
	AUTO_FREE char *text = json_dumps(options, JSON_COMPACT);
	json_decref(options);
	const char *argv[] = { worker, "resolve", o->state_dir, NULL };
	const ChildOptions c = {
		.argv = argv, .input = text, .input_len = strlen(text), .capture_max = 1024, .line = on_line, .exited = on_exited, .user = p,
		.timeout_ns = RESOLVE_TIMEOUT, .new_session = true,
	};
	int r = child_spawn(o->loop, &c, &p->child, err);
	if (r < 0) {
		preflight_free(p);
		return err_wrap(err, "starting %s", worker);
	}
	*ret = p;
	return 0;
}
