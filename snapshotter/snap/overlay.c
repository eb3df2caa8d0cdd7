/* SPDX-License-Identifier: Apache-2.0 */
/* Mounts by the new mount API. They belong to nobody's mount table until somebody attaches them. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>
#include <shale/base/sys.h>

#include "priv.h"

const struct snap_option snap_options[] = {
	/* Renamed directories and chown without a copy. On a mount without an upper: follow those
	   marks. */
	{ "redirect_dir", "on" },
	{ "metacopy", "on" },
	/* An index ties an upper to its lowers by file handles: it breaks when layers are copied or
	   restored. */
	{ "index", "off" },
	{ "nfs_export", "off" },
	/* All layers are on one file system, whose inode numbers do. */
	{ "xino", "off" },
	{ NULL, NULL },
};

/* The kernel explains in lines such as "e overlay: text". */
static int explain(int fs_fd, struct err *err)
{
	char line[256];
	ssize_t n;

	while ((n = read(fs_fd, line, sizeof(line) - 1)) > 0) {
		line[n] = 0;
		line[strcspn(line, "\n")] = 0;
		err_hint(err, "kernel: %s", n > 2 ? line + 2 : line);
	}
	return -err->code;
}

static int set_string(int fs_fd, const char *key, const char *value, struct err *err)
{
	if (sys_fsconfig(fs_fd, FSCONFIG_SET_STRING, key, value, 0) == 0)
		return 0;
	err_sys(err, "overlay %s=%s", key, value);
	return explain(fs_fd, err);
}

static int set_flag(int fs_fd, const char *key, struct err *err)
{
	if (sys_fsconfig(fs_fd, FSCONFIG_SET_FLAG, key, NULL, 0) == 0)
		return 0;
	err_sys(err, "overlay %s", key);
	return explain(fs_fd, err);
}

/* O_PATH would do since Linux 6.15; this way it does wherever fds do. */
static int set_dir(int dir_fd, int fs_fd, const char *key, const char *name, struct err *err)
{
	auto_fd int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, "open snap/%s", name);
	if (sys_fsconfig(fs_fd, FSCONFIG_SET_FD, key, NULL, fd) == 0)
		return 0;
	err_sys(err, "overlay %s snap/%s", key, name);
	return explain(fs_fd, err);
}

static int set_path(int dir_fd, int fs_fd, const char *key, const char *name, struct err *err)
{
	char path[FD_PATH_MAX + SNAP_NAME_MAX];

	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dir_fd, name);
	return set_string(fs_fd, key, path, err);
}

typedef int set_fn(int dir_fd, int fs_fd, const char *key, const char *name, struct err *err);

static int set_layers(int dir_fd, int fs_fd, const struct snap_plan *p, set_fn *set,
		      struct err *err)
{
	int rc = 0;

	for (size_t i = 0; rc >= 0 && i < p->n_lower; i++)
		rc = set(dir_fd, fs_fd, "lowerdir+", SNAP_LOWER(p, i), err);
	if (rc >= 0 && p->upper)
		rc = set(dir_fd, fs_fd, "upperdir", SNAP_NAME(p->upper, "fs"), err);
	if (rc >= 0 && p->upper)
		rc = set(dir_fd, fs_fd, "workdir", SNAP_NAME(p->upper, "work"), err);
	return rc;
}

static int set_options(int fs_fd, const struct snap_plan *p, struct err *err)
{
	int rc = 0;

	for (const struct snap_option *o = snap_options; rc >= 0 && o->key; o++)
		rc = set_string(fs_fd, o->key, o->value, err);
	/* The default writes an attribute of its own to every new upper. Every kernel with
	 * lowerdir+ has this option. */
	if (rc >= 0)
		rc = set_string(fs_fd, "uuid", "null", err);
	if (rc >= 0 && p->is_volatile)
		rc = set_flag(fs_fd, "volatile", err);
	return rc;
}

