/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify: what of the store is no longer what it was. The list of what there is comes from the
 * rows; what is found damaged and has lost its row meanwhile was removed, not damaged. Needs
 * libcrypto.
 */
#include <shale/image.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <shale/snap.h>
#include <shale/store.h>

#include "priv.h"

enum { PROGRESS_MS = 200 };

struct verify {
	struct runtime *rt;
	const struct image_verify_opts *o;
	struct image_verified *ret;
	struct image_pool *pool;
	struct image_job **jobs;
	size_t n, cap, done;
	struct strv images;
	struct strv blobs; /* digests there is a job for */
};

void image_verified_free(struct image_verified *r)
{
	for (size_t i = 0; i < r->n; i++)
		image_damaged_free(&r->v[i]);
	free(r->v);
	*r = (struct image_verified){ 0 };
}

static void verify_free(struct verify *v)
{
	image_pool_cleanup(&v->pool);
	for (size_t i = 0; i < v->n; i++)
		image_job_free(v->jobs[i]);
	free(v->jobs);
	strv_free(&v->images);
	strv_free(&v->blobs);
}

/* --- what there is --- */

static void add_job(struct verify *v, struct image_job *j)
{
	if (v->n == v->cap) {
		v->cap = v->cap ? v->cap * 2 : 64;
		v->jobs = mem_grow(v->jobs, v->cap, sizeof(struct image_job *));
	}
	v->jobs[v->n++] = j;
}

static void add_blob(struct verify *v, enum image_damaged_kind kind, const char *id)
{
	struct image_job *j;

	if (strv_has(&v->blobs, id))
		return;
	strv_add(&v->blobs, id);
	j = image_job_new(kind);
	snprintf(j->id, sizeof(j->id), "%s", id);
	add_job(v, j);
}

static int find_images(struct verify *v, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc = 0;

	for (size_t i = 0; v->o->names && i < v->o->names->n; i++) {
		auto_free char *id = NULL, *tag = NULL;

		rc = image_resolve(v->rt, v->o->names->v[i], &id, &tag, err);
		if (rc < 0)
			return rc;
		if (!strv_has(&v->images, id))
			strv_add(&v->images, id);
	}
	if (v->images.n)
		return 0;
	rc = db_query(v->rt->db, "SELECT id FROM images UNION SELECT id FROM trash ORDER BY 1",
		      NULL, &st, err);
	while (rc >= 0 && (rc = db_step(st, err)) > 0)
		strv_add(&v->images, db_col_str(st, 0));
	return rc;
}

/* Of one image, or all of the store (NULL). */
static int find_layers(struct verify *v, const char *image, struct err *err)
{
	static const char sql[] =
		"WITH RECURSIVE r(id) AS (SELECT snapshot FROM images WHERE id=?1 UNION"
		" SELECT s.parent FROM snapshots s JOIN r ON s.id=r.id)"
		" SELECT s.id,coalesce(s.parent,0),l.diff_id FROM snapshots s"
		" LEFT JOIN layers l ON l.snapshot=s.id"
		" WHERE s.kind=3 AND (?1 IS NULL OR s.id IN (SELECT id FROM r)) ORDER BY s.id";
	auto_db_stmt struct db_stmt *st = NULL;
	int rc = db_query(v->rt->db, sql, DB_ARGS(DB_T(image)), &st, err);

	while (rc >= 0 && (rc = db_step(st, err)) > 0) {
		const char *diff = db_col_str(st, 2);
		struct image_job *j;
		bool there = false;

		for (size_t i = 0; image && i < v->n && !there; i++)
			there = v->jobs[i]->snapshot == db_col_int(st, 0);
		if (there)
			continue;
		j = image_job_new(IMAGE_DAMAGED_LAYER);
		j->snapshot = db_col_int(st, 0);
		j->parent = db_col_int(st, 1);
		snprintf(j->id, sizeof(j->id), "%s", diff ? diff : "");
		add_job(v, j);
	}
	return rc;
}

static int on_blob(const struct blob_info *info, void *arg, struct err *err)
{
	(void)err;
	add_blob(arg, IMAGE_DAMAGED_BLOB, digest_str(&info->digest));
	return 0;
}

/* The layers' own bytes, configs, and without names whatever else somebody
 * needs: what no row knows is what a crash left, and may be anything. */
