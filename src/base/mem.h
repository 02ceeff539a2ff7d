// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Memory: small allocations abort on failure (containers outlive the daemon, so a restart is the
 * recovery); sizes that come from input are limited before they get here. Cleanup attributes free
 * what a scope owns; `steal_ptr` hands it on.
 */

#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

void *xmalloc(size_t n) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
void *xreallocarray(void *p, size_t n, size_t size) __attribute__((returns_nonnull));
/** NULL gives NULL. */
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n) __attribute__((returns_nonnull));
void *xmemdup(const void *p, size_t n) __attribute__((returns_nonnull));
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2), returns_nonnull));
char *xvasprintf(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0), returns_nonnull));

void mem_freep(void *pp);
void fd_closep(const int *fd);

/** Frees with free() at the end of the scope. */
#define AUTO_FREE __attribute__((cleanup(mem_freep)))
/** Closes a descriptor (if >= 0) at the end of the scope. */
#define AUTO_CLOSE __attribute__((cleanup(fd_closep)))
/** AUTO(Type, done): calls done(&variable) at the end of the scope. */
#define AUTO(done) __attribute__((cleanup(done)))

#define steal_ptr(pp)                                                                                        \
	({                                                                                                   \
		__typeof__(*(pp)) steal_tmp_ = *(pp);                                                        \
		*(pp) = NULL;                                                                                \
		steal_tmp_;                                                                                  \
	})
#define steal_fd(fdp)                                                                                        \
	({                                                                                                   \
		int steal_tmp_ = *(fdp);                                                                     \
		*(fdp) = -1;                                                                                 \
		steal_tmp_;                                                                                  \
	})

/** free() and set to NULL; replace an owned string. */
#define free_and_null(pp)                                                                                    \
	do {                                                                                                 \
		free(*(pp));                                                                                 \
		*(pp) = NULL;                                                                                \
	} while (0)

/**
 * Appends a zeroed element to the array `items` with the counter `n` (both lvalues) and gives a
 * pointer to it. Grows by doubling at powers of two, so no capacity field is needed.
 */
#define array_append(items, n)                                                                               \
	({                                                                                                   \
		if (((n) & ((n) - 1)) == 0)                                                                  \
			(items) = xreallocarray((items), (n) ? (size_t) (n) * 2 : 1, sizeof(*(items)));      \
		__typeof__(items) array_p_ = &(items)[(n)++];                                                \
		memset(array_p_, 0, sizeof(*array_p_));                                                      \
		array_p_;                                                                                    \
	})

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
