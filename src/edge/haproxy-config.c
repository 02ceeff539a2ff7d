// SPDX-License-Identifier: Apache-2.0
/*
 * How a request goes through the rules: its host and path, with a slash at the end, are looked up in routes.map, whose keys end in a slash
 * too, so that the longest key that begins the request's (map_beg) is one of whole segments. The value is the slot, a backend of fixed name, and for
 * routes with options what these are, "SLOT|FLAGS|BODY|LIMIT|RETRY|TIMEOUT|HOLD|ID|CACHE": one entry for a route, so that it changes at once and whole. With
 * CACHE, the first field is "cache", and the slot is in CACHE (cache-config.h).
 *
 * A host with a slash in it would reach into the path, and with it past the routes that another path would take: refused.
 *
 * Most requests have a host in lower case without a port, written out in a route that has no options: these are over with the first look-up and
 * `allow`, with hardly a variable set. What goes to the cache for a route without other options leaves still earlier: its headers are made where it is a miss. The others go on: host in its normal form; "*." for its first label; "*"; then the options. What costs in
 * HAProxy is the number of rules and variables, not what they do, so that their order matters.
 *
 * Retrying a request that a server has broken off before it answered (retry-on empty-response) makes HAProxy copy the buffer of each request, twice 16 KB,
 * a sixth of its time. So that is done only where another server may take the request: flag "+". Flags:
 *
 *   +  retry, if GET, HEAD or OPTIONS. Alone, the value is "SLOT|retry+"; where nothing but the redirect to HTTPS is asked for, "SLOT|tls" or "SLOT|tls+": neither is
 *      kept up by the options
 *   a  answer an ACME challenge (the value's third field is the thumbprint)   t  to HTTPS   m  maintenance
 *   b  body at most BODY bytes   r  at most LIMIT requests from an address, counted in the table S, M or H; RETRY seconds to come again
 *   o  response within TIMEOUT ms   h  wait up to HOLD ms for a server   c  through the cache
 *
 * A body without a length (chunked; HTTP/2 without content-length) cannot be held against BODY before it is read: such requests take the way through the
 * frontend `measured`, where a Lua filter counts what passes. Only they pay for it; and those whose body is too long, since what is left of it has to be
 * read there: otherwise HAProxy closes, by which a client that still sends loses the answer (over HTTP/2 it is RST_STREAM with CANCEL).
 *
 * Servers are written with all their options, since those of `default-server` do not reach servers that are added at run time; above all
 * pool-max-conn: HAProxy 2.6 keeps no idle connection to an added server without it, which costs more than half of the throughput.
 *
 * Nothing of the model but checked values gets into the text: numbers, addresses in binary form before, and words of a narrow alphabet
 * (`word`). What is not made of it is refused.
 */
#include "edge/haproxy-config.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "edge/cache-config.h"

#define MAXCONN 4000 /* a connection costs some 17 KB */
#define RATE_ENTRIES "100k"
#define SLOT_ID_FIRST 100
/* The first connection that fails takes it out of rotation, so that the request's next try goes to another server. */
#define WATCHED " check inter 2s fastinter 500ms downinter 500ms fall 3 rise 1 observe layer4 error-limit 1 on-error mark-down"
#define PLAIN_VALUE_MAX 6 /* a value as short as that is a slot alone */

static bool word_ok(const char *s, const char *extra)
{
	if (!*s)
		return false;
	for (; *s; s++)
		if (!(isalnum((unsigned char) *s) && (unsigned char) *s < 0x80) && !strchr(extra, *s))
			return false;
	return true;
}

static int word(Buf *b, const char *s, const char *extra, Err *err)
{
	if (!s || !word_ok(s, extra))
		return err_set(err, -EINVAL, "'%.80s' cannot be written into HAProxy's configuration", s ?: "");
	buf_str(b, s);
	return 0;
}

#define IN_PATHS "/._-+@"
#define IN_HOSTS "*.-"
#define IN_KEYS "*.-/_~!$&()+,;=:@%"
#define IN_VALUES "|+._:-"
#define IN_NAMES "-._/:"

