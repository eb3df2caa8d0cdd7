/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a database can be used, without writing to it. */
#include <shale/base/db.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <sqlite3.h>

#include <shale/base/fd.h>

#include "schema.h"

/* The first row of a check, which is "ok" or what is wrong. */
static int ask(sqlite3 *h, const char *sql, char *ret, size_t n)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(h, sql, -1, &st, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	snprintf(ret, n, "%s",
		 rc == SQLITE_ROW    ? (const char *)sqlite3_column_text(st, 0)
		 : rc == SQLITE_DONE ? "ok"
				     : sqlite3_errmsg(h));
	sqlite3_finalize(st);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : -1;
}

static int check(sqlite3 *h, struct err *err)
{
	char text[256];
	int version;

	if (ask(h, "PRAGMA user_version", text, sizeof(text)) < 0)
		return err_set(err, EBADMSG, "%s", text);
	version = text[0] >= '0' && text[0] <= '9' ? (int)strtol(text, NULL, 10) : 0;
	if (version > SCHEMA_VERSION)
		return err_set(err, ENOTSUP,
			       "the store was made by a newer shale (schema %d, this one knows %d)",
			       version, SCHEMA_VERSION);
	if (version == 0)
		return err_set(err, EBADMSG, "it is empty");
	ask(h, "PRAGMA integrity_check(1)", text, sizeof(text));
	if (strcmp(text, "ok") == 0)
		ask(h,
		    "SELECT 'rows of '||\"table\"||' refer to what is not there' FROM pragma_foreign_key_check",
		    text, sizeof(text));
	return strcmp(text, "ok") == 0 ? 0 : err_set(err, EBADMSG, "%s", text);
}

int db_check(int root_fd, struct err *err)
{
	char dir[FD_PATH_MAX], path[FD_PATH_MAX + 16];
	sqlite3 *h = NULL;
	struct stat st;
	int rc;

	if (fstatat(root_fd, "db.sqlite", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? err_set(err, EBADMSG, "it is missing")
				       : err_sys(err, "stat db.sqlite");
	snprintf(path, sizeof(path), "%s/db.sqlite", fd_path(root_fd, dir));
	rc = sqlite3_open_v2(path, &h, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
	if (rc == SQLITE_OK) {
		sqlite3_busy_timeout(h, 5000);
		sqlite3_db_config(h, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
		rc = check(h, err);
	} else {
		rc = err_set(err, EBADMSG, "%s", sqlite3_errmsg(h));
	}
	sqlite3_close(h);
	return rc;
}
