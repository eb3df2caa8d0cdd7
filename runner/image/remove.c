/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rmi. An image that a container uses is never deleted. Rows go in one transaction, files
 * after it.
 *
 * A name untags; with the last name the image goes, and the layers that no other image, container
 * or build step needs. With force a name is taken away even while a container uses the image, which
 * then stays without a name. An ID takes all names along: with force if there are several.
 */
#include <shale/image.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <shale/base/fault.h>
#include <shale/base/proc.h>
#include <shale/snap.h>
#include <shale/store.h>

#include "priv.h"

void image_removal_free(struct image_removal *r)
{
	strv_free(&r->untagged);
	strv_free(&r->deleted);
	*r = (struct image_removal){ 0 };
}

/* The states as stored by module container, which stands above this one. */
static const char *state_name(int64_t state)
{
	static const char *const names[] = { "unknown", "created", "running", "exited",
					     "removing" };

	return state > 0 && state < (int64_t)ARRAY_LEN(names) ? names[state] : names[0];
}

struct user {
	char *id, *name;
	int64_t state;
};

static void user_free(struct user *u)
{
	free(u->id);
	free(u->name);
}

/* A container of the image, a running one if there is one: 1 or 0. */
static int find_user(struct runtime *rt, const char *id, struct user *ret, struct err *err)
{
	static const char sql[] =
		"SELECT id,name,state FROM containers WHERE image=?1 ORDER BY state=2 DESC,created_ns LIMIT 1";
	auto_db_stmt struct db_stmt *st = NULL;
	int rc;

	rc = db_query(rt->db, sql, DB_ARGS(DB_T(id)), &st, err);
	if (rc >= 0)
		rc = db_step(st, err);
	if (rc <= 0)
		return rc;
	ret->id = mem_str(db_col_str(st, 0));
	ret->name = mem_str(db_col_str(st, 1));
	ret->state = db_col_int(st, 2);
	return 1;
}

/* What one removal does: decided and recorded inside the transaction, carried out after it. */
struct job {
	struct runtime *rt;
	const char *id;
	struct strv untag; /* normalised */
	char *digest;      /* "repo@sha256:…" that goes, or NULL */
	bool is_deleted, now;
	struct image_gone gone; /* into the trash: what will go */
	int64_t removed_ns;     /* one command's removals are undone together */
	int64_t *kept;          /* layers that stay as build cache */
	size_t n_kept;
};

static void job_free(struct job *j)
{
	strv_free(&j->untag);
	free(j->digest);
	image_gone_free(&j->gone);
	free(j->kept);
}

static int check_user(struct job *j, const char *name, bool by_name, struct err *err)
{
	cleanup(user_free) struct user u = { 0 };
	int rc = find_user(j->rt, j->id, &u, err);

	if (rc <= 0)
		return rc;
	err_set(err, EBUSY, "image %.80s is in use by container %s (%.12s, %s)", name, u.name, u.id,
		state_name(u.state));
	if (by_name)
		return err_hint(err, "shale rm %s, or force to take only the name away", u.name);
	return err_hint(err, "shale rm %s", u.name);
}

static int check_pin(struct job *j, const char *name, struct err *err)
{
	int64_t one;
	int rc = db_get_int(j->rt->db, "SELECT 1 FROM images WHERE id=?1 AND pinned",
			    DB_ARGS(DB_T(j->id)), &one, err);

	if (rc <= 0)
		return rc;
	err_set(err, EBUSY, "image %.80s is pinned", name);
	return err_hint(err, "shale unpin %.80s", name);
}

static int check_mount(struct job *j, const char *name, struct err *err)
{
	auto_free char *dir = NULL;
	int rc = image_shown(j->rt, "image", j->id, &dir, err);

	if (rc <= 0)
		return rc;
	err_set(err, EBUSY, "image %.80s is mounted at %s", name, dir);
	return err_hint(err, "shale image unmount %s", dir);
}

/* What a repository called it: that alone goes while the image has another name. */
static int decide_digest(struct job *j, const char *name, const struct strv *tags, struct err *err)
{
	auto_strv struct strv digests = { 0 };
	int rc = image_repo_digests(j->rt, j->id, &digests, err);

	if (rc >= 0)
		rc = image_ref_normalize(name, &j->digest, err);
	j->is_deleted = tags->n == 0 && digests.n <= 1;
	return rc < 0 ? rc : 0;
}

