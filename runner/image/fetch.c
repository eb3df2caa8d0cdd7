/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A layer on its way, in one pass. One thread takes the bytes from the network, writes them to the
 * partial file tmp/pull/<hex> and hashes them; another reads them there, inflates, hashes and
 * unpacks. The partial file becomes the blob. What a broken pull leaves of it is where the next one
 * goes on.
 */
#include "remote.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/hash.h>
#include <shale/base/proc.h>
#include <shale/registry.h>
#include <shale/snap.h>
#include <shale/store.h>

#include "priv.h"

#define PART_DIR "tmp/pull"

enum { AT_ONCE_MIN = 2, AT_ONCE_MAX = 8 };
enum { CHUNK = 256 << 10, PART_KEEP_S = 7 * 24 * 3600, PIPE_BYTES = 1 << 20 };

/* --- the partial file --- */

static int open_part_dir(struct runtime *rt, struct err *err)
{
	int rc = fs_mkdir(rt->root_fd, "tmp", 0700, err);

	if (rc >= 0)
		rc = fs_mkdir(rt->root_fd, PART_DIR, 0700, err);
	return rc < 0 ? rc : fs_open_dir(rt->root_fd, PART_DIR, err);
}

/* Locked, and still what the name means: 1. 0: another pull has it. */
static int lock_part(int dir, const char *name, int fd)
{
	struct stat ours, theirs;

	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return 0;
	return fstat(fd, &ours) == 0 && fstatat(dir, name, &theirs, AT_SYMLINK_NOFOLLOW) == 0 &&
	       ours.st_ino == theirs.st_ino;
}

/* What the manifest says comes first: a registry must not fill the disk for what cannot be whole.
 */
static int check_room(int fd, uint64_t bytes, struct err *err)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return err_sys(err, "free space");
	if (bytes / (uint64_t)fs.f_bsize > (uint64_t)fs.f_bavail)
		return err_set(err, EFBIG, "%" PRIu64 " bytes are larger than the free space",
			       bytes);
	return 0;
}

int image_fetch_part(struct runtime *rt, struct image_fetch *f, struct err *err)
{
	auto_fd int dir = open_part_dir(rt, err), fd = -1;
	const char *name = digest_hex(&f->desc->digest);
	struct stat st;

	if (dir < 0)
		return fd_take(&dir);
	fd = openat(dir, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(err, "partial layer");
	f->is_named = lock_part(dir, name, fd);
	if (!f->is_named) {
		fd_close(&fd);
		fd = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	}
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, "partial layer");
	f->have = (uint64_t)st.st_size;
	if (f->have > f->desc->size) {
		f->have = 0;
		if (ftruncate(fd, 0) < 0)
			return err_sys(err, "partial layer");
	}
	if (check_room(fd, f->desc->size - f->have, err) < 0)
		return err_ctx(err, "layer %.19s", digest_str(&f->desc->digest));
	f->part_fd = fd_take(&fd);
	return 0;
}

void image_fetch_part_remove(struct runtime *rt, struct image_fetch *f)
{
	struct err ignored;
	auto_fd int dir = open_part_dir(rt, &ignored);

	if (dir >= 0 && f->is_named)
		unlinkat(dir, digest_hex(&f->desc->digest), 0);
	f->is_named = false;
}

int image_fetch_part_keep(struct runtime *rt, struct image_fetch *f, struct err *err)
{
	auto_fd int dir = open_part_dir(rt, err);
	int rc;

	if (dir < 0)
		return fd_take(&dir);
	rc = store_blob_adopt(rt->store, f->part_fd, dir,
			      f->is_named ? digest_hex(&f->desc->digest) : NULL, &f->desc->digest,
			      err);
	f->is_named = false;
	return rc;
}

