/* SPDX-License-Identifier: Apache-2.0 */
/* States, the moves allowed between them, and how the rows follow. */
#include <shale/container.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/db.h>
#include <shale/base/fault.h>
#include <shale/base/proc.h>

#include "priv.h"

#define BIT(s) (1u << (s))

static const unsigned may_become[] = {
	/* A claim that does not lead to a running program goes back to where it came from. */
	[CONTAINER_CREATED] = BIT(CONTAINER_RUNNING) | BIT(CONTAINER_REMOVING),
	[CONTAINER_RUNNING] =
		BIT(CONTAINER_CREATED) | BIT(CONTAINER_EXITED) | BIT(CONTAINER_REMOVING),
	[CONTAINER_EXITED] = BIT(CONTAINER_RUNNING) | BIT(CONTAINER_REMOVING),
	[CONTAINER_REMOVING] = 0,
};

static const char *const names[] = {
	[CONTAINER_CREATED] = "created",
	[CONTAINER_RUNNING] = "running",
	[CONTAINER_EXITED] = "exited",
	[CONTAINER_REMOVING] = "removing",
};

const char *container_state_name(enum container_state state)
{
	return state >= CONTAINER_CREATED && state <= CONTAINER_REMOVING ? names[state] : "unknown";
}

const char *container_state_text(const struct container *c)
{
	if (container_is_restarting(c))
		return "restarting";
	return container_is_paused(c) ? "paused" : container_state_name(c->state);
}

int container_state_find(const char *name)
{
	if (strcmp(name, "paused") == 0 || strcmp(name, "restarting") == 0)
		return CONTAINER_RUNNING;
	for (int s = CONTAINER_CREATED; s <= CONTAINER_REMOVING; s++)
		if (strcmp(names[s], name) == 0)
			return s;
	return -EINVAL;
}

bool container_may_become(enum container_state from, enum container_state to)
{
	return from >= CONTAINER_CREATED && from <= CONTAINER_REMOVING &&
	       (may_become[from] & BIT(to)) != 0;
}

/* Those that may become it, as a bit set for SQL. */
static int64_t sources(enum container_state to)
{
	int64_t set = 0;

	for (unsigned s = CONTAINER_CREATED; s <= CONTAINER_REMOVING; s++)
		if (may_become[s] & BIT(to))
			set |= BIT(s);
	return set;
}

/* What its policy starts again after a power cut is on the disk as running. */
int container_claim(struct container *c, struct err *err)
{
	bool comes_back = c->spec.restart && !str_eq(c->spec.restart, "no");
	auto_db_tx struct db *tx = NULL;
	pid_t self = getpid();
	uint64_t start = proc_start_time(self);
	int64_t now = proc_now_ns();
	int rc = comes_back ? db_tx_begin(c->rt->db, DB_FULL, &tx, err) : 0;

	if (rc < 0)
		return rc;
	rc = db_run(
		c->rt->db,
		"UPDATE containers SET state=2,monitor=?2,monitor_start=?3,boot=?4,pid=NULL,"
		"start_time=NULL,started_ns=?5,error=NULL,exit_code=NULL WHERE id=?1 AND (1<<state)&?6",
		DB_ARGS(DB_T(c->id), DB_I(self), DB_I(start), DB_T(proc_boot_id()), DB_I(now),
			DB_I(sources(CONTAINER_RUNNING))),
		err);
	fault_point("container.start.claimed");
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(err, EBUSY, "container %s is running already", c->name);
	rc = tx ? db_tx_commit(&tx, err) : 0;
	if (rc < 0)
		return rc;
	c->state = CONTAINER_RUNNING;
	c->keeper = self;
	c->keeper_start = start;
	c->started_ns = now;
	c->pid = 0;
	c->exit_code = 0;
	return 0;
}

int container_claim_again(struct container *c, struct err *err)
{
	int rc;

	c->started_ns = proc_now_ns();
	c->pid = 0;
	rc = db_run(
		c->rt->db,
		"UPDATE containers SET started_ns=?2,pid=NULL,start_time=NULL,exit_code=NULL,"
		"error=NULL WHERE id=?1 AND state=2 AND monitor=?3 AND monitor_start=?4",
		DB_ARGS(DB_T(c->id), DB_I(c->started_ns), DB_I(c->keeper), DB_I(c->keeper_start)),
		err);
	if (rc == 0)
		return err_set(err, ENOENT, "container %s is somebody else's by now", c->name);
	return rc < 0 ? rc : 0;
}

int container_record_restarting(struct container *c, int exit_code, struct err *err)
{
	int rc;

	c->finished_ns = proc_now_ns();
	c->exit_code = exit_code;
	c->pid = 0;
	rc = db_run(c->rt->db,
		    "UPDATE containers SET finished_ns=?2,exit_code=?3,pid=NULL,start_time=NULL"
		    " WHERE id=?1 AND state=2 AND monitor=?4 AND monitor_start=?5",
		    DB_ARGS(DB_T(c->id), DB_I(c->finished_ns), DB_I(exit_code), DB_I(c->keeper),
			    DB_I(c->keeper_start)),
		    err);
	if (rc == 0)
		return err_set(err, ENOENT, "container %s is somebody else's by now", c->name);
	return rc < 0 ? rc : 0;
}

int container_record_pid(struct container *c, struct err *err)
{
	int rc;

	c->start_time = proc_start_time(c->pid);
	rc = db_run(c->rt->db,
		    "UPDATE containers SET pid=?2,start_time=?3 WHERE id=?1 AND monitor=?4",
		    DB_ARGS(DB_T(c->id), DB_I(c->pid), DB_I(c->start_time), DB_I(c->keeper)), err);
	return rc < 0 ? rc : 0;
}

int container_record_exit(struct container *c, int exit_code, const char *error, struct err *err)
{
	int64_t now = proc_now_ns();
	int rc;

	rc = db_run(
		c->rt->db,
		"UPDATE containers SET state=3,exit_code=?2,error=?3,finished_ns=?4,pid=NULL,"
		"start_time=NULL WHERE id=?1 AND (1<<state)&?5 AND monitor=?6 AND monitor_start=?7",
		DB_ARGS(DB_T(c->id), DB_I(exit_code), DB_T(error), DB_I(now),
			DB_I(sources(CONTAINER_EXITED)), DB_I(c->keeper), DB_I(c->keeper_start)),
		err);
	fault_point("container.finish.recorded");
	if (rc <= 0)
		return rc;
	c->state = CONTAINER_EXITED;
	c->exit_code = exit_code;
	c->finished_ns = now;
	c->pid = 0;
	return 1;
}

int container_record_failure(struct container *c, enum container_state before, int exit_code,
			     const char *error, struct err *err)
{
	int rc;

	rc = db_run(
		c->rt->db,
		"UPDATE containers SET state=?2,exit_code=?3,error=?4,pid=NULL,start_time=NULL"
		" WHERE id=?1 AND state=2 AND monitor=?5",
		DB_ARGS(DB_T(c->id), DB_I(before), DB_I(exit_code), DB_T(error), DB_I(c->keeper)),
		err);
	return rc < 0 ? rc : 0;
}
