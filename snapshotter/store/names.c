/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tags once more, in the file names beside the database: "NAME IMAGE", or "NAME" when it went.
 * The last line about a name counts. For whoever has lost the database.
 */
#include <shale/store.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/str.h>

#include "priv.h"

enum { NAMES_BYTES_MAX = 64 << 20, NAMES_LONG_BYTES = 256 << 10 };
static const char names_file[] = "names";

/* Inside the transaction. What is rolled back afterwards names an image that is not there, or one
 * that it named a moment ago. Not there in a store of an earlier release until store_names_tidy. */
void store_note_name(struct store *st, const char *name, const char *image)
{
	auto_fd int fd =
		openat(st->store_fd, names_file, O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC);
	auto_free char *line = mem_fmt("%s%s%s\n", name, image ? " " : "", image ? image : "");
	struct err ignored;

	if (fd >= 0 && !strpbrk(name, " \n"))
		fd_write_str(fd, line, &ignored);
}

static int add_line(const struct tag_info *tag, void *arg, struct err *err)
{
	(void)err;
	str_addf(arg, "%s %s\n", tag->name, tag->image);
	return 0;
}

int store_names_tidy(struct store *st, struct err *err)
{
	auto_db_tx struct db *tx = NULL;
	auto_str struct str all = { 0 };
	struct stat sb;
	int rc;

	if (fstatat(st->store_fd, names_file, &sb, AT_SYMLINK_NOFOLLOW) == 0 &&
	    sb.st_size < NAMES_LONG_BYTES)
		return 0;
	rc = db_tx_begin(st->db, DB_LAZY, &tx, err);
	if (rc >= 0)
		rc = store_tag_walk(st, NULL, add_line, &all, err);
	if (rc >= 0)
		rc = fs_write_atomic(st->store_fd, names_file, str_get(&all), all.len, false, err);
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

/* A line that a power cut tore has no digest. */
static void read_line(char *line, struct strv *names)
{
	char *image = strchr(line, ' ');
	struct err ignored;
	struct digest d;

	if (image)
		*image++ = 0;
	if (*line && !strchr(line, '=') && (!image || digest_parse(image, &d, &ignored) >= 0))
		strv_env_set(names, line, image ? image : "");
}

static int recover_one(struct store *st, const char *name, const char *image, struct strv *ret_lost,
		       struct err *err)
{
	int rc = db_run(
		st->db,
		"INSERT INTO tags(name,image,updated) SELECT ?1,id,?3 FROM images WHERE id=?2",
		DB_ARGS(DB_T(name), DB_T(image), DB_I(time(NULL))), err);

	if (rc == 0)
		strv_addf(ret_lost, "name %s: its image is lost", name);
	return rc;
}

int store_recover_tags(struct store *st, struct strv *ret_lost, struct err *err)
{
	auto_strv struct strv lines = { 0 }, names = { 0 };
	auto_db_tx struct db *tx = NULL;
	auto_free char *text = NULL;
	size_t len = 0;
	int rc;

	rc = fd_read_file(st->store_fd, names_file, NAMES_BYTES_MAX, &text, &len, err);
	if (rc == -ENOENT) {
		err_clear(err);
		strv_add(ret_lost, "names of images: an earlier release did not keep them");
		return 0;
	}
	if (rc < 0)
		return rc;
	strv_split(&lines, text, '\n');
	for (size_t i = 0; i < lines.n; i++)
		read_line(lines.v[i], &names);
	rc = db_tx_begin(st->db, DB_FULL, &tx, err);
	for (size_t i = 0; rc >= 0 && i < names.n; i++) {
		char *image = strchr(names.v[i], '=');

		if (!image || !image[1])
			continue;
		*image = 0;
		rc = recover_one(st, names.v[i], image + 1, ret_lost, err);
	}
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}
