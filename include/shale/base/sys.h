/* SPDX-License-Identifier: Apache-2.0 */
/* sys: raw system calls, behaving like libc: -1 and errno. Nothing else calls syscall(2). */
#ifndef SHALE_BASE_SYS_H
#define SHALE_BASE_SYS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>

int sys_openat2(int dir_fd, const char *path, struct open_how *how, size_t size);
pid_t sys_clone3(struct clone_args *args, size_t size);
int sys_pidfd_open(pid_t pid, unsigned flags);
int sys_pidfd_send_signal(int pidfd, int sig);
int sys_close_range(unsigned first, unsigned last, unsigned flags);
int sys_fsopen(const char *fs, unsigned flags);
int sys_fsconfig(int fd, unsigned cmd, const char *key, const void *value, int aux);
int sys_fsmount(int fd, unsigned flags, unsigned attr_flags);
int sys_open_tree(int dir_fd, const char *path, unsigned flags);
int sys_move_mount(int from_fd, const char *from, int to_fd, const char *to, unsigned flags);
int sys_mount_setattr(int dir_fd, const char *path, unsigned flags, struct mount_attr *attr,
		      size_t size);
int sys_pivot_root(const char *new_root, const char *put_old);
int sys_seccomp(unsigned op, unsigned flags, void *args);
int sys_capset(void *hdr, const void *data);
int sys_execveat(int dir_fd, const char *path, char *const argv[], char *const envp[], int flags);
int sys_memfd_create(const char *name, unsigned flags);
/* linux/ioprio.h is not in every libc-dev. */
enum { IOPRIO_WHO_PROCESS = 1, IOPRIO_IDLE = 3 << 13 };
int sys_ioprio_set(int which, int who, int ioprio);
long sys_keyctl_join(const char *name);
/* fork without libc's handlers, for where clone3 is filtered. */
pid_t sys_fork(void);
/* struct sched_attr of sched_setattr(2), which libc headers lack or have twice. */
struct sys_sched_attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime_ns, deadline_ns, period_ns;
};
int sys_sched_setattr(struct sys_sched_attr *attr);
int sys_set_mempolicy(int mode, const unsigned long *nodes, unsigned long max_node);
int sys_quotactl_fd(int fd, unsigned cmd, unsigned id, void *addr);
int sys_bpf(int cmd, void *attr, unsigned size);
/* The bare calls, for a child of clone3: libc's tell all threads it remembers, of which there are
 * none. */
int sys_setgroups(size_t n, const gid_t *groups);
int sys_setresuid(uid_t uid);
int sys_setresgid(gid_t gid);
/* Never libc's walk, which allocates. */
int sys_getcwd(char *buf, size_t size);

#ifndef MOVE_MOUNT_F_EMPTY_PATH
#error "kernel headers without the new mount API"
#endif

#endif
