/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/base/db.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <sqlite3.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>
#include <shale/base/str.h>

#include "schema.h"

enum {
	CACHED_MAX = 32,
	BUSY_MS = 30000,
	WAL_TRY_MS = 5,
	WAL_PAGES_MAX = 4000,
	LOG_LONG_BYTES = 256 << 10,
	LOG_MAX_BYTES = 4 << 20, /* then it is cut even if that makes others wait */
	CHECKPOINT_TRIES = 3,
	HURRY_NICE = -20
};

struct db_stmt {
	sqlite3_stmt *s;
	struct db *db;
	const char *sql; /* callers pass literals: the pointer is the key */
	bool in_use, locked;
};

struct after {
	db_after_fn *fn;
	void *arg;
	char *text;
};

struct db {
	sqlite3 *h;
	int lock_fd, depth;
	int nice; /* of this thread, while in_hurry */
	bool in_hurry;
	bool is_ours; /* the schema was found to be this program's */
	int64_t longest_wait_ns;
	enum db_sync sync;
	struct db_stmt cached[CACHED_MAX];
	size_t n_cached;
	struct db_lost lost;
	struct after *after; /* of the transaction */
	size_t n_after, cap_after;
};

/* SQLite's code in errno's words. */
static int db_err(struct db *db, int rc, const char *doing, struct err *err)
{
	static const struct {
		int rc, code;
	} map[] = { { SQLITE_CONSTRAINT, EEXIST }, { SQLITE_FULL, ENOSPC },
		    { SQLITE_BUSY, EBUSY },        { SQLITE_READONLY, EROFS },
		    { SQLITE_CANTOPEN, EIO },      { SQLITE_CORRUPT, EBADMSG },
		    { SQLITE_NOTADB, EBADMSG } };
	int code = EIO;

	for (size_t i = 0; i < ARRAY_LEN(map); i++)
		if ((rc & 0xff) == map[i].rc)
			code = map[i].code;
	if (rc == SQLITE_CONSTRAINT_FOREIGNKEY)
		code = EBUSY;
	err_set(err, code, "database: %s: %s", doing, sqlite3_errmsg(db->h));
	return code == EBADMSG ? err_hint(err, DB_RECOVER_HINT) : -code;
}

