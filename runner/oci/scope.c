/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's group as a scope of systemd's, delegated to the container. systemd makes none
 * without a process, and a container's process is born in its group: another one waits in it until
 * then.
 *
 * What systemd is told of limits is what it would write anew (on daemon-reload, or when a sibling
 * changes); that all of them are in force is seen to by the files, as without it.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <shale/base/sys.h>

#include "priv.h"

enum { UNIT_NAME_MAX = 255, CPUS_MAX = 8192, PERIOD_US = 100000, PERCENT_US = 10000 };

#define DESCRIPTION "shale container %s"
#define ANNOTATION  "org.systemd.property."

static const struct oci_bus_call start_unit = { OCI_SYSTEMD_PATH, OCI_SYSTEMD_MANAGER,
						"StartTransientUnit", "ssa(sv)a(sa(sv))" },
				 stop_unit = { OCI_SYSTEMD_PATH, OCI_SYSTEMD_MANAGER, "StopUnit",
					       "ss" },
				 reset_unit = { OCI_SYSTEMD_PATH, OCI_SYSTEMD_MANAGER,
						"ResetFailedUnit", "s" },
				 set_properties = { OCI_SYSTEMD_PATH, OCI_SYSTEMD_MANAGER,
						    "SetUnitProperties", "sba(sv)" },
				 get_unit = { OCI_SYSTEMD_PATH, OCI_SYSTEMD_MANAGER, "GetUnit",
					      "s" };

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

static void begin_property(struct str *to, const char *name, const char *signature)
{
	oci_bus_struct(to);
	oci_bus_text(to, name);
	oci_bus_signature(to, signature);
}

static void add_text(struct str *to, const char *name, const char *value)
{
	begin_property(to, name, "s");
	oci_bus_text(to, value);
}

static void add_bool(struct str *to, const char *name, bool value)
{
	begin_property(to, name, "b");
	oci_bus_u32(to, value);
}

static void add_u64(struct str *to, const char *name, uint64_t value)
{
	begin_property(to, name, "t");
	oci_bus_u64(to, value);
}

/* "0-2,5" as bits of bytes; what the kernel would not take is left to its file to tell. */
static void add_cpus(struct str *to, const char *name, const char *list)
{
	uint8_t bits[CPUS_MAX / 8] = { 0 };
	struct oci_bus_array a;
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
	begin_property(to, name, "ay");
	a = oci_bus_begin(to, 1);
	str_addn(to, bits, last / 8 + 1);
	oci_bus_end(to, a);
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
static void add_quota(struct str *to, const struct quota *q)
{
	uint64_t us = UINT64_MAX;

	if (!q->set || !q->period || q->period > UINT32_MAX)
		return;
	if (q->quota < UINT32_MAX)
		us = (q->quota * 1000000 / q->period + PERCENT_US - 1) / PERCENT_US * PERCENT_US;
	add_u64(to, "CPUQuotaPeriodUSec", q->period);
	add_u64(to, "CPUQuotaPerSecUSec", us);
}

static void add_limits(struct str *to, const struct sandbox_cgroup_write *w, size_t n)
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
				add_u64(to, known[k].name, amount(w[i].value));
		}
	}
	add_quota(to, &q);
}

/* A whole number in the words of GVariant: "uint64 5", "5". */
static bool add_number(struct str *to, const char *name, const char *text)
{
	static const struct {
		const char *word;
		char signature;
		uint64_t max;
	} kinds[] = { { "uint64 ", 't', UINT64_MAX },
		      { "uint32 ", 'u', UINT32_MAX },
		      { "int32 ", 'i', INT32_MAX },
		      { "", 'i', INT32_MAX } };
	char signature[2] = { 0 };
	uint64_t n;

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (!str_starts(text, kinds[i].word))
			continue;
		if (str_to_u64(text + strlen(kinds[i].word), 10, kinds[i].max, &n) < 0)
			return false;
		signature[0] = kinds[i].signature;
		begin_property(to, name, signature);
		if (*signature == 't')
			oci_bus_u64(to, n);
		else
			oci_bus_u32(to, (uint32_t)n);
		return true;
	}
	return false;
}

