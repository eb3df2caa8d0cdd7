/* SPDX-License-Identifier: Apache-2.0 */
/* Rows: found, walked, inserted, deleted. */
#include <shale/container.h>

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <shale/base/db.h>
#include <shale/base/proc.h>

#include "priv.h"

/* The spec is long: who does not want it leaves it where it is. */
#define COLUMNS_BRIEF                                                                                 \
	"id,name,image,image_name,coalesce(snapshot,0),state,coalesce(pid,0),coalesce(start_time,0)," \
	"coalesce(monitor,0),coalesce(monitor_start,0),boot,coalesce(exit_code,0),error,created_ns,"  \
	"coalesce(started_ns,0),coalesce(finished_ns,0),command,auto_remove,"
#define COLUMNS COLUMNS_BRIEF "spec"

void container_free(struct container *c)
{
	if (!c)
		return;
	free(c->name);
	free(c->image_name);
	free(c->command);
	free(c->image_id);
	free(c->error);
	free(c->boot);
	sandbox_beside_end(c->net);
	if (!c->is_brief)
		container_spec_free(&c->spec);
	free(c);
}

void container_cleanup(struct container **c)
{
	container_free(*c);
}

static int read_row(struct runtime *rt, struct db_stmt *st, bool brief, struct container **ret,
		    struct err *err)
{
	auto_container struct container *c = mem_alloc(sizeof(*c));
	const char *spec = db_col_str(st, 18), *id = db_col_str(st, 0);
	int rc;

	c->rt = rt;
	snprintf(c->id, sizeof(c->id), "%s", id ? id : "");
	c->name = mem_str(db_col_str(st, 1));
	c->image_id = mem_str(db_col_str(st, 2));
	c->image_name = mem_str(db_col_str(st, 3));
	c->snapshot = db_col_int(st, 4);
	c->state = (enum container_state)db_col_int(st, 5);
	c->pid = (pid_t)db_col_int(st, 6);
	c->start_time = (uint64_t)db_col_int(st, 7);
	c->keeper = (pid_t)db_col_int(st, 8);
	c->keeper_start = (uint64_t)db_col_int(st, 9);
	c->boot = mem_str(db_col_str(st, 10));
	c->exit_code = (int)db_col_int(st, 11);
	c->error = mem_str(db_col_str(st, 12));
	c->created_ns = db_col_int(st, 13);
	c->started_ns = db_col_int(st, 14);
	c->finished_ns = db_col_int(st, 15);
	c->command = mem_str(db_col_str(st, 16));
	c->auto_remove = db_col_int(st, 17) != 0;
	c->is_brief = brief && c->state != CONTAINER_RUNNING;
	rc = c->is_brief ? 0 : container_spec_parse(spec ? spec : "{}", &c->spec, err);
	if (rc < 0)
		return err_ctx(err, "container %s", c->name);
	*ret = take(c);
	return 0;
}

int container_name_again(struct container *c, struct err *err)
{
	char *name = NULL;
	int rc = db_get_str(c->rt->db, "SELECT name FROM containers WHERE id=?1",
			    DB_ARGS(DB_T(c->id)), &name, err);

	if (rc <= 0)
		return rc;
	free(c->name);
	c->name = name;
	return 0;
}

int container_load(struct runtime *rt, const char *id, struct container **ret, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc;

	rc = db_query(rt->db, "SELECT " COLUMNS " FROM containers WHERE id=?1", DB_ARGS(DB_T(id)),
		      &st, err);
	if (rc >= 0)
		rc = db_step(st, err);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(err, ENOENT, "no such container: %s", id);
	return read_row(rt, st, false, ret, err);
}

int container_reload(struct container *c, struct err *err)
{
	auto_container struct container *fresh = NULL;
	struct container old = *c;
	int rc = container_load(c->rt, c->id, &fresh, err);

	if (rc < 0)
		return rc;
	assert(fresh);
	*c = *fresh;
	c->drop_volumes = old.drop_volumes;
	*fresh = old; /* which is freed */
	return 0;
}

static bool is_hex(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n <= CONTAINER_ID_LEN && strspn(s, "0123456789abcdef") == n;
}

/* A name first, as Docker; an id or the beginning of one only when no name is like that. */
static int find_id(struct runtime *rt, const char *name, char **ret_id, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc;

	rc = db_get_str(rt->db, "SELECT id FROM containers WHERE name=?1",
			DB_ARGS(DB_T(*name == '/' ? name + 1 : name)), ret_id, err);
	if (rc != 0)
		return rc;
	if (!is_hex(name))
		return err_set(err, ENOENT, "no such container: %s", name);
	rc = db_query(rt->db, "SELECT id FROM containers WHERE id>=?1 AND id<?1||'g' LIMIT 2",
		      DB_ARGS(DB_T(name)), &st, err);
	if (rc >= 0)
		rc = db_step(st, err);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(err, ENOENT, "no such container: %s", name);
	*ret_id = mem_str(db_col_str(st, 0));
	rc = db_step(st, err);
	if (rc <= 0)
		return rc;
	free(take(*ret_id));
	return err_set(err, EINVAL, "several containers have ids that begin with %s", name);
}

