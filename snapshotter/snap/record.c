/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the row of a snapshot says, once more, in an attribute of snap/<id>: whoever has lost the
 * database finds there what rests on what. It fits into the inode and costs no write of its own.
 * The row is the truth; where the attribute cannot be written it is missing.
 */
#include <shale/snap.h>

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>
#include <shale/base/str.h>

#include "priv.h"

#define RECORD_NAME "trusted.shale.snap"

struct record {
	uint8_t version, kind, flags, unused[5];
	uint64_t parent, created;
};

enum { RECORD_VERSION = 1 };

static const char *record_path(struct snap *s, int64_t id, char *buf, size_t n)
{
	snprintf(buf, n, "/proc/self/fd/%d/%" PRId64, s->snap_fd, id);
	return buf;
}

void snap_record(struct snap *s, const struct snap_info *info)
{
	struct record r = { .version = RECORD_VERSION,
			    .kind = (uint8_t)info->kind,
			    .flags = (uint8_t)info->flags,
			    .parent = htole64((uint64_t)info->parent),
			    .created = htole64((uint64_t)info->created_s) };
	char path[FD_PATH_MAX + SNAP_NAME_MAX];

	(void)!setxattr(record_path(s, info->id, path, sizeof(path)), RECORD_NAME, &r, sizeof(r),
			0);
}

static bool read_record(struct snap *s, int64_t id, struct snap_info *ret)
{
	char path[FD_PATH_MAX + SNAP_NAME_MAX];
	struct record r = { 0 };

	if (getxattr(record_path(s, id, path, sizeof(path)), RECORD_NAME, &r, sizeof(r)) !=
		    (ssize_t)sizeof(r) ||
	    r.version != RECORD_VERSION)
		return false;
	*ret = (struct snap_info){ .id = id,
				   .parent = (int64_t)le64toh(r.parent),
				   .kind = (enum snap_kind)r.kind,
				   .flags = r.flags,
				   .created_s = (int64_t)le64toh(r.created) };
	return true;
}

static int record_one(const struct snap_info *info, void *arg, struct err *err)
{
	struct snap_info have;

	(void)err;
	if (!read_record(arg, info->id, &have) || have.kind != info->kind ||
	    have.parent != info->parent)
		snap_record(arg, info);
	return 0;
}

int snap_record_all(struct snap *s, struct err *err)
{
	return snap_walk(s, record_one, s, err);
}

/* --- without a database --- */

struct found {
	struct snap_info info;
	enum { UNKNOWN, GOOD, BAD } is;
};

struct search {
	struct found *v;
	size_t n, cap;
};

static void search_free(struct search *l)
{
	free(l->v);
}

static int by_id(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	return (x->info.id > y->info.id) - (x->info.id < y->info.id);
}

/* Nobody may have it mounted: what its keeper would write, it would write into the lost one. */
static int look_at(struct snap *s, int64_t id, struct search *l, struct strv *ret_lost,
		   struct err *err)
{
	auto_fd int lock = snap_lock_dir(s, id, err);
	struct found f = { .is = UNKNOWN };

	if (lock < 0)
		return fd_take(&lock);
	if (!read_record(s, id, &f.info)) {
		strv_addf(ret_lost, "layer %" PRId64 ": nothing says what it rests on", id);
		return 0;
	}
	mem_room(l->v, l->n, l->cap);
	l->v[l->n++] = f;
	return 0;
}

static int look(struct snap *s, struct search *l, struct strv *ret_lost, struct err *err)
{
	auto_strv struct strv names = { 0 };
	int rc = fs_list(s->store_fd, "snap", &names, err);

	for (size_t i = 0; rc >= 0 && i < names.n; i++) {
		uint64_t id;

		if (str_to_u64(names.v[i], 10, INT64_MAX, &id) == 0 && id)
			rc = look_at(s, (int64_t)id, l, ret_lost, err);
	}
	if (l->n)
		qsort(l->v, l->n, sizeof(*l->v), by_id);
	return rc;
}

/* Until nothing changes: most rest on one of a lower number, and that is one pass. */
static void judge(struct search *l, struct strv *ret_lost)
{
	for (bool again = true; again;) {
		again = false;
		for (size_t i = 0; i < l->n; i++) {
			struct found *f = &l->v[i];
			struct found key = { .info.id = f->info.parent };
			struct found *parent;

			if (f->is != UNKNOWN)
				continue;
			parent = f->info.parent ? bsearch(&key, l->v, l->n, sizeof(key), by_id)
						: NULL;
			if (!f->info.parent)
				f->is = GOOD;
			else if (!parent || parent->info.kind != SNAP_COMMITTED)
				f->is = BAD;
			else
				f->is = parent->is;
			again = again || f->is != UNKNOWN;
		}
	}
	for (size_t i = 0; i < l->n; i++)
		if (l->v[i].is != GOOD)
			strv_addf(ret_lost,
				  "layer %" PRId64 ": layer %" PRId64 " beneath it is lost",
				  l->v[i].info.id, l->v[i].info.parent);
}

static int insert(struct snap *s, const struct snap_info *info, struct err *err)
{
	int rc = db_run(
		s->db,
		"INSERT INTO snapshots(id,key,kind,flags,created,boot) VALUES(?1,?1,?2,?3,?4,?5)",
		DB_ARGS(DB_I(info->id), DB_I(info->kind), DB_I(info->flags), DB_I(info->created_s),
			DB_T(proc_boot_id())),
		err);

	return rc < 0 ? err_ctx(err, "layer %" PRId64, info->id) : 0;
}

int snap_recover(struct snap *s, struct strv *ret_lost, struct err *err)
{
	cleanup(search_free) struct search l = { 0 };
	auto_db_tx struct db *tx = NULL;
	int rc = look(s, &l, ret_lost, err);

	if (rc < 0)
		return rc;
	judge(&l, ret_lost);
	rc = db_tx_begin(s->db, DB_FULL, &tx, err);
	for (size_t i = 0; rc >= 0 && i < l.n; i++)
		if (l.v[i].is == GOOD)
			rc = insert(s, &l.v[i].info, err);
	/* A parent may have the higher number: layers are unpacked side by side. */
	for (size_t i = 0; rc >= 0 && i < l.n; i++)
		if (l.v[i].is == GOOD && l.v[i].info.parent)
			rc = db_run(s->db, "UPDATE snapshots SET parent=?2 WHERE id=?1",
				    DB_ARGS(DB_I(l.v[i].info.id), DB_I(l.v[i].info.parent)), err);
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}
