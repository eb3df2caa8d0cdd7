/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/base/proc.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/path.h>
#include <shale/base/str.h>
#include <shale/base/sys.h>

/* State letter and start time from /proc/PID/stat; the command name may hold blanks and
 * parentheses. */
static int read_stat(pid_t pid, char *ret_state, uint64_t *ret_start)
{
	char path[64], buf[1024], *p;
	auto_fd int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
	if (n <= 0)
		return -ESRCH;
	buf[n] = 0;
	p = strrchr(buf, ')');
	if (!p || !p[1])
		return -ESRCH;
	p += 2;
	*ret_state = *p;
	for (int field = 3; field < 22 && p; field++) {
		p = strchr(p, ' ');
		p = p ? p + 1 : NULL;
	}
	*ret_start = p ? strtoull(p, NULL, 10) : 0;
	return 0;
}

uint64_t proc_start_time(pid_t pid)
{
	uint64_t start;
	char state;

	return read_stat(pid, &state, &start) < 0 ? 0 : start;
}

bool proc_is_alive(pid_t pid, uint64_t start_time)
{
	uint64_t start;
	char state;

	if (pid <= 0 || read_stat(pid, &state, &start) < 0)
		return false;
	return start == start_time && state != 'Z' && state != 'X';
}

const char *proc_boot_id(void)
{
	static char id[PROC_BOOT_ID_LEN + 1];
	auto_fd int fd = -1;

	if (id[0])
		return id;
	fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, id, PROC_BOOT_ID_LEN) != PROC_BOOT_ID_LEN)
		memcpy(id, "unknown", 8);
	return id;
}

int proc_exit_code(int wait_status)
{
	return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

int proc_wait(pid_t pid, int *ret_code, struct err *err)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_sys(err, "wait for process %d", (int)pid);
	*ret_code = proc_exit_code(status);
	return 0;
}

static void child_exec(const char *file, char *const argv[], const int fds[3])
{
	sigset_t none;
	int in[3];

	for (int i = 0; i < 3; i++)
		in[i] = fds && fds[i] >= 0 ? fd_dup(fds[i]) : open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int i = 0; i < 3; i++)
		dup2(in[i], i);
	sys_close_range(3, ~0u, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv(file, argv);
	_exit(127);
}

pid_t proc_fork_helper(proc_helper_fn *fn, const void *arg, int *ret_sock, struct err *err)
{
	auto_fd int ours = -1, theirs = -1;
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, "socketpair");
	ours = pair[0];
	theirs = pair[1];
	pid = fork();
	if (pid < 0)
		return err_sys(err, "fork");
	if (pid == 0) {
		close(ours);
		fn(theirs, arg);
		_exit(0);
	}
	*ret_sock = fd_take(&ours);
	return pid;
}

pid_t proc_spawn(const char *file, char *const argv[], const int fds[3], struct err *err)
{
	pid_t pid = fork();

	if (pid < 0)
		return err_sys(err, "fork for %s", file);
	if (pid == 0)
		child_exec(file, argv, fds);
	return pid;
}

/* Born in its group: to move there later takes an RCU grace period (10 ms). */
static pid_t fork_into(int group_fd)
{
	struct clone_args args = { .flags = CLONE_INTO_CGROUP,
				   .exit_signal = SIGCHLD,
				   .cgroup = (uint64_t)group_fd };
	pid_t pid = group_fd < 0 ? -1 : sys_clone3(&args, sizeof(args));

	return pid < 0 ? fork() : pid;
}

int proc_spawn_detached(const char *file, char *const argv[], const int fds[3], int group_fd,
			struct err *err)
{
	pid_t pid = fork();
	int code;

	if (pid < 0)
		return err_sys(err, "fork for %s", file);
	if (pid == 0) {
		setsid();
		if (fork_into(group_fd) != 0)
			_exit(0);
		child_exec(file, argv, fds);
	}
	return proc_wait(pid, &code, err) < 0 ? -err->code : 0;
}

int proc_find_own(const char *program, char **ret, struct err *err)
{
	static const char *const places[] = { "", "../libexec/shale" };
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0)
		return err_sys(err, "read /proc/self/exe");
	self[n] = 0;
	*strrchr(self, '/') = 0;
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		auto_free char *dir = path_join(self, places[i]), *path = path_join(dir, program);

		if (access(path, X_OK) == 0) {
			*ret = take(path);
			return 0;
		}
	}
	return err_set(err, ENOENT, "%s is neither in %s nor in ../libexec/shale beside it",
		       program, self);
}

int proc_become(uid_t id)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { { 0 } };

	for (int cap = 0; prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0; cap++)
		;
	if (sys_setgroups(0, NULL) < 0 || sys_setresgid(id) < 0 || sys_setresuid(id) < 0 ||
	    sys_capset(&head, none) < 0)
		return -1;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

int proc_thread(pthread_t *ret, void *(*main)(void *), void *arg)
{
	sigset_t all, before;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(ret, NULL, main, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -rc;
}

void proc_random_hex(char *buf, unsigned n)
{
	static const char digits[] = "0123456789abcdef";
	unsigned char rnd[32] = { 0 };

	if (n > 64)
		n = 64;
	while (getrandom(rnd, (n + 1) / 2, 0) < 0 && errno == EINTR)
		;
	for (unsigned i = 0; i < n; i++)
		buf[i] = digits[i % 2 ? rnd[i / 2] & 15 : rnd[i / 2] >> 4];
	buf[n] = 0;
}

static int64_t now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t proc_now_ns(void)
{
	return now(CLOCK_REALTIME);
}

int64_t proc_mono_ns(void)
{
	return now(CLOCK_MONOTONIC);
}
