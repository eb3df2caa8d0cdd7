/* SPDX-License-Identifier: Apache-2.0 */
/* Records of builds, read back: by name, one after the other, and what goes of them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/fs.h>
#include <shale/base/json.h>
#include <shale/base/proc.h>
#include <shale/build.h>
#include <shale/runtime.h>

#define COLUMNS "SELECT id,started_ns,finished_ns,status,info FROM builds"

enum { LAST_MAX = 1000000 };

const char *build_status_name(enum build_status status)
{
	static const char *const names[] = {
		[BUILD_RUNNING] = "running", [BUILD_COMPLETE] = "complete",
		[BUILD_FAILED] = "failed",   [BUILD_CANCELED] = "canceled",
		[BUILD_LOST] = "lost",
	};

	return status < ARRAY_LEN(names) && names[status] ? names[status] : "unknown";
}

void build_record_free(struct build_record *r)
{
	json_decref(r->info);
	*r = (struct build_record){ 0 };
}

/* One whose process is gone did not come to its end. */
static bool is_lost(const json_t *info)
{
	return !str_eq(json_get_str(info, "boot"), proc_boot_id()) ||
	       !proc_is_alive((pid_t)json_get_int(info, "pid", 0),
			      (uint64_t)json_get_int(info, "pid_start", 0));
}

static int from_row(struct db_stmt *st, struct build_record *ret, struct err *err)
{
	const char *text = db_col_str(st, 4);
	int rc;

	snprintf(ret->id, sizeof(ret->id), "%s", db_col_str(st, 0));
	ret->started_ns = db_col_int(st, 1);
	ret->finished_ns = db_col_int(st, 2);
	ret->status = (enum build_status)db_col_int(st, 3);
	rc = json_parse(text, strlen(text), &ret->info, err);
	if (rc < 0)
		return err_ctx(err, "build %s", ret->id);
	if (ret->status == BUILD_RUNNING && is_lost(ret->info))
		ret->status = BUILD_LOST;
	return 0;
}

int build_record_walk(struct runtime *rt, build_record_fn *fn, void *arg, struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc = db_query(rt->db, COLUMNS " ORDER BY started_ns DESC,id", NULL, &st, err);

	while (rc >= 0 && (rc = db_step(st, err)) > 0) {
		auto_build_record struct build_record r = { 0 };

		rc = from_row(st, &r, err);
		if (rc >= 0)
			rc = fn(&r, arg, err);
	}
	return rc;
}

/* "@last", "@1": the newest; "@2" the one before. */
static int find_by_age(struct runtime *rt, const char *name, struct db_stmt **ret, struct err *err)
{
	uint64_t n = 1;

	if (strcmp(name, "@last") != 0 && (str_to_u64(name + 1, 10, LAST_MAX, &n) < 0 || !n))
		return err_set(err, EINVAL, "%s: want @last, or @N for the Nth last build", name);
	return db_query(rt->db, COLUMNS " ORDER BY started_ns DESC,id LIMIT 1 OFFSET ?1",
			DB_ARGS(DB_I((int64_t)n - 1)), ret, err);
}

int build_record_find(struct runtime *rt, const char *name, struct build_record *ret,
		      struct err *err)
{
	auto_db_stmt struct db_stmt *st = NULL;
	int rc;

	if (*name == '@')
		rc = find_by_age(rt, name, &st, err);
	else
		rc = db_query(rt->db, COLUMNS " WHERE id>=?1 AND id<?1||'g' ORDER BY id LIMIT 2",
			      DB_ARGS(DB_T(name)), &st, err);
	if (rc >= 0)
		rc = db_step(st, err);
	if (rc == 0 || (rc > 0 && !*name))
		return err_set(err, ENOENT, "no build %s (shale builds ls lists them)", name);
	if (rc > 0)
		rc = from_row(st, ret, err);
	if (rc >= 0 && db_step(st, err) > 0) {
		build_record_free(ret);
		return err_set(err, EINVAL, "%s is the beginning of several builds' names", name);
	}
	return rc < 0 ? rc : 0;
}

