// SPDX-License-Identifier: Apache-2.0
/*
 * A ring of blocks: the thread fills the ones behind, the reader has the first one for itself until it is used up. What ends or fails does so
 * behind the blocks that came before.
 */
#include "image/stream.h"

#include <pthread.h>

#include "base/mem.h"

#define BLOCK (64U << 10)
#define BLOCKS 3

typedef struct AheadStream {
	Stream s;
	Stream *inner;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	char *blocks; /* BLOCKS of them */
	size_t len[BLOCKS], first, n, at; /* at: in the first */
	bool over, left; /* over: nothing more comes; left: nobody reads any more */
	int end;         /* 0, or the error */
	Err err;
} AheadStream;

/* NULL: nobody reads any more. */
static char *wait_for_room(AheadStream *a, size_t *ret_slot)
{
	(void) pthread_mutex_lock(&a->mutex);
	while (a->n == BLOCKS && !a->left)
		(void) pthread_cond_wait(&a->changed, &a->mutex);
	*ret_slot = (a->first + a->n) % BLOCKS;
	bool left = a->left;
	(void) pthread_mutex_unlock(&a->mutex);
	return left ? NULL : a->blocks + *ret_slot * BLOCK;
}

static void *read_ahead(void *user)
{
	AheadStream *a = user;
	ssize_t n = 1;
	size_t slot;
	for (char *block; n > 0 && (block = wait_for_room(a, &slot));) {
		n = stream_read(a->inner, block, BLOCK, &a->err);
		(void) pthread_mutex_lock(&a->mutex);
		if (n > 0) {
			a->len[slot] = (size_t) n;
			a->n++;
		} else {
			a->end = (int) n;
			a->over = true;
		}
		(void) pthread_cond_signal(&a->changed);
		(void) pthread_mutex_unlock(&a->mutex);
	}
	return NULL;
}

static void next_block(AheadStream *a)
{
	(void) pthread_mutex_lock(&a->mutex);
	a->first = (a->first + 1) % BLOCKS;
	a->n--;
	a->at = 0;
	(void) pthread_cond_signal(&a->changed);
	(void) pthread_mutex_unlock(&a->mutex);
}

static ssize_t ahead_read(Stream *s, void *p, size_t n, Err *err)
{
	AheadStream *a = (AheadStream *) s;
	(void) pthread_mutex_lock(&a->mutex);
	while (!a->n && !a->over)
		(void) pthread_cond_wait(&a->changed, &a->mutex);
	bool more = a->n > 0;
	(void) pthread_mutex_unlock(&a->mutex);
	if (!more)
		return a->end < 0 ? err_set(err, a->end, "%s", err_text(&a->err)) : 0;
	size_t left = a->len[a->first] - a->at;
	if (n > left)
		n = left;
	memcpy(p, a->blocks + a->first * BLOCK + a->at, n);
	a->at += n;
	if (n == left)
		next_block(a);
	return (ssize_t) n;
}

static void release(AheadStream *a)
{
	(void) pthread_cond_destroy(&a->changed);
	(void) pthread_mutex_destroy(&a->mutex);
	err_done(&a->err);
	free(a->blocks);
	free(a);
}

static void ahead_free(Stream *s)
{
	AheadStream *a = (AheadStream *) s;
	(void) pthread_mutex_lock(&a->mutex);
	a->left = true;
	(void) pthread_cond_signal(&a->changed);
	(void) pthread_mutex_unlock(&a->mutex);
	(void) pthread_join(a->thread, NULL);
	stream_free(a->inner);
	release(a);
}

Stream *stream_ahead(Stream *inner)
{
	AheadStream *a = xcalloc(1, sizeof(*a));
	a->s = (Stream) { .read = ahead_read, .free = ahead_free };
	a->inner = inner;
	a->blocks = xmalloc((size_t) BLOCKS * BLOCK);
	(void) pthread_mutex_init(&a->mutex, NULL);
	(void) pthread_cond_init(&a->changed, NULL);
	if (pthread_create(&a->thread, NULL, read_ahead, a) == 0)
		return &a->s;
	release(a);
	return inner;
}
