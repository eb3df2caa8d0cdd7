/* SPDX-License-Identifier: Apache-2.0 */
#include "finish.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/json.h>
#include <shale/base/mem.h>
#include <shale/base/proc.h>
#include <shale/base/sys.h>
#include <shale/image.h>

/* A build that follows at once is not slowed down, and its layers are synced along. */
enum { SETTLE_US = 200000 };
/* So much is written before it is worth a sync; looked at so often. */
enum { EARLY_BYTES = 32 << 20, EARLY_MS = 20, USAGE_BLOCK = 512 };
/* With so much dirty on the machine, and no more files of our own than this, those are synced one
 * by one: 4 GiB of a neighbour's take seconds, in which whatever needs the journal waits. */
enum { DIRTY_KB = 256 << 10, OWN_FILES = 1000, MEMINFO_MAX = 16 << 10 };

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

static int sync_layer(int store_fd, const char *id, unsigned *left, struct err *err)
{
	auto_free char *fs = mem_fmt("snap/%s/fs", id), *table = mem_fmt("snap/%s/table", id),
		       *dir = mem_fmt("snap/%s", id);
	int rc = fs_sync_tree(store_fd, fs, left, err);

	if (rc >= 0)
		rc = fs_sync_file(store_fd, table, err);
	return rc < 0 ? rc : fs_sync_file(store_fd, dir, err);
}

static int sync_config(int store_fd, const char *id, unsigned *left, struct err *err)
{
	auto_free char *blob = mem_fmt("blobs/%s", id);
	char *colon = strchr(blob, ':');

	(void)left;
	if (!colon)
		return err_set(err, EBADMSG, "image id %s", id);
	*colon = '/';
	return fs_sync_file(store_fd, blob, err);
}

/* A step is a row. */
static int sync_nothing(int store_fd, const char *id, unsigned *left, struct err *err)
{
	(void)store_fd, (void)id, (void)left, (void)err;
	return 0;
}

/*
 * What a sync makes durable is what stood before it: rows come after their files, a layer's own row
 * after its file table. A row made during the sync is the next one's.
 */
static const struct {
	const char *find, *mark;
	int (*sync)(int store_fd, const char *id, unsigned *left, struct err *err); /* its files */
} durable[] = {
	{ "SELECT json_group_array(id) FROM snapshots WHERE durable=0 AND kind=3 AND id IN"
	  " (SELECT snapshot FROM layers WHERE diff_id IS NOT NULL)",
	  "UPDATE snapshots SET durable=1 WHERE id IN (SELECT value FROM json_each(?1))",
	  sync_layer },
	{ "SELECT json_group_array(id) FROM images WHERE durable=0",
	  "UPDATE images SET durable=1 WHERE id IN (SELECT value FROM json_each(?1)) AND"
	  " (snapshot IS NULL OR snapshot IN (SELECT id FROM snapshots WHERE durable=1))",
	  sync_config },
	{ "SELECT json_group_array(id) FROM steps WHERE durable=0",
	  "UPDATE steps SET durable=1 WHERE id IN (SELECT value FROM json_each(?1)) AND"
	  " (snapshot IS NULL OR snapshot IN (SELECT id FROM snapshots WHERE durable=1))",
	  sync_nothing },
	{ "SELECT json_group_array(digest) FROM layer_blobs WHERE durable=0",
	  "UPDATE layer_blobs SET durable=1 WHERE digest IN (SELECT value FROM json_each(?1))",
	  NULL },
	{ "SELECT json_group_array(digest) FROM manifests WHERE durable=0",
	  "UPDATE manifests SET durable=1 WHERE digest IN (SELECT value FROM json_each(?1))",
	  NULL },
	{ "SELECT json_group_array(digest) FROM indexes WHERE durable=0",
	  "UPDATE indexes SET durable=1 WHERE digest IN (SELECT value FROM json_each(?1))", NULL },
};

static void free_ids(char *(*ids)[ARRAY_LEN(durable)])
{
	for (size_t i = 0; i < ARRAY_LEN(durable); i++)
		free((*ids)[i]);
}

static bool is_much_dirty(void)
{
	struct err ignored = { 0 };
	auto_free char *text = NULL;
	const char *line;
	size_t len;

	if (fd_read_file(AT_FDCWD, "/proc/meminfo", MEMINFO_MAX, &text, &len, &ignored) < 0)
		return false;
	line = strstr(text, "\nDirty:");
	return line && strtoul(line + strlen("\nDirty:"), NULL, 10) > DIRTY_KB;
}

static int sync_each(struct finish *f, size_t kind, const char *ids, unsigned *left,
		     struct err *err)
{
	auto_json json_t *list = json_loads(ids, 0, NULL);
	size_t i;
	json_t *id;

	if (!durable[kind].sync)
		return json_array_size(list) ? err_set(err, E2BIG, "blobs") : 0;
	json_array_foreach(list, i, id)
	{
		char number[24];
		const char *name = json_string_value(id);
		int rc;

		snprintf(number, sizeof(number), "%lld", json_integer_value(id));
		rc = durable[kind].sync(f->store_fd, name ? name : number, left, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* What a build makes, and the directories that name it. */
static int sync_own(struct finish *f, char *const ids[], struct err *err)
{
	static const char *const parents[] = { "blobs/sha256", "blobs", "snap", "." };
	unsigned left = OWN_FILES;
	int rc = 0;

	for (size_t i = ARRAY_LEN(durable); i && rc >= 0; i--)
		rc = sync_each(f, i - 1, ids[i - 1], &left, err);
	for (size_t i = 0; i < ARRAY_LEN(parents) && rc >= 0; i++)
		rc = fs_sync_file(f->store_fd, parents[i], err);
	return rc;
}

/* SHALE_TRACE=sync: which way it was. */
static void trace(const char *what)
{
	const char *asked = getenv("SHALE_TRACE");

	if (asked && str_eq(asked, "sync"))
		fprintf(stderr, "trace: synced %s\n", what);
}

static int sync_store(struct finish *f, char *const ids[], struct err *err)
{
	struct err ignored = { 0 };

	if (is_much_dirty() && sync_own(f, ids, &ignored) >= 0) {
		trace("its own files");
		return 0;
	}
	trace("the file system");
	return syncfs(f->store_fd) < 0 ? err_sys(err, "sync the store") : 0;
}

static int sync_and_mark(struct finish *f, struct db *db, struct err *err)
{
	cleanup(free_ids) char *ids[ARRAY_LEN(durable)] = { NULL };
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(durable) && rc >= 0; i++)
		rc = db_get_str(db, durable[i].find, NULL, &ids[i], err);
	fault_point("finish.sync");
	if (rc >= 0)
		rc = sync_store(f, ids, err);
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

/* The lock goes along. Nobody waits for it: its parent is about to end. */
static void detached(struct finish *f, struct cli *c, int waiting)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	for (int i = 0; i < 3; i++)
		dup2(null, i);
	in_turn(f, c, waiting);
	_exit(0);
}

static void finish_later(struct finish *f, struct cli *c)
{
	struct err ignored;
	auto_fd int waiting = fs_lock(f->store_fd, "tmp/sync.waiting", false, &ignored);

	if (waiting >= 0 && fork() == 0)
		detached(f, c, waiting);
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
