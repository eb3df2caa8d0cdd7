/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a build context comes from: a directory is read in place; an archive on standard input or
 * from a web server, or a repository, becomes a tree in tmp/ that goes with the build. All of it is
 * hostile: what is in there is opened beneath the tree, and only when it is a regular file (TRAPS
 * T16, T24, T28).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/path.h>

#include "mount.h"
#include "remote.h"

enum { CHUNK = 128 << 10, POLL_MS = 200 };

char *build_context_name(const char *context)
{
	auto_free char *real = realpath(context, NULL);

	return real ? take(real) : source_url_scrub(context);
}

void origin_close(struct origin *o)
{
	context_close(o->tree);
	scratch_close(&o->dir);
	remote_free(o->remote);
	free(o->text);
	free(o->name);
	*o = (struct origin)ORIGIN_INIT;
}

/* --- what comes as bytes --- */

/* Into a file without a name: it goes with this process. */
static int spool(struct build *b, int *ret_fd, struct err *err)
{
	auto_fd int fd = openat(b->rt->root_fd, "tmp", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	auto_free char *buf = mem_alloc(CHUNK);
	uint64_t room = build_room(b), bytes = 0;
	ssize_t n = 1;

	if (fd < 0)
		return err_sys(err, "create a file");
	while (n > 0) {
		struct pollfd p = { 0, POLLIN, 0 };
		int rc;

		if (build_is_interrupted(b))
			return err_set(err, EINTR, "interrupted");
		if (poll(&p, 1, POLL_MS) <= 0)
			continue;
		n = read(0, buf, CHUNK);
		if (n < 0 && errno != EINTR)
			return err_sys(err, "read");
		bytes += n > 0 ? (uint64_t)n : 0;
		if (bytes > room)
			return err_set(err, EFBIG, "more than the free space");
		rc = n > 0 ? fd_write_all(fd, buf, (size_t)n, err) : 0;
		if (rc < 0)
			return rc;
		n = n < 0 ? 1 : n;
	}
	*ret_fd = fd_take(&fd);
	return 0;
}

static int take_stdin(struct build *b, int *ret_fd, struct err *err)
{
	struct stat st;
	int rc;

	if (isatty(0))
		return err_set(err, EINVAL, "standard input is a terminal");
	/* A file is read where it is. */
	if (fstat(0, &st) == 0 && S_ISREG(st.st_mode) && lseek(0, 0, SEEK_CUR) == 0) {
		*ret_fd = fd_dup(0);
		return *ret_fd < 0 ? err_sys(err, "standard input") : 0;
	}
	rc = spool(b, ret_fd, err);
	return rc < 0 ? err_ctx(err, "standard input") : 0;
}

static int take_text(struct origin *o, int fd, struct err *err)
{
	int rc;

	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(err, "rewind");
	rc = fd_read_all(fd, DF_BYTES_MAX, &o->text, &o->text_len, err);
	if (rc >= 0 && memchr(o->text, 0, o->text_len))
		rc = err_set(
			err, EINVAL,
			"neither a Dockerfile nor a tar archive (plain or by gzip, zstd, xz, bzip2)");
	return rc;
}

/* An archive is the context; a text is a Dockerfile, and its context is empty. */
static int take_bytes(struct build *b, struct origin *o, int fd, struct err *err)
{
	const struct layer_apply_opts how = { .foreign = true,
					      .rootfs = true,
					      .max_bytes = b->rt->max_layer_bytes,
					      .parent_fd = -1,
					      .stop = b->o->interrupted };
	int rc = layer_is_tar(fd, err), is_tar = rc;

	if (rc >= 0)
		rc = scratch_open(b->rt->root_fd, &o->dir, err);
	if (rc >= 0)
		rc = is_tar ? layer_apply(fd, o->dir.fd, &how, NULL, err) : take_text(o, fd, err);
	if (rc < 0)
		return err_ctx(err, "%s", o->is_stdin ? "standard input" : o->name);
	return context_open_tree(b->rt, o->dir.fd, &o->tree, err);
}

static int take_remote(struct build *b, struct origin *o, struct err *err)
{
	struct remote *r = o->remote;
	auto_fd int fd = -1;
	int rc;

	if (bool_is_true(strv_env_get(&b->build_args, "BUILDKIT_CONTEXT_KEEP_GIT_DIR")))
		r->keep_git = true;
	rc = remote_take(b, r, err);
	if (rc < 0)
		return rc;
	if (r->u.is_git) {
		o->tree = take(r->tree);
		return 0;
	}
	fd = path_open_beneath(context_fd(r->tree), r->file.path, O_RDONLY | O_NOFOLLOW, 0, err);
	return fd < 0 ? fd_take(&fd) : take_bytes(b, o, fd, err);
}

int origin_open(struct build *b, const char *text, struct origin *ret, struct err *err)
{
	struct source_url u = { 0 };
	auto_fd int fd = -1;
	int rc = 0;

	ret->name = build_context_name(text);
	ret->is_stdin = !strcmp(text, "-");
	if (!ret->is_stdin)
		rc = source_url_parse(text, &u, err);
	if (rc > 0) {
		ret->remote = remote_new(&u);
		rc = take_remote(b, ret, err);
	} else if (rc == 0 && ret->is_stdin) {
		rc = take_stdin(b, &fd, err);
		if (rc >= 0)
			rc = take_bytes(b, ret, fd, err);
	} else if (rc == 0) {
		ret->is_dir = true;
		rc = context_open(b->rt, text, &ret->tree, err);
	}
	return rc < 0 && !ret->is_dir ? err_ctx(err, "build context") : rc;
}

/* --- the Dockerfile --- */

/* Where it is: beneath root_fd, which is own_fd when it is not the context's. */
struct place {
	int root_fd, own_fd;
	char *name;
};

static void place_free(struct place *p)
{
	fd_close(&p->own_fd);
	free(p->name);
}

/* path as it stands beneath the directory dir, or NULL: both as text. */
static char *beneath(const char *dir, const char *path)
{
	size_t n = strlen(dir);

	if (!strcmp(dir, "/"))
		n = 0;
	return !strncmp(path, dir, n) && path[n] == '/' ? mem_str(path + n + 1) : NULL;
}

/* What -f names, relative to the working directory as docker build has it. In the context it is
 * context as well, which must not lead out; elsewhere whoever calls us chose it. */
static int find_named(struct build *b, const char *file, struct place *ret, struct err *err)
{
	auto_free char *cwd = realpath(".", NULL);
	auto_free char *path = path_join(cwd ? cwd : "/", file), *dir = NULL;
	auto_free char *given = path_join(cwd ? cwd : "/", b->o->context);
	const char *base = path_base(path);

	ret->name = beneath(given, path);
	if (!ret->name)
		ret->name = beneath(b->origin.name, path);
	if (ret->name)
		return 0;
	dir = mem_strn(path, (size_t)(base - path));
	ret->own_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (ret->own_fd < 0)
		return err_sys(err, "Dockerfile %s", file);
	ret->root_fd = ret->own_fd;
	ret->name = mem_str(base);
	return 0;
}

static int find_place(struct build *b, const char *file, struct place *ret, struct err *err)
{
	auto_free char *clean = NULL;

	if (file && b->origin.is_dir)
		return find_named(b, file, ret, err);
	clean = path_join("/", file ? file : "Dockerfile");
	ret->name = mem_str(clean + 1);
	return 0;
}

static int read_place(const struct place *p, char **ret, size_t *ret_len, struct err *err)
{
	auto_fd int fd = -1;

	if (p->own_fd < 0)
		return context_read(p->root_fd, p->name, DF_BYTES_MAX, ret, ret_len, err);
	/* A symlink that the user has named is followed wherever it leads. */
	fd = openat(p->own_fd, p->name, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "open");
	return context_read_fd(fd, DF_BYTES_MAX, ret, ret_len, err);
}

static int read_stdin(struct build *b, char **ret, size_t *ret_len, struct err *err)
{
	int rc;

	if (b->origin.is_stdin)
		return err_set(err, EINVAL,
			       "-f -: standard input is the build context here, not a Dockerfile");
	rc = fd_read_all(0, DF_BYTES_MAX, ret, ret_len, err);
	if (rc >= 0)
		rc = context_ignore(b->context, -1, NULL, err);
	return rc;
}

int origin_dockerfile(struct build *b, char **ret, size_t *ret_len, struct err *err)
{
	cleanup(place_free) struct place p = { context_fd(b->context), -1, NULL };
	const char *file = b->o->file;
	int rc;

	if (str_eq(file, "-"))
		return read_stdin(b, ret, ret_len, err);
	if (b->origin.text) {
		if (file)
			return err_set(
				err, EINVAL,
				"-f %s: the context %s is a Dockerfile, in which there is no other",
				file, b->origin.name);
		*ret = take(b->origin.text);
		*ret_len = b->origin.text_len;
		return 0;
	}
	rc = find_place(b, file, &p, err);
	if (rc >= 0) {
		rc = read_place(&p, ret, ret_len, err);
		if (rc == -EXDEV)
			err_hint(err, "a symlink leads out of the context");
		if (rc < 0)
			err_ctx(err, "%s", file ? file : p.name);
	}
	return rc < 0 ? rc : context_ignore(b->context, p.root_fd, p.name, err);
}
