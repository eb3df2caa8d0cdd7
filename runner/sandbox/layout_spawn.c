/* SPDX-License-Identifier: Apache-2.0 */
/* The parent's side of a layout: clones of what is bound, namespaces that only a clone enters, and
 * the talk with the child until it is let go. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/sys.h>

#include "priv.h"

enum { INFO_MAX = 4096 };

static const struct sandbox_ns *find_ns(const struct sandbox_layout *l, int type)
{
	for (size_t i = 0; i < l->n_ns; i++)
		if (l->ns[i].type == type)
			return &l->ns[i];
	return NULL;
}

/* Time is not a flag of clone: unshare tells what namespace the next child is in. */
uint64_t sandbox_layout_flags(const struct sandbox_layout *l)
{
	uint64_t flags = 0;

	for (size_t i = 0; i < l->n_ns; i++)
		if (l->ns[i].fd < 0 && l->ns[i].type != CLONE_NEWTIME &&
		    l->ns[i].type != CLONE_NEWCGROUP)
			flags |= (uint64_t)(unsigned)l->ns[i].type;
	return flags;
}

int sandbox_private_clone(int fd, bool recursive, uint64_t propagation)
{
	struct mount_attr attr = { .propagation = propagation };
	unsigned deep = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0);
	auto_fd int tree = sys_open_tree(fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | deep);

	if (tree < 0 || (propagation && sys_mount_setattr(tree, "", deep, &attr, sizeof(attr)) < 0))
		return -1;
	return fd_take(&tree);
}

/* A slave stays the host's until the child sets what was asked for. */
static int open_root(struct sandbox_ctx *ctx, struct err *err)
{
	const struct sandbox_layout *l = ctx->plan->layout;
	uint64_t propagation = l->root_propagation == MS_SLAVE ? MS_SLAVE : MS_PRIVATE;

	ctx->root_fd = sandbox_private_clone(ctx->plan->spec.root_fd, true, propagation);
	if (ctx->root_fd < 0)
		return err_sys(err, "root file system");
	return sandbox_above_stdio(&ctx->root_fd) < 0 ? err_sys(err, "root file system") : 0;
}

static int part_attrs(int fd, const struct sandbox_part *part, struct err *err)
{
	struct mount_attr one = { .attr_set = part->set, .attr_clr = part->clear };
	struct mount_attr below = { .attr_set = part->set_below, .attr_clr = part->clear_below };
	struct mount_attr spread = { .propagation =
					     part->propagation ? part->propagation : MS_PRIVATE };
	struct mount_attr idmap = { .attr_set = MOUNT_ATTR_IDMAP,
				    .userns_fd =
					    part->idmap_fd >= 0 ? (uint64_t)part->idmap_fd : 0 };
	unsigned deep = AT_EMPTY_PATH | AT_RECURSIVE;

	if ((one.attr_set || one.attr_clr) &&
	    sys_mount_setattr(fd, "", AT_EMPTY_PATH, &one, sizeof(one)) < 0)
		return err_sys(err, "mount %s: flags", part->target);
	if ((below.attr_set || below.attr_clr) &&
	    sys_mount_setattr(fd, "", deep, &below, sizeof(below)) < 0)
		return err_sys(err, "mount %s: recursive flags", part->target);
	if (part->idmap_fd >= 0 &&
	    sys_mount_setattr(fd, "", part->idmap_below ? deep : AT_EMPTY_PATH, &idmap,
			      sizeof(idmap)) < 0)
		return err_sys(err, "mount %s: idmap", part->target);
	if (sys_mount_setattr(fd, "",
			      !part->propagation || part->propagation_below ? deep : AT_EMPTY_PATH,
			      &spread, sizeof(spread)) < 0)
		return err_sys(err, "mount %s: propagation", part->target);
	return 0;
}

