/* SPDX-License-Identifier: Apache-2.0 */
/* The works. Each runs in a process of its own with the mount as its working directory. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>
#include <shale/layer.h>

#include "priv.h"

enum { MIB = 1 << 20, BLOCK = 4096, PER_DIR = 100 };

int bench_program(const char *const *argv, struct err *err)
{
	/* exec leaves them as they are; its type is older than const. */
	pid_t pid = proc_spawn(argv[0], (char *const *)(uintptr_t)argv, (int[]){ -1, -1, 2 }, err);
	int code, rc = pid < 0 ? pid : proc_wait(pid, &code, err);

	if (rc < 0)
		return rc;
	return code ? err_set(err, ECHILD, "%s ended with exit code %d", argv[0], code) : 0;
}

static int walk_dir(int dir_fd, const char *name, uint64_t *sum, struct err *err)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), rc = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d)
		return err_sys(err, "open %s", name);
	while (rc >= 0 && (e = readdir(d))) {
		struct stat st;

		if (fs_is_dot(e->d_name))
			continue;
		if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			rc = err_sys(err, "stat %s", e->d_name);
		else if (S_ISDIR(st.st_mode))
			rc = walk_dir(fd, e->d_name, sum, err);
		else
			*sum += (uint64_t)st.st_size;
	}
	closedir(d);
	return rc;
}

static int walk(const struct bench_job *j, struct err *err)
{
	uint64_t sum = 0;

	return walk_dir(j->root_fd, ".", &sum, err);
}

static int create(const struct bench_job *j, struct err *err)
{
	char name[48];
	int rc = 0;

	for (unsigned i = 0; rc >= 0 && i < j->b->scale->creates; i++) {
		if (i % PER_DIR == 0) {
			snprintf(name, sizeof(name), "new%u", i / PER_DIR);
			rc = fs_mkdir(AT_FDCWD, name, 0755, err);
		}
		snprintf(name, sizeof(name), "new%u/f%u", i / PER_DIR, i);
		if (rc >= 0)
			rc = fd_write_file(AT_FDCWD, name, name, sizeof(name), 0644, err);
	}
	return rc;
}

static int open_io(int flags, struct err *err)
{
	int fd = open("io", flags | O_CLOEXEC, 0644);

	return fd < 0 ? err_sys(err, "open io") : fd;
}

static int read_seq(const struct bench_job *j, struct err *err)
{
	auto_free char *buf = mem_alloc(MIB);
	auto_fd int fd = open_io(O_RDONLY, err);
	ssize_t n = 1;

	(void)j;
	while (fd >= 0 && n > 0)
		n = fd_read_full(fd, buf, MIB, err);
	return fd < 0 ? fd_take(&fd) : n < 0 ? (int)n : 0;
}

/* The same places in every run. */
static off_t place(unsigned i, unsigned mib)
{
	return (off_t)((i * 2654435761u) % (mib * (MIB / BLOCK))) * BLOCK;
}

static int read_random(const struct bench_job *j, struct err *err)
{
	auto_fd int fd = open_io(O_RDONLY, err);
	char buf[BLOCK];

	for (unsigned i = 0; fd >= 0 && i < j->b->scale->io_ops; i++)
		if (pread(fd, buf, BLOCK, place(i, j->b->scale->io_mib)) != BLOCK)
			return err_sys(err, "read");
	return fd < 0 ? fd_take(&fd) : 0;
}

