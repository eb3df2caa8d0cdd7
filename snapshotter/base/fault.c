/* SPDX-License-Identifier: Apache-2.0 */
/* VARIANT=fault alone: libc's calls that change files, with a place in front of each where it can
 * fail. They run in children of clone3 as well: no lock, no allocation. */
#include <shale/base/fault.h>

#ifdef SHALE_FAULT
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

enum mode { FAULT_OFF, FAULT_KILL, FAULT_IO };
enum { FAULT_PATH_MAX = 512 };

/* What an operation can fail with: taking bytes away or syncing finds no disk full. */
enum kind { GROWS, SHRINKS };

static struct {
	enum mode mode;
	unsigned long nth;
	int error; /* 0: killed */
	_Atomic uint32_t *count;
	dev_t dev;
	bool has_dev;
	char log[FAULT_PATH_MAX];
} fault;

static void set_mode(const char *text)
{
	char *end = NULL;

	if (strncmp(text, "kill:", 5) == 0) {
		fault.nth = strtoul(text + 5, NULL, 10);
		fault.mode = FAULT_KILL;
	} else if (strncmp(text, "io:", 3) == 0) {
		fault.nth = strtoul(text + 3, &end, 10);
		fault.error = strcmp(end, ":ENOSPC") == 0 ? ENOSPC
			      : strcmp(end, ":EIO") == 0  ? EIO
							  : 0;
		fault.mode = FAULT_IO;
	}
}

__attribute__((constructor)) static void fault_init(void)
{
	const char *text = getenv("SHALE_FAULT"), *file = getenv("SHALE_FAULT_COUNT"),
		   *log = getenv("SHALE_FAULT_LOG"), *dir = getenv("SHALE_FAULT_DIR");
	struct stat st;
	void *at;
	int fd;

	if (!text || !file)
		return;
	if (log)
		snprintf(fault.log, sizeof(fault.log), "%s", log);
	if (dir && stat(dir, &st) == 0) {
		fault.dev = st.st_dev;
		fault.has_dev = true;
	}
	fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, sizeof(*fault.count)) < 0)
		_exit(99); /* a sweep that counts nothing would find nothing */
	at = mmap(NULL, sizeof(*fault.count), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (at == MAP_FAILED)
		_exit(99);
	fault.count = at;
	set_mode(text);
}

static void note(unsigned long n, const char *name, bool hit)
{
	char line[128];
	int len, fd;

	if (!fault.log[0])
		return;
	fd = (int)syscall(SYS_openat, AT_FDCWD, fault.log,
			  O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0)
		return; /* in a container's own root */
	len = snprintf(line, sizeof(line), "%lu %s%s\n", n, name, hit ? " hit" : "");
	(void)!syscall(SYS_write, fd, line, (size_t)len);
	close(fd);
}

/* True at the Nth. */
static bool counted(const char *name)
{
	unsigned long n = atomic_fetch_add(fault.count, 1) + 1;

	note(n, name, n == fault.nth);
	return n == fault.nth;
}

/* A namespace's pid 1 cannot kill itself. */
static void die(void)
{
	kill(getpid(), SIGKILL);
	syscall(SYS_exit_group, 137);
}

void fault_reached(const char *name)
{
	int saved = errno;

	if (fault.mode == FAULT_KILL && counted(name))
		die();
	errno = saved;
}

/* 0, or -1 and errno: the operation is not to be done. */
static int fails(const char *name, enum kind kind, bool on_store)
{
	int saved = errno;

	if (fault.mode != FAULT_IO || !on_store || (kind == SHRINKS && fault.error == ENOSPC) ||
	    !counted(name)) {
		errno = saved;
		return 0;
	}
	if (!fault.error)
		die();
	errno = fault.error;
	return -1;
}

/* What is written to an overlay goes to its upper directory. */
static bool is_store(int fd, const struct stat *st)
{
	struct statfs fs;

	return !fault.has_dev || st->st_dev == fault.dev ||
	       (fstatfs(fd, &fs) == 0 && fs.f_type == OVERLAYFS_SUPER_MAGIC);
}

/* Pipes, sockets, memory files and /proc are no disk. */
static bool is_store_file(int fd)
{
	struct stat st;

	return fault.mode == FAULT_IO && fstat(fd, &st) == 0 && is_store(fd, &st) &&
	       (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode));
}

