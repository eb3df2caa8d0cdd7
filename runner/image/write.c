/* SPDX-License-Identifier: Apache-2.0 */
/* A config and a snapshot become an image: blob, row and tags. Needs libcrypto. */
#include <shale/image.h>

#include <errno.h>
#include <string.h>
#include <time.h>

#include <shale/base/fault.h>
#include <shale/base/hash.h>
#include <shale/base/proc.h>
#include <shale/store.h>

#include "priv.h"

/* The same ID means the same content: an image that is there keeps its snapshot, and its steps
 * unless they ran anew over that very snapshot. */
static int insert_row(struct runtime *rt, const char *id, const struct image_new *n,
		      struct err *err)
{
	static const char sql[] =
		"INSERT INTO images(id,snapshot,size,created,stored,history,boot) VALUES(?1,nullif(?2,0),?3,?4,?5,?6,?7)"
		" ON CONFLICT(id) DO UPDATE SET stored=excluded.stored,"
		" history=CASE WHEN snapshot IS excluded.snapshot THEN coalesce(excluded.history,history) ELSE history END";
	int rc = db_run(rt->db, sql,
			DB_ARGS(DB_T(id), DB_I(n->snapshot), DB_I((int64_t)n->size_bytes),
				DB_I(n->created_s), DB_I(time(NULL)), DB_T(n->history),
				DB_T(proc_boot_id())),
			err);

	return rc < 0 ? err_ctx(err, "image %.19s", id) : 0;
}

int image_put(struct runtime *rt, const struct image_new *n, char ret_id[DIGEST_STR_MAX],
	      struct err *err)
{
	auto_db_tx struct db *tx = NULL;
	char id[DIGEST_STR_MAX];
	struct digest d;
	int rc;

	if (n->len > JSON_BYTES_MAX)
		return err_set(err, EFBIG, "an image config of %zu bytes, at most %d can be used",
			       n->len, JSON_BYTES_MAX);
	/* The blob is put inside the transaction: a removal of the same image takes its blob away
	 * under the same lock. */
	rc = db_tx_begin(rt->db, DB_LAZY, &tx, err);
	if (rc >= 0)
		rc = store_blob_put(rt->store, n->text, n->len, &d, err);
	if (rc < 0)
		return rc;
	digest_format(&d, id);
	rc = insert_row(rt, id, n, err);
	for (size_t i = 0; rc >= 0 && n->tags && i < n->tags->n; i++)
		rc = image_tag(rt, id, n->tags->v[i], err);
	fault_point("image.put.rows");
	if (rc >= 0)
		rc = db_tx_commit(&tx, err);
	if (rc < 0)
		return rc;
	memcpy(ret_id, id, sizeof(id));
	return 0;
}

/* The steps of the history rows, or NULL where none is known: ["3f2a…",""]. */
static char *steps_text(const struct image_config *c)
{
	auto_json json_t *a = json_array();
	bool any = false;

	for (size_t i = 0; i < c->n_history; i++) {
		const char *step = c->history[i].step_id;

		any = any || (step && *step);
		json_array_append_new(a, json_from_str(step ? step : ""));
	}
	return any ? json_text(a) : NULL;
}

int image_write(struct runtime *rt, struct image_config *c, int64_t snapshot,
		const struct strv *tags, char ret_id[DIGEST_STR_MAX], struct err *err)
{
	auto_free struct image_layer *l = NULL;
	auto_free char *text = NULL, *steps = NULL;
	uint64_t size = 0;
	size_t n = 0;
	int rc;

	rc = snapshot ? image_layer_hash(rt, snapshot, err) : 0;
	if (rc >= 0)
		rc = image_layers(rt, snapshot, &l, &n, err);
	if (rc < 0)
		return rc;
	strv_free(&c->diff_ids);
	for (size_t i = 0; i < n; i++) {
		strv_add(&c->diff_ids, l[i].diff_id);
		size += l[i].size_bytes;
	}
	text = image_config_text(c);
	steps = steps_text(c);
	return image_put(rt,
			 &(struct image_new){ .text = text,
					      .len = strlen(text),
					      .snapshot = snapshot,
					      .size_bytes = size,
					      .created_s = c->created_s,
					      .history = steps,
					      .tags = tags },
			 ret_id, err);
}
