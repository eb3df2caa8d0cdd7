/* SPDX-License-Identifier: Apache-2.0 */
/* What happens to containers, volumes and networks; and reading of what happened to all. */
#include <shale/container.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <shale/base/event.h>
#include <shale/base/fd.h>
#include <shale/base/json.h>
#include <shale/base/proc.h>

#include "priv.h"

enum { READ_BYTES = 65536, LINE_MAX_BYTES = 1 << 20, POLL_MS = 100 };

/* --- writing --- */

static json_t *attributes_of(const struct container *c)
{
	json_t *o = json_object();

	json_set_str(o, "image", c->image_name);
	json_set_str(o, "name", c->name);
	for (size_t i = 0; i < c->spec.labels.n; i++) {
		const char *label = c->spec.labels.v[i], *eq = strchr(label, '=');
		auto_free char *name = mem_strn(label, strcspn(label, "="));

		json_set_str(o, name, eq ? eq + 1 : "");
	}
	return o;
}

/* actions: blank-separated, in the order in which they came. key: of one more attribute, or NULL.
 */
void container_event(const struct container *c, const char *actions, const char *key,
		     const char *value)
{
	auto_json json_t *attributes = attributes_of(c);
	auto_strv struct strv words = { 0 };
	auto_str struct str lines = { 0 };

	if (key)
		json_set_str(attributes, key, value);
	strv_split(&words, actions, ' ');
	for (size_t i = 0; i < words.n; i++)
		event_add(&lines, "container", c->id, words.v[i], attributes);
	event_append(c->rt->root_fd, &lines);
}

void container_event_number(const struct container *c, const char *actions, const char *key,
			    int64_t value)
{
	auto_free char *text = mem_fmt("%lld", (long long)value);

	container_event(c, actions, key, text);
}

void container_event_health(const struct container *c, const char *status)
{
	auto_free char *action = mem_fmt("health_status: %s", status);

	event_tell(c->rt->root_fd, "container", c->id, action, attributes_of(c));
}

void container_volume_event(struct runtime *rt, const char *name, const char *action)
{
	event_tell(rt->root_fd, "volume", name, action, json_pack("{ss}", "driver", "local"));
}

void container_network_event(struct runtime *rt, const struct network *n, const char *action,
			     const struct container *c)
{
	json_t *o = json_pack("{ss,ss}", "name", n->name, "type", "bridge");

	if (c)
		json_set_str(o, "container", c->id);
	event_tell(rt->root_fd, "network", n->id, action, o);
}

void container_prune_event(struct runtime *rt, const char *type, uint64_t bytes)
{
	auto_free char *text = mem_fmt("%llu", (unsigned long long)bytes);

	event_tell(rt->root_fd, type, "", "prune", json_pack("{ss}", "reclaimed", text));
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
		if (fstatat(r->rt->root_fd, EVENT_FILE, &now, AT_SYMLINK_NOFOLLOW) < 0)
			now = ours;
		rc = read_on(r, err);
		if (rc == 0 && now.st_ino != ours.st_ino) {
			open_events(r, EVENT_FILE);
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

	if (o->since_ns && open_events(&r, EVENT_OLD) >= 0)
		rc = read_on(&r, err);
	if (rc == 0 && open_events(&r, EVENT_FILE) >= 0) {
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