int haproxy_dir_check(const char *dir, Err *err)
{
	if (!word_ok(dir, IN_PATHS))
		return err_set(err, -EINVAL, "the edge cannot work in %s: its path may have letters, digits and " IN_PATHS " only; choose another --run-dir "
					     "and --state-dir", dir);
	return 0;
}

/* ── the frame ────────────────────────────────────────────────────── */

static void put_global(const HaproxyConfig *c, Buf *b)
{
	buf_printf(b,
		"global\n"
		"\tnbthread %d\n"
		"\tmaxconn %d\n"
		"\thard-stop-after 1h\n"
		"\tstats socket %s/admin.sock mode 600 level admin\n"
		"\tlog fd@%d len 4096 format raw local0\n"
		"\tchroot %s/jail\n"
		"\tuser haproxy\n"
		"\tgroup haproxy\n"
		"\tlua-load %s/hold.lua\n"
		"\ttune.ssl.default-dh-param 2048\n"
		"\ttune.ssl.cachesize 4000\n"
		"\tssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets\n"
		"\tssl-default-bind-ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
		"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305\n",
		c->threads, MAXCONN, c->dir, HAPROXY_FD_LOG, c->dir, c->dir);
}

/* 502, 503 and their like that HAProxy makes itself, in the words of pages.map. */
static void put_error_pages(const HaproxyConfig *c, Buf *b)
{
	static const int statuses[] = { 400, 408, 413, 500, 502, 503, 504 };
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++)
		buf_printf(b, "\thttp-error status %d content-type \"text/plain; charset=utf-8\" hdr X-Stead-Edge %d%s"
			      " lf-string \"%%[str(%d%s),concat(,txn.html),map(%s/pages.map)]\"\n",
			statuses[i], statuses[i], statuses[i] == 503 ? " hdr Retry-After 3" : "", statuses[i], statuses[i] == 400 ? "),concat(,txn.excess,." : ".", c->dir);
}

static void put_defaults(const HaproxyConfig *c, Buf *b)
{
	buf_str(b,
		"defaults common\n"
		"\tmode http\n"
		"\tlog global\n"
		"\toption dontlognull\n"
		"\toption redispatch 1\n"
		"\toption allbackups\n"
		"\tretries 4\n" /* two of a version on trial may each have a kept connection that is dead, and refuse a new one */
		"\tretry-on conn-failure empty-response\n"
		"\thttp-reuse safe\n"
		"\ttimeout connect 3s\n"
		"\ttimeout client 60s\n"
		"\ttimeout server 60s\n"
		"\ttimeout http-request 10s\n"
		"\ttimeout http-keep-alive 30s\n"
		"\ttimeout tunnel 1h\n"
		"\ttimeout queue 5s\n"
		"\tbalance leastconn\n");
	put_error_pages(c, b);
	buf_str(b,
		"defaults slot from common\n"
		"\thttp-request set-timeout server var(txn.timeout) if { var(txn.timeout) -m found }\n");
}

#define PAGE "content-type \"text/plain; charset=utf-8\" hdr X-Stead-Edge"

static void put_page(const HaproxyConfig *c, const char *status, const char *page, const char *headers, const char *condition, Buf *b)
{
	buf_printf(b, "\thttp-request return status %s " PAGE " %s%s lf-string \"%%[str(%s.),concat(,txn.html),map(%s/pages.map)]\" %s\n", status, page,
		headers, page, c->dir, condition);
}

/* The client's own are not believed. Repeated, it gives the same. */
static void put_forwarded(const char *proto, Buf *b)
{
	buf_printf(b,
		"\thttp-request del-header X-Forwarded- -m beg\n"
		"\thttp-request del-header Forwarded\n"
		"\thttp-request add-header X-Forwarded-For %%[var(txn.client)]\n"
		"\thttp-request set-header X-Real-IP %%[var(txn.client)]\n"
		"\thttp-request add-header X-Forwarded-Proto %s\n"
		"\thttp-request add-header X-Forwarded-Host %%[req.hdr(host)]\n"
		"\thttp-request set-var(txn.html) int(1) if { req.fhdr(accept) -m sub text/html }\n",
		proto);
}

