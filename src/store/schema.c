// SPDX-License-Identifier: Apache-2.0
#include "store/sql.h"

#include "base/mem.h"

/*
 * Each step brings the database from the version that is its index to the next. A released step is
 * never changed; a change is a further step.
 *
 * Only what an image owns hangs on foreign keys. Networks and volumes outlive their stack by design, and containers may do so after
 * a crash. Nothing uses the table `wanted`: what is wanted is a column of containers.
 */

static const char step_1[] =
	"CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;"

	"CREATE TABLE stacks (name TEXT PRIMARY KEY, model TEXT NOT NULL, files TEXT NOT NULL, created INTEGER NOT NULL,"
	" down INTEGER NOT NULL) STRICT, WITHOUT ROWID;"

	"CREATE TABLE wanted (stack TEXT NOT NULL REFERENCES stacks (name) ON DELETE CASCADE, service TEXT NOT NULL,"
	" wanted TEXT NOT NULL CHECK (wanted IN ('running', 'stopped')), scale INTEGER NOT NULL CHECK (scale >= -1),"
	" PRIMARY KEY (stack, service)) STRICT, WITHOUT ROWID;"

	"CREATE TABLE containers (id TEXT PRIMARY KEY CHECK (length(id) = 64), name TEXT NOT NULL UNIQUE,"
	" stack TEXT, service TEXT, number INTEGER NOT NULL, oneoff INTEGER NOT NULL, config_hash TEXT, image_id TEXT,"
	" service_json TEXT, created INTEGER NOT NULL, runtime_json TEXT,"
	" wanted TEXT NOT NULL CHECK (wanted IN ('running', 'stopped')),"
	" phase TEXT NOT NULL CHECK (phase IN ('creating', 'created', 'starting', 'running', 'stopping', 'exited', 'removing')),"
	" pid INTEGER NOT NULL, started_at INTEGER NOT NULL, finished_at INTEGER NOT NULL, exit_code INTEGER NOT NULL,"
	" oom_killed INTEGER NOT NULL, restart_count INTEGER NOT NULL, error TEXT, health TEXT) STRICT;"

	"CREATE TABLE networks (name TEXT PRIMARY KEY, id TEXT NOT NULL UNIQUE CHECK (length(id) = 64), stack TEXT, key TEXT,"
	" driver TEXT NOT NULL, internal INTEGER NOT NULL, attachable INTEGER NOT NULL, subnet TEXT, gateway TEXT, ip_range TEXT, bridge TEXT, labels TEXT NOT NULL,"
	" created INTEGER NOT NULL) STRICT, WITHOUT ROWID;"

	"CREATE TABLE volumes (name TEXT PRIMARY KEY, stack TEXT, key TEXT, driver TEXT NOT NULL, labels TEXT NOT NULL,"
	" anonymous INTEGER NOT NULL, container TEXT, created INTEGER NOT NULL) STRICT, WITHOUT ROWID;"

	"CREATE TABLE images (id TEXT PRIMARY KEY, config TEXT NOT NULL, created INTEGER NOT NULL, size INTEGER NOT NULL)"
	" STRICT;"
	"CREATE TABLE image_layers (image TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE, pos INTEGER NOT NULL,"
	" diff_id TEXT NOT NULL, size INTEGER NOT NULL, PRIMARY KEY (image, pos)) STRICT, WITHOUT ROWID;"
	"CREATE TABLE tags (ref TEXT PRIMARY KEY, image TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE)"
	" STRICT, WITHOUT ROWID;"
	"CREATE INDEX tags_image ON tags (image);";

/* Releases hang on no stack's row: the first one of a stack is written before the stack is. */
static const char step_2[] =
	"CREATE TABLE releases (stack TEXT NOT NULL, number INTEGER NOT NULL CHECK (number > 0),"
	" kind TEXT NOT NULL CHECK (kind IN ('deploy', 'rollback', 'up')),"
	" result TEXT NOT NULL CHECK (result IN ('running', 'success', 'failed', 'interrupted', 'rolled back')),"
	" current INTEGER NOT NULL, base INTEGER NOT NULL, source INTEGER NOT NULL, created INTEGER NOT NULL, ended INTEGER NOT NULL,"
	" who TEXT, commit_id TEXT, author TEXT, changes TEXT NOT NULL, images TEXT NOT NULL, files TEXT NOT NULL, model TEXT NOT NULL,"
	" made TEXT NOT NULL, report TEXT, PRIMARY KEY (stack, number)) STRICT, WITHOUT ROWID;";

/* Nothing of an address is in it: `target` is a digest (daemon/notify-queue.c). */
static const char step_3[] =
	"CREATE TABLE notices (id TEXT NOT NULL, target TEXT NOT NULL, stack TEXT NOT NULL, text TEXT NOT NULL, created INTEGER NOT NULL,"
	" PRIMARY KEY (id, target)) STRICT, WITHOUT ROWID;";

const char *const schema_steps[] = { step_1, step_2, step_3 };
const int schema_version = ARRAY_SIZE(schema_steps);
