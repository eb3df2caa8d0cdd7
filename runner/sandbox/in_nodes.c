/* SPDX-License-Identifier: Apache-2.0 */
/* Devices, terminal, masked and read-only paths of a layout, in the child. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/path.h>
#include <shale/base/sys.h>

#include "priv.h"

enum { QUIET = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC };

/* The directory of path, made, and the last name. */
static int open_parent(struct sandbox_ctx *ctx, const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX];
	size_t n = slash ? (size_t)(slash - path) : 0;

	*ret_name = slash ? slash + 1 : path;
	if (!**ret_name || !strcmp(*ret_name, ".."))
		return -EINVAL;
	memcpy(dir, path, n);
	dir[n] = 0;
	return sandbox_make_path(ctx->root_fd, n ? dir : "/", true);
}

static int check_node(int fd, const struct sandbox_node *node)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if ((st.st_mode & S_IFMT) != (node->mode & S_IFMT) ||
	    (!S_ISFIFO(node->mode) && st.st_rdev != node->dev))
		return -EEXIST;
	return 0;
}

/* In a user namespace nothing makes devices: the host's own is bound. */
static int bind_node(int dir, const char *name, int node_fd)
{
	auto_fd int at =
		openat(dir, name, O_CREAT | O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666);

	return at < 0 ? -errno : sandbox_attach(node_fd, at);
}

/* What is there already must be the very device: an image's symlink there would make us chmod or
 * later bind what it names (CVE-2025-31133, TRAPS T7). */
int sandbox_in_device(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	const struct sandbox_node *node = s->of;
	const char *name;
	auto_fd int dir = open_parent(ctx, node->path, &name), fd = -1;
	int rc;

	if (dir < 0)
		return dir;
	if (ctx->node_fds && ctx->node_fds[s->a] >= 0)
		return bind_node(dir, name, ctx->node_fds[s->a]);
	if (mknodat(dir, name, node->mode, node->dev) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = check_node(fd, node);
	if (rc < 0)
		return rc;
	return fchownat(fd, "", node->uid, node->gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

/* A link that is there stays, but ptmx, which must be this devpts' own. */
int sandbox_in_dev_link(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	auto_fd int dir =
		openat(ctx->root_fd, "dev", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (dir < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : -errno;
	if (!strcmp(s->name, "ptmx")) {
		if (ctx->pts_fd < 0)
			return 0;
		unlinkat(dir, s->name, 0);
	}
	if (symlinkat(s->value, dir, s->name) < 0 && errno != EEXIST && errno != EROFS)
		return -errno;
	return 0;
}

/* Bound by the fd that the kernel gave us (CVE-2025-52565, TRAPS T8), in a /dev that is no
 * symlink (CVE-2026-41579, TRAPS T6). */
static int bind_console(struct sandbox_ctx *ctx, int slave)
{
	auto_fd int dir =
		openat(ctx->root_fd, "dev", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	auto_fd int at = -1, tree = -1;

	if (dir < 0)
		return -errno;
	at = openat(dir, "console",
		    O_CREAT | O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
	tree = sys_open_tree(slave, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	if (at < 0 || tree < 0)
		return -errno;
	return sandbox_attach(tree, at);
}

int sandbox_in_console(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	const struct sandbox_layout *l = ctx->plan->layout;
	struct winsize size = { .ws_row = l->window_rows, .ws_col = l->window_columns };
	auto_fd int master = sandbox_open_master(ctx), slave = -1;
	int unlock = 0, rc;

	(void)s;
	if (master < 0)
		return master;
	if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return -errno;
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0 || fchown(slave, ctx->plan->spec.uid, (gid_t)-1) < 0 ||
	    ioctl(slave, TIOCSCTTY, 0) < 0)
		return -errno;
	if ((size.ws_row || size.ws_col) && ioctl(slave, TIOCSWINSZ, &size) < 0)
		return -errno;
	rc = ctx->join_pidfd < 0 ? bind_console(ctx, slave) : 0;
	for (int i = 0; i < 3 && rc == 0; i++)
		rc = dup2(slave, i) < 0 ? -errno : 0;
	return rc < 0 ? rc : sandbox_send_fd(ctx->sock, SANDBOX_MSG_READY, master);
}

/* A clone of what was attached first: each needs its own. */
static int null_for_mask(struct sandbox_ctx *ctx)
{
	if (ctx->mask_null_attached)
		return sys_open_tree(ctx->mask_null_fd, "",
				     OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	ctx->mask_null_attached = true;
	return fd_dup(ctx->mask_null_fd);
}

/* One empty, read-only file system for all masked directories. */
static int dir_for_mask(struct sandbox_ctx *ctx)
{
	static const char *const options[] = { "mode", "755", "size", "0", "nr_inodes", "1", NULL };

	if (ctx->mask_dir_fd >= 0)
		return sys_open_tree(ctx->mask_dir_fd, "",
				     OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	ctx->mask_dir_fd = sandbox_new_mount(ctx, "tmpfs", options, QUIET | MOUNT_ATTR_RDONLY);
	if (ctx->mask_dir_fd < 0) {
		errno = -ctx->mask_dir_fd;
		return -1;
	}
	return fd_dup(ctx->mask_dir_fd);
}

int sandbox_in_mask_path(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	auto_fd int target = path_try_in(ctx->root_fd, s->name, O_PATH, 0), fd = -1;
	struct stat st;

	if (target < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	if (fstat(target, &st) < 0)
		return -errno;
	fd = S_ISDIR(st.st_mode) ? dir_for_mask(ctx) : null_for_mask(ctx);
	return fd < 0 ? -errno : sandbox_attach(fd, target);
}

int sandbox_in_read_only_path(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	auto_fd int target = path_try_in(ctx->root_fd, s->name, O_PATH, 0), fd = -1;
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };

	if (target < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	fd = sys_open_tree(target, "",
			   OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
	if (fd < 0 ||
	    sys_mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) < 0)
		return -errno;
	return sandbox_attach(fd, target);
}
