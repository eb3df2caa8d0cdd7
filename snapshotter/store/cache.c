/* SPDX-License-Identifier: Apache-2.0 */
/* Cache mounts. Files first, then the row; the row goes before the files. */
#include <shale/store.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>
#include <shale/base/str.h>

#include "priv.h"

enum { PARTS_MAX = 1000, ROUNDS_MAX = 100, TOUCH_S = 60, HOLDER_MAX = 4096 };

void store_cache_release(struct cache_held *h)
{
	fd_close(&h->data_fd);
	fd_close(&h->lock_fd);
	free(take(h->holder));
}

static void path_of(char buf[64], const char *name)
{
	snprintf(buf, 64, "cache/%s", name);
}

static int open_dir(struct store *st, const char *name)
{
	char path[64];

	path_of(path, name);
	return openat(st->store_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int to_trash(struct store *st, const char *name, struct err *err)
{
	char from[64], to[80];

	path_of(from, name);
	snprintf(to, sizeof(to), "trash/cache-%s", name);
	if (renameat(st->store_fd, from, st->store_fd, to) < 0 && errno != ENOENT)
		return err_sys(err, "rename %s to %s", from, to);
	return 0;
}

/* The directory, held alone so that no sweeper takes it for garbage before its row stands. */
static int make_dir(struct store *st, const struct cache_want *w, struct cache_held *h,
		    struct err *err)
{
	char path[64];
	int rc;

	proc_random_hex(h->name, CACHE_NAME_LEN);
	path_of(path, h->name);
	rc = fs_mkdir(st->store_fd, "cache", 0700, err);
	if (rc < 0)
		return rc;
	if (mkdirat(st->store_fd, path, 0700) < 0)
		return err_sys(err, "make %s", path);
	h->lock_fd = open_dir(st, h->name);
	if (h->lock_fd < 0 || flock(h->lock_fd, LOCK_EX) < 0)
		return err_sys(err, "open %s", path);
	if (mkdirat(h->lock_fd, "data", 0700) < 0)
		return err_sys(err, "make %s/data", path);
	h->data_fd = openat(h->lock_fd, "data", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (h->data_fd < 0)
		return err_sys(err, "open %s/data", path);
	rc = w->fill ? w->fill(h->data_fd, w->arg, err) : 0;
	/* A seeded one looks as its seed does. */
	if (rc >= 0 && !w->fill &&
	    (fchown(h->data_fd, w->uid, w->gid) < 0 || fchmod(h->data_fd, w->mode & 07777) < 0))
		return err_sys(err, "attributes of %s/data", path);
	return rc;
}

/* 1: the row is ours; 0: somebody else's is there. */
static int insert(struct store *st, const struct cache_want *w, int part, const char *name,
		  struct err *err)
{
	return db_run(st->db,
		      "INSERT OR IGNORE INTO cache_mounts(name,id,seed,part,created,used)"
		      " VALUES(?1,?2,?3,?4,?5,?5)",
		      DB_ARGS(DB_T(name), DB_T(w->id), DB_T(w->seed ? w->seed : ""), DB_I(part),
			      DB_I(time(NULL))),
		      err);
}

static int create(struct store *st, const struct cache_want *w, int part, struct err *err)
{
	auto_cache_held struct cache_held h = CACHE_HELD_INIT;
	struct err ignored;
	int rc = make_dir(st, w, &h, err);

	fault_point("store.cache.made");
	if (rc >= 0)
		rc = insert(st, w, part, h.name, err);
	/* It failed, or somebody else was faster. */
	if (rc <= 0 && *h.name)
		to_trash(st, h.name, &ignored);
	return rc < 0 ? rc : 0;
}

static void read_holder(struct cache_held *h)
{
	struct err ignored;
	auto_free char *text = NULL;

	if (fd_read_file(h->lock_fd, "holder", HOLDER_MAX, &text, NULL, &ignored) >= 0 && *text)
		h->holder = take(text);
}

static void write_holder(struct cache_held *h, const struct cache_want *w)
{
	auto_free char *text = mem_fmt("process %d%s%.200s", (int)getpid(), w->user ? ": " : "",
				       w->user ? w->user : "");
	struct err ignored;

	fd_write_file(h->lock_fd, "holder", text, strlen(text), 0600, &ignored);
}

enum found { FOUND_HELD = 1, FOUND_BUSY, FOUND_GONE };

/* The row's directory: held, held by another, or not there any more. */
static int take_hold(struct store *st, const struct cache_want *w, struct cache_held *h,
		     struct err *err)
{
	bool alone = w->sharing != CACHE_SHARED;
	int64_t used;
	int rc;

	h->lock_fd = open_dir(st, h->name);
	if (h->lock_fd < 0 && errno == ENOENT)
		return FOUND_GONE;
	if (h->lock_fd < 0)
		return err_sys(err, "open cache/%s", h->name);
	if (flock(h->lock_fd, (alone ? LOCK_EX : LOCK_SH) | LOCK_NB) < 0)
		return FOUND_BUSY;
	/* It may have been removed between the row and the lock. */
	rc = db_get_int(st->db, "SELECT used FROM cache_mounts WHERE name=?1",
			DB_ARGS(DB_T(h->name)), &used, err);
	if (rc <= 0)
		return rc < 0 ? rc : FOUND_GONE;
	h->data_fd = openat(h->lock_fd, "data", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (h->data_fd < 0)
		return errno == ENOENT ? FOUND_GONE : err_sys(err, "open cache/%s/data", h->name);
	if (alone)
		write_holder(h, w);
	if (used + TOUCH_S < time(NULL))
		rc = db_run(st->db, "UPDATE cache_mounts SET used=?2 WHERE name=?1",
			    DB_ARGS(DB_T(h->name), DB_I(time(NULL))), err);
	return rc < 0 ? rc : FOUND_HELD;
}

/* A power cut took the files and left the row. */
static int forget(struct store *st, const char *name, struct err *err)
{
	return db_run(st->db, "DELETE FROM cache_mounts WHERE name=?1", DB_ARGS(DB_T(name)), err);
}

static int find(struct store *st, const struct cache_want *w, int part, struct cache_held *h,
		struct err *err)
{
	auto_free char *name = NULL;
	int rc = db_get_str(
		st->db, "SELECT name FROM cache_mounts WHERE id=?1 AND seed=?2 AND part=?3",
		DB_ARGS(DB_T(w->id), DB_T(w->seed ? w->seed : ""), DB_I(part)), &name, err);

	if (rc > 0)
		snprintf(h->name, sizeof(h->name), "%s", name);
	return rc;
}

int store_cache_hold(struct store *st, const struct cache_want *w, struct cache_held *ret,
		     struct err *err)
{
	int part = 0;

	for (int i = 0; i < ROUNDS_MAX + PARTS_MAX && part < PARTS_MAX; i++) {
		auto_cache_held struct cache_held h = CACHE_HELD_INIT;
		int rc = find(st, w, part, &h, err);

		if (rc == 0) {
			rc = create(st, w, part, err);
			if (rc < 0)
				return rc;
			continue;
		}
		rc = rc < 0 ? rc : take_hold(st, w, &h, err);
		if (rc == FOUND_HELD) {
			*ret = h;
			h = (struct cache_held)CACHE_HELD_INIT;
			return 1;
		}
		if (rc == FOUND_BUSY && w->sharing != CACHE_PRIVATE) {
			read_holder(&h);
			ret->holder = take(h.holder);
			return 0;
		}
		part += rc == FOUND_BUSY;
		if (rc == FOUND_GONE)
			rc = forget(st, h.name, err);
		if (rc < 0)
			return rc;
	}
	return err_set(err, EBUSY, "cache mount %s: all of %d are in use", w->id, PARTS_MAX);
}

static int exchange(struct store *st, const struct cache_want *w, const char *name,
		    struct cache_held *old, struct err *err)
{
	auto_db_tx struct db *tx = NULL;
	int rc = db_tx_begin(st->db, DB_LAZY, &tx, err);

	if (rc >= 0)
		rc = find(st, w, 0, old, err);
	if (rc > 0)
		rc = forget(st, old->name, err);
	if (rc >= 0)
		rc = insert(st, w, 0, name, err);
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

int store_cache_replace(struct store *st, const struct cache_want *w, struct err *err)
{
	auto_cache_held struct cache_held h = CACHE_HELD_INIT, old = CACHE_HELD_INIT;
	struct err ignored;
	int rc = make_dir(st, w, &h, err);

	if (rc >= 0)
		rc = exchange(st, w, h.name, &old, err);
	fault_point("store.cache.exchanged");
	if (rc < 0) {
		to_trash(st, h.name, &ignored);
		return rc;
	}
	/* One that is in use is the sweeper's, later. */
	old.lock_fd = *old.name ? open_dir(st, old.name) : -1;
	if (old.lock_fd >= 0 && flock(old.lock_fd, LOCK_EX | LOCK_NB) == 0)
		to_trash(st, old.name, &ignored);
	return 0;
}

static bool is_held(struct store *st, const char *name)
{
	auto_fd int fd = open_dir(st, name);

	return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0;
}

int store_cache_walk(struct store *st, store_cache_fn *fn, void *arg, struct err *err)
{
	auto_db_stmt struct db_stmt *rows = NULL;
	auto_strv struct strv text = { 0 };
	auto_free struct cache_info *v = NULL;
	size_t n = 0, cap = 0;
	int rc = db_query(st->db,
			  "SELECT name,id,seed,created,used,part FROM cache_mounts"
			  " ORDER BY id,seed,part",
			  NULL, &rows, err);

	/* Read first: fn may write. */
	while (rc >= 0 && (rc = db_step(rows, err)) > 0) {
		mem_room(v, n, cap);
		v[n++] = (struct cache_info){ .created_s = db_col_int(rows, 3),
					      .used_s = db_col_int(rows, 4),
					      .part = db_col_int(rows, 5) };
		for (int col = 0; col < 3; col++)
			strv_add(&text, db_col_str(rows, col));
	}
	db_stmt_cleanup(&rows);
	rows = NULL;
	for (size_t i = 0; i < n && rc >= 0; i++) {
		v[i].name = text.v[3 * i];
		v[i].id = text.v[3 * i + 1];
		v[i].seed = text.v[3 * i + 2];
		v[i].in_use = is_held(st, v[i].name);
		rc = fn(&v[i], arg, err);
	}
	return rc < 0 ? rc : 0;
}

static int busy(struct cache_held *h, struct err *err)
{
	read_holder(h);
	return err_set(err, EBUSY, "it is in use%s%s", h->holder ? " by " : "",
		       h->holder ? h->holder : "");
}

int store_cache_remove(struct store *st, const char *name, struct err *err)
{
	auto_cache_held struct cache_held h = CACHE_HELD_INIT;
	int rc;

	h.lock_fd = open_dir(st, name);
	if (h.lock_fd < 0 && errno != ENOENT)
		return err_sys(err, "open cache/%s", name);
	if (h.lock_fd >= 0 && flock(h.lock_fd, LOCK_EX | LOCK_NB) < 0)
		return busy(&h, err);
	rc = forget(st, name, err);
	fault_point("store.cache.forgotten");
	return rc < 0 ? rc : to_trash(st, name, err);
}

int store_cache_sweep(struct store *st, struct err *err)
{
	auto_strv struct strv names = { 0 };
	int rc;

	if (faccessat(st->store_fd, "cache", F_OK, 0) < 0)
		return 0;
	rc = fs_list(st->store_fd, "cache", &names, err);
	for (size_t i = 0; i < names.n && rc >= 0; i++) {
		const char *name = names.v[i];
		auto_fd int lock = -1;
		int64_t one;

		if (strlen(name) != CACHE_NAME_LEN ||
		    strspn(name, "0123456789abcdef") != CACHE_NAME_LEN)
			continue;
		lock = open_dir(st, name);
		if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) < 0)
			continue;
		rc = db_get_int(st->db, "SELECT 1 FROM cache_mounts WHERE name=?1",
				DB_ARGS(DB_T(name)), &one, err);
		if (rc == 0)
			rc = to_trash(st, name, err);
	}
	return rc < 0 ? rc : 0;
}

int store_cache_share(struct store *st, const char *name, struct cache_held *ret, struct err *err)
{
	auto_cache_held struct cache_held h = CACHE_HELD_INIT;
	const struct cache_want w = { .sharing = CACHE_SHARED };
	int rc;

	snprintf(h.name, sizeof(h.name), "%s", name);
	rc = take_hold(st, &w, &h, err);
	if (rc < 0)
		return rc;
	if (rc == FOUND_BUSY)
		return busy(&h, err);
	if (rc == FOUND_GONE)
		return err_set(err, ENOENT, "no cache mount %s", name);
	*ret = h;
	h = (struct cache_held)CACHE_HELD_INIT;
	return 0;
}

int store_cache_find(struct store *st, const char *text, struct strv *ret_names, struct err *err)
{
	static const char *const sql[] = {
		"SELECT name FROM cache_mounts WHERE id=?1 ORDER BY seed,part",
		"SELECT name FROM cache_mounts WHERE substr(name,1,length(?1))=?1 AND length(?1)>=4",
	};
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(sql) && rc >= 0 && !ret_names->n; i++) {
		auto_db_stmt struct db_stmt *rows = NULL;

		rc = db_query(st->db, sql[i], DB_ARGS(DB_T(text)), &rows, err);
		while (rc >= 0 && (rc = db_step(rows, err)) > 0)
			strv_add(ret_names, db_col_str(rows, 0));
	}
	if (rc < 0)
		return rc;
	return ret_names->n ? 0 : err_set(err, ENOENT, "no cache mount %s", text);
}

int store_cache_usage(struct store *st, const char *name, uint64_t *ret_bytes, struct err *err)
{
	char path[64];

	path_of(path, name);
	return fs_usage(st->store_fd, path, ret_bytes, NULL, err);
}
