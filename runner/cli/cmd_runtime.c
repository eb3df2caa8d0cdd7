/* SPDX-License-Identifier: Apache-2.0 */
/* The OCI runtime's command line, as runc's callers use it: global options, a verb, its options. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/proc.h>

#include "runtime_verbs.h"

extern const struct command cmd_runtime;

#define RUNTIME_ROOT "/run/shale/runtime"

struct runtime_args {
	const char *root, *log, *log_format, *log_level, *rootless, *criu;
	bool systemd_cgroup, debug, version;
};

#define AT(field) offsetof(struct runtime_args, field)
static const struct opt runtime_opts[] = {
	{ 0, "root", OPT_STR, AT(root), "DIR", "where states are kept (" RUNTIME_ROOT ")" },
	{ 0, "log", OPT_STR, AT(log), "FILE", "where failures are told as well" },
	{ 0, "log-format", OPT_STR, AT(log_format), "FORMAT", "text or json" },
	{ 0, "log-level", OPT_STR, AT(log_level), "LEVEL", NULL },
	{ 0, "systemd-cgroup", OPT_BOOL, AT(systemd_cgroup), NULL,
	  "groups are scopes of systemd (cgroupsPath slice:prefix:name)" },
	{ 0, "debug", OPT_BOOL, AT(debug), NULL, "told of what is passed over, too" },
	{ 0, "rootless", OPT_STR, AT(rootless), "WORD", NULL },
	{ 0, "criu", OPT_STR, AT(criu), "PROGRAM", NULL },
	{ 'v', "version", OPT_BOOL, AT(version), NULL, "print the version" },
	{ 0 },
};
#undef AT

static const struct runtime_args *given;

static void log_line(const char *level, const char *text)
{
	auto_json json_t *j = NULL;
	auto_free char *line = NULL;
	char when[32];
	time_t now = time(NULL);
	struct tm tm;
	auto_fd int fd = -1;
	struct err ignored;

	if (!given->log || !*given->log)
		return;
	fd = open(given->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0644);
	if (fd < 0)
		return;
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
	j = json_object();
	json_set_str(j, "level", level);
	json_set_str(j, "msg", text);
	json_set_str(j, "time", when);
	if (str_eq(given->log_format, "json")) {
		auto_free char *one = json_text(j);

		line = mem_fmt("%s\n", one);
	} else {
		line = mem_fmt("time=\"%s\" level=%s msg=\"%s\"\n", when, level, text);
	}
	fd_write_str(fd, line, &ignored);
}

static void warn(const char *text)
{
	log_line("warning", text);
}

static int failed(struct cli *c, const struct err *err)
{
	log_line("error", err->msg);
	return cli_fail(c, err);
}

static const struct runtime_verb *find_verb(const char *name)
{
	for (const struct runtime_verb *v = runtime_verbs; v->name; v++)
		if (str_eq(v->name, name))
			return v;
	return NULL;
}

static int run_verb(struct cli *c, const struct runtime_verb *v, const struct oci_runtime *r,
		    int argc, char **argv)
{
	auto_free void *args = mem_alloc(sizeof(struct verb_args));
	struct opt_parse p = { v->opts, args, v->stop_at_arg, false };
	struct err err = { 0 };
	int code = 0, rc = opt_parse(&p, &argc, argv, &err);

	if (p.help) {
		auto_str struct str text = { 0 };

		if (v->opts)
			opt_help(v->opts, &text);
		printf("usage: shale runtime %s [OPTION...] %s\n%s", v->name, v->args,
		       str_get(&text));
		return cli_done(c);
	}
	if (rc >= 0 && (argc < v->min_args || (v->max_args >= 0 && argc > v->max_args)))
		rc = err_set(&err, EINVAL, "runtime %s: usage: runtime %s [OPTION...] %s", v->name,
			     v->name, v->args);
	if (rc >= 0)
		rc = v->main(r, args, argv, &code, &err);
	if (v->opts)
		opt_free(v->opts, args);
	if (rc < 0)
		return failed(c, &err);
	return code ? code : cli_done(c);
}

static int runtime_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct runtime_args *a = args;
	const struct runtime_verb *v;
	struct oci_runtime r = { .root = a->root && *a->root ? a->root : RUNTIME_ROOT,
				 .systemd_cgroup = a->systemd_cgroup,
				 .warn = warn };
	struct err err = { 0 };

	given = a;
	if (a->version) {
		printf("shale-runtime version %s\nspec: %s\n", shale_version, OCI_VERSION);
		return cli_done(c);
	}
	if (a->log_format && !str_eq(a->log_format, "text") && !str_eq(a->log_format, "json")) {
		err_set(&err, EINVAL, "--log-format %s is not text or json", a->log_format);
		return failed(c, &err);
	}
	v = argc ? find_verb(argv[0]) : NULL;
	if (!v) {
		err_set(&err, EINVAL,
			"runtime: unknown verb \"%.32s\" (create, start, run, exec, "
			"state, list, ps, kill, delete, pause, resume, update, events, "
			"features or spec)",
			argc ? argv[0] : "");
		return failed(c, &err);
	}
	return run_verb(c, v, &r, argc - 1, argv + 1);
}

const struct command cmd_runtime = {
	.name = "runtime",
	.args = "VERB...",
	.summary = "Be the OCI runtime that others call",
	.opts = runtime_opts,
	.args_size = sizeof(struct runtime_args),
	.main = runtime_main,
	.min_args = 0,
	.max_args = -1,
	.flags = CMD_STOP_AT_ARG,
};
