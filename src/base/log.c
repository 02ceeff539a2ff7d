// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <stdarg.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"

static LogLevel max_level = LOG_LEVEL_INFO;
static bool prefixed;

void log_init(LogLevel max)
{
	max_level = max;
	prefixed = getenv("JOURNAL_STREAM") != NULL;
}

static const char *level_name(LogLevel level)
{
	switch (level) {
	case LOG_LEVEL_ERROR:
		return "error: ";
	case LOG_LEVEL_WARNING:
		return "warning: ";
	default:
		return "";
	}
}

void log_write(LogLevel level, const char *fmt, ...)
{
	if (level > max_level)
		return;
	AUTO_FREE char *text = NULL;
	va_list ap;
	va_start(ap, fmt);
	text = xvasprintf(fmt, ap);
	va_end(ap);
	AUTO_BUF line = BUF_INIT;
	if (prefixed)
		buf_printf(&line, "<%d>", (int) level);
	else
		buf_str(&line, "stead: ");
	buf_str(&line, level_name(level));
	/* One message is one line, whatever a container's name or output put into it. */
	for (const char *p = text; *p; p++)
		buf_char(&line, (unsigned char) *p < 0x20 ? ' ' : *p);
	buf_char(&line, '\n');
	(void) fd_write_all(STDERR_FILENO, line.data, line.len);
}
