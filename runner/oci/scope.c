/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's group as a scope of systemd's, delegated to the container. systemd makes none
 * without a process, and a container's process is born in its group: another one waits in it until
 * then.
 *
 * What systemd is told of limits is what it would write anew (on daemon-reload, or when a sibling
 * changes); that all of them are in force is seen to by the files, as without it. Here is decided
 * what it is told; shale-scope tells it.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/proc.h>
#include <shale/base/sys.h>
#include <shale/scope.h>

#include "priv.h"

enum {
	UNIT_NAME_MAX = 255,
	CPUS_MAX = 8192,
	PERIOD_US = 100000,
	PERCENT_US = 10000,
	ANSWER_MAX = 64 << 10,
};

#define ANNOTATION "org.systemd.property."

/* --- names --- */

static bool is_unit_name(const char *s)
{
	static const char ok[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\";

	return *s && !s[strspn(s, ok)] && strlen(s) <= UNIT_NAME_MAX;
}

int oci_scope_name(struct oci_config *c, const char *path, const char *id, struct err *err)
{
	auto_strv struct strv parts = { 0 };
	auto_free char *fallback = mem_fmt(":shale:%s", id);

	if (!path || !*path)
		path = fallback;
	strv_split(&parts, path, ':');
	if (parts.n != 3)
		return err_set(err, EINVAL,
			       "linux.cgroupsPath %s is not slice:prefix:name, as --systemd-cgroup "
			       "wants it",
			       path);
	c->slice = mem_str(*parts.v[0] ? parts.v[0] : "system.slice");
	c->unit = *parts.v[1] ? mem_fmt("%s-%s.scope", parts.v[1], parts.v[2])
			      : mem_fmt("%s.scope", parts.v[2]);
	if (str_ends(parts.v[2], ".slice"))
		return err_set(err, ENOTSUP,
			       "linux.cgroupsPath %s: a container is a scope, no slice", path);
	if (!str_ends(c->slice, ".slice") || !is_unit_name(c->slice))
		return err_set(err, EINVAL, "linux.cgroupsPath %s: %s is no name of a slice", path,
			       c->slice);
	if (!*parts.v[2] || !is_unit_name(c->unit))
		return err_set(err, EINVAL, "linux.cgroupsPath %s: %s is no name of a scope", path,
			       c->unit);
	return 0;
}

/* --- properties --- */

static void add(json_t *to, const char *name, const char *signature, json_t *value)
{
	json_array_append_new(to, json_pack("[s,s,o]", name, signature, value));
}

static json_t *number(uint64_t n)
{
	return json_integer((json_int_t)n);
}

/* "0-2,5" as bits of bytes; what the kernel would not take is left to its file to tell. */
static void add_cpus(json_t *to, const char *name, const char *list)
{
	auto_json json_t *bytes = json_array();
	uint8_t bits[CPUS_MAX / 8] = { 0 };
	unsigned long last = 0;

	for (const char *s = list; *s;) {
		char *end;
		unsigned long from = strtoul(s, &end, 10), until = from;

		if (*end == '-')
			until = strtoul(end + 1, &end, 10);
		if (end == s || from > until || until >= CPUS_MAX || (*end && *end != ','))
			return;
		for (; from <= until; from++)
			bits[from / 8] |= (uint8_t)(1 << from % 8);
		last = until > last ? until : last;
		s = *end ? end + 1 : end;
	}
	for (size_t i = 0; i <= last / 8; i++)
		json_array_append_new(bytes, number(bits[i]));
	add(to, name, "ay", take(bytes));
}

/* A file of a group, and what systemd calls it. */
static const struct {
	const char *file, *name;
	bool list;
} known[] = {
	{ "memory.max", "MemoryMax", false },
	{ "memory.high", "MemoryHigh", false },
	{ "memory.low", "MemoryLow", false },
	{ "memory.min", "MemoryMin", false },
	{ "memory.swap.max", "MemorySwapMax", false },
	{ "memory.limit_in_bytes", "MemoryLimit", false },
	{ "pids.max", "TasksMax", false },
	{ "cpu.weight", "CPUWeight", false },
	{ "cpu.shares", "CPUShares", false },
	{ "cpuset.cpus", "AllowedCPUs", true },
	{ "cpuset.mems", "AllowedMemoryNodes", true },
};

struct quota {
	bool set;
	uint64_t quota, period;
};

static uint64_t amount(const char *text)
{
	return *text == 'm' || *text == '-' ? UINT64_MAX : strtoull(text, NULL, 10);
}

static bool take_quota(struct quota *q, const struct sandbox_cgroup_write *w)
{
	const char *blank = strchr(w->value, ' ');

	if (strcmp(w->file, "cpu.max") == 0) {
		q->quota = amount(w->value);
		q->period = blank ? amount(blank + 1) : PERIOD_US;
	} else if (strcmp(w->file, "cpu.cfs_quota_us") == 0) {
		q->quota = amount(w->value);
	} else if (strcmp(w->file, "cpu.cfs_period_us") == 0) {
		q->period = amount(w->value);
	} else {
		return false;
	}
	q->set = true;
	return true;
}

/* systemd keeps whole percents: rounded up, as it would refuse less than what is in force. */
static void add_quota(json_t *to, const struct quota *q)
{
	uint64_t us = UINT64_MAX;

	if (!q->set || !q->period || q->period > UINT32_MAX)
		return;
	if (q->quota < UINT32_MAX)
		us = (q->quota * 1000000 / q->period + PERCENT_US - 1) / PERCENT_US * PERCENT_US;
	add(to, "CPUQuotaPeriodUSec", "t", number(q->period));
	add(to, "CPUQuotaPerSecUSec", "t", number(us));
}

void oci_scope_limits(json_t *to, const struct sandbox_cgroup_write *w, size_t n)
{
	struct quota q = { false, UINT64_MAX, PERIOD_US };

	for (size_t i = 0; i < n; i++) {
		if (take_quota(&q, &w[i]))
			continue;
		for (size_t k = 0; k < ARRAY_LEN(known); k++) {
			if (strcmp(known[k].file, w[i].file) != 0)
				continue;
			if (known[k].list)
				add_cpus(to, known[k].name, w[i].value);
			else
				add(to, known[k].name, "t", number(amount(w[i].value)));
		}
	}
	add_quota(to, &q);
}

/* A whole number in the words of GVariant. */
static bool add_number(json_t *to, const char *name, const char *text)
{
	static const struct {
		const char *word, *signature;
		uint64_t max;
	} kinds[] = { { "uint64 ", "t", UINT64_MAX },
		      { "uint32 ", "u", UINT32_MAX },
		      { "int32 ", "i", INT32_MAX },
		      { "", "i", INT32_MAX } };
	uint64_t n;

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		const char *digits = text + strlen(kinds[i].word);

		if (!str_starts(text, kinds[i].word) ||
		    str_to_u64(digits, 10, kinds[i].max, &n) < 0)
			continue;
		add(to, name, kinds[i].signature, number(n));
		return true;
	}
	return false;
}

