/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime_verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>
#include <shale/base/sys.h>

enum { FDS_MAX = 1024, INPUT_MAX = 1 << 20, COMMAND_MAX = 1 << 17 };

#define AT(field) offsetof(struct verb_args, field)
#define BUNDLE_OPTS                                                                                    \
	{ 'b', "bundle", OPT_STR, AT(io.bundle), "DIR", "where config.json is (.)" },                  \
		{ 0,      "console-socket",      OPT_STR, AT(io.console_socket),                       \
		  "PATH", "is sent the terminal" },                                                    \
		{ 0, "pid-file", OPT_STR, AT(io.pid_file), "FILE", "gets the pid" },                   \
		{ 0, "pidfd-socket", OPT_STR, AT(io.pidfd_socket), "PATH", "is sent the pidfd" },      \
		{ 0, "preserve-fds", OPT_STR, AT(preserve_fds), "N", "fds from 3 up that stay open" }, \
		{ 0,    "no-new-keyring",         OPT_BOOL, AT(io.no_new_keyring),                     \
		  NULL, "keep the session's keys" },                                                   \
	{                                                                                              \
		0, "no-pivot", OPT_BOOL, AT(ignored), NULL,                                            \
			"accepted: pivot_root always works here"                                       \
	}

static const struct opt create_opts[] = { BUNDLE_OPTS, { 0 } };
static const struct opt run_opts[] = {
	BUNDLE_OPTS,
	{ 'd', "detach", OPT_BOOL, AT(io.detach), NULL, "do not wait for its end" },
	{ 0, "keep", OPT_BOOL, AT(ignored), NULL, NULL },
	{ 0 },
};
static const struct opt exec_opts[] = {
	{ 'p', "process", OPT_STR, AT(exec.process_file), "FILE", "a process in JSON" },
	{ 0, "console-socket", OPT_STR, AT(io.console_socket), "PATH", "is sent the terminal" },
	{ 0, "pid-file", OPT_STR, AT(io.pid_file), "FILE", "gets the pid" },
	{ 0, "pidfd-socket", OPT_STR, AT(io.pidfd_socket), "PATH", "is sent the pidfd" },
	{ 0, "preserve-fds", OPT_STR, AT(preserve_fds), "N", "fds from 3 up that stay open" },
	{ 'd', "detach", OPT_BOOL, AT(io.detach), NULL, "do not wait for its end" },
	{ 't', "tty", OPT_BOOL, AT(exec.terminal), NULL, "with a terminal" },
	{ 0, "cwd", OPT_STR, AT(exec.cwd), "DIR", "working directory" },
	{ 'e', "env", OPT_STRV, AT(env), "NAME=VALUE", "environment" },
	{ 'u', "user", OPT_STR, AT(exec.user), "UID[:GID]", "whose it is" },
	{ 'g', "additional-gids", OPT_STRV, AT(exec.groups), "GID", "more groups" },
	{ 'c', "cap", OPT_STRV, AT(caps), "CAP", "more capabilities" },
	{ 0, "apparmor", OPT_STR, AT(exec.apparmor), "PROFILE", "appArmor profile" },
	{ 0, "process-label", OPT_STR, AT(exec.label), "LABEL", "SELinux label" },
	{ 0, "no-new-privs", OPT_BOOL, AT(no_new_privs), NULL, "no new privileges" },
	{ 0, "ignore-paused", OPT_BOOL, AT(exec.ignore_paused), NULL,
	  "also in a paused one: it waits there" },
	{ 0 },
};
static const struct opt list_opts[] = {
	{ 'f', "format", OPT_STR, AT(format), "FORMAT", "table or json" },
	{ 'q', "quiet", OPT_BOOL, AT(quiet), NULL, "ids only" },
	{ 0 },
};
static const struct opt kill_opts[] = {
	{ 'a', "all", OPT_BOOL, AT(all), NULL, "all processes of its group" },
	{ 0 },
};
static const struct opt delete_opts[] = {
	{ 'f', "force", OPT_BOOL, AT(force), NULL, "also one that runs; it is killed" },
	{ 0 },
};
static const struct opt events_opts[] = {
	{ 0, "stats", OPT_BOOL, AT(stats), NULL, "once, and no more" },
	{ 0, "interval", OPT_STR, AT(interval), "DURATION", "between two (5s)" },
	{ 0 },
};
static const struct opt update_opts[] = {
	{ 'r', "resources", OPT_STR, AT(resources), "FILE", "linux.resources in JSON; - is stdin" },
	{ 0, "blkio-weight", OPT_STR, AT(weight), "N", "10 to 1000" },
	{ 0, "cpu-period", OPT_STR, AT(cpu_period), "N", "microseconds" },
	{ 0, "cpu-quota", OPT_STR, AT(cpu_quota), "N", "microseconds" },
	{ 0, "cpu-burst", OPT_STR, AT(burst), "N", "microseconds" },
	{ 0, "cpu-share", OPT_STR, AT(cpu_shares), "N", "relative weight" },
	{ 0, "cpu-idle", OPT_STR, AT(idle), "N", "1: only when nothing else runs" },
	{ 0, "cpuset-cpus", OPT_STR, AT(cpus), "LIST", "CPUs" },
	{ 0, "cpuset-mems", OPT_STR, AT(mems), "LIST", "memory nodes" },
	{ 0, "memory", OPT_STR, AT(memory), "BYTES", "limit" },
	{ 0, "memory-reservation", OPT_STR, AT(reservation), "BYTES", "soft limit" },
	{ 0, "memory-swap", OPT_STR, AT(swap), "BYTES", "memory and swap; -1: no limit" },
	{ 0, "pids-limit", OPT_STR, AT(pids), "N", "processes; -1: no limit" },
	{ 0 },
};

