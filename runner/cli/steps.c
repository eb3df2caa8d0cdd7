/* SPDX-License-Identifier: Apache-2.0 */
/* steps: the build steps that led to one, by the parent that each row names. */
#include "priv.h"

/* The row of that id or its beginning; *ret_parent NULL at the first. 0 when there is none. */
static int find_step(struct cli *c, const char *id, char **ret_id, char **ret_parent,
		     struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc;

	rc = db_query(c->rt.db,
		      "SELECT id,parent FROM steps WHERE id BETWEEN ?1 AND ?1||'g' LIMIT 1",
		      DB_ARGS(DB_T(id)), &st, err);
	if (rc >= 0)
		rc = db_step(st, err);
	if (rc > 0) {
		*ret_id = mem_str(db_col_str(st, 0));
		*ret_parent = mem_str(db_col_str(st, 1));
	}
	return rc;
}

int steps_of(struct cli *c, const char *step, size_t n, json_t **ret, struct err *err)
{
	auto_json json_t *ids = json_array();
	auto_free char *next = mem_str(step);

	for (size_t i = 0; i < n; i++) {
		auto_free char *id = NULL, *parent = NULL;
		int rc = next && *next ? find_step(c, next, &id, &parent, err) : 0;

		if (rc < 0)
			return rc;
		json_array_insert_new(ids, 0, json_from_str(id ? id : ""));
		mem_cleanup(&next);
		next = take(parent);
	}
	*ret = take(ids);
	return 0;
}
