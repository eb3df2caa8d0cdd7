/* SPDX-License-Identifier: Apache-2.0 */
/* runtime: opens the store, and makes it where it is missing. A store that has its database has all
 * the rest. */
#include <shale/runtime.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/path.h>
#include <shale/snap.h>
#include <shale/store.h>

#include "place.h"
#include "priv.h"

static const char *const subdirs[] = { "snap",  "blobs",         "blobs/sha256", "containers",
				       "logs",  "tmp",           "trash",        "context",
				       "cache", "cache/seccomp", "volumes" };

/* Whoever else can write here could hand us layers with setuid files of their choice. */
static int check_owner(int root_fd, const char *root, struct err *err)
{
	struct stat st;

	if (fstat(root_fd, &st) < 0)
		return err_sys(err, "stat %s", root);
	if (st.st_uid != geteuid() || st.st_mode & (S_IWGRP | S_IWOTH))
		return err_set(
			err, EPERM,
			"%s belongs to uid %u with mode %04o; it must be ours alone (mode 0700)",
			root, st.st_uid, st.st_mode & 07777);
	return 0;
}

static int make_store(int root_fd, const char *root, struct err *err)
{
	char path[FD_PATH_MAX];
	auto_fd int names = -1;
	int rc;

	rc = place_check(root_fd, root, err);
	if (rc < 0)
		return rc;
	/* Layers hold setuid files: nobody else may reach them. */
	if (chmod(fd_path(root_fd, path), 0700) < 0)
		return err_sys(err, "chmod %s", root);
	for (size_t i = 0; i < ARRAY_LEN(subdirs); i++) {
		rc = fs_mkdir(root_fd, subdirs[i], 0700, err);
		if (rc < 0)
			return rc;
	}
	rc = place_probe(root_fd, root, err);
	if (rc < 0)
		return rc;
	/* Who made the store at the same time may have written to it already. */
	names = openat(root_fd, "names", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	return names < 0 ? err_sys(err, "make names") : 0;
}

/*
 * A new database knows none of the layers that are there, and the next sweep would take all of them
 * for garbage. Somebody else may just have made the store: hence the second look.
 */
static int check_database(int root_fd, const char *root, struct err *err)
{
	auto_strv struct strv layers = { 0 };
	struct err ignored = { 0 };

	if (fs_list(root_fd, "snap", &layers, &ignored) < 0 || !layers.n)
		return 0;
	if (faccessat(root_fd, "db.sqlite", F_OK, 0) == 0)
		return 0;
	err_set(err, EBADMSG, "%s/db.sqlite is missing, and %zu layers are there", root, layers.n);
	return err_hint(err, "put it back, or " DB_RECOVER_HINT);
}

/* With the directories in place: the database is made last. */
static int open_root(const char *root, int *ret_fd, struct err *err)
{
	auto_fd int fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	bool is_new = false;
	int rc;

	if (fd < 0 && errno == ENOENT) {
		is_new = true;
		rc = fs_mkdirs(root, 0700, err);
		if (rc < 0)
			return rc;
		fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	if (fd < 0)
		return err_sys(err, "open %s", root);
	rc = check_owner(fd, root, err);
	if (rc < 0)
		return rc;
	if (faccessat(fd, "db.sqlite", F_OK, 0) < 0) {
		rc = check_database(fd, root, err);
		if (rc >= 0)
			rc = make_store(fd, root, err);
		if (rc < 0) {
			if (is_new)
				rmdir(root); /* only if nothing is in it */
			return rc;
		}
	}
	*ret_fd = fd_take(&fd);
	return 0;
}

static int absolute(const char *path, char **ret, struct err *err)
{
	auto_free char *cwd = NULL;

	if (*path != '/') {
		cwd = getcwd(NULL, 0);
		if (!cwd)
			return err_sys(err, "current directory");
	}
	*ret = path_join(cwd ? cwd : "/", path);
	return 0;
}

static int open_parts(struct runtime *rt, struct err *err)
{
	int rc;

	rc = open_root(rt->root, &rt->root_fd, err);
	if (rc >= 0)
		rc = db_open(rt->root_fd, &rt->db, err);
	if (rc >= 0)
		rc = store_open(rt->db, rt->root_fd, &rt->store, err);
	if (rc >= 0)
		rc = snap_open(rt->db, rt->root_fd, &rt->snap, err);
	return rc;
}

int runtime_open(struct runtime *ret, const char *root, struct err *err)
{
	struct runtime rt = { .root_fd = -1 };
	int rc;

	rc = absolute(root, &rt.root, err);
	if (rt.root)
		rc = open_parts(&rt, err);
	if (rc < 0) {
		place_explain(rt.root ? rt.root : root, err);
		runtime_close(&rt);
		return err_ctx(err, "store");
	}
	*ret = rt;
	return 0;
}

/* SHALE_TRACE=db: how long others' transactions have held this command up. */
static void trace(const struct runtime *rt)
{
	const char *what = getenv("SHALE_TRACE");

	if (rt->db && what && str_eq(what, "db"))
		fprintf(stderr, "trace: longest wait for the write lock: %.3f ms\n",
			(double)db_longest_wait_ns(rt->db) / 1e6);
}

void runtime_close(struct runtime *rt)
{
	trace(rt);
	if (rt->snap)
		snap_close(rt->snap);
	if (rt->store)
		store_close(rt->store);
	db_close(rt->db);
	fd_close(&rt->root_fd);
	free(rt->root);
	strv_free(&rt->dns);
	*rt = (struct runtime){ .root_fd = -1 };
}