static int find_blobs(struct verify *v, struct err *err)
{
	size_t n_layers = v->n;
	int rc = 0;

	for (size_t i = 0; i < v->images.n; i++)
		add_blob(v, IMAGE_DAMAGED_CONFIG, v->images.v[i]);
	for (size_t i = 0; i < n_layers; i++) {
		struct err ignored = { 0 };
		struct digest d;

		if (image_origin_get(v->rt, v->jobs[i]->snapshot, &d, &ignored) > 0)
			add_blob(v, IMAGE_DAMAGED_BLOB, digest_str(&d));
	}
	if (!v->o->names || !v->o->names->n)
		rc = image_blob_walk(v->rt, on_blob, v, err);
	return rc;
}

static int find_all(struct verify *v, struct err *err)
{
	bool named = v->o->names && v->o->names->n;
	int rc = find_images(v, err);

	for (size_t i = 0; rc >= 0 && named && i < v->images.n; i++)
		rc = find_layers(v, v->images.v[i], err);
	if (rc >= 0 && !named)
		rc = find_layers(v, NULL, err);
	v->ret->layers = v->n;
	v->ret->images = v->images.n;
	return rc < 0 ? rc : find_blobs(v, err);
}

/* --- reading it --- */

/* 1 when what the job is about still has its row. Of blobs, those that layers are made of are
 * asked for by image_users. */
static int is_wanted(struct verify *v, const struct image_job *j, struct err *err)
{
	static const char *const sql[] = {
		[IMAGE_DAMAGED_LAYER] = "SELECT 1 FROM snapshots WHERE id=?1 AND ?2 NOTNULL",
		[IMAGE_DAMAGED_CONFIG] =
			"SELECT 1 FROM images WHERE id=?2 UNION SELECT 1 FROM trash WHERE id=?2",
		[IMAGE_DAMAGED_BLOB] = "SELECT 1 WHERE ?1=0 AND ?2 NOTNULL",
	};
	int64_t one;

	return db_get_int(v->rt->db, sql[j->kind], DB_ARGS(DB_I(j->snapshot), DB_T(j->id)), &one,
			  err);
}

/* A blob that nobody names may go at any time. */
static bool is_gone(struct verify *v, const struct image_damaged *d)
{
	struct err ignored = { 0 };
	struct digest digest;

	return d->kind == IMAGE_DAMAGED_BLOB && !d->used_by.n &&
	       digest_parse(d->id, &digest, &ignored) >= 0 &&
	       !store_blob_exists(v->rt->store, &digest);
}

static int collect(struct verify *v, struct image_job *j, struct err *err)
{
	struct image_damaged *d;
	int rc;

	v->done++;
	v->ret->bytes += j->bytes;
	rc = j->found.n ? is_wanted(v, j, err) : 0;
	if (rc > 0) {
		mem_room(v->ret->v, v->ret->n, v->ret->cap);
		d = &v->ret->v[v->ret->n++];
		*d = j->found;
		j->found = (struct image_damaged){ 0 };
		d->kind = j->kind;
		d->snapshot = j->snapshot;
		memcpy(d->id, j->id, sizeof(d->id));
		rc = image_users(v->rt, d, err);
		if (is_gone(v, d)) {
			image_damaged_free(d);
			v->ret->n--;
		}
	}
	image_job_free(j);
	return rc < 0 ? rc : 0;
}

static void report(struct verify *v)
{
	if (v->o->progress)
		v->o->progress(v->done, v->done + v->n, v->ret->bytes, v->o->arg);
}

/* Finished ones, and with wait until there is room for another. */
static int drain(struct verify *v, bool all, struct err *err)
{
	int rc = 0;

	while (rc >= 0 && (all ? !image_pool_is_empty(v->pool) : image_pool_is_full(v->pool))) {
		struct image_job *j = image_pool_next(v->pool, PROGRESS_MS);

		if (j)
			rc = collect(v, j, err);
		report(v);
	}
	return rc;
}

static int read_all(struct verify *v, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; rc >= 0 && i < v->n; i++) {
		struct err why = { 0 };
		struct image_job *j = v->jobs[i];

		v->jobs[i] = NULL;
		rc = drain(v, false, err);
		if (rc < 0) {
			image_job_free(j);
			break;
		}
		/* What cannot even be opened is damaged. */
		if (image_job_open(v->rt, j, &why) < 0) {
			image_fault_add(&j->found, NULL, why.msg);
			rc = collect(v, j, err);
		} else {
			rc = image_pool_add(v->pool, j, err);
		}
	}
	return rc < 0 ? rc : drain(v, true, err);
}

/* --- the result --- */