static void put_lookup(const HaproxyConfig *c, bool tls, Buf *b)
{
	const char *or_tls = tls ? " or { var(txn.route) -m end |tls }" : "";
	cache_haproxy_words(b);
	buf_str(b, "\thttp-request set-var(txn.client) src,lower\n");
	put_page(c, "400", "400", "", "if { req.fhdr(host),field(2,/) -m found }", b);
	buf_printf(b,
		"\thttp-request set-var(txn.route) base,concat(/),map_beg(%1$s/routes.map)\n"
		"\thttp-request allow if { var(txn.route) -m beg cache|c+|%2$s } %3$s\n",
		c->dir, tls ? " cache|tc+|" : "", CACHE_HAPROXY_FAST);
	put_forwarded(tls ? "https" : "http", b);
	buf_printf(b,
		"\thttp-request disable-l7-retry if { var(txn.route) -m len lt %2$d }%3$s\n"
		"\thttp-request allow if { var(txn.route) -m len lt %2$d }%3$s\n"
		"\thttp-request set-var(txn.path) path unless { var(txn.route) -m found }\n"
		"\thttp-request set-var(txn.host) req.hdr(host),host_only,lower,rtrim(.)\n"
		"\thttp-request set-var(txn.route) var(txn.host),concat(,txn.path,/),map_beg(%1$s/routes.map) unless { var(txn.route) -m found }\n"
		"\thttp-request set-var(txn.rest) var(txn.host),field(2,.,0) unless { var(txn.route) -m found }\n"
		"\thttp-request set-var(txn.route) str(*.),concat(,txn.rest),concat(,txn.path,/),map_beg(%1$s/routes.map) if { var(txn.rest) -m len gt 0 } !{ "
		"var(txn.route) -m found }\n"
		"\thttp-request set-var(txn.route) str(*),concat(,txn.path,/),map_beg(%1$s/routes.map) unless { var(txn.route) -m found }\n",
		c->dir, PLAIN_VALUE_MAX, or_tls);
	put_page(c, "404", "404", "", "unless { var(txn.route) -m found }", b);
	buf_printf(b,
		"\thttp-request disable-l7-retry unless { var(txn.route) -m sub + } { method GET HEAD OPTIONS }\n"
		"\thttp-request allow unless { var(txn.route) -m sub | }\n"
		"\thttp-request allow if { var(txn.route) -m end |retry+%s }\n",
		tls ? " |tls |tls+" : "");
}

static void put_redirect(const HaproxyConfig *c, Buf *b)
{
	AUTO_FREE char *port = c->https_port == 443 ? xstrdup("") : xasprintf(":%u", c->https_port);
	buf_printf(b, "\thttp-request redirect prefix https://%%[var(txn.host)]%1$s code 301 if { var(txn.flags) -m sub t } METH_GET\n"
		      "\thttp-request redirect prefix https://%%[var(txn.host)]%1$s code 308 if { var(txn.flags) -m sub t }\n", port);
}

