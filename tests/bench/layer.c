/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a layer's DiffID and file table cost. layer diff DIR: by us; layer read DIR: the yardstick, one
 * thread that reads every file and hashes the bytes. Each prints milliseconds.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/hash.h>
#include <shale/base/proc.h>
#include <shale/layer.h>

enum { CHUNK = 1 << 20 };

static int read_dir(int dir_fd, struct hash *h, char *buf)
{
	DIR *d = fdopendir(dir_fd);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		int fd;

		if (e->d_name[0] == '.')
			continue;
		fd = openat(dirfd(d), e->d_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0 && e->d_type == DT_DIR) {
			read_dir(fd, h, buf);
		} else if (fd >= 0) {
			ssize_t n;

			while ((n = read(fd, buf, CHUNK)) > 0)
				hash_add(h, buf, (size_t)n);
			close(fd);
		}
	}
	if (d)
		closedir(d);
	return 0;
}

static int read_all(int dir_fd, struct err *err)
{
	auto_hash struct hash *h = hash_new();
	auto_free char *buf = mem_alloc(CHUNK);
	struct digest d;

	(void)err;
	read_dir(fd_dup(dir_fd), h, buf);
	hash_end(h, &d);
	return 0;
}

static int diff(int dir_fd, struct err *err)
{
	struct layer_source src = { dir_fd, -1, -1 };
	struct layer_diff_opts o = { .table_dir_fd = -1 };
	auto_fd int to = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct layer_info info;
	int rc;

	o.table_dir_fd = to;
	rc = layer_diff(&src, &o, &info, err);
	unlinkat(to, "table", 0);
	return rc;
}

int main(int argc, char **argv)
{
	struct err err = { 0 };
	int64_t start = proc_mono_ns();
	int fd = argc == 3 ? open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1, rc;

	if (fd < 0) {
		fprintf(stderr, "usage: layer diff|read DIR\n");
		return 2;
	}
	rc = !strcmp(argv[1], "diff") ? diff(fd, &err) : read_all(fd, &err);
	if (rc < 0)
		fprintf(stderr, "layer: %s\n", err.msg);
	printf("%.3f\n", (double)(proc_mono_ns() - start) / 1e6);
	return rc < 0;
}
