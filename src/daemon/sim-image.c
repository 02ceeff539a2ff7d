// SPDX-License-Identifier: Apache-2.0
/*
 * Image jobs and builds: the machine in memory has none. Tests put their images into the store themselves.
 */
#include <errno.h>

#include "daemon/build.h"
#include "image/job.h"

static char *worker; /* its address stands for the jobs */

int jobs_new(uv_loop_t *loop, const char *state_dir, JobRefsFn refs, void *user, Jobs **ret, Err *err)
{
	*ret = (Jobs *) &worker;
	return 0;
}

void jobs_free(Jobs *j)
{
}

int job_load(Jobs *j, int fd, const JobCallbacks *cb, Job **ret, Err *err)
{
	return -ENOTSUP;
}

int job_import(Jobs *j, int fd, const JobImageOptions *o, const JobCallbacks *cb, Job **ret, Err *err)
{
	return -ENOTSUP;
}

int job_bootstrap(Jobs *j, const JobBootstrap *b, const JobCallbacks *cb, Job **ret, Err *err)
{
	return -ENOTSUP;
}

int job_save(Jobs *j, const JobSaveItem *items, size_t n_items, int fd, const JobCallbacks *cb, Job **ret, Err *err)
{
	return -ENOTSUP;
}

int job_copy_up(Jobs *j, char *const *layers, const char *path, const char *dst, const JobCallbacks *cb, Job **ret, Err *err)
{
	return -ENOTSUP;
}

int job_remove_tree(Jobs *j, const char *path, Err *err)
{
	return 0;
}

int job_sweep(Jobs *j, const JobCallbacks *cb, Job **ret, Err *err)
{
	if (cb->lost)
		cb->lost(cb->user);
	return 0;
}

bool jobs_delay_sweep(const Jobs *j)
{
	return false;
}

void builds_open(Daemon *d)
{
}

void builds_close(Daemon *d)
{
}

bool builds_subnet(const Daemon *d, char dst[64])
{
	return false;
}

void builds_tell_names(Daemon *d)
{
}
