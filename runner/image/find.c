/* SPDX-License-Identifier: Apache-2.0 */
/* From what users type to an image: a name, an ID or the beginning of one, a step's ID. */
#include <shale/image.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <shale/base/fd.h>
#include <shale/store.h>

#include "priv.h"

enum { STEP_PREFIX_MIN = 4, ID_HEX_LEN = DIGEST_LEN * 2 };

static const char id_prefix[] = "sha256:";

void image_free(struct image *img)
{
	if (!img)
		return;
	free(img->history);
	free(img->config);
	free(img);
}

void image_cleanup(struct image **img)
{
	image_free(*img);
	*img = NULL;
}

int image_config_load(struct runtime *rt, const char *id, char **ret, struct err *err)
{
	auto_fd int fd = -1;
	struct digest d;
	size_t len;
	int rc;

	rc = digest_parse(id, &d, err);
	if (rc >= 0)
		rc = store_blob_open(rt->store, &d, &fd, err);
	if (rc >= 0)
		rc = fd_read_all(fd, JSON_BYTES_MAX, ret, &len, err);
	return rc < 0 ? err_ctx(err, "config of image %.19s", id) : 0;
}

struct image *image_from_row(struct db_stmt *st)
{
	struct image *img = mem_alloc(sizeof(*img));
	const char *id = db_col_str(st, 0);

	snprintf(img->id, sizeof(img->id), "%s", id);
	img->snapshot = db_col_int(st, 1);
	img->size_bytes = (uint64_t)db_col_int(st, 2);
	img->created_s = db_col_int(st, 3);
	img->history = mem_str(db_col_str(st, 4));
	return img;
}

/* 1 with the row's image, 0 when there is none. */
static int get_row(struct runtime *rt, const char *id, struct image **ret, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc;

	rc = db_query(rt->db, IMAGE_SELECT " WHERE id=?1", DB_ARGS(DB_T(id)), &st, err);
	if (rc >= 0)
		rc = db_step(st, err);
	if (rc > 0)
		*ret = image_from_row(st);
	return rc;
}

int image_get(struct runtime *rt, const char *id, struct image **ret, struct err *err)
{
	auto_image struct image *img = NULL;
	int rc;

	rc = get_row(rt, id, &img, err);
	if (rc == 0)
		return err_set(err, ENOENT, "no image '%.80s'", id);
	if (rc > 0)
		rc = image_config_load(rt, id, &img->config, err);
	if (rc < 0)
		return rc;
	*ret = take(img);
	return 0;
}

/* Ids are lower-case hex, so 'g' comes after everything that begins with the prefix. 1 found, 0
 * none, -EINVAL several. */
static int find_prefix(struct runtime *rt, const char *sql, const char *prefix, char **ret,
		       struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	auto_free char *id = NULL;
	int rc;

	rc = db_query(rt->db, sql, DB_ARGS(DB_T(prefix)), &st, err);
	while (rc >= 0 && (rc = db_step(st, err)) > 0) {
		if (id)
			return err_set(err, EINVAL,
				       "'%.80s' is the beginning of several IDs: give more of it",
				       prefix);
		id = mem_str(db_col_str(st, 0));
	}
	if (rc < 0)
		return rc;
	*ret = take(id);
	return *ret ? 1 : 0;
}

static bool is_hex(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n <= ID_HEX_LEN && strspn(s, "0123456789abcdef") == n;
}

/* What can only be an ID; a tag of that look must not stand in its place. */
static bool is_only_id(const char *name)
{
	return str_starts(name, id_prefix) || (strlen(name) == ID_HEX_LEN && is_hex(name));
}

static int find_by_id(struct runtime *rt, const char *name, char **ret, struct err *err)
{
	const char *hex = str_starts(name, id_prefix) ? name + strlen(id_prefix) : name;
	auto_free char *prefix = NULL;

	if (!is_hex(hex))
		return 0;
	prefix = mem_fmt("%s%s", id_prefix, hex);
	return find_prefix(rt, "SELECT id FROM images WHERE id BETWEEN ?1 AND ?1||'g' LIMIT 2",
			   prefix, ret, err);
}

