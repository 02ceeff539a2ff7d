// SPDX-License-Identifier: Apache-2.0
#include "daemon/notify.h"

#include <fcntl.h>
#include <sys/utsname.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/notify-queue.h"
#include "daemon/release.h"

static const Stack *model_of(void *user, const char *stack)
{
	const StackState *s = daemon_stack(user, stack);
	return s ? s->model : NULL;
}

void notify_open(Daemon *d)
{
	d->notices = notify_queue_new(d->loop, d->store, NULL);
	notify_queue_restore(d->notices, model_of, d);
}

void notify_close(Daemon *d)
{
	notify_queue_free(d->notices);
	d->notices = NULL;
}

/* ---- secrets ---- */

static void mask_service(Daemon *d, Mask *m, const Service *svc)
{
	Image *img = NULL;
	for (char **v = svc->environment; v && *v; v++)
		mask_add_variable(m, *v);
	if (!svc->image || daemon_find_image(d, svc->image, &img, NULL, NULL) < 0)
		return;
	for (char **v = img->config.env; v && *v; v++)
		mask_add_variable(m, *v);
}

Mask *notify_mask(Daemon *d, const Stack *model)
{
	Mask *m = mask_new();
	for (size_t i = 0; i < model->n_services; i++)
		mask_service(d, m, &model->services[i]);
	for (size_t i = 0; i < model->n_secrets; i++) {
		const FileSource *f = &model->secrets[i];
		AUTO_BUF b = BUF_INIT;
		AUTO_FREE char *path = f->file ? release_file_path(d, f) : NULL;
		mask_add(m, f->content);
		if (path && file_read(AT_FDCWD, path, LIMIT_CONFIG_FILE_BYTES, &b) == 0)
			mask_add(m, buf_cstr(&b));
	}
	for (size_t i = 0; i < model->n_notify; i++)
		mask_add_target(m, &model->notify[i]);
	return m;
}

/* ---- the notice ---- */

static const char *port_of(const char *address)
{
	const char *colon = address ? strrchr(address, ':') : NULL;
	return colon ? colon + 1 : NULL;
}

/** Where people find the service (or the first that has a place): a route with a plain host name. */
static char *public_url(const Daemon *d, const Stack *model, const char *service)
{
	bool one = service && stack_service(model, service); /* else it names several */
	for (size_t i = 0; i < model->n_services; i++) {
		const Service *svc = &model->services[i];
		if (one && !str_eq(service, svc->name))
			continue;
		for (size_t k = 0; k < svc->n_routes; k++) {
			const Route *r = &svc->routes[k];
			bool tls = r->tls != TLS_OFF;
			const char *port = port_of(tls ? d->o.edge_https : d->o.edge_http);
			if (!r->host || r->host[0] == '*' || !port)
				continue;
			bool usual = str_eq(port, tls ? "443" : "80");
			return xasprintf("%s://%s%s%s%s", tls ? "https" : "http", r->host, usual ? "" : ":", usual ? "" : port, r->path ? r->path : "/");
		}
	}
	return NULL;
}

static bool wants(const NotifyTarget *t, const Notice *n)
{
	return !t->on || strv_has(t->on, notice_class(n->kind));
}

static void send_to_all(Daemon *d, const Stack *model, const Notice *n)
{
	for (size_t i = 0; i < model->n_notify; i++)
		if (wants(&model->notify[i], n))
			notify_queue_add(d->notices, model->name, &model->notify[i], n);
}

/** Masked copies of the texts that people or programs have written. */
static void mask_and_send(Daemon *d, const Stack *model, const Mask *m, Notice *n)
{
	const char **const fields[] = { &n->text, &n->next, &n->step, &n->who, &n->commit, &n->author };
	char *copies[ARRAY_SIZE(fields)];
	size_t count = strv_len(n->log_lines), skip = count > LIMIT_NOTICE_LINES ? count - LIMIT_NOTICE_LINES : 0;
	AUTO_STRV char **lines = mask_lines(m, n->log_lines ? n->log_lines + skip : NULL);
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		copies[i] = *fields[i] ? mask_text(m, *fields[i]) : NULL;
		*fields[i] = copies[i];
	}
	n->log_lines = lines;
	send_to_all(d, model, n);
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		free(copies[i]);
}

void notify_event(Daemon *d, const Stack *model, const Notice *n)
{
	bool wanted = false;
	for (size_t i = 0; i < model->n_notify; i++)
		wanted |= wants(&model->notify[i], n);
	if (!wanted || !d->notices)
		return;
	struct utsname box;
	char id[33];
	AUTO_FREE char *url = n->url ? xstrdup(n->url) : public_url(d, model, n->service);
	AUTO_MASK *m = notify_mask(d, model);
	Notice copy = *n;
	hex_random(16, id);
	copy.id = id;
	copy.time = time_real();
	copy.host = uname(&box) == 0 ? box.nodename : NULL;
	copy.url = url;
	mask_and_send(d, model, m, &copy);
}