static int create(int fs_fd, bool rdonly, int *ret_fd, struct err *err)
{
	int fd;

	if (sys_fsconfig(fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0) {
		err_sys(err, "overlay");
		return explain(fs_fd, err);
	}
	/* No nosuid and no nodev: this becomes a container's root, where sudo must work, and
	 * devices are the cgroup's affair. */
	fd = sys_fsmount(fs_fd, FSMOUNT_CLOEXEC, rdonly ? MOUNT_ATTR_RDONLY : 0);
	if (fd < 0)
		return err_sys(err, "fsmount overlay");
	*ret_fd = fd;
	return 0;
}

static int overlay_new(struct snap *s, const struct snap_plan *p, set_fn *set, int *ret_fd,
		       struct err *err)
{
	auto_fd int fs_fd = sys_fsopen("overlay", FSOPEN_CLOEXEC);
	int rc;

	if (fs_fd < 0)
		return err_sys(err, "fsopen overlay");
	rc = set_string(fs_fd, "source", "shale", err);
	if (rc >= 0)
		rc = set_layers(s->snap_fd, fs_fd, p, set, err);
	if (rc >= 0)
		rc = set_options(fs_fd, p, err);
	return rc < 0 ? rc : create(fs_fd, p->rdonly, ret_fd, err);
}

static int by_fd(struct snap *s, const struct snap_plan *p, int *ret_fd, struct err *err)
{
	return overlay_new(s, p, set_dir, ret_fd, err);
}

static int by_path(struct snap *s, const struct snap_plan *p, int *ret_fd, struct err *err)
{
	auto_fd int fs_fd = sys_fsopen("overlay", FSOPEN_CLOEXEC);

	/*
	 * Before 6.5 a context only collects mount(2) options and takes any key without a value,
	 * which those that know lowerdir+ refuse. Found out here, it costs no error line in the
	 * kernel's log.
	 */
	if (fs_fd >= 0 && sys_fsconfig(fs_fd, FSCONFIG_SET_FLAG, "lowerdir+", NULL, 0) == 0)
		return err_set(err, EOPNOTSUPP, "overlay: this kernel has no lowerdir+");
	return overlay_new(s, p, set_path, ret_fd, err);
}

int snap_overlay(struct snap *s, const struct snap_plan *p, int *ret_fd, struct err *err)
{
	static int (*const how[SNAP_HOW_N])(struct snap *, const struct snap_plan *, int *,
					    struct err *) = {
		[SNAP_HOW_FD] = by_fd,
		[SNAP_HOW_PATH] = by_path,
		[SNAP_HOW_HELPER] = snap_overlay_helper,
	};
	struct err first = { 0 };
	int rc;

	/* What works is found by working with it: where no older way does better, the first failure
	 * of one that the kernel has is the one to tell. */
	for (unsigned i = s->how; i < SNAP_HOW_N; i++) {
		rc = how[i](s, p, ret_fd, err);
		if (rc >= 0) {
			s->how = (enum snap_how)i;
			s->how_known = true;
			err_clear(err);
			return 0;
		}
		if (!first.code && rc != -EOPNOTSUPP)
			first = *err;
		if (s->how_known || (rc != -EINVAL && rc != -ENOSYS && rc != -EOPNOTSUPP))
			break;
	}
	if (first.code)
		*err = first;
	return -err->code;
}

int snap_bind(int dir_fd, const char *name, bool rdonly, int *ret_fd, struct err *err)
{
	/* The file system of the store may be mounted with flags that are none of the container's
	 * business, and shared. */
	struct mount_attr attr = {
		.attr_set = rdonly ? MOUNT_ATTR_RDONLY : 0,
		.attr_clr = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC |
			    (rdonly ? 0 : MOUNT_ATTR_RDONLY),
		.propagation = MS_PRIVATE,
	};
	auto_fd int fd = sys_open_tree(dir_fd, name,
				       OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);

	if (fd < 0)
		return err_sys(err, "bind %s", name);
	if (sys_mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return err_sys(err, "attributes of the bind of %s", name);
	*ret_fd = fd_take(&fd);
	return 0;
}

/* A mount with index=on refuses a lower that is the upper of another. Its own upper is a
 * throw-away. */
static int probe(int dir_fd, struct err *err)
{
	static const struct {
		const char *key, *name;
	} dirs[] = { { "lowerdir", "fs" },
		     { "upperdir", "probe/fs" },
		     { "workdir", "probe/work" } };
	auto_fd int fs_fd = sys_fsopen("overlay", FSOPEN_CLOEXEC);
	int rc = 0;

	if (fs_fd < 0)
		return err_sys(err, "fsopen overlay");
	for (size_t i = 0; rc >= 0 && i < ARRAY_LEN(dirs); i++)
		rc = set_path(dir_fd, fs_fd, dirs[i].key, dirs[i].name, err);
	for (const struct snap_option *o = snap_options; rc >= 0 && o->key; o++)
		rc = set_string(fs_fd, o->key, strcmp(o->key, "index") == 0 ? "on" : o->value, err);
	/* Else its end would sync the whole file system of the store. */
	if (rc >= 0)
		rc = set_flag(fs_fd, "volatile", err);
	if (rc < 0)
		return rc;
	if (sys_fsconfig(fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		return 0;
	if (errno == EBUSY)
		return 1;
	err_sys(err, "overlay");
	return explain(fs_fd, err);
}

/*
 * With index=off, which layers need, the kernel mounts one upper twice without a word, and no lock
 * of ours lives as long as the mount of a container whose starter has gone. Asking the kernel costs
 * a third of a millisecond and leaves no line in its log when all is well.
 */
int snap_upper_in_use(int dir_fd, struct err *err)
{
	struct err ignored = { 0 };
	int rc = fs_remove_tree(dir_fd, "probe", err); /* of one that was killed */

	if (rc >= 0)
		rc = fs_mkdir(dir_fd, "probe", 0700, err);
	if (rc >= 0)
		rc = fs_mkdir(dir_fd, "probe/fs", 0700, err);
	if (rc >= 0)
		rc = fs_mkdir(dir_fd, "probe/work", 0700, err);
	if (rc >= 0)
		rc = probe(dir_fd, err);
	fs_remove_tree(dir_fd, "probe", &ignored);
	return rc < 0 ? err_ctx(err, "is its overlay gone") : rc;
}