/* 'text', "text" or [texts]: without escapes. */
static bool add_quoted(struct str *to, const char *name, const char *text)
{
	auto_free char *copy = mem_str(text);
	bool list = *text == '[';
	struct oci_bus_array a = { 0, 0 };
	char *s = copy;

	if (strchr(text, '\\') || (list && !str_ends(text, "]")))
		return false;
	begin_property(to, name, list ? "as" : "s");
	if (list) {
		a = oci_bus_begin(to, sizeof(uint32_t));
		s[strlen(s) - 1] = 0;
		s = str_trim(s + 1);
	}
	while (*s == '\'' || *s == '"') {
		char *end = strchr(s + 1, *s);

		if (!end)
			return false;
		*end = 0;
		oci_bus_text(to, s + 1);
		s = end + 1;
		s += strspn(s, " ");
		if (list && *s == ',')
			s += 1 + strspn(s + 1, " ");
		else
			break;
	}
	if (list)
		oci_bus_end(to, a);
	return *s == 0 && to->len > 0;
}

static int add_annotation(struct str *to, const char *key, const char *text, struct err *err)
{
	const char *name = key + sizeof(ANNOTATION) - 1;
	static const char ok[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
	bool fine = *name && !name[strspn(name, ok)];

	if (fine && (strcmp(text, "true") == 0 || strcmp(text, "false") == 0))
		add_bool(to, name, *text == 't');
	else if (fine && (*text == '\'' || *text == '"' || *text == '['))
		fine = add_quoted(to, name, text);
	else if (fine)
		fine = add_number(to, name, text);
	return fine ? 0
		    : err_set(err, EINVAL, "annotation %.200s: \"%.64s\" is not understood", key,
			      text);
}

static int add_annotations(struct str *to, const struct oci_config *c, struct err *err)
{
	json_t *annotations = oci_at(c, "annotations", NULL), *one;
	const char *key;
	int rc = 0;

	json_object_foreach(annotations, key, one)
	{
		if (str_starts(key, ANNOTATION))
			rc = add_annotation(to, key, json_string_value(one), err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int add_properties(struct str *to, const struct oci_config *c, const char *id, pid_t pid,
			  struct err *err)
{
	static const char *const counted[] = { "MemoryAccounting", "CPUAccounting",
					       "TasksAccounting", "IOAccounting" };
	auto_free char *what = mem_fmt(DESCRIPTION, id);
	struct oci_bus_array pids;

	add_text(to, "Description", what);
	add_text(to, "Slice", c->slice);
	add_bool(to, "Delegate", true);
	add_bool(to, "DefaultDependencies", false);
	for (size_t i = 0; i < ARRAY_LEN(counted); i++)
		add_bool(to, counted[i], true);
	begin_property(to, "PIDs", "au");
	pids = oci_bus_begin(to, sizeof(uint32_t));
	oci_bus_u32(to, (uint32_t)pid);
	oci_bus_end(to, pids);
	add_limits(to, c->writes, c->layout.n_writes);
	return add_annotations(to, c, err);
}

/* --- the unit --- */

/* A method of one argument that answers with a path or with nothing. */
static int call_with(struct oci_bus *b, const struct oci_bus_call *c, const char *unit,
		     const char *mode, char **ret, struct err *err)
{
	auto_str struct str args = { 0 };

	oci_bus_text(&args, unit);
	if (mode)
		oci_bus_text(&args, mode);
	return oci_bus_call(b, c, &args, ret, err);
}

/* One that failed keeps its name until it is told to forget it. */
static int start(struct oci_bus *b, const char *unit, const struct str *args, struct err *err)
{
	auto_free char *job = NULL;
	struct err ignored;
	int rc = oci_bus_call(b, &start_unit, args, &job, err);

	if (rc == -EEXIST && call_with(b, &reset_unit, unit, NULL, NULL, &ignored) == 0) {
		err_clear(err);
		rc = oci_bus_call(b, &start_unit, args, &job, err);
	}
	return rc == 0 ? oci_bus_await_job(b, job, err) : rc;
}

static int get_property(struct oci_bus *b, const char *unit, const char *interface,
			const char *name, char **ret, struct err *err)
{
	auto_free char *path = NULL;
	auto_str struct str args = { 0 };
	int rc = call_with(b, &get_unit, unit, NULL, &path, err);
	struct oci_bus_call get = { path, "org.freedesktop.DBus.Properties", "Get", "ss" };

	oci_bus_text(&args, interface);
	oci_bus_text(&args, name);
	return rc < 0 ? rc : oci_bus_call(b, &get, &args, ret, err);
}

static int find_group(struct oci_bus *b, const char *unit, char **ret, struct err *err)
{
	auto_free char *group = NULL;
	int rc = get_property(b, unit, "org.freedesktop.systemd1.Scope", "ControlGroup", &group,
			      err);

	if (rc == 0 && (group[0] != '/' || !group[1]))
		return err_set(err, EPROTO, "systemd: the scope has no group");
	if (rc == 0)
		*ret = mem_str(group + 1);
	return rc;
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

int oci_scope_start(struct oci_config *c, const char *id, pid_t *ret_holder, struct err *err)
{
	auto_oci_bus struct oci_bus *b = NULL;
	auto_str struct str args = { 0 };
	struct oci_bus_array list;
	int rc = oci_bus_open(&b, err);

	if (rc < 0)
		return err_ctx(err, "--systemd-cgroup");
	*ret_holder = hold_place();
	if (*ret_holder < 0)
		return err_sys(err, "fork");
	oci_bus_text(&args, c->unit);
	oci_bus_text(&args, "fail");
	list = oci_bus_begin(&args, sizeof(uint64_t));
	rc = add_properties(&args, c, id, *ret_holder, err);
	if (rc < 0)
		return rc;
	oci_bus_end(&args, list);
	oci_bus_end(&args, oci_bus_begin(&args, sizeof(uint64_t)));
	rc = start(b, c->unit, &args, err);
	if (rc == 0)
		rc = find_group(b, c->unit, &c->cgroup, err);
	c->spec.cgroup.name = c->cgroup;
	return rc < 0 ? err_ctx(err, "scope %s", c->unit) : 0;
}

int oci_scope_update(const char *unit, const struct sandbox_cgroup_write *w, size_t n,
		     struct err *err)
{
	auto_oci_bus struct oci_bus *b = NULL;
	auto_str struct str args = { 0 };
	struct oci_bus_array list;
	int rc = oci_bus_open(&b, err);

	oci_bus_text(&args, unit);
	oci_bus_u32(&args, true); /* until the next boot: it is not written to /etc */
	list = oci_bus_begin(&args, sizeof(uint64_t));
	add_limits(&args, w, n);
	oci_bus_end(&args, list);
	if (rc == 0)
		rc = oci_bus_call(b, &set_properties, &args, NULL, err);
	return rc < 0 ? err_ctx(err, "scope %s", unit) : 0;
}

/* One that is empty goes by itself; it is waited for, so that its name is free. */
int oci_scope_stop(const char *unit, const char *id, struct err *err)
{
	auto_free char *job = NULL, *ours = mem_fmt(DESCRIPTION, id), *what = NULL;
	auto_oci_bus struct oci_bus *b = NULL;
	struct err ignored;
	int rc = oci_bus_open(&b, err);

	if (rc == 0)
		rc = get_property(b, unit, "org.freedesktop.systemd1.Unit", "Description", &what,
				  err);
	if (rc == 0 && strcmp(what, ours) != 0)
		return 0;
	if (rc == 0)
		rc = call_with(b, &stop_unit, unit, "replace", &job, err);
	if (rc == 0)
		rc = oci_bus_await_job(b, job, err);
	if (rc == -ENOENT || rc == -ECANCELED) {
		err_clear(err);
		rc = 0;
	}
	if (what)
		call_with(b, &reset_unit, unit, NULL, NULL, &ignored);
	return rc < 0 ? err_ctx(err, "scope %s", unit) : 0;
}