void image_fetch_sweep(struct runtime *rt)
{
	struct err ignored = { 0 };
	auto_fd int dir = open_part_dir(rt, &ignored);
	auto_strv struct strv names = { 0 };

	if (dir < 0 || fs_list(dir, ".", &names, &ignored) < 0)
		return;
	for (size_t i = 0; i < names.n; i++) {
		auto_fd int fd = openat(dir, names.v[i], O_RDWR | O_CLOEXEC | O_NOFOLLOW);
		struct stat st;

		if (fd >= 0 && fstat(fd, &st) == 0 && st.st_mtime + PART_KEEP_S < time(NULL) &&
		    lock_part(dir, names.v[i], fd) == 1)
			unlinkat(dir, names.v[i], 0);
	}
}

/* --- the threads --- */

void image_fetch_init(struct image_fetch *f, int done_fd)
{
	f->net_fd = f->part_fd = f->fs_fd = -1;
	f->done_fd = done_fd;
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->more, NULL);
}

void image_fetch_close(struct image_fetch *f)
{
	fd_close(&f->net_fd);
	fd_close(&f->fs_fd);
	layer_memo_cleanup(&f->memo);
	pthread_mutex_destroy(&f->lock);
	pthread_cond_destroy(&f->more);
}

/* So much of the file is there to be unpacked. */
static void show(struct image_fetch *f, uint64_t there, bool is_over)
{
	pthread_mutex_lock(&f->lock);
	f->there = there;
	f->is_over = is_over;
	pthread_cond_signal(&f->more);
	pthread_mutex_unlock(&f->lock);
}

static uint64_t wait_for(uint64_t upto, void *arg)
{
	struct image_fetch *f = arg;
	uint64_t there;

	pthread_mutex_lock(&f->lock);
	while (f->there < upto && !f->is_over)
		pthread_cond_wait(&f->more, &f->lock);
	there = f->there;
	pthread_mutex_unlock(&f->lock);
	return there;
}

/* The unpacker may have given up: the bytes are still hashed, since a wrong digest explains why. */
static int take_bytes(struct image_fetch *f, struct hash *h, const void *p, size_t n,
		      struct err *err)
{
	f->done_bytes += n;
	hash_add(h, p, n);
	return f->stop ? err_set(err, ECANCELED, "stopped") : 0;
}

static int pump_old(struct image_fetch *f, struct hash *h, char *buf, struct err *err)
{
	int rc = 0;

	if (lseek(f->part_fd, 0, SEEK_SET) < 0)
		return err_sys(err, "partial layer");
	show(f, f->have, false);
	for (uint64_t at = 0; rc >= 0 && at < f->have;) {
		ssize_t n = fd_read_full(f->part_fd, buf, CHUNK, err);

		if (n <= 0)
			return n < 0 ? (int)n : err_set(err, EIO, "the partial layer shrank");
		at += (uint64_t)n;
		rc = take_bytes(f, h, buf, (size_t)n, err);
	}
	return rc;
}

static int pump_new(struct image_fetch *f, struct hash *h, char *buf, struct err *err)
{
	uint64_t at = f->have, size = f->desc->size;
	int rc = 0;

	while (rc >= 0) {
		ssize_t n = read(f->net_fd, buf, CHUNK);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "read from the network");
		if (n == 0)
			break;
		if ((uint64_t)n > size - at) {
			f->is_wrong = true;
			return err_set(err, EBADMSG,
				       "more than the %" PRIu64 " bytes that it should have", size);
		}
		rc = fd_write_all(f->part_fd, buf, (size_t)n, err);
		if (rc < 0)
			return err_ctx(err, "write layer");
		at += (uint64_t)n;
		show(f, at, false);
		rc = take_bytes(f, h, buf, (size_t)n, err);
	}
	if (rc >= 0 && at < size) {
		f->is_short = true;
		return err_set(err, EPROTO, "cut off after %" PRIu64 " of %" PRIu64 " bytes", at,
			       size);
	}
	return rc;
}

