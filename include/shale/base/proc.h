/* SPDX-License-Identifier: Apache-2.0 */
/* proc: processes by pidfd and start time, the boot id, signals, helper programs. */
#ifndef SHALE_BASE_PROC_H
#define SHALE_BASE_PROC_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <shale/base/err.h>

/* Field 22 of /proc/PID/stat (clock ticks since boot): with the pid it names a process for good. 0
 * when gone. */
uint64_t proc_start_time(pid_t pid);
/* Is this very process (pid and start time, same boot) still there and no zombie? */
bool proc_is_alive(pid_t pid, uint64_t start_time);

/* This boot's id, 36 characters, read once. */
#define PROC_BOOT_ID_LEN 36
const char *proc_boot_id(void);

/* waitpid that retries on EINTR; the exit code as a shell gives it (128 + signal). */
int proc_wait(pid_t pid, int *ret_code, struct err *err);
/* Shell-style code from a wait status. */
int proc_exit_code(int wait_status);

/* "TERM", "SIGTERM", "15", "RTMIN+1": the number or -EINVAL. */
int proc_signal_find(const char *name);

/* A child that does what only another process can (in another namespace, say) and tells of it by
 * sock, with an fd or without: fn, of system calls only, since we may have threads; it does not
 * outlive its return. *ret_sock: our end, which it sees closed. The pid, for proc_wait. */
typedef void proc_helper_fn(int sock, const void *arg);
pid_t proc_fork_helper(proc_helper_fn *fn, const void *arg, int *ret_sock, struct err *err);

/* fork + exec of one of shale's own programs, all fds but 0, 1, 2 closed at exec. fds[3] may hold
 * -1 for /dev/null. Returns the pid. */
pid_t proc_spawn(const char *file, char *const argv[], const int fds[3], struct err *err);
/* The same in a session of its own, double-forked; in the cgroup (v2) whose directory group_fd is,
 * where the kernel can (-1: in ours). */
int proc_spawn_detached(const char *file, char *const argv[], const int fds[3], int group_fd,
			struct err *err);

/* Where another of shale's programs is: beside this one or in ../libexec/shale, whatever argv[0]
 * and PATH say. The caller owns *ret; -ENOENT. */
int proc_find_own(const char *program, char **ret, struct err *err);

/* In a child, before exec: uid and gid id, no groups, no capability now or ever. -1 and errno. */
int proc_become(uid_t id);

/* pthread_create with every signal blocked: they are the main thread's, and a write says EPIPE. 0
 * or -errno. */
int proc_thread(pthread_t *ret, void *(*main)(void *), void *arg);

/* Random lower-case hex, n characters (n even, <= 64) and a NUL. */
void proc_random_hex(char *buf, unsigned n);

int64_t proc_now_ns(void); /* CLOCK_REALTIME */
int64_t proc_mono_ns(void);

#endif
