/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/image.h>

#include <errno.h>
#include <string.h>

#include <shale/store.h>

#include "priv.h"

static int set_tag(struct runtime *rt, const char *id, const char *normalized, struct err *err)
{
	auto_db_tx struct db *tx = NULL;
	int rc;

	if (strchr(normalized, '@'))
		return err_set(err, EINVAL,
			       "'%.200s': a name with a digest cannot be given to an image",
			       normalized);
	rc = db_tx_begin(rt->db, DB_FULL, &tx, err);
	if (rc >= 0)
		rc = store_tag_set(rt->store, normalized, id, err);
	if (rc >= 0)
		rc = db_run(rt->db, "DELETE FROM tag_docs WHERE name=?1", DB_ARGS(DB_T(normalized)),
			    err);
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

int image_tag(struct runtime *rt, const char *id, const char *normalized, struct err *err)
{
	int rc = set_tag(rt, id, normalized, err);

	if (rc >= 0)
		image_event(rt, "tag", id, normalized);
	return rc;
}

int image_tag_again(struct runtime *rt, const char *source, const char *id, const char *normalized,
		    struct err *err)
{
	auto_free char *name = NULL;
	auto_db_tx struct db *tx = NULL;
	struct err ignored;
	int rc = db_tx_begin(rt->db, DB_FULL, &tx, err);

	/* Before image_tag forgets it, if both are the same. An ID has none. */
	if (image_ref_normalize(source, &name, &ignored) < 0)
		name = mem_str("");
	if (rc >= 0 && !str_eq(name, normalized))
		rc = set_tag(rt, id, normalized, err);
	if (rc >= 0)
		rc = db_run(rt->db,
			    "INSERT OR REPLACE INTO tag_docs(name,image,digest)"
			    " SELECT ?1,image,digest FROM tag_docs WHERE name=?2 AND image=?3",
			    DB_ARGS(DB_T(normalized), DB_T(name), DB_T(id)), err);
	if (rc >= 0)
		rc = db_tx_commit(&tx, err);
	if (rc >= 0)
		image_event(rt, "tag", id, normalized);
	return rc;
}

int image_untag(struct runtime *rt, const char *normalized, struct err *err)
{
	auto_db_tx struct db *tx = NULL;
	auto_free char *id = NULL;
	int rc = db_tx_begin(rt->db, DB_FULL, &tx, err);

	if (rc >= 0)
		rc = store_tag_get(rt->store, normalized, &id, err);
	if (rc >= 0)
		rc = store_tag_remove(rt->store, normalized, err);
	if (rc >= 0)
		rc = db_run(rt->db, "DELETE FROM tag_docs WHERE name=?1", DB_ARGS(DB_T(normalized)),
			    err);
	if (rc >= 0)
		rc = db_tx_commit(&tx, err);
	if (rc >= 0)
		image_event(rt, "untag", id, normalized);
	return rc;
}

static int add_name(const struct tag_info *tag, void *arg, struct err *err)
{
	(void)err;
	strv_add(arg, tag->name);
	return 0;
}

int image_tags(struct runtime *rt, const char *id, struct strv *ret, struct err *err)
{
	return store_tag_walk(rt->store, id, add_name, ret, err);
}
