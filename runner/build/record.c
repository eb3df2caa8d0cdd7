/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a build did, as a row that outlives it: its steps as the events tell them, and where their
 * logs are. Written twice: before the first log, so that every log has an owner, and at the end. A
 * build that ran nothing is written once.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/path.h>
#include <shale/base/proc.h>

#include "priv.h"

/* The whole row is read again with json's limit: ten thousand steps must fit. */
enum { TEXT_SHOWN = 4096, TEXT_SHORT = 80, TEXTS_LONG = 1 << 20 };

void record_open(struct build *b)
{
	struct record *r = &b->record;

	proc_random_hex(r->id, BUILD_ID_LEN);
	r->started_ns = proc_now_ns();
	r->steps = json_array();
}

void record_close(struct build *b)
{
	json_decref(b->record.steps);
	b->record.steps = NULL;
}

static json_t *step_of(const struct record *r, size_t n)
{
	for (size_t i = json_array_size(r->steps); i-- > 0;) {
		json_t *s = json_array_get(r->steps, i);

		if (json_get_int(s, "step", 0) == (int64_t)n)
			return s;
	}
	return NULL;
}

static void begin_step(struct record *r, const struct build_event *e)
{
	json_t *s = json_object();
	auto_free char *text = mem_strn(
		e->text, strnlen(e->text, r->text_bytes < TEXTS_LONG ? TEXT_SHOWN : TEXT_SHORT));

	r->text_bytes += strlen(text);
	json_object_set_new(s, "step", json_integer((json_int_t)e->step));
	json_object_set_new(s, "text", json_from_str(text));
	json_array_append_new(r->steps, s);
}

static void add_why(struct record *r, json_t *s, const char *why)
{
	r->text_bytes += strlen(why);
	if (r->text_bytes < TEXTS_LONG)
		json_object_set_new(s, "why", json_from_str(why));
}

static void end_step(json_t *s, const struct build_event *e)
{
	json_set_str(s, "id", e->id);
	json_object_set_new(s, "cached", json_boolean(e->kind == BUILD_CACHED));
	json_object_set_new(s, "layer", json_boolean(e->has_layer));
	json_object_set_new(s, "size", json_integer((json_int_t)e->size_bytes));
	json_object_set_new(s, "elapsed_ns", json_integer(e->elapsed_ns));
}

void record_event(struct build *b, const struct build_event *e)
{
	struct record *r = &b->record;
	json_t *s;

	if (!r->steps || !e->step)
		return;
	if (e->kind == BUILD_STEP)
		begin_step(r, e);
	if (e->kind != BUILD_CACHED && e->kind != BUILD_DONE && e->kind != BUILD_EXPLAIN)
		return;
	s = step_of(r, e->step);
	if (s && e->kind == BUILD_EXPLAIN)
		add_why(r, s, e->text);
	else if (s)
		end_step(s, e);
}

static void add_what(const struct build *b, json_t *info)
{
	const struct build_opts *o = b->o;

	json_set_str(info, "context", b->origin.name);
	json_set_str(info, "file", o->file ? o->file : b->file_name);
	json_set_str(info, "target", o->target);
	json_set_strv(info, "tags", &o->tags);
	json_object_set_new(info, "pid", json_integer(getpid()));
	json_object_set_new(info, "pid_start", json_integer((json_int_t)proc_start_time(getpid())));
	json_set_str(info, "boot", proc_boot_id());
}

static int write_row(struct build *b, enum build_status status, int64_t finished_ns, json_t *info,
		     struct err *err)
{
	auto_free char *text = NULL;
	int rc;

	add_what(b, info);
	json_object_set_new(info, "total", json_integer((json_int_t)b->total));
	json_object_set_new(info, "cached", json_integer((json_int_t)b->cached));
	json_object_set(info, "steps", b->record.steps);
	text = json_text(info);
	rc = db_run(b->rt->db,
		    "INSERT OR REPLACE INTO builds(id,started_ns,finished_ns,status,info)"
		    " VALUES(?1,?2,?3,?4,?5)",
		    DB_ARGS(DB_T(b->record.id), DB_I(b->record.started_ns), DB_I(finished_ns),
			    DB_I(status), DB_T(text)),
		    err);
	return rc < 0 ? err_ctx(err, "the record of the build") : 0;
}

int record_log_name(struct build *b, char ret[RECORD_LOG_NAME], struct err *err)
{
	auto_json json_t *info = json_object();
	json_t *s = step_of(&b->record, b->at->step);
	int rc = 0;

	if (s)
		json_object_set_new(s, "log", json_true());
	snprintf(ret, RECORD_LOG_NAME, "logs/%s.%zu.log", b->record.id, b->at->step);
	if (!b->record.stored)
		rc = write_row(b, BUILD_RUNNING, 0, info, err);
	b->record.stored = rc >= 0;
	return rc;
}

void record_end(struct build *b, const struct build_result *r, const struct err *failure)
{
	auto_json json_t *info = json_object();
	struct err ignored = { 0 };
	enum build_status status = !failure                 ? BUILD_COMPLETE
				   : failure->code == EINTR ? BUILD_CANCELED
							    : BUILD_FAILED;

	if (failure)
		json_object_set_new(info, "error", json_from_str(failure->msg));
	else
		json_set_str(info, "image", r->image_id);
	write_row(b, status, proc_now_ns(), info, &ignored);
}
