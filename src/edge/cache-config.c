// SPDX-License-Identifier: Apache-2.0
/*
 * A request for a route with a cache goes through HAProxy twice: frontend, backend `cache`, nginx, frontend `cache_origin`, the service's slot. Who
 * decides what:
 *
 * The frontend (cache_haproxy_rules): whether the cache is asked at all. Never with credentials, a body or an upgrade; never with a path that
 * nginx would refuse but a service may not; never when the answer to this URL could not be kept the last time. This last is what keeps nginx's
 * lock (one request for many parallel misses) from lining up requests that have nothing to wait for. Each ten seconds one of them tries again.
 *
 * The backend `cache`: the key. Generation, scheme (a redirect to https must not answer https), whether there are cookies, and, from the
 * request itself, Host and URL. Accept-Encoding is brought into one of three forms, or a variant would be kept for each browser. What is asked for
 * most is kept in HAProxy's own memory for a second: this saves the way to nginx, which costs three times as much as the answer. HAProxy's own
 * cache would be wrong in much, but it gets only what nginx has found fresh and what has no Vary, and its key has the generation.
 *
 * cache_origin: what may be kept, and for how long. nginx is told by a Cache-Control of its own; that of the service is handed through beside
 * it. So the rules of RFC 9111 stand here in one place: nginx alone would let the order of headers decide (1.22), keep errors that
 * have a lifetime, and serve stale what must be revalidated. Requests with cookies have a part of the cache of their own, into which nothing gets
 * that does not say itself how long it may be kept: the page of one who is logged in is never shown to another, and shared assets are still cached.
 *
 * nginx: keeps, revalidates, collapses misses, cuts ranges. If it is away, `cache` goes straight to cache_origin.
 *
 * Bounds: nginx's cache manager looks at the size of a zone each ten seconds. So that not much can get in between, cache_origin admits FILL_BYTES in that time
 * and lets the rest pass. A response that is larger than a quarter of the zone passes too, without buffering. (Not if its length is unknown, unless it looks like a
 * download.)
 */
#include "edge/cache-config.h"

#include <string.h>

#include "base/digest.h"
#include "base/str.h"
#include "base/time.h"
#include "edge/proxy-state.h"

#define FILL_BYTES "67108864"    /* into all zones in memory, and into all on disk, within 10 s */
#define OBJECT_MEMORY (16 << 20) /* largest response that is kept in memory */
#define OBJECT_DISK (1LL << 30)  /* … on disk */
#define SHARE 4                  /* … and at most this part of its zone */
#define AVERAGE_BYTES 8192       /* of a cached response, for the size of the index */
#define KEY_BYTES 128            /* of the index for one response, http://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_cache_path */
#define KEYS_MIN 4096
#define KEYS_MAX 262144
#define IDLE_MEMORY 3600         /* s, how long a response is kept that nobody asks for, beyond its ttl */
#define IDLE_DISK (7 * 24 * 3600)

bool cache_zone(const EdgeRoute *r, CacheZone *ret)
{
	const RouteCache *c = &r->route.cache;
	AUTO_BUF key = BUF_INIT;
	char hex[DIGEST_HEX_MAX];
	if (c->ttl < 0)
		return false;
	/* The service is part of it: what one left behind on disk is not its successor's. */
	buf_printf(&key, "%s/%s ", r->stack, r->service);
	proxy_route_key(&r->route, &key);
	digest_sha256(key.data, key.len, hex);
	ret->disk = c->disk > 0;
	ret->bytes = ret->disk ? c->disk : c->max_size;
	ret->ttl = (c->ttl + NSEC_PER_SEC - 1) / NSEC_PER_SEC;
	ret->name[0] = ret->disk ? 'd' : 'm';
	memcpy(ret->name + 1, hex, CACHE_ZONE_NAME - 2);
	ret->name[CACHE_ZONE_NAME - 1] = '\0';
	return true;
}

static int64_t object_max(const CacheZone *z)
{
	int64_t most = z->disk ? OBJECT_DISK : OBJECT_MEMORY;
	return z->bytes / SHARE < most ? z->bytes / SHARE : most;
}

