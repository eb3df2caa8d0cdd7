/* SPDX-License-Identifier: Apache-2.0 */
/*
 * du: to whom every byte of the store belongs. The disk is walked, the rows say whose each thing
 * is; what no row knows is an orphan.
 */
#include <shale/image.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/snap.h>
#include <shale/store.h>

#include "priv.h"

void image_audit_free(struct image_audit *a)
{
	strv_free(&a->orphans);
	*a = (struct image_audit){ 0 };
}

static void add(struct image_audit *a, enum image_part part, uint64_t bytes, bool is_active)
{
	a->part[part].bytes += bytes;
	if (!is_active)
		a->part[part].reclaimable_bytes += bytes;
	a->total_bytes += bytes;
}

/* Of a file or a tree; what went meanwhile has none. */
static int disk_of(struct runtime *rt, const char *path, uint64_t *ret, struct err *err)
{
	struct stat st;
	int rc;

	*ret = 0;
	if (fstatat(rt->root_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(err, "stat %s", path);
	if (!S_ISDIR(st.st_mode)) {
		*ret = (uint64_t)st.st_blocks * 512;
		return 0;
	}
	rc = fs_usage(rt->root_fd, path, ret, NULL, err);
	if (rc == -ENOENT) {
		err_clear(err);
		rc = 0;
	}
	return rc;
}

static void add_orphan(struct image_audit *a, const char *path, uint64_t bytes)
{
	add(a, IMAGE_PART_ORPHANS, bytes, false);
	a->part[IMAGE_PART_ORPHANS].count++;
	strv_add(&a->orphans, path);
}

/* --- snap/ --- */

struct owner {
	int64_t snapshot;
	enum image_part part;
	bool is_active;
	uint64_t size_bytes;
};

struct owners {
	struct owner *v;
	size_t n, cap;
};

static void owners_free(struct owners *l)
{
	free(l->v);
}

#define REACH(name, from)                                                                          \
	name "(id) AS (SELECT snapshot FROM " from " WHERE snapshot NOTNULL UNION"                 \
	     " SELECT s.parent FROM snapshots s JOIN " name                                        \
	     " r ON s.id=r.id WHERE s.parent NOTNULL)"

/* Theirs, and what they have mounted besides. */
#define OF_CONTAINERS                                                                              \
	"(SELECT snapshot FROM containers UNION ALL"                                               \
	" SELECT id AS snapshot FROM snapshots WHERE key GLOB 'container-*')"

/* In order of id. The first that needs it owns it: image, container, step, trash, nobody. */
static int load_owners(struct runtime *rt, struct owners *ret, struct err *err)
{
	static const char sql[] =
		"WITH RECURSIVE " REACH("ri", "images") "," REACH("rc", OF_CONTAINERS) "," REACH(
			"rs",
			"steps") "," REACH("rt",
					   "trash") " SELECT s.id,"
						    " CASE WHEN s.id IN ri THEN ?1 WHEN s.id IN rc THEN ?2 WHEN s.id IN rs THEN ?3"
						    " WHEN s.id IN rt THEN ?4 ELSE ?5 END, s.id IN rc, coalesce(l.size,0)"
						    " FROM snapshots s LEFT JOIN layers l ON l.snapshot=s.id ORDER BY s.id";
	auto_db_stmt struct db_stmt *st = NULL;
	int rc = db_query(rt->db, sql,
			  DB_ARGS(DB_I(IMAGE_PART_IMAGES), DB_I(IMAGE_PART_CONTAINERS),
				  DB_I(IMAGE_PART_CACHE), DB_I(IMAGE_PART_TRASH),
				  DB_I(IMAGE_PART_UNFINISHED)),
			  &st, err);

	while (rc >= 0 && (rc = db_step(st, err)) > 0) {
		mem_room(ret->v, ret->n, ret->cap);
		ret->v[ret->n++] = (struct owner){ .snapshot = db_col_int(st, 0),
						   .part = (enum image_part)db_col_int(st, 1),
						   .is_active = db_col_int(st, 2),
						   .size_bytes = (uint64_t)db_col_int(st, 3) };
	}
	return rc;
}

static int by_id(const void *a, const void *b)
{
	const struct owner *x = a, *y = b;

	return (x->snapshot > y->snapshot) - (x->snapshot < y->snapshot);
}

static int audit_snap(struct runtime *rt, struct image_audit *a, struct err *err)
{
	cleanup(owners_free) struct owners owners = { 0 };
	auto_strv struct strv names = { 0 };
	int rc = load_owners(rt, &owners, err);

	if (rc >= 0)
		rc = fs_list(rt->root_fd, "snap", &names, err);
	for (size_t i = 0; rc >= 0 && i < names.n; i++) {
		auto_free char *path = mem_fmt("snap/%s", names.v[i]);
		struct owner key = { 0 }, *o = NULL;
		uint64_t bytes = 0, id = 0;

		if (str_to_u64(names.v[i], 10, INT64_MAX, &id) == 0) {
			key.snapshot = (int64_t)id;
			o = owners.n ? bsearch(&key, owners.v, owners.n, sizeof(key), by_id) : NULL;
		}
		rc = disk_of(rt, path, &bytes, err);
		if (rc < 0)
			break;
		if (!o) {
			add_orphan(a, path, bytes);
			continue;
		}
		add(a, o->part, bytes, o->is_active);
		a->part[o->part].layers++;
		a->part[o->part].oci_bytes += o->size_bytes;
	}
	return rc < 0 ? rc : 0;
}

/* --- blobs/ --- */

struct blobs {
	struct runtime *rt;
	struct image_audit *a;
	struct strv origins; /* of layers that were made elsewhere */
};

static int find_origins(struct blobs *b, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc = db_query(b->rt->db, "SELECT snapshot FROM layers", NULL, &st, err);

	while (rc >= 0 && (rc = db_step(st, err)) > 0) {
		struct digest d;

		rc = image_origin_get(b->rt, db_col_int(st, 0), &d, err);
		if (rc > 0)
			strv_add(&b->origins, digest_str(&d));
	}
	return rc;
}

/* What a blob belongs to. */
static int blob_part(const struct blobs *b, const struct digest *d, int64_t *ret, struct err *err)
{
	const char *id = digest_str(d);
	int rc = db_get_int(
		b->rt->db,
		"SELECT ?2 FROM images WHERE id=?1 UNION ALL SELECT ?3 FROM trash WHERE id=?1"
		" UNION ALL SELECT ?2 FROM manifests WHERE digest=?1"
		" UNION ALL SELECT ?2 FROM index_blobs WHERE digest=?1"
		" UNION ALL SELECT ?2 FROM layer_blobs WHERE digest=?1",
		DB_ARGS(DB_T(id), DB_I(IMAGE_PART_IMAGES), DB_I(IMAGE_PART_TRASH)), ret, err);

	if (rc == 0)
		*ret = strv_has(&b->origins, id) ? IMAGE_PART_IMAGES : IMAGE_PART_ORPHANS;
	return rc;
}

static int blob_one(const struct blob_info *info, void *arg, struct err *err)
{
	struct blobs *b = arg;
	auto_free char *path = mem_fmt("blobs/sha256/%s", digest_hex(&info->digest));
	uint64_t bytes = 0;
	int64_t part;
	int rc = disk_of(b->rt, path, &bytes, err);

	if (rc >= 0)
		rc = blob_part(b, &info->digest, &part, err);
	if (rc < 0)
		return rc;
	if (part == IMAGE_PART_ORPHANS)
		add_orphan(b->a, path, bytes);
	else
		add(b->a, (enum image_part)part, bytes, part == IMAGE_PART_IMAGES);
	return 0;
}

static void blobs_free(struct blobs *b)
{
	strv_free(&b->origins);
}

static int audit_blobs(struct runtime *rt, struct image_audit *a, struct err *err)
{
	cleanup(blobs_free) struct blobs b = { .rt = rt, .a = a };
	int rc = find_origins(&b, err);

	return rc < 0 ? rc : store_blob_walk(rt->store, blob_one, &b, err);
}

struct owned {
	struct blobs b;
	store_blob_fn *fn;
	void *arg;
};

static int owned_one(const struct blob_info *info, void *arg, struct err *err)
{
	struct owned *o = arg;
	int64_t part = 0;
	int rc = blob_part(&o->b, &info->digest, &part, err);

	return rc < 0 || part == IMAGE_PART_ORPHANS ? rc : o->fn(info, o->arg, err);
}

int image_blob_walk(struct runtime *rt, store_blob_fn *fn, void *arg, struct err *err)
{
	struct owned o = { .b = { .rt = rt }, .fn = fn, .arg = arg };
	int rc = find_origins(&o.b, err);

	if (rc >= 0) {
		rc = store_blob_walk(rt->store, owned_one, &o, err);
	} else if (rc ==
		   -ENOENT) { /* a layer is gone, and with it what it came from: any of them */
		err_clear(err);
		rc = store_blob_walk(rt->store, fn, arg, err);
	}
	blobs_free(&o.b);
	return rc < 0 ? rc : 0;
}

static int sweep_one(const struct blob_info *info, void *arg, struct err *err)
{
	struct blobs *b = arg;
	auto_db_tx struct db *tx = NULL;
	uint64_t bytes = 0;
	int64_t part;
	int rc = blob_part(b, &info->digest, &part, err);

	if (rc < 0 || part != IMAGE_PART_ORPHANS)
		return rc;
	/* Again, under the lock under which an image's row and blob appear. */
	rc = db_tx_begin(b->rt->db, DB_FULL, &tx, err);
	if (rc >= 0)
		rc = blob_part(b, &info->digest, &part, err);
	if (rc >= 0 && part == IMAGE_PART_ORPHANS)
		rc = image_blob_remove(b->rt, &info->digest, &bytes, err);
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

int image_blobs_drop(struct runtime *rt, const struct strv *digests, uint64_t *ret_bytes,
		     struct err *err)
{
	cleanup(blobs_free) struct blobs b = { .rt = rt };
	int rc = digests->n ? find_origins(&b, err) : 0;

	for (size_t i = 0; rc >= 0 && i < digests->n; i++) {
		struct digest d;
		int64_t part = 0;

		rc = digest_parse(digests->v[i], &d, err);
		if (rc >= 0)
			rc = blob_part(&b, &d, &part, err);
		if (rc >= 0 && part == IMAGE_PART_ORPHANS)
			rc = image_blob_remove(rt, &d, ret_bytes, err);
	}
	return rc < 0 ? rc : 0;
}

int image_sweep(struct runtime *rt, struct err *err)
{
	cleanup(blobs_free) struct blobs b = { .rt = rt };
	/* Who loads has blobs that no row names yet. */
	auto_fd int lease = image_lease_exclusive(rt, err);
	int rc;

	if (lease == -EBUSY) {
		err_clear(err);
		return 0;
	}
	rc = lease < 0 ? lease : find_origins(&b, err);
	return rc < 0 ? rc : store_blob_walk(rt->store, sweep_one, &b, err);
}

/* --- the rest --- */

static const struct {
	const char *name;
	enum image_part part;
	bool is_active;
} places[] = {
	{ "containers", IMAGE_PART_CONTAINERS, true }, { "logs", IMAGE_PART_LOGS, false },
	{ "cache", IMAGE_PART_MOUNTS, false },         { "volumes", IMAGE_PART_VOLUMES, true },
	{ "context", IMAGE_PART_OTHER, true },         { "tmp", IMAGE_PART_OTHER, true },
	{ "trash", IMAGE_PART_UNFINISHED, false },     { "reserve", IMAGE_PART_OTHER, true },
	{ "db.sqlite", IMAGE_PART_OTHER, true },       { "db.sqlite-wal", IMAGE_PART_OTHER, true },
	{ "db.sqlite-shm", IMAGE_PART_OTHER, true },   { "db.lock", IMAGE_PART_OTHER, true },
	{ "empty", IMAGE_PART_OTHER, true },           { "lease.lock", IMAGE_PART_OTHER, true },
	{ "names", IMAGE_PART_OTHER, true },           { "events", IMAGE_PART_OTHER, true },
	{ "events.1", IMAGE_PART_OTHER, true },        { "recover", IMAGE_PART_OTHER, false },
	{ "lost+found", IMAGE_PART_OTHER, true },      { "networks", IMAGE_PART_OTHER, true },
};

/* A directory's own blocks, apart from what is in it. */
static void add_own(struct runtime *rt, struct image_audit *a, const char *name)
{
	struct stat st;

	if (fstatat(rt->root_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		add(a, IMAGE_PART_OTHER, (uint64_t)st.st_blocks * 512, true);
}

static int audit_place(struct runtime *rt, const char *name, struct image_audit *a, struct err *err)
{
	uint64_t bytes = 0;
	int rc = disk_of(rt, name, &bytes, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < ARRAY_LEN(places); i++)
		if (str_eq(places[i].name, name)) {
			add(a, places[i].part, bytes, places[i].is_active);
			return 0;
		}
	if (str_starts(name, "db.sqlite.damaged"))
		add(a, IMAGE_PART_OTHER, bytes, true);
	else
		add_orphan(a, name, bytes);
	return 0;
}

static int audit_rest(struct runtime *rt, struct image_audit *a, struct err *err)
{
	auto_strv struct strv names = { 0 };
	int rc = fs_list(rt->root_fd, ".", &names, err);

	add_own(rt, a, ".");
	add_own(rt, a, "snap");
	add_own(rt, a, "blobs");
	add_own(rt, a, "blobs/sha256");
	for (size_t i = 0; rc >= 0 && i < names.n; i++)
		if (!str_eq(names.v[i], "snap") && !str_eq(names.v[i], "blobs"))
			rc = audit_place(rt, names.v[i], a, err);
	return rc < 0 ? rc : 0;
}

static int count_rows(struct runtime *rt, struct image_audit *a, struct err *err)
{
	static const struct {
		enum image_part part;
		bool active;
		const char *sql;
	} counts[] = {
		{ IMAGE_PART_IMAGES, false, "SELECT count(*) FROM images" },
		{ IMAGE_PART_IMAGES, true, "SELECT count(DISTINCT image) FROM containers" },
		{ IMAGE_PART_CONTAINERS, false, "SELECT count(*) FROM containers" },
		{ IMAGE_PART_CONTAINERS, true, "SELECT count(*) FROM containers WHERE state=2" },
		{ IMAGE_PART_CACHE, false, "SELECT count(*) FROM steps" },
		{ IMAGE_PART_MOUNTS, false, "SELECT count(*) FROM cache_mounts" },
		{ IMAGE_PART_TRASH, false, "SELECT count(*) FROM trash" },
	};
	int rc = 0;

	for (size_t i = 0; rc >= 0 && i < ARRAY_LEN(counts); i++) {
		struct image_audit_part *p = &a->part[counts[i].part];
		int64_t n = 0;

		rc = db_get_int(rt->db, counts[i].sql, NULL, &n, err);
		if (counts[i].active)
			p->active = (size_t)n;
		else
			p->count = (size_t)n;
	}
	return rc < 0 ? rc : 0;
}

int image_audit(struct runtime *rt, struct image_audit *ret, struct err *err)
{
	int rc = audit_snap(rt, ret, err);

	if (rc >= 0)
		rc = audit_blobs(rt, ret, err);
	if (rc >= 0)
		rc = audit_rest(rt, ret, err);
	return rc < 0 ? rc : count_rows(rt, ret, err);
}
