/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <shale/base/proc.h>
#include <shale/container.h>

#include "priv.h"

extern const struct command cmd_stats;

struct stats_args {
	bool all, no_stream, no_trunc;
	const char *format;
};

#define OFF(field) offsetof(struct stats_args, field)
static const struct opt stats_opts[] = {
	{ 'a', "all", OPT_BOOL, OFF(all), NULL, "also those that do not run" },
	{ 0, "format", OPT_STR, OFF(format), "FORMAT", "table, json or a Go template" },
	{ 0, "no-stream", OPT_BOOL, OFF(no_stream), NULL, "once" },
	{ 0, "no-trunc", OPT_BOOL, OFF(no_trunc), NULL, "whole IDs" },
	{ 0 },
};

static const struct out_column columns[] = {
	{ "CONTAINER ID", "ID", false },    { "NAME", "Name", false },
	{ "CPU %", "CPUPerc", false },      { "MEM USAGE / LIMIT", "MemUsage", false },
	{ "MEM %", "MemPerc", false },      { "NET I/O", "NetIO", false },
	{ "BLOCK I/O", "BlockIO", false },  { "PIDS", "PIDs", false },
	{ "CONTAINER", "Container", true }, { NULL, NULL, false },
};

enum { SAMPLE_MS = 500, REFRESH_MS = 1000 };

struct sample {
	bool is_told;
	char id[CONTAINER_ID_LEN + 1];
	int64_t at_ns;
	uint64_t cpu_ns;
};

struct samples {
	struct cli *c;
	const struct stats_args *a;
	char **names; /* only these, unless empty */
	struct sample *v;
	size_t n, cap;
	json_t *rows; /* NULL: only the first look */
};

static struct sample *sample_of(struct samples *s, const char *id)
{
	for (size_t i = 0; i < s->n; i++)
		if (str_eq(s->v[i].id, id))
			return &s->v[i];
	mem_room(s->v, s->n, s->cap);
	s->v[s->n] = (struct sample){ .at_ns = 0 };
	snprintf(s->v[s->n].id, sizeof(s->v[s->n].id), "%s", id);
	return &s->v[s->n++];
}

static char *pair(uint64_t a, uint64_t b)
{
	auto_free char *x = out_size(a), *y = out_size(b);

	return mem_fmt("%s / %s", x, y);
}

static void add_row(struct samples *s, const struct container *ct,
		    const struct container_stats *now, double cpu)
{
	json_t *row = out_row_new();

	out_row_take(row, "ID",
		     mem_strn(ct->id, s->a->no_trunc ? CONTAINER_ID_LEN : CONTAINER_SHORT_LEN));
	out_row_set(row, "Container", ct->name);
	out_row_set(row, "Name", ct->name);
	out_row_take(row, "CPUPerc", mem_fmt("%.2f%%", cpu));
	out_row_take(row, "MemUsage", pair(now->memory_bytes, now->limit_bytes));
	out_row_take(row, "MemPerc",
		     mem_fmt("%.2f%%", now->limit_bytes ? 100.0 * (double)now->memory_bytes /
								  (double)now->limit_bytes
							: 0));
	out_row_take(row, "NetIO", pair(now->net_in_bytes, now->net_out_bytes));
	out_row_take(row, "BlockIO", pair(now->read_bytes, now->written_bytes));
	out_row_take(row, "PIDs", mem_fmt("%llu", (unsigned long long)now->pids));
	json_array_append_new(s->rows, row);
}

static int look(struct samples *s, struct container *ct, struct err *err)
{
	struct container_stats now = { 0 };
	struct sample *last = sample_of(s, ct->id);
	int64_t at = proc_mono_ns();
	double cpu = 0;
	int rc = ct->state == CONTAINER_RUNNING ? container_stats(ct, &now, err) : 0;

	if (rc == -EBUSY) { /* it has ended */
		err_clear(err);
		rc = 0;
	}
	if (rc < 0)
		return rc;
	if (last->at_ns && now.cpu_ns > last->cpu_ns)
		cpu = 100.0 * (double)(now.cpu_ns - last->cpu_ns) / (double)(at - last->at_ns);
	if (now.has_no_group && !last->is_told)
		fprintf(stderr,
			"shale: container %s has no control group, as it runs in the foreground "
			"without limits: its values are sums over its processes\n",
			ct->name);
	last->is_told = true;
	last->at_ns = at;
	last->cpu_ns = now.cpu_ns;
	if (s->rows)
		add_row(s, ct, &now, cpu);
	return 0;
}

static int look_at(struct container *ct, void *arg, struct err *err)
{
	struct samples *s = arg;

	return ct->state == CONTAINER_RUNNING || s->a->all ? look(s, ct, err) : 0;
}

static int look_all(struct samples *s, struct err *err)
{
	int rc = 0;

	if (!*s->names)
		return container_walk(&s->c->rt, look_at, s, err);
	for (char **name = s->names; rc >= 0 && *name; name++) {
		auto_container struct container *ct = NULL;

		rc = container_find(&s->c->rt, *name, &ct, err);
		if (rc >= 0)
			rc = look(s, ct, err);
	}
	return rc;
}

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

static int show(struct samples *s, struct err *err)
{
	auto_json json_t *rows = json_array();
	struct out_list out = { columns, s->a->format, NULL };
	int rc;

	s->rows = rows;
	rc = look_all(s, err);
	s->rows = NULL;
	if (rc >= 0 && !s->a->no_stream && isatty(STDOUT_FILENO))
		fputs("\033[H\033[J", stdout);
	if (rc >= 0)
		rc = out_list(&out, rows, err);
	if (rc >= 0 && fflush(stdout) != 0)
		rc = err_sys(err, "standard output");
	return rc;
}

static int stats_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct stats_args *a = args;
	struct samples s = { .c = c, .a = a, .names = argv };
	struct err err = { 0 };
	int rc = cli_open(c, &err);

	(void)argc;
	if (rc >= 0)
		rc = look_all(&s, &err);
	pause_ms(SAMPLE_MS);
	while (rc >= 0) {
		rc = show(&s, &err);
		if (rc < 0 || a->no_stream)
			break;
		pause_ms(REFRESH_MS);
	}
	free(s.v);
	return rc < 0 ? cli_fail(c, &err) : cli_done(c);
}

const struct command cmd_stats = {
	.name = "stats",
	.args = "[CONTAINER...]",
	.summary = "Show what containers use",
	.opts = stats_opts,
	.args_size = sizeof(struct stats_args),
	.main = stats_main,
	.max_args = -1,
	.complete = complete_containers,
};