/* Where name is to stand. */
static bool is_store_name(int dir_fd, const char *name)
{
	const char *slash = strrchr(name, '/');
	char dir[FAULT_PATH_MAX] = ".";
	struct stat st;
	bool is;
	int fd;

	if (fault.mode != FAULT_IO)
		return false;
	if (slash && slash > name)
		snprintf(dir, sizeof(dir), "%.*s", (int)(slash - name), name);
	else if (slash)
		snprintf(dir, sizeof(dir), "/");
	fd = (int)syscall(SYS_openat, dir_fd, dir, O_PATH | O_CLOEXEC);
	is = fd >= 0 && fstat(fd, &st) == 0 && is_store(fd, &st);
	close(fd);
	return is;
}

#define FAIL_NAME(op, kind, dir_fd, name)                                                          \
	do {                                                                                       \
		if (fails(op, kind, is_store_name(dir_fd, name)) < 0)                              \
			return -1;                                                                 \
	} while (0)
#define FAIL_FILE(op, kind, fd)                                                                    \
	do {                                                                                       \
		if (fails(op, kind, is_store_file(fd)) < 0)                                        \
			return -1;                                                                 \
	} while (0)

static bool creates(int flags)
{
	return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE || flags & O_TRUNC;
}

int openat(int dir_fd, const char *name, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	va_start(ap, flags);
	if (creates(flags))
		mode = va_arg(ap, mode_t);
	va_end(ap);
	if (creates(flags))
		FAIL_NAME("open", GROWS, dir_fd, name);
	return (int)syscall(SYS_openat, dir_fd, name, flags, mode);
}

int open(const char *name, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	va_start(ap, flags);
	if (creates(flags))
		mode = va_arg(ap, mode_t);
	va_end(ap);
	return openat(AT_FDCWD, name, flags, mode);
}

int mkdirat(int dir_fd, const char *name, mode_t mode)
{
	FAIL_NAME("mkdir", GROWS, dir_fd, name);
	return (int)syscall(SYS_mkdirat, dir_fd, name, mode);
}

int mkdir(const char *name, mode_t mode)
{
	return mkdirat(AT_FDCWD, name, mode);
}

int mknodat(int dir_fd, const char *name, mode_t mode, dev_t dev)
{
	FAIL_NAME("mknod", GROWS, dir_fd, name);
	return (int)syscall(SYS_mknodat, dir_fd, name, mode, dev);
}

int symlinkat(const char *target, int dir_fd, const char *name)
{
	FAIL_NAME("symlink", GROWS, dir_fd, name);
	return (int)syscall(SYS_symlinkat, target, dir_fd, name);
}

int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
	FAIL_NAME("link", GROWS, to_fd, to);
	return (int)syscall(SYS_linkat, from_fd, from, to_fd, to, flags);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
	FAIL_NAME("rename", GROWS, to_fd, to);
	return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	return renameat2(from_fd, from, to_fd, to, 0);
}

int rename(const char *from, const char *to)
{
	return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int unlinkat(int dir_fd, const char *name, int flags)
{
	FAIL_NAME("unlink", SHRINKS, dir_fd, name);
	return (int)syscall(SYS_unlinkat, dir_fd, name, flags);
}

int unlink(const char *name)
{
	return unlinkat(AT_FDCWD, name, 0);
}

ssize_t write(int fd, const void *p, size_t n)
{
	FAIL_FILE("write", GROWS, fd);
	return syscall(SYS_write, fd, p, n);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
	FAIL_FILE("pwrite", GROWS, fd);
	return syscall(SYS_pwrite64, fd, p, n, at);
}

int ftruncate(int fd, off_t size)
{
	FAIL_FILE("truncate", GROWS, fd);
	return (int)syscall(SYS_ftruncate, fd, size);
}

int fallocate(int fd, int mode, off_t at, off_t n)
{
	FAIL_FILE("allocate", GROWS, fd);
	return (int)syscall(SYS_fallocate, fd, mode, at, n);
}

ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t n,
			unsigned flags)
{
	FAIL_FILE("copy", GROWS, to);
	return syscall(SYS_copy_file_range, from, from_at, to, to_at, n, flags);
}

int fsync(int fd)
{
	FAIL_FILE("fsync", SHRINKS, fd);
	return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
	FAIL_FILE("fdatasync", SHRINKS, fd);
	return (int)syscall(SYS_fdatasync, fd);
}

int syncfs(int fd)
{
	FAIL_FILE("syncfs", SHRINKS, fd);
	return (int)syscall(SYS_syncfs, fd);
}
#endif