/* Those below N are the program's, and LISTEN_FDS more of a service; all others are nobody's but
 * ours (CVE-2024-21626, TRAPS T14). */
static int take_fds(struct verb_args *a, struct err *err)
{
	const char *listen = getenv("LISTEN_FDS");
	uint64_t n = 0, more = 0;

	if (a->preserve_fds && str_to_u64(a->preserve_fds, 10, FDS_MAX, &n) < 0)
		return err_set(err, EINVAL, "--preserve-fds %s is not 0 to %d", a->preserve_fds,
			       FDS_MAX);
	if (listen && str_to_u64(listen, 10, FDS_MAX, &more) < 0)
		more = 0;
	n += more;
	for (unsigned fd = 3; fd < 3 + n; fd++)
		if (fcntl((int)fd, F_SETFD, 0) < 0)
			return err_sys(err, "--preserve-fds: fd %u", fd);
	a->io.preserve_fds = (unsigned)n;
	return 0;
}

static void filter_cache(const struct oci_runtime *r, struct verb_args *a, char **ret)
{
	struct err ignored;

	*ret = mem_fmt("%s/.filters", r->root);
	if (fs_mkdirs(*ret, 0700, &ignored) == 0)
		a->io.cache_dir = *ret;
}

static int verb_create(const struct oci_runtime *r, struct verb_args *a, char **words,
		       int *ret_code, struct err *err)
{
	auto_free char *cache = NULL;
	int rc = take_fds(a, err);

	(void)ret_code;
	filter_cache(r, a, &cache);
	return rc < 0 ? rc : oci_create(r, words[0], &a->io, err);
}

static int verb_run(const struct oci_runtime *r, struct verb_args *a, char **words, int *ret_code,
		    struct err *err)
{
	auto_free char *cache = NULL;
	int rc = take_fds(a, err);

	filter_cache(r, a, &cache);
	return rc < 0 ? rc : oci_run(r, words[0], &a->io, ret_code, err);
}

static int verb_start(const struct oci_runtime *r, struct verb_args *a, char **words, int *ret_code,
		      struct err *err)
{
	(void)a, (void)ret_code;
	return oci_start(r, words[0], err);
}

static int verb_exec(const struct oci_runtime *r, struct verb_args *a, char **words, int *ret_code,
		     struct err *err)
{
	auto_free char *cache = NULL;
	int rc = take_fds(a, err);

	if (rc < 0)
		return rc;
	if (!a->exec.process_file && !words[1])
		return err_set(err, EINVAL, "runtime exec: no command");
	filter_cache(r, a, &cache);
	a->exec.argv = words + 1;
	a->exec.env = &a->env;
	a->exec.caps = &a->caps;
	a->exec.no_new_privs = a->exec.no_new_privs_set = a->no_new_privs;
	return oci_exec(r, words[0], &a->exec, &a->io, ret_code, err);
}

static void print_json(json_t *j, bool indent)
{
	auto_free char *text = indent ? json_text_indent(j) : json_text(j);

	puts(text);
}

static int verb_state(const struct oci_runtime *r, struct verb_args *a, char **words, int *ret_code,
		      struct err *err)
{
	auto_json json_t *j = NULL;
	int rc = oci_state(r, words[0], &j, err);

	(void)a, (void)ret_code;
	if (rc == 0)
		print_json(j, true);
	return rc;
}

static int check_format(const struct verb_args *a, struct err *err)
{
	if (a->format && !str_eq(a->format, "json") && !str_eq(a->format, "table"))
		return err_set(err, EINVAL, "--format %s is not table or json", a->format);
	return 0;
}

