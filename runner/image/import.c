/* SPDX-License-Identifier: Apache-2.0 */
/* docker import: a root file system becomes an image of one layer. Needs libcrypto. */
#include <shale/image.h>

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/proc.h>
#include <shale/base/undo.h>
#include <shale/layer.h>
#include <shale/snap.h>

#include "priv.h"

enum { TICK_NS = 100000000 };

void image_undo_snapshot(void *arg)
{
	struct image_made *m = arg;
	struct err ignored = { 0 };

	image_release(m->rt, m->snapshot, &ignored);
}

struct reading {
	const struct image_import_opts *o;
	uint64_t total; /* 0: not known */
	int64_t told_ns;
};

static void tell(uint64_t bytes, void *arg)
{
	struct reading *r = arg;
	int64_t now = proc_mono_ns();

	if (now - r->told_ns < TICK_NS)
		return;
	r->told_ns = now;
	image_watch_tell(&r->o->watch, IMAGE_TRANSFER_PROGRESS, "import", bytes, r->total, NULL);
}

/* The tar's tree in a new active snapshot; the flags of the layer come back. */
static int unpack(struct runtime *rt, int64_t snapshot, int tar_fd,
		  const struct image_import_opts *import, struct layer_info *ret, struct err *err)
{
	struct reading reading = { .o = import };
	struct layer_apply_opts o = { .foreign = true,
				      .rootfs = true,
				      .max_bytes = rt->max_layer_bytes,
				      .parent_fd = -1,
				      .progress = import->watch.event ? tell : NULL,
				      .progress_arg = &reading };
	auto_fd int fs = -1;
	struct stat st;
	int rc;

	if (fstat(tar_fd, &st) == 0 && S_ISREG(st.st_mode))
		reading.total = (uint64_t)st.st_size;

	rc = image_fs_open(rt, snapshot, &fs, err);
	if (rc >= 0)
		rc = layer_apply(tar_fd, fs, &o, NULL, err);
	if (rc >= 0)
		rc = layer_freeze(fs, NULL, ret, err);
	return rc;
}

/* Committed and hashed. The DiffID is that of our own stream: the archive's bytes are not kept. */
static int publish(struct runtime *rt, struct image_made *m, unsigned flags, struct err *err)
{
	struct layer_info info = { 0 };
	struct err ignored = { 0 };
	int64_t same;
	int rc;

	rc = snap_commit(rt->snap, m->snapshot, NULL, flags, err);
	if (rc >= 0)
		rc = image_layer_diff(rt, m->snapshot,
				      &(struct image_diff_opts){ .with_table = true }, &info, err);
	if (rc < 0)
		return rc;
	/* Without a parent the ChainID is the DiffID. */
	same = image_layer_find(rt, &info.diff_id);
	if (!same)
		return image_layer_store(rt, m->snapshot, &info, err);
	image_release(rt, m->snapshot, &ignored);
	m->snapshot = same;
	return 0;
}

static int write_image(struct runtime *rt, int64_t snapshot, const struct image_import_opts *o,
		       char ret_id[DIGEST_STR_MAX], struct err *err)
{
	auto_image_config struct image_config *c =
		o->config ? image_config_copy(o->config) : image_config_new();
	auto_strv struct strv tags = { 0 };
	struct image_history *h;

	if (!c->created_s)
		c->created_s = time(NULL);
	h = image_config_add_history(c, c->created_s, "", false);
	h->comment = mem_str(o->message && *o->message ? o->message : "Imported from -");
	if (o->tag)
		strv_add(&tags, o->tag);
	return image_write(rt, c, snapshot, &tags, ret_id, err);
}

int image_import(struct runtime *rt, int tar_fd, const struct image_import_opts *o,
		 char ret_id[DIGEST_STR_MAX], struct err *err)
{
	struct snap_new fresh = { .kind = SNAP_ACTIVE };
	auto_fd int lease = -1; /* before undo: let go after it */
	struct image_made made = { .rt = rt };
	auto_undo struct undo undo = { 0 };
	struct layer_info frozen = { 0 };
	struct snap_info info;
	int rc;

	lease = image_lease(rt, err);
	if (lease < 0)
		return lease;
	rc = snap_prepare(rt->snap, &fresh, &info, err);
	if (rc < 0)
		return rc;
	made.snapshot = info.id;
	undo_push(&undo, image_undo_snapshot, &made);
	image_watch_tell(&o->watch, IMAGE_TRANSFER_BEGIN, "import", 0, 0, NULL);
	rc = unpack(rt, info.id, tar_fd, o, &frozen, err);
	if (rc >= 0)
		fault_point("image.import.applied");
	if (rc >= 0)
		rc = publish(rt, &made, frozen.flags, err);
	if (rc >= 0)
		rc = write_image(rt, made.snapshot, o, ret_id, err);
	fault_point("image.import.image");
	if (rc < 0)
		return err_ctx(err, "import");
	undo_done(&undo);
	image_event(rt, "import", ret_id, o->tag);
	image_watch_tell(&o->watch, IMAGE_TRANSFER_DONE, "import", 0, 0, "Imported");
	return 0;
}