/* true, false, 'text', "text" or [texts]: JSON but for the single quotes. */
static bool add_words(json_t *to, const char *name, const char *text)
{
	auto_free char *list = mem_fmt("[%s]", text);
	auto_json json_t *values = NULL;
	const char *signature = NULL;
	struct err ignored;
	json_t *v, *one;
	size_t i;

	for (char *p = strchr(list, '"') ? NULL : list; p && (p = strchr(p, '\''));)
		*p = '"';
	if (json_parse(list, strlen(list), &values, &ignored) < 0 || json_array_size(values) != 1)
		return false;
	v = json_array_get(values, 0);
	if (json_is_boolean(v))
		signature = "b";
	else if (json_is_string(v))
		signature = "s";
	else if (json_is_array(v))
		signature = "as";
	json_array_foreach(v, i, one) signature = json_is_string(one) ? signature : NULL;
	if (signature)
		add(to, name, signature, json_incref(v));
	return signature != NULL;
}

static int add_annotations(json_t *to, const struct oci_config *c, struct err *err)
{
	static const char ok[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
	json_t *annotations = oci_at(c, "annotations", NULL), *one;
	const char *key;

	json_object_foreach(annotations, key, one)
	{
		const char *name = key + sizeof(ANNOTATION) - 1, *text = json_string_value(one);

		if (!str_starts(key, ANNOTATION))
			continue;
		if (!*name || name[strspn(name, ok)] ||
		    (!add_number(to, name, text) && !add_words(to, name, text)))
			return err_set(err, EINVAL,
				       "annotation %.200s: \"%.64s\" is not understood", key, text);
	}
	return 0;
}

/* Names of units are no one root's: by the directory of its state it knows its own again. */
static char *description(int dir_fd)
{
	char fd[32], dir[PATH_MAX];
	ssize_t n;

	snprintf(fd, sizeof(fd), "/proc/self/fd/%d", dir_fd);
	n = readlink(fd, dir, sizeof(dir));
	return mem_fmt("shale container %.*s", n < 0 ? 0 : (int)n, dir);
}

int oci_scope_properties(const struct oci_config *c, int dir_fd, pid_t pid, json_t *to,
			 struct err *err)
{
	static const char *const counted[] = { "MemoryAccounting", "CPUAccounting",
					       "TasksAccounting", "IOAccounting" };
	auto_free char *what = description(dir_fd);

	add(to, "Description", "s", json_string(what));
	add(to, "Slice", "s", json_string(c->slice));
	add(to, "Delegate", "b", json_true());
	add(to, "DefaultDependencies", "b", json_false());
	/* Else one that failed keeps its name: after an OOM kill, or when who asked was killed. */
	add(to, "CollectMode", "s", json_string("inactive-or-failed"));
	for (size_t i = 0; i < ARRAY_LEN(counted); i++)
		add(to, counted[i], "b", json_true());
	add(to, "PIDs", "au", json_pack("[i]", (int)pid));
	oci_scope_limits(to, c->writes, c->layout.n_writes);
	return add_annotations(to, c, err);
}

/* --- shale-scope --- */

/* What it printed; when it did not start, the loader's words. */
static int read_answer(int fd, int code, json_t **ret, struct err *err)
{
	auto_json json_t *answer = NULL;
	auto_free char *text = NULL;
	struct err ignored;
	const char *why;
	size_t len = 0;
	int rc = lseek(fd, 0, SEEK_SET) < 0 ? err_sys(err, "answer of " SCOPE_PROGRAM)
					    : fd_read_all(fd, ANSWER_MAX, &text, &len, err);

	if (rc < 0)
		return rc;
	if (json_parse(text, len, &answer, &ignored) < 0 && *str_trim(text))
		return err_set(err, EREMOTEIO, SCOPE_PROGRAM ": %.500s", text);
	why = json_get_str(answer, "msg");
	if (why)
		return err_set(err, (int)json_get_int(answer, "code", EREMOTEIO), "%s", why);
	if (code || !answer)
		return err_set(err, EREMOTEIO, SCOPE_PROGRAM " ended with status %d", code);
	*ret = take(answer);
	return 0;
}

static int ask(const json_t *plan, json_t **ret, struct err *err)
{
	auto_free char *program = NULL, *text = json_text(plan);
	char name[] = SCOPE_PROGRAM, *argv[] = { name, NULL };
	auto_fd int in = memfd_create("plan", MFD_CLOEXEC),
		    out = memfd_create("answer", MFD_CLOEXEC);
	int code, rc = proc_find_own(SCOPE_PROGRAM, &program, err);
	pid_t pid;

	if (rc < 0)
		return rc;
	if (in < 0 || out < 0)
		return err_sys(err, "memfd");
	rc = fd_write_str(in, text, err);
	if (rc < 0)
		return rc;
	lseek(in, 0, SEEK_SET);
	pid = proc_spawn(program, argv, (int[]){ in, out, out }, err);
	rc = pid < 0 ? (int)pid : proc_wait(pid, &code, err);
	return rc < 0 ? rc : read_answer(out, code, ret, err);
}

static pid_t hold_place(void)
{
	pid_t us = getpid(), pid = fork();

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() == us && sys_close_range(0, ~0U, 0) == 0)
		for (;;)
			pause();
	_exit(0);
}

