/* SPDX-License-Identifier: Apache-2.0 */
/* cache export and import: cache mounts go from one machine to the next. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/sink.h>
#include <shale/image.h>
#include <shale/store.h>

#include "priv.h"

extern const struct command cmd_cache_export, cmd_cache_import;

struct cache_archive_args {
	const char *output;
	bool force;
};

#define OFF(field) offsetof(struct cache_archive_args, field)

static const struct opt export_opts[] = {
	{ 'o', "output", OPT_STR, OFF(output), "FILE", "file (default standard output)" },
	{ 0 },
};
static const struct opt import_opts[] = {
	{ 'f', "force", OPT_BOOL, OFF(force), NULL, "replace one that is there" },
	{ 0 },
};

static int export(struct cli *c, const char *id, const char *path, struct err *err)
{
	auto_output struct output o = { .path = path, .fd = -1 };
	auto_strv struct strv names = { 0 };
	struct sink_fd to = SINK_FD(STDOUT_FILENO);
	bool to_file = path && !str_eq(path, "-");
	int rc = store_cache_find(c->rt.store, id, &names, err);

	if (rc < 0)
		return rc;
	if (names.n > 1)
		return err_set(err, EINVAL, "%s means %zu cache mounts: give one by its name", id,
			       names.n);
	if (!to_file && isatty(STDOUT_FILENO))
		return err_set(err, EINVAL,
			       "an archive is not for a terminal: use -o FILE or a pipe");
	if (to_file) {
		rc = output_open(&o, err);
		to.fd = o.fd;
	}
	if (rc >= 0)
		rc = image_cache_mount_export(&c->rt, names.v[0], &to.sink, err);
	if (rc < 0)
		return err_ctx(err, "cache mount %s", id);
	return to_file ? output_commit(&o, err) : 0;
}

static int export_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct cache_archive_args *a = args;
	struct err err = { 0 };

	(void)argc;
	if (cli_open(c, &err) < 0 || export(c, argv[0], a->output, &err) < 0)
		return cli_fail(c, &err);
	return 0;
}

static int import(struct cli *c, const char *id, const char *path, bool force, struct err *err)
{
	bool from_file = path && !str_eq(path, "-");
	auto_fd int fd = from_file ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY) : fd_dup(0);
	int rc;

	if (fd < 0)
		return err_sys(err, "open %s", from_file ? path : "standard input");
	if (!from_file && isatty(fd))
		return err_set(err, EINVAL,
			       "standard input is a terminal: an archive must come from it");
	rc = image_cache_mount_import(&c->rt, id, force, fd, err);
	if (rc >= 0 && force)
		rc = snap_sweep(c->rt.snap, err);
	return rc < 0 ? err_ctx(err, "cache mount %s", id) : 0;
}

static int import_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct cache_archive_args *a = args;
	struct err err = { 0 };

	(void)argc;
	if (cli_open(c, &err) < 0 || import(c, argv[0], argv[1], a->force, &err) < 0)
		return cli_fail(c, &err);
	return cli_done(c);
}

const struct command cmd_cache_export = {
	.name = "cache-export",
	.args = "ID|NAME",
	.summary = "Write a cache mount as a tar archive",
	.opts = export_opts,
	.args_size = sizeof(struct cache_archive_args),
	.main = export_main,
	.min_args = 1,
	.max_args = 1,
	.flags = CMD_HIDDEN,
};

const struct command cmd_cache_import = {
	.name = "cache-import",
	.args = "ID [FILE|-]",
	.summary = "Make a cache mount of a tar archive",
	.opts = import_opts,
	.args_size = sizeof(struct cache_archive_args),
	.main = import_main,
	.min_args = 1,
	.max_args = 2,
	.flags = CMD_HIDDEN,
};