void cache_zone_words(const CacheZone *z, const char *generation, Buf *ret)
{
	buf_printf(ret, "%s:%s:%lld:%lld:", z->name, generation, (long long) z->ttl, (long long) object_max(z));
}

/* ── nginx ────────────────────────────────────────────────────────── */

static void put_zone(const CacheZone *z, Buf *b)
{
	int64_t keys = z->bytes / AVERAGE_BYTES;
	keys = keys < KEYS_MIN ? KEYS_MIN : keys > KEYS_MAX ? KEYS_MAX : keys;
	buf_printf(b, "\tproxy_cache_path %s/%s levels=1:2 keys_zone=%s:%lldk max_size=%lldk inactive=%llds use_temp_path=off;\n", z->disk ? CACHE_DISK : CACHE_MEMORY,
		z->name, z->name, (long long) (keys * KEY_BYTES / 1024), (long long) (z->bytes / 1024 ?: 1),
		(long long) (z->ttl + (z->disk ? IDLE_DISK : IDLE_MEMORY)));
}

static const char nginx_head[] =
	"daemon off;\n"
	"worker_processes 2;\n"
	"worker_shutdown_timeout 60s;\n"
	"pid /tmp/temp/pid;\n"
	"error_log stderr warn;\n"
	"events { worker_connections 4096; }\n"
	"http {\n"
	"\taccess_log off;\n"
	"\tserver_tokens off;\n"
	"\tdefault_type \"\";\n"
	"\tsendfile on;\n"
	"\tclient_body_temp_path /tmp/temp/body;\n"
	"\tproxy_temp_path /tmp/temp/proxy;\n"
	"\tfastcgi_temp_path /tmp/temp/fastcgi;\n"
	"\tuwsgi_temp_path /tmp/temp/uwsgi;\n"
	"\tscgi_temp_path /tmp/temp/scgi;\n"
	/* HAProxy has checked names and sizes, and closes what idles. */
	"\tunderscores_in_headers on;\n"
	"\tignore_invalid_headers off;\n"
	"\tlarge_client_header_buffers 4 32k;\n"
	"\tkeepalive_timeout 1h;\n"
	"\tkeepalive_time 1d;\n"
	"\tkeepalive_requests 1000000000;\n"
	"\tsend_timeout 1h;\n"
	"\tproxy_read_timeout 1d;\n"
	"\tproxy_send_timeout 1h;\n"
	"\tmap $upstream_cache_status $answer { default $upstream_cache_status; UPDATING STALE; }\n"
	/* A worker of before a change may be asked for a zone that it does not know. */
	"\tmap $asked_zone $zone {\n"
	"\t\tdefault off;\n";

