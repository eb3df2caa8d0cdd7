/* SPDX-License-Identifier: Apache-2.0 */
#include "finish.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>
#include <shale/base/sys.h>
#include <shale/image.h>

/* A build that follows at once is not slowed down, and its layers are synced along. */
enum { SETTLE_US = 200000 };
/* So much is written before it is worth a sync; looked at so often. */
enum { EARLY_BYTES = 32 << 20, EARLY_MS = 20, USAGE_BLOCK = 512 };

int finish_begin(struct finish *f, struct cli *c, struct err *err)
{
	f->store_fd = openat(c->rt.root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return f->store_fd < 0 ? err_sys(err, "open the store") : 0;
}

/* --- meanwhile --- */

static bool is_stopped(const struct finish *f)
{
	struct pollfd p = { .fd = f->stop_fd, .events = POLLIN };

	return poll(&p, 1, EARLY_MS) > 0;
}

static void *sync_early(void *arg)
{
	struct finish *f = arg;
	struct rusage now;
	long begun = 0;

	while (!is_stopped(f)) {
		if (getrusage(RUSAGE_SELF, &now) < 0 ||
		    now.ru_oublock - begun < EARLY_BYTES / USAGE_BLOCK)
			continue;
		begun = now.ru_oublock;
		syncfs(f->early_fd);
	}
	return NULL;
}

/* By an fd of its own: each tells an error once, and that is for who counts on it. */
void finish_early(struct finish *f)
{
	f->early_fd = openat(f->store_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f->stop_fd = eventfd(0, EFD_CLOEXEC);
	f->is_early =
		f->early_fd >= 0 && f->stop_fd >= 0 && proc_thread(&f->early, sync_early, f) == 0;
}

static void stop_early(struct finish *f)
{
	if (f->is_early && eventfd_write(f->stop_fd, 1) == 0)
		pthread_join(f->early, NULL);
	f->is_early = false;
	fd_close(&f->early_fd);
	fd_close(&f->stop_fd);
}

/* --- at the end --- */

/*
 * What a sync makes durable is what stood before it: rows come after their files, a layer's own row
 * after its file table. A row made during the sync is the next one's.
 */
static const struct {
	const char *find, *mark;
} durable[] = {
	{ "SELECT json_group_array(id) FROM snapshots WHERE durable=0 AND kind=3 AND id IN"
	  " (SELECT snapshot FROM layers WHERE diff_id IS NOT NULL)",
	  "UPDATE snapshots SET durable=1 WHERE id IN (SELECT value FROM json_each(?1))" },
	{ "SELECT json_group_array(id) FROM images WHERE durable=0",
	  "UPDATE images SET durable=1 WHERE id IN (SELECT value FROM json_each(?1)) AND"
	  " (snapshot IS NULL OR snapshot IN (SELECT id FROM snapshots WHERE durable=1))" },
	{ "SELECT json_group_array(id) FROM steps WHERE durable=0",
	  "UPDATE steps SET durable=1 WHERE id IN (SELECT value FROM json_each(?1)) AND"
	  " (snapshot IS NULL OR snapshot IN (SELECT id FROM snapshots WHERE durable=1))" },
	{ "SELECT json_group_array(digest) FROM layer_blobs WHERE durable=0",
	  "UPDATE layer_blobs SET durable=1 WHERE digest IN (SELECT value FROM json_each(?1))" },
	{ "SELECT json_group_array(digest) FROM manifests WHERE durable=0",
	  "UPDATE manifests SET durable=1 WHERE digest IN (SELECT value FROM json_each(?1))" },
	{ "SELECT json_group_array(digest) FROM indexes WHERE durable=0",
	  "UPDATE indexes SET durable=1 WHERE digest IN (SELECT value FROM json_each(?1))" },
};

static void free_ids(char *(*ids)[ARRAY_LEN(durable)])
{
	for (size_t i = 0; i < ARRAY_LEN(durable); i++)
		free((*ids)[i]);
}

static int sync_and_mark(struct finish *f, struct db *db, struct err *err)
{
	cleanup(free_ids) char *ids[ARRAY_LEN(durable)] = { NULL };
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(durable) && rc >= 0; i++)
		rc = db_get_str(db, durable[i].find, NULL, &ids[i], err);
	fault_point("finish.sync");
	if (rc >= 0 && syncfs(f->store_fd) < 0)
		rc = err_sys(err, "sync the store");
	fault_point("finish.synced");
	if (rc >= 0)
		rc = db_begin(db, DB_LAZY, err);
	for (size_t i = 0; i < ARRAY_LEN(durable) && rc >= 0; i++)
		rc = db_run(db, durable[i].mark, DB_ARGS(DB_T(ids[i])), err);
	if (rc >= 0)
		rc = db_commit(db, err);
	/* Not inside: beside a neighbour's dirty pages it is long, and who builds next would wait.
	 */
	if (rc >= 0)
		rc = db_sync(db, err);
	fault_point("finish.marked");
	return rc < 0 || !db_is_log_long(db) ? rc : db_checkpoint(db, err);
}

static int make_durable(struct finish *f, struct err *err)
{
	struct db *db = NULL;
	int rc = db_open(f->store_fd, &db, err);

	if (rc >= 0)
		rc = sync_and_mark(f, db, err);
	db_close(db);
	return rc;
}

/*
 * One syncs, one waits its turn, and the rest need not even fork: who waits begins after their rows
 * stood and syncs for them too. So many builds at once cost two syncs, not one each.
 */
static void in_turn(struct finish *f, struct cli *c, int waiting)
{
	auto_image_removal struct image_removal r = { 0 };
	struct err ignored;
	auto_fd int running = fs_lock(f->store_fd, "tmp/sync.running", true, &ignored);

	usleep(SETTLE_US);
	flock(waiting, LOCK_UN);
	if (running < 0)
		return;
	make_durable(f, &ignored);
	sys_ioprio_set(IOPRIO_WHO_PROCESS, 0, IOPRIO_IDLE);
	gc_run(c, &r, &ignored);
	if (c->opened)
		runtime_close(&c->rt);
}

/* The lock goes along. */
static void detached(struct finish *f, struct cli *c, int waiting)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	for (int i = 0; i < 3; i++)
		dup2(null, i);
	if (fork() == 0)
		in_turn(f, c, waiting);
	_exit(0);
}

static void finish_later(struct finish *f, struct cli *c)
{
	struct err ignored;
	auto_fd int waiting = fs_lock(f->store_fd, "tmp/sync.waiting", false, &ignored);
	pid_t pid;
	int code;

	if (waiting < 0)
		return;
	pid = fork();
	if (pid == 0)
		detached(f, c, waiting);
	if (pid > 0)
		proc_wait(pid, &code, &ignored);
}

void finish_end(struct finish *f, struct cli *c, bool wait)
{
	struct err ignored;

	/* No SQLite handle may cross the fork. */
	if (c->opened)
		runtime_close(&c->rt);
	c->opened = false;
	stop_early(f);
	if (f->store_fd < 0)
		return;
	if (wait)
		make_durable(f, &ignored);
	else
		finish_later(f, c);
	fd_close(&f->store_fd);
}