static void put_options(const HaproxyConfig *c, bool tls, Buf *b)
{
	buf_str(b,
		"\thttp-request set-var(txn.slot) var(txn.route),field(1,|)\n"
		"\thttp-request set-var(txn.flags) var(txn.route),field(2,|)\n"
		"\thttp-request return status 200 content-type text/plain lf-string \"%[path,field(-1,/)].%[var(txn.route),field(3,|)]\" if { var(txn.flags) -m str a }\n");
	buf_printf(b,
		"\thttp-request set-var(txn.cache) var(txn.route),field(9,|) if { var(txn.flags) -m sub c }\n"
		"\thttp-request set-var(txn.slot) var(txn.cache),field(5,:) if { var(txn.cache) -m found }\n"
		"\tacl cache_only var(txn.flags) -m str c+%s\n",
		tls ? " tc+" : "");
	cache_haproxy_rules("if cache_only", b);
	buf_str(b, "\thttp-request allow if cache_only\n");
	if (!tls && c->https_port)
		put_redirect(c, b);
	put_page(c, "503", "maintenance", " hdr Retry-After 60", "if { var(txn.flags) -m sub m }", b);
	buf_str(b, "\thttp-request set-var(txn.max) var(txn.route),field(3,|),add(0) if { var(txn.flags) -m sub b }\n");
	buf_str(b,
		"\thttp-request set-var(txn.limit) var(txn.route),field(4,|),add(0) if { var(txn.flags) -m sub r }\n"
		"\thttp-request set-var(txn.id) var(txn.route),field(8,|) if { var(txn.flags) -m sub r }\n"
		"\thttp-request set-var(txn.counted) src,ipmask(32,64),concat(-,txn.id) if { var(txn.flags) -m sub r }\n"
		"\thttp-request track-sc0 var(txn.counted) table rate_S if { var(txn.flags) -m sub rS }\n"
		"\thttp-request track-sc0 var(txn.counted) table rate_M if { var(txn.flags) -m sub rM }\n"
		"\thttp-request track-sc0 var(txn.counted) table rate_H if { var(txn.flags) -m sub rH }\n");
	put_page(c, "429", "429", " hdr Retry-After \"%[var(txn.route),field(5,|)]\"",
		"if { var(txn.flags) -m sub r } { sc_gpc0_rate(0),sub(txn.limit) ge 0 }", b);
	buf_str(b,
		"\thttp-request sc-inc-gpc0(0) if { var(txn.flags) -m sub r }\n"
		"\thttp-request set-var(txn.timeout) var(txn.route),field(6,|),add(0) if { var(txn.flags) -m sub o }\n"
		"\thttp-request set-var(txn.hold) var(txn.route),field(7,|),add(0) if { var(txn.flags) -m sub h }\n"
		"\thttp-request lua.hold if { var(txn.flags) -m sub h } { var(txn.slot),nbsrv eq 0 }\n");
	cache_haproxy_rules("if { var(txn.cache) -m found }", b);
	buf_str(b,
		"\tacl measure req.body_size,sub(txn.max) gt 0\n"
		"\thttp-request set-var(txn.route) str(measure) if { var(txn.flags) -m sub b } measure || { var(txn.flags) -m sub b } !{ req.hdr(content-length) -m found } !METH_GET\n");
}

#define LOG_FORMAT \
	"\"%Ts.%ms\\t%[var(txn.client)]\\t%f\\t%b\\t%[var(txn.slot)]\\t%s\\t%ST\\t%B\\t%U\\t%TR\\t%Tw\\t%Tc\\t%Tr\\t%Ta\\t%ts\\t%HM\\t%HV\\t%HU\\t%[var(txn.cache_status)]\\t%[capture.req.hdr(0)]\""

static void put_frontend(const HaproxyConfig *c, bool tls, Buf *b)
{
	int first = tls ? HAPROXY_FD_HTTPS4 : HAPROXY_FD_HTTP4;
	bool any = false;
	for (int fd = first; fd < first + 2; fd++)
		any = any || c->listeners[fd - HAPROXY_FD_HTTP4];
	if (!any)
		return;
	buf_printf(b, "frontend %s from common\n", tls ? "https" : "http");
	for (int fd = first; fd < first + 2; fd++)
		if (c->listeners[fd - HAPROXY_FD_HTTP4] && tls)
			buf_printf(b, "\tbind fd@%d ssl crt-list %s/crt.list alpn h2,http/1.1%s\n", fd, c->dir, c->no_certs ? " strict-sni" : "");
		else if (c->listeners[fd - HAPROXY_FD_HTTP4])
			buf_printf(b, "\tbind fd@%d\n", fd);
	buf_str(b,
		"\toption http-restrict-req-hdr-names delete\n" /* here alone: each section that has it looks at all names again */
		"\tcapture request header Host len 255\n"
		"\tlog-format " LOG_FORMAT "\n"
		"\tcompression algo gzip\n"
		"\tcompression type text/html text/plain text/css text/csv text/javascript text/xml application/javascript application/json "
		"application/ld+json application/manifest+json application/xml application/atom+xml application/rss+xml application/wasm image/svg+xml\n");
	put_lookup(c, tls, b);
	put_options(c, tls, b);
	buf_str(b,
		"\thttp-after-response set-header Content-Type \"text/html; charset=utf-8\" if { var(txn.html) -m found } { res.hdr(X-Stead-Edge) -m found }\n"
		"\tuse_backend %[var(txn.route),field(1,|)]\n");
}

