/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/base/sys.h>

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/capability.h>

int sys_openat2(int dir_fd, const char *path, struct open_how *how, size_t size)
{
	return (int)syscall(SYS_openat2, dir_fd, path, how, size);
}

pid_t sys_clone3(struct clone_args *args, size_t size)
{
	return (pid_t)syscall(SYS_clone3, args, size);
}

int sys_pidfd_open(pid_t pid, unsigned flags)
{
	return (int)syscall(SYS_pidfd_open, pid, flags);
}

int sys_pidfd_send_signal(int pidfd, int sig)
{
	return (int)syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0);
}

int sys_close_range(unsigned first, unsigned last, unsigned flags)
{
	return (int)syscall(SYS_close_range, first, last, flags);
}

int sys_fsopen(const char *fs, unsigned flags)
{
	return (int)syscall(SYS_fsopen, fs, flags);
}

int sys_fsconfig(int fd, unsigned cmd, const char *key, const void *value, int aux)
{
	return (int)syscall(SYS_fsconfig, fd, cmd, key, value, aux);
}

int sys_fsmount(int fd, unsigned flags, unsigned attr_flags)
{
	return (int)syscall(SYS_fsmount, fd, flags, attr_flags);
}

int sys_open_tree(int dir_fd, const char *path, unsigned flags)
{
	return (int)syscall(SYS_open_tree, dir_fd, path, flags);
}

int sys_move_mount(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
	return (int)syscall(SYS_move_mount, from_fd, from, to_fd, to, flags);
}

int sys_mount_setattr(int dir_fd, const char *path, unsigned flags, struct mount_attr *attr,
		      size_t size)
{
	return (int)syscall(SYS_mount_setattr, dir_fd, path, flags, attr, size);
}

int sys_pivot_root(const char *new_root, const char *put_old)
{
	return (int)syscall(SYS_pivot_root, new_root, put_old);
}

int sys_seccomp(unsigned op, unsigned flags, void *args)
{
	return (int)syscall(SYS_seccomp, op, flags, args);
}

int sys_capset(void *hdr, const void *data)
{
	return (int)syscall(SYS_capset, hdr, data);
}

int sys_execveat(int dir_fd, const char *path, char *const argv[], char *const envp[], int flags)
{
	return (int)syscall(SYS_execveat, dir_fd, path, argv, envp, flags);
}

int sys_memfd_create(const char *name, unsigned flags)
{
	return (int)syscall(SYS_memfd_create, name, flags);
}

int sys_ioprio_set(int which, int who, int ioprio)
{
	return (int)syscall(SYS_ioprio_set, which, who, ioprio);
}

enum { KEYCTL_JOIN = 1 };

long sys_keyctl_join(const char *name)
{
	return syscall(SYS_keyctl, KEYCTL_JOIN, name, 0, 0, 0);
}

pid_t sys_fork(void)
{
	return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

int sys_sched_setattr(struct sys_sched_attr *attr)
{
	attr->size = sizeof(*attr);
	return (int)syscall(SYS_sched_setattr, 0, attr, 0);
}

int sys_set_mempolicy(int mode, const unsigned long *nodes, unsigned long max_node)
{
	return (int)syscall(SYS_set_mempolicy, mode, nodes, max_node);
}

int sys_quotactl_fd(int fd, unsigned cmd, unsigned id, void *addr)
{
	return (int)syscall(SYS_quotactl_fd, fd, cmd, id, addr);
}

int sys_bpf(int cmd, void *attr, unsigned size)
{
	return (int)syscall(SYS_bpf, cmd, attr, size);
}

int sys_setgroups(size_t n, const gid_t *groups)
{
	return (int)syscall(SYS_setgroups, n, groups);
}

int sys_setresuid(uid_t uid)
{
	return (int)syscall(SYS_setresuid, uid, uid, uid);
}

int sys_setresgid(gid_t gid)
{
	return (int)syscall(SYS_setresgid, gid, gid, gid);
}

int sys_getcwd(char *buf, size_t size)
{
	return (int)syscall(SYS_getcwd, buf, size);
}