static void *pump(void *arg)
{
	struct image_fetch *f = arg;
	auto_hash struct hash *h = hash_new();
	auto_free char *buf = mem_alloc(CHUNK);
	struct digest have;
	int rc;

	rc = pump_old(f, h, buf, &f->pump_err);
	if (rc >= 0)
		rc = pump_new(f, h, buf, &f->pump_err);
	hash_end(h, &have);
	if (rc >= 0 && !digest_eq(&have, &f->desc->digest)) {
		f->is_wrong = true;
		err_set(&f->pump_err, EBADMSG, "its content is %.19s", digest_str(&have));
	}
	show(f, f->there, true);
	fd_close(&f->net_fd);
	return NULL;
}

static int start_thread(pthread_t *ret, void *(*fn)(void *), void *arg, struct err *err)
{
	int rc = proc_thread(ret, fn, arg);

	return rc < 0 ? err_errno(err, -rc, "start a thread") : 0;
}

/* What comes from the network is counted there. */
static void on_progress(uint64_t bytes, void *arg)
{
	struct image_fetch *f = arg;

	f->done_bytes = bytes;
}

static int unpack(struct image_fetch *f, const struct layer_range *range, struct err *err)
{
	struct layer_apply_opts o = { .foreign = true,
				      .max_bytes = f->max_bytes,
				      .parent_fd = -1,
				      .range = range,
				      .progress = f->is_local ? on_progress : NULL,
				      .progress_arg = f };
	int rc = layer_memo_new(&f->memo, err);

	o.memo = f->memo;
	if (rc >= 0)
		rc = layer_apply(f->part_fd, f->fs_fd, &o, &f->stream, err);
	/* With damaged data the digest is what matters; otherwise no more bytes are of use. */
	if (rc < 0 && rc != -EBADMSG)
		f->stop = true;
	return rc;
}

static int run(struct image_fetch *f, struct err *err)
{
	struct layer_range range = { .len = f->desc ? f->desc->size : 0,
				     .wait = wait_for,
				     .wait_arg = f };
	pthread_t pumping;
	int rc;

	if (f->is_local)
		return unpack(f, f->has_range ? &f->range : NULL, err);
	if (f->fs_fd < 0) {
		pump(f);
		*err = f->pump_err;
		return -err->code;
	}
	rc = start_thread(&pumping, pump, f, err);
	if (rc < 0)
		return rc;
	rc = unpack(f, &range, err);
	pthread_join(pumping, NULL);
	/* What was wrong with the bytes comes first: bad bytes unpack badly. */
	if (f->pump_err.code && f->pump_err.code != ECANCELED) {
		*err = f->pump_err;
		return -err->code;
	}
	return rc;
}

