// SPDX-License-Identifier: Apache-2.0
#include "image/report.h"

#include <fcntl.h>
#include <stdarg.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"

static int report_fd = -1;

void image_list_done(ImageList *l)
{
	for (size_t i = 0; i < l->n; i++)
		image_free(l->items[i]);
	free(l->items);
	*l = (ImageList) { 0 };
}

void report_init(void)
{
	report_fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 10);
	(void) dup2(STDERR_FILENO, STDOUT_FILENO);
}

void report_line(json_t *o)
{
	AUTO_FREE char *text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	if (!text || report_fd < 0)
		return;
	size_t n = strlen(text);
	text[n] = '\n'; /* over the NUL: the length goes with it */
	(void) fd_write_all(report_fd, text, n + 1);
}

/* JSON takes UTF-8 only; names in archives are any bytes. */
static json_t *text_value(const char *s)
{
	AUTO_FREE char *copy = xstrdup(s);
	for (char *p = copy; !str_is_utf8(p, strlen(p)); p++) {
		while (*p && str_is_utf8(p, 1))
			p++;
		size_t k = 2;
		while (k <= 4 && k <= strlen(p) && !str_is_utf8(p, k))
			k++;
		if (k <= 4 && k <= strlen(p))
			p += k - 1;
		else
			*p = '?';
	}
	return json_string(copy);
}

void report_progress(const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	va_start(ap, fmt);
	(void) vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	report_line(json_pack("{s:o}", "progress", text_value(text)));
}

void report_images(const ImageList *l)
{
	for (size_t i = 0; i < l->n; i++) {
		const Image *image = l->items[i];
		json_t *tags = json_array(), *sizes = json_array();
		for (char **t = image->tags; t && *t; t++)
			(void) json_array_append_new(tags, json_string(*t));
		for (size_t k = 0; k < image->n_layers; k++)
			(void) json_array_append_new(sizes, json_integer(image->layers[k].size));
		report_line(json_pack("{s:{s:s, s:o, s:o}}", "image", "id", image->id, "tags", tags, "sizes", sizes));
	}
}

void report_copied(void)
{
	report_line(json_pack("{s:b}", "copied", 1));
}

void report_freed(int64_t bytes)
{
	report_line(json_pack("{s:I}", "freed", (json_int_t) bytes));
}

void report_end(int code, const Err *err)
{
	if (code < 0)
		report_line(json_pack("{s:o, s:i}", "error", text_value(err_text(err)), "code", code));
	else
		report_line(json_pack("{s:s}", "result", "done"));
}
