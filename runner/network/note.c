/* SPDX-License-Identifier: Apache-2.0 */
/* The rows once more, in the file networks beside the database. */
#include <shale/network.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/db.h>
#include <shale/base/fault.h>
#include <shale/base/fd.h>
#include <shale/base/json.h>

#include "priv.h"

enum { NOTES_BYTES_MAX = 16 << 20 };
static const char notes_file[] = "networks";

/* Always by the same other name: what is left of one that was killed, the next one takes. */
static int write_notes(const struct runtime *rt, const char *text, struct err *err)
{
	static const char unfinished[] = "tmp/networks";
	auto_fd int fd = openat(rt->root_fd, unfinished,
				O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return err_sys(err, "make %s", unfinished);
	if (fd_write_str(fd, text, err) < 0)
		return err_ctx(err, "%s", unfinished);
	if (fsync(fd) < 0 || renameat(rt->root_fd, unfinished, rt->root_fd, notes_file) < 0)
		return err_sys(err, "write %s", notes_file);
	fault_point("network.noted");
	return 0;
}

/* Inside the transaction that makes a row; after the one that removes it. So the file may have one
 * more than there are, never one less. */
int network_note_all(const struct runtime *rt, struct err *err)
{
	auto_db_tx struct db *tx = NULL;
	auto_db_stmt struct db_stmt *st = NULL;
	auto_json json_t *o = json_object();
	auto_free char *text = NULL;
	json_t *rows = json_array();
	int rc = db_tx_begin(rt->db, DB_LAZY, &tx, err);

	if (rc >= 0)
		rc = db_query(rt->db, "SELECT name,id,doc FROM networks ORDER BY name", NULL, &st,
			      err);
	json_object_set_new(o, "version", json_integer(1));
	json_object_set_new(o, "networks", rows);
	while (rc >= 0 && (rc = db_step(st, err)) > 0) {
		json_t *row = json_object();

		json_set_str(row, "name", db_col_str(st, 0));
		json_set_str(row, "id", db_col_str(st, 1));
		json_set_str(row, "doc", db_col_str(st, 2));
		json_array_append_new(rows, row);
	}
	if (rc < 0)
		return rc;
	text = json_text(o);
	rc = write_notes(rt, text, err);
	return rc < 0 ? rc : db_tx_commit(&tx, err);
}

static int recover_one(const struct runtime *rt, const json_t *row, struct err *err)
{
	const char *name = json_get_str(row, "name"), *id = json_get_str(row, "id");
	const char *doc = json_get_str(row, "doc");

	if (!name || !network_name_valid(name) || !id || strlen(id) != NETWORK_ID_LEN || !doc)
		return err_set(err, EBADMSG, "%s is damaged", notes_file);
	return db_run(rt->db, "INSERT INTO networks(name,id,doc) VALUES(?1,?2,?3)",
		      DB_ARGS(DB_T(name), DB_T(id), DB_T(doc)), err);
}

int network_recover(const struct runtime *rt, size_t *ret_n, struct err *err)
{
	auto_json json_t *o = NULL;
	auto_free char *text = NULL;
	size_t len, i;
	json_t *row;
	int rc = fd_read_file(rt->root_fd, notes_file, NOTES_BYTES_MAX, &text, &len, err);

	*ret_n = 0;
	if (rc == -ENOENT) {
		err_clear(err);
		return 0;
	}
	if (rc >= 0)
		rc = json_parse(text, len, &o, err);
	if (rc >= 0 && json_get_int(o, "version", 0) != 1)
		rc = err_set(err, EBADMSG, "%s is not of this release", notes_file);
	json_array_foreach(json_object_get(o, "networks"), i, row)
	{
		if (rc >= 0)
			rc = recover_one(rt, row, err);
		*ret_n += rc >= 0;
	}
	return rc < 0 ? rc : 0;
}
