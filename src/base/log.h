// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Log of the daemon and its workers: one line a message on stderr. Under systemd (JOURNAL_STREAM is
 * set) each line begins with the sd-daemon(3) priority prefix "<N>". Log once, where an error is
 * handled; elsewhere return it.
 */

typedef enum LogLevel { LOG_LEVEL_ERROR = 3, LOG_LEVEL_WARNING = 4, LOG_LEVEL_INFO = 6, LOG_LEVEL_DEBUG = 7 } LogLevel;

void log_init(LogLevel max);
void log_write(LogLevel level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)
