/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layers of a sequence through GNU tar, bsdtar and umoci, and their archives through us.
 * Whiteouts are this program's part where the other knows none. What one of them is known not to
 * carry is left out of the comparison, by its flags.
 */
#include "prop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/hash.h>
#include <shale/base/path.h>
#include <shale/base/proc.h>

/* stdin is in_fd; out_fd -1: what it prints is shown when it fails. */
static int run(struct prop *p, const char *line, int in_fd, int out_fd, struct err *err)
{
	auto_strv struct strv argv = { 0 };
	auto_fd int said = openat(p->fd, "said", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	auto_free char *text = NULL;
	int fds[3] = { in_fd, out_fd < 0 ? said : out_fd, said }, code = 0, rc;
	pid_t pid;

	strv_split(&argv, line, ' ');
	pid = proc_spawn(argv.v[0], strv_args(&argv), fds, err);
	rc = pid < 0 ? pid : proc_wait(pid, &code, err);
	if (rc < 0 || !code)
		return rc;
	rc = fd_read_file(p->fd, "said", 1 << 20, &text, NULL, err);
	return rc < 0 ? rc : err_set(err, EPROTO, "%.100s: %d: %.300s", line, code, text);
}

static int remake(struct prop *p, const char *name, int *ret_fd, struct err *err)
{
	int rc = fs_remove_tree(p->fd, name, err);

	if (rc >= 0)
		rc = fs_mkdir(p->fd, name, 0755, err);
	if (rc < 0)
		return rc;
	fd_close(ret_fd);
	*ret_fd = openat(p->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *ret_fd < 0 ? err_sys(err, "open %s", name) : 0;
}

static int compare(struct prop *p, int64_t id, int dir, unsigned flags, const char *what,
		   struct err *err)
{
	auto_str struct str want = { 0 }, got = { 0 };
	int rc = prop_view(p, id, flags, &want, err);

	if (rc >= 0)
		rc = tree_text(dir, flags, flags & TREE_BY_LAYER ? &p->origins : NULL, &got, err);
	return rc < 0 ? rc : prop_same(str_get(&want), str_get(&got), what, err);
}

/* --- our layers through tar programs --- */

static int empty_dir(int dir, const char *path, struct err *err)
{
	auto_strv struct strv names = { 0 };
	auto_fd int fd = path_try_in(dir, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	int rc = fd < 0 ? 0 : fs_list(fd, ".", &names, err);

	for (size_t i = 0; i < names.n && rc >= 0; i++)
		rc = fs_remove_tree(fd, names.v[i], err);
	return rc;
}

static int drop_xattrs(int dir, const char *path, struct err *err)
{
	auto_fd int fd = path_try_in(dir, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	auto_free char *names = NULL;
	size_t len = 0;
	int rc = fd < 0 ? 0 : fs_xattr_list(fd, &names, &len, err);

	for (char *n = names; rc >= 0 && n < names + len; n += strlen(n) + 1)
		fremovexattr(fd, n);
	return rc;
}

struct making_way {
	int dir;
};

/* What the image specification asks of whoever unpacks: whiteouts, and things of another kind in
 * the way. */
static int make_way(const struct layer_row *row, void *arg, struct err *err)
{
	const struct making_way *w = arg;
	struct stat st;

	if (row->kind == LAYER_OPAQUE)
		return empty_dir(w->dir, row->path, err);
	if (!*row->path ||
	    (row->kind == LAYER_DIR && fstatat(w->dir, row->path, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	     S_ISDIR(st.st_mode)))
		return drop_xattrs(w->dir, row->path, err);
	return fs_remove_tree(w->dir, row->path, err);
}

struct program {
	const char *line;
	unsigned flags; /* of tree_text, for what it does not carry */
};

static const struct program gnu_unpack = {
	"/usr/bin/tar --xattrs --xattrs-include=* --acls --numeric-owner -p -x --exclude=.wh.* -f - -C out",
	TREE_BY_LAYER
};

static int check_gnu(struct prop *p, const struct made *m, unsigned n, struct err *err)
{
	auto_fd int out = -1;
	int rc = remake(p, "out", &out, err);

	for (unsigned i = 0; i < n && rc >= 0; i++) {
		auto_fd int dir = -1;

		rc = snap_dir_fd(p->snap, m[i].ours, &dir, err);
		if (rc >= 0)
			rc = layer_table_walk(dir, make_way, &(struct making_way){ out }, err);
		if (rc >= 0 && lseek(m[i].tar_fd, 0, SEEK_SET) < 0)
			rc = err_sys(err, "rewind");
		if (rc >= 0)
			rc = run(p, gnu_unpack.line, m[i].tar_fd, -1, err);
	}
	return rc < 0 ? err_ctx(err, "GNU tar")
		      : compare(p, m[n - 1].ours, out, gnu_unpack.flags, "GNU tar", err);
}

static const struct program bsd_unpack = {
	"/usr/bin/bsdtar --xattrs --acls --numeric-owner -p -x --exclude .wh.* -f - -C out",
	TREE_RAW | TREE_NO_ROOT
};

/* bsdtar leaves directories as they are that are there: each layer is unpacked alone, and is what
 * we unpacked before marks and parents. */
static int check_bsd(struct prop *p, const struct made *m, struct err *err)
{
	auto_str struct str want = { 0 }, got = { 0 };
	auto_fd int out = -1, fs = -1;
	int rc = remake(p, "out", &out, err);

	if (rc >= 0 && lseek(m->tar_fd, 0, SEEK_SET) < 0)
		rc = err_sys(err, "rewind");
	if (rc >= 0)
		rc = run(p, bsd_unpack.line, m->tar_fd, -1, err);
	if (rc >= 0)
		rc = snap_fs_fd(p->snap, m->theirs, &fs, err);
	if (rc >= 0)
		rc = tree_text(fs, bsd_unpack.flags, NULL, &want, err);
	if (rc >= 0)
		rc = tree_text(out, bsd_unpack.flags, NULL, &got, err);
	return rc < 0 ? err_ctx(err, "bsdtar")
		      : prop_same(str_get(&want), str_get(&got), "bsdtar", err);
}

/* --- umoci --- */

static int put_blob(int blobs, const void *data, size_t n, struct digest *ret, struct err *err)
{
	hash_bytes(data, n, ret);
	return fd_write_file(blobs, digest_hex(ret), data, n, 0644, err);
}

static int put_layer(int blobs, const struct made *m, struct err *err)
{
	auto_fd int to =
		openat(blobs, digest_hex(&m->info.diff_id), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	return to < 0 ? err_sys(err, "create blob") : fs_copy_data(m->tar_fd, to, err);
}

static int put_image(struct prop *p, const struct made *m, unsigned n, struct err *err)
{
	static const char layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
	auto_str struct str config = { 0 }, manifest = { 0 }, index = { 0 };
	auto_fd int image = -1, blobs = -1;
	struct digest d;
	int rc = remake(p, "image", &image, err);

	if (rc < 0 || mkdirat(image, "blobs", 0755) < 0 || mkdirat(image, "blobs/sha256", 0755) < 0)
		return rc < 0 ? rc : err_sys(err, "make blobs");
	blobs = openat(image, "blobs/sha256", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	str_add(&config,
		"{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[");
	for (unsigned i = 0; i < n && rc >= 0; i++) {
		str_addf(&config, "%s\"%s\"", i ? "," : "", digest_str(&m[i].info.diff_id));
		rc = put_layer(blobs, &m[i], err);
	}
	str_add(&config, "]}}");
	if (rc >= 0)
		rc = put_blob(blobs, config.s, config.len, &d, err);
	str_addf(
		&manifest,
		"{\"schemaVersion\":2,\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"%s\",\"size\":%zu},\"layers\":[",
		digest_str(&d), config.len);
	for (unsigned i = 0; i < n; i++)
		str_addf(
			&manifest,
			"%s{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"%s\",\"size\":%llu}",
			i ? "," : "", digest_str(&m[i].info.diff_id),
			(unsigned long long)m[i].info.tar_bytes);
	str_add(&manifest, "]}");
	if (rc >= 0)
		rc = put_blob(blobs, manifest.s, manifest.len, &d, err);
	str_addf(
		&index,
		"{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"%s\",\"size\":%zu,\"annotations\":{\"org.opencontainers.image.ref.name\":\"t\"}}]}",
		digest_str(&d), manifest.len);
	if (rc >= 0)
		rc = fd_write_file(image, "index.json", index.s, index.len, 0644, err);
	return rc < 0 ? rc : fd_write_file(image, "oci-layout", layout, strlen(layout), 0644, err);
}

static int check_umoci(struct prop *p, const struct made *m, unsigned n, struct err *err)
{
	auto_fd int out = -1;
	int rc = put_image(p, m, n, err);

	if (rc >= 0)
		rc = fs_remove_tree(p->fd, "bundle", err);
	if (rc >= 0)
		rc = run(p, "/usr/bin/umoci unpack --image image:t bundle", -1, -1, err);
	if (rc < 0)
		return err_ctx(err, "umoci");
	out = openat(p->fd, "bundle/rootfs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return out < 0 ? err_sys(err, "umoci's rootfs")
		       : compare(p, m[n - 1].ours, out, TREE_BY_LAYER, "umoci", err);
}

int tools_check(struct prop *p, const struct made *m, unsigned n, struct err *err)
{
	int rc;

	if (fchdir(p->fd) < 0)
		return err_sys(err, "chdir");
	rc = check_gnu(p, m, n, err);
	for (unsigned i = 0; i < n && rc >= 0; i++)
		rc = check_bsd(p, &m[i], err);
	return rc < 0 ? rc : check_umoci(p, m, n, err);
}

/* --- their archives through us --- */

static const struct program packers[] = {
	{ "/usr/bin/tar --format=posix --xattrs --xattrs-include=* --acls -cf - -C /proc/self/fd/0 .",
	  0 },
	{ "/usr/bin/tar --format=posix -S --sparse-version=0.0 --xattrs --xattrs-include=* --acls -cf - -C /proc/self/fd/0 .",
	  0 },
	{ "/usr/bin/tar --format=posix -S --sparse-version=0.1 --xattrs --xattrs-include=* --acls -cf - -C /proc/self/fd/0 .",
	  0 },
	{ "/usr/bin/tar --format=posix -S --sparse-version=1.0 --xattrs --xattrs-include=* --acls -cf - -C /proc/self/fd/0 .",
	  0 },
	{ "/usr/bin/tar --format=gnu -cf - -C /proc/self/fd/0 .", TREE_NO_XATTRS },
	{ "/usr/bin/tar --format=gnu -S -cf - -C /proc/self/fd/0 .", TREE_NO_XATTRS },
	{ "/usr/bin/bsdtar --format=pax --xattrs --acls -cf - -C /proc/self/fd/0 .", 0 },
	{ "/usr/bin/bsdtar --format=gnutar --no-acls -cf - -C /proc/self/fd/0 .", TREE_NO_XATTRS },
};

static int unpack(struct prop *p, int tar_fd, struct err *err)
{
	struct layer_apply_opts o = { .foreign = true, .parent_fd = -1 };
	auto_fd int out = -1;
	int rc = remake(p, "out", &out, err);

	if (rc >= 0 && lseek(tar_fd, 0, SEEK_SET) < 0)
		return err_sys(err, "rewind");
	return rc < 0 ? rc : layer_apply(tar_fd, out, &o, NULL, err);
}

static int check_packer(struct prop *p, const struct program *u, int64_t id, struct err *err)
{
	auto_snap_mount struct snap_mount m = SNAP_MOUNT_INIT;
	auto_fd int tar = memfd_create("tar", MFD_CLOEXEC), out = -1;
	int rc = snap_mount(p->snap, id, SNAP_RDONLY, &m, err);

	if (rc >= 0)
		rc = run(p, u->line, m.root_fd, tar, err);
	if (rc >= 0)
		rc = unpack(p, tar, err);
	if (rc < 0)
		return err_ctx(err, "%.60s", u->line);
	out = openat(p->fd, "out", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return compare(p, id, out, u->flags, u->line, err);
}

int tools_back(struct prop *p, const struct made *m, unsigned n, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(packers) && rc >= 0; i++)
		rc = check_packer(p, &packers[i], m[n - 1].ours, err);
	return rc;
}
