/* SPDX-License-Identifier: Apache-2.0 */
/* Figures as JSON and as a chart. */
#include <shale/bench.h>

#include <errno.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/json.h>
#include <shale/base/proc.h>
#include <shale/base/sys.h>

#include "priv.h"

static double ms(int64_t ns)
{
	int64_t us = ns / 1000; /* as precise as makes sense */

	return (double)us / 1e3;
}

static json_t *cell_json(const struct bench_row *row, unsigned d)
{
	const struct bench_cell *c = &row->cell[d];
	json_t *o = json_object();

	json_object_set_new(o, "work", json_string(row->name));
	json_object_set_new(o, "text", json_string(row->text));
	json_object_set_new(o, "driver", json_string(snap_driver_name((enum snap_driver)d)));
	if (!c->n) {
		json_object_set_new(o, "missing", json_from_str(c->missing));
		return o;
	}
	json_object_set_new(o, "samples", json_integer((json_int_t)c->n));
	json_object_set_new(o, "medianMs", json_real(ms(c->median_ns)));
	json_object_set_new(o, "minMs", json_real(ms(c->min_ns)));
	json_object_set_new(o, "maxMs", json_real(ms(c->max_ns)));
	json_object_set_new(o, "cpuMs", json_real(ms(c->cpu_ns)));
	json_object_set_new(o, "daemonCpuMs", json_real(ms(c->daemon_ns)));
	return o;
}

json_t *bench_json(const struct bench_report *r)
{
	json_t *o = json_object(), *results = json_array(), *drivers = json_array();
	struct utsname host;

	if (uname(&host) == 0)
		json_object_set_new(o, "kernel", json_from_str(host.release));
	json_object_set_new(o, "cpus", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
	json_object_set_new(o, "size", json_string(r->is_small ? "small" : "full"));
	json_object_set_new(o, "runs", json_integer(r->runs));
	for (unsigned d = 0; d < SNAP_DRIVERS; d++)
		if (r->drivers & 1u << d)
			json_array_append_new(drivers,
					      json_string(snap_driver_name((enum snap_driver)d)));
	for (size_t i = 0; i < r->n; i++)
		for (unsigned d = 0; d < SNAP_DRIVERS; d++)
			if (r->drivers & 1u << d)
				json_array_append_new(results, cell_json(&r->rows[i], d));
	json_object_set_new(o, "drivers", drivers);
	json_object_set_new(o, "results", results);
	return o;
}

/* --- the chart --- */

static const char *gnuplot(void)
{
	static const char *const places[] = { "/usr/bin/gnuplot", "/usr/bin/gnuplot-nox",
					      "/usr/local/bin/gnuplot" };

	for (size_t i = 0; i < ARRAY_LEN(places); i++)
		if (access(places[i], X_OK) == 0)
			return places[i];
	return NULL;
}

static unsigned first_driver(const struct bench_report *r)
{
	unsigned d = 0;

	while (d + 1 < SNAP_DRIVERS && !(r->drivers & 1u << d))
		d++;
	return d;
}

/* "-" is what gnuplot is told to take for nothing. */
static void add_ratio(struct str *to, const struct bench_cell *c, int64_t ns,
		      const struct bench_cell *base)
{
	if (c->n && base->n && base->median_ns && ns)
		str_addf(to, " %.4f", (double)ns / (double)base->median_ns);
	else
		str_add(to, " -");
}

static void add_data(struct str *to, const struct bench_report *r)
{
	unsigned base = first_driver(r);

	str_add(to, "$data << EOD\n");
	for (size_t i = 0; i < r->n; i++) {
		const struct bench_row *row = &r->rows[i];

		str_addf(to, "%s", row->name);
		for (unsigned d = 0; d < SNAP_DRIVERS; d++) {
			const struct bench_cell *c = &row->cell[d];

			if (!(r->drivers & 1u << d))
				continue;
			add_ratio(to, c, c->median_ns, &row->cell[base]);
			add_ratio(to, c, c->min_ns, &row->cell[base]);
			add_ratio(to, c, c->max_ns, &row->cell[base]);
		}
		str_add(to, "\n");
	}
	str_add(to, "EOD\n");
}

static void add_script(struct str *to, const struct bench_report *r)
{
	static const char *const colors[SNAP_DRIVERS] = { "#2b6cb0", "#dd8a2e", "#7a7f87" };
	const char *base = snap_driver_name((enum snap_driver)first_driver(r));
	unsigned column = 2;

	str_addf(
		to,
		"set terminal svg size 1100,520 dynamic font 'sans-serif,13' background '#ffffff'\n"
		"set title 'Time on each driver, %s = 1 (median of %u, whiskers from least to most)'\n"
		"set datafile missing '-'\nset style data histograms\n"
		"set style histogram errorbars gap 1 lw 1\nset style fill solid 0.9 noborder\n"
		"set boxwidth 0.9\nset logscale y\nset grid y lc rgb '#dddddd'\n"
		"set ylabel 'times the time of %s'\nset xtics rotate by -30 nomirror\n"
		"set key outside right top\nset errorbars small lc rgb '#333333'\nset yrange [*:*]\nplot ",
		base, r->runs, base);
	for (unsigned d = 0; d < SNAP_DRIVERS; d++) {
		if (!(r->drivers & 1u << d))
			continue;
		str_addf(to, "%s$data using %u:%u:%u%s title '%s' lc rgb '%s'",
			 column > 2 ? ", " : "", column, column + 1, column + 2,
			 column > 2 ? "" : ":xtic(1)", snap_driver_name((enum snap_driver)d),
			 colors[d]);
		column += 3;
	}
	str_add(to, "\n");
}

int bench_svg(const struct bench_report *r, int out_fd, struct err *err)
{
	char name[] = "gnuplot", quiet[] = "-d", from[] = "-";
	char *argv[] = { name, quiet, from, NULL };
	const char *program = gnuplot();
	auto_str struct str script = { 0 };
	auto_fd int in = -1;
	int rc, code;
	pid_t pid;

	if (!program) {
		err_set(err, ENOENT, "gnuplot, which draws the chart, is not installed");
		return err_hint(err, "install the package gnuplot-nox");
	}
	add_data(&script, r);
	add_script(&script, r);
	in = sys_memfd_create("gnuplot", 1 /* MFD_CLOEXEC */);
	if (in < 0)
		return err_sys(err, "memfd");
	rc = fd_write_all(in, script.s, script.len, err);
	if (rc >= 0 && lseek(in, 0, SEEK_SET) < 0)
		rc = err_sys(err, "rewind");
	pid = rc < 0 ? rc : proc_spawn(program, argv, (int[]){ in, out_fd, 2 }, err);
	rc = pid < 0 ? pid : proc_wait(pid, &code, err);
	if (rc < 0)
		return rc;
	return code ? err_set(err, ECHILD, "gnuplot ended with exit code %d", code) : 0;
}
