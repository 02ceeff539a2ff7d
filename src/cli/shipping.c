// SPDX-License-Identifier: Apache-2.0
/*
 * How it works: the sender's end is opened first, since that is where an image may be missing; then the receiver's. What an end
 * says last decides. Only a connection that ended without a word is made again: the receiver has kept what came, and asks for the
 * rest. As long as each try brings something, tries go on; else there are some few, with growing pauses.
 */
#include "cli/shipping.h"

#include <errno.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "cli/client.h"
#include "cli/operation.h"
#include "cli/ship-view.h"
#include "cli/signals.h"
#include "cli/ssh.h"

#define TRIES 5      /* in a row that brought nothing */
#define TRIES_MAX 50 /* in all */
#define PAUSE_MAX 16 /* seconds */

typedef enum Outcome { SHIP_DONE, SHIP_FAILED, SHIP_REFUSED, SHIP_LOST, SHIP_INTERRUPTED } Outcome;

typedef struct Shipping {
	const Cli *cli;
	const ShipOrder *o;
	Relay relay;
	ShipSender sender;
	ShipView view;
	uint64_t sent_before, received_before; /* in earlier tries */
	uint64_t data;  /* payload in this try */
	size_t layers_sent;
	bool begun;     /* both ends have stood at least once */
	char *arch;     /* the receiver's, where there may be a choice */
} Shipping;

void ship_totals_done(ShipTotals *t)
{
	json_decref(t->images);
	*t = (ShipTotals) { 0 };
}

char *shipping_summary(const ShipTotals *t)
{
	AUTO_FREE char *sent = ship_bytes(t->sent), *all = ship_bytes(t->image_bytes);
	return xasprintf("sent %s of %s", sent, all);
}

json_t *shipping_json(const ShipTotals *t)
{
	uint64_t saved = t->image_bytes > t->sent ? t->image_bytes - t->sent : 0;
	double seconds = (double) (t->took / NSEC_PER_MSEC) / 1000;
	return json_pack("{s:I, s:I, s:I, s:I, s:f, s:I, s:I, s:O?}", "bytes_sent", (json_int_t) t->sent, "bytes_received",
		(json_int_t) t->received, "bytes_saved", (json_int_t) saved, "image_bytes", (json_int_t) t->image_bytes, "seconds", seconds,
		"layers", (json_int_t) t->layers, "layers_sent", (json_int_t) t->layers_sent, "images", t->images);
}

/* ── opening ──────────────────────────────────────────────────────── */

static int connect_to(const Cli *cli, const char *host, HttpClient **ret, Err *err)
{
	return host ? client_open_host(cli, host, ret, err) : client_open(cli, ret, err);
}

/* A box whose stead knows no ships answers 404 to the path itself. */
static bool lacks_ships(const Err *err)
{
	return err->code == -ENOENT && strstr(err_text(err), "page not found");
}

static int take_over(Shipping *s, HttpClient *c, const char *target, const json_t *body, ShipEnd *e, ShipLane *lane, Err *err)
{
	const HttpBody b = { .json = body };
	AUTO_BUF rest = BUF_INIT;
	int read_fd, write_fd;
	int r = http_call(c, "POST", target, &b, true, err);
	if (r < 0)
		return lacks_ships(err) ? err_set(err, -ENOTSUP, "the stead there cannot ship images yet; bring it up to this version (%s)", STEAD_VERSION) : r;
	http_hijack_client(c, &read_fd, &write_fd, &rest);
	ship_end_open(e, read_fd, write_fd);
	return relay_feed(&s->relay, lane, rest.data, rest.len, err);
}

/* A connection's own errors name it already. */
static int name_host(const char *host, Err *err)
{
	return strstr(err_text(err), host) ? err->code : err_wrap(err, "%s", host);
}

/* Where it is, if it is not where it was looked for. */
static void hint_engine(Shipping *s, Err *err)
{
	if (!s->o->hint || s->begun)
		return;
	for (char **name = s->o->source->names; *name; name++) {
		const char *engine = strstr(err_text(err), *name) ? ship_engine_with(*name) : NULL;
		if (!engine)
			continue;
		(void) err_set(err, err->code, "%s. There is one in %s: stead ship %s:%s", err_text(err), engine, engine, *name);
		return;
	}
}