int build_record_log(struct runtime *rt, const struct build_record *r, size_t step, struct err *err)
{
	char name[64];
	int fd;

	snprintf(name, sizeof(name), "logs/%s.%zu.log", r->id, step);
	fd = openat(rt->root_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? err_sys(err, "log of step %zu of build %s", step, r->id) : fd;
}

/* The log's build, or "" for a name that is none of ours. */
static void owner_of(const char *log, char id[BUILD_ID_LEN + 1])
{
	id[0] = 0;
	if (strspn(log, "0123456789abcdef") == BUILD_ID_LEN && log[BUILD_ID_LEN] == '.')
		snprintf(id, BUILD_ID_LEN + 1, "%s", log);
}

/* Logs whose record is gone: of builds that were removed, or that an older shale made. */
static int sweep_logs(struct runtime *rt, struct err *err)
{
	auto_strv struct strv names = { 0 };
	int rc = fs_list(rt->root_fd, "logs", &names, err);

	for (size_t i = 0; i < names.n && rc >= 0; i++) {
		auto_free char *path = mem_fmt("logs/%s", names.v[i]);
		char id[BUILD_ID_LEN + 1];
		int64_t one;

		owner_of(names.v[i], id);
		rc = db_get_int(rt->db, "SELECT 1 FROM builds WHERE id=?1", DB_ARGS(DB_T(id)), &one,
				err);
		if (rc == 0)
			unlinkat(rt->root_fd, path, 0);
	}
	return rc < 0 ? rc : 0;
}

int build_record_keep(struct runtime *rt, const char *id, const char *container, const char *key,
		      struct err *err)
{
	return db_run(
		rt->db,
		"UPDATE builds SET info=json_set(info,'$.container',?2,'$.key',?3) WHERE id=?1",
		DB_ARGS(DB_T(id), DB_T(container), DB_T(key)), err);
}

int build_record_remove(struct runtime *rt, const struct build_record *r, struct err *err)
{
	int rc;

	if (r->status == BUILD_RUNNING)
		return err_set(err, EBUSY, "build %s is running", r->id);
	rc = db_run(rt->db, "DELETE FROM builds WHERE id=?1", DB_ARGS(DB_T(r->id)), err);
	return rc < 0 ? rc : sweep_logs(rt, err);
}

static int add_lost(const struct build_record *r, void *arg, struct err *err)
{
	(void)err;
	if (r->status == BUILD_LOST && !r->finished_ns)
		strv_add(arg, r->id);
	return 0;
}

/* So that they go in their turn. */
static int settle_lost(struct runtime *rt, struct err *err)
{
	auto_strv struct strv lost = { 0 };
	int rc = build_record_walk(rt, add_lost, &lost, err);

	for (size_t i = 0; i < lost.n && rc >= 0; i++)
		rc = db_run(rt->db,
			    "UPDATE builds SET status=?2,finished_ns=started_ns WHERE id=?1",
			    DB_ARGS(DB_T(lost.v[i]), DB_I(BUILD_LOST)), err);
	return rc;
}

int build_record_trim(struct runtime *rt, size_t keep, struct err *err)
{
	int64_t beyond = 0;
	int rc = settle_lost(rt, err);

	if (rc >= 0)
		rc = db_get_int(rt->db,
				"SELECT 1 FROM builds ORDER BY started_ns DESC LIMIT 1 OFFSET ?1",
				DB_ARGS(DB_I((int64_t)keep)), &beyond, err);
	if (rc > 0)
		rc = db_run(rt->db,
			    "DELETE FROM builds WHERE finished_ns>0 AND id NOT IN"
			    " (SELECT id FROM builds ORDER BY started_ns DESC LIMIT ?1)",
			    DB_ARGS(DB_I((int64_t)keep)), err);
	return rc < 0 ? rc : sweep_logs(rt, err);
}
