// SPDX-License-Identifier: Apache-2.0
/*
 * Who asks for the same image with the same credentials while it is being pulled joins. A pull whose last listener leaves is called off; what
 * its worker leaves behind is swept.
 */
#include <errno.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/image.h"
#include "image/job.h"
#include "image/reference.h"

typedef struct Pull Pull;

struct PullHandle {
	Pull *pull;
	PullHandle *next;
	ImagePullEventFn event;
	ImagePullDoneFn done;
	void *user;
};

struct Pull {
	Daemon *d;
	Pull *next;
	char *key; /* reference, platform and credentials */
	char *ref;
	Job *job;
	PullHandle *listeners;
	bool over; /* called off, or ended: nobody joins any more */
};

static void pull_free(Pull *p)
{
	for (Pull **q = &p->d->pulls; *q; q = &(*q)->next)
		if (*q == p) {
			*q = p->next;
			break;
		}
	while (p->listeners) {
		PullHandle *h = p->listeners;
		p->listeners = h->next;
		free(h);
	}
	if (p->key)
		explicit_bzero(p->key, strlen(p->key));
	free(p->key);
	free(p->ref);
	free(p);
}

/* A listener may leave from inside its callback, and so may others. */
static void tell(Pull *p, const json_t *line)
{
	for (PullHandle *h = p->listeners, *next; h; h = next) {
		next = h->next;
		if (h->event)
			h->event(h->user, line);
	}
}

static void on_progress(void *user, const char *text)
{
	json_t *line = json_pack("{s:s}", "progress", text);
	tell(user, line);
	json_decref(line);
}

static void on_event(void *user, const json_t *line)
{
	tell(user, line);
}

static void on_done(void *user, JobResult *result, const Err *err)
{
	Pull *p = user;
	AUTO_ERR e = ERR_INIT;
	Image *img = NULL;
	bool called_off = p->over;
	p->over = true;
	if (err) {
		(void) err_set(&e, err->code, "%s", err_text(err));
	} else if (result->n_images != 1) {
		(void) err_set(&e, -EIO, "the worker reported no image");
	} else {
		AUTO_FREE char *id = xstrdup(result->images[0]->id);
		if (image_add(p->d, steal_ptr(&result->images[0]), &e) == 0)
			img = daemon_image_by_id(p->d, id);
	}
	while (p->listeners) {
		PullHandle *h = p->listeners;
		p->listeners = h->next;
		h->done(h->user, img, img ? NULL : &e);
		free(h);
	}
	/* A killed worker could not clear away what it had begun. */
	if (called_off)
		image_sweep(p->d, NULL, NULL);
	pull_free(p);
}

static void on_lost(void *user)
{
	pull_free(user);
}

static int begin(Daemon *d, const ImagePull *ask, const char *ref, char *key, Pull **ret, Err *err)
{
	Pull *p = xcalloc(1, sizeof(*p));
	const JobPull job = { .ref = ref, .platform = ask->platform, .auth = ask->auth, .rules = d->o.registries };
	const JobCallbacks cb = { .progress = on_progress, .event = on_event, .done = on_done, .lost = on_lost, .user = p };
	p->d = d;
	p->key = key;
	p->ref = xstrdup(ref);
	p->next = d->pulls;
	d->pulls = p;
	int r = job_pull(d->jobs, &job, &cb, &p->job, err);
	if (r < 0) {
		pull_free(p);
		return r;
	}
	*ret = p;
	return 0;
}

int image_pull(Daemon *d, const ImagePull *ask, ImagePullEventFn event, ImagePullDoneFn done, void *user, PullHandle **ret, Err *err)
{
	AUTO_FREE char *ref = NULL;
	AUTO_FREE char *auth = ask->auth ? json_dumps(ask->auth, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	int r = reference_normalise(ask->ref, &ref, err);
	if (r < 0)
		return r;
	AUTO_FREE char *key = xasprintf("%s\n%s\n%s", ref, ask->platform ? ask->platform : "", auth ? auth : "");
	Pull *p = d->pulls;
	while (p && (p->over || !str_eq(p->key, key)))
		p = p->next;
	if (!p && (r = begin(d, ask, ref, steal_ptr(&key), &p, err)) < 0)
		return r;
	PullHandle *h = xcalloc(1, sizeof(*h));
	*h = (PullHandle) { .pull = p, .event = event, .done = done, .user = user };
	PullHandle **last = &p->listeners;
	while (*last)
		last = &(*last)->next;
	*last = h;
	*ret = h;
	return 0;
}

void image_pull_leave(PullHandle *h)
{
	Pull *p = h->pull;
	for (PullHandle **q = &p->listeners; *q; q = &(*q)->next)
		if (*q == h) {
			*q = h->next;
			break;
		}
	free(h);
	if (p->listeners || p->over)
		return;
	p->over = true;
	log_info("pull of %s: called off, nobody waits for it any more", p->ref);
	job_cancel(p->job);
}