/* What comes of an archive of several platforms is what the box there can run. One that cannot tell is told to be too old by and by. */
static int ask_architecture(Shipping *s, Err *err)
{
	AUTO_HTTP *c = NULL;
	json_t *box = NULL;
	AUTO_ERR why = ERR_INIT;
	int r = connect_to(s->cli, s->o->to, &c, err);
	if (r == 0 && (r = client_get(c, "/stead/v1/box", JSON_OBJECT, &box, &why)) < 0)
		r = http_status(c) == 404 ? 0 : err_move(err, &why);
	if (!str_empty(json_text(box, "architecture")))
		s->arch = xstrdup(json_text(box, "architecture"));
	json_decref(box);
	return r < 0 && s->o->to ? name_host(s->o->to, err) : r;
}

static int open_sender(Shipping *s, Err *err)
{
	AUTO_HTTP *c = NULL;
	if (s->o->source->kind != SOURCE_DAEMON) {
		int e = s->arch ? 0 : ask_architecture(s, err);
		return e < 0 ? e : ship_sender_start(s->o->source, s->arch, &s->sender, &s->relay.sender, err);
	}
	int r = connect_to(s->cli, s->o->from, &c, err);
	if (r < 0)
		return r;
	json_t *body = json_pack("{s:o}", "images", strv_to_json(s->o->source->names));
	r = take_over(s, c, "/stead/v1/ships/send", body, &s->relay.sender, &s->relay.there, err);
	json_decref(body);
	if (r == -ENOENT)
		hint_engine(s, err);
	return r < 0 && s->o->from && !s->o->hint ? name_host(s->o->from, err) : r;
}

static int open_receiver(Shipping *s, Err *err)
{
	AUTO_HTTP *c = NULL;
	int r = connect_to(s->cli, s->o->to, &c, err);
	if (r < 0)
		return r;
	json_t *body = json_object();
	r = take_over(s, c, "/stead/v1/ships/receive", body, &s->relay.receiver, &s->relay.back, err);
	json_decref(body);
	return r < 0 && s->o->to ? name_host(s->o->to, err) : r;
}

/* ── one try ──────────────────────────────────────────────────────── */

static void on_control(void *user, bool from_sender, const json_t *value)
{
	Shipping *s = user;
	ship_view_control(&s->view, from_sender, value, s->sent_before + s->relay.there.bytes, time_mono());
	if (s->view.begun > s->layers_sent)
		s->layers_sent = s->view.begun;
}

static void on_position(void *user, uint64_t tar)
{
	Shipping *s = user;
	ship_view_position(&s->view, tar);
}

static void on_data(void *user, size_t n)
{
	Shipping *s = user;
	s->data += n;
}

static void on_tick(void *user)
{
	Shipping *s = user;
	int64_t now = time_mono();
	bool live = s->view.progress.mode == PROGRESS_LIVE;
	if (!live && s->view.told == s->view.begun)
		return;
	AUTO_FREE char *text = ship_view_text(&s->view, s->sent_before + s->relay.there.bytes, now);
	s->view.told = s->view.begun;
	progress_text(&s->view.progress, text, now);
}

/* Errors that say no more than that the other side has gone, or was cut off in the middle of a frame. */
static bool is_echo(const json_t *last, bool other_silent)
{
	int64_t code = json_number(last, "code");
	return code == -EPIPE || code == -ECONNRESET || (code == -EPROTO && other_silent);
}

static Outcome outcome(Shipping *s, Err *err)
{
	const json_t *receiver = s->relay.receiver.last, *sender = s->relay.sender.last, *said = NULL;
	if (json_object_get(receiver, "result"))
		return SHIP_DONE;
	if (receiver && !is_echo(receiver, !sender))
		said = receiver;
	else if (json_object_get(sender, "error") && !is_echo(sender, !receiver))
		said = sender;
	if (!said) { /* a connection broke, or a daemon was killed */
		(void) err_set(err, -ECONNRESET, "the connection to the %s was lost", receiver ? "sender" : "receiver");
		return SHIP_LOST;
	}
	int code = (int) json_number(said, "code");
	(void) err_set(err, code < 0 ? code : -EIO, "%s", json_text(said, "error"));
	return s->data ? SHIP_FAILED : SHIP_REFUSED;
}

