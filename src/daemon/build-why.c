// SPDX-License-Identifier: Apache-2.0
/*
 * What the last build of an image said of its cache: STATE/why/HEX.json, HEX being the image's id. Of use to people alone: it is
 * written without a sync, and goes when its image has gone and the next one is written.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/build-parts.h"

static char *why_path(const Daemon *d, const char *image_id)
{
	return xasprintf("%s/why/%s.json", d->o.state_dir, image_id + strlen("sha256:"));
}

static void prune(Daemon *d)
{
	AUTO_FREE char *path = xasprintf("%s/why", d->o.state_dir);
	DIR *dir = opendir(path);
	for (struct dirent *e; dir && (e = readdir(dir));) {
		AUTO_FREE char *id = xasprintf("sha256:%.*s", (int) strcspn(e->d_name, "."), e->d_name);
		if (e->d_name[0] != '.' && !daemon_image_by_id(d, id))
			(void) unlinkat(dirfd(dir), e->d_name, 0);
	}
	if (dir)
		(void) closedir(dir);
}

void build_why_keep(Daemon *d, const char *image_id, const json_t *report)
{
	AUTO_FREE char *dir = xasprintf("%s/why", d->o.state_dir);
	AUTO_FREE char *path = why_path(d, image_id);
	json_t *why = json_object_get(report, "why");
	json_t *o = json_pack("{s:s, s:I, s:O?}", "image", image_id, "built", (json_int_t) (time_real() / NSEC_PER_SEC), "why", why);
	AUTO_FREE char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	int r = text ? dir_make(dir, 0700) : -EINVAL;
	if (r == 0) {
		prune(d);
		r = file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600, false);
	}
	if (r < 0)
		log_warning("build: %s is not written, so `stead why` will not know: %s", path, strerror(-r));
}

void build_api_why(Daemon *d, HttpRequest *r, const char *image)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_BUF b = BUF_INIT;
	Image *img = NULL;
	if (daemon_find_image(d, image, &img, NULL, &err) < 0) {
		http_error_err(r, &err);
		return;
	}
	AUTO_FREE char *path = why_path(d, img->id);
	int e = file_read(AT_FDCWD, path, LIMIT_MANIFEST_BYTES, &b);
	if (e == -ENOENT)
		http_error(r, 404, "image '%s' was not built here", image);
	else if (e < 0)
		http_error(r, 500, "%s: %s", path, strerror(-e));
	else
		http_reply(r, 200, "application/json", b.data, b.len);
}
