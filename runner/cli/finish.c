/* SPDX-License-Identifier: Apache-2.0 */
#include "finish.h"

#include <fcntl.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>
#include <shale/base/sys.h>

/* A build that follows at once is not slowed down, and its layers are synced along. */
enum { SETTLE_US = 200000 };

int finish_begin(struct finish *f, struct cli *c, struct err *err)
{
	f->store_fd = openat(c->rt.root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return f->store_fd < 0 ? err_sys(err, "open the store") : 0;
}

/* Rows that stood before the sync are on disk after it: a row comes after its files. */
static int make_durable(struct finish *f, struct err *err)
{
	static const char *const update[] = {
		"UPDATE snapshots SET durable=1 WHERE durable=0 AND kind=3 AND id<=?1",
		"UPDATE images SET durable=1 WHERE durable=0 AND stored<?2 AND (snapshot IS NULL OR snapshot<=?1)",
		"UPDATE steps SET durable=1 WHERE durable=0 AND created<?2 AND (snapshot IS NULL OR snapshot<=?1)",
	};
	struct db *db = NULL;
	int64_t last = 0, now = proc_now_ns() / 1000000000 + 1;
	int rc = db_open(f->store_fd, &db, err);

	if (rc >= 0)
		rc = db_get_int(db, "SELECT max(id) FROM snapshots WHERE kind=3", NULL, &last, err);
	if (rc >= 0 && syncfs(f->store_fd) < 0)
		rc = err_sys(err, "sync the store");
	if (rc >= 0)
		rc = db_begin(db, DB_FULL, err);
	for (size_t i = 0; i < ARRAY_LEN(update) && rc >= 0; i++)
		rc = db_run(db, update[i], DB_ARGS(DB_I(last), DB_I(now)), err);
	if (rc >= 0)
		rc = db_commit(db, err);
	if (rc >= 0)
		rc = db_checkpoint(db, err);
	db_close(db);
	return rc;
}

/*
 * One syncs, one waits its turn, and the rest may go: who waits begins after their rows stood and
 * syncs for them too. So many builds at once cost two syncs, not one each.
 */
static void in_turn(struct finish *f)
{
	auto_fd int waiting = -1, running = -1;
	struct err ignored;

	waiting = fs_lock(f->store_fd, "tmp/sync.waiting", false, &ignored);
	if (waiting < 0)
		return;
	running = fs_lock(f->store_fd, "tmp/sync.running", true, &ignored);
	usleep(SETTLE_US);
	fd_close(&waiting);
	if (running >= 0)
		make_durable(f, &ignored);
}

static void detached(struct finish *f)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	for (int i = 0; i < 3; i++)
		dup2(null, i);
	if (fork() == 0)
		in_turn(f);
	_exit(0);
}

void finish_end(struct finish *f, struct cli *c, bool wait)
{
	struct err ignored;
	pid_t pid;
	int code;

	/* No SQLite handle may cross the fork. */
	if (c->opened)
		runtime_close(&c->rt);
	c->opened = false;
	if (f->store_fd < 0)
		return;
	if (wait) {
		make_durable(f, &ignored);
	} else {
		pid = fork();
		if (pid == 0)
			detached(f);
		if (pid > 0)
			proc_wait(pid, &code, &ignored);
	}
	fd_close(&f->store_fd);
}
