/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's row once more, in containers/<id>/record, for a database that was lost: what create
 * decided. How it ended is in the exit file. One that is removed at its end has none.
 */
#include <shale/container.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/db.h>
#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/json.h>

#include "priv.h"

static const char record_name[] = "record";

static char *record_text(const struct container *c)
{
	auto_free char *spec = container_spec_text(&c->spec);
	auto_json json_t *o = json_object();

	json_object_set_new(o, "version", json_integer(1));
	json_set_str(o, "name", c->name);
	json_set_str(o, "image", c->image_id);
	json_set_str(o, "image_name", c->image_name);
	json_set_str(o, "command", c->command);
	json_object_set_new(o, "snapshot", json_integer(c->snapshot));
	json_object_set_new(o, "created_ns", json_integer(c->created_ns));
	json_set_str(o, "spec", spec);
	return json_text(o);
}

/* What stood there stays when the disk is full. */
void container_record(const struct container *c)
{
	auto_free char *text = record_text(c);
	struct err ignored = { 0 };
	auto_fd int dir = -1;

	if (container_dir(c, &dir, &ignored) >= 0)
		fs_write_atomic(dir, record_name, text, strlen(text), false, &ignored);
}

static int record_one(struct container *c, void *arg, struct err *err)
{
	(void)arg;
	(void)err;
	if (!c->auto_remove)
		container_record(c);
	return 0;
}

int container_record_all(struct runtime *rt, struct err *err)
{
	return container_walk(rt, record_one, NULL, err);
}

/* --- without a database --- */

static int parse(const char *text, size_t len, struct container *c, struct err *err)
{
	auto_json json_t *o = NULL;
	const char *spec, *name;
	int rc = json_parse(text, len, &o, err);

	if (rc < 0)
		return rc;
	name = json_get_str(o, "name");
	spec = json_get_str(o, "spec");
	if (json_get_int(o, "version", 0) != 1 || !name || !container_name_valid(name) || !spec)
		return err_set(err, EBADMSG, "its record is damaged");
	c->name = mem_str(name);
	c->image_id = mem_str(json_get_str(o, "image"));
	c->image_name = mem_str(json_get_str(o, "image_name"));
	c->command = mem_str(json_get_str(o, "command"));
	c->snapshot = json_get_int(o, "snapshot", 0);
	c->created_ns = json_get_int(o, "created_ns", 0);
	return container_spec_parse(spec, &c->spec, err);
}

/* It has run if there is an exit file; what is not in it went with the machine or its keeper. */
static void read_end(struct container *c, int dir_fd)
{
	auto_fd int fd = openat(dir_fd, "exit", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	c->state = CONTAINER_CREATED;
	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	c->state = CONTAINER_EXITED;
	c->exit_code = CONTAINER_EXIT_LOST;
	container_exit_read(fd, &c->exit_code);
	c->started_ns = c->created_ns;
	c->finished_ns = st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
}

static int read_files(struct container *c, struct err *err)
{
	auto_free char *text = NULL;
	auto_fd int dir = -1;
	size_t len;
	int rc = container_dir(c, &dir, err);

	if (rc >= 0)
		rc = fd_read_file(dir, record_name, JSON_BYTES_MAX, &text, &len, err);
	if (rc >= 0)
		rc = parse(text, len, c, err);
	if (rc >= 0)
		read_end(c, dir);
	return rc;
}

/* Its snapshot must be a writable layer that is no other's. */
static int insert(struct container *c, struct err *err)
{
	static const char image[] =
		"UPDATE containers SET image=(SELECT id FROM images WHERE id=?2),"
		"exit_code=?3,finished_ns=nullif(?4,0) WHERE id=?1";
	auto_free char *key = mem_fmt("container-%s", c->id);
	auto_free char *image_id = take(c->image_id);
	auto_db_tx struct db *tx = NULL;
	int rc = db_tx_begin(c->rt->db, DB_FULL, &tx, err);

	if (rc >= 0)
		rc = db_run(c->rt->db,
			    "UPDATE snapshots SET key=?2 WHERE id=?1 AND kind=2 AND key=?1",
			    DB_ARGS(DB_I(c->snapshot), DB_T(key)), err);
	if (rc == 0)
		return err_set(err, ENOENT, "its layer %lld is lost", (long long)c->snapshot);
	if (rc >= 0)
		rc = container_insert(c, err);
	if (rc >= 0)
		rc = db_run(c->rt->db, image,
			    DB_ARGS(DB_T(c->id), DB_T(image_id), DB_I(c->exit_code),
				    DB_I(c->finished_ns)),
			    err);
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

/* Who was killed in a rename has left the old name in the record, which may be another's since. */
static int settle_name(struct container *c, struct strv *ret_lost, struct err *err)
{
	int64_t one;
	int rc = db_get_int(c->rt->db, "SELECT 1 FROM containers WHERE name=?1",
			    DB_ARGS(DB_T(c->name)), &one, err);

	if (rc <= 0)
		return rc;
	strv_addf(ret_lost, "name %s of container %.12s, which another one has", c->name, c->id);
	free(c->name);
	c->name = mem_fmt("recovered-%.12s", c->id);
	return 0;
}

/* 1, or 0 when it is lost; that its row cannot be written ends all. */
static int recover_one(struct runtime *rt, const char *id, struct strv *ret_lost, struct err *err)
{
	auto_container struct container *c = mem_alloc(sizeof(*c));
	struct err why = { 0 };
	int rc;

	c->rt = rt;
	snprintf(c->id, sizeof(c->id), "%s", id);
	rc = read_files(c, &why);
	if (rc >= 0) {
		rc = settle_name(c, ret_lost, &why);
		if (rc >= 0)
			rc = insert(c, &why);
		if (rc == -ENOSPC || rc == -EIO || rc == -EROFS) {
			*err = why;
			return rc;
		}
	}
	if (rc >= 0)
		return 1;
	strv_addf(ret_lost, "container %.12s: %s", id, why.msg);
	return 0;
}

int container_recover(struct runtime *rt, size_t *ret_n, struct strv *ret_lost, struct err *err)
{
	auto_strv struct strv names = { 0 };
	int rc = fs_list(rt->root_fd, "containers", &names, err);

	*ret_n = 0;
	if (rc == -ENOENT) {
		err_clear(err);
		rc = 0;
	}
	for (size_t i = 0; rc >= 0 && i < names.n; i++) {
		if (strlen(names.v[i]) != CONTAINER_ID_LEN)
			continue;
		rc = recover_one(rt, names.v[i], ret_lost, err);
		*ret_n += rc > 0;
	}
	if (rc < 0)
		return rc;
	/* Nobody's any more: what steps that were killed have left. */
	return db_run(rt->db,
		      "DELETE FROM snapshots WHERE kind<>3 AND id NOT IN"
		      " (SELECT snapshot FROM containers WHERE snapshot NOTNULL)",
		      NULL, err);
}