/* Which names go, and whether the image goes with them. */
static int decide(struct job *j, const char *name, const char *tag, bool force, struct err *err)
{
	auto_strv struct strv tags = { 0 };
	int rc;

	rc = image_tags(j->rt, j->id, &tags, err);
	if (rc >= 0 && !tag && strchr(name, '@'))
		rc = decide_digest(j, name, &tags, err);
	if (rc < 0)
		return rc;
	if (tag) {
		strv_add(&j->untag, tag);
		j->is_deleted = tags.n <= 1;
	} else if (!j->digest) {
		if (tags.n > 1 && !force) {
			auto_free char *a = image_ref_familiar(tags.v[0]),
				       *b = image_ref_familiar(tags.v[1]);

			return err_set(
				err, EBUSY,
				"image %.80s has %zu names (%s, %s%s): remove these, or force",
				name, tags.n, a, b, tags.n > 2 ? ", …" : "");
		}
		strv_copy(&j->untag, &tags);
		j->is_deleted = true;
	}
	if (!j->is_deleted)
		return 0;
	rc = check_pin(j, name, err);
	if (rc < 0)
		return rc;
	rc = check_user(j, name, tag && !force, err);
	if (rc >= 0)
		rc = check_mount(j, name, err);
	if (rc == -EBUSY && tag && force) {
		err_clear(err);
		j->is_deleted = false;
		return 0;
	}
	return rc;
}

#define REACHED_BY_USE                                                                             \
	"WITH RECURSIVE r(id) AS (SELECT snapshot FROM images WHERE snapshot NOTNULL UNION"        \
	" SELECT snapshot FROM containers WHERE snapshot NOTNULL UNION"                            \
	" SELECT s.parent FROM snapshots s JOIN r ON s.id=r.id WHERE s.parent NOTNULL) "

/* What is left of the image's chain and serves no image or container. */
static int find_kept(struct job *j, const struct image_layer *l, size_t n, struct err *err)
{
	j->kept = mem_array(n + 1, sizeof(*j->kept));
	for (size_t i = 0; i < n; i++) {
		int64_t used = 0;
		int rc = db_get_int(
			j->rt->db,
			REACHED_BY_USE
			"SELECT CASE WHEN ?1 IN (SELECT id FROM r) THEN 1"
			" WHEN EXISTS(SELECT 1 FROM snapshots WHERE id=?1) THEN 0 ELSE 2 END",
			DB_ARGS(DB_I(l[i].snapshot)), &used, err);

		if (rc < 0)
			return rc;
		if (used == 0)
			j->kept[j->n_kept++] = l[i].snapshot;
	}
	return 0;
}

/* The row moves over with its names; the layers stay where they are. */
static int to_trash(struct job *j, int64_t snapshot, struct err *err)
{
	static const char sql[] =
		"INSERT OR REPLACE INTO trash(id,snapshot,size,created,stored,history,boot,durable,tags,removed_ns)"
		" SELECT id,snapshot,size,created,stored,history,boot,durable,?2,?3 FROM images WHERE id=?1";
	auto_json json_t *names = json_object();
	auto_free char *text = NULL;
	int rc;

	json_set_strv(names, "tags", &j->untag);
	text = json_text(names);
	rc = db_run(j->rt->db, sql, DB_ARGS(DB_T(j->id), DB_T(text), DB_I(j->removed_ns)), err);
	if (rc >= 0)
		rc = db_run(j->rt->db, "DELETE FROM images WHERE id=?1", DB_ARGS(DB_T(j->id)), err);
	return rc < 0 ? rc : image_unneeded_chain(j->rt, snapshot, j->id, &j->gone, err);
}

static int for_good(struct job *j, int64_t snapshot, struct err *err)
{
	int rc = db_run(j->rt->db, "DELETE FROM images WHERE id=?1", DB_ARGS(DB_T(j->id)), err);

	return rc < 0 ? rc : image_forget_chain(j->rt, snapshot, &j->gone, err);
}

static int delete_rows(struct job *j, struct err *err)
{
	auto_free struct image_layer *l = NULL;
	int64_t snapshot = 0;
	size_t n = 0;
	int rc;

	rc = db_get_int(j->rt->db, "SELECT coalesce(snapshot,0) FROM images WHERE id=?1",
			DB_ARGS(DB_T(j->id)), &snapshot, err);
	if (rc >= 0)
		rc = image_layers(j->rt, snapshot, &l, &n, err);
	if (rc >= 0)
		rc = j->now ? for_good(j, snapshot, err) : to_trash(j, snapshot, err);
	return rc < 0 ? rc : find_kept(j, l, n, err);
}

