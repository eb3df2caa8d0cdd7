/* SPDX-License-Identifier: Apache-2.0 */
/* The layers and the source tree that all works share. Nothing is random: every run has the same.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/path.h>
#include <shale/base/sink.h>
#include <shale/layer.h>

#include "priv.h"

enum { TREE_LAYERS = 5, PER_DIR = 100, CHUNK = 1 << 20 };

struct file_sink {
	struct sink sink; /* first: the one is the other */
	int fd;
};

static int write_file(int dir_fd, const char *name, const char *text, size_t len, struct err *err)
{
	return fd_write_file(dir_fd, name, text, len, 0644, err);
}

/* A new layer, open for writing. */
static int begin_layer(struct bench *b, int64_t parent, int64_t *ret_id, struct err *err)
{
	struct snap_new n = { .parent = parent, .kind = SNAP_ACTIVE };
	auto_fd int path_fd = -1;
	struct snap_info info = { 0 };
	int rc = snap_prepare(b->s, &n, &info, err), fd;

	if (rc >= 0)
		rc = snap_fs_fd(b->s, info.id, &path_fd, err);
	if (rc < 0)
		return rc;
	*ret_id = info.id;
	fd = openat(path_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_sys(err, "open layer") : fd;
}

/* Files of up to 4 KiB, a hundred in a directory. */
static int fill_tree(int fs_fd, unsigned first, unsigned n, struct err *err)
{
	char name[48], text[4096];
	int rc = 0;

	memset(text, 'x', sizeof(text));
	for (unsigned i = first; rc >= 0 && i < first + n; i++) {
		if (i % PER_DIR == 0 || i == first) {
			snprintf(name, sizeof(name), "d%u", i / PER_DIR);
			rc = fs_mkdir(fs_fd, name, 0755, err);
		}
		snprintf(name, sizeof(name), "d%u/f%u", i / PER_DIR, i);
		if (rc >= 0)
			rc = write_file(fs_fd, name, text, (size_t)i * 37 % sizeof(text), err);
	}
	return rc;
}

static int make_tree(struct bench *b, struct err *err)
{
	unsigned n = b->scale->files / TREE_LAYERS;
	int64_t id = 0;
	int rc = 0;

	for (unsigned i = 0; rc >= 0 && i < TREE_LAYERS; i++) {
		auto_fd int fs = begin_layer(b, id, &id, err);

		rc = fs < 0 ? fs : fill_tree(fs, i * n, n, err);
		if (rc >= 0)
			rc = snap_commit(b->s, id, NULL, 0, err);
		if (bench_is_interrupted(b))
			return err_set(err, EINTR, "interrupted");
	}
	b->base[BASE_TREE] = id;
	return rc;
}

static int fill_file(int dir_fd, const char *name, unsigned mib, struct err *err)
{
	auto_free char *chunk = mem_alloc(CHUNK);
	auto_fd int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	int rc = 0;

	if (fd < 0)
		return err_sys(err, "create %s", name);
	for (size_t i = 0; i < CHUNK; i++)
		chunk[i] = (char)(i * 2654435761u >> 13);
	for (unsigned i = 0; rc >= 0 && i < mib; i++)
		rc = fd_write_all(fd, chunk, CHUNK, err);
	return rc;
}

/* "big" to copy up, "io" to read; a second layer, so that none is alone. */
static int make_big(struct bench *b, struct err *err)
{
	int64_t id = 0;
	int rc = 0;

	for (int i = 0; rc >= 0 && i < 2; i++) {
		auto_fd int fs = begin_layer(b, id, &id, err);

		rc = fs < 0 ? fs
			    : fill_file(fs, i ? "io" : "big",
					i ? b->scale->io_mib : b->scale->big_mib, err);
		if (rc >= 0)
			rc = snap_commit(b->s, id, NULL, 0, err);
	}
	b->base[BASE_BIG] = id;
	return rc;
}

static int make_empty(struct bench *b, struct err *err)
{
	int64_t id = 0;
	int rc = 0;

	for (int i = 0; rc >= 0 && i < 2; i++) {
		auto_fd int fs = begin_layer(b, id, &id, err);

		rc = fs < 0 ? fs : write_file(fs, i ? "b" : "a", "x", 1, err);
		if (rc >= 0)
			rc = snap_commit(b->s, id, NULL, 0, err);
	}
	b->base[BASE_EMPTY] = id;
	return rc;
}

/* --- the source tree --- */

static void unit_text(struct str *to, unsigned i)
{
	str_reset(to);
	str_addf(to, "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n");
	for (unsigned k = 0; k < 40; k++)
		str_addf(to,
			 "static int part%u(int x, const char *s)\n{\n\tint sum = x * %u;\n"
			 "\tfor (size_t i = 0; i < strlen(s); i++)\n\t\tsum = sum * 31 + s[i];\n"
			 "\tif (sum %% 7 == %u)\n\t\tprintf(\"%%d\\n\", sum);\n\treturn sum;\n}\n",
			 k, k + i, k % 7);
	str_addf(to, "int unit%u(int x)\n{\n", i);
	for (unsigned k = 0; k < 40; k++)
		str_addf(to, "\tx += part%u(x, \"unit %u\");\n", k, i);
	str_add(to, "\treturn x;\n}\n");
}

static int write_units(struct bench *b, int src_fd, struct err *err)
{
	auto_str struct str text = { 0 }, main_text = { 0 };
	char name[48];
	int rc = 0;

	for (unsigned i = 0; rc >= 0 && i < b->scale->units; i++) {
		snprintf(name, sizeof(name), "unit%u.c", i);
		unit_text(&text, i);
		rc = write_file(src_fd, name, text.s, text.len, err);
		str_addf(&main_text, "int unit%u(int x);\n", i);
	}
	str_add(&main_text, "int main(void)\n{\n\tint x = 0;\n");
	for (unsigned i = 0; i < b->scale->units; i++)
		str_addf(&main_text, "\tx += unit%u(x);\n", i);
	str_add(&main_text, "\treturn x == 42;\n}\n");
	return rc < 0 ? rc : write_file(src_fd, "main.c", main_text.s, main_text.len, err);
}

static int write_sources(struct bench *b, struct err *err)
{
	auto_str struct str text = { 0 };
	auto_fd int fd = -1;
	int rc = fs_mkdir(b->dir_fd, "src", 0755, err);

	fd = rc < 0 ? -1 : openat(b->dir_fd, "src", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return rc < 0 ? rc : err_sys(err, "open src");
	rc = write_units(b, fd, err);
	for (unsigned i = b->scale->units; rc >= 0 && i < b->scale->sources; i++) {
		char name[48];

		snprintf(name, sizeof(name), "lib%u", i / PER_DIR);
		rc = fs_mkdir(fd, name, 0755, err);
		snprintf(name, sizeof(name), "lib%u/file%u.h", i / PER_DIR, i);
		str_reset(&text);
		for (unsigned k = 0; k < i % 200; k++)
			str_addf(&text, "#define NAME_%u_%u %u\n", i, k, i * k);
		if (rc >= 0)
			rc = write_file(fd, name, str_get(&text), text.len, err);
	}
	return rc;
}

static int to_file(struct sink *to, const void *p, size_t n, struct err *err)
{
	return fd_write_all(((struct file_sink *)to)->fd, p, n, err);
}

static int pack_sources(struct bench *b, struct err *err)
{
	struct layer_source src = { -1, -1, -1 };
	struct layer_info info;
	auto_fd int dir = openat(b->dir_fd, "src", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_fd int tar =
		openat(b->dir_fd, "src.tar", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	struct file_sink sink = { { to_file }, tar };
	struct layer_diff_opts o = { .to = &sink.sink, .table_dir_fd = -1 };

	if (dir < 0 || tar < 0)
		return err_sys(err, "src.tar");
	src.upper_fd = dir;
	return layer_diff(&src, &o, &info, err);
}

int bench_open_tar(const struct bench *b, struct err *err)
{
	int fd = openat(b->dir_fd, "src.tar", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? err_sys(err, "open src.tar") : fd;
}

/* For the whole build: the archive, a shell where there is one, and what to do. */
static int make_context(struct bench *b, struct err *err)
{
	static const char text[] =
		"FROM scratch\nCOPY busybox /bin/busybox\n"
		"RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\nADD src.tar /src\n"
		"RUN cp -r /src /copy && chown -R 1:1 /copy\n"
		"RUN find /src -type f -exec cat {} + | md5sum >/sum\n"
		"RUN rm -r /src && mv /copy /kept\n";
	auto_fd int dir = -1, in = -1, out = -1;
	int rc = fs_mkdir(b->dir_fd, "context", 0755, err);

	if (rc < 0)
		return rc;
	dir = openat(b->dir_fd, "context", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || linkat(b->dir_fd, "src.tar", dir, "src.tar", 0) < 0)
		return err_sys(err, "build context");
	rc = write_file(dir, "Dockerfile", text, sizeof(text) - 1, err);
	in = open("/bin/busybox", O_RDONLY | O_CLOEXEC);
	if (rc < 0 || in < 0) /* its work says that it is missing */
		return rc < 0 ? rc : 0;
	out = openat(dir, "busybox", O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	return out < 0 ? err_sys(err, "copy busybox") : fs_copy_data(in, out, err);
}

int bench_data(struct bench *b, struct err *err)
{
	static int (*const steps[])(struct bench *, struct err *) = {
		make_tree, make_big, make_empty, write_sources, pack_sources, make_context,
	};
	int rc = 0;

	for (size_t i = 0; rc >= 0 && i < ARRAY_LEN(steps); i++) {
		rc = steps[i](b, err);
		if (rc >= 0 && bench_is_interrupted(b))
			rc = err_set(err, EINTR, "interrupted");
	}
	return rc < 0 ? err_ctx(err, "data of the bench") : 0;
}
