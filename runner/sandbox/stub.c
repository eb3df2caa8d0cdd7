/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stub: what is executed from a sealed memfd between shale and the user's program. It has no
 * libc and holds nothing of shale, so /proc/self/exe inside a container leads here and never to the
 * host's binary (CVE-2019-5736, TRAPS T4).
 *
 * argv: "shale-stub", the sync fd in decimal, "i" (be pid 1) or "-", the number of candidates in
 * decimal, the candidates, then the program's own argv. A failure is told on the sync fd as struct
 * sandbox_msg; success closes it.
 */
typedef unsigned long ulong_t;

enum { MSG_NO_EXEC = 3, TEXT_MAX = 256, BAD_START = 127 };
enum { E_NOENT = 2, E_CHILD = 10, E_ACCES = 13, E_NOTDIR = 20, E_INTR = 4 };
enum { SIG_CHLD = 17, SIG_TTIN = 21, SIG_TTOU = 22, SIG_SETMASK_HOW = 2, SIGSET_BYTES = 8 };
enum { F_SET_FD = 2, FD_CLO_EXEC = 1, TIOC_SPGRP = 0x5410, W_NOHANG = 1, PR_SETNAME = 15 };

#if defined(__x86_64__)
enum {
	NR_WRITE = 1,
	NR_SIGPROCMASK = 14,
	NR_IOCTL = 16,
	NR_GETPID = 39,
	NR_CLONE = 56,
	NR_EXECVE = 59,
	NR_WAIT4 = 61,
	NR_KILL = 62,
	NR_FCNTL = 72,
	NR_SETPGID = 109,
	NR_SIGTIMEDWAIT = 128,
	NR_PRCTL = 157,
	NR_EXIT = 231,
	NR_CLOSE_RANGE = 436
};

static long call(long nr, long a, long b, long c, long d)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = 0;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	return ret;
}

__asm__(".globl _start\n_start:\n\txor %ebp,%ebp\n\tmov %rsp,%rdi\n\tand $-16,%rsp\n\tcall stub_main\n");
#elif defined(__aarch64__)
enum {
	NR_FCNTL = 25,
	NR_IOCTL = 29,
	NR_WRITE = 64,
	NR_EXIT = 94,
	NR_KILL = 129,
	NR_SIGPROCMASK = 135,
	NR_SIGTIMEDWAIT = 137,
	NR_SETPGID = 154,
	NR_PRCTL = 167,
	NR_GETPID = 172,
	NR_CLONE = 220,
	NR_EXECVE = 221,
	NR_WAIT4 = 260,
	NR_CLOSE_RANGE = 436
};

static long call(long nr, long a, long b, long c, long d)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = 0;

	__asm__ volatile("svc 0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4)
			 : "memory");
	return x0;
}

__asm__(".globl _start\n_start:\n\tmov x0, sp\n\tbl stub_main\n");
#else
#error "the stub knows x86-64 and aarch64"
#endif

struct msg {
	unsigned kind;
	int error;
	unsigned step;
	char text[TEXT_MAX];
};

static void leave(int code)
{
	for (;;)
		call(NR_EXIT, code, 0, 0, 0);
}

static long number(const char *s)
{
	long n = 0;

	if (!*s)
		return -1;
	for (; *s; s++) {
		if (*s < '0' || *s > '9' || n > 1000000)
			return -1;
		n = n * 10 + (*s - '0');
	}
	return n;
}

/* execvp's rule: what is missing or closed to us is passed over, EACCES is remembered. */
static long try_all(char **candidates, long n, char **argv, char **envp)
{
	long worst = -E_NOENT;

	for (long i = 0; i < n; i++) {
		long rc = call(NR_EXECVE, (long)candidates[i], (long)argv, (long)envp, 0);

		if (rc == -E_ACCES)
			worst = rc;
		else if (rc != -E_NOENT && rc != -E_NOTDIR)
			return rc;
	}
	return worst;
}

static void run(long sync, char **candidates, long n, char **envp)
{
	struct msg m;
	char *p = (char *)&m;

	for (unsigned i = 0; i < sizeof(m); i++)
		p[i] = 0;
	call(NR_FCNTL, sync, F_SET_FD, FD_CLO_EXEC, 0);
	m.kind = MSG_NO_EXEC;
	m.error = (int)-try_all(candidates, n, candidates + n, envp);
	call(NR_WRITE, sync, (long)&m, sizeof(m), 0);
	leave(m.error == E_NOENT ? BAD_START : BAD_START - 1);
}

static int exit_code(int status)
{
	return status & 0x7f ? 128 + (status & 0x7f) : (status >> 8) & 0xff;
}

/* Reaps all that there is; leaves with the code of main when that one is gone. */
static void reap(long main_pid)
{
	for (;;) {
		int status = 0;
		long pid = call(NR_WAIT4, -1, (long)&status, W_NOHANG, 0);

		if (pid == main_pid || pid == -E_CHILD)
			leave(pid == main_pid ? exit_code(status) : BAD_START);
		if (pid <= 0 && pid != -E_INTR)
			return;
	}
}

/* Signals are blocked and taken one by one, so none is lost and no handler is needed. The kernel's
 * SIGTTIN and SIGTTOU concern this process alone. */
static void be_init(long main_pid, const unsigned long *all)
{
	call(NR_PRCTL, PR_SETNAME, (long)"shale-init", 0, 0);
	for (;;) {
		long sig = call(NR_SIGTIMEDWAIT, (long)all, 0, 0, SIGSET_BYTES);

		if (sig == SIG_CHLD)
			reap(main_pid);
		else if (sig > 0 && sig != SIG_TTIN && sig != SIG_TTOU)
			call(NR_KILL, main_pid, sig, 0, 0);
	}
}

static void run_as_child(long sync, char **candidates, long n, char **envp)
{
	unsigned long all = ~0ul, old = 0;
	long pid;
	int self;

	call(NR_SIGPROCMASK, SIG_SETMASK_HOW, (long)&all, (long)&old, SIGSET_BYTES);
	pid = call(NR_CLONE, SIG_CHLD, 0, 0, 0);
	if (pid < 0)
		leave(BAD_START - 1);
	if (pid > 0) {
		/* The sync fd's EOF tells of the exec in the child; stdio is the child's alone. */
		call(NR_CLOSE_RANGE, 0, ~0u, 0, 0);
		be_init(pid, &all);
	}
	/* A process group of its own in the foreground: else ^C reaches the program twice. */
	call(NR_SETPGID, 0, 0, 0, 0);
	self = (int)call(NR_GETPID, 0, 0, 0, 0);
	call(NR_IOCTL, 0, TIOC_SPGRP, (long)&self, 0);
	call(NR_SIGPROCMASK, SIG_SETMASK_HOW, (long)&old, 0, SIGSET_BYTES);
	run(sync, candidates, n, envp);
}

void stub_main(ulong_t *sp);
void stub_main(ulong_t *sp)
{
	long argc = (long)sp[0];
	char **argv = (char **)(sp + 1), **envp = argv + argc + 1;
	long sync, n;

	/* As an interpreter (#!/proc/self/exe) the arguments are others: nothing to do here. */
	if (argc < 6)
		leave(BAD_START);
	sync = number(argv[1]);
	n = number(argv[3]);
	if (sync < 0 || n < 1 || n > argc - 5)
		leave(BAD_START);
	if (argv[2][0] == 'i')
		run_as_child(sync, argv + 4, n, envp);
	run(sync, argv + 4, n, envp);
}