static int apply_rows(struct job *j, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; rc >= 0 && i < j->untag.n; i++)
		rc = store_tag_remove(j->rt->store, j->untag.v[i], err);
	/* In the trash the image keeps what it was called. */
	if (rc >= 0 && j->digest && !j->is_deleted)
		rc = image_repo_digest_drop(j->rt, j->digest, j->id, err);
	return rc < 0 || !j->is_deleted ? rc : delete_rows(j, err);
}

static int apply_files(struct job *j, struct image_removal *r, struct err *err)
{
	for (size_t i = 0; i < j->untag.n; i++) {
		image_event(j->rt, "untag", j->id, j->untag.v[i]);
		strv_add_take(&r->untagged, image_ref_familiar(j->untag.v[i]));
	}
	if (j->digest)
		strv_add_take(&r->untagged, image_ref_familiar(j->digest));
	if (!j->is_deleted)
		return 0;
	image_event(j->rt, "delete", j->id, NULL);
	strv_add(&r->deleted, j->id);
	for (size_t i = 0; i < j->n_kept; i++) {
		struct err ignored = { 0 };
		uint64_t bytes = 0;

		image_layer_disk(j->rt, j->kept[i], &bytes, &ignored);
		r->kept_bytes += bytes;
		r->kept_layers++;
	}
	if (j->now)
		return image_discard_image(j->rt, j->id, &j->gone, r, err);
	for (size_t i = 0; i < j->gone.n; i++) {
		r->trash_bytes += j->gone.v[i].size_bytes;
		if (j->gone.v[i].diff_id[0])
			strv_add(&r->deleted, j->gone.v[i].diff_id);
	}
	return 0;
}

/* Only what went for good left files. */
static int sweep(struct runtime *rt, const struct image_removal *r, struct err *err)
{
	int rc = r->freed_bytes ? snap_sweep(rt->snap, err) : 0;

	return rc < 0 ? rc : 0;
}

int image_remove(struct runtime *rt, const char *name, unsigned flags, struct image_removal *ret,
		 struct err *err)
{
	auto_free char *id = NULL, *tag = NULL;
	cleanup(job_free) struct job j = { .rt = rt,
					   .now = flags & IMAGE_NOW,
					   .removed_ns = proc_now_ns() };
	auto_db_tx struct db *tx = NULL;
	int rc;

	fault_point("image.remove.begin");
	/* Into the trash: a power cut may bring it back, whole. Files only go after a row that is
	 * gone for good. */
	rc = db_tx_begin(rt->db, j.now ? DB_FULL : DB_LAZY, &tx, err);
	if (rc >= 0)
		rc = image_resolve(rt, name, &id, &tag, err);
	j.id = id;
	if (rc >= 0)
		rc = decide(&j, name, tag, flags & IMAGE_FORCE, err);
	if (rc >= 0)
		rc = apply_rows(&j, err);
	if (rc >= 0)
		rc = db_tx_commit(&tx, err);
	fault_point("image.remove.rows");
	if (rc >= 0)
		rc = apply_files(&j, ret, err);
	fault_point("image.remove.files");
	return rc < 0 ? rc : sweep(rt, ret, err);
}

/* For prune: the image and its names, unless still_wanted says otherwise under the lock. */
int image_remove_if(struct runtime *rt, const char *id, const struct image_remove_if *o,
		    struct image_removal *ret, struct err *err)
{
	cleanup(job_free) struct job j = {
		.rt = rt, .id = id, .is_deleted = true, .now = o->now, .removed_ns = o->removed_ns
	};
	auto_db_tx struct db *tx = NULL;
	int rc;

	rc = db_tx_begin(rt->db, j.now ? DB_FULL : DB_LAZY, &tx, err);
	if (rc >= 0)
		rc = o->is_unused(rt, id, o->arg, err);
	if (rc <= 0)
		return rc;
	rc = image_tags(rt, id, &j.untag, err);
	if (rc >= 0)
		rc = apply_rows(&j, err);
	if (rc >= 0)
		rc = db_tx_commit(&tx, err);
	fault_point("image.prune.rows");
	return rc < 0 ? rc : apply_files(&j, ret, err);
}