int container_find(struct runtime *rt, const char *name, struct container **ret, struct err *err)
{
	auto_container struct container *c = NULL;
	auto_free char *id = NULL;
	int rc;

	rc = find_id(rt, name, &id, err);
	if (rc >= 0)
		rc = container_load(rt, id, &c, err);
	if (rc >= 0)
		rc = container_reconcile(c, err);
	if (rc < 0)
		return rc;
	*ret = take(c);
	return 0;
}

/* All ids first: fn may change the table, and each row is read when its turn comes. */
int container_walk(struct runtime *rt, container_fn *fn, void *arg, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	auto_strv struct strv ids = { 0 };
	int rc;

	rc = db_query(rt->db, "SELECT id FROM containers ORDER BY created_ns DESC", NULL, &st, err);
	while (rc >= 0 && (rc = db_step(st, err)) > 0)
		strv_add(&ids, db_col_str(st, 0));
	db_stmt_cleanup(&st);
	st = NULL;
	for (size_t i = 0; rc >= 0 && i < ids.n; i++) {
		auto_container struct container *c = NULL;

		rc = container_load(rt, ids.v[i], &c, err);
		if (rc >= 0)
			rc = container_reconcile(c, err);
		if (rc == -ENOENT) { /* removed since */
			err_clear(err);
			rc = 0;
			continue;
		}
		if (rc >= 0)
			rc = fn(c, arg, err);
	}
	return rc < 0 ? rc : 0;
}

/* Those whose keeper is gone are put in order first: nobody writes while the rows are read. */
static int find_lost(struct runtime *rt, struct strv *ret, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc = db_query(rt->db,
			  "SELECT id,coalesce(monitor,0),coalesce(monitor_start,0),boot"
			  " FROM containers WHERE state IN (2,4)",
			  NULL, &st, err);

	while (rc >= 0 && (rc = db_step(st, err)) > 0)
		if (!str_eq(db_col_str(st, 3), proc_boot_id()) ||
		    !proc_is_alive((pid_t)db_col_int(st, 1), (uint64_t)db_col_int(st, 2)))
			strv_add(ret, db_col_str(st, 0));
	return rc;
}

static int reconcile_lost(struct runtime *rt, struct err *err)
{
	auto_strv struct strv ids = { 0 };
	int rc = find_lost(rt, &ids, err);

	for (size_t i = 0; rc >= 0 && i < ids.n; i++) {
		auto_container struct container *c = NULL;

		rc = container_load(rt, ids.v[i], &c, err);
		if (rc >= 0)
			rc = container_reconcile(c, err);
		if (rc == -ENOENT) { /* removed since */
			err_clear(err);
			rc = 0;
		}
	}
	return rc;
}

/* Only the keys are sorted: SQLite would copy whole rows for that. */
#define ORDERED                                                                                    \
	" FROM (SELECT id AS i FROM containers WHERE ?1=0 OR state IN (2,4)"                       \
	" ORDER BY created_ns DESC) CROSS JOIN containers ON id=i"

int container_list(struct runtime *rt, unsigned flags, container_fn *fn, void *arg, struct err *err)
{
	static const char whole[] = "SELECT " COLUMNS ORDERED;
	static const char brief[] =
		"SELECT " COLUMNS_BRIEF "CASE WHEN state IN (2,4) THEN spec END" ORDERED;
	auto_db_stmt struct db_stmt *st = NULL;
	int rc = reconcile_lost(rt, err);

	if (rc >= 0)
		rc = db_query(rt->db, flags & CONTAINER_LIST_BRIEF ? brief : whole,
			      DB_ARGS(DB_I(flags & CONTAINER_LIST_RUNNING)), &st, err);
	while (rc >= 0 && (rc = db_step(st, err)) > 0) {
		auto_container struct container *c = NULL;

		rc = read_row(rt, st, flags & CONTAINER_LIST_BRIEF, &c, err);
		if (rc >= 0)
			rc = fn(c, arg, err);
	}
	return rc < 0 ? rc : 0;
}

int container_insert(const struct container *c, struct err *err)
{
	auto_free char *spec = container_spec_text(&c->spec);
	int rc;

	rc = db_run(
		c->rt->db,
		"INSERT INTO containers(id,name,image,image_name,snapshot,state,monitor,monitor_start,"
		"boot,created_ns,started_ns,command,auto_remove,spec)"
		" VALUES(?1,?2,?3,?4,?5,?6,nullif(?7,0),nullif(?8,0),?9,?10,nullif(?11,0),?12,?13,?14)",
		DB_ARGS(DB_T(c->id), DB_T(c->name), DB_T(c->image_id), DB_T(c->image_name),
			DB_I(c->snapshot), DB_I(c->state), DB_I(c->keeper), DB_I(c->keeper_start),
			DB_T(c->boot), DB_I(c->created_ns), DB_I(c->started_ns), DB_T(c->command),
			DB_I(c->auto_remove), DB_T(spec)),
		err);
	return rc < 0 ? rc : 0;
}
