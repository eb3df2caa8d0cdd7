/* SPDX-License-Identifier: Apache-2.0 */
/* Start, wait, kill, join, terminal, init, and the matrix of system calls. */
#include "tests.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/seccomp.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>
#include <shale/base/sys.h>

#include "../../../runner/sandbox/priv.h"

#define SH(script)                                                                                 \
	((char *[]){ (char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c",                           \
		     (char *)(uintptr_t)(script), NULL })

static struct sandbox *start(struct box *b, const struct sandbox_spec *s)
{
	auto_sandbox_plan struct sandbox_plan *plan = NULL;
	struct sandbox *sb = NULL;

	if (sandbox_plan(s, &plan, &b->err) < 0 || sandbox_spawn(plan, &sb, &b->err) < 0 ||
	    sandbox_release(sb, &b->err) < 0)
		fail_msg("%s", b->err.msg);
	return sb;
}

static void test_exec_errors(void **state)
{
	static const struct {
		const char *file;
		int rc;
	} cases[] = {
		{ "nonesuch", -ENOENT }, { "/nonesuch", -ENOENT }, { "/etc", -EACCES },
		{ "/plain", -EACCES },   { "/text", -ENOEXEC },    { "/bin/true/x", -ENOENT }
	};
	auto_str struct str out = { 0 };
	struct box b;

	(void)state;
	box_make(&b);
	box_write(&b, "plain", "x", 0644);
	box_write(&b, "text", "no program", 0755);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *argv[] = { (char *)(uintptr_t)cases[i].file, NULL };
		struct sandbox_spec s = box_spec(&b, argv);
		int rc = box_run(&b, &s, &out);

		if (rc != cases[i].rc)
			fail_msg("%s: %d %s", cases[i].file, rc, b.err.msg);
	}
	box_free(&b);
}

/* Held until released: the program's effect is not there before. */
static void test_hold(void **state)
{
	auto_sandbox_plan struct sandbox_plan *plan = NULL;
	struct sandbox *sb = NULL;
	struct sandbox_spec s;
	struct box b;
	int status;

	(void)state;
	box_make(&b);
	s = box_spec(&b, SH("echo x >/tmp/made"));
	assert_int_equal(sandbox_plan(&s, &plan, &b.err), 0);
	assert_int_equal(sandbox_spawn(plan, &sb, &b.err), 0);
	usleep(100 * 1000);
	assert_int_equal(sandbox_wait(sb, 0, &status, &b.err), 0);
	assert_int_not_equal(faccessat(b.root_fd, "tmp/made", F_OK, 0), 0);
	assert_int_equal(sandbox_release(sb, &b.err), 0);
	assert_int_equal(sandbox_wait(sb, 10000, &status, &b.err), 1);
	assert_int_equal(faccessat(b.root_fd, "tmp/made", F_OK, 0), 0);
	sandbox_free(sb);
	/* Freed while held: it is gone. */
	assert_int_equal(sandbox_spawn(plan, &sb, &b.err), 0);
	status = sandbox_pid(sb);
	sandbox_free(sb);
	assert_int_equal(kill(status, 0), -1);
	box_free(&b);
}

/* The parent has sent its go and is gone before the child came to the hold, or right after. */
static void test_parent_dies_after_go(void **state)
{
	struct sandbox_spec s;
	struct box b;
	int fds[2], status;
	pid_t parent, child = 0;

	(void)state;
	box_make(&b);
	s = box_spec(&b, SH("sleep 30"));
	assert_int_equal(pipe(fds), 0);
	parent = fork();
	if (parent == 0) {
		struct sandbox_plan *plan = NULL;
		struct sandbox *sb = NULL;

		if (sandbox_plan(&s, &plan, &b.err) == 0 && sandbox_spawn(plan, &sb, &b.err) == 0) {
			child = sandbox_pid(sb);
			if (write(fds[1], &child, sizeof(child)) == sizeof(child))
				send(sb->sock, "g", 1, MSG_NOSIGNAL);
		}
		_exit(0);
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], &child, sizeof(child)), sizeof(child));
	close(fds[0]);
	waitpid(parent, &status, 0);
	for (int i = 0; i < 100 && kill(child, 0) == 0; i++)
		usleep(20000);
	assert_int_equal(kill(child, 0), -1);
	box_free(&b);
}

