// SPDX-License-Identifier: Apache-2.0
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/resource.h>

#include "base/mem.h"

int err_set(Err *err, int code, const char *fmt, ...)
{
	if (!err)
		return code;
	va_list ap;
	va_start(ap, fmt);
	char *s = xvasprintf(fmt, ap);
	va_end(ap);
	free(err->text);
	err->text = s;
	err->code = code;
	return code;
}

/* Whose limit was met is not in strerror's words, and what to do depends on it. */
static char *reason(int code)
{
	struct rlimit files;
	if (code == -EMFILE && getrlimit(RLIMIT_NOFILE, &files) == 0)
		return xasprintf("%s: this process may have %llu (raise it with `ulimit -n`, for a unit with LimitNOFILE=)", strerror(-code),
			(unsigned long long) files.rlim_cur);
	if (code == -ENFILE)
		return xasprintf("%s: the machine's limit is met (raise it with `sysctl fs.file-max`)", strerror(-code));
	return xstrdup(strerror(-code));
}

int err_errno(Err *err, int code, const char *fmt, ...)
{
	if (!err)
		return code;
	va_list ap;
	va_start(ap, fmt);
	AUTO_FREE char *s = xvasprintf(fmt, ap);
	va_end(ap);
	AUTO_FREE char *why = reason(code);
	free(err->text);
	err->text = xasprintf("%s: %s", s, why);
	err->code = code;
	return code;
}

int err_wrap(Err *err, const char *fmt, ...)
{
	if (!err)
		return -EIO;
	va_list ap;
	va_start(ap, fmt);
	AUTO_FREE char *s = xvasprintf(fmt, ap);
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
