/* SPDX-License-Identifier: Apache-2.0 */
/* A build step that failed becomes a container, to be entered and repaired, and a step again. */
#include <shale/container.h>

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <shale/base/db.h>
#include <shale/base/fault.h>
#include <shale/base/proc.h>

#include "priv.h"

int container_adopt(struct runtime *rt, const struct container_spec *s, int64_t snapshot,
		    struct container **ret, struct err *err)
{
	auto_container struct container *c = mem_alloc(sizeof(*c));
	auto_db_tx struct db *tx = NULL;
	int rc = container_spec_check(s, err);

	if (rc < 0)
		return rc;
	c->rt = rt;
	proc_random_hex(c->id, CONTAINER_ID_LEN);
	container_spec_copy(&c->spec, s);
	c->name = mem_str(s->name);
	c->image_name = mem_str(s->image);
	c->command = container_command_text(&c->spec);
	c->snapshot = snapshot;
	c->state = CONTAINER_CREATED;
	c->boot = mem_str(proc_boot_id());
	c->created_ns = proc_now_ns();
	rc = db_tx_begin(rt->db, DB_LAZY, &tx, err);
	if (rc >= 0)
		rc = container_dir_make(c, err);
	if (rc >= 0)
		rc = container_insert(c, err);
	if (rc >= 0)
		rc = container_kept_take(c, err);
	fault_point("container.adopt.rows");
	if (rc >= 0)
		rc = db_tx_commit(&tx, err);
	if (rc < 0)
		return rc;
	*ret = take(c);
	return 0;
}

int container_give_up(struct container *c, int64_t *ret_snapshot, struct err *err)
{
	auto_db_tx struct db *tx = NULL;
	int rc;

	if (c->state == CONTAINER_RUNNING)
		return err_set(err, EBUSY, "container %s is running: leave it first", c->name);
	rc = db_tx_begin(c->rt->db, DB_LAZY, &tx, err);
	if (rc < 0)
		return rc;
	rc = db_run(c->rt->db, "DELETE FROM containers WHERE id=?1 AND state<>2",
		    DB_ARGS(DB_T(c->id)), err);
	if (rc == 0)
		return err_set(err, EBUSY, "container %s was started or removed meanwhile",
			       c->name);
	if (rc >= 0)
		rc = container_kept_forget(c, err);
	if (rc >= 0)
		rc = db_tx_commit(&tx, err);
	if (rc < 0)
		return rc;
	*ret_snapshot = c->snapshot;
	return 0;
}
