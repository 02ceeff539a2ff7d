// SPDX-License-Identifier: Apache-2.0
/*
 * stead-worker JOB STATE_DIR: one job on images, for the daemon (image/job.c is the other side). The
 * archive is descriptor 3 (shipping: 3 is what comes from the other side, 4 what goes there, 5 the archive), further options come as JSON on stdin, the report goes to stdout as JSON
 * lines (image/report.h). With five arguments it is the hook that uacme calls. A worker ends with its parent, so that nothing works on a state directory
 * whose daemon is gone.
 */

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "build/build.h"
#include "build/context-unpack.h"
#include "build/prune.h"
#include "edge/cert-work.h"
#include "image/archive.h"
#include "image/bootstrap.h"
#include "image/copy.h"
#include "image/layers.h"
#include "image/pull.h"
#include "image/push.h"
#include "image/report.h"
#include "image/sandbox.h"
#include "image/save.h"
#include "image/ship.h"
#include "image/spec.h"
#include "image/trash.h"

#define ARCHIVE_FD 3
#define SHIP_IN_FD 3
#define SHIP_OUT_FD 4
#define SHIP_ARCHIVE_FD 5
#define CONTEXT_FD 3 /* of a build */
#define OPTIONS_MAX (16U << 20) /* lists of all layers of a full state directory */

typedef struct WorkerJob {
	const char *name;
	bool options; /* JSON on stdin */
	int (*run)(const char *state_dir, const json_t *options, ImageList *ret, Err *err);
} WorkerJob;

static int run_load(const char *state_dir, const json_t *options, ImageList *ret, Err *err)
{
	AUTO_STORE s = { .state = -1, .layers = -1, .blobs = -1, .tmp = -1, .lock = -1 };
	int r = store_open(state_dir, &s, err);
	if (r < 0 || (r = sandbox_enter(state_dir, err)) < 0)
		return r;
	return archive_load(&s, ARCHIVE_FD, ret, err);
}

static int run_import(const char *state_dir, const json_t *options, ImageList *ret, Err *err)
{
	AUTO_STORE s = { .state = -1, .layers = -1, .blobs = -1, .tmp = -1, .lock = -1 };
	AUTO_IMAGE_SPEC spec = { 0 };
	int r = image_spec_from_json(options, &spec, err);
	if (r < 0 || (r = store_open(state_dir, &s, err)) < 0 || (r = sandbox_enter(state_dir, err)) < 0)
		return r;
	return archive_import(&s, ARCHIVE_FD, &spec, ret, err);
}

static int run_bootstrap(const char *state_dir, const json_t *options, ImageList *ret, Err *err)
{
	AUTO_STORE s = { .state = -1, .layers = -1, .blobs = -1, .tmp = -1, .lock = -1 };
	AUTO_IMAGE_SPEC spec = { 0 };
	int r = image_spec_from_json(options, &spec, err);
	if (r < 0 || (r = store_open(state_dir, &s, err)) < 0)
		return r;
	return bootstrap_image(&s, &spec, ret, err);
}

/* Its options are the first line of many. */
static int run_build(const char *state_dir, const json_t *options, ImageList *ret, Err *err)
{
	return build_image_job(state_dir, STDIN_FILENO, CONTEXT_FD, err);
}

static int run_prune_builds(const char *state_dir, const json_t *options, ImageList *ret, Err *err)
{
	return build_prune_job(state_dir, options, err);
}

static int run_save(const char *state_dir, const json_t *options, ImageList *ret, Err *err)
{
	AUTO_STORE s = { .state = -1, .layers = -1, .blobs = -1, .tmp = -1, .lock = -1 };
	int r = store_open(state_dir, &s, err);
	if (r < 0 || (r = sandbox_enter(state_dir, err)) < 0)
		return r;
	return archive_save(&s, options, ARCHIVE_FD, err);
}

/* From the state directory's images, or with {"archive": true} from an archive: then it is any directory for temporary files. */
static int run_ship_send(const char *state_dir, const json_t *options, ImageList *ret, Err *err)
{
	AUTO_STORE s = { .state = -1, .layers = -1, .blobs = -1, .tmp = -1, .lock = -1 };
	ShipSource *source __attribute__((cleanup(ship_source_freep))) = NULL;
	int r = store_open(state_dir, &s, err);
	if (r < 0 || (r = sandbox_enter(state_dir, err)) < 0)
		return r;
	r = json_is_true(json_object_get(options, "archive")) ? ship_source_archive(&s, options, SHIP_ARCHIVE_FD, &source, err) :
								 ship_source_state(&s, json_object_get(options, "images"), &source, err);
	return r < 0 ? r : ship_send(source, options, SHIP_IN_FD, SHIP_OUT_FD, err);
}

