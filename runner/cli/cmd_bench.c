/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/bench.h>

#include "priv.h"

extern const struct command cmd_bench;

enum { RUNS_FULL = 5, RUNS_SMALL = 3 };

struct bench_args {
	const char *drivers, *size, *format, *svg, *only;
	uint64_t runs;
};

#define OFF(field) offsetof(struct bench_args, field)
static const struct opt bench_cli_opts[] = {
	{ 0, "drivers", OPT_STR, OFF(drivers), "LIST",
	  "separated by commas (overlay,fuse-overlayfs,copy)" },
	{ 0, "size", OPT_STR, OFF(size), "SIZE", "full (default) or small" },
	{ 0, "runs", OPT_U64, OFF(runs), "N", "counted rounds (5; small: 3)" },
	{ 0, "only", OPT_STR, OFF(only), "WORK", "just this one" },
	{ 0, "format", OPT_STR, OFF(format), "FORMAT", "table or json" },
	{ 0, "svg", OPT_STR, OFF(svg), "FILE", "also draw a chart (gnuplot)" },
	{ 0 },
};
#undef OFF

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	interrupted = sig;
}

static void catch_signals(void)
{
	static const int sigs[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction sa = { .sa_handler = on_signal };

	for (size_t i = 0; i < ARRAY_LEN(sigs); i++)
		sigaction(sigs[i], &sa, NULL);
}

struct shown {
	unsigned round, runs;
	bool is_tty, has_begun;
};

static void show(unsigned round, const char *work, const char *driver, void *arg)
{
	struct shown *s = arg;

	/* A line a round where nobody watches. */
	if (!s->is_tty && s->has_begun && round == s->round)
		return;
	s->has_begun = true;
	s->round = round;
	if (s->is_tty)
		fputs("\r\033[K", stderr);
	if (round)
		fprintf(stderr, "round %u of %u", round, s->runs);
	else
		fprintf(stderr, "warming up for %u rounds", s->runs);
	if (s->is_tty)
		fprintf(stderr, ": %s, %s", work, driver);
	else
		fputc('\n', stderr);
}

static int parse_drivers(const char *list, unsigned *ret, struct err *err)
{
	auto_strv struct strv words = { 0 };
	int rc = 0;

	if (!list) {
		*ret = (1u << SNAP_DRIVERS) - 1;
		return 0;
	}
	strv_split(&words, list, ',');
	for (size_t i = 0; rc >= 0 && i < words.n; i++) {
		enum snap_driver d;

		rc = snap_driver_find(words.v[i], &d, err);
		if (rc >= 0)
			*ret |= 1u << d;
	}
	if (rc >= 0 && !words.n)
		return err_set(err, EINVAL, "--drivers: which?");
	return rc;
}

static int parse(const struct bench_args *a, struct bench_opts *o, struct err *err)
{
	if (a->size && !str_eq(a->size, "small") && !str_eq(a->size, "full"))
		return err_set(err, EINVAL, "--size %s: small or full", a->size);
	if (a->format && !str_eq(a->format, "json") && !str_eq(a->format, "table"))
		return err_set(err, EINVAL, "--format %s: table or json", a->format);
	if (a->runs > BENCH_RUNS_MAX)
		return err_set(err, EINVAL, "--runs: at most %d", BENCH_RUNS_MAX);
	o->is_small = str_eq(a->size, "small");
	o->runs = a->runs ? (unsigned)a->runs : o->is_small ? RUNS_SMALL : RUNS_FULL;
	o->only = a->only;
	return parse_drivers(a->drivers, &o->drivers, err);
}

/* Three digits. */
static void add_time(struct str *to, int64_t ns)
{
	double s = (double)ns / 1e9;

	if (s >= 1)
		str_addf(to, "%.*f s", s < 10 ? 2 : 1, s);
	else if (s >= 1e-3)
		str_addf(to, "%.*f ms", s < 0.01 ? 2 : s < 0.1 ? 1 : 0, s * 1e3);
	else
		str_addf(to, "%.0f us", s * 1e6);
}

static char *cell_text(const struct bench_cell *c, const struct bench_cell *base)
{
	auto_str struct str t = { 0 };

	if (!c->n)
		return mem_str("n/a");
	add_time(&t, c->median_ns);
	str_addf(&t, " \u00b1%.0f%%",
		 c->median_ns ? (double)(c->max_ns - c->min_ns) * 50 / (double)c->median_ns : 0);
	if (base != c && base->n && base->median_ns)
		str_addf(&t, ", %.3gx", (double)c->median_ns / (double)base->median_ns);
	str_add(&t, ", cpu ");
	add_time(&t, c->cpu_ns);
	if (c->daemon_ns) {
		str_add(&t, "+");
		add_time(&t, c->daemon_ns);
	}
	return str_take(&t);
}

static int print_table(const struct bench_report *r, struct err *err)
{
	struct out_column cols[SNAP_DRIVERS + 2] = { { .header = "WORK", .key = "Work" } };
	struct out_list list = { .cols = cols };
	auto_json json_t *rows = json_array();
	size_t n = 1;
	unsigned base = SNAP_DRIVERS;

	for (unsigned d = 0; d < SNAP_DRIVERS; d++)
		if (r->drivers & 1u << d) {
			const char *name = snap_driver_name((enum snap_driver)d);

			base = base < d ? base : d;
			cols[n++] = (struct out_column){ .header = name, .key = name };
		}
	for (size_t i = 0; i < r->n; i++) {
		json_t *row = out_row_new();

		out_row_set(row, "Work", r->rows[i].text);
		for (unsigned d = 0; d < SNAP_DRIVERS; d++)
			out_row_take(row, snap_driver_name((enum snap_driver)d),
				     cell_text(&r->rows[i].cell[d], &r->rows[i].cell[base]));
		json_array_append_new(rows, row);
	}
	return out_list(&list, rows, err);
}

static void tell_missing(const struct bench_report *r)
{
	for (size_t i = 0; i < r->n; i++)
		for (unsigned d = 0; d < SNAP_DRIVERS; d++)
			if (r->drivers & 1u << d && !r->rows[i].cell[d].n)
				fprintf(stderr, "%s on %s: n/a: %s\n", r->rows[i].name,
					snap_driver_name((enum snap_driver)d),
					r->rows[i].cell[d].missing);
}

static int print_json(const struct bench_report *r)
{
	auto_json json_t *o = bench_json(r);
	auto_free char *text = json_text_indent(o);

	puts(text);
	return 0;
}

static int draw(const struct bench_report *r, const char *path, struct err *err)
{
	auto_fd int fd = out_create_file(path, err);
	int rc = fd < 0 ? fd_take(&fd) : bench_svg(r, fd, err);

	return rc < 0 ? err_ctx(err, "--svg %s", path) : 0;
}

static int bench_main(struct cli *c, void *args, int argc, char **argv)
{
	auto_bench_report struct bench_report r = { 0 };
	const struct bench_args *a = args;
	struct shown shown = { .is_tty = isatty(STDERR_FILENO) };
	char program[4096];
	ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
	struct bench_opts o = { .program = program,
				.progress = show,
				.progress_arg = &shown,
				.interrupted = &interrupted };
	struct err err = { 0 };
	int rc;

	(void)argc;
	(void)argv;
	program[n < 0 ? 0 : n] = 0;
	if (parse(a, &o, &err) < 0)
		return cli_usage(c, &err);
	shown.runs = o.runs;
	rc = cli_open(c, &err);
	if (rc < 0)
		return cli_fail(c, &err);
	catch_signals();
	o.root_fd = c->rt.root_fd;
	rc = bench_run(&o, &r, &err);
	if (shown.is_tty)
		fputs("\r\033[K", stderr);
	if (rc >= 0)
		rc = str_eq(a->format, "json") ? print_json(&r) : print_table(&r, &err);
	if (rc >= 0)
		tell_missing(&r);
	if (rc >= 0 && a->svg)
		rc = draw(&r, a->svg, &err);
	if (rc < 0) {
		cli_fail(c, &err);
		return rc == -EINTR && interrupted ? 128 + interrupted : 1;
	}
	return cli_done(c);
}

const struct command cmd_bench = {
	.name = "bench",
	.args = "",
	.summary = "Compare the drivers on this host",
	.opts = bench_cli_opts,
	.args_size = sizeof(struct bench_args),
	.main = bench_main,
};
