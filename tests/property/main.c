/* SPDX-License-Identifier: Apache-2.0 */
/* property [-ktv] [-s SEED] [SEQUENCES]: SHALE_LONG=1 goes on for hours, -k also after a
 * failure, -t takes every sequence through the other programs. */
#include "prop.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>
#include <shale/base/sink.h>

enum {
	SEQUENCES = 2000,
	SEQUENCES_LONG = 1000000,
	OPS_BASE = 40,
	OPS_STEP = 25,
	SHOW_EACH = 500,
	TOOLS_EACH = 20
};

/* --- store --- */

static int prop_open(struct prop *p, struct err *err)
{
	const char *tmp = getenv("TMPDIR");
	int rc;

	snprintf(p->path, sizeof(p->path), "%s/shale-property-XXXXXX",
		 tmp && *tmp ? tmp : "/var/tmp");
	if (!mkdtemp(p->path))
		return err_sys(err, "make %s", p->path);
	p->fd = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->fd < 0)
		return err_sys(err, "open %s", p->path);
	rc = db_open(p->fd, &p->db, err);
	if (rc >= 0)
		rc = layer_memo_new(&p->memo, err);
	return rc < 0 ? rc : snap_open(p->db, p->fd, &p->snap, err);
}

static void prop_close(struct prop *p)
{
	struct err ignored;

	layer_memo_cleanup(&p->memo);
	snap_close(p->snap);
	db_close(p->db);
	fd_close(&p->fd);
	if (fs_remove_tree(AT_FDCWD, p->path, &ignored) < 0)
		fprintf(stderr, "property: %s is left: %s\n", p->path, ignored.msg);
}

/* --- one layer --- */

int prop_view(struct prop *p, int64_t id, unsigned flags, struct str *ret, struct err *err)
{
	auto_snap_mount struct snap_mount m = SNAP_MOUNT_INIT;
	int rc = snap_mount(p->snap, id, SNAP_RDONLY, &m, err);

	/* A layer without parents is seen as it is. */
	return rc < 0 ? rc
		      : tree_text(m.root_fd, flags | TREE_RAW,
				  flags & TREE_BY_LAYER ? &p->origins : NULL, ret, err);
}

int prop_same(const char *want, const char *got, const char *what, struct err *err)
{
	auto_str struct str diff = { 0 };

	if (!strcmp(want, got))
		return 0;
	tree_differences(want, got, &diff);
	fprintf(stderr, "%s: -wanted +got\n%s", what, str_get(&diff));
	return err_set(err, EBADMSG, "%s: the trees differ", what);
}

struct file_sink {
	struct sink sink;
	int fd;
};

static int sink_write(struct sink *to, const void *p, size_t n, struct err *err)
{
	return fd_write_all(((struct file_sink *)to)->fd, p, n, err);
}

static int diff_by(struct prop *p, int64_t id, int64_t parent, struct layer_diff_opts *o,
		   struct layer_info *ret, struct err *err)
{
	auto_snap_mount struct snap_mount merged = SNAP_MOUNT_INIT, below = SNAP_MOUNT_INIT;
	auto_fd int fs = -1, dir = -1;
	int rc = snap_fs_fd(p->snap, id, &fs, err);

	if (rc >= 0)
		rc = snap_dir_fd(p->snap, id, &dir, err);
	if (rc >= 0 && parent)
		rc = snap_mount(p->snap, id, SNAP_RDONLY, &merged, err);
	if (rc >= 0 && parent)
		rc = snap_mount(p->snap, parent, SNAP_RDONLY, &below, err);
	o->table_dir_fd = dir;
	return rc < 0 ? rc
		      : layer_diff(&(struct layer_source){ fs, merged.root_fd, below.root_fd }, o,
				   ret, err);
}

static int diff(struct prop *p, int64_t id, int64_t parent, int tar_fd, struct layer_info *ret,
		struct err *err)
{
	struct file_sink s = { .sink = { sink_write }, .fd = tar_fd };
	struct layer_diff_opts o = { .to = tar_fd >= 0 ? &s.sink : NULL };

