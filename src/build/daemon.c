// SPDX-License-Identifier: Apache-2.0
/*
 * Requests go to standard output, a JSON line each, between the events; answers come on standard input, in any order:
 *   {"image": REF, "platform": …, "pull": bool}   answered by {"image": REF, "id": ID} or {"image": REF, "error": TEXT}
 *   {"run": N, …} (run.c)                         answered by {"run": N, "exit": CODE, "oom": bool, "error": TEXT|null, "peak": bytes}
 * Since an answer about an image has no platform, one reference is asked for once at a time.
 */
#include <errno.h>
#include <poll.h>

#include "base/mem.h"
#include "base/str.h"
#include "build/parts.h"
#include "image/manifest.h"
#include "image/report.h"
#include "model/image.h"

#define LINE_MAX_BYTES (4U << 20)

void build_event(json_t *event)
{
	report_line(json_pack("{s:o}", "event", event));
}

/* Images. */

static void image_failed(BaseImage *i, int code, const char *text)
{
	i->failed = code;
	i->text = xstrdup(text);
}

/* Its configuration is a blob that the daemon's store names. */
static void image_here(Build *b, BaseImage *i, const char *id)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_BUF text = BUF_INIT;
	Image *image __attribute__((cleanup(image_freep))) = NULL;
	int r = store_read_blob(&b->store, id, &text, &err);
	if (r < 0 || (r = image_from_config(buf_cstr(&text), text.len, &image, &err)) < 0) {
		image_failed(i, r, err_text(&err));
		return;
	}
	for (size_t k = 0; k < image->n_layers; k++) {
		LayerInfo info;
		r = store_layer(&b->store, image->layers[k].diff_id, &info, &err);
		if (r <= 0) {
			image_failed(i, r < 0 ? r : -ENOENT, r < 0 ? err_text(&err) : "one of its layers is gone");
			return;
		}
		layer_stack_push(&i->layers, image->layers[k].diff_id, info.size);
	}
	i->arch = xstrdup(image->architecture);
	i->config = steal_ptr(&image->config_json);
	i->id = xstrdup(id);
}

static bool ref_asked(const Build *b, const char *ref)
{
	for (size_t k = 0; k < b->n_images; k++)
		if (b->images[k]->asked && str_eq(b->images[k]->ref, ref))
			return true;
	return false;
}

int build_image(Build *b, const char *ref, const char *platform, const BaseImage **ret, Err *err)
{
	BaseImage *i = NULL;
	for (size_t k = 0; k < b->n_images; k++)
		if (str_eq(b->images[k]->ref, ref) && str_eq(b->images[k]->platform, platform))
			i = b->images[k];
	if (!i) {
		i = *array_append(b->images, b->n_images) = xcalloc(1, sizeof(*i));
		i->ref = xstrdup(ref);
		i->platform = xstrdup(platform);
	}
	if (i->failed)
		return err_set(err, i->failed, "image '%s': %s", ref, i->text);
	if (i->id) {
		*ret = i;
		return 0;
	}
	if (!i->asked && !ref_asked(b, ref)) {
		i->asked = true;
		report_line(json_pack("{s:s, s:s, s:b}", "image", ref, "platform", platform, "pull", b->o.pull));
	}
	return 1;
}

static void image_answer(Build *b, const json_t *answer)
{
	const char *ref = json_string_value(json_object_get(answer, "image"));
	const char *id = json_string_value(json_object_get(answer, "id")), *text = json_string_value(json_object_get(answer, "error"));
	for (size_t k = 0; k < b->n_images; k++) {
		BaseImage *i = b->images[k];
		if (!i->asked || !str_eq(i->ref, ref))
			continue;
		i->asked = false;
		if (id)
			image_here(b, i, id);
		else
			image_failed(i, -ENOENT, text ? text : "the daemon gives no reason");
	}
}

/* Answers. */

static int take_line(Build *b, const char *line, size_t n, Err *err)
{
	json_t *o = json_loadb(line, n, 0, NULL);
	int r = 0;
	if (json_is_string(json_object_get(o, "image")))
		image_answer(b, o);
	else if (json_is_integer(json_object_get(o, "run")))
		run_step_answer(b, o);
	else
		r = err_set(err, -EPROTO, "an answer of the daemon that is none: %.200s", line);
	json_decref(o);
	return r;
}

int build_wait(Build *b, int timeout, Err *err)
{
	for (;;) {
		char *nl = b->in_buf.len ? memchr(b->in_buf.data, '\n', b->in_buf.len) : NULL;
		if (nl) {
			size_t n = (size_t) (nl - b->in_buf.data);
			int r = take_line(b, b->in_buf.data, n, err);
			buf_consume(&b->in_buf, n + 1);
			return r;
		}
		if (b->in_buf.len > LINE_MAX_BYTES)
			return err_set(err, -EPROTO, "an answer of the daemon is longer than %u bytes", LINE_MAX_BYTES);
		struct pollfd p = { .fd = b->in, .events = POLLIN };
		int r = poll(&p, 1, timeout);
		if (r == 0)
			return 1;
		if (r < 0 && errno == EINTR)
			continue;
		ssize_t n = r < 0 ? -1 : read(b->in, buf_reserve(&b->in_buf, 65536), 65536);
		if (n < 0)
			return err_errno(err, -errno, "reading the daemon's answers");
		if (n == 0)
			return err_set(err, -EPIPE, "the daemon has gone");
		buf_added(&b->in_buf, (size_t) n);
	}
}
