/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Health checks. The monitor only says when; a process of its own runs the check and notes what
 * came of it in containers/<id>/health, so that a check that hangs holds nothing up.
 */
#include <shale/container.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/json.h>
#include <shale/base/proc.h>
#include <shale/image.h>

#include "priv.h"

#define SECOND_NS INT64_C(1000000000)
enum { TICK_MAX_MS = 3600000, REAP_MS = 200, LOG_MAX = 5, OUTPUT_MAX = 4096, FILE_MAX = 1 << 20 };
enum { RETRIES = 3, TIMED_OUT = -1 };

static const char health_name[] = "health";

static int64_t or_default(int64_t v, int64_t other)
{
	return v > 0 ? v : other;
}

bool container_has_health(const struct container *c)
{
	return c->spec.health.n > 1;
}

void container_health_resolve(struct container_spec *r, const struct image_config *img)
{
	const struct image_health *h = &img->health;

	if (!r->health.n && h->set)
		strv_copy(&r->health, &h->test);
	if (!h->set)
		return;
	r->health_interval_ns = or_default(r->health_interval_ns, h->interval_ns);
	r->health_timeout_ns = or_default(r->health_timeout_ns, h->timeout_ns);
	r->health_start_ns = or_default(r->health_start_ns, h->start_period_ns);
	r->health_start_interval_ns = or_default(r->health_start_interval_ns, h->start_interval_ns);
	r->health_retries = or_default(r->health_retries, h->retries);
}

/* --- when (the monitor) --- */

/* As long as it may still be starting, more often. */
static int64_t interval_of(const struct container *c)
{
	int64_t usual = or_default(c->spec.health_interval_ns, 30 * SECOND_NS);
	int64_t early = or_default(c->spec.health_start_interval_ns,
				   usual < 5 * SECOND_NS ? usual : 5 * SECOND_NS);
	auto_free char *status = NULL;

	if (proc_now_ns() - c->started_ns >= c->spec.health_start_ns)
		return usual;
	status = container_health_status(c);
	return status && !str_eq(status, "starting") ? usual : early;
}

void container_health_begin(struct container_health *h, const struct container *c)
{
	struct err ignored = { 0 };
	auto_fd int dir = -1;

	*h = (struct container_health){ .c = c };
	if (container_dir(c, &dir, &ignored) >= 0)
		unlinkat(dir, health_name, 0);
	h->next_ns = proc_mono_ns() + interval_of(c);
}

void container_health_end(struct container_health *h)
{
	if (h->checker > 0) {
		kill(h->checker, SIGKILL);
		waitpid(h->checker, NULL, 0);
	}
	h->checker = 0;
}

static void start_check(struct container_health *h)
{
	char name[] = "shale", command[] = "health", id[CONTAINER_ID_LEN + 1];
	char *argv[] = { name, command, id, NULL };
	struct err ignored = { 0 };
	pid_t pid;

	memcpy(id, h->c->id, sizeof(id));
	pid = proc_spawn("/proc/self/exe", argv, (int[3]){ -1, -1, -1 }, &ignored);
	h->checker = pid > 0 ? pid : 0;
}

int container_health_tick(struct container_health *h)
{
	int64_t left_ms;

	if (h->checker > 0) {
		if (waitpid(h->checker, NULL, WNOHANG) == 0)
			return REAP_MS;
		h->checker = 0;
		/* Docker counts from the end of the last one. */
		h->next_ns = proc_mono_ns() + interval_of(h->c);
	}
	left_ms = (h->next_ns - proc_mono_ns()) / 1000000;
	if (left_ms <= 0) {
		start_check(h);
		return REAP_MS;
	}
	return left_ms > TICK_MAX_MS ? TICK_MAX_MS : (int)left_ms + 1;
}

/* --- what came of it --- */

static json_t *read_file(const struct container *c)
{
	auto_free char *text = NULL;
	struct err ignored = { 0 };
	auto_fd int dir = -1;
	json_t *j = NULL;
	size_t len = 0;

	if (container_dir(c, &dir, &ignored) >= 0 &&
	    fd_read_file(dir, health_name, FILE_MAX, &text, &len, &ignored) >= 0)
		json_parse(text, len, &j, &ignored);
	return j;
}