	return diff_by(p, id, parent, &o, ret, err);
}

static int read_table(struct prop *p, int64_t id, char **ret, size_t *ret_len, struct err *err)
{
	auto_fd int dir = -1;
	int rc = snap_dir_fd(p->snap, id, &dir, err);

	return rc < 0 ? rc : fd_read_file(dir, "table", 64 << 20, ret, ret_len, err);
}

/* By what was noted while it was unpacked: the same layer, and the same table as by reading it. */
static int check_memo(struct prop *p, const struct made *m, int64_t parent, struct layer_info *ret,
		      struct err *err)
{
	struct layer_diff_opts o = { .memo = p->memo };
	auto_free char *noted = NULL, *read = NULL;
	size_t n_noted = 0, n_read = 0;
	int rc = diff_by(p, m->theirs, parent, &o, ret, err);

	if (rc >= 0 && !ret->is_same)
		return err_set(err, EBADMSG, "by its memo it is another layer");
	if (rc >= 0)
		rc = read_table(p, m->theirs, &noted, &n_noted, err);
	if (rc >= 0)
		rc = diff(p, m->theirs, parent, -1, ret, err);
	if (rc >= 0)
		rc = read_table(p, m->theirs, &read, &n_read, err);
	if (rc >= 0 && (n_noted != n_read || memcmp(noted, read, n_read) != 0))
		return err_set(err, EBADMSG, "the memo's file table is another");
	return rc;
}

static int prepare(struct prop *p, int64_t parent, int64_t *ret, struct err *err)
{
	struct snap_new n = { .parent = parent, .kind = SNAP_ACTIVE };
	struct snap_info info;
	int rc = snap_prepare(p->snap, &n, &info, err);

	*ret = info.id;
	return rc;
}

static int freeze(struct prop *p, int64_t id, struct err *err)
{
	auto_fd int fs = -1;
	struct layer_info info;
	int rc = snap_fs_fd(p->snap, id, &fs, err);

	if (rc >= 0)
		rc = layer_freeze(fs, NULL, &info, err);
	return rc < 0 ? rc : snap_commit(p->snap, id, NULL, info.flags, err);
}

static int make(struct prop *p, struct dice *d, const struct made *below, struct made *m,
		struct err *err)
{
	auto_snap_mount struct snap_mount root = SNAP_MOUNT_INIT;
	auto_str struct str want = { 0 }, got = { 0 };
	int rc = prepare(p, below ? below->ours : 0, &m->ours, err);

	if (rc >= 0)
		rc = snap_mount(p->snap, m->ours, SNAP_VOLATILE, &root, err);
	d->is_plain = !below;
	if (rc >= 0)
		rc = ops_run(root.root_fd, d, 1 + dice_roll(d, below ? OPS_STEP : OPS_BASE), err);
	if (rc >= 0)
		rc = tree_text(root.root_fd, 0, NULL, &want, err);
	snap_mount_close(&root);
	if (rc >= 0)
		rc = freeze(p, m->ours, err);
	if (rc >= 0)
		rc = prop_view(p, m->ours, TREE_WHOLE_SECONDS, &got, err);
	return rc < 0 ? rc : prop_same(want.s, str_get(&got), "after commit", err);
}

