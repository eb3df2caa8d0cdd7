/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/base/event.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/json.h>
#include <shale/base/proc.h>

enum { BYTES_MAX = 4 << 20 };

/* Two files of that size are kept. The lock and the second look: one renames. */
static void rotate(int root_fd, int fd)
{
	struct stat ours, now;

	if (fstat(fd, &ours) < 0 || ours.st_size < BYTES_MAX || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return;
	if (fstatat(root_fd, EVENT_FILE, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
	    now.st_ino == ours.st_ino)
		renameat(root_fd, EVENT_FILE, root_fd, EVENT_OLD);
}

void event_append(int root_fd, const struct str *lines)
{
	auto_fd int fd = openat(root_fd, EVENT_FILE,
				O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, lines->s, lines->len) < 0)
		return;
	rotate(root_fd, fd);
}

void event_add(struct str *to, const char *type, const char *id, const char *action,
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
	if (str_eq(type, "container") || str_eq(type, "image")) {
		json_set_str(o, "status", action);
		json_set_str(o, "id", id);
		json_set_str(o, "from", json_get_str(attributes, "image"));
	}
	text = json_text(o);
	str_addf(to, "%s\n", text);
}

void event_tell(int root_fd, const char *type, const char *id, const char *action,
		json_t *attributes)
{
	auto_str struct str line = { 0 };

	event_add(&line, type, id, action, attributes);
	event_append(root_fd, &line);
	json_decref(attributes);
}