static const char nginx_server[] =
	"\tupstream origin {\n"
	"\t\tserver unix:/tmp/sock/origin.sock max_fails=0;\n"
	"\t\tkeepalive 32;\n"
	"\t\tkeepalive_timeout 20s;\n"
	"\t\tkeepalive_time 1d;\n"
	"\t\tkeepalive_requests 1000000000;\n"
	"\t}\n"
	"\tserver {\n"
	"\t\tlisten unix:/tmp/sock/cache.sock;\n"
	"\t\tif_modified_since before;\n"
	"\t\tif ($request_uri !~ ^/(?<asked_zone>[^:/]+):(?<generation>[^:/]+):[^/]*:(?<part>[0-9]*)(?<rest>/.*)$) { return 400; }\n"
	"\t\tlocation / {\n"
	"\t\t\tproxy_pass http://origin;\n"
	"\t\t\tproxy_http_version 1.1;\n"
	"\t\t\tproxy_redirect off;\n"
	"\t\t\tproxy_set_header Host $http_host;\n"
	"\t\t\tproxy_set_header Connection \"\";\n"
	"\t\t\tproxy_pass_header Server;\n"
	"\t\t\tproxy_ignore_headers X-Accel-Redirect X-Accel-Limit-Rate X-Accel-Charset X-Accel-Expires;\n"
	"\t\t\tproxy_cache $zone;\n"
	"\t\t\tproxy_cache_key \"$generation$part $http_host$rest\";\n"
	"\t\t\tproxy_cache_lock on;\n"
	"\t\t\tproxy_cache_lock_timeout 5s;\n"
	"\t\t\tproxy_cache_lock_age 1m;\n"
	"\t\t\tproxy_cache_revalidate on;\n"
	"\t\t\tproxy_cache_background_update on;\n"
	"\t\t\tproxy_cache_use_stale error timeout invalid_header http_500 http_502 http_503 http_504;\n"
	"\t\t\tproxy_cache_max_range_offset 16m;\n"
	"\t\t\tproxy_force_ranges on;\n"
	"\t\t\tproxy_buffer_size 16k;\n"
	"\t\t\tproxy_buffers 8 16k;\n"
	"\t\t\tproxy_busy_buffers_size 64k;\n"
	"\t\t\tproxy_max_temp_file_size 0;\n"
	"\t\t\tproxy_hide_header Cache-Control;\n"
	"\t\t\tproxy_hide_header Expires;\n"
	"\t\t\tproxy_hide_header X-Cache;\n"
	"\t\t\tproxy_hide_header X-Stead-Cache-Control;\n"
	"\t\t\tproxy_hide_header X-Stead-Cache-Expires;\n"
	"\t\t\tadd_header Cache-Control $upstream_http_x_stead_cache_control always;\n"
	"\t\t\tadd_header Expires $upstream_http_x_stead_cache_expires always;\n"
	"\t\t\tadd_header X-Cache $answer always;\n"
	"\t\t}\n"
	"\t}\n"
	"}\n";

void cache_nginx_config(const CacheZone *zones, size_t n, Buf *ret)
{
	buf_str(ret, nginx_head);
	for (size_t i = 0; i < n; i++)
		buf_printf(ret, "\t\t%s %s;\n", zones[i].name, zones[i].name);
	buf_str(ret, "\t}\n");
	for (size_t i = 0; i < n; i++)
		put_zone(&zones[i], ret);
	buf_str(ret, nginx_server);
}

/* ── HAProxy ──────────────────────────────────────────────────────── */

void cache_haproxy_words(Buf *ret)
{
	buf_str(ret,
		"\tacl cache_not req.hdr(authorization) -m found\n"
		"\tacl cache_not req.hdr(upgrade) -m found\n"
		"\tacl cache_not req.hdr(transfer-encoding) -m found\n"
		"\tacl cache_not req.hdr_val(content-length) gt 0\n"
		"\tacl cache_not path -m reg '%(00|[^0-9A-Fa-f]|.[^0-9A-Fa-f]|.?$)'\n"
		"\tacl cache_not path -m sub /..\n"
		"\tacl cache_not be_conn(cache) ge 1500\n"
		"\tacl cache_passed sc1_get_gpt0(cache_passed) eq 1\n"
		"\thttp-response set-header X-Cache BYPASS if { var(txn.cache_status) -m str BYPASS }\n");
}

void cache_haproxy_rules(const char *condition, Buf *ret)
{
	buf_printf(ret,
		"\thttp-request set-var(txn.url) url32 %1$s\n"
		"\thttp-request track-sc1 var(txn.url) table cache_passed if { var(txn.url),in_table(cache_passed) }\n"
		"\thttp-request set-var(txn.passed) bool(true) if cache_passed { sc1_gpc0_rate(cache_passed) gt 0 }\n"
		"\thttp-request sc-inc-gpc0(1) if cache_passed !{ var(txn.passed) -m found }\n"
		"\thttp-request set-var(txn.cached) bool(true) %1$s METH_GET !cache_not !{ var(txn.passed) -m found }\n"
		"\thttp-request set-var(txn.route) var(txn.slot) %1$s !{ var(txn.cached) -m found }\n"
		"\thttp-request set-var(txn.cache_status) str(BYPASS) %1$s !{ var(txn.cached) -m found }\n",
		condition);
}

