/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Docker's default policy allows (moby profiles/seccomp/default.json), as facts of our own
 * table: what is not here gets EPERM. clone, clone3, socket and personality depend on arguments and
 * are in seccomp.c. A change here raises SANDBOX_RULES_REVISION, which the cached filters are keyed
 * by.
 */
#include <sys/capability.h>

#include "priv.h"

#define BIT(cap) (1ull << (cap))

const struct sandbox_rule sandbox_rules[] = {
	{ "_llseek _newselect accept accept4 access adjtimex alarm bind brk capget capset chdir "
	  "chmod chown chown32 clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 "
	  "clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range "
	  "connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl "
	  "epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 "
	  "execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate "
	  "fanotify_mark fchdir fchmod fchmodat fchown fchown32 fchownat fcntl fcntl64 fdatasync "
	  "fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs "
	  "fstatfs64 fsync ftruncate ftruncate64 futex futex_time64 futex_waitv futimesat "
	  "get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid getegid32 "
	  "geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid "
	  "getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid "
	  "getresuid32 getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday "
	  "getuid getuid32 getxattr inotify_add_watch inotify_init inotify_init1 inotify_rm_watch "
	  "io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup "
	  "io_submit ioctl ioprio_get ioprio_set ipc kill landlock_add_rule "
	  "landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link linkat "
	  "listen listxattr llistxattr lremovexattr lseek lsetxattr lstat lstat64 madvise "
	  "membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 "
	  "mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive "
	  "mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap msgctl msgget "
	  "msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat "
	  "open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free "
	  "pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 "
	  "process_mrelease pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read readahead "
	  "readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg "
	  "remap_file_pages removexattr rename renameat renameat2 restart_syscall rmdir rseq "
	  "rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend "
	  "rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max "
	  "sched_get_priority_min sched_getaffinity sched_getattr sched_getparam "
	  "sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 "
	  "sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp "
	  "select semctl semget semop semtimedop semtimedop_time64 send sendfile sendfile64 "
	  "sendmmsg sendmsg sendto set_robust_list set_thread_area set_tid_address setfsgid "
	  "setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid "
	  "setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid "
	  "setreuid32 setrlimit setsid setsockopt setuid setuid32 setxattr shmat shmctl shmdt "
	  "shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall "
	  "socketpair splice stat stat64 statfs statfs64 statx symlink symlinkat sync "
	  "sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete "
	  "timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 "
	  "timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 "
	  "times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat utime utimensat "
	  "utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev",
	  0 },
	{ "process_vm_readv process_vm_writev ptrace", 0 },
#if defined(__aarch64__)
	{ "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2",
	  0 },
#elif defined(__x86_64__)
	{ "arch_prctl modify_ldt", 0 },
#endif
	{ "open_by_handle_at", BIT(CAP_DAC_READ_SEARCH) },
	{ "clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr "
	  "move_mount open_tree quotactl quotactl_fd setdomainname sethostname setns umount umount2 unshare",
	  BIT(CAP_SYS_ADMIN) },
	{ "bpf", BIT(CAP_SYS_ADMIN) | BIT(CAP_BPF) },
	{ "perf_event_open", BIT(CAP_SYS_ADMIN) | BIT(CAP_PERFMON) },
	{ "syslog", BIT(CAP_SYS_ADMIN) | BIT(CAP_SYSLOG) },
	{ "reboot", BIT(CAP_SYS_BOOT) },
	{ "chroot", BIT(CAP_SYS_CHROOT) },
	{ "delete_module init_module finit_module", BIT(CAP_SYS_MODULE) },
	{ "acct", BIT(CAP_SYS_PACCT) },
	{ "kcmp pidfd_getfd process_madvise", BIT(CAP_SYS_PTRACE) },
	{ "iopl ioperm", BIT(CAP_SYS_RAWIO) },
	{ "settimeofday stime clock_settime clock_settime64", BIT(CAP_SYS_TIME) },
	{ "vhangup", BIT(CAP_SYS_TTY_CONFIG) },
	{ "get_mempolicy mbind set_mempolicy set_mempolicy_home_node", BIT(CAP_SYS_NICE) },
};
const size_t sandbox_n_rules = ARRAY_LEN(sandbox_rules);

const struct sandbox_new_call sandbox_new_calls[] = {
	{ 451, 458, 0 }, /* cachestat fchmodat2 map_shadow_stack futex_* statmount listmount */
	{ 459, 461, BIT(CAP_SYS_ADMIN) }, /* lsm_get_self_attr lsm_set_self_attr lsm_list_modules */
	{ 462, 466, 0 }, /* mseal setxattrat getxattrat listxattrat removexattrat */
};
const size_t sandbox_n_new_calls = ARRAY_LEN(sandbox_new_calls);