static int unpack(struct prop *p, const struct made *below, struct made *m, struct err *err)
{
	auto_snap_mount struct snap_mount view = SNAP_MOUNT_INIT;
	struct layer_apply_opts o = { .foreign = m->ours & 1, .parent_fd = -1, .memo = p->memo };
	auto_fd int fs = -1, dir = -1;
	struct layer_info info = { 0 };
	int rc = prepare(p, below ? below->theirs : 0, &m->theirs, err);

	if (rc >= 0 && below)
		rc = snap_mount(p->snap, below->theirs, SNAP_RDONLY, &view, err);
	if (rc >= 0)
		rc = snap_fs_fd(p->snap, m->theirs, &fs, err);
	if (rc < 0)
		return rc;
	o.parent_fd = view.root_fd;
	dir = openat(fs, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || lseek(m->tar_fd, 0, SEEK_SET) < 0)
		return err_sys(err, "open");
	rc = layer_apply(m->tar_fd, dir, &o, &info, err);
	if (rc >= 0 && !digest_eq(&info.diff_id, &m->info.diff_id))
		return err_set(err, EBADMSG, "unpack: another DiffID");
	if (rc >= 0 && (info.size_bytes != m->info.size_bytes || info.entries != m->info.entries))
		return err_set(err, EBADMSG, "unpack: other counts");
	/* What is unpacked needs no freeze. */
	return rc < 0 ? rc : snap_commit(p->snap, m->theirs, NULL, info.flags, err);
}

struct layer_rows {
	struct origins *to;
	unsigned layer;
};

static int add_row(const struct layer_row *row, void *arg, struct err *err)
{
	struct layer_rows *r = arg;

	(void)err;
	origins_add(r->to, row->path, r->layer);
	return 0;
}

static int learn_origins(struct prop *p, const struct made *m, struct err *err)
{
	auto_fd int dir = -1;
	int rc = snap_dir_fd(p->snap, m->ours, &dir, err);

	return rc < 0 ? rc
		      : layer_table_walk(dir, add_row,
					 &(struct layer_rows){ &p->origins, (unsigned)m->ours },
					 err);
}

static int check(struct prop *p, const struct made *below, struct made *m, struct err *err)
{
	auto_str struct str want = { 0 }, got = { 0 };
	struct layer_info again = { 0 };
	unsigned flags = TREE_WHOLE_SECONDS | TREE_BY_LAYER;
	int rc;

	m->tar_fd = memfd_create("layer", MFD_CLOEXEC);
	if (m->tar_fd < 0)
		return err_sys(err, "memfd");
	rc = diff(p, m->ours, below ? below->ours : 0, m->tar_fd, &m->info, err);
	if (rc >= 0)
		rc = unpack(p, below, m, err);
	if (rc >= 0)
		rc = learn_origins(p, m, err);
	if (rc >= 0)
		rc = prop_view(p, m->ours, flags, &want, err);
	if (rc >= 0) /* what the kernel copied up is not as tight */
		rc = prop_view(p, m->theirs, flags | (below ? 0 : TREE_COMPACT), &got, err);
	if (rc >= 0)
		rc = prop_same(want.s, str_get(&got), "unpacked", err);
	if (rc >= 0)
		rc = check_memo(p, m, below ? below->theirs : 0, &again, err);
	if (rc >= 0 && !digest_eq(&again.diff_id, &m->info.diff_id))
		return err_set(err, EBADMSG, "unpacked and read again it is another layer");
	p->layers++;
	p->entries += m->info.entries;
	p->bytes += m->info.tar_bytes;
	return rc < 0 ? rc : 0;
}

/* --- one sequence --- */

static void forget(struct prop *p, struct made *m, unsigned n)
{
	struct err ignored;

	for (unsigned i = n; i-- > 0;) {
		if (m[i].theirs)
			snap_remove(p->snap, m[i].theirs, &ignored);
		if (m[i].ours)
			snap_remove(p->snap, m[i].ours, &ignored);
		fd_close(&m[i].tar_fd);
	}
	origins_free(&p->origins);
	snap_sweep(p->snap, &ignored);
}

static int sequence(struct prop *p, uint64_t seed, bool with_tools, struct str *log,
		    struct err *err)
{
	struct dice d = { .x = (seed + 1) * 0x9e3779b97f4a7c15u,
			  .for_tools = with_tools,
			  .log = log };
	struct made m[LAYERS_MAX] = { 0 };
	unsigned n, i;
	int rc = 0;