static Outcome try_once(Shipping *s, ShipTotals *t, Err *err)
{
	relay_init(&s->relay);
	s->relay.control = on_control;
	s->relay.data = on_data;
	s->relay.position = on_position;
	s->relay.tick = on_tick;
	s->relay.user = s;
	s->data = 0;
	Outcome end = SHIP_REFUSED;
	int r = open_sender(s, err);
	if (r == 0)
		r = open_receiver(s, err);
	if (r < 0 && s->begun) {
		end = SHIP_LOST; /* perhaps it is on its way up again */
	} else if (r == 0) {
		s->begun = true;
		r = relay_run(&s->relay, err);
		end = r > 0 ? SHIP_INTERRUPTED : r < 0 ? SHIP_FAILED : outcome(s, err);
	}
	s->sent_before += s->relay.there.bytes;
	s->received_before += s->relay.back.bytes;
	if (end == SHIP_DONE) {
		json_t *images = json_object_get(s->relay.receiver.last, "images");
		ship_view_done(&s->view, images);
		if (!t->images)
			t->images = json_array();
		(void) json_array_extend(t->images, images);
	}
	relay_done(&s->relay);
	AUTO_ERR engine = ERR_INIT;
	if (ship_sender_end(&s->sender, s->o->source, &engine) < 0 && (end == SHIP_FAILED || end == SHIP_REFUSED))
		(void) err_set(err, engine.code, "%s", err_text(&engine)); /* the archive's sudden end is only what followed from it */
	return end;
}

/* ── tries ────────────────────────────────────────────────────────── */

static bool can_repeat(const ShipOrder *o)
{
	return o->source->kind != SOURCE_ARCHIVE || !str_eq(o->source->path, "-");
}

/* False: interrupted. */
static bool pause_before(Shipping *s, int seconds, const Err *err)
{
	AUTO_FREE char *note = xasprintf("%s; going on in %d s where it stopped", err_text(err), seconds);
	int64_t until = time_mono() + seconds * NSEC_PER_SEC;
	if (s->view.progress.mode != PROGRESS_QUIET)
		progress_note(&s->view.progress, note);
	while (time_mono() < until) {
		(void) signals_poll(NULL, 0, 100);
		if (signals_ended())
			return false;
	}
	return true;
}

static Outcome try_often(Shipping *s, ShipTotals *t, Err *err)
{
	int in_vain = 0, pause = 1;
	for (int i = 0;; i++) {
		Outcome end = try_once(s, t, err);
		if (end != SHIP_LOST || i == TRIES_MAX || !can_repeat(s->o))
			return end;
		in_vain = s->data ? 0 : in_vain + 1;
		pause = s->data ? 1 : pause * 2 < PAUSE_MAX ? pause * 2 : PAUSE_MAX;
		if (in_vain == TRIES)
			return end;
		if (!pause_before(s, pause, err))
			return SHIP_INTERRUPTED;
		ssh_try_again();
		err_done(err);
	}
}

int shipping_run(const Cli *cli, const ShipOrder *o, ShipTotals *t)
{
	Shipping s = { .cli = cli, .o = o };
	AUTO_ERR err = ERR_INIT;
	int code = EXIT_DONE;
	int64_t began = time_mono();
	progress_init(&s.view.progress, cli_progress_mode(cli), STDERR_FILENO, NULL);
	signals_catch();
	Outcome end = try_often(&s, t, &err);
	progress_end(&s.view.progress, time_mono());
	if (end == SHIP_FAILED || end == SHIP_LOST) {
		code = cli_fail(&err);
		if (end == SHIP_LOST)
			fprintf(stderr, "Nothing has changed there; what has arrived is kept for a while: the same command goes on with it.\n");
	} else if (end == SHIP_REFUSED) {
		code = cli_refuse(&err);
	} else if (end == SHIP_INTERRUPTED) {
		fprintf(stderr, "stead: interrupted; the same command goes on where this one stopped\n");
		code = EXIT_INTERRUPTED;
	}
	t->sent += s.sent_before;
	t->received += s.received_before;
	t->image_bytes += s.view.image_bytes;
	t->layers += s.view.layers;
	t->layers_sent += s.layers_sent;
	t->took += time_mono() - began;
	progress_done(&s.view.progress);
	free(s.arch);
	return code;
}