/* The parent dies, by SIGKILL, while the child holds: the child goes too. */
static void test_parent_dies(void **state)
{
	struct sandbox_spec s;
	struct box b;
	int fds[2], status;
	pid_t parent, child = 0;

	(void)state;
	box_make(&b);
	s = box_spec(&b, SH("sleep 30"));
	assert_int_equal(pipe(fds), 0);
	parent = fork();
	if (parent == 0) {
		struct sandbox_plan *plan = NULL;
		struct sandbox *sb = NULL;

		if (sandbox_plan(&s, &plan, &b.err) == 0 && sandbox_spawn(plan, &sb, &b.err) == 0)
			child = sandbox_pid(sb);
		if (write(fds[1], &child, sizeof(child)) != sizeof(child))
			_exit(1);
		pause();
	}
	assert_int_equal(read(fds[0], &child, sizeof(child)), sizeof(child));
	assert_true(child > 0);
	kill(parent, SIGKILL);
	waitpid(parent, &status, 0);
	for (int i = 0; i < 200 && proc_is_alive(child, proc_start_time(child)); i++)
		usleep(10 * 1000);
	assert_false(proc_is_alive(child, proc_start_time(child)));
	close(fds[0]);
	close(fds[1]);
	box_free(&b);
}

static void test_kill(void **state)
{
	struct sandbox_spec s;
	struct sandbox *sb;
	struct box b;
	int status;

	(void)state;
	box_make(&b);
	for (int cgroup = 0; cgroup < 2; cgroup++) {
		s = box_spec(&b, SH("sleep 100 & sleep 100 & wait"));
		s.cgroup.name = cgroup ? unit_cgroup("kill") : NULL;
		sb = start(&b, &s);
		assert_int_equal(sandbox_wait(sb, 50, &status, &b.err), 0);
		assert_int_equal(sandbox_kill(sb, &b.err), 0);
		assert_int_equal(sandbox_wait(sb, -1, &status, &b.err), 1);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		sandbox_free(sb);
	}
	/* By name, as after a lost monitor. */
	s = box_spec(&b, SH("sleep 100 & sleep 100 & wait"));
	s.cgroup.name = unit_cgroup("kill");
	sb = start(&b, &s);
	assert_int_equal(sandbox_cgroup_kill(unit_cgroup("kill"), &b.err), 0);
	assert_int_equal(sandbox_wait(sb, 5000, &status, &b.err), 1);
	assert_int_equal(sandbox_cgroup_remove(unit_cgroup("kill"), &b.err), 0);
	sandbox_free(sb);
	assert_int_not_equal(unit_cgroup_access("unified"), 0);
	box_free(&b);
}

static void test_memory_limit(void **state)
{
	auto_str struct str out = { 0 };
	struct sandbox_spec s;
	struct box b;

	(void)state;
	box_make(&b);
	s = box_spec(&b, NULL);
	s.cgroup = (struct sandbox_cgroup){ .name = unit_cgroup("mem"),
					    .memory_bytes = 16 << 20,
					    .pids = 20 };
	assert_int_equal(
		box_sh(&b, &s,
		       "dd if=/dev/zero of=/dev/null bs=40M count=1 2>/dev/null; echo $?; "
		       "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24; do sleep 1 & done; wait",
		       &out),
		2);
	assert_non_null(strstr(str_get(&out), "137"));
	assert_non_null(strstr(str_get(&out), "fork"));
	box_free(&b);
}

