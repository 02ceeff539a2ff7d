// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/sql.h"
#include "store/store.h"

static char dir[] = "/tmp/stead-test-store-XXXXXX";
static char *db_path;
static Store *store;

static char *id_of(int i)
{
	return xasprintf("%064x", i);
}

static int open_store(void **state)
{
	memcpy(dir + strlen(dir) - 6, "XXXXXX", 6);
	if (!mkdtemp(dir))
		return -1;
	db_path = xasprintf("%s/state.db", dir);
	return store_open(dir, &store, NULL);
}

static int close_store(void **state)
{
	store_close(store);
	store = NULL;
	free(db_path);
	return tree_remove(AT_FDCWD, dir);
}

static void reopen(void)
{
	store_close(store);
	store = NULL;
	assert_int_equal(store_open(dir, &store, NULL), 0);
}

/** A container whose strings are literals (or `id`, `name`). */
static StoreContainer sample(char *id, char *name)
{
	return (StoreContainer) { .id = id, .name = name, .stack = (char *) "blog", .service = (char *) "web", .number = 2,
		.config_hash = (char *) "hash", .image_id = (char *) "sha256:x", .service_json = (char *) "{}", .created = 5,
		.wanted_running = true, .phase = (char *) "creating" };
}

static void container_goes_round(void **state)
{
	AUTO_FREE char *id = id_of(1);
	StoreContainer c = sample(id, (char *) "blog-web-2"), *v = NULL;
	size_t n = 0;
	assert_int_equal(store_container_insert(store, &c, NULL), 0);
	assert_int_equal(store_container_runtime(store, id, "{\"ports\":[]}", NULL), 0);
	c.phase = (char *) "exited";
	c.wanted_running = false;
	c.pid = 42;
	c.started_at = 6;
	c.finished_at = INT64_MAX;
	c.exit_code = 137;
	c.oom_killed = true;
	c.restart_count = 3;
	c.error = (char *) "no \xc3\xa9 such";
	c.health = (char *) "unhealthy";
	assert_int_equal(store_container_state(store, &c, NULL), 0);
	assert_int_equal(store_container_rename(store, id, "blog-web-9", NULL), 0);
	reopen();
	assert_int_equal(store_containers_load(store, &v, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_string_equal(v->id, id);
	assert_string_equal(v->name, "blog-web-9");
	assert_string_equal(v->stack, "blog");
	assert_string_equal(v->service, "web");
	assert_int_equal(v->number, 2);
	assert_false(v->oneoff);
	assert_string_equal(v->config_hash, "hash");
	assert_string_equal(v->image_id, "sha256:x");
	assert_string_equal(v->service_json, "{}");
	assert_string_equal(v->runtime_json, "{\"ports\":[]}");
	assert_int_equal(v->created, 5);
	assert_string_equal(v->phase, "exited");
	assert_false(v->wanted_running);
	assert_int_equal(v->pid, 42);
	assert_int_equal(v->started_at, 6);
	assert_true(v->finished_at == INT64_MAX);
	assert_int_equal(v->exit_code, 137);
	assert_true(v->oom_killed);
	assert_int_equal(v->restart_count, 3);
	assert_string_equal(v->error, "no \xc3\xa9 such");
	assert_string_equal(v->health, "unhealthy");
	store_containers_free(v, n);
	assert_int_equal(store_container_delete(store, id, NULL), 0);
	assert_int_equal(store_container_delete(store, id, NULL), 0);
	assert_int_equal(store_containers_load(store, &v, &n, NULL), 0);
	assert_int_equal(n, 0);
}

static void constraints_are_named(void **state)
{
	AUTO_FREE char *id = id_of(1);
	AUTO_FREE char *other = id_of(2);
	AUTO_ERR err = ERR_INIT;
	StoreContainer c = sample(id, (char *) "web"), d = sample(other, (char *) "web");
	assert_int_equal(store_container_insert(store, &c, NULL), 0);
	assert_int_equal(store_container_insert(store, &d, &err), -EEXIST);
	assert_string_equal(err_text(&err), "store container 'web': the name or id is taken already");
	d.name = (char *) "db";
	d.phase = (char *) "dancing";
	assert_int_equal(store_container_insert(store, &d, &err), -EINVAL);
	assert_non_null(strstr(err_text(&err), "phase"));
	d.phase = (char *) "created";
	assert_int_equal(store_container_state(store, &d, &err), -ENOENT);
	assert_int_equal(store_container_insert(store, &d, NULL), 0);
	assert_int_equal(store_container_rename(store, other, "web", &err), -EEXIST);
	assert_int_equal(store_tag_put(store, "a:b", "sha256:none", &err), -EINVAL);
	d.id = (char *) "short";
	d.name = (char *) "short";
	assert_int_equal(store_container_insert(store, &d, &err), -EINVAL);
}

static void stacks(void **state)
{
	char *files[] = { (char *) "/srv/a b.yaml", (char *) "/srv/\"c\".yaml", NULL };
	StoreStack s = { .name = (char *) "blog", .model = (char *) "{\"a\":1}", .files = files, .created = 7 }, *v = NULL;
	size_t n = 0;
	assert_int_equal(store_stack_put(store, &s, NULL), 0);
	s.model = (char *) "{}";
	s.created = 8;
	s.down = true;
	assert_int_equal(store_stack_put(store, &s, NULL), 0);
	reopen();
	assert_int_equal(store_stacks_load(store, &v, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_string_equal(v->name, "blog");
	assert_string_equal(v->model, "{}");
	assert_int_equal(v->created, 7);
	assert_true(v->down);
	assert_true(strv_eq(v->files, files));
	store_stacks_free(v, n);
	assert_int_equal(store_stack_delete(store, "blog", NULL), 0);
	assert_int_equal(store_stacks_load(store, &v, &n, NULL), 0);
	assert_int_equal(n, 0);
	store_stacks_free(v, n);
}

static void networks_and_volumes(void **state)
{
	AUTO_FREE char *id = id_of(7);
	AUTO_ERR err = ERR_INIT;
	char *labels[] = { (char *) "a=b", (char *) "c=d e\n", NULL };
	StoreNetwork net = { .name = (char *) "blog_back", .id = id, .stack = (char *) "blog", .key = (char *) "back", .driver = (char *) "bridge",
		.internal = true, .subnet = (char *) "10.89.0.0/24", .gateway = (char *) "10.89.0.1", .ip_range = (char *) "10.89.0.128/25", .bridge = (char *) "st-1", .attachable = true,
		.labels = labels, .created = 3 }, *nv = NULL;
	StoreVolume vol = { .name = (char *) "blog_data", .driver = (char *) "local", .labels = labels, .anonymous = true, .container = (char *) "c1", .created = 4 }, *vv = NULL;
	size_t n = 0;
	assert_int_equal(store_network_insert(store, &net, NULL), 0);
	assert_int_equal(store_network_insert(store, &net, &err), -EEXIST);
	assert_int_equal(store_volume_insert(store, &vol, NULL), 0);
	assert_int_equal(store_volume_insert(store, &vol, &err), -EEXIST);
	reopen();
	assert_int_equal(store_networks_load(store, &nv, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_string_equal(nv->name, "blog_back");
	assert_string_equal(nv->id, id);
	assert_string_equal(nv->stack, "blog");
	assert_string_equal(nv->key, "back");
	assert_string_equal(nv->driver, "bridge");
	assert_true(nv->internal && nv->attachable);
	assert_string_equal(nv->subnet, "10.89.0.0/24");
	assert_string_equal(nv->gateway, "10.89.0.1");
	assert_string_equal(nv->ip_range, "10.89.0.128/25");
	assert_string_equal(nv->bridge, "st-1");
	assert_true(strv_eq(nv->labels, labels));
	assert_int_equal(nv->created, 3);
	store_networks_free(nv, n);
	assert_int_equal(store_volumes_load(store, &vv, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_string_equal(vv->name, "blog_data");
	assert_null(vv->stack);
	assert_string_equal(vv->driver, "local");
	assert_true(vv->anonymous);
	assert_string_equal(vv->container, "c1");
	assert_true(strv_eq(vv->labels, labels));
	store_volumes_free(vv, n);
	assert_int_equal(store_network_delete(store, "blog_back", NULL), 0);
	assert_int_equal(store_volume_delete(store, "blog_data", NULL), 0);
	char *bad[] = { (char *) "a=\xff", NULL };
	net.labels = bad;
	assert_int_equal(store_network_insert(store, &net, &err), -EINVAL);
}

static Image *sample_image(const char *cmd)
{
	AUTO_FREE char *config = xasprintf("{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Cmd\":[\"%s\"]},"
		"\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:%064d\",\"sha256:%064d\"]}}", cmd, 1, 2);
	Image *i = NULL;
	AUTO_ERR err = ERR_INIT;
	if (image_from_config(config, strlen(config), &i, &err) < 0)
		fail_msg("%s", err_text(&err));
	i->layers[0].size = 100;
	i->layers[1].size = 20;
	i->size = 120;
	i->created = 9;
	return i;
}

static void images_and_tags(void **state)
{
	Image *a = sample_image("a"), *b = sample_image("b"), **v = NULL;
	size_t n = 0;
	strv_add(&a->tags, "docker.io/library/x:1");
	strv_add(&a->tags, "docker.io/library/x:2");
	strv_add(&b->tags, "docker.io/library/x:2");
	assert_int_equal(store_image_put(store, a, NULL), 0);
	assert_int_equal(store_image_put(store, b, NULL), 0); /* takes x:2 over */
	assert_int_equal(store_image_put(store, b, NULL), 0);
	assert_int_equal(store_tag_put(store, "docker.io/library/y:1", b->id, NULL), 0);
	reopen();
	assert_int_equal(store_images_load(store, &v, &n, NULL), 0);
	assert_int_equal(n, 2);
	assert_string_equal(v[0]->id, a->id);
	assert_string_equal(v[0]->config_json, a->config_json);
	assert_string_equal(v[0]->config.cmd[0], "a");
	assert_int_equal(v[0]->n_layers, 2);
	assert_int_equal(v[0]->layers[0].size, 100);
	assert_int_equal(v[0]->layers[1].size, 20);
	assert_int_equal(v[0]->size, 120);
	assert_int_equal(v[0]->created, 9);
	assert_int_equal(strv_len(v[0]->tags), 1);
	assert_string_equal(v[0]->tags[0], "docker.io/library/x:1");
	assert_int_equal(strv_len(v[1]->tags), 2);
	store_images_free(v, n);
	assert_int_equal(store_tag_delete(store, "docker.io/library/y:1", NULL), 0);
	assert_int_equal(store_image_delete(store, b->id, NULL), 0);
	assert_int_equal(store_images_load(store, &v, &n, NULL), 0);
	assert_int_equal(n, 1);
	store_images_free(v, n);
	Sql q = sql_begin(store, "SELECT (SELECT count(*) FROM tags), (SELECT count(*) FROM image_layers)");
	assert_int_equal(sql_row(&q, NULL, ""), 1);
	assert_int_equal(sql_get_int(&q), 1);
	assert_int_equal(sql_get_int(&q), 2);
	sql_end(&q);
	/* A blob that is not what its id says is left out. */
	assert_int_equal(sql_exec(store, "UPDATE images SET config = replace(config, 'amd64', 'arm64')", NULL, ""), 0);
	assert_int_equal(store_images_load(store, &v, &n, NULL), 0);
	assert_int_equal(n, 0);
	image_free(a);
	image_free(b);
}

static void meta(void **state)
{
	char *v = NULL;
	assert_int_equal(store_meta_get(store, "boot_id", &v, NULL), 0);
	assert_null(v);
	assert_int_equal(store_meta_set(store, "boot_id", "1", NULL), 0);
	assert_int_equal(store_meta_set(store, "boot_id", "2", NULL), 0);
	assert_int_equal(store_meta_get(store, "boot_id", &v, NULL), 0);
	assert_string_equal(v, "2");
	free(v);
	assert_int_equal(store_meta_set(store, "boot_id", NULL, NULL), 0);
	assert_int_equal(store_meta_get(store, "boot_id", &v, NULL), 0);
	assert_null(v);
}

static size_t count_containers(void)
{
	StoreContainer *v = NULL;
	size_t n = 0;
	assert_int_equal(store_containers_load(store, &v, &n, NULL), 0);
	for (size_t i = 1; i < n; i++)
		assert_true(v[i].created >= v[i - 1].created);
	store_containers_free(v, n);
	return n;
}

static void add_containers(int from, int to)
{
	for (int i = from; i < to; i++) {
		AUTO_FREE char *id = id_of(i);
		AUTO_FREE char *name = xasprintf("c%d", i);
		StoreContainer c = sample(id, name);
		c.created = i;
		assert_int_equal(store_container_insert(store, &c, NULL), 0);
	}
}

static void transactions(void **state)
{
	AUTO_ERR err = ERR_INIT;
	assert_int_equal(store_begin(store, NULL), 0);
	add_containers(0, 1000);
	assert_int_equal(store_commit(store, NULL), 0);
	assert_int_equal(count_containers(), 1000);
	assert_int_equal(store_begin(store, NULL), 0);
	add_containers(1000, 1010);
	/* A refused row does not end the transaction. */
	AUTO_FREE char *id = id_of(5);
	StoreContainer c = sample(id, (char *) "new");
	assert_int_equal(store_container_insert(store, &c, &err), -EEXIST);
	add_containers(1010, 1020);
	store_rollback(store);
	store_rollback(store);
	assert_int_equal(count_containers(), 1000);
	/* Closing rolls back. */
	assert_int_equal(store_begin(store, NULL), 0);
	add_containers(1000, 1010);
	reopen();
	assert_int_equal(count_containers(), 1000);
}

/** A process that is killed between its writes and its commit, and one after the commit. */
static void crash(bool commit)
{
	store_close(store);
	store = NULL;
	pid_t pid = fork();
	if (pid == 0) {
		if (store_open(dir, &store, NULL) < 0 || store_begin(store, NULL) < 0)
			_exit(1);
		add_containers(0, 5);
		if (commit && store_commit(store, NULL) < 0)
			_exit(1);
		_exit(0); /* without closing */
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(store_open(dir, &store, NULL), 0); /* the dead process's lock is gone */
	assert_int_equal(count_containers(), commit ? 5 : 0);
}

static void survives_crashes(void **state)
{
	crash(false);
	crash(true);
}

/* A child of a killed daemon that has not yet executed its program still shares the lock. */
static void waits_for_a_dying_daemon(void **state)
{
	store_close(store);
	store = NULL;
	pid_t pid = fork();
	if (pid == 0) {
		Store *s = NULL;
		if (store_open(dir, &s, NULL) < 0)
			_exit(1);
		if (fork() == 0) {
			(void) usleep(50000);
			_exit(0);
		}
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(store_open(dir, &store, NULL), 0);
}

static void second_daemon_is_refused(void **state)
{
	Store *other = NULL;
	AUTO_ERR err = ERR_INIT;
	assert_int_equal(store_open(dir, &other, &err), -EBUSY);
	AUTO_FREE char *pid = xasprintf("pid %d", (int) getpid());
	assert_non_null(strstr(err_text(&err), pid));
	assert_non_null(strstr(err_text(&err), dir));
	assert_null(other);
}

static void files_are_private(void **state)
{
	struct stat st;
	assert_int_equal(stat(db_path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	AUTO_FREE char *wal = xasprintf("%s-wal", db_path);
	add_containers(0, 1);
	assert_int_equal(stat(wal, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void settings_hold(void **state)
{
	static const struct {
		const char *pragma, *value;
	} want[] = {
		{ "PRAGMA journal_mode", "wal" }, { "PRAGMA synchronous", "2" },       { "PRAGMA foreign_keys", "1" },
		{ "PRAGMA trusted_schema", "0" }, { "PRAGMA cell_size_check", "1" },   { "PRAGMA cache_size", "-256" },
		{ "PRAGMA mmap_size", "0" },      { "PRAGMA user_version", "3" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		Sql q = sql_begin(store, want[i].pragma);
		assert_int_equal(sql_row(&q, NULL, ""), 1);
		AUTO_FREE char *got = sql_get_text(&q);
		sql_end(&q);
		assert_string_equal(got, want[i].value);
	}
}

/* Whoever looks at the database with sqlite3(1) must see that it is in use: the last one removes the WAL. */
static void others_see_it_in_use(void **state)
{
	add_containers(0, 1);
	pid_t pid = fork(); /* our own locks are no conflict to ourselves */
	if (pid == 0) {
		struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
		int fd = open(db_path, O_RDWR | O_CLOEXEC);
		_exit(fd >= 0 && fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type == F_RDLCK && lock.l_pid == getppid() ? 0 : 1);
	}
	int status = -1;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void migrates(void **state)
{
	static const char *const steps[] = { "CREATE TABLE a (x)", "ALTER TABLE a ADD COLUMN y; INSERT INTO a VALUES (1, 2)",
					     "CREATE TABLE b (x); INSERT INTO nowhere VALUES (1)" };
	AUTO_ERR err = ERR_INIT;
	assert_int_equal(sql_exec(store, "PRAGMA user_version = 0", NULL, ""), 0);
	assert_int_equal(sql_migrate(store, steps, 1, NULL), 0);
	assert_int_equal(sql_migrate(store, steps, 2, NULL), 0);
	assert_int_equal(sql_migrate(store, steps, 2, NULL), 0);
	Sql q = sql_begin(store, "SELECT x + y, (SELECT count(*) FROM a) FROM a");
	assert_int_equal(sql_row(&q, NULL, ""), 1);
	assert_int_equal(sql_get_int(&q), 3);
	assert_int_equal(sql_get_int(&q), 1);
	sql_end(&q);
	/* A step that fails leaves nothing of itself. */
	assert_int_equal(sql_migrate(store, steps, 3, &err), -EIO);
	assert_non_null(strstr(err_text(&err), "schema 3"));
	assert_int_equal(sql_exec(store, "CREATE TABLE b (x)", NULL, ""), 0);
	q = sql_begin(store, "PRAGMA user_version");
	assert_int_equal(sql_row(&q, NULL, ""), 1);
	assert_int_equal(sql_get_int(&q), 2);
	sql_end(&q);
}

static void newer_schema_is_refused(void **state)
{
	AUTO_ERR err = ERR_INIT;
	assert_int_equal(sql_exec(store, "PRAGMA user_version = 99", NULL, ""), 0);
	store_close(store);
	store = NULL;
	assert_int_equal(store_open(dir, &store, &err), -ENOTSUP);
	assert_non_null(strstr(err_text(&err), "newer version"));
}

static void full_disk(void **state)
{
	AUTO_ERR err = ERR_INIT;
	assert_int_equal(sql_exec(store, "PRAGMA max_page_count = 20", NULL, ""), 0);
	int r = 0;
	assert_int_equal(store_begin(store, NULL), 0);
	for (int i = 0; i < 1000 && r == 0; i++) {
		AUTO_FREE char *id = id_of(i);
		AUTO_FREE char *name = xasprintf("c%d", i);
		StoreContainer c = sample(id, name);
		r = store_container_insert(store, &c, &err);
	}
	assert_int_equal(r, -ENOSPC);
	assert_non_null(strstr(err_text(&err), db_path));
	assert_non_null(strstr(err_text(&err), "free some space"));
	store_rollback(store);
	err_done(&err);
	err = (Err) ERR_INIT;
	(void) sql_error(store, SQLITE_FULL, &err, "commit", "");
	assert_true(str_starts(err_text(&err), "commit: "));
	assert_int_equal(sql_exec(store, "PRAGMA max_page_count = 100000", NULL, ""), 0);
	assert_int_equal(count_containers(), 0);
	add_containers(0, 3);
	assert_int_equal(count_containers(), 3);
}

static void damage(void **state)
{
	AUTO_ERR err = ERR_INIT;
	assert_int_equal(store_begin(store, NULL), 0);
	add_containers(0, 200);
	assert_int_equal(store_commit(store, NULL), 0);
	store_close(store);
	store = NULL;
	AUTO_CLOSE int fd = open(db_path, O_RDWR | O_CLOEXEC);
	char junk[4096];
	memset(junk, 0xa5, sizeof(junk));
	for (off_t page = 5; page < 12; page++)
		assert_int_equal(pwrite(fd, junk, sizeof(junk), page * 4096), sizeof(junk));
	assert_int_equal(store_open(dir, &store, &err), -EIO);
	assert_non_null(strstr(err_text(&err), db_path));
	assert_non_null(strstr(err_text(&err), "damaged"));
	assert_int_equal(pwrite(fd, junk, sizeof(junk), 0), sizeof(junk));
	assert_int_equal(store_open(dir, &store, &err), -EIO);
	assert_non_null(strstr(err_text(&err), "not a database"));
}

static void unwritable_directory(void **state)
{
	AUTO_ERR err = ERR_INIT;
	Store *other = NULL;
	AUTO_FREE char *file = xasprintf("%s/lock/below", dir);
	assert_int_equal(store_open(file, &other, &err), -ENOTDIR);
	assert_non_null(strstr(err_text(&err), file));
}

static void notices(void **state)
{
	StoreNotice *v = NULL;
	size_t n = 0;
	StoreNotice a = { .id = (char *) "1", .target = (char *) "x", .stack = (char *) "blog", .text = (char *) "{}", .created = 20 };
	StoreNotice b = { .id = (char *) "1", .target = (char *) "y", .stack = (char *) "blog", .text = (char *) "{}", .created = 10 };
	assert_int_equal(store_notice_insert(store, &a, NULL), 0);
	assert_int_equal(store_notice_insert(store, &b, NULL), 0);
	assert_int_equal(store_notice_insert(store, &a, NULL), -EEXIST);
	reopen();
	assert_int_equal(store_notices_load(store, &v, &n, NULL), 0);
	assert_int_equal(n, 2);
	assert_string_equal(v[0].target, "y");
	assert_string_equal(v[1].stack, "blog");
	assert_string_equal(v[1].text, "{}");
	assert_int_equal(v[1].created, 20);
	store_notices_free(v, n);
	assert_int_equal(store_notice_delete(store, "1", "y", NULL), 0);
	assert_int_equal(store_notice_delete(store, "1", "y", NULL), 0);
	assert_int_equal(store_notices_load(store, &v, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_string_equal(v[0].target, "x");
	store_notices_free(v, n);
}

static StoreRelease sample_release(int number, char **files)
{
	return (StoreRelease) { .stack = (char *) "blog", .number = number, .kind = (char *) "deploy", .result = (char *) "running", .base = number - 1,
		.source = 0, .created = 5, .who = (char *) "ada@box", .commit = (char *) "c0ffee", .changes = (char *) "[]",
		.images = (char *) "{\"web\":\"sha256:x\"}", .files = files, .model = (char *) "{\"name\":\"blog\"}", .made = (char *) "{}" };
}

static void release_goes_round(void **state)
{
	char *files[] = { (char *) "aa", (char *) "bb", NULL };
	StoreRelease one = sample_release(1, files), two = sample_release(2, NULL), got = { 0 }, *rows;
	size_t n;
	assert_int_equal(store_release_load(store, "blog", 1, &got, NULL), 1);
	assert_int_equal(store_release_insert(store, &one, NULL), 0);
	assert_int_equal(store_release_insert(store, &one, NULL), -EEXIST);
	assert_int_equal(store_release_insert(store, &two, NULL), 0);
	assert_int_equal(store_release_end(store, "blog", 1, "success", 9, "{\"text\":\"fine\"}", NULL), 0);
	assert_int_equal(store_release_end(store, "blog", 7, "success", 9, NULL, NULL), -ENOENT);
	assert_int_equal(store_release_result(store, "blog", 2, "no such result", NULL), -EINVAL);
	reopen();
	assert_int_equal(store_release_load(store, "blog", 1, &got, NULL), 0);
	assert_string_equal(got.who, "ada@box");
	assert_string_equal(got.commit, "c0ffee");
	assert_null(got.author);
	assert_string_equal(got.result, "success");
	assert_int_equal(got.ended, 9);
	assert_string_equal(got.model, one.model);
	assert_string_equal(got.report, "{\"text\":\"fine\"}");
	assert_true(strv_eq(got.files, files));
	store_release_done(&got);
	assert_int_equal(store_releases_load(store, "blog", &rows, &n, NULL), 0);
	assert_int_equal(n, 2);
	assert_int_equal(rows[1].base, 1);
	assert_null(rows[0].model);
	store_releases_free(rows, n);
}

static void one_release_is_current(void **state)
{
	StoreRelease one = sample_release(1, NULL), two = sample_release(2, NULL), *rows;
	size_t n;
	assert_int_equal(store_release_set_current(store, "blog", 1, NULL), -ENOENT);
	assert_int_equal(store_release_insert(store, &one, NULL), 0);
	assert_int_equal(store_release_insert(store, &two, NULL), 0);
	assert_int_equal(store_release_set_current(store, "blog", 1, NULL), 0);
	assert_int_equal(store_release_set_current(store, "blog", 2, NULL), 0);
	assert_int_equal(store_releases_load(store, NULL, &rows, &n, NULL), 0);
	assert_int_equal(n, 2);
	assert_false(rows[0].current);
	assert_true(rows[1].current);
	store_releases_free(rows, n);
	assert_int_equal(store_release_delete(store, "blog", 1, NULL), 0);
	assert_int_equal(store_releases_delete(store, "blog", NULL), 0);
	assert_int_equal(store_releases_load(store, NULL, &rows, &n, NULL), 0);
	assert_int_equal(n, 0);
	store_releases_free(rows, n);
}

int main(void)
{
#define STORE_TEST(f) cmocka_unit_test_setup_teardown(f, open_store, close_store)
	const struct CMUnitTest tests[] = {
		STORE_TEST(release_goes_round),
		STORE_TEST(one_release_is_current),
		STORE_TEST(container_goes_round),
		STORE_TEST(constraints_are_named),
		STORE_TEST(stacks),
		STORE_TEST(networks_and_volumes),
		STORE_TEST(images_and_tags),
		STORE_TEST(meta), STORE_TEST(notices),
		STORE_TEST(transactions),
		STORE_TEST(survives_crashes),
		STORE_TEST(waits_for_a_dying_daemon),
		STORE_TEST(second_daemon_is_refused),
		STORE_TEST(files_are_private),
		STORE_TEST(settings_hold), STORE_TEST(others_see_it_in_use),
		STORE_TEST(migrates),
		STORE_TEST(newer_schema_is_refused),
		STORE_TEST(full_disk),
		STORE_TEST(damage),
		STORE_TEST(unwritable_directory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