static const char haproxy_tables[] =
	"cache hot\n"
	"\ttotal-max-size 1\n"
	"\tmax-object-size 131072\n"
	"\tmax-age 1\n"
	"backend cache_passed from common\n"
	"\tstick-table type integer size 4k expire 1h store gpt0,gpc0_rate(10s)\n"
	"backend cache_asked from common\n"
	"\tstick-table type integer size 4k expire 2s store http_req_rate(1s)\n"
	"backend cache_filled from common\n"
	"\tstick-table type string len 1 size 10 expire 1m store bytes_out_rate(10s)\n";

/*
 * The way through the cache is the request's own URL with all that has to be known on it in front, "/ZONE:GENERATION:TTL:BYTES:SLOT:TIMEOUT:PART/…", where PART is two numbers: whether it came
 * by HTTPS, and how many cookie headers it has. So it is the key of HAProxy's cache too, nobody can send a header in its place, and what costs time is done once. What is in HAProxy's cache
 * goes no further than `cache-use`: all that only nginx and the service need comes after it.
 */
#define WORDS "var(txn.route),field(9,|)"

/* It is among those that are accepted: with no weight, or one above 0. */
#define ACCEPTED(name) "{ var(txn.encodings) -m reg '(^|[ ,])" name "( *(,|$)| *; *q=(1|0?[.][0-9]*[1-9]))' }"

static const char haproxy_backend[] =
	"backend cache from common\n"
	"\tno log\n"
	"\ttimeout server 75s\n"
	"\thttp-request set-var(txn.slot) " WORDS ",field(5,:)\n"
	"\thttp-request set-var(txn.url) url32\n"
	"\thttp-request track-sc2 var(txn.url) table cache_asked\n"
	"\thttp-request set-pathq \"/%[" WORDS "]%[ssl_fc]%[req.fhdr_cnt(cookie)]%[pathq]\"\n"
	"\thttp-request cache-use hot unless { req.hdr(range) -m found }\n"
	"\thttp-request set-timeout server var(txn.timeout),add(10000) if { var(txn.timeout) -m found }\n";

/* As nobody else would write it. */
#define LENT "\"max-age=1, x-stead-lent\""

static const char haproxy_miss[] =
	"\thttp-request set-var(txn.encodings) req.fhdr(accept-encoding),lower\n"
	"\thttp-request del-header Accept-Encoding if { var(txn.encodings) -m found }\n"
	"\thttp-request set-header Accept-Encoding gzip if " ACCEPTED("(gzip|[*])") "\n"
	"\thttp-request set-header Accept-Encoding \"gzip, br\" if " ACCEPTED("(gzip|[*])") " " ACCEPTED("br") "\n"
	/* what becomes of the answer */
	"\thttp-response set-var(txn.cache_status) str(HIT)\n"
	"\thttp-response del-header Cache-Control if { res.fhdr(cache-control) -m str " LENT " }\n"
	"\thttp-response allow if { res.cache_hit }\n"
	"\tacl passed res.hdr(x-stead-cache-passed) -m found\n"
	"\thttp-response track-sc1 var(txn.url) table cache_passed if passed\n"
	"\thttp-response sc-set-gpt0(1) 1 if passed\n"
	"\thttp-response sc-inc-gpc0(1) if passed\n"
	"\thttp-response sc-set-gpt0(1) 0 if !passed { sc1_get_gpt0(cache_passed) eq 1 }\n"
	/* nginx puts the service's own headers back; without it that is left to do */
	"\tacl straight srv_name straight\n"
	"\thttp-response del-header Cache-Control if straight\n"
	"\thttp-response set-header Cache-Control %[res.fhdr(x-stead-cache-control)] if straight { res.hdr(x-stead-cache-control) -m found }\n"
	"\thttp-response set-header Expires %[res.fhdr(x-stead-cache-expires)] if straight { res.hdr(x-stead-cache-expires) -m found }\n"
	"\thttp-response del-header X-Accel-Buffering\n"
	"\thttp-response del-header X-Stead-Cache- -m beg\n"
	/* nginx adds its headers once more to an error of its own, 416 */
	"\thttp-response set-header X-Cache %[res.fhdr(x-cache)] if { res.fhdr_cnt(x-cache) gt 1 }\n"
	"\thttp-response set-header Cache-Control %[res.fhdr(cache-control)] if { res.fhdr_cnt(cache-control) gt 1 }\n"
	"\thttp-response set-header Expires %[res.fhdr(expires)] if { res.fhdr_cnt(expires) gt 1 }\n"
	"\thttp-response set-header X-Cache BYPASS unless { res.hdr(x-cache) -m found }\n"
	"\thttp-response set-var(txn.cache_status) res.hdr(x-cache)\n"
	"\thttp-response return status 504 content-type text/plain string \"The service does not answer, and what is cached is out of date.\\n\" "
	"if { res.hdr(x-cache) STALE } { res.hdr(cache-control),lower -m sub must-revalidate proxy-revalidate }\n"
	"\thttp-response set-var(txn.hot) bool(true) if { res.hdr(x-cache) HIT } { sc2_http_req_rate(cache_asked) gt 5 } !{ res.comp }\n"
	/* HAProxy's cache takes nothing that has neither a lifetime nor a validator: it is lent one. */
	"\thttp-response set-var(txn.lent) bool(true) if { var(txn.hot) -m found } !{ res.hdr(cache-control) -m found }\n"
	"\thttp-response set-header Cache-Control " LENT " if { var(txn.lent) -m found }\n"
	"\thttp-response cache-store hot if { var(txn.hot) -m found }\n"
	"\thttp-response del-header Cache-Control if { var(txn.lent) -m found }\n"
	"\tserver nginx unix@/cache/cache.sock check inter 10s fastinter 1s downinter 1s fall 1 rise 1 observe layer4 error-limit 1 on-error mark-down\n"
	"\tserver straight unix@/cache/origin.sock backup\n";