json_t *container_health_json(const struct container *c)
{
	json_t *j;

	if (!container_has_health(c))
		return NULL;
	j = read_file(c);
	if (!j) {
		j = json_object();
		json_set_str(j, "Status", "starting");
		json_object_set_new(j, "FailingStreak", json_integer(0));
		json_object_set_new(j, "Log", json_array());
	}
	return j;
}

char *container_health_status(const struct container *c)
{
	auto_json json_t *j = NULL;

	if (c->state != CONTAINER_RUNNING || !container_has_health(c))
		return NULL;
	j = container_health_json(c);
	return mem_str(json_get_str(j, "Status"));
}

struct result {
	int64_t begin_ns;
	int code; /* TIMED_OUT */
	struct str output;
};

static void add_log(json_t *j, const struct result *r)
{
	auto_free char *begin = container_time_text(r->begin_ns);
	auto_free char *end = container_time_text(proc_now_ns());
	json_t *log = json_object_get(j, "Log"), *o = json_object();

	json_set_str(o, "Start", begin);
	json_set_str(o, "End", end);
	json_object_set_new(o, "ExitCode", json_integer(r->code));
	json_object_set_new(o, "Output", json_from_str(str_get(&r->output)));
	json_array_append_new(log, o);
	while (json_array_size(log) > LOG_MAX)
		json_array_remove(log, 0);
}

static int note(const struct container *c, const struct result *r, struct err *err)
{
	auto_json json_t *j = container_health_json(c);
	int64_t streak = json_get_int(j, "FailingStreak", 0);
	bool early = proc_now_ns() - c->started_ns < c->spec.health_start_ns &&
		     str_eq(json_get_str(j, "Status"), "starting");
	auto_free char *text = NULL, *before = mem_str(json_get_str(j, "Status"));
	auto_fd int dir = -1;
	int rc = container_dir_need(c, &dir, err);

	if (rc < 0)
		return rc;
	if (!json_is_array(json_object_get(j, "Log")))
		json_object_set_new(j, "Log", json_array());
	if (r->code != 0 && !early)
		streak++;
	if (r->code == 0)
		streak = 0;
	if (r->code == 0)
		json_set_str(j, "Status", "healthy");
	else if (streak >= or_default(c->spec.health_retries, RETRIES))
		json_set_str(j, "Status", "unhealthy");
	json_object_set_new(j, "FailingStreak", json_integer(streak));
	add_log(j, r);
	text = json_text(j);
	rc = fs_write_atomic(dir, health_name, text, strlen(text), false, err);
	if (rc >= 0 && !str_eq(json_get_str(j, "Status"), before))
		container_event_health(c, json_get_str(j, "Status"));
	return rc;
}

int container_health_check(struct runtime *rt, const char *id, struct err *err)
{
	auto_container struct container *c = NULL;
	struct container_exec x = { 0 };
	struct result r = { .begin_ns = proc_now_ns() };
	int rc = container_load(rt, id, &c, err);

	if (rc < 0 || !container_has_health(c) || c->state != CONTAINER_RUNNING || !c->pid)
		return rc;
	if (str_eq(c->spec.health.v[0], "CMD-SHELL")) {
		strv_add(&x.command, "/bin/sh");
		strv_add(&x.command, "-c");
	}
	for (size_t i = 1; i < c->spec.health.n; i++)
		strv_add(&x.command, c->spec.health.v[i]);
	rc = container_exec_captured(c, &x, or_default(c->spec.health_timeout_ns, 30 * SECOND_NS),
				     &r.output, &r.code, err);
	if (rc < 0) {
		str_addf(&r.output, "%s", err->msg);
		r.code = r.code ? r.code : CONTAINER_EXIT_SHALE;
	}
	strv_free(&x.command);
	err_clear(err);
	rc = note(c, &r, err);
	str_free(&r.output);
	return rc;
}
