/* SPDX-License-Identifier: Apache-2.0 */
/* Step records: rows of steps and step_keys. */
#include <string.h>

#include <shale/base/hash.h>
#include <shale/base/proc.h>

#include "priv.h"

void step_free(struct step *s)
{
	mem_cleanup(&s->config);
}

int cache_find(struct runtime *rt, const struct key *k, struct step *ret, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc = db_query(
		rt->db,
		"SELECT s.id, s.snapshot, s.size, s.created, s.config, s.used FROM step_keys k"
		" JOIN steps s ON s.id=k.step WHERE k.key=?1",
		DB_ARGS(DB_B(k->digest.b, DIGEST_LEN)), &st, err);

	if (rc >= 0)
		rc = db_step(st, err);
	if (rc <= 0)
		return rc;
	snprintf(ret->id, sizeof(ret->id), "%s", db_col_str(st, 0));
	ret->snapshot = db_col_int(st, 1);
	ret->size_bytes = (uint64_t)db_col_int(st, 2);
	ret->created_s = db_col_int(st, 3);
	ret->config = mem_str(db_col_str(st, 4));
	ret->used_s = db_col_int(st, 5);
	return 1;
}

int cache_alias(struct runtime *rt, const struct key *k, const char *id, struct err *err)
{
	/* --no-cache and two builds at once: the newest record is the one that is found. */
	return db_run(rt->db, "INSERT OR REPLACE INTO step_keys(key, step) VALUES(?1, ?2)",
		      DB_ARGS(DB_B(k->digest.b, DIGEST_LEN), DB_T(id)), err);
}

int cache_put(struct runtime *rt, const struct key *k, const char *parent, const char *instruction,
	      struct step *s, struct err *err)
{
	auto_free char *ingredients = json_text(k->ingredients);
	auto_db_tx struct db *tx = NULL;
	int rc = db_tx_begin(rt->db, DB_LAZY, &tx, err);

	if (rc >= 0)
		rc = db_run(
			rt->db,
			"INSERT INTO steps(id, parent, snapshot, instruction, config, ingredients, size, created, used,"
			" boot) VALUES(?1, ?2, nullif(?3, 0), ?4, ?5, ?6, ?7, ?8, ?10, ?9)",
			DB_ARGS(DB_T(s->id), DB_T(parent), DB_I(s->snapshot), DB_T(instruction),
				DB_T(s->config), DB_T(ingredients), DB_I((int64_t)s->size_bytes),
				DB_I(s->created_s), DB_T(proc_boot_id()), DB_I(s->used_s)),
			err);
	if (rc >= 0 && !s->tainted)
		rc = cache_alias(rt, k, s->id, err);
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

int cache_touch(struct runtime *rt, const char *id, struct err *err)
{
	return db_run(rt->db, "UPDATE steps SET used=?2 WHERE id=?1",
		      DB_ARGS(DB_T(id), DB_I(proc_now_ns() / 1000000000)), err);
}

int cache_face(struct runtime *rt, const struct step *s, const char *shown, const char *instruction,
	       struct step *ret, struct err *err)
{
	auto_key struct key k = { .h = hash_new(), .ingredients = json_object() };
	auto_step struct step found = { 0 };
	int rc;

	key_add(&k, "kind", "face");
	key_add(&k, "step", s->id);
	key_add(&k, "parent", shown);
	hash_field_str(k.h, ret->config);
	key_end(&k);
	rc = cache_find(rt, &k, &found, err);
	if (rc < 0)
		return rc;
	if (rc > 0) {
		memcpy(ret->id, found.id, sizeof(ret->id));
		ret->used_s = found.used_s;
		return 0;
	}
	proc_random_hex(ret->id, STEP_ID_LEN);
	ret->snapshot = s->snapshot;
	ret->size_bytes = s->size_bytes;
	ret->created_s = s->created_s;
	ret->used_s = proc_now_ns() / 1000000000;
	return cache_put(rt, &k, shown, instruction, ret, err);
}