/* err has why the name is none, for the case that it is no ID either. */
static int find_by_name(struct runtime *rt, const char *name, char **ret_id, char **ret_tag,
			struct err *err)
{
	auto_free char *tag = NULL, *id = NULL;
	int rc;

	rc = image_ref_normalize(name, &tag, err);
	if (rc < 0)
		return rc;
	if (strchr(tag, '@'))
		return image_repo_digest_get(rt, tag, ret_id, err);
	rc = store_tag_get(rt->store, tag, &id, err);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	*ret_id = take(id);
	*ret_tag = take(tag);
	return 1;
}

static int add_familiar(const struct tag_info *tag, void *arg, struct err *err)
{
	(void)err;
	strv_add_take(arg, image_ref_familiar(tag->name));
	return 0;
}

static int not_found(struct runtime *rt, const char *name, struct err *err)
{
	auto_strv struct strv names = { 0 };
	struct err ignored = { 0 };
	const char *nearest = NULL;
	int rc;

	rc = err_set(err, ENOENT, "no image '%.200s'", name);
	if (store_tag_walk(rt->store, NULL, add_familiar, &names, &ignored) >= 0 && names.n)
		nearest = str_nearest(name, (const char *const *)names.v);
	return nearest ? err_hint(err, "did you mean %s?", nearest) : rc;
}

int image_resolve(struct runtime *rt, const char *name, char **ret_id, char **ret_tag,
		  struct err *err)
{
	struct err why = { 0 };
	int named = 0, rc;

	*ret_tag = NULL;
	if (!is_only_id(name)) {
		named = find_by_name(rt, name, ret_id, ret_tag, &why);
		if (named > 0)
			return 0;
	}
	rc = find_by_id(rt, name, ret_id, err);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	if (named < 0) {
		*err = why;
		return named;
	}
	return not_found(rt, name, err);
}

/* 1 with the draft image of a build step. */
static int find_step(struct runtime *rt, const char *name, struct image **ret, struct err *err)
{
	static const char row[] =
		"SELECT coalesce(snapshot,0),size,created,config FROM steps WHERE id=?1";
	auto_db_stmt struct db_stmt *st = NULL;
	auto_free char *id = NULL;
	struct image *img;
	int rc;

	if (strlen(name) < STEP_PREFIX_MIN || !is_hex(name))
		return 0;
	rc = find_prefix(rt, "SELECT id FROM steps WHERE id BETWEEN ?1 AND ?1||'g' LIMIT 2", name,
			 &id, err);
	if (rc <= 0)
		return rc;
	rc = db_query(rt->db, row, DB_ARGS(DB_T(id)), &st, err);
	if (rc >= 0)
		rc = db_step(st, err);
	if (rc <= 0)
		return rc;
	img = mem_alloc(sizeof(*img));
	img->snapshot = db_col_int(st, 0);
	img->created_s = db_col_int(st, 2);
	img->config = mem_str(db_col_str(st, 3));
	*ret = img;
	return 1;
}

/* The content of all layers: a step's row knows its own only. */
static int sum_layers(struct runtime *rt, struct image *img, struct err *err)
{
	auto_free struct image_layer *l = NULL;
	size_t n = 0;
	int rc;

	rc = image_layers(rt, img->snapshot, &l, &n, err);
	for (size_t i = 0; rc >= 0 && i < n; i++)
		img->size_bytes += l[i].size_bytes;
	return rc;
}

int image_find(struct runtime *rt, const char *name, struct image **ret, struct err *err)
{
	auto_image struct image *step = NULL;
	auto_free char *id = NULL, *tag = NULL;
	struct err why = { 0 };
	int rc;

	rc = image_resolve(rt, name, &id, &tag, &why);
	if (rc >= 0)
		return image_get(rt, id, ret, err);
	if (rc == -ENOENT) {
		rc = find_step(rt, name, &step, err);
		if (rc > 0)
			rc = sum_layers(rt, step, err);
		if (rc < 0)
			return rc;
	}
	if (!step) {
		*err = why;
		return -why.code;
	}
	*ret = take(step);
	return 0;
}
