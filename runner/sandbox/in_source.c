/* SPDX-License-Identifier: Apache-2.0 */
/* What is mounted where it was asked for and is made in the child: a tmpfs, a file in memory, a
 * part of a detached mount. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/sys.h>

#include "priv.h"

#define TREE_PLACE ".tree" /* in our /dev, while a mount is built */

static unsigned attr_of(const struct sandbox_mount *m)
{
	return (m->nosuid ? MOUNT_ATTR_NOSUID : 0) | (m->nodev ? MOUNT_ATTR_NODEV : 0) |
	       (m->noexec ? MOUNT_ATTR_NOEXEC : 0) | (m->read_only ? MOUNT_ATTR_RDONLY : 0);
}

/* "size=64m,mode=1777": cut up in place, in a copy on the stack. */
static int tmpfs_with(struct sandbox_ctx *ctx, const struct sandbox_mount *m, unsigned attr)
{
	char text[512], *p = text;
	const char *options[2 * 16 + 1] = { "source", "tmpfs" };
	size_t n = 2, len = m->data ? strlen(m->data) : 0;

	if (len >= sizeof(text))
		return -E2BIG;
	memcpy(text, m->data ? m->data : "", len + 1);
	while (*p && n + 2 < ARRAY_LEN(options)) {
		char *end = strchrnul(p, ','), *eq;
		bool more = *end;

		*end = 0;
		eq = strchr(p, '=');
		if (!eq)
			return -EINVAL;
		*eq = 0;
		options[n++] = p;
		options[n++] = eq + 1;
		p = more ? end + 1 : end;
	}
	options[n] = NULL;
	return *p ? -E2BIG : sandbox_new_mount(ctx, "tmpfs", options, attr);
}

/*
 * A clone of a part of a detached mount: of name in it, or ("") of fd, which lies in it.
 * Before 6.15 the kernel clones only what is mounted somewhere, so the tree gets a place for as
 * long as that takes.
 */
static int clone_part(struct sandbox_ctx *ctx, int tree_fd, int fd, const char *name)
{
	int part, rc;

	if (mkdirat(ctx->dev_fd, TREE_PLACE, 0700) < 0)
		return -errno;
	rc = sandbox_attach_at(tree_fd, ctx->dev_fd, TREE_PLACE);
	part = rc < 0 ? rc
		      : sys_open_tree(fd, name,
				      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW |
					      (*name ? 0 : AT_EMPTY_PATH));
	if (rc == 0 && part < 0)
		part = -errno;
	/* By the directory's fd: no path of the image is followed. */
	if (fchdir(ctx->dev_fd) < 0 || (rc == 0 && umount2(TREE_PLACE, MNT_DETACH) < 0) ||
	    rmdir(TREE_PLACE) < 0 || chdir("/") < 0)
		rc = -errno;
	if (rc < 0)
		fd_close(&part);
	return rc < 0 ? rc : part;
}

static int part_of_tree(struct sandbox_ctx *ctx, const struct sandbox_mount *m)
{
	auto_fd int fd = clone_part(ctx, m->tree_fd, m->source_fd, "");
	int rc = fd < 0 ? fd : sandbox_set_attr(fd, attr_of(m) | MOUNT_ATTR_NODEV);

	return rc < 0 ? rc : fd_take(&fd);
}

static int write_file(const struct sandbox_ctx *ctx, int dir_fd, const char *name,
		      const struct sandbox_mount *m)
{
	uint32_t root = ctx->plan->spec.ids ? ctx->plan->spec.ids->root : 0;
	auto_fd int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	const char *p = m->content;
	size_t left = m->content_len;

	if (fd < 0)
		return -errno;
	while (left) {
		ssize_t n = write(fd, p, left);

		if (n < 0)
			return -errno;
		p += n;
		left -= (size_t)n;
	}
	return fchown(fd, m->uid + root, m->gid + root) < 0 || fchmod(fd, m->mode & 07777) < 0
		       ? -errno
		       : 0;
}

static unsigned file_attr(const struct sandbox_mount *m)
{
	return attr_of(m) | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
	       (m->may_exec ? 0 : MOUNT_ATTR_NOEXEC);
}

static int file_in_memory(struct sandbox_ctx *ctx, const struct sandbox_mount *m)
{
	static const char *const options[] = { "source", "file", "mode", "0700", NULL };
	static const char *const never_swapped[] = { "source", "file", "mode", "0700",
						     "noswap", NULL,   NULL };
	const unsigned attr = file_attr(m) & ~(unsigned)MOUNT_ATTR_RDONLY;
	auto_fd int tmpfs = sandbox_new_mount(ctx, "tmpfs", never_swapped, attr);
	auto_fd int fd = -1;
	int rc;

	if (tmpfs < 0) /* before 6.4 */
		tmpfs = sandbox_new_mount(ctx, "tmpfs", options, attr);
	rc = tmpfs < 0 ? tmpfs : write_file(ctx, tmpfs, "file", m);
	if (rc < 0)
		return rc;
	fd = clone_part(ctx, tmpfs, tmpfs, "file");
	rc = fd < 0 ? fd : sandbox_set_attr(fd, file_attr(m));
	return rc < 0 ? rc : fd_take(&fd);
}

/* In the tmpfs that is there anyway. */
static int file_in_dev(struct sandbox_ctx *ctx, const struct sandbox_mount *m)
{
	const char *name = strrchr(m->shown, '/');
	auto_free char *dir = name ? mem_strn(m->shown, (size_t)(name - m->shown)) : NULL;
	auto_fd int dir_fd = -1, fd = -1;
	int rc;

	if (!dir)
		return -EINVAL;
	if (mkdirat(ctx->dev_fd, dir, 0700) < 0)
		return -errno;
	dir_fd = openat(ctx->dev_fd, dir, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	rc = dir_fd < 0 ? -errno : write_file(ctx, dir_fd, name + 1, m);
	if (rc < 0)
		return rc;
	fd = sys_open_tree(dir_fd, name + 1,
			   OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
	if (fd < 0)
		return -errno;
	rc = sandbox_set_attr(fd, file_attr(m));
	return rc < 0 ? rc : fd_take(&fd);
}

/* What has no name can no longer be attached, so the name goes only now. */
int sandbox_source_attached(struct sandbox_ctx *ctx, const struct sandbox_mount *m)
{
	const char *slash = m->shown ? strrchr(m->shown, '/') : NULL;
	auto_free char *dir = slash ? mem_strn(m->shown, (size_t)(slash - m->shown)) : NULL;

	if (!dir)
		return 0;
	return unlinkat(ctx->dev_fd, m->shown, 0) < 0 ||
			       unlinkat(ctx->dev_fd, dir, AT_REMOVEDIR) < 0
		       ? -errno
		       : 0;
}

int sandbox_source_make(struct sandbox_ctx *ctx, const struct sandbox_mount *m)
{
	if (m->kind == SANDBOX_TMPFS)
		return tmpfs_with(ctx, m, attr_of(m) | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	if (m->kind == SANDBOX_FILE)
		return m->shown ? file_in_dev(ctx, m) : file_in_memory(ctx, m);
	return part_of_tree(ctx, m);
}
