/* SPDX-License-Identifier: Apache-2.0 */
/*
 * depth DIR RUNS: 500 layers mounted by snap and by the bare system calls, in turn, in one process.
 * Prints both medians in microseconds. DIR is empty and becomes a store.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/db.h>
#include <shale/base/fd.h>
#include <shale/base/proc.h>
#include <shale/base/sys.h>
#include <shale/snap.h>

enum { LAYERS = 500 };

static void check(int rc, const struct err *err)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "depth: %s\n", err->msg);
	exit(1);
}

static void must(int rc, const char *what)
{
	if (rc >= 0)
		return;
	perror(what);
	exit(1);
}

static int64_t make_layer(struct snap *s, int64_t parent, int i, struct err *err)
{
	struct snap_new n = { .parent = parent, .kind = SNAP_ACTIVE };
	struct snap_info info = { 0 };
	char name[32];
	int fs = -1, fd;

	check(snap_prepare(s, &n, &info, err), err);
	check(snap_fs_fd(s, info.id, &fs, err), err);
	snprintf(name, sizeof(name), "file%d", i);
	fd = openat(fs, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	must(fd, name);
	close(fd);
	close(fs);
	check(snap_commit(s, info.id, NULL, 0, err), err);
	return info.id;
}

static double by_shale(struct snap *s, int64_t top, struct err *err)
{
	struct snap_mount m = SNAP_MOUNT_INIT;
	int64_t start = proc_mono_ns();

	check(snap_mount(s, top, SNAP_RDONLY, &m, err), err);
	start = proc_mono_ns() - start;
	snap_mount_close(&m);
	return (double)start / 1e3;
}

static double by_hand(int snap_fd, const int64_t *ids, size_t n)
{
	int64_t start = proc_mono_ns();
	int fs = sys_fsopen("overlay", FSOPEN_CLOEXEC), fd;

	must(fs, "fsopen");
	for (size_t i = 0; i < n; i++) {
		char name[32];
		int dir;

		snprintf(name, sizeof(name), "%" PRId64 "/fs", ids[i]);
		dir = openat(snap_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		must(dir, name);
		must(sys_fsconfig(fs, FSCONFIG_SET_FD, "lowerdir+", NULL, dir), "lowerdir+");
		close(dir);
	}
	must(sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0), "create");
	fd = sys_fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY);
	must(fd, "fsmount");
	close(fs);
	start = proc_mono_ns() - start;
	close(fd);
	return (double)start / 1e3;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, int n)
{
	qsort(v, (size_t)n, sizeof(*v), by_size);
	return v[n / 2];
}

int main(int argc, char **argv)
{
	int dir = argc == 3 ? open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1, snap_fd;
	int runs = argc == 3 ? atoi(argv[2]) : 0;
	double *ours = calloc((size_t)runs + 1, sizeof(*ours));
	double *bare = calloc((size_t)runs + 1, sizeof(*bare));
	struct err err = { 0 };
	struct snap *s = NULL;
	struct db *db = NULL;
	int64_t top = 0, *ids = NULL;
	size_t n = 0;

	if (dir < 0 || runs < 1)
		return 2;
	check(db_open(dir, &db, &err), &err);
	check(snap_open(db, dir, &s, &err), &err);
	check(db_begin(db, DB_LAZY, &err), &err);
	for (int i = 0; i < LAYERS; i++)
		top = make_layer(s, top, i, &err);
	check(db_commit(db, &err), &err);
	check(snap_chain(s, top, &ids, &n, &err), &err);
	snap_fd = openat(dir, "snap", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(snap_fd, "snap");
	for (int i = -1; i < runs; i++) { /* the first warms up */
		double a = by_shale(s, top, &err), b = by_hand(snap_fd, ids, n);

		if (i >= 0) {
			ours[i] = a;
			bare[i] = b;
		}
	}
	printf("%.0f %.0f\n", median(ours, runs), median(bare, runs));
	snap_close(s);
	db_close(db);
	free(ids);
	free(ours);
	free(bare);
	return 0;
}