static int by_place(const void *a, const void *b)
{
	const struct image_damaged *x = a, *y = b;

	if (x->kind != y->kind)
		return (int)x->kind - (int)y->kind;
	if (x->snapshot != y->snapshot)
		return x->snapshot < y->snapshot ? -1 : 1;
	return strcmp(x->id, y->id);
}

static bool is_damaged(const struct verify *v, enum image_damaged_kind kind, int64_t snapshot,
		       const char *id)
{
	for (size_t i = 0; i < v->ret->n; i++) {
		const struct image_damaged *d = &v->ret->v[i];

		if (d->kind == kind && d->snapshot == snapshot && (!id || !strcmp(d->id, id)))
			return true;
	}
	return false;
}

/* The config says of which layers the image is. */
static int check_config(struct verify *v, const struct image *img, const struct image_layer *l,
			size_t n, struct err *err)
{
	auto_image_config struct image_config *c = NULL;
	struct image_damaged d = { .kind = IMAGE_DAMAGED_CONFIG };
	struct err why = { 0 };
	bool same;

	if (image_config_parse(img->config, strlen(img->config), &c, &why) < 0)
		return 0; /* its hash is right: it was so from the start */
	same = c->diff_ids.n == n;
	for (size_t i = 0; same && i < n; i++)
		same = !strcmp(c->diff_ids.v[i], l[i].diff_id);
	if (same)
		return 0;
	memcpy(d.id, img->id, sizeof(d.id));
	image_fault_add(&d, NULL, "names other layers than the image has");
	mem_room(v->ret->v, v->ret->n, v->ret->cap);
	v->ret->v[v->ret->n++] = d;
	return image_users(v->rt, &v->ret->v[v->ret->n - 1], err);
}

static int judge_image(struct verify *v, const char *id, struct err *err)
{
	bool bad = is_damaged(v, IMAGE_DAMAGED_CONFIG, 0, id);
	auto_free struct image_layer *l = NULL;
	auto_image struct image *img = NULL;
	struct err why = { 0 };
	size_t n = 0, before = v->ret->n;
	int rc = bad ? 0 : image_get(v->rt, id, &img, &why);

	if (rc == -ENOENT)
		return 0; /* of the trash, or removed meanwhile */
	if (img)
		rc = image_layers(v->rt, img->snapshot, &l, &n, err);
	if (rc >= 0 && img)
		rc = check_config(v, img, l, n, err);
	for (size_t i = 0; i < n && !bad; i++)
		bad = is_damaged(v, IMAGE_DAMAGED_LAYER, l[i].snapshot, NULL);
	v->ret->bad_images += bad || v->ret->n > before;
	return rc < 0 ? rc : 0;
}

/* Files that are here only by their attributes have their content beneath: then the blame is on
 * that layer. */
static int blame_below(struct verify *v, struct image_damaged *d, struct err *err)
{
	auto_free int64_t *ids = NULL;
	size_t n = 0;
	int rc;

	if (d->kind != IMAGE_DAMAGED_LAYER || d->is_table || d->n != 1 || d->faults[0].path)
		return 0;
	rc = snap_chain(v->rt->snap, d->snapshot, &ids, &n, err);
	if (rc == -ENOENT) {
		err_clear(err);
		return 0;
	}
	for (size_t i = 1; i < n; i++) {
		if (!is_damaged(v, IMAGE_DAMAGED_LAYER, ids[i], NULL))
			continue;
		free(d->faults[0].what);
		d->faults[0].what = mem_fmt("rests on layer %lld", (long long)ids[i]);
		break;
	}
	return rc < 0 ? rc : 0;
}

int image_verify(struct runtime *rt, const struct image_verify_opts *o, struct image_verified *ret,
		 struct err *err)
{
	cleanup(verify_free) struct verify v = { .rt = rt, .o = o, .ret = ret };
	int rc;

	v.pool = image_pool_new();
	rc = find_all(&v, err);
	if (rc >= 0)
		rc = read_all(&v, err);
	for (size_t i = 0; rc >= 0 && i < v.images.n; i++)
		rc = judge_image(&v, v.images.v[i], err);
	for (size_t i = 0; rc >= 0 && i < ret->n; i++)
		rc = blame_below(&v, &ret->v[i], err);
	for (size_t i = 0; rc >= 0 && i < ret->n; i++)
		ret->bad_layers += ret->v[i].kind == IMAGE_DAMAGED_LAYER;
	if (rc >= 0 && ret->n)
		qsort(ret->v, ret->n, sizeof(*ret->v), by_place);
	return rc < 0 ? err_ctx(err, "verify") : 0;
}