/* init: signals are passed on, orphans reaped, the code is the program's. */
static void test_init(void **state)
{
	auto_str struct str out = { 0 };
	struct sandbox_spec s;
	struct sandbox *sb;
	struct box b;
	int status;

	(void)state;
	box_make(&b);
	s = box_spec(&b, NULL);
	s.init = true;
	assert_int_equal(
		box_sh(&b, &s,
		       "echo $$; cat /proc/1/comm; (sleep 0 &); sleep 0.2; ps | grep -c '\\[sleep\\]'; exit 9",
		       &out),
		9);
	assert_string_equal(str_get(&out), "2\nshale-init\n0\n");
	s = box_spec(&b, SH("trap 'exit 42' TERM; while :; do sleep 0.05; done"));
	s.init = true;
	sb = start(&b, &s);
	usleep(300 * 1000);
	assert_int_equal(sandbox_signal(sb, SIGTERM, &b.err), 0);
	assert_int_equal(sandbox_wait(sb, 5000, &status, &b.err), 1);
	assert_int_equal(proc_exit_code(status), 42);
	sandbox_free(sb);
	s.argv = (char *[]){ (char *)(uintptr_t) "nonesuch", NULL };
	assert_int_equal(box_run(&b, &s, &out), -ENOENT);
	box_free(&b);
}

static void read_terminal(struct sandbox *sb, struct str *out)
{
	struct pollfd p = { sandbox_terminal_fd(sb), POLLIN, 0 };
	char buf[512];
	ssize_t n;

	while (poll(&p, 1, 5000) == 1 && (n = read(p.fd, buf, sizeof(buf))) > 0)
		str_addn(out, buf, (size_t)n);
}

static void test_terminal(void **state)
{
	static const char *const lines[] = { "/dev/pts/0\r\n", "console\r\n", "77\r\n", "x\r\n",
					     "got hello\r\n" };
	auto_str struct str out = { 0 };
	struct sandbox_spec s;
	struct sandbox *sb;
	struct box b;
	int status;

	(void)state;
	box_make(&b);
	for (int init = 0; init < 2; init++) {
		s = box_spec(
			&b,
			SH("tty; test -c /dev/console && echo console; stat -c %u /dev/pts/0; echo x >/dev/tty; read l; echo got $l"));
		s.terminal = true;
		s.init = init;
		s.uid = 77;
		sb = start(&b, &s);
		assert_true(sandbox_terminal_fd(sb) >= 0);
		assert_int_equal(write(sandbox_terminal_fd(sb), "hello\n", 6), 6);
		str_reset(&out);
		read_terminal(sb, &out);
		assert_int_equal(sandbox_wait(sb, 5000, &status, &b.err), 1);
		/* The echo of "hello" may come between any two lines. */
		for (size_t i = 0; i < ARRAY_LEN(lines); i++)
			if (!strstr(str_get(&out), lines[i]))
				fail_msg("terminal: %s", str_get(&out));
		sandbox_free(sb);
	}
	box_free(&b);
}

static int join_sh(struct box *b, struct sandbox *in, struct sandbox_spec *s, const char *script,
		   struct str *out)
{
	auto_sandbox_plan struct sandbox_plan *plan = NULL;
	auto_sandbox struct sandbox *sb = NULL;
	char buf[4096];
	int fds[2], status = 0, rc;
	ssize_t n;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	s->argv = SH(script);
	s->stdio[1] = s->stdio[2] = fds[1];
	rc = sandbox_plan(s, &plan, &b->err);
	if (rc == 0)
		rc = sandbox_join(plan, sandbox_pid(in), &sb, &b->err);
	if (rc == 0)
		rc = sandbox_release(sb, &b->err);
	close(fds[1]);
	while (rc == 0 && (n = read(fds[0], buf, sizeof(buf))) > 0)
		str_addn(out, buf, (size_t)n);
	close(fds[0]);
	if (rc == 0)
		assert_int_equal(sandbox_wait(sb, 5000, &status, &b->err), 1);
	return rc < 0 ? rc : proc_exit_code(status);
}

