/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>
#include <shale/image.h>

#include "deliver.h"
#include "finish.h"
#include "transfer.h"

extern const struct command cmd_save;

struct save_args {
	const char *output, *format, *compression, *platform, *progress;
	int level;
	bool quiet;
};

static const struct save_args save_defaults = { .format = "docker-archive", .progress = "auto" };

#define OFF(field) offsetof(struct save_args, field)
static const struct opt save_opts[] = {
	{ 'o', "output", OPT_STR, OFF(output), "FILE",
	  "file, or directory of oci-dir (default standard output)" },
	{ 0, "format", OPT_STR, OFF(format), "FORMAT",
	  "docker-archive (default), oci-archive or oci-dir" },
	{ 0, "platform", OPT_STR, OFF(platform), "OS/ARCH[/VARIANT]",
	  "the image for it alone, of all that pull --all-platforms kept" },
	{ 'q', "quiet", OPT_BOOL, OFF(quiet), NULL, "show no progress" },
	PROGRESS_ASIDE_OPT(OFF(progress)),
	{ 0, "compression", OPT_STR, OFF(compression), "CODEC",
	  "none, gzip or zstd (default: as layers came, else none)" },
	{ 0, "compression-level", OPT_INT, OFF(level), "N", "gzip 1 to 12 (7), zstd 1 to 19 (3)" },
	/* Podman's: several images go into any archive. */
	{ 'm', "multi-image-archive", OPT_TRUE, 0, NULL, NULL },
	{ 0, "uncompressed", OPT_TRUE, 0, NULL, NULL },
	{ 0 },
};

static int save_file(struct cli *c, const struct image_save_opts *o, const struct strv *names,
		     const char *path, struct err *err)
{
	auto_output struct output out = { .path = path, .fd = -1 };
	int rc = output_open(&out, err);

	if (rc >= 0)
		rc = image_save(&c->rt, o, names, out.fd, err);
	return rc < 0 ? rc : output_commit(&out, err);
}

static int save_stdout(struct cli *c, const struct image_save_opts *o, const struct strv *names,
		       struct err *err)
{
	if (isatty(STDOUT_FILENO))
		return err_set(err, EINVAL,
			       "an archive is not for a terminal: use -o FILE or a pipe");
	return image_save(&c->rt, o, names, STDOUT_FILENO, err);
}

/* Directories first, so that nothing is given away by a path that its new owner could exchange. */
static int give_tree(int dir_fd, struct err *err)
{
	auto_strv struct strv names = { 0 };
	int rc = fs_list(dir_fd, ".", &names, err);

	for (size_t i = 0; rc >= 0 && i < names.n; i++) {
		auto_fd int fd = openat(dir_fd, names.v[i], O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		struct stat st;

		if (fd < 0 || fstat(fd, &st) < 0)
			return err_sys(err, "open %s", names.v[i]);
		/* blobs/sha256: as deep as a layout is. */
		rc = S_ISDIR(st.st_mode) ? give_tree(fd, err) : out_give_to_user(fd, err);
	}
	return rc < 0 ? rc : out_give_to_user(dir_fd, err);
}

static int save_dir(struct cli *c, const struct image_save_opts *o, const struct strv *names,
		    const char *path, struct err *err)
{
	bool is_new = mkdir(path, 0755) == 0;
	auto_fd int fd = -1;
	int rc;

	if (!is_new && errno != EEXIST)
		return err_sys(err, "make directory %s", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "open %s", path);
	rc = image_save(&c->rt, o, names, fd, err);
	/* A directory that was there is in somebody's hands already, who could put links into it.
	 */
	return rc < 0 || !is_new ? rc : give_tree(fd, err);
}

int save_write(struct cli *c, const struct image_save_opts *o, const struct strv *names,
	       const char *path, struct err *err)
{
	if (o->format == IMAGE_OCI_DIR)
		return save_dir(c, o, names, path, err);
	if (!path || str_eq(path, "-"))
		return save_stdout(c, o, names, err);
	return save_file(c, o, names, path, err);
}

static int save(struct cli *c, const struct save_args *a, const struct strv *names,
		struct transfer_view *view, struct err *err)
{
	static const struct {
		const char *name;
		enum image_format format;
	} formats[] = { { "docker-archive", IMAGE_DOCKER_ARCHIVE },
			{ "oci-archive", IMAGE_OCI_ARCHIVE },
			{ "oci-dir", IMAGE_OCI_DIR } };
	struct image_save_opts o = { .platform = a->platform, .watch = transfer_watch(view) };
	size_t i = 0;

	if (a->level && !a->compression)
		return err_set(err, EINVAL, "--compression-level goes with --compression");
	if (image_pack_parse(a->compression, a->level, &o.pack, err) < 0)
		return err_ctx(err, "--compression");
	while (i < ARRAY_LEN(formats) && !str_eq(a->format, formats[i].name))
		i++;
	if (i == ARRAY_LEN(formats))
		return err_set(err, EINVAL,
			       "--format: \"%s\" is not docker-archive, oci-archive or oci-dir",
			       a->format);
	o.format = formats[i].format;
	if (o.format == IMAGE_OCI_DIR && !a->output)
		return err_set(err, EINVAL, "oci-dir needs -o DIRECTORY");
	return save_write(c, &o, names, a->output, err);
}

static int save_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct save_args *a = args;
	auto_strv struct strv names = { 0 };
	cleanup(transfer_view_end) struct transfer_view view = { 0 };
	struct finish finish = FINISH_INIT;
	struct err err = { 0 };
	int code = 0;

	if (transfer_view_aside(&view, a->progress, a->quiet, "Saving", &err) < 0)
		return cli_usage(c, &err);
	for (int i = 0; i < argc; i++)
		strv_add(&names, argv[i]);
	/* Compressed layers stay in the store; of another platform they are unpacked first. */
	if (cli_open(c, &err) < 0 ||
	    ((a->compression || a->platform) && finish_begin(&finish, c, &err) < 0))
		return cli_fail(c, &err);
	if (save(c, a, &names, &view, &err) < 0)
		code = cli_fail(c, &err);
	finish_end(&finish, c, settings_bool(&c->settings, SETTING_SYNC));
	return code;
}

const struct command cmd_save = {
	.name = "save",
	.args = "IMAGE...",
	.summary = "Save images to an archive",
	.opts = save_opts,
	.args_size = sizeof(struct save_args),
	.main = save_main,
	.min_args = 1,
	.max_args = -1,
	.complete = complete_images,
	.defaults = &save_defaults,
};