static int simple(struct db *db, const char *sql, struct err *err)
{
	int rc = sqlite3_exec(db->h, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : db_err(db, rc, sql, err);
}

/*
 * Who has the lock, and who is woken to take it, goes before those that only compute: of 64 builds
 * on two processors the holder lost its own for 90 ms at a time, and a waiter that came late found
 * the lock taken by a newcomer and queued again. No right to do so: it goes on as it was.
 */
static void hurry(struct db *db, bool on)
{
	if (on == db->in_hurry)
		return;
	if (on)
		db->nice = getpriority(PRIO_PROCESS, 0);
	db->in_hurry = on && setpriority(PRIO_PROCESS, 0, HURRY_NICE) == 0;
	if (!on)
		setpriority(PRIO_PROCESS, 0, db->nice);
}

static void unlock_writers(struct db *db)
{
	flock(db->lock_fd, LOCK_UN);
	hurry(db, false);
}

static int newer(int64_t have, struct err *err)
{
	return err_set(err, ENOTSUP,
		       "the store was made by a newer shale (schema %d, this one knows %d)",
		       (int)have, SCHEMA_VERSION);
}

/*
 * A newer program may have migrated the store since this one opened it. Then nothing more is
 * written: what this one's rows mean may have changed. Migrations hold the same lock.
 */
static int still_ours(struct db *db, struct err *err)
{
	int64_t have = 0;
	int rc = db->is_ours ? db_get_int(db, "PRAGMA user_version", NULL, &have, err) : 0;

	return rc > 0 && have != SCHEMA_VERSION ? newer(have, err) : rc < 0 ? rc : 0;
}

static int lock_writers(struct db *db, struct err *err)
{
	int64_t start, waited_ns;
	int rc;

	hurry(db, true);
	if (flock(db->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		start = proc_mono_ns();
		while (flock(db->lock_fd, LOCK_EX) < 0)
			if (errno != EINTR) {
				err_sys(err, "lock the database");
				hurry(db, false);
				return -err->code;
			}
		waited_ns = proc_mono_ns() - start;
		if (waited_ns > db->longest_wait_ns)
			db->longest_wait_ns = waited_ns;
	}
	rc = still_ours(db, err);
	if (rc < 0)
		unlock_writers(db);
	return rc;
}

int64_t db_longest_wait_ns(const struct db *db)
{
	return db->longest_wait_ns;
}

#define TEXT_OF_(x) #x
#define TEXT_OF(x)  TEXT_OF_(x)

static int migrate_locked(struct db *db, struct err *err)
{
	int64_t have = 0;
	int rc = db_get_int(db, "PRAGMA user_version", NULL, &have, err);

	if (rc >= 0 && have > SCHEMA_VERSION) /* another process was first, and newer */
		return newer(have, err);
	for (; rc >= 0 && have < SCHEMA_VERSION; have++)
		rc = simple(db, schema_step[have], err);
	return rc < 0 ? rc : simple(db, "PRAGMA user_version=" TEXT_OF(SCHEMA_VERSION), err);
}

/* A new database knows none of the layers that are there, and the next sweep would take all of them
 * for garbage. */
static int check_fresh(int root_fd, struct err *err)
{
	auto_strv struct strv layers = { 0 };
	struct err ignored = { 0 };

	if (fs_list(root_fd, "snap", &layers, &ignored) < 0 || !layers.n)
		return 0;
	err_set(err, EBADMSG, "the database is empty, and %zu layers are there", layers.n);
	return err_hint(err, "put it back, or " DB_RECOVER_HINT);
}

static int migrate(struct db *db, int root_fd, struct err *err)
{
	auto_db_tx struct db *tx = NULL;
	int64_t have = 0;
	int rc = db_get_int(db, "PRAGMA user_version", NULL, &have, err);

	if (rc < 0 || have == SCHEMA_VERSION)
		return rc < 0 ? rc : 0;
	if (have > SCHEMA_VERSION)
		return newer(have, err);
	rc = have ? 0 : check_fresh(root_fd, err);
	if (rc >= 0)
		rc = db_tx_begin(db, DB_FULL, &tx, err);
	if (rc >= 0)
		rc = migrate_locked(db, err);
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

static int settle_locked(struct db *db, struct db_lost *lost, struct err *err)
{
	for (const struct schema_settle *s = schema_settle; s->sql; s++) {
		bool asks = strstr(s->sql, "?1");
		int rc = db_run(db, s->sql, asks ? DB_ARGS(DB_T(proc_boot_id())) : NULL, err);

		if (rc < 0)
			return err_ctx(err, "after a crash");
		if (s->counts != SIZE_MAX)
			*(int *)((char *)lost + s->counts) += rc;
	}
	return 0;
}

/*
 * Once per boot. db.lock holds the boot in which that was done: it is open anyway, and reading it
 * costs one call. Losing that mark means to do it once more.
 */
static int settle(struct db *db, struct err *err)
{
	auto_db_tx struct db *tx = NULL;
	struct db_lost lost = { 0 };
	const char *boot = proc_boot_id();
	char seen[PROC_BOOT_ID_LEN + 1] = "";
	int rc;

	if (pread(db->lock_fd, seen, PROC_BOOT_ID_LEN, 0) < 0)
		return err_sys(err, "read db.lock");
	if (str_eq(seen, boot) || strlen(boot) != PROC_BOOT_ID_LEN) /* no /proc: every row would
								       look old */
		return 0;
	rc = db_tx_begin(db, DB_FULL, &tx, err);
	if (rc >= 0)
		rc = settle_locked(db, &lost, err);
	if (rc >= 0)
		rc = db_tx_commit(&tx, err);
	if (rc < 0)
		return rc;
	db->lost = lost;
	/* On a full or read-only disk the next command does it again. */
	rc = (int)pwrite(db->lock_fd, boot, PROC_BOOT_ID_LEN, 0);
	(void)rc;
	return 0;
}

const struct db_lost *db_lost(const struct db *db)
{
	return &db->lost;
}

/* Of several that open a new store at once SQLite lets one change the mode, and refuses the others
 * without waiting: they would wait for each other. */
static int enter_wal(struct db *db, struct err *err)
{
	for (int waited = 0;; waited += WAL_TRY_MS) {
		int rc = simple(db, "PRAGMA journal_mode=WAL", err);

		if (rc != -EBUSY || waited >= BUSY_MS)
			return rc;
		err_clear(err);
		nanosleep(&(struct timespec){ .tv_nsec = WAL_TRY_MS * 1000000L }, NULL);
	}
}

static int configure(struct db *db, int root_fd, struct err *err)
{
	int64_t wal = 0;
	int rc;

	sqlite3_busy_timeout(db->h, BUSY_MS);
	/*
	 * A checkpoint costs more than the transaction, and one inside a commit holds up every
	 * writer for two fsyncs: it is done after the prompt (db_checkpoint). The limit is for a
	 * store where that never happens.
	 */
	sqlite3_wal_autocheckpoint(db->h, WAL_PAGES_MAX);
	sqlite3_db_config(db->h, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sqlite3_extended_result_codes(db->h, 1);
	rc = db_get_int(db, "PRAGMA user_version", NULL, &wal, err);
	if (rc >= 0 && wal == 0)
		rc = enter_wal(db, err);
	if (rc >= 0)
		rc = simple(db, "PRAGMA foreign_keys=ON;PRAGMA synchronous=NORMAL", err);
	if (rc >= 0)
		rc = migrate(db, root_fd, err);
	if (rc < 0)
		return rc;
	db->is_ours = true;
	return settle(db, err);
}

/*
 * For a process that lives for milliseconds: pages as they are needed instead of a pool of a
 * hundred (each a page fault, half of what opening cost), no statistics, no mutexes (one thread
 * uses it). Refused once SQLite runs, which is as good.
 */
static void configure_library(void)
{
	sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	sqlite3_config(SQLITE_CONFIG_PAGECACHE, NULL, 0, 0);
}

int db_open(int root_fd, struct db **ret, struct err *err)
{
	struct db *db = mem_alloc(sizeof(*db));
	char dir[FD_PATH_MAX];
	auto_free char *path = mem_fmt("%s/db.sqlite", fd_path(root_fd, dir));
	int rc;

	db->lock_fd = openat(root_fd, "db.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (db->lock_fd < 0) {
		free(db);
		return err_sys(err, "open db.lock");
	}
	configure_library();
	rc = sqlite3_open_v2(path, &db->h,
			     SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
			     NULL);
	rc = rc == SQLITE_OK ? configure(db, root_fd, err) : db_err(db, rc, "open", err);
	if (rc < 0) {
		db_close(db);
		return rc;
	}
	*ret = db;
	return 0;
}

/* The syncs of a checkpoint are done while others write; what is left for the one that keeps them
 * out is to cut the log. */
static int checkpoint_beside(struct db *db, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc = db_query(db, "PRAGMA wal_checkpoint(PASSIVE)", NULL, &st, err);

	return rc < 0 ? rc : db_step(st, err);
}

static sqlite3_file *log_of(struct db *db, int *ret_rc)
{
	sqlite3_file *log = NULL;

	*ret_rc = sqlite3_file_control(db->h, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
	return *ret_rc == SQLITE_OK && log && log->pMethods ? log : NULL;
}

static bool is_log_over(struct db *db, sqlite3_int64 limit)
{
	sqlite3_int64 bytes = 0;
	int rc;
	sqlite3_file *log = log_of(db, &rc);

	return log && log->pMethods->xFileSize(log, &bytes) == SQLITE_OK && bytes > limit;
}

bool db_is_log_long(struct db *db)
{
	return is_log_over(db, LOG_LONG_BYTES);
}

int db_sync(struct db *db, struct err *err)
{
	int rc;
	sqlite3_file *log = log_of(db, &rc);

	if (log)
		rc = log->pMethods->xSync(log, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY);
	/* Not a statement's: the handle knows nothing of it. */
	return rc == SQLITE_OK ? 0 : err_set(err, EIO, "database: sync: %s", sqlite3_errstr(rc));
}

/* Cut while no writer can come, so its first frame is written here: for a command it would cost an
 * fsync. Not synced inside: beside a neighbour's dirty pages that takes a tenth of a second. That
 * is safe of a log cut to nothing, behind whose header no old frame can stand when a power cut
 * loses it, and of no other: one that a reader keeps would begin anew over its old frames. What is
 * written says nothing that was not there. */
static int cut_log(struct db *db, struct err *err)
{
	bool is_cut;
	int rc;

	sqlite3_busy_timeout(db->h, 0); /* who reads keeps it; the next one cuts it */
	rc = simple(db, "PRAGMA wal_checkpoint(TRUNCATE)", err);
	is_cut = rc >= 0 && !is_log_over(db, 0);
	if (is_cut)
		rc = simple(db, "PRAGMA synchronous=OFF", err);
	if (is_cut && rc >= 0)
		rc = simple(db, "PRAGMA application_id=0x7368616c", err);
	simple(db, "PRAGMA synchronous=NORMAL", &(struct err){ 0 });
	db->sync = DB_LAZY;
	sqlite3_busy_timeout(db->h, BUSY_MS);
	return rc;
}

/* Whoever commits meanwhile leaves frames that the cut would sync: then it is tried once more. */
int db_checkpoint(struct db *db, struct err *err)
{
	static const char version[] = "PRAGMA data_version";
	int64_t before = 0, now = 0;
	int rc = 0;

	for (int left = CHECKPOINT_TRIES; rc >= 0 && left; left--) {
		rc = db_get_int(db, version, NULL, &before, err);
		if (rc >= 0)
			rc = checkpoint_beside(db, err);
		if (rc >= 0)
			rc = lock_writers(db, err);
		if (rc < 0)
			return rc;
		rc = db_get_int(db, version, NULL, &now, err);
		if (rc >= 0 && (now == before || is_log_over(db, LOG_MAX_BYTES))) {
			rc = cut_log(db, err);
			left = 1;
		}
		unlock_writers(db);
	}
	return rc < 0 ? rc : db_sync(db, err);
}

void db_close(struct db *db)
{
	if (!db)
		return;
	db_rollback(db);
	for (size_t i = 0; i < db->n_cached; i++)
		sqlite3_finalize(db->cached[i].s);
	sqlite3_close(db->h);
	close(db->lock_fd);
	free(db->after);
	free(db);
}

void db_after_commit(struct db *db, db_after_fn *fn, void *arg, char *text)
{
	if (!db->depth) {
		fn(arg, text);
		free(text);
		return;
	}
	mem_room(db->after, db->n_after, db->cap_after);
	db->after[db->n_after++] = (struct after){ fn, arg, text };
}

static void end_after(struct db *db, bool is_committed)
{
	for (size_t i = 0; i < db->n_after; i++) {
		if (is_committed)
			db->after[i].fn(db->after[i].arg, db->after[i].text);
		free(db->after[i].text);
	}
	db->n_after = 0;
}

int db_begin(struct db *db, enum db_sync sync, struct err *err)
{
	int rc;

	if (db->depth++ > 0)
		return 0;
	rc = lock_writers(db, err);
	if (rc >= 0 && sync != db->sync) {
		rc = simple(db,
			    sync == DB_FULL ? "PRAGMA synchronous=FULL"
					    : "PRAGMA synchronous=NORMAL",
			    err);
		db->sync = sync;
	}
	if (rc >= 0)
		rc = db_run(db, "BEGIN IMMEDIATE", NULL, err);
	if (rc < 0) {
		db->depth = 0;
		unlock_writers(db);
		return rc;
	}
	return 0;
}

int db_commit(struct db *db, struct err *err)
{
	int rc;

	if (--db->depth > 0)
		return 0;
	db->depth = 1; /* the statement itself runs inside */
	fault_point("db.commit.rows");
	rc = db_run(db, "COMMIT", NULL, err);
	if (rc < 0) {
		db_rollback(db);
		return rc;
	}
	fault_point("db.commit.done");
	db->depth = 0;
	unlock_writers(db);
	end_after(db, true);
	return 0;
}

void db_rollback(struct db *db)
{
	struct err ignored;

	if (!db->depth)
		return;
	if (!sqlite3_get_autocommit(db->h))
		simple(db, "ROLLBACK", &ignored);
	db->depth = 0;
	unlock_writers(db);
	end_after(db, false);
}

void db_tx_cleanup(struct db **tx)
{
	if (*tx)
		db_rollback(*tx);
	*tx = NULL;
}

int db_tx_begin(struct db *db, enum db_sync sync, struct db **ret_tx, struct err *err)
{
	int rc = db_begin(db, sync, err);

	if (rc >= 0)
		*ret_tx = db;
	return rc;
}

int db_tx_commit(struct db **tx, struct err *err)
{
	return db_commit(take(*tx), err);
}

static int prepare(struct db *db, const char *sql, struct db_stmt **ret, struct err *err)
{
	struct db_stmt *st = NULL;
	int rc;

	for (size_t i = 0; i < db->n_cached && !st; i++)
		if (db->cached[i].sql == sql && !db->cached[i].in_use)
			st = &db->cached[i];
	if (!st) {
		bool keep = db->n_cached < CACHED_MAX;
		sqlite3_stmt *s;

		rc = sqlite3_prepare_v2(db->h, sql, -1, &s, NULL);
		if (rc != SQLITE_OK)
			return db_err(db, rc, sql, err);
		st = keep ? &db->cached[db->n_cached++] : mem_alloc(sizeof(*st));
		*st = (struct db_stmt){ .s = s, .db = db, .sql = keep ? sql : NULL };
	}
	st->in_use = true;
	*ret = st;
	return 0;
}

void db_ready(struct db *db, const char *sql)
{
	auto_db_stmt struct db_stmt *st = NULL;
	struct err ignored;

	prepare(db, sql, &st, &ignored);
}

static int bind(struct db_stmt *st, const struct db_arg *args, struct err *err)
{
	int rc = SQLITE_OK;

	for (int i = 1; args && args->type != DB_END && rc == SQLITE_OK; i++, args++) {
		if (args->type == DB_TYPE_INT)
			rc = sqlite3_bind_int64(st->s, i, args->i);
		else if (!args->p)
			rc = sqlite3_bind_null(st->s, i);
		else if (args->type == DB_TYPE_TEXT)
			rc = sqlite3_bind_text(st->s, i, args->p, -1, SQLITE_TRANSIENT);
		else
			rc = sqlite3_bind_blob64(st->s, i, args->p, (sqlite3_uint64)args->i,
						 SQLITE_TRANSIENT);
	}
	return rc == SQLITE_OK ? 0 : db_err(st->db, rc, "bind", err);
}

int db_query(struct db *db, const char *sql, const struct db_arg *args, struct db_stmt **ret,
	     struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc = prepare(db, sql, &st, err);

	if (rc >= 0 && st)
		rc = bind(st, args, err);
	if (rc < 0)
		return rc;
	*ret = take(st);
	return 0;
}

void db_stmt_cleanup(struct db_stmt **pst)
{
	struct db_stmt *st = *pst;

	*pst = NULL;
	if (!st)
		return;
	sqlite3_reset(st->s);
	sqlite3_clear_bindings(st->s);
	if (st->locked)
		unlock_writers(st->db);
	st->in_use = st->locked = false;
	if (st->sql)
		return;
	sqlite3_finalize(st->s);
	free(st);
}

int db_step(struct db_stmt *st, struct err *err)
{
	int rc = sqlite3_step(st->s);

	if (rc == SQLITE_ROW)
		return 1;
	return rc == SQLITE_DONE ? 0 : db_err(st->db, rc, sqlite3_sql(st->s), err);
}

int db_run(struct db *db, const char *sql, const struct db_arg *args, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc = db_query(db, sql, args, &st, err);

	if (rc >= 0 && !db->depth && !sqlite3_stmt_readonly(st->s)) {
		rc = lock_writers(db, err);
		st->locked = rc >= 0;
	}
	while (rc >= 0 && (rc = db_step(st, err)) > 0)
		;
	return rc < 0 ? rc : sqlite3_changes(db->h);
}

int64_t db_last_id(struct db *db)
{
	return sqlite3_last_insert_rowid(db->h);
}

int64_t db_col_int(struct db_stmt *st, int col)
{
	return sqlite3_column_int64(st->s, col);
}

const char *db_col_str(struct db_stmt *st, int col)
{
	return (const char *)sqlite3_column_text(st->s, col);
}

int db_get_int(struct db *db, const char *sql, const struct db_arg *args, int64_t *ret,
	       struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc = db_query(db, sql, args, &st, err);

	if (rc >= 0)
		rc = db_step(st, err);
	if (rc > 0)
		*ret = db_col_int(st, 0);
	return rc;
}

int db_get_str(struct db *db, const char *sql, const struct db_arg *args, char **ret,
	       struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc = db_query(db, sql, args, &st, err);

	if (rc >= 0)
		rc = db_step(st, err);
	if (rc > 0)
		*ret = mem_str(db_col_str(st, 0));
	return rc;
}
