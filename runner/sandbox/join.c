/* SPDX-License-Identifier: Apache-2.0 */
/* Another process in a running container. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <shale/base/fd.h>
#include <shale/base/sys.h>

#include "priv.h"

#define auto_ctx cleanup(sandbox_ctx_close)

/*
 * setns to a pid namespace concerns the children made after it, so the caller takes it for the time
 * of one clone: the child is then inside at once and ours to wait for. The other namespaces the
 * child enters itself.
 */
int sandbox_start_inside(const struct sandbox_plan *p, struct sandbox_ctx *ctx, uint64_t flags,
			 int cgroup_fd, struct sandbox **ret, struct err *err)
{
	auto_fd int own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	int rc;

	if (own < 0)
		return err_sys(err, "own pid namespace");
	if (setns(ctx->pid_fd, CLONE_NEWPID) < 0)
		return err_sys(err, "pid namespace of the container");
	rc = sandbox_start(p, ctx, flags, cgroup_fd, ret, err);
	if (setns(own, CLONE_NEWPID) < 0 && rc == 0) {
		sandbox_free(take(*ret));
		return err_sys(err, "return to the own pid namespace");
	}
	return rc;
}

/* Of a layout: its user namespace, if that is not ours, and its time. */
static int types_of(pid_t pid)
{
	static const struct {
		int type;
		const char *name;
	} kinds[] = { { CLONE_NEWUSER, "user" }, { CLONE_NEWTIME, "time" } };
	int types = 0;

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		auto_free char *theirs = mem_fmt("/proc/%d/ns/%s", (int)pid, kinds[i].name);
		auto_free char *ours = mem_fmt("/proc/self/ns/%s", kinds[i].name);
		struct stat a, b;

		if (stat(theirs, &a) == 0 && stat(ours, &b) == 0 && a.st_ino != b.st_ino)
			types |= kinds[i].type;
	}
	return types;
}

int sandbox_join(const struct sandbox_plan *p, pid_t pid, struct sandbox **ret, struct err *err)
{
	auto_ctx struct sandbox_ctx ctx;
	auto_fd int cgroup_fd = -1;
	int rc = 0;

	sandbox_ctx_init(&ctx, p);
	ctx.root_fd = p->spec.root_fd; /* not used, not ours to close */
	ctx.join_pidfd = sys_pidfd_open(pid, 0);
	if (ctx.join_pidfd < 0)
		return err_sys(err, "process %d of the container", (int)pid);
	ctx.pid_fd = ctx.join_pidfd;
	if (p->layout)
		ctx.join_types = types_of(pid);
	if (p->cgroup_name)
		rc = sandbox_cgroup_open(p->cgroup_name, pid, &ctx, &cgroup_fd, err);
	return rc < 0 ? rc : sandbox_start_inside(p, &ctx, 0, cgroup_fd, ret, err);
}