/* Bodies of unknown length, or too long: once more through HAProxy, past a filter that counts; the daemon's own headers say to which slot, and how much. */
static void put_measured(const HaproxyConfig *c, Buf *b)
{
	buf_printf(b,
		"backend measure from common\n"
		"\thttp-request set-header X-Stead-Slot %%[var(txn.slot)]\n"
		"\thttp-request set-header X-Stead-Max %%[var(txn.max)]\n"
		"\thttp-request del-header Expect if { req.body_size,sub(txn.max) gt 0 }\n" /* or HAProxy would ask for the body */
		"\thttp-request set-timeout server var(txn.timeout) if { var(txn.timeout) -m found }\n"
		"\tserver loop unix@/measured.sock pool-max-conn 0\n"
		"frontend measured from common\n"
		"\tno log\n"
		"\tbind unix@%1$s/jail/measured.sock mode 600 user haproxy\n"
		"\tfilter lua.measure\n"
		"\thttp-request set-var(txn.slot) req.hdr(X-Stead-Slot)\n"
		/* HAProxy keeps a map that some rule names; the daemon alone reads this one. */
		"\thttp-request set-var(txn.backend) var(txn.slot),map(%1$s/slots.map) if FALSE\n"
		"\thttp-request set-var(txn.max) req.hdr(X-Stead-Max),add(0)\n"
		"\thttp-request set-var(txn.html) int(1) if { req.fhdr(accept) -m sub text/html }\n"
		"\thttp-request del-header X-Stead- -m beg\n"
		"\thttp-request disable-l7-retry\n"
		"\thttp-request set-var(txn.page) str(413.),concat(,txn.html),map(%1$s/pages.map) if { req.body_size,sub(txn.max) gt 0 }\n"
		"\thttp-request use-service lua.too_large if { var(txn.page) -m found }\n"
		"\thttp-after-response set-header X-Stead-Edge 413 if { var(txn.excess) -m found }\n"
		"\thttp-after-response set-status 413 if { var(txn.excess) -m found }\n"
		"\tuse_backend %%[var(txn.slot)]\n",
		c->dir);
}