static int open_part(struct sandbox_ctx *ctx, size_t i, struct err *err)
{
	const struct sandbox_part *part = &ctx->plan->layout->parts[i];

	if (part->copy_up)
		return sandbox_copy_up(ctx, part, &ctx->part_fds[i], err);
	if (part->kind != SANDBOX_PART_BIND)
		return 0;
	ctx->part_fds[i] = sandbox_private_clone(part->source_fd, part->recursive, 0);
	/* A mount that is detached already: the caller's may be moved. */
	if (ctx->part_fds[i] < 0 && errno == EINVAL)
		ctx->part_fds[i] = fd_dup(part->source_fd);
	if (ctx->part_fds[i] < 0 || sandbox_above_stdio(&ctx->part_fds[i]) < 0)
		return err_sys(err, "mount %s", part->target);
	return part_attrs(ctx->part_fds[i], part, err);
}

/* The host's null, and no other (CVE-2025-31133, TRAPS T7). */
static int open_null(struct sandbox_ctx *ctx, struct err *err)
{
	struct stat st;

	if (fstat(ctx->null_fd, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
		return err_set(err, ENODEV, "/dev/null of the host is no null device");
	ctx->mask_null_fd = sandbox_private_clone(ctx->null_fd, false, MS_PRIVATE);
	if (ctx->mask_null_fd < 0 || sandbox_above_stdio(&ctx->mask_null_fd) < 0)
		return err_sys(err, "bind of /dev/null");
	return 0;
}

/* In a user namespace no device can be made, so the host's are bound. */
static int open_nodes(struct sandbox_ctx *ctx, struct err *err)
{
	const struct sandbox_layout *l = ctx->plan->layout;

	if (!find_ns(l, CLONE_NEWUSER))
		return 0;
	ctx->node_fds = mem_array(l->n_nodes + 1, sizeof(int));
	for (size_t i = 0; i < l->n_nodes; i++)
		ctx->node_fds[i] = -1;
	for (size_t i = 0; i < l->n_nodes; i++) {
		const struct sandbox_node *node = &l->nodes[i];
		auto_fd int fd = S_ISFIFO(node->mode) ? -1 : open(node->path, O_PATH | O_CLOEXEC);
		struct stat st;

		if (S_ISFIFO(node->mode))
			continue;
		if (fd < 0 || fstat(fd, &st) < 0)
			return err_sys(err, "device %s of the host", node->path);
		if ((st.st_mode & S_IFMT) != (node->mode & S_IFMT) || st.st_rdev != node->dev)
			return err_set(err, ENODEV, "device %s of the host is another one",
				       node->path);
		ctx->node_fds[i] = sandbox_private_clone(fd, false, MS_PRIVATE);
		if (ctx->node_fds[i] < 0 || sandbox_above_stdio(&ctx->node_fds[i]) < 0)
			return err_sys(err, "bind of device %s", node->path);
	}
	return 0;
}

int sandbox_layout_open(struct sandbox_ctx *ctx, struct err *err)
{
	const struct sandbox_layout *l = ctx->plan->layout;
	int rc;

	ctx->part_fds = mem_array(l->n_parts + 1, sizeof(int));
	for (size_t i = 0; i < l->n_parts; i++)
		ctx->part_fds[i] = -1;
	ctx->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (ctx->null_fd < 0)
		return err_sys(err, "/dev/null");
	rc = open_root(ctx, err);
	for (size_t i = 0; i < l->n_parts && rc == 0; i++)
		rc = open_part(ctx, i, err);
	if (rc == 0 && l->masked && *l->masked)
		rc = open_null(ctx, err);
	return rc == 0 ? open_nodes(ctx, err) : rc;
}

void sandbox_layout_close(struct sandbox_ctx *ctx)
{
	const struct sandbox_layout *l = ctx->plan->layout;

	for (size_t i = 0; ctx->part_fds && i < l->n_parts; i++)
		fd_close(&ctx->part_fds[i]);
	for (size_t i = 0; ctx->node_fds && i < l->n_nodes; i++)
		fd_close(&ctx->node_fds[i]);
	free(ctx->part_fds);
	free(ctx->node_fds);
	fd_close(&ctx->mask_null_fd);
}

/* The offsets are told before anything is in the namespace. */
static int new_time(const struct sandbox_layout *l, struct err *err)
{
	auto_fd int fd = -1;

	if (unshare(CLONE_NEWTIME) < 0)
		return err_sys(err, "time namespace");
	if (!l->time_offsets)
		return 0;
	fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, l->time_offsets, strlen(l->time_offsets)) < 0)
		return err_sys(err, "linux.timeOffsets");
	return 0;
}

