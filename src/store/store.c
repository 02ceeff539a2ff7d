// SPDX-License-Identifier: Apache-2.0
/*
 * How it works: one connection, opened by the daemon's only thread and kept. The caches are cut down
 * to what some hundred small rows need, since the daemon keeps everything in its own structures and
 * reads the database at its start only. WAL, since a commit then costs one fsync of one file.
 *
 * The lock is a file of its own rather than a lock of SQLite: it is held without a transaction,
 * tells the owner's pid, and covers the whole state directory.
 */
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/sql.h"

#define LOCK_PATIENCE_MS 5000
#define LOCK_STEP_MS 20
#define HEAP_LIMIT (1 << 20) /* soft: caches are given up first */
#define BUSY_TIMEOUT_MS 1000 /* somebody looks at it with sqlite3(1) */

/** Once a process, before the first use. */
static void sqlite_setup(void)
{
	static bool done;
	if (done)
		return;
	done = true;
	(void) sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
	(void) sqlite3_config(SQLITE_CONFIG_SMALL_MALLOC, 1);
	(void) sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 512, 16);
	(void) sqlite3_initialize();
	(void) sqlite3_soft_heap_limit64(HEAP_LIMIT);
}

/*
 * A killed daemon may be dead before its lock is free: a child that it was just starting shares the lock until it
 * executes its program. Nobody else is to be waited for.
 */
static bool holder_is_dying(const char *pid)
{
	uint32_t n;
	AUTO_BUF b = BUF_INIT;
	if (parse_u32_max(pid, INT32_MAX, &n) < 0 || n == 0)
		return false;
	AUTO_FREE char *path = xasprintf("/proc/%u/stat", n);
	if (file_read(AT_FDCWD, path, 4096, &b) < 0)
		return true;
	const char *state = strrchr(buf_cstr(&b), ')');
	return state && (str_starts(state, ") Z") || str_starts(state, ") X"));
}

static int take_lock(const char *dir, int *ret, Err *err)
{
	AUTO_FREE char *path = xasprintf("%s/lock", dir);
	AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	char text[32] = "";
	if (fd < 0)
		return err_errno(err, -errno, "cannot open %s", path);
	for (int waited = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; waited += LOCK_STEP_MS) {
		if (errno != EWOULDBLOCK)
			return err_errno(err, -errno, "cannot lock %s", path);
		ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
		text[n > 0 ? strcspn(text, "\n") : 0] = '\0';
		if (holder_is_dying(text) && waited < LOCK_PATIENCE_MS) {
			(void) usleep(LOCK_STEP_MS * 1000);
			continue;
		}
		return err_set(err, -EBUSY,
			"the state directory %s is in use by another stead daemon (pid %s); stop that one, or choose another --state-dir, "
			"--run-dir and --name for this one", dir, *text ? text : "unknown");
	}
	int n = snprintf(text, sizeof(text), "%d\n", (int) getpid());
	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t) n, 0) != n)
		return err_errno(err, errno ? -errno : -EIO, "cannot write %s", path);
	*ret = steal_fd(&fd);
	return 0;
}

static int configure(Store *s, Err *err)
{
	(void) sqlite3_busy_timeout(s->db, BUSY_TIMEOUT_MS);
	(void) sqlite3_extended_result_codes(s->db, 1);
	(void) sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	return sql_exec(s,
		"PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA cache_size = -256;"
		"PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
		"PRAGMA journal_size_limit = 1048576", err, "open");
}

/** A damaged database is found now rather than in the middle of a change. */
static int check(Store *s, Err *err)
{
	Sql q = sql_begin(s, "PRAGMA quick_check(1)");
	int r = sql_row(&q, err, "check");
	if (r <= 0)
		return r;
	AUTO_FREE char *text = sql_get_text(&q);
	sql_end(&q);
	if (str_eq(text, "ok"))
		return 0;
	(void) sql_error(s, SQLITE_CORRUPT, err, "check", "");
	return err_wrap(err, "%s", text);
}

static int open_database(Store *s, Err *err)
{
	/*
	 * Made here for its mode: it holds the environment of services. The WAL's files take it over. And closed before SQLite
	 * opens it: closing any descriptor of a file drops all locks that the process has on it (fcntl(2)), and without them
	 * the next sqlite3(1) that ends takes itself for the last, and removes the WAL that we write to.
	 */
	int fd = open(s->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(err, -errno, "cannot open the state database %s", s->path);
	(void) close(fd);
	int rc = sqlite3_open_v2(s->path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW, NULL);
	int r = rc == SQLITE_OK ? configure(s, err) : sql_error(s, rc, err, "open", "");
	if (r == 0)
		r = check(s, err);
	return r < 0 ? r : sql_migrate(s, schema_steps, schema_version, err);
}

int store_open(const char *state_dir, Store **ret, Err *err)
{
	sqlite_setup();
	int r = dir_make(state_dir, 0711);
	if (r < 0)
		return err_errno(err, r, "cannot make the state directory %s", state_dir);
	Store *s = xcalloc(1, sizeof(*s));
	s->lock_fd = -1;
	s->path = xasprintf("%s/state.db", state_dir);
	r = take_lock(state_dir, &s->lock_fd, err);
	if (r == 0)
		r = open_database(s, err);
	if (r < 0) {
		store_close(s);
		return r;
	}
	*ret = s;
	return 0;
}

void store_close(Store *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n_cached; i++)
		(void) sqlite3_finalize(s->cached[i].stmt);
	free(s->cached);
	(void) sqlite3_close(s->db);
	if (s->lock_fd >= 0)
		(void) close(s->lock_fd);
	free(s->path);
	free(s);
}

/* ---- transactions ---- */

int store_begin(Store *s, Err *err)
{
	Sql q = sql_begin(s, "BEGIN IMMEDIATE");
	int r = sql_run(&q, err, "begin", "");
	return r < 0 ? r : 0;
}

int store_commit(Store *s, Err *err)
{
	Sql q = sql_begin(s, "COMMIT");
	int r = sql_run(&q, err, "commit", "");
	if (r < 0)
		store_rollback(s);
	return r < 0 ? r : 0;
}

void store_rollback(Store *s)
{
	if (sqlite3_get_autocommit(s->db))
		return;
	Sql q = sql_begin(s, "ROLLBACK");
	(void) sql_run(&q, NULL, "rollback", "");
}

/* ---- meta ---- */

int store_meta_get(Store *s, const char *key, char **ret, Err *err)
{
	Sql q = sql_begin(s, "SELECT value FROM meta WHERE key = ?");
	sql_text(&q, key);
	int r = sql_row(&q, err, "read");
	if (r < 0)
		return r;
	*ret = r ? sql_get_text(&q) : NULL;
	sql_end(&q);
	return 0;
}

int store_meta_set(Store *s, const char *key, const char *value, Err *err)
{
	Sql q = value ? sql_begin(s, "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value") :
			sql_begin(s, "DELETE FROM meta WHERE key = ?");
	sql_text(&q, key);
	if (value)
		sql_text(&q, value);
	int r = sql_run(&q, err, "store", key);
	return r < 0 ? r : 0;
}
