/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify --repair. A layer is unpacked into a snapshot of its own, checked, synced, and only then
 * changes places with the damaged one: a kill on the way leaves either of them. Needs libcrypto.
 */
#include <shale/image.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/undo.h>
#include <shale/layer.h>
#include <shale/snap.h>
#include <shale/store.h>

#include "priv.h"
#include "remote.h"

#define ABOVE                                                                                      \
	"WITH RECURSIVE d(id) AS (VALUES(?1) UNION"                                                \
	" SELECT s.id FROM snapshots s JOIN d ON s.parent=d.id) "

static int new_table(struct runtime *rt, const struct image_damaged *d, struct err *err)
{
	struct layer_info info = { 0 };
	int rc = image_layer_diff(rt, d->snapshot, &(struct image_diff_opts){ .with_table = true },
				  &info, err);

	return rc < 0 ? rc : image_layer_record_row(rt, d->snapshot, err);
}

static int unpack(struct runtime *rt, const struct snap_info *fresh, const struct image_damaged *d,
		  int blob_fd, struct err *err)
{
	auto_snap_mount struct snap_mount below = SNAP_MOUNT_INIT;
	struct layer_apply_opts o = { .foreign = true, .parent_fd = -1 };
	struct layer_info stream = { 0 }, frozen = { 0 };
	auto_fd int fs = -1;
	int rc = image_fs_open(rt, fresh->id, &fs, err);

	if (rc >= 0 && fresh->parent)
		rc = snap_mount(rt->snap, fresh->parent, SNAP_RDONLY, &below, err);
	if (rc < 0)
		return rc;
	o.parent_fd = below.root_fd;
	rc = layer_apply(blob_fd, fs, &o, &stream, err);
	if (rc >= 0)
		rc = layer_freeze(fs, NULL, &frozen, err);
	if (rc >= 0 && strcmp(digest_str(&stream.diff_id), d->id) != 0)
		rc = err_set(err, EBADMSG, "its blob holds %.19s", digest_str(&stream.diff_id));
	/* The row says durable already. */
	if (rc >= 0 && syncfs(fs) < 0)
		rc = err_sys(err, "sync");
	return rc;
}

/* Layers of running containers do not change under them. */
static int check_unused(struct runtime *rt, int64_t snapshot, struct err *err)
{
	auto_free char *name = NULL;
	int rc = db_get_str(rt->db,
			    ABOVE "SELECT name FROM containers WHERE snapshot IN (SELECT id FROM d)"
				  " AND state=2 LIMIT 1",
			    DB_ARGS(DB_I(snapshot)), &name, err);

	return rc > 0 ? err_set(err, EBUSY, "container %s runs on it: stop it first", name) : rc;
}

static int restore(struct runtime *rt, const struct image_damaged *d, const struct digest *blob,
		   struct err *err)
{
	struct image_made made = { .rt = rt };
	auto_undo struct undo undo = { 0 };
	struct snap_info info, fresh;
	auto_fd int fd = -1;
	int rc;

	rc = check_unused(rt, d->snapshot, err);
	if (rc >= 0)
		rc = store_blob_open(rt->store, blob, &fd, err);
	if (rc >= 0)
		rc = snap_stat(rt->snap, d->snapshot, &info, err);
	if (rc >= 0)
		rc = snap_prepare(rt->snap,
				  &(struct snap_new){ .kind = SNAP_ACTIVE, .parent = info.parent },
				  &fresh, err);
	if (rc < 0)
		return rc;
	made.snapshot = fresh.id;
	undo_push(&undo, image_undo_snapshot, &made); /* with the damaged files, at the end */
	rc = unpack(rt, &fresh, d, fd, err);
	if (rc >= 0)
		rc = snap_exchange(rt->snap, d->snapshot, fresh.id, err);
	return rc < 0 ? rc : new_table(rt, d, err);
}

/* What is built on it runs anew. */
static int forget_steps(struct runtime *rt, int64_t snapshot, struct err *err)
{
	return db_run(rt->db, ABOVE "DELETE FROM steps WHERE snapshot IN (SELECT id FROM d)",
		      DB_ARGS(DB_I(snapshot)), err);
}

static char *advise(const struct image_damaged *d, int steps, const char *why)
{
	auto_str struct str s = { 0 };

	str_addf(&s, "cannot be repaired (%s): ", why);
	if (steps)
		str_addf(&s, "%d build steps are forgotten, build again", steps);
	else
		str_add(&s, "remove with rmi --now, then load, pull or import again");
	for (size_t i = 0; i < d->used_by.n; i++)
		if (str_starts(d->used_by.v[i], "image "))
			str_addf(&s, " %s", d->used_by.v[i] + strlen("image "));
	return str_take(&s);
}

/* As it was pulled or pushed. */
static int kept_blob(struct runtime *rt, const char *diff_id, struct digest *ret, struct err *err)
{
	struct image_layer_blob b;
	int rc = image_layer_blob_get(rt, diff_id, NULL, 0, &b, err);

	if (rc > 0)
		*ret = b.digest;
	return rc;
}

static int repair_layer(struct runtime *rt, struct image_damaged *d, struct err *err)
{
	struct err why = { 0 };
	struct digest blob;
	int rc, steps;

	if (d->is_table) {
		rc = new_table(rt, d, &why);
	} else {
		rc = image_origin_get(rt, d->snapshot, &blob, &why);
		if (rc == 0)
			rc = kept_blob(rt, d->id, &blob, &why);
		if (rc == 0)
			rc = err_set(&why, ENOENT, "no blob of it was kept");
		else if (rc > 0)
			rc = restore(rt, d, &blob, &why);
	}
	d->is_repaired = rc >= 0;
	if (d->is_repaired) {
		d->advice =
			mem_str(d->is_table ? "file table written anew" : "restored from its blob");
		return 0;
	}
	if (rc == -EBUSY) {
		d->advice = mem_str(why.msg);
		return 0;
	}
	steps = forget_steps(rt, d->snapshot, err);
	if (steps < 0)
		return steps;
	d->advice = advise(d, steps, why.msg);
	return 0;
}

/* What rests on a layer that was put right may be right as well. */
static bool is_right_now(struct runtime *rt, const struct image_damaged *d)
{
	struct layer_info info = { 0 };
	struct err ignored = { 0 };

	return image_layer_diff(rt, d->snapshot, &(struct image_diff_opts){ 0 }, &info, &ignored) >=
		       0 &&
	       !strcmp(digest_str(&info.diff_id), d->id);
}

int image_repair(struct runtime *rt, struct image_verified *v, struct err *err)
{
	auto_fd int lease = image_lease_exclusive(rt, err);
	int rc = lease < 0 ? lease : 0;

	for (size_t i = 0; rc >= 0 && i < v->n; i++) {
		struct image_damaged *d = &v->v[i];

		if (d->kind != IMAGE_DAMAGED_LAYER) {
			d->advice = advise(d, 0, "nothing else holds its bytes");
		} else if (!d->is_table && is_right_now(rt, d)) {
			d->is_repaired = true;
			d->advice = mem_str("right again with the layer beneath");
		} else {
			rc = repair_layer(rt, d, err);
		}
	}
	return rc;
}
