// SPDX-License-Identifier: Apache-2.0
#include "run/trash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"

typedef struct Job {
	struct Job *next;
	int fd;     /* -1 = none */
	char *path; /* or NULL */
} Job;

/* The thread ends when there is nothing to do: it costs nothing while nothing is thrown away. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t idle = PTHREAD_COND_INITIALIZER;
static Job *first, **last = &first;
static bool running;

static void work(Job *j)
{
	if (j->fd >= 0)
		(void) close(j->fd);
	/* What is still held somewhere stays until the next start. */
	if (j->path)
		(void) tree_remove(AT_FDCWD, j->path);
	free(j->path);
	free(j);
}

static void *trash_thread(void *arg)
{
	(void) arg;
	(void) pthread_mutex_lock(&lock);
	while (first) {
		Job *j = first;
		first = j->next;
		if (!first)
			last = &first;
		(void) pthread_mutex_unlock(&lock);
		work(j);
		(void) pthread_mutex_lock(&lock);
	}
	running = false;
	(void) pthread_cond_broadcast(&idle);
	(void) pthread_mutex_unlock(&lock);
	return NULL;
}

/* With every signal blocked: they belong to the loop's thread. */
static bool start_thread(void)
{
	sigset_t all, old;
	pthread_attr_t attr;
	pthread_t t;
	(void) sigfillset(&all);
	(void) pthread_sigmask(SIG_SETMASK, &all, &old);
	(void) pthread_attr_init(&attr);
	(void) pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	bool ok = pthread_create(&t, &attr, trash_thread, NULL) == 0;
	(void) pthread_attr_destroy(&attr);
	(void) pthread_sigmask(SIG_SETMASK, &old, NULL);
	return ok;
}

static void enqueue(int fd, char *path)
{
	Job *j = xcalloc(1, sizeof(*j));
	j->fd = fd;
	j->path = path;
	(void) pthread_mutex_lock(&lock);
	*last = j;
	last = &j->next;
	bool start = !running;
	running = true;
	(void) pthread_mutex_unlock(&lock);
	if (start && !start_thread())
		(void) trash_thread(NULL); /* no threads left: wait for the disk instead */
}

void trash_close(int fd)
{
	enqueue(fd, NULL);
}

int trash_put(const char *path, const char *dir, Err *err)
{
	char rnd[17];
	hex_random(8, rnd);
	const char *slash = strrchr(path, '/');
	AUTO_FREE char *trash = xasprintf("%s/trash", dir);
	AUTO_FREE char *to = xasprintf("%s/%.16s-%s", trash, slash ? slash + 1 : path, rnd);
	int r = rename(path, to) < 0 ? -errno : 0;
	if (r == -ENOENT && access(path, F_OK) == 0) {
		r = mkdir(trash, 0700) < 0 && errno != EEXIST ? -errno : 0;
		if (r == 0)
			r = rename(path, to) < 0 ? -errno : 0;
	}
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return err_errno(err, r, "move %s to %s", path, trash);
	enqueue(-1, steal_ptr(&to));
	return 0;
}

void trash_empty(const char *dir)
{
	AUTO_FREE char *trash = xasprintf("%s/trash", dir);
	DIR *d = opendir(trash);
	for (struct dirent *e; d && (e = readdir(d));)
		if (!str_eq(e->d_name, ".") && !str_eq(e->d_name, ".."))
			enqueue(-1, xasprintf("%s/%s", trash, e->d_name));
	if (d)
		(void) closedir(d);
}

void trash_flush(void)
{
	(void) pthread_mutex_lock(&lock);
	while (running)
		(void) pthread_cond_wait(&idle, &lock);
	(void) pthread_mutex_unlock(&lock);
}