static void test_join(void **state)
{
	auto_str struct str out = { 0 };
	struct sandbox_spec s, j;
	struct sandbox *sb;
	struct box b;

	(void)state;
	box_make(&b);
	s = box_spec(&b, SH("exec sleep 100"));
	s.hostname = "joined";
	s.cgroup.name = unit_cgroup("join");
	sb = start(&b, &s);
	j = box_spec(&b, NULL);
	j.cgroup.name = s.cgroup.name;
	j.uid = 12;
	assert_int_equal(
		join_sh(&b, sb, &j,
			"n=0; until grep -qx sleep /proc/1/comm || [ $n = 99 ]; do n=$((n+1)); sleep 0.1; done; "
			"hostname; ls /; id -u; cat /proc/1/comm; grep -E 'CapInh|Seccomp:' /proc/self/status; "
			"ip -o link | wc -l; cat /proc/self/cgroup; exit 5",
			&out),
		5);
	if (!strstr(str_get(&out), "joined\n") ||
	    !strstr(str_get(&out), "12\nsleep\nCapInh:\t0000000000000000\nSeccomp:\t2\n1\n") ||
	    strstr(str_get(&out), "home"))
		fail_msg("%s", str_get(&out));
	/* In the container's group: seen from its cgroup namespace that is "/". */
	assert_non_null(strstr(str_get(&out), "0::/\n"));
	/* T14 for exec */
	j.cwd = "/proc/self/fd/5";
	assert_true(join_sh(&b, sb, &j, "true", &out) < 0);
	/* The caller is back in its own pid namespace. */
	j.cwd = "/";
	assert_int_equal(box_sh(&b, &j, "true", &out), 0);
	sandbox_free(sb);
	assert_int_not_equal(unit_cgroup_access("unified"), 0);
	box_free(&b);
}

static void test_join_terminal(void **state)
{
	auto_sandbox_plan struct sandbox_plan *plan = NULL;
	auto_str struct str out = { 0 };
	struct sandbox_spec s, j;
	struct sandbox *sb, *other = NULL;
	struct box b;
	int status;

	(void)state;
	box_make(&b);
	s = box_spec(&b, SH("sleep 100"));
	sb = start(&b, &s);
	j = box_spec(&b, SH("tty; echo done"));
	j.terminal = true;
	assert_int_equal(sandbox_plan(&j, &plan, &b.err), 0);
	if (sandbox_join(plan, sandbox_pid(sb), &other, &b.err) < 0 ||
	    sandbox_release(other, &b.err) < 0)
		fail_msg("%s", b.err.msg);
	read_terminal(other, &out);
	assert_int_equal(sandbox_wait(other, 5000, &status, &b.err), 1);
	assert_string_equal(str_get(&out), "/dev/pts/0\r\ndone\r\n");
	sandbox_free(other);
	sandbox_free(sb);
	box_free(&b);
}

/* --- T37: run inside, in this very program --- */

