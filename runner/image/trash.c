/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The trash: an image that was removed is a row of another table, and its layers stay where they
 * are, which makes a removal one transaction and its undoing another. Emptying is what deletes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <shale/base/fault.h>
#include <shale/base/json.h>
#include <shale/base/proc.h>
#include <shale/snap.h>
#include <shale/store.h>

#include "priv.h"

static void entry_free(struct image_trashed *t)
{
	strv_free(&t->tags);
}

static int names_of(const char *text, struct strv *ret, struct err *err)
{
	auto_json json_t *o = NULL;
	int rc = json_parse(text, strlen(text), &o, err);

	if (rc >= 0)
		json_get_strv(o, "tags", ret);
	return rc < 0 ? err_ctx(err, "trash") : 0;
}

static int entry_of(struct runtime *rt, const char *id, struct image_trashed *ret, struct err *err)
{
	cleanup(image_gone_free) struct image_gone gone = { 0 };
	auto_db_stmt struct db_stmt *st = NULL;
	auto_strv struct strv names = { 0 };
	int64_t snapshot = 0;
	int rc;

	rc = db_query(
		rt->db,
		"SELECT tags,removed_ns,created,size,coalesce(snapshot,0) FROM trash WHERE id=?1",
		DB_ARGS(DB_T(id)), &st, err);
	if (rc >= 0)
		rc = db_step(st, err);
	if (rc <= 0)
		return rc;
	rc = names_of(db_col_str(st, 0), &names, err);
	ret->id = id;
	ret->removed_ns = db_col_int(st, 1);
	ret->created_s = db_col_int(st, 2);
	ret->size_bytes = (uint64_t)db_col_int(st, 3);
	snapshot = db_col_int(st, 4);
	for (size_t i = 0; i < names.n; i++)
		strv_add_take(&ret->tags, image_ref_familiar(names.v[i]));
	if (rc >= 0)
		rc = image_unneeded_chain(rt, snapshot, id, &gone, err);
	for (size_t i = 0; i < gone.n; i++)
		ret->unique_bytes += gone.v[i].size_bytes;
	return rc < 0 ? rc : 1;
}

static int ids_of(struct runtime *rt, const char *sql, const struct db_arg *args, struct strv *ret,
		  struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc = db_query(rt->db, sql, args, &st, err);

	while (rc >= 0 && (rc = db_step(st, err)) > 0)
		strv_add(ret, db_col_str(st, 0));
	return rc;
}

int image_trash_walk(struct runtime *rt, image_trash_fn *fn, void *arg, struct err *err)
{
	auto_strv struct strv ids = { 0 };
	int rc = ids_of(rt, "SELECT id FROM trash ORDER BY removed_ns DESC,id", NULL, &ids, err);

	for (size_t i = 0; rc >= 0 && i < ids.n; i++) {
		cleanup(entry_free) struct image_trashed t = { 0 };

		rc = entry_of(rt, ids.v[i], &t, err);
		if (rc > 0)
			rc = fn(&t, arg, err);
	}
	return rc < 0 ? rc : 0;
}

/* --- undo --- */

static bool is_meant(const struct image_trashed *t, const char *which, const char *normalized)
{
	const char *hex = strchr(t->id, ':');

	if (str_starts(t->id, which) || (hex && strlen(which) >= 4 && str_starts(hex + 1, which)))
		return true;
	for (size_t i = 0; normalized && i < t->tags.n; i++) {
		struct err ignored;
		auto_free char *have = NULL;

		if (image_ref_normalize(t->tags.v[i], &have, &ignored) >= 0 &&
		    str_eq(have, normalized))
			return true;
	}
	return false;
}

struct search {
	const char *which, *normalized;
	struct strv ids;
};

static int search_one(const struct image_trashed *t, void *arg, struct err *err)
{
	struct search *s = arg;

	(void)err;
	if (!s->ids.n && is_meant(t, s->which, s->normalized))
		strv_add(&s->ids, t->id);
	return 0;
}

/* What one command removed has one time. */
static int find(struct runtime *rt, const char *which, struct strv *ret, struct err *err)
{
	auto_free char *normalized = NULL;
	struct search s = { .which = which };
	struct err ignored;
	int rc;

	if (!which) {
		rc = ids_of(
			rt,
			"SELECT id FROM trash WHERE removed_ns=(SELECT max(removed_ns) FROM trash)",
			NULL, ret, err);
		if (rc < 0 || ret->n)
			return rc;
		return err_set(err, ENOENT, "nothing is in the trash");
	}
	if (image_ref_normalize(which, &normalized, &ignored) >= 0)
		s.normalized = normalized;
	rc = image_trash_walk(rt, search_one, &s, err);
	*ret = s.ids;
	if (rc < 0 || ret->n)
		return rc;
	return err_set(err, ENOENT, "no image %s in the trash (shale trash lists it)", which);
}