static int verb_list(const struct oci_runtime *r, struct verb_args *a, char **words, int *ret_code,
		     struct err *err)
{
	auto_json json_t *list = NULL;
	int rc = check_format(a, err);
	json_t *one;
	size_t i;

	(void)words, (void)ret_code;
	if (rc == 0)
		rc = oci_list(r, &list, err);
	if (rc < 0)
		return rc;
	if (str_eq(a->format, "json") && !a->quiet) {
		print_json(list, false);
		return 0;
	}
	if (!a->quiet)
		printf("%-24s %-8s %-10s %-32s %s\n", "ID", "PID", "STATUS", "BUNDLE", "CREATED");
	json_array_foreach(list, i, one)
	{
		if (a->quiet)
			puts(json_get_str(one, "id"));
		else
			printf("%-24s %-8lld %-10s %-32s %s\n", json_get_str(one, "id"),
			       (long long)json_get_int(one, "pid", 0), json_get_str(one, "status"),
			       json_get_str(one, "bundle") ? json_get_str(one, "bundle") : "",
			       json_get_str(one, "created") ? json_get_str(one, "created") : "");
	}
	return 0;
}

/* The command of a process as /proc has it, what could steer a terminal left out. */
static void print_process(pid_t pid)
{
	auto_free char *path = mem_fmt("/proc/%d/cmdline", (int)pid);
	auto_free char *text = NULL;
	struct err ignored;
	size_t len = 0;

	if (fd_read_file(AT_FDCWD, path, COMMAND_MAX, &text, &len, &ignored) < 0)
		len = 0;
	for (size_t i = 0; i + 1 < len; i++)
		if (!text[i])
			text[i] = ' ';
	printf("%-8d ", (int)pid);
	out_clean(stdout, text ? text : "", false);
	putchar('\n');
}

static int verb_ps(const struct oci_runtime *r, struct verb_args *a, char **words, int *ret_code,
		   struct err *err)
{
	auto_json json_t *list = json_array();
	auto_free pid_t *pids = NULL;
	size_t n = 0;
	int rc = check_format(a, err);

	(void)ret_code;
	if (rc == 0)
		rc = oci_pids(r, words[0], &pids, &n, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_integer(pids[i]));
	if (str_eq(a->format, "json")) {
		print_json(list, false);
		return 0;
	}
	printf("%-8s CMD\n", "PID");
	for (size_t i = 0; i < n; i++)
		print_process(pids[i]);
	return 0;
}

static int verb_kill(const struct oci_runtime *r, struct verb_args *a, char **words, int *ret_code,
		     struct err *err)
{
	int sig = words[1] ? proc_signal_find(words[1]) : SIGTERM;

	(void)ret_code;
	if (sig <= 0 || sig >= NSIG)
		return err_set(err, EINVAL, "unknown signal %s", words[1]);
	return oci_kill(r, words[0], sig, a->all, err);
}

static int verb_delete(const struct oci_runtime *r, struct verb_args *a, char **words,
		       int *ret_code, struct err *err)
{
	(void)ret_code;
	return oci_delete(r, words[0], a->force, err);
}

static int verb_pause(const struct oci_runtime *r, struct verb_args *a, char **words, int *ret_code,
		      struct err *err)
{
	(void)a, (void)ret_code;
	return oci_pause(r, words[0], true, err);
}

static int verb_resume(const struct oci_runtime *r, struct verb_args *a, char **words,
		       int *ret_code, struct err *err)
{
	(void)a, (void)ret_code;
	return oci_pause(r, words[0], false, err);
}

static int read_resources(const char *path, json_t **ret, struct err *err)
{
	auto_free char *text = NULL;
	size_t len;
	int rc = str_eq(path, "-") ? fd_read_all(STDIN_FILENO, INPUT_MAX, &text, &len, err)
				   : fd_read_file(AT_FDCWD, path, INPUT_MAX, &text, &len, err);

	if (rc == 0)
		rc = json_parse(text, len, ret, err);
	return rc < 0 ? err_ctx(err, "--resources") : 0;
}

struct update_word {
	const char *name, *text, *group, *key;
	bool string, bytes;
};

static int add_word(json_t *to, const struct update_word *w, struct err *err)
{
	json_t *group = json_object_get(to, w->group);
	bool minus = w->text && *w->text == '-';
	uint64_t n = 0;

	if (!w->text)
		return 0;
	if (!group) {
		group = json_object();
		json_object_set_new(to, w->group, group);
	}
	if (w->string) {
		json_object_set_new(group, w->key, json_from_str(w->text));
		return 0;
	}
	if (minus ? !str_eq(w->text, "-1")
		  : (w->bytes ? str_to_bytes(w->text, &n)
			      : str_to_u64(w->text, 10, INT64_MAX, &n)) < 0)
		return err_set(err, EINVAL, "--%s: \"%s\" is no number", w->name, w->text);
	json_object_set_new(group, w->key, json_integer(minus ? -1 : (json_int_t)n));
	return 0;
}