	for (i = 0; i < 8; i++)
		dice_roll(&d, 2);
	n = 1 + dice_roll(&d, LAYERS_MAX);
	for (i = 0; i < LAYERS_MAX; i++)
		m[i].tar_fd = -1;
	for (i = 0; i < n && rc >= 0; i++) {
		if (log)
			str_addf(log, "--- layer %u\n", i);
		rc = make(p, &d, i ? &m[i - 1] : NULL, &m[i], err);
		if (rc >= 0)
			rc = check(p, i ? &m[i - 1] : NULL, &m[i], err);
		if (rc < 0)
			err_ctx(err, "layer %u", i);
	}
	if (rc >= 0 && with_tools)
		rc = tools_check(p, m, n, err);
	if (rc >= 0 && with_tools)
		rc = tools_back(p, m, n, err);
	forget(p, m, n);
	return rc < 0 ? rc : 0;
}

struct args {
	uint64_t seed, sequences;
	bool verbose, keep_going, with_tools, is_seeded;
};

static int run(struct prop *p, const struct args *a, struct err *err)
{
	int64_t started = proc_mono_ns();
	auto_str struct str log = { 0 };
	int rc = 0;

	for (uint64_t i = 0; i < a->sequences && rc >= 0; i++) {
		uint64_t seed = a->seed + i;

		str_reset(&log);
		rc = sequence(p, seed, a->with_tools || seed % TOOLS_EACH == 0, &log, err);
		if (rc < 0 || a->verbose)
			fputs(str_get(&log), stderr);
		if (rc < 0) {
			err_ctx(err, "seed %" PRIu64 " (property -s %" PRIu64 " 1)", seed, seed);
			if (!a->keep_going)
				return rc;
			fprintf(stderr, "property: %s\n", err->msg);
			err_clear(err);
			rc = 0;
		}
		if ((i + 1) % SHOW_EACH == 0 || i + 1 == a->sequences)
			printf("# %" PRIu64 " sequences, %" PRIu64 " layers, %" PRIu64
			       " entries, %" PRIu64 " MB, %.1f s\n",
			       i + 1, p->layers, p->entries, p->bytes >> 20,
			       (double)(proc_mono_ns() - started) / 1e9);
	}
	return rc;
}

static bool parse(int argc, char **argv, struct args *ret)
{
	int c;

	while ((c = getopt(argc, argv, "ktvs:")) != -1) {
		if (c == 'v')
			ret->verbose = true;
		else if (c == 'k')
			ret->keep_going = true;
		else if (c == 't')
			ret->with_tools = true;
		else if (c != 's' || str_to_u64(optarg, 10, INT64_MAX, &ret->seed) < 0)
			return false;
		else
			ret->is_seeded = true;
	}
	if (optind + 1 < argc)
		return false;
	return optind == argc || str_to_u64(argv[optind], 10, INT64_MAX, &ret->sequences) == 0;
}

int main(int argc, char **argv)
{
	const char *is_long = getenv("SHALE_LONG");
	struct args a = { .sequences = is_long && *is_long ? SEQUENCES_LONG : SEQUENCES };
	struct prop p = { .fd = -1 };
	struct err err = { 0 };
	int rc;

	if (!parse(argc, argv, &a)) {
		fprintf(stderr, "usage: property [-ktv] [-s SEED] [SEQUENCES]\n");
		return 2;
	}
	if (geteuid() != 0) {
		printf("property: not root, skipped\n");
		return 0;
	}
	umask(0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	/* Hours are for what was not seen before. */
	if (is_long && *is_long && !a.is_seeded)
		a.seed = (uint64_t)proc_now_ns() / 1000000 % 1000000000000;
	setenv("LC_ALL", "C.UTF-8", 1); /* bsdtar converts names */
	/* Whatever is mounted goes away with the process. */
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		perror("unshare");
		return 1;
	}
	rc = prop_open(&p, &err);
	if (rc >= 0)
		rc = run(&p, &a, &err);
	if (rc < 0)
		fprintf(stderr, "property: %s\n", err.msg);
	prop_close(&p);
	return rc < 0;
}