static const struct {
	const char *name;
	long nr, a, b, c;
	int want; /* errno with the default policy; 0: allowed (whatever the kernel says of the
		     arguments) */
} matrix[] = {
	{ "getpid", SYS_getpid, 0, 0, 0, 0 },
	{ "clone NEWUSER", SYS_clone, 0x10000000, 0, 0, EPERM },
	{ "clone NEWNS", SYS_clone, 0x20000, 0, 0, EPERM },
	{ "clone3", SYS_clone3, 0, 0, 0, ENOSYS },
	{ "unshare", SYS_unshare, 0x10000000, 0, 0, EPERM },
	{ "setns", SYS_setns, -1, 0, 0, EPERM },
	{ "mount", SYS_mount, 0, 0, 0, EPERM },
	{ "umount2", SYS_umount2, 0, 0, 0, EPERM },
	{ "pivot_root", SYS_pivot_root, 0, 0, 0, EPERM },
	{ "fsopen", SYS_fsopen, 0, 0, 0, EPERM },
	{ "move_mount", SYS_move_mount, 0, 0, 0, EPERM },
	{ "open_tree", SYS_open_tree, 0, 0, 0, EPERM },
	{ "mount_setattr", SYS_mount_setattr, 0, 0, 0, EPERM },
	{ "bpf", SYS_bpf, 99, 0, 0, EPERM },
	{ "perf_event_open", SYS_perf_event_open, 0, 0, 0, EPERM },
	{ "userfaultfd", SYS_userfaultfd, 0, 0, 0, EPERM },
	{ "io_uring_setup", SYS_io_uring_setup, 0, 0, 0, EPERM },
	{ "io_uring_enter", SYS_io_uring_enter, -1, 0, 0, EPERM },
	{ "io_uring_register", SYS_io_uring_register, -1, 0, 0, EPERM },
	{ "keyctl", SYS_keyctl, 0, -3, 0, EPERM },
	{ "add_key", SYS_add_key, 0, 0, 0, EPERM },
	{ "request_key", SYS_request_key, 0, 0, 0, EPERM },
	{ "kexec_load", SYS_kexec_load, 0, 0, 0, EPERM },
	{ "init_module", SYS_init_module, 0, 0, 0, EPERM },
	{ "finit_module", SYS_finit_module, -1, 0, 0, EPERM },
	{ "delete_module", SYS_delete_module, 0, 0, 0, EPERM },
	{ "open_by_handle_at", SYS_open_by_handle_at, -1, 0, 0, EPERM },
	{ "reboot", SYS_reboot, 0, 0, 0, EPERM },
	{ "swapon", SYS_swapon, 0, 0, 0, EPERM },
	{ "acct", SYS_acct, 0, 0, 0, EPERM },
	{ "settimeofday", SYS_settimeofday, 0, 0, 0, EPERM },
	{ "syslog", SYS_syslog, 99, 0, 0, EPERM },
	{ "quotactl", SYS_quotactl, -1, 0, 0, EPERM },
	{ "mbind", SYS_mbind, 0, 0, 0, EPERM },
	{ "sethostname", SYS_sethostname, 0, 0, 0, EPERM },
	{ "kcmp", SYS_kcmp, 0, 0, 0, EPERM },
	{ "pidfd_getfd", SYS_pidfd_getfd, -1, 0, 0, EPERM },
	{ "vhangup", SYS_vhangup, 0, 0, 0, EPERM },
	{ "socket ALG", SYS_socket, 38, 5, 0, EPERM },
	{ "socket VSOCK", SYS_socket, 40, 1, 0, EPERM },
	{ "socket NFC", SYS_socket, 39, 1, 0, 0 },
	{ "socket UNIX", SYS_socket, 1, 1, 0, 0 },
	{ "socket INET6", SYS_socket, 10, 1, 0, 0 },
	{ "personality 0", SYS_personality, 0, 0, 0, 0 },
	{ "personality NO_RANDOMIZE", SYS_personality, 0x40000, 0, 0, EPERM },
	{ "personality query", SYS_personality, 0xffffffff, 0, 0, 0 },
	{ "ptrace", SYS_ptrace, 99, 0, 0, 0 },
	{ "process_vm_readv", SYS_process_vm_readv, 0, 0, 0, 0 },
	{ "chroot", SYS_chroot, 0, 0, 0, 0 },
	{ "mknodat", SYS_mknodat, -1, 0, 0, 0 },
	{ "openat2", SYS_openat2, -1, 0, 0, 0 },
	{ "landlock_create_ruleset", SYS_landlock_create_ruleset, 0, 0, 0, 0 },
	{ "futex_waitv", 449, 0, 0, 0, 0 },
	{ "set_mempolicy_home_node", 450, 0, 0, 0, EPERM },
	{ "cachestat", 451, -1, 0, 0, 0 },
	{ "fchmodat2", 452, -1, 0, 0, 0 },
	{ "lsm_list_modules", 461, 0, 0, 0, EPERM },
	{ "mseal", 462, 0, 0, 0, 0 },
	{ "removexattrat", 466, -1, 0, 0, 0 },
	{ "newer than the profile", 467, 0, 0, 0, ENOSYS },
	{ "of the far future", 800, 0, 0, 0, ENOSYS },
#if defined(__x86_64__)
	{ "iopl", SYS_iopl, 3, 0, 0, EPERM },
	{ "ioperm", SYS_ioperm, 0, 0, 0, EPERM },
	{ "arch_prctl", SYS_arch_prctl, 0x1234, 0, 0, 0 },
	{ "uselib", SYS_uselib, 0, 0, 0, EPERM },
#endif
};