static int verb_update(const struct oci_runtime *r, struct verb_args *a, char **words,
		       int *ret_code, struct err *err)
{
	const struct update_word table[] = {
		{ "cpu-period", a->cpu_period, "cpu", "period", false, false },
		{ "cpu-quota", a->cpu_quota, "cpu", "quota", false, false },
		{ "cpu-burst", a->burst, "cpu", "burst", false, false },
		{ "cpu-share", a->cpu_shares, "cpu", "shares", false, false },
		{ "cpu-idle", a->idle, "cpu", "idle", false, false },
		{ "cpuset-cpus", a->cpus, "cpu", "cpus", true, false },
		{ "cpuset-mems", a->mems, "cpu", "mems", true, false },
		{ "memory", a->memory, "memory", "limit", false, true },
		{ "memory-reservation", a->reservation, "memory", "reservation", false, true },
		{ "memory-swap", a->swap, "memory", "swap", false, true },
		{ "pids-limit", a->pids, "pids", "limit", false, false },
		{ "blkio-weight", a->weight, "blockIO", "weight", false, false },
	};
	auto_json json_t *j = NULL;
	int rc = 0;

	(void)ret_code;
	if (a->resources)
		rc = read_resources(a->resources, &j, err);
	else
		j = json_object();
	for (size_t i = 0; i < ARRAY_LEN(table) && rc == 0; i++)
		rc = add_word(j, &table[i], err);
	return rc < 0 ? rc : oci_update(r, words[0], j, err);
}

static int verb_events(const struct oci_runtime *r, struct verb_args *a, char **words,
		       int *ret_code, struct err *err)
{
	int64_t ns = 5000000000;
	int rc;

	(void)ret_code;
	if (a->interval && (str_to_duration(a->interval, &ns) < 0 || ns <= 0))
		return err_set(err, EINVAL, "--interval %s is no duration", a->interval);
	for (;;) {
		auto_json json_t *j = NULL;

		rc = oci_stats(r, words[0], &j, err);
		if (rc < 0)
			return rc;
		print_json(j, false);
		if (a->stats)
			return 0;
		fflush(stdout);
		nanosleep(&(struct timespec){ ns / 1000000000, ns % 1000000000 }, NULL);
	}
}

static int verb_features(const struct oci_runtime *r, struct verb_args *a, char **words,
			 int *ret_code, struct err *err)
{
	auto_json json_t *j = oci_features();

	(void)r, (void)a, (void)words, (void)ret_code, (void)err;
	print_json(j, true);
	return 0;
}

static int verb_spec(const struct oci_runtime *r, struct verb_args *a, char **words, int *ret_code,
		     struct err *err)
{
	const char *dir = a->io.bundle ? a->io.bundle : ".";
	auto_fd int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC), file = -1;
	auto_json json_t *j = oci_spec();
	auto_free char *text = json_text_indent(j);

	(void)r, (void)words, (void)ret_code;
	if (fd < 0)
		return err_sys(err, "%s", dir);
	file = openat(fd, "config.json", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (file < 0)
		return err_sys(err, "%s/config.json", dir);
	return fd_write_str(file, text, err);
}

static const struct opt spec_opts[] = {
	{ 'b', "bundle", OPT_STR, AT(io.bundle), "DIR", "where config.json goes (.)" },
	{ 0 },
};

const struct runtime_verb runtime_verbs[] = {
	{ "create", "ID", create_opts, verb_create, 1, 1, false },
	{ "start", "ID", NULL, verb_start, 1, 1, false },
	{ "run", "ID", run_opts, verb_run, 1, 1, false },
	{ "exec", "ID [COMMAND...]", exec_opts, verb_exec, 1, -1, true },
	{ "state", "ID", NULL, verb_state, 1, 1, false },
	{ "list", "", list_opts, verb_list, 0, 0, false },
	{ "ps", "ID", list_opts, verb_ps, 1, -1, false },
	{ "kill", "ID [SIGNAL]", kill_opts, verb_kill, 1, 2, false },
	{ "delete", "ID", delete_opts, verb_delete, 1, 1, false },
	{ "pause", "ID", NULL, verb_pause, 1, 1, false },
	{ "resume", "ID", NULL, verb_resume, 1, 1, false },
	{ "update", "ID", update_opts, verb_update, 1, 1, false },
	{ "events", "ID", events_opts, verb_events, 1, 1, false },
	{ "features", "", NULL, verb_features, 0, 0, false },
	{ "spec", "", spec_opts, verb_spec, 0, 0, false },
	{ 0 },
};