static const char origin_request[] =
	"\thttp-request set-var(txn.html) int(1) if { req.fhdr(accept) -m sub text/html }\n"
	"\thttp-request set-var(txn.words) path,field(2,/)\n"
	"\thttp-request replace-pathq ^/[^/]*(.*)$ \\1\n"
	"\thttp-request set-var(txn.store) var(txn.words),bytes(0,1)\n"
	"\thttp-request set-var(txn.ttl) var(txn.words),field(3,:),add(0)\n"
	"\thttp-request set-var(txn.largest) var(txn.words),field(4,:),add(0)\n"
	"\thttp-request set-var(txn.slot) var(txn.words),field(5,:)\n"
	"\thttp-request set-var(txn.timeout) var(txn.words),field(6,:),add(0) if { var(txn.words),field(6,:) -m len gt 0 }\n"
	"\thttp-request set-var(txn.ttl) int(0) if { req.hdr(cookie) -m found }\n"
	"\tuse_backend %[var(txn.slot)]\n";

static const char origin_response[] =
	"\thttp-response del-header X-Stead-Cache- -m beg\n"
	"\thttp-response set-var(txn.date) res.fhdr(date)\n"
	"\thttp-response set-var(txn.control) res.fhdr(cache-control,1)\n"
	"\thttp-response set-var(txn.control2) res.fhdr(cache-control,2)\n"
	"\thttp-response set-var(txn.control3) res.fhdr(cache-control,3)\n"
	"\thttp-response set-var-fmt(txn.control) \"%[var(txn.control)], %[var(txn.control2)]\" if { var(txn.control2) -m found }\n"
	"\thttp-response set-var-fmt(txn.control) \"%[var(txn.control)], %[var(txn.control3)]\" if { var(txn.control3) -m found }\n"
	"\tacl lifetime var(txn.control),lower -m reg '(^|[ ,;])(s-maxage|max-age)='\n"
	"\tacl expires res.hdr(expires) -m found\n"
	"\tacl over res.fhdr(expires) -m reg '^([^A-Z]|.*(19[0-9][0-9]|20[01][0-9]) )'\n"
	"\tacl over res.fhdr(expires),strcmp(txn.date) eq 0\n"
	"\tacl sized res.hdr(content-length) -m found\n"
	"\tacl shared var(txn.control),lower -m sub s-maxage=\n"
	"\tacl zero var(txn.control),lower -m reg '(^|[ ,;])max-age=0+([^0-9]|$)'\n"
	/* never kept */
	"\tacl never status 100:199 201:202 204:299 303 305:306 309:403 405:409 411:999\n"
	"\tacl never var(txn.control),lower -m sub no-store no-cache private\n"
	"\tacl never var(txn.control),lower -m reg '(^|[ ,;])(s-maxage|max-age)=([^0-9]|$)'\n"
	"\tacl never var(txn.control),lower -m reg 's-maxage=0+([^0-9]|$)'\n"
	"\tacl never res.fhdr_cnt(cache-control) gt 3\n"
	"\tacl never res.hdr(set-cookie) -m found\n"
	"\tacl never res.hdr(vary) -m str '*'\n"
	"\tacl never res.hdr(content-type) -i -m beg text/event-stream\n"
	"\tacl never res.hdr(x-accel-buffering) -i no\n"
	"\tacl never res.hdr_val(content-length),sub(txn.largest) gt 0\n"
	"\tacl download res.hdr(content-disposition) -i -m beg attachment\n"
	"\tacl download res.hdr(content-type) -i -m beg video/ audio/ application/octet-stream application/zip application/gzip application/x-tar\n"
	/* for how long, if the response says nothing */
	"\thttp-response set-var(txn.ttl) int(0) unless { status 200 203 300 301 308 404 410 }\n"
	"\thttp-response set-var(txn.ttl) int(10) if { status 404 410 } { var(txn.ttl),sub(10) gt 0 }\n"
	"\thttp-response set-var(txn.never) bool(true) if never || !shared zero || !lifetime expires over || !lifetime !expires { var(txn.ttl) -m int 0 } !{ status 304 } || !lifetime !sized download !{ status 304 }\n"
	"\thttp-response del-header X-Accel- -m beg\n"
	"\thttp-response del-header X-Cache\n"
	/* too much at once */
	"\thttp-response track-sc1 var(txn.store) table cache_filled unless { var(txn.never) -m found }\n"
	"\thttp-response set-var(txn.refused) bool(true) if { var(txn.never) -m found } || { sc1_bytes_out_rate(cache_filled) gt " FILL_BYTES " }\n"
	/* what nginx reads, and what the client will */
	"\thttp-response set-header X-Stead-Cache-Control %[var(txn.control)] if { var(txn.control) -m found }\n"
	"\thttp-response set-header X-Stead-Cache-Expires %[res.fhdr(expires)] if expires\n"
	"\thttp-response set-header X-Stead-Cache-Passed 1 if { var(txn.never) -m found }\n"
	"\thttp-response set-var-fmt(txn.stale) \", stale-while-revalidate=60\" unless { var(txn.control),lower -m sub must-revalidate proxy-revalidate "
	"stale-while-revalidate }\n"
	"\thttp-response del-header Expires if lifetime || !lifetime !expires || { var(txn.refused) -m found }\n"
	"\thttp-response set-header Cache-Control \"max-age=%[var(txn.ttl)]%[var(txn.stale)]\" if !lifetime !expires !{ status 304 }\n"
	"\thttp-response set-header Cache-Control \"public, %[var(txn.control)]%[var(txn.stale)]\" if lifetime || expires\n"
	"\thttp-response set-header Cache-Control no-store if { var(txn.refused) -m found }\n"
	"\thttp-response set-header X-Accel-Buffering no if { var(txn.refused) -m found }\n";

void cache_haproxy_sections(const char *jail, const char *log_format, const char *forwarded, Buf *ret)
{
	buf_str(ret, haproxy_tables);
	buf_str(ret, haproxy_backend);
	buf_str(ret, forwarded);
	buf_str(ret, haproxy_miss);
	buf_printf(ret,
		"frontend cache_origin from common\n"
		"\tbind unix@%s/cache/origin.sock mode 660 user root group haproxy\n"
		"\tlog-format %s\n"
		"\thttp-request disable-l7-retry unless { method GET HEAD OPTIONS }\n",
		jail, log_format);
	buf_str(ret, origin_request);
	buf_str(ret, origin_response);
}