const char haproxy_lua[] =
	"-- Written by stead.\n"
	"-- A request waits while its backend has no server that takes new ones.\n"
	"core.register_action('hold', { 'http-req' }, function(txn)\n"
	"	local slot = txn:get_var('txn.slot')\n"
	"	local left = tonumber(txn:get_var('txn.hold')) or 0\n"
	"	while left > 0 and txn.c:nbsrv(slot) == 0 do\n"
	"		core.msleep(20)\n"
	"		left = left - 20\n"
	"	end\n"
	"end)\n"
	"-- What of a body that is too long is read to its end, so that the client sees the answer.\n"
	"local REST_MAX = 64 * 1024 * 1024\n"
	"-- Ends a request whose body turns out too long. HAProxy answers an error in a filter with status 400.\n"
	"local Measure = { id = 'measure', flags = filter.FLT_CFG_FL_HTX }\n"
	"Measure.__index = Measure\n"
	"function Measure:new()\n"
	"	return setmetatable({ seen = 0 }, self)\n"
	"end\n"
	"function Measure:start_analyze(txn, channel)\n"
	"	if not channel:is_resp() then filter.register_data_filter(self, channel) end\n"
	"end\n"
	"function Measure:http_payload(txn, message)\n"
	"	if txn:get_var('txn.page') then return end\n"
	"	self.seen = self.seen + #(message:body() or '')\n"
	"	local max = tonumber(txn:get_var('txn.max')) or 0\n"
	"	if self.seen <= max then return end\n"
	"	txn:set_var('txn.excess', 'x')\n"
	"	if self.seen > max + REST_MAX then error('body too large') end\n"
	"	message:remove()\n"
	"end\n"
	"function Measure:http_end(txn, message)\n"
	"	if not message.channel:is_resp() and txn:get_var('txn.excess') then error('body too large') end\n"
	"end\n"
	"core.register_filter('measure', Measure, function(self) return self end)\n"
	"core.register_service('too_large', 'http', function(applet)\n"
	"	local page, left = applet:get_var('txn.page'), REST_MAX\n"
	"	applet:set_status(413)\n"
	"	applet:add_header('Content-Type', 'text/plain; charset=utf-8')\n"
	"	applet:add_header('Content-Length', #page)\n"
	"	applet:add_header('X-Stead-Edge', '413')\n"
	"	applet:start_response()\n"
	"	applet:send(page)\n"
	"	while left > 0 do\n"
	"		local data = applet:receive(65536)\n"
	"		if #data == 0 then break end\n"
	"		left = left - #data\n"
	"	end\n"
	"end)\n";

static void put_tables(Buf *b)
{
	static const char *const tables[][2] = { { "rate_S", "1s" }, { "rate_M", "1m" }, { "rate_H", "1h" } };
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		buf_printf(b, "backend %s from common\n\tstick-table type string len 64 size " RATE_ENTRIES " expire %s store gpc0,gpc0_rate(%s)\n", tables[i][0],
			tables[i][1], tables[i][1]);
}

static void put_head(const HaproxyConfig *c, Buf *b)
{
	put_global(c, b);
	put_defaults(c, b);
	put_frontend(c, false, b);
	put_frontend(c, true, b);
	put_measured(c, b);
	put_tables(b);
}

void haproxy_config_frame(const HaproxyConfig *c, size_t n_slots, Buf *ret)
{
	AUTO_FREE char *jail = xasprintf("%s/jail", c->dir);
	AUTO_BUF forwarded = BUF_INIT;
	buf_str(ret, "# Written by stead for each new HAProxy; changes are lost.\n");
	put_head(c, ret);
	put_forwarded("%[ssl_fc,iif(https,http)]", &forwarded);
	cache_haproxy_sections(jail, LOG_FORMAT, buf_cstr(&forwarded), ret);
	buf_printf(ret, "# %zu slots\n", n_slots);
}

/* ── what differs from process to process ─────────────────────────── */

void haproxy_server_words(const ProxyServer *s, Buf *ret)
{
	buf_printf(ret, "%s:%u pool-max-conn 256 pool-purge-delay 4s%s%s", s->address, s->port, s->backup ? " backup" : "", s->watched ? WATCHED : "");
}

char *haproxy_stat_command(size_t slot)
{
	return xasprintf("show stat %zu 4 -1", SLOT_ID_FIRST + slot);
}

static int server_check(const ProxyServer *s, Err *err)
{
	uint8_t bin[16];
	if (!word_ok(s->name, "") || !s->port || (inet_pton(AF_INET, s->address, bin) != 1 && inet_pton(AF_INET6, s->address, bin) != 1))
		return err_set(err, -EINVAL, "server '%.16s' at '%.45s' cannot be written into HAProxy's configuration", s->name, s->address);
	return 0;
}