static void *work(void *arg)
{
	struct image_fetch *f = arg;
	uint64_t one = 1;
	int rc = run(f, &f->err);

	if (rc >= 0 && f->fs_fd >= 0 && !digest_eq(&f->stream.diff_id, &f->diff_id))
		err_set(&f->err, EBADMSG, "unpacked it is %.19s instead of %.19s",
			digest_str(&f->stream.diff_id), digest_str(&f->diff_id));
	f->is_finished = true;
	while (write(f->done_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	return NULL;
}

int image_fetch_ask(struct image_fetch *f, struct image_remote *r, struct err *err)
{
	auto_json json_t *req = image_remote_request(r, REGISTRY_BLOB);
	auto_fd int theirs = -1;
	int ends[2], rc;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(err, "pipe");
	f->net_fd = ends[0];
	theirs = ends[1];
	fcntl(ends[0], F_SETPIPE_SZ, PIPE_BYTES); /* a wish */
	json_set_str(req, "digest", digest_str(&f->desc->digest));
	json_object_set_new(req, "size", json_integer((json_int_t)f->desc->size));
	json_object_set_new(req, "offset", json_integer((json_int_t)f->have));
	rc = image_transfer_send(r->t, req, theirs, err);
	f->request = rc < 0 ? 0 : rc;
	return rc;
}

/* Why the bytes ended is known to shale-transfer, which may need a moment to say it. */
static int explain(struct image_fetch *f, struct image_remote *r, struct err *err)
{
	struct err why = { 0 };
	int rc = 0;

	while (f->is_short && f->request && rc == 0) {
		rc = image_transfer_answer(r->t, f->request, NULL, &why);
		if (rc == 0 && image_transfer_wait(r->t, -1, 1000, &why) < 0)
			rc = -why.code;
	}
	*err = rc < 0 ? why : f->err;
	return err_ctx(err, "layer %.19s", digest_str(&f->desc->digest));
}

int image_fetch_settle(struct runtime *rt, struct image_fetch *f, struct image_remote *r,
		       struct err *err)
{
	image_fetch_join(f);
	if (!f->err.code)
		return 0;
	if (f->is_wrong)
		image_fetch_part_remove(rt, f);
	return explain(f, r, err);
}

long image_fetch_at_once(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN) + 1;

	return n < AT_ONCE_MIN ? AT_ONCE_MIN : n > AT_ONCE_MAX ? AT_ONCE_MAX : n;
}

int image_fetch_start(struct image_fetch *f, struct err *err)
{
	int rc = start_thread(&f->worker, work, f, err);

	if (rc >= 0)
		f->is_started = true;
	return rc;
}

/* Unpacked again, now that its parents are there, which its archive leaves something to. */
static int unpack_again(struct runtime *rt, struct image_fetch *f, int64_t parent, struct err *err)
{
	struct snap_new fresh = { .kind = SNAP_ACTIVE, .parent = parent };
	auto_snap_mount struct snap_mount below = SNAP_MOUNT_INIT;
	struct layer_apply_opts o = { .foreign = true,
				      .max_bytes = f->max_bytes,
				      .parent_fd = -1,
				      .memo = f->memo,
				      .range = f->has_range ? &f->range : NULL };
	struct snap_info info;
	int64_t old = f->snapshot;
	int rc;

	f->snapshot = 0;
	fd_close(&f->fs_fd);
	rc = image_release(rt, old, err);
	if (rc >= 0)
		rc = snap_prepare(rt->snap, &fresh, &info, err);
	if (rc < 0)
		return rc;
	f->snapshot = info.id;
	rc = image_fs_open(rt, info.id, &f->fs_fd, err);
	if (rc >= 0)
		rc = snap_mount(rt->snap, parent, SNAP_RDONLY, &below, err);
	if (rc >= 0 && !o.range && lseek(f->part_fd, 0, SEEK_SET) < 0)
		rc = err_sys(err, "rewind");
	if (rc < 0)
		return rc;
	o.parent_fd = below.root_fd;
	return layer_apply(f->part_fd, f->fs_fd, &o, &f->stream, err);
}

int image_fetch_put_upon(struct runtime *rt, struct image_fetch *f, int64_t parent,
			 struct layer_info *ret, struct err *err)
{
	unsigned seen = f->stream.seen;
	int rc = 0;

	if (parent && seen & (LAYER_MISSES_DIRS | LAYER_CUTS_ROOT))
		rc = unpack_again(rt, f, parent, err);
	else if (parent)
		rc = snap_rebase(rt->snap, f->snapshot, parent, !(seen & LAYER_SAW_ROOT), err);
	fd_close(&f->fs_fd);
	if (rc >= 0)
		rc = snap_commit(rt->snap, f->snapshot, NULL, f->stream.flags, err);
	if (rc >= 0)
		rc = image_layer_diff(
			rt, f->snapshot,
			&(struct image_diff_opts){ .with_table = true, .memo = f->memo }, ret, err);
	layer_memo_cleanup(&f->memo);
	return rc;
}

void image_fetch_join(struct image_fetch *f)
{
	if (f->is_started && !f->is_done)
		pthread_join(f->worker, NULL);
	f->is_done = f->is_started;
}
