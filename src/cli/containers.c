// SPDX-License-Identifier: Apache-2.0
#include "cli/containers.h"

#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/project.h"

const char *container_name(const json_t *container)
{
	const char *name = json_string_value(json_array_get(json_object_get(container, "Names"), 0));
	if (!name)
		return "";
	return *name == '/' ? name + 1 : name;
}

const char *container_label(const json_t *container, const char *key)
{
	return json_text(json_object_get(container, "Labels"), key);
}

bool container_is(const json_t *container, const char *word)
{
	return str_eq(container_name(container), word) ||
		(strlen(word) >= CONTAINER_ID_MIN && str_starts(json_text(container, "Id"), word));
}

static int compare(const void *a, const void *b)
{
	const json_t *x = *(json_t *const *) a, *y = *(json_t *const *) b;
	int r = strcmp(container_label(x, LABEL_PROJECT), container_label(y, LABEL_PROJECT));
	if (!r)
		r = strcmp(container_label(x, LABEL_SERVICE), container_label(y, LABEL_SERVICE));
	if (r)
		return r;
	uint64_t n = 0, m = 0;
	(void) parse_u64(container_label(x, LABEL_NUMBER), &n);
	(void) parse_u64(container_label(y, LABEL_NUMBER), &m);
	if (n != m)
		return n < m ? -1 : 1;
	return strcmp(container_name(x), container_name(y));
}

static json_t *sorted(json_t *list)
{
	size_t n = json_array_size(list);
	AUTO_FREE json_t **items = xcalloc(n + 1, sizeof(*items));
	json_t *result = json_array();
	for (size_t i = 0; i < n; i++)
		items[i] = json_array_get(list, i);
	if (n)
		qsort(items, n, sizeof(json_t *), compare);
	for (size_t i = 0; i < n; i++)
		(void) json_array_append(result, items[i]);
	json_decref(list);
	return result;
}

int containers_get(HttpClient *c, const char *target, json_t **ret, Err *err)
{
	json_t *list = NULL;
	int r = client_get(c, target, JSON_ARRAY, &list, err);
	if (r < 0)
		return r;
	*ret = sorted(list);
	return 0;
}

int containers_list(HttpClient *c, const char *project, bool all, json_t **ret, Err *err)
{
	AUTO_BUF url = BUF_INIT;
	buf_str(&url, "/containers/json");
	if (all)
		http_url_query(&url, "all", "1");
	if (project) {
		json_t *filters = json_object();
		AUTO_FREE char *label = xasprintf(LABEL_PROJECT "=%s", project);
		filter_add(filters, "label", label);
		filter_query(&url, filters);
		json_decref(filters);
	}
	return containers_get(c, buf_cstr(&url), ret, err);
}

int containers_select(const json_t *list, const char *project, char *const *words, json_t **ret, Err *err)
{
	json_t *result = json_array(), *c;
	size_t i;
	json_array_foreach((json_t *) list, i, c)
	{
		bool mine = project && str_eq(container_label(c, LABEL_PROJECT), project);
		bool take = !words && mine;
		for (char *const *w = words; w && *w && !take; w++)
			take = (mine && str_eq(container_label(c, LABEL_SERVICE), *w)) || container_is(c, *w);
		if (take)
			(void) json_array_append(result, c);
	}
	for (char *const *w = words; w && *w; w++) {
		bool found = false;
		json_array_foreach(result, i, c)
			found = found || str_eq(container_label(c, LABEL_SERVICE), *w) || container_is(c, *w);
		if (found)
			continue;
		json_decref(result);
		if (project)
			return err_set(err, -ENOENT, "'%s' is neither a service of stack '%s' that has a container, nor a container", *w, project);
		return err_set(err, -ENOENT, "no such container: %s (and there is no compose file here and no -p NAME, so it is no service)", *w);
	}
	*ret = result;
	return 0;
}

static const json_t *find_container(const json_t *list, const char *word, const char *project, bool *ret_service)
{
	const json_t *c, *found = NULL;
	size_t i;
	*ret_service = false;
	json_array_foreach((json_t *) list, i, c)
	{
		if (project && str_eq(container_label(c, LABEL_PROJECT), project) && str_eq(container_label(c, LABEL_SERVICE), word))
			*ret_service = true;
		if (container_is(c, word))
			found = c;
	}
	return found;
}

int targets_find(const Cli *cli, HttpClient *c, char *const *words, Targets *ret)
{
	AUTO_ERR err = ERR_INIT, no_project = ERR_INIT;
	json_t *list = NULL;
	*ret = (Targets) { .whole = !words };
	if (!words)
		return project_name(cli, &ret->project);
	int r = project_name_try(cli, &ret->project, &no_project);
	if (r < 0 && project_given(cli)) {
		(void) cli_fail(&no_project);
		return EXIT_USAGE;
	}
	if (containers_list(c, NULL, true, &list, &err) < 0)
		return cli_fail(&err);
	for (char *const *w = words; *w; w++) {
		bool service;
		const json_t *container = find_container(list, *w, ret->project, &service);
		if (container && !service) {
			strv_add(&ret->containers, container_name(container));
		} else if (ret->project) {
			strv_add(&ret->services, *w);
		} else {
			cli_error("no such container: %s (and no stack is known here: %s)", *w, err_text(&no_project));
			targets_done(ret);
			json_decref(list);
			return EXIT_FAILED;
		}
	}
	json_decref(list);
	return 0;
}

void targets_done(Targets *t)
{
	free(t->project);
	strv_free(t->services);
	strv_free(t->containers);
	*t = (Targets) { 0 };
}
