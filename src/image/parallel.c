// SPDX-License-Identifier: Apache-2.0
#include "image/parallel.h"

#include "base/mem.h"

#define THREADS_MAX 16

bool parallel_failed(Parallel *p)
{
	(void) pthread_mutex_lock(&p->mutex);
	bool failed = p->failed;
	(void) pthread_mutex_unlock(&p->mutex);
	return failed;
}

/* False: there is nothing more to begin. */
static bool take(Parallel *p, size_t *ret)
{
	(void) pthread_mutex_lock(&p->mutex);
	bool more = !p->failed && p->next < p->n;
	if (more)
		*ret = p->next++;
	(void) pthread_mutex_unlock(&p->mutex);
	return more;
}

static void *work(void *user)
{
	Parallel *p = user;
	for (size_t i; take(p, &i);) {
		AUTO_ERR err = ERR_INIT;
		int r = p->one(p->user, i, &err);
		if (r >= 0)
			continue;
		(void) pthread_mutex_lock(&p->mutex);
		if (!p->failed) {
			(void) err_move(&p->err, &err);
			p->err.code = r;
		}
		p->failed = true;
		(void) pthread_mutex_unlock(&p->mutex);
	}
	return NULL;
}

int parallel_run(Parallel *p, size_t threads, Err *err)
{
	pthread_t others[THREADS_MAX];
	size_t n = 0;
	(void) pthread_mutex_init(&p->mutex, NULL);
	/* This one works, too. */
	while (n < THREADS_MAX && n + 1 < threads && n + 1 < p->n && pthread_create(&others[n], NULL, work, p) == 0)
		n++;
	(void) work(p);
	for (size_t i = 0; i < n; i++)
		(void) pthread_join(others[i], NULL);
	(void) pthread_mutex_destroy(&p->mutex);
	return p->failed ? err_move(err, &p->err) : 0;
}
