// SPDX-License-Identifier: Apache-2.0
#include "daemon/cert-check.h"

#include "base/mem.h"
#include "base/str.h"
#include "edge/edge.h"

typedef struct Waiting {
	Daemon *d;
	HttpRequest *r; /* NULL once the client has gone */
	char *stack;
	json_t *body;
	Stack *model;
	CertCheckedFn go;
	int arg;
} Waiting;

static void waiting_free(Waiting *w)
{
	free(w->stack);
	json_decref(w->body);
	stack_free(w->model);
	free(w);
}

static void client_gone(void *user)
{
	((Waiting *) user)->r = NULL;
}

/* The routes with files, in the order of the model. Owned by the caller. */
static const Route **collect(const Stack *m, size_t *ret_n)
{
	const Route **list = NULL;
	size_t n = 0;
	for (size_t i = 0; i < m->n_services; i++)
		for (size_t k = 0; k < m->services[i].n_routes; k++)
			if (m->services[i].routes[k].tls == TLS_FILES)
				*array_append(list, n) = &m->services[i].routes[k];
	*ret_n = n;
	return list;
}

static char *path_of(const Stack *m, const Route *route)
{
	for (size_t i = 0; i < m->n_services; i++)
		for (size_t k = 0; k < m->services[i].n_routes; k++)
			if (&m->services[i].routes[k] == route)
				return xasprintf("services.%s.x-stead.routes[%zu].tls", m->services[i].name, k);
	return xstrdup("");
}

static void refuse(const Waiting *w, size_t at, const Err *err)
{
	size_t n;
	AUTO_FREE const Route **list = collect(w->model, &n);
	AUTO_FREE char *path = path_of(w->model, list[at]);
	http_stream_begin(w->r, 200, "application/x-ndjson");
	(void) http_stream_json(w->r, json_pack("{s:s, s:i, s:s}", "error", err_text(err), "code", 2, "path", path));
	http_stream_end(w->r);
}

static void on_checked(void *user, size_t at, const Err *err)
{
	Waiting *w = user;
	if (w->r) {
		http_set_user(w->r, NULL, NULL);
		if (err)
			refuse(w, at, err);
		else
			w->go(w->d, w->r, w->stack, w->body, w->arg);
	}
	waiting_free(w);
}

void cert_check(Daemon *d, HttpRequest *r, const char *stack, json_t *body, CertCheckedFn go, int arg)
{
	Stack *model = NULL;
	size_t n = 0;
	AUTO_FREE const Route **list = NULL;
	ModelPath where = { "" };
	AUTO_ERR err = ERR_INIT;
	json_t *root = json_object_get(body, "model");
	if (root && stack_from_json(root, &model, &where, &err) == 0)
		list = collect(model, &n);
	if (!n) {
		stack_free(model);
		go(d, r, stack, body, arg);
		json_decref(body);
		return;
	}
	Waiting *w = xcalloc(1, sizeof(*w));
	*w = (Waiting) { .d = d, .r = r, .stack = xstrdup(stack), .body = body, .model = model, .go = go, .arg = arg };
	http_set_user(r, w, client_gone);
	edge_cert_check_files(d->edge, list, n, on_checked, w);
}