static int run_ship_receive(const char *state_dir, const json_t *options, ImageList *ret, Err *err)
{
	AUTO_STORE s = { .state = -1, .layers = -1, .blobs = -1, .tmp = -1, .lock = -1 };
	int r = store_open(state_dir, &s, err);
	if (r < 0 || (r = sandbox_enter(state_dir, err)) < 0)
		return r;
	return ship_receive(&s, options, SHIP_IN_FD, SHIP_OUT_FD, ret, err);
}

static int run_copy(const char *state_dir, const json_t *options, ImageList *ret, Err *err)
{
	bool copied = false;
	int r = copy_up(state_dir, options, &copied, err);
	if (r == 0 && copied)
		report_copied();
	return r;
}

static int run_login(const char *state_dir, const json_t *options, ImageList *ret, Err *err)
{
	return registry_login(state_dir, options, err);
}

static int run_pull(const char *state_dir, const json_t *options, ImageList *ret, Err *err)
{
	return registry_pull(state_dir, options, ret, err);
}

static int run_push(const char *state_dir, const json_t *options, ImageList *ret, Err *err)
{
	return registry_push(state_dir, options, err);
}

static int run_remove(const char *state_dir, const json_t *options, ImageList *ret, Err *err)
{
	return trash_empty(state_dir, err);
}

static int run_sweep(const char *state_dir, const json_t *options, ImageList *ret, Err *err)
{
	int64_t freed = 0;
	int r = trash_sweep(state_dir, options, &freed, err);
	report_freed(freed);
	return r;
}

/* Becomes uacme, whose output is the daemon's to read. */
static int run_acme(const char *state_dir, const json_t *options, ImageList *ret, Err *err)
{
	return acme_work(options, err);
}

static int run_certificates(const char *state_dir, const json_t *options, ImageList *ret, Err *err)
{
	int r = sandbox_enter(state_dir, err);
	return r < 0 ? r : cert_work(options, report_line, err);
}

static int run_resolve(const char *state_dir, const json_t *options, ImageList *ret, Err *err)
{
	return resolve_work(options, report_line, err);
}

/* For a client, into a directory of its own. */
static int run_unpack(const char *dir, const json_t *options, ImageList *ret, Err *err)
{
	return context_unpack(dir, json_string_value(json_object_get(options, "url")), ARCHIVE_FD, err);
}

static const WorkerJob jobs[] = {
	{ "acme", true, run_acme },
	{ "bootstrap", true, run_bootstrap },
	{ "build", false, run_build },
	{ "certificates", true, run_certificates },
	{ "copy", true, run_copy },
	{ "import", true, run_import },
	{ "load", false, run_load },
	{ "login", true, run_login },
	{ "prune-builds", true, run_prune_builds },
	{ "pull", true, run_pull },
	{ "push", true, run_push },
	{ "remove", false, run_remove },
	{ "resolve", true, run_resolve },
	{ "save", true, run_save },
	{ "ship-receive", true, run_ship_receive },
	{ "ship-send", true, run_ship_send },
	{ "sweep", true, run_sweep },
	{ "unpack", true, run_unpack },
};

static int read_options(json_t **ret, Err *err)
{
	AUTO_BUF b = BUF_INIT;
	json_error_t e;
	int r = file_read(AT_FDCWD, "/proc/self/fd/0", OPTIONS_MAX, &b);
	if (r < 0)
		return err_errno(err, r, "options on stdin");
	*ret = json_loadb(buf_cstr(&b), b.len, JSON_REJECT_DUPLICATES, &e);
	return *ret ? 0 : err_set(err, -EINVAL, "options on stdin: %s", e.text);
}

static int run(const WorkerJob *job, const char *state_dir)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_IMAGE_LIST images = { 0 };
	json_t *options = NULL;
	int r = job->options ? read_options(&options, &err) : 0;
	if (r == 0)
		r = job->run(state_dir, options, &images, &err);
	json_decref(options);
	if (r >= 0)
		report_images(&images);
	report_end(r, &err);
	return r < 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
	if (argc == 6) /* uacme's hook: METHOD TYPE IDENT TOKEN AUTH */
		return acme_hook(argv[1], argv[2]);
	if (argc == 3)
		for (size_t i = 0; i < ARRAY_SIZE(jobs); i++) {
			if (!str_eq(argv[1], jobs[i].name))
				continue;
			(void) prctl(PR_SET_PDEATHSIG, SIGKILL);
			/* A reader that is gone shows as EPIPE on the write. */
			(void) signal(SIGPIPE, SIG_IGN);
			(void) umask(022);
			report_init();
			return run(&jobs[i], argv[2]);
		}
	fprintf(stderr, "stead-worker is started by the stead daemon: stead-worker JOB STATE_DIR\n");
	return 2;
}