/* By whom a namespace that is there is entered. Pid and time concern the children made after; and
 * what lives in a user namespace may enter nothing of the host's any more, so then it is all done
 * by the parent, for the time of one clone. */
static const struct {
	int type;
	const char *name;
} entered[] = {
	{ CLONE_NEWPID, "pid" }, { CLONE_NEWNET, "net" },       { CLONE_NEWIPC, "ipc" },
	{ CLONE_NEWUTS, "uts" }, { CLONE_NEWCGROUP, "cgroup" }, { CLONE_NEWTIME, "time" },
};

bool sandbox_layout_is_born_in(const struct sandbox_layout *l, int type)
{
	if (type == CLONE_NEWUSER)
		return true;
	for (size_t i = 0; i < ARRAY_LEN(entered); i++)
		if (entered[i].type == type)
			return type == CLONE_NEWPID || find_ns(l, CLONE_NEWUSER);
	return false;
}

/* own: where to return to; -1 where nothing was entered. A new time namespace is entered, too. */
static int enter(const struct sandbox_layout *l, int own[ARRAY_LEN(entered)], struct err *err)
{
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(entered) && rc == 0; i++) {
		const struct sandbox_ns *ns = find_ns(l, entered[i].type);
		auto_free char *path = mem_fmt("/proc/self/ns/%s", entered[i].name);
		bool is_new = ns && ns->fd < 0;

		if (!ns ||
		    (is_new ? ns->type != CLONE_NEWTIME : !sandbox_layout_is_born_in(l, ns->type)))
			continue;
		own[i] = open(path, O_RDONLY | O_CLOEXEC);
		if (own[i] < 0)
			rc = err_sys(err, "own %s namespace", entered[i].name);
		else if (is_new)
			rc = new_time(l, err);
		else if (setns(ns->fd, ns->type) < 0)
			rc = err_sys(err, "%s namespace", entered[i].name);
	}
	return rc;
}

static int come_back(int own[ARRAY_LEN(entered)])
{
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(entered); i++) {
		if (own[i] >= 0 && setns(own[i], entered[i].type) < 0)
			rc = -errno;
		fd_close(&own[i]);
	}
	return rc;
}

int sandbox_layout_start(const struct sandbox_plan *p, struct sandbox_ctx *ctx, uint64_t flags,
			 int cgroup_fd, struct sandbox **ret, struct err *err)
{
	const struct sandbox_ns *user = find_ns(p->layout, CLONE_NEWUSER);
	int own[ARRAY_LEN(entered)] = { -1, -1, -1, -1, -1, -1 };
	int rc, back;

	fd_close(&ctx->null_fd);
	ctx->user_fd = user ? user->fd : -1;
	rc = enter(p->layout, own, err);
	if (rc == 0)
		rc = sandbox_start(p, ctx, flags, cgroup_fd, ret, err);
	back = come_back(own);
	if (back < 0 && rc == 0) {
		sandbox_free(take(*ret));
		rc = err_errno(err, -back, "return to the own namespaces");
	}
	return rc;
}

/* The pid of who is behind a pidfd, as our /proc sees it. */
static pid_t pid_of(int pidfd)
{
	auto_free char *path = mem_fmt("/proc/self/fdinfo/%d", pidfd), *text = NULL;
	struct err ignored;
	const char *at;

	if (fd_read_file(AT_FDCWD, path, INFO_MAX, &text, NULL, &ignored) < 0)
		return -1;
	at = strstr(text, "Pid:\t");
	return at ? (pid_t)strtol(at + strlen("Pid:\t"), NULL, 10) : -1;
}

/*
 * A process of a user namespace that is there. Its other namespaces must be that one's, so who
 * clones it has to be inside; and who went in does not come out. So a process in between does, with
 * our table of fds: what it makes is our child, and its pidfd ours.
 */