void oci_scope_leave(pid_t holder)
{
	if (holder <= 0)
		return;
	kill(holder, SIGKILL);
	while (waitpid(holder, NULL, 0) < 0 && errno == EINTR)
		;
}

int oci_scope_start(struct oci_config *c, int dir_fd, pid_t *ret_holder, struct err *err)
{
	auto_json json_t *plan = json_pack("{s:s,s:s,s:i,s:[]}", "verb", SCOPE_START, "unit",
					   c->unit, "caller", (int)getpid(), "properties"),
			 *answer = NULL;
	const char *group;
	int rc;

	*ret_holder = hold_place();
	if (*ret_holder < 0)
		return err_sys(err, "fork");
	rc = oci_scope_properties(c, dir_fd, *ret_holder, json_object_get(plan, "properties"), err);
	if (rc == 0)
		rc = ask(plan, &answer, err);
	group = json_get_str(answer, "group");
	if (rc == 0 && (!group || group[0] != '/' || !group[1]))
		rc = err_set(err, EPROTO, "systemd: it has no group");
	if (rc < 0)
		return err_ctx(err, "--systemd-cgroup: scope %s", c->unit);
	c->cgroup = mem_str(group + 1);
	c->spec.cgroup.name = c->cgroup;
	return 0;
}

int oci_scope_update(const char *unit, const struct sandbox_cgroup_write *w, size_t n,
		     struct err *err)
{
	auto_json json_t *plan = json_pack("{s:s,s:s,s:i,s:[]}", "verb", SCOPE_SET, "unit", unit,
					   "caller", (int)getpid(), "properties"),
			 *answer = NULL;

	oci_scope_limits(json_object_get(plan, "properties"), w, n);
	return ask(plan, &answer, err) < 0 ? err_ctx(err, "scope %s", unit) : 0;
}

int oci_scope_stop(const char *unit, int dir_fd, struct err *err)
{
	auto_free char *what = description(dir_fd);
	auto_json json_t *plan = json_pack("{s:s,s:s,s:i,s:s}", "verb", SCOPE_STOP, "unit", unit,
					   "caller", (int)getpid(), "description", what),
			 *answer = NULL;

	return ask(plan, &answer, err) < 0 ? err_ctx(err, "scope %s", unit) : 0;
}
