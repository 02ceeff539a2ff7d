// SPDX-License-Identifier: Apache-2.0
/*
 * A plan of a deploy may be asked for before its images are here: whoever is about to ship them wants to know first whether the deploy
 * would be refused. Their configurations come along, and while the plan is made they are among the daemon's images.
 */
#include <errno.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/deploy-parts.h"
#include "image/reference.h"

static int parse_one(Operation *op, const json_t *o, Err *err)
{
	const char *name = json_string_value(json_object_get(o, "name")), *config = json_string_value(json_object_get(o, "config"));
	AUTO_FREE char *tag = NULL;
	Image *img = NULL;
	if (!name || !config)
		return err_set(err, -EINVAL, "coming: objects with the texts 'name' and 'config' are expected");
	int r = reference_normalise(name, &tag, err);
	if (r == 0)
		r = image_from_config(config, strlen(config), &img, err);
	if (r < 0)
		return err_wrap(err, "coming: %s", name);
	strv_take(&img->tags, steal_ptr(&tag));
	*array_append(op->coming, op->n_coming) = img;
	return 0;
}

int deploy_coming_parse(Operation *op, const json_t *list, Err *err)
{
	json_t *o;
	size_t i;
	int r = 0;
	if (!list || json_is_null(list))
		return 0;
	if (!op->plan || !json_is_array(list) || json_array_size(list) > LIMIT_STACK_SERVICES)
		return err_set(err, -EINVAL, "coming: a list of images is expected, with plan alone");
	json_array_foreach((json_t *) list, i, o)
	{
		r = r < 0 ? r : parse_one(op, o, err);
	}
	return r;
}

/* In front, since a tag may still be another image's. */
void deploy_coming_add(Operation *op)
{
	Daemon *d = op->s->d;
	for (size_t i = 0; i < op->n_coming; i++) {
		(void) array_append(d->images, d->n_images);
		memmove(d->images + 1, d->images, (d->n_images - 1) * sizeof(*d->images));
		d->images[0] = op->coming[i];
	}
}

void deploy_coming_remove(Operation *op)
{
	Daemon *d = op->s->d;
	d->n_images -= op->n_coming;
	memmove(d->images, d->images + op->n_coming, d->n_images * sizeof(*d->images));
}

void deploy_coming_free(Operation *op)
{
	for (size_t i = 0; i < op->n_coming; i++)
		image_free(op->coming[i]);
	free(op->coming);
}