pid_t sandbox_clone_in_user(int user_fd, struct clone_args *args, int *ret_pidfd)
{
	struct clone_args between = { .flags = CLONE_FILES | CLONE_CLEAR_SIGHAND,
				      .exit_signal = SIGCHLD };
	int pair[2], told[2] = { -1, EPIPE };
	pid_t pid;

	if (pipe2(pair, O_CLOEXEC) < 0)
		return -1;
	args->flags |= CLONE_PARENT;
	args->exit_signal = 0; /* its parent's in between */
	pid = sys_clone3(&between, sizeof(between));
	if (pid == 0) {
		/* It is still the host's root, with all our fds, and must not be traced from in
		   there. */
		pid_t child =
			prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || setns(user_fd, CLONE_NEWUSER) < 0
				? -1
				: sys_clone3(args, sizeof(*args));

		if (child == 0) {
			close(pair[0]);
			close(pair[1]);
			return 0;
		}
		told[0] = child < 0 ? -1 : *ret_pidfd;
		told[1] = child < 0 ? errno : 0;
		_exit(write(pair[1], told, sizeof(told)) != sizeof(told));
	}
	/* The other end is open as long as it is ours: only who wrote can have. */
	while (pid > 0 && waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
	close(pair[1]);
	if (pid > 0 && read(pair[0], told, sizeof(told)) != sizeof(told))
		told[1] = EPIPE;
	close(pair[0]);
	if (pid < 0)
		return -1;
	*ret_pidfd = told[0];
	errno = told[1];
	return told[1] ? -1 : pid_of(told[0]);
}

static int answer(struct sandbox *sb, struct err *err)
{
	return send(sb->sock, "g", 1, MSG_NOSIGNAL) < 0 ? err_sys(err, "sandbox: go on") : 0;
}

/* 1: it is held; 0: go on listening. fd is the message's. */
static int one_message(struct sandbox *sb, const struct sandbox_layout *l,
		       const struct sandbox_msg *m, int *fd, struct err *err)
{
	int rc = 0;

	switch (m->kind) {
	case SANDBOX_MSG_READY:
		sb->terminal_fd = fd_take(fd);
		return 0;
	case SANDBOX_MSG_MAP:
		rc = ids_write_maps(sb->pid, &l->maps, err);
		return rc < 0 ? rc : answer(sb, err);
	case SANDBOX_MSG_STAGE:
		rc = l->stage(l->arg, SANDBOX_STAGE_RUNTIME, sb->pid, -1, err);
		return rc < 0 ? rc : answer(sb, err);
	case SANDBOX_MSG_LISTENER:
		return l->stage(l->arg, SANDBOX_STAGE_LISTENER, sb->pid, fd_take(fd), err);
	case SANDBOX_MSG_HELD:
		return 1;
	default:
		return sandbox_msg_error(sb, m, err);
	}
}

int sandbox_await(struct sandbox *sb, const struct sandbox_layout *l, struct err *err)
{
	for (;;) {
		auto_fd int fd = -1;
		struct sandbox_msg m;
		int rc = sandbox_receive(sb, &m, &fd, err);

		if (rc == 0)
			return sandbox_died_early(sb, err);
		if (rc > 0)
			rc = one_message(sb, l, &m, &fd, err);
		if (rc != 0)
			return rc < 0 ? rc : 0;
	}
}

int sandbox_let_go(struct sandbox *sb, struct err *err)
{
	struct sandbox_msg m;
	int fd = -1, rc = answer(sb, err);

	if (rc == 0)
		rc = sandbox_receive(sb, &m, &fd, err);
	fd_close(&fd);
	if (rc > 0)
		return sandbox_msg_error(sb, &m, err);
	if (rc < 0)
		return rc;
	sb->let_go = sb->released = true;
	fd_close(&sb->sock);
	return 0;
}

int sandbox_failure_read(int fd, struct sandbox_failure *ret, struct err *err)
{
	struct sandbox_msg m;
	ssize_t n = fd_read_full(fd, &m, sizeof(m), err);

	if (n <= 0)
		return (int)n;
	if (n != sizeof(m))
		return err_set(err, EPROTO, "odd message from the container's process");
	ret->error = m.error;
	ret->step = m.kind != SANDBOX_MSG_NO_EXEC;
	memcpy(ret->text, m.text, sizeof(ret->text));
	ret->text[sizeof(ret->text) - 1] = 0;
	return 1;
}