/* Runs inside. A call that is allowed may fail as it likes, but not with EPERM or ENOSYS of the
 * filter where the arguments cannot give that. */
int inside_main(int argc, char **argv)
{
	bool admin = argc > 1 && !strcmp(argv[1], "admin");
	int bad = 0;

	for (size_t i = 0; i < ARRAY_LEN(matrix); i++) {
		long rc = syscall(matrix[i].nr, matrix[i].a, matrix[i].b, matrix[i].c, 0, 0, 0);
		int got = rc < 0 ? errno : 0;

		if (admin            ? !strcmp(matrix[i].name, "mount") && got == EPERM
		    : matrix[i].want ? got != matrix[i].want
				     : got == EPERM) {
			printf("%s: errno %d, want %d\n", matrix[i].name, got, matrix[i].want);
			bad++;
		}
		if (admin && !strcmp(matrix[i].name, "mount"))
			break;
	}
	printf("%zu calls, %d wrong\n", ARRAY_LEN(matrix), bad);
	return bad ? 1 : 0;
}

/* The host's root, read-only, is the root: so this program and its libraries are inside. */
static void run_matrix(const char *mode, bool no_new_privs, bool tell_denied,
		       const struct strv *cap_add)
{
	char self[PATH_MAX] = { 0 };
	char *argv[] = { self, (char *)(uintptr_t)mode, NULL };
	auto_str struct str out = { 0 };
	struct sandbox_spec s;
	struct box b;
	int rc;

	box_make(&b);
	assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	s = box_spec(&b, argv);
	s.root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	s.read_only = true;
	s.no_new_privs = no_new_privs;
	s.tell_denied = tell_denied;
	s.cap_add = cap_add;
	rc = box_run(&b, &s, &out);
	close(s.root_fd);
	if (rc != 0)
		fail_msg("%d %s %s", rc, b.err.msg, str_get(&out));
	box_free(&b);
}

static void test_syscalls(void **state)
{
	auto_strv struct strv admin = { 0 };

	(void)state;
	run_matrix("default", false, false, NULL);
	run_matrix("default", true, false, NULL);
	run_matrix("default", false, true, NULL);
	run_matrix("default", true, true, NULL);
	strv_add(&admin, "SYS_ADMIN");
	run_matrix("admin", false, false, &admin);
}

/* Each once, in the order in which they came, from any process inside; and the answer is the
 * filter's. */
static void test_denied(void **state)
{
	auto_strv struct strv names = { 0 };
	struct sandbox_spec s;
	struct sandbox *sb;
	struct box b;
	int status = 0;

	(void)state;
	box_make(&b);
	s = box_spec(
		&b,
		SH("unshare -m true & wait; unshare -m true; umount /tmp; true & wait; exit 3"));
	s.tell_denied = true;
	sb = start(&b, &s);
	assert_int_equal(sandbox_wait(sb, 20000, &status, &b.err), 1);
	assert_int_equal(proc_exit_code(status), 3);
	sandbox_denied(sb, &names);
	assert_int_equal(names.n, 2);
	assert_string_equal(names.v[0], "unshare");
	assert_string_equal(names.v[1], "umount2");
	sandbox_free(sb);
	/* One that is killed while a thread of ours waits for it */
	s.argv = SH("while :; do umount /tmp; done 2>/dev/null");
	sb = start(&b, &s);
	assert_int_equal(sandbox_wait(sb, 50, &status, &b.err), 0);
	sandbox_free(sb);
	box_free(&b);
}

