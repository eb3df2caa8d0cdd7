/* SPDX-License-Identifier: Apache-2.0 */
/*
 * db: the store's rows, in SQLite (WAL). One connection a process, opened in main, never used
 * across a fork, used by the main thread only. The schema of all modules stands in schema.c.
 *
 * Writers queue on a flock of our own, since SQLite's back-off starves at 200 processes. No
 * transaction spans a disk walk, network, RUN or wait. Crash rule: files first, then the row;
 * remove the row, then the files.
 */
#ifndef SHALE_BASE_DB_H
#define SHALE_BASE_DB_H

#include <stdbool.h>
#include <stdint.h>

#include <shale/base/err.h>
#include <shale/base/mem.h>

struct db;
struct db_stmt;

/* What to do about a database that is damaged or missing. */
#define DB_RECOVER_HINT                                                                            \
	"shale recover makes it anew from the layers, configs and containers that are there"

enum db_sync {
	DB_LAZY, /* synchronous=NORMAL: a power cut may lose it, whole */
	DB_FULL, /* on disk when db_commit returns */
};

/* Opens root_fd/db.sqlite, makes the schema, migrates an older one, refuses a newer one (-ENOTSUP).
 */
int db_open(int root_fd, struct db **ret, struct err *err);
void db_close(struct db *db);
/* Is root_fd/db.sqlite whole? Nothing is written. -EBADMSG says what is wrong with it, -ENOTSUP: a
 * newer one. */
int db_check(int root_fd, struct err *err);

/*
 * What db_open dropped because the machine went down before it was on the disk: whoever opens the
 * store first in a boot drops it, and tells. All 0 otherwise.
 */
struct db_lost {
	int images, containers, steps, tags_back, tags_gone; /* tags that name an older image now;
								tags that had none */
};
const struct db_lost *db_lost(const struct db *db);
/* Moves the WAL into the database; where others read or write, as much as can be. For after the
 * prompt. */
int db_checkpoint(struct db *db, struct err *err);
/* Worth a checkpoint: each command that is alone reads the whole log first, a quarter of a
 * millisecond for so much. */
bool db_is_log_long(struct db *db);

/* All that was committed before, by any process, is on disk when it returns: before files go whose
 * rows went DB_LAZY. */
int db_sync(struct db *db, struct err *err);
/* The longest time that this process has queued for the write lock. */
int64_t db_longest_wait_ns(const struct db *db);

/* Write transactions nest by count; the outermost one locks and commits. -ENOTSUP when a newer
 * shale has migrated the store in the meantime: nothing is written then. */
int db_begin(struct db *db, enum db_sync sync, struct err *err);
int db_commit(struct db *db, struct err *err);
void db_rollback(struct db *db); /* harmless outside a transaction */

/* Called when the outermost transaction is committed, in the order of the calls; a rollback drops
 * it. Outside a transaction: at once. text is taken. */
typedef void db_after_fn(void *arg, const char *text);
void db_after_commit(struct db *db, db_after_fn *fn, void *arg, char *text);

/* For scopes: auto_db_tx struct db *tx = NULL; rolls back what was not committed. db_tx_begin sets
 * it. */
#define auto_db_tx cleanup(db_tx_cleanup)
void db_tx_cleanup(struct db **tx);
int db_tx_begin(struct db *db, enum db_sync sync, struct db **ret_tx, struct err *err);
int db_tx_commit(struct db **tx, struct err *err);

enum db_type { DB_END, DB_TYPE_TEXT, DB_TYPE_INT, DB_TYPE_BLOB };
struct db_arg {
	enum db_type type;
	const void *p; /* NULL text or blob binds NULL */
	int64_t i;     /* the integer, or the blob's length */
};
#define DB_T(s)                                                                                    \
	{                                                                                          \
		DB_TYPE_TEXT, (s), 0                                                               \
	}
#define DB_I(v)                                                                                    \
	{                                                                                          \
		DB_TYPE_INT, NULL, (v)                                                             \
	}
#define DB_B(ptr, len)                                                                             \
	{                                                                                          \
		DB_TYPE_BLOB, (ptr), (int64_t)(len)                                                \
	}
/* Values for ?1, ?2 …: db_run(db, "DELETE FROM tags WHERE name=?1", DB_ARGS(DB_T(name)), err) */
#define DB_ARGS(...) ((const struct db_arg[]){ __VA_ARGS__, { DB_END, NULL, 0 } })

/* One statement without a result; the number of rows changed. Outside a transaction it is one of
 * its own (DB_LAZY). */
/* Compiles what will be run soon, while nobody waits. sql: the same pointer as then. */
void db_ready(struct db *db, const char *sql);
int db_run(struct db *db, const char *sql, const struct db_arg *args, struct err *err);
int64_t db_last_id(struct db *db);
/* First column of the first row: 1, or 0 when there is no row (ret untouched). */
int db_get_int(struct db *db, const char *sql, const struct db_arg *args, int64_t *ret,
	       struct err *err);
int db_get_str(struct db *db, const char *sql, const struct db_arg *args, char **ret,
	       struct err *err);

/* Rows: auto_db_stmt struct db_stmt *st = NULL; db_query(…, &st, err); while ((rc = db_step(st,
 * err)) > 0) … */
#define auto_db_stmt cleanup(db_stmt_cleanup)
void db_stmt_cleanup(struct db_stmt **st);
int db_query(struct db *db, const char *sql, const struct db_arg *args, struct db_stmt **ret,
	     struct err *err);
int db_step(struct db_stmt *st, struct err *err); /* 1 a row, 0 the end */
int64_t db_col_int(struct db_stmt *st, int col);
const char *db_col_str(struct db_stmt *st, int col); /* NULL for NULL; until the next db_step */

#endif
