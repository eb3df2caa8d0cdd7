/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hardlink to a file of a layer beneath, as builders write it that unpack onto the merged tree:
 * the file is copied into this layer, as the kernel would copy it up, and then linked.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/path.h>

#include "priv.h"

/* Does this layer hide what the parents have at path: by a directory that is opaque, or by
 * something that is no directory? */
static bool is_hidden(const struct layer_apply *a, char *path)
{
	for (char *slash = path; (slash = strchr(slash, '/')); slash++) {
		auto_fd int fd = -1;
		char value[2];
		int code;

		*slash = 0;
		fd = path_try_in(a->root_fd, path, O_RDONLY | O_DIRECTORY, 0);
		code = errno;
		*slash = '/';
		if (fd < 0)
			return code != ENOENT;
		if (fgetxattr(fd, "trusted.overlay.opaque", value, sizeof(value)) == 1 &&
		    *value == 'y')
			return true;
	}
	return a->is_root_cut;
}

static int copy(struct layer_apply *a, int from, int dir, const char *name, struct err *err)
{
	auto_layer_attrs struct layer_attrs attrs = { 0 };
	struct layer_entry e = { .kind = LAYER_FILE };
	auto_fd int to = -1;
	struct stat st;
	int rc;

	if (fstat(from, &st) < 0)
		return err_sys(err, "stat");
	if ((uint64_t)st.st_size > a->limit - a->bytes)
		return err_set(err, EFBIG, "a link to a file that is larger than the limit");
	a->bytes += (uint64_t)st.st_size;
	rc = layer_attrs_read(from, &attrs, err);
	if (rc < 0)
		return rc;
	to = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0)
		return err_sys(err, "create");
	e.mode = st.st_mode & 07777;
	e.uid = st.st_uid;
	e.gid = st.st_gid;
	e.xattrs = attrs.kept;
	rc = fs_copy_data(from, to, err);
	if (rc >= 0)
		rc = layer_write_attrs(a, to, &e, true, err);
	if (rc >= 0 &&
	    futimens(to, (struct timespec[2]){ { .tv_nsec = UTIME_OMIT }, st.st_mtim }) < 0)
		rc = err_sys(err, "set time");
	return rc;
}

int layer_copy_up(struct layer_apply *a, char *path, struct err *err)
{
	auto_fd int thing = -1, from = -1, dir = -1;
	char proc[FD_PATH_MAX], *slash;
	struct stat st;
	int rc;

	if (a->o->parent_fd < 0 || is_hidden(a, path))
		return 0;
	/* Looked at before it is opened: a device would act. */
	thing = path_try_in(a->o->parent_fd, path, O_PATH | O_NOFOLLOW, 0);
	if (thing < 0 || fstat(thing, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	from = open(fd_path(thing, proc), O_RDONLY | O_CLOEXEC | O_NOATIME);
	if (from < 0)
		return err_sys(err, "open %.200s of a layer beneath", path);
	slash = strrchr(path, '/');
	if (slash)
		*slash = 0;
	dir = layer_make_parents(a, slash ? path : (char[]){ "" }, err);
	if (slash)
		*slash = '/';
	if (dir < 0)
		return fd_take(&dir);
	rc = copy(a, from, dir, slash ? slash + 1 : path, err);
	return rc < 0 ? err_ctx(err, "copy %.200s of a layer beneath", path) : 1;
}