/* Who started us has a listener already, as a container manager may: the kernel gives no second. */
static int run_listened(void)
{
	struct sock_filter allow = { BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW };
	struct sock_fprog prog = { 1, &allow };
	auto_strv struct strv names = { 0 };
	struct sandbox_spec s;
	struct sandbox *sb;
	struct box b;
	int status = 0;

	box_make(&b);
	if (sys_seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog) < 0)
		return 100;
	s = box_spec(&b, SH("umount /tmp 2>/dev/null || exit 7"));
	s.tell_denied = true;
	sb = start(&b, &s);
	if (sandbox_wait(sb, 20000, &status, &b.err) != 1)
		return 101;
	sandbox_denied(sb, &names);
	sandbox_free(sb);
	box_free(&b);
	return names.n ? 102 : proc_exit_code(status);
}

static void test_listened(void **state)
{
	pid_t pid = fork();
	int status = 0;

	(void)state;
	if (pid == 0)
		_exit(run_listened());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(proc_exit_code(status), 7);
}

/* A cached filter that was damaged is made anew, and one of another length is refused. */
static void test_filter_cache(void **state)
{
	auto_strv struct strv names = { 0 };
	auto_str struct str out = { 0 };
	struct sandbox_spec s;
	struct stat before, after;
	struct box b;
	int dir, fd;

	(void)state;
	box_make(&b);
	s = box_spec(&b, NULL);
	assert_int_equal(box_sh(&b, &s, "true", &out), 0);
	assert_int_equal(fs_list(AT_FDCWD, b.cache, &names, &b.err), 0);
	assert_int_equal(names.n, 1);
	dir = open(b.cache, O_PATH | O_CLOEXEC);
	assert_int_equal(fstatat(dir, names.v[0], &before, 0), 0);
	assert_int_equal(box_sh(&b, &s, "true", &out), 0);
	assert_int_equal(fstatat(dir, names.v[0], &after, 0), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	fd = openat(dir, names.v[0], O_WRONLY);
	assert_int_equal(pwrite(fd, "\x06", 1, 600), 1);
	close(fd);
	assert_int_equal(box_sh(&b, &s, "grep Seccomp: /proc/self/status", &out), 0);
	assert_int_equal(fstatat(dir, names.v[0], &after, 0), 0);
	assert_int_not_equal(before.st_ino, after.st_ino);
	fd = openat(dir, names.v[0], O_WRONLY);
	assert_int_equal(ftruncate(fd, 100), 0);
	close(fd);
	assert_int_equal(box_sh(&b, &s, "true", &out), 0);
	assert_int_equal(fstatat(dir, names.v[0], &after, 0), 0);
	assert_int_equal(before.st_size, after.st_size);
	close(dir);
	box_free(&b);
}

int test_process(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exec_errors),
		cmocka_unit_test(test_hold),
		cmocka_unit_test(test_parent_dies_after_go),
		cmocka_unit_test(test_parent_dies),
		cmocka_unit_test(test_kill),
		cmocka_unit_test(test_memory_limit),
		cmocka_unit_test(test_init),
		cmocka_unit_test(test_terminal),
		cmocka_unit_test(test_join),
		cmocka_unit_test(test_join_terminal),
		cmocka_unit_test(test_syscalls),
		cmocka_unit_test(test_denied),
		cmocka_unit_test(test_listened),
		cmocka_unit_test(test_filter_cache),
	};

	return cmocka_run_group_tests_name("sandbox: processes", tests, NULL, NULL);
}
