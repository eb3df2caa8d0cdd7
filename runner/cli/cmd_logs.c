/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include <shale/base/proc.h>
#include <shale/build.h>
#include <shale/container.h>

#include "priv.h"

extern const struct command cmd_logs;

struct logs_args {
	bool follow, timestamps, details;
	const char *tail, *since, *until;
};

static const struct opt logs_opts[] = {
	{ 'f', "follow", OPT_BOOL, offsetof(struct logs_args, follow), NULL,
	  "go on until the container ends" },
	{ 'n', "tail", OPT_STR, offsetof(struct logs_args, tail), "N",
	  "only the last N lines (default all)" },
	{ 't', "timestamps", OPT_BOOL, offsetof(struct logs_args, timestamps), NULL,
	  "with the time of each line" },
	{ 0, "since", OPT_STR, offsetof(struct logs_args, since), "TIME",
	  "lines from a time (2026-01-02T03:04:05) or age (10m) on" },
	{ 0, "details", OPT_BOOL, offsetof(struct logs_args, details), NULL, NULL },
	{ 0, "until", OPT_STR, offsetof(struct logs_args, until), "TIME",
	  "lines up to a time or age" },
	{ 0 },
};

/* "25Z": nanoseconds. */
static int64_t fraction(const char *digits)
{
	int64_t ns = 0, unit = 100000000;

	for (; *digits >= '0' && *digits <= '9'; digits++, unit /= 10)
		ns += (*digits - '0') * unit;
	return ns;
}

/* An age as "42m", unix seconds, or RFC 3339 in UTC with as much of it as is given. */
int cli_when(const char *s, int64_t *ret_ns, struct err *err)
{
	static const char *const forms[] = { "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d" };
	uint64_t seconds;
	int64_t age;

	if (str_to_u64(s, 10, INT64_MAX / 1000000000, &seconds) == 0) {
		*ret_ns = (int64_t)seconds * 1000000000;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		struct tm tm = { 0 };
		const char *rest = strptime(s, forms[i], &tm);

		if (!rest || (*rest && *rest != 'Z' && *rest != '.'))
			continue;
		*ret_ns = (int64_t)timegm(&tm) * 1000000000;
		if (*rest == '.')
			*ret_ns += fraction(rest + 1);
		return 0;
	}
	if (str_to_duration(s, &age) < 0)
		return err_set(err, EINVAL, "'%s' is neither a time nor an age", s);
	*ret_ns = proc_now_ns() - age;
	return 0;
}

static int parse_opts(const struct logs_args *a, struct container_log_opts *ret, struct err *err)
{
	uint64_t tail;
	int rc = 0;

	ret->follow = a->follow;
	ret->tail = -1;
	if (a->tail && !str_eq(a->tail, "all") && !str_eq(a->tail, "-1")) {
		if (str_to_u64(a->tail, 10, INT64_MAX, &tail) < 0)
			return err_set(err, EINVAL, "'%s' is no number of lines", a->tail);
		ret->tail = (int64_t)tail;
	}
	if (a->since)
		rc = cli_when(a->since, &ret->since_ns, err);
	if (rc >= 0 && a->until)
		rc = cli_when(a->until, &ret->until_ns, err);
	return rc;
}

static int print_line(const struct container_log_line *line, void *arg, struct err *err)
{
	const struct logs_args *a = arg;
	FILE *to = line->is_stderr ? stderr : stdout;

	/* stdout is buffered, stderr is not: what came first goes out first. */
	if (line->is_stderr)
		fflush(stdout);
	if (a->timestamps)
		fprintf(to, "%s ", line->time);
	fwrite(line->text, 1, line->len, to);
	if (a->follow)
		fflush(to);
	return ferror(to) ? err_set(err, EPIPE, "write") : 0;
}

static bool is_build(struct cli *c, const char *name)
{
	auto_build_record struct build_record r = { 0 };
	struct err ignored = { 0 };

	return build_record_find(&c->rt, name, &r, &ignored) >= 0;
}

static int logs_main(struct cli *c, void *args, int argc, char **argv)
{
	auto_container struct container *ct = NULL;
	struct container_log_opts o = { 0 };
	struct err err = { 0 };
	int rc;

	if (parse_opts(args, &o, &err) < 0)
		return cli_usage(c, &err);
	if (cli_open(c, &err) < 0)
		return cli_fail(c, &err);
	if (argc == 2 || *argv[0] == '@')
		return logs_of_build(c, argv[0], argv[1], o.follow);
	rc = container_find(&c->rt, argv[0], &ct, &err);
	if (rc == -ENOENT && is_build(c, argv[0]))
		return logs_of_build(c, argv[0], NULL, o.follow);
	if (rc >= 0)
		rc = container_logs(ct, &o, print_line, args, &err);
	return rc < 0 ? cli_fail(c, &err) : cli_done(c);
}

static void complete_logs(struct cli *c, const char *prefix)
{
	complete_containers(c, prefix);
	complete_builds(c, prefix);
}

const struct command cmd_logs = {
	.name = "logs",
	.args = "CONTAINER|BUILD [STEP]",
	.summary = "Show what a container, or a build's RUN steps, wrote",
	.opts = logs_opts,
	.args_size = sizeof(struct logs_args),
	.main = logs_main,
	.min_args = 1,
	.max_args = 2,
	.complete = complete_logs,
};