/* A name that was given to another image meanwhile stays there. */
static int give_names(struct runtime *rt, const char *id, const struct strv *names,
		      struct strv *ret_lines, struct err *err)
{
	size_t given = 0;
	int rc = 0;

	for (size_t i = 0; rc >= 0 && i < names->n; i++) {
		int64_t one;

		rc = db_get_int(rt->db, "SELECT 1 FROM tags WHERE name=?1",
				DB_ARGS(DB_T(names->v[i])), &one, err);
		if (rc != 0)
			continue;
		rc = store_tag_set(rt->store, names->v[i], id, err);
		strv_add_take(ret_lines, image_ref_familiar(names->v[i]));
		given++;
	}
	if (!given)
		strv_add(ret_lines, id);
	return rc;
}

static int restore(struct runtime *rt, const char *id, struct strv *ret_lines, struct err *err)
{
	static const char back[] =
		"INSERT OR IGNORE INTO images(id,snapshot,size,created,stored,history,boot,durable)"
		" SELECT id,snapshot,size,created,stored,history,boot,durable FROM trash WHERE id=?1";
	auto_strv struct strv names = { 0 };
	auto_free char *text = NULL;
	int rc;

	rc = db_get_str(rt->db, "SELECT tags FROM trash WHERE id=?1", DB_ARGS(DB_T(id)), &text,
			err);
	if (rc == 0)
		return err_set(err, ENOENT, "image %.19s has left the trash", id);
	if (rc > 0)
		rc = names_of(text, &names, err);
	if (rc >= 0)
		rc = db_run(rt->db, back, DB_ARGS(DB_T(id)), err);
	if (rc >= 0)
		rc = give_names(rt, id, &names, ret_lines, err);
	return rc < 0 ? rc
		      : db_run(rt->db, "DELETE FROM trash WHERE id=?1", DB_ARGS(DB_T(id)), err);
}

int image_trash_restore(struct runtime *rt, const char *which, struct strv *ret_lines,
			struct err *err)
{
	auto_strv struct strv ids = { 0 };
	auto_db_tx struct db *tx = NULL;
	int rc;

	rc = db_tx_begin(rt->db, DB_FULL, &tx, err);
	if (rc >= 0)
		rc = find(rt, which, &ids, err);
	for (size_t i = 0; rc >= 0 && i < ids.n; i++)
		rc = restore(rt, ids.v[i], ret_lines, err);
	fault_point("image.undo.rows");
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

/* --- emptying --- */

static int empty_one(struct runtime *rt, const char *id, struct image_removal *ret, struct err *err)
{
	cleanup(image_gone_free) struct image_gone gone = { 0 };
	auto_db_tx struct db *tx = NULL;
	int64_t snapshot = 0;
	int rc;

	rc = db_tx_begin(rt->db, DB_FULL, &tx, err);
	if (rc >= 0)
		rc = db_get_int(rt->db, "SELECT coalesce(snapshot,0) FROM trash WHERE id=?1",
				DB_ARGS(DB_T(id)), &snapshot, err);
	if (rc <= 0) /* undone meanwhile */
		return rc;
	rc = db_run(rt->db, "DELETE FROM trash WHERE id=?1", DB_ARGS(DB_T(id)), err);
	if (rc >= 0)
		rc = image_forget_chain(rt, snapshot, &gone, err);
	if (rc >= 0)
		rc = db_tx_commit(&tx, err);
	if (rc < 0)
		return rc;
	strv_add(&ret->deleted, id);
	fault_point("image.trash.rows");
	return image_discard_image(rt, id, &gone, ret, err);
}

static int sum_one(const struct image_trashed *t, void *arg, struct err *err)
{
	(void)err;
	*(uint64_t *)arg += t->unique_bytes;
	return 0;
}

int image_trash_empty(struct runtime *rt, int64_t keep_s, uint64_t max_bytes,
		      struct image_removal *ret, struct err *err)
{
	int64_t now_ns = proc_now_ns();
	auto_strv struct strv old = { 0 }, rest = { 0 };
	uint64_t bytes = 0;
	int rc;

	rc = ids_of(rt, "SELECT id FROM trash WHERE removed_ns<=?1 ORDER BY removed_ns,id",
		    DB_ARGS(DB_I(now_ns - keep_s * 1000000000)), &old, err);
	for (size_t i = 0; rc >= 0 && i < old.n; i++)
		rc = empty_one(rt, old.v[i], ret, err);
	if (rc >= 0)
		rc = ids_of(rt, "SELECT id FROM trash ORDER BY removed_ns,id", NULL, &rest, err);
	for (size_t i = 0; rc >= 0 && i < rest.n; i++) {
		bytes = 0;
		rc = image_trash_walk(rt, sum_one, &bytes, err);
		if (rc < 0 || bytes <= max_bytes)
			break;
		rc = empty_one(rt, rest.v[i], ret, err);
	}
	if (rc >= 0 && ret->deleted.n)
		rc = snap_sweep(rt->snap, err);
	return rc < 0 ? rc : 0;
}