int haproxy_config(const HaproxyConfig *c, const char *digest, const ProxyState *s, Buf *ret, Err *err)
{
	haproxy_config_frame(c, s->n_slots, ret);
	buf_printf(ret, "global\n\tdescription stead-%.64s\n", digest);
	for (size_t i = 0; i < s->n_slots; i++) {
		buf_printf(ret, "backend s%zu from slot\n\tid %zu\n", i, SLOT_ID_FIRST + i);
		for (size_t k = 0; k < s->slots[i].n_servers; k++) {
			const ProxyServer *server = &s->slots[i].servers[k];
			int r = server_check(server, err);
			if (r < 0)
				return r;
			if (server->state != SERVER_READY)
				continue;
			buf_printf(ret, "\tserver %s ", server->name);
			haproxy_server_words(server, ret);
			buf_char(ret, '\n');
		}
	}
	return 0;
}

static int put_entry(const char *key, const char *key_chars, const char *value, const char *value_chars, Buf *ret, Err *err)
{
	int r = word(ret, key, key_chars, err);
	if (r == 0) {
		buf_char(ret, ' ');
		r = word(ret, value, value_chars, err);
	}
	if (r == 0)
		buf_char(ret, '\n');
	return r;
}

int haproxy_routes(const ProxyState *s, Buf *ret, Err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < s->n_routes; i++)
		r = put_entry(s->routes[i].key, IN_KEYS, s->routes[i].value, IN_VALUES, ret, err);
	return r;
}

int haproxy_slots(const ProxyState *s, Buf *ret, Err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < s->n_slots; i++) {
		char slot[24];
		(void) snprintf(slot, sizeof(slot), "s%zu", i);
		if (s->slots[i].backend)
			r = put_entry(slot, "", s->slots[i].backend, IN_NAMES, ret, err);
	}
	return r;
}

int haproxy_crt_list(const ProxyState *s, Buf *ret, Err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < s->n_certs; i++) {
		r = word(ret, s->certs[i].file, IN_PATHS, err);
		for (char **name = s->certs[i].names; r == 0 && name && *name; name++) {
			buf_char(ret, ' ');
			r = word(ret, *name, IN_HOSTS, err);
		}
		buf_char(ret, '\n');
	}
	return r;
}

/* ── pages ────────────────────────────────────────────────────────── */

static const struct Page {
	const char *key, *title, *text;
	int again; /* seconds after which a browser asks once more; 0 = never */
} pages[] = {
	{ "400", "Bad request", "The request could not be understood.", 0 },
	{ "400x", "Request too large", "The request has more data than this site takes.", 0 }, /* found out in its body */
	{ "404", "Nothing here", "There is no site at this address. Check the spelling of the address.", 0 },
	{ "408", "Request timed out", "The request took too long to arrive.", 0 },
	{ "413", "Request too large", "The request has more data than this site takes.", 0 },
	{ "429", "Too many requests", "Too many requests came from your address. Wait a moment, then try again.", 0 },
	{ "500", "Internal error", "Something went wrong on this server.", 0 },
	{ "502", "Bad gateway", "The service behind this site broke off or gave no answer that could be understood. Try again in a moment.", 0 },
	{ "503", "Starting", "The service behind this site is starting, or cannot be reached just now. Try again in a moment.", 3 },
	{ "504", "Timed out", "The service behind this site did not answer in time. Try again later.", 0 },
	{ "maintenance", "Down for maintenance", "This site is being worked on and will be back soon.", 30 },
};

void haproxy_pages(Buf *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
		const struct Page *p = &pages[i];
		AUTO_FREE char *again = p->again ? xasprintf("<meta http-equiv=\"refresh\" content=\"%d\">", p->again) : xstrdup("");
		buf_printf(ret, "%s. %s: %s\n", p->key, p->title, p->text);
		buf_printf(ret,
			"%s.1 <!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">%s"
			"<title>%s</title><style>body{font:18px/1.5 system-ui,sans-serif;max-width:34em;margin:18vh auto;padding:0 1em;color:#222;background:#fff}"
			"@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}}</style><h1>%s</h1><p>%s</p></html>\n",
			p->key, again, p->title, p->title, p->text);
	}
}
