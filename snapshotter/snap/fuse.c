/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fuse-overlayfs driver. The mount is made here, detached, on a /dev/fuse of our own; the
 * program is handed that open file ("/dev/fd/N") and never mounts anything. So the mount stands in
 * nobody's table, also not in the daemon's: when the last reference to it goes, the kernel cuts the
 * connection and the daemon ends, whoever was killed and when.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/proc.h>
#include <shale/base/str.h>
#include <shale/base/sys.h>

#include "driver.h"

enum { TEXT_MAX = 2000 };

/* Never $PATH: this runs as root. */
static const char *const places[] = { "/usr/bin/fuse-overlayfs", "/usr/local/bin/fuse-overlayfs",
				      "/usr/libexec/fuse-overlayfs" };

const char *snap_fuse_program(void)
{
	for (size_t i = 0; i < ARRAY_LEN(places); i++)
		if (access(places[i], X_OK) == 0)
			return places[i];
	return NULL;
}

static int open_device(struct err *err)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	err_sys(err, "open /dev/fuse");
	return err_hint(err, "modprobe fuse");
}

static int make_mount(int dev_fd, bool rdonly, int *ret_fd, struct err *err)
{
	char number[16];
	const struct snap_option options[] = {
		{ "source", "shale" },   { "subtype", "fuse-overlayfs" },
		{ "fd", number },        { "rootmode", "40000" },
		{ "user_id", "0" },      { "group_id", "0" },
		{ "allow_other", NULL }, { "default_permissions", NULL },
	};
	auto_fd int fs_fd = sys_fsopen("fuse", FSOPEN_CLOEXEC);
	int fd;

	if (fs_fd < 0)
		return err_sys(err, "fsopen fuse");
	snprintf(number, sizeof(number), "%d", dev_fd);
	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		const char *value = options[i].value;

		if (sys_fsconfig(fs_fd, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG,
				 options[i].key, value, 0) < 0)
			return err_sys(err, "fuse %s", options[i].key);
	}
	if (sys_fsconfig(fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return err_sys(err, "fuse");
	fd = sys_fsmount(fs_fd, FSMOUNT_CLOEXEC, rdonly ? MOUNT_ATTR_RDONLY : 0);
	if (fd < 0)
		return err_sys(err, "fsmount fuse");
	*ret_fd = fd;
	return 0;
}

/* Names beneath snap/, where the child stands: neither ':' nor ',' can be in them. */
static int make_options(struct snap *s, const struct snap_chain *c, const struct snap_plan *p,
			struct str *ret, struct err *err)
{
	size_t skip = (size_t)(p->lower - c->ids);

	str_add(ret, "lowerdir=");
	for (size_t i = 0; i < p->n_lower; i++) {
		bool is_merged = p->merged && i + 1 == p->n_lower;
		char name[SNAP_NAME_MAX];
		int rc = 0;

		snap_plan_lower(p, i, name);
		/* It would show zeros where it should follow: give it what it can read. */
		if (!is_merged && c->layer_flags[skip + i])
			rc = snap_expand(s, c, skip + i, name, err);
		if (rc < 0)
			return rc;
		str_addf(ret, "%s%s", i ? ":" : "", name);
	}
	if (p->upper) {
		str_addf(ret, ",upperdir=%s", SNAP_NAME(p->upper, "fs"));
		str_addf(ret, ",workdir=%s", SNAP_NAME(p->upper, "work"));
	}
	if (p->is_volatile)
		str_add(ret, ",volatile");
	return 0;
}

/* After fork, of a process that may have threads: system calls only. */
static void child_main(const char *program, char *const argv[], int snap_fd, int dev_fd,
		       int text_fd)
{
	static char *const no_env[] = { NULL };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	umask(0);
	if (fchdir(snap_fd) < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(text_fd, 2) < 0)
		_exit(126);
	/* Nothing that a caller of ours left open: a lock held by a daemon would outlive us. */
	sys_close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
	if (fcntl(dev_fd, F_SETFD, 0) < 0)
		_exit(126);
	execve(program, argv, no_env);
	_exit(127);
}

static int daemon_failed(int code, char *text, struct err *err)
{
	char *line = strstr(text, "fuse-overlayfs:");

	line = line ? line : text;
	line[strcspn(line, "\n")] = 0;
	return err_set(err, EIO, "fuse-overlayfs ended with exit code %d: %s", code, line);
}

/* It goes into the background by itself, when it serves the mount; until then it may complain. */
static int start_daemon(struct snap *s, const char *program, const char *options, int dev_fd,
			struct err *err)
{
	auto_free char *words = mem_str(options), *point = mem_fmt("/dev/fd/%d", dev_fd);
	char name[] = "fuse-overlayfs", o[] = "-o", text[TEXT_MAX] = "";
	char *const argv[] = { name, o, words, point, NULL };
	auto_fd int from = -1, to = -1;
	int fds[2], code = 0, rc;
	struct err ignored = { 0 };
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, "pipe");
	from = fds[0];
	to = fds[1];
	pid = fork();
	if (pid < 0)
		return err_sys(err, "fork for fuse-overlayfs");
	if (pid == 0)
		child_main(program, argv, s->snap_fd, dev_fd, to);
	fd_close(&to);
	fd_read_full(from, text, sizeof(text) - 1, &ignored);
	fd_close(&from);
	rc = proc_wait(pid, &code, err);
	return rc < 0 || !code ? rc : daemon_failed(code, text, err);
}

int snap_fuse(struct snap *s, const struct snap_chain *c, const struct snap_plan *p, int *ret_fd,
	      struct err *err)
{
	const char *program = snap_fuse_program();
	auto_str struct str options = { 0 };
	auto_fd int dev = -1, fd = -1;
	int rc;

	if (!program) {
		err_set(err, ENOENT, "fuse-overlayfs is not installed");
		return err_hint(err, "install the package fuse-overlayfs");
	}
	rc = make_options(s, c, p, &options, err);
	if (rc < 0)
		return rc;
	dev = open_device(err);
	if (dev < 0)
		return fd_take(&dev);
	rc = make_mount(dev, p->rdonly, &fd, err);
	if (rc >= 0)
		rc = start_daemon(s, program, str_get(&options), dev, err);
	if (rc < 0)
		return rc;
	*ret_fd = fd_take(&fd);
	return 0;
}
