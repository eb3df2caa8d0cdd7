/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens to containers and volumes, a line of JSON each as docker events has it, appended to
 * the store's file events by whoever does it. It is told, not relied on: a full disk loses lines.
 */
#include <shale/container.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/json.h>
#include <shale/base/proc.h>

#include "priv.h"

enum { EVENTS_BYTES_MAX = 4 << 20, READ_BYTES = 65536, LINE_MAX_BYTES = 1 << 20, POLL_MS = 100 };

static const char file_name[] = "events", old_name[] = "events.1";

/* --- writing --- */

/* Two files of that size are kept. The lock and the second look: one renames. */
static void rotate(int root_fd, int fd)
{
	struct stat ours, now;

	if (fstat(fd, &ours) < 0 || ours.st_size < EVENTS_BYTES_MAX ||
	    flock(fd, LOCK_EX | LOCK_NB) < 0)
		return;
	if (fstatat(root_fd, file_name, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
	    now.st_ino == ours.st_ino)
		renameat(root_fd, file_name, root_fd, old_name);
}

static void append(struct runtime *rt, const struct str *lines)
{
	auto_fd int fd = openat(rt->root_fd, file_name,
				O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);

	/* One write: whole lines, whoever writes beside us. */
	if (fd < 0 || write(fd, lines->s, lines->len) < 0)
		return;
	rotate(rt->root_fd, fd);
}

static void add_line(struct str *to, const char *type, const char *id, const char *action,
		     json_t *attributes)
{
	int64_t now = proc_now_ns();
	auto_json json_t *o = json_object();
	auto_free char *text = NULL;
	json_t *actor = json_object();

	json_set_str(o, "Type", type);
	json_set_str(o, "Action", action);
	json_set_str(actor, "ID", id);
	json_object_set(actor, "Attributes", attributes);
	json_object_set_new(o, "Actor", actor);
	json_set_str(o, "scope", "local");
	json_object_set_new(o, "time", json_integer(now / 1000000000));
	json_object_set_new(o, "timeNano", json_integer(now));
	if (str_eq(type, "container")) {
		json_set_str(o, "status", action);
		json_set_str(o, "id", id);
		json_set_str(o, "from", json_get_str(attributes, "image"));
	}
	text = json_text(o);
	str_addf(to, "%s\n", text);
}

/* actions: blank-separated, in the order in which they came. key: of one more attribute, or NULL.
 */
void container_event(const struct container *c, const char *actions, const char *key,
		     const char *value)
{
	auto_json json_t *attributes = json_object();
	auto_strv struct strv words = { 0 };
	auto_str struct str lines = { 0 };

	json_set_str(attributes, "image", c->image_name);
	json_set_str(attributes, "name", c->name);
	for (size_t i = 0; i < c->spec.labels.n; i++) {
		const char *label = c->spec.labels.v[i], *eq = strchr(label, '=');
		auto_free char *name = mem_strn(label, strcspn(label, "="));

		json_set_str(attributes, name, eq ? eq + 1 : "");
	}
	if (key)
		json_set_str(attributes, key, value);
	strv_split(&words, actions, ' ');
	for (size_t i = 0; i < words.n; i++)
		add_line(&lines, "container", c->id, words.v[i], attributes);
	append(c->rt, &lines);
}

void container_event_number(const struct container *c, const char *actions, const char *key,
			    int64_t value)
{
	auto_free char *text = mem_fmt("%lld", (long long)value);

	container_event(c, actions, key, text);
}

void container_volume_event(struct runtime *rt, const char *name, const char *action)
{
	auto_json json_t *attributes = json_object();
	auto_str struct str line = { 0 };

	json_set_str(attributes, "driver", "local");
	add_line(&line, "volume", name, action, attributes);
	append(rt, &line);
}

/* --- reading --- */

struct reader {
	struct runtime *rt;
	const struct container_events *o;
	container_event_fn *fn;
	void *arg;
	int fd;
	struct str part;
};

/* 1 when it lies beyond the end that was asked for. */
static int give_line(struct reader *r, const char *p, size_t n, struct err *err)
{
	auto_json json_t *j = NULL;
	struct err ignored;
	int64_t t;
	int rc;

	if (json_parse(p, n, &j, &ignored) < 0)
		return 0; /* a full disk has cut it */
	t = json_get_int(j, "timeNano", 0);
	if (t < r->o->since_ns)
		return 0;
	if (r->o->until_ns && t > r->o->until_ns)
		return 1;
	rc = r->fn(j, r->arg, err);
	return rc < 0 ? rc : 0;
}

static int give(struct reader *r, const char *p, size_t n, struct err *err)
{
	size_t at = 0;
	int rc = 0;

	str_addn(&r->part, p, n);
	while (rc == 0 && at < r->part.len) {
		const char *begin = r->part.s + at, *end = memchr(begin, '\n', r->part.len - at);

		if (!end)
			break;
		rc = give_line(r, begin, (size_t)(end - begin), err);
		at = (size_t)(end + 1 - r->part.s);
	}
	memmove(r->part.s, r->part.s + at, r->part.len - at);
	r->part.len -= at;
	return rc == 0 && r->part.len > LINE_MAX_BYTES
		       ? err_set(err, EBADMSG, "a line of the events is too long")
		       : rc;
}

static int read_on(struct reader *r, struct err *err)
{
	auto_free char *buf = mem_alloc(READ_BYTES);
	int rc = 0;

	while (rc == 0 && r->fd >= 0) {
		ssize_t n = read(r->fd, buf, READ_BYTES);

		if (n < 0)
			return err_sys(err, "read the events");
		if (n == 0)
			break;
		rc = give(r, buf, (size_t)n, err);
	}
	return rc;
}

static int open_events(struct reader *r, const char *name)
{
	fd_close(&r->fd);
	str_reset(&r->part);
	r->fd = openat(r->rt->root_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	return r->fd;
}

/* What was written before the rename is read to its end first. */
static int follow(struct reader *r, struct err *err)
{
	int rc = 0;

	while (rc == 0 && (!r->o->until_ns || proc_now_ns() < r->o->until_ns)) {
		struct stat ours = { 0 }, now = { 0 };

		nanosleep(&(struct timespec){ .tv_nsec = POLL_MS * 1000000L }, NULL);
		if (r->fd >= 0)
			fstat(r->fd, &ours);
		if (fstatat(r->rt->root_fd, file_name, &now, AT_SYMLINK_NOFOLLOW) < 0)
			now = ours;
		rc = read_on(r, err);
		if (rc == 0 && now.st_ino != ours.st_ino) {
			open_events(r, file_name);
			rc = read_on(r, err);
		}
	}
	return rc;
}

int container_events(struct runtime *rt, const struct container_events *o, container_event_fn *fn,
		     void *arg, struct err *err)
{
	struct reader r = { .rt = rt, .o = o, .fn = fn, .arg = arg, .fd = -1 };
	int rc = 0;

	if (o->since_ns && open_events(&r, old_name) >= 0)
		rc = read_on(&r, err);
	if (rc == 0 && open_events(&r, file_name) >= 0) {
		if (!o->since_ns)
			lseek(r.fd, 0, SEEK_END);
		rc = read_on(&r, err);
	}
	if (rc == 0)
		rc = follow(&r, err);
	fd_close(&r.fd);
	str_free(&r.part);
	return rc < 0 ? rc : 0;
}
