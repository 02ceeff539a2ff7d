// SPDX-License-Identifier: Apache-2.0
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>

#include "base/mem.h"

static char *format(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));

static char *format(const char *fmt, va_list ap)
{
	char *s = NULL;
	if (vasprintf(&s, fmt, ap) < 0)
		abort();
	return s;
}

int err_set(Err *err, int code, const char *fmt, ...)
{
	if (!err)
		return code;
	va_list ap;
	va_start(ap, fmt);
	char *s = format(fmt, ap);
	va_end(ap);
	free(err->text);
	err->text = s;
	err->code = code;
	return code;
}

int err_errno(Err *err, int code, const char *fmt, ...)
{
	if (!err)
		return code;
	va_list ap;
	va_start(ap, fmt);
	AUTO_FREE char *s = format(fmt, ap);
	va_end(ap);
	free(err->text);
	err->text = xasprintf("%s: %s", s, strerror(-code));
	err->code = code;
	return code;
}

int err_wrap(Err *err, const char *fmt, ...)
{
	if (!err)
		return -EIO;
	va_list ap;
	va_start(ap, fmt);
	AUTO_FREE char *s = format(fmt, ap);
	va_end(ap);
	char *joined = xasprintf("%s: %s", s, err_text(err));
	free(err->text);
	err->text = joined;
	if (!err->code)
		err->code = -EIO;
	return err->code;
}

int err_move(Err *to, Err *from)
{
	int code = from->code;
	if (to) {
		free(to->text);
		*to = *from;
		*from = (Err) ERR_INIT;
	} else {
		err_done(from);
	}
	return code;
}

const char *err_text(const Err *err)
{
	return err && err->text ? err->text : "unknown error";
}

void err_done(Err *err)
{
	free(err->text);
	err->text = NULL;
	err->code = 0;
}
