/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A new database beside the damaged one, then in its place. Up to the first rename nothing of the
 * store has changed; a kill after it leaves a store without a database, of which every command says
 * so, and recover begins anew.
 */
#include "recover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/path.h>
#include <shale/base/proc.h>
#include <shale/network.h>
#include <shale/snap.h>
#include <shale/store.h>

static const char new_dir[] = "recover";

void recovery_free(struct recovery *r)
{
	image_recovered_free(&r->images);
	strv_free(&r->lost);
	free(r->kept);
	free(r->root);
}

static int fill(struct runtime *rt, struct recovery *r, struct err *err)
{
	static const char *const durable[] = { "UPDATE snapshots SET durable=1",
					       "UPDATE images SET durable=1",
					       "UPDATE layer_blobs SET durable=1",
					       "UPDATE manifests SET durable=1" };
	auto_fd int fs = openat(rt->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct err why = { 0 };
	int rc = image_recover(rt, &r->images, err);

	fault_point("recover.images");
	if (rc >= 0)
		rc = container_recover(rt, &r->containers, &r->lost, err);
	/* A container that has a place in one that is lost says so when it starts. */
	if (rc >= 0 && network_recover(rt, &r->networks, &why) < 0)
		strv_addf(&r->lost, "networks: %s", why.msg);
	if (rc >= 0 && (fs < 0 || syncfs(fs) < 0))
		rc = err_sys(err, "sync the store");
	for (size_t i = 0; rc >= 0 && i < ARRAY_LEN(durable); i++)
		rc = db_run(rt->db, durable[i], NULL, err);
	return rc < 0 ? rc : db_checkpoint(rt->db, err);
}

static void close_all(struct runtime *rt)
{
	snap_close(rt->snap);
	store_close(rt->store);
	db_close(rt->db);
}

static int make(struct recovery *r, int root_fd, int dir_fd, struct err *err)
{
	cleanup(close_all) struct runtime rt = { .root = r->root, .root_fd = root_fd };
	int rc = db_open(dir_fd, &rt.db, err);

	if (rc >= 0)
		rc = store_open(rt.db, root_fd, &rt.store, err);
	if (rc >= 0)
		rc = snap_open(rt.db, root_fd, &rt.snap, err);
	return rc < 0 ? rc : fill(&rt, r, err);
}

/* The database first: a log without it is of no use to anyone, a database without its log looks
 * whole. */
static int keep_aside(struct recovery *r, int root_fd, struct err *err)
{
	static const char *const files[] = { "db.sqlite", "db.sqlite-wal", "db.sqlite-shm" };
	char stamp[64];
	int rc;

	snprintf(stamp, sizeof(stamp), "db.sqlite.damaged.%lld",
		 (long long)(proc_now_ns() / 1000000));
	rc = fs_mkdir(root_fd, stamp, 0700, err);
	for (size_t i = 0; rc >= 0 && i < ARRAY_LEN(files); i++) {
		auto_free char *to = mem_fmt("%s/%s", stamp, files[i]);

		if (renameat(root_fd, files[i], root_fd, to) < 0 && errno != ENOENT)
			rc = err_sys(err, "keep %s aside", files[i]);
		fault_point("recover.aside");
	}
	r->kept = path_join(r->root, stamp);
	return rc;
}

static int install(struct recovery *r, int root_fd, struct err *err)
{
	auto_fd int root = openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = keep_aside(r, root_fd, err);

	if (rc < 0)
		return rc;
	if (renameat(root_fd, "recover/db.sqlite", root_fd, "db.sqlite") < 0)
		return err_sys(err, "put the new database in place");
	fault_point("recover.placed");
	if (root < 0 || fsync(root) < 0)
		return err_sys(err, "sync the store");
	return fs_remove_tree(root_fd, new_dir, err);
}

static int recover_locked(struct recovery *r, int root_fd, struct err *err)
{
	auto_fd int dir = -1;
	int rc = fs_remove_tree(root_fd, new_dir, err);

	if (rc >= 0)
		rc = fs_mkdir(root_fd, new_dir, 0700, err);
	if (rc < 0)
		return rc;
	dir = fs_open_dir(root_fd, new_dir, err);
	rc = dir < 0 ? dir : make(r, root_fd, dir, err);
	if (rc < 0) {
		struct err ignored;

		fs_remove_tree(root_fd, new_dir, &ignored);
		return rc;
	}
	fault_point("recover.made");
	return install(r, root_fd, err);
}

int recovery_run(struct recovery *r, const char *root, bool force, struct err *err)
{
	auto_fd int fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC), lock = -1, lease = -1;
	struct runtime rt = { .root_fd = fd };
	int rc;

	if (fd < 0)
		return err_sys(err, "open %s", root);
	if (faccessat(fd, "snap", F_OK, 0) < 0)
		return err_set(err, ENOENT, "%s is no store", root);
	r->root = mem_str(root);
	/* Nobody builds, and nobody writes to the old one meanwhile. */
	lease = image_lease_exclusive(&rt, err);
	if (lease < 0)
		return fd_take(&lease);
	lock = fs_lock(fd, "db.lock", true, err);
	if (lock < 0)
		return fd_take(&lock);
	rc = db_check(fd, &r->why);
	if (rc == -ENOTSUP) {
		*err = r->why;
		return rc;
	}
	if (rc >= 0 && !force)
		return 0;
	rc = recover_locked(r, fd, err);
	return rc < 0 ? rc : 1;
}