static int write_seq(const struct bench_job *j, struct err *err)
{
	auto_free char *buf = mem_alloc(MIB);
	auto_fd int fd = open("written", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	int rc = fd < 0 ? err_sys(err, "create a file") : 0;

	for (unsigned i = 0; rc >= 0 && i < j->b->scale->io_mib; i++)
		rc = fd_write_all(fd, buf, MIB, err);
	if (rc >= 0 && fdatasync(fd) < 0)
		rc = err_sys(err, "sync");
	return rc;
}

/* The copying up is another work's. */
static int copy_io_up(const struct bench_job *j, struct err *err)
{
	auto_fd int fd = open_io(O_WRONLY, err);

	(void)j;
	if (fd >= 0 && fsync(fd) < 0)
		return err_sys(err, "sync");
	return fd < 0 ? fd_take(&fd) : 0;
}

static int write_random(const struct bench_job *j, struct err *err)
{
	auto_fd int fd = open_io(O_WRONLY, err);
	char buf[BLOCK];

	memset(buf, 'w', sizeof(buf));
	for (unsigned i = 0; fd >= 0 && i < j->b->scale->io_ops; i++)
		if (pwrite(fd, buf, BLOCK, place(i, j->b->scale->io_mib)) != BLOCK)
			return err_sys(err, "write");
	if (fd >= 0 && fdatasync(fd) < 0)
		return err_sys(err, "sync");
	return fd < 0 ? fd_take(&fd) : 0;
}

static int copy_up(const struct bench_job *j, struct err *err)
{
	auto_fd int fd = open("big", O_WRONLY | O_CLOEXEC);

	(void)j;
	if (fd < 0 || pwrite(fd, "x", 1, 0) != 1)
		return err_sys(err, "write to big");
	return 0;
}

static int untar(const struct bench_job *j, struct err *err)
{
	struct layer_apply_opts o = { .foreign = true, .rootfs = true, .parent_fd = -1 };
	auto_fd int tar = bench_open_tar(j->b, err), dir = -1;
	int rc = tar < 0 ? fd_take(&tar) : fs_mkdir(AT_FDCWD, "src", 0755, err);

	if (rc < 0)
		return rc;
	dir = open("src", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir < 0 ? err_sys(err, "open src") : layer_apply(tar, dir, &o, NULL, err);
}

static int remove_tree(const struct bench_job *j, struct err *err)
{
	return fs_remove_tree(j->root_fd, "src", err);
}

static int compile(const struct bench_job *j, struct err *err)
{
	auto_strv struct strv link = { 0 };
	int rc = 0;

	strv_add(&link, "/usr/bin/cc");
	strv_add(&link, "-o");
	strv_add(&link, "program");
	strv_add(&link, "src/main.c");
	for (unsigned i = 0; rc >= 0 && i < j->b->scale->units; i++) {
		char in[48], out[48];
		const char *argv[] = { "/usr/bin/cc", "-O1", "-c", "-o", out, in, NULL };

		snprintf(in, sizeof(in), "src/unit%u.c", i);
		snprintf(out, sizeof(out), "src/unit%u.o", i);
		strv_add(&link, out);
		rc = bench_program(argv, err);
	}
	return rc < 0 ? rc : bench_program((const char *const *)strv_args(&link), err);
}

/* In a store of its own, so that nothing is there before. */
static int build(const struct bench_job *j, struct err *err)
{
	auto_free char *root = mem_fmt("--root=%s/build%u", j->b->path, j->serial);
	auto_free char *driver = mem_fmt("--driver=%s", snap_driver_name(j->driver));
	auto_free char *context = mem_fmt("%s/context", j->b->path);
	const char *argv[] = { j->b->o->program, root,   driver,  "build", "-q",
			       "--network",      "none", context, NULL };

	return bench_program(argv, err);
}

#define N(field) offsetof(struct bench_scale, field)
const struct bench_work bench_works[] = {
	{ "mount", "mount of # files in 5 layers", N(files), BASE_TREE },
	{ "walk-cold", "walk over # files, cold", N(files), BASE_TREE, NULL, walk, true },
	{ "walk-warm", "walk over # files, warm", N(files), BASE_TREE, walk, walk },
	{ "create", "create # files", N(creates), BASE_EMPTY, NULL, create },
	{ "read-seq", "read # MiB in order, cached", N(io_mib), BASE_BIG, read_seq, read_seq },
	{ "read-random", "read # blocks of 4 KiB, cached", N(io_ops), BASE_BIG, read_seq,
	  read_random },
	{ "write-seq", "write # MiB in order, synced", N(io_mib), BASE_EMPTY, NULL, write_seq },
	{ "write-random", "write # blocks of 4 KiB, synced", N(io_ops), BASE_BIG, copy_io_up,
	  write_random },
	{ "copy-up", "first byte written to a file of # MiB", N(big_mib), BASE_BIG, NULL, copy_up },
	{ "untar", "untar # source files", N(sources), BASE_EMPTY, NULL, untar },
	{ "rm", "rm -rf of # source files", N(sources), BASE_EMPTY, untar, remove_tree },
	{ "compile", "compile and link # C files", N(units), BASE_EMPTY, untar, compile, false,
	  false, "/usr/bin/cc", "gcc" },
	{ "build", "a build of 7 steps, # source files", N(sources), BASE_EMPTY, NULL, build, false,
	  true, "/bin/busybox", "busybox-static" },
	{ 0 },
};
