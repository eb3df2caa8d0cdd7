/* SPDX-License-Identifier: Apache-2.0 */
/* What the process of a layout becomes, in the child, until it is let go. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/capability.h>

#include <shale/base/fd.h>
#include <shale/base/sys.h>

#include "priv.h"

enum { CAPS_MAX = 63, CPUS_MAX = 8192, LEFT = 125 };

int sandbox_in_scheduler(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	const struct sandbox_sched *w = s->of;
	struct sys_sched_attr attr = { .policy = w->policy,
				       .flags = w->flags,
				       .nice = w->nice,
				       .priority = w->priority,
				       .runtime_ns = w->runtime_ns,
				       .deadline_ns = w->deadline_ns,
				       .period_ns = w->period_ns };

	(void)ctx;
	return sys_sched_setattr(&attr) < 0 ? -errno : 0;
}

int sandbox_in_ioprio(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	(void)ctx;
	return sys_ioprio_set(IOPRIO_WHO_PROCESS, 0, (int)s->a) < 0 ? -errno : 0;
}

int sandbox_in_personality(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	(void)ctx;
	return personality(s->a) < 0 ? -errno : 0;
}

int sandbox_in_mempolicy(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	const struct sandbox_layout *l = ctx->plan->layout;
	const unsigned long nodes = l->mempolicy_nodes;
	const int mode = l->mempolicy_mode | (int)l->mempolicy_flags;

	(void)s;
	/* The kernel counts one bit less than it is told. */
	return sys_set_mempolicy(mode, nodes ? &nodes : NULL, nodes ? 65 : 0) < 0 ? -errno : 0;
}

/* "0-3,7", checked by who wrote it. */
int sandbox_in_affinity(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	unsigned char bytes[CPUS_MAX / 8] = { 0 };
	const char *p = s->name;

	(void)ctx;
	while (*p) {
		unsigned from = 0, to;

		for (; *p >= '0' && *p <= '9' && from < CPUS_MAX; p++)
			from = from * 10 + (unsigned)(*p - '0');
		to = from;
		if (*p == '-')
			for (to = 0, p++; *p >= '0' && *p <= '9' && to < CPUS_MAX; p++)
				to = to * 10 + (unsigned)(*p - '0');
		if (to >= CPUS_MAX || (*p && *p != ','))
			return -EINVAL;
		for (; from <= to; from++)
			bytes[from / 8] |= (unsigned char)(1u << from % 8);
		p += *p == ',';
	}
	return sched_setaffinity(0, sizeof(bytes), (const cpu_set_t *)(const void *)bytes) < 0
		       ? -errno
		       : 0;
}

static int raise_ambient(uint64_t set)
{
	for (int c = 0; c <= CAPS_MAX; c++)
		if (set & (1ull << c) && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, c, 0, 0) < 0)
			return -errno;
	return 0;
}

int sandbox_in_layout_caps(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	const struct sandbox_layout *l = ctx->plan->layout;
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2] = {
		{ (uint32_t)l->effective, (uint32_t)l->permitted, (uint32_t)l->inheritable },
		{ (uint32_t)(l->effective >> 32), (uint32_t)(l->permitted >> 32),
		  (uint32_t)(l->inheritable >> 32) },
	};

	(void)s;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
	    sys_capset(&head, data) < 0 || prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0)
		return -errno;
	return raise_ambient(l->ambient);
}

/* So that create tells of a program that is missing; what else keeps it from running start does. */
int sandbox_in_find(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	const struct strv *names = &ctx->plan->candidates;
	int worst = -ENOENT;
	struct stat st;

	(void)s;
	for (size_t i = 0; i < names->n; i++) {
		if (stat(names->v[i], &st) < 0) {
			if (errno == EACCES)
				worst = -EACCES;
			continue;
		}
		if (S_ISREG(st.st_mode) && st.st_mode & 0111)
			return 0;
		worst = -EACCES;
	}
	return worst;
}

static int wait_byte(int fd)
{
	ssize_t n;
	char go;

	do {
		n = read(fd, &go, 1);
	} while (n < 0 && errno == EINTR);
	return n == 1 ? 0 : -1;
}

/*
 * Until the parent lets go its death is ours. Then the fifo, of which we hold both ends, so that
 * there is no end of it: whoever starts us opens it, and learns from the other one how the exec
 * went.
 */
int sandbox_in_held(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	const struct sandbox_layout *l = ctx->plan->layout;
	struct sandbox_msg m = { .kind = SANDBOX_MSG_HELD };

	(void)s;
	/* Not send: a filter is in force, and a profile may know of no sockets. */
	if (write(ctx->sock, &m, sizeof(m)) < 0 || wait_byte(ctx->sock) < 0)
		_exit(LEFT);
	if (l->go_fd < 0)
		return 0;
	fd_close(&ctx->sock);
	ctx->exec_fd = l->status_fd;
	if (wait_byte(l->go_fd) < 0)
		_exit(LEFT);
	return 0;
}

/* Its path as the text of the failure, cut. */
static void tell_path(struct sandbox_ctx *ctx, const char *path)
{
	size_t n = strnlen(path, sizeof(ctx->text) - 1);

	memcpy(ctx->text, path, n);
	ctx->text[n] = 0;
}

int sandbox_in_hooks(struct sandbox_ctx *ctx, const struct sandbox_step *s)
{
	const struct sandbox_hook *hooks = s->of;
	int rc = 0, status = 0;

	for (size_t i = 0; i < s->a && rc == 0; i++) {
		rc = sandbox_hook_run(&hooks[i], ctx->plan->layout->state_fd, &status);
		if (rc < 0)
			tell_path(ctx, hooks[i].path);
	}
	return rc;
}
